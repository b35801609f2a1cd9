use netverdict_ovn::{Database, sampling};
use netverdict_ovsdb::Wanted;

/// The tables and columns that the planners and [`status`](crate::status) read.
pub fn wanted(database: Database) -> Wanted {
    match database {
        Database::Northbound => sampling(),
        Database::Sets => database.wanted(),
        Database::Southbound => Wanted::new().table("Chassis", ["name", "other_config"]),
        Database::Vswitch => Wanted::new()
            .table("Open_vSwitch", ["bridges", "datapaths", "external_ids"])
            .table("Bridge", ["name", "datapath_type", "ipfix"])
            .table("Datapath", ["capabilities"])
            .table(
                "Flow_Sample_Collector_Set",
                ["id", "bridge", "ipfix", "local_group_id", "external_ids"],
            )
            .table("IPFIX", crate::vswitch::IPFIX_COLUMNS),
    }
}
