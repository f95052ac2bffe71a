//! The ID of an entry: a time and a sequence number within it, written `ms-seq`.
//!
//! Texts are parsed as in Redis, which follows C: up to the first zero byte, at most 127 bytes, and each of the two
//! numbers may have a `+` or leading spaces and zeros.

use crate::text::number::{parse_i64, push_u64};

/// Longer texts are not IDs, whatever they contain.
const LONGEST_TEXT: usize = 127;

/// See the module's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Unix time in milliseconds, or whatever the client chose.
    pub ms: u64,
    /// The sequence number of the entry within this time.
    pub seq: u64,
}

/// The ID of a new entry, as specified by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedId {
    /// `*`: the server chooses both parts.
    Any,
    /// `ms-*`: the server chooses the sequence number.
    At(u64),
    /// The client specifies both parts.
    Exactly(Id),
}

impl Id {
    /// `0-0`, which no entry has.
    pub const MIN: Id = Id { ms: 0, seq: 0 };
    /// The last possible ID.
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    /// The ID right after this one.
    #[must_use]
    pub fn next(self) -> Option<Id> {
        match (self.ms, self.seq) {
            (ms, seq) if seq < u64::MAX => Some(Id { ms, seq: seq + 1 }),
            (ms, _) => Some(Id { ms: ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The ID right before this one.
    #[must_use]
    pub fn previous(self) -> Option<Id> {
        match (self.ms, self.seq) {
            (ms, 1..) => Some(Id { ms, seq: self.seq - 1 }),
            (ms, _) => Some(Id { ms: ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Whether it is `0-0`.
    pub fn is_zero(self) -> bool {
        self == Id::MIN
    }

    /// The ID as 16 bytes, which sort like IDs.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// The ID of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        let number = u128::from_be_bytes(bytes);
        Id { ms: (number >> 64) as u64, seq: number as u64 }
    }

    /// Parses `ms-seq`, or `ms` with `missing_seq` as the sequence number.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Id> {
        let (ms, seq) = split(text)?;
        let seq = seq.map_or(Some(missing_seq), parse_part)?;
        Some(Id { ms: parse_part(ms)?, seq })
    }

    /// Like [`parse`](Self::parse), and accepts `-` and `+` for the first and the last possible ID.
    pub fn parse_bound(text: &[u8], missing_seq: u64) -> Option<Id> {
        match text {
            b"-" => Some(Id::MIN),
            b"+" => Some(Id::MAX),
            _ => Id::parse(text, missing_seq),
        }
    }

    /// Appends `ms-seq`.
    pub fn push_to(self, out: &mut Vec<u8>) {
        push_u64(out, self.ms);
        out.push(b'-');
        push_u64(out, self.seq);
    }

    /// `ms-seq`.
    pub fn to_text(self) -> Vec<u8> {
        let mut text = Vec::new();
        self.push_to(&mut text);
        text
    }

    /// The ID at an entry's distance from `base`; bytes from outside can make it wrap around.
    #[must_use]
    pub(super) fn offset(self, ms: i64, seq: i64) -> Id {
        Id { ms: self.ms.wrapping_add_signed(ms), seq: self.seq.wrapping_add_signed(seq) }
    }
}

impl WantedId {
    /// Parses the ID of a new entry in any form but `*`.
    pub fn parse(text: &[u8]) -> Option<WantedId> {
        match split(text)? {
            (ms, Some(b"*")) => Some(WantedId::At(parse_part(ms)?)),
            _ => Some(WantedId::Exactly(Id::parse(text, 0)?)),
        }
    }
}

/// Splits a text at the first `-`.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    let text = until_zero(text);
    Some(match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    })
}

/// The text up to the first zero byte, where Redis ends it.
pub fn until_zero(text: &[u8]) -> &[u8] {
    memchr::memchr(0, text).map_or(text, |end| &text[..end])
}

/// Parses a number like Redis: first by its own rules, which refuse negative ones, then by those of `strtoull`.
fn parse_part(text: &[u8]) -> Option<u64> {
    match parse_i64(text) {
        Some(value) => u64::try_from(value).ok(),
        None => parse_loosely(text),
    }
}

#[cold]
fn parse_loosely(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn id(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    #[test]
    fn an_id_is_read_as_redis_reads_it() {
        let good: [(&[u8], Id); 10] = [
            (b"5-3", id(5, 3)),
            (b"5", id(5, 7)),
            (b"18446744073709551615-18446744073709551615", Id::MAX),
            (b"01-1", id(1, 1)),
            (b" 1-\t+2", id(1, 2)),
            (b"+1-1", id(1, 1)),
            (b"1-1\0x", id(1, 1)),
            (b"1\0-1", id(1, 7)),
            (b"1--05", id(1, 5_u64.wrapping_neg())),
            (b"1--0", id(1, 0)),
        ];
        for (text, expected) in good {
            assert_eq!(Id::parse(text, 7), Some(expected), "{}", text.escape_ascii());
        }
        let long = [b'0'; 128];
        let bad: [&[u8]; 13] = [
            b"",
            b"-",
            b"+",
            b"1-",
            b"-1",
            b"1-1-1",
            b"x",
            b"1-x",
            b"1--5",
            b"1 ",
            b"\0",
            b"18446744073709551616",
            &long,
        ];
        for text in bad {
            assert_eq!(Id::parse(text, 0), None, "{}", text.escape_ascii());
        }
        assert_eq!(Id::parse(&long[1..], 0), Some(Id::MIN));
        assert_eq!((Id::parse_bound(b"-", 1), Id::parse_bound(b"+", 1)), (Some(Id::MIN), Some(Id::MAX)));
    }

    #[test]
    fn a_new_entry_may_leave_its_number_to_the_server() {
        assert_eq!(WantedId::parse(b"5-*"), Some(WantedId::At(5)));
        assert_eq!(WantedId::parse(b"5"), Some(WantedId::Exactly(id(5, 0))));
        for text in [&b"*-1"[..], b"5-**", b"-*", b"x-*"] {
            assert_eq!(WantedId::parse(text), None);
        }
    }

    #[test]
    fn the_first_and_the_last_id_have_one_neighbour() {
        assert_eq!((Id::MIN.previous(), Id::MAX.next()), (None, None));
        assert_eq!(id(4, u64::MAX).next(), Some(id(5, 0)));
        assert_eq!(id(5, 0).previous(), Some(id(4, u64::MAX)));
    }

    proptest! {
        #[test]
        fn an_id_survives_its_text_and_its_bytes(ms: u64, seq: u64) {
            let mut text = Vec::new();
            id(ms, seq).push_to(&mut text);
            prop_assert_eq!(Id::parse(&text, 0), Some(id(ms, seq)));
            prop_assert_eq!(Id::from_bytes(id(ms, seq).to_bytes()), id(ms, seq));
        }

        #[test]
        fn bytes_are_in_the_order_of_the_ids(a: (u64, u64), b: (u64, u64)) {
            let (a, b) = (id(a.0, a.1), id(b.0, b.1));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
        }
    }
}
