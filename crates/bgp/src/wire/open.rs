use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::reader::Truncated;
use super::{DecodeError, ErrorCode, MessageType, Reader, frame};
use crate::ids::{Family, HoldTime, RouterId};

const VERSION: u8 = 4;
const CAPABILITIES: u8 = 2;
/// In place of a parameter's type: lengths of two octets follow (RFC 9072 §2).
const EXTENDED: u8 = 255;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const FOUR_OCTET_AS: u8 = 65;

/// The first message on a connection: who speaks, and what it can do (RFC 4271 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS in two octets, AS_TRANS if it needs four.
    pub my_as: u16,
    /// The offered hold time.
    pub hold_time: Option<HoldTime>,
    /// The sender's BGP Identifier.
    pub router_id: RouterId,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

/// Capabilities (RFC 5492) as far as we have them ourselves; all others are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Families of the multiprotocol capability (RFC 4760 §8), those only that we know; `None` if it is not
    /// there at all, which means IPv4 unicast.
    pub families: Option<BTreeSet<Family>>,
    /// Route refresh (RFC 2918 §2).
    pub route_refresh: bool,
    /// The AS number in four octets (RFC 6793 §3), not zero.
    pub asn: Option<u32>,
}

/// Only the parser of this message lets a truncation pass as an error; in an UPDATE it is rarely one.
impl From<Truncated> for DecodeError {
    fn from(Truncated: Truncated) -> Self {
        ErrorCode::OPEN_MALFORMED.into()
    }
}

impl Open {
    /// The sender's AS number: the one of four octets where it is given (RFC 6793 §4.1).
    pub fn asn(&self) -> u32 {
        self.capabilities.asn.unwrap_or(self.my_as.into())
    }

    /// Parses a body. What depends on our configuration (is it the right AS?) is not checked here.
    pub fn parse(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        if reader.u8()? != VERSION {
            let ours = [0, VERSION];
            return Err(DecodeError::about(ErrorCode::UNSUPPORTED_VERSION, &ours));
        }
        let my_as = reader.u16()?;
        if my_as == 0 {
            return Err(ErrorCode::BAD_PEER_AS.into()); // RFC 7607 §2
        }
        let hold_time = reader.u16()?;
        let hold_time = HoldTime::parse(hold_time).map_err(|_| ErrorCode::UNACCEPTABLE_HOLD_TIME)?;
        let router_id = Ipv4Addr::from(reader.u32()?);
        let router_id = RouterId::parse(router_id).map_err(|_| ErrorCode::BAD_BGP_IDENTIFIER)?;
        let capabilities = optional_parameters(reader)?;
        Ok(Self { my_as, hold_time, router_id, capabilities })
    }

    /// The whole message.
    pub fn emit(&self) -> Vec<u8> {
        let mut body = vec![VERSION];
        body.extend(self.my_as.to_be_bytes());
        body.extend(self.hold_time.map_or(0, HoldTime::seconds).to_be_bytes());
        body.extend(self.router_id.address().octets());
        body.extend(self.capabilities.emit());
        frame(MessageType::Open, &body)
    }
}

fn optional_parameters(mut reader: Reader<'_>) -> Result<Capabilities, DecodeError> {
    let length = reader.u8()?;
    let extended = length != 0 && reader.rest().first() == Some(&EXTENDED);
    let mut parameters = if extended {
        reader.u8()?;
        let length = reader.u16()?;
        reader.part(length)?
    } else {
        reader.part(length)?
    };
    if !reader.is_empty() {
        return Err(ErrorCode::OPEN_MALFORMED.into());
    }
    let mut capabilities = Capabilities::default();
    while !parameters.is_empty() {
        let kind = parameters.u8()?;
        let length = if extended { parameters.u16()? } else { parameters.u8()?.into() };
        let value = parameters.part(length)?;
        if kind != CAPABILITIES {
            return Err(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER.into());
        }
        capabilities.parse(value)?;
    }
    Ok(capabilities)
}

impl Capabilities {
    /// Adds what one optional parameter says; a sender may spread its capabilities over several (RFC 5492 §4).
    fn parse(&mut self, mut parameter: Reader<'_>) -> Result<(), DecodeError> {
        while !parameter.is_empty() {
            let code = parameter.u8()?;
            let length = parameter.u8()?;
            let value = parameter.part(length)?;
            match code {
                MULTIPROTOCOL => self.parse_multiprotocol(value)?,
                ROUTE_REFRESH => self.route_refresh = true,
                FOUR_OCTET_AS => self.parse_asn(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn parse_multiprotocol(&mut self, mut value: Reader<'_>) -> Result<(), DecodeError> {
        let (afi, _reserved, safi) = (value.u16()?, value.u8()?, value.u8()?);
        self.families.get_or_insert_default().extend(Family::parse(afi, safi));
        whole(value)
    }

    fn parse_asn(&mut self, mut value: Reader<'_>) -> Result<(), DecodeError> {
        match value.u32()? {
            0 => return Err(ErrorCode::BAD_PEER_AS.into()), // RFC 7607 §2
            asn => self.asn = Some(asn),
        }
        whole(value)
    }

    /// One optional parameter with all of them, behind the length of all parameters. We have few enough
    /// capabilities for lengths of one octet.
    fn emit(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for family in self.families.iter().flatten() {
            let [high, low] = family.afi().to_be_bytes();
            list.extend([MULTIPROTOCOL, 4, high, low, 0, family.safi()]);
        }
        if self.route_refresh {
            list.extend([ROUTE_REFRESH, 0]);
        }
        if let Some(asn) = self.asn {
            list.extend([FOUR_OCTET_AS, 4]);
            list.extend(asn.to_be_bytes());
        }
        if list.is_empty() {
            return vec![0];
        }
        let length = u8::try_from(list.len()).unwrap_or(u8::MAX);
        let mut parameters = vec![length.saturating_add(2), CAPABILITIES, length];
        parameters.extend(list);
        parameters
    }
}

fn whole(value: Reader<'_>) -> Result<(), DecodeError> {
    if value.is_empty() { Ok(()) } else { Err(ErrorCode::OPEN_MALFORMED.into()) }
}
