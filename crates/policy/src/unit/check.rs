//! What is to be told about a policy that is right by itself.

use std::sync::Arc;

use netverdict_manifest::{
    AdminPeer, AdminPolicy, AdminRule, AdminSubject, Diagnostic, EgressFirewall, EgressTo, Key,
    Kind, NetworkPolicy, NetworkRule, Object, Peer, Selector, Severity, Span, Spec,
};

use super::Context;
use crate::cover;
use crate::options::Compat;
use crate::selector::{Namespaces, Selection, selects};

pub(super) fn is_checked(kind: Kind) -> bool {
    ADMIN_KINDS.contains(&kind) || matches!(kind, Kind::NetworkPolicy | Kind::EgressFirewall)
}

const ADMIN_KINDS: [Kind; 3] = [
    Kind::AdminNetworkPolicy,
    Kind::BaselineAdminNetworkPolicy,
    Kind::ClusterNetworkPolicy,
];

pub(super) fn compile(key: &Key, cx: &mut Context<'_>) {
    let Some(object) = cx.object(key) else {
        return;
    };
    match &object.spec {
        Spec::NetworkPolicy(policy) => network_policy(object, policy, cx),
        Spec::AdminPolicy(policy) => admin_policy(object, policy, cx),
        Spec::EgressFirewall(firewall) => egress_firewall(object, firewall, cx),
        _ => {}
    }
}

fn network_policy(object: &Object, policy: &NetworkPolicy, cx: &mut Context<'_>) {
    let own = || Namespaces::Named(object.key.namespace.clone());
    if cx.has_pods() {
        let subject = Selection::new(own(), Some(policy.pods.clone()));
        if cx.pods(&subject).is_empty() {
            let message = format!("{} selects no pod", object.key);
            let place = format!("no pod of namespace {} is selected", object.key.namespace);
            cx.tell(selects_nothing(message, policy.pods.span, place));
        }
        let rules = policy.ingress.iter().chain(&policy.egress);
        for peer in rules.flat_map(|rule| &rule.peers) {
            let Peer::Pods {
                namespaces,
                pods,
                span,
            } = peer
            else {
                continue;
            };
            match namespaces {
                None => {
                    let peers = Selection::new(own(), pods.clone());
                    if cx.pods(&peers).is_empty() {
                        let message = format!("a peer of {} matches no pod", object.key);
                        let place = format!("no pod of namespace {}", object.key.namespace);
                        cx.tell(selects_nothing(message, *span, place));
                    }
                }
                Some(namespaces) => pod_peer(object, namespaces, pods.as_ref(), *span, cx),
            }
        }
    }
    surprise(object, policy, cx);
    without_effect(object, policy, cx);
    let covers = |a: &NetworkRule, b: &NetworkRule| {
        cover::peers(&a.peers, &b.peers) && cover::ports(&a.ports, &b.ports)
    };
    for rules in [&policy.ingress, &policy.egress] {
        for (index, rule) in rules.iter().enumerate() {
            let mut others = rules.iter().enumerate();
            let by = others.find(|(other_index, other)| {
                let other_index = *other_index;
                other_index != index
                    && covers(other, rule)
                    && (other_index < index || !covers(rule, other))
            });
            if let Some((_, by)) = by {
                let message = format!("a rule of {} allows nothing of its own", object.key);
                let diagnostic = hidden(message, rule.span, by.span);
                cx.tell(diagnostic.help("rules add up: this one can go"));
            }
        }
    }
}

fn surprise(object: &Object, policy: &NetworkPolicy, cx: &mut Context<'_>) {
    if policy.types.is_none()
        && policy.ingress.is_empty()
        && let Some(rule) = policy.egress.first()
    {
        let message = format!("{} denies all ingress to its pods as well", object.key);
        cx.tell(
            Diagnostic::new(Severity::Warning, "isolates-ingress", message)
                .at(rule.span, "there are rules for egress only")
                .help(
                    "without policyTypes a policy always isolates for ingress; \
                     say `policyTypes: [Egress]` if that is not meant",
                ),
        );
    }
}

fn without_effect(object: &Object, policy: &NetworkPolicy, cx: &mut Context<'_>) {
    for (isolates, rules, word) in [
        (policy.isolates_ingress, &policy.ingress, "Ingress"),
        (policy.isolates_egress, &policy.egress, "Egress"),
    ] {
        if !isolates
            && let Some(rule) = rules.first()
            && let Some(types) = policy.types
        {
            let message = match cx.options.compat {
                Compat::Strict => format!("rules of {} have no effect", object.key),
                Compat::OvnKubernetes => format!(
                    "rules of {} count only for pods that other policies isolate",
                    object.key
                ),
            };
            let place = format!("policyTypes does not name {word}");
            cx.tell(
                Diagnostic::new(Severity::Warning, "rules-without-effect", message)
                    .at(rule.span, place)
                    .at(types, "here")
                    .help(format!("add {word} to policyTypes, or drop the rules")),
            );
        }
    }
}

fn admin_policy(object: &Object, policy: &AdminPolicy, cx: &mut Context<'_>) {
    if cx.has_pods() {
        let (namespaces, pods) = subject(&policy.subject);
        let selection = Selection::new(Namespaces::Selected(namespaces.clone()), pods.cloned());
        if cx.pods(&selection).is_empty() {
            let message = format!("{} is for no pod", object.key);
            let place = "no pod is selected".to_owned();
            cx.tell(selects_nothing(message, namespaces.span, place));
        }
        for peer in rules(policy).flat_map(|(_, rule)| &rule.peers) {
            match peer {
                AdminPeer::Namespaces(namespaces) => {
                    pod_peer(object, namespaces, None, namespaces.span, cx);
                }
                AdminPeer::Pods { namespaces, pods } => {
                    pod_peer(object, namespaces, Some(pods), namespaces.span, cx);
                }
                AdminPeer::Nodes(nodes) => node_peer(object, nodes, cx),
                AdminPeer::Networks(_) | AdminPeer::DomainNames(_) => {}
            }
        }
    }
    let objects: Vec<&Object> = ADMIN_KINDS
        .into_iter()
        .flat_map(|kind| cx.objects(kind))
        .collect();
    let others: Vec<(&Object, &AdminPolicy)> = objects
        .into_iter()
        .filter(|other| other.key != object.key)
        .filter_map(|other| match &other.spec {
            Spec::AdminPolicy(policy) => Some((other, policy)),
            _ => None,
        })
        .filter(|(_, other)| other.tier == policy.tier)
        .collect();
    let equal = others
        .iter()
        .find(|(other, its)| rank(other, its) == rank(object, policy) && other.key < object.key);
    if let Some((other, its)) = equal {
        let message = format!("{} and {} have the same priority", other.key, object.key);
        cx.tell(
            Diagnostic::new(Severity::Warning, "same-priority", message)
                .at(policy.priority.span, "this one")
                .at(its.priority.span, "and this one")
                .help("where both are about a connection, nothing says which of them decides"),
        );
    }
    // First match decides: policies of lower priority numbers, then earlier rules.
    let before: Vec<&AdminPolicy> = others
        .iter()
        .filter(|(other, its)| rank(other, its) < rank(object, policy))
        .map(|(_, its)| *its)
        .filter(|other| covers_subject(&other.subject, &policy.subject))
        .collect();
    let ingress: fn(&AdminPolicy) -> &[AdminRule] = |policy| &policy.ingress;
    let egress: fn(&AdminPolicy) -> &[AdminRule] = |policy| &policy.egress;
    for list in [ingress, egress] {
        for (index, rule) in list(policy).iter().enumerate() {
            let earlier = before.iter().flat_map(|other| list(other));
            let by = earlier.chain(&list(policy)[..index]).find(|other| {
                cover::admin_peers(&other.peers, &rule.peers)
                    && cover::admin_ports(&other.ports, &rule.ports)
            });
            if let Some(by) = by {
                let message = format!("a rule of {} never decides", object.key);
                cx.tell(hidden(message, rule.span, by.span));
            }
        }
    }
}

/// What goes first in a tier: a BaselineAdminNetworkPolicy has no priority, and goes last.
fn rank(object: &Object, policy: &AdminPolicy) -> (bool, u32) {
    let is_last = object.key.kind == Kind::BaselineAdminNetworkPolicy;
    (is_last, policy.priority.value)
}

fn rules(policy: &AdminPolicy) -> impl Iterator<Item = (usize, &AdminRule)> {
    let (ingress, egress) = (policy.ingress.iter(), policy.egress.iter());
    ingress.enumerate().chain(egress.enumerate())
}

fn subject(subject: &AdminSubject) -> (&Selector, Option<&Selector>) {
    match subject {
        AdminSubject::Namespaces(namespaces) => (namespaces, None),
        AdminSubject::Pods { namespaces, pods } => (namespaces, Some(pods)),
    }
}

fn covers_subject(a: &AdminSubject, b: &AdminSubject) -> bool {
    let ((a_spaces, a_pods), (b_spaces, b_pods)) = (subject(a), subject(b));
    let everything = Selector::default();
    cover::selector(a_spaces, b_spaces)
        && a_pods.is_none_or(|pods| cover::selector(pods, b_pods.unwrap_or(&everything)))
}

fn egress_firewall(object: &Object, firewall: &EgressFirewall, cx: &mut Context<'_>) {
    for (index, rule) in firewall.rules.iter().enumerate() {
        if let EgressTo::Nodes(nodes) = &rule.to {
            node_peer(object, nodes, cx);
        }
        let by = firewall.rules[..index].iter().find(|other| {
            cover::egress_to(&other.to, &rule.to) && cover::egress_ports(&other.ports, &rule.ports)
        });
        if let Some(by) = by {
            let message = format!("a rule of {} never decides", object.key);
            cx.tell(hidden(message, rule.span, by.span));
        }
    }
}

fn pod_peer(
    object: &Object,
    namespaces: &Selector,
    pods: Option<&Selector>,
    span: Span,
    cx: &mut Context<'_>,
) {
    let peers = Selection::new(Namespaces::Selected(namespaces.clone()), pods.cloned());
    if !cx.pods(&peers).is_empty() {
        return;
    }
    let named = |name: &Arc<str>| Selection::new(Namespaces::Named(name.clone()), None);
    let mut selected = cx
        .objects(Kind::Namespace)
        .filter(|namespace| selects(namespaces, &namespace.meta.labels));
    let place = match selected.next() {
        None => "no namespace is selected".to_owned(),
        Some(namespace) => {
            let name = namespace.key.name.clone();
            match selected.next() {
                None if cx.pods(&named(&name)).is_empty() => format!("namespace {name} has no pod"),
                None => format!("no pod of namespace {name} is selected"),
                Some(_) => "no pod of the selected namespaces is selected".to_owned(),
            }
        }
    };
    let message = format!("a peer of {} matches no pod", object.key);
    cx.tell(selects_nothing(message, span, place));
}

fn node_peer(object: &Object, nodes: &Selector, cx: &mut Context<'_>) {
    let has_nodes = cx.objects(Kind::Node).next().is_some();
    if has_nodes && cx.nodes(nodes).next().is_none() {
        let message = format!("a peer of {} matches no node", object.key);
        let place = "no node is selected".to_owned();
        cx.tell(selects_nothing(message, nodes.span, place));
    }
}

fn selects_nothing(message: String, span: Span, place: String) -> Diagnostic {
    Diagnostic::new(Severity::Warning, "selects-nothing", message)
        .at(span, place)
        .help("check the labels; it takes effect once something has them")
}

fn hidden(message: String, span: Span, by: Span) -> Diagnostic {
    Diagnostic::new(Severity::Warning, "hidden-rule", message)
        .at(span, "all that this is about")
        .at(by, "is decided here")
}
