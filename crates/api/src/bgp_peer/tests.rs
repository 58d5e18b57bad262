use super::*;

fn spec(extra: serde_json::Value) -> BgpPeerSpec {
    let mut spec = serde_json::json!({"myASN": 64500, "peerASN": 64512, "peerAddress": "10.77.0.1"});
    let fields = spec.as_object_mut().unwrap();
    fields.extend(extra.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

/// The hold time in seconds; 0 for none.
fn seconds(config: &bgp::PeerConfig) -> u16 {
    config.hold_time.map_or(0, HoldTime::seconds)
}

#[test]
fn a_router_id_of_its_own_wins_over_the_nodes() {
    let peer = spec(serde_json::json!({"routerID": "192.0.2.9"})).parse().unwrap();
    let config = peer.config(RouterId::parse(Ipv4Addr::LOCALHOST).unwrap());
    assert_eq!(config.router_id.address(), Ipv4Addr::new(192, 0, 2, 9));
}

#[test]
fn what_is_not_set_has_its_default() {
    let peer = spec(serde_json::json!({})).parse().unwrap();
    assert_eq!(peer.remote, "10.77.0.1:179".parse().unwrap());
    let node = RouterId::parse(Ipv4Addr::new(10, 77, 0, 11)).unwrap();
    let config = peer.config(node);
    assert_eq!((config.local_asn.get(), config.peer_asn.get()), (64500, 64512));
    assert_eq!((seconds(&config), config.keepalive_time), (90, None));
    assert_eq!(config.connect_retry_time, Duration::from_secs(10));
    assert_eq!((peer.source, config.router_id), (None, node));
    assert_eq!(config.families, [bgp::Family::Ipv4Unicast].into());
    assert_eq!(peer.distance, Distance::OneHop);
    assert_eq!(peer.announced.families, [Family::V4].into());
}

#[test]
fn the_session_carries_the_family_of_its_address_or_both() {
    let v6 = spec(serde_json::json!({"peerAddress": "fd77::1"})).parse().unwrap();
    assert_eq!(v6.announced.families, [Family::V6].into());
    let both = spec(serde_json::json!({"dualStackAddressFamily": true})).parse().unwrap();
    assert_eq!(both.announced.families, [Family::V4, Family::V6].into());
}

#[test]
fn one_timer_gives_the_other() {
    let timers = |extra| {
        let config = spec(extra).parse().unwrap().config(RouterId::parse(Ipv4Addr::LOCALHOST).unwrap());
        (seconds(&config), config.keepalive_time)
    };
    assert_eq!(timers(serde_json::json!({"keepaliveTime": "2s"})), (6, Some(Duration::from_secs(2))));
    assert_eq!(timers(serde_json::json!({"holdTime": "1m"})), (60, None));
    assert_eq!(timers(serde_json::json!({"holdTime": "0s"})), (0, None));
    assert_eq!(timers(serde_json::json!({"holdTime": "0s", "keepaliveTime": "0s"})), (0, None));
}

#[test]
fn internal_sessions_may_take_several_hops() {
    assert_eq!(spec(serde_json::json!({"peerASN": 64500})).parse().unwrap().distance, Distance::ManyHops);
    assert_eq!(spec(serde_json::json!({"ebgpMultiHop": true})).parse().unwrap().distance, Distance::ManyHops);
}

#[test]
fn every_field_that_cannot_be_honoured_is_named() {
    let cases = [
        (serde_json::json!({"myASN": 0}), "spec.myASN"),
        (serde_json::json!({"peerASN": 23456}), "spec.peerASN"),
        (serde_json::json!({"peerAddress": "router.example"}), "spec.peerAddress"),
        (serde_json::json!({"peerAddress": "0.0.0.0"}), "spec.peerAddress"),
        (serde_json::json!({"peerAddress": "224.0.0.5"}), "spec.peerAddress"),
        (serde_json::json!({"peerAddress": "fe80::1"}), "spec.peerAddress"),
        (serde_json::json!({"peerPort": 0}), "spec.peerPort"),
        (serde_json::json!({"sourceAddress": "fd00::1"}), "spec.sourceAddress"),
        (serde_json::json!({"sourceAddress": "eth0"}), "spec.sourceAddress"),
        (serde_json::json!({"routerID": "fd00::1"}), "spec.routerID"),
        (serde_json::json!({"routerID": "0.0.0.0"}), "spec.routerID"),
        (serde_json::json!({"holdTime": "2s"}), "spec.holdTime"),
        (serde_json::json!({"holdTime": "65536s"}), "spec.holdTime"),
        (serde_json::json!({"holdTime": "3500ms"}), "spec.holdTime"),
        (serde_json::json!({"holdTime": "9s", "keepaliveTime": "10s"}), "spec.keepaliveTime"),
        (serde_json::json!({"holdTime": "9s", "keepaliveTime": "0s"}), "spec.keepaliveTime"),
        (serde_json::json!({"keepaliveTime": "21846s"}), "spec.keepaliveTime"),
        (serde_json::json!({"connectTime": "0s"}), "spec.connectTime"),
        (serde_json::json!({"peerASN": 64500, "ebgpMultiHop": true}), "spec.ebgpMultiHop"),
        (
            serde_json::json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "X"}]}]}),
            "spec.nodeSelectors[0].matchExpressions[0].operator",
        ),
    ];
    for (extra, field) in cases {
        let invalid = spec(extra.clone()).parse().unwrap_err();
        assert_eq!(invalid.field, field, "{extra}: {invalid}");
    }
}
