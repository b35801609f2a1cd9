use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use libbpf_rs::{MapHandle, Object};

use super::layout::{self, FLOW_KEY, FLOW_VALUE};
use super::maps::{self, Pair};
use super::watch::{Programs, State, Watch};
use super::{WallClock, open, resize, system};
use crate::{Counts, Drained, Error, FlowCount, Options, Sink};

/// The programs that count what goes through interfaces.
#[derive(Debug)]
pub(crate) struct Flows {
    flows: Pair,
    ring: MapHandle,
    counters: MapHandle,
    /// Packets that were in the map or the ring at the last drain.
    joined: u64,
    spilled: u64,
    state: Arc<State>,
    /// One for each network namespace.
    _watches: Vec<Watch>,
    _object: Object,
}

impl Flows {
    pub(crate) fn attach(options: &Options) -> Result<Self, Error> {
        let mut object = open("netverdict", PROGRAMS)?;
        resize(
            &mut object,
            &["one_flows", "other_flows"],
            options.max_flows,
        )?;
        let object = object
            .load()
            .map_err(|error| system("load what counts flows", error))?;
        let state = Arc::new(State::default());
        let mut watches = Vec::new();
        for (at, watched) in options.interfaces.0.iter().enumerate() {
            let others = &options.interfaces.0[..at];
            if others
                .iter()
                .any(|other| other.namespace == watched.namespace)
            {
                continue;
            }
            let names = options.interfaces.0[at..]
                .iter()
                .filter(|other| other.namespace == watched.namespace)
                .cloned()
                .collect();
            let programs = Programs {
                incoming: program(&object, "passed_in")?,
                outgoing: program(&object, "passed_out")?,
            };
            watches.push(Watch::start(names, programs, Arc::clone(&state))?);
        }
        Ok(Self {
            flows: Pair::new(
                &object,
                ["active_flows", "one_flows", "other_flows"],
                FLOW_KEY,
                FLOW_VALUE,
            )?,
            ring: maps::map(&object, "spilled_flows")?,
            counters: maps::map(&object, "flow_counters")?,
            joined: 0,
            spilled: 0,
            state,
            _watches: watches,
            _object: object,
        })
    }

    pub(crate) fn drain(
        &mut self,
        clock: WallClock,
        sink: &mut impl Sink,
        drained: &mut Drained,
    ) -> Result<(), Error> {
        // Of interfaces that are gone by now, this takes the last packets.
        let names = self.state.names();
        let mut hand_over = |key: &[u8], value: &[u8]| {
            let Some(passed) = layout::passed(key, value) else {
                return;
            };
            sink.flow(&FlowCount {
                namespace: passed.namespace,
                index: passed.interface,
                interface: names.of(passed.namespace, passed.interface),
                heading: passed.heading,
                headers: passed.headers,
                packets: passed.packets,
                bytes: passed.bytes,
                first: clock.at(passed.first),
                last: clock.at(passed.last),
            });
        };
        let [_, joined, spilled, _] = maps::sums(&self.counters)?;
        if joined != self.joined {
            drained.flows += self.flows.drain(&mut hand_over)?;
            self.joined = joined;
        }
        if spilled != self.spilled {
            let mut records = 0;
            maps::consume(&self.ring, |record| {
                if let Some((key, value)) = record.split_at_checked(FLOW_KEY) {
                    hand_over(key, value);
                    records += 1;
                }
            })?;
            drained.spilled += records;
            self.spilled = spilled;
        }
        self.state.forget(&names);
        Ok(())
    }

    pub(crate) fn counts(&self, counts: &mut Counts) -> Result<(), Error> {
        [
            counts.flow_seen,
            counts.flow_joined,
            counts.flow_spilled,
            counts.flow_lost,
        ] = maps::sums(&self.counters)?;
        (counts.interfaces, counts.interfaces_failed) = self.state.counts();
        Ok(())
    }
}

fn program(object: &Object, name: &str) -> Result<OwnedFd, Error> {
    let cannot = |error| Error::System {
        what: format!("use its program {name}"),
        error,
    };
    let program = object
        .progs()
        .find(|program| program.name() == OsStr::new(name))
        .ok_or_else(|| cannot(std::io::ErrorKind::NotFound.into()))?;
    program.as_fd().try_clone_to_owned().map_err(cannot)
}

static PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flows.bpf.o"));
