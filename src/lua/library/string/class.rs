//! Classes of bytes in patterns: `%a`, `[%w_-]`, as C's `isalpha` and related functions define them in the C locale.

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set([u64; 4]);

impl Set {
    const EMPTY: Set = Set([0; 4]);

    /// Whether the set contains a byte.
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    const fn insert(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    fn insert_range(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            self.insert(byte);
        }
    }

    fn insert_all(&mut self, other: &Set) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// Returns the set of all other bytes.
    #[must_use]
    pub fn complement(&self) -> Set {
        Set(self.0.map(|word| !word))
    }

    /// Returns the set that `bracketed`, the text between `[` and `]`, denotes.
    pub fn new(bracketed: &[u8]) -> Set {
        let mut set = Set::EMPTY;
        let (items, is_negated) = items(bracketed);
        for item in items {
            match item {
                Item::Class(letter) => match of_letter(letter) {
                    Some((members, true)) => set.insert_all(members),
                    Some((members, false)) => set.insert_all(&members.complement()),
                    None => set.insert(letter),
                },
                Item::Range(first, last) => set.insert_range(first, last),
            }
        }
        if is_negated { set.complement() } else { set }
    }
}

/// An element of a set as written.
enum Item {
    /// `%` and a letter.
    Class(u8),
    /// A byte, or two bytes with a `-` between them.
    Range(u8, u8),
}

/// Splits the text between `[` and `]` into elements; also returns whether it begins with `^`.
fn items(bracketed: &[u8]) -> (impl Iterator<Item = Item>, bool) {
    let (mut rest, is_negated) = match bracketed {
        [b'^', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let items = std::iter::from_fn(move || {
        let (item, after) = match rest {
            [b'%', letter, after @ ..] => (Item::Class(*letter), after),
            // The `%` that would have escaped this one ended a range, so this one escapes the closing `]`.
            [b'%'] => (Item::Class(b']'), &[][..]),
            [first, b'-', last, after @ ..] => (Item::Range(*first, *last), after),
            [byte, after @ ..] => (Item::Range(*byte, *byte), after),
            [] => return None,
        };
        rest = after;
        Some(item)
    });
    (items, is_negated)
}

/// Whether the text between `[` and `]` denotes a set that contains `byte`.
pub fn is_bracketed(byte: u8, bracketed: &[u8]) -> bool {
    let (mut items, is_negated) = items(bracketed);
    let is_listed = items.any(|item| match item {
        Item::Class(letter) => is_in(byte, letter),
        Item::Range(first, last) => first <= byte && byte <= last,
    });
    is_listed != is_negated
}

/// Whether the class `%letter` contains `byte`.
#[inline]
pub fn is_in(byte: u8, letter: u8) -> bool {
    match of_letter(letter) {
        Some((set, is_member)) => set.contains(byte) == is_member,
        None => letter == byte,
    }
}

/// Returns the set for a letter, and whether the letter stands for its members, as a lower-case one does; an upper-case
/// letter stands for all other bytes. `None` for a byte that is not a class.
#[inline]
pub fn of_letter(letter: u8) -> Option<(&'static Set, bool)> {
    let set = match letter | 0x20 {
        _ if !letter.is_ascii_alphabetic() => return None,
        b'a' => &ALPHABETIC,
        b'c' => &CONTROL,
        b'd' => &DIGIT,
        b'l' => &LOWER,
        b'p' => &PUNCTUATION,
        b's' => &SPACE,
        b'u' => &UPPER,
        b'w' => &ALPHANUMERIC,
        b'x' => &HEXADECIMAL,
        b'z' => &ZERO,
        _ => return None,
    };
    Some((set, letter.is_ascii_lowercase()))
}

/// The bytes for which an expression holds.
macro_rules! set {
    ($byte:ident => $is_member:expr) => {{
        let mut set = Set::EMPTY;
        let mut code = 0;
        while code < 256 {
            let $byte = code as u8;
            if $is_member {
                set.insert($byte);
            }
            code += 1;
        }
        set
    }};
}

static ALPHABETIC: Set = set!(byte => byte.is_ascii_alphabetic());
static CONTROL: Set = set!(byte => byte.is_ascii_control());
static DIGIT: Set = set!(byte => byte.is_ascii_digit());
static LOWER: Set = set!(byte => byte.is_ascii_lowercase());
static PUNCTUATION: Set = set!(byte => byte.is_ascii_punctuation());
static SPACE: Set = set!(byte => matches!(byte, b' ' | b'\t'..=b'\r'));
static UPPER: Set = set!(byte => byte.is_ascii_uppercase());
static ALPHANUMERIC: Set = set!(byte => byte.is_ascii_alphanumeric());
static HEXADECIMAL: Set = set!(byte => byte.is_ascii_hexdigit());
static ZERO: Set = set!(byte => byte == 0);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lists the bytes below 128 in a set.
    fn members(bracketed: &[u8]) -> String {
        (0..128).filter(|&byte| is_bracketed(byte, bracketed)).map(char::from).collect()
    }

    #[test]
    fn a_set_holds_what_its_parts_denote() {
        for (bracketed, expected) in [
            (&b"a-e"[..], "abcde"),
            (b"]a", "]a"),
            (b"a-", "-a"),
            (b"-a", "-a"),
            (b"%a-z", "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
            (b"%]", "]"),
            (b"%d%-", "-0123456789"),
            (b"e-a", ""),
            (b"+-%%", "]"),
            (b"%z", "\0"),
            (b"%q", "q"),
        ] {
            let mut expected: Vec<char> = expected.chars().collect();
            expected.sort_unstable();
            let expected: String = expected.into_iter().collect();
            assert_eq!(members(bracketed), expected, "{}", bracketed.escape_ascii());
        }
        assert!(!is_bracketed(b'7', b"^%d") && is_bracketed(b'x', b"^%d") && is_bracketed(200, b"^%d"));
        assert!(is_bracketed(b'7', b"%D%d") && !is_in(b'7', b'D') && is_in(b'-', b'-'));
    }

    proptest! {
        #[test]
        fn a_set_and_its_text_agree(bracketed in proptest::collection::vec(
            prop_oneof![Just(b'%'), Just(b'-'), Just(b'^'), Just(b']'), Just(b'd'), Just(b'W'), any::<u8>()], 1..8,
        )) {
            let set = Set::new(&bracketed);
            for byte in 0..=255 {
                prop_assert_eq!(set.contains(byte), is_bracketed(byte, &bracketed), "{}", byte);
            }
        }
    }
}
