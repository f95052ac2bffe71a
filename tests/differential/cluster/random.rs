//! Random commands for a node: commands of all families with keys in slots of this node and of others, also in
//! transactions and scripts, and commands for cluster nodes only.

use super::Scene;
use crate::args;
use crate::pair::{Pair, Rule, Step};
use crate::random::{Mix, words};
use crate::roles::families;
use crate::support::random::Random;

/// Hash tags: one of this node, one of this node whose slot may be migrating, and two of the other node, of which the
/// slot of the last may be imported.
const TAGS: [&str; 4] = ["b", "f", "a", "foo"];

/// The slots of the tags, and other arguments.
const SLOTS: &[&str] = &["3300", "3168", "15495", "12182", "0", "8191", "8192", "16383", "16384", "-1", "x"];

const CHANNELS: &[&str] = &["b", "{b}c", "f", "foo", "channel"];

fn step(line: &str, rule: Rule) -> Step {
    Step::new(words::split(line), rule)
}

/// Returns `count` random commands, or a few more.
pub fn sequence(pair: &Pair, scene: Scene, seed: u64, count: usize) -> Vec<Step> {
    let mix = Mix::of(pair, &families()).expect("commands that both know");
    let exact =
        Mix::of(pair, &families()).expect("commands that both know").exact(pair).without_intended(pair);
    let mut random = Random::new(seed ^ (scene as u64) << 32);
    let mut steps = Vec::new();
    while steps.len() < count {
        match random.below(60) {
            0..4 => {
                steps.push(step("ASKING", Rule::Exact));
                steps.push(tagged(&mut random, &mix));
            }
            4 => steps.push(step(random.pick::<&str>(&["READONLY", "READONLY", "READWRITE"]), Rule::Exact)),
            5..8 => transaction(&mut random, &exact, &mut steps),
            8..10 => steps.push(own(&mut random, scene)),
            _ => steps.push(tagged(&mut random, &mix)),
        }
    }
    steps
}

/// A command for cluster nodes only, or one whose reply differs on them.
fn own(random: &mut Random, scene: Scene) -> Step {
    let slot = words::one_of(random, SLOTS);
    let args = match random.below(12) {
        0..2 => args!["SPUBLISH", words::one_of(random, CHANNELS), "message"],
        2 => args!["PUBLISH", words::one_of(random, CHANNELS), "message"],
        3 => args!["CLUSTER", "KEYSLOT", words::any_key(random)],
        4 => args!["CLUSTER", "COUNTKEYSINSLOT", slot],
        5 => {
            let args =
                args!["CLUSTER", "GETKEYSINSLOT", slot, words::one_of(random, &["0", "1000", "-1", "x"])];
            return Step::new(args, Rule::Unordered);
        }
        6 => args!["SELECT", words::one_of(random, &["0", "1", "16", "x"])],
        7 => args!["WATCH", words::any_key(random)],
        8 if scene == Scene::Moving => {
            return step(
                random.pick::<&str>(&[
                    "CLUSTER SETSLOT 3168 MIGRATING <id1>",
                    "CLUSTER SETSLOT 3168 STABLE",
                    "CLUSTER SETSLOT 12182 IMPORTING <id1>",
                    "CLUSTER SETSLOT 12182 STABLE",
                ]),
                Rule::Exact,
            );
        }
        8 => args!["UNWATCH"],
        9 => args!["SWAPDB", "0", "1"],
        10 => args!["EXEC"],
        _ => args!["DISCARD"],
    };
    Step::new(args, Rule::Exact)
}

/// Appends `MULTI`, commands, and `EXEC` or, rarely, `DISCARD`.
fn transaction(random: &mut Random, mix: &Mix, steps: &mut Vec<Step>) {
    if random.chance(6) {
        steps.push(step("ASKING", Rule::Exact));
    }
    if random.chance(6) {
        steps
            .push(step(random.pick::<&str>(&["WATCH {b}a", "WATCH {foo}a", "WATCH {b}a {f}a"]), Rule::Exact));
    }
    steps.push(step("MULTI", Rule::Exact));
    let tag = *random.pick(&TAGS);
    for _ in 0..random.below(5) {
        let tag = if random.chance(6) { *random.pick(&TAGS) } else { tag };
        let mut queued = mix.command(random);
        retag(&mut queued, |_| tag);
        steps.push(queued);
    }
    steps.push(step(if random.chance(8) { "DISCARD" } else { "EXEC" }, Rule::Exact));
}

/// A random command. Usually all of its keys have the same tag, and usually it is one of this node.
fn tagged(random: &mut Random, mix: &Mix) -> Step {
    let mut step = if random.chance(6) { mix.nonsense(random) } else { mix.command(random) };
    // The reply depends on when a replica acknowledges.
    if step.args[0].eq_ignore_ascii_case(b"WAIT") {
        step.rule = Rule::Kind;
    }
    match random.below(20) {
        0..9 => retag(&mut step, |_| TAGS[0]),
        9..13 => retag(&mut step, |_| TAGS[1]),
        13 => retag(&mut step, |_| TAGS[2]),
        14..17 => retag(&mut step, |_| TAGS[3]),
        17..19 => {
            let chosen = [*random.pick(&TAGS), *random.pick(&TAGS)];
            retag(&mut step, |at| chosen[at % 2]);
        }
        _ => {}
    }
    step
}

/// Gives each key of a command a hash tag, which `tag` chooses by the position of the key. A word that looks like a key
/// gets a tag as well.
fn retag(step: &mut Step, tag: impl Fn(usize) -> &'static str) {
    let keys = words::all_keys();
    let mut seen = 0;
    for arg in step.args.iter_mut().skip(1) {
        if keys.contains(arg) {
            let mut tagged = format!("{{{}}}", tag(seen)).into_bytes();
            tagged.append(arg);
            *arg = tagged;
            seen += 1;
        } else if arg.contains(&b'\n')
            && let Ok(mut text) = String::from_utf8(arg.clone())
        {
            // A script with the names of keys as string literals.
            for key in
                keys.iter().filter(|key| key.contains(&b':')).filter_map(|key| std::str::from_utf8(key).ok())
            {
                for quote in ['\'', '"'] {
                    let literal = format!("{quote}{key}{quote}");
                    text = text.replace(&literal, &format!("{quote}{{{}}}{key}{quote}", tag(0)));
                }
            }
            *arg = text.into_bytes();
        }
    }
}
