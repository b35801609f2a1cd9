//! What must hold for any input, one function a parser. The fuzz targets and the test over the
//! corpora (`crates/wire/tests/corpora.rs`) share them.
#![allow(dead_code)]

use netverdict_types::{Key, Timestamp, ZoneId};
use netverdict_wire::{acl_log as log, capture as file, conntrack, dpflows as flows};

/// Takes any input.
pub type Check = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const ALL: &[(&str, Check)] = &[
    ("acl_log", acl_log),
    ("capture", capture),
    ("conntrack_netlink", conntrack_netlink),
    ("conntrack_text", conntrack_text),
    ("dpflows", dpflows),
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
