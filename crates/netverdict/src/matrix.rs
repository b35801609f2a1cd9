//! `netverdict matrix`: who reaches whom on which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stdout};

use anyhow::Result;
use clap::{Args, ValueEnum};
use netverdict_manifest::Protocol;
use netverdict_types::Direction;
use netverdict_verdict::{
    Class, Decided, Matrix as Cells, Reach, Service, Space, changes, container_ports,
};
use serde_json::{Value, json};

use crate::exit::{Done, tell};
use crate::explain::width;
use crate::twin::{Inputs, Twin, missing_zones};

/// See who reaches whom on which ports, or what one set of policies opens and closes against another
///
/// All pairs of pods, and of pods and services, on all ports; and what is outside, as far as
/// policies tell it apart. Pods that no rule can tell apart are shown as one. With --against exit
/// status 3 if there is a difference.
#[derive(Args, Clone, Debug)]
pub(crate) struct Matrix {
    #[command(flatten)]
    inputs: Inputs,

    /// What is open and closed otherwise than with these: of the same kind as what is read,
    /// manifests or databases
    #[arg(long, value_name = "OTHER", num_args = 1..)]
    against: Vec<String>,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Output {
    /// For people: by the one who connects
    #[default]
    Table,
    /// One JSON object a line, for each pair that is open, or differs
    Json,
    /// A graph for `dot`
    Dot,
}

impl Matrix {
    /// Runs the command.
    ///
    /// # Errors
    /// If the rows cannot be read.
    pub(crate) fn run(&self) -> Result<Done> {
        let twin = self.inputs.twin()?;
        let missing = missing_zones(&twin.zones);
        if let Some(missing) = &missing {
            tell(missing);
        }
        let mut out = std::io::BufWriter::new(stdout().lock());
        self.print_left_out(&twin, "", &mut out)?;
        let done = match self.against.is_empty() {
            true => {
                self.print(&twin, &mut out)?;
                Done::Ok
            }
            false => {
                let other = self.inputs.other(&self.against)?.twin()?;
                self.print_left_out(&other, " of what it is held against", &mut out)?;
                let differs = self.print_difference(&other, &twin, &mut out)?;
                match differs {
                    _ if other.errors > 0 => Done::Failed,
                    true => Done::Changed,
                    false => Done::Ok,
                }
            }
        };
        out.flush()?;
        Ok(match (twin.errors, missing) {
            (0, None) => done,
            (0, Some(_)) => Done::Unknown,
            _ => Done::Failed,
        })
    }

    /// Says what the answer goes without.
    fn print_left_out(&self, twin: &Twin, whose: &str, out: &mut impl Write) -> Result<()> {
        let policies = &twin.left_out;
        if policies.is_empty() {
            return Ok(());
        }
        let were = match policies.len() {
            1 => "1 policy was".to_owned(),
            more => format!("{more} policies were"),
        };
        let text = format!(
            "{were} left out{whose} because of errors: {}",
            policies.join(", ")
        );
        match self.output {
            Output::Table => writeln!(out, "{text}\n")?,
            Output::Json => writeln!(out, "{}", json!({"left_out": policies, "message": text}))?,
            Output::Dot => writeln!(out, "// {text}")?,
        }
        Ok(())
    }

    fn print(&self, twin: &Twin, out: &mut impl Write) -> Result<()> {
        let reach = Reach::new(twin.northbounds());
        let space = Space::new(&[&reach], ports(&[twin]));
        let cells = Cells::new(&reach, &space);
        if let Output::Dot = self.output {
            writeln!(out, "digraph reach {{\n  rankdir=LR; node [shape=box];")?;
        }
        for (from, class) in space.classes().iter().enumerate() {
            let mut by_ports: BTreeMap<(usize, Vec<String>), Vec<String>> = BTreeMap::new();
            for (to, target) in space.classes().iter().enumerate() {
                let open = cells.open(from, to);
                if open.is_empty() || space.pairs(from, to) == 0 {
                    continue;
                }
                let names = space.ports(&open);
                match self.output {
                    Output::Table => {
                        let place = (space.slots().len() - open.len(), names);
                        by_ports.entry(place).or_default().push(name(target));
                    }
                    Output::Json => {
                        let line = json!({"from": end(class), "to": end(target), "ports": names});
                        writeln!(out, "{line}")?;
                    }
                    Output::Dot => edge(out, class, target, &names, "")?,
                }
            }
            let services = || {
                let all = space.services().iter().enumerate();
                all.map(|(number, service)| (service, cells.share(from, number)))
                    .filter(|(_, share)| share.of > 0)
            };
            match self.output {
                Output::Table => {
                    if by_ports.is_empty() {
                        continue;
                    }
                    writeln!(out, "{}", name(class))?;
                    for ((_, ports), targets) in by_ports {
                        wrapped(out, &ports.join(" "), &targets)?;
                    }
                    let mut names: BTreeSet<String> = BTreeSet::new();
                    for (service, share) in services().filter(|(_, share)| share.reached > 0) {
                        names.insert(match share.reached == share.of {
                            true => service_name(service),
                            false => format!(
                                "{} ({} of {})",
                                service_name(service),
                                share.reached,
                                share.of
                            ),
                        });
                    }
                    if !names.is_empty() {
                        let names: Vec<String> = names.into_iter().collect();
                        wrapped(out, "services", &names)?;
                    }
                }
                Output::Json => {
                    for (service, share) in services() {
                        let line = json!({
                            "from": end(class),
                            "service": {
                                "name": service.name,
                                "address": service.address.to_string(),
                                "port": service.port,
                                "protocol": protocol(service),
                            },
                            "reached": share.reached,
                            "of": share.of,
                        });
                        writeln!(out, "{line}")?;
                    }
                }
                Output::Dot => {}
            }
        }
        if let Output::Dot = self.output {
            writeln!(out, "}}")?;
        }
        Ok(())
    }

    /// Gives whether there is one.
    fn print_difference(&self, before: &Twin, after: &Twin, out: &mut impl Write) -> Result<bool> {
        let (old, new) = (
            Reach::new(before.northbounds()),
            Reach::new(after.northbounds()),
        );
        let space = Space::new(&[&old, &new], ports(&[before, after]));
        let changes = changes(&old, &new, &space);
        if let Output::Dot = self.output {
            writeln!(
                out,
                "digraph difference {{\n  rankdir=LR; node [shape=box];"
            )?;
        }
        let (mut opened, mut closed) = (0, 0);
        for change in &changes {
            let ends = [change.from, change.to].map(|class| space.classes().get(class));
            let [Some(from), Some(to)] = ends else {
                continue;
            };
            let pairs = space.pairs(change.from, change.to);
            let [open, shut] = [&change.opened, &change.closed].map(|slots| space.ports(slots));
            opened += pairs * usize::from(!open.is_empty());
            closed += pairs * usize::from(!shut.is_empty());
            let was = deciding(&old, before, &change.before);
            let is = deciding(&new, after, &change.after);
            match self.output {
                Output::Table => {
                    for (sign, ports) in [("+", &open), ("-", &shut)] {
                        if !ports.is_empty() {
                            let ports = ports.join(" ");
                            writeln!(out, "{sign} {} -> {}  {ports}", name(from), name(to))?;
                        }
                    }
                    for (when, by) in [("was", &was), ("is", &is)] {
                        for by in by {
                            writeln!(out, "    {when:<3}  {}", by.text)?;
                        }
                    }
                }
                Output::Json => {
                    let list =
                        |by: &[By]| -> Vec<Value> { by.iter().map(|by| by.json.clone()).collect() };
                    let line = json!({
                        "from": end(from),
                        "to": end(to),
                        "opened": open,
                        "closed": shut,
                        "before": list(&was),
                        "after": list(&is),
                    });
                    writeln!(out, "{line}")?;
                }
                Output::Dot => {
                    for (ports, look) in [
                        (&open, ", color=green"),
                        (&shut, ", color=red, style=dashed"),
                    ] {
                        if !ports.is_empty() {
                            edge(out, from, to, ports, look)?;
                        }
                    }
                }
            }
        }
        if let Output::Dot = self.output {
            writeln!(out, "}}")?;
        }
        out.flush()?;
        tell(format_args!(
            "{opened} pairs reach each other on more ports, {closed} on fewer"
        ));
        Ok(!changes.is_empty())
    }
}

/// A list behind its heading, in lines as wide as the terminal.
fn wrapped(out: &mut impl Write, heading: &str, list: &[String]) -> Result<()> {
    let width = width();
    let mut line = format!("  {heading:<14} ");
    for (number, item) in list.iter().enumerate() {
        if number > 0 {
            line.push(',');
        }
        if number > 0 && line.len() + item.len() + 2 > width {
            writeln!(out, "{line}")?;
            line = " ".repeat(17);
        }
        line.push(' ');
        line.push_str(item);
    }
    writeln!(out, "{line}")?;
    Ok(())
}

/// What decided: an ACL, and the rule that it was made from.
pub(crate) struct By {
    pub(crate) text: String,
    pub(crate) json: Value,
    /// Whose packets it judges.
    pub(crate) side: Direction,
    /// The policy's.
    pub(crate) namespace: Option<String>,
}

/// What decided about the first port that differs, where an ACL did: what denies, else what allows.
pub(crate) fn deciding(reach: &Reach<'_>, twin: &Twin, decided: &[Decided]) -> Vec<By> {
    let denies = decided.iter().any(Decided::denies);
    decided
        .iter()
        .filter(|one| one.denies() == denies)
        .filter_map(|one| {
            let acl = &reach.acl(one)?.acl;
            let sentence = acl.sentence();
            let origins = twin.origins(one.acl?);
            let places: Vec<String> = origins
                .iter()
                .take(1)
                .map(|origin| {
                    let rule = origin.rule.as_deref();
                    let rule = rule.map_or_else(String::new, |rule| format!(" {rule}"));
                    let file = twin.names.file(origin.span.file);
                    let place = file.map_or_else(String::new, |file| {
                        format!(", {file}:{}:{}", origin.span.line, origin.span.column)
                    });
                    let more = match origins.len() {
                        0 | 1 => String::new(),
                        all => format!(" and {} more", all - 1),
                    };
                    format!(" ({}{rule}{place}{more})", origin.object)
                })
                .collect();
            Some(By {
                text: format!("{sentence}{}", places.concat()),
                json: json!({
                    "action": acl.action.as_str(),
                    "sentence": sentence,
                    "side": one.side.as_str(),
                    "origins": twin.origins_json(one.acl?),
                }),
                side: one.side,
                namespace: acl.owner.namespace.clone(),
            })
        })
        .collect()
}

/// The ports that containers name.
fn ports(twins: &[&Twin]) -> BTreeSet<(Protocol, u16)> {
    let worlds = twins.iter().filter_map(|twin| twin.world.as_ref());
    worlds
        .flat_map(|world| container_ports(world.objects()))
        .collect()
}

fn name(class: &Class) -> String {
    match (class.outside, class.members.len()) {
        (None, 2..) if class.name.ends_with('*') => {
            format!("{} ({})", class.name, class.members.len())
        }
        _ => class.name.clone(),
    }
}

fn end(class: &Class) -> Value {
    match class.outside {
        Some(address) => json!({"name": class.name, "address": address.to_string()}),
        None => json!({"name": class.name, "pods": class.members}),
    }
}

fn service_name(service: &Service) -> String {
    let port = service
        .port
        .map_or_else(String::new, |port| format!("{port}/"));
    format!("{}:{port}{}", service.name, protocol(service))
}

fn protocol(service: &Service) -> &'static str {
    match service.protocol {
        6 => "tcp",
        17 => "udp",
        _ => "sctp",
    }
}

fn edge(
    out: &mut impl Write,
    from: &Class,
    to: &Class,
    ports: &[String],
    look: &str,
) -> Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let [from, to] = [from, to].map(|class| quoted(&class.name));
    writeln!(
        out,
        "  {from} -> {to} [label={}{look}];",
        quoted(&ports.join(" "))
    )?;
    Ok(())
}
