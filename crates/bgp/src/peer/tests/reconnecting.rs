use super::retry::LONGEST_RETRY_TIME;
use super::*;

fn refuse_dials(rig: &mut Rig, count: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let failed = rig.now;
        rig.dial();
        waits.push(rig.now - failed);
        rig.peer.handle_dial_failed(rig.now, "connection refused");
        rig.said();
    }
    waits
}

#[test]
fn waits_double_up_to_the_configured_time_and_are_jittered() {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let mut rig = Rig::seeded(PeerConfig { connect_retry_time: seconds(30.0), ..config(90) }, seed);
        let waits = refuse_dials(&mut rig, 10);
        assert!(waits[0] <= seconds(0.1), "the first dial comes soon: {waits:?}");
        let nominal = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0];
        for (wait, nominal) in waits[1..].iter().zip(nominal) {
            assert!((seconds(nominal * 0.75)..=seconds(nominal)).contains(wait), "{waits:?}");
        }
        seen.extend(waits);
    }
    assert!(seen.len() > 100, "seeds draw different waits");
}

#[test]
fn a_configured_time_below_a_second_is_kept_too() {
    let mut rig = Rig::new(PeerConfig { connect_retry_time: seconds(0.2), ..config(90) });
    let waits = refuse_dials(&mut rig, 5);
    assert!(waits.iter().all(|wait| *wait <= seconds(0.2)), "{waits:?}");
}

#[test]
fn the_longest_time_that_can_be_configured_overflows_nothing() {
    let mut rig = Rig::new(PeerConfig { connect_retry_time: Duration::MAX, ..config(90) });
    let waits = refuse_dials(&mut rig, 40);
    assert!(waits.iter().all(|wait| *wait <= LONGEST_RETRY_TIME));
}

/// How long after a session of `lasting` the next dial comes, when five others had failed before.
fn dial_after(lasting: Duration) -> Duration {
    let mut rig = Rig::new(config(0));
    refuse_dials(&mut rig, 5);
    rig.establish(0);
    rig.advance(lasting);
    rig.hear(Role::Dialed, &Notification::bare(ErrorCode::ADMINISTRATIVE_RESET).emit());
    let ended = rig.now;
    rig.dial();
    rig.now - ended
}

#[test]
fn only_a_stable_session_makes_failures_forgotten() {
    assert!(dial_after(seconds(29.0)) > seconds(20.0));
    assert!(dial_after(seconds(31.0)) <= seconds(1.0));
}

#[test]
fn a_peer_that_resets_every_session_at_once_cannot_keep_us_busy() {
    let mut rig = Rig::new(config(90));
    let begun = rig.now;
    for _ in 0..10 {
        rig.establish(90);
        rig.hear(Role::Dialed, &Notification::bare(ErrorCode::ADMINISTRATIVE_RESET).emit());
    }
    assert!(rig.now - begun > seconds(120.0), "ten sessions took {:?}", rig.now - begun);
}

#[test]
fn a_dial_without_an_answer_is_given_up_and_done_again() {
    let mut rig = Rig::new(config(90));
    rig.dial();
    let (waited, said) = rig.wake();
    assert_eq!(said, "close dial");
    assert!((seconds(7.5)..=seconds(10.0)).contains(&waited));
    assert_eq!(rig.peer.status().last_error.unwrap().text, "dialing failed: no answer");
}

#[test]
fn a_router_that_dials_us_while_we_wait_gets_its_session() {
    let mut rig = Rig::new(config(90));
    refuse_dials(&mut rig, 8);
    assert_eq!(rig.accept(), "open =OpenSent keepalive =OpenConfirm");
    assert_eq!(rig.hear(Role::Accepted, &keepalive()), "=Established");
    assert_eq!(rig.peer.status().session.unwrap().role, Role::Accepted);
}

#[test]
fn a_connection_that_never_opens_does_not_stop_us_from_dialing() {
    let mut rig = Rig::new(config(90));
    rig.peer.handle_accepted(rig.now, END);
    rig.said();
    assert_eq!(rig.wake().1, "dial");
    rig.peer.handle_dialed(rig.now, END);
    assert_eq!(rig.said(), "open");
    let opened = [router_open(90).emit(), keepalive()].concat();
    assert_eq!(rig.hear(Role::Dialed, &opened), "keepalive =Established");
}

#[test]
fn a_router_that_dials_again_has_lost_its_first_connection() {
    let mut rig = Rig::new(config(90));
    rig.accept();
    assert_eq!(rig.accept(), "open =OpenSent keepalive =OpenConfirm");
    rig.hear(Role::Accepted, &keepalive());
    let refused = rig.peer.handle_accepted(rig.now, END);
    let cease = Notification::bare(ErrorCode::CONNECTION_COLLISION).emit();
    assert_eq!((refused, rig.peer.state()), (Admission::Refused(cease), State::Established));
    assert_eq!(rig.peer.status().counters.refused, 1);
}

#[test]
fn what_was_meant_for_a_replaced_connection_does_not_reach_the_next() {
    let mut rig = Rig::new(config(90));
    rig.peer.handle_accepted(rig.now, END);
    rig.peer.handle_accepted(rig.now, END);
    assert_eq!(rig.said(), "=OpenSent open");
}

#[test]
fn an_established_session_outlives_a_second_connection() {
    let mut rig = Rig::new(config(90));
    rig.establish(90);
    assert_eq!(rig.accept(), "open 6/7 close");
    let status = rig.peer.status();
    assert_eq!((status.state, status.counters.collisions, status.last_error), (State::Established, 1, None));
}

#[test]
fn a_dial_that_is_still_out_is_called_off_when_a_session_is_up() {
    let mut rig = Rig::new(config(90));
    rig.dial();
    rig.accept();
    assert_eq!(rig.hear(Role::Accepted, &keepalive()), "close =Established");
    rig.peer.handle_dialed(rig.now, END);
    assert_eq!(rig.said(), "close");
}

#[test]
fn a_dial_that_fails_beside_a_session_is_not_repeated() {
    let mut rig = Rig::new(config(90));
    rig.dial();
    rig.accept();
    rig.peer.handle_dial_failed(rig.now, "connection refused");
    assert_eq!(rig.hear(Role::Accepted, &keepalive()), "=Established");
    let said = rig.advance(seconds(60.0));
    assert_eq!((said.as_str(), rig.peer.status().counters.dials), ("keepalive", 1));
}

#[test]
fn of_two_connections_the_one_of_the_higher_router_id_stays() {
    let lower = RouterId::parse(Ipv4Addr::new(9, 255, 0, 1)).unwrap();
    let cases = [(id(2), "6/7 close keepalive", Role::Accepted), (lower, "6/7 close", Role::Dialed)];
    for (theirs, said, stays) in cases {
        let mut rig = Rig::new(config(90));
        let open = Open { router_id: theirs, ..router_open(90) };
        rig.dialed();
        rig.peer.handle_accepted(rig.now, END);
        rig.said();
        rig.hear(Role::Dialed, &open.emit());
        assert_eq!(rig.hear(Role::Accepted, &open.emit()), said);
        rig.hear(stays, &keepalive());
        assert_eq!(rig.peer.status().session.unwrap().role, stays);
    }
}

fn capabilities_offered(rig: &mut Rig) -> Capabilities {
    rig.dial();
    rig.peer.handle_dialed(rig.now, END);
    let Some(Output::Send(_, octets)) = rig.peer.poll_output() else { panic!("no open") };
    rig.said();
    Open::parse(&octets[19..]).unwrap().capabilities
}

/// RFC 5492 §3.
#[test]
fn a_peer_that_refuses_optional_parameters_is_opened_to_without() {
    let mut rig = Rig::new(config(90));
    let refusal = Notification::bare(ErrorCode::UNSUPPORTED_OPTIONAL_PARAMETER).emit();
    assert_ne!(capabilities_offered(&mut rig), Capabilities::default());
    rig.hear(Role::Dialed, &refusal);
    assert_eq!(capabilities_offered(&mut rig), Capabilities::default());
    // whatever the peer says that it can do: we have offered nothing
    rig.hear(Role::Dialed, &[router_open(90).emit(), keepalive()].concat());
    let session = rig.peer.status().session.unwrap();
    assert_eq!(session.families, BTreeSet::from([Family::Ipv4Unicast]));
    assert_eq!(session.as_numbers, crate::wire::AsNumbers::TwoOctets);
    rig.hear(Role::Dialed, &refusal);
    assert_ne!(capabilities_offered(&mut rig), Capabilities::default());
}

#[test]
fn a_new_session_is_told_everything_again() {
    let mut rig = Rig::new(config(90));
    rig.peer.announce(rig.now, route("192.0.2.1/32"), Route::default());
    rig.peer.complete(rig.now);
    rig.establish(90);
    let updates = |rig: &Rig| rig.peer.status().counters.sent.update;
    assert_eq!(updates(&rig), 3, "the route, and the end of each family");
    rig.peer.handle_closed(rig.now, Role::Dialed, "reset");
    assert_eq!(rig.peer.status().routes, Routes { wanted: 1, withheld: 1, ..Routes::default() });
    rig.peer.withdraw(rig.now, route("192.0.2.1/32"));
    rig.peer.announce(rig.now, route("192.0.2.2/32"), Route::default());
    rig.establish(90);
    assert_eq!((updates(&rig), rig.peer.status().routes.sent), (6, 1));
}

#[test]
fn ten_thousand_failed_dials_leave_nothing_behind() {
    let mut rig = Rig::new(PeerConfig { connect_retry_time: seconds(1.0), ..config(90) });
    refuse_dials(&mut rig, 10_000);
    assert_eq!(rig.peer.status().counters.dials, 10_000);
    assert!(rig.peer.outputs.capacity() < 64);
    rig.establish(90);
}
