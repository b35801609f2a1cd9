//! IPFIX through a real UDP socket: what arrives, and what a flood loses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use netverdict_source::ipfix::{Counters, Error, Ipfix, Options};
use netverdict_source::{Counts, Receiver, Stop, channel};
use netverdict_types::{Headers, Key, SystemClock, TcpFlags, Timestamp, ZoneId};
use netverdict_wire::ipfix::{Exporter, Interface, Record};

/// For a wait that is over at once unless something is broken.
const LONG: Duration = Duration::from_secs(20);
const EXPORT_TIME: u32 = 1_795_400_181;

fn record(point: u32) -> Record<'static> {
    Record {
        domain: 0x0200_0001,
        point,
        headers: Headers {
            eth_src: Some([2; 6]),
            eth_dst: Some([4; 6]),
            ethertype: Some(0x0800),
            src: Some(IpAddr::from([10, 0, 0, 1])),
            dst: Some(IpAddr::from([10, 0, 0, 2])),
            protocol: Some(6),
            ttl: Some(64),
            src_port: Some(40_000),
            dst_port: Some(80),
            tcp_flags: Some(TcpFlags(TcpFlags::ACK)),
            ..Headers::default()
        },
        frame_length: 74,
        input: Interface {
            index: 4,
            kind: 6,
            name: "p1",
            description: "",
        },
        output: None,
        tunnel: None,
        vlan_priority: 0,
        tos: 0,
        flow_label: 0,
        time: Timestamp(1_795_400_180_500_000_000),
        packet_delta: 1,
        dropped: false,
    }
}

struct Collector {
    source: Ipfix,
    receiver: Receiver,
    counters: Arc<Counters>,
    address: SocketAddr,
}

fn collector(options: &Options) -> Collector {
    let (sender, receiver) = channel(4);
    let counters = Arc::new(Counters::default());
    let clock = Arc::new(SystemClock);
    let source = Ipfix::bind(options, clock, sender, Arc::clone(&counters)).unwrap();
    let address = source.address().unwrap();
    Collector {
        source,
        receiver,
        counters,
        address,
    }
}

/// Sends the templates, and then `count` records; says how many datagrams that were.
fn send(socket: &UdpSocket, to: SocketAddr, count: u32) -> u64 {
    let mut exporter = Exporter::default();
    let mut datagrams = 0;
    exporter.templates(0x0200_0001, EXPORT_TIME, |message| {
        socket.send_to(message, to).unwrap();
        datagrams += 1;
    });
    let mut message = Vec::new();
    for point in 0..count {
        message.clear();
        exporter.sample(EXPORT_TIME, &record(point), &mut message);
        socket.send_to(&message, to).unwrap();
        datagrams += 1;
    }
    datagrams
}

#[test]
fn records_of_a_dual_stack_socket_arrive_in_their_zones() {
    let mut options = Options::new("[::]:0".parse().unwrap());
    options.zone = ZoneId(7);
    options.zones = HashMap::from([(IpAddr::from([127, 0, 0, 1]), ZoneId(1))]);
    let Collector {
        source,
        receiver,
        counters,
        address,
    } = collector(&options);
    let stop = Stop::new().unwrap();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || source.run(&stop)
    });
    for from in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(from).unwrap();
        let local = socket.local_addr().unwrap();
        send(&socket, SocketAddr::new(local.ip(), address.port()), 10);
    }
    let mut seen: HashMap<ZoneId, Vec<u32>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 20 {
        let batch = receiver.recv_timeout(LONG).expect("records are missing");
        for sample in batch.samples() {
            let Key::Cookie(cookie) = sample.key else {
                panic!("{:?}", sample.key);
            };
            seen.entry(sample.zone).or_default().push(cookie.point);
        }
        receiver.give_back(batch);
    }
    let all: Vec<u32> = (0..10).collect();
    assert_eq!(seen[&ZoneId(1)], all);
    assert_eq!(seen[&ZoneId(7)], all);
    stop.stop();
    thread.join().unwrap().unwrap();
    assert_eq!(counters.samples.read(), 20);
    assert_eq!(counters.dropped.read(), 0);
    let names: Vec<_> = counters.counts();
    assert!(names.iter().all(|(name, _)| name.starts_with("ipfix_")));
}

/// What is lost when nobody reads is exactly what the kernel dropped, and exactly what was sent
/// less what was received.
#[test]
fn a_flood_is_lost_and_counted() {
    let mut options = Options::new("127.0.0.1:0".parse().unwrap());
    options.receive_buffer = 64 << 10;
    let Collector {
        source,
        receiver,
        counters,
        address,
    } = collector(&options);
    let buffer = source.receive_buffer().bytes;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A record takes more than 300 bytes; on the loopback it is in the queue, or dropped, when
    // `send_to` is over.
    let records = (5 * buffer / 300) as u32;
    let sent = send(&socket, address, records);
    let dropped = kernel_drops(address.port());
    assert!(dropped > 0, "{sent} datagrams fitted into {buffer} bytes");

    let stop = Stop::new().unwrap();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || source.run(&stop)
    });
    let mut samples = 0;
    while counters.datagrams.read() + dropped < sent {
        let batch = receiver.recv_timeout(LONG).expect("datagrams are missing");
        samples += batch.samples().count() as u64;
        receiver.give_back(batch);
    }
    // One more tells the sequence number after the flood.
    let mut exporter = Exporter::default();
    let mut message = Vec::new();
    for point in 0..=records {
        message.clear();
        exporter.sample(EXPORT_TIME, &record(point), &mut message);
    }
    socket.send_to(&message, address).unwrap();
    while samples < counters.samples.read() || counters.datagrams.read() + dropped < sent + 1 {
        let batch = receiver
            .recv_timeout(LONG)
            .expect("the last one is missing");
        samples += batch.samples().count() as u64;
        receiver.give_back(batch);
    }
    stop.stop();
    thread.join().unwrap().unwrap();
    while let Some(batch) = receiver.recv() {
        samples += batch.samples().count() as u64;
    }

    let received = counters.datagrams.read();
    assert_eq!(
        counters.dropped.read(),
        dropped,
        "our counter is the kernel's"
    );
    assert_eq!(dropped, sent + 1 - received, "and what is missing");
    // All templates were in front: only records are lost.
    assert_eq!(
        counters.lost.read(),
        dropped,
        "and the gaps of the exporter"
    );
    assert_eq!(samples, counters.samples.read());
    assert_eq!(samples + dropped, u64::from(records) + 1);
}

#[test]
fn an_address_in_use_is_named() {
    let first = collector(&Options::new("127.0.0.1:0".parse().unwrap()));
    let (sender, _receiver) = channel(1);
    let options = Options::new(first.address);
    let clock = Arc::new(SystemClock);
    let error = Ipfix::bind(&options, clock, sender, Arc::default())
        .err()
        .unwrap();
    assert!(matches!(&error, Error::Bind { address, .. } if *address == first.address));
    assert!(error.to_string().contains(&first.address.to_string()));
}

/// The drop counter in /proc/net/udp.
fn kernel_drops(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields[1].ends_with(&suffix))
        .and_then(|fields| fields.last()?.parse().ok())
        .unwrap()
}
