//! What an interface says, and from which of its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::Header;
use crate::ndp::{self, Advertisement, Cause, Solicitation};
use crate::{Frame, Interface, Mac, Question, arp};

impl Interface {
    /// Two forms, of which each neighbour honours at least one; the first is the one that most do.
    pub(crate) fn announcement(&self, address: IpAddr) -> [Frame; 2] {
        match address {
            IpAddr::V4(address) => arp::gratuitous(self.mac, address),
            IpAddr::V6(address) => {
                [ndp::ALL_NODES, ndp::ALL_ROUTERS].map(|group| self.unsolicited(address, self.mac, group))
            }
        }
    }

    /// To a group, that the target is at that place.
    pub(crate) fn unsolicited(&self, target: Ipv6Addr, place: Mac, group: Ipv6Addr) -> Frame {
        self.advertisement(target, place, group, Mac::of_group(group), Cause::Unsolicited)
    }

    /// That the target is at that place.
    pub(crate) fn advertisement(
        &self,
        target: Ipv6Addr,
        place: Mac,
        destination: Ipv6Addr,
        to: Mac,
        cause: Cause,
    ) -> Frame {
        let source = self.link_local.unwrap_or(target);
        let advertisement = Advertisement { source, destination, cause, target, link_layer: Some(place) };
        ndp::emit(Header { destination: to, source: self.mac }, &advertisement)
    }

    /// What is sent to find something out of an address.
    pub(crate) fn question(&self, target: IpAddr, question: Question) -> Frame {
        match target {
            IpAddr::V4(target) => self.request(target, question),
            IpAddr::V6(target) => self.solicitation(target, question),
        }
    }

    fn request(&self, target: Ipv4Addr, question: Question) -> Frame {
        let sender = || self.ipv4_towards(target).unwrap_or(Ipv4Addr::UNSPECIFIED);
        match question {
            Question::Reach => arp::request(self.mac, sender(), target, None),
            Question::ReachAt(station) => arp::request(self.mac, sender(), target, Some(station)),
            Question::Duplicate => arp::request(self.mac, Ipv4Addr::UNSPECIFIED, target, None),
        }
    }

    fn solicitation(&self, target: Ipv6Addr, question: Question) -> Frame {
        let mac = self.mac;
        let source = self.ipv6_towards(target).filter(|_| question != Question::Duplicate);
        let Some(source) = source else {
            // RFC 4861 §7.1.1: from the unspecified address only to the group, and without a link-layer address.
            let source = Ipv6Addr::UNSPECIFIED;
            return ndp::emit_solicitation(mac, None, &Solicitation { source, target, link_layer: None });
        };
        let of = match question {
            Question::ReachAt(station) => Some(station),
            Question::Reach | Question::Duplicate => None,
        };
        ndp::emit_solicitation(mac, of, &Solicitation { source, target, link_layer: Some(mac) })
    }
}
