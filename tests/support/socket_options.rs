//! Options of sockets and processes that the standard library does not have.

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

/// From now on the kernel resets the connection (RST) when its last descriptor is closed: what was not sent is thrown
/// away, and the peer's next call fails with `ECONNRESET`.
pub fn reset_on_close(stream: &std::net::TcpStream) {
    use std::os::fd::AsRawFd;
    let none = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the value is a `linger` of the length that is given, and the descriptor is open.
    let failed = unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const none).cast(), len)
    };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

/// Sets the limit of open files of another process.
#[cfg(target_os = "linux")]
pub fn limit_open_files(pid: u32, limit: u64) {
    let limits = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: the kernel reads one structure, and writes nothing.
    let failed =
        unsafe { libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const limits, std::ptr::null_mut()) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}
