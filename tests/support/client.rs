//! A blocking RESP client that sends exactly the given bytes and keeps exactly the received bytes.
//!
//! It does not track the protocol's state: a test may send half a request, ignore replies or disconnect. Every read has
//! a deadline; a server that never replies fails the test instead of hanging it.

use super::reply::{Decoded, Reply, Value, decode};
use super::{DEADLINE, eventually};
use redstart::sys::net::Socket;
use redstart::tls::{Channel, Connector};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Tls),
}

/// A channel with blocking reads and writes.
struct Tls {
    channel: Channel,
    longest: Cell<Duration>,
}

impl Tls {
    /// Repeats `act` until it returns something other than `WouldBlock`, or the timeout is over.
    fn wait_for<T>(
        &mut self,
        to_send: bool,
        mut act: impl FnMut(&mut Channel) -> io::Result<T>,
    ) -> io::Result<T> {
        let started = Instant::now();
        loop {
            match act(&mut self.channel) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            let Some(left) = self.longest.get().checked_sub(started.elapsed()).filter(|left| !left.is_zero())
            else {
                return Err(io::ErrorKind::WouldBlock.into());
            };
            self.channel.wait(to_send || self.channel.has_unsent(), left.as_millis() as u32 + 1);
        }
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.wait_for(false, |channel| {
            match channel.flush() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            channel.receive(room)
        })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.wait_for(true, |channel| channel.send(bytes))?;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

/// A connection to a server.
pub struct Client {
    stream: Stream,
    /// Received bytes; those before `taken` were returned already.
    buffer: Vec<u8>,
    taken: usize,
}

/// Encodes a request as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl Client {
    pub fn tcp(port: u16) -> io::Result<Client> {
        Client::tcp_at(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    pub fn tcp_at(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client { stream: Stream::Tcp(stream), buffer: Vec::new(), taken: 0 })
    }

    /// Connects with TLS, and completes the handshake.
    pub fn encrypted(port: u16, connector: &Connector) -> io::Result<Client> {
        Client::encrypted_over(TcpStream::connect(("127.0.0.1", port))?, connector)
    }

    /// The same over an existing connection.
    pub fn encrypted_over(stream: TcpStream, connector: &Connector) -> io::Result<Client> {
        stream.set_nodelay(true)?;
        let session = connector.session(None).map_err(io::Error::other)?;
        let channel = Channel::encrypted(Socket::new(stream)?, session);
        let mut tls = Tls { channel, longest: Cell::new(DEADLINE) };
        tls.wait_for(false, |channel| {
            channel.flush()?;
            match channel.receive(&mut []) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                _ if channel.is_handshaking() || channel.has_unsent() => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                _ => Ok(()),
            }
        })?;
        Ok(Client { stream: Stream::Tls(tls), buffer: Vec::new(), taken: 0 })
    }

    /// The socket of an encrypted connection, to send bytes without encryption.
    pub fn socket(&self) -> &Socket {
        match &self.stream {
            Stream::Tls(tls) => tls.channel.socket(),
            _ => panic!("not encrypted"),
        }
    }

    /// Sets the timeout of reads.
    pub fn set_read_timeout(&self, longest: Duration) {
        let set = match &self.stream {
            Stream::Tcp(s) => s.set_read_timeout(Some(longest)),
            Stream::Unix(s) => s.set_read_timeout(Some(longest)),
            Stream::Tls(tls) => {
                tls.longest.set(longest);
                Ok(())
            }
        };
        set.expect("a timeout");
    }

    pub fn unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Client { stream: Stream::Unix(stream), buffer: Vec::new(), taken: 0 })
    }

    /// Another handle to the same connection, for a thread that only writes or only reads.
    pub fn twin(&self) -> Client {
        let stream = match &self.stream {
            Stream::Tcp(s) => Stream::Tcp(s.try_clone().expect("clone")),
            Stream::Unix(s) => Stream::Unix(s.try_clone().expect("clone")),
            Stream::Tls(_) => panic!("a TLS session cannot be shared"),
        };
        Client { stream, buffer: Vec::new(), taken: 0 }
    }

    pub fn local_port(&self) -> u16 {
        match &self.stream {
            Stream::Tcp(s) => s.local_addr().expect("local address").port(),
            Stream::Unix(_) => 0,
            Stream::Tls(tls) => tls.channel.socket().local().port(),
        }
    }

    /// Sends `bytes` as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(s) => s.write_all(bytes),
            Stream::Unix(s) => s.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes),
        }
    }

    /// Sends a request and does not wait for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.send_raw(&encode(args))
    }

    /// Bytes received and not yet returned.
    fn pending(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Receives at least one byte; returns 0 at the end of the stream.
    fn receive(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let mut chunk = vec![0; 65536];
        // With a timeout set, stopping and continuing the process interrupts the read.
        let got = loop {
            let got = match &mut self.stream {
                Stream::Tcp(s) => s.read(&mut chunk),
                Stream::Unix(s) => s.read(&mut chunk),
                Stream::Tls(tls) => tls.read(&mut chunk),
            };
            if !got.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                break got;
            }
        };
        let got = got.map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "no reply before the deadline")
            }
            _ => e,
        })?;
        self.buffer.extend_from_slice(&chunk[..got]);
        Ok(got)
    }

    /// The next reply, or `UnexpectedEof` if the server closed the connection first.
    pub fn read_reply(&mut self) -> io::Result<Reply> {
        let mut needed = 1;
        loop {
            while self.pending().len() < needed {
                if self.receive()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            match decode(self.pending()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                Decoded::Part(more) => needed = more,
                Decoded::Whole(value, len) => return Ok(Reply { value, raw: self.take(len) }),
            }
        }
    }

    /// Receives the bytes that have arrived by now, without waiting for more. Returns their number, and whether the
    /// server has closed the connection after them.
    pub fn receive_arrived(&mut self) -> io::Result<(usize, bool)> {
        let before = self.pending().len();
        self.set_nonblocking(true)?;
        let ended = self.receive_present();
        self.set_nonblocking(false)?;
        Ok((self.pending().len() - before, ended?))
    }

    /// Takes the received bytes: the complete replies, and the rest.
    pub fn take_received(&mut self) -> io::Result<(Vec<Reply>, Vec<u8>)> {
        let mut replies = Vec::new();
        while !self.pending().is_empty() {
            match decode(self.pending()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                Decoded::Part(_) => break,
                Decoded::Whole(value, len) => replies.push(Reply { value, raw: self.take(len) }),
            }
        }
        let rest = self.take(self.pending().len());
        Ok((replies, rest))
    }

    /// Receives until nothing more is there. Returns whether the stream has ended; a reset counts as an end.
    fn receive_present(&mut self) -> io::Result<bool> {
        loop {
            match self.receive() {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::TimedOut => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(e) => return Err(e),
            }
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => s.set_nonblocking(nonblocking),
            Stream::Unix(s) => s.set_nonblocking(nonblocking),
            Stream::Tls(tls) => {
                tls.longest.set(if nonblocking { Duration::ZERO } else { DEADLINE });
                Ok(())
            }
        }
    }

    /// The first `len` received bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let taken = self.pending()[..len].to_vec();
        self.taken += len;
        taken
    }

    /// Reads exactly `len` bytes.
    pub fn read_raw(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.pending().len() < len {
            if self.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(len))
    }

    /// Reads and discards `len` bytes of replies.
    pub fn discard(&mut self, mut len: usize) -> io::Result<()> {
        loop {
            let here = len.min(self.pending().len());
            self.taken += here;
            len -= here;
            if len == 0 {
                return Ok(());
            }
            if self.receive()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Everything up to the end of the stream. A reset counts as the end: the server closed before it read our bytes.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.receive() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e),
            }
        }
        let len = self.pending().len();
        Ok(self.take(len))
    }

    /// Shuts down the sending side; replies can still be read.
    pub fn finish_sending(&mut self) {
        // An error means that the peer has disconnected already.
        let _ = match &mut self.stream {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
            Stream::Tls(tls) => {
                tls.channel.end();
                tls.channel.socket().shut_down_sending()
            }
        };
    }

    /// Sends a request and returns its reply.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(args)?;
        self.read_reply()
    }

    /// Sends a request and returns its reply; panics if there is none.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let shown =
            || args.iter().map(|a| a.as_ref().escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
        self.try_call(args).unwrap_or_else(|e| panic!("{}: {e}", shown())).value
    }

    /// Calls a request written as words, as in `client.run("SET key value")`.
    pub fn run(&mut self, line: &str) -> Value {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    /// Calls a request whose reply must be `+OK`.
    pub fn ok(&mut self, line: &str) {
        let reply = self.run(line);
        assert_eq!(reply, Value::Simple(b"OK".to_vec()), "reply to {line}");
    }

    /// Waits until the server has closed this connection. Returns the bytes received before that.
    pub fn wait_closed(&mut self) -> Vec<u8> {
        self.read_to_end().expect("the server closes the connection")
    }

    /// The number in `field` of `INFO`; panics if INFO has no such number.
    pub fn info_number(&mut self, field: &str) -> i64 {
        let text = self.info(field);
        text.parse().unwrap_or_else(|_| panic!("INFO {field} is not a number: {text}"))
    }

    /// The value of `field` in `INFO everything`.
    pub fn info(&mut self, field: &str) -> String {
        let all = self.run("INFO everything").text();
        let found = all.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("INFO has no {field}")).to_string()
    }

    /// Polls `INFO` until `field` satisfies `wanted`.
    pub fn wait_for_info(&mut self, field: &str, wanted: impl Fn(i64) -> bool) -> i64 {
        eventually(&format!("INFO {field}"), || Some(self.info_number(field)).filter(|n| wanted(*n)))
    }
}
