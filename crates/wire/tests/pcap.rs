//! Capture files: both formats in all their byte orders, tshark as judge, and damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::Read;

use common::{packets, tshark, udp_frame};
use netverdict_types::Timestamp;
use netverdict_wire::pcap::{Error, LinkType, Reader, Writer};
use proptest::prelude::*;

const RECORDED: &[u8] = include_bytes!("data/ipfix-ovs-3.5.pcap");
const MOMENT: Timestamp = Timestamp(1_795_400_180_123_456_789);

/// A pcap file of one packet.
fn pcap(big: bool, nanos: bool) -> Vec<u8> {
    let put = |out: &mut Vec<u8>, number: u32| {
        out.extend(if big {
            number.to_be_bytes()
        } else {
            number.to_le_bytes()
        });
    };
    let mut file = Vec::new();
    put(&mut file, if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
    if big {
        file.extend([0, 2, 0, 4]);
    } else {
        file.extend([2, 0, 4, 0]);
    }
    for number in [0, 0, 65_535, 101, 1_795_400_180] {
        put(&mut file, number);
    }
    put(&mut file, if nanos { 123_456_789 } else { 123_456 });
    put(&mut file, 3);
    put(&mut file, 60);
    file.extend([7, 8, 9]);
    file
}

#[test]
fn pcap_in_all_byte_orders_and_units() {
    for big in [false, true] {
        for nanos in [false, true] {
            let file = pcap(big, nanos);
            let mut reader = Reader::new(&file[..]).unwrap();
            let packet = reader.next_packet().unwrap().unwrap();
            assert_eq!(packet.data, [7, 8, 9]);
            assert_eq!(packet.link, LinkType::RAW);
            assert_eq!(packet.original_length, 60);
            let nanos = if nanos { 0 } else { 789 };
            assert_eq!(packet.time, MOMENT.before(nanos));
            assert!(reader.next_packet().unwrap().is_none());
        }
    }
}

#[test]
fn pcapng_of_the_other_byte_order_and_units() {
    let mut file = Vec::new();
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_be_bytes();
        [&kind.to_be_bytes(), &length[..], body, &length].concat()
    };
    let section = [
        0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255,
    ];
    file.extend(block(0x0a0d_0d0a, &section));
    // Times in 1/1024 seconds, 1000 seconds later.
    let options = [
        0, 9, 0, 1, 0x8a, 0, 0, 0, 0, 14, 0, 8, 0, 0, 0, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0,
    ];
    file.extend(block(
        1,
        &[&[0, 1, 0, 0, 0, 0, 0, 0], &options[..]].concat(),
    ));
    file.extend(block(0x7777, &[1, 2, 3, 4]));
    file.extend(block(3, &[0, 0, 0, 2, 5, 6, 0, 0]));
    let packet = [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 1, 0, 0, 0, 9, 42, 0, 0, 0,
    ];
    file.extend(block(6, &packet));
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().data, [5, 6]);
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!((packet.data, packet.original_length), (&[42][..], 9));
    assert_eq!(packet.time, Timestamp(1_001_500_000_000));
    assert!(reader.next_packet().unwrap().is_none());
}

#[test]
fn what_is_written_is_read_also_by_tshark() {
    let frame = udp_frame(53, b"not really DNS");
    let sentence = "Allowed by network policy blue/allow-server, direction Ingress – 10 %";
    let mut writer = Writer::new(Vec::new()).unwrap();
    let eth0 = writer
        .interface(LinkType::ETHERNET, Some("eth0"), Some("ovn-worker-1"))
        .unwrap();
    let bare = writer.interface(LinkType::ETHERNET, None, None).unwrap();
    writer
        .packet(eth0, MOMENT, &frame, 1_500, Some(sentence))
        .unwrap();
    writer
        .packet(bare, MOMENT.after(1), &frame[..20], 60, None)
        .unwrap();
    writer
        .packet(bare, MOMENT.after(2), &[], 60, Some(""))
        .unwrap();
    let file = writer.into_inner().unwrap();

    let mut reader = Reader::new(&file[..]).unwrap();
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!(
        (packet.time, packet.data, packet.original_length),
        (MOMENT, &frame[..], 1_500)
    );
    assert_eq!((packet.comment, packet.interface), (Some(sentence), 0));
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!((packet.time, packet.data), (MOMENT.after(1), &frame[..20]));
    assert_eq!((packet.comment, packet.interface), (None, 1));
    assert!(reader.next_packet().unwrap().unwrap().data.is_empty());
    assert!(reader.next_packet().unwrap().is_none());

    let path = std::env::temp_dir().join(format!("netverdict-{}.pcapng", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let rows = tshark(
        &path,
        &["-Y", "frame.number==1"],
        &[
            "frame.comment",
            "frame.interface_name",
            "frame.interface_description",
            "frame.time_epoch",
            "frame.len",
            "frame.cap_len",
            "udp.dstport",
        ],
    );
    std::fs::remove_file(&path).unwrap();
    if let Some(rows) = rows {
        assert_eq!(
            rows,
            [[
                sentence,
                "eth0",
                "ovn-worker-1",
                "1795400180.123456789",
                "1500",
                &frame.len().to_string(),
                "53",
            ]]
        );
    }
}

#[test]
fn a_long_comment_is_cut_between_letters() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let interface = writer.interface(LinkType::ETHERNET, None, None).unwrap();
    let comment = "–".repeat(30_000);
    writer
        .packet(interface, MOMENT, &[1], 1, Some(&comment))
        .unwrap();
    let file = writer.into_inner().unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    let read = reader.next_packet().unwrap().unwrap().comment.unwrap();
    assert!(comment.starts_with(read) && read.len() == 65_535);
}

#[test]
fn other_files_are_refused() {
    assert!(matches!(
        Reader::new(&b"{}"[..]),
        Err(Error::Truncated { offset: 0 })
    ));
    assert!(matches!(
        Reader::new(&b"{\"a\": 1}"[..]),
        Err(Error::Magic(_))
    ));
}

#[test]
fn an_unknown_interface_costs_one_packet() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let interface = writer.interface(LinkType::ETHERNET, None, None).unwrap();
    for byte in 0..3 {
        writer.packet(interface, MOMENT, &[byte], 1, None).unwrap();
    }
    let mut file = writer.into_inner().unwrap();
    let second = file.len() - 2 * 36;
    file[second + 8] = 9;
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().data, [0]);
    assert!(matches!(
        reader.next_packet(),
        Err(Error::Interface { interface: 9, .. })
    ));
    assert_eq!(reader.next_packet().unwrap().unwrap().data, [2]);
    file[second + 8] = 0;
    file[second + 20] = 200;
    let mut reader = Reader::new(&file[..]).unwrap();
    reader.next_packet().unwrap();
    assert!(matches!(reader.next_packet(), Err(Error::Block { .. })));
    assert_eq!(reader.next_packet().unwrap().unwrap().data, [2]);
}

#[test]
fn a_stated_length_takes_no_memory_before_its_bytes_are_there() {
    let mut file = pcap(false, false);
    file[32..36].copy_from_slice(&(16u32 << 20).to_le_bytes());
    let mut reader = Reader::new(&file[..]).unwrap();
    assert!(matches!(
        reader.next_packet(),
        Err(Error::Truncated { offset: 24 })
    ));
    assert!(reader.next_packet().unwrap().is_none());
    file[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut reader = Reader::new(&file[..]).unwrap();
    assert!(matches!(
        reader.next_packet(),
        Err(Error::Length { offset: 24, .. })
    ));
}

fn read_all(file: &[u8]) -> usize {
    let Ok(mut reader) = Reader::new(file) else {
        return 0;
    };
    let mut count = 0;
    let mut errors = 0;
    loop {
        match reader.next_packet() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return count,
            Err(_) => errors += 1,
        }
        assert!(count + errors < 10_000);
    }
}

proptest! {
    /// All packets before the damage are read.
    #[test]
    fn damage_costs_nothing_before_it(place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let mut writer = Writer::new(Vec::new()).unwrap();
        let interface = writer.interface(LinkType::ETHERNET, Some("p1"), None).unwrap();
        for byte in 0..20u8 {
            writer.packet(interface, MOMENT, &[byte; 33], 50, Some("why")).unwrap();
        }
        let mut file = writer.into_inner().unwrap();
        let length = file.len();
        let packet = (33usize.next_multiple_of(4)) + 32 + 4 + 4 + 4;
        let head = length - 20 * packet;
        let place = place.index(length);
        if cut {
            file.truncate(place);
        } else {
            file[place] ^= 1 << bit;
        }
        prop_assert!(read_all(&file) >= place.saturating_sub(head) / packet);
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..3) {
        let magic: &[u8] = match magic {
            0 => &[],
            1 => &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a],
            _ => &[0xd4, 0xc3, 0xb2, 0xa1],
        };
        bytes.splice(0..0, magic.iter().copied());
        read_all(&bytes);
    }
}

/// An input that gives one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = buffer.len().min(1);
        self.0.read(&mut buffer[..end])
    }
}

#[test]
fn a_pipe_that_drips_is_read_the_same() {
    let mut reader = Reader::new(Drip(RECORDED)).unwrap();
    for (time, data) in packets(RECORDED) {
        let packet = reader.next_packet().unwrap().unwrap();
        assert_eq!((packet.time, packet.data), (time, &data[..]));
    }
    assert!(reader.next_packet().unwrap().is_none());
}
