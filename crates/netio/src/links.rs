//! The interfaces of this network namespace and their addresses, as they are and as they change.

mod link;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::io;

use futures::TryStreamExt;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::Socket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

pub use link::{Address, Link, LinkIndex, Scope};
use table::Table;

use crate::{Error, netlink};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new interface, or how an interface is from now on.
    Link(Link),
    /// The interface is no more.
    Gone(LinkIndex),
}

/// A subscription to the interfaces.
#[derive(Debug)]
pub struct Links {
    events: AsyncFd<Socket>,
    requests: Requests,
    table: Table,
    pending: VecDeque<Change>,
    /// Events were lost, or could not be read: only a dump tells how things are.
    stale: bool,
}

impl Links {
    /// Subscribes, then asks for everything: [`Links::current`] is complete, and no change after it is missed.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub async fn open() -> Result<Self, Error> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
        let events = netlink::subscribe(&groups).map_err(Error::doing(|| "subscribe to link changes"))?;
        let requests = Requests::open().map_err(Error::doing(|| "open a netlink socket"))?;
        let table = requests.dump().await?;
        Ok(Self { events, requests, table, pending: VecDeque::new(), stale: false })
    }

    /// All interfaces, with every change applied that [`Links::next`] has given or has ready.
    pub fn current(&self) -> &BTreeMap<LinkIndex, Link> {
        self.table.links()
    }

    /// The next difference. When the kernel had to drop events, everything is asked for again, and the differences to
    /// what was known come out. Cancel safe.
    ///
    /// # Errors
    /// When the kernel gives one; calling it again tries again.
    pub async fn next(&mut self) -> Result<Change, Error> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            if self.stale {
                netlink::discard(self.events.get_ref());
                let fresh = self.requests.dump().await?;
                self.pending = self.table.replace(fresh).into();
                self.stale = false;
                continue;
            }
            match self.receive().await {
                Ok(event) => self.apply(&event),
                Err(error) if netlink::is_overflow(&error) => self.stale = true,
                Err(other) => return Err(Error::doing(|| "read a link change")(other)),
            }
        }
    }

    async fn receive(&self) -> io::Result<Vec<u8>> {
        self.events.async_io(Interest::READABLE, netlink::read).await
    }

    fn apply(&mut self, event: &[u8]) {
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(event).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => self.pending.extend(self.table.apply(&message)),
            Ok(_) => {}
            Err(undecodable) => {
                tracing::warn!(error = %undecodable, "a link change could not be decoded; asking for all links");
                self.stale = true;
            }
        }
    }
}

/// A second connection, for dumps: their answers never compete with events for room in one queue.
#[derive(Debug)]
struct Requests {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Requests {
    fn open() -> io::Result<Self> {
        let (connection, handle, _unsolicited) = rtnetlink::new_connection()?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    async fn dump(&self) -> Result<Table, Error> {
        let mut table = Table::default();
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links.try_next().await.map_err(refused("list links"))? {
            table.apply(&RouteNetlinkMessage::NewLink(link));
        }
        let mut addresses = self.handle.address().get().execute();
        while let Some(address) = addresses.try_next().await.map_err(refused("list addresses"))? {
            table.apply(&RouteNetlinkMessage::NewAddress(address));
        }
        Ok(table)
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn refused(attempt: &'static str) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |error| Error { doing: attempt.into(), source: io::Error::other(error) }
}

#[cfg(test)]
mod tests;
