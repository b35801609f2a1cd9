//! Collects, keeps, answers: REST, live streams, metrics.
//!
//! The crate knows a [`Store`](netverdict_store::Store), what its caller tells of the cluster
//! ([`Cluster`]), and the connections that are published as they come ([`Live`]). It holds no
//! policy logic.
#![forbid(unsafe_code)]

mod access;
mod aggregates;
mod api;
mod app;
mod audit;
mod cache;
mod certified;
mod cluster;
mod collector;
mod connections;
mod console;
mod explain;
mod export;
mod health;
mod limits;
mod listing;
mod live;
mod metrics;
mod params;
mod places;
mod policies;
mod policy;
mod problem;
mod query;
mod rate;
mod reviews;
mod roles;
mod serve;
mod sources;
mod stream;
mod subject;
mod tls;
mod who;

pub use access::{Access, AccessError, AccessFiles};
pub use api::{openapi, router};
pub use app::{App, Parts};
pub use axum::Router;
pub use cluster::{
    Asker, Cluster, Counter, Encode, Encoder, ExplainRequest, Health, HealthFinding, Isolated,
    Isolation, KnownAcl, KnownPolicy, KnownRule, Mistake, PolicyName, Refusal, SampledAcls,
    SourceState, WhatifRequest, Workload, Written, WrittenAt, WrittenRule, ZoneHealth,
};
pub use collector::{Arrival, Collector, CollectorCounts, Positions};
pub use console::has_console;
pub use limits::Limits;
pub use live::{Live, Read, Update};
pub use metrics::Metrics;
pub use reviews::Kubernetes;
pub use roles::TextError;
pub use serve::{Security, ServeError, Server};
pub use subject::{Namespaces, Subject};
pub use tls::{Tls, TlsError, TlsFiles};
