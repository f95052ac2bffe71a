//! Commands from a seed: sensible ones that build up state, and nonsense that shows the order in which errors are
//! detected.
//!
//! A family of commands is a file of this directory with a constant [`Family`] in it and a line in [`families!`] below.
//! It lists generators; each names a command (a subcommand as `object|encoding`), its weight, and a function that
//! writes the arguments after the name:
//!
//! ```text
//! pub const FAMILY: Family = Family {
//!     name: "lists",
//!     words: &["LEFT", "RIGHT", "COUNT"],              // options, for the nonsense
//!     commands: &[
//!         Generator::new("lpush", 5, |r| args![key(r), value(r)]),
//!         Generator::new("lrange", 3, |r| args![key(r), index(r), index(r)]),
//!         Generator::new("blpop", 1, |r| args![key(r), "0.01"]).sensible_only(),
//!         Generator::new("smembers", 1, |r| args![key(r)]).compared(Rule::Unordered),
//!     ],
//! };
//! ```
//!
//! * A run skips commands that one of the servers does not have (according to COMMAND INFO), so a file may be added
//!   before its commands.
//! * Replies must depend only on the previous commands: if they depend on time or on random choices, the generator sets
//!   the [`Rule`] for comparing them. A command that blocks, or closes the connection, is `sensible_only`: it is not
//!   used for nonsense.
//! * A command that calls others, as a script does, is `Generator::calling`: it gets the commands of all families that
//!   may be called, with their rules (see [`Calls`]).
//! * [`words`] has keys, values, numbers and times. A family mostly uses its own keys (`key_of(r, "list")`), and
//!   sometimes another family's, of the wrong type.
//! * At the end of a sequence both servers' data sets are compared, see [`state`].
//!
//! A failing run prints its seed; `REDSTART_SEED` repeats it alone. `REDSTART_FAMILY` runs one family by its name.

mod bitmaps;
mod connection;
mod expiry;
mod geo;
mod hashes;
mod hyperloglog;
mod keys;
mod lists;
mod scripting;
mod sets;
mod sort;
mod sorted_sets;
pub mod state;
mod streams;
mod strings;
pub mod words;

use crate::differences;
use crate::effects::reviewed;
use crate::pair::{Pace, Pair, Rule, Step};
use crate::reload;
use crate::support::Version;
use crate::support::random::{Random, seeds};

/// Commands that belong together.
pub struct Family {
    pub name: &'static str,
    /// Words for nonsense: the options of these commands, in any letter case, and small numbers. None may be a time to
    /// live in these commands, because the key would expire while the test runs.
    pub words: &'static [&'static str],
    pub commands: &'static [Generator],
}

/// Generates calls of one command.
#[derive(Clone, Copy)]
pub struct Generator {
    /// The name in COMMAND INFO, in lower case: `get`, `object|encoding`.
    pub command: &'static str,
    weight: usize,
    arguments: Arguments,
    rule: Rule,
    nonsense: bool,
    /// The first Redis to compare with.
    since: Version,
}

/// The function that generates the arguments.
#[derive(Clone, Copy)]
enum Arguments {
    Plain(fn(&mut Random) -> Vec<Vec<u8>>),
    Calling(fn(&mut Random, &Calls) -> Vec<Vec<u8>>),
}

impl Generator {
    /// `command` with `arguments` after it, `weight` times as often as one with weight 1, compared byte for byte.
    pub const fn new(
        command: &'static str,
        weight: usize,
        arguments: fn(&mut Random) -> Vec<Vec<u8>>,
    ) -> Self {
        Generator::with(command, weight, Arguments::Plain(arguments))
    }

    /// The same for a command whose arguments contain commands.
    pub const fn calling(
        command: &'static str,
        weight: usize,
        arguments: fn(&mut Random, &Calls) -> Vec<Vec<u8>>,
    ) -> Self {
        Generator::with(command, weight, Arguments::Calling(arguments))
    }

    const fn with(command: &'static str, weight: usize, arguments: Arguments) -> Self {
        Generator { command, weight, arguments, rule: Rule::Exact, nonsense: true, since: Version::new(0, 0) }
    }

    /// Sets the rule for comparing replies.
    pub const fn compared(self, rule: Rule) -> Self {
        Generator { rule, ..self }
    }

    /// Excludes versions of Redis before this one, in which the command has different effects.
    pub const fn since(self, since: Version) -> Self {
        Generator { since, ..self }
    }

    /// Never calls the command with arguments from elsewhere.
    pub const fn sensible_only(self) -> Self {
        Generator { nonsense: false, ..self }
    }

    const fn is_calling(&self) -> bool {
        matches!(self.arguments, Arguments::Calling(_))
    }

    /// The command as typed.
    fn typed(&self) -> String {
        self.command.to_uppercase().replace('|', " ")
    }

    /// Whether this is `command`, or a subcommand of it.
    fn is_of(&self, command: &str) -> bool {
        let name = self.typed();
        name == command || command.starts_with(&format!("{name} "))
    }

    /// Whether the list has a difference in the replies of this command beside a Redis of version `peer`.
    fn is_meant_to_reply_otherwise(&self, peer: Version) -> bool {
        differences::intended_ones(peer).any(|(command, _)| self.is_of(&command))
    }

    fn step(&self, random: &mut Random, calls: Option<&Calls>) -> Step {
        let mut args: Vec<Vec<u8>> =
            self.command.to_uppercase().split('|').map(|w| w.as_bytes().to_vec()).collect();
        args.extend(match self.arguments {
            Arguments::Plain(arguments) => arguments(random),
            Arguments::Calling(arguments) => arguments(random, calls.expect("set for a mix with calls")),
        });
        Step::new(args, self.rule)
    }
}

/// The commands of all families that scripts may call: those that both servers allow and execute alike in scripts.
pub struct Calls {
    mix: Mix,
    /// The version of Redis.
    pub peer: Version,
}

impl Calls {
    fn of(pair: &Pair) -> Calls {
        let of_family = |family: &&'static Family| family.commands.iter().map(|g| (*g, family.words));
        let mut generators: Vec<_> = FAMILIES.iter().flat_map(of_family).collect();
        generators.retain(|(generator, _)| !generator.is_calling());
        retain_known(pair, &mut generators);
        let mut redis = pair.redis.client();
        generators.retain(|(generator, _)| {
            let info = redis.call(&["COMMAND", "INFO", generator.command]).elements()[0].elements();
            let name = generator.typed();
            let has = |flag: &str| info[2].elements().iter().any(|f| f.text() == flag);
            // Since 7.2, a command that blocks replies in scripts as it does in transactions. WAIT counts replicas, and
            // only one of the servers has one when calls are compared. SORT returns equal elements in the order of a
            // hash table if a script has replaced the list with another type.
            let cannot_be_called = has("noscript")
                || ["WAIT", "SORT", "SORT_RO"].contains(&&*name)
                || has("blocking") && pair.peer < Version::new(7, 2);
            let differs = reviewed::intended_ones(pair.peer).any(|(command, _)| generator.is_of(command));
            !cannot_be_called && !differs && !generator.is_meant_to_reply_otherwise(pair.peer)
        });
        let mix = Mix::with(generators, None).expect("commands that may be called");
        Calls { mix, peer: pair.peer }
    }

    /// A sensible command or nonsense.
    pub fn command(&self, random: &mut Random) -> Step {
        if random.chance(8) { self.mix.nonsense(random) } else { self.mix.command(random) }
    }
}

/// Arguments of any text types as a vector of byte strings.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => { vec![$(Vec::<u8>::from($arg)),*] };
}

macro_rules! families {
    ($($family:ident,)*) => {
        /// All of them.
        pub const FAMILIES: &[&Family] = &[$(&$family::FAMILY,)*];
    };
}

families! {
    bitmaps,
    connection,
    expiry,
    geo,
    hashes,
    hyperloglog,
    keys,
    lists,
    scripting,
    sets,
    sort,
    sorted_sets,
    streams,
    strings,
}

/// Keeps the generators whose commands both servers have.
fn retain_known(pair: &Pair, generators: &mut Vec<(Generator, Words)>) {
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    generators.retain(|(generator, _)| pair.peer >= generator.since);
    generators.retain(|(generator, _)| {
        let mut knows = [&mut subject, &mut redis].into_iter();
        knows.all(|client| !client.call(&["COMMAND", "INFO", generator.command]).elements()[0].is_null())
    });
}

/// The words of a family.
type Words = &'static [&'static str];

/// The generators of some families, for the commands that both servers have.
pub struct Mix {
    /// Each with the words of its family.
    generators: Vec<(Generator, Words)>,
    total: usize,
    /// Present if one of them calls commands.
    calls: Option<Box<Calls>>,
}

impl Mix {
    /// `None` if the servers have no command of these families in common.
    pub fn of(pair: &Pair, families: &[&Family]) -> Option<Mix> {
        let mut generators: Vec<_> =
            families.iter().flat_map(|f| f.commands.iter().map(|generator| (*generator, f.words))).collect();
        retain_known(pair, &mut generators);
        let is_calling = generators.iter().any(|(generator, _)| generator.is_calling());
        Mix::with(generators, is_calling.then(|| Box::new(Calls::of(pair))))
    }

    fn with(generators: Vec<(Generator, Words)>, calls: Option<Box<Calls>>) -> Option<Mix> {
        let total = generators.iter().map(|(generator, _)| generator.weight).sum();
        (total > 0).then_some(Mix { generators, total, calls })
    }

    /// Keeps the commands whose replies depend only on previous commands, and are sent at once.
    pub fn exact(mut self, pair: &Pair) -> Mix {
        let mut redis = pair.redis.client();
        self.generators.retain(|(generator, _)| {
            let info = redis.call(&["COMMAND", "INFO", generator.command]).elements()[0].elements();
            let waits = info[2].elements().iter().any(|flag| flag.text() == "blocking");
            generator.rule == Rule::Exact && !waits
        });
        self.total = self.generators.iter().map(|(generator, _)| generator.weight).sum();
        self
    }

    /// Removes the commands with an intended difference from this Redis.
    pub fn without_intended(mut self, pair: &Pair) -> Mix {
        self.generators.retain(|(generator, _)| !generator.is_meant_to_reply_otherwise(pair.peer));
        self.total = self.generators.iter().map(|(generator, _)| generator.weight).sum();
        self
    }

    /// One sensible command.
    pub fn command(&self, random: &mut Random) -> Step {
        let mut at = random.below(self.total);
        let chosen = self.generators.iter().map(|(generator, _)| generator).find(|generator| {
            let found = at < generator.weight;
            at = at.wrapping_sub(generator.weight);
            found
        });
        chosen.expect("the weights add up to the total").step(random, self.calls.as_deref())
    }

    /// A command's name with random words.
    pub fn nonsense(&self, random: &mut Random) -> Step {
        let (generator, words) = *random.pick(&self.generators);
        if !generator.nonsense {
            return generator.step(random, self.calls.as_deref());
        }
        let mut name = if random.chance(40) { "nosuch" } else { generator.command }.to_uppercase();
        if random.chance(3) {
            name = name.to_lowercase();
        }
        let mut args: Vec<Vec<u8>> = name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        if random.chance(20) {
            args.truncate(1);
        }
        for position in 0..random.below(6) {
            args.push(match random.below(if position == 0 { 2 } else { 6 }) {
                0 | 1 => words::any_key(random),
                2 | 3 if !words.is_empty() => words::one_of(random, words),
                2..5 => words::odd_time(random),
                _ => b"value".to_vec(),
            });
        }
        Step::new(args, generator.rule)
    }

    /// `count` commands; with an odd seed most are nonsense.
    pub fn sequence(&self, seed: u64, count: usize) -> Vec<Step> {
        let mut random = Random::new(seed);
        let sensible =
            |random: &mut Random| if seed.is_multiple_of(2) { !random.chance(30) } else { random.chance(4) };
        (0..count)
            .map(
                |_| {
                    if sensible(&mut random) { self.command(&mut random) } else { self.nonsense(&mut random) }
                },
            )
            .collect()
    }
}

fn run(families: &[&Family], seeds: &[u64], count: usize) {
    run_with("", families, seeds, count);
}

/// `count` commands of each seed, to servers started with `flags`.
fn run_with(flags: &str, families: &[&Family], seeds: &[u64], count: usize) {
    // Redis looks at what blocked clients wait for as often as this.
    let pair = Pair::start(&format!("--hz 500 {flags}"));
    let Some(mix) = Mix::of(&pair, families) else {
        println!(
            "skipped, no server has its commands: {}",
            families.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
        );
        return;
    };
    for &seed in seeds {
        let protocol = 2 + (seed / 2 % 2) as u8;
        let (steps, origin) = (mix.sequence(seed, count), format!("REDSTART_SEED={seed} {flags}"));
        pair.check(protocol, &steps, Pace::Piped, &origin);
        state::check(&pair, &origin);
        reload::check(&pair, protocol, &steps, Pace::Piped, &origin);
    }
}

#[test]
fn random_commands_of_all_families_reply_as_redis_does() {
    run(FAMILIES, &seeds(&[1, 2, 3, 4, 5, 6, 7, 8]), 3000);
}

#[test]
fn random_commands_of_each_family_reply_as_redis_does() {
    let only = std::env::var("REDSTART_FAMILY").ok();
    for family in FAMILIES.iter().filter(|family| only.as_ref().is_none_or(|only| family.name == only)) {
        run(&[family], &seeds(&[11, 12, 13, 14]), 500);
    }
}

/// Tests the harness: two Redis with different policies reply differently, and it reports that.
#[test]
fn a_difference_is_found_and_shrunk_to_what_it_takes() {
    use crate::support::server::Launch;
    let flags = "--enable-debug-command yes";
    let plain = Launch::redis().flags(flags).start();
    let lfu = Launch::redis().flags(flags).flags("--maxmemory-policy allkeys-lfu").start();
    let pair = Pair::of(lfu, plain);
    let words = |line: &str| Step::new(line.split(' ').map(|w| w.as_bytes().to_vec()).collect(), Rule::Exact);
    let mut steps: Vec<Step> = (0..50).map(|n| words(&format!("SET k{n} v"))).collect();
    steps.extend([words("OBJECT FREQ k31"), words("PING")]);
    for pace in [Pace::OneByOne, Pace::Piped] {
        let found = pair.run(2, &steps, pace).expect("a difference");
        assert_eq!(found.at, 50);
        let (shrunk, found) = pair.shrink(2, steps[..=found.at].to_vec(), pace, found);
        let lines: Vec<String> = shrunk.iter().map(Step::line).collect();
        assert_eq!(lines, ["SET k31 v", "OBJECT FREQ k31"]);
        assert_eq!(found.at, 1);
    }
}
