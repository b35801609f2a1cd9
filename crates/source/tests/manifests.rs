//! Names from YAML and JSON files.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use netverdict_source::manifests::Manifests;
use netverdict_verdict::Endpoints;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What files say, and the problems without their directory.
fn read(directory: &Path) -> (BTreeMap<String, String>, Vec<String>) {
    let manifests = Manifests::read([directory]).unwrap();
    let problems = manifests.problems().iter().map(|problem| {
        let mut problem = problem.clone();
        if let Some((file, _)) = &mut problem.place {
            let path = Path::new(&*file).strip_prefix(directory).unwrap();
            *file = path.display().to_string();
        }
        problem.to_string()
    });
    let problems = problems.collect();
    (names(manifests), problems)
}

fn names(manifests: Manifests) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut take = |changes: Vec<netverdict_verdict::NameChange>| {
        for change in changes {
            let endpoint = change.endpoint.unwrap();
            let of = endpoint
                .namespace
                .map_or(String::new(), |namespace| format!("{namespace}/"));
            let told = format!("{} {of}{}", endpoint.kind.as_str(), endpoint.name.unwrap());
            names.insert(format!("{} {}", change.network, change.ip), told);
        }
        ControlFlow::Continue(())
    };
    Box::new(manifests).run(&mut take).unwrap();
    names
}

fn one(name: &str, text: impl AsRef<[u8]>) -> (BTreeMap<String, String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(name), text).unwrap();
    read(directory.path())
}

const LIST: &str = r#"apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      k8s.ovn.org/pod-networks: '{"default":{"ip_addresses":["10.244.1.5/24"]},"blue/tenant":{"ip_addresses":["10.1.0.4/16"]}}'
    creationTimestamp: "2026-01-01T00:00:00Z"
    name: web
    namespace: blue
  spec:
    nodeName: w1
  status:
    phase: Running
    podIP: 10.244.1.5
    podIPs:
    - ip: 10.244.1.5
    - ip: fd00:1::5
- apiVersion: v1
  kind: Node
  metadata:
    name: w1
  status:
    addresses:
    - {address: 172.18.0.3, type: InternalIP}
    - {address: w1, type: Hostname}
- apiVersion: v1
  kind: Pod
  metadata: {name: bad, namespace: blue}
  status: {podIPs: none}
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: blue}
  spec:
    clusterIPs: [10.96.0.7, "fd01::7"]
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: other}
  spec: 7
kind: List
metadata:
  resourceVersion: ""
"#;

/// The same.
fn list() -> Value {
    let networks = r#"{"default":{"ip_addresses":["10.244.1.5/24"]},"blue/tenant":{"ip_addresses":["10.1.0.4/16"]}}"#;
    json!({
        "apiVersion": "v1",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "annotations": {"k8s.ovn.org/pod-networks": networks},
                    "creationTimestamp": "2026-01-01T00:00:00Z",
                    "name": "web",
                    "namespace": "blue",
                },
                "spec": {"nodeName": "w1"},
                "status": {
                    "phase": "Running",
                    "podIP": "10.244.1.5",
                    "podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00:1::5"}],
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "w1"},
                "status": {"addresses": [
                    {"address": "172.18.0.3", "type": "InternalIP"},
                    {"address": "w1", "type": "Hostname"},
                ]},
            },
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "bad", "namespace": "blue"},
                "status": {"podIPs": "none"},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": "blue"},
                "spec": {"clusterIPs": ["10.96.0.7", "fd01::7"]},
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}, "spec": 7},
        ],
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    })
}

#[test]
fn a_list_as_kubectl_writes_it() {
    let (names, problems) = one("cluster.yaml", LIST);
    let expected = [
        ("blue_tenant 10.1.0.4", "pod blue/web"),
        ("default 10.244.1.5", "pod blue/web"),
        ("default 10.96.0.7", "service blue/web"),
        ("default 172.18.0.3", "node w1"),
        ("default fd00:1::5", "pod blue/web"),
        ("default fd01::7", "service blue/web"),
    ];
    let expected = expected.map(|(place, name)| (place.to_owned(), name.to_owned()));
    assert_eq!(names, BTreeMap::from(expected));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].starts_with("cluster.yaml:30: Pod blue/bad: "),
        "{problems:?}"
    );
}

#[test]
fn json_says_the_same_as_yaml() {
    let tree = list();
    for json in [
        tree.to_string(),
        serde_json::to_string_pretty(&tree).unwrap(),
    ] {
        let (names, problems) = one("cluster.json", &json);
        assert_eq!(names, one("cluster.yaml", LIST).0);
        assert_eq!(problems.len(), 1);
        // JSON is YAML, and a file may have any name when it is given by name.
        assert_eq!(one("cluster.yml", &json).0, names);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &json).unwrap();
        assert_eq!(self::names(Manifests::read([file.path()]).unwrap()), names);
    }
    let pretty = serde_json::to_string_pretty(&tree).unwrap();
    let line = 1 + pretty
        .lines()
        .position(|line| line.contains("\"bad\""))
        .unwrap();
    let (_, problems) = one("cluster.json", &pretty);
    let place = format!("cluster.json:{}: Pod blue/bad: ", line + 4);
    assert!(problems[0].starts_with(&place), "{problems:?}, not {place}");
}

fn pod(name: &str, ip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: ns\nstatus:\n  podIPs:\n  - ip: {ip}\n"
    )
}

#[test]
fn bad_documents_are_named_and_cost_no_good_one() {
    let good = |number: u8| pod(&format!("p{number}"), &format!("10.0.0.{number}"));
    let text = [
        good(1),                                                                 // lines 1-8
        "kind: Pod\nmetadata: {name: [\n".to_owned(),                            // 10-11
        good(2),                                                                 // 13-20
        "# nothing\n\n".to_owned(),                                              // 22-23
        "- a list\n".to_owned(),                                                 // 25
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec: 7\n".to_owned(), // 27-31
        "metadata: {name: y}\n".to_owned(),                                      // 33
        "apiVersion: v1\nkind: Pod\nspec: {}\n".to_owned(),                      // 35-37
        "a: &a [*a, *a]\nb: *unknown\n".to_owned(),                              // 39-40
        good(3),
    ]
    .join("---\n");
    let (names, problems) = one("all.yaml", &text);
    assert_eq!(names.len(), 3, "{problems:?}");
    let starts = [
        "all.yaml:11: document 2 is no YAML: unclosed bracket '['",
        "all.yaml:25: document 4 is no object",
        "all.yaml:31: Pod default/x: ",
        "all.yaml:33: document 6 has no `kind`",
        "all.yaml:35: Pod in document 7: ",
        "all.yaml:39: document 8 has an alias within what it stands for",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(
            problem.starts_with(start),
            "{problem} begins not with {start}"
        );
    }
}

#[test]
fn bad_json_costs_no_good_json() {
    let pod = |number: u8| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p{number}"}},"status":{{"podIP":"10.0.0.{number}"}}}}"#
        )
    };
    let text = format!(
        "{}\n{}{}\n{{\"kind\": oops}}\n[1]\n{}\n{{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"items\":[{},{{\"kind\":5}},7]}}\n{{",
        pod(1),
        pod(2),
        pod(3),
        pod(4),
        r#"{"metadata":{"name":"p5"},"status":{"podIP":"10.0.0.5"}}"#,
    );
    let (names, problems) = one("all.json", &text);
    assert_eq!(names.len(), 5, "{names:?} {problems:#?}");
    let starts = [
        "all.json:4: document 5 is ",
        "all.json:6: document 7, item 3 is no object",
        "all.json:7: document 8 is ",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(
            problem.starts_with(start),
            "{problem} begins not with {start}"
        );
    }
}

#[test]
fn words_that_old_yaml_takes_for_something_else_are_names_in_quotes() {
    for word in [
        "'n'",
        "\"y\"",
        "'no'",
        "'off'",
        "'on'",
        "'1'",
        "null-and-void",
        "1e-3a",
    ] {
        let (names, problems) = one("words.yaml", pod(word, "10.0.0.1"));
        assert_eq!(problems, [""; 0]);
        let word = word.trim_matches(['\'', '"']);
        assert_eq!(names["default 10.0.0.1"], format!("pod ns/{word}"));
    }
}

#[test]
fn a_bomb_is_a_problem_and_no_more() {
    let mut bomb =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: bomb}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let row = vec![before; 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    let deep = format!(
        "kind: Pod\nspec: {}{}\n",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let text = format!("{bomb}---\n{deep}---\n{}", pod("a", "10.0.0.1"));
    let (names, problems) = one("bomb.yaml", text);
    assert_eq!(names.len(), 1);
    assert_eq!(problems.len(), 2, "{problems:?}");
    let deep = format!(
        "{{\"a\":{}\n{{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{{\"name\":\"n\"}},\"status\":{{\"addresses\":[{{\"type\":\"InternalIP\",\"address\":\"10.0.0.9\"}}]}}}}",
        "[".repeat(5_000)
    );
    let (names, problems) = one("deep.json", deep);
    assert_eq!((names.len(), problems.len()), (1, 1), "{problems:?}");
}

#[test]
fn more_objects_than_a_default_budget_allows() {
    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for number in 0..20_000 {
        let ip = format!(
            "10.{}.{}.{}",
            number / 65_536,
            number / 256 % 256,
            number % 256
        );
        text.push_str(&format!(
            "- apiVersion: v1\n  kind: Pod\n  metadata: {{name: p{number}, namespace: ns, labels: {{a: b, c: d, e: f}}}}\n  \
             spec: {{nodeName: w1}}\n  status: {{phase: Running, podIPs: [{{ip: {ip}}}]}}\n"
        ));
    }
    let (names, problems) = one("many.yaml", text);
    assert_eq!(
        (names.len(), problems.len()),
        (20_000, 0),
        "{:?}",
        problems.first()
    );
}

#[test]
fn directories_are_read_in_full_and_what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::write(path.join("a/b/1.yaml"), pod("one", "10.0.0.1")).unwrap();
    fs::write(path.join("a/2.yml"), pod("two", "10.0.0.2")).unwrap();
    fs::write(path.join("notes.txt"), pod("three", "10.0.0.3")).unwrap();
    fs::write(
        path.join("latin.yaml"),
        [
            &pod("four", "10.0.0.4").into_bytes()[..],
            b"---\n\na: \xe4\n",
        ]
        .concat(),
    )
    .unwrap();
    std::os::unix::fs::symlink(path, path.join("a/loop")).unwrap();
    let (names, problems) = read(path);
    assert_eq!(names.len(), 3);
    assert_eq!(problems, ["latin.yaml:11: document 2 is no UTF-8"]);

    let error = Manifests::read([path.join("missing.yaml")])
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing.yaml cannot be read"), "{error}");
}

proptest! {
    /// Nothing in a file makes the reader fail, and nothing before a document costs it.
    #[test]
    fn any_text_before_a_document_does_not_cost_it(
        text in prop_oneof![any::<String>(), "[-a-z:{}\\[\\]&*#!|> \"'\n\t]{0,60}"],
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        for mut before in [text.into_bytes(), bytes] {
            // It would begin a directive, which belongs to the document.
            before.iter_mut().filter(|byte| **byte == b'%').for_each(|byte| *byte = b'x');
            let file = [&before[..], b"\n---\n", pod("a", "10.0.0.1").as_bytes()].concat();
            let (names, _) = one("any.yaml", file);
            prop_assert!(names.contains_key("default 10.0.0.1"));
            let json = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"status":{"podIP":"10.0.0.1"}}"#;
            one("any.json", [&before[..], b"\n", json].concat());
        }
    }

    /// A list of any damage harms what is damaged only.
    #[test]
    fn a_flipped_byte_never_panics(at in 0..LIST.len(), byte in any::<u8>()) {
        let mut bytes = LIST.as_bytes().to_vec();
        bytes[at] = byte;
        one("flipped.yaml", &bytes);
        let tree = list();
        let mut json = tree.to_string().into_bytes();
        let at = at % json.len();
        json[at] = byte;
        one("flipped.json", &json);
    }
}
