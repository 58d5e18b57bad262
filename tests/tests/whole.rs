//! The whole cluster: real kubelets run the product's image as `manifests/install.yaml` says.

use std::time::Duration;

use lab::kube::service::TARGET;
use lab::kube::whole::Whole;
use lab::wait;

const SOON: Duration = Duration::from_secs(60);

#[test]
fn the_product_is_installed_and_a_power_failure_takes_a_node_away_and_back() {
    let cluster = Whole::up("whole: power");
    cluster.install();
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
    cluster.wait_rollout("ferritelb-system", "daemonset/ferrite-speaker");
}
