//! What the schema (ovn-nb.ovsschema) says of the tables that are applied.

use netverdict_ovsdb::{Datum, Wanted};
use netverdict_policy::Table;

/// The tables, those that are referred to before those that refer to them.
pub(super) const ORDER: [Table; 15] = [
    Table::SamplingApp,
    Table::SampleCollector,
    Table::Sample,
    Table::MeterBand,
    Table::Meter,
    Table::Acl,
    Table::AddressSet,
    Table::LoadBalancer,
    Table::LoadBalancerGroup,
    Table::LogicalSwitchPort,
    Table::LogicalRouterPort,
    Table::LogicalRouterStaticRoute,
    Table::PortGroup,
    Table::LogicalSwitch,
    Table::LogicalRouter,
];

/// A column that refers to rows.
pub(super) struct Reference {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// True if the row that is referred to cannot go before the reference does.
    pub(super) strong: bool,
}

/// All columns that refer to rows of these tables.
pub(super) const REFERENCES: [Reference; 18] = [
    strong("ACL", "sample_new"),
    strong("ACL", "sample_est"),
    weak("Load_Balancer_Group", "load_balancer"),
    weak("Logical_Router", "load_balancer"),
    strong("Logical_Router", "load_balancer_group"),
    strong("Logical_Router", "ports"),
    strong("Logical_Router", "static_routes"),
    strong("Logical_Switch", "acls"),
    weak("Logical_Switch", "load_balancer"),
    strong("Logical_Switch", "load_balancer_group"),
    strong("Logical_Switch", "ports"),
    strong("Meter", "bands"),
    strong("NAT", "allowed_ext_ips"),
    strong("NAT", "exempted_ext_ips"),
    weak("NAT", "gateway_port"),
    strong("Port_Group", "acls"),
    weak("Port_Group", "ports"),
    strong("Sample", "collectors"),
];

const fn strong(table: &'static str, column: &'static str) -> Reference {
    Reference {
        table,
        column,
        strong: true,
    }
}

const fn weak(table: &'static str, column: &'static str) -> Reference {
    Reference {
        table,
        column,
        strong: false,
    }
}

/// The columns that refer to rows of these tables.
pub(super) fn references(table: &str) -> impl Iterator<Item = &'static Reference> {
    REFERENCES
        .iter()
        .filter(move |reference| reference.table == table)
}

/// The columns that a row of ours has as it is wanted, and no other value. Those that OVN or an
/// administrator writes are not among them.
pub(super) fn columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Acl => &[
            "action",
            "direction",
            "external_ids",
            "log",
            "match",
            "meter",
            "name",
            "options",
            "priority",
            "sample_est",
            "sample_new",
            "severity",
            "tier",
        ],
        Table::AddressSet => &["addresses", "external_ids", "name"],
        Table::LoadBalancer => &[
            "external_ids",
            "name",
            "options",
            "protocol",
            "selection_fields",
            "vips",
        ],
        Table::LoadBalancerGroup => &["load_balancer", "name"],
        Table::LogicalRouter => &[
            "external_ids",
            "load_balancer",
            "load_balancer_group",
            "name",
            "options",
            "ports",
            "static_routes",
        ],
        Table::LogicalRouterPort => &["external_ids", "mac", "name", "networks", "options"],
        Table::LogicalRouterStaticRoute => &[
            "external_ids",
            "ip_prefix",
            "nexthop",
            "options",
            "output_port",
            "policy",
            "route_table",
        ],
        Table::LogicalSwitch => &[
            "acls",
            "external_ids",
            "load_balancer",
            "load_balancer_group",
            "name",
            "other_config",
            "ports",
        ],
        Table::LogicalSwitchPort => &[
            "addresses",
            "external_ids",
            "name",
            "options",
            "port_security",
            "tag_request",
            "type",
        ],
        Table::Meter => &["bands", "external_ids", "fair", "name", "unit"],
        Table::MeterBand => &["action", "burst_size", "external_ids", "rate"],
        Table::PortGroup => &["acls", "external_ids", "name", "ports"],
        Table::Sample => &["collectors", "metadata"],
        Table::SampleCollector => &["external_ids", "id", "name", "probability", "set_id"],
        Table::SamplingApp => &["external_ids", "id", "type"],
    }
}

/// Further columns, that come back with a row that was deleted.
pub(super) fn further_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::Acl => &["label"],
        Table::LoadBalancer => &["ip_port_mappings"],
        Table::LogicalRouter => &["copp", "enabled"],
        Table::LogicalRouterPort => &["enabled", "ipv6_prefix", "ipv6_ra_configs", "peer"],
        Table::LogicalRouterStaticRoute => &["bfd", "selection_fields"],
        Table::LogicalSwitch => &["copp", "dns_records"],
        Table::LogicalSwitchPort => &[
            "dhcpv4_options",
            "dhcpv6_options",
            "enabled",
            "mirror_rules",
            "parent_name",
            "peer",
        ],
        _ => &[],
    }
}

/// Further columns that hold rows of other tables, which would go with the row.
pub(super) fn holding_columns(table: Table) -> &'static [&'static str] {
    match table {
        Table::LoadBalancer => &["health_check"],
        Table::LogicalRouter => &["nat", "policies"],
        Table::LogicalRouterPort => &["dhcp_relay", "gateway_chassis", "ha_chassis_group"],
        Table::LogicalSwitch => &["forwarding_groups", "qos_rules"],
        Table::LogicalSwitchPort => &["ha_chassis_group"],
        _ => &[],
    }
}

/// The columns whose rows may be several makers': what is not ours stays in them.
pub(super) fn is_shared(table: Table, column: &str) -> bool {
    matches!(table, Table::LogicalRouter | Table::LogicalSwitch)
        && matches!(
            column,
            "acls" | "load_balancer" | "load_balancer_group" | "ports" | "static_routes"
        )
}

/// True if the server removes rows that no other row refers to.
pub(super) fn is_collected(table: Table) -> bool {
    matches!(
        table,
        Table::Acl
            | Table::LogicalRouterPort
            | Table::LogicalRouterStaticRoute
            | Table::LogicalSwitchPort
            | Table::MeterBand
            | Table::Sample
    )
}

/// True for the tables that say what policies do: another's row in the place of ours would
/// change that.
pub(super) fn is_policy(table: Table) -> bool {
    matches!(table, Table::Acl | Table::AddressSet | Table::PortGroup)
}

/// True if the table has `external_ids`, and so its rows a mark.
pub(super) fn is_marked(table: Table) -> bool {
    columns(table).contains(&"external_ids")
}

/// What a column holds that nobody has set.
pub(super) fn default_of(table: Table, column: &str) -> Datum {
    match (table, column) {
        (Table::Acl, "log") => false.into(),
        (Table::Acl, "tier") | (Table::MeterBand, "burst_size") => 0.into(),
        (_, "name") if table != Table::Acl => "".into(),
        (Table::LogicalSwitchPort, "type")
        | (Table::LogicalRouterPort, "mac")
        | (Table::LogicalRouterStaticRoute, "nexthop" | "route_table") => "".into(),
        _ => Datum::empty(),
    }
}

/// The tables and columns that [`apply`](super::apply) reads.
pub fn applied() -> Wanted {
    let wanted = Wanted::new().table("NB_Global", ["name"]).table(
        "NAT",
        ["allowed_ext_ips", "exempted_ext_ips", "gateway_port"],
    );
    Table::ALL.into_iter().fold(wanted, |wanted, table| {
        let all = [
            columns(table),
            further_columns(table),
            holding_columns(table),
        ];
        wanted.table(table.as_str(), all.into_iter().flatten().copied())
    })
}
