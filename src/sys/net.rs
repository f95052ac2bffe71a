//! Sockets: TCP and Unix listeners, and accepted and outgoing connections.
//!
//! Every descriptor is non-blocking, closed on exec and owned by its [`Socket`] or [`Listener`]. `WouldBlock` is an
//! ordinary result of a call on a connection; interrupted calls are retried here. Each method is one system call and
//! allocates nothing, except for opening a listener and naming a Unix address.
//!
//! Addresses are not stored but read from the kernel when needed: an idle client owns only a descriptor.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::slice;

/// The most slices that one vectored send takes; the kernels' own limit.
pub const MAX_SLICES: usize = 1024;

/// One end of a connection, as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP over IPv4.
    V4(Ipv4Addr, u16),
    /// TCP over IPv6.
    V6(Ipv6Addr, u16),
    /// A Unix socket: the path of the listener, empty if it has none.
    Unix(Box<str>),
    /// The kernel does not know the address, for example because the connection is gone.
    Unknown,
}

const _: () = assert!(size_of::<Address>() <= 24);

impl Address {
    /// Whether the other end is on this machine.
    pub fn is_loopback(&self) -> bool {
        match self {
            Address::V4(ip, _) => ip.is_loopback(),
            Address::V6(ip, _) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
            Address::Unix(_) => true,
            Address::Unknown => false,
        }
    }

    /// The address without the port; empty if there is none.
    pub fn ip_text(&self) -> String {
        match self {
            Address::V4(ip, _) => ip.to_string(),
            Address::V6(ip, _) => ip.to_string(),
            Address::Unix(path) => path.to_string(),
            Address::Unknown => String::new(),
        }
    }

    /// The IP address and port; `None` if this is not a TCP address.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match *self {
            Address::V4(ip, port) => Some((ip, port).into()),
            Address::V6(ip, port) => Some((ip, port).into()),
            Address::Unix(_) | Address::Unknown => None,
        }
    }

    /// The port; 0 if there is none.
    pub fn port(&self) -> u16 {
        match self {
            Address::V4(_, port) | Address::V6(_, port) => *port,
            Address::Unix(_) | Address::Unknown => 0,
        }
    }
}

/// As CLIENT LIST prints it: `127.0.0.1:6379`, `[::1]:6379`, `/run/redis.sock:0`, `?:0`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::V4(ip, port) => write!(f, "{ip}:{port}"),
            Address::V6(ip, port) => write!(f, "[{ip}]:{port}"),
            Address::Unix(path) => write!(f, "{path}:0"),
            Address::Unknown => f.write_str("?:0"),
        }
    }
}

/// A TCP socket that is not connected yet.
#[derive(Debug)]
pub struct Outgoing {
    fd: OwnedFd,
}

impl Outgoing {
    /// Makes a socket, of IPv4 or of IPv6.
    pub fn new(is_v4: bool) -> io::Result<Outgoing> {
        let family = if is_v4 { libc::AF_INET } else { libc::AF_INET6 };
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(family, libc::SOCK_STREAM, 0) };
        check(fd)?;
        // SAFETY: open, and ours alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        prepare(fd.as_raw_fd())?;
        Ok(Outgoing { fd })
    }

    /// Sets the address from which to connect; the kernel chooses the port.
    pub fn bind(&self, ip: IpAddr) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        // Otherwise a port counts as used for all targets.
        #[cfg(target_os = "linux")]
        let _ = set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        // SAFETY: the address is readable for its length.
        check(with_address(&SocketAddr::new(ip, 0), |at, len| unsafe { libc::bind(fd, at, len) }))
    }

    /// Begins to connect. The connection is established when the socket is writable and [`Socket::failure`] is `None`;
    /// a refusal may also be reported at once.
    pub fn connect(self, address: &SocketAddr) -> io::Result<Socket> {
        let fd = self.fd;
        // SAFETY: the address is readable for its length.
        let result = with_address(address, |at, len| unsafe { libc::connect(fd.as_raw_fd(), at, len) });
        match check(result) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(Socket { fd }),
        }
    }
}

/// A connected, non-blocking socket. Dropping it closes the connection.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Takes a connected socket of any origin and makes it non-blocking.
    pub fn new(fd: impl Into<OwnedFd>) -> io::Result<Socket> {
        let fd = fd.into();
        prepare(fd.as_raw_fd())?;
        Ok(Socket { fd })
    }

    /// Begins to connect, from an address that the kernel chooses. See [`Outgoing::connect`].
    pub fn connect(address: &SocketAddr) -> io::Result<Socket> {
        Outgoing::new(address.is_ipv4())?.connect(address)
    }

    /// Connects to a Unix listener. Waits while the listener's backlog is full.
    pub fn connect_unix(path: &Path) -> io::Result<Socket> {
        Socket::new(UnixStream::connect(path)?)
    }

    /// Returns the error that occurred on the connection since the last call, in particular while connecting.
    pub fn failure(&self) -> Option<io::Error> {
        let mut code: i32 = 0;
        let mut bytes = size_of_val(&code) as libc::socklen_t;
        let at: *mut i32 = &raw mut code;
        // SAFETY: the kernel writes one integer.
        let result = unsafe {
            libc::getsockopt(self.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, at.cast(), &raw mut bytes)
        };
        match (check(result), code) {
            (Err(error), _) => Some(error),
            (Ok(()), 0) => None,
            (Ok(()), code) => Some(io::Error::from_raw_os_error(code)),
        }
    }

    /// Receives into `room`. Returns the number of bytes; 0 is the end of the peer's output (or an empty `room`).
    #[inline]
    pub fn recv(&self, room: &mut [u8]) -> io::Result<usize> {
        // SAFETY: `room` is writable for its length.
        again(|| unsafe { libc::recv(self.fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) })
    }

    /// Receives into uninitialised memory and, when `room` is full, into `beyond`. Returns the bytes received into
    /// `room`, and the total number of bytes.
    pub fn recv_uninit<'a>(
        &self,
        room: &'a mut [MaybeUninit<u8>],
        beyond: &mut [u8],
    ) -> io::Result<(&'a mut [u8], usize)> {
        let pieces = [
            libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() },
            libc::iovec { iov_base: beyond.as_mut_ptr().cast(), iov_len: beyond.len() },
        ];
        let count = if beyond.is_empty() { 1 } else { 2 };
        // SAFETY: both are writable for their lengths; the kernel does not read them.
        let received = again(|| unsafe { libc::readv(self.fd.as_raw_fd(), pieces.as_ptr(), count) })?;
        let filled = &mut room[..received.min(pieces[0].iov_len)];
        // SAFETY: the kernel has filled the first `received` bytes of the two in a row.
        let filled = unsafe { slice::from_raw_parts_mut(filled.as_mut_ptr().cast(), filled.len()) };
        Ok((filled, received))
    }

    /// The number of bytes that have arrived but were not received yet; 0 where the system does not report it.
    pub fn unread(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the kernel writes the number.
        let failed = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::FIONREAD, &raw mut count) } != 0;
        if failed { 0 } else { usize::try_from(count).unwrap_or(0) }
    }

    /// Sends as much of `bytes` as the kernel takes at once. A peer that is gone is an error, never a signal.
    #[inline]
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: `bytes` is readable for its length.
        again(|| unsafe {
            libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
        })
    }

    /// Sends as much of the slices, in order, as the kernel takes at once; uses only the first [`MAX_SLICES`].
    #[inline]
    pub fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // SAFETY: plain numbers and pointers (some systems have padding between them); all zeroes is valid.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_iov = slices.as_ptr().cast_mut().cast();
        message.msg_iovlen = slices.len().min(MAX_SLICES) as _;
        // SAFETY: IoSlice has the layout of iovec, and the kernel only reads through the message.
        again(|| unsafe { libc::sendmsg(self.fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) })
    }

    /// Shuts down this end's output: the peer receives the bytes sent so far, then the end of the stream.
    pub fn shut_down_sending(&self) -> io::Result<()> {
        // SAFETY: no pointers.
        check(unsafe { libc::shutdown(self.fd.as_raw_fd(), libc::SHUT_WR) })
    }

    /// Waits until the socket is readable (or writable, if `to_send`) or closed. Returns false after `timeout_ms`, or
    /// if a signal interrupted the wait.
    pub fn wait(&self, to_send: bool, timeout_ms: u32) -> bool {
        let events = if to_send { libc::POLLOUT } else { libc::POLLIN };
        let mut wait = libc::pollfd { fd: self.fd.as_raw_fd(), events, revents: 0 };
        // SAFETY: points to one live structure, and the count is 1.
        unsafe { libc::poll(&raw mut wait, 1, i32::try_from(timeout_ms).unwrap_or(i32::MAX)) > 0 }
    }

    /// Sends small replies at once instead of delaying them (TCP only).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        set_option(self.fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, i32::from(on))
    }

    /// Lets the kernel probe a silent peer after `seconds`, then three times at a third of that, and then fail the
    /// connection (TCP only); 0 turns it off.
    pub fn set_keepalive(&self, seconds: u32) -> io::Result<()> {
        #[cfg(target_os = "macos")]
        const IDLE: i32 = libc::TCP_KEEPALIVE;
        #[cfg(not(target_os = "macos"))]
        const IDLE: i32 = libc::TCP_KEEPIDLE;
        let fd = self.fd.as_raw_fd();
        set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, i32::from(seconds > 0))?;
        if seconds == 0 {
            return Ok(());
        }
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        set_option(fd, libc::IPPROTO_TCP, IDLE, seconds)?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (seconds / 3).max(1))?;
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
    }

    /// The address of the other end. For a Unix socket the path is the listener's, since clients have none.
    pub fn peer(&self) -> Address {
        peer_of(self.as_raw_fd())
    }

    /// The address of this end.
    pub fn local(&self) -> Address {
        local_of(self.as_raw_fd())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// A listening, non-blocking socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    name: Box<str>,
    path: Option<PathBuf>,
}

impl Listener {
    /// Listens on one address of this machine: an IPv4 or IPv6 literal or a host name, or `*` and `::*` for all of
    /// either family. IPv6 leaves IPv4 alone, so both can be bound to the same port. Port 0 picks a free one: see
    /// [`Listener::local`].
    pub fn tcp(addr: &str, port: u16, backlog: u32) -> io::Result<Listener> {
        let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in resolve(addr, port)? {
            match listen_tcp(&address, backlog) {
                Ok(fd) => return Ok(Listener { fd, name: addr.into(), path: None }),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    /// Listens on a path, replacing a socket that was left there, and gives it the permissions `perm` (0: as the
    /// process's umask permits).
    pub fn unix(path: &Path, perm: u32, backlog: u32) -> io::Result<Listener> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let fd = OwnedFd::from(UnixListener::bind(path)?);
        prepare(fd.as_raw_fd())?;
        if perm != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(perm))?;
        }
        // The library already listens, with a backlog of its own choice; a second call replaces that.
        listen(fd.as_raw_fd(), backlog)?;
        Ok(Listener { fd, name: path.to_string_lossy().into(), path: Some(path.to_path_buf()) })
    }

    /// Returns the next connection, non-blocking, with the peer's address, or `None` if none is pending. Skips a
    /// connection that broke before it was accepted. Running out of descriptors (EMFILE, ENFILE) is an error that leaves
    /// the connection pending.
    pub fn accept(&self) -> io::Result<Option<(Socket, Address)>> {
        loop {
            match accept_raw(self.fd.as_raw_fd()) {
                Ok((fd, peer)) => return Ok(Some((Socket { fd }, peer))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if concerns_the_peer_alone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The address on which it listens.
    pub fn local(&self) -> Address {
        local_of(self.as_raw_fd())
    }

    /// Marks the packets of the listener and of the connections that it accepts, for the system's filters and routes.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        const MARK: i32 = libc::SO_MARK;
        #[cfg(target_os = "freebsd")]
        const MARK: i32 = libc::SO_USER_COOKIE;
        #[cfg(not(target_os = "macos"))]
        return set_option(self.fd.as_raw_fd(), libc::SOL_SOCKET, MARK, mark as i32);
        #[cfg(target_os = "macos")]
        return if mark == 0 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) };
    }

    /// The address or path as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of a Unix listener. It outlives the listener, since a forked child may close its copy of a listener
    /// that is still in use: the shutdown removes it.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn resolve(addr: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let all = match addr {
        "*" => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        "::*" => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return Ok((addr, port).to_socket_addrs()?.collect()),
    };
    Ok(vec![SocketAddr::new(all, port)])
}

fn listen_tcp(address: &SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: open, and ours alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let raw = fd.as_raw_fd();
    prepare(raw)?;
    set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    bind(raw, address)?;
    listen(raw, backlog)?;
    Ok(fd)
}

fn bind(fd: RawFd, address: &SocketAddr) -> io::Result<()> {
    // SAFETY: the address is readable for its length.
    check(with_address(address, |at, len| unsafe { libc::bind(fd, at, len) }))
}

/// Calls `call` with the address in the kernel's format: a pointer, readable during the call, and its length.
fn with_address<T>(
    address: &SocketAddr,
    call: impl FnOnce(*const libc::sockaddr, libc::socklen_t) -> T,
) -> T {
    // SAFETY: plain numbers; all zeroes is valid. The BSDs fill in their length fields themselves.
    let mut v4: libc::sockaddr_in = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut v6: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(address) => {
            v4.sin_family = libc::AF_INET as libc::sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            call((&raw const v4).cast(), size_of_val(&v4) as libc::socklen_t)
        }
        SocketAddr::V6(address) => {
            v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            v6.sin6_port = address.port().to_be();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_scope_id = address.scope_id();
            call((&raw const v6).cast(), size_of_val(&v6) as libc::socklen_t)
        }
    }
}

fn listen(fd: RawFd, backlog: u32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, i32::try_from(backlog).unwrap_or(i32::MAX)) })
}

/// Accepts a connection. The address is requested here because the kernel does not know it any more if the peer has
/// already reset the connection.
fn accept_raw(listener: RawFd) -> io::Result<(OwnedFd, Address)> {
    let mut accepted = -1;
    let peer = address(|at, len| {
        #[cfg(not(target_os = "macos"))]
        // SAFETY: the kernel writes at most `len` bytes at `at`, which are writable.
        let fd = unsafe { libc::accept4(listener, at, len, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) };
        #[cfg(target_os = "macos")]
        // SAFETY: as above.
        let fd = unsafe { libc::accept(listener, at, len) };
        accepted = fd;
        fd
    });
    check(accepted)?;
    // SAFETY: open, and ours alone.
    let fd = unsafe { OwnedFd::from_raw_fd(accepted) };
    #[cfg(target_os = "macos")]
    prepare(fd.as_raw_fd())?;
    Ok((fd, peer))
}

/// Whether an error of `accept` concerns only one pending connection, so that the next one may succeed.
fn concerns_the_peer_alone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

/// Makes a descriptor non-blocking and closed on exec, and keeps a send to a closed peer from raising a signal.
fn prepare(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        let flags = libc::fcntl(fd, libc::F_GETFL);
        check(flags)?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    // Older systems ignore MSG_NOSIGNAL.
    #[cfg(target_os = "macos")]
    set_option(fd, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, 1)?;
    Ok(())
}

fn set_option(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let bytes = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads one integer.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), bytes) })
}

type AskName = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

/// Returns the address of a socket's other end. For a Unix socket the path is the listener's, since clients have none.
pub fn peer_of(fd: RawFd) -> Address {
    match far_end_of(fd) {
        Address::Unix(path) if path.is_empty() => local_of(fd),
        address => address,
    }
}

/// Returns the address of a socket's own end.
pub fn local_of(fd: RawFd) -> Address {
    name(fd, libc::getsockname)
}

/// [`peer_of`] for a signal handler: allocates only for a Unix client that has a path of its own.
pub(super) fn far_end_of(fd: RawFd) -> Address {
    name(fd, libc::getpeername)
}

fn name(fd: RawFd, ask: AskName) -> Address {
    // SAFETY: the kernel writes at most `len` bytes at `at`, which are writable.
    address(|at, len| unsafe { ask(fd, at, len) })
}

/// Returns the address that `ask` writes. Its arguments are the address of a structure, and that of the structure's size.
fn address(ask: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> i32) -> Address {
    // SAFETY: plain numbers; all zeroes is valid.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut bytes = size_of_val(&storage) as libc::socklen_t;
    if ask((&raw mut storage).cast(), &raw mut bytes) < 0 {
        return Address::Unknown;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family determines which structure the storage holds; the storage is large and aligned enough
            // for all.
            let v4: &libc::sockaddr_in = unsafe { &*(&raw const storage).cast() };
            Address::V4(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()), u16::from_be(v4.sin_port))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6: &libc::sockaddr_in6 = unsafe { &*(&raw const storage).cast() };
            Address::V6(Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port))
        }
        libc::AF_UNIX => {
            // SAFETY: as above.
            let unix: &libc::sockaddr_un = unsafe { &*(&raw const storage).cast() };
            let path: Vec<u8> = unix.sun_path.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
            Address::Unix(String::from_utf8_lossy(&path).into())
        }
        _ => Address::Unknown,
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Retries a call that a signal interrupted.
#[inline]
fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::*;

    fn accepted(listener: &Listener) -> Socket {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((socket, _)) = listener.accept().unwrap() {
                return socket;
            }
            assert!(Instant::now() < deadline, "nobody connected");
            std::thread::yield_now();
        }
    }

    /// Polls until the connection is established or has failed.
    fn settled(socket: &Socket) -> Option<io::Error> {
        use crate::sys::poller::{Interest, NativePoller, Poller, Source, Token};
        let mut poller = NativePoller::new().unwrap();
        poller.add(socket.as_fd(), Source::Client(Token::new(0, 0)), Interest::WRITE).unwrap();
        assert_eq!(poller.wait(Some(10_000)).unwrap(), 1);
        socket.failure()
    }

    #[test]
    fn a_connection_is_made_without_waiting_and_a_refusal_is_told() {
        let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local().port()));
        let near = Socket::connect(&address).unwrap();
        assert!(settled(&near).is_none());
        let far = accepted(&listener);
        assert_eq!(near.send(b"hello").unwrap(), 5);
        let mut room = [0; 8];
        assert_eq!(far.recv(&mut room).unwrap(), 5);
        drop(listener);
        let refused = match Socket::connect(&address) {
            Err(error) => error,
            Ok(socket) => settled(&socket).unwrap(),
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_connection_is_made_from_an_address_of_this_machine_and_of_the_same_kind() {
        let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local().port()));
        for ip in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            let outgoing = Outgoing::new(true).unwrap();
            outgoing.bind(ip.into()).unwrap();
            let near = outgoing.connect(&address).unwrap();
            assert!(settled(&near).is_none());
            assert_eq!(accepted(&listener).peer().ip_text(), IpAddr::from(ip).to_string());
        }
        let outgoing = Outgoing::new(true).unwrap();
        // An address for documents, and one of the other kind.
        assert!(outgoing.bind([192, 0, 2, 1].into()).is_err());
        assert!(outgoing.bind(Ipv6Addr::LOCALHOST.into()).is_err());
        let near = outgoing.connect(&address).unwrap();
        assert!(settled(&near).is_none(), "the kernel chooses the address");
    }

    fn connected() -> (TcpStream, Socket) {
        let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
        let client = TcpStream::connect(("127.0.0.1", listener.local().port())).unwrap();
        let socket = accepted(&listener);
        (client, socket)
    }

    /// Receives until at least a byte has arrived.
    fn received(socket: &Socket, room: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match socket.recv(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "nothing came");
                    std::thread::yield_now();
                }
                result => return result,
            }
        }
    }

    fn temporary_path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("redstart-net-{}-{name}", std::process::id()))
    }

    #[test]
    fn without_a_peer_accept_gives_none_and_without_bytes_recv_would_block() {
        let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
        assert!(listener.accept().unwrap().is_none());
        let (_client, socket) = connected();
        assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn bytes_go_both_ways_and_the_end_is_zero() {
        let (mut client, socket) = connected();
        socket.set_nodelay(true).unwrap();
        client.write_all(b"question").unwrap();
        let mut room = [0; 64];
        assert_eq!(received(&socket, &mut room).unwrap(), 8);
        assert_eq!(&room[..8], b"question");
        assert_eq!(socket.send(b"one ").unwrap(), 4);
        assert_eq!(socket.send_vectored(&[IoSlice::new(b"two "), IoSlice::new(b"three")]).unwrap(), 9);
        let mut bytes = [0; 13];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"one two three");
        drop(client);
        assert_eq!(received(&socket, &mut room).unwrap(), 0);
    }

    #[test]
    fn uninitialised_memory_can_be_received_into_and_what_follows_elsewhere() {
        let (mut client, socket) = connected();
        client.write_all(b"abcdef").unwrap();
        assert_eq!(received(&socket, &mut [0; 1]).unwrap(), 1);
        assert_eq!(socket.unread(), 5, "one segment");
        let mut block: Vec<u8> = Vec::with_capacity(16);
        assert_eq!(socket.recv_uninit(&mut block.spare_capacity_mut()[..1], &mut []).unwrap().1, 1);
        let mut beyond = [0; 8];
        let (_, count) = socket.recv_uninit(&mut block.spare_capacity_mut()[1..3], &mut beyond).unwrap();
        assert_eq!((count, &beyond[..2]), (4, &b"ef"[..]));
        // SAFETY: one byte and then two were received.
        unsafe { block.set_len(3) };
        assert_eq!(block, b"bcd");
        assert_eq!(socket.unread(), 0);
    }

    #[test]
    fn a_vectored_send_of_more_slices_than_the_kernel_takes_sends_the_first() {
        let (mut client, socket) = connected();
        let slices = vec![IoSlice::new(b"x"); MAX_SLICES + 5];
        let sent = socket.send_vectored(&slices).unwrap();
        assert!(sent > 0 && sent <= MAX_SLICES);
        client.read_exact(&mut vec![0; sent]).unwrap();
    }

    #[test]
    fn sending_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (client, socket) = connected();
        drop(client);
        let deadline = Instant::now() + Duration::from_secs(10);
        while socket.send(b"anyone?").is_ok() {
            assert!(Instant::now() < deadline, "a closed connection takes everything");
        }
    }

    #[test]
    fn keepalive_is_set_and_reset() {
        let (_client, socket) = connected();
        let get = |option| {
            let (mut value, mut bytes) = (0i32, 4);
            let level = if option == libc::SO_KEEPALIVE { libc::SOL_SOCKET } else { libc::IPPROTO_TCP };
            // SAFETY: the kernel writes one integer.
            let result = unsafe {
                libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut bytes)
            };
            assert_eq!(result, 0);
            value
        };
        socket.set_keepalive(300).unwrap();
        assert_ne!(get(libc::SO_KEEPALIVE), 0);
        assert_eq!((get(libc::TCP_KEEPINTVL), get(libc::TCP_KEEPCNT)), (100, 3));
        socket.set_keepalive(1).unwrap();
        assert_eq!(get(libc::TCP_KEEPINTVL), 1);
        socket.set_keepalive(0).unwrap();
        assert_eq!(get(libc::SO_KEEPALIVE), 0);
    }

    #[test]
    fn both_ends_of_a_tcp_connection_know_each_other() {
        let (client, socket) = connected();
        assert_eq!(socket.peer().to_string(), client.local_addr().unwrap().to_string());
        assert_eq!(socket.local().to_string(), client.peer_addr().unwrap().to_string());
        assert!(socket.peer().is_loopback());
    }

    #[test]
    fn ipv6_and_ipv4_can_listen_on_the_same_port() {
        let Ok(six) = Listener::tcp("::1", 0, 16) else {
            assert!(std::net::TcpListener::bind("[::1]:0").is_err(), "this machine has IPv6");
            return;
        };
        let client = TcpStream::connect(("::1", six.local().port())).unwrap();
        let socket = accepted(&six);
        assert_eq!(socket.peer().to_string(), client.local_addr().unwrap().to_string());
        assert!(socket.peer().to_string().starts_with("[::1]:") && socket.peer().is_loopback());
        let all = Listener::tcp("::*", 0, 16).unwrap();
        // That port may be in use for IPv4; then the test tries another one.
        let both = Listener::tcp("*", all.local().port(), 16).is_ok()
            || (0..100).any(|_| {
                let six = Listener::tcp("::*", 0, 16).unwrap();
                Listener::tcp("*", six.local().port(), 16).is_ok()
            });
        assert!(both);
    }

    #[test]
    fn a_port_in_use_is_refused_and_one_just_left_is_not() {
        let listener = Listener::tcp("127.0.0.1", 0, 16).unwrap();
        let port = listener.local().port();
        assert_eq!(Listener::tcp("127.0.0.1", port, 16).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        drop((accepted(&listener), listener, client));
        // The connection lingers in the kernel, which SO_REUSEADDR permits.
        Listener::tcp("127.0.0.1", port, 16).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        assert!(Listener::tcp("192.0.2.1", 0, 16).is_err());
        assert!(Listener::tcp("not an address", 0, 16).is_err());
    }

    #[test]
    fn a_unix_socket_has_its_permissions_and_names_its_path() {
        let path = temporary_path("permissions");
        let listener = Listener::unix(&path, 0o700, 16).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let mut client = UnixStream::connect(&path).unwrap();
        let socket = accepted(&listener);
        client.write_all(b"hi").unwrap();
        assert_eq!(received(&socket, &mut [0; 8]).unwrap(), 2);
        assert_eq!(socket.peer().to_string(), format!("{}:0", path.display()));
        assert_eq!(socket.peer(), socket.local());
        assert!(socket.peer().is_loopback());
        assert_eq!(listener.path(), Some(path.as_path()));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_any_other_file_is_not() {
        let path = temporary_path("left");
        drop(Listener::unix(&path, 0, 16).unwrap());
        assert!(path.exists());
        drop(Listener::unix(&path, 0, 16).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(Listener::unix(&path, 0, 16).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn addresses_print_as_client_lists_show_them() {
        assert_eq!(Address::V4(Ipv4Addr::LOCALHOST, 6379).to_string(), "127.0.0.1:6379");
        assert_eq!(Address::V6(Ipv6Addr::LOCALHOST, 6379).to_string(), "[::1]:6379");
        assert_eq!(Address::Unix("/run/r.sock".into()).to_string(), "/run/r.sock:0");
        assert_eq!(Address::Unknown.to_string(), "?:0");
        assert!(!Address::V4(Ipv4Addr::new(10, 0, 0, 1), 1).is_loopback());
        assert!(Address::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 1).is_loopback());
        assert!(!Address::Unknown.is_loopback());
    }
}
