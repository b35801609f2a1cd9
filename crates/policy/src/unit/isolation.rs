//! The default deny of a namespace with policies (owner type NetpolNamespace,
//! `base_network_controller_policy.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashSet;
use netverdict_manifest::{Kind, NetworkPolicy, Object, Spec};
use netverdict_ovn::ids::key as id;
use netverdict_types::Action;

use super::{Context, members, namespace, network_policy, origin};
use crate::acl::{
    ALLOW_PRIORITY, Acl, DEFAULT_TIER, DENY_PRIORITY, Gress, Ids, Logging, port_group, word,
};
use crate::cluster::PodView;
use crate::row::Origin;

pub(super) fn compile(namespace: &Arc<str>, cx: &mut Context<'_>) {
    let policies: Vec<(&Object, &NetworkPolicy)> = cx
        .objects_in(Kind::NetworkPolicy, namespace)
        .filter_map(|object| match &object.spec {
            Spec::NetworkPolicy(policy) => Some((object, policy)),
            _ => None,
        })
        .collect();
    if policies.is_empty() {
        return;
    }
    let network = cx.network(namespace);
    let logging = namespace::logging(namespace, cx).0;
    for gress in Gress::BOTH {
        let isolating: Vec<_> = policies
            .iter()
            .filter(|(_, policy)| match gress {
                Gress::Ingress => policy.isolates_ingress,
                Gress::Egress => policy.isolates_egress,
            })
            .collect();
        let mut seen = HashSet::new();
        let mut pods: BTreeMap<&Arc<str>, &PodView> = BTreeMap::new();
        for (object, policy) in &isolating {
            let subjects = network_policy::subjects(object, policy);
            if seen.insert(subjects.key().clone()) {
                let views = cx.pods(&subjects).into_iter();
                pods.extend(views.map(|pod| (pod.name(), pod)));
            }
        }
        let pods: Vec<&PodView> = pods.into_values().collect();
        // Both groups are there with the first policy: without one that isolates in this
        // direction, all are to blame.
        let origins: Vec<Origin> = match isolating.as_slice() {
            [] => policies.iter().map(|(object, _)| origin(object)).collect(),
            some => some.iter().map(|(object, _)| origin(object)).collect(),
        };
        let ids = Ids::new(&network.controller, "NetpolNamespace")
            .with(id::NAME, namespace.clone())
            .with(id::DIRECTION, word(gress.as_str()));
        let lport = gress.lport(&ids.hashed_name());
        let acl = |kind: &'static str, priority, matches, action, logging: Logging| Acl {
            ids: ids.clone().with(id::TYPE, word(kind)),
            name: Some(format!("NP:{namespace}:{}", gress.as_str())),
            pipeline: gress.pipeline(),
            tier: DEFAULT_TIER,
            priority,
            matches,
            action,
            severity: logging.severity(action),
            origins: origins.clone(),
        };
        let allow = |kind, protocols: &str| {
            let matches = format!("{lport} && {protocols}");
            acl(
                kind,
                ALLOW_PRIORITY,
                matches,
                Action::Allow,
                Logging::default(),
            )
        };
        let mut acls = vec![
            acl(
                "defaultDeny",
                DENY_PRIORITY,
                lport.clone(),
                Action::Drop,
                logging,
            ),
            allow("arpAllow", "(arp || nd)"),
        ];
        if cx.options.allow_icmp {
            acls.push(allow("icmpAllow", "(icmp || icmp6)"));
        }
        let acls = acls.into_iter().map(|acl| acl.put(cx)).collect();
        let mut row = port_group(&ids, acls);
        row.origins = origins;
        row.ports = members::ports(&network, &pods);
        cx.put(row);
    }
}
