//! Connection tracking, as the datapath does it for OVN: zones, states, timeouts, marks and labels, NAT.
//!
//! A connection is there once it was committed. Until then its packets are new, each time. What a packet of a connection is told:
//!
//! | packet | `ct_state` |
//! |---|---|
//! | no connection, could open one | new |
//! | no connection, could not (SYN+ACK, an echo reply, …), or no sense in itself | inv |
//! | of a connection | new until it counts as answered, then est; rpl in the reply direction |
//! | an ICMP error about a packet of a connection | rel; rpl if that packet was of the original direction |
//! | a later fragment | what its first fragment was told |
//!
//! Linux (nf_conntrack) and Open vSwitch in user space (lib/conntrack.c) agree in that, and differ in what [`Datapath`] says. Both have a
//! state machine for TCP; here it is that of Open vSwitch for either, which comes to the same as long as both ends keep to the protocol.
//! Not modelled: sequence numbers (as with `nf_conntrack_tcp_be_liberal`, or `dpctl/ct-disable-tcp-seq-chk`), bad checksums, helpers for FTP and
//! TFTP, expectations, limits of single zones, Linux' states of SCTP and DCCP.

use std::net::IpAddr;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Vacancy;
use netverdict_types::Timestamp;

use crate::packet::{FRAGMENT_ANY, answer_of, is_icmp_error, protocol, tcp};
use crate::{CtView, L4, Packet, Tuple};

/// The connections of one node, in all its zones.
///
/// Time comes with each packet, and must not go back. Nothing is allocated for a packet, but for the room of a new connection if there are more than
/// there ever were.
#[derive(Clone, Debug)]
pub struct Conntrack {
    datapath: Datapath,
    limit: usize,
    index: HashMap<Key, Place, foldhash::fast::RandomState>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Where the search for what has expired goes on.
    hand: usize,
    fragments: Vec<Option<Fragment>>,
    /// What the last packet was found to belong to: its next step is mostly a commit.
    last: Option<Last>,
    counters: Counters,
}

/// Which connection tracking is modelled. The differences that are:
///
/// - Linux calls a packet of the original direction established once a reply was seen, whatever the protocol. User space does so for UDP,
///   ICMP and the rest, but a segment of TCP other than SYN is established from the second on.
/// - A lone reset opens no connection in Linux.
/// - Of an invalid packet that has the addresses of a connection, Linux tells no mark and no label, and does not translate it.
/// - User space makes an ICMP error seem to come from the end that the connection went to, even if nothing is translated, when the connection
///   was committed with `nat(src)`, as OVN does. That is not modelled.
/// - NAT to the address that a packet has already is none in Linux.
/// - A full table: Linux gives up a connection that was never answered, user space does not commit.
/// - The timeouts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Datapath {
    /// The kernel module with nf_conntrack.
    #[default]
    Kernel,
    /// Open vSwitch's own (`datapath_type=netdev`).
    Userspace,
}

/// What to rewrite when a connection is committed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Nat {
    /// The destination: address and, where there is one, port.
    Destination(IpAddr, Option<u16>),
    /// The source.
    Source(IpAddr),
    /// What the connection has (`nat(src)` without an address, as it is in all of OVN's `ct_commit`): none if it is opened, and its own if it is
    /// there and the packet was not translated yet.
    Kept,
}

/// What to commit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Commit {
    /// Mark: bits and which of them to set.
    pub mark: (u32, u32),
    /// Label: bits and which of them to set.
    pub label: (u128, u128),
    /// NAT of a new connection.
    pub nat: Option<Nat>,
}

/// A connection, for showing it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Entry {
    /// The zone. OVN has 16 bits for it, and gives numbers to the ports of one node; the twin gives them to all ports of a zone.
    pub zone: u32,
    /// The original direction, as it comes in.
    pub original: Tuple,
    /// The reply direction, as it comes in. Other addresses than in `original` are those after NAT.
    pub reply: Tuple,
    /// Its mark.
    pub mark: u32,
    /// Its label.
    pub label: u128,
    /// Whether the reply direction was seen.
    pub answered: bool,
    /// Of TCP: the states of both ends, the one that opened it first.
    pub tcp: Option<(TcpState, TcpState)>,
    /// When it will be forgotten if no further packet comes.
    pub until: Timestamp,
}

/// State of one end of a TCP connection, as Open vSwitch has it; later ones are greater.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub enum TcpState {
    #[default]
    Closed,
    SynSent,
    Established,
    Closing,
    FinWait2,
    TimeWait,
}

/// What was lost for want of room, and what else ended early.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Connections that were not committed, because the table was full.
    pub refused: u64,
    /// Connections never answered that had to go before their time for others.
    pub dropped_early: u64,
    /// Connections that were not committed, because NAT found no tuple that was free.
    pub exhausted: u64,
    /// Fragments whose first one was forgotten too early for others.
    pub fragments_lost: u64,
}

impl Default for Conntrack {
    /// Linux with room for 262144 connections, as it has on machines of today.
    fn default() -> Self {
        Self::new(Datapath::default(), 262_144)
    }
}

impl Conntrack {
    /// An empty one with room for so many connections.
    pub fn new(datapath: Datapath, limit: usize) -> Self {
        Self {
            datapath,
            limit,
            index: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            fragments: Vec::new(),
            last: None,
            counters: Counters::default(),
        }
    }

    /// Sends a packet through a zone (`ct_lb_mark;`, `ct_dnat;`, `ct(table=…,zone=…,nat)`): what is known of its connection, after the translation
    /// of its addresses if it has one.
    ///
    /// `ct_next` is the same without the translation. OVN uses it where a switch has no load balancer, and no connection of such a zone has any.
    pub fn track(&mut self, zone: u32, packet: &mut Packet, now: Timestamp) -> CtView {
        self.sweep(now);
        let arrived = *packet;
        let (view, place) = match Subject::of(packet) {
            Subject::None => (told(CtView::INV), None),
            Subject::Fragment => return self.later_fragment(zone, packet, now),
            Subject::Error(tuple) => match self.find(zone, &tuple, now) {
                Some(place) => {
                    let slot = &self.slots[place.slot as usize];
                    let state = CtView::REL | reply_bit(place);
                    let nat = translate_error(packet, slot, place.reply);
                    (slot.told(state | nat), Some(place))
                }
                None => (told(CtView::INV), None),
            },
            Subject::Own(tuple) => {
                let place = self.find(zone, &tuple, now);
                match place.map(|place| self.follow(place, packet, now)) {
                    Some(Some(view)) => (view, place),
                    _ if self.can_open(packet) => (told(CtView::NEW), None),
                    _ => (told(CtView::INV), None),
                }
            }
        };
        self.last = Some(Last {
            zone,
            packet: *packet,
            translated: view.state & (CtView::SNAT | CtView::DNAT) != 0,
            followed: true,
            place,
        });
        self.remember_fragment(zone, &arrived, packet, view, now);
        view
    }

    /// Commits a packet's connection (`ct_commit`): opens it if it is new, and sets mark and label. The packet counts for the connection's state, if it
    /// was not tracked in the zone before.
    /// NAT is chosen when it is opened, later packets only follow it.
    ///
    /// What cannot open a connection is told to be invalid; if there is no room, nothing is committed, and that is counted.
    pub fn commit(
        &mut self,
        zone: u32,
        packet: &mut Packet,
        now: Timestamp,
        commit: Commit,
    ) -> CtView {
        let arrived = *packet;
        let (tuple, error) = match Subject::of(packet) {
            Subject::None => return told(CtView::INV),
            Subject::Own(tuple) => (tuple, false),
            Subject::Error(tuple) => (tuple, true),
            Subject::Fragment => match self.first_fragment(zone, packet, now) {
                Some(fragment) => {
                    let mut first = Packet {
                        ip: packet.ip,
                        ..fragment.first
                    };
                    let view = self.commit(zone, &mut first, now, commit);
                    packet.ip = first.ip;
                    return view;
                }
                None => return told(CtView::INV),
            },
        };
        let mut opened = None;
        let mut found = self.find_translated(zone, packet, &tuple, now);
        let is_known = self
            .last
            .as_ref()
            .is_some_and(|last| last.followed && (last.zone, &last.packet) == (zone, packet));
        // Who was not tracked before is now.
        if let (Some((place, _)), false, false) = (found, error, is_known) {
            let slot = &mut self.slots[place.slot as usize];
            if let Update::Reopened = slot.update(self.datapath, packet, place.reply, now) {
                self.forget(place.slot);
                found = None;
            }
        }
        let view = match found {
            Some(_) if self.datapath == Datapath::Kernel && has_invalid_flags(packet) => {
                return told(CtView::INV);
            }
            Some((place, translated)) => {
                let slot = &mut self.slots[place.slot as usize];
                commit.write(slot);
                let mut nat = slot.nat_bits(place.reply);
                if error {
                    slot.told(CtView::REL | reply_bit(place) | nat)
                } else {
                    if !translated && commit.nat.is_some() {
                        nat = translate(packet, slot, place.reply);
                    } else if !translated {
                        nat = 0;
                    }
                    let state = slot.standing(self.datapath, packet, place.reply);
                    slot.told(state | nat)
                }
            }
            None if error || !self.can_open(packet) => return told(CtView::INV),
            None => match self.open(zone, &tuple, packet, now, commit) {
                Some(number) => {
                    opened = Some(Place {
                        slot: number,
                        reply: false,
                    });
                    let slot = &self.slots[number as usize];
                    let nat = translate(packet, slot, false);
                    slot.told(CtView::NEW | nat)
                }
                None => told(CtView::NEW),
            },
        };
        if let Some(place) = opened {
            self.last = Some(Last {
                zone,
                packet: *packet,
                translated: view.state & (CtView::SNAT | CtView::DNAT) != 0,
                followed: true,
                place: Some(place),
            });
        }
        self.remember_fragment(zone, &arrived, packet, view, now);
        view
    }

    /// Forgets what a packet was found to belong to (`ct_clear`): a commit then goes by its addresses as they are. A packet to a service is one of
    /// another connection then; its replies are taken, and so it gets another source port.
    pub fn clear(&mut self, zone: u32, packet: &Packet, now: Timestamp) {
        let place = match Subject::of(packet) {
            Subject::Own(tuple) => self.find(zone, &tuple, now),
            _ => return,
        };
        self.last = Some(Last {
            zone,
            packet: *packet,
            translated: false,
            followed: false,
            place,
        });
    }

    /// The connection that a tuple of a zone belongs to, in either direction, for showing it. One that has expired may be shown still.
    pub fn entry(&self, zone: u32, tuple: &Tuple) -> Option<Entry> {
        let place = self.index.get(&Key::new(zone, tuple))?;
        Some(self.slots.get(place.slot as usize)?.entry())
    }

    /// All connections that have not expired, in no order.
    pub fn entries(&self, now: Timestamp) -> impl Iterator<Item = Entry> {
        self.slots
            .iter()
            .filter(move |slot| slot.is_alive(now))
            .map(Slot::entry)
    }

    /// Forgets the connection that a tuple of a zone belongs to. False if there is none.
    pub fn remove(&mut self, zone: u32, tuple: &Tuple) -> bool {
        let found = self.index.get(&Key::new(zone, tuple)).copied();
        if let Some(place) = found {
            self.forget(place.slot);
        }
        found.is_some()
    }

    /// Forgets all connections of a zone.
    pub fn flush(&mut self, zone: u32) {
        for number in 0..self.slots.len() {
            if self.slots[number].used && self.slots[number].zone == zone {
                self.forget(number as u32);
            }
        }
    }

    /// How many connections take room, with those that have expired and were not cleared yet.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True if there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was lost.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a packet as the next one of its connection. `None` if that was over and the packet opens another one.
    fn follow(&mut self, place: Place, packet: &mut Packet, now: Timestamp) -> Option<CtView> {
        let slot = &mut self.slots[place.slot as usize];
        match slot.update(self.datapath, packet, place.reply, now) {
            Update::Valid => {
                let state = slot.standing(self.datapath, packet, place.reply);
                let nat = translate(packet, slot, place.reply);
                Some(slot.told(state | nat))
            }
            Update::Invalid => Some(match self.datapath {
                Datapath::Kernel => told(CtView::INV),
                Datapath::Userspace => {
                    let nat = translate(packet, slot, place.reply);
                    slot.told(CtView::INV | nat)
                }
            }),
            Update::Reopened => {
                self.forget(place.slot);
                None
            }
        }
    }

    fn can_open(&self, packet: &Packet) -> bool {
        match packet.l4 {
            L4::Tcp { flags, .. } => {
                !invalid_flags(flags)
                    && flags & (tcp::SYN | tcp::ACK) != tcp::SYN | tcp::ACK
                    && (self.datapath == Datapath::Userspace || flags & tcp::RST == 0)
            }
            L4::Icmp { kind, .. } => match packet.protocol {
                protocol::ICMP => matches!(kind, 8 | 13 | 15),
                _ => kind == 128,
            },
            _ => true,
        }
    }

    fn find(&mut self, zone: u32, tuple: &Tuple, now: Timestamp) -> Option<Place> {
        let place = *self.index.get(&Key::new(zone, tuple))?;
        if self.slots[place.slot as usize].is_alive(now) {
            return Some(place);
        }
        self.forget(place.slot);
        None
    }

    /// Finds the connection of a packet that may have been translated already; tells whether it was.
    fn find_translated(
        &mut self,
        zone: u32,
        packet: &Packet,
        tuple: &Tuple,
        now: Timestamp,
    ) -> Option<(Place, bool)> {
        if let Some(last) = &self.last
            && (last.zone, &last.packet) == (zone, packet)
        {
            return Some((last.place?, last.translated));
        }
        if let Some(place) = self.find(zone, tuple, now) {
            return Some((place, false));
        }
        let place = self.find(zone, &tuple.reply(), now)?;
        let reply = !place.reply;
        Some((Place { reply, ..place }, true))
    }

    fn open(
        &mut self,
        zone: u32,
        original: &Tuple,
        packet: &Packet,
        now: Timestamp,
        commit: Commit,
    ) -> Option<u32> {
        if self.len() >= self.limit && !self.make_room(now) {
            self.counters.refused += 1;
            return None;
        }
        let (mut reply, mut nat) = translated_reply(original, commit.nat);
        if self.find(zone, &reply, now).is_some() {
            if !self.other_port(zone, &mut reply, now) {
                self.counters.exhausted += 1;
                return None;
            }
            nat = nat.or(Some(Side::Source));
        }
        if self.datapath == Datapath::Kernel && reply == original.reply() {
            nat = None;
        }
        let mut slot = Slot {
            used: true,
            zone,
            original: *original,
            reply,
            nat,
            ..Slot::default()
        };
        slot.until = slot.open(self.datapath, packet, now);
        commit.write(&mut slot);
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = slot;
                number
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        for (tuple, reply) in [(original, false), (&slot.reply, true)] {
            if let Vacancy::Vacant(vacant) = self.index.entry(Key::new(zone, tuple)) {
                vacant.insert(Place {
                    slot: number,
                    reply,
                });
            }
        }
        Some(number)
    }

    /// Gives the side that opened the connection another port, so that the replies are its own.
    fn other_port(&mut self, zone: u32, reply: &mut Tuple, now: Timestamp) -> bool {
        if !matches!(
            reply.protocol,
            protocol::TCP | protocol::UDP | protocol::SCTP
        ) {
            return false;
        }
        let first = reply.dst_port;
        for _ in 0..=u16::MAX {
            reply.dst_port = match reply.dst_port.wrapping_add(1) {
                low if low < 1024 => 1024,
                port => port,
            };
            if reply.dst_port == first {
                break;
            }
            if self.find(zone, reply, now).is_none() {
                return true;
            }
        }
        false
    }

    /// Looks at some connections for one that can go.
    fn make_room(&mut self, now: Timestamp) -> bool {
        for _ in 0..SEARCHED.min(self.slots.len()) {
            let number = self.next();
            let slot = &self.slots[number];
            if !slot.used {
                continue;
            }
            let expired = !slot.is_alive(now);
            if expired || self.datapath == Datapath::Kernel && !slot.answered {
                self.counters.dropped_early += u64::from(!expired);
                self.forget(number as u32);
                return true;
            }
        }
        false
    }

    /// Clears what has expired, a little with each packet.
    fn sweep(&mut self, now: Timestamp) {
        for _ in 0..SWEPT.min(self.slots.len()) {
            let number = self.next();
            let slot = &self.slots[number];
            if slot.used && !slot.is_alive(now) {
                self.forget(number as u32);
            }
        }
    }

    fn next(&mut self) -> usize {
        self.hand = if self.hand + 1 < self.slots.len() {
            self.hand + 1
        } else {
            0
        };
        self.hand
    }

    fn forget(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if !std::mem::take(&mut slot.used) {
            return;
        }
        self.last = None;
        let (zone, tuples) = (slot.zone, [slot.original, slot.reply]);
        for tuple in tuples {
            let key = Key::new(zone, &tuple);
            if self
                .index
                .get(&key)
                .is_some_and(|place| place.slot == number)
            {
                self.index.remove(&key);
            }
        }
        self.free.push(number);
    }

    fn later_fragment(&mut self, zone: u32, packet: &mut Packet, now: Timestamp) -> CtView {
        match self.first_fragment(zone, packet, now) {
            Some(fragment) => {
                packet.ip = fragment.first.ip;
                fragment.view
            }
            None => told(CtView::INV),
        }
    }

    fn first_fragment(&self, zone: u32, packet: &Packet, now: Timestamp) -> Option<Fragment> {
        let fragment = (*self.fragments.get(fragment_place(zone, packet))?)?;
        let same = fragment.zone == zone
            && fragment.first.ip_id == packet.ip_id
            && (fragment.arrived == packet.ip || fragment.first.ip == packet.ip);
        (same && now.0 < fragment.until.0).then_some(fragment)
    }

    /// Keeps what a first fragment was told, for those after it.
    fn remember_fragment(
        &mut self,
        zone: u32,
        arrived: &Packet,
        packet: &Packet,
        view: CtView,
        now: Timestamp,
    ) {
        if packet.fragment != FRAGMENT_ANY {
            return;
        }
        if self.fragments.is_empty() {
            self.fragments.resize(FRAGMENTS, None);
        }
        let before = self.first_fragment(zone, arrived, now);
        let place = fragment_place(zone, packet);
        let Some(kept) = self.fragments.get_mut(place) else {
            return;
        };
        if before.is_none() && kept.is_some_and(|other| now.0 < other.until.0) {
            self.counters.fragments_lost += 1;
        }
        *kept = Some(Fragment {
            zone,
            arrived: before.map_or(arrived.ip, |fragment| fragment.arrived),
            first: *packet,
            view,
            until: after(now, 30),
        });
    }
}

impl Commit {
    fn write(&self, slot: &mut Slot) {
        let ((mark, marks), (label, labels)) = (self.mark, self.label);
        slot.mark = slot.mark & !marks | mark & marks;
        slot.label = slot.label & !labels | label & labels;
    }
}

/// Where a connection is found by one of its tuples.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    /// Whether that tuple is the reply direction's.
    reply: bool,
}

/// Zone and tuple, quick to hash.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Key {
    src: u128,
    dst: u128,
    rest: u128,
}

impl Key {
    fn new(zone: u32, tuple: &Tuple) -> Self {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        let family = u128::from(tuple.src.is_ipv6()) << 8;
        Self {
            src: bits(tuple.src),
            dst: bits(tuple.dst),
            rest: u128::from(tuple.src_port) << 64
                | u128::from(tuple.dst_port) << 48
                | u128::from(zone) << 16
                | family
                | u128::from(tuple.protocol),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    used: bool,
    zone: u32,
    original: Tuple,
    reply: Tuple,
    mark: u32,
    label: u128,
    until: Timestamp,
    answered: bool,
    nat: Option<Side>,
    /// Of TCP: the end that opened it, and the other.
    ends: [TcpState; 2],
}

/// Which address NAT changes in the original direction.
#[derive(Clone, Copy, Debug)]
enum Side {
    Source,
    Destination,
}

enum Update {
    Valid,
    Invalid,
    /// It was over, and the packet opens the next one.
    Reopened,
}

impl Default for Slot {
    fn default() -> Self {
        let nothing = Tuple {
            protocol: 0,
            src: IpAddr::from([0; 4]),
            dst: IpAddr::from([0; 4]),
            src_port: 0,
            dst_port: 0,
        };
        Self {
            used: false,
            zone: 0,
            original: nothing,
            reply: nothing,
            mark: 0,
            label: 0,
            until: Timestamp::default(),
            answered: false,
            nat: None,
            ends: Default::default(),
        }
    }
}

impl Slot {
    fn is_alive(&self, now: Timestamp) -> bool {
        self.used && now.0 < self.until.0
    }

    fn told(&self, state: u32) -> CtView {
        CtView {
            state: state | CtView::TRK,
            mark: self.mark,
            label: self.label,
        }
    }

    fn entry(&self) -> Entry {
        let [opener, other] = self.ends;
        Entry {
            zone: self.zone,
            original: self.original,
            reply: self.reply,
            mark: self.mark,
            label: self.label,
            answered: self.answered,
            tcp: (self.original.protocol == protocol::TCP).then_some((opener, other)),
            until: self.until,
        }
    }

    fn nat_bits(&self, reply: bool) -> u32 {
        match (self.nat, reply) {
            (None, _) => 0,
            (Some(Side::Source), false) | (Some(Side::Destination), true) => CtView::SNAT,
            (Some(Side::Destination), false) | (Some(Side::Source), true) => CtView::DNAT,
        }
    }

    /// What a valid packet of the connection is told of it now.
    fn standing(&self, datapath: Datapath, packet: &Packet, reply: bool) -> u32 {
        let new = match (datapath, packet.l4) {
            (Datapath::Userspace, L4::Tcp { flags, .. }) => {
                let end = self.ends[usize::from(reply)];
                flags & (tcp::SYN | tcp::ACK) == tcp::SYN && end <= TcpState::SynSent
            }
            _ => !self.answered,
        };
        match (new, reply) {
            _ if has_invalid_flags(packet) => CtView::INV,
            (true, _) => CtView::NEW,
            (false, false) => CtView::EST,
            (false, true) => CtView::EST | CtView::RPL,
        }
    }

    /// The first packet: when the connection will expire.
    fn open(&mut self, datapath: Datapath, packet: &Packet, now: Timestamp) -> Timestamp {
        let phase = match packet.l4 {
            L4::Tcp { .. } => {
                self.ends = [TcpState::SynSent, TcpState::Closed];
                Phase::TcpFirst
            }
            _ => self.phase(),
        };
        after(now, phase.seconds(datapath))
    }

    fn update(
        &mut self,
        datapath: Datapath,
        packet: &Packet,
        reply: bool,
        now: Timestamp,
    ) -> Update {
        let phase = match packet.l4 {
            _ if has_invalid_flags(packet) => return Update::Invalid,
            L4::Tcp { flags, .. } => match self.update_tcp(flags, reply) {
                Some(phase) => phase,
                None => return Update::Reopened,
            },
            _ => {
                self.answered |= reply;
                self.phase()
            }
        };
        self.answered |= reply;
        self.until = after(now, phase.seconds(datapath));
        Update::Valid
    }

    /// The state machine of Open vSwitch (`tcp_conn_update`). `None` if the connection is over and this is the first segment of the next.
    fn update_tcp(&mut self, flags: u16, reply: bool) -> Option<Phase> {
        use TcpState::{Closed, Closing, Established, FinWait2, SynSent, TimeWait};
        let [opener, other] = &mut self.ends;
        let (src, dst) = if reply {
            (other, opener)
        } else {
            (opener, other)
        };
        if flags & (tcp::SYN | tcp::ACK) == tcp::SYN {
            if *src >= FinWait2 && *dst >= FinWait2 {
                return None;
            }
            if *src <= SynSent {
                *src = SynSent;
                return Some(Phase::TcpFirst);
            }
        }
        if *src == Closed {
            *src = SynSent;
        }
        if flags & tcp::FIN != 0 {
            *src = (*src).max(Closing);
        }
        if flags & tcp::ACK != 0 {
            match *dst {
                SynSent => *dst = Established,
                Closing => *dst = FinWait2,
                _ => {}
            }
        }
        if flags & tcp::RST != 0 {
            *src = TimeWait;
            *dst = TimeWait;
        }
        let (less, more) = ((*src).min(*dst), (*src).max(*dst));
        Some(if less >= FinWait2 {
            Phase::TcpClosed
        } else if less >= Closing {
            Phase::TcpFinWait
        } else if less < Established {
            Phase::TcpOpening
        } else if more >= Closing {
            Phase::TcpClosing
        } else {
            Phase::TcpEstablished
        })
    }

    fn phase(&self) -> Phase {
        match (self.original.protocol, self.answered) {
            (protocol::ICMP | protocol::ICMPV6, false) => Phase::IcmpFirst,
            (protocol::ICMP | protocol::ICMPV6, true) => Phase::IcmpReply,
            (protocol::UDP, false) => Phase::UdpFirst,
            (protocol::UDP, true) => Phase::UdpBoth,
            (protocol::SCTP, false) => Phase::SctpFirst,
            (protocol::SCTP, true) => Phase::SctpBoth,
            (_, false) => Phase::OtherFirst,
            (_, true) => Phase::OtherBoth,
        }
    }
}

/// What the timeout depends on.
#[derive(Clone, Copy)]
enum Phase {
    TcpFirst,
    TcpOpening,
    TcpEstablished,
    TcpClosing,
    TcpFinWait,
    TcpClosed,
    UdpFirst,
    UdpBoth,
    IcmpFirst,
    IcmpReply,
    SctpFirst,
    SctpBoth,
    OtherFirst,
    OtherBoth,
}

impl Phase {
    /// The defaults: nf_conntrack_proto_*.c and nf_conntrack-sysctl, lib/conntrack-tp.c.
    fn seconds(self, datapath: Datapath) -> i64 {
        let (kernel, userspace) = match self {
            Self::TcpFirst => (120, 30),
            Self::TcpOpening => (60, 30),
            Self::TcpEstablished => (432_000, 86_400),
            Self::TcpClosing => (120, 900),
            Self::TcpFinWait => (120, 45),
            Self::TcpClosed => (10, 30),
            Self::UdpFirst => (30, 60),
            Self::UdpBoth => (120, 30),
            Self::IcmpFirst => (30, 60),
            Self::IcmpReply => (30, 30),
            Self::SctpFirst => (10, 60),
            Self::SctpBoth => (210, 30),
            Self::OtherFirst => (600, 60),
            Self::OtherBoth => (600, 30),
        };
        match datapath {
            Datapath::Kernel => kernel,
            Datapath::Userspace => userspace,
        }
    }
}

/// A packet as it was left, and its connection.
#[derive(Clone, Copy, Debug)]
struct Last {
    zone: u32,
    packet: Packet,
    translated: bool,
    /// Whether its connection has taken it into account.
    followed: bool,
    place: Option<Place>,
}

/// A first fragment.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    zone: u32,
    /// The addresses before translation.
    arrived: Option<(IpAddr, IpAddr)>,
    first: Packet,
    view: CtView,
    until: Timestamp,
}

/// By what a packet finds its connection.
enum Subject {
    /// By its own tuple.
    Own(Tuple),
    /// By the reverse of the tuple that an ICMP error is about.
    Error(Tuple),
    /// By what its first fragment was told.
    Fragment,
    /// Not at all.
    None,
}

impl Subject {
    fn of(packet: &Packet) -> Self {
        let Some((_, dst)) = packet.ip else {
            return Self::None;
        };
        if packet.is_later_fragment() {
            return Self::Fragment;
        }
        if let L4::Icmp { kind, .. } = packet.l4
            && is_icmp_error(packet.protocol, kind)
        {
            return match packet.about {
                Some(about) if about.src == dst && is_sound(&about) => Self::Error(about.reply()),
                _ => Self::None,
            };
        }
        match packet.tuple() {
            Some(tuple) if is_sound(&tuple) => Self::Own(tuple),
            _ => Self::None,
        }
    }
}

/// Ports must not be 0, nor the code of a query other than 0.
fn is_sound(tuple: &Tuple) -> bool {
    match tuple.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            tuple.src_port != 0 && tuple.dst_port != 0
        }
        protocol::ICMP | protocol::ICMPV6 => {
            let [kind, code] = tuple.dst_port.to_be_bytes();
            code == 0 || answer_of(tuple.protocol, kind).is_none()
        }
        _ => true,
    }
}

/// Combinations that no segment has (`tcp_invalid_flags`; nf_conntrack_proto_tcp.c, `tcp_valid_flags`).
fn invalid_flags(flags: u16) -> bool {
    let has = |flag| flags & flag != 0;
    let syn = has(tcp::SYN) && has(tcp::RST | tcp::FIN);
    let none = !has(tcp::SYN | tcp::ACK | tcp::RST);
    let without_ack = !has(tcp::ACK) && has(tcp::FIN | tcp::PSH | tcp::URG);
    syn || none || without_ack
}

fn has_invalid_flags(packet: &Packet) -> bool {
    matches!(packet.l4, L4::Tcp { flags, .. } if invalid_flags(flags))
}

fn told(state: u32) -> CtView {
    CtView {
        state: state | CtView::TRK,
        mark: 0,
        label: 0,
    }
}

fn reply_bit(place: Place) -> u32 {
    if place.reply { CtView::RPL } else { 0 }
}

/// Gives a packet the addresses that it leaves with.
fn translate(packet: &mut Packet, slot: &Slot, reply: bool) -> u32 {
    let bits = slot.nat_bits(reply);
    if bits != 0 {
        let to = if reply { slot.original } else { slot.reply }.reply();
        packet.ip = Some((to.src, to.dst));
        match &mut packet.l4 {
            L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
                (*src, *dst) = (to.src_port, to.dst_port);
            }
            _ => {}
        }
    }
    bits
}

/// An error must be about the packet that its receiver sent, and seem to come from whom that was sent to.
fn translate_error(packet: &mut Packet, slot: &Slot, reply: bool) -> u32 {
    let bits = slot.nat_bits(reply);
    if bits != 0 {
        let sent = if reply { slot.original } else { slot.reply };
        packet.about = Some(sent);
        packet.ip = packet.ip.map(|(src, dst)| {
            if bits == CtView::SNAT {
                (sent.dst, dst)
            } else {
                (src, sent.src)
            }
        });
    }
    bits
}

/// The reply direction of a connection that is opened, and what NAT changes. Addresses of another family change nothing.
fn translated_reply(original: &Tuple, nat: Option<Nat>) -> (Tuple, Option<Side>) {
    let mut reply = original.reply();
    let fits = |address: IpAddr| address.is_ipv4() == original.src.is_ipv4();
    match nat {
        Some(Nat::Destination(address, port)) if fits(address) => {
            reply.src = address;
            let ports = matches!(
                reply.protocol,
                protocol::TCP | protocol::UDP | protocol::SCTP
            );
            if let Some(port) = port.filter(|_| ports) {
                reply.src_port = port;
            }
            (reply, Some(Side::Destination))
        }
        Some(Nat::Source(address)) if fits(address) => {
            reply.dst = address;
            (reply, Some(Side::Source))
        }
        _ => (reply, None),
    }
}

fn fragment_place(zone: u32, packet: &Packet) -> usize {
    (packet.ip_id ^ zone.rotate_left(5)) as usize % FRAGMENTS
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(now.0.saturating_add(seconds * 1_000_000_000))
}

/// Connections looked at with each packet.
const SWEPT: usize = 2;
/// Connections looked at for one that can go.
const SEARCHED: usize = 64;
/// First fragments that are kept.
const FRAGMENTS: usize = 1024;

#[cfg(test)]
mod tests;
