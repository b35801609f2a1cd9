//! Texts that mean harm: refused by a budget that says so, and no good document is lost for them.
#![allow(clippy::unwrap_used)] // Of helpers; tests may anyway.

use netverdict_manifest::{Severity, Sources, read_bytes};

const GOOD: &str = "\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";

/// What is told about a text, in which a good document follows.
fn told(text: &str) -> String {
    let mut sources = Sources::default();
    let (_, reading) = sources.read("hostile", (text.to_owned() + GOOD).as_bytes());
    assert_eq!(reading.objects.len(), 1, "{:#?}", reading.diagnostics);
    sources.render(&reading.diagnostics, false)
}

fn assert_told(text: &str, wanted: &str) {
    let told = told(text);
    assert!(
        told.contains(wanted),
        "{}",
        told.get(..2000).unwrap_or(&told)
    );
}

#[test]
fn a_billion_laughs() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    assert_told(
        &text,
        "document 1 repeats more than 1000000 values by aliases",
    );
    assert_told(
        &text.replace('[', "{x: [").replace(']', "]}"),
        "repeats more than 1000000",
    );
}

#[test]
fn a_long_text_repeated() {
    let text = format!(
        "a: &a {}\nb:\n{}",
        "x".repeat(1 << 20),
        "- *a\n".repeat(1000)
    );
    assert_told(&text, "repeats more than 1000000 values");
}

#[test]
fn many_small_repetitions() {
    // No document alone is too much; together they are, and only those with aliases are refused.
    let document = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(300), "*a,".repeat(300));
    assert_told(
        &[document.as_str()].repeat(15).join("---\n"),
        "document 12 repeats more than",
    );
}

#[test]
fn a_mapping_merged_many_times() {
    let keys = (0..10_000)
        .map(|key| format!("k{key}: 1,"))
        .collect::<String>();
    let text = format!("a: &a {{{keys}}}\nb:\n{}", "- {<<: *a}\n".repeat(10_000));
    assert_told(&text, "repeats more than 1000000 values");
}

#[test]
fn deep_nesting() {
    let deep = "document 1 nests deeper than 255 levels";
    assert_told(&"[".repeat(10_000), deep);
    assert_told(
        &("{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000)),
        deep,
    );
    assert_told(&"- ".repeat(10_000), deep);
    assert_told(&"? ".repeat(10_000), deep);
    let lines = (0..10_000).map(|level| " ".repeat(level % 400) + "a:\n");
    assert_told(&lines.take(400).collect::<String>(), deep);
    let mut text = "a0: &a0 []\n".to_owned();
    for level in 1..400 {
        text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert_told(
        &text,
        "document 1 nests deeper than 255 levels by its aliases",
    );
}

#[test]
fn a_long_key() {
    assert_told(&("x".repeat(1 << 20) + ": 1"), "document 1 is no YAML");
    assert_told(
        &format!("\"{}\": 1", "x".repeat(1 << 20)),
        "document 1 is no YAML",
    );
}

#[test]
fn no_text_at_all() {
    assert_told(&"\0".repeat(1 << 20), "document 1 is no YAML");
    let bytes = [0xff, b'\n'].repeat(1 << 16);
    let (text, reading) = read_bytes(Default::default(), &bytes);
    assert_eq!(text, "");
    assert!(reading.diagnostics[0].message.contains("that is no text"));
}

#[test]
fn more_than_is_read() {
    let bytes = vec![b'\n'; 50 << 20];
    let mut sources = Sources::default();
    let (_, reading) = sources.read("long.yaml", &bytes);
    let told = sources.render(&reading.diagnostics, false);
    let wanted = "the text has 50 MiB; more than 32 MiB are not read";
    assert!(
        told.contains(wanted) && told.contains("long.yaml:1:1"),
        "{told}"
    );
}

#[test]
fn wrong_all_over() {
    let told = told(&"a: 1\n---\n".repeat(3000));
    assert!(told.contains("error[untold]: 2000 more errors and warnings are not told"));
}

#[test]
fn a_policy_that_is_wrong_all_over() {
    let fields = (0..3000)
        .map(|field| format!("  k{field}: 1\n"))
        .collect::<String>();
    let head =
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: x}\nspec:\n";
    assert_told(
        &(head.to_owned() + &fields),
        "NetworkPolicy default/x: 2980 more errors",
    );
}

/// What is no UTF-8 is an error of its document alone.
#[test]
fn bytes_that_are_no_text() {
    let namespace = |name: &[u8]| {
        let head = b"apiVersion: v1\nkind: Namespace\nmetadata: {name: ".to_vec();
        [head, name.to_vec(), b"}\n".to_vec()].concat()
    };
    let documents = [namespace(b"a"), namespace(b"\xc3\xa4\xff"), namespace(b"b")];
    let mut sources = Sources::default();
    let (_, reading) = sources.read("bytes.yaml", &documents.join(&b"---\n"[..]));
    let names = reading.objects.iter().map(|object| &*object.key.name);
    assert!(names.eq(["a", "b"]));
    let told = sources.render(&reading.diagnostics, false);
    assert!(
        told.contains("document 2 is no UTF-8\n --> bytes.yaml:7:19\n"),
        "{told}"
    );
}

/// A line can be as long as a text: what is around the place is shown.
#[test]
fn a_long_line() {
    let items = "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}},"
        .repeat(5000);
    let text = format!(
        "{{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[{items}{{\"kind\":\"Pod\",\"apiVersion\":\"v9\"}}]}}"
    );
    let mut sources = Sources::default();
    let (_, reading) = sources.read("long.json", text.as_bytes());
    assert_eq!(reading.objects.len(), 5000);
    let told = sources.render(&reading.diagnostics, false);
    assert!(told.len() < 1000 && told.contains("\"v9\""), "{told}");
    let column = text.find("\"v9\"").unwrap() + 1;
    assert!(
        told.contains(&format!(" --> long.json:1:{column}\n")),
        "{told}"
    );
}

/// However many warnings there are, they are no errors.
#[test]
fn warnings_all_over() {
    let peers = "{ipBlock: {cidr: 10.0.0.1/8}},".repeat(30);
    let policy = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: x}}\n\
         spec: {{podSelector: {{}}, ingress: [{{from: [{peers}]}}]}}\n"
    );
    let reading = read_bytes(
        Default::default(),
        [&policy[..]].repeat(100).join("---\n").as_bytes(),
    )
    .1;
    assert_eq!(reading.objects.len(), 100);
    let mut all = reading.diagnostics.iter();
    assert!(all.all(|told| told.severity == Severity::Warning));
    let messages = reading.diagnostics.iter().map(|told| &told.message[..]);
    let messages = messages.collect::<Vec<_>>();
    assert!(messages.contains(&"NetworkPolicy default/x: 10 more warnings"));
    assert_eq!(
        messages.last(),
        Some(&"1100 more errors and warnings are not told")
    );
}
