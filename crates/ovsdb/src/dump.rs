//! What `ovsdb-client dump -f json` prints (ovsdb-client(1)): one object a table, with its
//! `caption`, `headings` and `data`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use uuid::Uuid;

use crate::codec::{self, Interner};
use crate::json::{Fault, Scanner, Stop};
use crate::replica::{Layout, Replica, Table};
use crate::row::Row;
use crate::value::{Atom, Datum};

/// What a dump holds, and what of it could not be read.
#[derive(Debug)]
pub struct Dump {
    /// The rows.
    pub replica: Replica,
    /// What was left out.
    pub problems: Vec<DumpProblem>,
}

/// A part of a dump that could not be read; the rest is not harmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpProblem {
    /// The table's name, if it was told before the fault.
    pub table: Option<String>,
    /// The number of the row in its table, from 1; `None` if the whole table is lost.
    pub row: Option<usize>,
    /// Bytes from the beginning of the dump to the fault.
    pub at: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The file cannot be read.
    #[error("cannot read the dump: {0}")]
    Io(#[from] io::Error),
    /// No table is in it.
    #[error(
        "no table in it ({0}); a dump is what `ovsdb-client dump -f json SERVER DATABASE` prints"
    )]
    NoTable(DumpProblem),
}

/// A table of this many bytes is not from a database that anybody runs.
const MAX_BYTES: u64 = 4 << 30;

impl Replica {
    /// Reads what `ovsdb-client dump -f json` prints. A table or row that cannot be read is
    /// told in [`Dump::problems`] and left out.
    ///
    /// # Errors
    /// The reader's, or that no table is in what was read.
    pub fn from_dump(reader: impl BufRead) -> Result<Dump, DumpError> {
        let mut lines = Lines {
            reader,
            line: Vec::new(),
            at: 0,
        };
        let mut dump = Dump {
            replica: Replica::default(),
            problems: Vec::new(),
        };
        let mut interner = Interner::default();
        while lines.next()? {
            let mut from = 0;
            while let Some(rest) = lines.line.get(from..).filter(|rest| !blank(rest)) {
                let mut scanner = Scanner::new(rest);
                let at = lines.at + from as u64;
                match table(&mut scanner, &mut interner) {
                    Ok((table, problems)) => {
                        from += scanner.at();
                        dump.problems
                            .extend(problems.into_iter().map(|problem| DumpProblem {
                                at: problem.at + at,
                                ..problem
                            }));
                        dump.replica.add_table(table);
                    }
                    Err((Stop::More, table)) => {
                        let end = at + rest.len() as u64;
                        // Perhaps printed with --pretty: then an object has several lines.
                        if from == 0 && lines.rest()? {
                            continue;
                        }
                        dump.problems.push(DumpProblem {
                            table,
                            row: None,
                            at: end,
                            what: "the dump ends within the table",
                        });
                        break;
                    }
                    Err((Stop::Bad(fault), table)) => {
                        dump.problems.push(DumpProblem {
                            table,
                            row: None,
                            at: at + fault.at as u64,
                            what: fault.what,
                        });
                        break;
                    }
                }
            }
        }
        if dump.replica.tables.is_empty() {
            let nothing = DumpProblem {
                table: None,
                row: None,
                at: 0,
                what: "it is empty",
            };
            let first = dump.problems.into_iter().next();
            return Err(DumpError::NoTable(first.unwrap_or(nothing)));
        }
        Ok(dump)
    }
}

impl fmt::Display for DumpProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.table, self.row) {
            (Some(table), Some(row)) => write!(f, "table {table}, row {row}: ")?,
            (Some(table), None) => write!(f, "table {table}: ")?,
            (None, _) => {}
        }
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Where in the dump the line begins.
    at: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> io::Result<bool> {
        self.at += self.line.len() as u64;
        self.line.clear();
        let mut reader = (&mut self.reader).take(MAX_BYTES);
        reader.read_until(b'\n', &mut self.line)?;
        Ok(!self.line.is_empty())
    }

    /// Joins all that follows to this line; false if nothing follows.
    fn rest(&mut self) -> io::Result<bool> {
        let mut reader = (&mut self.reader).take(MAX_BYTES);
        Ok(reader.read_to_end(&mut self.line)? > 0)
    }
}

fn blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Reads one table, with the rows in it that could not be read; or says why it is no table.
fn table(
    scanner: &mut Scanner<'_>,
    interner: &mut Interner,
) -> Result<(Table, Vec<DumpProblem>), (Stop, Option<String>)> {
    let mut name = None;
    let mut headings: Vec<String> = Vec::new();
    let mut data: &[u8] = b"[]";
    let mut data_at = 0;
    let read = scanner.object(|scanner, key| {
        match key {
            "caption" => {
                let caption = scanner.string()?;
                name = Some(
                    caption
                        .strip_suffix(" table")
                        .unwrap_or(&caption)
                        .to_owned(),
                );
            }
            "headings" => scanner.array(|scanner| {
                headings.push(scanner.string()?.into_owned());
                Ok(())
            })?,
            "data" => {
                data = scanner.array_span()?;
                data_at = scanner.at() - data.len();
            }
            _ => scanner.skip()?,
        }
        Ok(())
    });
    if let Err(stop) = read {
        return Err((stop, name));
    }
    let Some(name) = name else {
        return Err((scanner.bad("an object without a caption"), None));
    };
    let shape = match Shape::new(&name, &headings) {
        Ok(shape) => shape,
        Err(what) => return Err((scanner.bad(what), Some(name))),
    };
    let mut table = Table::new(shape.layout.clone());
    let mut problems = Vec::new();
    let mut rows = Scanner::new(data);
    let mut number = 0;
    let read = rows.array(|scanner| {
        number += 1;
        let start = scanner.at();
        match shape.row(scanner, interner) {
            Ok(row) => {
                table.insert(row);
            }
            Err(Stop::Bad(fault)) => {
                scanner.back_to(start);
                scanner.skip()?;
                problems.push(DumpProblem {
                    table: Some(name.clone()),
                    row: Some(number),
                    at: (data_at + fault.at) as u64,
                    what: fault.what,
                });
            }
            Err(Stop::More) => return Err(Stop::More),
        }
        Ok(())
    });
    if let Err(Stop::Bad(fault)) = read {
        let at = data_at + fault.at;
        return Err((Stop::Bad(Fault { at, ..fault }), Some(name)));
    }
    if let Err(stop) = read {
        return Err((stop, Some(name)));
    }
    Ok((table, problems))
}

/// The order of a table's headings, and that of its columns.
struct Shape {
    layout: Arc<Layout>,
    /// For each heading its place among the columns; `None` for `_uuid`.
    places: Vec<Option<usize>>,
}

impl Shape {
    fn new(table: &str, headings: &[String]) -> Result<Self, &'static str> {
        let columns: BTreeMap<Arc<str>, _> = headings
            .iter()
            .filter(|heading| *heading != "_uuid")
            .map(|heading| (Arc::from(heading.as_str()), None))
            .collect();
        if columns.len() + 1 != headings.len() {
            return Err("the headings lack _uuid or have one twice");
        }
        let layout = Layout::new(table.into(), columns.into_iter().collect());
        let places = headings
            .iter()
            .map(|heading| layout.position(heading))
            .collect();
        Ok(Self {
            layout: Arc::new(layout),
            places,
        })
    }

    fn row(&self, scanner: &mut Scanner<'_>, interner: &mut Interner) -> Result<Row, Stop> {
        let mut values = vec![Datum::empty(); self.layout.names.len()];
        let mut uuid: Option<Uuid> = None;
        let mut places = self.places.iter();
        let start = scanner.at();
        scanner.array(|scanner| {
            let Some(place) = places.next() else {
                return Err(scanner.bad("a row with more values than headings"));
            };
            let value = codec::datum(scanner, None, interner)?;
            match place.and_then(|place| values.get_mut(place)) {
                Some(slot) => *slot = value,
                None => uuid = value.scalar().and_then(Atom::as_uuid),
            }
            Ok(())
        })?;
        if places.next().is_some() {
            return Err(scanner.bad("a row with fewer values than headings"));
        }
        let uuid = uuid.ok_or(Stop::Bad(Fault {
            at: start,
            what: "a row without a uuid",
        }))?;
        Ok(Row::from_parts(self.layout.clone(), uuid, values.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Columns;
    use crate::wanted::Wanted;

    const DUMP: &str = r#"
{"caption":"Pet table","data":[[["uuid","5435feec-5930-4ab2-a8e6-4b3aca2e0b6b"],"rex",["set",[]],["map",[["a","b"]]]],[["uuid","a22cc261-b5ad-4aa8-a2ff-83f0e40744cc"],"fay",7,["map",[]]]],"headings":["_uuid","name","age","ids"]}
{"caption":"Toy table","data":[],"headings":["_uuid","owner"]}
"#;

    fn read(text: &str) -> Dump {
        Replica::from_dump(text.as_bytes()).unwrap()
    }

    #[test]
    fn rows_are_read() {
        let Dump { replica, problems } = read(DUMP);
        assert_eq!(problems, []);
        let mut pets: Vec<_> = replica.rows("Pet").collect();
        pets.sort_by_key(|row| row.text("name").map(str::to_owned));
        assert_eq!(pets[0].integer("age"), Some(7));
        assert_eq!(pets[1].column("age"), Some(&Datum::empty()));
        assert_eq!(pets[1].column("ids").unwrap().lookup("a"), Some("b"));
        assert!(replica.table("Toy").unwrap().is_empty());
    }

    #[test]
    fn a_pretty_dump_is_the_same() {
        let pretty: Vec<String> = DUMP
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                serde_json::to_string_pretty(&value).unwrap()
            })
            .collect();
        assert_eq!(read(&pretty.join("\n")).replica, read(DUMP).replica);
    }

    #[test]
    fn a_bad_row_or_table_leaves_its_neighbours() {
        let dump = read(&DUMP.replace("\"rex\"", "[\"oops\",1]"));
        assert_eq!(dump.replica.rows("Pet").count(), 1);
        assert_eq!(
            dump.problems[0].to_string(),
            "table Pet, row 1: expected set, map or uuid at byte 89"
        );
        let dump = read(&DUMP.replace("\"caption\":\"Toy", "\"caption\":\"Toy\" x"));
        assert_eq!(dump.replica.rows("Pet").count(), 2);
        assert_eq!(dump.problems[0].table.as_deref(), Some("Toy"));
        let dump = read(&DUMP[..DUMP.len() - 10]);
        assert_eq!(dump.problems[0].what, "the dump ends within the table");
    }

    #[test]
    fn what_is_no_dump_is_refused() {
        for text in ["", "\n\n", "hello", "{}", "[]"] {
            let error = Replica::from_dump(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("no table in it"), "{text}");
        }
    }

    #[test]
    fn only_the_wanted_is_kept() {
        let wanted = Wanted::new()
            .table("Pet", ["name", "weight"])
            .index("Pet", "age")
            .table("Shop", ["name"]);
        let replica = read(DUMP).replica.restrict(&wanted);
        assert_eq!(
            replica.missing().to_string(),
            "table Shop, column Pet.weight"
        );
        let pets = replica.table("Pet").unwrap();
        assert_eq!(pets.columns().collect::<Vec<_>>(), ["age", "name"]);
        let seven = Atom::Integer(7);
        let found: Vec<_> = pets.find("age", &seven).collect();
        assert_eq!(found[0].text("name"), Some("fay"));
        assert!(replica.table("Toy").is_none());
    }
}
