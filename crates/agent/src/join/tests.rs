#![allow(clippy::unwrap_used, reason = "tests")]

use netverdict_types::{Candidates, End, Evidence, Origin, Probability, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const HOLD: i64 = 100;

#[derive(Clone, Debug)]
enum Step {
    /// By port: a flow at one of some interfaces, with packets.
    Flow(u16, u8, u64),
    /// By port: a decision of one of some verdicts, with packets, maybe a double.
    Decision(u16, usize, u64, bool),
    Time(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..12_u16, 0..4_u8, 1..100_u64).prop_map(|(port, place, n)| Step::Flow(port, place, n)),
        (0..12_u16, 0..Verdict::ALL.len(), 1..100_u64, any::<bool>())
            .prop_map(|(port, verdict, n, double)| Step::Decision(port, verdict, n, double)),
        (0..60_i64).prop_map(Step::Time),
    ]
}

fn headers(port: u16) -> Headers {
    Headers {
        protocol: (port != 11).then_some(17),
        src: Some(IpAddr::from([10, 0, 0, 1])),
        dst: Some(IpAddr::from([10, 0, 0, 2])),
        src_port: Some(port),
        dst_port: Some(53),
        ..Headers::default()
    }
}

fn decision(
    port: u16,
    verdict: Verdict,
    packets: u64,
    double: bool,
    now: i64,
) -> Decision<'static> {
    Decision {
        time: Timestamp(now),
        origin: Origin::Ebpf,
        zone: "zone",
        node: None,
        network: None,
        datapath: None,
        verdict,
        acl: None,
        deleted: false,
        candidates: Candidates::default(),
        flow: None,
        unresolved: None,
        evidence: Evidence::None,
        app: None,
        cookie: None,
        reply: None,
        double,
        src: End::default(),
        dst: End::default(),
        service: None,
        headers: headers(port),
        length: 1,
        packets,
        bytes: 2 * packets,
        group: None,
        probability: Probability::ALL,
        data: &[],
    }
}

/// Packets by port and what they were counted at, or as.
type Sums = HashMap<(u16, String), u64>;

proptest! {
    #[test]
    fn nothing_is_lost_and_what_belongs_together_is_together(
        steps in vec(step(), 1..300),
        parts in prop_oneof![Just(usize::MAX), 1..20_usize],
    ) {
        let mut join = Join::new(JoinLimits { parts, hold: HOLD });
        let (mut told, mut wanted) = (Vec::new(), Sums::new());
        let mut keyless = 0;
        let mut now = 0;
        for step in &steps {
            match *step {
                Step::Flow(port, place, packets) => {
                    let name = format!("eth{}", place / 2);
                    let headers = headers(port);
                    let counted = Counted {
                        interface: &name,
                        inwards: place % 2 == 0,
                        headers: &headers,
                        packets,
                        bytes: packets,
                        first: now - 5,
                        last: now,
                    };
                    join.flow(&counted, now, |record| told.push((now, record)));
                    match port {
                        11 => keyless += 1,
                        _ => *wanted.entry((port, format!("{name} {}", place % 2 == 0))).or_default() += packets,
                    }
                }
                Step::Decision(port, verdict, packets, double) => {
                    let verdict = Verdict::ALL[verdict];
                    let packets = if double { 0 } else { packets };
                    let decision = decision(port, verdict, packets, double, now);
                    join.decision(&decision, now, |record| told.push((now, record)));
                    match port {
                        11 => keyless += 1,
                        _ => *wanted.entry((port, verdict.as_str().to_owned())).or_default() += packets,
                    }
                }
                Step::Time(by) => {
                    now += by;
                    join.advance(now, |record| told.push((now, record)));
                }
            }
            prop_assert!(join.held() <= parts);
        }
        join.finish(|record| told.push((now, record)));
        prop_assert_eq!(join.held(), 0);
        let counts = join.counts();
        prop_assert_eq!(counts.keyless, keyless);
        prop_assert_eq!(counts.records, told.len() as u64);
        let mut sums = Sums::new();
        let mut joined = 0;
        let mut last_of: HashMap<FlowKey, i64> = HashMap::new();
        for (at, record) in &told {
            joined += u64::from(!record.flows.is_empty() && !record.decisions.is_empty());
            prop_assert!(!record.flows.is_empty() || !record.decisions.is_empty());
            prop_assert!(record.first <= record.last && record.last <= *at);
            if parts == usize::MAX {
                // A record has all of its time: the next one began when it was over.
                if let Some(before) = last_of.insert(record.key, record.last) {
                    prop_assert!(record.last >= before);
                }
            }
            for part in &record.flows {
                *sums.entry((record.key.src_port, format!("{} {}", part.interface, part.inwards))).or_default() += part.packets;
            }
            for part in &record.decisions {
                *sums.entry((record.key.src_port, part.verdict.as_str().to_owned())).or_default() += part.packets;
            }
        }
        prop_assert_eq!(sums, wanted);
        prop_assert_eq!(counts.joined, joined);
        prop_assert!(parts != usize::MAX || counts.told_early == 0);
    }

    #[test]
    fn within_the_time_there_is_one_record(
        mut all in vec((0..4_u8, any::<bool>()), 2..60).prop_shuffle(),
    ) {
        all.truncate(HOLD as usize);
        let mut join = Join::new(JoinLimits { parts: usize::MAX, hold: HOLD });
        let headers = headers(1);
        for (now, (place, is_flow)) in (0_i64..).zip(&all) {
            let never = |_| unreachable!();
            match is_flow {
                true => {
                    let name = format!("eth{place}");
                    let counted = Counted { interface: &name, inwards: true, headers: &headers, packets: 1, bytes: 1, first: now, last: now };
                    join.flow(&counted, now, never);
                }
                false => {
                    let verdict = Verdict::ALL[usize::from(*place)];
                    join.decision(&decision(1, verdict, 1, false, now), now, never);
                }
            }
        }
        let mut told = Vec::new();
        join.advance(HOLD, |record| told.push(record));
        prop_assert_eq!(told.len(), 1);
        let packets: u64 = told[0].flows.iter().map(|it| it.packets).chain(told[0].decisions.iter().map(|it| it.packets)).sum();
        prop_assert_eq!(packets, all.len() as u64);
    }
}
