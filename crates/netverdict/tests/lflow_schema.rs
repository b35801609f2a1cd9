//! What `lflow -o json` prints is what `docs/lflow.schema.json` documents.
#![allow(clippy::unwrap_used, clippy::panic)] // Of helpers; tests may anyway.

mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use netverdict_pipeline::Stage;
use serde_json::Value;

use schema::fits;

#[test]
fn real_output_is_as_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/lflow.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    for version in ["25.03", "26.03"] {
        let output = Command::new(env!("CARGO_BIN_EXE_netverdict"))
            .args([
                "lflow",
                "-o",
                "json",
                "--ovn-version",
                version,
                "--manifests",
            ])
            .arg(root.join("crates/policy/tests/golden/cases"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut stages = BTreeSet::new();
        let mut with_origin = 0;
        for line in text.lines() {
            let flow: Value = serde_json::from_str(line).unwrap();
            if let Err(fault) = fits(&schema, &schema, &flow) {
                panic!("{fault}\n{line}");
            }
            stages.insert(flow["stage"].as_str().unwrap().to_owned());
            with_origin += usize::from(flow["acl"].get("origins").is_some());
        }
        assert_eq!(
            stages,
            Stage::ALL.map(|stage| stage.name().to_owned()).into()
        );
        assert!(
            with_origin > 100,
            "{with_origin} flows say where they come from"
        );
    }
}
