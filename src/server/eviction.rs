//! What a limit of memory means for clients: keys are evicted before their commands, and where that is not enough, commands
//! that take memory wait or are refused.

use super::Server;
use super::core::memory_limit::Room;
use crate::command::waiting::Blocked;
use crate::command::{Args, Command, Error, Handler, ServerCommand, flags};
use crate::sys::poller::Token;

/// What commands that take memory are told when there is none.
pub(super) const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");

/// Bytes of capacity that the output buffer, the messages and the journal each keep while memory is short.
const KEPT_BUFFER: usize = 4 << 10;

impl Server {
    /// Makes room for the next command of `token`, as far as it can.
    #[cold]
    pub(super) fn make_room_for(&mut self, token: Token) {
        let db = self.net.selected_db(token);
        if self.may_evict() {
            self.evict(Some(db));
        } else {
            self.core.limit.ignore();
        }
    }

    /// At the beginning of an iteration: makes more of the room for which the last one had no time, and lets clients go on
    /// that wait for it.
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
            // The first of them may use up all the room, so that it is the turn of the second next time.
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

    /// Clears the output of an iteration while memory exceeds the limit, and shrinks buffers so that their spare
    /// capacity does not keep it there.
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

    /// Whether keys may be evicted: what is loaded decides itself what there is, a script sees no key vanish, and during a
    /// pause nothing changes.
    fn may_evict(&self) -> bool {
        !self.loading.is_active() && !self.is_busy() && !self.audience.pause().is_active()
    }

    /// Whether `command` of `token` can be executed as far as memory goes. If room is being made for it, its client waits
    /// from now on.
    #[cold]
    pub(super) fn room_for(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Room {
        use ServerCommand as C;
        let is_open = self.net.session(token).flags.transaction;
        let ends_it = matches!(command.handler, Handler::Server(C::Exec | C::Discard | C::Quit | C::Reset));
        // A queue of requests may become as long as a client likes.
        let takes = self.flags_of_call(token, command, args) & flags::DENYOOM != 0 || is_open && !ends_it;
        let room = if takes { self.core.limit.room() } else { Room::Enough };
        if room == Room::Coming {
            self.net.session(token).blocked = Some(Blocked::Memory);
            self.waiting_for_memory.push(token);
        }
        room
    }
}
