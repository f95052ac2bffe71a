//! Receives and parses requests: all that needs no access to the server.
//!
//! ```text
//! Intake::receive ─▶ Intake::window ─▶ Window::fill ─▶ a batch, which somebody executes ─▶ Intake::put_back
//!                                           ╰───────────────◀────────────────────╯
//! ```
//!
//! A client without an incomplete request receives into the shared ring of the intake, whose cache lines stay hot; its
//! requests are slices of that ring. Only the rest of an incomplete request moves to a [`Query`] of the client's own,
//! which is returned once it is empty. A large argument is received into the block that becomes the value.
//!
//! Its only inputs are a client's [`Line`] and the [`Terms`], so it can be tested with just a socket. An I/O thread
//! parses with the same [`Window`] ([`super::io_thread`]).

use std::io;

use super::lookup;
use super::net::batch::{BATCH, Batch};
use super::net::line::Line;
use super::net::query::{Filling, Query, READ, Received, SpareQueries, receive_into_ring};
use crate::command::CommandNames;
use crate::db::KeyHasher;
use crate::resp::{self, Limits, Parsed, Partial, ProtocolError, Span};
use crate::sys::ring::Ring;
use crate::types::block::Block;

/// The size of the ring: large enough that a receive always has space.
const RING: usize = 2 * READ;

/// The parameters of the parser.
pub struct Terms<'a> {
    /// Limits on the client's requests.
    pub limits: Limits,
    /// The command names.
    pub names: CommandNames,
    /// The function that hashes keys.
    pub hasher: &'a KeyHasher,
}

/// What follows the requests of a batch.
pub enum Next {
    /// Possibly more requests.
    Batch,
    /// Nothing but the start of a request.
    Drained,
    /// An argument of `len` bytes that begins at `at` and needs a block of its own.
    Big { at: usize, len: usize },
    /// An inline request, which begins at `at`.
    Inline { at: usize, words: Vec<Vec<u8>> },
    /// A protocol error.
    Failed(ProtocolError),
}

/// The reason to stop executing the requests of a window.
#[derive(Clone, Copy)]
pub enum Stopped {
    /// All requests have been parsed; only the start of another one is left.
    Drained,
    /// Complete requests may be left: the client's turn is over.
    Yielded,
    /// The rest of the window, from `at`, begins an argument of `len` bytes that needs a block of its own.
    Big { at: usize, len: usize },
    /// The client will be closed: nothing more is executed.
    Closing,
}

/// Received bytes of a client, beginning at a request.
pub struct Window<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Arguments of the first request that are in blocks of their own.
    pub blocks: &'a [Block],
    partial: &'a mut Partial,
    consumed: usize,
}

impl<'a> Window<'a> {
    /// The window of `bytes` and `blocks`, whose first request `partial` has begun to parse.
    #[inline]
    pub fn new(bytes: &'a [u8], blocks: &'a [Block], partial: &'a mut Partial) -> Window<'a> {
        Window { bytes, blocks, partial, consumed: 0 }
    }

    /// The number of bytes whose requests were taken.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Parses up to [`BATCH`] requests. Passes the hash of each first key to `found` before it parses the next request,
    /// for prefetching.
    #[inline]
    pub fn fill(&mut self, batch: &mut Batch, terms: &Terms<'_>, found: impl Fn(u64)) -> Next {
        batch.clear();
        // Before authentication, one request at a time: it may change the limits of the next one.
        let most = if terms.limits.authenticated { BATCH } else { 1 };
        self.append(batch, most, terms, found)
    }

    /// [`Window::fill`] for `most` requests, which are added to those of `batch`.
    #[inline]
    pub fn append(&mut self, batch: &mut Batch, most: usize, terms: &Terms<'_>, found: impl Fn(u64)) -> Next {
        let Window { bytes, blocks, .. } = *self;
        let most = batch.requests.len() + most;
        let mut at = self.consumed;
        let next = loop {
            if batch.requests.len() == most {
                break Next::Batch;
            }
            let first = batch.spans.len();
            match resp::parse(bytes, at, self.partial, &terms.limits, &mut batch.spans) {
                Ok(Parsed::Whole { end }) => {
                    at = end;
                    if batch.spans.len() > first {
                        let request =
                            lookup::push(batch, first, bytes, blocks, terms.names, terms.hasher, &found);
                        request.end = at;
                    }
                }
                Ok(Parsed::Incomplete) => break Next::Drained,
                Ok(Parsed::Big { at, len }) => break Next::Big { at, len },
                Ok(Parsed::Inline { end, words }) => {
                    break Next::Inline { at: std::mem::replace(&mut at, end), words };
                }
                Err(error) => break Next::Failed(error),
            }
            if at == bytes.len() {
                break Next::Drained;
            }
        };
        self.consumed = at;
        next
    }

    /// Leaves the requests from `end` on to be parsed again later, so their parsed form need not be kept.
    pub fn go_back(&mut self, end: usize) -> Stopped {
        self.consumed = end;
        *self.partial = Partial::default();
        Stopped::Yielded
    }

    /// Handles `next` after a batch that has to wait: it is parsed again when the client continues. None of its
    /// arguments are in blocks: only those of the window's first request are.
    pub fn leave(&mut self, next: &Next) -> Stopped {
        match *next {
            Next::Batch | Next::Drained => Stopped::Drained,
            Next::Big { at, len } => Stopped::Big { at, len },
            Next::Inline { at, .. } => {
                self.consumed = at;
                Stopped::Drained
            }
            Next::Failed(_) => {
                *self.partial = Partial::default();
                Stopped::Drained
            }
        }
    }
}

/// Adds an inline request to `batch`, if it has words. Returns the window with its arguments.
pub fn take_inline(batch: &mut Batch, words: &[Vec<u8>], terms: &Terms<'_>, found: impl Fn(u64)) -> Vec<u8> {
    let window = words.concat();
    let (first, mut start) = (batch.spans.len(), 0);
    for word in words {
        batch.spans.push(Span::window(start, word.len()));
        start += word.len();
    }
    if !words.is_empty() {
        lookup::push(batch, first, &window, &[], terms.names, terms.hasher, found);
    }
    window
}

/// The shared receive buffers of clients.
pub struct Intake {
    ring: Ring,
    /// The parser's progress in an incomplete request at the end of the ring.
    partial: Partial,
    spare: SpareQueries,
}

impl Intake {
    /// Returns an intake with empty buffers.
    pub fn new() -> Intake {
        Intake { ring: Ring::new(RING), partial: Partial::default(), spare: SpareQueries::default() }
    }

    /// Takes the client's query buffer. A client with waiting requests (`has_rest`) gets one if it has none; otherwise
    /// the next bytes go into the shared ring.
    #[inline]
    pub fn query_of(&mut self, line: &mut Line, has_rest: bool) -> Option<Box<Query>> {
        match line.query.take() {
            None if has_rest => Some(self.spare.take(0)),
            query => query,
        }
    }

    /// Receives once.
    ///
    /// # Errors
    /// Nothing was received.
    #[inline]
    pub fn receive(&mut self, line: &mut Line, query: Option<&mut Query>) -> io::Result<Received> {
        match query {
            Some(query) => query.receive(&mut line.transport, &mut self.spare),
            None => receive_into_ring(&mut self.ring, &mut line.transport, line.sends_large),
        }
    }

    /// The ring of `query`, or the shared ring.
    #[inline]
    pub fn ring_of<'a>(&'a self, query: Option<&'a Query>) -> &'a Ring {
        query.map_or(&self.ring, |query| &query.ring)
    }

    /// The bytes to parse.
    #[inline]
    pub fn window<'a>(&'a mut self, query: Option<&'a mut Query>) -> Window<'a> {
        let Some(query) = query else {
            let bytes = self.ring.readable();
            return Window::new(bytes, &[], &mut self.partial);
        };
        let Query { ring, partial, blocks, .. } = query;
        Window::new(ring.readable(), blocks, partial)
    }

    /// Stores the client's remaining bytes in its query buffer after `consumed` bytes of the window. Returns the blocks
    /// of requests if they are too many to free at once.
    #[inline]
    pub fn put_back(
        &mut self,
        line: &mut Line,
        query: Option<Box<Query>>,
        consumed: usize,
        stopped: Stopped,
    ) -> Option<Vec<Block>> {
        if let Some(query) = query {
            return put_back_query(line, query, consumed, stopped, &mut self.spare);
        }
        // The usual case has no remaining bytes and no large argument.
        if consumed < self.ring.len() || line.sends_large || matches!(stopped, Stopped::Closing) {
            let partial = std::mem::take(&mut self.partial);
            move_remainder(line, self.ring.readable(), partial, consumed, stopped, &mut self.spare);
        }
        debug_assert!(self.partial.is_fresh(), "nothing is left of a client");
        self.ring.truncate(0);
        None
    }

    /// Clears the shared ring, because its client is gone.
    #[cold]
    pub fn clear(&mut self) {
        self.partial = Partial::default();
        self.ring.truncate(0);
    }
}

/// Moves the bytes of `window` after `consumed` to a query buffer of the line's own.
pub fn move_remainder(
    line: &mut Line,
    window: &[u8],
    partial: Partial,
    consumed: usize,
    stopped: Stopped,
    spare: &mut SpareQueries,
) {
    if matches!(stopped, Stopped::Closing) {
        return;
    }
    let (rest, filling) = divide(line, &window[consumed..], consumed, stopped);
    if rest.is_empty() && filling.is_none() {
        return;
    }
    let mut query = spare.take(rest.len());
    query.partial = partial;
    query.hold(rest);
    query.filling = filling;
    line.query = Some(query);
}

/// Stores `query` without the `consumed` bytes in the line again, unless it is idle. Returns the blocks of executed
/// requests if they are too many to free at once.
pub fn put_back_query(
    line: &mut Line,
    mut query: Box<Query>,
    consumed: usize,
    stopped: Stopped,
    spare: &mut SpareQueries,
) -> Option<Vec<Block>> {
    query.ring.consume(consumed);
    let (rest, filling) = divide(line, query.ring.readable(), consumed, stopped);
    let left = rest.len();
    query.ring.truncate(left);
    query.filling = filling;
    let executed = query.forget_executed();
    if matches!(stopped, Stopped::Closing) {
        return executed;
    }
    if query.is_idle() {
        spare.give(query);
    } else {
        query.shrink();
        line.query = Some(query);
    }
    executed
}

/// Divides the remaining window after `consumed` bytes into bytes to keep in a ring and the large argument that has
/// begun.
fn divide<'a>(
    line: &mut Line,
    rest: &'a [u8],
    consumed: usize,
    stopped: Stopped,
) -> (&'a [u8], Option<Filling>) {
    let Stopped::Big { at, len } = stopped else {
        line.sends_large = false;
        return (rest, None);
    };
    line.sends_large = true;
    let (rest, head) = rest.split_at(at - consumed);
    (rest, Some(Filling::new(len, head, &line.transport)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::LazyLock;

    use super::*;
    use crate::command::Places;
    use crate::dict::Seed;
    use crate::resp::BIG_ARGUMENT;
    use crate::server::net::transport::Transport;
    use crate::sys::net::Socket;
    use crate::tls::Channel;

    static HASHER: LazyLock<KeyHasher> = LazyLock::new(|| KeyHasher::new(Seed::new([7, 9]), false));

    /// A client that sends, with the intake that receives from it, without a server.
    struct Connection {
        far: UnixStream,
        line: Line,
        intake: Intake,
        authenticated: bool,
        /// The received requests: their arguments, and the hashes of their keys.
        requests: Vec<(Vec<Vec<u8>>, u64)>,
        /// Hashes to prefetch.
        found: std::cell::RefCell<Vec<u64>>,
        error: Option<Vec<u8>>,
    }

    impl Connection {
        fn new() -> Connection {
            let (far, near) = UnixStream::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            Connection {
                far,
                line: Line::new(Transport::new(Channel::plain(Socket::new(near).unwrap()))),
                intake: Intake::new(),
                authenticated: true,
                requests: Vec::new(),
                found: std::cell::RefCell::default(),
                error: None,
            }
        }

        /// Sends `bytes`, and receives after each part that the socket accepts, until nothing is left.
        fn send(&mut self, mut bytes: &[u8]) {
            while !bytes.is_empty() {
                let count = self.far.write(bytes).expect("all that was sent before has been received");
                bytes = &bytes[count..];
                while self.receive() {}
            }
        }

        /// Receives once, as the loop does. Returns whether bytes arrived.
        fn receive(&mut self) -> bool {
            let mut query = self.intake.query_of(&mut self.line, false);
            match self.intake.receive(&mut self.line, query.as_deref_mut()) {
                Ok(received) => assert_ne!(received.count, 0, "the client has not closed"),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    self.line.query = query;
                    return false;
                }
            }
            if query.as_mut().is_some_and(|query| !query.end_argument()) {
                self.line.query = query;
                return true;
            }
            let Connection { line, intake, authenticated, requests, found, error, .. } = self;
            let limits = Limits { authenticated: *authenticated, ..Limits::default() };
            let terms = Terms { limits, names: CommandNames::default(), hasher: &HASHER };
            let note = |hash| found.borrow_mut().push(hash);
            let mut batch = Batch::default();
            let mut window = intake.window(query.as_deref_mut());
            let stopped = loop {
                let next = window.fill(&mut batch, &terms, note);
                requests.extend(requests_of(&batch, window.bytes, window.blocks));
                match next {
                    Next::Batch => {}
                    Next::Drained => break Stopped::Drained,
                    Next::Big { at, len } => break Stopped::Big { at, len },
                    Next::Inline { words, .. } => {
                        batch.clear();
                        let bytes = take_inline(&mut batch, &words, &terms, note);
                        requests.extend(requests_of(&batch, &bytes, &[]));
                    }
                    Next::Failed(why) => {
                        *error = Some(why.message().into_owned());
                        break Stopped::Closing;
                    }
                }
            };
            let consumed = window.consumed();
            let _ = intake.put_back(line, query, consumed, stopped);
            true
        }

        /// Whether the client has a query buffer.
        fn holds_something(&self) -> bool {
            self.line.query.is_some()
        }
    }

    fn requests_of(batch: &Batch, window: &[u8], blocks: &[Block]) -> Vec<(Vec<Vec<u8>>, u64)> {
        let arguments = |spans| {
            let places = Places { window, spans, blocks };
            places.args().iter_from(0).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        batch.requests.iter().map(|request| (arguments(request.spans(&batch.spans)), request.hash)).collect()
    }

    fn request(words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    fn expected(requests: &[&[&[u8]]], keyed: &[bool]) -> Vec<(Vec<Vec<u8>>, u64)> {
        let hash = |words: &[&[u8]], keyed: bool| if keyed { HASHER.hash(words[1]) } else { 0 };
        let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
        requests.iter().zip(keyed).map(|(words, keyed)| (owned(words), hash(words, *keyed))).collect()
    }

    #[test]
    fn requests_arrive_whole_wherever_the_stream_is_split() {
        let all: &[&[&[u8]]] = &[
            &[b"SET", b"key", b"value"],
            &[b"PING"],
            &[b"mget", b"a key", b"", b"\r\n$3\r\n"],
            &[b"no-such-command", b"x"],
            &[b"get", b"inline"],
            &[b"DEL", b"key"],
        ];
        let wanted = expected(all, &[true, false, true, false, true, true]);
        let mut bytes: Vec<u8> = all[..4].iter().flat_map(|words| request(words)).collect();
        bytes.extend_from_slice(b"get \"inline\"\r\n*0\r\n");
        bytes.extend_from_slice(&request(all[5]));
        for split in 1..bytes.len() {
            let mut connection = Connection::new();
            connection.send(&bytes[..split]);
            connection.send(&bytes[split..]);
            assert_eq!(connection.requests, wanted, "split at {split}");
            assert!(!connection.holds_something(), "split at {split}");
            let hashes: Vec<u64> = wanted.iter().map(|request| request.1).filter(|hash| *hash != 0).collect();
            assert_eq!(*connection.found.borrow(), hashes, "split at {split}");
        }
        let mut connection = Connection::new();
        for byte in &bytes {
            connection.send(&[*byte]);
        }
        assert_eq!(connection.requests, wanted, "byte by byte");
        assert!(!connection.holds_something());
    }

    #[test]
    fn large_arguments_are_received_into_blocks_of_their_own() {
        for len in [BIG_ARGUMENT - 1, BIG_ARGUMENT, READ, 300_000, 3_000_000] {
            let large: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
            let set: &[&[u8]] = &[b"SET", b"key", &large];
            let append: &[&[u8]] = &[b"MSET", b"k1", &large, b"k2", &large];
            let wanted = expected(&[set, &[b"PING"], append, set], &[true, false, true, true]);
            let bytes = [&request(set)[..], &request(&[b"PING"]), &request(append), &request(set)].concat();
            for split in [1, 20, 40, len, len + 36, len + 38, len + 60, 2 * len + 90, 3 * len] {
                let mut connection = Connection::new();
                connection.send(&bytes[..split]);
                connection.send(&bytes[split..]);
                assert!(connection.requests == wanted, "{len} bytes, split at {split}");
                assert!(!connection.holds_something(), "{len} bytes, split at {split}");
            }
        }
    }

    #[test]
    fn a_request_of_many_arguments_does_not_need_a_ring_of_its_size() {
        let words: Vec<Vec<u8>> = (0..60_000).map(|index| format!("argument {index}").into_bytes()).collect();
        let words: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(words.iter().map(Vec::as_slice)).collect();
        let bytes = request(&words);
        let mut connection = Connection::new();
        connection.send(&bytes[..bytes.len() - 1]);
        let ring = connection.line.query.as_ref().expect("an unfinished request").ring.capacity();
        assert!(ring <= 128 * 1024, "{ring}");
        connection.send(b"\n");
        assert!(connection.requests == expected(&[&words], &[true]));
    }

    #[test]
    fn what_comes_before_an_error_is_yielded_and_nothing_behind_it() {
        let wrong: &[(&[u8], &[u8])] = &[
            (b"*1\r\n+PING\r\n", b"Protocol error: expected '$', got '+'"),
            (b"*1\r\n$-5\r\n", b"Protocol error: invalid bulk length"),
            (b"*x\r\n", b"Protocol error: invalid multibulk length"),
            (b"get \"x\r\n", b"Protocol error: unbalanced quotes in request"),
        ];
        for (bytes, message) in wrong {
            let all = [&request(&[b"GET", b"key"])[..], bytes, &request(&[b"GET", b"key"])].concat();
            let mut connection = Connection::new();
            connection.send(&all);
            assert_eq!(connection.requests, expected(&[&[b"GET", b"key"]], &[true]));
            assert_eq!(connection.error.as_deref(), Some(*message));
            assert!(!connection.holds_something());
        }
    }

    #[test]
    fn the_limits_are_those_of_the_terms() {
        let mut connection = Connection::new();
        connection.authenticated = false;
        connection.send(&[request(&[b"GET", b"key"]), request(&[&b"x"[..]; 11])].concat());
        assert_eq!(connection.requests.len(), 1, "requests before the password are parsed one by one");
        assert_eq!(
            connection.error.as_deref(),
            Some(&b"Protocol error: unauthenticated multibulk length"[..])
        );
    }

    #[test]
    fn requests_that_have_to_wait_are_parsed_again() {
        let mut connection = Connection::new();
        let bytes =
            [request(&[b"GET", b"first"]), request(&[b"GET", b"second"]), b"*1\r\n".to_vec()].concat();
        connection.far.write_all(&bytes).unwrap();
        let Connection { line, intake, .. } = &mut connection;
        assert!(intake.query_of(line, false).is_none(), "nothing was held");
        assert_eq!(intake.receive(line, None).unwrap().count, bytes.len());
        let terms = Terms { limits: Limits::default(), names: CommandNames::default(), hasher: &HASHER };
        let mut batch = Batch::default();
        let mut window = intake.window(None);
        assert!(matches!(window.fill(&mut batch, &terms, |_| ()), Next::Drained));
        assert_eq!(batch.requests.len(), 2);
        let stopped = window.go_back(batch.requests[0].end);
        let consumed = window.consumed();
        assert!(intake.put_back(line, None, consumed, stopped).is_none());
        assert!(connection.holds_something());
        connection.send(b"$4\r\nPING\r\n");
        let rest: &[&[&[u8]]] = &[&[b"GET", b"second"], &[b"PING"]];
        assert_eq!(connection.requests, expected(rest, &[true, false]));
        assert!(!connection.holds_something());
    }
}
