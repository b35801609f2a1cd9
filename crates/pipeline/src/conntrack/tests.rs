use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

const ZONE: u32 = 5;
const CLIENT: &str = "10.0.0.1:1000";
const SERVER: &str = "10.0.0.2:80";

fn at(seconds: i64) -> Timestamp {
    after(Timestamp(1), seconds)
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn both() -> [Conntrack; 2] {
    [Datapath::Kernel, Datapath::Userspace].map(|datapath| Conntrack::new(datapath, 1000))
}

impl Conntrack {
    fn state(&mut self, packet: &Packet, seconds: i64) -> u32 {
        self.track(ZONE, &mut packet.clone(), at(seconds)).state & !CtView::TRK
    }

    fn admit(&mut self, packet: &Packet, seconds: i64) -> u32 {
        let mut packet = *packet;
        let view = self.track(ZONE, &mut packet, at(seconds));
        self.commit(ZONE, &mut packet, at(seconds), Commit::default());
        view.state & !CtView::TRK
    }
}

const NEW: u32 = CtView::NEW;
const EST: u32 = CtView::EST;
const REPLY: u32 = CtView::EST | CtView::RPL;
const INV: u32 = CtView::INV;

#[test]
fn a_tcp_connection_opens_closes_and_opens_again() {
    let syn = Packet::tcp(socket(CLIENT), socket(SERVER));
    let (syn_ack, ack) = (syn.reply(), syn.with_tcp_flags(tcp::ACK));
    let fin = syn.with_tcp_flags(tcp::FIN | tcp::ACK);
    for mut table in both() {
        assert_eq!(table.state(&syn, 0), NEW, "never committed");
        assert_eq!(table.admit(&syn, 0), NEW);
        assert_eq!(table.state(&syn, 1), NEW, "sent again");
        assert_eq!(table.state(&syn_ack, 1), REPLY);
        assert_eq!(table.state(&ack, 1), EST);
        assert_eq!(
            table.state(&syn.with_tcp_flags(tcp::SYN | tcp::FIN), 1),
            INV
        );
        // An hour later it is there still; closed, it soon is not.
        assert_eq!(table.state(&ack, 3600), EST);
        assert_eq!(table.state(&fin, 3600), EST);
        assert_eq!(table.state(&fin.reply(), 3600), REPLY);
        assert_eq!(table.state(&ack, 3600), EST);
        let shown = table.entry(ZONE, &syn.tuple().unwrap()).unwrap();
        assert_eq!(shown.tcp, Some((TcpState::FinWait2, TcpState::FinWait2)));
        assert_eq!(table.state(&syn, 3601), NEW);
        assert_eq!(
            table.state(&syn_ack, 3601),
            INV,
            "the old one was forgotten"
        );
    }
}

#[test]
fn a_reset_ends_a_connection() {
    let syn = Packet::tcp(socket(CLIENT), socket(SERVER));
    for mut table in both() {
        assert_eq!(table.admit(&syn, 0), NEW);
        assert_eq!(table.state(&syn.reset_or_unreachable().unwrap(), 0), REPLY);
        assert_eq!(table.state(&syn, 1), NEW);
        assert!(table.is_empty());
    }
}

#[test]
fn datapaths_differ_before_the_first_reply() {
    let ack = Packet::tcp(socket(CLIENT), socket(SERVER)).with_tcp_flags(tcp::ACK);
    let reset = ack.with_tcp_flags(tcp::RST);
    let [mut kernel, mut userspace] = both();
    for table in [&mut kernel, &mut userspace] {
        assert_eq!(table.admit(&ack, 0), NEW, "picked up in mid-stream");
    }
    assert_eq!(kernel.state(&ack, 0), NEW);
    assert_eq!(userspace.state(&ack, 0), EST);
    for table in [&mut kernel, &mut userspace] {
        assert_eq!(table.state(&ack.reply(), 0), REPLY);
        assert_eq!(table.state(&ack, 0), EST);
        table.flush(ZONE);
    }
    assert_eq!(kernel.state(&reset, 0), INV);
    assert_eq!(userspace.state(&reset, 0), NEW);
}

#[test]
fn errors_are_related_to_their_connection() {
    let request = Packet::udp(socket(CLIENT), socket(SERVER));
    let error = request.reset_or_unreachable().unwrap();
    for mut table in both() {
        assert_eq!(table.state(&error, 0), INV, "about nothing");
        table.admit(&request, 0);
        assert_eq!(table.state(&error, 0), CtView::REL | CtView::RPL);
        assert_eq!(table.state(&request, 0), NEW, "an error is no reply");
        let other = request.reply().reset_or_unreachable().unwrap();
        assert_eq!(table.state(&other, 0), CtView::REL);
    }
}

#[test]
fn echoes_of_both_ends_are_two_connections() {
    let (a, b) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
    let (there, back) = (Packet::icmp_echo(a, b, 7), Packet::icmp_echo(b, a, 7));
    for mut table in both() {
        assert_eq!(table.state(&there.reply(), 0), INV);
        assert_eq!(table.admit(&there, 0), NEW);
        assert_eq!(table.admit(&back, 0), NEW);
        assert_eq!(table.state(&there.reply(), 0), REPLY);
        assert_eq!(table.state(&back, 0), NEW);
        assert_eq!(table.len(), 2);
    }
}

#[test]
fn marks_and_labels_are_set_under_their_masks() {
    let request = Packet::udp(socket(CLIENT), socket(SERVER));
    for mut table in both() {
        let mut commit = |mark, label| {
            let commit = Commit {
                mark,
                label,
                nat: None,
            };
            let view = table.commit(ZONE, &mut request.clone(), at(0), commit);
            (view.mark, view.label)
        };
        assert_eq!(
            commit((0xffff, 0x00f0), (1 << 100 | 1, 1 << 100)),
            (0xf0, 1 << 100)
        );
        assert_eq!(commit((0x1, 0x11), (0, 0)), (0xe1, 1 << 100));
        let view = table.track(ZONE, &mut request.reply(), at(0));
        assert_eq!((view.mark, view.label), (0xe1, 1 << 100));
    }
}

#[test]
fn fragments_follow_the_first() {
    let mut first = Packet::udp(socket(CLIENT), socket(SERVER)).with_payload(1000);
    first.fragment = 1;
    first.ip_id = 77;
    let mut later = first;
    later.fragment = 3;
    later.l4 = L4::Other;
    let mut frame = Vec::new();
    later.write(&mut frame);
    assert_eq!(Packet::parse(&frame), Ok(later));
    let backend = "10.0.0.9".parse().unwrap();
    for mut table in both() {
        assert_eq!(table.state(&later, 0), INV);
        let commit = Commit {
            nat: Some(Nat::Destination(backend, Some(8080))),
            mark: (2, 2),
            ..Commit::default()
        };
        let mut packet = first;
        table.track(ZONE, &mut packet, at(0));
        table.commit(ZONE, &mut packet, at(0), commit);
        let mut packet = later;
        let view = table.track(ZONE, &mut packet, at(0));
        assert_eq!(packet.ip.unwrap().1, backend);
        assert_eq!((view.state & NEW, view.mark), (NEW, 2));
        assert_eq!(table.commit(ZONE, &mut packet, at(0), commit).mark, 2);
        assert_eq!((table.len(), table.counters()), (1, Counters::default()));
    }
}

#[test]
fn a_full_table_says_what_it_did() {
    let packet = |port| Packet::udp(SocketAddr::new([10, 0, 0, 1].into(), port), socket(SERVER));
    for datapath in [Datapath::Kernel, Datapath::Userspace] {
        let mut table = Conntrack::new(datapath, 4);
        for port in 1..=4 {
            table.admit(&packet(port), 0);
            table.state(&packet(port).reply(), 0);
        }
        assert_eq!(table.admit(&packet(5), 0), NEW);
        assert_eq!((table.len(), table.counters().refused), (4, 1));
        table.flush(ZONE);
        for port in 1..=6 {
            assert_eq!(table.admit(&packet(port), 1), NEW);
        }
        let early = if datapath == Datapath::Kernel { 2 } else { 0 };
        assert_eq!(table.counters().dropped_early, early);
        assert_eq!(table.len(), 4);
        // When all has expired, there is room.
        assert_eq!(table.admit(&packet(9), 1000), NEW);
        assert_eq!(table.entries(at(1000)).count(), 1);
    }
}

#[test]
fn a_tuple_that_is_taken_gets_another_port() {
    let backend: SocketAddr = socket("10.0.0.9:8080");
    let to = |server: &str| Packet::tcp(socket(CLIENT), socket(server));
    for mut table in both() {
        let commit = Commit {
            nat: Some(Nat::Destination(backend.ip(), Some(backend.port()))),
            ..Commit::default()
        };
        let mut first = to("10.96.0.1:80");
        table.commit(ZONE, &mut first, at(0), commit);
        let mut second = to("10.96.0.2:80");
        table.commit(ZONE, &mut second, at(0), commit);
        let ports = [first, second].map(|packet| packet.tuple().unwrap().src_port);
        assert_ne!(ports[0], ports[1]);
        let mut reply = second.reply();
        table.track(ZONE, &mut reply, at(0));
        assert_eq!(
            reply.tuple(),
            Some(to("10.96.0.2:80").tuple().unwrap().reply())
        );
    }
}

#[test]
fn what_was_cleared_is_of_another_connection() {
    let backend: SocketAddr = socket("10.0.0.9:8080");
    for mut table in both() {
        let commit = Commit {
            nat: Some(Nat::Destination(backend.ip(), Some(backend.port()))),
            ..Commit::default()
        };
        let mut first = Packet::tcp(socket(CLIENT), socket("10.96.0.1:80"));
        table.track(ZONE, &mut first, at(0));
        table.commit(ZONE, &mut first, at(0), commit);
        let kept = Commit {
            nat: Some(Nat::Kept),
            ..Commit::default()
        };
        let mut same = first;
        table.commit(ZONE, &mut same, at(0), kept);
        assert_eq!((same, table.len()), (first, 1));
        for _ in 0..2 {
            let mut other = first;
            table.clear(ZONE, &other, at(0));
            table.commit(ZONE, &mut other, at(0), kept);
            assert_eq!(table.len(), 2);
            let ports = [first, other].map(|packet| packet.tuple().unwrap().src_port);
            assert_ne!(ports[0], ports[1]);
        }
    }
}

#[test]
fn a_reply_that_is_only_committed_is_seen() {
    for mut table in both() {
        let mut request = Packet::udp(socket(CLIENT), socket(SERVER));
        table.admit(&request, 0);
        let mut reply = request.reply();
        table.commit(ZONE, &mut reply, at(0), Commit::default());
        let view = table.track(ZONE, &mut request, at(0));
        assert_eq!(view.state & (NEW | EST), EST);
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    (any::<bool>(), 0..4, 1..4_u16, 1..4_u16, 0..8_u16).prop_map(
        |(v6, kind, client, server, flags)| {
            let address = |last: u16| -> IpAddr {
                if v6 {
                    [0xfd00, 0, 0, 0, 0, 0, 0, last].into()
                } else {
                    [10, 0, 0, last as u8].into()
                }
            };
            let (src, dst) = (
                SocketAddr::new(address(client), 1000 + client),
                SocketAddr::new(address(server + 10), 80 + server),
            );
            let flags = [
                tcp::SYN,
                tcp::ACK,
                tcp::FIN | tcp::ACK,
                tcp::RST,
                tcp::SYN | tcp::ACK,
                tcp::RST | tcp::ACK,
                tcp::PSH | tcp::ACK,
                tcp::SYN | tcp::FIN,
            ][usize::from(flags)];
            match kind {
                0 => Packet::tcp(src, dst).with_tcp_flags(flags),
                1 => Packet::udp(src, dst),
                2 => Packet::sctp(src, dst),
                _ => Packet::icmp_echo(src.ip(), dst.ip(), client),
            }
        },
    )
}

#[derive(Clone, Debug)]
struct Act {
    zone: u32,
    packet: Packet,
    reply: bool,
    commit: bool,
    pause: i64,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = (
        1..3_u32,
        packet(),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec![0, 0, 0, 1, 29, 200]),
    );
    let act = act.prop_map(|(zone, packet, reply, commit, pause)| Act {
        zone,
        packet,
        reply,
        commit,
        pause,
    });
    prop::collection::vec(act, 0..60)
}

fn play(table: &mut Conntrack, acts: &[Act], only: Option<u32>) -> Vec<(u32, CtView)> {
    let mut now = 0;
    let mut seen = Vec::new();
    for act in acts {
        now += act.pause;
        if only.is_some_and(|zone| zone != act.zone) {
            continue;
        }
        let mut packet = if act.reply {
            act.packet.reply()
        } else {
            act.packet
        };
        seen.push((act.zone, table.track(act.zone, &mut packet, at(now))));
        if act.commit {
            let mark = (act.zone, u32::MAX);
            let commit = Commit {
                mark,
                ..Commit::default()
            };
            seen.push((
                act.zone,
                table.commit(act.zone, &mut packet, at(now), commit),
            ));
        }
    }
    seen
}

proptest! {
    #[test]
    fn zones_do_not_know_of_each_other(acts in acts()) {
        for mut table in both() {
            let alone = play(&mut table.clone(), &acts, Some(1));
            let together = play(&mut table, &acts, None);
            prop_assert_eq!(together.into_iter().filter(|(zone, _)| *zone == 1).collect::<Vec<_>>(), alone);
        }
    }

    #[test]
    fn states_make_sense(acts in acts()) {
        for mut table in both() {
            for (zone, view) in play(&mut table, &acts, None) {
                let kinds = [CtView::NEW, CtView::EST, CtView::REL, CtView::INV];
                prop_assert!(view.is(CtView::TRK));
                prop_assert_eq!(kinds.iter().filter(|&&kind| view.is(kind)).count(), 1);
                prop_assert!(view.mark == 0 || view.mark == zone);
                prop_assert!(!view.is(CtView::RPL | CtView::NEW));
            }
            prop_assert_eq!(table.index.len(), 2 * table.len());
            prop_assert_eq!(table.slots.iter().filter(|slot| slot.used).count(), table.len());
            for entry in table.entries(at(0)) {
                prop_assert_eq!(table.entry(entry.zone, &entry.reply), Some(entry));
                prop_assert_eq!(entry.original.reply(), entry.reply);
            }
            // In the end all is forgotten.
            for _ in 0..=table.slots.len() {
                table.sweep(at(1_000_000));
            }
            prop_assert!(table.is_empty() && table.index.is_empty());
        }
    }

    #[test]
    fn translation_goes_there_and_back(packet in packet(), source in any::<bool>(), port in prop::option::of(1..9999_u16)) {
        for mut table in both() {
            let (src, _) = packet.ip.unwrap();
            let other: IpAddr = if src.is_ipv6() { [0xfd99, 0, 0, 0, 0, 0, 0, 1].into() } else { [9, 9, 9, 9].into() };
            let nat = if source { Nat::Source(other) } else { Nat::Destination(other, port) };
            let commit = Commit { nat: Some(nat), ..Commit::default() };
            let mut sent = packet;
            if table.track(ZONE, &mut sent, at(0)).is(CtView::INV) {
                continue;
            }
            prop_assert_eq!(sent, packet, "nothing is translated before it is committed");
            let view = table.commit(ZONE, &mut sent, at(0), commit);
            let (bit, back) = if source { (CtView::SNAT, CtView::DNAT) } else { (CtView::DNAT, CtView::SNAT) };
            prop_assert!(view.is(NEW | bit));
            let (new_src, new_dst) = sent.ip.unwrap();
            prop_assert_eq!(if source { new_src } else { new_dst }, other);

            // The next packet is translated alike, the reply back, an error too, with what it is about.
            let mut again = packet;
            prop_assert!(table.track(ZONE, &mut again, at(0)).is(bit));
            prop_assert_eq!(again, sent);
            let mut reply = sent.reply();
            if table.track(ZONE, &mut reply, at(0)).is(back) {
                prop_assert_eq!(reply.tuple(), packet.tuple().map(|tuple| tuple.reply()));
            }
            let error = Packet {
                about: sent.tuple(),
                ..Packet::udp(socket(SERVER), socket(CLIENT)).reset_or_unreachable().unwrap()
            };
            let mut error = if src.is_ipv6() {
                let like = Packet::udp(socket("[fd00::1]:1"), socket("[fd00::2]:2")).reset_or_unreachable().unwrap();
                Packet { about: sent.tuple(), ..like }
            } else {
                error
            };
            error.ip = Some((new_dst, new_src));
            let view = table.track(ZONE, &mut error, at(0));
            prop_assert_eq!(view.state, CtView::TRK | CtView::REL | CtView::RPL | back);
            prop_assert_eq!(error.about, packet.tuple());
            prop_assert_eq!(error.ip, packet.ip.map(|(src, dst)| (dst, src)));
        }
    }
}
