//! Samples of the kernel's datapath: the psample family of generic netlink.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use netverdict_types::{Clock, Timestamp, ZoneId};
use netverdict_wire::psample::{Decoder, Family, FamilyError, attr};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};
use socket2::{SockFilter, SockRef};

use crate::receive::{Codec, Failed, Receiving};
use crate::socket::{Drops, ReceiveBuffer};
use crate::sys::{self, Datagram};
use crate::{Batch, Count, Counts, Sender, Stop};

/// Receives the samples of the network namespace that it was opened in.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use netverdict_source::{Stop, channel, psample};
/// use netverdict_types::SystemClock;
///
/// let (sender, receiver) = channel(4);
/// let counters = Arc::new(psample::Counters::default());
/// let options = psample::Options { groups: vec![10], ..psample::Options::default() };
/// let source = psample::Psample::open(&options, Arc::new(SystemClock), sender, Arc::clone(&counters))?;
/// let stop = Stop::new()?;
/// std::thread::spawn({
///     let stop = stop.clone();
///     move || source.run(&stop)
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
pub struct Psample {
    socket: OwnedFd,
    receive_buffer: ReceiveBuffer,
    receiving: Receiving,
    messages: Messages,
}

/// What to receive.
#[derive(Clone, Debug)]
pub struct Options {
    /// The zone of this machine's OVN.
    pub zone: ZoneId,
    /// The sample groups to keep; none keeps all. The kernel does not even wake us for others.
    pub groups: Vec<u32>,
    /// Wanted size of the socket's receive buffer in bytes.
    pub receive_buffer: usize,
}

impl Default for Options {
    /// All groups, zone 0, a receive buffer of 16 MiB.
    fn default() -> Self {
        Self {
            zone: ZoneId(0),
            groups: Vec::new(),
            receive_buffer: 16 << 20,
        }
    }
}

/// What this source counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that were read: one message each.
    pub datagrams: Count,
    /// Messages that became samples.
    pub samples: Count,
    /// Samples with a cookie that is not OVN's.
    pub unknown_cookies: Count,
    /// Messages of other users of psample.
    pub foreign: Count,
    /// Messages that could not be read, or did not come from the kernel: lost.
    pub malformed: Count,
    /// Messages that the kernel dropped because the socket's buffer was full: lost.
    pub dropped: Count,
    /// How often the kernel told of such a loss (ENOBUFS, or NLMSG_OVERRUN).
    pub overruns: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("psample_datagrams", self.datagrams.read()),
            ("psample_samples", self.samples.read()),
            ("psample_unknown_cookies", self.unknown_cookies.read()),
            ("psample_foreign", self.foreign.read()),
            ("psample_malformed", self.malformed.read()),
            ("psample_dropped", self.dropped.read()),
            ("psample_overruns", self.overruns.read()),
        ]
    }
}

/// Why samples cannot be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel does not have the psample family.
    #[error(
        "the kernel has no psample: load it with `modprobe psample`; Open vSwitch samples into it \
         from Linux 6.11 on"
    )]
    NoFamily,
    /// The process may not join the multicast group.
    #[error("no permission to receive samples: run as root, or give the program CAP_NET_ADMIN")]
    NoPermission,
    /// The kernel's answer about the family was none of those that it should give.
    #[error("the kernel's answer about psample cannot be used: {0}")]
    Family(#[source] FamilyError),
    /// The socket could not be set up, or failed later.
    #[error("the netlink socket for samples cannot {what}: {error}")]
    Socket {
        /// What it was to do.
        what: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

impl Psample {
    /// Joins the kernel's samples of this network namespace, which must be that of the datapath.
    /// From now on the kernel keeps what it samples.
    ///
    /// # Errors
    /// Any; [`Error::NoFamily`] and [`Error::NoPermission`] are the usual ones.
    pub fn open(
        options: &Options,
        clock: Arc<dyn Clock>,
        sender: Sender,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let family = resolve()?;
        let socket = netlink_socket()?;
        let receive_buffer = ReceiveBuffer::set(&socket, options.receive_buffer)
            .map_err(|error| failed("get a receive buffer", error))?;
        if let Some(filter) = group_filter(&options.groups) {
            SockRef::from(&socket)
                .attach_filter(&filter)
                .map_err(|error| failed("take a filter of groups", error))?;
        }
        let drops =
            Drops::new(socket.as_fd()).map_err(|error| failed("tell what it drops", error))?;
        match sys::join_group(socket.as_fd(), family.packets) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Error::NoPermission);
            }
            Err(error) => return Err(failed("join the group of samples", error)),
        }
        Ok(Self {
            socket,
            receive_buffer,
            receiving: Receiving {
                holds: receive_buffer.bytes,
                drops,
                clock,
                sender,
                at_once: DATAGRAMS,
                longest: LONGEST,
            },
            messages: Messages {
                zone: options.zone,
                decoder: Decoder {
                    family: Some(family.id),
                    groups: options.groups.clone(),
                    ..Decoder::default()
                },
                counters,
            },
        })
    }

    /// What the kernel keeps for it while it does not read.
    pub fn receive_buffer(&self) -> ReceiveBuffer {
        self.receive_buffer
    }

    /// Sends samples until it is stopped or its reader is gone. While nothing arrives it sleeps.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn run(mut self, stop: &Stop) -> Result<(), Error> {
        self.receiving
            .run(self.socket.as_fd(), &mut self.messages, stop)
            .map_err(|Failed { what, error }| failed(what, error))
    }
}

struct Messages {
    zone: ZoneId,
    decoder: Decoder,
    counters: Arc<Counters>,
}

impl Codec for Messages {
    fn datagram(&mut self, datagram: &Datagram<'_>, now: Timestamp, batch: &mut Batch) {
        self.counters.datagrams.one();
        if datagram.truncated || datagram.netlink_port() != Some(0) {
            self.counters.malformed.one();
            return;
        }
        self.decoder
            .decode(datagram.bytes, now, self.zone, |sample| {
                batch.push(&sample);
            });
    }

    /// The kernel tells so of a loss, and drops everything until the queue was empty once.
    fn goes_on(&mut self, error: &io::Error) -> bool {
        let lost = error.raw_os_error() == Some(libc::ENOBUFS);
        self.counters.overruns.add(u64::from(lost));
        lost
    }

    fn count(&mut self) {
        let met = std::mem::take(&mut self.decoder.counters);
        self.counters.samples.add(met.samples);
        self.counters.unknown_cookies.add(met.unknown_cookies);
        self.counters.foreign.add(met.foreign());
        self.counters.malformed.add(met.malformed + met.errors);
        self.counters.overruns.add(met.overruns);
    }

    fn dropped(&self) -> &Count {
        &self.counters.dropped
    }
}

/// Asks the kernel for the numbers of the family and its group.
fn resolve() -> Result<Family, Error> {
    let socket = netlink_socket()?;
    send(socket.as_raw_fd(), &Family::request(), MsgFlags::empty())
        .map_err(|error| failed("ask for psample", error.into()))?;
    let mut answer = vec![0; LONGEST];
    // The kernel answers before `send` is over.
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)
        .map_err(|error| failed("get an answer about psample", error.into()))?;
    match Family::parse(answer.get(..length).unwrap_or_default()) {
        Ok(family) => Ok(family),
        Err(FamilyError::Refused(libc::ENOENT)) => Err(Error::NoFamily),
        Err(error) => Err(Error::Family(error)),
    }
}

fn netlink_socket() -> Result<OwnedFd, Error> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkGeneric,
    )
    .map_err(|error| match error {
        // A kernel without generic netlink has no psample either.
        nix::Error::EPROTONOSUPPORT => Error::NoFamily,
        other => failed("be opened", other.into()),
    })?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))
        .map_err(|error| failed("be bound", error.into()))?;
    Ok(socket)
}

/// A classic BPF program that keeps messages of these groups, and those without a group, for us
/// to count; `None` where it would keep all, or be too long.
fn group_filter(groups: &[u32]) -> Option<Vec<SockFilter>> {
    if groups.is_empty() || groups.len() > MOST_FILTERED {
        return None;
    }
    let instruction =
        |code: u32, yes: usize, value: u32| SockFilter::new(code as u16, yes as u8, 0, value);
    // Attributes come in any order: the kernel finds that of the group, behind both headers.
    let mut program = vec![
        instruction(
            libc::BPF_LDX | libc::BPF_IMM,
            0,
            u32::from(attr::SAMPLE_GROUP),
        ),
        instruction(libc::BPF_LD | libc::BPF_IMM, 0, HEADERS),
        instruction(
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            0,
            FIND_ATTRIBUTE,
        ),
        // None: to the end, which keeps it.
        instruction(JUMP_IF_EQUAL, groups.len() + 3, 0),
        instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0),
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 4),
    ];
    for (place, group) in groups.iter().enumerate() {
        // The program reads big endian, the kernel wrote as it is used to.
        let value = u32::from_be_bytes(group.to_ne_bytes());
        program.push(instruction(JUMP_IF_EQUAL, groups.len() - place, value));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, 0));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, u32::MAX));
    Some(program)
}

fn failed(what: &'static str, error: io::Error) -> Error {
    Error::Socket { what, error }
}

/// Datagrams in one system call.
const DATAGRAMS: usize = 32;
/// No message of psample is longer (PSAMPLE_MAX_PACKET_SIZE in net/psample/psample.c).
const LONGEST: usize = 65_536 + 64;
/// Jumps of the filter reach 255 instructions.
const MOST_FILTERED: usize = 200;
/// Bytes of the netlink and the generic netlink header.
const HEADERS: u32 = 20;
/// SKF_AD_OFF + SKF_AD_NLATTR.
const FIND_ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
const JUMP_IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use netverdict_wire::psample::{Message, encode};

    use super::*;

    /// The kernel runs the same program for a local datagram socket.
    #[test]
    fn the_filter_keeps_our_groups_and_what_has_none() {
        let groups = [10, 0x0102_0304, 7];
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver)
            .attach_filter(&group_filter(&groups).unwrap())
            .unwrap();
        receiver.set_nonblocking(true).unwrap();
        for (group, input, kept) in [
            (Some(10), Some(4), true),
            (Some(11), Some(4), false),
            (Some(0x0102_0304), None, true),
            (Some(0x0403_0201), None, false),
            (Some(7), None, true),
            (None, Some(4), true),
            (Some(0), None, false),
        ] {
            let mut message = Vec::new();
            encode(
                &Message {
                    family: 34,
                    in_index: input,
                    group,
                    rate: Some(10),
                    data: Some(&[10, 0, 0, 0, 7, 0, 0, 0]),
                    ..Message::default()
                },
                &mut message,
            );
            sender.send(&message).unwrap();
            let got = receiver.recv(&mut [0; 200]).is_ok();
            assert_eq!(got, kept, "{group:?}");
        }
    }

    #[test]
    fn a_filter_too_long_is_left_to_the_decoder() {
        assert!(group_filter(&[]).is_none());
        let many: Vec<u32> = (0..200).collect();
        let program = group_filter(&many).unwrap();
        let (_sender, receiver) = UnixDatagram::pair().unwrap();
        SockRef::from(&receiver).attach_filter(&program).unwrap();
        assert!(group_filter(&vec![1; 201]).is_none());
    }

    /// Whether this machine has psample or not, the kernel's answer is understood.
    #[test]
    fn the_kernels_answer_is_understood() {
        match resolve() {
            Ok(family) => assert!(family.id >= 16),
            Err(Error::NoFamily) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
