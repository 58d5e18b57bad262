//! Many calls of the API server at a time, from where the controller runs and on the way that it takes.

use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::Host;
use crate::clock;
use crate::kube::client::Kube;
use crate::kube::kubeconfig::Identity;
use crate::kube::light::Lab;

/// Somebody who calls from the host of the control plane.
pub(super) struct Caller<'a> {
    host: &'a Host,
    kubeconfig: PathBuf,
}

impl<'a> Caller<'a> {
    pub(super) fn new(lab: &'a Lab, name: &str, who: Identity<'_>) -> Self {
        Self { host: lab.cp(), kubeconfig: lab.plane().kubeconfig(lab, name, who) }
    }

    /// Makes a call for each item, `width` at a time, to Services in the namespace `default`; when it began, on
    /// the wall clock, and what the calls gave, in no order. The first that fails ends the measurement.
    #[track_caller]
    pub(super) fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        width: usize,
        call: impl AsyncFn(Api<Service>, &T) -> kube::Result<R> + Sync,
    ) -> (Duration, Vec<R>) {
        let answers = self.host.enter(|| {
            let kube = Kube::connect(&self.kubeconfig);
            let services = Api::<Service>::namespaced(kube.client(), "default");
            let calls = stream::iter(items).map(|item| call(services.clone(), item));
            let start = clock::wall();
            kube.block_on(calls.buffer_unordered(width).try_collect()).map(|answers| (start, answers))
        });
        answers.unwrap_or_else(|error| panic!("one of {} calls: {error}", items.len()))
    }
}
