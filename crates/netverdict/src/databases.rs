//! Where the rows come from: live servers or dumps, one of each kind a zone.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::Args;
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Config, Endpoint, Endpoints, Replica, TlsFiles, Wanted};

use crate::exit::Usage;

/// The databases that a command reads.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Databases")]
pub(crate) struct Databases {
    /// NB of a zone, live or a dump; once for each zone [default: $OVN_NB_DB, else the socket
    /// where ovn-nbctl looks, if it is there]
    #[arg(long, value_name = "ENDPOINT|FILE")]
    pub(crate) nb: Vec<Remote>,

    /// SB of a zone, in the order of --nb: names of datapaths, and what dropped without an ACL
    /// [default: as for --nb]
    #[arg(long, value_name = "ENDPOINT|FILE")]
    pub(crate) sb: Vec<Remote>,

    /// Open vSwitch of a zone's node, in the order of --nb: input interfaces and conntrack zones
    /// [default: the socket where ovs-vsctl looks, if it is there]
    #[arg(long, value_name = "ENDPOINT|FILE")]
    pub(crate) ovs: Vec<Remote>,

    #[command(flatten)]
    pub(crate) tls: Tls,
}

/// How ssl endpoints are reached.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Private key for ssl endpoints
    #[arg(long, short = 'p', value_name = "FILE", requires = "certificate")]
    pub(crate) private_key: Option<PathBuf>,

    /// Certificate for ssl endpoints
    #[arg(long, short = 'c', value_name = "FILE", requires = "ca_cert")]
    pub(crate) certificate: Option<PathBuf>,

    /// CA certificate that signs the servers of ssl endpoints
    #[arg(long, short = 'C', value_name = "FILE", requires = "private_key")]
    pub(crate) ca_cert: Option<PathBuf>,
}

/// A live database or a dump of one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Remote {
    /// Servers of one database, tried in turn.
    Live(Endpoints),
    /// What `ovsdb-client dump -f json` printed.
    Dump(PathBuf),
}

impl FromStr for Remote {
    type Err = netverdict_ovsdb::EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_endpoint = ["unix:", "tcp:", "ssl:"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if is_endpoint {
            Ok(Self::Live(text.parse()?))
        } else {
            Ok(Self::Dump(text.into()))
        }
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Live(endpoints) => endpoints.fmt(f),
            Self::Dump(path) => path.display().fmt(f),
        }
    }
}

impl Tls {
    /// The options by which ovn-nbctl and ovs-vsctl are told the same.
    pub(crate) fn options(&self) -> Vec<String> {
        let files = [
            ("--private-key", &self.private_key),
            ("--certificate", &self.certificate),
            ("--ca-cert", &self.ca_cert),
        ];
        let given = files.into_iter().flat_map(|(flag, path)| {
            path.iter()
                .map(move |path| format!("{flag}={}", path.display()))
        });
        given.collect()
    }
}

impl Databases {
    /// The databases of one kind, with the usual places where none was given.
    ///
    /// # Errors
    /// If the environment names something that is no endpoint.
    pub(crate) fn remotes(&self, database: Database) -> Result<Vec<Remote>> {
        let given = match database {
            Database::Northbound | Database::Sets => &self.nb,
            Database::Southbound => &self.sb,
            Database::Vswitch => &self.ovs,
        };
        let (variable, socket) = usual(database);
        if !given.is_empty() {
            return Ok(given.clone());
        }
        // A dump of one zone must not be joined with the live rows of this machine.
        let others_given = !(self.nb.is_empty() && self.sb.is_empty() && self.ovs.is_empty());
        if others_given {
            return Ok(Vec::new());
        }
        if let Some(value) = variable.and_then(|name| std::env::var(name).ok()) {
            let remote = value
                .parse()
                .with_context(|| format!("${}", variable.unwrap_or_default()))?;
            return Ok(vec![remote]);
        }
        Ok(Path::new(socket)
            .exists()
            .then(|| format!("unix:{socket}").parse())
            .transpose()?
            .into_iter()
            .collect())
    }

    /// Why no NB was found, and what to do.
    pub(crate) fn no_northbound(&self) -> Usage {
        let (_, socket) = usual(Database::Northbound);
        let others_given = !(self.sb.is_empty() && self.ovs.is_empty());
        let reason = match others_given {
            true => "--sb or --ovs is given, and not --nb with it".to_owned(),
            false => format!("there is no {socket}, and $OVN_NB_DB is not set"),
        };
        Usage(format!(
            "no NB: {reason}; --nb names one, --manifests reads policies instead"
        ))
    }

    /// Finds out at once what would otherwise fail at each attempt to connect.
    ///
    /// # Errors
    /// If an ssl endpoint has no key and certificates, or one of those files cannot be read.
    pub(crate) fn check_tls(&self) -> Result<()> {
        let is_ssl = |remote: &&Remote| match remote {
            Remote::Live(endpoints) => endpoints
                .as_slice()
                .iter()
                .any(|endpoint| matches!(endpoint, Endpoint::Ssl(_))),
            Remote::Dump(_) => false,
        };
        let mut given = self.nb.iter().chain(&self.sb).chain(&self.ovs);
        if let Some(ssl) = given.find(is_ssl)
            && self.tls.private_key.is_none()
        {
            bail!("{ssl} needs --private-key, --certificate and --ca-cert");
        }
        for file in [
            &self.tls.private_key,
            &self.tls.certificate,
            &self.tls.ca_cert,
        ]
        .into_iter()
        .flatten()
        {
            File::open(file).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    /// How to follow one of them.
    pub(crate) fn config(&self, database: Database, endpoints: &Endpoints) -> Config {
        let config = Config::new(endpoints.clone(), database.name(), database.wanted());
        match (
            &self.tls.ca_cert,
            &self.tls.certificate,
            &self.tls.private_key,
        ) {
            (Some(ca), Some(certificate), Some(key)) => config.tls(TlsFiles {
                ca: ca.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => config,
        }
    }

    /// The rows as they are now, of a server or a dump.
    ///
    /// # Errors
    /// If the server cannot be reached or the file is no dump.
    pub(crate) async fn load(&self, database: Database, remote: &Remote) -> Result<Replica> {
        self.load_these(database, remote, database.wanted()).await
    }

    /// The same with tables and columns of the caller's choice.
    ///
    /// # Errors
    /// As [`Databases::load`].
    pub(crate) async fn load_these(
        &self,
        database: Database,
        remote: &Remote,
        wanted: Wanted,
    ) -> Result<Replica> {
        match remote {
            Remote::Live(endpoints) => {
                let mut config = self.config(database, endpoints);
                config.wanted = wanted;
                let mut client = Client::new(config);
                let replica = client
                    .sync()
                    .await
                    .with_context(|| format!("{} at {endpoints}", database.name()))?;
                Ok(replica.clone())
            }
            Remote::Dump(path) => {
                let file = File::open(path).with_context(|| path.display().to_string())?;
                let dump = Replica::from_dump(BufReader::new(file))
                    .with_context(|| path.display().to_string())?;
                for problem in &dump.problems {
                    tracing::warn!("{}: {problem}", path.display());
                }
                Ok(dump.replica.restrict(&wanted))
            }
        }
    }
}

/// Where a database is found if nothing is said: the variable that names it, and the socket.
fn usual(database: Database) -> (Option<&'static str>, &'static str) {
    match database {
        Database::Northbound | Database::Sets => (Some("OVN_NB_DB"), "/run/ovn/ovnnb_db.sock"),
        Database::Southbound => (Some("OVN_SB_DB"), "/run/ovn/ovnsb_db.sock"),
        Database::Vswitch => (None, "/run/openvswitch/db.sock"),
    }
}
