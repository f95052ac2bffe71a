//! Sessions of redis-cli's debugger: a script that is executed line by line for a client that steps through it.
//!
//! ```text
//!   SCRIPT DEBUG YES  ─▶ EVAL ─▶ fork ─┬─▶ parent: forgets the client
//!                                      └─▶ child: debugs the script on the client's socket, and exits
//!   SCRIPT DEBUG SYNC ─▶ EVAL ─▶ debugs the script here: everybody waits
//!
//!   debug: run a line ─▶ stopped ─▶ send the log ─▶ receive a command ─▶ execute it ─▶ …
//! ```
//!
//! What a forked session changes is gone with its process, and reaches neither a log nor a replica. One that runs in place
//! is a script like others. Both talk to the client directly, past the loop: in arrays of status replies, until one
//! ends in `<endsession>`; then comes the reply of the script, and the connection is closed.

use std::io;
use std::os::fd::AsRawFd;

use super::Server;
use super::process::child::Work;
use super::scripts::debugger::{self, Action, Debugger, Reason};
use super::scripts::run::{Room, Run};
use crate::command::error::{Error, Result};
use crate::command::{Args, Command, DebugMode};
use crate::lua::{Call, Stop};
use crate::sys::fork::{self, Child, Forked, Link, Role};
use crate::sys::poller::Token;
use crate::sys::{clock, file, signal};

/// The source of what `eval` executes.
const CHUNK: &[u8] = b"@ldb_eval";

/// Bytes that a client may send before they are a command.
const LONGEST_INPUT: usize = 1 << 20;

/// Bytes that are received at once.
const RECEIVED: usize = 1024;

/// How long the log may take to be sent.
const SEND_MS: u64 = 5000;

/// Between two looks at whether the server is to end.
const LOOK_MS: u32 = 100;

/// After how long a script that runs to the next breakpoint stops, if nothing else says.
const TIMEOUT_MS: u64 = 5000;

/// The error of a script that takes long when its client has gone.
const LATE: &str = "ERR timeout during Lua debugging with client closing connection";

/// A session.
struct Session {
    debugger: Debugger,
    client: Token,
    input: Vec<u8>,
    /// The ticks at which the script last went on.
    since: u64,
    /// The script has stopped because it runs for long.
    is_late: bool,
}

/// What there is of sessions.
#[derive(Default)]
pub(super) struct Debugging {
    /// The one whose script is being executed.
    session: Option<Box<Session>>,
    /// Those that are forked.
    children: Vec<Child>,
}

impl Debugging {
    /// Whether the script that is about to begin is debugged.
    pub fn is_on(&self) -> bool {
        self.session.is_some()
    }

    /// What is told of what the script calls.
    #[inline]
    pub fn debugger(&mut self) -> Option<&mut Debugger> {
        self.session.as_mut().map(|session| &mut session.debugger)
    }

    /// Forgets processes that have ended.
    pub fn forget_ended(&mut self) {
        self.children.retain_mut(|child| matches!(child.poll(), Ok(None)));
    }
}

impl Server {
    /// `EVAL` after `SCRIPT DEBUG YES`: a child debugs the script. The connection is its own from here on.
    pub(super) fn debug_apart(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Result {
        let mut role = self.process.child_role(&self.core.config, Work::Debug);
        role.keep.extend(self.net.clients.get(token).map(|client| client.socket.as_raw_fd()));
        match fork::fork() {
            Ok((Forked::Child(link), _)) => self.be_debugger(link, &role, token, command, args),
            Ok((Forked::Parent(child), took_us)) => {
                self.core.note_latency("fork", took_us);
                self.persistence.last_fork_us = took_us;
                self.persistence.forks += 1;
                self.debugging.children.push(child);
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

    /// The life of a child.
    fn be_debugger(
        &mut self,
        link: Link,
        role: &Role,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
    ) -> ! {
        link.begin(role);
        self.process.log.become_child();
        self.core.keyspace.leave_background_thread();
        self.process.log.notice(format_args!("Redis forked for debugging eval"));
        if let Err(error) = self.hold_session(token, command, args) {
            self.reply_error(token, &error);
        }
        self.send_replies(token);
        self.process.log.notice(format_args!("Lua debugging session child exiting"));
        link.exit(0)
    }

    /// Sends all that has been written for a client, and waits for it to be sent.
    fn send_replies(&mut self, token: Token) {
        self.net.output.close_segment(token);
        let chains = self.net.output.arrange();
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let pending = client.pending.get_or_insert_default();
        for chain in 0..chains {
            let head = self.net.output.head(chain);
            if self.net.output.segment(head).0 == token {
                self.net.output.queue_chain(head, 0, pending);
            }
        }
        while !pending.is_empty() {
            match pending.send(&client.socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
            if !pending.is_empty() && !client.socket.wait(true, SEND_MS as u32) {
                return;
            }
        }
    }

    /// `EVAL` after `SCRIPT DEBUG SYNC`: debugs the script, and has the connection closed after the reply.
    pub(super) fn debug_in_place(
        &mut self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
    ) -> Result {
        self.process.log.notice(format_args!("Redis synchronous debugging eval session started"));
        let outcome = self.hold_session(token, command, args);
        self.process.log.notice(format_args!("Redis synchronous debugging eval session ended"));
        self.net.session(token).flags.close_after_reply = true;
        outcome
    }

    /// A whole session.
    fn hold_session(&mut self, token: Token, command: &'static Command, args: Args<'_>) -> Result {
        self.debugging.session = Some(Box::new(Session {
            debugger: Debugger::new(args.get(1)),
            client: token,
            input: Vec::new(),
            since: clock::ticks(),
            is_late: false,
        }));
        let outcome = self.eval_for(Some(token), self.net.selected_db(token), command, args);
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

    /// `redis.breakpoint()`: the script stops at the next line. Returns whether somebody debugs it.
    pub(super) fn breaks_next(&mut self) -> bool {
        let debugger = self.debugging.debugger();
        debugger.map(|debugger| debugger.is_called = true).is_some()
    }

    /// `redis.debug(value …)`
    pub(super) fn print_from_script(&mut self, run: &mut Run, call: Call) {
        let machine = run.host.machine();
        if let Some(debugger) = self.debugging.debugger() {
            let values = (1..=call.count()).map(|n| machine.argument(call, n));
            debugger.log_debug(values, &machine.heap);
        }
    }

    /// The machine of a script has stopped: goes on with the session, until the machine is to run again.
    pub(super) fn stop_script(&mut self, run: &mut Run, stop: Stop) {
        self.take_reports(run);
        let timeout_ms = match self.core.config.busy_reply_threshold {
            0 => TIMEOUT_MS,
            threshold => threshold,
        };
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
            return self.converse(run);
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
        self.converse(run);
    }

    /// Executes commands until the machine has something to do.
    fn converse(&mut self, run: &mut Run) {
        loop {
            let action = match self.next_command() {
                Ok(Some(words)) => {
                    let Some(debugger) = self.debugging.debugger() else { return };
                    let (machine, names) = run.host.parts();
                    debugger.command(&words, machine, names)
                }
                Ok(None) => {
                    // The script runs to its end without a debugger, if it has one.
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

    /// Begins to execute code, as an expression or as statements. Returns false if it is neither.
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

    /// Calls a command as the script would, and logs it.
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

    // The connection

    /// The next command of the client; `None` if none comes any more.
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

    /// Receives some bytes of the client; with `waits`, when they come. Returns false if none come any more: the
    /// connection has ended, or the server is to end.
    fn receive_for_debugger(&mut self, waits: bool) -> bool {
        let Some(session) = &mut self.debugging.session else { return false };
        let Some(client) = self.net.clients.get(session.client) else { return false };
        let mut room = [0; RECEIVED];
        loop {
            match client.socket.recv(&mut room) {
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
            client.socket.wait(false, LOOK_MS);
        }
    }

    /// Sends the log. What the client does not take within some seconds is dropped.
    fn send_log(&mut self) {
        let Some(session) = &mut self.debugging.session else { return };
        let sent = session.debugger.take_log();
        let Some(client) = self.net.clients.get(session.client) else { return };
        let mut rest = &sent[..];
        while !rest.is_empty() {
            match client.socket.send(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !client.socket.wait(true, SEND_MS as u32) {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// A native function, or what the debugger evaluates, takes long. It is ended if its client has gone.
    pub(super) fn look_after_debugger(&mut self, run: &mut Run) {
        let Some(session) = &self.debugging.session else { return };
        let ran_ms = self.core.stats.tick_rate().since(session.since) / 1_000_000;
        if ran_ms >= TIMEOUT_MS && session.input.len() <= LONGEST_INPUT && !self.receive_for_debugger(false) {
            fail(run, LATE);
        }
    }

    /// Ends all forked sessions.
    pub(super) fn end_debugging(&mut self) {
        for child in self.debugging.children.drain(..) {
            self.process.log.notice(format_args!("Killing debugging session {}", child.pid()));
        }
    }
}

/// The script fails where it is.
fn fail(run: &mut Run, text: &str) {
    let error = run.error(text.as_bytes(), false);
    run.host.machine().raise(error);
}
