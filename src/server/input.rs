//! Executes clients' requests.
//!
//! [`super::intake`] receives and parses; this file executes the resulting batches, one client after the other.
//!
//! Fairness: in an iteration a client gets one receive of at most [`READ`](super::net::query::READ) bytes (more of a
//! large argument). Its turn ends after [`MAX_REQUESTS`] requests, or with the request that makes its replies exceed
//! [`super::net::MAX_OUTPUT`] bytes. The remaining requests wait in its query buffer for the next iteration.
//!
//! A request may also have to wait for another reason (`CLIENT PAUSE`): the parsed rest of its batch is kept as a
//! [`Rest`], whose requests come first when the client continues. Bytes that arrive until then are received but not
//! parsed.

use std::io::ErrorKind;
use std::ops::Range;

use super::intake::{Next, Stopped, Terms, Window, take_inline};
use super::net::batch::{Batch, Rest};
use super::net::client::Client;
use super::net::query::{MAX_RECEIVE, Query};
use super::{Io, Server, lookup};
use crate::command::Places;
use crate::command::waiting::Blocked;
use crate::db::Db;
use crate::resp::{Limits, MAX_WINDOW};
use crate::sys::poller::Token;
use crate::types::block::Block;

/// Requests executed for one client before the other clients are served.
const MAX_REQUESTS: usize = 1024;

/// The result of executing a batch.
pub(super) enum Ran {
    All,
    /// The client will be closed: nothing more is executed.
    Closing,
    /// The client waits; its remaining requests are in its [`Rest`].
    Waiting,
    /// The client's turn is over; the request with this index comes next.
    TurnOver(usize),
}

impl Server {
    /// Receives from a readable client and executes what has arrived.
    pub(super) fn on_readable(&mut self, io: &mut Io, token: Token, closed: bool) {
        if self.is_suspended(token) {
            return self.mask_suspended();
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.session.flags.primary {
            return self.receive_from_primary(io, token);
        }
        if client.session.is_closing() {
            if closed {
                // Nobody reads its last replies any more.
                self.net.doom(token);
            }
            return;
        }
        // Execute its waiting requests first, even if it has disconnected. The event is reported again.
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

    /// Receives once and executes the complete requests. Returns the number of bytes if it makes sense to receive again
    /// at once: the client sends large arguments, and its turn is not over.
    fn receive_once(&mut self, io: &mut Io, token: Token) -> Option<usize> {
        let client = self.net.clients.get_mut(token)?;
        client.is_served_now();
        let has_rest = client.rest.is_some();
        let line = client.line_mut()?;
        self.core.stats.reads += 1;
        let mut query = io.intake.query_of(line, has_rest);
        let received = match io.intake.receive(line, query.as_deref_mut()) {
            Ok(received) => received,
            Err(error) => {
                line.query = query;
                self.receive_failed(token, &error);
                return None;
            }
        };
        if received.count == 0 {
            self.on_end_of_stream(token);
            return None;
        }
        self.core.stats.net_input_bytes += received.count as u64;
        let mut waits = false;
        if let Some(query) = &mut query {
            let limit = self.core.config.client_query_buffer_limit.min(MAX_WINDOW as u64);
            if query.unparsed_len() as u64 > limit {
                self.close_for_query_limit(token);
                return None;
            }
            waits = !query.end_argument() || has_rest;
        }
        if waits {
            line.query = query.take();
        }
        client.active_ms = self.core.keyspace.moment.unix_ms;
        if !waits {
            self.run_received(io, token, query);
        }
        if !received.is_full {
            return None;
        }
        let client = self.net.clients.get(token)?;
        let stopped =
            client.resumable || client.doomed || client.rest.is_some() || client.session.is_closing();
        (client.line()?.sends_large && !stopped && !self.is_suspended(token)).then_some(received.count)
    }

    /// Continues with requests that waited for the client's turn.
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
        // While a large argument is being received, nothing follows it that could be parsed.
        let Some(line) = client.line_mut() else { return };
        let query = line.query.take_if(|query| query.filling.is_none());
        if query.is_some() {
            self.run_received(io, token, query);
        }
    }

    /// Parses and executes the bytes in `query`, or those in the shared ring.
    fn run_received(&mut self, io: &mut Io, token: Token, mut query: Option<Box<Query>>) {
        let Io { intake, batch } = io;
        let ring = intake.ring_of(query.as_deref());
        self.net.take_in_hand(token, ring.len(), ring.capacity() - ring.len(), query.is_none());
        let mut window = intake.window(query.as_deref_mut());
        let stopped = self.run_window(token, batch, &mut window);
        let consumed = window.consumed();
        let Some(line) = self.net.clients.get_mut(token).and_then(Client::line_mut) else {
            return intake.clear();
        };
        let executed = intake.put_back(line, query, consumed, stopped);
        if matches!(stopped, Stopped::Yielded) && line.query.is_some() {
            self.net.schedule(token);
        }
        if let Some(executed) = executed {
            self.parts.spent.push(executed);
        }
    }

    /// Keeps requests for the client's turn in the next iteration.
    fn keep_rest(&mut self, token: Token, rest: Box<Rest>) {
        if let Some(client) = self.net.clients.get_mut(token) {
            client.rest = Some(rest);
            self.net.schedule(token);
        }
    }

    /// Closes a client whose unexecuted input exceeds `client-query-buffer-limit`.
    #[cold]
    pub(super) fn close_for_query_limit(&mut self, token: Token) {
        self.core.stats.query_limit_disconnections += 1;
        self.process.log.warning(format_args!(
            "Closing client that reached max query buffer length: {}",
            self.describe_client(token)
        ));
        self.net.doom(token);
    }

    /// Executes the waiting requests. Returns whether all of them are done.
    fn run_rest(&mut self, token: Token, mut rest: Box<Rest>) -> bool {
        self.net.begin_turn(token);
        self.net.take_in_hand(token, rest.bytes.len(), 0, false);
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

    /// Closes the client if the receive failed for another reason than an empty socket.
    fn receive_failed(&mut self, token: Token, error: &std::io::Error) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            if self
                .net
                .clients
                .get(token)
                .is_some_and(|client| client.line().is_some_and(|line| line.transport.is_handshaking()))
            {
                return self.handshake_failed(token, error);
            }
            self.process.log.verbose(format_args!("Reading from client: {error}"));
            self.net.doom(token);
        }
    }

    /// Parses and executes the requests in `window`, batch by batch.
    fn run_window(&mut self, token: Token, batch: &mut Batch, window: &mut Window<'_>) -> Stopped {
        self.net.begin_turn(token);
        let mut executed = 0;
        let stopped = loop {
            let next = self.fill_batch(token, batch, window);
            executed += batch.requests.len();
            match self.run_batch(token, batch, 0, window.bytes, window.blocks) {
                Ran::All => {}
                Ran::Closing => break Stopped::Closing,
                Ran::Waiting => break window.leave(&next),
                Ran::TurnOver(index) => break window.go_back(batch.requests[index - 1].end),
            }
            match next {
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
                Next::Failed(error) => {
                    self.protocol_error(token, &error.message());
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
        stopped
    }

    /// The parser's parameters for a client, and the database that it has selected.
    #[inline]
    fn terms(&self, token: Token) -> (Terms<'_>, &Db) {
        let client = self.net.clients.get(token);
        let (authenticated, db) =
            client.map_or((false, 0), |c| (c.session.rights.authenticated, c.session.db));
        let limits = Limits { authenticated, max_bulk: self.core.config.proto_max_bulk_len as usize };
        let keyspace = &self.core.keyspace;
        (Terms { limits, names: self.core.names, hasher: keyspace.hasher() }, keyspace.db(db))
    }

    /// Parses the next requests of `window`, and prefetches the buckets of their keys.
    fn fill_batch(&self, token: Token, batch: &mut Batch, window: &mut Window<'_>) -> Next {
        let (terms, db) = self.terms(token);
        window.fill(batch, &terms, |hash| db.prefetch_bucket(hash))
    }

    /// Executes a batch from the request `first` on, until the client has to stop.
    fn run_batch(
        &mut self,
        token: Token,
        batch: &Batch,
        first: usize,
        window: &[u8],
        blocks: &[Block],
    ) -> Ran {
        let Some(client) = self.net.clients.get(token) else { return Ran::Closing };
        let (requests, spans) = (&batch.requests, &batch.spans);
        lookup::prefetch(requests, spans, &self.core.keyspace, client.session.db, window, blocks);
        self.run_requests(token, batch, first..batch.requests.len(), window, blocks)
    }

    /// Executes some requests of a batch, until the client has to stop.
    #[inline(always)]
    pub(super) fn run_requests(
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

    /// Handles a client that stops at the first of `requests`, which waits if it was not executed.
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
                // The command stopped within a reply that exceeds the hard limit.
                self.cut_off(token);
                Ran::Closing
            }
            _ => Ran::Closing,
        }
    }

    /// Executes an inline request.
    fn run_inline(&mut self, token: Token, batch: &mut Batch, words: &[Vec<u8>]) -> Ran {
        let (terms, db) = self.terms(token);
        batch.clear();
        let window = take_inline(batch, words, &terms, |hash| db.prefetch_bucket(hash));
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
