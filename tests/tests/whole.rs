//! The whole cluster: real kubelets run the product's image as `manifests/install.yaml` says.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use lab::kube::light::NAMESPACE;
use lab::kube::service::TARGET;
use lab::kube::whole::Whole;
use lab::wait;

const SOON: Duration = Duration::from_secs(60);

/// The pod of the controller that leads.
#[track_caller]
fn leader(cluster: &Whole, not: Option<&str>) -> String {
    wait::eventually("a pod leads", SOON, || {
        let lease = cluster.plane().kube().namespaced::<Lease>(NAMESPACE).find("ferrite-controller");
        let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
        let pod = holder.rsplit_once('_').map_or("", |(pod, _)| pod);
        if pod.is_empty() || Some(pod) == not { Err(holder) } else { Ok(pod.to_owned()) }
    })
}

/// Two controllers are ready; when the one that leads is deleted, the other does.
fn two_controllers_run(cluster: &Whole) {
    cluster.kubectl(&["-n", NAMESPACE, "scale", "deployment/ferrite-controller", "--replicas=2"]);
    cluster.wait_rollout(NAMESPACE, "deployment/ferrite-controller");
    let first = leader(cluster, None);
    cluster.kubectl(&["-n", NAMESPACE, "delete", "pod", &first]);
    leader(cluster, Some(&first));
    cluster.wait_rollout(NAMESPACE, "deployment/ferrite-controller");
}

#[test]
fn the_product_is_installed_and_a_power_failure_takes_a_node_away_and_back() {
    let cluster = Whole::up("whole: power");
    cluster.install();
    two_controllers_run(&cluster);
    cluster.deploy("web", 3);
    let pods = ["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"];
    let mut nodes: Vec<_> = cluster.kubectl(&pods).split(' ').map(str::to_owned).collect();
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2", "n3"], "one pod a node");

    cluster.kubectl(&["expose", "deployment", "web", "--port=80", &format!("--target-port={TARGET}")]);
    let address = cluster.service("web").cluster_addresses()[0];
    let said = wait::eventually("node 1 reaches a pod", SOON, || cluster.node(1).http(address, 80));
    assert!(said.starts_with("web-") && said.contains("@n"), "{said}");

    cluster.power_off(3);
    cluster.wait_node_unknown(3);
    assert!(cluster.node(3).processes().is_empty(), "something still runs on a node without power");
    cluster.power_on(3);
    cluster.wait_node_ready(3);
    cluster.wait_rollout(NAMESPACE, "daemonset/ferrite-speaker");
}
