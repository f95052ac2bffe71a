//! Output: one buffer for all replies of an iteration, and a queue for each client whose socket does not accept
//! everything.
//!
//! ```text
//!   buffer   | +OK\r\n+OK\r\n | $3\r\nbar\r\n | $10485760\r\n ^ \r\n | …
//!   segments   client 4         client 9        client 2    |
//!   splices                                                 +-- a block of 10 MB, sent from where it lies
//! ```
//!
//! Code that writes a reply names the client ([`Output::reply_to`]). That client is the *writer*: appended bytes belong
//! to it until a reply to another client is written, a message is shared or the iteration is sent. Each of these closes
//! the writer's segment first, so bytes always belong to the client that they were written for, whatever a command
//! executes in between. If the client is already the writer, this costs one comparison. A [`Mark`] is the start of a
//! reply: the replies to its client since then can be taken back, and nothing else.
//!
//! The output is sent at the end of the iteration (or earlier, when there is much), after writes that must be durable
//! are. Each segment is sent from the shared buffer with one call. Bytes for several clients (messages, `MONITOR`) are
//! stored once, with the list of these clients; before sending, everything for one client is linked into a chain, which
//! is sent with one `writev`. Only bytes that a socket refuses move to that client's own queue. One call sends at most
//! [`MAX_SEND`](super::sheet::MAX_SEND) bytes, so a client that fetches large values takes turns with the others.

use std::ops::Range;
use std::rc::Rc;

use super::sheet::{NONE, Segment, Sheet};
use crate::command::Splice;
use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;
use crate::types::block::Block;

/// When replies reach this many bytes, the iteration sends them before it serves further clients: the buffer stays in
/// the cache, and a few clients with large replies do not make it grow until the kernel has to supply fresh pages each
/// time.
const SEND_AT: usize = 256 * 1024;

/// Messages to other clients do not end a turn, so that the messages for each reader are sent with one call. They end
/// the turn and are sent once they reach this many bytes, or [`MAX_READERS`] deliveries.
const MAX_SHARED: usize = 8 * 1024 * 1024;
const MAX_READERS: usize = 128 * 1024;

/// The buffer is not shrunk below this.
const KEEP: usize = 16 * 1024;

/// The recipients of a message.
pub enum Readers {
    /// One client.
    One(Token),
    /// All clients of a list.
    Many(Rc<Vec<Token>>),
}

impl Readers {
    fn tokens(&self) -> &[Token] {
        match self {
            Readers::One(token) => std::slice::from_ref(token),
            Readers::Many(tokens) => tokens,
        }
    }

    /// Whether `other` is the same client or the same list.
    fn are(&self, other: &Readers) -> bool {
        match (self, other) {
            (Readers::One(token), Readers::One(other)) => token == other,
            (Readers::Many(tokens), Readers::Many(others)) => Rc::ptr_eq(tokens, others),
            _ => false,
        }
    }
}

/// A part of the buffer that is a message.
struct Share {
    start: usize,
    end: usize,
    readers: Readers,
}

/// The start of a reply. Until the iteration is sent, the replies to its client since then can be taken back.
#[derive(Clone, Copy)]
pub struct Mark {
    client: Token,
    /// The position counted over all iterations, so that a mark from an earlier iteration is recognized.
    at: usize,
}

/// The start of a reply that is continued later.
#[derive(Default)]
pub struct Held {
    bytes: Vec<u8>,
    splices: Vec<Splice>,
}

impl Held {
    /// The line of an error reply, without its end.
    pub fn error(&self) -> Option<&[u8]> {
        let end = self.bytes.windows(2).position(|pair| pair == b"\r\n")?;
        self.bytes.starts_with(b"-").then(|| &self.bytes[..end])
    }
}

/// The replies of this iteration.
#[derive(Default)]
pub struct Output {
    sheet: Sheet,
    /// The client that was written to last, and where its open segment begins, which is not in `segments` yet. After a
    /// message, that segment is empty.
    writer: Token,
    open: usize,
    /// Messages, in order.
    shares: Vec<Share>,
    /// The total number of readers of all messages.
    readers: usize,
    /// Bytes of the buffer that are messages.
    shared: usize,
    /// The parts of the buffer that do not depend on the data, in order: see [`Output::note_independent`].
    independent: Vec<Range<usize>>,
    /// The start of the reply that will be noted as independent when it is complete.
    begun: Option<Mark>,
    /// While segments are linked: the last segment so far of each slot.
    last: Vec<u32>,
    /// Total length of the buffers of earlier iterations.
    sent: usize,
    /// The highest length of the buffer since the last call of [`Output::rest`].
    peak: usize,
    /// See [`Output::shrink_when_cleared`].
    shrinks: bool,
    turn: Turn,
}

/// How much the current client may write in its turn.
#[derive(Default)]
struct Turn {
    /// The buffer length at which the turn is over.
    end: usize,
    /// The number of large values when the turn began.
    splices: usize,
}

impl Output {
    /// What was written, to be sent after [`Output::arrange`].
    #[inline]
    pub fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// Returns the writer of replies to `client`, and the list of the large values in them.
    pub fn writer(&mut self, client: Token, protocol: Protocol) -> (Reply<'_>, &mut Vec<Splice>) {
        self.change_writer(client);
        (Reply { buf: &mut self.sheet.buffer, protocol }, &mut self.sheet.splices)
    }

    /// [`Output::writer`] if `client` is the writer already, as is usual during its turn: a comparison, and no call.
    #[inline(always)]
    pub fn same_writer(
        &mut self,
        client: Token,
        protocol: Protocol,
    ) -> Option<(Reply<'_>, &mut Vec<Splice>)> {
        // Compared as 64-bit integers rather than field by field.
        (self.writer.to_u64() == client.to_u64())
            .then_some((Reply { buf: &mut self.sheet.buffer, protocol }, &mut self.sheet.splices))
    }

    /// [`Output::writer`] for a reply without large values.
    #[inline]
    pub fn reply_to(&mut self, client: Token, protocol: Protocol) -> Reply<'_> {
        self.writer(client, protocol).0
    }

    fn change_writer(&mut self, client: Token) {
        if self.writer != client {
            self.close_segment();
            self.writer = client;
        }
    }

    /// Turns the bytes written since the last segment or message into a segment of the writer.
    fn close_segment(&mut self) {
        let (start, end) = (self.open, self.sheet.buffer.len());
        self.open = end;
        if end == start {
            return;
        }
        match self.sheet.segments.last_mut() {
            Some((last, _, last_end)) if *last == self.writer && *last_end == start => *last_end = end,
            _ => self.sheet.segments.push((self.writer, start, end)),
        }
    }

    /// Returns the segment being written, unless it is empty.
    fn open_segment(&self) -> Option<Segment> {
        (self.open < self.sheet.buffer.len()).then_some((self.writer, self.open, self.sheet.buffer.len()))
    }

    /// Marks the start of a reply to `client`.
    #[inline(always)]
    pub fn mark(&self, client: Token) -> Mark {
        Mark { client, at: self.sent.wrapping_add(self.sheet.buffer.len()) }
    }

    /// Returns the position of `mark` in the buffer.
    fn position(&self, mark: Mark) -> usize {
        let at = mark.at.wrapping_sub(self.sent);
        assert!(at <= self.sheet.buffer.len(), "the reply that began here was sent or taken back");
        at
    }

    /// Returns the parts of the buffer that are replies to the mark's client since `mark`.
    fn parts_since(&self, mark: Mark) -> impl Iterator<Item = Range<usize>> {
        let at = self.position(mark);
        let first = self.sheet.segments.partition_point(|(.., end)| *end <= at);
        let parts = self.sheet.segments[first..].iter().copied().chain(self.open_segment());
        parts
            .filter(move |(client, _, end)| *client == mark.client && *end > at)
            .map(move |(_, start, end)| start.max(at)..end)
    }

    /// Whether nothing was written to the mark's client since `mark`.
    pub fn is_empty_since(&self, mark: Mark) -> bool {
        self.parts_since(mark).next().is_none()
    }

    /// Returns the bytes of the large values in the replies to the mark's client since `mark`.
    pub fn spliced_since(&self, mark: Mark) -> usize {
        if self.sheet.splices.is_empty() {
            return 0;
        }
        self.parts_since(mark).map(|part| self.sheet.spliced_bytes(part.start, part.end)).sum()
    }

    /// Takes back the replies to the mark's client since `mark`. Messages, and replies to other clients, stay.
    pub fn take_back(&mut self, mark: Mark) {
        let at = self.position(mark);
        if self.writer != mark.client || self.open > at {
            return self.take_back_from_segments(mark.client, at);
        }
        self.sheet.buffer.truncate(at);
        while let Some(last) = self.independent.pop_if(|part| part.end > at) {
            if last.start < at {
                self.independent.push(last.start..at);
            }
        }
        while self.sheet.splices.last().is_some_and(|splice| splice.at > at) {
            self.sheet.splices.pop();
        }
    }

    /// [`Output::take_back`] if something else was written since: the bytes stay in the buffer but belong to no client.
    #[cold]
    fn take_back_from_segments(&mut self, client: Token, at: usize) {
        self.close_segment();
        let first = self.sheet.segments.partition_point(|(.., end)| *end <= at);
        for (owner, start, end) in self.sheet.segments.split_off(first) {
            let end = if owner == client { at } else { end };
            if start < end {
                self.sheet.segments.push((owner, start, end));
            }
        }
    }

    /// The reply to the mark's client that begins at `mark` will not depend on the data, if that is asked while it is
    /// written.
    pub fn begin_independent(&mut self, mark: Mark) {
        self.begun = Some(mark);
    }

    /// Ends what [`Output::begin_independent`] has begun.
    pub fn end_independent(&mut self) {
        self.begun = None;
    }

    /// Notes that the replies to the mark's client since `mark` do not depend on the data.
    pub fn note_independent(&mut self, mark: Mark) {
        // There is rarely more than one part.
        for part in self.parts_since(mark).collect::<Vec<_>>() {
            self.note_independent_part(part);
        }
    }

    /// Notes that a part of the buffer, which ends after all others noted before, does not depend on the data.
    pub fn note_independent_part(&mut self, part: Range<usize>) {
        match self.independent.last_mut() {
            Some(last) if last.end >= part.start => last.end = last.end.max(part.end),
            _ => self.independent.push(part),
        }
    }

    /// Notes that nothing that was written so far depends on the data.
    pub fn note_all_independent(&mut self) {
        self.independent.clear();
        self.independent.push(0..self.sheet.buffer.len());
    }

    /// Whether a chain has a reply or a message that may depend on the data.
    pub fn depends_on_data(&self, head: usize) -> bool {
        self.sheet.chain(head).any(|segment| self.is_dependent(&self.sheet.segments[segment]))
    }

    fn is_dependent(&self, &(client, start, end): &Segment) -> bool {
        let begun = self.begun.filter(|mark| mark.client == client).map(|mark| self.position(mark));
        let end = begun.map_or(end, |begun| end.min(begun));
        let index = self.independent.partition_point(|part| part.start <= start);
        let noted = index.checked_sub(1).map_or(0, |before| self.independent[before].end);
        start < end && noted < end
    }

    /// The clients with replies or messages that have not been sent and may depend on the data.
    pub fn dependent_clients(&self) -> Vec<Token> {
        let replies = self.sheet.segments.iter().copied().chain(self.open_segment());
        let messages = self.shares.iter().flat_map(|Share { start, end, readers }| {
            readers.tokens().iter().map(|client| (*client, *start, *end))
        });
        replies.chain(messages).filter(|part| self.is_dependent(part)).map(|(client, ..)| client).collect()
    }

    /// Removes the replies to the mark's client since `mark` from the output and returns them, to be sent later.
    pub fn hold(&mut self, mark: Mark) -> Held {
        let mut held = Held::default();
        for Range { start, end } in self.parts_since(mark) {
            let moved = held.bytes.len();
            let splices = self.sheet.splices_between(start, end);
            held.splices.extend(
                splices.map(|Splice { at, block }| Splice { at: at - start + moved, block: block.share() }),
            );
            held.bytes.extend_from_slice(&self.sheet.buffer[start..end]);
        }
        self.take_back(mark);
        held
    }

    /// Appends the held bytes to the replies to `client`.
    pub fn release(&mut self, client: Token, held: Held) {
        let start = self.sheet.buffer.len();
        let (reply, splices) = self.writer(client, Protocol::default());
        reply.buf.extend_from_slice(&held.bytes);
        splices.extend(held.splices.into_iter().map(|splice| Splice { at: splice.at + start, ..splice }));
    }

    /// Bytes written in this iteration, without large values.
    pub fn written(&self) -> usize {
        self.sheet.buffer.len()
    }

    /// Begins the turn of `client`, which ends when its commands have written `most` bytes.
    pub fn begin_turn(&mut self, client: Token, most: usize) {
        self.change_writer(client);
        self.turn = Turn { end: self.sheet.buffer.len() + most, splices: self.sheet.splices.len() };
    }

    /// Whether the turn has reached its limit. Replies to clients that its commands unblocked count as well.
    #[inline(always)]
    pub fn turn_is_over(&self) -> bool {
        self.sheet.buffer.len() >= self.turn.end
            || (self.sheet.splices.len() > self.turn.splices && self.turn_is_over_with_splices())
    }

    #[cold]
    fn turn_is_over_with_splices(&self) -> bool {
        let spliced: usize =
            self.sheet.splices[self.turn.splices..].iter().map(|splice| splice.block.len()).sum();
        self.sheet.buffer.len() + spliced >= self.turn.end
    }

    /// Appends a message for all `readers`. A large payload is inserted before byte `payload.0` of the message. Returns
    /// the part of the buffer that it occupies.
    pub fn share(
        &mut self,
        bytes: &[u8],
        payload: Option<(usize, &Block)>,
        readers: Readers,
    ) -> Range<usize> {
        self.close_segment();
        let start = self.sheet.buffer.len();
        self.sheet.buffer.extend_from_slice(bytes);
        let end = self.sheet.buffer.len();
        self.open = end;
        if let Some((at, block)) = payload {
            self.sheet.splices.push(Splice { at: start + at, block: block.share() });
        }
        self.sheet.has_shares = true;
        self.shared += bytes.len();
        self.turn.end += bytes.len();
        if let Some(last) = self.shares.last_mut()
            && last.end == start
            && last.readers.are(&readers)
        {
            last.end = end;
        } else {
            self.readers += readers.tokens().len();
            self.shares.push(Share { start, end, readers });
        }
        if self.shared > MAX_SHARED || self.readers > MAX_READERS {
            self.turn.end = 0;
        }
        start..end
    }

    /// Whether there are bytes for `client`. Searches from the end: O(1) for the latest writer.
    pub fn has_any(&self, client: Token) -> bool {
        self.open_segment().is_some_and(|(owner, ..)| owner == client)
            || self.has_segment(client, 0)
            || self.shares.iter().any(|share| share.readers.tokens().contains(&client))
    }

    fn has_segment(&self, client: Token, first: usize) -> bool {
        self.sheet.segments[first..].iter().rev().any(|(owner, ..)| *owner == client)
    }

    /// Completes the segments before they are sent. Returns the number of chains: a chain is everything for one client,
    /// except that without messages each segment is its own chain. O(segments and readers).
    pub fn arrange(&mut self) -> usize {
        self.close_segment();
        if !self.sheet.has_shares {
            return self.sheet.segments.len();
        }
        self.spread();
        self.link();
        self.sheet.heads.len()
    }

    /// Gives each reader of a message its own segment, in the place of the message.
    fn spread(&mut self) {
        let mut spread = Vec::with_capacity(self.sheet.segments.len() + self.readers);
        let mut replies = self.sheet.segments.drain(..).peekable();
        for Share { start, end, readers } in self.shares.drain(..) {
            spread.extend(std::iter::from_fn(|| replies.next_if(|(_, before, _)| *before < start)));
            spread.extend(readers.tokens().iter().map(|token| (*token, start, end)));
        }
        spread.extend(replies);
        self.sheet.segments = spread;
    }

    /// Links the segments of each client in order. Adjacent ones are merged.
    fn link(&mut self) {
        let slots = self.sheet.segments.iter().map(|(token, ..)| token.slot as usize + 1).max().unwrap_or(0);
        self.last.clear();
        self.last.resize(slots, NONE);
        self.sheet.next.resize(self.sheet.segments.len(), NONE);
        for index in 0..self.sheet.segments.len() {
            let (token, start, end) = self.sheet.segments[index];
            assert!(start <= end && end <= self.sheet.buffer.len(), "a segment lies in the buffer");
            let before = self.last[token.slot as usize];
            match self.sheet.segments.get_mut(before as usize) {
                Some((owner, _, its_end)) if *owner == token && *its_end == start => {
                    *its_end = end;
                    continue;
                }
                Some((owner, ..)) if *owner == token => self.sheet.next[before as usize] = index as u32,
                _ => self.sheet.heads.push(index as u32),
            }
            self.last[token.slot as usize] = index as u32;
        }
    }

    /// Whether `token` has segments after the chain of `head` that do not belong to it.
    pub fn has_more(&self, token: Token, head: usize) -> bool {
        !self.sheet.has_shares && self.has_segment(token, head + 1)
    }

    /// Returns the bytes for each client that have not been offered to its socket yet. O(segments and readers).
    pub fn unsent(&self) -> impl Iterator<Item = (Token, usize)> {
        let bytes = |start, end| end - start + self.sheet.spliced_bytes(start, end);
        let replies = self.sheet.segments.iter().copied().chain(self.open_segment());
        let own = replies.map(move |(client, start, end)| (client, bytes(start, end)));
        let shared = self.shares.iter().flat_map(move |Share { start, end, readers }| {
            let bytes = bytes(*start, *end);
            readers.tokens().iter().map(move |client| (*client, bytes))
        });
        own.chain(shared)
    }

    /// Shrinks the buffer when this iteration is cleared: it grew for replies that will not be read, and will not need
    /// that room again soon.
    pub fn shrink_when_cleared(&mut self) {
        self.shrinks = true;
    }

    /// Returns the bytes of memory used, without the large values between the replies.
    pub fn memory_bytes(&self) -> usize {
        self.sheet.buffer.capacity()
            + self.sheet.segments.capacity() * size_of::<Segment>()
            + self.shares.capacity() * size_of::<Share>()
    }

    /// Bytes that can be written before the buffer has to grow.
    pub fn room(&self) -> usize {
        self.sheet.buffer.capacity() - self.sheet.buffer.len()
    }

    /// Whether the output should be sent before the end of the iteration.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.sheet.buffer.len() > SEND_AT + self.shared.min(MAX_SHARED) || self.readers > MAX_READERS
    }

    /// Starts the next iteration, after everything arranged has been sent or queued.
    pub fn clear(&mut self) {
        self.end_iteration();
        self.sheet.clear();
        if std::mem::take(&mut self.shrinks) {
            self.peak = 0;
            self.shrink(KEEP);
        }
    }

    /// [`Output::clear`] if others still send what was arranged: returns it, and continues with `spare`.
    pub fn hand_out(&mut self, spare: Sheet) -> Sheet {
        self.end_iteration();
        std::mem::replace(&mut self.sheet, spare)
    }

    fn end_iteration(&mut self) {
        let len = self.sheet.buffer.len();
        assert_eq!(self.open, len, "what was written since would never be sent");
        self.peak = self.peak.max(len);
        self.sent = self.sent.wrapping_add(len);
        self.independent.clear();
        if self.sheet.has_shares {
            self.clear_shares();
        }
        self.open = 0;
        self.turn = Turn::default();
    }

    /// Frees unused capacity beyond `keep` bytes. May be called at any time.
    pub fn shrink(&mut self, keep: usize) {
        self.sheet.buffer.shrink_to(keep);
        self.sheet.segments.shrink_to(keep / size_of::<Segment>());
        self.shares.shrink_to(keep / size_of::<Share>());
        for places in [&mut self.sheet.heads, &mut self.sheet.next, &mut self.last] {
            places.shrink_to(keep / size_of::<u32>());
        }
    }

    /// Shrinks the buffer to twice its highest length since the last call, about a second ago. Otherwise one large
    /// reply would enlarge it for good.
    pub fn rest(&mut self) {
        let used = std::mem::take(&mut self.peak).max(self.sheet.buffer.len());
        self.sheet.buffer.shrink_to(KEEP.max(2 * used));
    }

    /// [`Output::clear`] while memory is short: also shrinks the buffers to twice what this iteration used, or to
    /// `keep` bytes.
    pub fn clear_and_shrink(&mut self, keep: usize) {
        let used = self.sheet.buffer.len();
        let segments = self.sheet.segments.len();
        self.clear();
        self.sheet.buffer.shrink_to(keep.max(2 * used));
        self.sheet.segments.shrink_to((keep / size_of::<Segment>()).max(2 * segments));
    }

    fn clear_shares(&mut self) {
        const KEEP: usize = 64 * 1024;
        self.shares.clear();
        self.shares.shrink_to(KEEP);
        self.readers = 0;
        self.shared = 0;
        self.last.shrink_to(KEEP);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::pending::Pending;
    use super::*;
    use crate::types::random::Random;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 7 }
    }

    fn reply(output: &mut Output, slot: u32, bytes: &[u8]) {
        output.reply_to(token(slot), Protocol::Resp2).buf.extend_from_slice(bytes);
    }

    fn many(slots: &[u32]) -> Rc<Vec<Token>> {
        Rc::new(slots.iter().copied().map(token).collect())
    }

    /// Replies with a large value between two brackets.
    fn reply_large(output: &mut Output, client: Token, value: &[u8]) {
        let (reply, splices) = output.writer(client, Protocol::Resp2);
        reply.buf.push(b'<');
        splices.push(Splice { at: reply.buf.len(), block: Block::from(value) });
        reply.buf.push(b'>');
    }

    /// Returns the bytes each client receives, as they are sent or queued.
    fn delivered(output: &mut Output) -> Vec<(u32, String)> {
        delivered_to(output).into_iter().map(|(client, text)| (client.slot, text)).collect()
    }

    fn delivered_to(output: &mut Output) -> Vec<(Token, String)> {
        let chains = output.arrange();
        let texts = (0..chains).map(|chain| {
            let head = output.sheet.head(chain);
            let mut pending = Pending::default();
            output.sheet.queue_chain(head, 0, &mut pending);
            assert_eq!(pending.bytes(), output.sheet.chain_bytes(head));
            if !output.sheet.has_splices(head) {
                let (slices, count) = output.sheet.slices(head);
                assert_eq!(slices[..count].iter().map(|slice| slice.len()).sum::<usize>(), pending.bytes());
            }
            (output.sheet.segment(head).0, String::from_utf8(pending.content()).unwrap())
        });
        let texts = texts.collect();
        output.clear();
        texts
    }

    fn texts(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
        expected.iter().map(|(slot, text)| (*slot, (*text).to_owned())).collect()
    }

    impl Output {
        /// Returns the replies to the mark's client since `mark`, without large values.
        fn bytes_since(&self, mark: Mark) -> impl Iterator<Item = &[u8]> {
            self.parts_since(mark).map(|part| &self.sheet.buffer[part])
        }
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
        // The next iteration begins empty.
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
        assert_eq!(output.sheet.buffer, b"<>r");
        assert_eq!(delivered(&mut output), texts(&[(1, "<payload>"), (2, "<payload>r")]));
    }

    #[test]
    fn the_turn_of_a_client_ends_when_it_has_caused_many_deliveries() {
        let mut output = Output::default();
        output.begin_turn(token(1), 10);
        let slots: Vec<u32> = (0..1000).collect();
        for _ in 0..MAX_READERS / 1000 {
            output.share(b"m", None, Readers::Many(many(&slots)));
            assert!(!output.turn_is_over() && !output.is_large());
        }
        output.share(b"m", None, Readers::Many(many(&slots)));
        assert!(output.turn_is_over() && output.is_large());
        output.clear();
        output.begin_turn(token(1), 10);
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
        let owners: Vec<Token> =
            (0..chains).map(|chain| output.sheet.segment(output.sheet.head(chain)).0).collect();
        assert_eq!(owners, [token(1), later]);
    }

    #[test]
    fn taking_back_removes_the_replies_to_the_client_since_the_mark() {
        let mut output = Output::default();
        let both = many(&[1, 2]);
        reply(&mut output, 1, b"a");
        let start = output.mark(token(1));
        reply(&mut output, 1, b"b");
        reply_large(&mut output, token(1), b"large");
        assert_eq!((output.spliced_since(start), output.bytes_since(start).count()), (5, 1));
        output.take_back(start);
        assert_eq!((output.written(), output.sheet.splices.len()), (1, 0));
        // It began in the same segment as the bytes that stay, and other clients were written to in between.
        reply(&mut output, 1, b"c");
        output.share(b"[m]", None, Readers::Many(both.clone()));
        output.share(b"[n]", None, Readers::One(token(1)));
        reply_large(&mut output, token(2), b"LARGE");
        reply_large(&mut output, token(1), b"large");
        assert_eq!((output.spliced_since(start), output.bytes_since(start).count()), (5, 2));
        output.take_back(start);
        assert_eq!(output.bytes_since(start).count(), 0);
        reply(&mut output, 1, b"d");
        assert_eq!(delivered(&mut output), texts(&[(1, "a[m][n]d"), (2, "[m]<LARGE>")]));
        // Nothing is left.
        let start = output.mark(token(2));
        reply(&mut output, 2, b"e");
        reply(&mut output, 1, b"f");
        output.take_back(start);
        assert!(output.has_any(token(1)) && !output.has_any(token(2)));
        assert_eq!(delivered(&mut output), texts(&[(1, "f")]));
    }

    #[test]
    fn held_replies_are_released_behind_the_later_replies_to_the_client() {
        let mut output = Output::default();
        reply(&mut output, 1, b"a");
        let start = output.mark(token(1));
        reply_large(&mut output, token(1), b"one");
        output.share(b"[m]", None, Readers::One(token(1)));
        reply_large(&mut output, token(1), b"two");
        let held = output.hold(start);
        reply(&mut output, 1, b"b");
        assert_eq!(delivered(&mut output), texts(&[(1, "a[m]b")]));
        reply(&mut output, 2, b"c");
        output.release(token(1), held);
        assert_eq!(delivered(&mut output), texts(&[(2, "c"), (1, "<one><two>")]));
    }

    #[test]
    fn a_chain_depends_on_the_data_unless_all_its_replies_are_noted_as_independent() {
        let mut output = Output::default();
        let note = |output: &mut Output, slot, bytes: &[u8]| {
            let start = output.mark(token(slot));
            reply(output, slot, bytes);
            output.note_independent(start);
        };
        note(&mut output, 1, b"a");
        note(&mut output, 1, b"b");
        reply(&mut output, 2, b"c");
        note(&mut output, 2, b"d");
        note(&mut output, 3, b"e");
        let dependent = |output: &mut Output| {
            let clients = output.dependent_clients();
            let chains = output.arrange();
            let heads: Vec<usize> = (0..chains).map(|chain| output.sheet.head(chain)).collect();
            let heads = heads.into_iter().filter(|head| output.depends_on_data(*head));
            let mut owners: Vec<u32> = heads.map(|head| output.sheet.segment(head).0.slot).collect();
            owners.sort_unstable();
            output.clear();
            (clients.into_iter().map(|client| client.slot).collect::<Vec<_>>(), owners)
        };
        assert_eq!(dependent(&mut output), (vec![2], vec![2]));
        // A message does for its readers, unless it is noted, and nothing is left from before.
        note(&mut output, 1, b"a");
        output.share(b"[m]", None, Readers::Many(many(&[1, 4])));
        note(&mut output, 5, b"b");
        reply(&mut output, 6, b"c");
        let part = output.share(b"[n]", None, Readers::Many(many(&[5, 7])));
        output.note_independent_part(part);
        assert_eq!(dependent(&mut output), (vec![6, 1, 4], vec![1, 4, 6]));
        // Nothing before a promotion does; what is taken back leaves no trace.
        reply(&mut output, 1, b"a");
        output.note_all_independent();
        let start = output.mark(token(2));
        note(&mut output, 2, b"b");
        output.take_back(start);
        reply(&mut output, 3, b"c");
        assert_eq!(dependent(&mut output), (vec![3], vec![3]));
        // A reply may be known to be independent while it is written.
        reply(&mut output, 1, b"a");
        output.begin_independent(output.mark(token(2)));
        reply(&mut output, 2, b"b");
        assert_eq!(output.dependent_clients(), [token(1)]);
        output.end_independent();
        assert_eq!(dependent(&mut output), (vec![1, 2], vec![1, 2]));
    }

    #[test]
    #[should_panic = "was sent or taken back"]
    fn a_mark_is_invalid_once_the_reply_has_been_sent() {
        let mut output = Output::default();
        let start = output.mark(token(1));
        reply(&mut output, 1, b"a");
        delivered(&mut output);
        reply(&mut output, 1, b"b");
        output.take_back(start);
    }

    /// A model of [`Output`]: a list of everything that was written.
    #[derive(Default)]
    struct Model {
        written: Vec<Written>,
        /// The replies that have begun, and how many pieces were written before each.
        marks: Vec<(Mark, usize)>,
        held: Vec<(Token, Held, String)>,
        count: usize,
    }

    struct Written {
        readers: Vec<Token>,
        is_message: bool,
        text: String,
        /// Bytes of the large value in it.
        large: usize,
    }

    impl Model {
        /// Returns a text that occurs only once.
        fn text(&mut self) -> String {
            self.count += 1;
            format!("{}.", self.count)
        }

        fn reply(&mut self, output: &mut Output, client: Token, is_large: bool) {
            let mut text = self.text();
            if is_large {
                reply_large(output, client, text.as_bytes());
                text = format!("<{text}>");
            } else {
                output.reply_to(client, Protocol::Resp3).buf.extend_from_slice(text.as_bytes());
            }
            let large = if is_large { text.len() - 2 } else { 0 };
            self.written.push(Written { readers: vec![client], is_message: false, text, large });
        }

        fn share(&mut self, output: &mut Output, readers: Readers, is_large: bool) {
            let tokens = readers.tokens().to_vec();
            let mut text = self.text();
            if is_large {
                output.share(b"[]", Some((1, &Block::from(text.as_bytes()))), readers);
                text = format!("[{text}]");
            } else {
                output.share(text.as_bytes(), None, readers);
            }
            self.written.push(Written { readers: tokens, is_message: true, text, large: 0 });
        }

        /// Takes back a reply that has begun, with all that began later, or holds it.
        fn take_back(&mut self, output: &mut Output, which: usize, holds: bool) {
            let (mark, from) = self.marks[which];
            self.marks.truncate(which);
            let is_taken = |one: &Written| !one.is_message && one.readers[0] == mark.client;
            let taken: Vec<Written> = self.written.extract_if(from.., |one| is_taken(one)).collect();
            assert_eq!(output.spliced_since(mark), taken.iter().map(|one| one.large).sum::<usize>());
            let bytes: usize = output.bytes_since(mark).map(<[u8]>::len).sum();
            assert_eq!(bytes, taken.iter().map(|one| one.text.len() - one.large).sum::<usize>());
            if holds {
                let text = taken.iter().map(|one| one.text.as_str()).collect();
                self.held.push((mark.client, output.hold(mark), text));
            } else {
                output.take_back(mark);
            }
        }

        fn release(&mut self, output: &mut Output) {
            if let Some((client, held, text)) = self.held.pop() {
                let large = held.splices.iter().map(|splice| splice.block.len()).sum();
                output.release(client, held);
                self.written.push(Written { readers: vec![client], is_message: false, text, large });
            }
        }

        fn expected(&self) -> HashMap<Token, String> {
            let mut texts: HashMap<Token, String> = HashMap::new();
            for Written { readers, text, .. } in &self.written {
                for reader in readers {
                    texts.entry(*reader).or_default().push_str(text);
                }
            }
            texts.retain(|_, text| !text.is_empty());
            texts
        }

        /// Delivers everything, and compares the bytes that each client receives.
        fn deliver(&mut self, output: &mut Output, seed: u64) {
            let expected = self.expected();
            let mut unsent: HashMap<Token, usize> = HashMap::new();
            for (client, bytes) in output.unsent() {
                assert!(output.has_any(client), "seed {seed}");
                *unsent.entry(client).or_default() += bytes;
            }
            let lengths: HashMap<Token, usize> =
                expected.iter().map(|(client, text)| (*client, text.len())).collect();
            assert_eq!(unsent, lengths, "seed {seed}");
            let mut got: HashMap<Token, String> = HashMap::new();
            for (client, text) in delivered_to(output) {
                got.entry(client).or_default().push_str(&text);
            }
            assert_eq!(got, expected, "seed {seed}");
            self.written.clear();
            self.marks.clear();
        }
    }

    #[test]
    fn each_client_gets_what_was_written_for_it_in_order() {
        // Two of them share a slot, in different generations.
        let clients = [token(0), token(1), Token { slot: 1, generation: 8 }, token(2), token(3)];
        let lists = [many(&[0, 1]), many(&[2, 1, 3]), many(&[])];
        for seed in 0..300 {
            let mut random = Random::new(seed * 2 + 1);
            let (mut output, mut model) = (Output::default(), Model::default());
            for _ in 0..200 {
                let client = clients[random.below(clients.len())];
                let is_large = random.below(4) == 0;
                match random.below(if seed % 3 == 0 { 17 } else { 20 }) {
                    0..8 => model.reply(&mut output, client, is_large),
                    8..11 => model.marks.push((output.mark(client), model.written.len())),
                    11..15 if !model.marks.is_empty() => {
                        let which = random.below(model.marks.len());
                        model.take_back(&mut output, which, random.below(4) == 0);
                    }
                    15 => model.release(&mut output),
                    16 if random.below(4) == 0 => model.deliver(&mut output, seed),
                    17 => model.share(&mut output, Readers::One(client), is_large),
                    18..20 => {
                        let list = lists[random.below(lists.len())].clone();
                        model.share(&mut output, Readers::Many(list), is_large);
                    }
                    _ => {}
                }
            }
            model.deliver(&mut output, seed);
        }
    }
}
