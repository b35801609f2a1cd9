//! Row updates (RFC 7047 section 4.1.6; ovsdb-server(7), "Monitor_cond" and "Update2
//! Notification") and how a frame of them changes a replica.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use uuid::Uuid;

use crate::change::Change;
use crate::codec::{self, Interner};
use crate::json::{Scanner, Stop};
use crate::replica::{Layout, Replica, Table};
use crate::row::Row;
use crate::schema::ColumnType;
use crate::value::{Atom, Datum};
use crate::wanted::Wanted;

/// Collects the rows of one frame while it arrives. Nothing reaches the replica before the frame
/// is complete.
#[derive(Default)]
pub(crate) struct Stage {
    layouts: HashMap<Arc<str>, Arc<Layout>>,
    interner: Interner,
    tables: Vec<StagedTable>,
    scratch: Vec<Option<Datum>>,
}

struct StagedTable {
    layout: Arc<Layout>,
    rows: Vec<(Uuid, Update)>,
}

enum Update {
    /// The whole row.
    Full(Row),
    /// The whole row, as the replica has it already.
    Same,
    /// `<row>` of a `modify`: column and what changed of it.
    Modify(Vec<(usize, Datum)>),
    Delete,
}

/// The server speaks of a row that it cannot mean: the replica and the server disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server {what} row {uuid} of table {table}, which the replica does not have")]
pub struct Inconsistency {
    table: String,
    uuid: Uuid,
    what: &'static str,
}

impl Stage {
    /// Prepares for rows of these tables. Returns true if the replica's rows have the same
    /// columns, so that what the server sends may build on them.
    pub(crate) fn prepare(&mut self, layouts: Vec<Arc<Layout>>, replica: &Replica) -> bool {
        self.clear();
        let mut same = replica.tables.len() == layouts.len();
        self.layouts = layouts
            .into_iter()
            .map(|layout| {
                let kept = replica.tables.get(&layout.table);
                let layout = match kept {
                    Some(table) if *table.layout == *layout => table.layout.clone(),
                    _ => {
                        same = false;
                        layout
                    }
                };
                (layout.table.clone(), layout)
            })
            .collect();
        same
    }

    /// The tables that were prepared for.
    pub(crate) fn layouts(&self) -> impl Iterator<Item = &Layout> {
        self.layouts.values().map(AsRef::as_ref)
    }

    pub(crate) fn clear(&mut self) {
        self.tables.clear();
    }

    /// Begins a table; false if it was not asked for.
    pub(crate) fn table(&mut self, name: &str) -> bool {
        let Some(layout) = self.layouts.get(name) else {
            return false;
        };
        self.tables.push(StagedTable {
            layout: layout.clone(),
            rows: Vec::new(),
        });
        true
    }

    /// Reads one member of the table begun last: a row's identity and its update.
    pub(crate) fn row(&mut self, scanner: &mut Scanner<'_>, replica: &Replica) -> Result<(), Stop> {
        let uuid = codec::uuid(scanner)?;
        scanner.expect(b':', "expected a colon after the row's uuid")?;
        let Some(staged) = self.tables.last_mut() else {
            return scanner.skip();
        };
        let layout = &staged.layout;
        let mut update = None;
        scanner.object(|scanner, key| {
            let next = match key {
                "initial" | "insert" | "new" => {
                    let values = full(scanner, layout, &mut self.interner, &mut self.scratch)?;
                    Some(Update::Full(Row::from_parts(layout.clone(), uuid, values)))
                }
                "modify" => Some(Update::Modify(modified(
                    scanner,
                    layout,
                    &mut self.interner,
                )?)),
                "delete" => {
                    scanner.skip()?;
                    Some(Update::Delete)
                }
                "old" => {
                    scanner.skip()?;
                    // With a new one beside it, in either order, it is a modification.
                    update.is_none().then_some(Update::Delete)
                }
                _ => return Err(scanner.bad("an unknown kind of row update")),
            };
            if next.is_some() {
                update = next;
            }
            Ok(())
        })?;
        let update = match update {
            Some(Update::Full(row)) if replica.row(&layout.table, uuid) == Some(&row) => {
                Update::Same
            }
            Some(update) => update,
            None => return Err(scanner.bad("a row update that says nothing")),
        };
        staged.rows.push((uuid, update));
        Ok(())
    }

    /// Brings the replica to what the frame says and tells what that changed. With `full` the
    /// frame is all that there is: rows that it does not name are gone, and tables and columns
    /// are those that were prepared for.
    pub(crate) fn apply(
        &mut self,
        replica: &mut Replica,
        full: bool,
        wanted: &Wanted,
    ) -> Result<Vec<Change>, Inconsistency> {
        let staged = std::mem::take(&mut self.tables);
        let mut changes = Vec::with_capacity(staged.iter().map(|table| table.rows.len()).sum());
        let gone = if full {
            gone(&staged, replica)
        } else {
            Vec::new()
        };
        for StagedTable { layout, rows } in staged {
            for (uuid, update) in rows {
                let old = replica.row(&layout.table, uuid);
                let change = |new: Option<Row>| Change {
                    table: layout.table.clone(),
                    uuid,
                    old: old.cloned(),
                    new,
                };
                let disagree = |what| Inconsistency {
                    table: layout.table.to_string(),
                    uuid,
                    what,
                };
                changes.push(match (update, old) {
                    (Update::Same, _) => continue,
                    (Update::Full(row), _) => change(Some(row)),
                    (Update::Delete, Some(_)) => change(None),
                    (Update::Delete, None) => return Err(disagree("deletes")),
                    (Update::Modify(columns), Some(old)) => {
                        let row = modify(old, columns);
                        if row == *old {
                            continue;
                        }
                        change(Some(row))
                    }
                    (Update::Modify(_), None) => return Err(disagree("modifies")),
                });
            }
        }
        changes.extend(gone);
        if full {
            self.replace_tables(replica, wanted);
        }
        let mut inserts: HashMap<&str, usize> = HashMap::new();
        for change in changes.iter().filter(|change| change.old.is_none()) {
            *inserts.entry(&change.table).or_default() += 1;
        }
        for (table, rows) in inserts {
            if let Some(table) = replica.tables.get_mut(table) {
                table.reserve(rows);
            }
        }
        for change in &changes {
            replica.put(&change.table, change.uuid, change.new.clone());
        }
        self.interner.clean();
        Ok(changes)
    }

    /// Gives the replica the tables that were prepared for; those whose columns are others than
    /// before are empty.
    fn replace_tables(&self, replica: &mut Replica, wanted: &Wanted) {
        replica
            .tables
            .retain(|name, _| self.layouts.contains_key(name));
        for (name, layout) in &self.layouts {
            let known = replica.tables.get(name);
            if known.is_none_or(|table| !Arc::ptr_eq(&table.layout, layout)) {
                let table = Table::new(layout.clone()).indexed(wanted.indexes(name));
                replica.add_table(table);
            }
        }
    }
}

/// The deletion of each row that the frame, which is all that there is, does not name.
fn gone(staged: &[StagedTable], replica: &Replica) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, table) in replica.tables.iter().filter(|(_, table)| !table.is_empty()) {
        let mut named: HashSet<Uuid, RandomState> = HashSet::default();
        for staged in staged.iter().filter(|staged| staged.layout.table == *name) {
            named.extend(staged.rows.iter().map(|(uuid, _)| *uuid));
        }
        let rows = table.rows().filter(|row| !named.contains(&row.uuid()));
        changes.extend(rows.map(|row| Change {
            table: name.clone(),
            uuid: row.uuid(),
            old: Some(row.clone()),
            new: None,
        }));
    }
    changes
}

/// Reads a `<row>` in which columns with their default value may be left out.
fn full(
    scanner: &mut Scanner<'_>,
    layout: &Layout,
    interner: &mut Interner,
    scratch: &mut Vec<Option<Datum>>,
) -> Result<Box<[Datum]>, Stop> {
    scratch.clear();
    scratch.resize(layout.names.len(), None);
    columns(scanner, layout, interner, |position, value| {
        if let Some(slot) = scratch.get_mut(position) {
            *slot = Some(value);
        }
    })?;
    Ok(scratch
        .iter_mut()
        .zip(&layout.defaults)
        .map(|(value, default)| value.take().unwrap_or_else(|| default.clone()))
        .collect())
}

fn modified(
    scanner: &mut Scanner<'_>,
    layout: &Layout,
    interner: &mut Interner,
) -> Result<Vec<(usize, Datum)>, Stop> {
    let mut values = Vec::new();
    columns(scanner, layout, interner, |position, value| {
        values.push((position, value));
    })?;
    Ok(values)
}

fn columns(
    scanner: &mut Scanner<'_>,
    layout: &Layout,
    interner: &mut Interner,
    mut column: impl FnMut(usize, Datum),
) -> Result<(), Stop> {
    scanner.object(|scanner, name| {
        let Some(position) = layout.position(name) else {
            return scanner.skip();
        };
        let kind = layout.types.get(position).and_then(Option::as_ref);
        column(position, codec::datum(scanner, kind, interner)?);
        Ok(())
    })
}

/// The row after a `modify`.
fn modify(old: &Row, columns: Vec<(usize, Datum)>) -> Row {
    let layout = old.layout();
    let mut values: Box<[Datum]> = old.values().into();
    for (position, difference) in columns {
        let kind = layout.types.get(position).copied().flatten();
        if let Some(value) = values.get_mut(position) {
            *value = merge(value, difference, kind);
        }
    }
    Row::from_parts(layout.clone(), old.uuid(), values)
}

/// A column after a `modify` (ovsdb-server(7), "Update2 Notification"): a column that holds at
/// most one atom or pair has its new value there; of a set the elements that came or went; of a
/// map the pairs that came, went (with the value they had) or have a new value.
fn merge(old: &Datum, difference: Datum, kind: Option<ColumnType>) -> Datum {
    if kind.is_none_or(|kind| !kind.many) {
        return difference;
    }
    match (old, difference) {
        (Datum::Set(old), Datum::Set(toggled)) => {
            let kept = old
                .iter()
                .filter(|atom| toggled.binary_search(atom).is_err());
            let came = toggled
                .iter()
                .filter(|atom| old.binary_search(atom).is_err());
            Datum::set(kept.chain(came).cloned().collect())
        }
        (Datum::Map(old), Datum::Map(changed)) => {
            let find = |pairs: &[(Atom, Atom)], key: &Atom| {
                let found = pairs.binary_search_by(|pair| pair.0.cmp(key)).ok()?;
                pairs.get(found).map(|pair| pair.1.clone())
            };
            let kept = old
                .iter()
                .filter(|(key, _)| find(&changed, key).is_none())
                .cloned();
            let new = changed
                .iter()
                .filter(|(key, value)| find(old, key).as_ref() != Some(value))
                .cloned();
            Datum::map(kept.chain(new).collect())
        }
        (_, difference) => difference,
    }
}
