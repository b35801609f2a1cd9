//! An OVSDB client (RFC 7047 and the monitor extensions of Open vSwitch) with a replica.
#![forbid(unsafe_code)]

mod change;
mod endpoint;
mod replica;
mod row;
mod schema;
mod value;
mod wanted;

pub use change::{Cause, Change, ChangeSet};
pub use endpoint::{Endpoint, EndpointError, Endpoints, HostPort};
pub use replica::{Replica, Table};
pub use row::Row;
pub use schema::{AtomType, ColumnType, Schema, SchemaError, TableSchema};
pub use value::{Atom, Columns, Datum};
pub use wanted::{Missing, Wanted};
