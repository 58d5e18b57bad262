//! UDP on one interface: datagrams that neither leave by another nor come from one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::{Error, LinkIndex, readiness, socket_option};

/// DSCP CS6, network control (RFC 4594 §3.2), as the octet that carries it.
const NETWORK_CONTROL: u32 = 48 << 2;
/// The highest that needs no privilege: the first band of the interface's queue.
const PRIORITY: c_int = 6;

/// Receives and sends datagrams on one interface and one port, for IPv4 and IPv6 as far as the kernel has them.
///
/// An interface that is not there, or is deleted, is only noticed by what is sent; nothing is ever heard.
#[derive(Debug)]
pub struct DatagramSocket {
    interface: LinkIndex,
    port: u16,
    ipv4: Option<AsyncFd<UdpSocket>>,
    ipv6: Option<AsyncFd<UdpSocket>>,
}

impl DatagramSocket {
    /// Opens the port on the interface. A socket of an earlier process may still be open there; from now on this one
    /// gets the datagrams. A family that the kernel lacks is left out.
    ///
    /// # Errors
    /// When another program has the port for itself ([`io::ErrorKind::AddrInUse`]).
    pub fn open(interface: LinkIndex, port: u16) -> Result<Self, Error> {
        let doing = || format!("open UDP port {port} on interface {interface}");
        let ipv4 = if_supported(open(interface, Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into()));
        let ipv6 = if_supported(open(interface, Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()));
        let (ipv4, ipv6) = (ipv4.map_err(Error::doing(doing))?, ipv6.map_err(Error::doing(doing))?);
        Ok(Self { interface, port, ipv4, ipv6 })
    }

    /// Sends a datagram to the same port of another station, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the interface's queue is full, `NetworkUnreachable` without a usable source address,
    /// `NetworkDown` when the interface is down, `Unsupported` for a family that the kernel lacks.
    pub fn send(&self, to: IpAddr, datagram: &[u8]) -> Result<(), Error> {
        let (socket, to) = match to {
            IpAddr::V4(to) => (&self.ipv4, SocketAddr::from((to, self.port))),
            // Only a link-local destination has use for the scope.
            IpAddr::V6(to) => (&self.ipv6, SocketAddrV6::new(to, self.port, 0, self.interface.get()).into()),
        };
        let sent = match socket {
            Some(socket) => socket.get_ref().send_to(datagram, to).map(drop),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        sent.map_err(Error::doing(|| "send a datagram"))
    }

    /// The next datagram: its length, and who sent it. What does not fit the buffer is cut off. Cancel safe.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<(usize, IpAddr), Error> {
        loop {
            let ready = tokio::select! {
                ready = readable(self.ipv4.as_ref()) => ready,
                ready = readable(self.ipv6.as_ref()) => ready,
            };
            let mut ready = ready.map_err(Error::doing(|| "wait for a datagram"))?;
            if let Ok(received) = ready.try_io(|socket| socket.get_ref().recv_from(buffer)) {
                let (length, from) = received.map_err(Error::doing(|| "receive a datagram"))?;
                return Ok((length, from.ip()));
            }
        }
    }

    /// The next datagram if one is there, as [`Self::receive`] gives it; it does not wait, and asks the kernel even
    /// where the runtime has not heard of a datagram yet.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<(usize, IpAddr)>, Error> {
        for socket in [&self.ipv4, &self.ipv6].into_iter().flatten() {
            match socket.get_ref().recv_from(buffer) {
                Ok((length, from)) => return Ok(Some((length, from.ip()))),
                Err(none) if none.kind() == io::ErrorKind::WouldBlock => {}
                Err(other) => return Err(Error::doing(|| "receive a datagram")(other)),
            }
        }
        Ok(None)
    }
}

async fn readable(
    socket: Option<&AsyncFd<UdpSocket>>,
) -> io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, UdpSocket>> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

fn open(interface: LinkIndex, family: Domain, address: SocketAddr) -> io::Result<AsyncFd<UdpSocket>> {
    let socket = Socket::new(family, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if family == Domain::IPV6 {
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(NETWORK_CONTROL)?;
    } else {
        socket.set_tos_v4(NETWORK_CONTROL)?;
    }
    // After the class, from which the kernel derives a priority of its own.
    socket_option::set(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, &PRIORITY)?;
    // Not SO_REUSEPORT, which would share the datagrams out between an old process and a new one.
    socket.set_reuse_address(true)?;
    let index = c_int::try_from(interface.get()).map_err(io::Error::other)?;
    // By index, because the name may have gone to another interface meanwhile.
    socket_option::set(&socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &index)?;
    socket.bind(&address.into())?;
    readiness::watch(socket.into())
}

/// `None` for a family that the kernel was built or started without.
fn if_supported<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
