//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{Frame, HEADER};
use crate::address::Mac;

const ETHER_TYPE: u16 = 0x0806;
/// Ethernet, IPv4, address lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// SHA.
    pub sender_mac: Mac,
    /// SPA.
    pub sender: Ipv4Addr,
    /// THA.
    pub target_mac: Mac,
    /// TPA.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Whether it announces its sender (RFC 5227 section 3).
    #[must_use]
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }

    pub(super) fn parse(frame: &Frame) -> Option<Self> {
        let packet = frame.bytes.get(HEADER..HEADER + 28)?;
        if frame.ether_type() != ETHER_TYPE || !packet.starts_with(&KIND) {
            return None;
        }
        let operation = match packet[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| Some(Mac(packet.get(at..at + 6)?.try_into().ok()?));
        let ip = |at: usize| Some(Ipv4Addr::from(*packet.get(at..at + 4)?.first_chunk::<4>()?));
        Some(Self { operation, sender_mac: mac(8)?, sender: ip(14)?, target_mac: mac(18)?, target: ip(24)? })
    }
}
