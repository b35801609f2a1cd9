use std::net::{IpAddr, Ipv6Addr};

use netverdict_types::Socket;

/// What a connection is found by, whichever way its packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) network: u32,
    pub(crate) protocol: u8,
}

/// An address and a port in little room: IPv4 mapped into IPv6, and no port as [`End::NO_PORT`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct End {
    high: u64,
    low: u64,
    port: u32,
}

impl End {
    const NO_PORT: u32 = u32::MAX;

    pub(crate) fn new(ip: IpAddr, port: Option<u16>) -> Self {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let bits = ip.to_bits();
        Self {
            high: (bits >> 64) as u64,
            low: bits as u64,
            port: port.map_or(Self::NO_PORT, u32::from),
        }
    }

    pub(crate) fn socket(self) -> Socket {
        Socket {
            ip: Ipv6Addr::from_bits(u128::from(self.high) << 64 | u128::from(self.low))
                .to_canonical(),
            port: u16::try_from(self.port).ok(),
        }
    }

    pub(crate) fn port(self) -> u32 {
        self.port
    }

    fn hash(self, seed: u64) -> u64 {
        let low = mix(
            self.low ^ seed,
            u64::from(self.port) ^ 0x9e37_79b9_7f4a_7c15,
        );
        mix(low, self.high ^ seed)
    }
}

impl Key {
    pub(crate) fn reversed(self) -> Self {
        Self {
            client: self.server,
            server: self.client,
            ..self
        }
    }

    /// The same for both directions. Whoever sends packets must not know the seed of an index.
    pub(crate) fn hash(&self, seed: u64) -> u64 {
        let ends = self.client.hash(seed).wrapping_add(self.server.hash(seed));
        self.whole(ends)
    }

    /// Of the client alone.
    pub(crate) fn client_hash(&self, seed: u64) -> u64 {
        self.whole(self.client.hash(seed))
    }

    fn whole(&self, ends: u64) -> u64 {
        mix(
            ends,
            u64::from(self.network) << 8 | u64::from(self.protocol),
        )
    }
}

/// A product of 128 bits, folded.
pub(crate) fn mix(one: u64, two: u64) -> u64 {
    let product = u128::from(one ^ 0x2545_f491_4f6c_dd1d) * u128::from(two ^ 0xd6e8_feb8_6659_fd93);
    (product >> 64) as u64 ^ product as u64
}
