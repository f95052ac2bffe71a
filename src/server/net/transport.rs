//! The channel of one client: all bytes that it sends or receives pass through its [`Transport`].
//!
//! No other module knows what is behind it, so a connection could be encrypted, or a thread could own the transports of
//! some clients: a transport holds no references. Bytes that it holds without the poller's knowledge count as
//! [`Transport::unread`]. Each method is one system call.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::sys::net::{Address, Socket};
use crate::types::block::Block;

/// See the module's head.
pub struct Transport {
    socket: Socket,
}

impl Transport {
    /// Creates a transport that passes bytes through `socket` unchanged.
    pub fn new(socket: Socket) -> Transport {
        Transport { socket }
    }

    /// Enables sending small replies at once, and probes a silent peer after `keepalive` seconds unless that is 0.
    pub fn tune(&self, keepalive: u32) {
        // Unix sockets support neither option; a connection that vanished fails at its first receive.
        let _ = self.socket.set_nodelay(true);
        if keepalive > 0 {
            let _ = self.socket.set_keepalive(keepalive);
        }
    }

    /// Sends small pieces at once, or collects them for up to 40 ms.
    pub fn set_nodelay(&self, is_on: bool) {
        // Not critical, and not supported by Unix sockets.
        let _ = self.socket.set_nodelay(is_on);
    }

    /// Receives into `room`. Returns the number of bytes; 0 means that the client has closed its side (or `room` is
    /// empty).
    #[inline]
    pub fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(room)
    }

    /// Receives up to `max` bytes into the free room of `block`, and any bytes after these into `beyond`. Returns the
    /// number of bytes.
    pub fn receive_into(&mut self, block: &mut Block, max: usize, beyond: &mut [u8]) -> io::Result<usize> {
        block.fill(max, |room| self.socket.recv_uninit(room, beyond))
    }

    /// The number of bytes that have arrived but were not received yet; 0 where the system does not report it.
    pub fn unread(&self) -> usize {
        self.socket.unread()
    }

    /// Sends as much of `bytes` as the socket accepts at once.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send(bytes)
    }

    /// Sends as much of the slices, in order, as the socket accepts at once.
    #[inline]
    pub fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.send_vectored(slices)
    }

    /// Waits until the socket is readable (writable, if `to_send`) or the connection is closed. Returns false after
    /// `timeout_ms`, or if a signal interrupted the wait.
    pub fn wait(&self, to_send: bool, timeout_ms: u32) -> bool {
        self.socket.wait(to_send, timeout_ms)
    }

    /// The client's address.
    pub fn peer(&self) -> Address {
        self.socket.peer()
    }

    /// The address that the client has connected to.
    pub fn local(&self) -> Address {
        self.socket.local()
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn connected() -> (UnixStream, Transport) {
        let (far, near) = UnixStream::pair().unwrap();
        (far, Transport::new(Socket::new(near).unwrap()))
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
