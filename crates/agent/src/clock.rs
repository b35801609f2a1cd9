use std::collections::VecDeque;

/// By how much this clock is ahead of another, measured by pings (RFC 5905, section 8).
#[derive(Clone, Debug, Default)]
pub struct Offset {
    /// How far ahead, and how long the ping took: of the last few.
    seen: VecDeque<(i64, i64)>,
}

/// A clock runs away from another by less than 1 ms in the time of so many pings.
const LAST: usize = 8;

impl Offset {
    /// A ping went at `sent` and was answered at `back` by this clock; it came to the other side
    /// at `came`, and its answer went at `went`, by the other clock.
    pub fn ping(&mut self, sent: i64, came: i64, went: i64, back: i64) {
        let way = back
            .saturating_sub(sent)
            .saturating_sub(went.saturating_sub(came));
        let ahead = i128::from(sent) - i128::from(came) + i128::from(back) - i128::from(went);
        let Ok(ahead) = i64::try_from(ahead / 2) else {
            return;
        };
        if self.seen.len() == LAST {
            self.seen.pop_front();
        }
        self.seen.push_back((ahead, way));
    }

    /// The best measure: that of the ping that took least. It is wrong by half of its way at most.
    pub fn ahead(&self) -> Option<i64> {
        let best = self.seen.iter().min_by_key(|(_, way)| *way);
        best.map(|(ahead, _)| *ahead)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_wrong_by_half_a_way_at_most(
            ahead in -1_000_000_000_i64..1_000_000_000,
            pings in proptest::collection::vec((0..50_000_000_i64, 0..50_000_000_i64, 0..1_000_000_i64), 1..20),
        ) {
            let mut offset = Offset::default();
            let mut theirs = 0_i64;
            for (there, home, held) in &pings {
                let (came, went) = (theirs + there, theirs + there + held);
                offset.ping(theirs + ahead, came, went, went + home + ahead);
                theirs += 10_000_000_000;
            }
            let least = pings.iter().rev().take(LAST).map(|(there, home, _)| there + home).min().unwrap_or(0);
            let found = offset.ahead().unwrap_or(i64::MAX);
            prop_assert!((found - ahead).abs() <= least / 2 + 1, "{found} {ahead} {least}");
        }
    }
}
