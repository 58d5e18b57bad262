use std::collections::{BTreeMap, BTreeSet};

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

/// An EndpointSlice, by namespace and name.
pub type SliceName = (String, String);

/// The slices of all Services: the endpoints of one are those of all its slices.
#[derive(Debug, Clone, Default)]
pub struct Slices {
    slices: BTreeMap<SliceName, SliceEndpoints>,
    of: BTreeMap<ServiceKey, BTreeSet<SliceName>>,
}

impl Slices {
    /// A slice as it is now; nothing: it is gone, or of no Service. Says what the Services that it was and is of have
    /// now: `None` where there is no slice at all.
    pub fn set(
        &mut self,
        name: SliceName,
        slice: Option<SliceEndpoints>,
    ) -> BTreeMap<ServiceKey, Option<Endpoints>> {
        let after = slice.as_ref().map(|slice| slice.service.clone());
        let before = match slice {
            Some(slice) => self.slices.insert(name.clone(), slice),
            None => self.slices.remove(&name),
        };
        let before = before.map(|before| before.service);
        if let Some(names) = before.as_ref().and_then(|before| self.of.get_mut(before)) {
            names.remove(&name);
        }
        if let Some(after) = &after {
            self.of.entry(after.clone()).or_default().insert(name);
        }
        let services: BTreeSet<_> = before.into_iter().chain(after).collect();
        services.into_iter().map(|service| (service.clone(), self.sum(&service))).collect()
    }

    fn sum(&mut self, service: &ServiceKey) -> Option<Endpoints> {
        let Some(names) = self.of.get(service).filter(|names| !names.is_empty()) else {
            self.of.remove(service);
            return None;
        };
        let mut sum = Endpoints::default();
        for slice in names.iter().filter_map(|name| self.slices.get(name)) {
            slice.add_to(&mut sum);
        }
        Some(sum)
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
    fn a_service_has_the_endpoints_of_all_its_slices_wherever_they_go() {
        let mut slices = Slices::default();
        let name = |text: &str| ("d".to_owned(), text.to_owned());
        let of = |service: &str, node: &str| {
            let usable = Usable { elsewhere: 0, nodes: [NodeName::new(node)].into() };
            Some(SliceEndpoints { service: ServiceKey::new("d", service), family: Family::V4, usable })
        };
        let told = |changes: BTreeMap<ServiceKey, Option<Endpoints>>| {
            let line = |(service, endpoints): (ServiceKey, Option<Endpoints>)| {
                let nodes =
                    endpoints.map(|sum| sum.v4.nodes.iter().map(NodeName::to_string).collect::<Vec<_>>());
                format!("{} {}", service.name, nodes.map_or("-".to_owned(), |nodes| nodes.join(",")))
            };
            changes.into_iter().map(line).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(told(slices.set(name("1"), of("a", "n1"))), "a n1");
        assert_eq!(told(slices.set(name("2"), of("a", "n2"))), "a n1,n2");
        assert_eq!(told(slices.set(name("1"), of("b", "n1"))), "a n2; b n1");
        assert_eq!(told(slices.set(name("2"), None)), "a -");
        assert_eq!(told(slices.set(name("2"), None)), "");
        assert_eq!(told(slices.set(name("1"), None)), "b -");
        assert_eq!((slices.slices.len(), slices.of.len()), (0, 0));
    }

    #[test]
    fn a_slice_without_a_service_or_of_host_names_says_nothing() {
        let mut orphan = slice("IPv4", serde_json::json!([]));
        orphan.metadata.labels = None;
        assert_eq!(SliceEndpoints::parse(&orphan), None);
        assert_eq!(SliceEndpoints::parse(&slice("FQDN", serde_json::json!([]))), None);
    }
}
