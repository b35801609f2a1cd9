//! Frames: the block layer of capture files and of the history's log.
//!
//! A frame is a marker, a kind, a length, two checksums and a payload. The marker lets a reader
//! find the next frame after damage, the checksums tell a whole frame from a torn or changed
//! one. All numbers are little endian:
//!
//! | bytes | meaning |
//! |---|---|
//! | 8 | [`MARKER`] |
//! | 1 | kind, chosen by the user of this layer |
//! | 4 | length of the payload, at most [`MAX_PAYLOAD`] |
//! | 4 | CRC-32 (IEEE) of the payload |
//! | 4 | CRC-32 (IEEE) of the nine bytes before it and after the marker |
//! | … | payload |

use std::io::{self, ErrorKind, Read, Write};

/// Stands at the start of each frame. The line ends and the byte above 127 show damage by text
/// conversion at once.
pub const MARKER: [u8; 8] = *b"\xf5nvf\r\n\x1a\x00";

/// Bytes of a frame before its payload.
pub const HEADER: usize = 21;

/// The longest payload of one frame, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// Writes one frame and returns its length in bytes. It does not flush.
///
/// # Errors
/// `InvalidInput` for a payload over [`MAX_PAYLOAD`]; nothing is written then. Else what `out`
/// says.
pub fn append(out: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<u64> {
    if payload.len() > MAX_PAYLOAD {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!(
                "a frame of {} bytes is over the limit of {MAX_PAYLOAD}; split it",
                payload.len()
            ),
        ));
    }
    out.write_all(&header(kind, payload))?;
    out.write_all(payload)?;
    Ok((HEADER + payload.len()) as u64)
}

/// One whole frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// What [`append`] was given.
    pub kind: u8,
    /// What [`append`] was given.
    pub payload: &'a [u8],
    /// Where the frame starts, in bytes from the start of the file.
    pub offset: u64,
}

/// What a reader had to leave out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Damage {
    /// Stretches between whole frames (or before the first) that are no frame.
    pub corrupt: u64,
    /// Their bytes.
    pub corrupt_bytes: u64,
    /// Bytes after the last whole frame: a write that never ended.
    pub torn_bytes: u64,
}

impl Damage {
    /// True when nothing was left out.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// Reads frames one after the other, skipping and counting what is damaged.
#[derive(Debug)]
pub struct Frames<R> {
    input: R,
    buffer: Vec<u8>,
    /// Start of the bytes in `buffer` that were not yet looked at.
    start: usize,
    /// File offset of `buffer[0]`.
    base: u64,
    /// End of the last whole frame.
    whole: u64,
    ended: bool,
    damage: Damage,
}

impl<R: Read> Frames<R> {
    /// Reads from `input`, whose next byte stands at `offset` in its file.
    pub fn new(input: R, offset: u64) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            base: offset,
            whole: offset,
            ended: false,
            damage: Damage::default(),
        }
    }

    /// The next whole frame, or `None` at the end of the input.
    ///
    /// # Errors
    /// What the input says; the call can be repeated.
    // Not an iterator: the frame borrows the buffer.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some((kind, start, length)) = self.advance()? else {
            return Ok(None);
        };
        Ok(Some(Frame {
            kind,
            payload: &self.buffer[start..start + length],
            offset: self.base + (start - HEADER) as u64,
        }))
    }

    /// What was left out so far. Torn bytes are known once [`Frames::next`] gave `None`.
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// The end of the last whole frame: after [`Frames::next`] gave `None`, the length to cut a
    /// log to before more is appended.
    pub fn whole_end(&self) -> u64 {
        self.whole
    }

    /// Finds the next whole frame: its kind, and the place and length of its payload in the
    /// buffer.
    fn advance(&mut self) -> io::Result<Option<(u8, usize, usize)>> {
        loop {
            if !self.fill(HEADER)? {
                break;
            }
            let rest = &self.buffer[self.start..];
            let Some(length) = payload_length(rest) else {
                self.start += next_marker(&rest[1..]) + 1;
                continue;
            };
            // A frame that does not end may be torn, or its neighbours may lie inside the length
            // it claims: look further in both cases.
            let whole = self.fill(HEADER + length)?;
            let rest = &self.buffer[self.start..];
            if !whole || crc32fast::hash(&rest[HEADER..HEADER + length]) != number(&rest[13..17]) {
                self.start += MARKER.len();
                continue;
            }
            let (kind, payload) = (rest[8], self.start + HEADER);
            let offset = self.base + self.start as u64;
            if offset > self.whole {
                self.damage.corrupt += 1;
                self.damage.corrupt_bytes += offset - self.whole;
            }
            self.start = payload + length;
            self.whole = self.base + self.start as u64;
            return Ok(Some((kind, payload, length)));
        }
        self.start = self.buffer.len();
        self.damage.torn_bytes = self.base + self.start as u64 - self.whole;
        Ok(None)
    }

    /// Makes at least `wanted` bytes from `start` on present; false where the input ends before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.buffer.len() - self.start < wanted {
            if self.ended {
                return Ok(false);
            }
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.base += self.start as u64;
                self.start = 0;
            }
            // Grows with what is really there, not with what a header claims.
            let have = self.buffer.len();
            self.buffer.resize(have + have.clamp(CHUNK, MAX_PAYLOAD), 0);
            let outcome = self.input.read(&mut self.buffer[have..]);
            self.buffer
                .truncate(have + outcome.as_ref().map_or(0, |&n| n));
            match outcome {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

const CHUNK: usize = 64 << 10;

fn header(kind: u8, payload: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MARKER);
    header[8] = kind;
    header[9..13].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[13..17].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let check = crc32fast::hash(&header[8..17]);
    header[17..].copy_from_slice(&check.to_le_bytes());
    header
}

/// The payload's length where `bytes` (of [`HEADER`] or more) start with a whole frame header.
fn payload_length(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&MARKER) || crc32fast::hash(&bytes[8..17]) != number(&bytes[17..21]) {
        return None;
    }
    let length = number(&bytes[9..13]) as usize;
    (length <= MAX_PAYLOAD).then_some(length)
}

/// Where in `bytes` the next frame may start.
fn next_marker(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|&byte| byte == MARKER[0]) {
        let rest = &bytes[from + found..];
        let common = rest.len().min(MARKER.len());
        if rest[..common] == MARKER[..common] {
            return from + found;
        }
        from += found + 1;
    }
    bytes.len()
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |whole, &byte| whole << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, payload) in payloads.iter().enumerate() {
            append(&mut out, kind as u8, payload).unwrap();
        }
        out
    }

    fn read(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, Damage, u64) {
        let mut frames = Frames::new(bytes, 0);
        let mut all = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            all.push((frame.kind, frame.payload.to_vec()));
        }
        (all, frames.damage(), frames.whole_end())
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Markers inside payloads must not confuse the reader.
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            Just(MARKER.to_vec()),
            Just(header(3, b"x").to_vec()),
        ];
        let payload = proptest::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
        proptest::collection::vec(payload, 1..6)
    }

    proptest! {
        #[test]
        fn whole_frames_come_back(payloads in payloads()) {
            let bytes = log(&payloads);
            let (frames, damage, end) = read(&bytes);
            prop_assert!(damage.is_none());
            prop_assert_eq!(end, bytes.len() as u64);
            let back: Vec<_> = frames.into_iter().map(|(_, payload)| payload).collect();
            prop_assert_eq!(back, payloads);
        }

        #[test]
        fn a_cut_costs_the_last_frame_only(payloads in payloads()) {
            let bytes = log(&payloads);
            for cut in 0..bytes.len() {
                let (frames, damage, end) = read(&bytes[..cut]);
                let mut whole = 0;
                let mut length = 0;
                for payload in &payloads {
                    if length + HEADER + payload.len() > cut {
                        break;
                    }
                    length += HEADER + payload.len();
                    whole += 1;
                }
                // A payload may hold a frame of its own, which shows when its carrier is torn.
                prop_assert!(frames.len() >= whole);
                for (frame, payload) in frames.iter().zip(&payloads[..whole]) {
                    prop_assert_eq!(&frame.1, payload);
                }
                if frames.len() == whole {
                    prop_assert_eq!(end, length as u64);
                    prop_assert_eq!(damage.torn_bytes, (cut - length) as u64);
                    prop_assert_eq!(damage.corrupt, 0);
                }
            }
        }

        #[test]
        fn a_flipped_bit_costs_one_frame(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 3),
            place in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut bytes = log(&payloads);
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let (frames, damage, _) = read(&bytes);
            let mut end = 0;
            let hit = payloads
                .iter()
                .position(|payload| {
                    end += HEADER + payload.len();
                    place < end
                })
                .unwrap();
            let expected: Vec<_> = (0..3)
                .filter(|&kind| kind != hit)
                .map(|kind| (kind as u8, payloads[kind].clone()))
                .collect();
            prop_assert_eq!(frames, expected);
            let lost = (HEADER + payloads[hit].len()) as u64;
            prop_assert_eq!(damage.corrupt_bytes + damage.torn_bytes, lost);
        }

        #[test]
        fn noise_is_no_frame(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (frames, damage, end) = read(&noise);
            prop_assert!(frames.is_empty());
            prop_assert_eq!(end, 0);
            prop_assert_eq!(damage.torn_bytes, noise.len() as u64);
        }
    }

    /// Gives one byte a call, with interruptions.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            self.0.read(&mut out[..1])
        }
    }

    #[test]
    fn short_reads_do_no_harm() {
        let bytes = log(&[b"one".to_vec(), vec![7; 300], Vec::new()]);
        let mut frames = Frames::new(Slow(&bytes, false), 0);
        let mut lengths = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            lengths.push(frame.payload.len());
        }
        assert_eq!(lengths, [3, 300, 0]);
        assert!(frames.damage().is_none());
    }

    #[test]
    fn a_missing_stretch_does_not_hide_the_next_frame() {
        let mut bytes = log(&[b"first".to_vec(), vec![1; 200], b"third".to_vec()]);
        bytes.drain(60..160);
        let (frames, damage, _) = read(&bytes);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1].1, b"third");
        assert_eq!(damage.corrupt, 1);
    }
}
