//! ICMP and ICMPv6 echo (RFC 792, RFC 4443 §4), as far as one whole packet without extension headers holds it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, ICMPV6};
use crate::ethernet::{Header, IPV4, IPV6};
use crate::reader::Reader;
use crate::{Frame, Malformed};

/// Whether echo requests for owned addresses are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// They are, a thousand a second at most.
    Answer,
    /// They are not read at all.
    Silent,
}

/// The longest frame that is answered, without its check sequence: what fits every Ethernet.
pub(crate) const LONGEST: usize = 14 + 1500;

const ICMP: u8 = 1;
const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const HOPS: u8 = 64;
/// "Don't fragment": a packet that is never cut needs no identification (RFC 6864 §4.1).
const ATOMIC: [u8; 4] = [0, 0, 0x40, 0];
/// More fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

/// A request, and what its reply repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) ends: Ends,
    /// Identifier, sequence number and data.
    body: &'a [u8],
}

/// Who asked whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    V4 { source: Ipv4Addr, destination: Ipv4Addr },
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

impl Ends {
    pub(crate) fn destination(&self) -> IpAddr {
        match *self {
            Self::V4 { destination, .. } => destination.into(),
            Self::V6 { destination, .. } => destination.into(),
        }
    }
}

/// Reads an IPv4 packet; octets after its own length are padding. `None` is anything but an echo request.
pub(crate) fn parse_ipv4(octets: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
    let mut reader = Reader::new(octets);
    let [version_length, _] = reader.array()?;
    let total = usize::from(reader.u16()?);
    let (_identification, fragment) = (reader.u16()?, reader.u16()?);
    let [_hops, protocol] = reader.array()?;
    let (_checksum, source, destination) = (reader.u16()?, reader.ipv4()?, reader.ipv4()?);
    let header = usize::from(version_length & 0x0f) * 4;
    if version_length >> 4 != 4 {
        return Err(Malformed::IpVersion);
    }
    let packet = octets.get(..total).ok_or(Malformed::Truncated)?;
    let (header, message) =
        packet.split_at_checked(header).filter(|(head, _)| head.len() >= 20).ok_or(Malformed::Truncated)?;
    if protocol != ICMP || fragment & FRAGMENT != 0 || message.first() != Some(&REQUEST) {
        return Ok(None);
    }
    if source.is_multicast() || source.is_unspecified() || source.is_broadcast() || source.is_loopback() {
        return Err(Malformed::SourceAddress);
    }
    if checksum::internet(header) != 0 || checksum::internet(message) != 0 {
        return Err(Malformed::Checksum);
    }
    body(message).map(|body| Some(Request { ends: Ends::V4 { source, destination }, body }))
}

/// Reads an IPv6 packet like [`parse_ipv4`] an IPv4 one.
pub(crate) fn parse_ipv6(octets: &[u8]) -> Result<Option<Request<'_>>, Malformed> {
    let mut reader = Reader::new(octets);
    let [version, ..] = reader.array::<4>()?;
    let length = usize::from(reader.u16()?);
    let [next_header, _hops] = reader.array()?;
    let (source, destination) = (reader.ipv6()?, reader.ipv6()?);
    if version >> 4 != 6 {
        return Err(Malformed::IpVersion);
    }
    let message = reader.slice(length)?;
    if next_header != ICMPV6 || message.first() != Some(&REQUEST_V6) {
        return Ok(None);
    }
    if source.is_multicast() || source.is_unspecified() || source.is_loopback() {
        return Err(Malformed::SourceAddress);
    }
    if checksum::icmpv6(source, destination, message) != 0 {
        return Err(Malformed::Checksum);
    }
    body(message).map(|body| Some(Request { ends: Ends::V6 { source, destination }, body }))
}

fn body(message: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(message);
    let [_kind, code, _, _] = reader.array()?;
    if code != 0 {
        return Err(Malformed::Code);
    }
    let body = reader.rest();
    if body.len() < 4 { Err(Malformed::Truncated) } else { Ok(body) }
}

/// The reply; `None` where it would be too long. Its header says where it goes.
pub(crate) fn reply(header: Header, request: &Request<'_>) -> Option<Frame> {
    let frame = match request.ends {
        Ends::V4 { source, destination } => reply_ipv4(header, source, destination, request.body),
        Ends::V6 { source, destination } => reply_ipv6(header, source, destination, request.body),
    };
    frame.filter(|frame| frame.len() <= LONGEST)
}

fn reply_ipv4(header: Header, to: Ipv4Addr, from: Ipv4Addr, body: &[u8]) -> Option<Frame> {
    let sum = checksum::internet(&Frame::of(&[&[REPLY, 0, 0, 0], body])).to_be_bytes();
    let length = u16::try_from(20 + 4 + body.len()).ok()?.to_be_bytes();
    let ip = |sum: [u8; 2]| {
        Frame::of(&[&[0x45, 0], &length, &ATOMIC, &[HOPS, ICMP], &sum, &from.octets(), &to.octets()])
    };
    let ip = ip(checksum::internet(&ip([0, 0])).to_be_bytes());
    let ethernet = [header.destination.octets(), header.source.octets()];
    Some(Frame::of(&[ethernet.as_flattened(), &IPV4, &ip, &[REPLY, 0], &sum, body]))
}

fn reply_ipv6(header: Header, to: Ipv6Addr, from: Ipv6Addr, body: &[u8]) -> Option<Frame> {
    let message = Frame::of(&[&[REPLY_V6, 0, 0, 0], body]);
    let sum = checksum::icmpv6(from, to, &message).to_be_bytes();
    let length = u16::try_from(message.len()).ok()?.to_be_bytes();
    let ethernet = [header.destination.octets(), header.source.octets()];
    Some(Frame::of(&[
        ethernet.as_flattened(),
        &IPV6,
        &[0x60, 0, 0, 0],
        &length,
        &[ICMPV6, HOPS],
        &from.octets(),
        &to.octets(),
        &[REPLY_V6, 0],
        &sum,
        body,
    ]))
}
