use std::time::Duration;

use super::*;
use crate::namespace::{inside, ip, run};

/// The gateways as `interface address`.
async fn gateways(routes: &Routes) -> Vec<String> {
    let name = |index: LinkIndex| nix::net::if_::if_indextoname(index.get()).unwrap().into_string().unwrap();
    let all = routes.gateways().await.unwrap();
    all.into_iter().map(|one| format!("{} {}", name(one.interface), one.address)).collect()
}

/// `near` and `far` with two subnets each.
fn addresses() {
    for (device, v4, v6) in
        [("near", "192.0.2.1/24", "2001:db8:1::1/64"), ("far", "198.51.100.1/24", "2001:db8:2::1/64")]
    {
        ip(&format!("addr add {v4} dev {device}"));
        ip(&format!("addr add {v6} dev {device} nodad"));
    }
}

#[test]
fn default_routes_come_first_and_every_other_next_hop_after_them() {
    inside(async || {
        addresses();
        ip("route add default via 198.51.100.254 dev far");
        ip("-6 route add default via 2001:db8:2::ff dev far");
        ip("route add 10.1.0.0/16 via 192.0.2.200");
        ip("route add 10.2.0.0/16 via 192.0.2.200");
        ip("route add 10.3.0.0/16 via 198.51.100.254");
        ip("-6 route add 2001:db8:9::/48 via 2001:db8:1::ff");
        let routes = Routes::open().unwrap();
        let expected =
            ["far 198.51.100.254", "far 2001:db8:2::ff", "near 192.0.2.200", "near 2001:db8:1::ff"];
        let mut found = gateways(&routes).await;
        found[..2].sort();
        found[2..].sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn next_hops_of_every_form_are_found_and_what_is_no_router_is_not() {
    inside(async || {
        addresses();
        ip("route add 10.1.0.0/16 nexthop via 192.0.2.10 dev near nexthop via 198.51.100.10 dev far");
        ip("route add 10.2.0.0/16 via inet6 2001:db8:1::20 dev near");
        ip("route add 10.3.0.0/16 via 192.0.2.30 table 100");
        ip("nexthop add id 7 via 192.0.2.40 dev near");
        ip("route add 10.4.0.0/16 nhid 7");
        ip("route add 10.5.0.0/16 dev near");
        ip("route add blackhole 10.6.0.0/16");
        ip("route add unreachable 10.7.0.0/16");
        ip(
            "-6 route add 2001:db8:9::/48 nexthop via 2001:db8:1::50 dev near nexthop via 2001:db8:2::50 dev far",
        );
        let routes = Routes::open().unwrap();
        let mut expected = [
            "near 192.0.2.10",
            "far 198.51.100.10",
            "near 2001:db8:1::20",
            "near 192.0.2.30",
            "near 192.0.2.40",
            "near 2001:db8:1::50",
            "far 2001:db8:2::50",
        ];
        expected.sort_unstable();
        let mut found = gateways(&routes).await;
        found.sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_change_is_told_once_and_also_when_events_were_lost() {
    const SHORT: Duration = Duration::from_millis(100);
    inside(async || {
        addresses();
        let mut routes = Routes::open().unwrap();
        let mut told = 0;
        while tokio::time::timeout(SHORT, routes.changed()).await.is_ok() {
            // The kernel adds routes of its own a while after an interface has come up.
            told += 1;
            assert!(told < 20, "nothing changes any more");
        }
        ip("route add default via 192.0.2.254");
        routes.changed().await.unwrap();
        assert_eq!(gateways(&routes).await, ["near 192.0.2.254"]);
        assert!(tokio::time::timeout(SHORT, routes.changed()).await.is_err(), "nothing more has");
        routes.events.get_ref().set_rx_buf_sz(2048).unwrap();
        let adds = (0..256).map(|number| format!("route add 10.0.{number}.0/24 via 192.0.2.2\n"));
        let batch = std::env::temp_dir().join(format!("netio-routes-{}", std::process::id()));
        std::fs::write(&batch, adds.collect::<String>() + "route del default\n").unwrap();
        run("ip", &format!("-batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
        routes.changed().await.unwrap();
        assert_eq!(gateways(&routes).await, ["near 192.0.2.2"]);
        ip("route flush 10.0.0.0/8");
        ip("-6 route add default via 2001:db8:1::fe");
        routes.changed().await.unwrap();
        assert!(gateways(&routes).await.contains(&"near 2001:db8:1::fe".to_owned()));
    });
}

#[test]
fn no_number_of_routers_is_too_many() {
    inside(async || {
        addresses();
        ip("addr add 10.0.0.1/8 dev near");
        ip("route add default via 192.0.2.254");
        let adds = (0..MOST + 500).map(|number| {
            let (high, low) = (number / 250, number % 250 + 2);
            format!("route add 172.16.{high}.{low}/32 via 10.9.{high}.{low}\n")
        });
        let batch = std::env::temp_dir().join(format!("netio-routers-{}", std::process::id()));
        std::fs::write(&batch, adds.collect::<String>()).unwrap();
        run("ip", &format!("-batch {}", batch.display()));
        std::fs::remove_file(batch).unwrap();
        let found = gateways(&Routes::open().unwrap()).await;
        assert_eq!(found.len(), MOST);
        assert_eq!(found[0], "near 192.0.2.254");
        assert!(found.contains(&"near 10.9.0.2".to_owned()), "those with the least addresses stay");
    });
}

#[test]
fn routes_that_the_kernel_would_not_send_add_nothing_or_what_they_say() {
    let hop = |attributes: Vec<RouteAttribute>| {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        let mut hops = NextHops::default();
        hops.add(&route);
        hops.into_list().len()
    };
    let via = || RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, 1].into()));
    assert_eq!(hop(vec![]), 0);
    assert_eq!(hop(vec![via()]), 0, "no interface");
    assert_eq!(hop(vec![RouteAttribute::Oif(1)]), 0, "no gateway");
    assert_eq!(hop(vec![RouteAttribute::Oif(1), RouteAttribute::Gateway(RouteAddress::Other(vec![1]))]), 0);
    assert_eq!(hop(vec![RouteAttribute::MultiPath(vec![RouteNextHop::default(); 3])]), 0);
    assert_eq!(hop(vec![via(), RouteAttribute::Oif(1)]), 1);
}
