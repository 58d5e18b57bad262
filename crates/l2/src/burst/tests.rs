#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use proptest::prelude::*;

use super::*;

const BURST: [u64; 6] = [0, 20, 100, 500, 1100, 2000];

fn address(index: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + index).to_be_bytes())
}

fn takeover(count: u32, start: Instant) -> Schedule {
    let mut schedule = Schedule::new(7);
    (0..count).for_each(|index| schedule.start(start, address(index)));
    schedule
}

/// What is announced when, in milliseconds, if every deadline is kept.
fn run(schedule: &mut Schedule, start: Instant, until: Duration) -> Vec<(u64, IpAddr)> {
    let mut announced = Vec::new();
    while let Some(now) = schedule.next().filter(|at| *at <= start + until) {
        let before = announced.len();
        while let Some(address) = schedule.pop_due(now) {
            announced.push((u64::try_from((now - start).as_millis()).unwrap(), address));
        }
        assert!(announced.len() > before, "a deadline at which nothing is due would spin");
    }
    announced
}

#[test]
fn a_burst_comes_at_its_times() {
    let start = Instant::now();
    let announced = run(&mut takeover(1, start), start, Duration::from_secs(50));
    assert_eq!(announced, BURST.map(|at| (at, address(0))));
}

#[test]
fn nothing_is_due_before_its_time_or_without_addresses() {
    let start = Instant::now();
    let mut schedule = takeover(1, start);
    assert_eq!(schedule.pop_due(start), Some(address(0)));
    assert_eq!(schedule.pop_due(start), None);
    assert_eq!(schedule.next(), Some(start + Duration::from_millis(20)));
    assert_eq!(schedule.pop_due(start + Duration::from_millis(19)), None);
    schedule.cancel(address(0));
    assert_eq!(schedule.next(), None);
    assert_eq!(schedule.pop_due(start + Duration::from_secs(100)), None);
}

#[test]
fn refreshes_come_each_minute_with_a_jitter_of_their_own() {
    let start = Instant::now();
    let announced = run(&mut takeover(3, start), start, Duration::from_secs(3600));
    let mut pauses = BTreeSet::new();
    for index in 0..3 {
        let times: Vec<_> =
            announced.iter().filter(|(_, a)| *a == address(index)).map(|(at, _)| *at).collect();
        for pair in times[BURST.len() - 1..].windows(2) {
            let pause = pair[1] - pair[0];
            assert!((54_000..=66_000).contains(&pause), "{pause} ms");
            pauses.insert(pause);
        }
    }
    assert!(pauses.len() > 100, "pauses repeat: {pauses:?}");
}

#[test]
fn thousands_are_each_announced_once_before_any_repeats() {
    let start = Instant::now();
    let count = 5000;
    let announced = run(&mut takeover(count, start), start, Duration::from_secs(40));
    let (first, rest) = announced.split_at(usize::try_from(count).unwrap());
    let once: BTreeSet<_> = first.iter().map(|(_, address)| *address).collect();
    assert_eq!(once.len(), first.len());
    // The bucket holds 100; the others wait for a token a millisecond.
    assert_eq!(first.iter().filter(|(at, _)| *at == 0).count(), 100);
    assert_eq!(first.last().unwrap().0, u64::from(count) - 100);
    assert_eq!(rest.len(), first.len() * (BURST.len() - 1));
}

#[test]
fn a_late_takeover_goes_before_the_repeats_of_earlier_ones() {
    let start = Instant::now();
    let mut schedule = takeover(1000, start);
    run(&mut schedule, start, Duration::from_millis(950));
    schedule.start(start + Duration::from_millis(950), address(9999));
    let next = run(&mut schedule, start, Duration::from_millis(952));
    assert_eq!(next, [(951, address(9999)), (952, next[1].1)]);
}

#[test]
fn starting_again_begins_a_new_burst() {
    let start = Instant::now();
    let mut schedule = takeover(1, start);
    run(&mut schedule, start, Duration::from_millis(600));
    let again = start + Duration::from_millis(700);
    schedule.start(again, address(0));
    let announced = run(&mut schedule, again, Duration::from_secs(3));
    assert_eq!(announced, BURST.map(|at| (at, address(0))));
}

proptest! {
    #[test]
    fn no_stretch_of_time_has_more_announcements_than_the_bucket_gives(
        takeovers in prop::collection::vec((0u32..600, 0u64..300), 1..600),
        late in prop::collection::vec(0u64..400, 1..50),
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(1);
        for (index, at) in takeovers {
            schedule.start(start + Duration::from_millis(at), address(index));
        }
        let mut times = Vec::new();
        let mut now = start;
        // Deadlines that are served late must not make up for it in one go.
        for late in late {
            now += Duration::from_millis(late);
            while schedule.pop_due(now).is_some() {
                times.push(now);
            }
        }
        for (index, from) in times.iter().enumerate() {
            for (count, until) in times[index..].iter().enumerate() {
                prop_assert!(u128::try_from(count).unwrap() <= 100 + (*until - *from).as_millis());
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_times(seed: u64) {
        let start = Instant::now();
        let times = |seed| {
            let mut schedule = Schedule::new(seed);
            schedule.start(start, address(1));
            run(&mut schedule, start, Duration::from_secs(600))
        };
        prop_assert_eq!(times(seed), times(seed));
        prop_assert_ne!(times(seed), times(seed ^ 1));
    }
}
