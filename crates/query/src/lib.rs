//! The query language of netverdict: parse, explain errors, plan, evaluate on a record.
