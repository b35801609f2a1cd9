//! The source `ebpf`: what the kernel adds up of samples, as samples.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use netverdict_agent::Interval;
use netverdict_ebpf::{Event, FlowCount, Options, Probe, Sink};
use netverdict_source::{Batch, Counts, Sender, Stop};
use netverdict_types::Sample;

/// What the kernel counted, as of the last drain.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<netverdict_ebpf::Counts>);

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.named().to_vec()
    }
}

/// Samples of the kernel that this machine's network namespace takes.
pub(crate) struct Ebpf {
    probe: Probe,
    /// Entries that the kernel has room for.
    room: u64,
    sender: Sender,
    counters: Arc<Counters>,
}

impl Ebpf {
    /// From now on the kernel counts.
    pub(crate) fn attach(
        options: &Options,
        sender: Sender,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        Ok(Self {
            probe: Probe::attach(options)?,
            room: u64::from(options.max_events),
            sender,
            counters,
        })
    }

    /// Sends sums until it is stopped or its reader is gone. When it is stopped, it sends what
    /// was counted until then.
    pub(crate) fn run(mut self, stop: &Stop) -> Result<()> {
        let Some(batch) = self.sender.batch() else {
            return Ok(());
        };
        let mut batches = Batches {
            batch,
            sender: self.sender,
            is_there: true,
        };
        let mut interval = Interval::default();
        loop {
            let wait = u16::try_from(interval.wait().as_millis()).unwrap_or(u16::MAX);
            let stopped = stop.wait_timeout(wait)?;
            let drained = self.probe.drain(&mut batches)?;
            interval.drained(drained.events, self.room, drained.spilled > 0);
            *self
                .counters
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = self.probe.counts()?;
            batches.flush();
            if stopped || !batches.is_there {
                return Ok(());
            }
        }
    }
}

struct Batches {
    batch: Batch,
    sender: Sender,
    /// False once the reader is gone.
    is_there: bool,
}

impl Batches {
    fn flush(&mut self) {
        self.is_there = self.is_there && self.sender.exchange(&mut self.batch);
    }
}

impl Sink for Batches {
    fn event(&mut self, sample: &Sample<'_>, _: &Event) {
        if self.is_there {
            self.batch.push(sample);
        }
        if self.batch.is_full() {
            self.flush();
        }
    }

    fn flow(&mut self, _: &FlowCount<'_>) {}
}
