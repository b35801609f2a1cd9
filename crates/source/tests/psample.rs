//! psample through a real netlink socket. It needs root, and a kernel with psample, act_sample
//! and cls_matchall, such as that of the VM lab:
//! `cargo test -p netverdict-source --test psample -- --ignored`.
//!
//! Each test works in a network namespace of its own, where tc(8) samples every packet on the
//! loopback: messages of another user of psample, of which one packet makes exactly one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use netverdict_source::psample::{Counters, Options, Psample};
use netverdict_source::{Stop, channel};
use netverdict_types::SystemClock;
use nix::sched::{CloneFlags, unshare};

/// For a wait that is over at once unless something is broken.
const LONG: Duration = Duration::from_secs(60);

/// A namespace with a loopback whose packets are sampled into group 10.
fn sampled_loopback() {
    unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
    for line in [
        "ip link set lo up",
        "tc qdisc add dev lo clsact",
        "tc filter add dev lo egress matchall action sample rate 1 group 10",
    ] {
        let mut words = line.split(' ');
        let status = Command::new(words.next().unwrap()).args(words).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "failed: {line}"
        );
    }
}

fn open(options: &Options) -> (Psample, netverdict_source::Receiver, Arc<Counters>) {
    let (sender, receiver) = channel(4);
    let counters = Arc::new(Counters::default());
    let source = Psample::open(
        options,
        Arc::new(SystemClock),
        sender,
        Arc::clone(&counters),
    );
    (source.unwrap(), receiver, counters)
}

/// Sends packets that nobody answers.
fn send(count: u64) {
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..count {
        socket
            .send_to(&[0; 1_000], sink.local_addr().unwrap())
            .unwrap();
    }
}

/// The drop counters of the generic netlink sockets of this namespace.
fn kernel_drops() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1] == "16")
        .map(|fields| fields[8].parse::<u64>().unwrap())
        .sum()
}

/// What is lost when nobody reads is exactly what the kernel dropped, and exactly what was sent
/// less what was received.
#[test]
#[ignore = "needs root and a kernel with psample and act_sample: the VM lab"]
fn a_flood_is_lost_and_counted() {
    sampled_loopback();
    let (source, receiver, counters) = open(&Options {
        receive_buffer: 64 << 10,
        ..Options::default()
    });
    let before = kernel_drops();
    let sent = (5 * source.receive_buffer().bytes / 1_000) as u64;
    send(sent);
    let dropped = kernel_drops() - before;
    assert!(dropped > 0, "{sent} messages fitted");

    let stop = Stop::new().unwrap();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || source.run(&stop)
    });
    // Messages of tc are foreign: no batch comes of them.
    let deadline = std::time::Instant::now() + LONG;
    while counters.datagrams.read() + dropped < sent || counters.dropped.read() < dropped {
        assert!(
            std::time::Instant::now() < deadline,
            "{counters:?} of {sent}"
        );
        std::thread::yield_now();
    }
    stop.stop();
    thread.join().unwrap().unwrap();
    assert!(receiver.recv().is_none());

    assert_eq!(
        counters.dropped.read(),
        dropped,
        "our counter is the kernel's"
    );
    assert_eq!(
        dropped,
        sent - counters.datagrams.read(),
        "and what is missing"
    );
    assert_eq!(counters.foreign.read(), counters.datagrams.read());
    assert_eq!(counters.overruns.read(), 1);
    assert_eq!(counters.malformed.read(), 0);
}

#[test]
#[ignore = "needs root and a kernel with psample and act_sample: the VM lab"]
fn the_kernel_filters_groups() {
    sampled_loopback();
    let (ours, _ours_receiver, our_counters) = open(&Options {
        groups: vec![10],
        ..Options::default()
    });
    let (other, _other_receiver, other_counters) = open(&Options {
        groups: vec![9, 11],
        receive_buffer: 1,
        ..Options::default()
    });
    send(100);
    let stop = Stop::new().unwrap();
    let threads = [ours, other].map(|source| {
        let stop = stop.clone();
        std::thread::spawn(move || source.run(&stop))
    });
    let deadline = std::time::Instant::now() + LONG;
    while our_counters.foreign.read() < 100 {
        assert!(std::time::Instant::now() < deadline, "{our_counters:?}");
        std::thread::yield_now();
    }
    stop.stop();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(our_counters.datagrams.read(), 100);
    assert_eq!(other_counters.datagrams.read(), 0);
    assert_eq!(other_counters.dropped.read(), 0);
}
