use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use etherparse::{LaxSlicedPacket, TransportSlice};
use netverdict_types::{Input, Key, Sample, Timestamp, ZoneId};

use super::record::{self, tag};
use super::{
    BLOCK, BLOCK_MAX, BLOCK_TARGET, Clock, Counter, DATA_MAX, Error, MAGIC, NAME_MAX, Record,
    Revision, VERSION, Zone, frame,
};

/// How a capture is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keep whole packets; otherwise only up to the end of the transport header.
    pub full: bool,
    /// Compression level of zstd, 1 (fast) to 19 (small).
    pub level: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            full: false,
            level: 3,
        }
    }
}

/// Writes a capture.
///
/// Records are gathered into blocks; a block is written when it is large, or by
/// [`Writer::flush`]. What was not flushed is lost when the process dies, so whoever owns the
/// writer flushes as often as it can bear to lose. The writer must be finished by
/// [`Writer::finish`]: dropping it drops the open block.
///
/// ```
/// use netverdict_types::{Timestamp, ZoneId};
/// use netverdict_wire::capture::{Options, Revision, Writer, Zone};
/// # fn main() -> Result<(), netverdict_wire::capture::Error> {
/// let mut writer = Writer::new(Vec::new(), Options::default())?;
/// writer.zone(&Zone { id: ZoneId(0), name: "ovn-worker-1", node: "ovn-worker-1" })?;
/// writer.revision(&Revision {
///     zone: ZoneId(0),
///     number: 1,
///     time: Timestamp(1_795_421_730_000_000_000),
///     gap: None,
///     json: br#"{"ACL":{}}"#,
/// })?;
/// writer.flush()?; // from here on a crash does not cost it
/// let file = writer.finish()?;
/// # Ok(())
/// # }
/// ```
pub struct Writer<W> {
    out: W,
    options: Options,
    compressor: zstd::bulk::Compressor<'static>,
    block: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
    previous: Timestamp,
    /// Names of the zones, as this file's records number them.
    zones: BTreeMap<ZoneId, (String, String)>,
    /// Zones that the open block defines.
    defined: BTreeSet<ZoneId>,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a file: writes its head.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(mut out: W, options: Options) -> Result<Self, Error> {
        let mut head = [0; super::HEAD];
        head[..8].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out.write_all(&head)?;
        let mut writer = Self::resume(out, options)?;
        writer.written = head.len() as u64;
        Ok(writer)
    }

    /// Goes on with a file that holds a head and whole frames, positioned at its end.
    /// [`super::Reader::whole_end`] tells where that is for a file that a crash left torn. Zones
    /// must be defined again.
    ///
    /// # Errors
    /// A compression level that zstd does not know.
    pub fn resume(out: W, options: Options) -> Result<Self, Error> {
        Ok(Self {
            out,
            options,
            compressor: zstd::bulk::Compressor::new(options.level)?,
            block: Vec::with_capacity(BLOCK_TARGET),
            body: Vec::new(),
            packed: Vec::new(),
            previous: Timestamp(0),
            zones: BTreeMap::new(),
            defined: BTreeSet::new(),
            written: 0,
        })
    }

    /// Names a zone. It is written when the zone is first used, and again in each block.
    ///
    /// # Errors
    /// A name that is too long.
    pub fn zone(&mut self, zone: &Zone<'_>) -> Result<(), Error> {
        limit("zone name", zone.name.len(), NAME_MAX)?;
        limit("node name", zone.node.len(), NAME_MAX)?;
        self.zones
            .insert(zone.id, (zone.name.to_owned(), zone.node.to_owned()));
        self.defined.remove(&zone.id);
        Ok(())
    }

    /// Writes any record; a zone as [`Writer::zone`] does.
    ///
    /// # Errors
    /// As the method of its kind.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        match record {
            Record::Zone(zone) => self.zone(zone),
            Record::Clock(clock) => self.clock(clock),
            Record::Revision(revision) => self.revision(revision),
            Record::Sample(sample) => self.sample(sample),
            Record::Counter(counter) => self.counter(counter),
        }
    }

    /// Writes how an observer's clocks stand.
    ///
    /// # Errors
    /// What the output says.
    pub fn clock(&mut self, clock: &Clock) -> Result<(), Error> {
        self.define(clock.zone);
        record::put_clock(&mut self.body, clock);
        self.put(tag::CLOCK)
    }

    /// Writes a change of rows.
    ///
    /// # Errors
    /// Rows that are too long for a block, or what the output says.
    pub fn revision(&mut self, revision: &Revision<'_>) -> Result<(), Error> {
        limit("revision", revision.json.len(), REVISION_MAX)?;
        if self.block.len() + revision.json.len() > BLOCK_TARGET {
            self.close()?;
        }
        self.define(revision.zone);
        record::put_revision(&mut self.body, revision);
        self.put(tag::REVISION)
    }

    /// Writes a sample, its packet cut as the options say.
    ///
    /// # Errors
    /// A name that is too long, or what the output says.
    pub fn sample(&mut self, sample: &Sample<'_>) -> Result<(), Error> {
        if let Key::Log { name, .. } = sample.key {
            limit("ACL name", name.len(), NAME_MAX)?;
        }
        if let Input::Name(name) = sample.input {
            limit("interface name", name.len(), NAME_MAX)?;
        }
        self.define(sample.zone);
        let keep = if self.options.full {
            sample.data.len()
        } else {
            headers_end(sample.data)
        };
        let data = &sample.data[..keep.min(DATA_MAX)];
        record::put_sample(&mut self.body, sample, data, self.previous);
        self.previous = sample.time;
        self.put(tag::SAMPLE)
    }

    /// Writes a counter's state.
    ///
    /// # Errors
    /// A name that is too long, or what the output says.
    pub fn counter(&mut self, counter: &Counter<'_>) -> Result<(), Error> {
        limit("counter name", counter.name.len(), NAME_MAX)?;
        self.define(counter.zone);
        record::put_counter(&mut self.body, counter);
        self.put(tag::COUNTER)
    }

    /// Bytes of records that wait in the open block.
    pub fn pending(&self) -> usize {
        self.block.len()
    }

    /// Bytes given to the output so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Closes the open block and flushes the output.
    ///
    /// # Errors
    /// What the output says.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.close()?;
        Ok(self.out.flush()?)
    }

    /// Flushes and gives the output back.
    ///
    /// # Errors
    /// What the output says.
    pub fn finish(mut self) -> Result<W, Error> {
        self.flush()?;
        Ok(self.out)
    }

    /// The output, for instance to sync it to disk.
    pub fn output(&self) -> &W {
        &self.out
    }

    /// Makes the open block say what `zone` is.
    fn define(&mut self, zone: ZoneId) {
        if self.defined.contains(&zone) {
            return;
        }
        self.defined.insert(zone);
        if let Some((name, node)) = self.zones.get(&zone) {
            let zone = Zone {
                id: zone,
                name,
                node,
            };
            record::put_zone(&mut self.body, &zone);
            append(&mut self.block, tag::ZONE, &mut self.body);
        }
    }

    /// Moves the record in `body` to the block, and writes the block out when it is large.
    fn put(&mut self, tag: u8) -> Result<(), Error> {
        append(&mut self.block, tag, &mut self.body);
        if self.block.len() >= BLOCK_TARGET {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        debug_assert!(self.block.len() <= BLOCK_MAX);
        let outcome = self.pack();
        // Also after a failure: a block must not be written twice.
        self.block.clear();
        self.block.shrink_to(4 * BLOCK_TARGET);
        self.packed.shrink_to(4 * BLOCK_TARGET);
        self.body.shrink_to(BLOCK_TARGET);
        self.defined.clear();
        self.previous = Timestamp(0);
        Ok(outcome?)
    }

    fn pack(&mut self) -> io::Result<()> {
        let bound = zstd::zstd_safe::compress_bound(self.block.len());
        self.packed.clear();
        self.packed.resize(4 + bound, 0);
        self.packed[..4].copy_from_slice(&(self.block.len() as u32).to_le_bytes());
        let length = self
            .compressor
            .compress_to_buffer(&self.block, &mut self.packed[4..])?;
        self.written += frame::append(&mut self.out, BLOCK, &self.packed[..4 + length])?;
        Ok(())
    }
}

/// The longest JSON of one revision. Rows of that length compress to less than a frame can hold;
/// noise does not, and is refused when its block is written.
const REVISION_MAX: usize = BLOCK_MAX - (1 << 20);

/// Bytes of an ICMP message's body that are kept: an error carries the start of the packet that
/// it is about.
const ICMP_BODY: usize = 48;

fn append(block: &mut Vec<u8>, tag: u8, body: &mut Vec<u8>) {
    block.push(tag);
    record::put_uint(block, body.len() as u64);
    block.extend_from_slice(body);
    body.clear();
}

fn limit(what: &'static str, length: usize, limit: usize) -> Result<(), Error> {
    if length > limit {
        return Err(Error::TooLong {
            what,
            length,
            limit,
        });
    }
    Ok(())
}

/// How much of an Ethernet frame is headers.
fn headers_end(data: &[u8]) -> usize {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(data) else {
        return data.len().min(ETHERNET);
    };
    let (payload, keep) = match (&packet.transport, &packet.net) {
        (Some(TransportSlice::Icmpv4(icmp)), _) => (icmp.payload(), ICMP_BODY),
        (Some(TransportSlice::Icmpv6(icmp)), _) => (icmp.payload(), ICMP_BODY),
        (Some(TransportSlice::Tcp(tcp)), _) => (tcp.payload(), 0),
        (Some(TransportSlice::Udp(udp)), _) => (udp.payload(), 0),
        (Some(TransportSlice::Igmp(igmp)), _) => (igmp.payload(), 0),
        // The first eight bytes hold the ports of SCTP, DCCP and the like.
        (None, Some(_)) => match packet.net.as_ref().and_then(|net| net.ip_payload_ref()) {
            Some(payload) => (payload.payload, 8),
            // ARP has no payload.
            None => return data.len().min(ETHERNET + ARP),
        },
        (None, None) => match packet.ether_payload() {
            Some(payload) => (payload.payload, 0),
            None => return data.len().min(ETHERNET),
        },
    };
    // The payload is a part of `data`: what lies before it are headers. IP says where it ends;
    // what follows is padding.
    let before = (payload.as_ptr() as usize).wrapping_sub(data.as_ptr() as usize);
    before
        .saturating_add(keep.min(payload.len()))
        .min(data.len())
}

const ETHERNET: usize = 14;
const ARP: usize = 28;
