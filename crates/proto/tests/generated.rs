//! The generated code is that of the .proto file. After a change of it:
//! `UPDATE=1 cargo test -p netverdict-proto --test generated`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

#[test]
fn generated_code_is_current() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = protox::compile(["netverdict/v1/collector.proto"], [here.join("proto")]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(directory.path())
        .compile_fds(files)
        .unwrap();
    let made = fs::read_to_string(directory.path().join("netverdict.v1.rs")).unwrap();
    let kept = here.join("src/generated.rs");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&kept, &made).unwrap();
    }
    assert!(
        made == fs::read_to_string(&kept).unwrap(),
        "UPDATE=1 cargo test -p netverdict-proto --test generated"
    );
}
