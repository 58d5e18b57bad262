//! A scripted BGP peer: it waits for the speakers, keeps their sessions up and notes when it read which route.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bgp::wire::{AsNumbers, Capabilities, Dialect, Frame, MessageType, Neighbour, Open, Update, keepalive};
use bgp::{Family, HoldTime, RouterId};
use ipnetwork::IpNetwork;
use socket2::SockRef;

use crate::{Host, clock, wait};

const PORT: u16 = 179;
/// How soon a thread notices that it was told to stop.
const TICK: Duration = Duration::from_millis(100);
const HOLD_SECONDS: u16 = 90;
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What an UPDATE said of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Announced,
    Withdrawn,
}

/// One prefix of an UPDATE.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// On the wall clock, when the octets had been read.
    pub(super) at: Duration,
    pub(super) from: IpAddr,
    pub(super) prefix: IpNetwork,
    pub(super) word: Word,
}

#[derive(Default)]
struct Notes {
    heard: Vec<Heard>,
    established: BTreeSet<IpAddr>,
}

/// The peer. Its threads end when it is dropped.
pub(super) struct Peer {
    notes: Arc<Mutex<Notes>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Listens on a host, which runs no BGP daemon, as that AS.
    #[track_caller]
    pub(super) fn start(host: &Host, asn: u16) -> Self {
        let at = SocketAddr::new(host.v4().into(), PORT);
        let listener = host.enter(|| TcpListener::bind(at)).unwrap_or_else(|error| panic!("{at}: {error}"));
        SockRef::from(&listener).set_read_timeout(Some(TICK)).expect("a listener takes a timeout");
        let router_id = RouterId::parse(host.v4()).expect("a host has an address");
        let capabilities =
            Capabilities { families: Some(Family::ALL.into()), route_refresh: true, asn: Some(asn.into()) };
        let hold_time = HoldTime::parse(HOLD_SECONDS).expect("a good hold time");
        let open = Open { my_as: asn, hold_time, router_id, capabilities }.emit();
        let (notes, stop) = (Arc::<Mutex<Notes>>::default(), Arc::new(AtomicBool::new(false)));
        let script = Script { open, notes: Arc::clone(&notes), stop: Arc::clone(&stop) };
        let body = move || script.accept(&listener);
        let thread = thread::Builder::new().name("bgp peer".into()).spawn(body).expect("a thread starts");
        Self { notes, stop, thread: Some(thread) }
    }

    /// Waits for so many sessions.
    #[track_caller]
    pub(super) fn wait_sessions(&self, count: usize, within: Duration) {
        wait::eventually(&format!("{count} speakers have a session"), within, || {
            let established = &lock(&self.notes).established;
            if established.len() == count { Ok(()) } else { Err(format!("{established:?}")) }
        });
    }

    /// Forgets what it heard so far.
    pub(super) fn forget(&self) {
        lock(&self.notes).heard.clear();
    }

    /// When each of `count` speakers first said this of the prefix, in order of time, waiting for the last.
    #[track_caller]
    pub(super) fn wait_all(&self, prefix: IpNetwork, word: Word, count: usize) -> Vec<Duration> {
        let what = format!("{prefix} {word:?} by {count} speakers");
        wait::eventually(&what, Duration::from_secs(20), || {
            let notes = lock(&self.notes);
            let mut seen = BTreeSet::new();
            let about = notes.heard.iter().filter(|heard| heard.prefix == prefix && heard.word == word);
            let times: Vec<_> = about.filter(|heard| seen.insert(heard.from)).map(|heard| heard.at).collect();
            if times.len() == count { Ok(times) } else { Err(format!("{:?}", notes.heard)) }
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Script {
    open: Vec<u8>,
    notes: Arc<Mutex<Notes>>,
    stop: Arc<AtomicBool>,
}

impl Script {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn accept(&self, listener: &TcpListener) {
        while !self.stopped() {
            // A time-out is a look at `stop`.
            let Ok((stream, from)) = listener.accept() else { continue };
            let script = self.clone();
            thread::spawn(move || {
                if let Err(error) = script.converse(stream, from.ip()) {
                    eprintln!("  the scripted peer and {from}: {error}");
                }
                lock(&script.notes).established.remove(&from.ip());
            });
        }
    }

    fn converse(&self, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.write_all(&self.open)?;
        let (mut received, mut chunk, mut alive) = (Vec::new(), [0; 4096], clock::now());
        while !self.stopped() {
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => received.extend_from_slice(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
            let at = clock::wall();
            while let Some(frame) = Frame::split(&received).map_err(io::Error::other)? {
                let length = frame.octets.len();
                self.take(at, from, &frame, &mut stream)?;
                received.drain(..length);
            }
            if alive.elapsed() > KEEPALIVE {
                alive = clock::now();
                stream.write_all(&keepalive())?;
            }
        }
        Ok(())
    }

    fn take(&self, at: Duration, from: IpAddr, frame: &Frame<'_>, stream: &mut TcpStream) -> io::Result<()> {
        match frame.kind {
            MessageType::Open => stream.write_all(&keepalive()),
            MessageType::Keepalive => {
                lock(&self.notes).established.insert(from);
                Ok(())
            }
            MessageType::Update => self.note(at, from, frame.body),
            MessageType::Notification => Err(io::Error::other(format!("NOTIFICATION {:?}", frame.body))),
            MessageType::RouteRefresh => Ok(()),
        }
    }

    fn note(&self, at: Duration, from: IpAddr, body: &[u8]) -> io::Result<()> {
        let families = Family::ALL.into();
        let dialect = Dialect { as_numbers: AsNumbers::FourOctets, neighbour: Neighbour::External, families };
        let update = Update::parse(body, &dialect).map_err(io::Error::other)?;
        if let Some(flaw) = update.treat_as_withdraw {
            return Err(io::Error::other(format!("a flawed UPDATE: {flaw:?}")));
        }
        let announced = update.nlri.chain(update.mp_reach.into_iter().flat_map(|reach| reach.nlri));
        let gone = update.withdrawn.chain(update.mp_unreach.into_iter().flat_map(|gone| gone.withdrawn));
        let heard = |word| move |prefix| Heard { at, from, prefix, word };
        let heard = announced.map(heard(Word::Announced)).chain(gone.map(heard(Word::Withdrawn)));
        lock(&self.notes).heard.extend(heard);
        Ok(())
    }
}
