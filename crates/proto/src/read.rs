use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Cookie, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, IcmpKind, Owner, OwnerKind, Pipeline, Probability, Rule,
    Service, TcpFlags, Timestamp, Unresolved,
};
use uuid::Uuid;

use crate::v1;
use crate::words::{Word, ip_of, verdict_of};

/// One copy of each ACL that reports tell of, whoever sent them.
#[derive(Debug, Default)]
pub struct Facts {
    known: HashTable<Arc<Fact>>,
    hasher: RandomState,
    swept: usize,
}

/// ACLs that are known at least before it is looked for those that nobody uses.
const FEW: usize = 512;

impl Facts {
    /// The one copy.
    fn one(&mut self, acl: Acl) -> Arc<Fact> {
        let hash = self.hasher.hash_one(&acl);
        if let Some(known) = self.known.find(hash, |known| known.acl == acl) {
            return known.clone();
        }
        if self.known.len() >= 2 * self.swept.max(FEW) {
            self.known.retain(|fact| Arc::strong_count(fact) > 1);
            self.swept = self.known.len();
        }
        let made = Arc::new(Fact::from(acl));
        let hasher = &self.hasher;
        self.known
            .insert_unique(hash, made.clone(), |fact| hasher.hash_one(&fact.acl));
        made
    }
}

/// A report that came.
#[derive(Debug)]
pub struct Received {
    /// The agent's incarnation.
    pub incarnation: u64,
    /// The report's number in it.
    pub number: u64,
    /// What the agent counts.
    pub counters: Vec<v1::Counter>,
    since: i64,
    strings: Vec<String>,
    // What makes no sense is `None`, and so are decisions that refer to it.
    endpoints: Vec<Option<Endpoint>>,
    services: Vec<Option<Service>>,
    rows: Vec<Option<AclRow>>,
    flows: Vec<Option<DropFlow>>,
    decisions: Vec<v1::Decision>,
}

impl Received {
    /// Takes a report.
    pub fn new(report: v1::Report, facts: &mut Facts) -> Self {
        let acls: Vec<_> = report.acls.into_iter().map(acl).collect();
        let acls: Vec<_> = acls
            .into_iter()
            .map(|acl| acl.map(|acl| facts.one(acl)))
            .collect();
        let row = |row: v1::AclRow| {
            Some(AclRow {
                uuid: Uuid::from_slice(&row.uuid).ok()?,
                revision: row.revision,
                fact: acls.get(usize::try_from(row.acl).ok()?)?.clone()?,
            })
        };
        Self {
            incarnation: report.incarnation,
            number: report.number,
            counters: report.counters,
            since: report.since,
            strings: report.strings,
            endpoints: report.endpoints.into_iter().map(endpoint).collect(),
            services: report.services.into_iter().map(service).collect(),
            rows: report.rows.into_iter().map(row).collect(),
            flows: report.drop_flows.into_iter().map(flow).collect(),
            decisions: report.decisions,
        }
    }

    /// Its decisions; `None` for one that makes no sense.
    pub fn decisions(&self) -> impl Iterator<Item = Option<Decision<'_>>> {
        self.decisions.iter().map(|it| self.decision(it))
    }

    fn decision(&self, it: &v1::Decision) -> Option<Decision<'_>> {
        let mut candidates = Candidates::default();
        for row in &it.candidates {
            candidates.push(at(&self.rows, *row)??);
        }
        // Those that are not named count.
        let last = candidates.iter().last();
        if let Some(last) = last {
            let total = usize::try_from(it.candidates_total)
                .ok()?
                .min(MOST_CANDIDATES);
            for _ in candidates.total()..total {
                candidates.push(last);
            }
        }
        let src = self.end(it.src.as_ref()?)?;
        let dst = self.end(it.dst.as_ref()?)?;
        Some(Decision {
            time: Timestamp(self.since.wrapping_add(it.time)),
            origin: self.word(it.origin)??,
            zone: self.string(it.zone)?.unwrap_or_default(),
            node: self.string(it.node)?,
            network: self.string(it.network)?,
            datapath: self.string(it.datapath)?,
            verdict: verdict_of(v1::Verdict::try_from(it.verdict).ok()?),
            acl: at(&self.rows, it.row)?,
            deleted: it.deleted,
            candidates,
            flow: at(&self.flows, it.drop_flow)?,
            unresolved: self.word::<Unresolved>(it.unresolved)?,
            evidence: self.word::<Evidence>(it.evidence)??,
            app: self.word::<App>(it.app)?,
            cookie: it
                .cookie
                .map(|cookie| Cookie::from_be_bytes(cookie.to_be_bytes())),
            reply: it.reply,
            double: it.double,
            src,
            dst,
            service: at(&self.services, it.service)?,
            headers: headers(it.headers.as_ref()?, &src, &dst)?,
            length: it.length,
            packets: it.packets,
            bytes: it.bytes,
            group: it.group,
            probability: Probability(it.probability),
            data: &[],
        })
    }

    fn end(&self, end: &v1::End) -> Option<End<'_>> {
        Some(End {
            ip: ip_of(&end.ip)?,
            port: fit(end.port)?,
            endpoint: at(&self.endpoints, end.endpoint)?,
        })
    }

    /// The outer `None` for what is not there, the inner one for nothing.
    fn string(&self, place: u32) -> Option<Option<&str>> {
        match place {
            0 => Some(None),
            place => {
                let text = self.strings.get(usize::try_from(place).ok()?)?;
                Some(Some(text))
            }
        }
    }

    fn word<T: Word>(&self, place: u32) -> Option<Option<T>> {
        match self.string(place)? {
            Some(word) => Some(Some(T::of(word)?)),
            None => Some(None),
        }
    }
}

/// More than that could have decided: nobody needs to know how many more.
const MOST_CANDIDATES: usize = 1_024;

/// The value at a place that counts from 1: the outer `None` where there is none that makes
/// sense, the inner one for 0.
fn at<T>(values: &[Option<T>], place: u32) -> Option<Option<&T>> {
    match usize::try_from(place).ok()? {
        0 => Some(None),
        place => values.get(place - 1)?.as_ref().map(Some),
    }
}

/// The same in fewer bits: the outer `None` where it does not fit.
fn fit<T: TryFrom<u32>>(value: Option<u32>) -> Option<Option<T>> {
    match value {
        Some(value) => T::try_from(value).ok().map(Some),
        None => Some(None),
    }
}

fn endpoint(it: v1::Endpoint) -> Option<Endpoint> {
    Some(Endpoint {
        kind: EndpointKind::of(&it.kind)?,
        namespace: it.namespace,
        name: it.name,
        node: it.node,
    })
}

fn service(it: v1::Service) -> Option<Service> {
    let backends = it.backends.iter();
    let backends = backends.map(|backend| Some((ip_of(&backend.ip)??, fit(backend.port)?)));
    Some(Service {
        namespace: it.namespace,
        name: it.name,
        ip: ip_of(&it.ip)??,
        port: fit(it.port)?,
        protocol: u8::try_from(it.protocol).ok()?,
        backends: backends.collect::<Option<_>>()?,
    })
}

fn flow(it: v1::DropFlow) -> Option<DropFlow> {
    Some(DropFlow {
        stage: it.stage,
        priority: u16::try_from(it.priority).ok()?,
        matches: it.r#match,
        message: it.message.into(),
    })
}

fn acl(it: v1::Acl) -> Option<Acl> {
    let owner = it.owner?;
    Some(Acl {
        name: it.name,
        priority: u16::try_from(it.priority).ok()?,
        matches: it.r#match,
        action: Action::parse(&it.action)?,
        pipeline: Pipeline::of(&it.pipeline)?,
        tier: u8::try_from(it.tier).ok()?,
        label: it.label,
        owner: Owner {
            kind: match owner.kind.as_str() {
                "" => OwnerKind::Unowned,
                word => OwnerKind::parse(word),
            },
            namespace: owner.namespace,
            name: owner.name,
            direction: match owner.direction.as_str() {
                "" => None,
                word => Some(Direction::of(word)?),
            },
            rule: Rule {
                index: owner.rule_index,
                protocol: owner.rule_protocol,
                ip_block: owner.rule_ip_block,
                kind: owner.rule_type,
            },
            network: owner.network,
        },
    })
}

fn headers(it: &v1::Headers, src: &End<'_>, dst: &End<'_>) -> Option<Headers> {
    let mac = |bytes: &[u8]| match bytes {
        [] => Some(None),
        bytes => Some(Some(<[u8; 6]>::try_from(bytes).ok()?)),
    };
    Some(Headers {
        eth_src: mac(&it.eth_src)?,
        eth_dst: mac(&it.eth_dst)?,
        ethertype: fit(it.ethertype)?,
        vlan: fit(it.vlan)?,
        src: ip_of(&it.src)?.or(src.ip),
        dst: ip_of(&it.dst)?.or(dst.ip),
        protocol: fit(it.protocol)?,
        ttl: fit(it.ttl)?,
        ip_id: fit(it.ip_id)?,
        later_fragment: it.later_fragment,
        src_port: fit(it.src_port)?.or(src.port),
        dst_port: fit(it.dst_port)?.or(dst.port),
        tcp_flags: fit(it.tcp_flags)?.map(TcpFlags),
        tcp_seq: it.tcp_seq,
        icmp: fit::<u16>(it.icmp)?.map(|it| IcmpKind {
            kind: (it >> 8) as u8,
            code: it as u8,
        }),
        icmp_id: fit(it.icmp_id)?,
    })
}
