//! Who answers for an address, as this speaker sees it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use names::Mac;

use super::standing::PATIENCE;
use super::{Address, Answer, Carrier, Cause, DataPath, Departure, Mine, Node, Output, Phase, Ranked};
use crate::Standing;
use crate::ids::{Claim, PeerId, Recorded};
use crate::peer::Peer;
use crate::wire::{Condition, Wish};

/// After the owner's death the next in rank waits so long for the one before it, who may know a reason not to claim.
const STEP: Duration = Duration::from_millis(20);
/// Where an address is new, the first in rank may only not have been told of it yet.
const STEP_NEW: Duration = Duration::from_millis(500);
/// A new address is placed, and that is known, a moment after or before the address itself is.
const STEP_UNPLACED: Duration = Duration::from_millis(50);
/// A speaker that ranks before, whose heartbeats never came although its node answers, may be about to claim.
const STEP_UNHEARD: Duration = Duration::from_secs(1);
/// So long a question whether anybody answers waits for it.
const QUESTION: Duration = Duration::from_millis(40);
/// A speaker that was seen to answer although it is not heard is believed to do so for this long.
const SEEN_FOR: Duration = Duration::from_secs(1);
/// Who may answer no longer does so for at most this long, until another takes over.
const PARTING: Duration = Duration::from_secs(1);

/// What to do about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    /// Answer, on the claim that is held.
    Own,
    /// Claim it anew, and answer.
    Claim(Cause),
    /// Go on with a claim of an earlier life.
    Resume(Claim),
    /// Answer in the name of an owner whose speaker is away.
    Cover(PeerId),
    /// Do not answer: another does, or this node may not.
    Yield,
    /// Answer, although another should, and look again then.
    Part(Instant),
    /// Do not answer, and look again then.
    Wait(Instant),
    /// Ask whether anybody answers, then look again.
    Ask,
}

/// How much a claim of another speaker is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hold {
    /// It answers.
    Firm,
    /// It is away for a moment, and is covered.
    Covered,
    /// It answers until another takes over.
    Parting,
    /// It does not answer.
    Void(Cause),
}

impl Hold {
    /// Whether somebody answers on this claim, or in the name of it.
    fn stands(&self) -> bool {
        match self {
            Self::Firm | Self::Covered | Self::Parting => true,
            Self::Void(_) => false,
        }
    }
}

impl Node {
    pub(super) fn decide_dirty(&mut self, now: Instant) {
        if std::mem::take(&mut self.all_dirty) {
            self.dirty.extend(self.addresses.keys());
        }
        while let Some(address) = self.dirty.pop_first() {
            self.decide(now, address);
        }
    }

    pub(super) fn waits_over(&mut self, now: Instant) {
        while let Some((at, address)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.waiting.remove(&(at, address));
            if let Some(entry) = self.addresses.get_mut(&address) {
                entry.wait = None;
            }
            self.dirty.insert(address);
        }
    }

    fn decide(&mut self, now: Instant, address: IpAddr) {
        let Some(mut entry) = self.addresses.remove(&address) else { return };
        let course = self.course(now, address, &mut entry);
        let forgotten = entry.ballot.is_none() && entry.others.is_empty();
        self.addresses.insert(address, entry);
        self.follow(now, address, course);
        if forgotten {
            self.wait_until(address, None);
            self.addresses.remove(&address);
        }
    }

    fn follow(&mut self, now: Instant, address: IpAddr, course: Course) {
        let mut wait = None;
        let answer = match course {
            Course::Own => Answer::Owned,
            Course::Claim(cause) => {
                let claim = self.next_claim(address);
                self.hold(now, address, claim, cause);
                if self.addresses.get(&address).is_some_and(|entry| entry.answer != Answer::Owned) {
                    self.ask_about(now, address);
                }
                Answer::Owned
            }
            Course::Resume(claim) => {
                self.hold(now, address, claim, Cause::Resumed);
                Answer::Owned
            }
            Course::Cover(owner) => {
                self.release(address);
                self.peers.get(&owner).and_then(Peer::mac).map_or(Answer::Silent, Answer::Cover)
            }
            Course::Yield => {
                self.lose(address);
                Answer::Silent
            }
            Course::Wait(until) => {
                wait = Some(until);
                self.release(address);
                Answer::Silent
            }
            Course::Part(until) => {
                wait = Some(until);
                Answer::Owned
            }
            Course::Ask => {
                self.release(address);
                self.ask_about(now, address);
                wait = Some(now + QUESTION);
                Answer::Silent
            }
        };
        self.wait_until(address, wait);
        self.answer(address, answer);
    }

    fn lose(&mut self, address: IpAddr) {
        if self.addresses.get(&address).is_some_and(|entry| entry.mine.is_some() && entry.ballot.is_some()) {
            self.counters.yielded += 1;
        }
        self.release(address);
    }

    fn answer(&mut self, address: IpAddr, answer: Answer) {
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        if entry.answer != answer {
            entry.answer = answer;
            self.outputs.push_back(Output::Answer { address, answer });
        }
    }

    fn wait_until(&mut self, address: IpAddr, until: Option<Instant>) {
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        if let Some(before) = std::mem::replace(&mut entry.wait, until) {
            self.waiting.remove(&(before, address));
        }
        if let Some(until) = until {
            self.waiting.insert((until, address));
        }
    }

    pub(super) fn ask(&mut self, address: IpAddr) {
        self.outputs.push_back(Output::Ask(address));
    }

    fn ask_about(&mut self, now: Instant, address: IpAddr) {
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.asked = Some(now);
        }
        self.ask(address);
    }

    fn next_claim(&self, address: IpAddr) -> Claim {
        let entry = self.addresses.get(&address);
        let ballot = entry.and_then(|entry| entry.ballot.as_ref());
        let placed = ballot.map_or(0, |ballot| ballot.generation);
        let heard = entry.and_then(|entry| entry.highest);
        let heard = heard.map(|Claim { generation, epoch, .. }| Recorded { generation, epoch });
        let highest = heard.max(ballot.and_then(|ballot| ballot.recorded));
        Claim {
            generation: highest.map_or(placed, |highest| highest.generation.max(placed)),
            epoch: highest.map_or(1, |highest| highest.epoch.saturating_add(1)),
            node: self.id,
        }
    }

    /// What follows from all that is known.
    fn course(&self, now: Instant, address: IpAddr, entry: &mut Address) -> Course {
        let Some(ballot) = entry.ballot.take() else { return Course::Yield };
        let course = self.course_by(&ballot, now, address, entry);
        entry.ballot = Some(ballot);
        course
    }

    fn course_by(&self, ballot: &Ranked, now: Instant, address: IpAddr, entry: &mut Address) -> Course {
        if !self.may_answer_at_all() {
            entry.parting = None;
            return Course::Yield;
        }
        let candidates = self.candidates(address, &ballot.nodes);
        let other = self.best_other(&candidates, entry);
        if other.as_ref().is_some_and(|(_, hold)| hold.stands()) {
            entry.vacant = None;
        }
        if !candidates.contains(&self.id) {
            return self.part(ballot, now, entry, other.as_ref());
        }
        entry.parting = None;
        match (&entry.mine, other) {
            (Some(mine), Some((claim, Hold::Firm | Hold::Covered))) if claim <= mine.claim => {
                self.keep(ballot, mine)
            }
            (_, Some((claim, Hold::Firm))) => {
                let placed = ballot.displaces
                    && ballot.nodes.first() == Some(&self.id)
                    && ballot.generation > claim.generation;
                if placed { Course::Claim(Cause::Placed) } else { Course::Yield }
            }
            (_, Some((claim, Hold::Covered))) => {
                let standby = candidates.iter().find(|id| **id != claim.node);
                if standby == Some(&self.id) { Course::Cover(claim.node) } else { Course::Yield }
            }
            (Some(mine), Some((claim, Hold::Parting | Hold::Void(_)))) if claim <= mine.claim => {
                self.keep(ballot, mine)
            }
            (Some(mine), None) => self.keep(ballot, mine),
            (Some(_) | None, Some((claim, Hold::Parting))) => {
                let cause = Cause::Parted(self.name_of(claim.node));
                self.fill(ballot, now, entry, &candidates, cause)
            }
            (Some(_) | None, Some((_, Hold::Void(cause)))) => {
                self.fill(ballot, now, entry, &candidates, cause)
            }
            (None, None) => self.fill(ballot, now, entry, &candidates, Cause::New),
        }
    }

    /// A placement that finds the address where it is placed is taken into the claim: an owner that comes back with an
    /// older one is not to displace it.
    fn keep(&self, ballot: &Ranked, mine: &Mine) -> Course {
        if ballot.generation > mine.claim.generation && ballot.nodes.first() == Some(&self.id) {
            return Course::Claim(mine.cause.clone());
        }
        Course::Own
    }

    /// This node may answer no longer. Where others may, it goes on until one of them does.
    fn part(
        &self,
        ballot: &Ranked,
        now: Instant,
        entry: &mut Address,
        other: Option<&(Claim, Hold)>,
    ) -> Course {
        let Some(mine) = &entry.mine else {
            entry.parting = None;
            return Course::Yield;
        };
        let taken = matches!(other, Some((claim, Hold::Firm)) if *claim > mine.claim);
        if taken || ballot.nodes.is_empty() {
            entry.parting = None;
            return Course::Yield;
        }
        let until = *entry.parting.get_or_insert(now) + PARTING;
        match self.departure {
            Some(Departure::Restart | Departure::Leave) => Course::Part(now + PARTING),
            None if now < until => Course::Part(until),
            None => Course::Yield,
        }
    }

    /// Nobody holds the address. The first in rank claims it; those behind give it time.
    fn fill(
        &self,
        ballot: &Ranked,
        now: Instant,
        entry: &mut Address,
        candidates: &[PeerId],
        cause: Cause,
    ) -> Course {
        if let Some(recalled) = entry.recalled.filter(|recalled| entry.highest.is_none_or(|h| *recalled >= h))
        {
            return Course::Resume(recalled);
        }
        if !self.may_claim(now) {
            return Course::Wait(now + PATIENCE);
        }
        let seen = entry.seen.map(|(_, until)| until);
        if let Some(until) = seen.filter(|until| now < *until) {
            return Course::Wait(until);
        }
        let vacant = *entry.vacant.get_or_insert(now);
        let unheard = self.unheard(now, &ballot.nodes, candidates);
        let unplaced = ballot.generation == 0 && cause == Cause::New && !self.peers.is_empty();
        let before = match (unheard.is_before, unplaced) {
            (true, _) => STEP_UNHEARD,
            (false, true) => STEP_UNPLACED,
            (false, false) => Duration::ZERO,
        };
        let wait = match cause {
            Cause::New => STEP_NEW * self.alive_before(&ballot.nodes),
            Cause::Placed
            | Cause::NodeDead(_)
            | Cause::SpeakerDead(_)
            | Cause::Parted(_)
            | Cause::Isolated(_)
            | Cause::Resumed
            | Cause::Contested(_) => STEP * count(candidates.iter().take_while(|id| **id != self.id)),
        };
        let turn = (vacant + wait + before).max(seen.unwrap_or(vacant));
        if now < turn {
            return Course::Wait(turn);
        }
        // A speaker that is not heard but whose node lives may answer; and where only some are told of a claim, it may
        // have been lost on its way.
        let untold = self.is_sparse() && cause == Cause::New;
        let doubtful = unheard.any || seen.is_some() || untold || matches!(cause, Cause::SpeakerDead(_));
        match entry.asked.filter(|asked| *asked >= turn) {
            None if doubtful => Course::Ask,
            Some(asked) if doubtful && now < asked + QUESTION => Course::Wait(asked + QUESTION),
            _ => Course::Claim(cause),
        }
    }

    /// How many rank before this node and are alive, even if they may not claim yet.
    fn alive_before(&self, ranked: &[PeerId]) -> u32 {
        let out = Condition::LEAVING.and(Condition::ISOLATED);
        let before = ranked.iter().take_while(|id| **id != self.id).filter_map(|id| self.peers.get(id));
        count(before.filter(|peer| peer.standing == Standing::Alive && !peer.said.condition.has(out)))
    }

    /// Those in rank whose speakers were never heard although their nodes answer, where nobody at all is heard.
    fn unheard(&self, now: Instant, ranked: &[PeerId], candidates: &[PeerId]) -> Unheard {
        let alone = candidates.iter().all(|id| *id == self.id);
        let lives = |id: &&PeerId| {
            self.peers.get(id).is_some_and(|peer| {
                peer.standing == Standing::Unheard && !peer.reach.is_unanswered(PATIENCE, now)
            })
        };
        let before = ranked.iter().take_while(|id| **id != self.id);
        Unheard {
            any: alone && ranked.iter().any(|id| lives(&id)),
            is_before: alone && before.into_iter().any(|id| lives(&id)),
        }
    }

    /// Those that may answer and are alive, in their order. What not all of them have is asked of none that has it
    /// not, unless nobody has.
    fn candidates(&self, address: IpAddr, ranked: &[PeerId]) -> Vec<PeerId> {
        let alive = ranked.iter().copied().filter(|id| match self.peers.get(id) {
            Some(peer) => peer.can_answer(),
            None => *id == self.id && self.departure.is_none(),
        });
        let within = |networks: &[IpNetwork]| networks.iter().any(|network| network.contains(address));
        let connected = |id: PeerId| match self.peers.get(&id) {
            // Others alone hear it, and of its networks they do not tell.
            Some(peer) if peer.session.is_none() => true,
            Some(peer) => within(&peer.said.networks),
            None => within(&self.link.networks),
        };
        let forwards = |id: PeerId| match self.peers.get(&id) {
            Some(peer) => !peer.said.condition.has(Condition::NO_DATA_PATH),
            None => self.data_path == DataPath::Ready,
        };
        unless_nobody(unless_nobody(alive.collect(), connected), forwards)
    }

    /// The greatest claim of another, those that stand before those that do not.
    fn best_other(&self, candidates: &[PeerId], entry: &Address) -> Option<(Claim, Hold)> {
        let worth = |claim: &Claim| (*claim, self.worth(candidates, claim.node));
        let best = entry.others.iter().map(worth).max_by_key(|(claim, hold)| (hold.stands(), *claim));
        best.or_else(|| entry.lost.clone().map(|(claim, cause)| (claim, Hold::Void(cause))))
    }

    fn worth(&self, candidates: &[PeerId], claimant: PeerId) -> Hold {
        let Some(peer) = self.peers.get(&claimant) else { return Hold::Void(Cause::New) };
        let name = peer.name.clone();
        match peer.standing {
            Standing::Unheard | Standing::Dead => Hold::Void(Cause::NodeDead(name)),
            _ if peer.is_restarting() && peer.lapsed => Hold::Void(Cause::SpeakerDead(name)),
            _ if peer.is_restarting() => Hold::Covered,
            Standing::Silent => Hold::Firm,
            _ if peer.said.condition.has(Condition::ISOLATED) => Hold::Void(Cause::Isolated(name)),
            _ if !candidates.contains(&claimant) => Hold::Parting,
            Standing::Alive | Standing::Gone => Hold::Firm,
        }
    }

    fn may_answer_at_all(&self) -> bool {
        self.phase == Phase::Active && self.link.carrier == Carrier::Up && !self.isolation.is_mute()
    }

    fn name_of(&self, id: PeerId) -> names::NodeName {
        self.peers.get(&id).map_or_else(|| self.name.clone(), |peer| peer.name.clone())
    }

    /// An answer to a question: about a node, about a witness, or about an address that is claimed.
    pub(super) fn answered(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        self.witness_answered(now, address);
        // Whose MAC is known by its own sealed word is not proven alive by anybody else who answers for it.
        let is_node = |peer: &Peer| peer.address == address && peer.said.mac.is_none_or(|said| said == mac);
        let of_node = self.peers.iter().find(|(_, peer)| is_node(peer)).map(|(id, _)| *id);
        if let Some(id) = of_node {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.reach.answer(now);
                peer.known_mac = Some(mac);
            }
            self.judge(now, id);
            self.call(id);
        }
        if self.addresses.contains_key(&address) && mac != self.link.mac {
            self.contested(now, address, mac);
        }
    }

    /// Another station has an address that this node owns, or is about to claim.
    pub(super) fn contested(&mut self, now: Instant, address: IpAddr, mac: Mac) {
        let Some((id, peer)) = self.peers.iter().find(|(_, peer)| peer.mac() == Some(mac)) else { return };
        let (id, heard) = (*id, peer.is_heard(now));
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        if heard && entry.mine.is_some() {
            // The greater claim decides; each hears of the other's now.
            self.mail.tell(id, address);
            return;
        }
        let asked = entry.asked.is_some_and(|asked| now.saturating_duration_since(asked) < SEEN_FOR);
        let ranks_before = entry.ballot.as_ref().is_some_and(|ballot| {
            let place = |wanted: PeerId| ballot.nodes.iter().position(|id| *id == wanted);
            place(id).is_some_and(|theirs| place(self.id).is_none_or(|ours| theirs < ours))
        });
        if entry.mine.is_none() || asked || ranks_before {
            entry.seen = Some((id, now + SEEN_FOR));
            self.mail.urgent(id, Wish::Claims);
            if entry.mine.is_some() {
                self.counters.cancelled += 1;
                self.release(address);
            }
            self.dirty.insert(address);
        } else {
            self.outputs.push_back(Output::Announce(address));
        }
    }

    pub(super) fn end_listening(&mut self, now: Instant) {
        let Phase::Listening { until, at_most } = self.phase else { return };
        let alone = self.peers.is_empty();
        let heard = || self.peers.iter().filter(|(_, peer)| peer.is_heard(now));
        let told = || heard().all(|(id, _)| self.is_told(*id));
        let until = until + self.greetings();
        if alone || now >= at_most || (now >= until && self.keyring.is_some() && told()) {
            self.phase = Phase::Active;
            self.all_dirty = true;
            self.mail.urgent_to_all();
        }
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// Those that have what is asked for, unless nobody has.
fn unless_nobody(all: Vec<PeerId>, has: impl Fn(PeerId) -> bool) -> Vec<PeerId> {
    let those: Vec<_> = all.iter().copied().filter(|id| has(*id)).collect();
    if those.is_empty() { all } else { those }
}

/// Speakers that are not heard, of nodes that live.
struct Unheard {
    any: bool,
    is_before: bool,
}
