use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use axum::Json;
use netverdict_query::Field;
use netverdict_query::ask::{Cell, Groups, Measure};
use netverdict_types::{Action, Direction, Owner, OwnerKind, Rule, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::cluster::KnownRule;
use crate::listing::{Listing, Part};
use crate::params::{Paging, Params, Range, Which};
use crate::problem::{Problem, Problems};

/// How often something decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
struct Use {
    /// Connections.
    connections: u64,
    /// Packets that were let through, both directions, as counted under sampling.
    packets: u64,
    /// Packets that were dropped or rejected, as counted under sampling.
    dropped_packets: u64,
    /// When the last of the connections was last seen; missing where there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last: Option<Timestamp>,
}

impl Use {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.packets = self.packets.saturating_add(other.packets);
        self.dropped_packets = self.dropped_packets.saturating_add(other.dropped_packets);
        self.last = self.last.max(other.last);
    }
}

/// Which rules.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Choice {
    /// `true`: only those that decided nothing within the time; `false`: only those that did.
    unused: Option<bool>,
}

/// A policy, or whatever else made ACLs.
#[derive(Serialize, ToSchema)]
pub(crate) struct Policy {
    /// Whose: `kind`, `namespace`, `name`, `network`.
    #[schema(value_type = Object)]
    owner: Owner,
    /// How many rules of it are in force; 0 for one that is gone.
    rules: usize,
    /// How many of them decided something within the time.
    rules_used: usize,
    /// False where packets of some of its rules are not sampled: silence means nothing then.
    sampled: bool,
    #[serde(flatten)]
    used: Use,
}

/// A rule of a policy.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsedRule {
    /// Whose, and which: as in a connection.
    #[schema(value_type = Object)]
    owner: Owner,
    /// What it does, in OVN's words.
    action: &'static str,
    /// The sentence for people; missing for a rule that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The zones where it is in force; none for a rule that is gone.
    zones: Vec<String>,
    /// False where its packets are not sampled: silence means nothing then.
    sampled: bool,
    #[serde(flatten)]
    used: Use,
}

/// Policies with hit counts
///
/// Those in force, used or not, and those that decided something within the time, by kind, namespace and name.
#[utoipa::path(get, path = "/policies", tag = "policies", params(Which, Paging), responses((status = 200, body = Listing<Policy>), Problems))]
pub(crate) async fn policies(
    app: Scoped,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> Result<Json<Listing<Policy>>, Problem> {
    let part = Part::of(&app, &which, &paging)?;
    let mut policies: BTreeMap<Owner, Policy> = BTreeMap::new();
    for rule in used(&app, &which, part.range).await?.into_values() {
        let owner = Owner {
            direction: None,
            rule: Rule::default(),
            ..rule.owner
        };
        let policy = policies.entry(owner.clone()).or_insert(Policy {
            owner,
            rules: 0,
            rules_used: 0,
            sampled: true,
            used: Use::default(),
        });
        if !rule.zones.is_empty() {
            policy.rules += 1;
            policy.sampled &= rule.sampled;
            policy.rules_used += usize::from(rule.used.connections > 0);
        }
        policy.used.add(&rule.used);
    }
    Ok(Json(part.page(policies)))
}

/// Rules with their last use
///
/// Those in force, used or not, and those that decided something within the time, by policy.
#[utoipa::path(get, path = "/rules", tag = "policies", params(Which, Paging, Choice), responses((status = 200, body = Listing<UsedRule>), Problems))]
pub(crate) async fn rules(
    app: Scoped,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
    Params(choice): Params<Choice>,
) -> Result<Json<Listing<UsedRule>>, Problem> {
    let part = Part::of(&app, &which, &paging)?;
    let mut rules = used(&app, &which, part.range).await?;
    if let Some(unused) = choice.unused {
        rules.retain(|_, rule| (rule.used.connections == 0) == unused);
    }
    Ok(Json(part.page(rules)))
}

/// What tells rules apart in the store.
const BY: [Field; 10] = [
    Field::OwnerKind,
    Field::OwnerNamespace,
    Field::OwnerName,
    Field::OwnerNetwork,
    Field::Direction,
    Field::RuleIndex,
    Field::RuleProtocol,
    Field::RuleIpBlock,
    Field::RuleType,
    Field::Action,
];

const MEASURES: [Measure; 5] = [
    Measure::Count,
    Measure::Sum(Field::Packets),
    Measure::Sum(Field::ReplyPackets),
    Measure::Sum(Field::DroppedPackets),
    Measure::Max(Field::End),
];

/// Rules in force, and those that decided something.
async fn used(
    app: &Scoped,
    which: &Which,
    range: Range,
) -> Result<BTreeMap<(Owner, Action), UsedRule>, Problem> {
    let groups = Groups {
        by: BY.to_vec(),
        every: None,
        measures: MEASURES.to_vec(),
        order: None,
        top: 0,
    };
    let lines = app.all_groups(range, &which.query()?, groups).await?;
    let mut rules: BTreeMap<(Owner, Action), UsedRule> = BTreeMap::new();
    for rule in app.rules() {
        match rules.entry((rule.owner.clone(), rule.action)) {
            Entry::Occupied(mut same) => same.get_mut().also(rule),
            Entry::Vacant(place) => drop(place.insert(UsedRule::unused(rule))),
        }
    }
    for line in &lines {
        let Some((owner, action, used)) = read(line) else {
            continue;
        };
        let rule = rules.entry((owner.clone(), action)).or_insert(UsedRule {
            owner,
            action: action.as_str(),
            message: None,
            zones: Vec::new(),
            sampled: true,
            used: Use::default(),
        });
        rule.used.add(&used);
    }
    Ok(rules)
}

impl UsedRule {
    fn unused(rule: KnownRule) -> Self {
        Self {
            owner: rule.owner,
            action: rule.action.as_str(),
            message: Some(rule.message),
            zones: rule.zones,
            sampled: rule.sampled,
            used: Use::default(),
        }
    }

    fn also(&mut self, rule: KnownRule) {
        self.zones.extend(rule.zones);
        self.zones.sort_unstable();
        self.zones.dedup();
        self.sampled &= rule.sampled;
    }
}

/// A line of the store's answer; `None` for connections that no ACL decided.
fn read(line: &[Cell]) -> Option<(Owner, Action, Use)> {
    let text = |place: usize| match line.get(place) {
        Some(Cell::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    let number = |place: usize| match line.get(place) {
        Some(Cell::Number(number)) => Some(*number),
        _ => None,
    };
    let count = |place: usize| number(BY.len() + place).map_or(0, i64::unsigned_abs);
    let word = text(0)?;
    let mut kinds = OwnerKind::KNOWN.into_iter();
    let owner = Owner {
        kind: kinds
            .find(|kind| netverdict_query::owner_kind_word(kind) == word)
            .unwrap_or(OwnerKind::Other(word)),
        namespace: text(1),
        name: text(2),
        network: text(3),
        direction: text(4).as_deref().and_then(Direction::parse),
        rule: Rule {
            index: number(5).and_then(|index| index.try_into().ok()),
            protocol: text(6),
            ip_block: number(7).and_then(|block| block.try_into().ok()),
            kind: text(8),
        },
    };
    let action = Action::parse(&text(9)?)?;
    let used = Use {
        connections: count(0),
        packets: count(1).saturating_add(count(2)),
        dropped_packets: count(3),
        last: number(BY.len() + 4).map(Timestamp),
    };
    Some((owner, action, used))
}
