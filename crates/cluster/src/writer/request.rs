use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use kube::{Client, Error};
use serde_json::json;
use tracing::{debug, warn};

use super::pending::Outcome;
use super::{Object, Write};

/// The answer is not looked at, so the smallest one will do.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";
/// JSON is YAML.
const APPLY: &str = "application/apply-patch+yaml";

/// How long nothing is sent when the API server has too much to do and does not say for how long.
const BREATH: Duration = Duration::from_secs(1);
/// The longest such time, whatever it says.
const LONGEST_BREATH: Duration = Duration::from_secs(30);

/// A write as it is sent: one request after the other.
#[derive(Debug)]
pub(super) struct Patches {
    patches: Vec<Patch>,
    /// Whether it makes the object if there is none.
    creates: bool,
    /// Whether it is about one version of the object.
    versioned: bool,
}

#[derive(Debug)]
struct Patch {
    method: Method,
    subresource: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Patches {
    pub(super) fn new(object: &Object, write: Write) -> Self {
        let one = |method, content_type, body: &serde_json::Value| Patch {
            method,
            subresource: "",
            content_type,
            body: body.to_string().into_bytes(),
        };
        let status = |content_type, body: &serde_json::Value| Patch {
            method: Method::PATCH,
            subresource: "/status",
            content_type,
            body: body.to_string().into_bytes(),
        };
        let apply = |body| object.identified(body);
        match write {
            Write::MergeStatus(body) => Self {
                versioned: body.pointer("/metadata/resourceVersion").is_some(),
                patches: vec![status(STRATEGIC, &body)],
                creates: false,
            },
            Write::ApplyStatus(body) => {
                Self { patches: vec![status(APPLY, &apply(body))], creates: false, versioned: false }
            }
            Write::Apply { object: body, status: after } => {
                let first = one(Method::PATCH, APPLY, &apply(body));
                Self { patches: vec![first, status(APPLY, &apply(after))], creates: true, versioned: false }
            }
            Write::Create(body) => {
                Self { patches: vec![one(Method::POST, JSON, &apply(body))], creates: true, versioned: false }
            }
            Write::Merge(body) => Self {
                versioned: body.pointer("/metadata/resourceVersion").is_some(),
                patches: vec![one(Method::PATCH, MERGE, &body)],
                creates: false,
            },
            Write::Delete { uid } => {
                let body = json!({ "preconditions": { "uid": uid } });
                Self { patches: vec![one(Method::DELETE, JSON, &body)], creates: false, versioned: false }
            }
        }
    }

    /// Sends all of them, unless `may_send` says no before one.
    pub(super) async fn send(
        &self,
        client: &Client,
        manager: &str,
        object: &Object,
        may_send: impl Fn() -> bool,
    ) -> Outcome {
        for patch in &self.patches {
            if !may_send() {
                return Outcome::Failed;
            }
            let sent = match patch.request(object, manager) {
                Ok(request) => client.request_text(request).await,
                Err(error) => Err(Error::HttpError(error)),
            };
            if let Err(error) = sent {
                return self.judge(&error, object);
            }
        }
        Outcome::Written
    }

    fn judge(&self, error: &Error, object: &Object) -> Outcome {
        let Error::Api(status) = error else {
            debug!(kind = object.kind(), object = %object.key(), %error, "a write failed and is tried again");
            return Outcome::Failed;
        };
        let outcome = match status.code {
            404 if !self.creates => Outcome::Gone,
            // Whoever put it sees the version that is there now, and decides again.
            409 if self.versioned && status.message.contains("has been modified") => Outcome::Gone,
            409 if status.message.contains("Precondition failed: UID") => Outcome::Gone,
            // Of what is there already, whoever put it is told as well.
            409 if status.reason == "AlreadyExists" => Outcome::Gone,
            422 if is_about_uid(status) => Outcome::Gone,
            400 | 403 | 422 => Outcome::Refused,
            429 => Outcome::Busy(breath(status).unwrap_or(BREATH)),
            503 => breath(status).map_or(Outcome::Failed, Outcome::Busy),
            _ => Outcome::Failed,
        };
        let (kind, key, reason) = (object.kind(), object.key(), &status.message);
        if outcome == Outcome::Refused {
            warn!(kind, object = %key, reason, "a write is refused");
        } else {
            debug!(kind, object = %key, reason, ?outcome, "a write failed");
        }
        outcome
    }
}

impl Patch {
    fn request(&self, object: &Object, manager: &str) -> http::Result<Request<Vec<u8>>> {
        let Self { method, subresource, content_type, body } = self;
        let force = if *content_type == APPLY { "&force=true" } else { "" };
        let path = if *method == Method::POST { object.collection().to_owned() } else { object.path() };
        let manager = format!("?fieldManager={manager}{force}");
        let query = if *method == Method::DELETE { "" } else { &manager };
        Request::builder()
            .method(method)
            .uri(format!("{path}{subresource}{query}"))
            .header(ACCEPT, METADATA_ONLY)
            .header(CONTENT_TYPE, *content_type)
            .body(body.clone())
    }
}

/// How long the API server wants to be left alone.
fn breath(status: &kube::core::Status) -> Option<Duration> {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST_BREATH))
}

/// Another object has that name now: its uid is not the one in the patch.
fn is_about_uid(status: &kube::core::Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.field == "metadata.uid")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::core::Status;
    use serde_json::json;

    use super::*;
    use crate::Key;

    fn web() -> Object {
        Object::of::<Service>(Key::namespaced("d", "web"))
    }

    fn judged(code: u16, message: &str, write: &Write) -> Outcome {
        let status = Status { code, message: message.into(), ..Status::default() };
        Patches::new(&web(), write.clone()).judge(&Error::Api(Box::new(status)), &web())
    }

    #[test]
    fn only_what_cannot_succeed_any_more_is_dropped() {
        let merge = Write::MergeStatus(json!({}));
        let apply = Write::Apply { object: json!({}), status: json!({}) };
        assert_eq!(judged(404, "services \"web\" not found", &merge), Outcome::Gone);
        assert_eq!(judged(404, "not found", &apply), Outcome::Failed);
        assert_eq!(
            judged(409, "Precondition failed: UID in precondition: a, UID in object meta: b", &merge),
            Outcome::Gone
        );
        assert_eq!(judged(409, "the object has been modified", &merge), Outcome::Failed);
        assert_eq!(judged(409, "cannot be fulfilled on services \"druid\"", &merge), Outcome::Failed);
        let versioned = Write::MergeStatus(json!({ "metadata": { "resourceVersion": "5" } }));
        assert_eq!(judged(409, "the object has been modified", &versioned), Outcome::Gone);
        assert_eq!(judged(409, "a webhook is of another mind", &versioned), Outcome::Failed);
        assert_eq!(judged(422, "services \"druid\" is invalid", &merge), Outcome::Refused);
        assert_eq!(judged(403, "services/status is forbidden", &merge), Outcome::Refused);
        assert_eq!(judged(500, "etcdserver: request timed out", &merge), Outcome::Failed);
        assert_eq!(judged(429, "Too many requests, please try again later.", &merge), Outcome::Busy(BREATH));
        assert_eq!(judged(503, "no endpoints", &merge), Outcome::Failed);
    }

    #[test]
    fn an_api_server_that_says_how_long_it_is_busy_is_believed_up_to_a_limit() {
        for (code, seconds, breath) in [(429, 3, 3), (503, 2, 2), (429, 4000, 30)] {
            let status: Status = serde_json::from_value(json!({
                "code": code, "details": { "retryAfterSeconds": seconds },
            }))
            .unwrap();
            let outcome = Patches::new(&web(), Write::MergeStatus(json!({})))
                .judge(&Error::Api(Box::new(status)), &web());
            assert_eq!(outcome, Outcome::Busy(Duration::from_secs(breath)));
        }
    }

    #[test]
    fn each_write_is_the_patches_that_the_api_server_expects() {
        let sent = |write| {
            let patches = Patches::new(&web(), write);
            let requests = patches.patches.iter().map(|patch| patch.request(&web(), "m").unwrap());
            let told = requests.map(|request| {
                let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
                (request.uri().to_string(), request.headers()[CONTENT_TYPE].clone(), body)
            });
            told.collect::<Vec<_>>()
        };
        let path = "/api/v1/namespaces/d/services/web";
        let named = |field: &str| json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" }, field: 1 });
        let merge = sent(Write::MergeStatus(json!({ "status": 1 })));
        let expected = (format!("{path}/status?fieldManager=m"), STRATEGIC, json!({ "status": 1 }));
        assert_eq!(merge, [(expected.0, expected.1.parse().unwrap(), expected.2)]);
        let status = format!("{path}/status?fieldManager=m&force=true");
        let apply = sent(Write::ApplyStatus(json!({ "status": 1 })));
        assert_eq!(apply, [(status.clone(), APPLY.parse().unwrap(), named("status"))]);
        let both = sent(Write::Apply { object: json!({ "spec": 1 }), status: json!({ "status": 1 }) });
        let object = format!("{path}?fieldManager=m&force=true");
        let expected = [(object, named("spec")), (status, named("status"))];
        assert_eq!(both, expected.map(|(uri, body)| (uri, APPLY.parse().unwrap(), body)));
    }

    #[test]
    fn an_object_is_made_changed_and_deleted_only_as_it_was_known() {
        let sent = |write| {
            let patches = Patches::new(&web(), write);
            let request = patches.patches[0].request(&web(), "m").unwrap();
            let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
            (format!("{} {}", request.method(), request.uri()), body)
        };
        let path = "/api/v1/namespaces/d/services";
        let (line, body) = sent(Write::Create(json!({ "spec": 1 })));
        assert_eq!(line, format!("POST {path}?fieldManager=m"));
        assert_eq!((&body["metadata"]["name"], &body["kind"]), (&json!("web"), &json!("Service")));
        let merge = json!({ "metadata": { "resourceVersion": "5" }, "spec": 2 });
        assert_eq!(
            sent(Write::Merge(merge.clone())),
            (format!("PATCH {path}/web?fieldManager=m"), merge.clone())
        );
        let body = json!({ "preconditions": { "uid": "u" } });
        assert_eq!(sent(Write::Delete { uid: "u".into() }), (format!("DELETE {path}/web"), body));

        let exists: Status =
            serde_json::from_value(json!({ "code": 409, "reason": "AlreadyExists", "message": "it exists" }))
                .unwrap();
        let create = Patches::new(&web(), Write::Create(json!({})));
        assert_eq!(create.judge(&Error::Api(Box::new(exists)), &web()), Outcome::Gone);
        assert_eq!(judged(404, "the namespace is not there yet", &Write::Create(json!({}))), Outcome::Failed);
        assert_eq!(judged(409, "the object has been modified", &Write::Merge(merge)), Outcome::Gone);
        let delete = Write::Delete { uid: "u".into() };
        assert_eq!(judged(404, "not found", &delete), Outcome::Gone);
        assert_eq!(
            judged(409, "Precondition failed: UID in precondition: a, UID in object meta: b", &delete),
            Outcome::Gone
        );
    }
}
