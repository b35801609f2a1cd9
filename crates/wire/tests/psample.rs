//! psample messages: what a Linux 6.12 kernel sent, and what nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::IpAddr;

use netverdict_types::{
    Cookie, IcmpKind, Input, Key, Origin, Probability, Sample, Timestamp, ZoneId,
};
use netverdict_wire::psample::{
    CMD_SAMPLE, Counters, Decoder, Family, FamilyError, Foreign, Malformed, Message, Netlink,
    Tunnel, encode, messages,
};
use proptest::prelude::*;

/// Repeated u32 little-endian length and netlink message, recorded in the VM lab.
const RECORDED: &[u8] = include_bytes!("data/psample-linux-6.12.bin");

/// Up to five messages of each kind, of node 1 of the two-zone lab.
const TWO_ZONES: &[u8] = include_bytes!("data/psample-linux-6.12-two-zones.bin");

fn recorded() -> Vec<&'static [u8]> {
    split(RECORDED)
}

fn split(mut rest: &'static [u8]) -> Vec<&'static [u8]> {
    let mut all = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (message, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        all.push(message);
        rest = tail;
    }
    all
}

fn decode<'a>(decoder: &mut Decoder, datagram: &'a [u8]) -> Vec<Sample<'a>> {
    let mut samples = Vec::new();
    decoder.decode(datagram, Timestamp(7), ZoneId(3), |sample| {
        samples.push(sample)
    });
    samples
}

#[test]
fn the_first_recorded_message_field_by_field() {
    let mut decoder = Decoder {
        family: Some(0x22),
        groups: vec![10],
        ..Decoder::default()
    };
    let samples = decode(&mut decoder, recorded()[0]);
    let [sample] = samples[..] else {
        panic!("{samples:?}")
    };
    assert_eq!(sample.origin, Origin::Psample);
    assert_eq!(sample.zone, ZoneId(3));
    assert_eq!(
        sample.key,
        Key::Cookie(Cookie {
            domain: 0x0200_0001,
            point: 4001
        })
    );
    assert_eq!(sample.group, Some(10));
    assert_eq!(sample.probability, Probability::ALL);
    assert_eq!(sample.input, Input::Index(4));
    assert_eq!((sample.length, sample.packets, sample.bytes), (98, 1, 98));
    assert_eq!(sample.time, Timestamp(0x18ea_8af3_9181_22fa));
    assert_eq!(sample.headers.src, Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(sample.headers.dst, Some(IpAddr::from([10, 0, 0, 2])));
    assert_eq!(sample.headers.icmp, Some(IcmpKind { kind: 8, code: 0 }));
    assert_eq!(sample.headers.icmp_id, Some(0x01aa));
    assert_eq!(sample.data.len(), 98);
}

#[test]
fn every_recorded_message_is_a_sample_and_is_written_back_byte_by_byte() {
    let mut decoder = Decoder::default();
    let all = [recorded(), split(TWO_ZONES)].concat();
    for datagram in &all {
        assert_eq!(decode(&mut decoder, datagram).len(), 1);
        let Some(Ok(Netlink::Psample(message))) = messages(datagram, None).next() else {
            panic!("{datagram:?}");
        };
        let mut written = Vec::new();
        encode(&message, &mut written);
        assert_eq!(&written, datagram);
    }
    assert_eq!(
        decoder.counters,
        Counters {
            samples: all.len() as u64,
            ..Counters::default()
        }
    );
}

#[test]
fn packets_of_both_families_and_out_of_a_tunnel() {
    let mut tunnels = 0;
    let mut families = [0, 0];
    for datagram in split(TWO_ZONES) {
        let Some(Ok(Netlink::Psample(message))) = messages(datagram, None).next() else {
            panic!("{datagram:?}");
        };
        let sample = message.sample(Timestamp(0), ZoneId(0));
        families[usize::from(sample.headers.src.unwrap().is_ipv6())] += 1;
        assert!(sample.headers.icmp.is_some() || sample.headers.src_port.is_some());
        let Some(attributes) = message.tunnel else {
            assert!(matches!(sample.input, Input::Index(_)));
            continue;
        };
        tunnels += 1;
        let tunnel = Tunnel::parse(attributes).unwrap();
        assert_eq!(tunnel.src, Some(IpAddr::from([172, 18, 0, 3])));
        assert_eq!(tunnel.dst, Some(IpAddr::from([172, 18, 0, 2])));
        assert_eq!(tunnel.dst_port, Some(6081));
        assert_eq!(sample.input, Input::Tunnel(IpAddr::from([172, 18, 0, 3])));
        let mut written = Vec::new();
        tunnel.encode(&mut written);
        assert_eq!(written, attributes);
    }
    assert!(tunnels > 10 && families[0] > 10 && families[1] > 10);
}

#[test]
fn several_messages_in_one_datagram() {
    let all: Vec<u8> = recorded().concat();
    let mut decoder = Decoder::default();
    assert_eq!(decode(&mut decoder, &all).len(), recorded().len());
}

#[test]
fn other_users_of_psample_are_foreign() {
    let ours = Message {
        family: 0x22,
        command: CMD_SAMPLE,
        version: 1,
        group: Some(10),
        rate: Some(u32::MAX),
        cookie: Some(&[2, 0, 0, 5, 0, 0, 0, 123]),
        probability: true,
        ..Message::default()
    };
    assert_eq!(ours.classify(&[]), Ok(()));
    assert_eq!(ours.classify(&[9, 10]), Ok(()));
    let mut decoder = Decoder {
        family: Some(0x22),
        groups: vec![10],
        ..Decoder::default()
    };
    for (foreign, why) in [
        (
            Message {
                cookie: None,
                ..ours
            },
            Foreign::NoCookie,
        ),
        (
            Message {
                probability: false,
                ..ours
            },
            Foreign::Ratio,
        ),
        (
            Message {
                group: Some(11),
                ..ours
            },
            Foreign::Group,
        ),
        (
            Message {
                group: None,
                ..ours
            },
            Foreign::Group,
        ),
        (Message { command: 2, ..ours }, Foreign::Command(2)),
    ] {
        assert_eq!(foreign.classify(&[10]), Err(why));
        let mut written = Vec::new();
        encode(&foreign, &mut written);
        encode(&ours, &mut written);
        assert_eq!(decode(&mut decoder, &written).len(), 1, "{why:?}");
    }
    let mut other_family = Vec::new();
    encode(
        &Message {
            family: 0x23,
            ..ours
        },
        &mut other_family,
    );
    assert_eq!(decode(&mut decoder, &other_family).len(), 0);
    assert_eq!(
        decoder.counters,
        Counters {
            samples: 5,
            foreign_without_cookie: 1,
            foreign_ratio: 1,
            foreign_group: 2,
            foreign_command: 1,
            foreign_family: 1,
            ..Counters::default()
        }
    );
    assert_eq!(decoder.counters.foreign(), 6);
}

#[test]
fn a_cookie_of_another_length_leads_nowhere_but_is_a_sample() {
    let mut written = Vec::new();
    encode(
        &Message {
            family: 0x22,
            cookie: Some(&[1, 2, 3]),
            probability: true,
            ..Message::default()
        },
        &mut written,
    );
    let mut decoder = Decoder::default();
    let samples = decode(&mut decoder, &written);
    assert_eq!((samples.len(), samples[0].key), (1, Key::None));
    assert_eq!(decoder.counters.unknown_cookies, 1);
    assert_eq!(samples[0].time, Timestamp(7));
}

#[test]
fn control_messages_are_told_apart() {
    let mut datagram = Vec::new();
    for (kind, body) in [
        (1u16, vec![]),
        (2, (-105i32).to_ne_bytes().to_vec()),
        (2, vec![0; 4]),
        (3, vec![]),
        (4, vec![]),
        (2, vec![]),
    ] {
        datagram.extend((16 + body.len() as u32).to_ne_bytes());
        datagram.extend(kind.to_ne_bytes());
        datagram.extend([0; 10]);
        datagram.extend(body);
    }
    let seen: Vec<_> = messages(&datagram, Some(0x22)).collect();
    assert_eq!(
        seen,
        [
            Ok(Netlink::Noop),
            Ok(Netlink::Error(-105)),
            Ok(Netlink::Error(0)),
            Ok(Netlink::Done),
            Ok(Netlink::Overrun),
            Err(Malformed::Body(2)),
        ]
    );
    let mut decoder = Decoder::default();
    decode(&mut decoder, &datagram);
    assert_eq!(
        decoder.counters,
        Counters {
            control: 3,
            errors: 1,
            overruns: 1,
            malformed: 1,
            ..Counters::default()
        }
    );
}

#[test]
fn data_of_any_length_gives_a_sample() {
    let datagram = recorded()[0];
    let Some(Ok(Netlink::Psample(message))) = messages(datagram, None).next() else {
        panic!();
    };
    let data = message.data.unwrap();
    for length in 0..=data.len() {
        let mut written = Vec::new();
        encode(
            &Message {
                data: Some(&data[..length]),
                ..message
            },
            &mut written,
        );
        let mut decoder = Decoder::default();
        let samples = decode(&mut decoder, &written);
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].length, 98);
        assert_eq!(samples[0].headers.ethertype, Some(0x0800));
        assert_eq!(samples[0].headers.icmp.is_some(), length >= 36);
    }
    let mut written = Vec::new();
    encode(
        &Message {
            data: None,
            ..message
        },
        &mut written,
    );
    assert_eq!(decode(&mut Decoder::default(), &written).len(), 1);
}

#[test]
fn an_attribute_of_the_wrong_size_is_named() {
    let mut datagram = recorded()[0].to_vec();
    // The first attribute is IIFINDEX with two bytes.
    datagram[20] = 5;
    assert_eq!(
        messages(&datagram, None).next(),
        Some(Err(Malformed::Size { kind: 0, size: 1 }))
    );
    datagram[20] = 3;
    assert_eq!(
        messages(&datagram, None).next(),
        Some(Err(Malformed::Attribute(0)))
    );
}

prop_compose! {
    fn tunnel()(
        id in any::<Option<u64>>(), v6 in any::<bool>(), src in any::<Option<[u8; 16]>>(),
        dst in any::<Option<[u8; 16]>>(), tos in any::<Option<u8>>(), ttl in any::<Option<u8>>(),
        flags in any::<(bool, bool, bool, bool)>(), src_port in any::<Option<u16>>(),
        dst_port in any::<Option<u16>>(),
    ) -> Tunnel<'static> {
        let address = |bytes: [u8; 16]| if v6 {
            IpAddr::from(bytes)
        } else {
            IpAddr::from(*bytes.first_chunk::<4>().unwrap())
        };
        Tunnel {
            id, src: src.map(address), dst: dst.map(address), tos, ttl,
            dont_fragment: flags.0, checksum: flags.1, oam: flags.2, bridge: flags.3,
            src_port, dst_port, geneve_options: Some(&[1, 2, 3, 4, 5, 6, 7, 8]), erspan_options: None,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        indexes in any::<(Option<u16>, Option<u16>)>(),
        sizes in any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>, Option<u32>)>(),
        out in any::<(Option<u16>, Option<u64>, Option<u64>)>(),
        timestamp in any::<Option<u64>>(), ethertype in any::<Option<u16>>(),
        data in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        cookie in prop::option::of(prop::collection::vec(any::<u8>(), 0..17)),
        probability in any::<bool>(), tunnel in tunnel(),
    ) {
        let mut nested = Vec::new();
        tunnel.encode(&mut nested);
        prop_assert_eq!(Tunnel::parse(&nested), Ok(tunnel));
        let message = Message {
            family: 0x22, command: 0, version: 1,
            in_index: indexes.0, out_index: indexes.1,
            original_size: sizes.0, group: sizes.1, sequence: sizes.2, rate: sizes.3, refcount: sizes.4,
            data: data.as_deref(), tunnel: Some(&nested),
            out_tc: out.0, out_tc_occupancy: out.1, latency: out.2,
            timestamp, ethertype, cookie: cookie.as_deref(), probability,
        };
        let mut written = Vec::new();
        encode(&message, &mut written);
        encode(&message, &mut written);
        let read: Vec<_> = messages(&written, Some(0x22)).collect();
        prop_assert_eq!(read, vec![Ok(Netlink::Psample(message)); 2]);
        if let Some(src) = tunnel.src {
            prop_assert_eq!(message.sample(Timestamp(0), ZoneId(0)).input, Input::Tunnel(src));
        }
    }

    /// Whatever happens to one message, the others of other datagrams and those before it in
    /// the same datagram are read as before.
    #[test]
    fn damage_stays_where_it_is(which in 0usize..80, place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let all = recorded();
        let mut damaged = all[which].to_vec();
        if cut {
            damaged.truncate(place.index(damaged.len()));
        } else {
            let place = place.index(damaged.len());
            damaged[place] ^= 1 << bit;
        }
        let datagram = [all[0], &damaged, all[1]].concat();
        let mut decoder = Decoder::default();
        let samples = decode(&mut decoder, &datagram);
        prop_assert!(!samples.is_empty());
        prop_assert_eq!(samples[0].time, Timestamp(0x18ea_8af3_9181_22fa));
    }
}

#[test]
fn the_controllers_answer_is_read() {
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = (4 + value.len() as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }
    let group =
        |name: &[u8], id: u32| [attribute(1, name), attribute(2, &id.to_ne_bytes())].concat();
    let groups = [
        attribute(1, &group(b"config\0", 5)),
        attribute(2, &group(b"packets\0", 6)),
    ]
    .concat();
    let body = [
        vec![1, 2, 0, 0],
        attribute(2, b"psample\0"),
        attribute(1, &0x22u16.to_ne_bytes()),
        attribute(7 | 0x8000, &groups),
    ]
    .concat();
    let message = |kind: u16, body: &[u8]| {
        let mut out = (16 + body.len() as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 10]);
        out.extend(body);
        out
    };
    let answer = message(16, &body);
    let family = Family {
        id: 0x22,
        packets: 6,
    };
    assert_eq!(Family::parse(&answer), Ok(family));
    let refusal = message(2, &(-2i32).to_ne_bytes());
    assert_eq!(Family::parse(&refusal), Err(FamilyError::Refused(2)));
    assert_eq!(
        Family::parse(&message(16, &body[..16])),
        Err(FamilyError::Incomplete)
    );
    for length in 0..answer.len() {
        assert!(
            Family::parse(&answer[..length])
                != Ok(Family {
                    id: 0x22,
                    packets: 5
                })
        );
    }
}
