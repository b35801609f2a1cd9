//! Runs packets through the ACL stages compiled: fixed flows as code, ACLs in a classifier.
