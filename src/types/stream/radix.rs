//! The number of nodes in Redis's index of a stream, for `XINFO STREAM`.
//!
//! Redis stores a stream's nodes in a radix tree under the 16 bytes of their first IDs. In such a tree a run of bytes
//! that all keys below it share is one node, a branch is one, and the end of a key is one. The number depends only on
//! the keys, and not on the order in which they were inserted and removed, so it is computed on demand.

/// A key.
type Key = [u8; 16];

/// The number of nodes for these rising keys. O(n).
pub(super) fn nodes(keys: &[Key]) -> usize {
    // The root exists even without a key.
    if keys.is_empty() { 1 } else { below(keys, 0) }
}

/// The number of nodes for keys that have their first `depth` bytes in common; the recursion is as deep as the tree, at
/// most 16.
fn below(keys: &[Key], depth: usize) -> usize {
    let [first, .., last] = keys else {
        return 1 + usize::from(depth < size_of::<Key>());
    };
    let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
    let parting = depth + shared;
    let children = keys.chunk_by(|a, b| a[parting] == b[parting]);
    usize::from(shared > 0) + 1 + children.map(|keys| below(keys, parting + 1)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::stream::Id;

    /// The figures are those of Redis 7.0.15 for nodes of one entry.
    #[test]
    fn the_count_is_that_of_redis() {
        let count = |ids: &[(u64, u64)]| {
            nodes(&ids.iter().map(|&(ms, seq)| Id { ms, seq }.to_bytes()).collect::<Vec<_>>())
        };
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(1, 1)]), 2);
        assert_eq!(count(&[(1, 1), (1, 2)]), 4);
        assert_eq!(count(&[(1, 1), (2, 1)]), 6);
        assert_eq!(count(&[(1, 1), (2, 1), (300, 0)]), 9);
        assert_eq!(count(&[(0, 1), (u64::MAX, 1)]), 5);
        assert_eq!(count(&[(1, 1), (1, 2), (1, 300), (70_000, 1), (70_000, 2)]), 13);
    }
}
