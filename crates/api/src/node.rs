//! Nodes: whether they are ready, reachable, allowed to announce, and about to go.

use announce::{Departure, Exclusion, Node, Reach, Readiness};
use k8s_openapi::api::core::v1::{Node as KubernetesNode, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use names::Labels;

/// Keeps a node from announcing, whatever its value.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Marks a control-plane node.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// Taints that somebody puts on a node because it goes: the cloud's node controller when the machine is shut down,
/// an administrator who knows that it is off, and the cluster autoscaler before it deletes it.
const GOING: [&str; 3] = [
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
    "ToBeDeletedByClusterAutoscaler",
];
/// What kubelet says, alone or among other things, from when systemd tells it that the machine shuts down.
const SHUTDOWN: &str = "node is shutting down";
/// Has a node's addresses and routes leave it, whatever its value.
const DRAIN: &str = "ferritelb.io/drain";

/// What the announcing decisions may know of a node.
pub fn parse(node: &KubernetesNode) -> Node {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    announced(&node.metadata, taints, conditions)
}

/// The same, by the parts that it is made of.
pub(crate) fn announced<'a>(
    metadata: &ObjectMeta,
    taints: impl IntoIterator<Item = &'a Taint>,
    conditions: impl IntoIterator<Item = &'a NodeCondition>,
) -> Node {
    let labels = metadata.labels.clone().unwrap_or_default();
    let annotations = metadata.annotations.as_ref();
    let mut node = Node {
        readiness: Readiness::NotReady,
        network: Reach::Available,
        exclusion: exclusion(&labels),
        departure: Departure::Staying,
        labels,
    };
    // One that only takes no new pods (`spec.unschedulable`) stays, and so does one that nobody hears of.
    if metadata.deletion_timestamp.is_some()
        || annotations.is_some_and(|annotations| annotations.contains_key(DRAIN))
        || taints.into_iter().any(|taint| GOING.contains(&taint.key.as_str()))
    {
        node.departure = Departure::Leaving;
    }
    for condition in conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Ready", "True") => node.readiness = Readiness::Ready,
            ("Ready", "False") if shuts_down(condition) => node.departure = Departure::Leaving,
            ("NetworkUnavailable", "True") => node.network = Reach::Unavailable,
            _ => {}
        }
    }
    node
}

fn shuts_down(ready: &NodeCondition) -> bool {
    ready.message.as_ref().is_some_and(|message| message.contains(SHUTDOWN))
}

/// The label is an order, but installers put it on control-plane nodes by habit.
fn exclusion(labels: &Labels) -> Exclusion {
    match (labels.contains_key(EXCLUDE), labels.contains_key(CONTROL_PLANE)) {
        (false, _) => Exclusion::None,
        (true, true) => Exclusion::Reserve,
        (true, false) => Exclusion::Never,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(labels: &[&str], conditions: &[(&str, &str)]) -> Node {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|label| (label.to_string(), json!(""))).collect();
        let conditions: Vec<_> =
            conditions.iter().map(|(type_, status)| json!({"type": type_, "status": status})).collect();
        let node = json!({"metadata": {"labels": labels}, "status": {"conditions": conditions}});
        parse(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn a_node_is_ready_only_if_it_says_so() {
        assert_eq!(node(&[], &[("Ready", "True")]).readiness, Readiness::Ready);
        assert_eq!(node(&[], &[("Ready", "False")]).readiness, Readiness::NotReady);
        assert_eq!(node(&[], &[("Ready", "Unknown")]).readiness, Readiness::NotReady);
        assert_eq!(node(&[], &[]).readiness, Readiness::NotReady);
    }

    #[test]
    fn the_network_is_unavailable_only_if_the_node_says_so() {
        assert_eq!(node(&[], &[("NetworkUnavailable", "True")]).network, Reach::Unavailable);
        assert_eq!(node(&[], &[("NetworkUnavailable", "False")]).network, Reach::Available);
        assert_eq!(node(&[], &[]).network, Reach::Available);
    }

    #[test]
    fn the_exclude_label_is_an_order_except_on_the_control_plane() {
        assert_eq!(node(&[], &[]).exclusion, Exclusion::None);
        assert_eq!(node(&[CONTROL_PLANE], &[]).exclusion, Exclusion::None);
        assert_eq!(node(&[EXCLUDE], &[]).exclusion, Exclusion::Never);
        assert_eq!(node(&[EXCLUDE, CONTROL_PLANE], &[]).exclusion, Exclusion::Reserve);
    }

    #[test]
    fn a_node_leaves_when_it_is_drained_shut_down_or_deleted_and_not_when_it_is_cordoned() {
        let departure = |node| parse(&serde_json::from_value(node).unwrap()).departure;
        let taint = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoExecute"}]}});
        let ready = |status: &str, message: &str| {
            let ready =
                json!({"type": "Ready", "status": status, "reason": "KubeletNotReady", "message": message});
            json!({"status": {"conditions": [ready]}})
        };
        let leaving = [
            json!({"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"}}),
            json!({"metadata": {"annotations": {"ferritelb.io/drain": ""}}}),
            taint("node.cloudprovider.kubernetes.io/shutdown"),
            taint("node.kubernetes.io/out-of-service"),
            taint("ToBeDeletedByClusterAutoscaler"),
            ready("False", "node is shutting down"),
            ready("False", "[container runtime is down, node is shutting down]"),
        ];
        for node in leaving {
            assert_eq!(departure(node.clone()), Departure::Leaving, "{node}");
        }
        let staying = [
            json!({"metadata": {}}),
            json!({"spec": {"unschedulable": true}}),
            taint("node.kubernetes.io/unschedulable"),
            taint("node.kubernetes.io/unreachable"),
            ready("False", "container runtime network not ready"),
            ready("Unknown", "Kubelet stopped posting node status."),
            ready("True", "node is shutting down"),
        ];
        for node in staying {
            assert_eq!(departure(node.clone()), Departure::Staying, "{node}");
        }
    }
}
