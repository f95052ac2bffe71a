//! The lines that the subcommands print, and the questions that they ask.
//!
//! Everything goes to standard output, as with redis-cli. Colours are for terminals only; redis-cli also writes them
//! into pipes and files if `TERM` is an xterm.

use std::fmt::Display;
use std::io::{IsTerminal, stdin, stdout};

use super::Failure;
use crate::tools::cli::shell::colours_are_wanted;
use crate::tools::console;

/// The colour of a line.
#[derive(Clone, Copy)]
enum Colour {
    Bold = 29,
    Yellow = 33,
    Red = 31,
    Green = 32,
}

/// Prints a line.
pub fn line(text: impl Display) -> Result<(), Failure> {
    part(format_args!("{text}\n"))
}

/// Prints text without a line end.
pub fn part(text: impl Display) -> Result<(), Failure> {
    Ok(console::print(text.to_string().as_bytes())?)
}

/// Prints a line about the next step.
pub fn step(text: impl Display) -> Result<(), Failure> {
    coloured(Colour::Bold, text)
}

/// Prints a good result.
pub fn good(text: impl Display) -> Result<(), Failure> {
    coloured(Colour::Green, text)
}

/// Prints a warning.
pub fn warning(text: impl Display) -> Result<(), Failure> {
    coloured(Colour::Yellow, text)
}

/// Prints an error.
pub fn error(text: impl Display) -> Result<(), Failure> {
    coloured(Colour::Red, text)
}

/// Prints an error that ends the command.
pub fn fail<T>(text: impl Display) -> Result<T, Failure> {
    error(text)?;
    Err(Failure::Told)
}

fn coloured(colour: Colour, text: impl Display) -> Result<(), Failure> {
    if !is_terminal() || !colours_are_wanted() {
        return line(text);
    }
    let text = console::shown(text.to_string().as_bytes());
    let start = format!("\x1b[{};1m", colour as u8);
    Ok(console::draw(&[start.as_bytes(), &text, b"\n\x1b[0m"].concat())?)
}

/// Whether standard output is a terminal: progress then has a line that is redrawn.
pub fn is_terminal() -> bool {
    stdout().is_terminal()
}

/// Replaces the current line of the terminal.
pub fn redraw(text: &str) -> Result<(), Failure> {
    Ok(console::draw(format!("\r\x1b[K{text}").as_bytes())?)
}

/// Asks the user to type `yes`. Returns false for any other answer and at the end of the input.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} (type 'yes' to accept): "))?;
    Ok(answer.is_some_and(|answer| answer == "yes"))
}

/// Asks a question and returns the line typed; `None` at the end of the input.
pub fn ask(question: &str) -> Result<Option<String>, Failure> {
    part(question)?;
    let mut typed = String::new();
    match stdin().read_line(&mut typed) {
        Ok(count) if count > 0 => Ok(Some(typed.trim().to_string())),
        _ => {
            line("")?;
            Ok(None)
        }
    }
}

/// Asks a question until the answer is not empty.
pub fn ask_until<T>(question: &str, mut accept: impl FnMut(&str) -> Option<T>) -> Result<T, Failure> {
    loop {
        let Some(answer) = ask(question)? else {
            console::tell("The standard input ended before all questions were answered.");
            return Err(Failure::Told);
        };
        if let Some(accepted) = accept(&answer) {
            return Ok(accepted);
        }
    }
}
