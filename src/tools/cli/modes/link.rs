//! A connection that is made again when it breaks, for the modes that watch a server for a long time.

use std::thread;
use std::time::Duration;

use super::{Failure, draw};
use crate::resp::Value;
use crate::tools::client::{Connection, Error, Target};

/// How long to wait before the next attempt to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to a server that may go away and come back.
pub(super) struct Link<'a> {
    target: &'a Target,
    connection: Connection,
}

impl<'a> Link<'a> {
    /// Connects. A server that cannot be reached now is an error.
    pub(super) fn open(target: &'a Target) -> Result<Link<'a>, Failure> {
        Ok(Link { target, connection: Connection::open(target)? })
    }

    /// Sends a command and receives its reply. Where the connection breaks, this connects again and sends the command
    /// again, until there is a reply; a line that is removed afterwards says so.
    pub(super) fn call(&mut self, command: &str) -> Result<Value, Failure> {
        let mut attempts = 0;
        loop {
            match self.connection.call(&[command]) {
                Ok(reply) => {
                    if attempts > 0 {
                        draw("\r\x1b[0K")?;
                    }
                    return Ok(reply);
                }
                Err(Error::Closed | Error::Io(_)) => {}
                Err(error) => return Err(error.into()),
            }
            self.connection = loop {
                attempts += 1;
                draw(&format!("\r\x1b[0KReconnecting... {attempts}\r"))?;
                thread::sleep(PAUSE);
                match Connection::open(self.target) {
                    Ok(connection) => break connection,
                    Err(Error::Connect(..) | Error::Closed | Error::Io(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            };
        }
    }
}
