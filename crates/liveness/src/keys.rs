//! Who may speak: each sender's own key, from the key of the cluster.

use std::fmt;

use names::NodeName;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use crate::Incarnation;

const SALT: &[u8] = b"ferritelb.io heartbeat 1";
const TAG: usize = 4;
/// What sealing adds to the plaintext.
pub(crate) const SEAL: usize = 16;

/// A key that the speakers of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; Self::LENGTH]);

impl ClusterKey {
    /// Octets of a key.
    pub const LENGTH: usize = 32;

    /// The key of these octets.
    pub const fn new(octets: [u8; Self::LENGTH]) -> Self {
        Self(octets)
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClusterKey(secret)")
    }
}

/// The keys of the cluster: two while it changes from one to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Heartbeats are sealed with this one.
    pub primary: ClusterKey,
    /// And this one is understood as well.
    pub secondary: Option<ClusterKey>,
}

/// The keys, ready for use.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<Derived>,
}

#[derive(Debug)]
struct Derived {
    tag: Tag,
    prk: Prk,
}

/// Which cluster key a datagram is sealed with.
pub(crate) type Tag = [u8; TAG];

/// The key of one incarnation of one sender. The sequence number is the nonce, so it must never come twice.
#[derive(Debug)]
pub(crate) struct SenderKey {
    tag: Tag,
    key: LessSafeKey,
}

impl Keyring {
    pub(crate) fn new(keys: &Keys) -> Self {
        let keys = [Some(&keys.primary), keys.secondary.as_ref()];
        Self { keys: keys.into_iter().flatten().filter_map(Derived::new).collect() }
    }

    /// The key that this sender seals with.
    pub(crate) fn own(&self, node: &NodeName, incarnation: Incarnation) -> Option<SenderKey> {
        self.keys.first()?.sender(node, incarnation)
    }

    /// The key that a datagram of this tag is opened with.
    pub(crate) fn of(&self, tag: Tag, node: &NodeName, incarnation: Incarnation) -> Option<SenderKey> {
        self.keys.iter().find(|key| key.tag == tag)?.sender(node, incarnation)
    }
}

/// The length of what is derived.
struct Octets(usize);

impl KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Option<[u8; N]> {
    let mut octets = [0; N];
    prk.expand(info, Octets(N)).ok()?.fill(&mut octets).ok()?;
    Some(octets)
}

impl Derived {
    fn new(key: &ClusterKey) -> Option<Self> {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(&key.0);
        Some(Self { tag: expand(&prk, &[b"tag"])?, prk })
    }

    fn sender(&self, node: &NodeName, incarnation: Incarnation) -> Option<SenderKey> {
        let key: [u8; 32] = expand(&self.prk, &[b"sender", node.as_str().as_bytes(), &incarnation.0])?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).ok()?;
        Some(SenderKey { tag: self.tag, key: LessSafeKey::new(key) })
    }
}

impl SenderKey {
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    /// Seals what stands behind the first `clear` octets; those are authenticated only.
    pub(crate) fn seal(&self, sequence: u64, clear: usize, datagram: &mut Vec<u8>) -> Option<()> {
        let (header, body) = datagram.split_at_mut_checked(clear)?;
        let tag = self.key.seal_in_place_separate_tag(nonce(sequence), Aad::from(&*header), body).ok()?;
        datagram.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens a body, if it and the header are as they were sealed.
    pub(crate) fn open<'a>(&self, sequence: u64, header: &[u8], body: &'a mut [u8]) -> Option<&'a [u8]> {
        self.key.open_in_place(nonce(sequence), Aad::from(header), body).ok().map(|body| &*body)
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut octets = [0; 12];
    for (octet, of_sequence) in octets.iter_mut().skip(4).zip(sequence.to_be_bytes()) {
        *octet = of_sequence;
    }
    Nonce::assume_unique_for_key(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(primary: u8, secondary: Option<u8>) -> Keyring {
        let key = |fill| ClusterKey::new([fill; 32]);
        Keyring::new(&Keys { primary: key(primary), secondary: secondary.map(key) })
    }

    /// Whether what `sender` seals for itself can be opened.
    fn understands(receiver: &Keyring, sender: &Keyring, life: Incarnation, claimed: Incarnation) -> bool {
        let node = NodeName::new("n1");
        let key = sender.own(&node, life).unwrap();
        let mut datagram = b"headbody".to_vec();
        key.seal(7, 4, &mut datagram).unwrap();
        let (header, body) = datagram.split_at_mut(4);
        let Some(opener) = receiver.of(key.tag(), &node, claimed) else { return false };
        opener.open(8, header, &mut body.to_vec()).is_none()
            && opener.open(7, b"heap", &mut body.to_vec()).is_none()
            && opener.open(7, header, body) == Some(b"body")
    }

    #[test]
    fn a_datagram_opens_with_its_clusters_key_and_its_senders_life_only() {
        let (one, other) = (Incarnation([1; 16]), Incarnation([2; 16]));
        assert!(understands(&keyring(1, None), &keyring(1, None), one, one));
        assert!(!understands(&keyring(1, None), &keyring(1, None), one, other), "of another life");
        assert!(!understands(&keyring(1, None), &keyring(2, None), one, one), "of another cluster");
    }

    #[test]
    fn while_the_key_changes_everyone_understands_everyone() {
        let life = Incarnation([1; 16]);
        let stages = [keyring(1, None), keyring(1, Some(2)), keyring(2, Some(1)), keyring(2, None)];
        for pair in stages.windows(2) {
            assert!(understands(&pair[0], &pair[1], life, life));
            assert!(understands(&pair[1], &pair[0], life, life));
        }
        assert!(!understands(&stages[0], &stages[3], life, life));
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", ClusterKey::new([7; 32])), "ClusterKey(secret)");
    }
}
