//! A connection: commands go out, replies come in.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use super::{Address, Target, Tls};
use crate::resp::value::{DecodeError, ReplyEnd};
use crate::resp::{Protocol, Value};
use crate::sys::net::Socket;
use crate::sys::terminal;
use crate::tls::Channel;

/// The minimum free space for a read.
const READ: usize = 64 * 1024;
/// A larger buffer is freed once it is empty.
const KEPT: usize = 1 << 20;

/// Why there is no reply.
#[derive(Debug)]
pub enum Error {
    /// The server cannot be reached.
    Connect(Address, io::Error),
    /// The server closed the connection.
    Closed,
    /// A read or a write failed.
    Io(io::Error),
    /// The server sent a malformed reply.
    Malformed(DecodeError),
    /// The server rejected a command of the handshake: the command and the error's text.
    Refused(&'static str, Vec<u8>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(address, error) => {
                write!(f, "Could not connect to Redis at {address}: {}", plain(error))
            }
            Error::Closed => f.write_str("Server closed the connection"),
            Error::Io(error) => f.write_str(&plain(error)),
            Error::Malformed(error) => write!(f, "Protocol error: {error}"),
            Error::Refused(command, text) => write!(f, "{command} failed: {}", String::from_utf8_lossy(text)),
        }
    }
}

impl std::error::Error for Error {}

/// Formats a system error as C programs do, without Rust's words before it and the number after it.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    text.rfind(" (os error ").map_or(text, |end| &text[..end]).to_string()
}

/// Why a wait ended early: see [`Connection::receive_or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Nothing arrived in time.
    Timeout,
    /// Ctrl-C, where it is caught. It ends each further wait until it is taken.
    Signal,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Encrypted),
}

/// A connection with TLS. It shares its session with the [`Writer`], and locks it only for calls that do not wait.
#[derive(Debug)]
struct Encrypted {
    /// Another descriptor of the socket, to wait without the lock.
    socket: Socket,
    channel: Arc<Mutex<Channel>>,
    timeout: Cell<Option<Duration>>,
}

impl Encrypted {
    fn open(stream: TcpStream, tls: &Tls) -> io::Result<Encrypted> {
        let mut channel = tls.encrypt(Socket::new(stream.try_clone()?)?)?;
        channel.complete_handshake(u32::MAX)?;
        let channel = Arc::new(Mutex::new(channel));
        Ok(Encrypted { socket: Socket::new(stream)?, channel, timeout: Cell::new(None) })
    }

    fn channel(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        let timeout = self.timeout.get();
        let timeout_ms =
            timeout.map_or(u32::MAX, |timeout| timeout.as_millis().try_into().unwrap_or(u32::MAX));
        loop {
            let received = self.channel().receive(room);
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
            if !self.socket.wait(false, timeout_ms) && timeout.is_some() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }

    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.channel().send(bytes);
            match sent {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.wait(true, u32::MAX);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Encrypted> {
        Ok(Encrypted {
            socket: Socket::new(self.socket.as_fd().try_clone_to_owned()?)?,
            channel: Arc::clone(&self.channel),
            timeout: Cell::new(None),
        })
    }
}

impl Stream {
    fn open(address: &Address, tls: Option<&Tls>) -> io::Result<Stream> {
        Ok(match address {
            Address::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_nodelay(true)?;
                match tls {
                    Some(tls) => Stream::Tls(Encrypted::open(stream, tls)?),
                    None => Stream::Tcp(stream),
                }
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        })
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
            Stream::Tls(stream) => {
                stream.timeout.set(timeout);
                Ok(())
            }
        }
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(room),
            Stream::Unix(stream) => stream.read(room),
            Stream::Tls(stream) => stream.read(room),
        }
    }

    /// Whether there are decrypted bytes, which cause no event of the socket.
    fn has_buffered(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.channel().has_more())
    }

    fn try_clone(&self) -> io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
            Stream::Tls(stream) => Stream::Tls(stream.try_clone()?),
        })
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let sent = match self {
            Stream::Tcp(stream) => (&*stream).write_all(bytes),
            Stream::Unix(stream) => (&*stream).write_all(bytes),
            Stream::Tls(stream) => stream.send(bytes),
        };
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Closed,
            _ => Error::Io(error),
        })
    }
}

/// The sending half of a connection, for a separate thread.
#[derive(Debug)]
pub struct Writer(Stream);

impl Writer {
    /// Sends bytes unchanged.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.send(bytes)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// The received bytes; those before `start` have been consumed.
    input: Vec<u8>,
    start: usize,
    /// The parser's position in the reply at `start`.
    end: ReplyEnd,
}

impl Connection {
    /// Connects without sending anything.
    pub fn connect(address: &Address, tls: Option<&Tls>) -> Result<Connection, Error> {
        let stream = Stream::open(address, tls).map_err(|error| Error::Connect(address.clone(), error))?;
        Ok(Connection { stream, input: Vec::new(), start: 0, end: ReplyEnd::default() })
    }

    /// Connects, authenticates, negotiates the protocol and selects the database.
    pub fn open(target: &Target) -> Result<Connection, Error> {
        let mut connection = Connection::connect(&target.address, target.tls.as_ref())?;
        connection.authenticate(target)?;
        connection.negotiate(target.protocol)?;
        connection.select(target.database)?;
        Ok(connection)
    }

    /// Returns the peer's address of a TCP connection: the resolved host name.
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.peer_addr().ok(),
            Stream::Tls(stream) => stream.socket.peer().socket_address(),
            Stream::Unix(_) => None,
        }
    }

    /// Sends AUTH if the target has a password.
    pub fn authenticate(&mut self, target: &Target) -> Result<(), Error> {
        let Some(password) = &target.password else { return Ok(()) };
        match &target.user {
            Some(user) => self.demand("AUTH", &[user, password]),
            None => self.demand("AUTH", &[password]),
        }
    }

    /// Sends HELLO 3 if RESP3 is wanted; a connection begins with RESP2.
    pub fn negotiate(&mut self, protocol: Protocol) -> Result<(), Error> {
        match protocol {
            Protocol::Resp2 => Ok(()),
            Protocol::Resp3 => self.demand("HELLO", &["3"]),
        }
    }

    /// Sends SELECT unless `database` is the default one.
    pub fn select(&mut self, database: u32) -> Result<(), Error> {
        if database == 0 {
            return Ok(());
        }
        self.demand("SELECT", &[&database.to_string()])
    }

    /// Sends a command of the handshake; an error reply is a failure.
    fn demand(&mut self, command: &'static str, arguments: &[&str]) -> Result<(), Error> {
        let mut words = vec![command.as_bytes()];
        words.extend(arguments.iter().map(|argument| argument.as_bytes()));
        match self.call(&words)? {
            Value::Error(text) => Err(Error::Refused(command, text)),
            _ => Ok(()),
        }
    }

    /// Sends a command and receives its reply.
    pub fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Value, Error> {
        self.send(words)?;
        self.receive()
    }

    /// Sends a command.
    pub fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        write_command(&mut bytes, words);
        self.send_bytes(&bytes)
    }

    /// Sends bytes unchanged: whole commands, as [`write_command`] encodes them.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.send(bytes)
    }

    /// Returns a sending half; this connection stays usable.
    pub fn writer(&self) -> io::Result<Writer> {
        self.stream.try_clone().map(Writer)
    }

    /// Receives the next reply or push message, without a time limit and ignoring Ctrl-C.
    pub fn receive(&mut self) -> Result<Value, Error> {
        loop {
            if let Some(value) = self.take()? {
                return Ok(value);
            }
            self.read()?;
        }
    }

    /// Like [`Connection::receive`], but fails if a read waits longer than `timeout`.
    pub fn receive_within(&mut self, timeout: Duration) -> Result<Value, Error> {
        self.stream.set_read_timeout(Some(timeout)).map_err(Error::Io)?;
        let received = self.receive();
        self.stream.set_read_timeout(None).map_err(Error::Io)?;
        received
    }

    /// Receives the next reply or push message, unless the user presses Ctrl-C before it or `timeout` passes, possibly
    /// in the middle of it. The bytes received until then are kept for the next call.
    pub fn receive_or(&mut self, timeout: Option<Duration>) -> Result<Result<Value, Interrupt>, Error> {
        loop {
            if let Some(value) = self.take()? {
                return Ok(Ok(value));
            }
            if let Err(interrupt) = self.fill(timeout)? {
                return Ok(Err(interrupt));
            }
        }
    }

    /// Returns the next complete reply or push message among the received bytes.
    pub fn next_received(&mut self) -> Result<Option<Value>, Error> {
        self.take()
    }

    /// Returns the received bytes not consumed yet, for data that is not a reply.
    pub fn received(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Drops the first `count` of [`Connection::received`].
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        self.end = ReplyEnd::default();
        if self.start == self.input.len() {
            self.start = 0;
            self.input.clear();
            if self.input.capacity() > KEPT {
                self.input = Vec::new();
            }
        }
    }

    /// Reads more bytes, once. [`Error::Closed`] is the end of the stream.
    pub fn fill(&mut self, timeout: Option<Duration>) -> Result<Result<(), Interrupt>, Error> {
        if !self.stream.has_buffered() && (timeout.is_some() || terminal::interrupts_are_caught()) {
            let [is_ready] = terminal::wait_readable([self.as_fd()], timeout).map_err(Error::Io)?;
            if !is_ready {
                let is_signal = terminal::is_interrupted();
                return Ok(Err(if is_signal { Interrupt::Signal } else { Interrupt::Timeout }));
            }
        }
        self.read().map(Ok)
    }

    /// Reads more bytes, once; waits if there are none.
    fn read(&mut self) -> Result<(), Error> {
        if self.start > 0 {
            self.input.drain(..mem::take(&mut self.start));
        }
        let len = self.input.len();
        self.input.resize(len + READ.max(len.min(KEPT)), 0);
        let read = loop {
            match self.stream.read(&mut self.input[len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.input.truncate(len + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Error::Closed),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Takes the first reply from the received bytes, if it is complete.
    fn take(&mut self) -> Result<Option<Value>, Error> {
        let received = &self.input[self.start..];
        let Some(len) = self.end.find(received).map_err(Error::Malformed)? else { return Ok(None) };
        let value = Value::decode(&received[..len]).map_err(Error::Malformed)?;
        self.consume(len);
        Ok(value.map(|(value, _)| value))
    }
}

impl AsFd for Connection {
    /// For waiting until there is something to receive; such a wait does not notice bytes received before.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.socket.as_fd(),
        }
    }
}

/// Appends a command to `bytes`, encoded as an array of bulk strings.
pub fn write_command<W: AsRef<[u8]>>(bytes: &mut Vec<u8>, words: &[W]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Returns a connection to a server that sends `pieces` one by one and closes.
    fn connected(pieces: Vec<Vec<u8>>) -> (Connection, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for piece in pieces {
                stream.write_all(&piece).unwrap();
            }
        });
        (Connection::connect(&Address::Tcp("127.0.0.1".to_string(), port), None).unwrap(), server)
    }

    #[test]
    fn replies_in_pieces_are_received_in_order() {
        let long = vec![b'x'; 300_000];
        let mut bytes = b"+OK\r\n*2\r\n$300000\r\n".to_vec();
        bytes.extend_from_slice(&long);
        bytes.extend_from_slice(b"\r\n:7\r\n");
        let (mut connection, server) = connected(bytes.chunks(7001).map(<[u8]>::to_vec).collect());
        assert_eq!(connection.receive().unwrap(), Value::Simple(b"OK".to_vec()));
        assert_eq!(connection.receive().unwrap(), Value::Array(vec![Value::Bulk(long), Value::Integer(7)]));
        assert!(matches!(connection.receive(), Err(Error::Closed)));
        server.join().unwrap();
    }

    #[test]
    fn bytes_that_are_no_reply_and_a_dead_server_are_errors() {
        let (mut connection, server) = connected(vec![b"HTTP/1.1 400\r\n".to_vec()]);
        assert!(matches!(connection.receive(), Err(Error::Malformed(_))));
        server.join().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp("127.0.0.1".to_string(), listener.local_addr().unwrap().port());
        drop(listener);
        let error = Connection::connect(&address, None).unwrap_err().to_string();
        assert_eq!(error, format!("Could not connect to Redis at {address}: Connection refused"));
    }

    /// Signals affect the whole process, so the test below runs this in a separate process.
    #[test]
    #[ignore = "played by another test in a process of its own"]
    fn scene_of_an_interrupt() {
        use nix::sys::signal::{Signal, raise};
        // A time limit that only ends a failing test.
        const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp("127.0.0.1".to_string(), listener.local_addr().unwrap().port());
        let mut connection = Connection::connect(&address, None).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        terminal::catch_interrupts().unwrap();
        raise(Signal::SIGINT).unwrap();
        for _ in 0..2 {
            assert_eq!(connection.fill(PATIENCE).unwrap(), Err(Interrupt::Signal));
        }
        assert_eq!(connection.receive_or(None).unwrap(), Err(Interrupt::Signal));
        server.write_all(b"+early\r\n").unwrap();
        assert_eq!(connection.receive().unwrap(), Value::Simple(b"early".to_vec()));
        terminal::pause(Duration::MAX);
        assert!(terminal::take_interrupt() && !terminal::take_interrupt());
        assert_eq!(connection.fill(Some(Duration::from_millis(1))).unwrap(), Err(Interrupt::Timeout));
        server.write_all(b"+late\r\n").unwrap();
        assert_eq!(connection.receive_or(None).unwrap(), Ok(Value::Simple(b"late".to_vec())));
        raise(Signal::SIGINT).unwrap();
        assert_eq!(connection.fill(PATIENCE).unwrap(), Err(Interrupt::Signal));
        std::process::exit(42);
    }

    #[test]
    fn ctrl_c_that_comes_before_a_wait_ends_it_until_it_is_taken() {
        let scene = "tools::client::connection::tests::scene_of_an_interrupt";
        let played = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", scene])
            .output()
            .unwrap();
        assert_eq!(played.status.code(), Some(42), "{}", String::from_utf8_lossy(&played.stderr));
    }
}
