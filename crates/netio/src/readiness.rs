use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Lends a non-blocking socket's readiness to the runtime.
#[expect(unsafe_code, reason = "the safe constructors of AsyncFd are deprecated as unsound")]
pub(crate) fn watch<T: AsRawFd + OwnsDescriptor>(socket: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `T` owns its descriptor, so it stays open and the same until the `AsyncFd` drops `T`, after it has
    // deregistered; nothing in this crate takes a socket's descriptor away or replaces it.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// A socket type that keeps the descriptor that it was made with until it is dropped.
pub(crate) trait OwnsDescriptor {}

impl OwnsDescriptor for socket2::Socket {}
impl OwnsDescriptor for rtnetlink::sys::Socket {}
impl OwnsDescriptor for std::net::UdpSocket {}
