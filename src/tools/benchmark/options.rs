//! The command line: redis-benchmark's options and our own.

use std::io::Read;
use std::path::PathBuf;

use clap::builder::{RangedI64ValueParser, RangedU64ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::schedule::Pace;
use super::suite::{Test, custom, selected};
use super::template::{LARGEST_RANGE, data};
use crate::resp::Protocol;
use crate::sys::process::random_bytes;
use crate::tools::client::{Address, Target, target_arguments, tls_arguments};
use crate::tools::console::tell;

/// The default number of requests per test.
const REQUESTS: u64 = 100_000;
/// The default number of rounds of a comparison.
const COMPARED_ROUNDS: u64 = 3;
/// The maximum size of a value.
const LARGEST_SIZE: i64 = 1 << 30;
/// The default number of decimals of a millisecond: the clock's resolution.
const DIGITS: i64 = 3;

const EXAMPLES: &str = "\
Examples:
  redstart benchmark                             all tests, against 127.0.0.1:6379
  redstart benchmark -t set,get -n 1000000 -P 16 -r 100000 -q
                                                 two tests with pipelines of 16 and random keys
  redstart benchmark -r 10000 lpush mylist __rand_int__
                                                 a command of one's own
  redstart benchmark -t get --rate 50000 --duration 30 --html report.html
                                                 latency at 50,000 requests a second, as a page
  redstart benchmark -t set,get --compare 127.0.0.1:6380 --rounds 5
                                                 two servers in turn, with ratios

In a command, __rand_int__ becomes twelve random digits below what -r gives, and __data__ a value of -d bytes.";

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Percentiles, distribution and summary per test.
    Full,
    /// One line per test.
    Quiet,
    /// One line of comma-separated values per test.
    Csv,
    /// One document at the end.
    Json,
}

/// The options of a benchmark.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, and the servers to compare it with.
    pub targets: Vec<Target>,
    /// The tests to run.
    pub tests: Vec<Test>,
    /// The number of connections.
    pub clients: usize,
    /// The number of requests per test; `None` if only the duration ends a test.
    pub requests: Option<u64>,
    /// The duration of each test in seconds.
    pub duration: Option<f64>,
    /// The size of a value in bytes.
    pub size: usize,
    /// The upper bound of random numbers, exclusive.
    pub range: Option<u64>,
    /// The number of requests that a connection sends at once.
    pub pipeline: usize,
    /// The number of threads, if `--threads` was given.
    pub threads: Option<usize>,
    /// Whether connections are kept open.
    pub keeps_alive: bool,
    /// Whether `CLIENT TRACKING on` is sent first.
    pub tracks: bool,
    /// The rate of an open loop.
    pub pace: Option<Pace>,
    /// The number of runs of each test.
    pub rounds: usize,
    /// The seed of random numbers.
    pub seed: u64,
    /// Whether an error of the server ends the benchmark.
    pub stops_at_error: bool,
    /// Whether the tests repeat forever.
    pub repeats: bool,
    /// Whether to open connections and leave them idle.
    pub idles: bool,
    /// The output format.
    pub format: Format,
    /// The number of decimals of a millisecond.
    pub precision: usize,
    /// The file for the report as a page.
    pub html: Option<PathBuf>,
}

/// An option that clamps numbers out of range, as scripts expect.
fn clamped(name: &'static str, short: char, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .short(short)
        .value_name(value)
        .value_parser(integer())
        .allow_negative_numbers(true)
        .help(help)
}

fn integer() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new()
}

fn number(name: &'static str, short: char, value: &'static str, from: u64, help: &'static str) -> Arg {
    let parser = RangedU64ValueParser::<u64>::new().range(from..);
    Arg::new(name).short(short).value_name(value).value_parser(parser).help(help)
}

fn long(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn flag(name: &'static str, short: char, help: &'static str) -> Arg {
    Arg::new(name).short(short).action(ArgAction::SetTrue).help(help)
}

fn positive(from: u64) -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(from..)
}

fn seconds_or_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err("expected a number above 0 and at most a billion".to_string()),
    }
}

/// Builds the command line for clap.
pub fn command() -> Command {
    let target = target_arguments().map(|argument| match argument.get_id().as_str() {
        // -n is the number of requests here.
        "database" => argument.short(None).long("dbnum"),
        _ => argument,
    });
    Command::new("benchmark")
        .about("Measure a Redis-compatible server: throughput and latency of its commands")
        .after_help(EXAMPLES)
        .disable_help_flag(true)
        .args_override_self(true)
        .args(target)
        .args(tls_arguments())
        .args(load_arguments())
        .args(output_arguments())
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(0..)
                .trailing_var_arg(true)
                .value_parser(value_parser!(std::ffi::OsString))
                .help("A command and its arguments, instead of the tests"),
        )
}

fn load_arguments() -> [Arg; 19] {
    [
        clamped("clients", 'c', "CLIENTS", "Connections [default: 50]"),
        number("requests", 'n', "REQUESTS", 1, "Requests of each test [default: 100000]"),
        long("duration", "Send for this many seconds instead of a number of requests")
            .value_name("SECONDS")
            .value_parser(seconds_or_rate),
        clamped("size", 'd', "BYTES", "Size of values [default: 3]"),
        clamped("range", 'r', "KEYS", "Random numbers from 0 to KEYS - 1 for keys, members and __rand_int__")
            .value_parser(integer().range(..=LARGEST_RANGE as i64)),
        clamped("pipeline", 'P', "REQUESTS", "Send this many requests before reading their replies [default: 1]"),
        Arg::new("tests").short('t').value_name("TESTS").help("Run only these tests (comma-separated)"),
        clamped("keep-alive", 'k', "0|1", "1 keeps connections, 0 makes a new one for each batch [default: 1]"),
        long("threads", "Number of threads").value_name("THREADS").value_parser(integer()).allow_negative_numbers(true),
        long("rate", "Open loop: this many requests per second, however slow the server; latency counts from each request's due time")
            .value_name("REQUESTS")
            .value_parser(seconds_or_rate),
        long("poisson", "Open loop at random distances, as from independent users, instead of even ones")
            .action(ArgAction::SetTrue)
            .requires("rate"),
        long("rounds", "Run each test this many times and show the median [default: 1, or 3 with --compare]")
            .value_name("ROUNDS")
            .value_parser(positive(1)),
        long("compare", "Run each test against this server, too, in turn; may be repeated")
            .value_name("HOST:PORT")
            .action(ArgAction::Append),
        long("seed", "Seed of random numbers: the same seed gives the same requests")
            .value_name("SEED")
            .value_parser(value_parser!(u64)),
        flag("resp3", '3', "Speak RESP3"),
        long("enable-tracking", "Send CLIENT TRACKING on first").action(ArgAction::SetTrue),
        flag("stdin", 'x', "Read the last argument of the command from the standard input"),
        flag("idle", 'I', "Open the connections and leave them alone until Ctrl-C"),
        long("cluster", "").action(ArgAction::SetTrue).hide(true),
    ]
}

fn output_arguments() -> [Arg; 9] {
    [
        flag("quiet", 'q', "Print a line for each test"),
        long("csv", "Print comma-separated values").action(ArgAction::SetTrue),
        long("json", "Print one JSON document at the end").action(ArgAction::SetTrue).conflicts_with("csv"),
        long("html", "Write the report as a page").value_name("FILE").value_parser(value_parser!(PathBuf)),
        long("precision", "Decimals of milliseconds [default: 3]")
            .value_name("DIGITS")
            .value_parser(integer())
            .allow_negative_numbers(true),
        flag("loop", 'l', "Repeat the tests until Ctrl-C"),
        flag("stop-at-error", 'e', "Stop at the server's first error instead of counting errors"),
        long("help", "Print this help").action(ArgAction::Help),
        long("version", "Print the version").short('v').action(ArgAction::SetTrue),
    ]
}

impl Options {
    /// Parses the options of a command line. The error describes the invalid option.
    pub fn from_matches(matches: &ArgMatches) -> Result<Options, String> {
        if matches.get_flag("cluster") {
            return Err("Cluster mode is not supported by this build".into());
        }
        let count = |name: &str| matches.get_one::<u64>(name).copied();
        let real = |name: &str| matches.get_one::<f64>(name).copied();
        let targets = targets(matches)?;
        let seed = count("seed").unwrap_or_else(random_seed);
        let within = |name: &str, least: i64, most: i64| {
            matches.get_one::<i64>(name).map(|number| (*number).clamp(least, most) as usize)
        };
        let size = within("size", 1, LARGEST_SIZE).unwrap_or(3);
        let range = within("range", 0, i64::MAX).map(|range| range as u64);
        let clients = within("clients", 1, i64::MAX).unwrap_or(50);
        // As in redis-benchmark, 0 threads are the same as without the option.
        let threads = within("threads", 0, i64::MAX).filter(|threads| *threads > 0);
        let threads = threads.map(|threads| threads.min(clients));
        let precision = matches.get_one::<i64>("precision").map_or(DIGITS, |digits| match *digits {
            digits @ 0..=DIGITS => digits,
            _ => DIGITS,
        });
        let pace = real("rate").map(|rate| Pace { rate, is_poisson: matches.get_flag("poisson") });
        let duration = real("duration");
        let rounds = count("rounds").unwrap_or(if targets.len() > 1 { COMPARED_ROUNDS } else { 1 });
        Ok(Options {
            tests: tests(matches, &data(size, seed), range.is_some())?,
            requests: requests(count("requests"), duration, pace),
            pipeline: within("pipeline", 1, i64::MAX).unwrap_or(1),
            keeps_alive: matches.get_one::<i64>("keep-alive") != Some(&0),
            tracks: matches.get_flag("enable-tracking"),
            stops_at_error: matches.get_flag("stop-at-error"),
            repeats: matches.get_flag("loop"),
            idles: matches.get_flag("idle"),
            format: format(matches),
            precision: precision as usize,
            html: matches.get_one::<PathBuf>("html").cloned(),
            rounds: rounds as usize,
            targets,
            clients,
            duration,
            size,
            range,
            threads,
            pace,
            seed,
        })
    }
}

fn format(matches: &ArgMatches) -> Format {
    let given = |name: &str| matches.get_flag(name);
    match (given("csv"), given("json"), given("quiet")) {
        (true, _, _) => Format::Csv,
        (_, true, _) => Format::Json,
        (_, _, true) => Format::Quiet,
        _ => Format::Full,
    }
}

/// With a duration but no number of requests, requests are unlimited; at even distances, their number is what fits.
fn requests(given: Option<u64>, duration: Option<f64>, pace: Option<Pace>) -> Option<u64> {
    let fitting = match (duration, pace) {
        (Some(duration), Some(pace)) if !pace.is_poisson => {
            Some((pace.rate * duration).round().max(1.0) as u64)
        }
        _ => None,
    };
    match (given, fitting) {
        (Some(given), Some(fitting)) => Some(given.min(fitting)),
        (None, None) if duration.is_none() => Some(REQUESTS),
        _ => given.or(fitting),
    }
}

fn random_seed() -> u64 {
    let mut bytes = [0; 4];
    random_bytes(&mut bytes);
    u64::from(u32::from_ne_bytes(bytes))
}

fn targets(matches: &ArgMatches) -> Result<Vec<Target>, String> {
    let mut first = Target::from_matches(matches)?;
    if matches.get_flag("resp3") {
        first.protocol = Protocol::Resp3;
    }
    let mut targets = vec![first.clone()];
    for place in matches.get_many::<String>("compare").unwrap_or_default() {
        let url = match place.contains("://") {
            true => place.clone(),
            false if place.starts_with('/') => format!("unix://{place}"),
            false => format!("redis://{place}"),
        };
        let other = Target::from_url(&url)?;
        targets.push(Target {
            user: other.user.or(first.user.clone()),
            password: other.password.or(first.password.clone()),
            database: if other.database == 0 { first.database } else { other.database },
            protocol: first.protocol,
            address: other.address,
            wants_tls: other.wants_tls,
            tls: match place.contains("://") {
                true if other.wants_tls && first.tls.is_none() => {
                    return Err(format!("{place}: to compare with a server by rediss://, use --tls as well"));
                }
                true if !other.wants_tls => None,
                _ => first.tls.clone(),
            },
        });
    }
    Ok(targets)
}

fn tests(matches: &ArgMatches, data: &[u8], has_range: bool) -> Result<Vec<Test>, String> {
    use std::os::unix::ffi::OsStrExt;
    let words = matches.get_many::<std::ffi::OsString>("command").unwrap_or_default();
    let mut words: Vec<Vec<u8>> = words.map(|word| word.as_bytes().to_vec()).collect();
    if words.is_empty() {
        let names = matches
            .get_one::<String>("tests")
            .map(|names| names.split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>());
        return selected(names.as_deref(), data, has_range);
    }
    if matches.contains_id("tests") {
        tell("WARNING: Option -t is ignored.");
    }
    let mut test = custom(&words, data);
    if matches.get_flag("stdin") {
        let mut input = Vec::new();
        std::io::stdin()
            .read_to_end(&mut input)
            .map_err(|error| format!("Cannot read standard input: {error}"))?;
        words.push(input);
        test.template = custom(&words, data).template;
    }
    Ok(vec![test])
}

impl Options {
    /// Returns the name of a server in the output.
    pub fn name(&self, subject: usize) -> String {
        match &self.targets[subject].address {
            Address::Unix(path) => path.display().to_string(),
            address @ Address::Tcp(..) => address.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        let words = std::iter::once(&"benchmark").chain(words);
        Options::from_matches(&command().try_get_matches_from(words).unwrap()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_redis_benchmark() {
        let options = options(&[]);
        assert_eq!(
            (options.clients, options.requests, options.size, options.pipeline),
            (50, Some(100_000), 3, 1)
        );
        assert_eq!((options.range, options.threads, options.rounds), (None, None, 1));
        assert_eq!(options.name(0), "127.0.0.1:6379");
        assert!(options.keeps_alive && !options.stops_at_error && options.format == Format::Full);
    }

    #[test]
    fn a_command_begins_with_the_first_word_and_keeps_its_own_dashes() {
        let options = options(&["-r", "7", "-n", "5", "lpush", "list", "-1", "-n", "8"]);
        assert_eq!(options.tests.len(), 1);
        assert_eq!(options.tests[0].title, "lpush list -1 -n 8");
        assert_eq!((options.requests, options.range), (Some(5), Some(7)));
    }

    #[test]
    fn the_number_of_requests_follows_from_the_time_and_the_rate() {
        assert_eq!(options(&["--duration", "2"]).requests, None);
        assert_eq!(options(&["--duration", "2", "-n", "9"]).requests, Some(9));
        assert_eq!(options(&["--duration", "0.5", "--rate", "2000"]).requests, Some(1000));
        assert_eq!(options(&["--duration", "0.5", "--rate", "2000", "-n", "7"]).requests, Some(7));
        assert_eq!(options(&["--duration", "0.5", "--rate", "2000", "--poisson"]).requests, None);
        assert_eq!(options(&["--rate", "2000"]).requests, Some(100_000));
    }

    #[test]
    fn servers_to_compare_with_take_over_what_they_do_not_say() {
        let options = options(&[
            "-a",
            "secret",
            "--dbnum",
            "2",
            "-3",
            "--compare",
            "other:7000",
            "--compare",
            "/run/redis.sock",
            "--compare",
            "redis://u:p@third/5",
        ]);
        let names: Vec<String> = (0..4).map(|subject| options.name(subject)).collect();
        assert_eq!(names, ["127.0.0.1:6379", "other:7000", "/run/redis.sock", "third:6379"]);
        let databases: Vec<u32> = options.targets.iter().map(|target| target.database).collect();
        assert_eq!(databases, [2, 2, 2, 5]);
        assert_eq!(options.targets[1].password.as_deref(), Some("secret"));
        assert_eq!(options.targets[3].password.as_deref(), Some("p"));
        assert!(options.targets.iter().all(|target| target.protocol == Protocol::Resp3));
        assert_eq!(options.rounds, 3);
    }

    #[test]
    fn numbers_out_of_range_are_taken_for_the_nearest() {
        for number in ["0", "-5"] {
            let options =
                options(&["-c", number, "-d", number, "-P", number, "-r", number, "--threads", number]);
            assert_eq!((options.clients, options.size, options.pipeline), (1, 1, 1));
            assert_eq!((options.range, options.threads), (Some(0), None));
        }
        let digits = |number: &str| options(&["--precision", number]).precision;
        assert_eq!(["0", "2", "9", "-1"].map(digits), [0, 2, 3, 3]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |words: &[&str]| {
            let words = std::iter::once(&"benchmark").chain(words);
            command()
                .try_get_matches_from(words)
                .map_err(|error| error.to_string())
                .and_then(|matches| Options::from_matches(&matches).map(|_| String::new()))
                .is_err()
        };
        for words in [
            &["-n", "x"][..],
            &["-n", "0"],
            &["-c", "x"],
            &["-t", ""],
            &["--json", "--csv"],
            &["--rate", "0"],
            &["--poisson"],
            &["-t", "nosuch"],
            &["--tls", "--cert", "none.crt"],
            &["--cluster"],
            &["--nosuch"],
            &["-r", "1000000000001"],
            &["--compare", "host:port"],
        ] {
            assert!(refused(words), "{words:?}");
        }
    }
}
