//! `netverdict why`: the short way, from what was seen: who drops, by which rule, and what would mend it.

use std::collections::{HashMap, VecDeque};
use std::io::{IsTerminal, Write, stdout};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use crossbeam_channel::after;
use netverdict_manifest::Protocol;
use netverdict_types::{Decision, End, Owner, Timestamp, Verdict, protocol_name};
use netverdict_verdict::explain::{Close, Mend, Source, Spot, Style, Texts, near};
use netverdict_verdict::{Ask, Transport};
use serde::Serialize;

use crate::compile::Settings;
use crate::databases::Databases;
use crate::exit::{Done, tell};
use crate::explain::{Known, colours, width};
use crate::output::{Name, sentence};
use crate::refs::Ref;
use crate::remote::{self, Client, Credentials, Wanted};
use crate::session::{Inputs, Session, Step};
use crate::twin::{self, Twin};

/// Ask who drops the traffic of a pod, service or node now, by which rule, and what would mend it
///
/// Reads samples as `observe` does, for some seconds where a source goes on by itself, and shows
/// each kind of drop once. With --manifests it shows the rule where it is written, what came
/// closest, and the fix. Where nothing is seen, `explain` tells what would become of a connection.
///
/// Exit status: 0 nothing is dropped, 3 something is, 4 no samples of it came, 1 failed, 2 wrong usage.
#[derive(Args, Clone, Debug)]
pub(crate) struct Why {
    /// Whose traffic: NAMESPACE/POD, svc/NAMESPACE/NAME, node/NAME, or an IP address
    #[arg(value_name = "REF")]
    whose: Ref,

    /// Only what comes from there
    #[arg(long, value_name = "REF")]
    from: Option<Ref>,

    /// Only the last N drops
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    /// How long to watch a source that goes on by itself
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u32,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    inputs: Inputs,

    #[command(flatten)]
    databases: Databases,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people
    #[default]
    Text,
    /// One JSON object a line for each kind of drop (docs/drop.schema.json)
    Json,
}

/// Drops of one kind: by one rule, between the same ends.
#[derive(Clone, Debug, Serialize)]
struct Drop {
    verdict: Verdict,
    message: String,
    from: String,
    to: String,
    port: String,
    packets: u64,
    last: Timestamp,
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    sources: Vec<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    near: Option<Close>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<Mend>,
    /// Addresses of who opens the connection and of who is asked, to ask policies about it.
    #[serde(skip)]
    ends: Option<(IpAddr, IpAddr, Transport)>,
}

/// What was seen of all traffic of the one asked about.
#[derive(Default)]
struct Seen {
    passed: u64,
    drops: VecDeque<Drop>,
}

impl Why {
    /// Runs the command.
    ///
    /// # Errors
    /// If a source, a database or a path cannot be read, or the output not be written.
    pub(crate) fn run(&self) -> Result<Done> {
        let (seen, samples) = match remote::server(&self.inputs.source, &self.credentials)? {
            Some(client) => self.ask(&client)?,
            None => self.watch()?,
        };
        let mut drops = together(seen.drops);
        let mut compiled = match &self.inputs.manifests[..] {
            [] => None,
            // They may be for names only.
            paths => twin::compiled(paths, &self.settings)
                .inspect_err(|error| tell(format_args!("rules are not shown: {error:#}")))
                .ok(),
        };
        if let Some(compiled) = &mut compiled {
            explain(&mut drops, &Known::new(compiled));
            mend(&mut drops, compiled);
        }
        let known = compiled.as_ref().map(Known::new);
        self.print(&drops, known.as_ref())?;
        let whose = &self.whose;
        Ok(match (drops.len(), samples) {
            (0, 0) => {
                tell(format_args!(
                    "no samples came, so nothing is known of {whose}; `netverdict doctor` tells what is \
                     missing, `netverdict explain` what would become of a connection"
                ));
                Done::Unknown
            }
            (0, samples) if seen.passed == 0 => {
                tell(format_args!(
                    "none of {samples} samples is of traffic of {whose}: nothing is known; `netverdict \
                     explain` tells what would become of a connection"
                ));
                Done::Unknown
            }
            (0, samples) => {
                tell(format_args!(
                    "nothing of {whose} was dropped: {} of {samples} samples are of its traffic, and were \
                     let through",
                    seen.passed
                ));
                Done::Ok
            }
            _ => Done::Dropped,
        })
    }

    /// What samples tell, and how many there were.
    fn watch(&self) -> Result<(Seen, u64)> {
        let mut session = Session::new(&self.inputs, &self.databases, None)?;
        if self.inputs.source.is_empty() || self.inputs.source.iter().any(|it| !it.is_recorded()) {
            self.end_in_time(&session)?;
        }
        let mut seen = Seen::default();
        session.run(&mut |step| {
            if let Step::Decision(decision) = step {
                self.take(decision, &mut seen);
            }
            Ok(())
        })?;
        Ok((seen, session.samples()))
    }

    /// What the connections of a server's last hour tell, and how many there were.
    fn ask(&self, client: &Client) -> Result<(Seen, u64)> {
        let mut seen = Seen::default();
        let mut count = 0;
        client.connections(&Wanted::default(), |connection| {
            count += 1;
            let Some(told) = remote::Told::read(&connection) else {
                return Ok(true);
            };
            let (src, dst) = (told.src.end(), told.dst.end());
            let is_whose = |end| self.whose.is(end, told.service.as_ref());
            let is_from = match &self.from {
                Some(from) => from.is(&src, None) && is_whose(&dst),
                None => is_whose(&src) || is_whose(&dst),
            };
            match told.verdict {
                _ if !is_from => {}
                Verdict::Dropped | Verdict::Rejected => {
                    // Those that ended last come first.
                    seen.drops.push_front(Drop {
                        verdict: told.verdict,
                        message: told.message.clone(),
                        packets: told.dropped,
                        last: told.end,
                        node: told.node.clone(),
                        owner: told.owner.clone(),
                        ..Drop::between(&src, &dst, told.protocol)
                    });
                }
                _ => seen.passed += 1,
            }
            Ok(self.last.is_none_or(|last| seen.drops.len() < last))
        })?;
        Ok((seen, count))
    }

    /// Ends the session after the time that was asked for.
    fn end_in_time(&self, session: &Session) -> Result<()> {
        let interrupter = session.interrupter();
        let time = Duration::from_secs(self.seconds.into());
        if stdout().is_terminal() {
            tell(format_args!(
                "watching for {} s; Ctrl-C ends it earlier",
                self.seconds
            ));
        }
        thread::Builder::new()
            .name("timer".to_owned())
            .spawn(move || {
                let _ = after(time).recv();
                // The run may be over, or a signal was faster.
                let _ = interrupter.try_send(());
            })?;
        Ok(())
    }

    fn take(&self, decision: &Decision<'_>, seen: &mut Seen) {
        let is_whose = |end| self.whose.is(end, decision.service);
        let is_from = match &self.from {
            Some(from) => {
                let (there, back) = (
                    from.is(&decision.src, None) && is_whose(&decision.dst),
                    from.is(&decision.dst, None) && is_whose(&decision.src),
                );
                match decision.reply {
                    Some(true) => back,
                    _ => there,
                }
            }
            None => is_whose(&decision.src) || is_whose(&decision.dst),
        };
        if decision.double || !is_from {
            return;
        }
        match decision.verdict {
            Verdict::Dropped | Verdict::Rejected => {
                if self.last.is_some_and(|last| seen.drops.len() >= last) {
                    seen.drops.pop_front();
                }
                seen.drops.push_back(Drop::of(decision));
            }
            _ => seen.passed += 1,
        }
    }

    fn print(&self, drops: &[Drop], known: Option<&Known<'_>>) -> Result<()> {
        let mut out = stdout().lock();
        if self.output == Output::Json {
            for drop in drops {
                serde_json::to_writer(&mut out, drop)?;
                writeln!(out)?;
            }
            return Ok(out.flush()?);
        }
        let snippet = |spot: &Spot, label: &str| known?.snippet(spot, label);
        let style = Style {
            colour: colours(),
            width: width(),
            walk: false,
            snippet: &snippet,
        };
        for (number, drop) in drops.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            drop.print(&mut out, &style)?;
        }
        Ok(out.flush()?)
    }
}

impl Drop {
    fn of(decision: &Decision<'_>) -> Self {
        let (src, dst) = match decision.reply {
            Some(true) => (&decision.dst, &decision.src),
            _ => (&decision.src, &decision.dst),
        };
        Self {
            verdict: decision.verdict,
            message: sentence(decision),
            packets: decision.packets,
            last: decision.time,
            node: decision.node.map(str::to_owned),
            owner: decision.acl.map(|row| row.acl().owner.clone()),
            ..Self::between(src, dst, decision.headers.protocol)
        }
    }

    /// Of nobody yet, between these ends.
    fn between(src: &End<'_>, dst: &End<'_>, protocol: Option<u8>) -> Self {
        let transport = match (protocol, dst.port) {
            (Some(6), Some(port)) => Some(Transport::Port(Protocol::Tcp, port)),
            (Some(17), Some(port)) => Some(Transport::Port(Protocol::Udp, port)),
            (Some(132), Some(port)) => Some(Transport::Port(Protocol::Sctp, port)),
            (Some(1 | 58), _) => Some(Transport::Icmp),
            (Some(other), _) => Some(Transport::Other(other)),
            (None, _) => None,
        };
        let ends = || Some((src.ip?, dst.ip?, transport?));
        // The ports of clients come and go.
        let name = |end: &End<'_>| {
            let bare = End { port: None, ..*end };
            Name(&bare).to_string()
        };
        let protocol = protocol.and_then(protocol_name);
        Self {
            verdict: Verdict::Unknown,
            message: String::new(),
            from: name(src),
            to: name(dst),
            port: match (transport, dst.port, protocol) {
                (Some(Transport::Port(..)), Some(port), Some(protocol)) => {
                    format!("{port}/{}", protocol.to_lowercase())
                }
                (Some(Transport::Icmp), ..) => "icmp".to_owned(),
                (_, _, Some(protocol)) => protocol.to_lowercase(),
                _ => "?".to_owned(),
            },
            packets: 0,
            last: Timestamp::MIN,
            node: None,
            owner: None,
            sources: Vec::new(),
            near: None,
            fix: None,
            ends: ends(),
        }
    }

    /// The connection as policies see it.
    fn ask(&self, known: &Known<'_>) -> Option<Ask> {
        let (src, dst, transport) = self.ends?;
        let objects = known.objects()?;
        Some(Ask {
            from: objects.end(src),
            to: objects.end(dst),
            transport,
        })
    }

    fn print(&self, out: &mut impl Write, style: &Style<'_>) -> Result<()> {
        let (on, off) = match style.colour {
            true => ("\u{1b}[31m", "\u{1b}[0m"),
            false => ("", ""),
        };
        writeln!(out, "{on}{}{off}", self.message)?;
        let packets = match self.packets {
            1 => "1 packet".to_owned(),
            more => format!("{more} packets"),
        };
        let node = self.node.as_ref();
        let node = node.map_or_else(String::new, |node| format!(" on {node}"));
        writeln!(
            out,
            "  {} -> {} on {}: {packets}, last at {}{node}",
            self.from, self.to, self.port, self.last
        )?;
        let is_isolation = self
            .near
            .as_ref()
            .is_some_and(|near| !near.isolating.is_empty());
        for source in self.sources.iter().filter(|_| !is_isolation) {
            writeln!(out, "  {}", source.text())?;
            let shown = source.spot.as_ref();
            if let Some(shown) = shown.and_then(|spot| (style.snippet)(spot, "")) {
                for line in shown.lines() {
                    writeln!(out, "    {line}")?;
                }
            }
        }
        if let Some(near) = &self.near {
            indented(out, &near.text(style))?;
        }
        if let Some(fix) = &self.fix {
            indented(out, &fix.text(style))?;
        }
        writeln!(
            out,
            "  all of it: netverdict explain --from {} --to {} --port {}",
            self.from, self.to, self.port
        )?;
        Ok(())
    }
}

/// Drops of one kind as one, those last seen first.
fn together(drops: VecDeque<Drop>) -> Vec<Drop> {
    let mut kinds: HashMap<[String; 4], Drop> = HashMap::new();
    for drop in drops {
        let key = [
            drop.message.clone(),
            drop.from.clone(),
            drop.to.clone(),
            drop.port.clone(),
        ];
        match kinds.get_mut(&key) {
            Some(known) => {
                let packets = known.packets + drop.packets;
                if drop.last >= known.last {
                    *known = drop;
                }
                known.packets = packets;
            }
            None => {
                kinds.insert(key, drop);
            }
        }
    }
    let mut drops: Vec<Drop> = kinds.into_values().collect();
    drops.sort_by(|a, b| (b.last, &a.message, &a.from).cmp(&(a.last, &b.message, &b.from)));
    drops
}

/// Says where rules are written, and what came closest.
fn explain(drops: &mut [Drop], known: &Known<'_>) {
    let mut origins = HashMap::new();
    for (number, zone) in known.twin.zones.iter().enumerate() {
        for (uuid, row) in &zone.acls {
            origins.entry(&row.acl.owner).or_insert((number, *uuid));
        }
    }
    for drop in drops {
        let Some(owner) = &drop.owner else {
            continue;
        };
        if let Some((zone, acl)) = origins.get(owner) {
            drop.sources = known.origins(*zone, *acl);
        }
        if let Some(ask) = drop.ask(known) {
            drop.near = near(known, &ask, owner);
        }
    }
}

/// Looks for the smallest change for each kind of drop.
fn mend(drops: &mut [Drop], compiled: &mut Twin) {
    for drop in drops.iter_mut().filter(|drop| drop.near.is_some()) {
        let ask = drop.ask(&Known::new(compiled));
        if let (Some(ask), Some(world)) = (ask, &mut compiled.world) {
            drop.fix = world.fix(&ask).map(Into::into);
        }
    }
}

fn indented(out: &mut impl Write, text: &str) -> Result<()> {
    for line in text.lines().filter(|line| !line.is_empty()) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
