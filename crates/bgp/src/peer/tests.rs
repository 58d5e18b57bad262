use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::*;
use crate::config::Cease;
use crate::ids::{Asn, HoldTime, RouterId};
use crate::wire::tests::messages;
use crate::wire::{Capabilities, Open, RouteRefresh, Subtype};

mod reconnecting;
mod timing;
mod transitions;

const END: LocalEnd = LocalEnd { v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: None, v6_link_local: None };

#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
fn start() -> Instant {
    Instant::now()
}

fn asn(number: u32) -> Asn {
    Asn::parse(number).unwrap()
}

fn id(last: u8) -> RouterId {
    RouterId::parse(Ipv4Addr::new(10, 0, 0, last)).unwrap()
}

fn config(hold: u16) -> PeerConfig {
    PeerConfig {
        local_asn: asn(65001),
        peer_asn: asn(65002),
        router_id: id(1),
        hold_time: HoldTime::parse(hold).unwrap(),
        keepalive_time: None,
        connect_retry_time: Duration::from_secs(120),
        families: BTreeSet::from(Family::ALL),
    }
}

/// A router that agrees to everything.
fn router_open(hold: u16) -> Open {
    let capabilities =
        Capabilities { families: Some(BTreeSet::from(Family::ALL)), route_refresh: true, asn: Some(65002) };
    Open { my_as: 65002, hold_time: HoldTime::parse(hold).unwrap(), router_id: id(2), capabilities }
}

fn route(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn seconds(span: f64) -> Duration {
    Duration::from_secs_f64(span)
}

/// A peer in a world where what it sends is written at once, unless somebody blocks it.
struct Rig {
    peer: Peer,
    now: Instant,
    blocked: bool,
}

impl Rig {
    fn new(config: PeerConfig) -> Self {
        Self::seeded(config, 1)
    }

    fn seeded(config: PeerConfig, seed: u64) -> Self {
        let now = start();
        Self { peer: Peer::new(config, seed, now), now, blocked: false }
    }

    /// Outputs in a few words each: `open`, `keepalive`, `update`, `6/2`, `close`, `dial`, `=State`.
    fn outputs(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Dial => words.push("dial".to_owned()),
                Output::Close(_) => words.push("close".to_owned()),
                Output::Changed(state) => words.push(format!("={state}")),
                Output::Send(role, octets) => {
                    words.extend(messages(&octets).iter().map(|(kind, message)| word(*kind, message)));
                    if !self.blocked {
                        self.peer.handle_sent(self.now, role);
                    }
                }
            }
        }
        words
    }

    fn said(&mut self) -> String {
        self.outputs().join(" ")
    }

    fn hear(&mut self, role: Role, octets: &[u8]) -> String {
        self.peer.handle_bytes(self.now, role, octets);
        self.said()
    }

    /// Advances to the next deadline; gives how long that was and what was said.
    fn wake(&mut self) -> (Duration, String) {
        let at = self.peer.poll_timeout().expect("a deadline");
        let waited = at.saturating_duration_since(self.now);
        self.now = self.now.max(at);
        self.peer.handle_timeout(self.now);
        (waited, self.said())
    }

    fn advance(&mut self, span: Duration) -> String {
        self.now += span;
        self.peer.handle_timeout(self.now);
        self.said()
    }

    fn dial(&mut self) {
        while self.peer.state() != State::Connect {
            self.wake();
        }
    }

    fn dialed(&mut self) {
        self.dial();
        self.peer.handle_dialed(self.now, END);
        self.said();
    }

    fn establish(&mut self, hold: u16) {
        self.dialed();
        self.hear(Role::Dialed, &router_open(hold).emit());
        self.hear(Role::Dialed, &keepalive());
        assert_eq!(self.peer.state(), State::Established);
    }

    /// As a router that dials us, up to its OPEN.
    fn accept(&mut self) -> String {
        assert_eq!(self.peer.handle_accepted(self.now, END), Admission::Taken);
        let opened = self.said();
        format!("{opened} {}", self.hear(Role::Accepted, &router_open(90).emit()))
    }
}

fn word(kind: MessageType, message: &[u8]) -> String {
    match kind {
        MessageType::Open => "open".to_owned(),
        MessageType::Update => "update".to_owned(),
        MessageType::Keepalive => "keepalive".to_owned(),
        MessageType::RouteRefresh => "refresh".to_owned(),
        MessageType::Notification => format!("{}/{}", message[19], message[20]),
    }
}
