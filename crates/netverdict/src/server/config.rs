//! What a server is told: options, and a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netverdict_server::{Access, AccessFiles, Kubernetes, Security, TlsFiles};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::databases::Databases;
use crate::session::{Inputs, state_directory};
use crate::sources::Spec;

/// What a server is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) store: Option<String>,
    pub(crate) keep: Keep,
    pub(crate) inputs: Inputs,
    pub(crate) databases: Databases,
    pub(crate) limits: Limits,
    pub(crate) flow: Flow,
    pub(crate) tls: Option<Tls>,
    pub(crate) access: AccessFile,
    pub(crate) collect: Option<Collect>,
}

/// The file, as people write it; docs/server.md tells of each field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    listen: Option<SocketAddr>,
    data: Option<PathBuf>,
    store: Option<String>,
    source: Vec<String>,
    nb: Vec<String>,
    sb: Vec<String>,
    ovs: Vec<String>,
    private_key: Option<PathBuf>,
    certificate: Option<PathBuf>,
    ca_cert: Option<PathBuf>,
    manifests: Vec<PathBuf>,
    kubeconfig: Option<String>,
    state: Option<PathBuf>,
    keep: Keep,
    limits: Limits,
    flow: Flow,
    tls: Option<Tls>,
    access: AccessFile,
    collect: Option<Collect>,
}

/// How agents report.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Collect {
    /// Who may, where it is known who asks.
    pub(crate) agents: Vec<String>,
    keep_seconds: u32,
}

impl Default for Collect {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            keep_seconds: 10,
        }
    }
}

impl Collect {
    /// How often what came of reports is given to the store.
    pub(crate) fn every(&self) -> Duration {
        Duration::from_secs(u64::from(self.keep_seconds))
    }
}

/// What the server proves itself with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// Who may ask.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessFile {
    tokens: Option<PathBuf>,
    roles: Option<PathBuf>,
    /// Whether the cluster of `kubeconfig` knows further tokens.
    kubernetes: bool,
    /// For whom its tokens must be; for the API server itself if nobody is named.
    audiences: Vec<String>,
    audit: Option<PathBuf>,
    requests_per_second: Option<u32>,
}

/// Requests a second of one who asks, if nobody says otherwise.
const REQUESTS: u32 = 200;

/// How long connections are kept: as long as both allow.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keep {
    /// By their end.
    pub(crate) days: Option<u32>,
    /// On disk; the oldest go first.
    pub(crate) gigabytes: Option<u64>,
}

/// How much may be asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    body_bytes: usize,
    page_rows: usize,
    groups: usize,
    range_days: u32,
    queries: usize,
    query_seconds: u64,
    wait_seconds: u64,
    streams: usize,
    export_rows: u64,
    /// Updates that are kept for those who read the live stream.
    #[serde(rename = "live_updates")]
    pub(crate) live: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = netverdict_server::Limits::default();
        Self {
            body_bytes: limits.body,
            page_rows: limits.page,
            groups: limits.groups,
            range_days: u32::try_from(limits.range / DAY).unwrap_or(u32::MAX),
            queries: limits.queries,
            query_seconds: limits.timeout.as_secs(),
            wait_seconds: limits.patience.as_secs(),
            streams: limits.streams,
            export_rows: limits.export,
            live: 65_536,
        }
    }
}

const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLISECOND;
const DAY: i64 = 86_400 * SECOND;

impl Limits {
    /// The same for the server.
    pub(crate) fn server(&self) -> netverdict_server::Limits {
        netverdict_server::Limits {
            body: self.body_bytes,
            page: self.page_rows,
            groups: self.groups,
            range: i64::from(self.range_days).saturating_mul(DAY),
            queries: self.queries,
            patience: Duration::from_secs(self.wait_seconds),
            timeout: Duration::from_secs(self.query_seconds),
            streams: self.streams,
            export: self.export_rows,
        }
    }
}

/// How connections are made of decisions.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Flow {
    connections: usize,
    window_milliseconds: u32,
    skew_milliseconds: u32,
    interval_seconds: u32,
    idle_seconds: u32,
    linger_seconds: u32,
}

impl Default for Flow {
    fn default() -> Self {
        let limits = netverdict_flow::Limits::default();
        let seconds = |nanos: i64| u32::try_from(nanos / SECOND).unwrap_or(u32::MAX);
        Self {
            connections: limits.connections,
            // Its own sources tell by one clock and at once.
            window_milliseconds: 2_000,
            skew_milliseconds: 1_000,
            interval_seconds: seconds(limits.interval),
            idle_seconds: seconds(limits.idle),
            linger_seconds: seconds(limits.linger),
        }
    }
}

impl Flow {
    /// The same for the making of connections.
    pub(crate) fn limits(&self) -> netverdict_flow::Limits {
        netverdict_flow::Limits {
            connections: self.connections,
            window: i64::from(self.window_milliseconds) * MILLISECOND,
            skew: i64::from(self.skew_milliseconds) * MILLISECOND,
            interval: i64::from(self.interval_seconds) * SECOND,
            idle: i64::from(self.idle_seconds) * SECOND,
            linger: i64::from(self.linger_seconds) * SECOND,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or says something that makes no sense.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let sources = file.source.iter().map(|source| {
            let spec: Result<Spec, String> = source.parse();
            spec.map_err(|error| anyhow::anyhow!("source: {error}"))
        });
        let remotes = |name: &str, all: &[String]| {
            let all = all.iter().map(|one| one.parse());
            let all: std::result::Result<Vec<_>, _> = all.collect();
            all.with_context(|| name.to_owned())
        };
        let cluster = file.kubeconfig.as_deref().map(str::parse).transpose();
        let mut databases = Databases {
            nb: remotes("nb", &file.nb)?,
            sb: remotes("sb", &file.sb)?,
            ovs: remotes("ovs", &file.ovs)?,
            ..Databases::default()
        };
        databases.tls.private_key = file.private_key;
        databases.tls.certificate = file.certificate;
        databases.tls.ca_cert = file.ca_cert;
        Ok(Self {
            listen: file.listen,
            data: file.data,
            store: file.store,
            keep: file.keep,
            inputs: Inputs {
                source: sources.collect::<Result<_>>()?,
                manifests: file.manifests,
                kubeconfig: cluster.map_err(|error| anyhow::anyhow!("kubeconfig: {error}"))?,
                state: file.state,
                // A log is followed as all others are.
                follow: true,
                ..Inputs::default()
            },
            databases,
            limits: file.limits,
            flow: file.flow,
            tls: file.tls,
            access: file.access,
            collect: file.collect,
        })
    }

    /// What stands between the server and those who ask it, where `runtime` will run it.
    ///
    /// # Errors
    /// If a file cannot be read, or makes no sense.
    pub(crate) fn security(&self, runtime: &Runtime) -> Result<Security> {
        let tls = self.tls.clone().map(|tls| {
            netverdict_server::Tls::new(TlsFiles {
                certificate: tls.certificate,
                private_key: tls.private_key,
                client_ca: tls.client_ca,
            })
        });
        let AccessFile {
            tokens,
            roles,
            kubernetes,
            audiences,
            audit,
            requests_per_second,
        } = self.access.clone();
        if !kubernetes && !audiences.is_empty() {
            bail!("access.audiences is for tokens of Kubernetes: set access.kubernetes too");
        }
        let kubernetes = kubernetes.then(|| {
            let cluster = self.inputs.kubeconfig.clone();
            let cluster = cluster.context("access.kubernetes needs a kubeconfig")?;
            let client = runtime.block_on(cluster.client())?;
            anyhow::Ok(Kubernetes::new(client, audiences))
        });
        let kubernetes = kubernetes.transpose()?;
        let files = AccessFiles {
            tokens,
            roles,
            audit,
        };
        let requests = requests_per_second.unwrap_or(REQUESTS);
        Ok(Security {
            tls: tls.transpose()?,
            access: Access::new(files, kubernetes, Some(requests))?,
        })
    }

    /// Where what is needed after a restart is written, if anywhere.
    pub(crate) fn state_directory(&self) -> Option<PathBuf> {
        let keeps = self.data.is_some() || self.store.is_some();
        let asked = (keeps && !self.inputs.no_state) || self.inputs.state.is_some();
        asked
            .then(|| state_directory(self.inputs.state.as_deref()))
            .flatten()
    }

    /// Options go before what the file says; lists replace lists.
    pub(crate) fn options(&mut self, options: super::Server) {
        let super::Server {
            config: _,
            listen,
            data,
            demo: _,
            stage: _,
            collect,
            inputs,
            databases,
        } = options;
        self.listen = listen.or(self.listen);
        self.data = data.or(self.data.take());
        let ours = &mut self.inputs;
        replace(&mut ours.source, inputs.source);
        replace(&mut ours.manifests, inputs.manifests);
        ours.kubeconfig = inputs.kubeconfig.or(ours.kubeconfig.take());
        ours.no_state |= inputs.no_state;
        // The past of the policies lies beside the connections that they judged.
        let beside = self.data.as_ref().map(|data| data.join("state"));
        ours.state = inputs.state.or(ours.state.take()).or(beside);
        ours.pace |= inputs.pace;
        ours.follow = true;
        if collect && self.collect.is_none() {
            self.collect = Some(Collect::default());
        }
        ours.may_be_none = self.collect.is_some();
        let ours = &mut self.databases;
        replace(&mut ours.nb, databases.nb);
        replace(&mut ours.sb, databases.sb);
        replace(&mut ours.ovs, databases.ovs);
        if databases.tls.private_key.is_some() {
            ours.tls = databases.tls;
        }
    }
}

fn replace<T>(ours: &mut Vec<T>, theirs: Vec<T>) {
    if !theirs.is_empty() {
        *ours = theirs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole() {
        let config = Config::parse(
            r#"
            listen = "127.0.0.1:9000"
            data = "/var/lib/netverdict/connections"
            source = ["ipfix:0.0.0.0:4739@a", "psample:10"]
            nb = ["unix:/run/ovn/ovnnb_db.sock"]
            sb = ["ssl:db:6642"]
            [keep]
            days = 30
            [limits]
            page_rows = 50
            range_days = 7
            [flow]
            window_milliseconds = 5000
            [tls]
            certificate = "/etc/netverdict/tls.crt"
            private_key = "/etc/netverdict/tls.key"
            client_ca = "/etc/netverdict/ca.crt"
            [access]
            requests_per_second = 5
            "#,
        )
        .unwrap();
        assert_eq!(config.inputs.source.len(), 2);
        assert_eq!(config.databases.nb.len(), 1);
        assert_eq!(config.keep.days, Some(30));
        let limits = config.limits.server();
        assert_eq!((limits.page, limits.range), (50, 7 * DAY));
        assert_eq!(limits.body, netverdict_server::Limits::default().body);
        assert_eq!(config.flow.limits().window, 5 * SECOND);
        let error = insecure(&config);
        assert!(error.contains("/etc/netverdict/tls.crt"), "{error}");
    }

    fn insecure(config: &Config) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let error = config.security(&runtime.unwrap()).err().unwrap();
        format!("{error:#}")
    }

    #[test]
    fn kubernetes_must_be_told_which() {
        for (text, named) in [
            ("[access]\nkubernetes = true", "kubeconfig"),
            ("[access]\naudiences = [\"a\"]", "access.kubernetes"),
            (
                "kubeconfig = \"/nowhere\"\n[access]\nkubernetes = true",
                "/nowhere",
            ),
        ] {
            let error = insecure(&Config::parse(text).unwrap());
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn the_past_lies_beside_the_connections() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            server: super::super::Server,
        }
        let state = |options: &[&str]| {
            let line = <Line as clap::Parser>::try_parse_from([&["server"], options].concat());
            let mut config = Config::default();
            config.options(line.unwrap().server);
            config.inputs.state
        };
        assert_eq!(state(&[]), None);
        assert_eq!(state(&["--data", "/d"]), Some("/d/state".into()));
        assert_eq!(state(&["--data", "/d", "--state", "/s"]), Some("/s".into()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, named) in [
            ("colour = 1", "colour"),
            ("listen = \"here\"", "listen"),
            ("source = [\"psmple\"]", "psmple"),
            ("[limits]\nrows = 1", "rows"),
            ("nb = [\"ssl:x:y\"]", "nb"),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
