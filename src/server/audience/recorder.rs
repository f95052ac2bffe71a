//! `DEBUG JOURNAL`: records the changes of units and the calls they propagate, for tests.

use crate::command::Places;
use crate::db::{Change, Cursor, Journal, Stream};
use crate::resp::{self, Limits, Parsed, Partial, Reply};
use crate::text::number;

/// The changes and calls since they were last taken. It is a reader of the stream.
#[derive(Debug)]
pub struct Recorder {
    reader: Cursor,
    /// Database, event, key.
    events: Vec<(usize, &'static str, Vec<u8>)>,
    /// Database and arguments.
    calls: Vec<(usize, Vec<Vec<u8>>)>,
    /// The database that the stream of calls has selected.
    selected: usize,
}

impl Recorder {
    /// Starts recording.
    pub fn begin(stream: &mut Stream) -> Recorder {
        Recorder { reader: stream.begin_reader(), events: Vec::new(), calls: Vec::new(), selected: 0 }
    }

    /// Stops recording.
    pub fn end(self, stream: &mut Stream) {
        stream.end_reader(self.reader);
    }

    /// Records the changes and calls of a unit.
    pub fn observe(&mut self, journal: &mut Journal) {
        for change in journal.changes() {
            if let Change::Key { key, event } = change
                && !event.name().is_empty()
            {
                self.events.push((key.db, event.name(), key.name.to_vec()));
            }
        }
        let stream = journal.stream_mut();
        let calls: Vec<u8> = stream.pieces(&self.reader).flatten().copied().collect();
        stream.advance(&mut self.reader, calls.len() as u64);
        self.keep_calls(&calls);
    }

    /// Records the calls of a stream, each with its database; `MULTI` has that of the call after it.
    fn keep_calls(&mut self, stream: &[u8]) {
        let limits = Limits { max_bulk: usize::MAX, ..Limits::default() };
        let (mut at, mut spans) = (0, Vec::new());
        let mut unselected = self.calls.len();
        while let Ok(Parsed::Whole { end }) =
            resp::parse(stream, at, &mut Partial::default(), &limits, &mut spans)
        {
            at = end;
            let words: Vec<_> = (0..spans.len())
                .map(|i| Places { window: stream, spans: &spans, blocks: &[] }.args().get(i).to_vec())
                .collect();
            spans.clear();
            if words[0] == b"SELECT" {
                self.selected = number::parse_u64(&words[1]).map_or(0, |db| db as usize);
                self.calls[unselected..].iter_mut().for_each(|(db, _)| *db = self.selected);
            } else {
                if words[0] != b"MULTI" {
                    unselected = self.calls.len() + 1;
                }
                self.calls.push((self.selected, words));
            }
        }
    }

    /// Replies with two arrays, events and calls, and clears both.
    pub fn take(&mut self, reply: &mut Reply<'_>) {
        let (events, calls) = (std::mem::take(&mut self.events), std::mem::take(&mut self.calls));
        reply.array(2);
        reply.array(events.len());
        for (db, event, key) in events {
            reply.array(3);
            reply.integer(db as i64);
            reply.bulk(event.as_bytes());
            reply.bulk(&key);
        }
        reply.array(calls.len());
        for (db, words) in calls {
            reply.array(1 + words.len());
            reply.integer(db as i64);
            for word in &words {
                reply.bulk(word);
            }
        }
    }
}
