//! Stations that say that they have an address which this node owns, each for as long as it says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use names::{Mac, NodeName};

/// After so long a silence a station counts as gone. Every owned address is asked for once a minute.
pub(crate) const SILENT: Duration = Duration::from_mins(5);
/// For so long after its last word no other station takes a rival's place in what is told.
const STEADY: Duration = Duration::from_secs(90);
/// One word of another speaker is a move, or the end of a cut; two within this time are not.
const TWICE: Duration = Duration::from_secs(5);
/// Within this time each owned address is asked for, some of them each second.
const ROUND: Duration = Duration::from_mins(1);
/// So many stations are counted by their MACs on an interface.
const MOST_COUNTED: usize = 32;

/// A station that has an address of ours, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rival {
    pub(crate) mac: Mac,
    /// The node that it is, if it is one with a speaker.
    pub(crate) node: Option<NodeName>,
}

#[derive(Debug)]
struct Sighting {
    rival: Rival,
    first: Instant,
    last: Instant,
    /// Whether it is told of.
    certain: bool,
}

/// The rivals of an interface.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    seen: BTreeMap<IpAddr, Sighting>,
    counted: BTreeSet<Mac>,
    round: Round,
}

/// The owned addresses that are still to be asked for, so many at a time, and when they are all to be again.
#[derive(Debug, Default)]
struct Round {
    left: Vec<IpAddr>,
    at_a_time: usize,
    next: Option<Instant>,
}

impl Rivals {
    /// A station has said so. Whether what is to be told has changed.
    pub(super) fn see(&mut self, now: Instant, address: IpAddr, rival: Rival) -> bool {
        let is_speaker = rival.node.is_some();
        let first = Sighting { rival: rival.clone(), first: now, last: now, certain: false };
        let known = self.seen.entry(address).or_insert(first);
        let is_other = known.rival.mac != rival.mac;
        let is_recent = now.saturating_duration_since(known.last) < STEADY;
        if is_other && known.certain && (is_recent || is_speaker) {
            return false;
        }
        let is_old = !known.certain && now.saturating_duration_since(known.first) > TWICE;
        if is_other || is_old {
            *known = Sighting { rival, first: now, last: now, certain: false };
        }
        known.last = now;
        let certain = known.certain || !is_speaker || now > known.first;
        std::mem::replace(&mut known.certain, certain) != certain
    }

    /// Who else has an address.
    pub(super) fn of(&self, address: IpAddr) -> Option<&Rival> {
        self.seen.get(&address).filter(|sighting| sighting.certain).map(|sighting| &sighting.rival)
    }

    /// This node does not own the address any more.
    pub(super) fn forget(&mut self, address: IpAddr) {
        self.seen.remove(&address);
    }

    /// The addresses whose rivals have been silent for so long that they are gone.
    pub(super) fn take_gone(&mut self, now: Instant) -> Vec<IpAddr> {
        let is_gone = |sighting: &Sighting| now.saturating_duration_since(sighting.last) >= SILENT;
        let gone = self.seen.extract_if(.., |_, sighting| is_gone(sighting));
        gone.filter(|(_, sighting)| sighting.certain).map(|(address, _)| address).collect()
    }

    /// The owned addresses to ask for now, each once a minute if this is called each second.
    pub(super) fn next_asked(&mut self, now: Instant, owned: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
        let Round { left, at_a_time, next } = &mut self.round;
        if left.is_empty() && next.is_none_or(|next| now >= next) {
            left.extend(owned);
            let turns = usize::try_from(ROUND.as_secs()).unwrap_or(usize::MAX);
            (*at_a_time, *next) = (left.len().div_ceil(turns), Some(now + ROUND));
        }
        left.split_off(left.len().saturating_sub(*at_a_time))
    }

    /// What a station is counted as: by its MAC, but for those that come when so many are.
    pub(super) fn label(&mut self, mac: Mac) -> String {
        if self.counted.contains(&mac) || self.counted.len() < MOST_COUNTED {
            self.counted.insert(mac);
            return mac.to_string();
        }
        "other".to_owned()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address() -> IpAddr {
        IpAddr::from([192, 0, 2, 10])
    }

    fn stranger(low: u8) -> Rival {
        Rival { mac: Mac::new([2, 0, 0, 0, 9, low]), node: None }
    }

    fn speaker() -> Rival {
        Rival { mac: Mac::new([2, 0, 0, 0, 0, 2]), node: Some(NodeName::new("n2")) }
    }

    #[test]
    fn a_stranger_is_told_of_at_its_first_word_and_gone_after_five_minutes() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        assert!(rivals.see(start, address(), stranger(1)));
        assert!(!rivals.see(start + SECOND, address(), stranger(1)), "that is known");
        assert!(rivals.take_gone(start + SILENT).is_empty(), "it was there a second later");
        assert_eq!(rivals.of(address()), Some(&stranger(1)));
        assert_eq!(rivals.take_gone(start + SECOND + SILENT), [address()]);
        assert_eq!(rivals.of(address()), None);
        assert!(rivals.see(start + SECOND * 400, address(), stranger(1)), "it is back");
    }

    #[test]
    fn stations_that_take_turns_are_not_told_of_in_turn() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        rivals.see(start, address(), stranger(1));
        for second in 1..80 {
            assert!(!rivals.see(start + SECOND * second, address(), stranger(2)), "{second}");
        }
        assert!(rivals.see(start + STEADY, address(), stranger(2)), "the first has been silent");
        assert_eq!(rivals.of(address()), Some(&stranger(2)));
    }

    #[test]
    fn a_speaker_is_a_rival_only_if_it_says_so_twice() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        assert!(!rivals.see(start, address(), speaker()));
        assert_eq!(rivals.of(address()), None);
        assert!(!rivals.see(start + TWICE + SECOND, address(), speaker()), "that was another move");
        assert!(rivals.see(start + TWICE + SECOND * 2, address(), speaker()));
        assert_eq!(rivals.of(address()), Some(&speaker()));
        assert_eq!(rivals.take_gone(start + SILENT * 2), [address()]);
    }

    #[test]
    fn a_move_hides_no_stranger_and_nobody_is_told_to_be_gone_who_was_not_told_of() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        rivals.see(start, address(), speaker());
        assert!(rivals.see(start + SECOND, address(), stranger(1)));
        assert!(!rivals.see(start + STEADY + SECOND, address(), speaker()));
        assert_eq!(rivals.of(address()), Some(&stranger(1)));
        rivals.forget(address());
        rivals.see(start, address(), speaker());
        assert!(rivals.take_gone(start + SILENT).is_empty());
    }

    #[test]
    fn each_owned_address_is_asked_for_once_a_minute_and_few_at_a_time() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        for count in [1, 3, 60, 100] {
            let owned: Vec<_> = (0..count).map(|low| IpAddr::from([192, 0, 2, low])).collect();
            let mut asked = Vec::new();
            for second in 0..60 {
                let now = start + SECOND * (60 * u32::from(count) + second);
                let turn = rivals.next_asked(now, owned.iter().copied());
                assert!(turn.len() <= 2, "{turn:?}");
                asked.extend(turn);
            }
            asked.sort();
            assert_eq!(asked, owned);
        }
    }

    #[test]
    fn so_many_are_counted_by_name_and_the_rest_together() {
        let mut rivals = Rivals::default();
        let labels: Vec<_> = (0..40).map(|low| rivals.label(stranger(low).mac)).collect();
        assert_eq!(labels.iter().filter(|label| *label == "other").count(), 40 - MOST_COUNTED);
        assert_eq!(rivals.label(stranger(0).mac), "02:00:00:00:09:00", "one that is known stays so");
    }
}
