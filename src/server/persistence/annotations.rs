//! The differences between log and stream: the log also has times (`aof-timestamp-enabled`) and calls that are not for
//! replicas, and lacks calls that are only for them.
//!
//! A time is a line before the first call of each second with calls. The stream does not contain it, so the log keeps
//! it, with its offset, until it has been written to disk. A call for the log alone is kept in the same way, and is also
//! written if no other call follows it. The log also keeps the positions of requests to leave out
//! (`PING`, `REPLCONF GETACK`).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::db::ForLog;

/// See the module's head.
#[derive(Default)]
pub struct Annotations {
    /// The second of the latest time.
    second: i64,
    /// The differences that have not been written, in the order of their offsets.
    pending: VecDeque<Edit>,
    /// The number of calls in `pending`.
    calls: usize,
}

/// A difference between log and stream.
struct Edit {
    /// Its offset in the stream.
    at: u64,
    /// The additional bytes of the log that have not been written yet.
    line: Vec<u8>,
    /// The number of bytes of the stream to leave out after them.
    left_out: u64,
    /// Whether the additional bytes are calls, which are written even if nothing follows them.
    is_call: bool,
}

impl Annotations {
    /// Records that the calls from offset `at` on were made at `second` (Unix time).
    pub fn annotate(&mut self, at: u64, second: i64) {
        if second != self.second {
            self.second = second;
            self.add(at..at, format!("#TS:{second}\r\n").into_bytes(), false);
        }
    }

    /// Inserts `line` before the call at offset `at`.
    pub fn insert(&mut self, at: u64, line: Vec<u8>) {
        self.add(at..at, line, false);
    }

    /// Adds a difference that the stream has recorded.
    pub fn differ(&mut self, difference: ForLog) {
        match difference {
            ForLog::LeftOut(range) => self.add(range, Vec::new(), false),
            ForLog::Inserted(at, calls) => self.add(at..at, calls, true),
        }
    }

    fn add(&mut self, range: Range<u64>, line: Vec<u8>, is_call: bool) {
        self.calls += usize::from(is_call);
        let edit = Edit { at: range.start, line, left_out: range.end - range.start, is_call };
        assert!(self.pending.back().is_none_or(|last| last.at + last.left_out <= edit.at), "in order");
        self.pending.push_back(edit);
    }

    /// Whether there are calls that have not been written.
    pub fn has_calls(&self) -> bool {
        self.calls > 0
    }

    /// The number of additional bytes that have not been written.
    pub fn len(&self) -> usize {
        self.pending.iter().map(|edit| edit.line.len()).sum()
    }

    /// Removes the differences that have not been written.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.calls = 0;
    }

    /// Returns the bytes to write: `pieces` of the stream from offset `at` on, with the insertions and without the
    /// bytes to leave out.
    pub fn merge<'a>(&'a self, at: u64, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<IoSlice<'a>> {
        let mut merged = Vec::with_capacity(8);
        let mut pending = self.pending.iter().peekable();
        let (mut at, mut skipped, mut calls) = (at, 0, self.calls);
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
                calls -= usize::from(edit.is_call);
                (piece, at, skipped) = (after, edit.at, edit.left_out);
            }
            push(piece);
            at += piece.len() as u64;
        }
        while calls > 0
            && let Some(edit) = pending.next()
        {
            push(&edit.line);
            calls -= usize::from(edit.is_call);
        }
        merged
    }

    /// Records that the first `taken` bytes of [`Annotations::merge`] at offset `at`, which ended at the offset `end`,
    /// were written. Returns the number of bytes of the stream that this completes.
    pub fn take(&mut self, at: u64, taken: u64, end: u64) -> u64 {
        let (mut place, mut left) = (at, taken);
        let calls = &mut self.calls;
        while let Some(edit) = self.pending.front_mut().filter(|edit| edit.at < end || *calls > 0) {
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
            *calls -= usize::from(edit.is_call);
            self.pending.pop_front();
        }
        place + left - at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (mut at, mut written) = (0, Vec::new());
            while at < stream.len() as u64 {
                let pieces = stream[at as usize..].chunks(8);
                let merged: Vec<u8> =
                    annotations.merge(at, pieces).iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(merged.len());
                written.extend_from_slice(&merged[..taken]);
                at += annotations.take(at, taken as u64, stream.len() as u64);
            }
            assert_eq!(written, whole, "{step} bytes at a time");
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
                annotations.differ(ForLog::LeftOut(0..4));
                annotations.annotate(20, 6);
                annotations.differ(ForLog::LeftOut(30..50));
                annotations.differ(ForLog::LeftOut(55..60));
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
            annotations.differ(ForLog::Inserted(0, b"one".to_vec()));
            annotations.differ(ForLog::Inserted(20, b"two".to_vec()));
            annotations.differ(ForLog::LeftOut(20..40));
            annotations.annotate(60, 5);
            annotations.differ(ForLog::Inserted(60, b"three".to_vec()));
            annotations.differ(ForLog::Inserted(60, b"four".to_vec()));
            annotations.annotate(60, 6);
            let (mut at, mut written) = (0, Vec::new());
            while at < stream.len() as u64 || annotations.has_calls() {
                let pieces = stream[at as usize..].chunks(8);
                let merged: Vec<u8> =
                    annotations.merge(at, pieces).iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(merged.len());
                written.extend_from_slice(&merged[..taken]);
                at += annotations.take(at, taken as u64, stream.len() as u64);
            }
            assert_eq!(written, whole, "{step} bytes at a time");
            assert_eq!(annotations.len(), 7, "the last time waits for a call");
        }
    }
}
