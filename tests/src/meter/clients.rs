//! Three clients of one address at a time, on one thread: datagrams, new connections, and connections that stay.
//!
//! A datagram goes out each millisecond, a new TCP connection is made every ten, and a hundred held ones each ask
//! something every hundred. The other ends are [`crate::serve::udp_name`] and [`crate::serve::http`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use socket2::{Domain, Protocol, Socket, Type};

use super::{ANSWER_BY, Continuity, Flow, SPACING, evaluate};
use crate::clock;
use crate::host::Host;
use crate::vantage::Vantage;

/// Connections held open.
const HELD: u64 = 100;
/// Datagrams to one new connection.
const CONNECTION_EVERY: u64 = 10;
/// A segment that was lost is sent again after 200 ms, or after a second when it was the first. A new connection
/// that is answered before has lost none.
const UNDISTURBED: Duration = Duration::from_millis(180);
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(5);

const TIMER: u64 = 0;
const DATAGRAMS: u64 = 1;
const FIRST_HELD: u64 = 2;
const FIRST_NEW: u64 = FIRST_HELD + HELD;

/// The three, at work.
#[must_use = "clients tell what they saw when they are stopped"]
pub struct Clients {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Seen>>,
}

/// What the three saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// By the datagrams.
    pub datagrams: Continuity,
    /// By the new connections.
    pub connections: Connections,
    /// By those that were held.
    pub held: Held,
}

/// A new connection and one request on it, again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many were tried.
    pub made: u64,
    /// Those refused, reset, or not answered before a lost segment would be sent again.
    pub lost: u64,
    /// Of the lost: refused or reset.
    pub resets: u64,
    /// From the start of a lost one to the start of the next that was not; zero when none was lost.
    pub longest_gap: Duration,
}

/// Connections that were there before, each with a request under way much of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many there were to be at the start.
    pub open: u64,
    /// Requests on them.
    pub asked: u64,
    /// Connections that were reset, closed, or refused at the start.
    pub resets: u64,
    /// Connections that waited so long for an answer that a segment was lost, or that had none at the end.
    pub delayed: u64,
    /// Connections without an answer at the end.
    pub stalled: u64,
    /// The longest wait for an answer, also for one that did not come. A segment that is lost costs 200 ms.
    pub longest_wait: Duration,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { datagrams, connections: new, held } = self;
        write!(
            f,
            "datagrams: {datagrams}; new connections: {} of {} lost, {} reset, longest gap {:.1?}; held: {} of {} \
             reset, {} delayed, {} stalled, longest wait {:.1?}",
            new.lost,
            new.made,
            new.resets,
            new.longest_gap,
            held.resets,
            held.open,
            held.delayed,
            held.stalled,
            held.longest_wait
        )
    }
}

impl Host {
    /// All three clients at work on an address; returns when each connection that is to be held stands or was
    /// refused.
    #[track_caller]
    pub fn clients(&self, to: SocketAddr) -> Clients {
        clients(&self.vantage(), to)
    }
}

#[track_caller]
fn clients(from: &Vantage, to: SocketAddr) -> Clients {
    let from = from.clone();
    let inside = from.namespace().clone();
    let at_work =
        inside.enter(|| AtWork::open(&from, to)).unwrap_or_else(|error| panic!("clients of {to}: {error}"));
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = inside.thread("clients", move || at_work.run(&told));
    Clients { stop, thread: Some(thread) }
}

impl Clients {
    /// Ends it, after waiting for answers that are under way.
    #[must_use]
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("clients are stopped once");
        thread.join().expect("clients do not panic")
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct AtWork {
    from: SocketAddr,
    to: SocketAddr,
    ready: Epoll,
    timer: TimerFd,
    datagrams: Flow,
    /// Those under way, by their place among the attempts.
    under_way: BTreeMap<u64, New>,
    attempts: Vec<Attempt>,
    held: Vec<Holding>,
    turn: u64,
}

/// A new connection under way.
struct New {
    stream: TcpStream,
    asked: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    NotYet,
    Yes,
}

#[derive(Clone, Copy)]
struct Attempt {
    at: Instant,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Answered(Duration),
    Refused,
}

/// A connection that is held.
struct Holding {
    stream: Option<TcpStream>,
    waits_since: Option<Instant>,
    longest: Duration,
    asked: u64,
}

fn request(to: SocketAddr, connection: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {to}\r\nConnection: {connection}\r\n\r\n")
}

impl AtWork {
    fn open(from: &Vantage, to: SocketAddr) -> io::Result<Self> {
        let from = from.source_to(to.ip());
        let datagrams = Flow::open(from, to)?;
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        ready.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        ready.add(&datagrams.socket, EpollEvent::new(EpollFlags::EPOLLIN, DATAGRAMS))?;
        let mut held = Vec::new();
        for number in 0..HELD {
            // One that is refused is one that was reset.
            let stream = established(from, to).ok();
            if let Some(stream) = &stream {
                ready.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, FIRST_HELD + number))?;
            }
            held.push(Holding { stream, waits_since: None, longest: Duration::ZERO, asked: 0 });
        }
        let (under_way, attempts) = (BTreeMap::new(), Vec::new());
        Ok(Self { from, to, ready, timer, datagrams, under_way, attempts, held, turn: 0 })
    }

    fn run(mut self, stop: &AtomicBool) -> Seen {
        let started = clock::now();
        let every = Expiration::Interval(SPACING.into());
        self.timer.set(every, TimerSetTimeFlags::empty()).expect("a timer can be set");
        while !stop.load(Ordering::Relaxed) {
            self.turn_once(Sends::More);
        }
        let ended = clock::now();
        while clock::now() < ended + ANSWER_BY && !self.is_complete() {
            self.turn_once(Sends::Nothing);
        }
        self.evaluate(started, ended)
    }

    fn turn_once(&mut self, sends: Sends) {
        let mut events = [EpollEvent::empty(); 64];
        let patience = EpollTimeout::from(10_u8);
        let count = self.ready.wait(&mut events, patience).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                TIMER => self.tick(sends),
                DATAGRAMS => self.datagrams.receive_all(),
                held @ FIRST_HELD..FIRST_NEW => self.hear_held(held - FIRST_HELD),
                new => self.hear_new(new - FIRST_NEW, event.events()),
            }
        }
    }

    /// Ticks that were missed are not made up for: a burst would measure nothing.
    fn tick(&mut self, sends: Sends) {
        self.timer.wait().ok();
        if matches!(sends, Sends::Nothing) {
            return;
        }
        self.datagrams.send();
        if self.turn.is_multiple_of(CONNECTION_EVERY) {
            self.give_up_late_ones();
            self.connect();
        }
        let request = request(self.to, "keep-alive");
        let number = self.turn % HELD;
        self.held[place(number)].ask(&request);
        self.turn += 1;
    }

    fn connect(&mut self) {
        let number = self.attempts.len() as u64;
        self.attempts.push(Attempt { at: clock::now(), fate: Fate::Unknown });
        let begun = begin(self.from, self.to).and_then(|stream| {
            self.ready.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, FIRST_NEW + number))?;
            Ok(stream)
        });
        match begun {
            Ok(stream) => {
                self.under_way.insert(number, New { stream, asked: Asked::NotYet });
            }
            Err(_) => self.settle(number, Fate::Refused),
        }
    }

    fn give_up_late_ones(&mut self) {
        let now = clock::now();
        while let Some((number, _)) = self.under_way.first_key_value() {
            if now < self.attempts[place(*number)].at + ANSWER_BY {
                return;
            }
            self.under_way.pop_first();
        }
    }

    fn settle(&mut self, number: u64, fate: Fate) {
        self.under_way.remove(&number);
        self.attempts[place(number)].fate = fate;
    }

    fn hear_new(&mut self, number: u64, events: EpollFlags) {
        let Some(new) = self.under_way.get_mut(&number) else { return };
        let refused = events.contains(EpollFlags::EPOLLERR);
        match new.asked {
            _ if refused => self.settle(number, Fate::Refused),
            Asked::NotYet => self.ask_new(number),
            Asked::Yes => self.read_new(number),
        }
    }

    fn ask_new(&mut self, number: u64) {
        let request = request(self.to, "close");
        let Some(new) = self.under_way.get_mut(&number) else { return };
        new.asked = Asked::Yes;
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN, FIRST_NEW + number);
        let asked = new.stream.write_all(request.as_bytes());
        let asked = asked.and_then(|()| Ok(self.ready.modify(&new.stream, &mut event)?));
        if asked.is_err() {
            self.settle(number, Fate::Refused);
        }
    }

    fn read_new(&mut self, number: u64) {
        let Some(new) = self.under_way.get_mut(&number) else { return };
        let mut answer = [0; 512];
        let fate = match new.stream.read(&mut answer) {
            Ok(length) if answer[..length].starts_with(b"HTTP/1.1 200") => {
                Fate::Answered(self.attempts[place(number)].at.elapsed())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => Fate::Refused,
        };
        self.settle(number, fate);
    }

    fn hear_held(&mut self, number: u64) {
        self.held[place(number)].hear();
    }

    fn is_complete(&self) -> bool {
        let waits = |held: &Holding| held.waits_since.is_some();
        self.datagrams.is_complete() && self.under_way.is_empty() && !self.held.iter().any(waits)
    }

    fn evaluate(self, started: Instant, ended: Instant) -> Seen {
        let connections = connections(&self.attempts, ended);
        let held = held(&self.held);
        Seen { datagrams: evaluate(&[self.datagrams], started, ended), connections, held }
    }
}

#[derive(Clone, Copy)]
enum Sends {
    More,
    Nothing,
}

impl Holding {
    /// One request at a time: what waits is not asked again.
    fn ask(&mut self, request: &str) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.waits_since.is_none()) else { return };
        self.waits_since = Some(clock::now());
        self.asked += 1;
        if stream.write_all(request.as_bytes()).is_err() {
            self.end();
        }
    }

    fn hear(&mut self) {
        let mut answer = [0; 1024];
        let Some(stream) = self.stream.as_mut() else { return };
        match stream.read(&mut answer) {
            Ok(0) => self.end(),
            Ok(_) => self.note(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.end(),
        }
    }

    fn note(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.longest = self.longest.max(since.elapsed());
        }
    }

    fn end(&mut self) {
        self.note();
        self.stream = None;
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("a measurement has an end")
}

fn begin(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if !from.ip().is_unspecified() {
        socket.bind(&from.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(socket.into()),
    }
}

fn established(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), ESTABLISHED_WITHIN)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn connections(attempts: &[Attempt], ended: Instant) -> Connections {
    let undisturbed =
        |attempt: &Attempt| matches!(attempt.fate, Fate::Answered(after) if after < UNDISTURBED);
    let runs = attempts.chunk_by(|a, b| undisturbed(a) == undisturbed(b));
    let mut runs = runs.peekable();
    let (mut lost, mut longest_gap) = (0, Duration::ZERO);
    while let Some(run) = runs.next() {
        if undisturbed(&run[0]) {
            continue;
        }
        lost += run.len() as u64;
        let end = runs.peek().map_or(ended, |next| next[0].at);
        longest_gap = longest_gap.max(end.saturating_duration_since(run[0].at));
    }
    let resets = attempts.iter().filter(|attempt| attempt.fate == Fate::Refused).count() as u64;
    Connections { made: attempts.len() as u64, lost, resets, longest_gap }
}

fn held(held: &[Holding]) -> Held {
    let waits = |holding: &Holding| holding.waits_since.map(|since| since.elapsed());
    let longest = held.iter().map(|holding| holding.longest.max(waits(holding).unwrap_or_default()));
    Held {
        open: held.len() as u64,
        asked: held.iter().map(|holding| holding.asked).sum(),
        resets: held.iter().filter(|holding| holding.stream.is_none()).count() as u64,
        delayed: held
            .iter()
            .filter(|holding| holding.longest.max(waits(holding).unwrap_or_default()) >= UNDISTURBED)
            .count() as u64,
        stalled: held.iter().filter(|holding| waits(holding).is_some()).count() as u64,
        longest_wait: longest.max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_had_to_send_again_is_a_lost_one() {
        let start = clock::now();
        let ms = Duration::from_millis;
        let fates = [
            Fate::Answered(ms(1)),
            Fate::Answered(ms(205)),
            Fate::Refused,
            Fate::Unknown,
            Fate::Answered(ms(2)),
            Fate::Refused,
        ];
        let attempts: Vec<_> =
            (0..).zip(fates).map(|(number, fate)| Attempt { at: start + ms(10) * number, fate }).collect();
        let seen = connections(&attempts, start + ms(55));
        assert_eq!(seen, Connections { made: 6, lost: 4, resets: 2, longest_gap: ms(30) });
    }
}
