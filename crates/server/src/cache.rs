use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

/// What was asked of somebody else, for a while. Who asks for the same at the same time waits for
/// one answer.
pub(crate) struct Cache<K, V> {
    /// Answers that are kept.
    most: usize,
    entries: Mutex<HashMap<K, Entry<V>>>,
}

struct Entry<V> {
    asked: Instant,
    answer: Arc<OnceCell<V>>,
}

/// How long an answer is good, and which go first where there is no room.
pub(crate) trait Keep {
    /// True for answers that are worth keeping.
    fn is_good(&self) -> bool;
}

impl<T> Keep for Option<T> {
    fn is_good(&self) -> bool {
        self.is_some()
    }
}

/// How long good answers are used.
pub(crate) const GOOD: Duration = Duration::from_secs(60);
/// How long all others are.
pub(crate) const BAD: Duration = Duration::from_secs(15);

impl<K: Clone + Eq + Hash, V: Clone + Keep> Cache<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            entries: Mutex::default(),
        }
    }

    /// True where an answer is there, and not too old.
    pub(crate) fn has(&self, key: &K, now: Instant) -> bool {
        let entries = self.entries();
        entries
            .get(key)
            .is_some_and(|entry| entry.answer.initialized() && entry.is_fresh(now))
    }

    /// The answer, asked for where it is not there. A failure is not kept.
    pub(crate) async fn answer<E>(
        &self,
        key: K,
        now: Instant,
        ask: impl AsyncFnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        let answer = self.place(key, now);
        answer.get_or_try_init(|| ask()).await.cloned()
    }

    fn place(&self, key: K, now: Instant) -> Arc<OnceCell<V>> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&key).filter(|entry| entry.is_fresh(now)) {
            return entry.answer.clone();
        }
        if entries.len() >= self.most {
            entries.retain(|_, entry| entry.is_fresh(now));
        }
        if entries.len() >= self.most {
            // Who sends nonsense by the thousand pushes out nonsense.
            let oldest = entries
                .iter()
                .min_by_key(|(_, it)| (it.is_good(), it.asked));
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| entries.remove(&key));
        }
        let entry = Entry {
            asked: now,
            answer: Arc::default(),
        };
        let answer = entry.answer.clone();
        entries.insert(key, entry);
        answer
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<K, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Keep> Entry<V> {
    fn is_good(&self) -> bool {
        self.answer.get().is_some_and(Keep::is_good)
    }

    /// Counted from the question, as what is true may change while the answer is on its way. Of
    /// one that did not come yet the time does not matter: whoever waits asks anew.
    fn is_fresh(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.asked);
        match self.answer.get() {
            None => age < BAD,
            Some(answer) if answer.is_good() => age < GOOD,
            Some(_) => age < BAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cache: &Cache<u32, Option<u32>>, key: u32, now: Instant, answer: Option<u32>) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let mut was_asked = false;
        let told = runtime.map(|runtime| {
            runtime.block_on(cache.answer(key, now, async || {
                was_asked = true;
                Ok::<_, ()>(answer)
            }))
        });
        assert!(matches!(told, Ok(Ok(_))));
        was_asked
    }

    #[test]
    fn answers_are_kept_for_a_while() {
        let cache = Cache::new(10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(asked(&cache, 1, at(0), Some(1)));
        assert!(asked(&cache, 2, at(0), None));
        assert!(!asked(&cache, 1, at(59), None));
        assert!(!asked(&cache, 2, at(14), Some(2)));
        assert!(asked(&cache, 2, at(15), Some(2)));
        assert!(asked(&cache, 1, at(60), None));
        assert!(asked(&cache, 1, at(75), None));
    }

    #[test]
    fn nonsense_does_not_push_out_what_is_known() {
        let cache = Cache::new(10);
        let now = Instant::now();
        for key in 0..5 {
            asked(&cache, key, now, Some(key));
        }
        for key in 100..1_000 {
            assert!(asked(&cache, key, now, None));
            assert!(cache.entries().len() <= 10);
        }
        assert!((0..5).all(|key| cache.has(&key, now)));
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache: Cache<u32, Option<u32>> = Cache::new(10);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let now = Instant::now();
        let failed = runtime.map(|it| it.block_on(cache.answer(1, now, async || Err("away"))));
        assert!(matches!(failed, Ok(Err("away"))));
        assert!(!cache.has(&1, now));
        assert!(asked(&cache, 1, now, Some(1)));
    }
}
