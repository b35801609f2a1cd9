//! Capture files of a cluster and its traffic.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::Result;
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{Messages, Traffic};
use netverdict_ovn::{Database, revision};
use netverdict_types::{Timestamp, ZoneId};
use netverdict_wire::capture::{Options, Revision, Writer, Zone};
use netverdict_wire::psample::Decoder;

/// Writes the rows of a cluster and samples of its traffic.
pub(crate) fn capture(path: &Path, cluster: &Cluster, samples: usize) -> Result<()> {
    let mut writer = Writer::new(BufWriter::new(File::create(path)?), Options::default())?;
    let zone = ZoneId(0);
    writer.zone(&Zone {
        id: zone,
        name: "global",
        node: "",
    })?;
    let databases = [
        Database::Northbound,
        Database::Southbound,
        Database::Vswitch,
    ];
    for (number, database) in databases.into_iter().enumerate() {
        let set = cluster.initial(database);
        revision::encode(database, &set, |json| {
            writer.revision(&Revision {
                zone,
                number: number as u64 + 1,
                time: Timestamp(set.time),
                gap: None,
                json,
            })
        })?;
    }
    let mut decoder = Decoder::default();
    let mut traffic = Traffic::new(cluster);
    let mut messages = Messages::default();
    let mut left = samples;
    while left > 0 {
        let now = left.min(4_096);
        left -= now;
        messages.fill(traffic.by_ref().take(now));
        for message in messages.iter() {
            let mut result = Ok(());
            decoder.decode(message, Timestamp(0), zone, |sample| {
                result = writer.sample(&sample);
            });
            result?;
        }
    }
    writer.finish()?;
    Ok(())
}
