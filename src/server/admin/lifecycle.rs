//! Commands of the process: `SHUTDOWN`, `TIME` and `LOLWUT`.

use crate::command::error::{Error, Result, SYNTAX};
use crate::command::waiting::{Blocked, Parking};
use crate::command::{Args, REDIS_VERSION};
use crate::config::ShutdownOptions;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::process::LOGO;
use crate::server::stopping::{FAILED, Progress};
use crate::sys::clock;

impl Server {
    /// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]`: no reply on success; the connections are closed. Waits for
    /// replicas that lack data.
    pub(super) fn shutdown(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
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
            if !self.abort_shutdown() {
                return Err(Error::new("ERR No shutdown in progress."));
            }
            caller.reply(&mut self.net).ok();
            return Ok(());
        }
        if !options.contains(ShutdownOptions::NOW) && !caller.origin.may_wait() {
            return Err(Error::new(
                "ERR SHUTDOWN without NOW or ABORT isn't allowed for DENY BLOCKING client",
            ));
        }
        // The unfinished writes of a script must not be saved.
        if let Some(kind) = self.busy_kind()
            && !options.contains(ShutdownOptions::NOSAVE)
        {
            return Err(kind.busy());
        }
        match self.begin_shutdown(options) {
            Progress::Exits => caller.session(&mut self.net).flags.close_after_reply = true,
            Progress::Waits => {
                self.wait_for_shutdown(caller.client()?);
                self.core.wait = Some(Box::new(Parking::Shutdown));
                caller.session(&mut self.net).blocked = Some(Blocked::Shutdown);
            }
            Progress::Failed => return Err(FAILED),
        }
        Ok(())
    }

    /// `TIME`: Unix seconds and the microseconds beyond them.
    pub(super) fn time(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let now_us = if caller.origin.is_script() { self.script_time_us() } else { clock::wall_us() };
        let mut reply = caller.reply(&mut self.net);
        reply.array(2);
        reply.bulk_integer((now_us / 1_000_000) as i64);
        reply.bulk_integer((now_us % 1_000_000) as i64);
        Ok(())
    }

    /// The running script's time, which stands still until it is suspended.
    fn script_time_us(&mut self) -> u64 {
        let ran_us = self.core.stats.tick_rate().since(self.scripts.began) / 1000;
        *self.scripts.now_us.get_or_insert_with(|| clock::wall_us() - ran_us)
    }

    /// `LOLWUT [VERSION n] …`: a small picture, and the version.
    pub(super) fn lolwut(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if args.len() > 2 && args.is(1, "version") && crate::command::args::integer(args.get(2)).is_err() {
            return Err(crate::command::error::NOT_AN_INTEGER);
        }
        let text =
            format!("{LOGO}\nRedis ver. {REDIS_VERSION}, Redstart ver. {}\n", env!("CARGO_PKG_VERSION"));
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }
}
