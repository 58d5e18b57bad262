use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use liveness::{Answer, Ballot, Carrier, ClusterKey, Departure, Keys, Member, Node, Output, Pace};
use names::Mac;

use crate::machine::{Arrival, Kernel, Machine, Speaker};
use crate::{Chance, Path, Paths};

/// How a segment is built.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many machines.
    pub machines: usize,
    /// How fast their speakers are.
    pub pace: Pace,
    /// Equal seeds give equal runs.
    pub seed: u64,
}

/// Where packets come from or go to: a machine by its number, or the gateway.
pub type Place = usize;

#[derive(Debug)]
enum Event {
    Arrives(Place, Arrival),
    Question { from: Place, at: Place, about: IpAddr },
    Wake(Place),
}

/// A switch, its machines, and a gateway that answers for its own address only.
#[derive(Debug)]
pub struct Segment {
    setup: Setup,
    now: Instant,
    /// The machines.
    pub machines: Vec<Machine>,
    /// The paths between them; the gateway's number is the count of machines.
    pub paths: Paths,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
    chance: Chance,
    /// Datagrams that were sent, by machine.
    pub sent: Vec<u64>,
    /// Whether a station runs that is none of the machines, behind the gateway's port.
    pub neighbour: Kernel,
    /// Who announced an address last, of those that the gateway heard.
    pub learnt: BTreeMap<IpAddr, Mac>,
    members: BTreeMap<names::NodeName, Member>,
    places: BTreeMap<IpAddr, Place>,
}

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254));
const GATEWAYS_MAC: Mac = Mac::new([2, 0xff, 0, 0, 0, 1]);
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 253));
const NEIGHBOURS_MAC: Mac = Mac::new([2, 0xff, 0, 0, 0, 2]);

impl Segment {
    /// A segment whose speakers start now.
    pub fn new(setup: Setup, start: Instant) -> Self {
        let machines: Vec<_> = (0..setup.machines).map(Machine::new).collect();
        let member = |machine: &Machine| {
            (machine.name.clone(), Member { address: machine.address, mac: Some(machine.mac) })
        };
        let members = machines.iter().map(member).collect();
        let place = |(place, machine): (Place, &Machine)| (machine.address, place);
        let places = machines.iter().enumerate().map(place).collect();
        let mut segment = Self {
            setup,
            now: start,
            sent: vec![0; machines.len()],
            machines,
            paths: Paths::default(),
            events: BTreeMap::new(),
            count: 0,
            chance: Chance::new(setup.seed),
            neighbour: Kernel::Off,
            learnt: BTreeMap::new(),
            members,
            places,
        };
        (0..setup.machines).for_each(|place| segment.start(place));
        segment
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Whether machines are too many for each to watch all.
    pub fn is_sparse(&self) -> bool {
        self.machines.len() > 16
    }

    /// The gateway's place in [`Paths`].
    pub fn gateway(&self) -> Place {
        self.machines.len()
    }

    /// Starts a speaker, in place of one that runs.
    pub fn start(&mut self, place: Place) {
        let (pace, now) = (self.setup.pace, self.now);
        let (incarnation, seed) = (self.chance.incarnation(), self.chance.any());
        let members = self.members.clone();
        let Some(machine) = self.machines.get_mut(place).filter(|m| m.kernel == Kernel::Running) else {
            return;
        };
        let mut node = Node::new(machine.name.clone(), incarnation, pace, seed, now);
        node.set_keys(now, &Keys { primary: ClusterKey::new([7; 32]), secondary: None });
        node.set_link(now, machine.link());
        node.set_witnesses(now, &[GATEWAY, NEIGHBOUR].into());
        node.set_members(now, members);
        node.set_ballots(now, machine.ballots.iter().map(|(address, ballot)| (*address, Some(ballot))));
        machine.speaker = Some(Speaker {
            node,
            answers: BTreeMap::new(),
            frozen_until: None,
            inbox: Vec::new(),
            ending: None,
            wake: None,
        });
        self.act(place);
    }

    /// Ends a speaker without a word.
    pub fn kill(&mut self, place: Place) {
        if let Some(machine) = self.machines.get_mut(place) {
            machine.speaker = None;
        }
    }

    /// Ends a speaker in order: it says so, and ends once it is covered, or after that time.
    pub fn stop(&mut self, place: Place, departure: Departure, at_most: Duration) {
        let now = self.now;
        let awake = self.machines.get(place).is_some_and(|machine| machine.is_awake());
        let speaker = self.machines.get_mut(place).and_then(|machine| machine.speaker.as_mut());
        if let Some(speaker) = speaker.filter(|_| awake) {
            speaker.node.depart(now, departure);
            speaker.ending = Some(now + at_most);
            self.act(place);
        }
    }

    /// A speaker does not run for this long; packets queue.
    pub fn freeze(&mut self, place: Place, time: Duration) {
        let until = self.now + time;
        if let Some(speaker) = self.machines.get_mut(place).and_then(|machine| machine.speaker.as_mut()) {
            speaker.frozen_until = Some(until);
        }
        self.schedule(until, Event::Wake(place));
    }

    /// Cuts a machine's power, or gives it back without starting its speaker.
    pub fn power(&mut self, place: Place, kernel: Kernel) {
        if let Some(machine) = self.machines.get_mut(place) {
            machine.kernel = kernel;
            if kernel == Kernel::Off {
                machine.speaker = None;
            }
        }
    }

    /// Takes a machine's link away, or gives it back.
    pub fn carrier(&mut self, place: Place, carrier: Carrier) {
        let Some(machine) = self.machines.get_mut(place) else { return };
        machine.carrier = carrier;
        let link = machine.link();
        self.hand(place, Arrival::Link(link));
    }

    /// What the API tells one machine of an address; `None`: nobody is to answer for it any more.
    pub fn ballot(&mut self, place: Place, address: IpAddr, ballot: Option<&Ballot>) {
        let Some(machine) = self.machines.get_mut(place) else { return };
        match ballot {
            Some(ballot) => machine.ballots.insert(address, ballot.clone()),
            None => machine.ballots.remove(&address),
        };
        self.hand(place, Arrival::Ballot(address, ballot.cloned()));
    }

    /// The same to all of them at once.
    pub fn ballot_to_all(&mut self, address: IpAddr, ballot: Option<&Ballot>) {
        (0..self.machines.len()).for_each(|place| self.ballot(place, address, ballot));
    }

    /// Lets time pass, and looks after each event.
    pub fn run(&mut self, time: Duration, mut look: impl FnMut(&Self)) {
        let end = self.now + time;
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > end {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.handle(event);
            look(self);
        }
        self.now = end;
    }

    /// Machines that answer for an address with these MACs at this moment.
    pub fn answers(&self, address: IpAddr) -> BTreeMap<Place, Mac> {
        let answers = self.machines.iter().enumerate();
        answers.filter_map(|(place, machine)| Some((place, machine.answers_with(address)?))).collect()
    }

    /// The MACs that a client at the switch hears for an address.
    pub fn macs(&self, address: IpAddr) -> BTreeSet<Mac> {
        self.answers(address).into_values().collect()
    }

    /// Whether heartbeats pass from one machine to another.
    pub fn passes(&self, from: Place, to: Place) -> bool {
        let has_link = |place: Place| self.machines.get(place).is_none_or(|one| one.carrier == Carrier::Up);
        let path = self.paths.get(from, to);
        !path.cut && !path.closed && has_link(from) && has_link(to)
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrives(place, arrival) => self.arrives(place, arrival),
            Event::Question { from, at, about } => self.question(from, at, about),
            Event::Wake(place) => self.wake(place),
        }
    }

    fn arrives(&mut self, place: Place, arrival: Arrival) {
        let there = |machine: &Machine| machine.kernel == Kernel::Running && machine.carrier == Carrier::Up;
        if self.machines.get(place).is_some_and(there) {
            self.hand(place, arrival);
        }
    }

    /// A speaker that is frozen finds it when it thaws.
    fn hand(&mut self, place: Place, arrival: Arrival) {
        let now = self.now;
        let Some(speaker) = self.machines.get_mut(place).and_then(|machine| machine.speaker.as_mut()) else {
            return;
        };
        speaker.inbox.push(arrival);
        if speaker.frozen_until.is_none_or(|until| until <= now) {
            self.wake(place);
        }
    }

    /// What a speaker does after a wait: it notices the time, then reads what came, then does what is due.
    fn wake(&mut self, place: Place) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(speaker) = &mut machine.speaker else { return };
        if speaker.frozen_until.is_some_and(|until| until > now) {
            return;
        }
        speaker.frozen_until = None;
        speaker.node.handle_wake(now);
        for arrival in std::mem::take(&mut speaker.inbox) {
            match arrival {
                Arrival::Datagram(mut datagram) => speaker.node.handle_datagram(now, &mut datagram),
                Arrival::Ballot(address, ballot) => speaker.node.set_ballot(now, address, ballot.as_ref()),
                Arrival::Link(link) => speaker.node.set_link(now, link),
                Arrival::Answer(address, mac) => speaker.node.handle_answer(now, address, mac),
                Arrival::Foreign(address, mac) => {
                    if speaker.answers.get(&address) == Some(&Answer::Owned) {
                        speaker.node.handle_foreign(now, address, mac);
                    }
                }
            }
        }
        speaker.node.handle_timeout(now);
        self.act(place);
    }

    fn act(&mut self, place: Place) {
        loop {
            let Some(speaker) = self.machines.get_mut(place).and_then(|machine| machine.speaker.as_mut())
            else {
                return;
            };
            let Some(output) = speaker.node.poll_output() else { break };
            match output {
                Output::Send { to, datagram } => self.send(place, to, &datagram),
                Output::Ask(about) => self.ask(place, about),
                Output::Answer { address, answer } => {
                    speaker.answers.insert(address, answer);
                    if answer == Answer::Owned {
                        self.announce(place, address);
                    }
                }
                Output::Announce(address) => self.announce(place, address),
                Output::Claimed(_) => {}
            }
        }
        self.reschedule(place);
    }

    fn reschedule(&mut self, place: Place) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(place) else { return };
        let Some(speaker) = &mut machine.speaker else { return };
        if speaker.ending.is_some_and(|ending| ending <= now || speaker.node.is_covered()) {
            machine.speaker = None;
            return;
        }
        let next = speaker.node.poll_timeout();
        let wake = next.map(|next| next.max(now + Duration::from_micros(50)));
        if let Some(at) = wake.filter(|at| speaker.wake.is_none_or(|wake| wake <= now || *at < wake)) {
            speaker.wake = Some(at);
            self.schedule(at, Event::Wake(place));
        }
    }

    fn carry(&mut self, from: Place, to: Place) -> Vec<Instant> {
        let off = |place: Place| {
            self.machines
                .get(place)
                .is_some_and(|one| one.carrier == Carrier::Down || one.kernel == Kernel::Off)
        };
        if off(from) || off(to) {
            return Vec::new();
        }
        let now = self.now;
        let path: Path = self.paths.get(from, to);
        path.carry(&mut self.chance).into_iter().map(|time| now + time).collect()
    }

    fn send(&mut self, from: Place, to: IpAddr, datagram: &[u8]) {
        if let Some(sent) = self.sent.get_mut(from) {
            *sent += 1;
        }
        let Some(to) = self.places.get(&to).copied() else { return };
        if self.paths.get(from, to).closed {
            return;
        }
        for at in self.carry(from, to) {
            self.schedule(at, Event::Arrives(to, Arrival::Datagram(datagram.to_vec())));
        }
    }

    fn ask(&mut self, from: Place, about: IpAddr) {
        for at in self.concerned(about).into_iter().filter(|at| *at != from) {
            for time in self.carry(from, at) {
                self.schedule(time, Event::Question { from, at, about });
            }
        }
    }

    fn announce(&mut self, from: Place, address: IpAddr) {
        let Some(mac) = self.machines.get(from).map(|machine| machine.mac) else { return };
        if self.passes(from, self.gateway()) {
            self.learnt.insert(address, mac);
        }
        let told = |to: &Place| *to != from && !self.paths.get(from, *to).unannounced;
        for to in self.concerned(address).into_iter().filter(told).collect::<Vec<_>>() {
            for at in self.carry(from, to) {
                self.schedule(at, Event::Arrives(to, Arrival::Foreign(address, mac)));
            }
        }
    }

    /// Those whose kernels or speakers take note of a frame about an address: the others filter it out.
    fn concerned(&self, address: IpAddr) -> Vec<Place> {
        let has = |machine: &Machine| machine.address == address || machine.ballots.contains_key(&address);
        let machines = self.machines.iter().enumerate().filter(|(_, machine)| has(machine));
        let behind = address == GATEWAY || (address == NEIGHBOUR && self.neighbour == Kernel::Running);
        let gateway = Some(self.gateway()).filter(|_| behind);
        machines.map(|(place, _)| place).chain(gateway).collect()
    }

    fn question(&mut self, from: Place, at: Place, about: IpAddr) {
        let answer = match self.machines.get(at) {
            None if about == GATEWAY => Some(GATEWAYS_MAC),
            None if self.neighbour == Kernel::Running => Some(NEIGHBOURS_MAC),
            None => None,
            Some(machine) if machine.kernel == Kernel::Off => None,
            Some(machine) if machine.address == about => Some(machine.mac),
            Some(machine) => machine.answers_with(about),
        };
        let Some(mac) = answer else { return };
        for time in self.carry(at, from) {
            self.schedule(time, Event::Arrives(from, Arrival::Answer(about, mac)));
        }
    }
}
