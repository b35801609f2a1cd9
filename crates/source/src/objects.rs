//! Objects for the policy compiler: from files ([`crate::manifests::Files`]) or from a live cluster
//! (`KubeObjects`), told in one way.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use netverdict_manifest::{Diagnostic, FileId, Key, Object, Severity};

/// A source of objects.
///
/// What a taker may rely on:
/// - The **first** change is the first complete state: whoever follows it may take what it does
///   not name for gone. It comes even where there is nothing (then it is empty).
/// - Each later change is the difference to what was told before, and a whole one: after the
///   source was blind for a while (a lost connection, a version that the server has forgotten, a
///   file that was replaced) all that went in between is told as gone.
/// - An object is told when it, its text or its place in the text differs from what was told last;
///   an object that did not change is not told again. A key or a text may be told as gone that
///   was never told as there.
/// - Places in an object and in a diagnostic lead into texts that were told with it or before.
/// - What makes no sense is a diagnostic, and costs no other object. What made sense before (a file
///   in whole, or an object of a cluster) stays as it was until it is mended or gone, and a
///   warning (`stays`) says so.
/// - What is true for a while only
///   (such as an API server that is away) is logged and tried again.
pub trait Objects: Send {
    /// Hands over what there is and then what changes, until there is no more or `take` breaks.
    /// The source waits while `take` works, and tells in one change what came in the meantime.
    ///
    /// # Errors
    /// Whatever makes the source useless; it is shown to people.
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// What changed, all at once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// Objects as they are now; `None` for those that went. In an order in which what others rest
    /// on comes first.
    pub objects: BTreeMap<Key, Option<Arc<Object>>>,
    /// Texts as they are now; `None` for those that no object refers to any more once this change
    /// is taken: they may be forgotten behind the objects.
    pub texts: BTreeMap<FileId, Option<Text>>,
    /// What there is to say about what was read for this change. It is not said again while it
    /// stays as it is.
    pub diagnostics: Vec<Diagnostic>,
}

/// A text that objects stand in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    /// The path as it was given or found, `<stdin>`, or for an object of a cluster
    /// `cluster:RESOURCE/NAMESPACE/NAME`.
    pub name: String,
    /// All of it. What was no UTF-8 reads `?`.
    pub text: Arc<str>,
}

impl Change {
    /// True if it says nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.texts.is_empty() && self.diagnostics.is_empty()
    }
}

/// Gathers a change, and numbers texts.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) change: Change,
    last: u32,
    /// Numbers whose texts are forgotten.
    free: Vec<FileId>,
    /// Texts that only the diagnostics of this change need, and of the change before.
    passing: [Vec<FileId>; 2],
}

impl Gathered {
    /// A number for a text.
    pub(crate) fn file(&mut self) -> FileId {
        self.free.pop().unwrap_or_else(|| {
            // 0 stands for no text.
            self.last += 1;
            FileId(self.last)
        })
    }

    pub(crate) fn text(&mut self, file: FileId, name: &str, text: Arc<str>) {
        let name = name.to_owned();
        self.change.texts.insert(file, Some(Text { name, text }));
    }

    /// Takes a text that is of no use behind this change.
    pub(crate) fn passing(&mut self, file: FileId, name: &str, text: Arc<str>) {
        self.text(file, name, text);
        self.passing[0].push(file);
    }

    pub(crate) fn forget(&mut self, file: FileId) {
        self.change.texts.insert(file, None);
    }

    /// Hands over what was gathered.
    pub(crate) fn tell(
        &mut self,
        take: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let [now, before] = &mut self.passing;
        let passed = std::mem::replace(before, std::mem::take(now));
        let mut change = std::mem::take(&mut self.change);
        change
            .texts
            .extend(passed.into_iter().map(|file| (file, None)));
        let gone = change.texts.iter().filter(|(_, text)| text.is_none());
        self.free.extend(gone.map(|(file, _)| *file));
        take(change)
    }
}

/// Says that a text has become broken and was not taken.
pub(crate) fn stays(name: &str) -> Diagnostic {
    let message = format!("{name} has become broken and stays as it was");
    Diagnostic::new(Severity::Warning, "stays", message).help("it follows once it is mended")
}
