//! Output: one buffer for all replies of an iteration, and a queue for the client whose socket does not take all.
//!
//! ```text
//!   buffer   | +OK\r\n+OK\r\n | $3\r\nbar\r\n | $10485760\r\n ^ \r\n | …
//!   segments   client 4         client 9        client 2    |
//!   splices                                                 +-- a block of 10 MB, sent from where it lies
//! ```
//!
//! At the end of the iteration (or before, when there is much), after what has to be durable is, each segment is sent
//! with one call from the shared buffer. Bytes that several clients get (messages, `MONITOR`) stand there once, with a list
//! of these clients; before sending, all that goes to a client is linked into a chain, which leaves by one `writev`. Only what a socket refuses moves to that client's own queue. One call sends at most [`MAX_SEND`] bytes for a
//! client, so that one that fetches large values takes turns with the others.

use std::io::IoSlice;
use std::rc::Rc;

use super::pending::Pending;
use crate::command::Splice;
use crate::sys::poller::Token;
use crate::types::block::Block;

/// The most that is sent to one client in an iteration.
pub const MAX_SEND: usize = 128 * 1024;

/// Pieces handed to one `writev`.
pub const MAX_PIECES: usize = 64;

/// From this many bytes of replies on an iteration sends before it serves further clients: the buffer stays in the cache,
/// and a few clients with large replies do not make it grow until the kernel has to provide fresh pages each time.
const SEND_AT: usize = 256 * 1024;

/// Messages to others do not end a turn, so that what many clients get leaves by one call for each; but they do, and are
/// sent, when there are this many bytes of them or this many deliveries.
const MAX_SHARED: usize = 8 * 1024 * 1024;
const MAX_READERS: usize = 128 * 1024;

/// The buffer is not shrunk below this.
const KEEP: usize = 16 * 1024;

/// The end of a chain of segments.
const NONE: u32 = u32::MAX;

/// Those who get a message.
pub enum Readers {
    /// One client.
    One(Token),
    /// All of a list.
    Many(Rc<Vec<Token>>),
}

/// A part of the buffer that several clients get, each before its segments from `before` on.
struct Share {
    before: usize,
    start: usize,
    end: usize,
    readers: Rc<Vec<Token>>,
}

/// The beginning of a reply that goes on later.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
}

/// The replies of this iteration.
#[derive(Default)]
pub struct Output {
    /// Bytes of all clients, in the order of execution.
    pub buffer: Vec<u8>,
    /// Large values between them.
    pub splices: Vec<Splice>,
    segments: Vec<(Token, usize, usize)>,
    /// Messages for many, in order.
    shares: Vec<Share>,
    /// How many clients they are for, in sum.
    readers: usize,
    /// Bytes of the buffer that are messages.
    shared: usize,
    /// Whether there were messages, so that a client may have many segments.
    has_shares: bool,
    /// After [`Output::arrange`]: the first segment of each client, and for each segment the next one of its client.
    heads: Vec<u32>,
    next: Vec<u32>,
    /// While segments are linked: the last segment of each slot so far.
    last: Vec<u32>,
    /// The highest length of the buffer since the last call of [`Output::rest`].
    peak: usize,
    /// See [`Output::shrink_when_cleared`].
    shrinks: bool,
    /// Where the segment that is being written begins.
    open: usize,
    turn: Turn,
}

/// How much the client that is being served may write.
#[derive(Default)]
struct Turn {
    /// The length of the buffer at which it is over.
    end: usize,
    /// How many large values there were when it began.
    splices: usize,
}

impl Output {
    /// What is written from here on belongs to the next client whose segment is closed.
    pub fn open_segment(&mut self) {
        self.open = self.buffer.len();
    }

    /// A client has its turn, which is over when its commands have written `most` bytes.
    pub fn begin_turn(&mut self, most: usize) {
        self.turn = Turn { end: self.buffer.len() + most, splices: self.splices.len() };
        self.open_segment();
    }

    /// Whether the turn has written as much as it may. Replies to clients that its commands have woken count as well.
    #[inline(always)]
    pub fn turn_is_over(&self) -> bool {
        self.buffer.len() >= self.turn.end
            || (self.splices.len() > self.turn.splices && self.turn_is_over_with_splices())
    }

    #[cold]
    fn turn_is_over_with_splices(&self) -> bool {
        let spliced: usize = self.splices[self.turn.splices..].iter().map(|splice| splice.block.len()).sum();
        self.buffer.len() + spliced >= self.turn.end
    }

    /// Says that the bytes since the last opening or closing are `client`'s.
    pub fn close_segment(&mut self, client: Token) {
        let (start, end) = (self.open, self.buffer.len());
        self.open = end;
        if end == start {
            return;
        }
        match self.segments.last_mut() {
            Some((last, _, last_end)) if *last == client && *last_end == start => *last_end = end,
            _ => self.segments.push((client, start, end)),
        }
    }

    /// Appends a message for each of `readers`; a large payload belongs before byte `payload.0` of it. No segment may be
    /// open.
    pub fn share(&mut self, bytes: &[u8], payload: Option<(usize, &Block)>, readers: Readers) {
        debug_assert_eq!(self.open, self.buffer.len(), "bytes of a client would become everybody's");
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        let end = self.buffer.len();
        self.open = end;
        if let Some((at, block)) = payload {
            self.splices.push(Splice { at: start + at, block: block.share() });
        }
        self.has_shares = true;
        self.shared += bytes.len();
        self.turn.end += bytes.len();
        if self.shared > MAX_SHARED {
            self.turn.end = 0;
        }
        match readers {
            Readers::One(token) => match self.segments.last_mut() {
                Some((last, _, last_end)) if *last == token && *last_end == start => *last_end = end,
                _ => self.segments.push((token, start, end)),
            },
            Readers::Many(readers) => self.share_with_many(readers, start, end),
        }
    }

    fn share_with_many(&mut self, readers: Rc<Vec<Token>>, start: usize, end: usize) {
        let before = self.segments.len();
        if let Some(last) = self.shares.last_mut()
            && last.before == before
            && last.end == start
            && Rc::ptr_eq(&last.readers, &readers)
        {
            last.end = end;
            return;
        }
        self.readers += readers.len();
        if self.readers > MAX_READERS {
            self.turn.end = 0;
        }
        self.shares.push(Share { before, start, end, readers });
    }

    /// Whether `client` has a segment from `first` on. Searches from the end: O(1) for the client that has written last.
    pub fn has_segment(&self, client: Token, first: usize) -> bool {
        self.segments[first..].iter().rev().any(|(owner, ..)| *owner == client)
            || self.shares.iter().any(|share| share.readers.contains(&client))
    }

    /// Ends the collecting of segments, before they are sent. Returns how many chains there are: a chain is all that goes
    /// to one client, except that without messages each segment is one. O(segments and readers).
    pub fn arrange(&mut self) -> usize {
        if !self.has_shares {
            return self.segments.len();
        }
        self.spread();
        self.link();
        self.heads.len()
    }

    /// Gives each reader of what is shared a segment of its own, in the place of the shared one.
    fn spread(&mut self) {
        if self.shares.is_empty() {
            return;
        }
        let mut spread = Vec::with_capacity(self.segments.len() + self.readers);
        let mut from = 0;
        for Share { before, start, end, readers } in self.shares.drain(..) {
            spread.extend_from_slice(&self.segments[from..before]);
            from = before;
            spread.extend(readers.iter().map(|token| (*token, start, end)));
        }
        spread.extend_from_slice(&self.segments[from..]);
        self.segments = spread;
    }

    /// Links the segments of each client in their order. Those that touch each other become one.
    fn link(&mut self) {
        let slots = self.segments.iter().map(|(token, ..)| token.slot as usize + 1).max().unwrap_or(0);
        self.last.clear();
        self.last.resize(slots, NONE);
        self.next.resize(self.segments.len(), NONE);
        for index in 0..self.segments.len() {
            let (token, start, end) = self.segments[index];
            let before = self.last[token.slot as usize];
            match self.segments.get_mut(before as usize) {
                Some((owner, _, its_end)) if *owner == token && *its_end == start => {
                    *its_end = end;
                    continue;
                }
                Some((owner, ..)) if *owner == token => self.next[before as usize] = index as u32,
                _ => self.heads.push(index as u32),
            }
            self.last[token.slot as usize] = index as u32;
        }
    }

    /// The first segment of a chain.
    pub fn head(&self, chain: usize) -> usize {
        if self.has_shares { self.heads[chain] as usize } else { chain }
    }

    /// Whether more segments follow `segment` in its chain.
    pub fn has_next(&self, segment: usize) -> bool {
        self.next.get(segment).is_some_and(|next| *next != NONE)
    }

    /// Whether `token` has segments that are not in the chain of `head`, behind it.
    pub fn has_more(&self, token: Token, head: usize) -> bool {
        !self.has_shares && self.has_segment(token, head + 1)
    }

    /// The segments of the chain that begins with `head`.
    fn chain(&self, head: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(head), |segment| {
            self.next.get(*segment).filter(|next| **next != NONE).map(|next| *next as usize)
        })
    }

    /// Takes back what was written from `start` on.
    pub fn truncate(&mut self, start: usize) {
        self.buffer.truncate(start);
        while self.splices.last().is_some_and(|splice| splice.at > start) {
            self.splices.pop();
        }
    }

    /// Takes what was written from `start` on out of the buffer, to be sent later.
    pub fn hold(&mut self, start: usize) -> Held {
        let first = self.splices.partition_point(|splice| splice.at <= start);
        let splices =
            self.splices.drain(first..).map(|splice| Splice { at: splice.at - start, ..splice }).collect();
        Held { bytes: self.buffer.split_off(start), splices }
    }

    /// Appends what was held.
    pub fn release(&mut self, held: Held) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&held.bytes);
        let splices = held.splices.into_iter().map(|splice| Splice { at: splice.at + start, ..splice });
        self.splices.extend(splices);
    }

    /// Bytes of the large values that belong behind `start`.
    pub fn spliced_bytes(&self, start: usize) -> usize {
        let spliced = self.splices.iter().rev().take_while(|splice| splice.at > start);
        spliced.map(|splice| splice.block.len()).sum()
    }

    /// Bytes for each client that have not been offered to its socket yet: those of whole segments, and what is shared.
    /// O(segments and readers).
    pub fn unsent(&self) -> impl Iterator<Item = (Token, usize)> {
        let own = self.segments.iter().enumerate().map(|(index, (client, start, end))| {
            let spliced: usize = self.splices_of(index).map(|splice| splice.block.len()).sum();
            (*client, end - start + spliced)
        });
        let shared = self.shares.iter().flat_map(|share| {
            let spliced: usize =
                self.splices_between(share.start, share.end).map(|splice| splice.block.len()).sum();
            share.readers.iter().map(move |client| (*client, share.end - share.start + spliced))
        });
        own.chain(shared)
    }

    /// This iteration has replies that nobody will read: the buffer is shrunk once they are cleared, since what it grew by
    /// for them is not needed again soon.
    pub fn shrink_when_cleared(&mut self) {
        self.shrinks = true;
    }

    /// Bytes of memory, without the values between the replies.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.segments.capacity() * size_of::<(Token, usize, usize)>()
    }

    /// Bytes that can be written before the buffer has to grow.
    pub fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Bytes of the segment that is being written.
    pub fn open_bytes(&self) -> usize {
        self.buffer.len() - self.open + self.spliced_bytes(self.open)
    }

    /// The segment `index`: its client and its bytes.
    pub fn segment(&self, index: usize) -> (Token, &[u8]) {
        let (client, start, end) = self.segments[index];
        (client, &self.buffer[start..end])
    }

    /// The first [`MAX_SEND`] bytes of a chain without large values, for one `writev`, and how many there are.
    pub fn slices(&self, head: usize) -> ([IoSlice<'_>; MAX_PIECES], usize) {
        const EMPTY: &[u8] = &[];
        let mut slices = [IoSlice::new(EMPTY); MAX_PIECES];
        let (mut count, mut left) = (0, MAX_SEND);
        for (slice, segment) in slices.iter_mut().zip(self.chain(head)) {
            let bytes = self.segment(segment).1;
            *slice = IoSlice::new(&bytes[..bytes.len().min(left)]);
            left -= slice.len();
            count += 1;
            if left == 0 {
                break;
            }
        }
        (slices, count)
    }

    /// Moves a chain, but for its first `skip` bytes, to a queue, large values included.
    pub fn queue_chain(&self, head: usize, mut skip: usize, pending: &mut Pending) {
        for segment in self.chain(head) {
            let len = self.segment(segment).1.len();
            if skip < len {
                self.queue_segment(segment, skip, pending);
            }
            skip = skip.saturating_sub(len);
        }
    }

    fn queue_segment(&self, index: usize, skip: usize, pending: &mut Pending) {
        let (_, start, end) = self.segments[index];
        let mut from = start + skip;
        for splice in self.splices_of(index) {
            pending.push_bytes(&self.buffer[from..splice.at]);
            pending.push_block(splice.block.share());
            from = splice.at;
        }
        pending.push_bytes(&self.buffer[from..end]);
    }

    /// Whether it should be sent without waiting for the end of the iteration.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.buffer.len() > SEND_AT + self.shared.min(MAX_SHARED) || self.readers > MAX_READERS
    }

    /// Whether large values belong into a chain.
    pub fn has_splices(&self, head: usize) -> bool {
        !self.splices.is_empty() && self.chain(head).any(|segment| self.splices_of(segment).next().is_some())
    }

    /// The large values of a segment.
    fn splices_of(&self, segment: usize) -> impl Iterator<Item = &Splice> {
        let (_, start, end) = self.segments[segment];
        self.splices_between(start, end)
    }

    fn splices_between(&self, start: usize, end: usize) -> impl Iterator<Item = &Splice> {
        let first = self.splices.partition_point(|splice| splice.at <= start);
        self.splices[first..].iter().take_while(move |splice| splice.at < end)
    }

    /// Bytes of a chain, with the large values in it.
    pub fn chain_bytes(&self, head: usize) -> usize {
        let bytes = |segment| {
            let splices = self.splices_of(segment).map(|splice| splice.block.len());
            self.segment(segment).1.len() + splices.sum::<usize>()
        };
        self.chain(head).map(bytes).sum()
    }

    /// Starts the next iteration.
    pub fn clear(&mut self) {
        self.peak = self.peak.max(self.buffer.len());
        self.segments.clear();
        self.splices.clear();
        if self.has_shares {
            self.clear_shares();
        }
        self.buffer.clear();
        self.open = 0;
        self.turn = Turn::default();
        if std::mem::take(&mut self.shrinks) {
            self.peak = 0;
            self.shrink(KEEP);
        }
    }

    /// Frees unused capacity beyond `keep` bytes. May be called at any time.
    pub fn shrink(&mut self, keep: usize) {
        self.buffer.shrink_to(keep);
        self.segments.shrink_to(keep / size_of::<(Token, usize, usize)>());
    }

    /// Shrinks the buffer to twice its highest length since the last call, about a second ago. Without this, one large
    /// reply would enlarge it for good.
    pub fn rest(&mut self) {
        let used = std::mem::take(&mut self.peak).max(self.buffer.len());
        self.buffer.shrink_to(KEEP.max(2 * used));
    }

    /// [`Output::clear`] while memory is short: also shrinks the buffers to twice what this iteration used, or to
    /// `keep` bytes.
    pub fn clear_and_shrink(&mut self, keep: usize) {
        let used = self.buffer.len();
        let segments = self.segments.len();
        self.clear();
        self.buffer.shrink_to(keep.max(2 * used));
        self.segments.shrink_to((keep / size_of::<(Token, usize, usize)>()).max(2 * segments));
    }

    fn clear_shares(&mut self) {
        const KEEP: usize = 64 * 1024;
        self.shares.clear();
        self.readers = 0;
        self.shared = 0;
        self.heads.clear();
        self.next.clear();
        self.heads.shrink_to(KEEP);
        self.next.shrink_to(KEEP);
        self.last.shrink_to(KEEP);
        self.segments.shrink_to(KEEP);
        self.has_shares = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 7 }
    }

    fn reply(output: &mut Output, slot: u32, bytes: &[u8]) {
        output.open_segment();
        output.buffer.extend_from_slice(bytes);
        output.close_segment(token(slot));
    }

    fn many(slots: &[u32]) -> Rc<Vec<Token>> {
        Rc::new(slots.iter().copied().map(token).collect())
    }

    /// What each client gets, as it is sent or queued.
    fn delivered(output: &mut Output) -> Vec<(u32, String)> {
        let chains = output.arrange();
        let texts = (0..chains).map(|chain| {
            let head = output.head(chain);
            let mut pending = Pending::default();
            output.queue_chain(head, 0, &mut pending);
            assert_eq!(pending.bytes(), output.chain_bytes(head));
            if !output.has_splices(head) {
                let (slices, count) = output.slices(head);
                assert_eq!(slices[..count].iter().map(|slice| slice.len()).sum::<usize>(), pending.bytes());
            }
            (output.segment(head).0.slot, String::from_utf8(pending.content()).unwrap())
        });
        let texts = texts.collect();
        output.clear();
        texts
    }

    fn texts(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
        expected.iter().map(|(slot, text)| (*slot, (*text).to_owned())).collect()
    }

    #[test]
    fn without_messages_each_segment_is_sent_by_itself() {
        let mut output = Output::default();
        reply(&mut output, 1, b"a");
        reply(&mut output, 2, b"b");
        reply(&mut output, 2, b"c");
        reply(&mut output, 1, b"d");
        assert_eq!(delivered(&mut output), texts(&[(1, "a"), (2, "bc"), (1, "d")]));
    }

    #[test]
    fn what_a_client_gets_between_messages_for_many_is_one_chain_in_its_order() {
        let mut output = Output::default();
        let (all, some) = (many(&[1, 2, 3]), many(&[3, 5]));
        reply(&mut output, 1, b"a");
        output.share(b"[m]", None, Readers::Many(all.clone()));
        output.share(b"[n]", None, Readers::Many(all.clone()));
        reply(&mut output, 1, b"b");
        output.share(b"[o]", None, Readers::Many(some));
        output.share(b"[p]", None, Readers::One(token(2)));
        reply(&mut output, 4, b"c");
        let expected = [(1, "a[m][n]b"), (2, "[m][n][p]"), (3, "[m][n][o]"), (5, "[o]"), (4, "c")];
        assert_eq!(delivered(&mut output), texts(&expected));
        // The next iteration begins with nothing.
        reply(&mut output, 3, b"x");
        assert_eq!(delivered(&mut output), texts(&[(3, "x")]));
    }

    #[test]
    fn messages_that_follow_each_other_to_the_same_list_are_one_share() {
        let mut output = Output::default();
        let all = many(&[1, 2]);
        for _ in 0..100 {
            output.share(b"m", None, Readers::Many(all.clone()));
        }
        assert_eq!((output.shares.len(), output.readers), (1, 2));
        let text = "m".repeat(100);
        assert_eq!(delivered(&mut output), texts(&[(1, &text), (2, &text)]));
    }

    #[test]
    fn a_large_payload_stands_in_the_chain_of_each_reader_and_is_not_copied() {
        let mut output = Output::default();
        let block = Block::from(&b"payload"[..]);
        output.share(b"<>", Some((1, &block)), Readers::Many(many(&[1, 2])));
        reply(&mut output, 2, b"r");
        assert_eq!(output.buffer, b"<>r");
        assert_eq!(delivered(&mut output), texts(&[(1, "<payload>"), (2, "<payload>r")]));
    }

    #[test]
    fn the_turn_of_a_client_ends_when_it_has_caused_many_deliveries() {
        let mut output = Output::default();
        output.begin_turn(10);
        let slots: Vec<u32> = (0..1000).collect();
        for _ in 0..MAX_READERS / 1000 {
            output.share(b"m", None, Readers::Many(many(&slots)));
            assert!(!output.turn_is_over() && !output.is_large());
        }
        output.share(b"m", None, Readers::Many(many(&slots)));
        assert!(output.turn_is_over() && output.is_large());
        output.clear();
        output.begin_turn(10);
        let long = vec![b'm'; MAX_SHARED];
        output.share(&long, None, Readers::One(token(1)));
        assert!(!output.turn_is_over() && !output.is_large());
        output.share(&vec![b'm'; SEND_AT + 1], None, Readers::One(token(1)));
        assert!(output.turn_is_over() && output.is_large());
    }

    #[test]
    fn a_token_that_reuses_a_slot_has_a_chain_of_its_own() {
        let mut output = Output::default();
        let later = Token { slot: 1, generation: 8 };
        output.share(b"a", None, Readers::One(token(1)));
        output.share(b"b", None, Readers::One(later));
        let chains = output.arrange();
        let owners: Vec<Token> = (0..chains).map(|chain| output.segment(output.head(chain)).0).collect();
        assert_eq!(owners, [token(1), later]);
    }
}
