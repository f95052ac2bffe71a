//! How much memory each client uses, while `maxmemory-clients` limits the sum.
//!
//! ```text
//!   counts      slot ─▶ the bytes last counted, and whether the client may be evicted
//!   total       their sum
//!   evictable   (bytes, slot) in order: the largest is the last
//! ```
//!
//! A client is counted again after it was active, so reading the sum costs nothing. Usually nothing has changed, since
//! a client with no request in progress holds no buffer; then counting is one comparison. Otherwise it moves one entry
//! of a tree, O(log clients). The tree is in exact order, so no client is disconnected while a larger one stays.

use std::collections::BTreeSet;

use crate::sys::poller::Token;

/// The last count of a slot's client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    generation: u32,
    bytes: usize,
    evictable: bool,
}

/// See the module's head.
#[derive(Debug)]
pub struct Ledger {
    /// The limit for all clients together, in bytes.
    pub limit: usize,
    /// Whether it was already logged that clients are over the limit and none of them may be evicted.
    pub complained: bool,
    total: usize,
    counts: Vec<Count>,
    evictable: BTreeSet<(usize, u32)>,
}

impl Ledger {
    /// Creates a ledger with no clients.
    pub fn new(limit: usize) -> Ledger {
        Ledger { limit, complained: false, total: 0, counts: Vec::new(), evictable: BTreeSet::new() }
    }

    /// The bytes used by all clients.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns the bytes of each client that may be evicted, in ascending order.
    pub fn evictable(&self) -> impl Iterator<Item = usize> {
        self.evictable.iter().map(|(bytes, _)| *bytes)
    }

    /// Whether clients must be evicted: the total is over the limit, and at least one client may be evicted.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.total > self.limit && !self.evictable.is_empty()
    }

    /// Returns the largest client that may be evicted.
    pub fn largest(&self) -> Option<Token> {
        let (_, slot) = *self.evictable.last()?;
        Some(Token { slot, generation: self.counts[slot as usize].generation })
    }

    /// Sets the bytes that a client uses, more than 0.
    pub fn set(&mut self, token: Token, bytes: usize, evictable: bool) {
        let slot = token.slot as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, Count::default());
        }
        let count = Count { generation: token.generation, bytes, evictable };
        let before = std::mem::replace(&mut self.counts[slot], count);
        if before == count {
            return;
        }
        if before.evictable {
            self.evictable.remove(&(before.bytes, token.slot));
        }
        if evictable {
            self.evictable.insert((bytes, token.slot));
        }
        self.total = self.total - before.bytes + bytes;
    }

    /// Removes a client that is closed or about to be.
    pub fn remove(&mut self, token: Token) {
        if self.counts.get(token.slot as usize).is_some_and(|count| count.generation == token.generation) {
            self.set(token, 0, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 3 }
    }

    #[test]
    fn the_sum_and_the_largest_follow_every_change() {
        let mut ledger = Ledger::new(250);
        for (slot, bytes) in [(0, 100), (3, 120), (1, 30)] {
            ledger.set(token(slot), bytes, true);
        }
        assert_eq!((ledger.total(), ledger.is_over(), ledger.largest()), (250, false, Some(token(3))));
        ledger.set(token(1), 31, true);
        assert!(ledger.is_over());
        ledger.set(token(1), 200, false);
        assert_eq!((ledger.total(), ledger.largest()), (420, Some(token(3))), "one that stays is counted");
        ledger.remove(token(3));
        ledger.remove(token(3));
        ledger.remove(token(17));
        assert_eq!((ledger.total(), ledger.largest()), (300, Some(token(0))));
        assert_eq!(ledger.evictable().collect::<Vec<_>>(), [100]);
        ledger.remove(token(0));
        ledger.limit = 10;
        assert!(!ledger.is_over(), "nobody is left who may be evicted");
    }

    #[test]
    fn a_slot_that_has_another_client_counts_that_one() {
        let mut ledger = Ledger::new(10);
        let later = Token { slot: 2, generation: 4 };
        ledger.set(token(2), 50, true);
        ledger.remove(token(2));
        ledger.set(later, 60, true);
        ledger.remove(token(2));
        assert_eq!((ledger.total(), ledger.largest()), (60, Some(later)));
    }
}
