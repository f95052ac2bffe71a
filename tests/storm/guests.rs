//! The clients of a storm: non-blocking sockets, driven by one thread.

use super::acts::{Act, Acts};
use crate::support::client::encode;
use crate::support::{Client, DEADLINE, Random, eventually};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// The number of clients.
const GUESTS: usize = 24;

/// The most unsent bytes to a client from which the server does not read, because the client is paused or blocked.
const WAITING: usize = 256 * 1024;

/// Acts between two pulses, at most.
const BEAT: usize = 24;

/// Acts that are printed when the storm fails.
const SHOWN: usize = 100;

/// One client.
struct Guest {
    stream: TcpStream,
    /// Bytes that the socket has not accepted yet.
    out: Vec<u8>,
    /// The rest of a message whose beginning was sent.
    rest: Vec<u8>,
    /// Whether it reads its replies.
    reads: bool,
}

impl Guest {
    /// Fails only if the server has exited: while it is busy, the kernel accepts the connection.
    fn connect(port: u16) -> io::Result<Guest> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Guest { stream, out: Vec::new(), rest: Vec::new(), reads: true })
    }

    /// Sends and receives as much as possible now. Fails if the connection fails or ends.
    fn advance(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        while self.reads {
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// All clients.
pub struct Guests {
    port: u16,
    all: Vec<Guest>,
    pulse: Guest,
    /// Connections so far: the IDs of the server's clients are at most a little larger.
    opened: u64,
    until_pulse: usize,
    scratch: Vec<u8>,
    /// The last acts, as lines.
    last: VecDeque<String>,
}

impl Guests {
    pub fn connect(port: u16) -> io::Result<Guests> {
        Ok(Guests {
            port,
            all: (0..GUESTS).map(|_| Guest::connect(port)).collect::<io::Result<_>>()?,
            pulse: Guest::connect(port)?,
            opened: GUESTS as u64 + 1,
            until_pulse: BEAT,
            scratch: vec![0; 64 * 1024],
            last: VecDeque::new(),
        })
    }

    /// Performs the next act, and sends and receives for all sockets. Fails if the server has exited.
    pub fn perform(&mut self, acts: &mut Acts, random: &mut Random) -> io::Result<()> {
        let number = random.below(GUESTS);
        let act = acts.next(random, self.opened);
        self.note(number, &act);
        let guest = &mut self.all[number];
        match act {
            Act::Send(bytes) => {
                guest.out.append(&mut guest.rest);
                guest.out.extend(bytes);
            }
            Act::Half(mut bytes, cut) => {
                guest.out.append(&mut guest.rest);
                guest.rest = bytes.split_off(cut);
                guest.out.extend(bytes);
            }
            Act::StopReading => guest.reads = false,
            Act::Leave => self.replace(number)?,
        }
        if self.all[number].out.len() > WAITING {
            self.replace(number)?;
        }
        self.advance()?;
        self.until_pulse -= 1;
        if self.until_pulse == 0 {
            self.until_pulse = 1 + random.below(BEAT);
            self.beat()?;
        }
        Ok(())
    }

    fn note(&mut self, number: usize, act: &Act) {
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(format!("{number}: {act}"));
    }

    /// Closes a connection, most likely with unread replies, and opens another.
    fn replace(&mut self, number: usize) -> io::Result<()> {
        self.all[number] = Guest::connect(self.port)?;
        self.opened += 1;
        Ok(())
    }

    fn advance(&mut self) -> io::Result<()> {
        for number in 0..GUESTS {
            if self.all[number].advance(&mut self.scratch).is_err() {
                self.replace(number)?;
            }
        }
        Ok(())
    }

    /// Sends PING and waits for any reply. Meanwhile the other clients read their replies.
    fn beat(&mut self) -> io::Result<()> {
        let ping = encode(&["PING"]);
        self.pulse.out.extend(&ping);
        eventually("a reply to PING", || match self.wait_for_pulse(&ping) {
            Ok(replied) => replied.then_some(Ok(())),
            Err(e) => Some(Err(e)),
        })
    }

    /// Whether a reply to `ping` has arrived.
    fn wait_for_pulse(&mut self, ping: &[u8]) -> io::Result<bool> {
        self.advance()?;
        let received = self.pulse_received();
        if received.is_none() {
            // A `CLIENT KILL` has closed it.
            self.pulse = Guest::connect(self.port)?;
            self.pulse.out.extend(ping);
            self.opened += 1;
        }
        Ok(received.is_some_and(|bytes| bytes > 0))
    }

    /// The number of received bytes of the reply; `None` at the end of the connection.
    fn pulse_received(&mut self) -> Option<usize> {
        let reads = std::mem::replace(&mut self.pulse.reads, false);
        let sent = self.pulse.advance(&mut self.scratch);
        self.pulse.reads = reads;
        sent.ok()?;
        match self.pulse.stream.read(&mut self.scratch) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Some(0),
            Err(_) => None,
        }
    }

    /// Prints the last acts.
    pub fn show(&self) {
        eprintln!("--- the last acts:");
        self.last.iter().for_each(|line| eprintln!("{line}"));
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
    }
}
