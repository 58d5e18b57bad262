//! Finds out, on one interface, which of some addresses somebody else answers for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::arp;
use crate::ethernet::{self, Payload};
use crate::interface::{Carrier, Interface};
use crate::jitter::Jitter;
use crate::ndp::{self, Message};
use crate::{Frame, Mac, Malformed, Question};

/// RFC 5227 §1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u32 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);

/// The same where an answer is to come soon.
const QUICK_NUM: u32 = 2;
const QUICK_WAIT: Duration = Duration::from_millis(100);

/// From one finding to the next probe: of an address that is free, and of one that may become so.
const RENEW_FREE: Duration = Duration::from_mins(1);
const RENEW_TAKEN: Duration = Duration::from_secs(10);

/// Candidates that are new at once are probed so far apart.
const APART: Duration = Duration::from_millis(1);

/// How an address is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// Two probes, a tenth of a second apart, and as long until it counts as free.
    Quick,
    /// As RFC 5227 §2.1.1 has it.
    Full,
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nobody answers for it.
    Free,
    /// It is at this MAC, or that station is about to take it.
    Taken(Mac),
}

/// What the owner of a [`Prober`] has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this frame as it is.
    Send(Frame),
    /// Become a member of this IPv6 group on the interface.
    Join(Ipv6Addr),
    /// Cease to be a member of this IPv6 group.
    Leave(Ipv6Addr),
    /// Something else is known now; `None`: nothing, because there is no link.
    Found {
        /// The address.
        address: IpAddr,
        /// What is known of it.
        finding: Option<Finding>,
    },
}

/// Probes a set of addresses on one interface for as long as they are in it.
///
/// Whoever says to have one of them has it, at whatever time: who answers a probe, who announces it, and who probes it
/// too (RFC 5227 §2.1.1, RFC 4862 §5.4.3). Other speakers do not count.
#[derive(Debug)]
pub struct Prober {
    interface: Interface,
    candidates: BTreeMap<IpAddr, Candidate>,
    due: BTreeSet<(Instant, IpAddr)>,
    /// How many candidates share a solicited-node group.
    groups: BTreeMap<Ipv6Addr, usize>,
    speakers: BTreeSet<Mac>,
    jitter: Jitter,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Candidate {
    thoroughness: Thoroughness,
    /// When the next step is due; nothing while there is no link.
    at: Option<Instant>,
    step: Step,
    /// Who was heard in this round.
    heard: Option<Mac>,
    finding: Option<Finding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// So many probes are still to be sent.
    Probe(u32),
    /// All were.
    Conclude,
}

impl Candidate {
    fn probes(&self) -> u32 {
        match self.thoroughness {
            Thoroughness::Quick => QUICK_NUM,
            Thoroughness::Full => PROBE_NUM,
        }
    }
}

impl Prober {
    /// A prober without candidates. The seed spreads its probes.
    pub fn new(interface: Interface, seed: u64, _now: Instant) -> Self {
        Self {
            interface,
            candidates: BTreeMap::new(),
            due: BTreeSet::new(),
            groups: BTreeMap::new(),
            speakers: BTreeSet::new(),
            jitter: Jitter::new(seed),
            outputs: VecDeque::new(),
        }
    }

    /// The interface as it is now. Without a link nothing is known; when it is back, everything is probed anew.
    pub fn handle_interface(&mut self, now: Instant, interface: Interface) {
        let before = std::mem::replace(&mut self.interface, interface);
        if (before.mac, before.carrier) == (self.interface.mac, self.interface.carrier) {
            return;
        }
        let addresses: Vec<_> = self.candidates.keys().copied().collect();
        for address in &addresses {
            self.unschedule(*address);
            self.find(*address, None);
        }
        self.begin_all(now, &addresses);
    }

    /// What is to be probed from now on, all of it. What was found of those that are no longer in it is forgotten.
    pub fn set_candidates(&mut self, now: Instant, wanted: &BTreeMap<IpAddr, Thoroughness>) {
        let gone: Vec<_> =
            self.candidates.keys().copied().filter(|address| !wanted.contains_key(address)).collect();
        for address in gone {
            self.forget(address);
        }
        let mut new = Vec::new();
        for (address, thoroughness) in wanted {
            match self.candidates.get_mut(address) {
                Some(candidate) => candidate.thoroughness = *thoroughness,
                None => {
                    self.add(*address, *thoroughness);
                    new.push(*address);
                }
            }
        }
        self.begin_all(now, &new);
    }

    /// Which MACs are those of other speakers. What was heard of one that was not known to be one is forgotten.
    pub fn set_speakers(&mut self, now: Instant, speakers: BTreeSet<Mac>) {
        self.speakers = speakers;
        let known = |finding: Option<Finding>| match finding {
            Some(Finding::Taken(mac)) => self.speakers.contains(&mac),
            Some(Finding::Free) | None => false,
        };
        let mistaken = self.candidates.iter().filter(|(_, candidate)| known(candidate.finding));
        let mistaken: Vec<_> = mistaken.map(|(address, _)| *address).collect();
        for address in &mistaken {
            self.find(*address, None);
        }
        self.begin_all(now, &mistaken);
    }

    /// Reads a whole Ethernet frame as it was captured.
    ///
    /// # Errors
    /// It is malformed.
    pub fn handle_frame(&mut self, now: Instant, frame: &[u8]) -> Result<(), Malformed> {
        if self.interface.carrier == Carrier::Down {
            return Ok(());
        }
        let (header, payload) = ethernet::parse(frame)?;
        match payload {
            Payload::Arp(octets) => {
                let Some(packet) = arp::parse(octets)? else { return Ok(()) };
                let probed = packet.sender.is_unspecified() && packet.operation == arp::Operation::Request;
                let address = if probed { packet.target } else { packet.sender };
                self.hear(now, address.into(), [packet.sender_mac, header.source]);
            }
            Payload::Ipv6(octets) => match ndp::parse(octets)? {
                Some(Message::Solicitation(seen)) if seen.source.is_unspecified() => {
                    self.hear(now, seen.target.into(), [header.source, header.source]);
                }
                Some(Message::Advertisement(seen)) => {
                    let mac = seen.link_layer.unwrap_or(header.source);
                    self.hear(now, seen.target.into(), [mac, header.source]);
                }
                Some(Message::Solicitation(_)) | None => {}
            },
            Payload::Ipv4(_) | Payload::Other => {}
        }
        Ok(())
    }

    /// Sends the probes that are due, and concludes.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, address)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, address));
            self.step(now, address);
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The addresses whose frames matter.
    pub fn candidates(&self) -> impl Iterator<Item = IpAddr> {
        self.candidates.keys().copied()
    }

    fn step(&mut self, now: Instant, address: IpAddr) {
        let Some(candidate) = self.candidates.get_mut(&address) else { return };
        let thoroughness = candidate.thoroughness;
        match candidate.step {
            Step::Probe(left) => {
                if left == candidate.probes() {
                    candidate.heard = None;
                }
                candidate.step =
                    left.checked_sub(1).filter(|left| *left > 0).map_or(Step::Conclude, Step::Probe);
                let last = candidate.step == Step::Conclude;
                let frame = self.interface.question(address, Question::Duplicate);
                self.outputs.push_back(Output::Send(frame));
                let wait = match (thoroughness, last) {
                    (Thoroughness::Quick, _) => QUICK_WAIT,
                    (Thoroughness::Full, false) => self.jitter.between(PROBE_MIN, PROBE_MAX),
                    (Thoroughness::Full, true) => ANNOUNCE_WAIT,
                };
                self.schedule(now + wait, address);
            }
            Step::Conclude => {
                let heard = candidate.heard.take();
                candidate.step = Step::Probe(candidate.probes());
                self.find(address, Some(heard.map_or(Finding::Free, Finding::Taken)));
                self.rest(now, address);
            }
        }
    }

    /// Somebody says to have an address, or to be about to.
    fn hear(&mut self, now: Instant, address: IpAddr, macs: [Mac; 2]) {
        let is_ours = macs.iter().any(|mac| *mac == self.interface.mac || self.speakers.contains(mac));
        let [mac, _] = macs;
        let Some(candidate) = self.candidates.get_mut(&address).filter(|_| !is_ours) else { return };
        let before = candidate.finding;
        candidate.heard = Some(mac);
        if before != Some(Finding::Taken(mac)) {
            candidate.step = Step::Probe(candidate.probes());
            candidate.heard = None;
            self.find(address, Some(Finding::Taken(mac)));
            self.rest(now, address);
        }
    }

    /// The next round begins when that is due.
    fn rest(&mut self, now: Instant, address: IpAddr) {
        let taken =
            self.candidates.get(&address).is_some_and(|one| matches!(one.finding, Some(Finding::Taken(_))));
        let longest = if taken { RENEW_TAKEN } else { RENEW_FREE };
        let wait = self.jitter.between(longest * 9 / 10, longest);
        self.schedule(now + wait, address);
    }

    fn begin_all(&mut self, now: Instant, addresses: &[IpAddr]) {
        let mut at = now;
        for address in addresses {
            let Some(candidate) = self.candidates.get_mut(address) else { continue };
            candidate.step = Step::Probe(candidate.probes());
            candidate.heard = None;
            let full = candidate.thoroughness == Thoroughness::Full;
            if self.interface.carrier == Carrier::Up {
                let wait =
                    if full { self.jitter.between(Duration::ZERO, PROBE_WAIT) } else { Duration::ZERO };
                self.schedule(at + wait, *address);
                at += APART;
            }
        }
    }

    fn schedule(&mut self, at: Instant, address: IpAddr) {
        self.unschedule(address);
        let Some(candidate) = self.candidates.get_mut(&address) else { return };
        candidate.at = Some(at);
        self.due.insert((at, address));
    }

    fn unschedule(&mut self, address: IpAddr) {
        let at = self.candidates.get_mut(&address).and_then(|candidate| candidate.at.take());
        if let Some(at) = at {
            self.due.remove(&(at, address));
        }
    }

    fn find(&mut self, address: IpAddr, finding: Option<Finding>) {
        let Some(candidate) = self.candidates.get_mut(&address) else { return };
        if std::mem::replace(&mut candidate.finding, finding) != finding {
            self.outputs.push_back(Output::Found { address, finding });
        }
    }

    fn add(&mut self, address: IpAddr, thoroughness: Thoroughness) {
        let step = Step::Conclude;
        self.candidates
            .insert(address, Candidate { thoroughness, at: None, step, heard: None, finding: None });
        // RFC 4862 §5.4.2: to hear of others that probe it, and of that before the first probe.
        if let IpAddr::V6(address) = address {
            let group = ndp::solicited_node(address);
            let members = self.groups.entry(group).or_default();
            *members += 1;
            if *members == 1 {
                self.outputs.push_back(Output::Join(group));
            }
        }
    }

    fn forget(&mut self, address: IpAddr) {
        self.find(address, None);
        self.unschedule(address);
        self.candidates.remove(&address);
        if let IpAddr::V6(address) = address {
            let group = ndp::solicited_node(address);
            let Some(members) = self.groups.get_mut(&group) else { return };
            *members = members.saturating_sub(1);
            if *members == 0 {
                self.groups.remove(&group);
                self.outputs.push_back(Output::Leave(group));
            }
        }
    }
}

#[cfg(test)]
mod tests;
