//! Verdicts on silent speakers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Node;
use crate::Standing;
use crate::ids::PeerId;
use crate::peer::Peer;
use crate::wire::{Report, Wish};

/// Up to so many speakers on a segment everyone watches everyone.
const MESH: usize = 16;
/// Above, so many watch each.
const WATCHERS: usize = 3;

/// So long a kernel may take to answer by ARP or NDP.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// From one question to a node that was never heard, or is dead for long, to the next.
const SELDOM: Duration = Duration::from_secs(1);
/// For so long a dead node is asked often: it may be back any moment.
const OFTEN: Duration = Duration::from_secs(60);

/// A speaker that is held up slows down to at most this.
const SLOWEST: Duration = Duration::from_millis(200);
/// So often within [`CALM`], and it slows down; after as long without, it speeds up again.
const STALLS: u32 = 3;
const CALM: Duration = Duration::from_secs(60);

/// How much a speaker slows down because it is held up.
#[derive(Debug, Default)]
pub(super) struct Slow {
    level: u32,
    stalls: u32,
    changed: Option<Instant>,
}

impl Slow {
    fn stalled(&mut self, now: Instant) {
        if self.changed.is_none_or(|changed| now.saturating_duration_since(changed) > CALM) {
            self.stalls = 0;
            self.changed = Some(now);
        }
        self.stalls += 1;
        if self.stalls >= STALLS {
            self.level = (self.level + 1).min(8);
            self.stalls = 0;
            self.changed = Some(now);
        }
    }

    fn calm(&mut self, now: Instant) {
        let calm = |changed: Instant| now.saturating_duration_since(changed) > CALM;
        if self.level > 0 && self.changed.is_some_and(calm) {
            self.level -= 1;
            self.changed = Some(now);
        }
    }
}

impl Node {
    /// From one heartbeat to the next, at most.
    pub(super) fn interval(&self) -> Duration {
        let slowed = self.pace.interval * 2u32.saturating_pow(self.slow.level);
        slowed.min(SLOWEST.max(self.pace.interval))
    }

    /// Notices that time has passed, and whether it passed unnoticed: then what is silent may just not have been read.
    pub(super) fn pass(&mut self, now: Instant) {
        if now <= self.seen_at {
            return;
        }
        self.seen_at = now;
        self.slow.calm(now);
        let late = now.saturating_duration_since(self.tick_at);
        if self.peers.is_empty() || late <= self.pace.interval {
            return;
        }
        self.counters.stalls += 1;
        self.slow.stalled(now);
        self.hold_until = Some(now + self.pace.detection());
        self.tick_at = now;
        if late >= self.pace.detection() {
            self.recall_all();
            self.listen(now);
            self.all_dirty = true;
        }
    }

    fn is_held(&self, now: Instant) -> bool {
        self.hold_until.is_some_and(|until| now < until)
    }

    /// Who watches a speaker.
    pub(super) fn watchers(&self, of: PeerId) -> impl Iterator<Item = PeerId> {
        let count = if self.is_sparse() { WATCHERS } else { self.ring.len().saturating_sub(1) };
        let place = self.ring.partition_point(|id| *id <= of);
        let (before, behind) = self.ring.split_at_checked(place).unwrap_or_default();
        behind.iter().chain(before).copied().take(count)
    }

    /// Where not all watch, those do whose speakers live: however many nodes are lost at once, each has its watchers.
    pub(super) fn renew_ring(&mut self, now: Instant) {
        self.ring_changed = false;
        let all = !self.is_sparse();
        let watching = self.peers.iter().filter(|(_, peer)| all || peer.standing.is_live());
        self.ring = watching.map(|(id, _)| *id).chain([self.id]).collect();
        self.ring.sort_unstable();
        let is_watcher = |of: &PeerId| all || self.watchers(*of).any(|watcher| watcher == self.id);
        let watched: BTreeSet<_> = self.peers.keys().copied().filter(is_watcher).collect();
        for id in watched.difference(&self.watched) {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.watched = Some(now);
            }
        }
        self.watched = watched;
    }

    pub(super) fn watches(&self, id: PeerId) -> bool {
        self.watched.contains(&id)
    }

    /// Whether speakers are too many for everyone to watch everyone.
    pub(super) fn is_sparse(&self) -> bool {
        self.peers.len() >= MESH
    }

    pub(super) fn judge_all(&mut self, now: Instant) {
        let watched: Vec<_> = self.watched.iter().copied().collect();
        for id in watched {
            self.judge(now, id);
            self.reach_out(now, id);
        }
        self.lapse(now);
    }

    pub(super) fn judge(&mut self, now: Instant, id: PeerId) {
        let watches = self.watches(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let heard = peer.is_heard(now);
        if std::mem::replace(&mut peer.was_heard, heard) && !heard && watches {
            // Others may only wait for this word: as long as it is not said, what was said before is a veto.
            self.tell_watchers(id, Wish::Answer);
        }
        let Some(peer) = self.peers.get(&id) else { return };
        let standing = self.verdict(now, id, peer);
        self.set_standing(now, id, standing);
    }

    fn verdict(&self, now: Instant, id: PeerId, peer: &Peer) -> Standing {
        if peer.is_heard(now) {
            return Standing::Alive;
        }
        if !self.watches(id) {
            return peer.standing;
        }
        if self.others_say(now, id, Report::Heard) {
            return Standing::Alive;
        }
        match peer.standing {
            _ if self.others_say(now, id, Report::Gone) => Standing::Gone,
            Standing::Unheard | Standing::Dead => peer.standing,
            standing if self.is_held(now) || now < peer.awaited() => standing,
            Standing::Alive | Standing::Silent if peer.reach.is_unanswered(PATIENCE, now) => Standing::Dead,
            Standing::Gone if peer.reach.is_unanswered(self.pace.detection(), now) => Standing::Dead,
            Standing::Alive | Standing::Silent => {
                let answered = peer.reach.answered.filter(|at| peer.heard.is_none_or(|heard| *at > heard));
                if answered.is_some() && peer.reach.asked.is_none() {
                    Standing::Gone
                } else {
                    Standing::Silent
                }
            }
            Standing::Gone => Standing::Gone,
        }
    }

    /// Whether a watcher that is heard says so: one that still hears a speaker, or reaches its node, has a veto.
    fn others_say(&self, now: Instant, id: PeerId, report: Report) -> bool {
        let says = |peer: &Peer| peer.is_heard(now) && peer.said.reports.get(&id) == Some(&report);
        self.watchers(id).filter_map(|watcher| self.peers.get(&watcher)).any(says)
    }

    pub(super) fn set_standing(&mut self, now: Instant, id: PeerId, standing: Standing) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.standing == standing {
            return;
        }
        let before = std::mem::replace(&mut peer.standing, standing);
        peer.standing_since = now;
        match standing {
            Standing::Gone => {
                self.counters.speakers_gone += 1;
                self.begin_cover(now, id);
            }
            Standing::Dead => {
                self.counters.nodes_dead += 1;
                self.end_cover(id);
                self.drop_claims(id);
            }
            Standing::Alive => {
                if !peer.is_restarting() {
                    self.end_cover(id);
                }
            }
            Standing::Unheard | Standing::Silent => {}
        }
        self.all_dirty = true;
        self.ring_changed |= self.is_sparse() && before.is_live() != standing.is_live();
        if before == Standing::Dead && standing == Standing::Alive {
            self.mail.reunited(id);
        }
        if self.watches(id) {
            self.tell_watchers(id, Wish::Nothing);
            if self.is_sparse() && before != Standing::Unheard && standing != Standing::Silent {
                self.mail.spread(id);
            }
        }
    }

    fn tell_watchers(&mut self, of: PeerId, wish: Wish) {
        let others: Vec<_> = self.watchers(of).filter(|watcher| *watcher != self.id).collect();
        others.into_iter().for_each(|watcher| self.mail.urgent(watcher, wish));
    }

    /// Asks a node's kernel whether it is there, while its speaker is overdue.
    fn reach_out(&mut self, now: Instant, id: PeerId) {
        let interval = self.interval();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let overdue = peer.heard.is_some() && now >= peer.overdue();
        let pause = match peer.standing {
            Standing::Alive | Standing::Silent if overdue => interval / 2,
            Standing::Gone => interval,
            Standing::Dead if now.saturating_duration_since(peer.standing_since) < OFTEN => interval * 2,
            Standing::Unheard | Standing::Dead => SELDOM,
            Standing::Alive | Standing::Silent => return,
        };
        if peer.reach.asked_last.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            peer.reach.ask(now);
            let address = peer.address;
            self.ask(address);
            if overdue && self.is_sparse() {
                // Those that watch it too do not send here unasked, and may still hear it; and it may not know that it
                // is watched from here.
                self.mail.urgent(id, Wish::Answer);
                self.tell_watchers(id, Wish::Answer);
            }
        }
    }

    pub(super) fn begin_cover(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.covered_since.is_none() {
            peer.covered_since = Some(now);
            self.covered.insert((now, id));
        }
    }

    pub(super) fn end_cover(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.lapsed = false;
        if let Some(since) = peer.covered_since.take() {
            self.covered.remove(&(since, id));
            self.all_dirty = true;
        }
    }

    /// A speaker that is away for too long is not covered any more.
    fn lapse(&mut self, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= self.pace.cover;
        while let Some((since, id)) = self.covered.first().copied().filter(|(since, _)| is_over(*since)) {
            self.covered.remove(&(since, id));
            if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.is_restarting()) {
                peer.lapsed = true;
                self.all_dirty = true;
            }
        }
    }

    /// When the next verdict could fall.
    pub(super) fn next_verdict(&self) -> Option<Instant> {
        let interval = self.interval();
        let of_peer = |peer: &Peer| {
            let heard = peer.heard;
            let reach = peer.reach;
            match peer.standing {
                Standing::Alive => [
                    heard.map(|_| peer.overdue()),
                    heard.map(|_| peer.awaited()),
                    reach.asked_last.map(|asked| asked + interval / 2),
                ],
                Standing::Silent => [
                    reach.asked.map(|asked| asked + PATIENCE),
                    reach.asked_last.map(|asked| asked + interval / 2),
                    None,
                ],
                Standing::Gone => [
                    reach.asked.map(|asked| asked + self.pace.detection()),
                    reach.asked_last.map(|asked| asked + interval),
                    None,
                ],
                Standing::Unheard | Standing::Dead => [None; 3],
            }
        };
        let watched = self.watched.iter().filter_map(|id| self.peers.get(id));
        let lapses = self.covered.first().map(|(since, _)| *since + self.pace.cover);
        let deadlines = watched.flat_map(of_peer).flatten().chain(self.hold_until).chain(lapses);
        deadlines.filter(|deadline| *deadline > self.seen_at).min()
    }
}
