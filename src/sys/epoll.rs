//! The poller of Linux: epoll, level-triggered, with an eventfd as wake-up.
//!
//! The kernel writes its events into a fixed array, which is read in place. A wake-up is one of these events. After
//! each wait, one scan of the sources removes it from the batch, which costs less than a nanosecond per event and needs
//! neither a copy nor state that is shared with the waking threads.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::sys::poller::{BATCH, Event, Interest, Poller, Source, WAKER, Waker};

/// An epoll instance, its wake-up and the events of the last wait.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    waker: Waker,
    ready: usize,
    events: Box<[libc::epoll_event; BATCH]>,
}

impl Epoll {
    fn control(&self, op: i32, fd: BorrowedFd<'_>, data: u64, interest: Interest) -> io::Result<()> {
        let mut events = 0;
        if interest.read {
            events |= libc::EPOLLIN;
        }
        if interest.write {
            events |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: both descriptors are open, and the kernel only reads `event`.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Returns the result of a wait whose system call returned `count`.
    #[inline]
    fn finish(&mut self, count: i32) -> io::Result<usize> {
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        self.ready = count as usize;
        if let Some(index) = self.events[..self.ready].iter().position(|event| event.u64 == WAKER) {
            self.swallow_wake(index);
        }
        Ok(self.ready)
    }

    /// Removes the wake-up at `index` from the batch and resets the eventfd.
    #[cold]
    fn swallow_wake(&mut self, index: usize) {
        let mut count = [0u8; 8];
        // SAFETY: eight writable bytes, the size of an eventfd's counter; the read does not block.
        unsafe { libc::read(self.waker.fd().as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        self.ready -= 1;
        self.events[index] = self.events[self.ready];
    }
}

impl Poller for Epoll {
    fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; the new descriptor has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        // SAFETY: as above.
        let wake =
            unsafe { OwnedFd::from_raw_fd(check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?) };
        let events = Box::new([libc::epoll_event { events: 0, u64: 0 }; BATCH]);
        let epoll = Epoll { fd, waker: Waker::new(wake), ready: 0, events };
        epoll.control(libc::EPOLL_CTL_ADD, epoll.waker.fd(), WAKER, Interest::READ)?;
        Ok(epoll)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, source.to_u64(), interest)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, source: Source, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, source.to_u64(), interest)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // The event is ignored, but kernels before 2.6.9 require one.
        self.control(libc::EPOLL_CTL_DEL, fd, WAKER, Interest::NONE)
    }

    #[inline]
    fn wait(&mut self, timeout_ms: Option<u32>) -> io::Result<usize> {
        self.ready = 0;
        let timeout = timeout_ms.map_or(-1, |ms| ms.min(i32::MAX as u32) as i32);
        // SAFETY: the array has room for BATCH events and is not read before the call has returned.
        let count =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), BATCH as i32, timeout) };
        self.finish(count)
    }

    fn wait_ns(&mut self, timeout_ns: u64) -> io::Result<usize> {
        self.ready = 0;
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: as for `wait`; the kernel reads the timeout, and there is no mask of signals.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                BATCH as i32,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        if count < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
            return self.wait(Some(u32::try_from(timeout_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX)));
        }
        self.finish(count as i32)
    }

    #[inline]
    fn event(&self, index: usize) -> Event {
        let event = self.events[..self.ready][index];
        let events = event.events as i32;
        let closed = events & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
        Event {
            source: Source::from_u64(event.u64),
            readable: events & libc::EPOLLIN != 0 || closed,
            writable: events & libc::EPOLLOUT != 0,
            closed,
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
