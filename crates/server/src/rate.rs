use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How often one who asks may ask: so many times a second, and twice as many at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    left: Mutex<HashMap<Key, Left>>,
}

/// Who is counted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Key {
    /// Somebody known, wherever they ask from.
    Subject(String),
    /// Somebody unknown.
    Address(Option<IpAddr>),
    /// All for whom there is no room.
    Others,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    requests: f64,
    at: Instant,
}

/// Those who are remembered.
const MOST: usize = 10_000;

impl Key {
    /// Somebody unknown; of IPv6 all that have one network, as each has addresses without number.
    pub(crate) fn address(address: Option<IpAddr>) -> Self {
        Self::Address(address.map(|address| match address.to_canonical() {
            IpAddr::V6(long) => {
                let network = u128::from(long) & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            short => short,
        }))
    }
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            left: Mutex::default(),
        }
    }

    /// True where they may ask now.
    pub(crate) fn take(&self, key: Key, now: Instant) -> bool {
        let most = 2.0 * self.per_second;
        let by_now = |left: &Left| {
            let time = now.saturating_duration_since(left.at).as_secs_f64();
            (left.requests + time * self.per_second).min(most)
        };
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&key) {
            // Who may ask as much as one who was never there need not be remembered.
            all.retain(|_, left| by_now(left) < most);
        }
        let key = match all.len() >= MOST && !all.contains_key(&key) {
            true => Key::Others,
            false => key,
        };
        let left = all.entry(key).or_insert(Left {
            requests: most,
            at: now,
        });
        let requests = by_now(left);
        let may = requests >= 1.0;
        *left = Left {
            requests: if may { requests - 1.0 } else { requests },
            at: now,
        };
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everybody_has_their_own() {
        let rate = Rate::new(2);
        let start = Instant::now();
        let take = |name: &str, after| {
            rate.take(
                Key::Subject(name.to_owned()),
                start + Duration::from_millis(after),
            )
        };
        assert!((0..4).all(|_| take("a", 0)));
        assert!(!take("a", 0));
        assert!(take("b", 0));
        assert!(!take("a", 499));
        assert!(take("a", 500));
        assert!(!take("a", 500));
    }

    #[test]
    fn few_are_remembered() {
        let rate = Rate::new(1);
        let now = Instant::now();
        for number in 0..2 * MOST {
            rate.take(Key::Subject(number.to_string()), now);
        }
        assert!(rate.left.lock().is_ok_and(|all| all.len() <= MOST + 1));
        assert!(!rate.take(Key::Subject("new".to_owned()), now));
        assert!(rate.take(Key::Subject("new".to_owned()), now + Duration::from_secs(9)));
    }
}
