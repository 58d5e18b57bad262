use super::*;

const SPEAKER: Mac = Mac::new([2, 0, 0, 0, 0, 7]);
const STRANGER: Mac = Mac::new([2, 0, 0, 0, 0, 0x66]);

/// One that owns both addresses, whose bursts are over, and knows the speaker.
fn owner(start: Instant) -> Responder {
    let mut responder = responder(start);
    [V4, V6].iter().for_each(|address| responder.own(start, ip(address)));
    responder.set_speakers(start, BTreeSet::from([SPEAKER]));
    run(&mut responder, start, Duration::from_secs(3));
    responder
}

fn announcement(mac: Mac) -> Frame {
    arp::announcement(mac, V4.parse().unwrap())
}

/// An unsolicited advertisement that the address is at a place.
fn advertisement(source: Mac, place: Mac) -> Frame {
    let target = V6.parse().unwrap();
    let advertisement = Advertisement {
        source: target,
        destination: ndp::ALL_NODES,
        cause: Cause::Unsolicited,
        target,
        link_layer: Some(place),
    };
    ndp::emit(Header { destination: Mac::of_group(ndp::ALL_NODES), source }, &advertisement)
}

fn foreign(address: &str, mac: Mac, station: Station) -> Output {
    Output::Foreign { address: ip(address), mac, station }
}

#[test]
fn a_speaker_is_reported_and_never_contradicted() {
    let start = Instant::now();
    let mut responder = owner(start);
    for second in [5, 30] {
        let now = start + Duration::from_secs(second);
        responder.handle_frame(now, &announcement(SPEAKER));
        assert_eq!(drain(&mut responder), [foreign(V4, SPEAKER, Station::Speaker)]);
        responder.handle_frame(now, &advertisement(SPEAKER, SPEAKER));
        assert_eq!(drain(&mut responder), [foreign(V6, SPEAKER, Station::Speaker)]);
    }
    assert_eq!((responder.stats().foreign, responder.stats().defences), (4, 0));
}

#[test]
fn a_speaker_that_covers_says_the_place_of_another() {
    let start = Instant::now();
    let mut responder = owner(start);
    let now = start + Duration::from_secs(5);
    let gone = Mac::new([2, 0, 0, 0, 0, 8]);
    responder.handle_frame(now, &advertisement(SPEAKER, gone));
    assert_eq!(drain(&mut responder), [foreign(V6, gone, Station::Speaker)]);
}

#[test]
fn a_strangers_report_does_not_delay_that_of_a_speaker() {
    let start = Instant::now();
    let mut responder = owner(start);
    let now = start + Duration::from_secs(5);
    responder.handle_frame(now, &announcement(STRANGER));
    let outputs = drain(&mut responder);
    assert_eq!(outputs[0], foreign(V4, STRANGER, Station::Stranger));
    assert_eq!(sent(&outputs), gratuitous_arp(MAC, V4)[..1]);
    responder.handle_frame(now, &announcement(SPEAKER));
    assert_eq!(drain(&mut responder), [foreign(V4, SPEAKER, Station::Speaker)]);
}

#[test]
fn who_is_no_speaker_any_more_is_defended_against() {
    let start = Instant::now();
    let mut responder = owner(start);
    let now = start + Duration::from_secs(5);
    responder.set_speakers(now, BTreeSet::new());
    responder.handle_frame(now, &announcement(SPEAKER));
    assert_eq!(sent(&drain(&mut responder)), gratuitous_arp(MAC, V4)[..1]);
}
