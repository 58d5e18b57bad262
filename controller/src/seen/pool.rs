use api::{Hold, IpAddressPool, IpAddressPoolSpec, IpAddressPoolStatus};

use super::SeenObject;

/// A spec and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version {
    pub(crate) spec: IpAddressPoolSpec,
    pub(crate) pool: ipam::Pool,
}

/// What a pool's manifest asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wish {
    pub(crate) version: Version,
    pub(crate) hold: Hold,
}

/// What stands in a pool's status.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) status: IpAddressPoolStatus,
    /// What `inEffect` of it means.
    pub(crate) in_effect: Option<ipam::Pool>,
}

/// An IPAddressPool.
pub(crate) type SeenPool = SeenObject<Wish, Recorded>;

pub(crate) fn pool(object: &IpAddressPool) -> SeenPool {
    let wish = object.parse().map(|meaning| Wish {
        version: Version { spec: object.spec.clone(), pool: meaning.pool },
        hold: meaning.hold,
    });
    let in_effect = object.in_effect();
    let status = object.status.clone().map(|status| Recorded { status, in_effect });
    SeenObject::of(object, wish, status)
}

impl Recorded {
    /// The version that goes on, as far as it is recorded.
    pub(crate) fn version(&self) -> Option<Version> {
        let spec = self.status.in_effect.clone()?;
        Some(Version { spec, pool: self.in_effect.clone()? })
    }
}
