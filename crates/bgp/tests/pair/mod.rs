//! Two peers, a network between them, and time that is only counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bgp::{Admission, Asn, Family, HoldTime, LocalEnd, Output, Peer, PeerConfig, Role, RouterId, State};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Which is not this one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// In which pieces octets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// As they were sent.
    Whole,
    /// One at a time.
    Octets,
    /// All of a fiftieth of a second together.
    Coalesced,
}

const TICK: u32 = 20;

type Link = u32;

#[derive(Debug, Clone)]
enum Event {
    /// The dialer's connection is up.
    Dialed(Link),
    /// The other side learns of it.
    Accepted(Link),
    DialFailed(Link),
    Octets(Link, Side, Vec<u8>),
    Flush(Link, Side),
    Closed(Link, Side),
}

/// The world.
#[derive(Debug)]
pub(crate) struct Pair {
    start: Instant,
    now: Duration,
    peers: BTreeMap<Side, Peer>,
    /// Which connection a side knows by a role; a dial that is out counts.
    ends: BTreeMap<(Side, Role), Link>,
    dialers: BTreeMap<Link, Side>,
    inboxes: BTreeMap<(Link, Side), Vec<u8>>,
    events: BTreeMap<(Duration, u64), Event>,
    scheduled: u64,
    /// How long octets travel from this side.
    pub(crate) delays: BTreeMap<Side, Duration>,
    /// How they arrive.
    pub(crate) pieces: Pieces,
    /// Nothing arrives any more.
    pub(crate) cut: bool,
}

/// A configuration; A is 10.0.0.1 in AS 65001, B 10.0.0.2 in AS 65002.
pub(crate) fn config(side: Side, hold: u16) -> PeerConfig {
    let [a, b] = [65001, 65002].map(|number| Asn::parse(number).unwrap());
    let (local_asn, peer_asn, last) = match side {
        Side::A => (a, b, 1),
        Side::B => (b, a, 2),
    };
    PeerConfig {
        local_asn,
        peer_asn,
        router_id: RouterId::parse(Ipv4Addr::new(10, 0, 0, last)).unwrap(),
        hold_time: HoldTime::parse(hold).unwrap(),
        keepalive_time: None,
        connect_retry_time: Duration::from_secs(10),
        families: BTreeSet::from(Family::ALL),
    }
}

fn end() -> LocalEnd {
    LocalEnd {
        v4: Some(Ipv4Addr::new(10, 0, 0, 1)),
        v6: Some("2001:db8::1".parse().unwrap()),
        v6_link_local: None,
    }
}

impl Pair {
    /// Two peers that know each other.
    #[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
    pub(crate) fn new(configs: [PeerConfig; 2], seed: u64) -> Self {
        let start = Instant::now();
        let seeds = [seed.wrapping_mul(2), seed.wrapping_mul(2) + 1];
        let peers = Side::BOTH.into_iter().zip(configs).zip(seeds);
        let peers = peers.map(|((side, config), seed)| (side, Peer::new(config, seed, start))).collect();
        let delays = Side::BOTH.map(|side| (side, Duration::from_millis(1)));
        Self {
            start,
            now: Duration::ZERO,
            peers,
            ends: BTreeMap::new(),
            dialers: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            events: BTreeMap::new(),
            scheduled: 0,
            delays: delays.into(),
            pieces: Pieces::Whole,
            cut: false,
        }
    }

    /// One of the peers.
    pub(crate) fn peer(&self, side: Side) -> &Peer {
        &self.peers[&side]
    }

    /// Does something to a peer, and what it wants done.
    pub(crate) fn with<T>(&mut self, side: Side, act: impl FnOnce(&mut Peer, Instant) -> T) -> T {
        let now = self.start + self.now;
        let outcome = act(self.peers.get_mut(&side).unwrap(), now);
        self.carry_out(side);
        outcome
    }

    /// Both are Established, on the same connection: who dialed it.
    pub(crate) fn session(&self) -> Option<Side> {
        let link = |side: Side| {
            let role = self.peer(side).status().session?.role;
            self.ends.get(&(side, role)).copied()
        };
        let both = Side::BOTH.iter().all(|side| self.peer(*side).state() == State::Established);
        let links = (link(Side::A)?, link(Side::B)?);
        (both && links.0 == links.1).then(|| self.dialers[&links.0])
    }

    /// How many connections there are that somebody knows.
    pub(crate) fn connections(&self) -> usize {
        self.ends.values().collect::<BTreeSet<_>>().len()
    }

    /// Closes every connection as a broken network does.
    pub(crate) fn reset(&mut self) {
        let ends: Vec<_> = self.ends.iter().map(|((side, _), link)| (*side, *link)).collect();
        for (side, link) in ends {
            self.schedule(Duration::ZERO, Event::Closed(link, side));
        }
    }

    /// Lets this much time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
    }

    fn next(&self) -> Option<Duration> {
        let event = self.events.keys().next().map(|(at, _)| *at);
        let timers = self.peers.values().filter_map(Peer::poll_timeout);
        timers.map(|at| at.saturating_duration_since(self.start)).chain(event).min()
    }

    /// What arrives is heard before timers speak.
    fn step(&mut self) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let event = entry.remove();
            self.happen(event);
        }
        for side in Side::BOTH {
            self.with(side, Peer::handle_timeout);
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + after, self.scheduled), event);
    }

    fn role(&self, link: Link, side: Side) -> Role {
        if self.dialers[&link] == side { Role::Dialed } else { Role::Accepted }
    }

    fn knows(&self, link: Link, side: Side) -> bool {
        self.ends.get(&(side, self.role(link, side))) == Some(&link)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Dialed(link) => self.dialed(link),
            Event::DialFailed(link) => self.dial_failed(link),
            Event::Accepted(link) => self.accepted(link),
            Event::Octets(link, side, octets) if !self.cut && self.knows(link, side) => {
                self.arrive(link, side, &octets);
            }
            Event::Flush(link, side) => self.flush(link, side),
            Event::Closed(link, side) if self.knows(link, side) => {
                self.flush(link, side);
                if self.knows(link, side) {
                    let role = self.role(link, side);
                    self.ends.remove(&(side, role));
                    self.with(side, |peer, now| peer.handle_closed(now, role, "reset"));
                }
            }
            Event::Octets(..) | Event::Closed(..) => {}
        }
    }

    fn dial(&mut self, side: Side) {
        let link = Link::try_from(self.dialers.len()).unwrap();
        self.dialers.insert(link, side);
        self.ends.insert((side, Role::Dialed), link);
        let there_and_back = self.delays[&Side::A] + self.delays[&Side::B];
        self.schedule(there_and_back, Event::Dialed(link));
    }

    fn dialed(&mut self, link: Link) {
        let side = self.dialers[&link];
        if self.cut || !self.knows(link, side) {
            return self.schedule(Duration::from_secs(3), Event::DialFailed(link));
        }
        self.schedule(self.delays[&side], Event::Accepted(link));
        self.with(side, |peer, now| peer.handle_dialed(now, end()));
    }

    fn dial_failed(&mut self, link: Link) {
        let side = self.dialers[&link];
        if self.knows(link, side) {
            self.ends.remove(&(side, Role::Dialed));
            self.with(side, |peer, now| peer.handle_dial_failed(now, "no route"));
        }
    }

    fn accepted(&mut self, link: Link) {
        let side = self.dialers[&link].other();
        let before = self.ends.insert((side, Role::Accepted), link);
        let admission = self.with(side, |peer, now| peer.handle_accepted(now, end()));
        match (admission, before) {
            (Admission::Taken, before) => before.into_iter().for_each(|link| self.tell_closed(link, side)),
            (Admission::Refused(octets), before) => {
                match before {
                    Some(before) => self.ends.insert((side, Role::Accepted), before),
                    None => self.ends.remove(&(side, Role::Accepted)),
                };
                let delay = self.delays[&side];
                self.schedule(delay, Event::Octets(link, side.other(), octets));
                self.schedule(delay, Event::Closed(link, side.other()));
            }
        }
    }

    fn tell_closed(&mut self, link: Link, by: Side) {
        self.schedule(self.delays[&by], Event::Closed(link, by.other()));
    }

    fn arrive(&mut self, link: Link, side: Side, octets: &[u8]) {
        match self.pieces {
            Pieces::Whole => self.hear(link, side, octets),
            Pieces::Octets => octets.iter().for_each(|octet| self.hear(link, side, &[*octet])),
            Pieces::Coalesced => {
                self.inboxes.entry((link, side)).or_default().extend(octets);
                let since = u32::try_from(self.now.as_millis() % u128::from(TICK)).unwrap();
                self.schedule(Duration::from_millis((TICK - since).into()), Event::Flush(link, side));
            }
        }
    }

    fn flush(&mut self, link: Link, side: Side) {
        if let Some(octets) = self.inboxes.remove(&(link, side)) {
            self.hear(link, side, &octets);
        }
    }

    fn hear(&mut self, link: Link, side: Side, octets: &[u8]) {
        if self.knows(link, side) {
            let role = self.role(link, side);
            self.with(side, |peer, now| peer.handle_bytes(now, role, octets));
        }
    }

    fn carry_out(&mut self, side: Side) {
        let delay = self.delays[&side];
        let now = self.start + self.now;
        while let Some(output) = self.peers.get_mut(&side).unwrap().poll_output() {
            match output {
                Output::Dial => self.dial(side),
                Output::Changed(_) => {}
                Output::Send(role, octets) => {
                    let link = self.ends[&(side, role)];
                    self.schedule(delay, Event::Octets(link, side.other(), octets));
                    self.peers.get_mut(&side).unwrap().handle_sent(now, role);
                }
                Output::Close(role) => {
                    if let Some(link) = self.ends.remove(&(side, role)) {
                        self.tell_closed(link, side);
                    }
                }
            }
        }
    }
}
