use std::collections::{BTreeMap, BTreeSet};

use netverdict_ovn::Database;
use netverdict_ovsdb::Replica;
use netverdict_types::App;

use crate::enable::{change_acl, change_collectors, remove_sample, step};
use crate::northbound::{Column, Northbound, contents};
use crate::plan::{Edit, Plan};

/// Plans what removes from a NB all that [`enable`](crate::enable) made, or only what it made
/// for one collector set. What others made stays.
pub fn disable(nb: &Replica, set: Option<u32>) -> Plan {
    let nb = Northbound::read(nb);
    let goes = |collector| {
        nb.is_our_collector(collector) && set.is_none_or(|set| nb.set_of(collector) == Some(set))
    };
    let mut edits = Vec::new();
    let mut steps = Vec::new();
    let mut notes = Vec::new();

    let mut removed = BTreeSet::new();
    let mut used = BTreeSet::new();
    let mut changed = 0;
    for (uuid, sample) in &nb.samples {
        let stay: BTreeSet<_> = sample
            .collectors
            .iter()
            .copied()
            .filter(|collector| !goes(*collector))
            .collect();
        if stay.is_empty() && !sample.collectors.is_empty() {
            removed.insert(*uuid);
            continue;
        }
        if stay.len() != sample.collectors.len() {
            edits.push(change_collectors(*uuid, sample, &stay));
            changed += 1;
        }
        used.extend(stay);
    }
    step(&mut steps, changed, |count| {
        format!("Sample: take our collectors from {count} that have others too")
    });

    let mut cleared = 0;
    let mut stays: BTreeMap<String, usize> = BTreeMap::new();
    for acl in &nb.acls {
        let before = Column::BOTH.map(|column| acl.sample(column));
        let after = before.map(|sample| sample.filter(|sample| !removed.contains(sample)));
        if before != after {
            edits.push(change_acl(acl, after));
            cleared += 1;
        }
        if after.iter().any(Option::is_some) {
            let owners: BTreeSet<_> = after
                .into_iter()
                .flatten()
                .filter_map(|sample| nb.samples.get(&sample))
                .flat_map(|sample| &sample.collectors)
                .filter(|collector| !goes(**collector))
                .filter_map(|collector| nb.collectors.get(collector))
                .map(|row| format!("{} to set {}", row.owner(), row.collector.set_id))
                .collect();
            let owners = owners.into_iter().collect::<Vec<_>>().join(" and ");
            *stays.entry(owners).or_default() += 1;
        }
    }
    step(&mut steps, cleared, |count| {
        format!("ACL: clear sample_new and sample_est of {count}")
    });
    for uuid in &removed {
        if let Some(sample) = nb.samples.get(uuid) {
            edits.push(remove_sample(*uuid, sample));
        }
    }
    step(&mut steps, removed.len(), |count| {
        format!("Sample: remove {count}")
    });
    for row in nb.unused_collectors(&used) {
        edits.push(row.remove());
        steps.push(format!(
            "Sample_Collector: remove {} (set {})",
            row.collector.id, row.collector.set_id
        ));
    }

    let our_sets: BTreeSet<_> = used
        .iter()
        .filter(|collector| nb.is_our_collector(**collector))
        .filter_map(|collector| nb.set_of(*collector))
        .collect();
    let why = if our_sets.is_empty() {
        "samples of others carry its number".to_owned()
    } else {
        let sets: Vec<_> = our_sets.iter().map(u32::to_string).collect();
        format!("we still sample to set {}", sets.join(" and set "))
    };
    let is_sampling = removed.len() < nb.samples.len();
    for app in App::ALL {
        let Some(row) = nb.apps.get(&app).filter(|row| row.is_ours) else {
            continue;
        };
        let others_use_it = match app {
            App::Drop => nb.samples_drops,
            _ => is_sampling,
        };
        if !our_sets.is_empty() || others_use_it {
            notes.push(format!(
                "Sampling_App {} of ours stays: {why}",
                app.as_str()
            ));
            continue;
        }
        edits.push(Edit::Delete {
            table: "Sampling_App",
            row: row.row.uuid(),
            before: contents(row.row, &["type", "id", "external_ids"]),
        });
        steps.push(format!("Sampling_App: remove {}", app.as_str()));
    }
    for (owner, count) in stays {
        notes.push(format!("{count} ACLs stay sampled, by {owner}"));
    }
    Plan::new(Database::Northbound, edits, steps, notes)
}
