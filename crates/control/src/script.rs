use std::collections::BTreeMap;
use std::fmt::Write as _;

use netverdict_ovn::Database;
use netverdict_ovsdb::{Atom, Datum};
use uuid::Uuid;

use crate::plan::{Edit, Plan};

/// One argument list is kept below this many bytes where it can be cut: Linux takes a quarter of
/// the stack's limit, 2 MiB by default, for arguments and environment (execve(2)).
const LONGEST: usize = 1 << 20;

impl Plan {
    /// The plan as a shell script of `ovn-nbctl` or `ovs-vsctl` commands, one transaction each.
    /// `connect` are the tool's own options, such as `--db=…`.
    ///
    /// There is one command, but for plans that only set and remove and do not fit into one
    /// argument list.
    pub fn script(&self, connect: &[String]) -> String {
        let mut text = String::from("#!/bin/sh\nset -e\n");
        if self.is_empty() {
            return text;
        }
        let tool = match self.database() {
            Database::Northbound => "ovn-nbctl",
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
            let mut command = format!("--id={name} create {table}");
            for (column, value) in columns {
                let _ = write!(command, " {}", assignment(column, value, names));
            }
            vec![command]
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
                let columns: Vec<_> = set
                    .iter()
                    .map(|(column, value)| assignment(column, value, names))
                    .collect();
                commands.push(format!("set {table} {row} {}", columns.join(" ")));
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
