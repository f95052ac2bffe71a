//! The limits at which a collection changes its encoding, and the seed that a new table needs.

use crate::dict::Seed;

/// The configured limits, named after their directives.
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    /// The most fields of a packed hash.
    pub hash_max_listpack_entries: usize,
    /// The longest field or value of a packed hash, in bytes.
    pub hash_max_listpack_value: usize,
    /// The most members of a set packed as an intset.
    pub set_max_intset_entries: usize,
    /// The most members of a packed set.
    pub set_max_listpack_entries: usize,
    /// The longest member of a packed set, in bytes.
    pub set_max_listpack_value: usize,
    /// The most members of a packed sorted set.
    pub zset_max_listpack_entries: usize,
    /// The longest member of a packed sorted set, in bytes.
    pub zset_max_listpack_value: usize,
    /// Positive: the most elements of a list's node; -1 to -5: its most bytes, 4 KiB to 64 KiB.
    pub list_max_listpack_size: i32,
    /// List elements of at least this many bytes get nodes of their own (`DEBUG QUICKLIST-PACKED-THRESHOLD`).
    pub list_packed_threshold: usize,
    /// The number of nodes at each end of a list that are never compressed; 0: no node is compressed.
    pub list_compress_depth: u32,
    /// The most bytes of a stream's node, 0 for no limit.
    pub stream_node_max_bytes: usize,
    /// The most entries of a stream's node, 0 for no limit.
    pub stream_node_max_entries: u64,
    /// The seed of the tables' hashes.
    pub seed: Seed,
}

impl Shapes {
    /// The defaults of the directives.
    pub fn new(seed: Seed) -> Shapes {
        Shapes {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            list_max_listpack_size: -2,
            list_packed_threshold: 1 << 30,
            list_compress_depth: 0,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            seed,
        }
    }
}
