//! A packet that is decided allocates nothing, nor does one that was decided before. The test has a process of its own: the counter counts
//! all threads.
#![allow(clippy::unwrap_used)]

use netverdict_bench::alloc::{Counting, allocations};
use netverdict_bench::zone::Zone;
use netverdict_pipeline::cache::{Cache, Question};
use netverdict_pipeline::conntrack::Conntrack;
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::{At, Block, CtView, Observer, Packet, Sampled, Stages, State, SwitchId};

#[global_allocator]
static COUNTING: Counting = Counting;

#[derive(Debug, Default)]
struct Count(usize);

impl Observer for Count {
    fn sample(&mut self, _: At, _: &Packet, _: Sampled) {
        self.0 += 1;
    }
}

#[test]
fn a_packet_allocates_nothing() {
    let zone = Zone::new(1_000);
    let northbound = zone.northbound();
    let port = |pod| northbound.port_named(&Zone::port(pod)).unwrap();
    let mut decide = Decide::new(&northbound, Release::R25_03);
    let mut cache = Cache::new(Decide::new(&northbound, Release::R25_03), 10_000);
    let flights: Vec<_> = zone
        .flights(10_000)
        .map(|flight| (port(flight.from), port(flight.to), flight.frame))
        .collect();
    let view = CtView {
        state: CtView::TRK | CtView::NEW,
        ..CtView::default()
    };
    let mut conntrack = Conntrack::default();
    let mut count = Count::default();
    // The first time conntrack makes room, and the cache learns.
    for time in 0..2 {
        let known: Vec<_> = conntrack.entries(netverdict_types::Timestamp(1)).collect();
        for entry in known {
            conntrack.remove(entry.zone, &entry.original);
        }
        let before = allocations();
        for (inport, outport, frame) in &flights {
            let mut state = State::new(Packet::parse(frame).unwrap(), *inport);
            cache.ask(&Question {
                switch: SwitchId(0),
                inport: *inport,
                outport: *outport,
                packet: state.packet,
                ingress: view,
                egress: view,
            });
            state.ct_zone = inport.0;
            for block in [
                Block::InPreAcl,
                Block::InAcl,
                Block::InAclAfterLb,
                Block::InStateful,
                Block::OutPreAcl,
                Block::OutAcl,
                Block::OutStateful,
            ] {
                if block == Block::OutPreAcl {
                    state.forget_registers();
                    (state.outport, state.ct_zone) = (*outport, outport.0);
                }
                decide.run(SwitchId(0), block, &mut state, &mut conntrack, &mut count);
                if matches!(block, Block::InPreAcl | Block::OutPreAcl) {
                    state.ct = conntrack.track(state.ct_zone, &mut state.packet, state.now);
                }
            }
        }
        let allocated = allocations() - before;
        assert!(time == 0 || allocated == 0, "{allocated} allocations");
    }
    assert!(count.0 > 10_000, "{} samples", count.0);
}
