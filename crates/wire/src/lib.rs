//! Codecs without sockets: psample, IPFIX, ACL logs, conntrack, datapath flows, packets, captures.
#![forbid(unsafe_code)]

pub mod acl_log;
pub mod capture;
pub mod conntrack;
pub mod dpflows;
pub mod headers;
pub mod ipfix;
pub mod pcap;
pub mod psample;
