use crossbeam_channel::{Receiver as Queue, Sender as QueueSender, bounded};
use netverdict_types::{
    Headers, Input, Key, LogDirection, LogVerdict, Origin, Probability, Sample,
};
use netverdict_types::{Timestamp, ZoneId};
use netverdict_wire::capture::{Clock, Counter, Record, Revision, Zone};

/// What a source has to say, in its order: samples, and from a capture also revisions, zones,
/// clocks and counters.
///
/// It owns the bytes that its samples borrow, and keeps its memory when it is emptied, so that
/// after the first rounds no sample costs an allocation.
#[derive(Debug, Default)]
pub struct Batch {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Batch {
    /// A batch is sent at the latest when it holds so many items.
    pub const FULL: usize = 1_024;

    /// Adds a sample, with a copy of its packet and names.
    pub fn push(&mut self, sample: &Sample<'_>) {
        let key = match sample.key {
            Key::Log {
                name,
                verdict,
                direction,
            } => StoredKey::Log(self.keep(name.as_bytes()), verdict, direction),
            Key::Cookie(_) | Key::ConntrackPoint(_) | Key::Label(_) => {
                StoredKey::Plain(fixed(sample.key))
            }
            _ => StoredKey::Plain(Key::None),
        };
        let input = match sample.input {
            Input::Name(name) => StoredInput::Name(self.keep(name.as_bytes())),
            Input::Index(index) => StoredInput::Plain(Input::Index(index)),
            Input::Tunnel(address) => StoredInput::Plain(Input::Tunnel(address)),
            _ => StoredInput::Plain(Input::Unknown),
        };
        let data = self.keep(sample.data);
        self.items.push(Item::Sample(Stored {
            zone: sample.zone,
            origin: sample.origin,
            time: sample.time,
            key,
            group: sample.group,
            probability: sample.probability,
            input,
            headers: sample.headers,
            length: sample.length,
            packets: sample.packets,
            bytes: sample.bytes,
            data,
        }));
    }

    /// Adds a record of a capture.
    pub fn push_record(&mut self, record: &Record<'_>) {
        let item = match record {
            Record::Sample(sample) => return self.push(sample),
            Record::Zone(zone) => {
                let name = self.keep(zone.name.as_bytes());
                Item::Zone(zone.id, name, self.keep(zone.node.as_bytes()))
            }
            Record::Clock(clock) => Item::Clock(*clock),
            Record::Revision(revision) => {
                let json = self.keep(revision.json);
                let revision = Revision {
                    json: &[],
                    ..*revision
                };
                Item::Revision(revision, json)
            }
            Record::Counter(counter) => {
                let name = self.keep(counter.name.as_bytes());
                let counter = Counter {
                    name: "",
                    ..*counter
                };
                Item::Counter(counter, name)
            }
            // A kind that this version of the capture does not have.
            _ => return,
        };
        self.items.push(item);
    }

    /// All items, in their order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.items.iter().map(|item| self.item(item))
    }

    /// One item by its place in that order.
    pub fn record(&self, at: usize) -> Option<Record<'_>> {
        self.items.get(at).map(|item| self.item(item))
    }

    /// The samples among the items.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.items.iter().filter_map(|item| match item {
            Item::Sample(stored) => Some(self.sample(stored)),
            _ => None,
        })
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True when it is time to send it.
    pub fn is_full(&self) -> bool {
        self.items.len() >= Self::FULL || self.bytes.len() >= FULL_BYTES
    }

    /// Empties it and keeps its memory, unless that has grown out of the usual.
    pub fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * FULL_BYTES);
    }

    fn item<'a>(&'a self, item: &'a Item) -> Record<'a> {
        match item {
            Item::Sample(stored) => Record::Sample(self.sample(stored)),
            Item::Zone(id, name, node) => Record::Zone(Zone {
                id: *id,
                name: self.text(name),
                node: self.text(node),
            }),
            Item::Clock(clock) => Record::Clock(*clock),
            Item::Revision(revision, json) => Record::Revision(Revision {
                json: self.get(json),
                ..*revision
            }),
            Item::Counter(counter, name) => Record::Counter(Counter {
                name: self.text(name),
                ..*counter
            }),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span(start, self.bytes.len())
    }

    fn get(&self, span: &Span) -> &[u8] {
        &self.bytes[span.0..span.1]
    }

    fn text(&self, span: &Span) -> &str {
        std::str::from_utf8(self.get(span)).unwrap_or_default()
    }

    fn sample<'a>(&'a self, stored: &'a Stored) -> Sample<'a> {
        Sample {
            zone: stored.zone,
            origin: stored.origin,
            time: stored.time,
            key: match &stored.key {
                StoredKey::Plain(key) => *key,
                StoredKey::Log(name, verdict, direction) => Key::Log {
                    name: self.text(name),
                    verdict: *verdict,
                    direction: *direction,
                },
            },
            group: stored.group,
            probability: stored.probability,
            input: match &stored.input {
                StoredInput::Plain(input) => *input,
                StoredInput::Name(name) => Input::Name(self.text(name)),
            },
            headers: stored.headers,
            length: stored.length,
            packets: stored.packets,
            bytes: stored.bytes,
            data: self.get(&stored.data),
        }
    }
}

/// A bounded channel with `batches` batches in all, from any number of sources to one reader.
/// Each source holds one all the time, so there must be more than sources: four a source do.
///
/// A source that finds no free batch waits: what its own queue (such as a socket's) cannot hold
/// meanwhile is lost there and counted there.
pub fn channel(batches: usize) -> (Sender, Receiver) {
    let batches = batches.max(1);
    let (full_sender, full) = bounded(batches);
    let (empty_sender, empty) = bounded(batches);
    for _ in 0..batches {
        // The queue is as long as there are batches.
        let _ = empty_sender.try_send(Batch::default());
    }
    let sender = Sender {
        full: full_sender,
        empty,
    };
    let receiver = Receiver {
        full,
        empty: empty_sender,
    };
    (sender, receiver)
}

/// A source's end of a [`channel`].
#[derive(Clone, Debug)]
pub struct Sender {
    full: QueueSender<Batch>,
    empty: Queue<Batch>,
}

impl Sender {
    /// An empty batch; waits for one. `None` when the reader is gone: the source should end.
    pub fn batch(&self) -> Option<Batch> {
        self.empty.recv().ok()
    }

    /// Sends a batch. False when the reader is gone: the source should end.
    #[must_use]
    pub fn send(&self, batch: Batch) -> bool {
        self.full.send(batch).is_ok()
    }

    /// Sends `batch` and takes an empty one in its place; an empty batch stays. False when the
    /// reader is gone.
    #[must_use]
    pub fn exchange(&self, batch: &mut Batch) -> bool {
        if batch.is_empty() {
            return true;
        }
        if !self.send(std::mem::take(batch)) {
            return false;
        }
        match self.batch() {
            Some(empty) => {
                *batch = empty;
                true
            }
            None => false,
        }
    }
}

/// The reader's end of a [`channel`].
#[derive(Debug)]
pub struct Receiver {
    full: Queue<Batch>,
    empty: QueueSender<Batch>,
}

impl Receiver {
    /// The next batch; waits for one. `None` when all sources are gone.
    pub fn recv(&self) -> Option<Batch> {
        self.full.recv().ok()
    }

    /// The next batch, if one is there or comes within `timeout`.
    pub fn recv_timeout(&self, timeout: std::time::Duration) -> Option<Batch> {
        self.full.recv_timeout(timeout).ok()
    }

    /// The queue of batches, for a reader that waits for other things at the same time.
    pub fn queue(&self) -> &Queue<Batch> {
        &self.full
    }

    /// Gives a batch back to the sources once it was read.
    pub fn give_back(&self, mut batch: Batch) {
        batch.clear();
        // There is room for all batches; without sources nobody needs it.
        let _ = self.empty.try_send(batch);
    }
}

/// A batch is sent at the latest when its packets and names take so many bytes.
const FULL_BYTES: usize = 1 << 20;

/// A part of a batch's bytes.
#[derive(Clone, Copy, Debug)]
struct Span(usize, usize);

#[derive(Debug)]
// Nearly all items are samples.
#[allow(clippy::large_enum_variant)]
enum Item {
    Sample(Stored),
    Zone(ZoneId, Span, Span),
    Clock(Clock),
    Revision(Revision<'static>, Span),
    Counter(Counter<'static>, Span),
}

#[derive(Debug)]
struct Stored {
    zone: ZoneId,
    origin: Origin,
    time: Timestamp,
    key: StoredKey,
    group: Option<u32>,
    probability: Probability,
    input: StoredInput,
    headers: Headers,
    length: u32,
    packets: u64,
    bytes: u64,
    data: Span,
}

#[derive(Debug)]
enum StoredKey {
    Plain(Key<'static>),
    Log(Span, LogVerdict, LogDirection),
}

#[derive(Debug)]
enum StoredInput {
    Plain(Input<'static>),
    Name(Span),
}

/// A key that borrows nothing.
fn fixed(key: Key<'_>) -> Key<'static> {
    match key {
        Key::Cookie(cookie) => Key::Cookie(cookie),
        Key::ConntrackPoint(point) => Key::ConntrackPoint(point),
        Key::Label(label) => Key::Label(label),
        _ => Key::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>(name: &'a str, data: &'a [u8]) -> Sample<'a> {
        Sample {
            zone: ZoneId(1),
            origin: Origin::AclLog,
            time: Timestamp(5),
            key: Key::Log {
                name,
                verdict: LogVerdict::Drop,
                direction: LogDirection::ToLport,
            },
            group: Some(3),
            probability: Probability::ALL,
            input: Input::Name("eth0"),
            headers: Headers::default(),
            length: 9,
            packets: 1,
            bytes: 9,
            data,
        }
    }

    #[test]
    fn items_come_back_in_order() {
        let records = [
            Record::Zone(Zone {
                id: ZoneId(1),
                name: "zone",
                node: "node",
            }),
            Record::Sample(sample("one", b"first")),
            Record::Revision(Revision {
                number: 7,
                json: b"{}",
                ..Revision::default()
            }),
            Record::Clock(Clock::default()),
            Record::Counter(Counter {
                name: "lost",
                value: 3,
                ..Counter::default()
            }),
            Record::Sample(sample("", b"")),
        ];
        let mut batch = Batch::default();
        for round in 0..2 {
            for record in &records {
                batch.push_record(record);
            }
            let back: Vec<_> = batch
                .records()
                .map(|record| format!("{record:?}"))
                .collect();
            let expected: Vec<_> = records.iter().map(|record| format!("{record:?}")).collect();
            assert_eq!(back, expected, "round {round}");
            assert_eq!(batch.samples().count(), 2);
            batch.clear();
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn batches_go_round() {
        let (sender, receiver) = channel(2);
        let source = std::thread::spawn(move || {
            let mut batch = sender.batch().unwrap();
            let mut sent = 0;
            while sent < 5_000 {
                batch.push(&sample("x", b"data"));
                sent += 1;
                if batch.is_full() && !sender.exchange(&mut batch) {
                    return sent;
                }
            }
            assert!(sender.send(batch));
            sent
        });
        let mut received = 0;
        while let Some(batch) = receiver.recv() {
            received += batch.samples().count();
            receiver.give_back(batch);
        }
        assert_eq!(received, source.join().unwrap());
    }

    #[test]
    fn a_source_ends_with_its_reader() {
        let (sender, receiver) = channel(1);
        let mut batch = sender.batch().unwrap();
        drop(receiver);
        batch.push(&sample("x", b""));
        assert!(!sender.exchange(&mut batch));
        assert!(sender.batch().is_none());
    }
}
