//! Database schemas (RFC 7047 section 3.2): as much of them as a reader of values needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::value::{Atom, Datum};

/// A database's tables and columns, as `get_schema` answers (RFC 7047 section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The database's name.
    pub name: String,
    /// The schema's version, `x.y.z`; empty if the server gave none.
    pub version: String,
    /// The tables by name.
    pub tables: BTreeMap<Arc<str>, TableSchema>,
}

/// The columns of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSchema {
    /// The types of the columns by name, `_uuid` and `_version` not among them.
    pub columns: BTreeMap<Arc<str>, ColumnType>,
}

/// A column's type (RFC 7047 section 3.2, `<type>`), without its constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnType {
    /// The type of a set's atoms, or of a map's keys.
    pub key: AtomType,
    /// The type of a map's values; `None` for sets.
    pub value: Option<AtomType>,
    /// True if the column may be empty (`min` is 0).
    pub optional: bool,
    /// True if the column holds more than one atom or pair (`max` above 1).
    pub many: bool,
}

/// The type of an atom (RFC 7047 section 3.2, `<atomic-type>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AtomType {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

/// Why a text is not a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's schema is malformed at {place}: {what}")]
pub struct SchemaError {
    place: String,
    what: &'static str,
}

impl Schema {
    /// Reads a `<database-schema>` (RFC 7047 section 3.2).
    ///
    /// # Errors
    /// The first place that is not as the RFC says.
    pub fn from_json(value: &Value) -> Result<Self, SchemaError> {
        let tables = value
            .get("tables")
            .and_then(Value::as_object)
            .ok_or_else(|| fault("tables", "not an object"))?;
        Ok(Self {
            name: text(value, "name"),
            version: text(value, "version"),
            tables: tables
                .iter()
                .map(|(name, table)| Ok((name.as_str().into(), table_schema(name, table)?)))
                .collect::<Result<_, SchemaError>>()?,
        })
    }
}

impl ColumnType {
    /// The default value of a column of this type (RFC 7047 section 5.2.1).
    pub fn default_value(&self) -> Datum {
        match (self.value, self.optional) {
            (Some(_), true) => Datum::Map(Vec::new()),
            (Some(value), false) => {
                Datum::Map(vec![(self.key.default_atom(), value.default_atom())])
            }
            (None, true) => Datum::Set(Vec::new()),
            (None, false) => Datum::Set(vec![self.key.default_atom()]),
        }
    }
}

impl AtomType {
    fn default_atom(self) -> Atom {
        match self {
            Self::Integer => Atom::Integer(0),
            Self::Real => Atom::Real(0.0),
            Self::Boolean => Atom::Boolean(false),
            Self::String => Atom::from(""),
            Self::Uuid => Atom::Uuid(uuid::Uuid::nil()),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "integer" => Self::Integer,
            "real" => Self::Real,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }
}

fn table_schema(name: &str, table: &Value) -> Result<TableSchema, SchemaError> {
    let columns = table
        .get("columns")
        .and_then(Value::as_object)
        .ok_or_else(|| fault(name, "columns are not an object"))?;
    Ok(TableSchema {
        columns: columns
            .iter()
            .map(|(column, schema)| {
                let place = || format!("{name}.{column}");
                let kind = schema
                    .get("type")
                    .ok_or_else(|| fault(place(), "a column without a type"))?;
                Ok((
                    column.as_str().into(),
                    column_type(kind).ok_or_else(|| fault(place(), "an unknown type"))?,
                ))
            })
            .collect::<Result<_, SchemaError>>()?,
    })
}

fn column_type(kind: &Value) -> Option<ColumnType> {
    if let Value::String(name) = kind {
        return Some(ColumnType {
            key: AtomType::from_name(name)?,
            value: None,
            optional: false,
            many: false,
        });
    }
    Some(ColumnType {
        key: base_type(kind.get("key")?)?,
        value: match kind.get("value") {
            Some(value) => Some(base_type(value)?),
            None => None,
        },
        optional: kind.get("min").and_then(Value::as_u64) == Some(0),
        many: match kind.get("max") {
            Some(Value::String(unlimited)) => unlimited == "unlimited",
            Some(number) => number.as_u64()? > 1,
            None => false,
        },
    })
}

fn base_type(kind: &Value) -> Option<AtomType> {
    match kind {
        Value::String(name) => AtomType::from_name(name),
        other => AtomType::from_name(other.get("type")?.as_str()?),
    }
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn fault(place: impl Into<String>, what: &'static str) -> SchemaError {
    SchemaError {
        place: place.into(),
        what,
    }
}
