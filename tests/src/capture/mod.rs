//! Packet capture with the kernel's timestamps, and just enough parsing for assertions.

mod arp;
mod ndp;
mod socket;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use arp::{Arp, Operation};
pub(crate) use ndp::{ADVERTISEMENT, ICMPV6, SOLICITATION, SOURCE_LINK_LAYER, TARGET_LINK_LAYER, checksum};
pub use ndp::{Message, Ndp};
pub(crate) use socket::{PacketSocket, Wanted};

use crate::address::Mac;
use crate::host::Host;
use crate::namespace::Namespace;
use crate::wait;

const TYPE_AT: usize = 12;
pub(crate) const HEADER: usize = 14;

/// An Ethernet frame as it passed a device.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// When the kernel saw it, on the wall clock ([`crate::clock::wall`]).
    pub at: Duration,
    /// Whether the host itself sent it.
    pub outgoing: bool,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The Ethernet destination.
    #[must_use]
    pub fn destination(&self) -> Mac {
        self.mac_at(0)
    }

    /// The Ethernet source.
    #[must_use]
    pub fn source(&self) -> Mac {
        self.mac_at(6)
    }

    /// The Ethernet type; zero for a frame that is too short to have one.
    #[must_use]
    pub fn ether_type(&self) -> u16 {
        let bytes = self.bytes.get(TYPE_AT..HEADER).unwrap_or(&[0, 0]);
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// The frame as ARP for IPv4, if it is.
    #[must_use]
    pub fn arp(&self) -> Option<Arp> {
        Arp::parse(self)
    }

    /// The frame as a neighbour solicitation or advertisement, if it is.
    #[must_use]
    pub fn ndp(&self) -> Option<Ndp> {
        Ndp::parse(self)
    }

    fn mac_at(&self, at: usize) -> Mac {
        let bytes = self.bytes.get(at..at + 6);
        bytes.and_then(|bytes| bytes.try_into().ok()).map_or(Mac::ZERO, Mac)
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.source(), self.destination());
        write!(f, "[{:?} {from} > {to} ", self.at)?;
        match (self.arp(), self.ndp()) {
            (Some(arp), _) => write!(f, "{arp:?}]"),
            (_, Some(ndp)) => write!(f, "{ndp:?}]"),
            _ => write!(f, "{:04x}, {} bytes]", self.ether_type(), self.bytes.len()),
        }
    }
}

/// A running capture: both directions of a device, what `wanted` let through. Ends when dropped.
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Captures on a host's device; it sees every frame from the moment this returns.
    #[track_caller]
    pub fn start(host: &Host, device: &str, wanted: impl Fn(&Frame) -> bool + Send + 'static) -> Self {
        Self::start_in(host.namespace(), device, wanted)
    }

    /// [`Self::start`] for ARP and neighbour discovery alone: traffic costs it nothing.
    #[track_caller]
    pub fn of_neighbours(
        host: &Host,
        device: &str,
        wanted: impl Fn(&Frame) -> bool + Send + 'static,
    ) -> Self {
        Self::of_neighbours_in(host.namespace(), device, wanted)
    }

    /// [`Self::of_neighbours`] on a device of any namespace.
    #[track_caller]
    pub fn of_neighbours_in(
        inside: &Namespace,
        device: &str,
        wanted: impl Fn(&Frame) -> bool + Send + 'static,
    ) -> Self {
        Self::on(PacketSocket::open(inside, device, Wanted::Neighbours), wanted)
    }

    /// [`Self::start`] for ARP from or for one address alone, however much else passes.
    #[track_caller]
    pub fn of_arp(host: &Host, device: &str, ip: Ipv4Addr) -> Self {
        Self::on(PacketSocket::open(host.namespace(), device, Wanted::Arp(ip)), |_| true)
    }

    /// Captures on a device of any namespace: a port of the switch.
    #[track_caller]
    pub fn start_in(
        inside: &Namespace,
        device: &str,
        wanted: impl Fn(&Frame) -> bool + Send + 'static,
    ) -> Self {
        Self::on(PacketSocket::open(inside, device, Wanted::Everything), wanted)
    }

    fn on(socket: PacketSocket, wanted: impl Fn(&Frame) -> bool + Send + 'static) -> Self {
        let frames: Arc<Mutex<Vec<Frame>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (kept, told) = (Arc::clone(&frames), Arc::clone(&stop));
        let run = move || {
            while !told.load(Ordering::Relaxed) {
                keep(socket.receive(), &wanted, &kept);
            }
            // Once more after the word to stop: what the kernel has queued was seen before.
            for frame in std::iter::from_fn(|| socket.receive_queued()).take(QUEUED) {
                keep(Some(frame), &wanted, &kept);
            }
        };
        let thread = thread::Builder::new().name("capture".into()).spawn(run).expect("a thread starts");
        Self { frames, stop, thread: Some(thread) }
    }

    /// What was captured so far.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.clone()
    }

    /// Waits until a frame satisfies `wanted`, and gives the first that does.
    #[track_caller]
    pub fn wait_for(&self, what: &str, within: Duration, wanted: impl Fn(&Frame) -> bool) -> Frame {
        wait::eventually(what, within, || {
            let frames = self.frames();
            let found = frames.iter().find(|frame| wanted(frame)).cloned();
            found.ok_or_else(|| format!("{frames:?}"))
        })
    }

    /// Ends the capture.
    #[must_use]
    pub fn stop(mut self) -> Vec<Frame> {
        self.end();
        self.frames()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

/// More frames than the kernel queues.
const QUEUED: usize = 4096;

fn keep(frame: Option<Frame>, wanted: impl Fn(&Frame) -> bool, kept: &Mutex<Vec<Frame>>) {
    if let Some(frame) = frame.filter(wanted) {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
    }
}
