//! The kernel's conntrack table, by ctnetlink: of this network namespace, or of all of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use netverdict_wire::conntrack::{Body, Entry, Messages, dump_request};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt,
};

/// The table of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Which namespace; `None` for the one that the process lives in.
    pub namespace: Option<Namespace>,
    /// Its entries.
    pub entries: Vec<Entry>,
    /// Entries that did not decode: left out.
    pub malformed: u64,
    /// How often the table was asked for again because it changed meanwhile.
    pub repeated: u32,
    /// True when it changed at every try: entries may be missing or doubled.
    pub interrupted: bool,
}

/// A network namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    /// Its inode number, as `lsns` and `ls -l /proc/PID/ns/net` show it.
    pub inode: u64,
    /// The path it was found by: under `/run/netns`, or of a process that lives in it.
    pub path: PathBuf,
}

/// Why a conntrack table cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refuses.
    #[error(
        "the kernel does not let this process read conntrack entries: \
         run as root, or with CAP_NET_ADMIN (all namespaces: CAP_SYS_ADMIN too)"
    )]
    NotPermitted,
    /// The kernel has no ctnetlink.
    #[error(
        "this kernel does not offer its conntrack entries: load the module \
         nf_conntrack_netlink, or give the output of `ovs-appctl dpctl/dump-conntrack -m -s`"
    )]
    Unsupported,
    /// A namespace cannot be entered.
    #[error("the network namespace {path} cannot be entered: {error}")]
    Namespace {
        /// The path it was found by.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Another system call failed.
    #[error("conntrack entries cannot be read: {what}: {error}")]
    System {
        /// What was done.
        what: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// Reads the table of the namespace that the calling thread lives in. The datapath of Open
/// vSwitch in the kernel keeps its connections in the namespace of ovs-vswitchd, the host's.
///
/// # Errors
/// [`Error`].
///
/// ```no_run
/// let table = netverdict_source::conntrack::read()?;
/// for entry in table.entries.iter().filter(|entry| entry.is_sampled()) {
///     println!("zone {}: point {}", entry.zone, entry.obs_point_id());
/// }
/// # Ok::<(), netverdict_source::conntrack::Error>(())
/// ```
pub fn read() -> Result<Table, Error> {
    let socket = Socket::open()?;
    let mut table = Table::default();
    for sequence in 1..=TRIES {
        table.entries.clear();
        table.malformed = 0;
        table.repeated = sequence - 1;
        table.interrupted = socket.dump(sequence, &mut table)?;
        if !table.interrupted {
            break;
        }
    }
    Ok(table)
}

/// Reads the tables of all network namespaces that some process lives in or that `ip netns`
/// knows, each once. Namespaces that are gone by the time they are entered are passed over; what
/// else fails stands in place of the table.
///
/// # Errors
/// [`Error`], when namespaces cannot even be listed.
pub fn read_all() -> Result<Vec<Result<Table, Error>>, Error> {
    let namespaces = namespaces().map_err(system("namespaces are listed"))?;
    // Threads of a process may live in different namespaces, and this one stays where it is.
    let thread = std::thread::Builder::new()
        .name("conntrack".to_owned())
        .spawn(move || {
            namespaces
                .into_iter()
                .filter_map(|namespace| read_in(namespace).transpose())
                .collect()
        })
        .map_err(system("a thread is started"))?;
    thread
        .join()
        .map_err(|_| system("the reading thread ends")(ErrorKind::Other.into()))
}

/// How often a table is asked for at most.
const TRIES: u32 = 5;

/// Larger than any part of a dump that the kernel sends at once (32 KiB).
const DATAGRAM: usize = 128 << 10;

struct Socket(OwnedFd);

impl Socket {
    fn open() -> Result<Self, Error> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .map_err(refused("a netlink socket is opened"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(refused("the socket is bound"))?;
        // Only a convenience: a dump waits for its reader.
        let _ = setsockopt(&fd, sockopt::RcvBuf, &(1 << 20));
        Ok(Self(fd))
    }

    /// Asks for the table and reads it. True when it changed meanwhile.
    fn dump(&self, sequence: u32, table: &mut Table) -> Result<bool, Error> {
        let fd = self.0.as_raw_fd();
        sendto(
            fd,
            &dump_request(sequence),
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )
        .map_err(refused("the table is asked for"))?;
        let mut datagram = vec![0; DATAGRAM];
        let mut interrupted = false;
        loop {
            let length = match recv(fd, &mut datagram, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                // Parts of the dump were dropped: the same as if it had been interrupted.
                Err(Errno::ENOBUFS) => {
                    interrupted = true;
                    continue;
                }
                Err(error) => return Err(refused("the table is read")(error)),
            };
            for message in Messages::new(&datagram[..length]) {
                let message = match message {
                    Ok(message) if message.sequence == sequence => message,
                    // Left over from a dump that was given up.
                    Ok(_) => continue,
                    Err(_) => {
                        table.malformed += 1;
                        continue;
                    }
                };
                interrupted |= message.interrupted;
                match message.body {
                    Body::Entry(entry) => table.entries.push(entry),
                    Body::Done(0) => return Ok(interrupted),
                    Body::Done(code) => {
                        let error = Errno::from_raw(code.saturating_neg());
                        return Err(refused("the table is read")(error));
                    }
                    Body::Error(0) => {}
                    Body::Error(code) => {
                        return Err(refused("the table is asked for")(Errno::from_raw(code)));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What a failed call means. The kernel answers a request for a netfilter subsystem that it does
/// not have with EINVAL.
fn refused(what: &'static str) -> impl Fn(Errno) -> Error {
    move |error| match error {
        Errno::EPERM | Errno::EACCES => Error::NotPermitted,
        Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => {
            Error::Unsupported
        }
        error => system(what)(error.into()),
    }
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| Error::System { what, error }
}

/// Reads the table of one namespace, which the thread enters for good. `None` when the namespace
/// is gone.
fn read_in(namespace: Namespace) -> Result<Option<Table>, Error> {
    let fail = |error: io::Error| Error::Namespace {
        path: namespace.path.clone(),
        error,
    };
    let file = match File::open(&namespace.path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    match setns(file.as_fd(), CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => return Err(Error::NotPermitted),
        Err(error) => return Err(fail(error.into())),
    }
    let table = read()?;
    Ok(Some(Table {
        namespace: Some(namespace),
        ..table
    }))
}

/// All network namespaces that have a path, this process's own first, each once.
fn namespaces() -> io::Result<Vec<Namespace>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    let mut add = |path: PathBuf| {
        // Follows the link: two namespaces differ by inode alone, they lie on one device.
        if let Ok(metadata) = fs::metadata(&path)
            && seen.insert(metadata.ino())
        {
            all.push(Namespace {
                inode: metadata.ino(),
                path,
            });
        }
    };
    add(PathBuf::from("/proc/self/ns/net"));
    // Names first: they say more than process numbers.
    for directory in ["/run/netns", "/var/run/netns"] {
        for path in children(Path::new(directory))? {
            add(path);
        }
    }
    for path in children(Path::new("/proc"))? {
        let is_process = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if is_process {
            add(path.join("ns/net"));
        }
    }
    Ok(all)
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut children: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    children.sort();
    Ok(children)
}

fn is_gone(error: &io::Error) -> bool {
    // A process without threads has no namespaces any more.
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_namespace_is_listed_once() {
        let all = namespaces().unwrap();
        let own = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(all.iter().filter(|known| known.inode == own).count(), 1);
        let inodes: BTreeSet<_> = all.iter().map(|known| known.inode).collect();
        assert_eq!(inodes.len(), all.len());
    }

    #[test]
    fn the_kernel_answers_or_says_why_not() {
        match read() {
            Ok(table) => {
                assert_eq!(table.malformed, 0);
                assert!(table.namespace.is_none());
            }
            Err(error @ (Error::NotPermitted | Error::Unsupported)) => {
                println!("not checked against a kernel here: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_namespace_that_is_gone_is_no_error() {
        let path = PathBuf::from("/proc/4194305/ns/net");
        let outcome = read_in(Namespace { inode: 1, path });
        assert!(matches!(outcome, Ok(None)));
    }
}
