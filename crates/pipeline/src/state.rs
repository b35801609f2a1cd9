use netverdict_ovn::expr;
use netverdict_ovn::expr::Field;
use netverdict_types::Timestamp;

use crate::{Lport, Northbound, Packet};

/// Conntrack as a packet sees it: `ct_state`, `ct_mark` and `ct_label` (ovs-fields(7)).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct CtView {
    /// Bits as in [`CtView::NEW`] and its neighbours.
    pub state: u32,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's label.
    pub label: u128,
}

impl CtView {
    /// `ct.new`.
    pub const NEW: u32 = 1 << 0;
    /// `ct.est`.
    pub const EST: u32 = 1 << 1;
    /// `ct.rel`.
    pub const REL: u32 = 1 << 2;
    /// `ct.rpl`.
    pub const RPL: u32 = 1 << 3;
    /// `ct.inv`.
    pub const INV: u32 = 1 << 4;
    /// `ct.trk`.
    pub const TRK: u32 = 1 << 5;
    /// `ct.snat`.
    pub const SNAT: u32 = 1 << 6;
    /// `ct.dnat`.
    pub const DNAT: u32 = 1 << 7;

    /// Whether all these bits are set.
    pub fn is(self, bits: u32) -> bool {
        self.state & bits == bits
    }
}

/// A packet in a switch and what OVN knows of it: what matches read, actions write and `--walk` shows.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// The headers, as they are now.
    pub packet: Packet,
    /// Where it came in.
    pub inport: Lport,
    /// Where it will go out; [`Lport::NONE`] in the ingress pipeline.
    pub outport: Lport,
    /// `xxreg0` (`reg0` to `reg3`), `reg0` in the highest bits.
    pub xxreg0: u128,
    /// `xxreg1` (`reg4` to `reg7`).
    pub xxreg1: u128,
    /// `xreg4` (`reg8` and `reg9`).
    pub xreg4: u64,
    /// `flags` (`reg10`).
    pub flags: u32,
    /// What conntrack said, if it was asked.
    pub ct: CtView,
    /// The zone of conntrack that `ct_next` and `ct_commit` use (`reg13`): that of the port last met that has one. 0 is none.
    pub ct_zone: u32,
    /// When: what conntrack's timeouts count from. [`Stages::run`](crate::Stages::run) commits at this time.
    pub now: Timestamp,
}

impl State {
    /// A packet that comes in by a port, with nothing known about it.
    pub fn new(packet: Packet, inport: Lport) -> Self {
        Self {
            packet,
            inport,
            outport: Lport::NONE,
            xxreg0: 0,
            xxreg1: 0,
            xreg4: 0,
            flags: 0,
            ct: CtView::default(),
            ct_zone: 0,
            now: Timestamp(0),
        }
    }

    /// The value of a field, as matches read it; 0 where the packet has it not.
    pub fn number(&self, field: Field) -> u128 {
        match field {
            Field::XxReg0 => self.xxreg0,
            Field::XxReg1 => self.xxreg1,
            Field::XReg4 => self.xreg4.into(),
            Field::Flags => self.flags.into(),
            Field::CtState => self.ct.state.into(),
            Field::CtMark => self.ct.mark.into(),
            Field::CtLabel => self.ct.label,
            header => self.packet.number(header),
        }
    }

    /// `reg0` to `reg9`, by number.
    pub fn reg(&self, number: u32) -> u32 {
        match number {
            0..=3 => (self.xxreg0 >> (32 * (3 - number))) as u32,
            4..=7 => (self.xxreg1 >> (32 * (7 - number))) as u32,
            8 | 9 => (self.xreg4 >> (32 * (9 - number))) as u32,
            _ => 0,
        }
    }

    /// Sets one of `reg0` to `reg9`.
    pub fn set_reg(&mut self, number: u32, value: u32) {
        let put = |whole: u128, low: u32| {
            (whole & !(u128::from(u32::MAX) << low)) | (u128::from(value) << low)
        };
        match number {
            0..=3 => self.xxreg0 = put(self.xxreg0, 32 * (3 - number)),
            4..=7 => self.xxreg1 = put(self.xxreg1, 32 * (7 - number)),
            8 | 9 => self.xreg4 = put(u128::from(self.xreg4), 32 * (9 - number)) as u64,
            _ => {}
        }
    }

    /// What is known of its connection after a `ct_commit`: nothing. Open vSwitch takes the packet for untracked until it goes through conntrack
    /// again (ofproto-dpif-xlate.c, `compose_conntrack_action`). `ct_commit_nat` is different: it goes through conntrack.
    pub fn forget_connection(&mut self) {
        self.ct = CtView::default();
    }

    /// What happens between the ingress and the egress pipeline: `reg0` to `reg9` are zeroed, flags and conntrack are kept.
    pub fn forget_registers(&mut self) {
        self.xxreg0 = 0;
        self.xxreg1 = 0;
        self.xreg4 = 0;
    }
}

/// A state with the names of its ports, as matches need it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The state.
    pub state: &'a State,
    /// Who knows the ports' names.
    pub names: &'a Northbound,
}

impl expr::Packet for View<'_> {
    fn number(&self, field: Field) -> u128 {
        self.state.number(field)
    }

    fn inport(&self) -> &str {
        self.names.port_name(self.state.inport)
    }

    fn outport(&self) -> &str {
        self.names.port_name(self.state.outport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Packet;

    #[test]
    fn registers_lie_where_ovn_has_them() {
        let mut state = State::new(Packet::default(), Lport::NONE);
        for number in 0..10 {
            state.set_reg(number, 0x1000 + number);
        }
        assert_eq!(state.xxreg0 >> 96, 0x1000);
        assert_eq!(state.xreg4, 0x1008_0000_1009);
        assert!((0..10).all(|number| state.reg(number) == 0x1000 + number));
    }
}
