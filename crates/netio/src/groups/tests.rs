use super::*;
use crate::namespace::{index, inside, ip, run};

fn group(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff77, number)
}

/// Whether the kernel is a member of the group on the interface.
fn is_member(interface: &str, group: Ipv6Addr) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap();
    let hex: String = group.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    table.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words[1..3] == [interface, &hex]
    })
}

fn hears_all(interface: &str) -> bool {
    run("ip", &format!("-d link show dev {interface}")).contains("allmulti 1")
}

#[test]
fn the_kernel_is_a_member_between_join_and_leave() {
    inside(async || {
        let mut membership = Membership::open(index("near")).unwrap();
        assert!(!is_member("near", group(1)));
        assert_eq!(membership.join(group(1)).unwrap(), Reception::Group);
        assert_eq!(membership.join(group(2)).unwrap(), Reception::Group);
        assert!(is_member("near", group(1)) && is_member("near", group(2)) && !is_member("far", group(1)));
        membership.leave(group(1)).unwrap();
        assert!(!is_member("near", group(1)) && is_member("near", group(2)));
        drop(membership);
        assert!(!is_member("near", group(2)));
    });
}

#[test]
fn joining_twice_needs_leaving_once() {
    inside(async || {
        let mut membership = Membership::open(index("near")).unwrap();
        for _ in 0..2 {
            assert_eq!(membership.join(group(1)).unwrap(), Reception::Group);
        }
        membership.leave(group(1)).unwrap();
        assert!(!is_member("near", group(1)));
        membership.leave(group(1)).unwrap();
    });
}

#[test]
fn more_groups_than_one_socket_holds_are_all_joined() {
    inside(async || {
        let mut membership = Membership::open(index("near")).unwrap();
        let mut count = 0;
        while membership.sockets.len() < 3 {
            count += 1;
            assert_eq!(membership.join(group(count)).unwrap(), Reception::Group);
        }
        assert!(is_member("near", group(1)) && is_member("near", group(count)));
        (1..=count).for_each(|number| membership.leave(group(number)).unwrap());
        assert_eq!((membership.sockets.len(), is_member("near", group(1))), (1, false));
    });
}

#[test]
fn beyond_the_limit_the_interface_hears_all_groups_for_as_long_as_needed() {
    inside(async || {
        let mut membership = Membership::open(index("near")).unwrap();
        membership.most_sockets = 1;
        let mut count = 1;
        while membership.join(group(count)).unwrap() == Reception::Group {
            assert!(!hears_all("near") || count % 500 != 0);
            count += 1;
        }
        assert!(hears_all("near") && !is_member("near", group(count)));
        assert_eq!(membership.join(group(count + 1)).unwrap(), Reception::AllMulticast);
        membership.leave(group(count)).unwrap();
        assert!(hears_all("near"));
        membership.leave(group(count + 1)).unwrap();
        assert!(!hears_all("near") && is_member("near", group(1)));
        // Room again.
        membership.leave(group(1)).unwrap();
        assert_eq!(membership.join(group(count)).unwrap(), Reception::Group);
    });
}

#[test]
fn what_cannot_be_joined_is_an_error_that_names_it() {
    inside(async || {
        let mut membership = Membership::open(index("near")).unwrap();
        let error = membership.join("2001:db8::1".parse().unwrap()).unwrap_err();
        assert_eq!(error.doing, format!("join group 2001:db8::1 on interface {}", index("near")));
        ip("link del near");
        assert_eq!(membership.join(group(1)).unwrap_err().source.raw_os_error(), Some(libc::ENODEV));
    });
}
