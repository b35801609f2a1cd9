//! Collects, keeps, answers: REST, live streams, metrics.
#![forbid(unsafe_code)]
