use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use super::lex::{Kind, Lexer};

/// How a number was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Decimal,
    Hexadecimal,
    Ipv4,
    Ipv6,
    Ethernet,
}

/// A number, perhaps with a mask. Bits outside the mask are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constant {
    /// The low 128 bits. No field is wider, so a number with more of them fits none.
    pub value: u128,
    pub mask: Option<u128>,
    /// The least number of bits that a field must have for it.
    pub width: u32,
    pub format: Format,
}

impl Constant {
    pub fn new(value: u128, format: Format) -> Self {
        let width = match format {
            Format::Decimal | Format::Hexadecimal => bits(value),
            Format::Ipv4 => 32,
            Format::Ipv6 => 128,
            Format::Ethernet => 48,
        };
        Self {
            value,
            mask: None,
            width,
            format,
        }
    }

    /// A hexadecimal number of `width` bits, be they more than are kept.
    pub fn wide(value: u128, width: u32) -> Self {
        Self {
            width,
            ..Self::new(value, Format::Hexadecimal)
        }
    }

    /// With a mask after a slash; `None` if the two do not go together.
    pub fn masked(self, mask: Self) -> Option<Self> {
        // OVN reads a prefix length modulo 2**32.
        let prefix = (mask.value & u128::from(u32::MAX)) as u32;
        let mut format = self.format;
        let (bits_of_mask, width) = match (self.format, mask.format) {
            (a, b) if a == b => {
                let wide = mask.format == Format::Hexadecimal;
                (mask.value, if wide { mask.width } else { bits(mask.value) })
            }
            (Format::Ipv4, Format::Decimal) if prefix <= 32 => {
                let mask = ones(32) & !ones(32 - prefix);
                (mask, bits(mask))
            }
            (Format::Ipv6, Format::Decimal) if prefix <= 128 => {
                let mask = !ones(128 - prefix);
                (mask, bits(mask))
            }
            (Format::Decimal, Format::Hexadecimal) if self.value == 0 => {
                format = Format::Hexadecimal;
                (mask.value, mask.width)
            }
            _ => return None,
        };
        Some(Self {
            value: self.value & bits_of_mask,
            mask: Some(bits_of_mask),
            width,
            format,
        })
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |constant: &Self| (constant.value, constant.mask.is_none(), constant.mask);
        key(self).cmp(&key(other))
    }
}

/// How many bits a number takes: 0 for 0.
fn bits(value: u128) -> u32 {
    128 - value.leading_zeros()
}

/// That many low bits.
pub(super) fn ones(count: u32) -> u128 {
    u128::MAX.checked_shr(128 - count.min(128)).unwrap_or(0)
}

/// The members of an address set, in the order and the meaning that OVN gives them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AddressSet {
    pub(super) members: Box<[Constant]>,
    pub(super) values: Arc<Values>,
}

impl AddressSet {
    /// From the column `addresses` of a row, and the entries that are no addresses: OVN skips those with a warning.
    pub fn new<'a>(addresses: impl IntoIterator<Item = &'a str>) -> (Self, Vec<&'a str>) {
        let mut members = Vec::new();
        let mut skipped = Vec::new();
        for address in addresses {
            match Lexer::new(address).token().kind {
                Kind::Integer(constant) => members.push(constant),
                _ => skipped.push(address),
            }
        }
        members.sort_by(Constant::order);
        let values = members
            .iter()
            .map(|constant| (constant.mask.unwrap_or(u128::MAX), constant.value));
        let set = Self {
            values: Arc::new(Values::new(values)),
            members: members.into(),
        };
        (set, skipped)
    }

    /// A set of which nothing is known: [`super::Compiled::judge`] says neither yes nor no where it decides, others find it empty.
    pub fn unknown() -> Self {
        Self {
            members: Box::default(),
            values: Arc::new(Values::default().and_others(true)),
        }
    }

    /// The same, and perhaps other members: as [`AddressSet::unknown`] for those.
    #[must_use]
    pub fn and_others(self) -> Self {
        let values = Arc::unwrap_or_clone(self.values).and_others(true);
        Self {
            values: Arc::new(values),
            ..self
        }
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The addresses and ranges among its members: an address, and how many of its bits count. Others, as those with scattered masks, are left
    /// out.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        self.members.iter().filter_map(|member| {
            let (address, width) = match member.format {
                Format::Ipv4 => (IpAddr::V4((member.value as u32).into()), 32),
                Format::Ipv6 => (IpAddr::V6(member.value.into()), 128),
                _ => return None,
            };
            let mask = member.mask.unwrap_or(ones(width));
            let prefix = mask.count_ones();
            let is_prefix = mask == ones(width) & !ones(width - prefix);
            is_prefix.then_some((address, prefix as u8))
        })
    }

    /// Whether it has none. Nothing is then equal to it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// The names of a port group's ports.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PortGroup {
    pub(super) members: Box<[String]>,
    /// Whether there may be members that are not known.
    and_others: bool,
}

impl PortGroup {
    /// Of the ports with these names.
    pub fn new<'a>(ports: impl IntoIterator<Item = &'a str>) -> Self {
        let mut members: Vec<_> = ports.into_iter().map(String::from).collect();
        members.sort_unstable();
        members.dedup();
        Self {
            members: members.into(),
            and_others: false,
        }
    }

    /// A group of which nothing is known: [`super::Compiled::judge`] says neither yes nor no where it decides, others find it empty.
    pub fn unknown() -> Self {
        Self {
            members: Box::default(),
            and_others: true,
        }
    }

    /// Whether it has no port, known or not.
    pub(super) fn is_surely_empty(&self) -> bool {
        self.members.is_empty() && !self.and_others
    }

    /// Whether a port is in it; `None` where that is open.
    pub(super) fn may_contain(&self, port: &str) -> Option<bool> {
        let is_in = self.contains(port);
        (is_in || !self.and_others).then_some(is_in)
    }

    /// Its ports, each once.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Whether a port is in it.
    pub fn contains(&self, port: &str) -> bool {
        self.members
            .binary_search_by(|member| member.as_str().cmp(port))
            .is_ok()
    }
}

/// Numbers under masks, to look one up among many.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Values {
    groups: Box<[(u128, Box<[u128]>)]>,
    /// Whether there may be values that are not known.
    and_others: bool,
}

impl Values {
    /// Of pairs (mask, value).
    pub(super) fn new(pairs: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_unstable();
        pairs.dedup();
        Self {
            groups: pairs
                .chunk_by(|a, b| a.0 == b.0)
                .filter_map(|group| {
                    let (mask, _) = *group.first()?;
                    Some((mask, group.iter().map(|(_, value)| *value).collect()))
                })
                .collect(),
            and_others: false,
        }
    }

    /// With values that are not known, or without.
    pub(super) fn and_others(self, and_others: bool) -> Self {
        Self { and_others, ..self }
    }

    /// Whether there may be values that are not known.
    pub(super) fn has_others(&self) -> bool {
        self.and_others
    }

    /// Whether a number of which some bits are known is one of the values; `None` where that is open.
    pub(super) fn may_contain(&self, number: u128, known: u128, width: u32) -> Option<bool> {
        let found = if ones(width) & !known == 0 {
            Some(self.contains(number))
        } else {
            // None of the values agrees in what is known, or one asks for no more than that.
            let mut found = Some(false);
            for (mask, value) in self.pairs() {
                if (number ^ value) & mask & known == 0 {
                    found = None;
                    if mask & ones(width) & !known == 0 {
                        return Some(true);
                    }
                }
            }
            found
        };
        found.filter(|found| *found || !self.and_others)
    }

    /// The pairs (mask, value).
    pub fn pairs(&self) -> impl Iterator<Item = (u128, u128)> {
        self.groups
            .iter()
            .flat_map(|(mask, values)| values.iter().map(|value| (*mask, *value)))
    }

    /// Whether a number is one of the values under its mask.
    pub fn contains(&self, number: u128) -> bool {
        self.groups
            .iter()
            .any(|(mask, values)| values.binary_search(&(number & mask)).is_ok())
    }
}
