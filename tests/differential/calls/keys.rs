//! The keys of a call, before it is executed: COMMAND GETKEYS and GETKEYSANDFLAGS of every command, with every
//! documented option, truncated after each word, and with words that match no rule.

use super::changed;
use super::documented::Documented;
use crate::pair::{Pace, Pair, Rule, Step};
use crate::tables::compared;
use std::collections::BTreeSet;

/// Words for positions where a rule for keys may expect a number, a keyword or a key.
const FILLERS: &[&str] = &["k", "0", "1", "2", "-1", "99", "STREAMS", "STORE", "KEYS", "GET"];

/// The most words of a call that consists of fillers.
const FILLED: usize = 7;

/// A number of keys that `atoi` accepts, but no command. If a rule does not match, Redis applies a second one, which
/// parses the number with `atoi`: so it finds keys in calls that it refuses.
fn is_loose_number(word: &[u8]) -> bool {
    let text = String::from_utf8_lossy(word);
    let begin = text.trim_start().trim_start_matches('+');
    begin.starts_with(|letter: char| letter.is_ascii_digit())
        && text.parse::<i64>().ok().map(|number| number.to_string()).as_deref() != Some(&*text)
}

/// Whether the arguments of `command` contain the number of keys.
fn counts_keys(pair: &Pair, command: &str) -> bool {
    let info = pair.redis.client().call(&["COMMAND", "INFO", command]);
    format!("{:?}", info.elements()[0].elements()[8]).contains("keynum")
}

/// The calls of `command`, without duplicates.
fn calls(pair: &Pair, command: &str) -> BTreeSet<Vec<Vec<u8>>> {
    let documented = Documented::ask(&mut pair.redis.client(), command);
    let mut calls = BTreeSet::new();
    for call in documented.single().iter().flat_map(|call| changed(call)) {
        let words: Vec<Vec<u8>> = call.into_iter().map(|word| word.text).collect();
        calls.extend((1..=words.len()).map(|end| words[..end].to_vec()));
    }
    let name: Vec<Vec<u8>> = command.split('|').map(|word| word.as_bytes().to_vec()).collect();
    for filler in FILLERS {
        for more in 0..FILLED {
            let fillers = (0..more).map(|_| filler.as_bytes().to_vec());
            calls.insert(name.iter().cloned().chain(fillers).collect());
        }
    }
    if counts_keys(pair, command) {
        calls.retain(|call| !call.iter().any(|word| is_loose_number(word)));
    }
    calls
}

#[test]
fn the_keys_of_every_call_and_their_flags_are_those_that_redis_finds() {
    let pair = Pair::start("");
    let (mut questions, mut wrong) = (0, Vec::new());
    for (number, command) in compared(&pair).iter().enumerate() {
        let ask = |what: &'static str| {
            move |call: Vec<Vec<u8>>| {
                let question = ["COMMAND", what].map(|word| word.as_bytes().to_vec());
                Step::new(question.into_iter().chain(call).collect(), Rule::Exact)
            }
        };
        let calls = calls(&pair, command);
        let without_flags: Vec<Vec<Vec<u8>>> = calls.iter().step_by(10).cloned().collect();
        let steps: Vec<Step> = (calls.into_iter().map(ask("GETKEYSANDFLAGS")))
            .chain(without_flags.into_iter().map(ask("GETKEYS")))
            .collect();
        questions += steps.len();
        let protocol = 2 + (number % 2) as u8;
        if let Some(found) = pair.run(protocol, &steps, Pace::Piped) {
            wrong.push(found.lines(&steps));
        }
    }
    println!("{questions} questions compared");
    assert!(questions > 10_000, "only {questions} questions");
    assert!(wrong.is_empty(), "{} commands differ:\n{}", wrong.len(), wrong.join("\n"));
}
