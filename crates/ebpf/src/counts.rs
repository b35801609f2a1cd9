/// What the programs counted since they were attached, by the kernel.
///
/// Of samples: `seen = filtered + joined + doubles + spilled + lost`. Of packets on interfaces:
/// `flow_seen = flow_joined + flow_spilled + flow_lost`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Samples: calls of `psample_sample_packet` on this machine.
    pub seen: u64,
    /// Samples of other groups or network namespaces, and those without a cookie of eight bytes.
    pub filtered: u64,
    /// Samples that were added up in the map.
    pub joined: u64,
    /// Further samples of a packet with the same cookie, added up apart.
    pub doubles: u64,
    /// Samples that the full map did not take, and that were handed over one by one.
    pub spilled: u64,
    /// Samples that neither the map nor the ring had room for: lost.
    pub lost: u64,
    /// Packets on the watched interfaces, both directions.
    pub flow_seen: u64,
    /// Those that were added up in the map.
    pub flow_joined: u64,
    /// Those that the full map did not take, and that were handed over one by one.
    pub flow_spilled: u64,
    /// Those that neither the map nor the ring had room for: lost.
    pub flow_lost: u64,
    /// Interfaces that are watched now.
    pub interfaces: u64,
    /// How often an interface that should be watched could not be.
    pub interfaces_failed: u64,
}

impl Counts {
    /// Each counter's name and state. Names are the same in every version: they go into captures
    /// and metrics.
    pub fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("ebpf_seen", self.seen),
            ("ebpf_filtered", self.filtered),
            ("ebpf_joined", self.joined),
            ("ebpf_doubles", self.doubles),
            ("ebpf_spilled", self.spilled),
            ("ebpf_lost", self.lost),
            ("ebpf_flow_seen", self.flow_seen),
            ("ebpf_flow_joined", self.flow_joined),
            ("ebpf_flow_spilled", self.flow_spilled),
            ("ebpf_flow_lost", self.flow_lost),
            ("ebpf_interfaces", self.interfaces),
            ("ebpf_interfaces_failed", self.interfaces_failed),
        ]
    }
}

/// What one [`drain`](crate::Probe::drain) took. Against `max_events` and `max_flows` of the
/// options it tells how soon to come again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drained {
    /// Entries of the map of samples.
    pub events: u64,
    /// Entries of the map of flows.
    pub flows: u64,
    /// Single samples and packets that the maps did not take.
    pub spilled: u64,
}
