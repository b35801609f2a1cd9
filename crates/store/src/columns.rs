use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use netverdict_query::{Field, Network};
use netverdict_types::Direction;

use crate::schema::COLUMNS;

/// Where a field of the query language stands in the table of connections. Numbers are indices
/// into [`COLUMNS`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// Nowhere: connections lack it, every test of it is false.
    Nowhere,
    /// In one column.
    Column(usize),
    /// In one column, where another column has this text; else it is missing.
    Where {
        /// The column.
        column: usize,
        /// The other column, of type [`Type::Word`](crate::Type::Word).
        other: usize,
        /// What stands there.
        is: &'static str,
    },
    /// The difference of two columns that are never missing: the first less the second.
    Difference(usize, usize),
    /// It names no half ([`Field::either_half`]): in the column of the way out or in that of the
    /// way in. [`Plan::by_halves`](netverdict_query::Plan::by_halves) makes filters without such
    /// fields.
    Either {
        /// The column of the way out.
        egress: usize,
        /// The column of the way in.
        ingress: usize,
    },
}

/// Where a field stands.
pub fn place(field: Field) -> Place {
    match field {
        Field::Time => named("end"),
        Field::Duration => match (index("end"), index("start")) {
            (Some(end), Some(start)) => Place::Difference(end, start),
            _ => Place::Nowhere,
        },
        Field::SrcPod => pod("src_name", "src_kind"),
        Field::DstPod => pod("dst_name", "dst_kind"),
        _ => match (
            index(&column_name(field.at(Direction::Egress))),
            index(&column_name(field.at(Direction::Ingress))),
        ) {
            (Some(egress), Some(ingress)) if egress != ingress => Place::Either { egress, ingress },
            (Some(column), _) => Place::Column(column),
            _ => Place::Nowhere,
        },
    }
}

/// The index of a column in [`COLUMNS`].
pub fn index(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.name == name)
}

/// The 16 bytes of an address in a column of type [`Type::Ip`](crate::Type::Ip).
pub fn ip_to_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address that 16 bytes of a column of type [`Type::Ip`](crate::Type::Ip) stand for.
pub fn ip_from_bytes(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// The bytes of a column of type [`Type::Ip`](crate::Type::Ip), as big-endian numbers, that are in a block: one
/// range, two or none, as an IPv4 address is in no IPv6 block.
pub fn ip_ranges(block: Network) -> Vec<RangeInclusive<u128>> {
    let number = |ip| u128::from_be_bytes(ip_to_bytes(ip));
    let first = number(block.address());
    let host = match block.address() {
        IpAddr::V4(_) => 32 - u32::from(block.prefix()),
        IpAddr::V6(_) => 128 - u32::from(block.prefix()),
    };
    let last = first | u128::MAX.checked_shr(128 - host).unwrap_or(0);
    if block.address().is_ipv4() {
        return vec![first..=last];
    }
    let below = first..=last.min(MAPPED.start() - 1);
    let above = first.max(MAPPED.end() + 1)..=last;
    let ranges = [below, above].into_iter();
    ranges.filter(|range| !range.is_empty()).collect()
}

/// IPv4 addresses mapped into IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED: RangeInclusive<u128> = 0xffff_0000_0000..=0xffff_ffff_ffff;

fn column_name(field: Field) -> String {
    field.name().replace('.', "_")
}

fn named(name: &str) -> Place {
    index(name).map_or(Place::Nowhere, Place::Column)
}

fn pod(name: &str, kind: &str) -> Place {
    match (index(name), index(kind)) {
        (Some(column), Some(other)) => Place::Where {
            column,
            other,
            is: "pod",
        },
        _ => Place::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Type;

    #[test]
    fn only_fields_of_packets_have_no_place() {
        let nowhere: Vec<_> = Field::all()
            .filter(|field| place(*field) == Place::Nowhere)
            .map(Field::name)
            .collect();
        assert_eq!(
            nowhere.join(" "),
            "ambiguous app candidates datapath domain double group length point reply source"
        );
    }

    #[test]
    fn places_by_example() {
        let show = |field| match place(field) {
            Place::Column(column) => COLUMNS[column].name.to_owned(),
            Place::Where { column, other, is } => format!(
                "{} where {} = {is}",
                COLUMNS[column].name, COLUMNS[other].name
            ),
            Place::Difference(a, b) => format!("{} - {}", COLUMNS[a].name, COLUMNS[b].name),
            Place::Either { egress, ingress } => {
                format!("{} or {}", COLUMNS[egress].name, COLUMNS[ingress].name)
            }
            Place::Nowhere => String::new(),
        };
        for (field, expected) in [
            (Field::Time, "end"),
            (Field::Duration, "end - start"),
            (Field::Verdict, "verdict"),
            (Field::SrcPod, "src_name where src_kind = pod"),
            (Field::RuleIndex, "egress_rule_index or ingress_rule_index"),
            (
                Field::Ingress(netverdict_query::HalfField::OwnerName),
                "ingress_owner_name",
            ),
        ] {
            assert_eq!(show(field), expected);
        }
    }

    #[test]
    fn blocks_are_ranges() {
        let ips = [
            "0.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::fffe:ffff:ffff",
            "::1:0:0:0",
            "fd00::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ]
        .map(|ip| ip.parse::<IpAddr>().unwrap());
        for block in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "10.0.0.1/32",
            "::/0",
            "::/1",
            "::/64",
            "::1/128",
            "fd00::/8",
            "::ffff:0:0/96",
        ] {
            let block = Network::parse(block).unwrap();
            let ranges = ip_ranges(block);
            for ip in ips {
                let bytes = ip_to_bytes(ip);
                assert_eq!(ip_from_bytes(bytes), ip);
                let number = u128::from_be_bytes(bytes);
                let found = ranges.iter().any(|range| range.contains(&number));
                assert_eq!(found, block.contains(ip), "{ip} in {block}");
            }
        }
    }

    #[test]
    fn columns_have_the_types_of_their_fields() {
        use netverdict_query::Kind;
        for field in Field::all() {
            let (Place::Column(column)
            | Place::Where { column, .. }
            | Place::Difference(column, _)
            | Place::Either { egress: column, .. }) = place(field)
            else {
                continue;
            };
            let fits = match field.kind() {
                Kind::Text | Kind::Named | Kind::Word(_) => {
                    matches!(COLUMNS[column].kind, Type::Word | Type::Text)
                }
                Kind::Number { .. } | Kind::Fraction | Kind::TcpFlags | Kind::Protocol => {
                    COLUMNS[column].kind == Type::Number
                }
                Kind::Time | Kind::Duration => COLUMNS[column].kind == Type::Time,
                Kind::Ip => COLUMNS[column].kind == Type::Ip,
                Kind::Bool => COLUMNS[column].kind == Type::Bool,
                Kind::Uuid => matches!(COLUMNS[column].kind, Type::Uuid | Type::Id),
            };
            assert!(fits, "{field:?} {:?}", COLUMNS[column]);
        }
    }
}
