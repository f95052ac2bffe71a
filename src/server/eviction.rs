//! How `maxmemory` affects clients: keys are evicted before commands execute, and commands that use memory wait or are
//! refused if that does not free enough.

use super::Server;
use super::core::memory_limit::Room;
use crate::command::waiting::Blocked;
use crate::command::{Args, Command, Error, Handler, ServerCommand, flags};
use crate::sys::poller::Token;

/// The error of commands that use memory while none is left.
pub(super) const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");

/// Bytes of capacity that the output buffer, the messages and the journal each keep while memory is short.
const KEPT_BUFFER: usize = 4 << 10;

impl Server {
    /// Evicts keys before the next command of `token`, as far as time permits.
    #[cold]
    pub(super) fn make_room_for(&mut self, token: Token) {
        let db = self.net.selected_db(token);
        if self.may_evict() {
            self.evict(Some(db));
        } else {
            self.core.limit.ignore();
        }
    }

    /// Called at the beginning of an iteration: continues an unfinished eviction, and resumes clients that wait for it.
    #[inline]
    pub(super) fn go_on_evicting(&mut self) {
        self.core.limit.begin_iteration();
        if self.core.limit.is_evicting() || !self.waiting_for_memory.is_empty() {
            self.evict_slice();
        }
    }

    #[cold]
    fn evict_slice(&mut self) {
        if self.may_evict() {
            self.evict(None);
        } else {
            self.core.limit.ignore();
        }
        if self.core.limit.room() == Room::Coming {
            return;
        }
        let mut waiting = std::mem::take(&mut self.waiting_for_memory);
        if !waiting.is_empty() {
            // The first client may use up all the freed memory: next time the second one comes first.
            waiting.rotate_left(1);
        }
        for token in waiting {
            if let Some(client) = self.net.clients.get_mut(token) {
                client.session.blocked = None;
                self.net.schedule(token);
            }
        }
    }

    fn evict(&mut self, db: Option<usize>) {
        // Free the arguments of finished requests before evicting keys.
        self.parts.spent = Vec::new();
        let buffers = self.buffer_bytes();
        self.core.make_room(db, buffers);
        self.settle_own();
    }

    /// Bytes of the output buffer and of undelivered messages.
    fn buffer_bytes(&self) -> usize {
        self.net.output.memory_bytes() + self.audience.post.memory_bytes()
    }

    /// Bytes in use that do not count towards `maxmemory`, since evicting keys increases them. O(1).
    pub(super) fn not_counted_bytes(&self) -> u64 {
        self.core.uncounted_bytes(self.buffer_bytes())
    }

    /// Clears the output of an iteration while memory exceeds the limit, and shrinks buffers, so that their spare
    /// capacity does not keep memory above the limit.
    #[cold]
    pub(super) fn clear_output_and_shrink(&mut self) {
        self.net.output.clear_and_shrink(KEPT_BUFFER);
        self.shrink_buffers();
    }

    /// `MEMORY PURGE` for the buffers: frees capacity that they have kept from earlier iterations.
    #[cold]
    pub(super) fn purge_buffers(&mut self) {
        self.net.output.shrink(KEPT_BUFFER);
        self.shrink_buffers();
    }

    /// Frees unused capacity for messages, MONITOR lines and changes.
    fn shrink_buffers(&mut self) {
        self.audience.post.shrink(KEPT_BUFFER);
        self.audience.monitors().shrink(KEPT_BUFFER);
        self.core.keyspace.journal.shrink(KEPT_BUFFER);
    }

    /// Whether keys may be evicted: not while loading, which must restore the data set as it was saved, not under a
    /// suspended script, which must see no key vanish, and not during a pause, when nothing may change.
    fn may_evict(&self) -> bool {
        !self.loading.is_active() && !self.is_busy() && !self.audience.pause().is_active()
    }

    /// Returns whether there is memory to execute `command` of `token`. If eviction is still freeing memory, blocks the
    /// client.
    #[cold]
    pub(super) fn room_for(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Room {
        use ServerCommand as C;
        let is_open = self.net.session(token).flags.transaction;
        let ends_it = matches!(command.handler, Handler::Server(C::Exec | C::Discard | C::Quit | C::Reset));
        // A client may queue any number of requests in a transaction.
        let takes = self.flags_of_call(token, command, args) & flags::DENYOOM != 0 || is_open && !ends_it;
        let room = if takes { self.core.limit.room() } else { Room::Enough };
        if room == Room::Coming {
            self.net.session(token).blocked = Some(Blocked::Memory);
            self.waiting_for_memory.push(token);
        }
        room
    }
}
