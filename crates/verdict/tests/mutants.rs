//! A working set of policies, broken in one place at a time: the broken rule must be named, and the change that is proposed must mend it without
//! opening more than undoing the fault would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Dice, World, texts};
use netverdict_manifest::{
    AdminPeer, AdminPort, Data, Edit, EgressTo, Key, Kind, Object, Peer, PortRef, Protocol,
    Selector, Span, Spec, Step, edit,
};
use netverdict_types::Direction;
use netverdict_verdict::{
    Ask, Decided, Denial, End, Near, Objects, Reach, RuleId, Space, Transport, best_fix, changes,
    container_ports,
};

/// What must be named for a fault.
#[derive(Clone, Debug)]
enum Culprit {
    /// A rule that misses.
    Rule(RuleId),
    /// A policy that isolates, or has the rule that denies.
    Policy(Key),
    /// A label of this object that a rule asks for.
    Label(Key),
}

/// A fault.
#[derive(Clone, Debug)]
struct Fault {
    kind: &'static str,
    texts: Vec<(String, String)>,
    culprit: Culprit,
    what: String,
}

fn path(steps: &[&str]) -> Vec<Step> {
    let step = |step: &&str| match step.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Key((*step).to_owned()),
    };
    steps.iter().map(step).collect()
}

/// Replaces a value of an object.
fn replaced(world: &World, object: &Object, steps: &[&str], value: Data) -> Vec<(String, String)> {
    let name = world.sources.name(object.meta.span.file).unwrap();
    let change = Edit {
        path: path(steps),
        value,
        replace: true,
    };
    let mut texts = texts();
    let text = texts.iter_mut().find(|(of, _)| of == name).unwrap();
    let edited = edit(&text.1, object.meta.span, &[change]).expect("the value is there");
    text.1 = edited.text;
    texts
}

/// Takes the item of a block list out.
fn without(world: &World, span: Span) -> Vec<(String, String)> {
    let name = world.sources.name(span.file).unwrap();
    let mut texts = texts();
    let text = texts.iter_mut().find(|(of, _)| of == name).unwrap();
    let start = text.1[..span.start as usize].rfind('\n').unwrap() + 1;
    let end = text.1[..span.end as usize].trim_end().len();
    let end = end + text.1[end..].find('\n').unwrap() + 1;
    text.1.replace_range(start..end, "");
    texts
}

/// All faults of all rules, several of each kind.
fn faults(world: &World, dice: &mut Dice) -> Vec<Fault> {
    let mut faults = Vec::new();
    for object in world.objects.values() {
        match &object.spec {
            Spec::NetworkPolicy(policy) => {
                for (direction, rules) in [
                    (Direction::Ingress, &policy.ingress),
                    (Direction::Egress, &policy.egress),
                ] {
                    for (index, rule) in rules.iter().enumerate() {
                        let id = RuleId {
                            policy: object.key.clone(),
                            direction,
                            index,
                        };
                        let breaker = Breaker { world, object, id };
                        for (number, port) in rule.ports.iter().enumerate() {
                            if let Some(PortRef::Number(port)) = port.port {
                                breaker.port(&[], number, port, dice, &mut faults);
                            }
                        }
                        for (number, peer) in rule.peers.iter().enumerate() {
                            match peer {
                                Peer::Pods {
                                    namespaces, pods, ..
                                } => {
                                    breaker.selector(
                                        "label",
                                        number,
                                        &["podSelector"],
                                        pods.as_ref(),
                                        dice,
                                        &mut faults,
                                    );
                                    breaker.selector(
                                        "namespace label",
                                        number,
                                        &["namespaceSelector"],
                                        namespaces.as_ref(),
                                        dice,
                                        &mut faults,
                                    );
                                }
                                Peer::Block(_) => breaker.range(
                                    &[breaker.peers(), &number.to_string(), "ipBlock", "cidr"],
                                    dice,
                                    &mut faults,
                                ),
                            }
                        }
                        breaker.removed(rule.span, rules.len(), &mut faults);
                    }
                }
            }
            Spec::AdminPolicy(policy) => {
                for (direction, rules) in [
                    (Direction::Ingress, &policy.ingress),
                    (Direction::Egress, &policy.egress),
                ] {
                    for (index, rule) in rules.iter().enumerate() {
                        let id = RuleId {
                            policy: object.key.clone(),
                            direction,
                            index,
                        };
                        let breaker = Breaker { world, object, id };
                        for (number, port) in rule.ports.iter().enumerate() {
                            if let AdminPort::Numbers { start, .. } = port {
                                breaker.port(&["portNumber"], number, *start, dice, &mut faults);
                            }
                        }
                        for (number, peer) in rule.peers.iter().enumerate() {
                            match peer {
                                AdminPeer::Pods { namespaces, pods } => {
                                    breaker.selector(
                                        "label",
                                        number,
                                        &["pods", "podSelector"],
                                        Some(pods),
                                        dice,
                                        &mut faults,
                                    );
                                    breaker.selector(
                                        "namespace label",
                                        number,
                                        &["pods", "namespaceSelector"],
                                        Some(namespaces),
                                        dice,
                                        &mut faults,
                                    );
                                }
                                AdminPeer::Namespaces(namespaces) => breaker.selector(
                                    "namespace label",
                                    number,
                                    &["namespaces"],
                                    Some(namespaces),
                                    dice,
                                    &mut faults,
                                ),
                                _ => {}
                            }
                        }
                        breaker.removed(rule.span, rules.len(), &mut faults);
                    }
                }
            }
            Spec::EgressFirewall(firewall) => {
                for (index, rule) in firewall.rules.iter().enumerate() {
                    let id = RuleId {
                        policy: object.key.clone(),
                        direction: Direction::Egress,
                        index,
                    };
                    let breaker = Breaker { world, object, id };
                    for (number, port) in rule.ports.iter().enumerate() {
                        if let Some(port) = port.port {
                            breaker.port(&[], number, port, dice, &mut faults);
                        }
                    }
                    if let (EgressTo::Cidr(_), false) = (&rule.to, rule.ports.is_empty()) {
                        breaker.range(&["to", "cidrSelector"], dice, &mut faults);
                    }
                    breaker.removed(rule.span, firewall.rules.len(), &mut faults);
                }
            }
            Spec::Namespace(_) => {
                for label in object.meta.labels.keys() {
                    if label.contains('/') {
                        continue;
                    }
                    faults.push(Fault {
                        kind: "namespace label",
                        texts: replaced(
                            world,
                            object,
                            &["metadata", "labels", label],
                            Data::text("other"),
                        ),
                        culprit: Culprit::Label(object.key.clone()),
                        what: format!("{} loses its label {label}", object.key),
                    });
                }
            }
            Spec::Pod(_) => faults.extend(isolated(object)),
            _ => {}
        }
    }
    faults
}

/// A new policy that isolates a pod, and allows nothing.
fn isolated(pod: &Object) -> Vec<Fault> {
    let Key {
        namespace, name, ..
    } = &pod.key;
    ["Ingress", "Egress"]
        .map(|direction| {
            let mut texts = texts();
            texts.push((
                "new.yaml".to_owned(),
                format!(
                    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{namespace: {namespace}, name: new}}\nspec:\n  podSelector: {{matchLabels: {{app: {}}}}}\n  policyTypes: [{direction}]\n",
                    pod.meta.labels["app"]
                ),
            ));
            Fault {
                kind: "isolation",
                texts,
                culprit: Culprit::Policy(Key::new(Kind::NetworkPolicy, namespace, "new")),
                what: format!("{namespace}/{name} is isolated for {direction}"),
            }
        })
        .into()
}

/// Breaks one rule.
struct Breaker<'a> {
    world: &'a World,
    object: &'a Object,
    id: RuleId,
}

impl Breaker<'_> {
    fn peers(&self) -> &'static str {
        match self.id.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        }
    }

    fn replace(&self, kind: &'static str, steps: &[&str], value: Data) -> Fault {
        let index = self.id.index.to_string();
        let list = match self.id.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let mut all = vec!["spec", list, &index];
        all.extend(steps);
        Fault {
            kind,
            what: format!(
                "{} of {}: {} becomes {}",
                self.id.place(),
                self.id.policy,
                steps.join("."),
                value.json()
            ),
            texts: replaced(self.world, self.object, &all, value),
            culprit: Culprit::Rule(self.id.clone()),
        }
    }

    fn port(
        &self,
        within: &[&str],
        number: usize,
        port: u16,
        dice: &mut Dice,
        faults: &mut Vec<Fault>,
    ) {
        for other in [port + 1, *dice.one(&[1, 81, 4433, 65535])] {
            let number = number.to_string();
            let mut steps = vec!["ports", &number];
            steps.extend(within);
            steps.push("port");
            // A range must go on.
            let other = if port == 7000 { 7001 } else { other };
            faults.push(self.replace("port", &steps, Data::Number(other.into())));
        }
    }

    fn selector(
        &self,
        kind: &'static str,
        number: usize,
        within: &[&str],
        selector: Option<&Selector>,
        dice: &mut Dice,
        faults: &mut Vec<Fault>,
    ) {
        let number = number.to_string();
        let mut base = vec![self.peers(), &number];
        base.extend(within);
        for (label, value) in selector.iter().flat_map(|selector| &selector.labels) {
            let mut steps = base.clone();
            steps.extend(["matchLabels", label]);
            let wrong = [format!("{value}x"), "web".to_owned(), "none".to_owned()];
            let wrong = dice.one(&wrong);
            if wrong != value {
                faults.push(self.replace(kind, &steps, Data::text(wrong)));
            }
        }
        for (place, term) in selector
            .iter()
            .flat_map(|selector| selector.expressions.iter().enumerate())
        {
            let mut steps = base.clone();
            let (place, which) = (place.to_string(), dice.roll(term.values.len()).to_string());
            steps.extend(["matchExpressions", &place, "values", &which]);
            faults.push(self.replace(kind, &steps, Data::text("wrong")));
        }
    }

    fn range(&self, steps: &[&str], dice: &mut Dice, faults: &mut Vec<Fault>) {
        for _ in 0..2 {
            let other = dice.one(&[
                "203.0.112.0/24",
                "198.51.101.0/24",
                "10.0.0.0/8",
                "192.0.2.64/26",
            ]);
            faults.push(self.replace("CIDR", steps, Data::text(*other)));
        }
    }

    fn removed(&self, span: Span, of: usize, faults: &mut Vec<Fault>) {
        if of > 1 {
            faults.push(Fault {
                kind: "removed rule",
                texts: without(self.world, span),
                culprit: Culprit::Policy(self.id.policy.clone()),
                what: format!("{} of {} is gone", self.id.place(), self.id.policy),
            });
        }
    }
}

/// A connection that works.
fn working(world: &World, reach: &Reach<'_>) -> Vec<Ask> {
    let mut asks = Vec::new();
    let pods: Vec<End> = reach
        .pods()
        .iter()
        .map(|seat| world.objects().end(seat.addresses[0]))
        .collect();
    let outside = ["203.0.113.7", "192.0.2.9", "192.0.2.99", "198.51.100.5"].map(|address| End {
        address: address.parse().unwrap(),
        pod: None,
    });
    let listens = |end: &End| -> Vec<(Protocol, u16)> {
        match end.pod.as_ref().map(|pod| &world.objects[pod].spec) {
            Some(Spec::Pod(pod)) => pod
                .ports
                .iter()
                .map(|port| (port.protocol, port.port))
                .collect(),
            _ => vec![(Protocol::Tcp, 443), (Protocol::Tcp, 587)],
        }
    };
    for from in pods.iter().chain(&outside) {
        for to in pods.iter().chain(&outside) {
            if from == to || (from.pod.is_none() && to.pod.is_none()) {
                continue;
            }
            for (protocol, port) in listens(to) {
                asks.push(Ask {
                    from: from.clone(),
                    to: to.clone(),
                    transport: Transport::Port(protocol, port),
                });
            }
        }
    }
    asks.retain(|ask| denied(reach, ask).is_none_or(|denied| denied.is_empty()));
    asks
}

fn denied(reach: &Reach<'_>, ask: &Ask) -> Option<Vec<Decided>> {
    let mut decided = reach.ask(ask)?;
    decided.retain(Decided::denies);
    Some(decided)
}

/// Applies a difference of the form of `diff -u`, as `patch` does.
fn patched(texts: &[(String, String)], diff: &str) -> Vec<(String, String)> {
    let mut texts = texts.to_vec();
    let name = diff.lines().next().unwrap().strip_prefix("--- a/").unwrap();
    let text = &mut texts.iter_mut().find(|(of, _)| of == name).unwrap().1;
    let old: Vec<&str> = text.lines().collect();
    let (mut new, mut at) = (Vec::new(), 0);
    for line in diff.lines().skip(2) {
        if let Some(hunk) = line.strip_prefix("@@ -") {
            let start: usize = hunk.split(',').next().unwrap().parse().unwrap();
            new.extend(&old[at..start - 1]);
            at = start - 1;
            continue;
        }
        let (mark, rest) = line.split_at(1);
        if mark != "+" {
            assert_eq!(old[at], rest, "{diff}");
            at += 1;
        }
        if mark != "-" {
            new.push(rest);
        }
    }
    new.extend(&old[at..]);
    *text = new.join("\n") + "\n";
    texts
}

/// Pairs of pods and ports that are open in the second and not in the first.
fn opened(before: &Reach<'_>, after: &Reach<'_>, world: &World) -> usize {
    let space = Space::new(&[before, after], container_ports(world.objects()));
    // "No more" is about ports: a slot of many counts as many.
    changes(before, after, &space)
        .iter()
        .map(|change| {
            let ranges = change.opened.iter().map(|slot| space.slots()[*slot].range);
            let ports: usize = ranges
                .map(|(first, last)| usize::from(last - first) + 1)
                .sum();
            ports * space.pairs(change.from, change.to)
        })
        .sum()
}

/// The same for several seeds, each a test of its own so that they run side by side; `N` faults each.
fn mutants(seed: u64) {
    let base = World::new(&texts());
    let base_rows = base.rows();
    let base_reach = Reach::new(&base_rows);
    let asks = working(&base, &base_reach);
    assert!(asks.len() > 50, "{}", asks.len());
    let mut dice = Dice(seed);
    let wanted: usize = std::env::var("N").map_or(35, |n| n.parse().unwrap());
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let (mut first, mut named) = (0, 0);
    let mut rounds = 0;
    while done.values().sum::<usize>() < wanted {
        rounds += 1;
        assert!(rounds < 50, "there are not so many faults: {done:?}");
        let mut all = faults(&base, &mut dice);
        while !all.is_empty() {
            let fault = all.swap_remove(dice.roll(all.len()));
            let Some(mut mutant) = World::read(&fault.texts) else {
                continue;
            };
            let rows = mutant.rows();
            let reach = Reach::new(&rows);
            let broken: Vec<(&Ask, Vec<Decided>)> = asks
                .iter()
                .filter_map(|ask| Some((ask, denied(&reach, ask)?)))
                .filter(|(_, denied)| !denied.is_empty())
                .collect();
            if broken.is_empty() {
                continue;
            }
            let (ask, denied) = &broken[dice.roll(broken.len())];
            if !seen.insert((fault.what.clone(), format!("{ask:?}"))) {
                continue;
            }
            let label = format!(
                "{}; {} to {} on {}",
                fault.what, ask.from.address, ask.to.address, ask.transport
            );

            // By the rows alone something that nearly lets it through is found wherever a rule is broken.
            if matches!(fault.culprit, Culprit::Rule(_)) {
                let rows: Vec<_> = denied.iter().flat_map(|one| reach.near(ask, one)).collect();
                assert!(!rows.is_empty(), "{label}");
            }

            // The fault is named.
            let mut is_named = false;
            let mut is_first = false;
            for one in denied {
                let acl = reach.acl(one).expect("an ACL denies");
                let denial = Denial::of(&acl.acl.owner).expect("of a policy");
                let direction = acl.acl.owner.direction.unwrap_or(one.side);
                let near = Near::find(mutant.objects(), ask, direction, &denial);
                let misses = || near.misses.iter();
                match &fault.culprit {
                    Culprit::Rule(rule) => {
                        is_named |= misses().any(|miss| miss.rule == *rule);
                        is_first |= misses().next().is_some_and(|miss| miss.rule == *rule);
                    }
                    Culprit::Label(object) => {
                        let about = |miss: &netverdict_verdict::NearMiss| {
                            miss.failing.iter().any(|failing| matches!(&failing.term, netverdict_verdict::Term::NamespaceLabel(term) if term.of == *object))
                        };
                        is_named |= misses().any(about);
                        is_first |= misses().next().is_some_and(about);
                    }
                    Culprit::Policy(policy) => {
                        let isolates = near.isolating.iter().any(|one| one.policy == *policy);
                        let denies =
                            matches!(&denial, Denial::Rule(rule) if rule.policy == *policy);
                        is_named |= isolates || denies;
                        is_first |= isolates || denies;
                    }
                }
            }
            assert!(is_named, "{label}: not named");
            named += usize::from(is_named);
            first += usize::from(is_first);

            // It is mended.
            let objects = mutant.objects.clone();
            let options = mutant.options.clone();
            let of = Objects {
                objects: &objects,
                options: &options,
            };
            let found = best_fix(of, &mutant.sources, &mut mutant.compiler, ask);
            let fix = found.unwrap_or_else(|| panic!("{label}: no fix"));
            let mut texts = fault.texts.clone();
            for part in &fix.parts {
                match part.is_new {
                    true => texts.push((format!("fix-{}.yaml", texts.len()), part.diff.clone())),
                    false => texts = patched(&texts, &part.diff),
                }
            }
            let mended = World::new(&texts);
            let mended_rows = mended.rows();
            let mended_reach = Reach::new(&mended_rows);
            let left = mended_reach.ask(ask).unwrap();
            assert!(
                !left.iter().any(Decided::denies),
                "{label}: still denied with {fix:#?}"
            );
            assert_eq!(mutant.rows().len(), rows.len());

            // It closes nothing, and opens no more than undoing the fault.
            let space = Space::new(&[&reach, &mended_reach], container_ports(mended.objects()));
            let changes = changes(&reach, &mended_reach, &space);
            let closed = changes.iter().filter(|change| !change.closed.is_empty());
            assert_eq!(closed.count(), 0, "{label}: {fix:#?}");
            assert!(fix.closes.is_empty(), "{label}: {fix:#?}");
            let by_fix = opened(&reach, &mended_reach, &mended);
            let by_undoing = opened(&reach, &base_reach, &base);
            assert!(
                by_fix <= by_undoing,
                "{label}: {by_fix} > {by_undoing} with {fix:#?}"
            );
            *done.entry(fault.kind).or_default() += 1;
            if done.values().sum::<usize>() >= wanted {
                break;
            }
        }
    }
    let all: usize = done.values().sum();
    println!("{all} faults: {done:?}; named {named}, as the closest {first}");
    for kind in [
        "port",
        "label",
        "namespace label",
        "CIDR",
        "removed rule",
        "isolation",
    ] {
        assert!(
            done.get(kind).is_some_and(|count| *count >= 1),
            "{kind}: {done:?}"
        );
    }
}

#[test]
fn faults_are_named_and_mended_without_opening_more_1() {
    mutants(1);
}

#[test]
fn faults_are_named_and_mended_without_opening_more_2() {
    mutants(2);
}

#[test]
fn faults_are_named_and_mended_without_opening_more_3() {
    mutants(3);
}

#[test]
fn faults_are_named_and_mended_without_opening_more_4() {
    mutants(4);
}

#[test]
fn faults_are_named_and_mended_without_opening_more_5() {
    mutants(5);
}

#[test]
fn faults_are_named_and_mended_without_opening_more_6() {
    mutants(6);
}
