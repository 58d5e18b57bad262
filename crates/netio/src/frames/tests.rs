use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;

use super::*;
use crate::namespace::{index, inside, ip, run};

const V4: [u8; 4] = [192, 0, 2, 10];
const OTHER: [u8; 4] = [192, 0, 2, 99];
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);

fn owned() -> Filter {
    Filter::from_iter([IpAddr::from(V4), IpAddr::V6(V6)])
}

fn ethernet(ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6], [2, 0, 0, 0, 0, 0x64].as_slice(), &ethertype, payload].concat()
}

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 0x64];
    ethernet([8, 6], &[head.as_slice(), &sender, &[0; 6], &target].concat())
}

/// An IPv6 packet with the octets that the filter looks at, from a protocol number and what follows.
fn ipv6(next_header: u8, message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap();
    let head = [0x60, 0, 0, 0, 0, length, next_header, 255];
    ethernet([0x86, 0xdd], &[head.as_slice(), &[0; 32], message].concat())
}

fn ndp(kind: u8, target: Ipv6Addr) -> Vec<u8> {
    ipv6(58, &[[kind, 0, 0, 0, 0, 0, 0, 0].as_slice(), &target.octets()].concat())
}

fn pair(filter: &Filter) -> (FrameSocket, FrameSocket) {
    (
        FrameSocket::open(index("near"), filter).unwrap(),
        FrameSocket::open(index("far"), &Filter::from_iter([])).unwrap(),
    )
}

async fn receive(socket: &FrameSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let length = socket.receive(&mut buffer).await.unwrap();
    buffer[..length].to_vec()
}

/// Which of the frames arrive. Each goes alone, followed by an ARP frame and an NDP frame that do.
async fn arriving(sender: &FrameSocket, receiver: &FrameSocket, frames: &[Vec<u8>]) -> Vec<bool> {
    let ends = [arp(1, [1, 1, 1, 1], V4), [ndp(135, V6), vec![0xee]].concat()];
    let mut all = Vec::new();
    for frame in frames {
        let mut arrived = false;
        for sent in [frame, &ends[0], &ends[1]] {
            sender.send(sent).unwrap();
        }
        let mut ended = 0;
        while ended < ends.len() {
            let received = receive(receiver).await;
            ended += usize::from(ends.contains(&received));
            arrived |= received == *frame;
        }
        all.push(arrived);
    }
    all
}

#[test]
fn frames_that_concern_an_owned_address_arrive_and_others_do_not() {
    inside(async || {
        let (receiver, sender) = pair(&owned());
        let neighbour = Ipv6Addr::from_bits(V6.to_bits() + 1);
        let cases = [
            ("request for it", arp(1, OTHER, V4), true),
            ("request in its name", arp(1, V4, OTHER), true),
            ("reply in its name", arp(2, V4, OTHER), true),
            ("gratuitous", arp(1, V4, V4), true),
            ("request between others", arp(1, OTHER, [192, 0, 2, 11]), false),
            ("address below", arp(1, OTHER, [192, 0, 2, 9]), false),
            ("reverse ARP", arp(3, V4, V4), false),
            ("ARP without operation", arp(0, V4, V4), false),
            ("short ARP", arp(1, V4, V4)[..41].to_vec(), false),
            ("solicitation", ndp(135, V6), true),
            ("advertisement", ndp(136, V6), true),
            ("solicitation of another", ndp(135, neighbour), false),
            ("router advertisement", ndp(134, V6), false),
            ("redirect", ndp(137, V6), false),
            ("UDP with the same octets", ipv6(17, &ndp(135, V6)[54..]), false),
            ("option of 32 units", [ndp(135, V6), vec![1, 32, 0, 0]].concat(), true),
            ("IPv4", ethernet([8, 0], &arp(1, OTHER, V4)[14..]), false),
        ];
        let frames = cases.clone().map(|(_, frame, _)| frame);
        let arrived = arriving(&sender, &receiver, &frames).await;
        for ((name, _, expected), arrived) in cases.iter().zip(arrived) {
            assert_eq!(arrived, *expected, "{name}");
        }
    });
}

/// The kernel takes tags off, so what would arrive is the frame inside.
#[test]
fn of_frames_with_a_tag_those_arrive_that_only_have_a_priority() {
    inside(async || {
        let (receiver, sender) = pair(&owned());
        let inner = |last: u8| arp(1, [192, 0, 2, last], V4);
        let tagged =
            |kind: [u8; 2], tag: [u8; 2], inner: &[u8]| ethernet(kind, &[&tag[..], &inner[12..]].concat());
        sender.send(&tagged([0x81, 0], [0, 5], &inner(1))).unwrap();
        sender.send(&tagged([0x88, 0xa8], [0, 5], &inner(2))).unwrap();
        sender.send(&tagged([0x81, 0], [0xef, 0xff], &inner(3))).unwrap();
        sender.send(&tagged([0x81, 0], [0xe0, 0], &inner(4))).unwrap();
        sender.send(&tagged([0x81, 0], [0, 0], &inner(5))).unwrap();
        assert_eq!(receive(&receiver).await, inner(4));
        assert_eq!(receive(&receiver).await, inner(5));
    });
}

#[test]
fn what_is_for_another_station_alone_does_not_arrive() {
    inside(async || {
        let (mut receiver, sender) = pair(&owned());
        receiver.set_promiscuity(Promiscuity::On).unwrap();
        let mut other = arp(1, OTHER, V4);
        other[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
        sender.send(&other).unwrap();
        sender.send(&arp(2, V4, V4)).unwrap();
        assert_eq!(receive(&receiver).await, arp(2, V4, V4));
    });
}

#[test]
fn ranges_and_scattered_addresses_are_told_apart() {
    inside(async || {
        let addresses = [10, 11, 12, 20, 40].map(|last| IpAddr::from([192, 0, 2, last]));
        let all = addresses.into_iter().chain(owned_v6());
        let (receiver, sender) = pair(&Filter::from_iter(all));
        let lasts = [9u8, 10, 11, 12, 13, 19, 20, 21, 39, 40, 41];
        let arrived = arriving(&sender, &receiver, &lasts.map(|last| arp(1, OTHER, [192, 0, 2, last]))).await;
        let expected = lasts.map(|last| [10, 11, 12, 20, 40].contains(&last));
        assert_eq!(arrived, expected);
    });
}

fn owned_v6() -> [IpAddr; 1] {
    [IpAddr::V6(V6)]
}

/// So that no two are neighbours, and no pattern of bits says which they are.
fn scattered(count: u32) -> impl Iterator<Item = [u8; 4]> {
    (0..count).map(|number| (0x0a00_0000 + number * 97).to_be_bytes())
}

/// How many of the frames arrive.
async fn count(sender: &FrameSocket, receiver: &FrameSocket, frames: &[Vec<u8>]) -> usize {
    let mut arrived = 0;
    for frame in frames {
        sender.send(frame).unwrap();
        while receiver.try_receive(&mut [0; 64]).unwrap().is_some() {
            arrived += 1;
        }
    }
    while tokio::time::timeout(Duration::from_millis(50), receive(receiver)).await.is_ok() {
        arrived += 1;
    }
    arrived
}

#[test]
fn with_a_thousand_scattered_addresses_no_broadcast_that_concerns_others_arrives() {
    inside(async || {
        let all = scattered(1000).map(IpAddr::from).chain(owned_v6());
        let (receiver, sender) = pair(&all.collect());
        let foreign: Vec<_> = (0..20_000u32)
            .map(|number| arp(1, OTHER, (0x0a00_0001 + number * 97 / 20).to_be_bytes()))
            .collect();
        let ours: Vec<_> = scattered(1000).map(|address| arp(1, OTHER, address)).collect();
        let foreign: Vec<_> = foreign.into_iter().filter(|frame| !ours.contains(frame)).collect();
        assert!(foreign.len() > 19_000);
        assert_eq!(count(&sender, &receiver, &foreign).await, 0);
        assert_eq!(count(&sender, &receiver, &ours).await, 1000);
        let senders: Vec<_> = scattered(1000).map(|address| arp(2, address, OTHER)).collect();
        assert_eq!(count(&sender, &receiver, &senders).await, 1000);
    });
}

#[test]
fn more_addresses_than_the_filter_holds_still_all_arrive_and_far_ones_do_not() {
    inside(async || {
        let (receiver, sender) = pair(&scattered(5000).map(IpAddr::from).collect());
        let ours: Vec<_> = scattered(5000).map(|address| arp(1, OTHER, address)).collect();
        assert_eq!(count(&sender, &receiver, &ours).await, 5000);
        let far: Vec<_> =
            (0..1000u32).map(|number| arp(1, OTHER, (0x0b00_0000 + number).to_be_bytes())).collect();
        assert_eq!(count(&sender, &receiver, &far).await, 0);
    });
}

/// Kernels before 6.7 give a socket 20 KiB for its options, of which filters are one.
#[test]
fn a_kernel_with_little_memory_for_filters_passes_more_and_never_less() {
    inside(async || {
        std::fs::write("/proc/sys/net/core/optmem_max", "20480").unwrap();
        let (receiver, sender) = pair(&owned());
        let ours: Vec<_> = scattered(1000).map(|address| arp(1, OTHER, address)).collect();
        for _ in 0..3 {
            receiver.set_filter(&scattered(1000).map(IpAddr::from).collect()).unwrap();
            assert_eq!(count(&sender, &receiver, &ours).await, 1000);
        }
        let far: Vec<_> =
            (0..1000u32).map(|number| arp(1, OTHER, (0x0b00_0000 + number).to_be_bytes())).collect();
        assert_eq!(count(&sender, &receiver, &far).await, 0);
        let between: Vec<_> = (0..10_000u32)
            .map(|number| arp(1, OTHER, (0x0a00_0001 + number * 97 / 10).to_be_bytes()))
            .collect();
        let passed = count(&sender, &receiver, &between).await;
        assert!(passed < 10_000, "nothing is told apart");
        receiver.set_filter(&owned()).unwrap();
        assert_eq!(count(&sender, &receiver, &ours).await, 0);
    });
}

#[test]
fn echo_requests_arrive_while_they_are_listened_for() {
    inside(async || {
        let (mut receiver, sender) = pair(&owned());
        let head = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0];
        let request =
            |to: [u8; 4]| ethernet([8, 0], &[&head[..], &OTHER, &to, &[8, 0, 0, 0, 0, 0, 0, 0]].concat());
        let mut request_v6 = ipv6(58, &[128, 0, 0, 0, 0, 0, 0, 0]);
        request_v6[14 + 24..14 + 40].copy_from_slice(&V6.octets());
        let frames = [request(V4), request_v6, request(OTHER)];
        assert_eq!(count(&sender, &receiver, &frames).await, 0);
        receiver.listen_for_echo(&owned()).unwrap();
        assert_eq!(count(&sender, &receiver, &frames).await, 2);
        receiver.set_filter(&Filter::from_iter([IpAddr::from(OTHER)])).unwrap();
        assert_eq!(count(&sender, &receiver, &frames).await, 1);
        // What is sent leaves by the socket of its own kind, and does not come back.
        receiver.send(&request(OTHER)).unwrap();
        assert_eq!(count(&sender, &receiver, &[]).await, 0);
        receiver.ignore_echo();
        assert_eq!(count(&sender, &receiver, &frames).await, 0);
    });
}

#[test]
fn an_interface_is_promiscuous_for_as_long_as_it_shall_be() {
    inside(async || {
        let is_promiscuous = || run("ip", "-d link show near").contains("promiscuity 1");
        let (mut socket, _sender) = pair(&owned());
        for promiscuity in [Promiscuity::Off, Promiscuity::On, Promiscuity::On, Promiscuity::Off] {
            socket.set_promiscuity(promiscuity).unwrap();
            assert_eq!(is_promiscuous(), promiscuity == Promiscuity::On);
        }
        socket.set_promiscuity(Promiscuity::On).unwrap();
        drop(socket);
        assert!(!is_promiscuous());
    });
}

#[test]
fn without_addresses_nothing_arrives_until_the_filter_is_replaced() {
    inside(async || {
        let (receiver, sender) = pair(&Filter::from_iter([]));
        sender.send(&arp(1, OTHER, V4)).unwrap();
        receiver.set_filter(&owned()).unwrap();
        sender.send(&arp(2, V4, OTHER)).unwrap();
        assert_eq!(receive(&receiver).await, arp(2, V4, OTHER));
    });
}

#[test]
fn replacing_the_filter_loses_no_frame_that_both_filters_pass() {
    const FRAMES: u32 = 3000;
    inside(async || {
        let (receiver, sender) = pair(&owned());
        let received = Arc::new(AtomicU32::new(0));
        let arrived = Arc::clone(&received);
        let sending = std::thread::spawn(move || {
            for number in 0..FRAMES {
                // Else the queue overflows when the receiver gets no processor.
                while number >= arrived.load(Ordering::Acquire) + 100 {
                    std::thread::yield_now();
                }
                sender.send(&arp(1, number.to_be_bytes(), V4)).unwrap();
            }
        });
        let mut replaced = 0;
        let mut buffer = [0; 2048];
        let filters = [owned(), Filter::from_iter([IpAddr::from(V4), IpAddr::from([10, 0, 0, 1])])];
        while received.load(Ordering::Acquire) < FRAMES {
            receiver.set_filter(&filters[replaced % 2]).unwrap();
            replaced += 1;
            if let Some(frame) = receiver.receive(&mut buffer).now_or_never() {
                frame.unwrap();
                received.fetch_add(1, Ordering::AcqRel);
            }
            tokio::task::yield_now().await;
        }
        sending.join().unwrap();
        assert_eq!(receiver.take_dropped().unwrap(), 0);
        assert!(replaced > 100, "replaced only {replaced} times");
    });
}

#[test]
fn what_it_sends_itself_does_not_come_back() {
    inside(async || {
        let (receiver, sender) = pair(&owned());
        receiver.send(&arp(1, OTHER, V4)).unwrap();
        receiver.send(&ndp(135, V6)).unwrap();
        sender.send(&arp(2, V4, OTHER)).unwrap();
        assert_eq!(receive(&receiver).await, arp(2, V4, OTHER));
    });
}

#[test]
fn an_interface_that_was_down_is_heard_again() {
    inside(async || {
        let (receiver, sender) = pair(&owned());
        ip("link set near down");
        assert_eq!(receiver.send(&arp(1, V4, V4)).unwrap_err().kind(), io::ErrorKind::NetworkDown);
        ip("link set near up");
        // The kernel drops what is sent before it has noticed the other end's carrier.
        for frame in [arp(1, OTHER, V4), ndp(135, V6)] {
            let received = loop {
                sender.send(&frame).unwrap();
                let wait = tokio::time::timeout(Duration::from_millis(20), receive(&receiver));
                match wait.await {
                    Ok(received) if received.len() == frame.len() => break received,
                    _ => {}
                }
            };
            assert_eq!(received, frame);
        }
    });
}

#[test]
fn frames_that_find_the_queue_full_are_counted_once() {
    inside(async || {
        let (receiver, sender) = pair(&owned());
        let sent = 5000;
        (0..sent).for_each(|_| sender.send(&arp(1, OTHER, V4)).unwrap());
        let dropped = receiver.take_dropped().unwrap();
        assert!(dropped > 0);
        for _ in dropped..sent {
            assert_eq!(receive(&receiver).await, arp(1, OTHER, V4));
        }
        assert!(receiver.receive(&mut [0; 64]).now_or_never().is_none());
        assert_eq!(receiver.take_dropped().unwrap(), 0);
    });
}

#[test]
fn an_interface_that_does_not_exist_is_an_error_that_names_it() {
    inside(async || {
        let error = FrameSocket::open(LinkIndex::new(9999), &owned()).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::ENODEV));
        assert_eq!(error.doing, "open a packet socket on interface 9999");
    });
}
