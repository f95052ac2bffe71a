//! `redstart check-aof [--fix | --truncate-to-timestamp SECONDS] FILE`: checks a log, and cuts off its invalid end.
//!
//! FILE is a manifest, whose base and incremental files are then checked in order, or one file: commands, or an RDB
//! file followed by commands. `--fix` cuts the file after the last complete command or transaction, once the user has
//! agreed; `--truncate-to-timestamp` cuts it before the first annotation of a later time. Only the last file of a
//! manifest may be cut, since the others would then not fit together.
//!
//! Reports, questions and verdicts are those of redis-check-aof, with one exception: it also reports commands that no
//! server loads, because they do not exist or have a wrong number of arguments. `--fix` does not cut there, because the
//! commands after them are intact. A file is opened for writing only if it may be cut. Memory use does not grow with
//! the file or with the lengths in it. The tool does not check whether a command would fail on its data set, or whether
//! the server has the databases that the log selects.
//!
//! Exit status: 0 if all files are valid or were cut, otherwise 1. The command that repairs the log is printed to
//! standard error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};

use super::console::{self, tell};
use super::{Call, Progress, check_rdb};
use crate::command::table;
use crate::persist::aof::{Manifest, Part};
use crate::persist::rdb::file as rdb;
use crate::sys::file;
use crate::text::number::leading_i64;
use crate::text::words;

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Room for the line before an argument, and for an annotation; longer lines are read in pieces.
const HEADER: usize = 127;
const ANNOTATION: usize = 1023;

/// The longest line of a manifest.
const MANIFEST_LINE: usize = 1024;

/// The parameters of the tool.
#[derive(Clone, Copy, Default)]
struct Mode {
    fix: bool,
    /// `--truncate-to-timestamp`; 0 means none.
    to_timestamp: i64,
}

/// Ends the tool with status 1. Its messages have been printed.
struct Quit;

impl From<io::Error> for Quit {
    /// The report cannot be written.
    fn from(_: io::Error) -> Quit {
        Quit
    }
}

/// The result of checking a file.
enum Verdict {
    Good,
    Empty,
    Cut,
    CutToTimestamp,
}

/// The command line.
pub fn command() -> Command {
    let file = Arg::new("file").value_name("file.manifest|file.aof").required(true);
    Command::new("check-aof")
        .about("Check the files of a log and cut off an invalid end")
        .arg(
            Arg::new("fix")
                .long("fix")
                .action(ArgAction::SetTrue)
                .help("Truncate the log before the first error"),
        )
        .arg(Arg::new("timestamp").long("truncate-to-timestamp").value_name("timestamp").help(
            "Cut off commands written after this Unix time (seconds), according to the timestamp annotations",
        ))
        .arg(file.help("The manifest, or a file of the log"))
}

/// Runs the tool.
pub fn main(call: &Call) -> ExitCode {
    let words: Vec<&str> = call.arguments.iter().map(|word| word.to_str().unwrap_or("")).collect();
    let mut mode = Mode::default();
    match words[..] {
        ["-h" | "--help"] => return call.help(command()),
        [_] => {}
        ["--fix", _] => mode.fix = true,
        ["--truncate-to-timestamp", text, _] => match leading_i64(text.as_bytes()) {
            (i64::MIN | i64::MAX, _) | (_, [_, ..]) => {
                let _ = console::print(b"Invalid timestamp, aborting...\n");
                return ExitCode::FAILURE;
            }
            (seconds, []) => mode.to_timestamp = seconds,
        },
        _ => {
            let usage = "[--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>";
            let _ = console::print(format!("Usage: {} {usage}\n", call.program).as_bytes());
            return ExitCode::FAILURE;
        }
    }
    let path = call.arguments.last().map(PathBuf::from).unwrap_or_default();
    let check = Check {
        out: console::output(),
        answers: io::stdin().lock(),
        mode,
        line: 1,
        fixable: false,
        has_refused: false,
    };
    let (outcome, fixable) = check.run(&path);
    if fixable {
        let path = words::shell(path.as_os_str().as_encoded_bytes());
        tell(format_args!("To cut it there (make a copy first): {} --fix {path}", call.program));
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Quit) => ExitCode::FAILURE,
    }
}

/// A check of all files of a log.
struct Check<W, I> {
    out: W,
    answers: I,
    mode: Mode,
    /// Lines read so far, of all files.
    line: u64,
    /// Whether `--fix` can repair the log.
    fixable: bool,
    /// Whether a file contains a command that no server loads.
    has_refused: bool,
}

/// A file to check.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'a str,
    path: &'a Path,
    /// Whether it is the last file.
    is_last: bool,
    is_rdb: bool,
}

impl<W: Write, I: Read> Check<W, I> {
    /// Checks a manifest or a file. Also returns whether `--fix` can repair it.
    fn run(mut self, path: &Path) -> (Result<(), Quit>, bool) {
        let outcome = self.check(path).and(if self.has_refused { Err(Quit) } else { Ok(()) });
        (outcome, self.fixable)
    }

    fn check(&mut self, path: &Path) -> Result<(), Quit> {
        if self.is_manifest(path)? {
            return self.parts(path);
        }
        let is_rdb = self.is_rdb(path)?;
        writeln!(self.out, "Start checking Old-Style AOF")?;
        let name = path.display().to_string();
        self.target(Target { name: &name, path, is_last: true, is_rdb }, "AOF")
    }

    /// Prints a final message and ends the tool.
    fn quit<T>(&mut self, text: &str) -> Result<T, Quit> {
        let _ = writeln!(self.out, "{text}");
        Err(Quit)
    }

    fn open(&mut self, path: &Path) -> Result<(File, u64), Quit> {
        match file::open_regular(path) {
            Ok(opened) => Ok(opened),
            Err(error) => {
                self.quit(&format!("Cannot open file {}: {}", path.display(), file::reason(&error)))
            }
        }
    }

    /// Whether the file's first line that is not a comment begins like a manifest's.
    fn is_manifest(&mut self, path: &Path) -> Result<bool, Quit> {
        let mut lines = Lines::new(BufReader::new(self.open(path)?.0), 0);
        loop {
            match lines.line(MANIFEST_LINE) {
                Ok(Some([b'#', ..])) => {}
                Ok(line) => return Ok(line.is_some_and(|line| line.starts_with(b"file"))),
                Err(_) => return self.quit(&format!("Cannot read file: {}", path.display())),
            }
        }
    }

    /// Whether the file begins like an RDB file and is long enough to be one.
    fn is_rdb(&mut self, path: &Path) -> Result<bool, Quit> {
        let (mut file, len) = self.open(path)?;
        let mut start = [0; 8];
        Ok(len >= 8 && file.read_exact(&mut start).is_ok() && rdb::is_signature(&start))
    }

    /// Checks the files of a manifest.
    fn parts(&mut self, path: &Path) -> Result<(), Quit> {
        writeln!(self.out, "Start checking Multi Part AOF")?;
        let mut bytes = Vec::new();
        if let Err(error) = self.open(path)?.0.read_to_end(&mut bytes) {
            return self.quit(&format!("Cannot read file: {}: {}", path.display(), file::reason(&error)));
        }
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => return self.quit(error.log_lines().concat().trim_end_matches('\n')),
        };
        let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        if let Some(base) = &manifest.base {
            let is_rdb = self.is_rdb(&base.path(directory))?;
            let format = if is_rdb { "RDB" } else { "RESP" };
            writeln!(self.out, "Start to check BASE AOF ({format} format).")?;
            self.part(directory, base, manifest.incremental.is_empty(), is_rdb, "BASE AOF")?;
        }
        if let Some((last, others)) = manifest.incremental.split_last() {
            writeln!(self.out, "Start to check INCR files.")?;
            for part in others {
                self.part(directory, part, false, false, "INCR AOF")?;
            }
            self.part(directory, last, true, false, "INCR AOF")?;
        }
        if !self.has_refused {
            writeln!(self.out, "All AOF files and manifest are valid")?;
        }
        Ok(())
    }

    fn part(
        &mut self,
        directory: &Path,
        part: &Part,
        is_last: bool,
        is_rdb: bool,
        kind: &str,
    ) -> Result<(), Quit> {
        let target = Target { name: &part.shown(), path: &part.path(directory), is_last, is_rdb };
        self.target(target, kind)
    }

    fn target(&mut self, target: Target<'_>, kind: &str) -> Result<(), Quit> {
        let (name, timestamp) = (target.name, self.mode.to_timestamp);
        let (verdict, refused) = self.file(target)?;
        match verdict {
            Verdict::Good if refused.is_some() => {}
            Verdict::Good => writeln!(self.out, "{kind} {name} is valid")?,
            Verdict::Empty => writeln!(self.out, "{kind} {name} is empty")?,
            Verdict::Cut => writeln!(self.out, "Successfully truncated AOF {name}")?,
            Verdict::CutToTimestamp => {
                writeln!(self.out, "Successfully truncated AOF {name} to timestamp {timestamp}")?;
            }
        }
        if let Some(refused) = refused {
            self.has_refused = true;
            writeln!(self.out, "{kind} {name} is not valid: {}", refused.describe(target.path))?;
        }
        Ok(())
    }

    /// Checks one file and cuts it if requested. Also returns its commands that no server loads.
    fn file(&mut self, target: Target<'_>) -> Result<(Verdict, Option<Refused>), Quit> {
        let may_cut = self.mode.fix || self.mode.to_timestamp != 0;
        let opened = file::open_only_regular(OpenOptions::new().read(true).write(may_cut), target.path);
        let opened = opened.and_then(|(file, len)| Ok((len, file.try_clone()?, file)));
        let (size, handle, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let (path, reason) = (target.path.display(), file::reason(&error));
                return self.quit(&format!("Cannot open file {path}: {reason}, aborting..."));
            }
        };
        if size == 0 {
            return Ok((Verdict::Empty, None));
        }
        let (mut read, mut offset) = (Vec::new(), 0);
        let mut file = file;
        if target.is_rdb {
            let Some(rest) = check_rdb::check(target.path, file, size, &mut self.out)? else {
                return self.quit("RDB preamble of AOF file is not sane, aborting.");
            };
            (read, file, offset) = (rest.read, rest.from, rest.offset);
            writeln!(self.out, "RDB preamble is OK, proceeding with AOF tail...")?;
        }
        let input = BufReader::with_capacity(BUFFER, io::Cursor::new(read).chain(file));
        let mut progress = Progress::new(size);
        let mut commands = Commands {
            lines: Lines::new(input, offset),
            target,
            to_timestamp: self.mode.to_timestamp,
            line: &mut self.line,
            multi: 0,
            error: Vec::new(),
            error_at: 0,
            refused: None,
        };
        let (good, end) = commands.run(&mut progress);
        let error = std::mem::take(&mut commands.error);
        let refused = commands.refused.take();
        progress.clear();
        match end {
            End::Broken | End::File => {}
            End::Format => writeln!(self.out, "AOF {} format error", target.name)?,
            End::Later(at) => {
                return self.cut_to_timestamp(target, &handle, at).map(|verdict| (verdict, refused));
            }
            End::Quit(text) => return self.quit(&text),
        }
        if !error.is_empty() {
            self.out.write_all(&[&error[..], b"\n"].concat())?;
        }
        self.conclude(target, &handle, size, good).map(|verdict| (verdict, refused))
    }

    /// Cuts the file before an annotation with a later time.
    fn cut_to_timestamp(&mut self, target: Target<'_>, file: &File, at: u64) -> Result<Verdict, Quit> {
        let (path, timestamp) = (target.path.display(), self.mode.to_timestamp);
        if at == 0 {
            return self.quit(&format!("AOF {path} has nothing before timestamp {timestamp}, aborting..."));
        }
        if !target.is_last {
            return self.quit(&format!(
                "Failed to truncate AOF {path} to timestamp {timestamp} to offset {at} because it is not the last \
                 file.\nIf you insist, please delete all files after this file according to the manifest file and \
                 delete the corresponding records in manifest file manually. Then re-run redis-check-aof."
            ));
        }
        match file.set_len(at).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(Verdict::CutToTimestamp),
            Err(_) => self.quit(&format!("Failed to truncate AOF {path} to timestamp {timestamp}")),
        }
    }

    /// Reports on a file of `size` bytes, of which the first `good` are valid, and cuts it if requested.
    fn conclude(&mut self, target: Target<'_>, file: &File, size: u64, good: u64) -> Result<Verdict, Quit> {
        let (name, bad) = (target.name, size.saturating_sub(good));
        if bad == 0 && self.mode.to_timestamp != 0 {
            writeln!(self.out, "Truncate nothing in AOF {name} to timestamp {}", self.mode.to_timestamp)?;
            return Ok(Verdict::Good);
        }
        writeln!(
            self.out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={good}, ok_up_to_line={}, diff={bad}",
            self.line
        )?;
        if bad == 0 {
            return Ok(Verdict::Good);
        }
        if !self.mode.fix {
            self.fixable = target.is_last;
            return self.quit(&format!("AOF {name} is not valid. Use the --fix option to try fixing it."));
        }
        if !target.is_last {
            return self.quit(&format!("Failed to truncate AOF {name} because it is not the last file"));
        }
        writeln!(
            self.out,
            "This will shrink the AOF {name} from {size} bytes, with {bad} bytes, to {good} bytes"
        )?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = [0];
        if self.answers.read_exact(&mut answer).is_err() || !answer.eq_ignore_ascii_case(b"y") {
            return self.quit("Aborting...");
        }
        match file.set_len(good).and_then(|()| file.sync_all()) {
            Ok(()) => Ok(Verdict::Cut),
            Err(_) => self.quit(&format!("Failed to truncate AOF {name}")),
        }
    }
}

/// A file read by lines and bytes, with the current offset.
struct Lines<R> {
    input: R,
    offset: u64,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R, offset: u64) -> Self {
        Lines { input, offset, line: Vec::new() }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    /// Returns the next line with its line feed, or its first `longest` bytes; `None` at the end.
    fn line(&mut self, longest: usize) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let count = self.input.by_ref().take(longest as u64).read_until(b'\n', &mut self.line)?;
        self.offset += count as u64;
        Ok(if count == 0 { None } else { Some(&self.line) })
    }

    /// Skips `count` bytes, copying the first of them to `first` and the last two to `last`. Returns how many there
    /// were.
    fn pass(&mut self, count: u64, first: &mut Vec<u8>, last: &mut [u8; 2]) -> io::Result<u64> {
        let mut passed = 0;
        while passed < count {
            let here = self.input.fill_buf()?;
            let here = &here[..usize::try_from(count - passed).unwrap_or(usize::MAX).min(here.len())];
            let Some(&end) = here.last() else { break };
            let before = if here.len() > 1 { here[here.len() - 2] } else { last[1] };
            *last = [before, end];
            first.extend_from_slice(&here[..here.len().min(FIRST - first.len())]);
            let len = here.len();
            self.input.consume(len);
            passed += len as u64;
        }
        self.offset += passed;
        Ok(passed)
    }
}

/// The number of bytes of a command's name that are kept: more than the longest name has.
const FIRST: usize = 40;

/// Commands that no server loads.
struct Refused {
    count: u64,
    /// The first one's defect, name and offset.
    why: &'static str,
    name: Vec<u8>,
    offset: u64,
}

impl Refused {
    fn describe(&self, path: &Path) -> String {
        let Refused { count, why, name, offset } = self;
        format!(
            "{count} command{} that no server loads, the first at offset {offset}: {why} '{}'. --fix does not cut there. \
             Correct the command, or make a copy and cut off this command and all after it: truncate -s {offset} {}",
            if *count == 1 { "" } else { "s" },
            name.escape_ascii(),
            words::shell(path.as_os_str().as_encoded_bytes())
        )
    }
}

/// How the commands of a file end.
enum End {
    /// At the end of the file.
    File,
    /// At an incomplete or invalid command.
    Broken,
    /// At a line that is neither a command nor an annotation.
    Format,
    /// At an annotation at this offset with a time that is too late.
    Later(u64),
    /// With an error message that ends the tool.
    Quit(String),
}

/// The commands of one file.
struct Commands<'a, R> {
    lines: Lines<R>,
    target: Target<'a>,
    to_timestamp: i64,
    line: &'a mut u64,
    /// The nesting of transactions, which is 0 or 1 in a valid file.
    multi: i64,
    /// The error message.
    error: Vec<u8>,
    /// The offset of the last element read.
    error_at: u64,
    refused: Option<Refused>,
}

impl<R: BufRead> Commands<'_, R> {
    /// Reads all commands. Returns the offset up to which the file is valid, and how it ended.
    fn run(&mut self, progress: &mut Progress) -> (u64, End) {
        let mut good = self.lines.offset;
        loop {
            progress.reach(self.lines.offset);
            if self.multi == 0 {
                good = self.lines.offset;
            }
            let end = match self.lines.peek() {
                Ok(None) => Some(self.end_of_file()),
                Ok(Some(b'#')) => self.annotation().unwrap_or_else(|_| Some(self.unreadable())),
                Ok(Some(b'*')) => match self.command() {
                    Ok(is_whole) => (!is_whole).then_some(End::Broken),
                    Err(_) => Some(self.unreadable()),
                },
                Ok(Some(_)) => Some(End::Format),
                Err(_) => Some(self.unreadable()),
            };
            if let Some(end) = end {
                return (good, end);
            }
        }
    }

    fn unreadable(&self) -> End {
        End::Quit(format!("Failed to read from AOF {}, aborting...", self.target.name))
    }

    fn fail(&mut self, text: &str) -> bool {
        self.error = format!("0x{:16x}: {text}", self.error_at).into_bytes();
        false
    }

    fn end_of_file(&mut self) -> End {
        if self.multi != 0 {
            self.fail("Reached EOF before reading EXEC for MULTI");
        }
        End::File
    }

    /// Reads an annotation. Returns an end if the file ends there.
    fn annotation(&mut self) -> io::Result<Option<End>> {
        self.error_at = self.lines.offset;
        let Some(line) = self.lines.line(ANNOTATION)? else { return Ok(None) };
        let Some(time) = line.strip_prefix(b"#TS:").filter(|_| self.to_timestamp != 0) else {
            return Ok(None);
        };
        Ok(match leading_i64(time) {
            (i64::MIN | i64::MAX, _) => Some(End::Quit("Invalid timestamp annotation".into())),
            (time, [b'\r', ..]) => (time > self.to_timestamp).then_some(End::Later(self.error_at)),
            _ => Some(End::Quit("Invalid timestamp annotation".into())),
        })
    }

    /// Reads a command and returns whether it is valid.
    fn command(&mut self) -> io::Result<bool> {
        let offset = self.lines.offset;
        let Some(count) = self.header(b'*')? else { return Ok(false) };
        let mut begin = Vec::new();
        let mut frames = false;
        for index in 0..count {
            let Some(mut first) = self.argument()? else { return Ok(false) };
            if begin.len() < 2 {
                begin.push(first.clone());
            }
            if index > 0 {
                continue;
            }
            first.truncate(memchr::memchr(0, &first).unwrap_or(FIRST));
            let path = self.target.path.display();
            frames = begin[0].eq_ignore_ascii_case(b"multi") || begin[0].eq_ignore_ascii_case(b"exec");
            if first.eq_ignore_ascii_case(b"multi") {
                self.multi += 1;
                if self.multi != 1 {
                    return Ok(self.fail(&format!("Unexpected MULTI in AOF {path}")));
                }
            } else if first.eq_ignore_ascii_case(b"exec") {
                self.multi -= 1;
                if self.multi != 0 {
                    return Ok(self.fail(&format!("Unexpected EXEC in AOF {path}")));
                }
            }
        }
        // A server accepts MULTI and EXEC with any arguments.
        if !frames && let Some(why) = Self::refusal(&begin, count) {
            let name = begin.into_iter().next().unwrap_or_default();
            self.refused.get_or_insert(Refused { count: 0, why, name, offset }).count += 1;
        }
        Ok(true)
    }

    /// Returns why no server loads a command of `count` words that begins with `begin`.
    fn refusal(begin: &[Vec<u8>], count: i64) -> Option<&'static str> {
        if begin.is_empty() {
            return Some("Command without a name");
        }
        table::loadable(table::find(begin), usize::try_from(count).unwrap_or(0)).err()
    }

    /// Reads a line that consists of `prefix` and a number.
    fn header(&mut self, prefix: u8) -> io::Result<Option<i64>> {
        self.error_at = self.lines.offset;
        let Some(line) = self.lines.line(HEADER)? else {
            self.end_of_file();
            return Ok(None);
        };
        if line[0] != prefix {
            let found = line[0];
            self.fail(&format!("Expected prefix '{}', got: '", char::from(prefix)));
            self.error.extend_from_slice(&[found, b'\'']);
            return Ok(None);
        }
        let (number, end) = leading_i64(&line[1..]);
        let end = [end.first().copied().unwrap_or(0), end.get(1).copied().unwrap_or(0)];
        Ok(self.line_end(end).then_some(number))
    }

    /// Reads an argument and returns its first bytes.
    fn argument(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(len) = self.header(b'$')? else { return Ok(None) };
        let wanted = match u64::try_from(len) {
            Ok(len) if len <= i64::MAX as u64 - 2 => len + 2,
            _ => {
                self.fail(&format!(
                    "Expected to read string of {len} bytes, which is not in the suitable range"
                ));
                return Ok(None);
            }
        };
        self.error_at = self.lines.offset;
        let (mut first, mut last) = (Vec::new(), [0; 2]);
        let passed = self.lines.pass(wanted, &mut first, &mut last)?;
        if passed != wanted {
            self.fail(&format!("Expected to read {wanted} bytes, got {passed} bytes"));
            return Ok(None);
        }
        first.truncate((wanted - 2).min(FIRST as u64) as usize);
        Ok(self.line_end(last).then_some(first))
    }

    fn line_end(&mut self, bytes: [u8; 2]) -> bool {
        if bytes != *b"\r\n" {
            // As C prints signed characters.
            let [first, second] = bytes.map(|byte| i32::from(byte as i8));
            return self.fail(&format!("Expected \\r\\n, got: {first:02x}{second:02x}"));
        }
        *self.line += 1;
        true
    }
}
