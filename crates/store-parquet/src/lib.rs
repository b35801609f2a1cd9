//! Connections in Parquet files of a directory, asked with DataFusion.
#![forbid(unsafe_code)]
mod names;
mod row;
