//! A session of redis-cli's debugger (`--ldb`): its state and its commands. It knows neither the connection nor the
//! running script.
//!
//! ```text
//!   *2 e x  ─▶ words::next ─▶ Debugger::command ─┬─▶ lines for the log ─▶ *1 +<value> …
//!                                                └─▶ Action: go on, evaluate, call, abort
//! ```
//!
//! The log is a list of lines. They are sent as one array of status replies when the script stops, after each command,
//! and at the end of the session.

mod show;
mod words;

pub use show::{push_reply, push_value};
pub use words::{Unreadable, next as next_command};

use super::redis::Names;
use crate::command::Error;
use crate::lua::{Heap, Machine, Value};
use crate::text::number::{leading_i64, parse_i64};
use crate::text::words::shown;

/// The most breakpoints.
const MOST_BREAKPOINTS: usize = 64;

/// The initial `maxlen`: how many bytes of a value or a reply are shown.
const LONGEST: usize = 256;

/// The smallest `maxlen`.
const LEAST_LONGEST: i32 = 60;

/// How many arguments of a call are shown.
const MOST_WORDS: usize = 10;

/// How many lines `list` shows before and after the line it is given.
const AROUND: i32 = 5;

/// The reply to `help`.
const HELP: &str = include_str!("help.txt");

/// Why a script stops at a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `step` or `next`.
    Step,
    /// A breakpoint.
    Breakpoint,
    /// The script has called `redis.breakpoint`.
    Called,
    /// The script has run longer than the timeout.
    Timeout,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::Step => "step over",
            Reason::Breakpoint => "break point",
            Reason::Called => "redis.breakpoint() called",
            Reason::Timeout => "timeout reached, infinite loop?",
        }
    }
}

/// What the session does after a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the log; the script stays stopped.
    Stay,
    /// Resume the script.
    GoOn,
    /// End the script with an error.
    Abort,
    /// Execute this code, as an expression if it is one.
    Evaluate(Vec<u8>),
    /// Call this command of the server.
    Call(Vec<Vec<u8>>),
}

/// A session's state.
#[derive(Debug)]
pub struct Debugger {
    source: Vec<Box<[u8]>>,
    /// The line that the script has reached.
    pub line: i32,
    /// Whether the script stops at its next line; until then its calls are logged.
    pub steps: bool,
    /// Whether the script has called `redis.breakpoint` and so stops at its next line.
    pub is_called: bool,
    breakpoints: Vec<i32>,
    log: Vec<Vec<u8>>,
    /// `maxlen`; 0: unlimited.
    longest: usize,
    knows_maxlen: bool,
}

impl Debugger {
    /// A session that stops at the first line of the script `source`.
    pub fn new(source: &[u8]) -> Debugger {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = source.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1);
        let lines = source[..end].split(|&byte| byte == b'\n').map(Box::from);
        Debugger {
            source: if end == 0 { Vec::new() } else { lines.collect() },
            line: 0,
            steps: true,
            is_called: false,
            breakpoints: Vec::new(),
            log: Vec::new(),
            longest: LONGEST,
            knows_maxlen: false,
        }
    }

    /// Appends a line.
    pub fn log(&mut self, line: impl Into<Vec<u8>>) {
        self.log.push(line.into());
    }

    /// Appends a line, truncated to `maxlen`. The first truncated line is followed by a hint.
    fn log_cut(&mut self, mut line: Vec<u8>) {
        if self.longest == 0 || line.len() <= self.longest {
            return self.log(line);
        }
        line.truncate(self.longest);
        line.extend_from_slice(b" ...");
        self.log(line);
        if !self.knows_maxlen {
            self.knows_maxlen = true;
            self.log("<hint> The above reply was trimmed. Use 'maxlen 0' to disable trimming.");
        }
    }

    /// Returns the log as a RESP array, and clears it.
    pub fn take_log(&mut self) -> Vec<u8> {
        let mut sent = format!("*{}\r\n", self.log.len()).into_bytes();
        for line in self.log.drain(..) {
            sent.push(b'+');
            sent.extend(line.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
            sent.extend_from_slice(b"\r\n");
        }
        sent
    }

    /// How many bytes of a value are enough to truncate it at `maxlen`.
    fn room(&self) -> usize {
        if self.longest == 0 { show::LONGEST } else { self.longest }
    }

    /// Appends `prefix` and a value.
    pub fn log_value(&mut self, prefix: &[u8], value: Value, heap: &Heap) {
        let mut line = prefix.to_vec();
        push_value(&mut line, value, heap, self.room());
        self.log_cut(line);
    }

    /// Appends the error of an `eval`.
    pub fn log_evaluation_error(&mut self, error: Value, heap: &Heap, names: &Names) {
        let error = match error {
            Value::Table(table) => heap.get_string(table, names.err),
            error => error,
        };
        let mut line = b"<error> ".to_vec();
        if !heap.to_bytes(error, &mut line) {
            line.extend_from_slice(error.type_name().as_bytes());
        }
        let end = shown(&line).len();
        line.truncate(end);
        self.log(line);
    }

    /// Appends an error, unless the script is running to a breakpoint.
    pub fn log_error(&mut self, text: &[u8]) {
        if self.steps {
            self.log([b"<error> ", text].concat());
        }
    }

    /// Appends why a call was refused.
    pub fn log_rejection(&mut self, text: &[u8]) {
        match text.strip_prefix(b"ERR ") {
            Some(text) => self.log_error(text),
            // Redis logs these errors as they are sent; the `\r\n` of the reply becomes two spaces.
            None => self.log_error(&[b"-", text, b"  "].concat()),
        }
    }

    /// Appends the reply or the error of a call.
    pub fn log_outcome(&mut self, outcome: &Result<(), Error>, reply: &[u8]) {
        match outcome {
            Ok(()) => self.log_reply(reply),
            Err(error) => self.log_reply(&[b"-", error.text(), b"\r\n"].concat()),
        }
    }

    /// Appends a call's name and arguments.
    pub fn log_call<'a>(&mut self, words: impl ExactSizeIterator<Item = &'a [u8]>) {
        if !self.steps {
            return;
        }
        let mut line = b"<redis>".to_vec();
        let count = words.len();
        for (n, word) in words.enumerate() {
            if n == MOST_WORDS {
                line.extend_from_slice(format!(" ... ({} more)", count - n - 1).as_bytes());
                break;
            }
            line.push(b' ');
            line.extend_from_slice(word);
        }
        self.log(line);
    }

    /// Appends the reply of a call.
    fn log_reply(&mut self, reply: &[u8]) {
        if !self.steps {
            return;
        }
        if reply.first() == Some(&b'-') {
            self.log_error(reply.strip_suffix(b"\r\n").unwrap_or(reply));
        }
        let mut line = b"<reply> ".to_vec();
        push_reply(&mut line, reply);
        self.log_cut(line);
    }

    /// Appends the arguments of `redis.debug`.
    pub fn log_debug(&mut self, values: impl Iterator<Item = Value>, heap: &Heap) {
        let mut line = format!("<debug> line {}: ", self.line).into_bytes();
        for (n, value) in values.enumerate() {
            if n > 0 {
                line.extend_from_slice(b", ");
            }
            push_value(&mut line, value, heap, show::LONGEST);
        }
        self.log(line);
    }

    /// Appends where and why the script has stopped.
    pub fn log_stop(&mut self, reason: Reason) {
        self.log(format!("* Stopped at {}, stop reason = {}", self.line, reason.text()));
        self.log_line(self.line);
    }

    /// Appends a line of the source.
    fn log_line(&mut self, number: i32) {
        let mark = match (number == self.line, self.is_breakpoint(number)) {
            (true, true) => "->#",
            (true, false) => "-> ",
            (false, true) => "  #",
            (false, false) => "   ",
        };
        let mut line = format!("{mark}{number:<3} ").into_bytes();
        let source = usize::try_from(number).ok().and_then(|n| self.source.get(n.checked_sub(1)?));
        line.extend_from_slice(source.map_or(b"<out of range source code line>", |source| shown(source)));
        self.log(line);
    }

    fn list(&mut self, middle: i32, around: i32) {
        for number in 1..=self.source.len() as i32 {
            if middle == 0 || i64::from(middle.abs_diff(number)) <= i64::from(around) {
                self.log_line(number);
            }
        }
    }

    /// Whether there is a breakpoint at `line`.
    pub fn is_breakpoint(&self, line: i32) -> bool {
        self.breakpoints.contains(&line)
    }

    /// Clears all that would stop the script, since its client has disconnected.
    pub fn let_run(&mut self) {
        self.steps = false;
        self.breakpoints.clear();
    }

    fn list_breakpoints(&mut self) {
        if self.breakpoints.is_empty() {
            return self.log("No breakpoints set. Use 'b <line>' to add one.");
        }
        self.log(format!("{} breakpoints set:", self.breakpoints.len()));
        for n in 0..self.breakpoints.len() {
            self.log_line(self.breakpoints[n]);
        }
    }

    fn change_breakpoint(&mut self, word: &[u8]) {
        let Some(number) = parse_i64(word) else {
            return self.log([b"Invalid argument:'", shown(word), b"'"].concat());
        };
        // Redis parses line numbers as 32-bit integers.
        let line = number.unsigned_abs() as i32;
        if number == 0 {
            self.breakpoints.clear();
            self.log("All breakpoints removed.");
        } else if number < 0 {
            match self.breakpoints.iter().position(|known| *known == line) {
                Some(place) => {
                    self.breakpoints.remove(place);
                    self.log("Breakpoint removed.");
                }
                None => self.log("No breakpoint in the specified line."),
            }
        } else if self.breakpoints.len() == MOST_BREAKPOINTS {
            self.log("Too many breakpoints set.");
        } else if line > 0 && line <= self.source.len() as i32 && !self.is_breakpoint(line) {
            self.breakpoints.push(line);
            self.list(line, 1);
        } else {
            self.log("Wrong line number.");
        }
    }

    /// Executes a command, which is not empty.
    pub fn command(&mut self, words: &[Vec<u8>], machine: &Machine, names: &Names) -> Action {
        let is = |short: &str, long: &str| {
            let word = shown(&words[0]);
            word.eq_ignore_ascii_case(short.as_bytes()) || word.eq_ignore_ascii_case(long.as_bytes())
        };
        if is("h", "help") {
            self.log.extend(HELP.lines().map(|line| line.as_bytes().to_vec()));
        } else if is("s", "step") || is("n", "next") {
            self.steps = true;
            return Action::GoOn;
        } else if is("c", "continue") {
            return Action::GoOn;
        } else if is("t", "trace") {
            self.trace(machine);
        } else if is("m", "maxlen") {
            self.limit(words);
        } else if is("b", "break") {
            if words.len() == 1 {
                self.list_breakpoints();
            }
            for word in &words[1..] {
                self.change_breakpoint(word);
            }
        } else if is("e", "eval") {
            return Action::Evaluate(words[1..].join(&b' '));
        } else if is("a", "abort") {
            return Action::Abort;
        } else if words.len() > 1 && is("r", "redis") {
            return Action::Call(words[1..].to_vec());
        } else if is("p", "print") {
            match &words[1..] {
                [name] => self.print(name, machine, names),
                _ => self.print_all(machine),
            }
        } else if is("l", "list") {
            let number = |n: usize| words.get(n).map(|word| leading_i64(word).0 as i32);
            self.list(number(1).filter(|n| *n > 0).unwrap_or(self.line), number(2).unwrap_or(AROUND));
        } else if is("w", "whole") {
            self.list(1, 1_000_000);
        } else {
            self.log("<error> Unknown Redis Lua debugger command or wrong number of arguments.");
        }
        Action::Stay
    }

    fn limit(&mut self, words: &[Vec<u8>]) {
        if let [_, number] = words {
            self.knows_maxlen = true;
            let number = leading_i64(number).0 as i32;
            self.longest = match number {
                0 => 0,
                _ => number.max(LEAST_LONGEST) as usize,
            };
        }
        self.log(match self.longest {
            0 => "<value> replies are unlimited.".to_string(),
            longest => format!("<value> replies are truncated at {longest} bytes."),
        });
    }

    fn trace(&mut self, machine: &Machine) {
        for (level, call) in machine.calls_under_way().into_iter().enumerate() {
            if !is_of_script(&call.chunk) {
                continue;
            }
            let mut line = if level == 0 { b"In ".to_vec() } else { b"From ".to_vec() };
            line.extend_from_slice(call.name.as_deref().unwrap_or(b"top level"));
            line.push(b':');
            self.log(line);
            self.log_line(call.line as i32);
        }
    }

    fn print(&mut self, name: &[u8], machine: &Machine, names: &Names) {
        let name = shown(name);
        for level in 0.. {
            let Some(locals) = machine.locals(level) else { break };
            if let Some((_, value)) = locals.iter().find(|(known, _)| *known == name) {
                return self.log_value(b"<value> ", *value, &machine.heap);
            }
        }
        let global = match name {
            b"KEYS" => names.keys,
            b"ARGV" => names.argv,
            _ => return self.log("No such variable."),
        };
        let value = machine.heap.get_string(machine.globals(), global);
        self.log_value(b"<value> ", value, &machine.heap);
    }

    fn print_all(&mut self, machine: &Machine) {
        let locals = machine.locals(0).unwrap_or_default();
        for (name, value) in &locals {
            self.log_value(&[b"<value> ", *name, b" = "].concat(), *value, &machine.heap);
        }
        if locals.is_empty() {
            self.log("No local variables in the current context.");
        }
    }
}

/// Whether `chunk` is the script itself, not code that the script has loaded.
pub fn is_of_script(chunk: &[u8]) -> bool {
    memchr::memmem::find(chunk, b"user_script").is_some()
}
