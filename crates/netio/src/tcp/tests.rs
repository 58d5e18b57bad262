use super::*;
use crate::namespace::{inside, ip, run};

const OPTIONS: Options = Options { hop_limit: HopLimit::DIRECT, user_timeout: Duration::from_millis(9500) };

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn addresses() {
    ip("addr add 192.0.2.1/24 dev near");
    ip("addr add 192.0.2.2/24 dev near");
    add_ipv6("2001:db8::1", "near");
    add_ipv6("2001:db8::2", "near");
}

/// The kernel makes an IPv6 address usable some time after it has taken it.
fn add_ipv6(address: &str, interface: &str) {
    ip(&format!("addr add {address}/64 dev {interface} nodad"));
    let usable = || run("ip", "-6 route show table local").contains(&format!("local {address} "));
    assert!((0..1000).any(|_| usable()), "{address} does not become usable");
}

/// Hop limit, class, no delay and time-out as the kernel has them.
fn options(stream: &TcpStream) -> (u32, u32, bool, Option<Duration>) {
    let socket = SockRef::from(stream);
    let (hops, class) = if stream.local_addr().unwrap().is_ipv6() {
        (socket.unicast_hops_v6().unwrap(), socket.tclass_v6().unwrap())
    } else {
        (socket.ttl_v4().unwrap(), socket.tos_v4().unwrap())
    };
    (hops, class, socket.tcp_nodelay().unwrap(), socket.tcp_user_timeout().unwrap())
}

async fn connects(listen: &str, source: &str) {
    let listener = Listener::bind(address(listen)).unwrap();
    let peer = listener.local_addr().unwrap();
    let source: IpAddr = source.parse().unwrap();
    let (dialled, accepted) =
        tokio::try_join!(dial(peer, Some(source), &OPTIONS), listener.accept()).unwrap();
    assert_eq!((dialled.local_addr().unwrap().ip(), dialled.peer_addr().unwrap()), (source, peer));
    assert_eq!(accepted.peer_addr().unwrap(), dialled.local_addr().unwrap());
    assert_eq!(options(&dialled), (1, 0xc0, true, Some(Duration::from_millis(9500))));
    assert_eq!((options(&accepted).1, options(&accepted).2), (0xc0, true));
    set_options(&accepted, &Options { hop_limit: HopLimit::MULTIHOP, user_timeout: Duration::from_secs(3) })
        .unwrap();
    assert_eq!(options(&accepted), (255, 0xc0, true, Some(Duration::from_secs(3))));
}

#[test]
fn ipv4_connections_have_the_source_and_the_options_that_were_asked_for() {
    inside(async || {
        addresses();
        connects("192.0.2.1:0", "192.0.2.2").await;
    });
}

#[test]
fn ipv6_connections_have_the_source_and_the_options_that_were_asked_for() {
    inside(async || {
        addresses();
        connects("[2001:db8::1]:0", "2001:db8::2").await;
    });
}

#[test]
fn without_a_source_the_kernel_chooses_one() {
    inside(async || {
        addresses();
        let listener = Listener::bind(address("192.0.2.1:179")).unwrap();
        let (dialled, _accepted) =
            tokio::try_join!(dial(address("192.0.2.1:179"), None, &OPTIONS), listener.accept()).unwrap();
        assert_eq!(dialled.local_addr().unwrap().ip(), address("192.0.2.1:0").ip());
    });
}

#[test]
fn both_families_listen_on_one_port() {
    inside(async || {
        addresses();
        let _v6 = Listener::bind(address("[::]:179")).unwrap();
        let v4 = Listener::bind(address("0.0.0.0:179")).unwrap();
        let (dialled, accepted) =
            tokio::try_join!(dial(address("192.0.2.1:179"), None, &OPTIONS), v4.accept()).unwrap();
        assert_eq!(dialled.local_addr().unwrap(), accepted.peer_addr().unwrap());
    });
}

#[test]
fn a_port_that_is_taken_is_told_from_one_that_is_forbidden() {
    inside(async || {
        let _taken = Listener::bind(address("127.0.0.1:179")).unwrap();
        let error = Listener::bind(address("127.0.0.1:179")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with("listen on 127.0.0.1:179: "), "{error}");
        give_up_capabilities();
        assert_eq!(
            Listener::bind(address("127.0.0.1:178")).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
    });
}

#[expect(unsafe_code, reason = "libraries only know how to do this to the whole process")]
fn give_up_capabilities() {
    let (header, none) = ([0x2008_0522u32, 0], [0u32; 6]);
    // SAFETY: capset(2) of version 3 reads two words of header and six of data, and acts on this thread alone.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    assert_eq!(result, 0);
}

#[test]
fn a_listener_can_come_back_while_old_connections_linger() {
    inside(async || {
        addresses();
        let listener = Listener::bind(address("192.0.2.1:179")).unwrap();
        let (dialled, accepted) =
            tokio::try_join!(dial(address("192.0.2.1:179"), None, &OPTIONS), listener.accept()).unwrap();
        drop((listener, accepted));
        drop(dialled);
        // A child that another test is just starting still has the old listener for a moment.
        let again = async {
            while Listener::bind(address("192.0.2.1:179")).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    });
}

#[test]
fn what_cannot_be_connected_says_why() {
    inside(async || {
        addresses();
        let refused = dial(address("192.0.2.1:179"), None, &OPTIONS).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(refused.to_string().starts_with("connect to 192.0.2.1:179: "), "{refused}");
        let foreign = Some("198.51.100.1".parse().unwrap());
        let foreign = dial(address("192.0.2.1:179"), foreign, &OPTIONS).await.unwrap_err();
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(foreign.to_string().starts_with("prepare a connection from 198.51.100.1 to 192.0.2.1:179: "));
    });
}

#[test]
fn a_link_local_source_is_of_the_peers_link() {
    inside(async || {
        let on_link = |text: &str, scope| SocketAddrV6::new(text.parse().unwrap(), 0, 0, scope).into();
        assert_eq!(with_scope("fe80::1".parse().unwrap(), on_link("fe80::2", 7)), on_link("fe80::1", 7));
        // The kernel refuses a link-local source without scope; with the peer's it is only the peer that is missing.
        add_ipv6("fe80::a", "near");
        let peer =
            SocketAddrV6::new("fe80::b".parse().unwrap(), 179, 0, crate::namespace::index("near").get());
        add_ipv6("fe80::b", "far");
        let source = Some("fe80::a".parse().unwrap());
        let error = dial(peer.into(), source, &OPTIONS).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    });
}
