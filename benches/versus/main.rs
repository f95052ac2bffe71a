//! Redstart beside other servers: CPU time per request, bytes per element, tail latencies.
//!
//! Everything is measured from outside, and alternately within one run, so that the ratios hold even if the absolute
//! figures drift. See `workloads.rs` for the method; a full run writes `docs/benchmarks.md`.
//!
//! ```text
//!   core 0: the server being measured        core 1: this program, redis-benchmark or the open-loop generator
//! ```
//!
//! `cargo bench --bench versus` runs everything (about half an hour); `-- --help` lists options for shorter runs. The
//! servers: the `redstart` that cargo has built, or `REDSTART_BIN`; `redis-server` from `PATH`, or `REDIS_BIN`; others
//! with `--peer`. Limits: Linux, two cores, `redis-benchmark` in `PATH`.
//!
//! The unit tests of the computations are in the same files; `cargo test --test versus` runs them. (Cargo sets
//! `cfg(test)` here too, where no harness uses the tests: hence their `allow(unused)`.)

mod bare;
mod chart;
mod client;
mod cluster;
mod collections;
mod expiry;
mod fork;
mod fragmentation;
mod generator;
mod keyspace;
mod links;
mod listeners;
mod load;
mod memory;
mod persistence;
mod pressure;
mod relay;
mod replication;
mod report;
mod saves;
mod scripts;
mod servers;
mod stalls;
mod stats;
mod system;
mod tails;
mod threads;
mod watch;
mod workloads;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use report::Report;
use servers::Spec;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use system::Cores;

/// An error ends the run with its text.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A function that measures its rows and adds them to the report.
type Section = fn(&Bench, &mut Report) -> Result<()>;

/// Sizes of the run.
struct Scale {
    /// Visits to each server.
    rounds: usize,
    /// Requests of one visit at pipeline 16; a tenth of that at pipeline 1.
    requests: usize,
    /// The key space at pipeline 1.
    keys_alone: usize,
    /// The key space at pipeline 16.
    keys_piped: usize,
    /// Elements of a memory row.
    elements: usize,
    /// Connections of the idle row.
    idle_connections: usize,
    /// Connections of the tail load.
    tail_clients: usize,
    /// Visits to each server for tails.
    tail_rounds: usize,
    /// The duration of each phase of tails that counts.
    tail_length: Duration,
    /// GETs per second for tails.
    rate: u64,
    /// Millions of keys up to which a table grows; 0 skips the scenario.
    grow_millions: usize,
    /// Keys of a server that forks.
    fork_keys: usize,
    /// Keys of a server whose memory becomes fragmented.
    fragmented_keys: usize,
    /// Keys of a server that saves and loads.
    stored_keys: usize,
    /// Keys that move from one node to another.
    moved_keys: usize,
    /// The divisor of the sizes of the large commands whose stalls are measured.
    stall_divisor: usize,
}

/// The measurements to make, and the servers for them.
struct Bench {
    scale: Scale,
    cores: Cores,
    /// Redstart, Redis, others.
    specs: Vec<Spec>,
    only: Vec<String>,
}

impl Bench {
    /// Whether to measure a row: all, or those whose names contain one of the `--only` words.
    fn chosen(&self, section: &str, name: &str) -> bool {
        let name = format!("{section}: {name}").to_lowercase();
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word))
    }

    /// Measures a row on each server that accepts Redis's directives, in turn, in as many rounds as the tails have.
    /// Returns the samples of each server.
    fn in_turn<S>(
        &self,
        section: &str,
        name: &str,
        measure: impl Fn(&Spec) -> Result<S>,
    ) -> Result<Vec<Vec<S>>> {
        let mut samples: Vec<Vec<S>> = self.specs.iter().map(|_| Vec::new()).collect();
        for round in 0..self.scale.tail_rounds {
            for turn in 0..self.specs.len() {
                let index = (round + turn) % self.specs.len();
                let spec = &self.specs[index];
                if spec.is_directed() {
                    say(&format!("{section}: {name}, {}", spec.name));
                    samples[index].push(measure(spec)?);
                }
            }
        }
        Ok(samples)
    }
}

/// Reports progress on stderr.
fn say(what: &str) {
    eprintln!("versus: {what}");
}

fn command() -> Command {
    let count = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(usize)).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("versus")
        .about("Measures Redstart beside redis-server and other servers")
        .after_help(
            "Without --cpu, --memory, --tails, --persistence, --listeners, --scripts, --fork, --fragmentation, --keyspace, --pressure, --expiry, --stalls, --replication, --cluster or --threads all but the last nine run. A full run writes docs/benchmarks.md and .svg; \
             a partial one writes files only with --markdown or --svg.",
        )
        .arg(flag("cpu", "CPU time a request"))
        .arg(flag("memory", "bytes an element and a connection"))
        .arg(flag("tails", "latencies beside large operations"))
        .arg(flag("persistence", "saving, loading, the cost of the AOF, and latencies while a child writes"))
        .arg(flag(listeners::SECTION, "transactions, messages, notifications and tracked keys"))
        .arg(flag(scripts::SECTION, "scripts and functions that call commands"))
        .arg(flag(pressure::SECTION, "SETs while keys are evicted; runs only with this option"))
        .arg(flag(expiry::SECTION, "latencies while a million keys expire, then five; runs only with this option"))
        .arg(flag(stalls::SECTION, "the longest PING of another client during single large commands; runs only with this option"))
        .arg(flag(replication::SECTION, "full synchronizations, the stream on a primary and a replica, acknowledged SETs, latencies and memory; runs only with this option"))
        .arg(flag(cluster::SECTION, "requests, memory and moving slots in cluster mode; runs only with this option"))
        .arg(flag(threads::SECTION, "CPU time by thread with one thread and with two, throughput, and what idle threads use; runs only with this option"))
        .arg(flag("fork", "pause of a fork, and copies while its child runs; runs only with this option"))
        .arg(flag(keyspace::SECTION, "pauses while many keys and large collections are created and deleted; runs only with this option"))
        .arg(flag(fragmentation::SECTION, "memory after scattered deletions, and active defragmentation; runs only with this option"))
        .arg(flag("short", "three rounds of fewer requests and keys: figures that repeat less well"))
        .arg(flag("quick", "few requests: a test, not a measurement").conflicts_with("short"))
        .arg(text("only", "NAME", "only rows with NAME in 'SECTION: NAME'; repeat for more").action(ArgAction::Append))
        .arg(text("peer", "NAME=PROGRAM", "another server, with more of Redis's directives or, with '{port}', complete arguments").action(ArgAction::Append))
        .arg(count("rounds", "visits to each server"))
        .arg(count("requests", "requests of a visit at pipeline 16, ten times the number at pipeline 1"))
        .arg(count("elements", "elements of a memory row"))
        .arg(count("connections", "connections of the idle row"))
        .arg(count("rate", "GETs a second for tails"))
        .arg(count("seconds", "length of each phase of tails"))
        .arg(count("keys", "keys of a server that forks, saves and loads, synchronizes a replica, becomes fragmented, or moves slots, or of a large keyspace"))
        .arg(count("grow", "also tails while a table grows to N million keys"))
        .arg(text("markdown", "FILE", "the file for the page"))
        .arg(text("svg", "FILE", "the file for the chart"))
        .arg(flag("bench", "passed by cargo").hide(true))
}

impl Scale {
    fn new(matches: &ArgMatches) -> Self {
        let (quick, short) = (matches.get_flag("quick"), matches.get_flag("short"));
        let pick = |[full, few, fewest]: [usize; 3]| match (quick, short) {
            (true, _) => fewest,
            (_, true) => few,
            _ => full,
        };
        let size = |name: &str, sizes| matches.get_one(name).copied().unwrap_or(pick(sizes)).max(1);
        let rounds = size("rounds", [5, 3, 1]);
        Self {
            rounds,
            requests: size("requests", [2_000_000, 500_000, 40_000]),
            keys_alone: pick([100_000, 100_000, 10_000]),
            keys_piped: pick([1_000_000, 250_000, 10_000]),
            elements: size("elements", [1_000_000, 250_000, 50_000]),
            idle_connections: size("connections", [10_000, 10_000, 500]),
            tail_clients: pick([256, 256, 32]),
            tail_rounds: rounds.min(3),
            tail_length: Duration::from_secs(size("seconds", [10, 5, 1]) as u64),
            rate: size("rate", [100_000, 100_000, 10_000]) as u64,
            grow_millions: matches.get_one("grow").copied().unwrap_or(0),
            fork_keys: size("keys", [10_000_000, 1_000_000, 100_000]),
            fragmented_keys: size("keys", [1_000_000, 250_000, 50_000]),
            stored_keys: size("keys", [2_000_000, 1_000_000, 50_000]),
            moved_keys: size("keys", [200_000, 100_000, 5_000]),
            stall_divisor: pick([1, 4, 50]),
        }
    }
}

fn specs(matches: &ArgMatches) -> Result<Vec<Spec>> {
    let program = |variable: &str, otherwise: &str| std::env::var(variable).unwrap_or(otherwise.into());
    let mut specs = vec![
        Spec::directed(servers::OWN, &program("REDSTART_BIN", env!("CARGO_BIN_EXE_redstart")))?,
        Spec::directed("redis-server", &program("REDIS_BIN", "redis-server"))
            .map_err(|error| format!("{error}; on Debian: apt-get install redis-server redis-tools"))?,
    ];
    for peer in matches.get_many::<String>("peer").unwrap_or_default() {
        specs.push(Spec::peer(peer)?);
    }
    Ok(specs)
}

/// Processor, kernel and memory, for the page.
fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let cpuinfo = read("/proc/cpuinfo");
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let model = field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.trim_end_matches("kB").trim().parse().ok())
        .unwrap_or(0);
    vec![
        format!("{model}, {cores} cores, {} GB of memory", memory.div_ceil(1024 * 1024)),
        format!(
            "Linux {}, TCP congestion control {}",
            read("/proc/sys/kernel/osrelease").trim(),
            read("/proc/sys/net/ipv4/tcp_congestion_control").trim()
        ),
    ]
}

fn empty_report(bench: &Bench, arguments: &[String]) -> Result<Report> {
    let mut report = Report { machine: machine(), ..Report::default() };
    report.subjects =
        std::iter::once("bare loop".into()).chain(bench.specs.iter().map(|s| s.name.clone())).collect();
    for spec in &bench.specs {
        let server = spec.start(bench.cores.server, &[])?;
        report.versions.push(format!("{}: {}", spec.name, server.version()?));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    report.date = stats::date(now.as_secs());
    report.command = "cargo bench --bench versus".into();
    let own: Vec<&str> = arguments.iter().map(String::as_str).filter(|&word| word != "--bench").collect();
    if !own.is_empty() {
        report.command = format!("{} -- {}", report.command, own.join(" "));
    }
    Ok(report)
}

/// The files to write: those given on the command line, and for a full run those of the repository.
fn outputs(matches: &ArgMatches, full: bool) -> (Option<PathBuf>, Option<PathBuf>) {
    let path = |option: &str, default: &str| {
        let named = matches.get_one::<String>(option).map(PathBuf::from);
        named.or_else(|| full.then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(default)))
    };
    (path("markdown", "docs/benchmarks.md"), path("svg", "docs/benchmarks.svg"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// The page's link to the chart: its name if both are in one directory, otherwise its path.
fn link(markdown: &Path, svg: &Path) -> String {
    let name = svg.file_name().filter(|_| markdown.parent() == svg.parent());
    name.map_or(svg.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn run(arguments: &[String]) -> Result<()> {
    let matches =
        command().get_matches_from(std::iter::once("versus").chain(arguments.iter().map(String::as_str)));
    let cores =
        Cores::pick()?.ok_or("the benchmark needs two cores: one for the server, one for the load")?;
    system::kill_children_on_signals();
    system::pin(cores.load)?;
    let only =
        matches.get_many::<String>("only").unwrap_or_default().map(|word| word.to_lowercase()).collect();
    let bench = Bench { scale: Scale::new(&matches), cores, specs: specs(&matches)?, only };
    let mut report = empty_report(&bench, arguments)?;

    let sections: [(&str, Section); 7] = [
        ("cpu", workloads::run),
        ("cpu", collections::run),
        (listeners::SECTION, listeners::run),
        (scripts::SECTION, scripts::run),
        ("memory", memory::run),
        ("tails", tails::run),
        (persistence::SECTION, persistence::run),
    ];
    let extra: [(&str, Section); 9] = [
        ("fork", fork::run),
        (fragmentation::SECTION, fragmentation::run),
        (keyspace::SECTION, keyspace::run),
        (pressure::SECTION, pressure::run),
        (expiry::SECTION, expiry::run),
        (stalls::SECTION, stalls::run),
        (replication::SECTION, replication::run),
        (cluster::SECTION, cluster::run),
        (threads::SECTION, threads::run),
    ];
    let all = !sections.iter().chain(&extra).any(|(name, _)| matches.get_flag(name));
    for (name, measure) in sections {
        if all || matches.get_flag(name) {
            measure(&bench, &mut report)?;
        }
    }
    for (name, measure) in extra {
        if matches.get_flag(name) {
            measure(&bench, &mut report)?;
        }
    }
    if matches.get_flag("quick") {
        report.notes.push("A quick run, which tests the benchmark; its figures mean little.".into());
    }
    if report.rows.is_empty() {
        return Err("no row has such a name".into());
    }
    println!("{}", report.terminal());
    if matches.get_flag("short") {
        report.notes.push("A short run, of fewer rounds, requests and keys.".into());
    }
    let is_whole = !matches.get_flag("quick") && !matches.get_flag("short");
    let full = all && bench.only.is_empty() && is_whole;
    let (markdown, svg) = outputs(&matches, full);
    if let Some(svg) = &svg {
        write(svg, &report.svg())?;
    }
    if let Some(markdown) = &markdown {
        let chart = svg.as_ref().map(|svg| link(markdown, svg));
        write(markdown, &report.markdown(chart.as_deref()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        [first, port, reply] if first == bare::ARGUMENT => bare::run(port, reply),
        // `cargo test --all-targets` starts it without arguments, and must not run for half an hour.
        [] => {
            println!("nothing measured without arguments: cargo bench --bench versus [-- --help]");
            Ok(())
        }
        _ => run(&arguments),
    };
    if let Err(error) = result {
        eprintln!("versus: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_quick_run_is_small_and_single_sizes_can_still_be_given() {
        let matches =
            command().get_matches_from(["versus", "--bench", "--quick", "--rounds", "4", "--rate", "0"]);
        let scale = Scale::new(&matches);
        assert_eq!((scale.rounds, scale.tail_rounds, scale.requests, scale.rate), (4, 3, 40_000, 1));
    }

    #[test]
    fn a_short_run_is_between_a_quick_and_a_full_one() {
        let scale =
            |options: &[&str]| Scale::new(&command().get_matches_from([&["versus"], options].concat()));
        let [full, short, quick] = [&[][..], &["--short"], &["--quick"]].map(scale);
        let sizes = |scale: &Scale| [scale.rounds, scale.requests, scale.stored_keys];
        let smaller = |one: &Scale, other: &Scale| (0..3).all(|size| sizes(one)[size] < sizes(other)[size]);
        assert!(smaller(&quick, &short) && smaller(&short, &full));
        // The targets of tail latencies and memory are for this rate.
        assert_eq!(short.rate, full.rate);
        assert!(command().try_get_matches_from(["versus", "--short", "--quick"]).is_err());
    }

    #[test]
    fn only_a_full_run_writes_the_repositorys_page() {
        let matches = command().get_matches_from(["versus", "--svg", "x/y.svg"]);
        let (markdown, svg) = outputs(&matches, false);
        assert_eq!((markdown, svg), (None, Some(PathBuf::from("x/y.svg"))));
        assert!(outputs(&matches, true).0.unwrap().ends_with("docs/benchmarks.md"));
    }

    #[test]
    fn the_chart_is_linked_by_name_beside_its_page() {
        assert_eq!(link(Path::new("docs/a.md"), Path::new("docs/b.svg")), "b.svg");
        assert_eq!(link(Path::new("a.md"), Path::new("docs/b.svg")), "docs/b.svg");
    }
}
