//! What was seen, before anybody says what it means.

use std::path::PathBuf;

use netverdict_control::Status;
use netverdict_ovsdb::{Columns, Datum, Replica, Row};
use netverdict_types::Timestamp;

/// All facts of one examination.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) time: Timestamp,
    /// `None` where all databases are dumps: they tell of another machine.
    pub(super) machine: Option<Machine>,
    /// Files for TLS that were named.
    pub(super) tls: Vec<NamedFile>,
    /// One a zone, in the order given; one without databases where there are none.
    pub(super) zones: Vec<Zone>,
}

/// The kernel and this process's rights.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// `uname -r`.
    pub(super) kernel: String,
    pub(super) psample: Psample,
    /// The psample module is on disk, or part of the kernel.
    pub(super) has_psample_module: bool,
    /// The openvswitch module is loaded.
    pub(super) datapath: bool,
    /// Effective CAP_NET_ADMIN.
    pub(super) net_admin: bool,
    /// `net.core.rmem_max`, in bytes.
    pub(super) rmem_max: Option<u64>,
    pub(super) conntrack: Conntrack,
    /// `net.netfilter.nf_conntrack_acct`.
    pub(super) conntrack_counts: Option<bool>,
    /// `net.netfilter.nf_conntrack_timestamp`.
    pub(super) conntrack_times: Option<bool>,
    /// The directory for state; `None` where there is no home for it.
    pub(super) state: Option<NamedFile>,
    /// This program.
    pub(super) program: PathBuf,
}

/// What became of an attempt to receive samples.
#[derive(Clone, Debug)]
pub(super) enum Psample {
    Opened,
    NoFamily,
    NoPermission,
    Failed(String),
}

/// What became of an attempt to read conntrack entries.
#[derive(Clone, Debug)]
pub(super) enum Conntrack {
    /// So many entries.
    Read(u64),
    /// nf_conntrack is not loaded.
    NotLoaded,
    Failed(String),
}

/// A file or directory, and what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) flag: &'static str,
    pub(super) path: PathBuf,
    pub(super) fault: Option<String>,
}

/// One zone's databases and daemons.
#[derive(Clone, Debug, Default)]
pub(super) struct Zone {
    /// `NB_Global.name`, where several zones are examined.
    pub(super) name: Option<String>,
    pub(super) nb: Reach,
    pub(super) sb: Reach,
    pub(super) ovs: Reach,
    /// How sampling stands, where there is a NB.
    pub(super) status: Option<Status>,
    pub(super) policy: Policy,
    /// The node, where its Open vSwitch was reached.
    pub(super) node: Option<Node>,
    /// `None` where Open vSwitch runs elsewhere.
    pub(super) vswitchd: Option<Daemon>,
    /// `None` where OVN runs elsewhere.
    pub(super) controller: Option<Daemon>,
}

/// What became of a database.
#[derive(Clone, Debug, Default)]
pub(super) enum Reach {
    /// None was given or found.
    #[default]
    Absent,
    /// Its rows are there.
    There { at: String, schema: Option<String> },
    Failed {
        at: String,
        error: String,
        fault: Fault,
    },
}

/// Why a database cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// Nothing is at that place.
    NoServer,
    /// The system does not let us.
    NoPermission,
    /// A dump that is none, TLS, a server without the database, and the like.
    Other,
}

/// What a NB says beyond [`Status`].
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// northd has worked on this NB.
    pub(super) northd: bool,
    /// The highest tier of ACLs whose established packets are sampled.
    pub(super) highest_est_tier: Option<u8>,
    /// `NB_Global.options:debug_drop_collector_set`.
    pub(super) drop_set: Option<u32>,
}

/// What Open vSwitch says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// `Open_vSwitch.ovs_version`, which the init script writes, if it does.
    pub(super) version: Option<String>,
    /// The schema knows `Flow_Sample_Collector_Set.local_group_id` (Open vSwitch 3.4).
    pub(super) has_groups: bool,
    /// `Open_vSwitch.other_config:hw-offload`.
    pub(super) offload: bool,
    /// ovs-vswitchd has carried out all that was written (`cur_cfg` equals `next_cfg`).
    pub(super) is_current: bool,
    /// The bridge of ovn-controller, by control's eyes.
    pub(super) bridge: Option<netverdict_control::Node>,
    /// That bridge's `datapath_type`, `system` where it is empty.
    pub(super) datapath: Option<String>,
}

/// What became of a question to a daemon's control socket.
#[derive(Clone, Debug)]
pub(super) enum Daemon {
    /// There is no socket.
    Absent(PathBuf),
    /// There is one, and this came of it.
    Silent(String),
    /// Its version, as it prints it.
    Answers(String),
}

impl Zone {
    /// Reads what the rows say.
    pub(super) fn read(
        &mut self,
        nb: Option<&Replica>,
        sb: Option<&Replica>,
        ovs: Option<&Replica>,
    ) {
        if let Some(nb) = nb {
            self.status = Some(netverdict_control::status(nb, sb, ovs));
            self.policy = Policy::read(nb);
        }
        self.node = ovs.map(|ovs| {
            let bridge = match &self.status {
                Some(status) => status.node.clone(),
                // What is known of the node does not depend on policies.
                None => {
                    let no_policy = Replica::from_rows("OVN_Northbound", []);
                    netverdict_control::status(&no_policy, None, Some(ovs)).node
                }
            };
            Node::read(ovs, bridge)
        });
    }
}

impl Policy {
    fn read(nb: &Replica) -> Self {
        let option = |key| {
            let mut rows = nb.rows("NB_Global");
            rows.find_map(|row| row.column("options")?.lookup(key))
        };
        let tiers = nb
            .rows("ACL")
            .filter(|row| row.reference("sample_est").is_some());
        Self {
            northd: option("northd_internal_version").is_some(),
            highest_est_tier: tiers
                .map(|row| u8::try_from(row.integer("tier").unwrap_or(0)).unwrap_or(0))
                .max(),
            drop_set: option("debug_drop_collector_set")
                .and_then(|set| set.parse().ok())
                .filter(|set| *set != 0),
        }
    }
}

impl Node {
    fn read(ovs: &Replica, bridge: Option<netverdict_control::Node>) -> Self {
        let switch = ovs.rows("Open_vSwitch").next();
        let text = |row: &Row, column| {
            let atom = row.column(column).and_then(Datum::scalar)?;
            atom.as_str().map(str::to_owned)
        };
        let datapath = bridge.as_ref().and_then(|bridge| {
            let mut rows = ovs.rows("Bridge");
            let row = rows.find(|row| row.text("name") == Some(&bridge.bridge))?;
            Some(match row.text("datapath_type") {
                None | Some("") => "system".to_owned(),
                Some(kind) => kind.to_owned(),
            })
        });
        Self {
            version: switch.and_then(|row| text(row, "ovs_version")),
            has_groups: !ovs
                .missing()
                .has("Flow_Sample_Collector_Set", "local_group_id"),
            offload: switch
                .and_then(|row| row.column("other_config")?.lookup("hw-offload"))
                .is_some_and(|value| value == "true"),
            is_current: switch.is_none_or(|row| row.integer("cur_cfg") == row.integer("next_cfg")),
            bridge,
            datapath,
        }
    }
}
