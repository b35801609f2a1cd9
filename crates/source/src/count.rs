use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that a source raises while others read it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Adds `number`.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Sets it, for a counter that somebody else keeps, such as the kernel.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Its state.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a source counts: how much it gave, left out and lost, by place.
pub trait Counts: Send + Sync {
    /// Each counter's name and state. Names are the same in every version: they go into captures
    /// and metrics.
    fn counts(&self) -> Vec<(&'static str, u64)>;
}
