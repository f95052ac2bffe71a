//! What is known of snapshots: when the data was last saved, how that went, and whether it is due again.

use std::time::Duration;

use crate::config::SaveRule;

/// After a failure the next try waits this long.
const RETRY_SECONDS: i64 = 5;

/// See the module's head. Times are Unix seconds.
#[derive(Debug)]
pub struct Snapshots {
    /// When the data was last saved, or loaded; what has never been saved counts from the start.
    pub last_save: i64,
    /// When a background save was last begun.
    pub last_try: i64,
    /// Whether the last background save worked.
    pub succeeded: bool,
    /// How long the last one took.
    pub last_duration: Option<Duration>,
    /// Bytes that were copied because parent or child wrote to them while the last one ran.
    pub last_cow_bytes: u64,
    /// `SAVE`s and background saves since the start, as far as they began.
    pub saves: u64,
    /// `BGSAVE SCHEDULE` waits for another child to end.
    pub scheduled: bool,
    /// Keys of the snapshot that was loaded last, and those that were not loaded because they had expired.
    pub loaded_keys: u64,
    /// See [`Snapshots::loaded_keys`].
    pub expired_keys: u64,
}

impl Snapshots {
    /// Of a server that starts at `now`.
    pub fn new(now: i64) -> Snapshots {
        Snapshots {
            last_save: now,
            last_try: 0,
            succeeded: true,
            last_duration: None,
            last_cow_bytes: 0,
            saves: 0,
            scheduled: false,
            loaded_keys: 0,
            expired_keys: 0,
        }
    }

    /// The `save` rule by which a snapshot is due at `now`, after `changes` since the last one.
    pub fn due<'a>(&self, rules: &'a [SaveRule], changes: u64, now: i64) -> Option<&'a SaveRule> {
        let waited = now - self.last_save;
        let due = |rule: &&SaveRule| changes >= u64::from(rule.changes) && waited > rule.seconds as i64;
        rules.iter().find(due).filter(|_| self.may_retry(now))
    }

    /// Whether a save that was requested for later may be tried at `now`.
    pub fn may_retry(&self, now: i64) -> bool {
        self.succeeded || now - self.last_try > RETRY_SECONDS
    }

    /// The data was saved at `now`.
    pub fn saved(&mut self, now: i64) {
        self.last_save = now;
        self.succeeded = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_after_enough_changes_and_enough_time() {
        let rules = [SaveRule { seconds: 60, changes: 100 }, SaveRule { seconds: 10, changes: 1000 }];
        let mut snapshots = Snapshots::new(1000);
        assert_eq!(snapshots.due(&rules, 5000, 1010), None, "the time is not over yet");
        assert_eq!(snapshots.due(&rules, 1000, 1011).map(|rule| rule.seconds), Some(10));
        assert_eq!(snapshots.due(&rules, 999, 1011), None);
        assert_eq!(snapshots.due(&rules, 999, 1061).map(|rule| rule.seconds), Some(60));
        snapshots.saved(1061);
        assert_eq!(snapshots.due(&rules, 5000, 1071), None);
        (snapshots.succeeded, snapshots.last_try) = (false, 1080);
        assert_eq!(snapshots.due(&rules, 5000, 1085), None, "after a failure it waits");
        assert!(snapshots.due(&rules, 5000, 1086).is_some());
    }
}
