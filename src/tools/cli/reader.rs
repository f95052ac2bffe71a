//! Where lines come from: a pipe, or a terminal without an editor.

use std::fmt;
use std::io::{self, BufRead, BufReader, Stdin, stdin};
use std::os::fd::AsFd;

use crate::sys::terminal;
use crate::tools::console;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line, or several that were pasted, without the line end.
    Line(Vec<u8>),
    /// The end of the input, or Ctrl-C where nothing was typed.
    End,
}

/// A source of lines.
pub trait Reader: fmt::Debug {
    /// The next line. At a terminal `prompt` stands before it.
    fn read(&mut self, prompt: &str) -> io::Result<Typed>;

    /// Keeps a line so that it can be recalled, unless it is blank or may have a password in it.
    fn remember(&mut self, line: &[u8]);
}

/// Lines as they come.
#[derive(Debug)]
pub struct Plain {
    input: BufReader<Stdin>,
    has_prompt: bool,
}

impl Plain {
    /// The standard input, with a prompt if a terminal is there.
    pub fn new(has_prompt: bool) -> Plain {
        Plain { input: BufReader::new(stdin()), has_prompt }
    }
}

impl Reader for Plain {
    fn read(&mut self, prompt: &str) -> io::Result<Typed> {
        if self.has_prompt {
            console::print(prompt.as_bytes())?;
            // A read would not be ended by Ctrl-C.
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
