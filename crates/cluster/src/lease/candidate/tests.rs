#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn candidate(identity: &str, now: Instant) -> Candidate {
    Candidate::new(identity.into(), 5 * SECOND, 7, now)
}

/// A lease as the API server has it.
fn stored(version: u32, holder: &str, transitions: i32) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.resource_version = Some(version.to_string());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(5),
        renew_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    });
    lease
}

fn asked(candidate: &Candidate, now: Instant) -> Option<Request> {
    candidate.poll_request(now, Timestamp::UNIX_EPOCH)
}

/// What was asked to be written: the resourceVersion, the holder and the transitions.
fn written(request: Option<Request>) -> (Option<String>, String, i32) {
    let (Some(Request::Create(lease)) | Some(Request::Replace(lease))) = request else {
        panic!("not a write: {request:?}")
    };
    let spec = lease.spec.unwrap();
    (lease.metadata.resource_version, spec.holder_identity.unwrap(), spec.lease_transitions.unwrap())
}

fn wrote(version: Option<&str>, holder: &str, transitions: i32) -> (Option<String>, String, i32) {
    (version.map(Into::into), holder.into(), transitions)
}

/// Answers at once.
fn answer(candidate: &mut Candidate, now: Instant, answer: Answer) {
    candidate.handle_answer(now, now, answer);
}

/// One that has just taken a lease that was nobody's.
fn leader(now: Instant) -> Candidate {
    let mut leader = candidate("a", now);
    answer(&mut leader, now, Answer::Found(None));
    answer(&mut leader, now, Answer::Stored(stored(1, "a", 0)));
    leader
}

fn leads(candidate: &mut Candidate, now: Instant) -> bool {
    candidate.handle_timeout(now);
    candidate.leadership().leads(now)
}

#[test]
fn an_absent_lease_is_made_and_then_renewed_every_quarter() {
    let start = Instant::now();
    let mut a = candidate("a", start);
    assert_eq!(asked(&a, start), Some(Request::Read));
    answer(&mut a, start, Answer::Found(None));
    let request = asked(&a, start);
    assert!(matches!(request, Some(Request::Create(_))));
    assert_eq!(written(request), wrote(None, "a", 0));
    assert!(!leads(&mut a, start));
    a.handle_answer(start, start + 300 * MS, Answer::Stored(stored(1, "a", 0)));
    assert_eq!(a.leadership(), Leadership::Leads { until: start + 4 * SECOND, term: 1 });
    assert_eq!(asked(&a, start + 1249 * MS), None);
    assert_eq!(a.poll_timeout(), start + 1250 * MS);
    let renewal = start + 1250 * MS;
    assert_eq!(written(asked(&a, renewal)), wrote(Some("1"), "a", 0));
    answer(&mut a, renewal, Answer::Stored(stored(2, "a", 0)));
    assert_eq!(a.leadership(), Leadership::Leads { until: renewal + 4 * SECOND, term: 1 });
}

#[test]
fn it_leads_from_before_its_request_was_sent_and_no_longer_than_others_wait() {
    let start = Instant::now();
    let mut a = candidate("a", start);
    answer(&mut a, start, Answer::Found(None));
    a.handle_answer(start, start + 4 * SECOND, Answer::Stored(stored(1, "a", 0)));
    assert_eq!(a.leadership(), Leadership::Standby, "the answer came too late");
    assert_eq!(written(asked(&a, start + 4 * SECOND)), wrote(Some("1"), "a", 0));
}

#[test]
fn a_leader_that_was_frozen_leads_no_longer_without_any_request() {
    let start = Instant::now();
    let mut a = leader(start);
    let told = a.leadership();
    assert!(told.leads(start + 3999 * MS));
    assert!(!told.leads(start + 4 * SECOND), "whoever was told before looks at the clock");
    assert!(leads(&mut a, start + 3999 * MS));
    assert!(!leads(&mut a, start + 4 * SECOND));
}

#[test]
fn a_leader_whose_time_ran_out_goes_on_in_its_term_if_nobody_took_it() {
    let start = Instant::now();
    let mut a = leader(start);
    let late = start + 60 * SECOND;
    assert!(!leads(&mut a, late));
    assert_eq!(written(asked(&a, late)), wrote(Some("1"), "a", 0));
    answer(&mut a, late, Answer::Stored(stored(2, "a", 0)));
    assert_eq!(a.leadership().term(late), Some(1));
}

#[test]
fn a_leader_whose_lease_was_taken_leads_no_longer_and_its_next_term_is_another() {
    let start = Instant::now();
    let mut a = leader(start);
    let now = start + 2 * SECOND;
    answer(&mut a, now, Answer::Conflict);
    assert!(leads(&mut a, now), "it may have been its own write that was not answered");
    assert_eq!(asked(&a, now), Some(Request::Read));
    answer(&mut a, now, Answer::Found(Some(stored(2, "b", 1))));
    assert_eq!(a.leadership(), Leadership::Standby);
    answer(&mut a, now + SECOND, Answer::Found(Some(stored(3, "", 1))));
    assert_eq!(written(asked(&a, now + SECOND)), wrote(Some("3"), "a", 2));
    answer(&mut a, now + SECOND, Answer::Stored(stored(4, "a", 2)));
    assert_eq!(a.leadership().term(now + SECOND), Some(2));
}

#[test]
fn a_leader_that_is_not_answered_asks_again_and_stops_in_time() {
    let start = Instant::now();
    let mut a = leader(start);
    let mut now = start + 1250 * MS;
    let mut attempts = 0;
    while leads(&mut a, now) {
        if asked(&a, now).is_none() {
            now = a.poll_timeout();
            continue;
        }
        let (sent, limit) = (now, a.limit(now));
        assert!(limit <= 1250 * MS && now + limit <= start + 4 * SECOND, "{limit:?}");
        now += limit;
        a.handle_answer(sent, now, Answer::Failed);
        attempts += 1;
    }
    assert_eq!(now, start + 4 * SECOND);
    assert!((2..=4).contains(&attempts), "{attempts}");
}

#[test]
fn another_s_lease_is_taken_when_it_was_seen_unchanged_for_its_duration() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    let mut now = start;
    while now < start + 5 * SECOND {
        assert_eq!(asked(&b, now), Some(Request::Read));
        answer(&mut b, now, Answer::Found(Some(stored(9, "a", 3))));
        let next = b.poll_timeout();
        assert!(next <= now + LOOK && next > now, "it looks well below a second later");
        assert!(next <= start + 5 * SECOND, "and not later than it may");
        now = next;
    }
    assert_eq!(now, start + 5 * SECOND);
    answer(&mut b, now, Answer::Found(Some(stored(9, "a", 3))));
    assert_eq!(written(asked(&b, now)), wrote(Some("9"), "b", 4));
    answer(&mut b, now, Answer::Stored(stored(10, "b", 4)));
    assert!(leads(&mut b, now));
}

#[test]
fn a_renewal_that_is_seen_begins_the_wait_anew_whatever_its_clock_says() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(Some(stored(9, "a", 3))));
    let renewed = start + 4900 * MS;
    // The holder's clock stands at 1970 all the time: only that something changed counts.
    answer(&mut b, renewed, Answer::Found(Some(stored(10, "a", 3))));
    answer(&mut b, start + 9 * SECOND, Answer::Found(Some(stored(10, "a", 3))));
    assert_eq!(asked(&b, b.poll_timeout()), Some(Request::Read));
    answer(&mut b, renewed + 5 * SECOND, Answer::Found(Some(stored(10, "a", 3))));
    assert_eq!(written(asked(&b, renewed + 5 * SECOND)), wrote(Some("10"), "b", 4));
}

#[test]
fn a_standby_that_was_frozen_looks_before_it_takes() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(Some(stored(9, "a", 3))));
    let late = start + 60 * SECOND;
    assert_eq!(asked(&b, late), Some(Request::Read));
    answer(&mut b, late, Answer::Found(Some(stored(57, "a", 3))));
    assert_eq!(asked(&b, late), None);
    assert_eq!(asked(&b, b.poll_timeout()), Some(Request::Read));
}

#[test]
fn of_two_that_take_it_at_once_the_refused_one_waits_for_the_other() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(Some(stored(9, "", 3))));
    assert_eq!(written(asked(&b, start)), wrote(Some("9"), "b", 4));
    answer(&mut b, start, Answer::Conflict);
    assert!(!leads(&mut b, start));
    assert_eq!(asked(&b, start), Some(Request::Read));
    answer(&mut b, start, Answer::Found(Some(stored(10, "c", 4))));
    assert_eq!(asked(&b, start), None);
    assert_eq!(asked(&b, b.poll_timeout()), Some(Request::Read));
}

#[test]
fn conflicts_without_end_are_not_repeated_without_a_wait() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(None));
    answer(&mut b, start, Answer::Conflict);
    answer(&mut b, start, Answer::Found(None));
    answer(&mut b, start, Answer::Conflict);
    assert_eq!(asked(&b, start), None);
}

#[test]
fn what_a_process_before_this_one_left_behind_is_another_s() {
    let start = Instant::now();
    let mut restarted = candidate("host_2", start);
    answer(&mut restarted, start, Answer::Found(Some(stored(9, "host_1", 3))));
    assert_eq!(asked(&restarted, start), None);
    assert!(!leads(&mut restarted, start));
    let over = start + 5 * SECOND;
    answer(&mut restarted, over, Answer::Found(Some(stored(9, "host_1", 3))));
    assert_eq!(written(asked(&restarted, over)), wrote(Some("9"), "host_2", 4));
}

#[test]
fn a_write_that_was_not_answered_but_happened_is_found_and_is_its_own() {
    let start = Instant::now();
    let mut a = candidate("a", start);
    answer(&mut a, start, Answer::Found(Some(stored(9, "", 3))));
    answer(&mut a, start, Answer::Failed);
    let again = a.poll_timeout();
    assert_eq!(written(asked(&a, again)), wrote(Some("9"), "a", 4));
    answer(&mut a, again, Answer::Conflict);
    answer(&mut a, again, Answer::Found(Some(stored(10, "a", 4))));
    assert!(!leads(&mut a, again), "when it was sent is not known any more");
    assert_eq!(written(asked(&a, again)), wrote(Some("10"), "a", 4));
    answer(&mut a, again, Answer::Stored(stored(11, "a", 4)));
    assert_eq!(a.leadership().term(again), Some(1));
}

#[test]
fn a_leader_that_resigns_leads_no_longer_and_gives_the_lease_back() {
    let start = Instant::now();
    let mut a = leader(start);
    a.resign(start + SECOND);
    assert_eq!(a.leadership(), Leadership::Standby, "before anything is sent");
    assert_eq!(written(asked(&a, start + SECOND)), wrote(Some("1"), "", 0));
    assert!(!a.is_done());
    answer(&mut a, start + SECOND, Answer::Stored(stored(2, "", 0)));
    assert!(a.is_done() && asked(&a, start + SECOND).is_none());
    assert_eq!(a.leadership(), Leadership::Standby);
}

#[test]
fn one_that_resigns_unsure_of_its_last_write_looks_and_gives_back_what_it_finds() {
    let start = Instant::now();
    let mut a = candidate("a", start);
    answer(&mut a, start, Answer::Found(None));
    answer(&mut a, start, Answer::Failed);
    a.resign(start);
    assert_eq!(asked(&a, start), Some(Request::Read));
    answer(&mut a, start, Answer::Found(Some(stored(1, "a", 0))));
    assert_eq!(written(asked(&a, start)), wrote(Some("1"), "", 0));
}

#[test]
fn a_standby_that_resigns_is_done_and_one_that_gets_no_answer_is_too() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(Some(stored(9, "a", 3))));
    b.resign(start);
    assert!(b.is_done());
    let mut a = leader(start);
    a.resign(start);
    for _ in 0..FAREWELL {
        assert!(!a.is_done());
        let now = a.poll_timeout();
        assert!(now < start + SECOND);
        answer(&mut a, now, Answer::Failed);
    }
    assert!(a.is_done());
}

#[test]
fn a_lease_that_is_deleted_under_its_holder_is_free_when_its_time_is_over() {
    let start = Instant::now();
    let mut b = candidate("b", start);
    answer(&mut b, start, Answer::Found(Some(stored(9, "a", 3))));
    answer(&mut b, start + SECOND, Answer::Found(None));
    assert_eq!(asked(&b, start + SECOND), None);
    answer(&mut b, start + 5 * SECOND, Answer::Found(None));
    assert_eq!(written(asked(&b, start + 5 * SECOND)), wrote(None, "b", 0));
}

#[test]
fn a_leader_whose_lease_was_deleted_leads_again_when_it_has_made_it_anew() {
    let start = Instant::now();
    let mut a = leader(start);
    answer(&mut a, start + SECOND, Answer::Conflict);
    answer(&mut a, start + SECOND, Answer::Found(None));
    assert!(!leads(&mut a, start + SECOND), "somebody who never saw it may be making it");
    assert_eq!(written(asked(&a, start + SECOND)), wrote(None, "a", 0));
    answer(&mut a, start + SECOND, Answer::Stored(stored(12, "a", 0)));
    assert_eq!(a.leadership().term(start + SECOND), Some(2));
}

#[test]
fn what_others_wrote_beside_the_lease_stays() {
    let start = Instant::now();
    let mut a = candidate("a", start);
    let mut lease = stored(9, "", 3);
    lease.metadata.labels = Some([("team".into(), "net".into())].into());
    answer(&mut a, start, Answer::Found(Some(lease)));
    let Some(Request::Replace(lease)) = asked(&a, start) else { panic!() };
    assert_eq!(lease.metadata.labels.unwrap()["team"], "net");
}
