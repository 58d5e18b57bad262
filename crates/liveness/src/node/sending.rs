//! What other speakers are told, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::{Carrier, DataPath, Departure, Node, Output, Phase};
use crate::ids::{Claim, PeerId};
use crate::peer::Peer;
use crate::wire::{
    self, ClaimState, Claims, Condition, Entry, MOST_NETWORKS, MOST_REPORTS, Message, Report, Wish,
};
use crate::{Incarnation, Standing};

/// A speaker that was never heard is called every so many heartbeats.
const SELDOM: u64 = 8;

/// Where speakers are too many for each to watch all, a new one greets so many with each heartbeat.
const GREETED: usize = 64;

/// What is to be told beside the next heartbeat.
#[derive(Debug, Default)]
pub(super) struct Mail {
    all: bool,
    urgent: BTreeMap<PeerId, Wish>,
    changed: BTreeSet<IpAddr>,
    released: BTreeMap<IpAddr, Claim>,
    tell: BTreeMap<PeerId, BTreeSet<IpAddr>>,
    lists: BTreeSet<PeerId>,
    relays: BTreeSet<(PeerId, PeerId)>,
    passed: BTreeSet<(PeerId, IpAddr, Claim)>,
    greetings: BTreeMap<PeerId, Incarnation>,
    reunited: BTreeSet<PeerId>,
    spread: BTreeSet<PeerId>,
}

impl Mail {
    /// A heartbeat, now.
    pub(super) fn urgent(&mut self, to: PeerId, wish: Wish) {
        let before = self.urgent.entry(to).or_insert(wish);
        if wish != Wish::Nothing {
            *before = wish;
        }
    }

    pub(super) fn urgent_to_all(&mut self) {
        self.all = true;
    }

    /// This speaker claims an address.
    pub(super) fn changed(&mut self, address: IpAddr) {
        self.changed.insert(address);
    }

    /// It does no longer.
    pub(super) fn released(&mut self, address: IpAddr, claim: Claim) {
        self.released.insert(address, claim);
    }

    /// One claim to one speaker.
    pub(super) fn tell(&mut self, to: PeerId, address: IpAddr) {
        self.tell.entry(to).or_default().insert(address);
    }

    pub(super) fn all_claims(&mut self, to: PeerId) {
        self.lists.insert(to);
    }

    /// What another speaker holds.
    pub(super) fn relay(&mut self, to: PeerId, about: PeerId) {
        self.relays.insert((to, about));
    }

    /// A claim of another speaker.
    pub(super) fn pass_on(&mut self, to: PeerId, address: IpAddr, claim: Claim) {
        self.passed.insert((to, address, claim));
    }

    /// A word to a life that does not know this one.
    pub(super) fn greet(&mut self, to: PeerId, incarnation: Incarnation) {
        self.greetings.insert(to, incarnation);
    }

    /// A speaker that was thought dead is to know what is held here of that which it may hold too.
    pub(super) fn reunited(&mut self, with: PeerId) {
        self.reunited.insert(with);
    }

    /// A verdict to everybody.
    pub(super) fn spread(&mut self, about: PeerId) {
        self.spread.insert(about);
    }

    fn is_empty(&self) -> bool {
        let Self { all, urgent, changed, released, tell, lists, relays, passed, greetings, reunited, spread } =
            self;
        !all && urgent.is_empty()
            && changed.is_empty()
            && released.is_empty()
            && tell.is_empty()
            && lists.is_empty()
            && relays.is_empty()
            && passed.is_empty()
            && greetings.is_empty()
            && reunited.is_empty()
            && spread.is_empty()
    }
}

impl Node {
    /// Sends the heartbeats that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        if now < self.tick_at || self.peers.is_empty() {
            return;
        }
        let interval = self.interval();
        // 75 to 100 % (as RFC 5880 §6.8.7 has it), so that no two speakers keep step.
        let quarter = u64::try_from(interval.as_micros() / 4).unwrap_or(u64::MAX).max(1);
        self.tick_at = now + interval - Duration::from_micros(self.random() % quarter);
        self.beats += 1;
        let mut to: BTreeSet<_> = self.watchers(self.id).collect();
        let mut wish = Wish::Nothing;
        if self.is_sparse() {
            // Those that neither watch it nor are watched by it say what they hold only if they are asked.
            wish = if self.phase == Phase::Active { Wish::Nothing } else { Wish::Answer };
            self.mind_rivals();
            to.extend(self.next_of_roster());
        }
        for id in to {
            let seldom = self.peers.get(&id).is_none_or(|peer| peer.standing == Standing::Unheard);
            if !seldom || self.beats.is_multiple_of(SELDOM) || self.phase != Phase::Active {
                self.beat(now, id, wish, Claims::Some(Vec::new()));
            }
        }
    }

    /// How long it takes to greet all others.
    pub(super) fn greetings(&self) -> Duration {
        let rounds = if self.is_sparse() { self.peers.len() / GREETED } else { 0 };
        self.interval() * u32::try_from(rounds).unwrap_or(u32::MAX)
    }

    /// Those that do not watch this speaker hear of it in turn, so that each knows the other's life: one at a time, or
    /// all of them soon while this life is new.
    fn next_of_roster(&mut self) -> Vec<PeerId> {
        let many = if self.phase == Phase::Active { 1 } else { GREETED };
        let behind = self.peers.range((Bound::Excluded(self.greeted), Bound::Unbounded));
        let next: Vec<_> =
            behind.chain(&self.peers).map(|(id, _)| *id).take(many.min(self.peers.len())).collect();
        self.greeted = next.last().copied().unwrap_or(self.greeted);
        next
    }

    /// The kernel of a node answers whose speaker is not heard: it may be there again, and not know that it is awaited.
    pub(super) fn call(&mut self, id: PeerId) {
        let lost = |peer: &Peer| matches!(peer.standing, Standing::Dead | Standing::Unheard);
        if self.is_sparse() && self.peers.get(&id).is_some_and(lost) {
            self.mail.urgent(id, Wish::Answer);
        }
    }

    /// SplitMix64: equal seeds give equal times.
    fn random(&mut self) -> u64 {
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.jitter ^ (self.jitter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Sends what there is to tell.
    pub(super) fn flush(&mut self, now: Instant) {
        if self.mail.is_empty() {
            return;
        }
        let mail = std::mem::take(&mut self.mail);
        self.spreading.clone_from(&mail.spread);
        let mut told = BTreeSet::new();
        for (to, entries) in self.news(&mail) {
            let wish = mail.urgent.get(&to).copied().unwrap_or(Wish::Nothing);
            self.send_entries(now, to, wish, &entries);
            told.insert(to);
        }
        for to in &mail.lists {
            self.send_list(now, *to);
        }
        for (to, incarnation) in &mail.greetings {
            self.send_greeting(now, *to, *incarnation);
        }
        let everyone = if mail.all || !mail.spread.is_empty() {
            self.peers.keys().copied().collect()
        } else {
            Vec::new()
        };
        let urgent = mail.urgent.iter().map(|(to, wish)| (*to, *wish));
        let mut urgent: BTreeMap<_, _> =
            everyone.into_iter().map(|to| (to, Wish::Nothing)).chain(urgent).collect();
        urgent.retain(|to, _| !told.contains(to));
        for (to, wish) in urgent {
            self.beat(now, to, wish, Claims::Some(Vec::new()));
        }
        self.spreading.clear();
    }

    /// Which claims go to whom.
    fn news(&self, mail: &Mail) -> BTreeMap<PeerId, Vec<Entry>> {
        let mut news: BTreeMap<PeerId, Vec<Entry>> = BTreeMap::new();
        let held = mail.changed.iter().filter_map(|address| self.held_entry(*address));
        let released = mail.released.iter();
        let released = released.map(|(address, claim)| Entry {
            address: *address,
            claim: *claim,
            state: ClaimState::Released,
        });
        let watchers: BTreeSet<_> = self.watchers(self.id).collect();
        for entry in held.chain(released) {
            for to in self.audience(entry.address, &watchers) {
                news.entry(to).or_default().push(entry);
            }
        }
        if !mail.reunited.is_empty() {
            self.news_to_reunited(&mail.reunited, &mut news);
        }
        for (to, addresses) in &mail.tell {
            let entries = addresses.iter().filter_map(|address| self.held_entry(*address));
            news.entry(*to).or_default().extend(entries);
        }
        for (to, address, claim) in &mail.passed {
            let entry = Entry { address: *address, claim: *claim, state: ClaimState::Held };
            news.entry(*to).or_default().push(entry);
        }
        for (to, about) in &mail.relays {
            let claims = self.peers.get(about).into_iter().flat_map(|peer| &peer.claims);
            let entries = claims.map(|(address, claim)| Entry {
                address: *address,
                claim: *claim,
                state: ClaimState::Held,
            });
            news.entry(*to).or_default().extend(entries);
        }
        news.retain(|_, entries| !entries.is_empty());
        news
    }

    fn news_to_reunited(&self, reunited: &BTreeSet<PeerId>, news: &mut BTreeMap<PeerId, Vec<Entry>>) {
        for (address, entry) in &self.addresses {
            let ranked = entry.ballot.as_ref().map(|ballot| ballot.nodes.as_slice()).unwrap_or_default();
            let held = self.held_entry(*address);
            for to in ranked.iter().filter(|id| reunited.contains(id)) {
                news.entry(*to).or_default().extend(held);
            }
        }
    }

    fn held_entry(&self, address: IpAddr) -> Option<Entry> {
        let claim = self.addresses.get(&address)?.mine.as_ref()?.claim;
        Some(Entry { address, claim, state: ClaimState::Held })
    }

    fn audience(&self, address: IpAddr, watchers: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
        let mut audience = watchers.clone();
        if let Some(entry) = self.addresses.get(&address).filter(|_| self.is_sparse()) {
            audience.extend(entry.ballot.iter().flat_map(|ballot| ballot.concerned(self.id)));
            audience.extend(entry.others.iter().map(|other| other.node));
        }
        audience
    }

    fn send_entries(&mut self, now: Instant, to: PeerId, wish: Wish, entries: &[Entry]) {
        for chunk in self.chunks(now, to, entries) {
            self.beat(now, to, wish, Claims::Some(chunk));
        }
    }

    fn send_list(&mut self, now: Instant, to: PeerId) {
        let held = self.addresses.iter().filter_map(|(address, entry)| {
            let claim = entry.mine.as_ref()?.claim;
            Some(Entry { address: *address, claim, state: ClaimState::Held })
        });
        let entries: Vec<_> = held.collect();
        let mut chunks = self.chunks(now, to, &entries);
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        self.lists = self.lists.wrapping_add(1);
        let (list, parts) = (self.lists, u16::try_from(chunks.len()).unwrap_or(u16::MAX));
        for (part, entries) in (0..parts).zip(chunks) {
            self.beat(now, to, Wish::Nothing, Claims::All { list, part, parts, entries });
        }
    }

    /// Entries, as many together as a datagram has room for.
    fn chunks(&self, now: Instant, to: PeerId, entries: &[Entry]) -> Vec<Vec<Entry>> {
        let message = self.compose(now, to, Wish::Nothing, Claims::Some(Vec::new()));
        let room = wire::room(&self.name, &message);
        let mut chunks: Vec<Vec<Entry>> = Vec::new();
        let mut left = 0;
        for entry in entries {
            if left < entry.length() {
                chunks.push(Vec::new());
                left = room;
            }
            left = left.saturating_sub(entry.length());
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(*entry);
            }
        }
        chunks
    }

    fn beat(&mut self, now: Instant, to: PeerId, wish: Wish, claims: Claims) {
        let message = self.compose(now, to, wish, claims);
        self.send(to, &message);
    }

    fn send_greeting(&mut self, now: Instant, to: PeerId, incarnation: Incarnation) {
        let mut message = self.compose(now, to, Wish::Answer, Claims::Some(Vec::new()));
        message.echo = Some(incarnation);
        self.send(to, &message);
    }

    fn send(&mut self, to: PeerId, message: &Message) {
        let Some(key) = &self.key else { return };
        if self.link.carrier == Carrier::Down {
            return;
        }
        let Some(peer) = self.peers.get(&to) else { return };
        let to = peer.address;
        self.sequence += 1;
        if let Some(datagram) = wire::emit(key, self.incarnation, self.sequence, &self.name, message) {
            self.counters.sent += 1;
            self.outputs.push_back(Output::Send { to, datagram });
        }
    }

    fn compose(&self, now: Instant, to: PeerId, wish: Wish, claims: Claims) -> Message {
        let session = self.peers.get(&to).and_then(|peer| peer.session.as_ref());
        let told = self.watched.union(&self.spreading);
        let reports = told.filter_map(|id| Some((*id, report(now, self.peers.get(id)?)?)));
        Message {
            interval: self.interval(),
            multiplier: self.pace.multiplier,
            condition: self.condition(),
            wish,
            mac: self.link.mac,
            echo: session.map(|session| session.incarnation),
            digest: self.digest,
            concern: self.concerns.get(&to).copied().unwrap_or_default(),
            networks: self.link.networks.iter().copied().take(MOST_NETWORKS).collect(),
            reports: reports.take(MOST_REPORTS).collect(),
            claims,
        }
    }

    fn condition(&self) -> Condition {
        let parts = [
            (self.phase != Phase::Active, Condition::STARTING),
            (self.departure == Some(Departure::Restart), Condition::RESTARTING),
            (self.departure == Some(Departure::Leave), Condition::LEAVING),
            (self.isolation.is_isolated(), Condition::ISOLATED),
            (self.data_path == DataPath::Broken, Condition::NO_DATA_PATH),
        ];
        let so = parts.into_iter().filter(|(so, _)| *so);
        so.fold(Condition::default(), |all, (_, condition)| all.and(condition))
    }

    /// Whether the addresses of this node are covered, or nobody is there who could cover them: a speaker that is to be
    /// restarted may end.
    pub fn is_covered(&self) -> bool {
        let covers = |peer: &Peer| peer.said.reports.get(&self.id) == Some(&Report::Gone);
        self.peers.values().filter(|peer| peer.can_answer()).all(covers)
    }
}

/// What this speaker itself hears of another; what it knows from others only it does not pass on.
fn report(now: Instant, peer: &Peer) -> Option<Report> {
    let heard = peer.is_heard(now);
    match peer.standing {
        Standing::Unheard => None,
        Standing::Alive if heard => Some(if peer.is_restarting() { Report::Gone } else { Report::Heard }),
        Standing::Gone if peer.reach.answered.is_some() && peer.reach.asked.is_none() => Some(Report::Gone),
        Standing::Dead => Some(Report::Dead),
        Standing::Alive | Standing::Silent | Standing::Gone => Some(Report::Silent),
    }
}
