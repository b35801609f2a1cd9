//! What is told about policies that are right by themselves, as people see it.

use netverdict_manifest::{Diagnostic, Sources};
use netverdict_policy::{Compiler, Options};

fn told(text: &str) -> String {
    let mut sources = Sources::default();
    let (_, reading) = sources.read("cluster.yaml", text.as_bytes());
    assert_eq!(reading.diagnostics, []);
    let mut compiler = Compiler::new(Options::default());
    for object in reading.objects {
        compiler.put(object);
    }
    compiler.compile();
    let diagnostics: Vec<Diagnostic> = compiler.diagnostics().cloned().collect();
    sources.render(&diagnostics, false)
}

#[test]
fn each_check_points_at_its_place() {
    insta::assert_snapshot!(told(include_str!("checks/cluster.yaml")));
}

#[test]
fn without_pods_nobody_knows_what_a_selector_selects() {
    let text = include_str!("checks/cluster.yaml").replace("kind: Pod\n", "kind: Other\n");
    assert!(!told(&text).contains("selects-nothing"));
}
