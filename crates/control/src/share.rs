use std::fmt;
use std::str::FromStr;

/// A share of packets as OVN counts it: 65535 is all of them (ovn-nb(5), table
/// Sample_Collector, column probability).
///
/// ```
/// let share: netverdict_control::Share = "1".parse()?;
/// assert_eq!(share.probability(), 655);
/// assert_eq!(share.to_string(), "1 %");
/// # Ok::<(), netverdict_control::ShareError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Share(u16);

/// How much of the new and of the established traffic is sampled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Rates {
    /// Packets of connections that are not established yet.
    pub new: Share,
    /// Packets of established connections, both directions.
    pub est: Share,
}

/// Why a text is not a share or not rates. The caller is at fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ShareError {
    /// Not a number from 0 to 100.
    #[error("'{0}' is not a percentage from 0 to 100")]
    NotPercent(String),
    /// Not none, but less than OVN can tell from none.
    #[error("{0} % is too small: OVN counts in steps of 1/65535, about 0.0016 %")]
    TooSmall(String),
    /// Not `new:PERCENT,est:PERCENT`.
    #[error("'{0}' is not of the form new:PERCENT,est:PERCENT")]
    NotRates(String),
    /// Both are 0.
    #[error("nothing would be sampled: give new or est more than 0, or use disable")]
    Nothing,
}

impl Share {
    /// None.
    pub const NONE: Self = Self(0);
    /// All packets.
    pub const ALL: Self = Self(u16::MAX);

    /// The share with this probability.
    pub const fn of_probability(probability: u16) -> Self {
        Self(probability)
    }

    /// As it stands in the database: 65535 times the share, rounded down.
    pub const fn probability(self) -> u16 {
        self.0
    }

    /// True for no packets at all.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    /// Reads a percentage, with a fraction if need be.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let number = text.strip_suffix('%').unwrap_or(text).trim();
        let percent: f64 = number
            .parse()
            .ok()
            .filter(|percent| (0.0..=100.0).contains(percent))
            .ok_or_else(|| ShareError::NotPercent(text.to_owned()))?;
        let share = Self(scaled(percent));
        if share.is_none() && percent > 0.0 {
            return Err(ShareError::TooSmall(number.to_owned()));
        }
        Ok(share)
    }
}

impl fmt::Display for Share {
    /// The shortest percentage that reads back as the same share, as in `1 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = f64::from(self.0) / 655.35;
        for decimals in 0..6_u8 {
            // Rounded up, as reading rounds down.
            let unit = 10_f64.powi(decimals.into());
            let rounded = (percent * unit - 1e-6).ceil() / unit;
            let text = format!("{rounded:.*}", usize::from(decimals));
            if text.parse().map(scaled) == Ok(self.0) {
                return write!(f, "{text} %");
            }
        }
        write!(f, "{}/65535", self.0)
    }
}

impl serde::Serialize for Share {
    /// The probability, 0 to 65535.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl Rates {
    /// All new connections and one packet in a hundred of the established ones.
    pub const DEFAULT: Self = Self {
        new: Share::ALL,
        est: Share::of_probability(655),
    };
    /// Everything, as ovn-kubernetes does.
    pub const ALL: Self = Self {
        new: Share::ALL,
        est: Share::ALL,
    };
}

impl FromStr for Rates {
    type Err = ShareError;

    /// Reads `new:100,est:1`; what is left out is 0.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError::NotRates(text.to_owned());
        let (mut new, mut est) = (None, None);
        for part in text.split(',') {
            let (which, share) = part.split_once(':').ok_or_else(wrong)?;
            let rate = match which.trim() {
                "new" => &mut new,
                "est" => &mut est,
                _ => return Err(wrong()),
            };
            if rate.replace(share.trim().parse()?).is_some() {
                return Err(wrong());
            }
        }
        let rates = Self {
            new: new.unwrap_or(Share::NONE),
            est: est.unwrap_or(Share::NONE),
        };
        if rates.new.is_none() && rates.est.is_none() {
            return Err(ShareError::Nothing);
        }
        Ok(rates)
    }
}

fn scaled(percent: f64) -> u16 {
    // A little more than the error of the multiplication, far less than one step.
    (percent * 655.35 + 1e-6) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_those_of_ovn_kubernetes() {
        for (text, probability) in [
            ("100", 65535),
            ("50", 32767),
            ("1", 655),
            ("0.1", 65),
            ("0", 0),
        ] {
            assert_eq!(text.parse::<Share>().unwrap().probability(), probability);
        }
        for wrong in ["101", "-1", "NaN", "inf", "", "x"] {
            assert!(
                matches!(wrong.parse::<Share>(), Err(ShareError::NotPercent(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            "0.001".parse::<Share>(),
            Err(ShareError::TooSmall(_))
        ));
    }

    #[test]
    fn every_share_reads_back() {
        for probability in 0..=u16::MAX {
            let share = Share::of_probability(probability);
            let text = share.to_string();
            let percent = text.strip_suffix(" %").unwrap();
            assert_eq!(percent.parse(), Ok(share), "{text}");
        }
    }

    #[test]
    fn rates_are_read_whole_or_not_at_all() {
        assert_eq!("new:100,est:1".parse(), Ok(Rates::DEFAULT));
        assert_eq!("est:0.5".parse::<Rates>().unwrap().new, Share::NONE);
        for wrong in [
            "",
            "new",
            "new:1,new:2",
            "old:3",
            "new:1 est:2",
            "new:0,est:0",
        ] {
            assert!(wrong.parse::<Rates>().is_err(), "{wrong}");
        }
    }
}
