//! Values with more than one part: save points, buffer limits, event classes, addresses, percentiles, the directory.
//!
//! Each type's [`Value`] implementation defines how it is parsed from words and how `CONFIG GET` and the config file
//! write it. Numbers that wrap around in Redis (`save "5 99999999999"`) are refused here.

use super::size::{format_size, lenient_integer, parse_size};
use super::value::{Reason, Shape, Value, choose};
use crate::text::{number, words};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// Words joined by single spaces.
fn join<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> Vec<u8> {
    let words: Vec<T> = words.into_iter().collect();
    words.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(&b' ')
}

/// Returns the value for the file, where an empty list is written as `""`.
fn listed(shown: Vec<u8>) -> Vec<Vec<u8>> {
    if shown.is_empty() { vec![b"\"\"".to_vec()] } else { vec![shown] }
}

/// Parses an integer like Redis's `strtoll`, from 0 to the largest `int`.
fn natural(word: &[u8]) -> Option<u32> {
    let value = lenient_integer(word, 10)?;
    i32::try_from(value).ok().and_then(|value| u32::try_from(value).ok())
}

/// One rule of `save`: take a snapshot after `seconds` if at least `changes` writes happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    /// Seconds since the last snapshot.
    pub seconds: u64,
    /// Writes since the last snapshot.
    pub changes: u32,
}

/// All rules of `save`; without rules, no snapshots are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveRules(Vec<SaveRule>);

impl SaveRules {
    /// Redis's defaults.
    pub(super) fn usual() -> SaveRules {
        let rules = [(3600, 1), (300, 100), (60, 10_000)];
        SaveRules(rules.map(|(seconds, changes)| SaveRule { seconds, changes }).to_vec())
    }

    /// Removes all rules.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Deref for SaveRules {
    type Target = [SaveRule];

    fn deref(&self) -> &[SaveRule] {
        &self.0
    }
}

impl SaveRule {
    fn parse(seconds: &[u8], changes: &[u8]) -> Option<SaveRule> {
        let seconds = u64::try_from(lenient_integer(seconds, 10)?).ok().filter(|&seconds| seconds >= 1)?;
        Some(SaveRule { seconds, changes: natural(changes)? })
    }
}

impl Value for SaveRules {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, adds: bool) -> Result<(), Reason> {
        if words.is_empty() || !adds {
            self.0.clear();
        }
        for pair in words.chunks(2) {
            let rule = match pair {
                [seconds, changes] => SaveRule::parse(seconds, changes),
                _ => None,
            };
            self.0.push(rule.ok_or("Invalid save parameters")?);
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        join(self.0.iter().map(|rule| format!("{} {}", rule.seconds, rule.changes)))
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return listed(self.show(shape));
        }
        self.0.iter().map(|rule| format!("{} {}", rule.seconds, rule.changes).into()).collect()
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "pairs of seconds and changes, or \"\"".into()
    }
}

/// The largest output buffer that a client may have before the server closes it. 0 means unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// The size in bytes at which the client is closed at once.
    pub hard: u64,
    /// The size in bytes above which the client is closed after `soft_seconds`.
    pub soft: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: u32,
}

/// The output buffer limits of the three client classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Normal clients, including those of MONITOR.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with subscriptions.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// Redis's defaults.
    pub(super) const fn usual() -> OutputLimits {
        const MB: u64 = 1 << 20;
        OutputLimits {
            normal: OutputLimit { hard: 0, soft: 0, soft_seconds: 0 },
            replica: OutputLimit { hard: 256 * MB, soft: 64 * MB, soft_seconds: 60 },
            pubsub: OutputLimit { hard: 32 * MB, soft: 8 * MB, soft_seconds: 60 },
        }
    }

    /// The limits of a client that is not a replica.
    pub const fn of(&self, subscribed: bool) -> OutputLimit {
        if subscribed { self.pubsub } else { self.normal }
    }

    fn class(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"replica" | b"slave" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

impl OutputLimit {
    fn parse(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<OutputLimit> {
        Some(OutputLimit {
            hard: parse_size(hard)?,
            soft: parse_size(soft)?,
            soft_seconds: natural(seconds)?,
        })
    }
}

impl Value for OutputLimits {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for part in words.chunks(4) {
            let class =
                self.class(part[0]).ok_or("Invalid client class specified in buffer limit configuration.")?;
            *class = OutputLimit::parse(part[1], part[2], part[3])
                .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        let classes = [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)];
        join(
            classes
                .map(|(name, limit)| format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)),
        )
    }

    fn lines(&self, _shape: &Shape) -> Vec<Vec<u8>> {
        let classes = [("normal", self.normal), ("replica", self.replica), ("pubsub", self.pubsub)];
        let line = |(name, limit): (&str, OutputLimit)| {
            let (hard, soft) = (format_size(limit.hard), format_size(limit.soft));
            format!("{name} {hard} {soft} {}", limit.soft_seconds).into_bytes()
        };
        classes.map(line).to_vec()
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "class, hard size, soft size, soft seconds; class is normal, replica or pubsub".into()
    }
}

/// A limit in bytes or as a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// A number of bytes; 0 means unlimited.
    Bytes(u64),
    /// A percentage of `maxmemory`.
    Percent(u8),
}

impl MemoryShare {
    /// The limit in bytes; 0 means unlimited, as does a percentage of an unlimited `maxmemory`.
    pub fn bytes(self, maxmemory: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (u128::from(maxmemory) * u128::from(percent) / 100) as u64,
        }
    }
}

impl Value for MemoryShare {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        const NEITHER: &str = "argument must be a memory or percent value";
        *self = if let [digits @ .., b'%'] = words[0] {
            match number::parse_i64(digits).and_then(|percent| u64::try_from(percent).ok()) {
                None => return Err(NEITHER.into()),
                Some(0) => Self::Bytes(0),
                Some(percent) if percent > 100 => {
                    return Err("percentage argument must be less or equal to 100".into());
                }
                Some(percent) => Self::Percent(percent as u8),
            }
        } else {
            // Redis stores percentages in the upper half.
            Self::Bytes(parse_size(words[0]).filter(|&bytes| i64::try_from(bytes).is_ok()).ok_or(NEITHER)?)
        };
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_string().into(),
            Self::Percent(percent) => format!("{percent}%").into(),
        }
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => vec![format_size(*bytes).into()],
            Self::Percent(_) => vec![self.show(shape)],
        }
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "size or percent".into()
    }
}

/// Classes of keyspace events, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u16);

impl EventClasses {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// `g`: commands for keys of any type, such as DEL, EXPIRE, RENAME.
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    /// `$`: strings.
    pub const STRING: EventClasses = EventClasses(1 << 3);
    /// `l`: lists.
    pub const LIST: EventClasses = EventClasses(1 << 4);
    /// `s`: sets.
    pub const SET: EventClasses = EventClasses(1 << 5);
    /// `h`: hashes.
    pub const HASH: EventClasses = EventClasses(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: EventClasses = EventClasses(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    /// `t`: streams.
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    /// `d`: types defined by modules.
    pub const MODULE: EventClasses = EventClasses(1 << 11);
    /// `n`: a key was created.
    pub const NEW: EventClasses = EventClasses(1 << 12);
    /// `m`: a key was looked up and not found.
    pub const MISS: EventClasses = EventClasses(1 << 13);
    /// `A`: all except `m` and `n`.
    pub const ALL: EventClasses = EventClasses((1 << 12) - 4);

    /// In the order in which CONFIG GET shows them.
    const LETTERS: [(u8, EventClasses); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::MISS),
    ];

    /// Whether the set includes all classes of `other`.
    pub const fn contains(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// The letters. Redis does not show `n` beside `A`, but the file must not lose it.
    fn letters(self, new_beside_all: bool) -> Vec<u8> {
        let mut letters = Vec::new();
        let all = self.contains(Self::ALL);
        if all {
            letters.push(b'A');
        }
        for (letter, class) in Self::LETTERS {
            let hidden = all && (Self::ALL.contains(class) || class == Self::NEW && !new_beside_all);
            if self.contains(class) && !hidden {
                letters.push(letter);
            }
        }
        letters
    }
}

impl Value for EventClasses {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        self.0 = 0;
        for letter in words[0] {
            let class = match letter {
                b'A' => Some(Self::ALL),
                _ => Self::LETTERS.iter().find(|(known, _)| known == letter).map(|(_, class)| *class),
            };
            self.0 |= class.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?.0;
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        self.letters(false)
    }

    fn lines(&self, _shape: &Shape) -> Vec<Vec<u8>> {
        vec![words::quote(&self.letters(true)).into()]
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "letters of `Ag$lshzxeKEtmdn`, or \"\"".into()
    }
}

/// The addresses of `bind`; [`BindAddress::parse`] reads each of them.
impl Value for Vec<String> {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        if words.len() > 16 {
            return Err("Too many bind addresses specified.".into());
        }
        *self = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        join(self)
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        listed(self.show(shape))
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "up to 16 addresses".into()
    }
}

/// A `rename-command` line. The command names are not known here, so the server may still refuse the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedCommand {
    /// The name to remove.
    pub from: Vec<u8>,
    /// The new name; empty to disable the command.
    pub to: Vec<u8>,
    /// The position of the line: `redstart.conf:12`, or `command line`.
    pub place: String,
}

/// A `user` line. Its modifiers are not parsed here, so the server may still refuse the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLine {
    /// The name of the user.
    pub name: Vec<u8>,
    /// The modifiers, as `ACL SETUSER` takes them.
    pub modifiers: Vec<Vec<u8>>,
    /// The position of the line: `redstart.conf:12`, or `command line`.
    pub place: String,
}

/// One address of `bind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindAddress<'a> {
    /// An address for `bind(2)`: `*` is replaced by `0.0.0.0`, and `::*` by `::`.
    pub host: &'a str,
    /// Written with a leading `-`: skipped on a machine that lacks the address (`EADDRNOTAVAIL`) or its protocol
    /// (`EAFNOSUPPORT`, `EPROTONOSUPPORT`).
    pub optional: bool,
}

impl<'a> BindAddress<'a> {
    /// Parses an address from the config file.
    pub fn parse(address: &'a str) -> BindAddress<'a> {
        let (optional, host) = match address.strip_prefix('-') {
            Some(host) => (true, host),
            None => (false, address),
        };
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        };
        BindAddress { host, optional }
    }
}

/// The latency percentiles in INFO.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentiles(pub(super) Vec<f64>);

impl Value for Percentiles {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        self.0.clear();
        for word in words {
            let percentile =
                number::parse_f64(word).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if !(0.0..=100.0).contains(&percentile) {
                return Err(
                    "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into()
                );
            }
            self.0.push(percentile);
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        join(self.0.iter().map(|&percentile| Percentiles::name(percentile)))
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        listed(self.show(shape))
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "numbers from 0 to 100, or \"\"".into()
    }
}

impl Deref for Percentiles {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.0
    }
}

impl Percentiles {
    /// A percentile as CONFIG GET and INFO show it: up to six decimal places, without trailing zeros.
    pub fn name(percentile: f64) -> String {
        let digits = format!("{percentile:.6}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// The kernel's out-of-memory scores for a primary, a replica, and a child that saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OomScores(pub [i32; 3]);

impl Value for OomScores {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        let words: &[&[u8]; 3] = words.try_into().map_err(|_| "wrong number of arguments")?;
        for (score, word) in self.0.iter_mut().zip(words) {
            *score = lenient_integer(word, 10)
                .filter(|score| (-2000..=2000).contains(score))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?
                as i32;
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        join(self.0.map(|score| score.to_string()))
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "three numbers, -2000 to 2000".into()
    }
}

/// The primary that `replicaof` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primary(pub Option<(String, u16)>);

impl Value for Primary {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        let [host, port] = words else {
            return Err("wrong number of arguments".into());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            self.0 = None;
            return Ok(());
        }
        let port =
            number::parse_i64(port).and_then(|port| u16::try_from(port).ok()).ok_or("Invalid master port")?;
        self.0 = Some((String::from_utf8_lossy(host).into_owned(), port));
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        self.0.as_ref().map_or_else(Vec::new, |(host, port)| format!("{host} {port}").into())
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        if self.0.is_none() { Vec::new() } else { vec![self.show(shape)] }
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "host and port, or no one".into()
    }
}

/// The options of SHUTDOWN for a shutdown by a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions(u8);

impl ShutdownOptions {
    /// Write a snapshot, even without a `save` rule.
    pub const SAVE: ShutdownOptions = ShutdownOptions(1);
    /// Write no snapshot, even with a `save` rule.
    pub const NOSAVE: ShutdownOptions = ShutdownOptions(2);
    /// Do not wait for replicas.
    pub const NOW: ShutdownOptions = ShutdownOptions(4);
    /// Exit even if the snapshot fails.
    pub const FORCE: ShutdownOptions = ShutdownOptions(8);

    const NAMES: &[(&str, ShutdownOptions)] = &[
        ("default", ShutdownOptions(0)),
        ("save", Self::SAVE),
        ("nosave", Self::NOSAVE),
        ("now", Self::NOW),
        ("force", Self::FORCE),
    ];

    /// Returns these options and another one.
    #[must_use]
    pub const fn with(self, option: ShutdownOptions) -> ShutdownOptions {
        ShutdownOptions(self.0 | option.0)
    }

    /// Whether an option is set.
    pub const fn contains(self, option: ShutdownOptions) -> bool {
        self.0 & option.0 != 0
    }
}

impl Value for ShutdownOptions {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        let mut bits = 0;
        // An empty list is as invalid as an unknown word.
        let words = if words.is_empty() { &[b"".as_slice()] } else { words };
        for word in words {
            bits |= choose(Self::NAMES, word)?.0;
        }
        *self = ShutdownOptions(bits);
        if self.contains(Self::SAVE) && self.contains(Self::NOSAVE) {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        let chosen: Vec<&str> =
            Self::NAMES.iter().filter(|(_, option)| self.contains(*option)).map(|(name, _)| *name).collect();
        if chosen.is_empty() { b"default".to_vec() } else { join(chosen) }
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "default, or some of save, nosave, now, force".into()
    }
}

/// The working directory. A relative path is relative to the previous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
    /// The directory in which the process started.
    start: PathBuf,
}

impl Directory {
    /// The directory in which the process started, not yet resolved.
    pub(super) fn current() -> Directory {
        Directory { path: ".".into(), start: ".".into() }
    }

    /// The path; absolute once files and arguments have been loaded.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The default: the directory in which the process started.
    pub(super) fn at_start(&self) -> Directory {
        Directory { path: self.start.clone(), start: self.start.clone() }
    }

    /// Makes the path absolute and resolves links, and records where the process started, which is still its working
    /// directory.
    pub(super) fn resolve(&mut self) -> io::Result<()> {
        self.path = self.path.canonicalize()?;
        self.start = std::env::current_dir()?.canonicalize()?;
        Ok(())
    }
}

impl AsRef<Path> for Directory {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// The text of a system error, as C's `strerror` returns it.
pub(super) fn system_reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

impl Value for Directory {
    fn set(&mut self, words: &[&[u8]], _shape: &Shape, _adds: bool) -> Result<(), Reason> {
        use std::os::unix::ffi::OsStrExt;
        if words[0].is_empty() {
            return Err("No such file or directory".into());
        }
        let path = self.path.join(std::ffi::OsStr::from_bytes(words[0]));
        // The trailing component makes a regular file fail as it does in chdir.
        let path = path.join(".").canonicalize().map_err(|error| system_reason(&error))?;
        self.path = path;
        Ok(())
    }

    fn show(&self, _shape: &Shape) -> Vec<u8> {
        self.path.as_os_str().as_encoded_bytes().to_vec()
    }

    fn lines(&self, shape: &Shape) -> Vec<Vec<u8>> {
        vec![words::quote(&self.show(shape)).into()]
    }

    #[cfg(test)]
    fn describe(&self, _shape: &Shape) -> String {
        "directory".into()
    }
}

/// Checks of texts that must be a file name, a host name, or a title.
pub(super) mod check {
    /// Redis refuses a manifest of append-only files with a backslash in a name, so a name must not contain one.
    fn is_path(text: &[u8]) -> bool {
        text.contains(&b'/') || text.contains(&b'\\')
    }

    /// `dbfilename`.
    pub fn snapshot_name(text: &[u8]) -> Result<(), &'static str> {
        if is_path(text) { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
    }

    /// `appendfilename`.
    pub fn append_name(text: &[u8]) -> Result<(), &'static str> {
        match text {
            [] => Err("appendfilename can't be empty"),
            _ if is_path(text) => Err("appendfilename can't be a path, just a filename"),
            _ => Ok(()),
        }
    }

    /// `appenddirname`.
    pub fn append_directory(text: &[u8]) -> Result<(), &'static str> {
        match text {
            [] => Err("appenddirname can't be empty"),
            _ if is_path(text) => Err("appenddirname can't be a path, just a dirname"),
            _ => Ok(()),
        }
    }

    /// `cluster-announce-hostname`.
    pub fn hostname(text: &[u8]) -> Result<(), &'static str> {
        if text.len() >= 256 {
            Err("Hostnames must be less than 256 characters")
        } else if text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            Ok(())
        } else {
            Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
        }
    }

    /// `cluster-announce-human-nodename`. Redis also accepts the characters that separate words and fields in
    /// `nodes.conf`, and then cannot load that file.
    pub fn node_name(text: &[u8]) -> Result<(), &'static str> {
        if text.len() >= 256 {
            Err("Announced human node name must be less than 256 characters")
        } else if text.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'.' | b'/' | b'_' | b'`')
                || !byte.is_ascii()
        }) {
            Ok(())
        } else {
            Err("Announced human node name contained invalid character")
        }
    }

    /// `proc-title-template`. Its expansion must not be empty even if the program's name is, as it is when Redis checks
    /// it.
    pub fn title(text: &[u8]) -> Result<(), &'static str> {
        let expanded = super::expand_title(text, |variable| match variable {
            b"title" | b"server-mode" => Some(Vec::new()),
            b"listen-addr" | b"port" | b"tls-port" | b"unixsocket" | b"config-file" => Some(b"x".to_vec()),
            _ => None,
        });
        if expanded.is_some_and(|title| !title.is_empty()) {
            Ok(())
        } else {
            Err("template format is invalid or contains unknown variables")
        }
    }
}

/// Expands a `proc-title-template`: replaces variables in braces by their values and `{{` by `{`, and trims spaces at
/// both ends. `None` if a brace is not closed or `value_of` does not know a variable.
pub fn expand_title(template: &[u8], value_of: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut title = Vec::new();
    let mut rest = template;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'{' {
            title.push(*first);
        } else if let [b'{', tail @ ..] = rest {
            title.push(b'{');
            rest = tail;
        } else {
            let close = rest.iter().position(|&byte| byte == b'}')?;
            title.extend(value_of(&rest[..close])?);
            rest = &rest[close + 1..];
        }
    }
    let is_text = |byte: &u8| *byte != b' ';
    let start = title.iter().position(is_text).unwrap_or(title.len());
    let end = title.iter().rposition(is_text).map_or(start, |last| last + 1);
    Some(title[start..end].to_vec())
}
