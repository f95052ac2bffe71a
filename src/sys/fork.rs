//! A forked child that works on a snapshot of the memory, and the link by which it reports to its parent.
//!
//! ```text
//!   parent   fork ─▶ Child { poll, next_report, kill }  ◀── pipe ◀──  Link { begin, progress, finish, exit }   child
//! ```
//!
//! The child is a process of one thread: the loop's, in its state at [`fork`]. Work of the parent's other threads stays
//! unfinished there, so the child sends nothing to a background thread and takes no lock that one may have held. The
//! allocators are consistent: both take their locks before the fork and release them after it.
//!
//! A child never outlives its parent: the kernel kills it (on Linux, when the thread that forked ends, and on FreeBSD);
//! elsewhere the next report finds the pipe broken. The child runs none of the parent's signal handlers. It ignores
//! SIGINT and SIGTERM, since a terminal and a supervisor send them to all processes of a group, and the parent decides
//! when the child ends. SIGUSR1 ends it, as it ends Redis': its exit status then shows an intended end, unlike that of
//! a process that was killed because memory had run out.
//!
//! Costs: `fork` copies the page tables, about 10 ms for each gigabyte of small pages. A report is one write of 24
//! bytes, at most one a second. Measuring the copied bytes takes at most 1 % of the time, as the kernel walks all page
//! tables for it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::sys::{clock, crash, host, memory, signal, title};

/// Which of the two processes this is.
pub enum Forked {
    /// The calling process.
    Parent(Child),
    /// The new process. It must end by [`Link::exit`], and does so when the link is dropped.
    Child(Link),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With its exit status.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// Whether [`Child::kill`] ended it, or an operator who sent SIGUSR1; that is not an error.
    pub fn was_wanted(self) -> bool {
        self == Exit::Signal(libc::SIGUSR1)
    }
}

/// A child's report to its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys processed so far.
    pub keys: u64,
    /// Bytes that the kernel has copied since the fork because either process wrote.
    pub cow_bytes: u64,
    /// Whether this is the last report: the work is done.
    pub final_: bool,
}

/// The size of a report in the pipe; at most the size that a pipe writes atomically, so that a report is never split.
const REPORT_BYTES: usize = 24;
const _: () = assert!(REPORT_BYTES <= 512, "what POSIX guarantees to be written in one piece");

impl Report {
    fn to_bytes(self) -> [u8; REPORT_BYTES] {
        let mut bytes = [0; REPORT_BYTES];
        for (place, word) in
            bytes.chunks_exact_mut(8).zip([self.keys, self.cow_bytes, u64::from(self.final_)])
        {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: [u8; REPORT_BYTES]) -> Report {
        let (words, _) = bytes.as_chunks::<8>();
        let [keys, cow_bytes, final_] = [0, 1, 2].map(|i| u64::from_ne_bytes(words[i]));
        Report { keys, cow_bytes, final_: final_ != 0 }
    }
}

/// Forks. Returns in both processes which one it is, and how many microseconds the call took.
///
/// # Errors
/// Those of `fork` (`EAGAIN`, `ENOMEM`) and of `pipe` (`EMFILE`).
pub fn fork() -> io::Result<(Forked, u64)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(&reader)?;
    set_nonblocking(&writer)?;
    signal::watch_children()?;
    let parent = Pid::this();
    // No signal is delivered to the child before it has reset the parent's handlers.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let start_us = clock::monotonic_us();
    // SAFETY: the child continues with this thread alone. It uses both allocators, which are consistent after a fork,
    // and nothing that waits for another thread (see the module's head).
    let result = unsafe { nix::unistd::fork() };
    let took_us = clock::monotonic_us() - start_us;
    if let Ok(nix::unistd::ForkResult::Child) = result {
        drop(reader);
        let link = Link::new(writer, parent);
        link.follow_parent(&mask);
        return Ok((Forked::Child(link), took_us));
    }
    mask.thread_set_mask()?;
    match result? {
        nix::unistd::ForkResult::Parent { child } => {
            let child = Child { pid: child, exit: None, reports: reader, part: [0; REPORT_BYTES], have: 0 };
            Ok((Forked::Parent(child), took_us))
        }
        nix::unistd::ForkResult::Child => unreachable!("the child has returned above"),
    }
}

/// Opens a pipe for data that a child sends besides its reports. Returns the parent's end, which is non-blocking, and
/// the child's.
///
/// # Errors
/// Those of `pipe` (`EMFILE`).
pub fn data_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(&reader)?;
    Ok((reader, writer))
}

fn set_nonblocking(end: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(end, FcntlArg::F_GETFL)?);
    fcntl(end, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn set_action(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: the callers pass the default action or none.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// A child, as seen by its parent. Dropping it kills a running child and waits for it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    exit: Option<Exit>,
    reports: PipeReader,
    /// The first bytes of a report that is still incomplete.
    part: [u8; REPORT_BYTES],
    have: usize,
}

impl Child {
    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Returns how the child ended, or `None` while it runs. Does not wait, and collects the status of no other child.
    /// The child's reports can still be read after its end.
    ///
    /// # Errors
    /// `ECHILD` if the status was collected elsewhere: then it is unknown how the child ended.
    pub fn poll(&mut self) -> io::Result<Option<Exit>> {
        self.wait(Some(WaitPidFlag::WNOHANG))
    }

    /// Ends the child by SIGUSR1, whatever it is doing; [`Child::poll`] returns when it has ended. A stopped child ends
    /// as well. The parent must remove the child's half-written files.
    pub fn kill(&mut self) {
        self.send(Signal::SIGUSR1);
        self.send(Signal::SIGCONT);
    }

    /// Returns the next report, if a whole one has arrived. Does not wait.
    pub fn next_report(&mut self) -> Option<Report> {
        while self.have < REPORT_BYTES {
            match self.reports.read(&mut self.part[self.have..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return None,
                Ok(count) => self.have += count,
            }
        }
        self.have = 0;
        Some(Report::from_bytes(self.part))
    }

    fn send(&self, signal: Signal) {
        if self.exit.is_none() {
            // The process id stays the child's until its status is collected, so the signal hits no other process.
            let _ = kill(self.pid, signal);
        }
    }

    fn wait(&mut self, flags: Option<WaitPidFlag>) -> io::Result<Option<Exit>> {
        while self.exit.is_none() {
            match waitpid(self.pid, flags) {
                Ok(WaitStatus::Exited(_, status)) => self.exit = Some(Exit::Status(status)),
                Ok(WaitStatus::Signaled(_, signal, _)) => self.exit = Some(Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) => return Ok(None),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.exit)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.send(Signal::SIGKILL);
        // Fails only if there is no child left to wait for.
        let _ = self.wait(None);
    }
}

/// Properties of a child that differ from its parent's.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Its title in `ps`; `None` keeps the parent's.
    pub title: Option<Vec<u8>>,
    /// The score by which the kernel picks a process to kill when memory runs out; `None` keeps the parent's.
    pub oom_score: Option<i32>,
    /// The processors that it may use; empty for all of the parent's.
    pub processors: Vec<usize>,
    /// Descriptors that stay open, besides the three standard ones and the link's.
    pub keep: Vec<RawFd>,
}

/// Bytes of pages copied since the fork, as measured by a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOnWrite {
    /// At the last measurement.
    pub current: u64,
    /// The largest measurement.
    pub peak: u64,
    /// The average of all measurements.
    pub average: u64,
}

/// The time between two progress reports.
const REPORT_EVERY_US: u64 = 1_000_000;

/// Calls of [`Link::progress`] between two reads of the clock.
const CALLS_PER_LOOK: u32 = 1024;

/// The next measurement of the copies waits this many times as long as the last one took.
const COW_REST: u64 = 100;

/// The parent, as seen by its child. Dropping it ends the child with status 1: the code that follows is the parent's.
#[derive(Debug)]
pub struct Link {
    reports: PipeWriter,
    parent: Pid,
    calls: u32,
    reported_us: u64,
    cow: CopyOnWrite,
    cow_sum: u64,
    cow_looks: u64,
    cow_looked_us: u64,
    cow_cost_us: u64,
}

impl Link {
    fn new(reports: PipeWriter, parent: Pid) -> Link {
        Link {
            reports,
            parent,
            calls: 0,
            reported_us: clock::monotonic_us(),
            cow: CopyOnWrite::default(),
            cow_sum: 0,
            cow_looks: 0,
            cow_looked_us: 0,
            cow_cost_us: 0,
        }
    }

    /// Binds the child's life to the parent's, and resets the parent's signal handlers. `mask` is the parent's signal
    /// mask.
    fn follow_parent(&self, mask: &SigSet) {
        platform::die_with_parent();
        // The parent may have ended before the kernel's binding took effect.
        if self.parent_is_gone() {
            quit(1);
        }
        let actions = [
            (Signal::SIGINT, SigHandler::SigIgn),
            (Signal::SIGTERM, SigHandler::SigIgn),
            (Signal::SIGUSR1, SigHandler::SigDfl),
            (Signal::SIGCHLD, SigHandler::SigDfl),
        ];
        if actions.into_iter().any(|(signal, handler)| set_action(signal, handler).is_err())
            || mask.thread_set_mask().is_err()
        {
            quit(1);
        }
        crash::now_serving_nobody();
    }

    /// Applies a role. A score or processors that the system refuses stay as they are.
    ///
    /// Closes all descriptors except those to keep: if the child kept a socket that the parent closes, the peer would
    /// see no end of the connection, and an address that the parent listened on could not be bound again. This includes
    /// the descriptors of objects that the child shares with the parent's code, so it uses none of these.
    pub fn begin(&self, role: &Role) {
        host::close_syslog();
        let keep: Vec<RawFd> = role.keep.iter().copied().chain([self.reports.as_raw_fd()]).collect();
        close_all_but(&keep);
        if let Some(text) = &role.title {
            title::set(text);
        }
        if let Some(score) = role.oom_score {
            let _ = host::set_oom_score(score);
        }
        if !role.processors.is_empty() {
            let _ = host::pin(&role.processors);
        }
    }

    /// Records that `keys` keys are done, and sends a report if the last one was a second ago. Call it for each key:
    /// mostly an addition and a comparison. Ends the child if the parent has ended.
    #[inline]
    pub fn progress(&mut self, keys: u64) {
        self.calls += 1;
        if self.calls >= CALLS_PER_LOOK {
            self.calls = 0;
            self.progress_now(keys);
        }
    }

    #[cold]
    fn progress_now(&mut self, keys: u64) {
        let now_us = clock::monotonic_us();
        if now_us - self.reported_us < REPORT_EVERY_US {
            return;
        }
        if self.parent_is_gone() {
            quit(1);
        }
        if now_us - self.cow_looked_us >= self.cow_cost_us * COW_REST {
            self.look_at_copies();
        }
        self.reported_us = clock::monotonic_us();
        self.report(Report { keys, cow_bytes: self.cow.current, final_: false });
    }

    /// Reports the end of the work and the bytes copied until now; returns the latter.
    pub fn finish(&mut self, keys: u64) -> CopyOnWrite {
        self.look_at_copies();
        self.report(Report { keys, cow_bytes: self.cow.current, final_: true });
        self.cow
    }

    fn look_at_copies(&mut self) {
        let start_us = clock::monotonic_us();
        let bytes = memory::private_dirty_bytes();
        self.cow_looked_us = clock::monotonic_us();
        self.cow_cost_us = self.cow_looked_us - start_us;
        (self.cow_sum, self.cow_looks) = (self.cow_sum + bytes, self.cow_looks + 1);
        self.cow = CopyOnWrite {
            current: bytes,
            peak: self.cow.peak.max(bytes),
            average: self.cow_sum / self.cow_looks,
        };
    }

    /// Sends a report. Drops it if some thousands of earlier ones are unread, unless it is the last: that one waits.
    /// Ends the child if the parent has ended.
    pub fn report(&mut self, report: Report) {
        let bytes = report.to_bytes();
        loop {
            match self.reports.write(&bytes) {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !report.final_ {
                        return;
                    }
                    self.wait_for_room();
                }
                // The reading end is closed.
                Err(_) => quit(1),
            }
        }
    }

    fn wait_for_room(&self) {
        let mut wait = libc::pollfd { fd: self.reports.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one structure, ours. The result does not matter: the next write shows whether there is room.
        unsafe { libc::poll(&raw mut wait, 1, -1) };
    }

    /// Whether the parent has ended.
    pub fn parent_is_gone(&self) -> bool {
        Pid::parent() != self.parent
    }

    /// Ends the child at once: no destructor and no exit handler runs, since they would clean up state of the parent.
    pub fn exit(self, status: i32) -> ! {
        quit(status)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        quit(1);
    }
}

fn quit(status: i32) -> ! {
    // SAFETY: ends the process without running any more of its code.
    unsafe { libc::_exit(status) }
}

/// Closes all descriptors except the three standard ones and `keep`, whatever objects own them. For a child that no
/// longer uses these objects.
fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|&fd| libc::c_uint::try_from(fd).ok()).collect();
    keep.extend([0, 1, 2]);
    keep.sort_unstable();
    let mut first = 0;
    for fd in keep {
        if fd > first {
            platform::close_range(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    platform::close_range(first, libc::c_uint::MAX);
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
mod platform {
    use libc::c_uint;

    #[cfg(target_os = "linux")]
    pub fn die_with_parent() {
        let signal = libc::SIGKILL as libc::c_ulong;
        // SAFETY: numbers only. If it is refused, the check at each report still ends the child.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    }

    #[cfg(target_os = "freebsd")]
    pub fn die_with_parent() {
        let mut signal = libc::SIGKILL;
        // SAFETY: the signal is readable; the number 0 means this process. If it is refused, the check at each report
        // still ends the child.
        unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
    }

    pub fn close_range(first: c_uint, last: c_uint) {
        #[cfg(target_os = "linux")]
        // SAFETY: numbers only. The caller uses none of the objects that own the descriptors.
        let refused = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0 as c_uint) } != 0;
        #[cfg(target_os = "freebsd")]
        // SAFETY: as above.
        let refused = unsafe { libc::close_range(first, last, 0) } != 0;
        if refused {
            super::close_one_by_one(first, last);
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod platform {
    pub fn die_with_parent() {}

    pub fn close_range(first: libc::c_uint, last: libc::c_uint) {
        super::close_one_by_one(first, last);
    }
}

/// For kernels that cannot close a range.
fn close_one_by_one(first: libc::c_uint, last: libc::c_uint) {
    // SAFETY: no pointers.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let limit = libc::c_uint::try_from(limit).unwrap_or(1 << 16).min(1 << 20);
    for fd in first..=last.min(limit) {
        // SAFETY: the caller uses none of the objects that own the descriptors.
        unsafe { libc::close(fd as RawFd) };
    }
}

#[cfg(test)]
mod tests;
