use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::constant::{AddressSet, PortGroup};

/// What a match may name. OVN looks the names up while it parses, and drops a match with one that it does not find.
pub trait Names {
    /// The address set of that name (`$name`).
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>>;

    /// The port group of that name (`@name`).
    fn port_group(&self, name: &str) -> Option<Arc<PortGroup>>;

    /// Whether a logical port is on this chassis (`is_chassis_resident("name")`).
    fn is_resident(&self, port: &str) -> bool;
}

/// Address sets and port groups as the northbound database has them, with the two address sets that OVN makes of each port group: `$NAME_ip4`
/// and `$NAME_ip6`, the addresses of its ports. An address set that has such a name itself comes first.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    addresses: HashMap<String, Arc<AddressSet>>,
    implicit: HashMap<String, Arc<AddressSet>>,
    groups: HashMap<String, Arc<PortGroup>>,
    residents: HashSet<String>,
}

impl Sets {
    /// Nothing has a name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces an address set; returns the entries that are no addresses, which OVN skips.
    pub fn set_addresses<'a>(
        &mut self,
        name: &str,
        addresses: impl IntoIterator<Item = &'a str>,
    ) -> Vec<&'a str> {
        let (set, skipped) = AddressSet::new(addresses);
        self.addresses.insert(name.into(), Arc::new(set));
        skipped
    }

    /// Adds or replaces a port group. Each port has a name and what the columns `addresses` and `dynamic_addresses` of its row hold:
    /// `MAC ADDRESS…`. Other entries (`router`, `unknown`, `dynamic`) have no addresses.
    pub fn set_ports<'a, A>(&mut self, name: &str, ports: impl IntoIterator<Item = (&'a str, A)>)
    where
        A: IntoIterator<Item = &'a str>,
    {
        let mut members = Vec::new();
        let [mut ip4, mut ip6] = [const { Vec::new() }; 2];
        for (port, addresses) in ports {
            members.push(port);
            for entry in addresses {
                for word in entry.split_ascii_whitespace().skip(1) {
                    let host = word.split_once('/').map_or(word, |(host, _)| host);
                    if host.parse::<std::net::Ipv4Addr>().is_ok() {
                        ip4.push(host);
                    } else if host.parse::<std::net::Ipv6Addr>().is_ok() {
                        ip6.push(host);
                    }
                }
            }
        }
        for (family, addresses) in [("ip4", ip4), ("ip6", ip6)] {
            let set = Arc::new(AddressSet::new(addresses).0);
            self.implicit.insert(format!("{name}_{family}"), set);
        }
        self.groups
            .insert(name.into(), Arc::new(PortGroup::new(members)));
    }

    /// An address set is gone.
    pub fn remove_addresses(&mut self, name: &str) {
        self.addresses.remove(name);
    }

    /// A port group is gone, with its address sets.
    pub fn remove_ports(&mut self, name: &str) {
        self.groups.remove(name);
        for family in ["ip4", "ip6"] {
            self.implicit.remove(&format!("{name}_{family}"));
        }
    }

    /// Says that a port is not on this chassis any more.
    pub fn remove_resident(&mut self, port: &str) {
        self.residents.remove(port);
    }

    /// Says that a port is on this chassis.
    pub fn set_resident(&mut self, port: &str) {
        self.residents.insert(port.into());
    }
}

impl Names for Sets {
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>> {
        self.addresses
            .get(name)
            .or_else(|| self.implicit.get(name))
            .cloned()
    }

    fn port_group(&self, name: &str) -> Option<Arc<PortGroup>> {
        self.groups.get(name).cloned()
    }

    fn is_resident(&self, port: &str) -> bool {
        self.residents.contains(port)
    }
}
