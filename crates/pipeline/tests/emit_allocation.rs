//! What leaves the twin allocates nothing once all flows are known.
#![allow(unsafe_code)] // A counting allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use netverdict_pipeline::emit::{AclLog, Emitter, Ipfix, Node, Psample, Samples};
use netverdict_pipeline::{
    At, Logged, Lport, Meter, Northbound, Observer, Packet, Sampled, Stage, SwitchId,
};
use netverdict_types::{Action, App, Sample, Timestamp, ZoneId};
use netverdict_wire::ipfix::CacheOptions;

struct Counting;

thread_local! {
    /// Of this thread: what others allocate meanwhile is not its doing.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_sample_allocates_nothing() {
    let mut node = Node::new(ZoneId(0), &Northbound::default());
    node.set_group(100, 10);
    let (mut messages, mut records, mut samples, mut lines) = (0, 0, 0, 0);
    let meter = Meter {
        rate: 1_000_000,
        packets: true,
        fair: true,
        ..Meter::default()
    };
    let options = CacheOptions {
        active_timeout: 1,
        max_flows: 50,
        ..CacheOptions::default()
    };
    let psample = Psample::new(16, |message: &mut Vec<u8>| messages += message.len());
    let ipfix = Ipfix::new(|_, message: &[u8]| {
        records += message.len();
        true
    })
    .with_set(100, options);
    let log = AclLog::new(
        vec![[("m".to_owned(), meter)].into_iter().collect()],
        |line: &str| lines += line.len(),
    );
    let own = Samples::new(|sample: &Sample<'_>| samples += sample.data.len());
    let mut emitter = Emitter::new(vec![node], 1, ((psample, ipfix), (own, log)));
    let at = At {
        switch: SwitchId(0),
        stage: Stage::InAclSample,
    };
    let sampled = Sampled {
        probability: 32_768,
        set_id: 100,
        app: App::AclNew,
        app_id: 2,
        point: 7,
    };
    let logged = Logged {
        name: Some("a name"),
        action: Action::Drop,
        severity: "info",
        meter: Some("m__0a"),
    };
    let mut before = 0;
    for round in 0..40_000_i64 {
        // The first rounds fill what is used again; templates are due then, and not again.
        if round == 20_000 {
            before = ALLOCATIONS.get();
        }
        let now = 1_795_400_180_000_000_000 + round * 1_000_000;
        emitter.begin(Timestamp(now));
        emitter.enter(0, SwitchId(0), Lport(1));
        let port = 10_000 + (round % 20) as u16;
        let packet = Packet::tcp(([10, 0, 0, 1], port).into(), ([10, 0, 0, 2], 80).into());
        emitter.sample(at, &packet, sampled);
        emitter.log(at, &packet, logged);
        emitter.end(round % 2 == 0);
    }
    let after = ALLOCATIONS.get();
    drop(emitter);
    assert!(messages > 0 && records > 0 && samples > 0 && lines > 0);
    assert_eq!(after - before, 0);
}
