//! The system calls that the benchmark needs beyond std, behind safe functions: cores, epoll, signals, limits, and the
//! data of a process in `/proc`.
//!
//! A child must not outlive the benchmark, however that exits. Three mechanisms ensure this, each for cases that the
//! previous one misses: the owner's `Drop` (return and panic), the handler of SIGINT/SIGTERM/SIGHUP, which kills every
//! registered pid, and the kernel's parent-death signal (the benchmark itself killed by SIGKILL).
//!
//! Costs and limits: Linux only, at most [`MAX_CHILDREN`] children at once.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicI32, Ordering};

/// The number of children that can be registered for the signal handler at the same time.
pub const MAX_CHILDREN: usize = 32;

/// The pids that the signal handler kills; 0 is a free slot.
static CHILDREN: [AtomicI32; MAX_CHILDREN] = [const { AtomicI32::new(0) }; MAX_CHILDREN];

/// The cores of a run: the server under test has a separate one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The core of the servers.
    pub server: usize,
    /// The core of the load and the benchmark itself.
    pub load: usize,
    /// The core of a server's replica: a third core, or that of the load.
    pub replica: usize,
    /// The core of a server's children: a fourth core, or that of the server.
    pub child: usize,
}

impl Cores {
    /// The first cores that this process may use; `None` if it has only one.
    pub fn pick() -> io::Result<Option<Self>> {
        // SAFETY: an all-zero cpu_set_t is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a writable cpu_set_t of the size that is passed.
        if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every index is below CPU_SETSIZE.
        let mut allowed =
            (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) });
        let Some((server, load)) = allowed.next().zip(allowed.next()) else { return Ok(None) };
        let (replica, child) = (allowed.next().unwrap_or(load), allowed.next().unwrap_or(server));
        Ok(Some(Self { server, load, replica, child }))
    }
}

/// Pins the calling thread (and its later children) to `core`.
pub fn pin(core: usize) -> io::Result<()> {
    allow(0, &[core])
}

/// Restricts a thread (0: the calling one), and its later threads and children, to `cores`.
pub fn allow(thread: u32, cores: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET ignores an index beyond the set.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &core in cores {
            libc::CPU_SET(core, &mut set);
        }
        set
    };
    // SAFETY: `set` is an initialised cpu_set_t of the size that is passed.
    if unsafe { libc::sched_setaffinity(thread as i32, size_of::<libc::cpu_set_t>(), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Gives a thread (0: the calling one), and its later threads, the highest priority that is not real-time. Does nothing
/// if that is not allowed.
pub fn hurry(thread: u32) {
    // SAFETY: setpriority has no memory preconditions.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, -20) };
}

/// The IDs of a process's threads.
pub fn threads(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// A child pinned to some cores that dies with the benchmark.
#[derive(Debug)]
pub struct Pinned {
    child: Child,
    place: usize,
}

impl Pinned {
    /// Starts `command` on `cores`. Call it from the main thread: the parent-death signal follows the thread.
    pub fn spawn(command: &mut Command, cores: &[usize]) -> io::Result<Self> {
        let (parent, cores) = (std::process::id(), cores.to_vec());
        // SAFETY: between fork and exec the closure makes only async-signal-safe calls (sched_setaffinity, prctl,
        // getppid) and does not allocate: an error from an OS code holds no heap memory.
        unsafe {
            command.pre_exec(move || {
                allow(0, &cores)?;
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from_raw_os_error(libc::ECHILD));
                }
                Ok(())
            });
        }
        let mut child = command.spawn()?;
        let pid = child.id() as i32;
        let free = CHILDREN
            .iter()
            .position(|place| place.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        let Some(place) = free else {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("more than {MAX_CHILDREN} children at once")));
        };
        Ok(Self { child, place })
    }

    /// The child itself, for its pipes and its exit status.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The pid, which stays the child's until this value is dropped (the child is reaped only there).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGSTOP: the process stays but uses no CPU time.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        // SAFETY: kill has no memory preconditions; the pid is not reaped, so it cannot be another process.
        unsafe { libc::kill(self.pid() as i32, signal) };
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Unregister it first: after reaping, the pid may belong to another process.
        let _ = self.child.kill();
        CHILDREN[self.place].store(0, Ordering::SeqCst);
        let _ = self.child.wait();
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP kill the children before they end the benchmark.
pub fn kill_children_on_signals() {
    extern "C" fn handler(signal: i32) {
        for place in &CHILDREN {
            let pid = place.load(Ordering::SeqCst);
            if pid > 0 {
                // SAFETY: kill is async-signal-safe; registered pids are not reaped yet.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        // SAFETY: _exit is async-signal-safe.
        unsafe { libc::_exit(128 + signal) };
    }
    let handler = handler as extern "C" fn(i32) as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler makes only async-signal-safe calls.
        unsafe { libc::signal(signal, handler) };
    }
}

/// Raises this process's limit of open files, which children inherit, towards `wanted`. Returns the new limit.
pub fn raise_open_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a writable rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return 256;
    }
    if limit.rlim_cur < wanted {
        let before = limit.rlim_cur;
        for (soft, hard) in
            [(wanted, limit.rlim_max.max(wanted)), (wanted.min(limit.rlim_max), limit.rlim_max)]
        {
            let raised = libc::rlimit { rlim_cur: soft, rlim_max: hard };
            // SAFETY: `raised` is an initialised rlimit.
            if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
                return soft;
            }
        }
        return before;
    }
    limit.rlim_cur
}

/// A level-triggered epoll set whose events carry a number chosen by the caller.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// A set that reports at most `capacity` events per wait.
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: epoll_create1 has no memory preconditions.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity] })
    }

    /// Watches `source` for readability (and hang-up) until it is closed.
    pub fn add(&self, source: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: both descriptors are open and `event` is an initialised epoll_event.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, source.as_raw_fd(), &raw mut event)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits up to `timeout_ms` (-1: forever, 0: not at all) and returns the number of events.
    #[inline]
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        // SAFETY: the pointer and the length describe the vector's initialised events.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout_ms,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(0) } else { Err(error) };
        }
        Ok(count as usize)
    }

    /// The token of event `index` of the last wait.
    #[inline]
    pub fn token(&self, index: usize) -> u64 {
        self.events[index].u64
    }
}

/// Discards at most `len` bytes that a blocking socket has received. Returns their number; 0 is the end of the stream.
/// The kernel does not copy them.
pub fn discard(source: &impl AsRawFd, len: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC a stream socket writes nothing, so a null pointer is valid for any length (tcp(7)).
    let count = unsafe { libc::recv(source.as_raw_fd(), std::ptr::null_mut(), len, libc::MSG_TRUNC) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// The scheduler's counts for a process, over all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Nanoseconds on a core, user and system.
    pub run_ns: u64,
    /// Nanoseconds ready to run while other programs had the core.
    pub wait_ns: u64,
}

impl CpuTime {
    /// The difference to `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            run_ns: self.run_ns.saturating_sub(earlier.run_ns),
            wait_ns: self.wait_ns.saturating_sub(earlier.wait_ns),
        }
    }
}

/// Sums `/proc/PID/task/*/schedstat`. The time of exited threads is missing.
pub fn cpu_time(pid: u32) -> io::Result<CpuTime> {
    let mut sum = CpuTime::default();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let time = parse_schedstat(&text)
            .ok_or_else(|| io::Error::other(format!("cannot parse schedstat: {text:?}")))?;
        sum.run_ns += time.run_ns;
        sum.wait_ns += time.wait_ns;
    }
    Ok(sum)
}

/// The CPU time of one thread, for frequent reads.
#[derive(Debug)]
pub struct ThreadTime(fs::File);

impl ThreadTime {
    /// The CPU time of the thread `id`; the ID of a process is that of its main thread.
    pub fn of(id: u32) -> io::Result<Self> {
        fs::File::open(format!("/proc/{id}/task/{id}/schedstat")).map(Self)
    }

    /// The CPU time of the calling thread.
    pub fn own() -> io::Result<Self> {
        fs::File::open("/proc/thread-self/schedstat").map(Self)
    }

    /// The CPU time so far.
    pub fn now(&self) -> io::Result<CpuTime> {
        let mut text = [0; 80];
        let len = self.0.read_at(&mut text, 0)?;
        let time = str::from_utf8(&text[..len]).ok().and_then(parse_schedstat);
        time.ok_or_else(|| io::Error::other("schedstat is not understood"))
    }
}

/// Reads the first two fields of a `schedstat` line: run and wait nanoseconds.
pub fn parse_schedstat(line: &str) -> Option<CpuTime> {
    let mut fields = line.split_ascii_whitespace().map(str::parse);
    Some(CpuTime { run_ns: fields.next()?.ok()?, wait_ns: fields.next()?.ok()? })
}

/// Clock ticks of a process in user and in system mode, from `/proc/PID/stat`. The kernel samples them, so they are
/// better for a share than for a time.
pub fn ticks(pid: u32) -> io::Result<[u64; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("cannot parse stat: {text:?}")))
}

/// Clock ticks of a process's exited children, in user and in system mode.
pub fn children_ticks(pid: u32) -> io::Result<[u64; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_children(&text).ok_or_else(|| io::Error::other(format!("cannot parse stat: {text:?}")))
}

/// Clock ticks per second.
pub fn ticks_per_second() -> f64 {
    // SAFETY: sysconf has no memory preconditions.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// The fields `utime` and `stime` of a `stat` line; the name before them may contain anything.
pub fn parse_stat(line: &str) -> Option<[u64; 2]> {
    two_fields(line, 11)
}

/// The fields `cutime` and `cstime` of a `stat` line.
pub fn parse_children(line: &str) -> Option<[u64; 2]> {
    two_fields(line, 13)
}

/// The fields of a `stat` line at `index` after the name, and at the next index.
fn two_fields(line: &str, index: usize) -> Option<[u64; 2]> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace().skip(index);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

/// Resident bytes of a process, from `smaps_rollup`, which counts the pages: the counters of `statm` are batched per
/// core and can be off by megabytes.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    parse_rollup(&text, "Rss:").ok_or_else(|| io::Error::other("smaps_rollup has no Rss line"))
}

/// Bytes of memory that a process and its children use together: a shared page counts once. A child that exits
/// meanwhile does not count.
pub fn family_bytes(pid: u32) -> io::Result<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let of = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        parse_rollup(&text, "Pss:")
    };
    let own = of(&pid.to_string()).ok_or_else(|| io::Error::other("smaps_rollup has no Pss line"))?;
    Ok(own + children.split_ascii_whitespace().filter_map(of).sum::<u64>())
}

/// The line `name` of `smaps_rollup`, in bytes.
pub fn parse_rollup(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
#[allow(unused)]
pub mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn schedstat_gives_run_and_wait_time() {
        assert_eq!(
            parse_schedstat("3291655996 2500635957 51493\n"),
            Some(CpuTime { run_ns: 3_291_655_996, wait_ns: 2_500_635_957 })
        );
        assert_eq!(parse_schedstat("12\n"), None);
        assert_eq!(parse_schedstat("a b c"), None);
    }

    #[test]
    fn stat_gives_ticks_behind_any_name() {
        let line = "71 (a) b (c) S 1 71 71 0 -1 4194560 1000 0 0 0 52 17 3 4 20 0 1 0 100 0 0\n";
        assert_eq!(parse_stat(line), Some([52, 17]));
        assert_eq!(parse_children(line), Some([3, 4]));
        assert_eq!(parse_stat("71 (a"), None);
        assert_eq!(parse_stat("71 (a) S 1"), None);
    }

    #[test]
    fn what_is_discarded_is_counted_and_gone() {
        let (mut here, there) = connected();
        here.write_all(b"abcdef").unwrap();
        assert_eq!(discard(&there, 4).unwrap(), 4);
        let mut rest = [0; 2];
        (&there).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"ef");
        drop(here);
        assert_eq!(discard(&there, 4).unwrap(), 0);
    }

    /// The two ends of a connection that sends without delay.
    pub fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (there, _) = listener.accept().unwrap();
        here.set_nodelay(true).unwrap();
        there.set_nodelay(true).unwrap();
        (here, there)
    }

    #[test]
    fn rollup_gives_the_rss_line_and_no_other() {
        let text = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:                5120 kB\nPss:  17 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse_rollup(text, "Rss:"), Some(5120 * 1024));
        assert_eq!(parse_rollup(text, "Pss:"), Some(17 * 1024));
        assert_eq!(parse_rollup("Pss: 17 kB\n", "Rss:"), None);
    }

    #[test]
    fn own_figures_can_be_read_from_proc() {
        let before = cpu_time(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while cpu_time(std::process::id()).unwrap().since(before).run_ns < 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }

    #[test]
    fn a_dropped_child_is_gone_and_its_slot_is_free() {
        let cores = Cores::pick().unwrap();
        let core = cores.map_or(0, |cores| cores.load);
        for _ in 0..2 * MAX_CHILDREN {
            let child = Pinned::spawn(Command::new("sleep").arg("1000"), &[core]).unwrap();
            let proc = format!("/proc/{}", child.pid());
            assert!(fs::metadata(&proc).is_ok());
            drop(child);
            assert!(fs::metadata(&proc).is_err());
        }
    }
}
