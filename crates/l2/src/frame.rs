use std::fmt;
use std::ops::Deref;

/// The longest frame that is sent unasked, or often: a Neighbor Advertisement with its link-layer address.
const SHORT: usize = 14 + 40 + 24 + 8;

/// An Ethernet frame to send, without padding and frame check sequence. Only an echo reply owns heap memory.
#[derive(Clone)]
pub struct Frame(Octets);

#[derive(Clone)]
enum Octets {
    Short { octets: [u8; SHORT], length: usize },
    Long(Box<[u8]>),
}

impl Frame {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let length = parts.iter().map(|part| part.len()).sum();
        if length > SHORT {
            return Self(Octets::Long(parts.concat().into_boxed_slice()));
        }
        let mut octets = [0; SHORT];
        let source = parts.iter().flat_map(|part| part.iter());
        octets.iter_mut().zip(source).for_each(|(slot, octet)| *slot = *octet);
        Self(Octets::Short { octets, length })
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Octets::Short { octets, length } => octets.get(..*length).unwrap_or_default(),
            Octets::Long(octets) => octets,
        }
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Frame {}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}
