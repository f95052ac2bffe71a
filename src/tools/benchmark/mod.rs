//! `redstart benchmark`: measures a Redis-compatible server, with redis-benchmark's options, tests and output.
//!
//! | file | |
//! |---|---|
//! | [`options`] | the command line |
//! | [`suite`] | the tests and their requests |
//! | [`subject`] | a server: its address, greeting and description |
//! | [`plan`] | the parameters of a run and its counts |
//! | [`run`] | a run: threads, progress, totals |
//! | [`worker`] | the loop of a thread: connections, batches, replies |
//! | [`template`], [`replies`], [`schedule`] | its parts: requests written in place, replies counted as they stream by,
//! the schedule of an open loop |
//! | [`histogram`], [`timeline`] | latencies by size, replies by time |
//! | [`report`] | the results of a test |
//! | [`text`], [`json`], [`page`], [`svg`] | results as text, as JSON, and as a page with charts |

pub mod histogram;
pub mod json;
pub mod options;
pub mod page;
pub mod plan;
pub mod replies;
pub mod report;
pub mod run;
pub mod schedule;
pub mod subject;
pub mod suite;
pub mod svg;
pub mod template;
pub mod text;
pub mod timeline;
pub mod worker;

pub use options::command;

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Call;
use crate::sys::terminal;
use crate::tools::client::plain;
use crate::tools::console::{self, tell};
use options::{Format, Options};
use plan::Failure;
use report::Measured;
use run::{Outcome, Progress, Watcher};
use subject::Subject;
use suite::Test;

/// Runs the benchmark that the command line describes.
pub fn main(call: &Call) -> ExitCode {
    let matches =
        match call.matches(command().override_usage(format!("{} [OPTIONS] [COMMAND]...", call.program))) {
            Ok(matches) => matches,
            Err(code) => return code,
        };
    if matches.get_flag("version") {
        let _ = console::print(concat!("redstart-benchmark ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
        return ExitCode::SUCCESS;
    }
    let words = call.arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let command_line = format!("{} {}", call.program, shown(words));
    let result = Options::from_matches(&matches)
        .map_err(Stop::Because)
        .and_then(|options| Session::begin(options, command_line)?.run());
    match result {
        Ok(code) => code,
        // The reader of the output has gone.
        Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Because(text)) => {
            tell(text);
            ExitCode::FAILURE
        }
    }
}

/// Formats the command line for a report: omits passwords, and quotes words that a shell would split.
fn shown(words: impl Iterator<Item = String>) -> String {
    let mut shown = Vec::new();
    let mut is_secret = false;
    for word in words {
        let has_secret = word.contains("://") && word.contains('@');
        let plain =
            !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=,".contains(c));
        let next_is_secret = word == "-a" || word == "--pass";
        shown.push(match word {
            _ if is_secret => "***".to_string(),
            word if has_secret => {
                let (start, place) = (word.find("://").unwrap_or(0), word.rfind('@').unwrap_or(0));
                format!("{}://***{}", &word[..start], &word[place..])
            }
            word if plain => word,
            word => format!("'{}'", word.replace('\'', "'\\''")),
        });
        is_secret = next_is_secret;
    }
    shown.join(" ")
}

/// Why a benchmark stops early.
#[derive(Debug)]
enum Stop {
    /// The reader of the output has gone.
    Closed,
    /// An error, with its message.
    Because(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Closed,
            _ => Stop::Because(format!("Cannot write the output: {error}")),
        }
    }
}

/// A benchmark in progress.
struct Session {
    options: Options,
    command_line: String,
    subjects: Vec<Subject>,
    /// The destination of the page.
    page: Option<PageFile>,
    /// The results of the tests that have run; with `-l`, of the last repetition.
    results: Vec<Measured>,
}

impl Session {
    /// Connects to the servers.
    fn begin(options: Options, command_line: String) -> Result<Session, Stop> {
        let page = options.html.as_deref().map(PageFile::open).transpose()?;
        let mut subjects = Vec::new();
        for target in &options.targets {
            let subject = Subject::meet(target).map_err(|error| Stop::Because(error.to_string()))?;
            if subject.configuration.is_empty() {
                tell("WARNING: Could not fetch server CONFIG");
            }
            subjects.push(subject);
        }
        Ok(Session { options, command_line, subjects, page, results: Vec::new() })
    }

    fn run(mut self) -> Result<ExitCode, Stop> {
        terminal::catch_interrupts()?;
        if self.options.idles {
            return self.idle();
        }
        if self.options.format == Format::Csv {
            say(&text::csv_head(self.subjects.len() > 1))?;
        }
        let tests = std::mem::take(&mut self.options.tests);
        let ended = loop {
            self.results.clear();
            let ended = self.all_tests(&tests)?;
            if ended.is_some() || !self.options.repeats {
                break ended;
            }
        };
        if self.options.format == Format::Json {
            say(&json::document(&self.options, &self.command_line, &self.subjects, &self.results))?;
        }
        if let Some(file) = self.page.take()
            && !self.results.is_empty()
        {
            file.write(&page::document(&self.options, &self.command_line, &self.subjects, &self.results))?;
        }
        if let Some(text) = ended {
            tell(text);
            let is_expected = self.options.repeats && terminal::is_interrupted();
            return Ok(if is_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let has_errors = self.results.iter().any(|measured| measured.errors() > 0);
        Ok(if has_errors { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn idle(&self) -> Result<ExitCode, Stop> {
        let Some(test) = self.options.tests.first() else { return Ok(ExitCode::SUCCESS) };
        let plan = self.subjects[0].plan(&self.options, test);
        let clients = self.options.clients;
        say(&format!("Creating {clients} idle connections and waiting forever (Ctrl+C when done)\n"))?;
        match run::stay_idle(plan) {
            Failure::Interrupted => Ok(ExitCode::SUCCESS),
            failure => Err(Stop::Because(failure.to_string())),
        }
    }

    /// Runs every test on every server. If they stop early, returns why.
    fn all_tests(&mut self, tests: &[Test]) -> Result<Option<String>, Stop> {
        for test in tests {
            let (measured, ended) = self.one_test(test)?;
            self.print(&measured)?;
            self.results.extend(measured);
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    /// Runs a test in rounds, each on every server in turn, so that changes on the machine affect all servers alike.
    fn one_test(&mut self, test: &Test) -> Result<(Vec<Measured>, Option<String>), Stop> {
        let of = |subject| Measured { title: test.title.clone(), subject, rounds: Vec::new() };
        let mut all: Vec<Measured> = (0..self.subjects.len()).map(of).collect();
        let mut ended = None;
        'rounds: for _ in 0..self.options.rounds {
            for (index, measured) in all.iter_mut().enumerate() {
                let outcome = match self.one_run(index, test) {
                    Ok(outcome) => outcome,
                    Err(failure) => {
                        ended = Some(self.explained(index, &failure));
                        break 'rounds;
                    }
                };
                if let Some(failure) = &outcome.failure {
                    ended = Some(self.explained(index, failure));
                }
                measured.rounds.push(outcome);
                if ended.is_some() {
                    break 'rounds;
                }
            }
        }
        // A run that failed before its first reply has no result.
        for measured in &mut all {
            measured.rounds.retain(|round| round.tally.latencies.count() > 0);
        }
        all.retain(|measured| !measured.rounds.is_empty());
        Ok((all, ended))
    }

    fn one_run(&mut self, index: usize, test: &Test) -> Result<Outcome, Failure> {
        let plan = self.subjects[index].plan(&self.options, test);
        let shows = io::stdout().is_terminal() && matches!(self.options.format, Format::Full | Format::Quiet);
        let name = (self.subjects.len() > 1).then(|| self.options.name(index));
        let title = name.map_or(test.title.clone(), |name| format!("{} on {name}", test.title));
        let mut screen = Screen { subject: &mut self.subjects[index], title, shows, has_line: false };
        let outcome = run::run(plan, &mut screen);
        screen.clear();
        outcome
    }

    fn explained(&self, index: usize, failure: &Failure) -> String {
        match self.subjects.len() {
            1 => failure.to_string(),
            _ => format!("{}: {failure}", self.options.name(index)),
        }
    }

    fn print(&self, measured: &[Measured]) -> Result<(), Stop> {
        let options = &self.options;
        let compares = self.subjects.len() > 1;
        let text: String = match options.format {
            Format::Json => String::new(),
            Format::Csv => measured
                .iter()
                .filter(|measured| measured.has_figures())
                .map(|measured| text::csv(options, measured))
                .collect(),
            Format::Full if compares => text::comparison(options, measured),
            Format::Quiet if compares => text::quiet_comparison(options, measured),
            Format::Full => {
                measured.iter().map(|measured| text::full(options, &self.subjects[0], measured)).collect()
            }
            Format::Quiet => measured.iter().map(|measured| text::quiet(options, measured)).collect(),
        };
        say(&text)
    }
}

/// The page's file. It is opened before the first test, so that an unwritable path is detected before the run.
struct PageFile {
    path: PathBuf,
    file: File,
    /// Whether to remove the file: it is new and still empty.
    is_stray: bool,
}

impl PageFile {
    fn open(path: &Path) -> Result<PageFile, Stop> {
        let mut writing = OpenOptions::new();
        writing.write(true);
        let is_there = fs::exists(path).unwrap_or(true);
        match writing.create(true).truncate(false).open(path) {
            Ok(file) => Ok(PageFile { path: path.to_path_buf(), file, is_stray: !is_there }),
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Replaces the file's content by the page.
    fn write(mut self, page: &str) -> Result<(), Stop> {
        // A pipe has no length to set.
        let is_regular = self.file.metadata().is_ok_and(|metadata| metadata.is_file());
        let emptied = if is_regular { self.file.set_len(0) } else { Ok(()) };
        match emptied.and_then(|()| self.file.write_all(page.as_bytes())) {
            Ok(()) => {
                self.is_stray = false;
                Ok(())
            }
            Err(error) => Err(unwritable(&self.path, &error)),
        }
    }
}

impl Drop for PageFile {
    fn drop(&mut self) {
        if self.is_stray {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Stop {
    Stop::Because(format!("Cannot write {}: {}", path.display(), plain(error)))
}

fn say(text: &str) -> Result<(), Stop> {
    Ok(console::print(text.as_bytes())?)
}

/// Shows a run's progress on a terminal, and errors of the server everywhere.
struct Screen<'a> {
    subject: &'a mut Subject,
    title: String,
    shows: bool,
    /// Whether the progress line is on the screen.
    has_line: bool,
}

impl Screen<'_> {
    fn clear(&mut self) {
        if std::mem::take(&mut self.has_line) {
            let _ = console::draw(b"\r\x1b[K");
        }
    }
}

impl Watcher for Screen<'_> {
    fn progress(&mut self, progress: Progress) {
        if !self.shows {
            return;
        }
        let ((rate, all), (latency, average)) = (progress.rates, progress.latencies);
        let title = &self.title;
        let line = format!(
            "\r\x1b[K{title}: rps={rate:.1} (overall: {all:.1}) avg_msec={latency:.3} (overall: {average:.3})"
        );
        // If this fails, writing the result will fail too and end the benchmark.
        self.has_line = console::draw(line.as_bytes()).is_ok();
    }

    fn errors(&mut self, count: u64, text: &[u8]) {
        self.clear();
        let text = String::from_utf8_lossy(text);
        let times = if count == 1 { String::new() } else { format!(" ({count} errors, this is the last)") };
        tell(format_args!("Error from server: {text}{times}"));
    }

    fn server_cpu(&mut self) -> Option<f64> {
        self.subject.cpu_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_passwords() {
        let shown = |words: &[&str]| shown(words.iter().map(ToString::to_string));
        assert_eq!(shown(&["b", "-a", "secret", "-t", "set,get"]), "b -a '***' -t set,get".replace('\'', ""));
        assert_eq!(shown(&["b", "-u", "redis://me:secret@host:1/2"]), "b -u redis://***@host:1/2");
        assert_eq!(shown(&["b", "set", "a key", "it's"]), "b set 'a key' 'it'\\''s'");
    }
}
