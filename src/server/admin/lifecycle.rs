//! The server as a running process: its end (`SHUTDOWN`), its clock (`TIME`), and what it is (`ROLE`, `LOLWUT`).

use crate::command::error::{Error, Result, SYNTAX};
use crate::command::{Args, REDIS_VERSION};
use crate::config::ShutdownOptions;
use crate::resp::Reply;
use crate::server::Server;
use crate::server::process::LOGO;
use crate::sys::clock;
use crate::sys::poller::Token;

impl Server {
    /// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`: no reply when it works; the connections just end.
    pub(super) fn shutdown(&mut self, token: Token, args: Args<'_>) -> Result {
        let (mut options, mut abort) = (ShutdownOptions::default(), false);
        for word in args.iter_from(1) {
            match word.to_ascii_lowercase().as_slice() {
                b"nosave" => options = options.with(ShutdownOptions::NOSAVE),
                b"save" => options = options.with(ShutdownOptions::SAVE),
                b"now" => options = options.with(ShutdownOptions::NOW),
                b"force" => options = options.with(ShutdownOptions::FORCE),
                b"abort" => abort = true,
                _ => return Err(SYNTAX),
            }
        }
        let both = options.contains(ShutdownOptions::SAVE) && options.contains(ShutdownOptions::NOSAVE);
        if both || (abort && options != ShutdownOptions::default()) {
            return Err(SYNTAX);
        }
        if abort {
            return Err(Error::new("ERR No shutdown in progress."));
        }
        // With the work of a script half done, there is nothing to be saved.
        if let Some(kind) = self.busy_kind()
            && !options.contains(ShutdownOptions::NOSAVE)
        {
            return Err(kind.busy());
        }
        if self.prepare_shutdown(options).is_err() {
            return Err(Error::new("ERR Errors trying to SHUTDOWN. Check logs."));
        }
        self.net.session(token).flags.close_after_reply = true;
        self.process.exit = true;
        Ok(())
    }

    /// `TIME`: Unix seconds and the microseconds beyond them.
    pub(super) fn time(&mut self, token: Token) -> Result {
        reply_time(clock::wall_us(), &mut self.net.reply_to(token));
        Ok(())
    }

    /// `ROLE`: a primary, its replication offset, and its replicas, of which there are none.
    pub(super) fn role(&mut self, token: Token) -> Result {
        let mut reply = self.net.reply_to(token);
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(0);
        reply.array(0);
        Ok(())
    }

    /// `LOLWUT [VERSION n] …`: a small picture, and the version.
    pub(super) fn lolwut(&mut self, token: Token, args: Args<'_>) -> Result {
        if args.len() > 2 && args.is(1, "version") && crate::command::args::integer(args.get(2)).is_err() {
            return Err(crate::command::error::NOT_AN_INTEGER);
        }
        let text =
            format!("{LOGO}\nRedis ver. {REDIS_VERSION}, Redstart ver. {}\n", env!("CARGO_PKG_VERSION"));
        self.net.reply_to(token).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }
}

/// Unix seconds and the microseconds beyond them.
pub fn reply_time(now_us: u64, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    reply.bulk((now_us % 1_000_000).to_string().as_bytes());
}
