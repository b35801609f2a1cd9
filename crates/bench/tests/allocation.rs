//! A sample on its way from a psample message to a JSON line allocates nothing. The test has a
//! process of its own: the counter counts all threads.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use netverdict_bench::alloc::{Counting, allocations};
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{FAMILY, Messages, Traffic};
use netverdict_history::{History, Limits};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Cause, Change, ChangeSet, Columns, Row};
use netverdict_types::Timestamp;
use netverdict_verdict::{Names, Resolver};
use netverdict_wire::psample::Decoder;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_sample_allocates_nothing() {
    let mut cluster = Cluster::new(500);
    let mut history = History::new(Limits::default());
    let mut names = Names::default();
    let zone = history.zone("global");
    names.set_zone(zone, "global");
    for database in [
        Database::Northbound,
        Database::Southbound,
        Database::Vswitch,
    ] {
        let set = cluster.initial(database);
        names.apply(zone, database, &set);
        if database == Database::Northbound {
            history.apply(zone, &set).unwrap();
        }
    }
    // Some points come to have several holders, dead and alive.
    for set in cluster.revisions(1_000) {
        history.apply(zone, &set).unwrap();
    }
    // And some points two holders at once.
    let rows = cluster.initial(Database::Northbound).changes;
    let acls: Vec<Row> = rows
        .into_iter()
        .filter_map(|change| change.new.filter(|row| row.table() == "ACL"))
        .collect();
    let shared = acls.chunks_exact(2).take(100).map(|pair| {
        let columns = pair[0].columns().map(|(name, value)| {
            let is_sample = name.starts_with("sample_");
            let other = is_sample.then(|| pair[1].column(name)).flatten();
            (name, other.unwrap_or(value).clone())
        });
        Change {
            table: "ACL".into(),
            uuid: pair[0].uuid(),
            old: None,
            new: Some(Row::new("ACL", pair[0].uuid(), columns)),
        }
    });
    let shared = ChangeSet {
        time: -1,
        cause: Cause::Transaction,
        transaction: None,
        changes: shared.collect(),
    };
    names.apply(zone, Database::Northbound, &shared);
    history.apply(zone, &shared).unwrap();
    let mut messages = Messages::default();
    messages.fill(Traffic::new(&cluster).take(20_000));
    let mut decoder = Decoder {
        family: Some(FAMILY),
        groups: vec![10],
        ..Decoder::default()
    };
    let mut resolver = Resolver::default();
    let mut line = Vec::with_capacity(1 << 16);
    // In the first round the matches of shared points are made ready.
    for round in 1..=2 {
        let before = allocations();
        for message in messages.iter() {
            decoder.decode(message, Timestamp(0), zone, |sample| {
                let decide = resolver.resolve_all(&history, &names, &[sample], |_, decision| {
                    line.clear();
                    decision.write_json(&mut line);
                    Ok::<_, Infallible>(())
                });
                decide.unwrap();
            });
        }
        let allocated = allocations() - before;
        let counts = resolver.counts();
        assert_eq!(counts.samples, round * 20_000);
        assert!(round == 1 || allocated == 0, "{allocated} allocations");
        // All ways are taken: resolved and not, services and replies, shared points.
        assert!(counts.resolved > round * 18_000 && counts.unresolved_total() > round * 500);
        assert!(counts.by_match + counts.ambiguous > 10, "{counts:?}");
    }
}
