//! Random packets through Open vSwitch's connection tracking in user space and through ours: `conntrack flows` prints the flows of the bridge,
//! `conntrack judge CTL PCAP SEED N` sends N packets into port p1 of an `ovs-vswitchd --enable-dummy`, whose control socket is CTL and whose
//! port p2 writes to PCAP, and compares what comes out. See lab/tests/native-twin-conntrack.sh.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use netverdict_pipeline::conntrack::{Commit, Conntrack, Datapath, Nat};
use netverdict_pipeline::{CtView, L4, Packet};
use netverdict_types::Timestamp;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["flows"] => {
            flows();
            Ok(ExitCode::SUCCESS)
        }
        ["judge", control, capture, seed, count] => {
            Judge::new(control, capture, seed.parse()?)?.run(count.parse()?)
        }
        _ => Err("usage: conntrack flows | conntrack judge CTL PCAP SEED N".into()),
    }
}

/// What a packet's MAC address asks for: commits with these marks and labels (value, mask), and NAT.
const MARKS: [((u32, u32), (u128, u128)); 4] = [
    ((0, 0), (0, 0)),
    ((1, 1), (0x1234_5678 << 96, 0xffff_ffff << 96)),
    (
        (0x10020, 0xff_0030),
        (0xabc << 96 | 0x77, 0xfff << 96 | 0xffff),
    ),
    ((0, 1), (0, 0xff)),
];
const DNAT: u8 = 5;
const SNAT: u8 = 6;
const NATTED: (u32, u32) = (2, 2);
/// The zone without NAT, which `ct_next` goes through.
const PLAIN: u16 = 3;

fn address(v6: bool, net: u8, host: u8) -> IpAddr {
    if v6 {
        [0xfd00, 0, 0, 0, 0, 0, net.into(), host.into()].into()
    } else {
        [10, 0, net, host].into()
    }
}

fn vip(v6: bool, number: u8) -> IpAddr {
    address(v6, 96, number)
}

fn backend(v6: bool, number: u8) -> SocketAddr {
    SocketAddr::new(address(v6, 2, 100 + number), 8080 + u16::from(number))
}

fn masquerade(v6: bool, zone: u16) -> IpAddr {
    address(v6, 9, zone as u8)
}

fn flows() {
    println!(
        "table=9,actions=move:NXM_NX_CT_STATE[0..7]->NXM_OF_ETH_SRC[0..7],move:NXM_NX_CT_MARK[]->NXM_OF_ETH_SRC[8..39],\
         move:NXM_NX_CT_LABEL[96..127]->NXM_OF_ETH_DST[0..31],move:NXM_NX_CT_LABEL[0..15]->NXM_OF_ETH_DST[32..47],output:2"
    );
    println!("table=1,priority=0,actions=resubmit(,9)");
    for zone in 1..=3 {
        let nat = if zone == PLAIN { "" } else { ",nat" };
        for (family, v6) in [("ip", false), ("ipv6", true)] {
            let to = |op: u8| format!("dl_dst=02:00:00:00:{zone:02x}:{op:02x}");
            println!(
                "table=0,{family},{},actions=ct(table=9,zone={zone}{nat})",
                to(0)
            );
            for op in 1..=SNAT {
                println!(
                    "table=0,{family},{},actions=ct(table=1,zone={zone}{nat})",
                    to(op)
                );
            }
            for (op, ((mark, marks), (label, labels))) in (1..).zip(MARKS) {
                println!(
                    "table=1,priority=1,{family},ct_state=-inv+trk,{},actions=ct(commit,table=9,zone={zone},\
                     exec(set_field:{mark:#x}/{marks:#x}->ct_mark,set_field:{label:#x}/{labels:#x}->ct_label))",
                    to(op)
                );
            }
            let commit = |condition: &str, op: u8, nat: String| {
                println!(
                    "table=1,priority=1,{family},ct_state=+new-inv-rel+trk,{condition}{},actions=ct(commit,table=9,zone={zone},nat({nat}),\
                     exec(set_field:{:#x}/{:#x}->ct_mark))",
                    to(op),
                    NATTED.0,
                    NATTED.1
                );
            };
            for number in 1..=2 {
                let field = if v6 { "ipv6_dst" } else { "nw_dst" };
                let to = backend(v6, number);
                commit(
                    &format!("{field}={},", vip(v6, number)),
                    DNAT,
                    format!("dst={to}"),
                );
            }
            commit("", SNAT, format!("src={}", masquerade(v6, zone)));
        }
    }
}

struct Judge {
    ovs: Ovs,
    ours: Conntrack,
    dice: u64,
    /// Milliseconds.
    now: i64,
    /// What went through a zone: as it came in and went out.
    past: Vec<(u16, Packet, Packet)>,
    seen: BTreeMap<String, u64>,
    wrong: u64,
}

impl Judge {
    fn new(control: &str, capture: &str, seed: u64) -> Outcome<Self> {
        Ok(Self {
            ovs: Ovs::new(control, capture)?,
            ours: Conntrack::new(Datapath::Userspace, 1 << 20),
            dice: seed.wrapping_mul(2).wrapping_add(1),
            now: 1,
            past: Vec::new(),
            seen: BTreeMap::new(),
            wrong: 0,
        })
    }

    fn run(mut self, count: u64) -> Outcome<ExitCode> {
        for _ in 0..count {
            self.pause()?;
            if self.roll(50) == 0 {
                for _ in 0..4 {
                    self.fragments()?;
                }
            } else {
                self.step()?;
            }
            if self.wrong > 10 {
                break;
            }
        }
        for (what, times) in &self.seen {
            println!("{times:7}  {what}");
        }
        let missing = expected().filter(|what| self.seen.get(what).is_none_or(|&times| times < 5));
        let missing: Vec<_> = missing.collect();
        println!(
            "{} packets, {} kinds; {} wrong; seen less than 5 times: {missing:?}",
            self.seen.values().sum::<u64>(),
            self.seen.len(),
            self.wrong
        );
        let fine = self.wrong == 0 && missing.is_empty();
        Ok(if fine {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn pause(&mut self) -> Outcome<()> {
        let milliseconds = match self.roll(300) {
            0 | 5..8 => 1_000 * (1 + self.roll(29)),
            1 => 31_000,
            2 if self.roll(3) == 0 => 61_000,
            3 if self.roll(4) == 0 => 1_000_000,
            4 if self.roll(8) == 0 => 90_000_000,
            _ => return Ok(()),
        };
        self.ovs.call("time/warp", &[&milliseconds.to_string()])?;
        self.now += milliseconds as i64;
        Ok(())
    }

    fn step(&mut self) -> Outcome<()> {
        let (zone, packet) = self.packet();
        let op = match self.roll(12) {
            0..4 => 0,
            4..8 => 1 + self.roll(4) as u8,
            _ if zone == PLAIN => 1,
            8..10 => DNAT,
            _ => SNAT,
        };
        let held = self.would_collide(zone, &packet, op) || is_broken(&packet);
        let op = if held { 0 } else { op };
        let packet = packet.between([2, 0, 0, 0, 0, 0], [2, 0, 0, 0, zone as u8, op]);
        let mut frame = Vec::new();
        packet.write(&mut frame);
        let packet = Packet::parse(&frame)?;
        self.ovs.send(&frame)?;
        let out = self.ovs.receive()?;
        self.compare(zone, op, packet, out)
    }

    fn compare(&mut self, zone: u16, op: u8, packet: Packet, out: Option<Vec<u8>>) -> Outcome<()> {
        let mut ours = packet;
        let view = self.through(zone, op, &mut ours);
        let Some(out) = out else {
            self.wrong += 1;
            println!("nothing came out: zone {zone}, op {op}, {packet:?}, ours {view:?}");
            return Ok(());
        };
        let theirs = Packet::parse(&out)?;
        let their_view = decode(&theirs);
        let mut theirs = theirs;
        if view.state & (CtView::SNAT | CtView::DNAT) != 0
            && is_broken(&packet)
            && let (Some(about), Some(their_about)) = (ours.about, &mut theirs.about)
        {
            their_about.src = about.src;
        }
        let label = view.label & (0xffff_ffff << 96 | 0xffff);
        let same = same_headers(&ours, &theirs) && their_view == CtView { label, ..view };
        if !same {
            self.wrong += 1;
            println!(
                "zone {zone}, op {op}, at {} ms\n  in     {packet:?}\n  ours   {view:x?} {ours:?}\n  theirs {their_view:x?} {theirs:?}",
                self.now
            );
        }
        let family = if packet.ip.is_some_and(|(src, _)| src.is_ipv6()) {
            6
        } else {
            4
        };
        let kind = format!("{} v{family} {}", name(&packet), state_name(view.state));
        *self.seen.entry(kind).or_default() += 1;
        self.past.push((zone, packet, theirs));
        if self.past.len() > 20 {
            let gone = self.roll(20) as usize;
            self.past.swap_remove(gone);
        }
        Ok(())
    }

    fn through(&mut self, zone: u16, op: u8, packet: &mut Packet) -> CtView {
        let now = Timestamp(self.now * 1_000_000);
        let view = self.ours.track(zone.into(), packet, now);
        let (mark, label, nat) = match op {
            1..=4 if !view.is(CtView::INV) => {
                let (mark, label) = MARKS[usize::from(op) - 1];
                (mark, label, None)
            }
            DNAT | SNAT if view.is(CtView::NEW) && !view.is(CtView::REL) => {
                match nat_of(zone, packet, op) {
                    Some(nat) => (NATTED, (0, 0), Some(nat)),
                    None => return view,
                }
            }
            _ => return view,
        };
        let nat_bits = view.state & (CtView::SNAT | CtView::DNAT);
        let mut committed = self
            .ours
            .commit(zone.into(), packet, now, Commit { mark, label, nat });
        committed.state |= nat_bits;
        committed
    }

    /// Two datagrams in two fragments each: the datapath holds the first fragment back until it has the second.
    fn fragments(&mut self) -> Outcome<()> {
        let zone = PLAIN;
        let op = self.roll(5) as u8;
        let client = SocketAddr::new(address(false, 1, 1 + self.roll(2) as u8), 1000);
        let server = SocketAddr::new(address(false, 2, 1), 53);
        let mut first =
            Packet::udp(client, server).between([2, 0, 0, 0, 0, 0], [2, 0, 0, 0, zone as u8, op]);
        if self.roll(2) == 0 {
            first.ip = first.ip.map(|(src, dst)| (dst, src));
            first.l4 = L4::Udp {
                src: server.port(),
                dst: client.port(),
            };
        }
        first.fragment = 1;
        first.ip_id = self.roll(1 << 16) as u32;
        first.length = 14 + 20 + 1480;
        let later = Packet {
            fragment: 3,
            l4: L4::Other,
            length: 14 + 20 + 64,
            ..first
        };
        let mut frame = Vec::new();
        first.write(&mut frame);
        // The length of both, and no checksum.
        frame[38..40].copy_from_slice(&1544_u16.to_be_bytes());
        frame[40..42].copy_from_slice(&[0, 0]);
        self.ovs.send(&frame)?;
        let mut frame = Vec::new();
        later.write(&mut frame);
        self.ovs.send(&frame)?;
        let mut outs = [self.ovs.receive()?, self.ovs.receive()?];
        // In no order.
        let later_is_first =
            |frame: &Vec<u8>| Packet::parse(frame).is_ok_and(|packet| packet.is_later_fragment());
        if outs[0].as_ref().is_some_and(later_is_first) {
            outs.reverse();
        }
        for (packet, out) in [first, later].into_iter().zip(outs) {
            self.compare(zone, op, packet, out)?;
        }
        // They are no good for replies.
        self.past.retain(|(_, packet, _)| packet.fragment == 0);
        Ok(())
    }

    fn packet(&mut self) -> (u16, Packet) {
        let choice = self.roll(14);
        if choice < 2 || self.past.is_empty() {
            let zone = [1, 2, 1, 2, 3][self.roll(5) as usize];
            return (zone, self.fresh());
        }
        let chosen = self.roll(self.past.len() as u64) as usize;
        let (zone, came, went) = self.past[chosen];
        let mut packet = match choice {
            2..5 => came,
            5 => came.reply(),
            6..9 => match error(&went, self.roll(3)) {
                Some(error) => error,
                None => went.reply(),
            },
            _ => went.reply(),
        };
        if self.roll(4) == 0 {
            packet = packet.with_tcp_flags(FLAGS[self.roll(FLAGS.len() as u64) as usize]);
        }
        (zone, packet.with_payload(0))
    }

    fn fresh(&mut self) -> Packet {
        let v6 = self.roll(2) == 0;
        let client = address(v6, 1, 1 + self.roll(2) as u8);
        let server = match self.roll(3) {
            0 | 1 => vip(v6, 1 + self.roll(2) as u8),
            _ => address(v6, 2, 1 + self.roll(2) as u8),
        };
        let ports = [1000 + self.roll(2) as u16, 80];
        let (src, dst) = (
            SocketAddr::new(client, ports[0]),
            SocketAddr::new(server, ports[1]),
        );
        match self.roll(10) {
            0..3 => Packet::tcp(src, dst),
            3 | 4 => Packet::udp(src, dst),
            5 | 6 => Packet::sctp(src, dst),
            7 | 8 => Packet::icmp_echo(client, server, ports[0]),
            _ => match self.roll(3) {
                0 => Packet::udp(SocketAddr::new(client, 0), dst),
                1 => Packet::icmp_echo(client, server, 1).reply(),
                _ => Packet::ip(client, server, 47, L4::Other).with_payload(8),
            },
        }
    }

    /// Which free port NAT takes is for the datapath; it is not compared.
    fn would_collide(&self, zone: u16, packet: &Packet, op: u8) -> bool {
        let Some(tuple) = packet.tuple().filter(|_| op > 0) else {
            return false;
        };
        let mut reply = tuple.reply();
        match nat_of(zone, packet, op) {
            Some(Nat::Destination(to, port)) => {
                reply.src = to;
                if let (Some(port), 6 | 17 | 132) = (port, tuple.protocol) {
                    reply.src_port = port;
                }
            }
            Some(Nat::Source(from)) => reply.dst = from,
            Some(Nat::Kept) | None => {}
        }
        let taken = self.ours.entry(zone.into(), &reply);
        taken.is_some() && taken != self.ours.entry(zone.into(), &tuple)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        // splitmix64
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }
}

const FLAGS: [u16; 10] = [0x02, 0x10, 0x11, 0x04, 0x12, 0x14, 0x18, 0x03, 0x01, 0x00];

fn nat_of(zone: u16, packet: &Packet, op: u8) -> Option<Nat> {
    let (src, dst) = packet.ip?;
    let v6 = src.is_ipv6();
    match op {
        DNAT => {
            let number = (1..=2).find(|&number| vip(v6, number) == dst)?;
            let to = backend(v6, number);
            Some(Nat::Destination(to.ip(), Some(to.port())))
        }
        SNAT => Some(Nat::Source(masquerade(v6, zone))),
        _ => None,
    }
}

/// An error about a packet, from its receiver or from a router on the way.
fn error(about: &Packet, from: u64) -> Option<Packet> {
    let (src, dst) = about.ip?;
    let model = Packet::udp(SocketAddr::new(src, 1), SocketAddr::new(dst, 1));
    let mut error = model.reset_or_unreachable()?;
    error.about = Some(about.tuple()?);
    let router = address(src.is_ipv6(), 77, 7);
    error.ip = Some((if from == 0 { router } else { dst }, src));
    Some(error)
}

/// Open vSwitch 3.5 corrects the checksum of TCP in ICMPv6 errors about segments, where none is, when it translates them. That breaks the source
/// address of the packet that the error is about, and then the error is invalid.
fn is_broken(packet: &Packet) -> bool {
    packet
        .about
        .is_some_and(|about| about.protocol == 6 && about.src.is_ipv6())
}

fn same_headers(one: &Packet, other: &Packet) -> bool {
    let nowhere = [0; 6];
    one.between(nowhere, nowhere) == other.between(nowhere, nowhere)
}

/// What the flows wrote into the MAC addresses.
fn decode(packet: &Packet) -> CtView {
    let [_, m3, m2, m1, m0, state] = packet.eth_src;
    let [l1, l0, p3, p2, p1, p0] = packet.eth_dst;
    CtView {
        state: state.into(),
        mark: u32::from_be_bytes([m3, m2, m1, m0]),
        label: u128::from(u32::from_be_bytes([p3, p2, p1, p0])) << 96
            | u128::from(u16::from_be_bytes([l1, l0])),
    }
}

fn name(packet: &Packet) -> &'static str {
    match (packet.l4, packet.about) {
        _ if packet.fragment & 2 != 0 => "later fragment",
        _ if packet.fragment != 0 => "first fragment",
        (_, Some(about)) => match about.protocol {
            6 => "error about tcp",
            17 => "error about udp",
            132 => "error about sctp",
            1 | 58 => "error about icmp",
            _ => "error about other",
        },
        (L4::Tcp { .. }, _) => "tcp",
        (L4::Udp { .. }, _) => "udp",
        (L4::Sctp { .. }, _) => "sctp",
        (L4::Icmp { .. }, _) => "icmp",
        _ => "other",
    }
}

fn state_name(state: u32) -> String {
    let names = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
    let set = names
        .iter()
        .enumerate()
        .filter(|(bit, name)| state & 1 << bit != 0 && **name != "trk");
    set.map(|(_, name)| *name).collect::<Vec<_>>().join("+")
}

/// What must come up.
fn expected() -> impl Iterator<Item = String> {
    let states = [
        "new",
        "est",
        "est+rpl",
        "new+dnat",
        "est+dnat",
        "est+rpl+snat",
        "new+snat",
        "est+snat",
        "est+rpl+dnat",
    ];
    let own = ["tcp", "udp", "icmp", "sctp"]
        .into_iter()
        .flat_map(move |kind| states.map(|state| (kind, state)));
    let errors = ["rel", "rel+rpl", "rel+rpl+snat", "rel+rpl+dnat", "inv"];
    let about = ["error about tcp", "error about udp", "error about icmp"];
    let errors = about
        .into_iter()
        .flat_map(move |kind| errors.map(|state| (kind, state)));
    let invalid = ["tcp", "udp", "icmp"].map(|kind| (kind, "inv"));
    let both = own.chain(errors).chain(invalid);
    let families =
        both.flat_map(|(kind, state)| [4, 6].map(|family| format!("{kind} v{family} {state}")));
    let fragments = ["first fragment", "later fragment"]
        .into_iter()
        .flat_map(|kind| ["new", "est", "est+rpl"].map(|state| format!("{kind} v4 {state}")));
    families.chain(fragments)
}

/// The switch: its control socket and what its port writes.
struct Ovs {
    control: UnixStream,
    capture: File,
    bytes: Vec<u8>,
}

impl Ovs {
    fn new(control: &str, capture: &str) -> Outcome<Self> {
        let mut capture = File::open(capture)?;
        capture.read_exact(&mut [0; 24])?;
        Ok(Self {
            control: UnixStream::connect(control)?,
            capture,
            bytes: Vec::new(),
        })
    }

    fn call(&mut self, method: &str, words: &[&str]) -> Outcome<()> {
        let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        write!(
            self.control,
            r#"{{"id":0,"method":"{method}","params":[{}]}}"#,
            words.join(",")
        )?;
        let mut answer = String::new();
        let mut bytes = [0; 4096];
        loop {
            let got = self.control.read(&mut bytes)?;
            answer.push_str(std::str::from_utf8(&bytes[..got])?);
            if got == 0 || answer.ends_with('}') {
                break;
            }
        }
        if answer.contains("\"error\":null") {
            Ok(())
        } else {
            Err(format!("{method} {words:?}: {answer}").into())
        }
    }

    fn send(&mut self, frame: &[u8]) -> Outcome<()> {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        self.call("netdev-dummy/receive", &["p1", &hex])
    }

    fn receive(&mut self) -> Outcome<Option<Vec<u8>>> {
        for _ in 0..1000 {
            self.capture.read_to_end(&mut self.bytes)?;
            if let Some(&length) = self.bytes.get(8..).and_then(|rest| rest.first_chunk()) {
                let end = 16 + u32::from_le_bytes(length) as usize;
                if self.bytes.len() >= end {
                    return Ok(Some(self.bytes.drain(..end).skip(16).collect()));
                }
            }
            self.call("version", &[])?;
        }
        Ok(None)
    }
}
