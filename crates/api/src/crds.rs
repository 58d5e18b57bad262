use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{
    AddressOwner, AddressQuota, AddressReservation, BgpAdvertisement, BgpPeer, FerriteConfig, IpAddressPool,
    L2Advertisement, SpeakerStatus,
};

/// The definition of every kind, as the API server is to have it.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        IpAddressPool::crd(),
        L2Advertisement::crd(),
        BgpPeer::crd(),
        BgpAdvertisement::crd(),
        SpeakerStatus::crd(),
        AddressQuota::crd(),
        AddressReservation::crd(),
        FerriteConfig::crd(),
        AddressOwner::crd(),
    ]
}

#[cfg(test)]
mod tests;
