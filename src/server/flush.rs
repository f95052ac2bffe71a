//! The end of an iteration: sends replies, queues the rest for slow clients or disconnects them, and closes doomed
//! clients.

use std::os::fd::AsFd;

use super::Server;
use super::net::client::Client;
use super::net::line::Seat;
use crate::config::LogLevel;
use crate::sys::poller::{Interest, Poller, Source, Token};

/// The most bytes of output that wait for an unauthenticated client.
const MAX_UNAUTHENTICATED: u64 = 16 * 1024;

impl Server {
    /// Sends the replies of all clients, after `write_log` has written what must be durable before it is acknowledged.
    pub(super) fn flush(&mut self) {
        let unsettled = self.core.keyspace.journal.stream().of_unit();
        assert!(unsettled == 0 || self.is_busy(), "the stream has the calls before the replies are sent");
        self.write_log();
        self.feed_replicas();
        self.send_confirmed();
        self.deliver_broadcasts();
        self.deliver_feed();
        for chain in 0..self.net.output.arrange() {
            let head = self.net.output.sheet().head(chain);
            if !(self.gate.confirms() && self.withhold(head)) {
                self.flush_chain(head);
            }
        }
        if self.net.threads.exist() && self.net.threads.dispatch(&mut self.net.output) {
            // Others send it.
        } else if self.core.exceeds_memory_limit() {
            self.clear_output_and_shrink();
        } else {
            self.net.output.clear();
        }
        self.evict_clients();
        while let Some(token) = self.net.next_doomed() {
            if !self.postpones_close(token) {
                self.close(token);
            }
        }
    }

    /// Sends a chain of segments, which all belong to one client.
    #[inline]
    fn flush_chain(&mut self, head: usize) {
        let output = self.net.output.sheet();
        let (token, bytes) = output.segment(head);
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.session.flags.close_now {
            return;
        }
        let limit = self.core.config.client_output_buffer_limit.of(client.session.flags.subscribed).hard;
        let (waiting, _) = client.unsent();
        if limit > 0 && (waiting + output.chain_bytes(head)) as u64 >= limit {
            return self.cut_off(token);
        }
        let is_one_piece = !output.has_next(head) && !output.has_splices(head);
        client.reply_peak.raise(if is_one_piece { bytes.len() } else { output.chain_bytes(head) });
        let Seat::Here(line) = &mut client.seat else { return self.have_sent(head, token) };
        let is_new = line.pending.is_none();
        match line.send_chain(output, head) {
            Ok(sent) => {
                self.core.stats.writes += 1;
                self.core.stats.net_output_bytes += sent as u64;
            }
            Err(error) => return self.send_failed(token, &error),
        }
        if line.pending.is_some() {
            return self.after_queueing(token, is_new);
        }
        if client.session.flags.close_after_reply && !self.net.output.has_more(token, head) {
            self.net.doom(token);
        }
    }

    /// Called after output was queued that the socket has not accepted.
    fn after_queueing(&mut self, token: Token, is_new: bool) {
        if is_new || client_is_closing(self.net.clients.get(token)) {
            self.watch_client(token);
        }
        self.check_output_limit(token);
        self.weigh(token);
    }

    /// Has the I/O thread that has the client's line send a chain. Output that is written after the line was recalled
    /// waits for its return.
    #[inline(never)]
    fn have_sent(&mut self, head: usize, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let is_closing = client.session.is_closing();
        let Seat::Away(away) = &mut client.seat else { return };
        let sheet = self.net.output.sheet();
        if away.is_recalled {
            return sheet.queue_chain(head, 0, away.pending.get_or_insert_default());
        }
        self.core.stats.net_output_bytes += sheet.chain_bytes(head) as u64;
        self.net.threads.send(away.thread, head);
        if is_closing {
            self.net.threads.recall(token, away);
        }
    }

    /// Watches the events that a client needs: its socket accepts the output that may be sent, or has requests. A client
    /// that is closed after its last replies is not read from again.
    pub(super) fn watch_client(&mut self, token: Token) {
        let Some(client) = self.net.clients.get(token) else { return };
        let Some(line) = client.line() else { return self.net.recall(token) };
        let interest = Interest { read: !client.session.is_closing(), write: line.is_sendable() };
        if let Err(error) = self.net.poller.modify(line.transport.as_fd(), Source::Client(token), interest) {
            self.send_failed(token, &error);
        }
    }

    /// Continues sending to a client whose socket is writable again.
    pub(super) fn on_writable(&mut self, token: Token) {
        let Some(line) = self.net.clients.get(token).and_then(Client::line) else { return };
        let has_pending = line.pending.is_some();
        if line.transport.has_unsent() && !self.flush_encrypted(token) {
            return;
        }
        if !has_pending {
            self.on_replica_writable(token);
            return;
        }
        self.send_pending(token);
        if self.net.clients.get(token).is_some_and(|client| !client.is_sendable()) {
            self.watch_client(token);
        }
    }

    /// Sends the pending output of `token`, up to its share of an iteration.
    pub(super) fn send_pending(&mut self, token: Token) {
        let now = self.core.keyspace.moment.unix_ms;
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Some(line) = client.line_mut() else { return };
        match line.send_pending() {
            Ok(0) => {}
            Ok(count) => {
                self.core.stats.writes += 1;
                self.core.stats.net_output_bytes += count as u64;
                client.active_ms = now;
            }
            Err(error) => return self.send_failed(token, &error),
        }
        if client.is_drained() && client.session.flags.close_after_reply {
            self.net.doom(token);
        }
    }

    pub(super) fn send_failed(&mut self, token: Token, error: &std::io::Error) {
        self.process.log.verbose(format_args!("Error writing to client: {error}"));
        self.net.doom(token);
    }

    /// Enforces `client-output-buffer-limit` of the client's class on its pending output: the hard limit at once, the
    /// soft limit after its seconds.
    pub(super) fn check_output_limit(&mut self, token: Token) {
        let now = self.core.keyspace.moment.unix_ms;
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let limit = self.core.config.client_output_buffer_limit.of(client.session.flags.subscribed);
        let bytes = client.unsent().0 as u64;
        let is_known = client.session.rights.authenticated;
        let Some(over_since) = client.over_soft_limit_since() else { return };
        let hard = limit.hard > 0 && bytes >= limit.hard;
        let unknown = !is_known && bytes >= MAX_UNAUTHENTICATED;
        let soft = limit.soft > 0 && bytes >= limit.soft;
        let since = if soft { Some(*over_since.get_or_insert(now)) } else { None };
        *over_since = since;
        if hard || unknown || since.is_some_and(|t| now - t > limit.soft_seconds as i64 * 1000) {
            self.cut_off(token);
        }
    }

    /// Closes a client that reads its replies too slowly.
    #[cold]
    pub(super) fn cut_off(&mut self, token: Token) {
        self.core.stats.output_limit_disconnections += 1;
        self.net.output.shrink_when_cleared();
        self.process.log.warning(format_args!(
            "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
            self.describe_client(token)
        ));
        self.net.doom(token);
    }

    /// Handles a client that has shut down its side of the connection. It may still read the replies to its requests,
    /// and is closed after them. A blocked client, a subscriber or a monitor is closed at once: its output may never
    /// end.
    pub(super) fn on_end_of_stream(&mut self, token: Token) {
        if self.process.log.is_at(LogLevel::Verbose) {
            self.process
                .log
                .verbose(format_args!("Client closed connection {}", self.describe_client(token)));
        }
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let flags = &client.session.flags;
        if client.session.blocked.is_some() || flags.monitor || flags.subscribed {
            return self.net.doom(token);
        }
        self.close_after_replies(token);
    }

    /// Closes a client once its output has been sent.
    pub(super) fn close_after_replies(&mut self, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        if client.is_drained() && !self.net.output.has_any(token) {
            return self.net.doom(token);
        }
        client.session.flags.close_after_reply = true;
        if !client.is_drained() {
            self.watch_client(token);
        }
    }

    pub(super) fn close(&mut self, token: Token) {
        if !self.replication.replicas.is_empty() {
            // While its address is known.
            self.forget_replica(token);
        }
        if let Some(client) = self.net.clients.remove(token) {
            self.net.end_line(token, client.seat);
            if let Some(ledger) = &mut self.net.ledger {
                ledger.remove(token);
            }
            if client.session.flags.monitor {
                self.stop_monitoring(token);
            }
            self.unwatch_all(token);
            self.forget_tracking(token);
            self.audience.trackers.leave(token);
            if client.session.flags.subscribed {
                self.end_subscriptions(token);
            }
            if client.session.flags.primary {
                self.upstream_lost(token, client.session.db);
            }
            if let Some(reason) = client.session.blocked {
                self.forget_blocked(token, reason);
            }
        }
    }
}

fn client_is_closing(client: Option<&Client>) -> bool {
    client.is_some_and(|client| client.session.is_closing())
}
