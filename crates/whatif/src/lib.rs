//! Recorded connections judged again under other policies.
#![forbid(unsafe_code)]
