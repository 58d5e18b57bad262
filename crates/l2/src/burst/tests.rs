#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use proptest::prelude::*;

use super::*;

fn address(index: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + index).to_be_bytes())
}

fn takeover(count: u32, start: Instant) -> Schedule {
    let mut schedule = Schedule::new(7);
    (0..count).for_each(|index| schedule.start(start, address(index)));
    schedule
}

/// What is announced when, in milliseconds, if every deadline is kept.
fn run(schedule: &mut Schedule, start: Instant, until: Duration) -> Vec<(u64, IpAddr, Forms)> {
    let mut announced = Vec::new();
    while let Some(now) = schedule.next().filter(|at| *at <= start + until) {
        let before = announced.len();
        while let Some((address, forms)) = schedule.pop_due(now) {
            announced.push((u64::try_from((now - start).as_millis()).unwrap(), address, forms));
        }
        assert!(announced.len() > before, "a deadline at which nothing is due would spin");
    }
    announced
}

/// One address's burst: both forms one after the other, then five times together.
fn burst(address: IpAddr) -> [(u64, IpAddr, Forms); 7] {
    let times = [(0, Forms::First), (0, Forms::Second)];
    let repeats = [20, 100, 500, 1100, 2000].map(|at| (at, Forms::Both));
    let all: Vec<_> = times.into_iter().chain(repeats).map(|(at, forms)| (at, address, forms)).collect();
    all.try_into().unwrap()
}

#[test]
fn a_burst_comes_at_its_times() {
    let start = Instant::now();
    let announced = run(&mut takeover(1, start), start, Duration::from_secs(50));
    assert_eq!(announced, burst(address(0)));
}

#[test]
fn nothing_is_due_before_its_time_or_without_addresses() {
    let start = Instant::now();
    let mut schedule = takeover(1, start);
    assert_eq!(schedule.pop_due(start), Some((address(0), Forms::First)));
    assert_eq!(schedule.pop_due(start), Some((address(0), Forms::Second)));
    assert_eq!(schedule.pop_due(start), None);
    assert_eq!(schedule.next(), Some(start + Duration::from_millis(20)));
    assert_eq!(schedule.pop_due(start + Duration::from_millis(19)), None);
    schedule.cancel(address(0));
    assert_eq!(schedule.next(), None);
    assert_eq!(schedule.pop_due(start + Duration::from_secs(100)), None);
}

/// The pauses between the last announcements of each address, whose bursts are over after 2 s.
fn refreshes(announced: &[(u64, IpAddr, Forms)], count: u32) -> Vec<u64> {
    let times = |index| announced.iter().filter(move |(_, a, _)| *a == address(index)).map(|(at, ..)| *at);
    let pauses = |times: Vec<u64>| times[6..].windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    (0..count).flat_map(|index| pauses(times(index).collect())).collect()
}

#[test]
fn refreshes_come_each_minute_with_a_jitter_of_their_own() {
    let start = Instant::now();
    let announced = run(&mut takeover(3, start), start, Duration::from_secs(3600));
    let pauses = refreshes(&announced, 3);
    assert!(pauses.iter().all(|pause| (54_000..=66_000).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().collect::<BTreeSet<_>>().len() > 100, "pauses repeat: {pauses:?}");
}

#[test]
fn refreshes_come_as_often_as_they_shall() {
    let start = Instant::now();
    let mut schedule = takeover(2, start);
    schedule.set_refresh(start, Some(Duration::from_secs(5)));
    let announced = run(&mut schedule, start, Duration::from_secs(600));
    let pauses = refreshes(&announced, 2);
    assert!(pauses.len() > 200);
    assert!(pauses.iter().all(|pause| (4_500..=5_500).contains(pause)), "{pauses:?}");
}

#[test]
fn without_refreshes_only_bursts_are_sent_and_switching_them_on_reaches_every_address() {
    let start = Instant::now();
    let mut schedule = takeover(2, start);
    schedule.set_refresh(start, None);
    assert_eq!(run(&mut schedule, start, Duration::from_secs(3600)).len(), 2 * 7);
    assert_eq!(schedule.next(), None);
    let later = start + Duration::from_secs(3600);
    schedule.cancel(address(1));
    schedule.set_refresh(later, Some(Duration::from_secs(60)));
    let announced = run(&mut schedule, later, Duration::from_secs(67));
    assert_eq!(announced.len(), 1);
    assert_eq!(announced[0].1, address(0));
    schedule.set_refresh(later, None);
    assert_eq!(schedule.next(), None);
}

#[test]
fn setting_the_same_refresh_again_plans_nothing_anew() {
    let start = Instant::now();
    let mut schedule = takeover(1, start);
    run(&mut schedule, start, Duration::from_secs(3));
    let planned = schedule.next();
    schedule.set_refresh(start + Duration::from_secs(50), Some(Duration::from_secs(60)));
    assert_eq!(schedule.next(), planned);
}

#[test]
fn thousands_are_each_announced_once_before_any_repeats() {
    let start = Instant::now();
    let count = 5000;
    let addresses = usize::try_from(count).unwrap();
    let announced = run(&mut takeover(count, start), start, Duration::from_secs(40));
    let (first, rest) = announced.split_at(addresses);
    let once: BTreeSet<_> = first.iter().map(|(_, address, _)| *address).collect();
    assert_eq!(once.len(), addresses);
    assert!(first.iter().all(|(.., forms)| *forms == Forms::First));
    // The bucket holds 200; the others wait for a token each 50 microseconds: 20,000 in a second.
    assert_eq!(first.iter().filter(|(at, ..)| *at == 0).count(), 200 + 19);
    assert_eq!(first.last().unwrap().0, u64::from(count - 200) / 20);
    let (second, repeats) = rest.split_at(addresses);
    assert!(second.iter().all(|(at, _, forms)| *forms == Forms::Second && *at >= 240));
    assert!(repeats.iter().all(|(.., forms)| *forms == Forms::Both));
    // 2000 frames a second.
    assert!((2640..=2645).contains(&second.last().unwrap().0), "{:?}", second.last());
    assert_eq!(repeats.len(), 5 * addresses);
}

#[test]
fn a_thousand_are_told_of_within_fifty_milliseconds() {
    let start = Instant::now();
    let announced = run(&mut takeover(1000, start), start, Duration::from_millis(50));
    let first = announced.iter().filter(|(.., forms)| *forms == Forms::First);
    assert_eq!(first.count(), 1000);
}

#[test]
fn a_late_takeover_goes_before_the_repeats_of_earlier_ones() {
    let start = Instant::now();
    let mut schedule = takeover(1000, start);
    run(&mut schedule, start, Duration::from_millis(300));
    schedule.start(start + Duration::from_millis(300), address(9999));
    let next = run(&mut schedule, start, Duration::from_millis(300));
    assert_eq!(next[0], (300, address(9999), Forms::First));
}

#[test]
fn starting_again_begins_a_new_burst() {
    let start = Instant::now();
    let mut schedule = takeover(1, start);
    run(&mut schedule, start, Duration::from_millis(600));
    let again = start + Duration::from_millis(700);
    schedule.start(again, address(0));
    let announced = run(&mut schedule, again, Duration::from_secs(3));
    assert_eq!(announced, burst(address(0)));
}

proptest! {
    #[test]
    fn no_stretch_of_time_has_more_frames_than_the_buckets_give(
        takeovers in prop::collection::vec((0u32..600, 0u64..300), 1..600),
        late in prop::collection::vec(0u64..400, 1..50),
    ) {
        let start = Instant::now();
        let mut schedule = Schedule::new(1);
        for (index, at) in takeovers {
            schedule.start(start + Duration::from_millis(at), address(index));
        }
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        let mut now = start;
        // Deadlines that are served late must not make up for it in one go.
        for late in late {
            now += Duration::from_millis(late);
            while let Some((_, forms)) = schedule.pop_due(now) {
                match forms {
                    Forms::First => first.push(now),
                    Forms::Second => rest.push(now),
                    Forms::Both => rest.extend([now, now]),
                }
            }
        }
        for (times, a_millisecond) in [(first, 20), (rest, 2)] {
            for (index, from) in times.iter().enumerate() {
                for (count, until) in times[index..].iter().enumerate() {
                    // One frame may be borrowed.
                    let most = 201 + (*until - *from).as_millis() * a_millisecond;
                    prop_assert!(u128::try_from(count).unwrap() < most);
                }
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
