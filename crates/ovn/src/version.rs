use std::fmt;

/// A release of OVN, by year and month, as in `25.03`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Two-digit year.
    pub year: u16,
    /// Month, 3 or 9.
    pub month: u16,
}

impl Version {
    /// The first release with Sample, Sample_Collector and Sampling_App.
    pub const SAMPLING: Self = Self { year: 24, month: 9 };
    /// The first release that marks a sampled packet (`flags.pkt_sampled`), so that the tier
    /// loop does not sample it again.
    pub const SAMPLED_ONCE: Self = Self { year: 26, month: 3 };

    /// Reads `northd_internal_version` of NB_Global or SB_Global, as in
    /// `25.03.0-20.41.0-78.8`, or the version that a tool prints.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-']);
        Some(Self {
            year: numbers.next()?.parse().ok()?,
            month: numbers.next()?.parse().ok()?,
        })
    }

    /// The release by the version of its NB schema (`git log ovn-nb.ovsschema`): the newest
    /// release that shipped a schema not newer than this.
    pub fn of_nb_schema(version: &str) -> Option<Self> {
        let mut numbers = version.split('.').map(str::parse::<u16>);
        let schema = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        [
            ((7, 18), (26, 3)),
            ((7, 12), (25, 9)),
            ((7, 11), (25, 3)),
            ((7, 6), (24, 9)),
            ((7, 3), (24, 3)),
            ((7, 0), (23, 3)),
            ((6, 1), (22, 3)),
        ]
        .into_iter()
        .find(|(first, _)| schema >= *first)
        .map(|(_, (year, month))| Self { year, month })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}.{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_northd_writes() {
        let version = Version::parse("25.03.0-20.41.0-78.8");
        assert_eq!(version.map(|v| v.to_string()).as_deref(), Some("25.03"));
        assert_eq!(Version::of_nb_schema("7.11.0"), version);
        assert!(Version::of_nb_schema("7.19.0") >= Some(Version::SAMPLED_ONCE));
        assert_eq!(Version::parse("unknown"), None);
    }
}
