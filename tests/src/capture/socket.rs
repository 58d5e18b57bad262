//! A raw packet socket on one device.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::libc::PACKET_OUTGOING;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};

use super::Frame;
use crate::namespace::Namespace;

const QUEUE: usize = 16 << 20;
const LARGEST_FRAME: usize = 65_536;
/// How soon a reader notices that it was told to stop.
const TICK_MS: i64 = 20;

/// Sends and receives whole Ethernet frames on one device.
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    device: usize,
}

impl PacketSocket {
    #[track_caller]
    pub(crate) fn open(inside: &Namespace, device: &str) -> Self {
        inside
            .enter(|| Self::open_here(device))
            .unwrap_or_else(|error| panic!("capturing on {device} of {}: {error}", inside.name()))
    }

    fn open_here(device: &str) -> nix::Result<Self> {
        let link = link(device)?.ok_or(nix::Error::ENODEV)?;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(TICK_MS))?;
        // Without the right to go beyond the limit, the limit will do.
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &QUEUE))?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self { socket, device: link.ifindex() })
    }

    /// The next frame; none when a moment passes without any.
    pub(crate) fn receive(&self) -> Option<Frame> {
        let mut bytes = vec![0; LARGEST_FRAME];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut control = nix::cmsg_space!(TimeSpec);
        let message =
            recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
        let message = message.ok()?;
        let from = message.address?;
        let stamp = message.cmsgs().ok()?.find_map(|control| {
            if let ControlMessageOwned::ScmTimestampns(at) = control {
                return Some(Duration::from(at));
            }
            None
        });
        let (length, outgoing) = (message.bytes, from.pkttype() == PACKET_OUTGOING);
        // Between its opening and its binding a socket hears every device.
        if from.ifindex() != self.device {
            return None;
        }
        bytes.truncate(length);
        Some(Frame { at: stamp?, outgoing, bytes })
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
        sent.expect("a frame is sent");
    }
}

/// The device as an address to bind to. Its protocol is zero: the socket keeps the one it was opened with.
fn link(device: &str) -> nix::Result<Option<LinkAddr>> {
    let named = getifaddrs()?.filter(|entry| entry.interface_name == device);
    let mut addresses = named.filter_map(|entry| entry.address);
    Ok(addresses.find_map(|address| address.as_link_addr().copied()))
}
