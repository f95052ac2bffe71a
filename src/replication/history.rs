//! The history of a data set: its replication IDs and offsets, and which replicas can continue without a snapshot.
//!
//! An *offset* counts the bytes of propagated commands since the ID was created. Two servers with the same ID and
//! offset have the same data. The replication offset and the offset in the stream ([`crate::db::Stream`]) differ by a
//! constant, which a replica derives from each snapshot.
//!
//! A promoted replica begins a new ID. It keeps the old one with the offset at which it was promoted, so that the other
//! replicas of the old primary can continue with it (`master_replid2`, `second_repl_offset`).

use std::fmt;

/// The bytes of an ID, which are hexadecimal digits.
pub const ID_LEN: usize = 40;

/// The largest offset of a snapshot; counting on from there cannot overflow.
const MAX_OFFSET: i64 = 1 << 62;

/// A replication ID.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id([u8; ID_LEN]);

impl Id {
    /// The ID of no history.
    pub const NONE: Id = Id([b'0'; ID_LEN]);

    /// An ID made of 20 random bytes.
    pub fn new(random: [u8; ID_LEN / 2]) -> Id {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        let mut id = [0; ID_LEN];
        for (digits, byte) in id.chunks_exact_mut(2).zip(random) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Id(id)
    }

    /// The ID with these 40 bytes; `None` if it is not an ID.
    pub fn parse(bytes: &[u8]) -> Option<Id> {
        let id: [u8; ID_LEN] = bytes.try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Id(id))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an ID consists of digits and letters")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a snapshot can have this offset. Others come from broken files and servers.
pub fn is_offset(offset: i64) -> bool {
    (0..=MAX_OFFSET).contains(&offset)
}

/// The bytes of the stream that a primary can send: the offsets from `oldest` up to `end`.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The offset of the first kept byte.
    pub oldest: u64,
    /// The offset after the last byte.
    pub end: u64,
}

/// The response to a replica's request to continue (`PSYNC`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The stream, beginning at this offset.
    Continue(u64),
    /// A snapshot, for this reason.
    Full(Why),
}

/// The reason why a replica cannot continue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It requested a snapshot.
    Wanted,
    /// Its ID is a different one.
    OtherId,
    /// It followed the earlier ID beyond this offset, where this server left that history.
    Beyond(i64),
    /// The bytes after its offset are not kept, or do not exist.
    NotKept,
}

/// The replication IDs and offsets of the data set; see the module's documentation.
#[derive(Clone, Debug)]
pub struct History {
    id: Id,
    /// The earlier ID, and the first offset that does not belong to it.
    second: Option<(Id, i64)>,
    /// The replication offset at offset 0 of the stream.
    base: i64,
    /// The stream offset of the first byte that belongs to this history.
    first: u64,
    /// See [`History::changes`].
    changes: u64,
}

impl History {
    /// Returns a history that begins at the start of the stream.
    pub fn new(id: Id) -> History {
        History { id, second: None, base: 0, first: 0, changes: 0 }
    }

    /// The ID.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The earlier ID, and the first offset that does not belong to it.
    pub fn second(&self) -> Option<(Id, i64)> {
        self.second
    }

    /// How often the ID or the offsets have changed: the AOF notes each change.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The replication offset for an offset of the stream.
    pub fn offset(&self, stream: u64) -> i64 {
        self.base + stream as i64
    }

    /// The stream offset for a replication offset; `None` before the start of the stream.
    pub fn stream_offset(&self, offset: i64) -> Option<u64> {
        u64::try_from(offset.checked_sub(self.base)?).ok()
    }

    /// Begins a new history at the end of the stream like [`Self::promote`], but drops the earlier ID, so no replica
    /// can continue. For data that changed while nothing was propagated.
    pub fn restart(&mut self, id: Id, end: u64) {
        (self.id, self.second, self.first) = (id, None, end);
        self.changes += 1;
    }

    /// Begins a new ID for the bytes after `end`, because a replica became a primary.
    pub fn promote(&mut self, id: Id, end: u64) {
        self.second = Some((self.id, self.offset(end) + 1));
        self.id = id;
        self.changes += 1;
    }

    /// Adopts the history of a primary's snapshot, which was made at `offset`; the stream continues with it from `end`.
    pub fn adopt(&mut self, id: Id, offset: i64, end: u64) {
        let changes = self.changes + 1;
        *self = History { id, second: None, base: offset - end as i64, first: end, changes };
    }

    /// Changes the ID because the primary was promoted; this server has the same history up to `end`.
    pub fn rename(&mut self, id: Id, end: u64) {
        if id != self.id {
            self.promote(id, end);
        }
    }

    /// The bytes of `kept` that belong to this history.
    pub fn belonging(&self, kept: Kept) -> Kept {
        Kept { oldest: kept.oldest.max(self.first), end: kept.end }
    }

    /// Decides whether a replica with the history `id` can continue at `next`, the first offset that it lacks.
    pub fn answer(&self, id: &[u8], next: i64, kept: Kept) -> Answer {
        let is_own = id == self.id.as_str().as_bytes();
        let second = self.second.filter(|(second, _)| id == second.as_str().as_bytes());
        if !is_own {
            match second {
                Some((_, limit)) if next > limit => return Answer::Full(Why::Beyond(limit)),
                Some(_) => {}
                None if id == b"?" => return Answer::Full(Why::Wanted),
                None => return Answer::Full(Why::OtherId),
            }
        }
        let kept = self.belonging(kept);
        // The first byte of a history has the offset 1.
        match next.checked_sub(1).and_then(|offset| self.stream_offset(offset)) {
            Some(from) if (kept.oldest..=kept.end).contains(&from) => Answer::Continue(from),
            _ => Answer::Full(Why::NotKept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Id {
        Id::new([byte; 20])
    }

    #[test]
    fn an_id_is_forty_digits() {
        assert_eq!(id(0xa5).as_str(), "a5".repeat(20));
        assert_eq!(Id::parse("0f".repeat(20).as_bytes()), Some(id(0x0f)));
        for wrong in ["", "?", &"0".repeat(39), &"0".repeat(41), &"0 ".repeat(20)] {
            assert_eq!(Id::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_snapshot_was_not_made_near_the_end_of_the_numbers() {
        assert!([0, 1, MAX_OFFSET].into_iter().all(is_offset));
        assert!(![-1, i64::MIN, MAX_OFFSET + 1, i64::MAX].into_iter().any(is_offset));
        let mut history = History::new(id(1));
        history.adopt(id(2), MAX_OFFSET, 1 << 40);
        assert_eq!(history.offset(1 << 50), MAX_OFFSET + (1 << 50) - (1 << 40));
    }

    #[test]
    fn a_replica_continues_where_its_bytes_are_kept_and_nowhere_else() {
        let mut history = History::new(id(1));
        // Offset 1000 of the stream corresponds to replication offset 5000.
        history.adopt(id(2), 5000, 1000);
        let kept = Kept { oldest: 400, end: 1500 };
        let answer = |asked: Id, next| history.answer(asked.as_str().as_bytes(), next, kept);
        assert_eq!(answer(id(2), 5001), Answer::Continue(1000), "the first byte after the snapshot");
        assert_eq!(answer(id(2), 5501), Answer::Continue(1500), "it has everything");
        assert_eq!(answer(id(2), 5000), Answer::Full(Why::NotKept), "bytes of another history");
        assert_eq!(answer(id(2), 5502), Answer::Full(Why::NotKept), "more than there is");
        for hostile in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(answer(id(2), hostile), Answer::Full(Why::NotKept), "{hostile}");
        }
        assert_eq!(answer(id(1), 5001), Answer::Full(Why::OtherId));
        assert_eq!(history.answer(b"?", -1, kept), Answer::Full(Why::Wanted));
        let narrow = Kept { oldest: 1200, end: 1500 };
        assert_eq!(history.answer(id(2).as_str().as_bytes(), 5200, narrow), Answer::Full(Why::NotKept));
        assert_eq!(history.answer(id(2).as_str().as_bytes(), 5201, narrow), Answer::Continue(1200));
    }

    #[test]
    fn replicas_of_the_old_primary_continue_with_the_promoted_one_up_to_its_promotion() {
        let mut history = History::new(id(1));
        history.adopt(id(1), 100, 0);
        history.promote(id(2), 50);
        assert_eq!(history.second(), Some((id(1), 151)));
        let kept = Kept { oldest: 0, end: 80 };
        let answer = |asked: Id, next| history.answer(asked.as_str().as_bytes(), next, kept);
        assert_eq!(answer(id(1), 151), Answer::Continue(50));
        assert_eq!(answer(id(1), 152), Answer::Full(Why::Beyond(151)), "it has bytes that were never here");
        assert_eq!(answer(id(2), 152), Answer::Continue(51));
        history.restart(id(3), 80);
        assert_eq!(history.answer(id(1).as_str().as_bytes(), 151, kept), Answer::Full(Why::OtherId));
        assert_eq!(history.answer(id(3).as_str().as_bytes(), 181, kept), Answer::Continue(80));
    }
}
