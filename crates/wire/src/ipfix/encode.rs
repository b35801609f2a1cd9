use std::net::{IpAddr, Ipv4Addr};

use netverdict_types::{Headers, Timestamp};

use super::plan::ENTERPRISE_BIT;
use super::template::{Field, Layer4, OPTIONS_TEMPLATE, TemplateKind, VARIABLE_LENGTH, VMWARE};
use super::{MESSAGE_HEADER, SET_HEADER, SET_OPTIONS_TEMPLATE, SET_TEMPLATE, VERSION};
use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// Writes IPFIX messages as an exporter of Open vSwitch without a cache does; when to send which
/// is up to the caller. [`CachingExporter`](super::CachingExporter) knows it itself.
#[derive(Clone, Debug)]
pub struct Exporter {
    sequence: u32,
    virtual_id: Option<String>,
    totals: Totals,
}

/// A sampled packet, as Open vSwitch knows it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Observation domain: stands in the message header.
    pub domain: u32,
    /// Observation point.
    pub point: u32,
    /// The packet's headers; the template follows from them.
    pub headers: Headers,
    /// Bytes of the frame, from layer 2.
    pub frame_length: u16,
    /// Where the packet came in.
    pub input: Interface<'a>,
    /// Where it leaves, for a sample at output.
    pub output: Option<Interface<'a>>,
    /// The tunnel it came by, or leaves by for a sample at output.
    pub tunnel: Option<TunnelEnds<'a>>,
    /// Priority of the VLAN tag.
    pub vlan_priority: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Flow label of IPv6.
    pub flow_label: u32,
    /// When it was sampled.
    pub time: Timestamp,
    /// 65535 divided by the probability of OpenFlow's `sample` action, which is never 0.
    pub packet_delta: u64,
    /// No output action follows the sample.
    pub dropped: bool,
}

/// An interface as it stands in a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Interface<'a> {
    /// Index of the kernel.
    pub index: u32,
    /// `ifType` (IANA).
    pub kind: u32,
    /// Name, at most 64 bytes.
    pub name: &'a str,
    /// Description, at most 128 bytes.
    pub description: &'a str,
}

/// The outer side of a tunnelled packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TunnelEnds<'a> {
    /// Outer source.
    pub src: Ipv4Addr,
    /// Outer destination.
    pub dst: Ipv4Addr,
    /// Outer IP protocol.
    pub protocol: u8,
    /// Outer source port.
    pub src_port: u16,
    /// Outer destination port.
    pub dst_port: u16,
    /// 1 VXLAN, 2 GRE, 7 Geneve.
    pub kind: u8,
    /// The key: three bytes of VNI, or four of GRE.
    pub key: &'a [u8],
}

impl Record<'_> {
    /// The template that Open vSwitch takes for this packet.
    pub fn template(&self) -> TemplateKind {
        let ip = match self.headers.ethertype {
            Some(ETHERTYPE_IPV4) => Some(4),
            Some(ETHERTYPE_IPV6) => Some(6),
            _ => None,
        };
        let layer4 = match (ip, self.headers.protocol) {
            (Some(_), Some(6)) => Layer4::Tcp,
            (Some(_), Some(17)) => Layer4::Udp,
            (Some(_), Some(132)) => Layer4::Sctp,
            (Some(4), Some(1)) | (Some(6), Some(58)) => Layer4::Icmp,
            _ => Layer4::Other,
        };
        TemplateKind {
            vlan: self.headers.vlan.is_some(),
            ip,
            layer4,
            tunnel: self.tunnel.is_some(),
            egress: self.output.is_some(),
        }
    }
}

impl Exporter {
    /// A fresh exporter, with the bridge's `virtual_obs_id` where that is set.
    pub fn new(virtual_id: Option<String>) -> Self {
        Self {
            sequence: 1,
            virtual_id,
            totals: Totals::default(),
        }
    }

    /// Hands `send` the messages with all templates of a domain, split as Open vSwitch splits
    /// them, and then that of the options template.
    pub fn templates(&self, domain: u32, export_time: u32, mut send: impl FnMut(&[u8])) {
        let mut message = Vec::new();
        for kind in TemplateKind::all() {
            if message.is_empty() {
                self.start(&mut message, domain, export_time, SET_TEMPLATE);
            }
            message.extend(kind.id().to_be_bytes());
            let fields = || kind.fields(self.virtual_id.is_some());
            message.extend((fields().count() as u16).to_be_bytes());
            for field in fields() {
                put_specifier(&mut message, field);
            }
            if message.len() >= FULL_MESSAGE {
                set_lengths(&mut message);
                send(&message);
                message.clear();
            }
        }
        if !message.is_empty() {
            set_lengths(&mut message);
            send(&message);
            message.clear();
        }
        self.start(&mut message, 0, export_time, SET_OPTIONS_TEMPLATE);
        // Two fields, of which the first is the scope.
        for number in [OPTIONS_TEMPLATE, 2, 1, 144, 4, 167, 8] {
            message.extend(number.to_be_bytes());
        }
        set_lengths(&mut message);
        send(&message);
    }

    /// Appends the message with the exporter's statistics.
    pub fn statistics(&mut self, export_time: u32, process: u32, not_sent: u64, out: &mut Vec<u8>) {
        let mut message = Vec::new();
        self.start(&mut message, 0, export_time, OPTIONS_TEMPLATE);
        message.extend(process.to_be_bytes());
        message.extend(not_sent.to_be_bytes());
        set_lengths(&mut message);
        out.extend(message);
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Appends the message with one sample. `export_time` is in seconds, and not before the
    /// sample: Open vSwitch rounds up.
    pub fn sample(&mut self, export_time: u32, record: &Record<'_>, out: &mut Vec<u8>) {
        let template = record.template();
        let counters = self.account(record, template);
        let message = out.len();
        self.start(out, record.domain, export_time, template.id());
        record.put_key(template, out);
        self.end(
            out,
            message,
            export_time,
            template,
            &counters,
            ACTIVE_TIMEOUT,
        );
    }

    /// Appends the message with one flow, whose key [`Record::put_key`] wrote.
    pub(super) fn flow(
        &mut self,
        export_time: u32,
        (domain, template, key): (u32, TemplateKind, &[u8]),
        counters: &Counters,
        reason: u8,
        out: &mut Vec<u8>,
    ) {
        let message = out.len();
        self.start(out, domain, export_time, template.id());
        out.extend(key);
        self.end(out, message, export_time, template, counters, reason);
    }

    /// Counts a packet.
    pub(super) fn account(&mut self, record: &Record<'_>, template: TemplateKind) -> Counters {
        self.totals.add(record, template);
        Counters::of(record, template, self.totals)
    }

    fn end(
        &mut self,
        out: &mut Vec<u8>,
        message: usize,
        export_time: u32,
        template: TemplateKind,
        counters: &Counters,
        reason: u8,
    ) {
        if let Some(id) = &self.virtual_id {
            put_text(out, id.as_bytes(), 254);
        }
        for field in template.counter_fields() {
            let number = counters.number(field, export_time, reason);
            put_number(out, number, field.length);
        }
        if let Some(message) = out.get_mut(message..) {
            set_lengths(message);
        }
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Appends a message header and a set header; [`set_lengths`] sets their lengths.
    fn start(&self, out: &mut Vec<u8>, domain: u32, export_time: u32, set: u16) {
        out.extend(VERSION.to_be_bytes());
        out.extend([0, 0]);
        out.extend(export_time.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(domain.to_be_bytes());
        out.extend(set.to_be_bytes());
        out.extend([0, 0]);
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new(None)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    packets: u64,
    dropped_packets: u64,
    octets: u64,
    dropped_octets: u64,
    octet_squares: u64,
    layer2_octets: u64,
    in_unicast: u64,
    in_multicast: u64,
    in_broadcast: u64,
    out_unicast: u64,
    out_broadcast: u64,
    post_multicast: u64,
    post_multicast_octets: u64,
    /// FIN, SYN, RST, PSH, ACK, URG.
    tcp: [u64; 6],
}

impl Totals {
    fn add(&mut self, record: &Record<'_>, template: TemplateKind) {
        let delta = record.packet_delta;
        let (octets, squares) = octets(record, template);
        self.packets += delta;
        self.layer2_octets += delta * u64::from(record.frame_length);
        self.octets += octets;
        self.octet_squares = self.octet_squares.wrapping_add(squares);
        if record.dropped {
            self.dropped_packets += delta;
            self.dropped_octets += octets;
        }
        match (cast(record), template.egress) {
            (Cast::Uni, false) => self.in_unicast += delta,
            (Cast::Multi, false) => self.in_multicast += delta,
            (Cast::Broad, false) => self.in_broadcast += delta,
            (Cast::Uni, true) => self.out_unicast += delta,
            (Cast::Multi, true) => {
                self.post_multicast += delta;
                self.post_multicast_octets += octets;
            }
            (Cast::Broad, true) => self.out_broadcast += delta,
        }
        if template.layer4 == Layer4::Tcp {
            let flags = record.headers.tcp_flags.unwrap_or_default();
            for (bit, total) in self.tcp.iter_mut().enumerate() {
                if flags.has(1 << bit) {
                    *total += delta;
                }
            }
        }
    }
}

enum Cast {
    Uni,
    Multi,
    Broad,
}

fn cast(record: &Record<'_>) -> Cast {
    match record.headers.eth_dst.unwrap_or_default() {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => Cast::Broad,
        [first, ..] if first & 1 == 1 => Cast::Multi,
        _ => Cast::Uni,
    }
}

/// Bytes of the IP packet times the packets, and the same times its bytes.
fn octets(record: &Record<'_>, template: TemplateKind) -> (u64, u64) {
    if template.ip.is_none() {
        return (0, 0);
    }
    let length = u64::from(ip_length(record, template));
    let octets = record.packet_delta * length;
    (octets, octets.wrapping_mul(length))
}

fn ip_length(record: &Record<'_>, template: TemplateKind) -> u16 {
    record
        .frame_length
        .saturating_sub(u16::from(ethernet_header(template)))
}

fn ethernet_header(template: TemplateKind) -> u8 {
    if template.vlan { 18 } else { 14 }
}

impl Record<'_> {
    /// Appends the fields that tell its flow from others.
    pub(super) fn put_key(&self, template: TemplateKind, out: &mut Vec<u8>) {
        let mut interface = &self.input;
        let output = self.output.unwrap_or_default();
        for field in template.key_fields() {
            if field.element == OUTPUT_INTERFACE {
                interface = &output;
            }
            self.put(template, interface, field, out);
        }
    }

    fn put(
        &self,
        template: TemplateKind,
        interface: &Interface<'_>,
        field: Field,
        out: &mut Vec<u8>,
    ) {
        let headers = &self.headers;
        let number: u64 = match (field.enterprise, field.element) {
            (0, 56) => return out.extend(headers.eth_src.unwrap_or_default()),
            (0, 80) => return out.extend(headers.eth_dst.unwrap_or_default()),
            (0, 82) => return put_text(out, interface.name.as_bytes(), 64),
            (0, 83) => return put_text(out, interface.description.as_bytes(), 128),
            (0, 8 | 27) => return put_address(out, headers.src, field.length),
            (0, 12 | 28) => return put_address(out, headers.dst, field.length),
            (VMWARE, 892) => {
                let key = self.tunnel.map(|tunnel| tunnel.key).unwrap_or_default();
                return put_text(out, key, 254);
            }
            (VMWARE, element) => {
                let Some(tunnel) = &self.tunnel else {
                    return out.resize(out.len() + usize::from(field.length), 0);
                };
                match element {
                    893 => u64::from(u32::from(tunnel.src)),
                    894 => u64::from(u32::from(tunnel.dst)),
                    895 => u64::from(tunnel.protocol),
                    896 => u64::from(tunnel.src_port),
                    897 => u64::from(tunnel.dst_port),
                    _ => u64::from(tunnel.kind),
                }
            }
            (_, 138) => u64::from(self.point),
            (_, 61) => u64::from(template.egress),
            (_, 256) => u64::from(headers.ethertype.unwrap_or_default()),
            (_, 240) => u64::from(ethernet_header(template)),
            (_, 10 | OUTPUT_INTERFACE) => u64::from(interface.index),
            (_, 368 | 369) => u64::from(interface.kind),
            (_, 58 | 243) => u64::from(headers.vlan.unwrap_or_default()),
            (_, 244) => u64::from(self.vlan_priority),
            (_, 60) => u64::from(template.ip.unwrap_or_default()),
            (_, 192) => u64::from(headers.ttl.unwrap_or_default()),
            (_, 4) => u64::from(headers.protocol.unwrap_or_default()),
            (_, 195) => u64::from(self.tos >> 2),
            (_, 196) => u64::from(self.tos >> 5),
            (_, 5) => u64::from(self.tos),
            (_, 31) => u64::from(self.flow_label),
            (_, 7) => u64::from(headers.src_port.unwrap_or_default()),
            (_, 11) => u64::from(headers.dst_port.unwrap_or_default()),
            (_, 176 | 178) => u64::from(headers.icmp.unwrap_or_default().kind),
            (_, 177 | 179) => u64::from(headers.icmp.unwrap_or_default().code),
            _ => 0,
        };
        put_number(out, number, field.length);
    }
}

/// What a flow has counted, and where the running totals of its exporter stood at its last packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// When the flow's first and last packet came, in microseconds since 1970; Open vSwitch knows
    /// whole milliseconds.
    pub(super) start: i64,
    end: i64,
    packets: u64,
    dropped_packets: u64,
    layer2_octets: u64,
    octets: u64,
    dropped_octets: u64,
    octet_squares: u64,
    post_multicast: u64,
    post_multicast_octets: u64,
    shortest: u16,
    longest: u16,
    totals: Totals,
}

impl Counters {
    fn of(record: &Record<'_>, template: TemplateKind, totals: Totals) -> Self {
        let delta = record.packet_delta;
        let (octets, octet_squares) = octets(record, template);
        let length = match template.ip {
            Some(_) => ip_length(record, template),
            None => 0,
        };
        let (dropped_packets, dropped_octets) = match record.dropped {
            true => (delta, octets),
            false => (0, 0),
        };
        let (post_multicast, post_multicast_octets) = match (cast(record), template.egress) {
            (Cast::Multi, true) => (delta, octets),
            _ => (0, 0),
        };
        let time = milliseconds(record.time);
        Self {
            start: time,
            end: time,
            packets: delta,
            dropped_packets,
            layer2_octets: delta.wrapping_mul(u64::from(record.frame_length)),
            octets,
            dropped_octets,
            octet_squares,
            post_multicast,
            post_multicast_octets,
            shortest: length,
            longest: length,
            totals,
        }
    }

    /// Adds a later packet of the same flow.
    pub(super) fn add(&mut self, later: &Self) {
        self.start = self.start.min(later.start);
        self.end = self.end.max(later.end);
        for (sum, more) in [
            (&mut self.packets, later.packets),
            (&mut self.dropped_packets, later.dropped_packets),
            (&mut self.layer2_octets, later.layer2_octets),
            (&mut self.octets, later.octets),
            (&mut self.dropped_octets, later.dropped_octets),
            (&mut self.octet_squares, later.octet_squares),
            (&mut self.post_multicast, later.post_multicast),
            (&mut self.post_multicast_octets, later.post_multicast_octets),
        ] {
            *sum = sum.wrapping_add(more);
        }
        if self.shortest == 0 || (later.shortest != 0 && later.shortest < self.shortest) {
            self.shortest = later.shortest;
        }
        self.longest = self.longest.max(later.longest);
        self.totals = later.totals;
    }

    fn number(&self, field: Field, export_time: u32, reason: u8) -> u64 {
        let totals = &self.totals;
        // Counted back from the time in the header.
        let before = |time: i64| (i64::from(export_time) * 1_000_000 - time) as u64;
        match field.element {
            158 => before(self.start),
            159 => before(self.end),
            133 => self.dropped_packets,
            135 => totals.dropped_packets,
            2 => self.packets,
            86 => totals.packets,
            354 => totals.in_unicast,
            355 => totals.in_multicast,
            356 => totals.in_broadcast,
            357 => totals.out_unicast,
            358 => totals.out_broadcast,
            19 => self.post_multicast,
            174 => totals.post_multicast,
            352 => self.layer2_octets,
            353 => totals.layer2_octets,
            136 => u64::from(reason),
            132 => self.dropped_octets,
            134 => totals.dropped_octets,
            1 => self.octets,
            85 => totals.octets,
            198 => self.octet_squares,
            199 => totals.octet_squares,
            25 => u64::from(self.shortest),
            26 => u64::from(self.longest),
            20 => self.post_multicast_octets,
            175 => totals.post_multicast_octets,
            219 => totals.tcp[0],
            218 => totals.tcp[1],
            220 => totals.tcp[2],
            221 => totals.tcp[3],
            222 => totals.tcp[4],
            223 => totals.tcp[5],
            _ => 0,
        }
    }
}

/// A time as Open vSwitch knows it: whole milliseconds, in microseconds since 1970.
pub(super) fn milliseconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000) * 1_000
}

fn put_number(out: &mut Vec<u8>, number: u64, length: u16) {
    let bytes = number.to_be_bytes();
    let skip = bytes.len().saturating_sub(usize::from(length));
    out.extend(bytes.get(skip..).unwrap_or_default());
}

fn put_specifier(out: &mut Vec<u8>, field: Field) {
    let bit = if field.enterprise == 0 {
        0
    } else {
        ENTERPRISE_BIT
    };
    out.extend((field.element | bit).to_be_bytes());
    out.extend(field.length.to_be_bytes());
    if field.enterprise != 0 {
        out.extend(field.enterprise.to_be_bytes());
    }
    debug_assert!(field.length == VARIABLE_LENGTH || field.length <= 16);
}

fn put_text(out: &mut Vec<u8>, text: &[u8], most: usize) {
    let text = text.get(..most).unwrap_or(text);
    out.push(text.len() as u8);
    out.extend(text);
}

fn put_address(out: &mut Vec<u8>, address: Option<IpAddr>, length: u16) {
    match address {
        Some(IpAddr::V4(address)) if length == 4 => out.extend(address.octets()),
        Some(IpAddr::V6(address)) if length == 16 => out.extend(address.octets()),
        _ => out.resize(out.len() + usize::from(length), 0),
    }
}

/// Sets the lengths of a message and of its one set.
fn set_lengths(message: &mut [u8]) {
    let whole = message.len() as u16;
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&whole.to_be_bytes());
    }
    let set = whole.saturating_sub(MESSAGE_HEADER as u16);
    if let Some(place) = message.get_mut(MESSAGE_HEADER + 2..MESSAGE_HEADER + SET_HEADER) {
        place.copy_from_slice(&set.to_be_bytes());
    }
}

/// Open vSwitch sends a message of templates when it has reached so many bytes.
const FULL_MESSAGE: usize = 1_024;
/// `egressInterface`, the first field about the output.
const OUTPUT_INTERFACE: u16 = 14;
/// A value of `flowEndReason`: the flow was in the cache for as long as it may be.
pub(super) const ACTIVE_TIMEOUT: u8 = 2;
