//! Collects, keeps, answers: REST, live streams, metrics.
//!
//! The crate knows a [`Store`](netverdict_store::Store), what its caller tells of the cluster
//! ([`Cluster`]), and the connections that are published as they come ([`Live`]). It holds no
//! policy logic.
#![forbid(unsafe_code)]

mod aggregates;
mod api;
mod app;
mod cluster;
mod connections;
mod explain;
mod export;
mod health;
mod limits;
mod live;
mod metrics;
mod params;
mod places;
mod policies;
mod problem;
mod query;
mod serve;
mod sources;
mod stream;
mod subject;

pub use api::{openapi, router};
pub use app::{App, Parts};
pub use cluster::{
    Cluster, Counter, Encode, Encoder, ExplainRequest, KnownRule, Refusal, SourceState,
    WhatifRequest, Workload,
};
pub use limits::Limits;
pub use live::{Live, Read};
pub use metrics::Metrics;
pub use serve::{ServeError, Server};
pub use subject::Subject;
