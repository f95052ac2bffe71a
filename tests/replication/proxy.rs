//! A proxy in front of a server, which cuts, delays and ends connections.
//!
//! ```text
//!   client ─▶ listener ─▶ one thread a direction ─▶ server
//!                          └─ waits while the proxy is cut; divides and delays what it passes on
//! ```
//!
//! A cut proxy is a network that loses everything: connections stay, new ones can be made, and no byte comes through. What
//! was sent meanwhile arrives when it is healed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::Random;

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
    /// The longest delay of a piece; with one, pieces are small as well.
    delay: Duration,
    random: Random,
    has_ended: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    /// A proxy in front of the port `target`.
    pub fn new(target: u16, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let state = State {
            target,
            is_cut: false,
            delay: Duration::ZERO,
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
                // A server that is not there is a connection that ends at once.
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

    /// Bytes come through again.
    pub fn heal(&self) {
        self.change(|state| state.is_cut = false);
    }

    /// Pieces are small, and each comes up to `longest` late. None: as before.
    pub fn delay(&self, longest: Duration) {
        self.change(|state| state.delay = longest);
    }

    /// Ends all connections; what is under way is lost.
    pub fn end_connections(&self) {
        self.change(|state| {
            for stream in state.connections.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
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
    /// Passes on what comes from `client`, and what the server says.
    fn connect(self: Arc<Shared>, client: TcpStream) -> io::Result<()> {
        let target = self.wait_until_open().target;
        let server = TcpStream::connect(("127.0.0.1", target))?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ends = [client.try_clone()?, server.try_clone()?];
        let back = [server.try_clone()?, client.try_clone()?];
        {
            let mut state = self.state.lock().expect("no panic");
            state.connections.retain(|stream| stream.peer_addr().is_ok());
            state.connections.extend([client, server]);
        }
        let shared = Arc::clone(&self);
        std::thread::spawn(move || shared.pass_on(back));
        self.pass_on(ends);
        Ok(())
    }

    /// Passes on bytes until one of both ends.
    fn pass_on(&self, [mut from, mut to]: [TcpStream; 2]) {
        let mut room = vec![0; 64 << 10];
        loop {
            let Open { delay, piece, .. } = self.wait_until_open();
            let most = if delay.is_zero() { room.len() } else { piece };
            let Ok(count @ 1..) = from.read(&mut room[..most]) else { break };
            std::thread::sleep(delay);
            self.wait_until_open();
            if to.write_all(&room[..count]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Waits while the proxy is cut.
    fn wait_until_open(&self) -> Open {
        let state = self.state.lock().expect("no panic");
        let mut state =
            self.changed.wait_while(state, |state| state.is_cut && !state.has_ended).expect("no panic");
        let longest_us = state.delay.as_micros() as usize;
        let delay = Duration::from_micros(state.random.below(longest_us + 1) as u64);
        Open { target: state.target, delay, piece: 1 + state.random.below(4096) }
    }
}

/// What holds for the next piece.
struct Open {
    /// The port of the server.
    target: u16,
    delay: Duration,
    /// The most bytes of the piece, if pieces are small.
    piece: usize,
}
