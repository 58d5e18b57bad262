use announce::{Endpoints, Family, Usable};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use names::{NodeName, ServiceKey};

/// Names the Service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The usable endpoints of one EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoints {
    /// Whose endpoints they are.
    pub service: ServiceKey,
    /// The slice's `addressType`.
    pub family: Family,
    /// Where they are.
    pub usable: Usable,
}

impl SliceEndpoints {
    /// What a slice says; nothing if it belongs to no Service or holds host names.
    pub fn parse(slice: &EndpointSlice) -> Option<Self> {
        let EndpointSlice { metadata, address_type, endpoints, ports: _ } = slice;
        let family = match address_type.as_str() {
            "IPv4" => Family::V4,
            "IPv6" => Family::V6,
            _ => return None,
        };
        let service = metadata.labels.as_ref()?.get(SERVICE_NAME)?;
        let mut usable = Usable::default();
        for endpoint in endpoints.iter().filter(|endpoint| is_usable(endpoint)) {
            match &endpoint.node_name {
                Some(node) => {
                    usable.nodes.insert(NodeName::new(node));
                }
                None => usable.elsewhere += 1,
            }
        }
        Some(Self { service: ServiceKey::new(metadata.namespace.as_deref()?, service), family, usable })
    }

    /// Adds them to those of the Service's other slices.
    pub fn add_to(&self, sum: &mut Endpoints) {
        let usable = match self.family {
            Family::V4 => &mut sum.v4,
            Family::V6 => &mut sum.v6,
        };
        usable.elsewhere += self.usable.elsewhere;
        usable.nodes.extend(self.usable.nodes.iter().cloned());
    }
}

/// Ready, or not said not to be; or still serving while it terminates, as kube-proxy falls back to such ones.
fn is_usable(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(false);
    !endpoint.addresses.is_empty() && (ready || serving)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(family: &str, endpoints: serde_json::Value) -> EndpointSlice {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "d", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": family,
            "endpoints": endpoints,
        }))
        .unwrap()
    }

    #[test]
    fn ready_absent_and_serving_are_usable_and_nothing_else_is() {
        let cases = [
            (serde_json::json!({}), true),
            (serde_json::json!({"ready": true}), true),
            (serde_json::json!({"ready": false}), false),
            (serde_json::json!({"ready": false, "serving": true, "terminating": true}), true),
            (serde_json::json!({"ready": false, "serving": false}), false),
            (serde_json::json!({"ready": true, "serving": false}), true),
        ];
        for (conditions, usable) in cases {
            let endpoints =
                serde_json::json!([{"addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": conditions}]);
            let found = SliceEndpoints::parse(&slice("IPv4", endpoints)).unwrap();
            assert_eq!(!found.usable.is_empty(), usable, "{conditions}");
        }
    }

    #[test]
    fn slices_of_both_families_add_up() {
        let v4 =
            serde_json::json!([{"addresses": ["10.0.0.1"], "nodeName": "n1"}, {"addresses": ["10.0.0.2"]}]);
        let v6 = serde_json::json!([{"addresses": ["fd00::1"], "nodeName": "n2"}, {"addresses": []}]);
        let mut sum = Endpoints::default();
        for slice in [slice("IPv4", v4.clone()), slice("IPv4", v4), slice("IPv6", v6)] {
            SliceEndpoints::parse(&slice).unwrap().add_to(&mut sum);
        }
        assert_eq!(sum.v4, Usable { elsewhere: 2, nodes: [NodeName::new("n1")].into() });
        assert_eq!(sum.v6, Usable { elsewhere: 0, nodes: [NodeName::new("n2")].into() });
    }

    #[test]
    fn a_slice_without_a_service_or_of_host_names_says_nothing() {
        let mut orphan = slice("IPv4", serde_json::json!([]));
        orphan.metadata.labels = None;
        assert_eq!(SliceEndpoints::parse(&orphan), None);
        assert_eq!(SliceEndpoints::parse(&slice("FQDN", serde_json::json!([]))), None);
    }
}
