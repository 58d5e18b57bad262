//! "Who has it?", asked with raw frames: the answers are counted, not cached.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use crate::address::{Mac, Network, Place};
use crate::capture::{
    ADVERTISEMENT, Capture, Frame, ICMPV6, Message, Operation, PacketSocket, SOLICITATION, SOURCE_LINK_LAYER,
    TARGET_LINK_LAYER, Wanted, checksum,
};
use crate::host::Host;
use crate::namespace::Namespace;
use crate::topology::Topology;
use crate::wait;

/// Answers come within a millisecond; a second owner may be slower.
const LISTEN: Duration = Duration::from_millis(300);
/// For callers who ask again where an answer is missing.
const LISTEN_TO_ALL: Duration = Duration::from_millis(60);

/// How to ask for an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To everyone.
    Broadcast,
    /// To one host, as caches do to confirm an entry.
    Unicast(Mac),
    /// With sender 0.0.0.0, as a host does before it takes an address (RFC 5227 section 2.1.1).
    Probe,
}

/// How to ask for an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solicitation {
    /// To the solicited-node group.
    Multicast,
    /// To the group, without the source link-layer option.
    MulticastWithoutOption,
    /// To one host, as neighbour unreachability detection does.
    Unicast(Mac),
    /// To one host, without the option.
    UnicastWithoutOption(Mac),
    /// From `::`, as duplicate address detection does (RFC 4862 section 5.4.2).
    Probe,
}

impl Topology {
    /// Waits until each address is answered for by one node, and nobody else, and says which.
    #[track_caller]
    pub fn wait_owners(&self, addresses: &[IpAddr], within: Duration) -> BTreeMap<IpAddr, usize> {
        wait::eventually("one node answers for each address", within, || {
            let macs = self.client().resolve_all(addresses);
            let owner = |macs: &BTreeSet<Mac>| match self.numbers_of(macs)[..] {
                [number] if macs.len() == 1 => Some(number),
                _ => None,
            };
            let owners: Option<_> = macs.iter().map(|(ip, macs)| Some((*ip, owner(macs)?))).collect();
            owners.ok_or_else(|| format!("{macs:?}"))
        })
    }

    /// The nodes that have these MACs on the segment.
    fn numbers_of(&self, macs: &BTreeSet<Mac>) -> Vec<usize> {
        let nodes = (1..).zip(self.nodes());
        nodes.filter(|(_, node)| macs.contains(&node.mac())).map(|(number, _)| number).collect()
    }

    /// Waits until one node, and nobody else, answers the client for `ip`, and says which (1, 2 or 3).
    #[track_caller]
    pub fn wait_owner(&self, ip: IpAddr, within: Duration) -> usize {
        wait::eventually(&format!("one node answers for {ip}"), within, || {
            let macs = self.client().resolve(ip);
            match self.numbers_of(&macs)[..] {
                [number] if macs.len() == 1 => Ok(number),
                _ => Err(format!("{macs:?}")),
            }
        })
    }
}

impl Host {
    /// Who answers for `ip`: to a broadcast ARP request, or to a multicast neighbour solicitation.
    #[must_use]
    #[track_caller]
    pub fn resolve(&self, ip: IpAddr) -> BTreeSet<Mac> {
        match ip {
            IpAddr::V4(ip) => self.arp(ip),
            IpAddr::V6(ip) => self.ndp(ip),
        }
    }

    /// Who answers somebody at the other end of the host's cable, also while the switch carries nothing.
    #[must_use]
    #[track_caller]
    pub fn asked_at_its_port(&self, ip: IpAddr) -> BTreeSet<Mac> {
        let (stranger, place) = (Network::SEGMENT.mac(Place::stranger(0)), Place::stranger(0));
        let question = match ip {
            IpAddr::V4(ip) => arp_frame(stranger, Network::SEGMENT.v4(place), ip, Request::Broadcast),
            IpAddr::V6(ip) => ndp_frame(stranger, Network::SEGMENT.v6(place), ip, Solicitation::Multicast),
        };
        let answer = move |frame: &Frame| {
            let (address, mac) = answered(frame)?;
            (address == ip && frame.destination() == stranger).then_some(mac)
        };
        ask(self.switch(), self.name(), &question, answer)
    }

    /// Who answers a broadcast ARP request for `ip` on that device, from a stranger.
    #[must_use]
    #[track_caller]
    pub fn arp_on(&self, device: &str, ip: Ipv4Addr) -> BTreeSet<Mac> {
        let stranger = Network::SEGMENT.mac(Place::stranger(0));
        let question = arp_frame(stranger, Network::SEGMENT.v4(Place::stranger(0)), ip, Request::Broadcast);
        let answer = move |frame: &Frame| {
            let (address, mac) = answered(frame)?;
            (address == IpAddr::V4(ip) && frame.destination() == stranger).then_some(mac)
        };
        ask(self.namespace(), device, &question, answer)
    }

    /// Says on the segment that `ip` is at `mac`, whoever that is: a gratuitous request, or an unsolicited
    /// advertisement.
    #[track_caller]
    pub fn claim(&self, ip: IpAddr, mac: Mac) {
        let frame = match ip {
            IpAddr::V4(ip) => arp_frame(mac, ip, ip, Request::Broadcast),
            IpAddr::V6(ip) => advertisement_frame(mac, ip),
        };
        PacketSocket::open(self.namespace(), "eth0", Wanted::Nothing).send(&frame);
    }

    /// Who answers for each of the addresses: all asked at once.
    #[must_use]
    #[track_caller]
    pub fn resolve_all(&self, addresses: &[IpAddr]) -> BTreeMap<IpAddr, BTreeSet<Mac>> {
        let mine = self.mac();
        let capture = Capture::of_neighbours(self, "eth0", move |frame| {
            !frame.outgoing && frame.destination() == mine && answered(frame).is_some()
        });
        let socket = PacketSocket::open(self.namespace(), "eth0", Wanted::Nothing);
        for address in addresses {
            socket.send(&match *address {
                IpAddr::V4(ip) => arp_frame(mine, self.v4(), ip, Request::Broadcast),
                IpAddr::V6(ip) => ndp_frame(mine, self.v6(), ip, Solicitation::Multicast),
            });
        }
        thread::sleep(LISTEN_TO_ALL);
        let mut macs: BTreeMap<_, BTreeSet<_>> = addresses.iter().map(|ip| (*ip, BTreeSet::new())).collect();
        for (address, mac) in capture.stop().iter().filter_map(answered) {
            if let Some(macs) = macs.get_mut(&address) {
                macs.insert(mac);
            }
        }
        macs
    }

    /// Who answers a broadcast ARP request for `ip`.
    #[must_use]
    #[track_caller]
    pub fn arp(&self, ip: Ipv4Addr) -> BTreeSet<Mac> {
        self.arp_as(ip, Request::Broadcast)
    }

    /// Who answers for `ip` when asked like that.
    #[must_use]
    #[track_caller]
    pub fn arp_as(&self, ip: Ipv4Addr, request: Request) -> BTreeSet<Mac> {
        let mine = self.mac();
        let answer = move |frame: &Frame| {
            let arp = frame.arp().filter(|arp| arp.operation == Operation::Reply)?;
            let asked_for = arp.sender == ip && frame.destination() == mine;
            asked_for.then_some(arp.sender_mac)
        };
        ask(self.namespace(), "eth0", &arp_frame(mine, self.v4(), ip, request), answer)
    }

    /// Who answers a multicast neighbour solicitation for `ip`.
    #[must_use]
    #[track_caller]
    pub fn ndp(&self, ip: Ipv6Addr) -> BTreeSet<Mac> {
        self.ndp_as(ip, Solicitation::Multicast)
    }

    /// Who answers for `ip` when asked like that.
    #[must_use]
    #[track_caller]
    pub fn ndp_as(&self, ip: Ipv6Addr, solicitation: Solicitation) -> BTreeSet<Mac> {
        let answer = move |frame: &Frame| {
            let ndp = frame.ndp().filter(|ndp| ndp.target == ip && ndp.intact)?;
            match ndp.message {
                Message::Advertisement { target_mac, .. } => Some(target_mac.unwrap_or(frame.source())),
                Message::Solicitation { .. } => None,
            }
        };
        let frame = ndp_frame(self.mac(), self.v6(), ip, solicitation);
        ask(self.namespace(), "eth0", &frame, answer)
    }
}

/// The address that a frame answers for, and where it is.
fn answered(frame: &Frame) -> Option<(IpAddr, Mac)> {
    if let Some(arp) = frame.arp().filter(|arp| arp.operation == Operation::Reply) {
        return Some((arp.sender.into(), arp.sender_mac));
    }
    let ndp = frame.ndp().filter(|ndp| ndp.intact)?;
    match ndp.message {
        Message::Advertisement { target_mac, .. } => {
            Some((ndp.target.into(), target_mac.unwrap_or(frame.source())))
        }
        Message::Solicitation { .. } => None,
    }
}

/// Sends the question and gathers what `answer` finds in the frames that come in.
#[track_caller]
fn ask(
    inside: &Namespace,
    device: &str,
    question: &[u8],
    answer: impl Fn(&Frame) -> Option<Mac> + Copy + Send + 'static,
) -> BTreeSet<Mac> {
    let incoming = move |frame: &Frame| !frame.outgoing && answer(frame).is_some();
    let capture = Capture::of_neighbours_in(inside, device, incoming);
    PacketSocket::open(inside, device, Wanted::Nothing).send(question);
    thread::sleep(LISTEN);
    capture.stop().iter().filter_map(answer).collect()
}

pub(crate) fn arp_frame(mac: Mac, own: Ipv4Addr, target: Ipv4Addr, request: Request) -> Vec<u8> {
    let (to, sender) = match request {
        Request::Broadcast => (Mac::BROADCAST, own),
        Request::Unicast(to) => (to, own),
        Request::Probe => (Mac::BROADCAST, Ipv4Addr::UNSPECIFIED),
    };
    let mut frame = [to.0, mac.0].concat();
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(sender.octets());
    frame.extend(Mac::ZERO.0);
    frame.extend(target.octets());
    frame
}

pub(crate) fn ndp_frame(mac: Mac, own: Ipv6Addr, target: Ipv6Addr, solicitation: Solicitation) -> Vec<u8> {
    let group = solicited_node(target);
    let everyone = (Mac::of_group(group), group);
    let ((to, destination), source, with_option) = match solicitation {
        Solicitation::Multicast => (everyone, own, true),
        Solicitation::MulticastWithoutOption => (everyone, own, false),
        Solicitation::Unicast(to) => ((to, target), own, true),
        Solicitation::UnicastWithoutOption(to) => ((to, target), own, false),
        Solicitation::Probe => (everyone, Ipv6Addr::UNSPECIFIED, false),
    };
    let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend(target.octets());
    if with_option {
        body.extend([SOURCE_LINK_LAYER, 1]);
        body.extend(mac.0);
    }
    icmpv6_frame((to, destination), (mac, source), body)
}

/// Unsolicited and overriding, to all nodes.
pub(crate) fn advertisement_frame(mac: Mac, target: Ipv6Addr) -> Vec<u8> {
    let everyone = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = vec![ADVERTISEMENT, 0, 0, 0, 0x20, 0, 0, 0];
    body.extend(target.octets());
    body.extend([TARGET_LINK_LAYER, 1]);
    body.extend(mac.0);
    icmpv6_frame((Mac::of_group(everyone), everyone), (mac, target), body)
}

/// With checksum and headers, to and from.
fn icmpv6_frame(to: (Mac, Ipv6Addr), from: (Mac, Ipv6Addr), mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from.1, to.1, &body).to_be_bytes();
    body[2..4].copy_from_slice(&sum);
    let length = u8::try_from(body.len()).expect("a question is short");
    let mut frame = [to.0.0, from.0.0].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend(from.1.octets());
    frame.extend(to.1.octets());
    frame.extend(body);
    frame
}

/// RFC 4291 section 2.7.1.
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let prefix = u128::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0));
    Ipv6Addr::from(prefix | u128::from(u32::from_be_bytes([0, a, b, c])))
}
