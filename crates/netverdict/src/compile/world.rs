//! The objects that are compiled, and what they become.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Error, Result, bail};
use clap::{Args, ValueEnum};
use netverdict_manifest::{Cidr, Diagnostic, FileId, Key, Object, Severity, Sources, Span, Spec};
use netverdict_policy::{Assumed, Compat, Compiler, Names, Options, Row, assume, cluster_subnets};
use netverdict_source::Stop;
use netverdict_source::kubernetes::{Cluster, KubeWatch};
use netverdict_source::manifests::Files;
use netverdict_source::objects::{Change, Objects};
use netverdict_verdict::{Ask, Decided, End, Fix, Reach, best_fix, northbounds, zone_rows};

/// What is compiled, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Inputs {
    /// Manifests in YAML or JSON: files, directories with all that is in them, or - for standard
    /// input
    #[arg(value_name = "PATH", required_unless_present = "kubeconfig")]
    paths: Vec<PathBuf>,

    /// Instead of manifests, the objects of the Kubernetes API server of this kubeconfig, or
    /// `in-cluster`
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    kubeconfig: Option<Cluster>,

    #[command(flatten)]
    settings: Settings,
}

/// How objects are compiled.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Whom to follow where ovn-kubernetes departs from the Kubernetes API
    #[arg(long, value_enum, default_value_t)]
    compat: CompatWith,

    /// Whether the rows say that all policies are sampled, as ovn-kubernetes has it with
    /// --enable-observability
    #[arg(long, value_enum, default_value_t)]
    sampling: Switch,

    /// Addresses of all pods, as ovn-kubernetes has them in --cluster-subnets; once for each
    /// family [default: 10.244.0.0/16, and fd00:10:244::/48 where there are IPv6 addresses]
    #[arg(long = "cluster-subnet", value_name = "CIDR")]
    cluster_subnets: Vec<Cidr>,

    #[command(flatten)]
    configured: Configured,
}

/// What ovn-kubernetes takes from flags of the same names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "As ovn-kubernetes is configured")]
struct Configured {
    /// Deny multicast but to namespaces with the annotation k8s.ovn.org/multicast-enabled
    #[arg(long)]
    enable_multicast: bool,

    /// Heed the annotation k8s.ovn.org/acl-stateless of NetworkPolicies
    #[arg(long)]
    enable_stateless_netpol: bool,

    /// Let ICMP through to isolated pods
    #[arg(long)]
    allow_icmp_network_policy: bool,

    /// Lines of ACL logging a second
    #[arg(long, value_name = "NUMBER", default_value_t = Options::default().log_rate)]
    acl_logging_rate_limit: u32,

    /// The namespace that stands for pods of the host's network where a policy selects whole
    /// namespaces
    #[arg(long, value_name = "NAME", default_value_t = Options::default().host_network_namespace)]
    host_network_namespace: String,
}

impl Default for Configured {
    fn default() -> Self {
        let options = Options::default();
        Self {
            enable_multicast: false,
            enable_stateless_netpol: false,
            allow_icmp_network_policy: false,
            acl_logging_rate_limit: options.log_rate,
            host_network_namespace: options.host_network_namespace,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum CompatWith {
    /// ovn-kubernetes, with a warning
    #[default]
    OvnKubernetes,
    /// The API
    Strict,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum Switch {
    #[default]
    On,
    Off,
}

/// The objects, their texts, and what is compiled of them.
pub(crate) struct World {
    inputs: Inputs,
    sources: Sources,
    names: BTreeMap<FileId, Arc<str>>,
    /// As they were told.
    objects: BTreeMap<Key, Arc<Object>>,
    /// With what was assumed.
    compiled: BTreeMap<Key, Arc<Object>>,
    compiler: Compiler,
    options: Options,
    /// What is told already and still holds.
    told: BTreeSet<String>,
    /// Texts that nothing refers to any more.
    old_texts: Vec<FileId>,
    /// Changes that wait because with them something cannot be compiled.
    waiting: BTreeMap<Key, Option<Arc<Object>>>,
}

/// What a change brought.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What was not told before.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// How many of them are errors.
    pub(crate) errors: usize,
}

impl Inputs {
    /// Manifests.
    pub(crate) fn manifests(paths: Vec<PathBuf>, settings: Settings) -> Self {
        Self {
            paths,
            kubeconfig: None,
            settings,
        }
    }

    /// The objects of a cluster.
    pub(crate) fn cluster(cluster: Cluster, settings: Settings) -> Self {
        Self {
            paths: Vec::new(),
            kubeconfig: Some(cluster),
            settings,
        }
    }

    /// All there is now.
    ///
    /// # Errors
    /// If a path that was given cannot be read, or the cluster not be asked.
    pub(crate) fn read(&self) -> Result<Change> {
        let Some(cluster) = &self.kubeconfig else {
            return Ok(Files::new(&self.paths).read()?);
        };
        let mut all = None;
        let watch = KubeWatch::new(cluster.clone(), Stop::new()?).once();
        let source: Box<dyn Objects> = Box::new(watch);
        source
            .run(&mut |change| {
                all = Some(change);
                ControlFlow::Break(())
            })
            .map_err(Error::from_boxed)?;
        all.context("the cluster told no objects")
    }

    /// What there is and what changes, until `stop`.
    pub(crate) fn source(&self, stop: &Stop) -> Box<dyn Objects> {
        match &self.kubeconfig {
            Some(cluster) => Box::new(KubeWatch::new(cluster.clone(), stop.clone())),
            None => Box::new(Files::new(&self.paths).watch(stop.clone())),
        }
    }

    /// True if the rows say what is sampled.
    pub(crate) fn sampling(&self) -> bool {
        self.settings.sampling == Switch::On
    }
}

impl World {
    pub(crate) fn new(inputs: &Inputs) -> Self {
        let Settings {
            compat,
            cluster_subnets,
            configured,
            ..
        } = &inputs.settings;
        let options = Options {
            compat: match compat {
                CompatWith::OvnKubernetes => Compat::OvnKubernetes,
                CompatWith::Strict => Compat::Strict,
            },
            cluster_subnets: cluster_subnets.clone(),
            sampling: inputs.sampling(),
            multicast: configured.enable_multicast,
            allow_icmp: configured.allow_icmp_network_policy,
            stateless: configured.enable_stateless_netpol,
            log_rate: configured.acl_logging_rate_limit,
            host_network_namespace: configured.host_network_namespace.clone(),
        };
        Self {
            inputs: inputs.clone(),
            sources: Sources::default(),
            names: BTreeMap::new(),
            objects: BTreeMap::new(),
            compiled: BTreeMap::new(),
            compiler: Compiler::new(options.clone()),
            options,
            told: BTreeSet::new(),
            old_texts: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Takes a change and compiles. If something cannot be compiled with it, all is left as it
    /// was, and the change waits for the next one: a policy that is left out could open what it
    /// should close.
    pub(crate) fn follow(&mut self, mut change: Change) -> News {
        let mut tried = std::mem::take(&mut self.waiting);
        tried.extend(change.objects);
        let before: Vec<_> = tried
            .keys()
            .map(|key| (key.clone(), self.objects.get(key).cloned()))
            .collect();
        change.objects = tried.clone();
        let mut news = self.take(change);
        let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        if !self.compiler.diagnostics().any(is_error) {
            return news;
        }
        for (key, object) in before {
            self.set(key, object);
        }
        self.assume();
        self.compiler.compile();
        let message = format!(
            "{} changed objects wait, and all is left as it was",
            tried.len()
        );
        let waits = Diagnostic::new(Severity::Warning, "waits", message);
        let help = "mend what is told as an error: they are taken together";
        news.diagnostics.push(waits.help(help));
        self.waiting = tried;
        news
    }

    /// Takes a change and compiles.
    pub(crate) fn take(&mut self, change: Change) -> News {
        for file in std::mem::take(&mut self.old_texts) {
            self.sources.remove(file);
            self.names.remove(&file);
        }
        for (file, text) in change.texts {
            match text {
                Some(text) => {
                    self.names.insert(file, text.name.as_str().into());
                    self.sources.put(file, &text.name, text.text);
                }
                None => self.old_texts.push(file),
            }
        }
        for (key, object) in change.objects {
            self.set(key, object);
        }
        let assumed = self.assume();
        self.compiler.compile();
        let standing = assumed.iter().chain(self.compiler.diagnostics());
        let mut now = BTreeSet::new();
        let mut diagnostics = change.diagnostics;
        for diagnostic in standing {
            let mark = format!("{diagnostic:?}");
            if !self.told.contains(&mark) && now.insert(mark.clone()) {
                diagnostics.push(diagnostic.clone());
            }
            now.insert(mark);
        }
        self.told = now;
        News {
            errors: count(&diagnostics, Severity::Error),
            diagnostics,
        }
    }

    /// Texts with this number and greater ones are not there yet.
    pub(crate) fn next_file(&self) -> u32 {
        let last = self.names.last_key_value();
        last.map_or(0, |(file, _)| file.0.saturating_add(1))
    }

    /// Whether there is such an object, as it was told.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.objects.contains_key(key)
    }

    fn set(&mut self, key: Key, object: Option<Arc<Object>>) {
        match object {
            Some(object) => self.objects.insert(key, object),
            None => self.objects.remove(&key),
        };
    }

    /// Fills in what was left out, and hands the compiler what is different by that.
    fn assume(&mut self) -> Vec<Diagnostic> {
        if self.inputs.settings.cluster_subnets.is_empty() {
            let subnets = cluster_subnets(self.objects.values().map(AsRef::as_ref));
            if subnets != self.options.cluster_subnets {
                self.options.cluster_subnets = subnets;
                self.compiler = Compiler::new(self.options.clone());
                self.compiled.clear();
            }
        }
        let given: Vec<_> = self.objects.values().cloned().collect();
        let Assumed {
            objects,
            diagnostics,
        } = match self.inputs.kubeconfig {
            Some(_) => Assumed {
                objects: given,
                diagnostics: self.assumed_subnets(),
            },
            None => assume(&given, &self.options),
        };
        let objects: BTreeMap<Key, Arc<Object>> = objects
            .into_iter()
            .map(|object| (object.key.clone(), object))
            .collect();
        for key in self.compiled.keys() {
            if !objects.contains_key(key) {
                self.compiler.remove(key);
            }
        }
        for (key, object) in &objects {
            if self.compiled.get(key) != Some(object) {
                self.compiler.put(object.clone());
            }
        }
        self.compiled = objects;
        diagnostics
    }

    /// A cluster's objects do not tell its subnets.
    fn assumed_subnets(&self) -> Vec<Diagnostic> {
        if !self.inputs.settings.cluster_subnets.is_empty() {
            return Vec::new();
        }
        let subnets: Vec<String> = self
            .options
            .cluster_subnets
            .iter()
            .map(Cidr::to_string)
            .collect();
        let message = format!(
            "the cluster's subnets are assumed: {}",
            subnets.join(" and ")
        );
        let note = Diagnostic::new(Severity::Note, "assumed", message);
        vec![note.help("--cluster-subnet tells them; egress firewalls leave them out")]
    }

    /// All zones.
    pub(crate) fn zones(&self) -> Vec<Arc<str>> {
        self.compiler.zones()
    }

    /// True if there are no objects.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The zones, or the one with this name.
    ///
    /// # Errors
    /// If there is no such zone.
    pub(crate) fn zones_named(&self, name: Option<&str>) -> Result<Vec<Arc<str>>> {
        let zones = self.compiler.zones();
        let Some(name) = name else {
            return Ok(zones);
        };
        if zones.iter().any(|zone| &**zone == name) {
            return Ok(vec![name.into()]);
        }
        bail!("there is no zone {name}; there are {}", zones.join(", "))
    }

    /// The rows of a zone, by table and key.
    pub(crate) fn rows(&self, zone: &str) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.compiler.rows().filter(|row| row.is_in(zone)).collect();
        rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        rows
    }

    /// The rows of a zone, as a database has them.
    pub(crate) fn zone_rows(&self, zone: &str) -> Vec<netverdict_ovsdb::Row> {
        zone_rows(&self.compiler, zone)
    }

    /// What rows and texts are called.
    pub(crate) fn names(&self) -> Names {
        let files = self.names.iter().map(|(file, name)| (*file, name.clone()));
        Names::new(self.compiler.rows(), files)
    }

    /// What was compiled, with all that was assumed.
    pub(crate) fn objects(&self) -> netverdict_verdict::Objects<'_> {
        netverdict_verdict::Objects {
            objects: &self.compiled,
            options: &self.options,
        }
    }

    /// A question about other rows, with the addresses that pods have here; `None` if one of the pods is not here.
    pub(crate) fn ask(&self, ask: &Ask) -> Option<Ask> {
        let end = |end: &End| {
            let Some(pod) = &end.pod else {
                return Some(end.clone());
            };
            let Spec::Pod(spec) = &self.compiled.get(pod)?.spec else {
                return None;
            };
            let mut addresses = spec.addresses.iter();
            let address = addresses.find(|it| it.is_ipv4() == end.address.is_ipv4())?;
            Some(End {
                address: *address,
                pod: Some(pod.clone()),
            })
        };
        Some(Ask {
            from: end(&ask.from)?,
            to: end(&ask.to)?,
            transport: ask.transport,
        })
    }

    /// Whether ACLs deny a connection; `None` if there is no way between its ends.
    pub(crate) fn denies(&self, ask: &Ask) -> Option<bool> {
        let zones = northbounds(&self.compiler);
        let decided = Reach::new(&zones).ask(ask)?;
        Some(decided.iter().any(Decided::denies))
    }

    /// The best change that lets a connection through, if there is one.
    pub(crate) fn fix(&mut self, ask: &Ask) -> Option<Fix> {
        let objects = netverdict_verdict::Objects {
            objects: &self.compiled,
            options: &self.options,
        };
        best_fix(objects, &self.sources, &mut self.compiler, ask)
    }

    /// The text that a place is in.
    pub(crate) fn text(&self, span: Span) -> Option<&str> {
        self.sources.text(span.file)
    }

    /// A place in its line of the text.
    pub(crate) fn snippet(&self, span: Span, label: &str, colours: bool) -> Option<String> {
        self.sources.snippet(span, label, colours)
    }

    pub(crate) fn render(&self, diagnostics: &[Diagnostic], colours: bool) -> String {
        self.sources.render(diagnostics, colours)
    }

    /// One line on what was compiled.
    pub(crate) fn summary(&self, news: &News) -> String {
        let zones = self.compiler.zones();
        let rows: usize = zones.iter().map(|zone| self.rows(zone).len()).sum();
        let warnings = count(&news.diagnostics, Severity::Warning);
        format!(
            "{}, {}; {} and {} in {}",
            counted(news.errors, "error"),
            counted(warnings, "warning"),
            counted(self.objects.len(), "object"),
            counted(rows, "row"),
            counted(zones.len(), "zone"),
        )
    }
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == severity)
        .count()
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
