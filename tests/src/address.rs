//! The address plan, the same in every lab.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// AS number of the FRR router.
pub(crate) const FRR_ASN: u32 = 64512;
/// AS number of the BIRD router.
pub(crate) const BIRD_ASN: u32 = 64513;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// What `ip` wants to hear.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everyone on the segment.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: the target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Where an IPv6 multicast group is reached (RFC 2464 section 7).
    pub(crate) fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Place of a host on a network: the last part of its IPv4, IPv6 and Ethernet addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u8);

impl Place {
    pub(crate) const FRR: Self = Self(1);
    pub(crate) const BIRD: Self = Self(2);
    pub(crate) const CLIENT: Self = Self(100);
    pub(crate) const CONTROL_PLANE: Self = Self(1);

    /// Those who ask without being there: an address of its own to each question, so that its answers are known.
    pub(crate) fn stranger(number: u8) -> Self {
        Self(120 + number % Self::STRANGERS)
    }

    /// So many ask in turn.
    pub(crate) const STRANGERS: u8 = 64;

    pub(crate) fn node(number: u8) -> Self {
        Self(10 + number)
    }
}

/// One of the lab's networks. `fd77::11` is written with the decimal digits of `10.77.0.11`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(u8);

impl Network {
    /// Nodes, client and routers.
    pub(crate) const SEGMENT: Self = Self(77);
    /// The outside, behind FRR.
    pub(crate) const BEHIND_FRR: Self = Self(78);
    /// The outside, behind BIRD.
    pub(crate) const BEHIND_BIRD: Self = Self(79);
    /// Nodes and control plane.
    pub(crate) const MANAGEMENT: Self = Self(99);

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    pub(crate) fn v4(self, place: Place) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, 0, place.0)
    }

    pub(crate) fn v6(self, place: Place) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00 | digits(self.0), 0, 0, 0, 0, 0, 0, digits(place.0))
    }

    pub(crate) fn mac(self, place: Place) -> Mac {
        let [_, network] = digits(self.0).to_be_bytes();
        Mac([0x02, network, 0, 0, 0, place.0])
    }

    /// The network's address of the host whose link-local address (made from its Ethernet address,
    /// RFC 4291 appendix A) this is; none for a stranger.
    pub(crate) fn by_link_local(self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        let place = Place(address.octets()[15]);
        let [a, b, c, d, e, f] = self.mac(place).0;
        let host = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        let made = (0xfe80 << 112) | u128::from(u64::from_be_bytes(host));
        (address == Ipv6Addr::from(made)).then(|| self.v6(place))
    }

    pub(crate) fn prefix_v4(self) -> String {
        format!("{}/24", self.v4(Place(0)))
    }

    pub(crate) fn prefix_v6(self) -> String {
        format!("{}/64", self.v6(Place(0)))
    }
}

/// The number whose hexadecimal digits are the decimal digits of `decimal`.
fn digits(decimal: u8) -> u16 {
    u16::from_str_radix(&decimal.to_string(), 16).expect("decimal digits are hexadecimal digits")
}

/// The pod range of a node.
pub(crate) fn pods_v4(node: u8) -> String {
    format!("10.244.{node}.0/24")
}

/// The pod range of a node.
pub(crate) fn pods_v6(node: u8) -> String {
    format!("fd10:244:{node}::/64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_node_has_the_documented_addresses() {
        let place = Place::node(2);
        assert_eq!(Network::SEGMENT.v4(place).to_string(), "10.77.0.12");
        assert_eq!(Network::SEGMENT.v6(place).to_string(), "fd77::12");
        assert_eq!(Network::SEGMENT.mac(place).to_string(), "02:77:00:00:00:0c");
        assert_eq!(Network::SEGMENT.prefix_v6(), "fd77::/64");
    }

    #[test]
    fn a_host_is_known_by_its_link_local_address() {
        let known = |address: &str| Network::SEGMENT.by_link_local(address.parse().unwrap());
        let bird = Network::SEGMENT.v6(Place::BIRD);
        assert_eq!(known("fe80::77:ff:fe00:2"), Some(bird));
        assert_eq!(known("fe80::78:ff:fe00:2"), None);
    }

    #[test]
    fn a_multicast_group_has_its_ethernet_address() {
        let group = "ff02::1:ff00:12".parse().unwrap();
        assert_eq!(Mac::of_group(group).to_string(), "33:33:ff:00:00:12");
    }
}
