/// What a match can read of a packet and of what OVN knows about it, but for the two ports, which have names.
///
/// Registers and other fields that lie within one another are one field here: `reg3` is 32 bits of [`Field::XxReg0`], `ct.est` one of
/// [`Field::CtState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Field {
    XxReg0,
    XxReg1,
    XReg4,
    Flags,
    PktMark,
    CtState,
    CtMark,
    CtLabel,
    EthSrc,
    EthDst,
    EthType,
    VlanTci,
    IpProto,
    IpDscp,
    IpEcn,
    IpTtl,
    /// Bit 0: a fragment. Bit 1: not the first one.
    IpFrag,
    Ip4Src,
    Ip4Dst,
    Ip6Src,
    Ip6Dst,
    Ip6Label,
    Icmp4Type,
    Icmp4Code,
    Icmp6Type,
    Icmp6Code,
    /// Of RARP too, as the others of ARP.
    ArpOp,
    ArpSpa,
    ArpSha,
    ArpTpa,
    ArpTha,
    NdTarget,
    NdSll,
    NdTll,
    TcpSrc,
    TcpDst,
    TcpFlags,
    UdpSrc,
    UdpDst,
    SctpSrc,
    SctpDst,
}

impl Field {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 41] = [
        Self::XxReg0,
        Self::XxReg1,
        Self::XReg4,
        Self::Flags,
        Self::PktMark,
        Self::CtState,
        Self::CtMark,
        Self::CtLabel,
        Self::EthSrc,
        Self::EthDst,
        Self::EthType,
        Self::VlanTci,
        Self::IpProto,
        Self::IpDscp,
        Self::IpEcn,
        Self::IpTtl,
        Self::IpFrag,
        Self::Ip4Src,
        Self::Ip4Dst,
        Self::Ip6Src,
        Self::Ip6Dst,
        Self::Ip6Label,
        Self::Icmp4Type,
        Self::Icmp4Code,
        Self::Icmp6Type,
        Self::Icmp6Code,
        Self::ArpOp,
        Self::ArpSpa,
        Self::ArpSha,
        Self::ArpTpa,
        Self::ArpTha,
        Self::NdTarget,
        Self::NdSll,
        Self::NdTll,
        Self::TcpSrc,
        Self::TcpDst,
        Self::TcpFlags,
        Self::UdpSrc,
        Self::UdpDst,
        Self::SctpSrc,
        Self::SctpDst,
    ];

    /// How many bits it has.
    pub const fn width(self) -> u32 {
        match self {
            Self::IpEcn | Self::IpFrag => 2,
            Self::IpDscp => 6,
            Self::IpProto
            | Self::IpTtl
            | Self::Icmp4Type
            | Self::Icmp4Code
            | Self::Icmp6Type
            | Self::Icmp6Code => 8,
            Self::TcpFlags => 12,
            Self::EthType
            | Self::VlanTci
            | Self::ArpOp
            | Self::TcpSrc
            | Self::TcpDst
            | Self::UdpSrc
            | Self::UdpDst
            | Self::SctpSrc
            | Self::SctpDst => 16,
            Self::Ip6Label => 20,
            Self::Flags
            | Self::PktMark
            | Self::CtState
            | Self::CtMark
            | Self::Ip4Src
            | Self::Ip4Dst
            | Self::ArpSpa
            | Self::ArpTpa => 32,
            Self::EthSrc
            | Self::EthDst
            | Self::ArpSha
            | Self::ArpTha
            | Self::NdSll
            | Self::NdTll => 48,
            Self::XReg4 => 64,
            Self::XxReg0
            | Self::XxReg1
            | Self::CtLabel
            | Self::Ip6Src
            | Self::Ip6Dst
            | Self::NdTarget => 128,
        }
    }
}

/// A packet, as a match sees it.
pub trait Packet {
    /// The value of a field, in its low bits. A packet may say anything for a header that it has not: OVN's prerequisites see to it that
    /// nothing comes of that, as long as `eth.type`, `ip.proto` and the like are true.
    fn number(&self, field: Field) -> u128;

    /// The logical port it came in by; empty if there is none.
    fn inport(&self) -> &str;

    /// The logical port or multicast group it goes out by; empty if that is not known yet.
    fn outport(&self) -> &str;
}

/// A packet of which not everything is known.
pub trait Glimpse {
    /// What is known of a field, and which of its bits that are. A header that the packet has not may be anything, as for [`Packet::number`].
    fn bits(&self, field: Field) -> (u128, u128);

    /// The logical ports of which it came in by one, the empty name being that of none; `None` where it may be any.
    fn inports(&self) -> Option<&[&str]>;

    /// The logical ports or multicast groups of which it goes out by one; `None` where it may be any.
    fn outports(&self) -> Option<&[&str]>;
}

/// A packet made by hand: all fields that were not set are 0.
///
/// ```
/// use netverdict_ovn::expr::{Field, Fields, Packet};
///
/// let packet = Fields::new("client", "")
///     .with(Field::EthType, 0x800)
///     .with(Field::IpProto, 6)
///     .with(Field::TcpDst, 80);
/// assert_eq!(packet.number(Field::TcpDst), 80);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    numbers: [u128; Field::ALL.len()],
    inport: &'a str,
    outport: &'a str,
}

impl<'a> Fields<'a> {
    /// With these ports and nothing else.
    pub fn new(inport: &'a str, outport: &'a str) -> Self {
        Self {
            numbers: [0; Field::ALL.len()],
            inport,
            outport,
        }
    }

    /// With a field set; bits that the field does not have are lost.
    #[must_use]
    pub fn with(mut self, field: Field, value: u128) -> Self {
        self.set(field, value);
        self
    }

    /// Sets a field; bits that the field does not have are lost.
    pub fn set(&mut self, field: Field, value: u128) {
        self.numbers[field as usize] = value & super::constant::ones(field.width());
    }
}

impl Packet for Fields<'_> {
    fn number(&self, field: Field) -> u128 {
        self.numbers[field as usize]
    }

    fn inport(&self) -> &str {
        self.inport
    }

    fn outport(&self) -> &str {
        self.outport
    }
}
