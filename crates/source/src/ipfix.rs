//! IPFIX over UDP, as Open vSwitch sends it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use netverdict_types::{Clock, Timestamp, ZoneId};
use netverdict_wire::ipfix::{Decoder, Limits};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::receive::{Codec, Receiving};
use crate::socket::{Drops, ReceiveBuffer};
use crate::sys::Datagram;
use crate::{Batch, Count, Counts, Sender, Stop};

/// Collects IPFIX messages from any number of exporters.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use netverdict_source::{Stop, channel, ipfix};
/// use netverdict_types::SystemClock;
///
/// let (sender, receiver) = channel(4);
/// let counters = Arc::new(ipfix::Counters::default());
/// let options = ipfix::Options::new("[::]:4739".parse()?);
/// let source = ipfix::Ipfix::bind(&options, Arc::new(SystemClock), sender, Arc::clone(&counters))?;
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
pub struct Ipfix {
    socket: Socket,
    receive_buffer: ReceiveBuffer,
    receiving: Receiving,
    messages: Messages,
}

/// How to collect.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. `[::]` takes IPv4 as well.
    pub address: SocketAddr,
    /// The zone of exporters that [`Options::zones`] does not have.
    pub zone: ZoneId,
    /// The zone of each exporter, by its address: the observation domain does not tell it.
    pub zones: HashMap<IpAddr, ZoneId>,
    /// Wanted size of the socket's receive buffer in bytes.
    pub receive_buffer: usize,
    /// What to keep for exporters.
    pub limits: Limits,
}

impl Options {
    /// Everything as usual: zone 0, a receive buffer of 16 MiB.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            zone: ZoneId(0),
            zones: HashMap::new(),
            receive_buffer: 16 << 20,
            limits: Limits::default(),
        }
    }
}

/// What this source counts. All but the first four are those of
/// [`netverdict_wire::ipfix::Counters`].
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that were read.
    pub datagrams: Count,
    /// Datagrams that the kernel dropped because the socket's buffer was full: lost.
    pub dropped: Count,
    /// Datagrams of more than 64 KiB, or from no IP address: lost.
    pub unreadable: Count,
    /// Data sets that wait for their template now.
    pub waiting: Count,
    /// Records that became samples.
    pub samples: Count,
    /// Records without an observation point.
    pub foreign: Count,
    /// Records about the exporter itself.
    pub options_records: Count,
    /// Data messages that never came, by the exporters' sequence numbers. Those that the kernel
    /// dropped here are among them.
    pub lost: Count,
    /// Data messages that came out of order.
    pub late: Count,
    /// Data messages whose number had come before.
    pub repeated: Count,
    /// Exporters that began to count anew.
    pub restarts: Count,
    /// Data sets that came before their template.
    pub sets_waited: Count,
    /// Data sets whose template came in time.
    pub sets_replayed: Count,
    /// Data sets whose template did not come in time: lost.
    pub sets_expired: Count,
    /// Data sets given up because too many waited, or their exporter was forgotten: lost.
    pub sets_overflowed: Count,
    /// Messages, sets, templates and records that could not be read: lost.
    pub malformed: Count,
    /// Messages that exporters say they failed to send, all together.
    pub not_sent: Count,
}

impl Counts for Counters {
    fn counts(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("ipfix_datagrams", self.datagrams.read()),
            ("ipfix_dropped", self.dropped.read()),
            ("ipfix_unreadable", self.unreadable.read()),
            ("ipfix_sets_without_template", self.waiting.read()),
            ("ipfix_samples", self.samples.read()),
            ("ipfix_foreign", self.foreign.read()),
            ("ipfix_options_records", self.options_records.read()),
            ("ipfix_lost", self.lost.read()),
            ("ipfix_late", self.late.read()),
            ("ipfix_repeated", self.repeated.read()),
            ("ipfix_restarts", self.restarts.read()),
            ("ipfix_sets_waited", self.sets_waited.read()),
            ("ipfix_sets_replayed", self.sets_replayed.read()),
            ("ipfix_sets_expired", self.sets_expired.read()),
            ("ipfix_sets_overflowed", self.sets_overflowed.read()),
            ("ipfix_malformed", self.malformed.read()),
            ("ipfix_not_sent", self.not_sent.read()),
        ]
    }
}

impl Counters {
    fn set(&self, decoder: &Decoder) {
        let met = decoder.counters();
        self.waiting.set(decoder.waiting() as u64);
        self.samples.set(met.samples);
        self.foreign.set(met.foreign_records);
        self.options_records.set(met.options_records);
        self.lost.set(met.lost);
        self.late.set(met.late);
        self.repeated.set(met.repeated);
        self.restarts.set(met.restarts);
        self.sets_waited.set(met.sets_waited);
        self.sets_replayed.set(met.sets_replayed);
        self.sets_expired.set(met.sets_expired);
        self.sets_overflowed
            .set(met.sets_overflowed + met.sets_orphaned);
        self.malformed.set(
            met.malformed_messages
                + met.malformed_sets
                + met.malformed_templates
                + met.malformed_records
                + met.reserved_sets
                + met.templates_refused,
        );
        self.not_sent.set(
            decoder
                .exporters()
                .filter_map(|exporter| exporter.not_sent)
                .sum(),
        );
    }
}

/// Why IPFIX cannot be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not ours, is in use, or needs a privilege.
    #[error("cannot listen for IPFIX on {address}: {error}")]
    Bind {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// There is no way to the collector.
    #[error("cannot send IPFIX to {collector}: {error}")]
    Send {
        /// Where it should have gone.
        collector: SocketAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The socket failed while it was in use.
    #[error("the IPFIX socket failed: {0}")]
    Socket(#[source] io::Error),
}

impl Ipfix {
    /// Begins to listen. From now on the kernel keeps what arrives.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn bind(
        options: &Options,
        clock: Arc<dyn Clock>,
        sender: Sender,
        counters: Arc<Counters>,
    ) -> Result<Self, Error> {
        let listen = || {
            let address = options.address;
            let socket = Socket::new(
                Domain::for_address(address),
                Type::DGRAM.cloexec(),
                Some(Protocol::UDP),
            )?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            let receive_buffer = ReceiveBuffer::set(&socket, options.receive_buffer)?;
            socket.bind(&SockAddr::from(address))?;
            let drops = Drops::new(socket.as_fd())?;
            Ok((socket, receive_buffer, drops))
        };
        let (socket, receive_buffer, drops) = listen().map_err(|error| Error::Bind {
            address: options.address,
            error,
        })?;
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
                zones: options.zones.clone(),
                decoder: Decoder::new(options.limits),
                counters,
                told: Told::Nothing,
            },
        })
    }

    /// The address that it listens on, with the port that was chosen if 0 was given.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
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
            .map_err(|failed| Error::Socket(failed.error))
    }
}

/// Sends IPFIX messages to a collector, one a datagram, and never waits, as Open vSwitch does.
#[derive(Debug)]
pub struct Output(UdpSocket);

impl Output {
    /// Opens a socket to a collector, whether one is there or not.
    ///
    /// # Errors
    /// [`Error::Send`].
    pub fn new(collector: SocketAddr) -> Result<Self, Error> {
        let open = || {
            let any: SocketAddr = match collector {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(collector)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        open()
            .map(Self)
            .map_err(|error| Error::Send { collector, error })
    }

    /// Whether a message could be sent. A collector that is not there shows at the next message.
    pub fn send(&self, message: &[u8]) -> bool {
        self.0.send(message).is_ok()
    }
}

struct Messages {
    zone: ZoneId,
    zones: HashMap<IpAddr, ZoneId>,
    decoder: Decoder,
    counters: Arc<Counters>,
    told: Told,
}

/// What the user was told last about templates, which a collector that starts late waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    RecordsWait,
    TemplatesCame,
}

impl Codec for Messages {
    fn datagram(&mut self, datagram: &Datagram<'_>, now: Timestamp, batch: &mut Batch) {
        self.counters.datagrams.one();
        let (Some(exporter), false) = (datagram.sender(), datagram.truncated) else {
            self.counters.unreadable.one();
            return;
        };
        let zone = match self.zones.is_empty() {
            true => self.zone,
            false => *self.zones.get(&exporter.ip()).unwrap_or(&self.zone),
        };
        self.decoder
            .decode(datagram.bytes, exporter, now, zone, |sample| {
                batch.push(&sample);
            });
    }

    /// After an ICMP error that came back for nothing that we sent.
    fn goes_on(&mut self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::ConnectionRefused
    }

    fn count(&mut self) {
        self.counters.set(&self.decoder);
        let waiting = self.decoder.waiting();
        match self.told {
            Told::Nothing if waiting > 0 => {
                self.told = Told::RecordsWait;
                tracing::warn!(
                    "IPFIX records came before their template and wait for it: Open vSwitch \
                     repeats its templates every `template_interval` seconds (table IPFIX; 600 \
                     by default)"
                );
            }
            Told::Nothing | Told::RecordsWait
                if waiting == 0 && self.decoder.counters().templates > 0 =>
            {
                self.told = Told::TemplatesCame;
                tracing::info!("the IPFIX templates have come: records are read from here on");
            }
            _ => {}
        }
    }

    fn dropped(&self) -> &Count {
        &self.counters.dropped
    }
}

/// Datagrams in one system call.
const DATAGRAMS: usize = 64;
/// No UDP datagram is longer.
const LONGEST: usize = 65_536;
