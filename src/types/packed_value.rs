//! A packed collection as an entry's value.
//!
//! Its bytes are stored in the same place as those of a string of that length: in the entry up to 255 bytes, in a
//! [`Block`] beyond. So a small hash costs one allocation and one cache miss. The formats work on any [`Buffer`] and
//! need not distinguish.

use std::ptr;

use super::block::Block;
use super::entry::Entry;
use super::kind::{Encoding, Kind};
use super::packed::Buffer;
use super::record::{BLOCK, EMBEDDED_MAX, WORD, WORDS};

/// A packed collection in an entry, for changing it. See [`Entry::packed_mut`].
pub struct PackedMut<'a> {
    entry: &'a mut Entry,
}

impl Buffer for PackedMut<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.entry.packed()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self.entry.flags() & BLOCK {
            0 => self.entry.embedded_bytes_mut(),
            _ => self.entry.block_mut().map_or(&mut [], Block::make_mut),
        }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        if self.entry.flags() & BLOCK == 0 {
            let old = self.entry.embedded().len();
            assert!(at <= old && remove <= old - at, "a splice within the value");
            let len = old - remove + insert;
            if len <= EMBEDDED_MAX {
                return self.entry.splice_embedded(at, remove, insert);
            }
            let mut block = Block::with_capacity(len + len / 8);
            block.extend_from_slice(self.entry.embedded());
            self.entry.become_block(block);
        }
        let block = self.entry.block().map_or(0, Block::len);
        if block - remove + insert <= MOVES_BACK {
            let mut bytes = self.entry.packed().to_vec();
            Buffer::splice(&mut bytes, at, remove, insert);
            let encoding = self.entry.encoding();
            self.entry.set_packed(encoding, &bytes);
            return self.entry.embedded_bytes_mut();
        }
        let block = self.entry.block_mut().expect("a packed value that is not embedded is a block");
        block.splice(at, remove, insert)
    }
}

/// The length at which a packed collection moves from its block back into the entry: well below the length at which it
/// moves out, so that a collection that alternately grows and shrinks does not move each time.
const MOVES_BACK: usize = EMBEDDED_MAX / 2;

impl Entry {
    /// Returns an entry with a packed collection of the given bytes.
    pub fn with_packed(
        key: &[u8],
        kind: Kind,
        encoding: Encoding,
        bytes: &[u8],
        expire: Option<i64>,
    ) -> Entry {
        debug_assert!(kind != Kind::String);
        if bytes.len() <= EMBEDDED_MAX {
            let (mut entry, at) = Entry::create(key, 0, (kind, encoding), 1 + bytes.len(), expire);
            // SAFETY: the value has a byte of length and as many bytes as it says.
            unsafe { at.write(bytes.len() as u8) };
            entry.embedded_bytes_mut().copy_from_slice(bytes);
            return entry;
        }
        let (entry, at) = Entry::create(key, BLOCK, (kind, encoding), WORD, expire);
        // SAFETY: the value is a word for a block's pointer.
        unsafe { at.cast::<Block>().write(Block::from(bytes)) };
        entry
    }

    /// Whether the value is a packed collection.
    #[inline]
    pub fn is_packed(&self) -> bool {
        matches!(self.encoding(), Encoding::Listpack | Encoding::ListpackEx | Encoding::Intset)
    }

    /// The bytes of a packed collection.
    #[inline]
    pub fn packed(&self) -> &[u8] {
        debug_assert!(self.is_packed());
        match self.flags() & WORDS {
            0 => self.embedded(),
            _ => self.block().map_or(&[], Block::as_slice),
        }
    }

    /// The packed collection, mutable.
    #[inline]
    pub fn packed_mut(&mut self) -> PackedMut<'_> {
        debug_assert!(self.is_packed());
        PackedMut { entry: self }
    }

    /// Replaces a value of the same kind with a packed collection; key, access bits and expiry stay.
    pub fn set_packed(&mut self, encoding: Encoding, bytes: &[u8]) {
        debug_assert!(self.kind() != Kind::String);
        if bytes.len() <= EMBEDDED_MAX {
            self.make_room(0, encoding, 1 + bytes.len());
            self.write_embedded(bytes);
        } else {
            self.make_room(BLOCK, encoding, WORD);
            self.write_block(Block::from(bytes));
        }
    }

    fn become_block(&mut self, block: Block) {
        self.make_room(BLOCK, self.encoding(), WORD);
        self.write_block(block);
    }

    #[inline]
    fn embedded_bytes_mut(&mut self) -> &mut [u8] {
        let at = self.value_at();
        // SAFETY: an embedded value is its length and as many bytes, and `&mut self` is their only user.
        unsafe { std::slice::from_raw_parts_mut(at.add(1), at.read() as usize) }
    }

    /// [`Buffer::splice`] of an embedded value that stays one.
    fn splice_embedded(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        let old = self.embedded().len();
        let len = old - remove + insert;
        debug_assert!(at + remove <= old && len <= EMBEDDED_MAX);
        let (from, to, moved) = (at + remove, at + insert, old - at - remove);
        if len >= old {
            self.resize_value(1 + len);
        }
        let value = self.value_at();
        // SAFETY: the value has `1 + max(old, len)` bytes here; new ones are zeroed before anything reads them.
        unsafe {
            let bytes = value.add(1);
            bytes.add(old).write_bytes(0, len.saturating_sub(old));
            ptr::copy(bytes.add(from), bytes.add(to), moved);
        }
        if len < old {
            self.resize_value(1 + len);
        }
        // SAFETY: the value has `1 + len` bytes now.
        unsafe { self.value_at().write(len as u8) };
        self.embedded_bytes_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_splice_does_to_an_entry_what_it_does_to_a_vector(
            steps in prop::collection::vec((0..1000_usize, 0..300_usize, 0..300_usize), 1..40),
        ) {
            let mut model: Vec<u8> = Vec::new();
            let mut entry = Entry::with_packed(b"key", Kind::List, Encoding::Listpack, b"", Some(77));
            for (n, (at, remove, insert)) in steps.into_iter().enumerate() {
                let at = at % (model.len() + 1);
                let remove = remove.min(model.len() - at);
                let gap: Vec<u8> = (0..insert).map(|i| (i + n) as u8).collect();
                model.splice(at..at + remove, gap.iter().copied());
                entry.packed_mut().splice(at, remove, insert)[at..at + insert].copy_from_slice(&gap);
                prop_assert_eq!(entry.packed(), &model);
                let mut packed = entry.packed_mut();
                prop_assert_eq!(packed.bytes_mut(), &model);
                prop_assert_eq!((entry.key(), entry.expire_at()), (&b"key"[..], Some(77)));
            }
            entry.set_packed(Encoding::Intset, &model);
            prop_assert_eq!((entry.packed(), entry.encoding()), (&model[..], Encoding::Intset));
        }
    }
}
