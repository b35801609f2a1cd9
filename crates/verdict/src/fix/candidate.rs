//! Changes that could help.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netverdict_manifest::{
    AdminPeer, AdminPolicy, AdminPort, AdminRule, Cidr, Data, Edit, EgressRule, EgressTo, Key,
    Kind, NetworkPolicy, NetworkRule, Object, Operator, Peer, PortRef, Protocol, Spec,
    Step as Path,
};
use netverdict_types::Direction;

use crate::near::{
    Ask, Denial, End, Failing, LabelTerm, NAME_LABEL, Near, NearMiss, Objects, RuleId, Term,
    Transport, contains,
};

/// A change that could help: of one object, or of one for the peer and one for the port.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) steps: Vec<Step>,
    /// How large it is, and how far from what people would do.
    pub(super) size: u32,
}

/// A change of one object.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) object: Key,
    /// What is done, as a command.
    pub(super) what: String,
    pub(super) edits: Vec<Edit>,
    /// The object, if it is a new one.
    pub(super) new: Option<Data>,
}

/// Rules that are looked at, of those that came close.
const MOST_MISSES: usize = 6;
/// Terms that may fail in one of them; where more do, a rule of its own is the smaller change.
const MOST_TERMS: usize = 3;

/// Labels that tell pods of one workload apart, or its versions.
const FLEETING: [&str; 6] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
];

/// Changes that could let a connection through where it is denied.
pub(super) fn candidates(
    objects: Objects<'_>,
    ask: &Ask,
    direction: Direction,
    denial: &Denial,
    near: &Near,
) -> Vec<Candidate> {
    let maker = Maker {
        objects,
        ask,
        direction,
    };
    let mut candidates = Vec::new();
    let close = near
        .misses
        .iter()
        .filter(|miss| miss.failing.len() <= MOST_TERMS);
    for miss in close.take(MOST_MISSES) {
        candidates.extend(maker.mend(miss));
    }
    match denial {
        Denial::Isolation => {
            for isolating in &near.isolating {
                let place = isolating.rules;
                candidates.extend(maker.new_rule(&isolating.policy, place));
            }
            candidates.extend(maker.new_policy());
        }
        Denial::Rule(rule) => candidates.extend(maker.new_rule(&rule.policy, rule.index)),
    }
    candidates
}

struct Maker<'a> {
    objects: Objects<'a>,
    ask: &'a Ask,
    direction: Direction,
}

/// One way to make terms hold: changes of objects.
type Way = (u32, Vec<(Key, String, Edit)>);

impl Maker<'_> {
    fn subject(&self) -> &End {
        match self.direction {
            Direction::Ingress => &self.ask.to,
            Direction::Egress => &self.ask.from,
        }
    }

    fn peer(&self) -> &End {
        match self.direction {
            Direction::Ingress => &self.ask.from,
            Direction::Egress => &self.ask.to,
        }
    }

    /// Changes that make a rule match that nearly did.
    fn mend(&self, miss: &NearMiss) -> Vec<Candidate> {
        let (ports, peers): (Vec<&Failing>, Vec<&Failing>) = miss
            .failing
            .iter()
            .partition(|failing| is_about_port(&failing.term));
        let nothing: Vec<Way> = vec![(0, Vec::new())];
        let port_ways = match ports.is_empty() {
            true => nothing.clone(),
            false => self.port_ways(miss, &ports),
        };
        let peer_ways = match peers.is_empty() {
            true => nothing,
            false => self.peer_ways(miss, &peers),
        };
        let mut candidates = Vec::new();
        for (peer_size, peer) in &peer_ways {
            for (port_size, port) in &port_ways {
                let changes = peer.iter().chain(port).cloned();
                candidates.push(candidate(peer_size + port_size, changes));
            }
        }
        candidates
    }

    fn port_ways(&self, miss: &NearMiss, failing: &[&Failing]) -> Vec<Way> {
        let Transport::Port(protocol, port) = self.ask.transport else {
            return Vec::new();
        };
        let Some(rule) = self.rule(&miss.rule) else {
            return Vec::new();
        };
        let mut ways = Vec::new();
        let entry = miss.port.unwrap_or_default();
        let place = miss.rule.place();
        let of = &miss.rule.policy;
        let mut path = self.path(&miss.rule);
        path.extend([key("ports"), Path::Index(entry)]);
        let kind = of.kind;
        for failing in failing {
            let (field, value, what) = match (&failing.term, rule.entry(entry)) {
                (Term::Port { wanted, found }, _) if wanted.0 == wanted.1 => (
                    "port",
                    Data::Number((*found).into()),
                    format!("set port {} to {found} in {place} of {of}", wanted.0),
                ),
                (Term::Protocol { wanted, .. }, Some((_, own))) if own == port => (
                    "protocol",
                    Data::text(protocol.as_str()),
                    format!(
                        "set the protocol of port {port} from {} to {} in {place} of {of}",
                        wanted.as_str(),
                        protocol.as_str()
                    ),
                ),
                _ => continue,
            };
            let mut path = path.clone();
            match kind {
                Kind::NetworkPolicy | Kind::EgressFirewall => {}
                Kind::ClusterNetworkPolicy => continue,
                _ => path.push(key("portNumber")),
            }
            path.push(key(field));
            ways.push((1, vec![(of.clone(), what, replace(path, value))]));
        }
        if let Some(data) = port_data(kind, protocol, port) {
            path.pop();
            path.push(Path::Index(rule.ports()));
            let what = format!("add port {} to {place} of {of}", self.ask.transport);
            ways.push((2, vec![(of.clone(), what, insert(path, data))]));
        }
        ways
    }

    fn peer_ways(&self, miss: &NearMiss, failing: &[&Failing]) -> Vec<Way> {
        let of = &miss.rule.policy;
        let place = miss.rule.place();
        let mut ways: Vec<Way> = vec![(0, Vec::new())];
        for failing in failing {
            let mut next = Vec::new();
            for (size, change) in self.term_ways(miss, failing) {
                for (before, changes) in &ways {
                    let mut changes = changes.clone();
                    changes.extend(change.clone());
                    next.push((before + size, changes));
                }
            }
            ways = next;
        }
        let is_firewall = of.kind == Kind::EgressFirewall;
        if let (Some(rule), Some(data), false) =
            (self.rule(&miss.rule), self.peer_data(of), is_firewall)
        {
            let mut path = self.path(&miss.rule);
            path.extend([key(self.peers_word()), Path::Index(rule.peers())]);
            let what = format!("add {} to {place} of {of}", self.peer_words());
            ways.push((3, vec![(of.clone(), what, insert(path, data))]));
        }
        ways
    }

    /// Ways to make one term about the peer hold.
    fn term_ways(&self, miss: &NearMiss, failing: &Failing) -> Vec<Way> {
        let of = &miss.rule.policy;
        let place = miss.rule.place();
        let one = |size: u32, of: &Key, what: String, edit: Edit| -> Way {
            (size, vec![(of.clone(), what, edit)])
        };
        match &failing.term {
            Term::PodLabel(term) => self.label_ways(miss, term, "podSelector"),
            Term::NamespaceLabel(term) => self.label_ways(miss, term, "namespaceSelector"),
            Term::Block { wanted, found } => {
                let wide = widened(*wanted, *found);
                if wide.prefix + MOST_WIDENED < wanted.prefix {
                    return Vec::new();
                }
                let Some(path) = self.range_path(miss, *wanted) else {
                    return Vec::new();
                };
                let what = format!("widen {wanted} to {wide} in {place} of {of}");
                vec![one(
                    2,
                    of,
                    what,
                    replace(path, Data::text(wide.to_string())),
                )]
            }
            Term::Except { wanted, .. } => {
                let Some((path, left)) = self.except(miss, *wanted) else {
                    return Vec::new();
                };
                let what = format!("except {wanted} no longer in {place} of {of}");
                vec![one(1, of, what, replace(path, left))]
            }
            _ => Vec::new(),
        }
    }

    fn label_ways(&self, miss: &NearMiss, term: &LabelTerm, selector: &str) -> Vec<Way> {
        let of = &miss.rule.policy;
        let place = miss.rule.place();
        let mut ways = Vec::new();
        let mut path = self.path(&miss.rule);
        path.extend([
            key(self.peers_word()),
            Path::Index(miss.peer.unwrap_or_default()),
        ]);
        path.extend(self.selector_path(miss, selector));
        let label = &term.label;
        if let (true, Some(found)) = (term.simple, &term.found) {
            let mut path = path.clone();
            path.extend([key("matchLabels"), key(label)]);
            let wanted = term.values.join(", ");
            let what =
                format!("select {label}={found} instead of {label}={wanted} in {place} of {of}");
            let edit = replace(path, Data::text(found));
            ways.push((1, vec![(of.clone(), what, edit)]));
        }
        if let (false, Operator::In, Some(found)) = (term.simple, term.operator, &term.found)
            && let Some((number, values)) = self.expression(miss, selector, term)
        {
            path.extend([
                key("matchExpressions"),
                Path::Index(number),
                key("values"),
                Path::Index(values),
            ]);
            let what = format!("select {label}={found} as well in {place} of {of}");
            let edit = insert(path, Data::text(found));
            ways.push((1, vec![(of.clone(), what, edit)]));
        }
        // Names of namespaces are labels that nobody can set.
        let value = match term.operator {
            Operator::In => term.values.first().cloned(),
            Operator::Exists => Some(String::new()),
            Operator::NotIn | Operator::DoesNotExist => None,
        };
        if let (Some(value), true) = (value, label != NAME_LABEL) {
            let what = format!("label {} {label}={value}", term.of);
            let path = vec![key("metadata"), key("labels"), key(label)];
            let size = if term.of.kind == Kind::Pod { 4 } else { 2 };
            let edit = replace(path, Data::text(value));
            ways.push((size, vec![(term.of.clone(), what, edit)]));
        }
        ways
    }

    /// A rule for this connection and nothing else, in a policy that is there.
    fn new_rule(&self, policy: &Key, index: usize) -> Option<Candidate> {
        let data = self.rule_data(policy)?;
        let mut path = vec![key("spec"), key(self.list())];
        path.push(Path::Index(index));
        let what = format!(
            "add a rule to {policy}: {} {} on {}",
            self.peers_word(),
            self.peer_words(),
            self.ask.transport
        );
        let edit = insert(path, data);
        Some(candidate(5, std::iter::once((policy.clone(), what, edit))))
    }

    /// A policy for this connection and nothing else.
    fn new_policy(&self) -> Option<Candidate> {
        let subject = self.subject().pod.as_ref()?;
        let labels = lasting(self.objects.object(subject)?);
        let peer = self.peer();
        let name = |end: &End| match &end.pod {
            Some(pod) => self
                .objects
                .object(pod)
                .and_then(|pod| lasting(pod).get("app").cloned())
                .unwrap_or_else(|| pod.name.to_string()),
            None => "outside".to_owned(),
        };
        let name = format!(
            "allow-{}-{}-{}",
            name(self.subject()),
            self.peers_word(),
            name(peer)
        );
        let is_name = name.len() <= 253
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name {
            return None;
        }
        let policy = Key::new(Kind::NetworkPolicy, &subject.namespace, &name);
        if self.objects.object(&policy).is_some() {
            return None;
        }
        let rule = self.rule_data(&policy)?;
        let data = Data::map([
            ("apiVersion", Data::text(Kind::NetworkPolicy.api_version())),
            ("kind", Data::text(Kind::NetworkPolicy.as_str())),
            (
                "metadata",
                Data::map([
                    ("namespace", Data::text(&*subject.namespace)),
                    ("name", Data::text(&name)),
                ]),
            ),
            (
                "spec",
                Data::map([
                    ("podSelector", selector(&labels)),
                    (
                        "policyTypes",
                        Data::List(vec![Data::text(self.direction.as_str())]),
                    ),
                    (self.list(), Data::List(vec![rule])),
                ]),
            ),
        ]);
        let what = format!(
            "make {policy}: {} {} on {}",
            self.peers_word(),
            self.peer_words(),
            self.ask.transport
        );
        Some(Candidate {
            size: 10,
            steps: vec![Step {
                object: policy,
                what,
                edits: Vec::new(),
                new: Some(data),
            }],
        })
    }

    fn rule_data(&self, policy: &Key) -> Option<Data> {
        let ports = match self.ask.transport {
            Transport::Port(protocol, port) => {
                // Whoever asks for names over UDP falls back to TCP.
                let dns = [Protocol::Udp, Protocol::Tcp];
                let protocols = match (protocol, port) {
                    (Protocol::Udp | Protocol::Tcp, 53) => &dns[..],
                    _ => std::slice::from_ref(&protocol),
                };
                let ports: Option<Vec<Data>> = protocols
                    .iter()
                    .map(|protocol| port_data(policy.kind, *protocol, port))
                    .collect();
                Some(Data::List(ports?))
            }
            _ => None,
        };
        let ports = ports.map(|ports| ("ports", ports));
        let peer = self.peer_data(policy)?;
        if policy.kind == Kind::EgressFirewall {
            let rule = [("type", Data::text("Allow")), ("to", peer)];
            return Some(Data::map(rule.into_iter().chain(ports)));
        }
        let peers = (self.peers_word(), Data::List(vec![peer]));
        Some(match policy.kind {
            Kind::NetworkPolicy => Data::map(std::iter::once(peers).chain(ports)),
            Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
                let name = format!("allow-{}", self.ask.transport).replace(['/', ' '], "-");
                let rule = [
                    ("name", Data::text(name)),
                    ("action", Data::text("Allow")),
                    peers,
                ];
                Data::map(rule.into_iter().chain(ports))
            }
            _ => return None,
        })
    }

    /// The peer as a policy names it.
    fn peer_data(&self, policy: &Key) -> Option<Data> {
        let peer = self.peer();
        let block = || Cidr::from_address(peer.address).to_string();
        if policy.kind == Kind::EgressFirewall {
            return Some(Data::map([("cidrSelector", Data::text(block()))]));
        }
        let pod = peer.pod.as_ref().and_then(|pod| self.objects.object(pod));
        let Some(pod) = pod else {
            return match (policy.kind, self.direction) {
                (Kind::NetworkPolicy, _) => Some(Data::map([(
                    "ipBlock",
                    Data::map([("cidr", Data::text(block()))]),
                )])),
                (_, Direction::Egress) => Some(Data::map([(
                    "networks",
                    Data::List(vec![Data::text(block())]),
                )])),
                _ => None,
            };
        };
        let pods = selector(&lasting(pod));
        let name = Data::text(&*pod.key.namespace);
        let namespace = Data::map([("matchLabels", Data::map([(NAME_LABEL, name)]))]);
        Some(match policy.kind {
            Kind::NetworkPolicy if policy.namespace == pod.key.namespace => {
                Data::map([("podSelector", pods)])
            }
            Kind::NetworkPolicy => {
                Data::map([("namespaceSelector", namespace), ("podSelector", pods)])
            }
            _ => Data::map([(
                "pods",
                Data::map([("namespaceSelector", namespace), ("podSelector", pods)]),
            )]),
        })
    }

    fn peer_words(&self) -> String {
        let peer = self.peer();
        let Some(pod) = peer.pod.as_ref().and_then(|pod| self.objects.object(pod)) else {
            return peer.address.to_string();
        };
        let labels: Vec<String> = lasting(pod)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        match labels.is_empty() {
            true => format!("pods of namespace {}", pod.key.namespace),
            false => format!(
                "pods {} of namespace {}",
                labels.join(","),
                pod.key.namespace
            ),
        }
    }

    fn list(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    fn peers_word(&self) -> &'static str {
        match self.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        }
    }

    fn path(&self, rule: &RuleId) -> Vec<Path> {
        vec![key("spec"), key(self.list()), Path::Index(rule.index)]
    }

    fn rule(&self, id: &RuleId) -> Option<Rule<'_>> {
        let object = self.objects.object(&id.policy)?;
        match (&object.spec, id.direction) {
            (Spec::NetworkPolicy(NetworkPolicy { ingress, .. }), Direction::Ingress) => {
                ingress.get(id.index).map(Rule::Network)
            }
            (Spec::NetworkPolicy(NetworkPolicy { egress, .. }), Direction::Egress) => {
                egress.get(id.index).map(Rule::Network)
            }
            (Spec::AdminPolicy(AdminPolicy { ingress, .. }), Direction::Ingress) => {
                ingress.get(id.index).map(Rule::Admin)
            }
            (Spec::AdminPolicy(AdminPolicy { egress, .. }), Direction::Egress) => {
                egress.get(id.index).map(Rule::Admin)
            }
            (Spec::EgressFirewall(firewall), _) => firewall.rules.get(id.index).map(Rule::Firewall),
            _ => None,
        }
    }

    /// From a peer to one of its selectors.
    fn selector_path(&self, miss: &NearMiss, selector: &str) -> Vec<Path> {
        match self.rule(&miss.rule) {
            Some(Rule::Admin(rule)) => match rule.peers.get(miss.peer.unwrap_or_default()) {
                Some(AdminPeer::Namespaces(_)) => vec![key("namespaces")],
                _ => vec![key("pods"), key(selector)],
            },
            _ => vec![key(selector)],
        }
    }

    /// Where a term stands among the expressions of a selector, and how many values it has.
    fn expression(
        &self,
        miss: &NearMiss,
        selector: &str,
        term: &LabelTerm,
    ) -> Option<(usize, usize)> {
        let wants_pods = selector == "podSelector";
        let selector = match self.rule(&miss.rule)? {
            Rule::Network(rule) => match rule.peers.get(miss.peer?)? {
                Peer::Pods {
                    namespaces, pods, ..
                } => if wants_pods { pods } else { namespaces }.as_ref()?,
                Peer::Block(_) => return None,
            },
            Rule::Admin(rule) => match rule.peers.get(miss.peer?)? {
                AdminPeer::Namespaces(namespaces) => namespaces,
                AdminPeer::Pods { namespaces, pods } => {
                    if wants_pods {
                        pods
                    } else {
                        namespaces
                    }
                }
                _ => return None,
            },
            Rule::Firewall(_) => return None,
        };
        let number = selector.expressions.iter().position(|expression| {
            expression.key == term.label
                && expression.operator == term.operator
                && expression.values == term.values
        })?;
        Some((number, term.values.len()))
    }

    /// Where a range stands.
    fn range_path(&self, miss: &NearMiss, range: Cidr) -> Option<Vec<Path>> {
        let mut path = self.path(&miss.rule);
        match self.rule(&miss.rule)? {
            Rule::Network(_) => path.extend([
                key(self.peers_word()),
                Path::Index(miss.peer?),
                key("ipBlock"),
                key("cidr"),
            ]),
            Rule::Admin(rule) => {
                let AdminPeer::Networks(ranges) = rule.peers.get(miss.peer?)? else {
                    return None;
                };
                let number = ranges.iter().position(|one| one.value == range)?;
                path.extend([
                    key(self.peers_word()),
                    Path::Index(miss.peer?),
                    key("networks"),
                    Path::Index(number),
                ]);
            }
            Rule::Firewall(rule) => match rule.to {
                EgressTo::Cidr(_) => path.extend([key("to"), key("cidrSelector")]),
                _ => return None,
            },
        }
        Some(path)
    }

    /// Where the exceptions of a range stand, and those that are left without one.
    fn except(&self, miss: &NearMiss, part: Cidr) -> Option<(Vec<Path>, Data)> {
        let Rule::Network(rule) = self.rule(&miss.rule)? else {
            return None;
        };
        let Peer::Block(block) = rule.peers.get(miss.peer?)? else {
            return None;
        };
        let left = block.except.iter().filter(|one| one.value.cidr != part);
        let left = left.map(|one| Data::text(one.value.to_string())).collect();
        let mut path = self.path(&miss.rule);
        path.extend([
            key(self.peers_word()),
            Path::Index(miss.peer?),
            key("ipBlock"),
            key("except"),
        ]);
        Some((path, Data::List(left)))
    }
}

/// A rule of whatever policy.
enum Rule<'a> {
    Network(&'a NetworkRule),
    Admin(&'a AdminRule),
    Firewall(&'a EgressRule),
}

impl Rule<'_> {
    fn ports(&self) -> usize {
        match self {
            Self::Network(rule) => rule.ports.len(),
            Self::Admin(rule) => rule.ports.len(),
            Self::Firewall(rule) => rule.ports.len(),
        }
    }

    fn peers(&self) -> usize {
        match self {
            Self::Network(rule) => rule.peers.len(),
            Self::Admin(rule) => rule.peers.len(),
            Self::Firewall(_) => 1,
        }
    }

    /// The protocol and the one port of an entry.
    fn entry(&self, number: usize) -> Option<(Protocol, u16)> {
        match self {
            Self::Network(rule) => {
                let entry = rule.ports.get(number)?;
                match entry.port {
                    Some(PortRef::Number(port)) => Some((entry.protocol, port)),
                    _ => None,
                }
            }
            Self::Admin(rule) => match rule.ports.get(number)? {
                AdminPort::Numbers {
                    protocol, start, ..
                } => Some((*protocol, *start)),
                _ => None,
            },
            Self::Firewall(rule) => {
                let entry = rule.ports.get(number)?;
                Some((entry.protocol, entry.port?))
            }
        }
    }
}

fn candidate(size: u32, changes: impl IntoIterator<Item = (Key, String, Edit)>) -> Candidate {
    let mut steps: Vec<Step> = Vec::new();
    for (object, what, edit) in changes {
        match steps.iter_mut().find(|step| step.object == object) {
            Some(step) => {
                step.what = format!("{}; {what}", step.what);
                step.edits.push(edit);
            }
            None => steps.push(Step {
                object,
                what,
                edits: vec![edit],
                new: None,
            }),
        }
    }
    Candidate { steps, size }
}

fn is_about_port(term: &Term) -> bool {
    matches!(
        term,
        Term::Port { .. }
            | Term::Protocol { .. }
            | Term::NamedPort { .. }
            | Term::PassedOver { .. }
    )
}

fn key(word: &str) -> Path {
    Path::Key(word.to_owned())
}

fn replace(path: Vec<Path>, value: Data) -> Edit {
    Edit {
        path,
        value,
        replace: true,
    }
}

fn insert(path: Vec<Path>, value: Data) -> Edit {
    Edit {
        path,
        value,
        replace: false,
    }
}

fn port_data(kind: Kind, protocol: Protocol, port: u16) -> Option<Data> {
    let entry = Data::map([
        ("protocol", Data::text(protocol.as_str())),
        ("port", Data::Number(port.into())),
    ]);
    match kind {
        Kind::NetworkPolicy | Kind::EgressFirewall => Some(entry),
        Kind::AdminNetworkPolicy | Kind::BaselineAdminNetworkPolicy => {
            Some(Data::map([("portNumber", entry)]))
        }
        _ => None,
    }
}

fn selector(labels: &BTreeMap<String, String>) -> Data {
    if labels.is_empty() {
        return Data::Map(Vec::new());
    }
    let labels = labels.iter();
    let labels = labels.map(|(key, value)| (key.as_str(), Data::text(value)));
    Data::map([("matchLabels", Data::map(labels))])
}

/// The labels of an object that all objects of its workload share.
fn lasting(object: &Object) -> BTreeMap<String, String> {
    let labels = object.meta.labels.iter();
    labels
        .filter(|(key, _)| !FLEETING.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A range that must become wider by more bits than this was meant for others.
const MOST_WIDENED: u8 = 8;

/// The smallest range that holds another and an address.
fn widened(range: Cidr, address: IpAddr) -> Cidr {
    let mut wide = range;
    while wide.prefix > 0 && !contains(wide, address) {
        wide.prefix -= 1;
    }
    wide.network()
}
