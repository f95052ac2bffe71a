//! `CLIENT PAUSE`, `UNPAUSE` and `UNBLOCK`: commands that make clients wait or end their waits.

use crate::command::Args;
use crate::command::args::integer;
use crate::command::error::NOT_AN_INTEGER;
use crate::command::error::{Error, Result};
use crate::server::Server;
use crate::server::audience::pause::PauseMode;
use crate::server::invoke::Caller;
use crate::text::number;

impl Server {
    /// `CLIENT PAUSE timeout [WRITE | ALL]`: executes no commands, or no writes, for `timeout` milliseconds. A second
    /// pause can only make the current one longer or stricter. O(1).
    pub(super) fn client_pause(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let mode = match args.len() {
            3 => PauseMode::All,
            4 if args.is(3, "write") => PauseMode::Write,
            4 if args.is(3, "all") => PauseMode::All,
            4 => return Err(Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
            _ => return Err(super::usage(args)),
        };
        let Some(timeout) = number::parse_i64(args.get(2)) else {
            return Err(Error::new("ERR timeout is not an integer or out of range"));
        };
        let Ok(milliseconds) = u64::try_from(timeout) else {
            return Err(Error::new("ERR timeout is negative"));
        };
        if timeout.checked_add(self.core.keyspace.moment.unix_ms).is_none() {
            return Err(Error::new("ERR timeout is out of range"));
        }
        self.pause_clients(mode, milliseconds);
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT UNPAUSE`: `OK`; the waiting clients continue. O(N) in their number.
    pub(super) fn client_unpause(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.end_pause();
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`: 1 if that client was blocked, else 0. A client that waits for the end of
    /// a pause does not count as blocked. O(N) in the number of clients.
    pub(super) fn client_unblock(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let error = Error::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        let error = match args.len() {
            3 => None,
            4 if args.is(3, "timeout") => None,
            4 if args.is(3, "error") => Some(error),
            4 => return Err(Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
            _ => return Err(super::usage(args)),
        };
        let Ok(id) = integer(args.get(2)) else { return Err(NOT_AN_INTEGER) };
        let blocked = self.net.clients.iter().find(|(_, client)| client.session.id as i64 == id);
        let unblocked = match blocked.map(|(blocked, _)| blocked) {
            Some(blocked) => self.end_wait(blocked, error),
            None => false,
        };
        caller.reply(&mut self.net).integer(i64::from(unblocked));
        Ok(())
    }
}
