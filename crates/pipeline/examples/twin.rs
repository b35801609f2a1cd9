//! Takes packets through the twin and says what becomes of them: the side of ours in `lab/twin/policy.py`.
//!
//! A line of standard input is JSON: `{"zones": ["nb.json", …]}`, files that `ovsdb-client dump -f json` printed, makes the twin; each other line
//! is a packet, which gets a line of JSON back. Every packet finds a twin without connections. The one that arrives is answered and then sent
//! again, in the same connection. Both ways to run the ACL stages must say the same: else the answer is `{"differ": […]}`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netverdict_ovsdb::Replica;
use netverdict_pipeline::conntrack::Conntrack;
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Outcome, Place, Twin, Zone};
use netverdict_pipeline::walk::Walk;
use netverdict_pipeline::{Lport, Northbound, Observer, Packet, Stages, SwitchId};
use netverdict_types::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut walking = Twin::new([]);
    let mut deciding = Twin::new([]);
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if let Some(files) = line["zones"].as_array() {
            let zones: Result<Vec<_>, _> = files.iter().map(zone).collect();
            let zones = zones?;
            walking = Twin::new(
                zones
                    .iter()
                    .map(|zone| Zone::new(zone.clone(), Walk::new(zone.clone(), Release::R25_03))),
            );
            deciding = Twin::new(
                zones
                    .iter()
                    .map(|zone| Zone::new(zone.clone(), Decide::new(zone, Release::R25_03))),
            );
            continue;
        }
        let mut told = answer(&mut walking, &line)?;
        let decided = answer(&mut deciding, &line)?;
        if told != decided {
            told = json!({ "differ": [told, decided] });
        }
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    Ok(())
}

fn zone(file: &Value) -> Result<Arc<Northbound>, Failure> {
    let file = File::open(file.as_str().ok_or("a file must be a string")?)?;
    let replica = Replica::from_dump(BufReader::new(file))?.replica;
    let northbound = Northbound::from_replica(&replica);
    match northbound.bad_rows.first() {
        Some(bad) => Err(bad.to_string().into()),
        None => Ok(Arc::new(northbound)),
    }
}

fn answer<S: Stages>(twin: &mut Twin<S>, question: &Value) -> Result<Value, Failure> {
    for zone in twin.zones_mut() {
        zone.conntrack = Conntrack::default();
    }
    let text = |key: &str| {
        let value = question[key].as_str();
        value.ok_or_else(|| format!("{key} is missing in {question}"))
    };
    let from = twin.place(text("inport")?).ok_or("no such port")?;
    let port = |key: &str| question[key].as_u64().unwrap_or(0) as u16;
    let src = SocketAddr::new(text("src")?.parse()?, port("sport"));
    let dst = SocketAddr::new(text("dst")?.parse()?, port("dport"));
    let packet = match text("protocol")? {
        "tcp" => Packet::tcp(src, dst),
        "udp" => Packet::udp(src, dst),
        "sctp" => Packet::sctp(src, dst),
        "icmp" => Packet::icmp_echo(src.ip(), dst.ip(), 1),
        other => return Err(format!("protocol {other}").into()),
    };
    let mut packet = packet.between(mac(text("eth_src")?)?, mac(text("eth_dst")?)?);
    if let Some(ttl) = question["ttl"].as_u64() {
        packet.ttl = ttl as u8;
    }
    twin.backend = question["backend"]
        .as_str()
        .map(str::parse::<IpAddr>)
        .transpose()?;

    let (first, outcome) = told(twin, from, packet);
    let mut told_all = json!({ "first": first });
    if let Outcome::Delivered(place, arrived) = outcome {
        let (back, outcome) = told(twin, place, arrived.reply());
        told_all["back"] = back;
        if let Outcome::Delivered(..) = outcome {
            told_all["again"] = told(twin, from, packet).0;
        }
    }
    Ok(told_all)
}

fn told<S: Stages>(twin: &mut Twin<S>, from: Place, packet: Packet) -> (Value, Outcome) {
    let mut outputs = Outputs::default();
    let outcome = twin.send(from, packet, Timestamp(0), &mut outputs);
    let name = |zone: usize, port: Lport| twin.zones()[zone].northbound.port_name(port);
    let ports = outputs.ports.iter();
    let ports: Vec<&str> = ports.map(|(zone, port)| name(*zone, *port)).collect();
    let ends = |packet: &Packet| {
        packet
            .tuple()
            .map(|tuple| [(tuple.src, tuple.src_port), (tuple.dst, tuple.dst_port)])
    };
    let mut value = match &outcome {
        Outcome::Delivered(place, packet) => {
            json!({ "is": "delivered", "port": name(place.zone, place.port), "ends": ends(packet), "outputs": ports })
        }
        Outcome::Outside(place, packet) => {
            json!({ "is": "outside", "port": name(place.zone, place.port), "ends": ends(packet), "outputs": ports })
        }
        Outcome::Dropped { at, .. } => {
            json!({ "is": "dropped", "at": at.stage.name(), "outputs": ports })
        }
        Outcome::Rejected { at, answer, .. } => {
            let at = at.map(|at| at.stage.name());
            json!({ "is": "rejected", "at": at, "answer": answer.is_some(), "outputs": ports })
        }
        Outcome::Lost { reason, .. } => {
            json!({ "is": "lost", "why": format!("{reason:?}"), "outputs": ports })
        }
    };
    value["resolved"] = json!(outputs.resolved);
    (value, outcome)
}

/// The ports that a packet came out of, with their zones.
#[derive(Default)]
struct Outputs {
    ports: Vec<(usize, Lport)>,
    /// How many of them it came out of before a router did not know its neighbour's MAC address, if one did not.
    resolved: Option<usize>,
}

impl Observer for Outputs {
    fn output(&mut self, zone: usize, _: SwitchId, outport: Lport, _: &Packet) {
        self.ports.push((zone, outport));
    }

    fn routed(&mut self, _: usize, _: Uuid, _: Uuid, packet: &Packet) {
        if packet.eth_dst == [0; 6] {
            self.resolved.get_or_insert(self.ports.len());
        }
    }
}

fn mac(text: &str) -> Result<[u8; 6], Failure> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes?;
    bytes
        .try_into()
        .map_err(|_| format!("{text} is no MAC address").into())
}
