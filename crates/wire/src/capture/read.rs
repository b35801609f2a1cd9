use std::io::Read;

use netverdict_types::Timestamp;

use super::record::{self, BadRecord, tag};
use super::{BLOCK, BLOCK_MAX, Error, HEAD, Lost, MAGIC, Record, VERSION};
use crate::capture::frame::Frames;

/// Reads a capture, block by block.
///
/// ```
/// use netverdict_wire::capture::{Reader, Record};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let file: &[u8] = &netverdict_wire::capture::Writer::new(Vec::new(), Default::default())?.finish()?;
/// let mut reader = Reader::new(file)?;
/// while let Some(mut block) = reader.next_block()? {
///     for record in &mut block {
///         if let Ok(Record::Sample(sample)) = record {
///             println!("{}", sample.time);
///         }
///     }
/// }
/// println!("{} blocks were damaged", reader.lost().frames.corrupt);
/// # Ok(())
/// # }
/// ```
pub struct Reader<R> {
    frames: Frames<R>,
    unpacker: zstd::bulk::Decompressor<'static>,
    block: Vec<u8>,
    lost: Lost,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a capture.
    ///
    /// # Errors
    /// [`Error::NotACapture`], [`Error::Newer`], or what the input says.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let mut head = Vec::with_capacity(HEAD);
        input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        if head.len() < HEAD || !head.starts_with(&MAGIC) {
            return Err(Error::NotACapture(head));
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version > VERSION {
            return Err(Error::Newer(version));
        }
        Ok(Self {
            frames: Frames::new(input, HEAD as u64),
            unpacker: zstd::bulk::Decompressor::new()?,
            block: Vec::new(),
            lost: Lost::default(),
        })
    }

    /// The next block that can be read, or `None` at the end. Blocks that cannot be read are
    /// counted in [`Reader::lost`].
    ///
    /// # Errors
    /// What the input says.
    pub fn next_block(&mut self) -> Result<Option<Block<'_>>, Error> {
        loop {
            let Some(frame) = self.frames.next()? else {
                return Ok(None);
            };
            if frame.kind != BLOCK {
                self.lost.unknown += 1;
                continue;
            }
            if unpack(&mut self.unpacker, frame.payload, &mut self.block).is_some() {
                break;
            }
            self.lost.blocks += 1;
        }
        Ok(Some(Block {
            bytes: &self.block,
            at: 0,
            previous: Timestamp(0),
            lost: &mut self.lost,
        }))
    }

    /// What was left out so far; whole once [`Reader::next_block`] gave `None`.
    pub fn lost(&self) -> Lost {
        Lost {
            frames: self.frames.damage(),
            ..self.lost
        }
    }

    /// The end of the last whole block, in bytes from the start of the file: what a torn file is
    /// cut to before [`super::Writer::resume`].
    pub fn whole_end(&self) -> u64 {
        self.frames.whole_end()
    }
}

/// The records of one block. They borrow the reader's buffer, and reading them allocates
/// nothing.
#[derive(Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    previous: Timestamp,
    lost: &'a mut Lost,
}

impl<'a> Iterator for Block<'a> {
    type Item = Result<Record<'a>, BadRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let rest = &self.bytes[at..];
            let (&tag, rest) = rest.split_first()?;
            let body = record::take_uint(rest).and_then(|(length, rest)| {
                let (body, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                self.at = self.bytes.len() - rest.len();
                Some(body)
            });
            let Some(body) = body else {
                // Without a length there is no next record to find.
                self.at = self.bytes.len();
                self.lost.records += 1;
                let what = tag::name(tag);
                return Some(Err(BadRecord { what, at }));
            };
            if !(tag::ZONE..=tag::COUNTER).contains(&tag) {
                self.lost.unknown += 1;
                continue;
            }
            return Some(match record::take(tag, body, &mut self.previous) {
                Some(record) => Ok(record),
                None => {
                    self.lost.records += 1;
                    let what = tag::name(tag);
                    Err(BadRecord { what, at })
                }
            });
        }
    }
}

/// Decompresses a block's payload into `block`; `None` when it cannot be.
fn unpack(
    unpacker: &mut zstd::bulk::Decompressor<'static>,
    payload: &[u8],
    block: &mut Vec<u8>,
) -> Option<()> {
    let (length, packed) = payload.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > BLOCK_MAX {
        return None;
    }
    block.clear();
    block.reserve(length);
    let unpacked = unpacker.decompress_to_buffer(packed, block).ok()?;
    (unpacked == length).then_some(())
}
