//! What a netverdict server tells: `--source server:URL`.

mod credentials;

use std::io::{BufRead, BufReader, IsTerminal, Read, stdout};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use netverdict_query::moment;
use netverdict_types::{End, Endpoint, Owner, Service, Timestamp, Verdict, protocol_name};
use serde_json::Value;
use ureq::RequestBuilder;
use ureq::typestate::WithoutBody;

use crate::exit::{Done, Usage, tell};
use crate::output::{Lines, print_columns};
use crate::sources::{Kind, Spec};

pub(crate) use credentials::Credentials;

/// A server, as `--source` names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url(String);

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim_end_matches('/');
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(format!(
                "{text:?} is no server, as in server:http://127.0.0.1:8480"
            )),
        }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The server among the sources of a command, which must then be the only one.
///
/// # Errors
/// [`Usage`] where there are others beside it; if a file of the credentials cannot be used.
pub(crate) fn server(sources: &[Spec], credentials: &Credentials) -> Result<Option<Client>> {
    let servers = sources.iter().filter_map(|spec| match &spec.kind {
        Kind::Server(url) => Some(url),
        _ => None,
    });
    match (servers.clone().count(), sources.len()) {
        (0, _) => Ok(None),
        (1, 1) => servers
            .into_iter()
            .next()
            .map(|url| Client::new(url, credentials))
            .transpose(),
        _ => {
            let text = "a server is asked alone: give no other source beside it";
            Err(Usage(text.to_owned()).into())
        }
    }
}

/// Which connections of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// A query.
    pub(crate) query: String,
    /// See the server's parameters.
    pub(crate) since: Option<String>,
    /// See the server's parameters.
    pub(crate) until: Option<String>,
}

impl Wanted {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if !self.query.is_empty() {
            all.push(("q", self.query.clone()));
        }
        all.extend(self.since.clone().map(|time| ("since", time)));
        all.extend(self.until.clone().map(|time| ("until", time)));
        all
    }
}

/// Asks a server.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: Url,
    credentials: Credentials,
}

/// How long a server may take to begin with its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows that are asked for at once.
const PAGE: usize = 500;

impl Client {
    fn new(url: &Url, credentials: &Credentials) -> Result<Self> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(credentials.tls()?)
            // No server of ours sends anybody elsewhere, and what is shown to it is for it alone.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(PATIENCE))
            .user_agent(concat!("netverdict/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self {
            agent: config.into(),
            url: url.clone(),
            credentials: credentials.clone(),
        })
    }

    /// Which server.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Hands over connections, the newest first, until there are no more or `take` has enough.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses, and what `take` says.
    pub(crate) fn connections(
        &self,
        wanted: &Wanted,
        mut take: impl FnMut(Value) -> Result<bool>,
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let mut parameters = wanted.parameters();
            parameters.push(("limit", PAGE.to_string()));
            parameters.extend(after.map(|after| ("after", after)));
            let mut page = self.json("connections", parameters)?;
            let items = page.get_mut("items").map(Value::take);
            let Some(Value::Array(items)) = items else {
                bail!("{}: this is no answer of a netverdict server", self.url);
            };
            for item in items {
                if !take(item)? {
                    return Ok(());
                }
            }
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Hands over updates of connections as they come, for ever; what is lost is told.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses at first, and what `take` says.
    pub(crate) fn live(
        &self,
        wanted: &Wanted,
        mut take: impl FnMut(&str) -> Result<()>,
    ) -> Result<()> {
        let mut last = String::new();
        let mut stream = self.stream(wanted, &last)?;
        let mut pause = PAUSE[0];
        loop {
            let ended = read_events(&mut stream, &mut last, &mut |kind, data| {
                pause = PAUSE[0];
                match kind {
                    "connection" => take(data),
                    "lost" => {
                        let lost: Value = serde_json::from_str(data).unwrap_or_default();
                        match lost.get("updates").and_then(Value::as_u64) {
                            Some(count) => tell(format_args!("{count} updates were lost")),
                            None => tell("the server was started anew; updates may be missing"),
                        }
                        Ok(())
                    }
                    _ => Ok(()),
                }
            });
            let reason = match ended {
                Ok(()) => "the stream ended".to_owned(),
                Err(Ended::Taker(error)) => return Err(error),
                Err(Ended::Stream(error)) => error.to_string(),
            };
            tell(format_args!("{}: {reason}; again in {pause:?}", self.url));
            stream = loop {
                // A server that was gone is back at some time, and nothing tells when.
                let _ = crossbeam_channel::after(pause).recv();
                pause = (2 * pause).min(PAUSE[1]);
                match self.stream(wanted, &last) {
                    Ok(stream) => break stream,
                    Err(error) if error.is::<Refused>() => return Err(error),
                    Err(error) => tell(format_args!("{error:#}; again in {pause:?}")),
                }
            };
        }
    }

    fn stream(&self, wanted: &Wanted, last: &str) -> Result<impl BufRead + use<>> {
        let parameters = wanted.parameters();
        let parameters = parameters.into_iter().filter(|(name, _)| *name == "q");
        let mut request = self.request("live")?.query_pairs(parameters);
        if !last.is_empty() {
            request = request.header("last-event-id", last);
        }
        let response = request.call().with_context(|| self.url.to_string())?;
        Ok(BufReader::new(self.checked(response)?.into_reader()))
    }

    fn json(&self, path: &str, parameters: Vec<(&'static str, String)>) -> Result<Value> {
        let request = self.request(path)?.query_pairs(parameters);
        let response = request.call().with_context(|| self.url.to_string())?;
        let body = self.checked(response)?.into_reader();
        serde_json::from_reader(BufReader::new(body))
            .with_context(|| format!("{}: this is no answer of a netverdict server", self.url))
    }

    fn request(&self, path: &str) -> Result<RequestBuilder<WithoutBody>> {
        let request = self.agent.get(format!("{}/api/v1/{path}", self.url));
        Ok(match self.credentials.token(&self.url)? {
            Some(token) => request.header("authorization", token.bearer()),
            None => request,
        })
    }

    /// The body of a good answer.
    fn checked(&self, response: ureq::http::Response<ureq::Body>) -> Result<ureq::Body> {
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let mut text = String::new();
        // What cannot be read is not shown.
        let _ = response
            .into_body()
            .into_reader()
            .take(1 << 16)
            .read_to_string(&mut text);
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = |name: &str| problem.get(name).and_then(Value::as_str);
        let said = said("report").or_else(|| said("detail"));
        let said = said.map_or_else(|| status.to_string(), str::to_owned);
        let what = match (status.as_u16(), self.credentials.token(&self.url)?) {
            (401, None) => {
                format!("{said} (as --server-token-file or NETVERDICT_TOKEN)")
            }
            (401, Some(_)) => format!("the server does not take this token: {said}"),
            (403, _) => said,
            _ => bail!("{}: {said}", self.url),
        };
        let url = self.url.clone();
        Err(Refused { url, what }.into())
    }
}

/// A server that does not tell us: to ask again does not help.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {what}")]
struct Refused {
    url: Url,
    what: String,
}

/// How long to wait before another attempt; each time twice as long, up to the greatest.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

/// Why a stream is read no more.
enum Ended {
    Stream(std::io::Error),
    Taker(anyhow::Error),
}

/// Reads server-sent events (HTML standard, section 9.2.6), as this server writes them.
fn read_events(
    stream: &mut impl BufRead,
    last: &mut String,
    take: &mut impl FnMut(&str, &str) -> Result<()>,
) -> std::result::Result<(), Ended> {
    let (mut line, mut kind, mut data) = (String::new(), String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).map_err(Ended::Stream)? == 0 {
            return Ok(());
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            if !data.is_empty() {
                take(&kind, &data).map_err(Ended::Taker)?;
            }
            kind.clear();
            data.clear();
            continue;
        }
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(last),
            "event" => value.clone_into(&mut kind),
            "data" => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            _ => {}
        }
    }
}

/// How connections are shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// A line for people.
    Compact,
    /// Columns under a heading.
    Table,
    /// One JSON object a line (docs/connection.schema.json).
    Json,
}

/// Shows connections of a server: those that come, or recorded ones, oldest first.
///
/// # Errors
/// As [`Client`]'s, and if standard output cannot be written.
pub(crate) fn show(
    client: &Client,
    wanted: &Wanted,
    last: Option<usize>,
    follow: bool,
    form: Form,
) -> Result<Done> {
    let mut shown = Shown::new(form)?;
    let is_recorded = last.is_some() || wanted.since.is_some() || wanted.until.is_some();
    if is_recorded {
        let mut kept = Vec::new();
        let most = last.unwrap_or(usize::MAX);
        if most > 0 {
            client.connections(wanted, |connection| {
                kept.push(connection);
                Ok(kept.len() < most)
            })?;
        }
        for connection in kept.iter().rev() {
            shown.show(connection)?;
        }
        shown.flush()?;
    }
    if follow || !is_recorded {
        // Each line is written whole and at once, so that nothing is lost by this.
        ctrlc::set_handler(|| std::process::exit(0)).context("cannot wait for signals")?;
        client.live(wanted, |json| {
            match form {
                Form::Json => shown.raw(json)?,
                _ => shown.show(&serde_json::from_str(json)?)?,
            }
            shown.flush()
        })?;
    }
    Ok(Done::Ok)
}

/// Shows what a server's connections come to.
///
/// # Errors
/// As [`Client`]'s, and if standard output cannot be written.
pub(crate) fn groups(client: &Client, wanted: &Wanted, form: Form) -> Result<Done> {
    let url = client.url();
    let answer = client.json("aggregates", wanted.parameters())?;
    let list = |name: &str| answer.get(name).and_then(Value::as_array);
    let (Some(columns), Some(lines)) = (list("columns"), list("lines")) else {
        bail!("{url}: this is no answer of a netverdict server");
    };
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let lines = lines.iter().filter_map(Value::as_array);
    match form {
        Form::Json => {
            let mut out = Lines::new();
            for line in lines {
                let named = columns.iter().map(&text).zip(line.iter().cloned());
                out.json(&named.collect::<serde_json::Map<_, _>>())?;
            }
            out.flush()?;
        }
        Form::Compact | Form::Table => {
            let heading: Vec<String> = columns.iter().map(&text).collect();
            let rows = lines.map(|line| line.iter().map(&text).collect());
            let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
            print_columns(&mut stdout().lock(), &rows)?;
        }
    }
    Ok(Done::Ok)
}

/// Connections on standard output.
struct Shown {
    form: Form,
    lines: Lines,
    colour: bool,
}

impl Shown {
    fn new(form: Form) -> Result<Self> {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let mut lines = Lines::new();
        if form == Form::Table {
            lines.write(&[
                ("LAST SEEN", 30),
                ("VERDICT", 9),
                ("CLIENT", 36),
                ("SERVER", 36),
                ("PROTOCOL", 9),
                ("PACKETS", 9),
                ("POLICY", 0),
            ])?;
        }
        Ok(Self {
            form,
            lines,
            colour: stdout().is_terminal() && !no_colour,
        })
    }

    fn show(&mut self, connection: &Value) -> Result<()> {
        let text = |name: &str| connection.get(name).and_then(Value::as_str).unwrap_or("-");
        match self.form {
            Form::Json => self.lines.json(connection),
            Form::Table => self.lines.write(&[
                (text("end"), 30),
                (text("verdict"), 9),
                (&end(connection, "src"), 36),
                (&end(connection, "dst"), 36),
                (&protocol(connection), 9),
                (&packets(connection), 9),
                (text("message"), 0),
            ]),
            Form::Compact => {
                let verdict = text("verdict");
                let (on, off) = match (self.colour, verdict) {
                    (true, "dropped" | "rejected") => ("\u{1b}[31m", "\u{1b}[0m"),
                    (true, "allowed") => ("\u{1b}[32m", "\u{1b}[0m"),
                    _ => ("", ""),
                };
                let line = format!(
                    "{} {on}{verdict}{off} {} -> {}{} {}: {}",
                    text("end"),
                    end(connection, "src"),
                    end(connection, "dst"),
                    service(connection),
                    protocol(connection),
                    text("message"),
                );
                self.raw(&line)
            }
        }
    }

    fn raw(&mut self, line: &str) -> Result<()> {
        self.lines.write(&[(line, 0)])
    }

    fn flush(&mut self) -> Result<()> {
        self.lines.flush()
    }
}

/// An end as people name it, with its port.
fn end(connection: &Value, which: &str) -> String {
    let end = connection.get(which);
    let part = |name: &str| end.and_then(|end| end.get(name));
    let text = |name: &str| part(name).and_then(Value::as_str);
    let mut shown = match (text("namespace"), text("pod").or_else(|| text("name"))) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (None, Some(name)) => name.to_owned(),
        _ => text("ip").unwrap_or("-").to_owned(),
    };
    if let Some(port) = part("port").and_then(Value::as_u64) {
        shown.push_str(&format!(":{port}"));
    }
    shown
}

fn service(connection: &Value) -> String {
    let Some(service) = connection.get("service") else {
        return String::new();
    };
    let text = |name: &str| service.get(name).and_then(Value::as_str);
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!(" (svc/{namespace}/{name})"),
        (None, Some(name)) => format!(" ({name})"),
        _ => String::new(),
    }
}

fn protocol(connection: &Value) -> String {
    match connection.get("protocol") {
        Some(Value::String(name)) => name.clone(),
        Some(number) => number.to_string(),
        None => "-".to_owned(),
    }
}

/// All packets that were seen of it.
fn packets(connection: &Value) -> String {
    let counts = connection.get("counts").and_then(Value::as_array);
    let counts = counts.into_iter().flatten();
    let parts = counts.flat_map(|counts| {
        ["original", "reply", "dropped"].map(|part| counts[part]["packets"].as_u64().unwrap_or(0))
    });
    parts.sum::<u64>().to_string()
}

/// A connection, as far as others than people want to know of it.
pub(crate) struct Told {
    pub(crate) verdict: Verdict,
    pub(crate) message: String,
    pub(crate) src: Place,
    pub(crate) dst: Place,
    pub(crate) service: Option<Service>,
    pub(crate) protocol: Option<u8>,
    /// Packets that were dropped.
    pub(crate) dropped: u64,
    pub(crate) end: Timestamp,
    /// Where it was decided, and by whom.
    pub(crate) node: Option<String>,
    pub(crate) owner: Option<Owner>,
}

/// An end of a connection.
pub(crate) struct Place {
    ip: Option<IpAddr>,
    port: Option<u16>,
    endpoint: Option<Endpoint>,
}

impl Place {
    pub(crate) fn end(&self) -> End<'_> {
        End {
            ip: self.ip,
            port: self.port,
            endpoint: self.endpoint.as_ref(),
        }
    }

    fn read(end: Option<&Value>) -> Self {
        let part = |name: &str| end.and_then(|end| end.get(name));
        let text = |name: &str| part(name).and_then(Value::as_str).map(str::to_owned);
        let kind = part("kind").and_then(|kind| serde_json::from_value(kind.clone()).ok());
        Self {
            ip: address(part("ip")),
            port: port(part("port")),
            endpoint: kind.map(|kind| Endpoint {
                kind,
                namespace: text("namespace"),
                name: text("pod").or_else(|| text("name")),
                node: text("node"),
            }),
        }
    }
}

impl Told {
    /// Reads what docs/connection.schema.json describes; `None` for what has no known verdict.
    pub(crate) fn read(connection: &Value) -> Option<Self> {
        let text = |name: &str| connection.get(name).and_then(Value::as_str);
        let verdict = text("verdict")?;
        let verdict = Verdict::ALL.into_iter().find(|it| it.as_str() == verdict)?;
        let halves = ["egress", "ingress"].map(|half| connection.get(half));
        let decided = halves.into_iter().flatten();
        let decided = decided.max_by_key(|half| {
            let said = half.get("verdict").and_then(Value::as_str);
            said == Some(verdict.as_str())
        });
        let part = |name: &str| decided.and_then(|half| half.get(name));
        let counts = connection.get("counts").and_then(Value::as_array);
        let counts = counts.into_iter().flatten();
        let protocol = match connection.get("protocol") {
            Some(Value::String(name)) => {
                (0..=u8::MAX).find(|number| protocol_name(*number) == Some(name))
            }
            Some(number) => number.as_u64().and_then(|number| number.try_into().ok()),
            None => None,
        };
        Some(Self {
            verdict,
            message: text("message").unwrap_or_default().to_owned(),
            src: Place::read(connection.get("src")),
            dst: Place::read(connection.get("dst")),
            service: connection.get("service").and_then(|service| {
                let text = |name: &str| service.get(name).and_then(Value::as_str);
                Some(Service {
                    namespace: text("namespace").map(str::to_owned),
                    name: text("name")?.to_owned(),
                    ip: address(service.get("ip"))?,
                    port: port(service.get("port")),
                    protocol: protocol?,
                    backends: Vec::new(),
                })
            }),
            protocol,
            dropped: counts
                .map(|counts| counts["dropped"]["packets"].as_u64().unwrap_or(0))
                .sum(),
            end: moment(text("end")?, Timestamp::MIN)?,
            node: part("node").and_then(Value::as_str).map(str::to_owned),
            owner: part("owner").and_then(|owner| serde_json::from_value(owner.clone()).ok()),
        })
    }
}

fn address(value: Option<&Value>) -> Option<IpAddr> {
    value?.as_str()?.parse().ok()
}

fn port(value: Option<&Value>) -> Option<u16> {
    value?.as_u64()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_write_them() {
        for text in ["http://127.0.0.1:8480", "https://verdicts.example/behind/"] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for text in ["", "127.0.0.1:8480", "http://", "ftp://a", "http://a?b"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_read_with_their_ids() {
        let text = "id: 1-0\nevent: connection\ndata: {\"a\":1}\n\n: pulse\n\nid: 1-5\n\nevent: lost\ndata: x\ndata: y\n\ndata: cut";
        let (mut last, mut found) = (String::new(), Vec::new());
        let ended = read_events(&mut text.as_bytes(), &mut last, &mut |kind, data| {
            found.push((kind.to_owned(), data.to_owned()));
            Ok(())
        });
        assert!(ended.is_ok());
        assert_eq!(last, "1-5");
        let pair = |kind: &str, data: &str| (kind.to_owned(), data.to_owned());
        assert_eq!(
            found,
            [pair("connection", "{\"a\":1}"), pair("lost", "x\ny")]
        );
    }
}
