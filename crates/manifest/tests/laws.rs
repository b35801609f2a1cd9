//! Laws of reading, over random objects and texts.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use std::fmt::Write;

use netverdict_manifest::{FileId, Object, Reading, read};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The way in which an object is written does not matter.
    #[test]
    fn spellings_are_equal(policies in prop::collection::vec(policy(), 1..4), seed: u64) {
        let compact = policies.iter().map(Value::to_string).collect::<String>();
        let expected = objects(&read(FileId(1), &compact));
        prop_assert_eq!(expected.len(), policies.len(), "{}", compact);
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
        let mut dice = Dice(seed);
        let spellings = [
            policies.iter().map(|policy| format!("{policy}\n")).collect(),
            serde_json::to_string_pretty(&list).unwrap(),
            with_tabs(&list),
            join(&policies, |policy| flow(policy, &mut dice)),
            join(&policies, |policy| block(policy, 0, &mut dice)),
            join(&policies, |policy| block(policy, 0, &mut dice)).replace('\n', "\r\n"),
            format!("\u{feff}# a comment\n{}", block(&list, 0, &mut dice)),
        ];
        for text in spellings {
            let reading = read(FileId(1), &text);
            prop_assert_eq!(&reading.diagnostics, &[], "{}", text);
            prop_assert_eq!(objects(&reading), expected.clone(), "{}", text);
        }
    }

    /// A broken document costs its neighbours nothing.
    #[test]
    fn neighbours_are_not_harmed(
        policies in prop::collection::vec(policy(), 2..5),
        noise in "[ a-z:{}\\[\\]'\"|>&*!%@`\t#,?-]{0,20}\n?[ a-z:{}\\[\\]'\"|>&*-]{0,20}",
        seed: u64,
    ) {
        let mut dice = Dice(seed);
        let mut documents = Vec::new();
        for policy in &policies {
            documents.push(block(policy, 0, &mut dice));
            // A line of `---` or `...` would be a border of its own.
            documents.push(noise.replace("---", "").replace("...", "").clone() + "\n");
        }
        let reading = read(FileId(1), &documents.join("\n---\n"));
        let names = reading.objects.iter().map(|object| object.key.name.to_string());
        let wanted = policies.iter().map(|policy| policy["metadata"]["name"].as_str().unwrap());
        prop_assert!(names.eq(wanted), "{:#?}", documents);
    }

    /// Every scalar's place shows the scalar.
    #[test]
    fn places_show_what_stands_there(policy in policy(), seed: u64) {
        let text = block(&policy, 0, &mut Dice(seed));
        let reading = read(FileId(1), &text);
        for (key, value) in &reading.objects[0].meta.annotations {
            let written = &text[value.span.start as usize..value.span.end as usize];
            let line = text[..value.span.start as usize].matches('\n').count() as u32 + 1;
            prop_assert_eq!(value.span.line, line);
            let lines = |text: &str| {
                let lines = text.trim().lines().map(|line| line.trim().to_owned());
                lines.collect::<Vec<_>>()
            };
            // What is in quotes is read from its place once more.
            if lines(written) != lines(&value.value) {
                let alone = format!(
                    "{{kind: Namespace, apiVersion: v1, \
                     metadata: {{name: x, annotations: {{a: {written}}}}}}}"
                );
                let reading = read(FileId(1), &alone);
                let read = &reading.objects[0].meta.annotations["a"].value;
                prop_assert_eq!(read, &value.value, "{}", key);
            }
        }
    }
}

fn with_tabs(value: &Value) -> String {
    let mut bytes = Vec::new();
    let tabs = PrettyFormatter::with_indent(b"\t");
    let mut serializer = Serializer::with_formatter(&mut bytes, tabs);
    value.serialize(&mut serializer).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn join(policies: &[Value], write: impl FnMut(&Value) -> String) -> String {
    policies
        .iter()
        .map(write)
        .collect::<Vec<_>>()
        .join("\n---\n")
}

/// Objects without their places.
fn objects(reading: &Reading) -> Vec<String> {
    reading.objects.iter().map(without_places).collect()
}

fn without_places(object: &Object) -> String {
    let text = format!("{object:?}");
    let mut parts = text.split("Span {");
    let mut all = parts.next().unwrap().to_owned();
    for part in parts {
        all.push_str(part.split_once('}').unwrap().1);
    }
    all
}

fn policy() -> impl Strategy<Value = Value> {
    let annotations = prop::collection::btree_map("[a-z]{1,3}", text(), 0..4);
    let rules = || prop::collection::vec(rule(), 0..3);
    let types = prop::sample::subsequence(vec!["Ingress", "Egress"], 0..=2);
    (
        "[a-z]([a-z0-9-]{0,8}[a-z])?",
        annotations,
        selector(),
        rules(),
        rules(),
        types,
    )
        .prop_map(|(name, annotations, pods, ingress, egress, types)| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name, "namespace": "blue", "annotations": annotations},
                "spec": {
                    "podSelector": pods,
                    "policyTypes": types,
                    "ingress": ingress.iter().map(|rule| turn(rule, "from")).collect::<Value>(),
                    "egress": egress.iter().map(|rule| turn(rule, "to")).collect::<Value>(),
                },
            })
        })
}

fn turn(rule: &(Vec<Value>, Vec<Value>), peers: &str) -> Value {
    json!({peers: rule.0, "ports": rule.1})
}

fn rule() -> impl Strategy<Value = (Vec<Value>, Vec<Value>)> {
    let peer = prop_oneof![
        selector().prop_map(|pods| json!({"podSelector": pods})),
        (selector(), selector()).prop_map(|(namespaces, pods)| {
            json!({"namespaceSelector": namespaces, "podSelector": pods})
        }),
        (0..256_u32, 0..24_u32).prop_map(|(byte, prefix)| {
            json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": [format!("{}.0.0.0/{}", byte & 0xfe, 8 + prefix)]}})
        }),
        (0..65536_u32).prop_map(|word| json!({"ipBlock": {"cidr": format!("fd00:{word:x}::/64")}})),
    ];
    let port = prop_oneof![
        (1..60000_u16).prop_map(|port| json!({"port": port})),
        (1..60000_u16)
            .prop_map(|port| json!({"port": port, "endPort": port + 7, "protocol": "UDP"})),
        "[a-z]{1,15}"
            .prop_filter("a boolean in YAML", |name| !is_boolean(name))
            .prop_map(|port| json!({"port": port, "protocol": "SCTP"})),
        Just(json!({"protocol": "TCP"})),
    ];
    (
        prop::collection::vec(peer, 0..3),
        prop::collection::vec(port, 0..3),
    )
}

fn selector() -> impl Strategy<Value = Value> {
    let value = "([a-zA-Z0-9]([a-zA-Z0-9._-]{0,6}[a-zA-Z0-9])?)?";
    let labels = prop::collection::btree_map("[a-z]{1,4}(/[a-z]{1,3})?", value, 0..3);
    let expression = prop_oneof![
        ("[a-z]{1,4}", prop::collection::vec(value, 1..3))
            .prop_map(|(key, values)| json!({"key": key, "operator": "NotIn", "values": values})),
        "[a-z]{1,4}".prop_map(|key| json!({"key": key, "operator": "Exists"})),
    ];
    (labels, prop::collection::vec(expression, 0..2)).prop_map(
        |(labels, expressions)| json!({"matchLabels": labels, "matchExpressions": expressions}),
    )
}

/// What an annotation may say: all that YAML allows.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,20}",
        "[ -~\n\t]{0,20}",
        "[a-z'\"\\\\: #\n]{0,12}",
        "[ -~\u{a0}-\u{17f}\u{4e00}-\u{4e10}\u{1f600}-\u{1f610}]{0,12}",
        Just("{\"allow\":\"info\"}".to_owned()),
        Just("null".to_owned()),
        Just("yes".to_owned()),
        Just("0x10".to_owned()),
        Just("---".to_owned()),
    ]
}

fn is_boolean(text: &str) -> bool {
    matches!(
        text,
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
    )
}

/// Choices out of a seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// YAML in braces and brackets.
fn flow(value: &Value, dice: &mut Dice) -> String {
    let blank = |dice: &mut Dice| [" ", "", "\n  ", " # said\n "][dice.throw(4) as usize];
    match value {
        Value::Object(fields) => {
            let mut text = "{".to_owned();
            for (key, value) in fields {
                let (key, value) = (scalar(key, dice), flow(value, dice));
                write!(text, "{}{key}: {value}{},", blank(dice), blank(dice)).unwrap();
            }
            text + "}"
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| flow(item, dice) + blank(dice));
            format!("[{}]", items.collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => scalar(text, dice),
        other => other.to_string(),
    }
}

/// YAML in lines.
fn block(value: &Value, indent: usize, dice: &mut Dice) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, indent, dice),
        Value::Array(items) if !items.is_empty() => {
            let mut text = String::new();
            for item in items {
                let inner = block(item, indent + 2, dice);
                let inner = inner.trim_start_matches(' ');
                writeln!(text, "{:indent$}- {}", "", inner.trim_end_matches('\n')).unwrap();
            }
            text
        }
        Value::String(text) => scalar(text, dice),
        other => other.to_string(),
    }
}

fn mapping(fields: &Map<String, Value>, indent: usize, dice: &mut Dice) -> String {
    let mut text = String::new();
    for (key, value) in fields {
        let is_inline = match value {
            Value::Object(fields) => fields.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => true,
        };
        write!(text, "{:indent$}{}:", "", scalar(key, dice)).unwrap();
        match value {
            Value::String(value) if is_literal(value) && dice.throw(2) == 0 => {
                // Indented as told, for the text may begin with blanks.
                let keep = if value.ends_with('\n') { "+" } else { "-" };
                writeln!(text, " |2{keep}").unwrap();
                let lines = value.strip_suffix('\n').unwrap_or(value).split('\n');
                for line in lines {
                    writeln!(text, "{:1$}{line}", "", indent + 2).unwrap();
                }
            }
            _ if is_inline => writeln!(text, " {}", block(value, 0, dice).trim_end()).unwrap(),
            _ => {
                let more = if value.is_array() && dice.throw(2) == 0 {
                    0
                } else {
                    2
                };
                write!(text, "\n{}", block(value, indent + more, dice)).unwrap();
            }
        }
    }
    text
}

/// True for what can stand in a block as it is.
fn is_literal(text: &str) -> bool {
    let last = text.strip_suffix('\n').unwrap_or(text);
    !text.is_empty() && !last.ends_with('\n') && !last.is_empty()
}

fn scalar(text: &str, dice: &mut Dice) -> String {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || b"./-".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && !is_boolean(&text.to_ascii_lowercase());
    match dice.throw(3) {
        0 if is_plain => text.to_owned(),
        1 if !text.contains(['\n', '\t']) => format!("'{}'", text.replace('\'', "''")),
        _ => json!(text).to_string(),
    }
}
