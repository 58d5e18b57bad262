use std::collections::BTreeMap;

use crate::Malformed;

/// What a responder has seen and sent since it was made, in frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// ARP replies to requests.
    pub arp_replies: u64,
    /// Neighbor Advertisements to solicitations, duplicate address detection included.
    pub advertisements: u64,
    /// Answers that were not sent, because the asker had had its share of the second.
    pub excess: u64,
    /// Echo replies.
    pub echoes: u64,
    /// Echo requests for owned addresses that were too long or too many for a reply.
    pub echo_excess: u64,
    /// Unasked announcements: bursts and refreshes.
    pub gratuitous: u64,
    /// Unasked announcements because somebody else used an owned address.
    pub defences: u64,
    /// Questions about addresses, asked of neighbours.
    pub questions: u64,
    /// Frames that answered a question.
    pub answers: u64,
    /// Frames in which somebody else used an owned or covered address.
    pub foreign: u64,
    /// Well-formed frames that concern no address that is owned, covered or asked for.
    pub not_ours: u64,
    /// Frames that carry our own MAC as sender: reflected by the network.
    pub own: u64,
    /// Dropped frames by reason; every reason is present.
    pub malformed: BTreeMap<Malformed, u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            arp_replies: 0,
            advertisements: 0,
            excess: 0,
            echoes: 0,
            echo_excess: 0,
            gratuitous: 0,
            defences: 0,
            questions: 0,
            answers: 0,
            foreign: 0,
            not_ours: 0,
            own: 0,
            malformed: Malformed::ALL.map(|malformed| (malformed, 0)).into(),
        }
    }
}

impl Stats {
    pub(crate) fn count(&mut self, malformed: Malformed) {
        *self.malformed.entry(malformed).or_default() += 1;
    }
}
