//! Lines of quoted words: the notation for arguments in inline requests, config files and the interactive client.
//!
//! Words are separated by white space. `"..."` recognises `\n \r \t \b \a`, `\xHH` and `\` before any other byte;
//! `'...'` recognises only `\'`. A quote may open in the middle of a word but must close at its end. [`quote`] is the
//! inverse.

/// A client's word as messages show it: cut at its first zero byte, as C prints it.
pub fn shown(word: &[u8]) -> &[u8] {
    memchr::memchr(0, word).map_or(word, |end| &word[..end])
}

/// A quote that is not closed, or that closes in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// White space by C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Whether a byte ends a bare word. Fewer do than [`is_space`]: Redis keeps vertical tabs and form feeds in words.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Splits a line into its words, unquoted. An empty or blank line has none.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [byte, tail @ ..] = rest
            && is_space(*byte)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Reads one word from the front of `rest` and returns the bytes after it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            [byte, ..] if ends_word(*byte) => return Ok(rest),
            [b'"', tail @ ..] => return closed(take_double(tail, word)?),
            [b'\'', tail @ ..] => return closed(take_single(tail, word)?),
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote must be followed by white space or nothing.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [byte, ..] if !is_space(*byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn take_double<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

fn take_single<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Unbalanced),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        word.push(byte);
        rest = tail;
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).unwrap_or(0) as u8
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// Appends `bytes` in double quotes as printable ASCII; [`split`] recovers them.
pub fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// [`push_quoted`] into a new string.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    push_quoted(&mut out, bytes);
    // Only printable ASCII was written.
    String::from_utf8(out).unwrap_or_default()
}

/// Quotes a word for a shell: in single quotes unless it consists of letters, digits and the punctuation of paths.
pub fn shell(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_for_a_shell_is_quoted_if_it_has_special_characters() {
        assert_eq!(shell(b"/data/appendonly.aof.1.incr.aof"), "/data/appendonly.aof.1.incr.aof");
        assert_eq!(shell(b""), "''");
        assert_eq!(shell(b"my data/$x"), "'my data/$x'");
        assert_eq!(shell(b"it's"), "'it'\\''s'");
    }

    #[test]
    fn words_are_split_and_unquoted_as_redis_does() {
        for (line, words) in [
            (&b""[..], &[][..]),
            (b"  \t\r\n", &[]),
            (b"SET key value", &[&b"SET"[..], b"key", b"value"]),
            (b"  PING   ", &[b"PING"]),
            (br#"ECHO "\x41\n\"\q""#, &[b"ECHO", b"A\n\"q"]),
            (br"ECHO 'a\'b\n'", &[b"ECHO", b"a'b\\n"]),
            (br#"ECHO a"b""#, &[b"ECHO", b"ab"]),
            (br#"ECHO "\xZZ\x4""#, &[b"ECHO", b"xZZx4"]),
            (br#"ECHO "" ''"#, &[b"ECHO", b"", b""]),
            (b"ECHO a\rb", &[b"ECHO", b"a", b"b"]),
            (b"\x0bPING\x0c", &[b"PING\x0c"]),
            (b"ECHO\x0bx", &[b"ECHO\x0bx"]),
            (b"\"a\"\x0b'b'", &[b"a", b"b"]),
            (b"a\0b \xa0", &[b"a\0b", b"\xa0"]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_quote_that_does_not_close_at_the_end_of_its_word_is_refused() {
        for line in
            [&b"PI\"NG"[..], b"\"PING", b"\"PING\"x", b"'PING", b"'PING'x", b"\"a\\\"", b"'a\\'", b"\"a\\"]
        {
            assert_eq!(split(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quoting_leaves_only_printable_bytes() {
        assert_eq!(quote(b"a\"\\\n\r\t\x07\x08\x00\xff~"), r#""a\"\\\n\r\t\a\b\x00\xff~""#);
    }

    proptest! {
        #[test]
        fn what_was_quoted_splits_back_into_the_same_words(words: Vec<Vec<u8>>) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(split(line.as_bytes()).unwrap(), words);
        }
    }
}
