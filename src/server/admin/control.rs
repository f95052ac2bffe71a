//! `CLIENT PAUSE`, `UNPAUSE` and `UNBLOCK`: whose requests wait; `GETREDIR`, `TRACKINGINFO` and `CACHING` of clients that
//! are told of no changed keys.

use crate::command::Args;
use crate::command::context::{NOT_AN_INTEGER, integer};
use crate::server::Server;
use crate::server::audience::pause::PauseMode;
use crate::sys::poller::Token;
use crate::text::number;

impl Server {
    /// `CLIENT PAUSE timeout [WRITE | ALL]`: nothing, or nothing that writes, is executed for so many milliseconds. A
    /// pause that runs grows longer or stricter, never the other way. O(1).
    pub(super) fn client_pause(&mut self, token: Token, args: Args<'_>) {
        let mode = match args.len() {
            3 => PauseMode::All,
            4 if args.is(3, "write") => PauseMode::Write,
            4 if args.is(3, "all") => PauseMode::All,
            4 => return self.reply_to(token).error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
            _ => return self.reply_usage(token, args),
        };
        let Some(timeout) = number::parse_i64(args.get(2)) else {
            return self.reply_to(token).error("ERR timeout is not an integer or out of range");
        };
        let Ok(milliseconds) = u64::try_from(timeout) else {
            return self.reply_to(token).error("ERR timeout is negative");
        };
        if timeout.checked_add(self.core.keyspace.moment.unix_ms).is_none() {
            return self.reply_to(token).error("ERR timeout is out of range");
        }
        self.pause_clients(mode, milliseconds);
        self.reply_to(token).ok();
    }

    /// `CLIENT UNPAUSE`: `OK`; who waited goes on. O(N) in the number of those.
    pub(super) fn client_unpause(&mut self, token: Token) {
        self.end_pause();
        self.reply_to(token).ok();
    }

    /// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`: 1 if that client was blocked and is no more, else 0. A pause does not count:
    /// who waits for its end stays. No command blocks its client for any other reason so far. O(1).
    pub(super) fn client_unblock(&mut self, token: Token, args: Args<'_>) {
        match args.len() {
            3 => {}
            4 if args.is(3, "timeout") || args.is(3, "error") => {}
            4 => return self.reply_to(token).error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
            _ => return self.reply_usage(token, args),
        }
        match integer(args.get(2)) {
            Ok(_) => self.reply_to(token).integer(0),
            Err(_) => self.reply_to(token).error(NOT_AN_INTEGER),
        }
    }

    /// `CLIENT GETREDIR`: -1, tracking is off. O(1).
    pub(super) fn client_getredir(&mut self, token: Token) {
        self.reply_to(token).integer(-1);
    }

    /// `CLIENT TRACKINGINFO`: a map that says that tracking is off. O(1).
    pub(super) fn client_trackinginfo(&mut self, token: Token) {
        let mut reply = self.reply_to(token);
        reply.map(3);
        reply.bulk(b"flags");
        reply.set(1);
        reply.bulk(b"off");
        reply.bulk(b"redirect");
        reply.integer(-1);
        reply.bulk(b"prefixes");
        reply.array(0);
    }

    /// `CLIENT CACHING YES | NO`: an error, tracking is off. O(1).
    pub(super) fn client_caching(&mut self, token: Token) {
        self.reply_to(token).error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        );
    }
}
