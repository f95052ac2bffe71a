//! Signals that request a shutdown, and the one that reports the end of a child.
//!
//! SIGTERM and SIGINT are counted and wake the poller; the loop sees the count and shuts down in order. A SIGINT after
//! that ends the process at once, from within the handler, since the loop itself may hang: it is the second Ctrl-C at a
//! terminal. A second SIGTERM has no effect, because supervisors repeat theirs; their last resort is SIGKILL.
//!
//! SIGCHLD sets a flag and wakes the poller as well, so that the loop checks its child at once.
//!
//! SIGPIPE, SIGHUP and SIGALRM are ignored: a closed peer is an error of the send, the server outlives its terminal,
//! and no alarm is set.
//!
//! A handler may do almost nothing; these handlers change a counter or a flag and write eight bytes to a descriptor
//! that stays open.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::sys::poller::{Waker, wake_raw};
use crate::sys::raw_log;

static COUNT: AtomicU32 = AtomicU32::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);
static WAKER: AtomicI32 = AtomicI32::new(-1);
static CHILD_ENDED: AtomicBool = AtomicBool::new(false);

/// Installs the handlers for the whole process; each signal that requests a shutdown wakes `waker`. A later call
/// replaces the waker; the earlier one stays open.
pub fn install(waker: &Waker) -> io::Result<()> {
    WAKER.store(waker.leak(), Ordering::Release);
    for signal in [Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGALRM] {
        set(signal, SigHandler::SigIgn)?;
    }
    set(Signal::SIGTERM, SigHandler::Handler(on_shutdown))?;
    set(Signal::SIGINT, SigHandler::Handler(on_shutdown))
}

/// Records the end of children from now on and keeps their exit status: where SIGCHLD is ignored, which a process
/// inherits, the kernel discards the status.
pub fn watch_children() -> io::Result<()> {
    set(Signal::SIGCHLD, SigHandler::Handler(on_child))
}

/// Whether a child has ended since the last call.
#[inline]
pub fn child_has_ended() -> bool {
    CHILD_ENDED.load(Ordering::Relaxed) && CHILD_ENDED.swap(false, Ordering::Acquire)
}

/// The number of signals so far that requested a shutdown.
#[inline]
pub fn shutdown_signals() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// Subtracts `count` signals, because the shutdown that they requested was not possible.
pub fn forget_shutdown_signals(count: u32) {
    COUNT.fetch_sub(count, Ordering::AcqRel);
}

/// The name of the latest signal that requested a shutdown, for the log.
pub fn last_shutdown_signal() -> Option<&'static str> {
    Signal::try_from(LAST.load(Ordering::Acquire)).ok().map(Signal::as_str)
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    // A write to a file restarts; a wait is interrupted in any case.
    let action = SigAction::new(handler, SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP, SigSet::empty());
    // SAFETY: the handlers passed here are async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn on_shutdown(signal: i32) {
    let errno = Errno::last_raw();
    LAST.store(signal, Ordering::Release);
    let earlier = COUNT.fetch_add(1, Ordering::AcqRel);
    if earlier > 0 && signal == libc::SIGINT {
        raw_log::line_from_handler("You insist... exiting now.");
        // SAFETY: ends the process without running any more of its code.
        unsafe { libc::_exit(1) };
    }
    wake();
    Errno::set_raw(errno);
}

extern "C" fn on_child(_: i32) {
    let errno = Errno::last_raw();
    CHILD_ENDED.store(true, Ordering::Release);
    wake();
    Errno::set_raw(errno);
}

fn wake() {
    let waker: RawFd = WAKER.load(Ordering::Acquire);
    if waker >= 0 {
        wake_raw(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sys::signal::raise;

    use super::*;
    use crate::sys::poller::{NativePoller, Poller};

    /// Signals reach the whole process, so each scene runs in a process of its own, which runs only the test `scene` of
    /// this test binary.
    fn play(scene: &str) -> Option<i32> {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "sys::signal::tests::scene"])
            .env("REDSTART_SCENE", scene)
            .output()
            .unwrap()
            .status
            .code()
    }

    #[test]
    #[ignore = "played by the other tests of this module in a process of its own"]
    fn scene() {
        let Ok(scene) = std::env::var("REDSTART_SCENE") else { return };
        let mut poller = NativePoller::new().unwrap();
        install(&poller.waker()).unwrap();
        assert_eq!((shutdown_signals(), last_shutdown_signal()), (0, None));
        raise(Signal::SIGPIPE).unwrap();
        raise(Signal::SIGHUP).unwrap();
        raise(Signal::SIGALRM).unwrap();
        assert_eq!(poller.wait(Some(0)).unwrap(), 0);
        raise(Signal::SIGTERM).unwrap();
        // Without the wake-up this would wait forever: the signal came before the wait began.
        assert_eq!(poller.wait(None).unwrap(), 0);
        assert_eq!((shutdown_signals(), last_shutdown_signal()), (1, Some("SIGTERM")));
        match scene.as_str() {
            "a child ends" => {
                watch_children().unwrap();
                assert!(!child_has_ended());
                Command::new("true").status().unwrap();
                assert_eq!(poller.wait(None).unwrap(), 0);
                assert!(child_has_ended());
                assert!(!child_has_ended());
            }
            "terminated twice" => raise(Signal::SIGTERM).unwrap(),
            "interrupted" => raise(Signal::SIGINT).unwrap(),
            "refused" => {
                forget_shutdown_signals(shutdown_signals());
                raise(Signal::SIGINT).unwrap();
                assert_eq!((shutdown_signals(), last_shutdown_signal()), (1, Some("SIGINT")));
            }
            _ => {}
        }
        std::process::exit(42);
    }

    #[test]
    fn a_signal_to_end_is_counted_and_wakes_the_poller_and_others_are_ignored() {
        assert_eq!(play("once"), Some(42));
    }

    #[test]
    fn the_end_of_a_child_wakes_the_poller() {
        assert_eq!(play("a child ends"), Some(42));
    }

    #[test]
    fn an_interrupt_after_a_signal_to_end_ends_the_process_at_once() {
        assert_eq!(play("interrupted"), Some(1));
    }

    #[test]
    fn an_interrupt_after_a_shutdown_that_was_not_possible_asks_for_another_one() {
        assert_eq!(play("refused"), Some(42));
    }

    #[test]
    fn a_second_termination_signal_leaves_the_end_in_order() {
        assert_eq!(play("terminated twice"), Some(42));
    }
}
