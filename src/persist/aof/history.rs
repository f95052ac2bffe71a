//! The place of a log in the stream to replicas: annotations with the replication ID and the offset, and their count.
//!
//! ```text
//!  #REPL:<id>:<offset>       here the stream of this ID is at this offset
//!  #REPL-OFFSET:<offset>     here it is at this offset: the log leaves out the bytes before it (PING, PUBLISH, …)
//!  #REPL-SKIP:<bytes>        the next commands, of so many bytes, are not in the stream
//!  #REPL-END                 the commands from here on are not in the stream
//! ```
//!
//! All other commands after a `#REPL` line have the same bytes in the log and in the stream. So the offset at the end of
//! a log is the last annotated one plus the bytes of the commands after it. A line stands before the first command that
//! it concerns: a log that ends too early has the offset of its last whole command.
//!
//! Redis skips these lines. A server that ends in order writes `#REPL-END`: what another program appends afterwards is
//! not part of the stream. A line that is not one of these makes the place unknown, until the next one with an ID.

use std::fmt;

/// The bytes that begin all these lines.
pub(super) const PREFIX: &[u8] = b"#REPL";

/// The bytes of a replication ID.
const ID_LEN: usize = 40;

/// A line, for its writer.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// The ID and the offset.
    Place(&'a str, i64),
    /// The offset.
    Offset(i64),
    /// The bytes of commands that are not in the stream.
    Skip(u64),
    /// No further command is in the stream.
    End,
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Place(id, offset) => write!(f, "#REPL:{id}:{offset}\r\n"),
            Note::Offset(offset) => write!(f, "#REPL-OFFSET:{offset}\r\n"),
            Note::Skip(bytes) => write!(f, "#REPL-SKIP:{bytes}\r\n"),
            Note::End => write!(f, "#REPL-END\r\n"),
        }
    }
}

/// A place in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The replication ID.
    pub id: [u8; ID_LEN],
    /// The offset, which is not negative.
    pub offset: i64,
}

/// Counts the offset while a log is read. O(1) per line and command.
#[derive(Default)]
pub struct Tally {
    now: State,
    /// The state at the end of the last whole unit.
    whole: State,
}

#[derive(Clone, Copy, Default)]
struct State {
    place: Option<Place>,
    /// The bytes of further commands that are not in the stream.
    skip: u64,
    has_ended: bool,
}

impl Tally {
    /// Takes an annotation, with its line end. Others than those of this module have no effect.
    pub fn note(&mut self, line: &[u8]) {
        if let Some(rest) = line.strip_prefix(PREFIX) {
            self.now = rest.strip_suffix(b"\r\n").and_then(|rest| self.now.after(rest)).unwrap_or_default();
        }
    }

    /// Takes a command of `bytes` bytes.
    pub fn count(&mut self, bytes: u64) {
        self.now.count(bytes);
    }

    /// Declares that no transaction is open after the lines and commands so far.
    pub fn end_unit(&mut self) {
        self.whole = self.now;
    }

    /// The place at the end of the last whole unit, if it is known.
    pub fn place(&self) -> Option<Place> {
        self.whole.place
    }
}

impl State {
    /// The state after a line, without [`PREFIX`] and line end; `None` if it is not a valid one.
    fn after(self, line: &[u8]) -> Option<State> {
        if line == b"-END" {
            return Some(State { has_ended: true, ..self });
        }
        if let Some(offset) = line.strip_prefix(b"-OFFSET:") {
            let (offset, place) = (number(offset)?, self.place?);
            let is_valid = offset >= place.offset && self.skip == 0 && !self.has_ended;
            return is_valid.then_some(State { place: Some(Place { offset, ..place }), ..self });
        }
        if let Some(bytes) = line.strip_prefix(b"-SKIP:") {
            let skip = u64::try_from(number(bytes)?).ok()?;
            return (self.skip == 0 && !self.has_ended).then_some(State { skip, ..self });
        }
        let (id, offset) = line.strip_prefix(b":")?.split_first_chunk::<ID_LEN>()?;
        let offset = number(offset.strip_prefix(b":")?)?;
        let is_id = id.iter().all(u8::is_ascii_alphanumeric);
        is_id.then_some(State { place: Some(Place { id: *id, offset }), skip: 0, has_ended: false })
    }

    fn count(&mut self, bytes: u64) {
        let Some(place) = &mut self.place else { return };
        let skipped = self.skip.min(bytes);
        self.skip -= skipped;
        let offset = i64::try_from(bytes - skipped).ok().and_then(|more| place.offset.checked_add(more));
        // The lines stand between commands, so none is skipped in part.
        let is_counted = !self.has_ended && (skipped == 0 || skipped == bytes);
        match offset.filter(|_| is_counted) {
            Some(offset) => place.offset = offset,
            None => *self = State::default(),
        }
    }
}

/// The number that consists of these digits.
fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    enum Part<'a> {
        Line(&'a str),
        Command(u64),
    }
    use Part::{Command, Line};

    fn offset_after(parts: &[Part<'_>]) -> Option<i64> {
        let mut tally = Tally::default();
        for part in parts {
            match part {
                Line(line) => tally.note(line.as_bytes()),
                Command(bytes) => tally.count(*bytes),
            }
        }
        assert_eq!(tally.place(), None, "no unit has ended");
        tally.end_unit();
        let place = tally.place()?;
        assert_eq!(&place.id, ID.as_bytes());
        Some(place.offset)
    }

    #[test]
    fn the_offset_is_the_annotated_one_and_the_bytes_of_the_commands_after_it() {
        let begin = Note::Place(ID, 100).to_string();
        assert_eq!(begin, format!("#REPL:{ID}:100\r\n"));
        let begin = || Line(&begin);
        assert_eq!(offset_after(&[Command(7)]), None, "an older log");
        assert_eq!(offset_after(&[Command(7), begin()]), Some(100));
        assert_eq!(offset_after(&[begin(), Command(7), Line("#TS:5\r\n"), Command(2)]), Some(109));
        let offset = Note::Offset(150).to_string();
        assert_eq!(offset_after(&[begin(), Command(7), Line(&offset), Command(2)]), Some(152));
        let skip = Note::Skip(9).to_string();
        assert_eq!(offset_after(&[begin(), Line(&skip), Command(4), Command(5), Command(1)]), Some(101));
        assert_eq!(offset_after(&[begin(), Line(&skip), begin(), Command(1)]), Some(101));
        let end = Note::End.to_string();
        assert_eq!(offset_after(&[begin(), Command(7), Line(&end)]), Some(107));
        assert_eq!(offset_after(&[begin(), Line(&end), Command(7)]), None, "another server has written");
        assert_eq!(offset_after(&[begin(), Line(&end), Command(7), begin(), Command(1)]), Some(101));
    }

    #[test]
    fn an_open_transaction_does_not_count() {
        let mut tally = Tally::default();
        tally.note(Note::Place(ID, 0).to_string().as_bytes());
        tally.count(10);
        tally.end_unit();
        tally.count(15);
        tally.note(b"#REPL-OFFSET:1000\r\n");
        tally.note(b"#REPL-END\r\n");
        assert_eq!(tally.place().map(|place| place.offset), Some(10));
        tally.end_unit();
        assert_eq!(tally.place().map(|place| place.offset), Some(1000));
    }

    #[test]
    fn a_line_that_is_not_valid_makes_the_place_unknown() {
        let begin = format!("#REPL:{ID}:100\r\n");
        let with_id = |id: &str, rest: &str| format!("#REPL:{id}{rest}\r\n");
        let lines = [
            "#REPL\r\n".to_owned(),
            with_id("", ""),
            with_id(ID, ""),
            with_id(ID, ":"),
            with_id(ID, ":-1"),
            with_id(ID, ":+1"),
            with_id(ID, ":1 "),
            with_id(ID, ":9223372036854775808"),
            with_id(ID, &format!(":{}", "9".repeat(900))),
            with_id(&ID[1..], ":1"),
            with_id(&ID.replace('a', "\0"), ":1"),
            with_id(&ID.replace("ab", "é"), ":1"),
            format!("#REPL:{ID}:1\n"),
            "#REPL-OFFSET:99\r\n".to_owned(),
            "#REPL-OFFSET:-5\r\n".to_owned(),
            "#REPL-OFFSET:1e5\r\n".to_owned(),
            "#REPL-OFFSET:\r\n".to_owned(),
            "#REPL-SKIP:-1\r\n".to_owned(),
            "#REPL-SKIP:99999999999999999999\r\n".to_owned(),
            "#REPL-STOP\r\n".to_owned(),
        ];
        for line in lines {
            assert_eq!(offset_after(&[Line(&begin), Line(&line), Command(1)]), None, "{line:?}");
        }
        let partly = [Line(&begin), Line("#REPL-SKIP:5\r\n"), Command(6)];
        assert_eq!(offset_after(&partly), None, "a part of a command");
        let largest = format!("#REPL:{ID}:{}\r\n", i64::MAX);
        assert_eq!(offset_after(&[Line(&largest), Command(1)]), None, "no offset follows");
        assert_eq!(offset_after(&[Line(&begin), Command(u64::MAX)]), None);
    }
}
