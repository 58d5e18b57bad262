//! Classic BPF for ARP and Neighbor Discovery: it runs for every such frame of the segment, in the kernel, so that
//! the frames that concern others wake nobody. What it passes is still only a candidate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use socket2::SockFilter;

/// More runs of consecutive addresses than this are not told apart: the program is gone through from top to bottom,
/// and it is charged to the socket's option memory, 20 KiB on kernels before 6.7, twice while it is replaced.
const MOST_RUNS: usize = 64;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_BITS: u16 = 0x45;
const RETURN: u16 = 0x06;

/// `SKF_AD_OFF + SKF_AD_VLAN_TAG`: the tag that the kernel took off the frame.
const VLAN_TAG: u32 = 0xffff_f000 + 44;
const VLAN_ID: u32 = 0x0fff;

/// Where things are in a frame, from the start of the Ethernet header.
const ARP_OPERATION: u32 = 14 + 6;
const ARP_SENDER: u32 = 14 + 14;
const ARP_TARGET: u32 = 14 + 24;
const NEXT_HEADER: u32 = 14 + 6;
const ICMPV6_TYPE: u32 = 14 + 40;
const NDP_TARGET_LAST_WORD: u32 = 14 + 40 + 8 + 12;

const ICMPV6: u32 = 58;
const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;

/// Which frames reach a [`crate::frames::FrameSocket`]: ARP requests and replies with one of the addresses as target
/// or sender, and Neighbor Solicitations and Advertisements with one of them as target; none that belong to a VLAN.
///
/// It may pass more: IPv6 addresses are told apart by their last 32 bits, and beyond 64 runs of consecutive
/// addresses of a family everything of the right type passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    arp: BTreeSet<u32>,
    ndp: BTreeSet<u32>,
}

impl Filter {
    /// The filter for the owned addresses.
    pub fn owned(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut filter = Self { arp: BTreeSet::new(), ndp: BTreeSet::new() };
        for address in addresses {
            match address {
                IpAddr::V4(address) => filter.arp.insert(address.to_bits()),
                IpAddr::V6(address) => {
                    let [.., a, b, c, d] = address.octets();
                    filter.ndp.insert(u32::from_be_bytes([a, b, c, d]))
                }
            };
        }
        filter
    }

    /// The program for a socket that gets ARP frames only.
    pub(crate) fn arp_program(&self) -> Vec<SockFilter> {
        let mut program = untagged();
        // Request or reply.
        program.extend([
            load(LOAD_HALF, ARP_OPERATION),
            jump(JUMP_EQUAL, 1, 2, 0),
            jump(JUMP_EQUAL, 2, 1, 0),
            drop(),
        ]);
        program.extend(one_of(&self.arp, &[ARP_TARGET, ARP_SENDER]));
        program
    }

    /// The program for a socket that gets IPv6 frames only.
    pub(crate) fn ndp_program(&self) -> Vec<SockFilter> {
        let mut program = untagged();
        program.extend([load(LOAD_OCTET, NEXT_HEADER), jump(JUMP_EQUAL, ICMPV6, 1, 0), drop()]);
        program.extend([load(LOAD_OCTET, ICMPV6_TYPE), jump(JUMP_EQUAL, SOLICITATION, 2, 0)]);
        program.extend([jump(JUMP_EQUAL, ADVERTISEMENT, 1, 0), drop()]);
        program.extend(one_of(&self.ndp, &[NDP_TARGET_LAST_WORD]));
        program
    }
}

/// A tag with VLAN 0 only carries a priority; the frame is still this interface's.
fn untagged() -> Vec<SockFilter> {
    vec![load(LOAD_WORD, VLAN_TAG), jump(JUMP_BITS, VLAN_ID, 0, 1), drop()]
}

/// Passes a frame that has one of the values at one of the offsets.
fn one_of(values: &BTreeSet<u32>, offsets: &[u32]) -> Vec<SockFilter> {
    let runs = runs(values);
    if runs.len() > MOST_RUNS {
        return vec![pass()];
    }
    let mut program = Vec::new();
    for offset in offsets {
        program.push(load(LOAD_WORD, *offset));
        for (first, last) in &runs {
            program.extend([jump(JUMP_GREATER_EQUAL, *first, 0, 2), jump(JUMP_GREATER, *last, 1, 0), pass()]);
        }
    }
    program.push(drop());
    program
}

/// Consecutive values, as first and last.
fn runs(values: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*value) => *last = *value,
            _ => runs.push((*value, *value)),
        }
    }
    runs
}

fn load(size: u16, offset: u32) -> SockFilter {
    SockFilter::new(size, 0, 0, offset)
}

/// How many instructions to skip if the condition holds, and if not.
fn jump(condition: u16, value: u32, holds: u8, fails: u8) -> SockFilter {
    SockFilter::new(condition, holds, fails, value)
}

fn pass() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, u32::MAX)
}

fn drop() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_values_are_one_run() {
        let values = [1, 2, 3, 7, 9, 10, u32::MAX];
        assert_eq!(runs(&values.into()), [(1, 3), (7, 7), (9, 10), (u32::MAX, u32::MAX)]);
    }

    #[test]
    fn a_set_with_too_many_runs_does_not_lengthen_the_program() {
        let addresses = |count: u32| (0..count).map(|index| IpAddr::from((index * 2).to_be_bytes()));
        let most = u32::try_from(MOST_RUNS).unwrap();
        let longest = Filter::owned(addresses(most)).arp_program().len();
        assert_eq!(longest, 7 + 2 * (1 + 3 * MOST_RUNS) + 1);
        assert_eq!(Filter::owned(addresses(most + 1)).arp_program().len(), 7 + 1);
    }
}
