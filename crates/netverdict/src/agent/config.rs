//! What an agent is told: a file, the environment, options; each goes before what stands before it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netverdict_agent::{SenderOptions, TlsFiles};
use serde::Deserialize;
use toml::{Table, Value};

use crate::databases::Databases;
use crate::exit::Usage;
use crate::session::{Inputs, state_directory};
use crate::sources::Spec;

/// What an agent is told.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: Option<SocketAddr>,
    /// None where it shall choose.
    pub(crate) source: Vec<Spec>,
    pub(crate) ipfix: SocketAddr,
    pub(crate) inputs: Inputs,
    pub(crate) databases: Databases,
    pub(crate) node: String,
    pub(crate) server: Option<SenderOptions>,
    pub(crate) spool: PathBuf,
    pub(crate) spool_bytes: u64,
    pub(crate) interval: Duration,
    pub(crate) file: Option<PathBuf>,
    pub(crate) stdout: bool,
}

/// The file, as people write it; docs/agent.md tells of each field.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    node: Option<String>,
    listen: String,
    source: Vec<String>,
    ipfix: SocketAddr,
    nb: Vec<String>,
    sb: Vec<String>,
    ovs: Vec<String>,
    private_key: Option<PathBuf>,
    certificate: Option<PathBuf>,
    ca_cert: Option<PathBuf>,
    manifests: Vec<PathBuf>,
    kubeconfig: Option<String>,
    state: Option<PathBuf>,
    report_milliseconds: u32,
    server: Server,
    spool: Spool,
    output: Output,
}

impl Default for File {
    fn default() -> Self {
        Self {
            node: None,
            listen: "127.0.0.1:8481".to_owned(),
            source: Vec::new(),
            ipfix: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4739),
            nb: Vec::new(),
            sb: Vec::new(),
            ovs: Vec::new(),
            private_key: None,
            certificate: None,
            ca_cert: None,
            manifests: Vec::new(),
            kubeconfig: None,
            state: None,
            report_milliseconds: 500,
            server: Server::default(),
            spool: Spool::default(),
            output: Output::default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    url: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    private_key: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Spool {
    directory: Option<PathBuf>,
    megabytes: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            directory: None,
            megabytes: 256,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Output {
    file: Option<PathBuf>,
    stdout: bool,
}

/// How a field is written in the environment.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    /// Separated by commas.
    List,
    Number,
    /// `true` or `false`.
    Switch,
}

/// All fields.
const FIELDS: [(&str, Kind); 23] = [
    ("node", Kind::Text),
    ("listen", Kind::Text),
    ("source", Kind::List),
    ("ipfix", Kind::Text),
    ("nb", Kind::List),
    ("sb", Kind::List),
    ("ovs", Kind::List),
    ("private_key", Kind::Text),
    ("certificate", Kind::Text),
    ("ca_cert", Kind::Text),
    ("manifests", Kind::List),
    ("kubeconfig", Kind::Text),
    ("state", Kind::Text),
    ("report_milliseconds", Kind::Number),
    ("server.url", Kind::Text),
    ("server.ca", Kind::Text),
    ("server.certificate", Kind::Text),
    ("server.private_key", Kind::Text),
    ("server.token_file", Kind::Text),
    ("spool.directory", Kind::Text),
    ("spool.megabytes", Kind::Number),
    ("output.file", Kind::Text),
    ("output.stdout", Kind::Switch),
];

/// What the names of variables begin with.
const PREFIX: &str = "NETVERDICT_AGENT_";

impl Config {
    /// Reads the file, if there is one, and what the environment says.
    ///
    /// # Errors
    /// If it cannot be read, or says something that makes no sense.
    pub(crate) fn read(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        options: &super::Agent,
    ) -> Result<Self> {
        let mut table = match path {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                // The file is held to its fields by itself, so that errors tell the line.
                let read: Result<File, _> = toml::from_str(&text);
                read.with_context(|| path.display().to_string())?;
                toml::from_str(&text).with_context(|| path.display().to_string())?
            }
            None => Table::new(),
        };
        for (name, value) in environment {
            if let Some(field) = name.strip_prefix(PREFIX) {
                set(&mut table, field, &value).with_context(|| name.clone())?;
            }
        }
        let file: File = table.try_into().context("the environment")?;
        file.config(options)
    }
}

/// Sets a field as a variable of the environment says.
fn set(table: &mut Table, name: &str, value: &str) -> Result<()> {
    let is_it = |field: &&(&str, Kind)| field.0.replace('.', "_").to_uppercase() == name;
    let Some((field, kind)) = FIELDS.iter().find(is_it) else {
        bail!("there is no such field: docs/agent.md has all of them");
    };
    let value = match kind {
        Kind::Text => Value::String(value.to_owned()),
        Kind::List => {
            let parts = value.split(',').filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        Kind::Number => Value::Integer(value.parse().context("it is no number")?),
        Kind::Switch => Value::Boolean(value.parse().context("it is true or false")?),
    };
    let (table, last) = match field.split_once('.') {
        Some((section, last)) => {
            let section = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            (section.as_table_mut().context("it is no section")?, last)
        }
        None => (table, *field),
    };
    table.insert(last.to_owned(), value);
    Ok(())
}

impl File {
    fn config(self, options: &super::Agent) -> Result<Config> {
        let source = match options.inputs.source.is_empty() {
            true => {
                let sources = self.source.iter().map(|source| {
                    let spec: Result<Spec, String> = source.parse();
                    spec.map_err(|error| anyhow::anyhow!("source: {error}"))
                });
                sources.collect::<Result<Vec<_>>>()?
            }
            false => options.inputs.source.clone(),
        };
        let remotes = |name: &str, given: &[crate::databases::Remote], all: &[String]| {
            if !given.is_empty() {
                return Ok(given.to_vec());
            }
            let all = all.iter().map(|one| one.parse());
            let all: std::result::Result<Vec<_>, _> = all.collect();
            all.with_context(|| name.to_owned())
        };
        let given = &options.databases;
        let mut databases = Databases {
            nb: remotes("nb", &given.nb, &self.nb)?,
            sb: remotes("sb", &given.sb, &self.sb)?,
            ovs: remotes("ovs", &given.ovs, &self.ovs)?,
            ..Databases::default()
        };
        databases.tls = given.tls.clone();
        let tls = &mut databases.tls;
        tls.private_key = tls.private_key.take().or(self.private_key);
        tls.certificate = tls.certificate.take().or(self.certificate);
        tls.ca_cert = tls.ca_cert.take().or(self.ca_cert);
        let kubeconfig = self.kubeconfig.as_deref().map(str::parse).transpose();
        let kubeconfig = kubeconfig.map_err(|error| anyhow::anyhow!("kubeconfig: {error}"))?;
        let inputs = Inputs {
            manifests: match options.inputs.manifests.is_empty() {
                true => self.manifests,
                false => options.inputs.manifests.clone(),
            },
            kubeconfig: options.inputs.kubeconfig.clone().or(kubeconfig),
            state: options.inputs.state.clone().or(self.state),
            no_state: options.inputs.no_state,
            pace: options.inputs.pace,
            follow: true,
            ..Inputs::default()
        };
        let node = match options.node.clone().or(self.node) {
            Some(node) => node,
            None => hostname().context("node: this machine has no name; give one")?,
        };
        if node.is_empty() || node.len() > NODE {
            bail!("node: {node:?} has not 1 to {NODE} bytes");
        }
        let url = options.server.clone().or(self.server.url);
        let server = url.map(|url| SenderOptions {
            url,
            node: node.clone(),
            tls: TlsFiles {
                ca: self.server.ca,
                certificate: self.server.certificate,
                private_key: self.server.private_key,
            },
            token_file: self.server.token_file,
        });
        let asked = options.spool.clone().or(self.spool.directory);
        let spool = match asked {
            Some(directory) => directory,
            None => state_directory(inputs.state.as_deref())
                .map(|state| state.join("spool"))
                .context(
                    "spool.directory: there is no home directory; say where reports may wait",
                )?,
        };
        let file = self.output.file;
        let stdout = self.output.stdout || options.stdout;
        if server.is_none() && file.is_none() && !stdout {
            let text = "nobody is told: give --server URL, --stdout, or output.file in the \
                        configuration";
            return Err(Usage(text.to_owned()).into());
        }
        let listen = match (&options.listen, self.listen.as_str()) {
            (Some(listen), _) => Some(*listen),
            (None, "") => None,
            (None, text) => Some(text.parse().with_context(|| format!("listen: {text:?}"))?),
        };
        Ok(Config {
            listen,
            source,
            ipfix: self.ipfix,
            inputs,
            databases,
            node,
            server,
            spool,
            spool_bytes: self.spool.megabytes.max(1) * 1_000_000,
            interval: Duration::from_millis(u64::from(self.report_milliseconds.max(10))),
            file,
            stdout,
        })
    }
}

/// A node's name has so many bytes at most.
const NODE: usize = 253;

fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
