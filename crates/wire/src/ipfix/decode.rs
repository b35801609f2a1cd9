use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use netverdict_types::{
    Cookie, Headers, IcmpKind, Input, Key, Origin, Probability, Sample, TcpFlags, Timestamp, ZoneId,
};

use super::plan::{ENTERPRISE_BIT, Plan, Raw};
use super::sequence::Sequence;
use super::{
    FIRST_TEMPLATE, MESSAGE_HEADER, SET_HEADER, SET_OPTIONS_TEMPLATE, SET_TEMPLATE, VERSION,
    u16_at, u32_at,
};

/// Turns IPFIX messages into samples, keeps what that needs of each exporter, and counts.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    exporters: Vec<Exporter>,
    places: HashMap<SocketAddr, usize>,
    /// Place of the exporter that was heard last.
    latest: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    counters: Counters,
}

/// How much a [`Decoder`] keeps for strangers: UDP lets anybody send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Exporters at a time; for a new one the one that was silent longest is forgotten.
    pub exporters: usize,
    /// Templates of an exporter, over all its observation domains.
    pub templates: usize,
    /// Bytes of data sets that wait for their template.
    pub waiting_bytes: usize,
    /// How long a data set waits for its template, in nanoseconds.
    pub waiting_nanos: i64,
}

impl Default for Limits {
    /// Data waits a little longer than Open vSwitch's default `template_interval` of 600 s.
    fn default() -> Self {
        Self {
            exporters: 1_024,
            templates: 131_072,
            waiting_bytes: 16 << 20,
            waiting_nanos: 660_000_000_000,
        }
    }
}

/// What a [`Decoder`] has met. Nothing is passed over without being counted here.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Messages with a readable header.
    pub messages: u64,
    /// Data records that became samples.
    pub samples: u64,
    /// Data records without an observation point: not from a sample of OVN.
    pub foreign_records: u64,
    /// Data records of options templates, such as the exporter's statistics.
    pub options_records: u64,
    /// Templates that were defined; a repeated one counts again.
    pub templates: u64,
    /// Templates that were withdrawn (RFC 7011 section 8.1).
    pub templates_withdrawn: u64,
    /// Templates beyond [`Limits::templates`]: their data is lost.
    pub templates_refused: u64,
    /// Exporters that were forgotten for a new one.
    pub exporters_forgotten: u64,
    /// Data sets that came before their template. Open vSwitch puts one record in a set.
    pub sets_waited: u64,
    /// Data sets among them whose template came in time.
    pub sets_replayed: u64,
    /// Data sets given up because their template did not come in time.
    pub sets_expired: u64,
    /// Data sets given up because too many were waiting.
    pub sets_overflowed: u64,
    /// Data sets given up because their exporter was forgotten.
    pub sets_orphaned: u64,
    /// Sets of a number that RFC 7011 section 3.3.2 keeps for the future.
    pub reserved_sets: u64,
    /// Data messages that never came, by gaps in the sequence numbers. A message that comes
    /// late is taken off again.
    pub lost: u64,
    /// Data messages that came after a later one.
    pub late: u64,
    /// Data messages whose number had come before. They are decoded all the same.
    pub repeated: u64,
    /// Exporters that began to count anew.
    pub restarts: u64,
    /// Datagrams that are no IPFIX message, or state more bytes than there are.
    pub malformed_messages: u64,
    /// Sets whose length cannot be; the rest of their message is lost with them.
    pub malformed_sets: u64,
    /// Templates that are cut off or have no fields of any length; so is the rest of their set.
    pub malformed_templates: u64,
    /// Records that are cut off.
    pub malformed_records: u64,
}

/// What is known of one exporter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExporterStats {
    /// Where its messages come from.
    pub address: SocketAddr,
    /// Messages with a readable header.
    pub messages: u64,
    /// Its data records that became samples.
    pub samples: u64,
    /// As [`Counters::lost`].
    pub lost: u64,
    /// As [`Counters::restarts`].
    pub restarts: u64,
    /// Templates it has now, over all observation domains.
    pub templates: usize,
    /// `exportingProcessId` of its statistics.
    pub process: Option<u32>,
    /// `notSentPacketTotalCount` of its statistics: at Open vSwitch the messages that it failed
    /// to send.
    pub not_sent: Option<u64>,
    /// When it was heard last.
    pub heard: Timestamp,
}

impl Decoder {
    /// A decoder that knows no exporter yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            exporters: Vec::new(),
            places: HashMap::new(),
            latest: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            counters: Counters::default(),
        }
    }

    /// Calls `sink` for each sample in a datagram from `exporter`, and for those that waited for
    /// a template in it.
    ///
    /// `received` is the collector's time; it drives expiry, and is a sample's time where the
    /// record has none. `zone` is that of the exporter.
    pub fn decode(
        &mut self,
        datagram: &[u8],
        exporter: SocketAddr,
        received: Timestamp,
        zone: ZoneId,
        mut sink: impl FnMut(Sample<'_>),
    ) {
        self.expire(received);
        let Some((header, body)) = Header::read(datagram) else {
            self.counters.malformed_messages += 1;
            return;
        };
        self.counters.messages += 1;
        let place = self.place(exporter);
        self.latest = place;
        let Some(known) = self.exporters.get_mut(place) else {
            return;
        };
        known.stats.messages += 1;
        known.stats.heard = received;
        let origin = Context {
            domain: header.domain,
            export_time: header.export_time,
            received,
            zone,
        };
        let mut has_data = false;
        let mut learned = false;
        let mut rest = body;
        while !rest.is_empty() {
            let (Some(number), Some(length)) = (u16_at(rest, 0), u16_at(rest, 2)) else {
                self.counters.malformed_sets += 1;
                break;
            };
            let Some(set) = rest.get(SET_HEADER..usize::from(length)) else {
                self.counters.malformed_sets += 1;
                break;
            };
            rest = rest.get(usize::from(length)..).unwrap_or_default();
            match number {
                SET_TEMPLATE | SET_OPTIONS_TEMPLATE => {
                    learned |= known.templates(
                        header.domain,
                        set,
                        number == SET_OPTIONS_TEMPLATE,
                        &self.limits,
                        &mut self.counters,
                    );
                }
                FIRST_TEMPLATE.. => {
                    has_data = true;
                    if !known.data(number, set, &origin, &mut self.counters, &mut sink) {
                        self.counters.sets_waited += 1;
                        self.waiting_bytes += Waiting::size(set);
                        self.waiting.push_back(Waiting {
                            exporter,
                            number,
                            origin,
                            set: set.into(),
                        });
                    }
                }
                _ => self.counters.reserved_sets += 1,
            }
        }
        let step = known.sequence.advance(header.sequence, has_data);
        known.stats.lost += u64::from(step.lost);
        self.counters.lost += u64::from(step.lost);
        if step.late {
            known.stats.lost = known.stats.lost.saturating_sub(1);
            self.counters.lost = self.counters.lost.saturating_sub(1);
        }
        self.counters.late += u64::from(step.late);
        self.counters.repeated += u64::from(step.repeated);
        self.counters.restarts += u64::from(step.restarted);
        known.stats.restarts += u64::from(step.restarted);
        if learned && !self.waiting.is_empty() {
            self.replay(exporter, place, &mut sink);
        }
        while self.waiting_bytes > self.limits.waiting_bytes {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= Waiting::size(&oldest.set);
            self.counters.sets_overflowed += 1;
        }
    }

    /// Gives up data sets whose template did not come in time. [`Decoder::decode`] does so too.
    pub fn expire(&mut self, now: Timestamp) {
        let oldest = now.before(self.limits.waiting_nanos);
        while self
            .waiting
            .front()
            .is_some_and(|set| set.origin.received < oldest)
        {
            if let Some(set) = self.waiting.pop_front() {
                self.waiting_bytes -= Waiting::size(&set.set);
                self.counters.sets_expired += 1;
            }
        }
    }

    /// What was met so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Data sets that wait for their template now.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What is known of each exporter.
    pub fn exporters(&self) -> impl Iterator<Item = ExporterStats> + '_ {
        self.exporters.iter().map(|exporter| ExporterStats {
            templates: exporter.plans.len(),
            ..exporter.stats
        })
    }

    /// The place of an exporter, which may be new.
    fn place(&mut self, address: SocketAddr) -> usize {
        if self
            .exporters
            .get(self.latest)
            .is_some_and(|exporter| exporter.stats.address == address)
        {
            return self.latest;
        }
        if let Some(place) = self.places.get(&address) {
            return *place;
        }
        let exporter = Exporter::new(address);
        let silent_longest = (self.exporters.len() >= self.limits.exporters.max(1))
            .then(|| {
                let all = self.exporters.iter_mut().enumerate();
                all.min_by_key(|(_, exporter)| exporter.stats.heard)
            })
            .flatten();
        let place = match silent_longest {
            Some((place, forgotten)) => {
                let gone = std::mem::replace(forgotten, exporter).stats.address;
                self.places.remove(&gone);
                self.counters.exporters_forgotten += 1;
                let before = self.waiting.len();
                self.waiting.retain(|set| set.exporter != gone);
                self.waiting_bytes = self.waiting.iter().map(|set| Waiting::size(&set.set)).sum();
                self.counters.sets_orphaned += (before - self.waiting.len()) as u64;
                place
            }
            None => {
                self.exporters.push(exporter);
                self.exporters.len() - 1
            }
        };
        self.places.insert(address, place);
        place
    }

    fn replay(&mut self, address: SocketAddr, place: usize, sink: &mut impl FnMut(Sample<'_>)) {
        let Some(exporter) = self.exporters.get_mut(place) else {
            return;
        };
        let counters = &mut self.counters;
        let mut freed = 0;
        self.waiting.retain(|waiting| {
            let ready = waiting.exporter == address
                && exporter.data(
                    waiting.number,
                    &waiting.set,
                    &waiting.origin,
                    counters,
                    sink,
                );
            if ready {
                counters.sets_replayed += 1;
                freed += Waiting::size(&waiting.set);
            }
            !ready
        });
        self.waiting_bytes -= freed;
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

#[derive(Debug)]
struct Exporter {
    stats: ExporterStats,
    sequence: Sequence,
    /// By observation domain and template number.
    plans: HashMap<(u32, u16), Arc<Plan>>,
    /// Templates that mean the same in each domain, by number: data of a domain is readable as
    /// soon as any domain has sent them.
    shared: HashMap<u16, Arc<Plan>>,
    totals: Totals,
}

impl Exporter {
    fn new(address: SocketAddr) -> Self {
        Self {
            stats: ExporterStats {
                address,
                messages: 0,
                samples: 0,
                lost: 0,
                restarts: 0,
                templates: 0,
                process: None,
                not_sent: None,
                heard: Timestamp::MIN,
            },
            sequence: Sequence::default(),
            plans: HashMap::new(),
            shared: HashMap::new(),
            totals: Totals::NOTHING,
        }
    }

    /// Takes a set of templates; true when one is new.
    fn templates(
        &mut self,
        domain: u32,
        set: &[u8],
        options: bool,
        limits: &Limits,
        counters: &mut Counters,
    ) -> bool {
        let mut learned = false;
        let mut rest = set;
        // Fewer bytes than a template has are padding (RFC 7011 section 3.3.1).
        while rest.len() >= TEMPLATE_HEADER {
            let Some((id, specifiers, length)) = split_template(rest, options) else {
                counters.malformed_templates += 1;
                break;
            };
            rest = rest.get(length..).unwrap_or_default();
            if id < FIRST_TEMPLATE && !specifiers.is_empty() {
                counters.malformed_templates += 1;
            } else if specifiers.is_empty() {
                counters.templates_withdrawn += self.withdraw(domain, id, options);
            } else {
                counters.templates += 1;
                learned |= self.learn(domain, id, specifiers, options, limits, counters);
            }
        }
        learned
    }

    fn learn(
        &mut self,
        domain: u32,
        id: u16,
        specifiers: &[u8],
        options: bool,
        limits: &Limits,
        counters: &mut Counters,
    ) -> bool {
        let same = |plan: &&Arc<Plan>| *plan.specifiers == *specifiers && plan.options == options;
        if self.plans.get(&(domain, id)).as_ref().is_some_and(same) {
            return false;
        }
        let plan = match self.shared.get(&id).filter(same) {
            Some(plan) => Arc::clone(plan),
            None => match Plan::compile(id, specifiers, options) {
                Some(plan) => Arc::new(plan),
                None => {
                    counters.malformed_templates += 1;
                    return false;
                }
            },
        };
        if self.plans.len() >= limits.templates && !self.plans.contains_key(&(domain, id)) {
            counters.templates_refused += 1;
            return false;
        }
        if plan.as_ovs {
            self.shared.insert(id, Arc::clone(&plan));
        }
        self.plans.insert((domain, id), plan);
        true
    }

    /// Forgets one template, or all of a domain where `id` is that of their set; says how many.
    fn withdraw(&mut self, domain: u32, id: u16, options: bool) -> u64 {
        let before = self.plans.len();
        let shared = &mut self.shared;
        let all = id
            == if options {
                SET_OPTIONS_TEMPLATE
            } else {
                SET_TEMPLATE
            };
        self.plans.retain(|(of, number), plan| {
            let gone = *of == domain && plan.options == options && (all || *number == id);
            if gone {
                shared.remove(number);
            }
            !gone
        });
        (before - self.plans.len()) as u64
    }

    /// Reads a data set; false when its template is not known.
    fn data(
        &mut self,
        number: u16,
        set: &[u8],
        origin: &Context,
        counters: &mut Counters,
        sink: &mut impl FnMut(Sample<'_>),
    ) -> bool {
        let Some(plan) = self
            .plans
            .get(&(origin.domain, number))
            .or_else(|| self.shared.get(&number))
        else {
            return false;
        };
        let mut rest = set;
        // Fewer bytes than a record has are padding (RFC 7011 section 3.3.1).
        while rest.len() >= plan.least {
            let Some((raw, length)) = plan.read(rest) else {
                counters.malformed_records += 1;
                break;
            };
            rest = rest.get(length..).unwrap_or_default();
            if plan.options {
                counters.options_records += 1;
                self.stats.process = raw.process.or(self.stats.process);
                self.stats.not_sent = raw.not_sent.or(self.stats.not_sent);
            } else if let Some(point) = raw.point {
                counters.samples += 1;
                self.stats.samples += 1;
                let tcp_flags = self.totals.tcp_flags(&raw);
                sink(sample(&raw, point, tcp_flags, origin));
            } else {
                counters.foreign_records += 1;
            }
        }
        true
    }
}

/// The running totals of an exporter. Open vSwitch has no flags of a packet in its records, but
/// counts over all packets: what changed from one record to the next is this packet's.
#[derive(Clone, Copy, Debug)]
struct Totals {
    packets: u64,
    /// Known as long as no packet went unseen since.
    tcp: Option<[u64; 6]>,
}

impl Totals {
    /// Those of an exporter that has seen nothing. The first record tells whether that is so.
    const NOTHING: Self = Self {
        packets: 0,
        tcp: Some([0; 6]),
    };

    fn tcp_flags(&mut self, raw: &Raw<'_>) -> Option<TcpFlags> {
        let (Some(delta), Some(total)) = (raw.packet_delta, raw.packet_total) else {
            self.tcp = None;
            return None;
        };
        if self.packets.wrapping_add(delta) != total {
            self.tcp = None;
        }
        self.packets = total;
        if !raw.has_tcp {
            return None;
        }
        let before = self.tcp.replace(raw.tcp)?;
        let mut flags = 0;
        for (bit, (now, before)) in raw.tcp.into_iter().zip(before).enumerate() {
            match now.checked_sub(before)? {
                0 => {}
                more if more <= delta => flags |= 1 << bit,
                _ => return None,
            }
        }
        Some(TcpFlags(flags))
    }
}

/// A data set whose template is not known yet.
#[derive(Debug)]
struct Waiting {
    exporter: SocketAddr,
    number: u16,
    origin: Context,
    set: Box<[u8]>,
}

impl Waiting {
    fn size(set: &[u8]) -> usize {
        set.len() + size_of::<Self>()
    }
}

/// What a data set's message says about it.
#[derive(Clone, Copy, Debug)]
struct Context {
    domain: u32,
    export_time: u32,
    received: Timestamp,
    zone: ZoneId,
}

struct Header {
    export_time: u32,
    sequence: u32,
    domain: u32,
}

impl Header {
    /// The header of a message, and its sets.
    fn read(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let length = usize::from(u16_at(datagram, 2)?);
        if u16_at(datagram, 0)? != VERSION {
            return None;
        }
        let body = datagram.get(MESSAGE_HEADER..length)?;
        Some((
            Self {
                export_time: u32_at(datagram, 4)?,
                sequence: u32_at(datagram, 8)?,
                domain: u32_at(datagram, 12)?,
            },
            body,
        ))
    }
}

/// Number, field specifiers and length in bytes of the template at the start of `bytes`.
fn split_template(bytes: &[u8], options: bool) -> Option<(u16, &[u8], usize)> {
    let id = u16_at(bytes, 0)?;
    let count = u16_at(bytes, 2)?;
    let header = if options && count > 0 {
        // The count of scope fields, which come first.
        OPTIONS_TEMPLATE_HEADER
    } else {
        TEMPLATE_HEADER
    };
    let mut end = header;
    for _ in 0..count {
        end += if u16_at(bytes, end)? & ENTERPRISE_BIT == 0 {
            4
        } else {
            8
        };
    }
    Some((id, bytes.get(header..end)?, end))
}

fn sample<'a>(
    raw: &Raw<'a>,
    point: u32,
    tcp_flags: Option<TcpFlags>,
    origin: &Context,
) -> Sample<'a> {
    let delta = raw.packet_delta.unwrap_or(1).max(1);
    let octets = raw.octets.or(raw.layer2_octets).unwrap_or_default();
    let length = u32::try_from(octets / delta).unwrap_or(u32::MAX);
    // A caching exporter has added up packets, and scaled them already; its rate is not told.
    let cached = raw.start_delta != raw.end_delta;
    let (packets, bytes, probability) = if cached {
        (delta, octets, Probability::ALL)
    } else {
        (1, u64::from(length), probability(delta))
    };
    let input = match (raw.tunnel_src.filter(|_| !raw.egress), raw.in_index) {
        (Some(address), _) => Input::Tunnel(IpAddr::V4(address)),
        (None, index) => match std::str::from_utf8(raw.name) {
            Ok(name) if !name.is_empty() => Input::Name(name),
            _ => index
                .filter(|index| *index != 0)
                .map_or(Input::Unknown, Input::Index),
        },
    };
    Sample {
        zone: origin.zone,
        origin: Origin::Ipfix,
        time: raw.end_delta.map_or(origin.received, |delta| {
            Timestamp(i64::from(origin.export_time) * 1_000_000_000 - i64::from(delta) * 1_000)
        }),
        key: Key::Cookie(Cookie {
            domain: origin.domain,
            point,
        }),
        group: None,
        probability,
        input,
        headers: Headers {
            eth_src: raw.eth_src,
            eth_dst: raw.eth_dst,
            ethertype: raw.ethertype,
            vlan: raw.vlan,
            src: raw.src,
            dst: raw.dst,
            protocol: raw.protocol,
            ttl: raw.ttl,
            src_port: raw.src_port,
            dst_port: raw.dst_port,
            tcp_flags,
            icmp: raw
                .icmp_type
                .zip(raw.icmp_code)
                .map(|(kind, code)| IcmpKind { kind, code }),
            ..Headers::default()
        },
        length,
        packets,
        bytes,
        data: &[],
    }
}

/// Open vSwitch sends 65535 divided by its 16-bit probability, rounded down: from 100 % to just
/// above 50 % that is 1, and 100 % the usual one.
fn probability(packet_delta: u64) -> Probability {
    match u16::try_from(packet_delta) {
        Ok(delta) => Probability::from_u16(u16::MAX / delta.max(1)),
        Err(_) => Probability::from_ratio(u32::try_from(packet_delta).unwrap_or(u32::MAX)),
    }
}

const TEMPLATE_HEADER: usize = 4;
const OPTIONS_TEMPLATE_HEADER: usize = 6;
