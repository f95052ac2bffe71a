//! Every command with every documented option: calls that are built from COMMAND DOCS.
//!
//! For each command that both servers have (see [`documented`]): the plainest call, each option, each pair of options
//! in both orders, an option twice; a word less and a word more; each of these with keys of every type, with numbers
//! that are too large, too small or invalid, with words that are not options. The calls run on a data set with keys of
//! all types (see [`values`]), which is restored as far as a call may have changed it, and after each call the keys in
//! it are compared. `differences.rs` lists the comparisons that are not byte for byte.

pub mod documented;
mod keys;
mod values;

use crate::differences::{NOT_GENERATED, rule_of};
use crate::pair::{Mismatch, Outcome, Pace, Pair, Rule, Step, Verdict};
use crate::random::state::DIGEST_OF_SHORT_SCORES;
use crate::reload;
use crate::support::{Client, Value};
use documented::{Documented, Role, Word};
use std::collections::HashSet;

/// A call, the steps that it needs before it, and the steps that read the keys after it.
pub struct Case {
    pub steps: Vec<Step>,
    /// The index of the call in `steps`.
    pub call: usize,
}

/// The amount of generated calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Without pairs of options.
    Single,
    Full,
}

/// Generated calls of one command.
pub struct Calls {
    pub command: String,
    pub cases: Vec<Case>,
}

/// Generates the calls of a command that both servers have. None for a command in [`NOT_GENERATED`].
pub fn generate(pair: &Pair, command: &str, depth: Depth) -> Calls {
    let mut calls = Calls { command: command.into(), cases: Vec::new() };
    if NOT_GENERATED.iter().any(|(name, _)| *name == command) {
        return calls;
    }
    let mut redis = pair.redis.client();
    let documented = Documented::ask(&mut redis, command);
    let plan = Plan::new(pair, &mut redis, command);
    let mut seen = HashSet::new();
    let mut add = |words: Vec<Word>| {
        let args: Vec<Vec<u8>> = words.iter().map(|word| word.text.clone()).collect();
        if seen.insert(args.clone()) {
            calls.cases.push(plan.case(&words, args));
        }
    };
    let single = documented.single();
    single.iter().flat_map(|call| changed(call)).for_each(&mut add);
    if depth == Depth::Full {
        documented.paired().into_iter().for_each(&mut add);
    }
    calls
}

/// The unchanged call; a word less and one more; other keys, odd values, other letter case.
fn changed(call: &[Word]) -> Vec<Vec<Word>> {
    let fixed = call.iter().take_while(|word| word.role == Role::Token).count().min(2);
    let mut calls = vec![call.to_vec(), call[..call.len() - 1].to_vec()];
    calls.push([call, &[Word::token("extra")]].concat());
    for at in 1..call.len() {
        let with = |text: &[u8]| {
            let mut call = call.to_vec();
            call[at].text = text.into();
            call
        };
        if call[at].role == Role::Key {
            calls.extend(values::OTHER_KEYS.iter().map(|key| with(key.as_bytes())));
        }
        // A different subcommand would be another command.
        if call[at].role != Role::Token || at >= fixed {
            calls.extend(values::odd(&call[at].role).iter().map(|text| with(text)));
        }
        if call[at].role == Role::Token {
            calls.push(with(&call[at].text.to_ascii_lowercase()));
        }
    }
    // A call needs at least one word.
    calls.retain(|call| !call.is_empty());
    calls
}

/// The steps around each call of a command.
struct Plan {
    command: String,
    /// Whether the whole data set is created again before each call.
    anew: bool,
    writes: bool,
    /// The command that returns the contents of a key.
    content: &'static [&'static str],
    content_end: &'static [&'static str],
    /// Keys of the data set whose commands both servers have.
    keys: Vec<&'static str>,
}

impl Plan {
    fn new(pair: &Pair, redis: &mut Client, command: &str) -> Plan {
        let info = redis.call(&["COMMAND", "INFO", command]).elements()[0].elements();
        let flags: Vec<String> = info[2].elements().iter().map(Value::text).collect();
        let takes_keys = info[3].integer() != 0 || flags.iter().any(|flag| flag == "movablekeys");
        let writes = !flags.iter().any(|flag| flag == "readonly");
        let mut subject = pair.subject.client();
        let mut has = |line: &&str| {
            let name = line.split(' ').next().unwrap_or_default();
            !subject.call(&["COMMAND", "INFO", name]).elements()[0].is_null()
        };
        let keys = values::FIXTURE
            .iter()
            .filter(|(_, lines)| lines.iter().all(&mut has))
            .map(|(key, _)| *key)
            .collect();
        let documented = Documented::ask(redis, command);
        let makes_scores = ["sorted-set", "geo"].contains(&&*documented.group);
        let (content, content_end) = if makes_scores && pair.peer < DIGEST_OF_SHORT_SCORES {
            (&["ZRANGE"][..], &["0", "-1", "WITHSCORES"][..])
        } else {
            (&["DEBUG", "DIGEST-VALUE"][..], &[][..])
        };
        Plan { command: command.into(), anew: !takes_keys && writes, writes, content, content_end, keys }
    }

    fn case(&self, words: &[Word], args: Vec<Vec<u8>>) -> Case {
        let step = |args: Vec<Vec<u8>>| Step::new(args, Rule::Exact);
        let named: Vec<&[u8]> = words.iter().filter(|w| w.role == Role::Key).map(|w| &w.text[..]).collect();
        let mut steps = Vec::new();
        if self.anew {
            steps.extend(self.data_set());
        } else if self.writes {
            // A key outside the data set is removed.
            for name in named.iter().chain([&&b"fresh"[..]]) {
                let known = self.keys.iter().find(|key| key.as_bytes() == *name);
                let made =
                    known.map_or(vec![vec![b"DEL".to_vec(), name.to_vec()]], |key| values::remake(key));
                steps.extend(made.into_iter().map(step));
            }
        }
        let call = steps.len();
        let rule = rule_of(&self.command, &args);
        steps.push(Step::new(args, rule));
        // A random choice leaves different values on the servers.
        if self.writes && rule != Rule::Kind {
            for name in &named {
                steps.extend(self.looks(name));
            }
        }
        Case { steps, call }
    }

    /// Creates the whole data set.
    fn data_set(&self) -> Vec<Step> {
        let flush = vec![vec![b"SELECT".to_vec(), b"0".to_vec()], vec![b"FLUSHALL".to_vec()]];
        let all = flush.into_iter().chain(self.keys.iter().flat_map(|key| values::remake(key)));
        all.map(|args| Step::new(args, Rule::Exact)).collect()
    }

    /// The steps that read the state of a key after a call.
    fn looks(&self, key: &[u8]) -> Vec<Step> {
        let step = |words: &[&str], end: &[&str], rule| {
            let bytes = |word: &&str| word.as_bytes().to_vec();
            let words = words.iter().map(bytes).chain([key.to_vec()]).chain(end.iter().map(bytes));
            Step::new(words.collect(), rule)
        };
        vec![
            step(&["TYPE"], &[], Rule::Exact),
            step(&["OBJECT", "ENCODING"], &[], Rule::Exact),
            step(&["PTTL"], &[], Rule::About(60_000)),
            step(self.content, self.content_end, Rule::Exact),
        ]
    }
}

impl Calls {
    /// Runs all cases; `judged` gets the verdict on each, and a description of each difference. With `brief`, no
    /// shorter sequence is searched for.
    pub fn run(
        &self,
        pair: &Pair,
        protocol: u8,
        brief: bool,
        mut judged: impl FnMut(&Case, Verdict, Option<String>),
    ) {
        if self.cases.is_empty() {
            return;
        }
        let plan = Plan::new(pair, &mut pair.redis.client(), &self.command);
        let start = plan.data_set();
        let steps: Vec<Step> =
            start.iter().chain(self.cases.iter().flat_map(|case| &case.steps)).cloned().collect();
        // The end of each case's steps, and the current case.
        let mut ends = Vec::new();
        for case in &self.cases {
            ends.push(ends.last().copied().unwrap_or(start.len()) + case.steps.len());
        }
        let (mut current, mut verdict, mut first_difference) = (0, Verdict::Equal, None);
        let mut verdicts = Vec::new();
        pair.each(protocol, &steps, Pace::Piped, |Outcome { at, verdict: of_step, subject, redis }| {
            let begin = ends[current] - self.cases[current].steps.len();
            if at >= begin && at - begin == self.cases[current].call {
                verdict = of_step;
            }
            // An intended difference in the reply may also be one in the keys.
            let meant = at >= begin + self.cases[current].call && verdict == Verdict::Intended;
            if of_step == Verdict::Different && !meant && first_difference.is_none() {
                first_difference = Some(Mismatch { at, subject, redis });
            }
            if at + 1 == ends[current] {
                let difference = first_difference.take();
                let verdict = if difference.is_some() { Verdict::Different } else { verdict };
                verdicts.push((verdict, difference));
                current += 1;
            }
            current < self.cases.len()
        });
        for (case, (verdict, difference)) in self.cases.iter().zip(verdicts) {
            let explained = difference.map(|found| {
                if brief {
                    return found.lines(&steps);
                }
                let alone: Vec<Step> = start.iter().chain(&case.steps).cloned().collect();
                // If a server is gone, the case cannot be repeated alone.
                let again = pair.is_alive().then(|| pair.run(protocol, &alone, Pace::OneByOne)).flatten();
                match again {
                    Some(mismatch) => pair.explain(protocol, &alone, Pace::OneByOne, mismatch),
                    None => pair.explain(protocol, &steps, Pace::Piped, found),
                }
            });
            judged(case, verdict, explained);
        }
    }
}

/// The commands that both servers have, by the names that clients use.
pub fn commands(pair: &Pair) -> Vec<String> {
    let list = |client: &mut Client| -> Vec<String> {
        client.run("COMMAND LIST").elements().iter().map(Value::text).collect()
    };
    let (here, theirs) = (list(&mut pair.subject.client()), list(&mut pair.redis.client()));
    let is_container = |name: &String| {
        name != "command" && theirs.iter().any(|other| other.starts_with(&format!("{name}|")))
    };
    let mut both: Vec<String> =
        here.into_iter().filter(|name| theirs.contains(name) && !is_container(name)).collect();
    both.sort();
    both
}

#[test]
fn every_command_with_every_option_replies_as_redis_does() {
    let pair = Pair::start("");
    let (mut cases, mut wrong) = (0, Vec::new());
    for (number, command) in commands(&pair).iter().enumerate() {
        let calls = generate(&pair, command, Depth::Single);
        cases += calls.cases.len();
        // `make compat` runs all calls in both protocols.
        calls.run(&pair, 2 + (number % 2) as u8, false, |_, _, difference| wrong.extend(difference));
        wrong.extend(reload::difference(&pair).map(|found| format!("after calls of {command}:\n{found}")));
    }
    println!("{cases} calls compared");
    assert!(cases > 2000, "only {cases} calls");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
