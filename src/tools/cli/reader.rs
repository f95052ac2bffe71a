//! Sources of lines: a pipe, or a terminal without an editor.

use std::fmt;
use std::io::{self, BufRead, BufReader, Stdin, stdin};
use std::os::fd::AsFd;

use crate::sys::terminal;
use crate::tools::console;

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line, or several pasted ones, without the final line end.
    Line(Vec<u8>),
    /// The end of the input, or Ctrl-C on an empty line.
    End,
}

/// A source of lines.
pub trait Reader: fmt::Debug {
    /// Reads the next line. On a terminal, `prompt` precedes it.
    fn read(&mut self, prompt: &str) -> io::Result<Typed>;

    /// Adds a line to the history, unless it is blank or may contain a password.
    fn remember(&mut self, line: &[u8]);
}

/// Reads lines without editing.
#[derive(Debug)]
pub struct Plain {
    input: BufReader<Stdin>,
    has_prompt: bool,
}

impl Plain {
    /// Reads standard input, with a prompt if it is a terminal.
    pub fn new(has_prompt: bool) -> Plain {
        Plain { input: BufReader::new(stdin()), has_prompt }
    }
}

impl Reader for Plain {
    fn read(&mut self, prompt: &str) -> io::Result<Typed> {
        if self.has_prompt {
            console::print(prompt.as_bytes())?;
            // Ctrl-C does not interrupt a read, but it interrupts this wait.
            while self.input.buffer().is_empty() && !terminal::wait_readable([stdin().as_fd()], None)?[0] {
                if terminal::take_interrupt() {
                    return Ok(Typed::End);
                }
            }
        }
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Ok(Typed::End);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok(Typed::Line(line))
    }

    fn remember(&mut self, _: &[u8]) {}
}
