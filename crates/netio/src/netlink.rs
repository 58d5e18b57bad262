//! Subscriptions to what the kernel tells of itself by rtnetlink(7).

use std::io;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::readiness;

/// Longer than what the kernel sends at once: an event is a page at most, a part of a dump 32 KiB.
const LONGEST: usize = 64 * 1024;
/// Each message begins at a multiple of this (`NLMSG_ALIGNTO` of netlink(7)).
const ALIGNMENT: usize = 4;

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

/// All that the kernel has of what is asked for, one by one: no more than a datagram of it is in memory. A socket of its
/// own for each dump: what is left of one that was given up is never taken for the next.
pub(crate) async fn dump(
    what: RouteNetlinkMessage,
    mut take: impl FnMut(RouteNetlinkMessage),
) -> io::Result<()> {
    let socket = subscribe(&[])?;
    socket.get_ref().send_to(&request(what), &SocketAddr::new(0, 0), 0)?;
    loop {
        let datagram = socket.async_io(Interest::READABLE, read).await?;
        for message in messages(&datagram) {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => take(message),
                Ok(NetlinkPayload::Done(_)) => return Ok(()),
                Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a part of a dump could not be decoded"),
            }
        }
    }
}

fn request(what: RouteNetlinkMessage) -> Vec<u8> {
    let mut request = NetlinkMessage::from(what);
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    octets
}

/// The messages of a datagram. It ends where it makes no sense.
fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = NetlinkBuffer::new_checked(rest).ok()?.length();
        let length = usize::try_from(length).ok()?;
        let message = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(message)
    })
}

#[expect(clippy::as_conversions, reason = "the enumeration's only way to its number")]
fn group_number(group: MulticastGroup) -> u32 {
    group as u32
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteMessage;

    use super::*;

    #[test]
    fn octets_that_are_no_messages_end_the_datagram() {
        let cut = |octets: &[u8]| messages(octets).map(<[u8]>::len).collect::<Vec<_>>();
        let request = request(RouteNetlinkMessage::GetRoute(RouteMessage::default()));
        let mut two = request.clone();
        two.extend(&request);
        assert_eq!(cut(&two), [request.len(), request.len()]);
        assert_eq!(cut(&two[..two.len() - 1]), [request.len()]);
        assert_eq!(cut(&[]), [0; 0]);
        assert_eq!(cut(&[0; 64]), [0; 0]);
        assert_eq!(cut(&[0xff; 64]), [0; 0]);
        for length in 0..40 {
            let mut odd = request.clone();
            odd[0] = length;
            // The least message is its header of 16 octets.
            assert!(cut(&odd).iter().all(|found| *found >= 16 && *found <= request.len()), "{length}");
        }
    }
}
