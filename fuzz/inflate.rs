//! Short inputs for long messages.

/// Replaces each `=N;` by N bytes.
pub fn inflate(mut input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = input {
        let digits = rest.iter().take(5).take_while(|b| b.is_ascii_digit()).count();
        if *first == b'=' && digits > 0 && rest.get(digits) == Some(&b';') && bytes.len() < 1 << 20 {
            let count = rest[..digits].iter().fold(0, |n, b| n * 10 + usize::from(b - b'0'));
            bytes.resize(bytes.len() + count, b'x');
            input = &rest[digits + 1..];
        } else {
            bytes.push(*first);
            input = rest;
        }
    }
    bytes
}
