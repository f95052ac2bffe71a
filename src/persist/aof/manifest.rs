//! The manifest: the files that make up the log, and their order.
//!
//! ```text
//!  file appendonly.aof.2.base.rdb seq 2 type b        the base, at most one
//!  file appendonly.aof.1.incr.aof seq 1 type h        history: no longer needed, to be deleted
//!  file appendonly.aof.2.incr.aof seq 2 type i        incremental files, read in this order after the base
//!  file appendonly.aof.3.incr.aof seq 3 type i
//! ```
//!
//! A line has at most 1024 bytes with its line feed and consists of pairs in any order. Unknown keys are ignored, since
//! a later version may have more of them; lines that begin with `#` are comments. Names are quoted where needed. Errors
//! and their texts are those of Redis; in addition, sequence numbers that leave no room for later ones are refused.
//!
//! A manifest is a value: an operation returns a new manifest, which the caller writes to disk
//! ([`Directory::persist`](super::Directory::persist)) before using it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::text::number::{leading_i64, push_i64};
use crate::text::words;

/// The longest line, with its line feed.
const MAX_LINE: usize = 1024;

/// The largest sequence number: far more than a log ever reaches, far less than overflows.
const MAX_SEQ: i64 = i64::MAX / 2;

const BASE: u8 = b'b';
const HISTORY: u8 = b'h';
const INCREMENTAL: u8 = b'i';

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The file's name in the directory. Never a path.
    pub name: Vec<u8>,
    /// The file's sequence number among the files of its kind.
    pub seq: i64,
}

impl Part {
    /// The file's path in the log's `directory`.
    pub fn path(&self, directory: &Path) -> PathBuf {
        join(directory, &self.name)
    }

    /// The name in printable form.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }
}

/// See the module's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The file that is read first.
    pub base: Option<Part>,
    /// The files to delete.
    pub history: Vec<Part>,
    /// The files that are read after the base, in this order.
    pub incremental: Vec<Part>,
    /// The sequence number of the latest base.
    base_seq: i64,
    /// The sequence number of the latest incremental file.
    incremental_seq: i64,
}

/// Why a manifest is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The number of the line, from 1, and its text. `None` if the line is too long, or the file is empty.
    pub line: Option<(usize, Vec<u8>)>,
    /// The error, in Redis' words.
    pub what: &'static str,
}

impl ManifestError {
    /// The error as Redis logs it, entry by entry.
    pub fn log_lines(&self) -> Vec<String> {
        let mut lines = vec!["\n*** FATAL AOF MANIFEST FILE ERROR ***\n".to_string()];
        if let Some((number, text)) = &self.line {
            lines.push(format!("Reading the manifest file, at line {number}\n"));
            lines.push(format!(">>> '{}'\n", String::from_utf8_lossy(text)));
        }
        lines.push(format!("{}\n", self.what));
        lines
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, text)) => {
                write!(f, "{} (line {number}: '{}')", self.what, String::from_utf8_lossy(text))
            }
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for ManifestError {}

const BAD_FORMAT: &str = "Invalid AOF manifest file format";

/// The name of the manifest of the log `file` (`appendfilename`).
pub(super) fn file_name(file: &[u8]) -> Vec<u8> {
    [file, b".manifest"].concat()
}

/// The name under which a manifest is written before it replaces the old one.
pub(super) fn temporary_file_name(file: &[u8]) -> Vec<u8> {
    [b"temp-", file, b".manifest"].concat()
}

pub(super) fn join(directory: &Path, name: &[u8]) -> PathBuf {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    directory.join(OsStr::from_bytes(name))
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.is_empty() {
            return Err(ManifestError { line: None, what: "Found an empty AOF manifest" });
        }
        let mut manifest = Manifest::default();
        let (mut rest, mut number) = (bytes, 0);
        while !rest.is_empty() {
            // Like Redis: the rest of a line that is too long counts as a separate line, which matters only in a
            // comment.
            let longest = &rest[..rest.len().min(MAX_LINE)];
            let end = memchr::memchr(b'\n', longest).map_or(longest.len(), |at| at + 1);
            let (line, after) = rest.split_at(end);
            (rest, number) = (after, number + 1);
            if line[0] == b'#' {
                continue;
            }
            if line.last() != Some(&b'\n') || line.contains(&0) {
                return Err(ManifestError {
                    line: None,
                    what: "The AOF manifest file contains too long line",
                });
            }
            let line = trimmed(line);
            manifest
                .add_line(line)
                .map_err(|what| ManifestError { line: Some((number, line.to_vec())), what })?;
        }
        // A new part must not get the name of a history file, which is about to be deleted.
        let is_old_incremental = |part: &&Part| part.name.ends_with(b".incr.aof");
        let old = manifest.history.iter().filter(is_old_incremental).map(|part| part.seq).max();
        manifest.incremental_seq = manifest.incremental_seq.max(old.unwrap_or(0));
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (kind, part) = parse_line(line)?;
        match kind {
            BASE if self.base.is_some() => return Err("Found duplicate base file information"),
            BASE => {
                self.base_seq = part.seq;
                self.base = Some(part);
            }
            HISTORY => self.history.push(part),
            INCREMENTAL if part.seq <= self.incremental_seq => {
                return Err("Found a non-monotonic sequence number");
            }
            INCREMENTAL => {
                self.incremental_seq = part.seq;
                self.incremental.push(part);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// Encodes the manifest as a file: the base, history, incremental files, byte for byte as Redis writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.base.iter().for_each(|part| push_line(&mut out, part, BASE));
        self.history.iter().for_each(|part| push_line(&mut out, part, HISTORY));
        self.incremental.iter().for_each(|part| push_line(&mut out, part, INCREMENTAL));
        out
    }

    /// Whether there is no file to read.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incremental.is_empty()
    }

    /// The files to read, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incremental)
    }

    /// Whether `part` is the base or an incremental file.
    pub fn names(&self, part: &Part) -> bool {
        self.parts().any(|known| known.name == part.name)
    }

    /// The last incremental file, to which the log is appended.
    pub fn last_incremental(&self) -> Option<&Part> {
        self.incremental.last()
    }

    /// Returns the manifest with a new incremental file of the log `file` at the end.
    #[must_use]
    pub fn with_new_incremental(&self, file: &[u8]) -> Manifest {
        let mut new = self.clone();
        new.incremental_seq = next_seq(new.incremental_seq);
        new.incremental.push(Part::new(file, new.incremental_seq, b".incr.aof"));
        new
    }

    /// Returns the manifest with a new base of the log `file`, an RDB file or commands (`aof-use-rdb-preamble`). The
    /// old base and the incremental files become history, except the last incremental one if `keeps_last`: it is being
    /// written, and its commands come after the new base.
    #[must_use]
    pub fn with_new_base(&self, file: &[u8], is_rdb: bool, keeps_last: bool) -> Manifest {
        let mut new = self.clone();
        new.base_seq = next_seq(new.base_seq);
        let suffix: &[u8] = if is_rdb { b".base.rdb" } else { b".base.aof" };
        let old_base = new.base.replace(Part::new(file, new.base_seq, suffix));
        let kept = new.incremental.len().min(usize::from(keeps_last));
        let replaced = new.incremental.len() - kept;
        new.history = new.incremental.drain(..replaced).chain(old_base).chain(new.history).collect();
        new
    }

    /// Returns the manifest with the next base's number skipped.
    #[must_use]
    pub(super) fn without_next_base(&self) -> Manifest {
        Manifest { base_seq: next_seq(self.base_seq), ..self.clone() }
    }

    /// Returns the manifest with the next incremental file's number skipped.
    #[must_use]
    pub(super) fn without_next_incremental(&self) -> Manifest {
        Manifest { incremental_seq: next_seq(self.incremental_seq), ..self.clone() }
    }

    /// Returns the manifest without history, whose files are to be deleted.
    #[must_use]
    pub fn without_history(&self) -> Manifest {
        Manifest { history: Vec::new(), ..self.clone() }
    }

    /// Returns the manifest of a single-file log from a version before 7: that file is the base.
    pub fn of_single_file(file: &[u8]) -> Manifest {
        let base = Some(Part { name: file.to_vec(), seq: 1 });
        Manifest { base, base_seq: 1, ..Manifest::default() }
    }
}

impl Part {
    fn new(file: &[u8], seq: i64, suffix: &[u8]) -> Part {
        let mut name = [file, b"."].concat();
        push_i64(&mut name, seq);
        name.extend_from_slice(suffix);
        Part { name, seq }
    }
}

/// A manifest may contain negative numbers, but not 0.
fn next_seq(seq: i64) -> i64 {
    seq.max(0) + 1
}

fn parse_line(line: &[u8]) -> Result<(u8, Part), &'static str> {
    let words = words::split(line).map_err(|_| BAD_FORMAT)?;
    let (pairs, odd) = words.as_chunks::<2>();
    if pairs.len() < 3 || !odd.is_empty() {
        return Err(BAD_FORMAT);
    }
    let (mut name, mut seq, mut kind) = (None, 0, 0);
    for [key, value] in pairs {
        let (key, value) = (words::shown(key), words::shown(value));
        if key.eq_ignore_ascii_case(b"file") {
            if value.contains(&b'/') || value.contains(&b'\\') {
                return Err("File can't be a path, just a filename");
            }
            name = Some(value.to_vec());
        } else if key.eq_ignore_ascii_case(b"seq") {
            seq = leading_i64(value).0;
        } else if key.eq_ignore_ascii_case(b"type") {
            kind = value.first().copied().unwrap_or(0);
        }
    }
    match name {
        Some(name) if seq != 0 && seq <= MAX_SEQ && kind != 0 => Ok((kind, Part { name, seq })),
        _ => Err(BAD_FORMAT),
    }
}

/// A line without blanks at its ends. Vertical tabs and form feeds stay.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let Some(start) = line.iter().position(|byte| !is_blank(byte)) else { return &[] };
    let end = line.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &line[start..end]
}

fn push_line(out: &mut Vec<u8>, part: &Part, kind: u8) {
    out.extend_from_slice(b"file ");
    // Redis does not quote a name that contains an apostrophe, and then cannot parse it.
    let needs_quotes = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\' | b'\'');
    if part.name.is_empty() || part.name.iter().any(needs_quotes) {
        words::push_quoted(out, &part.name);
    } else {
        out.extend_from_slice(&part.name);
    }
    out.extend_from_slice(b" seq ");
    push_i64(out, part.seq);
    out.extend_from_slice(b" type ");
    out.extend_from_slice(&[kind, b'\n']);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &[u8] = b"appendonly.aof";

    fn text(manifest: &Manifest) -> String {
        String::from_utf8(manifest.encode()).expect("printable")
    }

    fn refusal(bytes: &[u8]) -> (usize, &'static str) {
        let error = Manifest::parse(bytes).expect_err("a bad manifest");
        (error.line.map_or(0, |(number, _)| number), error.what)
    }

    #[test]
    fn files_are_listed_as_redis_lists_them_while_the_log_is_rewritten() {
        let first = Manifest::default().with_new_base(FILE, true, false).with_new_incremental(FILE);
        let start =
            "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
        assert_eq!(text(&first), start);
        let switched = first.with_new_incremental(FILE);
        assert_eq!(text(&switched), format!("{start}file appendonly.aof.2.incr.aof seq 2 type i\n"));
        let rewritten = switched.with_new_base(FILE, false, true);
        assert_eq!(
            text(&rewritten),
            "file appendonly.aof.2.base.aof seq 2 type b\n\
             file appendonly.aof.1.incr.aof seq 1 type h\n\
             file appendonly.aof.1.base.rdb seq 1 type h\n\
             file appendonly.aof.2.incr.aof seq 2 type i\n"
        );
        let clean = rewritten.without_history();
        assert_eq!(
            text(&clean),
            "file appendonly.aof.2.base.aof seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
        );
        for manifest in [first, switched, rewritten, clean] {
            assert_eq!(Manifest::parse(&manifest.encode()).as_ref(), Ok(&manifest));
        }
    }

    #[test]
    fn a_rewrite_of_a_log_that_nobody_writes_replaces_all_its_files() {
        let log = Manifest::of_single_file(FILE).with_new_incremental(FILE);
        assert_eq!(
            text(&log.with_new_base(FILE, true, false)),
            "file appendonly.aof.2.base.rdb seq 2 type b\n\
             file appendonly.aof.1.incr.aof seq 1 type h\n\
             file appendonly.aof seq 1 type h\n"
        );
    }

    #[test]
    fn pairs_come_in_any_order_with_others_among_them_and_comments_between_lines() {
        let manifest = Manifest::parse(
            b"# a comment\n  TYPE incr SEQ +7x later \"a b\" File \"a\\x41 b\\x00c\" \r\n#\nfile b seq -1 type base\n",
        );
        let manifest = manifest.expect("a good manifest");
        assert_eq!(manifest.incremental, [Part { name: b"aA b".to_vec(), seq: 7 }]);
        assert_eq!(manifest.base, Some(Part { name: b"b".to_vec(), seq: -1 }));
        assert_eq!(
            text(&manifest.with_new_base(FILE, true, true)),
            "file appendonly.aof.1.base.rdb seq 1 type b\nfile b seq -1 type h\nfile \"aA b\" seq 7 type i\n"
        );
        assert!(Manifest::parse(b"#\n").expect("comments alone").is_empty());
    }

    #[test]
    fn what_is_not_a_manifest_is_refused_with_line_and_reason() {
        const LONG: &str = "The AOF manifest file contains too long line";
        let too_long = [&b"file a seq 1 type b "[..], &[b'x'; 1024], b"\n"].concat();
        let long_comment = [&b"#"[..], &[b'x'; 1023], b"file a seq 1 type b\n"].concat();
        assert!(Manifest::parse(&long_comment).expect("only its first part is a comment").base.is_some());
        for (bytes, number, what) in [
            (&b""[..], 0, "Found an empty AOF manifest"),
            (&too_long, 0, LONG),
            (b"file a seq 1 type b", 0, LONG),
            (b"file a\0 seq 1 type b\n", 0, LONG),
            (b"\n", 1, BAD_FORMAT),
            (b"file a seq 1 type b\n \t\n", 2, BAD_FORMAT),
            (b"file a seq 1\n", 1, BAD_FORMAT),
            (b"file a seq 1 type b x\n", 1, BAD_FORMAT),
            (b"file \"a seq 1 type b\n", 1, BAD_FORMAT),
            (b"file a seq x type b\n", 1, BAD_FORMAT),
            (b"file a seq 9223372036854775807 type i\n", 1, BAD_FORMAT),
            (b"file a seq 1 type \"\"\n", 1, BAD_FORMAT),
            (b"name a seq 1 type b\n", 1, BAD_FORMAT),
            (b"file a/b seq 1 type b\n", 1, "File can't be a path, just a filename"),
            (b"file 'a\\b' seq 1 type b\n", 1, "File can't be a path, just a filename"),
            (b"file a seq 1 type b\nfile b seq 2 type b\n", 2, "Found duplicate base file information"),
            (b"file a seq 2 type i\nfile b seq 2 type i\n", 2, "Found a non-monotonic sequence number"),
            (b"file a seq -1 type i\n", 1, "Found a non-monotonic sequence number"),
            (b"file a seq 1 type x\n", 1, "Unknown AOF file type"),
        ] {
            assert_eq!(refusal(bytes), (number, what), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_name_survives_writing_and_reading(
            file in prop::collection::vec(prop::num::u8::ANY.prop_filter("not in a name", |b| !b"/\\\0".contains(b)), 1..40),
            rewrites in 0_usize..4,
        ) {
            let mut manifest = Manifest::of_single_file(&file);
            for _ in 0..rewrites {
                manifest = manifest.with_new_incremental(&file).with_new_base(&file, true, true);
            }
            prop_assert_eq!(Manifest::parse(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn no_bytes_make_the_parser_fail_otherwise(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}
