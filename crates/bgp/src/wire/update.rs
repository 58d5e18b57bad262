use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::attribute::{self, Raw, Verdict};
use super::reader::{Reader, Truncated};
use super::{DecodeError, Dialect, ErrorCode};
use crate::ids::Family;

/// What an UPDATE says (RFC 4271 §4.3), as views into it: nothing is copied.
///
/// Errors are handled as RFC 7606 demands: what can be borne is noted here, and only what leaves the meaning of
/// the octets in doubt is a [`DecodeError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update<'a> {
    /// IPv4 routes that are gone.
    pub withdrawn: Prefixes<'a>,
    /// IPv4 routes.
    pub nlri: Prefixes<'a>,
    /// Routes of a negotiated family.
    pub mp_reach: Option<MpReach<'a>>,
    /// Routes of a negotiated family that are gone.
    pub mp_unreach: Option<MpUnreach<'a>>,
    /// Its routes count as withdrawn (RFC 7606 §2): why.
    pub treat_as_withdraw: Option<Flaw>,
    /// How many attributes count as not there.
    pub discarded: usize,
    attributes: Reader<'a>,
}

/// Why an UPDATE's routes count as withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// The attributes overrun their total length (RFC 7606 §4).
    Overrun,
    /// This attribute is malformed.
    Malformed(u8),
    /// This mandatory attribute is not there (RFC 7606 §3 d).
    Missing(u8),
}

/// MP_REACH_NLRI (RFC 4760 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MpReach<'a> {
    /// Of which family.
    pub family: Family,
    /// One address, or two in IPv6: global and link-local (RFC 2545 §3).
    pub next_hop: &'a [u8],
    /// The routes.
    pub nlri: Prefixes<'a>,
}

/// MP_UNREACH_NLRI (RFC 4760 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MpUnreach<'a> {
    /// Of which family.
    pub family: Family,
    /// The routes.
    pub withdrawn: Prefixes<'a>,
}

/// A run of prefixes that is known to be well-formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes<'a> {
    family: Family,
    octets: Reader<'a>,
}

impl Iterator for Prefixes<'_> {
    type Item = IpNetwork;

    fn next(&mut self) -> Option<IpNetwork> {
        if self.octets.is_empty() {
            return None;
        }
        prefix(self.family, &mut self.octets)
    }
}

/// One prefix; `None` if it is longer than an address or cut short.
fn prefix(family: Family, octets: &mut Reader<'_>) -> Option<IpNetwork> {
    let length = octets.u8().ok()?;
    let bits = octets.take(usize::from(length).div_ceil(8)).ok()?;
    let address = match family {
        Family::Ipv4Unicast => IpAddr::from(Ipv4Addr::from(padded::<4>(bits)?)),
        Family::Ipv6Unicast => IpAddr::from(Ipv6Addr::from(padded::<16>(bits)?)),
    };
    IpNetwork::new(address, length).ok().map(crate::ids::masked)
}

fn padded<const N: usize>(bits: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..bits.len())?.copy_from_slice(bits);
    Some(address)
}

impl<'a> Prefixes<'a> {
    fn parse(family: Family, octets: Reader<'a>) -> Option<Self> {
        let mut rest = octets;
        while !rest.is_empty() {
            prefix(family, &mut rest)?;
        }
        Some(Self { family, octets })
    }
}

impl<'a> Update<'a> {
    /// Parses a body.
    pub fn parse(body: &'a [u8], dialect: &Dialect) -> Result<Self, DecodeError> {
        let (withdrawn, attributes, nlri) =
            framing(Reader::new(body)).map_err(|Truncated| ErrorCode::MALFORMED_ATTRIBUTE_LIST)?;
        let prefixes =
            |octets| Prefixes::parse(Family::Ipv4Unicast, octets).ok_or(ErrorCode::INVALID_NETWORK_FIELD);
        let mut update = Self {
            withdrawn: prefixes(withdrawn)?,
            nlri: prefixes(nlri)?,
            mp_reach: None,
            mp_unreach: None,
            treat_as_withdraw: None,
            discarded: 0,
            attributes,
        };
        let seen = update.walk(dialect)?;
        update.require(&seen);
        Ok(update)
    }

    /// The End-of-RIB marker of this family, if that is what it is (RFC 4724 §2).
    pub fn end_of_rib(&self) -> Option<Family> {
        let mut withdrawn = self.withdrawn;
        let quiet = withdrawn.next().is_none() && self.nlri.octets.is_empty() && self.mp_reach.is_none();
        match self.mp_unreach {
            _ if !quiet => None,
            Some(unreach) if unreach.withdrawn.octets.is_empty() => Some(unreach.family),
            Some(_) => None,
            None if self.attributes.is_empty() => Some(Family::Ipv4Unicast),
            None => None,
        }
    }

    /// The value of an attribute, the first of that type.
    pub fn attribute(&self, kind: u8) -> Option<&'a [u8]> {
        let mut rest = self.attributes;
        while let Ok(raw) = Raw::next(&mut rest) {
            if raw.kind == kind {
                return Some(raw.value);
            }
        }
        None
    }

    /// Judges each attribute; gives the types that are there.
    fn walk(&mut self, dialect: &Dialect) -> Result<BTreeSet<u8>, DecodeError> {
        let mut seen = BTreeSet::new();
        let mut rest = self.attributes;
        while !rest.is_empty() {
            let Ok(raw) = Raw::next(&mut rest) else {
                self.flawed(Flaw::Overrun);
                break;
            };
            let repeated = !seen.insert(raw.kind);
            match raw.kind {
                attribute::MP_REACH_NLRI | attribute::MP_UNREACH_NLRI if repeated => {
                    return Err(ErrorCode::MALFORMED_ATTRIBUTE_LIST.into()); // RFC 7606 §3 g
                }
                _ if repeated => self.discarded += 1,
                _ => self.judge(&raw, dialect)?,
            }
        }
        Ok(seen)
    }

    fn judge(&mut self, raw: &Raw<'a>, dialect: &Dialect) -> Result<(), DecodeError> {
        match attribute::judge(raw, dialect) {
            Verdict::Sound => {}
            Verdict::Discard => self.discarded += 1,
            Verdict::TreatAsWithdraw => self.flawed(Flaw::Malformed(raw.kind)),
            Verdict::Unrecognized => {
                return Err(DecodeError::about(ErrorCode::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE, raw.octets));
            }
        }
        let refuse = || DecodeError::about(ErrorCode::OPTIONAL_ATTRIBUTE, raw.octets); // RFC 4760 §7
        match raw.kind {
            attribute::MP_REACH_NLRI => {
                let reach = mp_reach(Reader::new(raw.value), dialect).map_err(|_| refuse())?;
                self.discarded += usize::from(reach.is_none());
                self.mp_reach = reach;
            }
            attribute::MP_UNREACH_NLRI => {
                let unreach = mp_unreach(Reader::new(raw.value), dialect).map_err(|_| refuse())?;
                self.discarded += usize::from(unreach.is_none());
                self.mp_unreach = unreach;
            }
            _ => {}
        }
        Ok(())
    }

    fn flawed(&mut self, flaw: Flaw) {
        self.treat_as_withdraw.get_or_insert(flaw);
    }

    /// Routes need an origin, a path and a next hop (RFC 7606 §3 d).
    fn require(&mut self, seen: &BTreeSet<u8>) {
        let v4 = !self.nlri.octets.is_empty();
        let mut needed = Vec::new();
        if v4 || self.mp_reach.is_some() {
            needed.extend([attribute::ORIGIN, attribute::AS_PATH]);
        }
        if v4 {
            needed.push(attribute::NEXT_HOP);
        }
        if let Some(missing) = needed.into_iter().find(|kind| !seen.contains(kind)) {
            self.flawed(Flaw::Missing(missing));
        }
    }
}

/// Withdrawn routes, path attributes, routes: as the two lengths divide the message.
fn framing(mut body: Reader<'_>) -> Result<(Reader<'_>, Reader<'_>, Reader<'_>), Truncated> {
    let length = body.u16()?;
    let withdrawn = body.part(length)?;
    let length = body.u16()?;
    let attributes = body.part(length)?;
    Ok((withdrawn, attributes, body))
}

/// `None` is a family that was not negotiated: to be ignored (RFC 4760 §6).
fn mp_reach<'a>(mut value: Reader<'a>, dialect: &Dialect) -> Result<Option<MpReach<'a>>, Truncated> {
    let family = Family::parse(value.u16()?, value.u8()?);
    let Some(family) = family.filter(|family| dialect.families.contains(family)) else { return Ok(None) };
    let length = usize::from(value.u8()?);
    let expected = match family {
        Family::Ipv4Unicast => length == 4,
        Family::Ipv6Unicast => length == 16 || length == 32,
    };
    let next_hop = value.take(length)?;
    let _reserved = value.u8()?;
    let nlri = Prefixes::parse(family, value).filter(|_| expected).ok_or(Truncated)?;
    Ok(Some(MpReach { family, next_hop, nlri }))
}

/// `None` as in [`mp_reach`].
fn mp_unreach<'a>(mut value: Reader<'a>, dialect: &Dialect) -> Result<Option<MpUnreach<'a>>, Truncated> {
    let family = Family::parse(value.u16()?, value.u8()?);
    let Some(family) = family.filter(|family| dialect.families.contains(family)) else { return Ok(None) };
    let withdrawn = Prefixes::parse(family, value).ok_or(Truncated)?;
    Ok(Some(MpUnreach { family, withdrawn }))
}
