//! The types of a build without TLS: they cannot be created, so code that uses a session is never reached.

use std::convert::Infallible;
use std::io::{self, IoSlice};

use super::{ClientOptions, HOW_TO_GET, ServerOptions};
use crate::sys::net::{Address, Socket};

/// Creates the sessions of accepted connections.
#[derive(Clone, Debug)]
pub struct Acceptor(Infallible);

impl Acceptor {
    /// Fails: this build has no TLS.
    pub fn new(_: &ServerOptions) -> Result<Acceptor, String> {
        Err(HOW_TO_GET.into())
    }

    /// A session for a connection from `peer`.
    pub fn session(&self, _: Address) -> Result<Session, String> {
        match self.0 {}
    }
}

/// Creates the sessions of outgoing connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector(Infallible);

impl Connector {
    /// Fails: this build has no TLS.
    pub fn new(_: &ClientOptions) -> Result<Connector, String> {
        Err(HOW_TO_GET.into())
    }

    /// A session for an outgoing connection.
    pub fn session(&self, _: Option<&str>) -> Result<Session, String> {
        match self.0 {}
    }
}

/// The state of one encrypted connection.
pub struct Session(Infallible);

#[expect(missing_docs, reason = "as in session.rs")]
impl Session {
    pub fn receive(&mut self, _: &Socket, _: usize, _: impl FnMut(&[u8])) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn send(&mut self, _: &Socket, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn offer(&mut self, _: &Socket, _: &[u8]) {
        match self.0 {}
    }

    pub fn flush(&mut self, _: &Socket) -> io::Result<()> {
        match self.0 {}
    }

    pub fn end(&mut self, _: &Socket) {
        match self.0 {}
    }

    pub fn forget_unsent(&mut self) {
        match self.0 {}
    }

    pub fn peer(&self) -> &Address {
        match self.0 {}
    }

    pub fn take_completed(&mut self) -> bool {
        match self.0 {}
    }

    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub fn buffered(&self) -> usize {
        match self.0 {}
    }

    pub fn has_more(&self) -> bool {
        match self.0 {}
    }

    pub fn has_unsent(&self) -> bool {
        match self.0 {}
    }

    pub fn memory_bytes(&self) -> usize {
        match self.0 {}
    }
}
