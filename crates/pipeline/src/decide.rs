//! Runs packets through the ACL stages compiled: fixed flows as code, ACLs in a classifier.
//!
//! What each stage does is that of [`crate::flow`], which writes it as northd does. Where two flows of one priority match, OVN does not say
//! which wins; here as in [`crate::walk`] it is the first in the order of [`crate::flow::flows`]. One case is left open: of two ACLs of one
//! switch, stage, tier, priority and text of match that differ in what they do, either is taken.

use std::net::{IpAddr, Ipv6Addr};

use hashbrown::{HashMap, HashSet};
use netverdict_ovn::Sample;
use netverdict_ovn::expr::{Field, Match};
use netverdict_types::{Action, App, Pipeline};
use uuid::Uuid;

use crate::classifier::{Classifier, Headers, Op, Rule, Shared};
use crate::conntrack::{Commit, Conntrack, Nat};
use crate::flow::{self, Facts, Peers, Release};
use crate::northbound::{AclRow, Switch};
use crate::{
    At, Block, CtView, Fate, L4, Logged, Lport, Northbound, Observer, Packet, Sampled, Stage,
    Stages, State, SwitchId,
};

/// The ACL stages of a zone's switches, compiled.
#[derive(Debug)]
pub struct Decide {
    release: Release,
    /// `use_ct_inv_match`.
    inv: bool,
    /// `default_acl_drop`.
    drops_by_default: bool,
    /// `acl_ct_translation` (from OVN 26.03).
    translates: bool,
    drop_sample: Option<Sampled>,
    /// To the monitor of services, and from it.
    monitor: [Option<Op>; 2],
    /// Answers of ovn-controller to questions for names.
    dns: Option<Op>,
    acls: Vec<Acl>,
    plans: Vec<Option<Plan>>,
    shared: Shared,
    headers: Headers,
    fields: HashSet<Field>,
}

impl Decide {
    /// Compiles what the rows say, for one OVN. ACLs whose match OVN does not take are as if they matched nothing.
    pub fn new(northbound: &Northbound, release: Release) -> Self {
        let mut compiler = Compiler {
            northbound,
            release,
            shared: Shared::default(),
            acls: Vec::new(),
            known: HashMap::new(),
            fields: HashSet::new(),
        };
        let monitor = ["eth.dst == $svc_monitor_mac", "eth.src == $svc_monitor_mac"]
            .map(|text| compiler.rule(text).map(|rule| rule.op));
        let dns = compiler.compile("flags.from_ctrl && udp.src == 53");
        let peers = flow::peers(northbound);
        let plans = northbound
            .switches
            .iter()
            .map(|row| Some(compiler.plan(row.as_ref()?, &peers)))
            .collect();
        compiler.shared.seal();
        let options = &northbound.options;
        let is_new = release == Release::R26_03;
        Self {
            release,
            inv: !flow::is_false(options, "use_ct_inv_match"),
            drops_by_default: flow::is_true(options, "default_acl_drop"),
            translates: is_new && flow::is_true(options, "acl_ct_translation"),
            drop_sample: drop_sample(northbound),
            monitor,
            dns: dns.map(|rule| rule.op),
            acls: compiler.acls,
            plans,
            shared: compiler.shared,
            headers: Headers::default(),
            fields: compiler.fields,
        }
    }

    /// The fields that some ACL reads.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.fields.iter().copied()
    }

    /// As [`Stages::run`], with whatever keeps the connections.
    pub(crate) fn run_with(
        &mut self,
        switch: SwitchId,
        block: Block,
        state: &mut State,
        ledger: &mut impl Ledger,
        observer: &mut impl Observer,
    ) -> Fate {
        let Some(Some(plan)) = self.plans.get(switch.0 as usize) else {
            return Fate::Next;
        };
        let mut run = Run {
            release: self.release,
            inv: self.inv,
            drops_by_default: self.drops_by_default,
            translates: self.translates,
            drop_sample: self.drop_sample,
            monitor: &self.monitor,
            dns: self.dns.as_ref(),
            acls: &self.acls,
            shared: &self.shared,
            headers: &mut self.headers,
            switch,
            plan,
            state,
            ledger,
            observer,
        };
        match block {
            Block::InPreAcl => run.pre_acl(true),
            Block::OutPreAcl => run.pre_acl(false),
            Block::InAcl => run.acls(&BEFORE_LB),
            Block::InAclAfterLb => run.acls(&AFTER_LB),
            Block::OutAcl => run.acls(&TO_LPORT),
            Block::InStateful => run.stateful(Stage::InStateful),
            Block::OutStateful => run.stateful(Stage::OutStateful),
        }
    }
}

impl Stages for Decide {
    fn run(
        &mut self,
        switch: SwitchId,
        block: Block,
        state: &mut State,
        conntrack: &mut Conntrack,
        observer: &mut impl Observer,
    ) -> Fate {
        self.run_with(switch, block, state, conntrack, observer)
    }
}

/// What keeps the connections.
pub(crate) trait Ledger {
    /// `ct_commit` and `ct_commit_nat`: what the connection is then.
    fn commit(&mut self, state: &mut State, commit: Commit) -> CtView;
}

impl Ledger for Conntrack {
    fn commit(&mut self, state: &mut State, commit: Commit) -> CtView {
        Self::commit(self, state.ct_zone, &mut state.packet, state.now, commit)
    }
}

/// The stages of one switch.
#[derive(Debug, Default)]
struct Plan {
    has_acls: bool,
    stateful_acl: bool,
    lb_vip: bool,
    /// Ports that conntrack is not for.
    skips: HashSet<Lport>,
    /// What is never tracked, in and out.
    stateless: [Classifier; 2],
    /// Answers of DHCP servers.
    dhcp: Classifier,
    /// Whether ovn-controller answers questions for names.
    has_dns: bool,
    blocks: [Evaluation; 3],
    new: New,
}

/// What OVN has from 25.09 on.
#[derive(Debug, Default)]
struct New {
    /// `enable-stateless-acl-with-lb`.
    stateless_with_lb: bool,
    /// Whether the switch itself names load balancers.
    has_balancers: bool,
    /// Packets out of ports that get copies.
    mirrored: Vec<Op>,
    /// Packets that come from network functions.
    functions: Vec<Op>,
    /// And those that go to their ports.
    to_functions: Vec<Op>,
}

impl Plan {
    fn stateful(&self) -> bool {
        self.stateful_acl || self.lb_vip
    }
}

/// One of the three blocks in which ACLs are evaluated.
#[derive(Debug, Default)]
struct Evaluation {
    most: u8,
    tiers: [Classifier; 4],
    /// By label: ACLs of the other pipeline that log replies and related packets.
    log_related: HashMap<u32, u32>,
    samples: Samples,
}

/// The flows of a sample stage.
#[derive(Debug, Default)]
struct Samples {
    /// By the point in the label, of the original direction and of replies.
    of_label: [HashMap<u32, Several>; 2],
    /// By the point in `reg3`, of stateful ACLs and of stateless ones.
    of_point: [HashMap<u32, Several>; 2],
    /// By the collector in `reg8`, of stateful ACLs and of stateless ones.
    of_new: [HashMap<u8, Sampled>; 2],
    /// By the collector in the mark, of the original direction and of replies.
    of_established: [HashMap<u8, Sampled>; 2],
}

/// Samples for several collectors, or none. `None`: a flow without any action, which ends the packet's way.
type Several = Option<Box<[Sampled]>>;

/// An ACL, with all that its flows do.
#[derive(Debug)]
struct Acl {
    uuid: Uuid,
    kind: Kind,
    /// In `reg8`.
    verdict: u32,
    /// With the point of new connections only, and with that of established ones.
    observe: [Option<Observe>; 2],
    /// Whether established connections are committed again.
    again: bool,
    /// Its number, if `persist-established`.
    persists: Option<u32>,
    /// The number of the network functions that connections go through.
    function: Option<u8>,
    /// `ct_label.obs_point_id` of a connection that it blocks.
    blocked: u32,
    log: Option<Box<Log>>,
}

/// Which hints an ACL's flows ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Free,
    Allow,
    Drop,
}

impl Kind {
    // As classes of the classifier.
    const ALLOW: u8 = Self::Allow as u8;
    const DROP: u8 = Self::Drop as u8;
}

#[derive(Clone, Copy, Debug)]
struct Observe {
    new: u32,
    established: u32,
    /// The collectors, as they lie in `reg8`.
    ids: u32,
}

#[derive(Debug)]
struct Log {
    name: Option<String>,
    action: Action,
    severity: String,
    meter: Option<String>,
}

/// The stages of a block in which ACLs are evaluated.
struct Tables {
    /// `ct_mark.obs_stage`.
    number: usize,
    eval: Stage,
    sample: Stage,
    action: Stage,
}

const BEFORE_LB: Tables = Tables {
    number: 0,
    eval: Stage::InAclEval,
    sample: Stage::InAclSample,
    action: Stage::InAclAction,
};

const AFTER_LB: Tables = Tables {
    number: 1,
    eval: Stage::InAclAfterLbEval,
    sample: Stage::InAclAfterLbSample,
    action: Stage::InAclAfterLbAction,
};

const TO_LPORT: Tables = Tables {
    number: 2,
    eval: Stage::OutAclEval,
    sample: Stage::OutAclSample,
    action: Stage::OutAclAction,
};

/// Bits of `reg0` (northd.c).
mod bit {
    pub const DEFRAG: u32 = 1 << 0;
    pub const COMMIT: u32 = 1 << 1;
    pub const ALLOW_NEW: u32 = 1 << 7;
    pub const ALLOW: u32 = 1 << 8;
    pub const DROP: u32 = 1 << 9;
    pub const BLOCK: u32 = 1 << 10;
    pub const LABEL: u32 = 1 << 13;
    pub const STATELESS: u32 = 1 << 16;
    pub const ALLOW_RELATED: u32 = 1 << 17;
    pub const PERSIST: u32 = 1 << 20;
    pub const PERSISTED: u32 = 1 << 21;
}

/// Bits of `reg8`.
mod verdict {
    pub const ALLOW: u32 = 1 << 16;
    pub const DROP: u32 = 1 << 17;
    pub const REJECT: u32 = 1 << 18;
    pub const ANY: u32 = ALLOW | DROP | REJECT;
    /// Through a network function, and that from its first packet on.
    pub const FUNCTION: u32 = 1 << 21;
    pub const FUNCTION_NEW: u32 = 1 << 22;
}

/// `flags.tunnel_rx`.
const TUNNEL_RX: u32 = 1 << 16;
/// `flags.pkt_sampled`.
const PKT_SAMPLED: u32 = 1 << 23;
/// `ct_mark.blocked`.
const BLOCKED: u32 = 1 << 0;
/// `ct_mark.allow_established`.
const ALLOW_ESTABLISHED: u32 = 1 << 6;
/// `ct_label.nf`.
const FUNCTION: u128 = 1 << 7;
/// `ct_label.obs_unused`.
const UNUSED: u128 = (1 << 96) - 1;

/// One block of tables, for one packet.
struct Run<'a, L, O> {
    release: Release,
    inv: bool,
    drops_by_default: bool,
    translates: bool,
    drop_sample: Option<Sampled>,
    monitor: &'a [Option<Op>; 2],
    dns: Option<&'a Op>,
    acls: &'a [Acl],
    shared: &'a Shared,
    headers: &'a mut Headers,
    switch: SwitchId,
    plan: &'a Plan,
    state: &'a mut State,
    ledger: &'a mut L,
    observer: &'a mut O,
}

impl<L: Ledger, O: Observer> Run<'_, L, O> {
    fn at(&self, stage: Stage) -> At {
        At {
            switch: self.switch,
            stage,
        }
    }

    fn set(&mut self, bits: u32) {
        self.state.xxreg0 |= u128::from(bits) << 96;
    }

    fn is(&self, bits: u32) -> bool {
        self.state.reg(0) & bits != 0
    }

    fn verdict(&mut self, bits: u32) {
        self.state.xreg4 |= u64::from(bits) << 32;
    }

    fn tracked(&self) -> bool {
        self.state.ct.is(CtView::TRK)
    }

    /// `ct.new` and the like, of which all must be set: that also asks for `ct.trk`.
    fn ct(&self, bits: u32) -> bool {
        self.state.ct.is(CtView::TRK | bits)
    }

    /// `!ct.new` and the like: this asks for `ct.trk` too.
    fn not_ct(&self, bits: u32) -> bool {
        self.state.ct.state & (CtView::TRK | bits) == CtView::TRK
    }

    fn blocked(&self) -> bool {
        self.state.ct.mark & BLOCKED != 0
    }

    fn any<'o>(&mut self, ops: impl IntoIterator<Item = &'o Op>) -> bool {
        ops.into_iter()
            .any(|op| op.holds(self.state, self.headers, self.shared))
    }

    fn monitors(&mut self, ingress: bool) -> bool {
        let monitor = self.monitor;
        self.any(&monitor[usize::from(!ingress)])
    }

    fn pre_acl(&mut self, ingress: bool) -> Fate {
        let plan = self.plan;
        if !ingress && self.any(&plan.new.mirrored) {
            return Fate::Drop;
        }
        let stateless = &plan.stateless[usize::from(!ingress)];
        if !stateless.is_empty() {
            self.headers.read(self.state);
            let found = stateless.find(self.state, self.headers, self.shared, 0, |_| true);
            if found.is_some() {
                self.set(bit::STATELESS);
                return Fate::Next;
            }
        }
        let packet = self.state.packet;
        let multicast = plan.stateful_acl && !self.translates && packet.eth_dst[0] & 1 != 0;
        let functions = &plan.new.functions;
        if !ingress && !multicast && self.any(functions) && !self.monitors(ingress) {
            return Fate::Drop;
        }
        if !plan.stateful_acl || !is_ip(&packet) {
            return Fate::Next;
        }
        let port = if ingress {
            self.state.inport
        } else {
            self.state.outport
        };
        let too_big = ingress && self.state.flags & TUNNEL_RX != 0 && is_too_big(&packet);
        let past = plan.skips.contains(&port)
            || multicast
            || is_service(&packet)
            || is_dhcp6(&packet)
            || too_big
            || self.monitors(ingress);
        if !past {
            self.set(bit::DEFRAG);
        }
        Fate::Next
    }

    fn acls(&mut self, tables: &Tables) -> Fate {
        self.headers.read(self.state);
        if tables.number != AFTER_LB.number && self.plan.stateful() {
            self.hint();
        }
        if !self.settled(tables) {
            self.evaluate(tables);
        }
        loop {
            if self.sample(tables) == Fate::Drop {
                return Fate::Drop;
            }
            if let Some(fate) = self.act(tables) {
                return fate;
            }
            // Only without a verdict, which what is above all ACLs always gives.
            self.evaluate(tables);
        }
    }

    fn hint(&mut self) {
        let commits = match self.release {
            Release::R25_03 => 0,
            Release::R26_03 => bit::COMMIT,
        };
        let blocked = self.blocked();
        let again = self.not_ct(CtView::NEW | CtView::RPL) && self.ct(CtView::EST);
        let bits = if self.ct(CtView::NEW) && self.not_ct(CtView::EST) || again && blocked {
            bit::ALLOW_NEW | bit::DROP | commits
        } else if !self.tracked() {
            bit::ALLOW | bit::DROP
        } else if again {
            bit::ALLOW | bit::BLOCK
        } else if self.not_ct(CtView::EST) || blocked {
            bit::DROP
        } else {
            bit::BLOCK
        };
        self.set(bits);
    }

    /// What is above all ACLs, whatever the tier; whether it settles the packet.
    fn settled(&mut self, tables: &Tables) -> bool {
        let plan = self.plan;
        let after_lb = tables.number == AFTER_LB.number;
        if !plan.has_acls && !plan.lb_vip && !after_lb {
            return true;
        }
        let decided = plan.stateful()
            && match after_lb {
                true => self.is(bit::ALLOW_RELATED | bit::PERSISTED),
                false => self.established(tables),
            };
        if decided {
            if after_lb {
                self.verdict(verdict::ALLOW);
            }
            return true;
        }
        let ingress = tables.eval.is_ingress();
        if is_service(&self.state.packet) || !after_lb && self.monitors(ingress) {
            self.verdict(verdict::ALLOW);
            return true;
        }
        !ingress && self.answered(tables)
    }

    /// Lets answers of DHCP and DNS through; whether it is one.
    fn answered(&mut self, tables: &Tables) -> bool {
        let plan = self.plan;
        if plan.has_dns && self.any(self.dns) {
            self.verdict(verdict::ALLOW);
            if plan.stateful() {
                let nat = Some(Nat::Kept);
                self.commit(
                    tables.eval,
                    Commit {
                        nat,
                        ..Commit::default()
                    },
                );
            }
            return true;
        }
        let found = plan
            .dhcp
            .find(self.state, self.headers, self.shared, 0, |_| true);
        if found.is_some() {
            self.verdict(verdict::ALLOW);
        }
        found.is_some()
    }

    /// The ACLs of the tier that is at hand, and what is below them.
    fn evaluate(&mut self, tables: &Tables) {
        let plan = self.plan;
        let block = &plan.blocks[tables.number];
        let after_lb = tables.number == AFTER_LB.number;
        let tier = match block.most {
            0 => 0,
            _ => self.state.reg(8) >> 30,
        };
        if self.apply(tables, &block.tiers[tier as usize]) || after_lb || !plan.stateful() {
            return;
        }
        if !is_ip(&self.state.packet) {
            return;
        }
        let commits = self.release == Release::R25_03;
        if self.ct(CtView::EST) && self.blocked() {
            self.verdict(verdict::ALLOW);
            if commits {
                self.set(bit::COMMIT);
            }
        } else if self.not_ct(CtView::EST) && commits && !self.drops_by_default {
            self.set(bit::COMMIT);
        }
    }

    /// What conntrack alone decides, before all ACLs; whether it does.
    fn established(&mut self, tables: &Tables) -> bool {
        // Nothing of it is for what was not tracked.
        if !self.tracked() {
            return false;
        }
        let ingress = tables.eval.is_ingress();
        let blocked = self.blocked();
        let (old, fresh) = match self.release {
            Release::R25_03 if self.inv => (CtView::NEW | CtView::INV, CtView::NEW | CtView::INV),
            Release::R25_03 => (CtView::NEW, CtView::NEW),
            Release::R26_03 => (0, CtView::NEW),
        };
        let reply = self.ct(CtView::EST | CtView::RPL) && self.not_ct(CtView::REL | old);
        let reply = reply && !blocked;
        let related = self.ct(CtView::REL) && self.not_ct(CtView::EST | fresh) && !blocked;
        if related || reply {
            let label = (self.state.ct.label >> 96) as u32;
            let block = &self.plan.blocks[tables.number];
            if let Some(acl) = block.log_related.get(&label) {
                self.matched(tables, *acl);
                self.through_function();
                self.verdict(verdict::ALLOW);
                return true;
            }
        }
        let drops_inv = self.inv && !self.plan.new.stateless_with_lb;
        let blocked_reply = self.ct(CtView::EST | CtView::RPL) && blocked;
        let persisted = self.ct(CtView::EST) && self.state.ct.mark & ALLOW_ESTABLISHED != 0;
        if related && is_ip(&self.state.packet) {
            if ingress {
                self.set(bit::ALLOW_RELATED);
            }
            self.through_function();
            self.verdict(verdict::ALLOW);
            self.observer.commit(self.at(tables.eval), self.state);
            self.state.ct = self.ledger.commit(self.state, Commit::default());
        } else if !drops_inv && blocked_reply {
            self.verdict(verdict::DROP);
        } else if reply {
            if ingress {
                self.state.xxreg0 &= !(u128::from(bit::DROP | bit::BLOCK) << 96);
                self.set(bit::ALLOW_RELATED);
            }
            self.through_function();
            self.verdict(verdict::ALLOW);
        } else if persisted {
            if ingress {
                self.set(bit::PERSISTED);
            }
            self.through_function();
            self.verdict(verdict::ALLOW);
        } else if drops_inv && (self.ct(CtView::INV) || blocked_reply) {
            self.verdict(verdict::DROP);
        } else {
            return false;
        }
        true
    }

    /// `reg8[21] = ct_label.nf`.
    fn through_function(&mut self) {
        if self.release == Release::R26_03 {
            let reg8 = self.state.reg(8) & !verdict::FUNCTION;
            let bit = match self.state.ct.label & FUNCTION {
                0 => 0,
                _ => verdict::FUNCTION,
            };
            self.state.set_reg(8, reg8 | bit);
        }
    }

    /// Tells that an ACL's flow is the one, and logs.
    fn matched(&mut self, tables: &Tables, acl: u32) {
        let acls = self.acls;
        let acl = &acls[acl as usize];
        let at = self.at(tables.eval);
        self.observer.matched(at, self.state, acl.uuid);
        if let Some(log) = &acl.log {
            let logged = Logged {
                name: log.name.as_deref(),
                action: log.action,
                severity: &log.severity,
                meter: log.meter.as_deref(),
            };
            self.observer.log(at, &self.state.packet, logged);
        }
    }

    /// Does what the first ACL says that matches; whether there is one.
    fn apply(&mut self, tables: &Tables, classifier: &Classifier) -> bool {
        let (acls, stateful) = (self.acls, self.plan.stateful());
        let hints = self.state.reg(0);
        // A flow that commits is for IP only.
        let blocks = hints & bit::BLOCK != 0 && is_ip(&self.state.packet);
        let order = usize::from(stateful && blocks);
        let allows = !stateful || hints & (bit::ALLOW_NEW | bit::ALLOW) != 0;
        let drops = !stateful || hints & bit::DROP != 0 || blocks;
        let wanted = |class| match class {
            Kind::ALLOW => allows,
            Kind::DROP => drops,
            _ => true,
        };
        let found = classifier.find(self.state, self.headers, self.shared, order, wanted);
        let Some(id) = found else {
            return false;
        };
        self.matched(tables, id);
        let acl = &acls[id as usize];
        self.verdict(acl.verdict);
        let allows = stateful && acl.kind == Kind::Allow;
        if allows {
            let commits = match hints & bit::ALLOW_NEW {
                0 => acl.again,
                _ => self.release == Release::R25_03,
            };
            if commits {
                self.set(bit::COMMIT);
            }
            if let (Some(number), true) = (acl.persists, hints & bit::ALLOW_NEW != 0) {
                let reg2 = self.state.reg(2) & 0xffff;
                self.state.set_reg(2, number << 16 | reg2);
                self.set(bit::PERSIST);
            }
            if let Some(id) = acl.function {
                self.verdict(verdict::FUNCTION | verdict::FUNCTION_NEW);
                let reg0 = self.state.reg(0) & !(0xff << 22);
                self.state.set_reg(0, reg0 | u32::from(id) << 22);
            }
        }
        if let Some(observe) = acl.observe[usize::from(allows)] {
            let state = &mut *self.state;
            state.set_reg(3, observe.new);
            state.set_reg(9, observe.established);
            let others = state.reg(8) & !(0xffff | 3 << 19);
            state.set_reg(8, others | observe.ids | (tables.number as u32) << 19);
            self.set(bit::LABEL);
        }
        if stateful && acl.kind == Kind::Drop && blocks {
            let commit = Commit {
                mark: (BLOCKED, BLOCKED),
                label: (u128::from(acl.blocked) << 96, u128::from(u32::MAX) << 96),
                nat: Some(Nat::Kept),
            };
            self.commit(tables.eval, commit);
        }
        true
    }

    fn commit(&mut self, stage: Stage, commit: Commit) {
        let mut committed = *self.state;
        let ct = &mut committed.ct;
        ct.mark = ct.mark & !commit.mark.1 | commit.mark.0;
        ct.label = ct.label & !commit.label.1 | commit.label.0;
        self.observer.commit(self.at(stage), &committed);
        self.ledger.commit(self.state, commit);
        self.state.forget_connection();
    }

    fn sample(&mut self, tables: &Tables) -> Fate {
        if !is_ip(&self.state.packet) {
            return Fate::Next;
        }
        let samples = &self.plan.blocks[tables.number].samples;
        let at = self.at(tables.sample);
        let (state, release) = (&mut *self.state, self.release);
        let ct = state.ct;
        let unsampled = release == Release::R25_03 || state.flags & PKT_SAMPLED == 0;
        let tracked = ct.is(CtView::TRK);
        let established = unsampled
            && tracked
            && ct.state & (CtView::EST | CtView::REL) != 0
            && ct.label & UNUSED == 0;
        let reply = usize::from(ct.is(CtView::RPL));
        let is_new =
            ct.is(CtView::TRK | CtView::NEW) || tables.number == TO_LPORT.number && !tracked;
        let label = (ct.label >> 96) as u32;
        let point = state.reg(3);
        let several = samples.of_label[reply]
            .get(&label)
            .filter(|_| established)
            .or_else(|| samples.of_point[0].get(&point).filter(|_| is_new))
            .or_else(|| samples.of_point[1].get(&point));
        if let Some(several) = several {
            let Some(several) = several else {
                return Fate::Drop;
            };
            if release == Release::R26_03 && !several.is_empty() {
                state.flags |= PKT_SAMPLED;
            }
            for sampled in several {
                self.observer.sample(at, &state.packet, *sampled);
            }
            return Fate::Next;
        }
        let reg8 = state.reg(8);
        let own = reg8 >> 19 & 3 == tables.number as u32;
        let of_new = |stateless: usize| {
            let sampled = samples.of_new[stateless].get(&(reg8 as u8))?;
            (own && (is_new || stateless == 1)).then_some(Sampled { point, ..*sampled })
        };
        let of_established = || {
            let own = reply == 1 || ct.mark >> 4 & 3 == tables.number as u32;
            let sampled = samples.of_established[reply].get(&((ct.mark >> 16) as u8))?;
            (own && established).then_some(Sampled {
                point: label,
                ..*sampled
            })
        };
        let sampled = match release {
            Release::R25_03 => of_new(0).or_else(of_established),
            Release::R26_03 => of_established().or_else(|| of_new(0)),
        };
        if let Some(sampled) = sampled.or_else(|| of_new(1)) {
            if release == Release::R26_03 {
                state.flags |= PKT_SAMPLED;
            }
            self.observer.sample(at, &state.packet, sampled);
        }
        Fate::Next
    }

    /// What comes of the verdict; `None` if the next tier is to be evaluated.
    fn act(&mut self, tables: &Tables) -> Option<Fate> {
        if !self.plan.has_acls {
            return Some(Fate::Next);
        }
        let most = u32::from(self.plan.blocks[tables.number].most);
        let reg8 = self.state.reg(8);
        let tier = reg8 >> 30;
        if reg8 & verdict::ANY == 0 && tier < most {
            self.state.set_reg(8, reg8 & !(3 << 30) | (tier + 1) << 30);
            return None;
        }
        let done = match most {
            0 => verdict::ANY,
            _ => verdict::ANY | 3 << 30,
        };
        self.state.set_reg(8, reg8 & !done);
        let drops = if reg8 & verdict::ALLOW != 0 {
            false
        } else if reg8 & verdict::DROP != 0 {
            true
        } else if reg8 & verdict::REJECT != 0 {
            self.state.set_reg(0, 0);
            return Some(Fate::Reject);
        } else {
            self.drops_by_default
        };
        if !drops {
            return Some(Fate::Next);
        }
        if let Some(sampled) = self.drop_sample {
            let at = self.at(tables.action);
            self.observer.sample(at, &self.state.packet, sampled);
        }
        Some(Fate::Drop)
    }

    fn stateful(&mut self, stage: Stage) -> Fate {
        let new = &self.plan.new;
        let egress = !stage.is_ingress();
        let to_function = egress && self.any(&new.to_functions);
        let unseen = new.stateless_with_lb && new.has_balancers;
        let is_unseen = egress && unseen && self.is(bit::STATELESS) && self.ct(CtView::NEW);
        let commits = to_function || self.is(bit::COMMIT) && !is_unseen;
        if commits && is_ip(&self.state.packet) {
            self.commit(stage, self.wanted(to_function));
        }
        Fate::Next
    }

    /// What the registers ask to commit.
    fn wanted(&self, to_function: bool) -> Commit {
        let (reg0, reg8) = (self.state.reg(0), self.state.reg(8));
        let mut mark = (0, BLOCKED | ALLOW_ESTABLISHED);
        if reg0 & bit::PERSIST != 0 {
            mark.0 |= ALLOW_ESTABLISHED;
        }
        let id = match to_function {
            // `ct_label.tun_if_id`, which is where `ct_label.acl_id` is.
            true => self.state.reg(5) >> 16,
            false => self.state.reg(2) >> 16,
        };
        let mut label = (u128::from(id) << 80, 0xffff << 80);
        if self.release == Release::R26_03 && !to_function {
            // `ct_label.nf_id` is beside it.
            label.1 |= FUNCTION | 0xff << 17;
            if reg8 & verdict::FUNCTION != 0 {
                label.0 |= FUNCTION | u128::from(reg0 >> 22 & 0xff) << 17;
            }
        }
        if reg0 & bit::LABEL != 0 {
            mark.0 |= (reg8 >> 19 & 3) << 4 | (reg8 >> 8 & 0xff) << 16;
            mark.1 |= 3 << 4 | 0xff << 16;
            label.0 |= u128::from(self.state.reg(9)) << 96;
            label.1 |= u128::from(u32::MAX) << 96;
        }
        let nat = Some(Nat::Kept);
        Commit { mark, label, nat }
    }
}

pub(crate) fn is_ip(packet: &Packet) -> bool {
    matches!(packet.eth_type, 0x800 | 0x86dd)
}

/// `nd || nd_ra || nd_rs || mldv1 || mldv2`.
pub(crate) fn is_service(packet: &Packet) -> bool {
    const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    if (packet.eth_type, packet.protocol) != (0x86dd, 58) {
        return false;
    }
    let (L4::Icmp { kind, code, .. }, Some((IpAddr::V6(source), IpAddr::V6(destination)))) =
        (packet.l4, packet.ip)
    else {
        return false;
    };
    let multicast = packet.eth_dst[..2] == [0x33, 0x33];
    match kind {
        133..=136 => code == 0 && packet.ttl == 255,
        130..=132 => multicast && source.segments()[0] & 0xffc0 == 0xfe80,
        143 => multicast && destination == ROUTERS,
        _ => false,
    }
}

/// `udp && udp.src == 546 && udp.dst == 547`.
pub(crate) fn is_dhcp6(packet: &Packet) -> bool {
    matches!(packet.l4, L4::Udp { src: 546, dst: 547 })
}

/// An ICMP error that a packet is too big.
pub(crate) fn is_too_big(packet: &Packet) -> bool {
    let L4::Icmp { kind, code, .. } = packet.l4 else {
        return false;
    };
    matches!(
        (packet.eth_type, packet.protocol, kind, code),
        (0x800, 1, 3, 4) | (0x86dd, 58, 2, 0)
    )
}

fn drop_sample(northbound: &Northbound) -> Option<Sampled> {
    let option = |name: &str| {
        let value = northbound.options.get(name)?;
        value.parse::<u32>().ok().filter(|number| *number != 0)
    };
    let app_id = match northbound.app_id(App::Drop) {
        0 => option("debug_drop_domain_id").unwrap_or(0) as u8,
        id => id,
    };
    Some(Sampled {
        probability: u16::MAX,
        set_id: option("debug_drop_collector_set")?,
        app: App::Drop,
        app_id,
        point: 0,
    })
}

struct Compiler<'a> {
    northbound: &'a Northbound,
    release: Release,
    shared: Shared,
    acls: Vec<Acl>,
    /// The number and the match of an ACL that was met before.
    known: HashMap<Uuid, (u32, Option<Rule>)>,
    fields: HashSet<Field>,
}

impl Compiler<'_> {
    fn compile(&mut self, text: &str) -> Option<Rule> {
        let found = Match::parse(text, self.northbound).ok()?;
        Some(Rule::new(
            &found.compile(),
            self.northbound,
            &mut self.shared,
        ))
    }

    /// A match that packets are asked for whatever their flags are.
    fn rule(&mut self, text: &str) -> Option<Rule> {
        let rule = self.compile(text)?;
        rule.op.fields(&mut self.fields);
        Some(rule)
    }

    fn ops(&mut self, texts: impl IntoIterator<Item = String>) -> Vec<Op> {
        let rules = texts.into_iter().filter_map(|text| self.rule(&text));
        rules.map(|rule| rule.op).collect()
    }

    fn plan(&mut self, switch: &Switch, peers: &Peers<'_>) -> Plan {
        let northbound = self.northbound;
        let facts = Facts::new(northbound, peers, switch, self.release);
        let mut plan = Plan {
            lb_vip: facts.vip,
            skips: flow::untracked(northbound, peers, switch, self.release).collect(),
            has_dns: facts.has_dns,
            ..Plan::default()
        };
        let mut seen = HashSet::new();
        let mut rows: Vec<(Uuid, &AclRow)> = northbound
            .acls_of(switch)
            .filter(|(uuid, _)| seen.insert(*uuid))
            .collect();
        for (_, row) in &rows {
            plan.has_acls = true;
            plan.stateful_acl |= row.acl.action == Action::AllowRelated;
            let most = &mut plan.blocks[row.acl.pipeline as usize].most;
            *most = row.acl.tier.min(3).max(*most);
        }
        let stateful = plan.stateful();
        rows.sort_by_cached_key(|row| place(row, stateful));
        let local = northbound.local(switch);
        let mut stateless: [Vec<Rule>; 2] = Default::default();
        let mut tiers: [[Vec<Rule>; 4]; 3] = Default::default();
        for (number, (uuid, row)) in rows.iter().enumerate() {
            let pipeline = row.acl.pipeline;
            let (id, rule) = self.acl(*uuid, row);
            let rule = rule
                .filter(|_| local.knows_all() || Match::parse(&row.acl.matches, &local).is_ok());
            if let Some(mut rule) = rule {
                // In the other order drops come before what allows.
                let other = match kind(row.acl.action) {
                    Kind::Free => 0,
                    Kind::Drop => 1,
                    Kind::Allow => 2,
                };
                let number = number as u64;
                let priority = u64::from(u16::MAX - row.acl.priority);
                rule.id = id;
                rule.class = kind(row.acl.action) as u8;
                rule.order = [number, priority << 40 | other << 32 | number];
                let allows = stateful && kind(row.acl.action) == Kind::Allow;
                if row.acl.action == Action::AllowStateless && stateful {
                    let out = pipeline == Pipeline::ToLport;
                    stateless[usize::from(out)].push(rule.clone());
                }
                if allows || !self.leads_through_functions(row) {
                    tiers[pipeline as usize][usize::from(row.acl.tier.min(3))].push(rule);
                }
            }
            self.log_related(row, id, &mut plan);
            self.samples(row, &mut plan);
        }
        plan.stateless = stateless.map(|rules| Classifier::new(rules, &self.shared));
        for (block, tiers) in plan.blocks.iter_mut().zip(tiers) {
            block.tiers = tiers.map(|rules| Classifier::new(rules, &self.shared));
        }
        let mut dhcp: Vec<Rule> = facts.dhcp.iter().flat_map(|text| self.rule(text)).collect();
        for (number, rule) in (0..).zip(&mut dhcp) {
            rule.order = [number; 2];
        }
        plan.dhcp = Classifier::new(dhcp, &self.shared);
        plan.new = self.new_in(&facts, &rows);
        plan
    }

    /// What the rows ask for that OVN has from 25.09 on.
    fn new_in(&mut self, facts: &Facts, rows: &[(Uuid, &AclRow)]) -> New {
        let groups = &self.northbound.function_groups;
        let active: HashSet<Uuid> = rows
            .iter()
            .filter_map(|(_, row)| groups.get(&row.function_group?)?.active)
            .collect();
        let here = facts.functions.iter();
        let ports: Vec<&[String; 2]> = here
            .filter(|(function, _)| active.contains(function))
            .map(|(_, ports)| ports)
            .collect();
        let inputs = ports.iter().map(|[input, _]| format!("inport == {input}"));
        let all = ports.iter().copied().flatten();
        let mirrors = facts.mirrors.iter();
        New {
            stateless_with_lb: facts.stateless_with_lb,
            has_balancers: facts.has_balancers,
            mirrored: self.ops(mirrors.map(|port| format!("outport == {port}"))),
            functions: self.ops(inputs),
            to_functions: self.ops(all.map(|port| format!("outport == {port}"))),
        }
    }

    fn leads_through_functions(&self, row: &AclRow) -> bool {
        self.release == Release::R26_03 && row.function_group.is_some()
    }

    /// The number of an ACL, and its match if OVN takes it.
    fn acl(&mut self, uuid: Uuid, row: &AclRow) -> (u32, Option<Rule>) {
        if let Some(known) = self.known.get(&uuid) {
            return known.clone();
        }
        let id = self.acls.len() as u32;
        self.acls.push(Acl {
            uuid,
            kind: kind(row.acl.action),
            verdict: match row.acl.action {
                Action::Drop => verdict::DROP,
                Action::Reject => verdict::REJECT,
                Action::Pass => 0,
                Action::Allow | Action::AllowRelated | Action::AllowStateless => verdict::ALLOW,
            },
            observe: [
                self.observe(row, row.sample_new, None),
                self.observe(row, row.sample_new, row.sample_est),
            ],
            again: row.acl.label != 0
                || self.sample(row.sample_est).is_some()
                || self.leads_through_functions(row),
            persists: flow::is_true(&row.options, "persist-established")
                .then(|| self.northbound.acl_numbers.get(&uuid))
                .flatten()
                .map(|number| u32::from(*number)),
            function: row
                .function_group
                .filter(|_| self.leads_through_functions(row))
                .and_then(|group| self.northbound.function_groups.get(&group))
                .map(|group| group.id),
            blocked: self.sample(row.sample_est).map_or(0, |sample| sample.point),
            log: row.log.then(|| self.log(uuid, row).into()),
        });
        let rule = self.rule(&row.acl.matches);
        self.known.insert(uuid, (id, rule.clone()));
        (id, rule)
    }

    fn sample(&self, sample: Option<Uuid>) -> Option<&Sample> {
        self.northbound.samples.get(&sample?)
    }

    fn observe(&self, row: &AclRow, new: Option<Uuid>, est: Option<Uuid>) -> Option<Observe> {
        let (new, est) = (self.sample(new), self.sample(est));
        let label = row.acl.label;
        if label != 0 {
            return Some(Observe {
                new: label,
                established: label,
                ids: 0,
            });
        }
        let point = |sample: Option<&Sample>| sample.map_or(0, |sample| sample.point);
        let collector = |sample: Option<&Sample>| match sample.map(|sample| &sample.collectors[..])
        {
            Some([only]) => {
                let collector = self.northbound.collectors.get(only);
                collector.map_or(0, |collector| u32::from(collector.id))
            }
            _ => 0,
        };
        (new.is_some() || est.is_some()).then(|| Observe {
            new: point(new),
            established: point(est),
            ids: collector(new) | collector(est) << 8,
        })
    }

    fn log(&self, uuid: Uuid, row: &AclRow) -> Log {
        let meter = row.meter.as_ref().map(|meter| {
            let fair = self.northbound.meters.get(meter).is_some_and(|it| it.fair);
            match fair {
                true => format!("{meter}__{uuid}"),
                false => meter.clone(),
            }
        });
        Log {
            name: row.acl.name.clone(),
            action: match row.acl.action {
                Action::AllowRelated | Action::AllowStateless => Action::Allow,
                action => action,
            },
            severity: row.severity.clone().unwrap_or_else(|| "info".to_owned()),
            meter,
        }
    }

    fn log_related(&self, row: &AclRow, id: u32, plan: &mut Plan) {
        let asked = flow::is_true(&row.options, "log-related");
        let asked = asked && row.log && row.acl.label != 0 && plan.stateful();
        if !asked || kind(row.acl.action) != Kind::Allow {
            return;
        }
        let opposite = match row.acl.pipeline {
            Pipeline::ToLport => &BEFORE_LB,
            Pipeline::FromLport | Pipeline::FromLportAfterLb => &TO_LPORT,
        };
        let logs = &mut plan.blocks[opposite.number].log_related;
        // Of several with one label that is the first whose action is the first as text.
        let text = |id: u32| {
            let acl = self.acls.get(id as usize)?;
            Some((acl.log.as_ref()?.text(), acl.uuid))
        };
        let first = logs
            .get(&row.acl.label)
            .is_none_or(|before| text(id) < text(*before));
        if first {
            logs.insert(row.acl.label, id);
        }
    }

    /// The flows of the sample stages that an ACL brings.
    fn samples(&self, row: &AclRow, plan: &mut Plan) {
        let (new, est) = (self.sample(row.sample_new), self.sample(row.sample_est));
        let action = row.acl.action;
        let established = plan.stateful_acl && est.is_some() && action == Action::AllowRelated;
        if new.is_none() && !established {
            return;
        }
        let stateful = plan.stateful_acl && action != Action::AllowStateless;
        let block = row.acl.pipeline as usize;
        let opposite = match row.acl.pipeline {
            Pipeline::ToLport => BEFORE_LB.number,
            Pipeline::FromLport | Pipeline::FromLportAfterLb => TO_LPORT.number,
        };
        let label = row.acl.label;
        if let Some(sample) = new {
            let all = self.sampled(sample, App::AclNew);
            let samples = &mut plan.blocks[block].samples;
            let which = usize::from(!stateful);
            put(
                &mut samples.of_new[which],
                &mut samples.of_point[which],
                sample,
                &all,
                label,
                self.northbound.app_id(App::AclNew),
            );
        }
        let (true, Some(sample)) = (stateful, est) else {
            return;
        };
        let all = self.sampled(sample, App::AclEst);
        for (block, reply) in [(block, 0), (opposite, 1)] {
            let samples = &mut plan.blocks[block].samples;
            put(
                &mut samples.of_established[reply],
                &mut samples.of_label[reply],
                sample,
                &all,
                label,
                self.northbound.app_id(App::AclEst),
            );
        }
    }

    /// What a Sample's collectors get, with the number of each.
    fn sampled(&self, sample: &Sample, app: App) -> Vec<(u8, Sampled)> {
        let collectors = sample
            .collectors
            .iter()
            .filter_map(|id| self.northbound.collectors.get(id));
        let sampled = collectors.map(|collector| {
            let sampled = Sampled {
                probability: collector.probability,
                set_id: match self.release {
                    // northd prints eight bits of it before OVN 25.09.
                    Release::R25_03 => collector.set_id & 0xff,
                    Release::R26_03 => collector.set_id,
                },
                app,
                app_id: self.northbound.app_id(app),
                point: sample.point,
            };
            (collector.id, sampled)
        });
        sampled.collect()
    }
}

/// Where an ACL's flows come among those of its stage and tier.
fn place((uuid, row): &(Uuid, &AclRow), stateful: bool) -> (u16, u8, String, bool, Uuid) {
    let kind = match kind(row.acl.action) {
        Kind::Allow if stateful => 1,
        Kind::Drop if stateful => 2,
        _ => 0,
    };
    let priority = u16::MAX - row.acl.priority;
    // Matches stand in parentheses in flows.
    let text = format!("{})", row.acl.matches);
    (priority, kind, text, !row.log, *uuid)
}

/// Puts in the flow of a Sample: one for all with its collector if it has one only, else one of its own.
fn put(
    by_collector: &mut HashMap<u8, Sampled>,
    by_point: &mut HashMap<u32, Several>,
    sample: &Sample,
    all: &[(u8, Sampled)],
    label: u32,
    app_id: u8,
) {
    // OVN does not take a `sample` action without probability, nor the flow that has it.
    if let [(collector, only)] = all {
        if only.probability > 0 {
            by_collector.insert(*collector, *only);
        }
        return;
    }
    let several: Several = match app_id {
        0 => None,
        _ if all.iter().any(|(_, sampled)| sampled.probability == 0) => return,
        _ => Some(
            all.iter()
                .map(|(_, sampled)| match label {
                    0 => *sampled,
                    label => Sampled {
                        app_id: 0,
                        point: label,
                        ..*sampled
                    },
                })
                .collect(),
        ),
    };
    let point = if label == 0 { sample.point } else { label };
    // Of two with one match that is the first whose action is the first as text.
    let first = by_point
        .get(&point)
        .is_none_or(|before| text(&several) < text(before));
    if first {
        by_point.insert(point, several);
    }
}

fn text(several: &Several) -> String {
    let Some(several) = several else {
        return String::new();
    };
    let each = several.iter().map(|sampled| {
        format!(
            "sample(probability={},collector_set={},obs_domain={},obs_point={});",
            sampled.probability, sampled.set_id, sampled.app_id, sampled.point
        )
    });
    each.collect::<String>() + " next;"
}

impl Log {
    /// The action as northd writes it, for its place among others.
    fn text(&self) -> String {
        let name = self.name.as_ref();
        let name = name.map_or(String::new(), |name| format!("name=\"{name}\", "));
        let meter = self.meter.as_ref();
        let meter = meter.map_or(String::new(), |meter| format!(", meter=\"{meter}\""));
        format!(
            "log({name}severity={}, verdict=allow{meter});",
            self.severity
        )
    }
}

fn kind(action: Action) -> Kind {
    match action {
        Action::Pass | Action::AllowStateless => Kind::Free,
        Action::Allow | Action::AllowRelated => Kind::Allow,
        Action::Drop | Action::Reject => Kind::Drop,
    }
}
