//! Samples of a cluster's traffic.

use std::net::Ipv4Addr;

use netverdict_types::{Cookie, Probability, Timestamp};
use netverdict_wire::psample::{self, Message};

use crate::cluster::{ACL_EST, ACL_NEW, Cluster, START, spread};

/// One sampled packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// When.
    pub time: Timestamp,
    /// Domain and point.
    pub cookie: Cookie,
    /// The interface it came in by.
    pub index: u16,
    /// Sender.
    pub src: (Ipv4Addr, u16),
    /// Receiver.
    pub dst: (Ipv4Addr, u16),
    /// TCP flags.
    pub flags: u8,
    /// TCP sequence number.
    pub sequence: u32,
}

/// Endless packets: points at random over all ACLs, 30 % of established connections, 5 % of
/// points that nobody knows, ends at random over all pods, one in ten to a service.
#[derive(Debug)]
pub struct Traffic<'a> {
    cluster: &'a Cluster,
    state: u64,
    number: u64,
    recent: Vec<Packet>,
}

const RECENT: usize = 1 << 14;
const SYN: u8 = 2;
const ACK: u8 = 16;

impl<'a> Traffic<'a> {
    /// Traffic that is the same each time.
    pub fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            state: 1,
            number: 0,
            recent: Vec::new(),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(spread(self.state)) * limit as u128) >> 64) as usize
    }

    fn new_connection(&mut self) -> Packet {
        let Cluster {
            pods,
            points,
            services,
            ..
        } = self.cluster;
        let point = points[self.below(points.len())];
        let src = pods[self.below(pods.len())];
        let dst = match self.below(10) {
            0 => (services[self.below(services.len())], 80),
            _ => (
                pods[self.below(pods.len())].ip,
                8_000 + self.below(20) as u16,
            ),
        };
        Packet {
            time: Timestamp(0),
            cookie: Cookie {
                domain: ACL_NEW << 24 | src.datapath,
                point,
            },
            index: src.index.unwrap_or(1),
            src: (src.ip, 32_768 + self.below(28_000) as u16),
            dst,
            flags: SYN,
            sequence: self.below(1 << 32) as u32,
        }
    }

    /// Of a connection that began a while ago, in one of both directions.
    fn established(&mut self) -> Packet {
        let first = match self.recent.len() {
            0 => self.new_connection(),
            count => {
                let place = self.below(count);
                self.recent[place]
            }
        };
        let reply = self.below(2) == 1;
        Packet {
            cookie: Cookie {
                domain: ACL_EST << 24 | first.cookie.datapath(),
                ..first.cookie
            },
            src: if reply { first.dst } else { first.src },
            dst: if reply { first.src } else { first.dst },
            flags: ACK,
            sequence: self.below(1 << 32) as u32,
            ..first
        }
    }
}

impl Iterator for Traffic<'_> {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let mut packet = match self.below(100) {
            0..30 => self.established(),
            30..35 => {
                let mut packet = self.new_connection();
                packet.cookie.point = self.below(1 << 32) as u32;
                packet
            }
            _ => {
                let packet = self.new_connection();
                match self.recent.len() {
                    RECENT => {
                        let place = self.below(RECENT);
                        self.recent[place] = packet;
                    }
                    _ => self.recent.push(packet),
                }
                packet
            }
        };
        // A microsecond each, from two hours after the first rows on.
        packet.time = Timestamp(START + 7_200_000_000_000 + self.number as i64 * 1_000);
        self.number += 1;
        Some(packet)
    }
}

impl Packet {
    /// The packet's first bytes: Ethernet, IPv4 and TCP with options, and some of its data.
    pub fn frame(&self) -> [u8; 100] {
        let mut frame = [0; 100];
        frame[..6].copy_from_slice(&[0x0a, 0x58, 0x0a, 0xf4, 0, 1]);
        frame[6..12].copy_from_slice(&[0x0a, 0x58, 0x0a, 0xf4, 0, 2]);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        let ip = &mut frame[14..];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&86_u16.to_be_bytes());
        ip[4..6].copy_from_slice(&(self.sequence as u16).to_be_bytes());
        ip[6] = 0x40;
        ip[8] = 64;
        ip[9] = 6;
        ip[12..16].copy_from_slice(&self.src.0.octets());
        ip[16..20].copy_from_slice(&self.dst.0.octets());
        let tcp = &mut ip[20..];
        tcp[..2].copy_from_slice(&self.src.1.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.dst.1.to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        tcp[12] = 0x80;
        tcp[13] = self.flags;
        frame
    }

    /// Appends the psample message that the kernel would send.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let cookie = self.cookie.to_be_bytes();
        let frame = self.frame();
        psample::encode(
            &Message {
                family: FAMILY,
                command: psample::CMD_SAMPLE,
                version: 1,
                in_index: Some(self.index),
                original_size: Some(frame.len() as u32),
                group: Some(10),
                sequence: Some(0),
                rate: Some(Probability::ALL.0),
                data: Some(&frame),
                timestamp: Some(self.time.0 as u64),
                ethertype: Some(0x0800),
                cookie: Some(&cookie),
                probability: true,
                ..Message::default()
            },
            out,
        );
    }
}

/// The number that the kernel gave to psample.
pub const FAMILY: u16 = 0x25;

/// Messages one after the other, with the end of each.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// Takes the place of what was there, in the same memory.
    pub fn fill(&mut self, packets: impl Iterator<Item = Packet>) {
        self.bytes.clear();
        self.ends.clear();
        for packet in packets {
            packet.encode(&mut self.bytes);
            self.ends.push(self.bytes.len());
        }
    }

    /// Takes a copy of some of another's, in the same memory.
    pub fn copy(&mut self, from: &Self, first: usize, count: usize) {
        let start = first.checked_sub(1).map_or(0, |before| from.ends[before]);
        let ends = &from.ends[first..from.ends.len().min(first + count)];
        self.bytes.clear();
        self.bytes
            .extend_from_slice(&from.bytes[start..ends.last().copied().unwrap_or(start)]);
        self.ends.clear();
        self.ends.extend(ends.iter().map(|end| end - start));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}
