//! A sample on its way from a psample message to a JSON line allocates nothing. The test has a
//! process of its own: the counter counts all threads.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use netverdict_bench::alloc::{Counting, allocations};
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{FAMILY, Messages, Traffic};
use netverdict_history::{History, Limits};
use netverdict_ovn::Database;
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
    let mut messages = Messages::default();
    messages.fill(Traffic::new(&cluster).take(20_000));
    let mut decoder = Decoder {
        family: Some(FAMILY),
        groups: vec![10],
        ..Decoder::default()
    };
    let mut resolver = Resolver::default();
    let mut line = Vec::with_capacity(1 << 16);
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
    assert_eq!((counts.samples, allocated), (20_000, 0));
    // All ways are taken: resolved and not, services and replies.
    assert!(counts.resolved > 18_000 && counts.unresolved_total() > 500);
}
