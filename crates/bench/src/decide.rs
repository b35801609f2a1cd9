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
        if round > 0 {
            figures.push(took.as_nanos() as f64 / PACKETS as f64);
            allocated += allocations() - before;
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
    let mut figures = Vec::new();
    let mut allocated = 0;
    for round in 0..=ROUNDS {
        let now = Timestamp(1_000_000_000);
        let known: Vec<_> = conntrack.entries(now).collect();
        for entry in known {
            conntrack.remove(entry.zone, &entry.original);
        }
        let before = allocations();
        let start = thread_time();
        for (flight, (inport, outport)) in flights.iter().zip(&ports) {
            let packet = Packet::parse(&flight.frame)?;
            let mut state = State::new(packet, *inport);
            state.now = now;
            state.ct_zone = inport.0 as u16;
            let fate = cross(&mut decide, &mut state, *outport, &mut conntrack, &mut seen);
            seen.allowed += u64::from(fate == Fate::Next);
        }
        let took = thread_time() - start;
        let after = allocations();
        if round > 0 {
            figures.push(took.as_nanos() as f64 / PACKETS as f64);
            allocated += after - before;
        }
    }
    let middle = median(&mut figures).unwrap_or_default();
    let share = |part: u64| part as f64 / ((ROUNDS + 1) * PACKETS) as f64 * 100.0;
    eprintln!(
        "{name}: {acls} ACLs compiled in {:.0} ms; {ROUNDS} rounds of {PACKETS} new connections, {:.0} % allowed, {:.2} samples a \
         packet; best {:.0} ns, worst {:.0} ns; {allocated} allocations",
        compiled.as_secs_f64() * 1e3,
        share(seen.allowed),
        share(seen.samples) / 100.0,
        figures.first().copied().unwrap_or_default(),
        figures.last().copied().unwrap_or_default(),
    );
    ensure!(allocated == 0, "{allocated} allocations");
    print(name, middle);
    Ok(())
}

/// A packet through the ACL stages of its switch, in and out, with conntrack.
fn cross(
    decide: &mut Decide,
    state: &mut State,
    outport: Lport,
    conntrack: &mut Conntrack,
    observer: &mut impl Observer,
) -> Fate {
    let switch = SwitchId(0);
    for (block, next) in [
        (Block::InPreAcl, true),
        (Block::InAcl, false),
        (Block::InAclAfterLb, false),
        (Block::InStateful, false),
        (Block::OutPreAcl, true),
        (Block::OutAcl, false),
        (Block::OutStateful, false),
    ] {
        if block == Block::OutPreAcl {
            state.forget_registers();
            state.outport = outport;
            state.ct_zone = outport.0 as u16;
        }
        let fate = decide.run(switch, block, state, conntrack, observer);
        if fate != Fate::Next {
            return fate;
        }
        if next && state.reg(0) & 1 == 1 {
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
