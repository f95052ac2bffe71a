//! Reads the configuration at startup: a file, standard input, and command-line arguments, in this order; later values
//! replace earlier ones.
//!
//! A file consists of lines of quoted words: the directive, then its value. `#` begins a comment only at the start of a
//! line. An argument `--name` begins a directive; the arguments up to the next `--name` are its value, and the first of
//! them belongs to the value even if it begins with `--`. Paths are relative to the value of `dir` at the point where
//! they are read: an `include` after a `dir` is looked up there.
//!
//! If a directive has several lines, the last one counts; lines of `save` add up, across files and arguments, and the
//! first of them drops the defaults. Loading stops at the first error, with one line that names the file and the line
//! number. An unsupported directive that protects the server or defines its role is such an error, unless it has its
//! default (`refused.rs`).

use super::refused;
use super::special::system_reason;
use super::table::flag;
use super::{Config, Effect, OTHER_LINES, RenamedCommand, UserLine, find};
use crate::sys::file;
use crate::text::{glob, words};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// How deeply files may include files: a file that includes itself must cause an error, not a stack overflow.
const MAX_INCLUDE_DEPTH: usize = 16;

/// The most characters of a line that an error quotes.
const MAX_SHOWN: usize = 256;

/// Redis' error for an unknown line.
const BAD_LINE: &str = "Bad directive or wrong number of arguments";

const NO_SENTINEL: &str =
    "sentinel mode is not supported, nothing would be monitored. Run Sentinel from Redis";

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was given, `stdin` or `command line`.
    pub file: String,
    /// The line, counted from 1; 0 if there are no lines.
    pub line: usize,
    /// The directive with its value, unless that is secret; may be empty.
    pub text: String,
    /// The reason for the error.
    pub reason: String,
}

/// One line: `redstart.conf:12: 'hz "x"': argument couldn't be parsed into an integer`. Redis prints the directive with
/// its value in these quotes as well, and programs that start a server look for them.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.text.is_empty() {
            write!(f, ": '{}'", clipped(&self.text))?;
        }
        write!(f, ": {}", clipped(&self.reason))
    }
}

/// Returns the beginning of a text. A line of a file can have any length, but an error has to stay readable.
fn clipped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()).into(),
        None => text.into(),
    }
}

impl std::error::Error for ConfigError {}

/// Loads the configuration that the command line describes. `arguments` are those after the program's name: a config
/// file first, if any; `-` for `stdin` first or last; then `--name value...`.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    stdin: &mut dyn Read,
) -> Result<Config, ConfigError> {
    let arguments: Vec<Vec<u8>> = arguments.into_iter().map(OsString::into_vec).collect();
    let plan = Plan::from_arguments(&arguments)?;
    let mut loader = Loader::default();
    if let Some(path) = plan.file {
        let path = Path::new(OsStr::from_bytes(path));
        let at = |error: io::Error| ConfigError {
            file: path.display().to_string(),
            line: 0,
            text: String::new(),
            reason: system_reason(&error),
        };
        // A misspelled word, such as the name of a tool, is taken for a path and fails here as well.
        let text = read_main(path).map_err(|error| match at(error) {
            error if path.components().count() == 1 => ConfigError {
                reason: format!("{} (taken as a configuration file; see redstart --help)", error.reason),
                ..error
            },
            error => error,
        })?;
        loader.config.file = Some(std::path::absolute(path).map_err(at)?);
        loader.read_text(&path.display().to_string(), &text, 0)?;
    }
    if plan.stdin {
        let mut text = Vec::new();
        stdin.read_to_end(&mut text).map_err(|error| ConfigError {
            file: "stdin".into(),
            line: 0,
            text: String::new(),
            reason: system_reason(&error),
        })?;
        loader.read_text("stdin", &text, 0)?;
    }
    loader.line = 0;
    for line in &plan.lines {
        loader.take_line(line, "command line", 0).map_err(|problem| problem.at("command line", 0))?;
    }
    loader.refuse_unsupported()?;
    loader.config.dir.resolve().map_err(|error| ConfigError {
        file: "dir".into(),
        line: 0,
        text: String::new(),
        reason: system_reason(&error),
    })?;
    Ok(loader.config)
}

/// Reads the main file, which must be a regular file: opening a pipe would wait for a writer. Exceptions are
/// `/dev/null` and files that are already open: `/dev/stdin`, and the `/dev/fd/63` to which a shell expands `<(…)`.
fn read_main(path: &Path) -> io::Result<Vec<u8>> {
    const EXCEPTED: [&str; 4] = ["/dev/null", "/dev/stdin", "/dev/fd", "/proc/self/fd"];
    let target = path.canonicalize();
    let is_excepted = |path: &Path| EXCEPTED.iter().any(|excepted| path.starts_with(excepted));
    if is_excepted(path) || target.is_ok_and(|target| is_excepted(&target)) {
        return std::fs::read(path);
    }
    file::read_regular(path)
}

/// The parts of the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan<'a> {
    file: Option<&'a [u8]>,
    stdin: bool,
    /// Directives with their values, like lines of a file.
    lines: Vec<Vec<Vec<u8>>>,
}

impl<'a> Plan<'a> {
    fn from_arguments(arguments: &'a [Vec<u8>]) -> Result<Plan<'a>, ConfigError> {
        let mut plan = Plan::default();
        let mut rest = arguments;
        if let [first, tail @ ..] = rest
            && !first.starts_with(b"-")
        {
            plan.file = Some(first);
            rest = tail;
        }
        if let [first, tail @ ..] = rest
            && first == b"-"
        {
            plan.stdin = true;
            rest = tail;
        }
        // The last name has no value yet: the next argument is its value, whatever it looks like.
        let mut waits = false;
        for (at, argument) in rest.iter().enumerate() {
            let is_last = at + 1 == rest.len();
            if is_last && argument == b"-" && !waits {
                plan.stdin = true;
            } else if let (false, Some(name)) = (waits, argument.strip_prefix(b"--")) {
                // `"--port 7000"` in one argument is a name with its value.
                let words = words::split(name).unwrap_or_else(|_| vec![name.to_vec()]);
                waits = words.len() == 1;
                plan.lines.push(words);
                let followed_by_name = rest.get(at + 1).is_some_and(|next| next.starts_with(b"--"));
                if waits && name.eq_ignore_ascii_case(b"save") && (is_last || followed_by_name) {
                    // A script that expands an empty array of save points passes the name without a value.
                    plan.lines.last_mut().expect("it was just pushed").push(Vec::new());
                    waits = false;
                }
            } else if let Some(line) = plan.lines.last_mut() {
                line.push(argument.clone());
                waits = false;
            } else {
                return Err(ConfigError {
                    file: "command line".into(),
                    line: 0,
                    text: words::quote(argument),
                    reason: "a directive must begin with --".into(),
                });
            }
        }
        Ok(plan)
    }
}

/// An error in a line whose position is not known yet, or an error from an included file.
enum Problem {
    Here { text: String, reason: String },
    Elsewhere(ConfigError),
}

impl Problem {
    fn new(text: impl Into<String>, reason: impl Into<String>) -> Problem {
        Problem::Here { text: text.into(), reason: reason.into() }
    }

    fn at(self, file: &str, line: usize) -> ConfigError {
        match self {
            Problem::Here { text, reason } => ConfigError { file: file.to_owned(), line, text, reason },
            Problem::Elsewhere(error) => error,
        }
    }
}

/// The configuration while it is read.
#[derive(Default)]
struct Loader {
    config: Config,
    /// A `save` line has been read, so the defaults are dropped.
    has_save: bool,
    /// The line that is being read, counted from 1; 0 on the command line.
    line: usize,
    /// The latest line of each directive of `refused.rs`.
    refusable: Vec<(&'static str, ConfigError)>,
}

impl Loader {
    fn read_text(&mut self, file: &str, text: &[u8], depth: usize) -> Result<(), ConfigError> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            self.line = at + 1;
            self.read_line(line, file, depth).map_err(|problem| problem.at(file, at + 1))?;
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8], file: &str, depth: usize) -> Result<(), Problem> {
        if line.trim_ascii().first().is_none_or(|&byte| byte == b'#') {
            return Ok(());
        }
        let words = words::split(line)
            .map_err(|_| Problem::new(words::quote(line.trim_ascii()), "unbalanced quotes"))?;
        self.take_line(&words, file, depth)
    }

    /// Takes a directive and its value.
    fn take_line(&mut self, words: &[Vec<u8>], file: &str, depth: usize) -> Result<(), Problem> {
        let [name, values @ ..] = words else { return Ok(()) };
        let Some(directive) = find(name) else {
            return self.take_other(&name.to_ascii_lowercase(), values, file, depth);
        };
        if directive.name == "save" && !self.has_save {
            self.has_save = true;
            self.config.save.clear();
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let text = || {
            let mut text = name.escape_ascii().to_string();
            if !directive.has(flag::SECRET) {
                for value in &values {
                    text.push(' ');
                    text.push_str(&words::quote(value));
                }
            }
            text
        };
        directive.set(&mut self.config, &values, true).map_err(|reason| Problem::new(text(), reason))?;
        if refused::is_refusable(directive.name) {
            let place = Problem::new(text(), "").at(file, self.line);
            self.refusable.retain(|(earlier, _)| *earlier != directive.name);
            self.refusable.push((directive.name, place));
        }
        Ok(())
    }

    /// Fails if an unsupported directive that protects the server or defines its role does not have its default.
    fn refuse_unsupported(&mut self) -> Result<(), ConfigError> {
        let Some((name, why)) = refused::first(&self.config) else { return Ok(()) };
        let place = self.refusable.iter().find(|(known, _)| *known == name);
        let (_, place) = place.expect("a line has set what is not the default");
        Err(ConfigError { reason: why.to_owned(), ..place.clone() })
    }

    /// The position of the line that is being read.
    fn place(&self, file: &str) -> String {
        if self.line > 0 { format!("{file}:{}", self.line) } else { file.to_owned() }
    }

    /// Takes a line of `OTHER_LINES`.
    fn take_other(
        &mut self,
        name: &[u8],
        values: &[Vec<u8>],
        file: &str,
        depth: usize,
    ) -> Result<(), Problem> {
        let Some((name, _)) = OTHER_LINES.iter().find(|(known, _)| known.as_bytes() == name) else {
            let why = format!("{BAD_LINE} (no directive has this name)");
            return Err(Problem::new(name.escape_ascii().to_string(), why));
        };
        match (*name, values) {
            ("include", [pattern]) => self.include(pattern, file, depth),
            ("rename-command", [from, to]) => {
                let place = self.place(file);
                let line = RenamedCommand { from: from.clone(), to: to.clone(), place };
                self.config.renamed_commands.push(line);
                Ok(())
            }
            ("user", [name, modifiers @ ..]) => {
                let place = self.place(file);
                let line = UserLine { name: name.clone(), modifiers: modifiers.to_vec(), place };
                self.config.user_lines.push(line);
                Ok(())
            }
            ("loadmodule", _) => Err(Problem::new(*name, Effect::NoModules.why().unwrap_or_default())),
            ("sentinel", _) => Err(Problem::new(*name, NO_SENTINEL)),
            ("list-max-ziplist-entries" | "list-max-ziplist-value" | "lua-replicate-commands", [_]) => Ok(()),
            _ => Err(Problem::new(*name, BAD_LINE)),
        }
    }

    /// Reads the file, or all files that match a glob; a glob may match none.
    fn include(&mut self, pattern: &[u8], from: &str, depth: usize) -> Result<(), Problem> {
        let text = || format!("include {}", words::quote(pattern));
        if depth == MAX_INCLUDE_DEPTH {
            return Err(Problem::new(text(), format!("{from} is included {depth} files deep")));
        }
        let written = Path::new(OsStr::from_bytes(pattern));
        let paths =
            if is_glob(pattern) { expand(self.config.dir.path(), written) } else { vec![written.to_owned()] };
        for path in paths {
            let content = file::read_regular(&self.config.dir.path().join(&path))
                .map_err(|error| Problem::new(text(), system_reason(&error)))?;
            self.read_text(&path.display().to_string(), &content, depth + 1).map_err(Problem::Elsewhere)?;
        }
        Ok(())
    }
}

fn is_glob(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Returns the paths that match a glob, in order; relative ones are looked up in `base`. As in a shell, only a pattern
/// that begins with a dot matches hidden files.
fn expand(base: &Path, pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str();
        if !matches!(component, Component::Normal(_)) || !is_glob(part.as_bytes()) {
            found = found.into_iter().map(|path| path.join(part)).collect();
            continue;
        }
        found =
            found.iter().flat_map(|directory| matching_entries(base, directory, part.as_bytes())).collect();
    }
    found.retain(|path| base.join(path).exists());
    found
}

/// Returns the entries of a directory that match a glob, in order.
fn matching_entries(base: &Path, directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(base.join(directory)) else { return Vec::new() };
    let mut names: Vec<OsString> = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| pattern.starts_with(b".") || !name.as_bytes().starts_with(b"."))
        .filter(|name| glob::matches(pattern, name.as_bytes(), false))
        .collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BindAddress, Primary, SaveRule};
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn load_all(arguments: &[&str], stdin: &str) -> Result<Config, ConfigError> {
        load(arguments.iter().map(OsString::from), &mut stdin.as_bytes())
    }

    /// Loads a text as if it came from standard input.
    fn read(text: &str) -> Config {
        load_all(&["-"], text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(text: &str) -> String {
        load_all(&["-"], text).expect_err("it should be refused").to_string()
    }

    fn arguments(arguments: &[&str]) -> Config {
        load_all(arguments, "").unwrap_or_else(|error| panic!("{error}"))
    }

    fn argument_error(arguments: &[&str]) -> String {
        load_all(arguments, "").expect_err("it should be refused").to_string()
    }

    fn rules(config: &Config) -> Vec<(u64, u32)> {
        config.save.iter().map(|&SaveRule { seconds, changes }| (seconds, changes)).collect()
    }

    /// A directory that is removed on drop.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("redstart-config-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path.canonicalize().unwrap())
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn without_files_and_arguments_there_are_the_defaults_and_an_absolute_directory() {
        let mut config = arguments(&[]);
        assert!(config.dir.path().is_absolute());
        config.dir = Config::default().dir;
        assert_eq!(config, Config::default());
    }

    #[test]
    fn a_file_has_comments_blank_lines_quotes_and_names_in_any_case() {
        let config = read("# top\n\n  timeout   5 \r\n\tHZ 12\nrequirepass \"a \\\"b\\x41\"\nlogfile ''\n#");
        assert_eq!((config.timeout, config.hz), (5, 12));
        assert_eq!(&config.requirepass[..], b"a \"bA");
        assert!(config.logfile.is_empty());
    }

    #[test]
    fn a_later_directive_overrides_and_save_adds_up_from_the_first_on() {
        let config = read("timeout 1\nTimeout 2\nbind 1.2.3.4\nbind 127.0.0.1 -::1\n");
        assert_eq!(config.timeout, 2);
        assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
        assert_eq!(rules(&read("")), [(3600, 1), (300, 100), (60, 10_000)]);
        assert_eq!(rules(&read("save 900 1\nsave 300 10 60 5\n")), [(900, 1), (300, 10), (60, 5)]);
        assert_eq!(rules(&read("save 900 1\nsave \"\"\nsave 1 1\n")), [(1, 1)]);
        assert_eq!(rules(&read("save \"900 1 300 10\"\n")), [(900, 1), (300, 10)]);
        assert_eq!(rules(&read("save \"\"\n")), []);
        assert_eq!(rules(&read("save\n")), []);
    }

    #[test]
    fn values_of_several_words_are_read() {
        let config = read(
            "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6 slave 1mb 1 1\n\
             shutdown-on-sigterm save now\nunixsocketperm 700\n\
             latency-tracking-info-percentiles 50 99.5\nnotify-keyspace-events \"\"\nmaxmemory 1GB\n",
        );
        assert_eq!(config.client_output_buffer_limit.normal.soft_seconds, 3);
        assert_eq!(config.client_output_buffer_limit.pubsub.hard, 4);
        assert_eq!(config.client_output_buffer_limit.replica.hard, 1 << 20);
        assert_eq!(config.unixsocketperm, 0o700);
        assert_eq!(config.latency_tracking_info_percentiles.0, [50.0, 99.5]);
        assert_eq!(config.maxmemory, 1 << 30);
        assert_eq!(read("slaveof 10.0.0.1 7000\nreplicaof no one\n").replicaof, Primary(None));
    }

    #[test]
    fn an_address_may_be_any_or_optional() {
        for (address, host, optional) in [
            ("127.0.0.1", "127.0.0.1", false),
            ("*", "0.0.0.0", false),
            ("-::*", "::", true),
            ("-::1", "::1", true),
        ] {
            assert_eq!(BindAddress::parse(address), BindAddress { host, optional });
        }
    }

    #[test]
    fn an_error_is_one_line_with_file_line_and_reason() {
        for (text, line) in [
            (
                "\n\nfoo 1\n",
                "stdin:3: 'foo': Bad directive or wrong number of arguments (no directive has this name)",
            ),
            (
                "\"f\\no\"",
                "stdin:1: 'f\\no': Bad directive or wrong number of arguments (no directive has this name)",
            ),
            ("timeout \"1", "stdin:1: '\"timeout \\\"1\"': unbalanced quotes"),
            ("timeout", "stdin:1: 'timeout': wrong number of arguments"),
            ("Timeout 1 2", "stdin:1: 'Timeout \"1\" \"2\"': wrong number of arguments"),
            ("timeout 5 # five", "stdin:1: 'timeout \"5\" \"#\" \"five\"': wrong number of arguments"),
            ("timeout x", "stdin:1: 'timeout \"x\"': argument couldn't be parsed into an integer"),
            (
                "unixsocketperm 9",
                "stdin:1: 'unixsocketperm \"9\"': argument couldn't be parsed as an octal number",
            ),
            (
                "unixsocketperm 1000",
                "stdin:1: 'unixsocketperm \"1000\"': argument must be between 0 and 777 inclusive",
            ),
            ("requirepass secret 1", "stdin:1: 'requirepass': wrong number of arguments"),
            (
                "appendfilename a/b",
                "stdin:1: 'appendfilename \"a/b\"': appendfilename can't be a path, just a filename",
            ),
            (
                "appendfilename a\\b",
                "stdin:1: 'appendfilename \"a\\\\b\"': appendfilename can't be a path, just a filename",
            ),
            ("appenddirname \"\"", "stdin:1: 'appenddirname \"\"': appenddirname can't be empty"),
            ("slaveof h x", "stdin:1: 'slaveof \"h\" \"x\"': Invalid master port"),
            ("dir /no/such", "stdin:1: 'dir \"/no/such\"': No such file or directory"),
            ("include", "stdin:1: 'include': Bad directive or wrong number of arguments"),
            ("include /no/such", "stdin:1: 'include \"/no/such\"': No such file or directory"),
            ("user", "stdin:1: 'user': Bad directive or wrong number of arguments"),
            ("rename-command get", "stdin:1: 'rename-command': Bad directive or wrong number of arguments"),
            ("loadmodule x.so", "stdin:1: 'loadmodule': there is no interface for modules"),
            (
                "sentinel monitor",
                "stdin:1: 'sentinel': sentinel mode is not supported, nothing would be monitored. Run Sentinel from Redis",
            ),
            (
                "list-max-ziplist-entries 1 2",
                "stdin:1: 'list-max-ziplist-entries': Bad directive or wrong number of arguments",
            ),
        ] {
            assert_eq!(error(text), line);
        }
        assert_eq!(argument_error(&["/no/such.conf"]), "/no/such.conf: No such file or directory");
        assert_eq!(
            argument_error(&["bogus"]),
            "bogus: No such file or directory (taken as a configuration file; see redstart --help)"
        );
        assert_eq!(
            argument_error(&["--foo", "1"]),
            "command line: 'foo': Bad directive or wrong number of arguments (no directive has this name)"
        );
        assert_eq!(argument_error(&["--hz"]), "command line: 'hz': wrong number of arguments");
        assert_eq!(
            argument_error(&["--hz", "1", "2"]),
            "command line: 'hz \"1\" \"2\"': wrong number of arguments"
        );
    }

    #[test]
    fn lines_that_are_not_values_are_kept_or_ignored() {
        let config = read(
            "rename-command FLUSHALL \"\"\nuser default on nopass ~* &* +@all\nlua-replicate-commands yes\n",
        );
        let line = RenamedCommand { from: b"FLUSHALL".to_vec(), to: Vec::new(), place: "stdin:1".into() };
        assert_eq!(config.renamed_commands, [line]);
    }

    #[test]
    fn file_then_stdin_then_arguments_and_the_last_word_wins() {
        let scratch = Scratch::new();
        let file = scratch.write("a.conf", "timeout 1\nhz 11\nport 7001\nsave 1 1\n");
        let config =
            load_all(&[&file, "-", "--port", "7003", "--save", "3", "3"], "hz 12\nport 7002\nsave 2 2\n")
                .unwrap();
        assert_eq!((config.timeout, config.hz, config.port), (1, 12, 7003));
        assert_eq!(rules(&config), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(config.file.as_deref(), Some(Path::new(&file)));
        let config = load_all(&["--port", "7003", "-"], "port 7002\nhz 9\n").unwrap();
        assert_eq!((config.port, config.hz, config.file), (7003, 9, None));
    }

    #[test]
    fn an_argument_takes_what_follows_up_to_the_next_name() {
        let config = arguments(&["--save", "900", "1", "--bind", "127.0.0.1", "::1", "--maxmemory", "1gb"]);
        assert_eq!(rules(&config), [(900, 1)]);
        assert_eq!(config.bind, ["127.0.0.1", "::1"]);
        assert_eq!(config.maxmemory, 1 << 30);
        let config = arguments(&["--save", "900", "1", "--save", "300 10", "--hz 13", "--masteruser", "a b"]);
        assert_eq!(rules(&config), [(900, 1), (300, 10)]);
        assert_eq!(config.hz, 13);
        assert_eq!(&config.masteruser[..], b"a b");
        assert_eq!(arguments(&["--list-max-listpack-size", "-1"]).list_max_listpack_size, -1);
    }

    #[test]
    fn the_word_after_a_name_is_its_value_even_with_two_dashes_or_one() {
        let config = arguments(&["--requirepass", "--x", "--hz", "12"]);
        assert_eq!(&config.requirepass[..], b"--x");
        assert_eq!(config.hz, 12);
        assert_eq!(&arguments(&["--requirepass", "-"]).requirepass[..], b"-");
    }

    #[test]
    fn save_without_a_value_means_no_save_points() {
        assert_eq!(rules(&arguments(&["--save"])), []);
        assert_eq!(rules(&arguments(&["--save", ""])), []);
        let config = arguments(&["--save", "--hz", "11"]);
        assert_eq!((rules(&config), config.hz), (vec![], 11));
    }

    #[test]
    fn an_error_repeats_no_more_than_the_beginning_of_a_long_line() {
        let long = "ä".repeat(1 << 19);
        for line in [&long, &format!("hz {long}"), &format!("hz 1 {long}"), &format!("hz \"{long}")] {
            let message = error(&format!("port 1\n{line}\n"));
            assert!(message.starts_with("stdin:2: "), "{message}");
            assert!(message.contains("... (") && message.len() < 400, "{} bytes", message.len());
        }
        assert!(argument_error(&["/dev/null", &long]).len() < 400);
    }

    #[test]
    fn what_is_neither_a_file_nor_a_directive_is_refused() {
        let message = argument_error(&["/dev/null", "b.conf"]);
        assert_eq!(message, "command line: '\"b.conf\"': a directive must begin with --");
        assert_eq!(argument_error(&["-hz", "1"]), "command line: '\"-hz\"': a directive must begin with --");
        assert_eq!(
            argument_error(&["--", "1"]),
            "command line: '1': Bad directive or wrong number of arguments (no directive has this name)"
        );
    }

    #[test]
    fn included_files_take_their_place_in_the_order() {
        let scratch = Scratch::new();
        let inner = scratch.write("inner.conf", "hz 20\nport 7005\n");
        let file = scratch.write("outer.conf", &format!("hz 10\ninclude {inner}\nport 7006\n"));
        let config = arguments(&[&file]);
        assert_eq!((config.hz, config.port), (20, 7006));
    }

    #[test]
    fn an_included_glob_reads_what_matches_in_order_and_need_not_match() {
        let scratch = Scratch::new();
        scratch.write("conf.d/10-a.conf", "hz 20\ntimeout 1\n");
        scratch.write("conf.d/20-b.conf", "hz 30\n");
        scratch.write("conf.d/.hidden.conf", "hz 40\n");
        scratch.write("conf.d/30-c.txt", "hz 50\n");
        let dir = scratch.path();
        let config = read(&format!("include {dir}/c*.d/[0-9]*.conf\ninclude {dir}/none*/x?\n"));
        assert_eq!((config.hz, config.timeout), (30, 1));
        let config = read(&format!("dir {dir}\ninclude conf.d/*.conf\n"));
        assert_eq!(config.hz, 30);
    }

    #[test]
    fn an_error_in_an_included_file_names_that_file() {
        let scratch = Scratch::new();
        let inner = scratch.write("inner.conf", "hz 20\nhz x\n");
        let message = error(&format!("include {inner}\n"));
        assert_eq!(message, format!("{inner}:2: 'hz \"x\"': argument couldn't be parsed into an integer"));
    }

    #[test]
    fn a_file_that_includes_itself_ends_in_an_error() {
        let scratch = Scratch::new();
        let path = scratch.0.join("loop.conf");
        let path = scratch.write("loop.conf", &format!("include {}\n", path.display()));
        assert_eq!(
            argument_error(&[&path]),
            format!("{path}:1: 'include \"{path}\"': {path} is included 16 files deep")
        );
    }

    #[test]
    fn directories_count_from_each_other() {
        let scratch = Scratch::new();
        scratch.write("a/b/file", "");
        let config = read(&format!("dir {}\ndir a\ndir ./b\n", scratch.path()));
        assert_eq!(config.dir.path(), scratch.0.join("a/b"));
    }
}
