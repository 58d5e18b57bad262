//! Reads what we send with another implementation.

use std::net::IpAddr;

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{NdpOptionTypes, NeighborAdvertPacket};
use pnet_packet::icmpv6::{Icmpv6Packet, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;

use crate::Mac;

/// What a frame of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    Arp {
        to: Mac,
        operation: u16,
        sender: (Mac, IpAddr),
        target: (Mac, IpAddr),
    },
    Advertisement {
        to: Mac,
        source: IpAddr,
        destination: IpAddr,
        flags: u8,
        target: IpAddr,
        mac: Option<Mac>,
    },
}

impl Sent {
    /// The address that it speaks for.
    pub(super) fn about(&self) -> IpAddr {
        match self {
            Self::Arp { sender: (_, address), .. } => *address,
            Self::Advertisement { target, .. } => *target,
        }
    }
}

/// Panics at anything that a careful receiver would refuse.
pub(super) fn read(frame: &[u8]) -> Sent {
    let ethernet = EthernetPacket::new(frame).unwrap();
    if ethernet.get_ethertype() == EtherTypes::Arp {
        read_arp(&ethernet)
    } else {
        assert_eq!(ethernet.get_ethertype(), EtherTypes::Ipv6);
        read_advertisement(&ethernet)
    }
}

fn read_arp(ethernet: &EthernetPacket<'_>) -> Sent {
    assert_eq!(ethernet.payload().len(), 28);
    let arp = ArpPacket::new(ethernet.payload()).unwrap();
    assert_eq!(arp.get_hardware_type(), ArpHardwareTypes::Ethernet);
    assert_eq!(arp.get_protocol_type(), EtherTypes::Ipv4);
    assert_eq!((arp.get_hw_addr_len(), arp.get_proto_addr_len()), (6, 4));
    assert_eq!(ethernet.get_source(), arp.get_sender_hw_addr());
    Sent::Arp {
        to: Mac::new(ethernet.get_destination().octets()),
        operation: arp.get_operation().0,
        sender: (Mac::new(arp.get_sender_hw_addr().octets()), arp.get_sender_proto_addr().into()),
        target: (Mac::new(arp.get_target_hw_addr().octets()), arp.get_target_proto_addr().into()),
    }
}

fn read_advertisement(ethernet: &EthernetPacket<'_>) -> Sent {
    let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
    assert_eq!((ip.get_version(), ip.get_hop_limit()), (6, 255));
    assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Icmpv6);
    assert_eq!(usize::from(ip.get_payload_length()), ethernet.payload().len() - 40);
    let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
    assert_eq!(icmp.get_checksum(), checksum(&icmp, &ip.get_source(), &ip.get_destination()));
    let advertisement = NeighborAdvertPacket::new(ip.payload()).unwrap();
    assert_eq!((advertisement.get_icmpv6_type().0, advertisement.get_icmpv6_code().0), (136, 0));
    let options = advertisement.get_options();
    assert!(
        options.iter().all(|option| option.option_type == NdpOptionTypes::TargetLLAddr && option.length == 1)
    );
    let link_layer = options.first().map(|option| Mac::new(option.data.as_slice().try_into().unwrap()));
    Sent::Advertisement {
        to: Mac::new(ethernet.get_destination().octets()),
        source: ip.get_source().into(),
        destination: ip.get_destination().into(),
        flags: advertisement.get_flags(),
        target: advertisement.get_target_addr().into(),
        mac: link_layer,
    }
}
