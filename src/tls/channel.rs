//! A connection for its users: a socket, or a socket with a TLS session.
//!
//! Without a session each method is one system call on the socket. With one, three things differ:
//!
//! * The session may hold decrypted bytes that the poller does not know of: [`Channel::has_more`]. The caller must
//!   receive them before it waits for the socket.
//! * Bytes count as sent only after the socket has accepted all records that hold them. Until then, the caller has to
//!   pass the same bytes again, as it does with bytes that a plain socket has not accepted.
//! * The session may have records of its own to send: [`Channel::has_unsent`].

use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::Session;
use crate::sys::net::{Address, Socket};

/// See the module's head.
pub struct Channel {
    socket: Socket,
    session: Option<Box<Session>>,
}

impl Channel {
    /// Passes bytes through `socket` unchanged.
    pub fn plain(socket: Socket) -> Channel {
        Channel { socket, session: None }
    }

    /// Encrypts the bytes that pass through `socket`.
    pub fn encrypted(socket: Socket, session: Session) -> Channel {
        Channel { socket, session: Some(Box::new(session)) }
    }

    /// The socket, for its options and addresses. Only the channel may receive or send bytes.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The peer's address. After a reset, it is known only if an encrypted connection was accepted from it.
    pub fn peer(&self) -> Address {
        match (self.socket.peer(), &self.session) {
            (Address::Unknown, Some(session)) => session.peer().clone(),
            (address, _) => address,
        }
    }

    /// Whether the bytes are encrypted.
    #[inline]
    pub fn is_encrypted(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the TLS handshake is in progress: nothing can be received or sent yet.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_handshaking())
    }

    /// Returns true at the first call after the handshake has completed, and false at all others. The receive that
    /// completes the handshake returns no bytes, so the caller can decide about the peer first.
    pub fn take_completed(&mut self) -> bool {
        self.session.as_mut().is_some_and(|session| session.take_completed())
    }

    /// Receives into `room`. Returns the number of bytes; 0 is the end of the peer's output (or an empty `room`).
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived or the handshake is in progress. Any other error: the connection failed.
    #[inline]
    pub fn receive(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.recv(room) };
        let mut at = 0;
        session.receive(&self.socket, room.len(), |bytes| {
            room[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// Receives up to `most` bytes, and passes them to `take` piece by piece. Only for encrypted channels: a plain one
    /// receives without a copy in [`Channel::receive`] or [`Channel::recv_uninit`].
    pub fn receive_pieces(&mut self, most: usize, take: impl FnMut(&[u8])) -> io::Result<usize> {
        match &mut self.session {
            Some(session) => session.receive(&self.socket, most, take),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// [`Socket::recv_uninit`], for a plain channel.
    pub fn recv_uninit<'a>(
        &self,
        room: &'a mut [MaybeUninit<u8>],
        beyond: &mut [u8],
    ) -> io::Result<(&'a mut [u8], usize)> {
        debug_assert!(!self.is_encrypted(), "the bytes have to be decrypted");
        self.socket.recv_uninit(room, beyond)
    }

    /// The number of decrypted bytes that the caller has not received yet.
    #[inline]
    pub fn buffered(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.buffered())
    }

    /// Whether [`Channel::receive`] returns something without an event of the socket: decrypted bytes, or the end of
    /// the peer's output after them.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_more())
    }

    /// The number of bytes that have arrived but were not received yet, encrypted or not; 0 where the system does not
    /// report it.
    pub fn unread(&self) -> usize {
        self.buffered() + self.socket.unread()
    }

    /// Sends as much of `bytes` as the socket accepts at once.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.send(bytes),
            Some(session) => session.send(&self.socket, &[IoSlice::new(bytes)]),
        }
    }

    /// Sends as much of the slices, in order, as the socket accepts at once.
    #[inline]
    pub fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.send_vectored(slices),
            Some(session) => session.send(&self.socket, slices),
        }
    }

    /// Sends `bytes` unless the socket is full. The caller does not send them again: they may get lost.
    pub fn offer(&mut self, bytes: &[u8]) {
        match &mut self.session {
            None => {
                let _ = self.socket.send(bytes);
            }
            Some(session) => session.offer(&self.socket, bytes),
        }
    }

    /// Whether the session has records that the socket has not accepted.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_unsent())
    }

    /// Whether to wait until the socket is writable: for the session's records, or, if `has`, for bytes of the caller.
    /// During the handshake, the latter wait for the peer instead.
    pub fn waits_to_send(&self, has: bool) -> bool {
        self.has_unsent() || has && !self.is_handshaking()
    }

    /// Sends the records that the socket has not accepted yet.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is still full. Any other error: the connection failed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.session.as_mut().map_or(Ok(()), |session| session.flush(&self.socket))
    }

    /// Tells the peer that nothing follows. Called before the connection is closed.
    pub fn end(&mut self) {
        if let Some(session) = &mut self.session {
            session.end(&self.socket);
        }
    }

    /// Declares that the caller does not pass unaccepted bytes again.
    pub fn forget_unsent(&mut self) {
        if let Some(session) = &mut self.session {
            session.forget_unsent();
        }
    }

    /// Drops the session, because another process continues with the connection: this one closes it without a
    /// `close_notify`.
    pub fn leave(&mut self) {
        self.session = None;
    }

    /// The memory of the session in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.memory_bytes())
    }

    /// Waits until the handshake is complete. For the tools.
    ///
    /// # Errors
    /// The handshake fails, or the peer sends nothing for `timeout_ms`.
    pub fn complete_handshake(&mut self, timeout_ms: u32) -> io::Result<()> {
        while self.is_handshaking() || self.has_unsent() {
            match self.flush().and_then(|()| self.receive(&mut [])) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            let waits = self.is_handshaking() || self.has_unsent();
            if waits && !self.socket.wait(self.has_unsent(), timeout_ms) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Waits until there is something to receive (with `to_send`: until the socket is writable) or the connection is
    /// closed. Returns false after `timeout_ms`, or if a signal interrupted the wait.
    pub fn wait(&self, to_send: bool, timeout_ms: u32) -> bool {
        (!to_send && self.has_more()) || self.socket.wait(to_send, timeout_ms)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
