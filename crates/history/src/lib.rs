//! Revisions of OVN rows on a time line: content-addressed, on disk, bounded.
