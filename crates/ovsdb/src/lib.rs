//! An OVSDB client (RFC 7047 and the monitor extensions of Open vSwitch) with a replica.
#![forbid(unsafe_code)]

mod change;
mod client;
mod clock;
mod codec;
mod disk;
mod dump;
mod endpoint;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod json;
mod replica;
mod row;
mod schema;
mod session;
mod transact;
mod transport;
mod update;
mod value;
mod wanted;

pub use change::{Cause, Change, ChangeSet};
pub use client::{Client, Config, Connected, Disconnected, Error, Event, Handle, Method};
pub use clock::{Clock, SystemClock};
pub use codec::ValueError;
pub use disk::LoadError;
pub use dump::{Dump, DumpError, DumpProblem};
pub use endpoint::{Endpoint, EndpointError, Endpoints, HostPort};
pub use frame::DecodeError;
pub use replica::{Replica, Table};
pub use row::Row;
pub use schema::{AtomType, ColumnType, Schema, SchemaError, TableSchema};
pub use transact::{
    Condition, Function, Mutator, Operation, OperationResult, Refusal, RefusalKind, Reply,
    TransactError, Transaction,
};
pub use transport::{Connect, Connecting, Stream, SystemConnect, TlsFiles};
pub use update::Inconsistency;
pub use value::{Atom, Columns, Datum};
pub use wanted::{Missing, Wanted};
