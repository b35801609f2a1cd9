//! A decision about a connection that is known allocates nothing.

use netverdict_bench::alloc::{Counting, allocations};
use netverdict_bench::speakers::Speakers;
use netverdict_flow::{Flow, Limits};
use netverdict_types::Timestamp;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_known_connection_allocates_nothing() {
    let speakers = Speakers::default();
    let mut flow = Flow::new(Limits::default());
    let (new, established) = (speakers.new_ones(0..5_000), speakers.established(0..5_000));
    for decision in new.iter().chain(&established) {
        flow.decision(decision, |_| ());
    }
    // Whether it was told before or not.
    for now in [0, 1_900_000_000_000_000_000] {
        flow.advance(Timestamp(now), |_| ());
        let before = allocations();
        for decision in new.iter().chain(&established) {
            flow.decision(decision, |_| ());
        }
        assert_eq!(allocations() - before, 0);
    }
    let counts = flow.counts();
    assert_eq!((counts.connections, counts.decisions), (5_000, 60_000));
}
