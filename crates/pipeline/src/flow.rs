//! The logical flows of the ACL stages, as ovn-northd writes them (northd.c of OVN 25.03 and 26.03).
//!
//! A flow comes from an ACL, from something that several ACLs share (a collector of samples), or from what the switch is like as a whole. So what
//! is written of an ACL depends on the ACL's rows and on three bits of the switch, and a change is followed by writing just what depends on it.
//!
//! northd asks the chassis whether Open vSwitch can sample with what a register says (3.4 and later), and whether it can flush conntrack by label;
//! both are taken for granted here. The numbers of ACLs with `persist-established` are known only to the southbound database
//! ([`Northbound::acl_numbers`]); without them such an ACL's flows are those that northd writes before it gave the number.

mod acl;
mod facts;
mod fixed;
mod live;

use std::sync::Arc;

use uuid::Uuid;

use crate::{Northbound, Stage, SwitchId};

pub(crate) use facts::{Facts, Peers, is_false, is_true, peers, untracked};
pub use live::{Delta, Flows};

/// A logical flow.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LogicalFlow {
    /// The table.
    pub stage: Stage,
    /// 0..65535; the highest that matches wins.
    pub priority: u16,
    /// The match (ovn-sb(5), Logical_Flow).
    pub matches: Arc<str>,
    /// The actions.
    pub actions: Arc<str>,
    /// The ACL that it comes from, the first by UUID if several say the same; `None` for what every switch has, and for the flows that many ACLs
    /// share.
    pub acl: Option<Uuid>,
    /// The meter of what goes to ovn-controller (ovn-sb(5), `controller_meter`).
    pub controller_meter: Option<Arc<str>>,
}

/// Which OVN's flows to write.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Release {
    /// 25.03.
    #[default]
    R25_03,
    /// 26.03.
    R26_03,
}

impl Release {
    /// The number of a table (northd.h, `PIPELINE_STAGES`).
    pub fn table(self, stage: Stage) -> u8 {
        let (old, new) = match stage {
            Stage::InPreAcl => (4, 5),
            Stage::InAclHint => (7, 8),
            Stage::InAclEval => (8, 9),
            Stage::InAclSample => (9, 10),
            Stage::InAclAction => (10, 11),
            Stage::InAclAfterLbEval => (18, 20),
            Stage::InAclAfterLbSample => (19, 21),
            Stage::InAclAfterLbAction => (20, 22),
            Stage::InStateful => (21, 24),
            Stage::OutPreAcl => (2, 2),
            Stage::OutAclHint => (5, 5),
            Stage::OutAclEval => (6, 6),
            Stage::OutAclSample => (7, 7),
            Stage::OutAclAction => (8, 8),
            Stage::OutStateful => (10, 12),
        };
        match self {
            Self::R25_03 => old,
            Self::R26_03 => new,
        }
    }

    /// The tables in which the answer to who is rejected enters the egress and the ingress pipeline: `ls_out_qos`, `ls_in_l2_lkup`.
    fn answers(self) -> (u8, u8) {
        match self {
            Self::R25_03 => (9, 28),
            Self::R26_03 => (10, 32),
        }
    }
}

/// The flows of one switch, as northd would write them: by table, the highest priority first, then by match and actions; each once.
pub fn flows(northbound: &Northbound, switch: SwitchId, release: Release) -> Vec<LogicalFlow> {
    Flows::only(northbound, switch, release)
}

/// Stages of the blocks in which ACLs are evaluated, by [`netverdict_types::Pipeline`]; the number is `ct_mark.obs_stage` (northd.c,
/// `acl_observation_stage`).
const BLOCKS: [(Stage, Stage, Stage); 3] = [
    (Stage::InAclEval, Stage::InAclSample, Stage::InAclAction),
    (
        Stage::InAclAfterLbEval,
        Stage::InAclAfterLbSample,
        Stage::InAclAfterLbAction,
    ),
    (Stage::OutAclEval, Stage::OutAclSample, Stage::OutAclAction),
];

/// What northd adds to an ACL's priority.
const OFFSET: u16 = 1000;

/// What is written into, and by whom.
#[derive(Debug, Default)]
struct Writer {
    flows: Vec<LogicalFlow>,
    acl: Option<Uuid>,
}

impl Writer {
    fn add(
        &mut self,
        stage: Stage,
        priority: u16,
        matches: impl Into<Arc<str>>,
        actions: impl Into<Arc<str>>,
    ) {
        self.flows.push(LogicalFlow {
            stage,
            priority,
            matches: matches.into(),
            actions: actions.into(),
            acl: self.acl,
            controller_meter: None,
        });
    }

    /// The same flow in several stages.
    fn each<const N: usize>(
        &mut self,
        stages: [Stage; N],
        priority: u16,
        matches: &str,
        actions: &str,
    ) {
        let (matches, actions): (Arc<str>, Arc<str>) = (matches.into(), actions.into());
        for stage in stages {
            self.add(stage, priority, matches.clone(), actions.clone());
        }
    }
}
