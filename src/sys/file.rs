//! Small files that must never be seen half-written (the pid file, the rewritten configuration), and the log, which may
//! be renamed at any time.
//!
//! To replace a file, a new one is written beside it, synced to disk and renamed over the old one, and the directory is
//! synced. A reader finds either the old content or the new, and so does the system after a power failure. This costs
//! two fsyncs, so it is for rare writes.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that is appended to by name: if it was renamed or removed, the next write creates it again. So a log can be
/// rotated by renaming it, without notifying the process that writes it.
///
/// Each write first checks that the name still refers to the open file: one system call, about a microsecond.
#[derive(Debug)]
pub struct AppendFile {
    /// Absolute, so that a change of directory does not change the file.
    path: PathBuf,
    file: File,
    id: FileId,
}

/// Device and inode: the identity of a file, whatever its name.
type FileId = (u64, u64);

impl AppendFile {
    /// Opens the file and creates it if it does not exist.
    pub fn open(path: &Path) -> io::Result<AppendFile> {
        let path = std::path::absolute(path)?;
        let (file, id) = open_append(&path)?;
        Ok(AppendFile { path, file, id })
    }

    /// The file's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file. It changes when [`AppendFile::append`] has to reopen it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Appends to the file that currently has the name. Returns whether that is a different file than before. If the
    /// name can be neither found nor created, the bytes go to the file that was opened last.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let is_other = fs::metadata(&self.path).map_or(true, |found| file_id(&found) != self.id);
        let reopened = if is_other { open_append(&self.path).ok() } else { None };
        let has_moved = reopened.is_some();
        if let Some((file, id)) = reopened {
            (self.file, self.id) = (file, id);
        }
        self.file.write_all(bytes)?;
        Ok(has_moved)
    }
}

fn open_append(path: &Path) -> io::Result<(File, FileId)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let id = file_id(&file.metadata()?);
    Ok((file, id))
}

fn file_id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Opens a regular file for reading, and also returns its length. Fails for anything else: opening a pipe would wait for a
/// writer, and a device has no end.
pub fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    open_only_regular(OpenOptions::new().read(true), path)
}

/// The content of a regular file: see [`open_regular`].
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, _) = open_regular(path)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(content)
}

/// [`open_regular`] with other options.
pub fn open_only_regular(options: &mut OpenOptions, path: &Path) -> io::Result<(File, u64)> {
    let other = || io::Error::other("Not a regular file");
    let opened = options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        // A pipe without a reader, or a socket.
        Some(libc::ENXIO | libc::EOPNOTSUPP) => other(),
        _ => error,
    })?;
    let found = file.metadata()?;
    if found.is_file() {
        Ok((file, found.len()))
    } else if found.is_dir() {
        Err(io::Error::from_raw_os_error(libc::EISDIR))
    } else {
        Err(other())
    }
}

/// Identifies a version of a file; changes when the file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    id: FileId,
    len: u64,
    modified: (i64, i64),
}

impl Identity {
    /// The identity of the file with this metadata.
    pub fn of(found: &Metadata) -> Identity {
        Identity { id: file_id(found), len: found.len(), modified: (found.mtime(), found.mtime_nsec()) }
    }

    /// When the file was last written, in Unix seconds.
    pub fn modified_at(&self) -> i64 {
        self.modified.0
    }
}

/// Replaces the content of `path` atomically and keeps the permissions of an existing file. A symbolic link stays; its
/// target is replaced.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let temporary = beside(&target)?;
    let result = write_new(&temporary, &target, content).and_then(|()| fs::rename(&temporary, &target));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
        return result;
    }
    sync_directory_of(&target)
}

/// Locks a file for this process, as `flock` does; the lock ends when the file and its copies in children are closed.
/// Returns false if another process has locked it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open, and `flock` reads no memory.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// The C library's text for an error, without its number: `Permission denied`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => text.trim_end_matches(&format!(" (os error {code})")).to_owned(),
        None => text,
    }
}

/// Syncs the directory of `path`, so that the creation or renaming of a file in it survives a power failure.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_directory(&File::open(directory)?)
}

/// Syncs an open directory.
pub fn sync_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some file systems cannot sync a directory, and need not.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF)) => Ok(()),
        result => result,
    }
}

/// An unused name in the same directory, hence on the same file system.
fn beside(target: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let Some(name) = target.file_name() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok(target.with_file_name(temporary))
}

fn write_new(temporary: &Path, target: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    if let Ok(old) = fs::metadata(target) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory that is removed at the end of the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("redstart-file-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn appending_keeps_what_is_there() {
        let scratch = Scratch::new("append");
        let log = scratch.path("log");
        AppendFile::open(&log).unwrap().append(b"one\n").unwrap();
        let mut first = AppendFile::open(&log).unwrap();
        let mut second = AppendFile::open(&log).unwrap();
        assert!(!first.append(b"two\n").unwrap());
        assert!(!second.append(b"three\n").unwrap());
        assert_eq!(fs::read(&log).unwrap(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn what_is_appended_after_a_renaming_goes_to_a_new_file_of_the_old_name() {
        let scratch = Scratch::new("rotate");
        let (log, old) = (scratch.path("log"), scratch.path("log.1"));
        let mut file = AppendFile::open(&log).unwrap();
        file.append(b"one\n").unwrap();
        fs::rename(&log, &old).unwrap();
        assert!(file.append(b"two\n").unwrap());
        assert!(!file.append(b"three\n").unwrap());
        assert_eq!(fs::read(&old).unwrap(), b"one\n");
        assert_eq!(fs::read(&log).unwrap(), b"two\nthree\n");
        // Another process created it first.
        fs::rename(&log, &old).unwrap();
        fs::write(&log, "header\n").unwrap();
        assert!(file.append(b"four\n").unwrap());
        assert_eq!(fs::read(&log).unwrap(), b"header\nfour\n");
    }

    #[test]
    fn what_cannot_be_written_under_the_old_name_goes_to_the_file_that_was_open() {
        let scratch = Scratch::new("lost");
        let (directory, moved) = (scratch.path("here"), scratch.path("there"));
        fs::create_dir(&directory).unwrap();
        let mut file = AppendFile::open(&directory.join("log")).unwrap();
        fs::rename(&directory, &moved).unwrap();
        assert!(!file.append(b"kept\n").unwrap());
        assert_eq!(fs::read(moved.join("log")).unwrap(), b"kept\n");
    }

    #[test]
    fn replacing_creates_or_replaces_and_leaves_nothing_else() {
        let scratch = Scratch::new("replace");
        let file = scratch.path("file");
        replace(&file, b"first").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"first");
        replace(&file, b"2nd").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"2nd");
        assert_eq!(scratch.names(), ["file"]);
    }

    #[test]
    fn replacing_keeps_permissions_and_symbolic_links() {
        let scratch = Scratch::new("link");
        let (file, link) = (scratch.path("file"), scratch.path("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_no_rubbish() {
        let scratch = Scratch::new("fail");
        let directory = scratch.path("taken");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("inside"), "kept").unwrap();
        assert!(replace(&directory, b"content").is_err());
        assert_eq!(fs::read(directory.join("inside")).unwrap(), b"kept");
        assert_eq!(scratch.names(), ["taken"]);
        assert!(replace(&scratch.path("no/such/directory/file"), b"content").is_err());
        assert!(replace(Path::new("/"), b"content").is_err());
    }
}
