//! Runs the corpus of the fuzz target: as it is, cut at each byte, and with one bit of each flipped.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

#[path = "../fuzz/check.rs"]
mod check;

#[test]
fn whole_cut_and_flipped() {
    let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/packet")).unwrap();
    let mut count = 0;
    for file in files {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        count += 1;
        check::packet(&bytes);
        for place in 0..bytes.len() {
            check::packet(&bytes[..place]);
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                check::packet(&flipped);
            }
        }
    }
    assert!(count > 5);
}
