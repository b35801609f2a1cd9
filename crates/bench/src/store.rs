//! The embedded store: how fast it takes connections in, and how soon it answers.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use netverdict_query::ask::{Answer, Ask, Groups, Measure, Order, Want};
use netverdict_query::{Field, parse};
use netverdict_store::{Batch, Store, StoreError};
use netverdict_store_clickhouse::ClickHouseStore;
use netverdict_store_parquet::{Options, ParquetStore};
use netverdict_types::Timestamp;

use netverdict_bench::connections::{Speakers, namespace};

use crate::chdb::Chdb;

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
    let (begin, busy) = (Instant::now(), processor());
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
    eprintln!(
        "appended after {appended:.1} s, all sealed and joined after {settled:.1} s, {:.1} s of a \
         processor with making the rows",
        processor() - busy
    );
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
    let figures = EMBEDDED.get_or_init(|| {
        // KEEP=DIRECTORY keeps what was filled for the next time.
        let kept = std::env::var_os("KEEP");
        let made = match kept {
            Some(directory) => ask_embedded(directory.as_ref()),
            None => tempfile::tempdir()
                .map_err(anyhow::Error::from)
                .and_then(|directory| ask_embedded(directory.path())),
        };
        made.map_err(|error| format!("{error:#}"))
    });
    let figures = figures.as_ref().map_err(|error| anyhow!("{error}"))?;
    figures.print(name);
    Ok(())
}

static EMBEDDED: OnceLock<Result<Figures, String>> = OnceLock::new();

/// The same data and questions for ClickHouse's engine; all are measured when the first is asked
/// for.
pub fn chdb_question(name: &str) -> Result<()> {
    static FIGURES: OnceLock<Result<Option<Figures>, String>> = OnceLock::new();
    let figures = FIGURES.get_or_init(|| ask_chdb().map_err(|error| format!("{error:#}")));
    match figures.as_ref().map_err(|error| anyhow!("{error}"))? {
        Some(figures) => figures.print(name),
        None => {
            eprintln!("{name} is left out: chdb is missing, scripts/setup makes its environment")
        }
    }
    Ok(())
}

/// Figures by name, value and unit, and what was answered.
struct Figures {
    all: Vec<(String, f64, &'static str)>,
    answers: Vec<Answer>,
}

impl Figures {
    fn print(&self, name: &str) {
        for (known, value, unit) in &self.all {
            let rest = known.strip_prefix(name);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
                figure(known, *value, unit);
            }
        }
    }
}

/// Both stores also answer from rows alone.
trait FromRows: Store {
    fn raw(&self, ask: &Ask) -> impl Future<Output = Result<Answer, StoreError>>;
}

impl FromRows for ParquetStore {
    fn raw(&self, ask: &Ask) -> impl Future<Output = Result<Answer, StoreError>> {
        self.ask_rows(ask)
    }
}

impl FromRows for ClickHouseStore {
    fn raw(&self, ask: &Ask) -> impl Future<Output = Result<Answer, StoreError>> {
        self.ask_rows(ask)
    }
}

fn ask_embedded(directory: &Path) -> Result<Figures> {
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
    ask_all(&runtime, &store, "")
}

/// `None` where chdb is missing.
fn ask_chdb() -> Result<Option<Figures>> {
    let Some(engine) = Chdb::start()? else {
        return Ok(None);
    };
    // Its client waits for sockets and timers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let store = runtime.block_on(ClickHouseStore::open(engine.options()))?;
    let speakers = Speakers::default();
    // The rows that the other store has, in inserts as large as ClickHouse likes them.
    let (count, joined) = (rows() / BATCH, 16);
    let begin = Instant::now();
    let mut appended = Duration::ZERO;
    for number in 0..count.div_ceil(joined) {
        let batches = number * joined..count.min((number + 1) * joined);
        let rows = batches.flat_map(|it| batch(&speakers, it, count).rows);
        let batch = Batch {
            writer: "bench".into(),
            number: number + 1,
            rows: rows.collect(),
        };
        let begin = Instant::now();
        runtime.block_on(store.append(batch))?;
        appended += begin.elapsed();
    }
    eprintln!(
        "ClickHouse filled in {:.1} s with making the rows",
        begin.elapsed().as_secs_f64()
    );
    engine.settle()?;
    let mut figures = ask_all(&runtime, &store, "chdb_")?;
    figures.all.push((
        "chdb_ingest".into(),
        (count * BATCH) as f64 / appended.as_secs_f64(),
        "connections/s",
    ));
    if let Some(Ok(embedded)) = EMBEDDED.get()
        && embedded.answers != figures.answers
    {
        bail!("ClickHouse and the embedded store give different answers");
    }
    Ok(Some(figures))
}

fn ask_all(
    runtime: &tokio::runtime::Runtime,
    store: &impl FromRows,
    prefix: &str,
) -> Result<Figures> {
    let state = runtime.block_on(store.state())?;
    eprintln!("{} rows, {} bytes", state.rows, state.bytes);
    let mut all = Vec::new();
    let mut tell = |name: &str, value, unit| all.push((format!("{prefix}{name}"), value, unit));
    tell(
        "bytes_per_row",
        state.bytes as f64 / state.rows as f64,
        "bytes",
    );

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
    let (found, _, time) = timed(runtime, || store.ask(&ask))?;
    eprintln!("{filter} in the last hour: {} rows", found.lines.len());
    tell("query_filter", time, "ms");

    let top = |field| -> Result<Ask> {
        Ok(Ask {
            since: Timestamp(END - 24 * HOUR),
            until: Timestamp(END),
            filter: parse("")?.plan(Timestamp(END)),
            want: Want::Groups(Groups {
                by: vec![Field::OwnerNamespace, Field::OwnerName],
                every: None,
                measures: vec![Measure::Sum(field)],
                order: Some((0, Order::Descending)),
                top: 20,
            }),
        })
    };
    let ask = top(Field::DroppedPackets)?;
    let (rolled, first, time) = timed(runtime, || store.ask(&ask))?;
    tell("query_top_rollup", time, "ms");
    tell("query_top_rollup_first", first, "ms");
    // Segments are open now, and nobody has asked this yet.
    let other = top(Field::DroppedBytes)?;
    let (_, first, _) = timed(runtime, || store.ask(&other))?;
    tell("query_top_rollup_other", first, "ms");
    let (raw, _, time) = timed(runtime, || store.raw(&ask))?;
    tell("query_top_raw", time, "ms");
    if rolled != raw {
        bail!("roll-ups and rows give different answers");
    }
    Ok(Figures {
        all,
        answers: vec![found, rolled],
    })
}

/// The answer, the milliseconds that it took the first time, and the median of those of up to nine
/// more, as many as fit into ten seconds.
fn timed<F: Future<Output = Result<Answer, StoreError>>>(
    runtime: &tokio::runtime::Runtime,
    ask: impl Fn() -> F,
) -> Result<(Answer, f64, f64)> {
    let begin = Instant::now();
    let answer = runtime.block_on(ask())?;
    let first = begin.elapsed().as_secs_f64() * 1e3;
    eprintln!("the first time {first:.1} ms");
    let mut times = Vec::new();
    let (all, busy) = (Instant::now(), processor());
    while times.len() < 9 && (times.is_empty() || all.elapsed() < Duration::from_secs(10)) {
        let begin = Instant::now();
        runtime.block_on(ask())?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let busy = (processor() - busy) / times.len() as f64;
    eprintln!("{:.1} ms of a processor", busy * 1e3);
    times.sort_by(f64::total_cmp);
    Ok((answer, first, times[times.len() / 2]))
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
