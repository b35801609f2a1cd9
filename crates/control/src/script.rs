use std::collections::BTreeMap;
use std::fmt::Write as _;

use netverdict_ovn::Database;
use netverdict_ovsdb::{Atom, Datum};
use uuid::Uuid;

use crate::plan::{Edit, Plan};

/// One argument list is kept below this many bytes where it can be cut: Linux takes a quarter of
/// the stack's limit, 2 MiB by default, for arguments and environment (execve(2)).
const LONGEST: usize = 1 << 20;
/// An argument list cannot be longer than this, whatever the limit of the stack: three quarters of
/// 8 MiB (fs/exec.c), less what the environment may need.
const MOST: usize = (6 << 20) - (256 << 10);
/// One argument cannot be longer than 128 KiB (MAX_ARG_STRLEN, execve(2)): so many members of a set
/// are set at once, others are added.
const MEMBERS: usize = 1000;

impl Plan {
    /// The plan as a shell script of `ovn-nbctl` or `ovs-vsctl` commands, one transaction each.
    /// `connect` are the tool's own options, such as `--db=…`.
    ///
    /// There is one command, but for plans that only set and remove and do not fit into one
    /// argument list. One that makes rows and does not fit says so and does nothing.
    pub fn script(&self, connect: &[String]) -> String {
        let mut text = String::from("#!/bin/sh\nset -e\n");
        if self.is_empty() {
            return text;
        }
        let tool = match self.database() {
            Database::Northbound | Database::Sets => "ovn-nbctl",
            Database::Southbound => "ovn-sbctl",
            Database::Vswitch => "ovs-vsctl",
        };
        let mut start = tool.to_owned();
        // ovs-vsctl waits for ovs-vswitchd otherwise, which need not be up.
        if self.database() == Database::Vswitch {
            start.push_str(" --no-wait");
        }
        for option in connect {
            start.push(' ');
            start.push_str(&quoted(option));
        }
        let names: BTreeMap<Uuid, String> = self
            .edits()
            .iter()
            .filter_map(|edit| match edit {
                Edit::Insert { row, .. } => Some(*row),
                _ => None,
            })
            .enumerate()
            .map(|(number, row)| (row, format!("@r{number}")))
            .collect();
        let commands: Vec<String> = self
            .edits()
            .iter()
            .flat_map(|edit| commands(edit, &names))
            .collect();
        let whole: usize = commands.iter().map(String::len).sum();
        let may_cut = names.is_empty();
        if whole > MOST && !may_cut {
            text.push_str(
                "echo 'Linux takes no command as long as this: nothing is done' >&2\nexit 1\n",
            );
            return text;
        }
        if whole > LONGEST && !may_cut {
            text.push_str("ulimit -s 65536 # room for the arguments\n");
        }
        // create prints what it made.
        let end = if may_cut { "\n" } else { " >/dev/null\n" };
        let mut length = 0;
        for (number, command) in commands.iter().enumerate() {
            if number == 0 || (may_cut && length > LONGEST) {
                if number > 0 {
                    text.push_str(end);
                }
                text.push_str(&start);
                length = 0;
            }
            length += command.len();
            let _ = write!(text, " \\\n  -- {command}");
        }
        text.push_str(end);
        text
    }
}

fn commands(edit: &Edit, names: &BTreeMap<Uuid, String>) -> Vec<String> {
    match edit {
        Edit::Insert {
            table,
            row,
            columns,
        } => {
            let name = names.get(row).map_or("@r", String::as_str);
            // Only values can be told by `@r…`; rows are found by their names.
            let record = columns.iter().find(|(column, _)| *column == "name");
            let record = record.and_then(|(_, name)| Some(quoted(name.scalar()?.as_str()?)));
            let mut command = format!("--id={name} create {table}");
            let mut more = Vec::new();
            for (column, value) in columns {
                let Some(record) = &record else {
                    let _ = write!(command, " {}", assignment(column, value, names));
                    continue;
                };
                let (first, rest) = parts(value);
                let _ = write!(command, " {}", assignment(column, &first, names));
                more.extend(rest.map(|part| addition(table, record, column, part, names)));
            }
            more.insert(0, command);
            more
        }
        Edit::Update {
            table, row, after, ..
        } => {
            let (cleared, set): (Vec<_>, Vec<_>) =
                after.iter().partition(|(_, value)| value.is_empty());
            let mut commands = Vec::new();
            if !cleared.is_empty() {
                let columns: Vec<_> = cleared.iter().map(|(column, _)| *column).collect();
                commands.push(format!("clear {table} {row} {}", columns.join(" ")));
            }
            if !set.is_empty() {
                let row = row.to_string();
                let mut command = format!("set {table} {row}");
                let mut more = Vec::new();
                for (column, value) in set {
                    let (first, rest) = parts(value);
                    let _ = write!(command, " {}", assignment(column, &first, names));
                    more.extend(rest.map(|part| addition(table, &row, column, part, names)));
                }
                commands.push(command);
                commands.extend(more);
            }
            commands
        }
        // The tools never delete rows that the server collects as garbage (ovsdb-idl.c), and it
        // counts references before it does: so they let go of what they refer to.
        Edit::Delete {
            table: "Sample",
            row,
            ..
        } => vec![format!("--if-exists clear Sample {row} collectors")],
        Edit::Delete { table: "IPFIX", .. } => Vec::new(),
        Edit::Delete { table, row, .. } => vec![format!("--if-exists destroy {table} {row}")],
    }
}

/// A value cut into one that is set and members that are added.
fn parts(value: &Datum) -> (Datum, impl Iterator<Item = &[Atom]>) {
    let atoms = value.atoms();
    let (first, rest) = atoms.split_at(atoms.len().min(MEMBERS));
    let first = match value {
        Datum::Set(_) => Datum::Set(first.to_vec()),
        other => other.clone(),
    };
    (first, rest.chunks(MEMBERS))
}

fn addition(
    table: &str,
    row: &str,
    column: &str,
    atoms: &[Atom],
    names: &BTreeMap<Uuid, String>,
) -> String {
    let words = atoms.iter().map(|atom| quoted(&word(atom, names)));
    let words: Vec<_> = words.collect();
    format!("add {table} {row} {column} {}", words.join(" "))
}

fn assignment(column: &str, value: &Datum, names: &BTreeMap<Uuid, String>) -> String {
    let value = match value {
        Datum::Map(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{}={}", word(key, names), word(value, names)))
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        other => {
            let atoms: Vec<_> = other.atoms().iter().map(|atom| word(atom, names)).collect();
            atoms.join(",")
        }
    };
    quoted(&format!("{column}={value}"))
}

/// An atom as the tools read it (ovs-vsctl(8), Database Values): text in double quotes with
/// JSON's escapes, unless it is a plain word.
fn word(atom: &Atom, names: &BTreeMap<Uuid, String>) -> String {
    match atom {
        Atom::Uuid(uuid) => names.get(uuid).cloned().unwrap_or_else(|| uuid.to_string()),
        Atom::String(text) => serde_json::Value::from(text.as_ref()).to_string(),
        other => other.to_string(),
    }
}

/// For the shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@[]%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_people_can_read() {
        let (sample, acl, old) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let plan = Plan::new(
            Database::Northbound,
            vec![
                Edit::Insert {
                    table: "Sample",
                    row: sample,
                    columns: vec![("metadata", Datum::from(7))],
                },
                Edit::Update {
                    table: "ACL",
                    row: acl,
                    before: Vec::new(),
                    after: vec![
                        ("sample_new", Datum::from(sample)),
                        ("sample_est", Datum::empty()),
                    ],
                    relies_on: Vec::new(),
                },
                Edit::Insert {
                    table: "Sampling_App",
                    row: old,
                    columns: vec![("external_ids", Datum::map_of([("a b", "it's")]))],
                },
            ],
            Vec::new(),
            Vec::new(),
        );
        assert_eq!(
            plan.script(&["--db=unix:/x y".to_owned()]),
            "#!/bin/sh\nset -e\n\
             ovn-nbctl '--db=unix:/x y' \\\n  \
             -- --id=@r0 create Sample metadata=7 \\\n  \
             -- clear ACL 00000000-0000-0000-0000-000000000002 sample_est \\\n  \
             -- set ACL 00000000-0000-0000-0000-000000000002 sample_new=@r0 \\\n  \
             -- --id=@r1 create Sampling_App 'external_ids={\"a b\"=\"it'\\''s\"}' >/dev/null\n"
        );
    }

    #[test]
    fn long_sets_are_added_to_in_parts() {
        let addresses = (0..2_500).map(|n| format!("10.0.{}.{}", n / 250, n % 250));
        let edits = vec![Edit::Insert {
            table: "Address_Set",
            row: Uuid::from_u128(1),
            columns: vec![("name", "a1".into()), ("addresses", addresses.collect())],
        }];
        let plan = Plan::new(Database::Northbound, edits, Vec::new(), Vec::new());
        let script = plan.script(&[]);
        let lines: Vec<_> = script.lines().collect();
        assert_eq!(lines.len(), 6, "{lines:?}");
        assert!(lines[3].contains("--id=@r0 create Address_Set"));
        assert!(lines[4].contains("-- add Address_Set a1 addresses '\"10.0."));
        assert_eq!(script.matches("\"10.0.").count(), 2_500);
    }

    #[test]
    fn what_cannot_be_one_command_says_so() {
        let edits = (0..60_000).map(|n| Edit::Insert {
            table: "ACL",
            row: Uuid::from_u128(n),
            columns: vec![("match", "x".repeat(100).into())],
        });
        let plan = Plan::new(
            Database::Northbound,
            edits.collect(),
            Vec::new(),
            Vec::new(),
        );
        assert!(plan.script(&[]).ends_with("exit 1\n"));
    }

    #[test]
    fn long_scripts_are_cut_where_they_can_be() {
        let edits = (0..30_000).map(|n| Edit::Update {
            table: "ACL",
            row: Uuid::from_u128(n),
            before: Vec::new(),
            after: vec![("sample_new", Datum::empty())],
            relies_on: Vec::new(),
        });
        let plan = Plan::new(
            Database::Northbound,
            edits.collect(),
            Vec::new(),
            Vec::new(),
        );
        let script = plan.script(&[]);
        assert_eq!(script.matches("\novn-nbctl").count(), 2);
        assert_eq!(script.matches(" clear ").count(), 30_000);
    }
}
