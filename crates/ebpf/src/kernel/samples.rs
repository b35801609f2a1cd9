use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ProgramAttachType};
use netverdict_types::{Input, Key, Origin, Sample, ZoneId};

use super::layout::{self, EVENT_KEY, EVENT_VALUE};
use super::maps::{self, Added};
use super::types::{self, Field};
use super::{WallClock, open, resize, system};
use crate::{Counts, Drained, Error, Options, Sink};

/// The programs that watch psample.
#[derive(Debug)]
pub(crate) struct Samples {
    zone: ZoneId,
    events: Added,
    counters: MapHandle,
    _links: Vec<Link>,
    _object: Object,
}

impl Samples {
    pub(crate) fn attach(options: &Options) -> Result<Self, Error> {
        let config = Config::of(options)?;
        let fentry = match Self::attach_by(Hook::Fentry, &config, options) {
            Ok(samples) => return Ok(samples),
            Err(error) => error,
        };
        tracing::debug!("no fentry ({fentry}): trying kprobes");
        if let Ok(samples) = Self::attach_by(Hook::KprobeMulti, &config, options) {
            return Ok(samples);
        }
        Self::attach_by(Hook::Kprobe, &config, options).map_err(|kprobe| match (&fentry, &kprobe) {
            (Error::System { error: fentry, .. }, Error::System { error: kprobe, .. }) => {
                Error::NoProbe {
                    fentry: fentry.to_string(),
                    kprobe: kprobe.to_string(),
                }
            }
            _ => kprobe,
        })
    }

    fn attach_by(hook: Hook, config: &Config, options: &Options) -> Result<Self, Error> {
        let mut object = open("netverdict", PROGRAMS)?;
        resize(
            &mut object,
            &["one_events", "other_events"],
            options.max_events,
        )?;
        resize(&mut object, &["groups"], options.groups.len() as u32)?;
        for mut program in object.progs_mut() {
            let wanted = hook.wants(program.name(), config.executions);
            program.set_autoload(wanted);
            if matches!(hook, Hook::KprobeMulti) {
                program.set_attach_type(ProgramAttachType::KprobeMulti);
            }
        }
        for mut map in object.maps_mut() {
            if map.name() == OsStr::new(".rodata.config")
                && let Some(place) = map.initial_value_mut()
            {
                config.write(place);
            }
        }
        let object = object
            .load()
            .map_err(|error| system("load what watches samples", error))?;
        let groups = maps::map(&object, "groups")?;
        for group in &options.groups {
            groups
                .update(&group.to_ne_bytes(), &[1], MapFlags::ANY)
                .map_err(|error| system("note a group", error))?;
        }
        let mut links = Vec::new();
        // What counts executions comes first: it tells one packet from the next.
        for (name, function) in hook.programs().into_iter().rev() {
            for program in object.progs_mut() {
                if program.name() == OsStr::new(name) && program.autoload() {
                    let link = match hook {
                        Hook::Fentry => program.attach_trace(),
                        Hook::KprobeMulti => program.attach_kprobe_multi(false, vec![function]),
                        Hook::Kprobe => program.attach_kprobe(false, function),
                    };
                    links.push(link.map_err(|error| system("watch samples", error))?);
                }
            }
        }
        Ok(Self {
            zone: options.zone,
            events: Added::new(
                &object,
                [
                    "active_events",
                    "one_events",
                    "other_events",
                    "spilled_events",
                ],
                EVENT_KEY,
                EVENT_VALUE,
            )?,
            counters: maps::map(&object, "event_counters")?,
            _links: links,
            _object: object,
        })
    }

    pub(crate) fn drain(
        &mut self,
        clock: WallClock,
        sink: &mut impl Sink,
        drained: &mut Drained,
    ) -> Result<(), Error> {
        let zone = self.zone;
        let hand_over = |key: &[u8], value: &[u8]| {
            if let Some(sampled) = layout::sampled(key, value, clock) {
                sink.event(&sample(zone, &sampled), &sampled.event);
            }
        };
        let [_, _, joined, _, spilled, _] = maps::sums(&self.counters)?;
        let (entries, records) = self.events.drain(joined, spilled, hand_over)?;
        drained.events += entries;
        drained.spilled += records;
        Ok(())
    }

    pub(crate) fn counts(&self, counts: &mut Counts) -> Result<(), Error> {
        [
            counts.seen,
            counts.filtered,
            counts.joined,
            counts.doubles,
            counts.spilled,
            counts.lost,
        ] = maps::sums(&self.counters)?;
        Ok(())
    }
}

fn sample(zone: ZoneId, sampled: &layout::Sampled) -> Sample<'static> {
    Sample {
        zone,
        origin: Origin::Ebpf,
        time: sampled.event.last,
        key: Key::Cookie(sampled.cookie),
        group: Some(sampled.group),
        probability: sampled.probability,
        input: Input::Index(sampled.input),
        headers: sampled.headers,
        length: sampled.length,
        packets: sampled.packets,
        bytes: sampled.bytes,
        data: &[],
    }
}

/// How a function is watched.
#[derive(Clone, Copy)]
enum Hook {
    /// Cheapest; a module's only with CAP_SYS_ADMIN, which it takes to be told its types.
    Fentry,
    /// With CAP_PERFMON alone, by the function tracer.
    KprobeMulti,
    /// By a perf event, which some kernels give to root alone (kernel.perf_event_paranoid).
    Kprobe,
}

impl Hook {
    fn wants(self, program: &OsStr, executions: bool) -> bool {
        let [(sampled, _), (execution, _)] = self.programs();
        program == OsStr::new(sampled) || executions && program == OsStr::new(execution)
    }

    /// Names of programs, each with its function.
    fn programs(self) -> [(&'static str, &'static str); 2] {
        let [sampled, execution] = match self {
            Self::Fentry => ["sampled_fentry", "execution_fentry"],
            Self::KprobeMulti | Self::Kprobe => ["sampled_kprobe", "execution_kprobe"],
        };
        [
            (sampled, "psample_sample_packet"),
            (execution, "ovs_execute_actions"),
        ]
    }
}

/// `config` of bpf/samples.bpf.c.
struct Config {
    namespace: u32,
    all_groups: bool,
    executions: bool,
    in_ifindex: Field,
    user_cookie: Field,
    user_cookie_len: Field,
    rate_as_probability: Field,
}

impl Config {
    fn of(options: &Options) -> Result<Self, Error> {
        let kernel = Path::new("/sys/kernel/btf/vmlinux");
        let base = fs::read(kernel).map_err(|_| Error::NoBtf {
            path: kernel.to_owned(),
        })?;
        let names = [
            "in_ifindex",
            "user_cookie",
            "user_cookie_len",
            "rate_as_probability",
        ];
        // In a kernel with psample built in, its types are among the kernel's.
        let found = match fs::read("/sys/kernel/btf/psample") {
            Ok(module) => types::fields(&base, &module, "psample_metadata", names),
            Err(_) => types::fields(&[], &base, "psample_metadata", names),
        };
        let old = |what: &str| Error::OldKernel {
            what: format!("{what} in struct psample_metadata"),
        };
        let [input, cookie, length, as_probability] = found.ok_or(Error::NoPsample)?;
        Ok(Self {
            namespace: own_namespace()?,
            all_groups: options.groups.is_empty(),
            executions: Path::new("/sys/module/openvswitch").exists(),
            in_ifindex: input.ok_or_else(|| old(names[0]))?,
            user_cookie: cookie.ok_or_else(|| old(names[1]))?,
            user_cookie_len: length.ok_or_else(|| old(names[2]))?,
            rate_as_probability: as_probability.ok_or_else(|| old(names[3]))?,
        })
    }

    fn write(&self, place: &mut [u8]) {
        let words = [
            self.namespace,
            u32::from(self.all_groups),
            u32::from(self.executions),
            self.in_ifindex.byte(),
            self.user_cookie.byte(),
            self.user_cookie_len.byte(),
            self.rate_as_probability.byte(),
            self.rate_as_probability.mask(),
        ];
        for (place, word) in place.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_ne_bytes();
        }
    }
}

/// The inode of this thread's network namespace, which is its number in the kernel.
fn own_namespace() -> Result<u32, Error> {
    let path = "/proc/thread-self/ns/net";
    fs::metadata(path)
        .map(|file| file.ino() as u32)
        .map_err(|error: io::Error| Error::System {
            what: format!("read {path}"),
            error,
        })
}

static PROGRAMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/samples.bpf.o"));
