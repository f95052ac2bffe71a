//! The connections of `metrics-port`: few, short, and never delaying a client.
//!
//! ```text
//!   accepted ─▶ receives a head ─▶ its response is written ─▶ sent ─▶ the next request, or the end:
//!                 10 s at most                                30 s      shut down, what still comes is thrown away for 2 s
//! ```
//!
//! They are served by the same loop as clients but are not clients. They do not count against `maxclients`, so a full
//! server still serves metrics; and they have their own limit, so they cannot fill it. [`MAX_CONNECTIONS`] fit into the
//! descriptors reserved besides those of clients. A connection holds at most a request head, or the unsent part of a
//! response. Every state has a deadline, which cron checks, except while a response is computed. A connection gets one
//! response per iteration: with [`MAX_CONNECTIONS`], this bounds the delay for clients.

pub mod connection;

use std::io;
use std::os::fd::AsFd;

use connection::{Asked, Connection, Fate};

use crate::http::Status;
use crate::sys::net::{Address, Listener, Socket};
use crate::sys::poller::{Event, Interest, NativePoller, Poller, Source};
use crate::tls::Channel;

/// Connections at the same time.
pub const MAX_CONNECTIONS: usize = 16;

/// A larger response buffer is not kept for the next response.
const MAX_SPARE: usize = 256 << 10;

/// Why there is no request.
pub enum Fault {
    /// The input is not a request: this status has to be sent as the response.
    Malformed(Status),
    /// The TLS handshake has failed, and the connection is closed. The text is a message for the log.
    Handshake(String),
}

/// All connections, and their listeners.
#[derive(Default)]
pub struct Web {
    listeners: Vec<Listener>,
    connections: Vec<Connection>,
    next_number: u32,
    /// The buffer of the last response that was sent whole.
    spare: Vec<u8>,
    /// Requests that were responded to.
    pub requests: u64,
}

impl Web {
    /// Whether anything is served.
    pub fn is_open(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Registers listeners with the poller.
    ///
    /// # Errors
    /// The kernel refuses to watch one.
    pub fn open(&mut self, poller: &mut NativePoller, listeners: Vec<Listener>) -> io::Result<()> {
        for listener in listeners {
            let source = Source::WebListener(self.listeners.len() as u32);
            poller.add(listener.as_fd(), source, Interest::READ)?;
            self.listeners.push(listener);
        }
        Ok(())
    }

    /// Closes all listeners and connections.
    pub fn close(&mut self, poller: &mut NativePoller) {
        for listener in self.listeners.drain(..) {
            let _ = poller.remove(listener.as_fd());
        }
        for connection in self.connections.drain(..) {
            let _ = poller.remove(connection.channel.as_fd());
        }
        self.spare = Vec::new();
    }

    /// Watches the listener `index` for connections or not.
    pub fn watch_listener(&self, poller: &mut NativePoller, index: u32, interest: Interest) {
        if let Some(listener) = self.listeners.get(index as usize) {
            // If the kernel refuses, the listener stays as it is.
            let _ = poller.modify(listener.as_fd(), Source::WebListener(index), interest);
        }
    }

    /// The next connection that waits at the listener `index`.
    ///
    /// # Errors
    /// There are not enough descriptors.
    pub fn accept(&self, index: usize) -> io::Result<Option<(Socket, Address)>> {
        self.listeners.get(index).map_or(Ok(None), Listener::accept)
    }

    /// Makes room for one more connection if all are in use, by closing the one that has been idle longest. Returns
    /// whether there is room.
    pub fn make_room(&mut self, poller: &mut NativePoller) -> bool {
        if self.connections.len() < MAX_CONNECTIONS {
            return true;
        }
        let idle = self.connections.iter().enumerate().filter(|(_, connection)| connection.is_idle());
        let Some((index, _)) = idle.min_by_key(|(_, connection)| connection.deadline_us()) else {
            return false;
        };
        self.drop_at(index, poller);
        true
    }

    /// Takes a connection in.
    ///
    /// # Errors
    /// The kernel refuses to watch it.
    pub fn add(&mut self, poller: &mut NativePoller, channel: Channel, now_us: u64) -> io::Result<u32> {
        let mut number = self.next_number;
        // Numbers come again after 2³² connections.
        while self.find(number).is_some() {
            number = number.wrapping_add(1);
        }
        self.next_number = number.wrapping_add(1);
        let _ = channel.socket().set_nodelay(true);
        poller.add(channel.as_fd(), Source::Web(number), Interest::READ)?;
        self.connections.push(Connection::new(channel, number, now_us));
        Ok(number)
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.connections.iter().position(|connection| connection.number == number)
    }

    fn drop_at(&mut self, index: usize, poller: &mut NativePoller) {
        let connection = self.connections.swap_remove(index);
        let _ = poller.remove(connection.channel.as_fd());
        self.keep_spare(connection.into_buffer());
    }

    fn keep_spare(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= MAX_SPARE {
            buffer.clear();
            self.spare = buffer;
        }
    }

    /// Handles an event of the connection `number`: sends, or receives. Returns a request that has arrived, or the
    /// reason why there is none.
    pub fn on_event(
        &mut self,
        poller: &mut NativePoller,
        number: u32,
        event: Event,
        now_us: u64,
    ) -> Option<Result<Asked, Fault>> {
        let index = self.find(number)?;
        let fate = self.connections[index].on_event(event, now_us);
        self.settle(index, poller, fate)
    }

    /// Sends a response to connection `number`, which may then be closed.
    pub fn respond(
        &mut self,
        poller: &mut NativePoller,
        number: u32,
        response: Vec<u8>,
        keep_alive: bool,
        now_us: u64,
    ) {
        self.requests += 1;
        let Some(index) = self.find(number) else { return };
        let fate = self.connections[index].respond(response, keep_alive, now_us);
        self.settle(index, poller, fate);
    }

    /// Returns a buffer for a response.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// Closes the connections whose deadline has passed; returns the numbers of those with a partial request, which
    /// must be sent an error.
    pub fn end_overdue(&mut self, poller: &mut NativePoller, now_us: u64) -> Vec<u32> {
        let mut late = Vec::new();
        for index in (0..self.connections.len()).rev() {
            let connection = &self.connections[index];
            if now_us < connection.deadline_us() {
                continue;
            }
            if connection.has_half_a_request() {
                late.push(connection.number);
            } else {
                self.drop_at(index, poller);
            }
        }
        late
    }

    /// Acts on the state of a connection after an event.
    fn settle(
        &mut self,
        index: usize,
        poller: &mut NativePoller,
        fate: Fate,
    ) -> Option<Result<Asked, Fault>> {
        let connection = &mut self.connections[index];
        match fate {
            Fate::Asks(asked) => return Some(asked.map_err(Fault::Malformed)),
            Fate::Stranger(error) => {
                let socket = connection.channel.socket();
                let (peer, local) = (socket.peer(), socket.local());
                self.drop_at(index, poller);
                return Some(Err(Fault::Handshake(format!("{error} (addr={peer} laddr={local})"))));
            }
            Fate::Ends => self.drop_at(index, poller),
            Fate::Waits => {
                if let Some(buffer) = connection.take_sent_buffer() {
                    self.keep_spare(buffer);
                }
                let connection = &mut self.connections[index];
                if let Some(interest) = connection.changed_interest()
                    && poller
                        .modify(connection.channel.as_fd(), Source::Web(connection.number), interest)
                        .is_err()
                {
                    self.drop_at(index, poller);
                }
            }
        }
        None
    }
}
