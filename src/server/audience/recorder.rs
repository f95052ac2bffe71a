//! `DEBUG JOURNAL`: keeps what units have changed and what they would have propagated, for tests.

use super::Framing;
use crate::db::{Change, Journal};
use crate::resp::Reply;

/// What was heard since it was last taken.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Database, event, key.
    events: Vec<(usize, &'static str, Vec<u8>)>,
    /// Database and words.
    calls: Vec<(usize, Vec<Vec<u8>>)>,
}

impl Recorder {
    /// Keeps what a unit has left in the journal.
    pub fn hear(&mut self, journal: &Journal, framing: Framing) {
        for change in journal.changes() {
            if let Change::Key { key, event } = change
                && !event.name().is_empty()
            {
                self.events.push((key.db, event.name(), key.name.to_vec()));
            }
        }
        let framed = framing == Framing::Together && journal.calls().len() > 1;
        let mut last_db = 0;
        for (index, (db, words)) in journal.calls().iter().enumerate() {
            if framed && index == 0 {
                self.calls.push((db, vec![b"MULTI".to_vec()]));
            }
            self.calls.push((db, words.iter().map(|word| word.as_slice().to_vec()).collect()));
            last_db = db;
        }
        if framed {
            self.calls.push((last_db, vec![b"EXEC".to_vec()]));
        }
    }

    /// Replies with two arrays, events and calls, and forgets both.
    pub fn take(&mut self, reply: &mut Reply<'_>) {
        let Recorder { events, calls } = std::mem::take(self);
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
