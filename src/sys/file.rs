//! Small files that must be whole: the log, the pid file, the rewritten configuration.
//!
//! A file is replaced by writing a new one beside it, forcing that to the disk, renaming it over the old one and
//! forcing the directory: whoever reads, and whatever stops the machine, finds the old file or the new one. Costs
//! two fsyncs, so it is for rare writes.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Opens a file for appending, creating it if need be. Each write goes to the end, wherever others have moved that.
pub fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Replaces the content of `path` in one step, keeping the permissions of a file that is there. A symbolic link
/// stays, and what it points to is replaced.
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

/// What the system says of an error, without its number: `Permission denied`.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// Forces to the disk which files the directory of `path` has, so that a creation or renaming there is lasting.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// A name in the same directory, hence on the same file system, that nobody else uses.
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

    /// A directory that is gone when the test is.
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
        open_append(&log).unwrap().write_all(b"one\n").unwrap();
        let mut first = open_append(&log).unwrap();
        let mut second = open_append(&log).unwrap();
        first.write_all(b"two\n").unwrap();
        second.write_all(b"three\n").unwrap();
        assert_eq!(fs::read(&log).unwrap(), b"one\ntwo\nthree\n");
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
