//! Changes of an object in the text that it stands in: what need not change stays, letter by letter.

use std::fmt::Write as _;
use std::ops::Range;

use crate::tree::{Documents, Mapping, Sequence, Value, View};
use crate::{FileId, Span};

/// A value that is written into a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Data {
    /// A text.
    Text(String),
    /// A number.
    Number(u32),
    /// A list.
    List(Vec<Data>),
    /// A mapping, in the order in which it is written.
    Map(Vec<(String, Data)>),
}

/// A step from a value to one in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// A change of an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edit {
    /// Where, from the object on.
    pub path: Vec<Step>,
    /// The value. Behind an index it is put before the item that is there, behind the last one if it is the list's length; unless `replace`.
    pub value: Data,
    /// Whether it takes the place of what is there.
    pub replace: bool,
}

/// A changed text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Edited {
    /// All of it.
    pub text: String,
    /// The change as operations of a JSON patch (RFC 6902) of the object: operation, pointer, value.
    pub patch: Vec<(&'static str, String, Data)>,
}

/// Changes an object in its text; `name` is the place of its name ([`crate::Meta::span`]). `None` if there is no such object, or it has not what
/// the paths lead through: mappings that are missing at the end of a path are made.
///
/// ```
/// use netverdict_manifest::{Data, Edit, FileId, Step, edit, read};
///
/// let text = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: blue # ours\n";
/// let place = read(FileId(1), text).objects[0].meta.span;
/// let path = ["metadata", "labels", "team"].map(|key| Step::Key(key.to_owned()));
/// let label = Edit { path: path.into(), value: Data::Text("blue".to_owned()), replace: true };
/// let edited = edit(text, place, &[label]).expect("it is there");
/// assert_eq!(edited.text, format!("{text}  labels:\n    team: blue\n"));
/// ```
pub fn edit(text: &str, name: Span, edits: &[Edit]) -> Option<Edited> {
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    let mut patch = Vec::new();
    for document in Documents::new(FileId::default(), text, &[]).flatten() {
        let Some(object) = object_at(document.root(), name) else {
            continue;
        };
        for edit in edits {
            let change = Change {
                text,
                json: text.get(object.span().start as usize..)?.starts_with('{'),
            };
            changes.push(change.of(object, edit, &mut patch)?);
        }
        break;
    }
    if changes.len() != edits.len() || changes.is_empty() {
        return None;
    }
    changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = text.to_owned();
    for (range, new) in changes {
        text.get(range.clone())?;
        text.replace_range(range, &new);
    }
    Some(Edited { text, patch })
}

/// The object whose name stands at a place: the value itself, or one in the list that it is.
fn object_at(value: Value<'_>, name: Span) -> Option<Value<'_>> {
    let View::Mapping(mapping) = value.view() else {
        return None;
    };
    if let Some(meta) = mapping.find("metadata")
        && let View::Mapping(meta) = meta.view()
        && let Some(found) = meta.find("name")
        && (found.span().start, found.span().end) == (name.start, name.end)
    {
        return Some(value);
    }
    match mapping.find("items").map(Value::view) {
        Some(View::Sequence(items)) => items.iter().find_map(|item| object_at(item, name)),
        _ => None,
    }
}

/// How one edit changes a text.
struct Change<'t> {
    text: &'t str,
    json: bool,
}

impl Change<'_> {
    fn of(
        &self,
        object: Value<'_>,
        edit: &Edit,
        patch: &mut Vec<(&'static str, String, Data)>,
    ) -> Option<(Range<usize>, String)> {
        let mut at = object;
        let mut pointer = String::new();
        let mut steps = edit.path.iter();
        while let Some(step) = steps.next() {
            let _ = match step {
                Step::Key(key) => write!(pointer, "/{}", key.replace('~', "~0").replace('/', "~1")),
                Step::Index(index) => write!(pointer, "/{index}"),
            };
            let is_last = steps.len() == 0;
            match (step, at.view()) {
                (Step::Key(key), View::Mapping(mapping)) => match mapping.find(key) {
                    Some(value) if !matches!(value.view(), View::Null) || is_last => at = value,
                    found => {
                        let value = nested(steps.as_slice(), &edit.value)?;
                        patch.push(("add", pointer, value.clone()));
                        return match found {
                            Some(null) => self.fill(mapping, null, &value),
                            None => self.entry(at.span(), mapping, key, &value),
                        };
                    }
                },
                (Step::Index(index), View::Sequence(list)) => {
                    if is_last && !edit.replace {
                        patch.push(("add", pointer, edit.value.clone()));
                        return self.item(at.span(), list, *index, &edit.value);
                    }
                    at = list.iter().nth(*index)?;
                }
                _ => return None,
            }
        }
        patch.push(("replace", pointer, edit.value.clone()));
        let span = at.span();
        Some((
            span.start as usize..span.end as usize,
            self.flow(&edit.value),
        ))
    }

    /// In the place of a value that is not there (`key:`).
    fn fill(
        &self,
        _: Mapping<'_>,
        null: Value<'_>,
        value: &Data,
    ) -> Option<(Range<usize>, String)> {
        let span = null.span();
        let (start, end) = (span.start as usize, span.end as usize);
        let space = if start == end { " " } else { "" };
        Some((start..end, format!("{space}{}", self.flow(value))))
    }

    /// A new entry of a mapping, behind all others.
    fn entry(
        &self,
        span: Span,
        mapping: Mapping<'_>,
        key: &str,
        value: &Data,
    ) -> Option<(Range<usize>, String)> {
        let last = mapping.iter().last();
        if self.text.get(span.start as usize..)?.starts_with('{') {
            let entry = format!("{}: {}", self.scalar(key), self.flow(value));
            return Some(match last {
                Some((_, _, last)) => self.insert(last.span().end as usize, &format!(", {entry}")),
                None => self.insert(span.start as usize + 1, &entry),
            });
        }
        let (_, first, _) = mapping.iter().next()?;
        let indent = self.column(first.start as usize);
        let (_, key_span, last) = last?;
        let end = self.line_end((last.span().end.max(key_span.end)) as usize);
        let mut lines = String::new();
        self.block_entry(key, value, indent, &mut lines);
        Some(self.lines(end, &lines))
    }

    /// A new item of a list.
    fn item(
        &self,
        span: Span,
        list: Sequence<'_>,
        index: usize,
        value: &Data,
    ) -> Option<(Range<usize>, String)> {
        let before = list.iter().nth(index);
        let last = list.iter().last();
        if index > list.len() {
            return None;
        }
        if self.text.get(span.start as usize..)?.starts_with('[') {
            let item = self.flow(value);
            return Some(match (before, last) {
                (Some(before), _) => {
                    self.insert(before.span().start as usize, &format!("{item}, "))
                }
                (None, Some(last)) => self.insert(last.span().end as usize, &format!(", {item}")),
                (None, None) => self.insert(span.start as usize + 1, &item),
            });
        }
        let dash = |item: Value<'_>| -> Option<usize> {
            let before = self.text.get(..item.span().start as usize)?;
            let dash = before.trim_end().len().checked_sub(1)?;
            self.text.get(dash..)?.starts_with('-').then_some(dash)
        };
        let first = dash(list.iter().next()?)?;
        let indent = self.column(first);
        let mut lines = String::new();
        self.block_item(value, indent, &mut lines);
        match before {
            Some(before) => {
                let dash = dash(before)?;
                let start = dash - self.column(dash);
                Some(self.insert(start, &lines))
            }
            None => Some(self.lines(self.line_end(last?.span().end as usize), &lines)),
        }
    }

    fn insert(&self, at: usize, new: &str) -> (Range<usize>, String) {
        (at..at, new.to_owned())
    }

    /// Whole lines behind the line that ends here.
    fn lines(&self, end: usize, lines: &str) -> (Range<usize>, String) {
        match self
            .text
            .get(end..)
            .is_some_and(|rest| rest.starts_with('\n'))
        {
            true => self.insert(end + 1, lines),
            false => self.insert(end, &format!("\n{}", lines.trim_end_matches('\n'))),
        }
    }

    /// The end of the line in which what ends at `end` ends.
    fn line_end(&self, end: usize) -> usize {
        let end = self
            .text
            .get(..end)
            .map_or(end, |text| text.trim_end().len());
        let rest = self.text.get(end..).unwrap_or_default();
        end + rest.find('\n').unwrap_or(rest.len())
    }

    /// How many bytes are before a place in its line.
    fn column(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        at - before.rfind('\n').map_or(0, |end| end + 1)
    }

    fn block_item(&self, value: &Data, indent: usize, lines: &mut String) {
        let start = lines.len();
        match value {
            Data::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    self.block_entry(key, value, indent + 2, lines);
                }
                let dash = start + indent;
                lines.replace_range(dash..dash + 1, "-");
            }
            value => {
                let _ = writeln!(lines, "{:indent$}- {}", "", self.flow(value));
            }
        }
    }

    fn block_entry(&self, key: &str, value: &Data, indent: usize, lines: &mut String) {
        let key = self.scalar(key);
        match value {
            Data::Map(entries) if !entries.is_empty() => {
                let _ = writeln!(lines, "{:indent$}{key}:", "");
                for (key, value) in entries {
                    self.block_entry(key, value, indent + 2, lines);
                }
            }
            Data::List(items) if !items.is_empty() => {
                let _ = writeln!(lines, "{:indent$}{key}:", "");
                for item in items {
                    self.block_item(item, indent + 2, lines);
                }
            }
            value => {
                let _ = writeln!(lines, "{:indent$}{key}: {}", "", self.flow(value));
            }
        }
    }

    fn flow(&self, value: &Data) -> String {
        match value {
            Data::Text(text) => self.scalar(text),
            Data::Number(number) => number.to_string(),
            Data::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Data::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", self.scalar(key), self.flow(value)))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }

    fn scalar(&self, text: &str) -> String {
        match !self.json && is_plain(text) {
            true => text.to_owned(),
            false => quoted(text),
        }
    }
}

impl Data {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A mapping.
    pub fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Self)>) -> Self {
        let entries = entries.into_iter();
        Self::Map(
            entries
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    /// It as a document of YAML.
    pub fn document(&self) -> String {
        let change = Change {
            text: "",
            json: false,
        };
        let mut lines = String::new();
        match self {
            Self::Map(entries) => {
                for (key, value) in entries {
                    change.block_entry(key, value, 0, &mut lines);
                }
            }
            value => lines = change.flow(value),
        }
        lines
    }

    /// It as JSON.
    pub fn json(&self) -> String {
        let change = Change {
            text: "",
            json: true,
        };
        change.flow(self)
    }
}

/// A value in mappings of these keys.
fn nested(steps: &[Step], value: &Data) -> Option<Data> {
    let mut value = value.clone();
    for step in steps.iter().rev() {
        value = match step {
            Step::Key(key) => Data::Map(vec![(key.clone(), value)]),
            Step::Index(0) => Data::List(vec![value]),
            Step::Index(_) => return None,
        };
    }
    Some(value)
}

/// Whether a text means itself in YAML without quotes, wherever it stands.
fn is_plain(text: &str) -> bool {
    let is_word =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
    let is_taken = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let begins = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    let is_range = || {
        text.parse::<crate::Cidr>()
            .is_ok_and(|range| !range.is_v6())
    };
    text.bytes().all(is_word) && ((begins && !is_taken) || is_range())
}

/// A text in double quotes, as JSON and YAML have it.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn path(text: &str) -> Vec<Step> {
        text.split('.')
            .map(|step| match step.parse() {
                Ok(index) => Step::Index(index),
                Err(_) => Step::Key(step.to_owned()),
            })
            .collect()
    }

    fn change(text: &str, at: &str, value: Data, replace: bool) -> (String, String) {
        let reading = read(FileId(1), text);
        let name = reading.objects.last().expect("an object").meta.span;
        let edit_ = Edit {
            path: path(at),
            value,
            replace,
        };
        let edited = edit(text, name, &[edit_]).expect("it can be changed");
        let (op, pointer, value) = &edited.patch[0];
        let again = read(FileId(1), &edited.text);
        assert!(
            again.diagnostics.is_empty(),
            "{:?}\n{}",
            again.diagnostics,
            edited.text
        );
        assert_eq!(again.objects.len(), reading.objects.len());
        (edited.text, format!("{op} {pointer} {}", value.json()))
    }

    const BLOCK: &str = "# first\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: a\n  namespace: b\nspec:\n  podSelector: {}\n  ingress:\n    - from:\n        - podSelector:\n            matchLabels:\n              app: web # the web\n      # only this\n      ports:\n        - port: 80\n          protocol: TCP\n    # last word\n\n# the end\n";

    fn port(port: u32) -> Data {
        Data::map([
            ("protocol", Data::text("TCP")),
            ("port", Data::Number(port)),
        ])
    }

    #[test]
    fn block_lists_grow_by_lines_and_keep_comments() {
        let (text, patch) = change(BLOCK, "spec.ingress.0.ports.1", port(81), false);
        let expected = BLOCK.replace(
            "          protocol: TCP\n",
            "          protocol: TCP\n        - protocol: TCP\n          port: 81\n",
        );
        assert_eq!(text, expected);
        assert_eq!(
            patch,
            r#"add /spec/ingress/0/ports/1 {"protocol": "TCP", "port": 81}"#
        );
        let (text, _) = change(BLOCK, "spec.ingress.0.ports.0", port(81), false);
        let expected = BLOCK.replace(
            "        - port: 80\n",
            "        - protocol: TCP\n          port: 81\n        - port: 80\n",
        );
        assert_eq!(text, expected);
        let (text, _) = change(
            BLOCK,
            "spec.ingress.1",
            Data::map([("ports", Data::List(vec![port(1)]))]),
            false,
        );
        let expected = BLOCK.replace(
            "          protocol: TCP\n",
            "          protocol: TCP\n    - ports:\n        - protocol: TCP\n          port: 1\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn values_are_replaced_where_they_stand() {
        let (text, patch) = change(
            BLOCK,
            "spec.ingress.0.ports.0.port",
            Data::Number(8080),
            true,
        );
        assert_eq!(text, BLOCK.replace("port: 80\n", "port: 8080\n"));
        assert_eq!(patch, "replace /spec/ingress/0/ports/0/port 8080");
        let at = "spec.ingress.0.from.0.podSelector.matchLabels.app";
        let (text, _) = change(BLOCK, at, Data::text("true"), true);
        assert_eq!(text, BLOCK.replace("app: web", "app: \"true\""));
    }

    #[test]
    fn mappings_are_made_where_they_are_missing() {
        let (text, patch) = change(BLOCK, "metadata.labels.team", Data::text("x"), true);
        let expected = BLOCK.replace("namespace: b\n", "namespace: b\n  labels:\n    team: x\n");
        assert_eq!(text, expected);
        assert_eq!(patch, r#"add /metadata/labels {"team": "x"}"#);
        let (text, _) = change(
            BLOCK,
            "spec.podSelector.matchLabels.a",
            Data::text("b"),
            true,
        );
        assert_eq!(
            text,
            BLOCK.replace("podSelector: {}", "podSelector: {matchLabels: {a: b}}")
        );
    }

    #[test]
    fn flow_style_and_json_stay_what_they_are() {
        let flow = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: b}\nspec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}";
        let (text, _) = change(flow, "spec.ingress.0.ports.1", port(81), false);
        assert_eq!(
            text,
            flow.replace("{port: 80}", "{port: 80}, {protocol: TCP, port: 81}")
        );
        let (text, _) = change(flow, "spec.ingress.0", Data::map([]), false);
        assert_eq!(text, flow.replace("[{ports", "[{}, {ports"));
        let json = r#"{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}]}"#;
        let (text, _) = change(json, "metadata.labels.k", Data::text("v"), true);
        assert_eq!(
            text,
            json.replace(r#""a"}"#, r#""a", "labels": {"k": "v"}}"#)
        );
    }
}
