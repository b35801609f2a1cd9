use std::cmp::Ordering;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_history::{History, Matches, Role, Span};
use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Cookie, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Headers, Key, LogDirection, LogVerdict, Origin, Pipeline, Sample,
    Service, TcpFlags, Timestamp, Unresolved, Verdict, ZoneId,
};

use crate::connections::{Connections, Flow, Start};
use crate::doubles::Doubles;
use crate::names::{Names, Place};
use crate::rivals::{Case, Rivals};

/// Makes decisions of samples, and remembers what it must to tell doubles, replies and
/// connections apart. Its memory is of fixed size.
#[derive(Debug, Default)]
pub struct Resolver {
    connections: Connections,
    doubles: Doubles,
    rivals: Rivals,
    counts: Counts,
}

/// What became of the samples.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Samples taken.
    pub samples: u64,
    /// Of these, those that an ACL or a logical flow was found for.
    pub resolved: u64,
    /// Of these, those where several ACLs could have decided and nothing told which.
    pub ambiguous: u64,
    /// Of the ambiguous ones, those that no ACL's match fits: a match, a set or a header is not
    /// what it was taken for.
    pub contradictory: u64,
    /// Of those resolved, those where several ACLs could be meant and the matches told which.
    pub by_match: u64,
    /// Of these, those that rest on port groups and address sets as they stand.
    pub by_match_now: u64,
    /// Further samples of a packet that was counted already.
    pub doubles: u64,
    /// Samples that could not be resolved, by reason, in the order of [`Unresolved::ALL`].
    pub unresolved: [u64; Unresolved::ALL.len()],
    /// Connections that had to be forgotten early: their replies and ACLs may be told less well.
    pub connections_displaced: u64,
}

impl Counts {
    /// Samples that could not be resolved, for any reason.
    pub fn unresolved_total(&self) -> u64 {
        self.unresolved.iter().sum()
    }
}

/// How long ovn-northd and ovn-controller may take to bring a change of the NB to the datapath:
/// a packet within this time after a change may have met the rows before it.
const LAG: i64 = 5_000_000_000;

/// What a sample's key led to.
struct Found<'a> {
    span: Option<&'a Span>,
    candidates: Candidates<'a>,
    flow: Option<&'a DropFlow>,
    evidence: Evidence,
    unresolved: Option<Unresolved>,
    /// True where no candidate's match fits the packet.
    contradictory: bool,
}

impl Resolver {
    /// What became of the samples so far.
    pub fn counts(&self) -> Counts {
        Counts {
            connections_displaced: self.connections.displaced,
            ..self.counts
        }
    }

    /// Zones whose address sets would have told more of a sample, and are not known. They are
    /// named once.
    pub fn lacking_sets(&mut self) -> Vec<ZoneId> {
        std::mem::take(&mut self.rivals.lacking)
    }

    /// What is known of connections, to be given to [`Resolver::recall`] by the next run.
    ///
    /// The numbers of zones and revisions in it are those of the history that is kept with it.
    pub fn remember(&self) -> Vec<u8> {
        self.connections.to_bytes()
    }

    /// Takes what [`Resolver::remember`] gave. False if it is damaged: then nothing is known of
    /// connections that began before.
    pub fn recall(&mut self, bytes: &[u8]) -> bool {
        self.connections.take_bytes(bytes)
    }

    /// Makes decisions of samples in their order, and hands each over with its sample.
    ///
    /// With many ACLs nearly every look-up waits for memory. Here the memory that several samples
    /// need is asked for side by side before the first of them is resolved.
    ///
    /// # Errors
    /// What `take` says; the samples after that are not resolved.
    pub fn resolve_all<'s, 'a: 's, E>(
        &mut self,
        history: &'a History,
        names: &'a Names,
        samples: &[Sample<'s>],
        mut take: impl FnMut(&Sample<'s>, &Decision<'s>) -> Result<(), E>,
    ) -> Result<(), E> {
        for samples in samples.chunks(Self::AHEAD) {
            let mut flows = [None; Self::AHEAD];
            for (flow, sample) in flows.iter_mut().zip(samples) {
                *flow = Flow::new(sample.zone, &sample.headers);
            }
            // The loops are short, so that the processor looks far ahead.
            for flow in flows.iter().flatten() {
                black_box(self.connections.touch(*flow));
            }
            for sample in samples {
                if let Key::Cookie(cookie) = sample.key {
                    black_box(history.touch(sample.zone, cookie.point));
                }
            }
            for ip in samples.iter().filter_map(|sample| sample.headers.src) {
                black_box(names.touch(ip));
            }
            for ip in samples.iter().filter_map(|sample| sample.headers.dst) {
                black_box(names.touch(ip));
            }
            for (flow, sample) in flows.into_iter().zip(samples) {
                take(sample, &self.judge(history, names, sample, flow))?;
            }
        }
        Ok(())
    }

    /// How many samples at once are worth while for [`Resolver::resolve_all`].
    pub const AHEAD: usize = 16;

    /// Makes a decision of a sample.
    pub fn resolve<'a>(
        &mut self,
        history: &'a History,
        names: &'a Names,
        sample: &Sample<'a>,
    ) -> Decision<'a> {
        self.judge(
            history,
            names,
            sample,
            Flow::new(sample.zone, &sample.headers),
        )
    }

    fn judge<'a>(
        &mut self,
        history: &'a History,
        names: &'a Names,
        sample: &Sample<'a>,
        flow: Option<Flow>,
    ) -> Decision<'a> {
        let zone = sample.zone;
        let headers = &sample.headers;
        let start = flow.and_then(|flow| self.connections.start(flow));
        let cookie = match sample.key {
            Key::Cookie(cookie) => Some(cookie),
            _ => None,
        };
        let app = match sample.key {
            Key::Cookie(cookie) => history.app(zone, cookie.app_id()),
            Key::ConntrackPoint(_) => Some(App::AclEst),
            _ => None,
        };
        let found = find(history, sample, app, start, names, &mut self.rivals, flow);
        let acl = found.span.map(Span::row);

        if let (Some(App::AclNew), Some(flow), Some(span)) = (app, flow, found.span)
            && found.evidence != Evidence::Priority
        {
            self.connections.began(flow, span, sample.time);
        }
        let datapath = cookie.map(Cookie::datapath);
        let place = names.place_by(zone, sample.input, datapath, || {
            acl?.acl().owner.network.as_deref()
        });
        let (src, src_serves) = end(names, place, headers.src, headers.src_port);
        let (dst, dst_serves) = end(names, place, headers.dst, headers.dst_port);
        let zone_name = history.zone_name(zone);
        let node = node(zone_name, place);
        let local = |end: &End<'_>| {
            end.endpoint.is_some_and(|endpoint| {
                endpoint.kind == EndpointKind::Pod && endpoint.node.as_deref() == node
            })
        };
        let locals = || (local(&src), local(&dst));
        let reply = reply(app, headers, start.zip(flow), found.span, locals);
        let serves = (src_serves, dst_serves);
        let (service, reply) = self.service(names, place, headers, flow, serves, reply);
        let copies = match (found.span, reply) {
            (None, _) => 1,
            (Some(span), _) if app == Some(App::AclNew) => match span.action() {
                Action::Pass => history.pass_copies(zone, span),
                _ => 1,
            },
            (Some(span), Some(true)) => match history.reply_copies(zone, span) {
                several @ 2.. if !dst.endpoint.is_some_and(|end| on_switch(end, node)) => several,
                _ => 1,
            },
            (Some(span), _) => history.copies(zone, span),
        };
        let double = self.is_double(sample, cookie, app, copies);

        self.counts.samples += 1;
        self.counts.doubles += u64::from(double);
        self.counts.ambiguous += u64::from(found.evidence == Evidence::Priority);
        self.counts.contradictory += u64::from(found.contradictory);
        let now = found.evidence == Evidence::MatchNow;
        self.counts.by_match += u64::from(now || found.evidence == Evidence::Match);
        self.counts.by_match_now += u64::from(now);
        match found.unresolved {
            Some(reason) => self.counts.unresolved[reason as usize] += 1,
            None => self.counts.resolved += 1,
        }
        Decision {
            time: sample.time,
            origin: sample.origin,
            zone: zone_name,
            node,
            network: place.network,
            datapath: place.datapath,
            verdict: match (found.span, found.flow) {
                (Some(span), _) => span.action().verdict(),
                (None, Some(_)) => Verdict::Dropped,
                (None, None) if app == Some(App::Drop) => Verdict::Dropped,
                (None, None) => Verdict::Unknown,
            },
            acl,
            deleted: found.span.is_some_and(|span| span.until() < sample.time),
            candidates: found.candidates,
            flow: found.flow,
            unresolved: found.unresolved,
            evidence: found.evidence,
            app,
            cookie,
            reply,
            double,
            src,
            dst,
            service,
            headers: *headers,
            length: sample.length,
            packets: if double { 0 } else { sample.packets },
            bytes: if double { 0 } else { sample.bytes },
            group: sample.group,
            probability: sample.probability,
            data: sample.data,
        }
    }

    /// The service that a packet is sent to, and whether the packet is a reply where the service
    /// tells that.
    fn service<'a>(
        &mut self,
        names: &'a Names,
        place: Place<'_>,
        headers: &Headers,
        flow: Option<Flow>,
        (src_serves, dst_serves): (bool, bool),
        reply: Option<bool>,
    ) -> (Option<&'a Service>, Option<bool>) {
        let (Some(flow), Some(src), Some(dst), Some(protocol)) =
            (flow, headers.src, headers.dst, headers.protocol)
        else {
            return (None, reply);
        };
        if names.has_no_service() {
            return (None, reply);
        }
        if dst_serves
            && let Some((number, service)) = names.service(place, dst, headers.dst_port, protocol)
        {
            self.connections.sent(flow, true, number);
            return (Some(service), Some(false));
        }
        if src_serves
            && let Some((number, service)) = names.service(place, src, headers.src_port, protocol)
        {
            self.connections.sent(flow, false, number);
            return (Some(service), Some(true));
        }
        let behind = |number: Option<u32>, ip, port| {
            let service = names.numbered_service(number?)?;
            let is_backend = service.protocol == protocol && service.backends.contains(&(ip, port));
            is_backend.then_some(service)
        };
        let known = &self.connections;
        let there = || behind(known.service_of_src(flow), dst, headers.dst_port);
        let back = || behind(known.service_of_dst(flow), src, headers.src_port);
        let service = match reply {
            Some(false) => there(),
            Some(true) => back(),
            None => there().or_else(back),
        };
        (service, reply)
    }

    fn is_double(
        &mut self,
        sample: &Sample<'_>,
        cookie: Option<Cookie>,
        app: Option<App>,
        copies: u8,
    ) -> bool {
        let (Some(cookie), Some(App::AclEst | App::AclNew)) = (cookie, app) else {
            return false;
        };
        let one_packet = matches!(
            sample.origin,
            Origin::Psample | Origin::Ipfix | Origin::Twin
        ) && sample.packets == 1;
        one_packet
            && copies > 1
            && self.doubles.is_double(
                sample.zone,
                cookie,
                &sample.headers,
                sample.length,
                sample.time,
                copies,
            )
    }
}

fn find<'a>(
    history: &'a History,
    sample: &Sample<'a>,
    app: Option<App>,
    start: Option<Start>,
    names: &'a Names,
    rivals: &mut Rivals,
    flow: Option<Flow>,
) -> Found<'a> {
    let zone = sample.zone;
    let case = once(|| {
        let reply = match (start.zip(flow), sample.headers.tcp_flags) {
            (Some((start, flow)), _) => Some(start.is_reply(flow)),
            (None, Some(flags)) if flags.has(TcpFlags::SYN) => Some(flags.has(TcpFlags::ACK)),
            _ => None,
        };
        rivals.case(names, sample, app, LAG, start.map(Start::time), reply)
    });
    match (sample.key, app) {
        (Key::None, _) => Found::nothing(Unresolved::BadCookie),
        _ if !history.knows(zone) => Found::nothing(Unresolved::NoPolicies),
        (Key::Cookie(_), None) => Found::nothing(Unresolved::UnknownApp),
        (Key::Cookie(cookie), Some(App::Drop)) => match names.drop_flow(zone, cookie) {
            Some(Some(flow)) => Found {
                flow: Some(flow),
                evidence: Evidence::LogicalFlow,
                unresolved: None,
                ..Found::nothing(Unresolved::UnknownFlow)
            },
            Some(None) => Found::nothing(Unresolved::UnknownFlow),
            None => Found::nothing(Unresolved::DropWithoutSb),
        },
        (Key::Cookie(cookie), Some(App::AclNew)) => {
            let from = sample.time.before(LAG);
            let held = history.holders(zone, Role::New, cookie.point, from, sample.time);
            of_point(history, sample, held, None, case)
        }
        (Key::Cookie(Cookie { point, .. }) | Key::ConntrackPoint(point), _) => {
            let from = start.map_or(Timestamp::MIN, |start| start.time().before(LAG));
            let held = history.holders(zone, Role::Est, point, from, sample.time);
            of_point(history, sample, held, start, case)
        }
        (Key::Label(label), _) => of_spans(
            history,
            history.labelled(zone, label),
            sample,
            Evidence::Label,
            Unresolved::UnknownLabel,
            case,
        ),
        (
            Key::Log {
                name,
                verdict,
                direction,
            },
            _,
        ) => {
            let fits = |span: &&Span| {
                says(verdict, span.action().verdict())
                    && (direction == LogDirection::ToLport)
                        == (span.pipeline() == Pipeline::ToLport)
            };
            of_spans(
                history,
                history.named(zone, name).filter(fits),
                sample,
                Evidence::LogName,
                Unresolved::UnknownName,
                case,
            )
        }
        _ => Found::nothing(Unresolved::BadCookie),
    }
}

/// Tells the compiler that a closure is called once.
fn once<T, F: FnOnce() -> T>(closure: F) -> F {
    closure
}

/// Chooses among the ACLs that held a point.
fn of_point<'a, 'r>(
    history: &'a History,
    sample: &Sample<'_>,
    held: Matches<'a>,
    start: Option<Start>,
    case: impl FnOnce() -> Case<'r, 'a>,
) -> Found<'a> {
    let mut in_time = held.clone();
    let first = in_time.next();
    let Some(first) = first else {
        // Nobody held it then. The time that a row took to reach the datapath, or a clock, may
        // be further off than thought: a single holder at another time is still the one.
        let mut ever = held.clone().within(Timestamp::MIN, Timestamp::MAX);
        return match (ever.next(), ever.next()) {
            (Some(only), None) => Found::one(only, Evidence::Past),
            (Some(_), Some(_)) => {
                let all = held.within(Timestamp::MIN, Timestamp::MAX);
                Found::several(all, history, sample, case())
            }
            _ if !held.point_is_unknown() => Found::nothing(Unresolved::NoAcl),
            _ if sample.time < history.horizon(sample.zone) => {
                Found::nothing(Unresolved::BeforeHistory)
            }
            _ => Found::nothing(Unresolved::UnknownPoint),
        };
    };
    if in_time.next().is_none() {
        let evidence = match start {
            _ if first.until() >= sample.time => Evidence::Point,
            Some(start) if start.is(first) => Evidence::Connection,
            _ => Evidence::Past,
        };
        return Found::one(first, evidence);
    }
    // The first packet of this connection was seen, and told the row.
    if let Some(start) = start {
        let known = held.clone().find(|span| start.is(span));
        if let Some(span) = known {
            return Found::one(span, Evidence::Connection);
        }
    }
    Found::several(held, history, sample, case())
}

/// Chooses among the ACLs with a name or a label.
fn of_spans<'a, 'r>(
    history: &History,
    spans: impl Iterator<Item = &'a Span> + Clone,
    sample: &Sample<'_>,
    evidence: Evidence,
    unresolved: Unresolved,
    case: impl FnOnce() -> Case<'r, 'a>,
) -> Found<'a> {
    let time = sample.time;
    let then = spans
        .clone()
        .filter(move |span| span.overlaps(time.before(LAG), time));
    let mut rest = then.clone();
    match (rest.next(), rest.next()) {
        (Some(only), None) => Found::one(only, evidence),
        (Some(_), Some(_)) => Found::several(then, history, sample, case()),
        _ => {
            let mut rest = spans.clone();
            match (rest.next(), rest.next()) {
                (Some(only), None) => Found::one(only, Evidence::Past),
                (Some(_), Some(_)) => Found::several(spans, history, sample, case()),
                _ => Found::nothing(unresolved),
            }
        }
    }
}

impl<'a> Found<'a> {
    fn one(span: &'a Span, evidence: Evidence) -> Self {
        Self {
            span: Some(span),
            candidates: Candidates::default(),
            flow: None,
            evidence,
            unresolved: None,
            contradictory: false,
        }
    }

    fn nothing(reason: Unresolved) -> Self {
        Self {
            span: None,
            candidates: Candidates::default(),
            flow: None,
            evidence: Evidence::None,
            unresolved: Some(reason),
            contradictory: false,
        }
    }

    /// Leaves out those whose match cannot hold for the packet, and those that were not asked since another one's holds for certain, and
    /// names the others; first the one that was there when the packet was seen, then the higher tier (evaluated earlier) and priority. Rows
    /// that say the same of the same owner are one.
    fn several(
        spans: impl Iterator<Item = &'a Span> + Clone,
        history: &History,
        sample: &Sample<'_>,
        mut case: Case<'_, 'a>,
    ) -> Self {
        let protocol =
            |span: &Span, _: &mut Case<'_, 'a>| may_judge(span.row().acl(), &sample.headers);
        let by_protocol = Self::among(spans.clone(), sample, &mut case, protocol);
        match by_protocol.evidence {
            Evidence::Priority => {}
            Evidence::Match => return by_protocol,
            _ => return Self::among(spans, sample, &mut case, |_, _| true).contradictory(),
        }
        let mut evidence = Evidence::Match;
        let directions = case.directions();
        let mut sure = [Sure::default(); 2];
        for reply in directions {
            for span in spans.clone() {
                let ruling = case.judge(span, *reply);
                if ruling.holds.is_some() && !ruling.then {
                    evidence = Evidence::MatchNow;
                }
                if ruling.holds == Some(true) && case.was_there(span) {
                    sure[usize::from(*reply)].add(span);
                }
            }
        }
        let matches = |span: &Span, case: &mut Case<'_, 'a>| {
            protocol(span, case)
                && directions.iter().any(|reply| {
                    !sure[usize::from(*reply)].precede(span, history, sample.zone)
                        && case.judge(span, *reply).holds != Some(false)
                })
        };
        let by_match = Self::among(spans, sample, &mut case, matches);
        match by_match.evidence {
            Evidence::Priority => by_match,
            Evidence::Match => Self {
                evidence,
                ..by_match
            },
            // Something is not as it was taken for: nobody is left out.
            _ => by_protocol.contradictory(),
        }
    }

    fn contradictory(self) -> Self {
        Self {
            evidence: Evidence::Priority,
            contradictory: true,
            ..self
        }
    }

    /// Chooses among those that are possible; evidence is `Match` where that is one, `None` where there is none.
    fn among(
        spans: impl Iterator<Item = &'a Span>,
        sample: &Sample<'_>,
        case: &mut Case<'_, 'a>,
        is_possible: impl Fn(&Span, &mut Case<'_, 'a>) -> bool,
    ) -> Self {
        let time = sample.time;
        let mut found = Self::nothing(Unresolved::UnknownPoint);
        let mut best: Option<&Span> = None;
        let rank = |span: &Span| {
            let acl = span.row().acl();
            (
                span.overlaps(time, time),
                u8::MAX - acl.tier,
                acl.priority,
                span.from(),
            )
        };
        for span in spans {
            if !is_possible(span, case) {
                continue;
            }
            let told = |row: &AclRow| Arc::ptr_eq(&row.fact, &span.row().fact);
            if !found.candidates.iter().any(told) {
                found.candidates.push(span.row());
            }
            if best.is_none_or(|held| rank(span) > rank(held)) {
                best = Some(span);
            }
        }
        let Some(best) = best else {
            return found;
        };
        if found.candidates.total() == 1 {
            return Self::one(best, Evidence::Match);
        }
        Self {
            span: Some(best),
            evidence: Evidence::Priority,
            unresolved: None,
            ..found
        }
    }
}

/// ACLs whose matches hold for certain: in each tier of each pipeline that of the highest priority.
#[derive(Clone, Copy, Debug, Default)]
struct Sure<'a>([[Option<&'a Span>; 4]; 3]);

impl<'a> Sure<'a> {
    fn add(&mut self, span: &'a Span) {
        let place = self.0[span.pipeline() as usize].get_mut(usize::from(span.tier()));
        if let Some(place) = place
            && place.is_none_or(|held| priority(held) < priority(span))
        {
            *place = Some(span);
        }
    }

    /// Whether one of them kept an ACL from being asked. In its own tier OVN takes the highest priority. An earlier tier ends the search
    /// unless what decides there is a `pass`, and that may be another ACL than those at hand.
    fn precede(&self, span: &Span, history: &History, zone: ZoneId) -> bool {
        let pipeline = span.pipeline();
        self.0[pipeline as usize]
            .iter()
            .flatten()
            .any(|sure| match sure.tier().cmp(&span.tier()) {
                Ordering::Less => !history.passes(zone, pipeline, sure.tier()),
                Ordering::Equal => priority(sure) > priority(span),
                Ordering::Greater => false,
            })
    }
}

fn priority(span: &Span) -> u16 {
    span.row().acl().priority
}

/// False where an ACL is for another protocol than the packet's, by the ids of its owner.
fn may_judge(acl: &Acl, headers: &Headers) -> bool {
    let Some(protocol) = headers.protocol else {
        return true;
    };
    let rule = &acl.owner.rule;
    // `tcp`, or `tcp-namedPort` for named ports.
    let name = rule
        .protocol
        .as_deref()
        .and_then(|name| name.split('-').next());
    let fits = match name {
        Some("tcp") => protocol == 6,
        Some("udp") => protocol == 17,
        Some("sctp") => protocol == 132,
        _ => true,
    };
    // Of IP packets, only those of neighbour discovery pass the exception for ARP.
    let is_icmp = matches!(protocol, 1 | 58);
    fits && match rule.kind.as_deref() {
        Some("arpAllow") => protocol == 58,
        Some("icmpAllow") => is_icmp,
        _ => true,
    }
}

fn says(log: LogVerdict, verdict: Verdict) -> bool {
    matches!(
        (log, verdict),
        (LogVerdict::Allow, Verdict::Allowed)
            | (LogVerdict::Drop, Verdict::Dropped)
            | (LogVerdict::Reject, Verdict::Rejected)
            | (LogVerdict::Pass, Verdict::Delegated)
    )
}

/// One end, and whether its address may be that of a service.
fn end<'a>(
    names: &'a Names,
    place: Place<'_>,
    ip: Option<IpAddr>,
    port: Option<u16>,
) -> (End<'a>, bool) {
    let look = ip.map(|ip| names.look(place, ip));
    let end = End {
        ip,
        port,
        endpoint: look.map(|(endpoint, _)| endpoint),
    };
    (end, look.is_some_and(|(_, serves)| serves))
}

/// Whether a packet goes back to the end that began, by the best that tells.
fn reply(
    app: Option<App>,
    headers: &Headers,
    start: Option<(Start, Flow)>,
    span: Option<&Span>,
    local: impl Fn() -> (bool, bool),
) -> Option<bool> {
    // An ACL judges packets of new connections in the original direction only.
    if app == Some(App::AclNew) {
        return Some(false);
    }
    if let Some((start, flow)) = start {
        return Some(start.is_reply(flow));
    }
    if let Some(flags) = headers.tcp_flags
        && flags.has(TcpFlags::SYN)
    {
        return Some(flags.has(TcpFlags::ACK));
    }
    // An established point is that of the ACL which let the first packet pass: towards the pod
    // for an ingress rule, from it for an egress rule. Where only one end is a pod of this node,
    // that tells the direction.
    if app != Some(App::AclEst) {
        return None;
    }
    let span = span?;
    let towards_pod =
        span.pipeline() == Pipeline::ToLport && span.direction() != Some(Direction::Egress);
    match local() {
        (true, false) => Some(towards_pod),
        (false, true) => Some(!towards_pod),
        _ => None,
    }
}

/// True for an endpoint on the node's own switch: a packet to it passes no router.
fn on_switch(endpoint: &Endpoint, node: Option<&str>) -> bool {
    match endpoint.kind {
        EndpointKind::Pod | EndpointKind::Management => endpoint.node.as_deref() == node,
        EndpointKind::Port => true,
        _ => false,
    }
}

fn node<'a>(zone: &'a str, place: Place<'a>) -> Option<&'a str> {
    match zone {
        "" | "global" => place.datapath,
        zone => Some(zone),
    }
}
