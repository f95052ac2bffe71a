//! A chunk of the stream: bytes, with shared blocks between them.
//!
//! ```text
//!   bytes    *3 $3 SET $1 b $40000 ▲ ⏎ *3 $3 SET $1 c $2 vv ⏎ …
//!   blocks                         └ (place in bytes, bytes of the blocks before it, block)
//! ```
//!
//! The blocks are in order, so a reader's place is found by binary search. A recycled chunk keeps its capacity.

use crate::resp::{Protocol, Reply};
use crate::types::block::Block;

/// See the module's head.
#[derive(Default)]
pub(super) struct Chunk {
    /// The offset of the stream at which it begins.
    pub start: u64,
    /// The number of readers in it.
    pub readers: u32,
    bytes: Vec<u8>,
    blocks: Vec<Placed>,
    /// The bytes of all blocks.
    block_bytes: usize,
}

/// A block and its place.
struct Placed {
    /// The place in [`Chunk::bytes`] that it precedes.
    at: usize,
    /// The bytes of the blocks before it.
    before: usize,
    block: Block,
}

impl Placed {
    fn start(&self) -> usize {
        self.at + self.before
    }
}

/// A place in a chunk: an index into its bytes, and one into its blocks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Place {
    byte: usize,
    block: usize,
}

impl Chunk {
    /// Its length, blocks included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.block_bytes
    }

    /// The offset of the stream at which it ends.
    #[inline]
    pub fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    /// The offset of the stream at a place.
    pub fn offset(&self, place: Place) -> u64 {
        let blocks = self.blocks.get(place.block).map_or(self.block_bytes, |placed| placed.before);
        self.start + (place.byte + blocks) as u64
    }

    /// The place at its end.
    #[inline]
    pub fn end_place(&self) -> Place {
        Place { byte: self.bytes.len(), block: self.blocks.len() }
    }

    /// Bytes of memory, without those of blocks, which values may share.
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.blocks.capacity() * size_of::<Placed>()
    }

    /// The bytes of all blocks.
    #[inline]
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Appends to its bytes.
    #[inline]
    pub fn reply(&mut self) -> Reply<'_> {
        Reply::new(&mut self.bytes, Protocol::Resp2)
    }

    /// Appends encoded bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a bulk string that stays in its block.
    pub fn push_block(&mut self, block: Block) {
        self.reply().bulk_header(block.len());
        let (at, before) = (self.bytes.len(), self.block_bytes);
        self.block_bytes += block.len();
        self.blocks.push(Placed { at, before, block });
        self.extend(b"\r\n");
    }

    /// Replaces `len` bytes at `place`, before the block of that place, and moves what follows.
    pub fn replace(&mut self, place: Place, len: usize, with: &[u8]) {
        assert!(
            place.byte + len <= self.bytes.len() && place.block <= self.blocks.len(),
            "a place in the chunk"
        );
        self.bytes.splice(place.byte..place.byte + len, with.iter().copied());
        for placed in &mut self.blocks[place.block..] {
            placed.at = placed.at + with.len() - len;
        }
    }

    /// The bytes from `from` bytes after its start up to the place `to`, in pieces, none of them empty.
    pub fn pieces(&self, from: usize, to: Place) -> impl Iterator<Item = &[u8]> {
        let first = self.blocks.partition_point(|placed| placed.start() + placed.block.len() <= from);
        let (byte, skipped) = match self.blocks.get(first) {
            Some(placed) if placed.start() <= from => (placed.at, from - placed.start()),
            Some(placed) => (from - placed.before, 0),
            None => (from - self.block_bytes, 0),
        };
        let blocks = &self.blocks[first..to.block];
        let starts = std::iter::once(byte).chain(blocks.iter().map(|placed| placed.at));
        let ends = blocks.iter().map(|placed| placed.at).chain(std::iter::once(to.byte));
        let skips = std::iter::once(skipped).chain(std::iter::repeat(0));
        let large = blocks.iter().zip(skips).map(|(placed, skipped)| &placed.block.as_slice()[skipped..]);
        let pieces = starts.zip(ends).zip(large.chain(std::iter::once(&[][..])));
        let pieces = pieces.flat_map(|((start, end), large)| [&self.bytes[start..end], large]);
        pieces.filter(|piece| !piece.is_empty())
    }

    /// Removes what follows `place`, and returns it.
    pub fn cut(&mut self, place: Place) -> Vec<u8> {
        let from = (self.offset(place) - self.start) as usize;
        let cut = self.pieces(from, self.end_place()).collect::<Vec<_>>().concat();
        self.bytes.truncate(place.byte);
        self.block_bytes = from - place.byte;
        self.blocks.truncate(place.block);
        cut
    }

    /// Divides it into chunks of `len` bytes, in order. A part that has a block ends with it if it is long enough then.
    /// The readers are in the first part. A byte that is not in a block is copied; the rest of its memory is freed as
    /// the parts are made, so that there are never two copies of the whole.
    pub fn divide(mut self, len: usize) -> Vec<Chunk> {
        let mut parts = Vec::new();
        for place in self.cuts(len).into_iter().rev() {
            parts.push(self.split_off(place));
            if self.bytes.capacity() / 2 > self.bytes.len() {
                self.bytes.shrink_to_fit();
            }
        }
        parts.push(self);
        parts.reverse();
        parts
    }

    /// The places that divide it into chunks of `len` bytes.
    fn cuts(&self, len: usize) -> Vec<Place> {
        let mut cuts = Vec::new();
        let (mut byte, mut length) = (0, 0);
        let ends = self.blocks.iter().map(|placed| (placed.at, placed.block.len()));
        for (block, (end, block_len)) in ends.chain([(self.bytes.len(), 0)]).enumerate() {
            while length + end - byte >= len {
                byte += len - length;
                cuts.push(Place { byte, block });
                length = 0;
            }
            length += end - byte + block_len;
            byte = end;
            if length >= len {
                cuts.push(Place { byte, block: block + 1 });
                length = 0;
            }
        }
        cuts.retain(|place| *place != self.end_place());
        cuts
    }

    /// Removes what follows `place`, and returns it as a chunk.
    fn split_off(&mut self, place: Place) -> Chunk {
        let start = self.offset(place);
        let before = (start - self.start) as usize - place.byte;
        let bytes = self.bytes[place.byte..].to_vec();
        self.bytes.truncate(place.byte);
        let mut blocks: Vec<Placed> = self.blocks.drain(place.block..).collect();
        for placed in &mut blocks {
            placed.at -= place.byte;
            placed.before -= before;
        }
        let block_bytes = std::mem::replace(&mut self.block_bytes, before) - before;
        Chunk { start, readers: 0, bytes, blocks, block_bytes }
    }

    /// Makes it an empty chunk at the offset `start`.
    #[inline]
    pub fn clear(&mut self, start: u64) {
        self.start = start;
        self.bytes.clear();
        self.blocks.clear();
        self.block_bytes = 0;
    }

    /// Makes room for `len` bytes.
    pub fn reserve(&mut self, len: usize) {
        self.bytes.reserve_exact(len.saturating_sub(self.bytes.len()));
    }

    /// Frees the spare capacity if that is a substantial part of its memory.
    pub fn fit(&mut self) {
        if self.bytes.capacity() - self.bytes.len() > self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        if self.blocks.capacity() > 2 * self.blocks.len() {
            self.blocks.shrink_to_fit();
        }
    }

    /// Shrinks its spare capacity to about `keep` bytes.
    pub fn shrink(&mut self, keep: usize) {
        self.bytes.shrink_to(keep);
        self.blocks.shrink_to(keep / size_of::<Placed>());
    }
}
