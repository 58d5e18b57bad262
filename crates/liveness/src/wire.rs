//! Heartbeats on the wire.
//!
//! In the clear: version, key tag, incarnation, sequence number, name of the sender. Sealed: the rest. Integers are
//! in network order; lists carry their length. A datagram is at most [`LONGEST`] octets, so that it passes any link
//! that carries IPv6 in one piece.

mod reader;

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use names::{Mac, NodeName};

use crate::Incarnation;
use crate::ids::{Claim, PeerId};
use crate::keys::{SEAL, SenderKey, Tag};
use reader::Reader;

/// The least MTU of IPv6, without the headers of IPv6 and UDP (RFC 8200 §5).
pub(crate) const LONGEST: usize = 1280 - 40 - 8;
const VERSION: u8 = 1;
/// Networks of the sender that are told; more are left out.
pub(crate) const MOST_NETWORKS: usize = 4;
/// Reports that a datagram has room for beside claims.
pub(crate) const MOST_REPORTS: usize = 32;
/// More claims never fit.
const MOST_CLAIMS: usize = 64;

/// What is wrong with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Malformed {
    /// It ends too early, or goes on after its end.
    #[error("wrong length")]
    Length,
    /// Its version is not known here.
    #[error("unknown version")]
    Version,
    /// The name is no text, or empty.
    #[error("no name")]
    Name,
    /// A field has a value that means nothing.
    #[error("meaningless value")]
    Value,
}

/// What stands in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tag: Tag,
    pub(crate) incarnation: Incarnation,
    pub(crate) sequence: u64,
    pub(crate) name: NodeName,
    /// Octets of all that.
    pub(crate) length: usize,
}

/// How a speaker is, by its own word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Condition(u8);

impl Condition {
    /// It has just started or thawed: it listens, and answers for nothing.
    pub(crate) const STARTING: Self = Self(1);
    /// It is about to be restarted and wants its addresses covered.
    pub(crate) const RESTARTING: Self = Self(1 << 1);
    /// Its node leaves for good: others are to take over.
    pub(crate) const LEAVING: Self = Self(1 << 2);
    /// It hears nobody, and answers for nothing.
    pub(crate) const ISOLATED: Self = Self(1 << 3);
    /// Its node does not forward to endpoints.
    pub(crate) const NO_DATA_PATH: Self = Self(1 << 4);

    const ALL: u8 = (1 << 5) - 1;

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn octet(self) -> u8 {
        self.0
    }
}

/// What a watcher says of a speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Report {
    /// It hears it.
    Heard,
    /// It does not, and does not know why.
    Silent,
    /// The speaker is gone and its node is not: its addresses are covered.
    Gone,
    /// The node is gone.
    Dead,
}

/// Something about one claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: IpAddr,
    pub(crate) claim: Claim,
    pub(crate) state: ClaimState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimState {
    Held,
    Released,
}

/// The claims in a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claims {
    /// These changed, or are recalled.
    Some(Vec<Entry>),
    /// A part of all that the sender holds. The parts of one list carry the same number.
    All { list: u32, part: u16, parts: u16, entries: Vec<Entry> },
}

/// Whether the receiver is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    /// A heartbeat, now.
    Answer,
    /// All claims, and a heartbeat with them.
    Claims,
}

/// What is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// From one heartbeat to the next, at most.
    pub(crate) interval: Duration,
    /// So many intervals of silence mean that the sender is gone.
    pub(crate) multiplier: u8,
    pub(crate) condition: Condition,
    pub(crate) wish: Wish,
    pub(crate) mac: Mac,
    /// The receiver's life, as the sender knows it.
    pub(crate) echo: Option<Incarnation>,
    /// Over all claims that the sender holds.
    pub(crate) digest: u64,
    /// Over those of them that concern the receiver: it may claim the same addresses.
    pub(crate) concern: u64,
    pub(crate) networks: Vec<IpNetwork>,
    pub(crate) reports: Vec<(PeerId, Report)>,
    pub(crate) claims: Claims,
}

/// Reads what stands in the clear.
pub(crate) fn header(datagram: &[u8]) -> Result<Header, Malformed> {
    let mut reader = Reader::new(datagram);
    if reader.octet()? != VERSION {
        return Err(Malformed::Version);
    }
    let tag = reader.octets()?;
    let incarnation = Incarnation(reader.octets()?);
    let sequence = u64::from_be_bytes(reader.octets()?);
    let length = usize::from(reader.octet()?);
    let name = std::str::from_utf8(reader.slice(length)?).map_err(|_| Malformed::Name)?;
    if name.is_empty() {
        return Err(Malformed::Name);
    }
    Ok(Header { tag, incarnation, sequence, name: NodeName::new(name), length: reader.read() })
}

/// A whole datagram. `None` where it would be too long, or cannot be sealed.
pub(crate) fn emit(
    key: &SenderKey,
    incarnation: Incarnation,
    sequence: u64,
    name: &NodeName,
    message: &Message,
) -> Option<Vec<u8>> {
    seal(key, incarnation, sequence, name, |out| message.emit(out))
}

/// The clear part, and a sealed one.
pub(crate) fn seal(
    key: &SenderKey,
    incarnation: Incarnation,
    sequence: u64,
    name: &NodeName,
    body: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(LONGEST);
    out.push(VERSION);
    out.extend_from_slice(&key.tag());
    out.extend_from_slice(&incarnation.0);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.push(u8::try_from(name.as_str().len()).ok()?);
    out.extend_from_slice(name.as_str().as_bytes());
    let clear = out.len();
    body(&mut out)?;
    key.seal(sequence, clear, &mut out)?;
    Some(out)
}

impl Message {
    pub(crate) fn emit(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(&u32::try_from(self.interval.as_micros()).ok()?.to_be_bytes());
        out.push(self.multiplier);
        out.push(self.condition.octet());
        out.push(match self.wish {
            Wish::Nothing => 0,
            Wish::Answer => 1,
            Wish::Claims => 2,
        });
        out.extend_from_slice(&self.mac.octets());
        out.extend_from_slice(&self.echo.unwrap_or(NOBODY).0);
        out.extend_from_slice(&self.digest.to_be_bytes());
        out.extend_from_slice(&self.concern.to_be_bytes());
        out.push(u8::try_from(self.networks.len()).ok()?);
        for network in &self.networks {
            emit_address(out, network.ip());
            out.push(network.prefix());
        }
        out.push(u8::try_from(self.reports.len()).ok()?);
        for (peer, report) in &self.reports {
            out.extend_from_slice(&peer.0.to_be_bytes());
            out.push(report.octet());
        }
        let entries = match &self.claims {
            Claims::Some(entries) => {
                out.push(0);
                entries
            }
            Claims::All { list, part, parts, entries } => {
                out.push(1);
                out.extend_from_slice(&list.to_be_bytes());
                out.extend_from_slice(&part.to_be_bytes());
                out.extend_from_slice(&parts.to_be_bytes());
                entries
            }
        };
        out.push(u8::try_from(entries.len()).ok()?);
        entries.iter().for_each(|entry| entry.emit(out));
        Some(())
    }

    /// Reads what was sealed.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let interval = Duration::from_micros(u32::from_be_bytes(reader.octets()?).into());
        let multiplier = reader.octet()?;
        let condition = Condition(reader.octet()? & Condition::ALL);
        let wish = match reader.octet()? {
            0 => Wish::Nothing,
            1 => Wish::Answer,
            2 => Wish::Claims,
            _ => return Err(Malformed::Value),
        };
        let mac = Mac::new(reader.octets()?);
        let echo = Some(Incarnation(reader.octets()?)).filter(|echo| *echo != NOBODY);
        let digest = u64::from_be_bytes(reader.octets()?);
        let concern = u64::from_be_bytes(reader.octets()?);
        let networks = reader.list(MOST_NETWORKS, read_network)?;
        let reports = reader.list(MOST_REPORTS, read_report)?;
        let claims = match reader.octet()? {
            0 => Claims::Some(reader.list(MOST_CLAIMS, Entry::read)?),
            1 => Claims::All {
                list: u32::from_be_bytes(reader.octets()?),
                part: u16::from_be_bytes(reader.octets()?),
                parts: u16::from_be_bytes(reader.octets()?),
                entries: reader.list(MOST_CLAIMS, Entry::read)?,
            },
            _ => return Err(Malformed::Value),
        };
        reader.end()?;
        if interval.is_zero() || multiplier == 0 {
            return Err(Malformed::Value);
        }
        Ok(Self {
            interval,
            multiplier,
            condition,
            wish,
            mac,
            echo,
            digest,
            concern,
            networks,
            reports,
            claims,
        })
    }
}

/// Stands for "not known".
const NOBODY: Incarnation = Incarnation([0; Incarnation::LENGTH]);

impl Report {
    const fn octet(self) -> u8 {
        match self {
            Self::Heard => 0,
            Self::Silent => 1,
            Self::Gone => 2,
            Self::Dead => 3,
        }
    }
}

impl Entry {
    /// Octets on the wire.
    pub(crate) fn length(&self) -> usize {
        let address = match self.address {
            IpAddr::V4(_) => 4,
            IpAddr::V6(_) => 16,
        };
        1 + address + 8 + 8 + 8 + 1
    }

    fn emit(&self, out: &mut Vec<u8>) {
        emit_address(out, self.address);
        out.extend_from_slice(&self.claim.generation.to_be_bytes());
        out.extend_from_slice(&self.claim.epoch.to_be_bytes());
        out.extend_from_slice(&self.claim.node.0.to_be_bytes());
        out.push(match self.state {
            ClaimState::Held => 0,
            ClaimState::Released => 1,
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let address = read_address(reader)?;
        let generation = u64::from_be_bytes(reader.octets()?);
        let epoch = u64::from_be_bytes(reader.octets()?);
        let node = PeerId(u64::from_be_bytes(reader.octets()?));
        let state = match reader.octet()? {
            0 => ClaimState::Held,
            1 => ClaimState::Released,
            _ => return Err(Malformed::Value),
        };
        Ok(Self { address, claim: Claim { generation, epoch, node }, state })
    }
}

fn emit_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.push(6);
            out.extend_from_slice(&address.octets());
        }
    }
}

fn read_address(reader: &mut Reader<'_>) -> Result<IpAddr, Malformed> {
    match reader.octet()? {
        4 => Ok(IpAddr::from(reader.octets::<4>()?)),
        6 => Ok(IpAddr::from(reader.octets::<16>()?)),
        _ => Err(Malformed::Value),
    }
}

fn read_network(reader: &mut Reader<'_>) -> Result<IpNetwork, Malformed> {
    let address = read_address(reader)?;
    IpNetwork::new(address, reader.octet()?).map_err(|_| Malformed::Value)
}

fn read_report(reader: &mut Reader<'_>) -> Result<(PeerId, Report), Malformed> {
    let peer = PeerId(u64::from_be_bytes(reader.octets()?));
    let report = match reader.octet()? {
        0 => Report::Heard,
        1 => Report::Silent,
        2 => Report::Gone,
        3 => Report::Dead,
        _ => return Err(Malformed::Value),
    };
    Ok((peer, report))
}

/// Octets that are left for claims beside all else.
pub(crate) fn room(name: &NodeName, message: &Message) -> usize {
    const CLEAR: usize = 1 + 4 + Incarnation::LENGTH + 8 + 1;
    const FIXED: usize = 4 + 1 + 1 + 1 + 6 + Incarnation::LENGTH + 8 + 1 + 1;
    const LIST: usize = 1 + 8 + 1;
    let networks = message.networks.len() * (17 + 1);
    let reports = message.reports.len() * (8 + 1);
    LONGEST.saturating_sub(CLEAR + name.as_str().len() + FIXED + networks + reports + LIST + SEAL)
}

#[cfg(test)]
mod tests;
