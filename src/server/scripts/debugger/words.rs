//! The parser of the debugger's commands. Unlike the server's parser it skips bytes before the first `*`, treats a zero
//! byte as the end of the input, and reads one command at a time.

use memchr::memmem;

use crate::text::number::leading_i64;
use crate::text::words::shown;

/// The most arguments of a command, and the most bytes of an argument.
const MOST: i32 = 1024;

/// The input is not a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Returns the command at the start of `input`, `None` if it is incomplete. Bytes after the command are ignored.
///
/// # Errors
/// Fails if the input is not a command.
pub fn next(input: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Unreadable> {
    if input.is_empty() {
        return Ok(None);
    }
    let star = memchr::memchr(b'*', shown(input)).ok_or(Unreadable)?;
    let Some((count, mut rest)) = number(&input[star + 1..]) else { return Ok(None) };
    if !(1..=MOST).contains(&count) {
        return Err(Unreadable);
    }
    let mut words = Vec::new();
    for _ in 0..count {
        let Some(first) = shown(rest).first() else { return Ok(None) };
        if *first != b'$' {
            return Err(Unreadable);
        }
        let Some((len, after)) = number(&rest[1..]) else { return Ok(None) };
        if !(1..=MOST).contains(&len) {
            return Err(Unreadable);
        }
        let Some((word, after)) = after.split_at_checked(len as usize) else { return Ok(None) };
        let Some((end, after)) = after.split_at_checked(2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(Unreadable);
        }
        words.push(word.to_vec());
        rest = after;
    }
    Ok(Some(words))
}

/// Returns the number before the next `\r\n`, and the bytes after that.
fn number(text: &[u8]) -> Option<(i32, &[u8])> {
    let end = memmem::find(shown(text), b"\r\n")?;
    Some((leading_i64(&text[..end]).0 as i32, &text[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_once_it_is_complete() {
        let whole = b"junk*2\r\n$1\r\nb\r\n$2\r\n10\r\n";
        for end in 0..whole.len() {
            let expected = if (1..5).contains(&end) { Err(Unreadable) } else { Ok(None) };
            assert_eq!(next(&whole[..end]), expected, "{end}");
        }
        assert_eq!(next(whole), Ok(Some(vec![b"b".to_vec(), b"10".to_vec()])));
    }

    #[test]
    fn malformed_commands_are_refused() {
        for input in [
            &b"hello"[..],
            b"*0\r\n",
            b"*1025\r\n",
            b"*1\r\nx",
            b"*1\r\n$0\r\n",
            b"*1\r\n$1025\r\n",
            b"*1\r\n$1\r\nsxx",
            b"\0*1\r\n",
        ] {
            assert_eq!(next(input), Err(Unreadable), "{input:?}");
        }
    }
}
