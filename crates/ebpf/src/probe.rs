use crate::kernel::flows::Flows;
use crate::kernel::samples::Samples;
use crate::kernel::{self, WallClock};
use crate::{Counts, Drained, Error, Options, Sink};

/// Programs in the kernel, attached until this is dropped.
#[derive(Debug)]
pub struct Probe {
    samples: Option<Samples>,
    flows: Option<Flows>,
}

impl Probe {
    /// Loads the programs and attaches them. From now on the kernel counts.
    ///
    /// Samples of the network namespace of this process are kept, those of others are counted as
    /// filtered.
    ///
    /// # Errors
    /// Any; it says which privilege is missing, or what the kernel lacks.
    pub fn attach(options: &Options) -> Result<Self, Error> {
        kernel::require_capabilities()?;
        let samples = options
            .samples
            .then(|| Samples::attach(options))
            .transpose()?;
        let flows = (!options.interfaces.0.is_empty())
            .then(|| Flows::attach(options))
            .transpose()?;
        Ok(Self { samples, flows })
    }

    /// Hands over what was counted since the last time, and begins anew. Nothing is lost or
    /// counted twice by it, however busy the machine is.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses.
    pub fn drain(&mut self, sink: &mut impl Sink) -> Result<Drained, Error> {
        let mut drained = Drained::default();
        let clock = WallClock::now()?;
        if let Some(samples) = &mut self.samples {
            samples.drain(clock, sink, &mut drained)?;
        }
        if let Some(flows) = &mut self.flows {
            flows.drain(clock, sink, &mut drained)?;
        }
        Ok(drained)
    }

    /// What the kernel counted since it was attached.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses.
    pub fn counts(&self) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        if let Some(samples) = &self.samples {
            samples.counts(&mut counts)?;
        }
        if let Some(flows) = &self.flows {
            flows.counts(&mut counts)?;
        }
        Ok(counts)
    }
}
