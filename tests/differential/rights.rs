//! Random users: the texts of their rules, the errors of wrong rules, and by `ACL DRYRUN` which calls they permit.
//!
//! A sequence gives a user random rules, compares how `ACL GETUSER` and `ACL LIST` show them, and checks
//! calls of every command: those built from COMMAND DOCS ([`calls`](crate::calls)), with some words replaced,
//! and nonsense.

use crate::calls::{self, Depth};
use crate::pair::{Pace, Pair, Rule, Step};
use crate::support::random::Random;
use crate::support::{Client, Value, Version};

/// Older versions show rules in another form and denials in other words: with them, only whether a call is
/// permitted is compared.
const TEXTS_OF_RULES: Version = Version::new(7, 2);

/// The user whose rules are random.
const USER: &str = "tester";

/// The most changes to the user before calls are checked, and the number of these calls.
const RULES: usize = 8;
const CALLS: usize = 60;

/// Keys, channels and other words of calls.
const WORDS: &[&str] = &[
    "a",
    "a:1",
    "a:2",
    "b:1",
    "b",
    "c",
    "k*",
    "",
    "ch",
    "ch:1",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "10",
    "KEYS",
    "STORE",
    "BY",
    "GET",
    "SET",
    "GROUP",
    "STREAMS",
    "COUNT",
    "COPY",
    "REPLACE",
    "LIMIT",
    "STOREDIST",
    "WITHSCORES",
    "*",
    "$",
    ">",
    "config",
];

const PATTERNS: &[&str] =
    &["*", "a*", "a:1", "b:*", "[ab]*", "?", "?:*", "k\\*", "", "ch", "ch:*", "c[^h]", "fresh*", "*1"];

/// The material of the sequences: commands, categories and calls.
pub struct Pool {
    /// Whether both servers show rules and denials in the same form.
    compares_texts: bool,
    commands: Vec<String>,
    categories: Vec<String>,
    calls: Vec<Vec<Vec<u8>>>,
}

impl Pool {
    pub fn new(pair: &Pair) -> Pool {
        let compares_texts = pair.peer >= TEXTS_OF_RULES;
        let mut commands = calls::commands(pair);
        // Later versions have changed the arguments and keys of some commands.
        commands.retain(|command| compares_texts || is_same(pair, command));
        let calls = |command: &String| {
            let cases = calls::generate(pair, command, Depth::Single).cases;
            cases.into_iter().map(|mut case| case.steps.swap_remove(case.call).args)
        };
        let calls = commands.iter().flat_map(calls).collect();
        let categories = pair.redis.client().run("ACL CAT").elements().iter().map(Value::text).collect();
        Pool { compares_texts, commands, categories, calls }
    }

    /// At least `count` steps; any part of them can be repeated alone.
    pub fn sequence(&self, seed: u64, count: usize) -> Vec<Step> {
        let mut random = Random::new(seed);
        let rule = if self.compares_texts { Rule::Exact } else { Rule::Kind };
        let mut steps = Vec::new();
        let mut add = |words: Vec<Vec<u8>>| steps.push(Step::new(words, rule));
        let mut done = 0;
        while done < count {
            add(words(&["ACL", "SETUSER", USER, "reset"]));
            for _ in 0..=random.below(RULES) {
                let mut step = words(&["ACL", "SETUSER", USER]);
                for _ in 0..=random.below(2) {
                    step.push(self.modifier(&mut random));
                }
                add(step);
            }
            if self.compares_texts {
                add(words(&["ACL", "GETUSER", USER]));
                add(words(&["ACL", "LIST"]));
            }
            for _ in 0..CALLS {
                let mut step = words(&["ACL", "DRYRUN", USER]);
                step.extend(self.call(&mut random));
                add(step);
            }
            done += CALLS;
        }
        steps
    }

    /// A call of any command.
    fn call(&self, random: &mut Random) -> Vec<Vec<u8>> {
        if random.chance(3) {
            let mut call = self.name(random);
            for _ in 0..random.below(7) {
                call.push(random.pick(WORDS).as_bytes().to_vec());
            }
            return call;
        }
        let mut call = random.pick(&self.calls).clone();
        for word in call.iter_mut().skip(1) {
            if random.chance(4) {
                *word = random.pick(WORDS).as_bytes().to_vec();
            }
        }
        call
    }

    fn name(&self, random: &mut Random) -> Vec<Vec<u8>> {
        random.pick(&self.commands).split('|').map(|word| word.as_bytes().to_vec()).collect()
    }

    /// A modifier of a user, at times a wrong one.
    fn modifier(&self, random: &mut Random) -> Vec<u8> {
        match random.below(20) {
            0 => (*random.pick(&[
                "on",
                "off",
                "nopass",
                "resetpass",
                ">pw",
                ">other",
                "<pw",
                "clearselectors",
            ]))
            .into(),
            1 => (*random
                .pick(&["", "reset", "nosuch", "+", "-", "(", ")", "()", "~", "%R", "#abc", "!", "+@"]))
            .into(),
            2..5 => {
                let rules: Vec<Vec<u8>> = (0..=random.below(4)).map(|_| self.rule(random)).collect();
                [b"(", &*rules.join(&b' '), b")"].concat()
            }
            _ => self.rule(random),
        }
    }

    /// A rule of a selector, at times a wrong one.
    fn rule(&self, random: &mut Random) -> Vec<u8> {
        let sign = *random.pick(&["+", "+", "-"]);
        let rule = match random.below(12) {
            0..3 => format!("{sign}@{}", random.pick(&self.categories)),
            3..5 => format!("{sign}{}", random.pick(&self.commands)),
            // A container, or a first argument.
            5 => format!("{sign}{}", random.pick(&self.commands).split('|').next().unwrap_or_default()),
            6 => format!("{sign}{}|{}", random.pick(&self.commands), random.pick(WORDS)),
            7 => (*random.pick(&["+@all", "-@all", "allcommands", "nocommands", "allkeys", "resetkeys"]))
                .into(),
            8 => (*random.pick(&["allchannels", "resetchannels", "&*", "~*"])).into(),
            9 => format!("&{}", random.pick(PATTERNS)),
            10 => format!("~{}", random.pick(PATTERNS)),
            _ => {
                format!("%{}~{}", random.pick(&["R", "W", "RW", "wr", "r", "X", "RR"]), random.pick(PATTERNS))
            }
        };
        if random.chance(20) { rule.to_uppercase() } else { rule }.into_bytes()
    }
}

/// Whether a command has the same arity, flags and key specifications on both servers.
fn is_same(pair: &Pair, command: &str) -> bool {
    let info = |mut client: Client| client.call(&["COMMAND", "INFO", command]).elements()[0].elements();
    let (here, theirs) = (info(pair.subject.client()), info(pair.redis.client()));
    [1, 2, 6, 8].iter().all(|field| here[*field] == theirs[*field])
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn random_users_may_call_what_they_may_in_redis() {
    let pair = Pair::start("");
    let pool = Pool::new(&pair);
    for seed in crate::support::random::seeds(&[1, 2, 3, 4]) {
        let steps = pool.sequence(seed, 5000);
        pair.check(2 + (seed % 2) as u8, &steps, Pace::Piped, &format!("random users, seed {seed}"));
    }
}
