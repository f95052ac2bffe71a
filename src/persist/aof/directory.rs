//! The directory of the log (`appenddirname`), and operations on it as a whole.
//!
//! ```text
//!  persist    temp-NAME.manifest: write, fsync ─▶ fsync the directory ─▶ rename to NAME.manifest ─▶ fsync the directory
//! ```
//!
//! The first fsync of the directory makes the files that the new manifest names durable; the second makes the manifest
//! itself durable. After a crash at any point the directory contains the old manifest or the new one, and all files
//! that it names. Each fsync pauses the server's clients, so a manifest that only drops files omits the directory's
//! fsyncs: it names no new file, and the old manifest would do as well.
//!
//! While the log is being enabled in a running server, Redis collects commands in `temp-NAME.incr`, which no manifest
//! names until the first rewrite is done: that log has no base yet. Redstart does the same: see
//! [`Directory::temporary_incremental`].

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::manifest::{self, Manifest, ManifestError, Part};
use crate::sys::file;

/// The log's directory, and the names of its files.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The server's own directory (`dir`).
    home: PathBuf,
    path: PathBuf,
    /// `appendfilename`.
    file: Vec<u8>,
}

/// An operation that failed, with its file and the reason.
#[derive(Debug)]
pub enum DirectoryError {
    /// A system call failed.
    Io {
        /// The operation, as in `can't open`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The manifest is invalid.
    Manifest {
        /// The file.
        path: PathBuf,
        /// The reason.
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

/// Adds the operation and the file to an error.
trait Doing<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| DirectoryError::Io { what, path: path.to_path_buf(), error })
    }
}

impl Directory {
    /// Describes the directory `name` (`appenddirname`) in `home` (`dir`), for the log `file` (`appendfilename`).
    /// Accesses no file.
    pub fn new(home: &Path, name: &[u8], file: &[u8]) -> Directory {
        let home = if home.as_os_str().is_empty() { Path::new(".") } else { home };
        Directory { home: home.to_path_buf(), path: manifest::join(home, name), file: file.to_vec() }
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the log (`appendfilename`), from which all other names are made.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// The path of a file of the log.
    pub fn part(&self, part: &Part) -> PathBuf {
        part.path(&self.path)
    }

    /// Returns `manifest` with a new base, as [`Manifest::with_new_base`] does. If `manifest` is empty, the new name
    /// skips existing non-empty files: they belong to a log whose manifest was lost.
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

    /// Returns `manifest` with a new incremental file. Its name skips existing non-empty files, since the log would be
    /// appended to them.
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

    /// The path of the manifest.
    pub fn manifest(&self) -> PathBuf {
        manifest::join(&self.path, &manifest::file_name(&self.file))
    }

    /// The path of the file that collects commands until a newly enabled log has its first base. It is then renamed to
    /// the incremental file of the manifest that names that base.
    pub fn temporary_incremental(&self) -> PathBuf {
        manifest::join(&self.path, &[b"temp-", &self.file[..], b".incr"].concat())
    }

    /// Creates the directory if it does not exist.
    pub fn create(&self) -> Result<()> {
        match DirBuilder::new().mode(0o755).create(&self.path) {
            Ok(()) => file::sync_directory_of(&self.path).doing("can't sync the directory of", &self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            Err(error) => Err(error).doing("can't create the append-only directory", &self.path),
        }
    }

    /// Makes the directory and its current entries durable: the process that created them may have crashed before it
    /// did.
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

    /// Replaces the manifest on disk; see the module's head. The files that it names must exist under their names;
    /// these need not be durable yet.
    pub fn persist(&self, new: &Manifest) -> Result<()> {
        self.replace(new)?;
        let path = self.manifest();
        file::sync_directory_of(&path).doing("can't fsync the AOF directory of", &path)
    }

    /// Like [`Directory::persist`] without its last step: until the returned directory is synced, a power failure may
    /// bring the old manifest back.
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

    /// Like [`Directory::persist`], for a manifest that names no file beyond those of the one on disk: after a power
    /// failure either may be found.
    pub fn persist_shorter(&self, new: &Manifest) -> Result<()> {
        let (path, temporary) = (self.manifest(), self.write_temporary(new)?);
        fs::rename(&temporary, &path).doing("can't replace the AOF manifest file", &path)
    }

    /// Writes a manifest under a temporary name and syncs it. Returns its path.
    fn write_temporary(&self, new: &Manifest) -> Result<PathBuf> {
        let temporary = manifest::join(&self.path, &manifest::temporary_file_name(&self.file));
        let mut file = File::create(&temporary).doing("can't create the AOF manifest file", &temporary)?;
        file.write_all(&new.encode()).doing("can't write the temporary AOF manifest file", &temporary)?;
        file.sync_all().doing("can't fsync the temporary AOF manifest file", &temporary)?;
        Ok(temporary)
    }

    /// Adopts a single-file log in `dir`, as versions before 7 write it: the file becomes the base. Does so if there is
    /// such a file and no other log, that is, if `found` (the result of [`Directory::load`]) names no file, or if an
    /// earlier adoption was interrupted. Returns the new manifest, or `None` if nothing was done.
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

    /// The total size in bytes of all files to read. Fails if one is missing.
    pub fn total_size(&self, manifest: &Manifest) -> Result<u64> {
        manifest.parts().map(|part| self.size(part)).sum()
    }

    /// The size of a file in bytes.
    pub fn size(&self, part: &Part) -> Result<u64> {
        let path = self.part(part);
        Ok(fs::metadata(&path).doing("can't find the AOF file", &path)?.len())
    }

    /// Deletes a file that the manifest on disk does not name, or names as history. Returns the open file: its blocks
    /// are freed when it is closed, which may take long. `None` if the file is already gone.
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
        // As if the adoption was interrupted before the file was moved.
        fs::rename(log.path().join("appendonly.aof"), &old).expect("moved back");
        assert!(log.total_size(&manifest).is_err());
        assert_eq!(log.take_over(Some(&manifest)).expect("moved").as_ref(), Some(&manifest));
        assert_eq!(log.total_size(&manifest).expect("there"), 4);
        // A second such file beside the log is left alone.
        fs::write(&old, "other").expect("written");
        assert!(log.take_over(Some(&manifest)).expect("nothing to do").is_none());
        let more = manifest.with_new_incremental(log.file());
        assert!(log.take_over(Some(&more)).expect("nothing to do").is_none());
        // A symbolic link is moved as a link.
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
