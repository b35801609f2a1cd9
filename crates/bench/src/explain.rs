//! A question to `netverdict explain`, from a cold start: a dump of 10,000 ACLs in 500 port groups on one switch.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};
use netverdict_bench::zone::Zone;
use netverdict_ovsdb::{Columns, Row};
use serde_json::{Value, json};

use crate::figure;
use crate::machine::{children_time, median};

const ACLS: usize = 10_000;
const ROUNDS: usize = 11;

pub(crate) fn allowed() -> Result<()> {
    let zone = Zone::new(ACLS);
    let (from, to, port) = zone.allowed();
    cold("explain_cold_10000", &zone, (from, to, port), 0)
}

/// The same where nothing but the default denies of the namespace matches.
pub(crate) fn dropped() -> Result<()> {
    let zone = Zone::new(ACLS);
    let (from, to, _) = zone.allowed();
    cold("explain_cold_dropped_10000", &zone, (from, to, 7), 3)
}

fn cold(
    name: &str,
    zone: &Zone,
    (from, to, port): (Ipv4Addr, Ipv4Addr, u16),
    expected: i32,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("nb.json");
    fs::write(&file, dump(zone.rows()))?;
    let (mut times, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (start, before) = (Instant::now(), children_time()?);
        let status = Command::new(crate::binary::program()?)
            .arg("explain")
            .arg("--nb")
            .arg(&file)
            .args(["--from", &from.to_string(), "--to", &to.to_string()])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .status()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        busy.push((children_time()? - before).as_secs_f64() * 1e3);
        ensure!(
            status.code() == Some(expected),
            "netverdict explain: {status}"
        );
    }
    let middle = median(&mut times).unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    let busy = median(&mut busy).unwrap_or_default();
    eprintln!(
        "{name}: the whole process, from a dump of {} MB with {ACLS} ACLs in 500 port groups on one switch; {ROUNDS} rounds, \
         the slowest {last:.0} ms, {busy:.0} ms on a processor",
        fs::metadata(&file)?.len() / 1_000_000
    );
    figure(name, format_args!("{middle:.0}"), "ms");
    figure(&format!("{name}_cpu"), format_args!("{busy:.0}"), "ms");
    Ok(())
}

/// As `ovsdb-client dump -f json` prints rows.
fn dump(rows: &[Row]) -> String {
    let mut tables: std::collections::BTreeMap<&str, Vec<&Row>> = Default::default();
    for row in rows {
        tables.entry(row.table()).or_default().push(row);
    }
    let mut text = String::new();
    for (table, rows) in tables {
        let mut columns: Vec<&str> = rows
            .iter()
            .flat_map(|row| row.columns())
            .map(|(column, _)| column)
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let data: Vec<Value> = rows
            .iter()
            .map(|row| {
                let uuid = json!(["uuid", row.uuid().to_string()]);
                let cells = columns.iter().map(|column| match row.column(column) {
                    Some(datum) => datum.to_json(),
                    None => json!(["set", []]),
                });
                std::iter::once(uuid).chain(cells).collect()
            })
            .collect();
        let headings: Vec<&str> = std::iter::once("_uuid").chain(columns).collect();
        let caption = format!("{table} table");
        let line = json!({"caption": caption, "headings": headings, "data": data});
        let _ = writeln!(text, "{line}");
    }
    text
}
