//! The query language of netverdict: parse, explain errors, plan, evaluate on a record.
//!
//! A text becomes a [`Query`], which is typed and prints itself back; a query and a moment become
//! a [`Plan`], a plain tree of tests that is evaluated on any [`Record`] or translated by a store.
//!
//! ```
//! use netverdict_query::{Query, Record, Field, Value, parse};
//! use netverdict_types::Timestamp;
//!
//! struct Row;
//! impl Record for Row {
//!     fn value(&self, field: Field) -> Value<'_> {
//!         match field {
//!             Field::DstNamespace => Value::Text("blue"),
//!             Field::DstPort => Value::Number(8080),
//!             _ => Value::Missing,
//!         }
//!     }
//! }
//!
//! let query = parse("namespace=blue and dst.port in 8000..8100 and not verdict=allowed")?;
//! let plan = query.plan(Timestamp(0));
//! assert!(plan.matches(&Row));
//! assert_eq!(parse(&query.to_string())?, query);
//!
//! let error = parse("nmespace=blue").unwrap_err();
//! assert!(error.report().to_string().contains("did you mean `namespace`?"));
//! # Ok::<(), netverdict_query::QueryError>(())
//! ```
//!
//! The language is described in `docs/query-language.md`.
#![forbid(unsafe_code)]

pub mod ask;
pub mod flags;
pub mod live;

mod complete;
mod error;
mod field;
mod glob;
mod lex;
mod literal;
mod net;
mod parse;
mod plan;
mod query;
mod question;
mod record;

pub use complete::{Completion, CompletionKind, Grammar, complete, complete_with};
pub use error::{ErrorKind, QueryError, Report};
pub use field::{Field, HalfField, Kind, Name, Operator, Words, owner_kind_word};
pub use glob::{Glob, GlobPart};
pub use literal::moment;
pub use net::Network;
pub use parse::{MAX_BYTES, MAX_DEPTH, parse};
pub use plan::{Check, Plan, Test};
pub use query::Query;
pub use question::{DEFAULT_LINES, MAX_ITEMS, MAX_LINES, Question};
pub use record::{Record, Value};
