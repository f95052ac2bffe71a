//! The state of snapshots: when the data was last saved, with what result, when the next save is due, and which file it
//! will replace.
//!
//! The file at the snapshot's path may hold data that this process has neither loaded nor written: the log was loaded
//! instead, `dir` was changed, or a backup was copied there. If a save is about to replace such a file with one that has
//! less than a tenth of its keys or bytes, the old file is kept under another name. This happens once per process. A file
//! counts as not loaded if most of its keys had expired by then: the clock may have been wrong.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::SaveRule;
use crate::persist::rdb::file as rdb;
use crate::sys::file::{self, Identity};

/// The delay before the next attempt after a failure.
const RETRY_SECONDS: i64 = 5;

/// A snapshot is kept if it has more than this many times the keys or bytes of the new one.
const SHRINKS: u64 = 10;

/// A file that this process has loaded or written.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The file's identity at that time.
    pub identity: Identity,
    /// How many keys it contains.
    pub keys: u64,
    /// How many of them had not expired when it was loaded.
    pub loaded: u64,
    /// The version of its format.
    pub version: u16,
}

/// A snapshot that was kept under another name when a new one replaced it.
#[derive(Debug)]
pub struct Kept {
    /// Its new path.
    pub path: PathBuf,
    /// How many keys it contains, or its first database according to the header; `None` if that is unknown.
    pub keys: Option<u64>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// See the module's head. Times are Unix seconds.
#[derive(Debug)]
pub struct Snapshots {
    /// When the data was last saved or loaded; before the first save, when the server started.
    pub last_save: i64,
    /// When the last background save began.
    pub last_try: i64,
    /// Whether the last background save succeeded.
    pub succeeded: bool,
    /// How long the last one took.
    pub last_duration: Option<Duration>,
    /// Bytes that were copied because parent or child wrote to them while the last one ran.
    pub last_cow_bytes: u64,
    /// The number of `SAVE`s and background saves that began since the start.
    pub saves: u64,
    /// Whether `BGSAVE SCHEDULE` waits for another child to exit.
    pub scheduled: bool,
    /// The keys of the snapshot loaded last, and those not loaded because they had expired.
    pub loaded_keys: u64,
    /// See [`Snapshots::loaded_keys`].
    pub expired_keys: u64,
    /// The file that was loaded or written last.
    pub known: Option<Known>,
    /// Whether this process has kept a snapshot that it had not loaded.
    pub has_kept: bool,
    /// The file that was written last, if only replicas requested it (`rdb-del-sync-files`).
    pub for_replicas: Option<PathBuf>,
}

impl Snapshots {
    /// Creates the state for a server that starts at `now`.
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
            known: None,
            has_kept: false,
            for_replicas: None,
        }
    }

    /// The last file loaded or written, if it is the one at `target`, unchanged.
    pub fn knows(&self, target: &Path) -> Option<&Known> {
        let found = Identity::of(&fs::metadata(target).ok()?);
        self.known.as_ref().filter(|known| known.identity == found)
    }

    /// Records that `keys` keys were written to the file at `target`, in this version of the format.
    pub fn wrote(&mut self, target: &Path, keys: u64, version: u16) {
        let found = fs::metadata(target);
        self.known =
            found.ok().map(|found| Known { identity: Identity::of(&found), keys, loaded: keys, version });
    }

    /// Gives the file at `target` a second name if it must be kept when `new`, with `keys` keys, replaces it: see the
    /// head of the module.
    ///
    /// # Errors
    /// Fails if the file can neither be linked nor renamed.
    pub fn keep_replaced(&self, target: &Path, new: &Path, keys: u64) -> io::Result<Option<Kept>> {
        let Ok((old, bytes)) = file::open_regular(target) else { return Ok(None) };
        let identity = Identity::of(&old.metadata()?);
        let known = self.known.filter(|known| known.identity == identity);
        if self.has_kept || known.is_some_and(|known| known.keys <= known.loaded.saturating_mul(SHRINKS)) {
            return Ok(None);
        }
        let holds = known.map(|known| known.keys).or_else(|| rdb::announced_keys(old, bytes));
        let loses_keys = holds.is_some_and(|holds| holds > keys.saturating_mul(SHRINKS));
        let loses_bytes = known.is_none() && bytes > fs::metadata(new)?.len().saturating_mul(SHRINKS);
        if !loses_keys && !loses_bytes {
            return Ok(None);
        }
        let path = second_name(target, &identity)?;
        Ok(Some(Kept { path, keys: holds, bytes }))
    }

    /// Returns the `save` rule by which a snapshot is due at `now`, after `changes` since the last one.
    pub fn due<'a>(&self, rules: &'a [SaveRule], changes: u64, now: i64) -> Option<&'a SaveRule> {
        let waited = now - self.last_save;
        let due = |rule: &&SaveRule| changes >= u64::from(rule.changes) && waited > rule.seconds as i64;
        rules.iter().find(due).filter(|_| self.may_retry(now))
    }

    /// Whether a save that was requested for later may be tried at `now`.
    pub fn may_retry(&self, now: i64) -> bool {
        self.succeeded || now - self.last_try > RETRY_SECONDS
    }

    /// Records that the data was saved at `now`.
    pub fn saved(&mut self, now: i64) {
        self.last_save = now;
        self.succeeded = true;
    }
}

/// Gives the file at `target` a second name with the time at which it was written. Renames it if the file system has no
/// hard links.
fn second_name(target: &Path, identity: &Identity) -> io::Result<PathBuf> {
    for attempt in 0.. {
        let mut name = OsString::from(target);
        name.push(format!(".kept-{}", identity.modified_at()));
        if attempt > 0 {
            name.push(format!(".{attempt}"));
        }
        let path = PathBuf::from(name);
        let there = fs::metadata(&path).map(|found| Identity::of(&found));
        match there {
            // An earlier attempt to replace the file has failed after linking it.
            Ok(there) if there == *identity => return Ok(path),
            Ok(_) => {}
            Err(_) => {
                // Some file systems have no hard links.
                fs::hard_link(target, &path).or_else(|_| fs::rename(target, &path))?;
                return Ok(path);
            }
        }
    }
    unreachable!("there are more names than files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_name_is_nobody_elses() {
        let directory = std::env::temp_dir().join(format!("redstart-kept-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let target = directory.join("dump.rdb");
        fs::write(&target, "one").unwrap();
        let identity = Identity::of(&fs::metadata(&target).unwrap());
        let name = format!("dump.rdb.kept-{}", identity.modified_at());
        fs::write(directory.join(&name), "another of the same second").unwrap();
        let path = second_name(&target, &identity).unwrap();
        assert_eq!(path, directory.join(format!("{name}.1")));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(second_name(&target, &identity).unwrap(), path, "it has one already");
        fs::remove_dir_all(&directory).unwrap();
    }

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
