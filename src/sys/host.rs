//! Interfaces to the surrounding system: the system's log, the score by which the kernel picks a process to kill when
//! memory runs out, the processors, and the supervisor.
//!
//! Each is a call or a file that is written once. On a system without such a facility the call returns an error.

use std::ffi::CString;
use std::io;
use std::path::Path;

/// The kernel's limits for a score.
#[cfg(target_os = "linux")]
const SCORES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// The urgency of a line in the system's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// For developers.
    Debug,
    /// Rarely useful.
    Info,
    /// Of interest to an operator.
    Notice,
    /// Important to an operator.
    Warning,
}

/// Opens the system's log under the name `ident` (the first call sets it for the life of the process) and a facility:
/// `user`, or `local0` to `local7`.
pub fn open_syslog(ident: &str, facility: &str) {
    let number = match facility {
        "local0" => libc::LOG_LOCAL0,
        "local1" => libc::LOG_LOCAL1,
        "local2" => libc::LOG_LOCAL2,
        "local3" => libc::LOG_LOCAL3,
        "local4" => libc::LOG_LOCAL4,
        "local5" => libc::LOG_LOCAL5,
        "local6" => libc::LOG_LOCAL6,
        "local7" => libc::LOG_LOCAL7,
        _ => libc::LOG_USER,
    };
    let ident = CString::new(ident.replace('\0', "")).unwrap_or_default();
    // SAFETY: the library keeps the pointer, and the text is never freed.
    unsafe { libc::openlog(ident.into_raw(), libc::LOG_PID | libc::LOG_NDELAY | libc::LOG_NOWAIT, number) };
}

/// Closes the connection to the system's log; the next line opens one again. For a forked child, before it closes
/// descriptors whose numbers the library would continue to use.
pub fn close_syslog() {
    // SAFETY: no arguments.
    unsafe { libc::closelog() };
}

/// Writes a line to the system's log.
pub fn syslog(urgency: Urgency, line: &str) {
    let priority = match urgency {
        Urgency::Debug => libc::LOG_DEBUG,
        Urgency::Info => libc::LOG_INFO,
        Urgency::Notice => libc::LOG_NOTICE,
        Urgency::Warning => libc::LOG_WARNING,
    };
    let line = CString::new(line.replace('\0', "")).unwrap_or_default();
    // SAFETY: both texts end with a zero byte, and the format takes one text.
    unsafe { libc::syslog(priority, c"%s".as_ptr(), line.as_ptr()) };
}

/// The score that the kernel adds when it picks a process to kill because memory has run out.
#[cfg(target_os = "linux")]
pub fn oom_score() -> io::Result<i32> {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    text.trim().parse().map_err(io::Error::other)
}

/// Sets that score, clamped to the kernel's limits. Lowering it requires a privilege.
#[cfg(target_os = "linux")]
pub fn set_oom_score(score: i32) -> io::Result<()> {
    let score = score.clamp(*SCORES.start(), *SCORES.end());
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
}

/// This system has no such score.
#[cfg(not(target_os = "linux"))]
pub fn oom_score() -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// This system has no such score.
#[cfg(not(target_os = "linux"))]
pub fn set_oom_score(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Parses a list of processors like `0,2,4-7,8-15:2`: numbers, ranges, and ranges with a step.
pub fn parse_processors(list: &str) -> Option<Vec<usize>> {
    let mut processors = Vec::new();
    for part in list.split(',') {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, step.trim().parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        processors.extend((first..=last.min(first + 4096)).step_by(step));
    }
    Some(processors)
}

/// Restricts the calling thread, and the threads that it starts later, to some processors.
#[cfg(target_os = "linux")]
pub fn pin(processors: &[usize]) -> io::Result<()> {
    // SAFETY: a set of bits; none set is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &processor in processors.iter().filter(|processor| **processor < libc::CPU_SETSIZE as usize) {
        // SAFETY: the bit lies within the set.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: the set is readable for its size; 0 is the calling thread.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// This system does not let a program choose processors.
#[cfg(not(target_os = "linux"))]
pub fn pin(_: &[usize]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Tells the scheduler that nothing waits for the calling thread: when it wakes up, it does not preempt a running
/// thread.
pub fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // SAFETY: the parameters are readable; 0 is the calling thread. A refusal changes nothing.
    unsafe {
        let mut parameters: libc::sched_param = std::mem::zeroed();
        parameters.sched_priority = 0;
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters);
    }
}

/// Tells systemd about the service's state (`READY=1`, `STOPPING=1`, `STATUS=…`, one line each), by a datagram to
/// the socket that `NOTIFY_SOCKET` names. Returns `false` if there is none.
pub fn notify_systemd(state: &str) -> io::Result<bool> {
    use std::os::unix::net::UnixDatagram;
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(false) };
    let socket = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::net::SocketAddr;
        // A name that begins with @ is in the abstract namespace, not in the file system.
        if let Some(abstract_name) = name.as_bytes().strip_prefix(b"@") {
            let address = SocketAddr::from_abstract_name(abstract_name)?;
            return socket.send_to_addr(state.as_bytes(), &address).map(|_| true);
        }
    }
    socket.send_to(state.as_bytes(), Path::new(&name)).map(|_| true)
}

/// The time in microseconds after which systemd ends the service unless it has received `WATCHDOG=1`; `None` if it does
/// not watch this process.
pub fn watchdog_us() -> Option<u64> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|limit| is_ours && *limit > 0)
}

/// Tells upstart that the service is ready, by stopping until upstart continues the process. Returns `false` if upstart
/// did not start it.
pub fn notify_upstart() -> bool {
    if std::env::var_os("UPSTART_JOB").is_none() {
        return false;
    }
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_have_numbers_ranges_and_steps() {
        for (list, processors) in [
            ("0", &[0][..]),
            ("0,2", &[0, 2]),
            ("0-3", &[0, 1, 2, 3]),
            ("1, 4-8:2", &[1, 4, 6, 8]),
            ("5-3", &[]),
        ] {
            assert_eq!(parse_processors(list).as_deref(), Some(processors), "{list}");
        }
        for list in ["", "a", "1-", "-1", "1:0", "0-3:x", "1,,2"] {
            assert_eq!(parse_processors(list), None, "{list}");
        }
        assert!(parse_processors("0-18446744073709551614").is_some_and(|list| list.len() < 5000));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_can_be_kept_to_a_processor_that_it_may_use() {
        let allowed = || {
            let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            line.trim().to_owned()
        };
        let thread = std::thread::spawn(move || {
            let first = parse_processors(&allowed()).unwrap()[0];
            pin(&[first]).unwrap();
            assert_eq!(allowed(), first.to_string());
            assert!(pin(&[]).is_err());
        });
        thread.join().unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_score_that_is_there_can_be_written_again() {
        let score = oom_score().unwrap();
        set_oom_score(score).unwrap();
        assert_eq!(oom_score().unwrap(), score);
    }

    #[test]
    fn lines_go_to_the_system_s_log_whether_or_not_anybody_reads_it() {
        open_syslog("redstart-test", "local7");
        syslog(Urgency::Debug, "a line with 100% of \0 what a format could trip over: %s %n");
    }
}
