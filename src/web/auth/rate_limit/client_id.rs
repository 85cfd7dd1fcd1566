//! The client of the rate limit: an IPv4 address, or the /64 network of an IPv6 address. One customer usually has the
//! whole network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Key, Result};

/// Prefix lengths of the networks that share a count while there is no room for more clients.
const RANGE_PREFIX_BITS_V4: u32 = 8;
const RANGE_PREFIX_BITS_V6: u32 = 16;

/// The keys of a client in the store.
pub(crate) struct ClientId {
    /// Its own count.
    pub(crate) key: Key,
    /// The count that it shares with its network while there is no room for its own.
    pub(crate) range: Key,
}

impl ClientId {
    /// The id for an address. All clients with an unknown address are one client.
    pub(crate) fn new(address: Option<IpAddr>) -> Result<Self> {
        let (key, range) = match address.map(without_mapping) {
            None => ("unknown".to_owned(), "unknown/0".to_owned()),
            Some(IpAddr::V4(address)) => {
                let range = Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - RANGE_PREFIX_BITS_V4)));
                (address.to_string(), format!("{range}/{RANGE_PREFIX_BITS_V4}"))
            }
            Some(IpAddr::V6(address)) => {
                let network = |bits: u32| Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)));
                (format!("{}/64", network(64)), format!("{}/{RANGE_PREFIX_BITS_V6}", network(RANGE_PREFIX_BITS_V6)))
            }
        };
        Ok(Self { key: Key::new(&key)?, range: Key::new(&range)? })
    }
}

/// Converts an IPv6 address that stands for an IPv4 address (mapped, or translated by NAT64).
fn without_mapping(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(long) => match long.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
                let [.., a, b, c, d] = long.octets();
                Ipv4Addr::new(a, b, c, d).into()
            }
            _ => long.into(),
        },
        short @ IpAddr::V4(_) => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_an_ipv4_address_or_an_ipv6_network() {
        for (address, key, range) in [
            ("192.0.2.1", "192.0.2.1", "192.0.0.0/8"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.0.0/8"),
            ("64:ff9b::192.0.2.1", "192.0.2.1", "192.0.0.0/8"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", "2001::/16"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64", "2001::/16"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64", "2001::/16"),
            ("::1", "::/64", "::/16"),
        ] {
            let client = ClientId::new(Some(address.parse().unwrap())).unwrap();
            assert_eq!((client.key.as_str(), client.range.as_str()), (key, range), "{address}");
        }
        assert_eq!(ClientId::new(None).unwrap().key.as_str(), "unknown");
    }
}
