//! Addresses that follow from others by ovn-kubernetes' rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netverdict_manifest::Cidr;
use sha2::{Digest, Sha256};

/// The MAC address of the end that has this address (`util.IPAddrToHWAddr`).
pub(crate) fn mac(address: IpAddr) -> String {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let hash: [u8; 32] = Sha256::digest(address.to_string().as_bytes()).into();
            let [a, b, c, d, ..] = hash;
            [a, b, c, d]
        }
    };
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The MAC address of the end that has these addresses: by the first of IPv4, else of IPv6.
pub(crate) fn mac_of(addresses: &[Cidr]) -> Option<String> {
    let v4 = addresses.iter().find(|address| !address.is_v6());
    let address = v4.or_else(|| addresses.first())?;
    Some(mac(address.address))
}

/// The link-local address of an end with this MAC address (`util.HWAddrToIPv6LLA`).
pub(crate) fn link_local(mac: &str) -> Option<Ipv6Addr> {
    let bytes: Vec<u8> = mac
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    let [a, b, c, d, e, f] = <[u8; 6]>::try_from(bytes).ok()?;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Some(Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(a ^ 2, b),
        word(c, 0xff),
        word(0xfe, d),
        word(e, f),
    ))
}

/// The `n`-th address of a range, 0 the first, with the range's prefix length; `None` beyond it.
pub(crate) fn nth(range: Cidr, n: u128) -> Option<Cidr> {
    let first = range.network();
    let address: IpAddr = match first.address {
        IpAddr::V4(address) => {
            let n = u32::try_from(n).ok()?;
            Ipv4Addr::from(u32::from(address).checked_add(n)?).into()
        }
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(n)?).into(),
    };
    contains(first, address).then_some(Cidr {
        address,
        prefix: range.prefix,
    })
}

/// The `n`-th part of a range with this prefix length, 0 the first; `None` beyond it.
pub(crate) fn nth_subnet(range: Cidr, prefix: u8, n: u128) -> Option<Cidr> {
    let bits = if range.is_v6() { 128 } else { 32 };
    let size = 1_u128.checked_shl(u32::from(bits - prefix.min(bits)))?;
    let first = nth(range, n.checked_mul(size)?)?;
    (prefix >= range.prefix).then_some(Cidr {
        address: first.address,
        prefix,
    })
}

/// True if the address is in the range.
pub(crate) fn contains(range: Cidr, address: IpAddr) -> bool {
    let prefix = if address.is_ipv6() { 128 } else { 32 };
    range.contains(&Cidr { address, prefix })
}

/// Reads `address/length`.
pub(crate) fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if address.is_ipv6() { 128 } else { 32 }).then_some(Cidr { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_are_those_of_ovn_kubernetes() {
        // Facts: pods_test.go and gateway_init_test.go for IPv4; the first bytes of
        // SHA-256("fd69::4") for IPv6, as `printf %s fd69::4 | sha256sum` prints them.
        for (address, wanted) in [
            ("10.128.1.3", "0a:58:0a:80:01:03"),
            ("169.254.1.1", "0a:58:a9:fe:01:01"),
            ("fd69::4", FD69_4),
        ] {
            assert_eq!(mac(address.parse().unwrap()), wanted);
        }
        assert_eq!(
            link_local("0a:58:0a:01:01:01").unwrap().to_string(),
            "fe80::858:aff:fe01:101"
        );
    }

    const FD69_4: &str = "0a:58:1b:ac:71:41";

    #[test]
    fn counts_in_a_range() {
        let range = |text| parse_cidr(text).unwrap();
        assert_eq!(
            nth(range("10.244.3.7/24"), 2).unwrap().to_string(),
            "10.244.3.2/24"
        );
        assert_eq!(nth(range("10.244.3.0/24"), 256), None);
        let subnet = nth_subnet(range("10.244.0.0/16"), 24, 255).unwrap();
        assert_eq!(subnet.to_string(), "10.244.255.0/24");
        assert_eq!(nth_subnet(range("10.244.0.0/16"), 24, 256), None);
        assert_eq!(
            nth_subnet(range("fd00:10:244::/48"), 64, 1)
                .unwrap()
                .to_string(),
            "fd00:10:244:1::/64"
        );
        assert!(contains(range("0.0.0.0/0"), "1.2.3.4".parse().unwrap()));
        assert!(!contains(range("::/0"), "1.2.3.4".parse().unwrap()));
        assert_eq!(parse_cidr("10.0.0.0/33"), None);
    }
}
