//! Many speakers on one segment, and many addresses.

#![expect(clippy::indexing_slicing, reason = "a test that asks for what is not there has failed")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use liveness::{Ballot, Pace};
use sim::{Kernel, Segment, Setup};

const MS: Duration = Duration::from_millis(1);
const PACE: Pace =
    Pace { interval: Duration::from_millis(40), multiplier: 3, cover: Duration::from_secs(10) };
/// A speaker knows so many of those that may answer.
const RANKED: usize = 16;

fn vip(number: usize) -> IpAddr {
    let [.., high, low] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    IpAddr::from([10, 100, high, low])
}

/// Which machines may answer for an address, in order.
fn ranked(number: usize, machines: usize) -> Vec<usize> {
    (0..RANKED.min(machines)).map(|place| (number + place * 7) % machines).collect()
}

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn running(machines: usize, addresses: usize) -> Segment {
    let mut segment = Segment::new(Setup { machines, pace: PACE, seed: 1 }, Instant::now());
    segment.run(1500 * MS, |_| {});
    for number in 0..addresses {
        let places = ranked(number, machines);
        let nodes = places.iter().map(|place| segment.machines[*place].name.clone()).collect();
        let ballot = Ballot { generation: 1, ranked: nodes, ..Ballot::default() };
        places.iter().for_each(|place| segment.ballot(*place, vip(number), Some(&ballot)));
    }
    // Those that rank last and were not told of a claim find it within half a second for each that ranks before.
    segment.run(9000 * MS, |_| {});
    segment
}

fn owners(segment: &Segment, number: usize, machines: usize) -> Vec<usize> {
    let places = ranked(number, machines).into_iter();
    places.filter(|place| segment.machines[*place].owns(vip(number))).collect()
}

/// Datagrams that each speaker sends in a second, the least and the most, and what the second took of this machine.
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
fn traffic(segment: &mut Segment) -> (u64, u64, Duration) {
    segment.sent.fill(0);
    let start = Instant::now();
    segment.run(1000 * MS, |_| {});
    let took = start.elapsed();
    let sent = segment.sent.iter().copied();
    (sent.clone().min().unwrap_or_default(), sent.max().unwrap_or_default(), took)
}

#[test]
fn with_ten_times_the_speakers_each_sends_as_much_and_the_next_owns_as_soon() {
    let mut most_before = None;
    for (machines, addresses) in [(50, 1000), (500, 10_000)] {
        let mut segment = running(machines, addresses);
        for number in 0..addresses {
            assert_eq!(owners(&segment, number, machines), [number % machines], "of {machines}");
        }
        let (least, most, took) = traffic(&mut segment);
        println!(
            "of {machines} each sends {least} to {most} a second, and costs {:?}",
            took / u32::try_from(machines).unwrap_or(1)
        );
        assert!(least >= 80 && most <= 160, "of {machines} each sends {least} to {most} a second");
        let before = *most_before.get_or_insert(most);
        assert!(most <= before + before / 4, "{most} of {machines}, {before} of fewer");

        segment.power(7, Kernel::Off);
        segment.run(200 * MS, |_| {});
        for number in (0..addresses).filter(|number| number % machines == 7) {
            assert_eq!(owners(&segment, number, machines), [(number + 7) % machines], "of {machines}");
        }
        segment.run(1000 * MS, |_| {});
        for number in 0..addresses {
            assert_eq!(owners(&segment, number, machines).len(), 1, "of {machines}");
        }
    }
}

#[test]
fn a_speaker_among_many_that_is_killed_is_covered_and_one_that_is_back_takes_nothing_else() {
    let (machines, addresses) = (50, 500);
    let mut segment = running(machines, addresses);
    let mac = segment.machines[7].mac;
    segment.kill(7);
    segment.run(400 * MS, |_| {});
    for number in (0..addresses).filter(|number| number % machines == 7) {
        assert_eq!(segment.macs(vip(number)), [mac].into());
    }
    segment.start(7);
    segment.run(3000 * MS, |_| {});
    for number in 0..addresses {
        assert_eq!(owners(&segment, number, machines), [number % machines]);
        assert_eq!(segment.answers(vip(number)).len(), 1);
    }
}
