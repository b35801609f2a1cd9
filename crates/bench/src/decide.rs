//! From the bytes of a packet to the verdict of its switch.

use anyhow::{Result, ensure};
use netverdict_bench::alloc::allocations;
use netverdict_bench::zone::Zone;
use netverdict_pipeline::cache::{Cache, Event, Question};
use netverdict_pipeline::conntrack::Conntrack;
use netverdict_pipeline::decide::Decide;
use netverdict_pipeline::flow::Release;
use netverdict_pipeline::{
    At, Block, CtView, Fate, Lport, Northbound, Observer, Packet, Sampled, Stages, State, SwitchId,
};
use netverdict_types::Timestamp;

use crate::figure;
use crate::machine::{median, thread_time};

/// Distinct connections in a round.
const PACKETS: usize = 1 << 16;
const ROUNDS: usize = 9;

pub(crate) fn new(name: &str, acls: usize) -> Result<()> {
    measure(name, &Zone::new(acls), acls)
}

pub(crate) fn one_group(name: &str, acls: usize) -> Result<()> {
    measure(name, &Zone::of_one_group(acls), acls)
}

/// As `new`, but what was decided is kept, by what any ACL reads: the same connections over and over. What conntrack says is given.
pub(crate) fn cached(name: &str, acls: usize) -> Result<()> {
    let zone = Zone::new(acls);
    let northbound = zone.northbound();
    let mut cache = Cache::new(Decide::new(&northbound, Release::R25_03), PACKETS);
    let flights: Vec<_> = zone.flights(PACKETS).collect();
    let ports: Vec<(Lport, Lport)> = flights
        .iter()
        .map(|flight| (port(&northbound, flight.from), port(&northbound, flight.to)))
        .collect();
    let new = CtView {
        state: CtView::TRK | CtView::NEW,
        ..CtView::default()
    };
    let mut figures = Vec::new();
    let (mut allocated, mut sampled) = (0, 0);
    for round in 0..=ROUNDS {
        let before = allocations();
        let start = thread_time();
        for (flight, (inport, outport)) in flights.iter().zip(&ports) {
            let answer = cache.ask(&Question {
                switch: SwitchId(0),
                inport: *inport,
                outport: *outport,
                packet: Packet::parse(&flight.frame)?,
                ingress: new,
                egress: new,
            });
            let is_sample = |event: &&Event| matches!(event, Event::Sampled(..));
            sampled += answer.events.iter().filter(is_sample).count();
        }
        let took = thread_time() - start;
        let after = allocations();
        if round > 0 {
            figures.push(took.as_nanos() as f64 / PACKETS as f64);
            allocated += after - before;
        }
    }
    let middle = median(&mut figures).unwrap_or_default();
    eprintln!(
        "{name}: {acls} ACLs; {ROUNDS} rounds of {PACKETS} packets, {:.2} samples a packet; best {:.0} ns, worst {:.0} ns; \
         {allocated} allocations",
        sampled as f64 / ((ROUNDS + 1) * PACKETS) as f64,
        figures.first().copied().unwrap_or_default(),
        figures.last().copied().unwrap_or_default(),
    );
    ensure!(allocated == 0, "{allocated} allocations");
    print(name, middle);
    Ok(())
}

fn print(name: &str, nanoseconds: f64) {
    figure(name, format_args!("{nanoseconds:.0}"), "ns");
    let rate = format_args!("{:.2}", 1e3 / nanoseconds).to_string();
    figure(&format!("{name}_rate"), rate, "million/s");
}

fn measure(name: &str, zone: &Zone, acls: usize) -> Result<()> {
    let northbound = zone.northbound();
    ensure!(northbound.bad_rows.is_empty(), "{:?}", northbound.bad_rows);
    let start = thread_time();
    let mut decide = Decide::new(&northbound, Release::R25_03);
    let compiled = thread_time() - start;
    let flights: Vec<_> = zone.flights(PACKETS).collect();
    let ports: Vec<(Lport, Lport)> = flights
        .iter()
        .map(|flight| (port(&northbound, flight.from), port(&northbound, flight.to)))
        .collect();
    let mut conntrack = Conntrack::default();
    let mut seen = Seen::default();
    let (mut figures, mut committed) = (Vec::new(), Vec::new());
    let mut allocated = 0;
    let now = Timestamp(1_000_000_000);
    for round in 0..=ROUNDS {
        for commits in [false, true] {
            let before = allocations();
            let start = thread_time();
            for (flight, (inport, outport)) in flights.iter().zip(&ports) {
                let mut state = State::new(Packet::parse(&flight.frame)?, *inport);
                state.now = now;
                let fate = cross(
                    &mut decide,
                    &mut state,
                    *outport,
                    &mut conntrack,
                    &mut seen,
                    commits,
                );
                seen.allowed += u64::from(fate == Fate::Next);
            }
            let took = (thread_time() - start).as_nanos() as f64 / PACKETS as f64;
            let after = allocations();
            // The first round makes room for connections.
            if round > 0 {
                let figures = if commits {
                    &mut committed
                } else {
                    &mut figures
                };
                figures.push(took);
                allocated += after - before;
            }
        }
        // What was committed is new again in the next round.
        let known: Vec<_> = conntrack.entries(now).collect();
        for entry in known {
            conntrack.remove(entry.zone, &entry.original);
        }
    }
    let middle = median(&mut figures).unwrap_or_default();
    let share = |part: u64| part as f64 / (2 * (ROUNDS + 1) * PACKETS) as f64 * 100.0;
    eprintln!(
        "{name}: {acls} ACLs compiled in {:.0} ms; {ROUNDS} rounds of {PACKETS} new connections, {:.0} % allowed, {:.2} samples a \
         packet; best {:.0} ns, worst {:.0} ns, {:.0} ns with commits; {allocated} allocations",
        compiled.as_secs_f64() * 1e3,
        share(seen.allowed),
        share(seen.samples) / 100.0,
        figures.first().copied().unwrap_or_default(),
        figures.last().copied().unwrap_or_default(),
        median(&mut committed).unwrap_or_default(),
    );
    ensure!(allocated == 0, "{allocated} allocations");
    print(name, middle);
    Ok(())
}

/// A packet through the ACL stages of its switch, in and out, tracked in both zones; with or without commits.
fn cross(
    decide: &mut Decide,
    state: &mut State,
    outport: Lport,
    conntrack: &mut Conntrack,
    observer: &mut impl Observer,
    commits: bool,
) -> Fate {
    let switch = SwitchId(0);
    state.ct_zone = state.inport.0;
    for block in [
        Block::InPreAcl,
        Block::InAcl,
        Block::InAclAfterLb,
        Block::InStateful,
        Block::OutPreAcl,
        Block::OutAcl,
        Block::OutStateful,
    ] {
        if !commits && matches!(block, Block::InStateful | Block::OutStateful) {
            continue;
        }
        if block == Block::OutPreAcl {
            state.forget_registers();
            state.outport = outport;
            state.ct_zone = outport.0;
        }
        let fate = decide.run(switch, block, state, conntrack, observer);
        if fate != Fate::Next {
            return fate;
        }
        let is_pre_acl = matches!(block, Block::InPreAcl | Block::OutPreAcl);
        if is_pre_acl && state.reg(0) & 1 == 1 {
            state.ct = conntrack.track(state.ct_zone, &mut state.packet, state.now);
        }
    }
    Fate::Next
}

fn port(northbound: &Northbound, pod: usize) -> Lport {
    northbound
        .port_named(&Zone::port(pod))
        .unwrap_or(Lport::NONE)
}

#[derive(Debug, Default)]
struct Seen {
    samples: u64,
    allowed: u64,
}

impl Observer for Seen {
    fn sample(&mut self, _: At, _: &Packet, _: Sampled) {
        self.samples += 1;
    }
}
