//! The reader of logs: it finds the same commands in any file however the bytes are split, none of them ends beyond the
//! file, and no length that is only claimed makes memory grow.
//!
//! Input: two bytes for sizes, then the file.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use redstart::persist::aof::{ReadError, Reader};

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(room.len());
        self.0.read(&mut room[..most])
    }
}

/// The commands with their ends, and how the file ended.
type Outcome = (Vec<(Vec<Vec<u8>>, u64)>, Result<u64, (bool, u64)>);

fn outcome<R: Read>(mut reader: Reader<R>, most: usize) -> Outcome {
    let mut commands = Vec::new();
    loop {
        match reader.next_batch(most) {
            Ok(batch) if batch.is_empty() => return (commands, Ok(reader.offset())),
            Ok(batch) => {
                for index in 0..batch.len() {
                    let arguments: Vec<Vec<u8>> = batch.arguments(index).map(<[u8]>::to_vec).collect();
                    assert!(!arguments.is_empty());
                    commands.push((arguments, batch.end(index)));
                }
            }
            Err(ReadError::Truncated { valid_up_to }) => return (commands, Err((true, valid_up_to))),
            Err(ReadError::Malformed { offset, .. }) => return (commands, Err((false, offset))),
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let [piece, window, file @ ..] = input else { return };
    let whole = outcome(Reader::new(file), 64);
    let mut before = 0;
    for (_, end) in &whole.0 {
        assert!(*end > before && *end <= file.len() as u64);
        before = *end;
    }
    let (Ok(end) | Err((_, end))) = whole.1;
    assert!(end <= file.len() as u64);
    let (piece, window) = (usize::from(*piece) + 1, usize::from(*window) + 1);
    let reader = Reader::new(Pieces(file, piece)).with_window(window, 2 * window);
    assert_eq!(outcome(reader, 3), whole);
    // Cut at the offset that the reader reports, the log is whole.
    if let Err((true, valid)) = whole.1 {
        let cut = outcome(Reader::new(&file[..valid as usize]), 64);
        assert_eq!(cut.1, Ok(valid));
    }
});
