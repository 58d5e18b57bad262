use clap::Parser;
use cluster::process::Flags;

/// Gives Services of type LoadBalancer their addresses, from the pools that IPAddressPool resources describe, and
/// writes them into the Services' status.
///
/// Run one in the cluster. Flags are for the process; everything else is said by custom resources (kubectl explain
/// ipaddresspools) and on the Service: spec.loadBalancerIP, or the annotations ferritelb.io/loadBalancerIPs
/// (one address a family) and ferritelb.io/address-pool. Why a Service has no address stands in its condition
/// ferritelb.io/Allocated and in its Events.
#[derive(Debug, Parser)]
#[command(version, name = "ferrite-controller")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) process: Flags,
}
