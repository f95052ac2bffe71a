//! `MONITOR`: every command that is executed, as a line for whoever watches.
//!
//! Lines are the same for all monitors, so they are written once, into a feed, and at the end of the iteration the feed
//! becomes a segment of each monitor in the shared output: a monitor that does not read costs its own queue, whose
//! limit is that of normal clients, and holds nobody up. What a monitor is answered itself has its place between the
//! lines: the feed is delivered before and after each command that a monitor sends, and when one comes or goes.
//!
//! Without a monitor there is no feed and nothing of this runs: [`Server::execute`] tests one flag.

use std::io::Write;

use crate::command::{Args, Command, flags};
use crate::server::Server;
use crate::server::core::redact;
use crate::sys::clock;
use crate::sys::net::Address;
use crate::sys::poller::Token;
use crate::text::words;

/// A feed that one iteration made large is given back.
const KEEP: usize = 1024 * 1024;

/// Who watches, and what they have to be told.
#[derive(Default)]
pub struct Monitors {
    watching: Vec<Token>,
    feed: Vec<u8>,
}

impl Monitors {
    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.watching.is_empty()
    }
}

impl Server {
    /// From now on `token` is shown what is executed.
    pub(in crate::server) fn start_monitoring(&mut self, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.session.flags.monitor = true;
        self.audience.monitors.watching.push(token);
        self.refresh_attention();
    }

    /// The client is no monitor any more.
    pub(in crate::server) fn stop_monitoring(&mut self, token: Token) {
        self.audience.monitors.watching.retain(|watching| *watching != token);
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.flags.monitor = false;
        }
        self.refresh_attention();
    }

    /// Adds the line of a command that has been executed. Those of administrators are not shown.
    pub(in crate::server) fn show_to_monitors(
        &mut self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
    ) {
        if self.audience.monitors.is_empty() || command.flags & (flags::ADMIN | flags::SKIP_MONITOR) != 0 {
            return;
        }
        let Some(client) = self.net.clients.get(token) else { return };
        let now = clock::wall_us();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        let db = client.session.db;
        let feed = &mut self.audience.monitors.feed;
        // Writing to a Vec cannot fail.
        let _ = match client.socket.peer() {
            Address::Unix(path) => write!(feed, "+{seconds}.{micros:06} [{db} unix:{path}]"),
            peer => write!(feed, "+{seconds}.{micros:06} [{db} {peer}]"),
        };
        for index in 0..args.len() {
            let arg =
                if redact::is_secret(command, args, index) { redact::REDACTED } else { args.get(index) };
            feed.push(b' ');
            words::push_quoted(feed, arg);
        }
        feed.extend_from_slice(b"\r\n");
    }

    /// Puts what was fed into the output of every monitor, but of those that want no replies or get no more.
    pub(in crate::server) fn deliver_feed(&mut self) {
        let Monitors { watching, feed } = &mut self.audience.monitors;
        let clients = &self.net.clients;
        if feed.is_empty() {
            return;
        }
        let listens = |token: &Token| {
            clients.get(*token).is_some_and(|client| {
                let flags = client.session.flags;
                !client.session.is_closing() && !flags.reply_off && !flags.reply_skip
            })
        };
        self.net.output.share(feed, watching.iter().copied().filter(listens));
        feed.clear();
        feed.shrink_to(KEEP);
    }
}
