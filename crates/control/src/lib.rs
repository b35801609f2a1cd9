//! Everything that writes to OVN and OVS: sampling on and off, apply.
