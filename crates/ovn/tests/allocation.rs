//! A compiled match allocates nothing.
#![allow(unsafe_code)] // A counting allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use netverdict_ovn::expr::{Field, Fields, Match, Sets};

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
fn a_compiled_match_allocates_nothing() {
    let mut sets = Sets::new();
    let hosts: Vec<_> = (0..1000)
        .map(|n| format!("10.0.{}.{}", n / 250, n % 250))
        .collect();
    sets.set_addresses("hosts", hosts.iter().map(String::as_str));
    sets.set_ports("web", [("web-0", [])]);
    let compiled = Match::parse(
        "outport == {@web, \"db\"} && ip4.src == {$hosts, 192.168.0.0/16} && ip4.dst == $hosts && (tcp.dst == {80, 443} || 1000 < udp.dst < 2000) \
         && !(ct.est || ip4.mcast || ct_label[96..127] > 5)",
        &sets,
    )
    .unwrap()
    .compile();
    let packet = Fields::new("client", "web-0")
        .with(Field::EthType, 0x800)
        .with(Field::IpProto, 6)
        .with(Field::Ip4Src, 0xc0a8_0001)
        .with(Field::Ip4Dst, 0x0a00_0207)
        .with(Field::TcpDst, 443)
        .with(Field::CtState, 0x21);
    let before = ALLOCATIONS.get();
    let mut matched = 0;
    for _ in 0..1_000 {
        matched += usize::from(compiled.matches(&packet));
    }
    let after = ALLOCATIONS.get();
    assert_eq!((matched, after - before), (1_000, 0));
}
