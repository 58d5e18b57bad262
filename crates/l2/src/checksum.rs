//! The Internet checksum (RFC 1071).

use std::net::Ipv6Addr;

pub(crate) const ICMPV6: u8 = 58;

/// What to put into octets whose checksum field is 0, and 0 for those whose checksum is right.
pub(crate) fn internet(octets: &[u8]) -> u16 {
    !add(0, octets)
}

/// The same for an ICMPv6 message, over its pseudo-header as well (RFC 8200 §8.1).
pub(crate) fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    let pseudo = [source.octets(), destination.octets()];
    let sum = pseudo.iter().fold(0, |sum, address| add(sum, address));
    let sum = add(add(sum, &length), &[0, 0, 0, ICMPV6]);
    !add(sum, message)
}

/// Ones' complement addition of 16-bit words; an odd last octet is the high half of its word.
fn add(sum: u16, octets: &[u8]) -> u16 {
    octets.chunks(2).fold(sum, |sum, word| {
        let word = match *word {
            [high, low] => u16::from_be_bytes([high, low]),
            [high] => u16::from_be_bytes([high, 0]),
            _ => 0,
        };
        let (sum, carry) = sum.overflowing_add(word);
        sum.wrapping_add(u16::from(carry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 §3.
    #[test]
    fn ones_complement_sums_as_in_its_rfc() {
        assert_eq!(add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(add(0xffff, &[0x00, 0x01, 0x80]), 0x8001);
    }
}
