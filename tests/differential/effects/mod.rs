//! The effects of commands besides their replies: keyspace events, and the calls that replicas and the AOF get. Both
//! are compared with Redis for each command.
//!
//! ```text
//!              events                                      calls
//!  Redis       its notifications, on a subscriber          its replication stream, read by a fake replica
//!  Redstart    its notifications, on a subscriber          DEBUG JOURNAL TAKE
//! ```
//!
//! [`witness`] collects them, [`compare`] compares them; [`reviewed`] lists the intended differences with their
//! reasons. `REDSTART_BIN=…/redis-server` compares two versions of Redis.

pub mod compare;
pub mod reviewed;
pub mod witness;

use crate::pair::{Outcome, Pace, Pair, Rule, Step, Verdict, shrink};
use std::cell::RefCell;
use std::fmt;
use witness::Witness;

/// The scripts whose effects are compared: those about data.
pub const SCRIPTS: &[&str] = &[
    "bitmaps.txt",
    "counters.txt",
    "debug.txt",
    "dump.txt",
    "expiry.txt",
    "functions.txt",
    "geo.txt",
    "hashes.txt",
    "hyperloglog.txt",
    "keys.txt",
    "lists.txt",
    "ranges.txt",
    "scan.txt",
    "scripting.txt",
    "set.txt",
    "sets.txt",
    "sort.txt",
    "sorted_sets.txt",
    "streams_type.txt",
    "strings.txt",
    "transactions.txt",
    "transfer.txt",
    "wrong_types.txt",
];

/// An event as a subscriber receives it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub db: i64,
    /// Whether it was sent on the channel of the key, and not on that of the event.
    pub of_key: bool,
    pub name: Vec<u8>,
    pub key: Vec<u8>,
}

/// A call as a replica gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    pub db: i64,
    pub args: Vec<Vec<u8>>,
}

/// The effects of one or more commands, in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Effects {
    pub events: Vec<Event>,
    pub calls: Vec<Call>,
}

/// A command that had different effects on the servers.
#[derive(Clone)]
pub struct Finding {
    pub at: usize,
    pub here: Effects,
    pub redis: Effects,
}

/// A pair of servers with their witnesses.
pub struct Watched<'a> {
    pair: &'a Pair,
    here: RefCell<Witness>,
    redis: RefCell<Witness>,
}

impl Watched<'_> {
    /// Starts to watch both servers of `pair`. Servers with a password are not supported.
    pub fn new(pair: &Pair) -> Watched<'_> {
        let here = RefCell::new(Witness::of_subject(&pair.subject));
        Watched { pair, here, redis: RefCell::new(Witness::of_redis(&pair.redis)) }
    }

    /// Runs `steps` on empty keyspaces, one after the other. `found` gets each command whose effects differ, and
    /// returns whether to continue.
    pub fn each(&self, protocol: u8, steps: &[Step], mut found: impl FnMut(Finding) -> bool) {
        self.pair.clear();
        self.take();
        self.pair.each_of_present(protocol, steps, Pace::OneByOne, |outcome| {
            let Outcome { at, verdict, subject, redis } = outcome;
            let step = &steps[at];
            // Without a reply the command may not be executed yet; it is after the next one.
            if step.rule == Rule::Silent {
                return true;
            }
            let (here, theirs) = self.take();
            let answers = (&subject, &redis);
            // A command with an intended difference in its reply may have different effects.
            verdict == Verdict::Intended
                || compare::alike(step, answers, &here, &theirs, self.pair.peer)
                || found(Finding { at, here, redis: theirs })
        });
    }

    /// The effects since the last call.
    fn take(&self) -> (Effects, Effects) {
        let (mut here, mut redis) = (self.here.borrow_mut(), self.redis.borrow_mut());
        here.mark();
        redis.mark();
        (here.take(), redis.take())
    }

    /// The first command of `steps` whose effects differ.
    pub fn first(&self, protocol: u8, steps: &[Step]) -> Option<Finding> {
        let mut first = None;
        self.each(protocol, steps, |finding| {
            first = Some(finding);
            false
        });
        first
    }

    /// A finding with the shortest sequence found that reproduces one for the same command, as lines for a person.
    pub fn explain(&self, protocol: u8, steps: &[Step], first: Finding) -> String {
        let command = steps[first.at].args[0].to_ascii_uppercase();
        let (sequence, last) = shrink(steps[..=first.at].to_vec(), first, |steps| {
            let finding = self.first(protocol, steps)?;
            let same = steps[finding.at].args[0].to_ascii_uppercase() == command;
            (same && self.pair.is_alive()).then_some((finding.at, finding))
        });
        let lines: Vec<String> = sequence.iter().map(|step| format!("    {}", step.line())).collect();
        let finding = last.lines(&sequence);
        format!("{finding}\n  after a FLUSHALL this sequence shows it:\n{}", lines.join("\n"))
    }
}

impl Finding {
    /// The command and its effects that differ.
    pub fn lines(&self, steps: &[Step]) -> String {
        let mut lines = vec![format!("  command: {}", steps[self.at].line())];
        let (here, redis) = (&self.here, &self.redis);
        if here.events != redis.events {
            lines.push(format!("  events here:  {:?}\n  events redis: {:?}", here.events, redis.events));
        }
        if here.calls != redis.calls {
            lines.push(format!("  calls here:   {:?}\n  calls redis:  {:?}", here.calls, redis.calls));
        }
        lines.join("\n")
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = if self.of_key { "(key) " } else { "" };
        write!(f, "{channel}{} {}", self.name.escape_ascii(), Step::word(&self.key))?;
        if self.db == 0 { Ok(()) } else { write!(f, " in {}", self.db) }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.args.iter().map(|arg| Step::word(arg)).collect();
        f.write_str(&words.join(" "))?;
        if self.db == 0 { Ok(()) } else { write!(f, " in {}", self.db) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{FAMILIES, Family, Mix};
    use crate::reload;
    use crate::script;
    use crate::support::random::seeds;
    use std::collections::BTreeMap;

    /// The first finding of each command, and their number.
    #[derive(Default)]
    struct Findings(BTreeMap<String, (usize, String)>);

    impl Findings {
        fn add(&mut self, step: &Step, text: impl FnOnce() -> String) {
            let command = String::from_utf8_lossy(&step.args[0]).to_uppercase();
            self.0.entry(command).or_insert_with(|| (0, text())).0 += 1;
        }

        fn assert_none(&self) {
            let shown =
                self.0.iter().map(|(command, (count, text))| format!("{command}, {count} times:\n{text}\n"));
            assert!(self.0.is_empty(), "events or calls differ after\n{}", shown.collect::<String>());
        }
    }

    #[test]
    fn commands_of_the_scripts_leave_behind_what_they_do_in_redis() {
        let (mut compared, mut findings) = (0, Findings::default());
        for name in SCRIPTS {
            let (_, text) =
                crate::SCRIPTS.iter().find(|(other, _)| other == name).expect("a script of that name");
            let script = script::parse(name, text);
            let pair = Pair::start(&script.flags);
            let watched = Watched::new(&pair);
            let runs = |section: &&script::Section| {
                section.protocols.contains(&2) && section.obstacle(&pair).is_none()
            };
            for section in script.sections.iter().filter(runs) {
                compared += section.steps.len();
                watched.each(2, &section.steps, |finding| {
                    findings.add(&section.steps[finding.at], || {
                        format!("{name}, '{}'\n{}", section.title, finding.lines(&section.steps))
                    });
                    true
                });
                reload::is_exempt(&pair, name, &section.title);
            }
            reload::check_end(&pair, name);
        }
        println!("the effects of {compared} commands compared");
        assert!(compared > 5000, "only {compared} commands");
        findings.assert_none();
    }

    fn run(families: &[&Family], seeds: &[u64], count: usize, findings: &mut Findings) {
        let pair = Pair::start("");
        let watched = Watched::new(&pair);
        let Some(mix) = Mix::of(&pair, families) else { return };
        for &seed in seeds {
            let steps = mix.sequence(seed, count);
            let mut found = Vec::new();
            watched.each(2, &steps, |finding| {
                found.push(finding);
                true
            });
            for finding in found {
                let step = steps[finding.at].clone();
                let explain = || format!("REDSTART_SEED={seed}\n{}", watched.explain(2, &steps, finding));
                findings.add(&step, explain);
            }
            reload::check_end(&pair, &format!("REDSTART_SEED={seed}"));
        }
    }

    #[test]
    fn random_commands_leave_behind_what_they_do_in_redis() {
        let mut findings = Findings::default();
        run(FAMILIES, &seeds(&[1, 2, 3, 4]), 2000, &mut findings);
        for family in FAMILIES {
            run(&[family], &seeds(&[11, 12]), 300, &mut findings);
        }
        findings.assert_none();
    }

    /// Tests the harness: a difference between two servers is found, and shrunk to the commands that cause it.
    #[test]
    fn a_difference_in_what_is_left_behind_is_found_and_shrunk() {
        use crate::support::server::Launch;
        let flags = "--enable-debug-command yes";
        let plain = Launch::redis().flags(flags).start();
        // This server unlinks expired keys, the other one deletes them.
        let lazy = Launch::redis()
            .flags(flags)
            .flags("--lazyfree-lazy-user-del yes --lazyfree-lazy-expire yes")
            .start();
        let pair = Pair::of(lazy, plain);
        let watched = Watched {
            pair: &pair,
            here: RefCell::new(Witness::of_redis(&pair.subject)),
            redis: RefCell::new(Witness::of_redis(&pair.redis)),
        };
        let words = |line: &str| Step::new(script::split(line).expect("words"), Rule::Exact);
        let mut steps: Vec<Step> = (0..20).map(|n| words(&format!("SET k{n} v"))).collect();
        steps.extend(["EXPIRE k7 -1", "PING"].map(words));
        let found = watched.first(2, &steps).expect("a difference");
        assert_eq!(steps[found.at].line(), "EXPIRE k7 -1");
        let explained = watched.explain(2, &steps, found);
        assert!(explained.contains("UNLINK k7") && explained.contains("DEL k7"), "{explained}");
        assert!(explained.ends_with("shows it:\n    SET k7 v\n    EXPIRE k7 -1"), "{explained}");
    }
}
