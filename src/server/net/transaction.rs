//! The requests that a client has queued between `MULTI` and `EXEC`.

use super::batch::Rest;
use crate::command::{Command, Places};

/// An open transaction.
#[derive(Default)]
pub struct Transaction {
    requests: Rest,
    /// Requests that were queued; still true while they are executed.
    count: usize,
    /// The flags of all of them together.
    flags: u64,
    /// The memory of the requests that are being executed.
    executing_bytes: usize,
    /// A request could not be queued, so `EXEC` will execute none.
    refused: bool,
}

impl Transaction {
    /// Queues a request, a call with these flags.
    pub fn push(&mut self, command: &'static Command, flags: u64, hash: u64, places: Places<'_>) {
        self.requests.push(Ok(command), hash, places);
        self.flags |= flags;
        self.count += 1;
    }

    /// Something could not be queued.
    pub fn refuse(&mut self) {
        self.refused = true;
        self.requests = Rest::default();
    }

    /// Whether something could not be queued.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// How many requests have been queued.
    pub fn len(&self) -> usize {
        self.count
    }

    /// The flags that any of its commands has.
    pub fn flags(&self) -> u64 {
        self.flags
    }

    /// Takes the requests out, to execute them.
    pub fn take(&mut self) -> Rest {
        self.executing_bytes = self.requests.memory_bytes();
        std::mem::take(&mut self.requests)
    }

    /// Bytes of arguments.
    pub fn argument_bytes(&self) -> usize {
        self.requests.len()
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Rest>() + self.requests.memory_bytes() + self.executing_bytes
    }
}
