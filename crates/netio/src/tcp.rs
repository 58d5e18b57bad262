//! TCP for BGP: connections with a chosen source, hop limit and class, and listeners.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU8;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::Error;

/// DSCP CS6, network control (RFC 4594 §3.2), as the octet that carries it.
const NETWORK_CONTROL: u32 = 48 << 2;
const BACKLOG: i32 = 128;

/// The IPv4 TTL or IPv6 hop limit of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HopLimit(NonZeroU8);

impl HopLimit {
    /// For an external peer on the same segment: it cannot be reached over a router.
    pub const DIRECT: Self = Self(NonZeroU8::MIN);
    /// For a peer any number of hops away, or one that insists on 255 (RFC 5082).
    pub const MULTIHOP: Self = Self(NonZeroU8::MAX);

    /// That many hops.
    pub const fn new(hops: NonZeroU8) -> Self {
        Self(hops)
    }
}

/// What a connection is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How far its packets may go.
    pub hop_limit: HopLimit,
    /// For how long sent data may stay unacknowledged until the connection is given up (`TCP_USER_TIMEOUT`), in
    /// whole milliseconds; zero is the system's default.
    pub user_timeout: Duration,
}

/// Connects, from the source address if one is given. The scope of a link-local source is that of the peer. Cancel
/// safe: dropping it abandons the attempt. It lasts as long as the kernel tries, so the caller has a time-out.
///
/// # Errors
/// When the source is not an address of this node (`AddrNotAvailable`), and what connecting may meet.
pub async fn dial(peer: SocketAddr, source: Option<IpAddr>, options: &Options) -> Result<TcpStream, Error> {
    let socket = dialing_socket(peer, source, options).map_err(Error::doing(|| match source {
        Some(source) => format!("prepare a connection from {source} to {peer}"),
        None => format!("prepare a connection to {peer}"),
    }))?;
    socket.connect(peer).await.map_err(Error::doing(|| format!("connect to {peer}")))
}

/// Makes an accepted connection like a dialled one. It is already without delay and of class CS6.
///
/// # Errors
/// When the connection has ended.
pub fn set_options(stream: &TcpStream, options: &Options) -> Result<(), Error> {
    let set = |stream: &TcpStream| apply(&SockRef::from(stream), family(stream.local_addr()?), options);
    set(stream).map_err(Error::doing(|| "set options of a connection"))
}

/// Takes connections at one address.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens; an IPv6 address does not stand for IPv4 ones.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when another process listens there, [`io::ErrorKind::PermissionDenied`] for a
    /// port below 1024 without `CAP_NET_BIND_SERVICE`.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let listener = listening_socket(address).and_then(|socket| TcpListener::from_std(socket.into()));
        listener.map(Self).map_err(Error::doing(|| format!("listen on {address}")))
    }

    /// The address, with the port that the kernel chose if none was asked for.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.0.local_addr().map_err(Error::doing(|| "read a listener's address"))
    }

    /// The next connection. Cancel safe.
    ///
    /// # Errors
    /// When a connection ended before it was taken, or the process has no descriptor left: the listener goes on.
    pub async fn accept(&self) -> Result<TcpStream, Error> {
        let accepted = self.0.accept().await.and_then(|(stream, _)| {
            classify(&SockRef::from(&stream), family(stream.local_addr()?))?;
            Ok(stream)
        });
        accepted.map_err(Error::doing(|| "accept a connection"))
    }
}

fn dialing_socket(peer: SocketAddr, source: Option<IpAddr>, options: &Options) -> io::Result<TcpSocket> {
    let family = family(peer);
    let socket = Socket::new(family, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    classify(&socket, family)?;
    apply(&socket, family, options)?;
    if let Some(source) = source {
        socket.bind(&with_scope(source, peer).into())?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

fn listening_socket(address: SocketAddr) -> io::Result<Socket> {
    let family = family(address);
    let socket = Socket::new(family, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Else a restart within a minute of the last connection cannot listen.
    socket.set_reuse_address(true)?;
    classify(&socket, family)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn classify(socket: &Socket, family: Domain) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if family == Domain::IPV6 {
        socket.set_tclass_v6(NETWORK_CONTROL)
    } else {
        socket.set_tos_v4(NETWORK_CONTROL)
    }
}

fn apply(socket: &Socket, family: Domain, options: &Options) -> io::Result<()> {
    let hops = u32::from(options.hop_limit.0.get());
    if family == Domain::IPV6 {
        socket.set_unicast_hops_v6(hops)?;
    } else {
        socket.set_ttl_v4(hops)?;
    }
    socket.set_tcp_user_timeout(Some(options.user_timeout))
}

fn family(address: SocketAddr) -> Domain {
    Domain::for_address(address)
}

fn with_scope(source: IpAddr, peer: SocketAddr) -> SocketAddr {
    match (source, peer) {
        (IpAddr::V6(source), SocketAddr::V6(peer)) => SocketAddrV6::new(source, 0, 0, peer.scope_id()).into(),
        (IpAddr::V6(source), SocketAddr::V4(_)) => SocketAddrV6::new(source, 0, 0, 0).into(),
        (IpAddr::V4(source), _) => SocketAddrV4::new(source, 0).into(),
    }
}

#[cfg(test)]
mod tests;
