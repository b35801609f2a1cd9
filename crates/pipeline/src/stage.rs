use crate::conntrack::Conntrack;
use crate::{Observer, State, SwitchId};

/// A table of a logical switch in which ACLs are at work, by the name that northd gives it (northd.h, `PIPELINE_STAGES`). Numbers of tables
/// change from version to version, names do not.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs)]
pub enum Stage {
    InPreAcl,
    InAclHint,
    InAclEval,
    InAclSample,
    InAclAction,
    InAclAfterLbEval,
    InAclAfterLbSample,
    InAclAfterLbAction,
    InStateful,
    OutPreAcl,
    OutAclHint,
    OutAclEval,
    OutAclSample,
    OutAclAction,
    OutStateful,
}

impl Stage {
    /// All of them, in the order in which a packet meets them.
    pub const ALL: [Self; 15] = [
        Self::InPreAcl,
        Self::InAclHint,
        Self::InAclEval,
        Self::InAclSample,
        Self::InAclAction,
        Self::InAclAfterLbEval,
        Self::InAclAfterLbSample,
        Self::InAclAfterLbAction,
        Self::InStateful,
        Self::OutPreAcl,
        Self::OutAclHint,
        Self::OutAclEval,
        Self::OutAclSample,
        Self::OutAclAction,
        Self::OutStateful,
    ];

    /// Its name: `ls_in_acl_eval`.
    pub fn name(self) -> &'static str {
        match self {
            Self::InPreAcl => "ls_in_pre_acl",
            Self::InAclHint => "ls_in_acl_hint",
            Self::InAclEval => "ls_in_acl_eval",
            Self::InAclSample => "ls_in_acl_sample",
            Self::InAclAction => "ls_in_acl_action",
            Self::InAclAfterLbEval => "ls_in_acl_after_lb_eval",
            Self::InAclAfterLbSample => "ls_in_acl_after_lb_sample",
            Self::InAclAfterLbAction => "ls_in_acl_after_lb_action",
            Self::InStateful => "ls_in_stateful",
            Self::OutPreAcl => "ls_out_pre_acl",
            Self::OutAclHint => "ls_out_acl_hint",
            Self::OutAclEval => "ls_out_acl_eval",
            Self::OutAclSample => "ls_out_acl_sample",
            Self::OutAclAction => "ls_out_acl_action",
            Self::OutStateful => "ls_out_stateful",
        }
    }

    /// Whether it is in the ingress pipeline.
    pub fn is_ingress(self) -> bool {
        self < Self::OutPreAcl
    }
}

/// Tables of a switch that a packet goes through without anything else between them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Block {
    /// `ls_in_pre_acl`: whether to track the packet (`reg0[0]`), or never to (`reg0[16]`).
    InPreAcl,
    /// `ls_in_acl_hint` to `ls_in_acl_action`.
    InAcl,
    /// `ls_in_acl_after_lb_eval` to `ls_in_acl_after_lb_action`.
    InAclAfterLb,
    /// `ls_in_stateful`: commits.
    InStateful,
    /// `ls_out_pre_acl`.
    OutPreAcl,
    /// `ls_out_acl_hint` to `ls_out_acl_action`.
    OutAcl,
    /// `ls_out_stateful`: commits.
    OutStateful,
}

impl Block {
    /// Its tables, in their order.
    pub fn stages(self) -> &'static [Stage] {
        let (first, count) = match self {
            Self::InPreAcl => (0, 1),
            Self::InAcl => (1, 4),
            Self::InAclAfterLb => (5, 3),
            Self::InStateful => (8, 1),
            Self::OutPreAcl => (9, 1),
            Self::OutAcl => (10, 4),
            Self::OutStateful => (14, 1),
        };
        Stage::ALL.get(first..first + count).unwrap_or_default()
    }
}

/// What becomes of a packet in a block of tables.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fate {
    /// It goes on.
    Next,
    /// It ends here.
    Drop,
    /// It ends here, and whoever sent it is told.
    Reject,
}

/// Runs packets through the ACL stages of switches.
pub trait Stages {
    /// Takes a packet through a block of tables of a switch. What the tables read and write is in `state`; commits go to the zone `state.ct_zone`
    /// of `conntrack`; samples, log lines and the rest are told to `observer`.
    fn run(
        &mut self,
        switch: SwitchId,
        block: Block,
        state: &mut State,
        conntrack: &mut Conntrack,
        observer: &mut impl Observer,
    ) -> Fate;
}
