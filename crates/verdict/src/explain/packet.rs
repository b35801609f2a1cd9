//! Packets that are sent to see what becomes of them, and how packets are told.

use std::net::{IpAddr, SocketAddr};

use netverdict_manifest::Protocol;
use netverdict_pipeline::{L4, Packet};

use crate::near::Transport;

const CLIENT_PORT: u16 = 40_000;
/// The flag of TCP that all but a connection's first packet have (RFC 9293).
pub(super) const ACK: u16 = 0x010;

/// The number of a protocol with ports (IANA).
pub(super) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The first packet of a connection.
pub(super) fn first(src: IpAddr, dst: IpAddr, transport: Transport) -> Packet {
    match transport {
        Transport::Port(protocol, port) => {
            let (src, dst) = (
                SocketAddr::new(src, CLIENT_PORT),
                SocketAddr::new(dst, port),
            );
            match protocol {
                Protocol::Tcp => Packet::tcp(src, dst),
                Protocol::Udp => Packet::udp(src, dst),
                Protocol::Sctp => Packet::sctp(src, dst),
            }
        }
        Transport::Icmp => Packet::icmp_echo(src, dst, 1),
        Transport::Other(protocol) => Packet::ip(src, dst, protocol, L4::Other),
    }
}

/// What was asked for: `8080/tcp`.
pub(super) fn transport(transport: Transport) -> String {
    match transport {
        Transport::Port(protocol, port) => {
            format!("{port}/{}", protocol.as_str().to_lowercase())
        }
        Transport::Icmp => "icmp".to_owned(),
        Transport::Other(number) => format!("ip protocol {number}"),
    }
}

/// A packet for people: `10.244.0.5:40000 -> 10.96.0.1:443 tcp syn`.
pub(super) fn tell(packet: &Packet) -> String {
    let Some((src, dst)) = packet.ip else {
        return format!("a packet of ethertype {:#06x}", packet.eth_type);
    };
    let ends = |src_port: u16, dst_port: u16| {
        format!(
            "{} -> {}",
            SocketAddr::new(src, src_port),
            SocketAddr::new(dst, dst_port)
        )
    };
    match packet.l4 {
        L4::Tcp {
            src: a,
            dst: b,
            flags,
        } => {
            let flag = match flags & 0x17 {
                0x02 => "syn",
                0x12 => "syn-ack",
                0x04 | 0x14 => "rst",
                0x10 => "ack",
                _ => "",
            };
            format!("{} tcp {flag}", ends(a, b)).trim_end().to_owned()
        }
        L4::Udp { src: a, dst: b } => format!("{} udp", ends(a, b)),
        L4::Sctp { src: a, dst: b, .. } => format!("{} sctp", ends(a, b)),
        L4::Icmp { kind, code, .. } => {
            let what = match (packet.protocol, kind) {
                (1, 8) | (58, 128) => "icmp echo request".to_owned(),
                (1, 0) | (58, 129) => "icmp echo reply".to_owned(),
                _ => format!("icmp type {kind} code {code}"),
            };
            format!("{src} -> {dst} {what}")
        }
        _ => format!("{src} -> {dst} ip protocol {}", packet.protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_back() {
        let (a, b) = ("10.0.0.1".parse(), "10.0.0.2".parse());
        let (Ok(a), Ok(b)) = (a, b) else {
            unreachable!()
        };
        let asked = first(a, b, Transport::Port(Protocol::Tcp, 80));
        assert_eq!(tell(&asked), "10.0.0.1:40000 -> 10.0.0.2:80 tcp syn");
        let answer = asked.reply();
        assert_eq!(tell(&answer), "10.0.0.2:80 -> 10.0.0.1:40000 tcp syn-ack");
        assert_eq!(
            tell(&asked.with_tcp_flags(ACK)),
            "10.0.0.1:40000 -> 10.0.0.2:80 tcp ack"
        );
        let ping = first(a, b, Transport::Icmp);
        assert_eq!(tell(&ping.reply()), "10.0.0.2 -> 10.0.0.1 icmp echo reply");
    }
}
