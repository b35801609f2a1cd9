use netverdict_types::{
    App, Decision, Direction, EndpointKind, IcmpKind, Origin, OwnerKind, Pipeline, Service,
    TcpFlags, Verdict,
};

use crate::key::{End, Key};

/// What of a decision says which connection it belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    /// The sender as client.
    pub(crate) key: Key,
    /// By our clock.
    pub(crate) time: i64,
    /// Whether it goes back to who began, as far as the packet or its source tells.
    pub(crate) reply: Option<bool>,
    /// True where the packet itself tells that, not its source.
    pub(crate) says_itself: bool,
    /// True for the first packet of a TCP connection, sent again or not.
    pub(crate) opens: bool,
    /// Of the first packet, its sequence number.
    pub(crate) isn: Option<u32>,
    pub(crate) flags: TcpFlags,
    pub(crate) icmp: Option<IcmpKind>,
    /// The service that the sender or the receiver belongs to.
    pub(crate) service: Option<&'a Service>,
    /// True where sender or receiver is the service's own address, not a backend.
    pub(crate) shows_service: bool,
}

/// Why a decision belongs to no connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Keyless {
    /// An address or the protocol is not known.
    Unknown,
    /// A later fragment: no ports.
    Fragment,
}

impl<'a> Packet<'a> {
    pub(crate) fn new(decision: &Decision<'a>, network: u32, ahead: i64) -> Result<Self, Keyless> {
        let headers = &decision.headers;
        let (Some(src), Some(dst), Some(protocol)) =
            (decision.src.ip, decision.dst.ip, headers.protocol)
        else {
            return Err(Keyless::Unknown);
        };
        if headers.later_fragment {
            return Err(Keyless::Fragment);
        }
        let (src_port, dst_port) = match protocol {
            ICMP | ICMP6 => (headers.icmp_id, headers.icmp_id),
            _ => (decision.src.port, decision.dst.port),
        };
        let flags = headers.tcp_flags.unwrap_or_default();
        let of_tcp = flags.has(TcpFlags::SYN).then(|| flags.has(TcpFlags::ACK));
        let opens = of_tcp == Some(false);
        let is_at = |service: &Service, ip, port: Option<u16>| {
            service.ip == ip && service.port.is_none_or(|own| Some(own) == port)
        };
        // Only who sent to itself by its service comes back from the hairpin address.
        let (client, server) = match (is_hairpin(&decision.src), is_hairpin(&decision.dst)) {
            (true, false) => (dst, dst),
            (false, true) => (src, src),
            _ => (src, dst),
        };
        let service = decision.service;
        let asked = service.is_some_and(|it| is_at(it, dst, dst_port));
        let answers = service.is_some_and(|it| is_at(it, src, src_port));
        let of_service = match (asked, answers) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            _ => None,
        };
        Ok(Self {
            key: Key {
                client: End::new(client, src_port),
                server: End::new(server, dst_port),
                network,
                protocol,
            },
            time: decision.time.0.saturating_sub(ahead),
            reply: of_tcp.or(of_service).or(decision.reply),
            says_itself: of_tcp.or(of_service).is_some(),
            opens,
            isn: headers.tcp_seq.filter(|_| opens),
            flags,
            icmp: headers.icmp,
            service,
            shows_service: asked || answers,
        })
    }

    /// Client and server of a packet that shows a service.
    pub(crate) fn ends_by_service(&self) -> (End, End) {
        match self.reply {
            Some(true) => (self.key.server, self.key.client),
            _ => (self.key.client, self.key.server),
        }
    }

    /// Who is the client where nothing tells: the one with the greater port, else the sender.
    pub(crate) fn guess_reply(&self) -> bool {
        self.key.client.port() < self.key.server.port()
    }
}

/// ovn-kubernetes' address for pods that reach themselves by a service.
pub(crate) fn is_hairpin(end: &netverdict_types::End<'_>) -> bool {
    end.endpoint.is_some_and(|endpoint| {
        endpoint.kind == EndpointKind::Masquerade && endpoint.name.as_deref() == Some("hairpin")
    })
}

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMP6: u8 = 58;

/// The half of a connection that a decision belongs to.
pub(crate) fn half(decision: &Decision<'_>, is_reply: bool) -> Direction {
    if let Some(acl) = decision.acl.map(|row| row.acl()) {
        return match (acl.owner.direction, &acl.owner.kind, acl.pipeline) {
            (Some(direction), ..) => direction,
            // It stands in to-lport, though it matches who sends (ovn-kubernetes
            // go-controller/pkg/ovn/egressfirewall.go).
            (None, OwnerKind::EgressFirewall, _) => Direction::Egress,
            (None, _, Pipeline::ToLport) => Direction::Ingress,
            (None, _, Pipeline::FromLport | Pipeline::FromLportAfterLb) => Direction::Egress,
        };
    }
    if let Some(flow) = decision.flow {
        return match flow.stage.contains("_out_") {
            true => Direction::Ingress,
            false => Direction::Egress,
        };
    }
    // Nobody is known: the node that saw it is the client's or the server's.
    let lives_here = |end: &netverdict_types::End<'_>| {
        let node = end.endpoint.and_then(|endpoint| endpoint.node.as_deref());
        node.is_some() && node == decision.node
    };
    let (client, server) = match is_reply {
        true => (&decision.dst, &decision.src),
        false => (&decision.src, &decision.dst),
    };
    match (lives_here(client), lives_here(server)) {
        (false, true) => Direction::Ingress,
        _ => Direction::Egress,
    }
}

/// Where in its zone a packet was counted, so that each packet is there once: a stage, and for
/// each tier that passes packets on one of its own.
pub(crate) fn stage(decision: &Decision<'_>) -> u8 {
    match decision.acl.map(|row| row.acl()) {
        Some(acl) => {
            let tier = match decision.verdict {
                Verdict::Delegated => 1 + acl.tier % 4,
                _ => 0,
            };
            tier << 4 | acl.pipeline as u8
        }
        None if decision.app == Some(App::Drop) => DROP_APP,
        None => 3,
    }
}

pub(crate) const DROP_APP: u8 = 4;

/// True where a source tells packets one by one or by what was added, not by how it stands.
pub(crate) fn counts(origin: Origin) -> bool {
    !matches!(origin, Origin::Conntrack | Origin::Datapath)
}
