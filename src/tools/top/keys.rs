//! Decodes bytes from a terminal as keys.

/// A key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character, control characters included.
    Char(char),
    Escape,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// Returns the keys in the bytes of one read. A terminal sends a key's sequence in one piece, so an escape character at
/// the end is the Escape key. Sequences of other keys are skipped.
pub fn decode(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after.first()) {
            (0x1b, Some(b'[' | b'O')) => {
                let end = after[1..].iter().position(|byte| byte.is_ascii_alphabetic() || *byte == b'~');
                let len = end.map_or(after.len(), |end| end + 2);
                keys.extend(sequence(&after[1..len]));
                rest = &after[len..];
            }
            (0x1b, _) => keys.push(Key::Escape),
            (0..0x80, _) => keys.push(Key::Char(char::from(first))),
            _ => {}
        }
    }
    keys
}

/// Returns the key of a sequence without its introducer.
fn sequence(bytes: &[u8]) -> Option<Key> {
    match bytes {
        b"A" => Some(Key::Up),
        b"B" => Some(Key::Down),
        b"5~" => Some(Key::PageUp),
        b"6~" => Some(Key::PageDown),
        b"H" | b"1~" | b"7~" => Some(Key::Home),
        b"F" | b"4~" | b"8~" => Some(Key::End),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_and_sequences_are_keys() {
        assert_eq!(decode(b"q+"), [Key::Char('q'), Key::Char('+')]);
        assert_eq!(decode(b"\x1b[A\x1b[B\x1bOA"), [Key::Up, Key::Down, Key::Up]);
        assert_eq!(decode(b"\x1b[5~x\x1b[6~"), [Key::PageUp, Key::Char('x'), Key::PageDown]);
        assert_eq!(decode(b"\x1b[H\x1b[4~"), [Key::Home, Key::End]);
    }

    #[test]
    fn other_sequences_are_skipped_and_an_escape_alone_is_a_key() {
        assert_eq!(decode(b"\x1b[1;5Cq"), [Key::Char('q')]);
        assert_eq!(decode(b"\x1b[15~\xc3\xa9q"), [Key::Char('q')]);
        assert_eq!(decode(b"\x1b"), [Key::Escape]);
        assert_eq!(decode(b"\x1b["), []);
        assert_eq!(decode(b"\x1bq"), [Key::Escape, Key::Char('q')]);
        assert_eq!(decode(b""), []);
    }
}
