//! A connection and its state; executes commands on it and prints their replies.
//!
//! A command is never sent again after a broken connection: it fails, and the next one reconnects. With `-c` it is sent
//! again to the node that a `MOVED` or `ASK` error names; the node that replied with the error has not executed it.

use std::io;

use super::debugger::{self, Debugger};
use super::docs::Docs;
use super::format::Format;
use super::options::Options;
use super::redirection::Redirection;
use super::state::{self, State};
use crate::resp::Value;
use crate::sys::terminal;
use crate::tools::client::{Connection, Error, Interrupt};
use crate::tools::console::{self, tell};

/// The maximum number of redirections of one command. More of them mean that the nodes disagree about the slot.
const MAX_REDIRECTIONS: usize = 64;

/// Why a command has no reply.
#[derive(Debug)]
pub enum Failure {
    /// The connection failed.
    Connection(Error),
    /// The output could not be printed.
    Output(io::Error),
    /// Ctrl-C, where it is caught.
    Interrupted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Connection(error)
    }
}

/// Prints to standard output and flushes it.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    console::print(bytes).map_err(Failure::Output)
}

/// Like `print`, but does not escape control characters.
pub fn draw(bytes: &[u8]) -> Result<(), Failure> {
    console::draw(bytes).map_err(Failure::Output)
}

/// The result of sending a command.
enum Done {
    /// It has a reply; false if that is an error.
    Replied(bool),
    /// Another node has to execute it.
    Redirected(Redirection),
}

/// A connection and its state.
#[derive(Debug)]
pub struct Session {
    /// The options of the command line; commands at the prompt change the address.
    pub options: Options,
    /// The state of the connection.
    pub state: State,
    /// The debugging state of the connection.
    pub debugger: Debugger,
    /// Whether a line is printed for each redirection.
    pub shows_redirections: bool,
    /// The database to select on a new connection.
    wanted: u32,
    connection: Option<Connection>,
}

impl Session {
    /// Creates a session without a connection.
    pub fn new(options: Options) -> Session {
        let wanted = options.target.database;
        Session {
            options,
            state: State::default(),
            debugger: Debugger::default(),
            shows_redirections: false,
            wanted,
            connection: None,
        }
    }

    /// Whether there is a connection. The server may have closed it since.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The connection, for callers that send and receive themselves.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Drops the connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
        self.state = State::default();
        if std::mem::take(&mut self.debugger).is_on() {
            self.options.style.format = Format::Standard;
        }
    }

    /// Reconnects, and selects the database of the previous connection. If the server rejects the password, the
    /// database or the protocol, reports that and continues.
    pub fn connect(&mut self) -> Result<(), Failure> {
        self.disconnect();
        if self.options.verbose {
            tell(format_args!("Connecting to {}", self.options.target.address));
        }
        let mut connection =
            Connection::connect(&self.options.target.address, self.options.target.tls.as_ref())?;
        if report(connection.authenticate(&self.options.target), "AUTH")? {
            self.connection = Some(connection);
            self.select()?;
            self.negotiate()?;
        } else {
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// Selects the user's database.
    fn select(&mut self) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if self.state.database != self.wanted
            && report(connection.select(self.wanted), &format!("SELECT {}", self.wanted))?
        {
            self.state.database = self.wanted;
        }
        Ok(())
    }

    fn negotiate(&mut self) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let result = connection.negotiate(self.options.target.protocol);
        if matches!(result, Err(Error::Refused(..))) && self.options.may_fall_back {
            return Ok(());
        }
        report(result, "HELLO 3").map(drop)
    }

    /// Fetches the server's description of its commands; `None` if it has none.
    pub fn docs(&mut self) -> Result<Option<Docs>, Failure> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        connection.send(&["COMMAND", "DOCS"])?;
        Ok(Docs::from_reply(&self.receive()?))
    }

    /// Sends a command and prints its reply; connects first if necessary. Returns false if the reply is an error. Drops
    /// a connection that failed, or on which a reply is outstanding.
    pub fn execute(&mut self, words: &[Vec<u8>]) -> Result<bool, Failure> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let mut left = if self.options.follows { MAX_REDIRECTIONS } else { 0 };
        let result = loop {
            match self.attempt(words, left > 0) {
                Ok(Done::Redirected(redirection)) => {
                    left -= 1;
                    if let Err(failure) = self.follow(&redirection) {
                        break Err(failure);
                    }
                }
                Ok(Done::Replied(good)) => break Ok(good),
                Err(failure) => break Err(failure),
            }
        };
        if matches!(result, Err(Failure::Connection(_) | Failure::Interrupted)) {
            self.disconnect();
        }
        result
    }

    /// Connects to the node that a redirection names. A transaction on the previous connection is discarded.
    fn follow(&mut self, redirection: &Redirection) -> Result<(), Failure> {
        self.options.target.address = redirection.address(&self.options.target.address);
        if self.shows_redirections {
            print(redirection.line(&self.options.target.address).as_bytes())?;
        }
        self.connect()?;
        if redirection.is_temporary {
            let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
            connection.send(&["ASKING"])?;
            let reply = self.receive()?;
            report(
                match reply {
                    Value::Error(text) => Err(Error::Refused("ASKING", text)),
                    _ => Ok(()),
                },
                "ASKING",
            )?;
        }
        Ok(())
    }

    /// Sends the command once. `follows` tells whether a redirection is returned rather than printed.
    fn attempt(&mut self, words: &[Vec<u8>], follows: bool) -> Result<Done, Failure> {
        let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
        connection.send(words)?;
        if self.debugger.sends(words) {
            self.options.style.format = Format::Raw;
        }
        let ends = words.first().is_some_and(|word| state::is(word, "shutdown"));
        let mut left = self.state.replies(words);
        if left == 0 {
            self.state.sent(words);
        }
        let mut good = true;
        while left > 0 {
            let value = match self.receive() {
                Err(Failure::Connection(Error::Closed)) if ends => {
                    self.disconnect();
                    return Ok(Done::Replied(true));
                }
                value => value?,
            };
            if let Some(parts) = state::message(&value)
                && (self.state.is_subscribed || state::changes_subscriptions(words))
            {
                self.state.pushed(parts);
                let is_confirmation = parts
                    .first()
                    .and_then(Value::as_bytes)
                    .is_some_and(|kind| words.first().is_some_and(|word| word.eq_ignore_ascii_case(kind)));
                left -= usize::from(is_confirmation);
                print(&self.options.style.reply(&value))?;
                continue;
            }
            if matches!(value, Value::Push(_)) {
                self.show_push(&value)?;
                continue;
            }
            if follows && let Some(redirection) = Redirection::from_reply(&value) {
                return Ok(Done::Redirected(redirection));
            }
            left = 0;
            good = !value.is_error();
            self.show_reply(words, &value)?;
            self.state.replied(words, &value);
            self.after(words, good)?;
        }
        Ok(Done::Replied(good))
    }

    /// Sends `SCRIPT DEBUG`. If the server rejects it, prints the error and returns false: without the debugger, the
    /// script would simply be executed.
    pub fn request_debugging(&mut self, words: &[Vec<u8>]) -> Result<bool, Failure> {
        let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
        self.debugger.sends(words);
        report(
            match connection.call(words)? {
                Value::Error(text) => Err(Error::Refused("SCRIPT DEBUG", text)),
                _ => Ok(()),
            },
            "SCRIPT DEBUG",
        )
    }

    /// Prints the script's reply after a debugging session.
    pub fn show_end(&mut self) -> Result<(), Failure> {
        loop {
            match self.receive()? {
                push @ Value::Push(_) => self.show_push(&push)?,
                reply => return self.show_reply(&[], &reply),
            }
        }
    }

    /// Prints a debugger reply. The last one resets the output format to the standard one.
    fn show_debugged(&mut self, reply: &Value) -> Result<(), Failure> {
        let lines = if let Value::Array(lines) = reply { &lines[..] } else { std::slice::from_ref(reply) };
        let style = &self.options.style;
        let has_colours = debugger::has_colours();
        let (mut out, mut is_over) = (Vec::new(), false);
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(&style.between_elements);
            }
            match line {
                Value::Simple(text) if self.debugger.ends(text) => is_over = true,
                Value::Simple(text) if has_colours => {
                    out.extend_from_slice(format!("\x1b[{};49m", debugger::colour(text)).as_bytes());
                    out.extend(console::shown(text));
                    out.extend_from_slice(b"\x1b[0m");
                }
                line => out.extend(console::shown(&style.text(line))),
            }
        }
        out.extend_from_slice(&style.after_reply);
        if is_over {
            self.options.style.format = Format::Standard;
        }
        draw(&out)
    }

    fn show_reply(&mut self, words: &[Vec<u8>], value: &Value) -> Result<(), Failure> {
        if self.debugger.is_on() {
            return self.show_debugged(value);
        }
        let style = &self.options.style;
        match value {
            Value::Error(text) if self.options.errors_apart => {
                tell(String::from_utf8_lossy(text));
                Ok(())
            }
            value if state::has_text_reply(words) => print(&style.text(value)),
            value => print(&style.reply(value)),
        }
    }

    /// Updates the session after a command: records choices for later connections, and selects the database again after
    /// a successful authentication if it was rejected before.
    fn after(&mut self, words: &[Vec<u8>], good: bool) -> Result<(), Failure> {
        let was = |name: &str| good && words.first().is_some_and(|word| state::is(word, name));
        if was("auth") && self.state.transaction.is_none() {
            self.select()?;
        } else if was("select") || was("reset") {
            self.wanted = self.state.database;
        }
        Ok(())
    }

    /// Waits for the next reply or message. Ctrl-C, where it is caught, ends the wait.
    fn receive(&mut self) -> Result<Value, Failure> {
        let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
        loop {
            match connection.receive_or(None)? {
                Ok(value) => return Ok(value),
                Err(Interrupt::Signal) if terminal::take_interrupt() => return Err(Failure::Interrupted),
                Err(_) => {}
            }
        }
    }

    /// Returns the next complete message among the received bytes.
    pub fn received(&mut self) -> Result<Option<Value>, Failure> {
        match &mut self.connection {
            Some(connection) => Ok(connection.next_received()?),
            None => Ok(None),
        }
    }

    /// Receives bytes from a readable connection.
    pub fn fill(&mut self) -> Result<(), Failure> {
        let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
        // After Ctrl-C there are no bytes: the caller, which waits for more than this, notices it.
        let _ = connection.fill(None)?;
        Ok(())
    }

    /// Prints messages from the server until it closes the connection or the user presses Ctrl-C.
    pub fn listen(&mut self) -> Result<(), Failure> {
        loop {
            let value = self.receive()?;
            self.show(&value)?;
        }
    }

    /// Prints a value that is not the reply to a command: a pub/sub message, a line of MONITOR, a push message.
    pub fn show(&mut self, value: &Value) -> Result<(), Failure> {
        match state::message(value) {
            Some(parts) => self.state.pushed(parts),
            None if matches!(value, Value::Push(_)) => return self.show_push(value),
            None => {}
        }
        print(&self.options.style.reply(value))
    }

    fn show_push(&mut self, value: &Value) -> Result<(), Failure> {
        if self.options.show_pushes { print(&self.options.style.push(value)) } else { Ok(()) }
    }
}

/// Reports an error in the handshake and continues. Returns whether there was none.
fn report(result: Result<(), Error>, what: &str) -> Result<bool, Failure> {
    match result {
        Err(Error::Refused(_, text)) => {
            tell(format_args!("{what} failed: {}", String::from_utf8_lossy(&text)));
            Ok(false)
        }
        result => result.map(|()| true).map_err(Failure::from),
    }
}
