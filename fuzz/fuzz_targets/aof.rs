//! The reader of logs: it finds the same commands in any file however the bytes are split, none of them ends beyond the
//! file, and no length that is only claimed makes memory grow. The place in the stream to replicas is the same, too, and
//! its offset is never negative.
//!
//! Input: two bytes for sizes, then the file.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use redstart::persist::aof::{Place, ReadError, Reader, Tally};

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(room.len());
        self.0.read(&mut room[..most])
    }
}

/// The commands with their ends, how the file ended, and the place in the stream there.
type Outcome = (Vec<(Vec<Vec<u8>>, u64)>, Result<u64, (bool, u64)>, Option<Place>);

fn outcome<R: Read>(mut reader: Reader<R>, most: usize) -> Outcome {
    let (mut commands, mut tally) = (Vec::new(), Tally::default());
    let end = loop {
        match reader.next_batch(most) {
            Ok(batch) if batch.is_empty() => break Ok(reader.offset()),
            Ok(batch) => {
                let mut notes = batch.notes().iter().peekable();
                for index in 0..batch.len() {
                    while let Some((_, line)) = notes.next_if(|(before, _)| *before <= index) {
                        tally.note(line);
                    }
                    assert!(batch.start(index) < batch.end(index));
                    tally.count(batch.end(index) - batch.start(index));
                    let arguments: Vec<Vec<u8>> = batch.arguments(index).map(<[u8]>::to_vec).collect();
                    assert!(!arguments.is_empty());
                    commands.push((arguments, batch.end(index)));
                }
                notes.for_each(|(_, line)| tally.note(line));
                tally.end_unit();
                assert!(tally.place().is_none_or(|place| place.offset >= 0));
            }
            Err(ReadError::Truncated { valid_up_to }) => break Err((true, valid_up_to)),
            Err(ReadError::Malformed { offset, .. }) => break Err((false, offset)),
            Err(ReadError::Io(error)) => panic!("{error}"),
        }
    };
    (commands, end, tally.place())
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
