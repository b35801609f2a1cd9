//! The corpus of the fuzz target, as it is and with bits turned around.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

#[path = "../fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

#[test]
fn corpus() {
    for bytes in corpus_files() {
        check::check(&bytes);
    }
}

/// One bit of every 53rd byte.
#[test]
fn corpus_with_bits_turned_around() {
    for bytes in corpus_files() {
        for at in (0..bytes.len()).step_by(53) {
            let mut other = bytes.clone();
            other[at] ^= 1 << (at % 8);
            check::check(&other);
        }
    }
}

/// Every 53rd byte missing, and all behind it.
#[test]
fn corpus_cut() {
    for bytes in corpus_files() {
        for at in (0..bytes.len()).step_by(53) {
            check::check(&bytes[..at]);
            let mut other = bytes.clone();
            other.remove(at);
            check::check(&other);
        }
    }
}

fn corpus_files() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read");
    let entries = fs::read_dir(directory).unwrap();
    let files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let files = files.collect::<Vec<_>>();
    assert!(!files.is_empty());
    files
}
