//! A client's connection as the server handles it, for the parser's fuzz targets: bytes arrive in pieces, big arguments
//! move into blocks of their own, and the parsed requests are recorded.
//!
//! It also checks what must hold after every call: spans lie where their headers say, and memory grows only with what was
//! received.

use redstart::resp::{
    Limits, MAX_PIECE, MAX_PIECE_START, Parsed, Partial, ProtocolError, Span, SpanKind, parse,
};

/// A result of the parser.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Request(Vec<Vec<u8>>),
    Inline(Vec<Vec<u8>>),
    Error(ProtocolError),
}

#[derive(Default)]
pub struct Connection {
    pub limits: Limits,
    pub outcomes: Vec<Outcome>,
    window: Vec<u8>,
    start: usize,
    received: usize,
    partial: Partial,
    blocks: Vec<Vec<u8>>,
    /// Whether part of the current request has moved out of the window.
    moved: bool,
    closed: bool,
}

impl Connection {
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Handles the bytes of one `recv`.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && !self.closed {
            let taken = match self.partial.big() {
                Some(len) => {
                    let block = self.blocks.last_mut().expect("a big argument has its block");
                    let taken = piece.len().min(len + 2 - block.len());
                    block.extend_from_slice(&piece[..taken]);
                    if block.len() < len + 2 {
                        return;
                    }
                    block.truncate(len);
                    self.partial.detached();
                    taken
                }
                None => {
                    self.window.extend_from_slice(piece);
                    piece.len()
                }
            };
            self.received += taken;
            piece = &piece[taken..];
            self.advance();
        }
    }

    fn advance(&mut self) {
        loop {
            let mut spans = Vec::new();
            let parsed = parse(&self.window, self.start, &mut self.partial, &self.limits, &mut spans);
            // Eight bytes per argument, which took at least six; a vector may have twice what it needs.
            assert!(self.partial.memory() <= 3 * self.received + 64);
            match parsed {
                Ok(Parsed::Whole { end }) => {
                    let request = spans.iter().map(|&span| self.argument(span)).collect();
                    self.outcomes.push(Outcome::Request(request));
                    self.next_request(end);
                }
                Ok(Parsed::Inline { end, words }) => {
                    let size: usize = words.iter().map(Vec::len).sum();
                    assert!(!words.is_empty() && spans.is_empty() && size < end - self.start);
                    self.outcomes.push(Outcome::Inline(words));
                    self.next_request(end);
                }
                Ok(Parsed::Incomplete) => {
                    assert!(spans.is_empty());
                    // Only distances from the start count, so the request may move to the front.
                    self.window.drain(..self.start);
                    self.start = 0;
                    if self.received.is_multiple_of(3) {
                        self.move_out();
                    }
                    return;
                }
                Ok(Parsed::Big { at, len }) => {
                    assert!(spans.is_empty() && self.window.len() - at < len + 2);
                    self.blocks.push(self.window.split_off(at));
                    return;
                }
                Err(error) => {
                    self.outcomes.push(Outcome::Error(error));
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Moves the arguments that have arrived out of the window: every other one into a block of its own, if the others
    /// are short enough to share one.
    fn move_out(&mut self) {
        let Self { window, blocks, .. } = self;
        let (mut shared, mut own) = (None::<usize>, false);
        let moved = self.partial.move_out(window.len(), |place| {
            let bytes = &window[place];
            own = !own;
            if own || bytes.len() >= MAX_PIECE {
                blocks.push(bytes.to_vec());
                return Span::detached(blocks.len() - 1);
            }
            let block = match shared {
                Some(block) if blocks[block].len() < MAX_PIECE_START => block,
                _ => {
                    blocks.push(Vec::new());
                    *shared.insert(blocks.len() - 1)
                }
            };
            let at = blocks[block].len();
            blocks[block].extend_from_slice(bytes);
            Span::piece(block, at, bytes.len())
        });
        assert_eq!(self.partial.detached_count(), self.blocks.len());
        self.window.drain(..moved);
        self.moved |= moved > 0;
    }

    fn argument(&self, span: Span) -> Vec<u8> {
        if let SpanKind::Window { start, len } = span.kind() {
            // If the first remaining argument follows ones that moved out, its header may have moved with them.
            let header = format!("${len}\r");
            assert!(self.moved || self.window[self.start..start - 1].ends_with(header.as_bytes()));
            assert!(start + len + 2 <= self.window.len());
        }
        span.resolve(&self.window, &self.blocks).to_vec()
    }

    fn next_request(&mut self, end: usize) {
        assert!(self.partial.is_fresh() && self.partial.memory() == 0);
        assert!(end > self.start && end <= self.window.len());
        self.start = end;
        self.moved = false;
        self.blocks.clear();
    }
}
