//! Connections and their bytes: what was received and not executed, and what was not sent. Nothing here knows a key.

pub mod batch;
pub mod client;
pub mod output;

use client::Clients;
use output::Output;

use crate::command::Session;
use crate::resp::{Protocol, Reply};
use crate::sys::net::Listener;
use crate::sys::poller::{NativePoller, Token};

/// All connections.
pub struct Net {
    pub(in crate::server) poller: NativePoller,
    pub(in crate::server) listeners: Vec<Listener>,
    pub(in crate::server) clients: Clients,
    pub(in crate::server) output: Output,
    /// Clients with whole requests left from the last iteration.
    pub(in crate::server) resumable: Vec<Token>,
    /// Clients to be closed at the end of the iteration.
    pub(in crate::server) doomed: Vec<Token>,
    pub(in crate::server) next_client_id: u64,
}

impl Net {
    /// The reply to `token`, in its protocol.
    pub fn reply_to(&mut self, token: Token) -> Reply<'_> {
        let protocol = self.clients.get(token).map_or(Protocol::Resp2, |client| client.session.protocol);
        Reply { buf: &mut self.output.buffer, protocol }
    }

    /// The session of the client whose command is being executed.
    pub fn session(&mut self, token: Token) -> &mut Session {
        &mut self.clients.get_mut(token).expect("the client of the command being executed").session
    }

    /// Gives a client that has whole requests a turn in the next iteration.
    pub fn schedule(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token)
            && !client.resumable
        {
            client.resumable = true;
            self.resumable.push(token);
        }
    }

    /// Has the client closed at the end of the iteration.
    pub fn doom(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token)
            && !client.doomed
        {
            client.doomed = true;
            client.session.flags.close_now = true;
            self.doomed.push(token);
        }
    }
}
