//! Why a connection is let through or not: every table that decides, in both directions, with the rule and its place in the text.
//!
//! [`explain`] sends a packet into the twin, and its answer back, and writes down what it saw. It judges nothing itself: the twin does.

mod atlas;
mod pace;
mod packet;
mod rows;
mod text;
mod trace;
mod way;

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Key, Kind, Span};
use netverdict_pipeline::conntrack::Conntrack;
use netverdict_pipeline::journey::{Lost, Outcome, Place, Twin};
use netverdict_pipeline::{Northbound, Stages};
use netverdict_types::{Direction, EndpointKind, Owner, Timestamp};
use serde::Serialize;
use uuid::Uuid;

pub use atlas::{Atlas, Party, Serving};
pub use pace::{Change, Pace};
pub use text::Style;
pub use trace::{Event, Stepped, Trace};
pub use way::{Passing, Refused, Ruling, Station, Tier, Way};

use crate::fix::{Fix, Opened};
use crate::near::{self, Ask, Denial, Near, NearMiss, Objects, Transport};
use crate::reach::Reach;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who opens the connection; it must have a place.
    pub from: Party,
    /// To whom; a service, a pod, an address outside.
    pub to: Party,
    /// On what; the service's port if it is a service. Several are asked one after the other.
    pub transports: Vec<Transport>,
}

/// What an explanation needs to know of texts and policies, beside the twin.
pub trait Texts {
    /// Where an ACL of a zone comes from; nothing where no manifests are known.
    fn origins(&self, zone: usize, acl: Uuid) -> Vec<Source>;

    /// A place in a text by names.
    fn spot(&self, span: Span) -> Option<Spot>;

    /// The objects, if they are known: for what came closest.
    fn objects(&self) -> Option<Objects<'_>>;

    /// Policies that could not be read or compiled, and so have no part in the answer.
    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Nothing is known but rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowsOnly;

impl Texts for RowsOnly {
    fn origins(&self, _zone: usize, _acl: Uuid) -> Vec<Source> {
        Vec::new()
    }

    fn spot(&self, _span: Span) -> Option<Spot> {
        None
    }

    fn objects(&self) -> Option<Objects<'_>> {
        None
    }
}

/// Where a rule is written.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Source {
    /// The object: `NetworkPolicy shop/web`.
    pub object: String,
    /// The rule in it: `ingress[0]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<str>>,
    /// The place.
    #[serde(flatten)]
    pub spot: Option<Spot>,
}

/// A place in a text.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Spot {
    /// The text's name: mostly a path.
    pub file: Arc<str>,
    /// Counted from 1.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// The place for those who have the text.
    #[serde(skip)]
    pub span: Span,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Packets arrive in both directions.
    Allowed,
    /// A packet is dropped, or lost on the way.
    Dropped,
    /// A packet is dropped, and whoever sent it is told.
    Rejected,
    /// What was given does not tell: a zone is missing, or nobody has the address.
    Unknown,
}

/// Why a connection is let through or not.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Who opens it.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// The worst of what became of the cases.
    pub verdict: Answer,
    /// One sentence for people.
    pub message: String,
    /// One for each family of addresses, port and backend.
    pub cases: Vec<Case>,
    /// Policies that were left out because of errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What to keep in mind.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Protocol and port that were asked for: `8080/tcp`, `icmp`.
    pub port: String,
    /// What became of it.
    pub verdict: Answer,
    /// One sentence for people.
    pub message: String,
    /// What the load balancer makes of it, if the destination is a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Chosen>,
    /// The first packet.
    pub request: Way,
    /// The answer to it, where it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Way>,
    /// What a packet of a connection that stands already would meet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    /// For a packet that a policy drops: who isolates, and what came closest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Close>,
    /// The smallest change that lets it through, where somebody looked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Mend>,
    /// The question as policies see it: behind a load balancer about the backend.
    #[serde(skip)]
    pub ask: Ask,
}

/// What a load balancer makes of a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// The service: `shop/web`.
    pub service: String,
    /// Its address, as it was asked for.
    pub ip: IpAddr,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Who gets the packet; nobody if there is no ready endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Party>,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_port: Option<u16>,
    /// How many there are.
    pub backends: usize,
}

/// Who isolates a pod, and what came closest to letting a packet through.
#[derive(Clone, Debug, Serialize)]
pub struct Close {
    /// The direction of the policies: ingress is about who is asked.
    pub direction: Direction,
    /// Policies that isolate the pod.
    pub isolating: Vec<Source>,
    /// Rules that would have let it through, those that came closest first.
    pub misses: Vec<Miss>,
}

/// A rule that would have let a packet through, had it matched.
#[derive(Clone, Debug, Serialize)]
pub struct Miss {
    /// The rule.
    #[serde(flatten)]
    pub source: Source,
    /// The terms that fail.
    pub failing: Vec<Failed>,
}

/// A term that fails.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// What fails, as a clause.
    pub message: String,
    /// Where the term stands.
    #[serde(flatten)]
    pub spot: Option<Spot>,
}

/// The smallest change that lets a connection through.
#[derive(Clone, Debug, Serialize)]
pub struct Mend {
    /// What to do, one for each place where it is denied.
    pub parts: Vec<MendPart>,
    /// What else it opens: `shop/a -> shop/b on 80/tcp`.
    pub opens: Vec<String>,
    /// Whether all that it may open was looked at; else just what has one of the two ends.
    pub complete: bool,
    /// What it closes.
    pub closes: Vec<String>,
}

/// A change of one object.
#[derive(Clone, Debug, Serialize)]
pub struct MendPart {
    /// The object: `NetworkPolicy shop/web`.
    pub object: String,
    /// As a command for people.
    pub message: String,
    /// The change of the text, as `diff -u` shows it.
    pub diff: String,
    /// The object with the change, as a document of YAML (or JSON, if it stands in JSON).
    pub text: String,
    /// As a JSON patch (RFC 6902) of the object; for a new one the object.
    pub patch: serde_json::Value,
}

/// Asks the twin, for each pair of addresses, port and backend. Its connection tracking is empty before each case and is left so.
pub fn explain<S: Stages>(
    twin: &mut Twin<S>,
    atlas: &Atlas,
    texts: &dyn Texts,
    question: &Question,
) -> Explanation {
    let Question {
        from,
        to,
        transports,
    } = question;
    let mut cases = Vec::new();
    let mut notes = Vec::new();
    let zones = twin.zones().iter();
    let zones: Vec<Arc<Northbound>> = zones.map(|zone| zone.northbound.clone()).collect();
    let reach = OnceCell::new();
    for transport in transports {
        for source in &from.addresses {
            let same = to.addresses.iter();
            for target in same.filter(|target| target.is_ipv4() == source.is_ipv4()) {
                let mut asking = Asking {
                    twin: &mut *twin,
                    atlas,
                    texts,
                    zones: &zones,
                    reach: &reach,
                    from,
                    source: *source,
                    target: *target,
                    transport: *transport,
                };
                cases.extend(asking.cases(to));
            }
        }
    }
    if cases.is_empty() {
        notes.push(match from.place {
            None => format!("{} has no port in the rows that were given", from.label()),
            Some(_) => format!(
                "{} and {} have no addresses of the same family",
                from.label(),
                to.label()
            ),
        });
    }
    let verdict = cases.iter().map(|case| case.verdict).max();
    let mut explanation = Explanation {
        from: from.clone(),
        to: to.clone(),
        verdict: verdict.unwrap_or(Answer::Unknown),
        message: String::new(),
        cases,
        left_out: texts.left_out(),
        notes,
    };
    explanation.message = text::summary(&explanation);
    explanation
}

/// The address and port of who serves.
type Backend = (IpAddr, Option<u16>);

/// One pair of addresses and one port.
struct Asking<'a, 'r, S> {
    twin: &'a mut Twin<S>,
    atlas: &'a Atlas,
    texts: &'a dyn Texts,
    zones: &'r [Arc<Northbound>],
    /// The ACLs alone, once they are wanted.
    reach: &'r OnceCell<Reach<'r>>,
    from: &'a Party,
    source: IpAddr,
    target: IpAddr,
    transport: Transport,
}

impl<S: Stages> Asking<'_, '_, S> {
    fn cases(&mut self, to: &Party) -> Vec<Case> {
        let Some(place) = self.from.place else {
            return Vec::new();
        };
        let Some((service, backends)) = self.backends(place) else {
            return vec![self.case(place, to, None)];
        };
        if backends.is_empty() {
            let chosen = self.chosen(&service, None, 0);
            return vec![self.case(place, to, Some(chosen))];
        }
        let mut cases = Vec::new();
        for backend in &backends {
            self.twin.backend = Some(backend.0);
            let chosen = self.chosen(&service, Some(*backend), backends.len());
            cases.push(self.case(place, to, Some(chosen)));
        }
        self.twin.backend = None;
        cases
    }

    /// The service behind the address and port, and who serves: as the load balancers of the switch that the packet enters have it, else those
    /// of anybody.
    fn backends(&self, place: Place) -> Option<(String, Vec<Backend>)> {
        let Transport::Port(protocol, port) = self.transport else {
            return None;
        };
        let zones = self.twin.zones();
        let own = &zones.get(place.zone)?.northbound;
        let switch = own
            .port(place.port)
            .and_then(|port| own.switch(port.switch?));
        let mut found: Option<(bool, String, Vec<Backend>)> = None;
        for (number, zone) in zones.iter().enumerate() {
            for (row, balancer) in &zone.northbound.load_balancers {
                let is_here = number == place.zone
                    && switch.is_some_and(|switch| switch.load_balancers.contains(row));
                let is_better = found.as_ref().is_none_or(|(here, ..)| is_here && !here);
                let is_it = |vip: &&netverdict_ovn::Vip| {
                    vip.ip == self.target
                        && vip.port.is_none_or(|own| {
                            own == port && balancer.row.protocol == packet::number(protocol)
                        })
                };
                if let Some(vip) = balancer.row.vips.iter().find(is_it)
                    && is_better
                {
                    let name = match &balancer.row.service {
                        Some((namespace, name)) => format!("{namespace}/{name}"),
                        None => balancer.row.name.clone(),
                    };
                    found = Some((is_here, name, vip.backends.clone()));
                }
            }
        }
        let (_, service, mut backends) = found?;
        backends.sort_unstable();
        Some((service, backends))
    }

    fn chosen(&self, service: &str, backend: Option<Backend>, backends: usize) -> Chosen {
        Chosen {
            service: service.to_owned(),
            ip: self.target,
            port: self.port(),
            backend: backend.map(|(ip, _)| self.atlas.who(&self.from.network, ip)),
            backend_port: backend.and_then(|(_, port)| port.or(self.port())),
            backends,
        }
    }

    fn port(&self) -> Option<u16> {
        match self.transport {
            Transport::Port(_, port) => Some(port),
            _ => None,
        }
    }

    fn case(&mut self, place: Place, to: &Party, chosen: Option<Chosen>) -> Case {
        for zone in self.twin.zones_mut() {
            zone.conntrack = Conntrack::default();
        }
        let first = packet::first(self.source, self.target, self.transport);
        let (request, outcome) = match self.source == self.target {
            true => (Way::within(&first), None),
            false => {
                let (way, outcome) = self.send(place, first, 0);
                (way, Some(outcome))
            }
        };
        let mut reply = None;
        let mut later = None;
        if let Some(Outcome::Delivered(there, arrived) | Outcome::Outside(there, arrived)) =
            &outcome
        {
            let (way, _) = self.send(*there, arrived.reply(), 1);
            if way.verdict == Answer::Allowed {
                let (again, _) = self.send(place, first.with_tcp_flags(packet::ACK), 2);
                later = (again.verdict != Answer::Allowed).then_some(again);
            }
            reply = Some(way);
        }
        for zone in self.twin.zones_mut() {
            zone.conntrack = Conntrack::default();
        }
        let verdict = match &reply {
            Some(reply) => request.verdict.max(reply.verdict),
            None => request.verdict,
        };
        let is_stopped = |way: &&Way| way.verdict != Answer::Allowed;
        let stopped = Some(&request)
            .filter(is_stopped)
            .or(reply.as_ref().filter(is_stopped));
        let ask = self.ask(to, chosen.as_ref());
        let near = stopped.and_then(|way| self.near(way, to, &ask));
        let mut case = Case {
            port: packet::transport(self.transport),
            verdict,
            message: String::new(),
            state: text::state(
                &request,
                reply.as_ref(),
                later.as_ref(),
                self.from,
                to,
                chosen.as_ref(),
            ),
            service: chosen,
            request,
            reply,
            near,
            fix: None,
            ask,
        };
        case.message = text::case(self.from, to, &case);
        case
    }

    fn send(
        &mut self,
        from: Place,
        packet: netverdict_pipeline::Packet,
        seconds: i64,
    ) -> (Way, Outcome) {
        let mut trace = Trace::default();
        let now = Timestamp(seconds * 1_000_000_000);
        let packet = self.twin.addressed(from, packet);
        let outcome = self.twin.send(from, packet, now, &mut trace);
        let way = way::read(self.twin, self.atlas, self.texts, &packet, &trace, &outcome);
        (way, outcome)
    }

    /// The question as policies see it: behind a load balancer to the backend.
    fn ask(&self, to: &Party, chosen: Option<&Chosen>) -> Ask {
        let end = |address: IpAddr, party: &Party| {
            let key = || {
                let (namespace, name) = (party.namespace.as_ref()?, party.name.as_ref()?);
                let is_pod = party.kind == EndpointKind::Pod;
                is_pod.then(|| Key::new(Kind::Pod, namespace, name))
            };
            let objects = self.texts.objects();
            let pod = key().filter(|pod| objects.is_some_and(|it| it.object(pod).is_some()));
            match (objects, pod) {
                (_, Some(pod)) => near::End {
                    address,
                    pod: Some(pod),
                },
                (Some(objects), None) => objects.end(address),
                (None, None) => near::End { address, pod: None },
            }
        };
        let backend = chosen.and_then(|chosen| {
            let party = chosen.backend.as_ref()?;
            Some((party, party.address_like(self.target)?, chosen.backend_port))
        });
        let transport = match (self.transport, backend) {
            (Transport::Port(protocol, _), Some((.., Some(port)))) => {
                Transport::Port(protocol, port)
            }
            (other, _) => other,
        };
        Ask {
            from: end(self.source, self.from),
            to: match backend {
                Some((party, address, _)) => end(address, party),
                None => end(self.target, to),
            },
            transport,
        }
    }

    /// What came closest: by the objects, if they have the pod that is denied, else by the rows.
    fn near(&self, way: &Way, to: &Party, ask: &Ask) -> Option<Close> {
        let ruling = way.decided_by()?;
        let is_known =
            |party: &Party, end: &near::End| party.kind != EndpointKind::Pod || end.pod.is_some();
        let has_objects = self.texts.objects().is_some()
            && is_known(self.from, &ask.from)
            && is_known(to, &ask.to);
        if has_objects {
            return near(self.texts, ask, &ruling.owner);
        }
        Denial::of(&ruling.owner)?;
        let zones = self.zones.iter().map(|zone| &**zone);
        let reach = self.reach.get_or_init(|| Reach::new(zones));
        rows::near(self.texts, reach, ask, ruling)
    }
}

/// Who isolates the pod, and what came closest, where an ACL of that owner denies a connection. `None` for an ACL that no policy made, and
/// where no policies are known.
pub fn near(texts: &dyn Texts, ask: &Ask, owner: &Owner) -> Option<Close> {
    let denial = Denial::of(owner)?;
    let direction = owner.direction?;
    let Near { isolating, misses } = Near::find(texts.objects()?, ask, direction, &denial);
    let source = |object: &Key, rule: Option<String>, span: Span| Source {
        object: object.to_string(),
        rule: rule.map(String::into_boxed_str),
        spot: texts.spot(span),
    };
    let miss = |miss: NearMiss| Miss {
        source: source(&miss.rule.policy, Some(miss.rule.place()), miss.span),
        failing: miss
            .failing
            .iter()
            .map(|failing| Failed {
                message: failing.term.to_string(),
                spot: texts.spot(failing.span),
            })
            .collect(),
    };
    Some(Close {
        direction,
        isolating: isolating
            .iter()
            .map(|policy| source(&policy.policy, None, policy.span))
            .collect(),
        misses: misses.into_iter().map(miss).collect(),
    })
}

impl From<Fix> for Mend {
    fn from(fix: Fix) -> Self {
        let pairs = |pairs: Vec<Opened>| -> Vec<String> {
            let pairs = pairs.into_iter();
            pairs
                .map(|pair| format!("{} -> {} on {}", pair.from, pair.to, pair.ports.join(", ")))
                .collect()
        };
        Self {
            parts: fix
                .parts
                .into_iter()
                .map(|part| MendPart {
                    object: part.object.to_string(),
                    message: part.what,
                    diff: part.diff,
                    text: part.text,
                    patch: part.patch,
                })
                .collect(),
            opens: pairs(fix.opens),
            complete: fix.complete,
            closes: pairs(fix.closes),
        }
    }
}

impl Answer {
    /// What becomes of a connection whose packet ends so.
    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Delivered(..) | Outcome::Outside(..) => Self::Allowed,
            Outcome::Dropped { .. } => Self::Dropped,
            Outcome::Rejected { .. } => Self::Rejected,
            Outcome::Lost { reason, .. } => match reason {
                Lost::NoSwitch | Lost::UnknownDestination | Lost::NoSuchZone => Self::Unknown,
                Lost::NotAdmitted
                | Lost::SamePort
                | Lost::NoRoute
                | Lost::OwnAddress
                | Lost::NoBackends
                | Lost::Ttl
                | Lost::Loop => Self::Dropped,
            },
        }
    }

    /// The word for people and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }
}

/// True for what is a pod or machine of the cluster.
fn is_inside(party: &Party) -> bool {
    !matches!(party.kind, EndpointKind::External)
}
