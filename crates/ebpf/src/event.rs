use std::net::IpAddr;

use netverdict_types::{Headers, Sample, Timestamp};

/// Takes what a [`drain`](crate::Probe::drain) finds.
pub trait Sink {
    /// Packets of one flow with one cookie that were sampled since the last drain. `sample` stands
    /// for `packets` packets, each counted once however often it was sampled; its time is that of
    /// the last one, its TCP flags those of all, other headers and its length of the first.
    fn event(&mut self, sample: &Sample<'_>, detail: &Event);

    /// Packets of one flow on one interface in one direction since the last drain.
    fn flow(&mut self, flow: &FlowCount<'_>);
}

/// What the kernel knows of sampled packets beside their headers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// When the first packet was sampled.
    pub first: Timestamp,
    /// When the last packet was sampled.
    pub last: Timestamp,
    /// Further samples of the same packets: OVN before 26.03 samples a packet once a tier.
    pub doubles: u64,
    /// The conntrack entry that the packets belonged to when they were sampled. None where
    /// conntrack had not seen them, and for packets that came back from ovs-vswitchd, such as the
    /// first that a new datapath flow takes: those have lost it.
    pub conntrack: Option<Conntrack>,
}

/// A conntrack entry, as the first packet of an [`Event`] found it (`struct nf_conn`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conntrack {
    /// The connection as it was begun: for a service, its destination is the service.
    pub original: Tuple,
    /// What replies look like: for a service, its source is the backend.
    pub reply: Tuple,
    /// True when the packets went the way of replies. This is known, not guessed.
    pub is_reply: bool,
    /// True for the packet that begins a connection (IP_CT_NEW).
    pub is_new: bool,
    /// The conntrack zone.
    pub zone: u16,
    /// `ct_mark`.
    pub mark: u32,
    /// `ct_label` as a number: bit 0 is label bit 0, as OVN writes labels.
    pub label: u128,
}

/// One direction of a connection, as conntrack keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; the echo identifier for ICMP.
    pub src_port: u16,
    /// Destination port; type in the high byte and code in the low one for ICMP.
    pub dst_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Packets of one flow on one interface in one direction.
#[derive(Clone, Copy, Debug)]
pub struct FlowCount<'a> {
    /// Inode of the interface's network namespace.
    pub namespace: u32,
    /// The interface's index in that namespace.
    pub index: u32,
    /// The interface's name; empty where it is gone and its name was never known.
    pub interface: &'a str,
    /// Which way the packets went.
    pub heading: Heading,
    /// What the packets have in common, with the TCP flags of all of them.
    pub headers: Headers,
    /// How many there were.
    pub packets: u64,
    /// Their bytes together, from layer 2 on.
    pub bytes: u64,
    /// When the first was seen.
    pub first: Timestamp,
    /// When the last was seen.
    pub last: Timestamp,
}

/// Which way packets go at an interface.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Heading {
    /// Out of the interface into this machine's network stack: for the outer end of a pod's veth,
    /// sent by the pod.
    In,
    /// Into the interface: for the outer end of a pod's veth, received by the pod.
    Out,
}
