//! Random values, dumped by both servers and restored by the other one; a string's bytes are the same, compressed or
//! not.

use crate::pair::{Pair, Rule, Step, Verdict};
use crate::support::random::{Random, seeds};
use crate::support::{Client, Value};
use redstart::codec::crc64;
use redstart::persist::rdb::types;

/// A string of one of the kinds that compression treats differently: numbers, noise, few letters, words, periods.
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

/// Makes a collection `k` of one kind on both sides, of few or many elements, short or long.
fn collection(random: &mut Random, clients: &mut [&mut Client]) -> String {
    let count = *random.pick(&[1, 3, 20, 150, 700]);
    let longest = *random.pick(&[3, 10, 70, 3000]);
    let mut text = |n: usize| match random.below(4) {
        0 => ((random.next() as i64) >> random.below(64)).to_string(),
        1 => n.to_string(),
        _ => format!("{n}{}", ["x", "ab", "word "][random.below(3)].repeat(random.below(longest) / 2 + 1)),
    };
    let texts: Vec<String> = (0..count).map(&mut text).collect();
    let kind = *random.pick(&["RPUSH", "SADD", "HSET", "ZADD"]);
    for client in clients {
        client.run("DEL k");
        for (n, text) in texts.iter().enumerate() {
            let score = format!("{}", (n as f64 - 10.0) / 3.0);
            let args = match kind {
                "HSET" => vec![kind, "k", text, &texts[count - 1 - n]],
                "ZADD" => vec![kind, "k", &score, text],
                _ => vec![kind, "k", text],
            };
            client.call(&args);
        }
    }
    format!("{kind} of {count} up to {longest}")
}

#[test]
fn dumps_of_random_collections_restore_on_either_side() {
    let pair = Pair::start("");
    let (mut subject, mut redis) = (pair.subject.client(), pair.redis.client());
    for seed in seeds(&[1, 2, 3, 4]) {
        let mut random = Random::new(seed);
        for round in 0..25 {
            let what = collection(&mut random, &mut [&mut subject, &mut redis]);
            let origin = format!("REDSTART_SEED={seed}, round {round}: {what}");
            let digest = redis.run("DEBUG DIGEST-VALUE k");
            assert_eq!(subject.run("DEBUG DIGEST-VALUE k"), digest, "{origin}");
            let (here, theirs) = (subject.run("DUMP k"), redis.run("DUMP k"));
            let (Value::Bulk(here), Value::Bulk(theirs)) = (here, theirs) else {
                panic!("{origin}: no payload")
            };
            assert_eq!(here[0] == types::SET_LISTPACK, theirs[0] != here[0], "{origin}: another type");
            let restored = subject.call(&[&b"RESTORE"[..], b"k", b"0", &theirs[..], b"REPLACE"]);
            assert!(restored == Value::Simple(b"OK".to_vec()), "{origin}: {restored:?}");
            assert_eq!(subject.run("DEBUG DIGEST-VALUE k"), digest, "{origin}: from Redis");
            if here[0] != types::SET_LISTPACK {
                let restored =
                    redis.call(&[&b"RESTORE"[..], b"k", b"0", &as_version_10(&here)[..], b"REPLACE"]);
                assert!(restored == Value::Simple(b"OK".to_vec()), "{origin}: {restored:?}");
                assert_eq!(redis.run("DEBUG DIGEST-VALUE k"), digest, "{origin}: in Redis");
            }
            subject.call(&[&b"RESTORE"[..], b"k", b"0", &here[..], b"REPLACE"]);
            assert_eq!(subject.run("DEBUG DIGEST-VALUE k"), digest, "{origin}: our own");
        }
    }
}

/// The payload with the footer of an earlier version, which Redis takes.
fn as_version_10(payload: &[u8]) -> Vec<u8> {
    let mut older = payload[..payload.len() - 10].to_vec();
    older.extend_from_slice(&10_u16.to_le_bytes());
    older.extend_from_slice(&crc64::checksum(&older).to_le_bytes());
    older
}

/// What DEBUG OBJECT says of the length.
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
                step.judge(&here, &theirs) != Verdict::Different,
                "{origin}\nhere  {here:?}\nredis {theirs:?}"
            );
            let (Value::Bulk(here), Value::Bulk(theirs)) = (here, theirs) else {
                panic!("{origin}: no payload")
            };
            subject.call(&[&b"RESTORE"[..], b"k", b"0", &theirs[..], b"REPLACE"]);
            redis.call(&[&b"RESTORE"[..], b"k", b"0", &as_version_10(&here)[..], b"REPLACE"]);
            for client in [&mut subject, &mut redis] {
                assert!(client.call(&["GET", "k"]) == Value::Bulk(value.clone()), "{origin}");
            }
        }
        assert_eq!(subject.run("DEBUG DIGEST"), redis.run("DEBUG DIGEST"), "REDSTART_SEED={seed}");
    }
}
