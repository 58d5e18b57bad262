use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::burst::Schedule;
use crate::ethernet::{self, Header, Payload};
use crate::ndp::{self, Advertisement, Cause, Message, Solicitation};
use crate::{Frame, Mac, Malformed, Stats, arp};

/// RFC 5227 §1.1, for ARP; used for NDP too, which has no such rule.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A foreign owner is reported at most this often for one address.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The interface is up and has a link.
    Up,
    /// Nothing is heard, answered or announced.
    Down,
}

/// What the responder must know of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC: the one that owned addresses resolve to.
    pub mac: Mac,
    /// Its link-local address, the source of advertisements (RFC 4861 §4.4 wants an address of the interface). Without
    /// one they are sent from the announced address.
    pub link_local: Option<Ipv6Addr>,
    /// Whether it has a link.
    pub carrier: Carrier,
}

/// What the owner of a [`Responder`] has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send this frame as it is.
    Send(Frame),
    /// Become a member of this IPv6 group on the interface: solicitations to it matter from now on.
    Join(Ipv6Addr),
    /// Cease to be a member of this IPv6 group.
    Leave(Ipv6Addr),
    /// Somebody else says that an address of ours is at that MAC. At most one for each address and second.
    Foreign {
        /// The address that we own.
        address: IpAddr,
        /// Whose MAC was said to have it.
        mac: Mac,
    },
}

/// Answers for a set of addresses on one interface.
#[derive(Debug)]
pub struct Responder {
    interface: Interface,
    owned: BTreeMap<IpAddr, Owned>,
    /// How many owned addresses share a solicited-node group.
    groups: BTreeMap<Ipv6Addr, usize>,
    schedule: Schedule,
    /// Each with the address that it is about, if it must not outlive the ownership.
    outputs: VecDeque<(Option<IpAddr>, Output)>,
    stats: Stats,
}

/// When something was last done about a foreign owner.
#[derive(Debug, Default)]
struct Owned {
    reported: Option<Instant>,
    defended: Option<Instant>,
}

impl Responder {
    /// A responder that owns nothing yet. The seed spreads the refreshes.
    pub fn new(interface: Interface, seed: u64, _now: Instant) -> Self {
        Self {
            interface,
            owned: BTreeMap::new(),
            groups: BTreeMap::new(),
            schedule: Schedule::new(seed),
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The interface's MAC, link-local address or carrier as they are now. A new MAC, and a link that came back,
    /// make every owned address be announced as if it were just taken over.
    pub fn handle_interface(&mut self, now: Instant, interface: Interface) {
        let before = std::mem::replace(&mut self.interface, interface);
        if (before.mac, before.carrier) == (interface.mac, interface.carrier) {
            return;
        }
        self.outputs.retain(|(_, output)| !matches!(output, Output::Send(_)));
        self.schedule.clear();
        if interface.carrier == Carrier::Up {
            self.owned.keys().for_each(|address| self.schedule.start(now, *address));
        }
        self.announce_due(now);
    }

    /// Answers for an address from now on, and tells the neighbours. Owning it already changes nothing.
    pub fn own(&mut self, now: Instant, address: IpAddr) {
        if self.owned.contains_key(&address) {
            return;
        }
        self.owned.insert(address, Owned::default());
        if let IpAddr::V6(address) = address {
            self.join(ndp::solicited_node(address));
        }
        if self.interface.carrier == Carrier::Up {
            self.schedule.start(now, address);
        }
        self.announce_due(now);
    }

    /// Is silent about an address from now on; frames about it that were not taken yet are dropped.
    pub fn disown(&mut self, _now: Instant, address: IpAddr) {
        if self.owned.remove(&address).is_none() {
            return;
        }
        self.schedule.cancel(address);
        self.outputs.retain(|(about, _)| *about != Some(address));
        if let IpAddr::V6(address) = address {
            self.leave(ndp::solicited_node(address));
        }
    }

    /// The addresses that are answered for.
    pub fn owned(&self) -> impl Iterator<Item = IpAddr> {
        self.owned.keys().copied()
    }

    /// Reads a whole Ethernet frame as it was captured. A frame that concerns no owned address allocates nothing.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        if self.interface.carrier == Carrier::Down {
            return;
        }
        if let Err(malformed) = self.read_frame(now, frame) {
            self.stats.count(malformed);
        }
    }

    /// Announces what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.announce_due(now);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().map(|(_, output)| output)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn read_frame(&mut self, now: Instant, frame: &[u8]) -> Result<(), Malformed> {
        let (header, payload) = ethernet::parse(frame)?;
        if header.source == self.interface.mac {
            self.stats.own += 1;
            return Ok(());
        }
        // Another station's unicast, seen because the interface is promiscuous, is that station's to answer.
        if header.destination != self.interface.mac && !header.destination.is_group() {
            self.stats.not_ours += 1;
            return Ok(());
        }
        match payload {
            Payload::Arp(octets) => match arp::parse(octets)? {
                Some(packet) => self.handle_arp(now, header, &packet),
                None => self.stats.not_ours += 1,
            },
            Payload::Ipv6(octets) => match ndp::parse(octets)? {
                Some(Message::Solicitation(solicitation)) => self.handle_solicitation(header, &solicitation),
                Some(Message::Advertisement(seen)) => self.handle_advertisement(now, header, &seen),
                None => self.stats.not_ours += 1,
            },
            Payload::Other => self.stats.not_ours += 1,
        }
        Ok(())
    }

    fn handle_arp(&mut self, now: Instant, header: Header, packet: &arp::Packet) {
        if packet.sender_mac == self.interface.mac {
            self.stats.own += 1;
            return;
        }
        let conflict = self.owns(packet.sender);
        // Gratuitous: it asks nothing, so the defence is the only answer.
        let question = packet.operation == arp::Operation::Request && packet.sender != packet.target;
        let asked = question && self.owns(packet.target);
        if conflict {
            self.handle_foreign(now, packet.sender.into(), packet.sender_mac);
        }
        if asked {
            self.stats.arp_replies += 1;
            self.send(packet.target.into(), arp::reply(self.interface.mac, header, packet));
        }
        if !conflict && !asked {
            self.stats.not_ours += 1;
        }
    }

    fn handle_solicitation(&mut self, header: Header, solicitation: &Solicitation) {
        if !self.owns(solicitation.target) {
            self.stats.not_ours += 1;
            return;
        }
        self.stats.advertisements += 1;
        let frame = if solicitation.source.is_unspecified() {
            // RFC 4861 §7.2.4: the prober has no address yet; all nodes hear that this one is taken.
            self.unsolicited(solicitation.target, ndp::ALL_NODES)
        } else {
            let to = solicitation.link_layer.unwrap_or(header.source);
            self.advertisement(solicitation.target, solicitation.source, to, Cause::Solicited)
        };
        self.send(solicitation.target.into(), frame);
    }

    fn handle_advertisement(&mut self, now: Instant, header: Header, seen: &Advertisement) {
        let mac = seen.link_layer.unwrap_or(header.source);
        if mac == self.interface.mac {
            self.stats.own += 1;
        } else if self.owns(seen.target) {
            self.handle_foreign(now, seen.target.into(), mac);
        } else {
            self.stats.not_ours += 1;
        }
    }

    fn handle_foreign(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        let Some(owned) = self.owned.get_mut(&address) else { return };
        self.stats.foreign += 1;
        if is_over(&mut owned.reported, REPORT_INTERVAL, now) {
            self.outputs.push_back((Some(address), Output::Foreign { address, mac }));
        }
        if is_over(&mut owned.defended, DEFEND_INTERVAL, now) {
            self.stats.defences += 1;
            let frame = match address {
                IpAddr::V4(address) => arp::announcement(self.interface.mac, address),
                IpAddr::V6(address) => self.unsolicited(address, ndp::ALL_NODES),
            };
            self.send(address, frame);
        }
    }

    fn announce_due(&mut self, now: Instant) {
        while let Some(address) = self.schedule.pop_due(now) {
            for frame in self.announcement(address) {
                self.stats.gratuitous += 1;
                self.send(address, frame);
            }
        }
    }

    fn announcement(&self, address: IpAddr) -> [Frame; 2] {
        match address {
            IpAddr::V4(address) => arp::gratuitous(self.interface.mac, address),
            IpAddr::V6(address) => {
                [ndp::ALL_NODES, ndp::ALL_ROUTERS].map(|group| self.unsolicited(address, group))
            }
        }
    }

    fn unsolicited(&self, target: Ipv6Addr, group: Ipv6Addr) -> Frame {
        self.advertisement(target, group, Mac::of_group(group), Cause::Unsolicited)
    }

    fn advertisement(&self, target: Ipv6Addr, destination: Ipv6Addr, to: Mac, cause: Cause) -> Frame {
        let Interface { mac, link_local, .. } = self.interface;
        let source = link_local.unwrap_or(target);
        let advertisement = Advertisement { source, destination, cause, target, link_layer: Some(mac) };
        ndp::emit(Header { destination: to, source: mac }, &advertisement)
    }

    fn owns(&self, address: impl Into<IpAddr>) -> bool {
        self.owned.contains_key(&address.into())
    }

    fn send(&mut self, about: IpAddr, frame: Frame) {
        self.outputs.push_back((Some(about), Output::Send(frame)));
    }

    fn join(&mut self, group: Ipv6Addr) {
        let members = self.groups.entry(group).or_default();
        *members += 1;
        if *members == 1 {
            self.outputs.push_back((None, Output::Join(group)));
        }
    }

    fn leave(&mut self, group: Ipv6Addr) {
        let Some(members) = self.groups.get_mut(&group) else { return };
        *members = members.saturating_sub(1);
        if *members == 0 {
            self.groups.remove(&group);
            self.outputs.push_back((None, Output::Leave(group)));
        }
    }
}

/// Whether the interval since the last time has passed; then this is the last time.
fn is_over(last: &mut Option<Instant>, interval: Duration, now: Instant) -> bool {
    let over = last.is_none_or(|last| now.saturating_duration_since(last) >= interval);
    if over {
        *last = Some(now);
    }
    over
}

#[cfg(test)]
mod tests;
