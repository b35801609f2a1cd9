//! What must hold for any input, one function a parser. The fuzz targets and the test over the
//! corpora (`crates/wire/tests/corpora.rs`) share them.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::sync::OnceLock;

use netverdict_types::{Key, Timestamp, ZoneId};
use netverdict_wire::{
    acl_log as log, capture as file, conntrack, dpflows as flows, headers as packet, ipfix as flow,
    pcap as packets, psample as netlink,
};

/// Takes any input.
pub type Check = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const ALL: &[(&str, Check)] = &[
    ("acl_log", acl_log),
    ("capture", capture),
    ("conntrack_netlink", conntrack_netlink),
    ("conntrack_text", conntrack_text),
    ("dpflows", dpflows),
    ("headers", headers),
    ("ipfix", ipfix),
    ("pcap", pcap),
    ("psample", psample),
];

/// Lines of a log.
pub fn acl_log(data: &[u8]) {
    let mut scratch = String::new();
    for line in data.split(|&byte| byte == b'\n') {
        match log::parse(line, &mut scratch) {
            Ok(Some(line)) => {
                let sample = line.sample(ZoneId(0), Timestamp(1));
                assert!(matches!(sample.key, Key::Log { .. }));
            }
            Ok(None) => {}
            Err(error) => assert!(error.at <= line.len(), "the place is in the line"),
        }
    }
}

/// A capture file, and the same bytes behind a good head.
pub fn capture(data: &[u8]) {
    let mut behind = file::MAGIC.to_vec();
    behind.resize(16, 0);
    behind.extend_from_slice(data);
    let good = read(&behind);
    if data.starts_with(&file::MAGIC) {
        read(data);
    }
    // What lies behind any bytes is still found.
    let mut rest = Vec::new();
    file::frame::append(&mut rest, 200, b"the last frame").unwrap_or_default();
    behind.extend_from_slice(&rest);
    let more = read(&behind);
    assert!(more.unknown > good.unknown, "the neighbour was lost");
}

fn read(bytes: &[u8]) -> file::Lost {
    let Ok(mut reader) = file::Reader::new(bytes) else {
        return file::Lost::default();
    };
    let mut whole = 16;
    while let Ok(Some(block)) = reader.next_block() {
        for record in block.flatten() {
            if let file::Record::Sample(sample) = record {
                whole += sample.data.len();
            }
        }
    }
    let lost = reader.lost();
    assert!(whole > 0);
    assert!(reader.whole_end() + lost.frames.torn_bytes == bytes.len() as u64);
    lost
}

/// A datagram of netlink messages.
pub fn conntrack_netlink(data: &[u8]) {
    for message in conntrack::Messages::new(data) {
        match message {
            Ok(message) => {
                if let conntrack::Body::Entry(entry) = message.body {
                    let key = Key::ConntrackPoint(entry.obs_point_id());
                    let sample = entry.sample(ZoneId(0), Timestamp(1), key);
                    assert!(sample.headers.src.is_some());
                }
            }
            Err(error) => assert!(error.at < data.len(), "the place is in the datagram"),
        }
    }
}

/// Lines of `dpctl/dump-conntrack`.
pub fn conntrack_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        match conntrack::parse_line(line) {
            Ok(Some(entry)) => assert!(entry.orig.src.is_some()),
            Ok(None) => {}
            Err(error) => assert!(error.at <= line.len(), "the place is in the line"),
        }
    }
    conntrack::ZoneNames::from_list(text);
}

/// Lines of `dpctl/dump-flows`.
pub fn dpflows(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut totals = flows::Totals::default();
    for line in text.lines() {
        match flows::parse_line(line) {
            Ok(Some(flow)) => {
                if let Err(error) = totals.add(&flow) {
                    assert!(error.at <= line.len(), "the place is in the line");
                }
            }
            Ok(None) => {}
            Err(error) => assert!(error.at <= line.len(), "the place is in the line"),
        }
    }
}

/// A frame: each cut of it says less, never anything else.
pub fn headers(data: &[u8]) {
    let whole = packet::parse_frame(data);
    for cut in 0..data.len().min(200) {
        let less = packet::parse_frame(data.get(..cut).unwrap_or_default());
        assert!(less.src.is_none() || less.src == whole.src);
        assert!(less.src_port.is_none() || less.src_port == whole.src_port);
        assert!(less.dst_port.is_none() || less.dst_port == whole.dst_port);
        assert!(less.icmp.is_none() || less.icmp == whole.icmp);
    }
    packet::parse_ip(data);
}

/// Datagrams of one exporter, each behind its length in two bytes. One that follows from
/// another exporter is read as if nothing had been.
pub fn ipfix(data: &[u8]) {
    let stranger = SocketAddr::from(([10, 6, 6, 6], 6));
    let neighbour = SocketAddr::from(([10, 0, 0, 1], 1));
    let mut decoder = flow::Decoder::new(flow::Limits {
        templates: 100,
        waiting_bytes: 10_000,
        ..flow::Limits::default()
    });
    let mut rest = data;
    let mut given = 0;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (datagram, tail) =
            tail.split_at(tail.len().min(usize::from(u16::from_be_bytes(*length))));
        decoder.decode(datagram, stranger, Timestamp(1), ZoneId(0), |sample| {
            given += 1;
            assert!(matches!(sample.key, Key::Cookie(_)));
        });
        rest = tail;
    }
    let counters = *decoder.counters();
    assert_eq!(counters.samples, given);
    assert_eq!(
        counters.sets_waited,
        counters.sets_replayed + counters.sets_overflowed + decoder.waiting() as u64
    );
    let mut exporter = flow::Exporter::default();
    // The last one, with the template of the statistics, is enough.
    let templates = TEMPLATES.get_or_init(|| {
        let mut last = Vec::new();
        exporter.templates(7, 2, |message| last = message.to_vec());
        last
    });
    decoder.decode(templates, neighbour, Timestamp(2), ZoneId(0), |_| {});
    let mut message = Vec::new();
    exporter.statistics(2, 1, 1, &mut message);
    decoder.decode(&message, neighbour, Timestamp(2), ZoneId(0), |_| {});
    assert!(
        decoder
            .exporters()
            .any(|exporter| exporter.not_sent == Some(1))
    );
}

/// A capture file of packets.
pub fn pcap(data: &[u8]) {
    let Ok(mut reader) = packets::Reader::new(data) else {
        return;
    };
    // Each packet or error takes bytes of the file.
    for _ in 0..=data.len() {
        match reader.next_packet() {
            Ok(Some(packet)) => assert!(packet.data.len() <= data.len()),
            Ok(None) => return,
            Err(_) => {}
        }
    }
    unreachable!("the reader does not come to an end");
}

/// A datagram of netlink messages; what is read is written back the same.
pub fn psample(data: &[u8]) {
    for message in netlink::messages(data, None) {
        let Ok(netlink::Netlink::Psample(message)) = message else {
            continue;
        };
        let mut written = Vec::new();
        netlink::encode(&message, &mut written);
        let read = netlink::messages(&written, None).next();
        assert!(matches!(read, Some(Ok(netlink::Netlink::Psample(read))) if read == message));
        if let Some(Ok(tunnel)) = message.tunnel.map(netlink::Tunnel::parse) {
            let mut written = Vec::new();
            tunnel.encode(&mut written);
            let read = netlink::Tunnel::parse(&written);
            assert!(matches!(read, Ok(read) if read == tunnel));
        }
    }
    assert!(netlink::stamps(data).count() <= data.len() / 16);
    // A good message in front is never lost.
    let good = netlink::Message {
        family: 34,
        cookie: Some(&[2, 0, 0, 5, 0, 0, 0, 123]),
        probability: true,
        ..netlink::Message::default()
    };
    let mut datagram = Vec::new();
    netlink::encode(&good, &mut datagram);
    datagram.extend_from_slice(data);
    let mut decoder = netlink::Decoder::default();
    decoder.decode(&datagram, Timestamp(1), ZoneId(0), |_| {});
    assert!(decoder.counters.samples >= 1);
}

static TEMPLATES: OnceLock<Vec<u8>> = OnceLock::new();
