//! What every cluster has: the meter of logs, sampling, and the groups of all switches with the
//! ACLs for hairpinned service traffic and multicast.

use std::sync::Arc;

use netverdict_ovn::ids::key as id;
use netverdict_ovsdb::Datum;
use netverdict_types::Action;
use uuid::Uuid;

use super::Context;
use super::members::Families;
use super::namespace::{DYNAMIC_GROUPS, MULTICAST_PRIORITY};
use super::network::Network;
use super::node::{Facts, lsp, management_port, router_port};
use crate::acl::{
    ALLOW_PRIORITY, Acl, COLLECTOR, DEFAULT_TIER, Gress, Ids, METER, port_group, word,
};
use crate::options::Compat;
use crate::row::{Origin, Row, Scope, Table};

/// `types.DefaultMcastDenyPriority`.
const MULTICAST_DENY_PRIORITY: u16 = 1011;
/// The addresses from which a pod sees its own traffic to a service: the fifth of the masquerade
/// subnets (`config.Gateway.MasqueradeIPs`).
const HAIRPIN_V4: &str = "169.254.169.5";
const HAIRPIN_V6: &str = "fd69::5";
/// What ovn-kubernetes samples (`observability.go`).
const FEATURES: &str = "AdminNetworkPolicy,EgressFirewall,Multicast,NetworkPolicy,UDNIsolation";
/// `DefaultObservabilityCollectorSetID`.
const COLLECTOR_SET: i64 = 42;
/// Of a Sample_Collector: every packet.
const ALWAYS: i64 = 65_535;

pub(super) fn compile(cx: &mut Context<'_>) {
    meter(cx);
    if cx.options.sampling {
        sampling(cx);
    }
    let nodes = cx.facts().filter(|facts| !facts.subnets.is_empty());
    let nodes: Vec<&Facts> = nodes.collect();
    groups(&Network::default_network(), &nodes, &[], cx);
}

/// The ACLs of a node's switch in a network: its own addresses there reach all its pods (owner
/// type NetpolNode).
///
/// The API has a pod reach its own node as well, whatever isolates its egress; ovn-kubernetes has
/// nothing for that.
pub(super) fn node_acls(
    network: &Network,
    facts: &Facts,
    origin: &Origin,
    cx: &mut Context<'_>,
) -> Vec<Uuid> {
    let scope = Scope::Zone(facts.zone.clone());
    let directions: &[Gress] = match cx.options.compat {
        Compat::OvnKubernetes => &[Gress::Ingress],
        Compat::Strict => &Gress::BOTH,
    };
    let addresses = facts.management_addresses();
    let mut acls = Vec::new();
    for gress in directions {
        for own in &addresses {
            let family = if own.is_v6() { "ip6" } else { "ip4" };
            let address = own.address.to_string();
            let field = gress.peer_field();
            let matches = format!("{family}.{field}=={address}");
            let mut ids = Ids::new(&network.controller, "NetpolNode")
                .with(id::NAME, network.scoped(&facts.name))
                .with(id::IP, address);
            if *gress == Gress::Egress {
                ids = ids.with(id::DIRECTION, word(gress.as_str()));
            }
            let acl = Acl {
                ids,
                name: None,
                pipeline: gress.pipeline(),
                tier: DEFAULT_TIER,
                priority: ALLOW_PRIORITY,
                matches,
                action: Action::AllowRelated,
                severity: None,
                origins: vec![origin.clone()],
            };
            acls.push(acl.put_in(&scope, cx));
        }
    }
    acls
}

fn meter(cx: &mut Context<'_>) {
    let band = Row::new(Table::MeterBand, METER)
        .with("action", "drop")
        .with("rate", i64::from(cx.options.log_rate));
    let meter = Row::new(Table::Meter, METER)
        .with("bands", band.uuid)
        .with("fair", true)
        .with("name", METER)
        .with("unit", "pktps");
    cx.put(band);
    cx.put(meter);
}

fn sampling(cx: &mut Context<'_>) {
    for (app, number) in [("drop", 1), ("acl-new", 2), ("acl-est", 3)] {
        let row = Row::new(Table::SamplingApp, app)
            .with("id", number)
            .with("type", app);
        cx.put(row);
    }
    let row = Row::new(Table::SampleCollector, COLLECTOR)
        .with(
            "external_ids",
            Datum::map_of([("sample-features", FEATURES)]),
        )
        .with("id", 1)
        .with("probability", ALWAYS)
        .with("set_id", COLLECTOR_SET);
    cx.put(row);
}

/// The groups of the nodes' own ports in a network and of the switches' ports towards its router.
pub(super) fn groups(
    network: &Network,
    nodes: &[&Facts],
    origins: &[Origin],
    cx: &mut Context<'_>,
) {
    let controller = &network.controller;
    let hairpin = Families::of_cluster(cx.options).join(
        &format!("ip4.src == {HAIRPIN_V4}"),
        &format!("ip6.src == {HAIRPIN_V6}"),
    );
    let multicast = format!("(ip4.mcast || mldv1 || mldv2 || {DYNAMIC_GROUPS})");
    let cluster = Ids::new(controller, "Cluster").with(id::NAME, "clusterPortGroup");
    let routers = Ids::new(controller, "Cluster").with(id::NAME, "clusterRtrPortGroup");
    let routers_name = routers.hashed_name();
    let (mut cluster_acls, mut router_acls) = (Vec::new(), Vec::new());
    for gress in Gress::BOTH {
        let acl = |ids: Ids, priority, matches, action| Acl {
            ids,
            name: None,
            pipeline: gress.pipeline(),
            tier: DEFAULT_TIER,
            priority,
            matches,
            action,
            severity: None,
            origins: origins.to_vec(),
        };
        let ids = Ids::new(controller, "NetpolDefault")
            .with(id::NAME, "allow-hairpinning")
            .with(id::DIRECTION, word(gress.as_str()));
        let allow = acl(ids, ALLOW_PRIORITY, hairpin.clone(), Action::AllowRelated);
        cluster_acls.push(allow.put(cx));
        if !cx.options.multicast {
            continue;
        }
        let ids = |kind: &str| {
            Ids::new(controller, "MulticastCluster")
                .with(id::TYPE, kind)
                .with(id::DIRECTION, word(gress.as_str()))
        };
        let deny = acl(
            ids("DefaultDeny"),
            MULTICAST_DENY_PRIORITY,
            multicast.clone(),
            Action::Drop,
        );
        cluster_acls.push(deny.put(cx));
        let allow = acl(
            ids("AllowInterNode"),
            MULTICAST_PRIORITY,
            format!("{} && {multicast}", gress.lport(&routers_name)),
            Action::Allow,
        );
        router_acls.push(allow.put(cx));
    }
    let ports = |name: fn(&str) -> String| -> Vec<(Arc<str>, Uuid)> {
        nodes
            .iter()
            .map(|facts| {
                let port = name(&network.scoped(&facts.name));
                (facts.zone.clone(), lsp(&port))
            })
            .collect()
    };
    let mut row = port_group(&cluster, cluster_acls);
    row.ports = ports(management_port);
    row.origins = origins.to_vec();
    cx.put(row);
    let mut row = port_group(&routers, router_acls);
    row.origins = origins.to_vec();
    if cx.options.multicast {
        row.ports = ports(router_port);
    }
    cx.put(row);
}
