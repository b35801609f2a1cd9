use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use netverdict_manifest::{Diagnostic, FileId, Object, Severity, Span};

/// What stands in a file.
pub(super) struct Raw {
    /// All of it; bytes that are no UTF-8 read `?`.
    pub(super) text: Arc<str>,
    /// The documents with such bytes, and the first of those.
    damaged: Vec<(Range<usize>, usize)>,
}

/// Bytes of a file that are read: places are counted in 32 bits, and no cluster fills this.
const LARGEST: u64 = 256 << 20;

impl Raw {
    /// Reads a file, or standard input for `-`.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut input: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin().lock()),
            _ => Box::new(File::open(path)?),
        };
        let mut bytes = Vec::new();
        input.by_ref().take(LARGEST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            let limit = LARGEST >> 20;
            return Err(io::Error::other(format!("it is larger than {limit} MiB")));
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: Vec<u8>) -> Self {
        let mut bytes = match String::from_utf8(bytes) {
            Ok(text) => {
                return Self {
                    text: text.into(),
                    damaged: Vec::new(),
                };
            }
            Err(error) => error.into_bytes(),
        };
        let mut damaged = Vec::new();
        for document in documents(&bytes) {
            let mut first = None;
            let mut at = document.start;
            while let Err(error) = std::str::from_utf8(&bytes[at..document.end]) {
                at += error.valid_up_to();
                first = first.or(Some(at));
                let length = error.error_len().unwrap_or(document.end - at);
                bytes[at..at + length].fill(b'?');
            }
            damaged.extend(first.map(|first| (document, first)));
        }
        Self {
            text: String::from_utf8_lossy(&bytes).into(),
            damaged,
        }
    }

    /// The objects in it, and what there is to say about them.
    pub(super) fn objects(&self, file: FileId) -> (Vec<Object>, Vec<Diagnostic>) {
        let read = |text: &str| -> (Vec<Object>, Vec<Diagnostic>) {
            let _ = text;
            (Vec::new(), Vec::new())
        };
        if self.damaged.is_empty() {
            return read(&self.text);
        }
        let mut bytes = self.text.as_bytes().to_vec();
        for (document, _) in &self.damaged {
            for byte in bytes[document.clone()]
                .iter_mut()
                .filter(|byte| **byte != b'\n')
            {
                *byte = b' ';
            }
        }
        let (objects, mut diagnostics) = read(&String::from_utf8_lossy(&bytes));
        diagnostics.extend(self.damaged.iter().map(|(_, first)| {
            Diagnostic::new(Severity::Error, "no-utf-8", "a document is no UTF-8")
                .at(self.place(file, *first), "these bytes are no character")
                .help("the other documents of the file are read")
        }));
        (objects, diagnostics)
    }

    fn place(&self, file: FileId, at: usize) -> Span {
        let before = &self.text[..at];
        let lines = before.matches('\n').count();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        Span {
            file,
            start: number(at),
            end: number(at + 1),
            line: number(1 + lines),
            column: number(1 + line.chars().count()),
        }
    }
}

/// The documents of a YAML file. A line that begins with `---` ends a document wherever it stands
/// (YAML 1.2.2, section 9.1.2).
fn documents(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let rest = line.strip_prefix(b"---");
        if rest
            .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
        {
            found.push(start..at);
            start = at;
        }
        at += line.len();
    }
    found.push(start..at);
    found
}
