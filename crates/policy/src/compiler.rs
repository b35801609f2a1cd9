use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_manifest::{Diagnostic, Key, Kind, Object};

use crate::cluster::{Cluster, NAME_LABEL};
use crate::options::Options;
use crate::row::{Origin, Row, Scope, Table};
use crate::selector::Selection;
use crate::unit::{Context, Demand, Dependency, Unit};

/// Objects in, rows out, and only what depends on a change again.
///
/// The rows do not depend on the order in which the objects came.
#[derive(Debug)]
pub struct Compiler {
    options: Options,
    cluster: Cluster,
    units: HashMap<Unit, Compiled>,
    readers: HashMap<Dependency, HashSet<Unit>>,
    rows: HashMap<RowId, Made>,
    /// Rows of which a maker has changed since the last [`Self::compile`] ended.
    touched: HashSet<RowId>,
    dirty: BTreeSet<Unit>,
}

/// What was compiled again, and what became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// How many units were compiled.
    pub compiled: usize,
    /// How many rows are new.
    pub added: usize,
    /// How many rows are different.
    pub changed: usize,
    /// How many rows are gone.
    pub removed: usize,
    /// Those rows.
    pub rows: Vec<RowChange>,
}

/// A row before and after a change: `None` before it is there, and when it is gone.
pub type RowChange = (Option<Arc<Row>>, Option<Arc<Row>>);

type RowId = (Scope, Table, Arc<str>);

/// A row: usually of one unit, but two ACLs may share a Sample, and services add their load
/// balancers to switches, routers and groups.
#[derive(Debug)]
struct Made {
    /// In the order of the units.
    makers: Vec<(Unit, Arc<Row>)>,
    /// What they make together; `None` before the end of [`Compiler::compile`].
    whole: Option<Arc<Row>>,
}

/// A unit as it was compiled last.
#[derive(Debug, Default)]
struct Compiled {
    /// What its selector selects, for [`Unit::Addresses`].
    selection: Option<Selection>,
    dependencies: Vec<Dependency>,
    demands: BTreeSet<Unit>,
    /// The units that want it, each with the place that makes it do so; objects' own units are
    /// wanted by nobody.
    wanted_by: BTreeMap<Unit, Option<Origin>>,
    rows: Vec<RowId>,
    diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// The place that makes the first of those who want it do so.
    fn origin(&self) -> Option<Origin> {
        let (_, origin) = self.wanted_by.first_key_value()?;
        origin.clone()
    }
}

impl Compiler {
    /// Nothing but what every cluster has.
    pub fn new(options: Options) -> Self {
        let mut compiler = Self {
            options,
            cluster: Cluster::default(),
            units: HashMap::new(),
            readers: HashMap::new(),
            rows: HashMap::new(),
            touched: HashSet::new(),
            dirty: BTreeSet::new(),
        };
        compiler
            .units
            .insert(Unit::ClusterWide, Compiled::default());
        compiler.dirty.insert(Unit::ClusterWide);
        compiler
    }

    /// Takes an object, new or changed.
    pub fn put(&mut self, object: impl Into<Arc<Object>>) {
        let mut object = object.into();
        if object.key.kind == Kind::Namespace {
            // As the API server does.
            let name = object.key.name.to_string();
            let labels = &mut Arc::make_mut(&mut object).meta.labels;
            labels.insert(NAME_LABEL.to_owned(), name);
        }
        let key = object.key.clone();
        for unit in Unit::of(&key) {
            if !self.units.contains_key(&unit) {
                self.units.insert(unit.clone(), Compiled::default());
                self.dirty.insert(unit);
            }
        }
        self.change(&key, Some(object));
    }

    /// An object is gone.
    pub fn remove(&mut self, key: &Key) {
        self.change(key, None);
        for unit in Unit::of(key) {
            self.dirty.remove(&unit);
            self.drop_unit(&unit);
        }
    }

    /// Compiles what is to be compiled.
    pub fn compile(&mut self) -> Delta {
        let mut delta = Delta::default();
        while let Some(unit) = self.dirty.pop_first() {
            if self.units.contains_key(&unit) {
                self.compile_unit(&unit);
                delta.compiled += 1;
            }
        }
        for id in std::mem::take(&mut self.touched) {
            self.unite(id, &mut delta);
        }
        delta
    }

    /// The zones, in order.
    pub fn zones(&self) -> Vec<Arc<str>> {
        self.cluster.zones()
    }

    /// All rows of all zones, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter_map(|made| made.whole.as_deref())
    }

    /// What there is to tell, in no order.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.units.values().flat_map(|unit| &unit.diagnostics)
    }

    fn change(&mut self, key: &Key, object: Option<Arc<Object>>) {
        let mut changed = Vec::new();
        self.cluster.put(key, object, &mut changed);
        for dependency in changed {
            if let Some(readers) = self.readers.get(&dependency) {
                self.dirty.extend(readers.iter().cloned());
            }
        }
    }

    fn compile_unit(&mut self, unit: &Unit) {
        let (selection, origin) = match self.units.get(unit) {
            Some(compiled) => (compiled.selection.clone(), compiled.origin()),
            None => (None, None),
        };
        let mut cx = Context::new(&self.options, &self.cluster, origin);
        unit.compile(selection.as_ref(), &mut cx);
        let Context {
            mut dependencies,
            fresh,
            demands,
            rows,
            diagnostics,
            ..
        } = cx;
        for (selection, members) in fresh {
            self.cluster.register(selection, members);
        }
        let mut seen = HashSet::new();
        dependencies.retain(|dependency| seen.insert(dependency.clone()));
        let demands = self.want(unit, demands);
        let rows = self.place(unit, rows);

        let Some(compiled) = self.units.get_mut(unit) else {
            return;
        };
        compiled.diagnostics = diagnostics;
        let old_rows = std::mem::replace(&mut compiled.rows, rows);
        let old_demands = std::mem::replace(&mut compiled.demands, demands);
        let is_same = compiled.dependencies == dependencies;
        let old = std::mem::replace(&mut compiled.dependencies, dependencies.clone());
        if !is_same {
            for dependency in dependencies {
                let readers = self.readers.entry(dependency).or_default();
                readers.insert(unit.clone());
            }
            let kept: HashSet<Dependency> = self
                .units
                .get(unit)
                .map(|compiled| compiled.dependencies.iter().cloned().collect())
                .unwrap_or_default();
            for dependency in old {
                if !kept.contains(&dependency) {
                    self.unread(unit, &dependency);
                }
            }
        }
        let kept: HashSet<RowId> = self
            .units
            .get(unit)
            .map(|compiled| compiled.rows.iter().cloned().collect())
            .unwrap_or_default();
        for row in old_rows {
            if !kept.contains(&row) {
                self.unplace(unit, &row);
            }
        }
        for demand in old_demands {
            let is_kept = self
                .units
                .get(unit)
                .is_some_and(|compiled| compiled.demands.contains(&demand));
            if !is_kept {
                self.unwant(unit, &demand);
            }
        }
    }

    /// Notes who wants what, and makes units that are new.
    fn want(&mut self, by: &Unit, demands: Vec<Demand>) -> BTreeSet<Unit> {
        let mut wanted = BTreeSet::new();
        for demand in demands {
            // Of several places in one unit the first counts.
            if !wanted.insert(demand.unit.clone()) {
                continue;
            }
            let compiled = self.units.entry(demand.unit.clone()).or_insert_with(|| {
                self.dirty.insert(demand.unit.clone());
                Compiled {
                    selection: demand.selection,
                    ..Compiled::default()
                }
            });
            let before = compiled.origin();
            compiled.wanted_by.insert(by.clone(), demand.origin);
            if compiled.origin() != before {
                self.dirty.insert(demand.unit);
            }
        }
        wanted
    }

    fn unwant(&mut self, by: &Unit, unit: &Unit) {
        let Some(compiled) = self.units.get_mut(unit) else {
            return;
        };
        let before = compiled.origin();
        compiled.wanted_by.remove(by);
        if compiled.wanted_by.is_empty() {
            self.dirty.remove(unit);
            self.drop_unit(unit);
        } else if compiled.origin() != before {
            self.dirty.insert(unit.clone());
        }
    }

    fn drop_unit(&mut self, unit: &Unit) {
        let Some(compiled) = self.units.remove(unit) else {
            return;
        };
        for dependency in &compiled.dependencies {
            self.unread(unit, dependency);
        }
        for row in &compiled.rows {
            self.unplace(unit, row);
        }
        for demand in &compiled.demands {
            self.unwant(unit, demand);
        }
    }

    fn unread(&mut self, unit: &Unit, dependency: &Dependency) {
        let Some(readers) = self.readers.get_mut(dependency) else {
            return;
        };
        readers.remove(unit);
        if readers.is_empty() {
            self.readers.remove(dependency);
            if let Dependency::Selection(key) = dependency {
                self.cluster.forget(key);
            }
        }
    }

    fn place(&mut self, unit: &Unit, rows: Vec<Row>) -> Vec<RowId> {
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let id = (row.scope.clone(), row.table, row.key.clone());
            let made = self.rows.entry(id.clone()).or_insert_with(|| Made {
                makers: Vec::with_capacity(1),
                whole: None,
            });
            let place = made.makers.binary_search_by(|(maker, _)| maker.cmp(unit));
            match place {
                Ok(index) => {
                    if let Some((_, old)) = made.makers.get_mut(index)
                        && **old != row
                    {
                        *old = Arc::new(row);
                        self.touched.insert(id.clone());
                    }
                }
                Err(index) => {
                    made.makers.insert(index, (unit.clone(), Arc::new(row)));
                    self.touched.insert(id.clone());
                }
            }
            ids.push(id);
        }
        ids
    }

    fn unplace(&mut self, unit: &Unit, id: &RowId) {
        if let Some(made) = self.rows.get_mut(id) {
            made.makers.retain(|(maker, _)| maker != unit);
            self.touched.insert(id.clone());
        }
    }

    /// Makes a row of what its makers make.
    fn unite(&mut self, id: RowId, delta: &mut Delta) {
        let Some(made) = self.rows.get_mut(&id) else {
            return;
        };
        let whole = made.makers.split_first().map(|((_, first), rest)| {
            let mut whole = first.clone();
            if !rest.is_empty() {
                let rest: Vec<&Row> = rest.iter().map(|(_, row)| &**row).collect();
                Arc::make_mut(&mut whole).absorb(&rest);
            }
            whole
        });
        match (&made.whole, &whole) {
            (None, Some(_)) => delta.added += 1,
            (Some(old), Some(new)) if old != new => delta.changed += 1,
            (Some(_), None) => delta.removed += 1,
            (None, None) => {
                self.rows.remove(&id);
                return;
            }
            _ => return,
        }
        delta.rows.push((made.whole.take(), whole.clone()));
        match whole {
            Some(_) => made.whole = whole,
            None => {
                self.rows.remove(&id);
            }
        }
    }
}
