//! The requests that a client has queued between `MULTI` and `EXEC`.

use super::batch::Rest;
use crate::command::{Command, Places};

/// An open transaction.
#[derive(Default)]
pub struct Transaction {
    requests: Rest,
    /// The number of requests queued; kept while they are executed.
    count: usize,
    /// The combined flags of all requests.
    flags: u64,
    /// The flags that not all requests have.
    lacking: u64,
    /// The memory of the requests being executed.
    executing_bytes: usize,
    /// Whether a request was refused, so that `EXEC` executes none.
    refused: bool,
}

impl Transaction {
    /// Queues a request whose call has these flags.
    pub fn push(&mut self, command: &'static Command, flags: u64, hash: u64, places: Places<'_>) {
        self.requests.push(Ok(command), hash, places);
        self.flags |= flags;
        self.lacking |= !flags;
        self.count += 1;
    }

    /// Records that a request could not be queued. The earlier requests are kept, because a cluster node checks their
    /// slots at `EXEC`.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether a request could not be queued.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The number of queued requests.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns the combined flags of its commands.
    pub fn flags(&self) -> u64 {
        self.flags
    }

    /// The queued requests.
    pub fn requests(&self) -> impl Iterator<Item = (&'static Command, Places<'_>)> {
        (0..self.count).filter_map(|index| {
            let (request, places) = self.requests.request(index)?;
            Some((request.command.ok()?, places))
        })
    }

    /// Returns the flags that at least one of its commands does not have.
    pub fn lacking(&self) -> u64 {
        self.lacking
    }

    /// Takes the requests out, to execute them.
    pub fn take(&mut self) -> Rest {
        self.executing_bytes = self.requests.memory_bytes();
        std::mem::take(&mut self.requests)
    }

    /// Returns the bytes of all arguments.
    pub fn argument_bytes(&self) -> usize {
        self.requests.len()
    }

    /// Returns the bytes of memory used.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Rest>() + self.requests.memory_bytes() + self.executing_bytes
    }
}
