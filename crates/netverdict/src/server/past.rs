//! What has become of policies since a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use netverdict_history::{History, Span};
use netverdict_types::{Acl, Owner, Rule, Timestamp};
use serde::Serialize;

/// The ACLs that came or went while somebody looked.
#[derive(Default)]
pub(super) struct Past {
    zones: Vec<Zone>,
}

struct Zone {
    /// The past is whole from here on.
    horizon: Timestamp,
    spans: Vec<Span>,
}

/// How policies of now stand to those of a time. Pods, their labels and the sets of addresses that
/// ACLs name are not looked at.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct AsOf {
    /// The time.
    at: Timestamp,
    /// Since when the past is known, where that is later than `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_since: Option<Timestamp>,
    /// Policies that have other ACLs than then, the last change first.
    changes: Vec<Changed>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Changed {
    /// Whose ACLs.
    owner: Owner,
    change: Kind,
    /// When the last of them came or went.
    time: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// ACLs came.
    New,
    /// ACLs went.
    Gone,
    /// Both.
    Other,
}

impl Past {
    /// What a history keeps.
    pub(super) fn of(history: &History) -> Self {
        let changed = |span: &&Span| span.from() > Timestamp::MIN || !span.is_alive();
        let zones = history.zones().map(|(zone, _)| Zone {
            horizon: history.horizon(zone),
            spans: history.kept(zone).filter(changed).cloned().collect(),
        });
        Self {
            zones: zones.collect(),
        }
    }

    /// What is other than at a time, of the namespaces that are asked about; `None` is what has no
    /// namespace.
    pub(super) fn since(&self, at: Timestamp, asked: impl Fn(Option<&str>) -> bool) -> AsOf {
        let horizon = self.zones.iter().map(|zone| zone.horizon).max();
        let mut changes: BTreeMap<Owner, Changed> = BTreeMap::new();
        for (acl, (balance, time)) in self.zones.iter().flat_map(|zone| balances(zone, at)) {
            if balance == 0 || !asked(acl.owner.namespace.as_deref()) {
                continue;
            }
            let change = if balance > 0 { Kind::New } else { Kind::Gone };
            let owner = Owner {
                direction: None,
                rule: Rule::default(),
                ..acl.owner.clone()
            };
            match changes.entry(owner) {
                Entry::Vacant(place) => {
                    let owner = place.key().clone();
                    place.insert(Changed {
                        owner,
                        change,
                        time,
                    });
                }
                Entry::Occupied(mut known) => {
                    let known = known.get_mut();
                    known.time = known.time.max(time);
                    if known.change != change {
                        known.change = Kind::Other;
                    }
                }
            }
        }
        let mut changes: Vec<Changed> = changes.into_values().collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.time));
        AsOf {
            at,
            known_since: horizon.filter(|horizon| *horizon > at),
            changes,
        }
    }
}

/// How many more of each ACL there are now than there were, and when that last changed. A row that
/// was written anew, as when its sampling changed, is the same ACL.
fn balances(zone: &Zone, at: Timestamp) -> HashMap<&Acl, (i32, Timestamp)> {
    let mut balances: HashMap<&Acl, (i32, Timestamp)> = HashMap::new();
    for span in &zone.spans {
        let was_there = span.from() <= at && at < span.until();
        let (change, time) = match (was_there, span.is_alive()) {
            (false, true) => (1, span.from()),
            (true, false) => (-1, span.until()),
            _ => continue,
        };
        let (balance, last) = balances.entry(span.row().acl()).or_insert((0, time));
        *balance += change;
        *last = time.max(*last);
    }
    balances
}

#[cfg(test)]
mod tests {
    use netverdict_ovsdb::{Cause, Change, ChangeSet, Datum, Row};
    use netverdict_types::Direction;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    /// A row of the NB: an ACL of the policy `name` in `namespace`.
    fn acl(number: u128, namespace: &str, name: &str, matches: &str) -> Row {
        let ids = [
            ("k8s.ovn.org/owner-type", "NetworkPolicy".to_owned()),
            ("k8s.ovn.org/name", format!("{namespace}:{name}")),
            ("direction", Direction::Ingress.as_str().to_owned()),
            ("gress-index", "0".to_owned()),
        ];
        let ids = ids.each_ref().map(|(key, value)| (*key, value.as_str()));
        let columns = [
            ("priority", Datum::from(1001_i64)),
            ("direction", Datum::from("to-lport")),
            ("match", Datum::from(matches)),
            ("action", Datum::from("allow-related")),
            ("external_ids", Datum::map_of(ids)),
        ];
        Row::new("ACL", Uuid::from_u128(number), columns)
    }

    fn global() -> Row {
        let columns = [("name", Datum::from("a"))];
        Row::new("NB_Global", Uuid::from_u128(1), columns)
    }

    fn set(time: i64, cause: Cause, changes: Vec<(Option<Row>, Option<Row>)>) -> ChangeSet {
        let change = |(old, new): (Option<Row>, Option<Row>)| {
            let row = new.as_ref().or(old.as_ref()).unwrap();
            Change {
                table: row.table().into(),
                uuid: row.uuid(),
                old,
                new,
            }
        };
        ChangeSet {
            time,
            cause,
            transaction: None,
            changes: changes.into_iter().map(change).collect(),
        }
    }

    /// A policy is there at 100, is changed at 200, and another comes at 300 in another namespace.
    fn past() -> Past {
        let mut history = History::new(netverdict_history::Limits::default());
        let zone = history.zone("a");
        let first = acl(2, "data", "web", "tcp.dst == 80");
        let second = acl(3, "data", "web", "tcp.dst == 81");
        let other = acl(4, "shop", "db", "tcp.dst == 90");
        let steps = [
            set(
                100,
                Cause::Initial,
                vec![(None, Some(global())), (None, Some(first.clone()))],
            ),
            set(
                200,
                Cause::Transaction,
                vec![(Some(first), None), (None, Some(second))],
            ),
            set(300, Cause::Transaction, vec![(None, Some(other))]),
        ];
        for step in &steps {
            history.apply(zone, step).unwrap();
        }
        Past::of(&history)
    }

    fn told(at: i64, namespaces: &[&str]) -> Value {
        let asked = |namespace: Option<&str>| namespace.is_none_or(|it| namespaces.contains(&it));
        let as_of = json!(past().since(Timestamp(at), asked));
        let changes = as_of["changes"].as_array().unwrap().iter();
        let changes = changes.map(|it| json!([it["owner"]["name"], it["change"]]));
        json!({
            "changes": changes.collect::<Vec<_>>(),
            "known": as_of.get("known_since").is_none(),
        })
    }

    #[test]
    fn it_tells_what_changed_since() {
        let all = ["data", "shop"];
        assert_eq!(
            told(150, &all),
            json!({"changes": [["db", "new"], ["web", "other"]], "known": true})
        );
        assert_eq!(
            told(250, &all),
            json!({"changes": [["db", "new"]], "known": true})
        );
        assert_eq!(told(350, &all), json!({"changes": [], "known": true}));
    }

    #[test]
    fn it_tells_of_the_asked_namespaces_only() {
        assert_eq!(
            told(150, &["data"]),
            json!({"changes": [["web", "other"]], "known": true})
        );
    }

    #[test]
    fn before_anybody_looked_nothing_is_known() {
        assert_eq!(told(50, &["data"])["known"], json!(false));
    }
}
