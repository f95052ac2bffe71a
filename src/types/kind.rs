//! The types of values, and the encodings with Redis's names.
//!
//! An encoding is a name that clients see and tools depend on; the structure behind it may differ from Redis's.

/// The type of a key's value, as `TYPE` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Bytes or an integer.
    String = 0,
    /// A sequence, cheap at both ends.
    List = 1,
    /// Unordered distinct members.
    Set = 2,
    /// Distinct members ordered by score.
    SortedSet = 3,
    /// Fields with values.
    Hash = 4,
    /// An append-only log of records.
    Stream = 5,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::String, Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash, Kind::Stream];

    /// The name that `TYPE` returns.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }

    #[inline(always)]
    pub(super) fn from_bits(bits: u8) -> Kind {
        Kind::ALL[bits as usize]
    }
}

/// The encoding of a value, as `OBJECT ENCODING` returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// A string that is the canonical text of an `i64`.
    Int = 0,
    /// A string of at most 44 bytes, as it was set.
    Embstr = 1,
    /// A longer string, or one that was modified after it was set.
    Raw = 2,
    /// A small collection, packed in one buffer.
    Listpack = 3,
    /// A large list.
    Quicklist = 4,
    /// A small set of integers.
    Intset = 5,
    /// A large set or hash.
    Hashtable = 6,
    /// A large sorted set.
    Skiplist = 7,
    /// A stream.
    Stream = 8,
    /// A small hash with fields that expire, packed in one buffer.
    ListpackEx = 9,
}

impl Encoding {
    const ALL: [Encoding; 10] = [
        Encoding::Int,
        Encoding::Embstr,
        Encoding::Raw,
        Encoding::Listpack,
        Encoding::Quicklist,
        Encoding::Intset,
        Encoding::Hashtable,
        Encoding::Skiplist,
        Encoding::Stream,
        Encoding::ListpackEx,
    ];

    /// The name that `OBJECT ENCODING` returns.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Quicklist => "quicklist",
            Encoding::Intset => "intset",
            Encoding::Hashtable => "hashtable",
            Encoding::Skiplist => "skiplist",
            Encoding::Stream => "stream",
            Encoding::ListpackEx => "listpackex",
        }
    }

    #[inline(always)]
    pub(super) fn from_bits(bits: u8) -> Encoding {
        Encoding::ALL[bits as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_bits() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_bits(kind as u8), kind);
        }
        assert_eq!(Kind::SortedSet.name(), "zset");
    }

    #[test]
    fn an_encoding_survives_its_bits() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_bits(encoding as u8), encoding);
        }
        assert_eq!(Encoding::Embstr.name(), "embstr");
    }
}
