//! Capture files: pcap and pcapng in, pcapng out.
//!
//! Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Both are read as a stream with
//! one bounded buffer. Written is pcapng, each packet with a comment.

use std::io::{self, Read, Write};

use netverdict_types::Timestamp;
use thiserror::Error;

/// Reads packets from pcap or pcapng, whichever the file is.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    buffer: Vec<u8>,
    offset: u64,
    format: Format,
    order: Order,
    interfaces: Vec<InterfaceInfo>,
    ended: bool,
}

/// One packet of a capture file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// When it was captured; 1970 where the file does not say (simple packet blocks).
    pub time: Timestamp,
    /// What its bytes begin with.
    pub link: LinkType,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Length on the wire in bytes.
    pub original_length: u32,
    /// Number of the interface in its section.
    pub interface: u32,
    /// The first comment.
    pub comment: Option<&'a str>,
}

/// What the bytes of a packet begin with (the registry of link types of tcpdump.org).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct LinkType(pub u16);

impl LinkType {
    /// An Ethernet header.
    pub const ETHERNET: Self = Self(1);
    /// An IPv4 or IPv6 header.
    pub const RAW: Self = Self(101);
}

/// Why a capture file could not be read.
#[derive(Debug, Error)]
pub enum Error {
    /// The file could not be read.
    #[error("capture file: {0}")]
    Io(#[from] io::Error),
    /// The file begins like none of the formats.
    #[error("this is no pcap or pcapng file: it begins with {0:#010x}")]
    Magic(u32),
    /// The file ends inside a packet or block; all before it was read.
    #[error("capture file is cut off at byte {offset}")]
    Truncated {
        /// Where the cut packet or block begins.
        offset: u64,
    },
    /// A length that cannot be. Nothing after it can be found.
    #[error("capture file: block at byte {offset} states a length of {length}")]
    Length {
        /// Where the packet or block begins.
        offset: u64,
        /// As stated.
        length: u32,
    },
    /// A block whose contents contradict its length. The next one can be read.
    #[error("capture file: block at byte {offset} is damaged")]
    Block {
        /// Where the block begins.
        offset: u64,
    },
    /// A packet of an interface that was not described. The next one can be read.
    #[error("capture file: packet at byte {offset} is of interface {interface}, which is unknown")]
    Interface {
        /// Where the packet begins.
        offset: u64,
        /// Number of the interface.
        interface: u32,
    },
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// The input cannot be read, is shorter than a header, or is no capture file.
    pub fn new(input: R) -> Result<Self, Error> {
        let mut reader = Self {
            input,
            buffer: Vec::new(),
            offset: 0,
            format: Format::Pcapng,
            order: Order::Little,
            interfaces: Vec::new(),
            ended: false,
        };
        if !reader.fill(4)? {
            return Err(Error::Truncated { offset: 0 });
        }
        let magic = reader.u32_at(0);
        let (order, units) = match magic {
            0x0a0d_0d0a => {
                // The type of a section header reads the same in both orders; the rest of the
                // block follows as any other.
                return Ok(reader);
            }
            0xa1b2_c3d4 => (Order::Little, Units::MICROS),
            0xa1b2_3c4d => (Order::Little, Units::NANOS),
            0xd4c3_b2a1 => (Order::Big, Units::MICROS),
            0x4d3c_b2a1 => (Order::Big, Units::NANOS),
            other => return Err(Error::Magic(other)),
        };
        reader.order = order;
        reader.buffer.clear();
        if !reader.fill(20)? {
            return Err(Error::Truncated { offset: 0 });
        }
        // The upper half of the field has other meanings.
        let link = LinkType(reader.u32_at(16) as u16);
        reader.format = Format::Pcap;
        reader.interfaces.push(InterfaceInfo { link, units });
        reader.buffer.clear();
        reader.offset = 24;
        Ok(reader)
    }

    /// The next packet, or `None` at the end.
    ///
    /// # Errors
    /// After [`Error::Block`] and [`Error::Interface`] the next packet can be asked for; after
    /// any other error there is none.
    // An iterator could not lend its buffer.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let result = match self.format {
            Format::Pcap => self.advance_pcap(),
            Format::Pcapng => self.advance_pcapng(),
        };
        self.ended = match &result {
            Ok(place) => place.is_none(),
            Err(Error::Block { .. } | Error::Interface { .. }) => false,
            Err(_) => true,
        };
        let Some(place) = result? else {
            return Ok(None);
        };
        Ok(Some(Packet {
            time: place.time,
            link: place.link,
            data: self
                .buffer
                .get(place.data.0..place.data.1)
                .unwrap_or_default(),
            original_length: place.original_length,
            interface: place.interface,
            comment: place
                .comment
                .and_then(|(start, end)| self.buffer.get(start..end))
                .and_then(|bytes| std::str::from_utf8(bytes).ok()),
        }))
    }

    fn advance_pcap(&mut self) -> Result<Option<Place>, Error> {
        let offset = self.offset;
        self.buffer.clear();
        if !self.fill(16)? {
            return if self.buffer.is_empty() {
                Ok(None)
            } else {
                Err(Error::Truncated { offset })
            };
        }
        let [seconds, fraction, length, original_length] = [0, 4, 8, 12].map(|at| self.u32_at(at));
        if length > LONGEST_BLOCK {
            return Err(Error::Length { offset, length });
        }
        self.buffer.clear();
        if !self.fill(length as usize)? {
            return Err(Error::Truncated { offset });
        }
        self.offset = offset + 16 + u64::from(length);
        let Some(InterfaceInfo { link, units }) = self.interfaces.first().copied() else {
            return Ok(None);
        };
        let scale = units.nanos(u64::from(fraction));
        Ok(Some(Place {
            time: Timestamp(i64::from(seconds) * 1_000_000_000).after(scale),
            link,
            data: (0, length as usize),
            original_length,
            interface: 0,
            comment: None,
        }))
    }

    fn advance_pcapng(&mut self) -> Result<Option<Place>, Error> {
        loop {
            let offset = self.offset;
            // The first four bytes of the file are there already.
            if offset != 0 {
                self.buffer.clear();
            }
            if !self.fill(8)? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Error::Truncated { offset })
                };
            }
            let kind = self.u32_at(0);
            if kind == BLOCK_SECTION {
                if !self.fill(12)? {
                    return Err(Error::Truncated { offset });
                }
                self.order = Order::Little;
                self.order = match self.u32_at(8) {
                    BYTE_ORDER => Order::Little,
                    _ => Order::Big,
                };
                if self.u32_at(8) != BYTE_ORDER {
                    return Err(Error::Magic(self.u32_at(8)));
                }
                self.interfaces.clear();
            }
            let length = self.u32_at(4);
            let least = if kind == BLOCK_SECTION { 28 } else { 12 };
            if length < least || !length.is_multiple_of(4) || length > LONGEST_BLOCK {
                return Err(Error::Length { offset, length });
            }
            if !self.fill(length as usize)? {
                return Err(Error::Truncated { offset });
            }
            self.offset = offset + u64::from(length);
            let body_end = length as usize - 4;
            if self.u32_at(body_end) != length {
                return Err(Error::Length { offset, length });
            }
            match kind {
                BLOCK_INTERFACE => self.describe(body_end, offset)?,
                BLOCK_PACKET => return self.enhanced(body_end, offset).map(Some),
                BLOCK_SIMPLE_PACKET => return self.simple(body_end, offset).map(Some),
                _ => {}
            }
        }
    }

    fn describe(&mut self, body_end: usize, offset: u64) -> Result<(), Error> {
        if body_end < 16 || self.interfaces.len() >= MOST_INTERFACES {
            return Err(Error::Block { offset });
        }
        let mut units = Units::MICROS;
        let mut offset_seconds = 0;
        self.options(16, body_end, |code, value| match (code, value) {
            (OPTION_TIME_RESOLUTION, [resolution, ..]) => units.resolution = *resolution,
            (OPTION_TIME_OFFSET, _) => {
                if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                    offset_seconds = self.order.u64(bytes) as i64;
                }
            }
            _ => {}
        });
        units.offset_seconds = offset_seconds;
        let link = LinkType(self.u16_at(8));
        self.interfaces.push(InterfaceInfo { link, units });
        Ok(())
    }

    fn enhanced(&self, body_end: usize, offset: u64) -> Result<Place, Error> {
        if body_end < 28 {
            return Err(Error::Block { offset });
        }
        let [interface, high, low, length, original_length] =
            [8, 12, 16, 20, 24].map(|at| self.u32_at(at));
        let Some(info) = self.interfaces.get(interface as usize) else {
            return Err(Error::Interface { offset, interface });
        };
        let end = 28 + length as usize;
        if end > body_end {
            return Err(Error::Block { offset });
        }
        let mut comment = None;
        self.option_places(end.next_multiple_of(4), body_end, |code, start, end| {
            if code == OPTION_COMMENT && comment.is_none() {
                comment = Some((start, end));
            }
        });
        let count = u64::from(high) << 32 | u64::from(low);
        Ok(Place {
            time: Timestamp(info.units.nanos(count))
                .after(info.units.offset_seconds.saturating_mul(1_000_000_000)),
            link: info.link,
            data: (28, end),
            original_length,
            interface,
            comment,
        })
    }

    fn simple(&self, body_end: usize, offset: u64) -> Result<Place, Error> {
        if body_end < 12 {
            return Err(Error::Block { offset });
        }
        let Some(info) = self.interfaces.first() else {
            return Err(Error::Interface {
                offset,
                interface: 0,
            });
        };
        let original_length = self.u32_at(8);
        let captured = (original_length as usize).min(body_end - 12);
        Ok(Place {
            time: Timestamp(0),
            link: info.link,
            data: (12, 12 + captured),
            original_length,
            interface: 0,
            comment: None,
        })
    }

    fn options(&self, from: usize, to: usize, mut each: impl FnMut(u16, &[u8])) {
        self.option_places(from, to, |code, start, end| {
            each(code, self.buffer.get(start..end).unwrap_or_default());
        });
    }

    /// Code, start and end of each option; stops at the first that does not fit.
    fn option_places(&self, from: usize, to: usize, mut each: impl FnMut(u16, usize, usize)) {
        let mut place = from;
        while place + 4 <= to {
            let code = self.u16_at(place);
            let start = place + 4;
            let end = start + usize::from(self.u16_at(place + 2));
            if code == OPTION_END || end > to {
                return;
            }
            each(code, start, end);
            place = end.next_multiple_of(4);
        }
    }

    /// Reads until the buffer has `length` bytes; false when the input ends before.
    fn fill(&mut self, length: usize) -> Result<bool, Error> {
        let missing = length.saturating_sub(self.buffer.len());
        // What is stated may not be there: the buffer grows only with what comes.
        (&mut self.input)
            .take(missing as u64)
            .read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() >= length)
    }

    fn u16_at(&self, place: usize) -> u16 {
        self.bytes_at(place)
            .map_or(0, |bytes| self.order.u16(bytes))
    }

    fn u32_at(&self, place: usize) -> u32 {
        self.bytes_at(place)
            .map_or(0, |bytes| self.order.u32(bytes))
    }

    fn bytes_at<const N: usize>(&self, place: usize) -> Option<[u8; N]> {
        self.buffer.get(place..)?.first_chunk().copied()
    }
}

/// Writes pcapng, with times in nanoseconds.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    block: Vec<u8>,
    interfaces: u32,
}

/// An interface of a file that is being written; made by [`Writer::interface`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InterfaceId(u32);

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self {
            output,
            block: Vec::new(),
            interfaces: 0,
        };
        writer.begin(BLOCK_SECTION);
        writer.block.extend(BYTE_ORDER.to_le_bytes());
        // Version 1.0, and a section of no stated length.
        writer.block.extend([1, 0, 0, 0]);
        writer.block.extend([0xff; 8]);
        writer.option(OPTION_APPLICATION, b"netverdict");
        writer.end_options();
        writer.finish()?;
        Ok(writer)
    }

    /// Describes an interface with Ethernet frames; `description` is the node, where known.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn interface(
        &mut self,
        link: LinkType,
        name: Option<&str>,
        description: Option<&str>,
    ) -> io::Result<InterfaceId> {
        self.begin(BLOCK_INTERFACE);
        self.block.extend(link.0.to_le_bytes());
        // Reserved, and no limit to the captured length.
        self.block.extend([0; 6]);
        if let Some(name) = name {
            self.option(OPTION_INTERFACE_NAME, name.as_bytes());
        }
        if let Some(description) = description {
            self.option(OPTION_INTERFACE_DESCRIPTION, description.as_bytes());
        }
        self.option(OPTION_TIME_RESOLUTION, &[NANOS_RESOLUTION]);
        self.end_options();
        self.finish()?;
        self.interfaces += 1;
        Ok(InterfaceId(self.interfaces - 1))
    }

    /// Writes a packet; of a comment at most 65,535 bytes.
    ///
    /// # Errors
    /// The output cannot be written to, or the packet has more than 16 MiB.
    pub fn packet(
        &mut self,
        interface: InterfaceId,
        time: Timestamp,
        data: &[u8],
        original_length: u32,
        comment: Option<&str>,
    ) -> io::Result<()> {
        let length = u32::try_from(data.len())
            .ok()
            .filter(|length| *length <= LONGEST_BLOCK / 2)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let nanos = u64::try_from(time.0).unwrap_or_default();
        self.begin(BLOCK_PACKET);
        for number in [
            interface.0,
            (nanos >> 32) as u32,
            nanos as u32,
            length,
            original_length.max(length),
        ] {
            self.block.extend(number.to_le_bytes());
        }
        self.block.extend_from_slice(data);
        self.pad();
        if let Some(comment) = comment {
            let end = comment.floor_char_boundary(usize::from(u16::MAX));
            self.option(
                OPTION_COMMENT,
                comment.get(..end).unwrap_or_default().as_bytes(),
            );
            self.end_options();
        }
        self.finish()
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn into_inner(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }

    /// Flushes what the output may have buffered.
    ///
    /// # Errors
    /// The output cannot be written to.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.block.extend(kind.to_le_bytes());
        self.block.extend([0; 4]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
        self.block.extend(code.to_le_bytes());
        self.block.extend((value.len() as u16).to_le_bytes());
        self.block.extend_from_slice(value);
        self.pad();
    }

    fn end_options(&mut self) {
        self.block.extend([0; 4]);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn finish(&mut self) -> io::Result<()> {
        let length = (self.block.len() + 4) as u32;
        if let Some(place) = self.block.get_mut(4..8) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        self.block.extend(length.to_le_bytes());
        self.output.write_all(&self.block)
    }
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Pcap,
    Pcapng,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct InterfaceInfo {
    link: LinkType,
    units: Units,
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug)]
struct Units {
    /// As the option `if_tsresol`: a negative power of 10, or of 2 with the highest bit.
    resolution: u8,
    offset_seconds: i64,
}

impl Units {
    const MICROS: Self = Self {
        resolution: 6,
        offset_seconds: 0,
    };
    const NANOS: Self = Self {
        resolution: NANOS_RESOLUTION,
        offset_seconds: 0,
    };

    fn nanos(self, count: u64) -> i64 {
        let power = u32::from(self.resolution & 0x7f);
        let base: u128 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        let nanos = base.checked_pow(power).map_or(0, |per_second| {
            u128::from(count) * 1_000_000_000 / per_second
        });
        i64::try_from(nanos).unwrap_or(i64::MAX)
    }
}

/// Where the parts of a packet lie in the buffer.
struct Place {
    time: Timestamp,
    link: LinkType,
    data: (usize, usize),
    original_length: u32,
    interface: u32,
    comment: Option<(usize, usize)>,
}

const BLOCK_SECTION: u32 = 0x0a0d_0d0a;
const BLOCK_INTERFACE: u32 = 1;
const BLOCK_SIMPLE_PACKET: u32 = 3;
const BLOCK_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_INTERFACE_DESCRIPTION: u16 = 3;
const OPTION_APPLICATION: u16 = 4;
const OPTION_TIME_RESOLUTION: u16 = 9;
const OPTION_TIME_OFFSET: u16 = 14;
const NANOS_RESOLUTION: u8 = 9;
/// No sensible packet is longer.
const LONGEST_BLOCK: u32 = 16 << 20;
const MOST_INTERFACES: usize = 65_536;
