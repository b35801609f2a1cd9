//! Logs and dumps that were recorded from real OVN and Open vSwitch (`lab/captures`).
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netverdict_types::{Cookie, Key, LogVerdict, Timestamp, ZoneId};
use netverdict_wire::conntrack::{Body, Entry, Messages, TcpState, ZoneNames, ZoneOwner};
use netverdict_wire::{acl_log, conntrack, dpflows};
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../lab/captures")
        .join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

/// The points of a recording's ACLs that a packet without a connection met, with how many
/// packets did, at one node.
fn new_points(kind: &str, node: u64) -> BTreeMap<u32, u64> {
    let traffic = json(&format!("{kind}/traffic.json"));
    let new = traffic["new"].as_array().unwrap().iter();
    new.filter(|entry| entry["node"] == node)
        .map(|entry| {
            let point = u32::try_from(entry["point"].as_u64().unwrap()).unwrap();
            (point, entry["count"].as_u64().unwrap())
        })
        .collect()
}

#[test]
fn every_logged_verdict_is_read() {
    for node in 1..=2 {
        let log = text(&format!("native/acl-log{node}.txt"));
        let traffic = json("native/traffic.json");
        let ips: BTreeSet<IpAddr> = traffic["flows"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|flow| [&flow["from"]["ip"], &flow["to"]["ip"]])
            .filter_map(|ip| ip.as_str()?.parse().ok())
            .collect();
        let mut scratch = String::new();
        let mut verdicts = HashMap::new();
        let mut protocols = BTreeSet::new();
        let mut last = Timestamp::MIN;
        let mut known = 0;
        for text in log.lines() {
            let line = acl_log::parse(text.as_bytes(), &mut scratch)
                .unwrap()
                .unwrap();
            let sample = line.sample(ZoneId(0), Timestamp(0));
            assert!(sample.time >= last, "lines are in the order of their times");
            last = sample.time;
            let Key::Log { name, verdict, .. } = sample.key else {
                panic!("{text}");
            };
            assert!(text.contains(&format!("name=\"{name}\"")) || name.is_empty());
            *verdicts.entry(format!("{verdict:?}")).or_insert(0) += 1;
            let headers = sample.headers;
            protocols.insert((headers.ethertype.unwrap(), headers.protocol.unwrap()));
            if matches!(headers.protocol, Some(6 | 17)) {
                assert!(headers.src_port.is_some() && headers.dst_port.is_some());
            }
            let ends = [headers.src.unwrap(), headers.dst.unwrap()];
            known += usize::from(ends.iter().any(|ip| ips.contains(ip)));
        }
        assert!(known > 50, "the traffic that was sent is in the log");
        assert!(verdicts.contains_key("Allow") && verdicts.contains_key("Drop"));
        for wanted in [(0x0800, 6), (0x86dd, 6), (0x0800, 17), (0x0800, 1)] {
            assert!(protocols.contains(&wanted), "{protocols:?}");
        }
    }
    let log = text("native/acl-log2.txt") + &text("native/acl-log1.txt");
    let mut scratch = String::new();
    let reject = log.lines().any(|line| {
        let line = acl_log::parse(line.as_bytes(), &mut scratch)
            .unwrap()
            .unwrap();
        line.verdict == LogVerdict::Reject
    });
    assert!(reject);
}

fn from_text(name: &str) -> Vec<Entry> {
    text(name)
        .lines()
        .map(|line| conntrack::parse_line(line).unwrap().unwrap())
        .collect()
}

fn from_netlink(name: &str) -> Vec<Entry> {
    let bytes = fs::read(path(name)).unwrap();
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    let mut done = false;
    while let Some((length, more)) = rest.split_first_chunk() {
        let (datagram, more) = more.split_at(u32::from_le_bytes(*length) as usize);
        rest = more;
        for message in Messages::new(datagram) {
            let message = message.unwrap();
            assert!(!message.interrupted);
            match message.body {
                Body::Entry(entry) => entries.push(entry),
                Body::Done(0) => done = true,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(done, "the dump is whole");
    entries
}

/// Both ways to the same table are recorded one after the other: what is in both is equal.
#[test]
fn netlink_and_text_say_the_same() {
    for node in 1..=2 {
        let netlink = from_netlink(&format!("vm/ctnetlink{node}.bin"));
        let text: HashMap<_, _> = from_text(&format!("vm/dump-conntrack{node}.txt"))
            .into_iter()
            .map(|entry| (entry.id, entry))
            .collect();
        let mut common = 0;
        for entry in &netlink {
            let Some(other) = text.get(&entry.id) else {
                continue;
            };
            common += 1;
            assert_eq!((entry.orig, entry.reply), (other.orig, other.reply));
            assert_eq!((entry.zone, entry.mark), (other.zone, other.mark));
            assert_eq!(entry.label, other.label, "the byte order of the label");
            if entry.tcp_state == Some(TcpState::Established) {
                assert_eq!(other.tcp_state, entry.tcp_state);
            }
        }
        assert!(common >= 10, "{common} of {}", netlink.len());
        assert!(netlink.iter().any(|entry| entry.obs_point_id() != 0));
    }
}

/// Points in labels are points of real ACLs, and each labelled entry belongs to a port.
#[test]
fn labels_lead_to_points_and_zones_to_ports() {
    for (kind, node) in [("vm", 1), ("vm", 2), ("native", 1), ("native", 2)] {
        let names = ZoneNames::from_list(&text(&format!("{kind}/ct-zone-list{node}.txt")));
        assert_eq!(names, from_bridge(&format!("{kind}/ovs{node}.json")));
        let points: BTreeSet<u32> = new_points(kind, node).into_keys().collect();
        let entries = from_text(&format!("{kind}/dump-conntrack{node}.txt"));
        let mut sampled = 0;
        for entry in &entries {
            if !entry.is_sampled() {
                continue;
            }
            sampled += 1;
            assert!(
                points.contains(&entry.obs_point_id()),
                "{kind} {node}: {entry:?}"
            );
            assert_eq!(entry.obs_unused(), 0);
            assert!(entry.obs_collector_id() > 0 && entry.obs_stage() <= 2);
            let owner = names.owner(entry.zone);
            assert!(matches!(owner, Some(ZoneOwner::Port(_))), "{owner:?}");
        }
        assert!(sampled > 5, "{kind} {node}: {sampled} of {}", entries.len());
        if node == 1 {
            assert!(
                entries.iter().any(|entry| entry.natted()),
                "a service was used"
            );
        }
    }
}

/// The zones in the external ids of br-int, out of a dump of the Open_vSwitch database.
fn from_bridge(name: &str) -> ZoneNames {
    for line in text(name).lines() {
        let table: Value = serde_json::from_str(line).unwrap();
        if table["caption"] != "Bridge table" {
            continue;
        }
        let headings = table["headings"].as_array().unwrap();
        let column = |name: &str| headings.iter().position(|known| known == name).unwrap();
        for row in table["data"].as_array().unwrap() {
            if row[column("name")] == "br-int" {
                let pairs = row[column("external_ids")][1].as_array().unwrap();
                return ZoneNames::from_external_ids(
                    pairs
                        .iter()
                        .filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?))),
                );
            }
        }
    }
    panic!("{name} has no br-int");
}

#[test]
fn every_datapath_flow_is_read() {
    for kind in ["vm", "native"] {
        let mut totals = dpflows::Totals::default();
        for line in text(&format!("{kind}/dump-flows1.txt")).lines() {
            if let Some(flow) = dpflows::parse_line(line).unwrap() {
                assert!(flow.in_port.is_some() && flow.recirc_id.is_some(), "{line}");
                totals.add(&flow).unwrap();
            }
        }
        assert!(totals.flows > 50 && totals.by_cookie.len() > 10);
        let new: BTreeMap<u32, u64> = new_points(kind, 1);
        let mut checked = 0;
        for (&Cookie { domain, point }, total) in &totals.by_cookie {
            // acl-new is app 2 in the lab.
            if domain >> 24 != 2 {
                continue;
            }
            checked += 1;
            assert!(new.contains_key(&point), "{kind}: point {point}");
            assert_eq!(total.doubles, 0, "new packets give one sample");
            // The first packet makes the flow and is not counted by it.
            assert!(total.packets <= new[&point], "{kind}: point {point}");
        }
        assert!(checked > 3, "{kind}");
        let doubled = totals.by_cookie.values().any(|total| total.doubles > 0);
        assert!(doubled, "OVN 25.03 doubles established packets");
    }
}
