//! What samples cost the control plane is as docs/lflow.md says.
#![allow(clippy::unwrap_used)] // It is a test.

use netverdict_bench::zone::{Zone, with_two_collectors, without_samples};
use netverdict_ovsdb::Row;
use netverdict_pipeline::Northbound;
use netverdict_pipeline::flow::{Flows, Release};

#[test]
fn samples_cost_as_many_flows_as_is_written() {
    let text = include_str!("../../../docs/lflow.md");
    let table = text
        .lines()
        .skip_while(|line| !line.starts_with("| ACLs of policies |"));
    let written: Vec<[usize; 4]> = table
        .skip(2)
        .map_while(|line| {
            let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
            let numbers = cells.map(|cell| cell.replace(',', "").parse().unwrap());
            Some(numbers.collect::<Vec<_>>().try_into().unwrap())
        })
        .collect();
    let counted = [10, 100, 1_000, 10_000].map(|acls| {
        let zone = Zone::new(acls);
        let rows = zone.rows();
        [
            acls,
            flows(&without_samples(rows)),
            flows(rows),
            flows(&with_two_collectors(rows)),
        ]
    });
    assert_eq!(written, counted);
}

fn flows(rows: &[Row]) -> usize {
    Flows::new(&Northbound::new(rows), Release::R25_03).len()
}
