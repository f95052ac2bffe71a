//! Random values, dumped by both servers and restored by the other one. The payloads of strings are the same bytes,
//! compressed or not.

use crate::pair::{Pair, Rule, Step, Verdict};
use crate::random::state::DIGEST_OF_SHORT_SCORES;
use crate::reload::{self, Readers};
use crate::support::random::{Random, seeds};
use crate::support::{Client, Value, Version};
use redstart::codec::crc64;
use redstart::persist::rdb::{Input, SliceInput, types};

/// The first Redis with version 11 of the format, as here.
const FORMAT_11: Version = Version::new(7, 2);

/// A string of a kind that the compression treats specially: numbers, noise, few letters, words, periods.
fn string(random: &mut Random) -> Vec<u8> {
    let len = *random.pick(&[0, 5, 20, 21, 40, 200, 1000, 9000, 40_000]);
    match random.below(6) {
        0 => ((random.next() as i64) >> random.below(64)).to_string().into_bytes(),
        1 => random.bytes(len),
        2 => {
            let letters = *random.pick(&[1, 2, 4, 16]);
            (0..len).map(|_| b'a' + random.below(letters) as u8).collect()
        }
        3 => {
            let words =
                [&b"the "[..], b"quick ", b"brown ", b"fox ", b"{\"id\":", b"\"name\":", b",", b"0", b"1"];
            (0..len / 4).flat_map(|_| random.pick(&words).to_vec()).collect()
        }
        _ => {
            let (period, tail) = (1 + random.below(300), random.below(40));
            let piece = random.bytes(period);
            let count = 1 + len / period;
            [piece.repeat(count), random.bytes(tail)].concat()
        }
    }
}

/// Creates a random collection `k` on both sides, of few or many elements, short or long.
fn collection(random: &mut Random, clients: &mut [&mut Client]) -> String {
    let count = *random.pick(&[1, 3, 20, 150, 700]);
    let longest = *random.pick(&[3, 10, 70, 3000]);
    let mut text = |n: usize| match random.below(4) {
        0 => ((random.next() as i64) >> random.below(64)).to_string(),
        1 => n.to_string(),
        _ => format!("{n}{}", ["x", "ab", "word "][random.below(3)].repeat(random.below(longest) / 2 + 1)),
    };
    let texts: Vec<String> = (0..count).map(&mut text).collect();
    let kind = *random.pick(&["RPUSH", "SADD", "HSET", "ZADD", "XADD"]);
    let groups: Vec<String> = if kind == "XADD" { read_by_groups(random, count) } else { Vec::new() };
    for client in clients {
        client.run("DEL k");
        for (n, text) in texts.iter().enumerate() {
            let score = format!("{}", (n as f64 - 10.0) / 3.0);
            let id = format!("{}-{}", n / 3, n % 3 + 1);
            let args = match kind {
                "XADD" if n % 7 == 0 => vec![kind, "k", &id, "field", text, text, "another"],
                "XADD" => vec![kind, "k", &id, "field", text],
                "HSET" => vec![kind, "k", text, &texts[count - 1 - n]],
                "ZADD" => vec![kind, "k", &score, text],
                _ => vec![kind, "k", text],
            };
            client.call(&args);
        }
        for line in &groups {
            let reply = client.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
    }
    format!("{kind} of {count} up to {longest}")
}

/// The commands that create groups of a stream `k` of `count` entries, in all states; the times of pending entries are
/// the same on both sides.
fn read_by_groups(random: &mut Random, count: usize) -> Vec<String> {
    let mut id = || format!("{}-{}", random.below(count / 3 + 1), random.below(4));
    let mut lines = vec![
        "XGROUP CREATE k nothing 0".to_string(),
        format!("XGROUP CREATE k empty {}", id()),
        "XGROUP CREATE k read 0 ENTRIESREAD 3".into(),
        "XGROUP CREATECONSUMER k empty lonely".into(),
        format!("XREADGROUP GROUP read alice COUNT {} STREAMS k >", count / 3 + 1),
        format!("XREADGROUP GROUP read bob COUNT {} STREAMS k >", count / 4 + 1),
    ];
    for n in 0..=count / 3 {
        lines.push(format!("XCLAIM k read carol 0 {} TIME {} RETRYCOUNT {n} FORCE", id(), 1000 + n));
    }
    lines.push(format!("XACK k read {} {}", id(), id()));
    lines.push(format!("XDEL k {} {}", id(), id()));
    lines
}

/// The payload of a stream in the format of Redis 7.0 (`STREAM_2`) or 5.0 (`STREAM`), which contain less.
fn stream_as(form: u8, payload: &[u8]) -> Vec<u8> {
    let mut input = SliceInput::new(&payload[1..]);
    let at = |input: &SliceInput<'_>| payload.len() - input.rest().len();
    let lengths = |input: &mut SliceInput<'_>, count: usize| -> u64 {
        (0..count).map(|_| input.length().expect("a length")).last().expect("some")
    };
    let counted = form != types::STREAM;
    let mut gaps = Vec::new();
    let mut drop = |wanted: bool, from: usize, to: usize| gaps.extend((!wanted).then_some(from..to));
    for _ in 0..2 * lengths(&mut input, 1) {
        input.string().expect("a node's ID and listpack");
    }
    lengths(&mut input, 3);
    let from = at(&input);
    lengths(&mut input, 5);
    drop(counted, from, at(&input));
    for _ in 0..lengths(&mut input, 1) {
        input.string().expect("the group's name");
        lengths(&mut input, 2);
        let from = at(&input);
        lengths(&mut input, 1);
        drop(counted, from, at(&input));
        for _ in 0..lengths(&mut input, 1) {
            input.bytes(24).expect("an ID and a time");
            lengths(&mut input, 1);
        }
        for _ in 0..lengths(&mut input, 1) {
            input.string().expect("the consumer's name");
            input.bytes(8).expect("a time");
            let from = at(&input);
            input.bytes(8).expect("a time");
            drop(false, from, from + 8);
            for _ in 0..lengths(&mut input, 1) {
                input.bytes(16).expect("an ID");
            }
        }
    }
    let mut older = payload.to_vec();
    older[0] = form;
    for gap in gaps.into_iter().rev() {
        older.drain(gap);
    }
    older
}

/// The digests of `k` on both sides.
fn digests(subject: &mut Client, redis: &mut Client) -> [Value; 2] {
    [subject, redis].map(|client| client.run("DEBUG DIGEST-VALUE k"))
}

/// Compares the state of `k` on both sides; the seen times of consumers differ between servers.
fn assert_same(subject: &mut Client, redis: &mut Client, expected: &[Value; 2], origin: &str) {
    let peer = Version::of(redis);
    assert_eq!(digests(subject, redis), *expected, "{origin}");
    if subject.run("TYPE k") == Value::Simple(b"stream".to_vec()) {
        let step =
            Step::new(["XINFO", "STREAM", "k", "FULL", "COUNT", "0"].map(Vec::from).to_vec(), Rule::Times);
        let (here, theirs) = (subject.call(&step.args), redis.call(&step.args));
        assert!(
            step.judge(&here, &theirs, peer) != Verdict::Different,
            "{origin}\nhere  {here:?}\nredis {theirs:?}"
        );
    }
}

#[test]
fn dumps_of_random_collections_restore_on_either_side() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    let same_format = pair.peer >= FORMAT_11;
    for seed in seeds(&[1, 2, 3, 4]) {
        let mut random = Random::new(seed);
        for round in 0..25 {
            let what = collection(&mut random, &mut [&mut subject, &mut redis]);
            let origin = format!("REDSTART_SEED={seed}, round {round}: {what}");
            let digest = digests(&mut subject, &mut redis);
            if !what.starts_with("ZADD") || pair.peer >= DIGEST_OF_SHORT_SCORES {
                assert_eq!(digest[0], digest[1], "{origin}");
            }
            assert_same(&mut subject, &mut redis, &digest, &origin);
            let (here, theirs) = (subject.run("DUMP k"), redis.run("DUMP k"));
            let (Value::Bulk(here), Value::Bulk(theirs)) = (here, theirs) else {
                panic!("{origin}: no payload")
            };
            let expected = match here[0] {
                types::SET_LISTPACK if !same_format => types::SET,
                types::STREAM_3 if !same_format => types::STREAM_2,
                same => same,
            };
            assert_eq!(theirs[0], expected, "{origin}: another type");
            let restored = subject.call(&[&b"RESTORE"[..], b"k", b"0", &theirs[..], b"REPLACE"]);
            assert!(restored == Value::Simple(b"OK".to_vec()), "{origin}: {restored:?}");
            assert_same(&mut subject, &mut redis, &digest, &format!("{origin}: from Redis"));
            if same_format || here[0] != types::SET_LISTPACK {
                let payload = match here[0] {
                    _ if same_format => here.clone(),
                    types::STREAM_3 => as_version_10(&stream_as(types::STREAM_2, &here)),
                    _ => as_version_10(&here),
                };
                let restored = redis.call(&[&b"RESTORE"[..], b"k", b"0", &payload[..], b"REPLACE"]);
                assert!(restored == Value::Simple(b"OK".to_vec()), "{origin}: {restored:?}");
                assert_same(&mut subject, &mut redis, &digest, &format!("{origin}: in Redis"));
            }
            subject.call(&[&b"RESTORE"[..], b"k", b"0", &here[..], b"REPLACE"]);
            assert_same(&mut subject, &mut redis, &digest, &format!("{origin}: our own"));
            // For an empty stream, Redis uses the largest ID as that of the first entry.
            if here[0] == types::STREAM_3 && subject.run("XLEN k").integer() > 0 {
                let oldest = as_version_10(&stream_as(types::STREAM, &here));
                for client in [&mut subject, &mut redis] {
                    let restored = client.call(&[&b"RESTORE"[..], b"k", b"0", &oldest[..], b"REPLACE"]);
                    assert!(restored == Value::Simple(b"OK".to_vec()), "{origin}: {restored:?}");
                }
                assert_same(&mut subject, &mut redis, &digest, &format!("{origin}: from Redis 5.0"));
            }
        }
        // The AOF contains the RESTORE calls with their payloads, which may be in a newer format.
        let readers = if same_format { Readers::Both } else { Readers::Writer };
        reload::check_end_by(&pair, readers, &format!("REDSTART_SEED={seed}"));
    }
}

/// The payload with the footer of an earlier version, which Redis accepts.
fn as_version_10(payload: &[u8]) -> Vec<u8> {
    let mut older = payload[..payload.len() - 10].to_vec();
    older.extend_from_slice(&10_u16.to_le_bytes());
    older.extend_from_slice(&crc64::checksum(&older).to_le_bytes());
    older
}

/// The length in the reply of DEBUG OBJECT.
fn serialized_len(client: &mut Client) -> String {
    let text = client.run("DEBUG OBJECT k").text();
    let length = text.split(' ').find_map(|word| word.strip_prefix("serializedlength:"));
    length.unwrap_or_else(|| panic!("no length: {text}")).to_string()
}

#[test]
fn dumps_of_random_strings_are_those_of_redis_and_restore_on_either_side() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    for seed in seeds(&[1, 2, 3, 4]) {
        let mut random = Random::new(seed);
        for round in 0..300 {
            let value = string(&mut random);
            let origin =
                format!("REDSTART_SEED={seed}, round {round}: {:?}", value.escape_ascii().to_string());
            for client in [&mut subject, &mut redis] {
                client.call(&[&b"SET"[..], b"k", &value[..]]);
            }
            let lengths = [&mut subject, &mut redis].map(serialized_len);
            assert_eq!(lengths[0], lengths[1], "{origin}");
            let step = Step::new(vec![b"DUMP".to_vec(), b"k".to_vec()], Rule::Exact);
            let (here, theirs) = (subject.call(&step.args), redis.call(&step.args));
            assert!(
                step.judge(&here, &theirs, pair.peer) != Verdict::Different,
                "{origin}\nhere  {here:?}\nredis {theirs:?}"
            );
            let (Value::Bulk(here), Value::Bulk(theirs)) = (here, theirs) else {
                panic!("{origin}: no payload")
            };
            subject.call(&[&b"RESTORE"[..], b"k", b"0", &theirs[..], b"REPLACE"]);
            let payload = if pair.peer >= FORMAT_11 { here } else { as_version_10(&here) };
            redis.call(&[&b"RESTORE"[..], b"k", b"0", &payload[..], b"REPLACE"]);
            for client in [&mut subject, &mut redis] {
                assert!(client.call(&["GET", "k"]) == Value::Bulk(value.clone()), "{origin}");
            }
        }
        assert_eq!(subject.run("DEBUG DIGEST"), redis.run("DEBUG DIGEST"), "REDSTART_SEED={seed}");
        reload::check_end(&pair, &format!("REDSTART_SEED={seed}"));
    }
}
