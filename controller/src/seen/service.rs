use api::{Invalid, LoadBalancer};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// A Service of any type: one that stops being a LoadBalancer has to be cleaned, and a watch that selects the
/// type would only say that it is gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenService {
    pub(crate) uid: String,
    /// `metadata.resourceVersion`
    pub(crate) version: u64,
    pub(crate) created: Timestamp,
    pub(crate) standing: Standing,
}

/// What a Service is to this controller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// A LoadBalancer of our class.
    Ours(Box<Ours>),
    /// No LoadBalancer, but it still carries what a controller of ours wrote when it was one.
    Marked,
    /// None of our business, among these every LoadBalancer of another class.
    Other,
}

/// A Service of ours.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ours {
    /// What it asks for and has.
    pub(crate) seen: LoadBalancer,
    /// What nodes see that announce it; but for its addresses, which they see when they are written.
    pub(crate) announced: announce::Service,
    /// The node that its addresses are asked to be moved to.
    pub(crate) move_to: Option<String>,
}

impl SeenService {
    /// A Service as it concerns the controller of this `--lb-class`.
    pub(crate) fn project(service: &Service, class: Option<&str>) -> Self {
        Self {
            uid: service.uid().unwrap_or_default(),
            version: cluster::version(service.metadata.resource_version.as_deref()),
            created: service.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            standing: match ours(service, class) {
                Some(ours) => Standing::Ours(Box::new(ours)),
                None if is_load_balancer(service) => Standing::Other,
                None if is_marked(service) => Standing::Marked,
                None => Standing::Other,
            },
        }
    }
}

fn ours(service: &Service, class: Option<&str>) -> Option<Ours> {
    let seen = unless_headless(LoadBalancer::parse(service, class)?, service);
    let mut announced = api::service::announced(service, class)?;
    announced.addresses.clear();
    Some(Ours { seen, announced, move_to: api::address_owner::move_to(service.annotations()) })
}

fn is_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

fn is_marked(service: &Service) -> bool {
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == api::condition::ALLOCATED)
        || service.annotations().contains_key("ferritelb.io/ip-allocated-from-pool")
}

fn unless_headless(mut ours: LoadBalancer, service: &Service) -> LoadBalancer {
    let cluster_ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    if cluster_ip == Some("None") {
        let why = "None: kube-proxy does not serve a headless Service, so it gets no address";
        ours.request = Err(Invalid::new("spec.clusterIP", why));
    }
    ours
}
