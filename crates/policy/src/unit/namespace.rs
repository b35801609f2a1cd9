//! A namespace: the group of its pods' ports, and its multicast
//! (`base_network_controller_namespace.go`, `base_network_controller_multicast.go`).

use std::sync::Arc;

use netverdict_manifest::{Diagnostic, Key, Kind, Object};
use netverdict_ovn::ids::key as id;
use netverdict_types::Action;
use uuid::Uuid;

use super::members::Families;
use super::network::Network;
use super::{AddressesOf, Context, Unit, addresses, members, network, origin};
use crate::acl::{Acl, DEFAULT_TIER, Gress, Ids, LOGGING_ANNOTATION, Logging, port_group, word};

/// The annotation that opens a namespace to its own multicast.
const MULTICAST_ANNOTATION: &str = "k8s.ovn.org/multicast-enabled";
/// `types.DefaultMcastAllowPriority`.
pub(super) const MULTICAST_PRIORITY: u16 = 1012;
/// Multicast of IPv6 without well-known groups: the T bit is set (RFC 3307 section 4.3).
pub(super) const DYNAMIC_GROUPS: &str = "(ip6.dst[120..127] == 0xff && ip6.dst[116] == 1)";

/// What names a namespace's port group; the group is there for namespaces that [`Unit::Namespace`]
/// is wanted for.
pub(crate) fn group_ids(controller: &Arc<str>, namespace: &Arc<str>) -> Ids {
    Ids::new(controller, "Namespace").with(id::NAME, namespace.clone())
}

/// What is logged of a namespace's policies, and what is wrong with the annotation that says so.
pub(crate) fn logging(namespace: &str, cx: &mut Context<'_>) -> (Logging, Vec<Diagnostic>) {
    let key = Key::new(Kind::Namespace, "", namespace);
    let object = cx.object(&key);
    let annotation = object.and_then(|object| object.meta.annotations.get(LOGGING_ANNOTATION));
    Logging::parse(annotation, &key, &["allow", "deny"])
}

/// What a Namespace has to tell.
pub(super) fn compile_object(key: &Key, cx: &mut Context<'_>) {
    cx.demand(Unit::Namespace(key.name.clone()));
    for diagnostic in logging(&key.name, cx).1 {
        cx.tell(diagnostic);
    }
}

/// A namespace, whether or not there is an object for it.
pub(super) fn compile(namespace: &Arc<str>, cx: &mut Context<'_>) {
    let object = cx.object(&Key::new(Kind::Namespace, "", namespace));
    let network = cx.network(namespace);
    let default = Network::default_network();
    // The default network's controller serves all namespaces.
    if !network.is_default() {
        group(namespace, object, &default, cx);
        network::isolate(namespace, cx);
    }
    group(namespace, object, &network, cx);
}

fn group(namespace: &Arc<str>, object: Option<&Object>, network: &Network, cx: &mut Context<'_>) {
    let ids = group_ids(&network.controller, namespace);
    let mut acls = Vec::new();
    if let Some(object) = object {
        let annotation = object.meta.annotations.get(MULTICAST_ANNOTATION);
        let is_enabled = annotation.is_some_and(|annotation| annotation.value == "true");
        if cx.options.multicast && is_enabled {
            acls.extend(multicast(
                namespace,
                object,
                network,
                &ids.hashed_name(),
                cx,
            ));
        }
    }
    let mut row = port_group(&ids, acls);
    row.origins.extend(object.map(origin));
    row.ports = members::ports(network, &cx.pods(&members::all_of(namespace)));
    cx.put(row);
}

fn multicast(
    namespace: &Arc<str>,
    object: &Object,
    network: &Network,
    group: &str,
    cx: &mut Context<'_>,
) -> [Uuid; 2] {
    let senders = members::all_of(namespace);
    let families = Families::of(network, cx.options);
    let of = AddressesOf {
        controller: network.controller.clone(),
        families,
        selection: senders.key().clone(),
        legacy: true,
    };
    let v4 = addresses::ids(&of, false).hashed_name();
    let v6 = addresses::ids(&of, true).hashed_name();
    cx.demand_addresses(of, &senders, origin(object));
    Gress::BOTH.map(|gress| {
        let term = match gress {
            Gress::Egress => {
                let v6 = format!("(mldv1 || mldv2 || {DYNAMIC_GROUPS})");
                families.join("ip4.mcast", &v6)
            }
            Gress::Ingress => families.join(
                &format!("(igmp || (ip4.src == ${v4} && ip4.mcast))"),
                &format!("(mldv1 || mldv2 || (ip6.src == ${v6} && {DYNAMIC_GROUPS}))"),
            ),
        };
        let acl = Acl {
            ids: Ids::new(&network.controller, "MulticastNS")
                .with(id::NAME, namespace.clone())
                .with(id::DIRECTION, word(gress.as_str())),
            name: None,
            pipeline: gress.pipeline(),
            tier: DEFAULT_TIER,
            priority: MULTICAST_PRIORITY,
            matches: format!("{} && {term}", gress.lport(group)),
            action: Action::Allow,
            severity: None,
            origins: vec![origin(object)],
        };
        acl.put(cx)
    })
}
