use std::collections::BTreeMap;

use axum::Json;
use netverdict_query::Field;
use netverdict_query::ask::{Cell, Groups, Measure, Want};
use netverdict_types::{Direction, Owner, OwnerKind, Rule, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::Scoped;
use crate::cluster::KnownRule;
use crate::params::{Params, Which};
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

/// Policies and their use.
#[derive(Serialize, ToSchema)]
pub(crate) struct Policies {
    /// Those in force and those that decided within the time, by kind, namespace and name.
    items: Vec<Policy>,
}

/// A policy, or whatever else made ACLs.
#[derive(Serialize, ToSchema)]
struct Policy {
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

/// Rules and their use.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rules {
    /// Those in force and those that decided within the time, by policy.
    items: Vec<UsedRule>,
}

/// A rule of a policy.
#[derive(Serialize, ToSchema)]
struct UsedRule {
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
/// Those in force, used or not, and those that decided something within the time.
#[utoipa::path(get, path = "/policies", tag = "policies", params(Which), responses((status = 200, body = Policies), Problems))]
pub(crate) async fn policies(
    app: Scoped,
    Params(which): Params<Which>,
) -> Result<Json<Policies>, Problem> {
    let rules = used(&app, &which).await?;
    let mut policies: BTreeMap<Key, Policy> = BTreeMap::new();
    for rule in rules {
        let owner = Owner {
            direction: None,
            rule: Rule::default(),
            ..rule.owner
        };
        let policy = policies.entry(Key::of(&owner, "")).or_insert(Policy {
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
    Ok(Json(Policies {
        items: policies.into_values().collect(),
    }))
}

/// Rules with their last use
///
/// Those in force, used or not, and those that decided something within the time.
#[utoipa::path(get, path = "/rules", tag = "policies", params(Which, Choice), responses((status = 200, body = Rules), Problems))]
pub(crate) async fn rules(
    app: Scoped,
    Params(which): Params<Which>,
    Params(choice): Params<Choice>,
) -> Result<Json<Rules>, Problem> {
    let mut items = used(&app, &which).await?;
    if let Some(unused) = choice.unused {
        items.retain(|rule| (rule.used.connections == 0) == unused);
    }
    Ok(Json(Rules { items }))
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
async fn used(app: &Scoped, which: &Which) -> Result<Vec<UsedRule>, Problem> {
    let want = Want::Groups(Groups {
        by: BY.to_vec(),
        every: None,
        measures: MEASURES.to_vec(),
        order: None,
        top: app.limits().groups,
    });
    let (ask, _) = which.ask(app, want)?;
    let answer = app.ask(ask).await?;
    let mut rules: BTreeMap<Key, UsedRule> = BTreeMap::new();
    for rule in app.rules() {
        let key = Key::of(&rule.owner, rule.action.as_str());
        match rules.get_mut(&key) {
            Some(same) => same.also(rule),
            None => {
                rules.insert(key, UsedRule::unused(rule));
            }
        }
    }
    for line in &answer.lines {
        let Some((owner, action, used)) = read(line) else {
            continue;
        };
        let rule = rules.entry(Key::of(&owner, action)).or_insert(UsedRule {
            owner,
            action,
            message: None,
            zones: Vec::new(),
            sampled: true,
            used: Use::default(),
        });
        rule.used.add(&used);
    }
    Ok(rules.into_values().collect())
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
fn read(line: &[Cell]) -> Option<(Owner, &'static str, Use)> {
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
    let action = netverdict_types::Action::parse(&text(9)?)?.as_str();
    let used = Use {
        connections: count(0),
        packets: count(1).saturating_add(count(2)),
        dropped_packets: count(3),
        last: number(BY.len() + 4).map(Timestamp),
    };
    Some((owner, action, used))
}

/// What rules are told apart and put in order by.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    owner: (OwnerKind, Option<String>, Option<String>, Option<String>),
    direction: Option<&'static str>,
    rule: (Option<u32>, Option<String>, Option<i32>, Option<String>),
    action: &'static str,
}

impl Key {
    fn of(owner: &Owner, action: &'static str) -> Self {
        let Rule {
            index,
            protocol,
            ip_block,
            kind,
        } = owner.rule.clone();
        let (namespace, name) = (owner.namespace.clone(), owner.name.clone());
        Self {
            owner: (owner.kind.clone(), namespace, name, owner.network.clone()),
            direction: owner.direction.map(Direction::as_str),
            rule: (index, protocol, ip_block, kind),
            action,
        }
    }
}
