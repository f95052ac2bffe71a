//! String values: how `SET`, `GET`, `APPEND` and related commands read and change an entry.
//!
//! A string's encoding follows Redis's rules, since `OBJECT ENCODING` shows it. A value set as a whole becomes an
//! integer if it is the canonical text of an `i64`, otherwise `embstr` up to 44 bytes and `raw` beyond. A value
//! modified in part is `raw` whatever its length. The storage is independent of that: an integer takes 8 bytes in the
//! entry, up to 255 bytes are in the entry, longer values in a [`Block`].
//!
//! Every write preserves the key, the access bits and the expiry. It moves the entry only when its size class changes.

use super::block::Block;
use super::entry::Entry;
use super::kind::{Encoding, Kind};
use super::record::{BLOCK, EMBEDDED_MAX, INT, WORD, WORDS, copy_short};
use crate::text::number;

pub use crate::text::Text;

/// The longest string that Redis calls `embstr`.
pub const EMBSTR_MAX: usize = 44;

/// Returns the integer if this is its canonical text: no `+`, no leading zero or space, no `-0`, within the range of
/// `i64`.
#[inline(always)]
pub(super) fn canonical_i64(text: &[u8]) -> Option<i64> {
    // The first byte rules out nearly all strings that are not numbers.
    match text {
        [b'0'..=b'9' | b'-', ..] if text.len() <= number::MAX_DIGITS => number::parse_i64(text),
        _ => None,
    }
}

#[inline(always)]
fn encoding_of(len: usize) -> Encoding {
    // Branch-free, so that the compiler does not duplicate the code after it.
    [Encoding::Embstr, Encoding::Raw][usize::from(len > EMBSTR_MAX)]
}

impl Entry {
    /// A string, encoded by Redis's rule for a value that is set as a whole.
    #[inline]
    pub fn string(key: &[u8], value: &[u8], expire: Option<i64>) -> Entry {
        match canonical_i64(value) {
            Some(n) => Entry::integer(key, n, expire),
            None => Entry::plain(key, value, expire),
        }
    }

    /// A string that never becomes an integer (as `INCRBYFLOAT` stores its result).
    #[inline]
    pub fn plain(key: &[u8], value: &[u8], expire: Option<i64>) -> Entry {
        Entry::text(key, value, encoding_of(value.len()), expire)
    }

    /// A raw string, however short: for values that are modified in part.
    pub fn raw_string(key: &[u8], value: &[u8], expire: Option<i64>) -> Entry {
        Entry::text(key, value, Encoding::Raw, expire)
    }

    fn text(key: &[u8], value: &[u8], encoding: Encoding, expire: Option<i64>) -> Entry {
        if value.len() > EMBEDDED_MAX {
            return Entry::large(key, value, expire);
        }
        let (entry, at) = Entry::create(key, 0, (Kind::String, encoding), 1 + value.len(), expire);
        // SAFETY: the value has a byte of length and as many bytes as it says.
        unsafe {
            at.write(value.len() as u8);
            copy_short(value.as_ptr(), at.add(1), value.len());
        }
        entry
    }

    #[inline(never)]
    fn large(key: &[u8], value: &[u8], expire: Option<i64>) -> Entry {
        Entry::with_block(key, Block::from(value), expire)
    }

    /// An integer.
    pub fn integer(key: &[u8], value: i64, expire: Option<i64>) -> Entry {
        let (entry, at) = Entry::create(key, INT, (Kind::String, Encoding::Int), WORD, expire);
        // SAFETY: the value is a word.
        unsafe { at.cast::<i64>().write_unaligned(value.to_le()) };
        entry
    }

    /// A raw string of `len` zero bytes. A large one costs nothing until its pages are written.
    pub fn zeroed(key: &[u8], len: usize, expire: Option<i64>) -> Entry {
        if len > EMBEDDED_MAX {
            return Entry::with_block(key, Block::zeroed(len), expire);
        }
        Entry::text(key, &[0; EMBEDDED_MAX][..len], Encoding::Raw, expire)
    }

    /// A raw string whose bytes are already in a block; a short one is copied into the entry.
    pub fn with_block(key: &[u8], block: Block, expire: Option<i64>) -> Entry {
        if block.len() <= EMBEDDED_MAX {
            return Entry::text(key, &block, Encoding::Raw, expire);
        }
        let (entry, at) = Entry::create(key, BLOCK, (Kind::String, Encoding::Raw), WORD, expire);
        // SAFETY: the value is a word for a block's pointer.
        unsafe { at.cast::<Block>().write(block) };
        entry
    }

    /// The value. The kind is `String`.
    #[inline(always)]
    pub fn value(&self) -> Text<'_> {
        debug_assert!(self.kind() == Kind::String);
        let flags = self.flags();
        if flags & WORDS == 0 {
            return Text::Bytes(self.embedded());
        }
        if flags & INT != 0 {
            return Text::Int(self.read_integer());
        }
        Text::Bytes(self.block().map_or(&[], Block::as_slice))
    }

    /// The value's text in a block: a share of the value's own block, or a copy of at most 255 bytes.
    pub fn to_block(&self) -> Block {
        self.block().map_or_else(|| self.value().with_bytes(|bytes| Block::from(bytes)), Block::share)
    }

    /// The length of the value's text.
    #[inline]
    pub fn string_len(&self) -> usize {
        self.value().len()
    }

    /// Sets the value, encoded by Redis's rule for a value that is set as a whole.
    #[inline]
    pub fn set_string(&mut self, value: &[u8]) {
        match canonical_i64(value) {
            Some(n) => self.set_integer(n),
            None => self.set_plain(value),
        }
    }

    /// Sets the value to a string that never becomes an integer.
    #[inline]
    pub fn set_plain(&mut self, value: &[u8]) {
        if value.len() <= EMBEDDED_MAX {
            self.set_embedded(value, encoding_of(value.len()));
        } else {
            self.set_large(value);
        }
    }

    /// Sets the value to a raw string, however short.
    pub fn set_raw(&mut self, value: &[u8]) {
        if value.len() <= EMBEDDED_MAX {
            self.set_embedded(value, Encoding::Raw);
        } else {
            self.set_large(value);
        }
    }

    #[inline(never)]
    fn set_large(&mut self, value: &[u8]) {
        if let Some(block) = self.block_mut() {
            block.overwrite(value);
        } else {
            self.set_block(Block::from(value));
        }
    }

    /// Sets the value to an integer.
    #[inline]
    pub fn set_integer(&mut self, value: i64) {
        if self.flags() & INT == 0 {
            self.make_room(INT, Encoding::Int, WORD);
        }
        self.write_integer(value);
    }

    /// Sets the value to a raw string whose bytes are already in a block; a short one is copied into the entry.
    pub fn set_block(&mut self, block: Block) {
        if block.len() <= EMBEDDED_MAX {
            self.set_embedded(&block, Encoding::Raw);
        } else {
            self.make_room(BLOCK, Encoding::Raw, WORD);
            self.write_block(block);
        }
    }

    /// Appends to the value, which becomes raw; returns its new length. A block grows with room to spare.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        if let Some(block) = self.block_mut() {
            block.extend_from_slice(bytes);
            return block.len();
        }
        self.make_embedded();
        let old = self.embedded().len();
        let len = old + bytes.len();
        if len > EMBEDDED_MAX {
            self.spill(len * 2).extend_from_slice(bytes);
        } else {
            self.resize_value(1 + len);
            let value = self.value_at();
            // SAFETY: the value has `1 + len` bytes now.
            unsafe {
                copy_short(bytes.as_ptr(), value.add(1 + old), bytes.len());
                value.write(len as u8);
            }
        }
        len
    }

    /// The whole value for writing, converted to raw and padded with zero bytes to at least `min_len`.
    pub fn bytes_mut(&mut self, min_len: usize) -> &mut [u8] {
        if self.flags() & BLOCK == 0 {
            self.make_embedded();
            let old = self.embedded().len();
            if min_len <= EMBEDDED_MAX {
                return self.embedded_mut(old.max(min_len));
            }
            let mut block = Block::zeroed(min_len);
            block.make_mut()[..old].copy_from_slice(self.embedded());
            self.make_room(BLOCK, Encoding::Raw, WORD);
            self.write_block(block);
        }
        let block = self.block_mut().expect("a value that is not embedded is in a block");
        if block.len() < min_len {
            block.resize_zeroed(min_len);
        }
        block.make_mut()
    }

    /// Takes the value's block out of the entry, for callers that need to own the bytes. The entry holds an empty
    /// string until it is set again or dropped.
    pub fn take_block(&mut self) -> Option<Block> {
        let block = self.block()?.share();
        self.set_embedded(&[], Encoding::Embstr);
        Some(block)
    }

    /// Makes the value an embedded one of `len` bytes; new bytes are zero.
    fn embedded_mut(&mut self, len: usize) -> &mut [u8] {
        let old = self.embedded().len();
        debug_assert!(old <= len && len <= EMBEDDED_MAX);
        self.resize_value(1 + len);
        let value = self.value_at();
        // SAFETY: the value has `1 + len` bytes now, the first `1 + old` as before.
        unsafe {
            value.add(1 + old).write_bytes(0, len - old);
            value.write(len as u8);
            std::slice::from_raw_parts_mut(value.add(1), len)
        }
    }

    /// Turns an integer into its text and makes the value raw. The value must not be a block.
    fn make_embedded(&mut self) {
        debug_assert!(self.flags() & BLOCK == 0);
        if self.flags() & INT == 0 {
            self.set_encoding(Encoding::Raw);
        } else {
            let text = number::Decimal::new(self.read_integer());
            self.set_embedded(text.as_bytes(), Encoding::Raw);
        }
    }

    /// Moves an embedded value into a block with room for `capacity` bytes, to which the caller lets it grow.
    fn spill(&mut self, capacity: usize) -> &mut Block {
        debug_assert!(capacity > EMBEDDED_MAX);
        let mut block = Block::with_capacity(capacity);
        block.extend_from_slice(self.embedded());
        self.make_room(BLOCK, Encoding::Raw, WORD);
        self.write_block(block);
        self.block_mut().expect("the value was made a block")
    }

    #[inline(always)]
    fn set_embedded(&mut self, value: &[u8], encoding: Encoding) {
        // The common overwrite: same form, same length.
        if self.flags() & WORDS == 0 {
            let at = self.value_at();
            // SAFETY: an embedded value begins with its length, and has as many bytes.
            unsafe {
                if at.read() as usize == value.len() {
                    self.set_encoding(encoding);
                    return copy_short(value.as_ptr(), at.add(1), value.len());
                }
            }
        }
        self.make_room(0, encoding, 1 + value.len());
        self.write_embedded(value);
    }

    #[inline(always)]
    pub(super) fn embedded(&self) -> &[u8] {
        debug_assert!(self.flags() & WORDS == 0);
        let value = self.value_at();
        // SAFETY: an embedded value is its length and as many bytes.
        unsafe { std::slice::from_raw_parts(value.add(1), value.read() as usize) }
    }

    /// The value's allocation has room for `value`, whose form is set.
    #[inline(always)]
    pub(super) fn write_embedded(&mut self, value: &[u8]) {
        let at = self.value_at();
        // SAFETY: the value has a byte of length and as many bytes as it says.
        unsafe {
            at.write(value.len() as u8);
            copy_short(value.as_ptr(), at.add(1), value.len());
        }
    }

    #[inline(always)]
    fn read_integer(&self) -> i64 {
        debug_assert!(self.flags() & INT != 0);
        // SAFETY: INT says that the value is a word.
        i64::from_le(unsafe { self.value_at().cast::<i64>().read_unaligned() })
    }

    #[inline(always)]
    fn write_integer(&mut self, value: i64) {
        debug_assert!(self.flags() & INT != 0);
        // SAFETY: INT says that the value is a word.
        unsafe { self.value_at().cast::<i64>().write_unaligned(value.to_le()) }
    }

    #[inline(always)]
    pub(super) fn write_block(&mut self, block: Block) {
        debug_assert!(self.flags() & BLOCK != 0);
        // SAFETY: BLOCK says that the value is a word for a block's pointer, and no block is in it yet.
        unsafe { self.value_at().cast::<Block>().write(block) }
    }
}
