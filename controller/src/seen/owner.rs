use api::{AddressOwner, Condition, Placed, address_owner};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use kube::ResourceExt;
use names::NodeName;

/// An AddressOwner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenOwner {
    pub(crate) uid: String,
    pub(crate) version: String,
    /// Where the address is placed; unknown where that means nothing.
    pub(crate) placed: Option<Placed>,
    /// The node that answers.
    pub(crate) answers: Option<NodeName>,
    /// The node that the address is asked to be moved to.
    pub(crate) move_to: Option<String>,
    conditions: Vec<Written>,
}

pub(crate) fn owner(object: &AddressOwner) -> SeenOwner {
    let status = object.status.clone().unwrap_or_default();
    SeenOwner {
        uid: object.uid().unwrap_or_default(),
        version: object.resource_version().unwrap_or_default(),
        placed: object.parse().ok().map(|(_, placed)| placed),
        answers: status.node.filter(|node| !node.is_empty()).map(NodeName::new),
        move_to: address_owner::move_to(object.annotations()),
        conditions: status.conditions,
    }
}

impl SeenOwner {
    /// Whether it says so of the last request, or says nothing of any.
    pub(crate) fn says(&self, moved: Option<&Condition>) -> bool {
        match moved {
            Some(moved) => moved.is_in(&self.conditions),
            None => self.conditions.iter().all(|one| one.type_ != api::condition::MOVED),
        }
    }

    /// What the speaker that answers says of others that do.
    pub(crate) fn conflict(&self) -> Option<&Written> {
        self.conditions.iter().find(|one| one.type_ == api::condition::CONFLICT)
    }

    /// What stands there of conditions.
    pub(crate) fn conditions(&self) -> &[Written] {
        &self.conditions
    }
}
