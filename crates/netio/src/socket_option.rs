use std::io;
use std::os::fd::AsRawFd;

use libc::{c_int, socklen_t};

/// Sets an option that no crate has a name for.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn set<T: Plain>(socket: &impl AsRawFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length describe `value`, which outlives the call; the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option that no crate has a name for.
#[expect(unsafe_code, reason = "a system call")]
pub(crate) fn get<T: Plain>(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: &mut T,
) -> io::Result<()> {
    let mut length = socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let (value, length) = (std::ptr::from_mut(value).cast(), &raw mut length);
    // SAFETY: the kernel writes at most `length` octets to `value`, which is that long and takes any octets
    // (`Plain`), and the length that it wrote to `length`; both outlive the call.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A value without pointers that is valid with any octets and has the layout that the kernel expects.
pub(crate) trait Plain {}

impl Plain for c_int {}
impl Plain for [u32; 2] {}
impl Plain for PacketMembership {}

/// `struct packet_mreq` of packet(7).
#[repr(C)]
pub(crate) struct PacketMembership {
    pub(crate) interface: c_int,
    pub(crate) kind: u16,
    pub(crate) length: u16,
    pub(crate) address: [u8; 8],
}
