//! Reads what happens from the octets that a target is given.

use std::net::IpAddr;

use names::Mac;

/// Few, so that things meet; two of them share a group.
pub const ADDRESSES: [&str; 8] = [
    "192.0.2.10",
    "192.0.2.20",
    "192.0.2.77",
    "198.51.100.7",
    "2001:db8::10",
    "2001:db8::20",
    "2001:db8::77",
    "2001:db8:1::10",
];

/// One of them.
pub fn address(place: usize) -> IpAddr {
    ADDRESSES[place % ADDRESSES.len()].parse().expect("an address")
}

/// What is left of the octets. Each verb takes from the front, and nothing once there is too little.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// One octet.
    pub fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two octets.
    pub fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.octet()?, self.octet()?]))
    }

    /// So many octets, or all that there are.
    pub fn slice(&mut self, length: usize) -> &'a [u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }

    /// One of [`ADDRESSES`].
    pub fn address(&mut self) -> Option<IpAddr> {
        self.octet().map(|place| address(place.into()))
    }

    /// A station.
    pub fn mac(&mut self) -> Option<Mac> {
        self.octet().map(|last| Mac::new([2, 0, 0, 0, 0, last]))
    }
}
