use std::fmt;
use std::ops::Deref;

/// The longest frame that is ever sent: a Neighbor Advertisement with its link-layer address.
const LONGEST: usize = 14 + 40 + 24 + 8;

/// An Ethernet frame to send, without padding and frame check sequence. It owns no heap memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    octets: [u8; LONGEST],
    length: usize,
}

impl Frame {
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut frame = Self { octets: [0; LONGEST], length: 0 };
        let source = parts.iter().flat_map(|part| part.iter());
        for (slot, octet) in frame.octets.iter_mut().zip(source) {
            *slot = *octet;
            frame.length += 1;
        }
        frame
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}
