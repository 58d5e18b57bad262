//! RFC 826 for IPv4 over Ethernet.

use std::net::Ipv4Addr;

use crate::ethernet::{ARP, Header};
use crate::reader::Reader;
use crate::{Frame, Mac, Malformed};

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const FORMAT: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Request,
    Reply,
}

impl Operation {
    const fn code(self) -> [u8; 2] {
        match self {
            Self::Request => [0, 1],
            Self::Reply => [0, 2],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) operation: Operation,
    pub(crate) sender_mac: Mac,
    pub(crate) sender: Ipv4Addr,
    pub(crate) target_mac: Mac,
    pub(crate) target: Ipv4Addr,
}

/// Reads a packet; octets after it are padding. `None` is a well-formed packet of an operation that is not ours:
/// reverse and inverse ARP and the experimental ones (RFC 5494).
pub(crate) fn parse(octets: &[u8]) -> Result<Option<Packet>, Malformed> {
    let mut reader = Reader::new(octets);
    let (format, code) = (reader.array::<6>()?, reader.array::<2>()?);
    let (sender_mac, sender) = (reader.mac()?, reader.ipv4()?);
    let (target_mac, target) = (reader.mac()?, reader.ipv4()?);
    if format != FORMAT {
        return Err(Malformed::ArpFormat);
    }
    let operation = match code {
        [0, 1] => Operation::Request,
        [0, 2] => Operation::Reply,
        _ => return Ok(None),
    };
    if !sender_mac.is_unicast() {
        return Err(Malformed::SenderHardwareAddress);
    }
    Ok(Some(Packet { operation, sender_mac, sender, target_mac, target }))
}

pub(crate) fn emit(header: Header, packet: &Packet) -> Frame {
    Frame::of(&[
        &header.destination.octets(),
        &header.source.octets(),
        &ARP,
        &FORMAT,
        &packet.operation.code(),
        &packet.sender_mac.octets(),
        &packet.sender.octets(),
        &packet.target_mac.octets(),
        &packet.target.octets(),
    ])
}

/// Both gratuitous forms. The request is the one that every neighbour honours; for the reply, Linux wants the
/// target's MAC to equal the sender's, or it takes it for an ordinary answer and ignores it for a second.
pub(crate) fn gratuitous(mac: Mac, address: Ipv4Addr) -> [Frame; 2] {
    let reply = Packet {
        operation: Operation::Reply,
        sender_mac: mac,
        sender: address,
        target_mac: mac,
        target: address,
    };
    let header = Header { destination: Mac::BROADCAST, source: mac };
    [announcement(mac, address), emit(header, &reply)]
}

/// The ARP Announcement of RFC 5227 §2.3.
pub(crate) fn announcement(mac: Mac, address: Ipv4Addr) -> Frame {
    request(mac, address, address, None)
}

/// Asks who has an address, in the name of the sender; of all stations, or of one.
pub(crate) fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr, of: Option<Mac>) -> Frame {
    let target_mac = of.unwrap_or(Mac::ZERO);
    let request = Packet { operation: Operation::Request, sender_mac: mac, sender, target_mac, target };
    emit(Header { destination: of.unwrap_or(Mac::BROADCAST), source: mac }, &request)
}

/// The answer to a request: where the target is. It goes to where the frame came from, and names whom the packet
/// named: the two differ when a bridge (Wi-Fi, a hypervisor) translates MACs, and then only the frame's source is
/// reachable.
pub(crate) fn reply(source: Mac, target_at: Mac, request_header: Header, request: &Packet) -> Frame {
    let reply = Packet {
        operation: Operation::Reply,
        sender_mac: target_at,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    emit(Header { destination: request_header.source, source }, &reply)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ethernet::{self, Payload};

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(
            macs: [[u8; 6]; 3], sender: u32, target: u32, is_reply: bool, padding in 0usize..30,
        ) {
            let [destination, source, target_mac] = macs.map(Mac::new);
            prop_assume!(source.is_unicast());
            let operation = if is_reply { Operation::Reply } else { Operation::Request };
            let (sender, target) = (sender.into(), target.into());
            let packet = Packet { operation, sender_mac: source, sender, target_mac, target };
            let header = Header { destination, source };
            let mut frame = emit(header, &packet).to_vec();
            frame.resize(frame.len() + padding, 0xff);
            let (read, payload) = ethernet::parse(&frame).unwrap();
            let Payload::Arp(octets) = payload else { panic!("{payload:?}") };
            prop_assert_eq!((read, parse(octets)), (header, Ok(Some(packet))));
        }

        #[test]
        fn no_octets_make_the_parser_panic(octets in prop::collection::vec(any::<u8>(), 0..60)) {
            let parsed = parse(&octets);
            prop_assert!(octets.len() >= 28 || parsed == Err(Malformed::Truncated));
        }
    }
}
