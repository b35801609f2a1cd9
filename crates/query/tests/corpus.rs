//! The corpus of the fuzz target, as it is and with each bit turned around.

#[path = "../fuzz/check.rs"]
mod check;

use std::fs;
use std::path::Path;

use netverdict_query::parse;

#[test]
fn corpus_and_its_bit_flips_hold() {
    let mut good = 0;
    let mut texts = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        good += usize::from(parse(&text).is_ok());
        texts += 1;
        check::check(&text);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check::check(&String::from_utf8_lossy(&flipped));
        }
    }
    // Both kinds are worth starting from.
    assert!(good > 10 && texts - good > 3, "{good} of {texts}");
}

#[test]
fn corpus_cut_anywhere_holds() {
    for entry in fs::read_dir(corpus()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for (end, _) in text.char_indices() {
            check::check(&text[..end]);
        }
    }
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/parse")
}
