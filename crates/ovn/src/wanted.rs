use netverdict_ovsdb::Wanted;

/// The databases that netverdict reads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Database {
    /// A zone's NB, `OVN_Northbound`.
    Northbound,
    /// A zone's SB, `OVN_Southbound`.
    Southbound,
    /// A node's `Open_vSwitch`.
    Vswitch,
    /// A zone's NB again, for the contents of its address sets: they are many and change often, and only matches that share a sample's point
    /// need them. They come beside the other rows, so that these need not be asked for again.
    Sets,
}

impl Database {
    /// The name in the OVSDB protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Northbound | Self::Sets => "OVN_Northbound",
            Self::Southbound => "OVN_Southbound",
            Self::Vswitch => "Open_vSwitch",
        }
    }

    /// The tables and columns in use.
    pub fn wanted(self) -> Wanted {
        match self {
            Self::Northbound => northbound(),
            Self::Southbound => southbound(),
            Self::Vswitch => vswitch(),
            Self::Sets => Wanted::new().table("Address_Set", ["name", "addresses"]),
        }
    }

    /// What it is called in captures.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sets => "OVN_Northbound/Address_Set",
            database => database.name(),
        }
    }
}

/// The NB tables and columns that say what OVN samples: the ACLs and all that their samples hang
/// on.
pub fn sampling() -> Wanted {
    Wanted::new()
        .table("NB_Global", ["name", "options"])
        .table(
            "ACL",
            [
                "name",
                "priority",
                "direction",
                "match",
                "action",
                "tier",
                "label",
                "options",
                "external_ids",
                "sample_new",
                "sample_est",
            ],
        )
        .table("Sample", ["collectors", "metadata"])
        .table(
            "Sample_Collector",
            ["id", "name", "probability", "set_id", "external_ids"],
        )
        .table("Sampling_App", ["type", "id", "external_ids"])
}

/// The NB tables and columns in use. A server without some of them is asked for the rest.
fn northbound() -> Wanted {
    sampling()
        .table("Port_Group", ["name", "ports", "acls"])
        .table(
            "Logical_Switch",
            ["name", "ports", "acls", "other_config", "external_ids"],
        )
        .table(
            "Logical_Switch_Port",
            ["name", "type", "addresses", "options", "external_ids"],
        )
        .table("Logical_Router", ["name", "ports", "external_ids"])
        .table("Logical_Router_Port", ["name", "networks"])
        .table(
            "Load_Balancer",
            ["name", "vips", "protocol", "external_ids"],
        )
}

/// The SB tables and columns in use: the names behind datapath keys, and the logical flows that
/// samples of the drop application point at.
fn southbound() -> Wanted {
    Wanted::new()
        .table("Datapath_Binding", ["tunnel_key", "external_ids"])
        .table(
            "Logical_Flow",
            ["pipeline", "priority", "match", "actions", "external_ids"],
        )
}

/// The tables and columns of the local Open vSwitch in use: which interface carries which
/// logical port.
fn vswitch() -> Wanted {
    Wanted::new().table("Interface", ["name", "ifindex", "external_ids"])
}
