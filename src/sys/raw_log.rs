//! The log as a signal handler reaches it: no lock, no allocation, nothing but system calls.
//!
//! The server's log tells where it writes with [`set`]. A log file is opened by its name for each message, so that a
//! message is found where an operator looks for it even if the file was renamed a moment ago; the descriptor of the log
//! is what is left when that fails.

use std::ffi::{CString, c_char};
use std::fmt::{self, Write};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

static FD: AtomicI32 = AtomicI32::new(-1);
/// The log file's name, which is never freed: a handler may be reading it.
static PATH: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Messages go to the file at `path`, or else to `fd`, which must stay open until another is set. A path costs its
/// length in memory for ever, so it is given once; later calls may leave it as it is with `None`.
pub fn set(fd: RawFd, path: Option<&Path>) {
    if let Some(path) = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()) {
        PATH.store(path.into_raw(), Ordering::Release);
    }
    FD.store(fd, Ordering::Release);
}

/// The end of the log, open for writing. Formatted text goes straight to the descriptor: there is no buffer that a
/// broken heap would have to give.
pub struct RawLog {
    fd: RawFd,
    /// Whether `fd` was opened for this value.
    is_own: bool,
}

impl RawLog {
    /// Opens the file that [`set`] named, or takes its descriptor. May be called in a signal handler.
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

    /// Writes all of `bytes`, whatever they are.
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

/// A line from a signal handler, in the form that Redis gives it: the time is in seconds, since to say more takes a lock.
pub fn line_from_handler(text: &str) {
    // SAFETY: no pointers.
    let (pid, seconds) = unsafe { (libc::getpid(), libc::time(ptr::null_mut())) };
    // There is nobody to tell that the log cannot be written.
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
