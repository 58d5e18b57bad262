//! What comes from other speakers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Node;
use crate::Standing;
use crate::ids::PeerId;
use crate::keys::SenderKey;
use crate::peer::{Met, Peer, Said, Session, Window};
use crate::wire::{self, Condition, Header, Message, Report, Wish};

/// A speaker that does not know this life is told of it at most this often.
const GREETINGS: Duration = Duration::from_millis(10);
/// Silence that a sender may ask for is at most this long.
const LONGEST_DETECTION: Duration = Duration::from_mins(5);

impl Node {
    pub(super) fn hear(&mut self, now: Instant, datagram: &mut [u8]) {
        let Ok(header) = wire::header(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        let id = PeerId::of(&header.name);
        let Some(peer) = self.peers.get(&id).filter(|peer| peer.name == header.name) else {
            self.counters.strangers += u64::from(header.name != self.name);
            return;
        };
        let met = peer.met(header.incarnation, header.sequence);
        if met == Met::Replayed {
            self.counters.replayed += 1;
            return;
        }
        let known = peer.session.as_ref().filter(|session| met != Met::New && session.tag == header.tag);
        let derived = if known.is_none() { self.derive(&header) } else { None };
        let Some(key) = known.map(|session| &session.key).or(derived.as_ref()) else {
            self.counters.forged += 1;
            return;
        };
        let Some((clear, body)) = datagram.split_at_mut_checked(header.length) else { return };
        let Some(body) = key.open(header.sequence, clear, body) else {
            self.counters.forged += 1;
            return;
        };
        let Ok(message) = Message::parse(body) else {
            self.counters.malformed += 1;
            return;
        };
        if message.echo != Some(self.incarnation) {
            return self.greet(now, id, &header);
        }
        self.believe(id, &header, met, derived);
        if met == Met::Late {
            // How its sender is, it said since; what it claims is in an order of its own.
            self.counters.heard += 1;
            self.told(now, id, message.claims);
            return;
        }
        self.heard(now, id, met, message);
    }

    fn derive(&self, header: &Header) -> Option<SenderKey> {
        self.keyring.as_ref()?.of(header.tag, &header.name, header.incarnation)
    }

    /// It does not know this life yet: nothing of what it says counts until it does.
    fn greet(&mut self, now: Instant, id: PeerId, header: &Header) {
        self.counters.unechoed += 1;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.greeted.is_none_or(|last| now.saturating_duration_since(last) >= GREETINGS) {
            peer.greeted = Some(now);
            self.mail.greet(id, header.incarnation);
        }
    }

    fn believe(&mut self, id: PeerId, header: &Header, met: Met, derived: Option<SenderKey>) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Header { tag, incarnation, sequence, .. } = *header;
        match (&mut peer.session, derived) {
            (Some(session), derived) if met != Met::New => {
                session.window.take(sequence);
                if let Some(key) = derived {
                    (session.key, session.tag) = (key, tag);
                }
            }
            (_, Some(key)) => peer.begin(Session { incarnation, key, tag, window: Window::new(sequence) }),
            (_, None) => {}
        }
    }

    fn heard(&mut self, now: Instant, id: PeerId, met: Met, message: Message) {
        self.counters.heard += 1;
        let Message {
            interval,
            multiplier,
            condition,
            wish,
            mac,
            digest,
            concern,
            networks,
            reports,
            claims,
            ..
        } = message;
        let detection = (interval * u32::from(multiplier)).min(LONGEST_DETECTION);
        let reports = reports.into_iter().collect();
        let mac = Some(mac).filter(names::Mac::is_unicast);
        let said = Said { detection, condition, mac, networks, reports, digest, concern };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let before = std::mem::replace(&mut peer.said, said);
        peer.heard = Some(now);
        self.heard_any = Some(now);
        peer.reach.asked = None;
        let says_else = |peer: &Peer| {
            before.condition != peer.said.condition
                || before.networks != peer.said.networks
                || before.mac != peer.said.mac
        };
        self.all_dirty |= says_else(peer);
        if condition.has(Condition::RESTARTING) && !before.condition.has(Condition::RESTARTING) {
            self.mail.urgent(id, Wish::Nothing);
        }
        self.judge(now, id);
        self.mind_cover(now, id);
        self.take_reports(now, id, &before.reports, met);
        self.told(now, id, claims);
        self.mind_claims(now, id, met);
        match wish {
            Wish::Nothing => {}
            Wish::Answer => self.mail.urgent(id, Wish::Nothing),
            Wish::Claims => self.mail.all_claims(id),
        }
        if met == Met::New {
            self.mail.urgent(id, Wish::Nothing);
        }
    }

    /// Begins or ends to cover a speaker that says how it is.
    fn mind_cover(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        if peer.is_restarting() {
            self.begin_cover(now, id);
        } else if peer.standing == Standing::Alive {
            self.end_cover(id);
        }
    }

    /// Of those that only others watch, their watchers tell; and what one speaker says may change what is held of
    /// another.
    fn take_reports(&mut self, now: Instant, id: PeerId, before: &BTreeMap<PeerId, Report>, met: Met) {
        let Some(peer) = self.peers.get(&id) else { return };
        let reports = peer.said.reports.clone();
        // Where not everyone watches everyone, silence about a speaker says nothing.
        let silences = (!self.is_sparse()).then(|| self.peers.keys()).into_iter().flatten();
        let others: BTreeSet<_> =
            silences.chain(reports.keys()).copied().filter(|about| *about != id).collect();
        for about in others {
            let report = reports.get(&about).copied();
            if report != Some(Report::Heard) {
                let changed = met == Met::New || before.get(&about).copied() != report;
                self.relay(now, id, about, changed);
            }
            let Some(report) = report else { continue };
            if self.watches(about) {
                self.judge(now, about);
            } else {
                self.adopt(now, about, report);
            }
        }
    }

    /// A watcher's verdict on a speaker that this one does not watch.
    fn adopt(&mut self, now: Instant, about: PeerId, report: Report) {
        let heard = self.peers.get(&about).is_some_and(|about| about.is_heard(now));
        match report {
            Report::Heard => self.set_standing(now, about, Standing::Alive),
            Report::Gone if !heard => self.set_standing(now, about, Standing::Gone),
            Report::Dead if !heard => self.set_standing(now, about, Standing::Dead),
            Report::Silent | Report::Gone | Report::Dead => {}
        }
    }

    /// A speaker does not hear another: it is told what that one holds, once it says so, and again for as long as that
    /// one is heard here.
    fn relay(&mut self, now: Instant, to: PeerId, about: PeerId, changed: bool) {
        let Some(absent) = self.peers.get(&about).filter(|absent| !absent.claims.is_empty()) else { return };
        let heard = absent.is_heard(now);
        let pause = self.pace.detection();
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let late = peer.relayed.is_none_or(|last| now.saturating_duration_since(last) >= pause);
        if changed || (heard && late) {
            peer.relayed = Some(now);
            self.mail.relay(to, about);
        }
    }

    /// What a speaker holds is known here, or asked for; and what a starting one held is told to it.
    fn mind_claims(&mut self, now: Instant, id: PeerId, met: Met) {
        let pause = self.interval() / 2;
        let told = self.is_told(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let late =
            |last: Option<Instant>| last.is_none_or(|last| now.saturating_duration_since(last) >= pause);
        if peer.said.condition.has(Condition::STARTING) {
            if !peer.claims.is_empty() && (met == Met::New || late(peer.relayed)) {
                peer.relayed = Some(now);
                self.mail.relay(id, id);
            }
        } else if !told && late(peer.wished) {
            peer.wished = Some(now);
            self.mail.urgent(id, Wish::Claims);
        }
    }
}
