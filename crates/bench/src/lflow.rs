//! From northbound rows to logical flows, here and in the real ovn-northd.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netverdict_bench::zone::{Zone, changed, with_two_collectors, without_samples};
use netverdict_ovn::Database;
use netverdict_ovsdb::{
    Atom, Cause, Change, ChangeSet, Client, Columns, Condition, Config, Operation, Row,
    Transaction, Wanted,
};
use netverdict_pipeline::Northbound;
use netverdict_pipeline::flow::{Flows, Release};
use serde_json::Value;
use uuid::Uuid;

use crate::figure;
use crate::machine::{median, thread_time};
use crate::policies::{Northd, insert_global, tree, until_in_southbound};
use crate::server::Server;

const ACLS: usize = 10_000;
const ROUNDS: usize = 9;
const CHANGES: usize = 1_000;

pub(crate) fn from_scratch() -> Result<()> {
    let zone = Zone::new(ACLS);
    let (whole, written, count) = measured(&zone);
    eprintln!(
        "lflow_10000: {count} flows of {} rows, {whole:.1} ms, of it {written:.1} ms to write them from what was read",
        zone.rows().len()
    );
    figure("lflow_10000", format_args!("{whole:.1}"), "ms");
    figure("lflow_10000_write", format_args!("{written:.1}"), "ms");
    for acls in [10, 100, 1_000, 10_000] {
        let one = Zone::new(acls);
        let several = with_two_collectors(one.rows());
        eprintln!(
            "lflow_10000: {acls} ACLs of policies are {} flows without samples, {} with one collector, {} with two",
            flows_of(&without_samples(one.rows())),
            flows_of(one.rows()),
            flows_of(&several)
        );
    }
    Ok(())
}

/// Milliseconds from rows to flows, and from what was read of them; how many flows there are.
fn measured(zone: &Zone) -> (f64, f64, usize) {
    let mut rounds: [Vec<f64>; 2] = Default::default();
    let mut count = 0;
    for _ in 0..ROUNDS {
        let start = thread_time();
        let northbound = zone.northbound();
        let read = thread_time();
        count = Flows::new(&northbound, Release::R25_03).len();
        let end = thread_time();
        rounds[0].push((end - start).as_secs_f64() * 1e3);
        rounds[1].push((end - read).as_secs_f64() * 1e3);
    }
    let [whole, written] = rounds.map(|mut times| median(&mut times).unwrap_or_default());
    (whole, written, count)
}

fn flows_of(rows: &[Row]) -> usize {
    Flows::new(&Northbound::new(rows), Release::R25_03).len()
}

pub(crate) fn incremental() -> Result<()> {
    let zone = Zone::new(ACLS);
    let mut northbound = zone.northbound();
    let mut flows = Flows::new(&northbound, Release::R25_03);
    let acls: Vec<&Row> = zone
        .rows()
        .iter()
        .filter(|row| row.table() == "ACL")
        .collect();
    let mut times = Vec::new();
    let mut touched = 0;
    for number in 0..CHANGES {
        let old = acls.get(number * 7 % acls.len()).context("no ACLs")?;
        let new = changed(old, "match", |matches| {
            let text = matches.scalar().and_then(Atom::as_str).unwrap_or_default();
            format!("{text} && tcp.src == {number}").into()
        });
        for (old, new) in [((*old).clone(), new.clone()), (new, (*old).clone())] {
            let changes = ChangeSet {
                time: 0,
                cause: Cause::Transaction,
                transaction: None,
                changes: vec![Change {
                    table: "ACL".into(),
                    uuid: old.uuid(),
                    old: Some(old),
                    new: Some(new),
                }],
            };
            let start = Instant::now();
            let hanging = northbound.follow(&changes);
            let delta = flows.follow(&northbound, &changes, &hanging);
            times.push(start.elapsed().as_secs_f64() * 1e6);
            touched += delta.added.len() + delta.removed.len();
        }
    }
    ensure!(
        touched >= CHANGES * 4,
        "the changes touched {touched} flows"
    );
    let middle = median(&mut times).unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    eprintln!(
        "lflow_incremental: the match of one ACL changed {} times in the rows of lflow_10000, {} flows each",
        times.len(),
        touched / times.len()
    );
    figure("lflow_incremental", format_args!("{middle:.1}"), "us");
    figure("lflow_incremental_max", format_args!("{last:.1}"), "us");
    Ok(())
}

/// What ovn-northd takes for the same rows, and whether it makes as many flows.
pub(crate) fn northd() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let tree = tree()?;
    let schemas = tree.join("usr/share/ovn");
    let nb = Server::empty(&schemas.join("ovn-nb.ovsschema"))?;
    let sb = Server::empty(&schemas.join("ovn-sb.ovsschema"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let zone = Zone::new(ACLS);
    runtime.block_on(async {
        insert_global(&nb, Uuid::from_u128(u128::MAX)).await?;
        let mut transaction = Transaction::new();
        for row in zone.rows() {
            let columns = row.columns();
            transaction.push(Operation::Insert {
                table: row.table().to_owned(),
                row: row.uuid(),
                columns: columns
                    .map(|(name, value)| (name.to_owned(), value.clone()))
                    .collect(),
            });
        }
        client(&nb)?.transact(transaction).await?;
        Ok::<_, anyhow::Error>(())
    })?;

    let northd = Northd::start(&tree, &nb, &sb, directory.path())?;
    runtime.block_on(until_in_southbound(&nb, 1))?;
    let cpu = northd.time()?;
    let stopwatch = stopwatch(&northd.control, "build_lflows")?;
    let real = runtime.block_on(count(&sb))?;
    let (whole, written, ours) = measured(&zone);
    ensure!(
        real == ours,
        "northd made {real} flows of the ACL stages, not {ours}"
    );

    let one = zone.rows().iter().find(|row| row.table() == "ACL");
    let text = one
        .and_then(|row| row.text("match"))
        .context("no ACL")?
        .to_owned();
    let rounds = 10;
    let mut matches = text;
    for round in 0..rounds {
        runtime.block_on(async {
            let new = format!("{matches} && tcp.src == {round}");
            let mut transaction = Transaction::new();
            transaction.update(
                "ACL",
                [Condition::equal("match", matches.as_str())],
                [("match", new.as_str().into())],
            );
            matches = new;
            client(&nb)?.transact(transaction).await?;
            until_in_southbound(&nb, round + 2).await
        })?;
    }
    let change = (northd.time()? - cpu).as_secs_f64() * 1e3 / f64::from(rounds as u32);
    let cpu = cpu.as_secs_f64() * 1e3;
    eprintln!(
        "lflow_northd_10000: ovn-northd {} with the rows of lflow_10000, from its start until they are in SB: {cpu:.0} ms on processors, its \
         stopwatch build_lflows says {} ms; here {whole:.1} ms, of it {written:.1} ms to write; {:.0} and {:.0} times faster; {real} flows of the ACL \
         stages each; {change:.0} ms for one changed ACL",
        northd.version,
        stopwatch.as_millis(),
        cpu / whole,
        stopwatch.as_secs_f64() * 1e3 / written,
    );
    figure("lflow_northd_10000", format_args!("{cpu:.0}"), "ms");
    figure("lflow_northd_change", format_args!("{change:.0}"), "ms");
    Ok(())
}

fn client(nb: &Server) -> Result<Client> {
    let wanted = Wanted::new().table("NB_Global", ["name"]);
    let endpoint = nb.endpoint().parse()?;
    let database = Database::Northbound.name();
    Ok(Client::new(Config::new(endpoint, database, wanted)))
}

/// Flows of the ACL stages in SB; each is of the one switch.
async fn count(sb: &Server) -> Result<usize> {
    let wanted = Wanted::new().table("Logical_Flow", ["external_ids"]);
    let endpoint = sb.endpoint().parse()?;
    let mut client = Client::new(Config::new(endpoint, Database::Southbound.name(), wanted));
    let replica = client.sync().await?;
    let is_ours = |row: &&Row| {
        let name = row
            .column("external_ids")
            .and_then(|ids| ids.lookup("stage-name"));
        name.is_some_and(|name| {
            netverdict_pipeline::Stage::ALL
                .iter()
                .any(|stage| stage.name() == name)
        })
    };
    Ok(replica.rows("Logical_Flow").filter(is_ours).count())
}

/// The longest time that a stopwatch of a daemon measured (ovn-appctl(8), `stopwatch/show`).
fn stopwatch(control: &Path, name: &str) -> Result<Duration> {
    let mut socket = UnixStream::connect(control)?;
    let call = serde_json::json!({"id": 0, "method": "stopwatch/show", "params": [name]});
    socket.write_all(call.to_string().as_bytes())?;
    let mut text = Vec::new();
    let mut part = [0; 4096];
    let reply: Value = loop {
        let read = socket.read(&mut part)?;
        ensure!(read > 0, "ovn-northd does not answer");
        text.extend_from_slice(&part[..read]);
        if let Ok(reply) = serde_json::from_slice(&text) {
            break reply;
        }
    };
    let Some(shown) = reply.get("result").and_then(Value::as_str) else {
        bail!("stopwatch/show: {reply}");
    };
    let line = shown
        .lines()
        .find(|line| line.trim().starts_with("Maximum:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    let milliseconds = number.and_then(|number| number.parse().ok());
    Ok(Duration::from_millis(
        milliseconds.with_context(|| format!("no maximum in {shown:?}"))?,
    ))
}
