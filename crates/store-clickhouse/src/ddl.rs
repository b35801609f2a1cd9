//! The tables, for one machine and for many, and how older ones become those of today.

use std::time::Duration;

use netverdict_store::{COLUMNS, Column, Type};

use crate::Layout;
use crate::binary::is_there;
use crate::sql::{bucket, literal, name};

/// The newest version of the tables.
pub(crate) const NEWEST: u64 = MIGRATIONS.len() as u64;

/// What makes tables of one version those of the next. A migration that was released stays as it
/// is, and can be done twice.
pub(crate) const MIGRATIONS: &[fn(&Tables<'_>) -> Vec<String>] = &[first, indices];

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// What the tables are made for.
pub(crate) struct Tables<'a> {
    pub(crate) database: &'a str,
    pub(crate) layout: &'a Layout,
}

impl Tables<'_> {
    /// ` ON CLUSTER …` where there is one.
    pub(crate) fn everywhere(&self) -> String {
        match self.layout {
            Layout::Single => String::new(),
            Layout::Replicated { cluster } | Layout::Sharded { cluster } => {
                format!(" ON CLUSTER {}", name(cluster))
            }
        }
    }

    /// The table that holds the rows.
    pub(crate) fn local(&self, table: &str) -> String {
        match self.layout {
            Layout::Sharded { .. } => format!("{table}_local"),
            _ => table.to_owned(),
        }
    }

    /// A table of its own, and with shards the one above all of them. Rows of one `shard` lie
    /// together.
    fn table(
        &self,
        table: &str,
        columns: &str,
        engine: &str,
        rest: &str,
        shard: &str,
    ) -> Vec<String> {
        let (everywhere, local) = (self.everywhere(), self.local(table));
        let (family, arguments) = engine.split_once('(').unwrap_or((engine, ")"));
        let engine = match self.layout {
            Layout::Single => format!("{family}({arguments}"),
            _ => {
                let path = literal(&format!("/netverdict/{{shard}}/{}/{local}", self.database));
                let comma = if arguments == ")" { "" } else { ", " };
                format!("Replicated{family}({path}, '{{replica}}'{comma}{arguments}")
            }
        };
        let mut all = vec![format!(
            "CREATE TABLE IF NOT EXISTS {local}{everywhere} ({columns}) ENGINE = {engine} {rest}"
        )];
        if let Layout::Sharded { cluster } = self.layout {
            all.push(format!(
                "CREATE TABLE IF NOT EXISTS {table}{everywhere} AS {local} \
                 ENGINE = Distributed({}, {}, {}, {shard})",
                literal(cluster),
                literal(self.database),
                literal(&local)
            ));
        }
        all
    }

    /// The table of versions; it is there before all others.
    pub(crate) fn versions(&self) -> Vec<String> {
        self.table(
            "migrations",
            "version UInt64, done DateTime DEFAULT now()",
            "ReplacingMergeTree",
            "ORDER BY version",
            "version",
        )
    }

    /// Lets rows go when they are so old.
    pub(crate) fn retention(&self, keep: Option<Duration>) -> Vec<String> {
        let everywhere = self.everywhere();
        let alter = |(table, time)| {
            let table = self.local(table);
            match keep {
                None => format!("ALTER TABLE {table}{everywhere} REMOVE TTL"),
                Some(keep) => format!(
                    "ALTER TABLE {table}{everywhere} MODIFY TTL \
                     toDateTime(least(greatest(intDiv({time}, 1000000000), 0), 4294967295)) + \
                     toIntervalSecond({})",
                    keep.as_secs()
                ),
            }
        };
        let rows = ["connections", "updates"].map(|table| (table, "end"));
        let rollups = GRAINS.map(|grain| (grain.table, "bucket"));
        rows.into_iter().chain(rollups).map(alter).collect()
    }
}

/// How many of the last inserts a table knows, to keep each once.
const WINDOW: &str = "non_replicated_deduplication_window = 10000";
const WINDOW_OF_REPLICAS: &str =
    "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800";

fn first(tables: &Tables<'_>) -> Vec<String> {
    let columns = columns();
    let window = match tables.layout {
        Layout::Single => WINDOW,
        _ => WINDOW_OF_REPLICAS,
    };
    let common = format!("SETTINGS allow_nullable_key = 1, ttl_only_drop_parts = 1, {window}");
    let mut all = tables.table(
        "connections",
        &columns,
        "MergeTree",
        &format!(
            "PARTITION BY intDiv(end, {DAY}) ORDER BY (intDiv(end, 60000000000), verdict, \
             dst_namespace, src_namespace, end, id) {common}"
        ),
        "cityHash64(id)",
    );
    all.extend(tables.table(
        "updates",
        &columns,
        "MergeTree",
        &format!("PARTITION BY intDiv(end, {DAY}) ORDER BY (id, seq) {common}"),
        "cityHash64(id)",
    ));
    all.extend(tables.table(
        "batches",
        "writer String, number UInt64",
        "ReplacingMergeTree(number)",
        "ORDER BY writer",
        "cityHash64(writer)",
    ));
    for grain in GRAINS {
        let Grain { table, length, .. } = grain;
        let dimensions = grain.dimensions().join(", ");
        all.extend(tables.table(
            table,
            &rollup_columns(&grain),
            &format!("SummingMergeTree((seen, {}))", SUMS.join(", ")),
            &format!(
                "PARTITION BY intDiv(bucket, {DAY}) PRIMARY KEY (bucket, verdict) ORDER BY \
                 (bucket, {dimensions}) {common}"
            ),
            "rand()",
        ));
        let sums = SUMS.map(|sum| format!("sum(toInt128({sum})) AS {sum}"));
        all.push(format!(
            "CREATE MATERIALIZED VIEW IF NOT EXISTS {table}_view{} TO {} AS SELECT {} AS bucket, \
             {dimensions}, toInt64(count()) AS seen, {} FROM {} GROUP BY bucket, {dimensions}",
            tables.everywhere(),
            tables.local(table),
            bucket("end", length),
            sums.join(", "),
            tables.local("connections"),
        ));
    }
    all
}

/// Sums of first updates over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grain {
    pub(crate) table: &'static str,
    /// Nanoseconds of a bucket.
    pub(crate) length: i64,
    /// True where sums are told apart by workloads too. There are many more of these.
    has_workloads: bool,
}

impl Grain {
    /// The columns that tell sums apart, besides time.
    pub(crate) fn dimensions(&self) -> Vec<&'static str> {
        let workloads: &[_] = if self.has_workloads { &WORKLOADS } else { &[] };
        RULINGS.iter().chain(workloads).copied().collect()
    }
}

/// The cheapest to ask first.
pub(crate) const GRAINS: [Grain; 4] = [
    Grain {
        table: "hours",
        length: 3_600_000_000_000,
        has_workloads: false,
    },
    Grain {
        table: "minutes",
        length: 60_000_000_000,
        has_workloads: false,
    },
    Grain {
        table: "workloads",
        length: 3_600_000_000_000,
        has_workloads: true,
    },
    Grain {
        table: "workload_minutes",
        length: 60_000_000_000,
        has_workloads: true,
    },
];

const RULINGS: [&str; 17] = [
    "verdict",
    "network",
    "protocol",
    "egress_verdict",
    "egress_action",
    "egress_direction",
    "egress_owner_kind",
    "egress_owner_namespace",
    "egress_owner_name",
    "egress_rule_index",
    "ingress_verdict",
    "ingress_action",
    "ingress_direction",
    "ingress_owner_kind",
    "ingress_owner_namespace",
    "ingress_owner_name",
    "ingress_rule_index",
];

const WORKLOADS: [&str; 6] = [
    "src_namespace",
    "src_name",
    "src_kind",
    "dst_namespace",
    "dst_name",
    "dst_kind",
];

/// What is added up, besides the number of rows, `seen`.
pub(crate) const SUMS: [&str; 6] = [
    "packets",
    "bytes",
    "reply_packets",
    "reply_bytes",
    "dropped_packets",
    "dropped_bytes",
];

fn rollup_columns(grain: &Grain) -> String {
    let dimensions = grain.dimensions();
    let wanted = |column: &&Column| dimensions.contains(&column.name);
    let dimensions = COLUMNS.iter().filter(wanted).map(definition);
    let sums = SUMS.map(|sum| format!("{sum} Int128 CODEC(ZSTD(1))"));
    let all: Vec<_> = ["bucket Int64 CODEC(Delta(8), ZSTD(1))".to_owned()]
        .into_iter()
        .chain(dimensions)
        .chain(["seen Int64 CODEC(T64, ZSTD(1))".to_owned()])
        .chain(sums)
        .collect();
    all.join(", ")
}

/// Granules without rows of an id, an address or a time are skipped.
fn indices(tables: &Tables<'_>) -> Vec<String> {
    let (everywhere, local) = (tables.everywhere(), tables.local("connections"));
    let add = |(column, kind): (&str, &str)| {
        format!(
            "ALTER TABLE {local}{everywhere} ADD INDEX IF NOT EXISTS {column}_index {column} \
             TYPE {kind} GRANULARITY 1"
        )
    };
    [
        ("start", "minmax"),
        ("id", "minmax"),
        ("src_ip", "bloom_filter"),
        ("dst_ip", "bloom_filter"),
        ("egress_owner_name", "set(100)"),
        ("ingress_owner_name", "set(100)"),
    ]
    .map(add)
    .to_vec()
}

/// Adds columns that tables of an earlier version of the program lack.
pub(crate) fn added(tables: &Tables<'_>, known: &[String]) -> Vec<String> {
    let everywhere = tables.everywhere();
    let missing = COLUMNS
        .iter()
        .filter(|column| !known.iter().any(|known| known == column.name));
    let mut all = Vec::new();
    for column in missing {
        for table in ["connections", "updates"] {
            let mut names = vec![tables.local(table)];
            if names[0] != table {
                names.push(table.to_owned());
            }
            all.extend(names.iter().map(|table| {
                format!(
                    "ALTER TABLE {table}{everywhere} ADD COLUMN IF NOT EXISTS {}",
                    definition(column)
                )
            }));
        }
    }
    all
}

fn columns() -> String {
    let all: Vec<_> = COLUMNS.iter().map(definition).collect();
    all.join(", ")
}

fn definition(column: &Column) -> String {
    let (kind, codec) = match column.kind {
        Type::Word => ("String", ""),
        Type::Text => ("String", " CODEC(ZSTD(3))"),
        Type::Number => ("Int64", " CODEC(T64, ZSTD(1))"),
        Type::Time => ("Int64", " CODEC(Delta(8), ZSTD(1))"),
        Type::Ip => ("IPv6", " CODEC(ZSTD(1))"),
        Type::Bool => ("Bool", ""),
        Type::Uuid => ("UUID", " CODEC(ZSTD(1))"),
        Type::Id => ("FixedString(16)", ""),
    };
    let kind = match is_there(column) {
        true => kind.to_owned(),
        false => format!("Nullable({kind})"),
    };
    let kind = match column.kind {
        Type::Word => format!("LowCardinality({kind})"),
        _ => kind,
    };
    format!("{} {kind}{codec}", column.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(layout: Layout) -> String {
        let tables = Tables {
            database: "netverdict",
            layout: &layout,
        };
        let mut all = tables.versions();
        for migration in MIGRATIONS {
            all.extend(migration(&tables));
        }
        all.extend(tables.retention(Some(Duration::from_secs(86_400))));
        all.join(";\n\n") + ";\n"
    }

    #[test]
    fn statements_of_one_machine() {
        insta::assert_snapshot!(all(Layout::Single));
    }

    #[test]
    fn statements_of_shards() {
        let cluster = "main".to_owned();
        insta::assert_snapshot!(all(Layout::Sharded { cluster }));
    }

    #[test]
    fn replicas_have_the_tables_of_one_machine() {
        let cluster = "main".to_owned();
        let replicated = all(Layout::Replicated { cluster });
        assert!(!replicated.contains("Distributed") && !replicated.contains("_local"));
        let engines = replicated.matches("ENGINE = Replicated").count();
        assert_eq!(engines, replicated.matches("ENGINE = ").count());
        let everywhere = replicated.matches("ON CLUSTER `main`").count();
        assert_eq!(everywhere, all(Layout::Single).matches(';').count());
    }
}
