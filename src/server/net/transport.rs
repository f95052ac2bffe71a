//! The channel of one client: all bytes that it sends or receives pass through its [`Transport`].
//!
//! A transport receives and sends in the same way with and without encryption. It holds no references, so a thread
//! could own the transports of some clients. It may hold decrypted bytes that the poller does not know of
//! ([`Transport::has_more`]): the client then gets a turn without an event (`Server::after_encrypted`). Without
//! encryption, each method is one system call.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::sys::net::Address;
use crate::tls::Channel;
use crate::types::block::Block;

/// See the module's head.
pub struct Transport {
    channel: Channel,
}

impl Transport {
    /// Creates the transport of a connection, which may be encrypted.
    pub fn new(channel: Channel) -> Transport {
        Transport { channel }
    }

    /// Enables sending small replies at once, and probes a silent peer after `keepalive` seconds unless that is 0.
    pub fn tune(&self, keepalive: u32) {
        // Unix sockets support neither option; a connection that vanished fails at its first receive.
        let _ = self.channel.socket().set_nodelay(true);
        if keepalive > 0 {
            let _ = self.channel.socket().set_keepalive(keepalive);
        }
    }

    /// Sends small pieces at once, or collects them for up to 40 ms.
    pub fn set_nodelay(&self, is_on: bool) {
        // Not critical, and not supported by Unix sockets.
        let _ = self.channel.socket().set_nodelay(is_on);
    }

    /// Whether the bytes are encrypted.
    #[inline]
    pub fn is_encrypted(&self) -> bool {
        self.channel.is_encrypted()
    }

    /// Whether the TLS handshake is in progress.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        self.channel.is_handshaking()
    }

    /// Returns true at the first call after the TLS handshake has completed, and false at all others.
    pub fn take_completed(&mut self) -> bool {
        self.channel.take_completed()
    }

    /// Receives into `room`. Returns the number of bytes; 0 means that the client has closed its side (or `room` is
    /// empty).
    #[inline]
    pub fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.channel.receive(room)
    }

    /// Receives up to `max` bytes into the free room of `block`, and any bytes after these into `beyond`. Returns the
    /// number of bytes.
    pub fn receive_into(&mut self, block: &mut Block, max: usize, beyond: &mut [u8]) -> io::Result<usize> {
        if !self.is_encrypted() {
            return block.fill(max, |room| self.channel.recv_uninit(room, beyond));
        }
        let (mut left, mut at) = (max, 0);
        self.channel.receive_pieces(max + beyond.len(), |bytes| {
            let (own, rest) = bytes.split_at(bytes.len().min(left));
            block.extend_from_slice(own);
            left -= own.len();
            beyond[at..at + rest.len()].copy_from_slice(rest);
            at += rest.len();
        })
    }

    /// Whether [`Transport::receive`] returns something without an event of the socket: decrypted bytes, or the end.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.channel.has_more()
    }

    /// The number of bytes that have arrived but were not received yet, encrypted or not; 0 where the system does not
    /// report it.
    pub fn unread(&self) -> usize {
        self.channel.unread()
    }

    /// Sends as much of `bytes` as the socket accepts at once. The rest has to be passed again.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.channel.send(bytes)
    }

    /// Sends as much of the slices, in order, as the socket accepts at once. The rest has to be passed again.
    #[inline]
    pub fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.channel.send_vectored(slices)
    }

    /// Sends `bytes` unless the socket is full. The caller does not send them again: they may get lost.
    pub fn offer(&mut self, bytes: &[u8]) {
        self.channel.offer(bytes);
    }

    /// Whether there are encrypted bytes that the socket has not accepted.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.channel.has_unsent()
    }

    /// Sends the encrypted bytes that the socket has not accepted yet.
    pub fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }

    /// Declares that the caller does not pass unaccepted bytes again.
    pub fn forget_unsent(&mut self) {
        self.channel.forget_unsent();
    }

    /// Tells the client that nothing follows. Called before the connection is closed.
    #[inline]
    pub fn end(&mut self) {
        self.channel.end();
    }

    /// Drops the session, because another process continues with the connection.
    pub fn leave(&mut self) {
        self.channel.leave();
    }

    /// The memory of the TLS session in bytes; 0 without encryption.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.channel.memory_bytes()
    }

    /// Waits until there is something to receive (with `to_send`: until the socket is writable) or the connection is
    /// closed. Returns false after `timeout_ms`, or if a signal interrupted the wait.
    pub fn wait(&self, to_send: bool, timeout_ms: u32) -> bool {
        self.channel.wait(to_send, timeout_ms)
    }

    /// The client's address.
    pub fn peer(&self) -> Address {
        self.channel.peer()
    }

    /// The address that the client has connected to.
    pub fn local(&self) -> Address {
        self.channel.socket().local()
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::net::Socket;

    fn connected() -> (UnixStream, Transport) {
        let (far, near) = UnixStream::pair().unwrap();
        (far, Transport::new(Channel::plain(Socket::new(near).unwrap())))
    }

    #[test]
    fn what_follows_a_block_s_bytes_is_received_beyond_it() {
        let (mut far, mut transport) = connected();
        let mut block = Block::with_capacity(64);
        block.extend_from_slice(b"it ");
        far.write_all(b"holds.*1\r\n").unwrap();
        let mut beyond = [0; 8];
        assert_eq!(transport.receive_into(&mut block, 6, &mut beyond).unwrap(), 10);
        assert_eq!((&*block, &beyond[..4]), (&b"it holds."[..], &b"*1\r\n"[..]));
        assert!(transport.receive_into(&mut block, 6, &mut beyond).is_err(), "nothing came");
        assert_eq!(&*block, b"it holds.");
        drop(far);
        assert_eq!(transport.receive_into(&mut block, 6, &mut beyond).unwrap(), 0);
    }

    #[test]
    fn a_transport_can_be_owned_by_another_thread() {
        let (mut far, mut transport) = connected();
        far.write_all(b"ping").unwrap();
        let owner = std::thread::spawn(move || {
            let mut room = [0; 8];
            let count = transport.receive(&mut room).unwrap();
            transport.send_vectored(&[IoSlice::new(b"+"), IoSlice::new(&room[..count])]).unwrap()
        });
        assert_eq!(owner.join().unwrap(), 5);
        let mut reply = String::new();
        far.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "+ping");
    }
}
