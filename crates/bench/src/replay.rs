//! Capture files: alone, and through the program to JSON lines.

use std::fs::File;
use std::hint::black_box;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use netverdict_bench::cluster::Cluster;
use netverdict_wire::capture::{Reader, Record};

use crate::machine::{children_time, median, thread_time};
use crate::{binary, figure, inputs};

const ACLS: usize = 10_000;
const SAMPLES: usize = 1_000_000;
const ROUNDS: usize = 3;

pub(crate) fn decode() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("capture");
    inputs::capture(&path, &Cluster::new(ACLS), SAMPLES)?;
    let mut figures = Vec::new();
    for _ in 0..ROUNDS {
        let start = thread_time();
        let mut samples = 0;
        let mut reader = Reader::new(BufReader::new(File::open(&path)?))?;
        while let Some(block) = reader.next_block()? {
            for record in block {
                if let Record::Sample(sample) = record? {
                    black_box(&sample);
                    samples += 1;
                }
            }
        }
        ensure!(samples == SAMPLES, "{samples} of {SAMPLES} samples came");
        figures.push(samples as f64 / (thread_time() - start).as_secs_f64());
    }
    eprintln!(
        "capture_decode: {SAMPLES} samples and the rows of {ACLS} ACLs in {} MiB, one thread",
        path.metadata()?.len() >> 20
    );
    let middle = median(&mut figures).unwrap_or_default();
    figure("capture_decode", format_args!("{middle:.0}"), "samples/s");
    Ok(())
}

pub(crate) fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (rows, whole) = (
        directory.path().join("rows"),
        directory.path().join("whole"),
    );
    let cluster = Cluster::new(ACLS);
    inputs::capture(&rows, &cluster, 0)?;
    inputs::capture(&whole, &cluster, SAMPLES)?;
    let mut figures = Vec::new();
    let mut start_up = Vec::new();
    for _ in 0..ROUNDS {
        let without = observe(&rows, 0)?;
        let with = observe(&whole, SAMPLES)?;
        start_up.push(without.as_secs_f64());
        figures.push(SAMPLES as f64 / with.saturating_sub(without).as_secs_f64());
    }
    let middle = median(&mut figures).unwrap_or_default();
    eprintln!(
        "e2e_replay: netverdict observe --source capture:FILE -o json >/dev/null, {SAMPLES} \
         samples of {ACLS} ACLs; time on a processor, without the {:.2} s for start and rows; \
         best {:.0}",
        median(&mut start_up).unwrap_or_default(),
        figures.last().copied().unwrap_or_default()
    );
    figure("e2e_replay", format_args!("{middle:.0}"), "lines/s");
    Ok(())
}

/// Time on a processor for showing a capture.
fn observe(capture: &Path, samples: usize) -> Result<Duration> {
    let before = children_time()?;
    let source = format!("capture:{}", capture.display());
    let output = binary::observe(&["-o", "json", "--source", &source])?
        .stderr(std::process::Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    let summary = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "netverdict failed: {summary}");
    let told = binary::samples(&summary)?;
    ensure!(told == samples as u64, "{told} of {samples} samples came");
    Ok(children_time()?.saturating_sub(before))
}
