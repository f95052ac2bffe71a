//! Confirmation (`min-replicas-to-ack`): the server sends a reply only after enough replicas have acknowledged the data
//! that it may show.
//!
//! ```text
//!   stream       │ … SET a │ SET b │ PING │         a reply needs 52, the end of the last change
//!   offset                40      52     66
//!   acknowledged    replicas at 47, 66, 40; two are required ─▶ confirmed: 47
//!   withheld     (40, client 3) ─▶ sent        (52, client 4), (52, client 3) ─▶ wait
//! ```
//!
//! A read may show a write of another client that only this server has, so its reply is withheld, too. The replies of
//! an event loop iteration need the offset of its last change; offsets only grow, so replies are sent in their order. A
//! confirmed offset stays confirmed until the role changes, even if replicas disconnect. Requests to the replicas
//! themselves (`PING`, `GETACK`) and pub/sub messages are in the stream, but change no data, so no reply needs them.
//!
//! The machine has no socket and no clock: it computes which replies may be sent, when to request acknowledgements, and
//! which replies have exceeded the timeout. All of this is O(1) for a reply, and O(replicas) for an acknowledgement.

use std::collections::VecDeque;
use std::ops::Range;

use crate::sys::poller::Token;

/// A withheld part of a client's output.
#[derive(Debug)]
struct Waiting {
    token: Token,
    /// The offset that it needs.
    offset: u64,
    since_us: u64,
}

/// The withheld output and the confirmed offset; see the module's head. Offsets are those of the stream.
#[derive(Debug, Default)]
pub struct Confirmation {
    /// The number of replicas that must acknowledge; with 0 no reply is withheld.
    wanted: usize,
    /// The offset that this number of replicas have acknowledged; `None` if there is none yet.
    confirmed: Option<u64>,
    /// The offset for which acknowledgements were requested, until it is confirmed.
    requested: Option<u64>,
    /// The last part of the stream, if it changes no data.
    aside: Range<u64>,
    /// The withheld parts, oldest first.
    waiting: VecDeque<Waiting>,
    /// The offsets of the replicas, while they are compared.
    offsets: Vec<u64>,
    /// The number of parts that were never sent.
    dropped: u64,
}

impl Confirmation {
    /// Sets the number of replicas that must acknowledge. A change resets the confirmed offset.
    pub fn set_wanted(&mut self, wanted: usize) {
        if wanted != self.wanted {
            (self.wanted, self.confirmed, self.requested) = (wanted, None, None);
        }
    }

    /// The offset that enough replicas have acknowledged.
    pub fn confirmed(&self) -> Option<u64> {
        self.confirmed
    }

    /// The number of withheld parts of clients' output.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of parts that exceeded the timeout or were abandoned since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Notes a part of the stream that changes no data.
    pub fn note_aside(&mut self, part: Range<u64>) {
        if part.start == self.aside.end {
            self.aside.end = part.end;
        } else if part.end > self.aside.end {
            self.aside = part;
        }
    }

    /// The offset of the last change, if the stream ends at `end`.
    fn last_change(&self, end: u64) -> u64 {
        if end == self.aside.end { self.aside.start } else { end }
    }

    /// The offset that a reply must wait for if it may show all data in the stream up to `end`; `None` if no reply is
    /// withheld.
    pub fn needed(&self, end: u64) -> Option<u64> {
        Some(self.last_change(end)).filter(|offset| !self.is_confirmed(*offset))
    }

    fn is_confirmed(&self, offset: u64) -> bool {
        self.wanted == 0 || self.confirmed >= Some(offset)
    }

    /// Updates the confirmed offset from the offsets that the replicas have acknowledged.
    pub fn update(&mut self, acknowledged: impl Iterator<Item = u64>) {
        self.offsets.clear();
        self.offsets.extend(acknowledged);
        if self.wanted == 0 || self.offsets.len() < self.wanted {
            return;
        }
        self.offsets.sort_unstable_by(|a, b| b.cmp(a));
        self.confirmed = self.confirmed.max(Some(self.offsets[self.wanted - 1]));
        if self.requested.is_some_and(|offset| self.is_confirmed(offset)) {
            self.requested = None;
        }
    }

    /// Whether to request acknowledgements now: the last change is not confirmed, and no request is in flight.
    pub fn has_to_request(&self, end: u64) -> bool {
        self.requested.is_none() && self.needed(end).is_some()
    }

    /// Notes that acknowledgements up to `end` were requested.
    pub fn note_request(&mut self, end: u64) {
        self.requested = Some(self.last_change(end));
    }

    /// Forgets the last request, which may be lost because a replica connected or disconnected.
    pub fn forget_request(&mut self) {
        self.requested = None;
    }

    /// Withholds a new part of the output of `token` until `offset` is confirmed.
    pub fn wait(&mut self, token: Token, offset: u64, now_us: u64) {
        debug_assert!(self.waiting.back().is_none_or(|last| last.offset <= offset), "offsets only grow");
        self.waiting.push_back(Waiting { token, offset, since_us: now_us });
    }

    /// Takes the next client whose oldest withheld part may be sent.
    pub fn next_confirmed(&mut self) -> Option<Token> {
        let oldest = self.waiting.front()?;
        if !self.is_confirmed(oldest.offset) {
            return None;
        }
        self.waiting.pop_front().map(|waiting| waiting.token)
    }

    /// Takes the next client whose oldest withheld part has waited for `timeout_ms`.
    pub fn next_overdue(&mut self, now_us: u64, timeout_ms: u32) -> Option<Token> {
        let oldest = self.waiting.front()?;
        if now_us < oldest.since_us.saturating_add(u64::from(timeout_ms) * 1000) {
            return None;
        }
        self.drop_oldest()
    }

    /// Takes a client with a withheld part, because no further offset will be confirmed.
    pub fn next_abandoned(&mut self) -> Option<Token> {
        self.drop_oldest()
    }

    fn drop_oldest(&mut self) -> Option<Token> {
        let waiting = self.waiting.pop_front()?;
        self.dropped += 1;
        Some(waiting.token)
    }

    /// Milliseconds until the oldest part has waited for `timeout_ms`, rounded up, at most `most`.
    pub fn milliseconds_left(&self, now_us: u64, timeout_ms: u32, most: u32) -> u32 {
        let Some(oldest) = self.waiting.front() else { return most };
        let deadline_us = oldest.since_us.saturating_add(u64::from(timeout_ms) * 1000);
        u32::try_from(deadline_us.saturating_sub(now_us).div_ceil(1000)).map_or(most, |left| left.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::random::Random;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 0 }
    }

    fn wanting(count: usize) -> Confirmation {
        let mut confirmation = Confirmation::default();
        confirmation.set_wanted(count);
        confirmation
    }

    #[test]
    fn an_offset_is_confirmed_when_as_many_replicas_as_wanted_have_it() {
        for (wanted, acknowledged, confirmed) in [
            (1, &[][..], None),
            (1, &[10][..], Some(10)),
            (1, &[10, 30, 20][..], Some(30)),
            (2, &[30][..], None),
            (2, &[10, 30, 20][..], Some(20)),
            (3, &[10, 30, 20][..], Some(10)),
        ] {
            let mut confirmation = wanting(wanted);
            confirmation.update(acknowledged.iter().copied());
            assert_eq!(confirmation.confirmed(), confirmed, "{wanted} of {acknowledged:?}");
        }
    }

    #[test]
    fn what_is_confirmed_stays_so_without_the_replicas_until_the_role_changes() {
        let mut confirmation = wanting(1);
        assert_eq!(confirmation.needed(0), Some(0), "at the start, nothing is confirmed");
        confirmation.update([40].into_iter());
        confirmation.update([].into_iter());
        confirmation.update([20].into_iter());
        assert_eq!((confirmation.needed(40), confirmation.needed(41)), (None, Some(41)));
        confirmation.set_wanted(1);
        assert_eq!(confirmation.needed(40), None);
        // Replies of a replica are never withheld.
        confirmation.set_wanted(0);
        assert_eq!(confirmation.needed(41), None);
        confirmation.set_wanted(1);
        assert_eq!(confirmation.needed(40), Some(40));
    }

    #[test]
    fn no_reply_needs_what_changes_no_data() {
        let mut confirmation = wanting(1);
        confirmation.update([40].into_iter());
        confirmation.note_aside(40..54);
        confirmation.note_aside(54..91);
        assert_eq!(confirmation.needed(91), None);
        assert_eq!(confirmation.needed(120), Some(120), "a change follows");
        confirmation.note_aside(120..157);
        confirmation.note_aside(120..157);
        assert_eq!(confirmation.needed(157), Some(120));
        confirmation.update([120].into_iter());
        assert_eq!(confirmation.needed(157), None);
    }

    #[test]
    fn one_request_is_under_way_until_it_is_confirmed() {
        let mut confirmation = wanting(1);
        confirmation.update([40].into_iter());
        assert!(!confirmation.has_to_request(40) && confirmation.has_to_request(50));
        confirmation.note_request(50);
        confirmation.note_aside(50..87);
        assert!(!confirmation.has_to_request(87) && !confirmation.has_to_request(100));
        confirmation.update([49].into_iter());
        assert!(!confirmation.has_to_request(100));
        // Redis acknowledges the stream before the request.
        confirmation.update([50].into_iter());
        assert!(confirmation.has_to_request(100) && !confirmation.has_to_request(87));
        confirmation.note_request(100);
        confirmation.forget_request();
        assert!(confirmation.has_to_request(100));
    }

    #[test]
    fn a_part_that_has_waited_for_the_timeout_is_overdue() {
        let mut confirmation = wanting(1);
        assert_eq!(confirmation.milliseconds_left(0, 5, 100), 100);
        confirmation.wait(token(1), 10, 1000);
        confirmation.wait(token(2), 20, 3000);
        assert_eq!((confirmation.next_confirmed(), confirmation.next_overdue(5999, 5)), (None, None));
        let left = |now_us| confirmation.milliseconds_left(now_us, 5, 100);
        assert_eq!((left(1000), left(5001), left(9000)), (5, 1, 0));
        assert_eq!(confirmation.next_overdue(6000, 5), Some(token(1)));
        assert_eq!((confirmation.next_overdue(6000, 5), confirmation.dropped()), (None, 1));
        // No reply is withheld any more once the directive is 0.
        confirmation.set_wanted(0);
        assert_eq!((confirmation.next_confirmed(), confirmation.waiting()), (Some(token(2)), 0));
    }

    /// Replicas acknowledge in any order, disconnect and come back with less. A part is sent only after the required
    /// number of replicas has acknowledged it at some time, parts are sent in their order, and in the end all parts are
    /// sent.
    #[test]
    fn a_part_leaves_in_its_order_and_never_before_enough_replicas_had_its_offset() {
        for seed in 0..200 {
            let mut random = Random::new(seed + 1);
            let wanted = 1 + random.below(3);
            let mut confirmation = wanting(wanted);
            let (mut end, mut came, mut left) = (0, 0, 0);
            let mut needs = Vec::new();
            let mut replicas = vec![0; 4];
            // For each number of replicas, the largest offset that they have had at the same time.
            let mut reached = 0;
            for _ in 0..300 {
                match random.below(6) {
                    0 => end += 1 + random.below(50) as u64,
                    1 => {
                        let start = end;
                        end += 14;
                        confirmation.note_aside(start..end);
                    }
                    2 => {
                        if let Some(offset) = confirmation.needed(end) {
                            confirmation.wait(token(came), offset, 0);
                            needs.push(offset);
                            came += 1;
                        }
                    }
                    3 | 4 => {
                        let index = random.below(replicas.len());
                        let more = random.below((end - replicas[index]) as usize + 1) as u64;
                        replicas[index] += more;
                    }
                    _ => {
                        let index = random.below(replicas.len());
                        replicas[index] = random.below(replicas[index] as usize + 1) as u64;
                    }
                }
                let mut sorted = replicas.clone();
                sorted.sort_unstable_by(|a, b| b.cmp(a));
                reached = reached.max(sorted[wanted - 1]);
                confirmation.update(replicas.iter().copied());
                while let Some(next) = confirmation.next_confirmed() {
                    assert_eq!(next, token(left), "seed {seed}");
                    assert!(needs[left as usize] <= reached, "seed {seed}");
                    left += 1;
                }
            }
            confirmation.update(replicas.iter().map(|_| end));
            while confirmation.next_confirmed().is_some() {
                left += 1;
            }
            assert_eq!((left, confirmation.waiting()), (came, 0), "seed {seed}");
        }
    }
}
