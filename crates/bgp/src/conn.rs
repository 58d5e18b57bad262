use std::time::{Duration, Instant};

use timers::Timers;

use crate::agreement::{Agreed, Offer};
use crate::config::{LocalEnd, PeerConfig};
use crate::ids::Family;
use crate::jitter::Jitter;
use crate::status::Counters;
use crate::wire::{
    DecodeError, ErrorCode, Frame, MessageType, Notification, Open, RouteRefresh, Subtype, Update,
};

/// How long an OPEN may take (RFC 4271 §8.2.2 suggests four minutes).
const LARGE_HOLD_TIME: Duration = Duration::from_secs(240);
/// RFC 9687 §5: the longer of eight minutes and twice the hold time.
const SEND_HOLD_TIME: Duration = Duration::from_secs(8 * 60);

/// One TCP connection, from our OPEN to its end.
#[derive(Debug)]
pub(crate) struct Conn {
    phase: Phase,
    end: LocalEnd,
    offer: Offer,
    timers: Timers<Timer>,
    /// What has arrived of a message that is not whole yet.
    partial: Vec<u8>,
    /// Outputs that the shell has not written yet.
    unsent: u32,
}

/// How far a connection has come; what is agreed exists only after it was.
#[derive(Debug)]
pub(crate) enum Phase {
    OpenSent,
    OpenConfirm(Agreed),
    Established(Agreed),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Hold,
    Keepalive,
    SendHold,
}

/// What a message or a timer means for the peer as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    Quiet,
    /// An OPEN that we can live with; whether this connection may go on is for the peer to say.
    Opened,
    /// The peer accepts us.
    Established,
    /// The peer wants these routes again.
    Refresh(Family),
    /// It is time to say that we are there.
    KeepaliveDue,
    /// The connection must end.
    Failed(Failure),
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// We say so, with this; the text says more than the code.
    Refused(Notification, Option<String>),
    /// The peer says so.
    Notified(Notification),
    /// The peer probably says so, but it cannot be read. That is not answered either (RFC 4271 §6.4).
    Garbled,
    /// TCP has ended.
    Closed(String),
    /// The peer is left without a word.
    Left,
}

impl From<ErrorCode> for Failure {
    fn from(error: ErrorCode) -> Self {
        Self::Refused(Notification::bare(error), None)
    }
}

impl From<DecodeError> for Failure {
    fn from(DecodeError(notification): DecodeError) -> Self {
        Self::Refused(notification, None)
    }
}

impl Failure {
    /// One of the two sides found that there was one connection too many.
    pub(crate) fn is_collision(&self) -> bool {
        match self {
            Self::Refused(notification, _) | Self::Notified(notification) => {
                notification.error == ErrorCode::CONNECTION_COLLISION
            }
            Self::Garbled | Self::Closed(_) | Self::Left => false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(notification, None) => write!(f, "sent {notification}"),
            Self::Refused(notification, Some(why)) => write!(f, "sent {}: {why}", notification.error),
            Self::Notified(notification) => write!(f, "received {notification}"),
            Self::Garbled => f.write_str("received a malformed NOTIFICATION"),
            Self::Closed(reason) => write!(f, "connection closed: {}", reason.escape_debug()),
            Self::Left => f.write_str("stopped"),
        }
    }
}

impl Conn {
    /// TCP is up; the caller sends our OPEN.
    pub(crate) fn new(now: Instant, end: LocalEnd, offer: Offer) -> Self {
        let mut timers = Timers::default();
        timers.arm(Timer::Hold, now + LARGE_HOLD_TIME);
        Self { phase: Phase::OpenSent, end, offer, timers, partial: Vec::new(), unsent: 0 }
    }

    pub(crate) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) const fn end(&self) -> LocalEnd {
        self.end
    }

    pub(crate) const fn agreed(&self) -> Option<&Agreed> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(agreed) | Phase::Established(agreed) => Some(agreed),
        }
    }

    /// What has arrived so far and was not a whole message, with `octets` behind it.
    pub(crate) fn received(&mut self, octets: &[u8]) -> Vec<u8> {
        let mut received = std::mem::take(&mut self.partial);
        received.extend(octets);
        received
    }

    /// Keeps what is not a whole message: less than one.
    pub(crate) fn keep(&mut self, partial: &[u8]) {
        self.partial = partial.to_vec();
    }

    pub(crate) fn handle_frame(
        &mut self,
        now: Instant,
        frame: &Frame<'_>,
        config: &PeerConfig,
        counters: &mut Counters,
    ) -> Event {
        match (frame.kind, &self.phase) {
            (MessageType::Notification, _) => {
                Event::Failed(Notification::parse(frame.body).map_or(Failure::Garbled, Failure::Notified))
            }
            (MessageType::Open, Phase::OpenSent) => self.handle_open(frame, config),
            (MessageType::Keepalive, Phase::OpenConfirm(_) | Phase::Established(_)) => {
                self.handle_keepalive(now)
            }
            (MessageType::Update, Phase::Established(agreed)) => {
                let outcome = count_update(frame, agreed, counters);
                self.restart_hold(now);
                outcome.map_or_else(failed, |()| Event::Quiet)
            }
            (MessageType::RouteRefresh, Phase::Established(agreed)) => refresh(frame, agreed),
            (
                MessageType::Open | MessageType::Keepalive | MessageType::Update | MessageType::RouteRefresh,
                _,
            ) => self.unexpected(frame.kind),
        }
    }

    fn handle_open(&mut self, frame: &Frame<'_>, config: &PeerConfig) -> Event {
        let agreed = Open::parse(frame.body).map_err(Failure::from);
        match agreed.and_then(|open| Agreed::settle(config, self.offer, &open)) {
            Ok(agreed) => {
                self.phase = Phase::OpenConfirm(agreed);
                Event::Opened
            }
            Err(failure) => Event::Failed(failure),
        }
    }

    fn handle_keepalive(&mut self, now: Instant) -> Event {
        self.restart_hold(now);
        match std::mem::replace(&mut self.phase, Phase::OpenSent) {
            Phase::OpenConfirm(agreed) => {
                self.phase = Phase::Established(agreed);
                Event::Established
            }
            before @ (Phase::OpenSent | Phase::Established(_)) => {
                self.phase = before;
                Event::Quiet
            }
        }
    }

    /// A message that has no place here (RFC 4271 §6.6, with the subcodes of RFC 6608).
    fn unexpected(&self, kind: MessageType) -> Event {
        let error = match self.phase {
            Phase::OpenSent => ErrorCode::UNEXPECTED_IN_OPEN_SENT,
            Phase::OpenConfirm(_) => ErrorCode::UNEXPECTED_IN_OPEN_CONFIRM,
            Phase::Established(_) => ErrorCode::UNEXPECTED_IN_ESTABLISHED,
        };
        Event::Failed(Failure::Refused(Notification::about(error, &[kind.octet()]), None))
    }

    /// The connection may go on: the agreed timers replace the one that waited for the OPEN. The caller sends
    /// the KEEPALIVE that says so.
    pub(crate) fn confirm(&mut self, now: Instant, jitter: &mut Jitter) {
        self.timers.disarm(&Timer::Hold);
        self.restart_hold(now);
        self.restart_keepalive(now, jitter);
    }

    /// With no agreed hold time there is no timer to restart (RFC 4271 §4.2).
    fn restart_hold(&mut self, now: Instant) {
        if let Some(hold_time) = self.agreed().and_then(|agreed| agreed.hold_time) {
            self.timers.arm(Timer::Hold, now + hold_time.duration());
        }
    }

    fn restart_keepalive(&mut self, now: Instant, jitter: &mut Jitter) {
        if let Some(keepalive_time) = self.agreed().and_then(|agreed| agreed.keepalive_time) {
            self.timers.arm(Timer::Keepalive, now + jitter.shorten(keepalive_time));
        }
    }

    fn restart_send_hold(&mut self, now: Instant) {
        if let Some(hold_time) = self.agreed().and_then(|agreed| agreed.hold_time) {
            self.timers.arm(Timer::SendHold, now + SEND_HOLD_TIME.max(2 * hold_time.duration()));
        }
    }

    /// One more output is on its way to the shell.
    pub(crate) fn sending(&mut self, now: Instant) {
        if self.unsent == 0 {
            self.restart_send_hold(now);
        }
        self.unsent = self.unsent.saturating_add(1);
    }

    /// The shell has written one output: the peer reads.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.unsent = self.unsent.saturating_sub(1);
        if self.unsent == 0 {
            self.timers.disarm(&Timer::SendHold);
        } else {
            self.restart_send_hold(now);
        }
    }

    /// Nothing waits to be written, so that more may be given out.
    pub(crate) const fn is_writable(&self) -> bool {
        self.unsent == 0
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What the earliest timer that is due has to say.
    pub(crate) fn handle_timeout(&mut self, now: Instant, jitter: &mut Jitter) -> Option<Event> {
        Some(match self.timers.pop_due(now)? {
            Timer::Hold => Event::Failed(ErrorCode::HOLD_TIMER_EXPIRED.into()),
            Timer::SendHold => Event::Failed(ErrorCode::SEND_HOLD_TIMER_EXPIRED.into()),
            Timer::Keepalive => {
                self.restart_keepalive(now, jitter);
                // A message that still waits to be written tells the peer as much, and keeps the backlog short.
                if self.is_writable() { Event::KeepaliveDue } else { Event::Quiet }
            }
        })
    }
}

fn failed(failure: Failure) -> Event {
    Event::Failed(failure)
}

/// An UPDATE is read for its errors and counted, and forgotten: nothing is imported.
fn count_update(frame: &Frame<'_>, agreed: &Agreed, counters: &mut Counters) -> Result<(), Failure> {
    let update = Update::parse(frame.body, &agreed.dialect)?;
    let announced = update.nlri.count() + update.mp_reach.map_or(0, |reach| reach.nlri.count());
    let withdrawn =
        update.withdrawn.count() + update.mp_unreach.map_or(0, |unreach| unreach.withdrawn.count());
    let add = |counter: &mut u64, count: usize| {
        *counter = counter.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    };
    add(&mut counters.prefixes_withdrawn, withdrawn);
    add(&mut counters.attributes_discarded, update.discarded);
    match update.treat_as_withdraw {
        None => add(&mut counters.prefixes_received, announced),
        Some(_) => add(&mut counters.treated_as_withdraw, 1),
    }
    Ok(())
}

/// RFC 2918 §4: only for a family that travels; RFC 7313 is not offered, so its markers say nothing.
fn refresh(frame: &Frame<'_>, agreed: &Agreed) -> Event {
    match RouteRefresh::parse(frame) {
        Ok(Some(RouteRefresh { family, subtype: Subtype::Request }))
            if agreed.dialect.families.contains(&family) =>
        {
            Event::Refresh(family)
        }
        Ok(_) => Event::Quiet,
        Err(error) => Event::Failed(error.into()),
    }
}
