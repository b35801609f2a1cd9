use std::fmt;
use std::net::IpAddr;

/// An address block in CIDR notation (RFC 4632 section 3.1, RFC 4291 section 2.3), with the bits
/// after the prefix cleared. A single address is a block of full length.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The block of `prefix` bits around `address`; `None` where the prefix is longer than the
    /// address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let host = u32::BITS.checked_sub(u32::from(prefix))?;
                IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)).into())
            }
            IpAddr::V6(v6) => {
                let host = u128::BITS.checked_sub(u32::from(prefix))?;
                IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)).into())
            }
        };
        Some(Self { address, prefix })
    }

    /// The block that holds this address only.
    pub fn single(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// Reads `ADDRESS/PREFIX`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Self::new(address.parse().ok()?, prefix.parse().ok()?)
    }

    /// The first address of the block.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// True when the block holds the address. An IPv4 address is in no IPv6 block, also not in
    /// its mapped form.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                let differing = block.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                let differing = block.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        for (block, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.0.0.0", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.0", false),
            ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", true),
            ("fd00::/64", "fd00:0:0:1::", false),
            ("::/0", "fd00::1", true),
        ] {
            let network = Network::parse(block).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{block} {address}"
            );
        }
        assert_eq!(
            Network::parse("10.1.2.3/8").unwrap().to_string(),
            "10.0.0.0/8"
        );
        for bad in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "/8",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
