//! Whether this node is the one that is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Node;
use super::standing::PATIENCE;
use crate::Standing;
use crate::peer::{Peer, Reach};

/// A station that answered within this time would answer now.
const WITNESS_FOR: Duration = Duration::from_mins(5);
/// From one question to a witness to the next, while others are heard.
const REFRESH: Duration = Duration::from_mins(1);
/// From one question to the next, where the last was not answered while others are heard.
const AGAIN: Duration = Duration::from_secs(1);
/// After so long without an answer, while others are heard, it is the witness that is gone.
const LOST: Duration = Duration::from_secs(3);
/// Witnesses that are asked at a time.
const ASKED: usize = 3;

/// What is known of being cut off.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    witnesses: BTreeMap<IpAddr, Reach>,
    since: Option<Instant>,
    /// It lasts for so long that nothing may be answered any more.
    muted: bool,
}

impl Isolation {
    pub(super) fn is_isolated(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it lasts for so long that nothing may be answered any more.
    pub(super) fn is_mute(&self) -> bool {
        self.muted
    }

    /// Those that would answer if they could be reached.
    fn usable(&self, now: Instant) -> impl Iterator<Item = &Reach> {
        let recent = move |reach: &&Reach| {
            reach.answered.is_some_and(|at| now.saturating_duration_since(at) < WITNESS_FOR)
        };
        self.witnesses.values().filter(recent)
    }
}

impl Node {
    /// Stations that tell whether this node is cut off when it hears no speaker: the gateways, and neighbours that
    /// were seen lately.
    pub fn set_witnesses(&mut self, now: Instant, witnesses: &BTreeSet<IpAddr>) {
        self.pass(now);
        self.isolation.witnesses.retain(|address, _| witnesses.contains(address));
        for address in witnesses {
            self.isolation.witnesses.entry(*address).or_default();
        }
        self.settle(now);
    }

    pub(super) fn witness_answered(&mut self, now: Instant, address: IpAddr) {
        if let Some(reach) = self.isolation.witnesses.get_mut(&address) {
            reach.answer(now);
        }
    }

    /// Whether this node is not the one that is cut off, as far as it can know: who hears nobody first asks a witness, if
    /// there is one.
    pub(super) fn may_claim(&self, now: Instant) -> bool {
        let detection = self.pace.detection();
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < detection);
        let mut usable = self.isolation.usable(now).peekable();
        let alone = self.peers.values().all(|peer| peer.standing == Standing::Unheard);
        let reached = lately(self.heard_any) || self.peers.values().any(|peer| lately(peer.reach.answered));
        let certain = alone || reached || usable.peek().is_none();
        !self.isolation.is_isolated() && (certain || usable.any(|reach| lately(reach.answered)))
    }

    pub(super) fn judge_isolation(&mut self, now: Instant) {
        self.ask_witnesses(now);
        match (self.isolation.since, self.is_cut_off(now)) {
            (None, true) => {
                self.isolation.since = Some(now);
                self.all_dirty = true;
                self.mail.urgent_to_all();
            }
            (Some(_), false) => {
                self.isolation.since = None;
                self.isolation.muted = false;
                self.recall_all();
                self.listen(now);
                self.all_dirty = true;
                self.mail.urgent_to_all();
            }
            (Some(since), true) if !self.isolation.muted && now >= since + self.pace.detection() => {
                self.isolation.muted = true;
                self.recall_all();
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    /// Hearing a speaker proves a connection, and so does the kernel of any node, or a witness.
    fn is_cut_off(&self, now: Instant) -> bool {
        let detection = self.pace.detection();
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < detection);
        let is_there = |peer: &Peer| peer.is_heard(now) || lately(peer.reach.answered);
        if self.peers.is_empty() || lately(self.heard_any) || self.peers.values().any(is_there) {
            return false;
        }
        let answered = self.isolation.usable(now).any(|reach| lately(reach.answered));
        !answered && self.isolation.usable(now).any(|reach| reach.is_unanswered(PATIENCE, now))
    }

    fn ask_witnesses(&mut self, now: Instant) {
        let early = self.pace.detection() * 2 / 3;
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.saturating_duration_since(at) < early);
        let quiet = !lately(self.heard_any);
        let interval = self.interval();
        let pause = |reach: &Reach| match (quiet, reach.asked) {
            (true, _) => interval / 2,
            (false, Some(since)) if now.saturating_duration_since(since) <= LOST => AGAIN,
            (false, Some(_) | None) => REFRESH,
        };
        if !quiet {
            let silent = |reach: &&mut Reach| reach.is_unanswered(LOST, now);
            self.isolation.witnesses.values_mut().filter(silent).for_each(|reach| reach.answered = None);
        }
        let knows_others = self.peers.values().any(|peer| peer.standing != Standing::Unheard);
        let due = |reach: &Reach| {
            reach.asked_last.is_none_or(|last| now.saturating_duration_since(last) >= pause(reach))
        };
        if !knows_others && !self.isolation.witnesses.values().any(|reach| reach.asked_last.is_none()) {
            return;
        }
        let due: Vec<_> = self
            .isolation
            .witnesses
            .iter()
            .filter(|(_, reach)| due(reach))
            .map(|(address, _)| *address)
            .take(ASKED)
            .collect();
        for address in due {
            if let Some(reach) = self.isolation.witnesses.get_mut(&address) {
                reach.ask(now);
            }
            self.ask(address);
        }
    }
}
