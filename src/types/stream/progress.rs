//! The number of entries that a group has read, and the number left, as far as they can be known.
//!
//! A group counts the entries delivered to it. That count is the number of entries up to its last ID only as long as no
//! later entry was deleted. After that the number is known for few IDs: the last one, and those up to the first.

use super::{Group, Id, Stream};

impl Stream {
    /// Whether an entry of ID `from` or above was deleted by its ID, as far as is known.
    fn has_gap_from(&self, from: Id) -> bool {
        let deleted = self.figures.max_deleted_id;
        // All deleted entries precede the live ones.
        let none = self.is_empty() || deleted.is_zero() || deleted < self.figures.first_id;
        !none && from <= deleted
    }

    /// The number of entries ever added up to this ID, if known.
    pub fn entries_up_to(&self, id: Id) -> Option<i64> {
        let figures = &self.figures;
        let added = figures.entries_added as i64;
        if added == 0 {
            return Some(0);
        }
        if self.is_empty() && id <= figures.last_id {
            return Some(added);
        }
        if id >= figures.last_id {
            return (id == figures.last_id).then_some(added);
        }
        let no_gap_ahead = figures.max_deleted_id.is_zero() || figures.max_deleted_id < figures.first_id;
        let before_first = added.wrapping_sub(self.length as i64);
        match id.cmp(&figures.first_id) {
            std::cmp::Ordering::Less if no_gap_ahead => Some(before_first),
            std::cmp::Ordering::Equal if no_gap_ahead => Some(before_first.wrapping_add(1)),
            _ => None,
        }
    }

    /// The number of entries that a group still has to read, if known.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.figures.entries_added as i64;
        if added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_gap_from(group.last_id) => Some(read),
            _ => self.entries_up_to(group.last_id),
        };
        read.map(|read| added.wrapping_sub(read))
    }

    /// The group's count after the first delivery of the entry `id`.
    pub(super) fn entries_read_at(&self, id: Id, before: Option<i64>) -> Option<i64> {
        match before {
            Some(read) if !self.has_gap_from(id) => Some(read.wrapping_add(1)),
            _ if self.figures.entries_added > 0 => self.entries_up_to(id),
            before => before,
        }
    }
}
