//! `MONITOR`: a line about every executed command, for each monitor.
//!
//! Lines are the same for all monitors, so they are written once, into a feed. At the end of the iteration the feed
//! becomes a segment of each monitor in the shared output: a monitor that does not read fills its own queue, whose
//! limit is that of normal clients, and delays no other client. Replies to a monitor's own commands belong between the
//! lines: the feed is delivered before and after each command that a monitor sends, and when a monitor is added or
//! removed.
//!
//! Without a monitor there is no feed and none of this runs: [`crate::server::Server::execute`] tests one flag.

use std::fmt;
use std::io::Write;

use crate::sys::clock;
use crate::sys::poller::Token;
use crate::text::words;

/// A feed that has grown beyond this in one iteration is shrunk.
const KEEP: usize = 1024 * 1024;

/// The monitors and their feed.
#[derive(Default)]
pub struct Monitors {
    watching: Vec<Token>,
    feed: Vec<u8>,
}

impl Monitors {
    /// Whether there are no monitors.
    pub fn is_empty(&self) -> bool {
        self.watching.is_empty()
    }

    /// Adds a monitor.
    pub fn add(&mut self, token: Token) {
        self.watching.push(token);
    }

    /// Removes a monitor.
    pub fn remove(&mut self, token: Token) {
        self.watching.retain(|watching| *watching != token);
    }

    /// Frees unused capacity beyond `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        self.feed.shrink_to(keep);
    }

    /// Appends the line of a command to the feed: the database, the address of its client, and its arguments.
    pub fn show<'a>(&mut self, db: usize, peer: fmt::Arguments<'_>, words: impl Iterator<Item = &'a [u8]>) {
        let now = clock::wall_us();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        // Writing to a Vec cannot fail.
        let _ = write!(self.feed, "+{seconds}.{micros:06} [{db} {peer}]");
        for word in words {
            self.feed.push(b' ');
            words::push_quoted(&mut self.feed, word);
        }
        self.feed.extend_from_slice(b"\r\n");
    }

    /// Passes the feed and the monitors to `send`, unless the feed is empty, and starts a new feed.
    pub fn deliver(&mut self, send: impl FnOnce(&[u8], &[Token])) {
        if !self.feed.is_empty() {
            send(&self.feed, &self.watching);
            self.feed.clear();
            self.feed.shrink_to(KEEP);
        }
    }
}
