//! The command line: redis-cli's options and their meanings.

use std::ffi::OsString;
use std::io::{IsTerminal, stdout};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::cluster;
use super::debugger::Mode;
use super::format::{Format, Style};
use super::modes;
use crate::resp::Protocol;
use crate::sys::terminal;
use crate::text::words;
use crate::tools::Call;
use crate::tools::client::{Target, target_arguments, tls_arguments};
use crate::tools::console::tell;

const USAGE: &str = "redstart cli [OPTIONS] [COMMAND [ARGUMENT]...]";

const EXAMPLES: &str = "Examples:
  redstart cli                              type commands at a prompt
  redstart cli -p 7000 get key              send one and print its reply
  redstart cli -r 100 -i 1 info stats       send it a hundred times, once a second
  redstart cli -x set photo < photo.jpg     the last argument comes from the standard input
  redstart cli -X DUMP restore a 0 DUMP < a.dump
                                            and here the one that is the word DUMP
  redstart cli --eval script.lua key , argument
                                            run a script: keys, a comma, arguments
  redstart cli --ldb --eval script.lua key , argument
                                            debug it step by step
  redstart cli < commands.txt               a command a line
  redstart cli --json hgetall key           the reply for a program
  redstart cli -c -p 7000 get key           follow the redirections of a cluster
  redstart cli --cluster check 127.0.0.1:7000
                                            check a cluster; --cluster help lists what else can be done";

/// Where an argument read from standard input goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromInput {
    /// It is appended as the last argument.
    Last,
    /// It replaces the argument equal to this word.
    Tag(Vec<u8>),
}

/// The parsed options.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, with the initial protocol.
    pub target: Target,
    /// Whether RESP3 was not requested explicitly: if the server rejects it, RESP2 is used.
    pub may_fall_back: bool,
    /// The output format of replies.
    pub style: Style,
    /// How often to send the command; negative means forever.
    pub repeat: i64,
    /// The pause between two repetitions.
    pub interval: Duration,
    /// Whether push messages are printed.
    pub show_pushes: bool,
    /// Whether an error reply makes the exit status 1.
    pub fail_on_error: bool,
    /// Whether error replies go to standard error, as plain text.
    pub errors_apart: bool,
    /// Whether arguments are quoted as at the prompt.
    pub quoted: bool,
    /// Where to put the argument read from standard input.
    pub from_input: Option<FromInput>,
    /// A script to run; the command's words are its keys and arguments.
    pub script: Option<PathBuf>,
    /// Whether to follow the redirections of a cluster.
    pub follows: bool,
    /// How to debug that script, if requested.
    pub debugs: Option<Mode>,
    /// Whether to report changes of the connection.
    pub verbose: bool,
    /// The command; if empty, commands are read from standard input.
    pub command: Vec<Vec<u8>>,
}

/// The tool's command line.
pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, short: char, value: &'static str, help: &'static str| {
        Arg::new(name).short(short).value_name(value).help(help)
    };
    let bytes = value_parser!(OsString);
    Command::new("cli")
        .about("Talk to a server: at a prompt, or one command at a time")
        .override_usage(USAGE)
        .after_help(EXAMPLES)
        .disable_help_flag(true)
        .args_override_self(true)
        .args(target_arguments())
        .args(tls_arguments())
        .args([
            flag("askpass", "Ask for the password at the terminal, instead of -a and REDISCLI_AUTH"),
            flag("no-auth-warning", "Do not warn about a password on the command line"),
            value("repeat", 'r', "TIMES", "Send the command this many times; -1 means forever")
                .value_parser(value_parser!(i64))
                .allow_negative_numbers(true),
            value(
                "interval",
                'i',
                "SECONDS",
                "Seconds between repetitions, such as 0.1; also for the modes below",
            )
            .value_parser(seconds)
            .allow_negative_numbers(true),
            flag("resp2", "Use RESP2, even with --json").short('2').overrides_with("resp3"),
            flag("resp3", "Speak RESP3").short('3'),
            value("last-from-input", 'x', "", "Read the last argument from the standard input")
                .action(ArgAction::SetTrue),
            value("tag", 'X', "TAG", "Replace the argument TAG by standard input")
                .value_parser(bytes.clone()),
            value(
                "delimiter",
                'd',
                "TEXT",
                "Delimiter between the elements of a raw reply [default: a line end]",
            )
            .value_parser(bytes.clone()),
            value("reply-delimiter", 'D', "TEXT", "Delimiter after a raw reply [default: a line end]")
                .value_parser(bytes.clone()),
            value("redirections", 'c', "", "Follow the redirections of a cluster (MOVED and ASK)")
                .action(ArgAction::SetTrue),
            value("fail", 'e', "", "Exit with status 1 if the server returns an error")
                .action(ArgAction::SetTrue),
            flag("raw", "Print the bytes of replies unchanged [default unless the output is a terminal]")
                .overrides_with_all(["no-raw", "csv", "json", "quoted-json"]),
            flag("no-raw", "Print replies for people, even to a pipe").overrides_with_all([
                "raw",
                "csv",
                "json",
                "quoted-json",
            ]),
            flag("csv", "Print replies as CSV").overrides_with_all(["json", "quoted-json"]),
            flag("json", "Print replies as JSON; uses RESP3 if the server supports it")
                .overrides_with("quoted-json"),
            flag("quoted-json", "The same in ASCII, with other bytes as \\xHH"),
            flag("quoted-input", "Unquote arguments that begin with a quote"),
            Arg::new("show-pushes")
                .long("show-pushes")
                .value_name("YES|NO")
                .help("Print RESP3 push messages [default: if the output is a terminal]"),
            Arg::new("eval")
                .long("eval")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Run the script in FILE; the arguments are its keys, a comma, and its arguments"),
            flag("ldb", "Debug the script of --eval step by step; its writes are discarded"),
            flag("ldb-sync-mode", "Like --ldb, but its writes are kept, and other clients have to wait"),
            flag("verbose", "Report changes of the connection"),
        ])
        .args(modes::arguments())
        .args(cluster::options::arguments())
        .args([
            Arg::new("help").long("help").short('?').action(ArgAction::Help).help("Print this help"),
            flag("version", "Print the version"),
            Arg::new("command").num_args(0..).trailing_var_arg(true).value_parser(bytes).hide(true),
        ])
}

/// Whether the arguments end with a `-h` without a host, which in redis-cli requests help.
pub fn asks_for_help(call: &Call) -> bool {
    let lenient = || command().no_binary_name(true).mut_arg("host", |host| host.num_args(0..=1));
    call.arguments.last().is_some_and(|last| last == "-h")
        && lenient().try_get_matches_from(&call.arguments).is_ok_and(|matches| {
            matches.value_source("host").is_some() && matches.get_one::<String>("host").is_none()
        })
}

/// A pause in seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds".to_string())?;
    Duration::try_from_secs_f64(number).map_err(|_| "not a pause that can be waited for".to_string())
}

impl Options {
    /// Returns the options that the arguments and the environment specify. May prompt for a password on the terminal.
    pub fn from_matches(matches: &ArgMatches) -> Result<Options, String> {
        let bytes = |name: &str| matches.get_one::<OsString>(name).map(|text| text.as_bytes().to_vec());
        if matches.get_flag("last-from-input") && matches.contains_id("tag") {
            return Err("Options -x and -X are mutually exclusive.".to_string());
        }
        let mut target = Target::from_matches(matches)?;
        if matches.get_flag("redirections") && matches.contains_id("socket") {
            return Err("Options -c and -s are mutually exclusive.".to_string());
        }
        if matches.get_flag("askpass") {
            target.password =
                Some(terminal::read_password("Please input password: ").map_err(|e| e.to_string())?);
        } else if !matches.get_flag("no-auth-warning") && names_password(matches)? {
            tell(PASSWORD_WARNING);
        }
        let format = format(matches);
        let by_name = matches.get_flag("resp3");
        let is_json = matches!(format, Format::Json | Format::QuotedJson);
        if by_name || (is_json && !matches.get_flag("resp2")) {
            target.protocol = Protocol::Resp3;
        }
        let mut style = Style::new(format);
        if let Some(delimiter) = bytes("delimiter") {
            style.between_elements = delimiter;
        }
        if let Some(delimiter) = bytes("reply-delimiter") {
            style.after_reply = delimiter;
        }
        let quoted = matches.get_flag("quoted-input");
        let words = matches.get_many::<OsString>("command").unwrap_or_default();
        let words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
        Ok(Options {
            target,
            may_fall_back: !by_name,
            style,
            repeat: matches.get_one("repeat").copied().unwrap_or(1),
            interval: matches.get_one("interval").copied().unwrap_or_default(),
            show_pushes: shows_pushes(matches),
            fail_on_error: matches.get_flag("fail"),
            errors_apart: false,
            quoted,
            from_input: if matches.get_flag("last-from-input") {
                Some(FromInput::Last)
            } else {
                bytes("tag").map(FromInput::Tag)
            },
            script: matches.get_one("eval").cloned(),
            follows: matches.get_flag("redirections"),
            debugs: if matches.get_flag("ldb-sync-mode") {
                Some(Mode::Sync)
            } else {
                matches.get_flag("ldb").then_some(Mode::Forked)
            },
            verbose: matches.get_flag("verbose"),
            command: if quoted { unquoted(words)? } else { words },
        })
    }
}

const PASSWORD_WARNING: &str =
    "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.";

/// Whether a password is among the arguments, where other users of the machine can see it.
fn names_password(matches: &ArgMatches) -> Result<bool, String> {
    let url = matches.get_one::<String>("url").map(|url| Target::from_url(url)).transpose()?;
    Ok(matches.contains_id("password") || url.is_some_and(|target| target.password.is_some()))
}

fn format(matches: &ArgMatches) -> Format {
    let named = [
        ("raw", Format::Raw),
        ("no-raw", Format::Standard),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("quoted-json", Format::QuotedJson),
    ];
    match named.iter().find(|(name, _)| matches.get_flag(name)) {
        Some((_, format)) => *format,
        // For programs that expect the output of a terminal.
        None if stdout().is_terminal() || std::env::var_os("FAKETTY").is_some() => Format::Standard,
        None => Format::Raw,
    }
}

fn shows_pushes(matches: &ArgMatches) -> bool {
    match matches.get_one::<String>("show-pushes").map(String::as_bytes) {
        Some([b'y' | b'Y', ..]) => true,
        Some([b'n' | b'N', ..]) => false,
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            tell(format_args!("Unknown --show-pushes value '{other}' (valid: '[y]es', '[n]o')"));
            stdout().is_terminal()
        }
        None => stdout().is_terminal(),
    }
}

/// Unquotes the words that begin with a quote.
fn unquoted(arguments: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, String> {
    let unquote = |word: Vec<u8>| match word.first() {
        Some(b'"' | b'\'') => match words::split(&word).as_deref() {
            Ok([one]) => Ok(one.clone()),
            _ => Err("Invalid quoted string".to_string()),
        },
        _ => Ok(word),
    };
    arguments.into_iter().map(unquote).collect()
}
