//! Connections and their bytes: received input that has not been executed, and output that has not been sent. This
//! module knows no keys.

pub mod batch;
pub mod client;
pub mod ledger;
pub mod line;
pub mod output;
pub mod parcel;
pub mod pending;
pub mod query;
pub mod sheet;
pub mod shortage;
pub mod threads;
pub mod transaction;
pub mod transport;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use client::{Client, Clients};
use ledger::Ledger;
use line::Seat;
use output::Output;
use shortage::Shortage;
use threads::Threads;
use transport::Transport;

use crate::command::Session;
use crate::command::acl::Rights;
use crate::resp::{Protocol, Reply};
use crate::sys::handoff::Bell;
use crate::sys::net::Listener;
use crate::sys::poller::{Interest, NativePoller, Poller, Source, Token};

/// The most bytes of replies that one client's requests may write before other clients get a turn.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// The same limit for a client that has not authenticated and may never read its replies.
const MAX_OUTPUT_UNAUTHENTICATED: usize = 4 * 1024;

/// The input of the client whose turn it is. During the turn, its buffers are not stored in the client.
#[derive(Clone, Copy, Default)]
pub struct InHand {
    /// The client whose turn it is, if any.
    pub client: Option<Token>,
    /// Bytes it had sent that were not yet executed when its turn began.
    pub bytes: usize,
    /// Free room after these bytes.
    pub room: usize,
    /// Whether the bytes are in the ring that all clients share.
    pub is_shared: bool,
}

impl InHand {
    /// Returns the free room that belongs to this client alone.
    pub fn own_room(&self) -> usize {
        if self.is_shared { 0 } else { self.room }
    }
}

/// A listening socket for clients.
pub struct Entrance {
    /// The socket.
    pub listener: Listener,
    /// Whether its connections use TLS.
    pub is_encrypted: bool,
}

/// All connections.
pub struct Net {
    pub(super) poller: NativePoller,
    entrances: Vec<Entrance>,
    pub(super) shortage: Shortage,
    pub(super) clients: Clients,
    pub(super) output: Output,
    /// Clients with whole requests left from the last iteration.
    resumable: Vec<Token>,
    /// Clients that were just unblocked and have more requests buffered behind the one that blocked.
    unblocked: Vec<Token>,
    /// Clients whose transports hold decrypted bytes, which the poller does not report.
    buffering: Vec<Token>,
    /// Whether there is or was a client with an encrypted connection.
    pub(super) has_encrypted: bool,
    /// Clients to be closed at the end of the iteration.
    doomed: Vec<Token>,
    next_client_id: u64,
    in_hand: InHand,
    /// The I/O threads.
    pub(super) threads: Threads,
    /// The memory that each client uses, while `maxmemory-clients` is set.
    pub(super) ledger: Option<Ledger>,
}

impl Net {
    /// Creates it with no listeners and no clients.
    pub fn new(poller: NativePoller) -> Net {
        let threads = Threads::new(Bell::new(poller.waker()));
        Net {
            poller,
            threads,
            entrances: Vec::new(),
            shortage: Shortage::default(),
            clients: Clients::default(),
            output: Output::default(),
            resumable: Vec::new(),
            unblocked: Vec::new(),
            buffering: Vec::new(),
            has_encrypted: false,
            doomed: Vec::new(),
            next_client_id: 0,
            in_hand: InHand::default(),
            ledger: None,
        }
    }

    /// Returns the sockets that clients connect to.
    pub fn entrances(&self) -> &[Entrance] {
        &self.entrances
    }

    /// Adds `listeners` to those that are already open, and registers all of them with the poller.
    pub fn watch_listeners(&mut self, listeners: Vec<Listener>, is_encrypted: bool) -> io::Result<()> {
        self.entrances.extend(listeners.into_iter().map(|listener| Entrance { listener, is_encrypted }));
        for (index, Entrance { listener, .. }) in self.entrances.iter().enumerate() {
            // Existing listeners may have a new index, so they are registered again.
            let _ = self.poller.remove(listener.as_fd());
            self.poller.add(listener.as_fd(), Source::Listener(index as u32), Interest::READ)?;
        }
        Ok(())
    }

    /// Watches the listener `index` for connections or not.
    pub fn watch_listener(&mut self, index: u32, interest: Interest) {
        if let Some(entrance) = self.entrances.get(index as usize) {
            // If the kernel refuses, the listener stays as it is.
            let _ = self.poller.modify(entrance.listener.as_fd(), Source::Listener(index), interest);
        }
    }

    /// Closes the TCP listeners with TLS (`is_encrypted`) or those without. The Unix socket stays open.
    pub fn close_tcp_listeners(&mut self, is_encrypted: bool) {
        let closes = |entrance: &mut Entrance| {
            entrance.listener.path().is_none() && entrance.is_encrypted == is_encrypted
        };
        for entrance in self.entrances.extract_if(.., closes) {
            let _ = self.poller.remove(entrance.listener.as_fd());
        }
    }

    /// Closes all listeners, and returns the paths of the Unix sockets, whose files remain.
    pub fn close_listeners(&mut self) -> Vec<PathBuf> {
        self.entrances.drain(..).filter_map(|entrance| entrance.listener.path().map(Path::to_owned)).collect()
    }

    /// Adds a connection.
    ///
    /// # Errors
    /// The kernel refuses to watch the socket.
    pub fn add_client(&mut self, transport: Transport, rights: Rights, now_ms: i64) -> io::Result<Token> {
        let token = self.clients.next_token();
        self.poller.add(transport.as_fd(), Source::Client(token), Interest::READ)?;
        self.has_encrypted |= transport.is_encrypted();
        self.next_client_id += 1;
        self.clients.insert(Client::new(transport, self.next_client_id, rights, now_ms));
        Ok(token)
    }

    /// Whether clients have whole requests left from the last iteration.
    pub fn has_scheduled(&self) -> bool {
        !self.resumable.is_empty()
    }

    /// Takes the clients that have whole requests left from the last iteration: each gets its turn now.
    pub fn take_scheduled(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.resumable)
    }

    /// Gives a client whose transport holds decrypted bytes a turn in the next iteration.
    pub fn note_buffering(&mut self, token: Token) {
        self.buffering.push(token);
    }

    /// Whether a client waits for such a turn.
    pub fn has_buffering(&self) -> bool {
        !self.buffering.is_empty()
    }

    /// Takes the clients whose transports held decrypted bytes after their last turn.
    pub fn take_buffering(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.buffering)
    }

    /// Whether a client was unblocked and has not had a turn since.
    pub fn has_unblocked(&self) -> bool {
        !self.unblocked.is_empty()
    }

    /// Takes the clients that were unblocked since the last call: each gets its turn before the iteration ends.
    pub fn take_unblocked(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.unblocked)
    }

    /// Whether clients are to be closed.
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty()
    }

    /// Takes the next client to close.
    pub fn next_doomed(&mut self) -> Option<Token> {
        self.doomed.pop()
    }

    /// Returns the database that the client has selected.
    pub fn selected_db(&self, token: Token) -> usize {
        self.clients.get(token).map_or(0, |client| client.session.db)
    }

    /// Returns the IP address of the client.
    pub fn ip_of(&self, token: Token) -> String {
        self.clients.get(token).map_or_else(String::new, |client| client.peer().ip_text())
    }

    /// Begins the turn of a client.
    pub fn begin_turn(&mut self, token: Token) {
        let known = self.clients.get(token).is_some_and(|client| client.session.rights.authenticated);
        let most = if known { MAX_OUTPUT } else { MAX_OUTPUT_UNAUTHENTICATED };
        self.output.begin_turn(token, most);
    }

    /// Records that the buffers of `client` were taken out of it for its turn.
    pub fn take_in_hand(&mut self, client: Token, bytes: usize, room: usize, is_shared: bool) {
        self.in_hand = InHand { client: Some(client), bytes, room, is_shared };
    }

    /// Ends the turn: the client has its buffers again.
    pub fn put_down(&mut self) {
        self.in_hand = InHand::default();
    }

    /// Returns the client whose turn it is.
    pub fn served_client(&self) -> Option<&Client> {
        self.in_hand.client.and_then(|token| self.clients.get(token))
    }

    /// Returns the input in hand, if it belongs to `client`.
    pub fn in_hand(&self, client: Token) -> InHand {
        if self.in_hand.client == Some(client) { self.in_hand } else { InHand::default() }
    }

    /// Bytes of memory that connections use only temporarily: the input in hand, and this iteration's output.
    pub fn shared_bytes(&self) -> usize {
        self.in_hand.bytes
            + self.in_hand.own_room()
            + self.output.memory_bytes()
            + self.threads.memory_bytes()
    }

    /// Closes a client that should close after its last reply, if no reply is left to send (replies may be switched
    /// off).
    pub fn close_if_silent(&mut self, token: Token) {
        if self.output.has_any(token) {
            return;
        }
        let Some(client) = self.clients.get(token) else { return };
        match client.line() {
            Some(line) if line.pending.is_some() => {}
            Some(_) => self.doom(token),
            None => self.recall(token),
        }
    }

    /// Has the I/O thread return the client's line, if one has it. The line is here in a later iteration.
    pub fn recall(&mut self, token: Token) {
        if let Some(away) = self.clients.get_mut(token).and_then(Client::away_mut) {
            self.threads.recall(token, away);
        }
    }

    /// Closes the connection of a client that was removed.
    pub fn end_line(&mut self, token: Token, seat: Seat) {
        match seat {
            Seat::Here(mut line) => {
                line.transport.end();
                // The socket leaves the poller with its descriptor; removing it first spares the next wait a stale event.
                let _ = self.poller.remove(line.transport.as_fd());
            }
            Seat::Away(away) => self.threads.close(token, &away),
        }
    }

    /// Returns the reply writer for `token`, in its protocol.
    pub fn reply_to(&mut self, token: Token) -> Reply<'_> {
        let protocol = self.clients.get(token).map_or(Protocol::Resp2, |client| client.session.protocol);
        self.output.reply_to(token, protocol)
    }

    /// Returns the session of the client whose command is being executed.
    pub fn session(&mut self, token: Token) -> &mut Session {
        &mut self.clients.get_mut(token).expect("the client of the command being executed").session
    }

    /// Schedules a turn in the next iteration for a client that has whole requests.
    pub fn schedule(&mut self, token: Token) {
        if self.make_resumable(token) {
            self.resumable.push(token);
        }
    }

    /// [`Net::schedule`] for a client that was unblocked: its turn is at the end of this iteration.
    pub fn schedule_unblocked(&mut self, token: Token) {
        if self.make_resumable(token) {
            self.unblocked.push(token);
        }
    }

    /// Marks the client as scheduled. Returns false if it already was.
    fn make_resumable(&mut self, token: Token) -> bool {
        self.clients.get_mut(token).is_some_and(|client| !std::mem::replace(&mut client.resumable, true))
    }

    /// Closes the client at the end of the iteration.
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
