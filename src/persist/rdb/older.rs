//! Values in the formats of earlier versions.
//!
//! | value | needs | where that is missing |
//! |---|---|---|
//! | a hash with fields that expire | 12 | field by field, without the times and without what has expired |
//! | a hash in a listpack with times, none of which is set | 12 | field by field |
//! | a set in a listpack | 11 | member by member |
//! | a stream | 11 | without the time at which a consumer was active |

use super::{Encoder, Sink, hash, save_value, set, stream, type_of, types};
use crate::types::Entry;

/// The version of Redis 7.0.
pub const TEN: u16 = 10;

/// The form in which an entry's value is written.
#[derive(Clone, Copy)]
pub struct Form<'a> {
    entry: &'a Entry,
    type_byte: u8,
    /// Whether `type_byte` is that of the latest version.
    is_own: bool,
    /// The time: fields of a hash that expire before it have expired.
    now: i64,
}

impl<'a> Form<'a> {
    /// Selects the form of `entry` for readers of `version` at the time `now`, in Unix milliseconds.
    #[inline]
    pub fn of(entry: &'a Entry, version: u16, now: i64) -> Form<'a> {
        let own = type_of(entry);
        let type_byte = match own {
            types::HASH_METADATA | types::HASH_LISTPACK_EX if version < 12 => types::HASH,
            types::SET_LISTPACK if version < 11 => types::SET,
            types::STREAM_3 if version < 11 => types::STREAM_2,
            other => other,
        };
        Form { entry, type_byte, is_own: type_byte == own, now }
    }

    /// The type byte.
    #[inline]
    pub fn type_byte(&self) -> u8 {
        self.type_byte
    }

    /// Whether there is nothing to write: all fields of a hash have expired, and the form cannot store expiry times.
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.is_own && self.type_byte == types::HASH && hash::live_fields(self.entry, self.now) == 0
    }

    /// Writes the value, without its type byte.
    #[inline]
    pub fn save(&self, out: &mut Encoder<'_, impl Sink>) {
        match self.type_byte {
            _ if self.is_own => save_value(self.entry, out),
            types::HASH => hash::save_live(self.entry, self.now, out),
            types::SET => set::save_members(self.entry, out),
            _ => stream::save_as(self.entry, stream::Form::Counted, out),
        }
    }
}
