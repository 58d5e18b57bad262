use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

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
    /// How to reach the API server; without it the pod's service account, or what kubectl would use
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// The namespace that this runs in
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
