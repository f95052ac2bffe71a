//! The log for signal handlers: no lock, no allocation, nothing but system calls.
//!
//! The server's log registers its destination with [`set`]. A log file is opened by name for each message, so that the
//! message goes where an operator looks for it even if the file was just renamed. If that fails, the message goes to
//! the log's descriptor.

use std::ffi::{CString, c_char};
use std::fmt::{self, Write};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

static FD: AtomicI32 = AtomicI32::new(-1);
/// Whether this process is a forked child.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether the server is a replica.
static IS_REPLICA: AtomicBool = AtomicBool::new(false);
/// The log file's name, which is never freed: a handler may be reading it.
static PATH: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Sends messages to the file at `path`, or else to `fd`, which must stay open until another one is set. A path is
/// never freed, so set it only once; `None` leaves it unchanged.
pub fn set(fd: RawFd, path: Option<&Path>) {
    if let Some(path) = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()) {
        PATH.store(path.into_raw(), Ordering::Release);
    }
    FD.store(fd, Ordering::Release);
}

/// Marks later lines as those of a forked child.
pub fn become_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// Sets whether the server is a replica.
pub fn set_replica(is_replica: bool) {
    IS_REPLICA.store(is_replica, Ordering::Relaxed);
}

/// The letter after the process id in a line of the log: `M` for a primary, `S` for a replica, `C` for a child.
pub fn role() -> char {
    match (IS_CHILD.load(Ordering::Relaxed), IS_REPLICA.load(Ordering::Relaxed)) {
        (true, _) => 'C',
        (false, true) => 'S',
        (false, false) => 'M',
    }
}

/// The end of the log, open for writing. Formatted text goes straight to the descriptor: a buffer would have to come
/// from a heap that may be broken.
pub struct RawLog {
    fd: RawFd,
    /// Whether `fd` was opened for this value.
    is_own: bool,
}

impl RawLog {
    /// Opens the file that [`set`] named, or uses its descriptor. May be called in a signal handler.
    pub fn open() -> RawLog {
        let path = PATH.load(Ordering::Acquire);
        if !path.is_null() {
            let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
            // SAFETY: the text ends with a zero byte and is never freed.
            let fd = unsafe { libc::open(path, flags, 0o666) };
            if fd >= 0 {
                return RawLog { fd, is_own: true };
            }
        }
        RawLog { fd: FD.load(Ordering::Acquire), is_own: false }
    }

    /// Writes all of `bytes` unchanged.
    pub fn write_bytes(&mut self, mut bytes: &[u8]) -> fmt::Result {
        while !bytes.is_empty() {
            // SAFETY: `bytes` is readable for its length.
            let count = unsafe { libc::write(self.fd, bytes.as_ptr().cast(), bytes.len()) };
            if count <= 0 {
                if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(fmt::Error);
            }
            bytes = &bytes[count as usize..];
        }
        Ok(())
    }
}

impl Write for RawLog {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl Drop for RawLog {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: opened by this value, used by nobody else.
            unsafe { libc::close(self.fd) };
        }
    }
}

/// Writes a line from a signal handler, in Redis' format, but with the time in seconds, since formatting it as a date
/// takes a lock.
pub fn line_from_handler(text: &str) {
    // SAFETY: no pointers.
    let (pid, seconds) = unsafe { (libc::getpid(), libc::time(ptr::null_mut())) };
    // A failure to write to the log cannot be reported anywhere.
    let _ = writeln!(RawLog::open(), "{pid}:signal-handler ({seconds}) {text}");
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use super::*;

    #[test]
    fn formatted_text_reaches_the_descriptor_whole() {
        let mut fds = [0; 2];
        // SAFETY: room for two descriptors, both ours alone.
        let (read, write) = unsafe {
            assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
            (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
        };
        writeln!(RawLog { fd: write.as_raw_fd(), is_own: false }, "{:#x} {}", 255, 10).unwrap();
        drop(write);
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "0xff 10\n");
        assert!(RawLog { fd: -1, is_own: false }.write_str("nowhere").is_err());
    }
}
