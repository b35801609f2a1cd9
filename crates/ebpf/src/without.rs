use crate::{Counts, Drained, Error, Options, Sink};

/// Stands in where the programs were not built.
#[derive(Debug)]
pub enum Probe {}

impl Probe {
    /// Cannot.
    ///
    /// # Errors
    /// Always [`Error::NotBuilt`].
    pub fn attach(_options: &Options) -> Result<Self, Error> {
        Err(Error::NotBuilt)
    }

    /// There is none to do this.
    ///
    /// # Errors
    /// None.
    pub fn drain(&mut self, _sink: &mut impl Sink) -> Result<Drained, Error> {
        match *self {}
    }

    /// There is none to do this.
    ///
    /// # Errors
    /// None.
    pub fn counts(&self) -> Result<Counts, Error> {
        match *self {}
    }
}
