//! `Decide` does what `Walk` does: on random rows, with random packets in random states.
#![allow(clippy::unwrap_used, clippy::panic)] // It is a test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_ovsdb::{Atom, Datum, Row};
use netverdict_pipeline::cache::{Cache, Question};
use netverdict_pipeline::conntrack::{Conntrack, Entry};
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::walk::Walk;
use netverdict_pipeline::{
    At, Block, CtView, Fate, L4, Logged, Lport, Northbound, Observer, Packet, Sampled, Stages,
    State, SwitchId,
};
use netverdict_types::{Action, Timestamp};
use proptest::prelude::*;
use uuid::Uuid;

/// What an observer is told.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Sample(At, Sampled),
    Log(At, Option<String>, Action, String, Option<String>),
    Matched(At, Uuid),
    Commit(At, CtView),
}

#[derive(Debug, Default)]
struct Events(Vec<Event>);

impl Observer for Events {
    fn sample(&mut self, at: At, _: &Packet, sample: Sampled) {
        self.0.push(Event::Sample(at, sample));
    }

    fn log(&mut self, at: At, _: &Packet, log: Logged<'_>) {
        let text = |text: &str| text.to_owned();
        self.0.push(Event::Log(
            at,
            log.name.map(text),
            log.action,
            text(log.severity),
            log.meter.map(text),
        ));
    }

    fn matched(&mut self, at: At, _: &State, acl: Uuid) {
        self.0.push(Event::Matched(at, acl));
    }

    fn commit(&mut self, at: At, state: &State) {
        self.0.push(Event::Commit(at, state.ct));
    }
}

const BLOCKS: [Block; 7] = [
    Block::InPreAcl,
    Block::InAcl,
    Block::InAclAfterLb,
    Block::InStateful,
    Block::OutPreAcl,
    Block::OutAcl,
    Block::OutStateful,
];

const PORTS: [&str; 7] = ["a", "b", "c", "d", "router", "net", "mp-switch-d"];

/// A random ACL.
#[derive(Clone, Debug)]
struct Acl {
    priority: i64,
    direction: &'static str,
    after_lb: bool,
    action: &'static str,
    tier: i64,
    label: i64,
    samples: [Option<usize>; 2],
    log: Option<(bool, Option<&'static str>, bool)>,
    matches: String,
    persists: bool,
    /// The group of network functions.
    group: Option<usize>,
}

/// Random rows.
#[derive(Clone, Debug)]
struct Rows {
    /// With the group that each belongs to; 3 and more: the switch.
    acls: Vec<(usize, Acl)>,
    groups: [Vec<usize>; 3],
    options: Vec<(&'static str, &'static str)>,
    /// Collectors of each Sample.
    samples: Vec<Vec<usize>>,
    probabilities: [u16; 3],
    apps: [bool; 3],
    balancer: bool,
    router_acl: bool,
    switch: Vec<(&'static str, &'static str)>,
    /// Which of the ports `a` and `b` is answered by which DHCP.
    dhcp: [[bool; 2]; 2],
    dns: bool,
    /// Ports of two network functions, and which one each group uses.
    functions: [(usize, usize); 2],
    active: [Option<usize>; 2],
    mirrored: Option<usize>,
}

fn uuid(table: u128, number: usize) -> Uuid {
    Uuid::from_u128(table << 64 | number as u128)
}

fn set(uuids: impl IntoIterator<Item = Uuid>) -> Datum {
    Datum::set(uuids.into_iter().map(Atom::from).collect())
}

impl Rows {
    fn northbound(&self) -> Northbound {
        let mut rows = vec![Row::new(
            "NB_Global",
            uuid(1, 0),
            [("options", Datum::map_of(self.options.iter().copied()))],
        )];
        rows.push(Row::new(
            "Logical_Router",
            uuid(9, 0),
            [("ports", set([uuid(10, 0)]))],
        ));
        rows.push(Row::new(
            "Logical_Router_Port",
            uuid(10, 0),
            [
                ("name", "peer".into()),
                ("mac", "0a:00:00:00:01:00".into()),
                ("gateway_chassis", set([uuid(11, 0)])),
            ],
        ));
        for (number, name) in PORTS.iter().enumerate() {
            let kind = match *name {
                "router" => "router",
                "net" => "localnet",
                _ => "",
            };
            let mut options = vec![];
            if kind == "router" {
                options.push(("router-port", "peer"));
            }
            if self.router_acl && kind == "router" {
                options.push(("enable_router_port_acl", "true"));
            }
            let address = format!("0a:00:00:00:00:0{number} 10.0.0.{number} fd00::{number}");
            let dhcp = |version: usize| {
                let wanted = self.dhcp.get(number).is_some_and(|wanted| wanted[version]);
                set(wanted.then(|| uuid(13, version)))
            };
            let mirror = self.mirrored.filter(|port| *port == number);
            rows.push(Row::new(
                "Logical_Switch_Port",
                uuid(2, number),
                [
                    ("name", (*name).into()),
                    ("type", kind.into()),
                    ("addresses", Datum::set(vec![address.into()])),
                    ("options", Datum::map_of(options)),
                    ("dhcpv4_options", dhcp(0)),
                    ("dhcpv6_options", dhcp(1)),
                    ("mirror_rules", set(mirror.map(|_| uuid(17, 0)))),
                ],
            ));
        }
        self.services(&mut rows);
        let of = |group: usize| {
            let own = self.acls.iter().enumerate();
            own.filter(move |(_, (home, _))| *home == group)
                .map(|(number, _)| uuid(5, number))
        };
        for (number, ports) in self.groups.iter().enumerate() {
            rows.push(Row::new(
                "Port_Group",
                uuid(3, number),
                [
                    ("name", format!("pg{number}").into()),
                    ("ports", set(ports.iter().map(|port| uuid(2, *port)))),
                    ("acls", set(of(number))),
                ],
            ));
        }
        let balancers = self.balancer.then(|| uuid(4, 0));
        rows.push(Row::new(
            "Load_Balancer",
            uuid(4, 0),
            [
                ("name", "lb".into()),
                ("protocol", "tcp".into()),
                ("vips", Datum::map_of([("10.96.0.1:80", "10.0.0.1:8080")])),
            ],
        ));
        rows.push(Row::new(
            "Logical_Switch",
            uuid(6, 0),
            [
                ("name", "switch".into()),
                ("ports", set((0..PORTS.len()).map(|port| uuid(2, port)))),
                ("acls", set((3..8).flat_map(of))),
                ("load_balancer", set(balancers)),
                ("dns_records", set(self.dns.then(|| uuid(14, 0)))),
                ("other_config", Datum::map_of(self.switch.iter().copied())),
            ],
        ));
        for (number, (_, acl)) in self.acls.iter().enumerate() {
            let sample = |sample: Option<usize>| {
                let known = sample.filter(|sample| *sample < self.samples.len());
                set(known.map(|sample| uuid(7, sample)))
            };
            let mut options = vec![];
            if acl.after_lb {
                options.push(("apply-after-lb", "true"));
            }
            let mut columns = vec![
                ("priority", acl.priority.into()),
                ("direction", acl.direction.into()),
                ("match", acl.matches.clone().into()),
                ("action", acl.action.into()),
                ("tier", acl.tier.into()),
                ("label", acl.label.into()),
                ("sample_new", sample(acl.samples[0])),
                ("sample_est", sample(acl.samples[1])),
            ];
            if let Some((named, meter, related)) = acl.log {
                columns.push(("log", true.into()));
                if named {
                    columns.push(("name", format!("acl {number}").into()));
                }
                if let Some(meter) = meter {
                    columns.push(("meter", meter.into()));
                    columns.push(("severity", "warning".into()));
                }
                if related {
                    options.push(("log-related", "true"));
                }
            }
            if acl.persists {
                options.push(("persist-established", "True"));
                let columns = [("id", (number as i64 + 1).into())];
                rows.push(Row::new("ACL_ID", uuid(5, number), columns));
            }
            let group = set(acl.group.map(|group| uuid(15, group)));
            columns.push(("network_function_group", group));
            columns.push(("options", Datum::map_of(options)));
            rows.push(Row::new("ACL", uuid(5, number), columns));
        }
        for (number, collectors) in self.samples.iter().enumerate() {
            rows.push(Row::new(
                "Sample",
                uuid(7, number),
                [
                    ("metadata", (number as i64 + 100).into()),
                    (
                        "collectors",
                        set(collectors.iter().map(|number| uuid(8, *number))),
                    ),
                ],
            ));
        }
        for (number, probability) in self.probabilities.iter().enumerate() {
            rows.push(Row::new(
                "Sample_Collector",
                uuid(8, number),
                [
                    ("id", (number as i64 + 1).into()),
                    ("probability", i64::from(*probability).into()),
                    ("set_id", (number as i64 * 200 + 1).into()),
                ],
            ));
        }
        for (number, app) in ["drop", "acl-new", "acl-est"].into_iter().enumerate() {
            if self.apps[number] {
                rows.push(Row::new(
                    "Sampling_App",
                    uuid(9, number),
                    [("type", app.into()), ("id", (number as i64 + 11).into())],
                ));
            }
        }
        for (number, fair) in [true, false].into_iter().enumerate() {
            rows.push(Row::new(
                "Meter",
                uuid(10, number),
                [
                    ("name", format!("meter{number}").into()),
                    ("unit", "pktps".into()),
                    ("fair", fair.into()),
                ],
            ));
        }
        let few = ["10.0.0.1", "10.0.0.2"].map(str::to_owned);
        let many = (0..12)
            .map(|number| format!("10.0.0.{number}"))
            .chain(["10.1.0.0/16".to_owned()]);
        let six = (0..12).map(|number| format!("fd00::{number:x}"));
        let sets: [(&str, Vec<String>); 4] = [
            ("few", few.into()),
            ("many", many.collect()),
            ("six", six.collect()),
            ("none", Vec::new()),
        ];
        for (number, (name, addresses)) in sets.into_iter().enumerate() {
            rows.push(Row::new(
                "Address_Set",
                uuid(11, number),
                [
                    ("name", name.into()),
                    (
                        "addresses",
                        Datum::set(addresses.into_iter().map(Atom::from).collect()),
                    ),
                ],
            ));
        }
        let northbound = Northbound::new(&rows);
        assert!(northbound.bad_rows.is_empty(), "{:?}", northbound.bad_rows);
        northbound
    }
}

impl Rows {
    /// DHCP, DNS, network functions and mirrors.
    fn services(&self, rows: &mut Vec<Row>) {
        let four = [
            ("server_id", "10.0.0.3"),
            ("server_mac", "0a:00:00:00:00:03"),
            ("lease_time", "60"),
        ];
        let networks = [
            ("10.0.0.0/24", Datum::map_of(four)),
            (
                "fd00::/64",
                Datum::map_of([("server_id", "0a:00:00:00:00:03")]),
            ),
        ];
        for (version, (cidr, options)) in networks.into_iter().enumerate() {
            let columns = [("cidr", cidr.into()), ("options", options)];
            rows.push(Row::new("DHCP_Options", uuid(13, version), columns));
        }
        let records = Datum::map_of([("name", "10.0.0.1")]);
        rows.push(Row::new("DNS", uuid(14, 0), [("records", records)]));
        for (number, (input, output)) in self.functions.into_iter().enumerate() {
            rows.push(Row::new(
                "Network_Function",
                uuid(16, number),
                [
                    ("name", format!("function{number}").into()),
                    ("inport", uuid(2, input).into()),
                    ("outport", uuid(2, output).into()),
                ],
            ));
            let active = self.active[number].map(|function| uuid(16, function));
            rows.push(Row::new(
                "Network_Function_Group",
                uuid(15, number),
                [
                    ("id", (number as i64 * 100 + 7).into()),
                    ("network_function_active", set(active)),
                ],
            ));
        }
        // northd gives the copies' port this name; here there is one of that name.
        rows.push(Row::new(
            "Mirror",
            uuid(17, 0),
            [
                ("name", "mirror".into()),
                ("type", "lport".into()),
                ("sink", "d".into()),
            ],
        ));
    }
}

fn term() -> impl Strategy<Value = String> {
    let port = prop_oneof![
        Just("== @pg0".to_owned()),
        Just("== @pg1".to_owned()),
        Just("== @pg2".to_owned()),
        Just("== {@pg0, \"c\"}".to_owned()),
        Just("== \"a\"".to_owned()),
        Just("== \"none\"".to_owned()),
    ];
    let address = prop::sample::select(vec![
        "ip4.src == $few",
        "ip4.dst == $many",
        "ip4.src == $many",
        "ip6.src == $six",
        "ip4.dst == 10.0.0.0/29",
        "ip4.src != 10.0.0.1",
        "ip4.src == {10.0.0.1, 10.0.0.3, 10.1.0.0/16}",
        "ip4.src != $few",
        "ip4.dst == $none",
        "ip4.dst == $pg0_ip4",
        "ip6.dst == $pg1_ip6",
        "(ip4.src == $many || ip6.src == $six)",
        "ip4.src == 0.0.0.0/0",
        "ip6.dst[120..127] == 0xff",
    ]);
    let layer4 = prop::sample::select(vec![
        "tcp",
        "udp",
        "icmp",
        "tcp.dst == {80, 443}",
        "tcp.dst == 80",
        "udp.dst == 53",
        "tcp.dst >= 80 && tcp.dst <= 443",
        "80 < tcp.dst < 1000",
        "tcp.dst != 80",
        "!(tcp.dst == {80, 53})",
        "tcp.src[0..3] == 5",
        "tcp.src < 10",
        "icmp4.type == 8",
        "sctp.dst == 80",
        "ip4",
        "ip6",
        "ip",
        "1",
        "0",
        "arp",
        "!ip6.mcast",
        "eth.mcast",
        "ip.ttl == 64",
        "ip.dscp == 4",
    ]);
    let known = prop::sample::select(vec![
        "ct.est",
        "!ct.new",
        "ct.trk",
        "ct_mark.blocked == 0",
        "reg0[7] == 1",
        "ip.ttl == 64",
    ]);
    prop_oneof![
        3 => ("(in|out)port", port).prop_map(|(side, port)| format!("{side} {port}")),
        3 => address.prop_map(str::to_owned),
        3 => layer4.prop_map(|text| format!("({text})")),
        1 => known.prop_map(str::to_owned),
    ]
}

fn matches() -> impl Strategy<Value = String> {
    let all = |terms: Vec<String>| terms.join(" && ");
    prop_oneof![
        6 => prop::collection::vec(term(), 1..4).prop_map(all),
        2 => (prop::collection::vec(term(), 1..3), prop::collection::vec(term(), 1..3)).prop_map(
            move |(a, b)| format!("({}) || ({})", all(a), all(b))
        ),
        1 => (prop::collection::vec(term(), 1..3), term(), term())
            .prop_map(move |(a, b, c)| format!("{} && ({b} || {c})", all(a))),
        1 => Just("tcp.dst ==".to_owned()),
    ]
}

fn acl() -> impl Strategy<Value = Acl> {
    let action = prop::sample::select(vec![
        "allow",
        "allow-related",
        "allow-related",
        "allow-stateless",
        "drop",
        "drop",
        "reject",
        "pass",
    ]);
    let log = prop::option::of((
        any::<bool>(),
        prop::option::of(prop::sample::select(vec!["meter0", "meter1", "meter2"])),
        any::<bool>(),
    ));
    (
        (
            0..6i64,
            prop::sample::select(vec!["from-lport", "to-lport"]),
        ),
        (any::<bool>(), action, prop_oneof![Just(0i64), 0..4i64]),
        prop_oneof![3 => Just(0i64), 1 => 101..104i64],
        [prop::option::of(0..6usize), prop::option::of(0..6usize)],
        log,
        matches(),
        (
            prop::bool::weighted(0.2),
            prop_oneof![4 => Just(None), 1 => (0..2usize).prop_map(Some)],
        ),
    )
        .prop_map(
            |(
                (priority, direction),
                (after_lb, action, tier),
                label,
                samples,
                log,
                matches,
                (persists, group),
            )| Acl {
                persists,
                group,
                priority: priority * 500,
                direction,
                after_lb,
                action,
                tier,
                label,
                samples,
                log,
                matches,
            },
        )
}

fn rows() -> impl Strategy<Value = Rows> {
    let options = prop::sample::subsequence(
        vec![
            ("use_ct_inv_match", "false"),
            ("default_acl_drop", "true"),
            ("debug_drop_collector_set", "7"),
            ("svc_monitor_mac", "0a:00:00:00:00:03"),
            ("acl_ct_translation", "true"),
        ],
        0..=5,
    );
    let options = (options, any::<bool>()).prop_map(|(mut options, shouts)| {
        for (_, value) in &mut options {
            *value = match *value {
                "true" if shouts => "TRUE",
                "false" if shouts => "False",
                other => other,
            };
        }
        options
    });
    let switch = prop::sample::subsequence(
        vec![
            ("enable-stateless-acl-with-lb", "true"),
            ("dynamic-routing-vni", "7"),
        ],
        0..=2,
    );
    let services = (
        switch,
        [[any::<bool>(); 2]; 2],
        any::<bool>(),
        [(); 2].map(|()| (0..PORTS.len(), 0..PORTS.len())),
        [prop::option::of(0..2usize), prop::option::of(0..2usize)],
        prop::option::of(0..PORTS.len()),
    );
    let probability = prop_oneof![4 => 1..=u16::MAX, 1 => Just(0)];
    (
        prop::collection::vec((0..5usize, acl()), 0..40),
        [(); 3].map(|()| prop::collection::vec(0..PORTS.len(), 0..5)),
        options,
        prop::collection::vec(prop::sample::subsequence(vec![0, 1, 2], 0..3), 6),
        [probability.clone(), probability.clone(), probability],
        [0.5, 0.8, 0.8].map(prop::bool::weighted),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.7),
        services,
    )
        .prop_map(
            |(
                mut acls,
                groups,
                options,
                samples,
                probabilities,
                apps,
                balancer,
                router_acl,
                mixed,
                (switch, dhcp, dns, functions, active, mirrored),
            )| {
                if !mixed {
                    for (_, acl) in &mut acls {
                        if acl.action == "allow-related" {
                            acl.action = "allow";
                        }
                    }
                }
                // Which of two that differ in nothing but what they do is taken, nobody says.
                let mut seen = std::collections::HashSet::new();
                acls.retain(|(_, acl)| {
                    seen.insert((
                        acl.priority,
                        acl.direction,
                        acl.after_lb,
                        acl.tier,
                        acl.matches.clone(),
                    ))
                });
                Rows {
                    acls,
                    groups,
                    options,
                    samples,
                    probabilities,
                    apps,
                    balancer,
                    router_acl,
                    switch,
                    dhcp,
                    dns,
                    functions,
                    active,
                    mirrored,
                }
            },
        )
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![6 => any_packet(), 1 => answer()]
}

/// Answers of DHCP and DNS.
fn answer() -> impl Strategy<Value = Packet> {
    let ends = prop::sample::select(vec![
        ("10.0.0.3", "10.0.0.1", 67, 68),
        ("fe80::800:ff:fe00:3", "fd00::1", 547, 546),
        ("10.0.0.3", "10.0.0.1", 53, 1000),
    ]);
    (ends, prop::bool::weighted(0.9)).prop_map(|((from, to, src, dst), known)| {
        let address = |text: &str, port| (text.parse::<IpAddr>().unwrap(), port).into();
        let mut packet = Packet::udp(address(from, src), address(to, dst));
        packet.eth_src = [0x0a, 0, 0, 0, 0, if known { 3 } else { 4 }];
        packet.eth_dst = [0x0a, 0, 0, 0, 0, 1];
        packet
    })
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let v4 = prop_oneof![
        4 => (0..15u8).prop_map(|last| Ipv4Addr::new(10, 0, 0, last)),
        1 => Just(Ipv4Addr::new(10, 1, 2, 3)),
    ];
    let v6 = prop_oneof![
        3 => (0..15u16).prop_map(|last| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)),
        1 => Just(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16)),
        1 => Just(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
    ];
    let pair = prop_oneof![
        3 => (v4.clone(), v4).prop_map(|(a, b)| Some((IpAddr::from(a), IpAddr::from(b)))),
        2 => (v6.clone(), v6).prop_map(|(a, b)| Some((IpAddr::from(a), IpAddr::from(b)))),
        1 => Just(None),
    ];
    let port = prop::sample::select(vec![0u16, 5, 53, 67, 68, 80, 81, 443, 546, 547, 1000]);
    let mac = prop::sample::select(vec![
        [0x0a, 0, 0, 0, 0, 1],
        [0x0a, 0, 0, 0, 0, 3],
        [0x33, 0x33, 0, 0, 0, 1],
        [0xff; 6],
    ]);
    (
        pair,
        0..7usize,
        (port.clone(), port),
        (mac.clone(), mac),
        (
            prop::sample::select(vec![2u8, 3, 8, 128, 130, 132, 133, 135, 136, 143]),
            prop::sample::select(vec![0u8, 0, 4]),
        ),
        prop::sample::select(vec![64u8, 255]),
    )
        .prop_map(|(ip, layer4, (src, dst), macs, (kind, code), ttl)| {
            let six = ip.is_some_and(|(source, _)| source.is_ipv6());
            let icmp = if six { 58 } else { 1 };
            let (protocol, l4) = match layer4 {
                _ if ip.is_none() => (0, L4::Other),
                0 | 1 => (6, L4::Tcp { src, dst, flags: 2 }),
                2 => (17, L4::Udp { src, dst }),
                3 | 4 => (
                    icmp,
                    L4::Icmp {
                        kind,
                        code,
                        id: 0,
                        target: None,
                        link: None,
                    },
                ),
                5 => (6, L4::Other),
                _ => (132, L4::Sctp { src, dst, chunk: 1 }),
            };
            Packet {
                eth_src: macs.0,
                eth_dst: macs.1,
                eth_type: match ip {
                    None if src == 0 => 0x800,
                    None => 0x806,
                    Some(_) if six => 0x86dd,
                    Some(_) => 0x800,
                },
                ip,
                protocol,
                ttl,
                tos: if src == 80 { 16 } else { 0 },
                l4,
                length: 64,
                ..Packet::default()
            }
        })
}

fn connection() -> impl Strategy<Value = CtView> {
    let usual = prop::sample::select(vec![
        0,
        CtView::TRK | CtView::NEW,
        CtView::TRK | CtView::EST,
        CtView::TRK | CtView::EST | CtView::RPL,
        CtView::TRK | CtView::REL,
        CtView::TRK | CtView::REL | CtView::RPL,
        CtView::TRK | CtView::INV,
        CtView::TRK | CtView::NEW | CtView::REL,
    ]);
    let state = prop_oneof![4 => usual, 1 => 0..256u32];
    let mark = (
        0..2u32,
        0..2u32,
        0..4u32,
        prop_oneof![3 => 0..4u32, 1 => Just(200u32)],
    )
        .prop_map(|(blocked, established, stage, collector)| {
            blocked | established << 6 | stage << 4 | collector << 16
        });
    let label = (
        prop_oneof![1 => Just(0u128), 4 => 100..107u128],
        prop_oneof![5 => Just(0u128), 1 => Just(1u128 << 80), 1 => Just(1u128 << 7)],
    )
        .prop_map(|(point, unused)| point << 96 | unused);
    (state, mark, label).prop_map(|(state, mark, label)| CtView { state, mark, label })
}

fn registers() -> impl Strategy<Value = (u128, u64)> {
    let clean = Just((0u128, 0u64));
    let bits = prop::sample::subsequence(vec![0u32, 1, 7, 8, 9, 10, 13, 16, 17, 20, 21, 25], 0..6);
    let mixed = (bits, 0..4u64, 0..3u64, 100..106u128, 0..4u64, any::<bool>()).prop_map(
        |(bits, new, stage, point, est, function)| {
            let reg0 = bits.iter().fold(0u128, |all, bit| all | 1 << (96 + bit));
            let reg8 = new | est << 8 | stage << 19 | u64::from(function) << 21;
            (reg0 | 5 << 48 | point, reg8 << 32 | (point as u64 + 1))
        },
    );
    prop_oneof![2 => clean, 3 => mixed]
}

fn state() -> impl Strategy<Value = State> {
    (
        packet(),
        connection(),
        registers(),
        0..=PORTS.len() as u32,
        0..=PORTS.len() as u32,
        prop::sample::select(vec![0u32, 1 << 16, 1 << 19, 1 << 23]),
    )
        .prop_map(|(packet, ct, (xxreg0, xreg4), inport, outport, flags)| {
            let mut state = State::new(packet, Lport(inport));
            state.outport = Lport(outport);
            state.ct = ct;
            state.xxreg0 = xxreg0;
            state.xreg4 = xreg4;
            state.xxreg1 = xxreg0 >> 8;
            state.flags = flags;
            state.ct_zone = 1;
            state.now = Timestamp(1_000_000_000);
            state
        })
}

/// What a packet leaves behind.
type Seen = (Fate, Vec<Event>, u128, u128, u64, u32, CtView, Vec<Entry>);

fn run(stages: &mut impl Stages, block: Block, state: &State) -> Seen {
    let mut state = *state;
    let mut events = Events::default();
    let mut conntrack = Conntrack::default();
    let fate = stages.run(SwitchId(0), block, &mut state, &mut conntrack, &mut events);
    // An application without a row has the number 0: nobody can tell which it is.
    for event in &mut events.0 {
        if let Event::Sample(_, sampled) = event
            && sampled.app_id == 0
        {
            sampled.app = netverdict_types::App::Drop;
        }
    }
    (
        fate,
        events.0,
        state.xxreg0,
        state.xxreg1,
        state.xreg4,
        state.flags,
        state.ct,
        conntrack.entries(state.now).collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
    ))]

    #[test]
    fn decides_what_a_walk_through_the_flows_does(
        rows in rows(),
        states in prop::collection::vec(state(), 40),
    ) {
        let northbound = rows.northbound();
        for release in [Release::R25_03, Release::R26_03] {
            let mut decide = Decide::new(&northbound, release);
            let mut walk = Walk::new(northbound.clone(), release);
            for state in &states {
                for block in BLOCKS {
                    let (is, should) = (
                        run(&mut decide, block, state),
                        run(&mut walk, block, state),
                    );
                    if is != should {
                        let flows = netverdict_pipeline::flow::flows(&northbound, SwitchId(0), release);
                        let flows: Vec<_> = flows
                            .iter()
                            .filter(|flow| block.stages().contains(&flow.stage))
                            .map(|flow| format!("{:?} {} {} -> {}", flow.stage, flow.priority, flow.matches, flow.actions))
                            .collect();
                        prop_assert!(
                            false,
                            "{release:?} {block:?}\n{state:?}\nis     {is:?}\nshould {should:?}\n{}",
                            flows.join("\n")
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_kept_is_what_would_be_decided(
        rows in rows(),
        packets in prop::collection::vec((packet(), connection(), connection(), 0..5u32, 0..5u32), 60),
        new in any::<bool>(),
    ) {
        let northbound = rows.northbound();
        let release = if new { Release::R26_03 } else { Release::R25_03 };
        let decide = || Decide::new(&northbound, release);
        let mut cache = Cache::new(decide(), 16);
        let mut alone = decide();
        for (packet, ingress, egress, inport, outport) in packets {
            let question = Question {
                switch: SwitchId(0),
                inport: Lport(inport),
                outport: Lport(outport),
                packet,
                ingress,
                egress,
            };
            // The same but for what few ACLs read.
            let mut other = question;
            if let L4::Tcp { src, flags, .. } = &mut other.packet.l4 {
                *src = src.wrapping_add(3);
                *flags = 16;
            }
            other.packet.eth_src = [2; 6];
            for question in [question, other, question] {
                prop_assert_eq!(cache.ask(&question), &alone.answer(&question));
            }
        }
    }
}
