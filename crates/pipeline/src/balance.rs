use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netverdict_types::Timestamp;
use uuid::Uuid;

use crate::{L4, Northbound, Packet};

/// The virtual addresses of a zone's load balancers, and who of the backends keeps a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    vips: Vec<Virtual>,
    /// By address, protocol and port. Load balancers of different switches may share one.
    exact: HashMap<(IpAddr, u8, u16), Vec<u32>>,
    /// Those without a port, which take all protocols.
    whole: HashMap<IpAddr, Vec<u32>>,
    /// By address alone.
    addresses: HashMap<IpAddr, Vec<u32>>,
    /// By a backend and the address that its connections to itself come from.
    turning: HashMap<(IpAddr, IpAddr), Vec<u32>>,
    /// The backend that a client was given by a virtual address with affinity, and when it last used it.
    kept: HashMap<(u32, IpAddr), (u32, Timestamp)>,
}

/// A virtual address.
#[derive(Clone, Debug)]
pub(crate) struct Virtual {
    pub(crate) balancer: Uuid,
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
    /// Those of its own family.
    backends: Vec<(IpAddr, Option<u16>)>,
    /// Whether clients are told when there are none (`reject`).
    pub(crate) rejects: bool,
    /// What a backend that reaches itself sees as the client (`hairpin_snat_ip`, else the virtual address).
    pub(crate) hairpin: IpAddr,
    /// `skip_snat`.
    pub(crate) skips_snat: bool,
    protocol: u8,
    /// Nanoseconds.
    affinity: Option<i64>,
}

impl Balance {
    pub(crate) fn new(northbound: &Northbound) -> Self {
        let mut this = Self::default();
        let mut balancers: Vec<_> = northbound.load_balancers.iter().collect();
        balancers.sort_unstable_by_key(|(uuid, _)| **uuid);
        for (uuid, balancer) in balancers {
            let option = |name: &str| balancer.options.get(name).map(String::as_str);
            let sources: Vec<IpAddr> = option("hairpin_snat_ip")
                .unwrap_or_default()
                .split([' ', ','])
                .filter_map(|word| word.parse().ok())
                .collect();
            let affinity = option("affinity_timeout").and_then(|seconds| seconds.parse().ok());
            for vip in &balancer.row.vips {
                let ours = |ip: &IpAddr| ip.is_ipv4() == vip.ip.is_ipv4();
                let number = this.vips.len() as u32;
                this.addresses.entry(vip.ip).or_default().push(number);
                match vip.port {
                    Some(port) => this
                        .exact
                        .entry((vip.ip, balancer.row.protocol, port))
                        .or_default(),
                    None => this.whole.entry(vip.ip).or_default(),
                }
                .push(number);
                let hairpin = sources.iter().copied().find(ours).unwrap_or(vip.ip);
                for (backend, _) in vip.backends.iter().filter(|(ip, _)| ours(ip)) {
                    let numbers = this.turning.entry((*backend, hairpin)).or_default();
                    if numbers.last() != Some(&number) {
                        numbers.push(number);
                    }
                }
                this.vips.push(Virtual {
                    balancer: *uuid,
                    ip: vip.ip,
                    port: vip.port,
                    backends: vip
                        .backends
                        .iter()
                        .filter(|(ip, _)| ours(ip))
                        .copied()
                        .collect(),
                    rejects: option("reject") == Some("true"),
                    hairpin,
                    skips_snat: option("skip_snat") == Some("true"),
                    protocol: balancer.row.protocol,
                    affinity: affinity
                        .filter(|seconds| *seconds > 0)
                        .map(|seconds: i64| seconds.saturating_mul(1_000_000_000)),
                });
            }
        }
        this
    }

    /// Whether it is an address of one of these load balancers.
    pub(crate) fn has_address(&self, balancers: &[Uuid], ip: IpAddr) -> bool {
        self.of(balancers, self.addresses.get(&ip)).next().is_some()
    }

    /// Whether a packet could be the answer of a backend of these load balancers to itself.
    pub(crate) fn answers_itself(&self, balancers: &[Uuid], packet: &Packet) -> bool {
        let found = packet.ip.and_then(|ends| self.turning.get(&ends));
        self.of(balancers, found)
            .filter_map(|number| self.vip(number))
            .any(|vip| vip.answers_itself(packet))
    }

    /// The virtual address that a packet goes to, of these load balancers (sorted): one with its port comes before one without
    /// (`build_lb_rules` in northd.c).
    pub(crate) fn find(&self, balancers: &[Uuid], packet: &Packet) -> Option<u32> {
        let (_, to) = packet.ip?;
        let port = ports(packet).map(|(_, to)| to);
        let exact = port.and_then(|port| self.exact.get(&(to, packet.protocol, port)));
        self.of(balancers, exact)
            .chain(self.of(balancers, self.whole.get(&to)))
            .next()
    }

    fn of(&self, balancers: &[Uuid], numbers: Option<&Vec<u32>>) -> impl Iterator<Item = u32> {
        let numbers = numbers.into_iter().flatten().copied();
        numbers.filter(move |number| {
            let vip = self.vip(*number);
            vip.is_some_and(|vip| balancers.binary_search(&vip.balancer).is_ok())
        })
    }

    pub(crate) fn vip(&self, number: u32) -> Option<&Virtual> {
        self.vips.get(number as usize)
    }

    /// The backend for a new connection: the one asked for, if it is one; the one that this client had, if it keeps it; else by the
    /// connection's ends, always the same for the same.
    pub(crate) fn choose(
        &mut self,
        number: u32,
        packet: &Packet,
        asked: Option<IpAddr>,
        now: Timestamp,
    ) -> Option<(IpAddr, Option<u16>)> {
        let vip = self.vips.get(number as usize)?;
        let client = packet.ip?.0;
        let kept = vip.affinity.and_then(|timeout| {
            let (backend, last) = *self.kept.get(&(number, client))?;
            (now.0.saturating_sub(last.0) < timeout).then_some(backend as usize)
        });
        let asked = asked.and_then(|asked| {
            vip.backends
                .iter()
                .position(|(backend, _)| *backend == asked)
        });
        let count = vip.backends.len() as u64;
        let chosen = asked.or(kept).or_else(|| {
            let ends = (packet.ip, packet.protocol, ports(packet));
            let hash = FixedState::default().hash_one(ends);
            hash.checked_rem(count).map(|chosen| chosen as usize)
        })?;
        let backend = *vip.backends.get(chosen)?;
        if vip.affinity.is_some() {
            self.kept.insert((number, client), (chosen as u32, now));
        }
        Some(backend)
    }
}

impl Virtual {
    pub(crate) fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// Whether a packet that was sent to this virtual address has come to one of its backends, which sent it itself
    /// (`add_lb_vip_hairpin_flows` in ovn-controller's lflow.c).
    pub(crate) fn turns_back(&self, packet: &Packet) -> bool {
        packet.ip.is_some_and(|(from, to)| {
            from == to && self.is_backend(to, packet.protocol, ports(packet).map(|(_, to)| to))
        })
    }

    /// Whether a packet could be a backend's answer to itself (`add_lb_vip_hairpin_reply_action`).
    pub(crate) fn answers_itself(&self, packet: &Packet) -> bool {
        packet.ip.is_some_and(|(from, to)| {
            to == self.hairpin
                && self.is_backend(from, packet.protocol, ports(packet).map(|(from, _)| from))
        })
    }

    fn is_backend(&self, ip: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        self.backends
            .iter()
            .any(|backend| match (backend.0 == ip, backend.1) {
                (true, Some(own)) => protocol == self.protocol && port == Some(own),
                (same, None) => same,
                _ => false,
            })
    }
}

/// Source and destination port.
pub(crate) fn ports(packet: &Packet) -> Option<(u16, u16)> {
    match packet.l4 {
        L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
            Some((src, dst))
        }
        _ => None,
    }
}
