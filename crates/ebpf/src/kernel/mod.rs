//! What loads the programs and reads their maps.

pub(crate) mod flows;
mod layout;
mod link;
mod maps;
pub(crate) mod samples;
mod sys;
mod types;
mod watch;

use std::ffi::OsStr;
use std::fs;
use std::io;

use libbpf_rs::{ErrorKind, ObjectBuilder, OpenObject, PrintLevel, set_print};
use netverdict_types::Timestamp;
use nix::time::{ClockId, clock_gettime};

use crate::{Capability, Error};

/// The kernel's clock of samples (CLOCK_MONOTONIC) against that of the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    ahead: i64,
}

impl WallClock {
    pub(crate) fn now() -> Result<Self, Error> {
        let read = |clock| {
            let time = clock_gettime(clock).map_err(|error| Error::System {
                what: "read a clock".to_owned(),
                error: error.into(),
            })?;
            Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
        };
        let wall: i64 = read(ClockId::CLOCK_REALTIME)?;
        Ok(Self {
            ahead: wall - read(ClockId::CLOCK_MONOTONIC)?,
        })
    }

    fn at(self, monotonic: u64) -> Timestamp {
        Timestamp(monotonic as i64).after(self.ahead)
    }
}

/// Says which privilege is missing.
pub(crate) fn require_capabilities() -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(|error| Error::System {
        what: "read /proc/self/status".to_owned(),
        error,
    })?;
    match missing(&status) {
        Some(missing) => Err(Error::NoCapability { missing }),
        None => Ok(()),
    }
}

fn missing(status: &str) -> Option<Capability> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())?;
    let has = |number: u32| effective & 1 << number != 0;
    // CAP_SYS_ADMIN is both of the newer ones too (capabilities(7)).
    [
        (Capability::Bpf, has(39) || has(21)),
        (Capability::Perfmon, has(38) || has(21)),
        (Capability::NetAdmin, has(12)),
    ]
    .into_iter()
    .find_map(|(capability, there)| (!there).then_some(capability))
}

/// An object file, with what libbpf has to say sent to the log.
fn open(name: &str, object: &[u8]) -> Result<OpenObject, Error> {
    set_print(Some((PrintLevel::Warn, |_, text| {
        tracing::debug!("{}", text.trim_end());
    })));
    ObjectBuilder::default()
        .name(name)
        .and_then(|builder| builder.open_memory(object))
        .map_err(|error| system("open its programs", error))
}

/// Sets how many entries the maps of these names have.
fn resize(object: &mut OpenObject, names: &[&str], entries: u32) -> Result<(), Error> {
    for mut map in object.maps_mut() {
        if names.iter().any(|name| map.name() == OsStr::new(name)) {
            map.set_max_entries(entries.max(1))
                .map_err(|error| system("size a map", error))?;
        }
    }
    Ok(())
}

fn system(what: &str, error: libbpf_rs::Error) -> Error {
    let kind = match error.kind() {
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::OutOfMemory => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    Error::System {
        what: what.to_owned(),
        error: io::Error::new(kind, format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_missing_capability_is_named() {
        let bits = |numbers: &[u32]| {
            let mask = numbers
                .iter()
                .fold(0_u64, |mask, number| mask | 1 << number);
            missing(&format!("Name:\tx\nCapEff:\t{mask:016x}\n"))
        };
        assert_eq!(bits(&[12, 38, 39]), None);
        assert_eq!(bits(&[12, 21]), None);
        assert_eq!(bits(&[12, 38]), Some(Capability::Bpf));
        assert_eq!(bits(&[12, 39]), Some(Capability::Perfmon));
        assert_eq!(bits(&[21]), Some(Capability::NetAdmin));
    }
}
