//! Objects and names from manifests: what people write, and what `kubectl get … -o yaml` or
//! `-o json` wrote.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;

use netverdict_manifest::{FileId, Key, Span};
use netverdict_verdict::{Endpoints, NameChange};

use crate::kubernetes::{Facts, KINDS, Table};
use crate::objects::Text;

mod files;
mod watch;

pub use files::{Error, Files};

/// Names from files: Pods, Nodes, Services and NetworkAttachmentDefinitions, single or in lists,
/// any number of documents in a file, YAML or JSON. Other kinds are passed over. Which files of a
/// directory are read is told at [`Files`].
///
/// `kubectl get pods,nodes,services -A -o yaml` writes such a file; with
/// `network-attachment-definitions` behind it the networks of ClusterUserDefinedNetworks are
/// known, too.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::ops::ControlFlow;
/// use netverdict_source::manifests::Manifests;
/// use netverdict_verdict::{Endpoints, Names};
///
/// let manifests = Manifests::read(["cluster.yaml"])?;
/// for problem in manifests.problems() {
///     eprintln!("{problem}");
/// }
/// let mut names = Names::default();
/// Box::new(manifests).run(&mut |changes| {
///     changes.into_iter().for_each(|change| names.learn(change));
///     ControlFlow::Continue(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Manifests {
    table: Table,
    problems: Vec<Problem>,
    objects: usize,
}

/// A document or object that makes no sense. Its neighbours are not harmed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// The file, and the line in it, counted from 1; `None` for what is about no place.
    pub place: Option<(String, u32)>,
    /// What is wrong.
    pub fault: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line)) = &self.place {
            write!(f, "{file}:{line}: ")?;
        }
        f.write_str(&self.fault)
    }
}

impl Manifests {
    /// Reads files, and in directories, however deep, all files that end in `.yaml`, `.yml` or
    /// `.json`, in the order of their names.
    ///
    /// # Errors
    /// When a path of `paths` itself cannot be read. Everything else is a [`Problem`].
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let change = Files::new(paths).read()?;
        let mut manifests = Self::default();
        for diagnostic in change.diagnostics {
            manifests.problem(
                &change.texts,
                diagnostic.labels.first().map(|label| label.span),
                diagnostic.message,
            );
        }
        let named = |key: &Key| KINDS.contains(&key.kind);
        let objects = change.objects.into_iter().filter(|(key, _)| named(key));
        for (key, object) in objects {
            let Some(object) = object else { continue };
            let facts = Facts::of(&object);
            for fault in &facts.faults {
                manifests.problem(
                    &change.texts,
                    Some(object.meta.span),
                    format!("{key}: {fault}"),
                );
            }
            manifests.objects += 1;
            manifests.table.put(key, facts);
        }
        Ok(manifests)
    }

    /// What makes no sense.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many objects can tell names.
    pub fn objects(&self) -> usize {
        self.objects
    }

    fn problem(
        &mut self,
        texts: &BTreeMap<FileId, Option<Text>>,
        place: Option<Span>,
        fault: String,
    ) {
        let text = place.and_then(|span| texts.get(&span.file)?.as_ref());
        let line = place.map(|span| span.line);
        self.problems.push(Problem {
            place: text.map(|text| text.name.clone()).zip(line),
            fault,
        });
    }
}

impl Endpoints for Manifests {
    fn run(
        mut self: Box<Self>,
        take: &mut dyn FnMut(Vec<NameChange>) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // There is nothing more to come, whether or not the taker wants more.
        let _ = take(self.table.changes());
        Ok(())
    }
}
