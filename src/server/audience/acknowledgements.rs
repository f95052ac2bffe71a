//! Clients blocked until their writes are acknowledged: `WAIT` by replicas, `WAITAOF` by replicas and the local AOF's
//! fsync.
//!
//! ```text
//!   by_offset    (offset, client)  ─▶ unblocked once the AOF is synced up to there, if it waits for no replicas
//!   by_deadline  (time, client)    ─▶ unblocked at that time, with the acknowledgements so far
//! ```
//!
//! A client waits for an offset of the stream of propagated calls: the end of its last write. Blocking and unblocking a
//! client are O(log n); without blocked clients there is no cost.

use std::collections::{BTreeSet, HashMap};

use crate::sys::poller::Token;

/// The acknowledgements that a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The end of the client's last write in the stream of propagated calls.
    pub offset: u64,
    /// Whether the AOF has to be synced up to the offset; `None`: the reply does not report it (`WAIT`).
    pub local: Option<bool>,
    /// How many replicas have to acknowledge the offset.
    pub replicas: u64,
    /// `None`: no timeout.
    pub timeout_ms: Option<u64>,
}

/// A blocked client.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub wanted: Wanted,
    /// By the monotonic clock.
    deadline_us: Option<u64>,
    /// How long its command ran before it blocked.
    pub ticks: u64,
}

/// All clients blocked by `WAIT` and `WAITAOF`.
#[derive(Debug, Default)]
pub struct Acknowledgements {
    clients: HashMap<Token, Waiting>,
    by_offset: BTreeSet<(u64, Token)>,
    by_deadline: BTreeSet<(u64, Token)>,
}

impl Acknowledgements {
    /// Whether no client waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many clients are blocked.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How many blocked clients have a timeout.
    pub fn deadlines(&self) -> usize {
        self.by_deadline.len()
    }

    /// Blocks a client.
    pub fn add(&mut self, token: Token, wanted: Wanted, (now_us, ticks): (u64, u64)) {
        let deadline_us = wanted.timeout_ms.map(|ms| now_us.saturating_add(ms.saturating_mul(1000)));
        if wanted.replicas == 0 {
            self.by_offset.insert((wanted.offset, token));
        }
        if let Some(deadline) = deadline_us {
            self.by_deadline.insert((deadline, token));
        }
        self.clients.insert(token, Waiting { wanted, deadline_us, ticks });
    }

    /// Unblocks a client. Returns `None` if it is not blocked.
    pub fn remove(&mut self, token: Token) -> Option<Waiting> {
        let waiting = self.clients.remove(&token)?;
        self.by_offset.remove(&(waiting.wanted.offset, token));
        if let Some(deadline) = waiting.deadline_us {
            self.by_deadline.remove(&(deadline, token));
        }
        Some(waiting)
    }

    /// A client to unblock because the AOF is synced up to `offset`.
    pub fn next_synced(&self, offset: u64) -> Option<Token> {
        self.by_offset.first().filter(|(wanted, _)| *wanted <= offset).map(|(_, token)| *token)
    }

    /// The clients that wait for replicas. O(clients that wait).
    pub fn of_replicas(&self) -> Vec<(Token, Wanted)> {
        let waits = self.clients.iter().filter(|(_, waiting)| waiting.wanted.replicas > 0);
        waits.map(|(token, waiting)| (*token, waiting.wanted)).collect()
    }

    /// A client that waits for the local AOF.
    pub fn next_local(&self) -> Option<Token> {
        self.clients.iter().find(|(_, waiting)| waiting.wanted.local == Some(true)).map(|(token, _)| *token)
    }

    /// A client whose timeout has passed.
    pub fn next_overdue(&self, now_us: u64) -> Option<Token> {
        self.by_deadline.first().filter(|(deadline, _)| *deadline <= now_us).map(|(_, token)| *token)
    }

    /// Milliseconds until the next timeout, rounded up, at most `most`.
    pub fn milliseconds_left(&self, now_us: u64, most: u32) -> u32 {
        let Some(&(deadline, _)) = self.by_deadline.first() else { return most };
        u32::try_from(deadline.saturating_sub(now_us).div_ceil(1000)).map_or(most, |left| left.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 0 }
    }

    fn wanted(offset: u64, replicas: u64, timeout_ms: Option<u64>) -> Wanted {
        Wanted { offset, local: Some(true), replicas, timeout_ms }
    }

    #[test]
    fn clients_are_unblocked_in_the_order_of_their_offsets_and_not_before_their_writes_are_synced() {
        let mut waits = Acknowledgements::default();
        for (slot, offset) in [(1, 30), (2, 10), (3, 20)] {
            waits.add(token(slot), wanted(offset, 0, None), (0, 0));
        }
        assert_eq!(waits.next_synced(9), None);
        let mut ended = Vec::new();
        while let Some(next) = waits.next_synced(20) {
            ended.push(next);
            assert!(waits.remove(next).is_some() && waits.remove(next).is_none());
        }
        assert_eq!(ended, [token(2), token(3)]);
        assert_eq!(waits.len(), 1);
    }

    #[test]
    fn a_client_that_waits_for_replicas_is_unblocked_by_its_timeout_and_not_by_a_sync() {
        let mut waits = Acknowledgements::default();
        waits.add(token(1), wanted(10, 1, Some(5)), (1000, 0));
        waits.add(token(2), wanted(10, 1, None), (1000, 0));
        assert_eq!(waits.next_synced(u64::MAX), None);
        assert_eq!((waits.next_overdue(5999), waits.next_overdue(6000)), (None, Some(token(1))));
        assert_eq!((waits.milliseconds_left(1000, 100), waits.milliseconds_left(5001, 100)), (5, 1));
        waits.remove(token(1));
        assert_eq!((waits.next_overdue(u64::MAX), waits.len(), waits.deadlines()), (None, 1, 0));
    }
}
