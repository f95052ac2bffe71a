//! Compares the effects on two servers: byte for byte and in order, except for times and random choices.

use super::{Call, Effects, reviewed};
use crate::pair::{Answer, Step};
use crate::support::{Value, Version};

/// The most milliseconds by which the clocks of two servers may differ, or by which one of them may be late.
const APART_MS: u64 = 20_000;

/// Whether the effects of `step`, which got these replies, are the same or have a reviewed difference.
pub fn alike(
    step: &Step,
    replies: (&Answer, &Answer),
    here: &Effects,
    redis: &Effects,
    peer: Version,
) -> bool {
    if here == redis {
        return true;
    }
    let (mut here, mut redis) = (here.clone(), redis.clone());
    reviewed::without_differences(&step.args, &mut here, &mut redis, peer);
    let chosen = here.events == redis.events
        && chosen_by_reply(step, replies.0, &here.calls)
        && chosen_by_reply(step, replies.1, &redis.calls)
        && here.calls.iter().zip(&redis.calls).all(|(a, b)| a.args.len() == b.args.len());
    here.events == redis.events
        && here.calls.len() == redis.calls.len()
        && (chosen || here.calls.iter().zip(&redis.calls).all(|(a, b)| same_call(step, a, b)))
}

/// Whether these are the calls for a random choice: SREM of exactly the members that SPOP returned.
fn chosen_by_reply(step: &Step, answer: &Answer, calls: &[Call]) -> bool {
    let Answer::Reply(reply) = answer else { return false };
    if !step.args[0].eq_ignore_ascii_case(b"SPOP") {
        return false;
    }
    let mut popped: Vec<Vec<u8>> = match &reply.value {
        Value::Bulk(member) => vec![member.clone()],
        Value::Array(members) | Value::Set(members) => {
            members.iter().map(|m| m.text().into_bytes()).collect()
        }
        _ => return false,
    };
    let removes =
        |call: &&Call| call.args.len() > 2 && call.args[0] == b"SREM" && call.args[1] == step.args[1];
    let mut removed: Vec<Vec<u8>> =
        calls.iter().filter(removes).flat_map(|call| call.args[2..].iter().cloned()).collect();
    removed.sort();
    popped.sort();
    !popped.is_empty() && removed == popped
}

fn same_call(step: &Step, a: &Call, b: &Call) -> bool {
    let id_of_clock = step.args[0].eq_ignore_ascii_case(b"XADD") && step.args.iter().any(|arg| arg == b"*");
    a.db == b.db
        && a.args.len() == b.args.len()
        && a.args.iter().zip(&b.args).all(|(a, b)| same_word(a, b, id_of_clock))
}

/// Whether the words are equal, or two times close to each other, or two IDs of stream entries with such times. The
/// number after the dash of an ID depends on whether the clock has advanced since the last ID; so it may differ in the
/// same millisecond only if the server has chosen the ID.
fn same_word(a: &[u8], b: &[u8], id_of_clock: bool) -> bool {
    let near = |a: u64, b: u64| a.abs_diff(b) <= APART_MS;
    let alike = |((ms, seq), (other_ms, other_seq)): ((u64, &str), (u64, &str))| {
        near(ms, other_ms)
            && seq.is_empty() == other_seq.is_empty()
            && (ms != other_ms || id_of_clock && !seq.is_empty())
    };
    a == b || times_of(a).zip(times_of(b)).is_some_and(alike)
}

/// A Unix time in milliseconds, and the text after the dash of a stream entry's ID; `None` for a small number.
fn times_of(word: &[u8]) -> Option<(u64, &str)> {
    let text = std::str::from_utf8(word).ok()?;
    let (ms, rest) = text.split_once('-').map_or((text, ""), |(ms, rest)| (ms, rest));
    let ms = ms.parse().ok().filter(|ms| *ms >= 1_000_000_000_000)?;
    Some((ms, rest))
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;
    use crate::pair::Rule;
    use crate::support::Reply;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    /// Events as `name key`, calls as lines; all in database 0.
    fn effects(events: &[&str], calls: &[&str]) -> Effects {
        let event = |text: &&str| {
            let (name, key) = text.split_once(' ').expect("a name and a key");
            Event { db: 0, of_key: false, name: name.into(), key: key.into() }
        };
        let call = |line: &&str| Call { db: 0, args: words(line) };
        Effects { events: events.iter().map(event).collect(), calls: calls.iter().map(call).collect() }
    }

    /// Compares after a command to which both replied `reply`.
    fn are_alike(line: &str, reply: &Value, here: &Effects, redis: &Effects) -> bool {
        let step = Step::new(words(line), Rule::Exact);
        let answer = Answer::Reply(Reply { value: reply.clone(), raw: Vec::new() });
        alike(&step, (&answer, &answer), here, redis, Version::new(7, 2))
    }

    #[test]
    fn effects_are_compared_by_order_database_and_every_byte() {
        let set = effects(&["new k", "set k"], &["SET k v"]);
        let ok = Value::Simple(b"OK".to_vec());
        assert!(are_alike("SET k v", &ok, &set, &set));
        let mut elsewhere = set.clone();
        elsewhere.calls[0].db = 1;
        for other in [
            effects(&["set k", "new k"], &["SET k v"]),
            effects(&["set k"], &["SET k v"]),
            effects(&["new k", "set l"], &["SET k v"]),
            effects(&["new k", "set k"], &["SET k w"]),
            effects(&["new k", "set k"], &["set k v"]),
            effects(&["new k", "set k"], &["SET k v", "SET k v"]),
            effects(&["new k", "set k"], &[]),
            elsewhere,
        ] {
            assert!(!are_alike("SET k v", &ok, &set, &other), "{:?} {:?}", other.events, other.calls);
        }
    }

    #[test]
    fn times_may_be_apart_as_far_as_clocks_are() {
        let call = |line: &str| effects(&[], &[line]);
        let ok = Value::Simple(b"OK".to_vec());
        let same = |a: &str, b: &str| are_alike("SET k v EX 9", &ok, &call(a), &call(b));
        assert!(same("SET k v PXAT 1795345870532", "SET k v PXAT 1795345870539"));
        assert!(same("XADD s 1795345870532-1 f v", "XADD s 1795345870533-0 f v"));
        assert!(!same("XADD s 1795345870532-1 f v", "XADD s 1795345870533 f v"));
        assert!(!same("SET k v PXAT 1795345870532", "SET k v PXAT 1795346870532"));
        assert!(!same("XADD s 1795345870532-0 f v", "XADD s 1795345870532-1 f v"));
        assert!(!same("SET k 10", "SET k 11"));
        let chosen = |a: &str, b: &str| are_alike("XADD s * f v", &ok, &call(a), &call(b));
        assert!(chosen("XADD s 1795345870532-0 f v", "XADD s 1795345870532-1 f v"));
        assert!(!chosen("XADD s 1795345870532-0 f v", "XADD s 1795345870532-0 f w"));
        assert!(!chosen("XADD s 1795345870532-0 f v", "XADD s 1795346870532-0 f v"));
    }

    #[test]
    fn members_that_chance_has_chosen_are_those_of_the_reply() {
        let popped = Value::Bulk(b"a".to_vec());
        let srem = |line: &str| effects(&["spop s"], &[line]);
        assert!(are_alike("SPOP s", &popped, &srem("SREM s a"), &srem("SREM s a")));
        assert!(!are_alike("SPOP s", &popped, &srem("SREM s a"), &srem("SREM s b")));
        assert!(!are_alike("SPOP s", &popped, &srem("SREM s b"), &srem("SREM s a")));
    }

    #[test]
    fn calls_about_a_group_that_only_this_server_propagates_pass_and_no_others() {
        let first = "XCLAIM s g alice 0 7-0 TIME 1795449862008 RETRYCOUNT 1 FORCE JUSTID LASTID 7-0";
        let again = "XCLAIM s g alice 0 7-0 TIME 1795449862008 RETRYCOUNT 2 FORCE JUSTID LASTID 7-0";
        let other = "XCLAIM s g alice 0 8-0 TIME 1795449862008 RETRYCOUNT 1 FORCE JUSTID LASTID 8-0";
        let counter = "XGROUP SETID s g 7-0 ENTRIESREAD 1";
        let none = Value::Array(Vec::new());
        let passes = |here: &[&str], redis: &[&str]| {
            let [here, redis] = [here, redis].map(|calls| {
                let framed = if calls.len() > 1 { &[&["MULTI"], calls, &["EXEC"]].concat() } else { calls };
                effects(&[], framed)
            });
            are_alike("XREADGROUP GROUP g alice STREAMS s s > 0", &none, &here, &redis)
        };
        assert!(passes(&[first, counter], &[first]));
        assert!(passes(&[again], &[]));
        // The call names the stream twice, so it reads the same entries again.
        assert!(passes(&[first, counter, again], &[first]));
        assert!(passes(&[first, other, counter, again], &[first, other]));
        // All calls that Redis propagates have to be propagated here, as often and with the same words.
        assert!(!passes(&[counter], &[first]));
        assert!(!passes(&[again, counter], &[first]));
        assert!(!passes(&[first, counter], &[first, first]));
        assert!(!passes(&[first, counter, again], &[first, other]));
        assert!(!passes(&[again, first], &[first]));
        assert!(!passes(&[first, "XACK s g 7-0"], &[first]));
    }
}
