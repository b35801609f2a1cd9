//! The address sets of selections of pods, shared by all who select the same
//! (`addresssetmanager/addressset_manager.go`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use netverdict_manifest::{Key, Kind};
use netverdict_ovn::ids::key as id;
use netverdict_ovsdb::Datum;

use super::address::nth;
use super::network::Network;
use super::node::Facts;
use super::{AddressesOf, Context, members, zone};
use crate::acl::{IP_FAMILY, Ids, word};
use crate::options::{Compat, Options};
use crate::row::{Row, Table};
use crate::selector::{Namespaces, Selection, selects};

/// What names one of the two address sets.
pub(super) fn ids(of: &AddressesOf, v6: bool) -> Ids {
    let name: Arc<str> = match of.legacy {
        true => format!("{}_LNM", of.selection).into(),
        false => of.selection.clone(),
    };
    Ids::new(&of.controller, "PodSelector")
        .with(id::NAME, name)
        .with(IP_FAMILY, word(if v6 { "v6" } else { "v4" }))
}

pub(super) fn compile(of: &AddressesOf, selection: &Selection, cx: &mut Context<'_>) {
    let mut found: BTreeSet<IpAddr> = BTreeSet::new();
    let default = Network::default_network();
    if of.controller == default.controller {
        for pod in cx.pods(selection) {
            found.extend(members::addresses(&default, pod, of.legacy, cx.options));
        }
        if of.legacy && cx.options.compat == Compat::OvnKubernetes {
            host_network(selection, &mut found, cx);
        }
    } else {
        // A namespace of another network may name its attachment the same.
        let mut network: Option<(Arc<str>, Network)> = None;
        for pod in cx.pods(selection) {
            let of_namespace = match network.take() {
                Some((namespace, network)) if namespace == *pod.namespace() => network,
                _ => cx.network(pod.namespace()),
            };
            if of_namespace.controller == of.controller {
                found.extend(members::addresses(
                    &of_namespace,
                    pod,
                    of.legacy,
                    cx.options,
                ));
            }
            network = Some((pod.namespace().clone(), of_namespace));
        }
    }
    for v6 in [false, true] {
        if !of.families.has(v6) {
            continue;
        }
        let ids = ids(of, v6);
        let name: Arc<str> = ids.hashed_name().into();
        let of_family = found.iter().filter(|address| address.is_ipv6() == v6);
        let mut row = Row::new(Table::AddressSet, name.clone())
            .with(
                "addresses",
                Datum::from_iter(of_family.map(IpAddr::to_string)),
            )
            .with("external_ids", ids.datum())
            .with("name", name);
        row.origins.extend(cx.origin.clone());
        cx.put(row);
    }
}

/// The namespace that stands for the hosts: the addresses from which their traffic reaches pods.
fn host_network(selection: &Selection, found: &mut BTreeSet<IpAddr>, cx: &mut Context<'_>) {
    let Some(pods) = &selection.pods else { return };
    if !pods.labels.is_empty() || !pods.expressions.is_empty() {
        return;
    }
    let hosts = Key::new(Kind::Namespace, "", &cx.options.host_network_namespace);
    let Some(hosts) = cx.object(&hosts) else {
        return;
    };
    let is_selected = match &selection.namespaces {
        Namespaces::Named(name) => *name == hosts.key.name,
        Namespaces::Selected(selector) => selects(selector, &hosts.meta.labels),
    };
    if !is_selected {
        return;
    }
    for facts in cx.facts() {
        let own = facts.management_addresses().into_iter();
        found.extend(
            own.chain(join_addresses(facts, cx.options))
                .map(|own| own.address),
        );
    }
}

/// The addresses of the node's gateway router, which ovn-kubernetes works out from the node's
/// number alone.
fn join_addresses(facts: &Facts, options: &Options) -> Vec<netverdict_manifest::Cidr> {
    let Some(number) = facts.id else {
        return Vec::new();
    };
    let subnets = zone::join_subnets(options).into_iter();
    subnets
        .filter_map(|subnet| nth(subnet, number.into()))
        .collect()
}
