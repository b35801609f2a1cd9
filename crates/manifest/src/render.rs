//! Texts by number, and diagnostics shown in them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::tree::line_around;
use crate::{Diagnostic, FileId, Reading, Severity, Span, read_bytes};

/// Bytes of a part of a text that is shown as it is.
const LONG: usize = 4096;
/// Bytes of a longer line that are shown before and behind a place.
const AROUND: usize = 80;

/// The texts that were read, by number.
///
/// ```
/// use netverdict_manifest::Sources;
///
/// let mut sources = Sources::default();
/// let (_, reading) = sources.read("pods.yaml", b"kind: Pod\napiVersion: v2\n");
/// let told = sources.render(&reading.diagnostics, false);
/// assert!(told.contains("pods.yaml:2:13"), "{told}");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sources {
    texts: BTreeMap<FileId, Source>,
    last: u32,
}

#[derive(Clone, Debug)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Sources {
    /// Keeps a text; `name` is what it is called in messages, as a path. No number is given twice,
    /// and none is [`FileId`] 0, which stands for no text.
    pub fn add(&mut self, name: &str, text: &str) -> FileId {
        self.last += 1;
        let (name, text) = (name.into(), text.into());
        self.texts.insert(FileId(self.last), Source { name, text });
        FileId(self.last)
    }

    /// Keeps a text that has a number already, in the place of one with the same.
    pub fn put(&mut self, file: FileId, name: &str, text: Arc<str>) {
        let name = name.into();
        self.texts.insert(file, Source { name, text });
        self.last = self.last.max(file.0);
    }

    /// Reads a text, as [`read_bytes`] does, and keeps it.
    pub fn read(&mut self, name: &str, bytes: &[u8]) -> (FileId, Reading) {
        let file = self.add(name, "");
        let (text, reading) = read_bytes(file, bytes);
        if let Some(source) = self.texts.get_mut(&file) {
            source.text = text.into();
        }
        (file, reading)
    }

    /// Forgets a text.
    pub fn remove(&mut self, file: FileId) {
        self.texts.remove(&file);
    }

    /// What a text is called.
    pub fn name(&self, file: FileId) -> Option<&str> {
        self.texts.get(&file).map(|source| &*source.name)
    }

    /// A text.
    pub fn text(&self, file: FileId) -> Option<&str> {
        self.texts.get(&file).map(|source| &*source.text)
    }

    /// The line in which a place begins, without its end.
    pub fn line(&self, span: Span) -> Option<&str> {
        let text = self.text(span.file)?;
        text.get(line_around(text, span.start as usize))
    }

    /// What stands at a place.
    pub fn slice(&self, span: Span) -> Option<&str> {
        self.text(span.file)?
            .get(span.start as usize..span.end as usize)
    }

    /// Diagnostics as rustc shows them, in the order of texts and places; those without a place
    /// come last. With escape sequences for colours if `colors`. Ends with a line end unless there
    /// is nothing to show.
    pub fn render(&self, diagnostics: &[Diagnostic], colors: bool) -> String {
        let renderer = match colors {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let mut sorted = diagnostics.iter().collect::<Vec<_>>();
        sorted.sort_by_key(|diagnostic| {
            let first = diagnostic.labels.first();
            let place = first.map(|label| (label.span.file, label.span.start));
            (place.is_none(), place)
        });
        let mut shown = String::new();
        for diagnostic in sorted {
            if !shown.is_empty() {
                shown.push('\n');
            }
            let group = renderer.render(&[self.group(diagnostic)]);
            // The renderer heads a part of a text without a path of its own by an empty path.
            for line in group.lines().filter(|line| !is_empty_path(line)) {
                shown.push_str(line);
                shown.push('\n');
            }
        }
        shown
    }

    /// A place in its line, as compilers show it, with what is to be seen there; `None` if the text is not known. Every line ends with a line
    /// end.
    pub fn snippet(&self, span: Span, label: &str, colors: bool) -> Option<String> {
        let source = self.texts.get(&span.file)?;
        let renderer = match colors {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let part = Part::of(&source.text, span);
        let text = source.text.get(part.range.clone())?;
        let annotation = AnnotationKind::Primary.span(part.place(&source.text, span));
        let snippet = Snippet::source(text)
            .line_start(part.line as usize)
            .annotation(match label {
                "" => annotation,
                label => annotation.label(label),
            });
        let group = Group::with_level(Level::NOTE).element(snippet);
        let mut shown = String::new();
        for line in renderer.render(&[group]).lines() {
            if !is_empty_path(line) {
                shown.push_str(line);
                shown.push('\n');
            }
        }
        Some(shown)
    }

    fn group<'s>(&'s self, diagnostic: &'s Diagnostic) -> Group<'s> {
        let level = match diagnostic.severity {
            Severity::Note => Level::NOTE,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let title = level.primary_title(one_line(&diagnostic.message));
        let mut group = Group::with_title(title.id(diagnostic.code.0));
        let labels = diagnostic.labels.iter();
        let known = labels.filter_map(|label| Some((label, self.texts.get(&label.span.file)?)));
        let mut known = known.peekable();
        let mut kind = AnnotationKind::Primary;
        while let Some((label, source)) = known.next() {
            let mut part = Part::of(&source.text, label.span);
            let mut here = vec![label];
            // Places near each other are shown in one part of the text.
            while let Some((next, _)) = known.next_if(|(next, _)| {
                next.span.file == label.span.file && part.extend(&source.text, next.span)
            }) {
                here.push(next);
            }
            let text = source.text.get(part.range.clone()).unwrap_or_default();
            let mut snippet = Snippet::source(text).line_start(part.line as usize);
            for label in here {
                let annotation = kind.span(part.place(&source.text, label.span));
                snippet = snippet.annotation(annotation.label(label.text.as_str()));
                kind = AnnotationKind::Context;
            }
            let origin = Origin::path(&*source.name)
                .line(label.span.line as usize)
                .char_column(label.span.column as usize);
            group = group.element(origin).element(snippet);
        }
        match &diagnostic.help {
            Some(help) => group.element(Level::HELP.message(one_line(help))),
            None => group,
        }
    }
}

/// A name out of a manifest may hold anything; a message is one line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A part of a text that is shown.
struct Part {
    range: Range<usize>,
    /// The number of its first line.
    line: u32,
    /// True if it is not whole lines: a line can be as long as a text.
    is_cut: bool,
}

impl Part {
    /// The line in which a place begins, or what is around the place.
    fn of(text: &str, span: Span) -> Self {
        let range = line_around(text, span.start as usize);
        if range.len() <= LONG {
            return Self {
                range,
                line: span.line,
                is_cut: false,
            };
        }
        let (from, to) = (span.start as usize, span.end as usize);
        let start = range.start.max(from.saturating_sub(AROUND));
        let end = range.end.min(to.min(from + AROUND) + AROUND).max(start);
        Self {
            range: text.floor_char_boundary(start)..text.ceil_char_boundary(end),
            line: span.line,
            is_cut: true,
        }
    }

    /// Takes in a further place if it is near.
    fn extend(&mut self, text: &str, span: Span) -> bool {
        let other = Self::of(text, span);
        let both = self.range.start.min(other.range.start)..self.range.end.max(other.range.end);
        let is_near = both.len() <= LONG && !self.is_cut && !other.is_cut;
        if is_near {
            self.range = both;
            self.line = self.line.min(other.line);
        }
        is_near
    }

    /// The place of a span within; the first line of it if it has several.
    fn place(&self, text: &str, span: Span) -> Range<usize> {
        let end = line_around(text, span.start as usize).end;
        let end = self.range.end.min(end).min(span.end as usize);
        let start = (span.start as usize).clamp(self.range.start, self.range.end);
        start - self.range.start..end.max(start) - self.range.start
    }
}

/// True for a line that is `:::` alone, escape sequences aside.
fn is_empty_path(line: &str) -> bool {
    let mut rest = line;
    let mut words = String::new();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        words.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    words.push_str(rest);
    words.trim() == ":::"
}
