//! The requests of a pipeline, parsed before they are executed; and requests that have to wait.
//!
//! A request is a command, the hash of its first key, and the spans of its arguments, which stay where they were
//! received. See [`crate::server::lookup`] for why batches are looked up together.

use std::ops::Range;

use crate::command::{Command, Places, Refusal};
use crate::resp::{Span, SpanKind};
use crate::types::Block;

/// The most requests that are parsed ahead.
pub const BATCH: usize = 64;

/// Capacity for spans that is kept from one batch to the next.
const KEEP_SPANS: usize = 64 * 1024;

/// Returns the total length of the arguments at `spans`, some of which may lie in `blocks`.
pub fn argument_bytes(spans: &[Span], blocks: &[Block]) -> usize {
    let len = |span: &Span| match span.kind() {
        SpanKind::Window { len, .. } | SpanKind::Piece { len, .. } => len,
        SpanKind::Detached(index) => blocks[index].len(),
    };
    spans.iter().map(len).sum()
}

/// One parsed request.
#[derive(Clone, Copy)]
pub struct Request {
    /// The command that its name refers to.
    pub command: Result<&'static Command, Refusal>,
    /// Index of its first argument in the batch's spans.
    first: u32,
    /// The number of its arguments.
    pub count: u32,
    /// The index in the window at which it ends.
    pub end: usize,
    /// The hash of its first key, or 0 if it has none.
    pub hash: u64,
}

impl Request {
    /// Returns the spans of its arguments.
    #[inline]
    pub fn spans<'a>(&self, spans: &'a [Span]) -> &'a [Span] {
        &spans[self.first as usize..][..self.count as usize]
    }
}

/// Requests with their arguments; reused for every batch.
#[derive(Default)]
pub struct Batch {
    /// Arguments of all requests, one after the other.
    pub spans: Vec<Span>,
    /// The requests in the order of arrival.
    pub requests: Vec<Request>,
}

impl Batch {
    /// Removes all requests.
    #[inline]
    pub fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
        if self.spans.capacity() > KEEP_SPANS {
            self.spans = Vec::new();
        }
    }

    /// Adds the request whose `count` arguments have been appended to `spans` from `first` on. The caller sets its
    /// `end`.
    #[inline]
    pub fn push(
        &mut self,
        first: usize,
        count: usize,
        command: Result<&'static Command, Refusal>,
        hash: u64,
    ) -> &mut Request {
        self.requests.push(Request { command, first: first as u32, count: count as u32, end: 0, hash });
        self.requests.last_mut().expect("just added")
    }
}

/// Parsed requests that wait, with the bytes and blocks of their arguments.
#[derive(Default)]
pub struct Rest {
    /// The requests.
    pub batch: Batch,
    /// Index of the request that comes next.
    pub next: usize,
    /// The bytes that their spans refer to.
    pub bytes: Vec<u8>,
    /// The blocks of large arguments.
    pub blocks: Vec<Block>,
    /// The first request that arrived while others waited already, and the bytes of these requests as they were received.
    late: Option<(usize, usize)>,
    /// The memory of `blocks`, and how many bytes of it are used.
    block_bytes: usize,
    block_len: usize,
}

impl Rest {
    /// Adds a request and copies its arguments, except those that have a block of their own. A request that was
    /// received in one contiguous piece is copied as one, so that it can later be propagated with one copy.
    pub fn push(&mut self, command: Result<&'static Command, Refusal>, hash: u64, places: Places<'_>) {
        let first = self.batch.spans.len();
        let args = places.args();
        if let Some((at, encoded)) = args.encoded_at() {
            let base = self.bytes.len();
            self.bytes.extend_from_slice(encoded);
            self.batch.spans.extend(places.spans.iter().map(|span| span.moved(at, base)));
        } else {
            for span in places.spans {
                let moved = self.take(*span, &places);
                self.batch.spans.push(moved);
            }
        }
        self.batch.push(first, places.spans.len(), command, hash);
    }

    /// Copies an argument, or shares its block.
    fn take(&mut self, span: Span, places: &Places<'_>) -> Span {
        let bytes = match span.kind() {
            SpanKind::Window { start, len } => &places.window[start..start + len],
            SpanKind::Piece { block, start, len } => &places.blocks[block].as_slice()[start..start + len],
            SpanKind::Detached(index) => {
                let block = places.blocks[index].share();
                self.block_bytes += block.memory_bytes();
                self.block_len += block.len();
                self.blocks.push(block);
                return Span::detached(self.blocks.len() - 1);
            }
        };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::window(start, bytes.len())
    }

    /// Returns request `index` and the places of its arguments.
    pub fn request(&self, index: usize) -> Option<(&Request, Places<'_>)> {
        let request = self.batch.requests.get(index)?;
        let spans = request.spans(&self.batch.spans);
        Some((request, Places { window: &self.bytes, spans, blocks: &self.blocks }))
    }

    /// Returns the bytes of all arguments. O(1).
    pub fn len(&self) -> usize {
        self.bytes.len() + self.block_len
    }

    /// Notes that the requests from `first` on arrived while others waited already, in `bytes` bytes.
    pub fn note_late(&mut self, first: usize, bytes: usize) {
        match &mut self.late {
            Some((late, sum)) if self.next <= *late => *sum += bytes,
            late => *late = Some((first, bytes)),
        }
    }

    /// Returns the bytes of late requests, while none of them is executed. Clients see them as bytes that were received
    /// and not parsed.
    pub fn late_bytes(&self) -> usize {
        self.late.filter(|(first, _)| self.next < *first).map_or(0, |(_, bytes)| bytes)
    }

    /// Returns the total length of the arguments of the requests that still wait, without those of
    /// [`Rest::late_bytes`].
    pub fn argument_bytes(&self) -> usize {
        let end = self.late.map(|(first, _)| first).filter(|first| self.next < *first);
        let count = end.unwrap_or(self.batch.requests.len()) - self.next.min(self.batch.requests.len());
        let waiting = self.batch.requests.iter().skip(self.next).take(count);
        waiting.map(|request| argument_bytes(request.spans(&self.batch.spans), &self.blocks)).sum()
    }

    /// Returns the next request and the places of its arguments.
    pub fn current(&self) -> Option<(&Request, Places<'_>)> {
        self.request(self.next)
    }

    /// Replaces argument `index` of the next request.
    pub fn rewrite(&mut self, index: usize, value: &[u8]) {
        let Some(request) = self.batch.requests.get(self.next) else { return };
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.batch.spans[request.first as usize + index] = Span::window(start, value.len());
    }

    /// Returns the bytes of memory used.
    pub fn memory_bytes(&self) -> usize {
        let Batch { spans, requests } = &self.batch;
        let tables = spans.capacity() * size_of::<Span>() + requests.capacity() * size_of::<Request>();
        size_of::<Self>() + self.bytes.capacity() + self.block_bytes + tables
    }
}

impl Batch {
    /// Copies some of the requests, so that they outlive the current `window` and `blocks`.
    pub fn rest(&self, requests: Range<usize>, window: &[u8], blocks: &[Block]) -> Rest {
        let mut rest = Rest::default();
        self.add_to(&mut rest, requests, window, blocks);
        rest
    }

    /// Returns how many bytes some of the requests, which have one window, were received in.
    pub fn received_bytes(&self, requests: Range<usize>) -> usize {
        let before = requests.start.checked_sub(1).map_or(0, |before| self.requests[before].end);
        let (start, end) = (before, self.requests[requests].last().map_or(0, |last| last.end));
        // The request before may be in another window.
        if start < end { end - start } else { end }
    }

    /// Adds copies of some of the requests to `rest`.
    pub fn add_to(&self, rest: &mut Rest, requests: Range<usize>, window: &[u8], blocks: &[Block]) {
        for request in &self.requests[requests] {
            let spans = request.spans(&self.spans);
            rest.push(request.command, request.hash, Places { window, spans, blocks });
        }
    }
}
