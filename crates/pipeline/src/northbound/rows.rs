//! A [`Northbound`] from rows, and how it follows their changes.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use netverdict_ovn::{LoadBalancer, Sample, SampleCollector, SamplingApp};
use netverdict_ovsdb::{ChangeSet, Columns, Datum, Replica, Row};
use uuid::Uuid;

use super::{
    AclRow, Balancer, Dhcp, FunctionGroup, Lport, Meter, Northbound, Port, PortGroup, Route,
    Router, RouterPort, Switch, SwitchId,
};

/// How rows refer to each other, as far as it is needed to follow a change.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// Ports of a switch.
    switch_ports: HashMap<Uuid, Vec<Uuid>>,
    /// Load balancers of a switch or router, and groups of them.
    balancers: HashMap<Uuid, [Vec<Uuid>; 2]>,
    /// Port groups of a port.
    port_groups: HashMap<Uuid, Vec<Uuid>>,
    /// Switches that have a port of a port group.
    group_switches: HashMap<Uuid, Vec<SwitchId>>,
    /// Rate and burst.
    bands: HashMap<Uuid, [u32; 2]>,
    /// Name, first band.
    meters: HashMap<Uuid, (String, Option<Uuid>, Meter)>,
}

/// What changed of how things hang together.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// Switches that came, went, changed, or whose ports, port groups or load balancers did.
    pub switches: BTreeSet<SwitchId>,
    ports: HashSet<Uuid>,
    groups: BTreeSet<Uuid>,
    balancers: bool,
    routers: BTreeSet<Uuid>,
    meters: bool,
}

impl Northbound {
    /// What a replica holds.
    pub fn from_replica(replica: &Replica) -> Self {
        Self::new(replica.tables().flat_map(|table| table.rows()))
    }

    /// What these rows say, in whatever order they come.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut this = Self::default();
        this.ports.push(Port::default());
        this.numbers.insert(String::new(), Lport::NONE);
        // northd makes this set itself (en-sync-sb.c, `sync_addr_sets`), of an address that it chooses once and writes down.
        this.sets.set_addresses("svc_monitor_mac", []);
        let mut touched = Touched::default();
        for row in rows {
            this.put(row, &mut touched);
        }
        this.link(&mut touched);
        this
    }

    /// Follows a change of the rows; what refers to what is as if all had been read anew, but ports and switches keep their numbers.
    pub fn follow(&mut self, changes: &ChangeSet) -> Touched {
        if self.ports.is_empty() {
            *self = Self::new([]);
        }
        let mut touched = Touched::default();
        let (gone, there): (Vec<_>, Vec<_>) = changes
            .changes
            .iter()
            .partition(|change| change.new.is_none());
        for old in gone.iter().filter_map(|change| change.old.as_ref()) {
            self.remove(old, &mut touched);
        }
        // What changes its name leaves the old one first, that another may take it.
        for change in &there {
            if let (Some(old), Some(new)) = (&change.old, &change.new)
                && old.text("name") != new.text("name")
            {
                self.forget_name(old);
            }
            if let (Some(Ok(SamplingApp { app, .. })), "Sampling_App") =
                (change.old.as_ref().map(SamplingApp::read), &*change.table)
            {
                self.apps[app as usize] = None;
            }
        }
        for new in there.iter().filter_map(|change| change.new.as_ref()) {
            self.put(new, &mut touched);
        }
        self.link(&mut touched);
        touched
    }

    /// Whether a switch has a load balancer that is not of a group.
    pub(crate) fn has_own_balancer(&self, switch: &Switch) -> bool {
        let balancers = self.links.balancers.get(&switch.uuid);
        balancers.is_some_and(|[own, _]| {
            own.iter()
                .any(|balancer| self.load_balancers.contains_key(balancer))
        })
    }

    /// Takes a row that is new or changed.
    fn put(&mut self, row: &Row, touched: &mut Touched) {
        let uuid = row.uuid();
        match row.table() {
            "ACL" => self.put_acl(row),
            "Sample" => match Sample::read(row) {
                Ok(mut sample) => {
                    sample.collectors.sort_unstable();
                    self.samples.insert(uuid, sample);
                }
                Err(error) => {
                    self.samples.remove(&uuid);
                    self.bad_rows.push(error);
                }
            },
            "Logical_Switch_Port" => self.put_port(row, touched),
            "Port_Group" => self.put_group(row, touched),
            "Logical_Switch" => self.put_switch(row, touched),
            "Address_Set" => {
                let addresses = texts(row, "addresses");
                let addresses = addresses.iter().map(String::as_str);
                let name = text(row, "name");
                self.sets.set_addresses(&name, addresses);
                match selector(row) {
                    Some(selector) => drop(self.selectors.insert(name, selector)),
                    None => drop(self.selectors.remove(&name)),
                }
            }
            "NB_Global" => {
                self.name = text(row, "name");
                self.options = map(row, "options");
                let monitor = self.options.get("svc_monitor_mac").map(String::as_str);
                self.sets.set_addresses("svc_monitor_mac", monitor);
            }
            "ACL_ID" => {
                let number = row.integer("id").and_then(|id| u16::try_from(id).ok());
                self.acl_numbers.extend(number.map(|number| (uuid, number)));
            }
            "Sample_Collector" => match SampleCollector::read(row) {
                Ok(collector) => drop(self.collectors.insert(uuid, collector)),
                Err(error) => {
                    self.collectors.remove(&uuid);
                    self.bad_rows.push(error);
                }
            },
            "Sampling_App" => match SamplingApp::read(row) {
                Ok(SamplingApp { app, id }) => self.apps[app as usize] = Some(id),
                Err(error) => self.bad_rows.push(error),
            },
            "Load_Balancer" => {
                touched.balancers = true;
                match LoadBalancer::read(row) {
                    Ok(read) => {
                        let balancer = Balancer {
                            row: read,
                            has_vips: row
                                .column("vips")
                                .is_some_and(|vips| !vips.pairs().is_empty()),
                            options: map(row, "options"),
                        };
                        self.load_balancers.insert(uuid, balancer);
                    }
                    Err(error) => {
                        self.load_balancers.remove(&uuid);
                        self.bad_rows.push(error);
                    }
                }
            }
            "Load_Balancer_Group" => {
                touched.balancers = true;
                let members = references(row, "load_balancer");
                self.balancer_groups.insert(uuid, members);
            }
            "Logical_Router" => {
                let router = Router {
                    name: text(row, "name"),
                    ports: references(row, "ports"),
                    routes: references(row, "static_routes"),
                    load_balancers: Vec::new(),
                    options: map(row, "options"),
                    disabled: row.boolean("enabled") == Some(false),
                };
                self.routers.insert(uuid, router);
                self.put_balancers(row);
                touched.routers.insert(uuid);
            }
            "Logical_Router_Port" => {
                let is_some = |column: &str| row.column(column).is_some_and(|it| !it.is_empty());
                let port = RouterPort {
                    name: text(row, "name"),
                    mac: text(row, "mac"),
                    networks: texts(row, "networks"),
                    peer: row.text("peer").map(str::to_owned),
                    bound: is_some("gateway_chassis") || is_some("ha_chassis_group"),
                };
                self.router_ports.insert(uuid, port);
            }
            "Logical_Router_Static_Route" => {
                let route = Route {
                    prefix: text(row, "ip_prefix"),
                    nexthop: text(row, "nexthop"),
                    by_source: row.text("policy") == Some("src-ip"),
                    output: row.text("output_port").map(str::to_owned),
                    table: text(row, "route_table"),
                };
                self.routes.insert(uuid, route);
            }
            "Meter_Band" => {
                let number = |column| {
                    let number = row.integer(column);
                    number.and_then(|number| u32::try_from(number).ok())
                };
                let band = [number("rate"), number("burst_size")].map(Option::unwrap_or_default);
                self.links.bands.insert(uuid, band);
                touched.meters = true;
            }
            "Meter" => {
                let meter = Meter {
                    packets: row.text("unit") == Some("pktps"),
                    fair: row.boolean("fair").unwrap_or(false),
                    ..Meter::default()
                };
                let band = references(row, "bands").first().copied();
                let meter = (text(row, "name"), band, meter);
                self.links.meters.insert(uuid, meter);
                touched.meters = true;
            }
            "DNS" => {
                let records = row.column("records");
                let has_records = records.is_some_and(|records| !records.pairs().is_empty());
                self.dns.insert(uuid, has_records);
            }
            "Copp" => {
                let meter = row
                    .column("meters")
                    .and_then(|meters| meters.lookup("reject"));
                self.copps.insert(uuid, meter.map(str::to_owned));
            }
            "DHCP_Options" => {
                let dhcp = Dhcp {
                    cidr: text(row, "cidr"),
                    options: map(row, "options"),
                };
                self.dhcp.insert(uuid, dhcp);
            }
            "Network_Function_Group" => {
                let group = FunctionGroup {
                    id: row.integer("id").map_or(0, |id| id as u8),
                    active: row.reference("network_function_active"),
                };
                self.function_groups.insert(uuid, group);
            }
            "Network_Function" => {
                if let (Some(input), Some(output)) =
                    (row.reference("inport"), row.reference("outport"))
                {
                    self.functions.insert(uuid, [input, output]);
                }
            }
            "Mirror" if row.text("type") == Some("lport") => {
                self.mirrors.insert(uuid, text(row, "sink"));
            }
            "Mirror" => drop(self.mirrors.remove(&uuid)),
            _ => {}
        }
    }

    fn remove(&mut self, row: &Row, touched: &mut Touched) {
        let uuid = row.uuid();
        self.forget_name(row);
        match row.table() {
            "ACL" => drop(self.acls.remove(&uuid)),
            "Sample" => drop(self.samples.remove(&uuid)),
            "Sample_Collector" => drop(self.collectors.remove(&uuid)),
            "Sampling_App" => {
                if let Ok(SamplingApp { app, .. }) = SamplingApp::read(row) {
                    self.apps[app as usize] = None;
                }
            }
            "Logical_Switch_Port" => {
                if let Some(number) = self.port_numbers.remove(&uuid)
                    && let Some(port) = self.ports.get_mut(number.0 as usize)
                {
                    touched.switches.extend(port.switch);
                    *port = Port::default();
                }
                touched.ports.insert(uuid);
            }
            "Port_Group" => {
                if let Some(group) = self.groups.remove(&uuid) {
                    self.leave_ports(uuid, &group);
                }
                touched.groups.insert(uuid);
            }
            "Logical_Switch" => {
                if let Some(number) = self.switch_numbers.remove(&uuid) {
                    let switch = self
                        .switches
                        .get_mut(number.0 as usize)
                        .and_then(Option::take);
                    let ports = switch.map(|switch| switch.ports).unwrap_or_default();
                    self.leave_switch(number, &ports, touched);
                    touched.switches.insert(number);
                }
                self.links.switch_ports.remove(&uuid);
                self.links.balancers.remove(&uuid);
            }
            "NB_Global" => {
                self.name.clear();
                self.options.clear();
                self.sets.set_addresses("svc_monitor_mac", []);
            }
            "ACL_ID" => drop(self.acl_numbers.remove(&uuid)),
            "Load_Balancer" => {
                self.load_balancers.remove(&uuid);
                touched.balancers = true;
            }
            "Load_Balancer_Group" => {
                self.balancer_groups.remove(&uuid);
                touched.balancers = true;
            }
            "Logical_Router" => {
                self.routers.remove(&uuid);
                self.links.balancers.remove(&uuid);
            }
            "Logical_Router_Port" => drop(self.router_ports.remove(&uuid)),
            "Logical_Router_Static_Route" => drop(self.routes.remove(&uuid)),
            "Meter" => {
                self.links.meters.remove(&uuid);
                touched.meters = true;
            }
            "Meter_Band" => {
                self.links.bands.remove(&uuid);
                touched.meters = true;
            }
            "DNS" => drop(self.dns.remove(&uuid)),
            "Copp" => drop(self.copps.remove(&uuid)),
            "DHCP_Options" => drop(self.dhcp.remove(&uuid)),
            "Network_Function_Group" => drop(self.function_groups.remove(&uuid)),
            "Network_Function" => drop(self.functions.remove(&uuid)),
            "Mirror" => drop(self.mirrors.remove(&uuid)),
            _ => {}
        }
    }

    fn forget_name(&mut self, row: &Row) {
        let Some(name) = row.text("name") else { return };
        match row.table() {
            "Address_Set" => {
                self.sets.remove_addresses(name);
                self.selectors.remove(name);
            }
            "Port_Group" => self.sets.remove_ports(name),
            "Logical_Switch_Port" => {
                self.sets.remove_resident(name);
                self.numbers.remove(name);
            }
            _ => {}
        }
    }

    fn put_acl(&mut self, row: &Row) {
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
                    function_group: row.reference("network_function_group"),
                };
                self.acls.insert(row.uuid(), acl);
            }
            Err(error) => {
                self.acls.remove(&row.uuid());
                self.bad_rows.push(error);
            }
        }
    }

    fn put_port(&mut self, row: &Row, touched: &mut Touched) {
        let uuid = row.uuid();
        let new = Lport(self.ports.len() as u32);
        let number = *self.port_numbers.entry(uuid).or_insert(new);
        if number == new {
            self.ports.push(Port::default());
        }
        let name = text(row, "name");
        let kind = text(row, "type");
        let mut addresses = texts(row, "addresses");
        addresses.extend(row.text("dynamic_addresses").map(str::to_owned));
        let has_zone = !matches!(kind.as_str(), "router" | "remote" | "localnet");
        self.sets.set_resident(&name);
        self.numbers.insert(name.clone(), number);
        if let Some(port) = self.ports.get_mut(number.0 as usize) {
            touched.switches.extend(port.switch);
            *port = Port {
                uuid,
                name: name.into(),
                kind,
                addresses,
                options: map(row, "options"),
                ids: map(row, "external_ids"),
                switch: port.switch,
                ct_zone: if has_zone { number.0 } else { 0 },
                disabled: row.boolean("enabled") == Some(false),
                dhcp: ["dhcpv4_options", "dhcpv6_options"].map(|column| row.reference(column)),
                parent: row.text("parent_name").map(str::to_owned),
                mirrors: references(row, "mirror_rules"),
            };
        }
        touched.ports.insert(uuid);
    }

    fn put_group(&mut self, row: &Row, touched: &mut Touched) {
        let uuid = row.uuid();
        let group = PortGroup {
            name: text(row, "name"),
            ports: references(row, "ports"),
            acls: references(row, "acls"),
        };
        let old = self.groups.remove(&uuid);
        if old.as_ref().is_none_or(|old| old.ports != group.ports) {
            if let Some(old) = &old {
                self.leave_ports(uuid, old);
            }
            for port in &group.ports {
                let groups = self.links.port_groups.entry(*port).or_default();
                groups.push(uuid);
            }
        }
        self.groups.insert(uuid, group);
        touched.groups.insert(uuid);
    }

    /// A port group is gone from its ports.
    fn leave_ports(&mut self, uuid: Uuid, group: &PortGroup) {
        for port in &group.ports {
            if let Some(groups) = self.links.port_groups.get_mut(port) {
                groups.retain(|of| *of != uuid);
                if groups.is_empty() {
                    self.links.port_groups.remove(port);
                }
            }
        }
    }

    /// A switch has these ports no more.
    fn leave_switch(&mut self, number: SwitchId, ports: &[Lport], touched: &mut Touched) {
        for port in ports {
            if let Some(port) = self.ports.get_mut(port.0 as usize)
                && port.switch == Some(number)
            {
                port.switch = None;
                touched.ports.insert(port.uuid);
            }
        }
    }

    fn put_switch(&mut self, row: &Row, touched: &mut Touched) {
        let uuid = row.uuid();
        let new = SwitchId(self.switches.len() as u32);
        let number = *self.switch_numbers.entry(uuid).or_insert(new);
        if number == new {
            self.switches.push(None);
        }
        let config: HashMap<String, String> = map(row, "other_config");
        if let Some(place) = self.switches.get_mut(number.0 as usize) {
            let old = place.take().unwrap_or_default();
            *place = Some(Switch {
                uuid,
                name: text(row, "name").into(),
                acls: references(row, "acls"),
                requested_key: config
                    .get("requested-tnl-key")
                    .and_then(|key| key.parse().ok()),
                config,
                ids: map(row, "external_ids"),
                dns: references(row, "dns_records"),
                copp: row.reference("copp"),
                ..old
            });
        }
        let ports = references(row, "ports");
        self.links.switch_ports.insert(uuid, ports);
        self.put_balancers(row);
        touched.switches.insert(number);
    }

    fn put_balancers(&mut self, row: &Row) {
        let balancers = ["load_balancer", "load_balancer_group"].map(|it| references(row, it));
        match balancers.iter().all(Vec::is_empty) {
            true => drop(self.links.balancers.remove(&row.uuid())),
            false => drop(self.links.balancers.insert(row.uuid(), balancers)),
        }
    }

    /// Load balancers of a switch or router, of groups too, each once.
    fn balancers_of(&self, uuid: Uuid) -> Vec<Uuid> {
        let Some([own, groups]) = self.links.balancers.get(&uuid) else {
            return Vec::new();
        };
        let of_groups = groups
            .iter()
            .filter_map(|group| self.balancer_groups.get(group));
        let mut balancers: Vec<Uuid> = own.iter().chain(of_groups.flatten()).copied().collect();
        balancers.sort_unstable();
        balancers.dedup();
        balancers
    }

    /// Ties what was touched together.
    fn link(&mut self, touched: &mut Touched) {
        if !touched.ports.is_empty() {
            // A switch may have been waiting for a port.
            let waiting = self.switches().filter(|(_, switch)| {
                let rows = self.links.switch_ports.get(&switch.uuid);
                rows.is_some_and(|rows| rows.len() != switch.ports.len())
            });
            let waiting: Vec<SwitchId> = waiting.map(|(number, _)| number).collect();
            touched.switches.extend(waiting);
        }
        if touched.balancers {
            let all: Vec<SwitchId> = self.switches().map(|(number, _)| number).collect();
            touched.switches.extend(all);
            touched.routers.extend(self.routers.keys());
        }
        for number in touched.switches.clone() {
            self.link_switch(number, touched);
        }
        for uuid in std::mem::take(&mut touched.routers) {
            let balancers = self.balancers_of(uuid);
            if let Some(router) = self.routers.get_mut(&uuid) {
                router.load_balancers = balancers;
            }
        }
        let of_ports = touched
            .ports
            .iter()
            .filter_map(|port| self.links.port_groups.get(port));
        touched.groups.extend(of_ports.flatten());
        for group in touched.groups.clone() {
            self.link_group(group, touched);
        }
        if touched.meters {
            let meters = self.links.meters.values();
            let meters = meters.map(|(name, band, meter)| {
                let band = band.and_then(|band| self.links.bands.get(&band));
                let [rate, burst] = band.copied().unwrap_or_default();
                let meter = Meter {
                    rate,
                    burst,
                    ..*meter
                };
                (name.clone(), meter)
            });
            self.meters = meters.collect();
        }
    }

    fn link_switch(&mut self, number: SwitchId, touched: &mut Touched) {
        let Some(switch) = self.switch(number) else {
            return;
        };
        let uuid = switch.uuid;
        let rows = self.links.switch_ports.get(&uuid);
        let ports: Vec<Lport> = rows
            .into_iter()
            .flatten()
            .filter_map(|port| self.port_numbers.get(port).copied())
            .collect();
        let balancers = self.balancers_of(uuid);
        let Some(Some(switch)) = self.switches.get_mut(number.0 as usize) else {
            return;
        };
        switch.load_balancers = balancers;
        if switch.ports != ports {
            let old = std::mem::replace(&mut switch.ports, ports.clone());
            self.leave_switch(number, &old, touched);
        }
        for port in ports {
            if let Some(port) = self.ports.get_mut(port.0 as usize)
                && port.switch != Some(number)
            {
                port.switch = Some(number);
                touched.ports.insert(port.uuid);
            }
        }
    }

    /// Gives switches their groups, and matches the groups' members.
    fn link_group(&mut self, uuid: Uuid, touched: &mut Touched) {
        let mut there = BTreeSet::new();
        if let Some(group) = self.groups.get(&uuid) {
            let members: Vec<&Port> = group
                .ports
                .iter()
                .filter_map(|port| self.ports.get(self.port_numbers.get(port)?.0 as usize))
                .collect();
            there.extend(members.iter().filter_map(|port| port.switch));
            let named = members
                .iter()
                .map(|port| (&*port.name, port.addresses.iter().map(String::as_str)));
            self.sets.set_ports(&group.name, named);
        }
        let there: Vec<SwitchId> = there.into_iter().collect();
        let before = match there.is_empty() {
            true => self.links.group_switches.remove(&uuid),
            false => self.links.group_switches.insert(uuid, there.clone()),
        };
        let before = before.unwrap_or_default();
        for number in before.iter().filter(|number| !there.contains(number)) {
            if let Some(Some(switch)) = self.switches.get_mut(number.0 as usize) {
                switch.groups.retain(|group| *group != uuid);
                touched.switches.insert(*number);
            }
        }
        for number in there.iter().filter(|number| !before.contains(number)) {
            if let Some(Some(switch)) = self.switches.get_mut(number.0 as usize) {
                let place = switch.groups.partition_point(|group| *group < uuid);
                switch.groups.insert(place, uuid);
                touched.switches.insert(*number);
            }
        }
    }
}

fn text(row: &Row, column: &str) -> String {
    row.text(column).unwrap_or_default().to_owned()
}

/// The selector that an address set stands for (go-controller/pkg/libovsdb/ops/db_object_types.go).
fn selector(row: &Row) -> Option<String> {
    let ids = row.column("external_ids")?;
    let is_selector = ids.lookup("k8s.ovn.org/owner-type") == Some("PodSelector");
    let name = ids.lookup("k8s.ovn.org/name").filter(|_| is_selector)?;
    Some(name.to_owned())
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
