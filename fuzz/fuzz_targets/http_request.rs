//! Requests to the metrics endpoint: no input makes the decoder panic, it returns the same result however the bytes are
//! split, and that result lies within the bytes.
//!
//! Input: a byte that sets the size of the pieces, then what a client sends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redstart::http::{Decoder, MAX_HEAD, Request, Status, is_foreign_name};

/// All requests in `bytes`, and the refusal that ended them, when at most `piece` bytes arrive at a time.
fn requests(bytes: &[u8], piece: usize) -> (Vec<Request>, Option<Status>) {
    let (mut decoder, mut requests) = (Decoder::default(), Vec::new());
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.decode(&bytes[start..end]) {
            Ok(Some(request)) => {
                assert!(request.len <= MAX_HEAD && request.len <= end - start && request.len > 0);
                assert!(request.path.end <= request.len && request.path.start <= request.path.end);
                let path = &bytes[start..][request.path.clone()];
                assert!(path.is_empty() || path[0] == b'/' && path.iter().all(u8::is_ascii_graphic));
                let host = &bytes[start..start + request.len][request.host.clone()];
                assert_eq!(host, host.trim_ascii());
                is_foreign_name(host);
                assert!(decoder.is_fresh());
                start += request.len;
                requests.push(request);
            }
            Ok(None) if end == bytes.len() => return (requests, None),
            Ok(None) => end = (end + piece).min(bytes.len()),
            Err(status) => return (requests, Some(status)),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&piece, bytes)) = input.split_first() else { return };
    let whole = requests(bytes, usize::MAX / 2);
    assert_eq!(requests(bytes, 1), whole);
    assert_eq!(requests(bytes, usize::from(piece) + 1), whole);
});
