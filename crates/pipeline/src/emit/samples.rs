use netverdict_types::{Input, Key, Origin, Probability, Sample};
use netverdict_wire::headers::parse_frame;

use super::{Sink, Taken};

/// Hands each sample over as a [`Sample`], of which the origin is the twin.
#[derive(Clone, Debug)]
pub struct Samples<F>(F);

impl<F: FnMut(&Sample<'_>)> Samples<F> {
    /// `take` is called for each sample.
    pub fn new(take: F) -> Self {
        Self(take)
    }
}

impl<F: FnMut(&Sample<'_>)> Sink for Samples<F> {
    fn sample(&mut self, taken: &Taken<'_>) {
        let length = taken.packet.length.max(taken.frame.len() as u32);
        let interface = taken.node.interface(taken.inport);
        (self.0)(&Sample {
            zone: taken.node.zone,
            origin: Origin::Twin,
            time: taken.time,
            key: Key::Cookie(taken.cookie),
            group: taken.node.group(taken.set_id),
            probability: Probability::from_u16(taken.probability),
            input: match interface {
                Some(interface) if !interface.name.is_empty() => Input::Name(&interface.name),
                Some(interface) if interface.index != 0 => Input::Index(interface.index),
                _ => Input::Unknown,
            },
            headers: parse_frame(taken.frame),
            length,
            packets: 1,
            bytes: u64::from(length),
            data: taken.frame,
        });
    }
}
