//! IPFIX through a real socket and the program to JSON lines.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use netverdict_bench::cluster::Cluster;
use netverdict_bench::traffic::{Packet, Traffic};
use netverdict_wire::headers::parse_frame;
use netverdict_wire::ipfix::{Exporter, Interface, Record};

use crate::{binary, figure, inputs};

const ACLS: usize = 10_000;
/// How long each rate is held.
const HOLD: Duration = Duration::from_secs(3);
const FIRST: u64 = 50_000;
const LAST: u64 = 2_000_000;

pub(crate) fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let rows = directory.path().join("rows");
    let cluster = Cluster::new(ACLS);
    inputs::capture(&rows, &cluster, 0)?;
    let (mut good, mut bad) = (0, None);
    let mut rate = FIRST;
    // Up by half until something is lost, then halfway between, twice.
    for _ in 0..12 {
        let (reached, lost) = hold(&rows, &cluster, rate)?;
        eprintln!("e2e_ipfix: {reached} records/s, {lost} lost");
        if lost == 0 && reached >= rate * 9 / 10 {
            good = good.max(reached);
        } else {
            bad = Some(rate);
        }
        rate = match bad {
            None => rate * 3 / 2,
            Some(bad) if bad > good + good / 8 && good > 0 => (good + bad) / 2,
            Some(_) => break,
        };
        if rate > LAST {
            break;
        }
    }
    eprintln!(
        "e2e_ipfix: netverdict observe --source ipfix:127.0.0.1:PORT -o json >/dev/null, one \
         record a datagram, {ACLS} ACLs, {} s a rate; the sender shares the processors",
        HOLD.as_secs()
    );
    figure("e2e_ipfix", good, "records/s");
    Ok(())
}

/// Sends at a rate; gives the rate that came about, and how many records were lost.
fn hold(rows: &Path, cluster: &Cluster, rate: u64) -> Result<(u64, u64)> {
    let (templates, datagrams) = datagrams(cluster, (rate * HOLD.as_secs()) as usize);
    let port = binary::free_port()?;
    let child = binary::observe(&[
        "-o",
        "json",
        "--source",
        &format!("capture:{}", rows.display()),
        "--source",
        &format!("ipfix:127.0.0.1:{port}"),
    ])?
    .stderr(Stdio::piped())
    .spawn()?;
    binary::wait_for_port(port)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(("127.0.0.1", port))?;
    for datagram in &templates {
        socket.send(datagram)?;
    }
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    let mut sent = 0;
    while sent < datagrams.ends.len() {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as usize;
        while sent < due.min(datagrams.ends.len()) {
            let from = sent.checked_sub(1).map_or(0, |last| datagrams.ends[last]);
            socket.send(&datagrams.bytes[from..datagrams.ends[sent]])?;
            sent += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    let reached = sent as f64 / start.elapsed().as_secs_f64();
    // An interrupt lets what the socket holds be read first; the pause lets it run dry.
    thread::sleep(Duration::from_millis(500));
    let summary = binary::interrupt(child)?;
    let came = binary::samples(&summary)?;
    let dropped = binary::counter(&summary, "ipfix_dropped");
    let lost = (sent as u64).saturating_sub(came).max(dropped);
    Ok((reached as u64, lost))
}

#[derive(Default)]
struct Datagrams {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

fn datagrams(cluster: &Cluster, count: usize) -> (Vec<Vec<u8>>, Datagrams) {
    let mut exporter = Exporter::new(None);
    let mut templates = Vec::new();
    let mut domains: Vec<u32> = Vec::new();
    let mut all = Datagrams::default();
    for packet in Traffic::new(cluster).take(count) {
        let export_time = (packet.time.0 / 1_000_000_000) as u32 + 1;
        if !domains.contains(&packet.cookie.domain) {
            domains.push(packet.cookie.domain);
            exporter.templates(packet.cookie.domain, export_time, |message| {
                templates.push(message.to_owned());
            });
        }
        exporter.sample(export_time, &record(&packet), &mut all.bytes);
        all.ends.push(all.bytes.len());
    }
    (templates, all)
}

fn record(packet: &Packet) -> Record<'static> {
    Record {
        domain: packet.cookie.domain,
        point: packet.cookie.point,
        headers: parse_frame(&packet.frame()),
        frame_length: 100,
        input: Interface {
            index: u32::from(packet.index),
            kind: 6,
            name: "0123456789abcde",
            description: "",
        },
        output: None,
        tunnel: None,
        vlan_priority: 0,
        tos: 0,
        flow_label: 0,
        time: packet.time,
        packet_delta: 1,
        dropped: false,
    }
}
