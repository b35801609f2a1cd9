use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use netverdict_types::{AclRow, Decision, DropFlow, End, Endpoint, Fact, Headers, Owner, Service};
use prost::Message as _;
use uuid::Uuid;

use crate::v1;
use crate::words::{Word, ip, verdict};

/// Makes reports of decisions.
#[derive(Debug, Default)]
pub struct Writer {
    report: v1::Report,
    strings: Places<String>,
    endpoints: Places<Endpoint>,
    services: Places<Service>,
    /// By where it lies: the same fact is at the same place as long as it is held here.
    facts: Places<usize>,
    held: Vec<Arc<Fact>>,
    rows: Places<(Uuid, u32)>,
    /// By stage, priority and match.
    flows: Places<(String, u16, String)>,
}

type Places<T> = HashMap<T, u32, RandomState>;

impl Writer {
    /// Adds a decision; `node` is the node where it was made, for one that names none.
    pub fn decision(&mut self, decision: &Decision<'_>, node: &str) {
        if self.report.strings.is_empty() {
            self.report.since = decision.time.0;
            self.report.strings.push(String::new());
        }
        let row = decision.acl.map_or(0, |row| self.row(row));
        let candidates = decision
            .candidates
            .iter()
            .map(|row| self.row(row))
            .collect();
        let made = v1::Decision {
            time: decision.time.0.wrapping_sub(self.report.since),
            zone: self.string(decision.zone),
            node: self.string(decision.node.unwrap_or(node)),
            network: decision.network.map_or(0, |it| self.string(it)),
            datapath: decision.datapath.map_or(0, |it| self.string(it)),
            origin: self.string(decision.origin.word()),
            verdict: verdict(decision.verdict).into(),
            row,
            deleted: decision.deleted,
            candidates,
            candidates_total: u32::try_from(decision.candidates.total()).unwrap_or(u32::MAX),
            drop_flow: decision.flow.map_or(0, |it| self.flow(it)),
            unresolved: decision.unresolved.map_or(0, |it| self.string(it.word())),
            evidence: self.string(decision.evidence.word()),
            app: decision.app.map_or(0, |it| self.string(it.word())),
            cookie: decision
                .cookie
                .map(|it| u64::from_be_bytes(it.to_be_bytes())),
            reply: decision.reply,
            double: decision.double,
            src: self.end(&decision.src),
            dst: self.end(&decision.dst),
            service: decision.service.map_or(0, |it| self.service(it)),
            headers: Some(headers(decision)),
            length: decision.length,
            packets: decision.packets,
            bytes: decision.bytes,
            group: decision.group,
            probability: decision.probability.0,
        };
        self.report.decisions.push(made);
    }

    /// Adds a counter as it stands.
    pub fn counter(&mut self, place: &str, name: &str, value: u64) {
        self.report.counters.push(v1::Counter {
            place: place.to_owned(),
            name: name.to_owned(),
            value,
        });
    }

    /// How many decisions there are.
    pub fn len(&self) -> usize {
        self.report.decisions.len()
    }

    /// True where there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.report.decisions.is_empty() && self.report.counters.is_empty()
    }

    /// The report of what was added, as bytes; the next one begins.
    pub fn finish(&mut self, incarnation: u64, number: u64) -> Vec<u8> {
        let mut report = std::mem::take(self).report;
        report.incarnation = incarnation;
        report.number = number;
        report.encode_to_vec()
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(place) = self.strings.get(text) {
            return *place;
        }
        let place = count(self.report.strings.len());
        self.report.strings.push(text.to_owned());
        self.strings.insert(text.to_owned(), place);
        place
    }

    fn end(&mut self, end: &End<'_>) -> Option<v1::End> {
        Some(v1::End {
            ip: end.ip.map(ip).unwrap_or_default(),
            port: end.port.map(u32::from),
            endpoint: end.endpoint.map_or(0, |it| self.endpoint(it)),
        })
    }

    fn endpoint(&mut self, endpoint: &Endpoint) -> u32 {
        place(
            &mut self.endpoints,
            &mut self.report.endpoints,
            endpoint,
            || v1::Endpoint {
                kind: endpoint.kind.word().to_owned(),
                namespace: endpoint.namespace.clone(),
                name: endpoint.name.clone(),
                node: endpoint.node.clone(),
            },
        )
    }

    fn service(&mut self, service: &Service) -> u32 {
        place(
            &mut self.services,
            &mut self.report.services,
            service,
            || {
                let backends = service.backends.iter();
                v1::Service {
                    namespace: service.namespace.clone(),
                    name: service.name.clone(),
                    ip: ip(service.ip),
                    port: service.port.map(u32::from),
                    protocol: u32::from(service.protocol),
                    backends: backends
                        .map(|(address, port)| v1::Backend {
                            ip: ip(*address),
                            port: port.map(u32::from),
                        })
                        .collect(),
                }
            },
        )
    }

    fn flow(&mut self, flow: &DropFlow) -> u32 {
        let key = (flow.stage.clone(), flow.priority, flow.matches.clone());
        place(&mut self.flows, &mut self.report.drop_flows, &key, || {
            v1::DropFlow {
                stage: flow.stage.clone(),
                priority: u32::from(flow.priority),
                r#match: flow.matches.clone(),
                message: flow.message.to_string(),
            }
        })
    }

    fn row(&mut self, row: &AclRow) -> u32 {
        let lies = Arc::as_ptr(&row.fact) as usize;
        let held = &mut self.held;
        let acl = place(&mut self.facts, &mut self.report.acls, &lies, || {
            held.push(row.fact.clone());
            acl(&row.fact)
        }) - 1;
        // Another revision of the same row is another row.
        let key = (row.uuid, acl);
        place(&mut self.rows, &mut self.report.rows, &key, || v1::AclRow {
            uuid: row.uuid.as_bytes().to_vec(),
            revision: row.revision,
            acl,
        })
    }
}

/// The place of a value from 1; it is added where it is new.
fn place<K: Clone + Eq + Hash, T>(
    places: &mut Places<K>,
    values: &mut Vec<T>,
    key: &K,
    make: impl FnOnce() -> T,
) -> u32 {
    if let Some(place) = places.get(key) {
        return *place;
    }
    values.push(make());
    let place = count(values.len());
    places.insert(key.clone(), place);
    place
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn acl(fact: &Fact) -> v1::Acl {
    let acl = &fact.acl;
    let Owner {
        kind,
        namespace,
        name,
        direction,
        rule,
        network,
    } = acl.owner.clone();
    v1::Acl {
        name: acl.name.clone(),
        priority: u32::from(acl.priority),
        r#match: acl.matches.clone(),
        action: acl.action.as_str().to_owned(),
        pipeline: acl.pipeline.word().to_owned(),
        tier: u32::from(acl.tier),
        label: acl.label,
        owner: Some(v1::Owner {
            kind: kind.as_str().to_owned(),
            namespace,
            name,
            direction: direction.map_or_else(String::new, |it| it.word().to_owned()),
            rule_index: rule.index,
            rule_protocol: rule.protocol,
            rule_ip_block: rule.ip_block,
            rule_type: rule.kind,
            network,
        }),
    }
}

fn headers(decision: &Decision<'_>) -> v1::Headers {
    let Headers {
        eth_src,
        eth_dst,
        ethertype,
        vlan,
        src,
        dst,
        protocol,
        ttl,
        ip_id,
        later_fragment,
        src_port,
        dst_port,
        tcp_flags,
        tcp_seq,
        icmp,
        icmp_id,
    } = decision.headers;
    v1::Headers {
        eth_src: eth_src.map(|it| it.to_vec()).unwrap_or_default(),
        eth_dst: eth_dst.map(|it| it.to_vec()).unwrap_or_default(),
        ethertype: ethertype.map(u32::from),
        vlan: vlan.map(u32::from),
        protocol: protocol.map(u32::from),
        ttl: ttl.map(u32::from),
        ip_id: ip_id.map(u32::from),
        later_fragment,
        tcp_flags: tcp_flags.map(|it| u32::from(it.0)),
        tcp_seq,
        icmp: icmp.map(|it| u32::from(it.kind) << 8 | u32::from(it.code)),
        icmp_id: icmp_id.map(u32::from),
        src: other(src, decision.src.ip).map(ip).unwrap_or_default(),
        dst: other(dst, decision.dst.ip).map(ip).unwrap_or_default(),
        src_port: other(src_port, decision.src.port).map(u32::from),
        dst_port: other(dst_port, decision.dst.port).map(u32::from),
    }
}

/// What the headers say, where the decision says something else.
fn other<T: PartialEq>(header: Option<T>, decision: Option<T>) -> Option<T> {
    match header == decision {
        true => None,
        false => header,
    }
}
