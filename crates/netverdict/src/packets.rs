//! Samples in captures of other tools: IPFIX datagrams on a wire, and psample messages that
//! `tcpdump -i nlmon0` saw.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use netverdict_source::Counts;
use netverdict_types::{Sample, ZoneId};
use netverdict_wire::pcap::{LinkType, Packet};
use netverdict_wire::{ipfix, psample};

/// Decodes packets, and counts what is no sample.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    ipfix: ipfix::Decoder,
    psample: psample::Decoder,
    foreign: u64,
}

/// `LINKTYPE_NETLINK`: a pseudo-header of 16 bytes, then netlink messages.
const NETLINK: LinkType = LinkType(253);
const NETLINK_HEADER: usize = 16;
/// Where the pseudo-header holds the netlink protocol, big endian; 16 is generic netlink.
const NETLINK_PROTOCOL: std::ops::Range<usize> = 14..16;
const GENERIC: [u8; 2] = [0, 16];
/// `version` of an IPFIX message (RFC 7011 section 3.1).
const IPFIX: [u8; 2] = [0, 10];

impl Packets {
    /// Hands over the samples in one packet.
    pub(crate) fn decode(
        &mut self,
        packet: &Packet<'_>,
        zone: ZoneId,
        sink: &mut dyn FnMut(&Sample<'_>),
    ) {
        if packet.link == NETLINK {
            match (
                packet.data.get(NETLINK_PROTOCOL),
                packet.data.get(NETLINK_HEADER..),
            ) {
                (Some(protocol), Some(messages)) if protocol == GENERIC => {
                    self.psample
                        .decode(messages, packet.time, zone, |sample| sink(&sample));
                }
                _ => self.foreign += 1,
            }
            return;
        }
        match udp(packet.data) {
            Some((exporter, message)) if message.starts_with(&IPFIX) => {
                self.ipfix
                    .decode(message, exporter, packet.time, zone, |sample| sink(&sample));
            }
            _ => self.foreign += 1,
        }
    }
}

impl Counts for Packets {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        let (ipfix, psample) = (self.ipfix.counters(), self.psample.counters);
        vec![
            ("pcap_foreign_packets", self.foreign),
            (
                "pcap_foreign_messages",
                psample.foreign() + psample.control + psample.errors,
            ),
            ("pcap_foreign_records", ipfix.foreign_records),
            ("pcap_records_lost", ipfix.lost),
            (
                "pcap_records_without_template",
                self.ipfix.waiting() as u64 + ipfix.sets_expired,
            ),
            (
                "pcap_malformed",
                psample.malformed
                    + ipfix.malformed_messages
                    + ipfix.malformed_sets
                    + ipfix.malformed_templates
                    + ipfix.malformed_records,
            ),
        ]
    }
}

/// Sender and payload of the UDP datagram in a frame.
fn udp(frame: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let ip: IpAddr = match packet.net? {
        NetSlice::Ipv4(ip) => ip.header().source_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().source_addr().into(),
        _ => return None,
    };
    match packet.transport? {
        TransportSlice::Udp(udp) => Some((SocketAddr::new(ip, udp.source_port()), udp.payload())),
        _ => None,
    }
}
