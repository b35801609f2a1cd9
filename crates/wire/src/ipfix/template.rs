use super::FIRST_TEMPLATE;

/// One field of a template (RFC 7011 section 3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    /// Private enterprise number; 0 for the elements that IANA registers.
    pub enterprise: u32,
    /// Number of the information element.
    pub element: u16,
    /// Bytes of its value; [`VARIABLE_LENGTH`] where each value states its own.
    pub length: u16,
}

/// The length of a field whose values state their own (RFC 7011 section 7).
pub const VARIABLE_LENGTH: u16 = 65_535;
/// The enterprise number of VMware, whose elements Open vSwitch uses for tunnels.
pub const VMWARE: u32 = 6_876;
/// The options template of the exporter's own statistics.
pub(super) const OPTIONS_TEMPLATE: u16 = 462;

/// What a template of Open vSwitch is for; its number follows from it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TemplateKind {
    /// The frame has a VLAN tag.
    pub vlan: bool,
    /// 4 or 6, or `None` for no IP.
    pub ip: Option<u8>,
    /// The transport; none but `Other` without IP.
    pub layer4: Layer4,
    /// The packet came out of a tunnel, or goes into one.
    pub tunnel: bool,
    /// Sampled at output.
    pub egress: bool,
}

/// The transports that templates of Open vSwitch tell apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Layer4 {
    /// None of the others.
    Other,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP of version 4 or 6.
    Icmp,
}

impl TemplateKind {
    /// All 88, in the order of their numbers, in which Open vSwitch sends them.
    pub fn all() -> impl Iterator<Item = Self> {
        (FIRST_TEMPLATE..FIRST_TEMPLATE + 120).filter_map(Self::from_id)
    }

    /// The template number.
    pub fn id(self) -> u16 {
        let layer3 = match self.ip {
            None => 0,
            Some(4) => 1,
            Some(_) => 2,
        };
        let layer4 = match self.layer4 {
            Layer4::Other => 0,
            Layer4::Tcp => 1,
            Layer4::Udp => 2,
            Layer4::Sctp => 3,
            Layer4::Icmp => 4,
        };
        FIRST_TEMPLATE
            + (((u16::from(self.vlan) * 3 + layer3) * 5 + layer4) * 2 + u16::from(self.tunnel)) * 2
            + u16::from(self.egress)
    }

    /// What a template number means at Open vSwitch.
    pub fn from_id(id: u16) -> Option<Self> {
        let number = id.checked_sub(FIRST_TEMPLATE)?;
        let ip = match number / 20 % 3 {
            0 => None,
            1 => Some(4),
            _ => Some(6),
        };
        let layer4 = match number / 4 % 5 {
            0 => Layer4::Other,
            1 => Layer4::Tcp,
            2 => Layer4::Udp,
            3 => Layer4::Sctp,
            _ => Layer4::Icmp,
        };
        if number >= 120 || (ip.is_none() && layer4 != Layer4::Other) {
            return None;
        }
        Some(Self {
            vlan: number >= 60,
            ip,
            layer4,
            tunnel: number / 2 % 2 == 1,
            egress: number % 2 == 1,
        })
    }

    /// The fields in the order of Open vSwitch, with `virtualObsID` where that is configured.
    pub fn fields(self, virtual_id: bool) -> impl Iterator<Item = Field> {
        let virtual_id: &[_] = if virtual_id { VIRTUAL_ID } else { &[] };
        self.key_fields()
            .chain(of(VMWARE, virtual_id))
            .chain(self.counter_fields())
    }

    /// The fields that tell flows apart, which come first.
    pub(super) fn key_fields(self) -> impl Iterator<Item = Field> {
        let address: &[_] = match self.ip {
            None => &[],
            Some(4) => &[(8, 4), (12, 4)],
            Some(_) => &[(27, 16), (28, 16), (31, 4)],
        };
        let transport: &[_] = match (self.layer4, self.ip) {
            (Layer4::Other, _) => &[],
            (Layer4::Tcp | Layer4::Udp | Layer4::Sctp, _) => &[(7, 2), (11, 2)],
            (Layer4::Icmp, Some(4)) => &[(176, 1), (177, 1)],
            (Layer4::Icmp, _) => &[(178, 1), (179, 1)],
        };
        of(0, KEY)
            .chain(of(0, when(self.egress, OUTPUT)))
            .chain(of(0, when(self.vlan, VLAN)))
            .chain(of(0, when(self.ip.is_some(), IP)))
            .chain(of(0, address))
            .chain(of(0, transport))
            .chain(of(VMWARE, when(self.tunnel, TUNNEL)))
    }

    /// The fields that count, which come last.
    pub(super) fn counter_fields(self) -> impl Iterator<Item = Field> {
        of(0, COUNTERS)
            .chain(of(0, when(self.ip.is_some(), IP_COUNTERS)))
            .chain(of(0, when(self.layer4 == Layer4::Tcp, TCP_COUNTERS)))
    }
}

fn when(wanted: bool, fields: &'static [(u16, u16)]) -> &'static [(u16, u16)] {
    if wanted { fields } else { &[] }
}

fn of(enterprise: u32, fields: &'static [(u16, u16)]) -> impl Iterator<Item = Field> {
    fields.iter().map(move |&(element, length)| Field {
        enterprise,
        element,
        length,
    })
}

// Element and length, in the order of ipfix_define_template_fields.
const KEY: &[(u16, u16)] = &[
    (138, 4),
    (61, 1),
    (56, 6),
    (80, 6),
    (256, 2),
    (240, 1),
    (10, 4),
    (368, 4),
    (82, VARIABLE_LENGTH),
    (83, VARIABLE_LENGTH),
];
const OUTPUT: &[(u16, u16)] = &[
    (14, 4),
    (369, 4),
    (82, VARIABLE_LENGTH),
    (83, VARIABLE_LENGTH),
];
const VLAN: &[(u16, u16)] = &[(58, 2), (243, 2), (244, 1)];
const IP: &[(u16, u16)] = &[(60, 1), (192, 1), (4, 1), (195, 1), (196, 1), (5, 1)];
const TUNNEL: &[(u16, u16)] = &[
    (893, 4),
    (894, 4),
    (895, 1),
    (896, 2),
    (897, 2),
    (891, 1),
    (892, VARIABLE_LENGTH),
];
const VIRTUAL_ID: &[(u16, u16)] = &[(898, VARIABLE_LENGTH)];
const COUNTERS: &[(u16, u16)] = &[
    (158, 4),
    (159, 4),
    (133, 8),
    (135, 8),
    (2, 8),
    (86, 8),
    (354, 8),
    (355, 8),
    (356, 8),
    (357, 8),
    (358, 8),
    (19, 8),
    (174, 8),
    (352, 8),
    (353, 8),
    (136, 1),
];
const IP_COUNTERS: &[(u16, u16)] = &[
    (132, 8),
    (134, 8),
    (1, 8),
    (85, 8),
    (198, 8),
    (199, 8),
    (25, 8),
    (26, 8),
    (20, 8),
    (175, 8),
];
const TCP_COUNTERS: &[(u16, u16)] = &[(222, 8), (219, 8), (221, 8), (220, 8), (218, 8), (223, 8)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_open_vswitch() {
        let all: Vec<_> = TemplateKind::all().collect();
        assert_eq!(all.len(), 88);
        for kind in &all {
            assert_eq!(TemplateKind::from_id(kind.id()), Some(*kind));
        }
        let v4_tcp = TemplateKind {
            vlan: false,
            ip: Some(4),
            layer4: Layer4::Tcp,
            tunnel: false,
            egress: false,
        };
        assert_eq!(v4_tcp.id(), 280);
        assert_eq!(all[87].id(), 375);
        assert_eq!(TemplateKind::from_id(260), None);
        assert_eq!(TemplateKind::from_id(376), None);
    }
}
