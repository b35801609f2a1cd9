//! Samples over a Unix datagram socket, for datapaths in user space, where the kernel has no psample.
//!
//! The messages are those that the kernel's psample would send, one or several to a datagram. [`PsampleUnix`] receives them, and [`Output`] is
//! a sender that behaves as a sender should:
//!
//! - It never waits: when the socket takes no more (`EAGAIN`, `ENOBUFS`), the samples are lost, not the packets late.
//! - It counts its messages in `nlmsg_seq`, from 1, those that were lost too, and puts a number of its own into `nlmsg_pid`: so that the
//!   receiver sees what is missing. 0 is not counted.
//! - It puts several messages into a datagram when they come fast: the kernel queues few datagrams (`net.unix.max_dgram_qlen`), of any size.
//! - When nobody listens (`ECONNREFUSED`, `ENOENT`), it tries again about once a second.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netverdict_types::{Clock, Timestamp, ZoneId};
use netverdict_wire::psample::{Decoder, Stamp, stamp, stamps};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::receive::{Codec, Failed, Receiving};
use crate::socket::Drops;
use crate::sys::Datagram;
use crate::{Batch, Count, Counts, Sender, Stop};

/// Receives samples from any number of senders.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("samples");
/// use std::sync::Arc;
/// use netverdict_source::{Stop, channel, psample_unix};
/// use netverdict_types::SystemClock;
/// use netverdict_wire::psample::{Message, encode};
///
/// let (sender, receiver) = channel(4);
/// let counters = Arc::new(psample_unix::Counters::default());
/// let options = psample_unix::Options::new(&path);
/// let source =
///     psample_unix::PsampleUnix::bind(&options, Arc::new(SystemClock), sender, Arc::clone(&counters))?;
/// let stop = Stop::new()?;
/// let thread = std::thread::spawn({
///     let stop = stop.clone();
///     move || source.run(&stop)
/// });
///
/// let mut output = psample_unix::Output::new(&path)?;
/// let mut message = Vec::new();
/// let cookie = [2, 0, 0, 1, 0, 0, 0, 7];
/// encode(
///     &Message { family: 16, cookie: Some(&cookie), probability: true, ..Message::default() },
///     &mut message,
/// );
/// output.push(&mut message);
/// output.flush();
///
/// let batch = receiver.recv().ok_or("no batch")?;
/// assert_eq!(batch.samples().count(), 1);
/// stop.stop();
/// # thread.join().map_err(|_| "panicked")??;
/// # assert!(!path.exists());
/// # Ok(())
/// # }
/// ```
pub struct PsampleUnix {
    socket: Socket,
    // Removes the file when it is dropped.
    _file: SocketFile,
    receiving: Receiving,
    messages: Messages,
}

/// What to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the socket shall be. It can be written by its owner and group, and is removed at the end.
    pub path: PathBuf,
    /// The zone of this machine's OVN.
    pub zone: ZoneId,
    /// The sample groups to keep; none keeps all.
    pub groups: Vec<u32>,
}

impl Options {
    /// All groups, zone 0.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            zone: ZoneId(0),
            groups: Vec::new(),
        }
    }
}

/// What this source counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that were read, with one message each or more.
    pub datagrams: Count,
    /// Messages that became samples.
    pub samples: Count,
    /// Samples with a cookie that is not OVN's.
    pub unknown_cookies: Count,
    /// Messages of other groups, or in another form than Open vSwitch's.
    pub foreign: Count,
    /// Messages that could not be read: lost.
    pub malformed: Count,
    /// Messages that never came, by their senders' sequence numbers. Those of senders that do not count, and those that a sender lost before
    /// its first one came, are not among them.
    pub lost: Count,
    /// Senders that began to count anew.
    pub restarts: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("psample_unix_datagrams", self.datagrams.read()),
            ("psample_unix_samples", self.samples.read()),
            ("psample_unix_unknown_cookies", self.unknown_cookies.read()),
            ("psample_unix_foreign", self.foreign.read()),
            ("psample_unix_malformed", self.malformed.read()),
            ("psample_unix_lost", self.lost.read()),
            ("psample_unix_restarts", self.restarts.read()),
        ]
    }
}

/// Why samples cannot be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody else receives there.
    #[error("another process receives samples at {0}: end it, or name another path")]
    InUse(PathBuf),
    /// There is a file, but no socket.
    #[error("{0} is there and no socket: it was left as it is; name another path")]
    NoSocket(PathBuf),
    /// The socket could not be made.
    #[error("cannot receive samples at {path}: {error}")]
    Bind {
        /// Where it should have been.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The socket failed while it was in use.
    #[error("the socket for samples cannot {what}: {error}")]
    Socket {
        /// What it was to do.
        what: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

impl PsampleUnix {
    /// Makes the socket. A socket that a process left there when it died is replaced.
    ///
    /// # Errors
    /// All but [`Error::Socket`].
    pub fn bind(
        options: &Options,
        clock: Arc<dyn Clock>,
        sender: Sender,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let path = &options.path;
        let failed = |error| Error::Bind {
            path: path.clone(),
            error,
        };
        make_way(path)?;
        let (socket, file) = listen(path).map_err(failed)?;
        let drops = Drops::new(socket.as_fd()).map_err(failed)?;
        Ok(Self {
            socket,
            _file: file,
            receiving: Receiving {
                holds: MOST_HELD,
                drops,
                clock,
                sender,
                at_once: DATAGRAMS,
                longest: LONGEST,
            },
            messages: Messages {
                zone: options.zone,
                decoder: Decoder {
                    family: None,
                    groups: options.groups.clone(),
                    ..Decoder::default()
                },
                next: HashMap::new(),
                counters,
            },
        })
    }

    /// Sends samples until it is stopped or its reader is gone. While nothing arrives it sleeps.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn run(mut self, stop: &Stop) -> Result<(), Error> {
        self.receiving
            .run(self.socket.as_fd(), &mut self.messages, stop)
            .map_err(|Failed { what, error }| Error::Socket { what, error })
    }
}

/// Sends samples to a [`PsampleUnix`], or to whoever receives there.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    socket: UnixDatagram,
    heard: bool,
    tried: Instant,
    datagram: Vec<u8>,
    messages: u64,
    stamp: Stamp,
    /// Messages that were handed over.
    pub sent: u64,
    /// Messages that the receiver was too slow for: lost.
    pub lost: u64,
    /// Messages for which nobody was there: lost.
    pub unheard: u64,
}

impl Output {
    /// A datagram is sent at the latest when it holds so many bytes.
    pub const FULL: usize = 32 << 10;

    /// Opens it. It does not matter whether somebody receives at `path` yet.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // The queued datagrams count against the sender's buffer. Without it there is room for fewer.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER)
            .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER));
        let mut output = Self {
            path: path.into(),
            socket,
            heard: false,
            tried: Instant::now(),
            datagram: Vec::with_capacity(2 * Self::FULL),
            messages: 0,
            stamp: Stamp {
                sequence: 0,
                port: std::process::id(),
            },
            sent: 0,
            lost: 0,
            unheard: 0,
        };
        output.connect();
        Ok(output)
    }

    /// The number that tells this sender from others; the process's if nothing else is said.
    #[must_use]
    pub fn with_port(mut self, port: u32) -> Self {
        self.stamp.port = port;
        self
    }

    /// Sends a message with the next one, or when the datagram is full. Its sequence number and port are set.
    pub fn push(&mut self, message: &mut [u8]) {
        if self.datagram.len() + message.len() > LONGEST {
            self.flush();
        }
        self.stamp.sequence = match self.stamp.sequence {
            u32::MAX => 1,
            number => number + 1,
        };
        stamp(message, self.stamp);
        self.datagram.extend_from_slice(message);
        self.messages += 1;
        if self.datagram.len() >= Self::FULL {
            self.flush();
        }
    }

    /// Sends what there is now.
    pub fn flush(&mut self) {
        if self.messages == 0 {
            return;
        }
        if !self.heard && self.tried.elapsed() >= AGAIN {
            self.connect();
        }
        let result = match self.heard {
            true => self.socket.send(&self.datagram).map(|_| ()),
            false => Err(io::ErrorKind::NotConnected.into()),
        };
        match result {
            Ok(()) => self.sent += self.messages,
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    || error.raw_os_error() == Some(libc::ENOBUFS) =>
            {
                self.lost += self.messages;
            }
            Err(_) => {
                self.heard = false;
                self.unheard += self.messages;
            }
        }
        self.datagram.clear();
        self.messages = 0;
    }

    fn connect(&mut self) {
        self.tried = Instant::now();
        self.heard = self.socket.connect(&self.path).is_ok();
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

/// How many datagrams wait at most at a Unix socket that is made now (unix(7)).
fn queue_length() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen").ok()?;
    text.trim().parse().ok()
}

/// Removes a socket that nobody receives at.
fn make_way(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::Bind {
        path: path.to_owned(),
        error,
    };
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(Error::NoSocket(path.to_owned()));
    }
    match UnixDatagram::unbound().and_then(|probe| probe.connect(path)) {
        // A socket of another type is in use, too.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        _ => Err(Error::InUse(path.to_owned())),
    }
}

fn listen(path: &Path) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM.cloexec(), None)?;
    // The file gets the mode of the socket, so that it is never open to all, less the umask.
    fchmod(&socket, Mode::from_bits_truncate(MODE)).map_err(io::Error::from)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: (made.dev(), made.ino()),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    Ok((socket, file))
}

/// The file of a socket; removed with it.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have put his own there.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct Messages {
    zone: ZoneId,
    decoder: Decoder,
    /// The next number of each sender.
    next: HashMap<u32, u32>,
    counters: Arc<Counters>,
}

impl Messages {
    fn follow(&mut self, Stamp { sequence, port }: Stamp) {
        if sequence == 0 {
            return;
        }
        if self.next.len() >= MOST_SENDERS && !self.next.contains_key(&port) {
            self.next.clear();
        }
        let following = match sequence {
            u32::MAX => 1,
            number => number + 1,
        };
        let Some(expected) = self.next.insert(port, following) else {
            return;
        };
        match sequence.wrapping_sub(expected) {
            0 => {}
            missing if missing < FARTHEST => {
                if self.counters.lost.read() == 0 {
                    tell_of_queue();
                }
                self.counters.lost.add(u64::from(missing));
            }
            _ => self.counters.restarts.one(),
        }
    }
}

/// Says what is behind it when samples get lost on the way: most often the kernel's short queue.
fn tell_of_queue() {
    match queue_length().filter(|queue| *queue < SHORT_QUEUE) {
        Some(queue) => tracing::warn!(
            "samples get lost before they are read: the kernel queues only {queue} datagrams of a Unix socket; \
             `sysctl -w net.unix.max_dgram_qlen=512` before it is made"
        ),
        None => tracing::warn!("samples get lost before they are read: too many come at once"),
    }
}

impl Codec for Messages {
    fn datagram(&mut self, datagram: &Datagram<'_>, now: Timestamp, batch: &mut Batch) {
        self.counters.datagrams.one();
        if datagram.truncated {
            self.counters.malformed.one();
        }
        for stamp in stamps(datagram.bytes) {
            self.follow(stamp);
        }
        self.decoder
            .decode(datagram.bytes, now, self.zone, |sample| {
                batch.push(&sample);
            });
    }

    fn goes_on(&mut self, _: &io::Error) -> bool {
        false
    }

    fn count(&mut self) {
        let met = std::mem::take(&mut self.decoder.counters);
        self.counters.samples.add(met.samples);
        self.counters.unknown_cookies.add(met.unknown_cookies);
        self.counters.foreign.add(met.foreign() + met.control);
        self.counters
            .malformed
            .add(met.malformed + met.errors + met.overruns);
    }

    /// The kernel drops nothing here: it refuses what it cannot queue.
    fn dropped(&self) -> &Count {
        &self.counters.lost
    }
}

/// Datagrams in one system call.
const DATAGRAMS: usize = 32;
/// Room for a datagram: for the longest message of psample (PSAMPLE_MAX_PACKET_SIZE in net/psample/psample.c).
const LONGEST: usize = 65_536 + 64;
/// What is still read after the end was asked for: more than the kernel queues.
const MOST_HELD: usize = 512 * LONGEST;
const MODE: u32 = 0o660;
/// Senders whose numbers are followed.
const MOST_SENDERS: usize = 4_096;
/// A jump of more than this is a restart, not a loss.
const FARTHEST: u32 = 1 << 28;
/// Fewer than these are gone in a moment.
const SHORT_QUEUE: u64 = 100;
const SEND_BUFFER: usize = 4 << 20;
const AGAIN: Duration = Duration::from_secs(1);
