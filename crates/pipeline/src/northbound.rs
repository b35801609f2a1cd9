use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use netverdict_ovn::expr::{AddressSet, Names, PortGroup as GroupNames, Sets};
use netverdict_ovn::{LoadBalancer, RowError, Sample, SampleCollector, SamplingApp};
use netverdict_ovsdb::{Columns, Datum, Replica, Row, Wanted};
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
    /// Rows that made no sense.
    pub bad_rows: Vec<RowError>,
    numbers: HashMap<String, Lport>,
    switch_numbers: HashMap<Uuid, SwitchId>,
    port_numbers: HashMap<Uuid, Lport>,
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
    pub ct_zone: u16,
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
}

/// A load balancer.
#[derive(Clone, Debug)]
pub struct Balancer {
    /// Protocol, VIPs, service.
    pub row: LoadBalancer,
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
                ],
            )
            .table("Port_Group", ["name", "ports", "acls"])
            .table("Address_Set", ["name", "addresses"])
            .table(
                "Logical_Switch",
                [
                    "name",
                    "ports",
                    "acls",
                    "load_balancer",
                    "load_balancer_group",
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
                    "options",
                    "external_ids",
                ],
            )
            .table("Logical_Router_Port", ["name", "mac", "networks", "peer"])
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
    }

    /// What a replica holds.
    pub fn from_replica(replica: &Replica) -> Self {
        Self::new(replica.tables().flat_map(|table| table.rows()))
    }

    /// What these rows say, in whatever order they come.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut tables: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in rows {
            tables.entry(row.table()).or_default().push(row);
        }
        let rows = |table: &str| tables.get(table).map_or(&[][..], Vec::as_slice);
        let mut this = Self::default();
        this.ports.push(Port::default());
        this.numbers.insert(String::new(), Lport::NONE);
        if let Some(row) = rows("NB_Global").first() {
            this.name = text(row, "name");
            this.options = map(row, "options");
        }
        for row in rows("Logical_Switch_Port") {
            this.take_port(row);
        }
        for row in rows("Port_Group") {
            let group = PortGroup {
                name: text(row, "name"),
                ports: references(row, "ports"),
                acls: references(row, "acls"),
            };
            this.groups.insert(row.uuid(), group);
        }
        for row in rows("Load_Balancer_Group") {
            this.balancer_groups
                .insert(row.uuid(), references(row, "load_balancer"));
        }
        for row in rows("Load_Balancer") {
            match LoadBalancer::read(row) {
                Ok(read) => {
                    let balancer = Balancer {
                        row: read,
                        options: map(row, "options"),
                    };
                    this.load_balancers.insert(row.uuid(), balancer);
                }
                Err(error) => this.bad_rows.push(error),
            }
        }
        for row in rows("Logical_Switch") {
            this.take_switch(row);
        }
        this.join_groups();
        for row in rows("ACL") {
            this.take_acl(row);
        }
        for row in rows("ACL_ID") {
            let number = row.integer("id").and_then(|id| u16::try_from(id).ok());
            this.acl_numbers
                .extend(number.map(|number| (row.uuid(), number)));
        }
        for row in rows("Sample") {
            match Sample::read(row) {
                Ok(sample) => drop(this.samples.insert(row.uuid(), sample)),
                Err(error) => this.bad_rows.push(error),
            }
        }
        for row in rows("Sample_Collector") {
            match SampleCollector::read(row) {
                Ok(collector) => drop(this.collectors.insert(row.uuid(), collector)),
                Err(error) => this.bad_rows.push(error),
            }
        }
        for row in rows("Sampling_App") {
            match SamplingApp::read(row) {
                Ok(SamplingApp { app, id }) => this.apps[app as usize] = Some(id),
                Err(error) => this.bad_rows.push(error),
            }
        }
        for row in rows("Logical_Router") {
            let router = Router {
                name: text(row, "name"),
                ports: references(row, "ports"),
                routes: references(row, "static_routes"),
                load_balancers: this.balancers_of(row),
                options: map(row, "options"),
            };
            this.routers.insert(row.uuid(), router);
        }
        for row in rows("Logical_Router_Port") {
            let port = RouterPort {
                name: text(row, "name"),
                mac: text(row, "mac"),
                networks: texts(row, "networks"),
                peer: row.text("peer").map(str::to_owned),
            };
            this.router_ports.insert(row.uuid(), port);
        }
        for row in rows("Logical_Router_Static_Route") {
            let route = Route {
                prefix: text(row, "ip_prefix"),
                nexthop: text(row, "nexthop"),
                by_source: row.text("policy") == Some("src-ip"),
                output: row.text("output_port").map(str::to_owned),
                table: text(row, "route_table"),
            };
            this.routes.insert(row.uuid(), route);
        }
        let bands: HashMap<Uuid, &Row> = rows("Meter_Band")
            .iter()
            .map(|row| (row.uuid(), *row))
            .collect();
        for row in rows("Meter") {
            let band = references(row, "bands")
                .first()
                .and_then(|band| bands.get(band).copied());
            let number = |column| {
                let number = band.and_then(|band| band.integer(column));
                number
                    .and_then(|number| u32::try_from(number).ok())
                    .unwrap_or(0)
            };
            let meter = Meter {
                rate: number("rate"),
                burst: number("burst_size"),
                packets: row.text("unit") == Some("pktps"),
                fair: row.boolean("fair").unwrap_or(false),
            };
            this.meters.insert(text(row, "name"), meter);
        }
        // northd makes this set itself (en-sync-sb.c, `sync_addr_sets`), of an address that it chooses once and writes down.
        let monitor = this.options.get("svc_monitor_mac").map(String::as_str);
        this.sets.set_addresses("svc_monitor_mac", monitor);
        for row in rows("Address_Set") {
            let addresses = texts(row, "addresses");
            this.sets
                .set_addresses(&text(row, "name"), addresses.iter().map(String::as_str));
        }
        this
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
            .any(|balancer| !balancer.row.vips.is_empty())
    }

    /// The number of a sampling application, 0 if it has none.
    pub fn app_id(&self, app: App) -> u8 {
        self.apps.get(app as usize).copied().flatten().unwrap_or(0)
    }

    fn take_port(&mut self, row: &Row) {
        let number = Lport(self.ports.len() as u32);
        let name = text(row, "name");
        let kind = text(row, "type");
        let mut addresses = texts(row, "addresses");
        addresses.extend(row.text("dynamic_addresses").map(str::to_owned));
        let has_zone = !matches!(kind.as_str(), "router" | "remote" | "localnet");
        self.sets.set_resident(&name);
        self.numbers.insert(name.clone(), number);
        self.port_numbers.insert(row.uuid(), number);
        self.ports.push(Port {
            uuid: row.uuid(),
            name: name.into(),
            kind,
            addresses,
            options: map(row, "options"),
            ids: map(row, "external_ids"),
            switch: None,
            ct_zone: if has_zone { number.0 as u16 } else { 0 },
        });
    }

    fn take_switch(&mut self, row: &Row) {
        let id = SwitchId(self.switches.len() as u32);
        let ports: Vec<Lport> = references(row, "ports")
            .iter()
            .filter_map(|port| self.port_numbers.get(port).copied())
            .collect();
        for port in &ports {
            if let Some(port) = self.ports.get_mut(port.0 as usize) {
                port.switch = Some(id);
            }
        }
        let config: HashMap<String, String> = map(row, "other_config");
        self.switch_numbers.insert(row.uuid(), id);
        self.switches.push(Some(Switch {
            uuid: row.uuid(),
            name: text(row, "name").into(),
            ports,
            acls: references(row, "acls"),
            groups: Vec::new(),
            load_balancers: self.balancers_of(row),
            requested_key: config
                .get("requested-tnl-key")
                .and_then(|key| key.parse().ok()),
            config,
            ids: map(row, "external_ids"),
        }));
    }

    fn balancers_of(&self, row: &Row) -> Vec<Uuid> {
        let groups = references(row, "load_balancer_group");
        let of_groups = groups
            .iter()
            .filter_map(|group| self.balancer_groups.get(group))
            .flatten()
            .copied();
        let mut balancers = references(row, "load_balancer");
        balancers.extend(of_groups);
        balancers.sort_unstable();
        balancers.dedup();
        balancers
    }

    fn take_acl(&mut self, row: &Row) {
        match netverdict_ovn::Acl::read(row) {
            Ok(read) => {
                let acl = AclRow {
                    acl: read.acl,
                    sample_new: read.sample_new,
                    sample_est: read.sample_est,
                    log: row.boolean("log").unwrap_or(false),
                    severity: row.text("severity").map(str::to_owned),
                    meter: row.text("meter").map(str::to_owned),
                    options: map(row, "options"),
                    id: row
                        .column("external_ids")
                        .and_then(|ids| ids.lookup(netverdict_ovn::ids::key::ID))
                        .map(Into::into),
                };
                self.acls.insert(row.uuid(), acl);
            }
            Err(error) => self.bad_rows.push(error),
        }
    }

    /// Gives the switches their groups, and matches the groups' members.
    fn join_groups(&mut self) {
        for (uuid, group) in &self.groups {
            let members = group
                .ports
                .iter()
                .filter_map(|port| self.port_numbers.get(port));
            let members: Vec<&Port> = members
                .filter_map(|port| self.ports.get(port.0 as usize))
                .collect();
            let switches = members.iter().filter_map(|port| port.switch);
            for SwitchId(number) in switches.collect::<std::collections::BTreeSet<_>>() {
                if let Some(Some(switch)) = self.switches.get_mut(number as usize) {
                    switch.groups.push(*uuid);
                }
            }
            let named = members
                .iter()
                .map(|port| (&*port.name, port.addresses.iter().map(String::as_str)));
            self.sets.set_ports(&group.name, named);
        }
        for switch in self.switches.iter_mut().flatten() {
            switch.groups.sort_unstable();
        }
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

fn text(row: &Row, column: &str) -> String {
    row.text(column).unwrap_or_default().to_owned()
}

fn texts(row: &Row, column: &str) -> Vec<String> {
    let atoms = row.column(column).map_or(&[][..], Datum::atoms);
    atoms
        .iter()
        .filter_map(|atom| atom.as_str())
        .map(str::to_owned)
        .collect()
}

fn references(row: &Row, column: &str) -> Vec<Uuid> {
    let atoms = row.column(column).map_or(&[][..], Datum::atoms);
    atoms.iter().filter_map(|atom| atom.as_uuid()).collect()
}

fn map(row: &Row, column: &str) -> HashMap<String, String> {
    let pairs = row.column(column).map_or(&[][..], Datum::pairs);
    pairs
        .iter()
        .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value.as_str()?.to_owned())))
        .collect()
}
