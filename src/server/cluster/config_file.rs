//! `nodes.conf`: what a node must not forget, written atomically.
//!
//! A new version is written beside the old one, synced and renamed over it, so that the file is always whole. The file is
//! locked while this process uses it: a second server with the same file would take over its identity. The lock belongs
//! to the file and not to its name, so each new version is locked before it gets the name.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sys::file;

/// See the module's head.
pub struct ConfigFile {
    path: PathBuf,
    /// The open file, which has the lock.
    locked: File,
}

impl ConfigFile {
    /// Opens or creates the file and locks it. Returns it with its content.
    ///
    /// # Errors
    /// The text for the operator: the file cannot be opened, or another process uses it.
    pub fn open(path: &Path) -> Result<(ConfigFile, Vec<u8>), String> {
        // CONFIG SET dir must not move the file.
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let (opened, _) = file::open_only_regular(&mut options, path).map_err(|error| {
            format!("Can't open {shown} in order to acquire a lock: {}", file::reason(&error))
        })?;
        match file::try_lock(&opened) {
            Ok(true) => {}
            Ok(false) => {
                return Err(format!(
                    "Sorry, the cluster configuration file {shown} is already used by a different Redis Cluster node. \
                     Please make sure that different nodes use different cluster configuration files."
                ));
            }
            Err(error) => {
                return Err(format!("Impossible to lock {shown}: {}", file::reason(&error)));
            }
        }
        let content = file::read_regular(path).map_err(|error| {
            format!("Loading the cluster node config from {shown}: {}", file::reason(&error))
        })?;
        Ok((ConfigFile { path: path.clone(), locked: opened }, content))
    }

    /// Replaces the content. With `sync` it is on disk when this returns.
    ///
    /// # Errors
    /// The disk refuses; the old content stays.
    pub fn save(&mut self, content: &str, sync: bool) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let written = self.write(&temporary, content, sync);
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        self.locked = written?;
        Ok(())
    }

    fn write(&self, temporary: &Path, content: &str, sync: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let mut new = options.write(true).create(true).truncate(true).mode(0o644).open(temporary)?;
        new.write_all(content.as_bytes())?;
        if sync {
            new.sync_all()?;
        }
        if !file::try_lock(&new)? {
            return Err(io::Error::other("another process uses the new file"));
        }
        std::fs::rename(temporary, &self.path)?;
        if sync {
            file::sync_directory_of(&self.path)?;
        }
        Ok(new)
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
