use crate::reader::Reader;
use crate::{Mac, Malformed};

/// EtherTypes, IEEE 802 numbers.
pub(crate) const ARP: [u8; 2] = [0x08, 0x06];
pub(crate) const IPV4: [u8; 2] = [0x08, 0x00];
pub(crate) const IPV6: [u8; 2] = [0x86, 0xdd];

/// Who sent a frame to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Arp(&'a [u8]),
    Ipv4(&'a [u8]),
    Ipv6(&'a [u8]),
    /// Another protocol, a VLAN tag (the frame belongs to another interface), or an IEEE 802.3 length.
    Other,
}

pub(crate) fn parse(frame: &[u8]) -> Result<(Header, Payload<'_>), Malformed> {
    let mut reader = Reader::new(frame);
    let header = Header { destination: reader.mac()?, source: reader.mac()? };
    let payload = match reader.array()? {
        ARP => Payload::Arp(reader.rest()),
        IPV4 => Payload::Ipv4(reader.rest()),
        IPV6 => Payload::Ipv6(reader.rest()),
        _ => Payload::Other,
    };
    if !header.source.is_unicast() {
        return Err(Malformed::EthernetSource);
    }
    Ok((header, payload))
}
