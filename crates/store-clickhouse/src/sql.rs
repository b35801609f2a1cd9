//! Plans, fields and groups in ClickHouse's SQL.

use std::fmt::Write;

use netverdict_query::ask::{Ask, Cursor, Groups, Measure};
use netverdict_query::{Check, Field, Glob, GlobPart, Kind, Plan, Test};
use netverdict_store::{COLUMNS, Place, Type, index, ip_ranges, place};
use netverdict_types::Timestamp;

use crate::ddl::{GRAINS, Grain, SUMS};

/// A text, quoted so that it stands for itself whatever is in it.
pub(crate) fn literal(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// A name of a database or a cluster, quoted.
pub(crate) fn name(text: &str) -> String {
    let mut quoted = String::from("`");
    for c in text.chars() {
        if matches!(c, '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('`');
    quoted
}

/// All columns, one after the other.
pub(crate) fn columns() -> String {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    names.join(", ")
}

/// What a row must be to be asked for: its time, and the filter.
pub(crate) fn condition(ask: &Ask) -> String {
    let mut sql = plan(&ask.filter.by_halves());
    if ask.since != Timestamp::MIN {
        _ = write!(sql, " AND end >= {}", ask.since.0);
    }
    if ask.until != Timestamp::MAX {
        _ = write!(sql, " AND start < {}", ask.until.0);
    }
    sql
}

/// The ids of connections with later updates that are, once folded, within the time asked for, and
/// may be what is asked for.
pub(crate) fn updated(ask: &Ask) -> String {
    let all = "SELECT id FROM updates";
    let possible = possible(&ask.filter.by_halves(), false);
    let mut having: Vec<_> = (possible != "true")
        .then_some(possible)
        .into_iter()
        .collect();
    if ask.since != Timestamp::MIN {
        having.push(format!("max(until) >= {}", ask.since.0));
    }
    if ask.until != Timestamp::MAX {
        having.push(format!("min(since) < {}", ask.until.0));
    }
    if having.is_empty() {
        return all.to_owned();
    }
    let rows = format!("SELECT {}, start AS since, end AS until FROM", columns());
    format!(
        "SELECT id FROM ({rows} connections WHERE id IN ({all}) UNION ALL {rows} updates) \
         GROUP BY id HAVING {}",
        having.join(" AND ")
    )
}

/// What must be true of the updates of a connection if the plan, or what it excludes, holds for all
/// of them folded. Most values of a connection are those of one of its updates: then one of them
/// has it. Sums are not, nor are flags.
fn possible(it: &Plan, is_excluded: bool) -> String {
    let joined = |children: &[Plan], is_all: bool| {
        let (with, none) = if is_all {
            (" AND ", "true")
        } else {
            (" OR ", "false")
        };
        let all: Vec<_> = children
            .iter()
            .map(|child| possible(child, is_excluded))
            .filter(|child| child != none)
            .collect();
        let beyond = if is_all { "false" } else { "true" };
        match &all[..] {
            [] => none.to_owned(),
            all if all.iter().any(|child| child == beyond) => beyond.to_owned(),
            [only] => only.clone(),
            all => format!("({})", all.join(with)),
        }
    };
    match it {
        Plan::And(children) => joined(children, !is_excluded),
        Plan::Or(children) => joined(children, is_excluded),
        Plan::Not(child) => possible(child, !is_excluded),
        Plan::Half(child) => possible(child, is_excluded),
        Plan::Test(it) if is_of_one_update(it.field) => match (test(it), is_excluded) {
            (Some(sql), false) => format!("countIf(coalesce({sql}, false)) > 0"),
            (Some(sql), true) => format!("countIf(NOT coalesce({sql}, false)) > 0"),
            (None, _) => is_excluded.to_string(),
        },
        Plan::Test(_) => "true".to_owned(),
    }
}

/// True where a connection has the field's value of one of its updates.
fn is_of_one_update(field: Field) -> bool {
    match place(field) {
        Place::Column(column) | Place::Where { column, .. } => {
            let name = COLUMNS[column].name;
            !SUMS.contains(&name) && !["tcp_flags", "probability"].contains(&name)
        }
        Place::Nowhere => true,
        Place::Difference(..) | Place::Either { .. } => false,
    }
}

/// What a row behind a cursor is.
pub(crate) fn behind(after: Option<Cursor>) -> String {
    let Some(Cursor { end, id }) = after else {
        return String::new();
    };
    let end = end.0;
    format!(" AND end <= {end} AND (end < {end} OR id < {})", fixed(id))
}

fn fixed(id: u128) -> String {
    format!("toFixedString(unhex('{id:032x}'), 16)")
}

/// A plan without fields that name no half.
pub(crate) fn plan(it: &Plan) -> String {
    let joined = |children: &[Plan], with: &str, none: &str| match children {
        [] => none.to_owned(),
        children => {
            let all: Vec<_> = children.iter().map(plan).collect();
            format!("({})", all.join(with))
        }
    };
    match it {
        Plan::And(children) => joined(children, " AND ", "true"),
        Plan::Or(children) => joined(children, " OR ", "false"),
        Plan::Not(child) => format!("NOT {}", plan(child)),
        Plan::Half(child) => plan(child),
        Plan::Test(it) => match test(it) {
            Some(sql) => format!("coalesce({sql}, false)"),
            None => "false".to_owned(),
        },
    }
}

fn test(it: &Test) -> Option<String> {
    let (expr, kind) = value(it.field, None)?;
    let is_flags = it.field.kind() == Kind::TcpFlags;
    let is_text = matches!(kind, Type::Word | Type::Text);
    let is_number = matches!(kind, Type::Number | Type::Time) && !is_flags;
    Some(match (&it.check, kind) {
        (Check::Text(text), _) if is_text => format!("{expr} = {}", literal(text)),
        (Check::Glob(glob), _) if is_text => like(&expr, glob),
        (Check::Glob(glob), Type::Uuid) => like(&format!("toString({expr})"), glob),
        (Check::Glob(glob), Type::Id) => like(&format!("UUIDNumToString({expr})"), glob),
        (Check::Between { min, max }, _) if is_number => {
            format!("({expr} >= {min} AND {expr} <= {max})")
        }
        (Check::Flags(mask), _) if is_flags => format!("bitAnd({expr}, {mask}) = {mask}"),
        (Check::Network(block), Type::Ip) => {
            let ranges = ip_ranges(*block);
            let ranges = ranges.iter().map(|range| {
                let [first, last] = [range.start(), range.end()]
                    .map(|ip| format!("toIPv6('{}')", std::net::Ipv6Addr::from_bits(*ip)));
                format!("({expr} >= {first} AND {expr} <= {last})")
            });
            let ranges: Vec<_> = ranges.collect();
            match &ranges[..] {
                [] => return None,
                ranges => format!("({})", ranges.join(" OR ")),
            }
        }
        (Check::Bool(truth), Type::Bool) => format!("{expr} = {truth}"),
        (Check::Uuid(uuid), Type::Uuid) => format!("{expr} = toUUID('{uuid}')"),
        (Check::Uuid(uuid), Type::Id) => format!("{expr} = {}", fixed(uuid.as_u128())),
        _ => return None,
    })
}

fn like(expr: &str, glob: &Glob) -> String {
    if let Some(text) = glob.as_text() {
        return format!("{expr} = {}", literal(text));
    }
    let mut pattern = String::new();
    for part in glob.parts() {
        match part {
            GlobPart::Many => pattern.push('%'),
            GlobPart::One => pattern.push('_'),
            GlobPart::Text(text) => {
                for c in text.chars() {
                    if matches!(c, '%' | '_' | '\\') {
                        pattern.push('\\');
                    }
                    pattern.push(c);
                }
            }
        }
    }
    format!("{expr} LIKE {}", literal(&pattern))
}

/// The expression of a field, and the type of its values; `half` tells the half of fields that
/// name none, 0 for egress.
pub(crate) fn value(field: Field, half: Option<&str>) -> Option<(String, Type)> {
    let name = |column: usize| COLUMNS[column].name;
    Some(match place(field) {
        Place::Nowhere => return None,
        Place::Column(column) => (name(column).to_owned(), COLUMNS[column].kind),
        Place::Where { column, other, is } => (
            format!(
                "if({} = {}, {}, NULL)",
                name(other),
                literal(is),
                name(column)
            ),
            COLUMNS[column].kind,
        ),
        Place::Difference(one, two) => (format!("({} - {})", name(one), name(two)), Type::Number),
        Place::Either { egress, ingress } => {
            let (egress_name, ingress_name) = (name(egress), name(ingress));
            (
                format!("if({} = 0, {egress_name}, {ingress_name})", half?),
                COLUMNS[egress].kind,
            )
        }
    })
}

/// The type in which values come back; each may be missing.
pub(crate) fn answer_type(kind: Type) -> &'static str {
    match kind {
        Type::Word | Type::Text => "Nullable(String)",
        Type::Number | Type::Time => "Nullable(Int64)",
        Type::Ip => "Nullable(IPv6)",
        Type::Bool => "Nullable(Bool)",
        Type::Uuid => "Nullable(UUID)",
        Type::Id => "Nullable(FixedString(16))",
    }
}

/// A question for groups, and how its answer is read.
pub(crate) struct GroupsSql {
    pub(crate) sql: String,
    /// The types of the values that make a group.
    pub(crate) keys: Vec<Type>,
    pub(crate) measures: Vec<MeasureKind>,
}

/// How a measure comes back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MeasureKind {
    /// A number that may be missing.
    Number,
    /// All pairs of different values.
    Pairs(Type, Type),
}

/// What groups are made of.
pub(crate) struct Source {
    /// A table, or a subquery.
    pub(crate) from: String,
    pub(crate) condition: String,
    /// The number of connections of a group.
    pub(crate) count: &'static str,
}

impl Source {
    /// Rows: all that match and are of connections that `others` tells.
    pub(crate) fn rows(ask: &Ask, others: &str) -> Self {
        Self {
            from: "connections".to_owned(),
            condition: condition(ask) + others,
            count: "count()",
        }
    }

    /// Roll-ups, and rows before the first whole bucket and behind the last; `None` where they
    /// cannot tell. Connections with later updates are taken off again.
    pub(crate) fn rollup(ask: &Ask, groups: &Groups, others: &str) -> Option<Self> {
        let has = |grain: &Grain, field: Field| {
            let dimensions = grain.dimensions();
            let is_one = |column: usize| dimensions.contains(&COLUMNS[column].name);
            match place(field) {
                Place::Nowhere => true,
                Place::Column(column) => is_one(column),
                Place::Where { column, other, .. } => is_one(column) && is_one(other),
                Place::Either { egress, ingress } => is_one(egress) && is_one(ingress),
                Place::Difference(..) => false,
            }
        };
        let adds_up = |measure: &Measure| match measure {
            Measure::Count => true,
            Measure::Sum(field) => match place(*field) {
                Place::Column(column) => SUMS.contains(&COLUMNS[column].name),
                _ => false,
            },
            _ => false,
        };
        let filter = ask.filter.by_halves();
        if !groups.measures.iter().all(adds_up) {
            return None;
        }
        let knows = |grain: &&Grain| {
            groups.every.is_none_or(|every| every % grain.length == 0)
                && groups.by.iter().all(|field| has(grain, *field))
                && tests(&filter).iter().all(|test| has(grain, test.field))
        };
        let (since, until) = (ask.since, ask.until);
        let bounds = |length: i64| {
            let first = (since != Timestamp::MIN)
                .then(|| since.0.checked_add(length - 1))
                .map(|it| it.map(|it| it.div_euclid(length) * length));
            let last = (until != Timestamp::MAX).then(|| until.0.div_euclid(length) * length);
            match (first, last) {
                (Some(None), _) => None,
                (Some(Some(first)), Some(last)) if first >= last => None,
                (first, last) => Some((first.flatten(), last)),
            }
        };
        let (grain, (first, last)) = GRAINS
            .iter()
            .filter(knows)
            .find_map(|grain| Some((grain, bounds(grain.length)?)))?;
        let within = |time: &str| {
            let after = first.map(|first| format!(" AND {time} >= {first}"));
            let before = last.map(|last| format!(" AND {time} < {last}"));
            format!(
                "true{}{}",
                after.unwrap_or_default(),
                before.unwrap_or_default()
            )
        };
        let filter = plan(&filter);
        let dimensions = grain.dimensions().join(", ");
        let sums = |sign: &str| {
            let all = SUMS.map(|sum| format!("{sign}toInt128({sum}) AS {sum}"));
            all.join(", ")
        };
        let mut parts = vec![format!(
            "SELECT {dimensions}, bucket AS end, seen, {} FROM {} WHERE {filter} AND {}",
            SUMS.join(", "),
            grain.table,
            within("bucket")
        )];
        if first.is_some() || last.is_some() {
            parts.push(format!(
                "SELECT {dimensions}, end, toInt64(1) AS seen, {} FROM connections WHERE \
                 {} AND NOT ({}){others}",
                sums(""),
                condition(ask),
                within("end")
            ));
        }
        if !others.is_empty() {
            parts.push(format!(
                "SELECT {dimensions}, end, toInt64(-1) AS seen, {} FROM connections WHERE \
                 {filter} AND {} AND NOT (true{others})",
                sums("-"),
                within("end")
            ));
        }
        Some(Self {
            from: format!("({})", parts.join(" UNION ALL ")),
            condition: "true".to_owned(),
            count: "sum(seen)",
        })
    }
}

fn tests(plan: &Plan) -> Vec<&Test> {
    match plan {
        Plan::And(children) | Plan::Or(children) => children.iter().flat_map(tests).collect(),
        Plan::Not(child) | Plan::Half(child) => tests(child),
        Plan::Test(test) => vec![test],
    }
}

/// The groups of a source. With `pairs`, measures of different values tell the values, to add
/// others.
pub(crate) fn groups(groups: &Groups, source: &Source, pairs: bool) -> GroupsSql {
    let Source {
        from,
        condition,
        count,
    } = source;
    let mut inner = Vec::new();
    let mut outer = Vec::new();
    let mut by = Vec::new();
    if let Some(length) = groups.every {
        inner.push(format!("{} AS bucket", bucket("end", length)));
        outer.push("toInt64(bucket)".to_owned());
        by.push("bucket".to_owned());
    }
    let mut keys = Vec::new();
    for (place, field) in groups.by.iter().enumerate() {
        let (expr, kind) =
            value(*field, Some("half")).unwrap_or_else(|| ("NULL".to_owned(), Type::Text));
        let wanted = answer_type(kind);
        inner.push(match expr.as_str() {
            "NULL" => format!("CAST(NULL AS {wanted}) AS k{place}"),
            _ => format!("{expr} AS k{place}"),
        });
        outer.push(format!("CAST(k{place} AS {wanted})"));
        by.push(format!("k{place}"));
        keys.push(kind);
    }
    let mut measures = Vec::new();
    for (place, it) in groups.measures.iter().enumerate() {
        let (expr, kind) = measure(*it, count, pairs);
        inner.push(format!("{expr} AS m{place}"));
        outer.push(match kind {
            MeasureKind::Number => format!("CAST(m{place} AS Nullable(Int64))"),
            MeasureKind::Pairs(..) => format!("m{place}"),
        });
        measures.push(kind);
    }
    // A column at least, and no line where there are no rows.
    inner.push(format!("{count} AS rows"));
    outer.push("toInt64(rows)".to_owned());
    let from = match groups.has_halves() {
        false => format!("{from} WHERE {condition}"),
        true => format!(
            "(SELECT *, arrayJoin({}) AS half FROM {from} WHERE {condition})",
            halves(&groups.by)
        ),
    };
    let by = match &by[..] {
        [] => String::new(),
        by => format!(" GROUP BY {}", by.join(", ")),
    };
    let sql = format!(
        "SELECT {} FROM (SELECT {} FROM {from}{by} HAVING rows > 0)",
        outer.join(", "),
        inner.join(", ")
    );
    GroupsSql {
        sql,
        keys,
        measures,
    }
}

/// The start of the bucket of a time, rounded down also before 1970.
pub(crate) fn bucket(time: &str, length: i64) -> String {
    format!("{time} - toInt64(positiveModulo({time}, {length}))")
}

/// The halves for which a connection counts: 0 and 1, one of them where both are the same group,
/// 0 where it has none.
fn halves(by: &[Field]) -> String {
    let mut same = String::from("true");
    for field in by {
        if let Place::Either { egress, ingress } = place(*field) {
            let (one, two) = (COLUMNS[egress].name, COLUMNS[ingress].name);
            _ = write!(
                same,
                " AND ifNull({one} = {two}, {one} IS NULL AND {two} IS NULL)"
            );
        }
    }
    let there = |name: &str| match index(name) {
        Some(_) => format!("{name} IS NOT NULL"),
        None => "false".to_owned(),
    };
    let (egress, ingress) = (there("egress_verdict"), there("ingress_verdict"));
    format!(
        "multiIf({egress} AND {ingress} AND NOT ({same}), [0, 1], {ingress} AND NOT {egress}, [1], [0])"
    )
}

fn measure(it: Measure, count: &str, pairs: bool) -> (String, MeasureKind) {
    let expr = |field| value(field, None);
    let missing = || "CAST(NULL AS Nullable(Int64))".to_owned();
    let number = |sql: String| (sql, MeasureKind::Number);
    match it {
        Measure::Count => number(count.to_owned()),
        Measure::Sum(field) => number(expr(field).map_or_else(missing, |(expr, _)| {
            let sum = format!("sumOrNull(toInt128({expr}))");
            let [least, greatest] = [i64::MIN, i64::MAX].map(|it| format!("toInt128({it})"));
            format!("multiIf({sum} > {greatest}, {greatest}, {sum} < {least}, {least}, {sum})")
        })),
        Measure::Min(field) => {
            number(expr(field).map_or_else(missing, |(expr, _)| format!("minOrNull({expr})")))
        }
        Measure::Max(field) => {
            number(expr(field).map_or_else(missing, |(expr, _)| format!("maxOrNull({expr})")))
        }
        Measure::Distinct(namespace, field) => {
            let Some((expr, kind)) = expr(field) else {
                return number("toInt64(0)".to_owned());
            };
            let (namespace, other) = namespace
                .and_then(|field| value(field, None))
                .unwrap_or_else(|| ("NULL".to_owned(), Type::Number));
            let one = format!("CAST({namespace} AS {})", answer_type(other));
            let two = format!("CAST({expr} AS {})", answer_type(kind));
            match pairs {
                true => (
                    format!("groupUniqArrayIf(({one}, {two}), isNotNull({expr}))"),
                    MeasureKind::Pairs(other, kind),
                ),
                false => number(format!("uniqExactIf(({one}, {two}), isNotNull({expr}))")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use netverdict_query::ask::Want;
    use netverdict_query::parse;

    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(literal("it's \\ \n"), r"'it\'s \\ \n'");
        assert_eq!(name("a`b"), r"`a\`b`");
    }

    #[test]
    fn plans_by_example() {
        for (query, sql) in [
            (
                "src.namespace=blue and dst.port in 1..2",
                "(coalesce((dst_port >= 1 AND dst_port <= 2), false) AND coalesce(src_namespace = 'blue', false))",
            ),
            (
                "egress.policy~100%*",
                r"coalesce(egress_owner_name LIKE '100\\%%', false)",
            ),
            (
                "not src.ip in 10.0.0.0/8",
                "NOT coalesce(((src_ip >= toIPv6('::ffff:10.0.0.0') AND src_ip <= toIPv6('::ffff:10.255.255.255'))), false)",
            ),
        ] {
            let found = plan(&parse(query).unwrap().plan(Timestamp(0)).by_halves());
            assert_eq!(found, sql, "{query}");
        }
    }

    #[test]
    fn what_updates_must_have_by_example() {
        for (query, expected) in [
            ("", "true"),
            (
                "verdict=dropped and bytes>1000",
                "countIf(coalesce(verdict = 'dropped', false)) > 0",
            ),
            ("verdict=dropped or bytes>1000", "true"),
            (
                "not (verdict=dropped or tcp_flags=syn)",
                "countIf(NOT coalesce(verdict = 'dropped', false)) > 0",
            ),
            ("not duration>1s", "true"),
        ] {
            let plan = netverdict_query::parse(query).unwrap().plan(Timestamp(0));
            let found = possible(&plan.by_halves(), false);
            assert_eq!(found, expected, "{query}");
        }
    }

    #[test]
    fn rollups_tell_what_they_can() {
        const HOUR: i64 = 3_600_000_000_000;
        let ask = |since, until, query: &str| Ask {
            since: Timestamp(since),
            until: Timestamp(until),
            filter: parse(query).unwrap().plan(Timestamp(0)),
            want: Want::Rows {
                limit: 0,
                after: None,
            },
        };
        let groups = |by: Field, every, measure| Groups {
            by: vec![by],
            every,
            measures: vec![measure],
            order: None,
            top: 10,
        };
        let bytes = || Measure::Sum(Field::Bytes);
        let of = |ask: Ask, groups: Groups| {
            let source = Source::rollup(&ask, &groups, "")?;
            let table = GRAINS
                .iter()
                .find(|grain| source.from.contains(&format!("FROM {} ", grain.table)))?;
            Some((table.table, source.from.matches("SELECT").count()))
        };
        let dropped = "verdict=dropped";
        for (ask, groups, expected) in [
            // Whole hours, hours with rows at both ends, minutes with rows, rows alone.
            (
                ask(i64::MIN, i64::MAX, dropped),
                groups(Field::OwnerName, None, bytes()),
                Some(("hours", 1)),
            ),
            (
                ask(1, 5 * HOUR, dropped),
                groups(Field::SrcPod, None, Measure::Count),
                Some(("workloads", 2)),
            ),
            (
                ask(HOUR / 2, HOUR, dropped),
                groups(Field::Verdict, None, bytes()),
                Some(("minutes", 2)),
            ),
            (
                ask(HOUR / 2, HOUR, dropped),
                groups(Field::DstPod, None, bytes()),
                Some(("workload_minutes", 2)),
            ),
            (
                ask(1, HOUR / 90, dropped),
                groups(Field::Verdict, None, bytes()),
                None,
            ),
            // By time.
            (
                ask(0, HOUR, ""),
                groups(Field::Verdict, Some(HOUR / 60), bytes()),
                Some(("minutes", 2)),
            ),
            (
                ask(0, HOUR, ""),
                groups(Field::Verdict, Some(HOUR / 7), bytes()),
                None,
            ),
            // What they do not know.
            (
                ask(0, HOUR, "dst.port=53"),
                groups(Field::Verdict, None, bytes()),
                None,
            ),
            (
                ask(0, HOUR, ""),
                groups(Field::DstPort, None, bytes()),
                None,
            ),
            (
                ask(0, HOUR, ""),
                groups(Field::Verdict, None, Measure::Max(Field::Bytes)),
                None,
            ),
        ] {
            let text = format!("{ask:?} {groups:?}");
            assert_eq!(of(ask, groups), expected, "{text}");
        }
    }
}
