//! Options of sockets that the standard library does not have.

/// Whether the socket with the descriptor `number` of another process has `TCP_NODELAY`.
#[cfg(target_os = "linux")]
pub fn has_no_delay(pid: u32, number: i32) -> bool {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let owned = |fd: libc::c_long| {
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the system call has just made the descriptor for this process.
        unsafe { OwnedFd::from_raw_fd(fd as i32) }
    };
    // SAFETY: the arguments are numbers.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as i32, 0) });
    // SAFETY: the arguments are numbers.
    let socket = owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) });
    let (mut value, mut bytes) = (0i32, size_of::<i32>() as libc::socklen_t);
    let at = (&raw mut value).cast();
    // SAFETY: the kernel writes an integer, for which there is room.
    let failed = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, at, &raw mut bytes)
    };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    value != 0
}
