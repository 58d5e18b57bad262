//! The node's own addresses at the end of a connection: the next hops of what is announced over it.

use std::net::IpAddr;

use announce::{Families, Family};
use bgp::LocalEnd;
use netio::links::Scope;
use netio::{Link, Links};
use tokio::net::TcpStream;
use tracing::debug;

/// The local address of the connection, and for the other families that the peer carries (RFC 4760 §3, RFC 2545
/// §3) the addresses of the interface that has it.
pub(super) async fn local_end(stream: &TcpStream, families: &Families) -> LocalEnd {
    let Ok(local) = stream.local_addr() else { return LocalEnd::default() };
    let local = local.ip().to_canonical();
    let mut end = LocalEnd::default();
    match local {
        IpAddr::V4(local) => end.v4 = Some(local),
        IpAddr::V6(local) => end.v6 = Some(local),
    }
    if families.contains(&Family::V6) {
        match Links::open().await {
            Ok(links) => complete(&mut end, local, links.current().values()),
            Err(error) => debug!(%error, "knows no address of the other family"),
        }
    }
    end
}

fn complete<'a>(end: &mut LocalEnd, local: IpAddr, mut links: impl Iterator<Item = &'a Link>) {
    let Some(link) = links.find(|link| link.addresses.iter().any(|one| one.network.ip() == local)) else {
        return;
    };
    for address in &link.addresses {
        match (address.network.ip(), address.scope) {
            (IpAddr::V4(v4), Scope::Global) => end.v4 = end.v4.or(Some(v4)),
            (IpAddr::V6(v6), Scope::Global) => end.v6 = end.v6.or(Some(v6)),
            (IpAddr::V4(_) | IpAddr::V6(_), Scope::Link | Scope::Host) => {}
        }
    }
}
