use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::burst::{Forms, Schedule};
use crate::echo::{self, Echo};
use crate::ethernet::{self, Header, Payload};
use crate::interface::{Carrier, Interface};
use crate::limits::Limits;
use crate::ndp::{self, Advertisement, Cause, Message, Solicitation};
use crate::questions::{Novelty, Question, Questions};
use crate::{Frame, Mac, Malformed, Stats, arp};

/// RFC 5227 §1.1, for ARP; used for NDP too, which has no such rule.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A foreign owner is reported at most this often for one address.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What the owner of a [`Responder`] has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this frame as it is.
    Send(Frame),
    /// Become a member of this IPv6 group on the interface: solicitations to it matter from now on.
    Join(Ipv6Addr),
    /// Cease to be a member of this IPv6 group.
    Leave(Ipv6Addr),
    /// Somebody else says that an address that we own is at that MAC, or one that we cover at another MAC than we say.
    /// At most one for each address, kind of station and second.
    Foreign {
        /// The address that we own or cover.
        address: IpAddr,
        /// Whose MAC was said to have it.
        mac: Mac,
        /// Who said it.
        station: Station,
    },
    /// Somebody says that an address that was asked for is at that MAC. Each answer once, and not more than a few.
    Answered {
        /// The address that was asked for.
        address: IpAddr,
        /// Where it is.
        mac: Mac,
    },
}

/// Who uses an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Station {
    /// Another speaker: the address is moving, or two of us hold it. It is not defended against.
    Speaker,
    /// Anybody else.
    Stranger,
}

/// Answers for a set of addresses on one interface.
#[derive(Debug)]
pub struct Responder {
    interface: Interface,
    held: BTreeMap<IpAddr, Held>,
    /// How many held addresses share a solicited-node group.
    groups: BTreeMap<Ipv6Addr, usize>,
    speakers: BTreeSet<Mac>,
    questions: Questions,
    echo: Echo,
    limits: Limits,
    schedule: Schedule,
    /// Each with the address that it is about, if it must not outlive what we say about that address.
    outputs: VecDeque<(Option<IpAddr>, Output)>,
    stats: Stats,
}

/// An address that is answered for.
#[derive(Debug)]
struct Held {
    role: Role,
    speaker_reported: Option<Instant>,
    stranger_reported: Option<Instant>,
    defended: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Owned,
    /// It is said to be at another node's MAC.
    Covered(Mac),
}

impl Responder {
    /// A responder that answers for nothing yet. The seed spreads the refreshes.
    pub fn new(interface: Interface, seed: u64, _now: Instant) -> Self {
        Self {
            interface,
            held: BTreeMap::new(),
            groups: BTreeMap::new(),
            speakers: BTreeSet::new(),
            questions: Questions::default(),
            echo: Echo::Silent,
            limits: Limits::default(),
            schedule: Schedule::new(seed),
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The interface as it is now. A new MAC, and a link that came back, make every owned address be announced as if
    /// it were just taken over.
    pub fn handle_interface(&mut self, now: Instant, interface: Interface) {
        let before = std::mem::replace(&mut self.interface, interface);
        if (before.mac, before.carrier) == (self.interface.mac, self.interface.carrier) {
            return;
        }
        self.outputs.retain(|(_, output)| !matches!(output, Output::Send(_)));
        self.schedule.clear();
        if self.interface.carrier == Carrier::Up {
            self.owned().collect::<Vec<_>>().iter().for_each(|address| self.schedule.start(now, *address));
        }
        self.announce_due(now);
    }

    /// Which MACs are those of other speakers from now on: what they say about an owned address is reported, but
    /// never contradicted, since it may be a move that both want.
    pub fn set_speakers(&mut self, _now: Instant, speakers: BTreeSet<Mac>) {
        self.speakers = speakers;
    }

    /// How often an owned address is announced after its burst, or not at all; each minute if this is never called.
    pub fn set_refresh(&mut self, now: Instant, refresh: Option<Duration>) {
        self.schedule.set_refresh(now, refresh);
    }

    /// Whether echo requests for owned addresses are answered; they are not if this is never called.
    pub fn set_echo(&mut self, _now: Instant, echo: Echo) {
        self.echo = echo;
    }

    /// Answers for an address from now on, and tells the neighbours. Owning it already changes nothing.
    pub fn own(&mut self, now: Instant, address: IpAddr) {
        if !self.hold(address, Role::Owned) {
            return;
        }
        if self.interface.carrier == Carrier::Up {
            self.schedule.start(now, address);
        }
        self.announce_due(now);
    }

    /// Tells the neighbours of an owned address again, as if it were just taken over: somebody else told them of it.
    pub fn announce_again(&mut self, now: Instant, address: IpAddr) {
        let owned = self.held.get(&address).is_some_and(|held| held.role == Role::Owned);
        if owned && self.interface.carrier == Carrier::Up {
            self.schedule.start(now, address);
            self.announce_due(now);
        }
    }

    /// Answers for an address from now on that it is at another node's MAC, and sends nothing unasked: that node
    /// forwards, but cannot answer for a while. Covering it so already changes nothing.
    pub fn cover(&mut self, _now: Instant, address: IpAddr, mac: Mac) {
        if self.hold(address, Role::Covered(mac)) {
            self.schedule.cancel(address);
        }
    }

    /// Is silent about an address from now on, owned or covered; frames about it that were not taken yet are dropped.
    pub fn disown(&mut self, _now: Instant, address: IpAddr) {
        if self.held.remove(&address).is_none() {
            return;
        }
        self.schedule.cancel(address);
        self.outputs.retain(|(about, _)| *about != Some(address));
        if let IpAddr::V6(address) = address {
            self.leave(ndp::solicited_node(address));
        }
    }

    /// Asks the neighbours once about any address. Each that answers within a second is told of by
    /// [`Output::Answered`]; nothing tells that nobody does. Without a link nobody is asked.
    pub fn ask(&mut self, now: Instant, target: IpAddr, question: Question) {
        if self.interface.carrier == Carrier::Down {
            return;
        }
        self.questions.open(now, target);
        self.stats.questions += 1;
        self.outputs.push_back((None, Output::Send(self.interface.question(target, question))));
    }

    /// The addresses that are answered for as our own.
    pub fn owned(&self) -> impl Iterator<Item = IpAddr> {
        let owned = self.held.iter().filter(|(_, held)| held.role == Role::Owned);
        owned.map(|(address, _)| *address)
    }

    /// The addresses whose frames matter: owned, covered, and those that were asked for in the last second.
    pub fn watched(&self) -> impl Iterator<Item = IpAddr> {
        self.held.keys().copied().chain(self.questions.addresses())
    }

    /// Reads a whole Ethernet frame as it was captured. A frame that concerns no watched address allocates nothing.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) {
        if self.interface.carrier == Carrier::Down {
            return;
        }
        if let Err(malformed) = self.read_frame(now, frame) {
            self.stats.count(malformed);
        }
    }

    /// Announces what is due, and closes questions.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.questions.close_due(now);
        self.announce_due(now);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().map(|(_, output)| output)
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.schedule.next(), self.questions.next()].into_iter().flatten().min()
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
                Some(Message::Solicitation(solicitation)) => {
                    self.handle_solicitation(now, header, &solicitation);
                }
                Some(Message::Advertisement(seen)) => self.handle_advertisement(now, header, &seen),
                None => self.handle_echo(now, header, octets, echo::parse_ipv6)?,
            },
            Payload::Ipv4(octets) => self.handle_echo(now, header, octets, echo::parse_ipv4)?,
            Payload::Other => self.stats.not_ours += 1,
        }
        Ok(())
    }

    fn handle_echo(
        &mut self,
        now: Instant,
        header: Header,
        octets: &[u8],
        parse: for<'a> fn(&'a [u8]) -> Result<Option<echo::Request<'a>>, Malformed>,
    ) -> Result<(), Malformed> {
        // A request to a group of stations would let one packet cause many.
        let request = match self.echo {
            Echo::Answer if !header.destination.is_group() => parse(octets)?,
            Echo::Answer | Echo::Silent => None,
        };
        let owns = |address| self.held.get(&address).is_some_and(|held| held.role == Role::Owned);
        let Some(request) = request.filter(|request| owns(request.ends.destination())) else {
            self.stats.not_ours += 1;
            return Ok(());
        };
        let back = Header { destination: header.source, source: self.interface.mac };
        match self.limits.take_echo(now).then(|| echo::reply(back, &request)).flatten() {
            Some(reply) => {
                self.stats.echoes += 1;
                self.send(request.ends.destination(), reply);
            }
            None => self.stats.echo_excess += 1,
        }
        Ok(())
    }

    fn handle_arp(&mut self, now: Instant, header: Header, packet: &arp::Packet) {
        if packet.sender_mac == self.interface.mac {
            self.stats.own += 1;
            return;
        }
        let claimed = self.handle_claim(now, header, packet.sender.into(), packet.sender_mac);
        // Gratuitous: it asks nothing, so a defence is the only answer.
        let question = packet.operation == arp::Operation::Request && packet.sender != packet.target;
        let place = self.place(packet.target.into()).filter(|_| question);
        if let Some(place) = place
            && self.may_answer(now, header)
        {
            self.stats.arp_replies += 1;
            self.send(packet.target.into(), arp::reply(self.interface.mac, place, header, packet));
        }
        if !claimed && place.is_none() {
            self.stats.not_ours += 1;
        }
    }

    fn handle_solicitation(&mut self, now: Instant, header: Header, solicitation: &Solicitation) {
        let target = solicitation.target;
        let Some(place) = self.place(target.into()) else {
            self.stats.not_ours += 1;
            return;
        };
        if !self.may_answer(now, header) {
            return;
        }
        self.stats.advertisements += 1;
        let frame = if solicitation.source.is_unspecified() {
            // RFC 4861 §7.2.4: the prober has no address yet; all nodes hear that this one is taken.
            self.interface.unsolicited(target, place, ndp::ALL_NODES)
        } else {
            let to = solicitation.link_layer.unwrap_or(header.source);
            self.interface.advertisement(target, place, solicitation.source, to, Cause::Solicited)
        };
        self.send(target.into(), frame);
    }

    fn may_answer(&mut self, now: Instant, header: Header) -> bool {
        let left = self.limits.take_answer(now, header.source);
        self.stats.excess += u64::from(!left);
        left
    }

    fn handle_advertisement(&mut self, now: Instant, header: Header, seen: &Advertisement) {
        let mac = seen.link_layer.unwrap_or(header.source);
        if mac == self.interface.mac {
            self.stats.own += 1;
        } else if !self.handle_claim(now, header, seen.target.into(), mac) {
            self.stats.not_ours += 1;
        }
    }

    /// Somebody says that the address is at that MAC, which is not ours. Whether that matters here.
    fn handle_claim(&mut self, now: Instant, header: Header, address: IpAddr, mac: Mac) -> bool {
        let answer = self.questions.answer(now, address, mac);
        if let Some(novelty) = answer {
            self.stats.answers += 1;
            if novelty == Novelty::New {
                self.outputs.push_back((None, Output::Answered { address, mac }));
            }
        }
        let foreign = self.place(address).is_some_and(|place| place != mac);
        if foreign {
            self.handle_foreign(now, header, address, mac);
        }
        foreign || answer.is_some()
    }

    fn handle_foreign(&mut self, now: Instant, header: Header, address: IpAddr, mac: Mac) {
        let Some(held) = self.held.get_mut(&address) else { return };
        self.stats.foreign += 1;
        // A speaker that covers says another's MAC.
        let is_speaker = [mac, header.source].iter().any(|mac| self.speakers.contains(mac));
        let (station, reported) = if is_speaker {
            (Station::Speaker, &mut held.speaker_reported)
        } else {
            (Station::Stranger, &mut held.stranger_reported)
        };
        if is_over(reported, REPORT_INTERVAL, now) {
            self.outputs.push_back((Some(address), Output::Foreign { address, mac, station }));
        }
        let defends = held.role == Role::Owned && station == Station::Stranger;
        if defends && is_over(&mut held.defended, DEFEND_INTERVAL, now) {
            self.stats.defences += 1;
            let own = self.interface.mac;
            let frame = match address {
                IpAddr::V4(address) => arp::announcement(own, address),
                IpAddr::V6(address) => self.interface.unsolicited(address, own, ndp::ALL_NODES),
            };
            self.send(address, frame);
        }
    }

    fn announce_due(&mut self, now: Instant) {
        while let Some((address, forms)) = self.schedule.pop_due(now) {
            let [first, second] = self.interface.announcement(address);
            if forms != Forms::Second {
                self.announce(address, first);
            }
            if forms != Forms::First {
                self.announce(address, second);
            }
        }
    }

    fn announce(&mut self, address: IpAddr, frame: Frame) {
        self.stats.gratuitous += 1;
        self.send(address, frame);
    }

    /// Where we say that an address is.
    fn place(&self, address: IpAddr) -> Option<Mac> {
        self.held.get(&address).map(|held| match held.role {
            Role::Owned => self.interface.mac,
            Role::Covered(mac) => mac,
        })
    }

    /// Answers for the address in this role, and says whether it did not before.
    fn hold(&mut self, address: IpAddr, role: Role) -> bool {
        match self.held.get(&address).map(|held| held.role) {
            Some(before) if before == role => return false,
            // What is still to be sent says where the address was.
            Some(_) => self
                .outputs
                .retain(|(about, output)| *about != Some(address) || !matches!(output, Output::Send(_))),
            None => {
                if let IpAddr::V6(address) = address {
                    self.join(ndp::solicited_node(address));
                }
            }
        }
        self.held
            .insert(address, Held { role, speaker_reported: None, stranger_reported: None, defended: None });
        true
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
