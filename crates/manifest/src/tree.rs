//! Texts as trees in which every node knows its place.
//!
//! YAML as kubectl reads it: anchors, aliases and merge keys work, keys are scalars, and a key
//! stands once in its mapping. JSON is read by the same parser; of JSON, several values may stand
//! one after another without a separator.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, StrInput};

use crate::{Diagnostic, FileId, Label, Severity, Span};

/// Bytes of a text that is read.
pub(crate) const MAX_BYTES: usize = 32 << 20;
/// Nodes of one document as it is written.
const MAX_NODES: usize = 4_000_000;
/// Characters of a key. YAML allows 1024, JSON any number.
const MAX_KEY: usize = 1 << 16;
/// Values that the aliases of one text may repeat; long ones count by their length.
const MAX_REPEATED: u32 = 1_000_000;
/// Bytes of text that count as a value.
const UNIT: usize = 32;
/// Entries that are faster compared with each other than by a hash.
const FEW: usize = 12;
/// Faults of one document that are told.
const MAX_TOLD: usize = 20;
/// Collections within each other, those that aliases repeat included.
const MAX_DEPTH: u16 = 255;

/// A document.
#[derive(Debug, Default)]
pub(crate) struct Document<'t> {
    nodes: Vec<Node<'t>>,
    /// The nodes of all sequences.
    items: Vec<u32>,
    /// Key and value of all mappings.
    entries: Vec<(u32, u32)>,
    root: u32,
}

#[derive(Debug)]
struct Node<'t> {
    span: Span,
    /// What reading it from here on costs, with all that aliases repeat: a unit for each node and
    /// for each [`UNIT`] bytes of text.
    weight: u32,
    /// Collections within each other from here on.
    height: u16,
    content: Content<'t>,
}

#[derive(Debug)]
enum Content<'t> {
    Scalar {
        text: Cow<'t, str>,
        plain: bool,
    },
    Sequence {
        start: u32,
        end: u32,
    },
    Mapping {
        start: u32,
        end: u32,
    },
    /// What the anchor stands at.
    Alias(u32),
}

/// A node of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'d> {
    document: &'d Document<'d>,
    node: u32,
}

/// What a node is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'d> {
    /// Nothing, `~` or `null`.
    Null,
    /// `plain` without quotes: it may be a number or a truth value.
    Scalar {
        /// The text without quotes and escapes.
        text: &'d str,
        /// True without quotes.
        plain: bool,
    },
    /// A list.
    Sequence(Sequence<'d>),
    /// A mapping.
    Mapping(Mapping<'d>),
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence<'d> {
    document: &'d Document<'d>,
    items: &'d [u32],
}

/// A mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping<'d> {
    document: &'d Document<'d>,
    entries: &'d [(u32, u32)],
}

impl<'t> Document<'t> {
    /// The document as a whole.
    pub(crate) fn root(&self) -> Value<'_> {
        Value {
            document: self,
            node: self.root,
        }
    }

    /// Where an alias leads; all else stays where it is.
    fn follow(&self, node: u32) -> u32 {
        match self.nodes.get(node as usize).map(|node| &node.content) {
            Some(Content::Alias(target)) => *target,
            _ => node,
        }
    }

    fn content(&self, node: u32) -> Option<&Content<'t>> {
        let node = self.nodes.get(self.follow(node) as usize)?;
        Some(&node.content)
    }

    fn text(&self, node: u32) -> Option<&str> {
        match self.content(node)? {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    fn span(&self, node: u32) -> Span {
        let node = self.nodes.get(node as usize);
        node.map(|node| node.span).unwrap_or_default()
    }
}

impl<'d> Value<'d> {
    pub(crate) fn span(self) -> Span {
        self.document.span(self.node)
    }

    pub(crate) fn view(self) -> View<'d> {
        let document = self.document;
        match document.content(self.node) {
            None | Some(Content::Alias(_)) => View::Null,
            Some(Content::Scalar { text, plain: true }) if is_null(text) => View::Null,
            Some(Content::Scalar { text, plain }) => View::Scalar {
                text,
                plain: *plain,
            },
            Some(Content::Sequence { start, end }) => View::Sequence(Sequence {
                document,
                items: range(&document.items, *start, *end),
            }),
            Some(Content::Mapping { start, end }) => View::Mapping(Mapping {
                document,
                entries: range(&document.entries, *start, *end),
            }),
        }
    }
}

impl<'d> Sequence<'d> {
    pub(crate) fn len(self) -> usize {
        self.items.len()
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Value<'d>> {
        let document = self.document;
        let value = move |node: &u32| Value {
            document,
            node: *node,
        };
        self.items.iter().map(value)
    }
}

impl<'d> Mapping<'d> {
    /// Keys with their places, and values.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'d str, Span, Value<'d>)> {
        let document = self.document;
        self.entries.iter().map(move |(key, node)| {
            let value = Value {
                document,
                node: *node,
            };
            let text = document.text(*key).unwrap_or_default();
            (text, document.span(*key), value)
        })
    }

    pub(crate) fn find(self, name: &str) -> Option<Value<'d>> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|(key, _)| self.document.text(*key) == Some(name));
        entry.map(|(_, node)| Value {
            document: self.document,
            node: *node,
        })
    }
}

/// The documents of a text that say something, one after another; those that make no sense as
/// what is wrong with them.
pub(crate) struct Documents<'t> {
    file: FileId,
    text: &'t str,
    pieces: Pieces<'t>,
    parser: Option<(Parser<'t, StrInput<'t>>, Piece)>,
    /// How many documents have come.
    number: usize,
    /// How many nodes aliases may still repeat.
    repeatable: u32,
    /// Where bytes were replaced that are no UTF-8, in order.
    replaced: &'t [Span],
}

impl<'t> Documents<'t> {
    /// `replaced` is where bytes were replaced that are no UTF-8, in order: the documents there
    /// are broken.
    pub(crate) fn new(file: FileId, text: &'t str, replaced: &'t [Span]) -> Self {
        Self {
            replaced,
            file,
            text,
            pieces: Pieces::new(text),
            parser: None,
            number: 0,
            repeatable: MAX_REPEATED,
        }
    }

    /// The number of the document that came last, counted from 1.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl<'t> Iterator for Documents<'t> {
    type Item = Result<Document<'t>, Vec<Diagnostic>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((parser, piece)) = &mut self.parser else {
                let piece = self.pieces.next()?;
                let text = self.text.get(piece.start..piece.end).unwrap_or_default();
                let parser = Parser::new_from_str_with_options(text, options());
                self.parser = Some((parser, piece));
                continue;
            };
            let mut builder = Builder {
                file: self.file,
                text: self.text,
                piece: *piece,
                number: self.number + 1,
                repeatable: self.repeatable,
                document: Document::default(),
                root: None,
                frames: Vec::new(),
                children: Vec::new(),
                anchors: HashMap::new(),
                diagnostics: Vec::new(),
                first: None,
                last: Span::default(),
            };
            let ended = builder.run(parser);
            builder.refuse_replaced(self.replaced);
            builder.suspect_template();
            self.repeatable = builder.repeatable;
            match ended {
                Ended::Text => self.parser = None,
                Ended::Document => {}
                Ended::Broken => {
                    if !matches!(parser.proceed_next_document(), Ok(true)) {
                        self.parser = None;
                    }
                }
            }
            if let Some(result) = builder.finish() {
                self.number += 1;
                return Some(result);
            }
        }
    }
}

fn options() -> Options {
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH as usize,
        block_nesting_limit: MAX_DEPTH as usize,
        simple_key_max_lookahead: MAX_KEY,
    };
    options.set_emit_comments(false);
    options
}

/// A part of the text that is parsed by itself, and where it starts.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: usize,
    end: usize,
    /// Lines before it.
    line: u32,
    /// Characters before it in its line.
    column: u32,
}

/// Cuts a text that is a stream of JSON values into these, for YAML would want separators. YAML
/// is one piece, wherever its documents end.
struct Pieces<'t> {
    cutter: Cutter<'t>,
    /// The rest, as one piece.
    rest: Option<Piece>,
    /// True behind a value that never ends: from there on a brace at the start of a line starts a
    /// value.
    is_broken: bool,
}

impl<'t> Pieces<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let start = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
        let mut cutter = Cutter {
            bytes,
            at: start,
            line: 0,
            line_start: start,
            counted: (start, 0),
        };
        cutter.blanks();
        let rest = (cutter.byte() != Some(b'{')).then_some(Piece {
            start: 0,
            end: bytes.len(),
            line: 0,
            column: 0,
        });
        Self {
            cutter,
            rest,
            is_broken: false,
        }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if let Some(rest) = self.rest.take() {
            self.cutter.at = rest.end;
            return Some(rest);
        }
        self.cutter.byte()?;
        let start = self.cutter.piece();
        let before = self.cutter.clone();
        if !self.is_broken && !self.cutter.value(false) {
            self.is_broken = true;
            self.cutter = before;
        }
        if self.is_broken {
            self.cutter.value(true);
        }
        let mut end = self.cutter.at;
        let separator = self.cutter.blanks();
        match self.cutter.byte() {
            None | Some(b'{') => {}
            Some(_) => match separator {
                Some(rest) => {
                    let end = self.cutter.bytes.len();
                    self.rest = Some(Piece { end, ..rest });
                }
                // It is no JSON that ends there.
                None => {
                    self.cutter.line_with_brace();
                    end = self.cutter.at;
                }
            },
        }
        Some(Piece { end, ..start })
    }
}

/// Runs over a stream of JSON values.
#[derive(Clone)]
struct Cutter<'t> {
    bytes: &'t [u8],
    at: usize,
    line: u32,
    /// Where the line begins.
    line_start: usize,
    /// A byte of the line, and how many characters are before it there.
    counted: (usize, u32),
}

impl Cutter<'_> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn step(&mut self) {
        if self.byte() == Some(b'\n') {
            self.line += 1;
            self.line_start = self.at + 1;
            self.counted = (self.line_start, 0);
        }
        self.at += 1;
    }

    /// What starts here.
    fn piece(&mut self) -> Piece {
        let (from, before) = self.counted;
        let more = self.bytes.get(from..self.at).unwrap_or_default();
        // Bytes that continue a character do not count.
        let more = more.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        self.counted = (self.at, before + more as u32);
        Piece {
            start: self.at,
            end: self.at,
            line: self.line,
            column: self.counted.1,
        }
    }

    /// Passes over blanks and `---`; gives where the last of these stands.
    fn blanks(&mut self) -> Option<Piece> {
        let mut separator = None;
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.step(),
                Some(b'-')
                    if self.at == self.line_start
                        && self.bytes.get(self.at..self.at + 3) == Some(b"---") =>
                {
                    separator = Some(self.piece());
                    self.at += 3;
                }
                _ => return separator,
            }
        }
    }

    /// Passes over a value in braces; false if it does not end. With `by_line`, it ends at the
    /// latest before the next line that starts with a brace.
    fn value(&mut self, by_line: bool) -> bool {
        let start = self.at;
        let (mut depth, mut is_string) = (0_usize, false);
        while let Some(byte) = self.byte() {
            match byte {
                b'{' if by_line && self.at == self.line_start && self.at > start => return true,
                // A string ends with its line at the latest.
                b'\n' => is_string = false,
                b'\\' if is_string => self.at += 1,
                b'"' => is_string = !is_string,
                b'{' | b'[' if !is_string => depth += 1,
                b'}' | b']' if !is_string => {
                    depth -= 1;
                    if depth == 0 {
                        self.step();
                        return true;
                    }
                }
                _ => {}
            }
            self.step();
        }
        self.at = self.bytes.len();
        by_line
    }

    /// Goes on to the next line that starts with a brace.
    fn line_with_brace(&mut self) {
        while let Some(byte) = self.byte() {
            if byte == b'{' && self.at == self.line_start {
                return;
            }
            self.step();
        }
    }
}

const BOM: &[u8] = "\u{feff}".as_bytes();

/// Why a builder has ended.
enum Ended {
    /// The document has.
    Document,
    /// The text has.
    Text,
    /// There is no sense in the rest of the document.
    Broken,
}

/// Builds one document.
struct Builder<'t> {
    file: FileId,
    text: &'t str,
    piece: Piece,
    number: usize,
    /// What aliases may still repeat.
    repeatable: u32,
    document: Document<'t>,
    root: Option<u32>,
    frames: Vec<Frame>,
    /// Children of the open collections.
    children: Vec<u32>,
    anchors: HashMap<usize, u32>,
    diagnostics: Vec<Diagnostic>,
    /// Where it begins.
    first: Option<u32>,
    /// The last place that was reached.
    last: Span,
}

struct Frame {
    is_mapping: bool,
    span: Span,
    anchor: usize,
    /// Where in `children` its own begin.
    first: usize,
}

impl<'t> Builder<'t> {
    fn run(&mut self, parser: &mut Parser<'t, StrInput<'t>>) -> Ended {
        loop {
            let (event, span) = match parser.next() {
                None => return Ended::Text,
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    self.fail(&error);
                    return Ended::Broken;
                }
            };
            let span = self.span(span.start, span.end);
            self.last = span;
            if matches!(event, Event::DocumentStart(..)) {
                self.first = Some(span.start);
            }
            match event {
                Event::StreamEnd => return Ended::Text,
                Event::DocumentEnd => return Ended::Document,
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = match tag.as_deref().and_then(granit_parser::Tag::core_suffix) {
                        Some("str") => false,
                        Some("int" | "float" | "bool" | "null") => true,
                        _ => style == ScalarStyle::Plain && tag.is_none(),
                    };
                    let span = match style {
                        ScalarStyle::Literal | ScalarStyle::Folded => self.trim(span),
                        _ => span,
                    };
                    let weight = 1 + (text.len() / UNIT) as u32;
                    self.push(
                        anchor,
                        Node {
                            span,
                            weight,
                            height: 0,
                            content: Content::Scalar { text, plain },
                        },
                    );
                }
                Event::Alias(anchor) => {
                    let Some(target) = self.anchors.get(&anchor).copied() else {
                        self.error("yaml", span, "has an alias within what it stands for", "");
                        return Ended::Broken;
                    };
                    let node = self.document.nodes.get(target as usize);
                    let (weight, height) = node.map_or((0, 0), |node| (node.weight, node.height));
                    if weight > self.repeatable {
                        let what = format!("repeats more than {MAX_REPEATED} values by aliases");
                        self.error("budget", span, &what, "too much");
                        return Ended::Broken;
                    }
                    self.repeatable -= weight;
                    self.push(
                        0,
                        Node {
                            span,
                            weight,
                            height,
                            content: Content::Alias(target),
                        },
                    );
                }
                Event::SequenceStart(_, anchor, _) => self.open(false, span, anchor),
                Event::MappingStart(_, anchor, _) => self.open(true, span, anchor),
                Event::SequenceEnd | Event::MappingEnd => self.close(span),
                _ => {}
            }
            if self.document.nodes.len() > MAX_NODES {
                let what = format!("has more than {MAX_NODES} values");
                self.error("budget", span, &what, "too much");
                return Ended::Broken;
            }
        }
    }

    /// The document, unless it says nothing.
    fn finish(mut self) -> Option<Result<Document<'t>, Vec<Diagnostic>>> {
        if !self.diagnostics.is_empty() {
            return Some(Err(self.diagnostics));
        }
        let root = self.root?;
        self.document.root = root;
        let node = self.document.nodes.get(root as usize)?;
        let (span, height) = (node.span, node.height);
        if matches!(self.document.root().view(), View::Null) {
            return None;
        }
        if height > MAX_DEPTH {
            let what = format!("nests deeper than {MAX_DEPTH} levels by its aliases");
            self.error("budget", span, &what, "too deep");
            return Some(Err(self.diagnostics));
        }
        Some(Ok(self.document))
    }

    fn refuse_replaced(&mut self, replaced: &[Span]) {
        let Some(first) = self.first else {
            return;
        };
        let from = replaced.partition_point(|span| span.start < first);
        if let Some(span) = replaced.get(from).filter(|span| span.start < self.last.end) {
            self.error("utf-8", *span, "is no UTF-8", "not UTF-8");
        }
    }

    /// What is no YAML because it is a template that has yet to be rendered.
    fn suspect_template(&mut self) {
        let Some(error) = self
            .diagnostics
            .last_mut()
            .filter(|error| error.code.0 == "yaml")
        else {
            return;
        };
        let at = error.labels.first().map_or(0, |label| label.span.start);
        let line = self.text.get(line_around(self.text, at as usize));
        if line.is_some_and(|line| line.contains("{{")) {
            error.help = Some("a template must be rendered first".to_owned());
        }
    }

    fn open(&mut self, is_mapping: bool, span: Span, anchor: usize) {
        self.frames.push(Frame {
            is_mapping,
            span,
            anchor,
            first: self.children.len(),
        });
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let children = self.children.split_off(frame.first);
        let (mut weight, mut height) = (1_u32, 0);
        let mut last = frame.span.end;
        for child in &children {
            let Some(node) = self.document.nodes.get(*child as usize) else {
                continue;
            };
            weight = weight.saturating_add(node.weight);
            height = height.max(node.height);
            last = last.max(node.span.end);
        }
        let content = if frame.is_mapping {
            let entries = self.entries(&children);
            let start = self.document.entries.len() as u32;
            self.document.entries.extend(entries);
            let end = self.document.entries.len() as u32;
            Content::Mapping { start, end }
        } else {
            let start = self.document.items.len() as u32;
            self.document.items.extend(&children);
            let end = self.document.items.len() as u32;
            Content::Sequence { start, end }
        };
        // A block ends where the next begins; what belongs to it ends with its last value.
        let mut span = frame.span;
        span.end = if end.end > end.start { end.end } else { last };
        self.push(
            frame.anchor,
            Node {
                span,
                weight,
                height: height.saturating_add(1),
                content,
            },
        );
    }

    /// Takes a node that is complete.
    fn push(&mut self, anchor: usize, node: Node<'t>) {
        let number = self.document.nodes.len() as u32;
        self.document.nodes.push(node);
        if anchor > 0 {
            self.anchors.insert(anchor, number);
        }
        match self.frames.is_empty() {
            true => self.root = Some(number),
            false => self.children.push(number),
        }
    }

    /// The entries of a mapping, those of its merge key included, which do not replace its own.
    fn entries(&mut self, children: &[u32]) -> Vec<(u32, u32)> {
        let mut entries = Vec::with_capacity(children.len() / 2);
        let mut merged = None;
        for pair in children.chunks_exact(2) {
            let &[key, value] = pair else { continue };
            match self.document.content(key) {
                Some(Content::Scalar { text, plain: true }) if text == "<<" && merged.is_none() => {
                    merged = Some(value);
                }
                Some(Content::Scalar { .. }) => entries.push((key, value)),
                _ => {
                    let span = self.document.span(key);
                    self.error("yaml", span, "has a key that is no text", "not a text");
                }
            }
        }
        self.duplicates(&entries);
        if let Some(merged) = merged {
            self.merge(merged, &mut entries);
        }
        entries
    }

    fn duplicates(&mut self, entries: &[(u32, u32)]) {
        let mut found = Vec::new();
        if entries.len() <= FEW {
            for (index, (key, _)) in entries.iter().enumerate() {
                let text = self.document.text(*key);
                let mut before = entries.iter().take(index);
                if let Some((first, _)) = before.find(|(key, _)| self.document.text(*key) == text) {
                    found.push((*first, *key));
                }
            }
        } else {
            let mut first = HashMap::with_capacity(entries.len());
            for (key, _) in entries {
                match first.entry(self.document.text(*key)) {
                    Entry::Occupied(entry) => found.push((*entry.get(), *key)),
                    Entry::Vacant(entry) => {
                        entry.insert(*key);
                    }
                }
            }
        }
        for (first, key) in found.into_iter().take(MAX_TOLD) {
            let name = shorten(self.document.text(key).unwrap_or_default()).into_owned();
            let (span, first) = (self.document.span(key), self.document.span(first));
            self.error(
                "duplicate-key",
                span,
                &format!("has `{name}` twice"),
                "again",
            );
            if let Some(last) = self.diagnostics.last_mut() {
                last.labels.push(Label {
                    span: first,
                    text: "first here".to_owned(),
                });
            }
        }
    }

    fn merge(&mut self, value: u32, entries: &mut Vec<(u32, u32)>) {
        let sources = match self.document.content(value) {
            Some(Content::Mapping { .. }) => vec![value],
            Some(Content::Sequence { start, end }) => {
                range(&self.document.items, *start, *end).to_vec()
            }
            _ => Vec::new(),
        };
        let mut known: HashSet<Option<&str>> = HashSet::new();
        known.extend(entries.iter().map(|(key, _)| self.document.text(*key)));
        let mut wrong = sources.is_empty().then_some(value);
        for source in sources {
            let Some(Content::Mapping { start, end }) = self.document.content(source) else {
                wrong = Some(source);
                break;
            };
            for entry in range(&self.document.entries, *start, *end) {
                if known.insert(self.document.text(entry.0)) {
                    entries.push(*entry);
                }
            }
        }
        if let Some(wrong) = wrong {
            let span = self.document.span(wrong);
            self.error("yaml", span, "merges what is no mapping", "not a mapping");
        }
    }

    fn fail(&mut self, error: &ScanError) {
        let span = self.span(*error.marker(), *error.marker());
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                let what = format!("nests deeper than {MAX_DEPTH} levels");
                self.error("budget", span, &what, "too deep");
            }
            _ => {
                self.error(
                    "yaml",
                    span,
                    &format!("is no YAML: {}", error.info()),
                    "here",
                );
            }
        }
    }

    fn error(&mut self, code: &'static str, span: Span, what: &str, label: &str) {
        if self.diagnostics.len() < MAX_TOLD {
            let message = format!("document {} {what}", self.number);
            let error = Diagnostic::new(Severity::Error, code, message);
            self.diagnostics.push(error.at(span, label));
        }
    }

    /// A block's text without the line end and the indentation behind it.
    fn trim(&self, mut span: Span) -> Span {
        let text = self.text.get(span.start as usize..span.end as usize);
        let text = text.unwrap_or_default().trim_end();
        span.end = span.start + text.len() as u32;
        span
    }

    /// The place between two marks, in the whole text.
    fn span(&self, start: Marker, end: Marker) -> Span {
        let offset = |mark: Marker| (self.piece.start + mark.byte_offset().unwrap_or(0)) as u32;
        let column = if start.line() == 1 {
            self.piece.column
        } else {
            0
        };
        Span {
            file: self.file,
            start: offset(start),
            end: offset(end),
            line: self.piece.line + start.line() as u32,
            column: column + start.col() as u32 + 1,
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn range<T>(all: &[T], start: u32, end: u32) -> &[T] {
    all.get(start as usize..end as usize).unwrap_or_default()
}

/// The line around a byte, without its end.
pub(crate) fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let before = bytes.get(..at).unwrap_or(bytes);
    let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    let behind = bytes.get(start..).unwrap_or_default();
    let mut end = start + memchr::memchr(b'\n', behind).unwrap_or(behind.len());
    if bytes
        .get(start..end)
        .is_some_and(|line| line.ends_with(b"\r"))
    {
        end -= 1;
    }
    start..end
}

/// A text as part of a message.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}
