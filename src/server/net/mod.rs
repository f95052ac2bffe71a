//! Connections and their bytes: what was received and not executed, and what was not sent. Nothing here knows a key.

pub mod batch;
pub mod client;
pub mod ledger;
pub mod output;
pub mod pending;
pub mod query;
pub mod transaction;
pub mod transport;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use client::{Client, Clients};
use ledger::Ledger;
use output::Output;
use transport::Transport;

use crate::command::Session;
use crate::resp::{Protocol, Reply};
use crate::sys::net::Listener;
use crate::sys::poller::{Interest, NativePoller, Poller, Source, Token};

/// Bytes of replies written for one client before the others have their turn.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// The same for a client that has not authenticated, and may never read them.
const MAX_OUTPUT_UNAUTHENTICATED: usize = 4 * 1024;

/// What a client has sent whose turn it is: the buffers are not with it meanwhile.
#[derive(Clone, Copy, Default)]
pub struct InHand {
    /// The client, if one has its turn.
    pub client: Option<Token>,
    /// Bytes that it has sent and that were not executed when its turn began.
    pub bytes: usize,
    /// Room behind them.
    pub room: usize,
    /// Whether they are in the ring that all clients share.
    pub is_shared: bool,
}

impl InHand {
    /// The room that is the client's own.
    pub fn own_room(&self) -> usize {
        if self.is_shared { 0 } else { self.room }
    }
}

/// All connections.
pub struct Net {
    pub(super) poller: NativePoller,
    listeners: Vec<Listener>,
    pub(super) clients: Clients,
    pub(super) output: Output,
    /// Clients with whole requests left from the last iteration.
    resumable: Vec<Token>,
    /// Clients whose wait has ended, with what they sent behind the request that waited.
    unblocked: Vec<Token>,
    /// Clients to be closed at the end of the iteration.
    doomed: Vec<Token>,
    next_client_id: u64,
    in_hand: InHand,
    /// What the clients take, while that is limited.
    pub(super) ledger: Option<Ledger>,
}

impl Net {
    /// Without a listener and without a client.
    pub fn new(poller: NativePoller) -> Net {
        Net {
            poller,
            listeners: Vec::new(),
            clients: Clients::default(),
            output: Output::default(),
            resumable: Vec::new(),
            unblocked: Vec::new(),
            doomed: Vec::new(),
            next_client_id: 0,
            in_hand: InHand::default(),
            ledger: None,
        }
    }

    /// The sockets that clients connect to.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Registers `listeners`, in addition to those that are still open, with the poller.
    pub fn watch_listeners(&mut self, mut listeners: Vec<Listener>) -> io::Result<()> {
        self.listeners.append(&mut listeners);
        for (index, listener) in self.listeners.iter().enumerate() {
            // The indices of listeners that were open already may have changed, so they are registered again.
            let _ = self.poller.remove(listener.as_fd());
            self.poller.add(listener.as_fd(), Source::Listener(index as u32), Interest::READ)?;
        }
        Ok(())
    }

    /// Stops listening on TCP; the Unix socket stays.
    pub fn close_tcp_listeners(&mut self) {
        for listener in self.listeners.extract_if(.., |listener| listener.path().is_none()) {
            let _ = self.poller.remove(listener.as_fd());
        }
    }

    /// Stops listening, and returns the paths of the sockets that leave a file.
    pub fn close_listeners(&mut self) -> Vec<PathBuf> {
        self.listeners.drain(..).filter_map(|listener| listener.path().map(Path::to_owned)).collect()
    }

    /// Takes a connection in. `authenticated`: without a password.
    ///
    /// # Errors
    /// The kernel refuses to watch the socket.
    pub fn add_client(
        &mut self,
        transport: Transport,
        authenticated: bool,
        now_ms: i64,
    ) -> io::Result<Token> {
        let token = self.clients.next_token();
        self.poller.add(transport.as_fd(), Source::Client(token), Interest::READ)?;
        self.next_client_id += 1;
        self.clients.insert(Client::new(transport, self.next_client_id, authenticated, now_ms));
        Ok(token)
    }

    /// Whether clients have whole requests left from the last iteration.
    pub fn has_scheduled(&self) -> bool {
        !self.resumable.is_empty()
    }

    /// The clients that have whole requests left from the last iteration: they are to have their turn now.
    pub fn take_scheduled(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.resumable)
    }

    /// Whether the wait of a client has ended that had no turn since.
    pub fn has_unblocked(&self) -> bool {
        !self.unblocked.is_empty()
    }

    /// The clients whose wait has ended since the last call: they are to have their turn before the iteration ends.
    pub fn take_unblocked(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.unblocked)
    }

    /// The next client to be closed.
    pub fn next_doomed(&mut self) -> Option<Token> {
        self.doomed.pop()
    }

    /// The database that a client has selected.
    pub fn selected_db(&self, token: Token) -> usize {
        self.clients.get(token).map_or(0, |client| client.session.db)
    }

    /// A client has its turn.
    pub fn begin_turn(&mut self, token: Token) {
        let known = self.clients.get(token).is_some_and(|client| client.session.authenticated);
        let most = if known { MAX_OUTPUT } else { MAX_OUTPUT_UNAUTHENTICATED };
        self.output.begin_turn(token, most);
    }

    /// The buffers of a client that has its turn are taken out of it.
    pub fn take_in_hand(&mut self, client: Token, bytes: usize, room: usize, is_shared: bool) {
        self.in_hand = InHand { client: Some(client), bytes, room, is_shared };
    }

    /// The turn is over, and the client has its buffers again.
    pub fn put_down(&mut self) {
        self.in_hand = InHand::default();
    }

    /// What is in hand of `client`.
    pub fn in_hand(&self, client: Token) -> InHand {
        if self.in_hand.client == Some(client) { self.in_hand } else { InHand::default() }
    }

    /// Bytes of memory that belong to connections, and to none for good: what is in hand, and the output of the iteration.
    pub fn shared_bytes(&self) -> usize {
        self.in_hand.bytes + self.in_hand.own_room() + self.output.memory_bytes()
    }

    /// Closes a client that was to be closed after its last reply and has none to wait for: replies may be switched off.
    pub fn close_if_silent(&mut self, token: Token) {
        let silent = !self.output.has_any(token);
        if silent && self.clients.get(token).is_some_and(|client| client.pending.is_none()) {
            self.doom(token);
        }
    }

    /// The reply to `token`, in its protocol.
    pub fn reply_to(&mut self, token: Token) -> Reply<'_> {
        let protocol = self.clients.get(token).map_or(Protocol::Resp2, |client| client.session.protocol);
        self.output.reply_to(token, protocol)
    }

    /// The session of the client whose command is being executed.
    pub fn session(&mut self, token: Token) -> &mut Session {
        &mut self.clients.get_mut(token).expect("the client of the command being executed").session
    }

    /// Gives a client that has whole requests a turn in the next iteration.
    pub fn schedule(&mut self, token: Token) {
        if self.make_resumable(token) {
            self.resumable.push(token);
        }
    }

    /// [`Net::schedule`] for a client whose wait has ended: its turn is at the end of this iteration.
    pub fn schedule_unblocked(&mut self, token: Token) {
        if self.make_resumable(token) {
            self.unblocked.push(token);
        }
    }

    /// Returns whether the client had no turn to come yet.
    fn make_resumable(&mut self, token: Token) -> bool {
        self.clients.get_mut(token).is_some_and(|client| !std::mem::replace(&mut client.resumable, true))
    }

    /// Has the client closed at the end of the iteration.
    pub fn doom(&mut self, token: Token) {
        if let Some(client) = self.clients.get_mut(token)
            && !client.doomed
        {
            client.doomed = true;
            client.session.flags.close_now = true;
            self.doomed.push(token);
            if let Some(ledger) = &mut self.ledger {
                ledger.remove(token);
            }
        }
    }
}
