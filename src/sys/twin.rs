//! For tests: a forked child that shares all memory, and the pages that the kernel copied since.

use std::io;

/// A child that does nothing, until this is dropped.
pub struct Twin {
    pid: libc::pid_t,
    hold: libc::c_int,
}

impl Twin {
    /// Forks the child.
    pub fn fork() -> Twin {
        let mut ends = [0; 2];
        // SAFETY: the array has room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0, "{}", io::Error::last_os_error());
        // SAFETY: the child calls only `close`, `read` and `_exit`, which may be called after a fork of many threads.
        match unsafe { libc::fork() } {
            -1 => panic!("{}", io::Error::last_os_error()),
            // SAFETY: the descriptors are the child's own copies, and the byte has room for the read.
            0 => unsafe {
                libc::close(ends[1]);
                libc::read(ends[0], [0_u8].as_mut_ptr().cast(), 1);
                libc::_exit(0)
            },
            pid => {
                // SAFETY: the descriptor is ours and not used again.
                unsafe { libc::close(ends[0]) };
                Twin { pid, hold: ends[1] }
            }
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        // SAFETY: the descriptor and the child are ours. The child is killed in case another child has the pipe open,
        // too.
        unsafe {
            libc::close(self.hold);
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// The number of pages that the kernel has copied or cleared for this thread so far.
pub fn copied_pages() -> i64 {
    // SAFETY: all zeroes is a valid `rusage`, and the call fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage), 0);
        usage.ru_minflt
    }
}
