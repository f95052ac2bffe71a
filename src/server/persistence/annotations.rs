//! The times in the log (`aof-timestamp-enabled`): a line before the first call of each second that has one.
//!
//! The stream does not contain them, since they are for the log alone. So the log keeps each one, with the offset at which
//! it is to stand, until the disk has taken it.

use std::collections::VecDeque;
use std::io::IoSlice;

/// See the module's head.
#[derive(Default)]
pub struct Annotations {
    /// The second of the latest one.
    second: i64,
    /// Those that the disk has not taken: the offset of the call after each, and the rest of its bytes.
    pending: VecDeque<(u64, Vec<u8>)>,
}

impl Annotations {
    /// The calls from offset `at` on were made at `second` (Unix time).
    pub fn annotate(&mut self, at: u64, second: i64) {
        if second != self.second {
            self.second = second;
            self.pending.push_back((at, format!("#TS:{second}\r\n").into_bytes()));
        }
    }

    /// How many bytes the disk has not taken.
    pub fn len(&self) -> usize {
        self.pending.iter().map(|(_, line)| line.len()).sum()
    }

    /// Forgets those that the disk has not taken.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// What is to be written: `pieces` of the stream from offset `at` on, and the annotations in their places.
    pub fn merge<'a>(&'a self, at: u64, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<IoSlice<'a>> {
        let mut merged = Vec::with_capacity(8);
        let mut pending = self.pending.iter().peekable();
        let mut at = at;
        for mut piece in pieces {
            while let Some((place, line)) = pending.next_if(|(place, _)| *place < at + piece.len() as u64) {
                let (before, after) = piece.split_at((*place - at) as usize);
                merged.extend([before, line].into_iter().filter(|part| !part.is_empty()).map(IoSlice::new));
                (piece, at) = (after, *place);
            }
            merged.push(IoSlice::new(piece));
            at += piece.len() as u64;
        }
        merged
    }

    /// The disk has taken the first `taken` bytes of [`Annotations::merge`] at offset `at`. Returns how many of them belong
    /// to the stream.
    pub fn take(&mut self, at: u64, taken: u64) -> u64 {
        let (mut end, mut left) = (at, taken);
        while let Some((place, line)) = self.pending.front_mut() {
            let before = left.min(*place - end);
            (end, left) = (end + before, left - before);
            if end < *place {
                break;
            }
            let of_line = line.len().min(left as usize);
            line.drain(..of_line);
            left -= of_line as u64;
            if !line.is_empty() {
                break;
            }
            self.pending.pop_front();
        }
        end + left - at
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
        // The disk takes `step` bytes at a time.
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
                at += annotations.take(at, taken as u64);
            }
            assert_eq!(written, whole, "{step} bytes at a time");
            assert_eq!(annotations.len(), 0);
        }
    }
}
