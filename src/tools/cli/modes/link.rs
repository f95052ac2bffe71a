//! A connection that is re-established when it breaks, for modes that watch a server for a long time.

use std::thread;
use std::time::Duration;

use super::{Failure, draw};
use crate::resp::Value;
use crate::tools::client::{Connection, Error, Target};

/// The pause between attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection to a server that may go away and come back.
pub(super) struct Link<'a> {
    target: &'a Target,
    connection: Connection,
}

impl<'a> Link<'a> {
    /// Connects. Fails if the server is unreachable now.
    pub(super) fn open(target: &'a Target) -> Result<Link<'a>, Failure> {
        Ok(Link { target, connection: Connection::open(target)? })
    }

    /// Sends a command and receives its reply. If the connection breaks, reconnects and resends the command until there
    /// is a reply. A message shows this meanwhile and is removed afterwards.
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
