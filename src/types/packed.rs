//! The memory of a packed collection: the buffer of a listpack or an intset.
//!
//! A packed collection is one run of bytes: in its key's entry, in a [`Block`], or in a `Vec` while it is built. The
//! formats need only three methods of it, so they are written once, over [`Buffer`].
//!
//! Costs: a splice moves the bytes behind it once. Growth leaves at most an eighth of spare room, and shrinking returns
//! memory when less than half of it is used. Packed collections are numerous and small, so more spare room would be
//! most of their memory.

use super::block::Block;

/// Growable bytes.
pub trait Buffer {
    /// All bytes.
    fn bytes(&self) -> &[u8];

    /// All bytes, mutable.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Replaces the `remove` bytes at `at` by `insert` bytes of unspecified content, moves the bytes after them, and
    /// returns all bytes. The caller writes those at `at..at + insert`.
    ///
    /// Panics if `at + remove` is past the end.
    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8];
}

impl Buffer for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        let old = self.len();
        let tail = at.checked_add(remove).expect("a splice within the buffer");
        if insert > remove {
            self.resize(old + insert - remove, 0);
        }
        self.copy_within(tail..old, at + insert);
        if insert < remove {
            self.truncate(old + insert - remove);
        }
        self
    }
}

impl Buffer for Block {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.make_mut()
    }

    #[inline]
    fn splice(&mut self, at: usize, remove: usize, insert: usize) -> &mut [u8] {
        Block::splice(self, at, remove, insert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(buffer: &mut impl Buffer, steps: &[(usize, usize, Vec<u8>)]) {
        let mut model = buffer.bytes().to_vec();
        for (at, remove, insert) in steps {
            let at = at % (model.len() + 1);
            let remove = remove % (model.len() - at + 1);
            let bytes = buffer.splice(at, remove, insert.len());
            bytes[at..at + insert.len()].copy_from_slice(insert);
            model.splice(at..at + remove, insert.iter().copied());
            assert_eq!(bytes, model);
            assert_eq!(buffer.bytes(), model);
            assert_eq!(buffer.bytes_mut(), model);
        }
    }

    proptest! {
        #[test]
        fn a_splice_is_that_of_a_vector_in_every_buffer(
            first in prop::collection::vec(any::<u8>(), 0..600),
            steps in prop::collection::vec(
                (any::<usize>(), any::<usize>(), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        ) {
            check(&mut first.clone(), &steps);
            let mut block = Block::from(&first[..]);
            let queued = block.share();
            check(&mut block, &steps);
            prop_assert_eq!(&*queued, &first[..]);
        }
    }

    #[test]
    fn a_block_that_grows_or_shrinks_by_splices_keeps_little_to_spare() {
        let mut block = Block::from(&[][..]);
        for len in 1..20_000 {
            block.splice(len / 2, 0, 1);
            assert!(block.capacity() <= len + len / 4 + 32, "{} for {len}", block.capacity());
        }
        for len in (0..block.len()).rev() {
            block.splice(len / 2, 1, 0);
            assert!(block.capacity() <= 2 * len + 65, "{} for {len}", block.capacity());
        }
    }
}
