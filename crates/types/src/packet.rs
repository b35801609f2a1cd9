use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

/// What the headers of one packet say. Fields that were cut off or do not apply are `None`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Headers {
    /// Source MAC address.
    pub eth_src: Option<[u8; 6]>,
    /// Destination MAC address.
    pub eth_dst: Option<[u8; 6]>,
    /// Ethertype after any VLAN tags.
    pub ethertype: Option<u16>,
    /// VLAN id of the outer tag, 0..4095.
    pub vlan: Option<u16>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// IP protocol number (IANA), after IPv6 extension headers.
    pub protocol: Option<u8>,
    /// IP time to live or hop limit.
    pub ttl: Option<u8>,
    /// IPv4 identification; tells copies of one packet from a second packet.
    pub ip_id: Option<u16>,
    /// True for a fragment other than the first: it has no ports.
    pub later_fragment: bool,
    /// Source port of TCP, UDP or SCTP.
    pub src_port: Option<u16>,
    /// Destination port of TCP, UDP or SCTP.
    pub dst_port: Option<u16>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// TCP sequence number.
    pub tcp_seq: Option<u32>,
    /// ICMP type and code.
    pub icmp: Option<IcmpKind>,
    /// ICMP echo identifier.
    pub icmp_id: Option<u16>,
}

/// ICMP type and code, of version 4 or 6 as the protocol number says.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct IcmpKind {
    /// The type.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The code.
    pub code: u8,
}

/// The TCP flags of one packet, or of all packets of a record (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;

    /// True when all flags of `mask` are set.
    pub fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (bit, name) in TCP_FLAG_NAMES.iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                if !first {
                    f.write_str(",")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

impl Serialize for TcpFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The usual name of an IP protocol number that OVN policies know, in lower case.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        58 => "icmp6",
        132 => "sctp",
        _ => return None,
    })
}

const TCP_FLAG_NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
