use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Beyond this, another attempt is worth more than patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that says nothing for longer is dead: more than a watch lasts at the server, which ends quiet ones.
const READ_TIMEOUT: Duration = Duration::from_secs(150);

/// No client could be made. None of these needs the API server to be up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig cannot be read or makes no sense.
    #[error("kubeconfig {0}")]
    Kubeconfig(PathBuf, #[source] KubeconfigError),
    /// Without a kubeconfig, a pod's service account is needed.
    #[error("no kubeconfig and no service account")]
    Infer(#[source] InferConfigError),
    /// The certificates or keys cannot be used.
    #[error("TLS or authentication settings")]
    Setup(#[source] kube::Error),
}

/// A client for the cluster of this kubeconfig; without one, of the environment or the pod that it runs in.
///
/// It retries nothing by itself: [`crate::watch`] and [`crate::Writer`] do, and are told of failures at once.
///
/// # Errors
/// Settings that cannot be read. That the API server is away is none.
pub async fn client(kubeconfig: Option<&Path>) -> Result<Client, ClientError> {
    // A provider that stands already is as good: it can only be this one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut config = match kubeconfig {
        Some(path) => from_file(path).await.map_err(|error| ClientError::Kubeconfig(path.into(), error))?,
        None => Config::infer().await.map_err(ClientError::Infer)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.default_retry = false;
    Client::try_from(config).map_err(ClientError::Setup)
}

async fn from_file(path: &Path) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await
}
