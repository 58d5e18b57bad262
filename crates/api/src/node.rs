//! Nodes: whether they are ready, reachable, and allowed to announce.

use announce::{Exclusion, Node, Reach, Readiness};
use k8s_openapi::api::core::v1::Node as KubernetesNode;
use names::Labels;

/// Keeps a node from announcing, whatever its value.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Marks a control-plane node.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What the announcing decisions may know of a node.
pub fn parse(node: &KubernetesNode) -> Node {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    Node {
        readiness: if is_true(node, "Ready") { Readiness::Ready } else { Readiness::NotReady },
        network: if is_true(node, "NetworkUnavailable") { Reach::Unavailable } else { Reach::Available },
        exclusion: exclusion(&labels),
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

fn is_true(node: &KubernetesNode, type_: &str) -> bool {
    let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    conditions.filter(|condition| condition.type_ == type_).any(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &[&str], conditions: &[(&str, &str)]) -> Node {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|label| (label.to_string(), serde_json::json!(""))).collect();
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status)| serde_json::json!({"type": type_, "status": status}))
            .collect();
        let node = serde_json::json!({"metadata": {"labels": labels}, "status": {"conditions": conditions}});
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
}
