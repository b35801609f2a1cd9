use std::net::IpAddr;

use netverdict_types::{
    Cookie, Headers, IcmpKind, Input, Key, LogDirection, LogVerdict, Origin, Probability, Sample,
    TcpFlags,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// A record that owns its parts.
#[derive(Clone, Debug)]
enum Owned {
    Clock(u16, i64, u64),
    Revision(u16, u64, i64, Option<(i64, i64)>, Vec<u8>),
    Sample(Box<OwnedSample>),
    Counter(u16, i64, String, u64),
}

#[derive(Clone, Debug)]
struct OwnedSample {
    zone: u16,
    time: i64,
    origin: Origin,
    key: OwnedKey,
    group: Option<u32>,
    probability: u32,
    input: OwnedInput,
    headers: Headers,
    numbers: (u32, u64, u64),
    data: Vec<u8>,
}

#[derive(Clone, Debug)]
enum OwnedKey {
    Cookie(u32, u32),
    Point(u32),
    Label(u32),
    Log(String, LogVerdict, LogDirection),
    None,
}

#[derive(Clone, Debug)]
enum OwnedInput {
    Unknown,
    Index(u32),
    Name(String),
    Tunnel(IpAddr),
}

impl Owned {
    fn borrow(&self) -> Record<'_> {
        match self {
            Self::Clock(zone, wall, monotonic) => Record::Clock(Clock {
                zone: ZoneId(*zone),
                wall: Timestamp(*wall),
                monotonic: *monotonic,
            }),
            Self::Revision(zone, number, time, gap, json) => Record::Revision(Revision {
                zone: ZoneId(*zone),
                number: *number,
                time: Timestamp(*time),
                gap: gap.map(|(from, to)| (Timestamp(from), Timestamp(to))),
                json,
            }),
            Self::Sample(sample) => Record::Sample(sample.borrow()),
            Self::Counter(zone, time, name, value) => Record::Counter(Counter {
                zone: ZoneId(*zone),
                time: Timestamp(*time),
                name,
                value: *value,
            }),
        }
    }
}

impl OwnedSample {
    fn borrow(&self) -> Sample<'_> {
        Sample {
            zone: ZoneId(self.zone),
            origin: self.origin,
            time: Timestamp(self.time),
            key: match &self.key {
                OwnedKey::Cookie(domain, point) => Key::Cookie(Cookie {
                    domain: *domain,
                    point: *point,
                }),
                OwnedKey::Point(point) => Key::ConntrackPoint(*point),
                OwnedKey::Label(label) => Key::Label(*label),
                OwnedKey::Log(name, verdict, direction) => Key::Log {
                    name,
                    verdict: *verdict,
                    direction: *direction,
                },
                OwnedKey::None => Key::None,
            },
            group: self.group,
            probability: Probability(self.probability),
            input: match &self.input {
                OwnedInput::Unknown => Input::Unknown,
                OwnedInput::Index(index) => Input::Index(*index),
                OwnedInput::Name(name) => Input::Name(name),
                OwnedInput::Tunnel(address) => Input::Tunnel(*address),
            },
            headers: self.headers,
            length: self.numbers.0,
            packets: self.numbers.1,
            bytes: self.numbers.2,
            data: &self.data,
        }
    }
}

fn write(records: &[Owned], options: Options, flush_every: usize) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    for id in 0..3 {
        writer.zone(&zone(id)).unwrap();
    }
    for (place, record) in records.iter().enumerate() {
        writer.record(&record.borrow()).unwrap();
        if (place + 1) % flush_every == 0 {
            writer.flush().unwrap();
        }
    }
    let file = writer.finish().unwrap();
    assert!(file.len() >= HEAD);
    file
}

fn zone(id: u16) -> Zone<'static> {
    Zone {
        id: ZoneId(id),
        name: ["zone-a", "zone-b", "ö"][usize::from(id)],
        node: ["node-a", "", "n"][usize::from(id)],
    }
}

/// All records of a capture as text, without the zone definitions, and what was lost.
fn read(file: &[u8]) -> (Vec<String>, Lost) {
    let mut reader = Reader::new(file).unwrap();
    let mut all = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        let mut defined = Vec::new();
        for record in block.flatten() {
            let used = match &record {
                Record::Zone(seen) => {
                    assert_eq!(*seen, zone(seen.id.0));
                    defined.push(seen.id);
                    continue;
                }
                Record::Clock(clock) => clock.zone,
                Record::Revision(revision) => revision.zone,
                Record::Sample(sample) => sample.zone,
                Record::Counter(counter) => counter.zone,
            };
            assert!(defined.contains(&used), "each block defines its zones");
            all.push(format!("{record:?}"));
        }
    }
    (all, reader.lost())
}

fn expected(records: &[Owned]) -> Vec<String> {
    records
        .iter()
        .map(|record| format!("{:?}", record.borrow()))
        .collect()
}

fn headers() -> impl Strategy<Value = Headers> {
    let outer = (
        option::of(any::<[u8; 6]>()),
        option::of(any::<[u8; 6]>()),
        option::of(any::<u16>()),
        option::of(0_u16..4096),
        option::of(any::<IpAddr>()),
        option::of(any::<IpAddr>()),
        option::of(any::<u8>()),
        option::of(any::<u8>()),
    );
    let inner = (
        option::of(any::<u16>()),
        any::<bool>(),
        option::of(any::<u16>()),
        option::of(any::<u16>()),
        option::of(any::<u8>()),
        option::of(any::<u32>()),
        option::of(any::<(u8, u8)>()),
        option::of(any::<u16>()),
    );
    (outer, inner).prop_map(|(outer, inner)| Headers {
        eth_src: outer.0,
        eth_dst: outer.1,
        ethertype: outer.2,
        vlan: outer.3,
        src: outer.4,
        dst: outer.5,
        protocol: outer.6,
        ttl: outer.7,
        ip_id: inner.0,
        later_fragment: inner.1,
        src_port: inner.2,
        dst_port: inner.3,
        tcp_flags: inner.4.map(TcpFlags),
        tcp_seq: inner.5,
        icmp: inner.6.map(|(kind, code)| IcmpKind { kind, code }),
        icmp_id: inner.7,
    })
}

fn sample() -> impl Strategy<Value = OwnedSample> {
    let origin = prop_oneof![
        Just(Origin::Psample),
        Just(Origin::Ipfix),
        Just(Origin::AclLog),
        Just(Origin::Conntrack),
        Just(Origin::Datapath),
        Just(Origin::Ebpf),
        Just(Origin::Twin),
    ];
    let verdict = prop_oneof![
        Just(LogVerdict::Allow),
        Just(LogVerdict::Drop),
        Just(LogVerdict::Reject),
        Just(LogVerdict::Pass),
    ];
    let direction = prop_oneof![Just(LogDirection::FromLport), Just(LogDirection::ToLport)];
    let key = prop_oneof![
        any::<(u32, u32)>().prop_map(|(domain, point)| OwnedKey::Cookie(domain, point)),
        any::<u32>().prop_map(OwnedKey::Point),
        any::<u32>().prop_map(OwnedKey::Label),
        (".{0,20}", verdict, direction).prop_map(|(name, v, d)| OwnedKey::Log(name, v, d)),
        Just(OwnedKey::None),
    ];
    let input = prop_oneof![
        Just(OwnedInput::Unknown),
        any::<u32>().prop_map(OwnedInput::Index),
        ".{0,15}".prop_map(OwnedInput::Name),
        any::<IpAddr>().prop_map(OwnedInput::Tunnel),
    ];
    let rest = (
        option::of(any::<u32>()),
        any::<u32>(),
        input,
        headers(),
        any::<(u32, u64, u64)>(),
        vec(any::<u8>(), 0..80),
    );
    (0_u16..3, any::<i64>(), origin, key, rest).prop_map(|(zone, time, origin, key, rest)| {
        OwnedSample {
            zone,
            time,
            origin,
            key,
            group: rest.0,
            probability: rest.1,
            input: rest.2,
            headers: rest.3,
            numbers: rest.4,
            data: rest.5,
        }
    })
}

fn record() -> impl Strategy<Value = Owned> {
    prop_oneof![
        1 => (0_u16..3, any::<i64>(), any::<u64>()).prop_map(|(z, w, m)| Owned::Clock(z, w, m)),
        1 => (
            0_u16..3,
            any::<u64>(),
            any::<i64>(),
            option::of(any::<(i64, i64)>()),
            vec(any::<u8>(), 0..100)
        )
            .prop_map(|(z, n, t, g, j)| Owned::Revision(z, n, t, g, j)),
        4 => sample().prop_map(|sample| Owned::Sample(Box::new(sample))),
        1 => (0_u16..3, any::<i64>(), "[a-z_]{0,20}", any::<u64>())
            .prop_map(|(z, t, n, v)| Owned::Counter(z, t, n, v)),
    ]
}

const FULL: Options = Options {
    full: true,
    level: 1,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_comes_back(records in vec(record(), 0..40), every in 1_usize..20) {
        let (back, lost) = read(&write(&records, FULL, every));
        prop_assert!(lost.is_none());
        prop_assert_eq!(back, expected(&records));
    }

    #[test]
    fn a_cut_at_any_byte_leaves_whole_blocks(records in vec(record(), 1..8), every in 1_usize..4) {
        let file = write(&records, FULL, every);
        let all = expected(&records);
        for cut in HEAD..file.len() {
            let mut reader = Reader::new(&file[..cut]).unwrap();
            while reader.next_block().unwrap().is_some() {}
            let end = usize::try_from(reader.whole_end()).unwrap();
            prop_assert_eq!(reader.lost().frames.torn_bytes, (cut - end) as u64);
            let (back, lost) = read(&file[..cut]);
            prop_assert_eq!(lost.frames.corrupt, 0);
            prop_assert!(back.len() % every == 0 || back.len() == all.len());
            prop_assert_eq!(&back, &all[..back.len()]);
            // Only whole blocks stand before the end, and a writer can go on there.
            let (again, lost) = read(&file[..end]);
            prop_assert!(lost.is_none());
            prop_assert_eq!(back, again);
        }
        for cut in 0..HEAD {
            prop_assert!(matches!(Reader::new(&file[..cut]), Err(Error::NotACapture(_))));
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_block(
        records in vec(record(), 6..12),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut file = write(&records, FULL, 2);
        let place = HEAD + place.index(file.len() - HEAD);
        file[place] ^= 1 << bit;
        let all = expected(&records);
        let (back, lost) = read(&file);
        prop_assert!(!lost.is_none());
        prop_assert!(all.len() - back.len() <= 2);
        prop_assert!(back.iter().all(|record| all.contains(record)));
    }

    #[test]
    fn a_block_of_noise_is_counted(noise in vec(any::<u8>(), 0..200), good in sample()) {
        let good = [Owned::Sample(Box::new(good))];
        let mut file = write(&[], FULL, 1);
        let mut packed = (noise.len() as u32).to_le_bytes().to_vec();
        packed.extend(zstd::bulk::compress(&noise, 1).unwrap());
        frame::append(&mut file, BLOCK, &packed).unwrap();
        frame::append(&mut file, BLOCK, &noise).unwrap();
        frame::append(&mut file, 77, &noise).unwrap();
        file.extend_from_slice(&write(&good, FULL, 1)[HEAD..]);
        let mut reader = Reader::new(file.as_slice()).unwrap();
        let mut last = None;
        while let Some(block) = reader.next_block().unwrap() {
            last = block.filter_map(Result::ok).last().map(|record| format!("{record:?}"));
        }
        prop_assert_eq!(last, expected(&good).pop());
        prop_assert!(reader.lost().unknown >= 1);
    }
}

#[test]
fn headers_only_keeps_no_payload() {
    let builder = || etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([1; 4], [2; 4], 64);
    let secret = [0x5a; 100];
    let packet = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut data = Vec::new();
        write(&mut data);
        data
    };
    let tcp = packet(&|out| builder().tcp(1, 2, 3, 4).write(out, &secret).unwrap());
    let udp = packet(&|out| builder().udp(1, 2).write(out, &secret).unwrap());
    let echo = packet(&|out| {
        builder()
            .icmpv4_echo_request(1, 2)
            .write(out, &secret)
            .unwrap();
    });
    let sctp = packet(&|out| {
        builder()
            .write(out, etherparse::IpNumber::SCTP, &secret)
            .unwrap();
    });
    let mut padded = packet(&|out| builder().tcp(1, 2, 3, 4).write(out, &[]).unwrap());
    padded.extend_from_slice(&[0; 6]);
    let cut_off = tcp[..40].to_vec();
    for (data, kept) in [
        (tcp, 14 + 20 + 20),
        (udp, 14 + 20 + 8),
        (echo, 14 + 20 + 8 + 48),
        (sctp, 14 + 20 + 8),
        (padded, 14 + 20 + 20),
        (cut_off, 14 + 20 + 6),
        (vec![1; 5], 5),
        (Vec::new(), 0),
    ] {
        let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
        let sample = OwnedSample {
            zone: 0,
            time: 1,
            origin: Origin::Psample,
            key: OwnedKey::None,
            group: None,
            probability: u32::MAX,
            input: OwnedInput::Unknown,
            headers: Headers::default(),
            numbers: (data.len() as u32, 1, 1),
            data,
        };
        writer.sample(&sample.borrow()).unwrap();
        let file = writer.finish().unwrap();
        let mut reader = Reader::new(file.as_slice()).unwrap();
        let mut block = reader.next_block().unwrap().unwrap();
        let Some(Ok(Record::Sample(back))) = block.next() else {
            panic!("no sample came back");
        };
        assert_eq!(back.data, &sample.data[..kept]);
        assert_eq!(back.length as usize, sample.data.len());
    }
}

#[test]
fn a_resumed_file_goes_on() {
    let first = [Owned::Counter(1, 5, "lost".to_owned(), 3)];
    let mut file = write(&first, FULL, 1);
    file.extend_from_slice(b"torn");
    let mut reader = Reader::new(file.as_slice()).unwrap();
    while reader.next_block().unwrap().is_some() {}
    assert_eq!(reader.lost().frames.torn_bytes, 4);
    let end = usize::try_from(reader.whole_end()).unwrap();
    file.truncate(end);
    let mut writer = Writer::resume(file, FULL).unwrap();
    writer.zone(&zone(2)).unwrap();
    writer
        .counter(&Counter {
            zone: ZoneId(2),
            time: Timestamp(6),
            name: "x",
            value: 4,
        })
        .unwrap();
    let (back, lost) = read(&writer.finish().unwrap());
    assert!(lost.is_none());
    assert_eq!(back.len(), 2);
}

#[test]
fn limits_are_told() {
    let mut writer = Writer::new(Vec::new(), FULL).unwrap();
    let long = "x".repeat(NAME_MAX + 1);
    let outcome = writer.counter(&Counter {
        name: &long,
        ..Counter::default()
    });
    assert!(matches!(outcome, Err(Error::TooLong { .. })));
    let mut newer = write(&[], FULL, 1);
    newer[8] = 2;
    assert!(matches!(
        Reader::new(newer.as_slice()),
        Err(Error::Newer(2))
    ));
}

#[test]
fn a_large_revision_has_its_own_block() {
    // More than a frame holds before compression.
    let json = vec![b'x'; 70 << 20];
    let mut writer = Writer::new(Vec::new(), FULL).unwrap();
    writer.clock(&Clock::default()).unwrap();
    let revision = Revision {
        json: &json,
        ..Revision::default()
    };
    writer.revision(&revision).unwrap();
    assert_eq!(writer.pending(), 0);
    let file = writer.finish().unwrap();
    let mut reader = Reader::new(file.as_slice()).unwrap();
    let mut blocks = 0;
    while let Some(block) = reader.next_block().unwrap() {
        blocks += 1;
        for record in block {
            if let Record::Revision(back) = record.unwrap() {
                assert_eq!(back, revision);
            }
        }
    }
    assert_eq!(blocks, 2);
    assert!(reader.lost().is_none());
}

#[test]
fn an_unfinished_varint_is_refused() {
    assert_eq!(record::take_uint(&[0xff; 10]), None);
    assert_eq!(record::take_uint(&[0x80]), None);
    let mut bytes = Vec::new();
    record::put_uint(&mut bytes, u64::MAX);
    assert_eq!(record::take_uint(&bytes), Some((u64::MAX, &[][..])));
}
