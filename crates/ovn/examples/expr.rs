//! Asks matches of packets: one JSON object on standard input, one a match on standard output. `lab/expr.py` compares with what OVN says.
//!
//! ```sh
//! echo '{"addresses": {"as": ["10.0.0.0/8"]}, "ports": {"pg": ["p1"]}, "resident": [],
//!        "matches": ["ip4.src == $as", "ip4.src = $as"],
//!        "packets": [{"inport": "p1", "EthType": "800", "Ip4Src": "0a000001"}]}' | cargo run -p netverdict-ovn --example expr
//! ```
//! prints `{"canonical":"ip4.src[24..31] == 0xa","holds":"1"}` and
//! ``{"error":"Syntax error at `=' expecting relational operator.","at":[8,9]}``. Numbers of packets are hexadecimal.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};

use netverdict_ovn::expr::{Field, Fields, Match, Sets};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Input {
    addresses: BTreeMap<String, Vec<String>>,
    ports: BTreeMap<String, Vec<String>>,
    resident: Vec<String>,
    matches: Vec<String>,
    packets: Vec<BTreeMap<String, String>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let input: Input = serde_json::from_reader(io::stdin())?;
    let mut sets = Sets::new();
    for (name, addresses) in &input.addresses {
        sets.set_addresses(name, addresses.iter().map(String::as_str));
    }
    for (name, ports) in &input.ports {
        sets.set_ports(name, ports.iter().map(|port| (port.as_str(), [])));
    }
    for port in &input.resident {
        sets.set_resident(port);
    }
    let packets = input
        .packets
        .iter()
        .map(packet)
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = io::stdout().lock();
    for text in &input.matches {
        let line = match Match::parse(text, &sets) {
            Ok(found) => {
                let compiled = found.compile();
                let holds: String = packets
                    .iter()
                    .map(|packet| if compiled.matches(packet) { '1' } else { '0' })
                    .collect();
                json!({"canonical": found.canonical(), "holds": holds})
            }
            Err(error) => {
                json!({"error": error.to_string(), "at": [error.span().start, error.span().end]})
            }
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn packet(fields: &BTreeMap<String, String>) -> Result<Fields<'_>, Box<dyn Error>> {
    let port = |name| fields.get(name).map_or("", String::as_str);
    let mut packet = Fields::new(port("inport"), port("outport"));
    for (name, value) in fields {
        if name == "inport" || name == "outport" {
            continue;
        }
        let field = Field::ALL
            .into_iter()
            .find(|field| format!("{field:?}") == *name)
            .ok_or_else(|| format!("there is no field {name}"))?;
        packet.set(field, u128::from_str_radix(value, 16)?);
    }
    Ok(packet)
}
