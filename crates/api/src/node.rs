//! Nodes: whether they are ready, reachable, allowed to announce, and about to go.

use announce::{Departure, Exclusion, Node, Reach, Readiness};
use k8s_openapi::api::core::v1::{Node as KubernetesNode, NodeCondition};
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
    let labels = node.metadata.labels.clone().unwrap_or_default();
    Node {
        readiness: if is_true(node, "Ready") { Readiness::Ready } else { Readiness::NotReady },
        network: if is_true(node, "NetworkUnavailable") { Reach::Unavailable } else { Reach::Available },
        exclusion: exclusion(&labels),
        departure: departure(node),
        labels,
    }
}

/// The label is an order, but installers put it on control-plane nodes by habit.
fn exclusion(labels: &Labels) -> Exclusion {
    match (labels.contains_key(EXCLUDE), labels.contains_key(CONTROL_PLANE)) {
        (false, _) => Exclusion::None,
        (true, true) => Exclusion::Reserve,
        (true, false) => Exclusion::Never,
    }
}

/// A node that only takes no new pods (`spec.unschedulable`) stays, and so does one that nobody hears of.
fn departure(node: &KubernetesNode) -> Departure {
    let annotations = node.metadata.annotations.as_ref();
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let leaves = node.metadata.deletion_timestamp.is_some()
        || annotations.is_some_and(|annotations| annotations.contains_key(DRAIN))
        || taints.any(|taint| GOING.contains(&taint.key.as_str()))
        || condition(node, "Ready").any(shuts_down);
    if leaves { Departure::Leaving } else { Departure::Staying }
}

fn shuts_down(ready: &NodeCondition) -> bool {
    ready.status == "False" && ready.message.as_ref().is_some_and(|message| message.contains(SHUTDOWN))
}

fn is_true(node: &KubernetesNode, type_: &str) -> bool {
    condition(node, type_).any(|condition| condition.status == "True")
}

fn condition<'a>(node: &'a KubernetesNode, type_: &'a str) -> impl Iterator<Item = &'a NodeCondition> {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.filter(move |condition| condition.type_ == type_)
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
