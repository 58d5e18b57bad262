//! Which neighbours were asked for, and who has answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::Mac;

/// A station that is slower is not there: Linux asks again after this time (RETRANS_TIMER of RFC 4861 §10).
const OPEN_FOR: Duration = Duration::from_secs(1);

/// How many stations are told of for one question: an owner, and a few who say that they are.
const MOST_ANSWERS: usize = 4;

/// What is to be found out of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Who has it? All stations are asked, in the name of the interface.
    Reach,
    /// Is it still at this MAC? Only that station is asked.
    ReachAt(Mac),
    /// Does anybody have it? All stations are asked, in nobody's name, so that no neighbour learns anything (the ARP
    /// Probe of RFC 5227 §2.1.1, the duplicate address detection of RFC 4862 §5.4.2).
    Duplicate,
}

/// The questions that can still be answered.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeMap<IpAddr, Open>,
    deadlines: BTreeSet<(Instant, IpAddr)>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    answers: BTreeSet<Mac>,
}

impl Questions {
    /// Opens it; one about the same address that is open already begins anew.
    pub(crate) fn open(&mut self, now: Instant, address: IpAddr) {
        let until = now + OPEN_FOR;
        let before = self.open.insert(address, Open { until, answers: BTreeSet::new() });
        if let Some(before) = before {
            self.deadlines.remove(&(before.until, address));
        }
        self.deadlines.insert((until, address));
    }

    /// What the station's word for an address is worth; `None` where no question about it is open.
    pub(crate) fn answer(&mut self, now: Instant, address: IpAddr, mac: Mac) -> Option<Novelty> {
        let open = self.open.get_mut(&address).filter(|open| now < open.until)?;
        let new = open.answers.len() < MOST_ANSWERS && open.answers.insert(mac);
        Some(if new { Novelty::New } else { Novelty::Known })
    }

    /// Closes what nobody answers any more.
    pub(crate) fn close_due(&mut self, now: Instant) {
        while let Some((until, address)) = self.deadlines.first().copied().filter(|(until, _)| *until <= now)
        {
            self.deadlines.remove(&(until, address));
            self.open.remove(&address);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.open.keys().copied()
    }
}

/// Whether an answer says what was not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Known,
}
