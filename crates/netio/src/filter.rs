//! Classic BPF for ARP, Neighbor Discovery and echo requests: it runs for every such frame of the segment, in the
//! kernel, so that the frames that concern others wake nobody. What it passes is still only a candidate.

use std::collections::BTreeSet;
use std::net::IpAddr;

use instruction::{
    JUMP_BITS, JUMP_EQUAL, JUMP_GREATER, LOAD_HALF, LOAD_INDEX_HEADER, LOAD_LENGTH, LOAD_OCTET,
    LOAD_OCTET_AT_INDEX, LOAD_WORD, drop, jump, plain,
};
use search::search;

mod instruction;
mod search;

pub(crate) use instruction::Instruction;

/// The kernel takes no more instructions than these.
pub(crate) const LONGEST: usize = 4096;

/// `SKF_AD_OFF + SKF_AD_PKTTYPE`: for whom the frame is, as the kernel sees it.
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const OTHER_HOST: u32 = 3;

/// Where things are in a frame, from the start of the Ethernet header.
const IP: u32 = 14;
const ARP_OPERATION: u32 = 14 + 6;
const ARP_SENDER: u32 = 14 + 14;
const ARP_TARGET: u32 = 14 + 24;
const FRAGMENT: u32 = IP + 6;
const PROTOCOL: u32 = IP + 9;
const IPV4_DESTINATION: u32 = IP + 16;
const NEXT_HEADER: u32 = IP + 6;
const IPV6_DESTINATION_LAST_WORD: u32 = IP + 24 + 12;
const ICMPV6_TYPE: u32 = IP + 40;
const NDP_TARGET_LAST_WORD: u32 = IP + 40 + 8 + 12;

const ICMP: u32 = 1;
const ICMPV6: u32 = 58;
const ECHO_REQUEST: u32 = 8;
const ECHO_REQUEST_V6: u32 = 128;
const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;
/// "More fragments" and the offset.
const FRAGMENT_BITS: u32 = 0x3fff;
/// The longest frame of Ethernet without its check sequence.
const LONGEST_FRAME: u32 = 14 + 1500;

/// Which frames reach a [`crate::frames::FrameSocket`]: ARP requests and replies with one of the addresses as target
/// or sender, Neighbor Solicitations and Advertisements with one of them as target, and, if they are listened for,
/// echo requests to them; none that belong to a VLAN, and none that are for another station alone.
///
/// It may pass more: IPv6 addresses are told apart by their last 32 bits; and where a program for all addresses would
/// be too long (about a thousand that are scattered, many more that are not), what lies between near ones passes too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    ipv4: BTreeSet<u32>,
    ipv6: BTreeSet<u32>,
}

impl FromIterator<IpAddr> for Filter {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        let mut filter = Self::default();
        filter.extend(addresses);
        filter
    }
}

impl Extend<IpAddr> for Filter {
    fn extend<I: IntoIterator<Item = IpAddr>>(&mut self, addresses: I) {
        for address in addresses {
            match address {
                IpAddr::V4(address) => self.ipv4.insert(address.to_bits()),
                IpAddr::V6(address) => self.ipv6.insert(last_word(address.octets())),
            };
        }
    }
}

fn last_word([.., a, b, c, d]: [u8; 16]) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// A program for one kind of socket, of at most so many instructions, or, where those are too few to tell any
/// addresses apart, a few more.
pub(crate) type Program = fn(&Filter, usize) -> Vec<Instruction>;

impl Filter {
    /// Whether frames about an address pass.
    pub fn passes(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.ipv4.contains(&address.to_bits()),
            IpAddr::V6(address) => self.ipv6.contains(&last_word(address.octets())),
        }
    }

    /// For a socket that gets ARP frames only.
    pub(crate) fn arp_program(&self, longest: usize) -> Vec<Instruction> {
        let mut program = for_this_host();
        // Request or reply.
        program.extend([
            plain(LOAD_HALF, ARP_OPERATION),
            jump(JUMP_EQUAL, 1, 2, 0),
            jump(JUMP_EQUAL, 2, 1, 0),
            drop(),
        ]);
        one_of(&self.ipv4, &[ARP_TARGET, ARP_SENDER], longest, program)
    }

    /// For a socket that gets IPv6 frames only: Neighbor Discovery.
    pub(crate) fn ndp_program(&self, longest: usize) -> Vec<Instruction> {
        let mut program = for_this_host();
        program.extend([plain(LOAD_OCTET, NEXT_HEADER), jump(JUMP_EQUAL, ICMPV6, 1, 0), drop()]);
        program.extend([plain(LOAD_OCTET, ICMPV6_TYPE), jump(JUMP_EQUAL, SOLICITATION, 2, 0)]);
        program.extend([jump(JUMP_EQUAL, ADVERTISEMENT, 1, 0), drop()]);
        one_of(&self.ipv6, &[NDP_TARGET_LAST_WORD], longest, program)
    }

    /// For a socket that gets IPv4 frames only: echo requests.
    pub(crate) fn echo_program(&self, longest: usize) -> Vec<Instruction> {
        let mut program = whole_frame();
        program.extend([plain(LOAD_OCTET, PROTOCOL), jump(JUMP_EQUAL, ICMP, 1, 0), drop()]);
        program.extend([plain(LOAD_HALF, FRAGMENT), jump(JUMP_BITS, FRAGMENT_BITS, 0, 1), drop()]);
        program.extend([plain(LOAD_INDEX_HEADER, IP), plain(LOAD_OCTET_AT_INDEX, IP)]);
        program.extend([jump(JUMP_EQUAL, ECHO_REQUEST, 1, 0), drop()]);
        one_of(&self.ipv4, &[IPV4_DESTINATION], longest, program)
    }

    /// For a socket that gets IPv6 frames only: echo requests.
    pub(crate) fn echo_v6_program(&self, longest: usize) -> Vec<Instruction> {
        let mut program = whole_frame();
        program.extend([plain(LOAD_OCTET, NEXT_HEADER), jump(JUMP_EQUAL, ICMPV6, 1, 0), drop()]);
        program.extend([plain(LOAD_OCTET, ICMPV6_TYPE), jump(JUMP_EQUAL, ECHO_REQUEST_V6, 1, 0), drop()]);
        one_of(&self.ipv6, &[IPV6_DESTINATION_LAST_WORD], longest, program)
    }
}

/// A frame of a VLAN that has no interface here comes without its tag: the kernel took it off, and says that the frame
/// is for another host. A tag with VLAN 0 only carries a priority; such a frame is still this interface's.
fn for_this_host() -> Vec<Instruction> {
    vec![plain(LOAD_WORD, PACKET_TYPE), jump(JUMP_EQUAL, OTHER_HOST, 0, 1), drop()]
}

/// What receive offload has put together is no longer a frame that anybody sent.
fn whole_frame() -> Vec<Instruction> {
    let mut program = for_this_host();
    program.extend([plain(LOAD_LENGTH, 0), jump(JUMP_GREATER, LONGEST_FRAME, 0, 1), drop()]);
    program
}

/// Passes a frame that has one of the values at one of the offsets.
fn one_of(
    values: &BTreeSet<u32>,
    offsets: &[u32],
    longest: usize,
    mut program: Vec<Instruction>,
) -> Vec<Instruction> {
    let left = longest.saturating_sub(program.len() + 1);
    let each = left.checked_div(offsets.len()).unwrap_or_default();
    program.extend(offsets.iter().flat_map(|offset| search(values, *offset, each)));
    program.push(drop());
    program
}

#[cfg(test)]
mod tests;
