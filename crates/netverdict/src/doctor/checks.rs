//! What the facts mean. Nothing is touched here.
//!
//! Versions: psample as an action of Open vSwitch is in Linux 6.11 (and in RHEL 9's kernel from
//! 5.14.0-570), in Open vSwitch 3.4, and samples of ACLs in OVN 24.09.

use netverdict_control::{Problem, ProblemKind, Status};
use netverdict_ovn::Version;

use super::facts::{
    Conntrack, Daemon, Facts, Fault, Machine, NamedFile, Node, Psample, Reach, Zone,
};
use super::{Area, Finding, State};

/// What is to be said of the facts, in the order in which a reader needs it.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut list = List {
        findings: Vec::new(),
        area: Area::Machine,
    };
    machine(facts, &mut list);
    for zone in &facts.zones {
        let from = list.findings.len();
        vswitch(zone, &mut list);
        ovn(zone, &mut list);
        sampling(zone, &mut list);
        for finding in &mut list.findings[from..] {
            finding.zone.clone_from(&zone.name);
        }
    }
    list.findings
}

/// The source that the samples of this node can be read from, or why there is none.
pub(super) fn source(facts: &Facts) -> Result<String, String> {
    let zone = match &facts.zones[..] {
        [zone] => zone,
        _ => return Err("several zones are read: name the --source of each".to_owned()),
    };
    let psample = facts.machine.as_ref().map(|machine| &machine.psample);
    let Some(psample) = psample else {
        return Err("the databases are dumps".to_owned());
    };
    let bridge = zone.node.as_ref().and_then(|node| node.bridge.as_ref());
    let opened = matches!(psample, Psample::Opened);
    let Some(bridge) = bridge else {
        return if opened {
            Ok("psample".to_owned())
        } else {
            Err(
                "where Open vSwitch sends samples is unknown, and psample cannot be read"
                    .to_owned(),
            )
        };
    };
    let groups: Vec<_> = bridge.sets.iter().filter_map(|set| set.group).collect();
    if !groups.is_empty() && opened && bridge.psample != Some(false) {
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        return Ok(format!("psample:{}", groups.join(",")));
    }
    let target = bridge.sets.iter().flat_map(|set| &set.ipfix).next();
    match target {
        Some(target) => Ok(format!("ipfix:{target}")),
        None if bridge.sets.is_empty() => {
            Err("Open vSwitch has no collector set: it sends no samples".to_owned())
        }
        None => Err("Open vSwitch sends samples to psample, which cannot be read".to_owned()),
    }
}

/// What was found so far, and what is examined now.
struct List {
    findings: Vec<Finding>,
    area: Area,
}

impl List {
    fn add(&mut self, check: &'static str, state: State, seen: impl Into<String>) -> &mut Finding {
        let place = self.findings.len();
        self.findings.push(Finding {
            area: self.area,
            check,
            zone: None,
            state,
            seen: seen.into(),
            why: None,
            mend: None,
        });
        &mut self.findings[place]
    }

    fn ok(&mut self, check: &'static str, seen: impl Into<String>) -> &mut Finding {
        self.add(check, State::Ok, seen)
    }

    fn skip(&mut self, check: &'static str, seen: impl Into<String>) -> &mut Finding {
        self.add(check, State::Skip, seen)
    }

    fn warn(&mut self, check: &'static str, seen: impl Into<String>) -> &mut Finding {
        self.add(check, State::Warn, seen)
    }

    fn fail(&mut self, check: &'static str, seen: impl Into<String>) -> &mut Finding {
        self.add(check, State::Fail, seen)
    }

    fn unknown(&mut self, check: &'static str, seen: impl Into<String>) -> &mut Finding {
        self.add(check, State::Unknown, seen)
    }
}

impl Finding {
    fn why(&mut self, why: impl Into<String>) -> &mut Self {
        self.why = Some(why.into());
        self
    }

    fn mend(&mut self, mend: impl Into<String>) -> &mut Self {
        self.mend = Some(mend.into());
        self
    }
}

/// How much depends on the kernel's psample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// Samples of this node go, or would go, by psample.
    Yes,
    /// They go by IPFIX, though the datapath is the kernel's.
    Ipfix,
    /// The datapath is in user space and has no psample.
    No,
}

impl Need {
    fn of(zones: &[Zone]) -> Self {
        let nodes = || zones.iter().filter_map(|zone| zone.node.as_ref());
        let all = |test: fn(&Node) -> bool| nodes().next().is_some() && nodes().all(test);
        if all(|node| node.datapath.as_deref() == Some("netdev")) {
            Self::No
        } else if all(sends_ipfix_only) {
            Self::Ipfix
        } else {
            Self::Yes
        }
    }

    /// How bad it is if psample does not work.
    fn state(self) -> State {
        match self {
            Self::Yes => State::Fail,
            Self::Ipfix => State::Warn,
            Self::No => State::Skip,
        }
    }
}

fn sends_ipfix_only(node: &Node) -> bool {
    let sets = node.bridge.as_ref().map(|bridge| &bridge.sets[..]);
    sets.is_some_and(|sets| {
        !sets.is_empty()
            && sets
                .iter()
                .all(|set| set.group.is_none() && !set.ipfix.is_empty())
    })
}

/// The command that makes a node send samples, to whom it can.
fn enable(node: Option<&Node>, set: Option<u32>) -> String {
    let set = set.map(|set| format!(" --set {set}")).unwrap_or_default();
    let target = match node.and_then(|node| node.datapath.as_deref()) {
        Some("netdev") => "--ipfix 127.0.0.1:4739",
        _ => "--group 10",
    };
    format!("netverdict sampling enable{set} {target}")
}

const BY_IPFIX: &str = "netverdict sampling enable --ipfix 127.0.0.1:4739   (then observe --source \
                        ipfix:127.0.0.1:4739)";

fn machine(facts: &Facts, list: &mut List) {
    let Some(machine) = &facts.machine else {
        list.skip(
            "machine",
            "the databases are dumps: they tell of another machine",
        );
        tls(&facts.tls, list);
        return;
    };
    let need = Need::of(&facts.zones);
    kernel(machine, need, &facts.zones, list);
    psample(machine, need, list);
    datapath_module(machine, &facts.zones, list);
    permissions(machine, need, list);
    receive_buffer(machine, list);
    conntrack(machine, need, list);
    state_directory(machine, list);
    tls(&facts.tls, list);
}

fn kernel(machine: &Machine, need: Need, zones: &[Zone], list: &mut List) {
    let name = format!("Linux {}", machine.kernel);
    let mut nodes = zones.iter().filter_map(|zone| zone.node.as_ref());
    let proven = nodes.any(|node| {
        node.bridge
            .as_ref()
            .is_some_and(|bridge| bridge.psample == Some(true))
    });
    let why = "before 6.11 (RHEL 9: before 5.14.0-570) Open vSwitch cannot send samples to psample";
    match samples_to_psample(&machine.kernel) {
        _ if proven || need == Need::No => list.ok("kernel", name),
        Some(true) => list.ok("kernel", name),
        Some(false) => list
            .add("kernel", need.state(), name)
            .why(why)
            .mend(BY_IPFIX),
        None => list.unknown("kernel", name).why(why),
    };
}

/// Whether a kernel, by `uname -r`, has the psample action of Open vSwitch.
pub(super) fn samples_to_psample(release: &str) -> Option<bool> {
    let mut parts = release.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || parts.next()?.ok();
    let version = (next()?, next()?);
    if version >= (6, 11) {
        return Some(true);
    }
    let build = next().and_then(|_| next());
    Some(version == (5, 14) && release.contains(".el9") && build >= Some(570))
}

fn psample(machine: &Machine, need: Need, list: &mut List) {
    let program = machine.program.display();
    let without = "without it no sample of the kernel's datapath can be read";
    match (&machine.psample, need) {
        (Psample::Opened, _) => {
            list.ok("psample", "samples can be received");
        }
        (_, Need::No) => {
            list.skip(
                "psample",
                "not needed: the datapath is in user space, its samples go by IPFIX",
            );
        }
        (Psample::NoFamily, _) => {
            let finding = list.add(
                "psample",
                need.state(),
                if machine.has_psample_module {
                    "the module psample is not loaded"
                } else {
                    "this kernel has no psample (CONFIG_PSAMPLE)"
                },
            );
            finding.why(without).mend(if machine.has_psample_module {
                "modprobe psample"
            } else {
                BY_IPFIX
            });
        }
        (Psample::NoPermission, _) => {
            list.add(
                "psample",
                need.state(),
                "it is there, and this process may not receive from it",
            )
            .why(without)
            .mend(format!(
                "run as root, or: setcap cap_net_admin+ep {program}"
            ));
        }
        (Psample::Failed(error), _) => {
            list.add("psample", need.state(), error.clone())
                .why(without);
        }
    }
}

fn datapath_module(machine: &Machine, zones: &[Zone], list: &mut List) {
    let mut nodes = zones.iter().filter_map(|zone| zone.node.as_ref());
    let is_used = nodes.any(|node| node.datapath.as_deref() == Some("system"));
    if machine.datapath {
        list.ok("datapath module", "openvswitch is loaded");
    } else if is_used {
        list.fail("datapath module", "the module openvswitch is not loaded")
            .why("the bridge asks for the kernel's datapath")
            .mend("modprobe openvswitch && systemctl restart openvswitch-switch");
    } else {
        list.skip(
            "datapath module",
            "openvswitch is not loaded, and nothing here asks for it",
        );
    }
}

fn permissions(machine: &Machine, need: Need, list: &mut List) {
    if machine.net_admin {
        list.ok("permissions", "CAP_NET_ADMIN");
        return;
    }
    let state = match need {
        Need::Yes => State::Fail,
        Need::Ipfix | Need::No => State::Warn,
    };
    list.add("permissions", state, "no CAP_NET_ADMIN")
        .why("psample and conntrack entries cannot be read without it; IPFIX, logs and files can")
        .mend(format!(
            "run as root, or: setcap cap_net_admin+ep {}",
            machine.program.display()
        ));
}

/// What our sources ask the kernel for (SO_RCVBUF).
const RECEIVE_BUFFER: u64 = 16 << 20;

fn receive_buffer(machine: &Machine, list: &mut List) {
    match machine.rmem_max {
        _ if machine.net_admin => {
            list.ok(
                "receive buffer",
                "16 MiB can be had, past net.core.rmem_max",
            );
        }
        Some(limit) if limit >= RECEIVE_BUFFER => {
            list.ok("receive buffer", "net.core.rmem_max allows 16 MiB");
        }
        Some(limit) => {
            list.warn(
                "receive buffer",
                format!("net.core.rmem_max allows {} KiB of 16 MiB", limit / 1024),
            )
            .why("a burst of samples that does not fit is lost (and counted)")
            .mend(format!("sysctl -w net.core.rmem_max={RECEIVE_BUFFER}"));
        }
        None => {
            list.unknown("receive buffer", "net.core.rmem_max cannot be read");
        }
    }
}

fn conntrack(machine: &Machine, need: Need, list: &mut List) {
    if need == Need::No {
        list.skip(
            "conntrack",
            "the datapath in user space keeps its own: ovs-appctl dpctl/dump-conntrack -m",
        );
        return;
    }
    match &machine.conntrack {
        Conntrack::NotLoaded => {
            list.skip(
                "conntrack",
                "nf_conntrack is not loaded: there is no connection yet",
            );
            return;
        }
        Conntrack::Failed(error) => {
            list.warn("conntrack", error.clone())
                .why("connections cannot show the kernel's table");
        }
        Conntrack::Read(count) => {
            list.ok("conntrack", format!("{count} entries can be read"));
        }
    }
    for (check, switch, name, what) in [
        (
            "conntrack counts",
            machine.conntrack_counts,
            "nf_conntrack_acct",
            "connections shows neither packets nor bytes",
        ),
        (
            "conntrack times",
            machine.conntrack_times,
            "nf_conntrack_timestamp",
            "connections cannot tell how old they are",
        ),
    ] {
        let command = format!("sysctl -w net.netfilter.{name}=1");
        match switch {
            Some(true) => {
                list.ok(check, format!("{name} is on"));
            }
            Some(false) => {
                list.warn(check, format!("{name} is off"))
                    .why(format!(
                        "{what}; it counts for connections that begin later"
                    ))
                    .mend(command);
            }
            None => {
                list.unknown(check, format!("net.netfilter.{name} cannot be read"));
            }
        }
    }
}

fn state_directory(machine: &Machine, list: &mut List) {
    match &machine.state {
        Some(NamedFile {
            path, fault: None, ..
        }) => {
            list.ok("state directory", path.display().to_string());
        }
        Some(NamedFile {
            path,
            fault: Some(fault),
            ..
        }) => {
            list.warn(
                "state directory",
                format!("{}: cannot be written: {fault}", path.display()),
            )
            .why("policies that are deleted while netverdict does not run are not remembered")
            .mend("netverdict observe --state DIR");
        }
        None => {
            list.warn(
                "state directory",
                "neither root nor $HOME nor $XDG_STATE_HOME",
            )
            .why("nothing is remembered between runs")
            .mend("netverdict observe --state DIR");
        }
    }
}

fn tls(files: &[NamedFile], list: &mut List) {
    for file in files {
        let path = file.path.display();
        match &file.fault {
            None => list.ok("tls files", format!("{} {path}", file.flag)),
            Some(fault) => list
                .fail("tls files", format!("{} {path}: {fault}", file.flag))
                .why("ssl endpoints cannot be reached"),
        };
    }
}

/// Tells what became of a database.
fn reached(
    reach: &Reach,
    check: &'static str,
    flag: &str,
    service: &str,
    absent: &str,
    list: &mut List,
) {
    match reach {
        Reach::There { at, schema } => {
            let schema = match schema {
                Some(version) => format!(", schema {version}"),
                None => String::new(),
            };
            list.ok(check, format!("{at}{schema}"));
        }
        Reach::Absent => {
            list.skip(
                check,
                format!("none given or found{absent}; give {flag} ENDPOINT|FILE"),
            );
        }
        Reach::Failed { at, error, fault } => {
            let finding = list.fail(check, format!("{at}: {error}"));
            match fault {
                Fault::NoServer => finding.why("no server listens there").mend(format!(
                    "systemctl start {service}   (or give {flag} ENDPOINT)"
                )),
                Fault::NoPermission => finding
                    .why("its socket is for root, or for the server's group")
                    .mend("run as root"),
                Fault::Other => finding,
            };
        }
    }
}

fn vswitch(zone: &Zone, list: &mut List) {
    list.area = Area::Vswitch;
    reached(
        &zone.ovs,
        "database",
        "--ovs",
        "openvswitch-switch",
        "",
        list,
    );
    if let Some(daemon) = &zone.vswitchd
        && !matches!((daemon, &zone.ovs), (Daemon::Absent(_), Reach::Absent))
    {
        daemon_finding(daemon, "ovs-vswitchd", "openvswitch-switch", list);
    }
    let Some(node) = &zone.node else {
        return;
    };
    if !node.is_current {
        list.warn(
            "configuration",
            "ovs-vswitchd has not carried out the last change (cur_cfg is not next_cfg)",
        )
        .why("what the database says may not be in force")
        .mend("systemctl status openvswitch-switch");
    }
    let can_sample = zone.status.as_ref().is_none_or(|status| status.can_sample);
    version(node, zone.vswitchd.as_ref(), can_sample, list);
    datapath(node, list);
    if node.offload {
        list.warn("hardware offload", "hw-offload is on")
            .why(
                "whether flows that the network card carries out are sampled is not verified: \
                 samples may be missing",
            )
            .mend(
                "ovs-vsctl set Open_vSwitch . other_config:hw-offload=false   (then restart \
                 ovs-vswitchd)",
            );
    } else {
        list.ok("hardware offload", "off");
    }
    // OVN's own version is what is told then.
    if can_sample {
        sets(node, list);
    }
}

fn version(node: &Node, daemon: Option<&Daemon>, can_sample: bool, list: &mut List) {
    let version = match (&node.version, daemon) {
        (Some(version), _) => Some(version.as_str()),
        (None, Some(Daemon::Answers(text))) => text.rsplit(' ').next(),
        _ => None,
    };
    if node.has_groups {
        list.ok("version", version.unwrap_or("3.4 or newer, by its schema"));
        return;
    }
    let seen = match version {
        Some(version) => format!("{version}, older than 3.4"),
        None => "older than 3.4, by its schema".to_owned(),
    };
    let finding = list.warn("version", seen);
    finding.why("it cannot send samples to psample, and needs logical flows for each ACL");
    if can_sample {
        finding.mend(format!(
            "upgrade to Open vSwitch 3.4; until then {BY_IPFIX}"
        ));
    }
}

fn daemon_finding(daemon: &Daemon, name: &'static str, service: &str, list: &mut List) {
    match daemon {
        Daemon::Answers(version) => {
            list.ok(name, format!("answers: {version}"));
        }
        Daemon::Absent(directory) => {
            list.unknown(
                name,
                format!("no control socket in {}", directory.display()),
            )
            .why("it does not run, or runs where its socket is not seen from here")
            .mend(format!("systemctl status {service}"));
        }
        Daemon::Silent(error) if error.contains("ermission denied") => {
            list.unknown(name, error.clone()).mend("run as root");
        }
        Daemon::Silent(error) => {
            list.fail(name, error.clone())
                .why("policies that change are not in force while it does not run")
                .mend(format!("systemctl restart {service}"));
        }
    }
}

fn datapath(node: &Node, list: &mut List) {
    let Some(bridge) = &node.bridge else {
        list.fail("bridge", "there is no bridge for ovn-controller (br-int)")
            .why("OVN does not work on this node")
            .mend("systemctl restart ovn-host");
        return;
    };
    let name = &bridge.bridge;
    let kind = node.datapath.as_deref().unwrap_or("system");
    match (kind, bridge.psample) {
        ("netdev", _) => list.ok(
            "datapath",
            format!("{name} in user space (netdev): no psample, samples go by IPFIX"),
        ),
        (_, Some(true)) => list.ok(
            "datapath",
            format!("{name} in the kernel ({kind}), with psample"),
        ),
        (_, Some(false)) => list
            .add(
                "datapath",
                if sends_ipfix_only(node) {
                    State::Warn
                } else {
                    State::Fail
                },
                format!("{name} in the kernel ({kind}), without the psample action"),
            )
            .why("samples of this node can only go by IPFIX, which costs an upcall each")
            .mend(BY_IPFIX),
        (_, None) => list
            .unknown(
                "datapath",
                format!("{name} in the kernel ({kind}); it does not say whether it has psample"),
            )
            .why("Open vSwitch before 3.4, or a bridge that has no datapath yet"),
    };
}

fn sets(node: &Node, list: &mut List) {
    let Some(bridge) = &node.bridge else {
        return;
    };
    if bridge.sets.is_empty() {
        list.warn("collector sets", format!("{} has none", bridge.bridge))
            .why("without the set that its samples name, a node sends none")
            .mend(enable(Some(node), None));
        return;
    }
    for set in &bridge.sets {
        let mut targets = Vec::new();
        if let Some(group) = set.group {
            targets.push(format!("psample group {group}"));
        }
        if !set.ipfix.is_empty() {
            targets.push(format!("IPFIX {}", set.ipfix.join(" ")));
        }
        if targets.is_empty() {
            targets.push("nowhere".to_owned());
        }
        let targets = targets.join(" and ");
        let seen = format!("{} to {targets}, by {}", set.set, set.by);
        match set.group {
            Some(group) if group > 255 => list
                .warn("collector sets", seen)
                .why(format!(
                    "NetObserv's agent reads groups up to 255: it takes {group} for {}",
                    group & 255
                ))
                .mend(format!(
                    "netverdict sampling enable --set {} --group 10",
                    set.set
                )),
            _ => list.ok("collector sets", seen),
        };
    }
}

fn ovn(zone: &Zone, list: &mut List) {
    list.area = Area::Ovn;
    reached(&zone.nb, "northbound", "--nb", "ovn-central", "", list);
    reached(
        &zone.sb,
        "southbound",
        "--sb",
        "ovn-central",
        " (names drops without an ACL)",
        list,
    );
    if let Some(daemon) = &zone.controller
        && !matches!((daemon, &zone.nb), (Daemon::Absent(_), Reach::Absent))
    {
        daemon_finding(daemon, "ovn-controller", "ovn-host", list);
    }
    let Some(status) = &zone.status else {
        return;
    };
    match (&status.ovn, status.can_sample) {
        (Some(version), true) => list.ok("version", format!("OVN {version}")),
        (None, true) => list.ok("version", "OVN 24.09 or newer, by its schema"),
        (version, false) => {
            let version = version.as_deref().unwrap_or("of unknown version");
            list.fail(
                "version",
                format!("OVN {version}: ACLs cannot be sampled before 24.09"),
            )
            .why("what remains is the log of ACLs, and the labels of connections (ACL.label)")
            .mend(
                "ovn-nbctl set ACL UUID log=true severity=info   (then observe --source \
                 acl-log:/var/log/ovn/ovn-controller.log)",
            )
        }
    };
    if !zone.policy.northd {
        list.warn("northd", "ovn-northd has never worked on this NB")
            .why("policies in it are not in force")
            .mend("systemctl start ovn-central");
    }
}

fn sampling(zone: &Zone, list: &mut List) {
    list.area = Area::Sampling;
    let Some(status) = &zone.status else {
        if let Reach::Absent = zone.nb {
            list.skip("acls", "needs a NB; give --nb ENDPOINT|FILE");
        }
        return;
    };
    if status.can_sample {
        acls(status, zone, list);
        apps(status, list);
        drops(status, zone, list);
        flows(status, zone, list);
        doubles(status, zone, list);
        for (check, kind, fine) in [
            (
                "collisions",
                ProblemKind::Collision,
                "no two ACLs share a point",
            ),
            (
                "drift",
                ProblemKind::Stale,
                "every point is that of its ACL",
            ),
        ] {
            let is_fine = !status.problems.iter().any(|problem| problem.kind == kind);
            if is_fine && status.flows.optimised + status.flows.single > 0 {
                list.ok(check, fine);
            }
        }
    }
    for problem in &status.problems {
        known(problem, zone, list);
    }
}

fn acls(status: &Status, zone: &Zone, list: &mut List) {
    let all: usize = status.policies.iter().map(|policy| policy.acls).sum();
    let without: usize = status.policies.iter().map(|policy| policy.unsampled).sum();
    let sampled = all - without;
    let seen = format!("{sampled} of {all} ACLs are sampled");
    match (all, sampled) {
        (0, _) => list
            .warn("acls", "this NB has no ACL")
            .why("without a policy there is nothing to explain"),
        (_, 0) => list
            .fail("acls", seen)
            .why("sampling is off: no verdict can be seen")
            .mend(enable(zone.node.as_ref(), None)),
        _ => list.ok("acls", seen),
    };
}

fn apps(status: &Status, list: &mut List) {
    let apps: Vec<_> = status
        .apps
        .iter()
        .map(|(app, id)| format!("{app} {id}"))
        .collect();
    let is_missing = |problem: &Problem| problem.kind == ProblemKind::MissingApp;
    if !apps.is_empty() && !status.problems.iter().any(is_missing) {
        list.ok("applications", apps.join(", "));
    }
}

fn drops(status: &Status, zone: &Zone, list: &mut List) {
    let Some(set) = zone.policy.drop_set else {
        let finding = list.skip(
            "drops without ACL",
            "not sampled: NB_Global.options:debug_drop_collector_set is not set",
        );
        if let Some(collector) = status.collectors.first() {
            let set = collector.set;
            finding.mend(format!(
                "ovn-nbctl set NB_Global . options:debug_drop_collector_set={set}   (if you want \
                 them)"
            ));
        }
        return;
    };
    let seen = format!("sampled to collector set {set}");
    let sets = zone.node.as_ref().and_then(|node| node.bridge.as_ref());
    let is_there = sets.is_none_or(|node| node.sets.iter().any(|there| there.set == set));
    if !status.apps.contains_key("drop") {
        list.warn("drops without ACL", seen)
            .why("there is no Sampling_App for drop, so that nothing tells what they are")
            .mend("ovn-nbctl create Sampling_App type=drop id=1");
    } else if !is_there {
        list.warn("drops without ACL", seen)
            .why("the node has no such collector set: they are not sent")
            .mend(enable(zone.node.as_ref(), Some(set)));
    } else if !matches!(zone.sb, Reach::There { .. }) {
        list.warn("drops without ACL", seen)
            .why("the logical flow that dropped is in the SB")
            .mend("give --sb ENDPOINT|FILE");
    } else {
        list.ok("drops without ACL", seen);
    }
}

fn flows(status: &Status, zone: &Zone, list: &mut List) {
    let flows = &status.flows;
    if flows.single == 0 && flows.optimised == 0 {
        return;
    }
    if !flows.old_chassis.is_empty() {
        list.warn(
            "logical flows",
            format!("about {} for {} samples", flows.single_flows, flows.single),
        )
        .why(format!(
            "{} cannot take a point from a register (no ovn-sample-with-registers in \
             Chassis.other_config): OVN makes flows for each ACL",
            flows.old_chassis.join(", ")
        ))
        .mend("upgrade there to OVN 24.09 and Open vSwitch 3.4");
    } else if flows.single > 0 {
        list.warn(
            "logical flows",
            format!("about {} for {} samples", flows.single_flows, flows.single),
        )
        .why("they have more than one collector each: OVN makes flows for each ACL")
        .mend("netverdict sampling disable   (if the second collector is netverdict's)");
    } else {
        list.ok(
            "logical flows",
            format!("optimised: a few for all {} samples", flows.optimised),
        );
    }
    if !matches!(zone.sb, Reach::There { .. }) {
        list.skip(
            "chassis",
            "whether all nodes can take points from registers is in the SB; give --sb",
        );
    }
}

fn doubles(status: &Status, zone: &Zone, list: &mut List) {
    let Some(tier) = zone.policy.highest_est_tier.filter(|tier| *tier > 0) else {
        return;
    };
    let version = status.ovn.as_deref().and_then(Version::parse);
    match version {
        Some(version) if version >= Version::SAMPLED_ONCE => {
            list.ok("doubles", "none: OVN samples a packet once");
        }
        Some(_) => {
            list.warn(
                "doubles",
                format!(
                    "packets of established connections are sampled up to {} times",
                    tier + 1
                ),
            )
            .why(
                "before 26.03 OVN samples them once in each tier; netverdict counts the copies \
                 apart, other readers may not",
            )
            .mend("upgrade to OVN 26.03");
        }
        None => {
            list.unknown(
                "doubles",
                "whether established packets are sampled once depends on OVN's version",
            );
        }
    }
}

/// Tells a problem that control found.
fn known(problem: &Problem, zone: &Zone, list: &mut List) {
    let (check, state, why) = match problem.kind {
        // Told as the version of OVN, the bridge and the datapath.
        ProblemKind::SchemaTooOld | ProblemKind::NoBridge => return,
        ProblemKind::MissingApp => (
            "applications",
            State::Fail,
            "new and established packets cannot be told apart",
        ),
        ProblemKind::Unsampled => ("acls", State::Warn, "their verdicts are not seen"),
        ProblemKind::Stale => (
            "drift",
            State::Warn,
            "samples name what the ACL was, not what it is",
        ),
        ProblemKind::Collision => (
            "collisions",
            State::Warn,
            "their samples are decided by the matches where these differ; else all are named, marked ambiguous",
        ),
        ProblemKind::Label => (
            "labels",
            State::Warn,
            "their samples carry the label and no application",
        ),
        ProblemKind::UnusedCollector => ("collectors", State::Warn, "it does nothing"),
        ProblemKind::NoPackets => ("collectors", State::Warn, "it does nothing"),
        ProblemKind::MissingSet => (
            "collector sets",
            State::Fail,
            "this node sends none of these samples",
        ),
        ProblemKind::EmptySet => (
            "collector sets",
            State::Warn,
            "this node sends none of these samples",
        ),
        ProblemKind::UnusedSet => ("collector sets", State::Warn, "it does nothing"),
        ProblemKind::NoPsample => {
            let ipfix = zone.node.as_ref().and_then(|node| node.bridge.as_ref());
            let is_sent = ipfix.is_some_and(|bridge| {
                bridge
                    .sets
                    .iter()
                    .all(|set| set.group.is_none() || !set.ipfix.is_empty())
            });
            let state = if is_sent { State::Warn } else { State::Fail };
            ("collector sets", state, "nothing goes to that group")
        }
        ProblemKind::Unreadable => ("rows", State::Warn, "what it says is not in any verdict"),
    };
    let finding = list.add(check, state, problem.text.clone());
    finding.why(why);
    match (&problem.mend, problem.kind) {
        (_, ProblemKind::NoPsample) => {
            finding.mend(BY_IPFIX);
        }
        (Some(mend), _) => {
            finding.mend(mend.clone());
        }
        (None, _) => {}
    }
}
