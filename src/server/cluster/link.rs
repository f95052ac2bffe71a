//! A connection of the cluster bus: bytes in, packets out.
//!
//! Packets to send are shared: a broadcast is one allocation, to which the queues of all its links refer. A packet is
//! sent whole or, if the socket takes only a part of it, continued when the socket is writable. Received bytes are kept
//! until they are a whole packet; the room grows with what has arrived, not with what a header claims.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use crate::tls::Channel;

/// Bytes per receive.
const CHUNK: usize = 16 << 10;

/// Receives per event, so that one peer does not keep the loop.
const RECEIVES: usize = 16;

/// The most packets of one send.
const PACKETS: usize = 16;

/// Room that a link keeps between packets, in bytes.
const KEPT: usize = 16 << 10;

/// How a receive has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The connection goes on.
    Bytes,
    /// The peer has closed the connection.
    End,
}

/// See the module's head.
pub struct BusLink {
    /// Its connection.
    pub channel: Channel,
    /// Whether the connection has been established.
    pub is_connected: bool,
    /// When the connection was accepted or started.
    pub since_ms: u64,
    /// Received bytes that are not a whole packet yet.
    received: Vec<u8>,
    unsent: VecDeque<Arc<[u8]>>,
    /// How much of the first unsent packet was sent, in bytes.
    sent: usize,
    unsent_bytes: usize,
}

impl BusLink {
    /// A link over a connection, which may not be established yet.
    pub fn new(channel: Channel, is_connected: bool, since_ms: u64) -> BusLink {
        BusLink {
            channel,
            is_connected,
            since_ms,
            received: Vec::new(),
            unsent: VecDeque::new(),
            sent: 0,
            unsent_bytes: 0,
        }
    }

    /// Appends a packet to the send queue.
    pub fn push(&mut self, packet: Arc<[u8]>) {
        self.unsent_bytes += packet.len();
        self.unsent.push_back(packet);
    }

    /// Whether packets wait to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether to wait until the socket is writable.
    pub fn waits_to_send(&self) -> bool {
        self.channel.waits_to_send(self.has_unsent())
    }

    /// The memory of the packets that wait, in bytes.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// The memory of the send queue and of the received bytes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.unsent_bytes
            + self.unsent.capacity() * size_of::<Arc<[u8]>>()
            + self.received.capacity()
            + size_of::<Self>()
            + self.channel.memory_bytes()
    }

    /// Sends as much as the socket takes. Returns the number of bytes.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self) -> io::Result<usize> {
        let mut total = 0;
        match self.channel.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); PACKETS];
            let mut count = 0;
            for packet in self.unsent.iter().take(PACKETS) {
                let from = if count == 0 { self.sent } else { 0 };
                slices[count] = IoSlice::new(&packet[from..]);
                count += 1;
            }
            let taken = match self.channel.send_vectored(&slices[..count]) {
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            total += taken;
            self.note_sent(taken);
        }
        Ok(total)
    }

    fn note_sent(&mut self, mut taken: usize) {
        while let Some(first) = self.unsent.front() {
            let left = first.len() - self.sent;
            if taken < left {
                self.sent += taken;
                return;
            }
            taken -= left;
            self.unsent_bytes -= first.len();
            self.sent = 0;
            self.unsent.pop_front();
        }
    }

    /// Receives what has arrived.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn receive(&mut self) -> io::Result<(usize, Received)> {
        let mut chunk = [0; CHUNK];
        let mut total = 0;
        for turn in 0.. {
            // The poller does not report decrypted bytes, so these are received even beyond the limit.
            let buffered = self.channel.buffered();
            let most = if turn < RECEIVES { CHUNK } else { CHUNK.min(buffered) };
            if most == 0 {
                break;
            }
            match self.channel.receive(&mut chunk[..most]) {
                Ok(0) => return Ok((total, Received::End)),
                Ok(count) => {
                    total += count;
                    self.received.extend_from_slice(&chunk[..count]);
                    if count < CHUNK && !self.channel.has_more() {
                        break;
                    }
                }
                // The receive that completes the handshake returns no bytes, but may have decrypted some.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.channel.has_more() => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        Ok((total, Received::Bytes))
    }

    /// Takes the received bytes out. The caller gives back what is not a whole packet yet.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Keeps the bytes from `consumed` on for later.
    pub fn give_back(&mut self, mut bytes: Vec<u8>, consumed: usize) {
        bytes.drain(..consumed);
        if bytes.is_empty() && bytes.capacity() > KEPT {
            bytes = Vec::new();
        }
        debug_assert!(self.received.is_empty(), "nothing is received meanwhile");
        self.received = bytes;
    }
}
