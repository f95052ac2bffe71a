//! A forked child that works on a snapshot of the memory, and the link by which it tells its parent how far it is.
//!
//! ```text
//!   parent   fork ─▶ Child { poll, next_report, kill }  ◀── pipe ◀──  Link { begin, progress, finish, exit }   child
//! ```
//!
//! The child is a process of one thread: the loop's, as it stood in [`fork`]. Nothing that another thread of the parent
//! did is finished there, so it sends nothing to a background thread and takes no lock that one may have held. The
//! allocators are whole: both take their locks before the fork and release them after it.
//!
//! A child never outlives its parent: the kernel kills it (Linux, where the end of the thread that forked counts, and
//! FreeBSD), and where the kernel does not, the next report finds the pipe broken. It runs none of the parent's signal handlers. SIGINT and SIGTERM are ignored, since a
//! terminal and a supervisor send them to all processes of a group, and the parent decides what becomes of the child.
//! SIGUSR1 ends it, as it ends Redis's: the status then says that the end was wanted, unlike that of a process which was
//! killed since memory had run out.
//!
//! Costs: `fork` copies the page tables, about 10 ms for each gigabyte of small pages. A report is one write of 24
//! bytes, at most one a second; the size of the copies is looked up at most 1 % of the time, as the kernel walks all page
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
    /// The one that called.
    Parent(Child),
    /// The new one. It must end by [`Link::exit`], and does so when the link is dropped.
    Child(Link),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With a status of its own.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// Whether it was ended by [`Child::kill`], or by an operator who sent SIGUSR1: not an error.
    pub fn was_wanted(self) -> bool {
        self == Exit::Signal(libc::SIGUSR1)
    }
}

/// What a child tells its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Keys that it has worked through.
    pub keys: u64,
    /// Bytes that the kernel has copied since the fork because one of the two wrote.
    pub cow_bytes: u64,
    /// Whether this is the last report: the work is done.
    pub final_: bool,
}

/// Bytes of a report in the pipe: less than the pipe takes in one piece, so that a report is never divided.
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

/// Forks. Returns, in both processes, which one it is and how many microseconds the call took.
///
/// # Errors
/// Those of `fork` (`EAGAIN`, `ENOMEM`) and of `pipe` (`EMFILE`).
pub fn fork() -> io::Result<(Forked, u64)> {
    let (reader, writer) = io::pipe()?;
    set_nonblocking(&reader)?;
    set_nonblocking(&writer)?;
    signal::watch_children()?;
    let parent = Pid::this();
    // No signal is delivered to the child before it has let go of the parent's handlers.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let start_us = clock::monotonic_us();
    // SAFETY: the child goes on with this thread alone. It uses both allocators, which are consistent after a fork, and
    // nothing that waits for another thread (see the module's head).
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

/// A pipe for what a child sends besides its reports: its end of the parent, which does not wait, and that of the child.
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

/// A child, seen by its parent. A child that is still there when this is dropped is killed and waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    exit: Option<Exit>,
    reports: PipeReader,
    /// The beginning of a report of which the rest is not there yet.
    part: [u8; REPORT_BYTES],
    have: usize,
}

impl Child {
    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// How it ended, or `None` while it runs. Does not wait, and asks for no other child than this. Its reports can
    /// be read after its end, too.
    ///
    /// # Errors
    /// `ECHILD` if somebody else has taken the status: then it is not known how the child ended.
    pub fn poll(&mut self) -> io::Result<Option<Exit>> {
        self.wait(Some(WaitPidFlag::WNOHANG))
    }

    /// Asks the child to end now, in whatever it does, by SIGUSR1; [`Child::poll`] tells when it has. A stopped child
    /// ends as well. What the child has left half-written is the parent's to remove.
    pub fn kill(&mut self) {
        self.send(Signal::SIGUSR1);
        self.send(Signal::SIGCONT);
    }

    /// The next report, if a whole one is there. Does not wait.
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
            // The number is the child's until its status was taken, so this hits nobody else.
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
        // It fails only where there is nobody left to wait for.
        let _ = self.wait(None);
    }
}

/// What distinguishes a child from its parent.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// Its title in `ps`; `None` keeps the parent's.
    pub title: Option<Vec<u8>>,
    /// The score by which the kernel picks a process to kill when memory runs out; `None` keeps the parent's.
    pub oom_score: Option<i32>,
    /// The processors that it may use; empty for all that the parent may.
    pub processors: Vec<usize>,
    /// Descriptors that stay open, besides the three standard ones and the link's.
    pub keep: Vec<RawFd>,
}

/// Copies of pages, in bytes, as a child has seen them grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOnWrite {
    /// At the end.
    pub current: u64,
    /// At most.
    pub peak: u64,
    /// On the average of the times when it was looked up.
    pub average: u64,
}

/// Reports of progress are this far apart.
const REPORT_EVERY_US: u64 = 1_000_000;

/// Calls of [`Link::progress`] between two looks at the clock.
const CALLS_PER_LOOK: u32 = 1024;

/// How much longer than the last look at the copies took the next one waits.
const COW_REST: u64 = 100;

/// The parent, seen by its child. Dropping it ends the child with status 1: what follows is the parent's code.
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

    /// Binds the child's life to the parent's, and lets go of the parent's signal handlers. `mask` is what the parent
    /// blocks.
    fn follow_parent(&self, mask: &SigSet) {
        platform::die_with_parent();
        // The parent may have ended before the kernel was told.
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

    /// Takes up a role. What cannot be had (a score or processors that the system refuses) is left as it is.
    ///
    /// All descriptors but those to keep are closed: as long as the child had them, the peer of a socket that the
    /// parent closes would see no end of it, and an address that the parent listened on could not be taken again. The
    /// descriptors of objects that the child shares with the parent's code are closed as well, so it uses none of these.
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

    /// Notes that `keys` keys are done, and reports it if the last report was a second ago. To be called for each key:
    /// mostly an addition and a comparison. Ends the child if the parent has gone.
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

    /// Reports the end of the work, with what was copied until now; returns that.
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

    /// Sends a report. While the parent has not read some thousands of earlier ones, a report is dropped, unless it is
    /// the last: that one waits. Ends the child if the parent has gone.
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
                // Nobody reads any more.
                Err(_) => quit(1),
            }
        }
    }

    fn wait_for_room(&self) {
        let mut wait = libc::pollfd { fd: self.reports.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one structure, ours. Whatever it returns, the next write tells.
        unsafe { libc::poll(&raw mut wait, 1, -1) };
    }

    /// Whether the parent has ended.
    pub fn parent_is_gone(&self) -> bool {
        Pid::parent() != self.parent
    }

    /// Ends the child at once: no destructor and no exit handler runs, since what they would clean up is the parent's.
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

/// Closes all descriptors but the three standard ones and `keep`, whatever objects they belong to. For a child that is
/// about to leave these objects alone.
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
        // SAFETY: numbers alone. A refusal is made up for by the check of each report.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
    }

    #[cfg(target_os = "freebsd")]
    pub fn die_with_parent() {
        let mut signal = libc::SIGKILL;
        // SAFETY: the signal is readable; the number 0 means this process. A refusal is made up for by the check of each
        // report.
        unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
    }

    pub fn close_range(first: c_uint, last: c_uint) {
        #[cfg(target_os = "linux")]
        // SAFETY: numbers alone. The caller uses none of the objects that own the descriptors.
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
