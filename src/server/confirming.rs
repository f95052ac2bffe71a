//! Withholds replies until replicas have acknowledged the data that they may show (`min-replicas-to-ack`).
//!
//! ```text
//!   flush:  GETACK, the stream ─▶ replicas          output ─▶ withhold: queued with the offset that it needs
//!   ACK ──▶ confirm ──▶ the next flush: send_confirmed ─▶ socket
//! ```
//!
//! [`crate::replication::confirm`] computes which output may leave. Clients continue meanwhile: further requests are
//! executed, and their replies queue behind. Withheld output counts for all limits of output. Notifications,
//! invalidations and the MONITOR feed are output like replies.
//!
//! Output that shows no data ([`Server::is_independent`], published messages) is not withheld, unless it is in one chain
//! with other output of this iteration, or follows withheld output: the order of a connection stays.
//!
//! Output that is not confirmed in time, or not before this server becomes a replica, is never sent: the connection is
//! closed, so its client does not know whether the write survives.

use super::Server;
use super::net::output::Mark;
use crate::command::waiting::Blocked;
use crate::sys::poller::Token;

impl Server {
    /// The end of the stream that everybody sees.
    pub(super) fn stream_end(&self) -> u64 {
        self.core.keyspace.journal.stream().settled()
    }

    /// Queues a chain of output whose data is not confirmed. Returns whether it did; otherwise the chain may be sent.
    pub(super) fn withhold(&mut self, head: usize) -> bool {
        let end = self.stream_end();
        let Some(offset) = self.replication.confirmation.needed(end) else { return false };
        let output = &self.net.output;
        let token = output.sheet().segment(head).0;
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        let flags = client.session.flags;
        if flags.replica || flags.primary || flags.close_now || !output.depends_on_data(head) {
            return false;
        }
        client.reply_peak.raise(output.sheet().chain_bytes(head));
        let pending = client.pending_mut().get_or_insert_default();
        let is_new_part = pending.withhold(offset);
        output.sheet().queue_chain(head, 0, pending);
        if is_new_part {
            self.replication.confirmation.wait(token, offset, self.core.clock.monotonic_us());
        }
        if client.session.is_closing() {
            self.watch_client(token);
        }
        self.check_output_limit(token);
        self.weigh(token);
        true
    }

    /// Sends withheld output that is confirmed now, and closes the clients whose output has waited too long.
    #[inline]
    pub(super) fn send_confirmed(&mut self) {
        if self.replication.confirmation.waiting() > 0 {
            self.release_confirmed();
            self.close_overdue();
        }
    }

    fn release_confirmed(&mut self) {
        let mut released: Vec<Token> = Vec::new();
        while let Some(token) = self.replication.confirmation.next_confirmed() {
            if let Some(pending) =
                self.net.clients.get_mut(token).and_then(|client| client.pending_mut().as_mut())
            {
                pending.release();
                if released.last() != Some(&token) {
                    released.push(token);
                }
            }
        }
        for token in released {
            self.send_pending(token);
            if self.net.clients.get(token).is_some_and(super::net::client::Client::is_sendable) {
                self.watch_client(token);
            }
            self.weigh(token);
        }
    }

    fn close_overdue(&mut self) {
        let now_us = self.core.clock.monotonic_us();
        let timeout_ms = self.core.config.min_replicas_ack_timeout;
        let mut closed = 0;
        while let Some(token) = self.replication.confirmation.next_overdue(now_us, timeout_ms) {
            closed += u64::from(self.close_unconfirmed(token));
        }
        if closed > 0 {
            self.process.log.warning(format_args!(
                "Closing {closed} clients without a reply: their data was not acknowledged by min-replicas-to-ack replicas \
                 within {timeout_ms} milliseconds."
            ));
        }
    }

    /// Closes a client with output that will not be sent. Returns false if that has happened before.
    fn close_unconfirmed(&mut self, token: Token) -> bool {
        let is_open = self.net.clients.get(token).is_some_and(|client| !client.doomed);
        if is_open {
            self.net.doom(token);
        }
        is_open
    }

    /// Before this server becomes a replica: sends what is confirmed, and closes the clients with other output, which
    /// depends on data that the new primary may not have.
    pub(super) fn abandon_unconfirmed(&mut self) {
        if !self.gate.confirms() {
            return;
        }
        self.release_confirmed();
        let mut closed = 0;
        while let Some(token) = self.replication.confirmation.next_abandoned() {
            closed += u64::from(self.close_unconfirmed(token));
        }
        for token in self.clients_to_reply_to() {
            closed += u64::from(self.close_unconfirmed(token));
        }
        if closed > 0 {
            self.process.log.warning(format_args!(
                "Closing {closed} clients without a reply: this server becomes a replica, and their data was not \
                 acknowledged by min-replicas-to-ack replicas."
            ));
        }
    }

    /// The clients whose commands have been executed, at least in part, while their replies are not in a queue yet.
    fn clients_to_reply_to(&self) -> Vec<Token> {
        let has_begun = |token: &Token| {
            let blocked = self.net.clients.get(*token).and_then(|client| client.session.blocked);
            blocked.is_some_and(Blocked::has_begun)
        };
        let mut tokens: Vec<Token> =
            self.net.clients.iter().map(|(token, _)| token).filter(has_begun).collect();
        // A transaction's unit may be open: it is not confirmed.
        let end = self.core.keyspace.journal.stream().end();
        if self.replication.confirmation.needed(end).is_some() {
            tokens.extend(self.net.output.dependent_clients());
        }
        tokens
            .retain(|token| self.net.clients.get(*token).is_some_and(|client| !client.session.flags.replica));
        tokens
    }

    /// Requests acknowledgements of the stream so far from the replicas.
    pub(super) fn request_acknowledgements(&mut self) {
        let end = self.stream_end();
        self.replication.confirmation.note_request(end);
        self.push_to_replicas(&[b"REPLCONF", b"GETACK", b"*"]);
        if self.stream_end() == end {
            // A slow script's unit is open.
            self.replication.confirmation.forget_request();
        }
    }

    /// Whether replies wait for acknowledgements that nobody has requested.
    pub(super) fn has_to_request_acknowledgements(&self) -> bool {
        self.gate.confirms() && self.replication.confirmation.has_to_request(self.stream_end())
    }

    /// Notes that the reply that begins at `start` does not depend on the data.
    pub(super) fn note_independence(&mut self, start: Mark) {
        if self.gate.confirms() {
            self.net.output.note_independent(start);
        }
    }
}
