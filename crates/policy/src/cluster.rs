//! The objects that are there, and which pods each selection holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_manifest::{Key, Kind, Object, Pod, Spec};

use crate::selector::{Namespaces, Selection, selects};
use crate::unit::Dependency;
use crate::unit::node::Facts;

/// A zone's name, `NB_Global.name`.
pub(crate) type ZoneName = Arc<str>;
/// The pods of a selection, in the order of their names.
pub(crate) type Members = BTreeSet<PodName>;
/// Namespace and name.
type PodName = (Arc<str>, Arc<str>);

/// The zone of nodes that do not tell theirs (`types.OvnDefaultZone`).
const DEFAULT_ZONE: &str = "global";
const ZONE_ANNOTATION: &str = "k8s.ovn.org/zone-name";
/// The label that every namespace has.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<Key, Arc<Object>>,
    pods: HashMap<PodName, PodEntry>,
    by_namespace: HashMap<Arc<str>, InNamespace>,
    by_node: HashMap<Arc<str>, BTreeSet<PodName>>,
    nodes: BTreeMap<Arc<str>, NodeEntry>,
    selections: HashMap<Arc<str>, Selected>,
    /// Selections over namespaces by label.
    wide: HashSet<Arc<str>>,
}

/// What a unit may see of a pod: all but its labels, annotations and place, so that a changed
/// label concerns only those whose selection gains or loses the pod.
#[derive(Debug)]
pub(crate) struct PodView {
    name: PodName,
    object: Arc<Object>,
    place: Place,
}

/// What a node is to its pods.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    zone: ZoneName,
    /// The networks that the node has a share of; `None` if it is not there.
    networks: Option<Arc<BTreeSet<String>>>,
}

#[derive(Debug)]
struct NodeEntry {
    place: Place,
    facts: Facts,
}

#[derive(Debug)]
struct PodEntry {
    view: PodView,
}

#[derive(Debug, Default)]
struct InNamespace {
    pods: BTreeSet<PodName>,
    /// The selections that may hold its pods.
    selections: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Selected {
    selection: Selection,
    members: Members,
}

impl PodView {
    pub(crate) fn namespace(&self) -> &Arc<str> {
        &self.name.0
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name.1
    }

    pub(crate) fn spec(&self) -> &Pod {
        match &self.object.spec {
            Spec::Pod(pod) => pod,
            // Cluster::put makes views of nothing else.
            _ => {
                static NONE: std::sync::LazyLock<Pod> = std::sync::LazyLock::new(Pod::default);
                &NONE
            }
        }
    }

    /// The zone of its node.
    pub(crate) fn zone(&self) -> &ZoneName {
        &self.place.zone
    }

    /// True if its node is there.
    pub(crate) fn has_node(&self) -> bool {
        self.place.networks.is_some()
    }

    /// True if its node has a share of a network, and so a switch for it.
    pub(crate) fn has_share(&self, network: &str) -> bool {
        let networks = self.place.networks.as_ref();
        networks.is_some_and(|networks| networks.contains(network))
    }
}

impl Cluster {
    pub(crate) fn object(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    pub(crate) fn objects(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.range(Key::new(kind, "", ""), move |key| key.kind == kind)
    }

    pub(crate) fn objects_in<'a>(
        &'a self,
        kind: Kind,
        namespace: &Arc<str>,
    ) -> impl Iterator<Item = &'a Object> + use<'a> {
        let namespace = namespace.clone();
        let first = Key {
            kind,
            namespace: namespace.clone(),
            name: "".into(),
        };
        self.range(first, move |key| {
            key.kind == kind && key.namespace == namespace
        })
    }

    fn range<'a, F: Fn(&Key) -> bool + 'a>(
        &'a self,
        first: Key,
        is_in: F,
    ) -> impl Iterator<Item = &'a Object> + use<'a, F> {
        self.objects
            .range(first..)
            .take_while(move |(key, _)| is_in(key))
            .map(|(_, object)| &**object)
    }

    pub(crate) fn has_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    pub(crate) fn pods_on(&self, node: &Arc<str>) -> Vec<&PodView> {
        self.by_node
            .get(node)
            .map(|pods| self.views(pods))
            .unwrap_or_default()
    }

    pub(crate) fn views(&self, members: &Members) -> Vec<&PodView> {
        members
            .iter()
            .filter_map(|name| self.pods.get(name).map(|entry| &entry.view))
            .collect()
    }

    pub(crate) fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.nodes.values().map(|entry| &entry.facts)
    }

    pub(crate) fn facts_of(&self, node: &str) -> Option<&Facts> {
        Some(&self.nodes.get(node)?.facts)
    }

    pub(crate) fn zones(&self) -> Vec<ZoneName> {
        let zones: BTreeSet<ZoneName> = self.facts().map(|facts| facts.zone.clone()).collect();
        if zones.is_empty() {
            return vec![DEFAULT_ZONE.into()];
        }
        zones.into_iter().collect()
    }

    pub(crate) fn members(&self, selection: &Arc<str>) -> Option<&Members> {
        let selected = self.selections.get(selection)?;
        Some(&selected.members)
    }

    /// The pods of a selection, found by looking at all that may be in it.
    pub(crate) fn find(&self, selection: &Selection) -> Members {
        let mut members = Members::new();
        let mut look = |space: &InNamespace| {
            let found = space.pods.iter().filter(|pod| self.has(selection, pod));
            members.extend(found.cloned());
        };
        match &selection.namespaces {
            Namespaces::Named(name) => self.by_namespace.get(name).into_iter().for_each(&mut look),
            Namespaces::Selected(_) => self
                .by_namespace
                .iter()
                .filter(|(name, _)| self.reaches(selection, name))
                .for_each(|(_, space)| look(space)),
        }
        members
    }

    /// Keeps the members of a selection up to date from now on.
    pub(crate) fn register(&mut self, selection: Selection, members: Members) {
        let key = selection.key().clone();
        match &selection.namespaces {
            Namespaces::Named(name) => {
                let space = self.space(name);
                space.selections.insert(key.clone());
            }
            Namespaces::Selected(_) => {
                let reached: Vec<_> = self
                    .by_namespace
                    .keys()
                    .filter(|name| self.reaches(&selection, name))
                    .cloned()
                    .collect();
                for name in reached {
                    let space = self.by_namespace.entry(name).or_default();
                    space.selections.insert(key.clone());
                }
                self.wide.insert(key.clone());
            }
        }
        let selected = Selected { selection, members };
        self.selections.insert(key, selected);
    }

    /// Forgets a selection that nobody asks for.
    pub(crate) fn forget(&mut self, selection: &Arc<str>) {
        let Some(selected) = self.selections.remove(selection) else {
            return;
        };
        if self.wide.remove(selection) {
            for space in self.by_namespace.values_mut() {
                space.selections.remove(selection);
            }
        } else if let Namespaces::Named(name) = &selected.selection.namespaces
            && let Some(space) = self.by_namespace.get_mut(name)
        {
            space.selections.remove(selection);
        }
    }

    /// Takes an object as it is now, `None` if it is gone; what units read that is now different
    /// goes to `changed`.
    pub(crate) fn put(
        &mut self,
        key: &Key,
        object: Option<Arc<Object>>,
        changed: &mut Vec<Dependency>,
    ) {
        let old = match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(key),
        };
        if old == object {
            return;
        }
        changed.push(Dependency::Object(key.clone()));
        if key.kind != Kind::Pod {
            changed.push(Dependency::Kind(key.kind));
            if key.kind.is_namespaced() {
                changed.push(Dependency::In(key.kind, key.namespace.clone()));
            }
        }
        match key.kind {
            Kind::Pod => self.put_pod(key, object, changed),
            Kind::Node => {
                let name = &key.name;
                let old = match &object {
                    Some(node) => self.nodes.insert(name.clone(), NodeEntry::of(node)),
                    None => self.nodes.remove(name),
                };
                let new = self.nodes.get(name);
                if old.map(|old| old.place).as_ref() != new.map(|new| &new.place) {
                    self.move_pods(name, changed);
                }
            }
            Kind::Namespace => self.relabel(&key.name, changed),
            _ => {}
        }
    }

    fn put_pod(&mut self, key: &Key, object: Option<Arc<Object>>, changed: &mut Vec<Dependency>) {
        let name: PodName = (key.namespace.clone(), key.name.clone());
        let view = object.map(|object| PodView {
            name: name.clone(),
            place: self.place_of_pod(&object),
            object,
        });
        let node = view.as_ref().and_then(PodView::node);
        let had_pods = self.has_pods();
        let old = match view {
            Some(view) => self.pods.insert(name.clone(), PodEntry { view }),
            None => self.pods.remove(&name),
        };
        if had_pods != self.has_pods() {
            changed.push(Dependency::AnyPods);
        }
        let new = self.pods.get(&name);
        let is_seen = match (&old, new) {
            (Some(old), Some(new)) => old.view.differs(&new.view),
            _ => true,
        };
        if is_seen {
            for node in [old.as_ref().and_then(|old| old.view.node()), node.clone()] {
                changed.extend(node.map(Dependency::PodsOn));
            }
        }
        if let Some(old) = old.as_ref().and_then(|old| old.view.node())
            && let Some(pods) = self.by_node.get_mut(&old)
        {
            pods.remove(&name);
        }
        if let Some(node) = node {
            let pods = self.by_node.entry(node).or_default();
            pods.insert(name.clone());
        }
        let is_there = self.pods.contains_key(&name);
        let space = self.space(&name.0);
        if is_there {
            space.pods.insert(name.clone());
        } else {
            space.pods.remove(&name);
        }
        self.sort(&name, is_seen, changed);
    }

    /// A namespace with the selections that may hold its pods.
    fn space(&mut self, namespace: &Arc<str>) -> &mut InNamespace {
        if !self.by_namespace.contains_key(namespace) {
            let reaching = self.wide.iter().filter(|key| {
                let selected = self.selections.get(*key);
                selected.is_some_and(|selected| self.reaches(&selected.selection, namespace))
            });
            let space = InNamespace {
                pods: BTreeSet::new(),
                selections: reaching.cloned().collect(),
            };
            self.by_namespace.insert(namespace.clone(), space);
        }
        self.by_namespace.entry(namespace.clone()).or_default()
    }

    /// Puts a pod into its selections and out of others.
    fn sort(&mut self, name: &PodName, is_seen: bool, changed: &mut Vec<Dependency>) {
        let Some(space) = self.by_namespace.get(&name.0) else {
            return;
        };
        let mut moves = Vec::new();
        for key in &space.selections {
            let Some(selected) = self.selections.get(key) else {
                continue;
            };
            let was = selected.members.contains(name);
            let is = self.has(&selected.selection, name);
            if was != is {
                moves.push((key.clone(), is));
            }
            if was != is || (is && is_seen) {
                changed.push(Dependency::Selection(key.clone()));
            }
        }
        for (key, is) in moves {
            if let Some(selected) = self.selections.get_mut(&key) {
                if is {
                    selected.members.insert(name.clone());
                } else {
                    selected.members.remove(name);
                }
            }
        }
    }

    /// The labels of a namespace may have changed.
    fn relabel(&mut self, namespace: &Arc<str>, changed: &mut Vec<Dependency>) {
        let Some(space) = self.by_namespace.get(namespace) else {
            return;
        };
        let moves: Vec<(Arc<str>, bool)> = self
            .wide
            .iter()
            .filter_map(|key| {
                let selected = self.selections.get(key)?;
                let was = space.selections.contains(key);
                let is = self.reaches(&selected.selection, namespace);
                (was != is).then(|| (key.clone(), is))
            })
            .collect();
        let pods: Vec<PodName> = space.pods.iter().cloned().collect();
        for (key, is) in moves {
            let found: Vec<PodName> = match self.selections.get(&key) {
                Some(selected) if is => pods
                    .iter()
                    .filter(|pod| self.has(&selected.selection, pod))
                    .cloned()
                    .collect(),
                Some(selected) => pods
                    .iter()
                    .filter(|pod| selected.members.contains(*pod))
                    .cloned()
                    .collect(),
                None => Vec::new(),
            };
            if let Some(space) = self.by_namespace.get_mut(namespace) {
                if is {
                    space.selections.insert(key.clone());
                } else {
                    space.selections.remove(&key);
                }
            }
            if found.is_empty() {
                continue;
            }
            if let Some(selected) = self.selections.get_mut(&key) {
                for pod in found {
                    if is {
                        selected.members.insert(pod);
                    } else {
                        selected.members.remove(&pod);
                    }
                }
            }
            changed.push(Dependency::Selection(key));
        }
    }

    /// A node is in another zone: so are its pods.
    fn move_pods(&mut self, node: &Arc<str>, changed: &mut Vec<Dependency>) {
        let pods: Vec<PodName> = match self.by_node.get(node) {
            Some(pods) => pods.iter().cloned().collect(),
            None => return,
        };
        changed.push(Dependency::PodsOn(node.clone()));
        for name in pods {
            let place = self.place_of_node(node);
            if let Some(entry) = self.pods.get_mut(&name) {
                entry.view.place = place;
            }
            self.sort(&name, true, changed);
        }
    }

    /// True if the pod is there and in the selection, given that its namespace is.
    fn has(&self, selection: &Selection, pod: &PodName) -> bool {
        let Some(entry) = self.pods.get(pod) else {
            return false;
        };
        match &selection.pods {
            Some(selector) => selects(selector, &entry.view.object.meta.labels),
            None => true,
        }
    }

    /// True if pods of the namespace may be in the selection.
    fn reaches(&self, selection: &Selection, namespace: &Arc<str>) -> bool {
        match &selection.namespaces {
            Namespaces::Named(name) => name == namespace,
            Namespaces::Selected(selector) => {
                let key = Key {
                    kind: Kind::Namespace,
                    namespace: "".into(),
                    name: namespace.clone(),
                };
                match self.objects.get(&key) {
                    Some(object) => selects(selector, &object.meta.labels),
                    None => {
                        let name = (NAME_LABEL.to_owned(), namespace.to_string());
                        selects(selector, &BTreeMap::from([name]))
                    }
                }
            }
        }
    }

    fn place_of_pod(&self, pod: &Object) -> Place {
        match &pod.spec {
            Spec::Pod(Pod {
                node: Some(node), ..
            }) => self.place_of_node(node),
            _ => Place::none(),
        }
    }

    fn place_of_node(&self, node: &str) -> Place {
        match self.nodes.get(node) {
            Some(entry) => entry.place.clone(),
            None => Place::none(),
        }
    }
}

impl NodeEntry {
    fn of(node: &Object) -> Self {
        let facts = Facts::read(node);
        let place = Place {
            zone: facts.zone.clone(),
            networks: Some(Arc::new(facts.networks())),
        };
        Self { place, facts }
    }
}

impl Place {
    fn none() -> Self {
        Self {
            zone: DEFAULT_ZONE.into(),
            networks: None,
        }
    }
}

impl PodView {
    pub(crate) fn node(&self) -> Option<Arc<str>> {
        self.spec().node.as_deref().map(Arc::from)
    }

    fn differs(&self, other: &Self) -> bool {
        self.place != other.place || self.object.spec != other.object.spec
    }
}

/// The zone that a node is in.
pub(crate) fn zone_of(node: &Object) -> ZoneName {
    match node.meta.annotations.get(ZONE_ANNOTATION) {
        Some(zone) => zone.value.as_str().into(),
        None => DEFAULT_ZONE.into(),
    }
}
