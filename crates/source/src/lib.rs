//! Live inputs: psample netlink, IPFIX, ACL log, conntrack, datapath flows, captures.
