//! Reads manifests and shows what is in them: `read FILE…`
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::Instant;

use netverdict_manifest::Sources;

fn main() -> Result<(), std::io::Error> {
    let mut sources = Sources::default();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let start = Instant::now();
        let (_, reading) = sources.read(&path, &bytes);
        let took = start.elapsed();
        eprint!("{}", sources.render(&reading.diagnostics, false));
        for object in &reading.objects {
            println!("{}", object.key);
        }
        let passed_over = reading.passed_over.values().sum::<usize>();
        let objects = reading.objects.len();
        eprintln!("{path}: {objects} objects, {passed_over} passed over, in {took:?}");
    }
    Ok(())
}
