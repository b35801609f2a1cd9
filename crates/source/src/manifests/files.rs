use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netverdict_manifest::{Diagnostic, FileId, Key, Object, Severity, Span, read_bytes};

use super::watch::Watch;
use crate::Stop;
use crate::objects::{Change, Gathered, Objects, stays};

/// Objects from files.
///
/// A path is a file of any name, a directory, or `-` for standard input. Of a directory all files
/// are read that end in `.yaml`, `.yml` or `.json`, however deep, in the order of their names; what
/// begins with a dot is passed over, and links to directories are not followed. A file that two
/// paths lead to is read once. Where two objects have one key, the last one counts, with a warning.
///
/// With [`Files::watch`] files and directories are followed without polling: what an editor
/// replaces, new files and directories, links that turn to another place. Changes that come
/// together (until nothing happens for 100 ms, 2 s at most) are told as one. A file that was in
/// order and has become broken stays as it was until it is mended, so that a slip of the pen opens
/// no network; so do one that cannot be read and a path that was given and is gone. A file of a
/// directory that is gone takes its objects with it. What
/// is no regular file (standard input, a pipe) is read once.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use netverdict_source::manifests::Files;
///
/// let change = Files::new(["policies/"]).read()?;
/// for (key, object) in &change.objects {
///     println!("{key}: {}", object.is_some());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    roots: Vec<PathBuf>,
    stop: Option<Stop>,
}

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of the paths that were given.
    #[error("the manifests {} cannot be read: {error}", shown(path))]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system tells no changes.
    #[error("{} cannot be watched for changes: {error}{}", path.display(), advice(error))]
    Watch {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Files {
    /// Files and directories, read once.
    pub fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self {
            roots: paths.into_iter().map(|p| p.as_ref().to_owned()).collect(),
            stop: None,
        }
    }

    /// Follows them until `stop`.
    #[must_use]
    pub fn watch(self, stop: Stop) -> Self {
        Self {
            stop: Some(stop),
            ..self
        }
    }

    /// Reads them now: the one change that tells all.
    ///
    /// # Errors
    /// [`Error::Read`], for a path that was given and cannot be read. All else is a diagnostic.
    pub fn read(&self) -> Result<Change, Error> {
        let mut state = State::default();
        state.look(&self.roots, None)?;
        Ok(state.gathered.change)
    }
}

impl Objects for Files {
    fn run(
        self: Box<Self>,
        take: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(stop) = &self.stop else {
            // There is nothing more to come, whether or not the taker wants more.
            let _ = take(self.read()?);
            return Ok(());
        };
        let mut watch = Watch::new()?;
        let mut state = State::default();
        state.look(&self.roots, Some(&mut watch))?;
        let mut outcome = state.gathered.tell(take);
        while outcome.is_continue() && watch.wait(stop)? {
            state.look(&self.roots, Some(&mut watch))?;
            if !state.gathered.change.is_empty() {
                outcome = state.gathered.tell(take);
            }
        }
        Ok(())
    }
}

/// What is known of the files.
#[derive(Default)]
struct State {
    gathered: Gathered,
    files: HashMap<PathBuf, Held>,
    told: HashMap<Key, Arc<Object>>,
    /// What was found wrong the last time, so that it is not said again.
    said: HashSet<(String, Vec<Span>)>,
    /// True once the first complete state is known.
    begun: bool,
}

/// Two texts have the same only if they are the same (or once in 2^64 times).
type Mark = u64;

/// A file that was read.
struct Held {
    file: FileId,
    mark: Mark,
    objects: Vec<Arc<Object>>,
    is_clean: bool,
    /// What stands there now, where that is broken and was not taken.
    broken: Option<Mark>,
}

impl State {
    /// Reads all that differs from what is known, and gathers what changes by that.
    fn look(&mut self, roots: &[PathBuf], mut watch: Option<&mut Watch>) -> Result<(), Error> {
        let mut walk = Walk {
            watch: watch.as_deref_mut(),
            files: Vec::new(),
            found: 0,
            known: HashSet::new(),
            faults: Vec::new(),
        };
        let mut empty = Vec::new();
        let mut kept = Vec::new();
        for root in roots {
            let before = walk.found;
            match walk.root(root) {
                Ok(()) if walk.found == before => empty.push(root),
                Ok(()) => {}
                // A directory that is unmounted for a moment opens no network.
                Err(error @ Error::Read { .. }) if self.begun => {
                    walk.faults.push(gone(&error));
                    let held = self.files.keys().filter(|path| path.starts_with(root));
                    kept.extend(held.cloned());
                }
                Err(error) => return Err(error),
            }
        }
        let Walk {
            mut files, faults, ..
        } = walk;
        if let Some(watch) = watch {
            watch.forget_others();
        }

        let mut standing = faults;
        standing.extend(empty.into_iter().map(|root| holds_nothing(root)));
        let mut missing = HashSet::new();
        for path in &files {
            match self.file(path) {
                Ok(()) => {}
                Err(error) if !self.begun && roots.contains(path) => {
                    let path = path.clone();
                    return Err(Error::Read { path, error });
                }
                // It was there a moment ago.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing.insert(path.clone());
                }
                Err(error) => standing.push(unreadable(path, &error)),
            }
        }
        files.retain(|path| !missing.contains(path));
        kept.sort();
        files.append(&mut kept);
        let there: HashSet<&PathBuf> = files.iter().collect();
        for (_, held) in self.files.extract_if(|path, _| !there.contains(path)) {
            self.gathered.forget(held.file);
        }
        self.compare(&files, &mut standing);
        self.say(standing);
        self.begun = true;
        Ok(())
    }

    /// Reads a file, and takes what it says unless it has become broken.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        if self.files.contains_key(path) && !is_regular(path)? {
            return Ok(());
        }
        let bytes = contents(path)?;
        let mark = mark(&bytes);
        let mut known = self.files.get_mut(path);
        let file = match &mut known {
            Some(held) if held.mark == mark => {
                held.broken = None;
                return Ok(());
            }
            Some(held) if held.broken == Some(mark) => return Ok(()),
            Some(held) => held.file,
            None => self.gathered.file(),
        };
        let name = shown(path).to_string();
        let (text, reading) = read_bytes(file, &bytes);
        let is_clean = reading
            .diagnostics
            .iter()
            .all(|of| of.severity != Severity::Error);
        if let Some(held) = known.filter(|held| held.is_clean && !is_clean) {
            let file = self.gathered.file();
            let (text, reading) = read_bytes(file, &bytes);
            self.gathered.passing(file, &name, text.into());
            let diagnostics = &mut self.gathered.change.diagnostics;
            diagnostics.extend(reading.diagnostics);
            diagnostics.push(stays(&name));
            held.broken = Some(mark);
            return Ok(());
        }
        self.gathered.text(file, &name, text.into());
        self.gathered.change.diagnostics.extend(reading.diagnostics);
        let held = Held {
            file,
            mark,
            objects: reading.objects.into_iter().map(Arc::new).collect(),
            is_clean,
            broken: None,
        };
        self.files.insert(path.to_owned(), held);
        Ok(())
    }

    /// Gathers how the objects differ from those that were told.
    fn compare(&mut self, order: &[PathBuf], standing: &mut Vec<Diagnostic>) {
        let mut now: HashMap<Key, Arc<Object>> = HashMap::with_capacity(self.told.len());
        for object in order
            .iter()
            .filter_map(|path| self.files.get(path))
            .flat_map(|held| &held.objects)
        {
            if let Some(other) = now.insert(object.key.clone(), Arc::clone(object)) {
                standing.push(twice(&other, object));
            }
        }
        for (key, object) in &now {
            let told = self.told.get(key);
            if told.is_none_or(|told| !Arc::ptr_eq(told, object) && told != object) {
                let put = Some(Arc::clone(object));
                self.gathered.change.objects.insert(key.clone(), put);
            }
        }
        for key in self.told.keys().filter(|key| !now.contains_key(key)) {
            self.gathered.change.objects.insert(key.clone(), None);
        }
        self.told = now;
    }

    /// Says what was not said the last time.
    fn say(&mut self, standing: Vec<Diagnostic>) {
        let mark = |diagnostic: &Diagnostic| {
            let spans = diagnostic.labels.iter().map(|label| label.span).collect();
            (diagnostic.message.clone(), spans)
        };
        let now = standing.iter().map(mark).collect();
        let before = std::mem::replace(&mut self.said, now);
        let is_new = |diagnostic: &Diagnostic| !before.contains(&mark(diagnostic));
        self.gathered
            .change
            .diagnostics
            .extend(standing.into_iter().filter(is_new));
    }
}

/// Finds files.
struct Walk<'a> {
    watch: Option<&'a mut Watch>,
    /// In the order in which they count.
    files: Vec<PathBuf>,
    /// How many, also those that were found before.
    found: usize,
    /// Where they lie in truth.
    known: HashSet<PathBuf>,
    faults: Vec<Diagnostic>,
}

impl Walk<'_> {
    fn root(&mut self, path: &Path) -> Result<(), Error> {
        if is_stdin(path) {
            self.add(path);
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            watch.place(path)?;
        }
        let fail = |error| Error::Read {
            path: path.to_owned(),
            error,
        };
        if fs::metadata(path).map_err(fail)?.is_dir() {
            let outcome = self.directory(path)?;
            outcome.map_err(fail)
        } else {
            self.add(path);
            Ok(())
        }
    }

    /// A directory that cannot be read is an error inside; outside are those of the watch.
    fn directory(&mut self, path: &Path) -> Result<io::Result<()>, Error> {
        if let Some(watch) = &mut self.watch {
            // Before it is read, so that nothing is missed in between.
            watch.directory(path)?;
        }
        let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return Ok(Err(error)),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // A link to a directory could lead back to here.
            if entry.file_type().is_ok_and(|of| of.is_dir()) {
                if let Err(error) = self.directory(&path)? {
                    // Else it went in this moment.
                    if error.kind() != ErrorKind::NotFound {
                        self.faults.push(unreadable(&path, &error));
                    }
                }
            } else if has_ending(&path) && !path.is_file() {
                self.faults.push(no_file(&path));
            } else if has_ending(&path) {
                if let (Some(watch), true) = (&mut self.watch, path.is_symlink()) {
                    watch.place(&path)?;
                }
                self.add(&path);
            }
        }
        Ok(Ok(()))
    }

    fn add(&mut self, path: &Path) {
        self.found += 1;
        let truth = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.known.insert(truth) {
            self.files.push(path.to_owned());
        }
    }
}

/// Bytes of a file that are read at most; the reader refuses less than this, and says so.
const LARGEST: u64 = 64 << 20;

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_stdin(path) {
        io::stdin().lock().take(LARGEST).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(path)?
            .take(LARGEST)
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn mark(bytes: &[u8]) -> Mark {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// False for what can be read once only.
fn is_regular(path: &Path) -> io::Result<bool> {
    Ok(!is_stdin(path) && fs::metadata(path)?.is_file())
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("yaml" | "yml" | "json"))
}

fn shown(path: &Path) -> std::path::Display<'_> {
    if is_stdin(path) {
        Path::new("<stdin>").display()
    } else {
        path.display()
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::ENOSPC) => {
            "; raise the limit with: sysctl fs.inotify.max_user_watches=524288"
        }
        Some(nix::libc::EMFILE) => {
            "; raise the limit with: sysctl fs.inotify.max_user_instances=1024"
        }
        _ => "",
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let message = format!("{} cannot be read: {error}", path.display());
    Diagnostic::new(Severity::Error, "unreadable", message)
}

fn no_file(path: &Path) -> Diagnostic {
    let message = format!("{} is passed over: it is no file", path.display());
    Diagnostic::new(Severity::Warning, "no-file", message).help(
        "a link that leads nowhere, a directory behind a link, or a pipe; name it to have it read",
    )
}

fn gone(error: &Error) -> Diagnostic {
    Diagnostic::new(Severity::Warning, "gone", error.to_string())
        .help("its objects stay as they were until it is back")
}

fn holds_nothing(path: &Path) -> Diagnostic {
    let message = format!("{} holds no manifest", path.display());
    Diagnostic::new(Severity::Warning, "no-manifest", message)
        .help("files that end in .yaml, .yml or .json are read")
}

fn twice(first: &Object, last: &Object) -> Diagnostic {
    let message = format!("{} is there twice; the last one counts", last.key);
    Diagnostic::new(Severity::Warning, "twice", message)
        .at(last.meta.span, "this one counts")
        .at(first.meta.span, "this one does not")
}
