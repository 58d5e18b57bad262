//! Statuses that another version wrote.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a field of a status, or its default where it cannot be read. A status is only a record: one of another
/// version must not take the spec beside it out of use.
///
/// # Errors
/// It is no JSON at all.
pub(crate) fn field<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    from: D,
) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{AddressQuota, AddressReservation, IpAddressPool};

    #[test]
    fn what_cannot_be_read_of_a_status_takes_nothing_else_with_it() {
        let pool: IpAddressPool = serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "addresses": ["10.0.0.0/24"] },
            "status": {
                "assigned": 3,
                "holders": [{ "namespace": "d", "count": 3 }],
                "quarantine": [{ "address": "10.0.0.1" }],
                "inEffect": { "onRemove": "Think" },
            },
        }))
        .unwrap();
        let status = pool.status.unwrap();
        assert_eq!((status.assigned, status.holders, status.quarantine), (3, vec![], vec![]));
        assert_eq!((status.in_effect, pool.spec.addresses), (None, vec!["10.0.0.0/24".into()]));
        let quota: AddressQuota = serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "ipv4": 1 },
            "status": { "usage": [{}] },
        }))
        .unwrap();
        assert_eq!((quota.status.unwrap().usage, quota.spec.ipv4), (vec![], Some(1)));
        let reservation: AddressReservation = serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "addresses": ["10.0.0.1"] },
            "status": { "used": [{}], "pending": "none", "released": ["10.0.0.2"] },
        }))
        .unwrap();
        let status = reservation.status.unwrap();
        assert_eq!((status.used, status.pending, status.released), (vec![], vec![], vec!["10.0.0.2".into()]));
    }
}
