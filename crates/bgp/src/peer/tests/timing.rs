use super::*;

#[test]
fn silence_for_the_agreed_hold_time_ends_the_session_and_not_a_moment_earlier() {
    for (ours, theirs, agreed) in [(90, 90, 90.0), (90, 9, 9.0), (3, 180, 3.0)] {
        let mut rig = Rig::new(config(ours));
        rig.establish(theirs);
        let heard = rig.now;
        while rig.now < heard + seconds(agreed) {
            assert_eq!(rig.peer.state(), State::Established);
            rig.wake();
        }
        assert_eq!((rig.now - heard, rig.peer.state()), (seconds(agreed), State::Idle));
        let error = rig.peer.status().last_error.unwrap().text;
        assert_eq!(error, "sent hold timer expired (4/0)");
    }
}

#[test]
fn any_update_keeps_a_session_alive() {
    let mut rig = Rig::new(config(9));
    rig.establish(9);
    for _ in 0..10 {
        rig.advance(seconds(8.9));
        rig.hear(Role::Dialed, &crate::wire::end_of_rib(Family::Ipv4Unicast));
    }
    assert_eq!(rig.peer.state(), State::Established);
    rig.advance(seconds(9.0));
    assert_eq!(rig.peer.state(), State::Idle);
}

#[test]
fn keepalives_come_at_75_to_100_percent_of_a_third_of_the_hold_time() {
    let mut rig = Rig::new(config(3));
    rig.establish(3);
    let mut gaps = Vec::new();
    let mut last = None;
    while gaps.len() < 400 {
        rig.hear(Role::Dialed, &keepalive());
        if rig.wake().1 == "keepalive" {
            gaps.extend(last.replace(rig.now).map(|last| rig.now - last));
        }
    }
    assert!(gaps.iter().all(|gap| (seconds(0.75)..=seconds(1.0)).contains(gap)), "{gaps:?}");
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*least < seconds(0.77) && *most > seconds(0.98), "drawn anew each time: {least:?} to {most:?}");
}

#[test]
fn hold_time_zero_arms_no_timer() {
    for (ours, theirs) in [(0, 90), (90, 0), (0, 0)] {
        let mut rig = Rig::new(config(ours));
        rig.establish(theirs);
        // forgetting earlier failures is all that is left to wait for
        assert_eq!(rig.wake(), (STABLE_TIME, String::new()));
        assert_eq!(rig.peer.poll_timeout(), None);
        assert_eq!(rig.advance(seconds(1e6)), "");
        assert_eq!(rig.peer.state(), State::Established);
    }
}

#[test]
fn a_peer_that_never_opens_is_given_four_minutes() {
    let mut rig = Rig::new(config(9));
    rig.dialed();
    assert_eq!(rig.wake(), (seconds(240.0), "4/0 close =Idle".to_owned()));
}

#[test]
fn a_peer_that_opens_and_says_no_more_is_given_the_agreed_time() {
    let mut rig = Rig::new(config(9));
    rig.dialed();
    rig.hear(Role::Dialed, &router_open(90).emit());
    let opened = rig.now;
    while rig.peer.state() == State::OpenConfirm {
        rig.wake();
    }
    assert_eq!(rig.now - opened, seconds(9.0));
}

#[test]
fn a_spurious_timeout_and_a_clock_that_goes_back_change_nothing() {
    let mut rig = Rig::new(config(9));
    rig.establish(9);
    let deadline = rig.peer.poll_timeout();
    rig.peer.handle_timeout(rig.now);
    rig.peer.handle_timeout(rig.now - seconds(5.0));
    rig.peer.handle_bytes(rig.now - seconds(5.0), Role::Dialed, &keepalive());
    assert_eq!((rig.said(), rig.peer.poll_timeout()), (String::new(), deadline));
}

/// RFC 9687: the peer keeps talking but does not read.
#[test]
fn a_peer_that_does_not_read_for_eight_minutes_is_left() {
    let mut rig = Rig::new(config(9));
    rig.establish(9);
    rig.blocked = true;
    rig.peer.announce(rig.now, route("192.0.2.1/32"), Route::default());
    assert_eq!(rig.said(), "update");
    let blocked = rig.now;
    rig.peer.announce(rig.now, route("192.0.2.2/32"), Route::default());
    while rig.peer.state() == State::Established {
        assert!(rig.now - blocked < seconds(481.0));
        rig.hear(Role::Dialed, &keepalive());
        let said = rig.wake().1;
        assert!(said.is_empty() || said == "8/0 close =Idle", "{said}");
    }
    assert_eq!(rig.now - blocked, seconds(480.0));
}

#[test]
fn a_slow_reader_gets_one_batch_at_a_time() {
    let mut rig = Rig::new(config(90));
    rig.establish(90);
    rig.blocked = true;
    for last in 0..10u8 {
        rig.peer.announce(rig.now, route(&format!("192.0.2.{last}/32")), Route::default());
        assert_eq!(rig.said(), if last == 0 { "update" } else { "" });
    }
    assert_eq!((rig.peer.status().routes.sent, rig.peer.status().routes.pending), (1, 9));
    rig.peer.handle_sent(rig.now, Role::Dialed);
    assert_eq!(rig.said(), "update");
    assert_eq!((rig.peer.status().routes.sent, rig.peer.status().routes.pending), (10, 0));
}

#[test]
fn the_first_change_is_sent_without_waiting() {
    let mut rig = Rig::new(config(90));
    rig.establish(90);
    rig.peer.announce(rig.now, route("192.0.2.1/32"), Route::default());
    assert_eq!(rig.said(), "update");
    rig.peer.withdraw(rig.now, route("192.0.2.1/32"));
    assert_eq!(rig.said(), "update");
}
