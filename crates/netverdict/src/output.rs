//! How decisions are shown.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anyhow::Result;
use clap::ValueEnum;
use netverdict_query::Kind;
use netverdict_query::ask::{Answer, Cell, Groups};
use netverdict_types::{Decision, End, Endpoint, EndpointKind, Timestamp, Verdict, protocol_name};
use netverdict_wire::pcap;

/// The form of the output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// One line a decision, for people
    #[default]
    Compact,
    /// Columns under a heading
    Table,
    /// One JSON object a line; every sample, doubles too (docs/decision.schema.json)
    Json,
    /// One field a line
    Dict,
    /// Packets with their verdict as comment, for Wireshark
    Pcapng,
}

/// Writes decisions to standard output.
pub(crate) struct Output {
    format: Format,
    out: BufWriter<Stdout>,
    line: Vec<u8>,
    text: String,
    colour: bool,
    rows: u64,
    packets: Option<pcap::Writer<BufWriter<Stdout>>>,
    interfaces: Vec<(String, pcap::InterfaceId)>,
}

impl Output {
    /// An output; colours only on a terminal, and never with NO_COLOR.
    ///
    /// # Errors
    /// If standard output cannot be written, or is a terminal and would get packets.
    pub(crate) fn new(format: Format) -> Result<Self> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        if format == Format::Pcapng && terminal {
            anyhow::bail!("-o pcapng writes packets; send it to a file or to wireshark -k -i -");
        }
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let buffer = || BufWriter::with_capacity(1 << 16, io::stdout());
        Ok(Self {
            format,
            out: buffer(),
            line: Vec::with_capacity(2_048),
            text: String::new(),
            colour: terminal && !no_colour,
            rows: 0,
            packets: match format {
                Format::Pcapng => Some(pcap::Writer::new(buffer())?),
                _ => None,
            },
            interfaces: Vec::new(),
        })
    }

    /// True where further samples of one packet are left out: for people they are noise, and the
    /// summary counts them.
    pub(crate) fn hides_doubles(&self) -> bool {
        !matches!(self.format, Format::Json)
    }

    /// Shows one.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn show(&mut self, decision: &Decision<'_>) -> Result<()> {
        if self.format == Format::Pcapng {
            return self.packet(decision);
        }
        self.render(decision)?;
        self.out.write_all(&self.line)?;
        Ok(())
    }

    /// What [`Output::show`] would write; not for packets, which depend on each other.
    ///
    /// # Errors
    /// If a decision cannot be written as JSON.
    pub(crate) fn render(&mut self, decision: &Decision<'_>) -> Result<&[u8]> {
        self.line.clear();
        if self.format == Format::Json {
            decision.write_json(&mut self.line);
            self.line.push(b'\n');
        } else {
            self.text.clear();
            match self.format {
                Format::Table => table(&mut self.text, decision, self.rows, self.colour)?,
                Format::Dict => dict(&mut self.text, decision)?,
                _ => compact(&mut self.text, decision, self.colour)?,
            }
            self.line.extend_from_slice(self.text.as_bytes());
        }
        self.rows += 1;
        Ok(&self.line)
    }

    /// Writes what [`Output::render`] gave.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn write(&mut self, rendered: &[u8]) -> Result<()> {
        Ok(self.out.write_all(rendered)?)
    }

    /// Lets what was shown be seen.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        match &mut self.packets {
            Some(packets) => packets.flush()?,
            None => self.out.flush()?,
        }
        Ok(())
    }

    fn packet(&mut self, decision: &Decision<'_>) -> Result<()> {
        let Some(packets) = &mut self.packets else {
            return Ok(());
        };
        let known = self
            .interfaces
            .iter()
            .find(|(zone, _)| zone == decision.zone);
        let interface = match known {
            Some((_, interface)) => *interface,
            None => {
                let link = pcap::LinkType::ETHERNET;
                let interface = packets.interface(link, Some(decision.zone), decision.node)?;
                self.interfaces.push((decision.zone.to_owned(), interface));
                interface
            }
        };
        self.text.clear();
        self.text.push_str(decision.message());
        if let Some(index) = rule_index(decision) {
            write!(self.text, ", rule {index}")?;
        }
        packets.packet(
            interface,
            decision.time,
            decision.data,
            decision.length,
            Some(&self.text),
        )?;
        Ok(())
    }
}

/// The sentence, with the number of the rule that decided.
pub(crate) fn sentence(decision: &Decision<'_>) -> String {
    match rule_index(decision) {
        Some(index) => format!("{}, rule {index}", decision.message()),
        None => decision.message().to_owned(),
    }
}

/// Which rule of its policy decided.
fn rule_index(decision: &Decision<'_>) -> Option<u32> {
    decision.acl?.acl().owner.rule.index
}

fn compact(out: &mut String, decision: &Decision<'_>, colour: bool) -> std::fmt::Result {
    write!(out, "{} ", Clock(decision.time))?;
    if let Some(node) = decision.node {
        write!(out, "[{node}] ")?;
    }
    write!(
        out,
        "{} -> {} {}",
        Name(&decision.src),
        Name(&decision.dst),
        Protocol(decision)
    )?;
    if decision.reply == Some(true) {
        out.push_str(" reply");
    }
    if let Some(service) = decision.service {
        let namespace = service.namespace.as_deref().unwrap_or_default();
        write!(out, " via svc/{namespace}/{}", service.name)?;
    }
    let (on, off) = paint(decision.verdict, colour);
    write!(out, "  {on}{}{off}", decision.message())?;
    if let Some(index) = rule_index(decision) {
        write!(out, ", rule {index}")?;
    }
    if decision.is_ambiguous() {
        write!(
            out,
            " (one of {} policies that share a sample id)",
            decision.candidates.total()
        )?;
    } else if decision.deleted {
        out.push_str(" (deleted since)");
    }
    out.push('\n');
    Ok(())
}

fn table(out: &mut String, decision: &Decision<'_>, row: u64, colour: bool) -> std::fmt::Result {
    if row == 0 {
        writeln!(
            out,
            "{:<15}  {:<14}  {:<32}  {:<32}  {:<10}  {:<9}  POLICY",
            "TIME", "NODE", "SOURCE", "DESTINATION", "PROTOCOL", "VERDICT"
        )?;
    }
    let (on, off) = paint(decision.verdict, colour);
    let mut cell = |width: usize, text: std::fmt::Arguments<'_>| -> std::fmt::Result {
        let from = out.len();
        out.write_fmt(text)?;
        let used = out[from..].chars().count();
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(used) + 2));
        Ok(())
    };
    cell(15, format_args!("{}", Clock(decision.time)))?;
    cell(14, format_args!("{}", decision.node.unwrap_or("-")))?;
    cell(32, format_args!("{}", Name(&decision.src)))?;
    cell(32, format_args!("{}", Name(&decision.dst)))?;
    cell(10, format_args!("{}", Protocol(decision)))?;
    let verdict = decision.verdict.as_str().to_uppercase();
    write!(out, "{on}{verdict}{off}")?;
    out.extend(std::iter::repeat_n(
        ' ',
        11_usize.saturating_sub(verdict.len()),
    ));
    match decision.acl.map(|row| &row.acl().owner) {
        Some(owner) => {
            let kind = owner.kind.as_str();
            let namespace = owner.namespace.as_deref().unwrap_or_default();
            let name = owner.name.as_deref().unwrap_or_default();
            let slash = if namespace.is_empty() || name.is_empty() {
                ""
            } else {
                "/"
            };
            write!(out, "{kind} {namespace}{slash}{name}")?;
            if let Some(direction) = owner.direction {
                write!(out, " {}", direction.as_str())?;
            }
            if let Some(index) = owner.rule.index {
                write!(out, " rule {index}")?;
            }
        }
        None => out.push_str(decision.message()),
    }
    out.push('\n');
    Ok(())
}

fn dict(out: &mut String, decision: &Decision<'_>) -> std::fmt::Result {
    let mut field = |name: &str, value: &dyn std::fmt::Display| -> std::fmt::Result {
        let from = out.len();
        write!(out, "{name:>12}: {value}")?;
        if out.len() == from + name.len().max(12) + 2 {
            out.truncate(from);
            return Ok(());
        }
        out.push('\n');
        Ok(())
    };
    field("TIMESTAMP", &decision.time)?;
    field("NODE", &decision.node.unwrap_or_default())?;
    field("NETWORK", &decision.network.unwrap_or_default())?;
    field("SOURCE", &Name(&decision.src))?;
    field("DESTINATION", &Name(&decision.dst))?;
    field("PROTOCOL", &Protocol(decision))?;
    match decision.reply {
        Some(true) => field("REPLY", &"yes")?,
        Some(false) => field("REPLY", &"no")?,
        None => field("REPLY", &"unknown")?,
    }
    if let Some(service) = decision.service {
        let namespace = service.namespace.as_deref().unwrap_or_default();
        field("SERVICE", &format_args!("{namespace}/{}", service.name))?;
    }
    field("VERDICT", &decision.verdict.as_str().to_uppercase())?;
    field("SUMMARY", &decision.message())?;
    if let Some(row) = decision.acl {
        let acl = row.acl();
        if let Some(index) = acl.owner.rule.index {
            field("RULE", &index)?;
        }
        field(
            "ACL",
            &format_args!(
                "{} tier {} priority {} {}",
                row.uuid,
                acl.tier,
                acl.priority,
                acl.action.as_str()
            ),
        )?;
        field("MATCH", &acl.matches)?;
        field("REVISION", &row.revision)?;
    }
    for candidate in decision.candidates.iter() {
        field("CANDIDATE", &candidate.message())?;
    }
    if let Some(cookie) = decision.cookie {
        field(
            "SAMPLE",
            &format_args!(
                "point {} domain {:#010x} {}",
                cookie.point,
                cookie.domain,
                decision
                    .app
                    .map_or("unknown application", |app| app.as_str())
            ),
        )?;
    }
    out.push('\n');
    Ok(())
}

fn paint(verdict: Verdict, colour: bool) -> (&'static str, &'static str) {
    if !colour {
        return ("", "");
    }
    let on = match verdict {
        Verdict::Allowed => "\x1b[32m",
        Verdict::Dropped | Verdict::Rejected => "\x1b[31m",
        Verdict::Delegated => "\x1b[36m",
        Verdict::Unknown => "\x1b[33m",
    };
    (on, "\x1b[0m")
}

/// The time of day with microseconds, UTC.
struct Clock(Timestamp);

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_rfc3339();
        f.write_str(text.as_str().get(11..26).unwrap_or_default())
    }
}

/// An end as `namespace/pod:port`, `node/name`, `svc/namespace/name:port` or an address.
pub(crate) struct Name<'a>(pub(crate) &'a End<'a>);

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let End { ip, port, endpoint } = self.0;
        let named = endpoint.filter(|endpoint| endpoint.kind != EndpointKind::External);
        match (named, ip) {
            (
                Some(Endpoint {
                    kind,
                    namespace,
                    name,
                    ..
                }),
                _,
            ) => {
                let name = name.as_deref().unwrap_or_default();
                let namespace = namespace.as_deref().unwrap_or_default();
                match kind {
                    EndpointKind::Pod => write!(f, "{namespace}/{name}")?,
                    EndpointKind::Service if namespace.is_empty() => write!(f, "svc/{name}")?,
                    EndpointKind::Service => write!(f, "svc/{namespace}/{name}")?,
                    EndpointKind::Port => f.write_str(name)?,
                    kind => write!(f, "{}/{name}", kind.as_str())?,
                }
            }
            (None, Some(ip)) if port.is_some() && ip.is_ipv6() => write!(f, "[{ip}]")?,
            (None, Some(ip)) => write!(f, "{ip}")?,
            (None, None) => f.write_str("?")?,
        }
        match port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// The protocol, with TCP flags or the ICMP type.
pub(crate) struct Protocol<'a>(pub(crate) &'a Decision<'a>);

impl std::fmt::Display for Protocol<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let headers = &self.0.headers;
        match headers.protocol {
            Some(number) => match protocol_name(number) {
                Some(name) => f.write_str(name)?,
                None => write!(f, "ip proto {number}")?,
            },
            None => f.write_str("?")?,
        }
        if let Some(flags) = headers.tcp_flags {
            write!(f, " {flags}")?;
        }
        if let Some(icmp) = headers.icmp {
            write!(f, " {}/{}", icmp.kind, icmp.code)?;
        }
        Ok(())
    }
}

/// Lines of columns or of JSON on standard output.
pub(crate) struct Lines {
    out: BufWriter<Stdout>,
}

impl Lines {
    pub(crate) fn new() -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
        }
    }

    /// A line of columns, each at least so wide.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn write(&mut self, cells: &[(&str, usize)]) -> Result<()> {
        let mut line = String::new();
        for (text, width) in cells {
            write!(line, "{text:<width$}  ")?;
        }
        line.truncate(line.trim_end().len());
        Ok(writeln!(self.out, "{line}")?)
    }

    /// A JSON object on a line.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn json(&mut self, row: &impl serde::Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.out, row)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// Lets it be seen.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// An answer of groups on standard output: columns under a heading, or JSON.
///
/// # Errors
/// If standard output cannot be written.
pub(crate) fn groups(groups: &Groups, answer: &Answer, json: bool) -> Result<()> {
    let kinds = groups.kinds();
    let mut out = BufWriter::new(io::stdout());
    if json {
        for line in &answer.lines {
            let cells = answer.columns.iter().zip(line).zip(&kinds);
            let object: serde_json::Map<_, _> = cells
                .map(|((name, cell), kind)| (name.clone(), json_cell(cell, *kind)))
                .collect();
            serde_json::to_writer(&mut out, &object)?;
            out.write_all(b"\n")?;
        }
        return Ok(out.flush()?);
    }
    let heading: Vec<_> = answer.columns.iter().map(|it| it.to_uppercase()).collect();
    let lines = answer.lines.iter().map(|line| {
        let cells = line.iter().zip(&kinds);
        let text = |(cell, kind): (&Cell, &Kind)| match cell {
            Cell::Missing => "-".to_owned(),
            cell => cell.text(*kind).replace(char::is_control, " "),
        };
        cells.map(text).collect()
    });
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(lines).collect();
    print_columns(&mut out, &rows)?;
    Ok(out.flush()?)
}

/// Numbers are numbers, what is missing is null, all else text as queries write it.
fn json_cell(cell: &Cell, kind: Kind) -> serde_json::Value {
    match (cell, kind) {
        (Cell::Missing, _) => serde_json::Value::Null,
        (Cell::Bool(truth), _) => (*truth).into(),
        (Cell::Number(number), Kind::Number { .. }) => (*number).into(),
        (cell, kind) => cell.text(kind).into(),
    }
}

/// Lines under a heading, each column as wide as its longest value.
///
/// # Errors
/// If the output cannot be written.
pub(crate) fn print_columns(out: &mut impl Write, rows: &[impl AsRef<[String]>]) -> io::Result<()> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.as_ref().len()), 0);
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row.as_ref()) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
