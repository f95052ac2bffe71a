//! The memory of clients: how much each uses, and the eviction of the largest ones when all together use more than
//! `maxmemory-clients`.
//!
//! The memory that is freed when the connection is closed counts: its buffers, waiting and queued requests, unsent output,
//! and what the server stores for the client (subscriptions, watched keys, keys that it is blocked on, prefixes). A value
//! or message that several clients have yet to receive exists once; each counts its share.
//!
//! While there is a limit, each client is counted at the end of its turn and when its socket refuses output, and all of
//! them by cron, once a second; without one, nothing is counted. Clients are evicted after replies have been sent, before
//! the next client's requests are executed. So what one receive brings, with one reply, is the most by which the limit is
//! exceeded.

use super::Server;
use super::net::client::Client;
use super::net::ledger::Ledger;
use crate::config::MemoryShare;
use crate::sys::poller::Token;

/// A limit below this would leave nobody who could raise it.
const SMALLEST_LIMIT: usize = 128 * 1024;

impl Server {
    /// Bytes of memory that a client takes, without what is in hand or in the output of this iteration. Of values that it
    /// shares with others, its share of now. O(pieces of output).
    pub(super) fn memory_of_client(&self, token: Token, client: &Client) -> usize {
        client.memory_bytes() + self.memory_kept_for(token)
    }

    /// Bytes that listeners keep for a client. O(1).
    fn memory_kept_for(&self, token: Token) -> usize {
        let audience = &self.audience;
        audience.watchers.memory_bytes(token)
            + audience.waiters.memory_bytes(token)
            + audience.subscribers.memory_bytes(token)
            + audience.trackers.memory_bytes(token)
    }

    /// Bytes of memory that all clients take. O(clients and pieces of output).
    pub(super) fn memory_of_clients(&self) -> usize {
        let clients = self.net.clients.iter().map(|(token, client)| self.memory_of_client(token, client));
        clients.sum::<usize>() + self.net.shared_bytes()
    }

    /// Has the clients counted from now on, or no longer, as the configuration says.
    pub(super) fn limit_client_memory(&mut self) {
        let config = &self.core.config;
        if config.maxmemory_clients == MemoryShare::Bytes(0) {
            self.net.ledger = None;
            return;
        }
        let limit = match config.maxmemory_clients.bytes(config.maxmemory) {
            // A share of memory that is not limited.
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX).max(SMALLEST_LIMIT),
        };
        if let Some(ledger) = &mut self.net.ledger {
            ledger.limit = limit;
            return;
        }
        self.net.ledger = Some(Ledger::new(limit));
        let tokens: Vec<Token> = self.net.clients.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.weigh(token);
        }
    }

    /// Counts a client that may have become larger or smaller. O(1), and nothing without a limit.
    #[inline]
    pub(super) fn weigh(&mut self, token: Token) {
        if self.net.ledger.is_some() {
            self.count_client(token);
        }
    }

    #[inline(never)]
    fn count_client(&mut self, token: Token) {
        let kept = self.memory_kept_for(token);
        let (Some(client), Some(ledger)) = (self.net.clients.get(token), &mut self.net.ledger) else {
            return;
        };
        if !client.doomed {
            ledger.set(token, client.counted_bytes() + kept, !client.session.flags.no_evict);
        }
    }

    /// [`Server::weigh`] with the share of now of each value that waits to be sent.
    pub(super) fn weigh_exactly(&mut self, token: Token) {
        if self.net.ledger.is_none() {
            return;
        }
        if let Some(pending) = self.net.clients.get_mut(token).and_then(|client| client.pending.as_mut()) {
            pending.recount();
        }
        self.count_client(token);
    }

    /// Disconnects the largest clients until what is left is within the limit.
    #[inline]
    pub(super) fn evict_clients(&mut self) {
        match &mut self.net.ledger {
            Some(ledger) if ledger.total() > ledger.limit => self.evict_largest_clients(),
            Some(ledger) => ledger.complained = false,
            None => {}
        }
    }

    #[cold]
    fn evict_largest_clients(&mut self) {
        while let Some(largest) = self.largest_to_evict() {
            // What others have received meanwhile may have changed its share, and with it who is the largest.
            self.weigh_exactly(largest);
            if self.largest_to_evict() != Some(largest) {
                continue;
            }
            let line = self.describe_client(largest);
            self.process.log.notice(format_args!("Evicting client: {line}"));
            self.core.stats.evicted_clients += 1;
            self.net.doom(largest);
        }
        if let Some(ledger) = &mut self.net.ledger
            && ledger.total() > ledger.limit
            && !std::mem::replace(&mut ledger.complained, true)
        {
            self.process
                .log
                .warning(format_args!("Over client maxmemory after evicting all evictable clients"));
        }
    }

    fn largest_to_evict(&self) -> Option<Token> {
        self.net.ledger.as_ref().filter(|ledger| ledger.is_over())?.largest()
    }
}
