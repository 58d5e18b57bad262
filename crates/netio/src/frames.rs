//! ARP, Neighbor Discovery and echo request frames of one interface.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;

use libc::{c_int, sockaddr_ll, socklen_t};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

pub use crate::filter::Filter;
use crate::filter::{LONGEST, Program};
use crate::packet_membership::{self, Beyond};
use crate::{Error, LinkIndex, readiness, socket_option};

/// `linux/if_packet.h`; libc lacks these.
const PACKET_STATISTICS: c_int = 6;
const PACKET_IGNORE_OUTGOING: c_int = 23;

/// EtherTypes.
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Receives and sends whole Ethernet frames of one interface.
///
/// It is two packet sockets, one for each EtherType, so that the interface's IPv4 traffic never meets a filter unless
/// echo requests are listened for. An interface that goes down silences it; when it comes back up, frames come again.
/// One that is deleted silences it for ever.
#[derive(Debug)]
pub struct FrameSocket {
    interface: LinkIndex,
    arp: Source,
    ndp: Source,
    echo: Option<Echo>,
    promiscuous: Option<Socket>,
}

/// Two more sockets, for echo requests.
#[derive(Debug)]
struct Echo {
    ipv4: Source,
    ipv6: Source,
}

/// Whether the interface receives what is for other stations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promiscuity {
    /// It does. Some Wi-Fi adapters deliver broadcast ARP only so.
    On,
    /// Not because of this socket.
    Off,
}

impl FrameSocket {
    /// Opens the interface. No frame that the filter does not pass is ever received, not even one from before.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, and when there is no such interface.
    pub fn open(interface: LinkIndex, filter: &Filter) -> Result<Self, Error> {
        let open = || {
            let arp = Source::open(interface, ARP, Filter::arp_program, filter)?;
            let ndp = Source::open(interface, IPV6, Filter::ndp_program, filter)?;
            Ok(Self { interface, arp, ndp, echo: None, promiscuous: None })
        };
        open().map_err(Error::doing(|| format!("open a packet socket on interface {interface}")))
    }

    /// Replaces the filter, for each kind of frame in one step: no frame that both filters pass is lost. Frames that
    /// were received before stay received.
    ///
    /// # Errors
    /// When the kernel has no memory for even the shortest program; a filter stays that passes no less.
    pub fn set_filter(&self, filter: &Filter) -> Result<(), Error> {
        let replaced = self.sources().try_for_each(|source| source.set_filter(filter));
        replaced.map_err(Error::doing(|| "replace a packet filter"))
    }

    /// Receives echo requests as well, of the addresses of this filter and of those that replace it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn listen_for_echo(&mut self, filter: &Filter) -> Result<(), Error> {
        let open = || {
            let ipv4 = Source::open(self.interface, IPV4, Filter::echo_program, filter)?;
            let ipv6 = Source::open(self.interface, IPV6, Filter::echo_v6_program, filter)?;
            Ok(Echo { ipv4, ipv6 })
        };
        let doing = || format!("open a packet socket for echo requests on interface {}", self.interface);
        self.echo = Some(open().map_err(Error::doing(doing))?);
        Ok(())
    }

    /// Receives no echo requests any more, not even those that came before.
    pub fn ignore_echo(&mut self) {
        self.echo = None;
    }

    /// Lets the interface receive what is for other stations, or ends that. Their frames still have to pass the
    /// filter.
    ///
    /// # Errors
    /// When the process has no descriptor left, and when the interface is gone.
    pub fn set_promiscuity(&mut self, promiscuity: Promiscuity) -> Result<(), Error> {
        self.promiscuous = match promiscuity {
            Promiscuity::Off => None,
            Promiscuity::On if self.promiscuous.is_some() => return Ok(()),
            Promiscuity::On => Some(
                packet_membership::hold(self.interface, Beyond::All)
                    .map_err(Error::doing(|| format!("make interface {} promiscuous", self.interface)))?,
            ),
        };
        Ok(())
    }

    /// The next frame, and its length; what does not fit the buffer is cut off. Cancel safe.
    ///
    /// # Errors
    /// When the kernel gives one other than that the interface is down.
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let echo = self.echo.as_ref();
            let ready = tokio::select! {
                ready = self.arp.readable() => ready,
                ready = self.ndp.readable() => ready,
                ready = readable(echo.map(|echo| &echo.ipv4)) => ready,
                ready = readable(echo.map(|echo| &echo.ipv6)) => ready,
            };
            let mut ready = ready.map_err(Error::doing(|| "wait for a frame"))?;
            match ready.try_io(|socket| socket.get_ref().read(buffer)) {
                Ok(Ok(length)) => return Ok(length),
                Ok(Err(down)) if down.kind() == io::ErrorKind::NetworkDown => {}
                Ok(Err(other)) => return Err(Error::doing(|| "receive a frame")(other)),
                Err(_would_block) => {}
            }
        }
    }

    /// The next frame's length if one is there, as [`Self::receive`] gives it; it does not wait, and asks the kernel
    /// even where the runtime has not heard of a frame yet.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        for source in self.sources() {
            match source.socket.get_ref().read(buffer) {
                Ok(length) => return Ok(Some(length)),
                Err(none) if matches!(none.kind(), ErrorKind::WouldBlock | ErrorKind::NetworkDown) => {}
                Err(other) => return Err(Error::doing(|| "receive a frame")(other)),
            }
        }
        Ok(None)
    }

    /// Sends a whole frame, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the interface's queue is full, `NetworkDown` when it is down.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        let is = |ethertype: u16| frame.get(12..14) == Some(&ethertype.to_be_bytes());
        let source = match &self.echo {
            Some(echo) if is(IPV4) => &echo.ipv4,
            _ if is(IPV6) => &self.ndp,
            _ => &self.arp,
        };
        source.socket.get_ref().send(frame).map(drop).map_err(Error::doing(|| "send a frame"))
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        let echo = self.echo.iter().flat_map(|echo| [&echo.ipv4, &echo.ipv6]);
        [&self.arp, &self.ndp].into_iter().chain(echo)
    }

    /// How many frames passed the filter but found the receive queue full, since this was last asked.
    ///
    /// # Errors
    /// When the kernel does not count.
    pub fn take_dropped(&self) -> Result<u64, Error> {
        let mut dropped = 0;
        for source in self.sources() {
            // struct tpacket_stats: seen, dropped.
            let mut counts = [0u32; 2];
            socket_option::get(source.socket.get_ref(), libc::SOL_PACKET, PACKET_STATISTICS, &mut counts)
                .map_err(Error::doing(|| "read packet statistics"))?;
            let [_, lost] = counts;
            dropped += u64::from(lost);
        }
        Ok(dropped)
    }
}

async fn readable(source: Option<&Source>) -> io::Result<AsyncFdReadyGuard<'_, Socket>> {
    match source {
        Some(source) => source.readable().await,
        None => std::future::pending().await,
    }
}

/// One packet socket, and how its filter is written.
#[derive(Debug)]
struct Source {
    socket: AsyncFd<Socket>,
    program: Program,
}

impl Source {
    /// Protocol 0 receives nothing, so that the filter is in place before the first frame is queued.
    fn open(interface: LinkIndex, ethertype: u16, program: Program, filter: &Filter) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        attach(&socket, program, filter)?;
        socket_option::set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
        bind(&socket, interface, ethertype)?;
        Ok(Self { socket: readiness::watch(socket)?, program })
    }

    fn set_filter(&self, filter: &Filter) -> io::Result<()> {
        attach(self.socket.get_ref(), self.program, filter)
    }

    async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, Socket>> {
        self.socket.readable().await
    }
}

/// The kernel charges a program to the socket's option memory (`net.core.optmem_max`: 20 KiB before Linux 6.7, 128 KiB
/// since), and the one before too until it is replaced. Where both do not fit, the shortest program that passes no
/// less makes room.
fn attach(socket: &Socket, program: Program, filter: &Filter) -> io::Result<()> {
    let attach = |longest| {
        let program: Vec<SockFilter> = program(filter, longest).iter().map(SockFilter::from).collect();
        socket.attach_filter(&program)
    };
    let mut attached = attach(LONGEST);
    let mut longest = LONGEST;
    while is_out_of_memory(&attached) && longest > 0 {
        attach(0)?;
        attached = attach(longest);
        longest /= 4;
    }
    if is_out_of_memory(&attached) { Ok(()) } else { attached }
}

fn is_out_of_memory(attached: &io::Result<()>) -> bool {
    attached.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM))
}

#[expect(unsafe_code, reason = "a system call")]
fn bind(socket: &Socket, interface: LinkIndex, ethertype: u16) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: c_int::try_from(interface.get()).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = socklen_t::try_from(size_of::<sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `address`, which outlives the call; the kernel only reads it.
    let result = unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
