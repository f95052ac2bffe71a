//! The tools' standard output and standard error.
//!
//! Most of the printed text came from a server or a file. At a terminal its control characters are escaped
//! ([`controls`]); a file or a pipe receives it byte for byte. A tool's own escape sequences, for colours and cursor
//! movements, are written with [`Console::draw`].

use std::fmt::Display;
use std::io::{self, IsTerminal, StderrLock, StdoutLock, Write, stderr, stdout};
use std::sync::LazyLock;

use crate::text::controls;

static OUTPUT_IS_TERMINAL: LazyLock<bool> = LazyLock::new(|| stdout().is_terminal());
static ERRORS_ARE_TERMINAL: LazyLock<bool> = LazyLock::new(|| stderr().is_terminal());

/// A writer that escapes control characters if it writes to a terminal. Each write must contain whole characters.
#[derive(Debug)]
pub struct Console<W> {
    to: W,
    is_terminal: bool,
}

/// The standard output.
pub fn output() -> Console<StdoutLock<'static>> {
    Console { to: stdout().lock(), is_terminal: *OUTPUT_IS_TERMINAL }
}

/// The standard error.
pub fn errors() -> Console<StderrLock<'static>> {
    Console { to: stderr().lock(), is_terminal: *ERRORS_ARE_TERMINAL }
}

/// Prints a line to standard error. Ignores errors: there is nowhere else to report them.
pub fn tell(text: impl Display) {
    let _ = errors().write_all(format!("{text}\n").as_bytes());
}

/// Prints to standard output and flushes it.
pub fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = output();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints to standard output unescaped, and flushes it.
pub fn draw(bytes: &[u8]) -> io::Result<()> {
    output().draw(bytes)
}

/// Returns `bytes`, escaped if standard output is a terminal: for [`draw`], with colours around them.
pub fn shown(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    if *OUTPUT_IS_TERMINAL {
        controls::push_shown(&mut shown, bytes);
    } else {
        shown.extend_from_slice(bytes);
    }
    shown
}

impl<W: Write> Console<W> {
    /// Writes `bytes` unescaped, and flushes.
    pub fn draw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.to.flush()
    }
}

impl<W: Write> Write for Console<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.to.write(bytes);
        }
        let mut shown = Vec::with_capacity(bytes.len());
        controls::push_shown(&mut shown, bytes);
        self.to.write_all(&shown)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_only_at_a_terminal() {
        for (is_terminal, wanted) in [(true, "\\x1b[0m\x1b[1m"), (false, "\x1b[0m\x1b[1m")] {
            let mut console = Console { to: Vec::new(), is_terminal };
            console.write_all(b"\x1b[0m").unwrap();
            console.draw(b"\x1b[1m").unwrap();
            assert_eq!(String::from_utf8(console.to).unwrap(), wanted);
        }
    }
}
