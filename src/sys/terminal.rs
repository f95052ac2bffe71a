//! The terminal of an interactive tool: reading keys as they are typed, Ctrl-C, its size.
//!
//! A terminal's settings outlive the process, so a guard changes them and restores them when it is dropped.
//!
//! A signal handler cannot end a `read` that begins after it: a Ctrl-C between a check of the flag and the `read` would
//! have no effect until the next one. So the handler also writes to a pipe, and [`wait_readable`] polls that pipe along
//! with its caller's descriptors. While Ctrl-C is not caught there is no pipe; `poll` ignores its negative descriptor.

use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The pipe between the handler and the waits. Both ends stay open: a handler may still run.
static PIPE_READER: AtomicI32 = AtomicI32::new(-1);
static PIPE_WRITER: AtomicI32 = AtomicI32::new(-1);
/// The most descriptors that a caller of [`wait_readable`] passes.
const MOST: usize = 2;

extern "C" fn on_interrupt(_: i32) {
    let errno = Errno::last_raw();
    INTERRUPTED.store(true, Ordering::Release);
    // SAFETY: the descriptor stays open, and one byte is read from the array. A full pipe is already readable.
    unsafe { libc::write(PIPE_WRITER.load(Ordering::Acquire), [0_u8].as_ptr().cast(), 1) };
    Errno::set_raw(errno);
}

/// Catches Ctrl-C from now on instead of ending the process. It ends waits: see [`wait_readable`].
pub fn catch_interrupts() -> io::Result<()> {
    if interrupts_are_caught() {
        return Ok(());
    }
    let (reader, writer) = io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    PIPE_WRITER.store(writer.into_raw_fd(), Ordering::Release);
    PIPE_READER.store(reader.into_raw_fd(), Ordering::Release);
    let action = SigAction::new(SigHandler::Handler(on_interrupt), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores to an atomic and writes to a descriptor, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGINT, &action) }?;
    Ok(())
}

/// Whether Ctrl-C is caught instead of ending the process.
pub fn interrupts_are_caught() -> bool {
    PIPE_READER.load(Ordering::Acquire) >= 0
}

/// Whether a Ctrl-C is pending.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Acquire)
}

/// Whether Ctrl-C was pressed since the last call.
pub fn take_interrupt() -> bool {
    drain_interrupts();
    INTERRUPTED.swap(false, Ordering::AcqRel)
}

/// Empties the pipe; the flag holds the same information.
fn drain_interrupts() {
    let pipe = PIPE_READER.load(Ordering::Acquire);
    let mut bytes = [0_u8; 64];
    // SAFETY: the descriptor stays open and does not block (a negative one fails), and the array has room for its
    // length.
    while unsafe { libc::read(pipe, bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}

/// Waits for `duration`, or until Ctrl-C is pressed where it is caught.
pub fn pause(duration: Duration) {
    if wait_readable([], Some(duration)).is_err() {
        std::thread::sleep(duration);
    }
}

/// The terminal's treatment of keys while the guard lives.
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

    /// Delivers each key at once, without echo. Ctrl-C stays a signal.
    pub fn keys(terminal: BorrowedFd<'a>) -> io::Result<Settings<'a>> {
        Settings::change(terminal, |settings| {
            settings.c_lflag &= !(libc::ICANON | libc::ECHO);
            settings.c_cc[libc::VMIN] = 1;
            settings.c_cc[libc::VTIME] = 0;
        })
    }

    /// Delivers lines, without echo.
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
    // SAFETY: the descriptor is open and the struct is initialised.
    match unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSADRAIN, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Columns and rows of a terminal, if it reports them.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the call fills the struct.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Waits until one of the descriptors is readable or at its end. Returns which ones are; none after `timeout`, and none
/// while a Ctrl-C is pending, even if it came before the call.
pub fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    const { assert!(N <= MOST) };
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(PIPE_READER.load(Ordering::Acquire)); MOST + 1];
    for (place, fd) in entries[1..].iter_mut().zip(&descriptors) {
        *place = entry(fd.as_raw_fd());
    }
    while !is_interrupted() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up, so that the wait does not end early.
        let left_ms = left.map_or(-1, |left| left.as_micros().div_ceil(1000).try_into().unwrap_or(i32::MAX));
        // SAFETY: there are at least as many entries, and the callers' descriptors are open.
        let ready = unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t + 1, left_ms) };
        match Errno::result(ready) {
            // The flag is set, or the byte belongs to an interrupt that has been taken meanwhile.
            Ok(_) if entries[0].revents != 0 => drain_interrupts(),
            Ok(0) if left_ms < i32::MAX => break,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(std::array::from_fn(|at| entries[at + 1].revents != 0)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok([false; N])
}

/// Prompts for a password; a terminal does not echo it.
pub fn read_password(prompt: &str) -> io::Result<String> {
    let input = io::stdin();
    // Before the prompt: the user may type as soon as it appears.
    let hidden = Settings::hidden(input.as_fd()).ok();
    io::stderr().write_all(prompt.as_bytes())?;
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    if hidden.is_some() {
        io::stderr().write_all(b"\n")?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}
