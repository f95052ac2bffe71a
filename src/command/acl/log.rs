//! The log of denied calls and logins (`ACL LOG`), newest first.
//!
//! A denial like one of the ten newest entries is counted there, if that is not older than a minute, so that a client
//! that repeats itself does not push other entries out.

use std::collections::VecDeque;

use super::Reason;

/// The number of newest entries that a denial is compared with.
const COMPARED: usize = 10;

/// An entry counts further denials for this long after its last one.
const GROUPED_MS: u64 = 60_000;

/// Where a denied call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A request of a client.
    Toplevel,
    /// A request of a transaction: when it was queued, or by EXEC.
    Multi,
    /// A script or function.
    Script,
}

/// What was denied, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// Where it came from.
    pub place: Place,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user's name; for a login the given one.
    pub user: Vec<u8>,
}

/// An entry: a denial, and how often it occurred.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was denied.
    pub denied: Denied,
    /// The number of times.
    pub count: u64,
    /// The unix time of the first time in milliseconds.
    pub created_ms: u64,
    /// The unix time of the last time in milliseconds.
    pub updated_ms: u64,
    /// The line of `CLIENT LIST` of the client at the last time.
    pub client: Vec<u8>,
    /// Counts up from 0.
    pub id: u64,
}

/// The log.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
    /// The number of denials for each [`Reason`] since the start.
    counts: [u64; 4],
}

impl Log {
    /// The number of denials for this reason since the start.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// Counts a denial and adds it to the log. If a new entry makes the log longer than `most` entries,
    /// removes the oldest ones.
    pub fn add(&mut self, denied: Denied, client: Vec<u8>, now_ms: u64, most: usize) {
        self.counts[denied.reason as usize] += 1;
        let is_alike =
            |entry: &Entry| entry.denied == denied && now_ms.saturating_sub(entry.updated_ms) <= GROUPED_MS;
        let alike = self.entries.iter().take(COMPARED).position(is_alike);
        if let Some(entry) = alike.and_then(|at| self.entries.remove(at)) {
            let count = entry.count + 1;
            self.entries.push_front(Entry { count, updated_ms: now_ms, client, ..entry });
        } else {
            let (created_ms, updated_ms, id) = (now_ms, now_ms, self.next_id);
            self.next_id += 1;
            self.entries.push_front(Entry { denied, count: 1, created_ms, updated_ms, client, id });
            self.entries.truncate(most);
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The entries, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(object: &str) -> Denied {
        let (reason, place) = (Reason::Key, Place::Toplevel);
        Denied { reason, place, object: object.into(), user: b"bob".to_vec() }
    }

    fn shape(log: &Log) -> Vec<(&str, u64, u64)> {
        let object = |entry: &Entry| std::str::from_utf8(&entry.denied.object).unwrap().to_owned();
        log.entries().map(|entry| (object(entry).leak() as &str, entry.count, entry.id)).collect()
    }

    #[test]
    fn a_denial_like_a_recent_one_is_counted_there_and_becomes_the_newest() {
        let mut log = Log::default();
        for (object, now) in [("a", 0), ("b", 1), ("a", 60_000), ("a", 120_001), ("b", 120_002)] {
            log.add(denied(object), Vec::new(), now, 128);
        }
        assert_eq!(shape(&log), [("b", 1, 3), ("a", 1, 2), ("a", 2, 0), ("b", 1, 1)]);
        let first = log.entries().nth(2).unwrap();
        assert_eq!((first.created_ms, first.updated_ms), (0, 60_000));
    }

    #[test]
    fn only_the_ten_newest_entries_are_compared() {
        let mut log = Log::default();
        log.add(denied("first"), Vec::new(), 0, 128);
        for object in 0..10 {
            log.add(denied(&object.to_string()), Vec::new(), 1, 128);
        }
        log.add(denied("first"), Vec::new(), 2, 128);
        log.add(denied("1"), Vec::new(), 2, 128);
        assert_eq!(log.entries().len(), 12);
        assert_eq!(shape(&log)[..2], [("1", 2, 2), ("first", 1, 11)]);
    }

    #[test]
    fn the_oldest_entries_leave_when_there_are_too_many() {
        let mut log = Log::default();
        for object in ["a", "b", "c"] {
            log.add(denied(object), Vec::new(), 0, 2);
        }
        assert_eq!(shape(&log), [("c", 1, 2), ("b", 1, 1)]);
        log.add(denied("d"), Vec::new(), 0, 0);
        assert_eq!((log.entries().len(), log.count(Reason::Key), log.count(Reason::Auth)), (0, 4, 0));
    }
}
