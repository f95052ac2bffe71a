//! A proxy in front of a server, which cuts, delays, ends and resets connections.
//!
//! ```text
//!   client ─▶ listener ─▶ one thread a direction ─▶ server
//!                          └─ waits while the proxy is cut; divides and delays what it passes on
//! ```
//!
//! A cut proxy is a network that loses everything: connections stay, new ones can be made, and no byte comes through.
//! Data that was sent meanwhile arrives when it is healed. It can also be cut for clients with certain addresses only.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{Random, socket_options};

/// How long a thread stays in a write that its peer does not take, before it looks whether the connection was reset.
const WRITE_TIMEOUT: Duration = Duration::from_millis(20);

/// See the module's head.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The port of the server.
    target: u16,
    is_cut: bool,
    /// The addresses of clients that are cut.
    cut_sources: Vec<IpAddr>,
    /// The longest delay of a piece; with one, pieces are small as well.
    delay: Duration,
    /// So many bytes come through before all connections are reset.
    reset_after: Option<usize>,
    random: Random,
    has_ended: bool,
    connections: Vec<Arc<Connection>>,
}

struct Connection {
    client: TcpStream,
    source: IpAddr,
    server: TcpStream,
    is_reset: AtomicBool,
}

impl Connection {
    fn end(&self) {
        let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }

    /// Both peers get a reset, as soon as both threads have seen the end of what they read.
    fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            socket_options::reset_on_close(stream);
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }
}

impl Proxy {
    /// A proxy in front of the port `target`.
    pub fn new(target: u16, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let state = State {
            target,
            is_cut: false,
            cut_sources: Vec::new(),
            delay: Duration::ZERO,
            reset_after: None,
            random: Random::new(seed),
            has_ended: false,
            connections: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.state.lock().expect("no panic").has_ended {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.connect(stream));
            }
        });
        Proxy { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server listens on another port now.
    pub fn set_target(&self, port: u16) {
        self.change(|state| state.target = port);
    }

    /// No byte comes through from now on.
    pub fn cut(&self) {
        self.change(|state| state.is_cut = true);
    }

    /// Cuts the connections of this address, in both directions.
    pub fn cut_from(&self, source: IpAddr) {
        self.change(|state| state.cut_sources.push(source));
    }

    /// Bytes come through again, at once and all of them.
    pub fn heal(&self) {
        self.change(|state| {
            state.cut_sources.clear();
            (state.is_cut, state.delay, state.reset_after) = (false, Duration::ZERO, None);
        });
    }

    /// Pieces are small, and each comes up to `longest` late. None: as before.
    pub fn delay(&self, longest: Duration) {
        self.change(|state| state.delay = longest);
    }

    /// Ends all connections; what is under way is lost.
    pub fn end_connections(&self) {
        self.change(|state| state.connections.drain(..).for_each(|connection| connection.end()));
    }

    /// Resets all connections; what is under way is lost.
    pub fn reset_connections(&self) {
        self.change(|state| state.connections.drain(..).for_each(|connection| connection.reset()));
    }

    /// Lets so many bytes through, in the midst of whatever that is, and then resets all connections once.
    pub fn reset_after(&self, bytes: usize) {
        self.change(|state| state.reset_after = Some(bytes));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().expect("no panic"));
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| state.has_ended = true);
        self.end_connections();
        // So that the listener's thread looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    /// Passes on what comes from `client`, and what the server says. A server that is not there is a connection that ends
    /// at once.
    fn connect(self: Arc<Shared>, client: TcpStream) {
        let Ok(peer) = client.peer_addr() else { return };
        let target = self.wait_until_open(peer.ip(), None).target;
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
        let is_reset = AtomicBool::new(false);
        let connection = Arc::new(Connection { client, source: peer.ip(), server, is_reset });
        for stream in [&connection.client, &connection.server] {
            stream.set_nodelay(true).expect("a socket");
            stream.set_write_timeout(Some(WRITE_TIMEOUT)).expect("a socket");
        }
        self.state.lock().expect("no panic").connections.push(Arc::clone(&connection));
        let back = (Arc::clone(&self), Arc::clone(&connection));
        let thread = std::thread::spawn(move || {
            let (shared, connection) = back;
            shared.pass_on(&connection, [&connection.server, &connection.client]);
        });
        self.pass_on(&connection, [&connection.client, &connection.server]);
        thread.join().expect("no panic");
        self.state.lock().expect("no panic").connections.retain(|other| !Arc::ptr_eq(other, &connection));
    }

    /// Passes on bytes until one of both ends.
    fn pass_on(&self, connection: &Connection, [mut from, to]: [&TcpStream; 2]) {
        let mut room = vec![0; 64 << 10];
        loop {
            let Open { delay, piece, .. } = self.wait_until_open(connection.source, Some(connection));
            let most = if delay.is_zero() { room.len() } else { piece };
            let Ok(count @ 1..) = from.read(&mut room[..most]) else { break };
            std::thread::sleep(delay);
            self.wait_until_open(connection.source, Some(connection));
            let admitted = self.admit(count);
            if !write_all(connection, to, &room[..admitted]) || admitted < count {
                break;
            }
        }
        if !connection.is_reset() {
            connection.end();
        }
    }

    /// How many of `count` bytes come through before the connections are reset.
    fn admit(&self, count: usize) -> usize {
        let mut state = self.state.lock().expect("no panic");
        match state.reset_after {
            Some(left) if left < count => {
                state.reset_after = None;
                state.connections.drain(..).for_each(|connection| connection.reset());
                left
            }
            Some(left) => {
                state.reset_after = Some(left - count);
                count
            }
            None => count,
        }
    }

    /// Waits while the proxy is cut, unless the connection was reset.
    fn wait_until_open(&self, source: IpAddr, connection: Option<&Connection>) -> Open {
        let waits = |state: &mut State| {
            let is_cut = state.is_cut || state.cut_sources.contains(&source);
            is_cut && !state.has_ended && !connection.is_some_and(Connection::is_reset)
        };
        let state = self.state.lock().expect("no panic");
        let mut state = self.changed.wait_while(state, waits).expect("no panic");
        let longest_us = state.delay.as_micros() as usize;
        let delay = Duration::from_micros(state.random.below(longest_us + 1) as u64);
        Open { target: state.target, delay, piece: 1 + state.random.below(4096) }
    }
}

/// Writes all bytes. Returns false if the connection has ended.
fn write_all(connection: &Connection, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return false,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if connection.is_reset() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// What holds for the next piece.
struct Open {
    /// The port of the server.
    target: u16,
    delay: Duration,
    /// The most bytes of the piece, if pieces are small.
    piece: usize,
}
