//! Escapes control characters for output to a terminal. A value printed unescaped could move the cursor, rename the
//! window, write the clipboard (OSC 52), or hide or reorder the text around it.

/// Whether a character controls the terminal or the direction of text: C0 except newline and tab, DEL, C1, and
/// Unicode's bidirectional overrides, embeddings, isolates and marks.
fn is_obeyed(letter: char) -> bool {
    match letter {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        letter => letter.is_control(),
    }
}

/// Appends `bytes`, with control characters and invalid UTF-8 written as `\xHH`. Keeps a carriage return before a
/// newline.
pub fn push_shown(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        let mut letters = chunk.valid().chars().peekable();
        while let Some(letter) = letters.next() {
            let mut room = [0; 4];
            let encoded = letter.encode_utf8(&mut room).as_bytes();
            if is_obeyed(letter) && !(letter == '\r' && letters.peek() == Some(&'\n')) {
                push_hex(out, encoded);
            } else {
                out.extend_from_slice(encoded);
            }
        }
        push_hex(out, chunk.invalid());
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
    }
}

/// `text` without control characters, newlines and tabs.
pub fn without(text: &str) -> String {
    text.chars().filter(|&letter| !is_obeyed(letter) && !matches!(letter, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_shown(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_newlines_and_tabs_are_unchanged() {
        for text in ["", "one\ttwo\nthree\r\n", "h\u{e9} \u{6f22}\u{5b57} \u{1f600} e\u{301}", "\\x1b"] {
            assert_eq!(shown(text.as_bytes()), text);
        }
    }

    #[test]
    fn control_characters_and_invalid_utf_8_are_escaped() {
        for (bytes, text) in [
            (&b"\x1b]52;c;eA==\x07"[..], "\\x1b]52;c;eA==\\x07"),
            (b"a\rb\x08\x7f\x00", "a\\x0db\\x08\\x7f\\x00"),
            // C1 in UTF-8, and as a single byte.
            (b"\xc2\x9b31m \x9b31m", "\\xc2\\x9b31m \\x9b31m"),
            ("\u{202e}txt.exe\u{2069}".as_bytes(), "\\xe2\\x80\\xaetxt.exe\\xe2\\x81\\xa9"),
            // A truncated character, and Latin-1.
            (b"\xe2\x80", "\\xe2\\x80"),
            (b"caf\xe9 \xc3\xa9", "caf\\xe9 \u{e9}"),
        ] {
            assert_eq!(shown(bytes), text);
        }
        for byte in (0..0x20).chain(0x7f..=0xff).filter(|byte| !b"\n\t".contains(byte)) {
            assert_eq!(shown(&[byte]), format!("\\x{byte:02x}"));
        }
        assert_eq!(without("a\x1b[31m\n\u{202e}b"), "a[31mb");
    }
}
