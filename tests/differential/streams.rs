//! Whole byte streams, valid and broken, and all replies until the connection closes.
//!
//! The test sends a stream on a new connection, closes the sending side, and keeps all replies: so the transcript of
//! half a request or of a protocol error has a definite end. (The replies to a stream stay below 64 KiB: with more,
//! Redis closes before it has sent all.) Redis gets the stream at once; the server under test gets it at once, byte by
//! byte and in random pieces, and must produce the same transcript every time. The last stream on every server is a
//! PING that must work: an error closes only its own connection.

use crate::pair::Pair;
use crate::reload;
use crate::script::{expand, split};
use crate::support::Value;
use crate::support::random::{Random, seeds};
use crate::support::server::Server;

struct Streams {
    flags: &'static str,
    streams: Vec<(String, Vec<u8>)>,
}

/// The streams of `streams.txt`: one a line, its words joined; `= title` and `@flags` as in a script.
fn parse(text: &str) -> Vec<Streams> {
    let (mut open, mut title) = (Streams { flags: "", streams: Vec::new() }, "");
    let mut locked = Streams { flags: "--requirepass secret", streams: Vec::new() };
    let mut into_locked = false;
    for (number, line) in text.lines().enumerate().map(|(n, l)| (n + 1, l.trim())) {
        if let Some(new) = line.strip_prefix("= ") {
            (title, into_locked) = (new, false);
        } else if line == "@password" {
            into_locked = true;
        } else if !line.is_empty() && !line.starts_with('#') {
            let place = format!("streams.txt:{number} ({title})");
            for variant in expand(line).unwrap_or_else(|e| panic!("{place}: {e}")) {
                let bytes = split(&variant).unwrap_or_else(|e| panic!("{place}: {e}")).concat();
                let group = if into_locked { &mut locked } else { &mut open };
                group.streams.push((place.clone(), bytes));
            }
        }
    }
    vec![open, locked]
}

/// All replies to `stream`, sent in pieces that end at `cuts`.
fn transcript(server: &Server, stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut client = server.client();
    let mut from = 0;
    for &cut in cuts.iter().chain([&stream.len()]) {
        // After an error the server may close while we still send; its output is read below.
        if client.send_raw(&stream[from..cut]).is_err() {
            break;
        }
        from = cut;
    }
    client.finish_sending();
    client.read_to_end().expect("the server replies and closes")
}

fn cuts(random: &mut Random, len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = (0..=random.below(6)).map(|_| random.below(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

fn assert_same(place: &str, how: &str, stream: &[u8], here: &[u8], redis: &[u8]) {
    if here == redis {
        return;
    }
    let at = here.iter().zip(redis).take_while(|(a, b)| a == b).count();
    let shown = |bytes: &[u8], from: usize| {
        let end = (from + 300).min(bytes.len());
        format!("\"{}\" of {} bytes", bytes[from.min(end)..end].escape_ascii(), bytes.len())
    };
    let from = at.saturating_sub(40);
    panic!(
        "{place}, sent {how}: the servers differ at byte {at}\n  stream: {}\n  here, from byte {from}:  {}\n  \
         redis, from byte {from}: {}",
        shown(stream, 0),
        shown(here, from),
        shown(redis, from)
    );
}

#[test]
fn byte_streams_in_any_pieces_get_the_replies_of_redis() {
    let mut compared = 0;
    for group in parse(include_str!("streams.txt")) {
        let pair = Pair::start(group.flags);
        let mut random = Random::new(1);
        for (place, stream) in &group.streams {
            for server in [&pair.subject, &pair.redis] {
                reset(server);
            }
            let redis = transcript(&pair.redis, stream, &[]);
            let mut compare = |how: &str, cuts: &[usize]| {
                reset(&pair.subject);
                assert_same(place, how, stream, &transcript(&pair.subject, stream, cuts), &redis);
                compared += 1;
            };
            compare("at once", &[]);
            if stream.len() < 400 {
                compare("byte by byte", &(1..stream.len()).collect::<Vec<_>>());
            }
            for _ in 0..3 {
                let cuts = cuts(&mut random, stream.len());
                compare(&format!("in pieces that end at {cuts:?}"), &cuts);
            }
        }
        let mut client = pair.subject.client();
        client.call(&["AUTH", "secret"]);
        assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()), "the server still serves");
        reload::check_end(&pair, "streams.txt");
    }
    assert!(compared > 500, "only {compared} streams were compared");
}

fn reset(server: &Server) {
    let mut client = server.client();
    // An error without a password is expected.
    client.call(&["AUTH", "secret"]);
    client.ok("FLUSHALL");
}

/// Valid requests with one byte changed, removed or doubled: the replies must equal Redis's.
#[test]
fn damaged_requests_get_the_replies_of_redis() {
    const REQUESTS: [&[u8]; 6] = [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"SET k \"quoted \\x41\" EX 100\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET k\n",
        b"*3\r\n$6\r\nAPPEND\r\n$1\r\nk\r\n$12\r\nline\r\nline\r\n\r\n",
    ];
    const BYTES: &[u8] = b"\r\n*$0123456789-+ \"'\\\x00\xffaPG";
    let pair = Pair::start("");
    for seed in seeds(&[11]) {
        let mut random = Random::new(seed);
        for round in 0..600 {
            let mut stream: Vec<u8> =
                (0..=random.below(4)).flat_map(|_| random.pick(&REQUESTS).to_vec()).collect();
            for _ in 0..=random.below(3) {
                let at = random.below(stream.len());
                match random.below(3) {
                    0 => stream[at] = *random.pick(BYTES),
                    1 => drop(stream.remove(at)),
                    _ => stream.insert(at, *random.pick(BYTES)),
                }
            }
            for server in [&pair.subject, &pair.redis] {
                reset(server);
            }
            let redis = transcript(&pair.redis, &stream, &[]);
            let cuts = cuts(&mut random, stream.len());
            let here = transcript(&pair.subject, &stream, &cuts);
            assert_same(
                &format!("seed {seed}, round {round}"),
                &format!("cut at {cuts:?}"),
                &stream,
                &here,
                &redis,
            );
        }
        reload::check_end(&pair, &format!("seed {seed}"));
    }
}
