//! psample messages over a Unix datagram socket: what arrives, what a flood loses, and whose the file is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use netverdict_source::psample_unix::{Counters, Error, Options, Output, PsampleUnix};
use netverdict_source::{Receiver, Stop, channel};
use netverdict_types::{Key, SystemClock, Timestamp, ZoneId};
use netverdict_wire::psample::{Decoder, Message, encode};

struct Running {
    receiver: Receiver,
    counters: Arc<Counters>,
    stop: Stop,
    thread: JoinHandle<Result<(), Error>>,
}

fn bind(path: &Path) -> Result<(PsampleUnix, Receiver, Arc<Counters>), Error> {
    let (sender, receiver) = channel(4);
    let counters = Arc::new(Counters::default());
    let options = Options {
        zone: ZoneId(3),
        ..Options::new(path)
    };
    let source = PsampleUnix::bind(
        &options,
        Arc::new(SystemClock),
        sender,
        Arc::clone(&counters),
    )?;
    Ok((source, receiver, counters))
}

fn start(path: &Path) -> Running {
    let (source, receiver, counters) = bind(path).unwrap();
    let stop = Stop::new().unwrap();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || source.run(&stop)
    });
    Running {
        receiver,
        counters,
        stop,
        thread,
    }
}

impl Running {
    /// All samples of the batches that come until there are `count`.
    fn keys(&self, count: usize) -> Vec<(ZoneId, Timestamp, u64, Vec<u8>)> {
        let mut keys = Vec::new();
        while keys.len() < count {
            let batch = self.receiver.recv().unwrap();
            for sample in batch.samples() {
                let Key::Cookie(cookie) = sample.key else {
                    panic!("{:?}", sample.key);
                };
                keys.push((
                    sample.zone,
                    sample.time,
                    u64::from_be_bytes(cookie.to_be_bytes()),
                    sample.data.to_vec(),
                ));
            }
            self.receiver.give_back(batch);
        }
        keys
    }

    fn end(self) -> Arc<Counters> {
        self.stop.stop();
        drop(self.receiver);
        self.thread.join().unwrap().unwrap();
        self.counters
    }
}

fn message(point: u32, length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encode(
        &Message {
            family: 16,
            group: Some(10),
            rate: Some(u32::MAX),
            data: Some(&vec![0; length]),
            cookie: Some(&(0x0200_0001_u64 << 32 | u64::from(point)).to_be_bytes()),
            probability: true,
            ..Message::default()
        },
        &mut out,
    );
    out
}

/// What the kernel sent in the lab, one message after the other.
fn recorded() -> Vec<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../lab/captures/vm/psample1.bin"
    );
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (message, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        messages.push(message.to_vec());
        rest = after;
    }
    messages
}

#[test]
fn what_the_kernel_would_send_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let running = start(&path);
    let mut expected = Vec::new();
    let mut decoder = Decoder::default();
    let mut output = Output::new(&path).unwrap();
    for mut message in recorded() {
        decoder.decode(&message, Timestamp(0), ZoneId(3), |sample| {
            let Key::Cookie(cookie) = sample.key else {
                panic!("{:?}", sample.key);
            };
            expected.push((
                sample.zone,
                sample.time,
                u64::from_be_bytes(cookie.to_be_bytes()),
                sample.data.to_vec(),
            ));
        });
        output.push(&mut message);
    }
    output.flush();
    assert_eq!((output.lost, output.unheard), (0, 0));
    assert_eq!(running.keys(expected.len()), expected);
    let counters = running.end();
    assert_eq!(counters.samples.read(), expected.len() as u64);
    assert_eq!(counters.lost.read(), 0);
    assert_eq!(counters.malformed.read(), 0);
    assert!(!path.exists(), "the file is removed");
}

#[test]
fn what_the_sender_loses_is_known_to_the_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let (source, receiver, counters) = bind(&path).unwrap();
    let mut one = Output::new(&path).unwrap().with_port(1);
    let mut two = Output::new(&path).unwrap().with_port(2);
    for point in 1..=200_000 {
        one.push(&mut message(point, 100));
        two.push(&mut message(point, 100));
    }
    one.flush();
    two.flush();
    assert!(one.lost > 0 && two.lost > 0, "nobody reads");
    let stop = Stop::new().unwrap();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || source.run(&stop)
    });
    let sent = one.sent + two.sent;
    let mut came = 0;
    while came < sent {
        let batch = receiver.recv().unwrap();
        came += batch.samples().count() as u64;
        receiver.give_back(batch);
    }
    // There is room again; the next messages tell how many are missing.
    for output in [&mut one, &mut two] {
        output.push(&mut message(0, 10));
        output.flush();
        came += receiver.recv().unwrap().samples().count() as u64;
    }
    stop.stop();
    thread.join().unwrap().unwrap();
    assert_eq!(came, one.sent + two.sent);
    assert_eq!(counters.samples.read(), came);
    assert_eq!(counters.lost.read(), one.lost + two.lost);
    assert_eq!(one.sent + one.lost, 200_001);
}

#[test]
fn bad_messages_cost_no_good_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let running = start(&path);
    let plain = UnixDatagram::unbound().unwrap();
    plain.connect(&path).unwrap();
    let good = message(5, 60);
    let mut bad = message(6, 60);
    bad[20] = 3; // the length of the first attribute
    let mut unknown = message(7, 60);
    unknown[16] = 9; // another command
    plain
        .send(&[good.as_slice(), &bad, &unknown, &good].concat())
        .unwrap();
    plain.send(b"nonsense").unwrap();
    plain.send(&good).unwrap();
    assert_eq!(running.keys(3).len(), 3);
    let counters = running.end();
    assert_eq!(counters.datagrams.read(), 3);
    assert_eq!(counters.malformed.read(), 2);
    assert_eq!(counters.foreign.read(), 1);
    assert_eq!(counters.lost.read(), 0, "nobody counted");
}

#[test]
fn senders_that_begin_anew_are_no_loss() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let running = start(&path);
    for _ in 0..2 {
        let mut output = Output::new(&path).unwrap().with_port(9);
        for point in 0..3 {
            output.push(&mut message(point, 10));
        }
    }
    assert_eq!(running.keys(6).len(), 6);
    let counters = running.end();
    assert_eq!((counters.lost.read(), counters.restarts.read()), (0, 1));
}

#[test]
fn a_sender_does_without_a_receiver() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let mut output = Output::new(&path).unwrap();
    output.push(&mut message(1, 10));
    output.flush();
    assert_eq!((output.sent, output.lost, output.unheard), (0, 0, 1));
}

#[test]
fn the_file_is_ours_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("samples");
    let (first, ..) = bind(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    assert!(matches!(bind(&path), Err(Error::InUse(_))));
    // One that died leaves its file.
    let stale = directory.path().join("stale");
    drop(UnixDatagram::bind(&stale).unwrap());
    let (second, ..) = bind(&stale).unwrap();
    // Somebody else has put another in its place.
    fs::remove_file(&stale).unwrap();
    let _other = UnixDatagram::bind(&stale).unwrap();
    drop(second);
    assert!(stale.exists());
    drop(first);
    assert!(!path.exists());
    fs::write(&path, "a file").unwrap();
    assert!(matches!(bind(&path), Err(Error::NoSocket(_))));
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    let nowhere = directory.path().join("no/such/place");
    assert!(matches!(bind(&nowhere), Err(Error::Bind { .. })));
}
