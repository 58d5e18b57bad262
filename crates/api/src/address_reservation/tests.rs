use serde_json::{Value, json};

use super::*;

fn reservation(status: &Value) -> AddressReservation {
    serde_json::from_value(json!({
        "apiVersion": "ferritelb.io/v1beta1", "kind": "AddressReservation",
        "metadata": { "name": "dns", "creationTimestamp": "1970-01-01T00:01:40Z" },
        "spec": {
            "service": { "namespace": "d", "name": "dns" },
            "addresses": ["192.0.2.1", "2001:db8::/64"], "expires": "2030-01-01T00:00:00.5Z",
        },
        "status": status,
    }))
    .unwrap()
}

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn what_its_status_records_is_part_of_it() {
    let status = json!({ "addresses": ["192.0.2.9", "x", "2001:db8::9"], "released": ["192.0.2.1"] });
    let meaning = reservation(&status).parse().unwrap();
    let expected = Reservation {
        holder: Holder::Service(ServiceKey::new("d", "dns")),
        prefixes: ["192.0.2.1/32", "2001:db8::/64"].map(|text| text.parse().unwrap()).into(),
        counts: None,
        chosen: addresses(&["192.0.2.9", "2001:db8::9"]),
        released: addresses(&["192.0.2.1"]),
        reclaim: Reclaim::Retain,
        expires: None,
        created: ipam::Created(100),
    };
    assert_eq!(meaning.reservation, expected);
    assert_eq!(meaning.expires, Some("2030-01-01T00:00:00.5Z".parse().unwrap()));
}

#[test]
fn its_state_is_written_and_read_back() {
    let key = || ServiceKey::new("d", "dns");
    let state = ReservationState {
        chosen: addresses(&["192.0.2.9"]),
        released: addresses(&["192.0.2.1", "192.0.2.2"]),
        used: vec![("192.0.2.9".parse().unwrap(), key())],
        pending: vec![("2001:db8::1".parse().unwrap(), key()); 300],
        phase: Phase::Expired,
        ..ReservationState::default()
    };
    let status = AddressReservationStatus::new(&state, vec![]);
    assert_eq!((status.phase.as_str(), status.pending.len()), ("Expired", 256));
    let used = HeldAddress { address: "192.0.2.9".into(), namespace: "d".into(), name: "dns".into() };
    assert_eq!(status.used, [used]);
    let read = reservation(&serde_json::to_value(&status).unwrap());
    assert_eq!(read.status.as_ref(), Some(&status));
    let read = read.parse().unwrap().reservation;
    assert_eq!((read.chosen, read.released), (state.chosen, state.released));
}
