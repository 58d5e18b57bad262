use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{Heartbeat, Layer2};
use futures::FutureExt;
use l2::{Echo, Question, Responder};
use liveness::{Answer, Departure, Incarnation, Node, Pace};
use names::Mac;
use netio::{DatagramSocket, Filter, FrameSocket, Membership, Promiscuity, Reception, clock};
use tracing::{debug, info, warn};

use super::hearing::Hearing;
use super::rivals::{Rival, Rivals};
use super::{BUFFER, Ballot, Owned, Port};
use crate::engine::surroundings::Surroundings;

/// UDP port of heartbeats.
const HEARTBEATS: u16 = 7973;
/// How many queued frames, or datagrams, are taken before deadlines speak again.
const BURST: usize = 64;
const DATAGRAMS: usize = 512;
/// The sockets of an interface, and the two cores behind them.
pub(super) struct Shell {
    port: Port,
    frames: FrameSocket,
    heartbeats: DatagramSocket,
    groups: Membership,
    responder: Responder,
    node: Node,
    /// What the sockets pass: all that is watched, and what was until the last report.
    filter: Filter,
    /// What they must pass besides, before anything is sent about it.
    missing: Vec<IpAddr>,
    /// Whether what is owned may have changed.
    recount: bool,
    /// Addresses that are new here, and since when the speaker knows of them.
    awaited: BTreeMap<IpAddr, Instant>,
    owned: usize,
    /// Addresses of which the cluster is to be told.
    tell: BTreeSet<IpAddr>,
    rivals: Rivals,
    hearing: Hearing,
    covered: BTreeSet<IpAddr>,
    mac: Mac,
    settings: Option<Layer2>,
    departing: Option<(Departure, Instant)>,
    reported: l2::Stats,
    counted: liveness::Counters,
}

impl Shell {
    pub(super) fn open(port: Port, first: &Surroundings, now: Instant) -> Result<Self, netio::Error> {
        let filter = Filter::default();
        let frames = FrameSocket::open(port.index, &filter)?;
        let heartbeats = DatagramSocket::open(port.index, HEARTBEATS)?;
        let groups = Membership::open(port.index)?;
        let responder = Responder::new(first.interface.clone(), port.seed, now);
        let incarnation = Incarnation(netio::random::octets()?);
        let node = Node::new(port.me.clone(), incarnation, pace(&first.settings), port.seed, now);
        let mut shell = Self {
            port,
            frames,
            heartbeats,
            groups,
            responder,
            node,
            filter,
            missing: Vec::new(),
            recount: false,
            awaited: BTreeMap::new(),
            owned: 0,
            tell: BTreeSet::new(),
            rivals: Rivals::default(),
            hearing: Hearing::default(),
            covered: BTreeSet::new(),
            mac: first.link.mac,
            settings: None,
            departing: None,
            reported: l2::Stats::default(),
            counted: liveness::Counters::default(),
        };
        shell.surround(now, first.clone())?;
        shell.act(now)?;
        Ok(shell)
    }

    pub(super) async fn receive_datagram(&self, buffer: &mut [u8; BUFFER]) -> Result<usize, netio::Error> {
        self.heartbeats.receive(buffer).await.map(|(length, _from)| length)
    }

    pub(super) async fn receive_frame(&self, buffer: &mut [u8; BUFFER]) -> Result<usize, netio::Error> {
        self.frames.receive(buffer).await
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let farewell = self.departing.map(|(_, since)| since + super::FAREWELL);
        [self.node.poll_timeout(), self.responder.poll_timeout(), farewell].into_iter().flatten().min()
    }

    /// Notices the time before anything else.
    pub(super) fn wake(&mut self, now: Instant) -> Result<(), netio::Error> {
        self.node.handle_wake(now);
        self.act(now)
    }

    pub(super) fn surround(&mut self, now: Instant, surroundings: Surroundings) -> Result<(), netio::Error> {
        let Surroundings { interface, link, members, witnesses, keys, departure, data_path, settings } =
            surroundings;
        if self.settings.replace(settings) != Some(settings) {
            self.configure(now, &settings)?;
        }
        self.mac = link.mac;
        self.responder.handle_interface(now, interface);
        self.node.set_link(now, link);
        self.node.set_data_path(now, data_path);
        if let Some(keys) = &keys {
            self.node.set_keys(now, keys);
        }
        self.node.set_witnesses(now, &witnesses);
        self.node.set_members(now, members);
        if let Some(departure) = departure.filter(|_| self.departing.is_none()) {
            self.departing = Some((departure, now));
            self.node.depart(now, departure);
        }
        Ok(())
    }

    fn configure(&mut self, now: Instant, settings: &Layer2) -> Result<(), netio::Error> {
        self.node.set_pace(now, pace(settings));
        self.responder.set_refresh(now, settings.refresh);
        if settings.icmp_echo {
            self.responder.set_echo(now, Echo::Answer);
            self.frames.listen_for_echo(&self.filter)?;
        } else {
            self.responder.set_echo(now, Echo::Silent);
            self.frames.ignore_echo();
        }
        let promiscuity = if settings.promiscuous { Promiscuity::On } else { Promiscuity::Off };
        self.frames.set_promiscuity(promiscuity)
    }

    pub(super) fn elect(&mut self, now: Instant, ballots: BTreeMap<IpAddr, Ballot>) {
        for (address, Ballot { ballot, since }) in &ballots {
            match ballot {
                Some(_) if self.node.ownership(*address).is_none() => {
                    self.awaited.entry(*address).or_insert(*since);
                }
                Some(_) => {}
                None => drop(self.awaited.remove(address)),
            }
        }
        self.node
            .set_ballots(now, ballots.iter().map(|(address, ballot)| (*address, ballot.ballot.as_ref())));
    }

    pub(super) fn hear(&mut self, now: Instant, datagram: &mut [u8]) {
        self.node.handle_datagram(now, datagram);
    }

    /// Takes in every heartbeat that has come: none may be overdue that only was not read.
    pub(super) fn drain(&mut self, now: Instant, buffer: &mut [u8; BUFFER]) -> Result<(), netio::Error> {
        for _ in 0..DATAGRAMS {
            let Some((length, _from)) = self.heartbeats.try_receive(buffer)? else { break };
            self.node.handle_datagram(now, buffer.get_mut(..length).unwrap_or_default());
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), netio::Error> {
        // Not for each frame.
        if self.node.poll_timeout().is_some_and(|at| at <= now) {
            self.node.handle_timeout(now);
        }
        self.responder.handle_timeout(now);
        self.act(now)?;
        if self.node.counters().nodes_dead > self.counted.nodes_dead {
            self.tell_hearing(now);
        }
        Ok(())
    }

    /// Reads a frame, and those that wait behind it.
    pub(super) fn read(&mut self, length: usize, buffer: &mut [u8; BUFFER]) -> Result<(), netio::Error> {
        let mut length = Some(length);
        for _ in 0..BURST {
            let Some(received) = length else { break };
            self.responder.handle_frame(clock::now(), buffer.get(..received).unwrap_or_default());
            self.act(clock::now())?;
            length = self.frames.receive(buffer).now_or_never().transpose()?;
        }
        Ok(())
    }

    /// Whether others answer in this speaker's place by now, or have had the time to.
    pub(super) fn has_departed(&self, now: Instant, at_most: Duration) -> bool {
        let Some((departure, since)) = self.departing else { return false };
        let replaced = match departure {
            Departure::Restart => self.node.is_covered(),
            Departure::Leave => self.owned == 0,
        };
        replaced || now >= since + at_most
    }

    /// Does what the cores want done: first what is answered, then what is asked and told.
    fn act(&mut self, now: Instant) -> Result<(), netio::Error> {
        loop {
            while let Some(output) = self.node.poll_output() {
                self.follow(now, output);
            }
            self.filter()?;
            let mut told = false;
            while let Some(output) = self.responder.poll_output() {
                told |= self.carry_out(now, output);
            }
            if !told {
                return Ok(());
            }
        }
    }

    fn follow(&mut self, now: Instant, output: liveness::Output) {
        match output {
            liveness::Output::Send { to, datagram } => {
                if let Err(error) = self.heartbeats.send(to, &datagram) {
                    debug!(interface = self.port.name, %to, %error, "could not send a heartbeat");
                }
            }
            liveness::Output::Ask(address) => {
                self.missing.push(address);
                self.responder.ask(now, address, Question::Reach);
            }
            liveness::Output::Answer { address, answer } => self.answer(now, address, answer),
            liveness::Output::Announce(address) => self.responder.announce_again(now, address),
            liveness::Output::Claimed(address) => {
                if let Some(ownership) = self.node.ownership(address) {
                    self.port.metrics.liveness().claimed(&self.port.name, &ownership.cause);
                }
                self.tell.insert(address);
            }
        }
    }

    fn answer(&mut self, now: Instant, address: IpAddr, answer: Answer) {
        self.recount = true;
        self.tell.insert(address);
        if answer != Answer::Silent {
            self.missing.push(address);
        }
        if answer != Answer::Owned {
            self.rivals.forget(address);
        }
        self.count_cover(address, answer);
        let interface = &self.port.name;
        match answer {
            Answer::Owned => {
                self.responder.own(now, address);
                let why = self.node.ownership(address).map(|ownership| ownership.cause.to_string());
                info!(interface, %address, why, "owns");
                if let Some(since) = self.awaited.remove(&address) {
                    self.port.metrics.announced_l2(clock::now().saturating_duration_since(since));
                }
            }
            Answer::Cover(mac) => {
                self.responder.cover(now, address, mac);
                info!(interface, %address, %mac, "covers");
            }
            Answer::Silent => {
                self.responder.disown(now, address);
                info!(interface, %address, "does not answer");
            }
        }
    }

    fn count_cover(&mut self, address: IpAddr, answer: Answer) {
        let before = self.covered.len();
        match answer {
            Answer::Cover(_) => {
                if self.covered.insert(address) {
                    self.port.metrics.liveness().covers(&self.port.name);
                }
            }
            Answer::Owned | Answer::Silent => drop(self.covered.remove(&address)),
        }
        self.port.metrics.liveness().covered(before, self.covered.len());
    }

    /// The packet filter passes what matters now, before the first frame about it is sent.
    fn filter(&mut self) -> Result<(), netio::Error> {
        self.missing.retain(|address| !self.filter.passes(*address));
        if !self.missing.is_empty() {
            self.filter.extend(self.missing.drain(..));
            self.frames.set_filter(&self.filter)?;
        }
        self.tell_owners();
        if std::mem::take(&mut self.recount) {
            let owned = self.responder.owned().count();
            self.port.metrics.owned_addresses(self.owned, owned);
            self.owned = owned;
        }
        Ok(())
    }

    /// Who owns what is on record in the cluster; nothing here waits for that.
    fn tell_owners(&mut self) {
        let owned = std::mem::take(&mut self.tell).into_iter().map(|address| {
            let owned = self.node.ownership(address).map(|ownership| Owned {
                interface: self.port.name.clone(),
                mac: self.mac,
                rival: self.rivals.of(address).cloned(),
                ownership,
            });
            ((address, self.port.name.clone()), owned)
        });
        self.port.owners.put(owned);
    }

    /// Whether it was something that the other core was told.
    fn carry_out(&mut self, now: Instant, output: l2::Output) -> bool {
        let interface = &self.port.name;
        match output {
            l2::Output::Send(frame) => {
                if let Err(error) = self.frames.send(&frame) {
                    self.port.metrics.frame_dropped();
                    debug!(interface, %error, "could not send a frame");
                }
            }
            l2::Output::Join(group) => match self.groups.join(group) {
                Ok(Reception::Group) => {}
                Ok(Reception::AllMulticast) => {
                    debug!(interface, %group, "hears all multicast: too many groups");
                }
                Err(error) => warn!(interface, %group, %error, "could not join"),
            },
            l2::Output::Leave(group) => {
                if let Err(error) = self.groups.leave(group) {
                    debug!(interface, %group, %error, "could not leave");
                }
            }
            l2::Output::Foreign { address, mac, station } => {
                self.notice(now, address, mac, station);
                self.node.handle_foreign(now, address, mac);
                return true;
            }
            l2::Output::Answered { address, mac } => {
                self.node.handle_answer(now, address, mac);
                return true;
            }
        }
        false
    }

    /// Another station has an address that is answered for here.
    fn notice(&mut self, now: Instant, address: IpAddr, mac: Mac, station: l2::Station) {
        let node = self.node.name_of_mac(mac).cloned();
        let interface = &self.port.name;
        let kind = if node.is_some() || station == l2::Station::Speaker { "speaker" } else { "stranger" };
        self.port.metrics.foreign_answer(interface, kind, self.rivals.label(mac));
        let owned = self.node.ownership(address).is_some();
        // A speaker that covers says the MAC of a node that may be none by now.
        if !owned || (node.is_none() && station == l2::Station::Speaker) {
            return;
        }
        if self.rivals.see(now, address, Rival { mac, node: node.clone() }) {
            warn!(interface, %address, %mac, ?node, "another station has this address too");
            self.tell.insert(address);
        }
    }

    /// Asks for some of the owned addresses, in nobody's name: a station that has one too says so.
    fn look_around(&mut self, now: Instant) {
        for address in self.rivals.next_asked(now, self.responder.owned()) {
            self.responder.ask(now, address, Question::Duplicate);
        }
        self.tell.extend(self.rivals.take_gone(now));
    }

    /// Which speakers are not heard, and what was counted of heartbeats.
    fn tell_hearing(&mut self, now: Instant) {
        let Port { name, metrics, hearing, .. } = &self.port;
        metrics.liveness().count(name, &self.counted, self.node.counters());
        self.counted.clone_from(self.node.counters());
        let (peers, is_isolated): (Vec<_>, _) = (self.node.peers().collect(), self.node.is_isolated());
        metrics.liveness().standings(name, &peers, is_isolated);
        let report = self.hearing.look(now, peers.into_iter(), is_isolated);
        hearing.put(report.map(|report| (self.port.index, Some((name.clone(), report)))));
    }

    /// Tells what was counted, and stops hearing of what was given up. Not at once, because replacing the filter costs
    /// a millisecond where there are a thousand addresses, and they may be given up one by one.
    pub(super) fn report(&mut self) -> Result<(), netio::Error> {
        let now = self.responder.stats();
        self.port.metrics.l2_stats(&self.port.name, &self.reported, now);
        self.reported.clone_from(now);
        self.tell_hearing(clock::now());
        self.responder.set_speakers(clock::now(), self.node.macs());
        self.look_around(clock::now());
        self.act(clock::now())?;
        let watched: Filter = self.responder.watched().collect();
        if watched != self.filter {
            self.filter = watched;
            self.frames.set_filter(&self.filter)?;
        }
        Ok(())
    }
}

fn pace(settings: &Layer2) -> Pace {
    let Heartbeat { interval, multiplier } = settings.heartbeat;
    Pace { interval, multiplier: u8::try_from(multiplier).unwrap_or(u8::MAX), cover: settings.cover }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let Port { index, name, metrics, hearing, owners, .. } = &self.port;
        metrics.owned_addresses(self.owned, 0);
        metrics.liveness().covered(self.covered.len(), 0);
        metrics.liveness().forget(name);
        hearing.put([(*index, None)]);
        owners.put(self.responder.owned().map(|address| ((address, name.clone()), None)));
    }
}
