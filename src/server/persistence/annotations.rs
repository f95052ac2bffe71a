//! The differences between log and stream: the log also has times (`aof-timestamp-enabled`), replication offsets, and
//! calls that are not for replicas, and lacks calls that are only for them.
//!
//! A time is a line before the first call of each second with calls. The stream does not contain it, so the log keeps
//! it, with its offset, until it has been written to disk. A call for the log alone is kept in the same way, and is also
//! written if no other call follows it. The log also keeps the positions of requests to leave out
//! (`PING`, `REPLCONF GETACK`).
//!
//! While the stream has a history, each difference has a line from which a loader counts the offset
//! ([`crate::persist::aof::Tally`]): before a call for the log alone, and after bytes that were left out. The latter line
//! waits for the next call, which it precedes, or for [`Annotations::owe`].

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::IoSlice;
use std::ops::Range;

use crate::db::ForLog;
use crate::persist::aof::Note;
use crate::replication::history::History;

/// See the module's head.
#[derive(Default)]
pub struct Annotations {
    /// The second of the latest time.
    second: i64,
    /// The differences that have not been written, in the order of their offsets.
    pending: VecDeque<Edit>,
    /// The number of differences in `pending` that are written even if no call follows.
    owed: usize,
}

/// The kind of a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A line that waits for a call.
    Waiting,
    /// A line with the offset after bytes that were left out. It waits for a call, too.
    Offset,
    /// A line that is written even if no call follows.
    Owed,
    /// Calls, which are written as well.
    Calls,
}

/// A difference between log and stream.
struct Edit {
    /// Its offset in the stream.
    at: u64,
    /// The additional bytes of the log that have not been written yet.
    line: Vec<u8>,
    /// The number of bytes of the stream to leave out after them.
    left_out: u64,
    kind: Kind,
}

impl Edit {
    fn is_owed(&self) -> bool {
        matches!(self.kind, Kind::Owed | Kind::Calls)
    }
}

impl Annotations {
    /// Records that the calls from offset `at` on were made at `second` (Unix time).
    pub fn annotate(&mut self, at: u64, second: i64) {
        if second != self.second {
            self.second = second;
            self.add(at..at, format!("#TS:{second}\r\n").into_bytes(), Kind::Waiting);
        }
    }

    /// Inserts `note` at offset `at`. It is written even if no call follows.
    pub fn note(&mut self, at: u64, note: &Note<'_>) {
        self.add(at..at, bytes_of(note), Kind::Owed);
    }

    /// Adds a difference that the stream has recorded. `history` is that of the stream, if a log has it.
    pub fn differ(&mut self, difference: ForLog, history: Option<&History>) {
        match (difference, history) {
            (ForLog::LeftOut(range), None) => self.add(range, Vec::new(), Kind::Waiting),
            (ForLog::LeftOut(range), Some(history)) => {
                // One line is enough for adjacent ranges.
                if self.pending.back().is_some_and(|last| last.kind == Kind::Offset && last.at == range.start)
                {
                    self.pending.pop_back();
                }
                let end = range.end;
                self.add(range, Vec::new(), Kind::Waiting);
                self.add(end..end, bytes_of(&Note::Offset(history.offset(end))), Kind::Offset);
            }
            (ForLog::Inserted(at, calls), None) => self.add(at..at, calls, Kind::Calls),
            (ForLog::Inserted(at, calls), Some(_)) => {
                let mut bytes = bytes_of(&Note::Skip(calls.len() as u64));
                bytes.extend_from_slice(&calls);
                self.add(at..at, bytes, Kind::Calls);
            }
        }
    }

    /// Whether the last difference is a line with an offset that waits for a call.
    #[inline]
    pub fn ends_with_offset(&self) -> bool {
        self.pending.back().is_some_and(|last| last.kind == Kind::Offset)
    }

    /// Has the last line with an offset written even if no call follows.
    pub fn owe(&mut self) {
        if let Some(last) = self.pending.back_mut().filter(|last| last.kind == Kind::Offset) {
            last.kind = Kind::Owed;
            self.owed += 1;
        }
    }

    fn add(&mut self, range: Range<u64>, line: Vec<u8>, kind: Kind) {
        let edit = Edit { at: range.start, line, left_out: range.end - range.start, kind };
        self.owed += usize::from(edit.is_owed());
        assert!(self.pending.back().is_none_or(|last| last.at + last.left_out <= edit.at), "in order");
        self.pending.push_back(edit);
    }

    /// Whether something is to be written even if no call follows.
    #[inline]
    pub fn owes(&self) -> bool {
        self.owed > 0
    }

    /// Whether calls have not been written.
    pub fn has_calls(&self) -> bool {
        self.pending.iter().any(|edit| edit.kind == Kind::Calls)
    }

    /// The number of additional bytes that have not been written.
    pub fn len(&self) -> usize {
        self.pending.iter().map(|edit| edit.line.len()).sum()
    }

    /// Removes the differences that have not been written.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.owed = 0;
    }

    /// Returns the bytes to write: `pieces` of the stream from offset `at` on, with the insertions and without the
    /// bytes to leave out.
    pub fn merge<'a>(&'a self, at: u64, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<IoSlice<'a>> {
        let mut merged = Vec::with_capacity(8);
        let mut pending = self.pending.iter().peekable();
        let (mut at, mut skipped, mut owed) = (at, 0, self.owed);
        let mut push = |part: &'a [u8]| {
            if !part.is_empty() {
                merged.push(IoSlice::new(part));
            }
        };
        for mut piece in pieces {
            loop {
                let over = skipped.min(piece.len() as u64);
                (piece, at, skipped) = (&piece[over as usize..], at + over, skipped - over);
                let Some(edit) = pending.next_if(|edit| skipped == 0 && edit.at < at + piece.len() as u64)
                else {
                    break;
                };
                let (before, after) = piece.split_at((edit.at - at) as usize);
                push(before);
                push(&edit.line);
                owed -= usize::from(edit.is_owed());
                (piece, at, skipped) = (after, edit.at, edit.left_out);
            }
            push(piece);
            at += piece.len() as u64;
        }
        while owed > 0
            && let Some(edit) = pending.next()
        {
            push(&edit.line);
            owed -= usize::from(edit.is_owed());
        }
        merged
    }

    /// Records that the first `taken` bytes of [`Annotations::merge`] at offset `at`, which ended at the offset `end`,
    /// were written. Returns the number of bytes of the stream that this completes.
    pub fn take(&mut self, at: u64, taken: u64, end: u64) -> u64 {
        let (mut place, mut left) = (at, taken);
        let owed = &mut self.owed;
        while let Some(edit) = self.pending.front_mut().filter(|edit| edit.at < end || *owed > 0) {
            let before = left.min(edit.at - place);
            (place, left) = (place + before, left - before);
            if place < edit.at {
                break;
            }
            let of_line = edit.line.len().min(left as usize);
            edit.line.drain(..of_line);
            left -= of_line as u64;
            if !edit.line.is_empty() {
                break;
            }
            place += edit.left_out;
            *owed -= usize::from(edit.is_owed());
            self.pending.pop_front();
        }
        place + left - at
    }
}

fn bytes_of(line: &impl Display) -> Vec<u8> {
    line.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::history::Id;

    /// Writes the stream with its differences to a disk that takes `step` bytes at a time.
    fn write(annotations: &mut Annotations, stream: &[u8], step: usize) -> Vec<u8> {
        let (mut at, mut written) = (0, Vec::new());
        while at < stream.len() as u64 || annotations.owes() {
            let pieces = stream[at as usize..].chunks(8);
            let merged: Vec<u8> =
                annotations.merge(at, pieces).iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = step.min(merged.len());
            written.extend_from_slice(&merged[..taken]);
            at += annotations.take(at, taken as u64, stream.len() as u64);
        }
        written
    }

    #[test]
    fn annotations_stand_in_their_places_wherever_the_disk_stops() {
        let stream: Vec<u8> = (0..60).collect();
        let places = [(0, 5), (0, 5), (20, 6), (21, 7)];
        let whole =
            [&b"#TS:5\r\n"[..], &stream[..20], b"#TS:6\r\n", &stream[20..21], b"#TS:7\r\n", &stream[21..]]
                .concat();
        // The disk accepts `step` bytes at a time.
        for step in 1..=whole.len() {
            let mut annotations = Annotations::default();
            for (at, second) in places {
                annotations.annotate(at, second);
            }
            assert_eq!(annotations.len(), 3 * 7);
            assert_eq!(write(&mut annotations, &stream, step), whole, "{step} bytes at a time");
            assert_eq!(annotations.len(), 0);
        }
    }

    #[test]
    fn what_is_left_out_is_not_written_wherever_the_disk_stops() {
        let stream: Vec<u8> = (0..60).collect();
        let whole =
            [&b"#TS:5\r\n"[..], &stream[4..20], b"#TS:6\r\n", &stream[20..30], &stream[50..55]].concat();
        for step in 1..=whole.len() + 1 {
            for length in 1..=60 {
                let mut annotations = Annotations::default();
                annotations.annotate(0, 5);
                annotations.differ(ForLog::LeftOut(0..4), None);
                annotations.annotate(20, 6);
                annotations.differ(ForLog::LeftOut(30..50), None);
                annotations.differ(ForLog::LeftOut(55..60), None);
                let (mut at, mut written) = (0, Vec::new());
                while at < stream.len() as u64 {
                    let pieces = stream[at as usize..].chunks(length);
                    let merged: Vec<u8> =
                        annotations.merge(at, pieces).iter().flat_map(|slice| slice.to_vec()).collect();
                    let taken = step.min(merged.len());
                    written.extend_from_slice(&merged[..taken]);
                    at += annotations.take(at, taken as u64, stream.len() as u64);
                }
                assert_eq!(written, whole, "{step} bytes at a time, in pieces of {length}");
            }
        }
    }

    #[test]
    fn calls_for_the_log_alone_are_written_even_at_the_end_of_the_stream() {
        let stream: Vec<u8> = (0..60).collect();
        let whole = [&b"one"[..], &stream[..20], b"two", &stream[40..], b"#TS:5\r\nthreefour"].concat();
        for step in 1..=whole.len() {
            let mut annotations = Annotations::default();
            annotations.differ(ForLog::Inserted(0, b"one".to_vec()), None);
            annotations.differ(ForLog::Inserted(20, b"two".to_vec()), None);
            annotations.differ(ForLog::LeftOut(20..40), None);
            annotations.annotate(60, 5);
            annotations.differ(ForLog::Inserted(60, b"three".to_vec()), None);
            annotations.differ(ForLog::Inserted(60, b"four".to_vec()), None);
            annotations.annotate(60, 6);
            assert_eq!(write(&mut annotations, &stream, step), whole, "{step} bytes at a time");
            assert_eq!(annotations.len(), 7, "the last time waits for a call");
        }
    }

    /// A history whose offset is that of the stream plus 100.
    fn history() -> History {
        let mut history = History::new(Id::new([1; 20]));
        history.adopt(Id::new([2; 20]), 100, 0);
        history
    }

    #[test]
    fn the_offset_of_a_log_is_that_of_its_stream_wherever_the_disk_stops() {
        let history = history();
        let stream: Vec<u8> = (0..60).map(|_| b'.').collect();
        let whole = [
            &b"#REPL:"[..],
            history.id().as_str().as_bytes(),
            b":100\r\n#REPL-SKIP:3\r\none",
            &stream[..20],
            b"#REPL-OFFSET:140\r\n",
            &stream[40..50],
            b"#REPL-OFFSET:160\r\n",
        ]
        .concat();
        for step in 1..=whole.len() {
            let mut annotations = Annotations::default();
            annotations.note(0, &Note::Place(history.id().as_str(), history.offset(0)));
            annotations.differ(ForLog::Inserted(0, b"one".to_vec()), Some(&history));
            // Adjacent ranges have one line.
            annotations.differ(ForLog::LeftOut(20..30), Some(&history));
            annotations.differ(ForLog::LeftOut(30..40), Some(&history));
            annotations.differ(ForLog::LeftOut(50..60), Some(&history));
            assert!(annotations.ends_with_offset());
            annotations.owe();
            assert!(!annotations.ends_with_offset() && annotations.owes());
            assert_eq!(write(&mut annotations, &stream, step), whole, "{step} bytes at a time");
            assert_eq!(annotations.len(), 0);
        }
    }

    #[test]
    fn an_offset_at_the_end_of_the_stream_waits_for_a_call_or_until_it_is_owed() {
        let history = history();
        let mut annotations = Annotations::default();
        for start in 0..1000 {
            annotations.differ(ForLog::LeftOut(start..start + 1), Some(&history));
            let stream = [b'.'];
            assert!(annotations.merge(start, [&stream[..]].into_iter()).is_empty());
            assert_eq!(annotations.take(start, 0, start + 1), 1);
        }
        assert_eq!(annotations.len(), "#REPL-OFFSET:1100\r\n".len());
        assert!(!annotations.owes());
        let written: Vec<u8> = annotations
            .merge(1000, [&b"call"[..]].into_iter())
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        assert_eq!(written, b"#REPL-OFFSET:1100\r\ncall");
        assert_eq!(annotations.take(1000, written.len() as u64, 1004), 4);
        assert!(!annotations.ends_with_offset() && annotations.len() == 0);
    }
}
