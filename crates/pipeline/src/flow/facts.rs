//! What flows depend on besides ACLs.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use netverdict_types::App;
use uuid::Uuid;

use super::Release;
use crate::northbound::{Dhcp, Switch};
use crate::{Lport, Northbound, Port};

/// What all switches share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    pub(super) release: Release,
    /// `default_acl_drop`.
    pub(super) drops_by_default: bool,
    /// `use_ct_inv_match`.
    pub(super) inv: bool,
    /// `acl_ct_translation` (from OVN 26.03).
    pub(super) translates: bool,
    /// What drops a packet (debug.c, `debug_implicit_drop_action`).
    pub(super) drop: String,
    /// Numbers of the applications that sample new and established connections; 0 is none.
    pub(super) new: u8,
    pub(super) established: u8,
}

impl Settings {
    pub(super) fn new(northbound: &Northbound, release: Release) -> Self {
        let options = &northbound.options;
        Self {
            release,
            drops_by_default: is_true(options, "default_acl_drop"),
            inv: !is_false(options, "use_ct_inv_match"),
            translates: release == Release::R26_03 && is_true(options, "acl_ct_translation"),
            drop: drop_action(northbound),
            new: northbound.app_id(App::AclNew),
            established: northbound.app_id(App::AclEst),
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.release == Release::R26_03
    }
}

/// `smap_get_bool` with the default false.
pub(crate) fn is_true(options: &HashMap<String, String>, key: &str) -> bool {
    options
        .get(key)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Not `smap_get_bool` with the default true.
pub(crate) fn is_false(options: &HashMap<String, String>, key: &str) -> bool {
    options
        .get(key)
        .is_some_and(|value| value.eq_ignore_ascii_case("false"))
}

/// debug.c, `init_debug_config`.
fn drop_action(northbound: &Northbound) -> String {
    let option = |name: &str| {
        let value = northbound.options.get(name);
        value
            .and_then(|value| value.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let set = option("debug_drop_collector_set");
    let domain = match northbound.app_id(App::Drop) {
        0 => option("debug_drop_domain_id"),
        app => app.into(),
    };
    if set == 0 || domain >= u8::MAX.into() {
        return "/* drop */".to_owned();
    }
    // Printed as a signed number.
    let set = set as i32;
    format!(
        "sample(probability=65535,collector_set={set},obs_domain={domain},obs_point=$cookie); /* drop */"
    )
}

/// What a switch is like by its ACLs and load balancers (en-ls-stateful.c).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Nature {
    pub(super) has_acls: bool,
    /// Whether it has an allow-related ACL.
    pub(super) related: bool,
    /// Whether it has a load balancer with a VIP.
    pub(super) vip: bool,
    /// The highest tier of each block.
    pub(super) tiers: [u8; 3],
}

impl Nature {
    /// Whether ACLs are evaluated with conntrack.
    pub(super) fn stateful(self) -> bool {
        self.related || self.vip
    }
}

/// Ports of routers by name: whether it is a gateway bound to chassis, on a router that is not.
pub(crate) type Peers<'a> = HashMap<&'a str, bool>;

/// The ports of routers that switches can be joined with (northd.c, `join_logical_ports`).
pub(crate) fn peers(northbound: &Northbound) -> Peers<'_> {
    let routers = northbound.routers.values();
    let mut peers = Peers::new();
    for router in routers.filter(|router| !router.disabled) {
        let ports = router.ports.iter();
        for port in ports.filter_map(|port| northbound.router_ports.get(port)) {
            if port.peer.is_none() && mac(&port.mac).is_some() {
                let gateway = port.bound && !router.options.contains_key("chassis");
                peers.insert(&port.name, gateway);
            }
        }
    }
    peers
}

/// What a switch is like otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) vip: bool,
    /// Ports, quoted, whose packets go past conntrack.
    pub(crate) untracked: Vec<String>,
    /// Matches of DHCP answers to its ports.
    pub(crate) dhcp: Vec<String>,
    pub(crate) has_dns: bool,
    pub(crate) reject_meter: Option<Arc<str>>,
    /// `dynamic-routing-vni` (from OVN 25.09).
    pub(crate) evpn: bool,
    /// `enable-stateless-acl-with-lb` (from OVN 25.09).
    pub(crate) stateless_with_lb: bool,
    /// Whether the switch itself names load balancers.
    pub(crate) has_balancers: bool,
    /// Ports, quoted, that get copies (from OVN 25.09).
    pub(crate) mirrors: Vec<String>,
    /// Network functions and their ports, quoted, as far as they are on this switch (from OVN 25.09).
    pub(crate) functions: Vec<(Uuid, [String; 2])>,
}

impl Facts {
    pub(crate) fn new(
        northbound: &Northbound,
        peers: &Peers<'_>,
        switch: &Switch,
        release: Release,
    ) -> Self {
        let ports: Vec<&Port> = switch
            .ports
            .iter()
            .filter_map(|number| northbound.port(*number))
            .collect();
        let copp = switch.copp.and_then(|copp| northbound.copps.get(&copp));
        let meter = copp.and_then(Option::as_deref);
        let mut facts = Self {
            vip: northbound.has_vip(switch),
            untracked: ports
                .iter()
                .filter(|port| is_untracked(port, peers, release))
                .map(|port| quoted(&port.name))
                .collect(),
            dhcp: Vec::new(),
            has_dns: switch
                .dns
                .iter()
                .any(|dns| northbound.dns.get(dns) == Some(&true)),
            reject_meter: meter
                .filter(|meter| northbound.meters.contains_key(*meter))
                .map(Arc::from),
            ..Self::default()
        };
        if !switch.config.contains_key("dhcp_relay_port") {
            for port in &ports {
                facts.add_dhcp(northbound, port);
            }
        }
        if release == Release::R26_03 {
            facts.add_new(northbound, switch, &ports);
        }
        facts
    }

    /// What OVN 26.03 reads more.
    fn add_new(&mut self, northbound: &Northbound, switch: &Switch, ports: &[&Port]) {
        let vni = switch.config.get("dynamic-routing-vni");
        self.evpn = vni
            .and_then(|vni| vni.parse::<u32>().ok())
            .is_some_and(|vni| vni < 1 << 24);
        self.stateless_with_lb = is_true(&switch.config, "enable-stateless-acl-with-lb");
        // Those of groups are forgotten (`build_lb_datapaths`).
        self.has_balancers = northbound.has_own_balancer(switch);
        let mirrors = ports.iter().flat_map(|port| &port.mirrors);
        self.mirrors = mirrors
            .filter_map(|mirror| northbound.mirrors.get(mirror))
            .filter(|sink| northbound.port_named(sink).is_some())
            .map(|sink| quoted(&format!("mp-{}-{sink}", switch.name)))
            .collect();
        self.mirrors.sort_unstable();
        self.mirrors.dedup();
        let here = |row: &Uuid| {
            let wanted = northbound.port_of_row(*row)?;
            let named = ports.iter().find(|port| port.name == wanted.name);
            let child = || {
                let parent = |port: &&&Port| port.parent.as_deref() == Some(&*wanted.name);
                ports.iter().find(parent)
            };
            Some(quoted(&named.or_else(child)?.name))
        };
        for (uuid, [input, output]) in &northbound.functions {
            if let (Some(input), Some(output)) = (here(input), here(output)) {
                self.functions.push((*uuid, [input, output]));
            }
        }
        self.functions.sort_unstable();
    }

    /// `build_dhcpv4_options_flows`, `build_dhcpv6_options_flows`.
    fn add_dhcp(&mut self, northbound: &Northbound, port: &Port) {
        if port.disabled || matches!(port.kind.as_str(), "router" | "external") {
            return;
        }
        let [v4, v6] = port
            .dhcp
            .map(|dhcp| dhcp.and_then(|dhcp| northbound.dhcp.get(&dhcp)));
        if v4.is_none() && v6.is_none() {
            return;
        }
        let outport = quoted(&port.name);
        for (_, addresses) in port.hosts() {
            let addresses: Vec<IpAddr> = addresses.collect();
            let is_for = |dhcp: &&Dhcp| addresses.iter().any(|address| is_in(*address, &dhcp.cidr));
            if let Some(Dhcp { options, .. }) = v4.filter(is_for)
                && let (Some(id), Some(server), true) = (
                    options.get("server_id"),
                    options.get("server_mac"),
                    options.contains_key("lease_time"),
                )
            {
                self.dhcp.push(format!(
                    "outport == {outport} && eth.src == {server} && ip4.src == {id} && udp && udp.src == 67 && udp.dst == 68"
                ));
            }
            if let Some(server) = v6
                .filter(is_for)
                .and_then(|dhcp| dhcp.options.get("server_id"))
                && let Some(bytes) = mac(server)
            {
                let address = link_local(bytes);
                self.dhcp.push(format!(
                    "outport == {outport} && eth.src == {server} && ip6.src == {address} && udp && udp.src == 547 && udp.dst == 546"
                ));
            }
        }
    }
}

/// The ports of a switch whose packets conntrack does not see, if the switch has stateful ACLs.
pub(crate) fn untracked<'a>(
    northbound: &'a Northbound,
    peers: &'a Peers<'_>,
    switch: &'a Switch,
    release: Release,
) -> impl Iterator<Item = Lport> {
    let is_untracked = move |number: &&Lport| {
        let port = northbound.port(**number);
        port.is_some_and(|port| is_untracked(port, peers, release))
    };
    switch.ports.iter().filter(is_untracked).copied()
}

/// Whose packets conntrack does not see, on a switch with stateful ACLs (`build_ls_stateful_rec_pre_acls`).
fn is_untracked(port: &Port, peers: &Peers<'_>, release: Release) -> bool {
    match port.kind.as_str() {
        "localnet" => true,
        "switch" => release == Release::R26_03,
        "router" => {
            let peer = port.options.get("router-port");
            match peer.and_then(|peer| peers.get(peer.as_str())) {
                Some(gateway) => !(*gateway && is_true(&port.options, "enable_router_port_acl")),
                None => false,
            }
        }
        _ => false,
    }
}

/// Whether an address is in a network given by its prefix or its mask.
fn is_in(address: IpAddr, network: &str) -> bool {
    let (host, mask) = match network.split_once('/') {
        Some((host, mask)) => (host, Some(mask)),
        None => (network, None),
    };
    let bits = |text: &str| match text.parse() {
        Ok(IpAddr::V4(address)) => Some((32, u128::from(address.to_bits()))),
        Ok(IpAddr::V6(address)) => Some((128, address.to_bits())),
        Err(_) => None,
    };
    let Some((width, host)) = bits(host) else {
        return false;
    };
    let all = u128::MAX >> (128 - width);
    let mask = match mask.map(|mask| (mask.parse::<u32>(), mask)) {
        None => all,
        Some((Ok(prefix), _)) if prefix <= width => all & !all.checked_shr(prefix).unwrap_or(0),
        Some((Ok(_), _)) => return false,
        Some((Err(_), mask)) => match bits(mask) {
            Some((of, mask)) if of == width => mask,
            _ => return false,
        },
    };
    let address = match address {
        IpAddr::V4(address) if width == 32 => address.to_bits().into(),
        IpAddr::V6(address) if width == 128 => address.to_bits(),
        _ => return false,
    };
    (address ^ host) & mask == 0
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut words = text.split(':');
    for byte in &mut bytes {
        let word = words.next()?;
        let digits = word.len() <= 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        *byte = u8::from_str_radix(word, 16).ok().filter(|_| digits)?;
    }
    words.next().is_none().then_some(bytes)
}

/// The link-local address that belongs to a MAC address (RFC 4291, appendix A).
fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        pair(a ^ 2, b),
        pair(c, 0xff),
        pair(0xfe, d),
        pair(e, f),
    )
}

/// A name as a JSON string, as northd quotes it.
pub(super) fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for letter in name.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control < ' ' => {
                text.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
    text
}
