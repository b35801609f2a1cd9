/// Which reports of a node came already, though they come out of order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reports {
    last: Option<u64>,
    /// Bit `n` for the report `last - n`.
    seen: [u64; Reports::SPAN as usize / 64],
}

/// What a report's number tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Report {
    New,
    Repeated,
    /// So old that nobody remembers.
    Old,
}

impl Reports {
    pub(crate) const SPAN: u64 = 256;

    pub(crate) fn take(&mut self, number: u64) -> Report {
        let Some(last) = self.last else {
            self.last = Some(number);
            self.seen[0] = 1;
            return Report::New;
        };
        if number > last {
            self.shift(number - last);
            self.last = Some(number);
        }
        let age = number.max(last) - number;
        if age >= Self::SPAN {
            return Report::Old;
        }
        let word = &mut self.seen[age as usize / 64];
        let bit = 1 << (age % 64);
        if *word & bit != 0 {
            return Report::Repeated;
        }
        *word |= bit;
        Report::New
    }

    fn shift(&mut self, by: u64) {
        let old = self.seen;
        let (words, bits) = ((by / 64) as usize, by % 64);
        for (place, word) in self.seen.iter_mut().enumerate() {
            let of =
                |place: Option<usize>| place.and_then(|place| old.get(place)).copied().unwrap_or(0);
            let here = place.checked_sub(words);
            let below = here.and_then(|here| here.checked_sub(1));
            *word = of(here) << bits;
            if bits > 0 {
                *word |= of(below) >> (64 - bits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_numbers_says_the_same(steps in vec((0..400_u64, any::<bool>()), 1..300)) {
            let mut reports = Reports::default();
            let mut all = BTreeSet::new();
            let mut base = 1_000;
            for (step, forward) in steps {
                let number = match forward {
                    true => base + step % 80,
                    false => base - step,
                };
                base = base.max(number);
                let wanted = match () {
                    () if base - number >= Reports::SPAN && !all.is_empty() => Report::Old,
                    () if !all.insert(number) => Report::Repeated,
                    () => Report::New,
                };
                // The first tells where numbers begin.
                if all.len() == 1 && wanted == Report::New {
                    base = number;
                }
                prop_assert_eq!(reports.take(number), wanted);
            }
        }
    }
}
