use netverdict_ovsdb::Wanted;

/// The NB tables and columns in use. A server without some of them is asked for the rest.
pub fn northbound() -> Wanted {
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

/// The SB tables and columns in use: the names behind datapath keys, and with `flows` the logical
/// flows that samples of the drop application point at.
pub fn southbound(flows: bool) -> Wanted {
    let wanted = Wanted::new().table("Datapath_Binding", ["tunnel_key", "external_ids"]);
    if flows {
        wanted.table(
            "Logical_Flow",
            ["pipeline", "priority", "match", "actions", "external_ids"],
        )
    } else {
        wanted
    }
}

/// The tables and columns of the local Open vSwitch in use: which interface carries which
/// logical port.
pub fn vswitch() -> Wanted {
    Wanted::new().table("Interface", ["name", "ifindex", "external_ids"])
}
