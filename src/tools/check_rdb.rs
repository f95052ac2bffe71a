//! `redstart check-rdb FILE`: reads an RDB file and reports its contents, or the first error in it and its position.
//!
//! The report has the form of redis-check-rdb's. Each value is decoded and verified as when loading, and then dropped,
//! so memory use is that of the largest value. Values of modules are skipped.
//!
//! Exit status: 0 for a valid file, 1 for an invalid or unreadable one.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, Command};

use super::console::{self, tell};
use super::{Call, Progress};
use crate::dict::Seed;
use crate::persist::rdb::file::{Checksum, Fault, KeyHead, RdbError, Record, Records, Source, type_name};
use crate::persist::rdb::types;
use crate::sys::{clock, file, process};
use crate::types::Shapes;

/// The command line.
pub fn command() -> Command {
    Command::new("check-rdb")
        .about("Check an RDB file and report its contents")
        .arg(Arg::new("file").value_name("rdb-file-name").required(true).help("The file"))
}

/// Runs the tool.
pub fn main(call: &Call) -> ExitCode {
    let [file] = &call.arguments[..] else { return usage(call) };
    match file.to_str() {
        Some("-h" | "--help") => return call.help(command()),
        Some("-v" | "--version") => {
            let version = concat!("redis-check-rdb redstart=", env!("CARGO_PKG_VERSION"), "\n");
            let _ = console::print(version.as_bytes());
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let path = Path::new(file);
    let mut out = console::output();
    let checked = match file::open_regular(path) {
        Ok((file, len)) => check(path, file, len, &mut out),
        Err(error) => {
            tell(format_args!("Cannot open file {}: {}", path.display(), file::reason(&error)));
            return ExitCode::FAILURE;
        }
    };
    match checked {
        Ok(Some(_)) => ExitCode::SUCCESS,
        // Also if the reader of the report has gone.
        Ok(None) | Err(_) => ExitCode::FAILURE,
    }
}

fn usage(call: &Call) -> ExitCode {
    tell(format_args!("Usage: {} <rdb-file-name>", call.program));
    ExitCode::FAILURE
}

/// The bytes after an RDB file that is only the beginning of a file.
pub struct Rest<R> {
    /// The part of them that has already been read.
    pub read: Vec<u8>,
    /// The reader of the remaining bytes.
    pub from: R,
    /// The length of the RDB file.
    pub offset: u64,
}

/// Checks the RDB file in `from`, which has about `len` bytes and is called `path`, and writes the report to `out`.
/// Returns the bytes after it, or `None` if it is invalid. Fails only if the report cannot be written.
pub fn check<R: Read>(path: &Path, from: R, len: u64, out: &mut impl Write) -> io::Result<Option<Rest<R>>> {
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    let mut counts = Counts::default();
    let mut progress = Progress::new(len);
    let checked = match Records::open(Source::new(from, len), true) {
        Ok(records) => Check { records, counts: &mut counts, progress: &mut progress, out }.run(),
        Err(error) => Err(Stop::Bad(error)),
    };
    progress.clear();
    match checked {
        Ok(records) => {
            let offset = records.offset();
            writeln!(out, "[offset {offset}] \\o/ RDB looks OK! \\o/")?;
            counts.print(out)?;
            let (read, from) = records.into_rest();
            Ok(Some(Rest { read, from, offset }))
        }
        Err(Stop::Bad(error)) => {
            if matches!(error.fault, Fault::Signature) {
                tell(format_args!(
                    "{} is not an RDB file: it does not begin with REDIS and a version",
                    path.display()
                ));
            }
            print_error(&error, out)?;
            counts.print(out)?;
            Ok(None)
        }
        Err(Stop::Mute(error)) => Err(error),
    }
}

#[derive(Default)]
struct Counts {
    keys: u64,
    expires: u64,
    expired: u64,
}

impl Counts {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "[info] {} keys read", self.keys)?;
        writeln!(out, "[info] {} expires", self.expires)?;
        writeln!(out, "[info] {} already expired", self.expired)
    }
}

fn print_error(error: &RdbError, out: &mut impl Write) -> io::Result<()> {
    let what = match &error.fault {
        Fault::Checksum(..) => "RDB CRC error".to_string(),
        fault => fault.to_string(),
    };
    writeln!(out, "--- RDB ERROR DETECTED ---")?;
    writeln!(out, "[offset {}] {what}", error.offset)?;
    writeln!(out, "[additional info] While doing: {}", error.doing)?;
    if let Some(key) = &error.key {
        writeln!(out, "[additional info] Reading key '{}'", key.escape_ascii())?;
    }
    if let Some(byte) = error.type_byte {
        writeln!(out, "[additional info] Reading type {byte} ({})", type_name(byte))?;
    }
    Ok(())
}

/// Why a check stops early.
enum Stop {
    /// The file is invalid.
    Bad(RdbError),
    /// The report cannot be written.
    Mute(io::Error),
}

impl From<RdbError> for Stop {
    fn from(error: RdbError) -> Self {
        Stop::Bad(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Mute(error)
    }
}

struct Check<'a, R, W> {
    records: Records<R>,
    counts: &'a mut Counts,
    progress: &'a mut Progress,
    out: &'a mut W,
}

impl<R: Read, W: Write> Check<'_, R, W> {
    fn run(mut self) -> Result<Records<R>, Stop> {
        let mut random = [[0; 8]; 2];
        process::random_bytes(random.as_flattened_mut());
        let shapes = Shapes::new(Seed::new(random.map(u64::from_le_bytes)));
        let now_ms = (clock::wall_us() / 1000) as i64;
        loop {
            let record = self.records.next_record()?;
            match record {
                Record::Key(head) => self.key(&head, &shapes, now_ms)?,
                Record::Aux(name, value) => {
                    let (name, value) = (name.escape_ascii(), value.escape_ascii());
                    self.say(&format!("AUX FIELD {name} = '{value}'"))?;
                }
                Record::Select(db) => self.say(&format!("Selecting DB ID {db}"))?,
                Record::ModuleAux(id) => self.say(&format!("MODULE AUX for: {}", module_name(id)))?,
                Record::Resize(..) | Record::Function(_) | Record::SlotInfo => {}
                Record::End(checksum) => {
                    match checksum {
                        Checksum::Right => self.say("Checksum OK")?,
                        Checksum::Off | Checksum::Ignored => {
                            self.say("RDB file was saved with checksum disabled: no check performed.")?;
                        }
                        Checksum::None => {}
                    }
                    return Ok(self.records);
                }
            }
        }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.progress.clear();
        writeln!(self.out, "[offset {}] {text}", self.records.offset())
    }

    fn key(&mut self, head: &KeyHead, shapes: &Shapes, now_ms: i64) -> Result<(), RdbError> {
        self.counts.keys += 1;
        if head.type_byte == types::MODULE {
            self.records.skip_module_value()?;
        } else {
            match self.records.value(head, shapes) {
                Err(error) if !error.is_empty() => return Err(error),
                _ => {}
            }
        }
        if let Some(time) = head.expire_at {
            self.counts.expires += 1;
            self.counts.expired += u64::from(time < now_ms);
        }
        self.progress.reach(self.records.offset());
        Ok(())
    }
}

/// Decodes the module name in a module's ID: nine characters of six bits, above a version of ten bits.
fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|at| char::from(CHARACTERS[(id >> (10 + 6 * at) & 63) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(file: &[u8]) -> (bool, String) {
        let mut out = Vec::new();
        let rest = check(Path::new("dump.rdb"), file, file.len() as u64, &mut out).expect("a vector");
        (rest.is_some(), String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_good_file_is_reported_with_its_counts() {
        let body = b"\xfa\x09redis-ver\x057.2.6\xfe\x05\xfb\x02\x01\xfc\x01\0\0\0\0\0\0\0\0\x01a\x01b\0\x01c\x01d\xff";
        let (good, text) = report(&[b"REDIS0011", &body[..], &[0; 8]].concat());
        assert_eq!(
            text,
            "[offset 0] Checking RDB file dump.rdb\n\
             [offset 26] AUX FIELD redis-ver = '7.2.6'\n\
             [offset 28] Selecting DB ID 5\n\
             [offset 59] RDB file was saved with checksum disabled: no check performed.\n\
             [offset 59] \\o/ RDB looks OK! \\o/\n\
             [info] 2 keys read\n[info] 1 expires\n[info] 1 already expired\n"
        );
        assert!(good);
    }

    #[test]
    fn what_is_wrong_is_reported_with_the_place() {
        let (good, text) = report(b"REDIS0011\x10\x01a\x04abcd");
        assert_eq!(
            text,
            "[offset 0] Checking RDB file dump.rdb\n\
             --- RDB ERROR DETECTED ---\n\
             [offset 17] Internal error in RDB reading: a bad listpack\n\
             [additional info] While doing: read-object-value\n\
             [additional info] Reading key 'a'\n\
             [additional info] Reading type 16 (hash-listpack)\n\
             [info] 1 keys read\n[info] 0 expires\n[info] 0 already expired\n"
        );
        assert!(!good);
    }

    #[test]
    fn a_file_may_be_the_beginning_of_another() {
        let file = [b"REDIS0011\xff", &[0; 8][..], b"*1\r\n"].concat();
        let rest = check(Path::new("x.aof"), &file[..], file.len() as u64, &mut io::sink());
        let rest = rest.expect("a sink").expect("a good file");
        assert_eq!((&rest.read[..], rest.from, rest.offset), (&b"*1\r\n"[..], &b""[..], 18));
    }

    #[test]
    fn data_of_modules_is_skipped() {
        // An ID that means "AAAAAAAAB", version 1.
        let id = [b"\x81".as_slice(), &(1u64 << 10 | 1).to_be_bytes()].concat();
        let data = b"\x01\x05\x02\x06\x03abcd\x04abcdefgh\x05\x03xyz\0";
        let body = [b"\xf7", &id[..], b"\x02\x02", data, b"\x07\x01k", &id, data, b"\xff", &[0; 8]].concat();
        let (good, text) = report(&[b"REDIS0011", &body[..]].concat());
        assert!(good, "{text}");
        assert!(
            text.contains("MODULE AUX for: AAAAAAAAB\n") && text.contains("[info] 1 keys read\n"),
            "{text}"
        );
    }
}
