use netverdict_types::Probability;
use netverdict_wire::psample::{CMD_SAMPLE, Message, encode};

use super::{Sink, Taken};

/// Writes the netlink messages that the kernel sends for Open vSwitch's `psample` action, byte by byte (net/psample/psample.c, net/openvswitch/actions.c).
#[derive(Clone, Debug)]
pub struct Psample<F> {
    family: u16,
    send: F,
    message: Vec<u8>,
    /// Messages that were sent.
    pub sent: u64,
    /// Samples for collector sets without a group: Open vSwitch emits nothing either.
    pub unknown_sets: u64,
}

impl<F: FnMut(&mut Vec<u8>)> Psample<F> {
    /// `family` is the number of the netlink family, from 16 on; `send` is called for each message.
    pub fn new(family: u16, send: F) -> Self {
        Self {
            family,
            send,
            message: Vec::new(),
            sent: 0,
            unknown_sets: 0,
        }
    }
}

impl<F: FnMut(&mut Vec<u8>)> Sink for Psample<F> {
    fn sample(&mut self, taken: &Taken<'_>) {
        let Some(group) = taken.node.group(taken.set_id) else {
            self.unknown_sets += 1;
            return;
        };
        let index = taken.node.interface(taken.inport).map(|port| port.index);
        let cookie = taken.cookie.to_be_bytes();
        self.message.clear();
        encode(
            &Message {
                family: self.family,
                command: CMD_SAMPLE,
                version: VERSION,
                // The kernel cuts it to 16 bits, and leaves out 0 before that.
                in_index: index.filter(|index| *index != 0).map(|index| index as u16),
                original_size: Some(taken.packet.length.max(taken.frame.len() as u32)),
                group: Some(group),
                // Open vSwitch's groups are not the kernel's, and are not counted.
                sequence: Some(0),
                rate: Some(Probability::from_u16(taken.probability).0),
                data: cut(taken.frame, index.is_some_and(|index| index != 0)),
                timestamp: u64::try_from(taken.time.0).ok(),
                ethertype: Some(taken.packet.eth_type),
                cookie: Some(&cookie),
                probability: true,
                ..Message::default()
            },
            &mut self.message,
        );
        self.sent += 1;
        (self.send)(&mut self.message);
    }
}

/// As much of a packet as the kernel puts into a message.
fn cut(frame: &[u8], with_input: bool) -> Option<&[u8]> {
    let most = LONGEST - OTHERS - if with_input { INPUT } else { 0 };
    // With its header and padding.
    let whole = frame.len().next_multiple_of(4) + 4;
    let length = if whole > most { most - 8 } else { frame.len() };
    frame.get(..length).filter(|data| !data.is_empty())
}

/// PSAMPLE_MAX_PACKET_SIZE.
const LONGEST: usize = 0xffff;
/// Bytes of the attribute of the input interface.
const INPUT: usize = 8;
/// Bytes of rate, original size, group, sequence, time, protocol and an 8-byte cookie; the flag that stands behind them is not counted
/// (Linux 6.11).
const OTHERS: usize = 4 * 8 + 12 + 8 + 12;
/// PSAMPLE_GENL_VERSION.
const VERSION: u8 = 1;
