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
use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
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
    /// What [`Holders`] point to.
    held: Vec<u32>,
    /// Mask, value and set, before they are in order.
    holds: Vec<(u128, u128, u32)>,
}

/// Numbers of sets, by what they have under a mask: where they are.
type Holders = HashMap<u128, (u32, u32), RandomState>;

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
    /// `eth.type == 0x800` and the like, most asked for.
    EthType(u16),
    /// `ip.proto == 6` and the like.
    Protocol(u8),
    /// `tcp.dst == 80` and the like; the protocol is asked for beside it.
    DestinationPort {
        field: Field,
        value: u16,
    },
    Number(Box<Number>),
    Among {
        field: Field,
        numbers: Arc<Numbers>,
        sought: bool,
    },
    /// Whether an address is in a set that has a number.
    InSet {
        source: bool,
        field: Field,
        number: u32,
        sought: bool,
    },
    Port {
        inport: bool,
        set: u32,
        ports: Arc<Ports>,
        sought: bool,
    },
}

/// A comparison of bits of a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    field: Field,
    mask: u128,
    relation: Relation,
    value: u128,
}

/// A match on its way into a classifier.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The match.
    pub op: Op,
    need: Need,
    /// What stands for it: whatever finds it is given this.
    pub id: u32,
    /// Of which class it is, for those who want some classes only.
    pub class: u8,
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
            class: 0,
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
    /// Makes it ready for packets, and forgets what only those who put matches in need.
    pub fn seal(&mut self) {
        self.ports = Vec::new();
        self.ports_by_content = HashMap::new();
        self.groups = HashMap::new();
        self.values = HashMap::new();
        self.sets = HashMap::new();
        let mut holds = std::mem::take(&mut self.holds);
        holds.sort_unstable();
        holds.dedup();
        for of_mask in holds.chunk_by(|a, b| a.0 == b.0) {
            let mut holders = Holders::default();
            for of_value in of_mask.chunk_by(|a, b| a.1 == b.1) {
                let range = (self.held.len() as u32, of_value.len() as u32);
                holders.insert(of_value[0].1, range);
                self.held.extend(of_value.iter().map(|(_, _, set)| *set));
            }
            self.holders.push((of_mask[0].0, holders));
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
                    (_, true) => {
                        // One of the others says already that one of these holds.
                        let implied = |op: &Op| match op {
                            Op::Any(any) => any.iter().any(|one| ops.iter().any(|op| op.is(one))),
                            _ => false,
                        };
                        let implied: Vec<bool> = ops.iter().map(implied).collect();
                        let mut implied = implied.into_iter();
                        ops.retain(|_| implied.next() != Some(true));
                        // What tells apart those that are kept under the same.
                        ops.sort_by_key(|op| !matches!(op, Op::InSet { .. }));
                        Op::All(ops.into())
                    }
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
                let op = Op::number(*field, *mask, relation, *value);
                (op, Need::number(*field, *mask, relation, *value))
            }
            Part::Among {
                field,
                values,
                sought,
            } => {
                let sought = *sought == positive;
                let numbers = self.numbers(values);
                let among = self.among(*field, values);
                let mut op = Op::Among {
                    field: *field,
                    numbers,
                    sought,
                };
                for (source, need) in [(true, &among.source), (false, &among.destination)] {
                    if let Some([Address::Set { number, .. }]) = need.as_deref() {
                        op = Op::InSet {
                            source,
                            field: *field,
                            number: *number,
                            sought,
                        };
                    }
                }
                (op, if sought { among } else { Need::default() })
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
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
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
            Entry::Occupied(known) => {
                return Address::Set {
                    number: *known.get(),
                    size,
                };
            }
            Entry::Vacant(new) => *new.insert(next),
        };
        let holds = values.pairs().map(|(mask, value)| {
            let (mask, value) = mapped(v4, mask, value);
            (mask, value, number)
        });
        self.holds.extend(holds);
        Address::Set { number, size }
    }
}

/// Adds what is not there yet.
fn put(ops: &mut Vec<Op>, op: Op) {
    if !ops.iter().any(|known| known.is(&op)) {
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

/// An address as a number; version 4 mapped into 6.
pub(crate) fn number_of(address: IpAddr) -> u128 {
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
    fn number(field: Field, mask: u128, relation: Relation, value: u128) -> Self {
        match (field, relation, mask) {
            (Field::EthType, Relation::Eq, 0xffff) => Self::EthType(value as u16),
            (Field::IpProto, Relation::Eq, 0xff) => Self::Protocol(value as u8),
            (Field::TcpDst | Field::UdpDst | Field::SctpDst, Relation::Eq, 0xffff) => {
                let value = value as u16;
                Self::DestinationPort { field, value }
            }
            _ => Self::Number(Box::new(Number {
                field,
                mask,
                relation,
                value,
            })),
        }
    }

    /// Whether another surely asks for the same.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::EthType(a), Self::EthType(b)) => a == b,
            (Self::Protocol(a), Self::Protocol(b)) => a == b,
            (
                Self::DestinationPort { field, value },
                Self::DestinationPort {
                    field: field_2,
                    value: value_2,
                },
            ) => (field, value) == (field_2, value_2),
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::Any(a), Self::Any(b)) | (Self::All(a), Self::All(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b))
            }
            _ => false,
        }
    }

    /// Whether it holds; the headers must be those of the state.
    pub fn holds(&self, state: &State, headers: &mut Headers, shared: &Shared) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|op| op.holds(state, headers, shared)),
            Self::Any(operands) => operands.iter().any(|op| op.holds(state, headers, shared)),
            Self::InSet {
                source,
                number,
                sought,
                ..
            } => {
                let (source, number) = (*source, *number);
                headers.is_in(Set { source, number }, shared) == *sought
            }
            Self::Constant(holds) => *holds,
            Self::EthType(value) => state.packet.eth_type == *value,
            Self::Protocol(value) => state.packet.protocol == *value,
            Self::DestinationPort { value, .. } => headers.ports.1 == *value,
            Self::Number(number) => {
                let read = state.number(number.field) & number.mask;
                number.relation.holds(read, number.value)
            }
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
        let field = match self {
            Self::All(operands) | Self::Any(operands) => {
                operands.iter().for_each(|op| op.fields(fields));
                return;
            }
            Self::Constant(_) | Self::Port { .. } => return,
            Self::EthType(_) => Field::EthType,
            Self::Protocol(_) => Field::IpProto,
            Self::Number(number) => number.field,
            Self::DestinationPort { field, .. }
            | Self::Among { field, .. }
            | Self::InSet { field, .. } => *field,
        };
        fields.insert(field);
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

/// Matches in an order, to find the first that holds. Memory is what a search waits for: what it reads lies side by side, and what it need not
/// read lies elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Classifier {
    /// Which buckets to look into, by port; the port by which the packet goes out if `true`.
    by_port: HashMap<(bool, Lport), Range, RandomState>,
    /// Whether there are any of outports, and of inports.
    sides: [bool; 2],
    /// Those of each port, the one with the first match first.
    buckets: Box<[Bucket]>,
    /// And that for all ports.
    any: Option<Bucket>,
    shapes: Box<[Shape]>,
    masks: Box<[Masks]>,
    /// The sets of shapes.
    sets: Box<[u32]>,
    table: Table,
    /// Runs of candidates with one key, or that are asked one after the other.
    candidates: Box<[Candidate]>,
    /// The terms of candidates.
    ops: Box<[Op]>,
}

/// Where something is in a slice: its start and its length.
#[derive(Clone, Copy, Debug, Default)]
struct Range(u32, u32);

impl Range {
    fn of<T>(self, slice: &[T]) -> &[T] {
        let range = self.0 as usize..(self.0 + self.1) as usize;
        slice.get(range).unwrap_or_default()
    }

    /// Of what is put behind all that is there.
    fn extend<T>(all: &mut Vec<T>, more: impl IntoIterator<Item = T>) -> Self {
        let start = all.len();
        all.extend(more);
        Self(start as u32, (all.len() - start) as u32)
    }
}

/// A match that may hold: its address is in the set, if it has one, and all of its terms must hold.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Its place in each order.
    order: [u32; 2],
    set: Option<Set>,
    terms: Range,
    id: u32,
    class: u8,
    /// Whether its run ends with it.
    last: bool,
}

/// An address set that has a number, and which address is to be in it.
#[derive(Clone, Copy, Debug)]
struct Set {
    source: bool,
    number: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// The first place of its matches, in each order.
    first: [u32; 2],
    inside: Inside,
}

#[derive(Clone, Copy, Debug)]
enum Inside {
    /// So few that each is asked: where their run is.
    Few(u32),
    Shapes(Range),
}

/// An entry, and what is necessary for it.
type Member = (u32, Need);

/// Where the runs of keys are, by hash. What has the same hash has one run.
#[derive(Debug, Default)]
struct Table(Box<[Slot]>);

/// A hash, and the run that it leads to; [`Slot::FREE`] if to none.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    run: u32,
}

impl Slot {
    const FREE: u32 = u32::MAX;
}

impl Table {
    /// With room for so many hashes, as many again stay free.
    fn of(hashes: usize) -> Self {
        let free = Slot {
            hash: 0,
            run: Slot::FREE,
        };
        Self(vec![free; (2 * hashes).next_power_of_two()].into())
    }

    /// Where a hash is, or the free slot in which it would be. A table that was not made for any hash has no slots.
    fn slot(&self, hash: u32) -> Option<usize> {
        let mut place = hash as usize;
        loop {
            place &= self.0.len().wrapping_sub(1);
            let slot = self.0.get(place)?;
            if slot.run == Slot::FREE || slot.hash == hash {
                return Some(place);
            }
            place += 1;
        }
    }

    fn put(&mut self, hash: u32, run: u32) {
        if let Some(place) = self.slot(hash) {
            self.0[place] = Slot { hash, run };
        }
    }

    fn run(&self, hash: u32) -> Option<u32> {
        let run = self.0[self.slot(hash)?].run;
        (run != Slot::FREE).then_some(run)
    }
}

/// What some keys of a bucket are made of.
#[derive(Clone, Copy, Debug)]
struct Shape {
    first: [u32; 2],
    /// By number.
    masks: u32,
    /// The sets that are in keys.
    sets: Range,
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
    /// Where they are.
    range: (u32, u32),
    /// Those of several masks, brought together.
    joined: Option<Vec<u32>>,
    spare: Vec<u32>,
}

impl Known {
    /// Their numbers in order.
    fn sets<'a>(&'a mut self, address: u128, shared: &'a Shared) -> &'a [u32] {
        if self.address != Some(address) {
            self.look_up(address, shared);
        }
        match &self.joined {
            Some(joined) => joined,
            None => shared.held(self.range),
        }
    }

    fn look_up(&mut self, address: u128, shared: &Shared) {
        self.address = Some(address);
        if let Some(joined) = self.joined.take() {
            self.spare = joined;
        }
        self.range = (0, 0);
        let mut found = shared
            .holders
            .iter()
            .filter_map(|(mask, holders)| holders.get(&(address & mask)).copied());
        let Some(first) = found.next() else {
            return;
        };
        self.range = first;
        let Some(second) = found.next() else {
            return;
        };
        let mut joined = std::mem::take(&mut self.spare);
        joined.clear();
        for range in [first, second].into_iter().chain(found) {
            joined.extend_from_slice(shared.held(range));
        }
        joined.sort_unstable();
        joined.dedup();
        self.joined = Some(joined);
    }
}

impl Headers {
    fn is_in(&mut self, set: Set, shared: &Shared) -> bool {
        let (address, known) = match set.source {
            true => (self.source, &mut self.sources),
            false => (self.destination, &mut self.destinations),
        };
        address.is_some_and(|address| has(known.sets(address, shared), set.number))
    }

    /// The next of these sets, which are in order, that an address is in.
    fn next_set(
        &mut self,
        source: bool,
        sets: &[u32],
        place: &mut usize,
        shared: &Shared,
    ) -> Option<u32> {
        let (address, known) = match source {
            true => (self.source?, &mut self.sources),
            false => (self.destination?, &mut self.destinations),
        };
        let known = known.sets(address, shared);
        let (fewer, more) = match known.len() <= sets.len() {
            true => (known, sets),
            false => (sets, known),
        };
        while let Some(set) = fewer.get(*place) {
            *place += 1;
            if has(more, *set) {
                return Some(*set);
            }
        }
        None
    }

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

/// Whether a number is among these, which are in order: halves them until comparing all that are left is faster.
fn has(numbers: &[u32], number: u32) -> bool {
    let mut left = numbers;
    while left.len() > 32 {
        let (lower, upper) = left.split_at(left.len() / 2);
        left = if number < upper[0] { lower } else { upper };
    }
    left.iter()
        .fold(false, |found, other| found | (number == *other))
}

impl Classifier {
    /// Puts the rules in.
    pub fn new(rules: Vec<Rule>, shared: &Shared) -> Self {
        let places = [0, 1].map(|order| places(&rules, order));
        let mut builder = Builder {
            shared,
            entries: Vec::with_capacity(rules.len()),
            shapes: Vec::new(),
            masks: Vec::new(),
            numbers: HashMap::new(),
            sets: Vec::new(),
            keys: Vec::new(),
            candidates: Vec::with_capacity(rules.len()),
        };
        let mut ops = Vec::new();
        let mut homes: HashMap<Option<(bool, u32)>, Vec<Member>> = HashMap::new();
        for (rule, order) in rules.into_iter().zip(0..) {
            let number = order as u32;
            let order = [0, 1].map(|which: usize| places[which][order]);
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
                None => {
                    let home = homes.entry(None).or_default();
                    home.push((number, rule.need.clone()));
                }
            }
            let mut terms = match op {
                Op::All(terms) => terms.into_vec(),
                op => vec![op],
            };
            let mut set = None;
            if let Some(Op::InSet {
                source,
                number,
                sought: true,
                ..
            }) = terms.first()
            {
                set = Some(Set {
                    source: *source,
                    number: *number,
                });
                terms.remove(0);
            }
            builder.entries.push(Candidate {
                order,
                set,
                terms: Range::extend(&mut ops, terms),
                id: rule.id,
                class: rule.class,
                last: false,
            });
        }
        let mut any = None;
        let mut of_port: HashMap<(bool, Lport), Vec<Bucket>> = HashMap::new();
        for (home, members) in homes {
            let bucket = builder.bucket(members);
            match home {
                None => any = Some(bucket),
                Some((outport, set)) => {
                    for port in &shared.ports[set as usize].members {
                        of_port.entry((outport, *port)).or_default().push(bucket);
                    }
                }
            }
        }
        let sides = [true, false].map(|out| of_port.keys().any(|(side, _)| *side == out));
        let mut buckets = Vec::new();
        let by_port = of_port.into_iter().map(|(port, mut found)| {
            found.sort_by_key(|bucket| bucket.first[0]);
            (port, Range::extend(&mut buckets, found))
        });
        Self {
            by_port: by_port.collect(),
            sides,
            buckets: buckets.into(),
            any,
            table: builder.table(),
            shapes: builder.shapes.into(),
            masks: builder.masks.into(),
            sets: builder.sets.into(),
            candidates: builder.candidates.into(),
            ops: ops.into(),
        }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The first match that holds and whose class is wanted, in one of both orders.
    pub fn find(
        &self,
        state: &State,
        headers: &mut Headers,
        shared: &Shared,
        order: usize,
        wanted: impl Fn(u8) -> bool,
    ) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let mut search = Search {
            classifier: self,
            state,
            order,
            wanted,
            best: u32::MAX,
            found: None,
        };
        if let Some(any) = &self.any {
            search.bucket(any, headers, shared);
        }
        let sides = [(true, state.outport), (false, state.inport)];
        for (side, asked) in sides.iter().zip(self.sides) {
            if !asked {
                continue;
            }
            let buckets = self.by_port.get(side).copied().unwrap_or_default();
            for bucket in buckets.of(&self.buckets) {
                search.bucket(bucket, headers, shared);
            }
        }
        search.found
    }
}

/// The place of each rule in an order.
fn places(rules: &[Rule], order: usize) -> Vec<u32> {
    let mut sorted: Vec<usize> = (0..rules.len()).collect();
    sorted.sort_by_key(|number| rules[*number].order[order]);
    let mut places = vec![0; rules.len()];
    for (place, number) in (0..).zip(sorted) {
        places[number] = place;
    }
    places
}

struct Search<'a, W> {
    classifier: &'a Classifier,
    state: &'a State,
    order: usize,
    wanted: W,
    best: u32,
    found: Option<u32>,
}

impl<W: Fn(u8) -> bool> Search<'_, W> {
    fn bucket(&mut self, bucket: &Bucket, headers: &mut Headers, shared: &Shared) {
        if bucket.first[self.order] >= self.best {
            return;
        }
        match bucket.inside {
            Inside::Few(run) => self.ask(run, headers, shared),
            Inside::Shapes(shapes) => {
                for (number, shape) in (shapes.0..).zip(shapes.of(&self.classifier.shapes)) {
                    if shape.first[self.order] < self.best {
                        self.shape(number, shape, headers, shared);
                    }
                }
            }
        }
    }

    fn shape(&mut self, number: u32, shape: &Shape, headers: &mut Headers, shared: &Shared) {
        let classifier = self.classifier;
        let Some(masks) = classifier.masks.get(shape.masks as usize) else {
            return;
        };
        let part = |by: By, address: Option<u128>| match (by, address) {
            (By::Nothing, _) | (By::Set, Some(_)) => Some(0),
            (By::Mask(mask), Some(address)) => Some(address & mask),
            (_, None) => None,
        };
        let (Some(source), Some(destination)) = (
            part(masks.source, headers.source),
            part(masks.destination, headers.destination),
        ) else {
            return;
        };
        let parts = Parts {
            shape: number,
            source,
            destination,
            ports: u64::from(headers.protocol & masks.protocol) << 32
                | u64::from(headers.ports.0 & masks.source_port) << 16
                | u64::from(headers.ports.1 & masks.destination_port),
        };
        let by_source = masks.source == By::Set;
        if !by_source && masks.destination != By::Set {
            return self.probe(headers, shared, parts);
        }
        let sets = shape.sets.of(&classifier.sets);
        let mut place = 0;
        while let Some(set) = headers.next_set(by_source, sets, &mut place, shared) {
            let set = u128::from(set);
            let parts = match by_source {
                true => Parts {
                    source: set,
                    ..parts
                },
                false => Parts {
                    destination: set,
                    ..parts
                },
            };
            self.probe(headers, shared, parts);
        }
    }

    fn probe(&mut self, headers: &mut Headers, shared: &Shared, parts: Parts) {
        if let Some(run) = self.classifier.table.run(shared.hash(parts)) {
            self.ask(run, headers, shared);
        }
    }

    /// Asks a run of candidates, which are in the first of both orders.
    fn ask(&mut self, run: u32, headers: &mut Headers, shared: &Shared) {
        let classifier = self.classifier;
        let run = classifier.candidates.get(run as usize..);
        for candidate in run.unwrap_or_default() {
            let order = candidate.order[self.order];
            if order < self.best {
                let state = self.state;
                if (self.wanted)(candidate.class)
                    && candidate.set.is_none_or(|set| headers.is_in(set, shared))
                    && candidate
                        .terms
                        .of(&classifier.ops)
                        .iter()
                        .all(|op| op.holds(state, headers, shared))
                {
                    self.best = order;
                    self.found = Some(candidate.id);
                }
            } else if self.order == 0 {
                return;
            }
            if candidate.last {
                return;
            }
        }
    }
}

/// What a key is the hash of.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Parts {
    shape: u32,
    source: u128,
    destination: u128,
    ports: u64,
}

impl Shared {
    fn held(&self, (start, count): (u32, u32)) -> &[u32] {
        Range(start, count).of(&self.held)
    }

    fn hash(&self, parts: Parts) -> u32 {
        self.hasher.hash_one(parts) as u32
    }
}

/// The first place of the entries with keys of a shape, and the keys with an entry each.
type Keys = ([u32; 2], Vec<(Parts, u32)>);

/// What a classifier is made of.
struct Builder<'a> {
    shared: &'a Shared,
    entries: Vec<Candidate>,
    shapes: Vec<Shape>,
    masks: Vec<Masks>,
    /// Of masks.
    numbers: HashMap<Masks, u32>,
    sets: Vec<u32>,
    /// Hash, place of an entry, and the entry.
    keys: Vec<(u32, u32, u32)>,
    candidates: Vec<Candidate>,
}

impl Builder<'_> {
    fn order(&self, entry: u32) -> [u32; 2] {
        self.entries[entry as usize].order
    }

    /// Puts entries, which are in the first of both orders, side by side.
    fn run(&mut self, entries: impl IntoIterator<Item = u32>) -> u32 {
        let start = self.candidates.len() as u32;
        let run = entries
            .into_iter()
            .map(|entry| self.entries[entry as usize]);
        self.candidates.extend(run);
        if let Some(last) = self.candidates.last_mut() {
            last.last = true;
        }
        start
    }

    fn bucket(&mut self, members: Vec<Member>) -> Bucket {
        let least = |a: [u32; 2], b: [u32; 2]| [a[0].min(b[0]), a[1].min(b[1])];
        let orders = members.iter().map(|(number, _)| self.order(*number));
        let first = orders.fold([u32::MAX; 2], least);
        if members.len() <= FEW {
            let mut numbers: Vec<u32> = members.iter().map(|(number, _)| *number).collect();
            numbers.sort_by_key(|number| self.order(*number)[0]);
            let inside = Inside::Few(self.run(numbers));
            return Bucket { first, inside };
        }
        // Where other headers tell matches apart, sets need not.
        let mut alike: HashMap<(Masks, Parts), usize> = HashMap::new();
        for (_, need) in &members {
            let need = need.without_sets();
            need.each_key(|masks, parts| *alike.entry((masks, parts)).or_default() += 1);
        }
        let mut shapes: HashMap<Masks, Keys> = HashMap::new();
        for (member, need) in members {
            let plain = need.without_sets();
            let mut most = 0;
            plain.each_key(|masks, parts| {
                most = alike.get(&(masks, parts)).copied().unwrap_or(0).max(most);
            });
            let need = if most <= FEW { plain } else { need };
            need.each_key(|masks, parts| {
                let (first, keys) = shapes.entry(masks).or_insert(([u32::MAX; 2], Vec::new()));
                *first = least(*first, self.order(member));
                keys.push((parts, member));
            });
        }
        let mut shapes: Vec<_> = shapes.into_iter().collect();
        // Those with what comes first are looked up first.
        shapes.sort_by_key(|(_, (first, _))| *first);
        let inside = Inside::Shapes(Range(self.shapes.len() as u32, shapes.len() as u32));
        for (masks, (first, keys)) in shapes {
            let mut sets: Vec<u32> = keys
                .iter()
                .filter_map(|(parts, _)| match (masks.source, masks.destination) {
                    (By::Set, _) => Some(parts.source as u32),
                    (_, By::Set) => Some(parts.destination as u32),
                    _ => None,
                })
                .collect();
            sets.sort_unstable();
            sets.dedup();
            let next = self.masks.len() as u32;
            let number = *self.numbers.entry(masks).or_insert(next);
            if number == next {
                self.masks.push(masks);
            }
            let shape = self.shapes.len() as u32;
            self.shapes.push(Shape {
                first,
                masks: number,
                sets: Range::extend(&mut self.sets, sets),
            });
            for (parts, member) in keys {
                let hash = self.shared.hash(Parts { shape, ..parts });
                let place = self.order(member)[0];
                self.keys.push((hash, place, member));
            }
        }
        Bucket { first, inside }
    }

    fn table(&mut self) -> Table {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable();
        keys.dedup();
        let runs = keys.chunk_by(|a, b| a.0 == b.0);
        let mut table = Table::of(runs.clone().count());
        for keys in runs {
            let run = self.run(keys.iter().map(|(.., entry)| *entry));
            table.put(keys[0].0, run);
        }
        table
    }
}

impl Need {
    fn without_sets(&self) -> Self {
        let plain = |all: &Option<Vec<Address>>| {
            let is_set = |address: &Address| matches!(address, Address::Set { .. });
            all.clone().filter(|all| !all.iter().any(is_set))
        };
        Self {
            source: plain(&self.source),
            destination: plain(&self.destination),
            ..self.clone()
        }
    }

    /// All keys under which a match with this need is found. There is one set at most in a key.
    fn each_key(&self, mut key: impl FnMut(Masks, Parts)) {
        let addresses = |all: &Option<Vec<Address>>| {
            let Some(all) = all else {
                return vec![(By::Nothing, 0)];
            };
            all.iter()
                .map(|address| match *address {
                    Address::Masked { mask, value } => (By::Mask(mask), value),
                    Address::Set { number, .. } => (By::Set, number.into()),
                })
                .collect()
        };
        let ranges = |all: &Option<Vec<(u16, u16)>>| match all {
            None => vec![(0, 0)],
            Some(all) => all.iter().copied().flat_map(prefixes).collect::<Vec<_>>(),
        };
        let has_set = |keys: &[(By, u128)]| keys.iter().any(|(by, _)| *by == By::Set);
        let mut source = addresses(&self.source);
        let mut destination = addresses(&self.destination);
        if has_set(&source) && has_set(&destination) {
            destination = vec![(By::Nothing, 0)];
        }
        let mut protocol = ranges(&self.protocol);
        let mut source_port = ranges(&self.source_port);
        let mut destination_port = ranges(&self.destination_port);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_found_if_it_is_there(
            numbers in prop::collection::btree_set(0..400u32, 0..200),
            number in 0..400u32,
        ) {
            let sorted: Vec<u32> = numbers.iter().copied().collect();
            prop_assert_eq!(has(&sorted, number), numbers.contains(&number));
        }

        #[test]
        fn what_is_put_into_a_table_is_there(
            hashes in prop::collection::btree_set(prop_oneof![0..8u32, any::<u32>()], 0..40),
            other in 0..8u32,
        ) {
            let mut table = Table::of(hashes.len());
            for (run, hash) in (0..).zip(&hashes) {
                table.put(*hash, run);
            }
            for (run, hash) in (0..).zip(&hashes) {
                prop_assert_eq!(table.run(*hash), Some(run));
            }
            prop_assert_eq!(table.run(other).is_some(), hashes.contains(&other));
        }
    }
}
