//! `top`: a live view of a server's activity. It needs only INFO from the server, so it works with any that speaks the
//! protocol.
//!
//! ```text
//!  source ── INFO, SLOWLOG ─▶ sample ─▶ rates ─▶ history ┐
//!                                                        ├─▶ state ─▶ view ─▶ canvas ─▶ terminal    screen
//!  keys ─────────────────────────────────────────────────┘    └────▶ lines, json ─▶ output          plain
//! ```
//!
//! On a terminal it uses the full screen; otherwise it prints one line, or one JSON object, per interval. It sends one
//! pipeline per interval. The server may restart or be unreachable for a while.

mod canvas;
mod history;
mod json;
mod keys;
mod plain;
mod rates;
mod replication;
mod sample;
mod screen;
mod source;
mod state;
mod view;

use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::source::Source;
use self::state::State;
use super::Call;
use super::client::{Target, target_arguments, tls_arguments};
use super::console::tell;

const AFTER_HELP: &str = "On a terminal:
  q quit, space pause, - and + interval, s < > column to sort by, r reverse, l slow log, d databases, n nodes,
  h help

Examples:
  redstart top -h cache.example -p 6380      a live view
  redstart top -i 10 | tee load.txt          a line every 10 seconds
  redstart top --json --count 1              one object, of one second";

/// The amount and format of the output.
#[derive(Clone, Copy, Debug)]
struct Options {
    interval: Duration,
    /// The number of intervals after which it ends.
    count: Option<u64>,
    json: bool,
    /// Whether to use only ASCII, as the terminal or the user requires.
    ascii: bool,
    colours: bool,
}

/// The command line.
pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("top")
        .about("Show a server's activity live")
        .after_help(AFTER_HELP)
        .disable_help_flag(true)
        .args(target_arguments())
        .args(tls_arguments())
        .arg(
            Arg::new("interval")
                .short('i')
                .long("interval")
                .value_name("SECONDS")
                .value_parser(interval)
                .allow_negative_numbers(true)
                .default_value("1")
                .help("Seconds between two samples"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .allow_negative_numbers(true)
                .help("Exit after this many intervals"),
        )
        .arg(flag("once", "Print one line for one interval and exit"))
        .arg(flag("plain", "Print lines, even on a terminal"))
        .arg(flag("json", "Print one JSON object per line"))
        .arg(flag("ascii", "Draw with ASCII only, as in a locale without UTF-8"))
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print this help"))
}

/// Shows a server until the user or the count ends it. The status is a failure if the server is unreachable at the
/// start.
pub fn main(call: &Call) -> ExitCode {
    let matches = match call.matches(command()) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    match Target::from_matches(&matches).and_then(|target| run(target, &matches)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            tell(text);
            ExitCode::FAILURE
        }
    }
}

fn run(target: Target, matches: &ArgMatches) -> Result<(), String> {
    let once = matches.get_flag("once");
    let options = Options {
        interval: matches.get_one::<Duration>("interval").copied().unwrap_or(Duration::from_secs(1)),
        count: if once { Some(1) } else { matches.get_one::<u64>("count").copied() },
        json: matches.get_flag("json"),
        ascii: matches.get_flag("ascii") || !utf8_locale(),
        colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let plain = once || options.json || matches.get_flag("plain") || !has_screen();
    let mut state = State::new(target.address.to_string(), options.interval);
    let mut source = Source::new(target);
    // A server that is unreachable at the start is an error; later, it may come back.
    match source.poll(if plain { 0 } else { state.slow_wanted() }) {
        Err(failure) if !failure.busy => return Err(failure.text),
        outcome => _ = state.receive(outcome),
    }
    let outcome =
        if plain { plain::run(source, state, options) } else { screen::run(source, state, options) };
    outcome.map_err(|error| format!("Cannot write to the terminal or standard output: {error}"))
}

/// Whether there is a terminal with cursor positioning.
fn has_screen() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    stdin().is_terminal() && stdout().is_terminal() && !dumb
}

/// Whether text is in UTF-8, according to the first of the variables that is set.
fn utf8_locale() -> bool {
    let mut values = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
    let locale = values.find(|value| !value.is_empty()).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Parses seconds, with fractions.
fn interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("seconds from 0.05 to 86400, such as 0.5".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_seconds_with_fractions() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("60"), Ok(Duration::from_secs(60)));
        for text in ["", "0", "-1", "nan", "inf", "1s", "1e9"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
