use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use libbpf_rs::{MapHandle, Object};

use super::layout::{self, FLOW_KEY, FLOW_VALUE};
use super::maps::{self, Added};
use super::watch::{Programs, State, Watch};
use super::{WallClock, open, resize, system};
use crate::{Counts, Drained, Error, FlowCount, Options, Sink};

/// The programs that count what goes through interfaces.
#[derive(Debug)]
pub(crate) struct Flows {
    flows: Added,
    counters: MapHandle,
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
            flows: Added::new(
                &object,
                ["active_flows", "one_flows", "other_flows", "spilled_flows"],
                FLOW_KEY,
                FLOW_VALUE,
            )?,
            counters: maps::map(&object, "flow_counters")?,
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
        let hand_over = |key: &[u8], value: &[u8]| {
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
        let (entries, records) = self.flows.drain(joined, spilled, hand_over)?;
        drained.flows += entries;
        drained.spilled += records;
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::UdpSocket;
    use std::process::Command;
    use std::thread;

    use libbpf_rs::ProgramInput as Input;
    use netverdict_types::{Headers, Sample, TcpFlags, Timestamp};
    use netverdict_wire::headers::parse_frame;
    use nix::sched::{CloneFlags, unshare};

    use super::*;
    use crate::kernel::require_capabilities;
    use crate::kernel::watch::Hook;
    use crate::{Event, Heading};

    #[derive(Default)]
    struct Packets {
        to_us: Vec<(Heading, u64, u64)>,
    }

    impl Sink for Packets {
        fn event(&mut self, _: &Sample<'_>, _: &Event) {}

        fn flow(&mut self, flow: &FlowCount<'_>) {
            assert!(Timestamp(0) < flow.first && flow.first <= flow.last);
            if flow.headers.dst_port == Some(4_739) {
                self.to_us.push((flow.heading, flow.packets, flow.bytes));
            }
        }
    }

    /// TCX hides it on kernels that have that. Needs root and says nothing without.
    #[test]
    fn clsact_counts_where_there_is_no_tcx() {
        let counted = thread::spawn(|| {
            // A network namespace of its own, gone with the thread.
            if require_capabilities().is_err() || unshare(CloneFlags::CLONE_NEWNET).is_err() {
                return;
            }
            let up = Command::new("ip")
                .args(["link", "set", "lo", "up"])
                .status();
            if !up.is_ok_and(|status| status.success()) {
                return;
            }
            let mut flows = Flows::attach(&Options::default()).unwrap();
            let hooks = [("passed_in", Heading::In), ("passed_out", Heading::Out)].map(
                |(name, heading)| {
                    let program = program(&flows._object, name).unwrap();
                    Hook::attach_tc(&program, 1, heading).unwrap()
                },
            );
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let send = |times| {
                for _ in 0..times {
                    socket.send_to(b"eight...", "127.0.0.1:4739").unwrap();
                }
            };
            send(5);
            drop(hooks);
            send(3);
            let mut packets = Packets::default();
            let clock = WallClock::now().unwrap();
            flows
                .drain(clock, &mut packets, &mut Drained::default())
                .unwrap();
            packets
                .to_us
                .sort_by_key(|(heading, ..)| *heading == Heading::Out);
            let bytes = 5 * (14 + 20 + 8 + 8);
            assert_eq!(
                packets.to_us,
                [(Heading::In, 5, bytes), (Heading::Out, 5, bytes)]
            );
        });
        counted.join().unwrap();
    }

    /// The programs read packets as `parse_frame` does. Needs root and says nothing without.
    #[test]
    fn headers_are_read_as_elsewhere() {
        if require_capabilities().is_err() {
            return;
        }
        let mut flows = Flows::attach(&Options::default()).unwrap();
        let program = flows
            ._object
            .progs_mut()
            .find(|program| program.name() == OsStr::new("passed_in"))
            .unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let mut wanted = HashMap::new();
        for _ in 0..20_000 {
            let frame = frame(&mut random);
            program
                .test_run(Input {
                    data_in: Some(&frame),
                    ..Input::default()
                })
                .unwrap();
            let entry = wanted.entry(identity(&parse_frame(&frame)));
            *entry.or_insert(0_u64) += 1;
        }
        let mut found = Found::default();
        let clock = WallClock::now().unwrap();
        flows
            .drain(clock, &mut found, &mut Drained::default())
            .unwrap();
        assert_eq!(found.0.values().sum::<u64>(), 20_000);
        for (headers, packets) in &wanted {
            assert_eq!(found.0.get(headers), Some(packets), "{headers:?}");
        }
        assert_eq!(found.0.len(), wanted.len());
        assert!(found.0.len() > 1_000, "{}", found.0.len());
    }

    #[derive(Default)]
    struct Found(HashMap<Headers, u64>);

    impl Sink for Found {
        fn event(&mut self, _: &Sample<'_>, _: &Event) {}

        fn flow(&mut self, flow: &FlowCount<'_>) {
            *self.0.entry(identity(&flow.headers)).or_default() += flow.packets;
        }
    }

    /// What makes a flow.
    fn identity(headers: &Headers) -> Headers {
        Headers {
            eth_src: None,
            eth_dst: None,
            ttl: None,
            ip_id: None,
            tcp_seq: None,
            tcp_flags: headers.tcp_flags.map(|_| TcpFlags(0)),
            ..*headers
        }
    }

    /// A frame with some of what there can be, cut off behind the IP header at times. Ports that
    /// are there by half are left out: `parse_frame` takes what there is.
    fn frame(random: &mut fastrand::Rng) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..random.u8(0..3) {
            frame.extend([[0x81, 0], [0x88, 0xa8], [0x91, 0]][random.usize(0..3)]);
            frame.extend([random.u8(..), random.u8(0..8)]);
        }
        let protocol = [1, 6, 17, 47, 58, 132][random.usize(0..6)];
        let mut layer4 = vec![0; [0, 1, 4, 8, 13, 14, 40][random.usize(0..7)]];
        for byte in &mut layer4 {
            *byte = [0, 8, 128, 129, random.u8(..)][random.usize(0..5)];
        }
        let address = [10, 0, 0, random.u8(0..4)];
        match random.u8(0..8) {
            0..4 => {
                let options = random.usize(0..3);
                let length = (20 + options * 4 + layer4.len()) as u16;
                let [high, low] =
                    [length, 0, length.saturating_sub(4), 9_000][random.usize(0..4)].to_be_bytes();
                let fragment = [0, 0, 0, 0x20, 0x40, 0x01][random.usize(0..6)];
                frame.extend([
                    8,
                    0,
                    0x45 + options as u8,
                    0,
                    high,
                    low,
                    0,
                    1,
                    fragment,
                    0,
                    64,
                ]);
                frame.extend([protocol, 0, 0]);
                frame.extend(address);
                frame.extend(address);
                frame.extend(vec![1; options * 4]);
            }
            4..7 => {
                let mut headers = Vec::new();
                let mut next = protocol;
                for _ in 0..random.u8(0..4) {
                    let kind = [0, 43, 44, 51, 60][random.usize(0..5)];
                    let mut header = [0; 24];
                    let length = match kind {
                        44 => {
                            header[3] = [0, 1, 8][random.usize(0..3)];
                            8
                        }
                        // In units of 4 bytes, less 2, that come to units of 8 here.
                        51 => {
                            header[1] = 2;
                            16
                        }
                        _ => {
                            header[1] = random.u8(0..3);
                            usize::from(header[1] + 1) * 8
                        }
                    };
                    header[0] = next;
                    headers.splice(0..0, header[..length].iter().copied());
                    next = kind;
                }
                let length = (headers.len() + layer4.len()) as u16;
                let [high, low] = [length, 0, 9_000][random.usize(0..3)].to_be_bytes();
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, next, 64]);
                for _ in 0..2 {
                    frame.extend([0xfd; 12]);
                    frame.extend(address);
                }
                frame.extend(headers);
            }
            _ => frame.extend([[8, 6], [0, 60], [0x88, 0xcc]][random.usize(0..3)]),
        }
        frame.extend(layer4);
        frame
    }
}
