//! How many samples a second come through each transport without a loss, and what a sample costs: psample messages over a Unix socket, several and
//! one to a datagram, and IPFIX over UDP, all on this machine, sender and receiver in one process, a packet of 100 bytes each.
//!
//! `cargo run --release -p netverdict-source --example bench_transport`; one line a figure, `bench NAME VALUE UNIT`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::unwrap_used
)]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use netverdict_source::{Counts, Receiver, Sender, Stop, channel, ipfix, psample_unix};
use netverdict_types::{SystemClock, Timestamp};
use netverdict_wire::headers::parse_frame;
use netverdict_wire::ipfix::{CacheOptions, CachingExporter, Interface, Record};
use netverdict_wire::psample::{Message, encode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    for (name, start) in [
        ("psample_unix", psample as fn() -> Result<Transport>),
        ("psample_unix_single", single),
        ("ipfix_udp", ipfix),
    ] {
        let (mut good, mut cost, mut rate) = (0, 0.0, FIRST);
        while rate <= LAST {
            let run = hold(start()?, rate)?;
            eprintln!(
                "{name}: {} samples/s asked, {} sent, {} lost, {:.2} us of processor time a sample",
                rate, run.reached, run.lost, run.cost
            );
            if run.lost > 0 || run.reached < rate * 9 / 10 {
                break;
            }
            (good, cost) = (run.reached, run.cost);
            rate = rate * 5 / 4;
        }
        println!("bench {name} {good} samples/s");
        println!("bench {name}_cost {cost:.2} us/sample");
    }
    Ok(())
}

struct Run {
    reached: u64,
    lost: u64,
    cost: f64,
}

struct Transport {
    receiver: Receiver,
    counts: Arc<dyn Counts>,
    stop: Stop,
    thread: thread::JoinHandle<()>,
    /// Sends a sample, or what is kept where there is none.
    send: Box<dyn FnMut(Option<u64>)>,
}

/// Sends at a rate for some seconds.
fn hold(transport: Transport, rate: u64) -> Result<Run> {
    let Transport {
        receiver,
        counts,
        stop,
        thread,
        mut send,
    } = transport;
    let reader = thread::spawn(move || {
        let mut came = 0;
        while let Some(batch) = receiver.recv() {
            came += batch.len() as u64;
            receiver.give_back(batch);
        }
        came
    });
    let before = processor()?;
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < HOLD {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            send(Some(sent));
            sent += 1;
        }
        send(None);
        thread::sleep(Duration::from_micros(200));
    }
    let reached = (sent as f64 / start.elapsed().as_secs_f64()) as u64;
    thread::sleep(Duration::from_millis(200));
    let used = processor()? - before;
    stop.stop();
    thread.join().map_err(|_| "the source panicked")?;
    let came = reader.join().map_err(|_| "the reader panicked")?;
    let counted = counts.counts().iter().any(|(_, count)| *count >= came);
    assert!(counted, "the source counts what came");
    Ok(Run {
        reached,
        lost: sent.saturating_sub(came),
        cost: used.as_secs_f64() * 1e6 / sent as f64,
    })
}

fn psample() -> Result<Transport> {
    over_unix(false)
}

fn single() -> Result<Transport> {
    over_unix(true)
}

fn over_unix(single: bool) -> Result<Transport> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("samples");
    let (sender, receiver, stop) = ends()?;
    let counters = Arc::new(psample_unix::Counters::default());
    let options = psample_unix::Options::new(&path);
    let clock = Arc::new(SystemClock);
    let source = psample_unix::PsampleUnix::bind(&options, clock, sender, counters.clone())?;
    let mut output = psample_unix::Output::new(&path)?;
    let mut message = Vec::new();
    let frame = frame();
    let send = move |number: Option<u64>| {
        // It lives as long as the sender.
        let _ = &directory;
        let Some(number) = number else {
            return output.flush();
        };
        message.clear();
        encode(
            &Message {
                family: 16,
                in_index: Some(4),
                original_size: Some(frame.len() as u32),
                group: Some(10),
                sequence: Some(0),
                rate: Some(u32::MAX),
                data: Some(&frame),
                timestamp: Some(number),
                ethertype: Some(0x0800),
                cookie: Some(&[2, 0, 0, 1, 0, 0, 0, 7]),
                probability: true,
                ..Message::default()
            },
            &mut message,
        );
        output.push(&mut message);
        if single {
            output.flush();
        }
    };
    Ok(Transport {
        receiver,
        counts: counters,
        thread: {
            let stop = stop.clone();
            thread::spawn(move || source.run(&stop).unwrap())
        },
        stop,
        send: Box::new(send),
    })
}

fn ipfix() -> Result<Transport> {
    let (sender, receiver, stop) = ends()?;
    let counters = Arc::new(ipfix::Counters::default());
    let options = ipfix::Options::new(([127, 0, 0, 1], 0).into());
    let source = ipfix::Ipfix::bind(&options, Arc::new(SystemClock), sender, counters.clone())?;
    let output = ipfix::Output::new(source.address().ok_or("no address")?)?;
    // No sample of its own for the statistics.
    let mut exporter = CachingExporter::new(CacheOptions::default());
    let frame = frame();
    let send = move |number: Option<u64>| {
        let Some(number) = number else { return };
        let record = Record {
            domain: 0x0200_0001,
            point: 7,
            headers: parse_frame(&frame),
            frame_length: frame.len() as u16,
            input: Interface {
                index: 4,
                kind: 0,
                name: "0123456789abcde",
                description: "",
            },
            output: None,
            tunnel: None,
            vlan_priority: 0,
            tos: 0,
            flow_label: 0,
            time: Timestamp(1_795_400_180_000_000_000 + number as i64),
            packet_delta: 1,
            dropped: false,
        };
        exporter.sample(&record, |message| output.send(message));
    };
    Ok(Transport {
        receiver,
        counts: counters,
        thread: {
            let stop = stop.clone();
            thread::spawn(move || source.run(&stop).unwrap())
        },
        stop,
        send: Box::new(send),
    })
}

fn ends() -> Result<(Sender, Receiver, Stop)> {
    let (sender, receiver) = channel(16);
    Ok((sender, receiver, Stop::new()?))
}

/// A TCP packet of 100 bytes.
fn frame() -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(40_000, 80, 1, 1_000)
        .write(&mut frame, &[0; 46])
        .unwrap();
    frame
}

/// Processor time of this process so far (proc_pid_stat(5)), in steps of 10 ms.
fn processor() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || -> Result<u64> { Ok(fields.next().ok_or("no time")?.parse()?) };
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

const HOLD: Duration = Duration::from_secs(2);
const FIRST: u64 = 50_000;
const LAST: u64 = 4_000_000;
