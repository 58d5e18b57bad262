use std::time::Duration;

use super::{Dialing, Output, Peer, Timer};
use crate::config::Role;
use crate::conn::{Conn, Failure, Phase};

/// The rest after a failed session: bounds how often a peer that reconnects at once can make us fail.
const IDLE_HOLD_TIME: Duration = Duration::from_secs(1);
/// The first wait after a failure; each further one is twice as long.
const FIRST_RETRY_TIME: Duration = Duration::from_secs(1);
/// The longest wait, whatever is configured.
pub(super) const LONGEST_RETRY_TIME: Duration = Duration::from_secs(65535);
/// How long TCP may take; longer, and its own retransmissions are too rare to notice a router that comes back.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

/// The way to the next connection.
impl Peer {
    /// What to do about the next connection, now that this one is gone.
    pub(super) fn retry(&mut self, conn: &Conn, failure: &Failure) {
        match self.conns.iter().map(|(_, other)| other.agreed().is_some()).max() {
            // The other connection carries the peer on, or at least may.
            Some(true) => {}
            Some(false) => self.keep_dialing(),
            None => {
                self.note(failure.to_string());
                self.failures = self.failures.saturating_add(1);
                match (self.dialing, failure, conn.phase()) {
                    (Dialing::Stopped | Dialing::Connect, _, _) => {}
                    (_, failure, _) if failure.is_collision() => self.step_aside(),
                    (_, Failure::Closed(_), Phase::OpenSent) => self.wait(),
                    _ => self.rest(),
                }
            }
        }
    }

    /// A connection whose OPEN has not come may never get one: it is no reason not to dial.
    pub(super) fn keep_dialing(&mut self) {
        let waiting = self.timers.deadline(&Timer::ConnectRetry).is_some();
        if self.conns.dialed.is_none() && !waiting && self.dialing == Dialing::Active {
            self.wait();
        }
    }

    pub(super) fn handle_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Stable => self.failures = 0,
            Timer::ConnectRetry => self.dial(),
            Timer::IdleHold => match self.backoff().checked_sub(IDLE_HOLD_TIME) {
                None | Some(Duration::ZERO) => self.dial(),
                Some(rest) => self.wait_for(rest),
            },
        }
    }

    fn dial(&mut self) {
        if self.dialing == Dialing::Connect {
            self.note("dialing failed: no answer".to_owned());
            self.outputs.push_back(Output::Close(Role::Dialed));
        }
        self.dialing = Dialing::Connect;
        let patience = DIAL_PATIENCE.min(self.config.connect_retry_time).max(FIRST_RETRY_TIME);
        self.arm(Timer::ConnectRetry, patience);
        self.counters.dials = self.counters.dials.saturating_add(1);
        self.outputs.push_back(Output::Dial);
    }

    fn rest(&mut self) {
        self.dialing = Dialing::Idle;
        self.timers.disarm(&Timer::ConnectRetry);
        self.arm(Timer::IdleHold, IDLE_HOLD_TIME);
    }

    pub(super) fn wait(&mut self) {
        self.wait_for(self.backoff());
    }

    /// Each side has closed the connection that the other had kept: that both dial at once again is the one
    /// thing to avoid.
    fn step_aside(&mut self) {
        self.dialing = Dialing::Active;
        let wait = self.jitter.within(self.backoff());
        self.timers.arm(Timer::ConnectRetry, self.now + wait);
    }

    fn wait_for(&mut self, span: Duration) {
        self.dialing = Dialing::Active;
        self.arm(Timer::ConnectRetry, span);
    }

    fn arm(&mut self, timer: Timer, span: Duration) {
        self.timers.arm(timer, self.now + self.jitter.shorten(span));
    }

    /// One second after the first failure, twice that after each further one, at most what is configured.
    fn backoff(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = self.config.connect_retry_time.min(LONGEST_RETRY_TIME);
        (FIRST_RETRY_TIME * 2u32.pow(doublings)).min(longest)
    }
}
