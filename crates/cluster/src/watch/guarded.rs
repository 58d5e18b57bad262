use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// An object, or why it cannot be decoded: one bad object of a list must not stop the others.
///
/// Who manages which of its fields is the longest part of many an object and of no interest here; it is not kept
/// at any time.
#[derive(Debug, Clone)]
pub(super) struct Guarded<K>(pub(super) Result<K, Invalid>);

/// What is known of an object that cannot be decoded.
#[derive(Debug, Clone)]
pub(super) struct Invalid {
    pub(super) why: String,
    metadata: ObjectMeta,
}

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::OfObject.deserialize(deserializer)?;
        let metadata = identity(&fields);
        let decoded = K::deserialize(Value::Object(fields));
        Ok(Self(decoded.map_err(|error| Invalid { why: error.to_string(), metadata })))
    }
}

/// What a watch has to know of any object.
fn identity(fields: &Map<String, Value>) -> ObjectMeta {
    let metadata = fields.get("metadata");
    let text = |field| Some(metadata?.get(field)?.as_str()?.to_owned());
    ObjectMeta {
        namespace: text("namespace"),
        name: text("name"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

/// Reads fields, without those that are of no interest.
#[derive(Clone, Copy)]
enum Fields {
    OfObject,
    OfMetadata,
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Map<String, Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            match (self, name.as_str()) {
                (Self::OfObject, "metadata") => {
                    let metadata = entries.next_value_seed(Self::OfMetadata)?;
                    fields.insert(name, Value::Object(metadata));
                }
                (Self::OfMetadata, "managedFields") => drop(entries.next_value::<IgnoredAny>()?),
                (Self::OfObject | Self::OfMetadata, _) => drop(fields.insert(name, entries.next_value()?)),
            }
        }
        Ok(fields)
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::core::{ObjectList, WatchEvent};

    use super::*;

    fn text(spec: &str) -> String {
        let managed = r#"[{"manager":"kubectl","fieldsV1":{"f:spec":{}}}]"#;
        let metadata = format!(
            r#"{{"managedFields":{managed},"name":"web","namespace":"d","resourceVersion":"7","labels":{{"a":"b"}}}}"#
        );
        format!(r#"{{"apiVersion":"v1","kind":"Service","metadata":{metadata},"spec":{spec}}}"#)
    }

    const GOOD: &str = r#"{"type":"LoadBalancer","ports":[{"port":80}]}"#;
    const BAD: &str = r#"{"type":["LoadBalancer"]}"#;

    #[test]
    fn all_but_the_managed_fields_is_as_the_api_server_says() {
        let ours: Guarded<Service> = serde_json::from_str(&text(GOOD)).unwrap();
        let mut plain: Service = serde_json::from_str(&text(GOOD)).unwrap();
        assert_eq!(plain.metadata.managed_fields.take().unwrap().len(), 1);
        assert_eq!(ours.0.unwrap(), plain);
    }

    #[test]
    fn a_bad_object_keeps_its_identity_and_leaves_the_others() {
        let list =
            format!(r#"{{"kind":"ServiceList","metadata":{{}},"items":[{},{}]}}"#, text(BAD), text(GOOD));
        let list: ObjectList<Guarded<Service>> = serde_json::from_str(&list).unwrap();
        let [bad, good] = list.items.as_slice() else { panic!() };
        assert!(good.0.is_ok());
        let why = &bad.0.as_ref().unwrap_err().why;
        assert!(why.contains("invalid type"), "{why}");
        let metadata = bad.meta();
        assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("web"), Some("d")));
        assert_eq!(metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn it_is_read_from_a_watch_whichever_field_comes_first() {
        let object = text(GOOD);
        for event in [
            format!(r#"{{"type":"ADDED","object":{object}}}"#),
            format!(r#"{{"object":{object},"type":"ADDED"}}"#),
        ] {
            let event: WatchEvent<Guarded<Service>> = serde_json::from_str(&event).unwrap();
            let WatchEvent::Added(object) = event else { panic!() };
            assert_eq!(object.meta().name.as_deref(), Some("web"));
            assert!(object.0.is_ok() && object.meta().managed_fields.is_none());
        }
    }
}
