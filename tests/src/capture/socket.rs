//! A raw packet socket on one device.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::libc::PACKET_OUTGOING;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};
use socket2::{SockFilter, SockRef};

use super::Frame;
use crate::namespace::Namespace;

const QUEUE: usize = 16 << 20;
const LARGEST_FRAME: usize = 65_536;
/// How soon a reader notices that it was told to stop.
const TICK_MS: i64 = 20;

/// Which frames the kernel hands to a socket: the others cost its reader nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every frame.
    Everything,
    /// ARP, and neighbour solicitations and advertisements.
    Neighbours,
    /// ARP from or for that address.
    Arp(Ipv4Addr),
    /// No frame: the socket only sends.
    Nothing,
}

impl Wanted {
    /// A classic BPF program; an empty one lets everything through.
    fn filter(self) -> Vec<SockFilter> {
        let step = SockFilter::new;
        match self {
            Self::Everything => Vec::new(),
            // Ethernet type ARP; or IPv6 whose next header is ICMPv6, of type 135 or 136.
            Self::Neighbours => vec![
                step(LOAD_HALF, 0, 0, 12),
                step(IF_EQUAL, 6, 0, 0x0806),
                step(IF_EQUAL, 0, 6, 0x86dd),
                step(LOAD_BYTE, 0, 0, 20),
                step(IF_EQUAL, 0, 4, 58),
                step(LOAD_BYTE, 0, 0, 54),
                step(IF_EQUAL, 1, 0, 135),
                step(IF_EQUAL, 0, 1, 136),
                step(RETURN, 0, 0, u32::MAX),
                step(RETURN, 0, 0, 0),
            ],
            // Ethernet type ARP, sender or target.
            Self::Arp(ip) => vec![
                step(LOAD_HALF, 0, 0, 12),
                step(IF_EQUAL, 0, 5, 0x0806),
                step(LOAD_WORD, 0, 0, 28),
                step(IF_EQUAL, 2, 0, ip.to_bits()),
                step(LOAD_WORD, 0, 0, 38),
                step(IF_EQUAL, 0, 1, ip.to_bits()),
                step(RETURN, 0, 0, u32::MAX),
                step(RETURN, 0, 0, 0),
            ],
            Self::Nothing => vec![step(RETURN, 0, 0, 0)],
        }
    }
}

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Sends and receives whole Ethernet frames on one device.
pub(crate) struct PacketSocket {
    socket: OwnedFd,
    device: usize,
    /// As long as the largest frame; what is kept of it is copied.
    buffer: RefCell<Vec<u8>>,
}

impl PacketSocket {
    #[track_caller]
    pub(crate) fn open(inside: &Namespace, device: &str, wanted: Wanted) -> Self {
        inside
            .enter(|| Self::open_here(device, wanted))
            .unwrap_or_else(|error| panic!("capturing on {device} of {}: {error}", inside.name()))
    }

    fn open_here(device: &str, wanted: Wanted) -> io::Result<Self> {
        let link = link(device)?.ok_or(nix::Error::ENODEV)?;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        let filter = wanted.filter();
        if !filter.is_empty() {
            SockRef::from(&socket).attach_filter(&filter)?;
        }
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(TICK_MS))?;
        // Without the right to go beyond the limit, the limit will do.
        setsockopt(&socket, sockopt::RcvBufForce, &QUEUE)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &QUEUE))?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self { socket, device: link.ifindex(), buffer: RefCell::new(vec![0; LARGEST_FRAME]) })
    }

    /// The next frame; none when a moment passes without any.
    pub(crate) fn receive(&self) -> Option<Frame> {
        self.receive_with(MsgFlags::empty())
    }

    /// The next frame of those that have come.
    pub(crate) fn receive_queued(&self) -> Option<Frame> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with(&self, flags: MsgFlags) -> Option<Frame> {
        let mut buffer = self.buffer.borrow_mut();
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let mut control = nix::cmsg_space!(TimeSpec);
        let message = recvmsg::<LinkAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags);
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
        Some(Frame { at: stamp?, outgoing, bytes: buffer.get(..length)?.to_vec() })
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
