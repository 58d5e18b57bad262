use std::time::Duration;

use futures::FutureExt;
use socket2::SockRef;

use super::*;
use crate::namespace::{Elsewhere, index, inside, ip, run};

const PORT: u16 = 7973;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn open_on(name: &str) -> DatagramSocket {
    DatagramSocket::open(index(name), PORT).unwrap()
}

/// What the interface has, 1 for `near` and 2 for `far`.
fn configure(interface: &str, last: u8) {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/accept_dad"), "0").unwrap();
    ip(&format!("addr add 192.0.2.{last}/24 dev {interface}"));
    for network in ["2001:db8", "fe80"] {
        ip(&format!("addr add {network}::{last}/64 dev {interface} nodad"));
        let usable = format!("local {network}::{last} ");
        let routes = || run("ip", "-6 route show table local").contains(&usable);
        assert!((0..1000).any(|_| routes()), "{usable}is not usable");
    }
}

/// One socket on each end of the wire, the second one in another namespace.
fn wire() -> (DatagramSocket, DatagramSocket, Elsewhere) {
    let elsewhere = Elsewhere::with("far");
    configure("near", 1);
    let far = elsewhere.run(|| {
        configure("far", 2);
        open_on("far")
    });
    (open_on("near"), far, elsewhere)
}

async fn receive(socket: &DatagramSocket) -> (Vec<u8>, IpAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = socket.receive(&mut buffer).await.unwrap();
    (buffer[..length].to_vec(), from)
}

/// What arrives within a time that is long for one wire.
async fn anything(socket: &DatagramSocket) -> Option<(Vec<u8>, IpAddr)> {
    tokio::time::timeout(Duration::from_millis(100), receive(socket)).await.ok()
}

/// Sends until one arrives: link-local sources are usable some time after the interface came up.
async fn exchange(from: &DatagramSocket, to: &DatagramSocket, destination: &str) -> IpAddr {
    loop {
        if from.send(address(destination), destination.as_bytes()).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        if let Some((datagram, source)) = anything(to).await {
            assert_eq!(datagram, destination.as_bytes());
            return source;
        }
    }
}

#[test]
fn datagrams_arrive_over_both_families_and_say_who_sent_them() {
    inside(async || {
        let (near, far, _elsewhere) = wire();
        for network in ["192.0.2.", "2001:db8::", "fe80::"] {
            let (ours, theirs) = (format!("{network}1"), format!("{network}2"));
            let source = exchange(&near, &far, &theirs).await;
            exchange(&far, &near, &ours).await;
            // A link-local source may be the one that the kernel made.
            assert!(source == address(&ours) || network == "fe80::", "{source}");
        }
    });
}

#[test]
fn each_interface_has_the_port_for_itself() {
    inside(async || {
        ip("link add other type veth peer name beyond");
        ip("link set other up");
        ip("link set beyond up");
        let (near, far, elsewhere) = wire();
        let other = open_on("other");
        exchange(&far, &near, "192.0.2.1").await;
        assert_eq!(anything(&other).await, None);
        // What comes in elsewhere is not heard, though it is for an address of this node.
        drop(near);
        elsewhere.run(|| far.send(address("192.0.2.1"), b"again")).unwrap();
        assert_eq!(anything(&other).await, None);
    });
}

#[test]
fn what_is_sent_is_of_the_highest_class() {
    inside(async || {
        let socket = open_on("near");
        let (ipv4, ipv6) = (socket.ipv4.as_ref().unwrap(), socket.ipv6.as_ref().unwrap());
        assert_eq!(SockRef::from(ipv4.get_ref()).tos_v4().unwrap(), 0xc0);
        assert_eq!(SockRef::from(ipv6.get_ref()).tclass_v6().unwrap(), 0xc0);
        for socket in [ipv4, ipv6] {
            let mut priority = 0;
            socket_option::get(socket.get_ref(), libc::SOL_SOCKET, libc::SO_PRIORITY, &mut priority).unwrap();
            assert_eq!(priority, PRIORITY);
            assert!(!SockRef::from(socket.get_ref()).reuse_port().unwrap());
        }
    });
}

#[test]
fn a_queue_is_drained_without_waiting() {
    inside(async || {
        let (near, far, _elsewhere) = wire();
        exchange(&far, &near, "192.0.2.1").await;
        exchange(&far, &near, "2001:db8::1").await;
        let mut buffer = [0; 64];
        assert_eq!(near.try_receive(&mut buffer).unwrap(), None);
        far.send(address("192.0.2.1"), b"one").unwrap();
        far.send(address("192.0.2.1"), b"two").unwrap();
        far.send(address("2001:db8::1"), b"three").unwrap();
        // The other end of a veth pair has it when the sender's call is over, or soon after.
        let mut lengths = Vec::new();
        while lengths.len() < 3 {
            lengths.extend(near.try_receive(&mut buffer).unwrap().map(|(length, _)| length));
        }
        lengths.sort_unstable();
        assert_eq!(lengths, [3, 3, 5]);
        assert_eq!(near.try_receive(&mut buffer).unwrap(), None);
        assert!(near.receive(&mut buffer).now_or_never().is_none());
        far.send(address("192.0.2.1"), b"four").unwrap();
        assert_eq!(receive(&near).await.0, b"four");
    });
}

#[test]
fn who_opened_last_gets_every_datagram() {
    inside(async || {
        let (before, far, _elsewhere) = wire();
        exchange(&far, &before, "192.0.2.1").await;
        let after = open_on("near");
        for number in 0..20u8 {
            far.send(address("192.0.2.1"), &[number]).unwrap();
            assert_eq!(receive(&after).await.0, [number]);
        }
        assert_eq!(anything(&before).await, None);
    });
}

#[test]
fn an_interface_without_ipv6_has_ipv4() {
    inside(async || {
        std::fs::write("/proc/sys/net/ipv6/conf/near/disable_ipv6", "1").unwrap();
        let elsewhere = Elsewhere::with("far");
        ip("addr add 192.0.2.1/24 dev near");
        let near = open_on("near");
        let far = elsewhere.run(|| {
            configure("far", 2);
            open_on("far")
        });
        exchange(&far, &near, "192.0.2.1").await;
        assert!(near.send(address("2001:db8::2"), b"no").is_err());
    });
}

#[test]
fn a_kernel_without_a_family_is_no_error_and_other_errors_are() {
    let refused = |errno| if_supported::<()>(Err(io::Error::from_raw_os_error(errno)));
    assert_eq!(refused(libc::EAFNOSUPPORT).unwrap(), None);
    assert_eq!(refused(libc::EADDRINUSE).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert_eq!(if_supported(Ok(1)).unwrap(), Some(1));
    inside(async || {
        let socket = DatagramSocket { ipv6: None, ..open_on("near") };
        let error = socket.send(address("2001:db8::2"), b"no").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(socket.try_receive(&mut [0; 8]).unwrap(), None);
    });
}

#[test]
fn an_interface_that_is_down_or_not_there_takes_no_datagram() {
    inside(async || {
        let (near, _far, _elsewhere) = wire();
        ip("link set near down");
        let refused = |socket: &DatagramSocket| socket.send(address("192.0.2.2"), b"no").unwrap_err();
        assert_eq!(refused(&near).kind(), io::ErrorKind::NetworkUnreachable);
        assert_eq!(refused(&near).doing, "send a datagram");
        let nowhere = DatagramSocket::open(LinkIndex::new(9999), PORT).unwrap();
        assert_eq!(refused(&nowhere).source.raw_os_error(), Some(libc::ENODEV));
    });
}

#[test]
fn a_port_that_another_program_keeps_for_itself_is_an_error_that_names_it() {
    inside(async || {
        let _keeper = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        let error = DatagramSocket::open(index("near"), PORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(error.doing, format!("open UDP port 7973 on interface {}", index("near")));
    });
}
