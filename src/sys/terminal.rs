//! The terminal at which a tool is used: reading keys as they are typed, Ctrl-C, its size.
//!
//! A terminal's settings outlive the process, so what changes them is a guard that restores them when it is dropped.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_interrupt(_: i32) {
    INTERRUPTED.store(true, Ordering::Release);
}

/// Has Ctrl-C noted from now on rather than end the process. It interrupts reads that wait.
pub fn catch_interrupts() -> io::Result<()> {
    // Without SA_RESTART, so that a read returns.
    let action = SigAction::new(SigHandler::Handler(on_interrupt), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler stores to an atomic, which is permitted in one.
    unsafe { sigaction(Signal::SIGINT, &action) }?;
    Ok(())
}

/// Whether Ctrl-C was pressed and has not been taken.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

/// Whether Ctrl-C was pressed since this was last called.
pub fn take_interrupt() -> bool {
    INTERRUPTED.swap(false, Ordering::AcqRel)
}

/// What a terminal does with keys while the guard lives.
#[derive(Debug)]
pub struct Settings<'a> {
    terminal: BorrowedFd<'a>,
    before: libc::termios,
}

impl<'a> Settings<'a> {
    fn change(terminal: BorrowedFd<'a>, change: impl FnOnce(&mut libc::termios)) -> io::Result<Settings<'a>> {
        let mut settings = std::mem::MaybeUninit::uninit();
        // SAFETY: the descriptor is open, and the call fills the struct if it succeeds.
        if unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded.
        let before: libc::termios = unsafe { settings.assume_init() };
        let mut wanted = before;
        change(&mut wanted);
        set(terminal, &wanted)?;
        Ok(Settings { terminal, before })
    }

    /// Delivers each key at once and shows none. Ctrl-C stays a signal.
    pub fn keys(terminal: BorrowedFd<'a>) -> io::Result<Settings<'a>> {
        Settings::change(terminal, |settings| {
            settings.c_lflag &= !(libc::ICANON | libc::ECHO);
            settings.c_cc[libc::VMIN] = 1;
            settings.c_cc[libc::VTIME] = 0;
        })
    }

    /// Delivers lines, and does not show what is typed.
    pub fn hidden(terminal: BorrowedFd<'a>) -> io::Result<Settings<'a>> {
        Settings::change(terminal, |settings| settings.c_lflag &= !libc::ECHO)
    }
}

impl Drop for Settings<'_> {
    fn drop(&mut self) {
        // A terminal that is gone has no settings to restore.
        let _ = set(self.terminal, &self.before);
    }
}

fn set(terminal: BorrowedFd<'_>, settings: &libc::termios) -> io::Result<()> {
    // SAFETY: the descriptor is open and the struct is whole.
    match unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSADRAIN, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Columns and rows of a terminal, if it tells them.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the call fills the struct.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Waits until one of the descriptors has something to read or is at its end. Returns which of them; none after
/// `timeout` or a signal.
pub fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut entries =
        descriptors.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let timeout_ms = timeout.map_or(-1, |timeout| i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the entries are as many as is said, and their descriptors are open.
    let result = unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout_ms) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted { Ok([false; N]) } else { Err(error) };
    }
    Ok(entries.map(|entry| entry.revents != 0))
}

/// Asks for a password: at the terminal it is not shown.
pub fn read_password(prompt: &str) -> io::Result<String> {
    let input = io::stdin();
    // Before the prompt, after which a user may type at once.
    let hidden = Settings::hidden(input.as_fd()).ok();
    io::stderr().write_all(prompt.as_bytes())?;
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    if hidden.is_some() {
        io::stderr().write_all(b"\n")?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}
