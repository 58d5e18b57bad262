//! A station that belongs to nobody and sends what it likes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::time::ClockId;

use crate::address::{Mac, Network, Place};
use crate::capture::{Frame, HEADER, Message, Operation, PacketSocket, Wanted, checksum};
use crate::clock;
use crate::host::Host;
use crate::namespace::Namespace;
use crate::solicit::{Request, Solicitation, advertisement_frame, arp_frame, ndp_frame};

/// A flood is sent in bursts so far apart.
const BURST: Duration = Duration::from_micros(500);
/// Of so many frames at most.
const MOST: usize = 256;
/// Where things are in an IPv6 frame.
const IPV6_SOURCE: usize = HEADER + 8;
const IPV6_DESTINATION: usize = HEADER + 24;
const ICMPV6_AT: usize = HEADER + 40;
const CHECKSUM: std::ops::Range<usize> = ICMPV6_AT + 2..ICMPV6_AT + 4;

/// It has a place on the segment of its own, and no kernel behind it.
#[derive(Clone, Debug)]
pub struct Stranger {
    inside: Namespace,
    device: String,
}

impl Host {
    /// One that is plugged in where this host is: the switch carries what it sends.
    #[must_use]
    pub fn stranger(&self) -> Stranger {
        Stranger { inside: self.namespace().clone(), device: "eth0".to_owned() }
    }

    /// One at the other end of this host's cable: what it sends reaches the host alone, and no switch judges it before.
    #[must_use]
    pub fn stranger_at_its_port(&self) -> Stranger {
        Stranger { inside: self.switch().clone(), device: self.name().to_owned() }
    }
}

impl Stranger {
    /// Its Ethernet address.
    pub const MAC: Mac = Mac([0x02, 0x66, 0, 0, 0, 0x6e]);

    const PLACE: Place = Place(110);

    /// Its IPv4 address.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        Network::SEGMENT.v4(Self::PLACE)
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        Network::SEGMENT.v6(Self::PLACE)
    }

    /// A well-formed question: a broadcast ARP request, or a multicast neighbour solicitation.
    #[must_use]
    pub fn question(&self, ip: IpAddr) -> Vec<u8> {
        match ip {
            IpAddr::V4(ip) => arp_frame(Self::MAC, self.v4(), ip, Request::Broadcast),
            IpAddr::V6(ip) => ndp_frame(Self::MAC, self.v6(), ip, Solicitation::Multicast),
        }
    }

    /// Says, unasked, that an address is at its MAC.
    #[must_use]
    pub fn claim(&self, ip: IpAddr) -> Vec<u8> {
        match ip {
            IpAddr::V4(ip) => arp_frame(Self::MAC, ip, ip, Request::Broadcast),
            IpAddr::V6(ip) => advertisement_frame(Self::MAC, ip),
        }
    }

    /// A UDP datagram to a host, from whatever address and from that very port.
    #[must_use]
    pub fn datagram(&self, from: Ipv4Addr, to: &Host, port: u16, payload: &[u8]) -> Vec<u8> {
        let length =
            |more: usize| u16::try_from(payload.len() + more).expect("a datagram fits").to_be_bytes();
        let mut header = [&[0x45, 0][..], &length(28), &[0, 0, 0, 0, 64, 17, 0, 0]].concat();
        header.extend(from.octets());
        header.extend(to.v4().octets());
        let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let sum: u32 = words.sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a header has few words");
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let (port, none) = (port.to_be_bytes(), [0, 0]);
        [&to.mac().0, &Self::MAC.0, &[8, 0][..], &header, &port, &port, &length(8), &none, payload].concat()
    }

    /// Sends frames as they are, one after the other.
    #[track_caller]
    pub fn send(&self, frames: &[Vec<u8>]) {
        let socket = PacketSocket::open(&self.inside, &self.device, Wanted::Nothing);
        frames.iter().for_each(|frame| socket.send(frame));
    }

    /// Sends the frames in turn, so many a second, until it is stopped.
    #[track_caller]
    pub fn flood(&self, rate: u32, frames: Vec<Vec<u8>>) -> Flood {
        let socket = PacketSocket::open(&self.inside, &self.device, Wanted::Nothing);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let blow = move || blow(&socket, rate, &frames, &told);
        let thread = thread::Builder::new().name("flood".into()).spawn(blow).expect("a thread starts");
        Flood { stop, thread: Some(thread) }
    }

    /// Answers each question for one of the addresses that it is at its MAC, until that is dropped.
    #[track_caller]
    pub fn answer_for(&self, addresses: &[IpAddr]) -> Impostor {
        let socket = PacketSocket::open(&self.inside, &self.device, Wanted::Neighbours);
        let stop = Arc::new(AtomicBool::new(false));
        let (told, addresses) = (Arc::clone(&stop), addresses.to_vec());
        let run = move || {
            while !told.load(Ordering::Relaxed) {
                let answer = socket.receive().and_then(|frame| answer(&frame, &addresses));
                answer.iter().for_each(|answer| socket.send(answer));
            }
        };
        let thread = thread::Builder::new().name("impostor".into()).spawn(run).expect("a thread starts");
        Impostor { stop, thread: Some(thread) }
    }
}

/// Makes the checksum of an ICMPv6 frame right again.
pub fn seal(frame: &mut [u8]) {
    let address = |at: usize| -> Ipv6Addr {
        let octets: [u8; 16] = frame[at..at + 16].try_into().expect("sixteen octets");
        octets.into()
    };
    let (source, destination) = (address(IPV6_SOURCE), address(IPV6_DESTINATION));
    frame[CHECKSUM].fill(0);
    let sum = checksum(source, destination, &frame[ICMPV6_AT..]);
    frame[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// How many frames.
    pub frames: u64,
    /// For how long.
    pub lasted: Duration,
    /// The sender's own processor time.
    pub processor: Duration,
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, lasted, processor } = self;
        let rate = *frames as f64 / lasted.as_secs_f64();
        write!(f, "{frames} frames, {rate:.0} a second, in {processor:.2?} of the sender's processor time")
    }
}

/// A flood that goes on until it is stopped.
#[must_use = "a flood tells what it was when it is stopped"]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

impl Flood {
    /// Ends it.
    #[must_use]
    pub fn stop(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a flood is stopped once");
        thread.join().expect("a flood does not panic")
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn blow(socket: &PacketSocket, rate: u32, frames: &[Vec<u8>], stop: &AtomicBool) -> Sent {
    let processor = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a thread has a clock"));
    let (start, before) = (clock::now(), processor());
    let mut sent = 0;
    let mut frames = frames.iter().cycle();
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        let due = usize::try_from(due.saturating_sub(sent)).unwrap_or_default();
        for frame in frames.by_ref().take(due.min(MOST)) {
            socket.send(frame);
            sent += 1;
        }
        thread::sleep(BURST);
    }
    Sent { frames: sent, lasted: start.elapsed(), processor: processor().saturating_sub(before) }
}

/// One that answers for what is not its own; it ends when it is dropped.
#[must_use = "an impostor ends when it is dropped"]
pub struct Impostor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What an impostor says to a question for one of the addresses.
fn answer(frame: &Frame, addresses: &[IpAddr]) -> Option<Vec<u8>> {
    let asked = |ip: IpAddr| !frame.outgoing && addresses.contains(&ip);
    if let Some(arp) = frame.arp() {
        let is_question =
            arp.operation == Operation::Request && !arp.is_gratuitous() && asked(arp.target.into());
        let mut reply = arp_frame(Stranger::MAC, arp.target, arp.sender, Request::Unicast(arp.sender_mac));
        reply[HEADER + 7] = 2;
        reply[HEADER + 18..HEADER + 24].copy_from_slice(&arp.sender_mac.0);
        return is_question.then_some(reply);
    }
    let ndp = frame.ndp().filter(|ndp| asked(ndp.target.into()) && !ndp.source.is_unspecified())?;
    let Message::Solicitation { source_mac } = ndp.message else { return None };
    let mut reply = advertisement_frame(Stranger::MAC, ndp.target);
    reply[..6].copy_from_slice(&source_mac.unwrap_or(frame.source()).0);
    reply[IPV6_DESTINATION..IPV6_DESTINATION + 16].copy_from_slice(&ndp.source.octets());
    reply[ICMPV6_AT + 4] = 0x60;
    seal(&mut reply);
    Some(reply)
}
