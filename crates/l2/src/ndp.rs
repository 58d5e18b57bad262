//! Neighbor Solicitation and Advertisement of RFC 4861.

use std::net::Ipv6Addr;

use crate::checksum::{self, ICMPV6};
use crate::ethernet::{Header, IPV6};
use crate::reader::Reader;
use crate::{Frame, Mac, Malformed};

pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Solicitation {
    /// Unspecified for duplicate address detection.
    pub(crate) source: Ipv6Addr,
    pub(crate) target: Ipv6Addr,
    /// Absent in duplicate address detection and often in a unicast reachability probe.
    pub(crate) link_layer: Option<Mac>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Solicited,
    Unsolicited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) cause: Cause,
    pub(crate) target: Ipv6Addr,
    pub(crate) link_layer: Option<Mac>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    Solicitation(Solicitation),
    Advertisement(Advertisement),
}

/// The group in which an address is solicited (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c]))
}

/// Reads an IPv6 packet; octets after its own length are padding. `None` is anything but the two messages.
pub(crate) fn parse(octets: &[u8]) -> Result<Option<Message>, Malformed> {
    let mut reader = Reader::new(octets);
    let [version, ..] = reader.array::<4>()?;
    let length = usize::from(reader.u16()?);
    let [next_header, hop_limit] = reader.array()?;
    let (source, destination) = (reader.ipv6()?, reader.ipv6()?);
    if version >> 4 != 6 {
        return Err(Malformed::IpVersion);
    }
    let message = reader.slice(length)?;
    if next_header != ICMPV6 || !matches!(message.first(), Some(&SOLICITATION | &ADVERTISEMENT)) {
        return Ok(None);
    }
    if hop_limit != HOP_LIMIT {
        return Err(Malformed::HopLimit);
    }
    if source.is_multicast() {
        return Err(Malformed::SourceAddress);
    }
    if checksum::icmpv6(source, destination, message) != 0 {
        return Err(Malformed::Checksum);
    }
    parse_message(source, destination, message).map(Some)
}

fn parse_message(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Result<Message, Malformed> {
    let mut reader = Reader::new(message);
    let [kind, code, _, _] = reader.array()?;
    let [flags, _, _, _] = reader.array()?;
    let target = reader.ipv6()?;
    if code != 0 {
        return Err(Malformed::Code);
    }
    if target.is_multicast() {
        return Err(Malformed::Target);
    }
    if kind == SOLICITATION {
        let link_layer = link_layer_option(SOURCE_LINK_LAYER, reader)?;
        let solicitation = Solicitation { source, target, link_layer };
        check_solicitation(&solicitation, destination)?;
        return Ok(Message::Solicitation(solicitation));
    }
    let cause = if flags & SOLICITED == 0 { Cause::Unsolicited } else { Cause::Solicited };
    let link_layer = link_layer_option(TARGET_LINK_LAYER, reader)?;
    let advertisement = Advertisement { source, destination, cause, target, link_layer };
    check_advertisement(&advertisement)?;
    Ok(Message::Advertisement(advertisement))
}

/// RFC 4861 §7.1.1: from the unspecified address only to a solicited-node group and without a link-layer address.
fn check_solicitation(solicitation: &Solicitation, destination: Ipv6Addr) -> Result<(), Malformed> {
    let detection = solicitation.source.is_unspecified();
    if detection && (solicitation.link_layer.is_some() || solicited_node(destination) != destination) {
        return Err(Malformed::DuplicateDetection);
    }
    Ok(())
}

/// RFC 4861 §7.1.2, and §4.4: the source is an address of the sender's interface.
fn check_advertisement(advertisement: &Advertisement) -> Result<(), Malformed> {
    if advertisement.source.is_unspecified() {
        return Err(Malformed::SourceAddress);
    }
    if advertisement.cause == Cause::Solicited && advertisement.destination.is_multicast() {
        return Err(Malformed::SolicitedMulticast);
    }
    Ok(())
}

/// The first link-layer address option of this type. All options are walked: one of length 0, or one that runs over
/// the end, condemns the message (RFC 4861 §7.1); unknown ones are passed over.
fn link_layer_option(wanted: u8, mut reader: Reader<'_>) -> Result<Option<Mac>, Malformed> {
    let wrong = |_| Malformed::OptionLength;
    let mut found = None;
    while !reader.rest().is_empty() {
        let [kind, units] = reader.array().map_err(wrong)?;
        let length = (usize::from(units) * 8).checked_sub(2).ok_or(Malformed::OptionLength)?;
        let body = reader.slice(length).map_err(wrong)?;
        if kind == wanted && found.is_none() {
            found = Some(link_layer_address(body)?);
        }
    }
    Ok(found)
}

fn link_layer_address(body: &[u8]) -> Result<Mac, Malformed> {
    let octets = <[u8; 6]>::try_from(body).map_err(|_| Malformed::OptionLength)?;
    let mac = Mac::new(octets);
    if mac.is_unicast() { Ok(mac) } else { Err(Malformed::LinkLayerAddress) }
}

/// An advertisement that overrides what the receiver believes (O = 1) and does not claim to be a router (R = 0):
/// a neighbour that has us as router for another address keeps that by itself.
pub(crate) fn emit(header: Header, advertisement: &Advertisement) -> Frame {
    let solicited = if advertisement.cause == Cause::Solicited { SOLICITED } else { 0 };
    let Advertisement { source, destination, target, .. } = *advertisement;
    let option = advertisement.link_layer.map(|mac| (TARGET_LINK_LAYER, mac));
    let fields = [ADVERTISEMENT, OVERRIDE | solicited];
    emit_message(header, (source, destination), fields, target, option)
}

/// A solicitation of all who share the target's group, or of one station.
pub(crate) fn emit_solicitation(source_mac: Mac, of: Option<Mac>, solicitation: &Solicitation) -> Frame {
    let Solicitation { source, target, link_layer } = *solicitation;
    let group = solicited_node(target);
    let (destination, to) = of.map_or((group, Mac::of_group(group)), |station| (target, station));
    let header = Header { destination: to, source: source_mac };
    let option = link_layer.map(|mac| (SOURCE_LINK_LAYER, mac));
    emit_message(header, (source, destination), [SOLICITATION, 0], target, option)
}

fn emit_message(
    header: Header,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    option: Option<(u8, Mac)>,
) -> Frame {
    let option = option.map(|(kind, mac)| {
        let [a, b, c, d, e, f] = mac.octets();
        [kind, 1, a, b, c, d, e, f]
    });
    let option: &[u8] = option.as_ref().map_or(&[], |option| option);
    let body = Frame::of(&[&[flags, 0, 0, 0], &target.octets(), option]);
    let unchecked = Frame::of(&[&[kind, 0, 0, 0], &body]);
    let sum = checksum::icmpv6(source, destination, &unchecked).to_be_bytes();
    let length = u16::try_from(unchecked.len()).unwrap_or_default().to_be_bytes();
    Frame::of(&[
        &header.destination.octets(),
        &header.source.octets(),
        &IPV6,
        &[0x60, 0, 0, 0],
        &length,
        &[ICMPV6, HOP_LIMIT],
        &source.octets(),
        &destination.octets(),
        &[kind, 0],
        &sum,
        &body,
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ethernet::{self, Payload};

    /// An IPv6 packet that carries the message, with the right length and checksum.
    fn packet(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        message[2..4].fill(0);
        let sum = checksum::icmpv6(source, destination, &message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        let head: [&[u8]; 4] = [&[0x60, 0, 0, 0], &length, &[ICMPV6, HOP_LIMIT], &source.octets()];
        [head.concat().as_slice(), &destination.octets(), &message].concat()
    }

    #[test]
    fn the_solicited_node_group_has_the_last_three_octets() {
        let address = "4037::1:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(
            macs: [[u8; 6]; 3], addresses: [u128; 3], has_link_layer: bool, is_solicited: bool,
        ) {
            let [to, source_mac, link_layer] = macs.map(Mac::new);
            prop_assume!(source_mac.is_unicast() && link_layer.is_unicast());
            let [source, destination, target] = addresses.map(Ipv6Addr::from);
            prop_assume!(!source.is_multicast() && !source.is_unspecified() && !target.is_multicast());
            prop_assume!(!(is_solicited && destination.is_multicast()));
            let cause = if is_solicited { Cause::Solicited } else { Cause::Unsolicited };
            let link_layer = has_link_layer.then_some(link_layer);
            let advertisement = Advertisement { source, destination, cause, target, link_layer };
            let header = Header { destination: to, source: source_mac };
            let frame = emit(header, &advertisement);
            let (read, payload) = ethernet::parse(&frame).unwrap();
            let Payload::Ipv6(octets) = payload else { panic!("{payload:?}") };
            prop_assert_eq!((read, parse(octets)), (header, Ok(Some(Message::Advertisement(advertisement)))));
        }

        /// Random octets hardly ever have a right checksum; these have, so that the options are reached.
        #[test]
        fn no_message_makes_the_parser_panic(
            kind in 133u8..138, code in 0u8..2, rest in prop::collection::vec(0u8..4, 20..400), addresses: [u128; 2],
        ) {
            let [source, destination] = addresses.map(Ipv6Addr::from);
            let message = [&[kind, code, 0, 0], rest.as_slice()].concat();
            let parsed = parse(&packet(source, destination, &message));
            let ours = matches!(kind, SOLICITATION | ADVERTISEMENT);
            prop_assert_eq!(parsed == Ok(None), !ours);
            prop_assert!(code == 0 || !ours || parsed.is_err());
        }

        #[test]
        fn any_changed_octet_of_a_message_is_noticed(at in 0usize..32, change in 1u8..=255, target: u128) {
            let advertisement = Advertisement {
                source: Ipv6Addr::LOCALHOST,
                destination: ALL_NODES,
                cause: Cause::Unsolicited,
                target: target.into(),
                link_layer: Some(Mac::new([2, 0, 0, 0, 0, 1])),
            };
            prop_assume!(!advertisement.target.is_multicast());
            let header = Header { destination: Mac::BROADCAST, source: Mac::BROADCAST };
            let mut octets = emit(header, &advertisement)[14..].to_vec();
            octets[40 + at] ^= change;
            let ours = matches!(octets[40], SOLICITATION | ADVERTISEMENT);
            prop_assert_eq!(parse(&octets), if ours { Err(Malformed::Checksum) } else { Ok(None) });
        }
    }
}
