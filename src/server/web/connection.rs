//! One connection of `metrics-port`: the received part of a request, or the unsent part of a response.
//!
//! The poller does not report decrypted bytes. A connection that holds some, or further complete requests, registers
//! for writability, which the poller reports at once.

use std::io::{self, ErrorKind};

use crate::http::{Decoder, MAX_HEAD, Method, Status, is_foreign_name};
use crate::sys::poller::{Event, Interest};
use crate::tls::Channel;

const SECOND_US: u64 = 1_000_000;

/// How long a request may take to arrive, from the start of the connection or from its first byte.
const REQUEST_US: u64 = 10 * SECOND_US;

/// How long sending a response may take.
const RESPONSE_US: u64 = 30 * SECOND_US;

/// How long a connection may be idle between two requests: longer than the usual intervals between scrapes.
const IDLE_US: u64 = 150 * SECOND_US;

/// How long, and how many bytes, are received and discarded after the last response. Closing at once would reset the
/// connection if there was more to receive, and a client that has not read the response would lose it.
const LINGER_US: u64 = 2 * SECOND_US;
const LINGER_BYTES: usize = 256 * 1024;

/// A request that is to be responded to.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: Vec<u8>,
    /// Whether its `Host` is a name that a third party may have given to this machine.
    pub by_foreign_name: bool,
    /// Whether the connection stays open after the response.
    pub keep_alive: bool,
}

/// The state of a connection after an event.
pub enum Fate {
    /// It waits for its next event.
    Waits,
    /// It has sent a request, or something that is not one.
    Asks(Result<Asked, Status>),
    /// It must be closed.
    Ends,
    /// It must be closed, because its TLS handshake has failed.
    Stranger(io::Error),
}

/// A connection.
pub struct Connection {
    pub(super) channel: Channel,
    pub(super) number: u32,
    decoder: Decoder,
    /// Received bytes without a response yet.
    input: Vec<u8>,
    /// The response, and the number of its bytes that were sent.
    output: Vec<u8>,
    sent: usize,
    /// Whether it ends after the response.
    closing: bool,
    /// Bytes discarded since the last response, once that has been sent.
    lingering: Option<usize>,
    /// Whether `input` may hold a whole request.
    has_more: bool,
    deadline_us: u64,
    interest: Interest,
}

impl Connection {
    pub(super) fn new(channel: Channel, number: u32, now_us: u64) -> Connection {
        Connection {
            channel,
            number,
            decoder: Decoder::default(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            closing: false,
            lingering: None,
            has_more: false,
            deadline_us: now_us + REQUEST_US,
            interest: Interest::READ,
        }
    }

    /// Returns its deadline.
    pub(super) fn deadline_us(&self) -> u64 {
        self.deadline_us
    }

    /// Whether it is between two requests.
    pub(super) fn is_idle(&self) -> bool {
        self.input.is_empty() && self.output.is_empty() || self.lingering.is_some()
    }

    /// Whether it has sent a part of a request, and nothing is being sent to it.
    pub(super) fn has_half_a_request(&self) -> bool {
        !self.input.is_empty() && self.output.is_empty() && !self.closing
    }

    /// The buffer of its response.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.output
    }

    /// The buffer of its response, once that was sent.
    pub(super) fn take_sent_buffer(&mut self) -> Option<Vec<u8>> {
        (self.output.is_empty() && self.output.capacity() > 0).then(|| std::mem::take(&mut self.output))
    }

    /// Returns what the poller must wait for, if that has changed.
    pub(super) fn changed_interest(&mut self) -> Option<Interest> {
        let writes =
            self.channel.waits_to_send(!self.output.is_empty()) || self.has_more || self.channel.has_more();
        let wanted = if writes { Interest::WRITE } else { Interest::READ };
        (wanted != self.interest).then(|| {
            self.interest = wanted;
            wanted
        })
    }

    /// Handles an event: its socket is writable, readable, or has failed.
    pub(super) fn on_event(&mut self, event: Event, now_us: u64) -> Fate {
        if self.channel.is_handshaking() {
            return self.shake_hands(now_us);
        }
        if self.channel.flush().is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            return Fate::Ends;
        }
        if self.lingering.is_some() {
            return self.linger();
        }
        if !self.output.is_empty() {
            // One response in an iteration: a request that has arrived meanwhile waits for the next event.
            return if event.writable || event.closed { self.send(now_us) } else { Fate::Waits };
        }
        if self.has_more
            && let Some(asked) = self.next_request()
        {
            return Fate::Asks(asked);
        }
        if event.readable || event.closed || self.channel.has_more() {
            self.receive(now_us)
        } else {
            Fate::Waits
        }
    }

    /// Continues the TLS handshake. A response may already wait for its end: the refusal of protected mode.
    fn shake_hands(&mut self, now_us: u64) -> Fate {
        match self.channel.flush().and_then(|()| self.channel.receive(&mut [])) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Fate::Stranger(error),
            _ => {}
        }
        if self.channel.take_completed() && !self.output.is_empty() { self.send(now_us) } else { Fate::Waits }
    }

    fn receive(&mut self, now_us: u64) -> Fate {
        let mut room = [0; MAX_HEAD];
        let free = MAX_HEAD - self.input.len();
        match self.channel.receive(&mut room[..free]) {
            Ok(0) => Fate::Ends,
            Ok(count) => {
                if self.input.is_empty() {
                    self.deadline_us = now_us + REQUEST_US;
                }
                self.input.extend_from_slice(&room[..count]);
                self.next_request().map_or(Fate::Waits, Fate::Asks)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Fate::Waits,
            Err(_) => Fate::Ends,
        }
    }

    /// Takes the next request from the input.
    fn next_request(&mut self) -> Option<Result<Asked, Status>> {
        self.has_more = false;
        let request = match self.decoder.decode(&self.input) {
            Ok(None) => return None,
            Ok(Some(request)) => request,
            Err(status) => return Some(Err(status)),
        };
        let path = self.input[request.path].to_vec();
        let by_foreign_name = is_foreign_name(&self.input[request.host]);
        self.input.drain(..request.len);
        self.has_more = !self.input.is_empty();
        Some(Ok(Asked { method: request.method, path, by_foreign_name, keep_alive: request.keep_alive }))
    }

    /// Sends a response, after which the connection may end.
    pub(super) fn respond(&mut self, response: Vec<u8>, keep_alive: bool, now_us: u64) -> Fate {
        self.closing = !keep_alive;
        self.output = response;
        self.sent = 0;
        self.deadline_us = now_us + RESPONSE_US;
        self.send(now_us)
    }

    fn send(&mut self, now_us: u64) -> Fate {
        while self.sent < self.output.len() {
            match self.channel.send(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Fate::Waits,
                Err(_) => return Fate::Ends,
            }
        }
        self.output.clear();
        if self.closing {
            self.input = Vec::new();
            self.has_more = false;
            self.lingering = Some(0);
            self.deadline_us = now_us + LINGER_US;
            self.channel.end();
            if self.channel.socket().shut_down_sending().is_err() {
                return Fate::Ends;
            }
        } else {
            // The remaining input may be the next request, whose time starts now.
            self.deadline_us = now_us + if self.input.is_empty() { IDLE_US } else { REQUEST_US };
            if self.input.is_empty() {
                self.input = Vec::new();
            }
        }
        Fate::Waits
    }

    /// Receives and discards the remaining input.
    fn linger(&mut self) -> Fate {
        let mut room = [0; MAX_HEAD];
        match self.channel.receive(&mut room) {
            Ok(count @ 1..) => {
                let thrown = self.lingering.get_or_insert(0);
                *thrown += count;
                if *thrown > LINGER_BYTES { Fate::Ends } else { Fate::Waits }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Fate::Waits,
            Ok(0) | Err(_) => Fate::Ends,
        }
    }
}
