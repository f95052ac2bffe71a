//! `make compat`: all differential tests at full size, and a table of the results for each command.
//!
//! It runs in full what `cargo test --test differential` runs in part, in RESP2 and in RESP3: the scripts,
//! the calls built from COMMAND DOCS with all pairs of options, a million random commands, and another
//! million for each family of commands. After each sequence of random commands the data sets are compared,
//! and after every eighth one both servers load the AOF. The keyspace events and the propagated calls of the
//! scripts and of random commands are compared too, and with several clients the bytes that each of them
//! receives. For random users, a million calls are checked with `ACL DRYRUN`. Differences are printed and
//! counted, and do not stop the run.
//!
//! ```text
//!   equal      the same bytes
//!   alike      the same except for order, time or chance: the rule of the step, or `SHAPES` in differences.rs
//!   intended   accepted by `DIFFERENCES` in differences.rs
//!   different  none of these; a single one fails the run
//! ```
//!
//! `cargo test --release --test compat -- --help` lists the options that run less of it, or one command.

#![allow(
    dead_code,
    unused_imports,
    reason = "the modules of the differential tests have parts that only the tests use"
)]

#[path = "../differential/calls/mod.rs"]
mod calls;
#[path = "../differential/clients/mod.rs"]
mod clients;
#[path = "../differential/cluster/mod.rs"]
mod cluster;
#[path = "../differential/differences.rs"]
mod differences;
#[path = "../differential/effects/mod.rs"]
mod effects;
#[path = "../cluster/nodes.rs"]
mod nodes;
#[path = "../differential/pair.rs"]
mod pair;
#[path = "../differential/random/mod.rs"]
mod random;
#[path = "../differential/reload/mod.rs"]
mod reload;
mod report;
#[path = "../differential/rights.rs"]
mod rights;
#[path = "../differential/roles/mod.rs"]
mod roles;
#[path = "../differential/script.rs"]
mod script;
mod several;
#[path = "../support/mod.rs"]
mod support;
#[path = "../differential/tables.rs"]
mod tables;
#[path = "../differential/topology.rs"]
mod topology;

use calls::Depth;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use effects::Watched;
use pair::{Mismatch, Outcome, Pace, Pair, Step, Verdict};
use random::{FAMILIES, Family, Mix};
use report::Report;
use script::Script;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Commands of a random sequence: long enough for some state, short enough to be shrunk.
const SEQUENCE: usize = 500;

/// Both servers load the AOF after each group of this many random sequences.
const RELOADED: u64 = 8;

/// Random sequences for the servers in each role.
const ROLE_SEEDS: u64 = 10;

/// Random sequences for the node of each scene (see [`cluster`]).
const CLUSTER_SEEDS: u64 = 40;

/// Random sequences stop after this many differences; more would add nothing.
const ENOUGH: usize = 20;

fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64)).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("compat")
        .about("Compares Redstart's replies with those of redis-server, command by command")
        .after_help("Without --scripts, --calls, --random, --effects, --clients, --roles, --users or --cluster all eight are run.")
        .arg(flag("scripts", "the scripts of tests/differential"))
        .arg(flag("calls", "calls built from COMMAND DOCS"))
        .arg(flag("random", "random commands"))
        .arg(flag("effects", "keyspace events and propagated calls, after commands of the scripts and random ones"))
        .arg(flag("clients", "scripts and random acts of several clients, and what each of them receives"))
        .arg(flag("roles", "a script and random commands on primaries and replicas of all kinds"))
        .arg(flag("users", "random users with random rules, and which calls of every command they permit"))
        .arg(number("asked", "calls that random users ask for").default_value("1000000"))
        .arg(flag("cluster", "scripts and random commands on cluster nodes"))
        .arg(number("acts", "random acts of several clients").default_value("200000"))
        .arg(number("seed", "the seed of the first random sequence").default_value("1"))
        .arg(number("count", "random commands of all families").default_value("1000000"))
        .arg(number("each", "random commands of each family").default_value("1000000"))
        .arg(number("watched", "random commands of each family whose effects are compared").default_value("20000"))
        .arg(flag("brief", "show a difference in three lines, look for no shorter sequence, and go on after it"))
        .arg(
            Arg::new("only")
                .long("only")
                .value_name("COMMAND")
                .action(ArgAction::Append)
                .help("only calls of COMMAND ('get', 'object|freq'), and random commands of its family; repeat for more"),
        )
        .arg(Arg::new("write").long("write").value_name("FILE").help("write the table into this page, between its marks"))
}

/// A part of a run.
type Part = (&'static str, fn(&mut Run));

const PARTS: [Part; 8] = [
    ("scripts", Run::scripts),
    ("calls", Run::calls),
    ("random", Run::random),
    ("effects", Run::effects),
    ("clients", Run::clients),
    ("roles", Run::roles),
    ("users", Run::users),
    ("cluster", Run::cluster),
];

/// The parts to run, and their results.
struct Run {
    matches: ArgMatches,
    only: Vec<String>,
    report: Report,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let only =
        matches.get_many::<String>("only").into_iter().flatten().map(|name| name.to_lowercase()).collect();
    let mut run = Run { matches, only, report: Report::new(&Pair::start("")) };
    let all = !PARTS.iter().any(|(name, _)| run.matches.get_flag(name));
    for (name, part) in PARTS {
        if all || run.matches.get_flag(name) {
            let started = Instant::now();
            part(&mut run);
            eprintln!("compat: {name} done after {:.1} s", started.elapsed().as_secs_f64());
        }
    }
    print!("{}", run.report.table());
    if let Some(page) = run.matches.get_one::<String>("write") {
        run.report.write(Path::new(page));
    }
    if run.report.differences() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a difference as soon as it is found, because the next one may be a crash.
fn found(origin: &str, protocol: u8, what: &str) {
    eprintln!("compat: {origin}, RESP{protocol}: {what}\n");
}

impl Run {
    /// The replies in each role: see [`roles`].
    fn roles(&mut self) {
        let first = self.number("seed");
        for seed in first..first + ROLE_SEEDS {
            roles::run(&roles::all(), seed, SEQUENCE, &mut |place, verdict, paragraph| {
                self.report.count_in(place, verdict);
                if let Some(paragraph) = paragraph {
                    eprintln!("compat: {paragraph}\n");
                }
            });
            eprintln!("compat: servers in all roles, seed {seed}");
        }
    }

    /// Which calls random users may make: see [`rights`].
    fn users(&mut self) {
        let pair = Pair::start("");
        let pool = rights::Pool::new(&pair);
        let (first, count) = (self.number("seed"), self.number("asked"));
        let (mut done, mut differences) = (0, 0);
        for seed in first.. {
            if done >= count || differences >= ENOUGH {
                break;
            }
            let steps = pool.sequence(seed, SEQUENCE);
            let origin = format!("random users, seed {seed}");
            let equal = self.sequence(&pair, 2 + (seed % 2) as u8, &steps, Pace::Piped, &origin, "users");
            differences += usize::from(!equal);
            done += steps.iter().filter(|step| step.args[1] == b"DRYRUN").count() as u64;
        }
        eprintln!("compat: {done} calls that random users asked for, {differences} differences");
    }

    /// Compares the replies of cluster nodes: see [`cluster`].
    fn cluster(&mut self) {
        let first = self.number("seed");
        let seeds: Vec<u64> = (first..first + CLUSTER_SEEDS).collect();
        cluster::run(&seeds, SEQUENCE, &mut |place, verdict, paragraph| {
            self.report.count_in(place, verdict);
            if let Some(paragraph) = paragraph {
                eprintln!("compat: {paragraph}\n");
            }
        });
    }

    fn chosen(&self, command: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == command)
    }

    /// The chosen scripts and their names, in order.
    fn parsed(chosen: impl Fn(&str) -> bool) -> Vec<(String, Script)> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential");
        let entries = std::fs::read_dir(directory).expect("the directory of the scripts");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name of UTF-8"))
            // The streams are in another language: whole connections instead of commands.
            .filter(|name| Path::new(name).extension().is_some_and(|e| e == "txt") && name != "streams.txt")
            .filter(|name| chosen(name))
            .collect();
        names.sort();
        let parse = |name: String| {
            let text = std::fs::read_to_string(Path::new(directory).join(&name)).expect("a script");
            let script = script::parse(&name, &text);
            (name, script)
        };
        names.into_iter().map(parse).collect()
    }

    fn scripts(&mut self) {
        for (name, script) in Run::parsed(|_| true) {
            let pair = Pair::start(&script.flags);
            for (section, protocol) in script.runs(&pair) {
                let origin = format!("{name}, '{}'", section.title);
                self.sequence(&pair, protocol, &section.steps, Pace::OneByOne, &origin, "scripts");
            }
        }
    }

    /// Runs a sequence up to its first difference, or to its end if differences are shown in brief. Returns whether
    /// there was none.
    fn sequence(
        &mut self,
        pair: &Pair,
        protocol: u8,
        steps: &[Step],
        pace: Pace,
        origin: &str,
        part: &'static str,
    ) -> bool {
        let mut mismatch = None;
        let (report, only, brief) = (&mut self.report, &self.only, self.matches.get_flag("brief"));
        let mut equal = true;
        pair.each(protocol, steps, pace, |Outcome { at, verdict, subject, redis }| {
            report.count(&steps[at].args, verdict, part, only);
            if verdict == Verdict::Different {
                equal = false;
                let found = Mismatch { at, subject, redis };
                if brief {
                    eprintln!("{origin}, RESP{protocol}:\n{}", found.lines(steps));
                } else {
                    mismatch = Some(found);
                }
            }
            mismatch.is_none()
        });
        if brief {
            return equal;
        }
        let Some(mismatch) = mismatch else { return true };
        let explained = pair.explain(protocol, steps, pace, mismatch);
        found(origin, protocol, &explained);
        assert!(pair.is_alive(), "a server is gone");
        false
    }

    fn calls(&mut self) {
        let pair = Pair::start("");
        for command in calls::commands(&pair) {
            if !self.chosen(&command) {
                continue;
            }
            let calls = calls::generate(&pair, &command, Depth::Full);
            for protocol in [2, 3] {
                let mut explained = Vec::new();
                let brief = self.matches.get_flag("brief");
                calls.run(&pair, protocol, brief, |_, verdict, difference| {
                    self.report.count_of(&command, verdict, "calls");
                    explained.extend(difference);
                });
                for difference in explained {
                    found("calls", protocol, &difference);
                }
                assert!(pair.is_alive(), "a server is gone");
            }
        }
    }

    /// The families that contain a selected command.
    fn families(&self) -> Vec<&'static Family> {
        let chosen =
            |family: &&&Family| family.commands.iter().any(|generator| self.chosen(generator.command));
        FAMILIES.iter().filter(chosen).copied().collect()
    }

    fn effects(&mut self) {
        for (name, script) in Run::parsed(|name| effects::SCRIPTS.contains(&name)) {
            let pair = Pair::start(&script.flags);
            let watched = Watched::new(&pair);
            let sections = script.sections.iter().filter(|section| section.protocols.contains(&2));
            for section in sections.filter(|section| section.obstacle(&pair).is_none()) {
                self.watch(&watched, &section.steps, &format!("{name}, '{}'", section.title));
            }
        }
        let pair = Pair::start("");
        let watched = Watched::new(&pair);
        let (first, count) = (self.number("seed"), self.number("watched"));
        for family in self.families() {
            let Some(mix) = Mix::of(&pair, &[family]) else { continue };
            for seed in first..first + count / SEQUENCE as u64 {
                let steps = mix.sequence(seed, SEQUENCE);
                self.watch(&watched, &steps, &format!("random sequence of {}, seed {seed}", family.name));
            }
        }
    }

    /// Compares the effects of the commands in a sequence.
    fn watch(&mut self, watched: &Watched<'_>, steps: &[Step], origin: &str) {
        let mut findings = Vec::new();
        watched.each(2, steps, |finding| {
            findings.push(finding);
            true
        });
        self.report.count_effects(steps.len());
        for finding in findings {
            found(origin, 2, &finding.lines(steps));
            self.report.count(&steps[finding.at].args, Verdict::Different, "differing effects", &self.only);
        }
    }

    fn random(&mut self) {
        let families = self.families();
        let general = |name: &str| FAMILIES.iter().find(|family| family.name == name).copied();
        // Redis checks the keys of blocked clients this often.
        let pair = Pair::start("--hz 500");
        self.random_of(&pair, "all families", &families, self.number("count"));
        for family in &families {
            // Includes the commands on keys of any type.
            let with: Vec<&Family> =
                [Some(*family), general("keys"), general("expiry")].into_iter().flatten().collect();
            self.random_of(&pair, family.name, &with, self.number("each"));
        }
    }

    /// Runs `count` random commands of some families together.
    fn random_of(&mut self, pair: &Pair, name: &str, families: &[&'static Family], count: u64) {
        let Some(mix) = Mix::of(pair, families) else { return };
        let (started, seed, count) = (Instant::now(), self.number("seed"), count as usize);
        let (mut done, mut differences) = (0, 0);
        while done < count && differences < ENOUGH {
            let number = (done / SEQUENCE) as u64;
            let seed = seed + number;
            let (protocol, steps) =
                (2 + (number / 2 % 2) as u8, mix.sequence(seed, SEQUENCE.min(count - done)));
            let origin = format!("random sequence of {name}, seed {seed}");
            let mut equal = self.sequence(pair, protocol, &steps, Pace::Piped, &origin, "random");
            if equal && let Some(difference) = random::state::difference(pair) {
                found(&origin, protocol, &Run::explain_state(pair, protocol, steps.clone(), difference));
                self.report.count_of("(data sets)", Verdict::Different, "random");
                equal = false;
            }
            if equal
                && number.is_multiple_of(RELOADED)
                && let Some(difference) = reload::difference(pair)
            {
                found(&origin, protocol, &reload::explain(pair, protocol, &steps, Pace::Piped, difference));
                self.report.count_of("(data sets)", Verdict::Different, "random");
                equal = false;
            }
            differences += usize::from(!equal);
            done += steps.len();
        }
        eprintln!(
            "compat: {done} random commands of {name}, {differences} differences, {:.1} s",
            started.elapsed().as_secs_f64()
        );
    }

    /// The difference of the data sets after `steps`, with the shortest sequence found that still produces one.
    fn explain_state(pair: &Pair, protocol: u8, steps: Vec<Step>, difference: String) -> String {
        let (sequence, difference) = pair::shrink(steps, difference, |steps| {
            let still = match pair.run(protocol, steps, Pace::Piped) {
                None => random::state::difference(pair)?,
                Some(_) => return None,
            };
            Some((steps.len() - 1, still))
        });
        let lines: Vec<String> = sequence.iter().map(|step| format!("    {}", step.line())).collect();
        format!(
            "the data sets differ\n{difference}\n  after a FLUSHALL and this sequence:\n{}",
            lines.join("\n")
        )
    }

    fn number(&self, name: &str) -> u64 {
        *self.matches.get_one::<u64>(name).expect("it has a default")
    }
}
