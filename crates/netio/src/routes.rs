//! The next hops of this network namespace's routes, and when they may have changed.
//!
//! A node can have as many routes as the Internet: none is kept, and no more than one datagram of them is in memory.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteType, RouteVia,
};
use rtnetlink::sys::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Error, LinkIndex, netlink};

/// How many next hops are told, those of default routes first.
const MOST: usize = 1024;

/// A router that this node sends packets to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// The interface that it is reached by.
    pub interface: LinkIndex,
    /// Its address.
    pub address: IpAddr,
}

/// A subscription to the routes.
#[derive(Debug)]
pub struct Routes {
    events: AsyncFd<Socket>,
}

impl Routes {
    /// Subscribes: no change after it is missed.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub fn open() -> Result<Self, Error> {
        let events = netlink::subscribe(&[MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route])
            .map_err(Error::doing(|| "subscribe to route changes"))?;
        Ok(Self { events })
    }

    /// Waits until routes have changed since the last time. Of a route that goes because its interface goes down
    /// the kernel does not tell. Cancel safe.
    ///
    /// # Errors
    /// When the kernel gives one; calling it again tries again.
    pub async fn changed(&mut self) -> Result<(), Error> {
        match self.events.async_io(Interest::READABLE, netlink::read).await {
            Err(error) if !netlink::is_overflow(&error) => Err(Error::doing(|| "read a route change")(error)),
            // What it was does not matter: only how things are now does.
            Ok(_) | Err(_) => {
                netlink::discard(self.events.get_ref());
                Ok(())
            }
        }
    }

    /// The next hops of all unicast routes in all tables, each once: first those of default routes, then the others,
    /// by interface and address; 1024 at most.
    ///
    /// # Errors
    /// When the kernel gives one.
    pub async fn gateways(&self) -> Result<Vec<Gateway>, Error> {
        let mut hops = NextHops::default();
        netlink::dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()), |message| {
            if let RouteNetlinkMessage::NewRoute(route) = message {
                hops.add(&route);
            }
        })
        .await
        .map_err(Error::doing(|| "list routes"))?;
        Ok(hops.into_list())
    }
}

#[derive(Debug, Default)]
struct NextHops {
    default: BTreeSet<Gateway>,
    others: BTreeSet<Gateway>,
}

impl NextHops {
    fn add(&mut self, route: &RouteMessage) {
        if route.header.kind != RouteType::Unicast {
            return;
        }
        let into = match route.header.destination_prefix_length {
            0 => &mut self.default,
            _ => &mut self.others,
        };
        let interface = route.attributes.iter().find_map(interface);
        into.extend(interface.and_then(|interface| gateway(interface, &route.attributes)));
        for attribute in &route.attributes {
            if let RouteAttribute::MultiPath(hops) = attribute {
                into.extend(hops.iter().filter_map(next_hop));
            }
        }
        while into.len() > MOST {
            into.pop_last();
        }
    }

    fn into_list(self) -> Vec<Gateway> {
        let Self { default, others } = self;
        let others = others.difference(&default).copied().collect::<Vec<_>>();
        default.into_iter().chain(others).take(MOST).collect()
    }
}

fn next_hop(hop: &RouteNextHop) -> Option<Gateway> {
    gateway(LinkIndex::new(hop.interface_index), &hop.attributes)
}

fn interface(attribute: &RouteAttribute) -> Option<LinkIndex> {
    if let RouteAttribute::Oif(index) = attribute { Some(LinkIndex::new(*index)) } else { None }
}

fn gateway(interface: LinkIndex, attributes: &[RouteAttribute]) -> Option<Gateway> {
    attributes.iter().find_map(address).map(|address| Gateway { interface, address })
}

/// `RTA_VIA` is a next hop of another family than the route's (RFC 8950).
fn address(attribute: &RouteAttribute) -> Option<IpAddr> {
    if let RouteAttribute::Gateway(RouteAddress::Inet(address))
    | RouteAttribute::Via(RouteVia::Inet(address)) = attribute
    {
        return Some((*address).into());
    }
    if let RouteAttribute::Gateway(RouteAddress::Inet6(address))
    | RouteAttribute::Via(RouteVia::Inet6(address)) = attribute
    {
        return Some((*address).into());
    }
    None
}

#[cfg(test)]
mod tests;
