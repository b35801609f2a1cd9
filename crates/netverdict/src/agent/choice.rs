//! Which source an agent reads where nobody says so.

use std::net::SocketAddr;
use std::sync::Arc;

use netverdict_source::psample;
use netverdict_types::{SystemClock, causes};

use crate::exit::tell;
use crate::sources::{Kind, Live, Spec};

/// The best source that works here: psample, else IPFIX at this address; says why not a better one.
pub(crate) fn choose(ipfix: SocketAddr) -> Spec {
    let (sender, _batches) = netverdict_source::channel(1);
    let options = psample::Options::default();
    let counters = Arc::new(psample::Counters::default());
    match psample::Psample::open(&options, Arc::new(SystemClock), sender, counters) {
        Ok(_works) => Spec::psample(),
        Err(error) => {
            tell(format_args!(
                "psample cannot be read ({}): listening for IPFIX at {ipfix} instead",
                causes(&error)
            ));
            Spec {
                kind: Kind::Live(Live::Ipfix(ipfix)),
                zone: None,
            }
        }
    }
}
