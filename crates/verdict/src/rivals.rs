use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use netverdict_history::Span;
use netverdict_ovn::expr::{AddressSet, Compiled, Field, Glimpse, Match, PortGroup};
use netverdict_ovsdb::{Atom, Columns, Datum, Row};
use netverdict_types::{
    Action, App, Headers, IcmpKind, Key, Origin, Pipeline, Sample, Timestamp, ZoneId,
};
use uuid::Uuid;

use crate::contents::{ABSENT, Table, UNKNOWN};
use crate::names::{Grounds, Names, Ports};

/// The matches of ACLs that a sample could mean, each made ready once.
#[derive(Debug, Default)]
pub(crate) struct Rivals {
    known: HashMap<(ZoneId, Uuid, u64), Rival, RandomState>,
    scratch: Scratch,
    /// Zones whose address sets were asked for and are not known.
    pub(crate) lacking: Vec<ZoneId>,
}

/// What a match comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ruling {
    /// Whether it holds; `None` where what is known leaves that open.
    pub(crate) holds: Option<bool>,
    /// False where that rests on port groups or address sets as they stand, because it is not known what they were.
    pub(crate) then: bool,
}

/// A sample, to be judged by the matches of several ACLs.
#[derive(Debug)]
pub(crate) struct Case<'r, 'a> {
    rivals: &'r mut Rivals,
    grounds: Option<Grounds<'a>>,
    zone: ZoneId,
    /// When a packet that the sample stands for can have met the ACLs.
    pub(crate) window: (Timestamp, Timestamp),
    seen: Seen<'a>,
    /// Whether the packet goes back to the end that opened the connection; `None` where nothing tells.
    reply: Option<bool>,
}

#[derive(Debug)]
struct Rival {
    /// What the match names, each once.
    uses: Box<[Use]>,
    /// False for a text that is no match, and for one that asks for more than rows tell.
    clear: bool,
    variants: Vec<Variant>,
}

#[derive(Debug, Eq, PartialEq)]
enum Use {
    Group(Box<str>),
    Set(Box<str>),
}

/// A match with what it names as it was at one time.
#[derive(Debug)]
struct Variant {
    /// As many as it names.
    stamps: Box<[u64]>,
    ports_changed: Option<u64>,
    /// `None` where OVN drops it, since something that it names does not exist.
    compiled: Option<Compiled>,
}

#[derive(Debug, Default)]
struct Scratch {
    stamps: Vec<u64>,
    /// Where the stamps of each name end.
    ends: Vec<usize>,
    chosen: Vec<u64>,
}

/// Matches that are kept ready.
const MOST_RIVALS: usize = 1 << 14;
/// Forms of one match that are kept ready.
const MOST_VARIANTS: usize = 8;
/// Forms of one match, by what it names having changed, that are asked of one packet.
const MOST_FORMS: usize = 16;

impl Rivals {
    /// Prepares to judge a sample. `start` is when its connection began, if it is of one and that was seen.
    pub(crate) fn case<'r, 'a>(
        &'r mut self,
        names: &'a Names,
        sample: &Sample<'a>,
        app: Option<App>,
        lag: i64,
        start: Option<Timestamp>,
        reply: Option<bool>,
    ) -> Case<'r, 'a> {
        let cookie = match sample.key {
            Key::Cookie(cookie) => Some(cookie),
            _ => None,
        };
        let established = match sample.key {
            Key::ConntrackPoint(_) | Key::Label(_) => true,
            _ => app == Some(App::AclEst),
        };
        let from = match (established, start) {
            (false, _) => sample.time.before(lag),
            (true, Some(start)) => start.before(lag),
            (true, None) => Timestamp::MIN,
        };
        Case {
            rivals: self,
            grounds: names.grounds(sample.zone, cookie.map(|cookie| cookie.datapath())),
            zone: sample.zone,
            window: (from, sample.time),
            seen: Seen::new(sample, app, established),
            reply,
        }
    }
}

impl<'a> Case<'_, 'a> {
    /// Whether the packet may, and whether it may not go back to the end that opened its connection: each that is possible.
    pub(crate) fn directions(&self) -> &'static [bool] {
        match self.reply.filter(|_| !self.seen.itself) {
            Some(true) => &[true],
            None if !self.seen.itself => &[false, true],
            _ => &[false],
        }
    }

    /// Whether an ACL can have judged the packet, or that of its connection if it goes back.
    pub(crate) fn judge(&mut self, span: &Span, reply: bool) -> Ruling {
        let open = Ruling {
            holds: None,
            then: true,
        };
        let Some(grounds) = self.grounds else {
            return open;
        };
        // An ACL that the switch has not got judges nothing there, and these never mark a connection as theirs.
        let never_marks = matches!(span.action(), Action::Pass | Action::AllowStateless);
        if grounds.has(span.row().uuid) == Some(false) || !self.seen.itself && never_marks {
            return Ruling {
                holds: Some(false),
                then: true,
            };
        }
        let Self {
            rivals, seen, zone, ..
        } = self;
        let row = span.row();
        let key = (*zone, row.uuid, row.revision);
        if rivals.known.len() >= MOST_RIVALS && !rivals.known.contains_key(&key) {
            rivals.known.clear();
        }
        let rival = rivals
            .known
            .entry(key)
            .or_insert_with(|| Rival::new(&row.acl().matches));
        if !rival.clear {
            return open;
        }
        let (from, until) = self.window;
        let mut then = true;
        let contents = grounds.contents();
        let scratch = &mut rivals.scratch;
        scratch.stamps.clear();
        scratch.ends.clear();
        for name in &rival.uses {
            let (table, name) = name.resolve(&contents.groups, &contents.sets);
            let first = scratch.stamps.len();
            table.stamps(name, from, until, &mut scratch.stamps);
            scratch.ends.push(scratch.stamps.len());
            then &= from >= table.horizon();
            let is_lacking =
                std::ptr::eq(table, &contents.sets) && scratch.stamps.get(first) == Some(&UNKNOWN);
            if is_lacking && !rivals.lacking.contains(zone) {
                rivals.lacking.push(*zone);
            }
        }
        let Some(forms) = scratch.forms() else {
            return open;
        };
        let pipeline = span.pipeline();
        let mut holds = None;
        for form in 0..forms {
            scratch.choose(form);
            let variant = rival.variant(&row.acl().matches, &scratch.chosen, grounds);
            let now = match variant {
                None => Some(false),
                Some(compiled) => compiled.judge(&seen.placed(grounds, pipeline, reply)),
            };
            holds = match form {
                0 => now,
                _ if holds == now => holds,
                _ => None,
            };
            if holds.is_none() {
                break;
            }
        }
        Ruling { holds, then }
    }

    /// Whether an ACL was there for certain when the packet can have met it.
    pub(crate) fn was_there(&self, span: &Span) -> bool {
        let (from, until) = self.window;
        span.from() <= from
            && until <= span.until()
            && self
                .grounds
                .is_some_and(|grounds| grounds.has(span.row().uuid) == Some(true))
    }
}

impl Rival {
    fn new(text: &str) -> Self {
        let recorder = Recorder::default();
        let clear = Match::parse(text, &recorder).is_ok() && !recorder.asks_chassis.get();
        Self {
            uses: recorder.uses.into_inner().into(),
            clear,
            variants: Vec::new(),
        }
    }

    /// The match with what is chosen of each name's versions.
    fn variant(&mut self, text: &str, chosen: &[u64], grounds: Grounds<'_>) -> Option<&Compiled> {
        let now = grounds.ports_changed();
        let fits = |variant: &Variant| {
            *variant.stamps == *chosen && variant.ports_changed.is_none_or(|then| then == now)
        };
        let place = match self.variants.iter().position(fits) {
            Some(place) => place,
            None => {
                if self.variants.len() >= MOST_VARIANTS {
                    self.variants.remove(0);
                }
                let bound = Bound {
                    uses: &self.uses,
                    chosen,
                    grounds,
                    ports: Cell::new(false),
                };
                let compiled = Match::parse(text, &bound).ok();
                self.variants.push(Variant {
                    stamps: chosen.into(),
                    ports_changed: bound.ports.get().then_some(now),
                    compiled: compiled.map(|found| found.compile()),
                });
                self.variants.len() - 1
            }
        };
        self.variants.get(place)?.compiled.as_ref()
    }
}

impl Use {
    /// Where its versions are. OVN makes address sets of each port group, `NAME_ip4` and `NAME_ip6`; one that has such a name itself comes
    /// first.
    fn resolve<'t>(&'t self, groups: &'t Table, sets: &'t Table) -> (&'t Table, &'t str) {
        match self {
            Self::Group(name) => (groups, name),
            Self::Set(name) => match implicit(name) {
                Some((group, _)) if !sets.has(name) && groups.has(group) => (groups, group),
                _ => (sets, name),
            },
        }
    }
}

/// The port group whose addresses make a set of that name, and whether they are of IPv4.
fn implicit(name: &str) -> Option<(&str, bool)> {
    let of = |suffix| name.strip_suffix(suffix);
    of("_ip4")
        .map(|group| (group, true))
        .or_else(|| Some((of("_ip6")?, false)))
}

impl Scratch {
    /// How many ways there are to choose one stamp of each name, unless they are too many.
    fn forms(&self) -> Option<usize> {
        let mut forms = 1_usize;
        let mut first = 0;
        for end in &self.ends {
            forms = forms.checked_mul(end - first)?;
            first = *end;
        }
        (forms <= MOST_FORMS).then_some(forms)
    }

    fn choose(&mut self, mut form: usize) {
        self.chosen.clear();
        let mut first = 0;
        for end in &self.ends {
            let count = (end - first).max(1);
            self.chosen
                .extend(self.stamps.get(first + form % count).copied());
            form /= count;
            first = *end;
        }
    }
}

/// Notes what a match names, and knows nothing of it.
#[derive(Default)]
struct Recorder {
    uses: RefCell<Vec<Use>>,
    asks_chassis: Cell<bool>,
}

impl Recorder {
    fn note(&self, name: Use) {
        let mut uses = self.uses.borrow_mut();
        if !uses.contains(&name) {
            uses.push(name);
        }
    }
}

impl netverdict_ovn::expr::Names for Recorder {
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>> {
        self.note(Use::Set(name.into()));
        Some(Arc::new(AddressSet::unknown()))
    }

    fn port_group(&self, name: &str) -> Option<Arc<PortGroup>> {
        self.note(Use::Group(name.into()));
        Some(Arc::new(PortGroup::unknown()))
    }

    fn is_resident(&self, _port: &str) -> bool {
        self.asks_chassis.set(true);
        false
    }
}

/// Nothing is known of it.
struct Unknown;

/// What a match names, as chosen.
struct Bound<'b> {
    uses: &'b [Use],
    chosen: &'b [u64],
    grounds: Grounds<'b>,
    /// Whether addresses of ports were asked for.
    ports: Cell<bool>,
}

impl Bound<'_> {
    /// What a name stands for, if it stands for something.
    fn row<'w>(&'w self, wanted: &'w Use) -> Option<Result<&'w Row, Unknown>> {
        let place = self.uses.iter().position(|name| name == wanted)?;
        let stamp = *self.chosen.get(place)?;
        let contents = self.grounds.contents();
        let (table, name) = wanted.resolve(&contents.groups, &contents.sets);
        match stamp {
            ABSENT => None,
            UNKNOWN => Some(Err(Unknown)),
            stamp => Some(table.row(name, stamp).ok_or(Unknown)),
        }
    }
}

impl netverdict_ovn::expr::Names for Bound<'_> {
    fn address_set(&self, name: &str) -> Option<Arc<AddressSet>> {
        let wanted = Use::Set(name.into());
        let Ok(row) = self.row(&wanted)? else {
            return Some(Arc::new(AddressSet::unknown()));
        };
        let members = |column| row.column(column).map_or(&[][..], Datum::atoms);
        if row.table() == "Address_Set" {
            let texts = members("addresses").iter().filter_map(Atom::as_str);
            return Some(Arc::new(AddressSet::new(texts).0));
        }
        self.ports.set(true);
        let v4 = implicit(name).is_some_and(|(_, v4)| v4);
        let mut texts = Vec::new();
        // A port may have addresses that OVN gave it, which its row does not tell.
        let mut and_others = false;
        for port in members("ports").iter().filter_map(Atom::as_uuid) {
            match self.grounds.port(port) {
                Some(port) if !port.addresses.is_empty() => {
                    let of_family = port.addresses.iter().filter(|ip| ip.is_ipv4() == v4);
                    texts.extend(of_family.map(IpAddr::to_string));
                }
                _ => and_others = true,
            }
        }
        let (set, _) = AddressSet::new(texts.iter().map(String::as_str));
        Some(Arc::new(match and_others {
            true => set.and_others(),
            false => set,
        }))
    }

    fn port_group(&self, name: &str) -> Option<Arc<PortGroup>> {
        let wanted = Use::Group(name.into());
        let Ok(row) = self.row(&wanted)? else {
            return Some(Arc::new(PortGroup::unknown()));
        };
        let ports = row.column("ports").map_or(&[][..], Datum::atoms);
        let names = ports.iter().filter_map(Atom::as_uuid).filter_map(|port| {
            // A port that is gone is none that a packet is seen at.
            Some(self.grounds.port(port)?.name.as_str())
        });
        Some(Arc::new(PortGroup::new(names)))
    }

    fn is_resident(&self, _port: &str) -> bool {
        false
    }
}

/// What a sample tells of the packet that its ACL judged.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    headers: Headers,
    input: netverdict_types::Input<'a>,
    /// Whether this is the packet that was judged; else it is of a connection whose packets were.
    itself: bool,
    /// Whether the source tells each packet's own headers.
    exact: bool,
    /// What is known of `ct_state`: its value, and the bits that are known.
    ct_state: (u128, u128),
    inports: Option<Ports<'a>>,
    /// Whether that is by the interface, so that no router has changed the packet.
    is_first_switch: bool,
    outports: Option<Ports<'a>>,
}

/// Bits of `ct_state` as OVN numbers them (ovn lib/logical-fields.c).
const EST: u128 = 0x02;
const RPL: u128 = 0x08;
const TRK: u128 = 0x20;

impl<'a> Seen<'a> {
    fn new(sample: &Sample<'a>, app: Option<App>, established: bool) -> Self {
        let mut headers = sample.headers;
        // An error belongs to a connection of other addresses and protocol.
        if established && is_icmp_error(&headers) {
            headers = Headers::default();
        }
        Self {
            headers,
            input: sample.input,
            itself: !established,
            exact: matches!(sample.origin, Origin::Psample | Origin::Twin),
            ct_state: match (established, app) {
                // Replies are not judged, and what is established was tracked.
                (true, _) => (TRK, TRK | RPL),
                // ovn-northd samples those as new that open a connection or are not tracked.
                (false, Some(App::AclNew)) => (0, EST | RPL),
                (false, _) => (0, 0),
            },
            inports: None,
            is_first_switch: false,
            outports: None,
        }
    }

    /// The packet as the ACL saw it, with its ports.
    fn placed(&self, grounds: Grounds<'a>, pipeline: Pipeline, reply: bool) -> Self {
        let mut headers = self.headers;
        if reply {
            std::mem::swap(&mut headers.src, &mut headers.dst);
            std::mem::swap(&mut headers.src_port, &mut headers.dst_port);
            std::mem::swap(&mut headers.eth_src, &mut headers.eth_dst);
            headers.icmp = headers.icmp.and_then(asked);
        }
        let port_of = |ip: Option<IpAddr>, mac| match grounds.port_of(ip?) {
            Some(port) => Some(Ports::one(&port.name)),
            None if grounds.has_address(ip?) => None,
            None => grounds.ports_of_others(mac),
        };
        if pipeline == Pipeline::ToLport {
            // A router may have brought what one of this switch sent: then the MAC address is its.
            let own = headers.src.and_then(|ip| grounds.port_of(ip));
            let inports = match own.zip(headers.eth_src) {
                Some((port, mac)) if port.macs.contains(&mac) => Some(Ports::one(&port.name)),
                _ => grounds.ports_of_others(headers.eth_src),
            };
            return Self {
                headers,
                inports,
                outports: port_of(headers.dst, headers.eth_dst),
                ..*self
            };
        }
        let by_input = match self.itself {
            true => grounds.port_of_input(self.input),
            false => None,
        };
        let inports = match by_input {
            Some(port) => Some(Ports::one(port)),
            None => port_of(headers.src, headers.eth_src),
        };
        // Before load balancing the first packet had another destination than those after it.
        if let (false, Some(dst), Some(protocol)) = (self.itself, headers.dst, headers.protocol)
            && grounds.is_behind_service(dst, headers.dst_port, protocol)
        {
            headers.dst = None;
            headers.dst_port = None;
        }
        Self {
            headers,
            inports,
            is_first_switch: by_input.is_some(),
            ..*self
        }
    }

    fn is_v4(&self) -> Option<bool> {
        let ip = self.headers.src.or(self.headers.dst)?;
        Some(ip.is_ipv4())
    }
}

impl Glimpse for Seen<'_> {
    fn bits(&self, field: Field) -> (u128, u128) {
        let headers = &self.headers;
        let of =
            |protocol, value: Option<u128>| value.filter(|_| headers.protocol == Some(protocol));
        let whole = match field {
            Field::CtState => return self.ct_state,
            Field::TcpFlags => {
                return match headers.tcp_flags {
                    Some(flags) if self.itself && self.exact => (u128::from(flags.0), 0xff),
                    _ => (0, 0),
                };
            }
            Field::EthType => match self.is_v4() {
                Some(true) => Some(0x800),
                Some(false) => Some(0x86dd),
                None => headers.ethertype.map(u128::from),
            },
            Field::EthSrc => headers.eth_src.map(mac).filter(|_| self.has_own_macs()),
            Field::EthDst => headers.eth_dst.map(mac).filter(|_| self.has_own_macs()),
            // A router lowers it, which a sample may not show.
            Field::IpTtl => headers.ttl.map(u128::from).filter(|_| self.has_own_macs()),
            Field::IpProto => headers.protocol.map(u128::from),
            Field::Ip4Src => headers.src.and_then(v4),
            Field::Ip4Dst => headers.dst.and_then(v4),
            Field::Ip6Src => headers.src.and_then(v6),
            Field::Ip6Dst => headers.dst.and_then(v6),
            Field::TcpSrc => of(6, headers.src_port.map(u128::from)),
            Field::TcpDst => of(6, headers.dst_port.map(u128::from)),
            Field::UdpSrc => of(17, headers.src_port.map(u128::from)),
            Field::UdpDst => of(17, headers.dst_port.map(u128::from)),
            Field::SctpSrc => of(132, headers.src_port.map(u128::from)),
            Field::SctpDst => of(132, headers.dst_port.map(u128::from)),
            Field::Icmp4Type => of(1, headers.icmp.map(|icmp| u128::from(icmp.kind))),
            Field::Icmp4Code => of(1, headers.icmp.map(|icmp| u128::from(icmp.code))),
            Field::Icmp6Type => of(58, headers.icmp.map(|icmp| u128::from(icmp.kind))),
            Field::Icmp6Code => of(58, headers.icmp.map(|icmp| u128::from(icmp.code))),
            _ => None,
        };
        whole.map_or((0, 0), |value| (value, u128::MAX))
    }

    fn inports(&self) -> Option<&[&str]> {
        self.inports.as_ref().map(Ports::names)
    }

    fn outports(&self) -> Option<&[&str]> {
        self.outports.as_ref().map(Ports::names)
    }
}

impl Seen<'_> {
    fn has_own_macs(&self) -> bool {
        self.itself && self.exact && self.is_first_switch
    }
}

fn mac(bytes: [u8; 6]) -> u128 {
    bytes
        .iter()
        .fold(0, |whole, byte| whole << 8 | u128::from(*byte))
}

fn v4(ip: IpAddr) -> Option<u128> {
    match ip {
        IpAddr::V4(ip) => Some(u32::from(ip).into()),
        IpAddr::V6(_) => None,
    }
}

fn v6(ip: IpAddr) -> Option<u128> {
    match ip {
        IpAddr::V6(ip) => Some(ip.into()),
        IpAddr::V4(_) => None,
    }
}

/// What an echo reply answers (RFC 792, RFC 4443).
fn asked(answer: IcmpKind) -> Option<IcmpKind> {
    let kind = match answer.kind {
        0 => 8,
        129 => 128,
        _ => return None,
    };
    Some(IcmpKind { kind, code: 0 })
}

/// Whether a packet tells of what befell another one: destination unreachable, packet too big, time exceeded and the like (RFC 792, RFC 4443).
fn is_icmp_error(headers: &Headers) -> bool {
    match (headers.protocol, headers.icmp) {
        (Some(1), Some(IcmpKind { kind, .. })) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (Some(58), Some(IcmpKind { kind, .. })) => kind < 128,
        (Some(1 | 58), None) => true,
        _ => false,
    }
}
