//! Reads what we send with another implementation.

use std::net::IpAddr;

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::icmp::{self, IcmpPacket};
use pnet_packet::icmpv6::ndp::{
    NdpOption, NdpOptionType, NdpOptionTypes, NeighborAdvertPacket, NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, Ipv4Packet};
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
    Solicitation {
        to: Mac,
        source: IpAddr,
        destination: IpAddr,
        target: IpAddr,
        mac: Option<Mac>,
    },
    EchoReply {
        source: IpAddr,
        destination: IpAddr,
        length: usize,
    },
}

impl Sent {
    /// The address that it speaks for, or asks for.
    pub(super) fn about(&self) -> IpAddr {
        match self {
            Self::Arp { target: (_, address), .. } if self.asks() => *address,
            Self::Arp { sender: (_, address), .. } => *address,
            Self::Advertisement { target, .. } | Self::Solicitation { target, .. } => *target,
            Self::EchoReply { source, .. } => *source,
        }
    }

    /// Whether it asks, and says nothing.
    pub(super) fn asks(&self) -> bool {
        match self {
            Self::Arp { operation, sender: (_, sender), target: (_, target), .. } => {
                *operation == 1 && sender != target
            }
            Self::Advertisement { .. } | Self::EchoReply { .. } => false,
            Self::Solicitation { .. } => true,
        }
    }

    /// Where it says that the address is.
    pub(super) fn place(&self) -> Option<Mac> {
        match self {
            Self::Arp { sender: (mac, _), .. } => Some(*mac),
            Self::Advertisement { mac, .. } | Self::Solicitation { mac, .. } => *mac,
            Self::EchoReply { .. } => None,
        }
    }
}

/// The station that a frame says it is from.
pub(super) fn source(frame: &[u8]) -> Mac {
    Mac::new(EthernetPacket::new(frame).unwrap().get_source().octets())
}

/// Panics at anything that a careful receiver would refuse.
pub(super) fn read(frame: &[u8]) -> Sent {
    let ethernet = EthernetPacket::new(frame).unwrap();
    match ethernet.get_ethertype() {
        EtherTypes::Arp => read_arp(&ethernet),
        EtherTypes::Ipv4 => read_ipv4(&ethernet),
        EtherTypes::Ipv6 => read_ipv6(&ethernet),
        other => panic!("{other}"),
    }
}

fn read_ipv4(ethernet: &EthernetPacket<'_>) -> Sent {
    let ip = Ipv4Packet::new(ethernet.payload()).unwrap();
    assert_eq!((ip.get_version(), ip.get_header_length(), ip.get_ttl()), (4, 5, 64));
    assert_eq!(usize::from(ip.get_total_length()), ethernet.payload().len());
    assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
    let message = IcmpPacket::new(ip.payload()).unwrap();
    assert_eq!((message.get_icmp_type().0, message.get_icmp_code().0), (0, 0));
    assert_eq!(message.get_checksum(), icmp::checksum(&message));
    let (source, destination) = (ip.get_source().into(), ip.get_destination().into());
    Sent::EchoReply { source, destination, length: ip.payload().len() }
}

fn read_arp(ethernet: &EthernetPacket<'_>) -> Sent {
    assert_eq!(ethernet.payload().len(), 28);
    let arp = ArpPacket::new(ethernet.payload()).unwrap();
    assert_eq!(arp.get_hardware_type(), ArpHardwareTypes::Ethernet);
    assert_eq!(arp.get_protocol_type(), EtherTypes::Ipv4);
    assert_eq!((arp.get_hw_addr_len(), arp.get_proto_addr_len()), (6, 4));
    Sent::Arp {
        to: Mac::new(ethernet.get_destination().octets()),
        operation: arp.get_operation().0,
        sender: (Mac::new(arp.get_sender_hw_addr().octets()), arp.get_sender_proto_addr().into()),
        target: (Mac::new(arp.get_target_hw_addr().octets()), arp.get_target_proto_addr().into()),
    }
}

fn read_ipv6(ethernet: &EthernetPacket<'_>) -> Sent {
    let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
    assert_eq!(ip.get_version(), 6);
    assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Icmpv6);
    assert_eq!(usize::from(ip.get_payload_length()), ethernet.payload().len() - 40);
    let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
    assert_eq!(icmp.get_checksum(), checksum(&icmp, &ip.get_source(), &ip.get_destination()));
    assert_eq!(icmp.get_icmpv6_code().0, 0);
    let to = Mac::new(ethernet.get_destination().octets());
    let (source, destination) = (ip.get_source().into(), ip.get_destination().into());
    if icmp.get_icmpv6_type().0 == 129 {
        return Sent::EchoReply { source, destination, length: ip.payload().len() };
    }
    assert_eq!(ip.get_hop_limit(), 255);
    if icmp.get_icmpv6_type().0 == 135 {
        let solicitation = NeighborSolicitPacket::new(ip.payload()).unwrap();
        let target = solicitation.get_target_addr().into();
        let mac = link_layer(NdpOptionTypes::SourceLLAddr, &solicitation.get_options());
        return Sent::Solicitation { to, source, destination, target, mac };
    }
    assert_eq!(icmp.get_icmpv6_type().0, 136);
    let advertisement = NeighborAdvertPacket::new(ip.payload()).unwrap();
    let (flags, target) = (advertisement.get_flags(), advertisement.get_target_addr().into());
    let mac = link_layer(NdpOptionTypes::TargetLLAddr, &advertisement.get_options());
    Sent::Advertisement { to, source, destination, flags, target, mac }
}

fn link_layer(kind: NdpOptionType, options: &[NdpOption]) -> Option<Mac> {
    assert!(options.iter().all(|option| option.option_type == kind && option.length == 1));
    options.first().map(|option| Mac::new(option.data.as_slice().try_into().unwrap()))
}
