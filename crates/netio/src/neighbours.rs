//! The stations that this network namespace's kernel has reached on its links.

use std::net::IpAddr;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use crate::{Error, LinkIndex, netlink};

/// A station on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The interface that it is reached by.
    pub interface: LinkIndex,
    /// Its address.
    pub address: IpAddr,
}

/// Those that have answered the kernel, and have not failed to since. Of a large table all are told.
///
/// # Errors
/// When the kernel gives one.
pub async fn neighbours() -> Result<Vec<Neighbour>, Error> {
    let mut known = Vec::new();
    netlink::dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), |message| {
        if let RouteNetlinkMessage::NewNeighbour(message) = message {
            known.extend(neighbour(&message));
        }
    })
    .await
    .map_err(Error::doing(|| "list neighbours"))?;
    Ok(known)
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    // Not `Incomplete`, `Failed`, `Noarp` or what there may be besides: it never answered, or does no longer.
    let answered = [
        NeighbourState::Reachable,
        NeighbourState::Stale,
        NeighbourState::Delay,
        NeighbourState::Probe,
        NeighbourState::Permanent,
    ];
    let address = message.attributes.iter().find_map(address)?;
    let interface = LinkIndex::new(message.header.ifindex);
    let counts = answered.contains(&message.header.state) && !address.is_multicast();
    counts.then_some(Neighbour { interface, address })
}

fn address(attribute: &NeighbourAttribute) -> Option<IpAddr> {
    if let NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) = attribute {
        return Some((*address).into());
    }
    if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) = attribute {
        return Some((*address).into());
    }
    None
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::neighbour::NeighbourHeader;

    use super::*;

    fn message(state: NeighbourState, address: [u8; 4]) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader { ifindex: 3, state, ..NeighbourHeader::default() };
        message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(address.into()))];
        message
    }

    #[test]
    fn a_neighbour_is_who_has_answered() {
        for (state, counts) in [
            (NeighbourState::Reachable, true),
            (NeighbourState::Stale, true),
            (NeighbourState::Delay, true),
            (NeighbourState::Probe, true),
            (NeighbourState::Permanent, true),
            (NeighbourState::Incomplete, false),
            (NeighbourState::Failed, false),
            (NeighbourState::Noarp, false),
            (NeighbourState::None, false),
        ] {
            assert_eq!(neighbour(&message(state, [192, 0, 2, 1])).is_some(), counts, "{state:?}");
        }
        assert_eq!(neighbour(&message(NeighbourState::Reachable, [224, 0, 0, 1])), None);
    }
}
