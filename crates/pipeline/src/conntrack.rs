//! Connection tracking, as the datapath does it for OVN: zones, states, timeouts, marks and labels, NAT.

use std::net::IpAddr;

use netverdict_types::Timestamp;

use crate::{CtView, Packet, Tuple};

/// The connections of one node, in all its zones.
#[derive(Clone, Debug, Default)]
pub struct Conntrack {}

/// What to rewrite when a connection is committed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Nat {
    /// The destination: address and, where there is one, port.
    Destination(IpAddr, Option<u16>),
    /// The source.
    Source(IpAddr),
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

impl Conntrack {
    /// Sends a packet through a zone (`ct_next`, `ct(table=…,zone=…,nat)`): what is known of its connection, after the translation of its
    /// addresses if it has one.
    pub fn track(&mut self, zone: u16, packet: &mut Packet, now: Timestamp) -> CtView {
        let _ = (zone, packet, now);
        CtView::default()
    }

    /// Commits a packet's connection (`ct_commit`), which must have been tracked in the zone.
    pub fn commit(
        &mut self,
        zone: u16,
        packet: &mut Packet,
        now: Timestamp,
        commit: Commit,
    ) -> CtView {
        let _ = (zone, packet, now, commit);
        CtView::default()
    }

    /// Which connection a tuple of a zone belongs to, for showing it: its original direction, mark and label.
    pub fn entry(&self, zone: u16, tuple: &Tuple) -> Option<(Tuple, u32, u128)> {
        let _ = (zone, tuple);
        None
    }
}
