use super::*;

fn quota(ipv4: Option<u32>, ipv6: Option<u32>) -> Quota {
    AddressQuotaSpec { ipv4, ipv6, ..AddressQuotaSpec::default() }.parse().unwrap()
}

fn used_by(namespace: Option<&str>, ipv4: u32, ipv6: u32) -> QuotaUse {
    QuotaUse { namespace: namespace.map(Into::into), ipv4, ipv6 }
}

#[test]
fn the_fullest_count_stands_beside_its_limit() {
    let text = |quota: &Quota, uses: &[QuotaUse]| AddressQuotaStatus::new(quota, uses, vec![]).used;
    let both = quota(Some(10), Some(5));
    assert_eq!(text(&both, &[used_by(None, 3, 0)]), "3 of 10 IPv4, 0 of 5 IPv6");
    let each = [used_by(Some("team-a"), 3, 9), used_by(Some("team-b"), 1, 0)];
    assert_eq!(text(&quota(Some(10), None), &each), "team-a: 3 of 10 IPv4");
    assert_eq!(text(&both, &[]), "");
}

#[test]
fn who_uses_how_much_is_written_and_bounded() {
    let uses: Vec<_> = (0..300).map(|number| used_by(Some(&format!("n{number}")), number, 0)).collect();
    let status = AddressQuotaStatus::new(&quota(Some(300), None), &uses, vec![]);
    assert_eq!(status.usage.len(), 256);
    let value = serde_json::to_value(&status.usage[1]).unwrap();
    assert_eq!(value, serde_json::json!({ "namespace": "n1", "ipv4": 1, "ipv6": 0 }));
    let all = AddressQuotaStatus::new(&quota(None, Some(1)), &[used_by(None, 0, 1)], vec![]);
    assert_eq!(serde_json::to_value(&all.usage[0]).unwrap(), serde_json::json!({ "ipv4": 0, "ipv6": 1 }));
}
