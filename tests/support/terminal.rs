//! A program in a pseudo-terminal, as a user sees it: tests type keys and read the screen.
//!
//! Each wait has a deadline. [`Terminal::wait_for`] searches the output since the last such wait, so that a test can
//! wait for the same text again; [`Terminal::wait_screen`] checks the current screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A running program and its terminal. Dropping the value kills the program.
pub struct Terminal {
    master: File,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// The end of the text that [`Terminal::wait_for`] found last.
    seen: usize,
    columns: u16,
    rows: u16,
}

impl Terminal {
    /// Starts `command` in a terminal of this size, in a separate session, so that Ctrl-C reaches only this program.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let (master, slave) = open(columns, rows);
        for stream in [Command::stdin, Command::stdout, Command::stderr] {
            stream(&mut command, slave.try_clone().expect("duplicate a descriptor"));
        }
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        // SAFETY: only system calls are made between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                // A shell makes its background jobs ignore Ctrl-C, and children inherit ignored signals.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                match libc::ioctl(0, libc::TIOCSCTTY as _, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // Only the program has the other end now, so its exit is the end of the output.
        drop((command, slave));
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (master.try_clone().expect("duplicate a descriptor"), Arc::clone(&output));
        let reader = std::thread::spawn(move || {
            let mut room = [0; 4096];
            // Linux reports the end as an error.
            while let Ok(count @ 1..) = reader.read(&mut room) {
                sink.lock().expect("no thread panics with it").extend_from_slice(&room[..count]);
            }
        });
        Terminal { master, child, output, reader: Some(reader), seen: 0, columns, rows }
    }

    /// Types keys: text, `\r` for Enter, `\x03` for Ctrl-C, `\x1b[A` for the arrow up.
    pub fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("type into the terminal");
    }

    /// Waits until `text` has been printed since the last such wait. Returns the output before it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let found = self.until(&format!("{text:?} is printed"), |terminal| {
            let output = terminal.output.lock().expect("no thread panics with it");
            let at = memchr::memmem::find(&output[terminal.seen..], text.as_bytes())? + terminal.seen;
            Some((String::from_utf8_lossy(&output[terminal.seen..at]).into_owned(), at + text.len()))
        });
        self.seen = found.1;
        found.0
    }

    /// Waits until the screen satisfies `condition` and returns it.
    pub fn wait_screen(&mut self, what: &str, condition: impl Fn(&Screen) -> bool) -> Screen {
        self.until(what, |terminal| Some(terminal.screen()).filter(&condition))
    }

    /// Waits until `text` is on the screen.
    pub fn wait_text(&mut self, text: &str) -> Screen {
        self.wait_screen(&format!("{text:?} is on the screen"), |screen| screen.text().contains(text))
    }

    /// The complete output, escape sequences included.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no thread panics with it")).into_owned()
    }

    /// The screen now.
    pub fn screen(&self) -> Screen {
        let mut screen = Screen::new(self.columns, self.rows);
        screen.print(&self.transcript());
        screen
    }

    /// Changes the size; the kernel sends the program a signal.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the call reads the struct.
        let result = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(result, 0, "resize the terminal");
        (self.columns, self.rows) = (columns, rows);
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the terminal echoes input and delivers it in lines, as it did at the start.
    pub fn is_restored(&self) -> bool {
        let mut settings = std::mem::MaybeUninit::<libc::termios>::zeroed();
        // SAFETY: the descriptor is open, the call fills the struct, and zeroes are a valid one.
        let settings = unsafe {
            assert_eq!(libc::tcgetattr(self.master.as_raw_fd(), settings.as_mut_ptr()), 0);
            settings.assume_init()
        };
        let wanted = libc::ICANON | libc::ECHO | libc::ISIG;
        settings.c_lflag & wanted == wanted
    }

    /// Waits until the program exits.
    pub fn wait_exit(&mut self) -> ExitStatus {
        self.until("the program exits", |terminal| terminal.child.try_wait().expect("wait"))
    }

    /// Waits until the program exits. Returns its output.
    pub fn finish(&mut self) -> String {
        self.wait_exit();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it reads to the end");
        }
        self.transcript()
    }

    /// Like [`super::eventually`], but also prints the screen if the deadline passes.
    fn until<T>(&mut self, what: &str, mut probe: impl FnMut(&mut Terminal) -> Option<T>) -> T {
        let started = std::time::Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            assert!(
                started.elapsed() < super::DEADLINE,
                "did not happen: {what}\nthe screen:\n{}\nthe last output: {:?}",
                self.screen().text(),
                self.transcript()
                    .chars()
                    .rev()
                    .take(600)
                    .collect::<Vec<_>>()
                    .iter()
                    .rev()
                    .collect::<String>()
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(columns: u16, rows: u16) -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    let mut size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills both descriptors, and accepts null for the name and the settings.
    let result = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0, "openpty: {}", std::io::Error::last_os_error());
    for fd in [master, slave] {
        // SAFETY: the descriptor was just opened. Another child must not keep the terminal open.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    // SAFETY: both descriptors were just opened and have no other owner.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// The contents of a terminal: lines of characters and the cursor. Colours are ignored.
#[derive(Clone, Debug)]
pub struct Screen {
    lines: Vec<Vec<char>>,
    columns: usize,
    /// The cursor's column and row, from 0. The column may be one past the last.
    pub cursor: (usize, usize),
}

impl Screen {
    pub fn new(columns: u16, rows: u16) -> Screen {
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        Screen { lines: vec![vec![' '; columns]; rows], columns, cursor: (0, 0) }
    }

    /// The lines without the spaces at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_string()).collect()
    }

    /// All lines as one text, without the empty ones at the end.
    pub fn text(&self) -> String {
        self.lines().join("\n").trim_end().to_string()
    }

    /// The line of the cursor.
    pub fn current(&self) -> String {
        self.lines()[self.cursor.1].clone()
    }

    /// Updates the screen with output of a program.
    pub fn print(&mut self, text: &str) {
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            let (column, row) = self.cursor;
            match letter {
                '\r' => self.cursor.0 = 0,
                '\n' => self.feed(),
                '\x08' => self.cursor.0 = column.saturating_sub(1),
                '\x1b' if rest.next_if_eq(&'[').is_some() => {
                    let mut arguments = String::new();
                    while let Some(letter) = rest.next_if(|letter| !('@'..='~').contains(letter)) {
                        arguments.push(letter);
                    }
                    self.control(rest.next().unwrap_or('m'), &arguments);
                }
                // Other escape sequences have one letter.
                '\x1b' => drop(rest.next()),
                letter if letter < ' ' => {}
                letter => {
                    if column >= self.columns {
                        self.cursor.0 = 0;
                        self.feed();
                        self.lines[self.cursor.1][0] = letter;
                    } else {
                        self.lines[row][column] = letter;
                    }
                    self.cursor.0 += 1;
                }
            }
        }
    }

    fn feed(&mut self) {
        if self.cursor.1 + 1 < self.lines.len() {
            self.cursor.1 += 1;
        } else {
            self.lines.remove(0);
            self.lines.push(vec![' '; self.columns]);
        }
    }

    /// A control sequence `ESC [ arguments letter`.
    fn control(&mut self, letter: char, arguments: &str) {
        let numbers: Vec<usize> = arguments.split(';').map(|number| number.parse().unwrap_or(0)).collect();
        let first = numbers.first().copied().unwrap_or(0);
        let (column, row) = self.cursor;
        let (last_column, last_row) = (self.columns - 1, self.lines.len() - 1);
        let at = column.min(last_column);
        match letter {
            'A' => self.cursor.1 = row.saturating_sub(first.max(1)),
            'B' => self.cursor.1 = (row + first.max(1)).min(last_row),
            'C' => self.cursor.0 = (column + first.max(1)).min(last_column),
            'D' => self.cursor.0 = column.saturating_sub(first.max(1)),
            'G' => self.cursor.0 = first.saturating_sub(1).min(last_column),
            'H' | 'f' => {
                let second = numbers.get(1).copied().unwrap_or(0);
                self.cursor =
                    (second.saturating_sub(1).min(last_column), first.saturating_sub(1).min(last_row));
            }
            'J' => {
                let (from, to) = match first {
                    0 => (row + 1, last_row + 1),
                    1 => (0, row),
                    _ => (0, last_row + 1),
                };
                self.lines[from..to].iter_mut().for_each(|line| line.fill(' '));
                match first {
                    0 => self.lines[row][at..].fill(' '),
                    1 => self.lines[row][..=at].fill(' '),
                    _ => {}
                }
            }
            'K' => match first {
                0 => self.lines[row][at..].fill(' '),
                1 => self.lines[row][..=at].fill(' '),
                _ => self.lines[row].fill(' '),
            },
            _ => {}
        }
    }
}
