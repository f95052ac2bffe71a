//! The quality of eviction: hit ratios of Redstart and Redis beside those of perfect caches.
//!
//! Generated traces (`traces.rs`) are replayed as a cache is used, GET and on a miss SET, on both servers with the same
//! `maxmemory` and policy. Simulations (`simulate/`) of exact LRU, exact LFU, W-TinyLFU and Bélády's optimum hold the
//! same number of keys as Redstart. The first half of each trace warms up, the second counts.
//!
//! ```text
//!   trace ─┬▶ Redis    24 MB ─▶ hits, keys held
//!          ├▶ Redstart 24 MB ─▶ hits, keys held ─┐
//!          └▶ simulations ◀── as many keys ──────┘
//! ```
//!
//! A second table sets each server's `maxmemory` so that both hold the same number of keys. It shows the choice of keys
//! alone, without the size of an entry.
//!
//! Requests are sent as fast as the server accepts them, unless `--rate` limits them. Both servers measure time for LRU
//! in coarse units, and decay LFU counters by the minute; at hundreds of thousands of requests a second these clocks
//! advance little, compared with a cache under less load.
//!
//! `cargo bench --bench eviction -- --help` lists options for shorter runs. The servers: the `redstart` that cargo has
//! built, or `REDSTART_BIN`; `redis-server` from `PATH`, or `REDIS_BIN`. Limits: Linux, two cores.

// The other benchmark has the modules for servers and clients, and uses more of them.
#[allow(dead_code)]
#[path = "../versus/bare.rs"]
mod bare;
#[allow(dead_code)]
#[path = "../versus/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../versus/servers.rs"]
mod servers;
#[allow(dead_code)]
#[path = "../versus/system.rs"]
mod system;

mod connection;
mod plot;
mod random;
mod replay;
mod runs;
mod simulate;
mod tables;
mod traces;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use runs::Policy;
use servers::Spec;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use system::Cores;

/// An error ends the run with its text.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The runs to make, and the servers for them.
struct Bench {
    cores: Cores,
    redstart: Spec,
    redis: Spec,
    /// The number of requests of a trace.
    requests: usize,
    /// Requests a second; 0 is as fast as possible.
    rate: usize,
    seed: u64,
    policies: Vec<Policy>,
    only: Vec<String>,
}

impl Bench {
    /// Whether to replay a trace: all, or those whose names contain one of the `--only` words.
    fn chosen(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.to_lowercase().contains(word))
    }
}

/// Reports progress on stderr.
fn say(what: &str) {
    eprintln!("eviction: {what}");
}

fn command() -> Command {
    let count = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(usize))
            .default_value(default)
            .help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let file =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("FILE").help(help);
    Command::new("eviction")
        .about("Hit ratios of Redstart and redis-server beside those of perfect caches")
        .arg(flag("bytes", "only the table at equal bytes"))
        .arg(flag("keys", "only the table at equal numbers of keys"))
        .arg(flag("lru", "only allkeys-lru"))
        .arg(flag("lfu", "only allkeys-lfu"))
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("only traces with NAME in their names; repeat for more"),
        )
        .arg(count("requests", "4000000", "requests of a trace; the first half is not counted"))
        .arg(count("rate", "0", "requests a second; 0 is as fast as possible"))
        .arg(count("held", "20000", "the number of keys for the table at equal numbers"))
        .arg(count("seed", "1", "the seed of the traces"))
        .arg(file("markdown", "the file for the tables"))
        .arg(file("svg", "the file for the plot"))
        .arg(flag("bench", "passed by cargo").hide(true))
}

fn program(variable: &str, otherwise: &str) -> String {
    std::env::var(variable).unwrap_or(otherwise.into())
}

fn bench(matches: &ArgMatches) -> Result<Bench> {
    let cores =
        Cores::pick()?.ok_or("the benchmark needs two cores: one for the server, one for the load")?;
    let number = |name: &str| matches.get_one::<usize>(name).copied().unwrap_or(0);
    let chosen = |policy: &Policy| matches.get_flag(&policy.name().to_lowercase());
    let mut policies: Vec<Policy> = Policy::ALL.into_iter().filter(chosen).collect();
    if policies.is_empty() {
        policies = Policy::ALL.into();
    }
    let only = matches.get_many::<String>("only").unwrap_or_default();
    Ok(Bench {
        cores,
        redstart: Spec::directed("Redstart", &program("REDSTART_BIN", env!("CARGO_BIN_EXE_redstart")))?,
        redis: Spec::directed("Redis", &program("REDIS_BIN", "redis-server"))
            .map_err(|error| format!("{error}; on Debian: apt-get install redis-server"))?,
        requests: number("requests").max(2),
        rate: number("rate"),
        seed: number("seed") as u64,
        policies,
        only: only.map(|word| word.to_lowercase()).collect(),
    })
}

/// The versions of the compared servers, the number of requests and the seed, in one line.
fn versions(bench: &Bench) -> Result<String> {
    let mut versions = Vec::new();
    for spec in [&bench.redstart, &bench.redis] {
        versions.push(spec.start(bench.cores.server, &[])?.version()?);
    }
    Ok(format!("{}; {} requests, seed {}", versions.join(", "), bench.requests, bench.seed))
}

fn write(path: &str, text: &str) -> Result<()> {
    std::fs::write(Path::new(path), text).map_err(|error| format!("{path}: {error}"))?;
    say(&format!("wrote {path}"));
    Ok(())
}

fn run(arguments: &[String]) -> Result<()> {
    let matches =
        command().get_matches_from(std::iter::once("eviction").chain(arguments.iter().map(String::as_str)));
    let bench = bench(&matches)?;
    system::kill_children_on_signals();
    system::pin(bench.cores.load)?;
    let (bytes, keys) = (matches.get_flag("bytes"), matches.get_flag("keys"));
    let mut text = format!("{}\n", versions(&bench)?);
    if bytes || !keys {
        let rows = tables::at_equal_bytes(&bench)?;
        text.push_str("\nHit ratios in percent at equal bytes\n\n");
        text.push_str(&tables::bytes_markdown(&rows));
        if let Some(path) = matches.get_one::<String>("svg") {
            write(path, &plot::plot(&rows))?;
        }
    }
    if keys || !bytes {
        let held = matches.get_one::<usize>("held").copied().unwrap_or(1).max(1);
        let rows = tables::at_equal_keys(&bench, held)?;
        let _ = writeln!(text, "\nHit ratios in percent at {held} keys, and points above the exact policy\n");
        text.push_str(&tables::keys_markdown(&rows));
    }
    println!("{text}");
    if let Some(path) = matches.get_one::<String>("markdown") {
        write(path, &text)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match &arguments[..] {
        // `cargo test --all-targets` starts it without arguments, and must not run for many minutes.
        [] => {
            println!("nothing measured without arguments: cargo bench --bench eviction [-- --help]");
            Ok(())
        }
        _ => run(&arguments),
    };
    if let Err(error) = result {
        eprintln!("eviction: {error}");
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
}
