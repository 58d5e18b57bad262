//! "Who has it?", asked again and again by somebody whose neighbour cache is always empty.
//!
//! Each question is a raw frame from one of 64 strangers in turn, so that an answer tells which question it
//! belongs to; no kernel of the lab owns a stranger, so no cache learns from the answers. Two owners, and nobody,
//! are read from packets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::address::{Mac, Network, Place};
use crate::capture::{Capture, Frame, Message, Operation, PacketSocket, Wanted};
use crate::clock;
use crate::host::Host;
use crate::solicit::{Request, Solicitation, arp_frame, ndp_frame};

/// Between two questions.
pub const EVERY: Duration = Duration::from_millis(5);
/// A later answer is none. Until a stranger's next turn it takes longer.
const ANSWER_BY: Duration = Duration::from_millis(200);

/// A witness at work.
#[must_use = "a witness tells what it saw when it is stopped"]
pub struct Witness {
    ip: IpAddr,
    stop: Arc<AtomicBool>,
    asking: Option<JoinHandle<Vec<Question>>>,
    capture: Option<Capture>,
}

/// One question and all its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// When it was sent, on the wall clock.
    pub at: Duration,
    stranger: u8,
    /// Each with the time that it took.
    pub answers: Vec<(Duration, Mac)>,
}

/// What nobody asked for: somebody said that it has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// When the kernel saw it, on the wall clock.
    pub at: Duration,
    /// Whose address it named.
    pub mac: Mac,
}

/// What a witness saw, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// The questions.
    pub questions: Vec<Question>,
    /// The announcements.
    pub announcements: Vec<Announcement>,
}

/// Questions in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the first was sent, on the wall clock.
    pub from: Duration,
    /// Until the next that is not of them, or the last question.
    pub lasted: Duration,
    /// How many.
    pub questions: usize,
}

impl Host {
    /// Starts asking for an address, by broadcast ARP requests or multicast neighbour solicitations.
    #[track_caller]
    pub fn witness(&self, ip: IpAddr) -> Witness {
        self.witness_every(ip, EVERY)
    }

    /// [`Self::witness`] with another spacing.
    #[track_caller]
    pub fn witness_every(&self, ip: IpAddr, spacing: Duration) -> Witness {
        let capture = Capture::of_neighbours(self, "eth0", move |frame| {
            !frame.outgoing && (answer(frame, ip).is_some() || announcement(frame, ip).is_some())
        });
        let socket = PacketSocket::open(self.namespace(), "eth0", Wanted::Nothing);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let ask = move || ask_on(&socket, ip, spacing, &told);
        let asking = thread::Builder::new().name("witness".into()).spawn(ask).expect("a thread starts");
        Witness { ip, stop, asking: Some(asking), capture: Some(capture) }
    }
}

impl Witness {
    /// Ends it, after waiting for answers that are under way.
    #[must_use]
    pub fn stop(mut self) -> Testimony {
        self.stop.store(true, Ordering::Relaxed);
        let asking = self.asking.take().expect("a witness is stopped once");
        let questions = asking.join().expect("a witness does not panic");
        thread::sleep(Duration::from_millis(20));
        let capture = self.capture.take().expect("a witness is stopped once");
        Testimony::of(questions, &capture.stop(), self.ip)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Testimony {
    fn of(mut questions: Vec<Question>, frames: &[Frame], ip: IpAddr) -> Self {
        let mut announcements = Vec::new();
        for frame in frames {
            if let Some((stranger, mac)) = answer(frame, ip) {
                note(&mut questions, frame.at, stranger, mac);
            } else if let Some(mac) = announcement(frame, ip) {
                announcements.push(Announcement { at: frame.at, mac });
            }
        }
        Self { questions, announcements }
    }

    /// What it saw from that moment of the wall clock on.
    #[must_use]
    pub fn since(&self, from: Duration) -> Self {
        let questions = self.questions.iter().filter(|question| question.at >= from).cloned().collect();
        let announcements = self.announcements.iter().filter(|said| said.at >= from).copied().collect();
        Self { questions, announcements }
    }

    /// The longest time in which nobody answered.
    #[must_use]
    pub fn dark(&self) -> Option<Span> {
        self.spans(|question| question.answers.is_empty()).into_iter().max_by_key(|span| span.lasted)
    }

    /// Every time in which questions were answered with more than one MAC.
    #[must_use]
    pub fn doubled(&self) -> Vec<Span> {
        self.spans(|question| question.macs().len() > 1)
    }

    /// The time from the first question with more than one MAC to the last, both ends included; zero when there
    /// is none.
    #[must_use]
    pub fn doubled_for(&self) -> Duration {
        let doubled = self.doubled();
        let ends = doubled.first().zip(doubled.last());
        ends.map_or(Duration::ZERO, |(first, last)| last.from + last.lasted - first.from)
    }

    /// How many answers named each MAC.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<Mac, usize> {
        let mut counts = BTreeMap::new();
        let answers = self.questions.iter().flat_map(|question| &question.answers);
        answers.for_each(|(_, mac)| *counts.entry(*mac).or_insert(0) += 1);
        counts
    }

    /// Everyone who answered or announced itself.
    #[must_use]
    pub fn macs(&self) -> BTreeSet<Mac> {
        let announced = self.announcements.iter().map(|said| said.mac);
        self.answers().into_keys().chain(announced).collect()
    }

    /// Who answered, in order, without repetitions: one more than there were changes.
    #[must_use]
    pub fn reigns(&self) -> Vec<Mac> {
        let mut macs: Vec<Mac> =
            self.questions.iter().flat_map(|question| &question.answers).map(|a| a.1).collect();
        macs.dedup();
        macs
    }

    /// How long answers took.
    pub fn latencies(&self) -> impl Iterator<Item = Duration> {
        self.questions.iter().flat_map(|question| &question.answers).map(|(after, _)| *after)
    }

    fn spans(&self, wanted: impl Fn(&Question) -> bool) -> Vec<Span> {
        let runs = self.questions.chunk_by(|a, b| wanted(a) == wanted(b));
        let mut runs = runs.peekable();
        let mut spans = Vec::new();
        while let Some(run) = runs.next() {
            if wanted(&run[0]) {
                let end = runs.peek().map_or(run[run.len() - 1].at, |next| next[0].at);
                spans.push(Span {
                    from: run[0].at,
                    lasted: end.saturating_sub(run[0].at),
                    questions: run.len(),
                });
            }
        }
        spans
    }
}

impl Question {
    fn macs(&self) -> BTreeSet<Mac> {
        self.answers.iter().map(|(_, mac)| *mac).collect()
    }
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers();
        let dark = self.dark().map_or(Duration::ZERO, |span| span.lasted);
        let (questions, doubled) = (self.questions.len(), self.doubled_for());
        write!(
            f,
            "{questions} questions, dark for {dark:.1?}, doubled for {doubled:.1?}, answers by {answers:?}"
        )?;
        let start = self.questions.first().map_or(Duration::ZERO, |question| question.at);
        let announced = self.announcements.iter().map(|said| (said.at.saturating_sub(start), said.mac));
        write!(f, ", announcements at {:.1?}", announced.collect::<Vec<_>>())
    }
}

/// The latest question of that stranger, unless it was too long ago.
fn note(questions: &mut [Question], at: Duration, stranger: u8, mac: Mac) {
    let before = questions.partition_point(|question| question.at <= at);
    let asked = questions[..before].iter_mut().rev().take(Place::STRANGERS.into());
    let mut asked = asked.filter(|question| question.stranger == stranger && at - question.at <= ANSWER_BY);
    if let Some(question) = asked.next() {
        question.answers.push((at - question.at, mac));
    }
}

fn ask_on(socket: &PacketSocket, ip: IpAddr, spacing: Duration, stop: &AtomicBool) -> Vec<Question> {
    let strangers = (0..Place::STRANGERS).cycle();
    let mut questions = Vec::new();
    let mut next = clock::now();
    for stranger in strangers.take_while(|_| !stop.load(Ordering::Relaxed)) {
        let frame = question(ip, stranger);
        questions.push(Question { at: clock::wall(), stranger, answers: Vec::new() });
        socket.send(&frame);
        next = (next + spacing).max(clock::now());
        thread::sleep(next.saturating_duration_since(clock::now()));
    }
    questions
}

fn question(ip: IpAddr, stranger: u8) -> Vec<u8> {
    let (segment, place) = (Network::SEGMENT, Place::stranger(stranger));
    let mac = segment.mac(place);
    match ip {
        IpAddr::V4(ip) => arp_frame(mac, segment.v4(place), ip, Request::Broadcast),
        IpAddr::V6(ip) => ndp_frame(mac, segment.v6(place), ip, Solicitation::Multicast),
    }
}

/// Which stranger is told of which MAC.
fn answer(frame: &Frame, ip: IpAddr) -> Option<(u8, Mac)> {
    let to = frame.destination();
    let stranger =
        (0..Place::STRANGERS).find(|number| Network::SEGMENT.mac(Place::stranger(*number)) == to)?;
    Some((stranger, named(frame, ip, Operation::Reply)?))
}

fn announcement(frame: &Frame, ip: IpAddr) -> Option<Mac> {
    let to_all = frame.destination().0[0] & 1 == 1;
    let named = || named(frame, ip, Operation::Reply).or_else(|| named(frame, ip, Operation::Request));
    if to_all { named() } else { None }
}

/// The MAC that the frame says the address is at.
fn named(frame: &Frame, ip: IpAddr, operation: Operation) -> Option<Mac> {
    match ip {
        IpAddr::V4(ip) => {
            let arp = frame.arp().filter(|arp| arp.sender == ip && arp.operation == operation)?;
            Some(arp.sender_mac)
        }
        IpAddr::V6(ip) => match frame.ndp().filter(|ndp| ndp.target == ip && ndp.intact)?.message {
            Message::Advertisement { target_mac, .. } => Some(target_mac.unwrap_or(frame.source())),
            Message::Solicitation { .. } => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn testimony(answers: &[&[Mac]]) -> Testimony {
        let question = |(number, macs): (u32, &&[Mac])| Question {
            at: MS * 5 * number,
            stranger: u8::try_from(number).unwrap(),
            answers: macs.iter().map(|mac| (MS, *mac)).collect(),
        };
        Testimony { questions: (0..).zip(answers).map(question).collect(), announcements: Vec::new() }
    }

    #[test]
    fn it_is_dark_until_the_next_question_that_is_answered() {
        let seen = testimony(&[&[A], &[], &[], &[B], &[], &[B]]);
        assert_eq!(seen.dark(), Some(Span { from: 5 * MS, lasted: 10 * MS, questions: 2 }));
        assert_eq!(testimony(&[&[A]]).dark(), None);
        assert_eq!(seen.reigns(), [A, B]);
    }

    #[test]
    fn two_answers_of_one_node_are_no_second_owner() {
        let seen = testimony(&[&[A, A], &[A, B], &[B], &[A, B], &[B]]);
        assert_eq!(seen.doubled().len(), 2);
        assert_eq!(seen.doubled_for(), 15 * MS);
        assert_eq!(seen.answers(), BTreeMap::from([(A, 4), (B, 4)]));
    }

    #[test]
    fn an_answer_belongs_to_the_question_of_the_one_who_is_told() {
        let mut questions = testimony(&[&[], &[], &[]]).questions;
        note(&mut questions, 12 * MS, 1, A);
        note(&mut questions, 13 * MS, 7, A);
        let answers: Vec<_> = questions.iter().map(|question| question.answers.len()).collect();
        assert_eq!(answers, [0, 1, 0]);
        assert_eq!(questions[1].answers[0], (7 * MS, A));
    }
}
