//! Explanations for people: as wide as is asked for, colours only if asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use netverdict_types::{Action, EndpointKind, Pipeline};

use super::pace::Pace;
use super::way::{Passing, Refused, Ruling, Station, Way};
use super::{Answer, Case, Chosen, Close, Explanation, Mend, Party, Source, Spot, is_inside};

/// How an explanation is written.
pub struct Style<'a> {
    /// With escape sequences.
    pub colour: bool,
    /// Columns of a line; words and lines of other texts are never cut.
    pub width: usize,
    /// Every table too.
    pub walk: bool,
    /// Shows a place in its text as compilers do, with what is to be seen there; `None` where the text is not known.
    pub snippet: &'a dyn Fn(&Spot, &str) -> Option<String>,
}

impl Explanation {
    /// For people. Ends with a line end.
    pub fn text(&self, style: &Style<'_>) -> String {
        let mut page = Page {
            out: String::new(),
            style,
        };
        page.explanation(self);
        page.out
    }
}

impl Close {
    /// For people. Ends with a line end.
    pub fn text(&self, style: &Style<'_>) -> String {
        let mut page = Page {
            out: String::new(),
            style,
        };
        page.near(self);
        page.out
    }
}

impl Mend {
    /// For people. Ends with a line end.
    pub fn text(&self, style: &Style<'_>) -> String {
        let mut page = Page {
            out: String::new(),
            style,
        };
        page.fix(self);
        page.out
    }
}

impl Source {
    /// `ingress[0] of NetworkPolicy shop/web, web.yaml:12:5`.
    pub fn text(&self) -> String {
        written(self)
    }
}

/// The sentence for all cases.
pub(super) fn summary(explanation: &Explanation) -> String {
    let Explanation {
        from,
        to,
        cases,
        notes,
        verdict,
        ..
    } = explanation;
    let Some(worst) = cases.iter().find(|case| case.verdict == *verdict) else {
        return notes.first().cloned().unwrap_or_default();
    };
    let left_out = left_out(explanation);
    let good = cases.iter().filter(|case| case.verdict == Answer::Allowed);
    let good = good.count();
    let mut ports: Vec<&str> = cases.iter().map(|case| case.port.as_str()).collect();
    ports.dedup();
    let ends = format!("{} -> {} on {}", from.label(), to.label(), ports.join(", "));
    if good == cases.len() || good == 0 {
        return format!("{ends}: {}{left_out}", worst.message);
    }
    format!(
        "{ends}: allowed in {good} of {} cases; else {}{left_out}",
        cases.len(),
        worst.message
    )
}

/// What the answer goes without: policies with errors, and ACLs that OVN refuses.
fn left_out(explanation: &Explanation) -> String {
    let ways = explanation
        .cases
        .iter()
        .flat_map(|case| std::iter::once(&case.request).chain(&case.reply));
    let refused: BTreeSet<uuid::Uuid> = ways
        .flat_map(Way::refused)
        .map(|refused| refused.ruling.acl)
        .collect();
    let mut text = String::new();
    match refused.len() {
        0 => {}
        1 => text.push_str("; OVN refuses the match of 1 ACL that is for this, see below"),
        more => {
            let _ = write!(
                text,
                "; OVN refuses the matches of {more} ACLs that are for this, see below"
            );
        }
    }
    match explanation.left_out.as_slice() {
        [] => {}
        [one] => {
            let _ = write!(text, "; {one} was left out because of errors");
        }
        more => {
            let _ = write!(
                text,
                "; {} policies were left out because of errors",
                more.len()
            );
        }
    }
    text
}

/// The sentence for one case: what became of it, and by whom.
pub(super) fn case(from: &Party, to: &Party, case: &Case) -> String {
    let _ = from;
    let verdict = case.verdict.as_str();
    let is_stopped = |way: &&Way| way.verdict != Answer::Allowed;
    let reply = case.reply.as_ref();
    let (what, way) = match (
        Some(&case.request).filter(is_stopped),
        reply.filter(is_stopped),
    ) {
        (Some(way), _) => ("", way),
        (None, Some(way)) => ("the reply is ", way),
        (None, None) if case.request.walk.is_empty() => {
            return format!(
                "{verdict}. {}",
                sentence(&format!("it {}", case.request.message))
            );
        }
        (None, None) => {
            let outside = !is_inside(to) && case.service.is_none();
            return match outside {
                true => format!("{verdict}, and leaves the cluster"),
                false => verdict.to_owned(),
            };
        }
    };
    let no_endpoint = || {
        case.service
            .as_ref()
            .filter(|chosen| chosen.backend.is_none())
    };
    let by = match way.stations.last().map(|station| station.by) {
        _ if way.verdict == Answer::Unknown => format!("it {}", way.message),
        Some(Passing::Acl | Passing::Invalid | Passing::DefaultDrop)
            if way.decided_by().is_some()
                || way
                    .stations
                    .last()
                    .is_some_and(|last| last.by != Passing::Acl) =>
        {
            let last = way.stations.last();
            last.map_or_else(String::new, |last| {
                format!("{}, {}", last.message, place(last))
            })
        }
        _ => match no_endpoint() {
            Some(chosen) => format!("service {} has no ready endpoint", chosen.service),
            None => format!("it {}", way.message),
        },
    };
    format!("{what}{verdict}. {}", sentence(&by))
}

/// What a packet of a connection that stands already would meet.
pub(super) fn state(
    request: &Way,
    reply: Option<&Way>,
    later: Option<&Way>,
    from: &Party,
    to: &Party,
    chosen: Option<&Chosen>,
) -> Vec<String> {
    let to = chosen
        .and_then(|chosen| chosen.backend.as_ref())
        .unwrap_or(to);
    let mut told = Vec::new();
    let by_acl = |station: &&Station, actions: &[Action]| {
        let ruling = station.tiers.last().and_then(|tier| tier.ruling.as_ref());
        ruling.is_some_and(|ruling| actions.contains(&ruling.action))
    };
    if let Some(later) = later {
        told.push(format!(
            "later packets fare otherwise than the first: a packet of the standing connection {}",
            later.message
        ));
    }
    let stateless = request
        .stations
        .iter()
        .find(|station| by_acl(station, &[Action::AllowStateless]));
    if let Some(station) = stateless {
        told.push(format!(
            "stateless {}: connection tracking does not know this connection there, so each packet, \
             and each answer, is judged by itself",
            place(station)
        ));
    }
    if let Some(reply) = reply
        && request.verdict == Answer::Allowed
        && reply.verdict == Answer::Allowed
        && reply.is_all_by(Passing::Reply)
    {
        told.push(format!(
            "answers pass because the connection stands; should a policy drop it later, the next \
             packet from {} ends that",
            from.label()
        ));
    }
    if request.decided_by().is_some() && request.verdict == Answer::Dropped && is_inside(to) {
        told.push(format!(
            "this is about new connections: one that stands already is cut off at its next packet \
             from {}; answers in connections that {} opens pass",
            from.label(),
            to.label()
        ));
    }
    told
}

struct Page<'a> {
    out: String,
    style: &'a Style<'a>,
}

impl Page<'_> {
    fn explanation(&mut self, explanation: &Explanation) {
        let Explanation {
            from,
            to,
            cases,
            notes,
            verdict,
            message,
            left_out,
        } = explanation;
        let headline = self.painted(*verdict, message);
        self.wrapped("", &headline);
        self.line("");
        self.party("from", from);
        self.party("to", to);
        let mut shown: Vec<&Case> = Vec::new();
        for case in cases {
            let like = shown.iter().position(|other| is_alike(other, case));
            match like {
                Some(_) if !self.style.walk => continue,
                _ => shown.push(case),
            }
        }
        let many = shown.len() > 1;
        for case in &shown {
            self.line("");
            if many {
                let chosen = case.service.as_ref();
                let behind = chosen.and_then(|chosen| chosen.backend.as_ref());
                let behind =
                    behind.map_or_else(String::new, |party| format!(" to {}", party.label()));
                let title = format!("Case {}{behind}: {}", case.port, case.message);
                let title = self.painted(case.verdict, &title);
                self.wrapped("", &title);
            }
            self.case(from, case);
            let same = cases
                .iter()
                .filter(|other| !std::ptr::eq(*case, *other) && is_alike(case, other));
            let same: Vec<String> = same.map(variant).collect();
            if !same.is_empty() && !self.style.walk {
                self.line("");
                self.wrapped("", &format!("The same for {}", same.join(", ")));
            }
        }
        if left_out.len() > 1 {
            self.line("");
            let text = format!("because of errors: {}", left_out.join(", "));
            self.wrapped("left out ", &text);
        }
        for note in notes.iter().filter(|note| *note != message) {
            self.line("");
            self.wrapped("note: ", note);
        }
    }

    fn party(&mut self, word: &str, party: &Party) {
        let mut text = format!("{word:<5} {}", party.label());
        let addresses: Vec<String> = party.addresses.iter().map(ToString::to_string).collect();
        if party.kind != EndpointKind::External {
            let _ = write!(text, ", {}", addresses.join(" and "));
        }
        for (what, value) in [("node", &party.node), ("switch", &party.switch)] {
            match value {
                Some(value) if what == "switch" && party.node.as_ref() == Some(value) => {}
                Some(value) => {
                    let _ = write!(text, ", {what} {value}");
                }
                None => {}
            }
        }
        if let Some(zone) = party
            .zone
            .as_ref()
            .filter(|zone| party.node.as_ref() != Some(zone))
        {
            let _ = write!(text, ", zone {zone}");
        }
        if &*party.network != crate::names::Names::DEFAULT {
            let _ = write!(text, ", network {}", party.network);
        }
        if party.kind == EndpointKind::External {
            text.push_str(", nobody that these rows know");
        }
        self.wrapped("  ", &text);
    }

    fn case(&mut self, from: &Party, case: &Case) {
        let Case {
            service,
            request,
            reply,
            state,
            near,
            fix,
            ..
        } = case;
        if let Some(chosen) = service {
            self.service(chosen);
        }
        self.way("Request", request, near.as_ref());
        match reply {
            Some(reply) => {
                self.line("");
                self.way("Reply", reply, near.as_ref());
            }
            None => {
                self.line("");
                self.wrapped("", "Reply: none, as the request does not arrive");
            }
        }
        let _ = from;
        for state in state {
            self.line("");
            self.wrapped("state: ", state);
        }
        if let Some(near) = near {
            self.near(near);
        }
        if let Some(fix) = fix {
            self.fix(fix);
        }
    }

    fn service(&mut self, chosen: &Chosen) {
        let Chosen {
            service,
            ip,
            port,
            backend,
            backend_port,
            backends,
        } = chosen;
        let socket = |ip: std::net::IpAddr, port: Option<u16>| match port {
            Some(port) => std::net::SocketAddr::new(ip, port).to_string(),
            None => ip.to_string(),
        };
        let vip = socket(*ip, *port);
        let text = match backend {
            None => format!("Service {service}, {vip}, has no ready endpoint"),
            Some(party) => {
                let mut text = format!("Service {service}, {vip} -> {}", party.label());
                if let Some(ip) = party.address_like(*ip) {
                    let _ = write!(text, ", {}", socket(ip, *backend_port));
                }
                if let Some(node) = &party.node {
                    let _ = write!(text, ", on node {node}");
                }
                match backends {
                    1 => text.push_str(" (its only endpoint)"),
                    more => {
                        let _ = write!(text, " (one of {more} endpoints)");
                    }
                }
                text
            }
        };
        self.wrapped("", &text);
        self.line("");
    }

    fn way(&mut self, what: &str, way: &Way, near: Option<&Close>) {
        self.wrapped("", &format!("{what}: {}", way.packet));
        if self.style.walk {
            for pace in &way.walk {
                self.pace(pace);
            }
        } else if what == "Reply" && way.is_all_by(Passing::Reply) {
            let mut at: Vec<&str> = Vec::new();
            for station in &way.stations {
                let name = station.node.as_ref().unwrap_or(&station.switch);
                if !at.contains(&&**name) {
                    at.push(name);
                }
            }
            let at = at.join(" and ");
            self.wrapped(
                "  ",
                &format!("passes on {at} as the answer of this connection: no ACL is asked"),
            );
        } else {
            for station in &way.stations {
                self.station(station, near);
            }
        }
        let arrow = self.painted(way.verdict, &way.message);
        self.wrapped("  => ", &arrow);
    }

    fn station(&mut self, station: &Station, near: Option<&Close>) {
        let at = place(station);
        if station.tiers.iter().all(|tier| tier.ruling.is_none()) {
            let acls: usize = station.tiers.iter().map(|tier| tier.acls).sum();
            let message = match (station.by, acls) {
                (Passing::NoAcl, 1) => "its one ACL does not match: allowed".to_owned(),
                (Passing::NoAcl, more) => format!("none of {more} ACLs matches: allowed"),
                _ => station.message.clone(),
            };
            self.wrapped("  ", &format!("{at}: {message}"));
            self.refused(station);
            return;
        }
        self.wrapped("  ", &at);
        let mut is_told = false;
        for tier in &station.tiers {
            match &tier.ruling {
                Some(ruling) => {
                    is_told = ruling.action != Action::Pass;
                    self.ruling(tier.tier, ruling, near);
                }
                None => {
                    let acls = match tier.acls {
                        1 => "its one ACL does not match".to_owned(),
                        more => format!("none of its {more} ACLs matches"),
                    };
                    self.line(&format!("    tier {}  {acls}", tier.tier));
                }
            }
        }
        if !is_told {
            self.wrapped("    ", &station.message);
        }
        self.refused(station);
    }

    /// ACLs that would have been asked, had OVN taken them: a few, as they are mostly of one cause.
    fn refused(&mut self, station: &Station) {
        const MOST: usize = 3;
        for Refused { ruling, error } in station.refused.iter().take(MOST) {
            let action = ruling.action.as_str();
            self.line(&format!("    refused  {action}"));
            self.wrapped(
                "             ",
                &format!("OVN goes on without this ACL: {error}"),
            );
            self.wrapped("             ", &format!("it is: {}", ruling.message));
            match ruling.sources.first() {
                Some(source) => self.wrapped("             ", &written(source)),
                None => self.wrapped("             ", &named(ruling)),
            }
            self.wrapped("             match ", &ruling.matches);
        }
        if station.refused.len() > MOST {
            let more = station.refused.len() - MOST;
            self.line(&format!("    and {more} more ACLs that OVN refuses"));
        }
    }

    fn ruling(&mut self, tier: u8, ruling: &Ruling, near: Option<&Close>) {
        let head = format!("    tier {tier}  {}", ruling.action.as_str());
        let verdict = match ruling.action {
            Action::Drop => Answer::Dropped,
            Action::Reject => Answer::Rejected,
            _ => Answer::Allowed,
        };
        let head = match ruling.action {
            Action::Pass => head,
            _ => self.painted(verdict, &head),
        };
        self.line(&head);
        self.wrapped("            ", &ruling.message);
        let is_isolation = ruling.owner.rule.kind.as_deref() == Some("defaultDeny");
        match ruling.sources.as_slice() {
            [] => {
                self.wrapped("            ", &named(ruling));
                self.wrapped("            match ", &ruling.matches);
            }
            // What isolates this very pod is told below.
            _ if is_isolation && near.is_some_and(|near| !near.isolating.is_empty()) => {}
            sources if is_isolation => {
                for source in sources {
                    self.wrapped("            ", &written(source));
                }
            }
            [first, ..] => {
                self.wrapped("            ", &written(first));
                self.snippet(first, "");
            }
        }
    }

    fn snippet(&mut self, source: &Source, label: &str) {
        let Some(spot) = &source.spot else {
            return;
        };
        if let Some(shown) = (self.style.snippet)(spot, label) {
            for line in shown.lines() {
                self.line(&format!("            {line}"));
            }
        }
    }

    fn near(&mut self, near: &Close) {
        let Close {
            direction,
            isolating,
            misses,
        } = near;
        if !isolating.is_empty() {
            self.line("");
            let direction = direction.as_str().to_lowercase();
            let count = match isolating.len() {
                1 => "This policy isolates".to_owned(),
                more => format!("These {more} policies isolate"),
            };
            self.wrapped("", &format!("{count} the pod for {direction}:"));
            for source in isolating {
                self.wrapped("  ", &written(source));
            }
        }
        let Some((closest, others)) = misses.split_first() else {
            if !isolating.is_empty() {
                self.line("");
                self.line("None of their rules is for anything like it");
            }
            return;
        };
        self.line("");
        self.wrapped(
            "",
            &format!("What came closest: {}", written(&closest.source)),
        );
        for failed in &closest.failing {
            self.wrapped("  - ", &failed.message);
            let source = Source {
                spot: failed.spot.clone(),
                ..closest.source.clone()
            };
            self.snippet(&source, "this does not match");
        }
        for other in others.iter().take(3) {
            let failing: Vec<&str> = other
                .failing
                .iter()
                .map(|failed| failed.message.as_str())
                .collect();
            self.wrapped(
                "",
                &format!("Then {}: {}", written(&other.source), failing.join("; ")),
            );
        }
        if others.len() > 3 {
            self.line(&format!("and {} more rules, further off", others.len() - 3));
        }
    }

    fn fix(&mut self, fix: &Mend) {
        self.line("");
        self.line("Fix, tried in the twin:");
        for part in &fix.parts {
            self.wrapped("  ", &part.message);
            for line in part.diff.lines() {
                self.line(&format!("    {line}"));
            }
        }
        let some = |of: &[String]| {
            let mut text = of.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            if of.len() > 5 {
                let _ = write!(text, " and {} more", of.len() - 5);
            }
            text
        };
        match fix.opens.as_slice() {
            [] if fix.complete => self.line("  It opens nothing else"),
            [] => self.line("  It opens nothing else for these two ends"),
            opens => self.wrapped("  ", &format!("It also opens {}", some(opens))),
        }
        if !fix.closes.is_empty() {
            self.wrapped("  ", &format!("It closes {}", some(&fix.closes)));
        }
    }

    fn pace(&mut self, pace: &Pace) {
        match pace {
            Pace::Enter {
                zone,
                switch,
                port,
                packet,
            } => {
                self.line("");
                self.wrapped("  ", &format!("into switch {switch} of zone {zone} by {port}: {packet}"));
            }
            Pace::Leave { switch, port, .. } => {
                self.wrapped("  ", &format!("out of switch {switch} by {port}: registers are cleared"));
            }
            Pace::Balance { balancer, packet } => {
                self.wrapped("    ", &format!("load balancer {balancer}: {packet}"));
            }
            Pace::Table {
                table,
                priority,
                matches,
                actions,
                acl,
                changes,
                ct_zone,
                ct,
            } => {
                if **matches == *"1" && acl.is_none() && changes.is_empty() {
                    self.wrapped("    ", &format!("{table}, priority {priority}, match 1: {actions}"));
                    return;
                }
                let zone = ct_zone.map_or_else(|| "none".to_owned(), |zone| zone.to_string());
                self.wrapped("    ", &format!("{table}, priority {priority}    conntrack zone {zone}: {ct}"));
                self.wrapped("      match    ", matches);
                let shown = if actions.is_empty() { "drop" } else { actions };
                self.wrapped("      actions  ", shown);
                if let Some(acl) = acl {
                    self.wrapped("      ACL      ", &format!("{}: {}", acl.action, acl.message));
                }
                for change in changes {
                    let meaning = match change.meaning {
                        "" => String::new(),
                        meaning => format!(" ({meaning})"),
                    };
                    self.wrapped(
                        "      changes  ",
                        &format!("{}{meaning}: {} -> {}", change.field, change.before, change.after),
                    );
                }
            }
            Pace::Route { router, port } => {
                self.wrapped("  ", &format!("router {router} sends it on by {port}"));
            }
            Pace::Track {
                ct_zone,
                ct,
                packet,
            } => self.wrapped(
                "    ",
                &format!("conntrack zone {ct_zone} is asked: {ct}; {packet}"),
            ),
            Pace::Commit {
                ct_zone,
                mark,
                label,
            } => self.wrapped(
                "    ",
                &format!("connection committed in conntrack zone {ct_zone}: mark {mark:#x}, label {label}"),
            ),
            Pace::Sample {
                app,
                point,
                set,
                probability,
            } => self.wrapped(
                "    ",
                &format!("sample for {app}: point {point}, collector set {set}, probability {probability}/65535"),
            ),
        }
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    /// A text behind a first word, its further lines below its beginning.
    fn wrapped(&mut self, first: &str, text: &str) {
        let indent = " ".repeat(
            first
                .chars()
                .count()
                .max(first.len() - first.trim_start().len()),
        );
        let mut line = first.to_owned();
        let mut used = first.chars().count();
        let mut is_empty = true;
        for word in text.split(' ') {
            let width = visible(word);
            if !is_empty && used + 1 + width > self.style.width {
                let done = std::mem::replace(&mut line, format!("{indent}  "));
                self.line(&done);
                used = indent.len() + 2;
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += width;
            is_empty = false;
        }
        self.line(&line);
    }

    fn painted(&self, verdict: Answer, text: &str) -> String {
        if !self.style.colour {
            return text.to_owned();
        }
        let colour = match verdict {
            Answer::Allowed => "\u{1b}[32m",
            Answer::Dropped | Answer::Rejected => "\u{1b}[31m",
            Answer::Unknown => "\u{1b}[33m",
        };
        format!("{colour}{text}\u{1b}[0m")
    }
}

/// Columns that a word takes on a terminal, escape sequences aside.
fn visible(word: &str) -> usize {
    let mut count = 0;
    let mut is_escape = false;
    for letter in word.chars() {
        match letter {
            '\u{1b}' => is_escape = true,
            'm' if is_escape => is_escape = false,
            _ if is_escape => {}
            _ => count += 1,
        }
    }
    count
}

/// Where a station is: `on node n1, from shop/web (from-lport)`.
fn place(station: &Station) -> String {
    let mut text = match &station.node {
        Some(node) if **node == *station.switch => format!("on node {node}"),
        Some(node) => format!("on node {node}, switch {}", station.switch),
        None => format!("on switch {}", station.switch),
    };
    let is_own = station.node.as_ref() == Some(&station.zone);
    if !is_own {
        let _ = write!(text, " of zone {}", station.zone);
    }
    let (end, port) = match station.pipeline {
        Pipeline::ToLport => ("to", "out by"),
        Pipeline::FromLport | Pipeline::FromLportAfterLb => ("from", "in by"),
    };
    match (&station.party, &station.port) {
        (Some(party), _) => {
            let _ = write!(text, ", {end} {party}");
        }
        (None, Some(name)) => {
            let _ = write!(text, ", {port} {name}");
        }
        (None, None) => {}
    }
    let _ = write!(text, " ({})", station.pipeline.as_str());
    text
}

/// `ingress[0] of NetworkPolicy shop/web, web.yaml:12:5`.
fn written(source: &Source) -> String {
    let mut text = match &source.rule {
        Some(rule) => format!("{rule} of {}", source.object),
        None => source.object.clone(),
    };
    if let Some(Spot {
        file, line, column, ..
    }) = &source.spot
    {
        let _ = write!(text, ", {file}:{line}:{column}");
    }
    text
}

/// `ACL acl-id, priority 1000`.
fn named(ruling: &Ruling) -> String {
    let Ruling {
        acl, id, priority, ..
    } = ruling;
    match id {
        Some(id) => format!("ACL {id}, priority {priority}"),
        None => format!("ACL {acl}, priority {priority}"),
    }
}

/// Which of several cases that are alike.
fn variant(case: &Case) -> String {
    let Some(chosen) = &case.service else {
        return case.request.packet.clone();
    };
    match &chosen.backend {
        Some(party) => match party.address_like(chosen.ip) {
            Some(ip) => format!("{} ({ip})", party.label()),
            None => party.label(),
        },
        None => chosen.ip.to_string(),
    }
}

/// True for cases that differ in addresses and places alone.
fn is_alike(a: &Case, b: &Case) -> bool {
    let rulings = |case: &Case| -> Vec<uuid::Uuid> {
        let ways = std::iter::once(&case.request).chain(&case.reply);
        ways.flat_map(|way| &way.stations)
            .flat_map(|station| &station.tiers)
            .filter_map(|tier| tier.ruling.as_ref().map(|ruling| ruling.acl))
            .collect()
    };
    let nobody = |case: &Case| {
        let chosen = case.service.as_ref();
        chosen.is_some_and(|chosen| chosen.backend.is_none())
    };
    a.port == b.port && a.verdict == b.verdict && nobody(a) == nobody(b) && rulings(a) == rulings(b)
}

/// With a large letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
