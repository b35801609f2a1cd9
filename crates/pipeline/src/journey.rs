//! A packet's way: over load balancers, switches, routers and zones.

use netverdict_types::Timestamp;

use crate::conntrack::Conntrack;
use crate::{At, Lport, Northbound, Observer, Packet, Stages};

/// One node's part of the twin: the rows of its zone, what runs the ACL stages, and its conntrack.
#[derive(Debug)]
pub struct Zone<S> {
    /// Its rows.
    pub northbound: Northbound,
    /// What runs the ACL stages of its switches.
    pub stages: S,
    /// Its connections.
    pub conntrack: Conntrack,
}

/// The twin of a cluster.
#[derive(Debug)]
pub struct Twin<S> {
    /// Its zones, by number.
    pub zones: Vec<Zone<S>>,
}

/// A logical port of a zone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    /// The zone, by its number in [`Twin::zones`].
    pub zone: usize,
    /// The port.
    pub port: Lport,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It comes out at a port, with these headers.
    Delivered(Place, Packet),
    /// It leaves the cluster's networks, by this port of a switch (`localnet`) or the last router that knew a way.
    Outside(Place, Packet),
    /// An ACL stage of a zone drops it.
    Dropped {
        /// The zone.
        zone: usize,
        /// The table.
        at: At,
    },
    /// An ACL or a load balancer without backends rejects it; the answer goes back to the sender.
    Rejected {
        /// The zone.
        zone: usize,
        /// The table; `None` for a load balancer.
        at: Option<At>,
        /// The TCP reset or ICMP error.
        answer: Packet,
    },
    /// It gets lost for another reason.
    Lost {
        /// The zone.
        zone: usize,
        /// The reason.
        reason: Lost,
    },
}

/// Why a packet gets lost though no ACL drops it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Lost {
    /// No switch of the zone has the port.
    NoSwitch,
    /// The switch has no port for the destination, and no router.
    UnknownDestination,
    /// A router has no route to the destination.
    NoRoute,
    /// The next zone is not known.
    NoSuchZone,
    /// A service has no endpoints, and does not reject.
    NoBackends,
    /// The time to live is over.
    Ttl,
    /// Routers send it in circles.
    Loop,
}

impl<S: Stages> Twin<S> {
    /// Sends a packet into a port and takes it to its end. The answer of a reject is not sent back by itself.
    pub fn send(
        &mut self,
        from: Place,
        packet: Packet,
        now: Timestamp,
        observer: &mut impl Observer,
    ) -> Outcome {
        let _ = (packet, now, observer);
        Outcome::Lost {
            zone: from.zone,
            reason: Lost::NoSwitch,
        }
    }
}
