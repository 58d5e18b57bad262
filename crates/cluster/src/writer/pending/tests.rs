#![expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pending(limit: usize) -> (Instant, Pending<&'static str, u32>) {
    (Instant::now(), Pending::new(limit, Rate::new(Duration::from_millis(1), 1000), 7))
}

#[test]
fn the_newest_value_of_each_object_is_written_once() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.put(now, "a", 2);
    pending.put(now, "b", 3);
    assert_eq!(pending.len(), 2);
    assert_eq!(pending.take(now), Some(("a", 2)));
    assert_eq!(pending.take(now), Some(("b", 3)));
    assert_eq!(pending.take(now), None);
    pending.end(now, "a", 2, Outcome::Written);
    pending.end(now, "b", 3, Outcome::Gone);
    assert_eq!((pending.len(), pending.wake(now)), (0, None));
}

#[test]
fn an_object_has_one_attempt_at_a_time_and_then_the_newest_value() {
    for outcome in [Outcome::Written, Outcome::Failed, Outcome::Refused] {
        let (now, mut pending) = pending(9);
        pending.put(now, "a", 1);
        assert_eq!(pending.take(now), Some(("a", 1)));
        pending.put(now, "a", 2);
        pending.put(now, "a", 3);
        assert_eq!(pending.take(now), None);
        pending.end(now, "a", 1, outcome);
        assert_eq!(pending.take(now), Some(("a", 3)), "{outcome:?}");
    }
}

#[test]
fn what_is_gone_leaves_a_newer_value_that_may_be_for_a_new_object() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.take(now);
    pending.put(now, "a", 2);
    pending.end(now, "a", 1, Outcome::Gone);
    assert_eq!(pending.take(now), Some(("a", 2)));
    pending.end(now, "a", 2, Outcome::Gone);
    assert_eq!((pending.len(), pending.take(now)), (0, None));
}

#[test]
fn what_is_forgotten_while_it_is_written_is_not_tried_again() {
    for outcome in [Outcome::Written, Outcome::Failed, Outcome::Refused, Outcome::Gone] {
        let (now, mut pending) = pending(9);
        pending.put(now, "a", 1);
        pending.take(now);
        pending.forget(&"a");
        pending.end(now, "a", 1, outcome);
        assert_eq!((pending.len(), pending.wake(now)), (0, None), "{outcome:?}");
    }
}

#[test]
fn a_failure_is_tried_again_for_ever_and_never_later_than_two_seconds() {
    let (mut now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    for _ in 0..50 {
        assert_eq!(pending.take(now), Some(("a", 1)));
        pending.end(now, "a", 1, Outcome::Failed);
        assert_eq!(pending.take(now), None);
        let wake = pending.wake(now).unwrap();
        assert!(wake <= now + 2 * SECOND);
        now = wake;
    }
}

#[test]
fn a_newer_value_does_not_wait_for_the_older_ones_back_off() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.take(now);
    pending.end(now, "a", 1, Outcome::Refused);
    assert_eq!(pending.wake(now), Some(now + REFUSED_WAIT));
    pending.put(now, "a", 2);
    assert_eq!(pending.take(now), Some(("a", 2)));
}

#[test]
fn an_object_that_keeps_failing_holds_up_no_other() {
    let (now, mut pending) = pending(1);
    pending.put(now, "a", 1);
    pending.put(now, "b", 2);
    assert_eq!(pending.take(now), Some(("a", 1)));
    assert_eq!((pending.take(now), pending.wake(now)), (None, None), "one at a time");
    pending.end(now, "a", 1, Outcome::Failed);
    assert_eq!(pending.take(now), Some(("b", 2)));
}

#[test]
fn the_rate_is_kept() {
    let now = Instant::now();
    let mut pending = Pending::new(9, Rate::new(SECOND, 1), 7);
    pending.put(now, "a", 1);
    pending.put(now, "b", 2);
    assert_eq!(pending.take(now), Some(("a", 1)));
    assert_eq!((pending.take(now), pending.wake(now)), (None, Some(now + SECOND)));
    assert_eq!(pending.take(now + SECOND), Some(("b", 2)));
}

#[test]
fn what_is_forgotten_is_not_written() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.forget(&"a");
    assert_eq!((pending.len(), pending.take(now)), (0, None));
    pending.put(now, "b", 1);
    pending.take(now);
    pending.put(now, "b", 2);
    pending.forget(&"b");
    pending.end(now, "b", 1, Outcome::Written);
    assert_eq!((pending.len(), pending.take(now)), (0, None));
}

#[test]
fn who_came_first_is_written_first() {
    let (now, mut pending) = pending(9);
    for id in ["c", "a", "b"] {
        pending.put(now, id, 1);
    }
    let order = [(); 3].map(|()| pending.take(now).unwrap().0);
    assert_eq!(order, ["c", "a", "b"]);
}

#[test]
fn a_busy_api_server_is_left_alone_by_all() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.put(now, "b", 2);
    pending.put(now, "c", 3);
    pending.take(now);
    pending.take(now);
    pending.end(now, "a", 1, Outcome::Busy(3 * SECOND));
    pending.end(now, "b", 2, Outcome::Busy(SECOND));
    assert_eq!((pending.take(now), pending.wake(now)), (None, Some(now + 3 * SECOND)));
    let taken = [(); 3].map(|()| pending.take(now + 3 * SECOND).unwrap().0);
    assert_eq!(taken, ["c", "a", "b"], "nothing is lost");
}

#[test]
fn what_is_cleared_is_not_written_but_may_be_put_again() {
    let (now, mut pending) = pending(9);
    for id in ["a", "b", "c"] {
        pending.put(now, id, 1);
    }
    pending.take(now);
    pending.take(now);
    pending.put(now, "b", 2);
    pending.clear();
    assert_eq!((pending.take(now), pending.running()), (None, 2));
    pending.put(now, "b", 3);
    pending.put(now, "c", 3);
    pending.end(now, "a", 1, Outcome::Failed);
    pending.end(now, "b", 1, Outcome::Failed);
    assert_eq!(pending.take(now), Some(("c", 3)));
    assert_eq!(pending.take(now), Some(("b", 3)));
    assert_eq!(pending.take(now + 60 * SECOND), None);
    assert_eq!(pending.len(), 2);
}

#[test]
fn when_it_is_stopped_only_what_is_under_way_ends() {
    let (now, mut pending) = pending(9);
    pending.put(now, "a", 1);
    pending.take(now);
    pending.put(now, "b", 1);
    pending.stop();
    assert_eq!((pending.take(now), pending.wake(now), pending.running()), (None, None, 1));
    pending.end(now, "a", 1, Outcome::Written);
    assert_eq!((pending.take(now), pending.running(), pending.len()), (None, 0, 1));
}
