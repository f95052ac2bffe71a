//! A replica's link to its primary, up to the snapshot: the handshake, `PSYNC`, and the transfer.
//!
//! ```text
//!   PING ─▶ AUTH, REPLCONF … ─▶ PSYNC id offset ─┬─ +CONTINUE ─────────────────────▶ the stream
//!                                                └─ +FULLRESYNC ─▶ $length ─▶ snapshot ─▶ the stream
//!                                                                  $EOF:mark
//! ```
//!
//! [`Link::receive`] takes bytes as they arrive, however they are divided, and returns one event at a time. After the
//! snapshot or `+CONTINUE` the stream follows, which the link does not read: its commands are executed like those of
//! any client.
//!
//! The log texts are those of Redis, because tools search for them.

use super::history::{Id, is_offset};
use crate::text::number;

/// The longest line from a primary, in bytes; a longer one is not a reply to the handshake.
const MAX_LINE: usize = 4096;

/// The length of the mark that ends a snapshot of unknown length, in bytes.
const MARK: usize = 40;

/// The properties that a replica sends in the handshake.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// `masteruser` and `masterauth`; without a password it does not authenticate.
    pub user: Vec<u8>,
    /// See [`Greeting::user`].
    pub password: Vec<u8>,
    /// The port at which clients reach it.
    pub port: u16,
    /// The address at which clients reach it, if it differs from the connection's.
    pub address: Vec<u8>,
    /// The replica's history and the first offset that it lacks; `None` to always request a snapshot.
    pub has: Option<(Id, i64)>,
    /// Requests that the primary become a replica (`FAILOVER`).
    pub takes_over: bool,
}

/// The severity of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Normal operation.
    Notice,
    /// An operator should check it.
    Warning,
}

/// An event in the bytes from the primary.
#[derive(PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A line for the log.
    Note(Level, String),
    /// A snapshot follows, of data with this history. `None`: the primary does not know PSYNC.
    FullSync(Option<(Id, i64)>),
    /// The stream follows at the end of this server's data, possibly under another ID.
    Continue(Option<Id>),
    /// The snapshot begins, with its length in bytes if known.
    SnapshotBegins(Option<u64>),
    /// Bytes of the snapshot.
    Snapshot(&'a [u8]),
    /// Bytes of the snapshot that were held back as a possible mark.
    Held(Vec<u8>),
    /// The snapshot is complete; the stream follows.
    SnapshotEnds,
}

/// Why a link failed, for the log. The server then connects again.
#[derive(PartialEq, Eq, Debug)]
pub struct Failure(pub Level, pub String);

/// The state: the next expected input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing has been sent; the connection is being established.
    Connecting,
    /// The reply to `PING`.
    Ping,
    /// The reply to `AUTH`.
    Auth,
    /// The reply to `REPLCONF listening-port`.
    Port,
    /// The reply to `REPLCONF ip-address`.
    Address,
    /// The reply to `REPLCONF capa`.
    Capabilities,
    /// The reply to `PSYNC`.
    Psync,
    /// The length of the snapshot.
    Header,
    /// The remaining bytes of the snapshot.
    Counted(u64),
    /// The snapshot and its mark.
    Marked([u8; MARK]),
    /// The stream.
    Stream,
}

/// The protocol state of a connection to a primary, up to the snapshot.
#[derive(Debug)]
pub struct Link {
    greeting: Greeting,
    step: Step,
    /// The start of a line, or the last bytes of a marked snapshot.
    held: Vec<u8>,
    /// Bytes of the snapshot so far.
    received: u64,
    /// The time of the last receive, in milliseconds of the caller's clock.
    heard_ms: u64,
    timeout_ms: u64,
    /// The reply of a primary that refuses: to `PSYNC`, or with `takes_over` to any request of the handshake.
    refusal: Option<String>,
}

impl Link {
    /// Returns a link that started connecting at `now_ms`, and fails after `timeout_ms` without input.
    pub fn new(now_ms: u64, timeout_ms: u64) -> Link {
        Link {
            greeting: Greeting::default(),
            step: Step::Connecting,
            held: Vec::new(),
            received: 0,
            heard_ms: now_ms,
            timeout_ms,
            refusal: None,
        }
    }

    /// Starts the handshake on the established connection. Appends the bytes to send to `out`.
    pub fn connected(&mut self, greeting: Greeting, now_ms: u64, out: &mut Vec<u8>) {
        self.greeting = greeting;
        self.heard_ms = now_ms;
        self.step = Step::Ping;
        request(out, &[b"PING"]);
    }

    /// The name of the state in `ROLE`.
    pub fn state(&self) -> &'static str {
        match self.step {
            Step::Connecting => "connecting",
            Step::Counted(_) | Step::Marked(_) | Step::Header => "sync",
            Step::Stream => "connected",
            _ => "handshake",
        }
    }

    /// Whether `PSYNC` was sent, and the primary has not replied.
    pub fn has_asked(&self) -> bool {
        self.step == Step::Psync
    }

    /// The reply of a primary that refuses `PSYNC`, or if it is to take over, any request of the handshake.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether a snapshot is expected or received.
    pub fn is_transferring(&self) -> bool {
        matches!(self.step, Step::Header | Step::Counted(_) | Step::Marked(_))
    }

    /// Whether the stream follows.
    pub fn is_complete(&self) -> bool {
        self.step == Step::Stream
    }

    /// The received bytes of the snapshot, and its length if known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        match self.step {
            Step::Counted(left) => (self.received, Some(self.received + left)),
            _ => (self.received, None),
        }
    }

    /// The most bytes to receive so that none of them belong to the stream.
    pub fn wanted(&self) -> usize {
        match self.step {
            Step::Counted(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Step::Marked(_) => usize::MAX,
            Step::Stream => 0,
            _ => 1,
        }
    }

    /// The time of the last receive.
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Checks the timeout.
    ///
    /// # Errors
    /// The primary has been silent for too long.
    pub fn check(&self, now_ms: u64) -> Result<(), Failure> {
        if now_ms.saturating_sub(self.heard_ms) <= self.timeout_ms {
            return Ok(());
        }
        let text = if self.is_transferring() {
            "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter \
             in redis.conf to a larger value."
        } else {
            "Timeout connecting to the MASTER..."
        };
        Err(Failure(Level::Warning, text.into()))
    }

    /// Takes bytes from the primary. Returns the number of bytes taken and their event. The caller passes the remaining
    /// bytes again until none is taken and no event is returned. Appends bytes to send to `out`. Takes nothing of the
    /// stream.
    ///
    /// # Errors
    /// The link has failed and must be closed.
    pub fn receive<'a>(
        &mut self,
        input: &'a [u8],
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>), Failure> {
        if !input.is_empty() {
            self.heard_ms = now_ms;
        }
        match self.step {
            Step::Stream => Ok((0, None)),
            Step::Counted(left) => Ok(self.receive_counted(input, left)),
            Step::Marked(mark) => Ok(self.receive_marked(input, mark)),
            _ => self.receive_line(input, out),
        }
    }

    fn receive_line<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>), Failure> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(input.len(), |end| end + 1);
        if self.held.len() + taken > MAX_LINE {
            return Err(Failure(
                Level::Warning,
                "Failed to read response from the server: the line is too long".into(),
            ));
        }
        self.held.extend_from_slice(&input[..taken]);
        if end.is_none() {
            return Ok((taken, None));
        }
        let mut line = std::mem::take(&mut self.held);
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let event = self.take_line(&line, out)?;
        Ok((taken, event))
    }

    fn take_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Event<'static>>, Failure> {
        let text = String::from_utf8_lossy(line);
        let is_error = line.first() == Some(&b'-');
        let note = |text: String| Ok(Some(Event::Note(Level::Notice, text)));
        // A primary sends empty lines as a keepalive.
        if line.is_empty() && matches!(self.step, Step::Psync | Step::Header) {
            return Ok(None);
        }
        match self.step {
            Step::Ping => {
                let may_go_on = ["+", "-NOAUTH", "-NOPERM", "-ERR operation not permitted"];
                if !may_go_on.iter().any(|start| text.starts_with(start)) {
                    self.note_refusal(&text);
                    return Err(Failure(
                        Level::Warning,
                        format!("Error reply to PING from master: '{text}'"),
                    ));
                }
                self.greet(out);
                note("Master replied to PING, replication can continue...".into())
            }
            Step::Auth => {
                if is_error {
                    self.note_refusal(&text);
                    return Err(Failure(Level::Warning, format!("Unable to AUTH to MASTER: {text}")));
                }
                self.step = Step::Port;
                Ok(None)
            }
            Step::Port => {
                self.step = if self.greeting.address.is_empty() { Step::Capabilities } else { Step::Address };
                uncritical(is_error, "listening-port", &text)
            }
            Step::Address => {
                self.step = Step::Capabilities;
                uncritical(is_error, "ip-address", &text)
            }
            Step::Capabilities => {
                self.ask(out);
                uncritical(is_error, "capa", &text)
            }
            Step::Psync => self.answered(line, &text, out),
            Step::Header => self.begin_snapshot(line, &text),
            Step::Connecting | Step::Counted(_) | Step::Marked(_) | Step::Stream => {
                Err(Failure(Level::Warning, format!("Unexpected bytes from master: {text}")))
            }
        }
    }

    /// Notes an error in the handshake. It refuses nothing but a failover: a replica just connects again.
    fn note_refusal(&mut self, text: &str) {
        if self.greeting.takes_over {
            self.refusal = Some(text.into());
        }
    }

    /// Sends all requests up to the next one that needs a reply first.
    fn greet(&mut self, out: &mut Vec<u8>) {
        let Greeting { user, password, port, address, .. } = &self.greeting;
        self.step = Step::Port;
        if !password.is_empty() {
            self.step = Step::Auth;
            match user.as_slice() {
                [] => request(out, &[b"AUTH", password]),
                user => request(out, &[b"AUTH", user, password]),
            }
        }
        request(out, &[b"REPLCONF", b"listening-port", port.to_string().as_bytes()]);
        if !address.is_empty() {
            request(out, &[b"REPLCONF", b"ip-address", address]);
        }
        request(out, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        self.step = Step::Psync;
        let (id, offset) = match self.greeting.has {
            Some((id, offset)) => (id.as_str().to_owned(), offset.to_string()),
            None => ("?".into(), "-1".into()),
        };
        let words: [&[u8]; 4] = [b"PSYNC", id.as_bytes(), offset.as_bytes(), b"FAILOVER"];
        request(out, if self.greeting.takes_over { &words } else { &words[..3] });
    }

    fn answered(
        &mut self,
        line: &[u8],
        text: &str,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>, Failure> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        match words[..] {
            [b"+FULLRESYNC", id, offset] => {
                let found = Id::parse(id).zip(number::parse_i64(offset).filter(|offset| is_offset(*offset)));
                let found = found.ok_or_else(|| {
                    Failure(Level::Warning, "Master replied with wrong +FULLRESYNC syntax.".into())
                })?;
                self.step = Step::Header;
                Ok(Some(Event::FullSync(Some(found))))
            }
            [b"+CONTINUE"] => {
                self.step = Step::Stream;
                Ok(Some(Event::Continue(None)))
            }
            [b"+CONTINUE", id] => {
                let id = Id::parse(id).ok_or_else(|| {
                    Failure(Level::Warning, format!("Unexpected reply to PSYNC from master: {text}"))
                })?;
                self.step = Step::Stream;
                Ok(Some(Event::Continue(Some(id))))
            }
            [b"-NOMASTERLINK" | b"-LOADING", ..] => {
                self.refusal = Some(text.into());
                Err(Failure(
                    Level::Notice,
                    format!("Master is currently unable to PSYNC but should be in the future: {text}"),
                ))
            }
            _ if self.greeting.takes_over => {
                self.refusal = Some(text.into());
                Err(Failure(Level::Warning, format!("Failover target rejected psync request: {text}")))
            }
            // The primary does not support PSYNC.
            _ => {
                request(out, &[b"SYNC"]);
                self.step = Step::Header;
                Ok(Some(Event::FullSync(None)))
            }
        }
    }

    fn begin_snapshot(&mut self, line: &[u8], text: &str) -> Result<Option<Event<'static>>, Failure> {
        let fail = |text: String| Err(Failure(Level::Warning, text));
        match line.split_first() {
            Some((b'-', error)) => {
                fail(format!("MASTER aborted replication with an error: {}", String::from_utf8_lossy(error)))
            }
            Some((b'$', mark)) if mark.starts_with(b"EOF:") => match mark[4..].try_into() {
                Ok(mark) => {
                    self.step = Step::Marked(mark);
                    Ok(Some(Event::SnapshotBegins(None)))
                }
                Err(_) => {
                    fail(format!("Bad protocol from MASTER, the EOF mark is not of {MARK} bytes: {text}"))
                }
            },
            Some((b'$', length)) => {
                match number::parse_i64(length).and_then(|length| u64::try_from(length).ok()) {
                    Some(length) => {
                        self.step = Step::Counted(length);
                        Ok(Some(Event::SnapshotBegins(Some(length))))
                    }
                    None => {
                        fail(format!("Bad protocol from MASTER, the length of the snapshot is wrong: {text}"))
                    }
                }
            }
            _ => fail(format!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{text}'), are you sure the host and port \
                 are right?"
            )),
        }
    }

    fn receive_counted<'a>(&mut self, input: &'a [u8], left: u64) -> (usize, Option<Event<'a>>) {
        if left == 0 {
            self.step = Step::Stream;
            return (0, Some(Event::SnapshotEnds));
        }
        if input.is_empty() {
            return (0, None);
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        self.step = Step::Counted(left - taken as u64);
        self.received += taken as u64;
        (taken, Some(Event::Snapshot(&input[..taken])))
    }

    /// The primary sends nothing after the mark before the replica acknowledges. The mark can therefore only be at the
    /// end of the received bytes, and the last 40 bytes are held back.
    fn receive_marked<'a>(&mut self, input: &'a [u8], mark: [u8; MARK]) -> (usize, Option<Event<'a>>) {
        if self.held == mark {
            self.held = Vec::new();
            self.step = Step::Stream;
            return (0, Some(Event::SnapshotEnds));
        }
        if input.len() > MARK && self.held.is_empty() {
            let taken = input.len() - MARK;
            self.received += taken as u64;
            return (taken, Some(Event::Snapshot(&input[..taken])));
        }
        let taken = if input.len() > MARK { 0 } else { input.len() };
        self.held.extend_from_slice(&input[..taken]);
        // If more bytes follow, these were not the mark but part of the snapshot.
        let surplus =
            if taken < input.len() { self.held.len() } else { self.held.len().saturating_sub(MARK) };
        let rest = self.held.split_off(surplus);
        let released = std::mem::replace(&mut self.held, rest);
        self.received += released.len() as u64;
        (taken, (!released.is_empty()).then_some(Event::Held(released)))
    }
}

fn uncritical(is_error: bool, option: &str, text: &str) -> Result<Option<Event<'static>>, Failure> {
    let note = || {
        Event::Note(
            Level::Notice,
            format!("(Non critical) Master does not understand REPLCONF {option}: {text}"),
        )
    };
    Ok(is_error.then(note))
}

/// Appends a request.
pub fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
