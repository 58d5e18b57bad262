//! What an interface receives beyond what is for it, for as long as a socket wants it (packet(7)).

use std::io;

use libc::c_int;
use socket2::{Domain, Socket, Type};

use crate::socket_option::PacketMembership;
use crate::{LinkIndex, socket_option};

/// `linux/if_packet.h`; libc lacks these.
const PACKET_ADD_MEMBERSHIP: c_int = 1;
const PACKET_MR_PROMISC: u16 = 1;
const PACKET_MR_ALLMULTI: u16 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// All multicast.
    AllMulticast,
    /// Everything.
    All,
}

/// Makes the interface receive it until the socket is dropped, which itself receives nothing. The kernel counts those
/// who want the same.
pub(crate) fn hold(interface: LinkIndex, beyond: Beyond) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    let interface = c_int::try_from(interface.get()).map_err(io::Error::other)?;
    let kind = match beyond {
        Beyond::AllMulticast => PACKET_MR_ALLMULTI,
        Beyond::All => PACKET_MR_PROMISC,
    };
    let request = PacketMembership { interface, kind, length: 0, address: [0; 8] };
    socket_option::set(&socket, libc::SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request)?;
    Ok(socket)
}
