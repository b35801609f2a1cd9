//! UserDefinedNetworks and ClusterUserDefinedNetworks of k8s.ovn.org/v1, and
//! NetworkAttachmentDefinitions of k8s.cni.cncf.io/v1.

use serde_json::Value as Json;

use super::scope::{Fields, Scope, each};
use crate::tree::Value;
use crate::{
    At, Cidr, NetworkAttachment, NetworkSpec, NetworkTopology, Selector, Span, UserNetwork,
};

pub(super) fn user_network(
    scope: &mut Scope,
    is_cluster: bool,
    name: Span,
    spec: Option<Value<'_>>,
) -> Option<UserNetwork> {
    let Some(spec) = spec else {
        return scope.error("missing-field", name, "must have `spec`", "no `spec`");
    };
    let mut fields = scope.fields(spec, "spec")?;
    if !is_cluster {
        let network = network(scope, fields, false)?;
        let namespaces = None;
        return Some(UserNetwork {
            namespaces,
            network,
        });
    }
    let namespaces = fields.require(scope, "namespaceSelector");
    let network_fields = fields.require(scope, "network");
    fields.ignore(&["uplinks"]);
    fields.refuse_others(scope);
    let namespaces: Option<Selector> =
        namespaces.and_then(|value| scope.selector(value, "namespaceSelector"));
    let network = network_fields.and_then(|value| {
        let fields = scope.fields(value, "network")?;
        network(scope, fields, true)
    });
    Some(UserNetwork {
        namespaces: Some(namespaces?),
        network: network?,
    })
}

fn network(scope: &mut Scope, mut fields: Fields<'_>, is_cluster: bool) -> Option<NetworkSpec> {
    let span = fields.span;
    let words = [
        ("Layer2", NetworkTopology::Layer2),
        ("Layer3", NetworkTopology::Layer3),
        ("Localnet", NetworkTopology::Localnet),
    ];
    let words = if is_cluster { &words[..] } else { &words[..2] };
    let topology = fields.require(scope, "topology");
    let layer2 = fields.take("layer2");
    let layer3 = fields.take("layer3");
    let localnet = is_cluster.then(|| fields.take("localnet")).flatten();
    if is_cluster {
        fields.ignore(&["transport", "noOverlay", "evpn"]);
    }
    fields.refuse_others(scope);
    let topology = topology.and_then(|value| scope.word(value, "topology", words))?;
    let (own, name) = match topology {
        NetworkTopology::Layer2 => (layer2, "layer2"),
        NetworkTopology::Layer3 => (layer3, "layer3"),
        NetworkTopology::Localnet => (localnet, "localnet"),
    };
    for (other, value) in [
        ("layer2", layer2),
        ("layer3", layer3),
        ("localnet", localnet),
    ] {
        if let Some(value) = value
            && other != name
        {
            let what = format_args!("`{other}` is not for this `topology`");
            return scope.error("topology", value.span(), what, "not allowed");
        }
    }
    let Some(own) = own else {
        let what = format_args!("must have `{name}` for this `topology`");
        return scope.error("missing-field", span, what, format!("no `{name}`"));
    };
    let (primary, subnets) = layer(scope, own, name, topology)?;
    Some(NetworkSpec {
        topology,
        primary,
        subnets,
        span,
    })
}

type Subnets = Vec<(At<Cidr>, Option<u8>)>;

fn layer(
    scope: &mut Scope,
    value: Value<'_>,
    name: &'static str,
    topology: NetworkTopology,
) -> Option<(bool, Subnets)> {
    let mut fields = scope.fields(value, name)?;
    let span = fields.span;
    let role = fields.require(scope, "role");
    let subnets = fields.take("subnets");
    fields.ignore(&["mtu"]);
    let ipam = match topology {
        NetworkTopology::Layer3 => None,
        _ => fields.take("ipam"),
    };
    fields.ignore(match topology {
        NetworkTopology::Layer3 => &["joinSubnets"],
        NetworkTopology::Layer2 => &[
            "joinSubnets",
            "reservedSubnets",
            "infrastructureSubnets",
            "defaultGatewayIPs",
        ],
        NetworkTopology::Localnet => &["excludeSubnets", "vlan"],
    });
    if topology == NetworkTopology::Localnet {
        fields.require(scope, "physicalNetworkName");
    }
    fields.refuse_others(scope);
    let words = [("Primary", true), ("Secondary", false)];
    let words = match topology {
        NetworkTopology::Localnet => &words[1..],
        _ => &words[..],
    };
    let primary = role.and_then(|value| scope.word(value, "role", words));
    let has_subnets = subnets.is_some();
    let subnets = each(scope, subnets, "subnets", |scope, value| match topology {
        NetworkTopology::Layer3 => node_subnet(scope, value),
        _ => Some((scope.cidr(value, "subnets")?, None)),
    });
    let manages = ipam.map_or(Some(true), |ipam| ipam_mode(scope, ipam));
    let (primary, subnets, manages) = (primary?, subnets?, manages?);
    if manages && subnets.is_empty() {
        let what = format_args!("`{name}` must have `subnets`");
        return scope.error("missing-field", span, what, "no `subnets`");
    }
    if !manages && has_subnets {
        let what = "`subnets` must not be there with `ipam.mode` Disabled";
        return scope.error("subnets", span, what, "has `subnets`");
    }
    if !manages && primary {
        let what = "`ipam.mode` Disabled is for `role` Secondary only";
        return scope.error("subnets", span, what, "has `role` Primary");
    }
    if topology != NetworkTopology::Layer3 || !primary {
        one_of_each_family(scope, &subnets)?;
    }
    overlap(scope, &subnets)?;
    Some((primary, subnets))
}

/// True where ovn-kubernetes hands out the addresses.
fn ipam_mode(scope: &mut Scope, value: Value<'_>) -> Option<bool> {
    let mut fields = scope.fields(value, "ipam")?;
    let mode = fields.take("mode");
    fields.ignore(&["lifecycle"]);
    fields.refuse_others(scope);
    let words = [("Enabled", true), ("Disabled", false)];
    mode.map_or(Some(true), |value| scope.word(value, "mode", &words))
}

fn node_subnet(scope: &mut Scope, value: Value<'_>) -> Option<(At<Cidr>, Option<u8>)> {
    let mut fields = scope.fields(value, "subnets")?;
    let cidr = fields.require(scope, "cidr");
    let host = fields.take("hostSubnet");
    fields.refuse_others(scope);
    let cidr = cidr.and_then(|value| scope.cidr(value, "cidr"))?;
    let Some(value) = host else {
        return Some((cidr, None));
    };
    let host = scope.integer(value, "hostSubnet", "subnets", 1..=127)?;
    let most = if cidr.is_v6() { 127 } else { 31 };
    if host <= cidr.prefix.into() || host > most {
        let what = format_args!(
            "`hostSubnet` must be above {} and at most {most}",
            cidr.prefix
        );
        scope.error::<()>("subnets", value.span(), what, "out of range");
        scope.point(cidr.span, "of this range");
        return None;
    }
    Some((cidr, u8::try_from(host).ok()))
}

/// Only a primary network of layer 3 may have more than one range of a family.
fn one_of_each_family(scope: &mut Scope, subnets: &Subnets) -> Option<()> {
    for (index, (subnet, _)) in subnets.iter().enumerate() {
        let mut before = subnets.iter().take(index);
        if let Some((first, _)) = before.find(|(other, _)| other.is_v6() == subnet.is_v6()) {
            let what = "`subnets` may have one range of IPv4 and one of IPv6";
            scope.error::<()>("subnets", subnet.span, what, "the second of its family");
            scope.point(first.span, "the first");
            return None;
        }
    }
    Some(())
}

fn overlap(scope: &mut Scope, subnets: &Subnets) -> Option<()> {
    // More than the API allows need not be compared with each other.
    const MOST: usize = 400;
    if let Some((subnet, _)) = subnets.get(MOST) {
        let what = format_args!("`subnets` may have at most {MOST} elements");
        return scope.error("too-many", subnet.span, what, "too many");
    }
    for (index, (subnet, _)) in subnets.iter().enumerate() {
        let mut before = subnets.iter().take(index);
        let found = before.find(|(other, _)| other.contains(subnet) || subnet.contains(other));
        if let Some((other, _)) = found {
            scope.error::<()>(
                "subnets",
                subnet.span,
                "`subnets` must not overlap",
                "overlaps",
            );
            scope.point(other.span, "with this one");
            return None;
        }
    }
    Some(())
}

pub(super) fn attachment(scope: &mut Scope, spec: Option<Value<'_>>) -> Option<NetworkAttachment> {
    let Some(spec) = spec else {
        return Some(NetworkAttachment::default());
    };
    let Some(config) = scope.fields(spec, "spec")?.take("config") else {
        return Some(NetworkAttachment::default());
    };
    let text = scope.string(config, "config")?;
    match serde_json::from_str::<Json>(text) {
        Ok(json) => Some(NetworkAttachment {
            network: json.get("name").and_then(Json::as_str).map(str::to_owned),
        }),
        Err(error) => {
            let what = format_args!("`config` is no JSON: {error}");
            scope.error("json", config.span(), what, "not JSON")
        }
    }
}
