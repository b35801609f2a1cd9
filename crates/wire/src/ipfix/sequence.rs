/// Follows the sequence numbers of one exporter.
///
/// Open vSwitch counts data messages over all domains of an exporter, from 1; a message of
/// templates carries the number of the next data message. (RFC 7011 section 3.1 counts records
/// per domain; with one record a message the step is the same.)
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    next: Option<u32>,
    /// Bit n: the message numbered `next - 1 - n` was seen.
    seen: u64,
}

/// What a sequence number tells.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Step {
    /// So many messages are missing before this one.
    pub(super) lost: u32,
    /// This message was counted as lost before: it came late.
    pub(super) late: bool,
    /// This message came before.
    pub(super) repeated: bool,
    /// The exporter began to count anew.
    pub(super) restarted: bool,
}

impl Sequence {
    pub(super) fn advance(&mut self, number: u32, has_data: bool) -> Step {
        let mut step = Step::default();
        let Some(next) = self.next else {
            self.start(number, has_data);
            return step;
        };
        let ahead = number.wrapping_sub(next);
        let behind = next.wrapping_sub(number);
        if ahead < FARTHEST {
            step.lost = ahead;
            self.shift(ahead, has_data);
            self.next = Some(number.wrapping_add(u32::from(has_data)));
        } else if (1..=WINDOW).contains(&behind) && !(has_data && self.starts_anew(number, behind))
        {
            if has_data {
                let bit = 1u64 << (behind - 1);
                step.late = self.seen & bit == 0;
                step.repeated = !step.late;
                self.seen |= bit;
            }
        } else {
            step.restarted = true;
            self.start(number, has_data);
        }
        step
    }

    /// The first number of all, although it was there before, and not just now.
    fn starts_anew(&self, number: u32, behind: u32) -> bool {
        number <= FIRST && behind > 1 && self.seen & (1 << (behind - 1)) != 0
    }

    fn start(&mut self, number: u32, has_data: bool) {
        // What was before is not known, and so not lost.
        self.seen = u64::MAX;
        self.next = Some(number.wrapping_add(u32::from(has_data)));
    }

    fn shift(&mut self, missing: u32, has_data: bool) {
        let steps = missing.saturating_add(u32::from(has_data));
        self.seen = self.seen.checked_shl(steps).unwrap_or(0) | u64::from(has_data);
    }
}

/// Messages that may overtake each other.
const WINDOW: u32 = 64;
/// A jump of more than this is a restart, not a loss.
const FARTHEST: u32 = 1 << 28;
/// Where Open vSwitch begins to count.
const FIRST: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(numbers: &[(u32, bool)]) -> Vec<Step> {
        let mut sequence = Sequence::default();
        numbers
            .iter()
            .map(|(number, data)| sequence.advance(*number, *data))
            .collect()
    }

    fn lost(lost: u32) -> Step {
        Step {
            lost,
            ..Step::default()
        }
    }

    #[test]
    fn templates_do_not_count() {
        let steps = run(&[
            (6, false),
            (6, false),
            (6, true),
            (7, true),
            (8, false),
            (8, true),
        ]);
        assert_eq!(steps, vec![Step::default(); 6]);
    }

    #[test]
    fn a_gap_shows_at_the_next_message_of_any_kind() {
        assert_eq!(
            run(&[(1, true), (5, true), (9, false), (9, true)]),
            [Step::default(), lost(3), lost(3), Step::default()]
        );
    }

    #[test]
    fn a_late_message_is_not_lost() {
        let late = Step {
            late: true,
            ..Step::default()
        };
        let repeated = Step {
            repeated: true,
            ..Step::default()
        };
        assert_eq!(
            run(&[(1, true), (3, true), (2, true), (2, true), (4, true)]),
            [Step::default(), lost(1), late, repeated, Step::default()]
        );
    }

    #[test]
    fn numbers_wrap() {
        assert_eq!(
            run(&[(u32::MAX, true), (0, true), (2, true)]),
            [Step::default(), Step::default(), lost(1)]
        );
    }

    #[test]
    fn a_restart_is_no_loss() {
        let restarted = Step {
            restarted: true,
            ..Step::default()
        };
        for first in [900_000u32, 40, 3_000_000_000] {
            assert_eq!(
                run(&[(first, true), (first + 1, true), (1, true), (2, true)])[2..],
                [restarted, Step::default()],
                "{first}"
            );
        }
    }
}
