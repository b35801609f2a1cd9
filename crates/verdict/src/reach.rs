//! Whether a connection is let through, by the ACLs alone: each stage's rules are looked at in their order, without flows or packets between. It
//! says the same as the twin, for many questions at once.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use hashbrown::{HashMap, HashSet};
use netverdict_manifest::{Cidr, Protocol};
use netverdict_ovn::expr::{Compiled, Field, Fields, Match, Names};
use netverdict_pipeline::{AclRow, CtView, Lport, Northbound, Switch, SwitchId};
use netverdict_types::{Acl, Action, Direction, OwnerKind, Pipeline};
use uuid::Uuid;

use crate::matrix::{Service, Share, protocol};
use crate::near::{Ask, Transport};

/// The ACLs of a cluster, ready to be asked.
#[derive(Debug)]
pub struct Reach<'a> {
    zones: Vec<Zone<'a>>,
    pods: Vec<Seat>,
    /// For each pod the rules of its stages towards the router, and from there.
    routed: Vec<[OnceLock<Stages>; 2]>,
    by_name: HashMap<Arc<str>, usize>,
    by_address: HashMap<IpAddr, Vec<usize>>,
}

/// A pod's logical port.
#[derive(Clone, Debug)]
pub struct Seat {
    /// `namespace/pod`, with `@` and the attachment in another network than the default one; else the port's name.
    pub name: Arc<str>,
    /// Its zone, by number.
    pub zone: usize,
    /// Its port.
    pub port: Lport,
    /// Its switch.
    pub switch: SwitchId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What joins its switch with others: the router's name, else the switch's own.
    network: Arc<str>,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spot {
    /// The pod, by its number in [`Reach::pods`]; `None` is outside.
    pub pod: Option<usize>,
    /// The address.
    pub address: IpAddr,
}

/// What decided in one stage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decided {
    /// The zone, by number.
    pub zone: usize,
    /// The stage.
    pub pipeline: Pipeline,
    /// Whose side it is on: egress on the side of the one who opens the connection, by the ports that the ACL is for.
    pub side: Direction,
    /// Whether it is about the answer.
    pub reply: bool,
    /// The ACL; `None` where none matched.
    pub acl: Option<Uuid>,
    /// Its action; where none matched what OVN does then.
    pub action: Action,
}

impl Decided {
    /// Whether it ends the packet.
    pub fn denies(&self) -> bool {
        matches!(self.action, Action::Drop | Action::Reject)
    }
}

/// An ACL that would have let a connection through, had it matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RowMiss {
    /// Its zone, by number.
    pub zone: usize,
    /// The ACL.
    pub acl: Uuid,
    /// The terms of its match that fail, as they stand in it; never empty.
    pub failing: Vec<String>,
}

/// The rules of each stage ([`Pipeline::ALL`]) that can match, in their order.
type Stages = [Arc<[usize]>; Pipeline::ALL.len()];

#[derive(Debug)]
struct Zone<'a> {
    northbound: &'a Northbound,
    rules: Vec<Rule<'a>>,
    by_uuid: HashMap<Uuid, usize>,
    switches: Vec<OnceLock<SwitchRules>>,
    groups_of: HashMap<Lport, Vec<Arc<str>>>,
    /// What matches name in quotes: ports for the most part.
    quoted: HashSet<String>,
}

#[derive(Debug)]
struct Rule<'a> {
    uuid: Uuid,
    row: &'a AclRow,
    /// Whose ports it is for.
    guard: Option<Guard<'a>>,
    /// `None` for a match that OVN would refuse.
    compiled: OnceLock<Option<Compiled>>,
    /// Of all that it says, and of the address sets that it names.
    mark: OnceLock<u64>,
}

/// The rules of a switch, by what their match begins or ends with.
#[derive(Debug, Default)]
struct SwitchRules {
    /// For packets from ports of a group.
    from: HashMap<Arc<str>, Vec<usize>>,
    /// For packets to ports of a group.
    to: HashMap<Arc<str>, Vec<usize>>,
    /// For any.
    free: Vec<usize>,
    stateful: bool,
    stateless: bool,
    any: bool,
    router: Lport,
}

/// One switch on the way.
#[derive(Clone, Copy, Debug)]
struct Hop {
    zone: usize,
    switch: SwitchId,
    inport: Lport,
    outport: Lport,
    side: Direction,
}

/// A way through switches: the rules of each stage that can match at all, in their order.
#[derive(Debug)]
pub struct Way {
    stages: Vec<(Hop, Pipeline, Arc<[usize]>)>,
    from: IpAddr,
    to: IpAddr,
    /// Where it was sent before load balancing.
    vip: Option<(IpAddr, u16)>,
}

/// What answers on a way depend on.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Of the stages.
    pub(crate) stages: Vec<u64>,
    /// Of rules, with the number of the stage, and the place among its rules.
    rules: Vec<(usize, u64, usize)>,
}

impl Marks {
    /// Rules that another has not: by stage, and place among its rules.
    pub(crate) fn without(&self, other: &Self) -> Vec<(usize, usize)> {
        let others: HashSet<(usize, u64)> = other
            .rules
            .iter()
            .map(|(stage, mark, _)| (*stage, *mark))
            .collect();
        let rules = self.rules.iter();
        rules
            .filter(|(stage, mark, _)| !others.contains(&(*stage, *mark)))
            .map(|(stage, _, place)| (*stage, *place))
            .collect()
    }
}

impl Way {
    /// Through a load balancer, whose address and port it was sent to.
    pub fn through(mut self, vip: (IpAddr, u16)) -> Self {
        self.vip = Some(vip);
        self
    }
}

impl<'a> Reach<'a> {
    /// The rows of all zones.
    pub fn new(zones: impl IntoIterator<Item = &'a Northbound>) -> Self {
        let mut this = Self {
            zones: zones.into_iter().map(Zone::new).collect(),
            pods: Vec::new(),
            routed: Vec::new(),
            by_name: HashMap::new(),
            by_address: HashMap::new(),
        };
        for number in 0..this.zones.len() {
            if let Some(northbound) = this.northbound(number) {
                this.take_ports(number, northbound);
            }
        }
        this.routed.resize_with(this.pods.len(), Default::default);
        this
    }

    /// The ports of pods.
    pub fn pods(&self) -> &[Seat] {
        &self.pods
    }

    /// The rows of a zone.
    pub fn northbound(&self, zone: usize) -> Option<&'a Northbound> {
        self.zones.get(zone).map(|zone| zone.northbound)
    }

    /// How many zones there are.
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// The pod of this name: `namespace/pod`.
    pub fn pod(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// An ACL that decided.
    pub fn acl(&self, decided: &Decided) -> Option<&'a AclRow> {
        let zone = self.zones.get(decided.zone)?;
        zone.northbound.acls.get(&decided.acl?)
    }

    /// The pod that has an address in the network of a pod, or in any, if it is one.
    pub fn at(&self, address: IpAddr, network_of: Option<usize>) -> Spot {
        let network = network_of
            .and_then(|pod| self.pods.get(pod))
            .map(|pod| &pod.network);
        let found = self.by_address.get(&address).and_then(|pods| {
            let mut pods = pods.iter();
            pods.find(|pod| {
                let seat = self.pods.get(**pod);
                seat.is_some_and(|seat| network.is_none_or(|network| *network == seat.network))
            })
        });
        Spot {
            pod: found.copied(),
            address,
        }
    }

    /// What decides in each stage about a connection, in order. Stages behind one that denies are asked all the same. `None` if there is no way
    /// between the ends.
    pub fn ask(&self, ask: &Ask) -> Option<Vec<Decided>> {
        let way = self.way_of(ask)?;
        Some(self.along(&way, ask.transport))
    }

    fn way_of(&self, ask: &Ask) -> Option<Way> {
        let spot = |end: &crate::near::End| {
            let name = end
                .pod
                .as_ref()
                .map(|pod| format!("{}/{}", pod.namespace, pod.name));
            match name.and_then(|name| self.pod(&name)) {
                Some(pod) => Spot {
                    pod: Some(pod),
                    address: end.address,
                },
                None => self.at(end.address, None),
            }
        };
        self.way(spot(&ask.from), spot(&ask.to))
    }

    /// The rules of other ACLs that would have let a connection through where one denies it, by the ACLs alone: for rows that come without the
    /// objects they were made from. Those of which the fewest terms fail come first.
    pub fn near(&self, ask: &Ask, denied: &Decided) -> Vec<RowMiss> {
        let Some(way) = self.way_of(ask) else {
            return Vec::new();
        };
        let Some(denier) = self.acl(denied).map(|row| &row.acl) else {
            return Vec::new();
        };
        let is_it = |(hop, pipeline, _): &&(Hop, Pipeline, Arc<[usize]>)| {
            hop.zone == denied.zone && *pipeline == denied.pipeline
        };
        let mut misses = Vec::new();
        for (hop, pipeline, rules) in way.stages.iter().filter(is_it) {
            let Some(zone) = self.zones.get(hop.zone) else {
                continue;
            };
            let outport = match pipeline {
                Pipeline::ToLport => zone.northbound.port_name(hop.outport),
                _ => "",
            };
            let mut packet = Fields::new(zone.northbound.port_name(hop.inport), outport);
            packet.set(Field::CtState, (CtView::NEW | CtView::TRK).into());
            fill(&mut packet, way.from, way.to, ask.transport, false);
            for rule in rules.iter().filter_map(|rule| zone.rules.get(*rule)) {
                let acl = &rule.row.acl;
                let is_before = (acl.tier, std::cmp::Reverse(acl.priority))
                    < (denier.tier, std::cmp::Reverse(denier.priority));
                let allows = matches!(
                    acl.action,
                    Action::Allow | Action::AllowRelated | Action::AllowStateless
                );
                if is_before && allows {
                    let failing = zone.failing(rule, &packet);
                    misses.extend(failing.map(|failing| RowMiss {
                        zone: hop.zone,
                        acl: rule.uuid,
                        failing,
                    }));
                }
            }
        }
        misses.sort_by_key(|miss| (miss.failing.len(), miss.acl));
        misses
    }

    /// How many backends of a service's port a pod reaches.
    pub(crate) fn share(&self, pod: usize, service: &Service) -> Share {
        let mut share = Share::default();
        let Some(seat) = self.pods.get(pod) else {
            return share;
        };
        let switch = self.zones.get(seat.zone).and_then(|zone| {
            let switch = zone.northbound.switch(seat.switch)?;
            Some((zone.northbound, switch))
        });
        let (Some((northbound, switch)), Some(protocol)) = (switch, protocol(service.protocol))
        else {
            return share;
        };
        let v6 = service.address.is_ipv6();
        let mut own = seat.addresses.iter();
        let Some(own) = own.find(|address| address.is_ipv6() == v6) else {
            return share;
        };
        let balancers = switch.load_balancers.iter();
        let balancers = balancers.filter_map(|balancer| northbound.load_balancers.get(balancer));
        let vips = balancers
            .filter(|balancer| balancer.row.protocol == service.protocol)
            .flat_map(|balancer| &balancer.row.vips)
            .filter(|vip| (vip.ip, vip.port) == (service.address, service.port));
        for (address, port) in vips.flat_map(|vip| &vip.backends) {
            share.of += 1;
            let from = Spot {
                pod: Some(pod),
                address: *own,
            };
            let Some(port) = port.or(service.port) else {
                continue;
            };
            let vip = (service.address, service.port.unwrap_or(port));
            // A pod reaches itself, whatever policies say.
            let to = self.at(*address, Some(pod));
            let passes = to.pod == Some(pod)
                || self.way(from, to).is_some_and(|mut way| {
                    way.vip = Some(vip);
                    self.passes(&way, Transport::Port(protocol, port))
                });
            share.reached += u32::from(passes);
        }
        share
    }

    /// What decides on a way, as [`Self::ask`] tells it.
    pub fn along(&self, way: &Way, transport: Transport) -> Vec<Decided> {
        let mut decided: Vec<Decided> = way
            .stages
            .iter()
            .map(|stage| self.decide(stage, way, transport, false))
            .collect();
        if !decided.iter().any(Decided::denies) {
            self.reply(way, transport, &mut decided);
        }
        decided
    }

    /// Whether a connection passes on a way; quicker than [`Self::along`].
    pub fn passes(&self, way: &Way, transport: Transport) -> bool {
        self.passes_on(way, transport, None)
    }

    /// The same with an eye on one side only: what the other denies does not count.
    pub(crate) fn passes_on(
        &self,
        way: &Way,
        transport: Transport,
        side: Option<Direction>,
    ) -> bool {
        let denies = |one: &Decided| one.denies() && side.is_none_or(|side| one.side == side);
        let mut decided = Vec::with_capacity(way.stages.len());
        for stage in &way.stages {
            let one = self.decide(stage, way, transport, false);
            if denies(&one) {
                return false;
            }
            decided.push(one);
        }
        self.reply(way, transport, &mut decided);
        !decided.iter().any(denies)
    }

    /// What answers on a way depend on: ways of two row sets with the same marks have the same answers. `None` where that cannot be told.
    pub(crate) fn marks(&self, way: &Way) -> Option<Marks> {
        let mut marks = Marks::default();
        for (number, (hop, pipeline, rules)) in way.stages.iter().enumerate() {
            let (zone, of_switch) = self.switch(hop.zone, hop.switch)?;
            // Answers are asked about as well.
            if !of_switch.stateful || of_switch.stateless {
                return None;
            }
            let by_default = zone.by_default(of_switch);
            marks.stages.push(hashed(&(pipeline, by_default)));
            for (place, rule) in rules.iter().enumerate() {
                let rule = zone.rules.get(*rule)?;
                // What other ports a rule speaks of is not in its mark.
                if rule.guard.is_none() && rule.row.acl.matches.contains(['@', '"']) {
                    return None;
                }
                marks.rules.push((number, zone.mark(rule), place));
            }
        }
        Some(marks)
    }

    /// Whether one of these rules of a way matches a packet.
    pub(crate) fn concerns(
        &self,
        way: &Way,
        rules: &[(usize, usize)],
        transport: Transport,
    ) -> bool {
        rules.iter().any(|(stage, place)| {
            let Some((hop, pipeline, rules)) = way.stages.get(*stage) else {
                return true;
            };
            let found = rules.get(*place).and_then(|rule| {
                let (zone, of_switch) = self.switch(hop.zone, hop.switch)?;
                let compiled = zone.compiled(zone.rules.get(*rule)?)?;
                let packet = packet(zone, of_switch, (hop, *pipeline), way, transport, false);
                Some(compiled.matches(&packet))
            });
            found.unwrap_or(false)
        })
    }

    /// The pods about which the rows of another cluster say something different, by name: only what they send and get can fare otherwise there.
    /// `None` where that cannot be told.
    pub fn touched(&self, other: &Self) -> Option<HashSet<Arc<str>>> {
        let (own, others) = (self.tellings()?, other.tellings()?);
        let names = own.keys().chain(others.keys());
        let differs = |name: &&Arc<str>| own.get(*name) != others.get(*name);
        Some(names.filter(differs).cloned().collect())
    }

    /// What the rows say about each pod.
    fn tellings(&self) -> Option<HashMap<Arc<str>, Vec<u64>>> {
        let mut of_zones = Vec::new();
        for zone in &self.zones {
            let mut free = 0_u64;
            let mut groups: HashMap<&str, u64> = HashMap::new();
            for rule in &zone.rules {
                let sum = match rule.guard {
                    Some(Guard::From(group) | Guard::To(group)) => groups.entry(group).or_default(),
                    None if rule.row.acl.matches.contains(['@', '"']) => return None,
                    None => &mut free,
                };
                *sum = sum.wrapping_add(zone.mark(rule));
            }
            of_zones.push((free, groups));
        }
        let tell = |seat: &Seat| {
            let (zone, rules) = self.switch(seat.zone, seat.switch)?;
            let (free, groups) = of_zones.get(seat.zone)?;
            let flags = (rules.stateful, rules.stateless, zone.by_default(rules));
            let place = (seat.zone, seat.switch.0, &seat.network, &seat.addresses);
            let mut told = vec![hashed(&(place, flags)), *free];
            for group in zone.groups_of.get(&seat.port).into_iter().flatten() {
                let rules = groups.get(&**group);
                told.extend(rules.map(|rules| hashed(&(group, rules))));
            }
            Some((seat.name.clone(), told))
        };
        self.pods.iter().map(tell).collect()
    }

    /// The way from one end to the other; `None` if no router joins them, or neither is a pod.
    pub fn way(&self, from: Spot, to: Spot) -> Option<Way> {
        let seats = [from, to].map(|spot| spot.pod.and_then(|pod| self.pods.get(pod)));
        let mut hops = Vec::with_capacity(2);
        let routed = |spot: Spot, to_router: bool| {
            let stages = self.routed.get(spot.pod?)?;
            Some(&stages[usize::from(!to_router)])
        };
        match seats {
            [Some(from), Some(to)] if from.network != to.network => return None,
            [Some(from), Some(to)] if (from.zone, from.switch) == (to.zone, to.switch) => {
                hops.push((from, from.port, to.port, Direction::Egress, None));
            }
            [sender, receiver] => {
                if let Some(seat) = sender {
                    let (port, router) = (seat.port, self.router(seat));
                    hops.push((seat, port, router, Direction::Egress, routed(from, true)));
                }
                if let Some(seat) = receiver {
                    let (port, router) = (seat.port, self.router(seat));
                    hops.push((seat, router, port, Direction::Ingress, routed(to, false)));
                }
            }
        }
        if hops.is_empty() {
            return None;
        }
        let mut stages = Vec::with_capacity(3 * hops.len());
        for (seat, inport, outport, side, known) in hops {
            let hop = Hop {
                zone: seat.zone,
                switch: seat.switch,
                inport,
                outport,
                side,
            };
            let rules = match known {
                Some(known) => known.get_or_init(|| self.candidates(hop)).clone(),
                None => self.candidates(hop),
            };
            let of_hop = Pipeline::ALL.into_iter().zip(rules);
            stages.extend(of_hop.map(|(pipeline, rules)| (hop, pipeline, rules)));
        }
        Some(Way {
            stages,
            from: from.address,
            to: to.address,
            vip: None,
        })
    }

    fn take_ports(&mut self, zone: usize, northbound: &Northbound) {
        let routers: HashMap<&str, &str> = northbound
            .routers
            .values()
            .flat_map(|router| {
                let ports = router.ports.iter();
                let ports = ports.filter_map(|port| northbound.router_ports.get(port));
                ports.map(|port| (port.name.as_str(), router.name.as_str()))
            })
            .collect();
        for (id, switch) in northbound.switches() {
            let ports = || {
                switch
                    .ports
                    .iter()
                    .filter_map(|port| Some((*port, northbound.port(*port)?)))
            };
            let router = ports().find_map(|(_, port)| {
                let peer = port.options.get("router-port")?;
                routers.get(peer.as_str()).copied()
            });
            let network: Arc<str> = router.unwrap_or(&switch.name).into();
            for (number, port) in ports() {
                let addresses: Vec<IpAddr> = port.hosts().flat_map(|(_, hosts)| hosts).collect();
                // Nodes have a port of their own beside those of their pods.
                let is_node = port.name.starts_with("k8s-") && !port.name.contains('_');
                if !port.kind.is_empty() || addresses.is_empty() || is_node {
                    continue;
                }
                let seat = self.pods.len();
                for address in &addresses {
                    self.by_address.entry(*address).or_default().push(seat);
                }
                let name = pod_name(&port.name);
                self.by_name.insert(name.clone(), seat);
                self.pods.push(Seat {
                    name,
                    zone,
                    port: number,
                    switch: id,
                    addresses,
                    network: network.clone(),
                });
            }
        }
    }

    /// Whether a rule is about one address that is none of a pod, but lies in a subnet of pods.
    fn is_about_node(&self, acl: &Acl) -> bool {
        let addresses = conjuncts(&acl.matches).unwrap_or_default();
        let mut addresses = addresses.into_iter().filter_map(|(field, value)| {
            let is_address = field.ends_with(".src") || field.ends_with(".dst");
            value.parse::<IpAddr>().ok().filter(|_| is_address)
        });
        addresses.any(|address| {
            !self.by_address.contains_key(&address)
                && self
                    .zones
                    .iter()
                    .flat_map(|zone| zone.northbound.switches())
                    .any(|(_, switch)| {
                        subnets(switch).any(|subnet| subnet.contains(&Cidr::from_address(address)))
                    })
        })
    }

    /// The ranges that the cluster's own networks have: subnets of switches, networks of routers, virtual addresses, and what egress firewalls
    /// leave out.
    pub fn own(&self) -> Vec<Cidr> {
        let mut own = Vec::new();
        for zone in &self.zones {
            let northbound = zone.northbound;
            own.extend(
                northbound
                    .switches()
                    .flat_map(|(_, switch)| subnets(switch)),
            );
            for port in northbound.router_ports.values() {
                let ranges = port.networks.iter().filter_map(|text| text.parse().ok());
                own.extend(ranges.map(|range: Cidr| range.network()));
            }
            let balancers = northbound.load_balancers.values();
            let vips = balancers.flat_map(|balancer| &balancer.row.vips);
            own.extend(vips.map(|vip| Cidr::from_address(vip.ip)));
            let firewalls = zone.rules.iter().map(|rule| &rule.row.acl);
            let firewalls = firewalls.filter(|acl| acl.owner.kind == OwnerKind::EgressFirewall);
            for acl in firewalls {
                let left_out = acl.matches.split("!=").skip(1);
                own.extend(left_out.filter_map(|rest| {
                    let range: Cidr = words(rest).next()?.parse().ok()?;
                    Some(range.network())
                }));
            }
        }
        own.sort_unstable();
        own.dedup();
        own
    }

    fn router(&self, seat: &Seat) -> Lport {
        let rules = self.switch(seat.zone, seat.switch);
        rules.map_or(Lport::NONE, |(_, rules)| rules.router)
    }

    fn switch(&self, zone: usize, switch: SwitchId) -> Option<(&Zone<'a>, &SwitchRules)> {
        let zone = self.zones.get(zone)?;
        let rules = zone.switches.get(switch.0 as usize)?;
        Some((zone, rules.get_or_init(|| zone.rules_of(switch))))
    }

    /// The rules of each stage that can match, in the order in which they count.
    fn candidates(&self, hop: Hop) -> Stages {
        let Some((zone, rules)) = self.switch(hop.zone, hop.switch) else {
            return Stages::default();
        };
        let groups = |port: Lport| zone.groups_of.get(&port).into_iter().flatten();
        let from = groups(hop.inport).filter_map(|group| rules.from.get(group));
        let to = groups(hop.outport).filter_map(|group| rules.to.get(group));
        let all = from.chain(to).chain([&rules.free]).flatten();
        let mut found: Vec<_> = all
            .filter_map(|number| {
                let rule = zone.rules.get(*number)?;
                let acl = &rule.row.acl;
                let place = (acl.tier, std::cmp::Reverse(acl.priority), rule.uuid);
                Some((acl.pipeline, place, *number))
            })
            .collect();
        found.sort_unstable();
        Pipeline::ALL.map(|pipeline| {
            let of_stage = found.iter().filter(|(of, ..)| *of == pipeline);
            of_stage.map(|(.., number)| *number).collect()
        })
    }

    fn decide(
        &self,
        (hop, pipeline, rules): &(Hop, Pipeline, Arc<[usize]>),
        way: &Way,
        transport: Transport,
        reply: bool,
    ) -> Decided {
        let mut decided = Decided {
            zone: hop.zone,
            pipeline: *pipeline,
            side: hop.side,
            reply,
            acl: None,
            action: Action::Allow,
        };
        let Some((zone, of_switch)) = self.switch(hop.zone, hop.switch) else {
            return decided;
        };
        if rules.is_empty() {
            decided.action = zone.by_default(of_switch);
            return decided;
        }
        let packet = packet(zone, of_switch, (hop, *pipeline), way, transport, reply);
        let mut passed = None;
        for rule in rules.iter().filter_map(|rule| zone.rules.get(*rule)) {
            let acl = &rule.row.acl;
            if passed == Some(acl.tier) {
                continue;
            }
            let matches = zone
                .compiled(rule)
                .is_some_and(|compiled| compiled.matches(&packet));
            match (matches, acl.action) {
                (false, _) => {}
                (true, Action::Pass) => passed = Some(acl.tier),
                (true, action) => {
                    // An egress firewall decides in the egress pipeline, about those who send.
                    decided.side = match rule.guard {
                        Some(Guard::From(_)) if !reply => Direction::Egress,
                        Some(Guard::To(_)) if !reply => Direction::Ingress,
                        _ => hop.side,
                    };
                    decided.acl = Some(rule.uuid);
                    decided.action = action;
                    return decided;
                }
            }
        }
        decided.action = zone.by_default(of_switch);
        decided
    }

    /// What decides about the answer, at each end where conntrack does not let it through by itself: where nothing is tracked, and where a
    /// stateless rule takes the packet or its answer past conntrack (northd.c, `build_pre_acls`).
    fn reply(&self, way: &Way, transport: Transport, decided: &mut Vec<Decided>) {
        const FROM: [Pipeline; 2] = [Pipeline::FromLport, Pipeline::FromLportAfterLb];
        const TO: [Pipeline; 1] = [Pipeline::ToLport];
        let mut hops = way.stages.iter().map(|(hop, _, _)| hop);
        let (Some(first), Some(last)) = (hops.next(), hops.next_back()) else {
            return;
        };
        let turned = Way {
            stages: Vec::new(),
            from: way.to,
            to: way.from,
            vip: None,
        };
        let ends = [
            (Direction::Ingress, last, &TO[..], &FROM[..]),
            (Direction::Egress, first, &FROM[..], &TO[..]),
        ];
        for (side, hop, there, back) in ends {
            let Some((zone, rules)) = self.switch(hop.zone, hop.switch) else {
                continue;
            };
            let port = match side {
                Direction::Ingress => hop.outport,
                Direction::Egress => hop.inport,
            };
            if port == rules.router || (rules.stateful && !rules.stateless) {
                continue;
            }
            let returning = Hop {
                inport: hop.outport,
                outport: hop.inport,
                side,
                ..*hop
            };
            let all = Pipeline::ALL.into_iter().zip(self.candidates(returning));
            let stages: Vec<(Hop, Pipeline, Arc<[usize]>)> = all
                .filter(|(pipeline, _)| back.contains(pipeline))
                .map(|(pipeline, rules)| (returning, pipeline, rules))
                .collect();
            let untracked = |reply: bool| {
                let (stages, way) = match reply {
                    false => (&way.stages, way),
                    true => (&stages, &turned),
                };
                let pipelines = if reply { back } else { there };
                let its = stages.iter().filter(|(on, pipeline, _)| {
                    (on.zone, on.switch) == (hop.zone, hop.switch) && pipelines.contains(pipeline)
                });
                its.into_iter()
                    .any(|stage| self.is_stateless(zone, stage, way, transport, reply))
            };
            let (request, answer) = (untracked(false), untracked(true));
            if rules.stateful && !request && !answer {
                continue;
            }
            // Conntrack takes no answer to what it has not seen; one datagram is like another.
            let is_invalid = rules.stateful
                && !answer
                && !matches!(
                    transport,
                    Transport::Port(Protocol::Udp, _) | Transport::Other(_)
                );
            for stage in &stages {
                let mut one = self.decide(stage, &turned, transport, true);
                if is_invalid {
                    one.acl = None;
                    one.action = Action::Drop;
                }
                decided.push(one);
            }
        }
    }

    /// Whether a stateless rule of a stage matches.
    fn is_stateless(
        &self,
        zone: &Zone<'_>,
        (hop, pipeline, rules): &(Hop, Pipeline, Arc<[usize]>),
        way: &Way,
        transport: Transport,
        reply: bool,
    ) -> bool {
        let outport = match pipeline {
            Pipeline::ToLport => zone.northbound.port_name(hop.outport),
            _ => "",
        };
        let mut packet = Fields::new(zone.northbound.port_name(hop.inport), outport);
        fill(&mut packet, way.from, way.to, transport, reply);
        let mut rules = rules.iter().filter_map(|rule| zone.rules.get(*rule));
        rules.any(|rule| {
            rule.row.acl.action == Action::AllowStateless
                && zone
                    .compiled(rule)
                    .is_some_and(|compiled| compiled.matches(&packet))
        })
    }
}

impl<'a> Zone<'a> {
    fn new(northbound: &'a Northbound) -> Self {
        let mut groups_of: HashMap<Lport, Vec<Arc<str>>> = HashMap::new();
        let ports: HashMap<Uuid, Lport> = northbound
            .ports
            .iter()
            .enumerate()
            .map(|(number, port)| (port.uuid, Lport(number as u32)))
            .collect();
        let mut groups: Vec<_> = northbound.groups.values().collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        for group in groups {
            let name: Arc<str> = group.name.as_str().into();
            for port in group.ports.iter().filter_map(|port| ports.get(port)) {
                groups_of.entry(*port).or_default().push(name.clone());
            }
        }
        let rules: Vec<Rule<'a>> = northbound
            .acls
            .iter()
            .map(|(uuid, row)| Rule {
                uuid: *uuid,
                row,
                guard: guard(&row.acl.matches),
                compiled: OnceLock::new(),
                mark: OnceLock::new(),
            })
            .collect();
        let by_uuid = rules
            .iter()
            .enumerate()
            .map(|(number, rule)| (rule.uuid, number))
            .collect();
        let quoted = rules
            .iter()
            .flat_map(|rule| rule.row.acl.matches.split('"').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        Self {
            northbound,
            by_uuid,
            rules,
            switches: northbound
                .switches
                .iter()
                .map(|_| OnceLock::new())
                .collect(),
            groups_of,
            quoted,
        }
    }

    fn rules_of(&self, id: SwitchId) -> SwitchRules {
        let mut rules = SwitchRules::default();
        let Some(switch) = self.northbound.switch(id) else {
            return rules;
        };
        let mut seen = HashSet::new();
        for (uuid, row) in self.northbound.acls_of(switch) {
            rules.any = true;
            rules.stateful |= row.acl.action == Action::AllowRelated;
            rules.stateless |= row.acl.action == Action::AllowStateless;
            let Some(number) = self.by_uuid.get(&uuid).filter(|_| seen.insert(uuid)) else {
                continue;
            };
            match self.rules.get(*number).and_then(|rule| rule.guard) {
                Some(Guard::From(group)) => {
                    rules.from.entry(group.into()).or_default().push(*number)
                }
                Some(Guard::To(group)) => rules.to.entry(group.into()).or_default().push(*number),
                None => rules.free.push(*number),
            }
        }
        let mut ports = switch.ports.iter();
        let router = ports.find(|port| {
            let port = self.northbound.port(**port);
            port.is_some_and(|port| port.kind == "router")
        });
        rules.router = router.copied().unwrap_or_default();
        rules
    }

    fn compiled<'r>(&self, rule: &'r Rule<'a>) -> Option<&'r Compiled> {
        let compile = || {
            let text = &rule.row.acl.matches;
            // Rules that have a guard are asked only about ports that are in the group.
            let is_known = match (rule.guard, rule.row.acl.pipeline) {
                (Some(Guard::To(_)), pipeline) => pipeline == Pipeline::ToLport,
                (guard, _) => guard.is_some(),
            };
            let unguarded = is_known.then(|| unguarded(text)).flatten();
            let text = unguarded.as_deref().unwrap_or(text);
            Some(Match::parse(text, self.northbound).ok()?.compile())
        };
        rule.compiled.get_or_init(compile).as_ref()
    }

    /// The terms of a rule that fail for a packet; `None` if it matches, or OVN would refuse it.
    fn failing(&self, rule: &Rule<'_>, packet: &Fields<'_>) -> Option<Vec<String>> {
        let text = &rule.row.acl.matches;
        let found = Match::parse(text, self.northbound).ok()?;
        let mut failing: Vec<String> = Vec::new();
        for failure in found.compile().failures(packet) {
            let term = found.terms().get(failure.term)?.text(text);
            if failing.last().is_none_or(|last| *last != term) {
                failing.push(term.to_owned());
            }
        }
        (!failing.is_empty()).then_some(failing)
    }

    /// The same for rules of other row sets that say the same, sets of addresses and groups in them included.
    fn mark(&self, rule: &Rule<'_>) -> u64 {
        *rule.mark.get_or_init(|| {
            let acl = &rule.row.acl;
            let mut mark = hashed(&(
                acl.tier,
                acl.priority,
                acl.pipeline,
                acl.action,
                &acl.matches,
            ));
            for word in words(&acl.matches) {
                if let Some(set) = word.strip_prefix('$') {
                    let set = self.northbound.address_set(set);
                    let mut entries: Vec<_> = set.iter().flat_map(|set| set.ranges()).collect();
                    entries.sort_unstable();
                    mark = hashed(&(mark, entries));
                }
            }
            mark
        })
    }

    /// What becomes of a packet that no ACL matches.
    fn by_default(&self, rules: &SwitchRules) -> Action {
        let option = self.northbound.options.get("default_acl_drop");
        match rules.any && option.is_some_and(|option| option == "true") {
            true => Action::Drop,
            false => Action::Allow,
        }
    }
}

/// Whose packets a rule is for: those from or to ports of a group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guard<'a> {
    From(&'a str),
    To(&'a str),
}

/// The group of ports that a match asks for, where all else is joined to that by `&&`.
pub(crate) fn guard(matches: &str) -> Option<Guard<'_>> {
    terms(matches)?.into_iter().find_map(guard_of)
}

fn guard_of(term: &str) -> Option<Guard<'_>> {
    let (field, value) = comparison(term)?;
    let group = value.strip_prefix('@')?;
    match field {
        "inport" => Some(Guard::From(group)),
        "outport" => Some(Guard::To(group)),
        _ => None,
    }
}

/// A match without its guard: what it asks of ports that are in the group.
fn unguarded(matches: &str) -> Option<String> {
    let mut terms = terms(matches)?;
    let guard = terms.iter().position(|term| guard_of(term).is_some())?;
    terms.remove(guard);
    Some(match terms.is_empty() {
        true => "1".to_owned(),
        false => terms.join(" && "),
    })
}

/// The comparisons by `==` that a match joins by `&&`; `None` where it joins by `||`.
fn conjuncts(matches: &str) -> Option<Vec<(&str, &str)>> {
    Some(terms(matches)?.into_iter().filter_map(comparison).collect())
}

fn comparison(term: &str) -> Option<(&str, &str)> {
    let (field, value) = term.split_once("==")?;
    Some((field.trim(), value.trim()))
}

/// What a match joins by `&&`; `None` where it joins by `||`.
fn terms(matches: &str) -> Option<Vec<&str>> {
    let mut depth = 0;
    let mut start = 0;
    let mut terms = Vec::new();
    let bytes = matches.as_bytes();
    for (place, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            // A name in quotes may hold anything.
            b'"' => return None,
            b'|' if depth == 0 => return None,
            b'&' if depth == 0 => {
                terms.push(matches.get(start..place)?);
                start = place + 1;
            }
            _ => {}
        }
    }
    terms.push(matches.get(start..)?);
    // Between the two signs of `&&` there is nothing.
    terms.retain(|term| !term.trim().is_empty());
    Some(terms)
}

/// `namespace_pod` and `prefix_namespace_pod`, as ovn-kubernetes names ports.
fn pod_name(port: &str) -> Arc<str> {
    let mut parts = port.rsplitn(3, '_');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(pod), Some(namespace), None) => format!("{namespace}/{pod}").into(),
        (Some(pod), Some(namespace), Some(network)) => {
            format!("{namespace}/{pod}@{network}").into()
        }
        _ => port.into(),
    }
}

/// The addresses of a switch's pods.
fn subnets(switch: &Switch) -> impl Iterator<Item = Cidr> {
    let texts = ["subnet", "ipv6_prefix"].map(|key| switch.config.get(key));
    texts.into_iter().flatten().filter_map(|text| {
        let range: Cidr = text.parse().ok()?;
        Some(range.network())
    })
}

/// What rules of a stage see of a packet.
fn packet<'z>(
    zone: &'z Zone<'_>,
    of_switch: &SwitchRules,
    (hop, pipeline): (&Hop, Pipeline),
    way: &Way,
    transport: Transport,
    reply: bool,
) -> Fields<'z> {
    let names = zone.northbound;
    let (own, outport) = match pipeline {
        Pipeline::ToLport => (hop.outport, names.port_name(hop.outport)),
        _ => (hop.inport, ""),
    };
    let mut packet = Fields::new(names.port_name(hop.inport), outport);
    // Nothing is tracked at the port of a router.
    if own != of_switch.router && of_switch.stateful {
        packet.set(Field::CtState, (CtView::NEW | CtView::TRK).into());
    }
    match (way.vip, pipeline, hop.side, transport) {
        (
            Some((vip, port)),
            Pipeline::FromLport,
            Direction::Egress,
            Transport::Port(protocol, _),
        ) => {
            let transport = Transport::Port(protocol, port);
            fill(&mut packet, way.from, vip, transport, reply);
        }
        _ => fill(&mut packet, way.from, way.to, transport, reply),
    }
    packet
}

/// The port from which connections are opened.
const EPHEMERAL: u16 = 40_000;

fn fill(packet: &mut Fields<'_>, from: IpAddr, to: IpAddr, transport: Transport, reply: bool) {
    packet.set(Field::IpTtl, 64);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.set(Field::EthType, 0x800);
            packet.set(Field::Ip4Src, u32::from(from).into());
            packet.set(Field::Ip4Dst, u32::from(to).into());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.set(Field::EthType, 0x86dd);
            packet.set(Field::Ip6Src, from.into());
            packet.set(Field::Ip6Dst, to.into());
        }
        _ => {}
    }
    let is_v6 = to.is_ipv6();
    match transport {
        Transport::Port(protocol, port) => {
            let (number, src, dst) = match protocol {
                Protocol::Tcp => (6, Field::TcpSrc, Field::TcpDst),
                Protocol::Udp => (17, Field::UdpSrc, Field::UdpDst),
                Protocol::Sctp => (132, Field::SctpSrc, Field::SctpDst),
            };
            let (from, to) = match reply {
                false => (EPHEMERAL, port),
                true => (port, EPHEMERAL),
            };
            packet.set(Field::IpProto, number);
            packet.set(src, from.into());
            packet.set(dst, to.into());
            if protocol == Protocol::Tcp {
                packet.set(Field::TcpFlags, if reply { 0x12 } else { 0x02 });
            }
        }
        Transport::Icmp => {
            packet.set(Field::IpProto, if is_v6 { 58 } else { 1 });
            let (field, kind) = match (is_v6, reply) {
                (false, false) => (Field::Icmp4Type, 8),
                (false, true) => (Field::Icmp4Type, 0),
                (true, false) => (Field::Icmp6Type, 128),
                (true, true) => (Field::Icmp6Type, 129),
            };
            packet.set(field, kind);
        }
        Transport::Other(number) => packet.set(Field::IpProto, number.into()),
    }
}

/// What makes ends equal to all ACLs of one cluster: ends with the same key are answered the same.
#[derive(Debug)]
pub(crate) struct Keys<'r, 'a> {
    reach: &'r Reach<'a>,
    /// By family and length of the prefix: which ranges and sets hold an address.
    ranges: Vec<((bool, u8), Holders)>,
    /// The hash of a group's ACLs, by zone and name.
    groups: Vec<HashMap<Arc<str>, u64>>,
    /// Of the ACLs of each zone that no group is joined to, and of its address sets.
    zones: Vec<u64>,
}

/// By the address of a range: which words of matches mean it or hold it.
type Holders = HashMap<IpAddr, Vec<u32>>;

impl<'r, 'a> Keys<'r, 'a> {
    pub(crate) fn new(reach: &'r Reach<'a>) -> Self {
        let mut keys = Self {
            reach,
            ranges: Vec::new(),
            groups: Vec::new(),
            zones: Vec::new(),
        };
        let mut tables: HashMap<(bool, u8), Holders> = HashMap::new();
        let mut names: HashMap<String, u32> = HashMap::new();
        for zone in &reach.zones {
            let mut free = 0_u64;
            let mut groups: HashMap<Arc<str>, u64> = HashMap::new();
            for rule in &zone.rules {
                let acl = &rule.row.acl;
                let hash = hashed(&(
                    acl.tier,
                    acl.priority,
                    acl.pipeline,
                    acl.action,
                    &acl.matches,
                ));
                match rule.guard {
                    Some(Guard::From(group) | Guard::To(group)) => {
                        let sum = groups.entry(group.into()).or_default();
                        *sum = sum.wrapping_add(hash);
                    }
                    // Each node lets its own address through: that is no end here.
                    None if reach.is_about_node(acl) => continue,
                    None => free = free.wrapping_add(hash),
                }
                for word in words(&acl.matches) {
                    let mut entries: Vec<(IpAddr, u8)> = Vec::new();
                    match word.strip_prefix('$') {
                        Some(set) => {
                            let set = zone.northbound.address_set(set);
                            entries.extend(set.iter().flat_map(|set| set.ranges()));
                            entries.sort_unstable();
                            free = free.wrapping_add(hashed(&(word, &entries)));
                        }
                        None => entries.extend(range(word)),
                    }
                    let next = names.len() as u32;
                    let number = *names.entry_ref(word).or_insert(next);
                    for (address, prefix) in entries {
                        let table = tables.entry((address.is_ipv6(), prefix)).or_default();
                        let of = table.entry(network(address, prefix)).or_default();
                        if !of.contains(&number) {
                            of.push(number);
                        }
                    }
                }
            }
            keys.zones.push(free);
            keys.groups.push(groups);
        }
        keys.ranges = tables.into_iter().collect();
        keys.ranges.sort_unstable_by_key(|(of, _)| *of);
        keys
    }

    /// The key of a pod.
    pub(crate) fn of_pod(&self, pod: usize) -> Vec<u64> {
        let Some(seat) = self.reach.pods.get(pod) else {
            return Vec::new();
        };
        let mut key = vec![
            hashed(&seat.network),
            self.zones.get(seat.zone).copied().unwrap_or_default(),
        ];
        if let Some(zone) = self.reach.zones.get(seat.zone) {
            let name = zone.northbound.port_name(seat.port);
            if zone.quoted.contains(name) {
                key.push(hashed(&name));
            }
            let groups = self.groups.get(seat.zone);
            for group in zone.groups_of.get(&seat.port).into_iter().flatten() {
                let hash = groups.and_then(|groups| groups.get(group)).copied();
                key.push(hashed(&(group, hash.unwrap_or_default())));
            }
        }
        for address in &seat.addresses {
            self.address(*address, &mut key);
        }
        key
    }

    /// The key of an address outside.
    pub(crate) fn of_address(&self, address: IpAddr) -> Vec<u64> {
        let mut key = vec![u64::from(address.is_ipv6())];
        self.address(address, &mut key);
        key
    }

    fn address(&self, address: IpAddr, key: &mut Vec<u64>) {
        key.push(u64::MAX);
        let mut of: Vec<u32> = Vec::new();
        for ((is_v6, prefix), table) in &self.ranges {
            if *is_v6 == address.is_ipv6() {
                of.extend(table.get(&network(address, *prefix)).into_iter().flatten());
            }
        }
        of.sort_unstable();
        of.dedup();
        key.extend(of.into_iter().map(u64::from));
    }

    /// The ranges that ACLs speak of, single addresses of pods left out.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Cidr> {
        let ranges = self.ranges.iter().flat_map(|((_, prefix), table)| {
            table.keys().map(|address| Cidr {
                address: *address,
                prefix: *prefix,
            })
        });
        ranges.filter(|range| {
            Cidr::from_address(range.address) != *range
                || !self.reach.by_address.contains_key(&range.address)
        })
    }

    /// The numbers that ACLs with ports of a protocol name, and those among them that bound a range.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (Protocol, u16, bool)> {
        let rules = self.reach.zones.iter().flat_map(|zone| &zone.rules);
        rules.flat_map(|rule| {
            let matches = &rule.row.acl.matches;
            let bounds = matches.contains('<') || matches.contains('>') || matches.contains('[');
            let named = Protocol::ALL.into_iter().filter(|protocol| {
                let field = format!("{}.", protocol.ovn());
                matches.contains(&field)
            });
            let numbers: Vec<u16> = words(matches)
                .filter_map(|word| word.parse().ok())
                .collect();
            named.flat_map(move |protocol| {
                let numbers = numbers.clone().into_iter();
                numbers.map(move |number| (protocol, number, bounds))
            })
        })
    }
}

/// The words of a match: fields, numbers, addresses, names.
fn words(matches: &str) -> impl Iterator<Item = &str> {
    let is_word =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '/' | '$' | '@' | '_' | '-');
    matches
        .split(move |c: char| !is_word(c))
        .filter(|word| !word.is_empty())
}

/// A word that is an address or a range.
fn range(word: &str) -> Option<(IpAddr, u8)> {
    match word.split_once('/') {
        Some(_) => {
            let range: Cidr = word.parse().ok()?;
            Some((range.network().address, range.prefix))
        }
        None => {
            let address: IpAddr = word.parse().ok()?;
            Some((address, Cidr::from_address(address).prefix))
        }
    }
}

fn network(address: IpAddr, prefix: u8) -> IpAddr {
    Cidr { address, prefix }.network().address
}

fn hashed(of: &impl Hash) -> u64 {
    foldhash::fast::FixedState::with_seed(0).hash_one(of)
}
