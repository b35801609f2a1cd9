//! Counts of connections by what judged them, and by who was refused whom, in bounded memory.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use netverdict_types::{
    Connection, Direction, Endpoint, EndpointKind, Owner, Ruling, Unresolved, Verdict,
};

/// How many series there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of rules.
    pub(super) rules: usize,
    /// Of pairs that are refused.
    pub(super) pairs: usize,
}

/// One scrape of all is some megabytes.
pub(super) const BOUNDS: Bounds = Bounds {
    rules: 4_096,
    pairs: 1_024,
};

/// What connections came to.
#[derive(Clone, Debug)]
pub(super) struct Series {
    bounds: Bounds,
    hasher: RandomState,
    pub(super) verdicts: [Sums; Verdict::ALL.len()],
    pub(super) turned: Turned,
    pub(super) dropped: Sums,
    /// As they were seen, not as they are estimated.
    pub(super) sampled: Sums,
    pub(super) rules: HashTable<RuleSeries>,
    /// By direction and verdict, what found no room in `rules`.
    pub(super) rules_overflow: [[Sums; Verdict::ALL.len()]; 2],
    pub(super) pairs: HashTable<PairSeries>,
    /// What found no room in `pairs`.
    pub(super) pairs_overflow: u64,
}

/// Connections whose verdict became worse after they were told, by the places of both verdicts in
/// [`Verdict::ALL`].
pub(super) type Turned = [[u64; Verdict::ALL.len()]; Verdict::ALL.len()];

/// Connections, and their packets and bytes as far as samples tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) connections: u64,
    pub(super) packets: f64,
    pub(super) bytes: f64,
}

/// What one rule, or whatever else rules, judged in one direction.
#[derive(Clone, Debug)]
pub(super) struct RuleSeries {
    pub(super) direction: Direction,
    pub(super) ruling: Arc<Ruling>,
    pub(super) sums: Sums,
}

/// Who was refused whom.
#[derive(Clone, Debug)]
pub(super) struct PairSeries {
    pub(super) ends: [Place; 2],
    pub(super) connections: u64,
}

/// A namespace, or all of one kind that have none; nothing where an end is not known.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    pub(super) kind: Option<EndpointKind>,
    pub(super) namespace: Option<String>,
}

impl Series {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            hasher: RandomState::default(),
            verdicts: [Sums::default(); Verdict::ALL.len()],
            turned: Turned::default(),
            dropped: Sums::default(),
            sampled: Sums::default(),
            rules: HashTable::new(),
            rules_overflow: [[Sums::default(); Verdict::ALL.len()]; 2],
            pairs: HashTable::new(),
            pairs_overflow: 0,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Counts an update: the connection once, what was counted each time.
    pub(super) fn count(&mut self, update: &Connection) {
        let is_first = update.seq == 0;
        let mut sums = Sums {
            connections: u64::from(is_first),
            ..Sums::default()
        };
        for counts in &update.counts {
            let mut both = counts.original;
            both.add(counts.reply);
            self.sampled.packets += both.packets as f64;
            self.sampled.bytes += both.bytes as f64;
            if let Some(estimate) = both.estimate(counts.probability) {
                sums.packets += estimate.packets;
                sums.bytes += estimate.bytes;
            }
            if let Some(estimate) = counts.dropped.estimate(counts.probability) {
                self.dropped.packets += estimate.packets;
                self.dropped.bytes += estimate.bytes;
            }
        }
        self.verdicts[number(update.verdict)].add(sums);
        let halves = [
            (Direction::Egress, &update.egress),
            (Direction::Ingress, &update.ingress),
        ];
        let mut is_refused_now = false;
        for (direction, half) in halves {
            let Some(half) = half else { continue };
            let is_new = is_first
                || update.changes.iter().any(|change| {
                    change.direction == direction && change.half.ruling == half.ruling
                });
            is_refused_now |= is_new && is_refusal(half.ruling.verdict);
            let sums = Sums {
                connections: u64::from(is_new),
                ..sums
            };
            self.rule(direction, &half.ruling).add(sums);
        }
        if is_refused_now {
            *self.pair(update.src.as_deref(), update.dst.as_deref()) += 1;
        }
    }

    fn rule(&mut self, direction: Direction, ruling: &Arc<Ruling>) -> &mut Sums {
        let hash = |one: Direction, ruling: &Ruling| self.hasher.hash_one((one, key(ruling)));
        let found = self.rules.find(hash(direction, ruling), |known| {
            known.direction == direction
                && (Arc::ptr_eq(&known.ruling, ruling) || key(&known.ruling) == key(ruling))
        });
        if found.is_none() && self.rules.len() >= self.bounds.rules {
            let side = usize::from(direction == Direction::Ingress);
            return &mut self.rules_overflow[side][number(ruling.verdict)];
        }
        let entry = self.rules.entry(
            hash(direction, ruling),
            |known| {
                known.direction == direction
                    && (Arc::ptr_eq(&known.ruling, ruling) || key(&known.ruling) == key(ruling))
            },
            |known| hash(known.direction, &known.ruling),
        );
        let entry = entry.or_insert_with(|| RuleSeries {
            direction,
            ruling: ruling.clone(),
            sums: Sums::default(),
        });
        &mut entry.into_mut().sums
    }

    fn pair(&mut self, src: Option<&Endpoint>, dst: Option<&Endpoint>) -> &mut u64 {
        let wanted = (place(src), place(dst));
        let of = |known: &PairSeries| {
            let [src, dst] = &known.ends;
            self.hasher.hash_one((src.parts(), dst.parts()))
        };
        let hash = self.hasher.hash_one(wanted);
        let is_it = |known: &PairSeries| {
            let [src, dst] = &known.ends;
            (src.parts(), dst.parts()) == wanted
        };
        if self.pairs.len() >= self.bounds.pairs && self.pairs.find(hash, is_it).is_none() {
            return &mut self.pairs_overflow;
        }
        let entry = self.pairs.entry(hash, is_it, of).or_insert_with(|| {
            let own = |(kind, namespace): (Option<EndpointKind>, Option<&str>)| Place {
                kind,
                namespace: namespace.map(str::to_owned),
            };
            PairSeries {
                ends: [own(wanted.0), own(wanted.1)],
                connections: 0,
            }
        });
        &mut entry.into_mut().connections
    }
}

impl Sums {
    pub(super) fn add(&mut self, more: Self) {
        self.connections += more.connections;
        self.packets += more.packets;
        self.bytes += more.bytes;
    }
}

impl Place {
    fn parts(&self) -> (Option<EndpointKind>, Option<&str>) {
        (self.kind, self.namespace.as_deref())
    }
}

fn place(end: Option<&Endpoint>) -> (Option<EndpointKind>, Option<&str>) {
    (
        end.map(|end| end.kind),
        end.and_then(|end| end.namespace.as_deref()),
    )
}

/// What tells rulings apart here: the zone, the row and the evidence do not.
#[derive(Eq, Hash, PartialEq)]
struct Key<'r> {
    verdict: &'static str,
    owner: Option<&'r Owner>,
    stage: Option<&'r str>,
    unresolved: Option<Unresolved>,
}

fn key(ruling: &Ruling) -> Key<'_> {
    Key {
        verdict: ruling.verdict.as_str(),
        owner: ruling.fact.as_ref().map(|fact| &fact.acl.owner),
        stage: ruling.flow.as_ref().map(|flow| &*flow.stage),
        unresolved: ruling.unresolved,
    }
}

/// Place of a verdict in [`Verdict::ALL`].
fn number(verdict: Verdict) -> usize {
    let place = Verdict::ALL.iter().position(|one| *one == verdict);
    // All are there.
    place.unwrap_or(0)
}

fn is_refusal(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Dropped | Verdict::Rejected)
}

#[cfg(test)]
mod tests {
    use netverdict_store::judge::{Random, batches};
    use proptest::prelude::*;

    use super::*;

    /// All that a direction's halves were counted as.
    fn of_rules(series: &Series, wanted: Direction) -> Sums {
        let mut all = Sums::default();
        for rule in &series.rules {
            if rule.direction == wanted {
                all.add(rule.sums);
            }
        }
        let side = usize::from(wanted == Direction::Ingress);
        for sums in series.rules_overflow[side] {
            all.add(sums);
        }
        all
    }

    fn is_close(one: f64, other: f64) -> bool {
        (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
    }

    proptest! {
        #[test]
        fn bounds_hold_and_nothing_is_lost(seed: u64, rules in 0..40_usize, pairs in 0..10_usize) {
            let mut series = Series::new(Bounds { rules, pairs });
            let mut unbound = Series::new(BOUNDS);
            let updates: Vec<_> = batches(&mut Random::new(seed), 200)
                .into_iter()
                .flat_map(|batch| batch.rows)
                .collect();
            for update in &updates {
                series.count(update);
                unbound.count(update);
            }
            prop_assert!(series.rules.len() <= rules);
            prop_assert!(series.pairs.len() <= pairs);
            prop_assert_eq!(series.verdicts, unbound.verdicts);
            for direction in [Direction::Egress, Direction::Ingress] {
                let (some, all) = (of_rules(&series, direction), of_rules(&unbound, direction));
                prop_assert_eq!(some.connections, all.connections);
                prop_assert!(is_close(some.packets, all.packets));
                prop_assert!(is_close(some.bytes, all.bytes));
            }
            let refused = |series: &Series| {
                series.pairs_overflow + series.pairs.iter().map(|pair| pair.connections).sum::<u64>()
            };
            prop_assert_eq!(refused(&series), refused(&unbound));
            let first = updates.iter().filter(|update| update.seq == 0).count();
            let counted = series.verdicts.iter().map(|sums| sums.connections).sum::<u64>();
            prop_assert_eq!(counted, first as u64);
        }

        #[test]
        fn a_rule_has_what_its_connections_have(seed: u64) {
            let mut series = Series::new(BOUNDS);
            let mut expected = std::collections::BTreeMap::<_, u64>::new();
            for update in batches(&mut Random::new(seed), 200).into_iter().flat_map(|it| it.rows) {
                series.count(&update);
                if update.seq == 0 {
                    for half in update.egress.iter() {
                        let owner = half.ruling.fact.as_ref().map(|fact| fact.acl.owner.clone());
                        *expected.entry((half.ruling.verdict.as_str(), owner)).or_default() += 1;
                    }
                }
            }
            for ((verdict, owner), connections) in expected {
                let mut counted = 0;
                for rule in &series.rules {
                    let own = rule.ruling.fact.as_ref().map(|fact| &fact.acl.owner);
                    if rule.direction == Direction::Egress
                        && rule.ruling.verdict.as_str() == verdict
                        && own == owner.as_ref()
                    {
                        counted += rule.sums.connections;
                    }
                }
                // Updates after the first may bring others.
                prop_assert!(counted >= connections);
            }
        }
    }
}
