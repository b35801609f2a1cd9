//! Rows for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use netverdict_control::subject;
use netverdict_ovn::ids::key;
use netverdict_ovsdb::{Atom, Datum};
use netverdict_policy::{Names, Row, Table};

use crate::output::print_columns;

/// Prints the rows of a zone: first what policies do, then what they stand on.
///
/// # Errors
/// If the output cannot be written.
pub(super) fn print(
    out: &mut impl Write,
    zone: &str,
    rows: &[&Row],
    names: &Names,
    colour: bool,
) -> io::Result<()> {
    writeln!(out, "{}Zone {zone}{}", on(colour, BOLD), off(colour))?;
    let of = |table| rows.iter().copied().filter(move |row| row.table == table);

    let mut policies: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in of(Table::Acl) {
        policies.entry(policy(row)).or_default().push(row);
    }
    for (policy, mut acls) in policies {
        acls.sort_by_key(|row| (rule_order(row), row.key.clone()));
        writeln!(out, "\n{}{policy}{}", on(colour, BOLD), off(colour))?;
        let heading = [
            "RULE",
            "ACL",
            "TIER",
            "PRIORITY",
            "DIRECTION",
            "ACTION",
            "POINT",
            "FROM",
            "MATCH",
        ];
        let mut lines = vec![heading.map(str::to_owned)];
        lines.extend(acls.iter().map(|row| acl(row, names)));
        let mut table = Vec::new();
        print_columns(&mut table, &lines)?;
        let table = String::from_utf8_lossy(&table);
        for (line, [.., action, _, _, _]) in table.lines().zip(&lines) {
            writeln!(out, "  {}", coloured(line, action, colour))?;
        }
    }

    let mut lines = vec![["PORT GROUP", "PORTS", "ACLS", "OF"].map(str::to_owned)];
    lines.extend(of(Table::PortGroup).map(|row| {
        let columns = row.columns_in(zone);
        let count = |name: &str| {
            let column = columns.iter().find(|(column, _)| *column == name);
            column
                .map_or(0, |(_, value)| value.atoms().len())
                .to_string()
        };
        [
            row.key.to_string(),
            count("ports"),
            count("acls"),
            policy(row),
        ]
    }));
    print_section(out, &lines)?;

    let mut lines = vec![["ADDRESS SET", "ADDRESSES", "", "OF"].map(str::to_owned)];
    lines.extend(of(Table::AddressSet).map(|row| {
        let addresses = column(row, "addresses").map_or(&[][..], Datum::atoms);
        [
            row.key.to_string(),
            addresses.len().to_string(),
            some_of(addresses.iter().map(Atom::to_string)),
            address_set_of(row),
        ]
    }));
    print_section(out, &lines)?;

    let mut lines = vec![["LOAD BALANCER", "", "OF"].map(str::to_owned)];
    lines.extend(of(Table::LoadBalancer).map(|row| {
        let vips = column(row, "vips").map_or(&[][..], Datum::pairs);
        let vips = vips.iter().map(|(vip, backends)| match backends.as_str() {
            Some("") | None => format!("{vip} -> nobody"),
            Some(backends) => format!("{vip} -> {backends}"),
        });
        [row.key.to_string(), some_of(vips), policy(row)]
    }));
    print_section(out, &lines)?;

    let others = Table::ALL.into_iter().filter(|table| {
        !matches!(
            table,
            Table::Acl | Table::PortGroup | Table::AddressSet | Table::LoadBalancer
        )
    });
    let mut lines = vec![["TABLE", "ROWS", ""].map(str::to_owned)];
    lines.extend(others.filter_map(|table| {
        let keys: Vec<String> = of(table).map(|row| row.key.to_string()).collect();
        let count = keys.len();
        (count > 0).then(|| {
            [
                table.as_str().to_owned(),
                count.to_string(),
                some_of(keys.into_iter()),
            ]
        })
    }));
    print_section(out, &lines)
}

fn print_section<const N: usize>(out: &mut impl Write, lines: &[[String; N]]) -> io::Result<()> {
    if lines.len() < 2 {
        return Ok(());
    }
    writeln!(out)?;
    print_columns(out, lines)
}

fn acl(row: &Row, names: &Names) -> [String; 9] {
    let text = |name: &str| {
        let value = column(row, name).and_then(Datum::scalar);
        value.map(Atom::to_string).unwrap_or_default()
    };
    let first = row.origins.first();
    let after_lb = column(row, "options").and_then(|options| options.lookup("apply-after-lb"));
    let point = column(row, "sample_new").and_then(|sample| sample.scalar()?.as_uuid());
    [
        first
            .and_then(|origin| origin.rule.as_deref())
            .unwrap_or("-")
            .to_owned(),
        short_id(row),
        column(row, "tier").map_or("0".to_owned(), |_| text("tier")),
        text("priority"),
        match after_lb {
            Some(_) => format!("{}-after-lb", text("direction")),
            None => text("direction"),
        },
        text("action"),
        point
            .and_then(|point| names.row(point))
            .unwrap_or("-")
            .to_owned(),
        place(row, names),
        text("match"),
    ]
}

/// File, line and column of the first place that the row comes from, and how many more there are.
fn place(row: &Row, names: &Names) -> String {
    let mut places = row.origins.iter().filter_map(|origin| {
        let file = names.file(origin.span.file)?;
        Some(format!(
            "{file}:{}:{}",
            origin.span.line, origin.span.column
        ))
    });
    let Some(first) = places.next() else {
        return "-".to_owned();
    };
    match places.count() {
        0 => first,
        more => format!("{first} +{more}"),
    }
}

/// The primary id without what all ACLs of a policy have in common.
fn short_id(row: &Row) -> String {
    let ids = column(row, "external_ids");
    let id = |name| ids.and_then(|ids| ids.lookup(name)).unwrap_or_default();
    let parts = [key::OWNER_CONTROLLER, key::OWNER_TYPE, key::NAME];
    parts
        .into_iter()
        .fold(&*row.key, |rest, part| {
            let rest = rest.strip_prefix(id(part)).unwrap_or(rest);
            rest.strip_prefix(':').unwrap_or(rest)
        })
        .to_owned()
}

fn policy(row: &Row) -> String {
    subject(row.table, column(row, "external_ids"))
}

/// In numbers, so that rule 10 comes behind rule 9.
fn rule_order(row: &Row) -> (String, usize) {
    let rule = row
        .origins
        .first()
        .and_then(|origin| origin.rule.as_deref());
    let rule = rule.unwrap_or_default();
    let (list, index) = rule.split_once('[').unwrap_or((rule, ""));
    let index = index.split(']').next().and_then(|index| index.parse().ok());
    (list.to_owned(), index.unwrap_or_default())
}

/// The selector that an address set stands for, else its policy.
fn address_set_of(row: &Row) -> String {
    let ids = column(row, "external_ids");
    match ids.and_then(|ids| Some((ids.lookup(key::OWNER_TYPE)?, ids.lookup(key::NAME)?))) {
        Some(("PodSelector", selector)) => selector.to_owned(),
        _ => policy(row),
    }
}

fn column<'r>(row: &'r Row, name: &str) -> Option<&'r Datum> {
    let found = row.columns.iter().find(|(column, _)| *column == name);
    found.map(|(_, value)| value)
}

/// How many of a list are shown.
const SHOWN: usize = 3;

fn some_of(mut items: impl Iterator<Item = String>) -> String {
    let shown: Vec<String> = items.by_ref().take(SHOWN).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

const BOLD: &str = "\x1b[1m";

fn on(colour: bool, code: &'static str) -> &'static str {
    if colour { code } else { "" }
}

fn off(colour: bool) -> &'static str {
    if colour { "\x1b[0m" } else { "" }
}

/// The line of an ACL with the action in its colour.
fn coloured(line: &str, action: &str, colour: bool) -> String {
    let code = match action {
        "drop" | "reject" => "\x1b[31m",
        "pass" => "\x1b[36m",
        "allow" | "allow-related" | "allow-stateless" => "\x1b[32m",
        _ => return line.to_owned(),
    };
    let shown = format!(" {}{action}{} ", on(colour, code), off(colour));
    line.replacen(&format!(" {action} "), &shown, 1)
}
