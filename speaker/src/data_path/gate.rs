//! What follows from how the node's proxy says that it is.

use std::time::{Duration, Instant};

use liveness::DataPath;

/// For so long the proxy has to say that it is not well, or nothing, before that counts.
pub(super) const LASTING: Duration = Duration::from_secs(30);

/// What a question was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200: what the node forwards is up to date.
    Ready,
    /// 503: it is not.
    Unavailable,
    /// Nobody listens there.
    Closed,
    /// Anything else, which says nothing of the data path.
    Odd(String),
}

/// The rule. A node that was booted announces nothing before its proxy was well once; afterwards only an illness that
/// lasts counts. Where nothing listens, or nothing sensible is said, that gates nothing once it has lasted: there are
/// clusters without a proxy.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether it may announce at all since the boot.
    passed: bool,
    verdict: DataPath,
    /// Since when the proxy says that it is not well.
    unavailable: Option<Instant>,
    /// Since when it says nothing of use.
    silent: Option<Instant>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { passed: false, verdict: DataPath::Broken, unavailable: None, silent: None }
    }

    pub(super) fn verdict(&self) -> DataPath {
        self.verdict
    }

    pub(super) fn has_passed(&self) -> bool {
        self.passed
    }

    /// It is on record that the proxy was well in this boot.
    pub(super) fn pass(&mut self) {
        if !std::mem::replace(&mut self.passed, true) {
            self.verdict = DataPath::Ready;
        }
    }

    pub(super) fn take(&mut self, now: Instant, answer: &Answer) {
        let lasts = |since: Instant| now.saturating_duration_since(since) >= LASTING;
        match answer {
            Answer::Ready => {
                *self = Self { passed: true, verdict: DataPath::Ready, unavailable: None, silent: None };
            }
            Answer::Unavailable => {
                self.silent = None;
                let since = *self.unavailable.get_or_insert(now);
                // Where it did not pass yet, the verdict is that from the start.
                if lasts(since) {
                    self.verdict = DataPath::Broken;
                }
            }
            Answer::Closed | Answer::Odd(_) => {
                if lasts(*self.silent.get_or_insert(now)) {
                    (self.passed, self.verdict, self.unavailable) = (true, DataPath::Ready, None);
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Asks once a second; what the verdicts are, with the seconds at which they changed.
    fn verdicts(mut gate: Gate, answers: &[(u32, Answer)]) -> Vec<(u32, DataPath)> {
        let (start, mut second, mut all) = (Instant::now(), 0, vec![(0, gate.verdict())]);
        for (seconds, answer) in answers {
            for _ in 0..*seconds {
                gate.take(start + SECOND * second, answer);
                if all.last().is_none_or(|(_, last)| *last != gate.verdict()) {
                    all.push((second, gate.verdict()));
                }
                second += 1;
            }
        }
        all
    }

    fn passed() -> Gate {
        let mut gate = Gate::new();
        gate.pass();
        gate
    }

    #[test]
    fn a_node_that_was_booted_waits_until_its_proxy_is_well() {
        use DataPath::{Broken, Ready};
        let slow = [(40, Answer::Unavailable), (5, Answer::Ready)];
        assert_eq!(verdicts(Gate::new(), &slow), [(0, Broken), (40, Ready)]);
        let late = [(20, Answer::Closed), (10, Answer::Unavailable), (1, Answer::Ready)];
        assert_eq!(verdicts(Gate::new(), &late), [(0, Broken), (30, Ready)]);
        assert_eq!(verdicts(Gate::new(), &[(1, Answer::Ready)]), [(0, Broken), (0, Ready)][..]);
    }

    #[test]
    fn where_nothing_listens_nothing_is_waited_for_for_long() {
        use DataPath::{Broken, Ready};
        assert_eq!(verdicts(Gate::new(), &[(60, Answer::Closed)]), [(0, Broken), (30, Ready)]);
        let odd = Answer::Odd("404".into());
        assert_eq!(verdicts(Gate::new(), &[(60, odd)]), [(0, Broken), (30, Ready)]);
        assert_eq!(verdicts(passed(), &[(600, Answer::Closed)]), [(0, Ready)]);
        let upgraded = [(9, Answer::Ready), (20, Answer::Closed), (9, Answer::Ready)];
        assert_eq!(verdicts(passed(), &upgraded), [(0, Ready)]);
    }

    #[test]
    fn later_only_an_illness_that_lasts_counts() {
        use DataPath::{Broken, Ready};
        let ill = |seconds| [(5, Answer::Ready), (seconds, Answer::Unavailable), (5, Answer::Ready)];
        assert_eq!(verdicts(passed(), &ill(30)), [(0, Ready)]);
        assert_eq!(verdicts(passed(), &ill(40)), [(0, Ready), (35, Broken), (45, Ready)]);
        let hung = Answer::Odd("timeout".into());
        let in_between = [(20, Answer::Unavailable), (5, hung), (20, Answer::Unavailable)];
        assert_eq!(verdicts(passed(), &in_between), [(0, Ready), (30, Broken)], "one that hangs is not well");
        let restarted = [(40, Answer::Unavailable), (10, Answer::Closed), (5, Answer::Ready)];
        assert_eq!(verdicts(passed(), &restarted), [(0, Ready), (30, Broken), (50, Ready)]);
        let removed = [(40, Answer::Unavailable), (60, Answer::Closed)];
        assert_eq!(verdicts(passed(), &removed), [(0, Ready), (30, Broken), (70, Ready)]);
    }

    #[test]
    fn a_speaker_that_is_restarted_does_not_wait_again() {
        let mut gate = Gate::new();
        let start = Instant::now();
        gate.take(start, &Answer::Unavailable);
        assert_eq!(gate.verdict(), DataPath::Broken);
        gate.pass();
        gate.take(start + SECOND, &Answer::Unavailable);
        assert_eq!(gate.verdict(), DataPath::Ready);
        gate.take(start + LASTING, &Answer::Unavailable);
        assert_eq!(gate.verdict(), DataPath::Broken);
        gate.pass();
        assert_eq!(gate.verdict(), DataPath::Broken, "what is on record is no news");
    }
}
