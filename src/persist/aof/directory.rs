//! The directory of the log (`appenddirname`), and what is done to it as a whole.
//!
//! ```text
//!  persist    temp-NAME.manifest: write, fsync ─▶ fsync the directory ─▶ rename to NAME.manifest ─▶ fsync the directory
//! ```
//!
//! The first fsync of the directory makes the files durable that the new manifest names; the second makes the manifest
//! itself durable. After a crash at any point there is the old manifest or the new one, and all that it names. Each fsync
//! is a pause for the clients of the server, so a manifest that only forgets files does without those of the directory:
//! it names nothing new, and the old manifest does as well.
//!
//! While the log is switched on in a running server, Redis collects commands in `temp-NAME.incr`, which no manifest names
//! until the first rewrite is done: that log has no base yet. This is done here too: see
//! [`Directory::temporary_incremental`].

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest, ManifestError, Part};
use crate::sys::file;

/// Where the log is, and what its files are called.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The server's own directory (`dir`).
    home: PathBuf,
    path: PathBuf,
    /// `appendfilename`.
    file: Vec<u8>,
}

/// What could not be done, to which file, and why.
#[derive(Debug)]
pub enum DirectoryError {
    /// The system refused.
    Io {
        /// What was tried, as in `can't open`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The manifest is not one.
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ManifestError,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Io { what, path, error } => {
                write!(f, "{what} {}: {}", path.display(), file::reason(error))
            }
            DirectoryError::Manifest { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DirectoryError {}

type Result<T> = std::result::Result<T, DirectoryError>;

/// Names operation and file in an error.
trait Doing<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| DirectoryError::Io { what, path: path.to_path_buf(), error })
    }
}

impl Directory {
    /// The directory `name` (`appenddirname`) in `home` (`dir`), for the log `file` (`appendfilename`). Touches nothing.
    pub fn new(home: &Path, name: &[u8], file: &[u8]) -> Directory {
        let home = if home.as_os_str().is_empty() { Path::new(".") } else { home };
        Directory { home: home.to_path_buf(), path: manifest::join(home, name), file: file.to_vec() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the log (`appendfilename`), of which all others are made.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// Where a file of the log is.
    pub fn part(&self, part: &Part) -> PathBuf {
        part.path(&self.path)
    }

    /// `manifest` with a new base, as [`Manifest::with_new_base`] makes it. If `manifest` is empty, the new name skips
    /// existing files that are not empty: they belong to a log whose manifest was lost.
    pub fn with_new_base(&self, manifest: &Manifest, is_rdb: bool, keeps_last: bool) -> Manifest {
        let mut before = manifest.clone();
        loop {
            let new = before.with_new_base(&self.file, is_rdb, keeps_last);
            let both = [true, false].map(|is_rdb| before.with_new_base(&self.file, is_rdb, false).base);
            if !manifest.is_empty() || !both.iter().flatten().any(|base| self.has_content(base)) {
                return new;
            }
            before = before.without_next_base();
        }
    }

    /// `manifest` with a new incremental file. Its name skips existing files that are not empty, since the log is appended
    /// to it.
    pub fn with_new_incremental(&self, manifest: &Manifest) -> Manifest {
        let mut before = manifest.clone();
        loop {
            let new = before.with_new_incremental(&self.file);
            if !new.last_incremental().is_some_and(|part| self.has_content(part)) {
                return new;
            }
            before = before.without_next_incremental();
        }
    }

    fn has_content(&self, part: &Part) -> bool {
        fs::metadata(self.part(part)).is_ok_and(|found| !found.is_file() || found.len() > 0)
    }

    /// The names of non-empty files that look like parts of a log, sorted.
    pub fn files_without_manifest(&self) -> Vec<String> {
        let begin = [&self.file[..], b"."].concat();
        let is_part = |name: &[u8]| {
            name.starts_with(&begin)
                && [&b".base.rdb"[..], b".base.aof", b".incr.aof"].iter().any(|end| name.ends_with(end))
        };
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| is_part(entry.file_name().as_encoded_bytes()))
            .filter(|entry| entry.metadata().is_ok_and(|found| found.len() > 0))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    /// Where the manifest is.
    pub fn manifest(&self) -> PathBuf {
        manifest::join(&self.path, &manifest::file_name(&self.file))
    }

    /// Where commands are collected until a log that has been switched on has its first base. It is then renamed to
    /// the incremental file of the manifest that names that base.
    pub fn temporary_incremental(&self) -> PathBuf {
        manifest::join(&self.path, &[b"temp-", &self.file[..], b".incr"].concat())
    }

    /// Creates the directory unless it is there.
    pub fn create(&self) -> Result<()> {
        match DirBuilder::new().mode(0o755).create(&self.path) {
            Ok(()) => file::sync_directory_of(&self.path).doing("can't sync the directory of", &self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            Err(error) => Err(error).doing("can't create the append-only directory", &self.path),
        }
    }

    /// Makes sure that a power failure does not take away what is in the directory now, nor the directory itself: whoever
    /// made them may have died before.
    pub fn sync(&self) -> Result<()> {
        file::sync_directory_of(&self.manifest()).doing("can't fsync the AOF directory", &self.path)?;
        file::sync_directory_of(&self.path).doing("can't fsync the directory of", &self.path)
    }

    /// Reads the manifest; `None` if there is no directory or no manifest in it.
    pub fn load(&self) -> Result<Option<Manifest>> {
        let path = self.manifest();
        match file::read_regular(&path) {
            Ok(bytes) => match Manifest::parse(&bytes) {
                Ok(manifest) => Ok(Some(manifest)),
                Err(error) => Err(DirectoryError::Manifest { path, error }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("can't read the AOF manifest file", &path),
        }
    }

    /// Replaces the manifest on disk; see the module's head. The files that it names must have been created under their
    /// names, which need not be durable yet.
    pub fn persist(&self, new: &Manifest) -> Result<()> {
        self.replace(new)?;
        let path = self.manifest();
        file::sync_directory_of(&path).doing("can't fsync the AOF directory of", &path)
    }

    /// Like [`Directory::persist`] without its last step: until the directory, which is returned, has been synced, a power
    /// failure may bring the old manifest back.
    pub fn persist_unsynced(&self, new: &Manifest) -> Result<File> {
        let directory = File::open(&self.path).doing("can't open the AOF directory", &self.path)?;
        self.replace(new)?;
        Ok(directory)
    }

    fn replace(&self, new: &Manifest) -> Result<()> {
        let (path, temporary) = (self.manifest(), self.write_temporary(new)?);
        file::sync_directory_of(&path).doing("can't fsync the AOF directory of", &temporary)?;
        fs::rename(&temporary, &path).doing("can't replace the AOF manifest file", &path)
    }

    /// Like [`Directory::persist`], for a manifest that names nothing which the one on disk does not: after a power
    /// failure either is found.
    pub fn persist_shorter(&self, new: &Manifest) -> Result<()> {
        let (path, temporary) = (self.manifest(), self.write_temporary(new)?);
        fs::rename(&temporary, &path).doing("can't replace the AOF manifest file", &path)
    }

    /// Writes a manifest that nobody reads yet, and syncs it. Returns where it is.
    fn write_temporary(&self, new: &Manifest) -> Result<PathBuf> {
        let temporary = manifest::join(&self.path, &manifest::temporary_file_name(&self.file));
        let mut file = File::create(&temporary).doing("can't create the AOF manifest file", &temporary)?;
        file.write_all(&new.encode()).doing("can't write the temporary AOF manifest file", &temporary)?;
        file.sync_all().doing("can't fsync the temporary AOF manifest file", &temporary)?;
        Ok(temporary)
    }

    /// Takes over a log that is one file in `dir`, as versions before 7 write it: it becomes the base. Does so if
    /// there is such a file and no other log, that is, if `found` (what [`Directory::load`] returned) names no file,
    /// or if taking it over was interrupted. Returns the new manifest, or `None` if nothing was done.
    pub fn take_over(&self, found: Option<&Manifest>) -> Result<Option<Manifest>> {
        let old = manifest::join(&self.home, &self.file);
        let taken = Manifest::of_single_file(&self.file);
        let new = manifest::join(&self.path, &self.file);
        let is_other_log = found.is_some_and(|found| {
            let interrupted = found.parts().eq(taken.parts()) && !new.exists();
            !found.is_empty() && !interrupted
        });
        if is_other_log || !old.is_file() {
            return Ok(None);
        }
        self.create()?;
        self.persist(&taken)?;
        fs::rename(&old, &new).doing("can't move the old AOF file into the append-only directory:", &old)?;
        file::sync_directory_of(&new).doing("can't fsync the AOF directory of", &new)?;
        file::sync_directory_of(&old).doing("can't fsync the directory of", &old)?;
        Ok(Some(taken))
    }

    /// The bytes of all files to be read. Fails if one is missing.
    pub fn total_size(&self, manifest: &Manifest) -> Result<u64> {
        manifest.parts().map(|part| self.size(part)).sum()
    }

    /// The bytes of a file.
    pub fn size(&self, part: &Part) -> Result<u64> {
        let path = self.part(part);
        Ok(fs::metadata(&path).doing("can't find the AOF file", &path)?.len())
    }

    /// Deletes a file that the manifest on disk does not name, or names as history. Returns the open file: its blocks
    /// are freed when it is closed, which may take long. `None` if it is gone already.
    pub fn delete(&self, part: &Part) -> Result<Option<File>> {
        let path = self.part(part);
        let open = file::open_regular(&path).ok().map(|(file, _)| file);
        match fs::remove_file(&path) {
            Ok(()) => Ok(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("can't delete the AOF file", &path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory that is removed at the end of the test.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Home {
            let path = std::env::temp_dir().join(format!("redstart-aof-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Home(path)
        }

        fn log(&self) -> Directory {
            Directory::new(&self.0, b"appendonlydir", b"appendonly.aof")
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_manifest_is_found_again_after_it_was_replaced() {
        let home = Home::new("replace");
        let log = home.log();
        assert!(log.load().expect("nothing there").is_none());
        log.create().expect("created");
        log.create().expect("there already");
        assert!(log.load().expect("an empty directory").is_none());
        let mut manifest = Manifest::default().with_new_base(log.file(), true, false);
        for _ in 0..3 {
            manifest = manifest.with_new_incremental(log.file());
            log.persist(&manifest).expect("written");
            assert_eq!(log.load().expect("read"), Some(manifest.clone()));
        }
        let names: Vec<_> = fs::read_dir(log.path()).expect("a directory").flatten().collect();
        assert_eq!(names.len(), 1, "the temporary file is gone");
        fs::write(log.manifest(), "file").expect("written");
        let error = log.load().expect_err("a bad manifest").to_string();
        assert!(error.ends_with("appendonly.aof.manifest: The AOF manifest file contains too long line"));
    }

    #[test]
    fn the_one_file_of_an_old_version_becomes_the_base() {
        let home = Home::new("old");
        let log = home.log();
        assert!(log.take_over(None).expect("nothing to do").is_none());
        let old = home.0.join("appendonly.aof");
        fs::write(&old, "*1\r\n").expect("written");
        let manifest = log.take_over(None).expect("moved").expect("a manifest");
        assert_eq!(manifest.encode(), b"file appendonly.aof seq 1 type b\n");
        assert_eq!(log.load().expect("read").as_ref(), Some(&manifest));
        assert_eq!(log.total_size(&manifest).expect("there"), 4);
        // Interrupted before the file was moved.
        fs::rename(log.path().join("appendonly.aof"), &old).expect("moved back");
        assert!(log.total_size(&manifest).is_err());
        assert_eq!(log.take_over(Some(&manifest)).expect("moved").as_ref(), Some(&manifest));
        assert_eq!(log.total_size(&manifest).expect("there"), 4);
        // A second one beside the log is left alone.
        fs::write(&old, "other").expect("written");
        assert!(log.take_over(Some(&manifest)).expect("nothing to do").is_none());
        let more = manifest.with_new_incremental(log.file());
        assert!(log.take_over(Some(&more)).expect("nothing to do").is_none());
        // One that is a link is moved as a link.
        fs::remove_dir_all(log.path()).expect("removed");
        fs::rename(&old, home.0.join("elsewhere")).expect("renamed");
        symlink(home.0.join("elsewhere"), &old).expect("linked");
        let manifest = log.take_over(None).expect("moved").expect("a manifest");
        assert_eq!(log.total_size(&manifest).expect("there"), 5);
    }

    #[test]
    fn every_failure_names_operation_and_file() {
        let home = Home::new("fail");
        let log = home.log();
        let manifest = Manifest::of_single_file(log.file());
        let said = |error: DirectoryError| error.to_string().replace(home.0.to_str().expect("a name"), "…");
        assert_eq!(
            said(log.persist(&manifest).expect_err("no directory")),
            "can't create the AOF manifest file …/appendonlydir/temp-appendonly.aof.manifest: No such file or directory"
        );
        fs::write(log.path(), "a file").expect("written");
        assert_eq!(
            said(log.create().expect_err("a file is in the way")),
            "can't create the append-only directory …/appendonlydir: File exists"
        );
        assert_eq!(
            said(log.load().expect_err("not a directory")),
            "can't read the AOF manifest file …/appendonlydir/appendonly.aof.manifest: Not a directory"
        );
        fs::remove_file(log.path()).expect("removed");
        log.create().expect("created");
        assert!(log.delete(manifest.parts().next().expect("a base")).expect("gone").is_none());
        assert_eq!(
            said(log.total_size(&manifest).expect_err("missing")),
            "can't find the AOF file …/appendonlydir/appendonly.aof: No such file or directory"
        );
    }
}
