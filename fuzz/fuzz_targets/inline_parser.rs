//! Inline requests: the quoting rules are total (no bytes make them panic), quoting is the inverse of splitting, and the
//! parser finds the same words in a line as splitting does, whole or byte by byte.
//!
//! Input: a line.

#![no_main]

#[path = "../connection.rs"]
mod connection;

use connection::{Connection, Outcome};
use libfuzzer_sys::fuzz_target;
use redstart::resp::{Limits, ProtocolError};
use redstart::text::words;

fuzz_target!(|line: &[u8]| {
    let split = words::split(line);
    if let Ok(words) = &split {
        let size: usize = words.iter().map(Vec::len).sum();
        assert!(size <= line.len());
        let quoted: Vec<String> = words.iter().map(|word| words::quote(word)).collect();
        let quoted = quoted.join(" ");
        assert!(quoted.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        assert_eq!(words::split(quoted.as_bytes()).as_ref(), Ok(words));
    }

    if line.first() == Some(&b'*') || line.contains(&b'\n') || line.len() > 60_000 {
        return;
    }
    let expected = match split {
        // A line with a zero byte never ends.
        _ if line.contains(&0) => None,
        Ok(words) if words.is_empty() => Some(Outcome::Request(words)),
        Ok(words) => Some(Outcome::Inline(words)),
        Err(words::Unbalanced) => Some(Outcome::Error(ProtocolError::UnbalancedQuotes)),
    };
    let sent = [line, b"\r\n"].concat();
    for size in [1, 7, sent.len()] {
        let mut connection = Connection::new(Limits::default());
        sent.chunks(size).for_each(|piece| connection.feed(piece));
        assert!(connection.outcomes.iter().eq(&expected), "{:?}, not {expected:?}", connection.outcomes);
    }
});
