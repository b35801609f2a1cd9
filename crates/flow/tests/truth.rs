//! One row for each connection of a cluster, and the truth in it: late and repeated reports, clocks
//! that are wrong, ports that are used again.
#![allow(clippy::unwrap_used)]

mod simulator;

use netverdict_flow::Limits;
use simulator::{Scenario, run};

#[test]
fn one_row_for_each_connection() {
    for (seed, clocks_known) in [(1, false), (2, true)] {
        let scenario = Scenario {
            seed,
            connections: 30_000,
            rate: 200,
            clocks_known,
        };
        let outcome = run(scenario, Limits::default());
        assert!(
            outcome.wrong.is_empty(),
            "{:?} {:?}\n{}",
            outcome.wrong,
            outcome.counts,
            outcome.first.unwrap()
        );
        assert_eq!(outcome.right, scenario.connections);
        assert!(outcome.late_reports > 30 && outcome.repeated_reports > 100);
        let turned = outcome.counts.turned;
        for (place, came_to) in outcome.came_to.into_iter().enumerate() {
            let to: u64 = turned.iter().map(|to| to[place]).sum();
            let from: u64 = turned[place].iter().sum();
            assert_eq!(came_to, to as i64 - from as i64, "{turned:?}");
        }
        assert!(outcome.came_to.iter().any(|came_to| *came_to > 0));
        assert!(outcome.reused > 300 && outcome.served > 3_000);
    }
}
