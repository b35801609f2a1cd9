//! Who reaches whom on which ports.
//!
//! Pods that no ACL can tell apart are one class, and ports that none can tell apart one slot; so the answer is about all pods and all ports,
//! however few of them are asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_manifest::{Cidr, Protocol};
use netverdict_types::Direction;

use crate::near::{Transport, contains};
use crate::reach::{Decided, Keys, Reach, Spot, Way};

/// The ends and the ports that are asked about: those that one or several row sets can tell apart.
#[derive(Clone, Debug)]
pub struct Space {
    classes: Vec<Class>,
    slots: Vec<Slot>,
    services: Vec<Service>,
}

/// Ends that no ACL can tell apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// A short name for them: `shop/web-*`.
    pub name: String,
    /// The pods, by name; for addresses outside one of them.
    pub members: Vec<Arc<str>>,
    /// For addresses outside the one that is asked about.
    pub outside: Option<IpAddr>,
}

/// Ports that no ACL can tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slot {
    /// The one that is asked about.
    pub transport: Transport,
    /// First and last, for protocols with ports. Ports within that are slots of their own do not count.
    pub range: (u16, u16),
}

/// A port of a service.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Service {
    /// `namespace/name`; the load balancer's name where it is no service.
    pub name: String,
    /// The virtual address.
    pub address: IpAddr,
    /// Its port; `None` balances all ports.
    pub port: Option<u16>,
    /// IP protocol (IANA).
    pub protocol: u8,
}

/// How many of a service's backends are reached.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Share {
    /// So many.
    pub reached: u32,
    /// Of so many.
    pub of: u32,
}

/// Who reaches whom.
#[derive(Clone, Debug)]
pub struct Matrix {
    width: usize,
    words: usize,
    cells: Vec<u64>,
    shares: Vec<Share>,
}

/// A pair of ends for which two matrices say something different.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Who, by number in [`Space::classes`].
    pub from: usize,
    /// Whom.
    pub to: usize,
    /// Slots that are open now, by number in [`Space::slots`].
    pub opened: Vec<usize>,
    /// Slots that are closed now.
    pub closed: Vec<usize>,
    /// What decided before about the first of them, with an ACL.
    pub before: Vec<Decided>,
    /// What decides now.
    pub after: Vec<Decided>,
}

impl Space {
    /// What these row sets can tell apart; `ports` are asked about one by one in any case.
    pub fn new(reaches: &[&Reach<'_>], ports: impl IntoIterator<Item = (Protocol, u16)>) -> Self {
        let keys: Vec<Keys<'_, '_>> = reaches.iter().map(|reach| Keys::new(reach)).collect();
        let mut classes = pods(reaches, &keys);
        classes.extend(outside(reaches, &keys));
        let services: BTreeSet<Service> =
            reaches.iter().flat_map(|reach| services(reach)).collect();
        let of_services = services.iter().filter_map(|service| {
            let protocol = protocol(service.protocol)?;
            Some((protocol, service.port?))
        });
        Self {
            slots: slots(&keys, ports.into_iter().chain(of_services)),
            classes,
            services: services.into_iter().collect(),
        }
    }

    /// Classes of pods in the order of their names, then addresses outside.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Ports: by protocol and number, then ICMP and what is left.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Ports of services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Slots as people read them: `80/tcp`, `tcp but 22`, `all`.
    pub fn ports(&self, slots: &[usize]) -> Vec<String> {
        let has: BTreeSet<usize> = slots.iter().copied().collect();
        if has.len() == self.slots.len() {
            return vec!["all".to_owned()];
        }
        let mut names = Vec::new();
        for of in Protocol::ALL {
            let (mut set, mut unset) = (Vec::new(), Vec::new());
            for (number, slot) in self.slots.iter().enumerate() {
                match slot.transport {
                    Transport::Port(protocol, _) if protocol == of => match has.contains(&number) {
                        true => set.push(*slot),
                        false => unset.push(*slot),
                    },
                    _ => {}
                }
            }
            let word = of.ovn();
            let is_one = |slot: &&Slot| slot.is_single();
            match (set.len(), unset.len()) {
                (0, _) => {}
                (_, 0) => names.push(word.to_owned()),
                _ if unset.iter().all(Slot::is_single) => {
                    let unset: Vec<String> =
                        unset.iter().map(|slot| slot.range.0.to_string()).collect();
                    names.push(format!("{word} but {}", unset.join(", ")));
                }
                _ => {
                    let ones = set.iter().filter(is_one);
                    names.extend(ones.map(|slot| format!("{}/{word}", slot.range.0)));
                    let ranges = set.iter().filter(|slot| !slot.is_single());
                    names.extend(ranges.map(|slot| match slot.range {
                        (1, u16::MAX) => format!("other {word}"),
                        (first, last) => format!("{first}-{last}/{word}"),
                    }));
                }
            }
        }
        for (number, slot) in self.slots.iter().enumerate() {
            match slot.transport {
                Transport::Icmp if has.contains(&number) => names.push("icmp".to_owned()),
                Transport::Other(_) if has.contains(&number) => names.push("others".to_owned()),
                _ => {}
            }
        }
        names
    }

    /// The class of an end: a pod by its name, else an address outside by what holds it.
    pub(crate) fn class_of(&self, pod: Option<&str>) -> Option<usize> {
        let pod = pod?;
        self.classes
            .iter()
            .position(|class| class.members.iter().any(|member| **member == *pod))
    }

    /// How many pairs of ends two classes make.
    pub fn pairs(&self, from: usize, to: usize) -> usize {
        let weight = |class: usize| match self.classes.get(class) {
            Some(class) if class.outside.is_none() => class.members.len(),
            _ => 1,
        };
        match from == to {
            true => weight(from) * weight(from).saturating_sub(1),
            false => weight(from) * weight(to),
        }
    }

    /// For each class whether two row sets can say something different about it; pairs without such a class fare alike in both.
    pub(crate) fn touched(&self, before: &Reach<'_>, after: &Reach<'_>) -> Vec<bool> {
        let touched = before.touched(after);
        let classes = self.classes.iter();
        classes
            .map(
                |class| match (&touched, class.outside, class.members.first()) {
                    (None, ..) => true,
                    (Some(touched), None, Some(first)) => touched.contains(first),
                    _ => false,
                },
            )
            .collect()
    }

    fn way(&self, reach: &Reach<'_>, from: usize, to: usize) -> Option<Way> {
        let (from, to) = (self.classes.get(from)?, self.classes.get(to)?);
        let is_same = std::ptr::eq(from, to);
        let ends = |class: &Class, skip: usize| match class.outside {
            Some(address) => Some((None, vec![address])),
            None => {
                let pod = reach.pod(class.members.get(skip)?)?;
                Some((Some(pod), reach.pods().get(pod)?.addresses.clone()))
            }
        };
        let (from, to) = (ends(from, 0)?, ends(to, usize::from(is_same))?);
        let pair = [false, true].into_iter().find_map(|v6| {
            let of = |addresses: &[IpAddr]| {
                let mut addresses = addresses.iter();
                addresses.find(|address| address.is_ipv6() == v6).copied()
            };
            Some((of(&from.1)?, of(&to.1)?))
        })?;
        let spot = |pod, address| Spot { pod, address };
        reach.way(spot(from.0, pair.0), spot(to.0, pair.1))
    }
}

/// What one row set opens and closes that another does not; only where they can differ are they asked.
pub fn changes(before: &Reach<'_>, after: &Reach<'_>, space: &Space) -> Vec<Change> {
    let touched = space.touched(before, after);
    let is_asked =
        |from: usize, to: usize| touched.get(from) == Some(&true) || touched.get(to) == Some(&true);
    let mut changes = Vec::new();
    let change = |differs: Difference| {
        let first = differs.opened.iter().chain(&differs.closed).next()?;
        let slot = space.slots.get(*first)?;
        let decided = |reach: &Reach<'_>| {
            let way = space.way(reach, differs.from, differs.to);
            let decided = way.map(|way| reach.along(&way, slot.transport));
            let mut decided = decided.unwrap_or_default();
            decided.retain(|one| one.acl.is_some());
            decided
        };
        Some(Change {
            before: decided(before),
            after: decided(after),
            from: differs.from,
            to: differs.to,
            opened: differs.opened,
            closed: differs.closed,
        })
    };
    differences(before, after, space, None, is_asked, &mut |differs| {
        changes.extend(change(differs));
        ControlFlow::Continue(())
    });
    changes
}

/// A pair of classes that two row sets answer otherwise, and the slots that the second opens and closes.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) opened: Vec<usize>,
    pub(crate) closed: Vec<usize>,
}

/// Where two row sets differ, among pairs that are asked about, until that is enough. With a side only what that side denies counts.
pub(crate) fn differences(
    before: &Reach<'_>,
    after: &Reach<'_>,
    space: &Space,
    side: Option<Direction>,
    is_asked: impl Fn(usize, usize) -> bool,
    found: &mut dyn FnMut(Difference) -> ControlFlow<()>,
) {
    for from in 0..space.classes.len() {
        for to in 0..space.classes.len() {
            if !is_asked(from, to) {
                continue;
            }
            let [one, other] = [before, after].map(|reach| space.way(reach, from, to));
            let marks = |reach: &Reach<'_>, way: &Option<Way>| reach.marks(way.as_ref()?);
            // A slot fares otherwise only where a rule matches that one of them has not.
            let rules = match (marks(before, &one), marks(after, &other)) {
                (Some(one), Some(other)) if one.stages == other.stages => {
                    let rules = (one.without(&other), other.without(&one));
                    if rules.0.is_empty() && rules.1.is_empty() {
                        continue;
                    }
                    Some(rules)
                }
                _ => None,
            };
            let mut differs = Difference {
                from,
                to,
                opened: Vec::new(),
                closed: Vec::new(),
            };
            for (number, slot) in space.slots.iter().enumerate() {
                let transport = slot.transport;
                let concerns = |reach: &Reach<'_>, way: &Option<Way>, rules: &[(usize, usize)]| {
                    way.as_ref()
                        .is_some_and(|way| reach.concerns(way, rules, transport))
                };
                let can_differ = rules.as_ref().is_none_or(|(gone, new)| {
                    concerns(before, &one, gone) || concerns(after, &other, new)
                });
                if !can_differ {
                    continue;
                }
                let passes = |reach: &Reach<'_>, way: &Option<Way>| {
                    way.as_ref()
                        .is_some_and(|way| reach.passes_on(way, transport, side))
                };
                match (passes(before, &one), passes(after, &other)) {
                    (false, true) => differs.opened.push(number),
                    (true, false) => differs.closed.push(number),
                    _ => {}
                }
            }
            let is_none = differs.opened.is_empty() && differs.closed.is_empty();
            if !is_none && found(differs).is_break() {
                return;
            }
        }
    }
}

impl Slot {
    /// Whether it is one port.
    pub fn is_single(&self) -> bool {
        self.range.0 == self.range.1
    }
}

impl Matrix {
    /// Asks about all pairs.
    pub fn new(reach: &Reach<'_>, space: &Space) -> Self {
        let mut matrix = Self::empty(space);
        for from in 0..space.classes.len() {
            for to in 0..space.classes.len() {
                let way = space.way(reach, from, to);
                matrix.ask(reach, space, way.as_ref(), (from, to));
            }
            matrix.ask_services(reach, space, from);
        }
        matrix
    }

    /// Whether a class reaches another on a slot.
    pub fn is_open(&self, from: usize, to: usize, slot: usize) -> bool {
        let word = (from * self.width + to) * self.words + slot / 64;
        let bits = self.cells.get(word).copied().unwrap_or_default();
        bits >> (slot % 64) & 1 == 1
    }

    /// The slots on which a class reaches another.
    pub fn open(&self, from: usize, to: usize) -> Vec<usize> {
        (0..self.words * 64)
            .filter(|slot| self.is_open(from, to, *slot))
            .collect()
    }

    /// How many backends of a service's port a class reaches; `of` is 0 where the class has no way to it.
    pub fn share(&self, from: usize, service: usize) -> Share {
        let services = self.shares.len() / self.width.max(1);
        self.shares
            .get(from * services + service)
            .copied()
            .unwrap_or_default()
    }

    fn empty(space: &Space) -> Self {
        let width = space.classes.len();
        let words = space.slots.len().div_ceil(64);
        Self {
            width,
            words,
            cells: vec![0; width * width * words],
            shares: vec![Share::default(); width * space.services.len()],
        }
    }

    fn ask(
        &mut self,
        reach: &Reach<'_>,
        space: &Space,
        way: Option<&Way>,
        (from, to): (usize, usize),
    ) {
        let Some(way) = way else {
            return;
        };
        let base = (from * self.width + to) * self.words;
        for (number, slot) in space.slots.iter().enumerate() {
            if reach.passes(way, slot.transport)
                && let Some(word) = self.cells.get_mut(base + number / 64)
            {
                *word |= 1 << (number % 64);
            }
        }
    }

    fn ask_services(&mut self, reach: &Reach<'_>, space: &Space, from: usize) {
        let Some(class) = space
            .classes
            .get(from)
            .filter(|class| class.outside.is_none())
        else {
            return;
        };
        let Some(pod) = class.members.first().and_then(|member| reach.pod(member)) else {
            return;
        };
        for (number, service) in space.services.iter().enumerate() {
            let share = reach.share(pod, service);
            let place = from * space.services.len() + number;
            if let Some(cell) = self.shares.get_mut(place) {
                *cell = share;
            }
        }
    }
}

/// The classes of pods.
fn pods(reaches: &[&Reach<'_>], keys: &[Keys<'_, '_>]) -> Vec<Class> {
    let names: BTreeSet<Arc<str>> = reaches
        .iter()
        .flat_map(|reach| reach.pods().iter().map(|seat| seat.name.clone()))
        .collect();
    let mut classes: HashMap<Vec<Option<Vec<u64>>>, Vec<Arc<str>>> = HashMap::new();
    for name in names {
        let key = reaches.iter().zip(keys).map(|(reach, keys)| {
            let pod = reach.pod(&name)?;
            Some(keys.of_pod(pod))
        });
        classes.entry(key.collect()).or_default().push(name);
    }
    let mut classes: Vec<Class> = classes
        .into_values()
        .map(|members| Class {
            name: short(&members),
            members,
            outside: None,
        })
        .collect();
    classes.sort_by(|a, b| a.members.cmp(&b.members));
    classes
}

/// `shop/web-*` for several pods of one kind.
fn short(members: &[Arc<str>]) -> String {
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return String::new();
    };
    if members.len() == 1 {
        return first.to_string();
    }
    // They are in order: what the first and the last share, all share.
    let shared = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let shared = first.get(..shared).unwrap_or_default();
    match shared.rfind(['-', '/']) {
        Some(end) => format!("{}*", shared.get(..=end).unwrap_or(shared)),
        None => format!("{first} and {} more", members.len() - 1),
    }
}

/// The classes of addresses outside: one for each part of the address space that ranges in ACLs make.
fn outside(reaches: &[&Reach<'_>], keys: &[Keys<'_, '_>]) -> Vec<Class> {
    let ranges: BTreeSet<Cidr> = keys.iter().flat_map(Keys::ranges).collect();
    // What the networks themselves use is not outside.
    let own: BTreeSet<Cidr> = reaches.iter().flat_map(|reach| reach.own()).collect();
    let mut starts: BTreeSet<IpAddr> = BTreeSet::new();
    for v6 in [false, true] {
        if ranges.iter().chain(&own).any(|range| range.is_v6() == v6) {
            starts.insert(match v6 {
                false => Ipv4Addr::new(1, 0, 0, 0).into(),
                true => Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0).into(),
            });
        }
    }
    for range in ranges.iter().chain(&own) {
        starts.insert(range.network().address);
        starts.extend(behind(*range));
    }
    let is_own = |address: IpAddr| {
        own.iter().any(|range| contains(*range, address))
            || address.is_unspecified()
            || address.is_multicast()
            || is_link_local(address)
    };
    let mut classes: BTreeMap<Vec<Vec<u64>>, IpAddr> = BTreeMap::new();
    for address in starts.into_iter().filter(|address| !is_own(*address)) {
        let key = keys.iter().map(|keys| keys.of_address(address)).collect();
        classes.entry(key).or_insert(address);
    }
    let mut classes: Vec<Class> = classes
        .into_values()
        .map(|address| {
            let mut holding: Vec<&Cidr> = ranges
                .iter()
                .filter(|range| range.prefix > 0 && contains(**range, address))
                .collect();
            holding.sort_by_key(|range| range.prefix);
            let name = match (holding.last(), address.is_ipv6()) {
                (Some(range), _) => format!("outside {range}"),
                (None, false) => "outside".to_owned(),
                (None, true) => "outside (IPv6)".to_owned(),
            };
            Class {
                name,
                members: vec![address.to_string().into()],
                outside: Some(address),
            }
        })
        .collect();
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

/// Whether nothing can be behind an address but the link itself; OVN uses some of these for itself.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The first address behind a range.
fn behind(range: Cidr) -> Option<IpAddr> {
    match range.network().address {
        IpAddr::V4(first) => {
            let size = 1_u32.checked_shl(32 - u32::from(range.prefix))?;
            Some(Ipv4Addr::from(u32::from(first).checked_add(size)?).into())
        }
        IpAddr::V6(first) => {
            let size = 1_u128.checked_shl(128 - u32::from(range.prefix))?;
            Some(Ipv6Addr::from(u128::from(first).checked_add(size)?).into())
        }
    }
}

fn slots(keys: &[Keys<'_, '_>], ports: impl Iterator<Item = (Protocol, u16)>) -> Vec<Slot> {
    let mut singles: BTreeSet<(Protocol, u16)> = ports.collect();
    let mut bounds: BTreeSet<(Protocol, u16)> = BTreeSet::new();
    for (protocol, number, is_bound) in keys.iter().flat_map(Keys::numbers) {
        singles.insert((protocol, number));
        if is_bound {
            bounds.insert((protocol, number));
        }
    }
    let mut slots = Vec::new();
    for of in Protocol::ALL {
        let numbers = |of_all: &BTreeSet<(Protocol, u16)>| -> Vec<u16> {
            let of_protocol = of_all.iter().filter(|(protocol, _)| *protocol == of);
            of_protocol.map(|(_, number)| *number).collect()
        };
        let singles = numbers(&singles);
        slots.extend(singles.iter().map(|port| Slot {
            transport: Transport::Port(of, *port),
            range: (*port, *port),
        }));
        // What lies between bounds is alike, but for the ports that are named one by one.
        let mut first = 1;
        for last in numbers(&bounds).into_iter().chain([u16::MAX]) {
            let free = (first..=last).rev().find(|port| !singles.contains(port));
            if let Some(port) = free {
                slots.push(Slot {
                    transport: Transport::Port(of, port),
                    range: (first, last),
                });
            }
            first = last.saturating_add(1);
        }
    }
    // GRE stands for all that is neither.
    slots.extend(
        [Transport::Icmp, Transport::Other(47)].map(|transport| Slot {
            transport,
            range: (0, 0),
        }),
    );
    slots
}

fn services(reach: &Reach<'_>) -> Vec<Service> {
    let zones = (0..reach.zones()).filter_map(|zone| reach.northbound(zone));
    zones
        .flat_map(|northbound| northbound.load_balancers.values())
        .flat_map(|balancer| {
            let row = &balancer.row;
            let name = match &row.service {
                Some((namespace, name)) => format!("{namespace}/{name}"),
                None => row.name.clone(),
            };
            row.vips.iter().map(move |vip| Service {
                name: name.clone(),
                address: vip.ip,
                port: vip.port,
                protocol: row.protocol,
            })
        })
        .collect()
}

/// The protocol with this number.
pub(crate) fn protocol(number: u8) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}
