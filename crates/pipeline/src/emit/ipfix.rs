use hashbrown::HashMap;
use netverdict_types::Timestamp;
use netverdict_wire::headers::parse_frame;
use netverdict_wire::ipfix::{CacheOptions, CachingExporter, Interface, Record};

use super::{Sink, Taken};

/// Exports samples as Open vSwitch does: an exporter with a cache for each collector set that has one.
#[derive(Clone, Debug)]
pub struct Ipfix<F> {
    exporters: HashMap<u32, CachingExporter>,
    send: F,
    /// Samples for collector sets without an exporter: Open vSwitch exports nothing either.
    pub unknown_sets: u64,
}

impl<F: FnMut(u32, &[u8]) -> bool> Ipfix<F> {
    /// `send` is called with the collector set's id for each message, and says whether it could be sent.
    pub fn new(send: F) -> Self {
        Self {
            exporters: HashMap::new(),
            send,
            unknown_sets: 0,
        }
    }

    /// A collector set has an exporter with these options (`ovs-vsctl set Flow_Sample_Collector_Set … ipfix=…`).
    #[must_use]
    pub fn with_set(mut self, set_id: u32, options: CacheOptions) -> Self {
        self.exporters.insert(set_id, CachingExporter::new(options));
        self
    }

    /// Sends all flows that are kept.
    pub fn finish(&mut self, now: Timestamp) {
        for (set_id, exporter) in &mut self.exporters {
            exporter.finish(now, |message| (self.send)(*set_id, message));
        }
    }

    /// The exporter of a collector set.
    pub fn exporter(&self, set_id: u32) -> Option<&CachingExporter> {
        self.exporters.get(&set_id)
    }
}

impl<F: FnMut(u32, &[u8]) -> bool> Sink for Ipfix<F> {
    fn sample(&mut self, taken: &Taken<'_>) {
        let Some(exporter) = self.exporters.get_mut(&taken.set_id) else {
            self.unknown_sets += 1;
            return;
        };
        let packet = taken.packet;
        let input = taken.node.interface(taken.inport);
        let record = Record {
            domain: taken.cookie.domain,
            point: taken.cookie.point,
            headers: parse_frame(taken.frame),
            frame_length: packet.length.max(taken.frame.len() as u32) as u16,
            input: Interface {
                index: input.map_or(0, |input| input.index),
                kind: 0,
                name: input.map_or("", |input| &input.name),
                description: "",
            },
            output: None,
            tunnel: None,
            vlan_priority: (packet.vlan_tci >> 13) as u8,
            tos: packet.tos,
            flow_label: packet.flow_label,
            time: taken.time,
            // OpenFlow has no action with a probability of 0.
            packet_delta: u64::from(u16::MAX / taken.probability.max(1)),
            dropped: taken.dropped,
        };
        exporter.sample(&record, |message| (self.send)(taken.set_id, message));
    }

    fn pass(&mut self, now: Timestamp) {
        for (set_id, exporter) in &mut self.exporters {
            // Open vSwitch wakes when the oldest flow is due.
            while let Some(due) = exporter.next().filter(|due| *due <= now) {
                exporter.expire(due, |message| (self.send)(*set_id, message));
            }
        }
    }
}
