//! A capture file as a source: at full speed, or with the pauses of the recording.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use netverdict_types::Timestamp;
use netverdict_wire::capture::{Error, Lost, Reader, Record};

use crate::{Batch, Count, Counts, Sender, Stop};

/// How fast a capture is replayed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pace {
    /// As fast as it can be read.
    #[default]
    Full,
    /// As it was recorded: each record not before as much time has gone by as lay between it and
    /// the first one.
    Recorded,
}

/// Replays a capture: samples, and the revisions, zones, clocks and counters between them, in
/// the order of the file. Returns at its end, or when the reader of the channel is gone, or when
/// `stop` asks for it.
///
/// # Errors
/// What [`Reader`] says. Damage is no error but counted.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use netverdict_source::capture::{Counters, Pace, replay};
/// use netverdict_source::{Stop, channel};
/// use netverdict_wire::capture::Record;
///
/// let (sender, receiver) = channel(8);
/// let counters = Arc::new(Counters::default());
/// let file = std::fs::File::open("night.nvcap")?;
/// std::thread::spawn({
///     let (counters, stop) = (Arc::clone(&counters), Stop::new()?);
///     move || replay(file, Pace::Full, &sender, &counters, &stop)
/// });
/// while let Some(batch) = receiver.recv() {
///     for record in batch.records() {
///         match record {
///             Record::Revision(revision) => println!("revision {}", revision.number),
///             Record::Sample(sample) => println!("{}", sample.time),
///             _ => {}
///         }
///     }
///     receiver.give_back(batch);
/// }
/// # Ok(())
/// # }
/// ```
pub fn replay(
    input: impl Read,
    pace: Pace,
    sender: &Sender,
    counters: &Arc<Counters>,
    stop: &Stop,
) -> Result<(), Error> {
    let mut reader = Reader::new(input)?;
    let Some(mut batch) = sender.batch() else {
        return Ok(());
    };
    let mut player = Player {
        pace,
        started: None,
        sender,
        counters,
        stop,
    };
    let mut listened = true;
    while listened && let Some(block) = reader.next_block()? {
        for record in block.flatten() {
            listened = player.play(&record, &mut batch)?;
            if !listened {
                break;
            }
        }
        counters.set(reader.lost());
    }
    counters.set(reader.lost());
    // Also when it is empty: it goes back to the others.
    let _ = sender.send(batch);
    Ok(())
}

/// What this source counts. Nothing of it is lost by this process: what is damaged in the file
/// was lost before.
#[derive(Debug, Default)]
pub struct Counters {
    /// Samples sent.
    pub samples: Count,
    /// Revisions sent.
    pub revisions: Count,
    /// Damaged stretches between blocks.
    pub corrupt: Count,
    /// Their bytes.
    pub corrupt_bytes: Count,
    /// Bytes after the last whole block.
    pub torn_bytes: Count,
    /// Blocks that did not decompress.
    pub blocks: Count,
    /// Records that did not decode.
    pub records: Count,
    /// Records of kinds that only newer versions know.
    pub unknown: Count,
}

impl Counters {
    fn set(&self, lost: Lost) {
        self.corrupt.set(lost.frames.corrupt);
        self.corrupt_bytes.set(lost.frames.corrupt_bytes);
        self.torn_bytes.set(lost.frames.torn_bytes);
        self.blocks.set(lost.blocks);
        self.records.set(lost.records);
        self.unknown.set(lost.unknown);
    }
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("capture_samples", self.samples.read()),
            ("capture_revisions", self.revisions.read()),
            ("capture_corrupt", self.corrupt.read()),
            ("capture_corrupt_bytes", self.corrupt_bytes.read()),
            ("capture_torn_bytes", self.torn_bytes.read()),
            ("capture_bad_blocks", self.blocks.read()),
            ("capture_bad_records", self.records.read()),
            ("capture_unknown_records", self.unknown.read()),
        ]
    }
}

struct Player<'a> {
    pace: Pace,
    /// When the first record was played, and its own time.
    started: Option<(Instant, Timestamp)>,
    sender: &'a Sender,
    counters: &'a Counters,
    stop: &'a Stop,
}

impl Player<'_> {
    /// Plays a record at its time. False when the replay should end.
    fn play(&mut self, record: &Record<'_>, batch: &mut Batch) -> Result<bool, Error> {
        let time = match record {
            Record::Sample(sample) => {
                self.counters.samples.one();
                Some(sample.time)
            }
            Record::Revision(revision) => {
                self.counters.revisions.one();
                Some(revision.time)
            }
            Record::Counter(counter) => Some(counter.time),
            _ => None,
        };
        if let (Pace::Recorded, Some(time)) = (self.pace, time)
            && !self.wait(time, batch)?
        {
            return Ok(false);
        }
        batch.push_record(record);
        Ok(!batch.is_full() || self.sender.exchange(batch))
    }

    /// Waits until it is time for a record of that time.
    fn wait(&mut self, time: Timestamp, batch: &mut Batch) -> Result<bool, Error> {
        let (started, first) = *self.started.get_or_insert((Instant::now(), time));
        let due = i128::from(time.0) - i128::from(first.0);
        loop {
            let gone = i128::try_from(started.elapsed().as_nanos()).unwrap_or(i128::MAX);
            // A millisecond is the finest that a wait can do.
            let millis = (due - gone) / 1_000_000;
            if millis <= 0 {
                return Ok(true);
            }
            if !self.sender.exchange(batch) {
                return Ok(false);
            }
            let millis = u16::try_from(millis).unwrap_or(u16::MAX);
            if self.stop.wait_timeout(millis).map_err(Error::Io)? {
                return Ok(false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netverdict_types::{Headers, Input, Key, Origin, Probability, Sample, ZoneId};
    use netverdict_wire::capture::{Options, Revision, Writer};

    use super::*;
    use crate::channel;

    /// Two samples and a revision between them, `apart` nanoseconds from each other.
    fn file(apart: i64) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), Options::default()).unwrap();
        let sample = |time| Sample {
            zone: ZoneId(0),
            origin: Origin::Psample,
            time: Timestamp(time),
            key: Key::None,
            group: None,
            probability: Probability::ALL,
            input: Input::Unknown,
            headers: Headers::default(),
            length: 1,
            packets: 1,
            bytes: 1,
            data: &[],
        };
        writer.sample(&sample(1_000)).unwrap();
        writer.flush().unwrap();
        writer
            .revision(&Revision {
                time: Timestamp(1_000 + apart),
                json: b"[]",
                ..Revision::default()
            })
            .unwrap();
        writer.sample(&sample(1_000 + 2 * apart)).unwrap();
        writer.finish().unwrap()
    }

    fn play(file: Vec<u8>, pace: Pace) -> (Vec<String>, Arc<Counters>) {
        let (sender, receiver) = channel(4);
        let counters = Arc::new(Counters::default());
        let thread = std::thread::spawn({
            let counters = Arc::clone(&counters);
            let stop = Stop::new().unwrap();
            move || replay(file.as_slice(), pace, &sender, &counters, &stop).unwrap()
        });
        let mut kinds = Vec::new();
        while let Some(batch) = receiver.recv() {
            for record in batch.records() {
                let text = format!("{record:?}");
                kinds.push(text.split('(').next().unwrap_or_default().to_owned());
            }
            receiver.give_back(batch);
        }
        thread.join().unwrap();
        (kinds, counters)
    }

    #[test]
    fn records_come_in_their_order() {
        let (kinds, counters) = play(file(0), Pace::Full);
        assert_eq!(kinds, ["Sample", "Revision", "Sample"]);
        assert_eq!((counters.samples.read(), counters.revisions.read()), (2, 1));
    }

    #[test]
    fn a_pause_loses_nothing() {
        let (kinds, _) = play(file(5_000_000), Pace::Recorded);
        assert_eq!(kinds, ["Sample", "Revision", "Sample"]);
    }

    #[test]
    fn damage_is_counted() {
        let mut file = file(0);
        file[50] ^= 1;
        file.extend_from_slice(b"torn");
        let (kinds, counters) = play(file, Pace::Full);
        assert_eq!(kinds, ["Revision", "Sample"]);
        assert_eq!(counters.corrupt.read(), 1);
        assert_eq!(counters.torn_bytes.read(), 4);
    }

    #[test]
    fn a_stop_ends_a_long_pause() {
        let (sender, receiver) = channel(4);
        let stop = Stop::new().unwrap();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let counters = Arc::default();
                let file = file(3_600_000_000_000);
                replay(file.as_slice(), Pace::Recorded, &sender, &counters, &stop).unwrap();
            }
        });
        assert_eq!(receiver.recv().unwrap().samples().count(), 1);
        stop.stop();
        thread.join().unwrap();
    }
}
