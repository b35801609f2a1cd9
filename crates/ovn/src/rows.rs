use std::net::IpAddr;

use netverdict_ovsdb::{Columns, Datum, Row};
use netverdict_types::{Action, App, Owner, Pipeline};
use uuid::Uuid;

use crate::ids::key;
use crate::owner;

/// Why a row cannot be used. The database, not netverdict, is at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{table} row {uuid}: column {column} {fault}")]
pub struct RowError {
    table: String,
    uuid: Uuid,
    column: &'static str,
    fault: String,
}

/// A row of the NB table ACL.
#[derive(Clone, Debug, PartialEq)]
pub struct Acl {
    /// What it does, and for whom.
    pub acl: netverdict_types::Acl,
    /// The Sample row for packets of new connections.
    pub sample_new: Option<Uuid>,
    /// The Sample row for packets of established connections.
    pub sample_est: Option<Uuid>,
    /// True where the schema has the sample columns (OVN 24.09 and later).
    pub can_sample: bool,
}

impl Acl {
    /// Reads a row. Columns that an old schema lacks take OVN's default.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let name = row.text("name").filter(|name| !name.is_empty());
        let direction = required(row, "direction", row.text("direction"))?;
        let after_lb = row
            .column("options")
            .and_then(|options| options.lookup("apply-after-lb"))
            == Some("true");
        let pipeline = match (direction, after_lb) {
            ("to-lport", _) => Pipeline::ToLport,
            ("from-lport", false) => Pipeline::FromLport,
            ("from-lport", true) => Pipeline::FromLportAfterLb,
            (other, _) => return Err(bad(row, "direction", format!("has no meaning: {other}"))),
        };
        let word = required(row, "action", row.text("action"))?;
        let action = Action::parse(word)
            .ok_or_else(|| bad(row, "action", format!("has no meaning: {word}")))?;
        Ok(Self {
            acl: netverdict_types::Acl {
                owner: match row.column("external_ids") {
                    Some(ids) => owner(ids, name),
                    None => Owner::unowned(name),
                },
                name: name.map(str::to_owned),
                priority: required(row, "priority", number(row, "priority"))?,
                matches: required(row, "match", row.text("match"))?.to_owned(),
                action,
                pipeline,
                tier: number(row, "tier").unwrap_or(0),
                label: number(row, "label").unwrap_or(0),
            },
            sample_new: row.reference("sample_new"),
            sample_est: row.reference("sample_est"),
            can_sample: row.column("sample_new").is_some(),
        })
    }
}

/// A row of the NB table Sample.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// The observation point.
    pub point: u32,
    /// The Sample_Collector rows; with exactly one, OVN uses two flows for all ACLs.
    pub collectors: Vec<Uuid>,
}

impl Sample {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            point: required(row, "metadata", number(row, "metadata"))?,
            collectors: references(row, "collectors"),
        })
    }
}

/// A row of the NB table Sample_Collector.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SampleCollector {
    /// 1..255, carried in the conntrack mark.
    pub id: u8,
    /// For people; not unique.
    pub name: String,
    /// Share of packets, 65535 being all.
    pub probability: u16,
    /// `Flow_Sample_Collector_Set.id` in Open vSwitch.
    pub set_id: u32,
    /// `sample-features` of ovn-kubernetes, owners and the like.
    pub external_ids: Vec<(String, String)>,
}

impl SampleCollector {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            id: required(row, "id", number(row, "id"))?,
            name: row.text("name").unwrap_or_default().to_owned(),
            probability: required(row, "probability", number(row, "probability"))?,
            set_id: required(row, "set_id", number(row, "set_id"))?,
            external_ids: strings(row, "external_ids"),
        })
    }
}

/// A row of the NB table Sampling_App.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SamplingApp {
    /// Which application.
    pub app: App,
    /// Its number in the observation domain, 1..255.
    pub id: u8,
}

impl SamplingApp {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let word = required(row, "type", row.text("type"))?;
        Ok(Self {
            app: App::parse(word)
                .ok_or_else(|| bad(row, "type", format!("has no meaning: {word}")))?,
            id: required(row, "id", number(row, "id"))?,
        })
    }
}

/// A row of the NB table Port_Group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortGroup {
    /// Unique.
    pub name: String,
    /// Logical switch ports.
    pub ports: Vec<Uuid>,
    /// ACLs for those ports.
    pub acls: Vec<Uuid>,
}

impl PortGroup {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            ports: references(row, "ports"),
            acls: references(row, "acls"),
        })
    }
}

/// A row of the NB table Logical_Switch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogicalSwitch {
    /// The name; a node's switch is called like the node.
    pub name: String,
    /// Logical switch ports.
    pub ports: Vec<Uuid>,
    /// ACLs for all ports.
    pub acls: Vec<Uuid>,
    /// The network, where ovn-kubernetes names one; the default network has none.
    pub network: Option<String>,
    /// The tunnel key, where it was asked for.
    pub requested_key: Option<u32>,
}

impl LogicalSwitch {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            ports: references(row, "ports"),
            acls: references(row, "acls"),
            network: lookup(row, "external_ids", key::NETWORK).map(str::to_owned),
            requested_key: lookup(row, "other_config", "requested-tnl-key")
                .and_then(|key| key.parse().ok()),
        })
    }
}

/// A row of the NB table Logical_Switch_Port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogicalSwitchPort {
    /// Unique; the `iface-id` of the interface that carries it.
    pub name: String,
    /// Empty for a pod or machine, else `router`, `localnet`, `remote` and the like.
    pub kind: String,
    /// All addresses, of every family.
    pub addresses: Vec<IpAddr>,
    /// Their MAC addresses.
    pub macs: Vec<[u8; 6]>,
    /// Namespace of the pod that owns it.
    pub namespace: Option<String>,
    /// True where ovn-kubernetes says that a pod owns it.
    pub pod: bool,
    /// Node of a port on the transit switch.
    pub node: Option<String>,
    /// Network of a port on a secondary network.
    pub network: Option<String>,
}

impl LogicalSwitchPort {
    /// Reads a row. Addresses that OVN assigns itself (`dynamic`, `router`, `unknown`) are not
    /// in it.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let texts = row.column("addresses").map_or(&[][..], Datum::atoms);
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            kind: row.text("type").unwrap_or_default().to_owned(),
            addresses: texts
                .iter()
                .filter_map(|atom| atom.as_str())
                .flat_map(str::split_whitespace)
                .filter_map(address)
                .collect(),
            macs: texts
                .iter()
                .filter_map(|atom| mac(atom.as_str()?.split_whitespace().next()?))
                .collect(),
            namespace: lookup(row, "external_ids", "namespace").map(str::to_owned),
            pod: lookup(row, "external_ids", "pod") == Some("true"),
            node: lookup(row, "external_ids", "node").map(str::to_owned),
            network: lookup(row, "external_ids", key::NETWORK).map(str::to_owned),
        })
    }
}

/// A row of the NB table Logical_Router.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogicalRouter {
    /// The name; `GR_NODE` for a node's gateway router.
    pub name: String,
    /// Logical router ports.
    pub ports: Vec<Uuid>,
    /// The network, where ovn-kubernetes names one.
    pub network: Option<String>,
}

impl LogicalRouter {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            ports: references(row, "ports"),
            network: lookup(row, "external_ids", key::NETWORK).map(str::to_owned),
        })
    }
}

/// A row of the NB table Logical_Router_Port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogicalRouterPort {
    /// Unique.
    pub name: String,
    /// Its own addresses, without the prefix length.
    pub addresses: Vec<IpAddr>,
}

impl LogicalRouterPort {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let networks = row.column("networks").map_or(&[][..], Datum::atoms);
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            addresses: networks
                .iter()
                .filter_map(|atom| address(atom.as_str()?))
                .collect(),
        })
    }
}

/// A row of the NB table Load_Balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoadBalancer {
    /// The name.
    pub name: String,
    /// IP protocol number.
    pub protocol: u8,
    /// Namespace and name of the Kubernetes service behind it.
    pub service: Option<(String, String)>,
    /// Virtual addresses and their backends.
    pub vips: Vec<Vip>,
    /// The network, where ovn-kubernetes names one.
    pub network: Option<String>,
}

/// One virtual address of a load balancer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vip {
    /// The virtual address.
    pub ip: IpAddr,
    /// The virtual port.
    pub port: Option<u16>,
    /// Backends.
    pub backends: Vec<(IpAddr, Option<u16>)>,
}

impl LoadBalancer {
    /// Reads a row. A virtual address that cannot be read is left out; OVN ignores it as well.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let protocol = match row.text("protocol").unwrap_or("tcp") {
            "tcp" => 6,
            "udp" => 17,
            "sctp" => 132,
            other => return Err(bad(row, "protocol", format!("has no meaning: {other}"))),
        };
        let service = (lookup(row, "external_ids", key::SERVICE_KIND) == Some("Service"))
            .then(|| lookup(row, "external_ids", key::SERVICE_OWNER)?.split_once('/'))
            .flatten();
        let pairs = row.column("vips").map_or(&[][..], Datum::pairs);
        Ok(Self {
            name: row.text("name").unwrap_or_default().to_owned(),
            network: lookup(row, "external_ids", key::NETWORK).map(str::to_owned),
            protocol,
            service: service.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())),
            vips: pairs
                .iter()
                .filter_map(|(vip, backends)| {
                    let (ip, port) = socket(vip.as_str()?)?;
                    let backends = backends.as_str()?.split(',').filter_map(socket).collect();
                    Some(Vip { ip, port, backends })
                })
                .collect(),
        })
    }
}

/// The row of the NB table NB_Global.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NbGlobal {
    /// The zone's name.
    pub name: String,
    /// `northd_internal_version`, once ovn-northd has run.
    pub northd: Option<String>,
}

impl NbGlobal {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            name: row.text("name").unwrap_or_default().to_owned(),
            northd: lookup(row, "options", "northd_internal_version").map(str::to_owned),
        })
    }
}

/// A row of the SB table Datapath_Binding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatapathBinding {
    /// The key that samples carry (24 bits).
    pub tunnel_key: u32,
    /// Name of the logical switch or router.
    pub name: String,
    /// Identity of the switch or router in NB.
    pub nb_uuid: Option<Uuid>,
}

impl DatapathBinding {
    /// Reads a row (ovn-sb(5), Datapath_Binding, external_ids).
    pub fn read(row: &Row) -> Result<Self, RowError> {
        let text = |key| lookup(row, "external_ids", key);
        Ok(Self {
            tunnel_key: required(row, "tunnel_key", number(row, "tunnel_key"))?,
            name: text("name2")
                .or_else(|| text("name"))
                .unwrap_or_default()
                .to_owned(),
            nb_uuid: text("logical-switch")
                .or_else(|| text("logical-router"))
                .and_then(|uuid| uuid.parse().ok()),
        })
    }
}

/// A row of the SB table Logical_Flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogicalFlow {
    /// `ingress` or `egress`.
    pub pipeline: String,
    /// Stage name, such as `ls_in_acl_eval`.
    pub stage: String,
    /// Priority within the stage.
    pub priority: u16,
    /// The match.
    pub matches: String,
    /// The actions.
    pub actions: String,
}

impl LogicalFlow {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            pipeline: required(row, "pipeline", row.text("pipeline"))?.to_owned(),
            stage: lookup(row, "external_ids", "stage-name")
                .unwrap_or_default()
                .to_owned(),
            priority: number(row, "priority").unwrap_or(0),
            matches: row.text("match").unwrap_or_default().to_owned(),
            actions: row.text("actions").unwrap_or_default().to_owned(),
        })
    }
}

/// A row of the Open vSwitch table Interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Kernel interface index; 0 or absent until it exists.
    pub index: Option<u32>,
    /// The logical port that it carries (`external_ids:iface-id`).
    pub logical_port: Option<String>,
}

impl Interface {
    /// Reads a row.
    pub fn read(row: &Row) -> Result<Self, RowError> {
        Ok(Self {
            name: required(row, "name", row.text("name"))?.to_owned(),
            index: number(row, "ifindex").filter(|index| *index != 0),
            logical_port: lookup(row, "external_ids", "iface-id").map(str::to_owned),
        })
    }
}

fn required<T>(row: &Row, column: &'static str, value: Option<T>) -> Result<T, RowError> {
    value.ok_or_else(|| bad(row, column, "is missing or out of range".to_owned()))
}

fn bad(row: &Row, column: &'static str, fault: String) -> RowError {
    RowError {
        table: row.table().to_owned(),
        uuid: row.uuid(),
        column,
        fault,
    }
}

fn number<T: TryFrom<i64>>(row: &Row, column: &str) -> Option<T> {
    T::try_from(row.integer(column)?).ok()
}

fn references(row: &Row, column: &str) -> Vec<Uuid> {
    let atoms = row.column(column).map_or(&[][..], Datum::atoms);
    atoms.iter().filter_map(|atom| atom.as_uuid()).collect()
}

fn strings(row: &Row, column: &str) -> Vec<(String, String)> {
    let pairs = row.column(column).map_or(&[][..], Datum::pairs);
    pairs
        .iter()
        .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), v.as_str()?.to_owned())))
        .collect()
}

fn lookup<'a>(row: &'a Row, column: &str, key: &str) -> Option<&'a str> {
    row.column(column)?.lookup(key)
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// An address, with or without a prefix length.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// `ip`, `ip:port`, `[ip6]:port` or `ip6`.
fn socket(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let text = text.trim();
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some((socket.ip(), Some(socket.port())));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    Some((bare.parse().ok()?, None))
}

#[cfg(test)]
mod tests {
    use netverdict_ovsdb::Atom;
    use netverdict_types::OwnerKind;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Datum {
        let atom = |text: &str| Atom::from(text);
        Datum::Map(pairs.iter().map(|(k, v)| (atom(k), atom(v))).collect())
    }

    #[test]
    fn an_acl_of_an_old_schema_has_no_tier_and_cannot_sample() {
        let row = Row::new(
            "ACL",
            Uuid::nil(),
            [
                ("direction", Datum::from("to-lport")),
                ("action", Datum::from("drop")),
                ("priority", Datum::from(1000)),
                ("match", Datum::from("outport == @pg")),
            ],
        );
        let read = Acl::read(&row).unwrap();
        assert_eq!((read.acl.tier, read.can_sample), (0, false));
        assert_eq!(read.acl.owner.kind, OwnerKind::Unowned);
    }

    #[test]
    fn a_row_without_meaning_says_which_column() {
        let row = Row::new("ACL", Uuid::nil(), [("direction", Datum::from("sideways"))]);
        let error = Acl::read(&row).unwrap_err().to_string();
        assert!(
            error.contains("column direction has no meaning: sideways"),
            "{error}"
        );
    }

    #[test]
    fn addresses_of_ports_and_virtual_addresses() {
        let row = Row::new(
            "Logical_Switch_Port",
            Uuid::nil(),
            [
                ("name", Datum::from("blue_web")),
                (
                    "addresses",
                    Datum::from("0a:58:0a:f4:01:05 10.244.1.5 fd00::5"),
                ),
                (
                    "external_ids",
                    map(&[("namespace", "blue"), ("pod", "true")]),
                ),
            ],
        );
        let port = LogicalSwitchPort::read(&row).unwrap();
        assert!(port.pod);
        assert_eq!(
            port.addresses,
            ["10.244.1.5", "fd00::5"].map(|text| text.parse::<IpAddr>().unwrap())
        );

        let row = Row::new(
            "Load_Balancer",
            Uuid::nil(),
            [
                ("protocol", Datum::from("udp")),
                (
                    "vips",
                    map(&[
                        ("10.96.0.10:53", "10.244.1.5:5353,10.244.2.5:5353"),
                        ("[fd01::1]:53", ""),
                    ]),
                ),
                (
                    "external_ids",
                    map(&[
                        (key::SERVICE_OWNER, "blue/dns"),
                        (key::SERVICE_KIND, "Service"),
                    ]),
                ),
            ],
        );
        let balancer = LoadBalancer::read(&row).unwrap();
        assert_eq!(balancer.protocol, 17);
        assert_eq!(
            balancer.service,
            Some(("blue".to_owned(), "dns".to_owned()))
        );
        assert_eq!(balancer.vips.len(), 2);
        assert_eq!(balancer.vips[0].backends.len(), 2);
        assert!(balancer.vips[1].backends.is_empty());
    }
}
