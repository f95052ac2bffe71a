//! Tests of forked children. A child of the test program continues with one of its threads, so it uses nothing that
//! another thread may hold (the standard output, a channel); it reports its findings by its exit status.

use std::time::{Duration, Instant};

use super::*;

/// Forks a child that runs `work` and exits with the status that it returns.
fn child(work: impl FnOnce(&mut Link) -> i32) -> Child {
    match fork().unwrap() {
        (Forked::Parent(child), _) => child,
        (Forked::Child(mut link), _) => {
            let status = work(&mut link);
            link.exit(status)
        }
    }
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        std::thread::yield_now();
    }
}

fn end_of(child: &mut Child) -> Exit {
    until(|| child.poll().unwrap())
}

/// A pipe on which one process waits for another to write or to end.
struct Gate {
    reader: PipeReader,
    writer: Option<PipeWriter>,
}

impl Gate {
    fn new() -> Gate {
        let (reader, writer) = io::pipe().unwrap();
        Gate { reader, writer: Some(writer) }
    }

    fn open(&mut self) {
        self.writer.take().unwrap().write_all(b"x").unwrap();
    }

    fn wait(&mut self) {
        self.reader.read_exact(&mut [0]).unwrap();
    }

    /// Whether no process has the writing end open any more.
    fn is_abandoned(&self) -> bool {
        let mut wait = libc::pollfd { fd: self.reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, ours.
        unsafe { libc::poll(&raw mut wait, 1, 0) };
        wait.revents & libc::POLLHUP != 0
    }
}

#[test]
fn reports_arrive_whole_and_in_order_and_then_the_status() {
    let mut child = child(|link| {
        for keys in 1..=100 {
            link.report(Report { keys, cow_bytes: keys << 32, final_: false });
        }
        link.finish(101);
        7
    });
    let mut next = || until(|| child.next_report());
    for keys in 1..=100 {
        assert_eq!(next(), Report { keys, cow_bytes: keys << 32, final_: false });
    }
    let last = next();
    assert!(last.final_ && last.keys == 101);
    assert_eq!(end_of(&mut child), Exit::Status(7));
    assert_eq!(end_of(&mut child), Exit::Status(7), "the status can be asked for again");
    assert_eq!(child.next_report(), None);
    assert!(!Exit::Status(7).was_wanted());
}

#[test]
fn reports_that_nobody_reads_hold_nobody_up_and_the_last_one_is_never_lost() {
    let mut gate = Gate::new();
    let mut child = child(|link| {
        for keys in 0..100_000 {
            link.report(Report { keys, ..Report::default() });
        }
        gate.open();
        link.finish(100_000);
        0
    });
    // No report is read before this.
    gate.wait();
    let (mut read, mut before) = (0, None);
    loop {
        let report = until(|| child.next_report());
        assert!(before < Some(report.keys), "in order");
        before = Some(report.keys);
        if report.final_ {
            break;
        }
        read += 1;
    }
    assert!((100..100_000).contains(&read), "{read}");
    assert_eq!(before, Some(100_000));
    assert_eq!(end_of(&mut child), Exit::Status(0));
}

#[test]
fn progress_is_reported_while_there_is_any() {
    let mut child = child(|link| {
        for keys in 0.. {
            link.progress(keys);
        }
        0
    });
    let report = until(|| child.next_report());
    assert!(!report.final_ && report.keys >= u64::from(CALLS_PER_LOOK));
    assert_eq!(report.cow_bytes > 0, cfg!(target_os = "linux"));
    assert!(until(|| child.next_report()).keys > report.keys);
    child.kill();
    assert!(end_of(&mut child).was_wanted());
}

#[test]
fn a_child_ends_when_it_is_told_to_even_if_it_is_stopped() {
    for stop in [false, true] {
        let mut gate = Gate::new();
        let mut child = child(|_| {
            gate.wait();
            0
        });
        assert_eq!(child.poll().unwrap(), None);
        if stop {
            kill(child.pid, Signal::SIGSTOP).unwrap();
        }
        child.kill();
        assert_eq!(end_of(&mut child), Exit::Signal(libc::SIGUSR1));
        child.kill();
    }
}

#[test]
fn signals_to_the_whole_group_leave_the_child_alone() {
    let mut gate = Gate::new();
    let mut child = child(|_| {
        gate.wait();
        3
    });
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        kill(child.pid, signal).unwrap();
    }
    gate.open();
    assert_eq!(end_of(&mut child), Exit::Status(3));
}

#[test]
fn nothing_is_left_of_a_child_that_nobody_wants_any_more() {
    let mut gate = Gate::new();
    let child = child(|_| {
        gate.wait();
        0
    });
    let pid = child.pid;
    drop(child);
    assert_eq!(waitpid(pid, None), Err(Errno::ECHILD));
}

#[test]
fn a_child_does_not_outlive_its_parent() {
    let (mut life, mut never) = (Gate::new(), Gate::new());
    let mut parent = child(|_| {
        let grandchild = child(|_| {
            never.wait();
            0
        });
        std::mem::forget(grandchild);
        0
    });
    drop(life.writer.take());
    assert_eq!(end_of(&mut parent), Exit::Status(0));
    // The grandchild keeps the writing end of `life` open as long as it lives, and nobody ever opens `never`.
    until(|| life.is_abandoned().then_some(()));
}

#[test]
fn a_child_whose_parent_does_not_listen_any_more_ends() {
    let mut gate = Gate::new();
    let mut child = child(|link| {
        gate.wait();
        link.finish(1);
        0
    });
    let (reader, _) = io::pipe().unwrap();
    child.reports = reader;
    gate.open();
    assert_eq!(end_of(&mut child), Exit::Status(1));
}

#[test]
fn the_parent_s_code_is_not_run_by_a_child_that_forgot_to_exit() {
    let mut child = match fork().unwrap() {
        (Forked::Parent(child), _) => child,
        (Forked::Child(link), _) => {
            drop(link);
            quit(9)
        }
    };
    assert_eq!(end_of(&mut child), Exit::Status(1));
}

#[test]
fn a_child_keeps_the_descriptors_that_it_needs_and_no_other() {
    let files: Vec<std::fs::File> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let keep = vec![fds[30], fds[7], fds[31], fds[7]];
    let mut child = child(|link| {
        link.begin(&Role { keep: keep.clone(), ..Role::default() });
        // SAFETY: no pointers; the descriptor may be closed.
        let is_open = |fd: RawFd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
        let as_wanted = fds.iter().all(|fd| is_open(*fd) == keep.contains(fd));
        let standard = [0, 1, 2].into_iter().all(is_open);
        link.finish(1);
        i32::from(!(as_wanted && standard))
    });
    assert!(until(|| child.next_report()).final_, "the link stays open");
    assert_eq!(end_of(&mut child), Exit::Status(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_takes_up_its_role() {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    let first = host::parse_processors(allowed.trim()).unwrap()[0];
    let score = host::oom_score().unwrap();
    let role = Role { oom_score: Some(score + 1), processors: vec![first], ..Role::default() };
    let mut child = child(|link| {
        link.begin(&role);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let pinned = status.contains(&format!("Cpus_allowed_list:\t{first}\n"));
        i32::from(!(pinned && host::oom_score().ok() == role.oom_score))
    });
    assert_eq!(end_of(&mut child), Exit::Status(0));
    assert_eq!(host::oom_score().unwrap(), score, "the parent's stays");
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_written_after_the_fork_is_counted_as_copied() {
    let bytes = 32 << 20;
    let pages = memory::Pages::zeroed(bytes).unwrap();
    let fill = |value| {
        // SAFETY: the mapping is this long and ours.
        unsafe { pages.start().write_bytes(value, bytes) };
    };
    fill(1);
    let mut child = child(|link| {
        fill(2);
        link.finish(1);
        0
    });
    let report = until(|| child.next_report());
    assert_eq!(end_of(&mut child), Exit::Status(0));
    assert!(report.cow_bytes >= bytes as u64, "{report:?}");
}
