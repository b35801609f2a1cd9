//! The console's files are part of the crate: what `web/` was built to anew is taken in anew.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
}
