use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Address, Change, Link, LinkIndex, Scope};

/// What netlink has told so far. A message twice, or an old one after a dump that knew more, does no harm.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<LinkIndex, Link>);

impl Table {
    pub(super) fn links(&self) -> &BTreeMap<LinkIndex, Link> {
        &self.0
    }

    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) -> Option<Change> {
        // A bridge tells of its ports, their leaving included, in the same words but for the family.
        if let RouteNetlinkMessage::NewLink(link) = message {
            return if is_link(link) { self.put(link) } else { None };
        }
        if let RouteNetlinkMessage::DelLink(link) = message {
            return if is_link(link) { self.remove(link) } else { None };
        }
        if let RouteNetlinkMessage::NewAddress(address) = message {
            return self.change_address(address, !is_unusable(address));
        }
        if let RouteNetlinkMessage::DelAddress(address) = message {
            return self.change_address(address, false);
        }
        None
    }

    /// Becomes the other table; says what that changes.
    pub(super) fn replace(&mut self, fresh: Self) -> Vec<Change> {
        let before = std::mem::replace(self, fresh);
        let gone = before.0.keys().filter(|index| !self.0.contains_key(index));
        let mut changes: Vec<_> = gone.map(|index| Change::Gone(*index)).collect();
        let changed = self.0.values().filter(|link| before.0.get(&link.index) != Some(link));
        changes.extend(changed.cloned().map(Change::Link));
        changes
    }

    fn put(&mut self, message: &LinkMessage) -> Option<Change> {
        let index = LinkIndex::new(message.header.index);
        let before = self.0.get(&index);
        let addresses = before.map(|link| link.addresses.clone()).unwrap_or_default();
        let link = read_link(message, addresses);
        if before == Some(&link) {
            return None;
        }
        self.0.insert(index, link.clone());
        Some(Change::Link(link))
    }

    fn remove(&mut self, message: &LinkMessage) -> Option<Change> {
        self.0.remove(&LinkIndex::new(message.header.index)).map(|link| Change::Gone(link.index))
    }

    fn change_address(&mut self, message: &AddressMessage, present: bool) -> Option<Change> {
        let link = self.0.get_mut(&LinkIndex::new(message.header.index))?;
        let before = link.addresses.clone();
        let address = read_address(message)?;
        link.addresses.retain(|other| other.network != address.network);
        if present {
            link.addresses.insert(address);
        }
        (link.addresses != before).then(|| Change::Link(link.clone()))
    }
}

fn is_link(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// Another node may have it: nothing may be sent from it.
fn is_unusable(message: &AddressMessage) -> bool {
    message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed)
}

fn read_link(message: &LinkMessage, addresses: BTreeSet<Address>) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: LinkIndex::new(message.header.index),
        name: String::new(),
        mac: None,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        no_arp: flags.contains(LinkFlags::Noarp),
        master: None,
        addresses,
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name.clone_from(name);
        } else if let LinkAttribute::Controller(master) = attribute {
            link.master = (*master != 0).then_some(LinkIndex::new(*master));
        } else if let LinkAttribute::Address(octets) = attribute
            && message.header.link_layer_type == LinkLayerType::Ether
        {
            link.mac = <[u8; 6]>::try_from(octets.as_slice()).ok();
        }
    }
    link
}

/// `IFA_LOCAL` is the interface's own address; `IFA_ADDRESS` is the other end's on a point-to-point link, and the same
/// or the only one elsewhere.
fn read_address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut any) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            local = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            any = Some(*address);
        }
    }
    let address = local.or(any)?;
    let scope = match message.header.scope {
        AddressScope::Link => Scope::Link,
        AddressScope::Host | AddressScope::Nowhere => Scope::Host,
        AddressScope::Universe | AddressScope::Site | AddressScope::Other(_) | _ => Scope::Global,
    };
    Some(Address { network: IpNetwork::new(address, message.header.prefix_len).ok()?, scope })
}
