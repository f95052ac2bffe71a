//! Scripts, where they meet clients and commands: how a script starts, its calls, and its reply.
//!
//! ```text
//!   EVAL ─▶ may it run? ─▶ machine.run ─┬─▶ redis.call ─▶ may it be called? ─▶ dispatch ─▶ journal ─▶ the reply as a value
//!                             ▲         │                                                                  │
//!                             └─────────│──────────────────────────────────────────────────────────────────┘
//!                                       ├─▶ returned, failed ─▶ reply
//!                                       └─▶ takes long ─▶ super::busy
//! ```
//!
//! A script is part of the unit of the request that started it. Listeners are notified of its calls in order; the calls
//! are propagated as one transaction and settled when the script has ended. It has its own session, so `SELECT` and
//! `redis.setresp` end with it. The clock is frozen: no key expires while a script runs, and `TIME` returns the same
//! time until the script is suspended.

use std::cell::Cell;

use std::rc::Rc;

use super::Server;
use super::core::memory_limit;
use super::durability::MASTERDOWN;
use super::invoke::Caller;
use super::rights::is_permitted;
use super::scripts::redis::{self, REPL_ALL};
use super::scripts::run::{End, Host, Kind, Room, Run};
use super::scripts::shebang::Flags;
use super::scripts::values::Reading;
use super::scripts::{api, reply};
use crate::command::error::{Error, Result};
use crate::command::{Args, Command, Handler, Origin, ServerCommand, Session, flags};
use crate::config::LogLevel;
use crate::lua::{Call, OutOfMemory, Progress, Value};
use crate::sys::clock;
use crate::sys::poller::Token;

/// Instructions between two checks of the clock.
const INSTRUCTIONS: usize = 100_000;

/// If a script has freed more memory than this, it is returned to the kernel when the script ends.
const LARGE_HEAP_BYTES: usize = 16 << 20;

/// The index of the first key argument.
const FIRST_KEY: usize = 3;

/// A script to be started.
pub(super) struct Begin {
    pub kind: Kind,
    pub host: Host,
    pub function: Value,
    /// Its digest, or the name of the function.
    pub name: Rc<[u8]>,
    /// The flags that it declares.
    pub flags: Option<Flags>,
    /// The number of arguments that are keys.
    pub keys: usize,
}

/// The number of keys in a call: `EVAL script numkeys [key …] [arg …]`, and likewise in related commands.
pub(super) fn number_of_keys(args: Args<'_>) -> Result<usize> {
    let count = crate::command::args::integer(args.get(2))?;
    let Ok(count) = usize::try_from(count) else {
        return Err(Error::new("ERR Number of keys can't be negative"));
    };
    if count > args.len() - FIRST_KEY {
        return Err(Error::new("ERR Number of keys can't be greater than number of args"));
    }
    Ok(count)
}

impl Server {
    /// The flags of a call that runs a script: those that the script declares, if any.
    pub(super) fn flags_of_script(&self, command: &Command, args: Args<'_>) -> u64 {
        use ServerCommand as C;
        let said = match command.handler {
            _ if args.len() < FIRST_KEY => None,
            Handler::Server(C::Fcall | C::FcallRo) => {
                self.libraries.function(args.get(1)).map(|function| function.flags)
            }
            Handler::Server(C::Evalsha | C::EvalshaRo) => self.scripts.cache.flags_of(args.get(1), true, 0),
            _ => {
                let hash = self.core.keyspace.hasher().seed().hash(args.get(1));
                self.scripts.cache.flags_of(args.get(1), false, hash)
            }
        };
        let Some(said) = said else { return command.flags };
        let writes = if said.has(Flags::NO_WRITES) { 0 } else { flags::WRITE };
        let grows = if said.allows_oom() { 0 } else { flags::DENYOOM };
        let serves_stale = if said.has(Flags::ALLOW_STALE) { flags::STALE } else { 0 };
        let declared = flags::WRITE | flags::MAY_REPLICATE | flags::DENYOOM | flags::STALE;
        command.flags & !declared | writes | grows | serves_stale
    }

    /// Returns the error if `caller` cannot start a script that declares the flags `said`.
    pub(super) fn refuse_script(&self, caller: &Caller<'_>, said: Option<Flags>) -> Option<Error> {
        let origin = caller.origin;
        if said.is_some_and(|said| said.has(Flags::NO_CLUSTER)) && self.cluster.is_some() {
            return Some(Error::new("ERR Can not run script on cluster, 'no-cluster' flag is set."));
        }
        // The table permits scripts on a stale replica, for those that declare that they may run there.
        if self.gate.replica_denial().stale
            && !origin.must_obey()
            && !said.is_some_and(|said| said.has(Flags::ALLOW_STALE))
        {
            return Some(MASTERDOWN);
        }
        let said = said?;
        if said.has(Flags::NO_WRITES) {
            return None;
        }
        if let Some(denial) = self.denial()
            && !origin.must_obey()
        {
            return Some(self.unwritable_script(denial));
        }
        if caller.command.has(flags::READONLY) {
            return Some(Error::new("ERR Can not execute a script with write flag using *_ro command."));
        }
        (self.lacks_memory(origin) && !said.allows_oom()).then(|| {
            Error::new(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
            )
        })
    }

    /// Whether commands of `origin` that use memory are refused, because `maxmemory` is exceeded and nothing can be
    /// evicted.
    fn lacks_memory(&self, origin: Origin) -> bool {
        !origin.must_obey() && self.core.limit.room() == memory_limit::Room::None
    }

    /// Executes a script for `caller` and writes its reply. A slow script is only started here. Without a client,
    /// executes a script of the AOF to its end, and returns its result.
    pub(super) fn run_script(&mut self, caller: &mut Caller<'_>, begin: Begin, args: Args<'_>) -> Result {
        let Begin { kind, mut host, function, name, flags, keys } = begin;
        let (command, client, origin) = (caller.command, caller.any_client(), caller.origin.of_script());
        let Ok(arguments) = set_arguments(&mut host, kind, args, keys) else {
            self.give_back(host);
            return Err(Error::new("ERR not enough memory for the arguments of the script"));
        };
        match kind {
            Kind::Script => {
                host.machine().reset_libraries();
                host.machine().begin(function, &[]);
            }
            Kind::Function => host.machine().begin(function, &arguments),
        }
        let session = session_within(caller.session(&mut self.net));
        let mut run = Box::new(Run {
            host,
            kind,
            name,
            client,
            origin,
            command,
            session,
            is_read_only: Run::is_read_only(flags, command),
            has_written: false,
            may_cross_slots: flags.is_none_or(Flags::allows_several_slots),
            slot: Cell::new(self.slot_of_script(command, args)),
            lacks_memory: self.lacks_memory(origin) && !flags.is_some_and(Flags::allows_oom),
            is_killed: false,
            kill_error: None,
            began: self.core.stopwatch.since(),
            slice: clock::ticks(),
            moment: self.core.keyspace.moment,
            reading: None,
            most_bytes: 0,
            room: self.scripts.spare.take().unwrap_or_default(),
        });
        (self.scripts.began, self.scripts.now_us) = (run.began, None);
        if self.debugging.is_on() {
            self.debug_script(run);
            return Ok(());
        }
        let until = match (client, self.core.config.busy_reply_threshold) {
            (None, _) | (_, 0) => None,
            (Some(_), ms) => Some(self.core.stats.tick_rate().to_ticks(ms.saturating_mul(1_000_000))),
        };
        let Some(end) = self.run_slice(&mut run, until) else {
            self.suspend_script(run);
            return Ok(());
        };
        let failure = match &end {
            End::Failed(failure) if client.is_none() => Some(run.describe(failure).0),
            _ => None,
        };
        self.end_script(run, &end);
        failure.map_or(Ok(()), |text| Err(text.into()))
    }

    /// Runs a script for `ticks` at most. Returns how it ended, unless it is unfinished.
    pub(super) fn run_slice(&mut self, run: &mut Run, ticks: Option<u64>) -> Option<End> {
        loop {
            if run.reading.is_some() {
                run.read_reply();
            } else if let Some(end) = self.step_script(run) {
                return Some(end);
            }
            run.most_bytes = run.most_bytes.max(run.host.machine().used_bytes());
            if ticks.is_some_and(|ticks| clock::ticks().wrapping_sub(run.slice) >= ticks) {
                return None;
            }
        }
    }

    /// Runs a script until the clock is next checked. Returns how it ended, unless it is unfinished.
    fn step_script(&mut self, run: &mut Run) -> Option<End> {
        match run.host.machine().run(INSTRUCTIONS) {
            Progress::Finished { .. } if run.kill_error.is_some() => {
                return run.kill_error.take().map(End::Killed);
            }
            Progress::Finished { results: 0 } => return Some(End::Returned(Value::Nil)),
            Progress::Finished { .. } => return Some(End::Returned(run.host.machine().result(0))),
            Progress::Failed(failure) => return Some(End::Failed(failure)),
            Progress::Paused => self.check_debugged_client(run),
            Progress::Stopped(stop) => self.stop_script(run, stop),
            Progress::Host { function, call } => self.serve_script(run, function, call),
        }
        None
    }

    /// Writes the reply of a script that has ended, counts the errors in it, and returns the machine for reuse.
    pub(super) fn end_script(&mut self, mut run: Box<Run>, end: &End) {
        self.core.stopwatch.resume(run.began);
        if std::mem::take(&mut self.scripts.withheld) != 0 {
            self.refresh_gate();
        }
        if let Some(token) = run.client
            && self.net.clients.get(token).is_some()
        {
            let errors = self.write_end(token, &mut run, end);
            let row = self.core.stats.command(run.command.id);
            row.failed += errors.counted_before + u64::from(!errors.codes.is_empty());
            for code in &errors.codes {
                self.core.stats.count_error(code);
            }
        }
        let Run { mut host, mut room, most_bytes, .. } = *run;
        let machine = host.machine();
        machine.abandon();
        // The script's other garbage was freed when it ended; this frees its result.
        if machine.wants_collection() {
            machine.collect();
        }
        host.count();
        if most_bytes.saturating_sub(host.machine().used_bytes()) > LARGE_HEAP_BYTES {
            self.core.keyspace.lazy_mut().trim();
        }
        self.give_back(host);
        room.clear();
        self.scripts.spare = Some(room);
    }

    fn write_end(&mut self, token: Token, run: &mut Run, end: &End) -> reply::Errors {
        let failure = match end {
            End::Returned(value) => {
                let start = self.net.output.mark(token);
                let typed = run.is_typed();
                let (machine, names) = run.host.parts();
                let mut to = self.net.reply_to(token);
                if let Ok(errors) = reply::write(*value, typed, &machine.heap, names, &mut to) {
                    return errors;
                }
                self.net.output.take_back(start);
                (b"ERR the reply of the script is too long".to_vec(), true)
            }
            End::Failed(failure) => run.describe(failure),
            End::Killed(reply) => {
                self.process.log.notice(format_args!("Lua script killed by user with SCRIPT KILL."));
                reply.clone()
            }
        };
        let (text, counts) = failure;
        self.net.reply_to(token).error(&text);
        let mut errors = reply::Errors::default();
        if counts {
            errors.codes.push(reply::code(&text).into());
        } else {
            errors.counted_before = 1;
        }
        errors
    }

    fn give_back(&mut self, host: Host) {
        match host {
            Host::Scripts(engine) => self.scripts.cache.give_back(engine),
            Host::Functions(registrar) => self.libraries.give_back(registrar),
        }
    }

    /// Executes a server function that the script has called.
    fn serve_script(&mut self, run: &mut Run, function: u32, call: Call) {
        let outcome = match function {
            redis::CALL => return self.call_from_script(run, call, true),
            redis::PCALL => return self.call_from_script(run, call, false),
            api::LOG => {
                let line = api::log_line(run.host.machine(), call);
                line.map(|(level, line)| {
                    self.log_line(level, &line);
                    None
                })
            }
            redis::SET_RESP => run.set_protocol(call).map(|()| None),
            redis::SET_REPL => run.propagation(call).map(|to| {
                self.scripts.withheld = REPL_ALL & !to;
                self.refresh_gate();
                None
            }),
            redis::BREAKPOINT => Ok(Some(Value::Boolean(self.breaks_next()))),
            redis::DEBUG => {
                self.print_from_script(run, call);
                Ok(None)
            }
            _ => {
                let known = run.room.words.fill(run.host.machine(), call).and_then(|()| {
                    let (places, rights) = (run.room.words.places(), run.session.rights);
                    let args = places.args();
                    let found = self.core.names.find(&args);
                    let command = found.map_err(|_| "ERR Invalid command passed to redis.acl_check_cmd()")?;
                    Ok(rights.unrestricted || is_permitted(rights, &mut self.core.users, command, args))
                });
                known.map(|permitted| Some(Value::Boolean(permitted)))
            }
        };
        if let (Err(text), Some(debugger)) = (&outcome, self.debugging.debugger()) {
            debugger.log_rejection(text.as_bytes());
        }
        run.provide(outcome);
    }

    fn log_line(&self, level: LogLevel, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let log = &self.process.log;
        match level {
            LogLevel::Debug => log.debug(format_args!("{line}")),
            LogLevel::Verbose => log.verbose(format_args!("{line}")),
            LogLevel::Notice => log.notice(format_args!("{line}")),
            LogLevel::Warning | LogLevel::Nothing => log.warning(format_args!("{line}")),
        }
    }

    /// `redis.call`, `redis.pcall`.
    fn call_from_script(&mut self, run: &mut Run, call: Call, raises: bool) {
        let mut room = std::mem::take(&mut run.room);
        let (error, counted) = match room.words.fill(run.host.machine(), call) {
            Ok(()) => match self.execute_from_script(run, &mut room) {
                Ok(()) => {
                    run.room = room;
                    run.reading = Some((Reading::default(), raises));
                    return run.read_reply();
                }
                Err(error) => (error, true),
            },
            Err(text) => {
                if let Some(debugger) = self.debugging.debugger() {
                    debugger.log_rejection(text.as_bytes());
                }
                (Error::new(text), false)
            }
        };
        room.clear();
        run.room = room;
        run.fail_call(error.text(), counted, raises);
    }

    /// Executes a command that a script calls, and stores its reply in `room`. Errors have been counted.
    pub(super) fn execute_from_script(&mut self, run: &mut Run, room: &mut Room) -> Result {
        let Room { words, reply } = room;
        let places = words.places();
        let args = places.args();
        if let Some(debugger) = self.debugging.debugger() {
            debugger.log_call((0..args.len()).map(|n| args.get(n)));
        }
        let command = match self.admit_from_script(run, args) {
            Ok(command) => command,
            Err(error) => {
                if let Some(debugger) = self.debugging.debugger() {
                    debugger.log_rejection(error.text());
                }
                return Err(error);
            }
        };
        run.has_written |= command.has(flags::WRITE);
        let hash = command.keys.hash_first(args, self.core.keyspace.hasher());
        self.core.stopwatch.start();
        reply.clear();
        let mut caller = Caller::apart(command, run.origin, run.client, &mut run.session, reply);
        let outcome = self.invoke(&mut caller, hash, args);
        if let Some(token) = run.client {
            self.notify_within_unit(token, true);
        }
        if let Some(debugger) = self.debugging.debugger() {
            debugger.log_outcome(&outcome, reply);
        }
        outcome
    }
}

/// The session in which a script of `caller` calls commands: in RESP2 until the script switches with `redis.setresp`.
fn session_within(caller: &Session) -> Session {
    let mut session = Session::new(caller.id, caller.rights);
    session.db = caller.db;
    session.flags.no_touch = caller.flags.no_touch;
    session
}

/// Makes tables of the arguments: globals for a script, parameters for a function.
fn set_arguments(
    host: &mut Host,
    kind: Kind,
    args: Args<'_>,
    keys: usize,
) -> Result<[Value; 2], OutOfMemory> {
    let (machine, names) = host.parts();
    let heap = &mut machine.heap;
    let mut table = |first: usize, count: usize| {
        let bytes: usize = (first..first + count).map(|index| args.get(index).len()).sum();
        heap.afford(bytes + count * size_of::<Value>())?;
        let table = heap.new_table(count, 0);
        for index in 0..count {
            let string = heap.string(args.get(first + index));
            heap.set_index(table, index + 1, Value::String(string)).map_err(|_| OutOfMemory)?;
        }
        Ok(Value::Table(table))
    };
    let keys_table = table(FIRST_KEY, keys)?;
    let argv = table(FIRST_KEY + keys, args.len() - FIRST_KEY - keys)?;
    if kind == Kind::Script {
        let globals = machine.globals();
        machine.heap.set_readonly(globals, false);
        redis::set(&mut machine.heap, globals, names.keys, keys_table);
        redis::set(&mut machine.heap, globals, names.argv, argv);
        machine.heap.set_readonly(globals, true);
    }
    Ok([keys_table, argv])
}
