//! Thousands of seeded schedules of everything that can go wrong at once. `SEED=n` runs one of them, `SEEDS=n` as many.

#![expect(clippy::indexing_slicing, reason = "a test that asks for what is not there has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use liveness::{Ballot, Carrier, Departure, Pace};
use sim::{Chance, Kernel, Path, Segment, Setup};

const MS: Duration = Duration::from_millis(1);
const PACE: Pace =
    Pace { interval: Duration::from_millis(40), multiplier: 3, cover: Duration::from_secs(10) };
const ADDRESSES: u8 = 4;
/// How long after the last disturbance everything must be in order, restarts and cover apart.
const SETTLED: Duration = Duration::from_millis(400);
/// Two may answer for as long as they need to hear of each other.
const OVERLAP: Duration = Duration::from_millis(5);
/// Or if only others hear both, or they do not watch each other: a detection time.
const RELAYED: Duration = Duration::from_millis(120);
/// And so long with them.
const AT_REST: Duration = Duration::from_secs(14);

fn vip(low: u8) -> IpAddr {
    IpAddr::from([10, 0, 200, low])
}

fn vips() -> impl Iterator<Item = IpAddr> {
    (0..ADDRESSES).map(vip)
}

struct Storm {
    segment: Segment,
    chance: Chance,
    generation: u64,
    story: Vec<String>,
    start: Instant,
}

impl Storm {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    fn new(seed: u64, sizes: &RangeInclusive<usize>) -> Self {
        let mut chance = Chance::new(seed);
        let machines = sizes.start() + chance.below(sizes.end() - sizes.start() + 1);
        let start = Instant::now();
        let segment = Segment::new(Setup { machines, pace: PACE, seed }, start);
        let mut storm =
            Self { segment, chance, generation: 1, story: vec![format!("{machines} machines")], start };
        for low in 0..ADDRESSES {
            let ballot = storm.ballot();
            storm.segment.ballot_to_all(vip(low), Some(&ballot));
        }
        storm.segment.run(2000 * MS, |_| {});
        storm
    }

    fn note(&mut self, what: String) {
        let at = self.segment.now() - self.start;
        self.story.push(format!("{at:?}: {what}"));
    }

    fn any(&mut self) -> usize {
        self.chance.below(self.segment.machines.len())
    }

    /// Some machines in some order, at least one.
    fn ballot(&mut self) -> Ballot {
        let mut nodes: Vec<_> = self.segment.machines.iter().map(|machine| machine.name.clone()).collect();
        let mut ranked = Vec::new();
        while !nodes.is_empty() {
            ranked.push(nodes.remove(self.chance.below(nodes.len())));
        }
        ranked.truncate(16);
        if self.chance.happens(200) {
            ranked.truncate(1 + self.chance.below(ranked.len()));
        }
        Ballot { generation: self.generation, displaces: true, ranked, recorded: None }
    }

    fn address(&mut self) -> u8 {
        (0..ADDRESSES).nth(self.chance.below(usize::from(ADDRESSES))).unwrap_or_default()
    }

    fn step(&mut self) {
        let one = self.any();
        match self.chance.below(16) {
            0 => {
                self.note(format!("kill {one}"));
                self.segment.kill(one);
            }
            1 | 2 => {
                self.note(format!("start {one}"));
                self.segment.power(one, Kernel::Running);
                self.segment.start(one);
            }
            3 => {
                self.note(format!("restart {one}"));
                self.segment.stop(one, Departure::Restart, 200 * MS);
            }
            4 => {
                self.note(format!("{one} leaves"));
                self.segment.stop(one, Departure::Leave, 500 * MS);
            }
            5 => {
                self.note(format!("power off {one}"));
                self.segment.power(one, Kernel::Off);
            }
            6 => {
                let time = self.chance.between(10 * MS, 15_000 * MS);
                self.note(format!("freeze {one} for {time:?}"));
                self.segment.freeze(one, time);
            }
            7 => {
                let carrier = if self.chance.happens(500) { Carrier::Up } else { Carrier::Down };
                self.note(format!("carrier {carrier:?} at {one}"));
                self.segment.carrier(one, carrier);
            }
            8 => self.part(),
            9 => self.part_in_two(),
            10 => self.blur(),
            11 | 12 => {
                self.note("heal".into());
                self.segment.paths.heal();
            }
            13 => self.place(),
            14 => self.renew(),
            _ => {}
        }
    }

    /// Nothing passes from one to another, or either way.
    fn part(&mut self) {
        let (one, other) = (self.any(), self.chance.below(self.segment.machines.len() + 1));
        let cut = Path { cut: true, ..Path::GOOD };
        if self.chance.happens(500) {
            self.note(format!("nothing passes between {one} and {other}"));
            self.segment.paths.set_both(one, other, cut);
        } else {
            self.note(format!("nothing passes from {one} to {other}"));
            self.segment.paths.set(one, other, cut);
        }
    }

    fn part_in_two(&mut self) {
        let count = self.segment.machines.len() + 1;
        let sides: Vec<_> = (0..count).map(|_| self.chance.happens(500)).collect();
        self.note(format!("in two: {sides:?}"));
        for one in 0..count {
            for other in (0..count).filter(|other| sides[one] != sides[*other]) {
                self.segment.paths.set_both(one, other, Path { cut: true, ..Path::GOOD });
            }
        }
    }

    fn blur(&mut self) {
        let path = Path {
            loss: self.chance.permille(300),
            duplicates: self.chance.permille(300),
            delay: self.chance.between(MS, 60 * MS),
            ..Path::GOOD
        };
        self.note(format!("{path:?}"));
        let count = self.segment.machines.len() + 1;
        for one in 0..count {
            for other in 0..count {
                if !self.segment.paths.get(one, other).cut {
                    self.segment.paths.set(one, other, path);
                }
            }
        }
    }

    /// The controller places an address; each speaker hears of it in its own time.
    fn place(&mut self) {
        self.generation += 1;
        let low = self.address();
        let ballot = self.ballot();
        self.note(format!("{} is placed: {ballot:?}", vip(low)));
        for place in 0..self.segment.machines.len() {
            self.segment.ballot(place, vip(low), Some(&ballot));
            let time = self.chance.between(Duration::ZERO, 50 * MS);
            self.run(time);
        }
    }

    /// An address is taken away and given out again.
    fn renew(&mut self) {
        let low = self.address();
        self.note(format!("{} is renewed", vip(low)));
        self.segment.ballot_to_all(vip(low), None);
        let time = self.chance.between(MS, 400 * MS);
        self.run(time);
        let ballot = self.ballot();
        self.segment.ballot_to_all(vip(low), Some(&ballot));
    }

    fn run(&mut self, time: Duration) {
        self.segment.run(time, |_| {});
    }

    /// The storm is over: what is lost at random passes again; what is cut stays cut.
    fn calm(&mut self) {
        self.note("calm".into());
        let count = self.segment.machines.len() + 1;
        for one in 0..count {
            for other in 0..count {
                let cut = self.segment.paths.get(one, other).cut;
                self.segment.paths.set(one, other, Path { cut, ..Path::GOOD });
            }
        }
    }

    /// Machines that hear each other, directly or over others.
    fn component(&self, of: usize) -> BTreeSet<usize> {
        let mut known = BTreeSet::from([of]);
        let mut next = vec![of];
        while let Some(one) = next.pop() {
            let heard =
                (0..self.segment.machines.len()).filter(|other| hear_each_other(&self.segment, one, *other));
            next.extend(heard.filter(|other| known.insert(*other)).collect::<Vec<_>>());
        }
        known
    }

    fn is_clique(&self, all: &BTreeSet<usize>) -> bool {
        let pairs = all.iter().flat_map(|one| all.iter().map(move |other| (*one, *other)));
        pairs.into_iter().all(|(one, other)| one == other || hear_each_other(&self.segment, one, other))
    }

    /// Where all hear each other and somebody may answer, somebody does.
    fn check_somebody(&self) {
        for start in 0..self.segment.machines.len() {
            let all = self.component(start);
            let machine = |place: &usize| &self.segment.machines[*place];
            let gateway = self.segment.gateway();
            let reaches =
                |place: &usize| self.segment.passes(*place, gateway) && self.segment.passes(gateway, *place);
            if !self.is_clique(&all) || !machine(&start).is_awake() {
                continue;
            }
            // One alone cannot know whether it is cut off, unless it reaches the gateway.
            if all.len() < 2 && !all.iter().all(reaches) {
                continue;
            }
            // Of a node that some reach one way only, nobody can say whether it answers.
            let half = |place: usize| {
                !all.contains(&place)
                    && all
                        .iter()
                        .any(|one| self.segment.passes(*one, place) || self.segment.passes(place, *one))
                    && machine(&place).kernel == Kernel::Running
                    && machine(&place).carrier == Carrier::Up
            };
            if (0..self.segment.machines.len()).any(half) {
                continue;
            }
            for address in vips() {
                let may = |place: &usize| {
                    let one = machine(place);
                    let ballot = one.ballots.get(&address);
                    one.carrier == Carrier::Up
                        && one.is_awake()
                        && ballot.is_some_and(|ballot| ballot.ranked.contains(&one.name))
                };
                let answers = self.segment.answers(address);
                let answered = answers.keys().any(|place| all.contains(place));
                assert!(answered || !all.iter().any(may), "nobody of {all:?} answers for {address}");
            }
        }
    }
}

fn hear_each_other(segment: &Segment, one: usize, other: usize) -> bool {
    let awake = |place: usize| segment.machines[place].is_awake();
    awake(one) && awake(other) && segment.passes(one, other) && segment.passes(other, one)
}

/// Two that answer with different MACs although they hear each other, or a third hears both.
fn rivals(segment: &Segment, address: IpAddr) -> Option<(usize, usize)> {
    let answers = segment.answers(address);
    let pairs = answers.iter().flat_map(|one| answers.iter().map(move |other| (one, other)));
    let different = pairs.filter(|((_, mac), (_, other))| mac != other);
    let mut pairs = different.map(|((one, _), (other, _))| (*one, *other));
    pairs.find(|(one, other)| {
        let third = |place| hear_each_other(segment, *one, place) && hear_each_other(segment, *other, place);
        hear_each_other(segment, *one, *other) || (0..segment.machines.len()).any(third)
    })
}

/// Since when two answer for an address.
#[derive(Default)]
struct Rivalry(BTreeMap<IpAddr, Instant>);

impl Rivalry {
    /// A move is make-before-break: for as long as a packet takes two may answer, and never longer.
    fn check(&mut self, segment: &Segment) {
        for address in vips() {
            match rivals(segment, address) {
                None => drop(self.0.remove(&address)),
                Some((one, other)) => {
                    let since = *self.0.entry(address).or_insert(segment.now());
                    let time = segment.now() - since;
                    let near = !segment.is_sparse() && hear_each_other(segment, one, other);
                    let most = if near { OVERLAP } else { RELAYED };
                    assert!(
                        time < most,
                        "{one} and {other} both answer for {address} for {time:?}: {:?}",
                        segment.answers(address)
                    );
                }
            }
        }
    }
}

fn weather(seed: u64, sizes: &RangeInclusive<usize>) {
    let mut storm = Storm::new(seed, sizes);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..3 {
            for _ in 0..2 + storm.chance.below(12) {
                storm.step();
                let pause = storm.chance.between(MS, 2000 * MS);
                let pause = if storm.chance.happens(300) { pause / 50 } else { pause };
                storm.run(pause);
            }
            storm.calm();
            storm.run(SETTLED);
            let mut rivalry = Rivalry::default();
            storm.segment.run(AT_REST, |segment| rivalry.check(segment));
            for _ in 0..100 {
                storm.segment.run(5 * MS, |segment| rivalry.check(segment));
                storm.check_somebody();
            }
        }
    }));
    if let Err(failure) = outcome {
        storm.note("failed".into());
        println!("seed {seed}:\n{}", storm.story.join("\n"));
        for (place, machine) in storm.segment.machines.iter().enumerate() {
            let Some(speaker) = &machine.speaker else { continue };
            println!("{place}: {:?}", speaker.node);
        }
        std::panic::resume_unwind(failure);
    }
}

fn storms(sizes: &RangeInclusive<usize>, seeds: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => weather(seed, sizes),
        None => (0..number("SEEDS").unwrap_or(seeds)).for_each(|seed| weather(seed, sizes)),
    }
}

#[test]
fn after_every_storm_there_is_one_owner() {
    storms(&(2..=6), 1000);
}

/// So many that not everyone watches everyone.
#[test]
fn after_every_storm_among_many_there_is_one_owner() {
    storms(&(17..=24), 30);
}
