//! An OVSDB client (RFC 7047 and the monitor extensions of Open vSwitch) with a replica.
//!
//! - [`Client`] keeps a [`Replica`] of the tables and columns that are [`Wanted`] in step with a
//!   server, over unix, tcp and ssl, and tells each step as an [`Event`]. Of a server that
//!   restarts, forgets, moves its leader or changes its schema, what was missed comes as one
//!   [`ChangeSet`] with [`Cause::Gap`].
//! - [`Replica::from_dump`] reads what `ovsdb-client dump -f json` prints, and
//!   [`Replica::from_rows`] takes rows made by hand: code that takes rows need not ask where they
//!   come from.
//! - [`Transaction`] writes, by [`Client::transact`] or a [`Handle`].
//!
//! Rows are decoded while they arrive, so that a database of any size needs room for its rows and
//! not for its JSON as well. A connection that is idle costs no wake-up on unix sockets.
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
