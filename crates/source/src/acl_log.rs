//! The log of ovn-controller as a source: read once, or followed as it grows.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netverdict_types::{Clock, ZoneId};
use netverdict_wire::acl_log;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::{Batch, Count, Counts, Sender, Stop};

/// Reads ACL verdicts out of a log.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use netverdict_source::{Stop, acl_log, channel};
/// use netverdict_types::{SystemClock, ZoneId};
///
/// let (sender, receiver) = channel(4);
/// let counters = Arc::new(acl_log::Counters::default());
/// let source = acl_log::AclLog::new(ZoneId(0), Arc::new(SystemClock), sender, Arc::clone(&counters));
/// let stop = Stop::new()?;
/// std::thread::spawn({
///     let stop = stop.clone();
///     move || source.follow("/var/log/ovn/ovn-controller.log".as_ref(), acl_log::Start::End, &stop)
/// });
/// while let Some(batch) = receiver.recv() {
///     for sample in batch.samples() {
///         println!("{:?}", sample.key);
///     }
///     receiver.give_back(batch);
/// }
/// # Ok(())
/// # }
/// ```
pub struct AclLog {
    zone: ZoneId,
    clock: Arc<dyn Clock>,
    sender: Sender,
    counters: Arc<Counters>,
}

/// Where in a file to start to follow it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// At its start.
    Beginning,
    /// At its end: only what comes from now on.
    End,
}

/// What this source counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines with a verdict.
    pub samples: Count,
    /// Lines of others.
    pub foreign: Count,
    /// Lines with a verdict that did not read: lost.
    pub malformed: Count,
    /// Lines of more than 64 KiB: lost.
    pub too_long: Count,
    /// How often the file was cut; what nobody had read by then is lost.
    pub truncated: Count,
    /// How often another file took the file's place. Nothing is lost by that.
    pub rotated: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("acl_log_samples", self.samples.read()),
            ("acl_log_foreign", self.foreign.read()),
            ("acl_log_malformed", self.malformed.read()),
            ("acl_log_too_long", self.too_long.read()),
            ("acl_log_truncated", self.truncated.read()),
            ("acl_log_rotated", self.rotated.read()),
        ]
    }
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or its directory.
    #[error("the log {path} cannot be {what}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was to be done with it.
        what: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Another input, such as a pipe.
    #[error("the log cannot be read: {0}")]
    Read(#[source] io::Error),
}

impl AclLog {
    /// A log of the ovn-controller of `zone`. The clock tells the time of lines without one.
    pub fn new(
        zone: ZoneId,
        clock: Arc<dyn Clock>,
        sender: Sender,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            zone,
            clock,
            sender,
            counters,
        }
    }

    /// Reads an input to its end: a file, or a pipe as long as it is open. What has arrived is
    /// sent before it waits for more.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(&self, mut input: impl Read) -> Result<(), Error> {
        let Some(mut lines) = self.lines() else {
            return Ok(());
        };
        loop {
            match lines.read(&mut input) {
                Ok(0) => break,
                Ok(_) if lines.send() => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Error::Read(error)),
            }
        }
        lines.end();
        lines.send();
        Ok(())
    }

    /// Follows a file as `tail -F` does: across rotation, truncation, and from before it exists.
    /// Returns when `stop` asks for it, or when the reader of the channel is gone.
    ///
    /// # Errors
    /// [`Error::File`], such as for a directory that does not exist.
    pub fn follow(&self, path: &Path, start: Start, stop: &Stop) -> Result<(), Error> {
        let fail = |what| {
            move |error: io::Error| Error::File {
                path: path.to_owned(),
                what,
                error,
            }
        };
        let Some(mut lines) = self.lines() else {
            return Ok(());
        };
        let watch = Watch::new(path).map_err(fail("watched"))?;
        let mut file = watch.open().map_err(fail("opened"))?;
        if let (Some(file), Start::End) = (&mut file, start) {
            file.skip().map_err(fail("read"))?;
        }
        let mut next: Option<Followed> = None;
        loop {
            if let Some(file) = &mut file {
                if file.was_cut().map_err(fail("looked at"))? {
                    self.counters.truncated.one();
                    lines.forget();
                }
                while lines.read(&mut file.file).map_err(fail("read"))? > 0 {
                    if !lines.send() {
                        return Ok(());
                    }
                }
            }
            // Whoever rotates makes the new file before the writer turns to it, so that the old
            // one may still grow. Lines in the new one show that the writer has turned.
            if next.is_none() {
                let known = file.as_ref().map(|file| file.identity);
                next = watch.open_other(known).map_err(fail("opened"))?;
            }
            let turned = match (&file, &next) {
                (None, Some(_)) => true,
                (Some(_), Some(next)) => !next.is_empty().map_err(fail("looked at"))?,
                (_, None) => false,
            };
            if turned {
                if let Some(mut old) = file.take() {
                    while lines.read(&mut old.file).map_err(fail("read"))? > 0 {
                        if !lines.send() {
                            return Ok(());
                        }
                    }
                    lines.end();
                    self.counters.rotated.one();
                    watch.forget(old);
                }
                file = next.take();
                continue;
            }
            if !lines.send() || !stop.wait(watch.as_fd()).map_err(fail("watched"))? {
                return Ok(());
            }
            watch.clear().map_err(fail("watched"))?;
            // A file that was replaced before anybody wrote to it.
            if let Some(stale) = next.take_if(|next| !watch.is_current(next)) {
                watch.forget(stale);
            }
        }
    }

    fn lines(&self) -> Option<Lines<'_>> {
        Some(Lines {
            source: self,
            batch: self.sender.batch()?,
            chunk: vec![0; LONGEST],
            begun: Vec::new(),
            skipping: false,
            scratch: String::new(),
        })
    }
}

/// A line longer than this is lost.
const LONGEST: usize = 64 << 10;

/// Cuts what is read into lines, and lines into samples.
struct Lines<'a> {
    source: &'a AclLog,
    batch: Batch,
    chunk: Vec<u8>,
    /// The start of a line whose end was not read yet.
    begun: Vec<u8>,
    /// Inside a line that is too long.
    skipping: bool,
    scratch: String,
}

impl Lines<'_> {
    /// Reads once and takes the lines that are whole. 0 is the end.
    fn read(&mut self, input: &mut impl Read) -> io::Result<usize> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let outcome = loop {
            match input.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.take(&chunk[..outcome.as_ref().map_or(0, |&n| n)]);
        self.chunk = chunk;
        outcome
    }

    fn take(&mut self, mut rest: &[u8]) {
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            if self.begun.is_empty() {
                self.line(&rest[..end]);
            } else {
                let mut line = std::mem::take(&mut self.begun);
                line.extend_from_slice(&rest[..end]);
                self.line(&line);
                line.clear();
                self.begun = line;
            }
            rest = &rest[end + 1..];
        }
        if self.skipping {
            return;
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LONGEST {
            self.skipping = true;
            self.source.counters.too_long.one();
            self.begun = Vec::new();
        }
    }

    /// The input ends: what is left is a line.
    fn end(&mut self) {
        let last = std::mem::take(&mut self.begun);
        if !last.is_empty() {
            self.line(&last);
        }
        self.skipping = false;
    }

    /// The input starts anew: what is left is nothing.
    fn forget(&mut self) {
        self.begun.clear();
        self.skipping = false;
    }

    fn line(&mut self, line: &[u8]) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        let counters = &self.source.counters;
        match acl_log::parse(line, &mut self.scratch) {
            Ok(Some(line)) => {
                counters.samples.one();
                let sample = line.sample(self.source.zone, self.source.clock.now());
                self.batch.push(&sample);
            }
            Ok(None) => counters.foreign.one(),
            Err(_) => counters.malformed.one(),
        }
    }

    /// Sends what was read. False when nobody listens any more.
    fn send(&mut self) -> bool {
        self.source.sender.exchange(&mut self.batch)
    }
}

/// Tells when the file at a path grows, or another one takes its place.
struct Watch {
    inotify: Inotify,
    path: PathBuf,
}

/// A file that is watched.
struct Followed {
    file: File,
    identity: (u64, u64),
    watch: WatchDescriptor,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let arrivals = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        let directory = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let here = directory(path);
        inotify.add_watch(&here, arrivals)?;
        // The file may be a link, and what it points to is rotated where it lies.
        if let Ok(target) = path.canonicalize() {
            let there = directory(&target);
            if there != here {
                inotify.add_watch(&there, arrivals)?;
            }
        }
        Ok(Self {
            inotify,
            path: path.to_owned(),
        })
    }

    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.inotify.as_fd()
    }

    /// Opens the file at the path; `None` where there is none.
    fn open(&self) -> io::Result<Option<Followed>> {
        self.open_other(None)
    }

    /// Opens the file at the path, unless it is the known one.
    fn open_other(&self, known: Option<(u64, u64)>) -> io::Result<Option<Followed>> {
        if known.is_some() && self.identity() == known {
            return Ok(None);
        }
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let identity = identity(&file.metadata()?);
        if Some(identity) == known {
            return Ok(None);
        }
        // By descriptor: the path may lead to another file by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = self
            .inotify
            .add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)?;
        Ok(Some(Followed {
            file,
            identity,
            watch,
        }))
    }

    fn is_current(&self, file: &Followed) -> bool {
        self.identity() == Some(file.identity)
    }

    fn identity(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().as_ref().map(identity)
    }

    fn forget(&self, file: Followed) {
        // The watch is gone with the file where that was removed.
        let _ = self.inotify.rm_watch(file.watch);
    }

    /// Takes the events that are there. What they say is looked up in the files themselves.
    fn clear(&self) -> io::Result<()> {
        loop {
            match self.inotify.read_events() {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Followed {
    /// Goes to the end.
    fn skip(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0)).map(drop)
    }

    /// True when the file became shorter than what was read of it; reading starts anew then.
    fn was_cut(&mut self) -> io::Result<bool> {
        let cut = self.file.metadata()?.len() < self.file.stream_position()?;
        if cut {
            self.file.rewind()?;
        }
        Ok(cut)
    }

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == 0)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::thread::JoinHandle;

    use netverdict_types::{Key, Timestamp};

    use super::*;
    use crate::{Receiver, channel};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(42)
        }
    }

    fn line(port: u16) -> String {
        format!(
            "ovs|00012|acl_log(ovn_pinctrl0)|INFO|name=\"n\", verdict=drop, severity=info, \
             direction=to-lport: tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1,tp_dst={port}\n"
        )
    }

    fn source(sender: Sender) -> (AclLog, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let source = AclLog::new(ZoneId(3), Arc::new(Fixed), sender, Arc::clone(&counters));
        (source, counters)
    }

    /// The ports of the next samples.
    fn ports(receiver: &Receiver, wanted: usize) -> Vec<u16> {
        let mut ports = Vec::new();
        while ports.len() < wanted {
            let Some(batch) = receiver.recv() else {
                break;
            };
            for sample in batch.samples() {
                assert_eq!((sample.zone, sample.time), (ZoneId(3), Timestamp(42)));
                assert!(matches!(sample.key, Key::Log { name: "n", .. }));
                ports.extend(sample.headers.dst_port);
            }
            receiver.give_back(batch);
        }
        ports
    }

    /// Gives the bytes in pieces of the given lengths.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(out.len());
            self.0.read(&mut out[..length])
        }
    }

    #[test]
    fn an_input_is_read_to_its_end() {
        let text = [
            line(1),
            "of others\n".to_owned(),
            line(2).replace("drop", "dropped"),
            format!("{}{}\n", line(3).trim_end(), ",x".repeat(100_000)),
            line(4),
            line(5).trim_end().to_owned(),
        ]
        .concat();
        for piece in [1, 7, 100, 10_000, 1_000_000] {
            let (sender, receiver) = channel(8);
            let (source, counters) = source(sender);
            let text = text.clone();
            let thread = std::thread::spawn(move || {
                source.read(Pieces(text.as_bytes(), piece)).unwrap();
            });
            assert_eq!(ports(&receiver, usize::MAX), [1, 4, 5], "pieces of {piece}");
            thread.join().unwrap();
            let counts: Vec<_> = counters.counts().into_iter().map(|(_, n)| n).collect();
            assert_eq!(counts, [3, 1, 1, 1, 0, 0], "pieces of {piece}");
        }
    }

    struct Log {
        directory: tempfile::TempDir,
        receiver: Receiver,
        counters: Arc<Counters>,
        stop: Stop,
        thread: JoinHandle<Result<(), Error>>,
    }

    impl Log {
        /// Follows `log` in a new directory; with a text when the file is there before.
        fn follow(before: Option<&str>, start: Start) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let (sender, receiver) = channel(8);
            let (source, counters) = source(sender);
            let stop = Stop::new().unwrap();
            let thread = std::thread::spawn({
                let stop = stop.clone();
                move || source.follow(&path, start, &stop)
            });
            Self {
                directory,
                receiver,
                counters,
                stop,
                thread,
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.path(name))
                .unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn end(self) {
            self.stop.stop();
            self.thread.join().unwrap().unwrap();
            assert!(self.receiver.recv().is_none());
        }
    }

    #[test]
    fn a_growing_file_is_followed() {
        let log = Log::follow(Some(&line(1)), Start::Beginning);
        assert_eq!(ports(&log.receiver, 1), [1]);
        let two = line(2);
        log.append("log", &two[..20]);
        log.append("log", &two[20..]);
        assert_eq!(ports(&log.receiver, 1), [2]);
        log.end();
    }

    #[test]
    fn rotation_loses_nothing() {
        let log = Log::follow(Some(&line(1)), Start::Beginning);
        assert_eq!(ports(&log.receiver, 1), [1]);
        // The writer goes on in the old file until it is told.
        fs::rename(log.path("log"), log.path("log.1")).unwrap();
        fs::write(log.path("log"), "").unwrap();
        log.append("log.1", &line(2));
        assert_eq!(ports(&log.receiver, 1), [2]);
        log.append("log.1", &line(3));
        log.append("log", &line(4));
        assert_eq!(ports(&log.receiver, 2), [3, 4]);
        assert_eq!(log.counters.rotated.read(), 1);
        fs::remove_file(log.path("log")).unwrap();
        log.append("log", &line(5));
        assert_eq!(ports(&log.receiver, 1), [5]);
        log.end();
    }

    #[test]
    fn truncation_starts_anew() {
        let log = Log::follow(Some(&line(1)), Start::Beginning);
        assert_eq!(ports(&log.receiver, 1), [1]);
        log.append("log", &line(2));
        assert_eq!(ports(&log.receiver, 1), [2]);
        fs::write(log.path("log"), line(3)).unwrap();
        assert_eq!(ports(&log.receiver, 1), [3]);
        assert_eq!(log.counters.truncated.read(), 1);
        log.end();
    }

    #[test]
    fn a_file_may_come_later() {
        // Not from the end: the file may be there before the source looks.
        let log = Log::follow(None, Start::Beginning);
        log.append("other", "x\n");
        log.append("log", &line(1));
        assert_eq!(ports(&log.receiver, 1), [1]);
        log.end();
    }

    #[test]
    fn a_reader_that_leaves_ends_it() {
        let log = Log::follow(Some(&line(1)), Start::Beginning);
        assert_eq!(ports(&log.receiver, 1), [1]);
        drop(log.receiver);
        fs::write(log.directory.path().join("log"), line(2).repeat(2)).unwrap();
        log.thread.join().unwrap().unwrap();
    }

    #[test]
    fn a_directory_must_exist() {
        let (sender, _receiver) = channel(1);
        let (source, _) = source(sender);
        let path = Path::new("/nonexistent-directory/log");
        let error = source.follow(path, Start::End, &Stop::new().unwrap());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("/nonexistent-directory/log")
        );
    }
}
