//! The embedded store: how fast it takes connections in, and how soon it answers.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use netverdict_query::ask::{Answer, Ask, Groups, Measure, Order, Want};
use netverdict_query::{Field, parse};
use netverdict_store::{Batch, Store, StoreError};
use netverdict_store_parquet::{Options, ParquetStore};
use netverdict_types::Timestamp;

use netverdict_bench::connections::{Speakers, namespace};

/// Rows of a batch.
const BATCH: u64 = 8192;
/// Batches that wait for their acknowledgement at the same time.
const WAITING: usize = 16;
/// The end of the day that is asked about.
const END: i64 = 1_795_478_400_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

/// Rows to ask about.
pub fn rows() -> u64 {
    let rows = std::env::var("ROWS")
        .ok()
        .and_then(|rows| rows.parse().ok());
    rows.unwrap_or(10_000_000)
}

/// Connections a second into the log and memory, each batch on the disk before it is acknowledged.
pub fn append() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(directory.path());
    options.seal_rows = usize::MAX;
    let store = ParquetStore::open(options)?;
    let speakers = Speakers::default();
    let count = 2_000_000_u64.min(rows()) / BATCH;
    let batches: Vec<Batch> = (0..count)
        .map(|number| batch(&speakers, number, count))
        .collect();
    let (begin, busy) = (Instant::now(), processor());
    runtime()?.block_on(send(&store, batches.into_iter()))?;
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!("{seconds:.2} s, {:.2} s of a processor", processor() - busy);
    figure(
        "ingest_append",
        (count * BATCH) as f64 / seconds,
        "connections/s",
    );
    Ok(())
}

/// The same for a minute, with sealing, roll-ups and compaction.
pub fn sustained() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let store = ParquetStore::open(Options::new(directory.path()))?;
    let length = Duration::from_secs(
        std::env::var("SECONDS")
            .ok()
            .and_then(|it| it.parse().ok())
            .unwrap_or(60),
    );
    let (to, from) = std::sync::mpsc::sync_channel(32);
    let generator = std::thread::spawn(move || {
        let speakers = Speakers::default();
        for number in 0.. {
            // An hour takes 4.2 million rows, as in a cluster of 1,157 connections a second.
            if to
                .send(batch(&speakers, number, 100_000_000 / BATCH))
                .is_err()
            {
                break;
            }
        }
    });
    let begin = Instant::now();
    let sent = std::cell::Cell::new(0);
    let batches = std::iter::from_fn(|| {
        let batch = (begin.elapsed() < length)
            .then(|| from.recv().ok())
            .flatten()?;
        sent.set(sent.get() + batch.rows.len());
        Some(batch)
    });
    let runtime = runtime()?;
    runtime.block_on(send(&store, batches))?;
    let appended = begin.elapsed().as_secs_f64();
    runtime.block_on(store.settle())?;
    let settled = begin.elapsed().as_secs_f64();
    eprintln!("appended after {appended:.1} s, all sealed and joined after {settled:.1} s");
    figure(
        "ingest_sustained",
        sent.get() as f64 / settled,
        "connections/s",
    );
    drop(from);
    _ = generator.join();
    Ok(())
}

/// One figure of questions about a day; all are measured when the first is asked for.
pub fn question(name: &str) -> Result<()> {
    static FIGURES: OnceLock<Result<Figures, String>> = OnceLock::new();
    let figures = FIGURES.get_or_init(|| {
        // KEEP=DIRECTORY keeps what was filled for the next time.
        let kept = std::env::var_os("KEEP");
        let made = match kept {
            Some(directory) => ask_all(directory.as_ref()),
            None => tempfile::tempdir()
                .map_err(anyhow::Error::from)
                .and_then(|directory| ask_all(directory.path())),
        };
        made.map_err(|error| format!("{error:#}"))
    });
    let figures = figures.as_ref().map_err(|error| anyhow!("{error}"))?;
    for (known, value, unit) in figures {
        if *known == name {
            figure(known, *value, unit);
        }
    }
    Ok(())
}

/// Name, value and unit.
type Figures = Vec<(&'static str, f64, &'static str)>;

fn ask_all(directory: &Path) -> Result<Figures> {
    let store = ParquetStore::open(Options::new(directory))?;
    let runtime = runtime()?;
    let count = rows() / BATCH;
    let state = runtime.block_on(store.state())?;
    if state.rows == 0 {
        let (begin, busy) = (Instant::now(), processor());
        let speakers = Speakers::default();
        let batches = (0..count).map(|number| batch(&speakers, number, count));
        runtime.block_on(send(&store, batches))?;
        runtime.block_on(store.settle())?;
        eprintln!(
            "filled in {:.1} s, {:.1} s of a processor with making the rows",
            begin.elapsed().as_secs_f64(),
            processor() - busy
        );
    }
    let state = runtime.block_on(store.state())?;
    eprintln!("{} rows, {} bytes", state.rows, state.bytes);
    let mut figures = vec![(
        "bytes_per_row",
        state.bytes as f64 / state.rows as f64,
        "bytes",
    )];

    let filter = format!("namespace={} and verdict=dropped", namespace(17));
    let ask = Ask {
        since: Timestamp(END - HOUR),
        until: Timestamp(END),
        filter: parse(&filter)?.plan(Timestamp(END)),
        want: Want::Rows {
            limit: 100,
            after: None,
        },
    };
    let (answer, time) = timed(&runtime, || store.ask(&ask))?;
    eprintln!("{filter} in the last hour: {} rows", answer.lines.len());
    figures.push(("query_filter", time, "ms"));

    let ask = Ask {
        since: Timestamp(END - 24 * HOUR),
        until: Timestamp(END),
        filter: parse("")?.plan(Timestamp(END)),
        want: Want::Groups(Groups {
            by: vec![Field::OwnerNamespace, Field::OwnerName],
            every: None,
            measures: vec![Measure::Sum(Field::DroppedPackets)],
            order: Some((0, Order::Descending)),
            top: 20,
        }),
    };
    let (rolled, time) = timed(&runtime, || store.ask(&ask))?;
    figures.push(("query_top_rollup", time, "ms"));
    let (raw, time) = timed(&runtime, || store.ask_rows(&ask))?;
    figures.push(("query_top_raw", time, "ms"));
    if rolled != raw {
        bail!("roll-ups and rows give different answers");
    }
    Ok(figures)
}

/// The answer, and the median of the milliseconds that it took, the first time apart.
fn timed<F: Future<Output = Result<Answer, StoreError>>>(
    runtime: &tokio::runtime::Runtime,
    ask: impl Fn() -> F,
) -> Result<(Answer, f64)> {
    let begin = Instant::now();
    let answer = runtime.block_on(ask())?;
    eprintln!(
        "the first time {:.1} ms",
        begin.elapsed().as_secs_f64() * 1e3
    );
    let mut times = Vec::new();
    let busy = processor();
    for _ in 0..9 {
        let begin = Instant::now();
        runtime.block_on(ask())?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("{:.1} ms of a processor", (processor() - busy) / 9.0 * 1e3);
    times.sort_by(f64::total_cmp);
    Ok((answer, times[times.len() / 2]))
}

/// The batch of this number of so many, which span the day.
fn batch(speakers: &Speakers, number: u64, of: u64) -> Batch {
    let first = number * BATCH;
    let step = 24 * HOUR / (of * BATCH) as i64;
    Batch {
        writer: "bench".into(),
        number: number + 1,
        rows: (first..first + BATCH)
            .map(|row| speakers.row(row, Timestamp(END - 24 * HOUR + row as i64 * step)))
            .collect(),
    }
}

/// Appends batches, some at a time.
async fn send(store: &ParquetStore, batches: impl Iterator<Item = Batch>) -> Result<()> {
    let mut waiting = std::collections::VecDeque::new();
    for batch in batches {
        let mut append = store.append(batch);
        // It is on its way when it was asked once.
        if let std::task::Poll::Ready(done) = futures_util::poll!(&mut append) {
            done?;
            continue;
        }
        waiting.push_back(append);
        if waiting.len() >= WAITING
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.await?;
        }
    }
    for append in waiting {
        append.await?;
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}

/// Seconds of a processor that this process took: what counts on a busy machine (proc(5),
/// `/proc/pid/stat`, in hundredths of a second).
fn processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("bench {name} {value:.1} {unit}");
}
