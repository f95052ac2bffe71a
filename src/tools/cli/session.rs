//! A connection with what is known of it, on which commands are executed and their replies printed.
//!
//! A connection that the server closed is opened again, once, and the command sent again, as redis-cli does.

use std::io::{self, Write, stdout};

use super::options::Options;
use super::state::{self, State};
use crate::resp::{Protocol, Value};
use crate::sys::terminal;
use crate::tools::client::{Connection, Error, Interrupt};

/// Why a command has no reply.
#[derive(Debug)]
pub enum Failure {
    /// The connection failed.
    Connection(Error),
    /// What was to be printed cannot be.
    Output(io::Error),
    /// Ctrl-C, where it is caught.
    Interrupted,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Connection(error)
    }
}

/// Prints to the standard output, at once.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// A connection and its state.
#[derive(Debug)]
pub struct Session {
    /// What the command line asked for; the prompt changes the address.
    pub options: Options,
    /// What is known of the connection.
    pub state: State,
    connection: Option<Connection>,
}

impl Session {
    /// A session without a connection.
    pub fn new(options: Options) -> Session {
        Session { state: State::new(options.target.database), options, connection: None }
    }

    /// Whether there is a connection. It may have been closed by the server since.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The connection, for those that send and receive themselves.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Forgets the connection.
    pub fn disconnect(&mut self) {
        self.connection = None;
        self.state = State::new(self.state.database);
    }

    /// Connects anew, in the database of the connection before. A server that refuses the password, the database or the
    /// protocol is reported, and talked to all the same.
    pub fn connect(&mut self) -> Result<(), Failure> {
        self.disconnect();
        if self.options.verbose {
            eprintln!("Connecting to {}", self.options.target.address);
        }
        let target = &self.options.target;
        let mut connection = Connection::connect(&target.address)?;
        report(connection.authenticate(target))?;
        report(connection.select(self.state.database))?;
        match connection.negotiate(target.protocol) {
            Err(Error::Refused(..)) if self.options.may_fall_back => {
                self.options.target.protocol = Protocol::Resp2;
            }
            result => report(result.map_err(|error| match error {
                Error::Refused(_, text) => Error::Refused("HELLO 3", text),
                error => error,
            }))?,
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Sends a command and prints its reply, on a new connection if there is none or it turns out to be closed. Returns
    /// whether the reply is not an error.
    pub fn execute(&mut self, words: &[Vec<u8>]) -> Result<bool, Failure> {
        if self.connection.is_none() {
            self.connect()?;
        }
        let result = match self.attempt(words) {
            Err(Failure::Connection(Error::Closed | Error::Io(_))) => {
                self.connect()?;
                self.attempt(words)
            }
            result => result,
        };
        if matches!(result, Err(Failure::Connection(_) | Failure::Interrupted)) {
            self.disconnect();
        }
        result
    }

    fn attempt(&mut self, words: &[Vec<u8>]) -> Result<bool, Failure> {
        let Some(connection) = &mut self.connection else { return Err(Error::Closed.into()) };
        connection.send(words)?;
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
                    return Ok(true);
                }
                value => value?,
            };
            if let Some(parts) = state::message(&value)
                && (self.state.is_subscribed || state::changes_subscriptions(words))
            {
                self.state.heard(parts);
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
            left = 0;
            good = !value.is_error();
            let style = &self.options.style;
            print(&if state::has_text_reply(words) { style.text(&value) } else { style.reply(&value) })?;
            self.state.replied(words, &value);
            self.after(words, good)?;
        }
        Ok(good)
    }

    /// What follows a command: a user who is let in gets the database that was refused before.
    fn after(&mut self, words: &[Vec<u8>], good: bool) -> Result<(), Failure> {
        let authenticates = words.first().is_some_and(|word| state::is(word, "auth"));
        if good
            && authenticates
            && self.state.transaction.is_none()
            && let Some(connection) = &mut self.connection
        {
            report(connection.select(self.state.database))?;
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

    /// Prints what the server sends, until it closes the connection or the user has enough.
    pub fn listen(&mut self) -> Result<(), Failure> {
        loop {
            let value = self.receive()?;
            self.show(&value)?;
        }
    }

    /// Prints something that is not the reply to a command: a message to a subscriber, a line of MONITOR, a push.
    pub fn show(&mut self, value: &Value) -> Result<(), Failure> {
        match state::message(value) {
            Some(parts) => self.state.heard(parts),
            None if matches!(value, Value::Push(_)) => return self.show_push(value),
            None => {}
        }
        print(&self.options.style.reply(value))
    }

    fn show_push(&mut self, value: &Value) -> Result<(), Failure> {
        if self.options.show_pushes { print(&self.options.style.push(value)) } else { Ok(()) }
    }
}

/// Prints what a server refuses at the beginning, and goes on.
fn report(result: Result<(), Error>) -> Result<(), Failure> {
    match result {
        Err(error @ Error::Refused(..)) => {
            eprintln!("{error}");
            Ok(())
        }
        result => Ok(result?),
    }
}
