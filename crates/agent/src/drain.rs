use std::time::Duration;

/// How long to wait until the kernel's maps are emptied again: the fuller they were, the sooner.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    wait: Duration,
}

/// Between these it moves.
const BOUNDS: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(500)];

impl Default for Interval {
    fn default() -> Self {
        Self {
            wait: BOUNDS[1] / 2,
        }
    }
}

impl Interval {
    /// How long to wait now.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// So many entries were there, where there is room for `room`; some found none if `spilled`. Aims at
    /// a quarter full: a burst four times as strong still finds room.
    pub fn drained(&mut self, entries: u64, room: u64, spilled: bool) {
        let quarter = (room / 4).max(1);
        let wanted = match () {
            () if spilled => self.wait / 4,
            () if entries == 0 => self.wait * 2,
            () => self
                .wait
                .mul_f64((quarter as f64 / entries as f64).clamp(0.25, 2.0)),
        };
        self.wait = wanted.clamp(BOUNDS[0], BOUNDS[1]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_steady_rate_is_met(rate in 1_u64..40_000_000, room in 1_000_u64..200_000) {
            let mut interval = Interval::default();
            let mut entries = 0;
            for _ in 0..40 {
                let came = (rate as f64 * interval.wait().as_secs_f64()) as u64;
                entries = came.min(room);
                interval.drained(entries, room, came > room);
                prop_assert!((BOUNDS[0]..=BOUNDS[1]).contains(&interval.wait()));
            }
            // Half full at most, unless it cannot come sooner; and no sooner than needed.
            let can = rate as f64 * BOUNDS[0].as_secs_f64() <= room as f64 / 4.0;
            prop_assert!(!can || entries <= room / 2, "{} {}", entries, room);
            let is_idle = (rate as f64) < room as f64 / 8.0;
            prop_assert!(!is_idle || interval.wait() == BOUNDS[1]);
        }
    }
}
