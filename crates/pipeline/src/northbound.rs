mod rows;

pub use rows::Touched;

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_ovn::expr::{AddressSet, Names, PortGroup as GroupNames, Sets};
use netverdict_ovn::{LoadBalancer, RowError, Sample, SampleCollector};
use netverdict_ovsdb::Wanted;
use netverdict_types::{Acl, App};
use uuid::Uuid;

/// A logical port by its number: what a packet carries instead of a name. Numbers of ports that are gone are not used again.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lport(pub u32);

impl Lport {
    /// No port.
    pub const NONE: Self = Self(0);
}

/// A logical switch by its number.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SwitchId(pub u32);

/// What the twin reads of one zone's northbound database: the rows, and how they hang together.
///
/// Rows that make no sense are left out and counted in [`Northbound::bad_rows`].
#[derive(Clone, Debug, Default)]
pub struct Northbound {
    /// `NB_Global.name`, the zone.
    pub name: String,
    /// `NB_Global.options`.
    pub options: HashMap<String, String>,
    /// Logical switches, by their numbers; `None` for one that is gone.
    pub switches: Vec<Option<Switch>>,
    /// Logical switch ports; the first is [`Lport::NONE`] and has no name.
    pub ports: Vec<Port>,
    /// Port groups.
    pub groups: HashMap<Uuid, PortGroup>,
    /// ACLs.
    pub acls: HashMap<Uuid, AclRow>,
    /// The numbers that northd gave to ACLs with `persist-established`, as far as rows of the SB table ACL_ID were among those read.
    pub acl_numbers: HashMap<Uuid, u16>,
    /// Samples.
    pub samples: HashMap<Uuid, Sample>,
    /// Sample collectors.
    pub collectors: HashMap<Uuid, SampleCollector>,
    /// The number of each sampling application, by [`App`].
    pub apps: [Option<u8>; 3],
    /// Load balancers.
    pub load_balancers: HashMap<Uuid, Balancer>,
    /// Load balancer groups: their members.
    pub balancer_groups: HashMap<Uuid, Vec<Uuid>>,
    /// Logical routers.
    pub routers: HashMap<Uuid, Router>,
    /// Ports of logical routers.
    pub router_ports: HashMap<Uuid, RouterPort>,
    /// Static routes.
    pub routes: HashMap<Uuid, Route>,
    /// Meters by name: packets a second that pass, and whether each ACL has its own share.
    pub meters: HashMap<String, Meter>,
    /// Address sets and port groups by name, for matches.
    pub sets: Sets,
    /// The selectors that address sets stand for (`external_ids:k8s.ovn.org/name` of those with the owner type PodSelector), by the set's name.
    pub selectors: HashMap<String, String>,
    /// Rows that made no sense.
    pub bad_rows: Vec<RowError>,
    /// DNS rows: whether they have records.
    pub dns: HashMap<Uuid, bool>,
    /// Control plane protection: the meter of what is rejected.
    pub copps: HashMap<Uuid, Option<String>>,
    /// DHCP options.
    pub dhcp: HashMap<Uuid, Dhcp>,
    /// Groups of network functions (from OVN 25.09).
    pub function_groups: HashMap<Uuid, FunctionGroup>,
    /// Network functions (from OVN 25.09): the rows of the ports that packets are sent to and come back from.
    pub functions: HashMap<Uuid, [Uuid; 2]>,
    /// Mirrors to logical ports (from OVN 25.09): the ports' names.
    pub mirrors: HashMap<Uuid, String>,
    numbers: HashMap<String, Lport>,
    switch_numbers: HashMap<Uuid, SwitchId>,
    port_numbers: HashMap<Uuid, Lport>,
    links: rows::Links,
}

/// A logical switch.
#[derive(Clone, Debug, Default)]
pub struct Switch {
    /// Its row.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Its ports.
    pub ports: Vec<Lport>,
    /// ACLs of its own.
    pub acls: Vec<Uuid>,
    /// Port groups that have one of its ports.
    pub groups: Vec<Uuid>,
    /// Load balancers, of groups too, each once.
    pub load_balancers: Vec<Uuid>,
    /// `other_config`.
    pub config: HashMap<String, String>,
    /// `external_ids`: the network.
    pub ids: HashMap<String, String>,
    /// The key of its datapath as asked for by `requested-tnl-key`.
    pub requested_key: Option<u32>,
    /// Its DNS rows.
    pub dns: Vec<Uuid>,
    /// Its control plane protection.
    pub copp: Option<Uuid>,
}

/// A logical switch port.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// Its row.
    pub uuid: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Empty for a pod or machine, else `router`, `localnet`, `remote` and the like.
    pub kind: String,
    /// The column `addresses` as it stands, and `dynamic_addresses` after it.
    pub addresses: Vec<String>,
    /// Options: `router-port`, `requested-chassis`, `enable_router_port_acl`.
    pub options: HashMap<String, String>,
    /// `external_ids`: whose port it is.
    pub ids: HashMap<String, String>,
    /// The switch that it is on.
    pub switch: Option<SwitchId>,
    /// Its zone of conntrack, as the twin counts them; 0 where OVN has none: on ports of routers and remote ones (physical.c,
    /// `put_zones_ofpacts`; binding.c).
    pub ct_zone: u32,
    /// Whether it is switched off (`enabled`).
    pub disabled: bool,
    /// DHCP options of IPv4 and IPv6.
    pub dhcp: [Option<Uuid>; 2],
    /// The port that it is a child of.
    pub parent: Option<String>,
    /// Mirrors of what goes through it.
    pub mirrors: Vec<Uuid>,
}

impl Port {
    /// Pairs of MAC address and IP addresses, as far as the row gives addresses.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = IpAddr>)> {
        self.addresses.iter().filter_map(|entry| {
            let mut words = entry.split_ascii_whitespace();
            let mac = words.next().filter(|word| word.contains(':'))?;
            Some((
                mac,
                words.filter_map(|word| word.split('/').next()?.parse().ok()),
            ))
        })
    }
}

/// A port group.
#[derive(Clone, Debug, Default)]
pub struct PortGroup {
    /// Its name.
    pub name: String,
    /// Its ports, as far as they are there.
    pub ports: Vec<Uuid>,
    /// Its ACLs.
    pub acls: Vec<Uuid>,
}

/// An ACL.
#[derive(Clone, Debug)]
pub struct AclRow {
    /// What it says.
    pub acl: Acl,
    /// The Sample of new connections.
    pub sample_new: Option<Uuid>,
    /// The Sample of established connections.
    pub sample_est: Option<Uuid>,
    /// Whether matches are logged.
    pub log: bool,
    /// `alert` to `debug`.
    pub severity: Option<String>,
    /// The meter that limits log lines.
    pub meter: Option<String>,
    /// `log-related`, `persist-established`, `apply-after-lb`.
    pub options: HashMap<String, String>,
    /// What ovn-kubernetes knows it by (`external_ids:k8s.ovn.org/id`).
    pub id: Option<Box<str>>,
    /// The group of network functions that its packets go through (from OVN 25.09).
    pub function_group: Option<Uuid>,
}

/// A load balancer.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// Protocol, VIPs, service.
    pub row: LoadBalancer,
    /// Whether it has virtual addresses, readable or not.
    pub has_vips: bool,
    /// `reject`, `hairpin_snat_ip`, `skip_snat`, `affinity_timeout`.
    pub options: HashMap<String, String>,
}

/// A logical router.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// Its ports.
    pub ports: Vec<Uuid>,
    /// Its static routes.
    pub routes: Vec<Uuid>,
    /// Its load balancers, of groups too, each once.
    pub load_balancers: Vec<Uuid>,
    /// `chassis` makes it a gateway router.
    pub options: HashMap<String, String>,
    /// Whether it is switched off (`enabled`).
    pub disabled: bool,
}

/// A port of a logical router.
#[derive(Clone, Debug, Default)]
pub struct RouterPort {
    /// Its name: `router-port` of the switch's port.
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// Its addresses with the length of their prefixes.
    pub networks: Vec<String>,
    /// The port of another router that it is joined with directly.
    pub peer: Option<String>,
    /// Whether it is bound to chassis (`gateway_chassis`, `ha_chassis_group`).
    pub bound: bool,
}

/// Options that northd answers DHCP with.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dhcp {
    /// The network whose ports it is for.
    pub cidr: String,
    /// `server_id`, `server_mac`, `lease_time` and others.
    pub options: HashMap<String, String>,
}

/// A group of network functions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FunctionGroup {
    /// Its number.
    pub id: u8,
    /// The function at work, which northd chooses.
    pub active: Option<Uuid>,
}

/// A static route.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// `10.244.0.0/16`, or an address.
    pub prefix: String,
    /// The next router's address, or `discard`.
    pub nexthop: String,
    /// By destination, unless `src-ip`.
    pub by_source: bool,
    /// The port to leave by.
    pub output: Option<String>,
    /// The table; only the main one, which has no name, is looked into.
    pub table: String,
}

/// A meter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Meter {
    /// Packets or kilobits a second.
    pub rate: u32,
    /// Burst, 0 if the row does not say.
    pub burst: u32,
    /// Whether `rate` counts packets.
    pub packets: bool,
    /// Whether each user of it has a meter of its own.
    pub fair: bool,
}

impl Northbound {
    /// The tables and columns that the twin reads.
    pub fn wanted() -> Wanted {
        netverdict_ovn::sampling()
            .table("NB_Global", ["name", "options"])
            .table(
                "ACL",
                [
                    "name",
                    "priority",
                    "direction",
                    "match",
                    "action",
                    "tier",
                    "label",
                    "options",
                    "external_ids",
                    "sample_new",
                    "sample_est",
                    "log",
                    "severity",
                    "meter",
                    "network_function_group",
                ],
            )
            .table("Port_Group", ["name", "ports", "acls"])
            .table("Address_Set", ["name", "addresses", "external_ids"])
            .table(
                "Logical_Switch",
                [
                    "name",
                    "ports",
                    "acls",
                    "load_balancer",
                    "load_balancer_group",
                    "dns_records",
                    "copp",
                    "other_config",
                    "external_ids",
                ],
            )
            .table(
                "Logical_Switch_Port",
                [
                    "name",
                    "type",
                    "addresses",
                    "dynamic_addresses",
                    "enabled",
                    "parent_name",
                    "dhcpv4_options",
                    "dhcpv6_options",
                    "mirror_rules",
                    "options",
                    "external_ids",
                ],
            )
            .table(
                "Logical_Router",
                [
                    "name",
                    "ports",
                    "static_routes",
                    "load_balancer",
                    "load_balancer_group",
                    "enabled",
                    "options",
                    "external_ids",
                ],
            )
            .table(
                "Logical_Router_Port",
                [
                    "name",
                    "mac",
                    "networks",
                    "peer",
                    "gateway_chassis",
                    "ha_chassis_group",
                ],
            )
            .table(
                "Logical_Router_Static_Route",
                [
                    "ip_prefix",
                    "nexthop",
                    "policy",
                    "output_port",
                    "route_table",
                ],
            )
            .table(
                "Load_Balancer",
                ["name", "vips", "protocol", "options", "external_ids"],
            )
            .table("Load_Balancer_Group", ["name", "load_balancer"])
            .table("Meter", ["name", "unit", "fair", "bands"])
            .table("Meter_Band", ["action", "rate", "burst_size"])
            .table("DNS", ["records"])
            .table("Copp", ["meters"])
            .table("DHCP_Options", ["cidr", "options"])
            .table("Network_Function_Group", ["id", "network_function_active"])
            .table("Network_Function", ["inport", "outport"])
            .table("Mirror", ["type", "sink"])
    }

    /// The name of a port; empty for [`Lport::NONE`].
    pub fn port_name(&self, port: Lport) -> &str {
        self.ports
            .get(port.0 as usize)
            .map_or("", |port| &port.name)
    }

    /// A port.
    pub fn port(&self, port: Lport) -> Option<&Port> {
        self.ports.get(port.0 as usize)
    }

    /// The port of a row.
    pub fn port_of_row(&self, row: Uuid) -> Option<&Port> {
        self.port(*self.port_numbers.get(&row)?)
    }

    /// The port of that name.
    pub fn port_named(&self, name: &str) -> Option<Lport> {
        self.numbers.get(name).copied()
    }

    /// A switch that is there.
    pub fn switch(&self, switch: SwitchId) -> Option<&Switch> {
        self.switches.get(switch.0 as usize)?.as_ref()
    }

    /// The switch of that name; the first, should there be several.
    pub fn switch_named(&self, name: &str) -> Option<SwitchId> {
        self.switches()
            .find(|(_, switch)| &*switch.name == name)
            .map(|(id, _)| id)
    }

    /// All switches.
    pub fn switches(&self) -> impl Iterator<Item = (SwitchId, &Switch)> {
        self.switches
            .iter()
            .enumerate()
            .filter_map(|(number, switch)| Some((SwitchId(number as u32), switch.as_ref()?)))
    }

    /// The ACLs at work on a switch: its own, and those of port groups that have a port on it. An ACL of several groups comes several times.
    pub fn acls_of<'a>(&'a self, switch: &'a Switch) -> impl Iterator<Item = (Uuid, &'a AclRow)> {
        let of_groups = switch
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group));
        switch
            .acls
            .iter()
            .chain(of_groups.flat_map(|group| &group.acls))
            .filter_map(|acl| Some((*acl, self.acls.get(acl)?)))
    }

    /// The names that matches of a switch can use.
    pub fn local(&self, switch: &Switch) -> Local<'_> {
        let groups = switch.groups.iter();
        let groups = groups.filter_map(|group| self.groups.get(group));
        Local {
            northbound: self,
            groups: groups.map(|group| group.name.as_str()).collect(),
        }
    }

    /// Whether a switch has a load balancer with a VIP.
    pub fn has_vip(&self, switch: &Switch) -> bool {
        let balancers = switch.load_balancers.iter();
        balancers
            .filter_map(|balancer| self.load_balancers.get(balancer))
            .any(|balancer| balancer.has_vips)
    }

    /// The number of a sampling application, 0 if it has none.
    pub fn app_id(&self, app: App) -> u8 {
        self.apps.get(app as usize).copied().flatten().unwrap_or(0)
    }
}

/// The names that a switch's matches can use: of port groups only those with a port on the switch. northd writes a port group down for each
/// switch that has a port of it (en-sync-sb.c, `sync_port_groups`), and ovn-controller leaves out flows with names that it does not find.
#[derive(Clone, Debug)]
pub struct Local<'a> {
    northbound: &'a Northbound,
    groups: HashSet<&'a str>,
}

impl Local<'_> {
    /// Whether there is no port group that the switch has no port of.
    pub(crate) fn knows_all(&self) -> bool {
        self.groups.len() == self.northbound.groups.len()
    }
}

impl Names for Local<'_> {
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>> {
        self.northbound.address_set(name)
    }

    fn port_group(&self, name: &str) -> Option<Arc<GroupNames>> {
        self.groups.get(name)?;
        self.northbound.port_group(name)
    }

    fn is_resident(&self, port: &str) -> bool {
        self.northbound.is_resident(port)
    }
}

impl Names for Northbound {
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>> {
        self.sets.address_set(name)
    }

    fn port_group(&self, name: &str) -> Option<Arc<GroupNames>> {
        self.sets.port_group(name)
    }

    fn is_resident(&self, port: &str) -> bool {
        self.sets.is_resident(port)
    }
}
