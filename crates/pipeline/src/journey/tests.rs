use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use netverdict_ovsdb::{Atom, Datum, Row};
use uuid::Uuid;

use super::*;
use crate::flow::Release;
use crate::walk::Walk;

/// Two nodes, each a zone: a switch with two pods, a router of the cluster, a transit switch between the zones, and a gateway.
#[test]
fn on_the_same_switch() {
    let mut cluster = Cluster::new();
    cluster.talk("cli-a", tcp("10.1.0.4", "10.1.0.5", 8080));
    cluster.says("on_the_same_switch");
}

#[test]
fn to_a_service_with_its_backend_in_the_other_zone() {
    let mut cluster = Cluster::new();
    cluster.twin.backend = Some(address("10.2.0.5"));
    cluster.talk("cli-a", tcp("10.1.0.4", "10.96.0.1", 80));
    cluster.says("to_a_service_with_its_backend_in_the_other_zone");
}

#[test]
fn to_itself_by_a_service() {
    let mut cluster = Cluster::new();
    cluster.twin.backend = Some(address("10.1.0.5"));
    cluster.talk("web-a", tcp("10.1.0.5", "10.96.0.1", 80));
    cluster.says("to_itself_by_a_service");
}

#[test]
fn to_itself_by_a_service_of_ipv6_without_a_source_of_its_own() {
    let mut cluster = Cluster::new();
    cluster.talk("web-a", udp("fd01::5", "fd96::1", 53));
    cluster.says("to_itself_by_a_service_of_ipv6_without_a_source_of_its_own");
}

#[test]
fn services_without_backends() {
    let mut cluster = Cluster::new();
    cluster.send("cli-a", tcp("10.1.0.4", "10.96.0.9", 80));
    cluster.send("cli-a", udp("10.1.0.4", "10.96.0.9", 53));
    cluster.says("services_without_backends");
}

#[test]
fn dropped_and_rejected_in_the_other_zone() {
    let mut cluster = Cluster::new();
    cluster.send("cli-a", tcp("10.1.0.4", "10.2.0.5", 9999));
    cluster.send("cli-a", tcp("10.1.0.4", "10.2.0.5", 9998));
    cluster.says("dropped_and_rejected_in_the_other_zone");
}

#[test]
fn answers_of_rejects_find_their_way() {
    let mut cluster = Cluster::new();
    cluster.twin.answers = true;
    cluster.send("cli-a", tcp("10.1.0.4", "10.2.0.5", 9998));
    cluster.send("cli-a", tcp("10.1.0.4", "10.96.0.9", 80));
    cluster.send("cli-a", udp("10.1.0.4", "10.1.0.1", 53));
    cluster.says("answers_of_rejects_find_their_way");
}

#[test]
fn outside_and_to_routers() {
    let mut cluster = Cluster::new();
    cluster.send("cli-a", tcp("10.1.0.4", "203.0.113.7", 443));
    cluster.send("cli-a", tcp("10.1.0.4", "10.1.0.1", 443));
    cluster.send(
        "cli-a",
        Packet::icmp_echo(address("10.1.0.4"), address("10.1.0.1"), 7),
    );
    cluster.send("cli-a", tcp("fd01::4", "fd09::1", 443));
    let mut last = tcp("10.1.0.4", "10.2.0.5", 8080);
    last.ttl = 1;
    cluster.send("cli-a", last);
    cluster.says("outside_and_to_routers");
}

#[test]
fn from_outside_through_a_gateway() {
    let mut cluster = Cluster::new();
    let packet = tcp("203.0.113.7", "10.96.0.1", 80);
    cluster.twin.backend = Some(address("10.1.0.5"));
    cluster.talk(
        "breth-a",
        packet.between([2; 6], mac("0a:00:00:00:0e:0a").unwrap()),
    );
    cluster.says("from_outside_through_a_gateway");
}

#[test]
fn an_error_about_a_connection_to_a_service() {
    let mut cluster = Cluster::new();
    cluster.twin.backend = Some(address("10.1.0.5"));
    let Outcome::Delivered(place, arrived) =
        cluster.send("cli-a", udp("10.1.0.4", "10.96.0.1", 53))
    else {
        panic!("{}", cluster.log.text)
    };
    let error = arrived.reset_or_unreachable().unwrap();
    cluster.send_from(place, error);
    cluster.says("an_error_about_a_connection_to_a_service");
}

#[test]
fn to_a_group() {
    let mut cluster = Cluster::new();
    let packet = udp("10.1.0.4", "239.1.1.1", 5000).between(MAC_CLI, [1, 0, 0x5e, 1, 1, 1]);
    cluster.send("cli-a", packet);
    cluster.says("to_a_group");
}

#[test]
fn what_no_way_leads_to() {
    let mut cluster = Cluster::new();
    let strange = tcp("10.1.0.4", "10.1.0.77", 80).between(MAC_CLI, [2, 9, 9, 9, 9, 9]);
    cluster.send("cli-a", strange);
    let own = tcp("10.1.0.4", "10.1.0.4", 80).between(MAC_CLI, MAC_CLI);
    cluster.send("cli-a", own);
    let group = tcp("10.1.0.4", "10.1.0.5", 80).between([1; 6], MAC_CLI);
    cluster.send("cli-a", group);
    let alone = Zone::new(
        cluster.twin.zones[0].northbound.clone(),
        walk(&cluster.twin.zones[0]),
    );
    cluster.twin = Twin::new([alone]);
    cluster.send("cli-a", tcp("10.1.0.4", "10.2.0.5", 8080));
    cluster.says("what_no_way_leads_to");
}

#[test]
fn a_client_keeps_its_backend_for_a_while() {
    let mut cluster = Cluster::new();
    let mut backend = |asked: Option<&str>, seconds: i64, client: &str| {
        cluster.twin.backend = asked.map(address);
        cluster.now = Timestamp(seconds * 1_000_000_000);
        let from = SocketAddr::new(address(client), 20_000 + seconds as u16);
        let to = SocketAddr::new(address("10.96.0.2"), 80);
        match cluster.send("cli-a", Packet::tcp(from, to)) {
            Outcome::Delivered(_, packet) => packet.ip.unwrap().1.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let first = backend(None, 0, "10.1.0.4");
    let other = ["10.1.0.5", "10.2.0.5"].into_iter().find(|b| *b != first);
    assert_eq!(Some(&*backend(other, 10, "10.1.0.4")), other);
    assert_eq!(
        Some(&*backend(None, 50, "10.1.0.4")),
        other,
        "kept for 60 s"
    );
    assert_eq!(
        Some(&*backend(None, 100, "10.1.0.4")),
        other,
        "since the last one"
    );
    let later = (0..20).map(|n| backend(None, 161 + 60 * n, "10.1.0.4"));
    let later: std::collections::BTreeSet<_> = later.collect();
    assert_eq!(later.len(), 2, "no longer: {later:?}");
}

#[test]
fn the_longest_prefix_then_destination_then_connected() {
    let router = |routes: &[(&str, &str, &str)]| {
        let names: Vec<String> = routes.iter().map(|route| format!("{route:?}")).collect();
        let mut rows = vec![
            row(
                "Logical_Router_Port",
                "p1",
                &[
                    ("mac", T("0a:00:00:00:00:01")),
                    ("networks", S(&["10.1.0.1/24"])),
                ],
            ),
            row(
                "Logical_Router_Port",
                "p2",
                &[
                    ("mac", T("0a:00:00:00:00:02")),
                    ("networks", S(&["10.2.0.1/24", "fd02::1/64"])),
                ],
            ),
        ];
        let references: Vec<&str> = names.iter().map(String::as_str).collect();
        for (name, (prefix, nexthop, policy)) in names.iter().zip(routes) {
            rows.push(row(
                "Logical_Router_Static_Route",
                name,
                &[
                    ("ip_prefix", T(prefix)),
                    ("nexthop", T(nexthop)),
                    ("policy", T(policy)),
                ],
            ));
        }
        rows.push(row(
            "Logical_Router",
            "r",
            &[
                ("ports", R("Logical_Router_Port", &["p1", "p2"])),
                (
                    "static_routes",
                    R("Logical_Router_Static_Route", &references),
                ),
            ],
        ));
        Routers::new(&Northbound::new(&rows))
    };
    let way = |routes: &[(&str, &str, &str)], from: &str, to: &str| {
        let routers = router(routes);
        let router = &routers.list[0];
        let hop = router.route(0, &tcp(from, to, 80))?;
        let port = hop.port.map(|port| router.ports[port].mac[5]);
        Some((port, hop.gateway.map(|gateway| gateway.to_string())))
    };
    let (dst, src) = ("dst-ip", "src-ip");
    let by = |port: u8, gateway: &str| Some((Some(port), Some(gateway.to_owned())));
    assert_eq!(way(&[], "10.1.0.9", "10.2.0.9"), Some((Some(2), None)));
    assert_eq!(way(&[], "10.1.0.9", "10.3.0.9"), None);
    let wide = ("10.0.0.0/8", "10.1.0.254", dst);
    let narrow = ("10.3.0.0/16", "10.2.0.254", dst);
    assert_eq!(
        way(&[wide, narrow], "10.1.0.9", "10.3.0.9"),
        by(2, "10.2.0.254")
    );
    assert_eq!(
        way(&[wide, narrow], "10.1.0.9", "10.4.0.9"),
        by(1, "10.1.0.254")
    );
    let same = ("10.2.0.0/24", "10.1.0.254", dst);
    assert_eq!(
        way(&[same], "10.1.0.9", "10.2.0.9"),
        Some((Some(2), None)),
        "connected first"
    );
    let source = ("10.1.0.0/16", "10.2.0.253", src);
    assert_eq!(
        way(&[narrow, source], "10.1.0.9", "10.3.0.9"),
        by(2, "10.2.0.254"),
        "destination first"
    );
    assert_eq!(
        way(&[wide, source], "10.1.0.9", "10.4.0.9"),
        by(2, "10.2.0.253"),
        "longer first"
    );
    let nowhere = ("10.5.0.0/16", "10.9.9.9", dst);
    assert_eq!(
        way(&[nowhere], "10.1.0.9", "10.5.0.9"),
        None,
        "no port leads to the next router"
    );
    let discard = ("10.5.0.0/16", "discard", dst);
    assert_eq!(
        way(&[wide, discard], "10.1.0.9", "10.5.0.9"),
        Some((None, None))
    );
    let all = ("0.0.0.0/0", "10.1.0.254", dst);
    assert_eq!(way(&[all], "10.1.0.9", "192.0.2.1"), by(1, "10.1.0.254"));
    assert_eq!(way(&[all], "fd01::1", "fd09::1"), None, "another family");
    let both = [("10.3.0.0/16", "10.2.0.253", dst), narrow];
    let first = way(&both, "10.1.0.9", "10.3.0.9");
    assert_eq!(
        first,
        way(&both, "10.1.0.9", "10.3.0.9"),
        "always the same for the same"
    );
    let seen: std::collections::BTreeSet<_> = (0..64)
        .map(|n| way(&both, "10.1.0.9", &format!("10.3.0.{n}")))
        .collect();
    assert_eq!(seen.len(), 2, "both are used: {seen:?}");
    let bad = [
        ("nonsense", "10.1.0.254", dst),
        ("10.0.0.0/99", "10.1.0.254", dst),
        ("10.7.0.0/16", "nonsense", dst),
    ];
    assert_eq!(way(&bad, "10.1.0.9", "10.7.0.9"), None);
}

#[test]
fn backends_share_the_connections() {
    let mut cluster = Cluster::new();
    let mut counts = std::collections::BTreeMap::new();
    for port in 0..200 {
        let from = SocketAddr::new(address("10.1.0.4"), 20_000 + port);
        let packet = Packet::tcp(from, SocketAddr::new(address("10.96.0.1"), 80))
            .between(MAC_CLI, MAC_ROUTER);
        match cluster.send("cli-a", packet) {
            Outcome::Delivered(_, packet) => *counts.entry(packet.ip.unwrap().1).or_insert(0) += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(counts.len(), 2);
    assert!(counts.values().all(|count| *count > 60), "{counts:?}");
}

/// The twin of two zones, and what it tells.
struct Cluster {
    twin: Twin<Walk>,
    now: Timestamp,
    log: Log,
}

impl Cluster {
    fn new() -> Self {
        let zones = [("a", "b"), ("b", "a")].map(|(here, there)| zone(here, there));
        let twin = Twin::new(zones);
        let log = Log {
            text: String::new(),
            rows: twin
                .zones
                .iter()
                .map(|zone| zone.northbound.clone())
                .collect(),
            zone: 0,
        };
        Self {
            twin,
            now: Timestamp(0),
            log,
        }
    }

    fn send(&mut self, port: &str, packet: Packet) -> Outcome {
        let packet = match packet.eth_src {
            [0, 0, 0, 0, 0, 0] => packet.between(
                if port == "web-a" { MAC_WEB } else { MAC_CLI },
                if packet.ip.unwrap().1 == address("10.1.0.5") {
                    MAC_WEB
                } else {
                    MAC_ROUTER
                },
            ),
            _ => packet,
        };
        let place = self.twin.place(port).unwrap();
        self.send_from(place, packet)
    }

    fn send_from(&mut self, place: Place, packet: Packet) -> Outcome {
        writeln!(self.log.text, "{}", ends(&packet)).unwrap();
        let outcome = self.twin.send(place, packet, self.now, &mut self.log);
        let name = |place: &Place| self.log.rows[place.zone].port_name(place.port).to_owned();
        let text = match &outcome {
            Outcome::Delivered(place, packet) => {
                format!("delivered at {}: {}", name(place), ends(packet))
            }
            Outcome::Outside(place, packet) => {
                format!("outside by {}: {}", name(place), ends(packet))
            }
            Outcome::Dropped { at, .. } => format!("dropped in {}", at.stage.name()),
            Outcome::Rejected { at, answer, .. } => {
                let at = at.map_or("no ACL stage", |at| at.stage.name());
                format!(
                    "rejected in {at}: {}",
                    answer.as_ref().map(ends).unwrap_or_default()
                )
            }
            Outcome::Lost { reason, .. } => format!("lost: {reason:?}"),
        };
        writeln!(self.log.text, "= {text}\n").unwrap();
        outcome
    }

    /// The first packet, its answer, and the next one.
    fn talk(&mut self, port: &str, packet: Packet) {
        let first = self.send(port, packet);
        if let Outcome::Delivered(place, arrived) = first {
            self.send_from(place, arrived.reply());
            self.send(port, packet.with_tcp_flags(0x10));
        }
    }

    fn says(&self, name: &str) {
        insta::assert_snapshot!(name, self.log.text);
    }
}

/// Writes down what it is told.
struct Log {
    text: String,
    rows: Vec<Arc<Northbound>>,
    zone: usize,
}

impl Log {
    fn line(&mut self, text: &str) {
        writeln!(self.text, "  {text}").unwrap();
    }
}

impl Observer for Log {
    fn enter(&mut self, zone: usize, switch: SwitchId, inport: Lport) {
        self.zone = zone;
        let rows = &self.rows[zone];
        let text = format!(
            "{}: into {} by {}",
            rows.name,
            rows.switch(switch).unwrap().name,
            rows.port_name(inport)
        );
        self.line(&text);
    }

    fn leave(&mut self, zone: usize, switch: SwitchId, outport: Lport) {
        self.zone = zone;
        let rows = &self.rows[zone];
        let text = format!(
            "{}: out of {} by {}",
            rows.name,
            rows.switch(switch).unwrap().name,
            rows.port_name(outport)
        );
        self.line(&text);
    }

    fn output(&mut self, zone: usize, _: SwitchId, outport: Lport, _: &Packet) {
        let text = format!("comes out of {}", self.rows[zone].port_name(outport));
        self.line(&text);
    }

    fn answered(&mut self) {
        self.line("the answer:");
    }

    fn routed(&mut self, zone: usize, router: Uuid, port: Uuid, packet: &Packet) {
        let rows = &self.rows[zone];
        let (router, port) = (&rows.routers[&router].name, &rows.router_ports[&port].name);
        let text = format!(
            "{}: {router} routes to {port}, ttl {}, to {:02x?}",
            rows.name, packet.ttl, packet.eth_dst
        );
        self.line(&text);
    }

    fn tracked(&mut self, ct_zone: u32, before: &Packet, after: &State) {
        let zone = match ct_zone {
            0 => "no port".to_owned(),
            number if (number as usize) < self.rows[self.zone].ports.len() => {
                self.rows[self.zone].port_name(Lport(number)).to_owned()
            }
            number => format!("{}", u32::MAX - number),
        };
        let names = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
        let bits = names
            .iter()
            .enumerate()
            .filter(|(bit, _)| after.ct.state & 1 << bit != 0);
        let bits: Vec<&str> = bits.map(|(_, name)| *name).collect();
        let mut text = format!("conntrack of {zone}: {}", bits.join("|"));
        if after.ct.mark != 0 {
            write!(text, ", mark {:#x}", after.ct.mark).unwrap();
        }
        if before.ip != after.packet.ip || before.tuple() != after.packet.tuple() {
            write!(text, ", now {}", ends(&after.packet)).unwrap();
        }
        self.line(&text);
    }

    fn balanced(&mut self, balancer: Uuid, packet: &Packet) {
        let name = &self.rows[self.zone].load_balancers[&balancer].row.name;
        let text = format!("{name} chooses {}", packet.ip.unwrap().1);
        self.line(&text);
    }

    fn matched(&mut self, at: At, _: &State, acl: Uuid) {
        let text = format!(
            "{}: {}",
            at.stage.name(),
            self.rows[self.zone].acls[&acl].acl.matches
        );
        self.line(&text);
    }
}

fn ends(packet: &Packet) -> String {
    let (from, to) = packet.ip.unwrap();
    match packet.tuple() {
        Some(tuple) => format!(
            "{} {from} {} > {to} {}",
            tuple.protocol, tuple.src_port, tuple.dst_port
        ),
        None => format!("{} {from} > {to}", packet.protocol),
    }
}

const MAC_CLI: Mac = [0x0a, 0, 0, 1, 0, 4];
const MAC_WEB: Mac = [0x0a, 0, 0, 1, 0, 5];
const MAC_ROUTER: Mac = [0x0a, 0, 0, 1, 0, 1];

fn zone(here: &str, there: &str) -> Zone<Walk> {
    let (n, m) = if here == "a" { (1, 2) } else { (2, 1) };
    let name = |text: &str| text.replace("THERE", there).replace("HERE", here);
    let with = |text: &str| {
        name(text)
            .replace('N', &n.to_string())
            .replace('M', &m.to_string())
    };
    let text = |pattern: &str| -> &'static str { with(pattern).leak() };
    let lsp = |pattern: &str, kind: &'static str, addresses: &str, router_port: &str| {
        let mut columns = vec![
            ("type", T(kind)),
            ("addresses", S(vec![text(addresses)].leak())),
        ];
        if !router_port.is_empty() {
            columns.push((
                "options",
                P(vec![("router-port", text(router_port))].leak()),
            ));
        }
        row("Logical_Switch_Port", text(pattern), &columns)
    };
    let lrp = |pattern: &str, mac: &str, networks: &[&str]| {
        let networks: Vec<&'static str> = networks.iter().map(|network| text(network)).collect();
        row(
            "Logical_Router_Port",
            text(pattern),
            &[("mac", T(text(mac))), ("networks", S(networks.leak()))],
        )
    };
    let switch = |pattern: &str, ports: &[&str], balancers: &'static [&'static str]| {
        let ports: Vec<&'static str> = ports.iter().map(|port| text(port)).collect();
        let mut columns = vec![
            ("ports", R("Logical_Switch_Port", ports.leak())),
            ("load_balancer", R("Load_Balancer", balancers)),
        ];
        if pattern.starts_with("node") {
            columns.push(("acls", R("ACL", &["allow", "drop", "reject"])));
        }
        row("Logical_Switch", text(pattern), &columns)
    };
    let route = |pattern: &str, nexthop: &str, policy: &'static str, output: &str| {
        let mut columns = vec![
            ("ip_prefix", T(text(pattern))),
            ("nexthop", T(text(nexthop))),
            ("policy", T(policy)),
        ];
        if !output.is_empty() {
            columns.push(("output_port", T(text(output))));
        }
        row(
            "Logical_Router_Static_Route",
            text(&format!("{pattern} {policy}")),
            &columns,
        )
    };
    let acl = |name: &'static str,
               direction: &'static str,
               priority: i64,
               matches: &'static str,
               action: &'static str| {
        row(
            "ACL",
            name,
            &[
                ("direction", T(direction)),
                ("priority", I(priority)),
                ("match", T(matches)),
                ("action", T(action)),
            ],
        )
    };
    let balancers: &[&str] = &["svc", "svc6", "sticky", "dns", "empty", "gone"];
    let rows = [
        row("NB_Global", text("HERE"), &[]),
        lsp("cli-HERE", "", "0a:00:00:0N:00:04 10.N.0.4 fd0N::4", ""),
        lsp("web-HERE", "", "0a:00:00:0N:00:05 10.N.0.5 fd0N::5", ""),
        lsp("stor-HERE", "router", "router", "rtos-HERE"),
        lsp("tstor-HERE", "router", "router", "rtots-HERE"),
        lsp(
            "tstor-THERE",
            "remote",
            "0a:00:00:00:58:0M 100.88.0.M/16",
            "",
        ),
        lsp("jtor-HERE", "router", "router", "rtoj-HERE"),
        lsp("jtog-HERE", "router", "router", "gtoj-HERE"),
        lsp("etog-HERE", "router", "router", "gtoe-HERE"),
        lsp("breth-HERE", "localnet", "unknown", ""),
        switch(
            "node-HERE",
            &["cli-HERE", "web-HERE", "stor-HERE"],
            &["svc", "svc6", "sticky", "dns", "empty", "gone"],
        ),
        switch("transit", &["tstor-HERE", "tstor-THERE"], &[]),
        switch("join", &["jtor-HERE", "jtog-HERE"], &[]),
        switch("ext-HERE", &["etog-HERE", "breth-HERE"], &[]),
        lrp(
            "rtos-HERE",
            "0a:00:00:0N:00:01",
            &["10.N.0.1/24", "fd0N::1/64"],
        ),
        lrp("rtots-HERE", "0a:00:00:00:58:0N", &["100.88.0.N/16"]),
        lrp("rtoj-HERE", "0a:00:00:00:64:0N", &["100.64.0.1/24"]),
        lrp("gtoj-HERE", "0a:00:00:01:64:0N", &["100.64.0.2/24"]),
        lrp("gtoe-HERE", "0a:00:00:00:0e:0HERE", &["172.18.0.N/24"]),
        route("10.M.0.0/24", "100.88.0.M", "dst-ip", ""),
        route("10.N.0.0/24", "100.64.0.2", "src-ip", ""),
        route("0.0.0.0/0", "172.18.0.254", "dst-ip", "gtoe-HERE"),
        route("10.0.0.0/8", "100.64.0.1", "dst-ip", ""),
        row(
            "Logical_Router",
            "cluster",
            &[
                (
                    "ports",
                    R(
                        "Logical_Router_Port",
                        vec![text("rtos-HERE"), text("rtots-HERE"), text("rtoj-HERE")].leak(),
                    ),
                ),
                (
                    "static_routes",
                    R(
                        "Logical_Router_Static_Route",
                        vec![text("10.M.0.0/24 dst-ip"), text("10.N.0.0/24 src-ip")].leak(),
                    ),
                ),
            ],
        ),
        row(
            "Logical_Router",
            text("gateway-HERE"),
            &[
                (
                    "ports",
                    R(
                        "Logical_Router_Port",
                        vec![text("gtoj-HERE"), text("gtoe-HERE")].leak(),
                    ),
                ),
                (
                    "static_routes",
                    R(
                        "Logical_Router_Static_Route",
                        vec![text("0.0.0.0/0 dst-ip"), text("10.0.0.0/8 dst-ip")].leak(),
                    ),
                ),
                (
                    "load_balancer",
                    R(
                        "Load_Balancer",
                        &["svc", "svc6", "sticky", "dns", "empty", "gone"],
                    ),
                ),
                (
                    "options",
                    P(&[("chassis", "c"), ("lb_force_snat_ip", "router_ip")]),
                ),
            ],
        ),
        acl("allow", "to-lport", 1000, "ip", "allow-related"),
        acl(
            "drop",
            "to-lport",
            1001,
            "outport == \"web-b\" && tcp.dst == 9999",
            "drop",
        ),
        acl(
            "reject",
            "to-lport",
            1001,
            "outport == \"web-b\" && tcp.dst == 9998",
            "reject",
        ),
        balancer(
            "svc",
            "tcp",
            &[("10.96.0.1:80", "10.1.0.5:8080,10.2.0.5:8080")],
            &[
                ("hairpin_snat_ip", "169.254.169.5 fd69::5"),
                ("reject", "true"),
            ],
        ),
        balancer("svc6", "udp", &[("[fd96::1]:53", "[fd01::5]:5353")], &[]),
        balancer(
            "sticky",
            "tcp",
            &[("10.96.0.2", "10.1.0.5,10.2.0.5")],
            &[("affinity_timeout", "60")],
        ),
        balancer("dns", "udp", &[("10.96.0.1:53", "10.1.0.5:5353")], &[]),
        balancer(
            "empty",
            "tcp",
            &[("10.96.0.9:80", "")],
            &[("reject", "true")],
        ),
        balancer(
            "gone",
            "udp",
            &[("10.96.0.9:53", "")],
            &[("reject", "false")],
        ),
    ];
    assert_eq!(balancers.len(), 6);
    let northbound = Arc::new(Northbound::new(&rows));
    assert!(northbound.bad_rows.is_empty(), "{:?}", northbound.bad_rows);
    Zone::new(northbound.clone(), Walk::new(northbound, Release::R25_03))
}

fn walk(zone: &Zone<Walk>) -> Walk {
    Walk::new(zone.northbound.clone(), Release::R25_03)
}

fn balancer(
    name: &str,
    protocol: &'static str,
    vips: &[(&str, &str)],
    options: &[(&str, &str)],
) -> Row {
    row(
        "Load_Balancer",
        name,
        &[
            ("protocol", T(protocol)),
            ("vips", P(vips)),
            ("options", P(options)),
        ],
    )
}

/// A column's value.
#[derive(Clone, Copy)]
enum Value<'a> {
    T(&'a str),
    I(i64),
    S(&'a [&'a str]),
    /// Rows of a table by their names.
    R(&'a str, &'a [&'a str]),
    P(&'a [(&'a str, &'a str)]),
}
use Value::{I, P, R, S, T};

fn row(table: &str, name: &str, columns: &[(&str, Value<'_>)]) -> Row {
    let columns = columns.iter().map(|(column, value)| {
        let datum = match value {
            T(text) => Datum::from(*text),
            I(number) => Datum::from(*number),
            S(texts) => texts.iter().copied().collect(),
            R(table, names) => names.iter().map(|name| uuid(table, name)).collect(),
            P(pairs) => Datum::map(
                pairs
                    .iter()
                    .map(|(key, value)| (Atom::from(*key), Atom::from(*value)))
                    .collect(),
            ),
        };
        (*column, datum)
    });
    Row::new(
        table,
        uuid(table, name),
        columns.chain([("name", Datum::from(name))]),
    )
}

fn uuid(table: &str, name: &str) -> Uuid {
    let hash = |text: &str| {
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    Uuid::from_u64_pair(hash(table), hash(name))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tcp(from: &str, to: &str, port: u16) -> Packet {
    Packet::tcp(
        SocketAddr::new(address(from), 40_000),
        SocketAddr::new(address(to), port),
    )
}

fn udp(from: &str, to: &str, port: u16) -> Packet {
    Packet::udp(
        SocketAddr::new(address(from), 40_000),
        SocketAddr::new(address(to), port),
    )
}

#[test]
fn no_two_zones_of_conntrack_have_one_number() {
    const PORTS: u128 = 66_000;
    let port = |number| Uuid::from_u128(1 << 64 | number);
    let mut rows: Vec<Row> = (0..PORTS)
        .map(|number| {
            let name = format!("port-{number}");
            Row::new("Logical_Switch_Port", port(number), [("name", name.into())])
        })
        .collect();
    let ports = Datum::set((0..PORTS).map(|number| Atom::from(port(number))).collect());
    for number in 0..3 {
        let switch = Uuid::from_u128(2 << 64 | number);
        let ports = if number == 0 {
            ports.clone()
        } else {
            Datum::set(vec![])
        };
        rows.push(Row::new("Logical_Switch", switch, [("ports", ports)]));
        rows.push(Row::new(
            "Logical_Router",
            Uuid::from_u128(3 << 64 | number),
            [],
        ));
    }
    let northbound = Arc::new(Northbound::new(&rows));
    let zone = Zone::new(northbound.clone(), ());
    let of_ports = northbound.ports.iter().skip(1).map(|port| port.ct_zone);
    let of_switches = zone.switches.iter().map(|switch| switch.snat_zone);
    let routers = zone.routers.list.iter();
    let of_routers = routers.flat_map(|router| [router.zones.0, router.zones.1]);
    let numbers: Vec<u32> = of_ports.chain(of_switches).chain(of_routers).collect();
    let different: std::collections::HashSet<&u32> = numbers.iter().collect();
    assert_eq!(different.len(), numbers.len());
    assert!(numbers.len() > 66_000 && !numbers.contains(&0));
}
