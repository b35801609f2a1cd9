use std::collections::{BTreeMap, BTreeSet};

use netverdict_ovn::Version;
use netverdict_ovsdb::{Columns, Datum, Replica};
use netverdict_types::App;
use serde::Serialize;
use uuid::Uuid;

use crate::enable::own_flows;
use crate::feature::Feature;
use crate::northbound::{AclRow, Column, Northbound, can_sample, is_ours};
use crate::share::Share;
use crate::vswitch;

/// How sampling stands in a zone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The zone (`NB_Global.name`).
    pub zone: String,
    /// The release of OVN, by what northd wrote or by the schema.
    pub ovn: Option<String>,
    /// False where the schema is older than OVN 24.09.
    pub can_sample: bool,
    /// The numbers of the applications in the observation domain, by `Sampling_App.type`.
    pub apps: BTreeMap<&'static str, u8>,
    /// The ACLs by owner type.
    pub policies: Vec<Policy>,
    /// The Sample_Collector rows.
    pub collectors: Vec<Collector>,
    /// What the samples cost OVN.
    pub flows: Flows,
    /// The node, where its Open vSwitch was given.
    pub node: Option<Node>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
}

/// The ACLs of one owner type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// The feature that they are sampled with; `None` where they are not by anybody.
    pub feature: Option<Feature>,
    /// The owner type, empty for ACLs without ovn-kubernetes' ids.
    pub owner: String,
    /// How many there are.
    pub acls: usize,
    /// How many of them have a Sample for new packets, by rate and set.
    pub new: Vec<Sampled>,
    /// The same for established ones.
    pub est: Vec<Sampled>,
    /// How many have neither.
    pub unsampled: usize,
    /// Why none can be sampled, if so.
    pub reason: Option<&'static str>,
}

/// ACLs that are sampled alike.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Sampled {
    /// The collector set.
    pub set: u32,
    /// The share of packets, 65535 being all.
    pub probability: Share,
    /// Who made the collector.
    pub by: String,
    /// How many ACLs.
    pub acls: usize,
}

/// A Sample_Collector row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Collector {
    /// Its number.
    pub id: u8,
    /// The collector set.
    pub set: u32,
    /// The share of packets, 65535 being all.
    pub probability: Share,
    /// Who made it.
    pub by: String,
    /// How many Samples go to it.
    pub samples: usize,
}

/// What the samples cost OVN in logical flows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Flows {
    /// Samples with one collector: OVN needs a few flows for all of them together.
    pub optimised: usize,
    /// Samples with several collectors, or all where a node cannot: flows for each.
    pub single: usize,
    /// About how many logical flows the latter need.
    pub single_flows: usize,
    /// Chassis whose ovn-controller or Open vSwitch is too old for the former, where the SB was
    /// given.
    pub old_chassis: Vec<String>,
}

/// What a node makes of samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// ovn-controller's bridge.
    pub bridge: String,
    /// Whether its datapath can send to psample; `None` where Open vSwitch does not tell.
    pub psample: Option<bool>,
    /// The collector sets of the bridge.
    pub sets: Vec<CollectorSet>,
}

/// A Flow_Sample_Collector_Set row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollectorSet {
    /// Its number.
    pub set: u32,
    /// The psample group.
    pub group: Option<u32>,
    /// Where IPFIX goes.
    pub ipfix: Vec<String>,
    /// Who made it.
    pub by: String,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// What kind it is.
    pub kind: ProblemKind,
    /// In words.
    pub text: String,
    /// The command that mends it, if one does.
    pub mend: Option<String>,
    /// The ACLs that it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acls: Vec<Uuid>,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The schema is older than OVN 24.09.
    SchemaTooOld,
    /// A Sampling_App row is missing: samples carry domain 0, or are not made.
    MissingApp,
    /// ACLs of a feature that is sampled have no Sample.
    Unsampled,
    /// The point does not belong to the ACL as it is now.
    Stale,
    /// Several ACLs share a point: their samples cannot be told apart by it.
    Collision,
    /// A label takes the place of the point.
    Label,
    /// A collector without a Sample.
    UnusedCollector,
    /// A collector that takes no packet.
    NoPackets,
    /// Samples go to a set that the node does not have: nothing is sent.
    MissingSet,
    /// A set of the node that goes nowhere.
    EmptySet,
    /// A set of ours on the node that no collector names.
    UnusedSet,
    /// A group, but a datapath without psample.
    NoPsample,
    /// The node has no bridge for ovn-controller.
    NoBridge,
    /// A row that cannot be read.
    Unreadable,
}

/// Looks at the rows of a zone, and where given at its SB and a node's Open vSwitch.
pub fn status(nb: &Replica, sb: Option<&Replica>, ovs: Option<&Replica>) -> Status {
    let rows = Northbound::read(nb);
    let global = nb.rows("NB_Global").next();
    let northd = global.and_then(|row| row.column("options")?.lookup("northd_internal_version"));
    let version = northd
        .and_then(Version::parse)
        .or_else(|| Version::of_nb_schema(nb.schema_version()?));
    let can_sample = can_sample(nb);
    let mut problems = Vec::new();
    if can_sample {
        acl_problems(&rows, &mut problems);
        collector_problems(&rows, &mut problems);
    } else {
        problems.push(Problem::new(
            ProblemKind::SchemaTooOld,
            "ACLs cannot be sampled: this NB is older than OVN 24.09. What remains: the ACL log \
             (ACL.log, read by observe --source acl-log:FILE) and labels (ACL.label)"
                .to_owned(),
        ));
    }
    for error in &rows.unreadable {
        problems.push(Problem::new(ProblemKind::Unreadable, error.to_string()));
    }
    let node = ovs.and_then(|ovs| node(&rows, ovs, &mut problems));
    Status {
        zone: global
            .and_then(|row| row.text("name"))
            .unwrap_or_default()
            .to_owned(),
        ovn: version.map(|version| version.to_string()),
        can_sample,
        apps: rows
            .apps
            .iter()
            .map(|(app, row)| (app.as_str(), row.id))
            .collect(),
        policies: policies(&rows),
        collectors: collectors(&rows),
        flows: flows(&rows, sb),
        node,
        problems,
    }
}

impl Problem {
    fn new(kind: ProblemKind, text: String) -> Self {
        Self {
            kind,
            text,
            mend: None,
            acls: Vec::new(),
        }
    }

    fn mended_by(mut self, command: &str) -> Self {
        self.mend = Some(command.to_owned());
        self
    }

    fn about(mut self, acls: impl IntoIterator<Item = Uuid>) -> Self {
        self.acls = acls.into_iter().collect();
        self
    }
}

fn policies(nb: &Northbound<'_>) -> Vec<Policy> {
    let mut kinds: BTreeMap<(bool, Option<Feature>, &str), Vec<&AclRow<'_>>> = BTreeMap::new();
    for acl in &nb.acls {
        let feature = acl.feature();
        let key = (feature.is_none(), feature, acl.kind().as_str());
        kinds.entry(key).or_default().push(acl);
    }
    let kinds = kinds.into_iter();
    kinds
        .map(|((_, feature, owner), acls)| Policy {
            feature,
            owner: owner.to_owned(),
            acls: acls.len(),
            new: sampled(nb, &acls, Column::New),
            est: sampled(nb, &acls, Column::Est),
            unsampled: acls.iter().filter(|acl| is_unsampled(acl)).count(),
            reason: feature
                .is_none()
                .then_some("ovn-kubernetes keeps their sample columns empty"),
        })
        .collect()
}

fn sampled(nb: &Northbound<'_>, acls: &[&AclRow<'_>], column: Column) -> Vec<Sampled> {
    let mut counts: BTreeMap<(u32, Share, String), usize> = BTreeMap::new();
    let samples = acls.iter().filter_map(|acl| nb.sample(acl, column));
    for collector in samples.flat_map(|(_, sample)| &sample.collectors) {
        if let Some(row) = nb.collectors.get(collector) {
            let share = Share::of_probability(row.collector.probability);
            let key = (row.collector.set_id, share, row.owner());
            *counts.entry(key).or_default() += 1;
        }
    }
    let counts = counts.into_iter();
    counts
        .map(|((set, probability, by), acls)| Sampled {
            set,
            probability,
            by,
            acls,
        })
        .collect()
}

fn collectors(nb: &Northbound<'_>) -> Vec<Collector> {
    let mut users: BTreeMap<Uuid, usize> = BTreeMap::new();
    for collector in nb.samples.values().flat_map(|sample| &sample.collectors) {
        *users.entry(*collector).or_default() += 1;
    }
    let mut collectors: Vec<_> = nb
        .collectors
        .iter()
        .map(|(uuid, row)| Collector {
            id: row.collector.id,
            set: row.collector.set_id,
            probability: Share::of_probability(row.collector.probability),
            by: row.owner(),
            samples: users.get(uuid).copied().unwrap_or(0),
        })
        .collect();
    collectors.sort_by_key(|collector| collector.id);
    collectors
}

fn flows(nb: &Northbound<'_>, sb: Option<&Replica>) -> Flows {
    // northd asks all chassis of its own zone (northd.c, build_chassis_features).
    let mut old_chassis: Vec<_> = sb
        .into_iter()
        .flat_map(|sb| sb.rows("Chassis"))
        .filter(|row| {
            let config = row.column("other_config");
            let is = |key| config.and_then(|config| config.lookup(key)) == Some("true");
            !is("ovn-sample-with-registers") && !is("is-remote")
        })
        .map(|row| row.text("name").unwrap_or_default().to_owned())
        .collect();
    old_chassis.sort();
    let mut flows = Flows {
        old_chassis,
        ..Flows::default()
    };
    for (uuid, sample) in &nb.samples {
        if sample.collectors.len() == 1 && flows.old_chassis.is_empty() {
            flows.optimised += 1;
            continue;
        }
        flows.single += 1;
        flows.single_flows += nb
            .references
            .get(uuid)
            .into_iter()
            .flatten()
            .filter_map(|(acl, column)| {
                let acl = nb.acls.get(*acl)?;
                let has_new = acl.sample(Column::New).is_some();
                Some(own_flows(acl, *column, has_new))
            })
            .sum::<usize>();
    }
    flows
}

fn acl_problems(nb: &Northbound<'_>, problems: &mut Vec<Problem>) {
    for app in [App::AclNew, App::AclEst] {
        if !nb.samples.is_empty() && !nb.apps.contains_key(&app) {
            problems.push(
                Problem::new(
                    ProblemKind::MissingApp,
                    format!(
                        "there is no Sampling_App {}: its samples come without a domain, or not \
                         at all",
                        app.as_str()
                    ),
                )
                .mended_by(&format!(
                    "ovn-nbctl create Sampling_App type={} id={}",
                    app.as_str(),
                    free_app(nb)
                )),
            );
        }
    }
    let mut features: BTreeMap<Feature, (usize, Vec<Uuid>)> = BTreeMap::new();
    let mut sampled_columns = BTreeSet::new();
    for acl in &nb.acls {
        let feature = acl.feature();
        let columns = Column::BOTH
            .into_iter()
            .filter(|column| acl.sample(*column).is_some());
        sampled_columns.extend(columns.filter_map(|column| Some((feature?, column))));
    }
    let mut labelled = Vec::new();
    let mut stale = Vec::new();
    for acl in &nb.acls {
        if acl.acl.acl.label != 0 {
            if !is_unsampled(acl) {
                labelled.push(acl.uuid());
            }
            continue;
        }
        if let Some(feature) = acl.feature() {
            let (sampled, without) = features.entry(feature).or_default();
            let lacks = |column: Column| {
                sampled_columns.contains(&(feature, column))
                    && acl.sample(column).is_none()
                    && (column == Column::New || acl.has_established())
            };
            if Column::BOTH.into_iter().any(lacks) {
                without.push(acl.uuid());
            } else {
                *sampled += 1;
            }
        }
        let is_stale = Column::BOTH.into_iter().any(|column| {
            nb.sample(acl, column).is_some_and(|(_, sample)| {
                // How others choose the points of ACLs that are not ovn-kubernetes' is unknown.
                (acl.has_id() || nb.owns(sample)) && !acl.is_fresh(column, sample.point)
            })
        });
        if is_stale {
            stale.push(acl.uuid());
        }
    }
    for (feature, (sampled, without)) in features {
        if !without.is_empty() {
            let problem = Problem::new(
                ProblemKind::Unsampled,
                format!(
                    "{} of {} ACLs of {feature} lack a sample that others of them have",
                    without.len(),
                    sampled + without.len()
                ),
            );
            problems.push(Problem {
                mend: again(nb),
                acls: without,
                ..problem
            });
        }
    }
    if !stale.is_empty() {
        let problem = Problem::new(
            ProblemKind::Stale,
            format!(
                "{} ACLs have changed since they were sampled: their point is that of the old rule",
                stale.len()
            ),
        );
        problems.push(Problem {
            mend: again(nb),
            acls: stale,
            ..problem
        });
    }
    for (uuid, sample) in &nb.samples {
        let users = nb.references.get(uuid).into_iter().flatten();
        let users: BTreeSet<_> = users.map(|(acl, _)| *acl).collect();
        if users.len() > 1 {
            let acls = users.iter().filter_map(|acl| nb.acls.get(*acl));
            let names: Vec<_> = acls.clone().map(AclRow::describe).collect();
            problems.push(
                Problem::new(
                    ProblemKind::Collision,
                    format!(
                        "point {} is shared by {} ACLs: {}",
                        sample.point,
                        names.len(),
                        names.join(", ")
                    ),
                )
                .about(acls.map(AclRow::uuid)),
            );
        }
    }
    if !labelled.is_empty() {
        problems.push(
            Problem::new(
                ProblemKind::Label,
                format!(
                    "{} sampled ACLs have a label, which OVN puts in the place of the point and \
                     without a domain",
                    labelled.len()
                ),
            )
            .about(labelled),
        );
    }
}

/// The command that asks again for what is sampled by us now, where that is one rate a feature and
/// one set.
fn again(nb: &Northbound<'_>) -> Option<String> {
    let mut rates: BTreeMap<Feature, [BTreeSet<Share>; 2]> = BTreeMap::new();
    let mut sets = BTreeSet::new();
    for acl in &nb.acls {
        for column in Column::BOTH {
            let (Some(feature), Some((_, sample))) = (acl.feature(), nb.sample(acl, column)) else {
                continue;
            };
            for collector in &sample.collectors {
                let row = nb.collectors.get(collector).filter(|row| row.is_ours)?;
                sets.insert(row.collector.set_id);
                let shares = rates.entry(feature).or_default();
                if let Some(shares) = shares.get_mut(column as usize) {
                    shares.insert(Share::of_probability(row.collector.probability));
                }
            }
        }
    }
    let mut command = String::from("netverdict sampling enable");
    match sets.into_iter().collect::<Vec<_>>()[..] {
        [crate::DEFAULT_SET] => {}
        [set] => command.push_str(&format!(" --set {set}")),
        _ => return None,
    }
    for (feature, shares) in rates {
        let [new, est] = shares.map(|shares| {
            let share = shares.first().copied().unwrap_or_default();
            (shares.len() <= 1).then(|| share.to_string().trim_end_matches(" %").to_owned())
        });
        command.push_str(&format!(" --feature {feature}=new:{},est:{}", new?, est?));
    }
    Some(command)
}

fn free_app(nb: &Northbound<'_>) -> u8 {
    (2..=u8::MAX)
        .find(|id| nb.apps.values().all(|app| app.id != *id))
        .unwrap_or_default()
}

fn collector_problems(nb: &Northbound<'_>, problems: &mut Vec<Problem>) {
    for collector in collectors(nb) {
        if collector.samples == 0 {
            let problem = Problem::new(
                ProblemKind::UnusedCollector,
                format!(
                    "collector {} (set {}, by {}) has no Sample",
                    collector.id, collector.set, collector.by
                ),
            );
            problems.push(if collector.by == crate::OWNER {
                problem.mended_by("netverdict sampling disable")
            } else {
                problem
            });
        }
        if collector.probability.is_none() {
            problems.push(Problem::new(
                ProblemKind::NoPackets,
                format!(
                    "collector {} (set {}, by {}) takes 0 of 65535 packets",
                    collector.id, collector.set, collector.by
                ),
            ));
        }
    }
}

fn node(nb: &Northbound<'_>, ovs: &Replica, problems: &mut Vec<Problem>) -> Option<Node> {
    let name = vswitch::bridge_name(ovs);
    let Some(bridge) = vswitch::bridge(ovs) else {
        problems.push(Problem::new(
            ProblemKind::NoBridge,
            format!("the node has no bridge {name} for ovn-controller"),
        ));
        return None;
    };
    let psample = vswitch::psample(ovs, bridge);
    let used: BTreeSet<_> = nb
        .samples
        .values()
        .flat_map(|sample| &sample.collectors)
        .filter_map(|collector| nb.set_of(*collector))
        .collect();
    let mut sets = Vec::new();
    for row in vswitch::sets(ovs, bridge.uuid()) {
        let ipfix = vswitch::ipfix(ovs, row);
        let set = CollectorSet {
            set: row
                .integer("id")
                .and_then(|id| id.try_into().ok())
                .unwrap_or_default(),
            group: row
                .column("local_group_id")
                .and_then(Datum::scalar)
                .and_then(|group| group.as_integer()?.try_into().ok()),
            ipfix: ipfix.map(vswitch::ipfix_targets).unwrap_or_default(),
            by: vswitch::owner(row),
        };
        if set.group.is_none() && set.ipfix.is_empty() {
            problems.push(
                Problem::new(
                    ProblemKind::EmptySet,
                    format!("collector set {} of the node goes nowhere", set.set),
                )
                .mended_by(&format!(
                    "netverdict sampling enable --set {} --group 10",
                    set.set
                )),
            );
        }
        if set.group.is_some() && psample == Some(false) {
            problems.push(Problem::new(
                ProblemKind::NoPsample,
                format!(
                    "collector set {} has a group, but the datapath of {name} has no psample \
                     (Linux 6.11 and its own datapath are needed)",
                    set.set
                ),
            ));
        }
        if is_ours(row) && !used.contains(&set.set) {
            problems.push(
                Problem::new(
                    ProblemKind::UnusedSet,
                    format!("no sample of this zone goes to collector set {}", set.set),
                )
                .mended_by(&format!("netverdict sampling disable --set {}", set.set)),
            );
        }
        sets.push(set);
    }
    for set in used {
        if !sets.iter().any(|there| there.set == set) {
            problems.push(
                Problem::new(
                    ProblemKind::MissingSet,
                    format!(
                        "samples go to collector set {set}, which this node does not have: \
                         nothing is sent"
                    ),
                )
                .mended_by(&format!(
                    "netverdict sampling enable --set {set} --group 10   (or --ipfix ADDR:PORT)"
                )),
            );
        }
    }
    Some(Node {
        bridge: name,
        psample,
        sets,
    })
}

fn is_unsampled(acl: &AclRow<'_>) -> bool {
    Column::BOTH
        .iter()
        .all(|column| acl.sample(*column).is_none())
}
