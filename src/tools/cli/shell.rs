//! Executes lines as commands, from the prompt and from a pipe.
//!
//! Some words are for the tool itself: `help`, `connect`, `clear`, `quit`, `:set`, and a leading number, which repeats
//! the command. While push messages may arrive, the prompt shows them until a key is pressed.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::debugger::{self, Mode};
use super::docs::Docs;
use super::format::Format;
use super::help;
use super::options::Options;
use super::reader::{Plain, Reader, Typed};
use super::session::{Failure, Session, draw, print};
use super::state::is;
use crate::sys::terminal;
use crate::text::{number, words};
use crate::tools::client::{Address, Error};
use crate::tools::console::tell;

/// Commands that take at least this long have their time printed.
const SLOW: Duration = Duration::from_millis(500);

/// The data behind the editor's hints and completions.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The known commands; empty until a server has described them.
    pub docs: Rc<RefCell<Docs>>,
    /// Whether hints are shown.
    pub has_hints: Rc<Cell<bool>>,
}

/// Whether to read more lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    More,
    End,
    /// Restart the debugging session.
    Restart,
}

/// Printed at the start of a debugging session.
const DEBUGGING: &str = "\
Lua debugging session started, please use:
quit    -- End the session.
restart -- Restart the script in debug mode again.
help    -- Show Lua script debugging commands.

";

/// A session controlled by lines of input.
#[derive(Debug)]
struct Shell {
    session: Session,
    knowledge: Knowledge,
    /// Whether `knowledge` describes the connected server.
    is_informed: bool,
    is_interactive: bool,
    /// Whether `--ldb` was given, so `restart` starts another debugging session.
    debugs_script: bool,
    /// Whether a command failed or had an error reply.
    has_failed: bool,
}

/// Reads commands from standard input to its end, or to `quit`.
pub fn run(options: Options) -> ExitCode {
    let mut shell = Shell::new(options);
    let mut reader = open_reader(shell.is_interactive, &shell.knowledge);
    let connected = shell.session.connect();
    let served = shell.survive(connected).and_then(|()| shell.serve(&mut *reader));
    match served {
        Ok(_) if shell.has_failed && shell.session.options.fail_on_error => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(failure) => super::end(failure),
    }
}

/// Debugs the script of `--eval`, again whenever the user types `restart`. After a session the prompt takes commands.
pub fn debug(options: Options, mode: Mode) -> ExitCode {
    let mut shell = Shell { debugs_script: true, ..Shell::new(options) };
    match shell.debug(mode) {
        Ok(status) => status,
        Err(failure) => super::end(failure),
    }
}

/// Opens an editor on a terminal if this build has one; otherwise reads plain lines.
fn open_reader(is_interactive: bool, knowledge: &Knowledge) -> Box<dyn Reader> {
    #[cfg(feature = "cli")]
    if is_interactive && let Some(editor) = super::editor::Editor::open(knowledge) {
        return Box::new(editor);
    }
    let _ = knowledge;
    Box::new(Plain::new(is_interactive))
}

impl Shell {
    fn new(options: Options) -> Shell {
        let is_interactive = stdin().is_terminal() && stdout().is_terminal();
        let knowledge = Knowledge::default();
        knowledge.has_hints.set(true);
        let mut session = Session::new(options);
        session.shows_redirections = true;
        let mut shell = Shell {
            session,
            knowledge,
            is_informed: false,
            is_interactive,
            debugs_script: false,
            has_failed: false,
        };
        if is_interactive {
            if let Err(error) = terminal::catch_interrupts() {
                tell(format_args!("Cannot handle Ctrl-C: {error}"));
            }
            shell.read_preferences();
        }
        shell
    }

    fn debug(&mut self, mode: Mode) -> Result<ExitCode, Failure> {
        let mut reader = None;
        self.session.connect()?;
        loop {
            print(DEBUGGING.as_bytes())?;
            let eval = match super::words(&self.session.options) {
                Ok(words) => words,
                Err(text) => {
                    tell(text);
                    return Ok(ExitCode::FAILURE);
                }
            };
            let script_debug = ["SCRIPT", "DEBUG", mode.word()].map(|word| word.as_bytes().to_vec());
            if !self.session.request_debugging(&script_debug)? {
                return Ok(ExitCode::FAILURE);
            }
            self.session.execute(&eval)?;
            if !self.session.debugger.is_on() {
                print(b"Eval debugging session can't start:\n")?;
                self.session.show_end()?;
                return Ok(ExitCode::SUCCESS);
            }
            let reader = reader.get_or_insert_with(|| open_reader(self.is_interactive, &self.knowledge));
            if self.serve(&mut **reader)? != Flow::Restart {
                return Ok(ExitCode::SUCCESS);
            }
            self.session.connect()?;
            print(b"\n")?;
        }
    }

    /// Executes lines until the end of the input, `quit`, or `restart`.
    fn serve(&mut self, reader: &mut dyn Reader) -> Result<Flow, Failure> {
        loop {
            if self.is_interactive {
                self.inform()?;
                let result = self.watch();
                self.survive(result)?;
            }
            // A Ctrl-C that came too late for the previous line must not affect the next one.
            terminal::take_interrupt();
            let line = match reader.read(&self.prompt()).map_err(Failure::Output)? {
                Typed::Line(line) => line,
                // The end of the input first ends only the subscription, which only a new connection does reliably.
                Typed::End if self.is_interactive && self.session.state.is_subscribed => {
                    self.reconnect()?;
                    continue;
                }
                Typed::End => return Ok(Flow::End),
            };
            // Pasted text may contain several lines.
            for line in line.split(|&byte| byte == b'\n') {
                reader.remember(line);
                match self.line(line)? {
                    Flow::More => {}
                    flow => return Ok(flow),
                }
            }
        }
    }

    /// Returns the prompt.
    fn prompt(&self) -> String {
        if !self.session.is_connected() {
            return "not connected> ".to_string();
        }
        if self.debugs_script && self.session.debugger.is_on() {
            return "lua debugger> ".to_string();
        }
        let mut prompt = self.session.options.target.address.to_string();
        let state = &self.session.state;
        if state.database != 0 {
            prompt.extend(["[", &state.database.to_string(), "]"]);
        }
        if state.transaction.is_some() {
            prompt.push_str("(TX)");
        }
        if state.is_subscribed {
            prompt.push_str("(subscribed mode)");
        }
        prompt + "> "
    }

    /// Fetches the server's description of its commands, once per server.
    fn inform(&mut self) -> Result<(), Failure> {
        if self.is_informed || !self.session.is_connected() || self.session.debugger.is_on() {
            return Ok(());
        }
        self.is_informed = true;
        let (docs, result) = match self.session.docs() {
            Ok(docs) => (docs, Ok(())),
            Err(failure) => (None, Err(failure)),
        };
        *self.knowledge.docs.borrow_mut() = docs.unwrap_or_else(Docs::built_in);
        self.survive(result)
    }

    /// Reports a connection failure. Only a failure of the output ends the shell.
    fn survive(&mut self, result: Result<(), Failure>) -> Result<(), Failure> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Connection(error)) => {
                self.has_failed = true;
                self.session.disconnect();
                match error {
                    Error::Connect(..) => tell(error),
                    error => tell(format_args!("Error: {error}")),
                }
                Ok(())
            }
            Err(Failure::Interrupted) => {
                print(b"\n")?;
                self.reconnect()
            }
            Err(failure) => Err(failure),
        }
    }

    /// Reconnects after an interruption on the old connection.
    fn reconnect(&mut self) -> Result<(), Failure> {
        match self.session.connect() {
            Err(Failure::Connection(error)) => {
                tell(error);
                Ok(())
            }
            result => result,
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Flow, Failure> {
        let code = if self.session.debugger.is_on() { debugger::evaluation(line) } else { None };
        let Ok(mut words) = code.map_or_else(|| words::split(line), Ok) else {
            print(b"Invalid argument(s)\n")?;
            return Ok(Flow::More);
        };
        let mut repeat = self.session.options.repeat;
        if words.len() > 1
            && let Some(number) = number::parse_i64(&words[0])
        {
            if number <= 0 {
                print(b"Invalid redis-cli repeat command option value.\n")?;
                return Ok(Flow::More);
            }
            repeat = number;
            words.remove(0);
        }
        let Some((first, rest)) = words.split_first() else { return Ok(Flow::More) };
        if is(first, "quit") || is(first, "exit") {
            return Ok(Flow::End);
        }
        if first.starts_with(b":") {
            self.preference(&words)?;
        } else if is(first, "restart") && self.debugs_script {
            return Ok(Flow::Restart);
        } else if is(first, "restart") {
            print(b"Use 'restart' only in Lua debugging mode.\n")?;
        } else if is(first, "connect") && rest.len() == 2 {
            self.connect_to(&rest[0], &rest[1])?;
        } else if is(first, "clear") && rest.is_empty() {
            draw(b"\x1b[H\x1b[2J")?;
        } else if is_help(first) && !self.session.debugger.is_on() {
            self.inform()?;
            print_help(&self.knowledge.docs.borrow(), rest)?;
        } else {
            let started = Instant::now();
            let result = self.repeat(&words, repeat);
            let is_cancelled = matches!(result, Err(Failure::Interrupted));
            self.survive(result)?;
            self.end_debugging()?;
            let elapsed = started.elapsed();
            if elapsed >= SLOW && !is_cancelled && self.session.options.style.format == Format::Standard {
                print(format!("({:.2}s)\n", elapsed.as_secs_f64()).as_bytes())?;
            }
        }
        Ok(Flow::More)
    }

    /// If a debugging session has just ended, prints the script's reply and reconnects, since the server closes the
    /// connection.
    fn end_debugging(&mut self) -> Result<(), Failure> {
        let Some(mode) = self.session.debugger.take_end() else { return Ok(()) };
        let result = self.session.show_end();
        self.survive(result)?;
        let changes = if mode == Mode::Forked { " -- dataset changes rolled back" } else { "" };
        print(format!("\n(Lua debugging session ended{changes})\n\n").as_bytes())?;
        self.reconnect()
    }

    fn repeat(&mut self, words: &[Vec<u8>], times: i64) -> Result<(), Failure> {
        let mut left = times;
        while left != 0 {
            self.has_failed |= !self.session.execute(words)?;
            if self.session.state.is_monitoring {
                self.session.listen()?;
            }
            left -= i64::from(left > 0);
            if left != 0 {
                terminal::pause(self.session.options.interval);
                if terminal::take_interrupt() {
                    return Err(Failure::Interrupted);
                }
            }
        }
        Ok(())
    }

    fn connect_to(&mut self, host: &[u8], port: &[u8]) -> Result<(), Failure> {
        let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
        let Some(port) = port else { return print(b"Invalid server port.\n") };
        let host = String::from_utf8_lossy(host).into_owned();
        self.session.options.target.address = Address::Tcp(host, port);
        self.is_informed = false;
        let result = self.session.connect();
        self.survive(result)
    }

    /// `:set hints`, `:set nohints`.
    fn preference(&mut self, words: &[Vec<u8>]) -> Result<(), Failure> {
        let name = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        match words {
            [set, what, ..] if is(set, ":set") => {
                if is(what, "hints") || is(what, "nohints") {
                    self.knowledge.has_hints.set(is(what, "hints"));
                    return Ok(());
                }
                print(format!("unknown redis-cli preference '{}'\n", name(what)).as_bytes())
            }
            _ => print(format!("unknown redis-cli internal command '{}'\n", name(&words[0])).as_bytes()),
        }
    }

    /// Reads the user's preferences file, if there is one.
    fn read_preferences(&mut self) {
        let path = match env::var_os("REDISCLI_RCFILE") {
            Some(path) => PathBuf::from(path),
            None => match env::var_os("HOME") {
                Some(home) => PathBuf::from(home).join(".redisclirc"),
                None => return,
            },
        };
        let Ok(text) = std::fs::read(path) else { return };
        for line in text.split(|&byte| byte == b'\n') {
            if let Ok(words) = words::split(line)
                && !words.is_empty()
            {
                // An error here means that nobody reads the output.
                let _ = self.preference(&words);
            }
        }
    }

    /// Prints messages to a subscriber until a key is pressed.
    fn watch(&mut self) -> Result<(), Failure> {
        if !self.session.state.is_subscribed || !self.session.is_connected() {
            return Ok(());
        }
        let input = stdin();
        let keys = terminal::Settings::keys(input.as_fd());
        let mut is_told = false;
        loop {
            // A wait for the socket does not notice messages that have already been received.
            while let Some(message) = self.session.received()? {
                if std::mem::take(&mut is_told) {
                    draw(b"\x1b[K")?;
                }
                self.session.show(&message)?;
            }
            if !is_told {
                draw(b"Reading messages... (press Ctrl-C to quit or any key to type command)\r")?;
                is_told = true;
            }
            let Some(connection) = self.session.connection() else { return Ok(()) };
            let ready = terminal::wait_readable([input.as_fd(), connection.as_fd()], None)
                .map_err(Failure::Output)?;
            if terminal::take_interrupt() {
                drop(keys);
                draw(b"\x1b[K")?;
                return self.reconnect();
            }
            if ready[0] {
                drop(keys);
                return draw(b"\x1b[K");
            }
            if ready[1]
                && let Err(failure) = self.session.fill()
            {
                draw(b"\x1b[K")?;
                return Err(failure);
            }
        }
    }
}

/// Whether the word asks for help.
pub fn is_help(word: &[u8]) -> bool {
    is(word, "help") || word == b"?"
}

/// Prints help for `words`.
pub fn print_help(docs: &Docs, words: &[Vec<u8>]) -> Result<(), Failure> {
    let has_colours = stdout().is_terminal() && colours_are_wanted();
    if docs.entries.is_empty() {
        return draw(help::text(&Docs::built_in(), words, has_colours).as_bytes());
    }
    draw(help::text(docs, words, has_colours).as_bytes())
}

/// Whether the user has not disabled colours.
pub fn colours_are_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && (stdout().is_terminal() || stderr().is_terminal())
}
