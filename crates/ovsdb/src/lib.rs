//! An OVSDB client (RFC 7047 and the monitor extensions of Open vSwitch) with a replica.
#![forbid(unsafe_code)]

mod change;
mod codec;
mod dump;
mod endpoint;
mod json;
mod replica;
mod row;
mod schema;
mod transact;
mod value;
mod wanted;

pub use change::{Cause, Change, ChangeSet};
pub use codec::ValueError;
pub use dump::{Dump, DumpError, DumpProblem};
pub use endpoint::{Endpoint, EndpointError, Endpoints, HostPort};
pub use replica::{Replica, Table};
pub use row::Row;
pub use schema::{AtomType, ColumnType, Schema, SchemaError, TableSchema};
pub use transact::{
    Condition, Function, Mutator, Operation, OperationResult, Refusal, RefusalKind, Reply,
    TransactError, Transaction,
};
pub use value::{Atom, Columns, Datum};
pub use wanted::{Missing, Wanted};
