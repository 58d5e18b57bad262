//! Who claims what, as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::Instant;

use siphasher::sip::SipHasher13;

use super::{Address, Cause, Mine, Node, Output, Ranked};
use crate::ids::{Claim, PeerId};
use crate::peer::{List, Peer};
use crate::wire::{ClaimState, Claims, Entry, Report, Wish};

/// A list of claims comes in at most this many parts: a hundred thousand claims.
const MOST_PARTS: u16 = 4096;

/// A claim concerns so many of those that rank first: all that may claim the address soon.
const FIRST: usize = 16;

/// One claim's share in the digest over all that a speaker holds, which is their sum.
pub(super) fn share(address: IpAddr, claim: Claim) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    match address {
        IpAddr::V4(address) => hasher.write(&address.octets()),
        IpAddr::V6(address) => hasher.write(&address.octets()),
    }
    hasher.write_u64(claim.generation.to_be());
    hasher.write_u64(claim.epoch.to_be());
    hasher.write_u64(claim.node.0.to_be());
    hasher.finish()
}

impl Ranked {
    /// Those that may soon claim what another claims.
    pub(super) fn concerned(&self, claimant: PeerId) -> impl Iterator<Item = PeerId> {
        self.nodes.iter().copied().filter(move |id| *id != claimant).take(FIRST)
    }
}

fn subtract(concerns: &mut BTreeMap<PeerId, u64>, address: IpAddr, mine: &Mine) {
    for id in &mine.concerned {
        if let Some(sum) = concerns.get_mut(id) {
            *sum = sum.wrapping_sub(share(address, mine.claim));
        }
    }
}

impl Node {
    pub(super) fn told(&mut self, now: Instant, sender: PeerId, claims: Claims) {
        match claims {
            Claims::Some(entries) => entries.into_iter().for_each(|entry| self.told_one(now, sender, entry)),
            Claims::All { list, part, parts, entries } => {
                if let Some(entries) = self.collect(sender, list, part, parts, entries) {
                    self.replace_claims(now, sender, entries);
                }
            }
        }
    }

    /// A speaker tells of its own claims, and of those of speakers that cannot be heard here.
    fn told_one(&mut self, now: Instant, sender: PeerId, entry: Entry) {
        let claimant = entry.claim.node;
        if claimant == self.id {
            return self.recall(entry);
        }
        let unheard = self.peers.get(&claimant).is_some_and(|peer| !peer.is_heard(now));
        if claimant == sender || unheard {
            match entry.state {
                ClaimState::Held => {
                    if self.put_claim(entry.address, entry.claim) && claimant == sender {
                        self.pass_on(now, entry);
                    }
                }
                ClaimState::Released => self.drop_claim(entry.address, entry.claim),
            }
        }
    }

    /// All parts of a list, once they are here.
    fn collect(
        &mut self,
        sender: PeerId,
        number: u32,
        part: u16,
        parts: u16,
        entries: Vec<Entry>,
    ) -> Option<Vec<Entry>> {
        let peer = self.peers.get_mut(&sender)?;
        if part >= parts || parts > MOST_PARTS {
            return None;
        }
        let begin = || List { number, parts, come: BTreeMap::new() };
        let list = peer.list.get_or_insert_with(begin);
        if (list.number, list.parts) != (number, parts) {
            *list = begin();
        }
        list.come.insert(part, entries);
        if list.come.len() < usize::from(list.parts) {
            return None;
        }
        Some(peer.list.take()?.come.into_values().flatten().collect())
    }

    fn replace_claims(&mut self, now: Instant, sender: PeerId, entries: Vec<Entry>) {
        let Some(peer) = self.peers.get(&sender) else { return };
        let listed: BTreeSet<_> = entries.iter().map(|entry| entry.address).collect();
        let gone = peer.claims.iter().filter(|(address, _)| !listed.contains(address));
        let gone: Vec<_> = gone.map(|(address, claim)| (*address, *claim)).collect();
        for (address, claim) in gone {
            self.drop_claim(address, claim);
        }
        for entry in entries.into_iter().filter(|entry| entry.claim.node == sender) {
            self.told_one(now, sender, entry);
        }
    }

    /// Speakers that do not hear the claimant hear of the claim from here.
    fn pass_on(&mut self, now: Instant, entry: Entry) {
        let claimant = entry.claim.node;
        for (id, peer) in &self.peers {
            let hears = peer.said.reports.get(&claimant) == Some(&Report::Heard);
            if *id != claimant && peer.is_heard(now) && !hears {
                self.mail.pass_on(*id, entry.address, entry.claim);
            }
        }
    }

    /// Another speaker holds an address. `false`: that is not new.
    fn put_claim(&mut self, address: IpAddr, claim: Claim) -> bool {
        let is_sparse = self.is_sparse();
        let Some(peer) = self.peers.get_mut(&claim.node) else { return false };
        let before = peer.claims.get(&address).copied();
        if before.is_some_and(|before| before >= claim) {
            return false;
        }
        peer.claims.insert(address, claim);
        peer.digest = peer.digest.wrapping_add(share(address, claim));
        if let Some(before) = before {
            peer.digest = peer.digest.wrapping_sub(share(address, before));
        }
        let entry = self.addresses.entry(address).or_default();
        entry.others.retain(|other| other.node != claim.node);
        entry.others.push(claim);
        entry.lost = None;
        entry.highest = entry.highest.max(Some(claim));
        self.dirty.insert(address);
        if entry.mine.as_ref().is_some_and(|mine| mine.claim > claim) {
            // It announced it too: neighbours have to hear the owner last, and the other has to hear of the owner.
            self.outputs.push_back(Output::Announce(address));
            self.mail.tell(claim.node, address);
            if is_sparse {
                self.rivalled.insert(address);
            }
        }
        true
    }

    /// Lesser claims are told of the greater one until they are gone. Where everyone watches everyone, digests tell.
    pub(super) fn mind_rivals(&mut self) {
        for address in std::mem::take(&mut self.rivalled) {
            let rivalled = |entry: &&Address| entry.mine.is_some() && !entry.others.is_empty();
            let Some(entry) = self.addresses.get(&address).filter(rivalled) else { continue };
            self.rivalled.insert(address);
            let is_live = |id: &PeerId| self.peers.get(id).is_some_and(|peer| peer.standing.is_live());
            for rival in entry.others.iter().map(|other| other.node).filter(is_live) {
                self.mail.tell(rival, address);
                self.mail.urgent(rival, Wish::Claims);
            }
        }
    }

    fn drop_claim(&mut self, address: IpAddr, claim: Claim) {
        let Some(peer) = self.peers.get_mut(&claim.node) else { return };
        let Some(held) = peer.claims.get(&address).copied().filter(|held| *held <= claim) else { return };
        peer.claims.remove(&address);
        peer.digest = peer.digest.wrapping_sub(share(address, held));
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.others.retain(|other| other.node != claim.node);
            self.dirty.insert(address);
            if entry.mine.is_some() {
                // It answered until now, and announced it perhaps: neighbours have to hear the owner last.
                self.outputs.push_back(Output::Announce(address));
            }
        }
    }

    /// What a speaker held is void: its node is gone.
    pub(super) fn drop_claims(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.digest = 0;
        let cause = Cause::NodeDead(peer.name.clone());
        for (address, claim) in std::mem::take(&mut peer.claims) {
            if let Some(entry) = self.addresses.get_mut(&address) {
                entry.others.retain(|other| other.node != id);
                entry.lost = Some((claim, cause.clone()));
                self.dirty.insert(address);
            }
        }
    }

    /// A speaker is no member any more.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.drop_claims(id);
        self.end_cover(id);
        self.peers.remove(&id);
    }

    /// Others remember what an earlier life of this speaker held.
    fn recall(&mut self, entry: Entry) {
        if self.phase == super::Phase::Active || entry.state == ClaimState::Released {
            return;
        }
        let address = self.addresses.entry(entry.address).or_default();
        address.recalled = address.recalled.max(Some(entry.claim));
        address.highest = address.highest.max(Some(entry.claim));
        self.dirty.insert(entry.address);
    }

    /// It may not answer for now, and what it held is remembered.
    pub(super) fn recall_all(&mut self) {
        for (address, entry) in &mut self.addresses {
            if let Some(mine) = entry.mine.take() {
                self.digest = self.digest.wrapping_sub(share(*address, mine.claim));
                subtract(&mut self.concerns, *address, &mine);
                entry.recalled = Some(mine.claim);
            }
        }
        self.all_dirty = true;
    }

    /// Whose concern a claim of this speaker is, by the ballot that is known now.
    pub(super) fn concern_others(&mut self, address: IpAddr) {
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        let Some(mine) = &mut entry.mine else { return };
        subtract(&mut self.concerns, address, mine);
        mine.concerned = entry.ballot.iter().flat_map(|ballot| ballot.concerned(self.id)).collect();
        for id in &mine.concerned {
            let sum = self.concerns.entry(*id).or_default();
            *sum = sum.wrapping_add(share(address, mine.claim));
        }
    }

    /// Whether what a speaker holds is known here: all of it, or what concerns this speaker.
    pub(super) fn is_told(&self, by: PeerId) -> bool {
        if self.watches(by) { self.knows_all(by) } else { self.knows_concerns(by) }
    }

    /// Whether all claims of a speaker are known here, as far as it has any.
    fn knows_all(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_none_or(Peer::is_told)
    }

    /// Whether those are that concern this speaker.
    fn knows_concerns(&self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get(&id) else { return true };
        let concerns = |address: &IpAddr| {
            let ballot = self.addresses.get(address).and_then(|entry| entry.ballot.as_ref());
            ballot.is_some_and(|ballot| ballot.concerned(id).any(|concerned| concerned == self.id))
        };
        let known = peer.claims.iter().filter(|(address, _)| concerns(address));
        let known = known.fold(0, |sum: u64, (address, claim)| sum.wrapping_add(share(*address, *claim)));
        peer.holds_nothing() || known == peer.said.concern
    }

    /// This node answers from now on.
    pub(super) fn hold(&mut self, now: Instant, address: IpAddr, claim: Claim, cause: Cause) {
        self.release(address);
        let Some(entry) = self.addresses.get_mut(&address) else { return };
        entry.mine = Some(Mine { claim, since: now, cause, concerned: Vec::new() });
        entry.highest = entry.highest.max(Some(claim));
        (entry.recalled, entry.lost, entry.vacant, entry.seen) = (None, None, None, None);
        self.digest = self.digest.wrapping_add(share(address, claim));
        self.concern_others(address);
        self.mail.changed(address);
        self.outputs.push_back(Output::Claimed(address));
    }

    /// It does no longer.
    pub(super) fn release(&mut self, address: IpAddr) {
        let Some(mine) = self.addresses.get_mut(&address).and_then(|entry| entry.mine.take()) else { return };
        self.digest = self.digest.wrapping_sub(share(address, mine.claim));
        subtract(&mut self.concerns, address, &mine);
        self.mail.released(address, mine.claim);
    }
}
