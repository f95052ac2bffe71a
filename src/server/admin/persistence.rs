//! `SAVE`, `BGSAVE`, `BGREWRITEAOF`, `LASTSAVE`, and the subcommands of `DEBUG` that load what was saved.

use crate::command::Args;
use crate::command::error::{Error, Result, SYNTAX};
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::persistence::job::Work;
use crate::server::persistence::log::State;

/// The error of a command that has logged the reason.
const FAILED: Error = Error::new("ERR");

impl Server {
    /// `SAVE`: replies when the data is on disk; all clients wait.
    pub(super) fn save(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if self.persistence.is_at(Work::Snapshot) {
            return Err(Error::new("ERR Background save already in progress"));
        }
        self.persistence.snapshots.saves += 1;
        self.save_snapshot().map_err(|()| FAILED)?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `BGSAVE [SCHEDULE]`: a child writes the snapshot.
    pub(super) fn bgsave(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let schedule = match args.len() {
            1 => false,
            2 if args.is(1, "schedule") => true,
            _ => return Err(SYNTAX),
        };
        if self.persistence.is_at(Work::Snapshot) {
            return Err(Error::new("ERR Background save already in progress"));
        }
        // A snapshot contains a transaction completely or not at all.
        let in_transaction = caller.session(&mut self.net).flags.transaction;
        if in_transaction || self.persistence.job.is_some() {
            if !schedule && !in_transaction {
                return Err(Error::new(
                    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
                     schedule a BGSAVE whenever possible.",
                ));
            }
            self.persistence.snapshots.scheduled = true;
            caller.reply(&mut self.net).simple("Background saving scheduled");
            return Ok(());
        }
        self.begin_snapshot().map_err(|()| FAILED)?;
        caller.reply(&mut self.net).simple("Background saving started");
        Ok(())
    }

    /// `BGREWRITEAOF`: a child writes a new base of the AOF.
    pub(super) fn bgrewriteaof(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        if self.persistence.is_at(Work::Rewrite) {
            return Err(Error::new("ERR Background append only file rewriting already in progress"));
        }
        let in_transaction = caller.session(&mut self.net).flags.transaction;
        let text = if in_transaction || self.persistence.job.is_some() {
            self.persistence.rewrites.scheduled = true;
            // An explicit request is not delayed by earlier failures.
            self.persistence.rewrites.failures = 0;
            "Background append only file rewriting scheduled"
        } else if self.begin_rewrite().is_ok() {
            "Background append only file rewriting started"
        } else {
            return Err(Error::new(
                "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.",
            ));
        };
        caller.reply(&mut self.net).simple(text);
        Ok(())
    }

    /// `LASTSAVE`: the time of the last save, in Unix seconds; the start of the server if there was none.
    pub(super) fn last_save(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let seconds = self.persistence.snapshots.last_save;
        caller.reply(&mut self.net).integer(seconds);
        Ok(())
    }

    /// `DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE]`: saves the data, drops it and loads it again while all clients wait.
    pub(super) fn debug_reload(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let (mut merge, mut flush, mut save) = (false, true, true);
        for word in args.iter_from(2) {
            match word.to_ascii_lowercase().as_slice() {
                b"merge" => merge = true,
                b"noflush" => flush = false,
                b"nosave" => save = false,
                _ => {
                    return Err(Error::new(
                        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                    ));
                }
            }
        }
        self.refuse_while_loading()?;
        if save {
            if self.persistence.is_at(Work::Snapshot) {
                // An older snapshot must not replace this one before it is loaded.
                self.end_job();
            }
            self.save_snapshot().map_err(|()| FAILED)?;
        }
        if flush {
            self.drop_data();
        }
        if !self.reload_snapshot(merge) {
            return Err(Error::new("ERR Error trying to load the RDB dump, check server logs."));
        }
        self.core.keyspace.counters.dirty = 0;
        self.process.log.notice(format_args!("DB reloaded by DEBUG RELOAD"));
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `DEBUG LOADAOF`: drops the data and loads it from the AOF. Refused while the AOF is being enabled: the files are
    /// those of an earlier AOF, and the new one continues the data that would be dropped.
    pub(super) fn debug_loadaof(&mut self, caller: &mut Caller<'_>) -> Result {
        self.refuse_while_loading()?;
        if self.persistence.log.state() == State::Beginning {
            return Err(Error::new("ERR The AOF is being enabled, try again when its rewrite has finished"));
        }
        self.write_whole_log();
        self.drop_data();
        if !self.reload_log() {
            return Err(Error::new("ERR Error trying to load the AOF files, check server logs."));
        }
        self.core.keyspace.counters.dirty = 0;
        self.process.log.notice(format_args!("Append Only File loaded by DEBUG LOADAOF"));
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    fn refuse_while_loading(&self) -> Result {
        if self.loading.is_active() {
            return Err(Error::new("LOADING Redis is loading the dataset in memory"));
        }
        Ok(())
    }

    /// Drops all data without logging it to the AOF.
    pub(in crate::server) fn drop_data(&mut self) {
        for db in 0..self.core.keyspace.count() {
            self.core.keyspace.flush(db, true);
        }
        self.core.keyspace.own_expiries.forget();
        self.libraries.clear();
    }
}
