//! Policies to rows: a large cluster compiled whole, one label changed, and what the real
//! ovn-northd takes for the same rows.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netverdict_manifest::{Cidr, FileId, Object, Spec, read};
use netverdict_ovn::Database;
use netverdict_ovsdb::{Client, Columns, Condition, Config, Datum, Event, Operation, Transaction};
use netverdict_policy::{Compiler, Options};
use uuid::Uuid;

use crate::figure;
use crate::machine::{median, peak, process_time};
use crate::server::{Server, schema};

const POLICIES: usize = 10_000;
const PODS: usize = 5_000;
const NAMESPACES: usize = 500;
const NODES: usize = 10;
const ROUNDS: usize = 3;
const CHANGES: usize = 1_000;
/// The first argument of the process that is measured.
pub(crate) const CHILD: &str = "--compile-policies";

pub(crate) fn compile() -> Result<()> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let output = Command::new(std::env::current_exe()?).arg(CHILD).output()?;
        let text = String::from_utf8(output.stdout)?;
        let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
        let [read, compiled, peak, rows, acls] = numbers[..] else {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        };
        eprintln!(
            "compile_10000: {read:.0} ms to read the YAML, {compiled:.0} ms to compile it to {rows} \
             rows with {acls} ACLs, {peak:.0} MiB at most"
        );
        rounds.push((read, compiled, peak));
    }
    eprintln!(
        "compile_10000: {POLICIES} NetworkPolicies, {PODS} pods, {NAMESPACES} namespaces, {NODES} \
         nodes in one zone, two address families, sampling on; one thread; reading apart"
    );
    let middle = |of: fn(&(f64, f64, f64)) -> f64| {
        median(&mut rounds.iter().map(of).collect::<Vec<_>>()).unwrap_or_default()
    };
    let print = |name: &str, value: f64, unit| figure(name, format_args!("{value:.0}"), unit);
    print("compile_10000", middle(|round| round.1), "ms");
    print("compile_10000_read", middle(|round| round.0), "ms");
    print("compile_10000_peak", middle(|round| round.2), "MiB");
    Ok(())
}

/// The process that is measured: prints milliseconds to read and to compile, peak MiB, rows and
/// ACLs.
pub(crate) fn child() -> Result<()> {
    let text = manifests();
    let start = process_time()?;
    let objects = objects(&text, POLICIES)?;
    let read = process_time()? - start;
    drop(text);
    let start = process_time()?;
    let mut compiler = Compiler::new(options());
    for object in objects {
        compiler.put(object);
    }
    compiler.compile();
    let compiled = process_time()? - start;
    let rows = compiler.rows().count();
    let acls = compiler.rows().filter(|row| row.table.as_str() == "ACL");
    println!(
        "{} {} {} {rows} {}",
        read.as_secs_f64() * 1e3,
        compiled.as_secs_f64() * 1e3,
        peak()?,
        acls.count()
    );
    Ok(())
}

pub(crate) fn incremental() -> Result<()> {
    let mut compiler = Compiler::new(options());
    let objects: Vec<Arc<Object>> = objects(&manifests(), POLICIES)?
        .into_iter()
        .map(Arc::new)
        .collect();
    for object in &objects {
        compiler.put(object.clone());
    }
    compiler.compile();
    let pods: Vec<&Arc<Object>> = objects
        .iter()
        .filter(|object| matches!(object.spec, Spec::Pod(_)))
        .collect();
    let mut times = Vec::new();
    let mut rows = 0;
    for number in 0..CHANGES {
        let pod = pods.get(number * 7 % pods.len()).context("no pods")?;
        let mut pod = Object::clone(pod);
        let app = format!("app-{}", (number + 1) % 5);
        pod.meta.labels.insert("app".to_owned(), app);
        let start = Instant::now();
        compiler.put(pod);
        let delta = compiler.compile();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        rows += delta.added + delta.changed + delta.removed;
    }
    ensure!(rows > 0, "no label changed a row");
    let middle = median(&mut times).unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    eprintln!(
        "compile_incremental: {CHANGES} changes of one pod's label `app` in the cluster of \
         compile_10000; {:.1} rows changed each",
        rows as f64 / CHANGES as f64
    );
    figure("compile_incremental", format_args!("{middle:.3}"), "ms");
    figure("compile_incremental_max", format_args!("{last:.3}"), "ms");
    Ok(())
}

/// What ovn-northd takes from its start until all of it is in SB.
pub(crate) fn northd() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("cluster.yaml");
    fs::write(&file, manifests())?;
    let tree = tree()?;
    let schemas = tree.join("usr/share/ovn");
    let nb = Server::empty(&schemas.join("ovn-nb.ovsschema"))?;
    let sb = Server::empty(&schemas.join("ovn-sb.ovsschema"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let global = Uuid::from_u128(1);
    runtime.block_on(insert_global(&nb, global))?;

    let binary = crate::binary::program()?;
    let start = Instant::now();
    let applied = Command::new(binary)
        .args(["apply", "--nb", &nb.endpoint()])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    ensure!(applied.success(), "netverdict apply: {applied}");
    let applied = start.elapsed();

    let start = Instant::now();
    let northd = Northd::start(&tree, &nb, &sb, directory.path())?;
    runtime.block_on(until_in_southbound(&nb, 1))?;
    let wall = start.elapsed();
    let cpu = northd.time()?;
    eprintln!(
        "northd_same_nb: ovn-northd {} with the rows of compile_10000, from its start until they \
         are in SB: {:.0} ms on processors, {:.0} ms in all; netverdict apply of the same into the \
         empty NB took {:.0} ms in all",
        northd.version,
        cpu.as_secs_f64() * 1e3,
        wall.as_secs_f64() * 1e3,
        applied.as_secs_f64() * 1e3
    );
    figure(
        "northd_same_nb",
        format_args!("{:.0}", cpu.as_secs_f64() * 1e3),
        "ms",
    );
    figure(
        "apply_10000",
        format_args!("{:.0}", applied.as_secs_f64() * 1e3),
        "ms",
    );
    Ok(())
}

pub(crate) async fn insert_global(nb: &Server, row: Uuid) -> Result<()> {
    let mut transaction = Transaction::new();
    transaction.push(Operation::Insert {
        table: "NB_Global".to_owned(),
        row,
        columns: vec![("name".to_owned(), Datum::from("global"))],
    });
    client(nb)?.transact(transaction).await?;
    Ok(())
}

/// Asks ovn-northd to tell when it is done (ovn-nb(5), NB_Global, nb_cfg), and waits for it.
pub(crate) async fn until_in_southbound(nb: &Server, number: i64) -> Result<()> {
    let mut client = client(nb)?;
    let replica = client.sync().await?;
    let global = replica.rows("NB_Global").next().context("no NB_Global")?;
    let uuid = global.uuid();
    let mut transaction = Transaction::new();
    transaction.update(
        "NB_Global",
        [Condition::row(uuid)],
        [("nb_cfg", Datum::from(number))],
    );
    client.transact(transaction).await?;
    loop {
        if let Event::Changes(set) = client.next_event().await {
            let mut news = set.changes.iter().filter_map(|change| change.new.as_ref());
            let done = |row: &netverdict_ovsdb::Row| {
                row.column("sb_cfg")
                    .and_then(Datum::scalar)
                    .and_then(netverdict_ovsdb::Atom::as_integer)
                    == Some(number)
            };
            if news.any(done) {
                return Ok(());
            }
        }
    }
}

fn client(nb: &Server) -> Result<Client> {
    let wanted = netverdict_ovsdb::Wanted::new().table("NB_Global", ["name", "nb_cfg", "sb_cfg"]);
    let endpoint = nb.endpoint().parse()?;
    Ok(Client::new(Config::new(
        endpoint,
        Database::Northbound.name(),
        wanted,
    )))
}

/// An ovn-northd of the lab's tree, ended when dropped.
pub(crate) struct Northd {
    process: Child,
    pub(crate) version: String,
    /// Its control socket.
    pub(crate) control: PathBuf,
}

impl Northd {
    pub(crate) fn start(tree: &Path, nb: &Server, sb: &Server, directory: &Path) -> Result<Self> {
        let command = || {
            // Its C library is newer than that of this machine may be.
            let mut command = Command::new(tree.join("lib64/ld-linux-x86-64.so.2"));
            command
                .arg("--library-path")
                .arg(tree.join("usr/lib/x86_64-linux-gnu"))
                .arg(tree.join("usr/bin/ovn-northd"));
            command
        };
        let output = command().arg("--version").output()?;
        let version = String::from_utf8(output.stdout)?;
        let version = version.lines().next().unwrap_or_default();
        let process = command()
            .arg(format!("--ovnnb-db={}", nb.endpoint()))
            .arg(format!("--ovnsb-db={}", sb.endpoint()))
            .arg(format!("--unixctl={}", directory.join("northd").display()))
            .arg("-vconsole:off")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self {
            process,
            version: version.trim_start_matches("ovn-northd ").to_owned(),
            control: directory.join("northd"),
        })
    }

    /// Its time on processors so far, all threads (proc(5), `/proc/PID/stat`).
    pub(crate) fn time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, after_name) = stat.rsplit_once(')').context("no stat of ovn-northd")?;
        let field = |number: usize| -> Result<u64> {
            let word = after_name.split_whitespace().nth(number - 3);
            Ok(word.context("a short stat")?.parse()?)
        };
        let ticks = field(14)? + field(15)?;
        let rate = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(Duration::from_secs_f64(ticks as f64 / rate as f64))
    }
}

impl Drop for Northd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn tree() -> Result<PathBuf> {
    let file = schema("ovn", "ovn-nb.ovsschema")?;
    let root = file.ancestors().nth(4).context("no root")?;
    ensure!(
        root.join("usr/bin/ovn-northd").exists(),
        "no ovn-northd in {}",
        root.display()
    );
    Ok(root.to_owned())
}

pub(crate) fn options() -> Options {
    let cidr = |address: [u16; 8], prefix| Cidr {
        address: std::net::IpAddr::from(address),
        prefix,
    };
    Options {
        cluster_subnets: vec![
            Cidr {
                address: [10, 244, 0, 0].into(),
                prefix: 16,
            },
            cidr([0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0], 48),
        ],
        ..Options::default()
    }
}

pub(crate) fn objects(text: &str, policies: usize) -> Result<Vec<Object>> {
    let reading = read(FileId::default(), text);
    ensure!(
        reading.diagnostics.is_empty(),
        "{:?}",
        reading.diagnostics.first()
    );
    let found = reading.objects.iter();
    let found = found.filter(|object| matches!(object.spec, Spec::NetworkPolicy(_)));
    ensure!(found.count() == policies, "not all policies were read");
    Ok(reading.objects)
}

/// The cluster as people would write it.
fn manifests() -> String {
    cluster(POLICIES, PODS, NODES)
}

/// A cluster of 500 namespaces in YAML.
pub(crate) fn cluster(policies: usize, pods: usize, nodes: usize) -> String {
    let mut text = String::new();
    for node in 0..nodes {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node-{node}\n\
             spec:\n  podCIDRs: [10.244.{}.0/22, 'fd00:10:244:{node}::/64']\n\
             status:\n  addresses:\n  - {{type: InternalIP, address: 172.18.0.{}}}\n",
            node * 4,
            node + 2
        );
    }
    for space in 0..NAMESPACES {
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: ns-{space}\n  \
             labels: {{team: team-{}, stage: stage-{}}}\n",
            space % 50,
            space % 3
        );
    }
    for pod in 0..pods {
        let (space, node) = (pod % NAMESPACES, pod % nodes);
        let host = pod / nodes;
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: pod-{pod}\n  namespace: ns-{space}\n  \
             labels: {{app: app-{}, tier: tier-{}}}\n\
             spec:\n  nodeName: node-{node}\n  containers:\n  - name: main\n    \
             ports: [{{name: http, containerPort: 8080}}]\n\
             status:\n  phase: Running\n  podIPs:\n  - ip: 10.244.{}.{}\n  - ip: 'fd00:10:244:{node}::{:x}'\n",
            pod / NAMESPACES % 5,
            pod / NAMESPACES % 2,
            node * 4 + (host + 10) / 256,
            (host + 10) % 256,
            host + 10,
        );
    }
    for policy in 0..policies {
        let _ = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  \
             name: policy-{policy}\n  namespace: ns-{}\nspec:\n",
            policy % NAMESPACES
        );
        rules(&mut text, policy / NAMESPACES, policy);
    }
    text
}

/// Five shapes of policies, twenty of them in each namespace.
fn rules(text: &mut String, shape: usize, number: usize) {
    let app = number % 5;
    let _ = match shape % 5 {
        0 => write!(
            text,
            "  podSelector: {{}}\n  policyTypes: [Ingress, Egress]\n"
        ),
        1 => write!(
            text,
            "  podSelector: {{matchLabels: {{app: app-{app}}}}}\n  ingress:\n  - from:\n    \
             - podSelector: {{matchLabels: {{tier: tier-{}}}}}\n    \
             ports: [{{port: {}}}, {{port: 53, protocol: UDP}}]\n",
            number % 2,
            8000 + shape
        ),
        2 => write!(
            text,
            "  podSelector: {{matchLabels: {{tier: tier-{}}}}}\n  ingress:\n  - from:\n    \
             - namespaceSelector: {{matchLabels: {{team: team-{}}}}}\n      \
             podSelector: {{matchExpressions: [{{key: app, operator: In, values: [app-{app}, app-9]}}]}}\n    \
             ports: [{{port: {}, endPort: {}}}]\n",
            number % 2,
            number % 50,
            9000 + shape,
            9010 + shape
        ),
        3 => write!(
            text,
            "  podSelector: {{matchLabels: {{app: app-{app}}}}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    \
             - ipBlock: {{cidr: 203.0.113.0/24, except: [203.0.113.{}/32]}}\n    \
             - ipBlock: {{cidr: '2001:db8::/32'}}\n    ports: [{{port: 443}}]\n",
            number % 250
        ),
        _ => write!(
            text,
            "  podSelector: {{matchLabels: {{app: app-{app}}}}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    \
             - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: ns-{}}}}}\n  \
             - ports: [{{port: 53, protocol: UDP}}, {{port: 53}}]\n",
            (number * 7) % NAMESPACES
        ),
    };
}
