//! OVN northbound and southbound rows, identifiers, names and owners.
