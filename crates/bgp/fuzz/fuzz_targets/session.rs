//! Any sequence of things that can happen to a peer, octets of its neighbour among them.
//!
//! The input is a list of steps: an octet that says what happens, then an octet of argument; octets that arrive
//! follow as many as the argument says.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bgp::wire::{Capabilities, Frame, Open, keepalive};
use bgp::{
    Admission, Asn, Family, HoldTime, LocalEnd, Output, Peer, PeerConfig, Role, Route, RouterId, Shutdown,
    State,
};
use ipnetwork::IpNetwork;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut rest = input;
    while let Some(([step, argument], tail)) = rest.split_first_chunk() {
        rest = world.step(*step, *argument, tail);
        world.carry_out();
    }
});

struct World {
    peer: Peer,
    now: Instant,
    unsent: [usize; 2],
}

fn config() -> PeerConfig {
    PeerConfig {
        local_asn: Asn::parse(65001).expect("an AS number"),
        peer_asn: Asn::parse(65002).expect("an AS number"),
        router_id: RouterId::parse(Ipv4Addr::new(10, 0, 0, 1)).expect("a router id"),
        hold_time: HoldTime::parse(9).expect("a hold time"),
        keepalive_time: None,
        connect_retry_time: Duration::from_secs(30),
        families: BTreeSet::from(Family::ALL),
    }
}

fn router_open(last: u8) -> Vec<u8> {
    let capabilities =
        Capabilities { families: Some(BTreeSet::from(Family::ALL)), route_refresh: true, asn: Some(65002) };
    let router_id = RouterId::parse(Ipv4Addr::new(10, 0, 0, last)).expect("a router id");
    let hold_time = HoldTime::parse(9).expect("a hold time");
    Open { my_as: 65002, hold_time, router_id, capabilities }.emit()
}

fn prefix(index: u8) -> IpNetwork {
    let text =
        if index % 2 == 0 { format!("192.0.2.{index}/32") } else { format!("2001:db8::{index:x}/128") };
    text.parse().expect("a prefix")
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self { peer: Peer::new(config(), 1, now), now, unsent: [0; 2] }
    }

    fn step<'a>(&mut self, step: u8, argument: u8, tail: &'a [u8]) -> &'a [u8] {
        let now = self.now;
        let role = if step & 0x80 == 0 { Role::Dialed } else { Role::Accepted };
        match step & 0x0f {
            0 => {
                self.now = self.peer.poll_timeout().map_or(now, |at| now.max(at));
                self.peer.handle_timeout(self.now);
            }
            1 => {
                self.now += Duration::from_millis(100 * u64::from(argument));
                self.peer.handle_timeout(self.now);
            }
            2 => self.peer.handle_dialed(now, end()),
            3 => self.peer.handle_dial_failed(now, "refused"),
            4 => self.accepted(),
            5 => self.peer.handle_closed(now, role, "reset"),
            6 => self.peer.announce(now, prefix(argument % 16), Route { local_pref: Some(argument.into()) }),
            7 => self.peer.withdraw(now, prefix(argument % 16)),
            8 => self.peer.complete(now),
            9 => self.peer.handle_bytes(now, role, &router_open(argument)),
            10 => self.peer.handle_bytes(now, role, &keepalive()),
            11 => self.sent(role),
            12 if argument == 0 => self.peer.stop(now, &Shutdown::Silent),
            _ => {
                let (octets, tail) = tail.split_at(tail.len().min(argument.into()));
                self.peer.handle_bytes(now, role, octets);
                return tail;
            }
        }
        tail
    }

    fn accepted(&mut self) {
        if self.peer.handle_accepted(self.now, end()) == Admission::Taken {
            self.unsent[Role::Accepted as usize] = 0;
        }
    }

    fn sent(&mut self, role: Role) {
        let unsent = &mut self.unsent[role as usize];
        if *unsent > 0 {
            *unsent -= 1;
            self.peer.handle_sent(self.now, role);
        }
    }

    /// What is put out is whole messages, few of them wait, and a table never says more than is wanted.
    fn carry_out(&mut self) {
        for _ in 0..100 {
            let Some(output) = self.peer.poll_output() else { return self.check() };
            match output {
                Output::Send(role, octets) => {
                    let mut rest = octets.as_slice();
                    while let Some(frame) = Frame::split(rest).expect("good messages") {
                        rest = &rest[frame.octets.len()..];
                    }
                    assert!(rest.is_empty());
                    self.unsent[role as usize] += 1;
                    assert!(self.unsent[role as usize] < 8, "a backlog");
                }
                Output::Close(role) => self.unsent[role as usize] = 0,
                Output::Changed(State::Idle | State::Active | State::Connect) => self.unsent = [0; 2],
                Output::Dial => assert_ne!(self.peer.state(), State::Established),
                Output::Changed(_) => {}
            }
        }
        panic!("there is no end to the outputs");
    }

    fn check(&self) {
        let status = self.peer.status();
        assert_eq!(status.session.is_some(), status.state == State::Established);
        assert!(status.routes.wanted <= 16 && status.routes.sent <= 16 && status.routes.pending <= 16);
    }
}

fn end() -> LocalEnd {
    LocalEnd { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: "2001:db8::1".parse().ok(), v6_link_local: None }
}
