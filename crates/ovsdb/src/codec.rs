//! OVSDB values in JSON (RFC 7047 section 5.1), both ways.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::json::{Number, Scanner, Stop};
use crate::schema::{AtomType, ColumnType};
use crate::value::{Atom, Datum};

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an OVSDB value: {what} at byte {at}")]
pub struct ValueError {
    at: usize,
    what: &'static str,
}

/// Holds equal short strings once.
#[derive(Default)]
pub(crate) struct Interner {
    strings: HashSet<Arc<str>, RandomState>,
    clean_at: usize,
}

/// Longer strings seldom repeat.
const INTERN_UP_TO: usize = 64;
const CLEAN_FIRST_AT: usize = 10_000;

impl Datum {
    /// Reads a `<value>` (RFC 7047 section 5.1). Without a type, numbers are what they look
    /// like and a single atom is a set of one.
    ///
    /// # Errors
    /// The first place that is not JSON, not a value, or not of the type.
    pub fn from_json(text: &str, kind: Option<&ColumnType>) -> Result<Self, ValueError> {
        // A number ends where something else begins.
        let text = format!("{text}\n");
        let mut scanner = Scanner::new(text.as_bytes());
        let value = datum(&mut scanner, kind, &mut Interner::default());
        match value {
            Ok(value) if scanner.peek() == Err(Stop::More) => Ok(value),
            Ok(_) => Err(ValueError {
                at: scanner.at(),
                what: "more text after the value",
            }),
            Err(Stop::More) => Err(ValueError {
                at: text.len() - 1,
                what: "the text ends within the value",
            }),
            Err(Stop::Bad(fault)) => Err(ValueError {
                at: fault.at,
                what: fault.what,
            }),
        }
    }

    /// The `<value>` of RFC 7047 section 5.1. A real that is not finite, which JSON does not
    /// have, becomes null, and the server refuses it.
    pub fn to_json(&self) -> Value {
        datum_to_json(self, &uuid_to_json)
    }
}

/// The `<value>` whose uuids are written as `uuid` says.
pub(crate) fn datum_to_json(datum: &Datum, uuid: &dyn Fn(Uuid) -> Value) -> Value {
    match datum {
        Datum::Set(atoms) => match atoms.as_slice() {
            [atom] => atom_to_json(atom, uuid),
            atoms => {
                let atoms: Vec<_> = atoms.iter().map(|atom| atom_to_json(atom, uuid)).collect();
                json!(["set", atoms])
            }
        },
        Datum::Map(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| json!([atom_to_json(key, uuid), atom_to_json(value, uuid)]))
                .collect();
            json!(["map", pairs])
        }
    }
}

pub(crate) fn uuid_to_json(uuid: Uuid) -> Value {
    json!(["uuid", uuid.to_string()])
}

fn atom_to_json(atom: &Atom, uuid: &dyn Fn(Uuid) -> Value) -> Value {
    match atom {
        Atom::Integer(number) => json!(number),
        Atom::Real(number) => json!(number),
        Atom::Boolean(value) => json!(value),
        Atom::String(text) => json!(text.as_ref()),
        Atom::Uuid(id) => uuid(*id),
    }
}

impl Interner {
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if text.len() > INTERN_UP_TO {
            return text.into();
        }
        if let Some(known) = self.strings.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.strings.insert(new.clone());
        new
    }

    /// Drops strings that nobody else holds any more, once that may be worth it.
    pub(crate) fn clean(&mut self) {
        if self.strings.len() > self.clean_at.max(CLEAN_FIRST_AT) {
            self.strings.retain(|text| Arc::strong_count(text) > 1);
            self.clean_at = self.strings.len() * 2;
        }
    }
}

/// Reads a `<value>`.
pub(crate) fn datum(
    scanner: &mut Scanner<'_>,
    kind: Option<&ColumnType>,
    interner: &mut Interner,
) -> Result<Datum, Stop> {
    let key = kind.map(|kind| kind.key);
    let want_map = kind.map(|kind| kind.value.is_some());
    if scanner.peek()? != b'[' {
        if want_map == Some(true) {
            return Err(scanner.bad("expected a map"));
        }
        return Ok(Datum::Set(vec![atom(scanner, key, interner)?]));
    }
    let value = tagged(scanner, |scanner, tag| match tag {
        "set" if want_map != Some(true) => {
            let mut atoms = Vec::new();
            scanner.array(|scanner| {
                atoms.push(atom(scanner, key, interner)?);
                Ok(())
            })?;
            atoms.shrink_to_fit();
            Ok(Datum::set(atoms))
        }
        "map" if want_map != Some(false) => {
            let mut pairs = Vec::new();
            scanner.array(|scanner| {
                scanner.expect(b'[', "expected a pair")?;
                let first = atom(scanner, key, interner)?;
                scanner.expect(b',', "expected the pair's value")?;
                let second = atom(scanner, kind.and_then(|kind| kind.value), interner)?;
                scanner.expect(b']', "expected the end of the pair")?;
                pairs.push((first, second));
                Ok(())
            })?;
            pairs.shrink_to_fit();
            Ok(Datum::map(pairs))
        }
        "uuid" if want_map != Some(true) && matches!(key, None | Some(AtomType::Uuid)) => {
            Ok(Datum::Set(vec![Atom::Uuid(uuid(scanner)?)]))
        }
        "set" => Err(scanner.bad("a set where the schema has a map")),
        "map" => Err(scanner.bad("a map where the schema has a set")),
        "uuid" => Err(scanner.bad("a uuid where the schema has another type")),
        _ => Err(scanner.bad("expected set, map or uuid")),
    })?;
    Ok(value)
}

/// The uuid in a string.
pub(crate) fn uuid(scanner: &mut Scanner<'_>) -> Result<Uuid, Stop> {
    let text = scanner.string()?;
    Uuid::try_parse(&text).map_err(|_| scanner.bad("a malformed uuid"))
}

fn atom(
    scanner: &mut Scanner<'_>,
    kind: Option<AtomType>,
    interner: &mut Interner,
) -> Result<Atom, Stop> {
    let first = scanner.peek()?;
    Ok(match (kind, first) {
        (Some(AtomType::String), _) | (None, b'"') => {
            Atom::String(interner.intern(&scanner.string()?))
        }
        (Some(AtomType::Boolean), _) | (None, b't' | b'f') => Atom::Boolean(scanner.boolean()?),
        (Some(AtomType::Uuid), _) | (None, b'[') => {
            let id = tagged(scanner, |scanner, tag| match tag {
                "uuid" => uuid(scanner),
                _ => Err(scanner.bad("expected a uuid")),
            })?;
            Atom::Uuid(id)
        }
        (Some(AtomType::Integer | AtomType::Real) | None, _) => match (kind, scanner.number()?) {
            (Some(AtomType::Real), Number::Integer(number)) => Atom::Real(number as f64),
            (Some(AtomType::Integer), Number::Real(_)) => {
                return Err(scanner.bad("expected an integer"));
            }
            (_, Number::Integer(number)) => Atom::Integer(number),
            (_, Number::Real(number)) => Atom::Real(number),
        },
    })
}

/// Reads `[TAG, …]` with what follows the tag as `content` reads it.
fn tagged<'a, T>(
    scanner: &mut Scanner<'a>,
    content: impl FnOnce(&mut Scanner<'a>, &str) -> Result<T, Stop>,
) -> Result<T, Stop> {
    scanner.expect(b'[', "expected a value in brackets")?;
    let tag = scanner.string()?;
    scanner.expect(b',', "expected a comma after the tag")?;
    let value = content(scanner, &tag)?;
    scanner.expect(b']', "expected the end of the value")?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_atom(kind: AtomType) -> BoxedStrategy<Atom> {
        match kind {
            AtomType::Integer => any::<i64>().prop_map(Atom::Integer).boxed(),
            AtomType::Real => any::<i32>()
                .prop_map(|n| Atom::Real(f64::from(n) / 8.0))
                .boxed(),
            AtomType::Boolean => any::<bool>().prop_map(Atom::Boolean).boxed(),
            AtomType::String => any::<String>()
                .prop_map(|text| Atom::from(text.replace(char::is_control, "")))
                .boxed(),
            AtomType::Uuid => any::<u128>()
                .prop_map(|id| Atom::Uuid(Uuid::from_u128(id)))
                .boxed(),
        }
    }

    fn any_type() -> impl Strategy<Value = AtomType> {
        prop::sample::select(vec![
            AtomType::Integer,
            AtomType::Real,
            AtomType::Boolean,
            AtomType::String,
            AtomType::Uuid,
        ])
    }

    fn any_typed() -> impl Strategy<Value = (ColumnType, Datum)> {
        (any_type(), prop::option::of(any_type())).prop_flat_map(|(key, value)| {
            let kind = ColumnType {
                key,
                value,
                optional: true,
                many: true,
            };
            let datum = match value {
                None => prop::collection::vec(any_atom(key), 0..5)
                    .prop_map(Datum::set)
                    .boxed(),
                Some(value) => prop::collection::vec((any_atom(key), any_atom(value)), 0..5)
                    .prop_map(Datum::map)
                    .boxed(),
            };
            datum.prop_map(move |datum| (kind, datum))
        })
    }

    proptest! {
        #[test]
        fn a_value_survives_the_way_through_json((kind, datum) in any_typed()) {
            let text = datum.to_json().to_string();
            prop_assert_eq!(Datum::from_json(&text, Some(&kind)).unwrap(), datum.clone());
            if kind.key != AtomType::Real && kind.value != Some(AtomType::Real) {
                prop_assert_eq!(Datum::from_json(&text, None).unwrap(), datum);
            }
        }

        #[test]
        fn any_text_is_survived(text in "[\\[\\]\",0-9a-z.\\-]{0,40}") {
            let _ = Datum::from_json(&text, None);
        }
    }

    #[test]
    fn faults_are_named() {
        let strings = ColumnType {
            key: AtomType::String,
            value: None,
            optional: true,
            many: true,
        };
        for (text, what) in [
            ("[\"set\",[1]]", "expected a string"),
            ("[\"map\",[]]", "a map where the schema has a set"),
            ("[\"uuid\",\"x\"]", "another type"),
            ("\"a\" 1", "more text"),
            ("\"a", "ends within"),
            ("[\"set\",[\"a\"", "ends within"),
            ("[\"set\",[\"\\ud800\"]]", "surrogate"),
        ] {
            let error = Datum::from_json(text, Some(&strings))
                .unwrap_err()
                .to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
