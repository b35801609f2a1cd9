use proptest::option;
use proptest::prelude::*;

use super::*;

/// Writes netlink attributes, to check the reader by.
#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.0
            .extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn nest(self, kind: u16, inner: Self) -> Self {
        self.put(kind | 0x8000, &inner.0)
    }

    fn some<const N: usize>(self, kind: u16, value: Option<[u8; N]>) -> Self {
        match value {
            Some(value) => self.put(kind, &value),
            None => self,
        }
    }
}

fn tuple_attributes(tuple: &Tuple) -> Attributes {
    let mut addresses = Attributes::default();
    for (offset, address) in [tuple.src, tuple.dst].into_iter().enumerate() {
        let offset = offset as u16;
        addresses = match address {
            Some(IpAddr::V4(address)) => addresses.put(1 + offset, &address.octets()),
            Some(IpAddr::V6(address)) => addresses.put(3 + offset, &address.octets()),
            None => addresses,
        };
    }
    let icmp = if tuple.protocol == 58 { 7 } else { 4 };
    let proto = Attributes::default()
        .put(1, &[tuple.protocol])
        .some(2, tuple.src_port.map(u16::to_be_bytes))
        .some(3, tuple.dst_port.map(u16::to_be_bytes))
        .some(icmp, tuple.icmp_id.map(u16::to_be_bytes))
        .some(icmp + 1, tuple.icmp.map(|icmp| [icmp.kind]))
        .some(icmp + 2, tuple.icmp.map(|icmp| [icmp.code]));
    Attributes::default()
        .nest(1, addresses)
        .nest(2, proto)
        .some(3, tuple.zone.map(u16::to_be_bytes))
}

fn count_attributes(count: Count) -> Attributes {
    Attributes::default()
        .put(1, &count.packets.to_be_bytes())
        .put(2, &count.bytes.to_be_bytes())
        .put(5, &[])
}

fn to_message(entry: &Entry) -> Vec<u8> {
    let mut all = Attributes::default()
        .nest(1, tuple_attributes(&entry.orig))
        .nest(2, tuple_attributes(&entry.reply))
        .some(3, entry.status.map(|status| status.0.to_be_bytes()))
        .some(7, entry.timeout.map(u32::to_be_bytes))
        .some(12, entry.id.map(u32::to_be_bytes))
        .put(8, &entry.mark.to_be_bytes())
        .put(18, &entry.zone.to_be_bytes())
        .put(22, &entry.label.to_ne_bytes())
        .put(99, b"of later kernels");
    for (kind, count) in [(9, entry.orig_count), (10, entry.reply_count)] {
        if let Some(count) = count {
            all = all.nest(kind, count_attributes(count));
        }
    }
    if let Some(state) = entry.tcp_state {
        let number = KERNEL.iter().position(|&known| known == state).unwrap();
        let tcp = Attributes::default().put(1, &[number as u8]).put(2, &[7]);
        all = all.nest(4, Attributes::default().nest(1, tcp));
    }
    if entry.start.is_some() || entry.stop.is_some() {
        let times = Attributes::default()
            .some(1, entry.start.map(|time| time.0.to_be_bytes()))
            .some(2, entry.stop.map(|time| time.0.to_be_bytes()));
        all = all.nest(20, times);
    }
    message(1 << 8, 2, &[&[2, 0, 0, 0], all.0.as_slice()].concat())
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut whole = (16 + body.len() as u32).to_ne_bytes().to_vec();
    whole.extend_from_slice(&kind.to_ne_bytes());
    whole.extend_from_slice(&flags.to_ne_bytes());
    whole.extend_from_slice(&7_u32.to_ne_bytes());
    whole.extend_from_slice(&0_u32.to_ne_bytes());
    whole.extend_from_slice(body);
    whole.resize(whole.len().next_multiple_of(4), 0);
    whole
}

/// Writes an entry as Open vSwitch does with `-m -s`, to check the reader by.
fn to_text(entry: &Entry) -> String {
    let tuple = |tuple: &Tuple, count: Option<Count>| {
        let mut text = format!("src={},dst={}", tuple.src.unwrap(), tuple.dst.unwrap());
        if let Some(id) = tuple.icmp_id {
            text += &format!(",id={id}");
            if let Some(icmp) = tuple.icmp {
                text += &format!(",type={},code={}", icmp.kind, icmp.code);
            }
        } else {
            let (sport, dport) = (tuple.src_port.unwrap_or(0), tuple.dst_port.unwrap_or(0));
            text += &format!(",sport={sport},dport={dport}");
        }
        if let Some(count) = count {
            text += &format!(",packets={},bytes={}", count.packets, count.bytes);
        }
        text
    };
    let protocol = match entry.orig.protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    };
    let mut text = format!(
        "{protocol},orig=({}),reply=({})",
        tuple(&entry.orig, entry.orig_count),
        tuple(&entry.reply, entry.reply_count)
    );
    if let Some(id) = entry.id {
        text += &format!(",id={id}");
    }
    if entry.zone != 0 {
        text += &format!(",zone={}", entry.zone);
    }
    if let Some(status) = entry.status {
        text += &format!(",status={:#x}", status.0);
    }
    if let Some(timeout) = entry.timeout {
        text += &format!(",timeout={timeout}");
    }
    if entry.mark != 0 {
        text += &format!(",mark={}", entry.mark);
    }
    if entry.label != 0 {
        text += &format!(",labels={:#x}", entry.label);
    }
    if entry.tcp_state == Some(TcpState::Established) {
        text += ",protoinfo=(state_orig=SYN_SENT,state_reply=ESTABLISHED,wscale_orig=7,\
                 wscale_reply=7,flags_orig=WINDOW_SCALE|SACK_PERM,flags_reply=)";
    }
    text
}

const KERNEL: [TcpState; 10] = [
    TcpState::None,
    TcpState::SynSent,
    TcpState::SynReceived,
    TcpState::Established,
    TcpState::FinWait,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
    TcpState::Close,
    TcpState::Listen,
];

fn tuple(protocol: u8, v6: bool) -> impl Strategy<Value = Tuple> {
    let has_ports = matches!(protocol, 6 | 17 | 132);
    let has_id = matches!(protocol, 1 | 58);
    let address = move || {
        any::<[u8; 16]>().prop_map(move |octets| {
            if v6 {
                IpAddr::from(octets)
            } else {
                IpAddr::from([octets[0], octets[1], octets[2], octets[3]])
            }
        })
    };
    (
        address(),
        address(),
        any::<(u16, u16, u8, u8)>(),
        option::of(any::<u16>()),
    )
        .prop_map(move |(src, dst, numbers, zone)| Tuple {
            src: Some(src),
            dst: Some(dst),
            protocol,
            src_port: has_ports.then_some(numbers.0),
            dst_port: has_ports.then_some(numbers.1),
            icmp: has_id.then_some(IcmpKind {
                kind: numbers.2,
                code: numbers.3,
            }),
            icmp_id: has_id.then_some(numbers.0),
            zone,
        })
}

fn entry() -> impl Strategy<Value = Entry> {
    let protocol = prop_oneof![Just(1_u8), Just(6), Just(17), Just(47), Just(58), Just(132)];
    (protocol, any::<bool>())
        .prop_flat_map(|(protocol, v6)| {
            (
                (tuple(protocol, v6), tuple(protocol, v6)),
                any::<(u16, u32, u128)>(),
                option::of(any::<u32>()),
                (0_usize..10).prop_map(move |state| (protocol == 6).then(|| KERNEL[state])),
                option::of(any::<((u64, u64), (u64, u64))>()),
                (option::of(0..i64::MAX), option::of(0..i64::MAX)),
                (option::of(any::<u32>()), option::of(any::<u32>())),
            )
        })
        .prop_map(
            |(tuples, numbers, status, tcp_state, counts, times, rest)| {
                let count = |(packets, bytes)| Count { packets, bytes };
                Entry {
                    orig: tuples.0,
                    reply: tuples.1,
                    zone: numbers.0,
                    mark: numbers.1,
                    label: numbers.2,
                    status: status.map(Status),
                    tcp_state,
                    orig_count: counts.map(|counts| count(counts.0)),
                    reply_count: counts.map(|counts| count(counts.1)),
                    start: times.0.map(Timestamp),
                    stop: times.1.map(Timestamp),
                    timeout: rest.0,
                    id: rest.1,
                }
            },
        )
}

proptest! {
    #[test]
    fn netlink_comes_back(entries in proptest::collection::vec(entry(), 0..4)) {
        let mut datagram: Vec<u8> = entries.iter().flat_map(to_message).collect();
        datagram.extend(message(3, 2 | 0x10, &0_i32.to_ne_bytes()));
        let messages: Result<Vec<_>, _> = Messages::new(&datagram).collect();
        let mut messages = messages.unwrap();
        let done = messages.pop().unwrap();
        prop_assert_eq!((done.body, done.interrupted), (Body::Done(0), true));
        let back: Vec<_> = messages.into_iter().map(|message| message.body).collect();
        let expected: Vec<_> = entries.into_iter().map(Body::Entry).collect();
        prop_assert_eq!(back, expected);
    }

    #[test]
    fn text_comes_back(mut entry in entry()) {
        entry.orig.zone = None;
        entry.reply.zone = None;
        entry.start = None;
        entry.stop = None;
        if entry.tcp_state.is_some() {
            entry.tcp_state = Some(TcpState::Established);
        }
        prop_assert_eq!(parse_line(&to_text(&entry)), Ok(Some(entry)));
    }

    #[test]
    fn damage_stays_in_its_message(
        first in entry(),
        second in entry(),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut datagram = to_message(&first);
        // Beyond the length, which tells where the next message is.
        let place = 4 + place.index(datagram.len() - 4);
        datagram[place] ^= 1 << bit;
        datagram.extend(to_message(&second));
        let last = Messages::new(&datagram).last().unwrap().unwrap();
        prop_assert_eq!(last.body, Body::Entry(second));
    }

    #[test]
    fn cut_or_changed_input_does_not_panic(
        entry in entry(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let datagram = to_message(&entry);
        for cut in 0..datagram.len() {
            for message in Messages::new(&datagram[..cut]) {
                prop_assert!(message.is_err());
            }
        }
        let mut changed = datagram.clone();
        changed[place.index(datagram.len())] = byte;
        let _ = Messages::new(&changed).count();
        let text = to_text(&entry);
        let mut changed = text.clone().into_bytes();
        changed[place.index(text.len())] = byte;
        if let Ok(changed) = std::str::from_utf8(&changed) {
            let _ = parse_line(changed);
        }
        let _ = parse_line(&text[..place.index(text.len())]);
    }
}

#[test]
fn lines_of_open_vswitch() {
    let entry = parse_line(
        "icmpv6,orig=(src=fd00::5,dst=fd00::6,id=12,type=128,code=0),\
         reply=(src=fd00::6,dst=fd00::5,id=12,type=129,code=0),zone=3\n",
    )
    .unwrap()
    .unwrap();
    assert_eq!(entry.orig.protocol, 58);
    assert_eq!(entry.reply.icmp.unwrap().kind, 129);
    assert_eq!(entry.zone, 3);
    let entry = parse_line(
        "tcp,orig=(src=10.1.1.1,dst=10.1.1.2,sport=9,dport=80,packets=10,bytes=1000),\
         reply=(src=10.1.1.2,dst=10.1.1.1,sport=80,dport=9,packets=5,bytes=500),\
         start=2026-11-23T08:15:30.123,id=7,zone=4,status=SEEN_REPLY|ASSURED|CONFIRMED,\
         timeout=431999,mark=65571,labels=0x7d2000000000000000000000000,\
         protoinfo=(state=TIME_WAIT),helper=ftp,master=(src=1.1.1.1,dst=2.2.2.2,sport=1,dport=2)",
    )
    .unwrap()
    .unwrap();
    assert_eq!(entry.obs_point_id(), 2002);
    assert_eq!(entry.obs_stage(), 2);
    assert_eq!(entry.obs_collector_id(), 1);
    assert!(entry.blocked() && entry.natted() && !entry.allow_established());
    assert!(entry.is_sampled());
    assert_eq!((entry.obs_unused(), entry.acl_id()), (0, 0));
    assert_eq!(entry.tcp_state, Some(TcpState::TimeWait));
    assert_eq!(entry.start, None);
    let status = entry.status.unwrap();
    assert!(status.seen_reply() && status.assured() && !status.dying());
    let sample = entry.sample(ZoneId(1), Timestamp(5), Key::ConntrackPoint(2002));
    assert_eq!((sample.packets, sample.bytes), (15, 1500));
    assert_eq!(sample.headers.dst_port, Some(80));
    assert_eq!(parse_line("  \n"), Ok(None));
}

#[test]
fn errors_name_the_place() {
    for (line, at) in [
        ("tcp,orig=(src=10.1.1.1,dst=10.1.1,sport=9,dport=80)", 23),
        ("tcp,orig=(src=10.1.1.1", 4),
        ("tcp,orig=src)", 12),
        ("what,zone=3", 0),
        ("tcp,zone=70000", 4),
        ("tcp", 3),
    ] {
        assert_eq!(parse_line(line).unwrap_err().at, at, "{line}");
    }
}

#[test]
fn bits_of_the_label() {
    let entry = Entry {
        label: 0x1122_3344_5566_0000_0000_0000_0000_0080,
        mark: 0x00ab_0071,
        ..Entry::default()
    };
    assert_eq!(entry.obs_point_id(), 0x1122_3344);
    assert_eq!(entry.acl_id(), 0x5566);
    assert_eq!(entry.obs_unused(), 0x5566_0000_0000_0000_0000_0080);
    assert_eq!(entry.obs_collector_id(), 0xab);
    assert_eq!(entry.obs_stage(), 3);
    assert!(entry.allow_established());
}

#[test]
fn errors_of_the_kernel() {
    let refused = message(2, 0, &(-1_i32).to_ne_bytes());
    let message = Messages::new(&refused).next().unwrap().unwrap();
    assert_eq!(message.body, Body::Error(1));
    assert_eq!(message.sequence, 7);
    assert_eq!(dump_request(7).len(), 20);
}

#[test]
fn names_of_zones() {
    let names = ZoneNames::from_external_ids([
        ("ct-zone-blue_web-1", "4"),
        ("ct-zone-0a8eec8a-8a3b-4a4c-8f3c-6a5d5f0f5a5f_dnat", "2"),
        ("ct-zone-GR_worker_snat", "3"),
        ("ct-zone-broken", "many"),
        ("ovn-nb-cfg", "7"),
    ]);
    assert_eq!(
        names.owner(4),
        Some(&ZoneOwner::Port("blue_web-1".to_owned()))
    );
    assert_eq!(names.owner(3).unwrap().name(), "GR_worker");
    assert!(matches!(names.owner(2), Some(ZoneOwner::Dnat(_))));
    assert_eq!(names.iter().count(), 3);
    let list = ZoneNames::from_list("blue_web-1 4\nGR_worker_snat 3\n\nbroken\n");
    assert_eq!(list.iter().count(), 2);
    assert_eq!(list.owner(4), names.owner(4));
}
