//! Keeps what was decided of packets, for others that differ in nothing that any ACL reads.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use netverdict_ovn::expr::Field;
use uuid::Uuid;

use crate::classifier::number_of;
use crate::conntrack::Commit;
use crate::decide::{Decide, Ledger, is_dhcp6, is_service};
use crate::{
    At, Block, CtView, Fate, L4, Logged, Lport, Observer, Packet, Sampled, State, SwitchId,
};

/// A packet that goes from one port of a switch to another.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The switch.
    pub switch: SwitchId,
    /// Where it comes in.
    pub inport: Lport,
    /// Where it goes out.
    pub outport: Lport,
    /// Its headers. No load balancer changes them.
    pub packet: Packet,
    /// What conntrack says of it in the zone of `inport`, should it be asked.
    pub ingress: CtView,
    /// And in that of `outport`.
    pub egress: CtView,
}

/// What becomes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Whether it goes out.
    pub fate: Fate,
    /// What happens on the way, in order.
    pub events: Box<[Event]>,
}

/// What happens to a packet in an ACL stage; as [`Observer`] is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// An ACL's flow is the one that matched.
    Matched(At, Uuid),
    /// The ACL that matched last logs it.
    Logged(At),
    /// It is sampled.
    Sampled(At, Sampled),
    /// Its connection is committed, with mark and label as they are here.
    Committed(At, CtView),
}

/// Answers, and who gives those that are not there yet.
#[derive(Debug)]
pub struct Cache {
    decide: Decide,
    hasher: RandomState,
    /// What was asked for lately, and what before that: together never more than twice the limit.
    young: Answers,
    old: Answers,
    limit: usize,
    /// What of the packet is in keys besides what always is; `None`: more than there is room for, so that nothing is kept.
    rest: Option<Vec<(Field, usize, u32)>>,
    source_port: bool,
}

#[derive(Debug, Default)]
struct Answers {
    places: HashTable<u32>,
    list: Vec<(Key, Answer)>,
}

impl Answers {
    fn place(&self, hash: u64, key: &Key) -> Option<u32> {
        let is = |place: &u32| self.list[*place as usize].0 == *key;
        self.places.find(hash, is).copied()
    }
}

/// All that an answer depends on, packed: it is hashed and compared for each packet.
type Key = [u128; 9];

impl Cache {
    /// An empty one, that keeps so many answers at least and twice as many at most.
    pub fn new(decide: Decide, limit: usize) -> Self {
        let mut source_port = false;
        let mut rest = Some(Vec::new());
        let mut used = [0; 2];
        for field in decide.fields() {
            match field {
                Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => source_port = true,
                Field::EthSrc
                | Field::EthDst
                | Field::VlanTci
                | Field::IpDscp
                | Field::IpEcn
                | Field::IpTtl
                | Field::IpFrag
                | Field::Ip6Label
                | Field::ArpOp
                | Field::ArpSpa
                | Field::ArpSha
                | Field::ArpTpa
                | Field::ArpTha
                | Field::NdTarget
                | Field::NdSll
                | Field::NdTll
                | Field::TcpFlags => {
                    let place = used.iter().position(|bits| bits + field.width() <= 128);
                    match (&mut rest, place) {
                        (Some(fields), Some(place)) => {
                            fields.push((field, place, used[place]));
                            used[place] += field.width();
                        }
                        _ => rest = None,
                    }
                }
                // In every key; registers and flags come from what is there.
                _ => {}
            }
        }
        Self {
            decide,
            hasher: RandomState::default(),
            young: Answers::default(),
            old: Answers::default(),
            limit: limit.max(1),
            rest,
            source_port,
        }
    }

    /// Takes what was compiled from other rows, and forgets all answers.
    pub fn replace(&mut self, decide: Decide) {
        *self = Self::new(decide, self.limit);
    }

    /// The answer to a question. One that is there already is found without allocating anything.
    pub fn ask(&mut self, question: &Question) -> &Answer {
        let key = self.key(question);
        let hash = self.hasher.hash_one(key);
        let place = match self.young.place(hash, &key) {
            Some(place) => place,
            None => self.learn(hash, key, question),
        };
        &self.young.list[place as usize].1
    }

    fn learn(&mut self, hash: u64, key: Key, question: &Question) -> u32 {
        let answer = match self.old.place(hash, &key) {
            Some(place) => self.old.list[place as usize].1.clone(),
            None => self.decide.answer(question),
        };
        if self.young.list.len() >= self.limit {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.places.clear();
            self.young.list.clear();
        }
        let Answers { places, list } = &mut self.young;
        let place = list.len() as u32;
        list.push((key, answer));
        if self.rest.is_some() {
            let hash_of = |place: &u32| self.hasher.hash_one(list[*place as usize].0);
            places.insert_unique(hash, place, hash_of);
        }
        place
    }

    fn key(&self, question: &Question) -> Key {
        let packet = &question.packet;
        let (source, destination) = match packet.ip {
            Some((source, destination)) => (number_of(source), number_of(destination)),
            None => (0, 0),
        };
        let (mut numbers, mut icmp) = ((0, 0), (0, 0));
        match packet.l4 {
            L4::Tcp { src, dst, .. } | L4::Udp { src, dst } | L4::Sctp { src, dst, .. } => {
                numbers = (if self.source_port { src } else { 0 }, dst);
            }
            L4::Icmp { kind, code, .. } => icmp = (kind, code),
            L4::Other | L4::Arp { .. } => {}
        }
        let mut rest = [0; 2];
        for (field, place, low) in self.rest.iter().flatten() {
            rest[*place] |= packet.number(*field) << low;
        }
        let kind = u64::from(packet.eth_type) << 32
            | u64::from(packet.protocol) << 24
            | u64::from(icmp.0) << 16
            | u64::from(icmp.1) << 8
            | u64::from(packet.eth_dst[0] & 1)
            | u64::from(is_service(packet)) << 1
            | u64::from(is_dhcp6(packet)) << 2
            | u64::from(packet.ip.is_some()) << 3;
        let four = |[a, b, c, d]: [u32; 4]| {
            u128::from(a) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d)
        };
        let (ingress, egress) = (question.ingress, question.egress);
        let (inport, outport) = (question.inport.0, question.outport.0);
        let numbers = u32::from(numbers.0) << 16 | u32::from(numbers.1);
        [
            source,
            destination,
            four([question.switch.0, inport, outport, numbers]),
            four([ingress.state, ingress.mark, egress.state, egress.mark]),
            ingress.label,
            egress.label,
            kind.into(),
            rest[0],
            rest[1],
        ]
    }
}

impl Decide {
    /// Decides without a conntrack: what it would say is in the question, and what would be committed in the answer.
    pub fn answer(&mut self, question: &Question) -> Answer {
        let mut record = Record::default();
        let fate = self.cross(question, &mut record);
        Answer {
            fate,
            events: record.0.into(),
        }
    }

    fn cross(&mut self, question: &Question, record: &mut Record) -> Fate {
        let mut state = State::new(question.packet, question.inport);
        for (view, blocks) in [
            (
                question.ingress,
                &[
                    Block::InPreAcl,
                    Block::InAcl,
                    Block::InAclAfterLb,
                    Block::InStateful,
                ][..],
            ),
            (
                question.egress,
                &[Block::OutPreAcl, Block::OutAcl, Block::OutStateful][..],
            ),
        ] {
            for block in blocks {
                let fate = self.run_with(question.switch, *block, &mut state, &mut Nobody, record);
                if fate != Fate::Next {
                    return fate;
                }
                let is_pre_acl = matches!(block, Block::InPreAcl | Block::OutPreAcl);
                if is_pre_acl && state.reg(0) & 1 == 1 {
                    state.ct = view;
                }
            }
            state.forget_registers();
            state.outport = question.outport;
        }
        Fate::Next
    }
}

/// Keeps no connections.
struct Nobody;

impl Ledger for Nobody {
    fn commit(&mut self, state: &mut State, _: Commit) -> CtView {
        state.ct
    }
}

#[derive(Debug, Default)]
struct Record(Vec<Event>);

impl Observer for Record {
    fn sample(&mut self, at: At, _: &Packet, sample: Sampled) {
        self.0.push(Event::Sampled(at, sample));
    }

    fn log(&mut self, at: At, _: &Packet, _: Logged<'_>) {
        self.0.push(Event::Logged(at));
    }

    fn matched(&mut self, at: At, _: &State, acl: Uuid) {
        self.0.push(Event::Matched(at, acl));
    }

    fn commit(&mut self, at: At, state: &State) {
        self.0.push(Event::Committed(at, state.ct));
    }
}
