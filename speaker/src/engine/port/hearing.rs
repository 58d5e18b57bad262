//! Which of the other speakers are not heard on an interface for so long that people should know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use liveness::{Direct, PeerStatus, Standing};
use names::NodeName;

/// A speaker that is upgraded, or a few heartbeats that are lost, are nothing to tell.
const LASTING: Duration = Duration::from_secs(5);
/// As long as a speaker that comes back has to be heard.
const BACK: Duration = Duration::from_secs(2);

/// Why a speaker is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Its node answers by ARP or NDP; others hear its speaker.
    Closed,
    /// Its node answers by ARP or NDP, and nobody hears its speaker.
    ClosedOrGone,
    /// Its node does not answer either.
    Cut,
}

/// A speaker that is not heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) address: IpAddr,
    pub(crate) trouble: Trouble,
    pub(crate) since: Instant,
}

/// What there is to tell of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) lost: BTreeMap<NodeName, Lost>,
    /// Whether nobody is heard at all, and no gateway answers.
    pub(crate) is_isolated: bool,
}

#[derive(Debug)]
struct Known {
    lost: Lost,
    told: bool,
    /// Since when it is heard again.
    back: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Hearing {
    known: BTreeMap<NodeName, Known>,
    told: Option<Report>,
}

impl Hearing {
    /// Looks at how the others stand; what is to be told, if that is new.
    pub(super) fn look(
        &mut self,
        now: Instant,
        peers: impl Iterator<Item = PeerStatus>,
        is_isolated: bool,
    ) -> Option<Report> {
        let mut before = std::mem::take(&mut self.known);
        for peer in peers {
            let known = before.remove(&peer.node);
            if let Some(known) = follow(now, &peer, known) {
                self.known.insert(peer.node, known);
            }
        }
        let told = self.known.iter().filter(|(_, known)| known.told);
        let lost = told.map(|(node, known)| (node.clone(), known.lost.clone())).collect();
        let report = Report { lost, is_isolated };
        let is_news = self.told.as_ref() != Some(&report);
        is_news.then(|| self.told.insert(report).clone())
    }
}

fn follow(now: Instant, peer: &PeerStatus, known: Option<Known>) -> Option<Known> {
    let Some(trouble) = trouble(peer) else {
        let mut known = known.filter(|known| known.told)?;
        let back = *known.back.get_or_insert(now);
        return (now.saturating_duration_since(back) < BACK).then_some(known);
    };
    let since = known.as_ref().map_or(now, |known| known.lost.since);
    // What a dead node was found by is enough.
    let lasts = now.saturating_duration_since(since) >= LASTING;
    let told = lasts || peer.standing == Standing::Dead || known.is_some_and(|known| known.told);
    Some(Known { lost: Lost { address: peer.address, trouble, since }, told, back: None })
}

fn trouble(peer: &PeerStatus) -> Option<Trouble> {
    match peer.direct {
        Direct::Heard | Direct::Unheard => None,
        Direct::Closed if peer.standing == Standing::Alive => Some(Trouble::Closed),
        Direct::Closed => Some(Trouble::ClosedOrGone),
        Direct::Cut => Some(Trouble::Cut),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(since: Instant, standing: Standing, direct: Direct) -> PeerStatus {
        let address = IpAddr::from([10, 77, 0, 12]);
        PeerStatus { node: NodeName::new("n2"), address, standing, since, direct }
    }

    /// Looks once a second at a speaker that stands so, and gives the seconds at which something was told, with what.
    fn told(stands: &[(u32, Standing, Direct)]) -> Vec<(u32, Option<Trouble>)> {
        let (mut hearing, start, mut second, mut all) = (Hearing::default(), Instant::now(), 0, Vec::new());
        for (seconds, standing, direct) in stands {
            for _ in 0..*seconds {
                let now = start + SECOND * second;
                if let Some(report) = hearing.look(now, [peer(start, *standing, *direct)].into_iter(), false)
                {
                    all.push((second, report.lost.values().next().map(|lost| lost.trouble)));
                }
                second += 1;
            }
        }
        all
    }

    #[test]
    fn a_closed_port_is_told_when_it_lasts_and_open_when_it_stays_so() {
        use {Direct as D, Standing as S};
        let alive = (10, S::Alive, D::Heard);
        let restart = [alive, (4, S::Gone, D::Closed), alive];
        assert_eq!(told(&restart), [(0, None)], "an upgrade is nothing to tell");
        let closed =
            [alive, (20, S::Gone, D::Closed), (1, S::Alive, D::Heard), (3, S::Gone, D::Closed), alive];
        assert_eq!(told(&closed), [(0, None), (15, Some(Trouble::ClosedOrGone)), (36, None)]);
        let vetoed = [(10, S::Alive, D::Closed)];
        assert_eq!(told(&vetoed), [(0, None), (5, Some(Trouble::Closed))]);
        assert_eq!(told(&[(10, S::Alive, D::Unheard)]), [(0, None)], "who is not watched is not missed");
    }

    #[test]
    fn a_dead_node_is_told_of_at_once_and_one_that_others_hear_when_it_lasts() {
        use {Direct as D, Standing as S};
        assert_eq!(
            told(&[(2, S::Alive, D::Heard), (9, S::Dead, D::Cut)]),
            [(0, None), (2, Some(Trouble::Cut))]
        );
        assert_eq!(told(&[(9, S::Alive, D::Cut)]), [(0, None), (5, Some(Trouble::Cut))]);
    }

    #[test]
    fn who_is_no_member_any_more_is_forgotten_and_isolation_told() {
        let (mut hearing, start) = (Hearing::default(), Instant::now());
        let dead = || [peer(start, Standing::Dead, Direct::Cut)].into_iter();
        assert_eq!(hearing.look(start, dead(), false).map(|report| report.lost.len()), Some(1));
        assert_eq!(hearing.look(start, dead(), false), None);
        assert_eq!(hearing.look(start, std::iter::empty(), false), Some(Report::default()));
        let isolated = Report { is_isolated: true, ..Report::default() };
        assert_eq!(hearing.look(start, std::iter::empty(), true), Some(isolated));
    }
}
