use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netverdict_ovn::expr::Field;

/// The headers of a packet: what matches read and NAT writes. Small, and without anything that must be allocated.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Packet {
    /// Source MAC address.
    pub eth_src: [u8; 6],
    /// Destination MAC address.
    pub eth_dst: [u8; 6],
    /// `vlan.tci` of the outer tag, with the bit 0x1000 that says that there is one; 0 without a tag.
    pub vlan_tci: u16,
    /// Ethertype after the outer tag, which is as far as Open vSwitch looks; 0x5ff for an IEEE 802.3 frame that names none.
    pub eth_type: u16,
    /// Source and destination address, if it is IP: of one family.
    pub ip: Option<(IpAddr, IpAddr)>,
    /// IP protocol (IANA), after the extension headers of IPv6; 44 in later fragments of IPv6, as Open vSwitch has it.
    pub protocol: u8,
    /// DSCP (6 bits) and ECN (2 bits), as they lie in the header.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Flow label of IPv6.
    pub flow_label: u32,
    /// `ip.frag`: bit 0 a fragment, bit 1 not the first one.
    pub fragment: u8,
    /// Identification: what the fragments of a packet have in common. Always there in IPv4 (16 bits), in IPv6 only with fragments.
    pub ip_id: u32,
    /// What is above IP.
    pub l4: L4,
    /// Of an ICMP error: the connection of the packet that it is about, as that packet had it.
    pub about: Option<Tuple>,
    /// Bytes of the frame.
    pub length: u32,
}

/// What is above IP, or ARP.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum L4 {
    /// Nothing that is known, or cut off.
    #[default]
    Other,
    /// TCP: ports and flags.
    Tcp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// The flags, 12 bits.
        flags: u16,
    },
    /// UDP.
    Udp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// SCTP.
    Sctp {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
        /// Type of the first chunk (RFC 9260 section 3.2); 255 if there is none.
        chunk: u8,
    },
    /// ICMP of version 4 or 6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of an echo, or of another query that has one; else 0.
        id: u16,
        /// Target of neighbour discovery.
        target: Option<Ipv6Addr>,
        /// Link-layer address that neighbour discovery tells: the source's in a solicitation, the target's in an advertisement.
        link: Option<[u8; 6]>,
    },
    /// ARP or RARP.
    Arp {
        /// Operation.
        op: u16,
        /// Sender's MAC address.
        sha: [u8; 6],
        /// Sender's address.
        spa: Ipv4Addr,
        /// Target's MAC address.
        tha: [u8; 6],
        /// Target's address.
        tpa: Ipv4Addr,
    },
}

/// Both ends of a connection in one direction. Protocols without ports have 0 there. Of an ICMP query or its reply the identifier is the source
/// port, and type and code are the upper and lower byte of the destination port: an answer has another type than the question.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tuple {
    /// IP protocol.
    pub protocol: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PacketError {
    /// Not even an Ethernet header.
    #[error("a frame of {0} bytes has no Ethernet header")]
    TooShort(usize),
}

impl Packet {
    /// Reads a frame, as Open vSwitch does (`miniflow_extract`): any bytes that have an Ethernet header are a packet; what is cut off or wrong in
    /// itself is not there. Checksums are not looked at.
    ///
    /// # Errors
    /// If there is no Ethernet header.
    pub fn parse(frame: &[u8]) -> Result<Self, PacketError> {
        read::frame(frame)
    }

    /// Writes the frame: lengths and checksums are right, what is not kept here has usual values, and a payload that is always the same fills
    /// it up to `length`. What `parse` read it reads again.
    ///
    /// Headers are written even if `length` is too short for them; an IP packet has 65535 bytes at most.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::frame(self, out);
    }

    /// The first packet of a TCP connection.
    pub fn tcp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::ip(
            src.ip(),
            dst.ip(),
            protocol::TCP,
            L4::Tcp {
                src: src.port(),
                dst: dst.port(),
                flags: tcp::SYN,
            },
        )
    }

    /// A packet of UDP without payload.
    pub fn udp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::ip(
            src.ip(),
            dst.ip(),
            protocol::UDP,
            L4::Udp {
                src: src.port(),
                dst: dst.port(),
            },
        )
    }

    /// The first packet of an SCTP association.
    pub fn sctp(src: SocketAddr, dst: SocketAddr) -> Self {
        Self::ip(
            src.ip(),
            dst.ip(),
            protocol::SCTP,
            L4::Sctp {
                src: src.port(),
                dst: dst.port(),
                chunk: sctp::INIT,
            },
        )
    }

    /// An echo request.
    pub fn icmp_echo(src: IpAddr, dst: IpAddr, id: u16) -> Self {
        let (protocol, kind) = match src {
            IpAddr::V4(_) => (protocol::ICMP, 8),
            IpAddr::V6(_) => (protocol::ICMPV6, 128),
        };
        Self::ip(src, dst, protocol, icmp(kind, 0, id))
    }

    /// A request of ARP: who has `tpa`?
    pub fn arp_request(sha: [u8; 6], spa: Ipv4Addr, tpa: Ipv4Addr) -> Self {
        let packet = Self {
            eth_src: sha,
            eth_dst: [0xff; 6],
            eth_type: ETH_ARP,
            l4: L4::Arp {
                op: 1,
                sha,
                spa,
                tha: [0; 6],
                tpa,
            },
            ..Self::default()
        };
        packet.shortest()
    }

    /// A packet of IP with any protocol, from MAC address 0 to MAC address 0, as short as it can be.
    pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, l4: L4) -> Self {
        let packet = Self {
            eth_type: if src.is_ipv4() { ETH_IPV4 } else { ETH_IPV6 },
            ip: Some((src, dst)),
            protocol,
            ttl: 64,
            l4,
            ..Self::default()
        };
        packet.shortest()
    }

    /// The same packet from and to other MAC addresses.
    #[must_use]
    pub fn between(self, eth_src: [u8; 6], eth_dst: [u8; 6]) -> Self {
        Self {
            eth_src,
            eth_dst,
            ..self
        }
    }

    /// The same segment of TCP with other flags; other packets stay as they are.
    #[must_use]
    pub fn with_tcp_flags(mut self, to: u16) -> Self {
        if let L4::Tcp { flags, .. } = &mut self.l4 {
            *flags = to;
        }
        self
    }

    /// The same packet with a payload of so many bytes.
    #[must_use]
    pub fn with_payload(self, bytes: u32) -> Self {
        let mut packet = self.shortest();
        packet.length += bytes;
        packet
    }

    /// The same packet without payload.
    #[must_use]
    pub fn shortest(mut self) -> Self {
        self.length = write::headers_length(&self);
        self
    }

    /// The connection that the packet belongs to, in the packet's own direction; `None` if it belongs to none: not IP, cut off, a later fragment, or
    /// a message of ICMP that is neither a query nor its answer.
    pub fn tuple(&self) -> Option<Tuple> {
        let (src, dst) = self.ip?;
        if self.is_later_fragment() {
            return None;
        }
        let (src_port, dst_port) = match self.l4 {
            L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
                (src, dst)
            }
            L4::Icmp { kind, code, id, .. } => {
                answer_of(self.protocol, kind)?;
                (id, u16::from_be_bytes([kind, code]))
            }
            L4::Other if protocol::is_known(src.is_ipv6(), self.protocol) => return None,
            L4::Other => (0, 0),
            L4::Arp { .. } => return None,
        };
        Some(Tuple {
            protocol: self.protocol,
            src,
            dst,
            src_port,
            dst_port,
        })
    }

    /// True for a fragment other than the first: it has no ports.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment & FRAGMENT_LATER != 0
    }

    /// A usual answer to the packet: ends swapped, SYN answered by SYN+ACK, FIN by FIN+ACK, other segments by ACK, queries of ICMP, ARP and
    /// neighbour discovery by their answers, chunks of SCTP by theirs. UDP and echoes answer with as many bytes.
    #[must_use]
    pub fn reply(&self) -> Self {
        let mut reply = Self {
            eth_src: self.eth_dst,
            eth_dst: self.eth_src,
            ip: self.ip.map(|(src, dst)| (dst, src)),
            ttl: if self.ip.is_some() { 64 } else { 0 },
            flow_label: 0,
            fragment: 0,
            ip_id: 0,
            about: None,
            ..*self
        };
        match &mut reply.l4 {
            L4::Tcp { src, dst, flags } => {
                std::mem::swap(src, dst);
                *flags = match *flags {
                    syn if syn & (tcp::SYN | tcp::ACK) == tcp::SYN => tcp::SYN | tcp::ACK,
                    fin if fin & tcp::FIN != 0 => tcp::FIN | tcp::ACK,
                    _ => tcp::ACK,
                };
                return reply.shortest();
            }
            L4::Udp { src, dst } => std::mem::swap(src, dst),
            L4::Sctp { src, dst, chunk } => {
                std::mem::swap(src, dst);
                *chunk = sctp::answer(*chunk);
                return reply.shortest();
            }
            L4::Icmp {
                kind, target, link, ..
            } => {
                if let Some(answer) = answer_of(self.protocol, *kind) {
                    *kind = answer;
                } else if let (ND_SOLICIT, Some(target)) = (*kind, *target) {
                    *kind = ND_ADVERT;
                    *link = Some(reply.eth_src);
                    reply.ip = reply.ip.map(|(_, dst)| (target.into(), dst));
                    reply.ttl = 255;
                }
            }
            L4::Arp {
                op,
                sha,
                spa,
                tha,
                tpa,
            } => {
                *op = if *op == 1 { 2 } else { *op };
                std::mem::swap(sha, tha);
                std::mem::swap(spa, tpa);
            }
            L4::Other => {}
        }
        reply
    }

    /// What OVN answers to a packet that it rejects (`pinctrl_handle_reject` of ovn-controller): a TCP reset, an SCTP abort, or an ICMP error
    /// with code 3 (port unreachable; 4 in ICMPv6) for UDP and 1 for anything else. The ends are swapped, MAC addresses too; the caller may have to
    /// correct those. `None` for what OVN does not answer: resets, aborts, unreachable messages, later fragments of TCP and SCTP, what is not IP.
    pub fn reset_or_unreachable(&self) -> Option<Self> {
        let v6 = self.ip?.0.is_ipv6();
        let ignored = match (self.protocol, self.l4) {
            (protocol::TCP, L4::Tcp { flags, .. }) => flags & tcp::RST != 0,
            (protocol::SCTP, L4::Sctp { chunk, .. }) => chunk == sctp::ABORT || chunk == sctp::NONE,
            (protocol::ICMP, L4::Icmp { kind: 3, .. }) => !v6,
            (protocol::ICMPV6, L4::Icmp { kind: 1, .. }) => v6,
            (protocol::ICMP | protocol::ICMPV6, L4::Other) => protocol::is_known(v6, self.protocol),
            _ => false,
        };
        if ignored { None } else { self.refusal(1) }
    }

    /// A TCP reset, an SCTP abort or an ICMP error, as in [`Self::reset_or_unreachable`], to any packet: `other` is the code of an error for what is
    /// not UDP. `None` for later fragments of TCP and SCTP, and what is not IP.
    pub(crate) fn refusal(&self, other: u8) -> Option<Self> {
        let (src, dst) = self.ip?;
        let v6 = src.is_ipv6();
        let back = Self {
            eth_src: self.eth_dst,
            eth_dst: self.eth_src,
            vlan_tci: self.vlan_tci,
            ..Self::ip(dst, src, self.protocol, L4::Other)
        };
        match (self.protocol, self.l4) {
            (protocol::TCP, L4::Tcp { src, dst, .. }) => Some(
                Self {
                    // ovn-controller puts the tag on ICMP errors only.
                    vlan_tci: 0,
                    ttl: 63,
                    l4: L4::Tcp {
                        src: dst,
                        dst: src,
                        flags: tcp::RST | tcp::ACK,
                    },
                    ..back
                }
                .shortest(),
            ),
            (protocol::SCTP, L4::Sctp { src, dst, .. }) => Some(
                Self {
                    vlan_tci: 0,
                    ttl: 63,
                    l4: L4::Sctp {
                        src: dst,
                        dst: src,
                        chunk: sctp::ABORT,
                    },
                    ..back
                }
                .shortest(),
            ),
            (protocol::TCP | protocol::SCTP, _) => None,
            _ => {
                let udp = self.protocol == protocol::UDP;
                let (protocol, kind, code, room) = match v6 {
                    false => (protocol::ICMP, 3, if udp { 3 } else { other }, 534),
                    true => (protocol::ICMPV6, 1, if udp { 4 } else { other }, 1218),
                };
                let mut answer = Self {
                    ttl: 255,
                    protocol,
                    l4: icmp(kind, code, 0),
                    about: self.tuple(),
                    ..back
                };
                answer.length = write::headers_length(&Self {
                    about: None,
                    ..answer
                }) + self.length.saturating_sub(write::l2_length(self)).min(room);
                answer.length = answer.length.max(write::headers_length(&answer));
                Some(answer)
            }
        }
    }

    /// The value of a header field, as matches read it; 0 where the packet has it not.
    pub fn number(&self, field: Field) -> u128 {
        let v4 = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(_) => 0,
        };
        let v6 = |address: IpAddr| match address {
            IpAddr::V6(address) => u128::from(address),
            IpAddr::V4(_) => 0,
        };
        match field {
            Field::EthSrc => mac(self.eth_src),
            Field::EthDst => mac(self.eth_dst),
            Field::EthType => self.eth_type.into(),
            Field::VlanTci => self.vlan_tci.into(),
            Field::IpProto => self.protocol.into(),
            Field::IpDscp => (self.tos >> 2).into(),
            Field::IpEcn => (self.tos & 3).into(),
            Field::IpTtl => self.ttl.into(),
            Field::IpFrag => self.fragment.into(),
            Field::Ip4Src => self.ip.map_or(0, |(src, _)| v4(src)),
            Field::Ip4Dst => self.ip.map_or(0, |(_, dst)| v4(dst)),
            Field::Ip6Src => self.ip.map_or(0, |(src, _)| v6(src)),
            Field::Ip6Dst => self.ip.map_or(0, |(_, dst)| v6(dst)),
            Field::Ip6Label => self.flow_label.into(),
            _ => self.above_ip(field),
        }
    }

    fn above_ip(&self, field: Field) -> u128 {
        match (field, self.l4) {
            (Field::TcpSrc, L4::Tcp { src, .. })
            | (Field::UdpSrc, L4::Udp { src, .. })
            | (Field::SctpSrc, L4::Sctp { src, .. }) => src.into(),
            (Field::TcpDst, L4::Tcp { dst, .. })
            | (Field::UdpDst, L4::Udp { dst, .. })
            | (Field::SctpDst, L4::Sctp { dst, .. }) => dst.into(),
            (Field::TcpFlags, L4::Tcp { flags, .. }) => flags.into(),
            (Field::Icmp4Type, L4::Icmp { kind, .. }) if self.protocol == protocol::ICMP => {
                kind.into()
            }
            (Field::Icmp4Code, L4::Icmp { code, .. }) if self.protocol == protocol::ICMP => {
                code.into()
            }
            (Field::Icmp6Type, L4::Icmp { kind, .. }) if self.protocol == protocol::ICMPV6 => {
                kind.into()
            }
            (Field::Icmp6Code, L4::Icmp { code, .. }) if self.protocol == protocol::ICMPV6 => {
                code.into()
            }
            (Field::NdTarget, L4::Icmp { target, .. }) => target.map_or(0, u128::from),
            (
                Field::NdSll,
                L4::Icmp {
                    kind: ND_SOLICIT,
                    link,
                    ..
                },
            )
            | (
                Field::NdTll,
                L4::Icmp {
                    kind: ND_ADVERT,
                    link,
                    ..
                },
            ) => link.map_or(0, mac),
            (Field::ArpOp, L4::Arp { op, .. }) => op.into(),
            (Field::ArpSpa, L4::Arp { spa, .. }) => u32::from(spa).into(),
            (Field::ArpTpa, L4::Arp { tpa, .. }) => u32::from(tpa).into(),
            (Field::ArpSha, L4::Arp { sha, .. }) => mac(sha),
            (Field::ArpTha, L4::Arp { tha, .. }) => mac(tha),
            _ => 0,
        }
    }
}

impl Tuple {
    /// The other direction. An echo's is its reply.
    #[must_use]
    pub fn reply(&self) -> Self {
        let [kind, code] = self.dst_port.to_be_bytes();
        let known = protocol::is_known(self.src.is_ipv6(), self.protocol);
        let (src_port, dst_port) = match answer_of(self.protocol, kind) {
            Some(answer) if known => (self.src_port, u16::from_be_bytes([answer, code])),
            _ => (self.dst_port, self.src_port),
        };
        Self {
            protocol: self.protocol,
            src: self.dst,
            dst: self.src,
            src_port,
            dst_port,
        }
    }
}

/// Flags of TCP (RFC 9293 section 3.1).
pub(crate) mod tcp {
    pub(crate) const FIN: u16 = 0x01;
    pub(crate) const SYN: u16 = 0x02;
    pub(crate) const RST: u16 = 0x04;
    pub(crate) const PSH: u16 = 0x08;
    pub(crate) const ACK: u16 = 0x10;
    pub(crate) const URG: u16 = 0x20;
}

/// Types of chunks (RFC 9260 section 3.2).
pub(crate) mod sctp {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const NONE: u8 = 255;

    pub(super) fn answer(chunk: u8) -> u8 {
        match chunk {
            0 => 3,
            1 => 2,
            4 => 5,
            7 => 8,
            8 => 14,
            10 => 11,
            other => other,
        }
    }
}

/// Numbers of IP protocols (IANA).
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const SCTP: u8 = 132;

    /// Whether its header is known, so that a packet without one is cut off.
    pub(crate) fn is_known(v6: bool, protocol: u8) -> bool {
        match protocol {
            TCP | UDP | SCTP => true,
            ICMP => !v6,
            ICMPV6 => v6,
            _ => false,
        }
    }
}

/// The type that answers a query of ICMP, and the one that it answers.
pub(crate) fn answer_of(protocol: u8, kind: u8) -> Option<u8> {
    Some(match (protocol, kind) {
        (protocol::ICMP, 8) => 0,
        (protocol::ICMP, 0) => 8,
        (protocol::ICMP, 13) => 14,
        (protocol::ICMP, 14) => 13,
        (protocol::ICMP, 15) => 16,
        (protocol::ICMP, 16) => 15,
        (protocol::ICMPV6, 128) => 129,
        (protocol::ICMPV6, 129) => 128,
        _ => return None,
    })
}

/// Whether a message of ICMP is about another packet.
pub(crate) fn is_icmp_error(protocol: u8, kind: u8) -> bool {
    match protocol {
        protocol::ICMP => matches!(kind, 3 | 4 | 5 | 11 | 12),
        protocol::ICMPV6 => (1..=4).contains(&kind),
        _ => false,
    }
}

fn icmp(kind: u8, code: u8, id: u16) -> L4 {
    L4::Icmp {
        kind,
        code,
        id,
        target: None,
        link: None,
    }
}

fn mac(address: [u8; 6]) -> u128 {
    address
        .iter()
        .fold(0, |whole, &byte| whole << 8 | u128::from(byte))
}

const ETH_IPV4: u16 = 0x0800;
const ETH_ARP: u16 = 0x0806;
const ETH_RARP: u16 = 0x8035;
const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;
/// What stands for the ethertype of a frame that has a length instead.
const ETH_NONE: u16 = 0x05ff;
const VLAN_PRESENT: u16 = 0x1000;
pub(crate) const FRAGMENT_ANY: u8 = 1;
const FRAGMENT_LATER: u8 = 2;
const ND_SOLICIT: u8 = 135;
const ND_ADVERT: u8 = 136;

mod read;
mod write;

#[cfg(test)]
mod tests;
