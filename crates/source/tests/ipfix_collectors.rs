//! What the twin exports is read by others' collectors, nfcapd and tshark, and by ours, with the same values.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command};

use netverdict_pipeline::emit::{Emitter, Interface, Ipfix, Node};
use netverdict_pipeline::{At, Lport, Northbound, Observer, Packet, Sampled, Stage, SwitchId};
use netverdict_source::ipfix::Output;
use netverdict_types::{App, Key, Timestamp, ZoneId};
use netverdict_wire::ipfix::{CacheOptions, Decoder, PORT};
use netverdict_wire::pcap::{LinkType, Writer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const START: i64 = 1_795_400_180_000_000_000;

/// What a flow is known by: protocol, addresses, ports, domain, point.
type Flow = (u8, IpAddr, IpAddr, u16, u16, u32, u32);
/// Packets and octets.
type Counted = BTreeMap<Flow, (u64, u64)>;

/// 400 packets of a dozen flows of all kinds, some sampled only once in ten, some dropped.
fn export(options: CacheOptions, mut send: impl FnMut(&[u8]) -> bool) -> Counted {
    let mut node = Node::new(ZoneId(0), &Northbound::default());
    node.set_key(SwitchId(0), 5);
    let name = "eth7".into();
    node.set_interface(Lport(7), Interface { index: 70, name });
    let mut counted = Counted::new();
    let ipfix = Ipfix::new(|_, message: &[u8]| send(message)).with_set(100, options);
    let mut emitter = Emitter::new(vec![node], 1, ipfix);
    let at = At {
        switch: SwitchId(0),
        stage: Stage::OutAclSample,
    };
    for n in 0..400_u16 {
        let now = Timestamp(START + i64::from(n) * 10_000_000);
        let host = n % 3 + 1;
        let v6 = n % 2 == 1;
        let ip = |last: u16| match v6 {
            false => IpAddr::from([10, 0, 0, last as u8]),
            true => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]),
        };
        let (src, dst) = (ip(host), ip(9));
        let port = 40_000 + host;
        let (packet, ports) = match n % 4 {
            0 | 3 => (
                Packet::tcp((src, port).into(), (dst, 80).into()),
                (port, 80),
            ),
            1 => (
                Packet::udp((src, port).into(), (dst, 53).into()),
                (port, 53),
            ),
            _ => (Packet::icmp_echo(src, dst, 7), (0, 0)),
        };
        let packet = packet.with_payload(u32::from(n % 7) * 100);
        let probability = if n % 5 == 0 { 6_553 } else { 65_535 };
        let before = emitter.taken;
        emitter.begin(now);
        emitter.enter(0, SwitchId(0), Lport(7));
        let sampled = Sampled {
            probability,
            set_id: 100,
            app: App::AclNew,
            app_id: 2,
            point: 4_000_000_000 + u32::from(n % 2),
        };
        emitter.sample(at, &packet, sampled);
        emitter.end(n % 11 != 0);
        let scale = u64::from(65_535 / probability) * (emitter.taken - before);
        if scale > 0 {
            let flow = (
                packet.protocol,
                src,
                dst,
                ports.0,
                ports.1,
                0x0200_0005,
                sampled.point,
            );
            let (packets, octets) = counted.entry(flow).or_default();
            *packets += scale;
            *octets += scale * u64::from(packet.length - 14);
        }
    }
    emitter.sink().finish(Timestamp(START + 4_000_000_000));
    counted
}

/// A cache that is filled and that times out.
fn cached() -> CacheOptions {
    CacheOptions {
        active_timeout: 1,
        max_flows: 6,
        template_interval: 2,
        // Sent again they would take a sequence number from another domain, as those of Open vSwitch do, which looks like a loss.
        statistics_interval: 600,
        ..CacheOptions::default()
    }
}

#[test]
fn nfcapd_reads_what_the_twin_exports() {
    if skipped("nfcapd", "NETVERDICT_REQUIRE_NFDUMP") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let said = directory.path().join("said");
    let flows = directory.path().join("flows");
    fs::create_dir(&flows).unwrap();
    let log = File::create(&said).unwrap();
    let mut nfcapd = Command::new("nfcapd")
        .args([
            "-b",
            "127.0.0.1",
            "-t",
            "3600",
            "-p",
            &port.to_string(),
            "-w",
        ])
        .arg(&flows)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    while queued(port).is_none() {
        assert!(
            nfcapd.try_wait().unwrap().is_none(),
            "{}",
            fs::read_to_string(&said).unwrap()
        );
        std::thread::yield_now();
    }
    let output = Output::new(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    let wanted = export(CacheOptions::default(), |message| {
        // No faster than it reads.
        while queued(port).is_some_and(|queued| queued > 0) {
            std::thread::yield_now();
        }
        output.send(message)
    });
    while queued(port).is_some_and(|queued| queued > 0) {
        std::thread::yield_now();
    }
    end(&mut nfcapd);
    let said = fs::read_to_string(&said).unwrap();
    for complaint in ["Sequence Errors: 0", "Bad Packets: 0"] {
        assert!(said.contains(complaint), "{said}");
    }
    let mut seen = Counted::new();
    let form = "fmt:%pr,%sa,%da,%sp,%dp,%odid,%opid,%pkt,%byt";
    let text = output_of(
        Command::new("nfdump")
            .arg("-R")
            .arg(&flows)
            .args(["-q", "-6", "-N", "-o", form]),
    );
    let mut before = (0, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split(',').map(str::trim).collect();
        let [
            protocol,
            src,
            dst,
            src_port,
            dst_port,
            domain,
            point,
            packets,
            octets,
        ] = words[..]
        else {
            panic!("{line}");
        };
        let protocol = match protocol {
            "TCP" | "6" => 6,
            "UDP" | "17" => 17,
            "ICMP" | "1" => 1,
            "ICMP6" | "58" => 58,
            other => panic!("{other}"),
        };
        let number = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        let hexadecimal =
            |word: &str| u32::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let icmp = matches!(protocol, 1 | 58);
        let flow = (
            protocol,
            src.parse().unwrap(),
            dst.parse().unwrap(),
            if icmp { 0 } else { number(src_port) as u16 },
            if icmp { 0 } else { number(dst_port) as u16 },
            hexadecimal(domain),
            hexadecimal(point),
        );
        // nfdump shows the exporter's running totals, which the records have beside the flow's counters.
        let totals = (number(packets), number(octets));
        let (sum, bytes) = seen.entry(flow).or_default();
        *sum += totals.0 - before.0;
        *bytes += totals.1 - before.1;
        before = totals;
    }
    assert_eq!(seen, wanted, "{said}\n{text}");
}

#[test]
fn tshark_reads_what_the_twin_exports() {
    if skipped("tshark", "NETVERDICT_REQUIRE_TSHARK") {
        return;
    }
    let file = tempfile::NamedTempFile::with_suffix(".pcapng").unwrap();
    let mut writer = Writer::new(File::create(file.path()).unwrap()).unwrap();
    let interface = writer.interface(LinkType::RAW, None, None).unwrap();
    let wanted = export(cached(), |message| {
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 2], 64)
            .udp(49_152, PORT)
            .write(&mut packet, message)
            .unwrap();
        writer
            .packet(
                interface,
                Timestamp(START),
                &packet,
                packet.len() as u32,
                None,
            )
            .unwrap();
        true
    });
    writer.flush().unwrap();
    drop(writer);
    // Statistics before their template, and templates longer than tshark thinks right: as of Open vSwitch itself.
    let open_vswitch = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../wire/tests/data/ipfix-ovs-3.5-cache.pcap"
    );
    let known = complaints(
        Path::new(open_vswitch),
        &["-d", "udp.port==4741-4743,cflow"],
    );
    let ours = complaints(file.path(), &[]);
    assert!(ours.is_subset(&known), "{ours:?} {known:?}");
    let mut seen = Counted::new();
    let fields = [
        "cflow.protocol",
        "cflow.srcaddr",
        "cflow.srcaddrv6",
        "cflow.dstaddr",
        "cflow.dstaddrv6",
        "cflow.srcport",
        "cflow.dstport",
        "cflow.od_id",
        "cflow.observation_point_id",
        "cflow.packets",
        "cflow.octets",
    ];
    let text = tshark(
        file.path(),
        &[
            "-Y",
            "cflow.observation_point_id && cflow.flowset_id >= 256 && cflow.protocol",
        ],
        &fields,
    );
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let either = |a: usize, b: usize| {
            if words[a].is_empty() {
                words[b]
            } else {
                words[a]
            }
        };
        let number = |word: usize| words[word].parse::<u64>().unwrap_or_default();
        let flow = (
            number(0) as u8,
            either(1, 2).parse().unwrap(),
            either(3, 4).parse().unwrap(),
            number(5) as u16,
            number(6) as u16,
            number(7) as u32,
            number(8) as u32,
        );
        let (sum, octets) = seen.entry(flow).or_default();
        *sum += number(9);
        *octets += number(10);
    }
    assert_eq!(seen, wanted, "{text}");
}

#[test]
fn we_read_what_the_twin_exports() {
    let mut decoder = Decoder::default();
    let mut seen = Counted::new();
    let wanted = export(cached(), |message| {
        decoder.decode(
            message,
            ([127, 0, 0, 1], 1).into(),
            Timestamp(START),
            ZoneId(0),
            |sample| {
                let Key::Cookie(cookie) = sample.key else {
                    panic!("{:?}", sample.key);
                };
                let headers = sample.headers;
                let flow = (
                    headers.protocol.unwrap(),
                    headers.src.unwrap(),
                    headers.dst.unwrap(),
                    headers.src_port.unwrap_or_default(),
                    headers.dst_port.unwrap_or_default(),
                    cookie.domain,
                    cookie.point,
                );
                // A record of one packet is not scaled.
                let scale = (1.0 / sample.probability.fraction()).round() as u64;
                let (packets, octets) = seen.entry(flow).or_default();
                *packets += sample.packets * scale;
                *octets += sample.bytes * scale;
            },
        );
        true
    });
    assert_eq!(seen, wanted);
    assert_eq!(decoder.counters().lost, 0);
}

/// What tshark does not like, without numbers.
fn complaints(file: &Path, arguments: &[&str]) -> BTreeSet<String> {
    let filter = ["-Y", "_ws.expert.severity >= 0x00600000 || _ws.malformed"];
    let text = tshark(
        file,
        &[arguments, &filter].concat(),
        &["_ws.expert.message"],
    );
    let without_numbers = |line: &str| line.chars().filter(|c| !c.is_ascii_digit()).collect();
    text.lines().map(without_numbers).collect()
}

fn tshark(file: &Path, arguments: &[&str], fields: &[&str]) -> String {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(arguments);
    command.args(["-T", "fields", "-E", "separator=/t", "-E", "occurrence=f"]);
    for field in fields {
        command.args(["-e", field]);
    }
    output_of(&mut command)
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn end(child: &mut Child) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

/// Bytes that wait at a UDP port of this machine, if somebody listens there.
fn queued(port: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next().filter(|local| local.ends_with(&wanted))?;
        let (_, receive) = words.nth(2)?.split_once(':')?;
        u64::from_str_radix(receive, 16).ok()
    })
}

/// Whether a program is not there, which its variable makes an error.
fn skipped(program: &str, variable: &str) -> bool {
    let missing = Command::new(program).arg("-h").output().is_err();
    let required = std::env::var_os(variable).is_some_and(|value| value == "1");
    assert!(!(missing && required), "{program} does not run");
    if missing {
        eprintln!("SKIPPED: {program} does not run; install it to compare with it");
    }
    missing
}
