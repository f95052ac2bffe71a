//! The memory of clients: how much each uses, and the eviction of the largest ones when all together use more than
//! `maxmemory-clients`.
//!
//! A client's size is the memory that closing its connection frees: its buffers, waiting and queued requests, unsent
//! output, and data that the server stores for it (subscriptions, watched keys, keys that it is blocked on, prefixes).
//! A value or message that several clients have yet to receive exists once; each counts its share.
//!
//! While there is a limit, a client is counted at the end of its turn and when its socket refuses output, and cron
//! counts all clients once a second. Without a limit, nothing is counted. Clients are evicted after replies have been
//! sent, before the next client's requests are executed, so memory exceeds the limit by at most the requests of one
//! receive and one reply.

use super::Server;
use super::net::client::Client;
use super::net::ledger::Ledger;
use crate::config::MemoryShare;
use crate::sys::poller::Token;

/// With a lower limit, no client could connect to raise it.
const SMALLEST_LIMIT: usize = 128 * 1024;

impl Server {
    /// Bytes of memory that a client uses, without the request being executed and the output of this iteration. Values
    /// shared with other clients count with the client's current share. O(pieces of output).
    pub(super) fn memory_of_client(&self, token: Token, client: &Client) -> usize {
        client.memory_bytes() + self.memory_kept_for(token)
    }

    /// Bytes that the listeners store for a client. O(1).
    fn memory_kept_for(&self, token: Token) -> usize {
        let audience = &self.audience;
        audience.watchers.memory_bytes(token)
            + audience.waiters.memory_bytes(token)
            + audience.subscribers.memory_bytes(token)
            + audience.trackers.memory_bytes(token)
    }

    /// Bytes of memory that all clients use. O(clients and pieces of output).
    pub(super) fn memory_of_clients(&self) -> usize {
        let clients = self.net.clients.iter().map(|(token, client)| self.memory_of_client(token, client));
        clients.sum::<usize>() + self.net.shared_bytes()
    }

    /// Starts or stops counting the clients, as configured.
    pub(super) fn limit_client_memory(&mut self) {
        let config = &self.core.config;
        if config.maxmemory_clients == MemoryShare::Bytes(0) {
            self.net.ledger = None;
            return;
        }
        let limit = match config.maxmemory_clients.bytes(config.maxmemory) {
            // A percentage of an unlimited `maxmemory`.
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

    /// Counts a client whose size may have changed. O(1); does nothing without a limit.
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

    /// Like [`Server::weigh`], with the current share of each value in the unsent output.
    pub(super) fn weigh_exactly(&mut self, token: Token) {
        if self.net.ledger.is_none() {
            return;
        }
        if let Some(pending) =
            self.net.clients.get_mut(token).and_then(|client| client.pending_mut().as_mut())
        {
            pending.recount();
        }
        self.count_client(token);
    }

    /// Disconnects the largest clients until the total is within the limit.
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
            // Other clients may have received shared values since: recount, because another client may be the largest
            // now.
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
