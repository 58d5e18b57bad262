//! Subscriptions to what the kernel tells of itself by rtnetlink(7).

use std::io;

use rtnetlink::MulticastGroup;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use crate::readiness;

/// Longer than what the kernel sends at once: an event is a page at most, a part of a dump 32 KiB.
const LONGEST: usize = 64 * 1024;

/// A socket that belongs to these groups.
pub(crate) fn subscribe(groups: &[MulticastGroup]) -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(group_number(*group))?;
    }
    readiness::watch(socket)
}

/// What the kernel has sent next.
pub(crate) fn read(socket: &Socket) -> io::Result<Vec<u8>> {
    let mut datagram = Vec::with_capacity(LONGEST);
    socket.recv(&mut datagram, 0).map(|_| datagram)
}

/// Whether the kernel had to drop events. It drops them, without a further word, until [`discard`] was called once; a
/// dump after that misses nothing.
pub(crate) fn is_overflow(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOBUFS)
}

/// Empties the queue.
pub(crate) fn discard(socket: &Socket) {
    let is_empty = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
    while !read(socket).is_err_and(is_empty) {}
}

#[expect(clippy::as_conversions, reason = "the enumeration's only way to its number")]
fn group_number(group: MulticastGroup) -> u32 {
    group as u32
}
