use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// Text that is not six hexadecimal octets separated by colons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address: {0:?}")]
pub struct InvalidMac(String);

impl Mac {
    /// Every station.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No station.
    pub const ZERO: Self = Self([0; 6]);

    /// The address with these octets, in the order of the wire.
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The octets in the order of the wire.
    pub const fn octets(&self) -> [u8; 6] {
        self.0
    }

    /// Whether it can name one station: neither zero nor a group (IEEE 802 I/G bit).
    pub fn is_unicast(&self) -> bool {
        !self.is_group() && *self != Self::ZERO
    }

    /// Whether it names a group of stations (IEEE 802 I/G bit).
    pub fn is_group(&self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 1
    }

    /// Where an IPv6 multicast goes on Ethernet (RFC 2464 §7).
    pub fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts.next().and_then(hex_octet).ok_or_else(invalid)?;
        }
        if parts.next().is_some() { Err(invalid()) } else { Ok(Self(octets)) }
    }
}

/// `from_str_radix` alone would take a sign and one digit.
fn hex_octet(text: &str) -> Option<u8> {
    let exact = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    exact.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_six_octets_is_refused() {
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
            "02-00-00-00-00-01",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(InvalidMac(text.to_owned())));
        }
    }

    #[test]
    fn zero_broadcast_and_groups_name_no_station() {
        assert!(Mac::new([2, 0, 0, 0, 0, 1]).is_unicast());
        for mac in [Mac::ZERO, Mac::BROADCAST, Mac::new([0x33, 0x33, 0, 0, 0, 1])] {
            assert!(!mac.is_unicast(), "{mac}");
        }
    }

    #[test]
    fn an_ipv6_group_maps_to_its_last_four_octets() {
        let group = "ff02::1:ff28:9c5a".parse().unwrap();
        assert_eq!(Mac::of_group(group).to_string(), "33:33:ff:28:9c:5a");
    }

    proptest! {
        #[test]
        fn text_round_trips(octets: [u8; 6]) {
            let mac = Mac::new(octets);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        }
    }
}
