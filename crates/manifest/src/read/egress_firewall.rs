//! EgressFirewalls of k8s.ovn.org/v1.

use super::names::is_domain_name;
use super::scope::{Scope, each, transpose};
use crate::tree::{Value, shorten};
use crate::{At, EgressFirewall, EgressPort, EgressRule, EgressTo, FirewallAction};

pub(super) fn egress_firewall(
    scope: &mut Scope,
    name: &At<String>,
    spec: Option<Value<'_>>,
) -> Option<EgressFirewall> {
    if name.value != "default" {
        scope.error::<()>(
            "name",
            name.span,
            "an EgressFirewall must be called `default`",
            "not `default`",
        );
    }
    let Some(spec) = spec else {
        return scope.error("missing-field", name.span, "must have `spec`", "no `spec`");
    };
    let mut fields = scope.fields(spec, "spec")?;
    let egress = fields.require(scope, "egress");
    fields.refuse_others(scope);
    let rules = each(scope, Some(egress?), "egress", rule)?;
    Some(EgressFirewall { rules })
}

fn rule(scope: &mut Scope, value: Value<'_>) -> Option<EgressRule> {
    let actions = [
        ("Allow", FirewallAction::Allow),
        ("Deny", FirewallAction::Deny),
    ];
    let mut fields = scope.fields(value, "egress")?;
    let span = fields.span;
    let action = fields.require(scope, "type");
    let to = fields.require(scope, "to");
    let ports = fields.take("ports");
    fields.refuse_others(scope);
    let action = action.and_then(|value| scope.word(value, "type", &actions));
    let to = to.and_then(|value| destination(scope, value));
    let ports = each(scope, ports, "ports", port);
    Some(EgressRule {
        action: action?,
        to: to?,
        ports: ports?,
        span,
    })
}

fn destination(scope: &mut Scope, value: Value<'_>) -> Option<EgressTo> {
    let mut fields = scope.fields(value, "to")?;
    let span = fields.span;
    let cidr = fields.take("cidrSelector");
    let name = fields.take("dnsName");
    let nodes = fields.take("nodeSelector");
    if fields.refuse_others(scope) {
        return None;
    }
    match (cidr, name, nodes) {
        (Some(value), None, None) => scope
            .written_cidr(value, "cidrSelector")
            .map(EgressTo::Cidr),
        (None, Some(value), None) => {
            let name = scope.located(value, "dnsName")?;
            if !is_domain_name(&name, false) {
                let what = format_args!("`{}` is no domain name", shorten(&name));
                return scope.error("dns-name", value.span(), what, "not a domain name");
            }
            Some(EgressTo::Dns(name))
        }
        (None, None, Some(value)) => scope.selector(value, "nodeSelector").map(EgressTo::Nodes),
        _ => {
            let what = "`to` has either `cidrSelector`, `dnsName` or `nodeSelector`";
            scope.error("peer", span, what, "needs one of them")
        }
    }
}

fn port(scope: &mut Scope, value: Value<'_>) -> Option<EgressPort> {
    let mut fields = scope.fields(value, "ports")?;
    let span = fields.span;
    let protocol = fields.require(scope, "protocol");
    let port = fields.take("port");
    fields.refuse_others(scope);
    let protocol = protocol.and_then(|value| scope.protocol(value));
    if port.is_none() {
        scope.warn(
            "missing-field",
            span,
            "`ports` should have `port`: the API server refuses a port without",
            "no `port`",
            "for ovn-kubernetes it is all ports of the protocol",
        );
    }
    let port = transpose(port.map(|value| scope.port(value, "port")));
    Some(EgressPort {
        protocol: protocol?,
        port: port?,
        span,
    })
}
