use crate::{Counts, Drained, Error, Options, Sink};

/// Programs in the kernel, attached until this is dropped.
#[derive(Debug)]
pub struct Probe {
    _private: (),
}

impl Probe {
    /// Loads the programs and attaches them. From now on the kernel counts.
    ///
    /// Samples of the network namespace of this process are kept, those of others are counted as
    /// filtered.
    ///
    /// # Errors
    /// Any; it says which privilege is missing, or what the kernel lacks.
    pub fn attach(_options: &Options) -> Result<Self, Error> {
        Err(Error::NotBuilt)
    }

    /// Hands over what was counted since the last time, and begins anew. Nothing is lost or
    /// counted twice by it, however busy the machine is.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses.
    pub fn drain(&mut self, _sink: &mut impl Sink) -> Result<Drained, Error> {
        Ok(Drained::default())
    }

    /// What the kernel counted since it was attached.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
