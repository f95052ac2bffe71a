//! The line editor for a terminal: history, completion with TAB, and hints after the cursor.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::{History, MemHistory};
use rustyline::validate::Validator;
use rustyline::{CompletionType, Context, Helper};

use super::hints;
use super::history;
use super::reader::{Reader, Typed};
use super::shell::{Knowledge, colours_are_wanted};
use crate::sys::terminal;
use crate::text::words;

/// The editor with its history.
pub struct Editor {
    lines: rustyline::Editor<Assistant, MemHistory>,
    /// The history file, if one is kept.
    path: Option<PathBuf>,
}

impl std::fmt::Debug for Editor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Editor").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Editor {
    /// Opens an editor that uses `knowledge` for hints and completion; `None` if the terminal cannot be edited on.
    pub fn open(knowledge: &Knowledge) -> Option<Editor> {
        if std::env::var("TERM").is_ok_and(|name| matches!(name.as_str(), "dumb" | "cons25" | "emacs")) {
            return None;
        }
        let config = Config::builder()
            .max_history_size(history::KEPT)
            .and_then(|config| config.history_ignore_dups(true))
            .ok()?
            .completion_type(CompletionType::List)
            .build();
        let kept = MemHistory::with_config(&config);
        let mut lines = rustyline::Editor::with_history(config, kept).ok()?;
        lines.set_helper(Some(Assistant {
            knowledge: knowledge.clone(),
            is_empty: Cell::new(true),
            room: Cell::new(0),
            has_colours: colours_are_wanted(),
        }));
        let path = history::path();
        for line in path.as_deref().map(history::load).unwrap_or_default() {
            lines.history_mut().add_owned(line).ok()?;
        }
        Some(Editor { lines, path })
    }
}

impl Reader for Editor {
    fn read(&mut self, prompt: &str) -> io::Result<Typed> {
        loop {
            if let Some(assistant) = self.lines.helper() {
                assistant.is_empty.set(true);
                let columns =
                    terminal::size(stdout().as_fd()).map_or(80, |(columns, _)| usize::from(columns));
                assistant.room.set(columns.saturating_sub(prompt.chars().count()));
            }
            match self.lines.readline(prompt) {
                Ok(line) => return Ok(Typed::Line(line.into_bytes())),
                Err(ReadlineError::Eof) => return Ok(Typed::End),
                Err(ReadlineError::Interrupted) => {
                    // Ctrl-C discards the typed text; without any, it ends the prompt.
                    if self.lines.helper().is_none_or(|assistant| assistant.is_empty.get()) {
                        return Ok(Typed::End);
                    }
                }
                Err(ReadlineError::Io(error)) => return Err(error),
                Err(ReadlineError::Errno(error)) => return Err(error.into()),
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
    }

    fn remember(&mut self, line: &[u8]) {
        let (Ok(words), Ok(line)) = (words::split(line), std::str::from_utf8(line)) else { return };
        if words.is_empty() || history::is_secret(&words) {
            return;
        }
        let is_new = self.lines.add_history_entry(line).unwrap_or(false);
        if is_new && let Some(path) = &self.path {
            // A history that cannot be written does not concern the user.
            let _ = history::append(path, line);
        }
    }
}

/// The editor's source of hints and completions.
struct Assistant {
    knowledge: Knowledge,
    /// Whether the line is empty.
    is_empty: Cell<bool>,
    /// The number of columns after the prompt.
    room: Cell<usize>,
    has_colours: bool,
}

impl Helper for Assistant {}

impl Validator for Assistant {}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, mut words) = hints::complete(&self.knowledge.docs.borrow(), &line[..pos]);
        if let [word] = &mut words[..] {
            word.push(' ');
        }
        Ok((start, words))
    }
}

/// A hint, which is displayed but never inserted: it consists of placeholders.
struct Shown(String);

impl Hint for Shown {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Shown;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Shown> {
        self.is_empty.set(line.is_empty());
        if pos < line.len() || !self.knowledge.has_hints.get() {
            return None;
        }
        let hint = hints::hint(&self.knowledge.docs.borrow(), line)?;
        // The hint must fit on the line; the last column is for the cursor.
        let room = self.room.get().saturating_sub(line.chars().count() + 1);
        Some(Shown(hint.chars().take(room).collect()))
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.has_colours { Cow::Owned(format!("\x1b[90m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }
}
