use hashbrown::HashMap;
use netverdict_types::ZoneId;

use crate::{Lport, Northbound, SwitchId};

/// What a node's datapath knows and the northbound does not say.
#[derive(Clone, Debug)]
pub struct Node {
    /// The zone.
    pub zone: ZoneId,
    /// `Datapath_Binding.tunnel_key` of each switch.
    keys: Vec<u32>,
    /// The interface of each port.
    interfaces: Vec<Interface>,
    /// `Flow_Sample_Collector_Set.local_group_id`, by the set's id.
    groups: HashMap<u32, u32>,
}

/// An interface of the datapath.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Interface {
    /// Index of the kernel; 0 is none.
    pub index: u32,
    /// Name.
    pub name: Box<str>,
}

impl Node {
    /// A node on which switches have the keys that they ask for, and else the numbers from 1 on that are free, as northd gives them; and each
    /// port has an interface of its own, with the port's number as index.
    pub fn new(zone: ZoneId, northbound: &Northbound) -> Self {
        let asked = |number: usize| {
            let switch = northbound.switch(SwitchId(number as u32))?;
            switch.requested_key
        };
        let count = northbound.switches.len();
        let taken: Vec<u32> = (0..count).filter_map(asked).collect();
        let mut free = (1..).filter(|key| !taken.contains(key));
        let keys = (0..count)
            .map(|number| asked(number).or_else(|| free.next()).unwrap_or_default())
            .collect();
        let interfaces = (0..northbound.ports.len())
            .map(|number| match number {
                0 => Interface::default(),
                index => Interface {
                    index: index as u32,
                    name: format!("p{index}").into(),
                },
            })
            .collect();
        Self {
            zone,
            keys,
            interfaces,
            groups: HashMap::new(),
        }
    }

    /// The low 24 bits of the key of a switch's datapath; 0 of one that is not known.
    pub fn key(&self, switch: SwitchId) -> u32 {
        let key = self.keys.get(switch.0 as usize).copied();
        key.unwrap_or_default() & 0x00ff_ffff
    }

    /// The key of a switch's datapath.
    pub fn set_key(&mut self, switch: SwitchId, key: u32) {
        put(&mut self.keys, switch.0, key);
    }

    /// The interface of a port.
    pub fn interface(&self, port: Lport) -> Option<&Interface> {
        self.interfaces.get(port.0 as usize)
    }

    /// The interface of a port.
    pub fn set_interface(&mut self, port: Lport, interface: Interface) {
        put(&mut self.interfaces, port.0, interface);
    }

    /// The psample group of a collector set.
    pub fn group(&self, set_id: u32) -> Option<u32> {
        self.groups.get(&set_id).copied()
    }

    /// A collector set sends to this psample group (`ovs-vsctl set Flow_Sample_Collector_Set … local_group_id=…`).
    pub fn set_group(&mut self, set_id: u32, group: u32) {
        self.groups.insert(set_id, group);
    }
}

fn put<T: Clone + Default>(all: &mut Vec<T>, place: u32, value: T) {
    let place = place as usize;
    if all.len() <= place {
        all.resize(place + 1, T::default());
    }
    if let Some(there) = all.get_mut(place) {
        *there = value;
    }
}
