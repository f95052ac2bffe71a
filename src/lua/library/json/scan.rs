//! The tokens of a JSON document: white space, strings, numbers and names, and their names in errors.
//!
//! The tokens are those of the reference implementation, which is more lenient than the standard: strings may contain
//! control characters, and a number is anything that C's `strtod` accepts, including hexadecimal, infinity and NaN,
//! unless the configuration forbids that. A zero byte ends the document, as it ends C strings; the scanner appends one
//! to every text, so there is always a next byte.

use memchr::{memchr, memchr2};

use crate::text::number;

/// Powers of ten that are exact as doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Integers of up to this many digits are exact as doubles.
const EXACT_DIGITS: usize = 15;

/// The first bytes of a string, which are scanned one by one: most strings are shorter.
const SHORT: usize = 24;

/// The number of bytes of a string or of white space that are read in one piece.
const PIECE: usize = 64 << 10;

/// The longest number. Numbers are read in one piece, so longer ones are rejected.
const LONGEST_NUMBER: usize = 64 << 10;

/// An unexpected token or a malformed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name of the token, or the defect in it.
    pub name: &'static str,
    /// Its position, from 0.
    pub place: usize,
}

/// A text and the reading position.
#[derive(Debug)]
pub struct Scanner {
    /// The text up to its first zero byte, inclusive.
    text: Vec<u8>,
    at: usize,
    /// Whether numbers are all that `strtod` accepts.
    takes_invalid: bool,
    /// The content read so far of a string with escapes or of a long string.
    unescaped: Vec<u8>,
    /// Where reading such a string continues.
    open: Option<usize>,
}

/// A string that has been read.
pub enum Text<'a> {
    /// In the text, or in a reused buffer.
    Here(&'a [u8]),
    /// A long string in its own memory.
    Long(Vec<u8>),
}

impl Scanner {
    /// Starts scanning `text`.
    pub fn new(mut text: Vec<u8>, takes_invalid: bool) -> Scanner {
        text.truncate(memchr(0, &text).unwrap_or(text.len()));
        text.push(0);
        Scanner { text, at: 0, takes_invalid, unescaped: Vec::new(), open: None }
    }

    /// Skips white space, at most one piece at a time. Returns whether all of it was skipped.
    #[inline]
    pub fn skip_blanks(&mut self) -> bool {
        let stop = self.at + PIECE;
        while let b' ' | b'\t' | b'\n' | b'\r' = self.text[self.at] {
            self.at += 1;
            if self.at == stop {
                return false;
            }
        }
        true
    }

    /// Bytes of memory in use.
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.unescaped.capacity()
    }

    /// The number of bytes read.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Skips white space and returns the byte after it; 0 at the end.
    #[inline]
    pub fn next(&mut self) -> u8 {
        loop {
            match self.text[self.at] {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// Skips the byte that `next` returned, which is not 0.
    #[inline]
    pub fn skip(&mut self) {
        debug_assert!(self.text[self.at] != 0);
        self.at += 1;
    }

    /// Skips `name` if it is next. Returns whether it was.
    pub fn skip_name(&mut self, name: &[u8]) -> bool {
        let is_next = self.text[self.at..].starts_with(name);
        if is_next {
            self.at += name.len();
        }
        is_next
    }

    /// Whether only a part of a string has been read.
    #[inline]
    pub fn is_in_string(&self) -> bool {
        self.open.is_some()
    }

    /// Reads the next string and returns its content; `None` after a piece of a string that continues.
    #[inline]
    pub fn string(&mut self) -> Result<Option<Text<'_>>, Found> {
        if let Some(at) = self.open {
            return self.go_on_with_string(at);
        }
        let start = self.at + 1;
        let (end, is_special) = self.special_from(start);
        match self.text[end] {
            b'"' if is_special => {
                self.at = end + 1;
                Ok(Some(Text::Here(&self.text[start..end])))
            }
            0 if is_special => Err(unfinished(end)),
            _ => {
                self.unescaped.clear();
                self.unescaped.extend_from_slice(&self.text[start..end]);
                self.go_on_with_string(end)
            }
        }
    }

    /// Returns the position of the next quote, backslash or zero byte, and true; or the position to continue from, and
    /// false.
    #[inline]
    fn special_from(&self, start: usize) -> (usize, bool) {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0);
        let rest = &self.text[start..];
        if let Some(length) = rest.iter().take(SHORT).position(is_special) {
            return (start + length, true);
        }
        let window = &rest[..rest.len().min(PIECE)];
        match memchr2(b'"', b'\\', window) {
            Some(length) => (start + length, true),
            // Only the last byte is 0.
            None if window.len() == rest.len() => (self.text.len() - 1, true),
            None => (start + window.len(), false),
        }
    }

    #[cold]
    fn go_on_with_string(&mut self, mut at: usize) -> Result<Option<Text<'_>>, Found> {
        self.open = None;
        let stop = at + PIECE;
        let mut is_special = false;
        loop {
            match self.text[at] {
                _ if at >= stop => {
                    self.open = Some(at);
                    self.at = at;
                    return Ok(None);
                }
                b'"' => break,
                b'\\' => at = self.escape(at)?,
                0 => return Err(unfinished(at)),
                _ if is_special => unreachable!("a byte that is special"),
                _ => {}
            }
            let end;
            (end, is_special) = self.special_from(at);
            self.unescaped.extend_from_slice(&self.text[at..end]);
            at = end;
        }
        self.at = at + 1;
        if self.unescaped.len() > PIECE {
            return Ok(Some(Text::Long(std::mem::take(&mut self.unescaped))));
        }
        Ok(Some(Text::Here(&self.unescaped)))
    }

    /// Appends the character of the escape at `at`; returns where the escape ends.
    fn escape(&mut self, at: usize) -> Result<usize, Found> {
        let byte = match self.text[at + 1] {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 0x0c,
            b'r' => b'\r',
            b'u' => {
                let (character, length) = unicode_escape(&self.text[at..])
                    .ok_or(Found { name: "invalid unicode escape code", place: at })?;
                self.unescaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(at + length);
            }
            _ => return Err(Found { name: "invalid escape code", place: at }),
        };
        self.unescaped.push(byte);
        Ok(at + 2)
    }

    /// Reads the next number, which begins with a digit, a minus, or a character that only `strtod` accepts there.
    #[inline]
    pub fn number(&mut self) -> Result<f64, Found> {
        let invalid = Found { name: "invalid number", place: self.at };
        let rest = &self.text[self.at..];
        if let Some(far) = rest.get(LONGEST_NUMBER)
            && is_of_number(*far)
            && rest[..LONGEST_NUMBER].iter().all(|byte| is_of_number(*byte))
        {
            return Err(invalid);
        }
        if !self.takes_invalid && is_invalid(rest) {
            return Err(invalid);
        }
        let (number, length) = prefix(rest).ok_or(invalid)?;
        self.at += length;
        Ok(number)
    }

    /// Whether the next token, which begins with a letter or a plus, has to be read as a number.
    pub fn is_invalid_number(&self) -> bool {
        self.takes_invalid && is_invalid(&self.text[self.at..])
    }

    /// Names the next token for an error.
    pub fn found(&mut self) -> Found {
        let byte = self.next();
        let place = self.at;
        let name = match byte {
            0 => "T_END",
            b'{' => "T_OBJ_BEGIN",
            b'}' => "T_OBJ_END",
            b'[' => "T_ARR_BEGIN",
            b']' => "T_ARR_END",
            b',' => "T_COMMA",
            b':' => "T_COLON",
            // The decoder reads the string first.
            b'"' => "T_STRING",
            b'-' | b'0'..=b'9' => self.number_name(),
            b't' if self.skip_name(b"true") => "T_BOOLEAN",
            b'f' if self.skip_name(b"false") => "T_BOOLEAN",
            b'n' if self.skip_name(b"null") => "T_NULL",
            b'+' | b'i' | b'I' | b'n' | b'N' if self.is_invalid_number() => self.number_name(),
            _ => "invalid token",
        };
        Found { name, place }
    }

    fn number_name(&mut self) -> &'static str {
        self.number().map_or_else(|found| found.name, |_| "T_NUMBER")
    }
}

/// Whether the byte may be in a number after its first character.
fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-')
}

fn unfinished(place: usize) -> Found {
    Found { name: "unexpected end of string", place }
}

/// Decodes the escape at the start of `text`. Returns the character and the escape's length: 6, or 12 for a surrogate
/// pair.
fn unicode_escape(text: &[u8]) -> Option<(char, usize)> {
    let first = hex4(text.get(2..6)?)?;
    if first & 0xf800 != 0xd800 {
        return Some((char::from_u32(first)?, 6));
    }
    let rest = &text[6..];
    if first & 0x0400 != 0 || !rest.starts_with(b"\\u") {
        return None;
    }
    let second = hex4(rest.get(2..6)?)?;
    if second & 0xfc00 != 0xdc00 {
        return None;
    }
    let character = (((first & 0x3ff) << 10) | (second & 0x3ff)) + 0x1_0000;
    Some((char::from_u32(character)?, 12))
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some((value << 4) | char::from(digit).to_digit(16)?))
}

/// Whether `text` begins with a number that JSON does not allow: one with a plus, in hexadecimal, with leading zeros,
/// an infinity or NaN.
fn is_invalid(text: &[u8]) -> bool {
    let (sign, rest) = (text[0], text.strip_prefix(b"-").unwrap_or(text));
    match rest[0] {
        _ if sign == b'+' => true,
        b'0' => matches!(rest[1], b'x' | b'X' | b'0'..=b'9'),
        _ => has_name(rest, b"inf") || has_name(rest, b"nan"),
    }
}

/// Whether `text` begins with `name`, ignoring case.
fn has_name(text: &[u8], name: &[u8]) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// Reads the number at the start of `text`, which ends with a zero byte, as `strtod` does. Returns it and its length.
#[inline]
fn prefix(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text[0] == b'-';
    let start = usize::from(negative || text[0] == b'+');
    let mut at = start;
    let mut value = 0u64;
    let digits = |at: &mut usize, value: &mut u64| {
        let first = *at;
        while text[*at].is_ascii_digit() {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(text[*at] - b'0'));
            *at += 1;
        }
        *at - first
    };
    let mut count = digits(&mut at, &mut value);
    let mut exponent = 0;
    if !matches!(text[at], b'.' | b'e' | b'E')
        && (1..=EXACT_DIGITS).contains(&count)
        && text[at] | 0x20 != b'x'
    {
        let value = value as f64;
        return Some((if negative { -value } else { value }, at));
    }
    if text[start] == b'0' && text[start + 1] | 0x20 == b'x' || count == 0 && text[at] != b'.' {
        return unusual_prefix(text, start);
    }
    if text[at] == b'.' {
        at += 1;
        let decimals = digits(&mut at, &mut value);
        count += decimals;
        exponent -= decimals as i64;
    }
    if count == 0 {
        return None;
    }
    let mantissa_end = at;
    if text[at] | 0x20 == b'e' {
        at += 1;
        let is_below_one = text[at] == b'-';
        at += usize::from(matches!(text[at], b'-' | b'+'));
        let mut power = 0;
        match digits(&mut at, &mut power) {
            0 => at = mantissa_end,
            1..=4 => exponent += if is_below_one { -(power as i64) } else { power as i64 },
            // Too many to be exact.
            _ => exponent = i64::MAX,
        }
    }
    if count <= EXACT_DIGITS && exponent.unsigned_abs() < POWERS.len() as u64 {
        let power = POWERS[exponent.unsigned_abs() as usize];
        let value = if exponent < 0 { value as f64 / power } else { value as f64 * power };
        return Some((if negative { -value } else { value }, at));
    }
    Some((number::strtod(&text[..at])?, at))
}

/// Like `prefix`, for a number that is hexadecimal, an infinity or NaN. The sign ends at `start`.
#[cold]
fn unusual_prefix(text: &[u8], start: usize) -> Option<(f64, usize)> {
    let rest = &text[start..];
    let length = if rest[0] == b'0' {
        hexadecimal_length(rest)
    } else if has_name(rest, b"infinity") {
        8
    } else if has_name(rest, b"inf") {
        3
    } else if has_name(rest, b"nan") {
        3 + payload_length(&rest[3..])
    } else {
        return None;
    };
    let end = start + length;
    Some((number::strtod(&text[..end])?, end))
}

/// Returns the length of the number `0x…`. If no digit follows, the number is only the zero.
fn hexadecimal_length(text: &[u8]) -> usize {
    let digits = |at: usize| text[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let whole = digits(2);
    let mut at = 2 + whole;
    let mut count = whole;
    if text[at] == b'.' {
        let decimals = digits(at + 1);
        count += decimals;
        at += 1 + decimals;
    }
    if count == 0 {
        return 1;
    }
    if text[at] | 0x20 == b'p' {
        let sign = usize::from(matches!(text[at + 1], b'-' | b'+'));
        let power = text[at + 1 + sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if power > 0 {
            at += 1 + sign + power;
        }
    }
    at
}

/// Returns the length of the parenthesised letters that may follow `nan`.
fn payload_length(text: &[u8]) -> usize {
    if text[0] != b'(' {
        return 0;
    }
    let letters = text[1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if text[1 + letters] == b')' { letters + 2 } else { 0 }
}
