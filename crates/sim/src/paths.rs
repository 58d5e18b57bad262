use std::collections::BTreeMap;
use std::time::Duration;

use crate::Chance;

/// What happens to packets from one place to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Whether nothing passes.
    pub cut: bool,
    /// Whether heartbeats alone do not pass, as by a firewall.
    pub closed: bool,
    /// Whether announcements alone do not pass.
    pub unannounced: bool,
    /// How many in a thousand are lost.
    pub loss: u16,
    /// How many in a thousand come twice.
    pub duplicates: u16,
    /// How long a packet takes at most.
    pub delay: Duration,
}

impl Path {
    /// A good one.
    pub const GOOD: Self = Self {
        cut: false,
        closed: false,
        unannounced: false,
        loss: 0,
        duplicates: 0,
        delay: Duration::from_micros(200),
    };

    /// When the copies of a packet arrive, after it was sent; empty: never.
    pub fn carry(&self, chance: &mut Chance) -> Vec<Duration> {
        let mut copies = Vec::new();
        if !self.cut && !chance.happens(self.loss) {
            copies.push(chance.between(Duration::from_micros(20), self.delay));
            if chance.happens(self.duplicates) {
                copies.push(chance.between(Duration::from_micros(20), self.delay * 2));
            }
        }
        copies
    }
}

/// The paths of a segment, one way each. All are good but those that were changed.
#[derive(Debug, Clone, Default)]
pub struct Paths(BTreeMap<(usize, usize), Path>);

impl Paths {
    /// From one place to another.
    pub fn get(&self, from: usize, to: usize) -> Path {
        self.0.get(&(from, to)).copied().unwrap_or(Path::GOOD)
    }

    /// Changes one way.
    pub fn set(&mut self, from: usize, to: usize, path: Path) {
        self.0.insert((from, to), path);
    }

    /// Changes both ways.
    pub fn set_both(&mut self, one: usize, other: usize, path: Path) {
        self.set(one, other, path);
        self.set(other, one, path);
    }

    /// All are good again.
    pub fn heal(&mut self) {
        self.0.clear();
    }
}
