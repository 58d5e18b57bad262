use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::clock::now;
use crate::lease::Leadership;

/// Lets writes through while this process leads; without a lease to watch, always.
#[derive(Debug, Clone)]
pub(super) struct Gate(Option<watch::Receiver<Leadership>>);

/// What a write was begun under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term(Option<u64>);

impl Gate {
    pub(super) fn always_open() -> Self {
        Self(None)
    }

    pub(super) fn led_by(leadership: watch::Receiver<Leadership>) -> Self {
        Self(Some(leadership))
    }

    /// The term that it is open in.
    pub(super) fn open(&self, now: Instant) -> Option<Term> {
        match &self.0 {
            Some(leadership) => leadership.borrow().term(now).map(|term| Term(Some(term))),
            None => Some(Term(None)),
        }
    }

    /// Returns when leadership says something else than when this was called last.
    pub(super) async fn changed(&mut self) {
        let is_watched = match &mut self.0 {
            Some(leadership) => leadership.changed().await.is_ok(),
            None => false,
        };
        if !is_watched {
            std::future::pending().await
        }
    }

    /// Returns when this term is over: at once if it is.
    pub(super) async fn closed(mut self, term: Term) {
        while self.open(now()) == Some(term) {
            match self.until() {
                Some(until) => tokio::select! {
                    () = self.changed() => {}
                    () = sleep_until(until.into()) => {}
                },
                None => self.changed().await,
            }
        }
    }

    fn until(&self) -> Option<Instant> {
        match &*self.0.as_ref()?.borrow() {
            Leadership::Leads { until, .. } => Some(*until),
            Leadership::Standby => None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn it_is_open_until_the_term_is_over_however_often_that_is_put_off() {
        let now = Instant::now();
        let leads = |ms, term| Leadership::Leads { until: now + Duration::from_millis(ms), term };
        let (sender, leadership) = watch::channel(Leadership::Standby);
        let gate = Gate::led_by(leadership);
        assert_eq!(gate.open(now), None);
        sender.send_replace(leads(100, 1));
        let term = gate.open(now).unwrap();
        assert_eq!(gate.open(now + Duration::from_millis(100)), None, "by the clock alone");
        let closed = tokio::spawn(gate.clone().closed(term));
        tokio::task::yield_now().await;
        sender.send_replace(leads(300, 1));
        closed.await.unwrap();
        assert!(now.elapsed() >= Duration::from_millis(300));
        assert_eq!(gate.open(Instant::now()), None);
    }

    #[tokio::test]
    async fn a_later_term_closes_what_was_begun_in_an_earlier_one() {
        let now = Instant::now();
        let leads = |term| Leadership::Leads { until: now + Duration::from_secs(60), term };
        let (sender, leadership) = watch::channel(leads(1));
        let gate = Gate::led_by(leadership);
        let first = gate.open(now).unwrap();
        assert!(gate.clone().closed(first).now_or_never().is_none());
        sender.send_replace(leads(2));
        gate.clone().closed(first).await;
        assert_ne!(gate.open(now), Some(first));
    }

    #[tokio::test]
    async fn without_a_lease_it_is_always_open() {
        let gate = Gate::always_open();
        let term = gate.open(Instant::now()).unwrap();
        assert!(gate.clone().closed(term).now_or_never().is_none());
    }
}
