//! Prints what eBPF counts as JSON lines: for tests, and for a look.
//!
//!     probe [--sums] [--no-samples] [--group N]... [--max-events N] [--max-flows N] [INTERFACE...]
//!
//! It says `{"attached":true}`, then answers each line on standard input with a drain, and ends
//! with it. With `--sums` it prints what all events and flows come to instead of each.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{Write, stdin, stdout};

use netverdict_ebpf::{Event, FlowCount, Heading, Options, Probe, Sink, Tuple};
use netverdict_types::{Headers, Key, Sample};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::default();
    let mut sums = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u32, Box<dyn Error>> {
            Ok(arguments.next().ok_or("a number is missing")?.parse()?)
        };
        match argument.as_str() {
            "--sums" => sums = true,
            "--no-samples" => options.samples = false,
            "--group" => options.groups.push(number()?),
            "--max-events" => options.max_events = number()?,
            "--max-flows" => options.max_flows = number()?,
            interface => options.interfaces.0.push(interface.parse()?),
        }
    }
    let mut probe = match Probe::attach(&options) {
        Ok(probe) => probe,
        Err(error) => {
            println!("{}", json!({ "error": error.to_string() }));
            std::process::exit(1);
        }
    };
    println!("{}", json!({ "attached": true }));
    for _line in stdin().lines() {
        let mut out = Lines {
            out: stdout().lock(),
            events: [0; 2],
            flows: [0; 2],
            sums,
        };
        let drained = probe.drain(&mut out)?;
        let counts = probe.counts()?;
        let mut last = json!({
            "drained": { "events": drained.events, "flows": drained.flows, "spilled": drained.spilled },
        });
        last["counts"] = counts.named().into_iter().collect();
        last["packets_and_bytes"] = json!({ "events": out.events, "flows": out.flows });
        writeln!(out.out, "{last}")?;
        out.out.flush()?;
    }
    Ok(())
}

struct Lines<W> {
    out: W,
    events: [u64; 2],
    flows: [u64; 2],
    sums: bool,
}

impl<W: Write> Sink for Lines<W> {
    fn event(&mut self, sample: &Sample<'_>, detail: &Event) {
        add(&mut self.events, sample.packets, sample.bytes);
        let Key::Cookie(cookie) = sample.key else {
            return;
        };
        if self.sums {
            return;
        }
        let tuple = |tuple: Tuple| {
            json!([
                tuple.src,
                tuple.dst,
                tuple.src_port,
                tuple.dst_port,
                tuple.protocol
            ])
        };
        let conntrack = detail.conntrack.map(|entry| {
            json!({
                "original": tuple(entry.original), "reply": tuple(entry.reply),
                "is_reply": entry.is_reply, "is_new": entry.is_new,
                "zone": entry.zone, "mark": entry.mark, "label": format!("{:032x}", entry.label),
            })
        });
        self.write(json!({ "event": {
            "domain": cookie.domain, "point": cookie.point, "headers": headers(&sample.headers),
            "group": sample.group, "probability": sample.probability, "length": sample.length,
            "packets": sample.packets, "bytes": sample.bytes, "doubles": detail.doubles,
            "first": detail.first, "last": detail.last, "conntrack": conntrack,
        }}));
    }

    fn flow(&mut self, flow: &FlowCount<'_>) {
        add(&mut self.flows, flow.packets, flow.bytes);
        if self.sums {
            return;
        }
        self.write(json!({ "flow": {
            "namespace": flow.namespace, "index": flow.index, "interface": flow.interface,
            "out": flow.heading == Heading::Out, "headers": headers(&flow.headers),
            "packets": flow.packets, "bytes": flow.bytes, "first": flow.first, "last": flow.last,
        }}));
    }
}

impl<W: Write> Lines<W> {
    fn write(&mut self, line: Value) {
        // Who reads no more ends us with the next line that is missing.
        let _ = writeln!(self.out, "{line}");
    }
}

fn add(sums: &mut [u64; 2], packets: u64, bytes: u64) {
    sums[0] += packets;
    sums[1] += bytes;
}

fn headers(headers: &Headers) -> Value {
    json!({
        "ethertype": headers.ethertype, "vlan": headers.vlan, "src": headers.src,
        "dst": headers.dst, "protocol": headers.protocol, "src_port": headers.src_port,
        "dst_port": headers.dst_port, "tcp_flags": headers.tcp_flags.map(|flags| flags.0),
        "icmp": headers.icmp.map(|icmp| [icmp.kind, icmp.code]), "icmp_id": headers.icmp_id,
        "later_fragment": headers.later_fragment,
    })
}
