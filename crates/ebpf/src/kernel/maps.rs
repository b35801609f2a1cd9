use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapFlags, MapHandle, Object, RingBufferBuilder};

use super::{sys, system};
use crate::Error;

/// What programs add up: a pair of maps, and a ring for what found no room there.
#[derive(Debug)]
pub(crate) struct Added {
    maps: Pair,
    ring: MapHandle,
    key_size: usize,
    /// As the programs counted at the last drain.
    joined: u64,
    spilled: u64,
}

impl Added {
    /// `names`: what holds the map that is filled, that map, the other one, and the ring.
    pub(crate) fn new(
        object: &Object,
        names: [&str; 4],
        key_size: usize,
        value_size: usize,
    ) -> Result<Self, Error> {
        let [active, one, other, ring] = names;
        Ok(Self {
            maps: Pair::new(object, [active, one, other], key_size, value_size)?,
            ring: map(object, ring)?,
            key_size,
            joined: 0,
            spilled: 0,
        })
    }

    /// Hands over what was added, and says how many entries came of the maps and of the ring. `joined`
    /// and `spilled` are what the programs counted for each until now, read before: what comes in
    /// between is found the next time.
    pub(crate) fn drain(
        &mut self,
        joined: u64,
        spilled: u64,
        mut take: impl FnMut(&[u8], &[u8]),
    ) -> Result<(u64, u64), Error> {
        let (mut entries, mut records) = (0, 0);
        if joined != self.joined {
            entries = self.maps.drain(&mut take)?;
            self.joined = joined;
        }
        if spilled != self.spilled {
            consume(&self.ring, |record| {
                if let Some((key, value)) = record.split_at_checked(self.key_size) {
                    take(key, value);
                    records += 1;
                }
            })?;
            self.spilled = spilled;
        }
        Ok((entries, records))
    }
}

/// Two maps, of which the programs fill one while the other is read.
///
/// A map that programs still write to cannot be emptied without losing what they add between its
/// reading and its deletion. So the other one is put in its place first: the kernel returns from
/// that only when no running program has the former one any more (`maybe_wait_bpf_programs` in
/// kernel/bpf/syscall.c).
#[derive(Debug)]
struct Pair {
    active: MapHandle,
    maps: [MapHandle; 2],
    filling: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Pair {
    /// `names`: what holds the map that is filled, that map, and the other one.
    fn new(
        object: &Object,
        names: [&str; 3],
        key_size: usize,
        value_size: usize,
    ) -> Result<Self, Error> {
        let [active, one, other] = names;
        let maps = [map(object, one)?, map(object, other)?];
        debug_assert_eq!(maps[0].key_size() as usize, key_size);
        debug_assert_eq!(maps[0].value_size() as usize, value_size);
        Ok(Self {
            active: map(object, active)?,
            maps,
            filling: 0,
            keys: vec![0; AT_ONCE * key_size],
            values: vec![0; AT_ONCE * value_size],
        })
    }

    /// Empties the map that was filled until now, in batches, and says how many entries it had.
    fn drain(&mut self, mut take: impl FnMut(&[u8], &[u8])) -> Result<u64, Error> {
        let full = self.filling;
        let next = 1 - full;
        let descriptor = self.maps[next].as_fd().as_raw_fd();
        self.active
            .update(
                &0_u32.to_ne_bytes(),
                &descriptor.to_ne_bytes(),
                MapFlags::ANY,
            )
            .map_err(|error| system("change maps", error))?;
        self.filling = next;
        let (key_size, value_size) = (self.keys.len() / AT_ONCE, self.values.len() / AT_ONCE);
        let mut from = None;
        let mut entries = 0;
        loop {
            let batch = sys::take_batch(
                self.maps[full].as_fd(),
                from,
                &mut self.keys,
                &mut self.values,
                AT_ONCE,
            )
            .map_err(|error| Error::System {
                what: "read a map".to_owned(),
                error,
            })?;
            let keys = self.keys.chunks_exact(key_size);
            let values = self.values.chunks_exact(value_size);
            for (key, value) in keys.zip(values).take(batch.entries) {
                take(key, value);
            }
            entries += batch.entries as u64;
            match batch.next {
                Some(next) => from = Some(next),
                None => return Ok(entries),
            }
        }
    }
}

/// Hands over what the ring holds.
fn consume(ring: &MapHandle, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
    let mut builder = RingBufferBuilder::new();
    builder
        .add(ring, |record| {
            take(record);
            0
        })
        .map_err(|error| system("read its ring", error))?;
    let ring = builder
        .build()
        .map_err(|error| system("read its ring", error))?;
    ring.consume()
        .map_err(|error| system("read its ring", error))
}

/// The sums over all CPUs of counters that each CPU has for itself.
pub(crate) fn sums<const N: usize>(map: &MapHandle) -> Result<[u64; N], Error> {
    let of_cpus = map
        .lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)
        .map_err(|error| system("read its counters", error))?;
    let mut sums = [0; N];
    for of_cpu in of_cpus.iter().flatten() {
        for (sum, number) in sums.iter_mut().zip(of_cpu.as_chunks().0) {
            *sum += u64::from_ne_bytes(*number);
        }
    }
    Ok(sums)
}

/// The map of that name, alive as long as this.
pub(crate) fn map(object: &Object, name: &str) -> Result<MapHandle, Error> {
    let map = object
        .maps()
        .find(|map| map.name() == OsStr::new(name))
        .ok_or_else(|| Error::System {
            what: format!("find its map {name}"),
            error: std::io::ErrorKind::NotFound.into(),
        })?;
    MapHandle::try_from(&map).map_err(|error| system("keep a map", error))
}

/// Entries in one system call.
const AT_ONCE: usize = 1 << 10;
