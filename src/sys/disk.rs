//! Large files that must be durable before others rely on them: dumps, the append-only log.
//!
//! [`append`] writes pieces from several places in one call, and returns how much of them was written when the disk is
//! full. [`BulkWriter`] writes files of gigabytes from start to end. It starts syncing every few megabytes, so that the
//! sync at the end does not have to wait for the whole file while every other writer to the disk waits too.
//! [`rename_durably`] gives a finished file its name.
//!
//! All calls go through the C library's functions (`write`, `writev`, `fdatasync`, `rename`), so that a test can make
//! any of them fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::AccessFlags;

use crate::sys::file::{self, sync_directory_of};

/// The mode of persistence files: everybody may read them, where the process's umask permits.
const MODE: u32 = 0o644;

/// Opens a file for appending and creates it if it does not exist. Also returns its length.
pub fn open_append(path: &Path) -> io::Result<(File, u64)> {
    file::open_only_regular(OpenOptions::new().append(true).create(true).mode(MODE), path)
}

/// Creates a file for writing, or truncates an existing one.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(MODE);
    file::open_only_regular(options, path).map(|(file, _)| file)
}

/// Waits until a file's bytes, and the metadata needed to read them back, are on the disk; in permanent storage where
/// the system can guarantee that (macOS).
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Fails unless this process may create files in a directory.
pub fn may_create_files(directory: &Path) -> io::Result<()> {
    Ok(nix::unistd::access(directory, AccessFlags::W_OK | AccessFlags::X_OK)?)
}

/// The bytes available to this process on the disk of a directory.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let disk = nix::sys::statvfs::statvfs(directory)?;
    // The types differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Ok((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64))
}

/// The result of an [`append`].
#[derive(Debug)]
#[must_use]
pub struct Appended {
    /// Bytes written, from the first on.
    pub bytes: u64,
    /// Why the rest was not written. Unless `bytes` is 0, the file then ends within `pieces`.
    pub error: Option<io::Error>,
}

/// Writes `pieces` in order at the end of a file opened for appending (at the current position of other files). Takes
/// one call for each thousand pieces, more where the system writes less than it was given. Consumes `pieces`.
pub fn append(mut file: &File, mut pieces: &mut [IoSlice<'_>]) -> Appended {
    let mut bytes = 0;
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match file.write_vectored(pieces) {
            Ok(0) => return Appended { bytes, error: Some(io::ErrorKind::WriteZero.into()) },
            Ok(count) => {
                bytes += count as u64;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Appended { bytes, error: Some(error) },
        }
    }
    Appended { bytes, error: None }
}

/// The system's number of an error; that of a failed device for an error without a number, such as a write of zero
/// bytes.
pub fn error_number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Renames a file, replacing any file of that name, so that after a power failure one of the two is found under it. The
/// file's contents must already be on disk.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory_of(to)
}

/// Removes a file's name and returns the file. Its blocks are freed when it is closed, which takes long for a large
/// file and may happen on another thread.
pub fn unlink_open(path: &Path) -> io::Result<File> {
    // Do not wait for the other end if it is a pipe.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Tells the system that a file's pages need not stay in memory; pages not yet on disk stay. Does nothing where there
/// is no such call.
pub fn drop_cached(file: &File) {
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    // SAFETY: numbers only; advice, which may be refused.
    unsafe {
        libc::posix_fadvise(std::os::fd::AsRawFd::as_raw_fd(file), 0, 0, libc::POSIX_FADV_DONTNEED);
    }
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    let _ = file;
}

/// How a [`BulkWriter`] syncs its file to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syncing {
    /// After every so many bytes, starts syncing the bytes just written and waits for the sync started before. `None`
    /// leaves the whole sync to the end.
    pub every: Option<u64>,
    /// Whether to drop the pages from memory once they are on disk, for a file that nobody is going to read soon.
    pub drop_cached: bool,
}

impl Syncing {
    /// The setting of `rdb-save-incremental-fsync` and `aof-rewrite-incremental-fsync`: every 4 MiB, or at the end.
    pub fn incremental(on: bool) -> Syncing {
        Syncing { every: on.then_some(PIECE as u64), drop_cached: on }
    }
}

/// Bytes buffered before they are written. Larger writes go to the file at once.
const BUFFER: usize = 256 << 10;

/// The most bytes written by one call.
const PIECE: usize = 4 << 20;

/// A file that is written once, from its first byte to its last.
///
/// After an error every further call fails as well, so that a file with a gap is never taken for a whole one. Dropping
/// the writer discards its buffer.
#[derive(Debug)]
pub struct BulkWriter {
    file: File,
    buffer: Vec<u8>,
    /// Bytes written to the file.
    written: u64,
    syncing: Syncing,
    /// Bytes of the file whose sync was started.
    started: u64,
    /// The part whose sync was started last.
    under_way: Range<u64>,
    /// The system's number of the error that ended the writing.
    failed: Option<i32>,
}

impl BulkWriter {
    /// Returns a writer to an empty file.
    pub fn new(file: File, syncing: Syncing) -> BulkWriter {
        BulkWriter {
            file,
            buffer: Vec::with_capacity(BUFFER),
            written: 0,
            syncing,
            started: 0,
            under_way: 0..0,
            failed: None,
        }
    }

    /// The bytes written so far, including those in the buffer.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the rest and waits until the whole file is on the disk.
    pub fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        sync_data(&self.file)?;
        if self.syncing.drop_cached {
            drop_cached(&self.file);
        }
        Ok(self.file)
    }

    /// Writes the buffer, then `more`.
    fn write_out(&mut self, more: &[u8]) -> io::Result<()> {
        if let Some(number) = self.failed {
            return Err(io::Error::from_raw_os_error(number));
        }
        let mut pieces = [IoSlice::new(&self.buffer), IoSlice::new(more)];
        let appended = append(&self.file, &mut pieces);
        self.written += appended.bytes;
        self.buffer.clear();
        let result = appended.error.map_or_else(|| self.sync_some(), Err);
        if let Err(error) = &result {
            self.failed = Some(error_number(error));
        }
        result
    }

    /// Starts syncing the written bytes if there are enough, and waits for the sync started before.
    fn sync_some(&mut self) -> io::Result<()> {
        let Some(every) = self.syncing.every else { return Ok(()) };
        if self.written - self.started < every {
            return Ok(());
        }
        let part = self.started..self.written;
        start_sync(&self.file, &part)?;
        wait_for_sync(&self.file, &self.under_way)?;
        if self.syncing.drop_cached {
            drop_cached(&self.file);
        }
        self.started = part.end;
        self.under_way = part;
        Ok(())
    }
}

impl Write for BulkWriter {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() <= BUFFER - self.buffer.len() {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        // In pieces, so that a value of any size keeps the disk busy.
        bytes.chunks(PIECE).try_for_each(|piece| self.write_out(piece))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out(&[])
    }
}

/// Starts syncing a part of a file, without waiting where that is possible.
#[cfg(target_os = "linux")]
fn start_sync(file: &File, part: &Range<u64>) -> io::Result<()> {
    sync_range(file, part, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits for the sync of a part of a file.
#[cfg(target_os = "linux")]
fn wait_for_sync(file: &File, part: &Range<u64>) -> io::Result<()> {
    let wait =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_range(file, part, wait)
}

#[cfg(target_os = "linux")]
fn sync_range(file: &File, part: &Range<u64>, flags: libc::c_uint) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    let (start, len) = (part.start as i64, (part.end - part.start) as i64);
    // SAFETY: numbers only.
    if unsafe { libc::sync_file_range(std::os::fd::AsRawFd::as_raw_fd(file), start, len, flags) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Not a file on a disk, or a file system without the call: the sync at the end covers it.
        Some(libc::ESPIPE | libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => Ok(()),
        _ => Err(error),
    }
}

/// Elsewhere the whole file is synced, and the call waits.
#[cfg(not(target_os = "linux"))]
fn start_sync(file: &File, _: &Range<u64>) -> io::Result<()> {
    sync_data(file)
}

/// The sync is already complete.
#[cfg(not(target_os = "linux"))]
fn wait_for_sync(_: &File, _: &Range<u64>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::path::PathBuf;

    use super::*;

    /// A directory that is removed at the end of the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("redstart-disk-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    /// A pipe whose writing end rejects bytes that do not fit.
    fn small_pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        let flag = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&writer, flag).unwrap();
        (reader, writer)
    }

    #[test]
    fn pieces_are_appended_in_order_to_what_is_there() {
        let scratch = Scratch::new("append");
        let path = scratch.path("log");
        fs::write(&path, "before ").unwrap();
        let (file, len) = open_append(&path).unwrap();
        assert_eq!(len, 7);
        // More pieces than one call takes, some of them empty.
        let texts: Vec<String> =
            (0..5000).map(|i| if i % 7 == 0 { String::new() } else { format!("{i},") }).collect();
        let mut pieces: Vec<IoSlice> = texts.iter().map(|text| IoSlice::new(text.as_bytes())).collect();
        let appended = append(&file, &mut pieces);
        let expected = texts.concat();
        assert!(appended.error.is_none());
        assert_eq!(appended.bytes, expected.len() as u64);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("before {expected}"));
        let nothing = append(&file, &mut [IoSlice::new(b""), IoSlice::new(b"")]);
        assert!(nothing.bytes == 0 && nothing.error.is_none());
    }

    #[test]
    fn what_does_not_fit_is_an_error_that_tells_what_did() {
        let (mut reader, writer) = small_pipe();
        let bytes = pattern(1 << 20);
        let (head, tail) = bytes.split_at(10_000);
        let appended = append(&writer, &mut [IoSlice::new(head), IoSlice::new(tail)]);
        assert_eq!(appended.error.unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert!(appended.bytes >= 10_000, "{}", appended.bytes);
        assert_eq!(found, bytes[..appended.bytes as usize]);
    }

    #[test]
    fn a_file_is_what_was_written_whatever_the_sizes_of_the_pieces_and_the_syncing() {
        let scratch = Scratch::new("bulk");
        let bytes = pattern(23 << 20);
        for syncing in [
            Syncing::incremental(false),
            Syncing::incremental(true),
            Syncing { every: Some(1), drop_cached: false },
        ] {
            let path = scratch.path("file");
            let mut writer = BulkWriter::new(create(&path).unwrap(), syncing);
            assert!(writer.is_empty());
            let (mut at, mut size) = (0, 1);
            while at < bytes.len() {
                let end = bytes.len().min(at + size);
                writer.write_all(&bytes[at..end]).unwrap();
                assert_eq!(writer.len(), end as u64);
                // Pieces grow to more than the buffer, and more than is synced at once.
                (at, size) = (end, size * 5 / 2 + 1);
            }
            drop(writer.finish().unwrap());
            assert!(fs::read(&path).unwrap() == bytes, "{syncing:?}");
        }
    }

    #[test]
    fn after_an_error_nothing_more_is_written() {
        let (mut reader, pipe) = small_pipe();
        let mut writer = BulkWriter::new(pipe, Syncing::incremental(true));
        let error = writer.write_all(&pattern(1 << 20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut found = vec![0; 1 << 20];
        let first = reader.read(&mut found).unwrap();
        assert!(first > 0);
        // The pipe has room again, but further bytes would follow a gap.
        assert_eq!(writer.write_all(&pattern(1 << 20)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        writer.write_all(b"small").unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(writer.finish().is_err());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        found.truncate(first);
        found.extend(rest);
        assert!(found == pattern(1 << 20)[..found.len()], "only a beginning was written");
    }

    #[test]
    fn a_disk_that_is_full_is_an_error_at_the_latest_at_the_end() {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else { return };
        let mut writer = BulkWriter::new(full, Syncing::incremental(true));
        writer.write_all(b"gathered").unwrap();
        assert_eq!(writer.finish().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }

    #[test]
    fn a_finished_file_takes_the_place_of_another() {
        let scratch = Scratch::new("rename");
        let (temporary, path) = (scratch.path("temp-1.rdb"), scratch.path("dump.rdb"));
        fs::write(&path, "old").unwrap();
        let mut writer = BulkWriter::new(create(&temporary).unwrap(), Syncing::incremental(true));
        writer.write_all(b"new").unwrap();
        drop(writer.finish().unwrap());
        rename_durably(&temporary, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(!temporary.exists());
        assert!(rename_durably(&temporary, &path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_without_a_name_is_there_until_it_is_closed() {
        let scratch = Scratch::new("unlink");
        let path = scratch.path("file");
        fs::write(&path, "content").unwrap();
        let mut file = unlink_open(&path).unwrap();
        assert!(!path.exists());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        assert!(unlink_open(&path).is_err());
        assert!(unlink_open(&scratch.path(".")).is_err(), "a directory stays");
    }
}
