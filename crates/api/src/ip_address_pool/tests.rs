use ipam::{Count, Usage};
use k8s_openapi::jiff::Timestamp;
use names::ServiceKey;
use serde_json::{Value, json};

use super::*;

fn pool(spec: Value, status: Value) -> IpAddressPool {
    let metadata = json!({"name": "edge", "creationTimestamp": "1970-01-01T00:01:40Z", "labels": {"a": "b"}});
    serde_json::from_value(json!({
        "apiVersion": "ferritelb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": metadata, "spec": spec, "status": status,
    }))
    .unwrap()
}

fn parsed(spec: Value) -> Result<PoolMeaning, Invalid> {
    pool(spec, Value::Null).parse()
}

#[test]
fn only_addresses_are_needed() {
    let meaning = parsed(json!({"addresses": ["192.0.2.0/24"]})).unwrap();
    let expected = ipam::Pool {
        prefixes: vec!["192.0.2.0/24".parse().unwrap()],
        created: Created(100),
        ..ipam::Pool::default()
    };
    assert_eq!(meaning, PoolMeaning { pool: expected, hold: Hold::None });
}

#[test]
fn drain_goes_beyond_disabled() {
    let state = |disabled: bool, drain: bool| {
        let spec = json!({"addresses": ["192.0.2.0/24"], "disabled": disabled, "drain": drain});
        parsed(spec).unwrap().pool.state
    };
    assert_eq!(state(false, false), State::Open);
    assert_eq!(state(true, false), State::Disabled);
    assert_eq!([state(false, true), state(true, true)], [State::Drained; 2]);
}

#[test]
fn a_selector_that_matches_nothing_closes_the_pool_and_an_empty_allocation_does_not() {
    let audience = |allocation: Value| {
        let spec = json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": allocation});
        parsed(spec).unwrap().pool.audience
    };
    assert_eq!(audience(json!({})), ipam::Audience::default());
    assert_eq!(audience(json!({"priority": 3})), ipam::Audience::default());
    let closed = audience(json!({"namespaceSelectors": [{"matchLabels": {"nobody": "has this"}}]}));
    assert_eq!(closed.namespace_selectors.len(), 1);
}

#[test]
fn while_it_is_paused_the_spec_in_effect_goes_on() {
    let prefixes = |status: Value| {
        let paused = json!({"addresses": ["198.51.100.0/24"], "paused": true});
        let pool = pool(paused, status);
        assert_eq!(pool.parse().unwrap().hold, Hold::Paused);
        let announced = pool.announced().unwrap().prefixes;
        assert_eq!(pool.in_effect().map(|pool| pool.prefixes).unwrap_or_default(), announced);
        announced
    };
    let before = json!({"inEffect": {"addresses": ["192.0.2.0/24"]}});
    assert_eq!(prefixes(before), ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(prefixes(json!({})), [], "it was born paused");
    assert_eq!(prefixes(json!({"inEffect": {"addresses": ["x"]}})), [], "a record that means nothing");
}

#[test]
fn while_it_means_nothing_what_is_in_effect_is_announced() {
    let announced = |status: Value| pool(json!({"addresses": ["x"]}), status).announced();
    let before = json!({"inEffect": {"addresses": ["192.0.2.0/24"]}});
    assert_eq!(announced(before).unwrap().prefixes, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(announced(json!({})).unwrap_err().field, "spec.addresses[0]");
}

#[test]
fn what_is_in_effect_is_as_old_as_its_pool() {
    let pool = pool(
        json!({"addresses": ["192.0.2.0/24"]}),
        json!({"inEffect": {"addresses": ["192.0.2.0/24"], "reuseAfter": "1m"}}),
    );
    let in_effect = pool.in_effect().unwrap();
    assert_eq!((in_effect.created, in_effect.reuse_after), (Created(100), Duration::from_secs(60)));
}

/// Total, assigned, available, quarantined and reserved.
fn usage(counts: [i64; 5]) -> Usage {
    let [total, assigned, available, quarantined, reserved] = counts.map(Count::Exactly);
    Usage { total, assigned, available, quarantined, reserved }
}

#[test]
fn counts_stop_where_numbers_end_and_say_so() {
    let v4 = usage([10, 3, 6, 2, 1]);
    let v6 = Usage { total: Count::Saturated, available: Count::Saturated, ..v4 };
    let status = IpAddressPoolStatus::new(Some(v4), Some(v6), vec![]);
    let value = serde_json::to_value(&status).unwrap();
    let expected = json!({
        "assigned": 6, "assignedIPv4": 3, "assignedIPv6": 3,
        "availableIPv4": 6, "availableIPv6": i64::MAX,
        "quarantinedIPv4": 2, "quarantinedIPv6": 2,
        "reservedIPv4": 1, "reservedIPv6": 1,
        "totalIPv4": 10, "totalIPv6": i64::MAX,
        "used": "3 IPv4, 3 IPv6", "free": "6 IPv4, more than 2^63 - 1 IPv6",
        "holders": [], "quarantine": [], "conditions": [],
    });
    assert_eq!(value, expected);
    let none = IpAddressPoolStatus::new(None, Some(usage([0; 5])), vec![]);
    assert_eq!(none, IpAddressPoolStatus::default());
}

#[test]
fn the_sum_of_both_families_stops_too() {
    let full = Usage { total: Count::Saturated, assigned: Count::Saturated, ..usage([0; 5]) };
    assert_eq!(IpAddressPoolStatus::new(Some(full), Some(full), vec![]).assigned, i64::MAX);
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rest(address: &str, name: &str, until: &str) -> (std::net::IpAddr, ServiceKey, Timestamp) {
    (address.parse().unwrap(), ServiceKey::new("d", name), at(until))
}

#[test]
fn a_quarantine_is_written_and_read_back() {
    let rests = [
        rest("192.0.2.1", "web", "2026-11-21T12:00:00.4Z"),
        rest("2001:db8::1", "dns", "2026-11-21T12:00:01Z"),
    ];
    let written = Quarantined::written(rests, &[]);
    let text = serde_json::to_string(&written).unwrap();
    let read: Vec<Quarantined> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, written, "what is read back must not look like a change");
    let read: Vec<_> = read.iter().filter_map(Quarantined::parse).collect();
    assert_eq!(read[0], rest("192.0.2.1", "web", "2026-11-21T12:00:01Z"));
    assert_eq!(read[1], rest("2001:db8::1", "dns", "2026-11-21T12:00:01Z"));
    let garbage = Quarantined { address: "x".into(), ..written[0].clone() };
    assert_eq!(garbage.parse(), None);
}

#[test]
fn a_rest_is_written_anew_only_when_it_is_another_one() {
    let before = Quarantined::written([rest("192.0.2.1", "web", "2026-11-21T12:00:00Z")], &[]);
    let written = |name, until| Quarantined::written([rest("192.0.2.1", name, until)], &before);
    assert_eq!(written("web", "2026-11-21T12:00:01.9Z"), before);
    assert_ne!(written("web", "2026-11-21T12:00:02.1Z"), before);
    assert_eq!(written("dns", "2026-11-21T12:00:00.1Z")[0].until.0, at("2026-11-21T12:00:01Z"));
}

#[test]
fn a_quarantine_is_bounded() {
    let rests = (0..2000u32).map(|number| {
        (std::net::Ipv4Addr::from(number).into(), ServiceKey::new("d", "web"), Timestamp::UNIX_EPOCH)
    });
    assert_eq!(Quarantined::written(rests, &[]).len(), 1024);
}

#[test]
fn candidates_are_what_the_status_says_and_probed_as_the_spec_in_effect_says() {
    let spec = |probe: &str| json!({"addresses": ["192.0.2.0/24"], "probe": probe});
    let status = || json!({"candidates": ["192.0.2.1", "nonsense", "2001:db8::1"]});
    let candidates = pool(spec("Full"), status()).candidates();
    let addresses: Vec<_> = candidates.addresses.iter().map(ToString::to_string).collect();
    assert_eq!((addresses, candidates.probe), (vec!["192.0.2.1".into(), "2001:db8::1".into()], Probe::Full));
    let mut paused = spec("Full");
    paused["paused"] = json!(true);
    assert_eq!(pool(paused.clone(), status()).candidates().probe, Probe::Off, "nothing is in effect");
    let mut status = status();
    status["inEffect"] = spec("Quick");
    assert_eq!(pool(paused, status).candidates().probe, Probe::Quick);
}
