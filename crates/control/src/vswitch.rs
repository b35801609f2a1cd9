//! What a collector set means on a node: rows of its Open vSwitch.

use std::net::SocketAddr;

use netverdict_ovn::Database;
use netverdict_ovsdb::{Columns, Datum, Replica, Row};
use uuid::Uuid;

use crate::northbound::{contents, is_ours};
use crate::plan::{Edit, Plan, Values};
use crate::{OWNER, OWNER_KEY};

/// Seconds between the templates that Open vSwitch sends. Its default of 600 would leave a
/// collector that starts late without a way to read the records for up to ten minutes.
const TEMPLATE_INTERVAL: i64 = 10;

/// All of them, so that a row that goes can come back.
pub(crate) const IPFIX_COLUMNS: [&str; 10] = [
    "targets",
    "sampling",
    "obs_domain_id",
    "obs_point_id",
    "cache_active_timeout",
    "cache_max_flows",
    "stats_interval",
    "template_interval",
    "other_config",
    "external_ids",
];

/// Where the samples of a collector set go on a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VswitchWish {
    /// `Flow_Sample_Collector_Set.id`.
    pub set: u32,
    /// To the psample group with this number (needs Linux 6.11 and the kernel's datapath).
    pub group: Option<u32>,
    /// As IPFIX to this UDP socket.
    pub ipfix: Option<SocketAddr>,
    /// True to change a collector set that somebody else made.
    pub force: bool,
}

/// Why there is no plan. Nothing was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VswitchError {
    /// ovn-controller's bridge does not exist.
    #[error("this node has no bridge {0}: is ovn-controller set up here?")]
    NoBridge(String),
    /// Open vSwitch is older than 3.4.
    #[error(
        "this Open vSwitch has no Flow_Sample_Collector_Set.local_group_id, which came with 3.4: \
         samples can go out by IPFIX only"
    )]
    NoGroups,
    /// The collector set belongs to somebody else and is not as asked for.
    #[error(
        "collector set {set} on {bridge} is {owner}'s and goes to {targets}: take another set, \
         what it has, or --force to change it"
    )]
    Foreign {
        /// The set.
        set: u32,
        /// The bridge.
        bridge: String,
        /// Its owner.
        owner: String,
        /// Where it goes.
        targets: String,
    },
}

/// Plans what makes a node send the samples of a collector set. What is not asked for of a set
/// of ours stays as it is.
///
/// # Errors
/// If this node cannot do it, or the set is somebody else's.
pub fn enable_vswitch(ovs: &Replica, wish: &VswitchWish) -> Result<Plan, VswitchError> {
    let mut edits = Vec::new();
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    let bridge_name = bridge_name(ovs);
    let bridge = bridge(ovs).ok_or_else(|| VswitchError::NoBridge(bridge_name.clone()))?;
    let has_groups = !ovs
        .missing()
        .has("Flow_Sample_Collector_Set", "local_group_id");
    if wish.group.is_some() && !has_groups {
        return Err(VswitchError::NoGroups);
    }
    let there = sets(ovs, bridge.uuid()).find(|row| row.integer("id") == Some(wish.set.into()));
    let targets = wish.ipfix.map(|address| Datum::from(address.to_string()));
    let ipfix_there = there.and_then(|row| ipfix(ovs, row));
    let has_targets = |row: &Row| {
        targets
            .as_ref()
            .is_some_and(|targets| row.column("targets") == Some(targets))
    };

    let mut after: Values = Vec::new();
    let group_there = there.and_then(|row| row.integer("local_group_id"));
    if let Some(group) = wish.group
        && group_there != Some(group.into())
    {
        after.push(("local_group_id", Datum::from(i64::from(group))));
    }
    if let Some(targets) = &targets
        && !ipfix_there.is_some_and(has_targets)
    {
        let row = Uuid::new_v4();
        edits.push(Edit::Insert {
            table: "IPFIX",
            row,
            columns: vec![
                ("targets", targets.clone()),
                ("template_interval", Datum::from(TEMPLATE_INTERVAL)),
                ("external_ids", Datum::map_of([(OWNER_KEY, OWNER)])),
            ],
        });
        after.push(("ipfix", Datum::from(row)));
        steps.push(format!(
            "IPFIX: add, to {}, templates every {TEMPLATE_INTERVAL} s",
            targets
                .scalar()
                .map(ToString::to_string)
                .unwrap_or_default()
        ));
    }
    match there {
        None => {
            after.extend([
                ("id", Datum::from(i64::from(wish.set))),
                ("bridge", Datum::from(bridge.uuid())),
                ("external_ids", Datum::map_of([(OWNER_KEY, OWNER)])),
            ]);
            edits.push(Edit::Insert {
                table: "Flow_Sample_Collector_Set",
                row: Uuid::new_v4(),
                columns: after,
            });
            steps.push(format!(
                "Flow_Sample_Collector_Set: add {} on {bridge_name}{}",
                wish.set,
                wish.group
                    .map(|group| format!(", psample group {group}"))
                    .unwrap_or_default()
            ));
        }
        Some(row) if after.is_empty() => {
            if !is_ours(row) {
                notes.push(format!(
                    "collector set {} on {bridge_name} is {}'s and already as asked for",
                    wish.set,
                    owner(row)
                ));
            }
        }
        Some(row) if !is_ours(row) && !wish.force => {
            return Err(VswitchError::Foreign {
                set: wish.set,
                bridge: bridge_name,
                owner: owner(row),
                targets: describe_targets(ovs, row),
            });
        }
        Some(row) => {
            if !is_ours(row) {
                notes.push(format!(
                    "collector set {} on {bridge_name} is taken from {}, which may set it back",
                    wish.set,
                    owner(row)
                ));
                let mut ids: Vec<_> = row
                    .column("external_ids")
                    .map_or(&[][..], Datum::pairs)
                    .to_vec();
                ids.push((OWNER_KEY.into(), OWNER.into()));
                after.push(("external_ids", Datum::map(ids)));
            }
            let columns: Vec<_> = after.iter().map(|(column, _)| *column).collect();
            steps.push(format!(
                "Flow_Sample_Collector_Set: set {} of {} on {bridge_name}",
                columns.join(" and "),
                wish.set
            ));
            let replaces_ipfix = columns.contains(&"ipfix");
            edits.push(Edit::Update {
                table: "Flow_Sample_Collector_Set",
                row: row.uuid(),
                before: contents(row, &columns),
                after,
                relies_on: Vec::new(),
            });
            if replaces_ipfix {
                remove_ipfix(ovs, &[row.uuid()], &mut edits, &mut steps);
            }
        }
    }
    if wish.group.is_some() && psample(ovs, bridge) == Some(false) {
        notes.push(format!(
            "the datapath of {bridge_name} has no psample action (it needs Linux 6.11 and the \
             kernel's datapath): nothing goes to a group; use IPFIX"
        ));
    }
    Ok(Plan::new(Database::Vswitch, edits, steps, notes))
}

/// Plans what removes from a node the collector sets that [`enable_vswitch`] made, or only one
/// of them.
pub fn disable_vswitch(ovs: &Replica, set: Option<u32>) -> Plan {
    let (mut edits, mut steps, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut removed = Vec::new();
    let mut rows: Vec<_> = ovs.rows("Flow_Sample_Collector_Set").collect();
    rows.sort_by_key(|row| (row.integer("id"), row.uuid()));
    for row in rows {
        let id = row.integer("id").unwrap_or_default();
        if set.is_some_and(|set| i64::from(set) != id) {
            continue;
        }
        if !is_ours(row) {
            notes.push(format!("collector set {id} stays: it is {}'s", owner(row)));
            continue;
        }
        removed.push(row.uuid());
        edits.push(Edit::Delete {
            table: "Flow_Sample_Collector_Set",
            row: row.uuid(),
            before: contents(
                row,
                &["id", "bridge", "ipfix", "local_group_id", "external_ids"],
            ),
        });
        steps.push(format!("Flow_Sample_Collector_Set: remove {id}"));
    }
    remove_ipfix(ovs, &removed, &mut edits, &mut steps);
    Plan::new(Database::Vswitch, edits, steps, notes)
}

/// Removes the IPFIX rows that only these collector sets refer to.
fn remove_ipfix(ovs: &Replica, sets: &[Uuid], edits: &mut Vec<Edit>, steps: &mut Vec<String>) {
    let of = |row: &Row| row.reference("ipfix");
    let all = || ovs.rows("Flow_Sample_Collector_Set");
    let mut left: Vec<_> = all()
        .filter(|row| sets.contains(&row.uuid()))
        .filter_map(of)
        .collect();
    left.sort_unstable();
    left.dedup();
    left.retain(|ipfix| {
        let others = all().filter(|row| !sets.contains(&row.uuid()));
        !others
            .chain(ovs.rows("Bridge"))
            .any(|row| of(row) == Some(*ipfix))
    });
    for row in left.iter().filter_map(|uuid| ovs.row("IPFIX", *uuid)) {
        edits.push(Edit::Delete {
            table: "IPFIX",
            row: row.uuid(),
            before: contents(row, &IPFIX_COLUMNS),
        });
        steps.push(format!("IPFIX: remove {}", ipfix_targets(row).join(" ")));
    }
}

/// The bridge of ovn-controller (ovn-controller(8), `external_ids:ovn-bridge`).
pub(crate) fn bridge_name(ovs: &Replica) -> String {
    ovs.rows("Open_vSwitch")
        .find_map(|row| row.column("external_ids")?.lookup("ovn-bridge"))
        .unwrap_or("br-int")
        .to_owned()
}

pub(crate) fn bridge(ovs: &Replica) -> Option<&Row> {
    let name = bridge_name(ovs);
    ovs.rows("Bridge")
        .find(|row| row.text("name") == Some(&name))
}

/// The collector sets of a bridge, by number.
pub(crate) fn sets(ovs: &Replica, bridge: Uuid) -> impl Iterator<Item = &Row> {
    let mut rows: Vec<_> = ovs
        .rows("Flow_Sample_Collector_Set")
        .filter(|row| row.reference("bridge") == Some(bridge))
        .collect();
    rows.sort_by_key(|row| row.integer("id"));
    rows.into_iter()
}

pub(crate) fn ipfix<'a>(ovs: &'a Replica, set: &Row) -> Option<&'a Row> {
    ovs.row("IPFIX", set.reference("ipfix")?)
}

pub(crate) fn ipfix_targets(row: &Row) -> Vec<String> {
    let targets = row.column("targets").map_or(&[][..], Datum::atoms);
    targets.iter().map(ToString::to_string).collect()
}

/// Whether the bridge's datapath can send to psample, where it tells (Open_vSwitch(5), table
/// Datapath, capabilities:psample).
pub(crate) fn psample(ovs: &Replica, bridge: &Row) -> Option<bool> {
    let kind = match bridge.text("datapath_type") {
        None | Some("") => "system",
        Some(kind) => kind,
    };
    let datapath = ovs.rows("Open_vSwitch").find_map(|row| {
        let pairs = row.column("datapaths")?.pairs();
        let (_, uuid) = pairs.iter().find(|(name, _)| name.as_str() == Some(kind))?;
        uuid.as_uuid()
    })?;
    let capabilities = ovs.row("Datapath", datapath)?.column("capabilities")?;
    Some(capabilities.lookup("psample")? == "true")
}

/// Who made a collector set, as far as the row says: ovn-kubernetes' observability library
/// writes `owner`.
pub(crate) fn owner(row: &Row) -> String {
    let ids = row.column("external_ids");
    ids.and_then(|ids| ids.lookup(OWNER_KEY).or_else(|| ids.lookup("owner")))
        .unwrap_or("somebody else")
        .to_owned()
}

fn describe_targets(ovs: &Replica, row: &Row) -> String {
    let group = row
        .integer("local_group_id")
        .map(|group| format!("psample group {group}"));
    let targets = ipfix(ovs, row).map(|row| format!("IPFIX {}", ipfix_targets(row).join(" ")));
    let both: Vec<_> = group.into_iter().chain(targets).collect();
    match both.as_slice() {
        [] => "nowhere".to_owned(),
        both => both.join(" and "),
    }
}
