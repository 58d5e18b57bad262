//! One peer, what happens to it, and a record of both.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use bgp::wire::{AsNumbers, Capabilities, Frame, MessageType, Notification, Open, keepalive};
use bgp::{
    Admission, Asn, Family, HoldTime, LocalEnd, Output, Peer, PeerConfig, Role, Route, RouterId, Shutdown,
    State,
};

/// A scenario under way.
pub(crate) struct Script {
    peer: Peer,
    start: Instant,
    now: Duration,
    text: String,
}

/// 10.0.0.1 in this AS, toward this other one.
pub(crate) fn config(local_asn: u32, peer_asn: u32, hold: u16) -> PeerConfig {
    PeerConfig {
        local_asn: Asn::parse(local_asn).unwrap(),
        peer_asn: Asn::parse(peer_asn).unwrap(),
        router_id: RouterId::parse(Ipv4Addr::new(10, 0, 0, 1)).unwrap(),
        hold_time: HoldTime::parse(hold).unwrap(),
        keepalive_time: None,
        connect_retry_time: Duration::from_secs(120),
        families: BTreeSet::from(Family::ALL),
    }
}

/// What a router says first: it can do everything.
pub(crate) fn open(asn: u32, hold: u16, router_id: [u8; 4]) -> Open {
    let capabilities =
        Capabilities { families: Some(BTreeSet::from(Family::ALL)), route_refresh: true, asn: Some(asn) };
    Open {
        my_as: u16::try_from(asn).unwrap_or(23456),
        hold_time: HoldTime::parse(hold).unwrap(),
        router_id: RouterId::parse(router_id.into()).unwrap(),
        capabilities,
    }
}

fn end() -> LocalEnd {
    LocalEnd {
        v4: Some(Ipv4Addr::new(10, 0, 0, 1)),
        v6: Some("2001:db8::1".parse().unwrap()),
        v6_link_local: Some("fe80::1".parse().unwrap()),
    }
}

impl Script {
    #[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
    pub(crate) fn new(about: &str, config: PeerConfig) -> Self {
        let start = Instant::now();
        Self { peer: Peer::new(config, 1, start), start, now: Duration::ZERO, text: format!("# {about}\n") }
    }

    /// Does something, and writes down what comes of it.
    fn step(&mut self, what: &str, act: impl FnOnce(&mut Peer, Instant)) -> &mut Self {
        act(&mut self.peer, self.start + self.now);
        writeln!(self.text, "\n{:.3} {what}", self.now.as_secs_f64()).unwrap();
        while let Some(output) = self.peer.poll_output() {
            self.write_down(output);
        }
        self
    }

    fn write_down(&mut self, output: Output) {
        match output {
            Output::Dial => self.text += "    dial\n",
            Output::Close(role) => writeln!(self.text, "    close {role}").unwrap(),
            Output::Changed(state) => writeln!(self.text, "    state {state}").unwrap(),
            Output::Send(role, octets) => {
                messages(&octets)
                    .for_each(|message| writeln!(self.text, "    send {role} {message}").unwrap());
                self.peer.handle_sent(self.start + self.now, role);
            }
        }
    }

    /// Lets time pass up to the next deadline.
    pub(crate) fn wake(&mut self) -> &mut Self {
        let at = self.peer.poll_timeout().unwrap();
        self.now = self.now.max(at - self.start);
        self.step("wake", Peer::handle_timeout)
    }

    pub(crate) fn wake_until(&mut self, state: State) -> &mut Self {
        while self.peer.state() != state {
            self.wake();
        }
        self
    }

    pub(crate) fn dialed(&mut self) -> &mut Self {
        self.wake_until(State::Connect).step("dialed", |peer, now| peer.handle_dialed(now, end()))
    }

    pub(crate) fn accepted(&mut self) -> &mut Self {
        let mut admission = None;
        self.step("accepted", |peer, now| admission = Some(peer.handle_accepted(now, end())));
        if let Some(Admission::Refused(octets)) = admission {
            self.text += "    refused\n";
            messages(&octets).for_each(|message| writeln!(self.text, "    send it {message}").unwrap());
        }
        self
    }

    pub(crate) fn closed(&mut self, role: Role) -> &mut Self {
        self.step(&format!("closed {role}"), |peer, now| peer.handle_closed(now, role, "reset"))
    }

    pub(crate) fn hear(&mut self, role: Role, octets: &[u8]) -> &mut Self {
        let what: Vec<_> = messages(octets).collect();
        let what = format!("hear {role} {}", what.join(", "));
        self.step(&what, |peer, now| peer.handle_bytes(now, role, octets))
    }

    pub(crate) fn establish(&mut self, open: &Open) -> &mut Self {
        self.dialed().hear(Role::Dialed, &open.emit()).hear(Role::Dialed, &keepalive())
    }

    /// Several routes at once, with a LOCAL_PREF.
    pub(crate) fn announce(&mut self, prefixes: &[&str], local_pref: Option<u32>) -> &mut Self {
        let preference = local_pref.map_or(String::new(), |preference| format!(" preferring {preference}"));
        self.step(&format!("announce {}{preference}", prefixes.join(" ")), |peer, now| {
            for prefix in prefixes {
                peer.announce(now, prefix.parse().unwrap(), Route { local_pref });
            }
        })
    }

    pub(crate) fn withdraw(&mut self, prefixes: &[&str]) -> &mut Self {
        self.step(&format!("withdraw {}", prefixes.join(" ")), |peer, now| {
            prefixes.iter().for_each(|prefix| peer.withdraw(now, prefix.parse().unwrap()));
        })
    }

    pub(crate) fn complete(&mut self) -> &mut Self {
        self.step("complete", Peer::complete)
    }

    pub(crate) fn stop(&mut self, shutdown: &Shutdown) -> &mut Self {
        self.step("stop", |peer, now| peer.stop(now, shutdown))
    }

    /// What the operator is shown.
    pub(crate) fn status(&mut self) -> &mut Self {
        let status = self.peer.status();
        writeln!(self.text, "\n{:.3} status {}", self.now.as_secs_f64(), status.state).unwrap();
        if let Some(session) = &status.session {
            let families: Vec<_> = session.families.iter().map(Family::to_string).collect();
            let width = match session.as_numbers {
                AsNumbers::TwoOctets => "two-octet",
                AsNumbers::FourOctets => "four-octet",
            };
            let hold = session.hold_time.map_or(0, HoldTime::seconds);
            let families = families.join(" ");
            writeln!(
                self.text,
                "    {} with {}, hold {hold} s, {width} AS numbers, {families}",
                session.role, session.router_id
            )
            .unwrap();
        }
        let routes = status.routes;
        writeln!(
            self.text,
            "    routes {} of {} sent, {} withheld",
            routes.sent, routes.wanted, routes.withheld
        )
        .unwrap();
        status
            .last_error
            .iter()
            .for_each(|error| writeln!(self.text, "    last error: {}", error.text).unwrap());
        self
    }

    /// Compares with the file of that name, or writes it if the environment says `REWRITE=1`.
    pub(crate) fn check(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(format!("{name}.txt"));
        if std::env::var_os("REWRITE").is_some_and(|value| value == "1") {
            std::fs::write(&path, &self.text).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.text, recorded, "the transcript {name} differs; REWRITE=1 records it anew");
    }
}

/// Each message by its name and what follows its header.
fn messages(octets: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = octets;
    std::iter::from_fn(move || {
        let frame = Frame::split(rest).unwrap()?;
        rest = &rest[frame.octets.len()..];
        let body = frame.body.iter().fold(String::new(), |text, octet| text + &format!("{octet:02x}"));
        Some(format!("{} {body}", name(&frame)).trim_end().to_owned())
    })
}

fn name(frame: &Frame<'_>) -> String {
    match frame.kind {
        MessageType::Open => "OPEN".to_owned(),
        MessageType::Update => "UPDATE".to_owned(),
        MessageType::Keepalive => "KEEPALIVE".to_owned(),
        MessageType::RouteRefresh => "ROUTE-REFRESH".to_owned(),
        MessageType::Notification => {
            let error = bgp::wire::ErrorCode { code: frame.body[0], subcode: frame.body[1] };
            format!("NOTIFICATION {}", Notification::bare(error))
        }
    }
}
