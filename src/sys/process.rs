//! The process from the system's view: limits, memory, processor time, name of the machine, randomness.
//!
//! Figures for statistics are read when they are printed (a file of `/proc` or a system call, a few microseconds);
//! nothing is cached.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};

use nix::sys::resource::{Resource, Usage, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid};

use crate::sys::title;

/// Raises the limit of open files to at least `wanted`. Returns the resulting limit: more if it was higher already,
/// less if the system does not permit that many.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let (soft, most) = (count(soft), count(hard));
    let wanted = wanted.min(i64::MAX as u64);
    if soft >= wanted {
        return Ok(soft);
    }
    let set = |limit: u64, hard| setrlimit(Resource::RLIMIT_NOFILE, limit as libc::rlim_t, hard).is_ok();
    if wanted <= most {
        if set(wanted, hard) {
            return Ok(wanted);
        }
    } else if set(wanted, wanted as libc::rlim_t) {
        // Only a privileged process reaches this line.
        return Ok(wanted);
    } else if set(most, hard) {
        return Ok(most);
    }
    // Some systems permit fewer than their hard limit, and do not report how many: search for the number.
    let (mut granted, mut refused) = (soft, wanted.min(most));
    while granted + 1 < refused {
        let attempt = granted.midpoint(refused);
        if set(attempt, hard) {
            granted = attempt;
        } else {
            refused = attempt;
        }
    }
    Ok(granted)
}

/// Converts a limit to a number that fits every system's type for limits, some of which are signed.
#[allow(clippy::unnecessary_cast)]
fn count(limit: libc::rlim_t) -> u64 {
    (limit as u64).min(i64::MAX as u64)
}

/// The byte that a daemon writes to its parent when it is ready; error messages never contain it.
const READY: u8 = 0;

/// The parent of this daemon. It waits for [`Starter::ready`], or until the daemon exits.
#[derive(Debug)]
pub struct Starter {
    null: File,
}

impl Starter {
    /// Lets the parent exit with status 0, and redirects standard error to `/dev/null`.
    pub fn ready(self) {
        // An error means that the parent was killed.
        let _ = io::stderr().write_all(&[READY]);
        let _ = dup2_stderr(&self.null);
    }
}

/// Forks a daemon: a child in a session of its own, with standard input and output redirected to `/dev/null`. Must be
/// called before the process has threads, a poller or rings.
///
/// The parent waits until the child is ready, and exits with status 0. If the child exits first, the parent prints the
/// child's standard error and exits with status 1.
pub fn daemonize() -> io::Result<Starter> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let (said, tell) = io::pipe()?;
    // SAFETY: the process has one thread, so the child's state is consistent.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(tell);
            let status = await_daemon(said, child);
            // SAFETY: ends the parent without running its exit handlers, which are the child's now.
            unsafe { libc::_exit(status) }
        }
        ForkResult::Child => {}
    }
    setsid()?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&tell)?;
    Ok(Starter { null })
}

/// Reads the daemon's standard error until the daemon is ready or has exited. Returns the parent's exit status.
fn await_daemon(mut said: PipeReader, daemon: Pid) -> i32 {
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match said.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) if chunk[..len].contains(&READY) => return 0,
            Ok(len) => text.extend_from_slice(&chunk[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let ended = waitpid(daemon, None);
    if text.is_empty() {
        text = ended_early(ended.ok()).into_bytes();
    }
    let _ = io::stderr().write_all(&text);
    1
}

/// The parent's message if the daemon has printed nothing itself.
fn ended_early(status: Option<WaitStatus>) -> String {
    let ended = match status {
        Some(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
        Some(WaitStatus::Exited(_, status)) => format!("exited with status {status}"),
        _ => "ended".to_owned(),
    };
    format!("The server {ended} before it was ready. See its log for the reason.\n")
}

/// Runs the executable again in this process, with its original arguments. Returns only if that fails.
pub fn run_again() -> io::Error {
    use std::os::unix::process::CommandExt;
    match std::env::current_exe() {
        Ok(path) => std::process::Command::new(path).args(&title::arguments()[1..]).exec(),
        Err(error) => error,
    }
}

/// The process id.
pub fn pid() -> u32 {
    std::process::id()
}

/// Bytes of memory that the process occupies now (resident set), or 0 if the system does not report them.
pub fn resident_bytes() -> u64 {
    platform::resident_bytes().unwrap_or(0)
}

/// Bytes of memory that the process occupies now, and the part of them that is not backed by a file: heap, mappings and
/// stacks. Both are equal where the system does not distinguish them, and 0 where it reports neither.
pub fn memory() -> (u64, u64) {
    platform::memory().unwrap_or_else(|| (resident_bytes(), resident_bytes()))
}

/// The machine's memory in bytes, or 0 if the system does not report it.
pub fn total_memory_bytes() -> u64 {
    let ask = |name| {
        // SAFETY: no pointers.
        u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
    };
    ask(libc::_SC_PHYS_PAGES) * ask(libc::_SC_PAGESIZE)
}

/// Processor time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Spent in the program.
    pub user_us: u64,
    /// Spent in the kernel for it.
    pub system_us: u64,
}

impl CpuTime {
    fn of(who: UsageWho) -> CpuTime {
        let us = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
        let of_usage =
            |usage: Usage| CpuTime { user_us: us(usage.user_time()), system_us: us(usage.system_time()) };
        getrusage(who).map(of_usage).unwrap_or_default()
    }
}

/// Processor time of all threads of this process.
pub fn cpu_time() -> CpuTime {
    CpuTime::of(UsageWho::RUSAGE_SELF)
}

/// Processor time of the children that have ended and been waited for.
pub fn children_cpu_time() -> CpuTime {
    CpuTime::of(UsageWho::RUSAGE_CHILDREN)
}

/// Processor time of the calling thread; `None` on a system that does not measure it.
pub fn thread_cpu_time() -> Option<CpuTime> {
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    {
        Some(CpuTime::of(UsageWho::RUSAGE_THREAD))
    }
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    {
        None
    }
}

/// System, release and machine in one line: `Linux 6.1.0 x86_64`.
pub fn system_name() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_string(),
        |name| {
            let words = [name.sysname(), name.release(), name.machine()];
            words.map(|word| word.to_string_lossy().into_owned()).join(" ")
        },
    )
}

/// Fills `bytes` from the kernel's random number generator. Ends the process if there is none: predictable numbers
/// would be worse.
pub fn random_bytes(bytes: &mut [u8]) {
    // One call returns at most 256 bytes.
    for chunk in bytes.chunks_mut(256) {
        // SAFETY: `chunk` is writable for its length.
        let given = unsafe { libc::getentropy(chunk.as_mut_ptr().cast(), chunk.len()) } == 0;
        if !given {
            let file = File::open("/dev/urandom").and_then(|mut file| file.read_exact(chunk));
            file.expect("the system has no source of randomness");
        }
    }
}

/// The memory of this process for which the kernel may use huge pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// As the system's administrator has configured.
    AsConfigured,
    /// Only memory for which they are requested; before Linux 6.18 as configured.
    WhereRequested,
    /// None, requested or not.
    Nowhere,
}

/// Restricts the use of huge pages. Has no effect on a system without such a switch.
pub fn restrict_huge_pages(to: HugePages) -> io::Result<()> {
    platform::restrict_huge_pages(to)
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{File, HugePages, Read, io};

    pub fn resident_bytes() -> Option<u64> {
        memory().map(|(resident, _)| resident)
    }

    pub fn memory() -> Option<(u64, u64)> {
        let mut text = [0u8; 128];
        let count = File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).ok()?;
        // Pages: all addresses, resident, resident of files.
        let mut pages = std::str::from_utf8(&text[..count]).ok()?.split(' ').skip(1);
        let mut next = || pages.next()?.parse::<u64>().ok();
        let (resident, of_files) = (next()?, next()?);
        // SAFETY: no pointers.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        Some((resident * page, resident.saturating_sub(of_files) * page))
    }

    pub fn restrict_huge_pages(to: HugePages) -> io::Result<()> {
        /// Permits huge pages only for memory for which they are requested.
        const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
        let (disable, flags): (libc::c_ulong, libc::c_ulong) = match to {
            HugePages::AsConfigured => (0, 0),
            HugePages::WhereRequested => (1, EXCEPT_ADVISED),
            HugePages::Nowhere => (1, 0),
        };
        let zero: libc::c_ulong = 0;
        // SAFETY: no pointers.
        let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, flags, zero, zero) };
        if result != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(target_os = "macos")]
mod platform {
    use super::{HugePages, io};

    pub fn resident_bytes() -> Option<u64> {
        // SAFETY: plain numbers; all zeroes is valid.
        let mut info: libc::proc_taskinfo = unsafe { std::mem::zeroed() };
        let bytes = size_of_val(&info) as i32;
        // SAFETY: the system writes at most `bytes` bytes into `info`.
        let written = unsafe {
            libc::proc_pidinfo(libc::getpid(), libc::PROC_PIDTASKINFO, 0, (&raw mut info).cast(), bytes)
        };
        (written == bytes).then_some(info.pti_resident_size)
    }

    pub fn memory() -> Option<(u64, u64)> {
        None
    }

    #[allow(clippy::unnecessary_wraps)]
    pub fn restrict_huge_pages(_: HugePages) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(target_os = "freebsd")]
mod platform {
    use super::{HugePages, io};

    pub fn resident_bytes() -> Option<u64> {
        // SAFETY: plain numbers and pointers; all zeroes is valid.
        let mut info: libc::kinfo_proc = unsafe { std::mem::zeroed() };
        let mut bytes = size_of_val(&info);
        // SAFETY: no pointers.
        let mib = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, unsafe { libc::getpid() }];
        // SAFETY: the system reads four numbers and writes at most `bytes` bytes into `info`.
        let result = unsafe {
            libc::sysctl(mib.as_ptr(), 4, (&raw mut info).cast(), &raw mut bytes, std::ptr::null(), 0)
        };
        if result != 0 {
            return None;
        }
        // SAFETY: no pointers.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        Some(u64::try_from(info.ki_rssize).ok()? * page)
    }

    pub fn memory() -> Option<(u64, u64)> {
        None
    }

    #[allow(clippy::unnecessary_wraps)]
    pub fn restrict_huge_pages(_: HugePages) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn the_parent_reports_how_a_daemon_that_printed_nothing_ended() {
        let daemon = Pid::from_raw(7);
        for (status, wanted) in [
            (Some(WaitStatus::Signaled(daemon, Signal::SIGKILL, false)), "was killed by SIGKILL"),
            (Some(WaitStatus::Exited(daemon, 3)), "exited with status 3"),
            (None, "ended"),
        ] {
            let text = format!("The server {wanted} before it was ready. See its log for the reason.\n");
            assert_eq!(ended_early(status), text);
        }
    }

    #[test]
    fn the_limit_of_open_files_is_raised_or_kept_never_lowered() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let (soft, hard) = (count(soft), count(hard));
        assert_eq!(raise_open_files(1).unwrap(), soft);
        let a_few_more = hard.min(soft + 10);
        assert_eq!(raise_open_files(a_few_more).unwrap(), a_few_more);
        let most = raise_open_files(u64::MAX).unwrap();
        assert!(most >= a_few_more);
        assert_eq!(count(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0), most);
    }

    #[test]
    fn memory_figures_are_plausible() {
        let (resident, total) = (resident_bytes(), total_memory_bytes());
        assert!(resident > 100 << 10, "{resident}");
        assert!(total > resident, "{total}");
        let (resident, anonymous) = memory();
        assert!(anonymous > 0 && anonymous <= resident, "{anonymous} of {resident}");
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(resident_bytes() > 64 << 20);
        drop(block);
    }

    #[test]
    fn processor_time_goes_on_while_the_process_works() {
        let (start, thread) = (cpu_time(), thread_cpu_time());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while cpu_time() == start || (thread.is_some() && thread_cpu_time() == thread) {
            assert!(std::time::Instant::now() < deadline);
        }
        assert!(cpu_time().user_us + cpu_time().system_us >= start.user_us + start.system_us);
        let _ = children_cpu_time();
    }

    #[test]
    fn random_bytes_fill_any_length_and_differ() {
        let (mut first, mut second) = (vec![0; 1000], vec![0; 1000]);
        random_bytes(&mut first);
        random_bytes(&mut second);
        assert_ne!(first, second);
        // 24 zero bytes in a row would come by chance once in 2^192.
        assert!(!first.windows(24).any(|run| run.iter().all(|&byte| byte == 0)));
        random_bytes(&mut []);
    }

    #[test]
    fn the_system_s_name_is_one_line_of_at_least_three_words() {
        let name = system_name();
        assert!(name.split(' ').count() >= 3 && !name.contains('\n'), "{name}");
        assert_eq!(pid(), std::process::id());
    }

    #[test]
    fn huge_pages_can_be_forbidden_and_allowed() {
        restrict_huge_pages(HugePages::Nowhere).unwrap();
        restrict_huge_pages(HugePages::AsConfigured).unwrap();
        // Refused by older kernels.
        let _ = restrict_huge_pages(HugePages::WhereRequested);
        restrict_huge_pages(HugePages::AsConfigured).unwrap();
    }
}
