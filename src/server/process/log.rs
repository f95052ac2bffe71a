//! The log: one line per event, in Redis's format, to standard output or `logfile`, and with `syslog-enabled` also to
//! the system's log.
//!
//! ```text
//! 4711:M 21 Nov 2026 12:00:00.123 * Ready to accept connections tcp
//! ```
//!
//! A line is written to the file that has the name `logfile` at that moment, so the log may be rotated by renaming it.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use crate::config::LogLevel;
use crate::sys::calendar::local_time;
use crate::sys::file::AppendFile;
use crate::sys::host::{self, Urgency};
use crate::sys::{clock, raw_log};
use crate::text::words::shown;

/// The destination of lines, and their minimum level.
pub struct Log {
    level: LogLevel,
    file: Option<RefCell<AppendFile>>,
    /// Whether lines go to the system's log as well.
    syslog: bool,
}

impl Log {
    /// Opens a log at `level` to the file at `path`, or to standard output if the path is empty. Signal handlers write
    /// to the same destination from now on.
    pub fn open(path: &Path, level: LogLevel) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            raw_log::set(io::stdout().as_raw_fd(), None);
            return Ok(Log { level, file: None, syslog: false });
        }
        let file = AppendFile::open(path)?;
        raw_log::set(file.file().as_raw_fd(), Some(file.path()));
        Ok(Log { level, file: Some(RefCell::new(file)), syslog: false })
    }

    /// Sends every line from now on to the system's log as well, under a name and a facility.
    pub fn open_syslog(&mut self, ident: &str, facility: &str) {
        host::open_syslog(ident, facility);
        self.syslog = true;
    }

    /// The log file's descriptor, which a child needs to go on writing to it; `None` for the standard output.
    pub fn fd(&self) -> Option<RawFd> {
        self.file.as_ref().map(|file| file.borrow().file().as_raw_fd())
    }

    /// Marks the lines from now on as those of a forked child, which has no connection to the system's log.
    pub fn become_child(&mut self) {
        raw_log::become_child();
        self.syslog = false;
    }

    /// Changes the level (`CONFIG SET loglevel`).
    pub fn set_level(&mut self, level: LogLevel) {
        self.level = level;
    }

    /// Whether lines of `level` are written, for lines that are expensive to compose.
    pub fn is_at(&self, level: LogLevel) -> bool {
        level >= self.level
    }

    /// For developers: many lines.
    pub fn debug(&self, text: fmt::Arguments<'_>) {
        self.write(LogLevel::Debug, '.', text);
    }

    /// Rarely useful.
    pub fn verbose(&self, text: fmt::Arguments<'_>) {
        self.write(LogLevel::Verbose, '-', text);
    }

    /// Of interest to an operator.
    pub fn notice(&self, text: fmt::Arguments<'_>) {
        self.write(LogLevel::Notice, '*', text);
    }

    /// Important to an operator.
    pub fn warning(&self, text: fmt::Arguments<'_>) {
        self.write(LogLevel::Warning, '#', text);
    }

    /// A line of a script.
    pub fn script(&self, level: LogLevel, line: &[u8]) {
        let mark = match level {
            LogLevel::Debug => '.',
            LogLevel::Verbose => '-',
            LogLevel::Notice => '*',
            LogLevel::Warning | LogLevel::Nothing => '#',
        };
        self.write(level, mark, format_args!("{}", String::from_utf8_lossy(shown(line))));
    }

    fn write(&self, level: LogLevel, mark: char, text: fmt::Arguments<'_>) {
        if !self.is_at(level) {
            return;
        }
        let pid = std::process::id();
        let time = local_time(clock::wall_us() / 1000);
        let line = format!("{pid}:{} {time} {mark} {text}\n", raw_log::role());
        match &self.file {
            Some(file) => {
                let mut file = file.borrow_mut();
                if let Ok(true) = file.append(line.as_bytes()) {
                    raw_log::set(file.file().as_raw_fd(), None);
                }
            }
            // A failure to write to the log cannot be reported anywhere; the server continues.
            None => {
                let _ = io::stdout().write_all(line.as_bytes());
            }
        }
        if self.syslog {
            let urgency = match level {
                LogLevel::Debug => Urgency::Debug,
                LogLevel::Verbose => Urgency::Info,
                LogLevel::Notice => Urgency::Notice,
                LogLevel::Warning | LogLevel::Nothing => Urgency::Warning,
            };
            host::syslog(urgency, &text.to_string());
        }
    }
}
