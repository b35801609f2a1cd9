//! What came closest: for a connection that is denied, the rules that would have let it through, and the terms that keep each of them from it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{
    AdminPeer, AdminPolicy, AdminPort, AdminRule, AdminSubject, AdminTier, Block, Cidr,
    EgressFirewall, EgressPort, EgressRule, EgressTo, Expression, FirewallAction, Key, Kind,
    NetworkPolicy, NetworkRule, Object, Operator, Peer, Pod, PolicyPort, PortRef, Protocol,
    RuleAction, Selector, Span, Spec,
};
use netverdict_policy::{Compat, Options, host_addresses};
use netverdict_types::{Direction, Owner, OwnerKind};

/// The label that every namespace has.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A connection that is asked about. Behind a load balancer `to` is the backend.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Ask {
    /// Who opens it.
    pub from: End,
    /// To whom.
    pub to: End,
    /// Protocol and port.
    pub transport: Transport,
}

/// One end of a connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// The pod, if it is one.
    pub pod: Option<Key>,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Transport {
    /// A protocol with ports, and the destination's port.
    Port(Protocol, u16),
    /// ICMP of the address's family: an echo request.
    Icmp,
    /// Another IP protocol by its number (IANA).
    Other(u8),
}

/// The objects that questions are asked about, as they were compiled.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// By key; with all that was assumed ([`netverdict_policy::assume`]).
    pub objects: &'a BTreeMap<Key, Arc<Object>>,
    /// How they were compiled.
    pub options: &'a Options,
}

/// What denies a connection in one direction.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Denial {
    /// The pod is isolated by NetworkPolicies, and none of their rules lets it through.
    Isolation,
    /// A rule of an administrator's policy or an EgressFirewall.
    Rule(RuleId),
}

/// A rule of a policy.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleId {
    /// The policy.
    pub policy: Key,
    /// Which of its two lists.
    pub direction: Direction,
    /// Its place in the list, from 0.
    pub index: usize,
}

/// What was found around a denial.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Near {
    /// The NetworkPolicies that isolate the pod in this direction, by name; for [`Denial::Rule`] none.
    pub isolating: Vec<Isolating>,
    /// The rules that could have let it through, those that came closest first.
    pub misses: Vec<NearMiss>,
}

/// A NetworkPolicy that isolates a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Isolating {
    /// Which.
    pub policy: Key,
    /// Where it is named.
    pub span: Span,
    /// How many rules it has in this direction.
    pub rules: usize,
}

/// A rule that would have let a connection through, had it matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NearMiss {
    /// The rule.
    pub rule: RuleId,
    /// Its place.
    pub span: Span,
    /// The peer that came closest, by its number in the rule; `None` where the rule is for everybody.
    pub peer: Option<usize>,
    /// The port that came closest, likewise.
    pub port: Option<usize>,
    /// The terms that fail, in the order peer, port; never empty.
    pub failing: Vec<Failing>,
}

/// A term of a rule that does not hold for a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failing {
    /// The term, and what stands against it.
    pub term: Term,
    /// Where the term stands: the port, the selector, the range.
    pub span: Span,
}

/// What fails.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Term {
    /// Another port of the right protocol.
    Port {
        /// The rule's first and last.
        wanted: (u16, u16),
        /// The connection's.
        found: u16,
    },
    /// Another protocol.
    Protocol {
        /// The rule's.
        wanted: Protocol,
        /// The connection's.
        found: Transport,
    },
    /// A port that the pod has under another number or not at all.
    NamedPort {
        /// The rule's name for it.
        name: String,
        /// What the pod has by that name.
        is: Option<u16>,
        /// What was asked for.
        found: Transport,
    },
    /// A port by name that ovn-kubernetes passes over beside ports by number.
    PassedOver {
        /// The rule's name for it; `None` is an entry for all ports of a protocol.
        name: Option<String>,
    },
    /// A label of the peer's pod.
    PodLabel(LabelTerm),
    /// A label of the peer's namespace.
    NamespaceLabel(LabelTerm),
    /// The rule speaks of pods of its own namespace.
    Namespace {
        /// The policy's.
        wanted: Arc<str>,
        /// The peer's.
        found: Arc<str>,
    },
    /// The address is not in the range.
    Block {
        /// The rule's range.
        wanted: Cidr,
        /// The peer's address.
        found: IpAddr,
    },
    /// The address is in a part that is excepted.
    Except {
        /// The part.
        wanted: Cidr,
        /// The peer's address.
        found: IpAddr,
    },
    /// The rule speaks of pods, and the peer is none that it could select.
    NoPod {
        /// The peer's address.
        found: IpAddr,
    },
    /// The rule speaks of nodes, and the address is that of none that it selects.
    Node {
        /// The peer's address.
        found: IpAddr,
    },
    /// The rule speaks of a domain name; what addresses that has is not known here.
    DomainName {
        /// The name.
        name: String,
    },
    /// The range is within the cluster's own network, which EgressFirewalls leave out.
    OwnNetwork {
        /// The peer's address.
        found: IpAddr,
    },
}

/// A label that a selector asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LabelTerm {
    /// Whose label: a Pod or Namespace.
    pub of: Key,
    /// The label.
    pub label: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; one value for `matchLabels`.
    pub values: Vec<String>,
    /// Whether it stands under `matchLabels`.
    pub simple: bool,
    /// What the object has.
    pub found: Option<String>,
}

impl RuleId {
    /// The rule that an ACL was made from, by its `external_ids`; `None` for those that no single rule makes.
    pub fn of(owner: &Owner) -> Option<Self> {
        let (kind, namespace, name) = match owner.kind {
            OwnerKind::NetworkPolicy => (
                Kind::NetworkPolicy,
                owner.namespace.as_deref()?,
                owner.name.as_deref()?,
            ),
            OwnerKind::AdminNetworkPolicy => (Kind::AdminNetworkPolicy, "", owner.name.as_deref()?),
            OwnerKind::BaselineAdminNetworkPolicy => {
                (Kind::BaselineAdminNetworkPolicy, "", owner.name.as_deref()?)
            }
            OwnerKind::ClusterNetworkPolicy => {
                (Kind::ClusterNetworkPolicy, "", owner.name.as_deref()?)
            }
            OwnerKind::EgressFirewall => {
                (Kind::EgressFirewall, owner.namespace.as_deref()?, "default")
            }
            _ => return None,
        };
        Some(Self {
            policy: Key::new(kind, namespace, name),
            direction: owner.direction.unwrap_or(Direction::Egress),
            index: owner.rule.index? as usize,
        })
    }

    /// The rule as paths have it: `ingress[0]`.
    pub fn place(&self) -> String {
        let list = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        format!("{list}[{}]", self.index)
    }
}

impl Denial {
    /// What an ACL that drops says of itself by its `external_ids`; `None` for those that no policy makes.
    pub fn of(owner: &Owner) -> Option<Self> {
        match owner.kind {
            OwnerKind::NetpolNamespace => Some(Self::Isolation),
            OwnerKind::NetworkPolicy => None,
            _ => RuleId::of(owner).map(Self::Rule),
        }
    }
}

impl Near {
    /// Looks at all rules that could have let a connection through. `direction` is that of the policies: ingress is about the pod at `ask.to`.
    pub fn find(objects: Objects<'_>, ask: &Ask, direction: Direction, denial: &Denial) -> Self {
        let looking = Looking {
            objects,
            ask,
            direction,
        };
        let mut near = Self::default();
        match denial {
            Denial::Isolation => {
                looking.network_policies(&mut near);
                looking.admin_policies(None, &mut near);
            }
            Denial::Rule(rule) if rule.policy.kind == Kind::EgressFirewall => {
                looking.firewall(rule, &mut near);
            }
            Denial::Rule(rule) => looking.admin_policies(Some(rule), &mut near),
        }
        near.misses.sort_by_cached_key(|miss| {
            let away: u32 = miss.failing.iter().map(|failing| failing.term.away()).sum();
            (miss.failing.len(), away, miss.rule.clone())
        });
        near
    }
}

impl<'a> Objects<'a> {
    /// An object.
    pub fn object(&self, key: &Key) -> Option<&'a Object> {
        self.objects.get(key).map(|object| &**object)
    }

    /// All objects of a kind.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = &'a Object> + use<'a> {
        let first = Key::new(kind, "", "");
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| &**object)
    }

    /// The labels of a namespace, whether or not there is an object for it.
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let object = self.object(&Key::new(Kind::Namespace, "", namespace));
        let mut labels = object.map_or_else(BTreeMap::new, |object| object.meta.labels.clone());
        labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
        labels
    }

    /// Where a rule stands.
    pub fn rule(&self, rule: &RuleId) -> Option<Span> {
        let index = rule.index;
        match (&self.object(&rule.policy)?.spec, rule.direction) {
            (Spec::NetworkPolicy(policy), Direction::Ingress) => {
                policy.ingress.get(index).map(|rule| rule.span)
            }
            (Spec::NetworkPolicy(policy), Direction::Egress) => {
                policy.egress.get(index).map(|rule| rule.span)
            }
            (Spec::AdminPolicy(policy), Direction::Ingress) => {
                policy.ingress.get(index).map(|rule| rule.span)
            }
            (Spec::AdminPolicy(policy), Direction::Egress) => {
                policy.egress.get(index).map(|rule| rule.span)
            }
            (Spec::EgressFirewall(firewall), _) => firewall.rules.get(index).map(|rule| rule.span),
            _ => None,
        }
    }

    /// The end that has an address: a pod of the default network, else nothing that policies know.
    pub fn end(&self, address: IpAddr) -> End {
        let pod = self.all(Kind::Pod).find(|object| match &object.spec {
            Spec::Pod(pod) => {
                !pod.host_network && !pod.completed && pod.addresses.contains(&address)
            }
            _ => false,
        });
        End {
            address,
            pod: pod.map(|object| object.key.clone()),
        }
    }

    /// Whether a NetworkPolicy isolates a pod in a direction.
    pub fn isolates(&self, policy: &Object, pod: &Key, direction: Direction) -> bool {
        match &policy.spec {
            Spec::NetworkPolicy(spec) => {
                let isolates = match direction {
                    Direction::Ingress => spec.isolates_ingress,
                    Direction::Egress => spec.isolates_egress,
                };
                isolates && self.is_for(policy, spec, pod)
            }
            _ => false,
        }
    }

    fn is_for(&self, policy: &Object, spec: &NetworkPolicy, pod: &Key) -> bool {
        policy.key.namespace == pod.namespace
            && self
                .object(pod)
                .is_some_and(|pod| unmet(&spec.pods, &pod.meta.labels).is_empty())
    }

    fn is_subject(&self, subject: &AdminSubject, pod: &Key) -> bool {
        let Some(object) = self.object(pod) else {
            return false;
        };
        let namespace = self.namespace_labels(&pod.namespace);
        match subject {
            AdminSubject::Namespaces(namespaces) => unmet(namespaces, &namespace).is_empty(),
            AdminSubject::Pods { namespaces, pods } => {
                unmet(namespaces, &namespace).is_empty()
                    && unmet(pods, &object.meta.labels).is_empty()
            }
        }
    }

    fn pod(&self, end: &End) -> Option<(&'a Object, &'a Pod)> {
        let object = self.object(end.pod.as_ref()?)?;
        match &object.spec {
            Spec::Pod(pod) => Some((object, pod)),
            _ => None,
        }
    }
}

/// One question and one direction.
struct Looking<'a> {
    objects: Objects<'a>,
    ask: &'a Ask,
    direction: Direction,
}

/// An entry of a rule and what fails in it; nothing fails without entries.
struct Closest {
    entry: Option<usize>,
    failing: Vec<Failing>,
}

impl Closest {
    /// The entry that came closest.
    fn of(entries: impl Iterator<Item = Vec<Failing>>) -> Self {
        let away = |failing: &[Failing]| -> (usize, u32) {
            let sum = failing.iter().map(|failing| failing.term.away()).sum();
            (failing.len(), sum)
        };
        entries
            .enumerate()
            .min_by_key(|(number, failing)| (away(failing), *number))
            .map_or(
                Self {
                    entry: None,
                    failing: Vec::new(),
                },
                |(number, failing)| Self {
                    entry: Some(number),
                    failing,
                },
            )
    }
}

impl Looking<'_> {
    /// The pod that the policies are for.
    fn subject(&self) -> &End {
        match self.direction {
            Direction::Ingress => &self.ask.to,
            Direction::Egress => &self.ask.from,
        }
    }

    /// The other end.
    fn peer(&self) -> &End {
        match self.direction {
            Direction::Ingress => &self.ask.from,
            Direction::Egress => &self.ask.to,
        }
    }

    fn network_policies(&self, near: &mut Near) {
        let Some(pod) = &self.subject().pod else {
            return;
        };
        for object in self.objects.all(Kind::NetworkPolicy) {
            let Spec::NetworkPolicy(policy) = &object.spec else {
                continue;
            };
            if !self.objects.is_for(object, policy, pod) {
                continue;
            }
            let rules = match self.direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            let isolates = self.objects.isolates(object, pod, self.direction);
            if isolates {
                near.isolating.push(Isolating {
                    policy: object.key.clone(),
                    span: object.meta.span,
                    rules: rules.len(),
                });
            } else if self.objects.options.compat == Compat::Strict {
                continue;
            }
            for (index, rule) in rules.iter().enumerate() {
                let peers = Closest::of(rule.peers.iter().map(|peer| self.peer_of(object, peer)));
                let ports = Closest::of(self.ports_of(rule));
                self.miss(&object.key, index, rule.span, peers, ports, near);
            }
        }
    }

    /// Rules that come before the one that denies: before all NetworkPolicies those of the administrator's tier.
    fn admin_policies(&self, denial: Option<&RuleId>, near: &mut Near) {
        let Some(pod) = &self.subject().pod else {
            return;
        };
        let order = |object: &Object| match &object.spec {
            Spec::AdminPolicy(policy) => Some((policy.tier, policy.priority.value)),
            _ => None,
        };
        let denied = match denial {
            Some(denial) => self.objects.object(&denial.policy).and_then(order),
            None => Some((AdminTier::Admin, u32::MAX)),
        };
        for kind in [
            Kind::AdminNetworkPolicy,
            Kind::BaselineAdminNetworkPolicy,
            Kind::ClusterNetworkPolicy,
        ] {
            for object in self.objects.all(kind) {
                let Spec::AdminPolicy(policy) = &object.spec else {
                    continue;
                };
                let before = match (order(object), denied) {
                    (Some(one), Some(other)) => one <= other,
                    _ => false,
                };
                if before && self.objects.is_subject(&policy.subject, pod) {
                    self.admin_policy(object, policy, denial, near);
                }
            }
        }
    }

    fn admin_policy(
        &self,
        object: &Object,
        policy: &AdminPolicy,
        denial: Option<&RuleId>,
        near: &mut Near,
    ) {
        let rules = match self.direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        for (index, rule) in rules.iter().enumerate() {
            // To pass on helps where a rule denies, not where NetworkPolicies do.
            let helps = match (rule.action, denial) {
                (RuleAction::Deny, _) | (RuleAction::Pass, None) => false,
                (_, Some(denial)) => object.key != denial.policy || index < denial.index,
                (RuleAction::Allow, None) => true,
            };
            if !helps {
                continue;
            }
            let peers = Closest::of(rule.peers.iter().map(|peer| self.admin_peer(peer)));
            let ports = Closest::of(self.admin_ports(rule));
            self.miss(&object.key, index, rule.span, peers, ports, near);
        }
    }

    fn firewall(&self, denial: &RuleId, near: &mut Near) {
        let Some(object) = self.objects.object(&denial.policy) else {
            return;
        };
        let Spec::EgressFirewall(EgressFirewall { rules }) = &object.spec else {
            return;
        };
        for (index, rule) in rules.iter().enumerate().take(denial.index) {
            if rule.action == FirewallAction::Deny {
                continue;
            }
            let to = Closest::of(std::iter::once(self.firewall_to(rule)));
            let ports = Closest::of(rule.ports.iter().map(|port| self.firewall_port(port)));
            self.miss(&object.key, index, rule.span, to, ports, near);
        }
    }

    fn miss(
        &self,
        policy: &Key,
        index: usize,
        span: Span,
        peers: Closest,
        ports: Closest,
        near: &mut Near,
    ) {
        let mut failing = peers.failing;
        failing.extend(ports.failing);
        if failing.is_empty() {
            return;
        }
        near.misses.push(NearMiss {
            rule: RuleId {
                policy: policy.clone(),
                direction: self.direction,
                index,
            },
            span,
            peer: peers.entry,
            port: ports.entry,
            failing,
        });
    }

    fn peer_of(&self, policy: &Object, peer: &Peer) -> Vec<Failing> {
        match peer {
            Peer::Block(block) => self.block(block),
            Peer::Pods {
                namespaces,
                pods,
                span,
            } => {
                let strict = self.objects.options.compat == Compat::Strict;
                let whole = namespaces.is_some() && pods.is_none();
                let host = self.objects.pod(self.peer());
                if host.is_some_and(|(_, pod)| pod.host_network) && (whole || strict) {
                    return self.no_pod(*span);
                }
                self.selected(
                    Some(&policy.key.namespace),
                    namespaces.as_ref(),
                    pods.as_ref(),
                    *span,
                )
            }
        }
    }

    fn admin_peer(&self, peer: &AdminPeer) -> Vec<Failing> {
        let found = self.peer().address;
        match peer {
            AdminPeer::Namespaces(namespaces) => {
                self.selected(None, Some(namespaces), None, namespaces.span)
            }
            AdminPeer::Pods { namespaces, pods } => {
                self.selected(None, Some(namespaces), Some(pods), namespaces.span)
            }
            AdminPeer::Nodes(selector) => self.node(selector),
            AdminPeer::Networks(ranges) => {
                let misses = ranges.iter().map(|range| {
                    let wanted = range.value;
                    let term = Term::Block { wanted, found };
                    let span = range.span;
                    match contains(wanted, found) {
                        true => Vec::new(),
                        false => vec![Failing { term, span }],
                    }
                });
                Closest::of(misses).failing
            }
            AdminPeer::DomainNames(names) => {
                Closest::of(names.iter().map(|name| {
                    vec![Failing {
                        term: Term::DomainName {
                            name: name.value.clone(),
                        },
                        span: name.span,
                    }]
                }))
                .failing
            }
        }
    }

    /// What keeps a selection of pods from holding the peer; without a selector of namespaces it is for those of `own`.
    fn selected(
        &self,
        own: Option<&Arc<str>>,
        namespaces: Option<&Selector>,
        pods: Option<&Selector>,
        span: Span,
    ) -> Vec<Failing> {
        let Some((object, _)) = self.objects.pod(self.peer()) else {
            return self.no_pod(span);
        };
        let mut failing = Vec::new();
        let namespace = &object.key.namespace;
        match (namespaces, own) {
            (Some(selector), _) => {
                let labels = self.objects.namespace_labels(namespace);
                let of = Key::new(Kind::Namespace, "", namespace);
                let terms = label_terms(selector, &labels, &of);
                failing.extend(terms.into_iter().map(|term| Failing {
                    term: Term::NamespaceLabel(term),
                    span: selector.span,
                }));
            }
            (None, Some(own)) if own != namespace => failing.push(Failing {
                term: Term::Namespace {
                    wanted: own.clone(),
                    found: namespace.clone(),
                },
                span,
            }),
            (None, _) => {}
        }
        if let Some(selector) = pods {
            let terms = label_terms(selector, &object.meta.labels, &object.key);
            failing.extend(terms.into_iter().map(|term| Failing {
                term: Term::PodLabel(term),
                span: selector.span,
            }));
        }
        failing
    }

    fn no_pod(&self, span: Span) -> Vec<Failing> {
        let found = self.peer().address;
        let term = Term::NoPod { found };
        vec![Failing { term, span }]
    }

    fn node(&self, selector: &Selector) -> Vec<Failing> {
        let found = self.peer().address;
        let mut nodes = self.objects.all(Kind::Node);
        let is_one = nodes.any(|node| {
            unmet(selector, &node.meta.labels).is_empty() && host_addresses(node).contains(&found)
        });
        match is_one {
            true => Vec::new(),
            false => vec![Failing {
                term: Term::Node { found },
                span: selector.span,
            }],
        }
    }

    fn block(&self, block: &Block) -> Vec<Failing> {
        let found = self.peer().address;
        let wanted = block.cidr.value.cidr;
        if !contains(wanted, found) {
            return vec![Failing {
                term: Term::Block { wanted, found },
                span: block.cidr.span,
            }];
        }
        let excepted = block
            .except
            .iter()
            .filter(|part| contains(part.cidr, found));
        excepted
            .map(|part| Failing {
                term: Term::Except {
                    wanted: part.cidr,
                    found,
                },
                span: part.span,
            })
            .collect()
    }

    fn firewall_to(&self, rule: &EgressRule) -> Vec<Failing> {
        let found = self.peer().address;
        match &rule.to {
            EgressTo::Cidr(range) => {
                let mut subnets = self.objects.options.cluster_subnets.iter();
                let (wanted, span) = (range.cidr, range.span);
                if !contains(wanted, found) {
                    let term = Term::Block { wanted, found };
                    vec![Failing { term, span }]
                } else if subnets.any(|subnet| contains(*subnet, found)) {
                    let term = Term::OwnNetwork { found };
                    vec![Failing { term, span }]
                } else {
                    Vec::new()
                }
            }
            EgressTo::Dns(name) => vec![Failing {
                term: Term::DomainName {
                    name: name.value.clone(),
                },
                span: name.span,
            }],
            EgressTo::Nodes(selector) => self.node(selector),
        }
    }

    fn ports_of<'r>(&'r self, rule: &'r NetworkRule) -> impl Iterator<Item = Vec<Failing>> + 'r {
        rule.ports.iter().map(|port| self.policy_port(rule, port))
    }

    fn policy_port(&self, rule: &NetworkRule, port: &PolicyPort) -> Vec<Failing> {
        let span = port.span;
        let protocol = port.protocol;
        let strict = self.objects.options.compat == Compat::Strict;
        let has_numbers = rule.ports.iter().any(|other| {
            other.protocol == protocol && matches!(other.port, Some(PortRef::Number(_)))
        });
        match &port.port {
            // ovn-kubernetes takes names for all ports, and passes both over beside numbers.
            None if strict || !has_numbers => self.number(protocol, None, span),
            Some(PortRef::Name(_)) if !strict && !has_numbers => self.number(protocol, None, span),
            None => match self.number(protocol, None, span) {
                failing if failing.is_empty() => {
                    let term = Term::PassedOver { name: None };
                    vec![Failing { term, span }]
                }
                failing => failing,
            },
            Some(PortRef::Name(name)) if !strict => {
                let name = Some(name.clone());
                let term = Term::PassedOver { name };
                vec![Failing { term, span }]
            }
            Some(PortRef::Name(name)) => self.named(name, Some(protocol), span),
            Some(PortRef::Number(first)) => {
                let last = port.end.unwrap_or(*first);
                self.number(protocol, Some((*first, last)), span)
            }
        }
    }

    fn admin_ports<'r>(&'r self, rule: &'r AdminRule) -> impl Iterator<Item = Vec<Failing>> + 'r {
        rule.ports.iter().map(|port| match port {
            AdminPort::Numbers {
                protocol,
                start,
                end,
                span,
            } => self.number(*protocol, Some((*start, *end)), *span),
            AdminPort::Protocol { protocol, span } => self.number(*protocol, None, *span),
            AdminPort::Named {
                protocol,
                name,
                span,
            } => self.named(name, *protocol, *span),
        })
    }

    fn firewall_port(&self, port: &EgressPort) -> Vec<Failing> {
        let range = port.port.map(|port| (port, port));
        self.number(port.protocol, range, port.span)
    }

    fn number(&self, wanted: Protocol, range: Option<(u16, u16)>, span: Span) -> Vec<Failing> {
        let term = match (self.ask.transport, range) {
            (Transport::Port(protocol, port), range) if protocol == wanted => match range {
                Some((first, last)) if port < first || last < port => Term::Port {
                    wanted: (first, last),
                    found: port,
                },
                _ => return Vec::new(),
            },
            (found, _) => Term::Protocol { wanted, found },
        };
        vec![Failing { term, span }]
    }

    /// A port by name: that of the destination's containers.
    fn named(&self, name: &str, protocol: Option<Protocol>, span: Span) -> Vec<Failing> {
        let found = self.ask.transport;
        let mut is = None;
        if let Some((_, pod)) = self.objects.pod(&self.ask.to) {
            let mut ports = pod.ports.iter();
            let of_name = ports.by_ref().filter(|port| {
                port.name == name && protocol.is_none_or(|protocol| protocol == port.protocol)
            });
            for port in of_name {
                if found == Transport::Port(port.protocol, port.port) {
                    return Vec::new();
                }
                is = Some(port.port);
            }
        }
        let name = name.to_owned();
        let term = Term::NamedPort { name, is, found };
        vec![Failing { term, span }]
    }
}

impl Term {
    /// How far off it is: a small number for what a slip of the hand makes.
    fn away(&self) -> u32 {
        match self {
            Self::Port { .. } => 10,
            Self::Protocol { .. } | Self::PassedOver { .. } => 11,
            Self::NamedPort { .. } => 12,
            // It is the namespace's name: nobody can change it, and nobody mistypes a label there.
            Self::NamespaceLabel(term) if term.label == NAME_LABEL => 20,
            Self::PodLabel(term) | Self::NamespaceLabel(term) => match term.found {
                Some(_) => 13,
                None => 14,
            },
            Self::Namespace { .. } => 20,
            Self::Except { .. } => 25,
            Self::Block { wanted, found } if is_close(*wanted, *found) => 25,
            Self::Block { .. } => 30,
            Self::OwnNetwork { .. } => 35,
            Self::NoPod { .. } | Self::Node { .. } | Self::DomainName { .. } => 40,
        }
    }
}

/// Whether a range would hold an address were it at most 256 times as large.
fn is_close(range: Cidr, address: IpAddr) -> bool {
    let wider = Cidr {
        prefix: range.prefix.saturating_sub(8),
        ..range
    };
    contains(wider, address)
}

/// The terms of a selector that labels do not meet.
fn label_terms(selector: &Selector, labels: &BTreeMap<String, String>, of: &Key) -> Vec<LabelTerm> {
    let term = |(term, simple): (Expression, bool)| LabelTerm {
        of: of.clone(),
        found: labels.get(&term.key).cloned(),
        label: term.key,
        operator: term.operator,
        values: term.values,
        simple,
    };
    unmet(selector, labels).into_iter().map(term).collect()
}

/// The terms of a selector that labels do not meet, and whether each stands under `matchLabels`.
pub(crate) fn unmet(
    selector: &Selector,
    labels: &BTreeMap<String, String>,
) -> Vec<(Expression, bool)> {
    let simple = selector
        .labels
        .iter()
        .filter(|(key, value)| labels.get(*key) != Some(*value))
        .map(|(key, value)| {
            let term = Expression {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.clone()],
            };
            (term, true)
        });
    let expressions = selector.expressions.iter().filter(|term| {
        let value = labels.get(&term.key);
        let is_among = value.is_some_and(|value| term.values.contains(value));
        !match term.operator {
            Operator::In => is_among,
            Operator::NotIn => !is_among,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    });
    simple
        .chain(expressions.map(|term| (term.clone(), false)))
        .collect()
}

/// Whether an address is in a range.
pub(crate) fn contains(range: Cidr, address: IpAddr) -> bool {
    range.contains(&Cidr::from_address(address))
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{}", protocol.ovn()),
            Self::Icmp => f.write_str("icmp"),
            Self::Other(number) => write!(f, "protocol {number}"),
        }
    }
}

impl fmt::Display for LabelTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, label) = (&self.of, &self.label);
        match &self.found {
            Some(found) => write!(f, "{of} has the label {label}={found}")?,
            None => write!(f, "{of} has no label {label}")?,
        }
        f.write_str(", and the rule asks for ")?;
        let values = self.values.join(", ");
        match self.operator {
            Operator::In if self.values.len() == 1 => write!(f, "{label}={values}"),
            Operator::In => write!(f, "{label} in ({values})"),
            Operator::NotIn => write!(f, "{label} not in ({values})"),
            Operator::Exists => write!(f, "the label {label}"),
            Operator::DoesNotExist => write!(f, "no label {label}"),
        }
    }
}

impl fmt::Display for Term {
    /// A clause: `port 8080 was asked for, and the rule has 8081`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port {
                wanted: (first, last),
                found,
            } => {
                write!(f, "the rule is for port {first}")?;
                if first != last {
                    write!(f, " to {last}")?;
                }
                write!(f, ", not {found}")
            }
            Self::Protocol { wanted, found } => {
                write!(f, "the rule is for {}, not {found}", wanted.as_str())
            }
            Self::NamedPort {
                name,
                is: Some(is),
                found,
            } => write!(
                f,
                "the rule is for port \"{name}\", which is {is}, not {found}"
            ),
            Self::NamedPort { name, is: None, .. } => write!(
                f,
                "the rule is for port \"{name}\", and no container has a port of that name"
            ),
            Self::PassedOver { name: Some(name) } => write!(
                f,
                "ovn-kubernetes passes port \"{name}\" over beside ports by number"
            ),
            Self::PassedOver { name: None } => f.write_str(
                "ovn-kubernetes passes a protocol without a port over beside ports by number",
            ),
            Self::PodLabel(term) | Self::NamespaceLabel(term) => term.fmt(f),
            Self::Namespace { wanted, found } => write!(
                f,
                "the rule is for pods of its own namespace {wanted}, not of {found}"
            ),
            Self::Block { wanted, found } => write!(f, "{found} is not in {wanted}"),
            Self::Except { wanted, found } => {
                write!(f, "{found} is in {wanted}, which is excepted")
            }
            Self::NoPod { found } => {
                write!(
                    f,
                    "the rule is for pods, and {found} is none that it can select"
                )
            }
            Self::Node { found } => {
                write!(
                    f,
                    "the rule is for nodes, and {found} is no address of one that it selects"
                )
            }
            Self::DomainName { name } => write!(
                f,
                "the rule is for {name}, and what addresses that has is not known here"
            ),
            Self::OwnNetwork { found } => write!(
                f,
                "egress firewalls leave out the cluster's own network, in which {found} is"
            ),
        }
    }
}
