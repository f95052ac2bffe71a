//! Loads a file while it is being received.
//!
//! ```text
//!   push ─▶ Feed: bytes, Boundaries ─▶ Loader: whole steps only ─▶ keyspace
//! ```
//!
//! The owner passes bytes on as they arrive ([`Incoming::push`]), and loads slices of the records and
//! elements that are whole ([`Incoming::load_some`]), so it never waits for bytes. A string or an element of
//! a collection that has only partly arrived stays in memory as received, compressed and not decoded, until
//! it is whole.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::boundaries::Boundaries;
use super::{LoadOptions, Loader, RdbError, Report, Step};
use crate::db::Keyspace;

/// The buffer is freed above this size once it is empty, since a large string has made it grow.
const KEEP: usize = 1 << 20;

/// The assumed length of a file of unknown length: it limits the memory that is reserved for what the file claims to
/// contain.
const ASSUMED_LEN: u64 = 16 << 20;

/// The bytes of a file that is still being received.
#[derive(Debug, Default)]
struct Feed {
    bytes: VecDeque<u8>,
    /// The number of bytes read.
    read: u64,
    boundaries: Boundaries,
    /// Whether all bytes that were received can be read, since no more follow.
    is_closed: bool,
}

impl Feed {
    /// The number of bytes at the beginning of the file that can be read.
    fn whole(&self) -> u64 {
        if self.is_closed { self.read + self.bytes.len() as u64 } else { self.boundaries.whole() }
    }

    /// Appends bytes. Those after the end of the file are counted and dropped.
    fn push(&mut self, bytes: &[u8]) {
        self.boundaries.feed(bytes);
        let surplus = self.boundaries.surplus().map_or(0, |surplus| surplus.min(bytes.len() as u64));
        self.bytes.extend(&bytes[..bytes.len() - surplus as usize]);
    }
}

impl Read for Feed {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let unread = usize::try_from(self.whole() - self.read).unwrap_or(usize::MAX);
        let most = unread.min(to.len());
        let count = self.bytes.read(&mut to[..most])?;
        self.read += count as u64;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP {
            self.bytes = VecDeque::new();
        }
        Ok(count)
    }
}

/// The part of a file that has been read.
enum Reading {
    /// The signature is not whole.
    Head(Feed),
    Body(Box<Loader<Feed>>),
}

/// See the module's head.
pub struct Incoming {
    reading: Reading,
    options: LoadOptions,
    len: Option<u64>,
    is_done: bool,
}

impl Incoming {
    /// Begins a file, with its length in bytes if that is known.
    pub fn new(len: Option<u64>, options: LoadOptions) -> Incoming {
        Incoming { reading: Reading::Head(Feed::default()), options, len, is_done: false }
    }

    fn feed(&self) -> &Feed {
        match &self.reading {
            Reading::Head(feed) => feed,
            Reading::Body(loader) => loader.input(),
        }
    }

    fn feed_mut(&mut self) -> &mut Feed {
        match &mut self.reading {
            Reading::Head(feed) => feed,
            Reading::Body(loader) => loader.input_mut(),
        }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.feed_mut().push(bytes);
    }

    /// Declares that no more bytes follow. If the file is not whole, loading it fails then.
    pub fn close(&mut self) {
        self.feed_mut().is_closed = true;
    }

    /// The number of bytes that can be loaded and were not.
    pub fn loadable(&self) -> u64 {
        self.feed().whole() - self.offset()
    }

    /// Whether [`Incoming::load_some`] would make progress, or return an error.
    pub fn can_load(&self) -> bool {
        !self.is_done && (self.feed().is_closed || self.feed().boundaries.has_head() && self.loadable() > 0)
    }

    /// Whether [`Incoming::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.feed().is_closed
    }

    /// Whether the file has been loaded.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The number of bytes that were received after the end of the file, if the end was received.
    pub fn surplus(&self) -> Option<u64> {
        self.feed().boundaries.surplus()
    }

    /// The size of the buffer, in bytes.
    #[cfg(test)]
    pub fn buffered(&self) -> usize {
        self.feed().bytes.capacity()
    }

    /// The number of bytes that were loaded.
    pub fn offset(&self) -> u64 {
        match &self.reading {
            Reading::Head(_) => 0,
            Reading::Body(loader) => loader.offset(),
        }
    }

    /// The results so far.
    pub fn report(&self) -> Option<&Report> {
        match &self.reading {
            Reading::Head(_) => None,
            Reading::Body(loader) => Some(loader.report()),
        }
    }

    /// Loads about `budget_bytes` of what has been received. [`Step::More`]: there is more to load or to receive. After
    /// an error, the part already loaded stays in the keyspace.
    pub fn load_some(&mut self, keyspace: &mut Keyspace, budget_bytes: u64) -> Result<Step, RdbError> {
        if !self.can_load() {
            return Ok(if self.is_done { Step::Done } else { Step::More });
        }
        if let Reading::Head(feed) = &mut self.reading {
            let len = self.len.unwrap_or(ASSUMED_LEN);
            self.reading = Reading::Body(Box::new(Loader::new(std::mem::take(feed), len, self.options)?));
        }
        let loadable = self.loadable();
        let Reading::Body(loader) = &mut self.reading else { unreachable!("the signature has been read") };
        // At the last whole element of a closed file, reading on reports that the file ends too early.
        let most = if loader.input_mut().is_closed { loadable.max(1) } else { loadable };
        let step = loader.load_some(keyspace, budget_bytes.min(most))?;
        self.is_done = step == Step::Done;
        Ok(step)
    }

    /// Frees what was received and is not in the keyspace yet, in the background if it is large. Called
    /// when loading ends before the file does.
    pub fn abandon(self, keyspace: &mut Keyspace) {
        if let Reading::Body(mut loader) = self.reading {
            loader.abandon(keyspace);
        }
    }
}
