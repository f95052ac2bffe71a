//! The order of SORT, without the keyspace: takes texts, and returns the indices of those in the window, in order.
//!
//! Elements are first compared by a word, which is the number or the first eight bytes of the text and is stored next
//! to the index; the text itself is read only if the words are equal. The original index breaks ties, so the order is
//! total: the fast unstable sort gives a stable result, and partitioning finds a window, which takes O(N + W log W) for
//! N elements and W in the window.

use std::cmp::Ordering;
use std::ops::Range;

use crate::text::number;
use crate::text::words::shown;
use crate::types::Text;

/// Texts in one buffer.
#[derive(Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// No texts, with capacity for `count`.
    pub fn with_capacity(count: usize) -> Texts {
        Texts { bytes: Vec::new(), ends: Vec::with_capacity(count) }
    }

    /// Adds a text.
    pub fn push(&mut self, text: Text<'_>) {
        text.push_to(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text at `index`.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// All texts.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// An element: the word that is compared first, and its index.
#[derive(Clone, Copy)]
struct Ranked {
    word: u64,
    index: usize,
}

/// The requested part of the order, and its direction.
#[derive(Clone)]
pub struct Wanted {
    /// Whether the greatest comes first.
    pub descending: bool,
    /// The part of the order.
    pub window: Range<usize>,
}

/// Returns a word that compares like the number; both zeros have the same word.
fn word_of_number(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// Returns a word that compares like the first eight bytes of the text.
fn word_of_text(text: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = text.len().min(8);
    word[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(word)
}

/// Orders by `numbers`, and equal ones by their elements.
pub fn by_numbers(numbers: &[f64], elements: &Texts, wanted: &Wanted) -> Vec<usize> {
    let keys =
        numbers.iter().enumerate().map(|(index, number)| Ranked { word: word_of_number(*number), index });
    order(keys.collect(), |index| elements.get(index), wanted)
}

/// Orders `count` elements by their `text`, where `None` comes before any text. Equal elements keep their order in both
/// directions.
pub fn by_texts<'a>(count: usize, text: impl Fn(usize) -> Option<&'a [u8]>, wanted: &Wanted) -> Vec<usize> {
    let word = |index| text(index).map_or(0, word_of_text);
    let keys = (0..count).map(|index| Ranked { word: word(index), index });
    order(keys.collect(), text, wanted)
}

fn order<T: Ord>(mut keys: Vec<Ranked>, text: impl Fn(usize) -> T, wanted: &Wanted) -> Vec<usize> {
    let compare = |a: &Ranked, b: &Ranked| {
        let upwards = a.word.cmp(&b.word).then_with(|| text(a.index).cmp(&text(b.index)));
        let ordering = if wanted.descending { upwards.reverse() } else { upwards };
        ordering.then(a.index.cmp(&b.index))
    };
    let keys = take_window(&mut keys, &wanted.window, compare);
    keys.sort_unstable_by(compare);
    keys.iter().map(|key| key.index).collect()
}

/// Selects the elements in the window of the order, unordered.
fn take_window<'a>(
    keys: &'a mut [Ranked],
    window: &Range<usize>,
    compare: impl Fn(&Ranked, &Ranked) -> Ordering,
) -> &'a mut [Ranked] {
    let (start, end) = (window.start.min(keys.len()), window.end.min(keys.len()));
    if start >= end {
        return &mut [];
    }
    if end < keys.len() {
        keys.select_nth_unstable_by(end, &compare);
    }
    let keys = &mut keys[..end];
    if start > 0 {
        keys.select_nth_unstable_by(start, &compare);
    }
    &mut keys[start..]
}

/// Parses a number like SORT: by the rules of C's `strtod`, up to the first zero byte, with space allowed before it but
/// not after it; an empty text is zero. `None` for anything that is not a number, NaN, and numbers that a double can
/// represent only by rounding them to infinity or to a subnormal.
pub fn number(text: &[u8]) -> Option<f64> {
    if let Some(integer) = number::parse_i64(text) {
        return Some(integer as f64);
    }
    let text = shown(text);
    if text.is_empty() {
        return Some(0.0);
    }
    // C's isspace includes the vertical tab, Rust's does not.
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !blank(byte))?;
    let text = &text[start..];
    let number = number::parse_f64(text)?;
    // A decimal number that is exactly subnormal has too many digits to occur; a hexadecimal one may have only a few.
    let rounded = number.is_subnormal() && !text.iter().any(|byte| matches!(byte, b'x' | b'X'));
    if rounded { None } else { Some(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(all: &[&str]) -> Texts {
        let mut texts = Texts::default();
        for text in all {
            texts.push(Text::Bytes(text.as_bytes()));
        }
        texts
    }

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        // Checked with redis-server 7.0.
        let taken = [
            ("", 0.0),
            ("  3", 3.0),
            ("+3", 3.0),
            ("0x10", 16.0),
            ("-inf", f64::NEG_INFINITY),
            ("iNF", f64::INFINITY),
            (".5", 0.5),
            ("5.", 5.0),
            ("1\0abc", 1.0),
            ("\0", 0.0),
            ("\t\n\u{b}\u{c}\r 7", 7.0),
            ("0x1p3", 8.0),
            ("1e5", 1e5),
            ("1e+5", 1e5),
            ("0e999999", 0.0),
            ("2.3e-308", 2.3e-308),
            ("2.2250738585072014e-308", f64::MIN_POSITIVE),
            ("0x1p-1074", 5e-324),
            ("0x.8", 0.5),
            ("  0x1", 1.0),
            ("9223372036854775808", (1u64 << 63) as f64),
        ];
        for (text, expected) in taken {
            assert_eq!(number(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text:?}");
        }
        for text in [
            " ",
            "3 ",
            "0x",
            "1e400",
            "-1e400",
            "1e-400",
            "1e-310",
            "4.9e-324",
            "nan",
            "NAN(1)",
            "-nan",
            "1e",
            ".",
            "1_0",
            "1d",
            "--1",
            "0x1p-1075",
            "infinit",
            "infinityx",
            "1e99999999999",
            "1e-",
            "0x1p",
            "- 1",
            "1,5",
            "\u{a0}1",
            "a",
        ] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn equal_numbers_are_ordered_by_their_texts_in_either_direction() {
        let elements = texts(&["1.0", "-0", "0", "01", "1", "-2"]);
        let numbers: Vec<f64> = elements.iter().map(|text| number(text).unwrap()).collect();
        let all = |descending| {
            let order = by_numbers(&numbers, &elements, &Wanted { descending, window: 0..6 });
            order
                .into_iter()
                .map(|at| String::from_utf8_lossy(elements.get(at)).into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(all(false), "-2 -0 0 01 1 1.0");
        assert_eq!(all(true), "1.0 1 01 0 -0 -2");
    }

    #[test]
    fn equal_texts_keep_their_places_in_either_direction() {
        let weights = [Some(&b"b"[..]), None, Some(b""), Some(b"b"), None, Some(b"a\0"), Some(b"a")];
        let order = |descending| by_texts(7, |at| weights[at], &Wanted { descending, window: 0..7 });
        assert_eq!(order(false), [1, 4, 2, 6, 5, 0, 3]);
        assert_eq!(order(true), [0, 3, 5, 6, 2, 1, 4]);
    }

    proptest! {
        #[test]
        fn a_window_is_that_part_of_the_whole_order(
            values in prop::collection::vec(prop::collection::vec(0..3u8, 0..12), 0..60),
            start in 0..70usize,
            len in 0..70usize,
            descending: bool,
        ) {
            let mut sorted: Vec<usize> = (0..values.len()).collect();
            sorted.sort_by(|a, b| {
                let upwards = values[*a].cmp(&values[*b]);
                if descending { upwards.reverse() } else { upwards }
            });
            let expected: Vec<usize> = sorted.into_iter().skip(start).take(len).collect();
            let wanted = Wanted { descending, window: start..start + len };
            prop_assert_eq!(by_texts(values.len(), |at| Some(&values[at][..]), &wanted), expected);
        }

        #[test]
        fn numbers_are_ordered_as_numbers(values in prop::collection::vec(any::<i64>().prop_map(|n| f64::from_bits(n as u64)), 0..50)) {
            let values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
            let elements = texts(&vec!["x"; values.len()]);
            let order = by_numbers(&values, &elements, &Wanted { descending: false, window: 0..values.len() });
            prop_assert_eq!(order.len(), values.len());
            prop_assert!(order.windows(2).all(|pair| values[pair[0]] <= values[pair[1]]));
        }
    }
}
