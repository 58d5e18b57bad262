//! Another implementation reads what we write, and writes what we read: zettabgp.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use bgp::wire::{
        AsNumbers, Capabilities, Dialect, Draft, Frame, MessageType, Neighbour, NextHop, Open,
        PathAttributes, Update, end_of_rib,
    };
    use bgp::{Asn, Family, HoldTime, RouterId};
    use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
    use proptest::prelude::*;
    use zettabgp::prelude::*;

    fn session(numbers: AsNumbers) -> BgpSessionParams {
        let mut capabilities = vec![BgpCapability::SafiIPv4u, BgpCapability::SafiIPv6u];
        if numbers == AsNumbers::FourOctets {
            capabilities.push(BgpCapability::CapASN32(65001));
        }
        let id = Ipv4Addr::new(10, 0, 0, 1);
        let mut session = BgpSessionParams::new(65001, 90, BgpTransportMode::IPv4, id, capabilities);
        session.check_caps();
        session.fuzzy_pathid = false;
        session
    }

    fn dialect(as_numbers: AsNumbers) -> Dialect {
        Dialect { as_numbers, neighbour: Neighbour::Internal, families: BTreeSet::from(Family::ALL) }
    }

    fn body(message: &[u8]) -> &[u8] {
        Frame::split(message).unwrap().unwrap().body
    }

    fn theirs(message: &[u8], session: &BgpSessionParams) -> BgpUpdateMessage {
        let (kind, length) = session.decode_message_head(message).unwrap();
        assert_eq!((kind, length), (BgpMessageType::Update, message.len() - 19));
        let mut update = BgpUpdateMessage::new();
        update.decode_from(session, body(message)).unwrap();
        update
    }

    fn networks(addresses: &BgpAddrs) -> Vec<IpNetwork> {
        let v4 = |prefix: &BgpAddrV4| IpNetwork::new(prefix.addr.into(), prefix.prefixlen).unwrap();
        let v6 = |prefix: &BgpAddrV6| IpNetwork::new(prefix.addr.into(), prefix.prefixlen).unwrap();
        if let BgpAddrs::IPV4U(prefixes) = addresses {
            prefixes.iter().map(v4).collect()
        } else if let BgpAddrs::IPV6U(prefixes) = addresses {
            prefixes.iter().map(v6).collect()
        } else {
            assert!(addresses.is_empty(), "another family");
            Vec::new()
        }
    }

    /// Routes that are announced, whichever field they are in, with the next hop.
    fn announced(update: &BgpUpdateMessage) -> (Vec<IpNetwork>, Vec<IpAddr>) {
        let mut hops = Vec::new();
        let mut routes = networks(&update.updates);
        for attribute in &update.attrs {
            if let BgpAttrItem::MPUpdates(reach) = attribute {
                routes.extend(networks(&reach.addrs));
                if let BgpAddr::V6(hop) = reach.nexthop {
                    hops.push(hop.into());
                }
            } else if let BgpAttrItem::NextHop(hop) = attribute {
                hops.push(hop.value);
            }
        }
        (routes, hops)
    }

    fn withdrawn(update: &BgpUpdateMessage) -> Vec<IpNetwork> {
        let mut routes = networks(&update.withdraws);
        for attribute in &update.attrs {
            if let BgpAttrItem::MPWithdraws(unreach) = attribute {
                routes.extend(networks(&unreach.addrs));
            }
        }
        routes
    }

    fn prefixes(family: Family) -> BoxedStrategy<Vec<IpNetwork>> {
        let v4 = (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| {
            let network = Ipv4Network::new(Ipv4Addr::from(bits), length).unwrap();
            IpNetwork::new(network.network().into(), length).unwrap()
        });
        let v6 = (any::<u128>(), 1u8..=128).prop_map(|(bits, length)| {
            let network = Ipv6Network::new(Ipv6Addr::from(bits), length).unwrap();
            IpNetwork::new(network.network().into(), length).unwrap()
        });
        match family {
            Family::Ipv4Unicast => prop::collection::btree_set(v4, 1..100).prop_map(Vec::from_iter).boxed(),
            Family::Ipv6Unicast => prop::collection::btree_set(v6, 1..100).prop_map(Vec::from_iter).boxed(),
        }
    }

    fn filled(mut draft: Draft, prefixes: &[IpNetwork]) -> Vec<u8> {
        prefixes.iter().for_each(|prefix| draft.push(*prefix).unwrap());
        draft.emit()
    }

    fn numbers() -> impl Strategy<Value = AsNumbers> {
        prop_oneof![Just(AsNumbers::TwoOctets), Just(AsNumbers::FourOctets)]
    }

    fn sorted(mut prefixes: Vec<IpNetwork>) -> Vec<IpNetwork> {
        prefixes.sort();
        prefixes
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

            #[test]
            fn it_reads_our_ipv4_announcements(
                prefixes in prefixes(Family::Ipv4Unicast), numbers in numbers(), asn in 1u32..200_000, local_pref: Option<u32>,
            ) {
                prop_assume!(asn != 23456);
                let hop = Ipv4Addr::new(10, 9, 8, 7);
                let path = PathAttributes { as_path: vec![Asn::parse(asn).unwrap()], next_hop: NextHop::V4(hop), local_pref };
                let message = filled(Draft::announce(&dialect(numbers), &path), &prefixes);
                let update = theirs(&message, &session(numbers));
                prop_assert_eq!(announced(&update), (prefixes, vec![IpAddr::from(hop)]));
                prop_assert!(withdrawn(&update).is_empty());
                let expected = match (numbers, u16::try_from(asn)) {
                    (AsNumbers::TwoOctets, Err(_)) => 23456,
                    _ => asn,
                };
                let mut preference = None;
                for attribute in &update.attrs {
                    if let BgpAttrItem::ASPath(path) = attribute {
                        prop_assert_eq!(path, &BgpASpath::from(vec![expected]));
                    } else if let BgpAttrItem::LocalPref(value) = attribute {
                        preference = Some(value.value);
                    } else if let BgpAttrItem::Origin(origin) = attribute {
                        prop_assert_eq!(&origin.value, &zettabgp::message::attributes::origin::BgpAttrOrigin::Igp);
                    }
                }
                prop_assert_eq!(preference, local_pref);
            }

            #[test]
            fn it_reads_our_ipv6_announcements(prefixes in prefixes(Family::Ipv6Unicast), link_local: bool) {
                let global: Ipv6Addr = "2001:db8::7".parse().unwrap();
                let link_local = link_local.then(|| "fe80::7".parse().unwrap());
                let path = PathAttributes { as_path: Vec::new(), next_hop: NextHop::V6 { global, link_local }, local_pref: None };
                let message = filled(Draft::announce(&dialect(AsNumbers::FourOctets), &path), &prefixes);
                let (routes, hops) = announced(&theirs(&message, &session(AsNumbers::FourOctets)));
                prop_assert_eq!((sorted(routes), hops), (sorted(prefixes), vec![IpAddr::from(global)]));
            }

            #[test]
            fn it_reads_our_withdrawals(v4 in prefixes(Family::Ipv4Unicast), v6 in prefixes(Family::Ipv6Unicast)) {
                for (family, prefixes) in [(Family::Ipv4Unicast, v4), (Family::Ipv6Unicast, v6)] {
                    let message = filled(Draft::withdraw(family), &prefixes);
                    let update = theirs(&message, &session(AsNumbers::FourOctets));
                    prop_assert_eq!(sorted(withdrawn(&update)), sorted(prefixes));
                    prop_assert!(announced(&update).0.is_empty());
                }
            }

            #[test]
            fn it_reads_our_open(asn in 1u32..100_000, hold in 3u16.., id in 1u32..) {
                let capabilities = Capabilities { families: Some(BTreeSet::from(Family::ALL)), route_refresh: true, asn: Some(asn) };
                let ours = Open {
                    my_as: u16::try_from(asn).unwrap_or(23456),
                    hold_time: HoldTime::parse(hold).unwrap(),
                    router_id: RouterId::parse(id.into()).unwrap(),
                    capabilities,
                };
                let mut open = BgpOpenMessage::new();
                open.decode_from(&session(AsNumbers::FourOctets), body(&ours.emit())).unwrap();
                prop_assert_eq!((open.as_num, open.hold_time), (ours.my_as.into(), hold));
            prop_assert_eq!(open.router_id, Ipv4Addr::from(id));
                for expected in [BgpCapability::SafiIPv4u, BgpCapability::SafiIPv6u, BgpCapability::CapRR, BgpCapability::CapASN32(asn)] {
                    prop_assert!(open.caps.contains(&expected));
                }
            }

            #[test]
            fn we_read_its_open(asn in 1u32..100_000, hold in 3u16.., id in 1u32..) {
                prop_assume!(asn != 23456);
                let capabilities = vec![BgpCapability::SafiIPv6u, BgpCapability::CapRR, BgpCapability::CapASN32(asn)];
                let theirs = BgpSessionParams::new(asn, hold, BgpTransportMode::IPv4, id.into(), capabilities);
                let mut octets = [0; 4096];
                let length = theirs.open_message().encode_to(&theirs, &mut octets).unwrap();
                let open = Open::parse(&octets[..length]).unwrap();
                prop_assert_eq!((open.asn(), open.hold_time.map(HoldTime::seconds)), (asn, Some(hold)));
                prop_assert_eq!(open.router_id.address(), Ipv4Addr::from(id));
                prop_assert_eq!(open.capabilities.families, Some(BTreeSet::from([Family::Ipv6Unicast])));
                prop_assert!(open.capabilities.route_refresh);
            }

            #[test]
            fn we_read_its_updates(prefixes in prefixes(Family::Ipv4Unicast), gone in prefixes(Family::Ipv4Unicast), asn in 1u32.., numbers in numbers()) {
                prop_assume!(numbers == AsNumbers::FourOctets || asn < 65536);
                let addresses = |prefixes: &[IpNetwork]| BgpAddrs::IPV4U(prefixes.iter().filter_map(|prefix| {
                    if let IpNetwork::V4(prefix) = prefix { Some(BgpAddrV4::new(prefix.ip(), prefix.prefix())) } else { None }
                }).collect());
                let session = session(numbers);
                let mut update = BgpUpdateMessage::new();
                update.updates = addresses(&prefixes);
                update.withdraws = addresses(&gone);
                update.attrs = vec![
                    BgpAttrItem::Origin(BgpOrigin::new(zettabgp::message::attributes::origin::BgpAttrOrigin::Incomplete)),
                    BgpAttrItem::ASPath(BgpASpath::from(vec![asn])),
                    BgpAttrItem::NextHop(BgpNextHop::new(Ipv4Addr::new(10, 0, 0, 2).into())),
    BgpAttrItem::CommunityList(BgpCommunityList { value: BTreeSet::from([BgpCommunity::from(65001, 7)]) }),
                ];
                let mut octets = [0; 4096];
                let length = update.encode_to(&session, &mut octets).unwrap();
                let dialect = dialect(numbers);
                let read = Update::parse(&octets[..length], &dialect).unwrap();
                prop_assert_eq!((read.treat_as_withdraw, read.discarded), (None, 0));
                prop_assert_eq!(read.nlri.collect::<Vec<_>>(), prefixes);
                prop_assert_eq!(read.withdrawn.collect::<Vec<_>>(), gone);
            }
        }

    #[test]
    fn it_reads_the_end_of_a_table() {
        for family in Family::ALL {
            let update = theirs(&end_of_rib(family), &session(AsNumbers::FourOctets));
            assert_eq!((announced(&update).0, withdrawn(&update)), (Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn both_number_the_messages_alike() {
        let ours: BTreeMap<_, _> = MessageType::ALL.into_iter().map(|kind| (kind.octet(), kind)).collect();
        for octet in ours.keys() {
            assert_eq!(BgpMessageType::decode_from(*octet).unwrap().encode(), *octet);
        }
    }
}
