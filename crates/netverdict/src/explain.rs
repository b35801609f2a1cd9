//! `netverdict explain`: why a connection is let through or not.

use std::io::{IsTerminal, Write, stdout};
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, ValueEnum};
use netverdict_manifest::{Key, Kind, Protocol, Spec};
use netverdict_types::EndpointKind;
use netverdict_verdict::explain::{
    Answer, Atlas, Case, Explanation, Party, Question, Serving, Source, Spot, Style, Texts, explain,
};
use netverdict_verdict::{Ask, Fix, Objects, Transport};
use uuid::Uuid;

use crate::compile::World;
use crate::exit::{Done, tell};
use crate::refs::Ref;
use crate::twin::{Inputs, Twin, missing_zones};

/// Ask why a connection is let through or dropped: every ACL on the way, in both directions
///
/// Sends the connection's first packet and its answer through the twin, which does what OVN would
/// do with these rows: load balancing, every stage and tier of ACLs on both nodes, connection
/// tracking. With --manifests each rule is shown where it is written, and for what is dropped the
/// rules that came closest.
///
/// A REF is NAMESPACE/POD, svc/NAMESPACE/NAME, node/NAME, or an IP address; with @NETWORK behind
/// it where there are several networks.
///
/// Exit status: 0 allowed, 3 dropped or rejected, 4 cannot know, 1 failed, 2 wrong usage.
#[derive(Args, Clone, Debug)]
pub(crate) struct Explain {
    #[command(flatten)]
    asked: Asked,

    /// Every table, with match, actions, registers and connection tracking
    #[arg(long)]
    walk: bool,

    #[command(flatten)]
    inputs: Inputs,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// One JSON object (docs/explanation.schema.json)
    Json,
}

/// What is asked for, as people write it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Port {
    /// A protocol and port, or a protocol without ports.
    Known(Transport),
    /// A port by name.
    Named(String),
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let protocol = |word: &str| match word.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "sctp" => Some(Protocol::Sctp),
            _ => None,
        };
        if text.eq_ignore_ascii_case("icmp") || text.eq_ignore_ascii_case("icmp6") {
            return Ok(Self::Known(Transport::Icmp));
        }
        let number = |text: &str| text.parse().ok().filter(|port: &u16| *port > 0);
        let (left, right) = match text.split_once(['/', ':']) {
            Some((left, right)) => (left, right),
            None => (text, "tcp"),
        };
        let port = match (number(left), protocol(right), protocol(left), number(right)) {
            (Some(port), Some(of), ..) | (_, _, Some(of), Some(port)) => (of, port),
            _ => {
                let is_name = |text: &str| {
                    let fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
                    text.len() <= 63
                        && text.chars().all(fine)
                        && text.chars().any(|letter| letter.is_ascii_alphabetic())
                };
                if is_name(text) && protocol(text).is_none() {
                    return Ok(Self::Named(text.to_owned()));
                }
                return Err(format!(
                    "{text:?} is no port; write 8080/tcp, 53/udp, 3868/sctp, icmp, or a port's name"
                ));
            }
        };
        Ok(Self::Known(Transport::Port(port.0, port.1)))
    }
}

impl Explain {
    /// Runs the command.
    ///
    /// # Errors
    /// If the rows cannot be read, or the output not be written.
    pub(crate) fn run(&self) -> Result<Done> {
        let mut twin = self.inputs.twin()?;
        let (told, running) = self.asked.explain(&mut twin);
        // The program ends now, and to take thousands of rows apart would keep people waiting.
        std::mem::forget(running);
        let explanation = match told {
            Ok(explanation) => explanation,
            Err(Untold { messages, done }) => {
                for message in messages {
                    tell(message);
                }
                return Ok(done);
            }
        };
        self.print(&explanation, &Known::new(&twin))?;
        Ok(match (explanation.verdict, twin.errors) {
            (Answer::Allowed, 0) => Done::Ok,
            (Answer::Allowed, _) => Done::Failed,
            (Answer::Dropped | Answer::Rejected, _) => Done::Dropped,
            (Answer::Unknown, _) => Done::Unknown,
        })
    }

    fn print(&self, explanation: &Explanation, known: &Known<'_>) -> Result<()> {
        let mut out = stdout().lock();
        match self.output {
            Output::Json => {
                serde_json::to_writer(&mut out, explanation)?;
                writeln!(out)?;
            }
            Output::Text => {
                let snippet = |spot: &Spot, label: &str| known.snippet(spot, label);
                let style = Style {
                    colour: known.colour,
                    width: width(),
                    walk: self.walk,
                    snippet: &snippet,
                };
                out.write_all(explanation.text(&style).as_bytes())?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// A connection that is asked about.
#[derive(Args, Clone, Debug)]
pub(crate) struct Asked {
    /// Who opens the connection
    #[arg(long, value_name = "REF")]
    pub(crate) from: Ref,

    /// To whom
    #[arg(long, value_name = "REF")]
    pub(crate) to: Ref,

    /// On what: 8080/tcp, 8080, 53/udp, icmp, or the name of a port of the pod or service
    /// [default: all ports of the service; those that the pod's containers name]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<Port>,
}

/// Why there is no explanation.
#[derive(Debug)]
pub(crate) struct Untold {
    /// For people, each for itself.
    pub(crate) messages: Vec<String>,
    /// Whether more must be known, or the question be clearer.
    pub(crate) done: Done,
}

impl From<(String, Done)> for Untold {
    fn from((message, done): (String, Done)) -> Self {
        Self {
            messages: vec![message],
            done,
        }
    }
}

/// The twin, for whom it concerns when it is taken apart.
pub(crate) type Used = Option<netverdict_pipeline::journey::Twin<netverdict_pipeline::walk::Walk>>;

impl Asked {
    /// Asks the twin; it is as before afterwards.
    pub(crate) fn explain(&self, twin: &mut Twin) -> (Result<Explanation, Untold>, Used) {
        let mut used = None;
        (self.told(twin, &mut used), used)
    }

    fn told(&self, twin: &mut Twin, used: &mut Used) -> Result<Explanation, Untold> {
        let zones = twin.zones.clone();
        let atlas = Atlas::new(twin.northbounds());
        let (mut from, to) = match (self.from.find(&atlas), self.to.find(&atlas)) {
            (Ok(from), Ok(to)) => (from, to),
            (from, to) => {
                let mut messages = Vec::new();
                for (of, party) in [(&self.from, from), (&self.to, to)] {
                    if let Err(error) = party {
                        let reason = without_balancer(twin, of);
                        messages.push(reason.unwrap_or_else(|| error.to_string()));
                    }
                }
                messages.extend(missing_zones(&zones));
                let done = Done::Unknown;
                return Err(Untold { messages, done });
            }
        };
        let transports = self.transports(twin, &atlas, &to)?;
        if from.kind == EndpointKind::External && to.kind == EndpointKind::External {
            let (from, to) = (from.label(), to.label());
            let message =
                format!("cannot know: nobody in these rows has the address {from} or {to}");
            return Err((message, Done::Unknown).into());
        }
        let mut notes = Vec::new();
        if from.kind == EndpointKind::External
            && let Some((node, place)) = atlas.way_in(&to)
        {
            from.place = Some(place);
            let node = node.map_or_else(|| "a node".to_owned(), |node| format!("node {node}"));
            notes.push(format!(
                "it is assumed that {} comes in at {node}, and with this address: nobody in these rows has it",
                from.label()
            ));
        }
        notes.extend(apart(&from, &to, twin.is_compiled));
        if let Err(message) = can_open(&from) {
            return Err((message, Done::Unknown).into());
        }
        if let Some(reason) = unserved(&atlas, &to, &transports) {
            return Ok(Explanation {
                message: format!("{} -> {}: dropped. {reason}", from.label(), to.label()),
                from,
                to,
                verdict: Answer::Dropped,
                cases: Vec::new(),
                left_out: twin.left_out.clone(),
                notes: Vec::new(),
            });
        }
        let question = Question {
            from,
            to,
            transports,
        };
        let running = used.insert(crate::twin::run(zones.clone()));
        let mut explanation = explain(running, &atlas, &Known::new(twin), &question);
        explanation.notes.extend(notes);
        if let Some(world) = &mut twin.world {
            let note = mend(&mut explanation.cases, world, twin.is_compiled);
            explanation.notes.extend(note);
        }
        Ok(explanation)
    }

    /// What to ask on.
    fn transports(
        &self,
        twin: &Twin,
        atlas: &Atlas,
        to: &Party,
    ) -> Result<Vec<Transport>, (String, Done)> {
        let named = |name: &str| {
            let ports = ports_of(twin, to);
            let of_name = ports.iter().filter(|(of, ..)| of == name);
            let found: Vec<Transport> = of_name.map(|(_, transport)| *transport).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            let mut message = format!("cannot know: no port of {} is called {name}", to.label());
            let mut names: Vec<&str> = ports.iter().map(|(name, _)| name.as_str()).collect();
            names.retain(|name| !name.is_empty());
            match (names.is_empty(), &twin.world) {
                (false, _) => message.push_str(&format!("; there are {}", names.join(", "))),
                (true, Some(_)) => message.push_str("; it has no ports with names"),
                (true, None) => {
                    message.push_str(
                        ": OVN does not know names of ports, manifests do; write its number",
                    );
                }
            }
            Err((message, Done::Unknown))
        };
        match &self.port {
            Some(Port::Known(transport)) => Ok(vec![*transport]),
            Some(Port::Named(name)) => named(name),
            None => {
                let ports = match to.kind {
                    EndpointKind::Service => service_ports(atlas, to),
                    _ => {
                        let ports = ports_of(twin, to).into_iter();
                        ports.map(|(_, transport)| transport).collect()
                    }
                };
                if ports.is_empty() {
                    let message = format!(
                        "on which port of {}? Name it: --port 8080/tcp, 53/udp, icmp",
                        to.label()
                    );
                    return Err((message, Done::Usage));
                }
                Ok(ports)
            }
        }
    }
}

/// Why a service of the manifests has no load balancer.
fn without_balancer(twin: &Twin, named: &Ref) -> Option<String> {
    let (namespace, name) = named.service()?;
    let objects = twin.world.as_ref()?.objects();
    let object = objects.object(&Key::new(Kind::Service, namespace, name))?;
    let Spec::Service(service) = &object.spec else {
        return None;
    };
    if service.kind == "ExternalName" {
        return Some(format!(
            "cannot know: {named} is of type ExternalName: a name for another name, without an address here; ask \
             about the address that this has"
        ));
    }
    if !service.headless {
        return None;
    }
    let is_behind = |pod: &&netverdict_manifest::Object| {
        let selector = service.selector.as_ref();
        *pod.key.namespace == *namespace
            && selector.is_some_and(|selector| {
                let mut labels = selector.iter();
                labels.all(|(key, value)| pod.meta.labels.get(key) == Some(value))
            })
    };
    let pods = objects.all(Kind::Pod).filter(is_behind);
    let pods: Vec<String> = pods
        .map(|pod| format!("{}/{}", pod.key.namespace, pod.key.name))
        .collect();
    let whom = match pods.as_slice() {
        [] => "one of its pods, of which these manifests have none".to_owned(),
        [one] => format!("its pod {one}"),
        [first, rest @ ..] => format!("its pods: {first} and {} more", rest.len()),
    };
    Some(format!(
        "cannot know: {named} is headless: it has no address of its own, clients get those of its pods; ask about {whom}"
    ))
}

/// What to know where networks keep ends apart.
fn apart(from: &Party, to: &Party, is_compiled: bool) -> Option<String> {
    let is_outside = |party: &Party| party.kind == EndpointKind::External;
    let network = [from, to]
        .into_iter()
        .find(|party| !is_outside(party) && *party.network != *"default");
    match (is_outside(from) || is_outside(to), network) {
        (false, _) if from.network != to.network => Some(format!(
            "{} is asked about in network {}, {} in network {}: these are apart; REF@NETWORK names another",
            from.label(),
            from.network,
            to.label(),
            to.network
        )),
        (true, Some(party)) if is_compiled => Some(format!(
            "ways between network {} and the world are not known: manifests do not tell of the gateways of \
             user-defined networks (docs/topology.md), --nb does",
            party.network
        )),
        _ => None,
    }
}

/// Looks for the smallest change, where policies deny. Gives what is to be said where the rows that denied are others than those of the manifests.
fn mend(cases: &mut [Case], world: &mut World, is_compiled: bool) -> Option<String> {
    let mut known: Vec<(Ask, Option<Fix>)> = Vec::new();
    let mut note = None;
    for case in cases.iter_mut().filter(|case| case.near.is_some()) {
        let ask = match is_compiled {
            true => Some(case.ask.clone()),
            false => world.ask(&case.ask),
        };
        let Some(ask) = ask else {
            continue;
        };
        let found = known.iter().find(|(known, _)| *known == ask);
        let fix = match found {
            Some((_, fix)) => fix.clone(),
            None => {
                let fix = world.fix(&ask);
                known.push((ask.clone(), fix.clone()));
                fix
            }
        };
        if !is_compiled {
            note = match &fix {
                Some(_) => Some(
                    "the fix was tried on what the manifests compile to, not on these rows".to_owned(),
                ),
                None if world.denies(&ask) == Some(false) => Some(
                    "what the manifests compile to lets this through: these rows are not, or not yet, made of them"
                        .to_owned(),
                ),
                None => note,
            };
        }
        case.fix = fix.map(Into::into);
    }
    note
}

/// Why nobody answers on any of these ports: a service's address answers only on the ports that the service has.
fn unserved(atlas: &Atlas, to: &Party, asked: &[Transport]) -> Option<String> {
    if !matches!(to.kind, EndpointKind::Service | EndpointKind::External) {
        return None;
    }
    let has = |service: &&Serving| {
        let mut vips = service.vips.iter();
        service.network == to.network && vips.any(|(ip, ..)| to.addresses.contains(ip))
    };
    let service = atlas.services().iter().find(has)?;
    let ports = service_ports(atlas, &service.party());
    let on_any = service.vips.iter().any(|(_, port, _)| port.is_none());
    if on_any || ports.is_empty() || asked.iter().any(|asked| ports.contains(asked)) {
        return None;
    }
    let list = |ports: &[Transport]| {
        let words: Vec<String> = ports.iter().map(Transport::to_string).collect();
        words.join(", ")
    };
    let name = service.party().label();
    Some(format!(
        "{name} has no port {}, and nobody answers at its address but on {}",
        list(asked),
        list(&ports)
    ))
}

/// The ports of a service, by its load balancers.
fn service_ports(atlas: &Atlas, to: &Party) -> Vec<Transport> {
    let is_it =
        |service: &&Serving| service.party().label() == to.label() && service.network == to.network;
    let mut ports: Vec<Transport> = Vec::new();
    for (_, port, protocol) in atlas
        .services()
        .iter()
        .filter(is_it)
        .flat_map(|it| &it.vips)
    {
        let protocol = match protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            132 => Protocol::Sctp,
            _ => continue,
        };
        if let Some(port) = port {
            ports.push(Transport::Port(protocol, *port));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The ports that a pod's containers, or a service, have in the manifests, with their names.
fn ports_of(twin: &Twin, to: &Party) -> Vec<(String, Transport)> {
    let kind = match to.kind {
        EndpointKind::Pod => Kind::Pod,
        EndpointKind::Service => Kind::Service,
        _ => return Vec::new(),
    };
    let (Some(world), Some(namespace), Some(name)) = (&twin.world, &to.namespace, &to.name) else {
        return Vec::new();
    };
    let key = Key::new(kind, namespace, name);
    let mut ports: Vec<(String, Transport)> = match world.objects().object(&key).map(|it| &it.spec)
    {
        Some(Spec::Pod(pod)) => {
            let ports = pod.ports.iter();
            ports
                .map(|port| {
                    let transport = Transport::Port(port.protocol, port.port);
                    (port.name.clone(), transport)
                })
                .collect()
        }
        Some(Spec::Service(service)) => {
            let ports = service.ports.iter();
            ports
                .map(|port| {
                    let transport = Transport::Port(port.protocol, port.port);
                    (port.name.clone(), transport)
                })
                .collect()
        }
        _ => Vec::new(),
    };
    ports.dedup();
    ports
}

/// Whether a connection can be sent from there.
fn can_open(from: &Party) -> Result<(), String> {
    if from.place.is_some() {
        return Ok(());
    }
    let who = from.label();
    Err(match (from.kind, &from.zone) {
        (EndpointKind::Service, _) => {
            format!(
                "cannot know: {who} is a service, which opens no connections; name a pod behind it"
            )
        }
        (EndpointKind::External, _) => format!(
            "cannot know: nobody in these rows has the address {who}, and they have no port to the world"
        ),
        (_, None) => format!(
            "cannot know: {who} is in a zone whose rows were not given; give --nb for it as well"
        ),
        _ => format!("cannot know: {who} is a router's own address, and has no port of its own"),
    })
}

/// True where colours are welcome: on a terminal, and never with NO_COLOR.
pub(crate) fn colours() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !no_colour
}

/// Columns of a line for people: `$COLUMNS`, else the terminal's, else 80.
pub(crate) fn width() -> usize {
    let named = std::env::var("COLUMNS").ok();
    let named = named.and_then(|columns| columns.parse().ok());
    let of_terminal = || Some(usize::from(terminal_size::terminal_size_of(stdout())?.0.0));
    let width: usize = named.or_else(of_terminal).unwrap_or(80);
    width.clamp(40, 200)
}

/// What the manifests tell.
pub(crate) struct Known<'a> {
    pub(crate) twin: &'a Twin,
    pub(crate) colour: bool,
}

impl<'a> Known<'a> {
    pub(crate) fn new(twin: &'a Twin) -> Self {
        Self {
            twin,
            colour: colours(),
        }
    }

    pub(crate) fn snippet(&self, spot: &Spot, label: &str) -> Option<String> {
        let world = self.twin.world.as_ref()?;
        world.snippet(spot.span, label, self.colour)
    }
}

impl Texts for Known<'_> {
    fn origins(&self, _zone: usize, acl: Uuid) -> Vec<Source> {
        let origins = self.twin.origins(acl).iter();
        origins
            .map(|origin| Source {
                object: origin.object.to_string(),
                rule: origin.rule.clone(),
                spot: self.spot(origin.span),
            })
            .collect()
    }

    fn spot(&self, span: netverdict_manifest::Span) -> Option<Spot> {
        Some(Spot {
            file: self.twin.names.file(span.file)?.into(),
            line: span.line,
            column: span.column,
            span,
        })
    }

    fn objects(&self) -> Option<Objects<'_>> {
        Some(self.twin.world.as_ref()?.objects())
    }

    fn left_out(&self) -> Vec<String> {
        self.twin.left_out.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_people_write_them() {
        let known = |protocol, port| Ok(Port::Known(Transport::Port(protocol, port)));
        for (text, port) in [
            ("8080", known(Protocol::Tcp, 8080)),
            ("8080/tcp", known(Protocol::Tcp, 8080)),
            ("tcp/8080", known(Protocol::Tcp, 8080)),
            ("53/UDP", known(Protocol::Udp, 53)),
            ("udp:53", known(Protocol::Udp, 53)),
            ("icmp", Ok(Port::Known(Transport::Icmp))),
            ("http", Ok(Port::Named("http".to_owned()))),
        ] {
            assert_eq!(text.parse(), port, "{text}");
        }
        for text in ["", "0/tcp", "70000", "80/ftp", "tcp", "a b"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }
}
