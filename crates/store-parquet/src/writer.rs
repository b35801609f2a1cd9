//! The thread that writes the log: many batches, one `fsync`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use netverdict_store::{Batch, StoreError};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::live::{Live, logs};
use crate::log::{Log, put};
use crate::names::Interner;
use crate::row::encode;
use crate::{ROOM, failed};

/// What the thread is asked to do.
pub(crate) enum Request {
    /// Keeps a batch.
    Append {
        batch: Batch,
        room: OwnedSemaphorePermit,
        done: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Seals all, and tells when it is done.
    Settle(oneshot::Sender<()>),
    Close,
}

/// Time between two calls of `fsync`, unless much waits.
const PAUSE: Duration = Duration::from_millis(100);
/// So many rows are much.
const MUCH: usize = ROOM / 4;
/// How long a full disk is left alone.
const RETRY: Duration = Duration::from_millis(250);

pub(crate) fn run(live: &Live, log: Log, inbox: &Receiver<Request>) {
    let mut writer = Writer {
        live,
        log,
        interner: Interner::default(),
        broken: false,
        oldest: None,
        synced: None,
    };
    let mut gathered = Gathered::default();
    loop {
        let deadline = match (gathered.appends.is_empty(), writer.synced, writer.oldest) {
            (false, Some(synced), _) => Some(synced + PAUSE),
            (false, None, _) => Some(Instant::now()),
            (true, _, oldest) => oldest.map(|oldest| oldest + live.options.seal_after),
        };
        let request = match deadline {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => inbox.recv_deadline(deadline),
        };
        match request {
            Ok(request) => gathered.take(request),
            Err(RecvTimeoutError::Disconnected) => gathered.close = true,
            Err(RecvTimeoutError::Timeout) if gathered.appends.is_empty() => writer.freeze(),
            Err(RecvTimeoutError::Timeout) => {
                inbox.try_iter().for_each(|it| gathered.take(it));
                writer.commit(&mut gathered, inbox);
            }
        }
        let settle = !gathered.settles.is_empty();
        if gathered.rows >= MUCH || settle || gathered.close {
            writer.commit(&mut gathered, inbox);
        }
        if settle {
            writer.settle(std::mem::take(&mut gathered.settles));
        }
        if gathered.close {
            return;
        }
    }
}

type Append = (
    Batch,
    OwnedSemaphorePermit,
    oneshot::Sender<Result<(), StoreError>>,
);

#[derive(Default)]
struct Gathered {
    appends: Vec<Append>,
    rows: usize,
    settles: Vec<oneshot::Sender<()>>,
    close: bool,
}

impl Gathered {
    fn take(&mut self, request: Request) {
        match request {
            Request::Append { batch, room, done } => {
                self.rows += batch.rows.len();
                self.appends.push((batch, room, done));
            }
            Request::Settle(done) => self.settles.push(done),
            Request::Close => self.close = true,
        }
    }
}

struct Writer<'a> {
    live: &'a Live,
    log: Log,
    interner: Interner,
    /// True where the log lacks names that the interner has.
    broken: bool,
    /// When the oldest row that is not sealed came.
    oldest: Option<Instant>,
    synced: Option<Instant>,
}

impl Writer<'_> {
    /// Writes what was gathered, and acknowledges it.
    fn commit(&mut self, gathered: &mut Gathered, inbox: &Receiver<Request>) {
        let appends = std::mem::take(&mut gathered.appends);
        gathered.rows = 0;
        if appends.is_empty() {
            return;
        }
        let result = self.write(&appends, gathered, inbox);
        if result.is_err() {
            self.broken = true;
        }
        self.synced = Some(Instant::now());
        for (_, room, done) in appends {
            drop(room);
            let told = match &result {
                Ok(()) => Ok(()),
                Err(why) => Err(why.clone().into()),
            };
            // Who waited for it may be gone.
            _ = done.send(told);
        }
        if self.live.lock().active.rows >= self.live.options.seal_rows {
            self.freeze();
        }
    }

    fn write(
        &mut self,
        appends: &[Append],
        gathered: &mut Gathered,
        inbox: &Receiver<Request>,
    ) -> Result<(), Why> {
        if self.broken {
            self.freeze_now()
                .map_err(|error| Why::io(&self.log, error))?;
            self.broken = false;
        }
        let mut writers: Vec<(String, u64)> = Vec::new();
        let mut rows = Vec::new();
        {
            let inner = self.live.lock();
            for (batch, ..) in appends {
                let here = writers
                    .iter()
                    .rev()
                    .find(|(writer, _)| *writer == batch.writer);
                let last = match here {
                    Some((_, number)) => Some(*number),
                    None => inner.last(&batch.writer),
                };
                if last.is_none_or(|last| batch.number > last) {
                    writers.push((batch.writer.clone(), batch.number));
                    rows.push(&batch.rows);
                }
            }
        }
        if writers.is_empty() {
            return Ok(());
        }
        let rows = Flat {
            left: rows.iter().map(|rows| rows.len()).sum(),
            rows: rows.into_iter().flatten(),
        };
        let batch = encode(&mut self.interner, rows).map_err(|error| Why(error.to_string()))?;
        let names = self
            .interner
            .added()
            .map_err(|error| Why(error.to_string()))?;
        let mut record = Vec::with_capacity(batch.num_rows() * 256 + names.len() + 64);
        put(&mut record, &writers, &names, &batch);
        self.keep(&record, gathered, inbox)?;
        let mut inner = self.live.lock();
        let active = &mut inner.active;
        active.note(&batch, &writers);
        active.bytes = self.log.length();
        if !names.is_empty() {
            active.names = Arc::new(self.interner.names.clone());
        }
        if batch.num_rows() > 0 {
            active.batches.push(batch);
        }
        drop(inner);
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Writes a record; waits while the disk is full.
    fn keep(
        &mut self,
        record: &[u8],
        gathered: &mut Gathered,
        inbox: &Receiver<Request>,
    ) -> Result<(), Why> {
        loop {
            let error = match self.log.append(record) {
                Ok(()) => break,
                Err(error) if is_full(&error) => error,
                Err(error) => return Err(Why::io(&self.log, error)),
            };
            let why = format!(
                "the disk of {} is full: appends wait ({error})",
                self.log.path().display()
            );
            if self.live.lock().blocked.replace(why.clone()).is_none() {
                tracing::error!("{why}");
            }
            let retry = Instant::now() + RETRY;
            while let Ok(request) = inbox.recv_deadline(retry) {
                gathered.take(request);
            }
            if gathered.close {
                return Err(Why(why));
            }
        }
        if self.live.lock().blocked.take().is_some() {
            tracing::info!("there is room on the disk again: appends go on");
        }
        Ok(())
    }

    /// Hands what is in memory to the sealing thread; waits until that can take it.
    fn freeze(&mut self) {
        self.oldest = None;
        if self.live.lock().active.rows == 0 {
            return;
        }
        if let Err(error) = self.freeze_now() {
            // The log that is there goes on.
            tracing::warn!(%error, "no new log can be made: rows stay in memory");
            self.oldest = Some(Instant::now());
        }
    }

    fn freeze_now(&mut self) -> io::Result<()> {
        let mut inner = self.live.lock();
        while inner.sealing.is_some() && !inner.closing {
            inner = self.live.wait(inner);
        }
        if inner.sealing.is_some() {
            return Err(io::Error::other("the store is closing"));
        }
        let number = inner.manifest.number();
        drop(inner);
        self.log = Log::create(&logs(&self.live.options.directory), number)?;
        self.interner = Interner::default();
        let mut inner = self.live.lock();
        let frozen = std::mem::take(&mut inner.active);
        inner.sealing = Some(Arc::new(frozen));
        inner.sealed_log = number;
        drop(inner);
        self.live.changed.notify_all();
        Ok(())
    }

    fn settle(&mut self, dones: Vec<oneshot::Sender<()>>) {
        self.freeze();
        let mut inner = self.live.lock();
        inner.settling.0 += 1;
        let wanted = inner.settling.0;
        self.live.changed.notify_all();
        while inner.settling.1 < wanted && !inner.closing {
            inner = self.live.wait(inner);
        }
        drop(inner);
        for done in dones {
            _ = done.send(());
        }
    }
}

/// Rows of several batches.
struct Flat<I> {
    left: usize,
    rows: I,
}

impl<I: Iterator> Iterator for Flat<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.rows.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Why a batch was not kept, told to all that wait.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Why(String);

impl Why {
    fn io(log: &Log, error: io::Error) -> Self {
        Self(format!("cannot write {}: {error}", log.path().display()))
    }
}

impl From<Why> for StoreError {
    fn from(why: Why) -> Self {
        failed("cannot keep the batch", why)
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
