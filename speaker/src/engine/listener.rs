//! Accepts BGP connections on every address of the node.
//!
//! Where the port cannot be had, because another BGP daemon runs on the node or the pod may not bind it, the
//! speaker goes on and only dials; it says so in its status and tries again.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use netio::tcp::Listener;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

/// RFC 4271 §8.2.1
const BGP: u16 = 179;
const RETRY: Duration = Duration::from_secs(5);

/// Whether the speaker can be dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listening {
    /// It was not tried yet.
    Starting,
    /// It can.
    Yes,
    /// It cannot, for this reason and with this explanation.
    No { reason: &'static str, why: String },
}

/// Listens for as long as the speaker runs; both families, each on its own.
pub(crate) async fn run(
    accepted: mpsc::Sender<TcpStream>,
    v4: watch::Sender<Listening>,
    v6: watch::Sender<Listening>,
) {
    let any =
        [SocketAddr::from((Ipv4Addr::UNSPECIFIED, BGP)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, BGP))];
    let [on_v4, on_v6] = any;
    tokio::join!(listen(on_v4, &accepted, v4), listen(on_v6, &accepted, v6));
}

async fn listen(on: SocketAddr, accepted: &mpsc::Sender<TcpStream>, state: watch::Sender<Listening>) {
    loop {
        match Listener::bind(on) {
            Ok(listener) => {
                info!(%on, "accepts BGP connections");
                state.send_replace(Listening::Yes);
                accept(&listener, accepted).await;
            }
            Err(error) => {
                let no = Listening::No { reason: reason(error.kind()), why: error.to_string() };
                if state.send_replace(no.clone()) != no {
                    warn!(%on, %error, "cannot accept BGP connections, only dials");
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn reason(kind: std::io::ErrorKind) -> &'static str {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's list of kinds grows")]
    match kind {
        std::io::ErrorKind::AddrInUse => "PortInUse",
        std::io::ErrorKind::PermissionDenied => "PermissionDenied",
        _ => "CannotListen",
    }
}

/// Returns when the listening socket has failed.
async fn accept(listener: &Listener, accepted: &mpsc::Sender<TcpStream>) {
    loop {
        match listener.accept().await {
            // A router that finds no place dials again.
            Ok(stream) => drop(accepted.try_send(stream)),
            Err(error) if is_of_one_connection(&error) => {
                debug!(%error, "a connection went before it was taken")
            }
            Err(error) => return warn!(%error, "stopped accepting BGP connections"),
        }
    }
}

/// accept(2): these say that one connection is gone already, and nothing of the listening socket.
fn is_of_one_connection(error: &netio::Error) -> bool {
    use std::io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, NotConnected, PermissionDenied,
    };
    [ConnectionAborted, ConnectionReset, Interrupted, NotConnected, PermissionDenied].contains(&error.kind())
}
