use std::net::IpAddr;

use netverdict_ovn::expr::Field;

/// The headers of a packet: what matches read and NAT writes. Small, and without anything that must be allocated.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Packet {
    /// Source MAC address.
    pub eth_src: [u8; 6],
    /// Destination MAC address.
    pub eth_dst: [u8; 6],
    /// `vlan.tci`; 0 without a tag.
    pub vlan_tci: u16,
    /// Ethertype after tags.
    pub eth_type: u16,
    /// Source and destination address, if it is IP: of one family.
    pub ip: Option<(IpAddr, IpAddr)>,
    /// IP protocol (IANA).
    pub protocol: u8,
    /// DSCP (6 bits) and ECN (2 bits), as they lie in the header.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Flow label of IPv6.
    pub flow_label: u32,
    /// `ip.frag`: bit 0 a fragment, bit 1 not the first one.
    pub fragment: u8,
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
    },
    /// ICMP of version 4 or 6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of an echo; else 0.
        id: u16,
        /// Target of neighbour discovery.
        target: Option<std::net::Ipv6Addr>,
    },
    /// ARP or RARP.
    Arp {
        /// Operation.
        op: u16,
        /// Sender's MAC address.
        sha: [u8; 6],
        /// Sender's address.
        spa: std::net::Ipv4Addr,
        /// Target's MAC address.
        tha: [u8; 6],
        /// Target's address.
        tpa: std::net::Ipv4Addr,
    },
}

/// Both ends of a connection in one direction. For ICMP the identifier is both ports.
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
    /// The value of a header field, as matches read it; 0 where the packet has it not.
    pub fn number(&self, field: Field) -> u128 {
        let _ = field;
        0
    }
}
