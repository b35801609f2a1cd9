//! Takes packets through the twin and says where they come out and what is exported of them: the side of ours in `lab/twin/samples.py`.
//!
//! A line of standard input is JSON; those that ask get a line of JSON back.
//! - `{"zones": ["nb.json", …], "keys": [{"switch": 1, …}, …], "interfaces": [{"port": [1, "eth0"], …}, …], "sets": [42, …]}` makes a twin without
//!   connections: files that `ovsdb-client dump -f json` printed, the tunnel keys of their switches, index and name of the interfaces of their ports,
//!   and the collector sets that have an exporter. With `"keep": true` the
//!   connections of the twin before stay.
//! - `{"port": "p1", "frame": "0a00…", "at": 1}` is a frame that comes in by a port, at a time in nanoseconds. The answer is
//!   `{"is": "delivered", "outputs": [["p2", "0a00…"], …], "ipfix": [[zone, set, "000a…"], …]}`, where messages are those of the zone's exporters.
//!
//! Both ways to run the ACL stages must say the same: else the answer is `{"differ": […]}`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::rc::Rc;
use std::sync::Arc;

use netverdict_ovsdb::Replica;
use netverdict_pipeline::conntrack::{Conntrack, Datapath};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::emit::{Emitter, Interface, Ipfix, Node, Sink, Taken};
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::journey::{Outcome, Twin, Zone};
use netverdict_pipeline::walk::Walk;
use netverdict_pipeline::{
    At, Logged, Lport, Northbound, Observer, Packet, Sampled, Stages, SwitchId,
};
use netverdict_types::{Timestamp, ZoneId};
use netverdict_wire::ipfix::CacheOptions;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut sides: Option<(Side<Walk>, Side<Decide>)> = None;
    let mut out = stdout().lock();
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line?)?;
        if line["zones"].is_array() {
            let zones = zones(&line)?;
            let walk = |zone: &Arc<Northbound>| Walk::new(zone.clone(), Release::R25_03);
            let decide = |zone: &Arc<Northbound>| Decide::new(zone, Release::R25_03);
            let mut made = (
                Side::new(&zones, walk, &line),
                Side::new(&zones, decide, &line),
            );
            if let (Some(old), Some(true)) = (&mut sides, line["keep"].as_bool()) {
                made.0.take_connections(&mut old.0);
                made.1.take_connections(&mut old.1);
            }
            sides = Some(made);
            continue;
        }
        let (walking, deciding) = sides.as_mut().ok_or("no zones yet")?;
        let mut told = walking.send(&line)?;
        let decided = deciding.send(&line)?;
        if told != decided {
            told = json!({ "differ": [told, decided] });
        }
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    Ok(())
}

fn zones(line: &Value) -> Result<Vec<Arc<Northbound>>, Failure> {
    let files = line["zones"].as_array().into_iter().flatten();
    files
        .map(|file| {
            let file = File::open(file.as_str().ok_or("a file must be a string")?)?;
            let replica = Replica::from_dump(BufReader::new(file))?.replica;
            // Numbers of ports, by which conntrack's zones go, stay if the ports do.
            let mut rows: Vec<_> = replica.tables().flat_map(|table| table.rows()).collect();
            rows.sort_by_key(|row| row.uuid());
            let northbound = Northbound::new(rows);
            match northbound.bad_rows.first() {
                Some(bad) => Err(bad.to_string().into()),
                None => Ok(Arc::new(northbound)),
            }
        })
        .collect()
}

/// Messages with the zone and the set of their exporter.
type Messages = Rc<RefCell<Vec<(usize, u32, String)>>>;

/// The twin with one of the ways to run the ACL stages.
struct Side<S> {
    twin: Twin<S>,
    seen: Seen,
    messages: Messages,
}

impl<S: Stages> Side<S> {
    fn new(
        zones: &[Arc<Northbound>],
        stages: impl Fn(&Arc<Northbound>) -> S,
        line: &Value,
    ) -> Self {
        let messages = Messages::default();
        let mut nodes = Vec::new();
        let mut exporters = Vec::new();
        for (number, zone) in zones.iter().enumerate() {
            let mut node = Node::new(ZoneId(number as u16), zone);
            for (switch, row) in zone.switches() {
                if let Some(key) = line["keys"][number][&*row.name].as_u64() {
                    node.set_key(switch, key as u32);
                }
            }
            for (port, row) in zone.ports.iter().enumerate() {
                let known = &line["interfaces"][number][&*row.name];
                let interface = Interface {
                    index: known[0].as_u64().unwrap_or_default() as u32,
                    name: known[1].as_str().unwrap_or_default().into(),
                };
                node.set_interface(Lport(port as u32), interface);
            }
            nodes.push(node);
            let to = messages.clone();
            let send: Send = Box::new(move |set, message| {
                to.borrow_mut().push((number, set, hex(message)));
                true
            });
            let sets = line["sets"].as_array().into_iter().flatten();
            exporters.push(
                sets.filter_map(Value::as_u64)
                    .fold(Ipfix::new(send), |ipfix, set| {
                        ipfix.with_set(set as u32, CacheOptions::default())
                    }),
            );
        }
        let mut twin = Twin::new(zones.iter().map(|zone| {
            let mut made = Zone::new(zone.clone(), stages(zone));
            made.conntrack = Conntrack::new(Datapath::Userspace, 100_000);
            made
        }));
        twin.answers = true;
        Self {
            twin,
            seen: Seen {
                emitter: Emitter::new(nodes, 1, Exporters(exporters)),
                outputs: Vec::new(),
            },
            messages,
        }
    }

    fn take_connections(&mut self, old: &mut Self) {
        for (zone, old) in self.twin.zones_mut().iter_mut().zip(old.twin.zones_mut()) {
            zone.conntrack = std::mem::take(&mut old.conntrack);
        }
    }

    fn send(&mut self, line: &Value) -> Result<Value, Failure> {
        let text = |key: &str| line[key].as_str().ok_or(format!("{key} is missing"));
        let from = self.twin.place(text("port")?).ok_or("no such port")?;
        let packet = Packet::parse(&bytes(text("frame")?)?)?;
        let now = Timestamp(line["at"].as_i64().ok_or("at is missing")?);
        self.seen.emitter.begin(now);
        let outcome = self.twin.send(from, packet, now, &mut self.seen);
        self.seen.emitter.end(matches!(
            outcome,
            Outcome::Delivered(..) | Outcome::Outside(..)
        ));
        let outputs = self.seen.outputs.drain(..).map(|(zone, port, packet)| {
            let mut frame = Vec::new();
            packet.write(&mut frame);
            let name = self.twin.zones()[zone].northbound.port_name(port);
            json!([name, hex(&frame)])
        });
        let outputs: Vec<Value> = outputs.collect();
        let is = match outcome {
            Outcome::Delivered(..) => "delivered".to_owned(),
            Outcome::Outside(..) => "outside".to_owned(),
            Outcome::Dropped { at, .. } => format!("dropped {}", at.stage.name()),
            Outcome::Rejected { at, .. } => {
                format!("rejected {}", at.map_or("", |at| at.stage.name()))
            }
            Outcome::Lost { reason, .. } => format!("lost {reason:?}"),
        };
        Ok(json!({ "is": is, "outputs": outputs, "ipfix": self.messages.take() }))
    }
}

type Send = Box<dyn FnMut(u32, &[u8]) -> bool>;

/// The exporters of each zone.
struct Exporters(Vec<Ipfix<Send>>);

impl Sink for Exporters {
    fn sample(&mut self, taken: &Taken<'_>) {
        if let Some(exporters) = self.0.get_mut(usize::from(taken.node.zone.0)) {
            exporters.sample(taken);
        }
    }
}

struct Seen {
    emitter: Emitter<Exporters>,
    outputs: Vec<(usize, Lport, Packet)>,
}

impl Observer for Seen {
    fn enter(&mut self, zone: usize, switch: SwitchId, inport: Lport) {
        self.emitter.enter(zone, switch, inport);
    }

    fn leave(&mut self, zone: usize, switch: SwitchId, outport: Lport) {
        self.emitter.leave(zone, switch, outport);
    }

    fn answered(&mut self) {
        self.emitter.answered();
    }

    fn output(&mut self, zone: usize, switch: SwitchId, outport: Lport, packet: &Packet) {
        self.emitter.output(zone, switch, outport, packet);
        self.outputs.push((zone, outport, *packet));
    }

    fn sample(&mut self, at: At, packet: &Packet, sample: Sampled) {
        self.emitter.sample(at, packet, sample);
    }

    fn log(&mut self, at: At, packet: &Packet, log: Logged<'_>) {
        self.emitter.log(at, packet, log);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let pairs = (0..text.len()).step_by(2);
    let bytes: Result<Vec<u8>, _> = pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2).unwrap_or_default(), 16))
        .collect();
    Ok(bytes?)
}
