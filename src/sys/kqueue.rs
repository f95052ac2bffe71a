//! The poller of macOS and FreeBSD: kqueue, level-triggered, with a pair of sockets as wake-up.
//!
//! A kqueue treats each direction of a descriptor as a separate filter with separate events. This poller stores the
//! interest of each descriptor, so that a change names only the filters that are added or removed: usually one of them,
//! in one call. The wake-up is a pair of sockets rather than `EVFILT_USER`: a signal handler can write a byte to a
//! socket, and sockets work the same on every kernel.
//!
//! All names of the kernel come through [`ffi`]. Compiled with `--cfg libkqueue` it declares a Linux port of the
//! interface instead, so that this file can also run there.

use std::io;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use crate::sys::poller::{BATCH, Event, Interest, Poller, Source, WAKER, Waker};

#[cfg(not(libkqueue))]
mod ffi {
    pub use libc::{
        EV_ADD, EV_DELETE, EV_EOF, EV_ERROR, EV_RECEIPT, EVFILT_READ, EVFILT_WRITE, kevent, kqueue,
    };
}

#[cfg(libkqueue)]
mod ffi {
    #![allow(non_camel_case_types, missing_docs)]
    use std::ffi::{c_int, c_void};

    #[derive(Clone, Copy)]
    #[repr(C)]
    pub struct kevent {
        pub ident: usize,
        pub filter: i16,
        pub flags: u16,
        pub fflags: u32,
        pub data: isize,
        pub udata: *mut c_void,
    }

    pub const EVFILT_READ: i16 = -1;
    pub const EVFILT_WRITE: i16 = -2;
    pub const EV_ADD: u16 = 0x0001;
    pub const EV_DELETE: u16 = 0x0002;
    pub const EV_RECEIPT: u16 = 0x0040;
    pub const EV_ERROR: u16 = 0x4000;
    pub const EV_EOF: u16 = 0x8000;

    #[link(name = "kqueue")]
    unsafe extern "C" {
        pub fn kqueue() -> c_int;
        pub fn kevent(
            kq: c_int,
            changes: *const kevent,
            change_count: c_int,
            events: *mut kevent,
            event_count: c_int,
            timeout: *const libc::timespec,
        ) -> c_int;
    }
}

const _: () = assert!(size_of::<usize>() == 8, "a source travels as a pointer");

/// A kqueue, its wake-up and the events of the last wait.
pub struct Kqueue {
    fd: OwnedFd,
    waker: Waker,
    /// The interest of each descriptor, by its number.
    interests: Vec<Interest>,
    /// The reading end of the wake-up.
    wakes: UnixStream,
    ready: usize,
    events: Box<[ffi::kevent]>,
}

impl std::fmt::Debug for Kqueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kqueue").field("fd", &self.fd).field("ready", &self.ready).finish_non_exhaustive()
    }
}

// SAFETY: the pointers inside are sources, which nobody dereferences.
unsafe impl Send for Kqueue {}

fn empty() -> ffi::kevent {
    // SAFETY: plain numbers and one pointer (some kernels have more fields than others); all zeroes is valid.
    unsafe { std::mem::zeroed() }
}

fn change(fd: BorrowedFd<'_>, filter: i16, data: u64, wanted: bool) -> ffi::kevent {
    let mut change = empty();
    change.ident = fd.as_raw_fd() as usize;
    change.filter = filter;
    change.flags = ffi::EV_RECEIPT | if wanted { ffi::EV_ADD } else { ffi::EV_DELETE };
    change.udata = ptr::without_provenance_mut(data as usize);
    change
}

impl Kqueue {
    /// Adds the missing filters of `interest` to `fd`, and removes its others.
    fn control(&mut self, fd: BorrowedFd<'_>, data: u64, interest: Interest) -> io::Result<()> {
        let number = fd.as_raw_fd() as usize;
        let before = self.interests.get(number).copied().unwrap_or(Interest::NONE);
        let mut changes = [empty(); 2];
        let mut count = 0;
        for (filter, was, wanted) in [
            (ffi::EVFILT_READ, before.read, interest.read),
            (ffi::EVFILT_WRITE, before.write, interest.write),
        ] {
            if was != wanted {
                changes[count] = change(fd, filter, data, wanted);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(());
        }
        self.apply(&changes[..count])?;
        if number >= self.interests.len() {
            self.interests.resize(number + 1, Interest::NONE);
        }
        self.interests[number] = interest;
        Ok(())
    }

    fn apply(&self, changes: &[ffi::kevent]) -> io::Result<()> {
        let mut receipts = [empty(); 2];
        let count = changes.len() as i32;
        // SAFETY: `count` changes to read, at most two, and room for their receipts; EV_RECEIPT makes the call return
        // at once.
        let count = unsafe {
            ffi::kevent(
                self.fd.as_raw_fd(),
                changes.as_ptr(),
                count,
                receipts.as_mut_ptr(),
                count,
                ptr::null(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        for (receipt, change) in receipts[..count as usize].iter().zip(changes) {
            let errno = receipt.data as i32;
            let absent = change.flags & ffi::EV_DELETE != 0 && errno == libc::ENOENT;
            // Some kernels return EPIPE if the peer is already gone; the other filter reports that.
            if errno != 0 && !absent && errno != libc::EPIPE {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        Ok(())
    }

    #[inline]
    fn wait_for(&mut self, limit: Option<libc::timespec>) -> io::Result<usize> {
        self.ready = 0;
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: no changes; the array has room for BATCH events; `limit` is null or outlives the call.
        let count = unsafe {
            ffi::kevent(self.fd.as_raw_fd(), ptr::null(), 0, self.events.as_mut_ptr(), BATCH as i32, limit)
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        self.ready = count as usize;
        if let Some(index) =
            self.events[..self.ready].iter().position(|event| event.udata.addr() as u64 == WAKER)
        {
            self.swallow_wake(index);
        }
        Ok(self.ready)
    }

    /// Removes the wake-up at `index` from the batch and empties its socket.
    #[cold]
    fn swallow_wake(&mut self, index: usize) {
        let mut bytes = [0u8; 512];
        // The socket is non-blocking and holds a few kilobytes: a short read or an error ends this.
        while matches!(self.wakes.read(&mut bytes), Ok(count) if count == bytes.len()) {}
        self.ready -= 1;
        self.events[index] = self.events[self.ready];
    }
}

impl Poller for Kqueue {
    fn new() -> io::Result<Kqueue> {
        // SAFETY: no pointers; the new descriptor has no other owner. A forked child does not inherit a kqueue.
        let fd = unsafe {
            let fd = ffi::kqueue();
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            OwnedFd::from_raw_fd(fd)
        };
        let (wakes, wake) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let events = vec![empty(); BATCH].into_boxed_slice();
        let kqueue =
            Kqueue { fd, waker: Waker::new(wake.into()), interests: Vec::new(), wakes, ready: 0, events };
        kqueue.apply(&[change(kqueue.wakes.as_fd(), ffi::EVFILT_READ, WAKER, true)])?;
        Ok(kqueue)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()> {
        // An earlier descriptor with this number may have been closed without being removed; the kernel dropped its
        // filters.
        if let Some(before) = self.interests.get_mut(fd.as_raw_fd() as usize) {
            *before = Interest::NONE;
        }
        self.control(fd, source.to_u64(), interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()> {
        self.control(fd, source.to_u64(), interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(fd, WAKER, Interest::NONE)
    }

    #[inline]
    fn wait(&mut self, timeout_ms: Option<u32>) -> io::Result<usize> {
        self.wait_for(timeout_ms.map(|ms| libc::timespec {
            tv_sec: libc::time_t::from(ms / 1000),
            tv_nsec: libc::c_long::from(ms % 1000) * 1_000_000,
        }))
    }

    fn wait_ns(&mut self, timeout_ns: u64) -> io::Result<usize> {
        self.wait_for(Some(libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        }))
    }

    #[inline]
    fn event(&self, index: usize) -> Event {
        let event = &self.events[..self.ready][index];
        let eof = event.flags & ffi::EV_EOF != 0;
        // EOF of the read filter alone is an ordinary end of file: the peer may still read its replies.
        let failed = event.flags & ffi::EV_ERROR != 0 || (eof && event.fflags != 0);
        let closed = failed || (eof && event.filter == ffi::EVFILT_WRITE);
        Event {
            source: Source::from_u64(event.udata.addr() as u64),
            readable: event.filter == ffi::EVFILT_READ || closed,
            writable: event.filter == ffi::EVFILT_WRITE,
            closed,
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
