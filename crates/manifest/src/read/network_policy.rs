//! NetworkPolicies of networking.k8s.io/v1.

use super::names::is_port_name;
use super::scope::{Scope, each, is_text, transpose};
use crate::tree::{Value, View};
use crate::{
    At, Block, NetworkPolicy, NetworkRule, Peer, PolicyPort, PortRef, Selector, Span, WrittenCidr,
};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Ingress,
    Egress,
}

pub(super) fn network_policy(
    scope: &mut Scope,
    spec: Option<Value<'_>>,
    name: Span,
) -> Option<NetworkPolicy> {
    let Some(spec) = spec else {
        scope.warn(
            "no-spec",
            name,
            "has no `spec`: it isolates all pods of its namespace for ingress",
            "this policy",
            "",
        );
        return Some(NetworkPolicy {
            pods: Selector {
                span: name,
                ..Selector::default()
            },
            isolates_ingress: true,
            ..NetworkPolicy::default()
        });
    };
    let mut fields = scope.fields(spec, "spec")?;
    let pods = fields.take("podSelector");
    let types = fields.take("policyTypes");
    let ingress = fields.take("ingress");
    let egress = fields.take("egress");
    fields.refuse_others(scope);

    let pods = match pods {
        Some(pods) => scope.selector(pods, "podSelector"),
        None if scope.is_right() => {
            scope.warn(
                "no-pod-selector",
                spec.span(),
                "has no `podSelector`: it isolates all pods of its namespace",
                "this policy",
                "write `podSelector: {}` if that is meant",
            );
            Some(Selector {
                span: spec.span(),
                ..Selector::default()
            })
        }
        None => None,
    };
    let isolates = types.map(|types| policy_types(scope, types));
    let ingress = each(scope, ingress, "ingress", |scope, value| {
        rule(scope, value, Way::Ingress)
    });
    let egress = each(scope, egress, "egress", |scope, value| {
        rule(scope, value, Way::Egress)
    });
    let has_egress = egress.as_ref().is_some_and(|rules| !rules.is_empty());
    let (isolates_ingress, isolates_egress) = match isolates {
        Some(isolates) => isolates?.unwrap_or((true, has_egress)),
        None => (true, has_egress),
    };
    Some(NetworkPolicy {
        pods: pods?,
        types: types.map(Value::span),
        isolates_ingress,
        isolates_egress,
        ingress: ingress?,
        egress: egress?,
    })
}

/// Whether it isolates for ingress and egress; the inner `None` where the list is empty, which is
/// as good as not there.
fn policy_types(scope: &mut Scope, value: Value<'_>) -> Option<Option<(bool, bool)>> {
    let sequence = scope.bounded(value, "policyTypes", 2)?;
    let words = [("Ingress", Way::Ingress), ("Egress", Way::Egress)];
    let mut ways = Vec::new();
    for value in sequence.iter() {
        ways.push(scope.word(value, "policyTypes", &words)?);
    }
    let isolates = (ways.contains(&Way::Ingress), ways.contains(&Way::Egress));
    Some((!ways.is_empty()).then_some(isolates))
}

fn rule(scope: &mut Scope, value: Value<'_>, way: Way) -> Option<NetworkRule> {
    let (name, own, other) = match way {
        Way::Ingress => ("ingress", "from", "to"),
        Way::Egress => ("egress", "to", "from"),
    };
    let mut fields = scope.fields(value, name)?;
    let span = fields.span;
    let peers = fields.take(own);
    let ports = fields.take("ports");
    refuse_other_way(scope, value, own, other);
    fields.ignore(&[other]);
    fields.refuse_others(scope);
    let peers = each(scope, peers, own, peer);
    let ports = each(scope, ports, "ports", port);
    Some(NetworkRule {
        peers: peers?,
        ports: ports?,
        span,
    })
}

/// `from` in an egress rule and `to` in an ingress rule deserve a word of their own.
pub(super) fn refuse_other_way(scope: &mut Scope, value: Value<'_>, own: &str, other: &str) {
    let View::Mapping(mapping) = value.view() else {
        return;
    };
    if let Some((_, span, _)) = mapping.iter().find(|(key, _, _)| *key == other) {
        let what = format_args!("a rule of this direction has no field `{other}`");
        scope.error::<()>(
            "unknown-field",
            span,
            what,
            format!("did you mean `{own}`?"),
        );
    }
}

fn peer(scope: &mut Scope, value: Value<'_>) -> Option<Peer> {
    let mut fields = scope.fields(value, "peer")?;
    let span = fields.span;
    let pods = fields.take("podSelector");
    let namespaces = fields.take("namespaceSelector");
    let block = fields.take("ipBlock");
    if fields.is_empty() {
        return scope.error_help(
            "peer",
            span,
            "a peer must say who it is",
            "nobody",
            "`podSelector: {}` is all pods; no `from` or `to` at all is everybody",
        );
    }
    if fields.refuse_others(scope) {
        return None;
    }
    if let Some(block) = block {
        if pods.is_some() || namespaces.is_some() {
            return scope.error_help(
                "peer",
                block.span(),
                "a peer has either `ipBlock` or selectors",
                "besides a selector",
                "make two peers of it",
            );
        }
        return ip_block(scope, block).map(Peer::Block);
    }
    if pods.is_none() && namespaces.is_none() {
        return scope.error("peer", span, "a peer must say who it is", "nobody");
    }
    let namespaces = namespaces.map(|value| scope.selector(value, "namespaceSelector"));
    let pods = pods.map(|value| scope.selector(value, "podSelector"));
    Some(Peer::Pods {
        namespaces: transpose(namespaces)?,
        pods: transpose(pods)?,
        span,
    })
}

fn ip_block(scope: &mut Scope, value: Value<'_>) -> Option<Block> {
    let mut fields = scope.fields(value, "ipBlock")?;
    let cidr = fields.require(scope, "cidr");
    let except = fields.take("except");
    fields.refuse_others(scope);
    let cidr = cidr.and_then(|value| scope.written_cidr(value, "cidr"));
    let except = each(scope, except, "except", |scope, value| {
        scope.written_cidr(value, "except")
    });
    let (cidr, except) = (cidr?, except?);
    let mut is_right = true;
    for part in &except {
        if !cidr.contains(part) || cidr.prefix == part.prefix {
            is_right = false;
            outside(scope, part, &cidr);
        }
    }
    is_right.then_some(Block {
        cidr,
        except,
        span: value.span(),
    })
}

fn outside(scope: &mut Scope, part: &At<WrittenCidr>, block: &At<WrittenCidr>) {
    let (label, what) = if part.network() == block.network() {
        (
            "is the whole block",
            "`except` must be smaller than the block",
        )
    } else if part.contains(block) {
        (
            "holds the whole block",
            "`except` must be smaller than the block",
        )
    } else {
        ("outside of it", "`except` must lie within the block")
    };
    let what = format!("{what} {}", block.value);
    scope.error::<()>("except", part.span, what, label);
    scope.point(block.span, "the block");
}

fn port(scope: &mut Scope, value: Value<'_>) -> Option<PolicyPort> {
    let mut fields = scope.fields(value, "ports")?;
    let span = fields.span;
    let protocol = fields.take("protocol");
    let number = fields.take("port");
    let end = fields.take("endPort");
    fields.refuse_others(scope);
    let protocol = transpose(protocol.map(|value| scope.protocol(value)));
    let port = transpose(number.map(|value| port_ref(scope, value, "port")));
    let last = transpose(end.map(|value| scope.port(value, "endPort")));
    let (protocol, port, last) = (protocol?, port?, last?);
    if let (Some(end), Some(last)) = (end, last) {
        match &port {
            None => {
                let what = "`endPort` needs a `port` that begins the range";
                return scope.error("end-port", end.span(), what, "no `port`");
            }
            Some(PortRef::Name(_)) => {
                let what = "`endPort` cannot be combined with a named port";
                scope.error::<()>("end-port", end.span(), what, "a range needs numbers");
                scope.point(number.map_or(span, Value::span), "a name");
                return None;
            }
            Some(PortRef::Number(first)) if last < *first => {
                let what = format_args!("`endPort` {last} is below `port` {first}");
                scope.error::<()>("end-port", end.span(), what, "below `port`");
                scope.point(number.map_or(span, Value::span), "the first port");
                return None;
            }
            Some(PortRef::Number(_)) => {}
        }
    }
    Some(PolicyPort {
        protocol: protocol.unwrap_or_default(),
        port,
        end: last,
        span,
    })
}

/// A number without quotes, or a name.
pub(super) fn port_ref(scope: &mut Scope, value: Value<'_>, name: &str) -> Option<PortRef> {
    match value.view() {
        View::Scalar { text, .. } if is_text(value) => {
            if is_port_name(text) {
                return Some(PortRef::Name(text.to_owned()));
            }
            let is_number = text.parse::<u16>().is_ok();
            let help = if is_number {
                "leave out the quotes"
            } else {
                "lower case letters, digits and single dashes, a letter among them, 15 at most"
            };
            let label = match text.len() {
                16.. => "longer than 15",
                _ if is_number => "a text, not a number",
                _ => "not a port's name",
            };
            let what = format_args!("`{name}` must be a number or a port's name");
            scope.error_help("port-name", value.span(), what, label, help)
        }
        _ => scope.port(value, name).map(PortRef::Number),
    }
}
