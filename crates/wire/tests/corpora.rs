//! Runs the corpora of the fuzz targets: as they are, cut at each byte, and with each bit of
//! some bytes flipped.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;

#[test]
fn whole_cut_and_flipped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, check) in checks::ALL {
        let mut files = 0;
        for file in fs::read_dir(root.join(name)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            files += 1;
            check(&bytes);
            // Cuts and flips at most so many places of a file, spread evenly.
            let step = bytes.len() / 400 + 1;
            for place in (0..bytes.len()).step_by(step) {
                check(&bytes[..place]);
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << (place / step % 8);
                check(&flipped);
            }
        }
        assert!(files > 0, "{name} has no corpus");
    }
}
