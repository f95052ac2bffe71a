//! Sessions of redis-cli's debugger: a script that is executed line by line for a client that steps through it.
//!
//! ```text
//!   SCRIPT DEBUG YES  ─▶ EVAL ─▶ fork ─┬─▶ parent: forgets the client
//!                                      └─▶ child: debugs the script on the client's socket, and exits
//!   SCRIPT DEBUG SYNC ─▶ EVAL ─▶ debugs the script here: all other clients wait
//!
//!   debug: run a line ─▶ stopped ─▶ send the log ─▶ receive a command ─▶ execute it ─▶ …
//! ```
//!
//! The writes of a forked session are lost when its process exits: they reach neither the AOF nor a replica. A session
//! in the server itself is a script like any other. Both bypass the event loop and use the client's socket directly.
//! They send arrays of status replies, the last of which ends in `<endsession>`. Then they send the script's reply and
//! close the connection.

use std::io;

use super::Server;
use super::invoke::Caller;
use super::net::client::Client;
use super::process::child::Work;
use super::scripts::debugger::{self, Action, Debugger, Reason};
use super::scripts::run::{Room, Run};
use crate::command::error::{Error, Result};
use crate::command::{Args, DebugMode};
use crate::lua::{Call, Stop};
use crate::sys::fork::{self, Child, Forked, Link, Role};
use crate::sys::poller::Token;
use crate::sys::{clock, file, signal};

/// The chunk name of the code that the debugger's `eval` compiles.
const CHUNK: &[u8] = b"@ldb_eval";

/// The longest incomplete command that is kept, in bytes.
const LONGEST_INPUT: usize = 1 << 20;

/// Bytes read from the socket at once.
const RECEIVED: usize = 1024;

/// How long a send waits for a full socket buffer.
const SEND_MS: u64 = 5000;

/// How often a wait for a command checks whether a shutdown was requested.
const CHECK_MS: u32 = 100;

/// How long a script may run to its next breakpoint before the debugger stops it, and a native function before the server
/// checks whether its client has disconnected, if `busy-reply-threshold` is 0.
const TIMEOUT_MS: u64 = 5000;

/// The error of a script that runs too long after its client has disconnected.
const LATE: &str = "ERR timeout during Lua debugging with client closing connection";

struct Session {
    debugger: Debugger,
    client: Token,
    input: Vec<u8>,
    /// The tick counter when the script was last resumed.
    since: u64,
    /// The script was stopped by the timeout.
    is_late: bool,
}

/// The debugger's sessions.
#[derive(Default)]
pub(super) struct Debugging {
    /// The session of the script that is running in this process.
    session: Option<Box<Session>>,
    /// The processes of forked sessions.
    children: Vec<Child>,
}

impl Debugging {
    /// Whether the script that is about to start runs under the debugger.
    pub fn is_on(&self) -> bool {
        self.session.is_some()
    }

    /// The debugger of the running script, which logs the script's calls.
    #[inline]
    pub fn debugger(&mut self) -> Option<&mut Debugger> {
        self.session.as_mut().map(|session| &mut session.debugger)
    }

    /// Reaps child processes that have exited.
    pub fn forget_ended(&mut self) {
        self.children.retain_mut(|child| matches!(child.poll(), Ok(None)));
    }
}

impl Server {
    /// `EVAL` after `SCRIPT DEBUG YES`: forks a child that debugs the script and takes over the connection.
    pub(super) fn debug_apart(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let mut role = self.process.child_role(&self.core.config, Work::Debug);
        role.keep.extend(self.net.clients.get(token).map(Client::fd));
        match fork::fork() {
            Ok((Forked::Child(link), _)) => self.run_forked_session(link, &role, token, caller, args),
            Ok((Forked::Parent(child), took_us)) => {
                self.core.note_latency("fork", took_us);
                self.persistence.last_fork_us = took_us;
                self.persistence.forks += 1;
                self.debugging.children.push(child);
                if let Some(line) = self.net.clients.get_mut(token).and_then(Client::line_mut) {
                    line.transport.leave();
                }
                self.net.doom(token);
                Ok(())
            }
            Err(error) => {
                self.net.session(token).flags.debugging = DebugMode::No;
                let why = file::reason(&error);
                Err(format!("ERR Fork() failed: can't run EVAL in debugging mode: {why}").into())
            }
        }
    }

    /// Runs the session in the forked child, and exits.
    fn run_forked_session(
        &mut self,
        link: Link,
        role: &Role,
        token: Token,
        caller: &mut Caller<'_>,
        args: Args<'_>,
    ) -> ! {
        link.begin(role);
        self.process.log.become_child();
        self.core.keyspace.leave_background_thread();
        self.process.log.notice(format_args!("Redis forked for debugging eval"));
        if let Err(error) = self.hold_session(token, caller, args) {
            self.reply_error(token, &error);
        }
        self.send_replies(token);
        self.process.log.notice(format_args!("Lua debugging session child exiting"));
        link.exit(0)
    }

    /// Sends a client's pending replies and waits until the socket has accepted them.
    fn send_replies(&mut self, token: Token) {
        let chains = self.net.output.arrange();
        let Some(line) = self.net.clients.get_mut(token).and_then(Client::line_mut) else { return };
        let pending = line.pending.get_or_insert_default();
        for chain in 0..chains {
            let head = self.net.output.sheet().head(chain);
            if self.net.output.sheet().segment(head).0 == token {
                self.net.output.sheet().queue_chain(head, 0, pending);
            }
        }
        while pending.is_sendable() {
            match pending.send(&mut line.transport) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
            if pending.is_sendable() && !line.transport.wait(true, SEND_MS as u32) {
                return;
            }
        }
    }

    /// `EVAL` after `SCRIPT DEBUG SYNC`: debugs the script here, and closes the connection after the reply.
    pub(super) fn debug_in_place(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        self.process.log.notice(format_args!("Redis synchronous debugging eval session started"));
        let outcome = self.hold_session(token, caller, args);
        self.process.log.notice(format_args!("Redis synchronous debugging eval session ended"));
        self.net.session(token).flags.close_after_reply = true;
        outcome
    }

    /// Runs a session from its first line to `<endsession>`.
    fn hold_session(&mut self, token: Token, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.debugging.session = Some(Box::new(Session {
            debugger: Debugger::new(args.get(1)),
            client: token,
            input: Vec::new(),
            since: clock::ticks(),
            is_late: false,
        }));
        let outcome = self.eval_undebugged(caller, args);
        if let Some(debugger) = self.debugging.debugger() {
            debugger.log("<endsession>");
        }
        self.send_log();
        self.debugging.session = None;
        outcome
    }

    /// Executes the script of the session.
    pub(super) fn debug_script(&mut self, mut run: Box<Run>) {
        run.host.machine().trace(true);
        if let Some(end) = self.run_slice(&mut run, None) {
            self.take_reports(&mut run);
            run.host.machine().trace(false);
            self.end_script(run, &end);
        }
    }

    /// Logs the errors that native functions have reported.
    fn take_reports(&mut self, run: &mut Run) {
        let Some(debugger) = self.debugging.debugger() else { return };
        let output = std::mem::take(&mut run.host.machine().output);
        for line in output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            debugger.log_error(line);
        }
    }

    /// `redis.breakpoint()`: stops the script at its next line. Returns whether it is being debugged.
    pub(super) fn breaks_next(&mut self) -> bool {
        let debugger = self.debugging.debugger();
        debugger.map(|debugger| debugger.is_called = true).is_some()
    }

    /// `redis.debug(value …)`: logs the values.
    pub(super) fn print_from_script(&mut self, run: &mut Run, call: Call) {
        let machine = run.host.machine();
        if let Some(debugger) = self.debugging.debugger() {
            let values = (1..=call.count()).map(|n| machine.argument(call, n));
            debugger.log_debug(values, &machine.heap);
        }
    }

    /// Called when the script's machine has stopped. Executes the client's commands until the machine has to run again.
    pub(super) fn stop_script(&mut self, run: &mut Run, stop: Stop) {
        self.take_reports(run);
        let timeout_ms = self.debugging_timeout_ms();
        let rate = self.core.stats.tick_rate();
        let Some(session) = &mut self.debugging.session else { return };
        let debugger = &mut session.debugger;
        if let Stop::Evaluated(result) = stop {
            let (machine, names) = run.host.parts();
            match result {
                Ok(value) => debugger.log_value(b"<retval> ", value, &machine.heap),
                Err(error) => debugger.log_evaluation_error(error, &machine.heap, names),
            }
            self.send_log();
            return self.execute_commands(run);
        }
        let Some((chunk, line)) = run.host.machine().place_of_stop() else { return };
        debugger.line = line as i32;
        if !debugger::is_of_script(&chunk) {
            return;
        }
        let reason = if debugger.is_called {
            Reason::Called
        } else if debugger.is_breakpoint(debugger.line) {
            Reason::Breakpoint
        } else if debugger.steps {
            Reason::Step
        } else if matches!(stop, Stop::Count) && rate.since(session.since) / 1_000_000 >= timeout_ms {
            Reason::Timeout
        } else {
            return;
        };
        session.is_late = reason == Reason::Timeout;
        (debugger.steps, debugger.is_called) = (false, false);
        debugger.log_stop(reason);
        self.send_log();
        self.execute_commands(run);
    }

    /// Executes the client's commands until one of them resumes the machine.
    fn execute_commands(&mut self, run: &mut Run) {
        loop {
            let action = match self.next_command() {
                Ok(Some(words)) => {
                    let Some(debugger) = self.debugging.debugger() else { return };
                    let (machine, names) = run.host.parts();
                    debugger.command(&words, machine, names)
                }
                Ok(None) => {
                    // The client has disconnected: the script runs to its end without the debugger. One that was
                    // stopped by the timeout might never end, so it fails.
                    let Some(session) = &mut self.debugging.session else { return };
                    session.debugger.let_run();
                    if session.is_late {
                        return fail(run, LATE);
                    }
                    Action::GoOn
                }
                Err(text) => return fail(run, text),
            };
            match action {
                Action::Stay => self.send_log(),
                Action::GoOn => break,
                Action::Abort => return fail(run, "ERR script aborted for user request"),
                Action::Call(words) => {
                    self.call_from_debugger(run, &words);
                    self.send_log();
                }
                Action::Evaluate(code) => {
                    if self.evaluate(run, &code) {
                        break;
                    }
                    self.send_log();
                }
            }
        }
        if let Some(session) = &mut self.debugging.session {
            session.since = clock::ticks();
        }
    }

    /// Starts executing `code`, as an expression or as statements. Logs the syntax error and returns false if it is
    /// neither.
    fn evaluate(&mut self, run: &mut Run, code: &[u8]) -> bool {
        let machine = run.host.machine();
        let expression = machine.load(&[b"return ", code].concat(), CHUNK);
        match expression.or_else(|_| machine.load(code, CHUNK)) {
            Ok(function) => {
                machine.evaluate(function);
                true
            }
            Err(message) => {
                if let Some(debugger) = self.debugging.debugger() {
                    debugger.log([b"<error> ", &message[..]].concat());
                }
                false
            }
        }
    }

    /// Calls a command as the script would, and logs the call and its reply.
    fn call_from_debugger(&mut self, run: &mut Run, words: &[Vec<u8>]) {
        self.set_logging(true);
        let mut room = Room::default();
        let _ = match room.words.set(words) {
            Ok(()) => self.execute_from_script(run, &mut room),
            Err(text) => Err(Error::new(text)),
        };
        self.set_logging(false);
    }

    fn set_logging(&mut self, is_on: bool) {
        if let Some(debugger) = self.debugging.debugger() {
            debugger.steps = is_on;
        }
    }

    /// Waits for the client's next command. Returns `None` if the client has disconnected or a shutdown was requested.
    fn next_command(&mut self) -> std::result::Result<Option<Vec<Vec<u8>>>, &'static str> {
        loop {
            let Some(session) = &mut self.debugging.session else { return Ok(None) };
            match debugger::next_command(&session.input) {
                Ok(Some(words)) => {
                    session.input.clear();
                    return Ok(Some(words));
                }
                Ok(None) => {}
                Err(debugger::Unreadable) => return Err("ERR protocol error"),
            }
            if !self.receive_for_debugger(true) {
                return Ok(None);
            }
            let Some(session) = &mut self.debugging.session else { return Ok(None) };
            if session.input.len() > LONGEST_INPUT {
                session.input.clear();
                return Err("ERR max client buffer reached");
            }
        }
    }

    /// Reads from the client's socket; `waits` blocks until there are bytes. Returns false if the client has
    /// disconnected or a shutdown was requested.
    fn receive_for_debugger(&mut self, waits: bool) -> bool {
        let Some(session) = &mut self.debugging.session else { return false };
        let client = self.net.clients.get_mut(session.client);
        let Some(line) = client.and_then(Client::line_mut) else { return false };
        let mut room = [0; RECEIVED];
        loop {
            match line.transport.receive(&mut room) {
                Ok(0) => return false,
                Ok(count) => {
                    session.input.extend_from_slice(&room[..count]);
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
            if signal::shutdown_signals() > 0 {
                return false;
            }
            if !waits {
                return true;
            }
            line.transport.wait(false, CHECK_MS);
        }
    }

    /// Sends the log. Drops the rest of it if the socket stays full for [`SEND_MS`].
    fn send_log(&mut self) {
        let Some(session) = &mut self.debugging.session else { return };
        let sent = session.debugger.take_log();
        let client = self.net.clients.get_mut(session.client);
        let Some(line) = client.and_then(Client::line_mut) else { return };
        let mut rest = &sent[..];
        while !rest.is_empty() {
            match line.transport.send(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !line.transport.wait(true, SEND_MS as u32) {
                        return line.transport.forget_unsent();
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// How long a script, a native function or an `eval` may run before the server interferes.
    fn debugging_timeout_ms(&self) -> u64 {
        match self.core.config.busy_reply_threshold {
            0 => TIMEOUT_MS,
            threshold => threshold,
        }
    }

    /// Called while a native function or the code of an `eval` runs long. Ends it if its client has disconnected.
    pub(super) fn check_debugged_client(&mut self, run: &mut Run) {
        let timeout_ms = self.debugging_timeout_ms();
        let Some(session) = &self.debugging.session else { return };
        let ran_ms = self.core.stats.tick_rate().since(session.since) / 1_000_000;
        if ran_ms >= timeout_ms && session.input.len() <= LONGEST_INPUT && !self.receive_for_debugger(false) {
            fail(run, LATE);
        }
    }

    /// Kills all forked sessions.
    pub(super) fn end_debugging(&mut self) {
        for child in self.debugging.children.drain(..) {
            self.process.log.notice(format_args!("Killing debugging session {}", child.pid()));
        }
    }
}

/// Raises `text` as an error of the script where it has stopped.
fn fail(run: &mut Run, text: &str) {
    let error = run.error(text.as_bytes(), false);
    run.host.machine().raise(error);
}
