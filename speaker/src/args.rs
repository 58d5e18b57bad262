use clap::Parser;
use cluster::process::Flags;

/// Announces the addresses of LoadBalancer Services from one node: by ARP and NDP on the local segment, and by
/// BGP to the routers.
///
/// Run one on each node. Flags are for the process; what to announce, how and to whom is said by custom
/// resources: IPAddressPool, L2Advertisement, BGPPeer, BGPAdvertisement (kubectl explain them).
#[derive(Debug, Parser)]
#[command(version, name = "ferrite-speaker")]
pub(crate) struct Args {
    /// The node that this speaker runs on, by its Kubernetes name
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub(crate) node_name: String,

    #[command(flatten)]
    pub(crate) process: Flags,
}
