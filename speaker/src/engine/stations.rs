//! Follows which stations on each link have answered lately: where a speaker hears no other, they tell whether it is the
//! one that is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netio::{LinkIndex, Neighbour, clock};
use tokio::sync::watch;
use tracing::warn;

/// From one look at the kernel's table to the next.
const PAUSE: Duration = Duration::from_secs(30);
/// A station that has left the table is kept for so long: when the node is cut off, all of them leave it.
const KEPT: Duration = Duration::from_mins(5);
/// Of each link.
const MOST: usize = 8;

pub(crate) type Stations = BTreeMap<LinkIndex, BTreeSet<IpAddr>>;

/// Runs for as long as the speaker does.
pub(crate) async fn run(known: watch::Sender<Stations>) {
    let mut seen = Seen::default();
    loop {
        match netio::neighbours().await {
            Ok(found) => {
                let now = seen.look(clock::now(), &found);
                known.send_if_modified(|known| {
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
            Err(error) => warn!(%error, "the neighbours stay as they were known"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Those that were there first stay.
#[derive(Debug, Default)]
struct Seen(BTreeMap<LinkIndex, BTreeMap<IpAddr, Instant>>);

impl Seen {
    fn look(&mut self, now: Instant, found: &[Neighbour]) -> Stations {
        for Neighbour { interface, address } in found {
            let here = self.0.entry(*interface).or_default();
            if here.len() < MOST || here.contains_key(address) {
                here.insert(*address, now);
            }
        }
        for here in self.0.values_mut() {
            here.retain(|_, last| now.saturating_duration_since(*last) < KEPT);
        }
        self.0.retain(|_, here| !here.is_empty());
        self.0.iter().map(|(interface, here)| (*interface, here.keys().copied().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(interface: u32, low: u8) -> Neighbour {
        Neighbour { interface: LinkIndex::new(interface), address: [192, 0, 2, low].into() }
    }

    fn lows(stations: &Stations, interface: u32) -> Vec<u8> {
        let here = stations.get(&LinkIndex::new(interface)).into_iter().flatten();
        here.map(|address| if let IpAddr::V4(address) = address { address.octets()[3] } else { 0 }).collect()
    }

    #[test]
    fn a_station_that_falls_silent_with_all_others_stays_for_five_minutes() {
        let (mut seen, start) = (Seen::default(), clock::now());
        seen.look(start, &[neighbour(1, 1), neighbour(2, 2)]);
        let later = seen.look(start + Duration::from_secs(299), &[neighbour(2, 2)]);
        assert_eq!((lows(&later, 1), lows(&later, 2)), (vec![1], vec![2]));
        let last = seen.look(start + Duration::from_secs(300), &[]);
        assert_eq!((lows(&last, 1), lows(&last, 2)), (vec![], vec![2]));
    }

    #[test]
    fn of_many_those_that_were_there_first_stay() {
        let (mut seen, start) = (Seen::default(), clock::now());
        let all: Vec<_> = (100..200).map(|low| neighbour(1, low)).collect();
        let first = seen.look(start, &all);
        assert_eq!(lows(&first, 1), (100..108).collect::<Vec<_>>());
        let then = seen.look(start + PAUSE, &[neighbour(1, 1), neighbour(1, 107)]);
        assert_eq!(lows(&then, 1), (100..108).collect::<Vec<_>>());
    }
}
