//! Finds among many matches the first that holds for a packet, without asking each.
//!
//! What a match asks of ports, addresses, protocol and L4 ports is necessary for it, so matches are kept under that: in a bucket for each set of
//! ports, and in it under a hash of the other headers, with a table for each combination of masks (as Open vSwitch's classifier has them).
//! Address sets are not written out: a set has a number, and an address is first looked up for the numbers of the sets that hold it. What is
//! found this way is then asked for the whole match.

use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry as Slot;
use hashbrown::{HashMap, HashSet, HashTable};
use netverdict_ovn::expr::{Compiled, Field, Part, PortGroup, Relation, Values};

use crate::{L4, Lport, Northbound, State};

/// What all matches of a zone have in common: the sets of ports and addresses that they name.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    hasher: RandomState,
    ports: Vec<Arc<Ports>>,
    ports_by_content: HashMap<Vec<Lport>, u32>,
    /// By the address of what the matches share.
    groups: HashMap<usize, Box<[Lport]>>,
    values: HashMap<usize, (Arc<Values>, Arc<Numbers>)>,
    /// Address sets that matches are kept under, by the number of each.
    sets: HashMap<usize, u32>,
    /// Which of them an address is in, by mask.
    holders: Vec<(u128, Holders)>,
}

/// Numbers of sets, by what they have under a mask.
type Holders = HashMap<u128, Vec<u32>, RandomState>;

/// A set of ports.
#[derive(Debug)]
pub(crate) struct Ports {
    members: HashSet<Lport, RandomState>,
}

/// Numbers under masks.
#[derive(Debug)]
pub(crate) struct Numbers(Box<[(u128, HashSet<u128, RandomState>)]>);

/// A match, compiled for states.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    All(Box<[Op]>),
    Any(Box<[Op]>),
    Constant(bool),
    Number {
        field: Field,
        mask: u128,
        relation: Relation,
        value: u128,
    },
    Among {
        field: Field,
        numbers: Arc<Numbers>,
        sought: bool,
    },
    Port {
        inport: bool,
        set: u32,
        ports: Arc<Ports>,
        sought: bool,
    },
}

/// A match on its way into a classifier.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The match.
    pub op: Op,
    need: Need,
    /// What stands for it: whatever finds it is given this.
    pub id: u32,
    /// Its place in the order in which matches are tried, in either of two orders; the lowest is the first.
    pub order: [u64; 2],
}

impl Rule {
    pub fn new(found: &Compiled, northbound: &Northbound, shared: &mut Shared) -> Self {
        let (op, need) = shared.lower(&found.parts(), true, northbound);
        Self {
            op,
            need,
            id: 0,
            order: [0; 2],
        }
    }
}

/// What must be for a match to hold; `None`: anything may.
#[derive(Clone, Debug, Default)]
struct Need {
    inports: Option<Vec<u32>>,
    outports: Option<Vec<u32>>,
    source: Option<Vec<Address>>,
    destination: Option<Vec<Address>>,
    protocol: Option<Vec<(u16, u16)>>,
    source_port: Option<Vec<(u16, u16)>>,
    destination_port: Option<Vec<(u16, u16)>>,
}

/// An address that a match asks for; version 4 mapped into 6.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Address {
    Masked { mask: u128, value: u128 },
    Set { number: u32, size: u32 },
}

impl Address {
    /// How many addresses it is, about.
    fn size(self) -> u128 {
        match self {
            Self::Masked { mask, .. } => 1u128.checked_shl(mask.count_zeros()).unwrap_or(u128::MAX),
            Self::Set { size, .. } => size.into(),
        }
    }
}

/// Values of an address set that are kept under each value; of more under the set.
const WRITTEN_OUT: usize = 8;
/// Keys under which one match is kept at most.
const KEYS: usize = 256;
/// Matches that are asked one after the other.
const FEW: usize = 4;

impl Shared {
    /// Forgets what only those who put matches in need.
    pub fn seal(&mut self) {
        self.ports = Vec::new();
        self.ports_by_content = HashMap::new();
        self.groups = HashMap::new();
        self.values = HashMap::new();
        self.sets = HashMap::new();
    }

    /// The sets that an address is in.
    fn sets_of(&self, address: u128, found: &mut Vec<u32>) {
        found.clear();
        for (mask, holders) in &self.holders {
            if let Some(sets) = holders.get(&(address & mask)) {
                found.extend_from_slice(sets);
            }
        }
    }

    fn lower(&mut self, part: &Part<'_>, positive: bool, northbound: &Northbound) -> (Op, Need) {
        match part {
            Part::Not(inner) => self.lower(inner, !positive, northbound),
            Part::Constant(holds) => (Op::Constant(*holds == positive), Need::default()),
            Part::All(operands) | Part::Any(operands) => {
                let all = matches!(part, Part::All(_)) == positive;
                let mut ops = Vec::new();
                let mut needs: Option<Need> = None;
                for operand in operands {
                    let (op, need) = self.lower(operand, positive, northbound);
                    match op {
                        Op::Constant(holds) if holds == all => continue,
                        Op::All(inner) if all => inner.into_iter().for_each(|op| put(&mut ops, op)),
                        Op::Any(inner) if !all => {
                            inner.into_iter().for_each(|op| put(&mut ops, op));
                        }
                        op => put(&mut ops, op),
                    }
                    needs = Some(match needs {
                        None => need,
                        Some(before) if all => before.and(need),
                        Some(before) => before.or(need),
                    });
                }
                let op = match (ops.len(), all) {
                    (0, _) => Op::Constant(all),
                    (1, _) => ops.swap_remove(0),
                    (_, true) => Op::All(ops.into()),
                    (_, false) => Op::Any(ops.into()),
                };
                (op, needs.unwrap_or_default())
            }
            Part::Number {
                field,
                mask,
                relation,
                value,
            } => {
                let relation = if positive {
                    *relation
                } else {
                    relation.negated()
                };
                let op = Op::Number {
                    field: *field,
                    mask: *mask,
                    relation,
                    value: *value,
                };
                (op, Need::number(*field, *mask, relation, *value))
            }
            Part::Among {
                field,
                values,
                sought,
            } => {
                let sought = *sought == positive;
                let numbers = self.numbers(values);
                let need = if sought {
                    self.among(*field, values)
                } else {
                    Need::default()
                };
                let op = Op::Among {
                    field: *field,
                    numbers,
                    sought,
                };
                (op, need)
            }
            Part::Port {
                inport,
                names,
                groups,
            } => {
                let set = self.ports(names, groups, northbound);
                let mut need = Need::default();
                if positive {
                    let ports = if *inport {
                        &mut need.inports
                    } else {
                        &mut need.outports
                    };
                    *ports = Some(vec![set]);
                }
                let op = Op::Port {
                    inport: *inport,
                    set,
                    ports: self.ports[set as usize].clone(),
                    sought: positive,
                };
                (op, need)
            }
        }
    }

    fn ports(
        &mut self,
        names: &[String],
        groups: &[Arc<PortGroup>],
        northbound: &Northbound,
    ) -> u32 {
        let numbers = |names: &[String]| -> Vec<Lport> {
            let numbers = names.iter().filter_map(|name| northbound.port_named(name));
            numbers.collect()
        };
        let mut members = numbers(names);
        for group in groups {
            let known = self
                .groups
                .entry(Arc::as_ptr(group) as usize)
                .or_insert_with(|| numbers(group.members()).into());
            members.extend_from_slice(known);
        }
        members.sort_unstable();
        members.dedup();
        match self.ports_by_content.entry(members) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(new) => {
                let number = self.ports.len() as u32;
                self.ports.push(Arc::new(Ports {
                    members: new.key().iter().copied().collect(),
                }));
                *new.insert(number)
            }
        }
    }

    fn numbers(&mut self, values: &Arc<Values>) -> Arc<Numbers> {
        let (_, numbers) = self
            .values
            .entry(Arc::as_ptr(values) as usize)
            .or_insert_with(|| {
                let mut by_mask: Vec<(u128, HashSet<u128, RandomState>)> = Vec::new();
                for (mask, value) in values.pairs() {
                    match by_mask.last_mut().filter(|(last, _)| *last == mask) {
                        Some((_, set)) => {
                            set.insert(value);
                        }
                        None => by_mask.push((mask, [value].into_iter().collect())),
                    }
                }
                (values.clone(), Arc::new(Numbers(by_mask.into())))
            });
        numbers.clone()
    }

    fn among(&mut self, field: Field, values: &Arc<Values>) -> Need {
        let size = values.pairs().take(WRITTEN_OUT + 1).count();
        if size <= WRITTEN_OUT {
            let each = values
                .pairs()
                .map(|(mask, value)| Need::number(field, mask, Relation::Eq, value));
            return each.reduce(Need::or).unwrap_or_default();
        }
        let mut need = Need::default();
        let v4 = matches!(field, Field::Ip4Src | Field::Ip4Dst);
        match field {
            Field::Ip4Src | Field::Ip6Src => need.source = Some(vec![self.set(values, v4)]),
            Field::Ip4Dst | Field::Ip6Dst => need.destination = Some(vec![self.set(values, v4)]),
            _ => {
                let each = values
                    .pairs()
                    .map(|(mask, value)| Need::number(field, mask, Relation::Eq, value));
                return each.reduce(Need::or).unwrap_or_default();
            }
        }
        need
    }

    /// The set's number, under which addresses find it.
    fn set(&mut self, values: &Arc<Values>, v4: bool) -> Address {
        let next = self.sets.len() as u32;
        let size = values.pairs().count() as u32;
        let number = match self
            .sets
            .entry(Arc::as_ptr(values) as usize * 2 + usize::from(v4))
        {
            Slot::Occupied(known) => {
                return Address::Set {
                    number: *known.get(),
                    size,
                };
            }
            Slot::Vacant(new) => *new.insert(next),
        };
        for (mask, value) in values.pairs() {
            let (mask, value) = mapped(v4, mask, value);
            let place = match self.holders.iter().position(|(known, _)| *known == mask) {
                Some(place) => place,
                None => {
                    self.holders.push((mask, HashMap::default()));
                    self.holders.len() - 1
                }
            };
            let holders = self.holders[place].1.entry(value).or_default();
            holders.push(number);
        }
        Address::Set { number, size }
    }
}

/// Adds what is not there yet.
fn put(ops: &mut Vec<Op>, op: Op) {
    let same = |known: &Op| match (known, &op) {
        (
            Op::Number {
                field,
                mask,
                relation,
                value,
            },
            Op::Number {
                field: field_2,
                mask: mask_2,
                relation: relation_2,
                value: value_2,
            },
        ) => (field, mask, relation, value) == (field_2, mask_2, relation_2, value_2),
        (Op::Any(known), Op::Any(new)) => {
            known.len() == new.len()
                && known.iter().zip(new).all(|pair| {
                    matches!(pair, (
                Op::Number { field, mask, relation, value },
                Op::Number { field: field_2, mask: mask_2, relation: relation_2, value: value_2 },
            ) if (field, mask, relation, value) == (field_2, mask_2, relation_2, value_2))
                })
        }
        _ => false,
    };
    if !ops.iter().any(same) {
        ops.push(op);
    }
}

/// An address of version 4 as one of version 6, with its mask.
fn mapped(v4: bool, mask: u128, value: u128) -> (u128, u128) {
    match v4 {
        true => (mask | !u128::from(u32::MAX), value | 0xffff_0000_0000),
        false => (mask, value),
    }
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) | 0xffff_0000_0000,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Need {
    /// What a comparison makes necessary. One with a header of L4 stands with the protocol that it is of: OVN sees to that.
    fn number(field: Field, mask: u128, relation: Relation, value: u128) -> Self {
        let mut need = Self::default();
        let address = |v4| {
            let (mask, value) = mapped(v4, mask, value);
            (relation == Relation::Eq).then(|| vec![Address::Masked { mask, value }])
        };
        let range = || {
            // A mask that is no prefix, or part of a number in an order: nothing.
            let bits = mask as u16;
            let (value, prefix) = (value as u16, (!bits).wrapping_add(1) & !bits == 0);
            match relation {
                Relation::Eq if prefix => Some(vec![(value, value | !bits)]),
                _ if bits != u16::MAX => None,
                Relation::Le => Some(vec![(0, value)]),
                Relation::Ge => Some(vec![(value, u16::MAX)]),
                Relation::Lt => Some(
                    value
                        .checked_sub(1)
                        .map(|last| (0, last))
                        .into_iter()
                        .collect(),
                ),
                Relation::Gt => Some(
                    value
                        .checked_add(1)
                        .map(|first| (first, u16::MAX))
                        .into_iter()
                        .collect(),
                ),
                _ => None,
            }
        };
        match field {
            Field::Ip4Src => need.source = address(true),
            Field::Ip4Dst => need.destination = address(true),
            Field::Ip6Src => need.source = address(false),
            Field::Ip6Dst => need.destination = address(false),
            Field::IpProto if relation == Relation::Eq && mask == 0xff => {
                need.protocol = Some(vec![(value as u16, value as u16)]);
            }
            Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => need.source_port = range(),
            Field::TcpDst | Field::UdpDst | Field::SctpDst => need.destination_port = range(),
            _ => {}
        }
        need
    }

    /// Both are necessary.
    fn and(self, other: Self) -> Self {
        let ports = |a: Option<Vec<u32>>, b: Option<Vec<u32>>| match (a, b) {
            (Some(a), Some(b)) => Some(if a.len() <= b.len() { a } else { b }),
            (a, b) => a.or(b),
        };
        let addresses = |a: Option<Vec<Address>>, b: Option<Vec<Address>>| match (a, b) {
            (Some(a), Some(b)) => {
                let size = |all: &[Address]| {
                    all.iter()
                        .fold(0, |sum: u128, one| sum.saturating_add(one.size()))
                };
                Some(if size(&a) <= size(&b) { a } else { b })
            }
            (a, b) => a.or(b),
        };
        let ranges = |a: Option<Vec<(u16, u16)>>, b: Option<Vec<(u16, u16)>>| match (a, b) {
            (Some(a), Some(b)) => {
                let both = a.iter().flat_map(|a| {
                    b.iter()
                        .map(|b| (a.0.max(b.0), a.1.min(b.1)))
                        .filter(|(low, high)| low <= high)
                });
                Some(both.collect())
            }
            (a, b) => a.or(b),
        };
        Self {
            inports: ports(self.inports, other.inports),
            outports: ports(self.outports, other.outports),
            source: addresses(self.source, other.source),
            destination: addresses(self.destination, other.destination),
            protocol: ranges(self.protocol, other.protocol),
            source_port: ranges(self.source_port, other.source_port),
            destination_port: ranges(self.destination_port, other.destination_port),
        }
    }

    /// One of both is.
    fn or(self, other: Self) -> Self {
        fn either<T: PartialEq>(a: Option<Vec<T>>, b: Option<Vec<T>>) -> Option<Vec<T>> {
            let (mut a, b) = (a?, b?);
            for one in b {
                if !a.contains(&one) {
                    a.push(one);
                }
            }
            // So many that they would not be used.
            (a.len() <= 4 * KEYS).then_some(a)
        }
        Self {
            inports: either(self.inports, other.inports),
            outports: either(self.outports, other.outports),
            source: either(self.source, other.source),
            destination: either(self.destination, other.destination),
            protocol: either(self.protocol, other.protocol),
            source_port: either(self.source_port, other.source_port),
            destination_port: either(self.destination_port, other.destination_port),
        }
    }
}

impl Op {
    pub fn holds(&self, state: &State) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|op| op.holds(state)),
            Self::Any(operands) => operands.iter().any(|op| op.holds(state)),
            Self::Constant(holds) => *holds,
            Self::Number {
                field,
                mask,
                relation,
                value,
            } => relation.holds(state.number(*field) & mask, *value),
            Self::Among {
                field,
                numbers,
                sought,
            } => {
                let number = state.number(*field);
                let among = |(mask, values): &(u128, HashSet<u128, RandomState>)| {
                    values.contains(&(number & mask))
                };
                numbers.0.iter().any(among) == *sought
            }
            Self::Port {
                inport,
                ports,
                sought,
                ..
            } => {
                let port = if *inport { state.inport } else { state.outport };
                ports.members.contains(&port) == *sought
            }
        }
    }

    /// The fields that it reads.
    pub fn fields(&self, fields: &mut HashSet<Field>) {
        match self {
            Self::All(operands) | Self::Any(operands) => {
                operands.iter().for_each(|op| op.fields(fields));
            }
            Self::Number { field, .. } | Self::Among { field, .. } => {
                fields.insert(*field);
            }
            Self::Constant(_) | Self::Port { .. } => {}
        }
    }

    /// Without what being in a bucket says already.
    fn without(self, set: u32, inports: bool) -> Self {
        let implied = |op: &Self| matches!(op, Self::Port { inport, set: own, sought: true, .. } if (*inport, *own) == (inports, set));
        match self {
            op if implied(&op) => Self::Constant(true),
            Self::All(operands) => {
                let kept = operands.into_iter().filter(|op| !implied(op));
                Self::All(kept.collect())
            }
            op => op,
        }
    }
}

/// Matches in an order, to find the first that holds.
#[derive(Debug, Default)]
pub(crate) struct Classifier {
    entries: Box<[Entry]>,
    buckets: Box<[Bucket]>,
    /// Which buckets to look into, the one with the first match first, by port; the port by which the packet goes out if `true`.
    by_port: HashMap<(bool, Lport), Box<[u32]>, RandomState>,
    /// And that for all ports.
    any: Option<u32>,
}

#[derive(Debug)]
struct Entry {
    order: [u64; 2],
    op: Op,
    id: u32,
}

#[derive(Debug)]
struct Bucket {
    /// The first place of its matches, in each order.
    first: [u64; 2],
    /// Empty if there are so few that each is asked.
    shapes: Box<[Shape]>,
    table: HashTable<Key>,
    /// Runs of entries with one key.
    entries: Box<[u32]>,
}

/// An entry, and what is necessary for it.
type Member = (u32, Need);

/// A hash, and where its entries are.
#[derive(Clone, Copy, Debug)]
struct Key {
    hash: u64,
    start: u32,
    count: u32,
}

/// What some keys are made of.
#[derive(Clone, Copy, Debug)]
struct Shape {
    first: [u64; 2],
    masks: Masks,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Masks {
    source: By,
    destination: By,
    protocol: u16,
    source_port: u16,
    destination_port: u16,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum By {
    Nothing,
    Mask(u128),
    Set,
}

/// What a packet has of that under which matches are kept.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    source: Option<u128>,
    destination: Option<u128>,
    ports: (u16, u16),
    protocol: u16,
    sources: Known,
    destinations: Known,
}

/// The sets that an address is in.
#[derive(Debug, Default)]
struct Known {
    /// Whose they are, if they were looked up.
    address: Option<u128>,
    sets: Vec<u32>,
}

impl Known {
    fn sets(&mut self, address: u128, shared: &Shared) -> &[u32] {
        if self.address != Some(address) {
            shared.sets_of(address, &mut self.sets);
            self.address = Some(address);
        }
        &self.sets
    }
}

impl Headers {
    /// Takes those of another packet.
    pub fn read(&mut self, state: &State) {
        let packet = &state.packet;
        // The addresses of an IP packet that is cut off before them read as 0.
        let (source, destination) = match (packet.ip, packet.eth_type) {
            (Some((source, destination)), _) => (Some(source), Some(destination)),
            (None, 0x800) => (
                Some(Ipv4Addr::UNSPECIFIED.into()),
                Some(Ipv4Addr::UNSPECIFIED.into()),
            ),
            (None, 0x86dd) => (
                Some(Ipv6Addr::UNSPECIFIED.into()),
                Some(Ipv6Addr::UNSPECIFIED.into()),
            ),
            (None, _) => (None, None),
        };
        self.source = source.map(number_of);
        self.destination = destination.map(number_of);
        self.protocol = packet.protocol.into();
        self.ports = match packet.l4 {
            L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
                (src, dst)
            }
            _ => (0, 0),
        };
    }
}

impl Classifier {
    /// Puts the rules in. A rule that can never hold should not be there.
    pub fn new(rules: Vec<Rule>, shared: &Shared) -> Self {
        let mut entries = Vec::with_capacity(rules.len());
        let mut homes: HashMap<Option<(bool, u32)>, Vec<Member>> = HashMap::new();
        for rule in rules {
            let number = entries.len() as u32;
            let (sets, inports) = match (&rule.need.outports, &rule.need.inports) {
                (Some(sets), _) => (Some(sets), false),
                (None, Some(sets)) => (Some(sets), true),
                (None, None) => (None, false),
            };
            let mut op = rule.op;
            match sets {
                Some(sets) => {
                    if let [only] = sets[..] {
                        op = op.without(only, inports);
                    }
                    for set in sets {
                        let home = homes.entry(Some((!inports, *set))).or_default();
                        home.push((number, rule.need.clone()));
                    }
                }
                None => homes
                    .entry(None)
                    .or_default()
                    .push((number, rule.need.clone())),
            }
            entries.push(Entry {
                order: rule.order,
                op,
                id: rule.id,
            });
        }
        let mut buckets = Vec::with_capacity(homes.len());
        let mut by_port: HashMap<(bool, Lport), Vec<u32>> = HashMap::new();
        let mut any = None;
        for (home, members) in homes {
            let number = buckets.len() as u32;
            buckets.push(Bucket::new(members, &entries, shared));
            match home {
                None => any = Some(number),
                Some((outport, set)) => {
                    for port in &shared.ports[set as usize].members {
                        by_port.entry((outport, *port)).or_default().push(number);
                    }
                }
            }
        }
        let by_port = by_port.into_iter().map(|(port, mut found)| {
            found.sort_by_key(|bucket| buckets[*bucket as usize].first[0]);
            (port, found.into())
        });
        Self {
            by_port: by_port.collect(),
            entries: entries.into(),
            buckets: buckets.into(),
            any,
        }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first match that holds and is wanted, in one of both orders.
    pub fn find(
        &self,
        state: &State,
        headers: &mut Headers,
        shared: &Shared,
        order: usize,
        wanted: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut search = Search {
            classifier: self,
            state,
            order,
            wanted,
            best: u64::MAX,
            found: None,
        };
        if let Some(any) = self.any {
            search.bucket(any, headers, shared);
        }
        for side in [(true, state.outport), (false, state.inport)] {
            for bucket in self.by_port.get(&side).map_or(&[][..], |found| found) {
                search.bucket(*bucket, headers, shared);
            }
        }
        search.found
    }
}

struct Search<'a, W> {
    classifier: &'a Classifier,
    state: &'a State,
    order: usize,
    wanted: W,
    best: u64,
    found: Option<u32>,
}

impl<W: Fn(u32) -> bool> Search<'_, W> {
    fn bucket(&mut self, bucket: u32, headers: &mut Headers, shared: &Shared) {
        let Some(bucket) = self.classifier.buckets.get(bucket as usize) else {
            return;
        };
        if bucket.first[self.order] >= self.best {
            return;
        }
        if bucket.shapes.is_empty() {
            self.ask(&bucket.entries);
            return;
        }
        for (number, shape) in bucket.shapes.iter().enumerate() {
            if shape.first[self.order] >= self.best {
                continue;
            }
            let masks = &shape.masks;
            let rest = |source, destination| Parts {
                shape: number as u32,
                source,
                destination,
                ports: u64::from(headers.protocol & masks.protocol) << 32
                    | u64::from(headers.ports.0 & masks.source_port) << 16
                    | u64::from(headers.ports.1 & masks.destination_port),
            };
            let one = |by: By, address: Option<u128>| match (by, address) {
                (By::Nothing, _) => Some(0),
                (By::Mask(mask), Some(address)) => Some(address & mask),
                _ => None,
            };
            let (by_source, by_destination) = (masks.source, masks.destination);
            if by_source != By::Set && by_destination != By::Set {
                let (Some(source), Some(destination)) = (
                    one(by_source, headers.source),
                    one(by_destination, headers.destination),
                ) else {
                    continue;
                };
                let parts = rest(source, destination);
                self.probe(bucket, shared, parts);
                continue;
            }
            let (Some(source), Some(destination)) = (headers.source, headers.destination) else {
                continue;
            };
            let parts = rest(0, 0);
            let sources = match by_source {
                By::Set => headers.sources.sets(source, shared),
                _ => &[0],
            };
            let destinations = match by_destination {
                By::Set => headers.destinations.sets(destination, shared),
                _ => &[0],
            };
            let single = (
                one(by_source, Some(source)),
                one(by_destination, Some(destination)),
            );
            for source in sources {
                for destination in destinations {
                    let parts = Parts {
                        source: single.0.unwrap_or((*source).into()),
                        destination: single.1.unwrap_or((*destination).into()),
                        ..parts
                    };
                    self.probe(bucket, shared, parts);
                }
            }
        }
    }

    fn probe(&mut self, bucket: &Bucket, shared: &Shared, parts: Parts) {
        let hash = shared.hash(parts);
        if let Some(key) = bucket.table.find(hash, |key| key.hash == hash) {
            let run = key.start as usize..(key.start + key.count) as usize;
            self.ask(bucket.entries.get(run).unwrap_or_default());
        }
    }

    /// Asks entries, which are in the first of both orders.
    fn ask(&mut self, entries: &[u32]) {
        for number in entries {
            let Some(entry) = self.classifier.entries.get(*number as usize) else {
                return;
            };
            let order = entry.order[self.order];
            if order >= self.best {
                if self.order == 0 {
                    return;
                }
                continue;
            }
            if (self.wanted)(entry.id) && entry.op.holds(self.state) {
                self.best = order;
                self.found = Some(entry.id);
            }
        }
    }
}

/// What a key is the hash of.
#[derive(Clone, Copy, Hash)]
struct Parts {
    shape: u32,
    source: u128,
    destination: u128,
    ports: u64,
}

impl Shared {
    fn hash(&self, parts: Parts) -> u64 {
        self.hasher.hash_one(parts)
    }
}

impl Bucket {
    fn new(members: Vec<Member>, entries: &[Entry], shared: &Shared) -> Self {
        let order = |number: u32| entries[number as usize].order;
        let least = |a: [u64; 2], b: [u64; 2]| [a[0].min(b[0]), a[1].min(b[1])];
        let first = members.iter().fold([u64::MAX; 2], |first, (number, _)| {
            least(first, order(*number))
        });
        if members.len() <= FEW {
            let mut numbers: Vec<u32> = members.iter().map(|(number, _)| *number).collect();
            numbers.sort_by_key(|number| order(*number)[0]);
            return Self {
                first,
                shapes: Box::default(),
                table: HashTable::new(),
                entries: numbers.into(),
            };
        }
        let mut numbers: HashMap<Masks, u32> = HashMap::new();
        let mut shapes: Vec<Shape> = Vec::new();
        let mut keys: Vec<(u32, Parts, u32)> = Vec::new();
        for (member, need) in members {
            need.each_key(|masks, parts| {
                let number = *numbers.entry(masks).or_insert_with(|| {
                    shapes.push(Shape {
                        first: [u64::MAX; 2],
                        masks,
                    });
                    shapes.len() as u32 - 1
                });
                let shape = &mut shapes[number as usize];
                shape.first = least(shape.first, order(member));
                keys.push((number, parts, member));
            });
        }
        // The shapes with what comes first are looked up first.
        let mut by_first: Vec<u32> = (0..shapes.len() as u32).collect();
        by_first.sort_by_key(|number| shapes[*number as usize].first);
        let mut places = vec![0; shapes.len()];
        for (place, number) in by_first.iter().enumerate() {
            places[*number as usize] = place as u32;
        }
        let mut hashed: Vec<(u64, u64, u32)> = keys
            .into_iter()
            .map(|(shape, parts, member)| {
                let parts = Parts {
                    shape: places[shape as usize],
                    ..parts
                };
                (shared.hash(parts), order(member)[0], member)
            })
            .collect();
        hashed.sort_unstable();
        hashed.dedup();
        let mut table = HashTable::with_capacity(hashed.len());
        let mut start = 0;
        for run in hashed.chunk_by(|a, b| a.0 == b.0) {
            let (hash, count) = (run[0].0, run.len() as u32);
            table.insert_unique(hash, Key { hash, start, count }, |key| key.hash);
            start += count;
        }
        Self {
            first,
            shapes: by_first
                .iter()
                .map(|number| shapes[*number as usize])
                .collect(),
            table,
            entries: hashed.iter().map(|(_, _, member)| *member).collect(),
        }
    }
}

impl Need {
    /// All keys under which a match with this need is found.
    fn each_key(self, mut key: impl FnMut(Masks, Parts)) {
        let addresses = |all: Option<Vec<Address>>| {
            let Some(all) = all else {
                return vec![(By::Nothing, 0)];
            };
            all.into_iter()
                .map(|address| match address {
                    Address::Masked { mask, value } => (By::Mask(mask), value),
                    Address::Set { number, .. } => (By::Set, number.into()),
                })
                .collect()
        };
        let ranges = |all: Option<Vec<(u16, u16)>>| match all {
            None => vec![(0, 0)],
            Some(all) => all.into_iter().flat_map(prefixes).collect::<Vec<_>>(),
        };
        let mut source = addresses(self.source);
        let mut destination = addresses(self.destination);
        let mut protocol = ranges(self.protocol);
        let mut source_port = ranges(self.source_port);
        let mut destination_port = ranges(self.destination_port);
        // Too many keys: without that of which there are most.
        loop {
            let counts = [
                source.len(),
                destination.len(),
                protocol.len(),
                source_port.len(),
                destination_port.len(),
            ];
            let product = counts
                .iter()
                .fold(1, |product: usize, count| product.saturating_mul(*count));
            let most = counts.into_iter().max().unwrap_or(0);
            if product <= KEYS {
                break;
            }
            match counts.iter().position(|count| *count == most) {
                Some(0) => source = vec![(By::Nothing, 0)],
                Some(1) => destination = vec![(By::Nothing, 0)],
                Some(2) => protocol = vec![(0, 0)],
                Some(3) => source_port = vec![(0, 0)],
                _ => destination_port = vec![(0, 0)],
            }
        }
        for (by_source, source) in &source {
            for (by_destination, destination) in &destination {
                for protocol in &protocol {
                    for source_port in &source_port {
                        for destination_port in &destination_port {
                            let masks = Masks {
                                source: *by_source,
                                destination: *by_destination,
                                protocol: protocol.0,
                                source_port: source_port.0,
                                destination_port: destination_port.0,
                            };
                            let parts = Parts {
                                shape: 0,
                                source: *source,
                                destination: *destination,
                                ports: u64::from(protocol.1) << 32
                                    | u64::from(source_port.1) << 16
                                    | u64::from(destination_port.1),
                            };
                            key(masks, parts);
                        }
                    }
                }
            }
        }
    }
}

/// A range as pairs of mask and value.
fn prefixes((low, high): (u16, u16)) -> Vec<(u16, u16)> {
    let mut found = Vec::new();
    let (mut low, high) = (u32::from(low), u32::from(high));
    while low <= high {
        let mut size = if low == 0 {
            1 << 16
        } else {
            low & low.wrapping_neg()
        };
        while low + size - 1 > high {
            size >>= 1;
        }
        found.push((!(size - 1) as u16, low as u16));
        low += size;
    }
    found
}
