//! The TLS state of one connection.
//!
//! ```text
//! socket ─▶ scratch ─▶ decrypted in place ─▶ the caller          caller ─▶ encrypted into scratch ─▶ socket
//!             ▲ incoming (part of a record)    ╰ plain (no room)                 ╰ outgoing (the socket is full)
//! ```
//!
//! rustls's unbuffered interface keeps no buffers, and all sessions of a thread share scratch buffers. So an idle
//! connection owns only its keys. Its three own buffers exist only while they hold something, and are bounded:
//! `incoming` has part of a record, `plain` the plaintext of one receive for which the caller had no room, and
//! `outgoing` the records of one send.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::RangeInclusive;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

use super::reason;
use crate::sys::net::{Address, Socket};

/// The maximum plaintext of a record, in bytes.
const RECORD: usize = 16 * 1024;

/// The maximum size of a record: its plaintext, header, padding and authentication tag.
const WHOLE_RECORD: usize = RECORD + 256;

/// The maximum number of bytes received by one system call.
const RECEIVE: usize = 64 * 1024;

/// The maximum number of received bytes that wait for the rest of a record or of a handshake message. A certificate
/// chain may be larger than a record; rustls accepts handshake messages of up to 64 KiB.
const MAX_INCOMING: usize = 80 * 1024;

/// The maximum plaintext that is encrypted for one system call, in bytes.
const SEND: usize = 64 * 1024;

/// The buffers that all sessions of a thread share.
struct Scratch {
    /// Received bytes, which are decrypted in place.
    received: Vec<u8>,
    /// The plaintext of one record, gathered from several slices.
    gathered: Vec<u8>,
    /// Records to send.
    records: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const {
        RefCell::new(Scratch { received: Vec::new(), gathered: Vec::new(), records: Vec::new() })
    };
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What the two connection types of rustls have in common.
trait Records {
    type Data;

    /// Processes the records in `incoming` up to the next state.
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// Calls a generic function with the connection of either side.
macro_rules! with {
    ($side:expr, $connection:ident => $call:expr) => {
        match &mut $side {
            Side::Server($connection) => $call,
            Side::Client($connection) => $call,
        }
    };
}

/// What to do after a step of the protocol.
enum Step {
    /// Process the rest: there may be more to do.
    Continue,
    /// Wait for more bytes.
    Blocked,
    /// The handshake is complete, and all received records are processed.
    Open,
}

/// The state of one encrypted connection.
pub struct Session {
    side: Side,
    /// Whether the handshake is complete.
    is_open: bool,
    /// Whether [`Session::take_completed`] has not reported the end of the handshake yet.
    is_new: bool,
    /// Whether the peer has ended its output.
    has_ended: bool,
    /// Whether a receive has failed. rustls may still hold positions in the bytes of that receive, and would panic with
    /// others: it must not be called again.
    has_failed: bool,
    /// Whether [`Session::receive`] has returned that end to the caller.
    end_is_known: bool,
    /// Received bytes of an incomplete record.
    incoming: Vec<u8>,
    /// Plaintext for which the caller had no room, from `plain_at` on.
    plain: Vec<u8>,
    plain_at: usize,
    /// Records that the socket has not accepted, from `outgoing_at` on.
    outgoing: Vec<u8>,
    outgoing_at: usize,
    /// The number of plaintext bytes in these records that [`Session::send`] has not returned as sent. The caller
    /// passes them again, also after the socket has accepted the records.
    held: usize,
    /// The peer's address, for the log: after a reset, the kernel does not know it.
    peer: Address,
}

impl Session {
    /// Creates the session of a connection from `peer`.
    pub(super) fn of_server(connection: UnbufferedServerConnection, peer: Address) -> Session {
        Session::new(Side::Server(connection), peer)
    }

    /// Creates the session of an outgoing connection. [`Session::flush`] sends its first message.
    pub(super) fn of_client(connection: UnbufferedClientConnection) -> io::Result<Session> {
        let mut session = Session::new(Side::Client(connection), Address::Unknown);
        session.advance(&mut [], &mut |_| ())?;
        Ok(session)
    }

    fn new(side: Side, peer: Address) -> Session {
        Session {
            side,
            is_open: false,
            is_new: true,
            has_ended: false,
            has_failed: false,
            end_is_known: false,
            incoming: Vec::new(),
            plain: Vec::new(),
            plain_at: 0,
            outgoing: Vec::new(),
            outgoing_at: 0,
            held: 0,
            peer,
        }
    }

    /// The address from which the connection was accepted.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Whether the handshake is in progress.
    #[inline]
    pub fn is_handshaking(&self) -> bool {
        !self.is_open
    }

    /// Returns true at the first call after the handshake has completed, and false at all others.
    pub fn take_completed(&mut self) -> bool {
        self.is_open && std::mem::take(&mut self.is_new)
    }

    /// The number of plaintext bytes that the caller has not received yet.
    #[inline]
    pub fn buffered(&self) -> usize {
        self.plain.len() - self.plain_at
    }

    /// Whether [`Session::receive`] returns plaintext or the end without an event of the socket.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.buffered() > 0 || self.has_ended && !self.end_is_known
    }

    /// Whether there are records that the socket has not accepted.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.outgoing_at < self.outgoing.len()
    }

    /// The memory of the session in bytes, without that of its keys.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Session>() + self.incoming.capacity() + self.plain.capacity() + self.outgoing.capacity()
    }

    /// Receives up to `most` bytes of plaintext, and passes them to `take` piece by piece. Returns their number; 0 is
    /// the end of the peer's output. The receive that completes the handshake returns no bytes, because the caller may
    /// have to decide about the peer first.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived or the handshake is in progress. Any other error: the connection or the
    /// protocol failed.
    pub fn receive(
        &mut self,
        socket: &Socket,
        most: usize,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        if self.has_failed {
            return Err(ErrorKind::InvalidData.into());
        }
        let mut count = self.take_plain(most, &mut take);
        // If the remaining room may be too small for a record, receive only if there is nothing else to return.
        while !self.has_ended && (count == 0 || most - count >= WHOLE_RECORD) {
            let was_open = self.is_open;
            let limit = if was_open { most - count } else { 0 };
            match self.receive_once(socket, limit, &mut take) {
                Ok((received, is_full)) => {
                    count += received;
                    if !is_full || !was_open || most == 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    self.has_failed = true;
                    return Err(error);
                }
            }
        }
        if count == 0 && most > 0 {
            if !self.has_ended || self.buffered() > 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.end_is_known = true;
        }
        Ok(count)
    }

    /// Passes plaintext that was decrypted earlier to `take`.
    fn take_plain(&mut self, most: usize, take: &mut impl FnMut(&[u8])) -> usize {
        let count = self.buffered().min(most);
        if count > 0 {
            take(&self.plain[self.plain_at..self.plain_at + count]);
            self.plain_at += count;
            if self.buffered() == 0 {
                (self.plain, self.plain_at) = (Vec::new(), 0);
            }
        }
        count
    }

    /// Receives with one system call. Returns the number of plaintext bytes passed to `take`, and whether the socket
    /// may have more.
    fn receive_once(
        &mut self,
        socket: &Socket,
        most: usize,
        take: &mut impl FnMut(&[u8]),
    ) -> io::Result<(usize, bool)> {
        SCRATCH.with_borrow_mut(|scratch| {
            let buffer = &mut scratch.received;
            buffer.resize(MAX_INCOMING + RECEIVE, 0);
            let begun = self.incoming.len();
            let room = most.saturating_sub(begun).clamp(WHOLE_RECORD, RECEIVE);
            let received = socket.recv(&mut buffer[begun..begun + room])?;
            if received == 0 {
                return self.end_of_stream().map(|()| (0, false));
            }
            buffer[..begun].copy_from_slice(&self.incoming);
            let (mut count, mut beyond) = (0, Vec::new());
            let filled = &mut buffer[..begun + received];
            let advanced = self.advance(filled, &mut |bytes| {
                let (fits, rest) = bytes.split_at(bytes.len().min(most - count));
                if !fits.is_empty() {
                    take(fits);
                    count += fits.len();
                }
                beyond.extend_from_slice(rest);
            });
            if self.has_unsent() {
                match self.flush(socket) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock && advanced.is_ok() => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            let rest = &filled[advanced?..];
            if rest.len() > MAX_INCOMING {
                return Err(io::Error::new(ErrorKind::InvalidData, "a handshake message is too large"));
            }
            if rest.is_empty() {
                self.incoming = Vec::new();
            } else {
                self.incoming.clear();
                self.incoming.extend_from_slice(rest);
            }
            if self.buffered() == 0 {
                (self.plain, self.plain_at) = (beyond, 0);
            } else {
                self.plain.extend_from_slice(&beyond);
            }
            Ok((count, received == room))
        })
    }

    /// Handles the end of the stream, after which the peer sends nothing, with or without a `close_notify` before it.
    ///
    /// # Errors
    /// The handshake is in progress.
    fn end_of_stream(&mut self) -> io::Result<()> {
        if !self.is_open {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the connection was closed during the handshake",
            ));
        }
        self.has_ended = true;
        Ok(())
    }

    /// Processes received bytes: passes plaintext to `take`, and appends the records to send to `outgoing`. Returns the
    /// number of processed bytes.
    fn advance(&mut self, received: &mut [u8], take: &mut impl FnMut(&[u8])) -> io::Result<usize> {
        let mut done = 0;
        loop {
            let Session { side, outgoing, has_ended, .. } = self;
            let (discard, step) = with!(*side, connection => step(connection.process(&mut received[done..]), take, outgoing, has_ended));
            done += discard;
            match step {
                Ok(Step::Continue) => {}
                Ok(Step::Blocked) => return Ok(done),
                Ok(Step::Open) => {
                    self.is_open = true;
                    return Ok(done);
                }
                Err(error) => {
                    self.add_alert(&mut received[done..]);
                    let why = self.explain(&error, received);
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
            }
        }
    }

    /// After an error, appends the alert for the peer. rustls has queued the alert, and must not get further records.
    fn add_alert(&mut self, rest: &mut [u8]) {
        let Session { side, outgoing, has_ended, .. } = self;
        let _ = with!(*side, connection => step(connection.process(rest), &mut |_| (), outgoing, has_ended));
    }

    fn explain(&self, error: &rustls::Error, received: &[u8]) -> String {
        /// The valid record types.
        const TYPES: RangeInclusive<u8> = 20..=24;
        match received.first() {
            Some(first) if !self.is_open && !TYPES.contains(first) => "the peer does not use TLS".into(),
            _ => reason::of(error),
        }
    }

    /// Sends as much of the slices, in order, as the socket accepts in whole records; see [`super::Channel`].
    ///
    /// # Errors
    /// `WouldBlock` if nothing was accepted or the handshake is in progress. Any other error: the connection failed.
    pub fn send(&mut self, socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        if self.has_failed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !self.is_open {
            return Err(ErrorKind::WouldBlock.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut sent = self.held.min(offered);
        self.held -= sent;
        let mut rest = Rest::new(slices, sent);
        while sent < offered {
            let batch = (offered - sent).min(SEND);
            if !self.send_batch(socket, &mut rest, batch)? {
                break;
            }
            sent += batch;
        }
        if sent == 0 && offered > 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(sent) }
    }

    /// Encrypts and sends the next `len` bytes. Returns false if the socket has not accepted all of their records: the
    /// rest is then in `outgoing`, and the bytes are `held`.
    fn send_batch(&mut self, socket: &Socket, rest: &mut Rest<'_, '_>, len: usize) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { gathered, records, .. } = scratch;
            records.resize(SEND + SEND / RECORD * (WHOLE_RECORD - RECORD), 0);
            let (mut left, mut at) = (len, 0);
            while left > 0 {
                let piece = rest.next(left.min(RECORD), gathered);
                let Session { side, incoming, .. } = &mut *self;
                at += with!(*side, connection => encrypt(connection, incoming, piece, records, at))?;
                left -= piece.len();
            }
            let accepted = match socket.send(&records[..at]) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            if accepted == at {
                return Ok(true);
            }
            self.outgoing = records[accepted..at].to_vec();
            self.outgoing_at = 0;
            self.held = len;
            Ok(false)
        })
    }

    /// Sends `bytes` unless the socket is full. The caller must not pass them again: if the socket accepts only a part,
    /// the rest is sent before other bytes.
    pub fn offer(&mut self, socket: &Socket, bytes: &[u8]) {
        if self.flush(socket).is_ok()
            && self.is_open
            && self.held == 0
            && self.send(socket, &[IoSlice::new(bytes)]).is_err()
        {
            self.held = 0;
        }
    }

    /// Sends the records that the socket has not accepted yet.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is still full. Any other error: the connection failed.
    pub fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        while self.has_unsent() {
            self.outgoing_at += socket.send(&self.outgoing[self.outgoing_at..])?;
        }
        (self.outgoing, self.outgoing_at) = (Vec::new(), 0);
        Ok(())
    }

    /// Declares that the caller does not pass unaccepted bytes again.
    pub fn forget_unsent(&mut self) {
        self.held = 0;
    }

    /// Sends a `close_notify`, if the socket accepts it at once.
    pub fn end(&mut self, socket: &Socket) {
        if self.flush(socket).is_err() || !self.is_open || self.has_failed {
            return;
        }
        let mut record = [0; 256];
        let Session { side, incoming, .. } = self;
        let written = with!(*side, connection => close_notify(connection.process(incoming), &mut record));
        let _ = socket.send(&record[..written]);
    }
}

/// Handles one state of the protocol. Returns the number of received bytes to discard, and how to continue.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    take: &mut impl FnMut(&[u8]),
    outgoing: &mut Vec<u8>,
    has_ended: &mut bool,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    take(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Continue),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append_record(outgoing, |room| data.encode(room));
            Ok(Step::Continue)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // `flush` sends the records from `outgoing`, in order.
            data.done();
            Ok(Step::Continue)
        }
        Ok(ConnectionState::PeerClosed) => {
            *has_ended = true;
            Ok(Step::Continue)
        }
        Ok(ConnectionState::Closed) => {
            *has_ended = true;
            Ok(Step::Blocked)
        }
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Open),
        // Early data is not enabled.
        Ok(_) => Ok(Step::Blocked),
    };
    (discard, step)
}

/// Appends the record that `encode` writes, and provides as much room as `encode` requires.
fn append_record(outgoing: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    let start = outgoing.len();
    let mut room = 1024;
    loop {
        outgoing.resize(start + room, 0);
        match encode(&mut outgoing[start..]) {
            Ok(written) => return outgoing.truncate(start + written),
            Err(EncodeError::InsufficientSize(error)) if error.required_size > room => {
                room = error.required_size;
            }
            Err(_) => return outgoing.truncate(start),
        }
    }
}

/// Encrypts `plain` into `records` from `at` on, after any records that the protocol has to send first. Returns the
/// number of bytes written.
fn encrypt(
    connection: &mut impl Records,
    incoming: &mut [u8],
    plain: &[u8],
    records: &mut Vec<u8>,
    at: usize,
) -> io::Result<usize> {
    let start = at;
    let mut at = at;
    loop {
        match connection.process(incoming).state.map_err(|error| io::Error::other(reason::of(&error)))? {
            ConnectionState::EncodeTlsData(mut data) => {
                let room = records.len();
                records.truncate(at);
                append_record(records, |room| data.encode(room));
                at = records.len();
                records.resize(room.max(at + WHOLE_RECORD), 0);
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            ConnectionState::WriteTraffic(mut traffic) => match traffic.encrypt(plain, &mut records[at..]) {
                Ok(written) => return Ok(at + written - start),
                Err(EncryptError::InsufficientSize(error)) => records.resize(at + error.required_size, 0),
                Err(EncryptError::EncryptExhausted) => {
                    return Err(io::Error::other("the keys have encrypted as many records as they may"));
                }
            },
            _ => return Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// The bytes of slices that still have to be sent.
struct Rest<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// The number of bytes of the first slice that are already sent.
    at: usize,
}

impl<'a, 'b> Rest<'a, 'b> {
    /// The bytes of `slices` after the first `skip`.
    fn new(slices: &'a [IoSlice<'b>], skip: usize) -> Rest<'a, 'b> {
        let mut rest = Rest { slices, at: 0 };
        rest.skip(skip);
        rest
    }

    fn skip(&mut self, mut count: usize) {
        while let Some(first) = self.slices.first()
            && count >= first.len() - self.at
        {
            count -= first.len() - self.at;
            self.slices = &self.slices[1..];
            self.at = 0;
        }
        self.at += count;
    }

    /// Takes the next `len` bytes: without a copy if one slice has them all, otherwise copied into `gathered`.
    fn next<'c>(&mut self, len: usize, gathered: &'c mut Vec<u8>) -> &'c [u8]
    where
        'a: 'c,
    {
        let first: &'a [u8] = &self.slices[0][self.at..];
        if first.len() >= len {
            self.skip(len);
            return &first[..len];
        }
        gathered.clear();
        while gathered.len() < len {
            let piece = &self.slices[0][self.at..];
            let piece = &piece[..piece.len().min(len - gathered.len())];
            gathered.extend_from_slice(piece);
            self.skip(piece.len());
        }
        gathered
    }
}

/// Writes the `close_notify` record. Returns its length.
fn close_notify<D>(status: UnbufferedStatus<'_, '_, D>, record: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(record).unwrap_or(0),
        _ => 0,
    }
}
