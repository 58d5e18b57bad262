use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::*;
use crate::namespace::{index, inside, ip, run};

fn network(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

/// Reads changes until the interface is as wanted, and gives it.
async fn until(links: &mut Links, name: &str, wanted: impl Fn(&Link) -> bool) -> Link {
    loop {
        if let Change::Link(link) = links.next().await.unwrap()
            && link.name == name
            && wanted(&link)
        {
            assert_eq!(links.current().get(&link.index), Some(&link));
            return link;
        }
    }
}

fn has(link: &Link, address: &str) -> bool {
    let address: IpAddr = address.parse().unwrap();
    link.addresses.iter().any(|other| other.network.ip() == address)
}

#[test]
fn what_is_there_is_known_after_opening() {
    inside(async || {
        ip("addr add 192.0.2.1/24 dev near");
        ip("addr add 2001:db8::1/64 dev near nodad");
        let links = Links::open().await.unwrap();
        let a = &links.current()[&index("near")];
        assert_eq!((a.name.as_str(), a.mac), ("near", Some([2, 0, 0, 0, 0, 0x0a])));
        assert!(a.up && a.carrier && !a.loopback && !a.no_arp);
        assert_eq!(a.master, None);
        let global = |text| Address { network: network(text), scope: Scope::Global };
        assert!(a.addresses.contains(&global("192.0.2.1/24")));
        assert!(a.addresses.contains(&global("2001:db8::1/64")));
        let lo = &links.current()[&index("lo")];
        assert!(lo.loopback);
        assert_eq!(lo.mac, None);
        assert!(lo.addresses.contains(&Address { network: network("127.0.0.1/8"), scope: Scope::Host }));
    });
}

#[test]
fn addresses_come_and_go() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        ip("addr add 192.0.2.1/24 dev near");
        until(&mut links, "near", |link| has(link, "192.0.2.1")).await;
        ip("addr add 2001:db8::1/64 dev near nodad");
        until(&mut links, "near", |link| has(link, "2001:db8::1")).await;
        ip("addr del 192.0.2.1/24 dev near");
        let a = until(&mut links, "near", |link| !has(link, "192.0.2.1")).await;
        assert!(has(&a, "2001:db8::1"));
    });
}

#[test]
fn an_address_that_is_still_being_checked_is_not_there_yet() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        ip("addr add 2001:db8::1/64 dev near");
        ip("addr add 2001:db8::2/64 dev near nodad");
        let a = until(&mut links, "near", |link| has(link, "2001:db8::2")).await;
        assert!(!has(&a, "2001:db8::1"));
        until(&mut links, "near", |link| has(link, "2001:db8::1")).await;
    });
}

#[test]
fn a_link_local_address_is_found_among_others() {
    inside(async || {
        ip("link set near addrgenmode none");
        ip("addr flush dev near");
        let mut links = Links::open().await.unwrap();
        ip("addr add 2001:db8::1/64 dev near nodad");
        let a = until(&mut links, "near", |link| has(link, "2001:db8::1")).await;
        assert_eq!(a.link_local(), None);
        ip("addr add fe80::a/64 dev near nodad");
        let a = until(&mut links, "near", |link| has(link, "fe80::a")).await;
        assert_eq!(a.link_local(), Some("fe80::a".parse().unwrap()));
        assert!(a.addresses.contains(&Address { network: network("fe80::a/64"), scope: Scope::Link }));
    });
}

#[test]
fn carrier_switch_name_mac_and_arp_are_followed() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        ip("link set far down");
        let a = until(&mut links, "near", |link| !link.carrier).await;
        assert!(a.up);
        ip("link set far up");
        until(&mut links, "near", |link| link.carrier).await;
        ip("link set near down");
        until(&mut links, "near", |link| !link.up).await;
        ip("link set near name moved address 02:00:00:00:00:0c arp off");
        let c = until(&mut links, "moved", |link| link.no_arp).await;
        assert_eq!((c.index, c.mac), (a.index, Some([2, 0, 0, 0, 0, 0x0c])));
    });
}

#[test]
fn leaving_a_bridge_is_not_the_end_of_an_interface() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        ip("link add name junction type bridge");
        ip("link set near master junction");
        until(&mut links, "near", |link| link.master == Some(index("junction"))).await;
        let (near, junction) = (index("near"), index("junction"));
        ip("link set near nomaster");
        ip("link del junction");
        let mut gone = Vec::new();
        while !gone.contains(&junction) {
            if let Change::Gone(index) = links.next().await.unwrap() {
                gone.push(index);
            }
        }
        assert_eq!(gone, [junction]);
        assert_eq!(links.current()[&near].master, None);
    });
}

#[test]
fn deleted_interfaces_are_gone() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        let mut expected = vec![index("near"), index("far")];
        ip("link del near");
        while !expected.is_empty() {
            if let Change::Gone(gone) = links.next().await.unwrap() {
                assert!(!links.current().contains_key(&gone));
                expected.retain(|index| *index != gone);
            }
        }
    });
}

#[test]
fn lost_events_are_made_up_for_by_what_there_is() {
    const ADDRESSES: usize = 400;
    inside(async || {
        let mut links = Links::open().await.unwrap();
        links.events.get_ref().set_rx_buf_sz(4096).unwrap();
        let (a, b) = (index("near"), index("far"));
        let adds = (0..ADDRESSES)
            .map(|number| format!("addr add 10.0.{}.{}/32 dev near\n", number / 250, number % 250));
        let batch = std::env::temp_dir().join(format!("netio-links-{}", std::process::id()));
        std::fs::write(&batch, adds.collect::<String>() + "link add other type veth peer name another\n")
            .unwrap();
        run("ip", &format!("-batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
        let mut changes = 0;
        let complete = |links: &Links| {
            let addresses =
                links.current()[&a].addresses.iter().filter(|address| address.network.is_ipv4()).count();
            addresses == ADDRESSES && links.current().len() == 5
        };
        while !complete(&links) || !links.pending.is_empty() {
            links.next().await.unwrap();
            changes += 1;
        }
        assert!(changes < ADDRESSES, "no event was lost: the test does not test");
        assert!(links.current().contains_key(&b));
        ip("link del near");
        while links.current().contains_key(&a) {
            links.next().await.unwrap();
        }
    });
}

#[test]
fn a_change_that_was_waited_for_in_vain_is_not_lost() {
    inside(async || {
        let mut links = Links::open().await.unwrap();
        for number in 1..20 {
            let address = format!("192.0.2.{number}");
            let mut waiting = Box::pin(links.next());
            // Given up before the event, and once in the middle of asking for everything.
            assert!(futures::poll!(&mut waiting).is_pending());
            drop(waiting);
            links.stale = number % 2 == 0;
            let mut waiting = Box::pin(links.next());
            assert!(futures::poll!(&mut waiting).is_pending());
            drop(waiting);
            ip(&format!("addr add {address}/24 dev far"));
            until(&mut links, "far", |link| has(link, &address)).await;
        }
    });
}
