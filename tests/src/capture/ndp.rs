//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3 and 4.4).

use std::net::Ipv6Addr;

use super::{Frame, HEADER};
use crate::address::Mac;

const ETHER_TYPE: u16 = 0x86dd;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SOLICITATION: u8 = 135;
pub(crate) const ADVERTISEMENT: u8 = 136;
pub(crate) const SOURCE_LINK_LAYER: u8 = 1;
pub(crate) const TARGET_LINK_LAYER: u8 = 2;
const IPV6_HEADER: usize = 40;

/// A neighbour discovery packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ndp {
    /// The IPv6 source.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// Anything but 255 has crossed a router.
    pub hop_limit: u8,
    /// Whether the checksum is right.
    pub intact: bool,
    /// The address in question.
    pub target: Ipv6Addr,
    /// What it says of it.
    pub message: Message,
}

/// What a neighbour discovery packet says of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has it?
    Solicitation {
        /// The source link-layer option.
        source_mac: Option<Mac>,
    },
    /// The sender has it.
    Advertisement {
        /// R.
        router: bool,
        /// S.
        solicited: bool,
        /// O.
        overriding: bool,
        /// The target link-layer option.
        target_mac: Option<Mac>,
    },
}

impl Ndp {
    pub(super) fn parse(frame: &Frame) -> Option<Self> {
        let packet = frame.bytes.get(HEADER..)?;
        let header = packet.get(..IPV6_HEADER)?;
        if frame.ether_type() != ETHER_TYPE || header[6] != ICMPV6 {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let body = packet.get(IPV6_HEADER..IPV6_HEADER + length)?;
        let source = address(header, 8)?;
        let destination = address(header, 24)?;
        Some(Self {
            source,
            destination,
            hop_limit: header[7],
            intact: checksum(source, destination, body) == 0,
            target: address(body, 8)?,
            message: message(body)?,
        })
    }
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets = bytes.get(at..at + 16)?.first_chunk::<16>()?;
    Some(Ipv6Addr::from(*octets))
}

fn message(body: &[u8]) -> Option<Message> {
    let options = body.get(24..)?;
    let flags = body[4];
    match (body[0], body[1]) {
        (SOLICITATION, 0) => Some(Message::Solicitation { source_mac: option(options, SOURCE_LINK_LAYER) }),
        (ADVERTISEMENT, 0) => Some(Message::Advertisement {
            router: flags & 0x80 != 0,
            solicited: flags & 0x40 != 0,
            overriding: flags & 0x20 != 0,
            target_mac: option(options, TARGET_LINK_LAYER),
        }),
        _ => None,
    }
}

/// The link-layer address in the option of that type. An option's length counts units of eight octets.
fn option(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while let [kind, units @ 1..=u8::MAX, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if kind == wanted {
            return Some(Mac(option.get(2..8)?.try_into().ok()?));
        }
        options = rest;
    }
    None
}

/// The internet checksum over pseudo-header and body (RFC 4443 section 2.3): what to write where the field
/// holds zero, or zero where the field is right.
pub(crate) fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).expect("a packet is short");
    let pseudo =
        [&source.octets()[..], &destination.octets()[..], &length.to_be_bytes()[..], &[0, 0, 0, ICMPV6][..]]
            .concat();
    let words = pseudo.chunks(2).chain(body.chunks(2));
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = words.map(word).sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    !u16::try_from(folded & 0xffff).expect("folded to sixteen bits")
}
