//! Lists that are made in memory, told in pages.

use std::collections::BTreeMap;

use netverdict_types::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::app::Scoped;
use crate::params::{Paging, Range, Which};
use crate::problem::Problem;

/// Some items of a list, and where to go on.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listing<T> {
    /// The items, in their order.
    items: Vec<T>,
    /// How many there are behind these.
    more: u64,
    /// Give this as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The time that was asked about.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Its end.
    #[schema(value_type = String, format = DateTime)]
    until: Timestamp,
}

/// Which part of a list was asked for: items have keys, and are in the order of these.
pub(crate) struct Part<K> {
    /// The time, as it was on the first page.
    pub(crate) range: Range,
    after: Option<K>,
    limit: usize,
}

impl<K: Ord + Serialize + DeserializeOwned> Part<K> {
    pub(crate) fn of(app: &Scoped, which: &Which, paging: &Paging) -> Result<Self, Problem> {
        let limit = paging.limit(app, usize::MAX)?;
        let (range, after) = match &paging.after {
            None => (which.range(app)?, None),
            Some(text) => {
                let (range, key) = read(text).ok_or_else(Problem::wrong_after)?;
                (range.checked(app)?, Some(key))
            }
        };
        Ok(Self {
            range,
            after,
            limit,
        })
    }

    /// Takes that part of all items.
    pub(crate) fn page<T>(self, mut all: BTreeMap<K, T>) -> Listing<T> {
        if let Some(after) = &self.after {
            let rest = all.split_off(after);
            all = rest;
            all.remove(after);
        }
        let more = all.len().saturating_sub(self.limit) as u64;
        let mut items = Vec::with_capacity(all.len().min(self.limit));
        let mut last = None;
        for (key, item) in all.into_iter().take(self.limit) {
            last = Some(key);
            items.push(item);
        }
        let Range { since, until, .. } = self.range;
        Listing {
            items,
            more,
            next: last.filter(|_| more > 0).map(|key| write(self.range, &key)),
            since,
            until,
        }
    }
}

/// The time, and the key as the hexadecimal digits of its JSON.
fn write<K: Serialize>(range: Range, key: &K) -> String {
    use std::fmt::Write as _;
    let mut text = range.text();
    for byte in serde_json::to_vec(key).unwrap_or_default() {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn read<K: DeserializeOwned>(text: &str) -> Option<(Range, K)> {
    let (range, key) = text.split_at_checked(Range::TEXT)?;
    let is_hex = key.len() % 2 == 0 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    let places = (0..key.len()).step_by(2).filter(|_| is_hex);
    let bytes: Vec<u8> = places
        .filter_map(|place| u8::from_str_radix(key.get(place..place + 2)?, 16).ok())
        .collect();
    Some((Range::read(range)?, serde_json::from_slice(&bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range() -> Range {
        Range {
            since: Timestamp(-1),
            until: Timestamp(7),
            now: Timestamp(i64::MAX),
        }
    }

    proptest! {
        #[test]
        fn pages_are_the_list(keys in proptest::collection::btree_set(".{0,3}", 0..40), limit in 1..9_usize) {
            let all: BTreeMap<String, usize> = keys.into_iter().zip(0..).collect();
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let part = Part { range: range(), after, limit };
                let page = part.page(all.clone());
                found.extend(page.items);
                prop_assert_eq!(page.more as usize, all.len() - found.len());
                let Some(next) = page.next else { break };
                let (again, key) = read::<String>(&next).unwrap();
                prop_assert_eq!(again, range());
                after = Some(key);
            }
            prop_assert!(found.iter().eq(all.values()));
        }

        #[test]
        fn whatever_stands_in_after_is_read_or_refused(text in "[0-9a-f+ä]{0,120}") {
            let _ = read::<String>(&text);
        }
    }
}
