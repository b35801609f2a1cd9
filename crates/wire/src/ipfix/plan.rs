use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::template::{Field, TemplateKind, VARIABLE_LENGTH, VMWARE};
use super::{u16_at, u32_at};

/// A template, compiled: which bytes of a record are of use, in their order.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Box<[Step]>,
    /// The field specifiers as they were sent, to know a repeated template.
    pub(super) specifiers: Box<[u8]>,
    /// Defined in an options template set.
    pub(super) options: bool,
    /// The fields are those that Open vSwitch has under this number, which then means the same
    /// in each observation domain.
    pub(super) as_ovs: bool,
    /// No record is shorter.
    pub(super) least: usize,
}

impl Plan {
    /// Compiles a template, or says with `None` that no record of it could be read.
    pub(super) fn compile(id: u16, specifiers: &[u8], options: bool) -> Option<Self> {
        let fields: Vec<Field> = Fields(specifiers).collect();
        let mut steps: Vec<Step> = Vec::with_capacity(fields.len());
        let mut least = 0usize;
        let mut names = 0;
        for field in &fields {
            least += match field.length {
                VARIABLE_LENGTH => 1,
                length => usize::from(length),
            };
            let mut target = Target::of(*field);
            if target == Target::Name {
                // The second name is that of the output interface.
                names += 1;
                if names > 1 {
                    target = Target::Skip;
                }
            }
            if let (Target::Skip, Some(last)) = (target, steps.last_mut())
                && last.target == Target::Skip
                && last.length != VARIABLE_LENGTH
                && field.length != VARIABLE_LENGTH
                && let Some(sum) = last.length.checked_add(field.length)
                && sum != VARIABLE_LENGTH
            {
                last.length = sum;
                continue;
            }
            steps.push(Step {
                target,
                length: field.length,
            });
        }
        let as_ovs = !options
            && TemplateKind::from_id(id).is_some_and(|kind| {
                kind.fields(false).eq(fields.iter().copied())
                    || kind.fields(true).eq(fields.iter().copied())
            });
        (least > 0).then(|| Self {
            steps: steps.into(),
            specifiers: specifiers.into(),
            options,
            as_ovs,
            least,
        })
    }

    /// Reads one record from the start of `bytes`, with its length; `None` if it is cut off.
    #[inline]
    pub(super) fn read<'a>(&self, bytes: &'a [u8]) -> Option<(Raw<'a>, usize)> {
        let mut raw = Raw::default();
        let mut rest = bytes;
        for step in &self.steps {
            let length = match step.length {
                VARIABLE_LENGTH => {
                    let (&short, tail) = rest.split_first()?;
                    rest = tail;
                    if short == LONG_VALUE {
                        let length = u16_at(rest, 0)?;
                        rest = rest.get(2..)?;
                        usize::from(length)
                    } else {
                        usize::from(short)
                    }
                }
                fixed => usize::from(fixed),
            };
            let (value, tail) = rest.split_at_checked(length)?;
            rest = tail;
            raw.take(step.target, value);
        }
        Some((raw, bytes.len() - rest.len()))
    }
}

/// What a record says, as far as it is of use.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raw<'a> {
    pub(super) point: Option<u32>,
    pub(super) egress: bool,
    pub(super) eth_src: Option<[u8; 6]>,
    pub(super) eth_dst: Option<[u8; 6]>,
    pub(super) ethertype: Option<u16>,
    pub(super) in_index: Option<u32>,
    pub(super) name: &'a [u8],
    pub(super) vlan: Option<u16>,
    pub(super) ttl: Option<u8>,
    pub(super) protocol: Option<u8>,
    pub(super) src: Option<IpAddr>,
    pub(super) dst: Option<IpAddr>,
    pub(super) src_port: Option<u16>,
    pub(super) dst_port: Option<u16>,
    pub(super) icmp_type: Option<u8>,
    pub(super) icmp_code: Option<u8>,
    pub(super) tunnel_src: Option<Ipv4Addr>,
    pub(super) start_delta: Option<u32>,
    pub(super) end_delta: Option<u32>,
    pub(super) packet_delta: Option<u64>,
    pub(super) packet_total: Option<u64>,
    pub(super) layer2_octets: Option<u64>,
    pub(super) octets: Option<u64>,
    /// Total counts of FIN, SYN, RST, PSH, ACK, URG: the place is the flag's bit.
    pub(super) tcp: [u64; 6],
    pub(super) has_tcp: bool,
    pub(super) process: Option<u32>,
    pub(super) not_sent: Option<u64>,
}

impl<'a> Raw<'a> {
    #[inline]
    fn take(&mut self, target: Target, value: &'a [u8]) {
        match target {
            Target::Skip => {}
            Target::Point => self.point = Some(number(value) as u32),
            Target::Direction => self.egress = number(value) == 1,
            Target::EthSrc => self.eth_src = value.try_into().ok(),
            Target::EthDst => self.eth_dst = value.try_into().ok(),
            Target::Ethertype => self.ethertype = Some(number(value) as u16),
            Target::InIndex => self.in_index = Some(number(value) as u32),
            Target::Name => self.name = value,
            Target::Vlan => self.vlan = Some(number(value) as u16 & 0x0fff),
            Target::Ttl => self.ttl = Some(number(value) as u8),
            Target::Protocol => self.protocol = Some(number(value) as u8),
            Target::Src => self.src = address(value),
            Target::Dst => self.dst = address(value),
            Target::SrcPort => self.src_port = Some(number(value) as u16),
            Target::DstPort => self.dst_port = Some(number(value) as u16),
            Target::IcmpType => self.icmp_type = Some(number(value) as u8),
            Target::IcmpCode => self.icmp_code = Some(number(value) as u8),
            Target::TunnelSrc => {
                self.tunnel_src = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            }
            Target::StartDelta => self.start_delta = Some(number(value) as u32),
            Target::EndDelta => self.end_delta = Some(number(value) as u32),
            Target::PacketDelta => self.packet_delta = Some(number(value)),
            Target::PacketTotal => self.packet_total = Some(number(value)),
            Target::Layer2Octets => self.layer2_octets = Some(number(value)),
            Target::Octets => self.octets = Some(number(value)),
            Target::Fin => self.tcp[0] = number(value),
            Target::Syn => self.tcp[1] = number(value),
            Target::Rst => self.tcp[2] = number(value),
            Target::Psh => self.tcp[3] = number(value),
            Target::Ack => {
                self.tcp[4] = number(value);
                self.has_tcp = true;
            }
            Target::Urg => self.tcp[5] = number(value),
            Target::Process => self.process = Some(number(value) as u32),
            Target::NotSent => self.not_sent = Some(number(value)),
        }
    }
}

/// The fields in the specifiers of a template; ends early where they are cut off.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Iterator for Fields<'_> {
    type Item = Field;

    fn next(&mut self) -> Option<Field> {
        let element = u16_at(self.0, 0)?;
        let length = u16_at(self.0, 2)?;
        let (enterprise, size) = if element & ENTERPRISE_BIT == 0 {
            (0, 4)
        } else {
            (u32_at(self.0, 4)?, 8)
        };
        self.0 = self.0.get(size..)?;
        Some(Field {
            enterprise,
            element: element & !ENTERPRISE_BIT,
            length,
        })
    }
}

pub(super) const ENTERPRISE_BIT: u16 = 0x8000;

#[derive(Clone, Copy, Debug)]
struct Step {
    target: Target,
    length: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Skip,
    Point,
    Direction,
    EthSrc,
    EthDst,
    Ethertype,
    InIndex,
    Name,
    Vlan,
    Ttl,
    Protocol,
    Src,
    Dst,
    SrcPort,
    DstPort,
    IcmpType,
    IcmpCode,
    TunnelSrc,
    StartDelta,
    EndDelta,
    PacketDelta,
    PacketTotal,
    Layer2Octets,
    Octets,
    Fin,
    Syn,
    Rst,
    Psh,
    Ack,
    Urg,
    Process,
    NotSent,
}

impl Target {
    /// The use of a field; `Skip` also for a length that its type cannot have.
    fn of(field: Field) -> Self {
        let target = match (field.enterprise, field.element) {
            (0, 138) => Self::Point,
            (0, 61) => Self::Direction,
            (0, 56) => Self::EthSrc,
            (0, 80) => Self::EthDst,
            (0, 256) => Self::Ethertype,
            (0, 10) => Self::InIndex,
            (0, 82) => Self::Name,
            (0, 58) => Self::Vlan,
            (0, 192) => Self::Ttl,
            (0, 4) => Self::Protocol,
            (0, 8 | 27) => Self::Src,
            (0, 12 | 28) => Self::Dst,
            (0, 7) => Self::SrcPort,
            (0, 11) => Self::DstPort,
            (0, 176 | 178) => Self::IcmpType,
            (0, 177 | 179) => Self::IcmpCode,
            (VMWARE, 893) => Self::TunnelSrc,
            (0, 158) => Self::StartDelta,
            (0, 159) => Self::EndDelta,
            (0, 2) => Self::PacketDelta,
            (0, 86) => Self::PacketTotal,
            (0, 352) => Self::Layer2Octets,
            (0, 1) => Self::Octets,
            (0, 219) => Self::Fin,
            (0, 218) => Self::Syn,
            (0, 220) => Self::Rst,
            (0, 221) => Self::Psh,
            (0, 222) => Self::Ack,
            (0, 223) => Self::Urg,
            (0, 144) => Self::Process,
            (0, 167) => Self::NotSent,
            _ => Self::Skip,
        };
        let fits = match (target, field.length) {
            (Self::Name | Self::Skip, _) => true,
            (Self::EthSrc | Self::EthDst, length) => length == 6,
            (Self::Src | Self::Dst, length) => {
                length
                    == if matches!(field.element, 8 | 12) {
                        4
                    } else {
                        16
                    }
            }
            (Self::TunnelSrc, length) => length == 4,
            // Numbers may be sent in fewer bytes than they have (RFC 7011 section 6.2).
            (_, length) => (1..=8).contains(&length),
        };
        if fits { target } else { Self::Skip }
    }
}

#[inline]
fn number(value: &[u8]) -> u64 {
    match *value {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_be_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => value
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    }
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::V4(Ipv4Addr::from(bytes)));
    }
    <[u8; 16]>::try_from(value)
        .ok()
        .map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))
}

/// A length byte that says that two more bytes have the length (RFC 7011 section 7).
const LONG_VALUE: u8 = 255;
