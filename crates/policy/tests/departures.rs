//! Where ovn-kubernetes departs from the Kubernetes API a warning says so, and strict mode does
//! not follow.

use netverdict_manifest::{Cidr, Diagnostic, Sources};
use netverdict_policy::{Compat, Compiler, Options, Row};

const CLUSTER: &str = include_str!("departures/cluster.yaml");

fn compiled(compat: Compat) -> (Sources, Compiler) {
    let subnet = Cidr {
        address: [10, 244, 0, 0].into(),
        prefix: 16,
    };
    let mut sources = Sources::default();
    let (_, reading) = sources.read("cluster.yaml", CLUSTER.as_bytes());
    assert_eq!(reading.diagnostics, []);
    let mut compiler = Compiler::new(Options {
        compat,
        stateless: true,
        cluster_subnets: vec![subnet],
        ..Options::default()
    });
    for object in reading.objects {
        compiler.put(object);
    }
    compiler.compile();
    (sources, compiler)
}

fn told(compat: Compat) -> String {
    let (sources, compiler) = compiled(compat);
    let diagnostics: Vec<Diagnostic> = compiler.diagnostics().cloned().collect();
    sources.render(&diagnostics, false)
}

/// The matches of the policies' ACLs by what names them, without the port group.
fn matches(compat: Compat) -> String {
    let (_, compiler) = compiled(compat);
    let line = |row: &Row| -> Option<String> {
        let (_, name) = row.key.split_once(":NetworkPolicy:")?;
        let (_, matches) = row.columns.iter().find(|(column, _)| *column == "match")?;
        let (term, _) = matches.scalar()?.as_str()?.rsplit_once(" && ")?;
        Some(format!("{name}  {term}"))
    };
    let mut lines: Vec<String> = compiler.rows().filter_map(line).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn each_departure_is_told_at_its_place() {
    insta::assert_snapshot!(told(Compat::OvnKubernetes));
}

#[test]
fn strict_mode_does_not_depart() {
    let told = told(Compat::Strict);
    // It is the annotation that asks for this one.
    assert_eq!(told.matches("departs-from-api").count(), 1, "{told}");
}

#[test]
fn what_ovn_kubernetes_makes() {
    insta::assert_snapshot!(matches(Compat::OvnKubernetes));
}

#[test]
fn what_the_api_says() {
    insta::assert_snapshot!(matches(Compat::Strict));
}
