//! Replays the commands of a log. [`Server::invoke`] executes them like requests, for a session without a connection.
//!
//! The commands of a transaction are kept until its `EXEC`, so an incomplete transaction at the end of a log changes
//! nothing.
//!
//! Redis 6 and earlier versions logged calls of scripts instead of their writes. So `EVALSHA`, `SCRIPT LOAD` and
//! `SCRIPT FLUSH` are executed, too, and no script is evicted from the cache during loading. A script's `PUBLISH` has no
//! receivers: the message was delivered when the script first ran. Other commands that change no data are skipped.

use std::path::Path;

use super::{LoadFailed, Loading, shown};
use crate::command::error::DB_OUT_OF_RANGE;
use crate::command::table::loadable;
use crate::command::{Args, Command, CommandNames, Error, Handler, Origin, Places, ServerCommand as C};
use crate::config::PropagationError;
use crate::persist::aof::{ReadError, Reader};
use crate::server::invoke::Caller;
use crate::server::net::batch::{BATCH, Request};
use crate::server::{Server, lookup};
use crate::text::words;

/// The reply buffer is freed if a reply exceeds this size.
const KEEP_REPLY: usize = 64 * 1024;

/// The number of failed commands of the AOF that are logged individually.
const FAILURES_SHOWN: u64 = 100;

/// Why the replay of a log fails.
pub(super) enum ReadOrRun {
    /// The log cannot be read.
    Read(ReadError),
    /// A command cannot be executed, so those after it must not be either.
    Run(LoadFailed),
}

/// Commands of the log that were skipped, since they change no data.
pub(super) struct Skipped {
    count: u64,
    /// The first one, and its place.
    name: &'static str,
    offset: u64,
    file: String,
}

impl Skipped {
    fn new(first: &Command, (path, offset): (&Path, u64)) -> Skipped {
        Skipped { count: 0, name: first.full_name, offset, file: shown(path).to_string() }
    }
}

/// Whether a command of an AOF or of a primary's stream may change data: commands on the keyspace or on functions, and
/// those that run scripts.
pub(in crate::server) fn changes_data(command: &Command) -> bool {
    match command.handler {
        Handler::Keyspace(_) => true,
        Handler::Server(which) => matches!(
            which,
            C::FunctionLoad
                | C::FunctionDelete
                | C::FunctionFlush
                | C::FunctionRestore
                | C::Eval
                | C::EvalRo
                | C::Evalsha
                | C::EvalshaRo
                | C::ScriptLoad
                | C::ScriptFlush
                | C::Fcall
                | C::FcallRo
        ),
        Handler::Help | Handler::Container => false,
    }
}

impl Loading {
    /// Takes an annotation of the log.
    fn note(&mut self, line: &[u8]) {
        self.tally.note(line);
        self.end_unit();
    }

    /// Takes the length of a command that was executed, or kept for its transaction.
    fn count(&mut self, bytes: u64) {
        self.tally.count(bytes);
        self.end_unit();
    }

    fn end_unit(&mut self) {
        if self.transaction.is_none() {
            self.tally.end_unit();
        }
    }
}

impl Server {
    /// Executes the next commands of a log. Returns whether the log is at its end.
    pub(super) fn load_batch(
        &mut self,
        loading: &mut Loading,
        path: &Path,
        reader: &mut Reader,
    ) -> Result<bool, ReadOrRun> {
        let read = reader.next_batch(BATCH).map_err(ReadOrRun::Read)?;
        if read.is_empty() {
            return Ok(true);
        }
        let (window, blocks) = (read.window(), read.blocks());
        let mut batch = std::mem::take(&mut loading.batch);
        batch.clear();
        let db = loading.session.db;
        for index in 0..read.len() {
            let first = batch.spans.len();
            batch.spans.extend_from_slice(read.spans(index));
            // Logs contain the commands' own names: see `Core::propagate_call`.
            let names = CommandNames::default();
            let prefetch = |hash| self.core.keyspace.db(db).prefetch_bucket(hash);
            lookup::push(&mut batch, first, window, blocks, names, self.core.keyspace.hasher(), prefetch);
        }
        lookup::prefetch(&batch.requests, &batch.spans, &self.core.keyspace, db, window, blocks);
        loading.done += read.len() as u64;
        let mut notes = read.notes().iter().peekable();
        for index in 0..batch.requests.len() {
            while let Some((_, line)) = notes.next_if(|(before, _)| *before <= index) {
                loading.note(line);
            }
            let request = batch.requests[index];
            let places = Places { window, spans: request.spans(&batch.spans), blocks };
            let args = places.args();
            let name = args.get(0);
            if name.eq_ignore_ascii_case(b"multi") {
                loading.transaction = Some(Vec::new());
            } else if name.eq_ignore_ascii_case(b"exec") {
                for (offset, rest) in loading.transaction.take().unwrap_or_default() {
                    if let Some((request, places)) = rest.current() {
                        let place = (path, offset);
                        self.run_loaded(loading, place, request, places.args()).map_err(ReadOrRun::Run)?;
                    }
                }
                self.settle_loaded(loading);
            } else if let Some(transaction) = &mut loading.transaction {
                transaction.push((read.start(index), batch.rest(index..index + 1, window, blocks)));
            } else {
                let place = (path, read.start(index));
                self.run_loaded(loading, place, &request, args).map_err(ReadOrRun::Run)?;
                self.settle_loaded(loading);
            }
            loading.count(read.end(index) - read.start(index));
        }
        notes.for_each(|(_, line)| loading.note(line));
        loading.batch = batch;
        Ok(false)
    }

    /// Executes a command of the AOF. `place` is its file and offset.
    ///
    /// # Errors
    /// Fails if loading must stop here.
    fn run_loaded(
        &mut self,
        loading: &mut Loading,
        place: (&Path, u64),
        request: &Request,
        args: Args<'_>,
    ) -> Result<(), LoadFailed> {
        let file = shown(place.0);
        let fail = |why: &str| {
            let called = args.get(0).escape_ascii();
            let (path, offset) = (words::shell(place.0.as_os_str().as_encoded_bytes()), place.1);
            Err(format!(
                "{why} '{called}' reading the append only file {file} at offset {offset}: the file is damaged, or of a \
                 server with modules. Make a backup of your AOF file, then correct the command, or cut it off with all that \
                 follows: truncate -s {offset} {path}"
            )
            .into())
        };
        // Redis logs the name that the client used, which `rename-command` may have given the command.
        let (found, hash) = if request.command.is_ok() {
            (request.command, request.hash)
        } else {
            let found = self.core.names.find(&args);
            (found, found.map_or(0, |command| command.keys.hash_first(args, self.core.keyspace.hasher())))
        };
        let command = match loadable(found, args.len()) {
            Ok(command) => command,
            Err(why) => return fail(why),
        };
        if !changes_data(command) {
            loading.skipped.get_or_insert_with(|| Skipped::new(command, place)).count += 1;
            return Ok(());
        }
        if loading.replies.len() > KEEP_REPLY {
            loading.replies = Vec::new();
        }
        loading.replies.clear();
        let (session, reply) = (&mut loading.session, &mut loading.replies);
        match self.invoke(&mut Caller::apart(command, Origin::Log, None, session, reply), hash, args) {
            Ok(()) => Ok(()),
            // Continuing would write to the wrong database, or lose data.
            Err(error) if error == DB_OUT_OF_RANGE => Err(format!(
                "FATAL: The append only file {file} is of a server configured to handle more than {} databases",
                self.core.keyspace.count()
            )
            .into()),
            Err(error) => {
                self.note_failed_command(loading, place, command, &error);
                if self.core.config.propagation_error_behavior == PropagationError::Panic {
                    return Err(LoadFailed::from(format!(
                        "This server panicked sending an error to its AOF-loading-client after processing the command '{}'",
                        command.full_name
                    )));
                }
                Ok(())
            }
        }
    }

    /// Settles a unit of the AOF. Transactions that watch a key changed by it will fail, and clients blocked on such a
    /// key are served after loading. Other listeners ignore loaded changes, so they are removed from the journal.
    ///
    /// `DEBUG LOADAOF` runs inside a unit of its own, whose earlier changes stay in the journal.
    fn settle_loaded(&mut self, loading: &Loading) {
        if self.core.keyspace.journal.changes_len() > loading.changes_before {
            self.audience.waiters.observe(&self.core.keyspace.journal);
            self.notify_watchers();
            self.core.keyspace.journal.forget_changes_from(loading.changes_before);
        }
    }

    /// Counts and logs a command of the AOF that failed. It succeeded when it was first executed, so the data set now
    /// differs from the one that was logged.
    #[cold]
    fn note_failed_command(
        &mut self,
        loading: &mut Loading,
        (path, offset): (&Path, u64),
        command: &'static Command,
        error: &Error,
    ) {
        self.core.stats.unexpected_error_replies += 1;
        loading.failed += 1;
        if loading.failed <= FAILURES_SHOWN {
            self.process.log.warning(format_args!(
                "== CRITICAL == This server is sending an error to its AOF-loading-client: '-{}' after processing the \
                 command '{}' at offset {offset} of the file {}",
                String::from_utf8_lossy(error.text()),
                command.full_name,
                shown(path)
            ));
        }
    }

    /// Logs how many commands of the AOF have failed, and how many were skipped, if any.
    pub(super) fn note_failures(&self, loading: &Loading) {
        if let Some(Skipped { count, name, offset, file }) = &loading.skipped {
            self.process.log.notice(format_args!(
                "{count} commands of the append only file that change no data were skipped, the first one '{name}' at \
                 offset {offset} of the file {file}"
            ));
        }
        if loading.failed > 0 {
            self.process.log.warning(format_args!(
                "{} commands of the append only file failed while it was loaded: the data set lacks their changes. \
                 Copy the file before the next rewrite.",
                loading.failed
            ));
        }
    }
}
