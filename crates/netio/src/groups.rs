//! Membership in IPv6 multicast groups of one interface.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Protocol, Socket, Type};

use crate::packet_membership::Beyond;
use crate::{Error, LinkIndex, packet_membership};

/// How many sockets may share the memberships.
const MOST_SOCKETS: usize = 64;

/// What a membership gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// The kernel reports the membership by MLD, so that snooping switches forward the group here.
    Group,
    /// The kernel's limit is reached: the interface takes every group that reaches it, but a snooping switch may
    /// not forward this one.
    AllMulticast,
}

/// The groups that an interface is a member of because of this value; dropping it leaves them all.
///
/// The kernel charges each membership to the option memory of the socket that made it (`net.core.optmem_max`, room
/// for a few hundred), so further sockets are opened as earlier ones fill up.
#[derive(Debug)]
pub struct Membership {
    interface: LinkIndex,
    most_sockets: usize,
    /// By a number that is not used again.
    sockets: BTreeMap<usize, Socket>,
    groups: BTreeMap<Ipv6Addr, Holder>,
    all_multicast: Option<Socket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Socket(usize),
    AllMulticast,
}

impl Membership {
    /// A membership in nothing yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn open(interface: LinkIndex) -> Result<Self, Error> {
        let first = open().map_err(Error::doing(|| "open a socket for multicast groups"))?;
        Ok(Self {
            interface,
            most_sockets: MOST_SOCKETS,
            sockets: BTreeMap::from([(0, first)]),
            groups: BTreeMap::new(),
            all_multicast: None,
        })
    }

    /// Becomes a member, if it is not one yet.
    ///
    /// # Errors
    /// When the interface is gone or has no IPv6, or the address is no multicast group.
    pub fn join(&mut self, group: Ipv6Addr) -> Result<Reception, Error> {
        let holder = match self.groups.get(&group) {
            Some(holder) => *holder,
            None => self.hold(group).map_err(Error::doing(|| self.attempt("join", group)))?,
        };
        self.groups.insert(group, holder);
        Ok(match holder {
            Holder::Socket(_) => Reception::Group,
            Holder::AllMulticast => Reception::AllMulticast,
        })
    }

    /// Ceases to be a member, if it is one.
    ///
    /// # Errors
    /// When the interface is gone; the membership is gone with it.
    pub fn leave(&mut self, group: Ipv6Addr) -> Result<(), Error> {
        match self.groups.remove(&group) {
            Some(Holder::Socket(number)) => self.leave_socket(number, group),
            Some(Holder::AllMulticast) => self.leave_all_multicast(),
            None => return Ok(()),
        }
        .map_err(Error::doing(|| self.attempt("leave", group)))
    }

    fn hold(&mut self, group: Ipv6Addr) -> io::Result<Holder> {
        // The last socket first: the earlier ones are full, but for what has left them.
        for (number, socket) in self.sockets.iter().rev() {
            match socket.join_multicast_v6(&group, self.interface.get()) {
                Ok(()) => return Ok(Holder::Socket(*number)),
                Err(full) if is_full(&full) => {}
                Err(other) => return Err(other),
            }
        }
        if self.sockets.len() >= self.most_sockets {
            self.join_all_multicast()?;
            return Ok(Holder::AllMulticast);
        }
        let socket = open()?;
        socket.join_multicast_v6(&group, self.interface.get())?;
        let number = self.sockets.last_key_value().map_or(0, |(number, _)| number + 1);
        self.sockets.insert(number, socket);
        Ok(Holder::Socket(number))
    }

    fn leave_socket(&mut self, number: usize, group: Ipv6Addr) -> io::Result<()> {
        let Some(socket) = self.sockets.get(&number) else { return Ok(()) };
        let left = socket.leave_multicast_v6(&group, self.interface.get());
        if self.sockets.len() > 1 && !self.groups.values().any(|holder| *holder == Holder::Socket(number)) {
            self.sockets.remove(&number);
        }
        left
    }

    fn join_all_multicast(&mut self) -> io::Result<()> {
        if self.all_multicast.is_some() {
            return Ok(());
        }
        let socket = packet_membership::hold(self.interface, Beyond::AllMulticast)?;
        self.all_multicast = Some(socket);
        Ok(())
    }

    fn leave_all_multicast(&mut self) -> io::Result<()> {
        if !self.groups.values().any(|holder| *holder == Holder::AllMulticast) {
            self.all_multicast = None;
        }
        Ok(())
    }

    fn attempt(&self, verb: &str, group: Ipv6Addr) -> String {
        format!("{verb} group {group} on interface {}", self.interface)
    }
}

/// A socket that is never bound and receives nothing: it only holds memberships.
fn open() -> io::Result<Socket> {
    Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
}

/// `ENOBUFS` or `ENOMEM`: the socket's option memory is used up.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

#[cfg(test)]
mod tests;
