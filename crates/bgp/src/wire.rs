//! Messages on the wire: octets to values and back.
//!
//! Whatever comes in is hostile until it is parsed: [`Frame::split`] looks for one whole message at the front of
//! what has arrived, the parsers of each message read inside it and nowhere else. What they refuse they refuse
//! with a [`DecodeError`], which is the NOTIFICATION to send. Nothing is longer than [`MAX_MESSAGE`].

mod attribute;
mod notification;
mod open;
mod reader;
mod refresh;
mod update;
mod update_emit;

pub use notification::{Communication, ErrorCode, Notification};
pub use open::{Capabilities, Open};
pub use refresh::{RouteRefresh, Subtype};
pub use update::{Flaw, MpReach, MpUnreach, Prefixes, Update};
pub use update_emit::{Draft, Full, NextHop, PathAttributes, end_of_rib};

use std::collections::BTreeSet;

use self::reader::Reader;
use crate::ids::Family;

/// The longest message, in octets (RFC 4271 §4). We never offer RFC 8654, so nobody may send a longer one.
pub const MAX_MESSAGE: usize = 4096;

/// The length of the header that every message has.
pub const HEADER: usize = 19;

const MARKER: [u8; 16] = [0xff; 16];

/// What the peer sent is not BGP as we speak it; this is what it is to be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub Notification);

impl From<ErrorCode> for DecodeError {
    fn from(error: ErrorCode) -> Self {
        Self(Notification::bare(error))
    }
}

impl DecodeError {
    fn about(error: ErrorCode, data: &[u8]) -> Self {
        Self(Notification::about(error, data))
    }
}

/// How wide AS numbers are in an AS_PATH (RFC 6793).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsNumbers {
    /// The peer has not announced the capability.
    TwoOctets,
    /// Both sides have.
    FourOctets,
}

/// Whether the peer is in our autonomous system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Same autonomous system (iBGP).
    Internal,
    /// Another one (eBGP).
    External,
}

/// How UPDATEs of one session are to be read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// The width of AS numbers.
    pub as_numbers: AsNumbers,
    /// Which attributes there are and must be.
    pub neighbour: Neighbour,
    /// Routes of these families may travel.
    pub families: BTreeSet<Family>,
}

/// The kinds of message (RFC 4271 §4.1, RFC 2918 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageType {
    /// 1
    Open,
    /// 2
    Update,
    /// 3
    Notification,
    /// 4
    Keepalive,
    /// 5
    RouteRefresh,
}

impl MessageType {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh];

    /// As it stands in the header.
    pub const fn octet(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    fn parse(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.octet() == octet)
    }

    /// Lengths that RFC 4271 §6.1 lets the header of this message say. A NOTIFICATION that is too short and a
    /// ROUTE-REFRESH that is not of its one length are left to their own parsers: the first may not be answered,
    /// the second has an error code of its own (RFC 7313 §5).
    fn allows(self, length: usize) -> bool {
        match self {
            Self::Open => (29..=MAX_MESSAGE).contains(&length),
            Self::Update => (23..=MAX_MESSAGE).contains(&length),
            Self::Keepalive => length == HEADER,
            Self::Notification | Self::RouteRefresh => (HEADER..=MAX_MESSAGE).contains(&length),
        }
    }
}

/// One whole message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What its header says it is.
    pub kind: MessageType,
    /// What follows the header.
    pub body: &'a [u8],
    /// Header and body.
    pub octets: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first message in `received`, or `None` if it has not come whole yet. The header is judged as soon as
    /// it is there, so that nobody waits for a body that is refused anyway.
    pub fn split(received: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let Some((header, _)) = received.split_first_chunk::<HEADER>() else { return Ok(None) };
        let (kind, length) = Self::judge(header)?;
        let Some(octets) = received.get(..length) else { return Ok(None) };
        let body = octets.get(HEADER..).unwrap_or_default();
        Ok(Some(Self { kind, body, octets }))
    }

    fn judge(header: &[u8; HEADER]) -> Result<(MessageType, usize), DecodeError> {
        let [marker @ .., high, low, kind] = header;
        if *marker != MARKER {
            return Err(ErrorCode::CONNECTION_NOT_SYNCHRONIZED.into());
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let bad_length = DecodeError::about(ErrorCode::BAD_MESSAGE_LENGTH, &[*high, *low]);
        if !(HEADER..=MAX_MESSAGE).contains(&length) {
            return Err(bad_length);
        }
        let kind = MessageType::parse(*kind)
            .ok_or_else(|| DecodeError::about(ErrorCode::BAD_MESSAGE_TYPE, &[*kind]))?;
        if kind.allows(length) { Ok((kind, length)) } else { Err(bad_length) }
    }
}

/// A KEEPALIVE, which is nothing but a header (RFC 4271 §4.4).
pub fn keepalive() -> Vec<u8> {
    frame(MessageType::Keepalive, &[])
}

/// Puts the header before a body.
fn frame(kind: MessageType, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(MARKER);
    message.extend(length(HEADER + body.len()));
    message.push(kind.octet());
    message.extend(body);
    message
}

/// A length field of two octets. Nothing that is emitted is longer than [`MAX_MESSAGE`].
fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
pub(crate) mod tests;
