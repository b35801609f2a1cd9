//! A NB of 100,000 ACLs on a real server: how long it takes to know it, and to see it change.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netverdict_history::{History, Limits, Role};
use netverdict_ovn::Database;
use netverdict_ovsdb::{
    ChangeSet, Client, Columns, Condition, Config, Connect, Connecting, Datum, Endpoint, Event,
    SystemConnect, Transaction,
};
use netverdict_types::{Timestamp, ZoneId};
use netverdict_verdict::Names;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::figure;
use crate::machine::{median, peak, process_time};
use crate::server::{Server, northbound};

const ACLS: usize = 100_000;
const ROUNDS: usize = 3;
const CHANGES: usize = 60;
/// The first argument of the process that is measured.
pub(crate) const CHILD: &str = "--load-northbound";

pub(crate) fn load() -> Result<()> {
    let server = Server::of(&northbound(ACLS)?)?;
    let directory = tempfile::tempdir()?;
    let requests = directory.path().join("requests");
    let mut loads = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..ROUNDS {
        let output = Command::new(std::env::current_exe()?)
            .arg(CHILD)
            .arg(server.endpoint())
            .arg(&requests)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
        let [cpu, wall, peak] = numbers[..] else {
            bail!("the child said {text:?}");
        };
        let alone = last_byte(&server.socket(), &requests)?.as_secs_f64() * 1e3;
        eprintln!(
            "nb_load_100000: own {cpu:.0} ms on a processor, {wall:.0} ms in all, {peak:.0} MiB at most; \
             the server's last byte after {alone:.0} ms"
        );
        loads.push((cpu, wall, peak));
        servers.push(alone);
    }
    eprintln!(
        "nb_load_100000: {ACLS} ACLs and as many Samples by a unix socket, into replica, history \
         and names, nothing kept from before; the server's time is that of a reader which asks \
         the same and looks at nothing"
    );
    let middle = |of: fn(&(f64, f64, f64)) -> f64| {
        median(&mut loads.iter().map(of).collect::<Vec<_>>()).unwrap_or_default()
    };
    let server = median(&mut servers).unwrap_or_default();
    figure(
        "nb_load_100000",
        format_args!("{:.0}", middle(|load| load.0)),
        "ms",
    );
    figure(
        "nb_load_100000_wall",
        format_args!("{:.0}", middle(|load| load.1)),
        "ms",
    );
    figure("nb_load_100000_server", format_args!("{server:.0}"), "ms");
    figure(
        "nb_load_100000_peak",
        format_args!("{:.0}", middle(|load| load.2)),
        "MiB",
    );
    Ok(())
}

/// The process that is measured: loads a NB, and prints its own milliseconds on a processor, all
/// milliseconds, and MiB.
pub(crate) fn child(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let endpoint = arguments.next().context("no endpoint")?;
    let requests = arguments.next().context("no file")?;
    let start = Instant::now();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let mut config = Config::new(
        endpoint.parse()?,
        Database::Northbound.name(),
        Database::Northbound.wanted(),
    );
    config.connect = Arc::new(Listen(asked.clone()));
    let mut zone = Zone::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut client = Client::new(config);
    runtime.block_on(async {
        loop {
            match client.next_event().await {
                Event::Changes(set) => return zone.apply(&set),
                Event::Disconnected(lost) => return Err(lost.error.into()),
                _ => {}
            }
        }
    })?;
    let (wall, cpu) = (start.elapsed(), process_time()?);
    let counts = zone.history.counts();
    ensure!(
        (counts.alive, counts.bad_rows) == (ACLS, 0),
        "not all rows came: {counts:?}"
    );
    println!(
        "{} {} {}",
        cpu.as_secs_f64() * 1e3,
        wall.as_secs_f64() * 1e3,
        peak()?
    );
    let asked = asked.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
    fs::write(requests, &*asked)?;
    Ok(())
}

pub(crate) fn change() -> Result<()> {
    let server = Server::of(&northbound(ACLS)?)?;
    let mut client = server.client(Database::Northbound)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut zone = Zone::new();
    let mut rows: Vec<(Uuid, Uuid)> = Vec::new();
    runtime.block_on(async {
        while rows.is_empty() {
            if let Event::Changes(set) = client.next_event().await {
                zone.apply(&set)?;
                let acls = set.changes.iter().filter(|change| &*change.table == "ACL");
                let sampled = acls.filter_map(|change| {
                    Some((change.uuid, change.new.as_ref()?.reference("sample_new")?))
                });
                rows = sampled.step_by(ACLS / CHANGES).collect();
            }
        }
        anyhow::Ok(())
    })?;
    let (seen, news) = mpsc::channel();
    let following = std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                if let Event::Changes(set) = client.next_event().await {
                    zone.apply(&set)?;
                    let sample = |change: &netverdict_ovsdb::Change| {
                        let new = change.new.as_ref()?;
                        u32::try_from(new.column("metadata")?.scalar()?.as_integer()?).ok()
                    };
                    let now = Timestamp(set.time);
                    let points = set.changes.iter().filter_map(sample);
                    let known = points.filter(|point| {
                        let mut holders =
                            zone.history.holders(zone.id, Role::New, *point, now, now);
                        holders.next().is_some()
                    });
                    for point in known {
                        if seen.send((point, Instant::now())).is_err() {
                            return anyhow::Ok(());
                        }
                    }
                }
            }
        })
    });
    let mut figures = Vec::new();
    let mut writer = UnixStream::connect(server.socket())?;
    for (number, (acl, sample)) in rows.into_iter().enumerate() {
        let point = 4_000_000_000 + number as u32;
        let mut transaction = Transaction::new();
        transaction.update(
            "ACL",
            [Condition::row(acl)],
            [("match", Datum::from(format!("ip4 && tcp.dst == {number}")))],
        );
        transaction.update(
            "Sample",
            [Condition::row(sample)],
            [("metadata", i64::from(point).into())],
        );
        let request = json!({
            "id": number,
            "method": "transact",
            "params": transaction.to_json(Database::Northbound.name()),
        });
        let request = request.to_string();
        let start = Instant::now();
        writer.write_all(request.as_bytes())?;
        let (known, when) = news.recv_timeout(Duration::from_secs(30))?;
        ensure!(known == point, "another change came");
        figures.push((when - start).as_secs_f64() * 1e3);
        // What the server answers is small; it must not fill its socket.
        let answer = writer.read(&mut [0; 4096])?;
        ensure!(answer > 0, "the server has gone");
    }
    drop((news, server));
    drop(following);
    let middle = median(&mut figures).unwrap_or_default();
    let last = figures.last().copied().unwrap_or_default();
    eprintln!(
        "nb_change: {} changes of an ACL and its Sample among {ACLS}, from the transaction's first \
         byte until its new point is known",
        figures.len()
    );
    figure("nb_change", format_args!("{middle:.2}"), "ms");
    figure("nb_change_max", format_args!("{last:.2}"), "ms");
    Ok(())
}

/// What a session keeps of a zone.
struct Zone {
    history: History,
    names: Names,
    id: ZoneId,
}

impl Zone {
    fn new() -> Self {
        let mut history = History::new(Limits::default());
        let id = history.zone("global");
        Self {
            history,
            names: Names::default(),
            id,
        }
    }

    fn apply(&mut self, set: &ChangeSet) -> Result<()> {
        self.names.apply(self.id, Database::Northbound, set);
        self.history.apply(self.id, set)?;
        Ok(())
    }
}

/// Asks what our client asked, and gives the time to the last byte of the answers.
fn last_byte(socket: &Path, requests: &Path) -> Result<Duration> {
    let mut asked = fs::read(requests)?;
    asked.extend(br#"{"id":"end","method":"echo","params":[]}"#);
    let start = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&asked)?;
    let mut buffer = vec![0; 1 << 18];
    let mut tail = Vec::new();
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the server has gone");
        tail.extend_from_slice(&buffer[count.saturating_sub(64)..count]);
        if tail.windows(10).any(|bytes| bytes == br#""id":"end""#) {
            return Ok(start.elapsed());
        }
        tail.drain(..tail.len().saturating_sub(64));
    }
}

/// Notes what is asked.
struct Listen(Arc<Mutex<Vec<u8>>>);

impl Connect for Listen {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        let connecting = SystemConnect::default().connect(endpoint);
        let asked = self.0.clone();
        Box::pin(async move {
            Ok(Box::new(Listened {
                stream: connecting.await?,
                asked,
            }) as _)
        })
    }
}

struct Listened {
    stream: Box<dyn netverdict_ovsdb::Stream>,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Listened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl AsyncWrite for Listened {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(task, bytes);
        if let (Poll::Ready(Ok(count)), Ok(mut asked)) = (&written, self.asked.lock()) {
            asked.extend_from_slice(&bytes[..*count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
