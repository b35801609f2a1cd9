//! A connection as JSON, by docs/connection.schema.json.

use std::fmt;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Change, Connection, ConnectionId, Counts, Half, Socket, Tally};
use crate::decision::{AclJson, ServiceName, optional, protocol_entry};
use crate::{Direction, End, Endpoint, Probability};

impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("seq", &self.seq)?;
        map.serialize_entry("start", &self.start)?;
        map.serialize_entry("end", &self.end)?;
        map.serialize_entry("verdict", &self.verdict)?;
        optional(&mut map, "network", self.network.as_deref())?;
        protocol_entry(&mut map, self.protocol)?;
        map.serialize_entry("src", &end(self.client, self.src.as_deref()))?;
        map.serialize_entry("dst", &end(self.server, self.dst.as_deref()))?;
        optional(
            &mut map,
            "service",
            self.service.as_deref().map(ServiceName),
        )?;
        optional(&mut map, "icmp", self.icmp)?;
        if self.tcp_flags.0 != 0 {
            map.serialize_entry("tcp_flags", &self.tcp_flags)?;
        }
        optional(&mut map, "egress", self.egress.as_ref())?;
        optional(&mut map, "ingress", self.ingress.as_ref())?;
        map.serialize_entry("counts", &self.counts)?;
        if self.has_history() {
            map.serialize_entry("changes", &self.changes)?;
        }
        let message = self
            .explaining()
            .map_or("", |(_, half)| half.ruling.message());
        map.serialize_entry("message", message)?;
        map.end()
    }
}

impl Connection {
    /// True where the two halves are not all that was said.
    fn has_history(&self) -> bool {
        self.changes.iter().any(|change| {
            let half = match change.direction {
                Direction::Egress => &self.egress,
                Direction::Ingress => &self.ingress,
            };
            half.as_ref() != Some(&change.half)
        })
    }
}

impl Serialize for Half {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl Half {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let ruling = &self.ruling;
        map.serialize_entry("since", &self.since)?;
        map.serialize_entry("zone", &*self.zone)?;
        optional(map, "node", self.node.as_deref())?;
        map.serialize_entry("verdict", &ruling.verdict)?;
        if let Some(acl) = ruling.fact.as_ref().map(|fact| &fact.acl) {
            map.serialize_entry("action", &acl.action)?;
            optional(map, "direction", acl.owner.direction)?;
            map.serialize_entry("pipeline", &acl.pipeline)?;
            map.serialize_entry("tier", &acl.tier)?;
            map.serialize_entry("owner", &acl.owner)?;
            let (uuid, deleted) = (ruling.uuid, ruling.deleted);
            map.serialize_entry("acl", &AclJson { uuid, acl, deleted })?;
        }
        optional(map, "revision", ruling.revision)?;
        optional(map, "flow", ruling.flow.as_deref())?;
        optional(map, "unresolved", ruling.unresolved)?;
        map.serialize_entry("evidence", &ruling.evidence)?;
        map.serialize_entry("message", ruling.message())
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let half = match self.direction {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        };
        map.serialize_entry("half", half)?;
        self.half.entries(&mut map)?;
        map.end()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seen = |tally| Seen(tally, self.probability);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("probability", &self.probability)?;
        map.serialize_entry("original", &seen(self.original))?;
        map.serialize_entry("reply", &seen(self.reply))?;
        map.serialize_entry("dropped", &seen(self.dropped))?;
        map.end()
    }
}

/// A tally, and what it stands for.
struct Seen(Tally, Probability);

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(tally, probability) = *self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("packets", &tally.packets)?;
        map.serialize_entry("bytes", &tally.bytes)?;
        let is_sampled = probability != Probability::ALL && tally.packets > 0;
        if let Some(estimate) = tally.estimate(probability).filter(|_| is_sampled) {
            let whole = |number: f64| number as u64;
            map.serialize_entry(
                "estimate",
                &EstimateJson {
                    packets: whole(estimate.packets.round()),
                    low: whole(estimate.low.floor()),
                    high: whole(estimate.high.ceil()),
                    bytes: whole(estimate.bytes.round()),
                },
            )?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct EstimateJson {
    packets: u64,
    low: u64,
    high: u64,
    bytes: u64,
}

impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn end(socket: Socket, endpoint: Option<&Endpoint>) -> End<'_> {
    End {
        ip: Some(socket.ip),
        port: socket.port,
        endpoint,
    }
}
