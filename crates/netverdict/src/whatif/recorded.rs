//! Connections from where they were recorded.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use hashbrown::HashMap;
use netverdict_flow::{Flow, Limits};
use netverdict_query::ask::{Ask, Cursor, Want};
use netverdict_query::moment;
use netverdict_types::{
    Connection, ConnectionId, Endpoint, EndpointKind, Service, Socket, TcpFlags, Timestamp,
    Verdict, protocol_name,
};
use netverdict_whatif::Recorded;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::databases::Databases;
use crate::exit::tell;
use crate::remote::{Client, Wanted};
use crate::server;
use crate::session::{Inputs, Session, Step};
use crate::sources::Spec;

/// Those of captures and bundles.
///
/// # Errors
/// If one cannot be read.
pub(super) fn of_samples(
    sources: &[Spec],
    since: Timestamp,
    recorded: &mut Recorded,
) -> Result<()> {
    let inputs = Inputs {
        source: sources.to_vec(),
        no_state: true,
        ..Inputs::default()
    };
    let mut session = Session::new(&inputs, &Databases::default(), None)?;
    let mut flow = Flow::new(Limits::default());
    let mut connections: HashMap<ConnectionId, Connection> = HashMap::new();
    let mut fold = |update: Connection| match connections.get_mut(&update.id) {
        Some(known) => known.fold(&update),
        None => {
            connections.insert(update.id, update);
        }
    };
    session.run(&mut |step| {
        if let Step::Decision(decision) = step {
            flow.decision(decision, &mut fold);
        }
        Ok(())
    })?;
    flow.finish(&mut fold);
    session.summary();
    let losses = flow.counts().losses().into_iter();
    let lost: Vec<String> = losses
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !lost.is_empty() {
        tell(format_args!("making connections: {}", lost.join(", ")));
    }
    recorded.take(connections.values().filter(|it| it.end >= since));
    Ok(())
}

/// Those of a data directory that no server uses now.
///
/// # Errors
/// If it cannot be opened.
pub(super) fn of_directory(
    directory: &Path,
    since: Timestamp,
    recorded: &mut Recorded,
) -> Result<()> {
    if !directory.is_dir() {
        bail!("{}: there is no such directory", directory.display());
    }
    let opened = server::open_directory(directory)
        .context("while a server runs there, ask it: --source server:URL")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut pages = Pages::new(Ask {
        since,
        ..Ask::all(Want::Rows {
            limit: PAGE,
            after: None,
        })
    });
    while let Some(ask) = pages.next() {
        let page = runtime.block_on(opened.store.connections(ask))?;
        pages.take(&page, recorded);
    }
    Ok(())
}

/// Rows that are read at once.
const PAGE: usize = 1 << 16;

/// A question to a store for all that it has, by pages.
pub(crate) struct Pages(Option<Ask>);

impl Pages {
    pub(crate) fn new(mut ask: Ask) -> Self {
        ask.want = Want::Rows {
            limit: PAGE,
            after: None,
        };
        Self(Some(ask))
    }

    /// What to ask next; `None` at the end.
    pub(crate) fn next(&self) -> Option<&Ask> {
        self.0.as_ref()
    }

    /// Takes what was answered.
    pub(crate) fn take(&mut self, page: &[Connection], recorded: &mut Recorded) {
        recorded.take(page);
        let last = page.last().filter(|_| page.len() == PAGE);
        self.0 = self.0.take().zip(last).map(|(ask, last)| Ask {
            want: Want::Rows {
                limit: PAGE,
                after: Some(Cursor {
                    end: last.end,
                    id: last.id.0,
                }),
            },
            ..ask
        });
    }
}

/// Those that a server tells of.
///
/// # Errors
/// If it cannot be reached, refuses, or tells what is no connection.
pub(super) fn of_server(
    client: &Client,
    since: Option<&str>,
    recorded: &mut Recorded,
) -> Result<()> {
    let url = client.url();
    let wanted = Wanted {
        since: Some(since.unwrap_or(A_DAY_AGO).to_owned()),
        ..Wanted::default()
    };
    client.connections(&wanted, |json| {
        let row: Row = serde_json::from_value(json)
            .with_context(|| format!("{url}: this is no connection of a netverdict server"))?;
        recorded.take([&row.connection()]);
        Ok(true)
    })
}

/// A server is not asked for all that it has unless somebody says so.
const A_DAY_AGO: &str = "-1d";

/// What of a connection's JSON (docs/connection.schema.json) is judged.
#[derive(Deserialize)]
struct Row {
    #[serde(deserialize_with = "time")]
    start: Timestamp,
    #[serde(deserialize_with = "time")]
    end: Timestamp,
    verdict: Verdict,
    network: Option<Arc<str>>,
    protocol: Value,
    src: Side,
    dst: Side,
    service: Option<ServiceName>,
}

#[derive(Deserialize)]
struct Side {
    ip: IpAddr,
    port: Option<u16>,
    namespace: Option<String>,
    pod: Option<String>,
    name: Option<String>,
    kind: Option<EndpointKind>,
    node: Option<String>,
}

#[derive(Deserialize)]
struct ServiceName {
    namespace: Option<String>,
    name: String,
    ip: IpAddr,
    port: Option<u16>,
}

fn time<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    let time = moment(&text, Timestamp(0));
    time.ok_or_else(|| D::Error::custom(format_args!("{text:?} is no time")))
}

impl Row {
    fn connection(self) -> Connection {
        let named = |word: &str| (0..=u8::MAX).find(|number| protocol_name(*number) == Some(word));
        let protocol = match &self.protocol {
            Value::String(word) => named(word),
            other => other.as_u64().and_then(|number| u8::try_from(number).ok()),
        };
        let protocol = protocol.unwrap_or_default();
        let (client, src) = self.src.end();
        let (server, dst) = self.dst.end();
        let service = self.service.map(|service| Service {
            namespace: service.namespace,
            name: service.name,
            ip: service.ip,
            port: service.port,
            protocol,
            backends: Vec::new(),
        });
        Connection {
            id: ConnectionId(0),
            seq: 0,
            network: self.network,
            protocol,
            client,
            server,
            icmp: None,
            src,
            dst,
            service: service.map(Arc::new),
            start: self.start,
            end: self.end,
            verdict: self.verdict,
            egress: None,
            ingress: None,
            tcp_flags: TcpFlags::default(),
            counts: Vec::new(),
            changes: Vec::new(),
        }
    }
}

impl Side {
    fn end(self) -> (Socket, Option<Arc<Endpoint>>) {
        let socket = Socket {
            ip: self.ip,
            port: self.port,
        };
        let endpoint = self.kind.map(|kind| Endpoint {
            kind,
            namespace: self.namespace,
            name: self.pod.or(self.name),
            node: self.node,
        });
        (socket, endpoint.map(Arc::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_tells_is_read() {
        let json = serde_json::json!({
            "id": "x", "seq": 0, "start": "2026-11-23T08:15:30Z", "end": "2026-11-23T08:15:31Z",
            "verdict": "dropped", "network": "default", "protocol": "tcp",
            "src": {"ip": "10.244.0.3", "port": 40000, "namespace": "a", "pod": "b", "kind": "pod"},
            "dst": {"ip": "10.96.0.1", "port": 80, "namespace": "c", "name": "d", "kind": "service"},
            "service": {"namespace": "c", "name": "d", "ip": "10.96.0.1", "port": 80},
            "counts": [], "message": "",
        });
        let row: Row = serde_json::from_value(json).unwrap();
        let connection = row.connection();
        assert_eq!(connection.protocol, 6);
        assert_eq!(connection.verdict, Verdict::Dropped);
        assert_eq!(connection.backend(), None);
        let src = connection.src.unwrap();
        assert_eq!(
            (src.kind, src.name.as_deref()),
            (EndpointKind::Pod, Some("b"))
        );
    }
}
