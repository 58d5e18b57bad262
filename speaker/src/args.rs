use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

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

    /// How to reach the API server; without it the pod's service account, or what kubectl would use
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The namespace whose Secrets may be used
    #[arg(long, default_value = "ferritelb-system", value_name = "NAME")]
    pub(crate) namespace: String,

    /// Where /metrics, /healthz and /readyz are served; `:PORT` is every address
    #[arg(long, default_value = ":7472", value_name = "ADDRESS", value_parser = cluster::admin::parse_address)]
    pub(crate) metrics_address: SocketAddr,

    /// Serve only Services of this spec.loadBalancerClass; without it only Services that have none
    #[arg(long, value_name = "CLASS")]
    pub(crate) lb_class: Option<String>,

    /// How log lines look
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,

    /// The least severe level that is logged: error, warn, info, debug, trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub(crate) log_level: tracing::Level,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text
    Text,
    /// One JSON object a line
    Json,
}
