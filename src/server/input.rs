//! From the socket to executed requests.
//!
//! A client without half a request reads into the one ring of the loop, whose cache lines stay hot; its requests are
//! executed from slices of that ring. Only what is left of an incomplete request moves to a [`Query`] of its own, and
//! the client keeps that no longer than it holds something.
//!
//! Fairness: one receive of at most [`READ`] bytes a client an iteration (more of a large argument), and a turn that
//! ends with [`MAX_REQUESTS`] requests or with the request that makes it [`super::net::MAX_OUTPUT`] bytes of replies. What
//! is over waits in its query for the next one.
//!
//! A request may also have to wait for something else (`CLIENT PAUSE`): the parsed rest of its batch is kept as a
//! [`Rest`], whose requests come first when the client goes on; what arrives until then is received and not parsed.

use std::io::ErrorKind;
use std::ops::Range;

use super::net::batch::{BATCH, Batch, Rest};
use super::net::client::{Query, SMALL_RING};
use super::{Io, Server, lookup};
use crate::command::Places;
use crate::command::waiting::Blocked;
use crate::resp::{self, BIG_ARGUMENT, Limits, MAX_WINDOW, Parsed, Partial, Span};
use crate::sys::poller::Token;
use crate::types::block::Block;

/// The most that one receive takes from a socket.
pub const READ: usize = 64 * 1024;

/// The most that one receive takes of a large argument.
const MAX_RECEIVE: usize = 256 * 1024;

/// The most that a receive takes beyond a large argument, and from a client that has just sent one: of the next, it may take
/// the beginning, which is copied.
const READ_BESIDE_LARGE: usize = 16 * 1024;

/// The block of a large argument has room for this many times the bytes that have arrived: a client that only claims a
/// length costs nothing.
const AHEAD: usize = 4;

/// Requests executed for one client before the others have their turn.
const MAX_REQUESTS: usize = 1024;

/// Spare queries kept.
const MAX_SPARE: usize = 64;

/// The same for those that have grown: with one at hand a client that sends large values need not map one for each.
const MAX_SPARE_LARGE: usize = 2;

/// How far a run over a window of bytes came.
struct Progress {
    /// Bytes from the window's start that have been executed, or whose requests wait.
    consumed: usize,
    stopped: Stopped,
}

/// What became of a batch.
enum Ran {
    All,
    /// The client is going to be closed: nothing more is executed.
    Closing,
    /// The client has a [`Rest`] now.
    Waiting,
    /// The client's turn is over; the request with this index comes next.
    TurnOver(usize),
}

#[derive(Clone, Copy)]
enum Stopped {
    /// All that is there has been parsed; what is left is the start of a request.
    Drained,
    /// Whole requests may be left: others have their turn.
    Yielded,
    /// The rest of the window, from `at`, begins an argument of `len` bytes that wants a block of its own.
    Big { at: usize, len: usize },
    /// The client is going to be closed: nothing more is executed.
    Closing,
}

impl Server {
    /// Receives from a readable client and executes what has arrived.
    pub(super) fn on_readable(&mut self, io: &mut Io, token: Token, closed: bool) {
        if self.is_suspended(token) {
            return self.mask_suspended();
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.session.is_closing() {
            if closed {
                // Its last replies have no reader any more.
                self.net.doom(token);
            }
            return;
        }
        // Its requests are executed first, even if what comes now is the end of its stream. The event comes again.
        if client.resumable || client.session.blocked.is_some_and(Blocked::ends_by_itself) {
            return;
        }
        let mut received = 0;
        while received < MAX_RECEIVE
            && let Some(count) = self.receive_once(io, token)
        {
            received += count;
        }
    }

    /// Receives once. Returns how many bytes came if there may be more that the client can be served now: it sends large
    /// arguments, and its turn is not over.
    fn receive_once(&mut self, io: &mut Io, token: Token) -> Option<usize> {
        let client = self.net.clients.get_mut(token)?;
        client.is_served_now();
        self.core.stats.reads += 1;
        let count = match client.query.take() {
            Some(query) => self.receive_more(io, token, query),
            None if client.rest.is_some() => {
                let query = io.spare.take(0);
                self.receive_more(io, token, query)
            }
            None => self.receive(io, token),
        }?;
        let client = self.net.clients.get(token)?;
        let stopped =
            client.resumable || client.doomed || client.rest.is_some() || client.session.is_closing();
        (client.sends_large && !stopped && !self.is_suspended(token)).then_some(count)
    }

    /// Goes on with requests that waited for their turn.
    pub(super) fn resume(&mut self, io: &mut Io, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.is_served_now();
        client.resumable = false;
        if client.session.is_closing() {
            return;
        }
        if let Some(rest) = client.rest.take()
            && !self.run_rest(token, rest)
        {
            return;
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        // While a large argument is being received, there is nothing to parse behind it.
        if let Some(query) = client.query.take_if(|query| query.filling.is_none()) {
            self.run_query(io, token, query);
        }
    }

    /// The common case: nothing is held, so the bytes pass through the loop's own ring. Returns how many came if they were
    /// as many as fit.
    fn receive(&mut self, io: &mut Io, token: Token) -> Option<usize> {
        let client = self.net.clients.get_mut(token)?;
        let window = io.ring.writable();
        let sent_large = client.sends_large;
        let len = window.len().min(if sent_large { READ_BESIDE_LARGE } else { READ });
        let count = match client.transport.receive(&mut window[..len]) {
            Ok(0) => {
                self.on_end_of_stream(token);
                return None;
            }
            Ok(count) => count,
            Err(error) => return self.receive_failed(token, &error),
        };
        io.ring.commit(count);
        client.active_ms = self.core.keyspace.moment.unix_ms;
        self.core.stats.net_input_bytes += io.ring.len() as u64;
        self.net.take_in_hand_shared(token, &io.ring);
        let window = io.ring.readable();
        let mut partial = Partial::default();
        let progress = self.run_window(token, &mut io.batch, window, &mut partial, &[]);
        let mut rest = &window[progress.consumed..];
        let mut filling = None;
        // Mostly nothing large is there: then nothing of it has to be looked up.
        if sent_large || matches!(progress.stopped, Stopped::Big { .. }) {
            (rest, filling) = self.divide(token, rest, &progress);
        }
        if (!rest.is_empty() || filling.is_some()) && !matches!(progress.stopped, Stopped::Closing) {
            let mut query = io.spare.take(rest.len());
            query.partial = partial;
            query.hold(rest);
            query.filling = filling;
            self.keep_remainder(io, token, query, &progress);
        }
        io.ring.truncate(0);
        (count == len).then_some(count)
    }

    /// Keeps requests for the client's turn in the next iteration.
    fn keep_rest(&mut self, token: Token, rest: Box<Rest>) {
        if let Some(client) = self.net.clients.get_mut(token) {
            client.rest = Some(rest);
            self.net.schedule(token);
        }
    }

    /// A client that holds half a request: its bytes go behind it, or into the large argument that is being filled. Returns
    /// as [`Self::receive`].
    fn receive_more(&mut self, io: &mut Io, token: Token, mut query: Box<Query>) -> Option<usize> {
        let client = self.net.clients.get_mut(token)?;
        let len;
        #[expect(clippy::single_match_else, reason = "two ways to receive, side by side")]
        let received = match &mut query.filling {
            Some((block, wanted)) => {
                let missing = *wanted - block.len();
                if block.capacity() - block.len() < missing.min(READ) {
                    let room = room(block.len() + client.transport.unread(), *wanted);
                    block.reserve_exact(room - block.len());
                }
                let most = missing.min(block.capacity() - block.len()).min(MAX_RECEIVE);
                let beyond = query.ring.writable();
                let beyond_len = if most == missing { beyond.len().min(READ_BESIDE_LARGE) } else { 0 };
                len = most + beyond_len;
                let received = client.transport.receive_into(block, most, &mut beyond[..beyond_len]);
                if let Ok(count) = received {
                    query.ring.commit(count.saturating_sub(most));
                }
                received
            }
            None => {
                let made = io.spare.make_room(&mut query);
                let room = query.ring.writable();
                len = room.len().min(READ);
                let received = made.and_then(|()| client.transport.receive(&mut room[..len]));
                if let Ok(count) = received {
                    query.ring.commit(count);
                }
                received
            }
        };
        let count = match received {
            Ok(0) => {
                self.on_end_of_stream(token);
                return None;
            }
            Ok(count) => count,
            Err(error) => {
                client.query = Some(query);
                return self.receive_failed(token, &error);
            }
        };
        let full = (count == len).then_some(count);
        self.core.stats.net_input_bytes += count as u64;
        client.active_ms = self.core.keyspace.moment.unix_ms;
        let limit = self.core.config.client_query_buffer_limit.min(MAX_WINDOW as u64);
        if query.unparsed_len() as u64 > limit {
            self.close_for_query_limit(token);
            return None;
        }
        if let Some((block, wanted)) = &mut query.filling {
            if block.len() < *wanted {
                self.net.keep_query(token, query);
                return full;
            }
            let (mut block, wanted) = query.filling.take().expect("checked above");
            block.truncate(wanted - 2);
            query.keep_argument(block);
            query.partial.detached();
        }
        if self.net.clients.get(token).is_some_and(|client| client.rest.is_some()) {
            self.net.keep_query(token, query);
        } else {
            self.run_query(io, token, query);
        }
        full
    }

    /// Closes a client that has sent more than `client-query-buffer-limit` which cannot be executed yet.
    #[cold]
    pub(super) fn close_for_query_limit(&mut self, token: Token) {
        self.core.stats.query_limit_disconnections += 1;
        self.process.log.warning(format_args!(
            "Closing client that reached max query buffer length: {}",
            self.describe_client(token)
        ));
        self.net.doom(token);
    }

    fn run_query(&mut self, io: &mut Io, token: Token, mut query: Box<Query>) {
        let Query { ring, partial, blocks, .. } = &mut *query;
        self.net.take_in_hand(token, ring.len(), ring.capacity() - ring.len());
        let progress = self.run_window(token, &mut io.batch, ring.readable(), partial, blocks);
        ring.consume(progress.consumed);
        let (rest, filling) = self.divide(token, ring.readable(), &progress);
        ring.truncate(rest.len());
        query.filling = filling;
        if let Some(blocks) = query.forget_executed() {
            self.parts.spent.push(blocks);
        }
        self.keep_remainder(io, token, query, &progress);
    }

    /// Executes what had to wait. Returns whether all of it is done.
    fn run_rest(&mut self, token: Token, mut rest: Box<Rest>) -> bool {
        self.net.begin_turn(token);
        self.net.take_in_hand(token, rest.bytes.len(), 0);
        let ran = self.run_batch(token, &rest.batch, rest.next, &rest.bytes, &rest.blocks);
        self.net.put_down();
        self.deliver_post();
        match ran {
            Ran::All => return true,
            Ran::Waiting => {}
            Ran::Closing => self.net.close_if_silent(token),
            Ran::TurnOver(next) => {
                rest.next = next;
                self.keep_rest(token, rest);
            }
        }
        false
    }

    /// Divides what a run that came as far as `progress` has left of its window: what the client's ring is to hold, and the
    /// block of a large argument that has begun, with the length that it shall have.
    fn divide<'a>(
        &mut self,
        token: Token,
        rest: &'a [u8],
        progress: &Progress,
    ) -> (&'a [u8], Option<(Block, usize)>) {
        let Some(client) = self.net.clients.get_mut(token) else { return (rest, None) };
        let Stopped::Big { at, len } = progress.stopped else {
            client.sends_large = false;
            return (rest, None);
        };
        client.sends_large = true;
        let (rest, head) = rest.split_at(at - progress.consumed);
        let wanted = len + 2;
        let mut block = Block::with_capacity(room(head.len() + client.transport.unread(), wanted));
        block.extend_from_slice(head);
        (rest, Some((block, wanted)))
    }

    /// Gives the client what it still holds, after a run that came as far as `progress`.
    fn keep_remainder(&mut self, io: &mut Io, token: Token, mut query: Box<Query>, progress: &Progress) {
        match progress.stopped {
            Stopped::Closing => return,
            Stopped::Drained | Stopped::Big { .. } => {}
            Stopped::Yielded => self.net.schedule(token),
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if query.is_idle() && !client.resumable {
            io.spare.give(query);
        } else {
            query.shrink();
            client.query = Some(query);
        }
    }

    /// Nothing came.
    fn receive_failed(&mut self, token: Token, error: &std::io::Error) -> Option<usize> {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.process.log.verbose(format_args!("Reading from client: {error}"));
            self.net.doom(token);
        }
        None
    }

    /// Parses and executes the requests in `window`, batch by batch.
    fn run_window(
        &mut self,
        token: Token,
        batch: &mut Batch,
        window: &[u8],
        partial: &mut Partial,
        blocks: &[Block],
    ) -> Progress {
        self.net.begin_turn(token);
        let mut consumed = 0;
        let mut executed = 0;
        let stopped = loop {
            let outcome = self.fill_batch(token, batch, window, consumed, partial, blocks);
            consumed = outcome.consumed;
            executed += batch.requests.len();
            match self.run_batch(token, batch, 0, window, blocks) {
                Ran::All => {}
                Ran::Closing => break Stopped::Closing,
                Ran::Waiting => break outcome.next.before_waiting(&mut consumed, partial),
                Ran::TurnOver(next) => {
                    // What comes after is parsed again, so that nothing has to be kept of it.
                    consumed = batch.requests[next - 1].end;
                    *partial = Partial::default();
                    break Stopped::Yielded;
                }
            }
            match outcome.next {
                Next::Batch => {}
                Next::Drained => break Stopped::Drained,
                Next::Big { at, len } => break Stopped::Big { at, len },
                Next::Inline { words, .. } => {
                    executed += 1;
                    match self.run_inline(token, batch, &words) {
                        Ran::All => {}
                        Ran::Closing => break Stopped::Closing,
                        Ran::Waiting => break Stopped::Drained,
                        Ran::TurnOver(_) => break Stopped::Yielded,
                    }
                }
                Next::Failed(text) => {
                    self.protocol_error(token, &text);
                    break Stopped::Closing;
                }
            }
            if executed >= MAX_REQUESTS || self.net.output.turn_is_over() {
                break Stopped::Yielded;
            }
        };
        self.net.put_down();
        self.deliver_post();
        if matches!(stopped, Stopped::Closing) {
            self.net.close_if_silent(token);
        }
        Progress { consumed, stopped }
    }

    pub(super) fn limits(&self, token: Token) -> Limits {
        let authenticated = self.net.clients.get(token).is_some_and(|c| c.session.authenticated);
        Limits { authenticated, max_bulk: self.core.config.proto_max_bulk_len as usize }
    }

    /// Parses up to [`BATCH`] requests from `window[from..]`.
    fn fill_batch(
        &mut self,
        token: Token,
        batch: &mut Batch,
        window: &[u8],
        from: usize,
        partial: &mut Partial,
        blocks: &[Block],
    ) -> Filled {
        batch.clear();
        let limits = self.limits(token);
        let db = self.net.selected_db(token);
        // Before the password is known, one request at a time: the next one's limits depend on it.
        let most = if limits.authenticated { BATCH } else { 1 };
        let mut at = from;
        while batch.requests.len() < most {
            let first = batch.spans.len();
            match resp::parse(window, at, partial, &limits, &mut batch.spans) {
                Ok(Parsed::Whole { end }) => {
                    at = end;
                    if batch.spans.len() > first {
                        let request = lookup::push(
                            batch,
                            first,
                            window,
                            blocks,
                            self.core.names,
                            &self.core.keyspace,
                            db,
                        );
                        request.end = at;
                    }
                }
                Ok(Parsed::Incomplete) => return Filled { consumed: at, next: Next::Drained },
                Ok(Parsed::Big { at: start, len }) => {
                    return Filled { consumed: at, next: Next::Big { at: start, len } };
                }
                Ok(Parsed::Inline { end, words }) => {
                    return Filled { consumed: end, next: Next::Inline { at, words } };
                }
                Err(error) => {
                    return Filled { consumed: at, next: Next::Failed(error.message().into_owned()) };
                }
            }
            if at == window.len() {
                return Filled { consumed: at, next: Next::Drained };
            }
        }
        Filled { consumed: at, next: Next::Batch }
    }

    /// Executes a batch from the request `first` on, as far as the client may go.
    fn run_batch(
        &mut self,
        token: Token,
        batch: &Batch,
        first: usize,
        window: &[u8],
        blocks: &[Block],
    ) -> Ran {
        let Some(client) = self.net.clients.get(token) else { return Ran::Closing };
        lookup::prefetch(batch, &self.core.keyspace, client.session.db, window, blocks);
        self.run_requests(token, batch, first..batch.requests.len(), window, blocks)
    }

    /// Executes some of a batch, as far as the client may go.
    fn run_requests(
        &mut self,
        token: Token,
        batch: &Batch,
        requests: Range<usize>,
        window: &[u8],
        blocks: &[Block],
    ) -> Ran {
        self.core.stopwatch.start();
        for index in requests.clone() {
            let request = &batch.requests[index];
            let places = Places { window, spans: request.spans(&batch.spans), blocks };
            if self.execute(token, request.command, request.hash, places.args()) {
                return self.stop_batch(token, batch, index..requests.end, window, blocks);
            }
            if self.net.output.turn_is_over() && index + 1 < requests.end {
                return Ran::TurnOver(index + 1);
            }
        }
        Ran::All
    }

    /// The client's turn has ended with the first of `requests`, which waits if it was not executed.
    #[cold]
    fn stop_batch(
        &mut self,
        token: Token,
        batch: &Batch,
        requests: Range<usize>,
        window: &[u8],
        blocks: &[Block],
    ) -> Ran {
        match self.net.clients.get_mut(token) {
            Some(client) if !client.session.is_closing() => {
                client.rest = Some(Box::new(batch.rest(requests, window, blocks)));
                self.park(token);
                Ran::Waiting
            }
            Some(client) if client.session.flags.close_now && !client.doomed => {
                // A command has stopped in the middle of a reply that is beyond the hard limit.
                self.cut_off(token);
                Ran::Closing
            }
            _ => Ran::Closing,
        }
    }

    /// Executes an inline request: its words are joined into a window of their own.
    fn run_inline(&mut self, token: Token, batch: &mut Batch, words: &[Vec<u8>]) -> Ran {
        let window: Vec<u8> = words.concat();
        batch.clear();
        let mut start = 0;
        for word in words {
            batch.spans.push(Span::window(start, word.len()));
            start += word.len();
        }
        if !words.is_empty() {
            let db = self.net.selected_db(token);
            lookup::push(batch, 0, &window, &[], self.core.names, &self.core.keyspace, db);
        }
        self.run_batch(token, batch, 0, &window, &[])
    }

    fn protocol_error(&mut self, token: Token, text: &[u8]) {
        self.process.log.verbose(format_args!(
            "{} from client: {}",
            String::from_utf8_lossy(text),
            self.describe_client(token)
        ));
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.session.flags.close_after_reply = true;
        self.net.reply_to(token).error([b"ERR ", text].concat());
        self.core.stats.count_error(b"ERR");
    }
}

struct Filled {
    consumed: usize,
    next: Next,
}

enum Next {
    Batch,
    Drained,
    Big {
        at: usize,
        len: usize,
    },
    /// An inline request, which begins at `at`.
    Inline {
        at: usize,
        words: Vec<Vec<u8>>,
    },
    Failed(Vec<u8>),
}

impl Next {
    /// How a window is left whose last batch has to wait. What came behind it is parsed again when the client goes on:
    /// it stays in the window from `consumed` on. Nothing of it lies in blocks, as that would be the window's first
    /// request.
    fn before_waiting(self, consumed: &mut usize, partial: &mut Partial) -> Stopped {
        match self {
            Next::Batch | Next::Drained => Stopped::Drained,
            Next::Big { at, len } => Stopped::Big { at, len },
            Next::Inline { at, .. } => {
                *consumed = at;
                Stopped::Drained
            }
            Next::Failed(_) => {
                *partial = Partial::default();
                Stopped::Drained
            }
        }
    }
}

/// Queries that clients gave back.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are what is kept: a client holds one or a null")]
pub(super) struct Spare {
    small: Vec<Box<Query>>,
    /// Those whose rings have grown, as they do for a large value.
    large: Vec<Box<Query>>,
}

impl Spare {
    /// One to hold `len` bytes, with a ring of that size if there is such a one.
    fn take(&mut self, len: usize) -> Box<Query> {
        let large = if len > SMALL_RING { self.large.pop() } else { None };
        large.or_else(|| self.small.pop()).unwrap_or_else(|| Box::new(Query::new()))
    }

    /// Makes room in the query's ring for the next receive. A small ring that is full is exchanged for a spare one if there
    /// is one, so that a client with requests somewhat larger does not map one for each.
    fn make_room(&mut self, query: &mut Query) -> std::io::Result<()> {
        if query.is_small()
            && query.ring.len() == query.ring.capacity()
            && let Some(mut larger) = self.large.pop()
        {
            query.exchange_rings(&mut larger);
            self.give(larger);
        }
        query.make_room()
    }

    fn give(&mut self, query: Box<Query>) {
        let (kept, most) =
            if query.is_small() { (&mut self.small, MAX_SPARE) } else { (&mut self.large, MAX_SPARE_LARGE) };
        if kept.len() < most && query.is_at_most_large() {
            kept.push(query);
        }
    }
}

/// The room of a block for an argument of `wanted` bytes, line end included, of which this many have arrived.
fn room(arrived: usize, wanted: usize) -> usize {
    wanted.min((AHEAD * arrived).max(READ))
}

const _: () = assert!(BIG_ARGUMENT <= READ, "a smaller argument fits one receive");
