//! `--rdb` and `--functions-rdb`: saves a snapshot of a server's data, as sent to replicas, to a file.
//!
//! The bytes are written to a temporary file in the same directory, which is renamed once it is complete and synced. A
//! failed transfer leaves no file behind, and an earlier file unchanged. Devices and pipes are written directly.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::sync::{self, End};
use super::{Failure, Outcome, Session};
use crate::sys::{file, terminal};
use crate::tools::Progress;
use crate::tools::client::{Connection, Target};
use crate::tools::console::tell;

const BROKEN: &str = "I/O Error reading RDB payload from socket";

/// `--rdb`.
pub(super) fn data(session: &Session<'_>) -> Outcome {
    transfer(session, "rdb")
}

/// `--functions-rdb`.
pub(super) fn functions(session: &Session<'_>) -> Outcome {
    transfer(session, "functions-rdb")
}

fn transfer(session: &Session<'_>, option: &str) -> Outcome {
    match session.matches.get_one::<PathBuf>(option) {
        Some(path) => save(session.target, path, option == "functions-rdb"),
        None => Ok(()),
    }
}

/// Saves a snapshot of the data, or of the functions alone, in a file.
pub(super) fn save(target: &Target, path: &Path, only_functions: bool) -> Outcome {
    let name = path.display();
    terminal::catch_interrupts()?;
    let mut connection = Connection::open(target)?;
    sync::configure(&mut connection, "capa", "eof")?;
    sync::configure(&mut connection, "rdb-only", "1")?;
    if only_functions {
        sync::configure(&mut connection, "rdb-filter-only", "functions")?;
    }
    let end = sync::begin(&mut connection)?;
    let mut bar = Progress::delayed(0);
    match &end {
        End::Length(length) => {
            tell(format_args!("SYNC sent to master, writing {length} bytes to '{name}'"));
            bar = Progress::delayed(*length);
        }
        End::Marker(_) => {
            tell(format_args!(
                "SYNC sent to master, writing bytes of bulk transfer until EOF marker to '{name}'"
            ));
        }
    }
    let mut sink = Sink::open(path)
        .map_err(|error| Failure::Text(format!("Error opening '{name}': {}", file::reason(&error))))?;
    let received = sync::receive(&mut connection, &end, BROKEN, |bytes, before| {
        bar.reach(before);
        let unwritten =
            |error| Failure::Text(format!("Error writing data to file: {}", file::reason(&error)));
        sink.file.write_all(bytes).map_err(unwritten)
    });
    bar.clear();
    let received = received?;
    sink.finish()
        .map_err(|error| Failure::Text(format!("Fail to fsync '{name}': {}", file::reason(&error))))?;
    match end {
        End::Length(_) => tell("Transfer finished with success."),
        End::Marker(_) => tell(format_args!("Transfer finished with success after {received} bytes")),
    }
    Ok(())
}

/// The destination of the bytes.
struct Sink {
    file: File,
    /// The temporary name and the final one.
    names: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn open(path: &Path) -> io::Result<Sink> {
        if path == Path::new("-") {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Sink { file, names: None });
        }
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Ok(Sink { file: OpenOptions::new().write(true).open(&path)?, names: None });
        }
        let part = beside(&path);
        Ok(Sink { file: File::create(&part)?, names: Some((part, path)) })
    }

    /// Syncs all bytes to disk and gives the file its final name.
    fn finish(mut self) -> io::Result<()> {
        let Some((part, path)) = &self.names else { return Ok(()) };
        self.file.sync_all()?;
        fs::rename(part, path)?;
        file::sync_directory_of(path)?;
        self.names = None;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some((part, _)) = &self.names {
            // A file that remains cannot be mistaken for a complete one: its name shows that.
            let _ = fs::remove_file(part);
        }
    }
}

/// Returns a name in the same directory that no other transfer uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
