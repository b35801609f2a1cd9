//! The fast way to JSON gives the bytes of the general one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_types::{
    Acl, AclRow, Action, App, Candidates, Cookie, Decision, Direction, DropFlow, End, Endpoint,
    EndpointKind, Evidence, Fact, Headers, IcmpKind, Origin, Owner, OwnerKind, Pipeline,
    Probability, Rule, Service, TcpFlags, Timestamp, Unresolved, Verdict,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

/// Texts of all lengths, with everything that JSON escapes.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9 =$@{}.]{0,40}",
        "\\PC{0,20}",
        vec(
            select(vec![
                "a",
                "é",
                "\"",
                "\\",
                "\u{0}",
                "\u{8}",
                "\t",
                "\n",
                "\u{b}",
                "\u{c}",
                "\r",
                "\u{1f}",
                " ",
                "!",
                "#",
                "[",
                "]",
                "\u{7f}",
                "\u{80}",
                "\u{2028}",
                "\u{1f418}"
            ]),
            0..20
        )
        .prop_map(|parts| parts.concat()),
    ]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(|v4| IpAddr::V6(std::net::Ipv4Addr::from(v4).to_ipv6_mapped())),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    select(Direction::ALL.to_vec())
}

prop_compose! {
    fn owner()(
        kind in prop_oneof![
            select(OwnerKind::KNOWN.to_vec()),
            text().prop_map(OwnerKind::Other),
        ],
        namespace in of(text()),
        name in of(text()),
        direction in of(direction()),
        (index, protocol, ip_block, rule_kind) in
            (of(any::<u32>()), of(text()), of(any::<i32>()), of(text())),
        network in of(text()),
    ) -> Owner {
        let rule = Rule { index, protocol, ip_block, kind: rule_kind };
        Owner { kind, namespace, name, direction, rule, network }
    }
}

prop_compose! {
    fn row()(
        uuid in any::<u128>(),
        revision in any::<u64>(),
        (name, matches, owner) in (of(text()), text(), owner()),
        priority in any::<u16>(),
        action in select(Action::ALL.to_vec()),
        pipeline in select(Pipeline::ALL.to_vec()),
        tier in 0..4_u8,
    ) -> AclRow {
        let acl = Acl { name, priority, matches, action, pipeline, tier, label: 0, owner };
        AclRow { uuid: Uuid::from_u128(uuid), revision, fact: Arc::new(Fact::from(acl)) }
    }
}

prop_compose! {
    fn endpoint()(
        kind in select(EndpointKind::ALL.to_vec()),
        namespace in of(text()),
        name in of(text()),
        node in of(text()),
    ) -> Endpoint {
        Endpoint { kind, namespace, name, node }
    }
}

prop_compose! {
    fn service()(
        namespace in of(text()),
        name in text(),
        ip in ip(),
        port in of(any::<u16>()),
    ) -> Service {
        Service { namespace, name, ip, port, protocol: 6, backends: Vec::new() }
    }
}

prop_compose! {
    fn flow()(stage in text(), priority in any::<u16>(), matches in text(), message in text())
        -> DropFlow {
        DropFlow { stage, priority, matches, message: message.into() }
    }
}

type Ends = [(Option<IpAddr>, Option<u16>, Option<Endpoint>); 2];

fn ends() -> impl Strategy<Value = Ends> {
    let end = || (of(ip()), of(any::<u16>()), of(endpoint()));
    [end(), end()]
}

/// Numbers with as many digits as there may be.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)
}

proptest! {
    #[test]
    fn a_decision_is_written_as_serde_writes_it(
        (zone, network, node, datapath) in (text(), of(text()), of(text()), of(text())),
        (acl, others, flow, service) in (of(row()), vec(row(), 0..6), of(flow()), of(service())),
        ends in ends(),
        (time, packets, bytes) in (any::<i64>(), number(), number()),
        (length, group, cookie) in (any::<u32>(), of(any::<u32>()), of(any::<[u8; 8]>())),
        probability in prop_oneof![
            any::<u32>(), 0..100_000_u32, Just(u32::MAX), any::<u16>().prop_map(|scaled| {
                Probability::from_u16(scaled).0
            }),
        ],
        (protocol, flags, icmp) in (of(any::<u8>()), of(any::<u8>()), of(any::<[u8; 2]>())),
        (deleted, double, reply) in (any::<bool>(), any::<bool>(), of(any::<bool>())),
        verdict in select(Verdict::ALL.to_vec()),
        evidence in select(Evidence::ALL.to_vec()),
        unresolved in of(select(Unresolved::ALL.to_vec())),
        app in of(select(App::ALL.to_vec())),
        origin in select(Origin::ALL.to_vec()),
    ) {
        let mut candidates = Candidates::default();
        for row in &others {
            candidates.push(row);
        }
        let [src, dst] = ends.each_ref().map(|(ip, port, endpoint)| End {
            ip: *ip,
            port: *port,
            endpoint: endpoint.as_ref(),
        });
        let decision = Decision {
            time: Timestamp(time),
            origin,
            zone: &zone,
            node: node.as_deref(),
            network: network.as_deref(),
            datapath: datapath.as_deref(),
            verdict,
            acl: acl.as_ref(),
            deleted,
            candidates,
            flow: flow.as_ref(),
            unresolved,
            evidence,
            app,
            cookie: cookie.map(Cookie::from_be_bytes),
            reply,
            double,
            src,
            dst,
            service: service.as_ref(),
            headers: Headers {
                protocol,
                tcp_flags: flags.map(TcpFlags),
                icmp: icmp.map(|[kind, code]| IcmpKind { kind, code }),
                ..Headers::default()
            },
            length,
            packets,
            bytes,
            group,
            probability: Probability(probability),
            data: &[],
        };
        let mut written = Vec::new();
        decision.write_json(&mut written);
        prop_assert_eq!(
            String::from_utf8(written).unwrap(),
            serde_json::to_string(&decision).unwrap()
        );
    }
}
