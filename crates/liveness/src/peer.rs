use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use names::{Mac, NodeName};

use crate::Incarnation;
use crate::ids::{Claim, PeerId};
use crate::keys::SenderKey;
use crate::wire::{Condition, Entry, Report};

/// Lives of a speaker that ended while this one runs, which may be replayed.
const MOST_RETIRED: usize = 256;

/// What is held of another speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It was never heard.
    Unheard,
    /// It is heard, by this speaker or by one that watches it too.
    Alive,
    /// It is silent for longer than it said, and why is not known yet.
    Silent,
    /// It is gone and its node answers: connections go on, and its addresses are covered.
    Gone,
    /// Its node is gone.
    Dead,
}

impl Standing {
    /// Whether its speaker runs, as far as it is known.
    pub(crate) fn is_live(self) -> bool {
        match self {
            Self::Alive | Self::Silent => true,
            Self::Unheard | Self::Gone | Self::Dead => false,
        }
    }
}

/// Another speaker on the segment.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: NodeName,
    pub(crate) address: IpAddr,
    /// Its MAC as the cluster knows it; its own word goes before.
    pub(crate) known_mac: Option<Mac>,
    pub(crate) standing: Standing,
    pub(crate) standing_since: Instant,
    pub(crate) session: Option<Session>,
    retired: Vec<Incarnation>,
    pub(crate) heard: Option<Instant>,
    /// Since when this speaker watches it.
    pub(crate) watched: Option<Instant>,
    /// Whether it was heard when that was last asked.
    pub(crate) was_heard: bool,
    pub(crate) said: Said,
    /// Since when its addresses are to be covered.
    pub(crate) covered_since: Option<Instant>,
    /// It was covered for as long as may be.
    pub(crate) lapsed: bool,
    /// What it holds, as it said itself or others did while it could not be heard.
    pub(crate) claims: BTreeMap<IpAddr, Claim>,
    pub(crate) digest: u64,
    pub(crate) list: Option<List>,
    /// When all its claims were last asked for.
    pub(crate) wished: Option<Instant>,
    /// When it was last answered although it does not know this life.
    pub(crate) greeted: Option<Instant>,
    /// When claims of others were last relayed to it.
    pub(crate) relayed: Option<Instant>,
    pub(crate) reach: Reach,
}

/// A life of its speaker that knows this one.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) incarnation: Incarnation,
    pub(crate) key: SenderKey,
    pub(crate) tag: crate::keys::Tag,
    pub(crate) window: Window,
}

/// Which sequence numbers have come: packets may overtake each other, but none counts twice (as RFC 4303 §3.4.3 has it).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    highest: u64,
    /// Bit n: the highest less n has come.
    come: u64,
}

impl Window {
    pub(crate) fn new(sequence: u64) -> Self {
        Self { highest: sequence, come: 1 }
    }

    fn place(&self, sequence: u64) -> Place {
        match self.highest.checked_sub(sequence) {
            None => Place::Ahead,
            Some(behind) if behind < 64 && self.come & (1 << behind) == 0 => Place::Late,
            Some(_) => Place::Known,
        }
    }

    pub(crate) fn take(&mut self, sequence: u64) {
        match self.highest.checked_sub(sequence) {
            None => {
                let ahead = u32::try_from(sequence - self.highest).unwrap_or(u32::MAX);
                self.come = self.come.checked_shl(ahead).unwrap_or_default() | 1;
                self.highest = sequence;
            }
            Some(behind) => {
                self.come |= 1u64.checked_shl(u32::try_from(behind).unwrap_or(u32::MAX)).unwrap_or_default()
            }
        }
    }
}

enum Place {
    Ahead,
    Late,
    Known,
}

/// Its last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// After so long a silence it is gone.
    pub(crate) detection: Duration,
    pub(crate) condition: Condition,
    pub(crate) mac: Option<Mac>,
    pub(crate) networks: Vec<IpNetwork>,
    pub(crate) reports: BTreeMap<PeerId, Report>,
    /// Over all claims that it holds.
    pub(crate) digest: u64,
    /// Over those that concern this speaker.
    pub(crate) concern: u64,
}

/// A list of all claims, of which parts have come.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) number: u32,
    pub(crate) parts: u16,
    pub(crate) come: BTreeMap<u16, Vec<Entry>>,
}

/// Whether its node's kernel answers for the node's own address.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reach {
    /// The first question since the last answer.
    pub(crate) asked: Option<Instant>,
    pub(crate) asked_last: Option<Instant>,
    pub(crate) answered: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(name: NodeName, detection: Duration, now: Instant) -> Self {
        Self {
            name,
            address: IpAddr::from([0; 4]),
            known_mac: None,
            standing: Standing::Unheard,
            standing_since: now,
            session: None,
            retired: Vec::new(),
            heard: None,
            watched: None,
            was_heard: false,
            said: Said {
                detection,
                condition: Condition::default(),
                mac: None,
                networks: Vec::new(),
                reports: BTreeMap::new(),
                digest: 0,
                concern: 0,
            },
            covered_since: None,
            lapsed: false,
            claims: BTreeMap::new(),
            digest: 0,
            list: None,
            wished: None,
            greeted: None,
            relayed: None,
            reach: Reach::default(),
        }
    }

    pub(crate) fn mac(&self) -> Option<Mac> {
        self.said.mac.or(self.known_mac)
    }

    pub(crate) fn is_heard(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < self.said.detection)
    }

    /// When its next heartbeat is missed: one that is watched only now may have to learn of that first.
    pub(crate) fn overdue(&self) -> Instant {
        self.last() + self.said.detection * 2 / 3
    }

    /// Until when nothing follows from its silence.
    pub(crate) fn awaited(&self) -> Instant {
        self.last() + self.said.detection
    }

    fn last(&self) -> Instant {
        self.heard.max(self.watched).unwrap_or(self.standing_since)
    }

    /// Whether it may take an address over, as far as it is known.
    pub(crate) fn can_answer(&self) -> bool {
        let hindered =
            Condition::STARTING.and(Condition::RESTARTING).and(Condition::LEAVING).and(Condition::ISOLATED);
        self.standing == Standing::Alive && !self.said.condition.has(hindered)
    }

    /// Whether its speaker will be back, or is just back, and its addresses are covered meanwhile.
    pub(crate) fn is_restarting(&self) -> bool {
        let back = self.said.condition.has(Condition::STARTING.and(Condition::RESTARTING));
        match self.standing {
            Standing::Gone => true,
            Standing::Alive | Standing::Silent => back,
            Standing::Unheard | Standing::Dead => false,
        }
    }

    /// Whether all its claims are known here, as far as it has any.
    pub(crate) fn is_told(&self) -> bool {
        self.holds_nothing() || self.digest == self.said.digest
    }

    /// Whether it answers for nothing now, by its own word; what it held may stand all the same.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.said.condition.has(Condition::STARTING.and(Condition::ISOLATED))
    }

    /// Whose datagram it is; nothing is believed yet.
    pub(crate) fn met(&self, incarnation: Incarnation, sequence: u64) -> Met {
        if self.retired.contains(&incarnation) {
            return Met::Replayed;
        }
        match &self.session {
            Some(session) if session.incarnation == incarnation => match session.window.place(sequence) {
                Place::Ahead => Met::Known,
                Place::Late => Met::Late,
                Place::Known => Met::Replayed,
            },
            Some(_) | None => Met::New,
        }
    }

    /// A new life begins, and the one before has ended.
    pub(crate) fn begin(&mut self, session: Session) {
        if let Some(before) = self.session.replace(session) {
            if self.retired.len() >= MOST_RETIRED {
                self.retired.remove(0);
            }
            self.retired.push(before.incarnation);
        }
        self.list = None;
        self.wished = None;
    }
}

/// Whose datagram it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// Of the life that is known.
    Known,
    /// Of that life, but others that were sent later have come before.
    Late,
    /// Of another one.
    New,
    /// Not to be believed.
    Replayed,
}

impl Reach {
    pub(crate) fn ask(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
        self.asked_last = Some(now);
    }

    pub(crate) fn answer(&mut self, now: Instant) {
        *self = Self { asked: None, asked_last: self.asked_last, answered: Some(now) };
    }

    /// Whether questions stayed without an answer for so long.
    pub(crate) fn is_unanswered(&self, patience: Duration, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= patience)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_takes_each_number_once_in_any_order_and_nothing_old() {
        let mut window = Window::new(100);
        let mut takes = |sequence| {
            let takes = !matches!(window.place(sequence), Place::Known);
            if takes {
                window.take(sequence);
            }
            takes
        };
        let numbers = [100, 99, 99, 103, 101, 102, 103, 101, 40, 39, 1000, 103, 937, 936, 937];
        let taken: Vec<_> = numbers.into_iter().filter(|number| takes(*number)).collect();
        assert_eq!(taken, [99, 103, 101, 102, 40, 1000, 937]);
    }

    proptest! {
        #[test]
        fn no_number_counts_twice(numbers in prop::collection::vec(0u64..300, 0..400)) {
            let mut window = Window::new(0);
            let mut taken = std::collections::BTreeSet::from([0]);
            for number in numbers {
                if !matches!(window.place(number), Place::Known) {
                    window.take(number);
                    prop_assert!(taken.insert(number), "{number}");
                }
            }
        }
    }
}
