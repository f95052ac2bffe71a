//! A scripted primary at the other end, whose bytes arrive divided in any way, late, or not at all.

use super::*;

const MARK_BYTES: &[u8; MARK] = b"0123456789abcdef0123456789abcdef01234567";

fn id(digit: u8) -> Id {
    Id::new([digit; 20])
}

/// The result of running a link on all bytes of a primary.
#[expect(clippy::option_option, reason = "the value of an event, if it has happened")]
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    sent: Vec<u8>,
    notes: Vec<String>,
    synced: Option<Option<(Id, i64)>>,
    continued: Option<Option<Id>>,
    length: Option<Option<u64>>,
    snapshot: Vec<u8>,
    has_ended: bool,
    /// The bytes after the snapshot.
    stream: Vec<u8>,
    failure: Option<Failure>,
}

/// A simple generator, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Passes `pieces` to a link, each a millisecond after the one before it.
fn run<'a>(greeting: &Greeting, pieces: impl Iterator<Item = &'a [u8]>) -> (Outcome, Link) {
    let mut link = Link::new(0, 1000);
    let mut outcome = Outcome::default();
    link.connected(greeting.clone(), 0, &mut outcome.sent);
    for (now_ms, piece) in pieces.enumerate() {
        let mut left = piece;
        loop {
            let received = link.receive(left, now_ms as u64, &mut outcome.sent);
            let (taken, event) = match received {
                Ok(received) => received,
                Err(failure) => {
                    outcome.failure = Some(failure);
                    return (outcome, link);
                }
            };
            left = &left[taken..];
            match event {
                None if taken == 0 => break,
                None => {}
                Some(Event::Note(_, text)) => outcome.notes.push(text),
                Some(Event::FullSync(found)) => outcome.synced = Some(found),
                Some(Event::Continue(found)) => outcome.continued = Some(found),
                Some(Event::SnapshotBegins(length)) => outcome.length = Some(length),
                Some(Event::Snapshot(bytes)) => outcome.snapshot.extend_from_slice(bytes),
                Some(Event::Held(bytes)) => outcome.snapshot.extend_from_slice(&bytes),
                Some(Event::SnapshotEnds) => outcome.has_ended = true,
            }
        }
        outcome.stream.extend_from_slice(left);
        assert!(left.is_empty() || link.is_complete(), "bytes before the stream are left");
    }
    (outcome, link)
}

fn divide<'a>(bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let (mut pieces, mut left) = (Vec::new(), bytes);
    while !left.is_empty() {
        let most = [1, 3, 50, 5000][random.below(4)];
        let (piece, rest) = left.split_at((1 + random.below(most)).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces
}

/// The bytes that a primary sends after the handshake, with the expected outcomes.
fn scripts() -> Vec<(Vec<u8>, Outcome)> {
    let handshake = b"+PONG\r\n+OK\r\n+OK\r\n".to_vec();
    let full = [b"\n\n+FULLRESYNC ".to_vec(), id(3).as_str().into(), b" 700\r\n".to_vec()].concat();
    let snapshot: Vec<u8> = (0..9000_u32).flat_map(|n| (n * 7).to_le_bytes()).collect();
    let stream = b"*1\r\n$4\r\nPING\r\n".to_vec();
    let expected = || Outcome {
        notes: vec!["Master replied to PING, replication can continue...".into()],
        ..Outcome::default()
    };
    let counted = [
        handshake.clone(),
        full.clone(),
        format!("\n\n${}\r\n", snapshot.len()).into_bytes(),
        snapshot.clone(),
        stream.clone(),
    ];
    let marked = [handshake.clone(), full, b"\n$EOF:".to_vec(), MARK_BYTES.to_vec(), b"\r\n".to_vec()];
    let marked = [marked.concat(), snapshot.clone(), MARK_BYTES.to_vec()];
    let continued = [handshake.clone(), format!("+CONTINUE {}\r\n", id(4)).into_bytes(), stream.clone()];
    let old = [handshake, b"-ERR unknown command 'PSYNC'\r\n$3\r\nabc".to_vec(), stream.clone()];
    let synced = Some(Some((id(3), 700)));
    let length = Some(Some(snapshot.len() as u64));
    vec![
        (
            counted.concat(),
            Outcome {
                synced,
                length,
                snapshot: snapshot.clone(),
                has_ended: true,
                stream: stream.clone(),
                ..expected()
            },
        ),
        (marked.concat(), Outcome { synced, length: Some(None), snapshot, has_ended: true, ..expected() }),
        (continued.concat(), Outcome { continued: Some(Some(id(4))), stream: stream.clone(), ..expected() }),
        (
            old.concat(),
            Outcome {
                synced: Some(None),
                length: Some(Some(3)),
                snapshot: b"abc".to_vec(),
                has_ended: true,
                stream,
                ..expected()
            },
        ),
    ]
}

#[test]
fn any_division_of_the_bytes_gives_the_same_outcome() {
    let greeting = Greeting { port: 7000, has: Some((id(3), 501)), ..Greeting::default() };
    for (number, (bytes, mut expected)) in scripts().into_iter().enumerate() {
        expected.sent = b"*1\r\n$4\r\nPING\r\n".to_vec();
        request(&mut expected.sent, &[b"REPLCONF", b"listening-port", b"7000"]);
        request(&mut expected.sent, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        request(&mut expected.sent, &[b"PSYNC", id(3).as_str().as_bytes(), b"501"]);
        if expected.synced == Some(None) {
            request(&mut expected.sent, &[b"SYNC"]);
        }
        for seed in 0..500 {
            let pieces = divide(&bytes, &mut Random(seed));
            let (outcome, _) = run(&greeting, pieces.into_iter());
            assert_eq!(outcome, expected, "script {number}, seed {seed}");
        }
    }
}

#[test]
fn a_link_that_is_cut_or_damaged_anywhere_ends_nothing_too_early() {
    let greeting = Greeting::default();
    let scripts = scripts();
    for seed in 0..100_000 {
        let mut random = Random(seed);
        let (bytes, expected) = &scripts[random.below(scripts.len())];
        let mut bytes = bytes.clone();
        // Mostly change the first bytes, which are protocol lines.
        let bound = if random.below(2) == 0 { 200.min(bytes.len()) } else { bytes.len() };
        bytes.truncate(random.below(bound) + 1);
        if random.below(2) == 0 {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let pieces = divide(&bytes, &mut random);
        let (outcome, link) = run(&greeting, pieces.iter().copied());
        if outcome.failure.is_none() && outcome.has_ended && outcome.length == expected.length {
            assert_eq!(outcome.snapshot.len(), expected.snapshot.len(), "seed {seed}");
        }
        // The timeout applies whatever has arrived before.
        let last_ms = pieces.len() as u64;
        assert!(link.is_complete() || outcome.failure.is_some() || link.check(last_ms + 2000).is_err());
        assert!(link.check(link.heard_ms() + 1000).is_ok(), "silence is measured from the last byte");
    }
}

#[test]
fn a_password_and_an_address_are_sent_before_the_replies_to_them_arrive() {
    let greeting = Greeting {
        user: b"u".to_vec(),
        password: b"p".to_vec(),
        address: b"10.0.0.9".to_vec(),
        port: 1,
        has: None,
        takes_over: false,
    };
    let replies = b"-NOAUTH Authentication required.\r\n+OK\r\n-ERR a\r\n-ERR b\r\n-ERR c\r\n";
    let (outcome, link) = run(&greeting, std::iter::once(&replies[..]));
    let mut expected = Vec::new();
    let words: [&[&[u8]]; 6] = [
        &[b"PING"],
        &[b"AUTH", b"u", b"p"],
        &[b"REPLCONF", b"listening-port", b"1"],
        &[b"REPLCONF", b"ip-address", b"10.0.0.9"],
        &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"],
        &[b"PSYNC", b"?", b"-1"],
    ];
    for words in words {
        request(&mut expected, words);
    }
    assert_eq!(outcome.sent.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(outcome.notes.len(), 4, "unknown options are not critical: {:?}", outcome.notes);
    assert_eq!((outcome.failure, link.state()), (None, "handshake"));
}

#[test]
fn what_no_primary_says_ends_the_link_with_the_reason() {
    let greeting = Greeting::default();
    let wrong_password = Greeting { password: b"p".to_vec(), ..Greeting::default() };
    for (greeting, replies, reason) in [
        (&greeting, "-ERR no\r\n", "Error reply to PING from master: '-ERR no'"),
        (&wrong_password, "-NOAUTH x\r\n-WRONGPASS y\r\n", "Unable to AUTH to MASTER: -WRONGPASS y"),
        (
            &greeting,
            "+PONG\r\n+OK\r\n+OK\r\n-LOADING x\r\n",
            "Master is currently unable to PSYNC but should be in the future: -LOADING x",
        ),
        (
            &greeting,
            "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC abc 1\r\n",
            "Master replied with wrong +FULLRESYNC syntax.",
        ),
        (
            &greeting,
            "+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC 0000000000000000000000000000000000000001 9223372036854775807\r\n",
            "Master replied with wrong +FULLRESYNC syntax.",
        ),
        (
            &greeting,
            "+PONG\r\n+OK\r\n+OK\r\n-ERR old\r\n-ERR disk\r\n",
            "MASTER aborted replication with an error: ERR disk",
        ),
        (
            &greeting,
            "+PONG\r\n+OK\r\n+OK\r\n-ERR old\r\n$-5\r\n",
            "Bad protocol from MASTER, the length of the snapshot is wrong: $-5",
        ),
    ] {
        let (outcome, _) = run(greeting, std::iter::once(replies.as_bytes()));
        assert_eq!(outcome.failure.map(|Failure(_, text)| text).as_deref(), Some(reason));
    }
    let endless = vec![b'x'; MAX_LINE + 1];
    assert!(run(&greeting, std::iter::once(&endless[..])).0.failure.is_some());
}
