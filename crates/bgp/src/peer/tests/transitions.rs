use super::*;

const STATES: [State; 6] =
    [State::Idle, State::Connect, State::Active, State::OpenSent, State::OpenConfirm, State::Established];

/// A peer whose only connection, if any, it dialed itself.
fn in_state(state: State) -> Rig {
    let mut rig = Rig::new(config(90));
    match state {
        State::Active => {}
        State::Connect => rig.dial(),
        State::Idle => {
            rig.dialed();
            rig.hear(Role::Dialed, &Notification::bare(ErrorCode::PEER_DECONFIGURED).emit());
        }
        State::OpenSent => rig.dialed(),
        State::OpenConfirm => {
            rig.dialed();
            rig.hear(Role::Dialed, &router_open(90).emit());
        }
        State::Established => rig.establish(90),
    }
    rig.said();
    assert_eq!(rig.peer.state(), state);
    rig
}

#[derive(Debug, Clone)]
enum Input {
    Stop,
    Silence,
    Deadline,
    Dialed,
    DialFailed,
    Accepted,
    Closed,
    Octets(Vec<u8>),
}

fn feed(rig: &mut Rig, input: &Input) -> String {
    match input {
        Input::Stop => {
            let cease = Cease::AdministrativeShutdown(crate::Communication::default());
            rig.peer.stop(rig.now, &Shutdown::Cease(cease));
        }
        Input::Silence => rig.peer.stop(rig.now, &Shutdown::Silent),
        Input::Deadline => return rig.wake().1,
        Input::Dialed => rig.peer.handle_dialed(rig.now, END),
        Input::DialFailed => rig.peer.handle_dial_failed(rig.now, "connection refused"),
        Input::Accepted => return admission(rig),
        Input::Closed => rig.peer.handle_closed(rig.now, Role::Dialed, "connection reset by peer"),
        Input::Octets(octets) => rig.peer.handle_bytes(rig.now, Role::Dialed, octets),
    }
    rig.said()
}

fn admission(rig: &mut Rig) -> String {
    let admission = rig.peer.handle_accepted(rig.now, END);
    let said = rig.said();
    match admission {
        Admission::Taken => format!("taken {said}"),
        Admission::Refused(octets) => format!("refused {}{said}", octets.len()),
    }
}

fn octets(input: &[u8]) -> Input {
    Input::Octets(input.to_vec())
}

/// What is said in each state; an empty cell is nothing.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, Input, [&'static str; 6])> {
    let refresh = RouteRefresh { family: Family::Ipv4Unicast, subtype: Subtype::Request }.emit();
    let wrong_as = Open { my_as: 65009, capabilities: Capabilities::default(), ..router_open(90) }.emit();
    let long_refresh = [&[0xff; 16][..], &[0, 24, 5, 0, 1, 0, 1, 0]].concat();
    let broken_update = [&[0xff; 16][..], &[0, 23, 2, 0, 9, 0, 0]].concat();
    let short_notification = [&[0xff; 16][..], &[0, 19, 3]].concat();
    let notification = Notification::bare(ErrorCode::OUT_OF_RESOURCES).emit();
    let mut no_marker = keepalive();
    no_marker[0] = 0;
    vec![
        // event                                        Idle              Connect                 Active                  OpenSent                  OpenConfirm         Established
        ("2 stop", Input::Stop,                         ["",              "close =Idle",          "=Idle",                "6/2 close =Idle",        "6/2 close =Idle",  "6/2 close =Idle"]),
        ("8 silent stop", Input::Silence,               ["",              "close =Idle",          "=Idle",                "close =Idle",            "close =Idle",      "close =Idle"]),
        ("9, 10, 11, 13 timer", Input::Deadline,        ["dial =Connect", "close dial",           "dial =Connect",        "4/0 close =Idle",        "keepalive",        "keepalive"]),
        ("14 accepted", Input::Accepted,                ["refused 0",     "taken open =OpenSent", "taken open =OpenSent", "taken open",             "taken open",       "taken open"]),
        ("16 dialed", Input::Dialed,                    ["close",         "open =OpenSent",       "close",                "close",                  "close",            "close"]),
        ("18 dial failed", Input::DialFailed,           ["",              "=Active",              "",                     "",                       "",                 ""]),
        ("18 closed", Input::Closed,                    ["",              "",                     "",                     "=Active",                "=Idle",            "=Idle"]),
        ("19 open", octets(&router_open(90).emit()),    ["",              "",                     "",                     "keepalive =OpenConfirm", "5/2 close =Idle",  "5/3 close =Idle"]),
        ("21 header error", octets(&no_marker),         ["",              "",                     "",                     "1/1 close =Idle",        "1/1 close =Idle",  "1/1 close =Idle"]),
        ("22 open error", octets(&wrong_as),            ["",              "",                     "",                     "2/2 close =Idle",        "5/2 close =Idle",  "5/3 close =Idle"]),
        ("25 notification", octets(&notification),      ["",              "",                     "",                     "close =Idle",            "close =Idle",      "close =Idle"]),
        ("25 bad notification", octets(&short_notification), ["",         "",                     "",                     "close =Idle",            "close =Idle",      "close =Idle"]),
        ("26 keepalive", octets(&keepalive()),          ["",              "",                     "",                     "5/1 close =Idle",        "=Established",     ""]),
        ("27 update", octets(&crate::wire::end_of_rib(Family::Ipv4Unicast)), ["", "",             "",                     "5/1 close =Idle",        "5/2 close =Idle",  ""]),
        ("28 update error", octets(&broken_update),     ["",              "",                     "",                     "5/1 close =Idle",        "5/2 close =Idle",  "3/1 close =Idle"]),
        ("refresh", octets(&refresh),                   ["",              "",                     "",                     "5/1 close =Idle",        "5/2 close =Idle",  ""]),
        ("refresh error", octets(&long_refresh),        ["",              "",                     "",                     "5/1 close =Idle",        "5/2 close =Idle",  "7/1 close =Idle"]),
    ]
}

#[test]
fn every_event_in_every_state_does_what_the_rfc_says() {
    for (name, input, row) in table() {
        for (state, expected) in STATES.into_iter().zip(row) {
            assert_eq!(feed(&mut in_state(state), &input), expected, "event {name} in {state}");
        }
    }
}

#[test]
fn every_octet_at_a_time_does_the_same() {
    for (name, input, row) in table() {
        let Input::Octets(octets) = input else { continue };
        for (state, expected) in STATES.into_iter().zip(row) {
            let mut rig = in_state(state);
            let said = octets.iter().map(|octet| feed(&mut rig, &Input::Octets(vec![*octet])));
            let said: Vec<_> = said.filter(|said| !said.is_empty()).collect();
            assert_eq!(said.join(" "), expected, "event {name} in {state}");
        }
    }
}

#[test]
fn an_unexpected_message_is_named_in_the_notification() {
    for (state, message, data) in [
        (State::OpenSent, keepalive(), [5, 1, 4]),
        (State::OpenConfirm, crate::wire::end_of_rib(Family::Ipv4Unicast), [5, 2, 2]),
        (State::Established, router_open(90).emit(), [5, 3, 1]),
    ] {
        let mut rig = in_state(state);
        rig.peer.handle_bytes(rig.now, Role::Dialed, &message);
        let Some(Output::Send(Role::Dialed, octets)) = rig.peer.poll_output() else { panic!("nothing sent") };
        assert_eq!(octets[19..], data);
    }
}

#[test]
fn nothing_after_the_end_of_a_connection_is_read() {
    let mut rig = in_state(State::Established);
    let both = [Notification::bare(ErrorCode::OUT_OF_RESOURCES).emit(), vec![0; 100]].concat();
    assert_eq!(rig.hear(Role::Dialed, &both), "close =Idle");
    assert_eq!(rig.hear(Role::Dialed, &[0; 100]), "");
}

#[test]
fn a_stopped_peer_stays_stopped() {
    let mut rig = in_state(State::Established);
    feed(&mut rig, &Input::Stop);
    assert_eq!(rig.peer.poll_timeout(), None);
    assert_eq!(feed(&mut rig, &Input::Accepted), "refused 0");
    assert_eq!(feed(&mut rig, &Input::Dialed), "close");
}

#[test]
fn several_messages_in_one_segment_are_all_heard() {
    let mut rig = in_state(State::OpenSent);
    rig.peer.announce(rig.now, route("192.0.2.1/32"), Route::default());
    let refresh = RouteRefresh { family: Family::Ipv4Unicast, subtype: Subtype::Request }.emit();
    let segment = [router_open(90).emit(), keepalive(), keepalive(), refresh].concat();
    assert_eq!(rig.hear(Role::Dialed, &segment), "keepalive =Established update");
    let status = rig.peer.status();
    assert_eq!((status.counters.received.keepalive, status.counters.received.route_refresh), (2, 1));
}

#[test]
fn an_update_is_counted_and_forgotten() {
    let mut rig = in_state(State::Established);
    // no attributes at all: its route counts as withdrawn
    let flawed = [&[0xff; 16][..], &[0, 25, 2, 0, 0, 0, 0, 8, 10]].concat();
    assert_eq!(rig.hear(Role::Dialed, &flawed), "");
    let withdrawal = [&[0xff; 16][..], &[0, 25, 2, 0, 2, 8, 10, 0, 0]].concat();
    assert_eq!(rig.hear(Role::Dialed, &withdrawal), "");
    let counters = rig.peer.status().counters;
    let counted = (counters.treated_as_withdraw, counters.prefixes_withdrawn, counters.prefixes_received);
    assert_eq!((counted, counters.received.update), ((1, 1, 0), 2));
}

#[test]
fn a_peer_with_our_own_router_id_is_refused_inside_the_as_and_welcome_outside() {
    for (peer_asn, expected) in [(65001, "2/3 close =Idle"), (65002, "keepalive =OpenConfirm")] {
        let mut rig = Rig::new(PeerConfig { peer_asn: asn(peer_asn), ..config(90) });
        rig.dialed();
        let mut open = router_open(90);
        open.router_id = id(1);
        open.capabilities.asn = Some(peer_asn);
        assert_eq!(rig.hear(Role::Dialed, &open.emit()), expected);
    }
}

#[test]
fn only_the_end_of_a_session_is_an_error() {
    for (name, input, row) in table() {
        let mut rig = in_state(State::Established);
        feed(&mut rig, &input);
        assert_eq!(rig.peer.status().last_error.is_some(), row[5].contains("=Idle"), "{name}");
    }
}

#[test]
fn status_says_in_words_what_went_wrong() {
    let text = |rig: &Rig| rig.peer.status().last_error.unwrap().text;
    let mut rig = in_state(State::OpenSent);
    let wrong_as = Open { my_as: 65009, capabilities: Capabilities::default(), ..router_open(90) };
    rig.hear(Role::Dialed, &wrong_as.emit());
    assert_eq!(text(&rig), "sent bad peer AS (2/2): the peer is in AS 65009, configured is AS 65002");
    let mut rig = in_state(State::Connect);
    feed(&mut rig, &Input::DialFailed);
    assert_eq!(text(&rig), "dialing failed: connection refused");
    let mut rig = in_state(State::Established);
    rig.hear(Role::Dialed, &Notification::about(ErrorCode::ADMINISTRATIVE_SHUTDOWN, b"\x03bye").emit());
    assert_eq!(text(&rig), "received administrative shutdown (6/2): \"bye\"");
    let mut rig = in_state(State::Established);
    feed(&mut rig, &Input::Closed);
    assert_eq!(text(&rig), "connection closed: connection reset by peer");
}

#[test]
fn families_are_those_that_both_offer_and_ipv4_where_the_peer_offers_none() {
    let both = BTreeSet::from(Family::ALL);
    let v4 = BTreeSet::from([Family::Ipv4Unicast]);
    let v6 = BTreeSet::from([Family::Ipv6Unicast]);
    let cases = [
        (&both, None, v4.clone()),
        (&v6, None, BTreeSet::new()),
        (&both, Some(&v6), v6.clone()),
        (&v4, Some(&v6), BTreeSet::new()),
        (&both, Some(&both), both.clone()),
    ];
    for (ours, theirs, agreed) in cases {
        let mut rig = Rig::new(PeerConfig { families: ours.clone(), ..config(90) });
        rig.dialed();
        let mut open = router_open(90);
        open.capabilities.families = theirs.cloned();
        rig.hear(Role::Dialed, &[open.emit(), keepalive()].concat());
        assert_eq!(rig.peer.status().session.unwrap().families, agreed);
    }
}
