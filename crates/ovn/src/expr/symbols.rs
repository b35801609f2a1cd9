use std::collections::HashMap;
use std::sync::LazyLock;

use super::packet::Field;

/// What a name in a match stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub name: &'static str,
    pub base: Base,
    /// In bits. A name has none.
    pub width: u32,
    pub level: Level,
    /// What else must hold wherever the symbol is compared; empty: nothing.
    pub prerequisite: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Base {
    Inport,
    Outport,
    /// The bits of a field from this one on.
    Bits(Field, u32),
    /// Another match.
    Predicate(&'static str),
}

/// What may be asked of a symbol (ovn-sb(5), Logical_Flow, "Level of measurement").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Nominal,
    Boolean,
    Ordinal,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nominal => "nominal",
            Self::Boolean => "Boolean",
            Self::Ordinal => "ordinal",
        }
    }
}

/// The symbol of that name, if OVN 25.03 has one that a match can use.
pub(super) fn symbol(name: &str) -> Option<&'static Symbol> {
    static BY_NAME: LazyLock<HashMap<&str, &Symbol>> =
        LazyLock::new(|| SYMBOLS.iter().map(|symbol| (symbol.name, symbol)).collect());
    BY_NAME.get(name).copied()
}

/// Those of `lib/logical-fields.c`, each after those that it is made of. A field is nominal where Open vSwitch cannot mask it, a predicate
/// where it compares something nominal.
pub(super) static SYMBOLS: &[Symbol] = &[
    name("inport", Base::Inport),
    name("outport", Base::Outport),
    ordinal("xxreg0", Field::XxReg0, ""),
    ordinal("xxreg1", Field::XxReg1, ""),
    ordinal("xreg4", Field::XReg4, ""),
    part("xreg0", Field::XxReg0, 64, 127, ""),
    part("xreg1", Field::XxReg0, 0, 63, ""),
    part("xreg2", Field::XxReg1, 64, 127, ""),
    part("xreg3", Field::XxReg1, 0, 63, ""),
    part("reg0", Field::XxReg0, 96, 127, ""),
    part("reg1", Field::XxReg0, 64, 95, ""),
    part("reg2", Field::XxReg0, 32, 63, ""),
    part("reg3", Field::XxReg0, 0, 31, ""),
    part("reg4", Field::XxReg1, 96, 127, ""),
    part("reg5", Field::XxReg1, 64, 95, ""),
    part("reg6", Field::XxReg1, 32, 63, ""),
    part("reg7", Field::XxReg1, 0, 31, ""),
    part("reg8", Field::XReg4, 32, 63, ""),
    part("reg9", Field::XReg4, 0, 31, ""),
    ordinal("flags", Field::Flags, ""),
    part("flags.loopback", Field::Flags, 0, 0, ""),
    part("flags.force_snat_for_dnat", Field::Flags, 2, 2, ""),
    part("flags.force_snat_for_lb", Field::Flags, 3, 3, ""),
    part("flags.skip_snat_for_lb", Field::Flags, 9, 9, ""),
    part("flags.use_snat_zone", Field::Flags, 11, 11, ""),
    part("flags.localnet", Field::Flags, 15, 15, ""),
    part("flags.icmp_snat", Field::Flags, 17, 17, ""),
    part("flags.tunnel_rx", Field::Flags, 16, 16, ""),
    part("flags.unsnat_new", Field::Flags, 20, 20, ""),
    part("flags.unsnat_not_tracked", Field::Flags, 21, 21, ""),
    // Of OVN 26.03; here for the flows of its northd.
    part("flags.pkt_sampled", Field::Flags, 23, 23, ""),
    part("flags.network_id", Field::Flags, 28, 31, ""),
    part("flags.from_ctrl", Field::Flags, 19, 19, ""),
    ordinal("ct_mark", Field::CtMark, ""),
    part("ct_mark.blocked", Field::CtMark, 0, 0, ""),
    part("ct_mark.natted", Field::CtMark, 1, 1, ""),
    part("ct_mark.ecmp_reply_port", Field::CtMark, 16, 31, ""),
    part("ct_mark.skip_snat", Field::CtMark, 2, 2, ""),
    part("ct_mark.force_snat", Field::CtMark, 3, 3, ""),
    part("ct_mark.obs_stage", Field::CtMark, 4, 5, ""),
    part("ct_mark.allow_established", Field::CtMark, 6, 6, ""),
    part("ct_mark.obs_collector_id", Field::CtMark, 16, 23, ""),
    ordinal("ct_label", Field::CtLabel, ""),
    part("ct_label.ecmp_reply_eth", Field::CtLabel, 32, 79, ""),
    part("ct_label.label", Field::CtLabel, 96, 127, ""),
    part("ct_label.obs_point_id", Field::CtLabel, 96, 127, ""),
    part("ct_label.obs_unused", Field::CtLabel, 0, 95, ""),
    part("ct_label.acl_id", Field::CtLabel, 80, 95, ""),
    // Of OVN 26.03, as `flags.pkt_sampled`.
    part("ct_label.nf", Field::CtLabel, 7, 7, ""),
    part("ct_label.nf_id", Field::CtLabel, 17, 24, ""),
    part("ct_label.tun_if", Field::CtLabel, 8, 8, ""),
    part("ct_label.tun_if_id", Field::CtLabel, 80, 95, ""),
    ordinal("ct_state", Field::CtState, ""),
    part("ct.trk", Field::CtState, 5, 5, ""),
    part("ct.new", Field::CtState, 0, 0, "ct.trk"),
    part("ct.est", Field::CtState, 1, 1, "ct.trk"),
    part("ct.rel", Field::CtState, 2, 2, "ct.trk"),
    part("ct.rpl", Field::CtState, 3, 3, "ct.trk"),
    part("ct.inv", Field::CtState, 4, 4, "ct.trk"),
    part("ct.snat", Field::CtState, 6, 6, "ct.trk"),
    part("ct.dnat", Field::CtState, 7, 7, "ct.trk"),
    ordinal("eth.src", Field::EthSrc, ""),
    ordinal("eth.dst", Field::EthDst, ""),
    nominal("eth.type", Field::EthType, ""),
    predicate("eth.bcast", "eth.dst == ff:ff:ff:ff:ff:ff"),
    part("eth.mcast", Field::EthDst, 40, 40, ""),
    predicate("eth.mcastv6", "eth.dst[32..47] == 0x3333"),
    ordinal("vlan.tci", Field::VlanTci, ""),
    predicate("vlan.present", "vlan.tci[12]"),
    part("vlan.pcp", Field::VlanTci, 13, 15, "vlan.present"),
    part("vlan.vid", Field::VlanTci, 0, 11, "vlan.present"),
    nominal_predicate("ip4", "eth.type == 0x800"),
    nominal_predicate("ip6", "eth.type == 0x86dd"),
    nominal_predicate("ip", "ip4 || ip6"),
    nominal("ip.proto", Field::IpProto, "ip"),
    nominal("ip.dscp", Field::IpDscp, "ip"),
    nominal("ip.ecn", Field::IpEcn, "ip"),
    nominal("ip.ttl", Field::IpTtl, "ip"),
    ordinal("ip4.src", Field::Ip4Src, "ip4"),
    ordinal("ip4.dst", Field::Ip4Dst, "ip4"),
    predicate("ip4.src_mcast", "ip4.src[28..31] == 0xe"),
    predicate("ip4.mcast", "eth.mcast && ip4.dst[28..31] == 0xe"),
    nominal_predicate("icmp4", "ip4 && ip.proto == 1"),
    nominal("icmp4.type", Field::Icmp4Type, "icmp4"),
    nominal("icmp4.code", Field::Icmp4Code, "icmp4"),
    nominal_predicate("igmp", "ip4.mcast && ip.proto == 2"),
    ordinal("ip6.src", Field::Ip6Src, "ip6"),
    ordinal("ip6.dst", Field::Ip6Dst, "ip6"),
    ordinal("ip6.label", Field::Ip6Label, "ip6"),
    predicate(
        "ip6.mcast_rsvd",
        "ip6.dst[116..127] == 0xff0 && ip6.dst[0..111] == 0x0",
    ),
    predicate("ip6.mcast_all_nodes", "ip6.dst == {ff01::1, ff02::1}"),
    predicate(
        "ip6.mcast_all_rtrs",
        "ip6.dst == {ff01::2, ff02::2, ff05::2}",
    ),
    predicate("ip6.mcast_sol_node", "ip6.dst == ff02::1:ff00:0000/104"),
    predicate(
        "ip6.mcast_flood",
        "eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || ip6.mcast_all_rtrs || ip6.mcast_sol_node)",
    ),
    predicate("ip6.mcast", "eth.mcastv6 && ip6.dst[120..127] == 0xff"),
    nominal_predicate("icmp6", "ip6 && ip.proto == 58"),
    nominal("icmp6.type", Field::Icmp6Type, "icmp6"),
    nominal("icmp6.code", Field::Icmp6Code, "icmp6"),
    nominal_predicate("icmp", "icmp4 || icmp6"),
    ordinal("ip.frag", Field::IpFrag, "ip"),
    predicate("ip.is_frag", "ip.frag[0]"),
    predicate("ip.later_frag", "ip.frag[1]"),
    predicate("ip.first_frag", "ip.is_frag && !ip.later_frag"),
    nominal_predicate("arp", "eth.type == 0x806"),
    nominal_predicate("rarp", "eth.type == 0x8035"),
    nominal("arp.op", Field::ArpOp, "arp"),
    ordinal("arp.spa", Field::ArpSpa, "arp"),
    ordinal("arp.sha", Field::ArpSha, "arp"),
    ordinal("arp.tpa", Field::ArpTpa, "arp"),
    ordinal("arp.tha", Field::ArpTha, "arp"),
    nominal("rarp.op", Field::ArpOp, "rarp"),
    ordinal("rarp.spa", Field::ArpSpa, "rarp"),
    ordinal("rarp.sha", Field::ArpSha, "rarp"),
    ordinal("rarp.tpa", Field::ArpTpa, "rarp"),
    ordinal("rarp.tha", Field::ArpTha, "rarp"),
    nominal_predicate(
        "nd",
        "icmp6.type == {135, 136} && icmp6.code == 0 && ip.ttl == 255",
    ),
    nominal_predicate(
        "nd_ns",
        "icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255",
    ),
    nominal_predicate(
        "nd_ns_mcast",
        "ip6.mcast && icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255",
    ),
    nominal_predicate(
        "nd_na",
        "icmp6.type == 136 && icmp6.code == 0 && ip.ttl == 255",
    ),
    nominal_predicate(
        "nd_rs",
        "icmp6.type == 133 && icmp6.code == 0 && ip.ttl == 255",
    ),
    nominal_predicate(
        "nd_ra",
        "icmp6.type == 134 && icmp6.code == 0 && ip.ttl == 255",
    ),
    ordinal("nd.target", Field::NdTarget, "nd"),
    ordinal("nd.sll", Field::NdSll, "nd_ns"),
    ordinal("nd.tll", Field::NdTll, "nd_na"),
    nominal_predicate(
        "mldv1",
        "eth.mcastv6 && ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}",
    ),
    nominal_predicate(
        "mldv2",
        "eth.mcastv6 && ip6.dst == ff02::16 && icmp6.type == 143",
    ),
    nominal_predicate("tcp", "ip.proto == 6"),
    ordinal("tcp.src", Field::TcpSrc, "tcp"),
    ordinal("tcp.dst", Field::TcpDst, "tcp"),
    ordinal("tcp.flags", Field::TcpFlags, "tcp"),
    nominal_predicate("udp", "ip.proto == 17"),
    ordinal("udp.src", Field::UdpSrc, "udp"),
    ordinal("udp.dst", Field::UdpDst, "udp"),
    nominal_predicate("sctp", "ip.proto == 132"),
    ordinal("sctp.src", Field::SctpSrc, "sctp"),
    ordinal("sctp.dst", Field::SctpDst, "sctp"),
    ordinal("pkt.mark", Field::PktMark, ""),
];

const fn ordinal(name: &'static str, field: Field, prerequisite: &'static str) -> Symbol {
    Symbol {
        name,
        base: Base::Bits(field, 0),
        width: field.width(),
        level: Level::Ordinal,
        prerequisite,
    }
}

const fn nominal(name: &'static str, field: Field, prerequisite: &'static str) -> Symbol {
    Symbol {
        level: Level::Nominal,
        ..ordinal(name, field, prerequisite)
    }
}

const fn part(
    name: &'static str,
    field: Field,
    low: u32,
    high: u32,
    prerequisite: &'static str,
) -> Symbol {
    Symbol {
        base: Base::Bits(field, low),
        width: high - low + 1,
        ..ordinal(name, field, prerequisite)
    }
}

const fn predicate(name: &'static str, expansion: &'static str) -> Symbol {
    Symbol {
        name,
        base: Base::Predicate(expansion),
        width: 1,
        level: Level::Boolean,
        prerequisite: "",
    }
}

const fn nominal_predicate(name: &'static str, expansion: &'static str) -> Symbol {
    Symbol {
        level: Level::Nominal,
        ..predicate(name, expansion)
    }
}

const fn name(name: &'static str, base: Base) -> Symbol {
    Symbol {
        name,
        base,
        width: 0,
        level: Level::Nominal,
        prerequisite: "",
    }
}
