//! Service created → address in its status, as a watcher sees it; beside a Service that wants no address.

use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service as Object;
use serde_json::json;

use super::report::Report;
use super::series::Series;
use super::watch::Watch;
use super::{Form, Progress, apply_samples};
use crate::clock;
use crate::kube::client::Objects;
use crate::kube::light::Lab;
use crate::kube::service::manifest;

const SHORT: Duration = Duration::from_secs(90);
const FULL: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_millis(50);
const WARM_UP: usize = 3;

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    eprintln!("allocate: raising a lab with the product");
    let lab = Lab::up("bench: allocate");
    apply_samples(&lab, &["ipaddresspools.yaml"]);
    let bench =
        Bench { services: lab.plane().kube().namespaced("default"), watch: Watch::start(lab.plane().kube()) };
    let mut bare = Series::milliseconds("ClusterIP: created → seen by the watch (the API server alone)");
    let mut seen = Series::milliseconds("LoadBalancer: created → seen by the watch (the API server alone)");
    let mut whole =
        Series::milliseconds("LoadBalancer: created → addresses of both families seen by the watch");
    for number in 0..WARM_UP {
        bench.balanced(number);
        bench.bare(number);
    }
    for number in Progress::new("allocate", form.of(30, 1000), form.of(SHORT, FULL)).samples() {
        let number = number + WARM_UP;
        bare.between(Duration::ZERO, bench.bare(number));
        let (first, last) = bench.balanced(number);
        seen.between(Duration::ZERO, first);
        whole.between(Duration::ZERO, last);
    }
    let ratio = Series::ratio(
        "medians: addresses of a LoadBalancer seen, to a ClusterIP seen",
        whole.percentile(50),
        bare.percentile(50),
    );
    Report::new("allocate", "Created → address in status", vec![bare, seen, whole, ratio.aim("≤ 2.5")])
}

struct Bench<'a> {
    services: Objects<'a, Object>,
    watch: Watch,
}

impl Bench<'_> {
    /// How long a Service without a wish takes to come back by the watch.
    #[track_caller]
    fn bare(&self, number: usize) -> Duration {
        let name = format!("bare-{number}");
        let changes = json!({ "spec": { "type": "ClusterIP" } });
        let object = manifest(&name, &changes);
        self.watch.forget();
        let sent = clock::wall();
        self.services.create(&object);
        let told = self.watch.wait_for("the watch tells of the Service", |told| told.name == name);
        self.forget(&name);
        told.at - sent
    }

    /// How long a Service takes to come back, and to come back with its addresses.
    #[track_caller]
    fn balanced(&self, number: usize) -> (Duration, Duration) {
        let name = format!("balanced-{number}");
        let object = manifest(&name, &json!({}));
        self.watch.forget();
        let sent = clock::wall();
        self.services.create(&object);
        let first = self.watch.wait_for("the watch tells of the Service", |told| told.name == name);
        let whole = self.watch.wait_for("the watch tells of its addresses", |told| {
            told.name == name && told.addresses.len() == 2
        });
        self.forget(&name);
        (first.at - sent, whole.at - sent)
    }

    #[track_caller]
    fn forget(&self, name: &str) {
        self.services.delete(name, Duration::ZERO);
        thread::sleep(PAUSE);
    }
}
