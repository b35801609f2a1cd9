//! A packet's way allocates nothing: over a load balancer, a switch, a router and back.
#![allow(unsafe_code)] // A counting allocator cannot be had without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use netverdict_ovsdb::{Datum, Row};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Outcome, Twin, Zone};
use netverdict_pipeline::{Ignore, Northbound, Packet};
use netverdict_types::Timestamp;
use uuid::Uuid;

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
fn a_packet_allocates_nothing_on_its_way() {
    let northbound = Northbound::new(&rows());
    let stages = Decide::new(&northbound, Release::R25_03);
    let mut twin = Twin::new([Zone::new(northbound, stages)]);
    let from = twin.place("client").expect("it is there");
    let address = |text: &str| text.parse().expect("an address");
    let first = Packet::tcp(address("10.0.0.4:40000"), address("10.96.0.1:80"))
        .between([2, 0, 0, 0, 0, 4], [2, 0, 0, 0, 0, 1]);
    let mut send = |place, packet| match twin.send(place, packet, Timestamp(0), &mut Ignore) {
        Outcome::Delivered(place, packet) => (place, packet),
        other => panic!("{other:?}"),
    };
    let mut before = 0;
    for round in 0..300 {
        let (there, arrived) = send(from, first);
        let (back, answer) = send(there, arrived.reply());
        assert_eq!(back, from);
        assert_eq!(answer.ip.map(|(from, _)| from), Some([10, 96, 0, 1].into()));
        if round == 99 {
            before = ALLOCATIONS.get();
        }
    }
    assert_eq!(ALLOCATIONS.get(), before);
}

/// A client and a server on switches of their own, and a router between them.
fn rows() -> Vec<Row> {
    let id = |number: u128| Uuid::from_u128(number);
    let port = |number: u128, name: &str, addresses: &str, peer: &str| {
        let columns = [
            ("name", Datum::from(name)),
            ("addresses", Datum::from(addresses)),
            (
                "type",
                Datum::from(if peer.is_empty() { "" } else { "router" }),
            ),
            ("options", Datum::map_of([("router-port", peer)])),
        ];
        Row::new("Logical_Switch_Port", id(number), columns)
    };
    let switch = |number: u128, name: &str, ports: [u128; 2]| {
        let columns = [
            ("name", Datum::from(name)),
            ("ports", ports.into_iter().map(id).collect()),
            ("acls", Datum::from(id(30))),
            ("load_balancer", Datum::from(id(31))),
        ];
        Row::new("Logical_Switch", id(number), columns)
    };
    let router_port = |number: u128, name: &str, mac: &str, network: &str| {
        let columns = [
            ("name", Datum::from(name)),
            ("mac", Datum::from(mac)),
            ("networks", Datum::from(network)),
        ];
        Row::new("Logical_Router_Port", id(number), columns)
    };
    let acl = [
        ("direction", Datum::from("to-lport")),
        ("priority", Datum::from(1000_i64)),
        ("match", Datum::from("ip")),
        ("action", Datum::from("allow-related")),
    ];
    let balancer = [
        ("name", Datum::from("service")),
        ("vips", Datum::map_of([("10.96.0.1:80", "10.0.1.5:8080")])),
    ];
    let router = [
        ("name", Datum::from("router")),
        ("ports", [id(20), id(21)].into_iter().collect()),
    ];
    vec![
        port(1, "client", "02:00:00:00:00:04 10.0.0.4", ""),
        port(2, "to-router-0", "router", "to-switch-0"),
        port(3, "server", "02:00:00:00:01:05 10.0.1.5", ""),
        port(4, "to-router-1", "router", "to-switch-1"),
        switch(10, "switch-0", [1, 2]),
        switch(11, "switch-1", [3, 4]),
        router_port(20, "to-switch-0", "02:00:00:00:00:01", "10.0.0.1/24"),
        router_port(21, "to-switch-1", "02:00:00:00:01:01", "10.0.1.1/24"),
        Row::new("ACL", id(30), acl),
        Row::new("Load_Balancer", id(31), balancer),
        Row::new("Logical_Router", id(40), router),
    ]
}
