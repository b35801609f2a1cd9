//! Units: the pieces that are compiled, each from what it reads through its [`Context`].

pub(crate) mod address;
mod addresses;
mod admin_policy;
mod check;
mod cluster_wide;
mod egress_firewall;
mod isolation;
pub(crate) mod members;
pub(crate) mod namespace;
pub(crate) mod network;
mod network_policy;
pub(crate) mod node;
pub(crate) mod pod;
mod service;
mod user_switch;
pub(crate) mod zone;

use std::sync::Arc;

use netverdict_manifest::{Diagnostic, Key, Kind, Object, Selector};

use self::members::Families;
use self::network::Network;
use self::node::Facts;
use crate::cluster::{Cluster, Members, PodView, ZoneName};
use crate::options::Options;
use crate::row::{Origin, Row};
use crate::selector::{Selection, selects};

/// A piece that is compiled at once.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Unit {
    /// What every cluster has: groups of its own, the hairpin and multicast ACLs, sampling.
    ClusterWide,
    /// What an object becomes by itself.
    Object(Key),
    /// What there is to tell about a policy beside others and the pods that are there.
    Check(Key),
    /// The group of a namespace's pods.
    Namespace(Arc<str>),
    /// The default deny of a namespace.
    Isolation(Arc<str>),
    /// The isolation in the default network of pods that have another network first.
    NetworkIsolation,
    /// The addresses of a selection of pods in one network.
    Addresses(AddressesOf),
    /// The switch of a node, with the ports of its pods.
    Switch(Arc<str>),
    /// What the nodes of a zone share: its router and switches.
    Zone(Arc<str>),
    /// The switch of a user-defined network: of a node in Layer3, of a zone in Layer2.
    UserSwitch(Key, Arc<str>),
    /// The groups of load balancers.
    BalancerGroups,
}

/// What names the address sets of a selector (owner type PodSelector).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct AddressesOf {
    /// `<network>-network-controller`.
    pub(crate) controller: Arc<str>,
    /// Those of the network.
    pub(crate) families: Families,
    /// [`Selection::key`].
    pub(crate) selection: Arc<str>,
    /// Without pods of the host network, but with [`Options::host_network_namespace`] (`_LNM`).
    pub(crate) legacy: bool,
}

/// What a unit read: if it changes, the unit is compiled again.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Dependency {
    /// An object, or that it is not there.
    Object(Key),
    /// All objects of a kind.
    Kind(Kind),
    /// All objects of a kind in a namespace.
    In(Kind, Arc<str>),
    /// The members of a selection, and all of their specs.
    Selection(Arc<str>),
    /// The pods of a node, and all of their specs.
    PodsOn(Arc<str>),
    /// Whether there are pods at all.
    AnyPods,
}

/// What a unit wants to be compiled as well.
#[derive(Debug)]
pub(crate) struct Demand {
    pub(crate) unit: Unit,
    /// What the unit is about, for [`Unit::Addresses`].
    pub(crate) selection: Option<Selection>,
    /// The place that makes it wanted, where that is of interest.
    pub(crate) origin: Option<Origin>,
}

/// What a unit may read, and where it puts what it makes.
pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    cluster: &'a Cluster,
    /// The place that makes this unit wanted: of several units that want it, of the first.
    pub(crate) origin: Option<Origin>,
    pub(crate) dependencies: Vec<Dependency>,
    /// Selections that nobody has asked for yet.
    pub(crate) fresh: Vec<(Selection, Members)>,
    pub(crate) demands: Vec<Demand>,
    pub(crate) rows: Vec<Row>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Unit {
    /// The units that are there because an object is.
    pub(crate) fn of(key: &Key) -> Vec<Self> {
        let mut units = vec![Self::Object(key.clone())];
        if check::is_checked(key.kind) {
            units.push(Self::Check(key.clone()));
        }
        units
    }

    /// Compiles it.
    pub(crate) fn compile(&self, selection: Option<&Selection>, cx: &mut Context<'_>) {
        match self {
            Self::ClusterWide => cluster_wide::compile(cx),
            Self::Object(key) => match key.kind {
                Kind::AdminNetworkPolicy
                | Kind::BaselineAdminNetworkPolicy
                | Kind::ClusterNetworkPolicy => admin_policy::compile(key, cx),
                Kind::EgressFirewall => egress_firewall::compile(key, cx),
                Kind::Namespace => {
                    namespace::compile_object(key, cx);
                    network::check_namespace(key, cx);
                }
                Kind::NetworkPolicy => network_policy::compile(key, cx),
                Kind::Node => node::compile(key, cx),
                Kind::Pod => pod::compile(key, cx),
                Kind::Service => service::compile(key, cx),
                Kind::UserDefinedNetwork | Kind::ClusterUserDefinedNetwork => {
                    user_switch::compile_network(key, cx);
                    network::check(key, cx);
                }
                _ => {}
            },
            Self::Check(key) => check::compile(key, cx),
            Self::Namespace(namespace) => namespace::compile(namespace, cx),
            Self::Isolation(namespace) => isolation::compile(namespace, cx),
            Self::NetworkIsolation => network::compile_isolation(cx),
            Self::Addresses(of) => {
                if let Some(selection) = selection {
                    addresses::compile(of, selection, cx);
                }
            }
            Self::Switch(node) => node::compile_switch(node, cx),
            Self::Zone(zone) => zone::compile(zone, cx),
            Self::UserSwitch(network, place) => user_switch::compile(network, place, cx),
            Self::BalancerGroups => service::compile_groups(&Network::default_network(), cx),
        }
    }
}

/// An object as the origin of a row.
pub(crate) fn origin(object: &Object) -> Origin {
    Origin {
        object: object.key.clone(),
        rule: None,
        span: object.meta.span,
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(options: &'a Options, cluster: &'a Cluster, origin: Option<Origin>) -> Self {
        Self {
            options,
            cluster,
            origin,
            dependencies: Vec::new(),
            fresh: Vec::new(),
            demands: Vec::new(),
            rows: Vec::new(),
            diagnostics: Vec::new(),
        }
    }

    /// An object with everything it says.
    pub(crate) fn object(&mut self, key: &Key) -> Option<&'a Object> {
        self.dependencies.push(Dependency::Object(key.clone()));
        self.cluster.object(key).map(|object| &**object)
    }

    /// All objects of a kind, in the order of their names. Not for pods: see [`Self::pods`].
    pub(crate) fn objects(&mut self, kind: Kind) -> impl Iterator<Item = &'a Object> + use<'a> {
        self.dependencies.push(Dependency::Kind(kind));
        self.cluster.objects(kind)
    }

    /// All objects of a kind in a namespace, in the order of their names.
    pub(crate) fn objects_in(
        &mut self,
        kind: Kind,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = &'a Object> + use<'a> {
        let dependency = Dependency::In(kind, namespace.clone());
        self.dependencies.push(dependency);
        self.cluster.objects_in(kind, namespace)
    }

    /// The nodes with these labels, in the order of their names.
    pub(crate) fn nodes<'s>(
        &mut self,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a Object> + use<'a, 's> {
        self.objects(Kind::Node)
            .filter(move |node| selects(selector, &node.meta.labels))
    }

    /// What all nodes tell of themselves, in the order of their names.
    pub(crate) fn facts(&mut self) -> impl Iterator<Item = &'a Facts> + use<'a> {
        self.dependencies.push(Dependency::Kind(Kind::Node));
        self.cluster.facts()
    }

    /// What a node tells of itself.
    pub(crate) fn facts_of(&mut self, node: &str) -> Option<&'a Facts> {
        let key = Key::new(Kind::Node, "", node);
        self.dependencies.push(Dependency::Object(key));
        self.cluster.facts_of(node)
    }

    /// The pods of a selection in the order of their names, hosts' and completed ones too.
    pub(crate) fn pods(&mut self, selection: &Selection) -> Vec<&'a PodView> {
        let dependency = Dependency::Selection(selection.key().clone());
        self.dependencies.push(dependency);
        if let Some(members) = self.cluster.members(selection.key()) {
            return self.cluster.views(members);
        }
        let members = self.cluster.find(selection);
        let views = self.cluster.views(&members);
        self.fresh.push((selection.clone(), members));
        views
    }

    /// The pods of a node in the order of their names.
    pub(crate) fn pods_on(&mut self, node: &Arc<str>) -> Vec<&'a PodView> {
        self.dependencies.push(Dependency::PodsOn(node.clone()));
        self.cluster.pods_on(node)
    }

    /// True if there are pods at all.
    pub(crate) fn has_pods(&mut self) -> bool {
        self.dependencies.push(Dependency::AnyPods);
        self.cluster.has_pods()
    }

    /// The zones, in order.
    pub(crate) fn zones(&mut self) -> Vec<ZoneName> {
        self.dependencies.push(Dependency::Kind(Kind::Node));
        self.cluster.zones()
    }

    /// Wants another unit to be compiled as well.
    pub(crate) fn demand(&mut self, unit: Unit) {
        self.demands.push(Demand {
            unit,
            selection: None,
            origin: None,
        });
    }

    /// Wants the addresses of a selection, because of a place.
    pub(crate) fn demand_addresses(
        &mut self,
        addresses: AddressesOf,
        selection: &Selection,
        origin: Origin,
    ) {
        self.demands.push(Demand {
            unit: Unit::Addresses(addresses),
            selection: Some(selection.clone()),
            origin: Some(origin),
        });
    }

    /// Wants a row.
    pub(crate) fn put(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Has something to tell.
    pub(crate) fn tell(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}
