//! The continuity meter: a datagram each millisecond, and who answered which.
//!
//! The other end is [`crate::serve::udp_name`]. A gap runs from the first unanswered datagram to the first
//! answered one after it, so a meter that the machine did not let run for a while does not read as an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::clock;
use crate::host::Host;
use crate::vantage::Vantage;

mod clients;

pub use clients::{Clients, Connections, Held, Seen};

/// The spacing of a flow's datagrams unless told otherwise.
pub const SPACING: Duration = Duration::from_millis(1);
/// A later answer is none.
const ANSWER_BY: Duration = Duration::from_millis(500);

/// A running measurement.
#[must_use = "a probe tells what it saw when it is stopped"]
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Continuity>>,
}

/// Starts a measurement: `flows` source ports (a router's ECMP spreads them), each sending every `spacing`.
#[track_caller]
pub fn probe(from: &Vantage, to: SocketAddr, spacing: Duration, flows: usize) -> Probe {
    let source = from.source_to(to.ip());
    let open = || -> io::Result<Vec<Flow>> { (0..flows).map(|_| Flow::open(source, to)).collect() };
    let flows = from.namespace().enter(open).unwrap_or_else(|error| panic!("probing {to}: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = thread::Builder::new()
        .name("meter".into())
        .spawn(move || measure(flows, spacing, &told))
        .expect("a thread starts");
    Probe { stop, thread: Some(thread) }
}

impl Probe {
    /// Ends the measurement, after waiting for answers that are under way.
    #[must_use]
    pub fn stop(mut self) -> Continuity {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a probe is stopped once");
        thread.join().expect("the meter does not panic")
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Vantage {
    /// Measures with one flow, a datagram each millisecond.
    #[track_caller]
    pub fn probe(&self, to: SocketAddr) -> Probe {
        probe(self, to, SPACING, 1)
    }
}

impl Host {
    /// Measures with one flow, a datagram each millisecond.
    #[track_caller]
    pub fn probe(&self, to: SocketAddr) -> Probe {
        self.vantage().probe(to)
    }
}

/// A run of unanswered datagrams of one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which flow.
    pub flow: usize,
    /// When its first datagram was sent, since the start.
    pub began: Duration,
    /// Until the next answered datagram was sent, or the end.
    pub lasted: Duration,
}

/// Who answered a flow from when on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Which flow.
    pub flow: usize,
    /// The name that the server gave.
    pub owner: String,
    /// When the first datagram that it answered was sent, since the start.
    pub from: Duration,
    /// How many in a row.
    pub answers: u64,
}

/// What a measurement saw.
#[derive(Clone, Debug)]
pub struct Continuity {
    /// When it started.
    pub started: Instant,
    /// Datagrams sent.
    pub sent: u64,
    /// Those not answered within half a second.
    pub lost: u64,
    /// Answers beyond the first to one datagram: two owners at once.
    pub duplicates: u64,
    /// The longest of [`Self::gaps`]; zero when there is none.
    pub longest_gap: Duration,
    /// All gaps, by flow, then time.
    pub gaps: Vec<Gap>,
    /// Who answered, by flow, then time.
    pub reigns: Vec<Reign>,
    /// The slowest answer.
    pub slowest: Duration,
}

impl Continuity {
    /// Everyone who answered.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<&str> {
        let owners = self.reigns.iter().map(|reign| reign.owner.as_str());
        owners.collect()
    }

    /// Who answered each flow last.
    #[must_use]
    pub fn last_owners(&self) -> BTreeMap<usize, &str> {
        let owners = self.reigns.iter();
        owners.map(|reign| (reign.flow, reign.owner.as_str())).collect()
    }
}

impl fmt::Display for Continuity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, lost, duplicates, longest_gap, .. } = self;
        write!(
            f,
            "{lost} of {sent} lost, longest gap {longest_gap:.1?}, {duplicates} answered twice, by {:?}",
            self.owners()
        )
    }
}

struct Datagram {
    at: Instant,
    answer: Option<Answer>,
}

struct Answer {
    after: Duration,
    owner: Arc<str>,
}

struct Flow {
    socket: UdpSocket,
    sent: Vec<Datagram>,
    duplicates: u64,
    owner: Arc<str>,
}

impl Flow {
    fn open(source: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(source)?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Self { socket, sent: Vec::new(), duplicates: 0, owner: "".into() })
    }

    /// A datagram that the kernel refuses (no route, neighbour unreachable) is a lost one.
    fn send(&mut self) {
        let number = u64::try_from(self.sent.len()).expect("a flow has an end");
        let at = clock::now();
        self.socket.send(&number.to_be_bytes()).ok();
        self.sent.push(Datagram { at, answer: None });
    }

    fn receive_all(&mut self) {
        let mut buffer = [0; 512];
        // An ICMP error is reported once and belongs to no datagram: go on until there is nothing.
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.note(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    fn note(&mut self, answer: &[u8]) {
        let now = clock::now();
        let Some((number, name)) = answer.split_first_chunk() else {
            return;
        };
        let number = usize::try_from(u64::from_be_bytes(*number)).unwrap_or(usize::MAX);
        let Some(datagram) = self.sent.get_mut(number) else {
            return;
        };
        let after = now - datagram.at;
        if datagram.answer.is_some() {
            self.duplicates += 1;
        } else if after <= ANSWER_BY {
            if self.owner.as_bytes() != name {
                self.owner = String::from_utf8_lossy(name).into();
            }
            let owner = Arc::clone(&self.owner);
            datagram.answer = Some(Answer { after, owner });
        }
    }

    fn is_complete(&self) -> bool {
        self.sent.iter().all(|datagram| datagram.answer.is_some())
    }
}

fn measure(mut flows: Vec<Flow>, spacing: Duration, stop: &AtomicBool) -> Continuity {
    let started = clock::now();
    let mut next = started;
    while !stop.load(Ordering::Relaxed) {
        for flow in &mut flows {
            flow.send();
        }
        // Ticks that were missed are not made up for: a burst would measure nothing.
        next = (next + spacing).max(clock::now());
        receive_until(&mut flows, next);
    }
    let ended = clock::now();
    while clock::now() < ended + ANSWER_BY && !flows.iter().all(Flow::is_complete) {
        receive_until(&mut flows, clock::now() + Duration::from_millis(10));
    }
    evaluate(&flows, started, ended)
}

fn receive_until(flows: &mut [Flow], deadline: Instant) {
    loop {
        for flow in &mut *flows {
            flow.receive_all();
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return;
        }
        let mut ready: Vec<PollFd<'_>> =
            flows.iter().map(|flow| PollFd::new(flow.socket.as_fd(), PollFlags::POLLIN)).collect();
        ppoll(&mut ready, Some(TimeSpec::from(left)), None).ok();
    }
}

fn evaluate(flows: &[Flow], started: Instant, ended: Instant) -> Continuity {
    let numbered = || flows.iter().enumerate();
    let gaps: Vec<Gap> =
        numbered().flat_map(|(number, flow)| gaps(number, &flow.sent, started, ended)).collect();
    let datagrams = || flows.iter().flat_map(|flow| &flow.sent);
    let count = |wanted: fn(&&Datagram) -> bool| datagrams().filter(wanted).count() as u64;
    let answers = datagrams().filter_map(|datagram| datagram.answer.as_ref());
    Continuity {
        started,
        sent: count(|_| true),
        lost: count(|datagram| datagram.answer.is_none()),
        duplicates: flows.iter().map(|flow| flow.duplicates).sum(),
        longest_gap: gaps.iter().map(|gap| gap.lasted).max().unwrap_or_default(),
        gaps,
        reigns: numbered().flat_map(|(number, flow)| reigns(number, &flow.sent, started)).collect(),
        slowest: answers.map(|answer| answer.after).max().unwrap_or_default(),
    }
}

fn gaps(flow: usize, sent: &[Datagram], started: Instant, ended: Instant) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let runs = sent.chunk_by(|a, b| a.answer.is_some() == b.answer.is_some());
    let mut runs = runs.peekable();
    while let Some(run) = runs.next() {
        if run[0].answer.is_none() {
            let end = runs.peek().map_or(ended, |next| next[0].at);
            gaps.push(Gap {
                flow,
                began: run[0].at - started,
                lasted: end.saturating_duration_since(run[0].at),
            });
        }
    }
    gaps
}

fn reigns(flow: usize, sent: &[Datagram], started: Instant) -> Vec<Reign> {
    let mut reigns: Vec<Reign> = Vec::new();
    for datagram in sent {
        let Some(answer) = &datagram.answer else {
            continue;
        };
        match reigns.last_mut() {
            Some(last) if *last.owner == *answer.owner => last.answers += 1,
            _ => reigns.push(Reign {
                flow,
                owner: answer.owner.to_string(),
                from: datagram.at - started,
                answers: 1,
            }),
        }
    }
    reigns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagrams(started: Instant, answers: &[Option<&str>]) -> Vec<Datagram> {
        let at = |number: usize| started + SPACING * u32::try_from(number).unwrap();
        let sent = answers.iter().enumerate();
        sent.map(|(number, owner)| Datagram {
            at: at(number),
            answer: owner.map(|owner| Answer { after: SPACING, owner: owner.into() }),
        })
        .collect()
    }

    #[test]
    fn a_gap_lasts_until_the_next_answered_datagram_was_sent() {
        let start = clock::now();
        let sent = datagrams(start, &[Some("a"), None, None, Some("a"), None]);
        let ms = Duration::from_millis;
        let expected = [(ms(1), ms(2)), (ms(4), ms(6))].map(|(began, lasted)| Gap { flow: 7, began, lasted });
        assert_eq!(gaps(7, &sent, start, start + ms(10)), expected);
    }

    #[test]
    fn a_loss_does_not_end_a_reign_but_another_name_does() {
        let start = clock::now();
        let sent = datagrams(start, &[Some("a"), None, Some("a"), Some("b"), Some("a")]);
        let found = reigns(0, &sent, start);
        let told: Vec<_> = found.iter().map(|r| (r.owner.as_str(), r.answers)).collect();
        assert_eq!(told, [("a", 2), ("b", 1), ("a", 1)]);
        assert_eq!(found[1].from, Duration::from_millis(3));
    }
}
