#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    unused
)]
fn main() {
    let mut sources = netverdict_manifest::Sources::default();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).unwrap();
        let t = std::time::Instant::now();
        let (_, r) = sources.read(&path, &bytes);
        println!(
            "{} objects, {} diagnostics, passed over {:?}, {:?}",
            r.objects.len(),
            r.diagnostics.len(),
            r.passed_over,
            t.elapsed()
        );
        if r.objects.len() < 4 {
            for o in &r.objects {
                println!("{o:#?}");
            }
        }
        print!(
            "{}",
            sources.render(&r.diagnostics[..r.diagnostics.len().min(50)], false)
        );
    }
}
