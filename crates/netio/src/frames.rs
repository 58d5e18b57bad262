//! ARP and Neighbor Discovery frames of one interface.

use std::io::{self, Read};
use std::os::fd::AsRawFd;

use libc::{c_int, sockaddr_ll, socklen_t};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

pub use crate::filter::Filter;
use crate::{Error, LinkIndex, readiness, socket_option};

/// `linux/if_packet.h`; libc lacks these.
const PACKET_STATISTICS: c_int = 6;
const PACKET_IGNORE_OUTGOING: c_int = 23;

/// EtherTypes.
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// Receives and sends whole Ethernet frames of one interface.
///
/// It is two packet sockets, one for each EtherType, so that the interface's IPv4 traffic never meets a filter. An
/// interface that goes down silences it; when it comes back up, frames come again. One that is deleted silences it for
/// ever.
#[derive(Debug)]
pub struct FrameSocket {
    arp: AsyncFd<Socket>,
    ndp: AsyncFd<Socket>,
}

impl FrameSocket {
    /// Opens the interface. No frame that the filter does not pass is ever received, not even one from before.
    ///
    /// # Errors
    /// Without `CAP_NET_RAW`, and when there is no such interface.
    pub fn open(interface: LinkIndex, filter: &Filter) -> Result<Self, Error> {
        let doing = || format!("open a packet socket on interface {interface}");
        let arp = open(interface, ARP, &filter.arp_program()).map_err(Error::doing(doing))?;
        let ndp = open(interface, IPV6, &filter.ndp_program()).map_err(Error::doing(doing))?;
        Ok(Self { arp, ndp })
    }

    /// Replaces the filter, for ARP and for Neighbor Discovery each in one step: no frame that both filters pass is
    /// lost. Frames that were received before stay received.
    ///
    /// # Errors
    /// When the kernel has no memory for it; the filter before stays.
    pub fn set_filter(&self, filter: &Filter) -> Result<(), Error> {
        let doing = || "replace a packet filter";
        self.arp.get_ref().attach_filter(&filter.arp_program()).map_err(Error::doing(doing))?;
        self.ndp.get_ref().attach_filter(&filter.ndp_program()).map_err(Error::doing(doing))
    }

    /// The next frame, and its length; what does not fit the buffer is cut off. Cancel safe.
    ///
    /// # Errors
    /// When the kernel gives one other than that the interface is down.
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let ready = tokio::select! {
                ready = self.arp.readable() => ready,
                ready = self.ndp.readable() => ready,
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

    /// Sends a whole frame, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the interface's queue is full, `NetworkDown` when it is down.
    pub fn send(&self, frame: &[u8]) -> Result<(), Error> {
        let ipv6 = frame.get(12..14) == Some(&IPV6.to_be_bytes());
        let socket = if ipv6 { &self.ndp } else { &self.arp };
        socket.get_ref().send(frame).map(drop).map_err(Error::doing(|| "send a frame"))
    }

    /// How many frames passed the filter but found the receive queue full, since this was last asked.
    ///
    /// # Errors
    /// When the kernel does not count.
    pub fn take_dropped(&self) -> Result<u64, Error> {
        let mut dropped = 0;
        for socket in [&self.arp, &self.ndp] {
            // struct tpacket_stats: seen, dropped.
            let mut counts = [0u32; 2];
            socket_option::get(socket.get_ref(), libc::SOL_PACKET, PACKET_STATISTICS, &mut counts)
                .map_err(Error::doing(|| "read packet statistics"))?;
            let [_, lost] = counts;
            dropped += u64::from(lost);
        }
        Ok(dropped)
    }
}

/// Protocol 0 receives nothing, so that the filter is in place before the first frame is queued.
fn open(interface: LinkIndex, ethertype: u16, filter: &[SockFilter]) -> io::Result<AsyncFd<Socket>> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    socket_option::set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1)?;
    bind(&socket, interface, ethertype)?;
    readiness::watch(socket)
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
