//! A program that uses the whole screen of a terminal.
//!
//! [`FullScreen`] switches to the alternate screen and receives keys one by one; [`Events`] waits for keys, for signals
//! and for other threads at once. The terminal is restored when the `FullScreen` is dropped, and by [`restore`], which
//! a panic or signal handler may call as well: the first call restores it, later ones do nothing.
//!
//! Ctrl-C, Ctrl-Z and Ctrl-\ still raise their signals. A program receives them as events and ends or stops in order. A
//! second signal to end, sent before the program has handled the first, restores the terminal and ends the process from
//! within the handler.

use std::io::{self, PipeReader, Read, Write, stdin, stdout};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::sys::terminal::wait_readable;

/// Saves the cursor, switches to the alternate screen, hides the cursor, and does not wrap lines.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// Undoes [`ENTER`]: attributes off, lines wrap, the cursor is shown, the normal screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The signals that end a program.
const ENDS: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The terminal's previous modes, while a full screen is shown.
static MODES: AtomicPtr<libc::termios> = AtomicPtr::new(ptr::null_mut());
/// The writing end of the pipe for signals and threads.
static WAKER: AtomicI32 = AtomicI32::new(-1);
/// Signals to end that have not been reported yet.
static ENDING: AtomicU32 = AtomicU32::new(0);

/// The terminal of the standard input and output while a program uses all of it. There can be one at a time.
#[derive(Debug)]
pub struct FullScreen(());

impl FullScreen {
    /// Shows an empty screen. Fails if the standard input is not a terminal.
    pub fn enter() -> io::Result<FullScreen> {
        let fd = stdin().as_raw_fd();
        // SAFETY: all zero bytes are a valid `termios`, and the call writes one.
        let (status, modes) = unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            (libc::tcgetattr(fd, &raw mut modes), modes)
        };
        Errno::result(status)?;
        let mut raw = modes;
        raw.c_lflag &= !(libc::ICANON | libc::ECHO | libc::IEXTEN);
        raw.c_iflag &= !(libc::IXON | libc::ICRNL | libc::INLCR | libc::IGNCR);
        raw.c_cc[libc::VMIN] = 1;
        raw.c_cc[libc::VTIME] = 0;
        let saved = Box::into_raw(Box::new(modes));
        let free = MODES.compare_exchange(ptr::null_mut(), saved, Ordering::AcqRel, Ordering::Acquire);
        if free.is_err() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let screen = FullScreen(());
        // SAFETY: the modes are the terminal's own, with some bits changed.
        Errno::result(unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const raw) })?;
        stdout().write_all(ENTER)?;
        stdout().flush()?;
        Ok(screen)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal if a full screen is shown. Async-signal-safe.
pub fn restore() {
    let modes = MODES.swap(ptr::null_mut(), Ordering::AcqRel);
    if modes.is_null() {
        return;
    }
    // SAFETY: the bytes are readable, and `modes` came from a box that is never freed, since a handler may be reading
    // it. If the terminal is gone, both calls fail and there is nothing to restore.
    unsafe {
        libc::write(libc::STDOUT_FILENO, LEAVE.as_ptr().cast(), LEAVE.len());
        libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, modes);
    }
}

/// Stops the process as Ctrl-Z does, with the terminal restored, until the user continues it; then the screen is empty.
pub fn suspend(screen: FullScreen) -> io::Result<FullScreen> {
    drop(screen);
    set(Signal::SIGTSTP, SigHandler::SigDfl)?;
    raise(Signal::SIGTSTP)?;
    set(Signal::SIGTSTP, SigHandler::Handler(on_signal))?;
    FullScreen::enter()
}

/// The events since the last wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Bytes of keys.
    pub input: Vec<u8>,
    /// The terminal may have another size.
    pub resized: bool,
    /// The user asks the process to stop: see [`suspend`].
    pub suspended: bool,
    /// The process was stopped by others and continued: the content of the screen is unknown.
    pub continued: bool,
    /// The process must end, or the terminal is gone.
    pub ended: bool,
}

/// Receives keys, signals, and calls of [`wake`].
#[derive(Debug)]
pub struct Events {
    reader: PipeReader,
}

impl Events {
    /// Installs the signal handlers for the whole process.
    pub fn watch() -> io::Result<Events> {
        let (reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // It stays open for handlers that are still running.
        WAKER.store(writer.into_raw_fd(), Ordering::Release);
        for signal in ENDS.into_iter().chain([Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGCONT]) {
            set(signal, SigHandler::Handler(on_signal))?;
        }
        Ok(Events { reader })
    }

    /// Waits until something happens, [`wake`] is called, or `timeout` passes.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Happened> {
        let input = stdin();
        let [keys, others] = wait_readable([input.as_fd(), self.reader.as_fd()], Some(timeout))?;
        let mut happened = Happened::default();
        let mut bytes = [0; 512];
        if others {
            while let Ok(len @ 1..) = self.reader.read(&mut bytes) {
                for &byte in &bytes[..len] {
                    note(i32::from(byte), &mut happened);
                }
            }
        }
        if keys {
            match nix::unistd::read(input.as_fd(), &mut bytes) {
                Ok(0) | Err(Errno::EIO) => happened.ended = true,
                Ok(len) => happened.input.extend_from_slice(&bytes[..len]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(happened)
    }
}

/// Wakes the thread that waits for [`Events`], from any other thread.
pub fn wake() {
    send(0);
}

fn note(signal: i32, happened: &mut Happened) {
    match Signal::try_from(signal) {
        Ok(Signal::SIGWINCH) => happened.resized = true,
        Ok(Signal::SIGTSTP) => happened.suspended = true,
        Ok(Signal::SIGCONT) => happened.continued = true,
        Ok(end) if ENDS.contains(&end) => {
            happened.ended = true;
            ENDING.store(0, Ordering::Release);
        }
        _ => {}
    }
}

fn set(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler is async-signal-safe.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

extern "C" fn on_signal(signal: i32) {
    let errno = Errno::last_raw();
    if ENDS.iter().any(|&end| end as i32 == signal) && ENDING.fetch_add(1, Ordering::AcqRel) > 0 {
        restore();
        // SAFETY: ends the process without running any more of its code.
        unsafe { libc::_exit(1) };
    }
    send(signal as u8);
    Errno::set_raw(errno);
}

/// Writes a byte to the pipe. If that is full, the reader is about to wake up anyway.
fn send(byte: u8) {
    let fd: RawFd = WAKER.load(Ordering::Acquire);
    if fd >= 0 {
        // SAFETY: the descriptor stays open, and one byte is read from `byte`.
        unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
    }
}
