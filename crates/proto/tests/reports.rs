//! What is written into a report is read out of it, and nothing that comes makes a reader fail.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;
use std::sync::Arc;

use netverdict_proto::{Facts, Received, Writer, v1};
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

/// What a decision borrows.
#[derive(Clone, Debug)]
struct Owned {
    zone: String,
    node: Option<String>,
    network: Option<String>,
    rows: Vec<AclRow>,
    flow: Option<DropFlow>,
    ends: [(Option<IpAddr>, Option<u16>, Option<Endpoint>); 2],
    service: Option<Service>,
    headers: Headers,
    words: (Origin, Verdict, Option<Unresolved>, Evidence, Option<App>),
    numbers: (i64, u32, u64, u64, Option<u32>, u32),
    cookie: Option<u64>,
    flags: (bool, Option<bool>, bool),
}

impl Owned {
    fn decision(&self) -> Decision<'_> {
        let end =
            |(ip, port, endpoint): &'_ (_, _, Option<Endpoint>)| -> (Option<IpAddr>, Option<u16>) {
                let _ = endpoint;
                (*ip, *port)
            };
        let [src, dst] = &self.ends;
        let mut candidates = Candidates::default();
        for row in self.rows.iter().skip(1) {
            candidates.push(row);
        }
        let (src_ip, src_port) = end(src);
        let (dst_ip, dst_port) = end(dst);
        Decision {
            time: Timestamp(self.numbers.0),
            origin: self.words.0,
            zone: &self.zone,
            node: self.node.as_deref(),
            network: self.network.as_deref(),
            datapath: None,
            verdict: self.words.1,
            acl: self.rows.first(),
            deleted: self.flags.0,
            candidates,
            flow: self.flow.as_ref(),
            unresolved: self.words.2,
            evidence: self.words.3,
            app: self.words.4,
            cookie: self
                .cookie
                .map(|it| Cookie::from_be_bytes(it.to_be_bytes())),
            reply: self.flags.1,
            double: self.flags.2,
            src: End {
                ip: src_ip,
                port: src_port,
                endpoint: src.2.as_ref(),
            },
            dst: End {
                ip: dst_ip,
                port: dst_port,
                endpoint: dst.2.as_ref(),
            },
            service: self.service.as_ref(),
            headers: self.headers,
            length: self.numbers.1,
            packets: self.numbers.2,
            bytes: self.numbers.3,
            group: self.numbers.4,
            probability: Probability(self.numbers.5),
            data: &[],
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "ünïcode", "a-longer-name"]).prop_map(str::to_owned)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (
        select(EndpointKind::ALL.to_vec()),
        of(name()),
        of(name()),
        of(name()),
    )
        .prop_map(|(kind, namespace, name, node)| Endpoint {
            kind,
            namespace,
            name,
            node,
        })
}

fn service() -> impl Strategy<Value = Service> {
    (
        name(),
        any::<IpAddr>(),
        of(any::<u16>()),
        any::<u8>(),
        vec((any::<IpAddr>(), of(any::<u16>())), 0..3),
    )
        .prop_map(|(name, ip, port, protocol, backends)| Service {
            namespace: None,
            name,
            ip,
            port,
            protocol,
            backends,
        })
}

fn row() -> impl Strategy<Value = AclRow> {
    let owner = (
        select(OwnerKind::KNOWN.to_vec()),
        of(name()),
        of(name()),
        of(select(Direction::ALL.to_vec())),
        (of(any::<u32>()), of(name()), of(any::<i32>()), of(name())),
        of(name()),
    );
    let owner = owner.prop_map(|(kind, namespace, name, direction, rule, network)| Owner {
        kind,
        namespace,
        name,
        direction,
        rule: Rule {
            index: rule.0,
            protocol: rule.1,
            ip_block: rule.2,
            kind: rule.3,
        },
        network,
    });
    let acl = (
        of(name()),
        any::<u16>(),
        name(),
        select(Action::ALL.to_vec()),
        select(Pipeline::ALL.to_vec()),
        0..4_u8,
        any::<u32>(),
        owner,
    );
    let acl = acl.prop_map(
        |(name, priority, matches, action, pipeline, tier, label, owner)| Acl {
            name,
            priority,
            matches,
            action,
            pipeline,
            tier,
            label,
            owner,
        },
    );
    (any::<u128>(), any::<u64>(), acl).prop_map(|(uuid, revision, acl)| AclRow {
        uuid: Uuid::from_u128(uuid),
        revision,
        fact: Arc::new(Fact::from(acl)),
    })
}

fn headers() -> impl Strategy<Value = Headers> {
    let one = (
        of(any::<[u8; 6]>()),
        of(any::<[u8; 6]>()),
        of(any::<u16>()),
        of(0..4_096_u16),
        of(any::<u8>()),
        of(any::<u8>()),
        of(any::<u16>()),
        any::<bool>(),
    );
    let two = (
        of(any::<u8>()),
        of(any::<u32>()),
        of(any::<[u8; 2]>()),
        of(any::<u16>()),
    );
    (one, two).prop_map(|(one, two)| Headers {
        eth_src: one.0,
        eth_dst: one.1,
        ethertype: one.2,
        vlan: one.3,
        protocol: one.4,
        ttl: one.5,
        ip_id: one.6,
        later_fragment: one.7,
        tcp_flags: two.0.map(TcpFlags),
        tcp_seq: two.1,
        icmp: two.2.map(|[kind, code]| IcmpKind { kind, code }),
        icmp_id: two.3,
        ..Headers::default()
    })
}

fn owned() -> impl Strategy<Value = Owned> {
    let end = || (of(any::<IpAddr>()), of(any::<u16>()), of(endpoint()));
    let flow = (name(), any::<u16>(), name()).prop_map(|(stage, priority, matches)| DropFlow {
        message: stage.clone().into(),
        stage,
        priority,
        matches,
    });
    let words = (
        select(Origin::ALL.to_vec()),
        select(Verdict::ALL.to_vec()),
        of(select(Unresolved::ALL.to_vec())),
        select(Evidence::ALL.to_vec()),
        of(select(App::ALL.to_vec())),
    );
    let numbers = (
        any::<i64>(),
        any::<u32>(),
        any::<u64>(),
        any::<u64>(),
        of(any::<u32>()),
        any::<u32>(),
    );
    let names = (name(), of(name()), of(name()));
    let rest = (
        of(any::<u64>()),
        (any::<bool>(), of(any::<bool>()), any::<bool>()),
    );
    (
        names,
        vec(row(), 0..7),
        of(flow),
        end(),
        end(),
        of(service()),
        headers(),
        words,
        numbers,
        rest,
    )
        .prop_map(
            |(names, rows, flow, src, dst, service, headers, words, numbers, rest)| {
                let mut headers = headers;
                // As decisions have them; the headers of a translated packet may say something else.
                headers.src = src.0;
                headers.dst = dst.0;
                headers.src_port = src.1;
                headers.dst_port = dst.1;
                Owned {
                    zone: names.0,
                    node: names.1,
                    network: names.2,
                    rows,
                    flow,
                    ends: [src, dst],
                    service,
                    headers,
                    words,
                    numbers,
                    cookie: rest.0,
                    flags: rest.1,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read(all in vec(owned(), 1..12), place in any::<(u64, u64)>()) {
        let mut writer = Writer::default();
        for one in &all {
            writer.decision(&one.decision(), "here");
        }
        writer.counter("place", "name", 7);
        let bytes = writer.finish(place.0, place.1);
        prop_assert!(writer.is_empty());
        let mut facts = Facts::default();
        let report = v1::Report::decode_bytes(&bytes).unwrap();
        let again = Received::new(report.clone(), &mut facts);
        let received = Received::new(report, &mut facts);
        prop_assert_eq!((received.incarnation, received.number), place);
        prop_assert_eq!(received.counters.len(), 1);
        let read: Vec<_> = received.decisions().map(Option::unwrap).collect();
        prop_assert_eq!(read.len(), all.len());
        for (read, one) in read.iter().zip(&all) {
            let mut wanted = one.decision();
            wanted.node = wanted.node.or(Some("here"));
            // Beyond those that are named, only their number is told.
            prop_assert_eq!(format!("{read:?}"), format!("{wanted:?}"));
        }
        // One copy of each ACL, whoever reports it.
        for (one, other) in received.decisions().zip(again.decisions()) {
            let facts = [one, other].map(|it| it.unwrap().acl.map(|row| row.fact.clone()));
            if let [Some(one), Some(other)] = facts {
                prop_assert!(Arc::ptr_eq(&one, &other));
            }
        }
    }

    #[test]
    fn odd_bytes_make_no_reader_fail(all in vec(owned(), 1..4), flips in vec(any::<(usize, u8)>(), 1..8)) {
        let mut writer = Writer::default();
        for one in &all {
            writer.decision(&one.decision(), "here");
        }
        let mut bytes = writer.finish(1, 1);
        for (place, bits) in flips {
            let place = place % bytes.len();
            bytes[place] ^= bits;
        }
        if let Some(report) = v1::Report::decode_bytes(&bytes) {
            let received = Received::new(report, &mut Facts::default());
            for decision in received.decisions() {
                let _ = format!("{decision:?}");
            }
        }
    }
}
