//! Made-up facts, and what must be said of them.

use netverdict_control::{CollectorSet, Node as Bridge};
use netverdict_ovn::Database;
use netverdict_ovsdb::Replica;
use netverdict_types::Timestamp;

use super::checks::{findings, samples_to_psample, source};
use super::facts::{
    Conntrack, Daemon, Facts, Fault, Machine, NamedFile, Node, Psample, Reach, Zone,
};
use super::{Finding, Report, State};

/// A machine where all is well.
fn machine() -> Machine {
    Machine {
        kernel: "6.12.107+deb13-cloud-amd64".to_owned(),
        psample: Psample::Opened,
        has_psample_module: true,
        datapath: true,
        net_admin: true,
        rmem_max: Some(212_992),
        conntrack: Conntrack::Read(12),
        conntrack_counts: Some(true),
        conntrack_times: Some(true),
        state: Some(NamedFile {
            flag: "--state",
            path: "/var/lib/netverdict".into(),
            fault: None,
        }),
        program: "/usr/bin/netverdict".into(),
    }
}

/// A node where all is well.
fn node() -> Node {
    Node {
        version: Some("3.5.0".to_owned()),
        has_groups: true,
        offload: false,
        is_current: true,
        bridge: Some(Bridge {
            bridge: "br-int".to_owned(),
            psample: Some(true),
            sets: vec![CollectorSet {
                set: 42,
                group: Some(10),
                ipfix: Vec::new(),
                by: "lab".to_owned(),
            }],
        }),
        datapath: Some("system".to_owned()),
    }
}

fn there(at: &str) -> Reach {
    Reach::There {
        at: at.to_owned(),
        schema: None,
    }
}

/// The rows of a recording: its OVN 25.03 samples all ACLs that it should.
fn zone(kind: &str) -> Zone {
    let read = |file: &str| {
        let path = format!(
            "{}/../../lab/captures/{kind}/{file}",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read(path).ok()?;
        Some(Replica::from_dump(&text[..]).unwrap().replica)
    };
    let restricted = |file, database| {
        let replica: Option<Replica> = read(file);
        replica.map(|replica| replica.restrict(&super::collect::wanted_here(database)))
    };
    let nb = restricted("nb1.json", Database::Northbound);
    let ovs = restricted("ovs1.json", Database::Vswitch);
    let mut zone = Zone {
        nb: there("nb1.json"),
        ovs: there("ovs1.json"),
        vswitchd: Some(Daemon::Answers("ovs-vswitchd (Open vSwitch) 3.5.0".into())),
        ..Zone::default()
    };
    zone.read(nb.as_ref(), None, ovs.as_ref());
    if let Some(node) = &mut zone.node {
        node.version = Some("3.5.0".to_owned());
    }
    zone
}

fn facts(machine: Option<Machine>, zone: Zone) -> Facts {
    Facts {
        time: Timestamp(0),
        machine,
        tls: Vec::new(),
        zones: vec![zone],
    }
}

fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.check == check)
        .unwrap_or_else(|| panic!("{check} is not there"))
}

/// The one finding that a change of a good machine's facts leads to.
#[track_caller]
fn changed(change: impl FnOnce(&mut Facts)) -> Finding {
    let good = facts(Some(machine()), zone("vm"));
    let mut bad = good.clone();
    change(&mut bad);
    let good = findings(&good);
    let mut new = findings(&bad);
    new.retain(|finding| !good.contains(finding));
    assert_eq!(new.len(), 1, "{new:#?}");
    new.remove(0)
}

#[test]
fn a_good_machine_has_nothing_to_mend_but_the_doubles_of_its_ovn() {
    let findings = findings(&facts(Some(machine()), zone("vm")));
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| !matches!(finding.state, State::Ok | State::Skip))
        .map(|finding| finding.check)
        .collect();
    assert_eq!(bad, ["doubles"]);
    assert_eq!(of(&findings, "acls").seen, "37 of 39 ACLs are sampled");
}

#[test]
fn kernels_are_told_by_their_release() {
    for (release, expected) in [
        ("6.11.0-8-generic", Some(true)),
        ("7.0.0", Some(true)),
        ("6.10.14-200.fc40.x86_64", Some(false)),
        ("6.1.0-18-amd64", Some(false)),
        ("5.14.0-570.12.1.el9_6.x86_64", Some(true)),
        ("5.14.0-503.11.1.el9_5.x86_64", Some(false)),
        ("5.14.0-570.custom", Some(false)),
        ("nonsense", None),
        ("", None),
    ] {
        assert_eq!(samples_to_psample(release), expected, "{release}");
    }
}

#[test]
fn an_old_kernel_fails_unless_its_datapath_says_that_it_samples() {
    let proven = changed(|facts| {
        facts.machine.as_mut().unwrap().kernel = "6.1.0".to_owned();
    });
    assert_eq!((proven.check, proven.state), ("kernel", State::Ok));
    let mut zone = zone("vm");
    zone.node = None;
    let mut machine = machine();
    machine.kernel = "6.1.0".to_owned();
    let findings = findings(&facts(Some(machine), zone));
    let finding = of(&findings, "kernel");
    assert_eq!(finding.state, State::Fail);
    assert!(finding.mend.as_ref().unwrap().contains("--ipfix"));
}

#[test]
fn psample_is_mended_by_what_is_missing() {
    for (psample, has_module, mend) in [
        (Psample::NoFamily, true, "modprobe psample"),
        (Psample::NoFamily, false, "--ipfix"),
        (
            Psample::NoPermission,
            true,
            "setcap cap_net_admin+ep /usr/bin/netverdict",
        ),
    ] {
        let finding = changed(|facts| {
            let machine = facts.machine.as_mut().unwrap();
            machine.psample = psample;
            machine.has_psample_module = has_module;
        });
        assert_eq!((finding.check, finding.state), ("psample", State::Fail));
        let given = finding.mend.unwrap();
        assert!(given.contains(mend), "{given}");
    }
}

#[test]
fn a_datapath_in_user_space_does_not_need_psample() {
    let mut machine = machine();
    machine.psample = Psample::NoFamily;
    machine.datapath = false;
    machine.kernel = "5.10.0".to_owned();
    let findings = findings(&facts(Some(machine), zone("native")));
    for check in ["psample", "datapath module", "conntrack"] {
        assert_eq!(of(&findings, check).state, State::Skip, "{check}");
    }
    assert_eq!(Report::new(Timestamp(0), findings).fail, 0);
}

#[test]
fn each_fault_of_the_machine_is_one_finding() {
    type Change = fn(&mut Machine);
    for (check, state, mend, change) in [
        (
            "datapath module",
            State::Fail,
            "modprobe openvswitch",
            (|machine| machine.datapath = false) as Change,
        ),
        (
            "conntrack counts",
            State::Warn,
            "sysctl -w net.netfilter.nf_conntrack_acct=1",
            |machine| machine.conntrack_counts = Some(false),
        ),
        (
            "conntrack times",
            State::Warn,
            "sysctl -w net.netfilter.nf_conntrack_timestamp=1",
            |machine| machine.conntrack_times = Some(false),
        ),
        ("state directory", State::Warn, "--state DIR", |machine| {
            machine.state.as_mut().unwrap().fault = Some("Read-only file system".to_owned());
        }),
    ] {
        let finding = changed(|facts| change(facts.machine.as_mut().unwrap()));
        assert_eq!((finding.check, finding.state), (check, state));
        let given = finding.mend.unwrap();
        assert!(given.contains(mend), "{given}");
    }
}

#[test]
fn without_rights_the_limits_of_the_system_count() {
    let mut machine = machine();
    machine.net_admin = false;
    machine.psample = Psample::NoPermission;
    let findings = findings(&facts(Some(machine), zone("vm")));
    assert_eq!(of(&findings, "permissions").state, State::Fail);
    let buffer = of(&findings, "receive buffer");
    assert_eq!(buffer.state, State::Warn);
    assert_eq!(
        buffer.mend.as_deref(),
        Some("sysctl -w net.core.rmem_max=16777216")
    );
}

#[test]
fn each_fault_of_the_node_is_one_finding() {
    type Change = fn(&mut Zone);
    for (check, state, mend, change) in [
        (
            "hardware offload",
            State::Warn,
            "hw-offload=false",
            (|zone| zone.node.as_mut().unwrap().offload = true) as Change,
        ),
        ("configuration", State::Warn, "systemctl status", |zone| {
            zone.node.as_mut().unwrap().is_current = false;
        }),
        (
            "version",
            State::Warn,
            "upgrade to Open vSwitch 3.4",
            |zone| {
                zone.node.as_mut().unwrap().has_groups = false;
            },
        ),
        ("collector sets", State::Warn, "--group 10", |zone| {
            let bridge = zone.node.as_mut().unwrap().bridge.as_mut().unwrap();
            bridge.sets[0].group = Some(300);
        }),
        ("ovs-vswitchd", State::Fail, "systemctl restart", |zone| {
            zone.vswitchd = Some(Daemon::Silent("connection refused".to_owned()));
        }),
        ("northd", State::Warn, "systemctl start", |zone| {
            zone.policy.northd = false;
        }),
        ("drops without ACL", State::Warn, "give --sb", |zone| {
            zone.policy.drop_set = Some(42);
        }),
        ("drops without ACL", State::Warn, "--set 7", |zone| {
            zone.policy.drop_set = Some(7);
        }),
        ("acls", State::Fail, "sampling enable --group", |zone| {
            for policy in &mut zone.status.as_mut().unwrap().policies {
                policy.unsampled = policy.acls;
            }
        }),
        ("logical flows", State::Warn, "sampling disable", |zone| {
            zone.status.as_mut().unwrap().flows.single = 4;
        }),
        ("southbound", State::Fail, "systemctl start", |zone| {
            zone.sb = Reach::Failed {
                at: "unix:/sb".to_owned(),
                error: "connection refused".to_owned(),
                fault: Fault::NoServer,
            };
        }),
    ] {
        let finding = changed(|facts| change(&mut facts.zones[0]));
        assert_eq!((finding.check, finding.state), (check, state));
        let given = finding.mend.unwrap();
        assert!(given.contains(mend), "{given}");
    }
}

#[test]
fn a_group_past_a_byte_is_told_with_what_others_take_it_for() {
    let finding = changed(|facts| {
        let node = facts.zones[0].node.as_mut().unwrap();
        node.bridge.as_mut().unwrap().sets[0].group = Some(266);
    });
    assert!(finding.why.unwrap().contains("takes 266 for 10"));
}

#[test]
fn problems_of_sampling_are_told_once() {
    // The lab's rows of node 1, and a node that has another collector set.
    let mut zone = zone("vm");
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../lab/captures/vm/ovs1.json"
    ));
    let text = text.unwrap();
    let (table, rest) = text
        .split_once("Flow_Sample_Collector_Set table")
        .map(|(before, after)| (before.len(), after))
        .unwrap();
    let renumbered = rest.replacen(",42,", ",43,", 1);
    let ovs = format!(
        "{}Flow_Sample_Collector_Set table{renumbered}",
        &text[..table]
    );
    let ovs = Replica::from_dump(ovs.as_bytes()).unwrap().replica;
    let nb = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../lab/captures/vm/nb1.json"
    ));
    let nb = Replica::from_dump(&nb.unwrap()[..]).unwrap().replica;
    zone.read(Some(&nb), None, Some(&ovs));
    let findings = findings(&facts(Some(machine()), zone));
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.state == State::Fail)
        .collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert!(failed[0].seen.contains("collector set 42"), "{failed:#?}");
    assert!(failed[0].mend.as_ref().unwrap().contains("--set 42"));
}

#[test]
fn an_ovn_that_cannot_sample_fails_and_names_what_remains() {
    let mut zone = zone("bookworm");
    zone.node = Some(node());
    let findings = findings(&facts(Some(machine()), zone));
    let failed: Vec<_> = findings
        .iter()
        .filter(|finding| finding.state == State::Fail)
        .collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(failed[0].check, "version");
    assert!(failed[0].mend.as_ref().unwrap().contains("acl-log:"));
}

#[test]
fn without_databases_everything_about_them_is_skipped_with_the_flag_to_give() {
    let findings = findings(&facts(Some(machine()), Zone::default()));
    for (check, flag) in [
        ("database", "--ovs"),
        ("northbound", "--nb"),
        ("southbound", "--sb"),
        ("acls", "--nb"),
    ] {
        let finding = of(&findings, check);
        assert_eq!(finding.state, State::Skip);
        assert!(finding.seen.contains(flag), "{finding:?}");
    }
}

#[test]
fn dumps_tell_nothing_of_this_machine() {
    let findings = findings(&facts(None, zone("vm")));
    assert_eq!(of(&findings, "machine").state, State::Skip);
    assert!(findings.iter().all(|finding| finding.check != "kernel"));
}

#[test]
fn a_bundle_reads_where_the_node_sends() {
    let from = |machine, zone| source(&facts(machine, zone));
    assert_eq!(
        from(Some(machine()), zone("vm")).as_deref(),
        Ok("psample:10")
    );
    assert_eq!(
        from(Some(machine()), zone("native")).as_deref(),
        Ok("ipfix:127.0.0.1:4739")
    );
    assert!(from(None, zone("vm")).is_err());
    let mut deaf = machine();
    deaf.psample = Psample::NoPermission;
    assert!(from(Some(deaf), zone("vm")).is_err());
    assert_eq!(
        from(Some(machine()), Zone::default()).as_deref(),
        Ok("psample")
    );
}

#[test]
fn the_report_counts_and_names_zones() {
    let mut facts = facts(Some(machine()), zone("vm"));
    facts.zones.push(zone("native"));
    for (number, zone) in facts.zones.iter_mut().enumerate() {
        zone.name = Some(format!("zone-{number}"));
    }
    let report = Report::new(Timestamp(0), findings(&facts));
    let text = report.text(false);
    for heading in [
        "This machine\n",
        "\nOpen vSwitch, zone zone-0\n",
        "\nSampling, zone zone-1\n",
    ] {
        assert!(text.contains(heading), "{text}");
    }
    assert!(!text.contains('\x1b'));
    assert!(report.text(true).contains("\x1b[32mok\x1b[0m"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"].as_array().unwrap().len(), {
        report.ok + report.warn + report.fail + report.skip + report.unknown
    });
    assert_eq!(json["findings"][0]["area"], "machine");
}
