//! Writes to an expired key while a pause hides expired keys, which only the `EXEC` that paused the clients can do.
//!
//! Redis 7.2 fails an assertion here, so the rule is our own: the command treats the key as absent, the AOF has the
//! key's deletion before the command, and the table never has two entries for the key.

mod support;

use support::client::encode;
use support::{Client, Server, Value, eventually};

/// A command whose keys have expired, and the commands that prepare the data.
struct Case {
    /// Commands that create the keys without an expiry.
    sources: &'static [&'static str],
    /// Commands that create the keys that have expired when the command is called.
    expired: &'static [&'static str],
    command: &'static str,
}

const fn case(expired: &'static [&'static str], command: &'static str) -> Case {
    Case { sources: &[], expired, command }
}

const fn with(
    sources: &'static [&'static str],
    expired: &'static [&'static str],
    command: &'static str,
) -> Case {
    Case { sources, expired, command }
}

const STRING: &[&str] = &["SET k 7"];
const LIST: &[&str] = &["RPUSH k old older"];
const SET: &[&str] = &["SADD k old older"];
const HASH: &[&str] = &["HSET k f 1 old older"];
const SORTED: &[&str] = &["ZADD k 1 old 2 older"];
const STREAM: &[&str] = &["XADD k 5-1 old older"];
const GEO: &[&str] = &["GEOADD a 13.361389 38.115556 x 15.087269 37.502669 y"];
const SETS: &[&str] = &["SADD a 1 2 3", "SADD b 2 3 4"];
const SORTED_SETS: &[&str] = &["ZADD a 1 x 2 y", "ZADD b 3 y 4 z"];

/// Placeholder for the payload that the server returns for `DUMP` of the string `7`.
const PAYLOAD: &str = "{dump}";

const CASES: &[Case] = &[
    case(STRING, "SET k v"),
    case(STRING, "SET k v NX"),
    case(STRING, "SET k v XX"),
    case(STRING, "SET k v GET"),
    case(STRING, "SET k v KEEPTTL"),
    case(STRING, "SET k v PX 100000000"),
    case(STRING, "SETNX k v"),
    case(STRING, "SETEX k 100000 v"),
    case(STRING, "GETSET k v"),
    case(STRING, "GETDEL k"),
    case(STRING, "GETEX k PERSIST"),
    case(STRING, "MSET k v l w"),
    case(&["SET k 7", "SET l 8"], "MSETNX l w k v"),
    case(STRING, "INCR k"),
    case(STRING, "DECRBY k 3"),
    case(STRING, "INCRBYFLOAT k 1.5"),
    case(STRING, "APPEND k tail"),
    case(STRING, "SETRANGE k 2 tail"),
    case(STRING, "SETBIT k 9 1"),
    case(STRING, "BITFIELD k SET u8 8 255"),
    case(STRING, "PFADD k a b"),
    with(&["PFADD a x y"], &["PFADD k old", "PFADD b z"], "PFMERGE k a b"),
    with(&["SET a abc"], &["SET k 7", "SET b 8"], "BITOP OR k a b"),
    with(&["SET a abc"], &["SET k 7", "SET b 8"], "BITOP AND k b"),
    case(LIST, "RPUSH k new"),
    case(LIST, "LPUSH k new newer"),
    case(LIST, "RPUSHX k new"),
    case(LIST, "LINSERT k BEFORE old new"),
    case(LIST, "LPOP k"),
    with(&["RPUSH a 1 2"], LIST, "LMOVE a k LEFT RIGHT"),
    with(&["RPUSH a 1 2"], LIST, "RPOPLPUSH a k"),
    with(&["RPUSH a 1 2"], LIST, "RPOPLPUSH k a"),
    with(&["RPUSH a 1 2"], LIST, "LMPOP 2 k a LEFT"),
    case(SET, "SADD k new"),
    case(SET, "SREM k old"),
    with(SETS, SET, "SMOVE a k 1"),
    with(SETS, SET, "SINTERSTORE k a b"),
    with(SETS, SET, "SUNIONSTORE c a k b"),
    with(SETS, SET, "SDIFFSTORE c a k"),
    with(SETS, SET, "SINTERSTORE c a k"),
    case(HASH, "HSET k f v"),
    case(HASH, "HSETNX k f v"),
    case(HASH, "HMSET k g v"),
    case(HASH, "HINCRBY k f 5"),
    case(HASH, "HINCRBYFLOAT k f 0.5"),
    case(HASH, "HDEL k f"),
    case(SORTED, "ZADD k 5 new"),
    case(SORTED, "ZADD k XX 5 old"),
    case(SORTED, "ZADD k INCR 5 old"),
    case(SORTED, "ZINCRBY k 5 old"),
    case(SORTED, "ZPOPMIN k"),
    with(SORTED_SETS, SORTED, "ZUNIONSTORE k 2 a b"),
    with(SORTED_SETS, SORTED, "ZUNIONSTORE c 2 a k"),
    with(SORTED_SETS, SORTED, "ZINTERSTORE c 2 a k"),
    with(SORTED_SETS, SORTED, "ZDIFFSTORE c 2 a k"),
    with(SORTED_SETS, SORTED, "ZRANGESTORE k a 0 -1"),
    with(SORTED_SETS, SORTED, "ZRANGESTORE a k 0 -1"),
    with(GEO, SORTED, "GEOSEARCHSTORE k a FROMLONLAT 15 37 BYRADIUS 400 km"),
    with(GEO, SORTED, "GEORADIUS a 15 37 400 km STORE k"),
    case(SORTED, "GEOADD k 13.361389 38.115556 x"),
    case(STREAM, "XADD k 3-1 f v"),
    case(STREAM, "XADD k NOMKSTREAM 6-1 f v"),
    case(STREAM, "XGROUP CREATE k g 0 MKSTREAM"),
    with(&["SET a v"], STRING, "RENAME a k"),
    with(&["SET a v"], STRING, "RENAMENX a k"),
    with(&["SET a v"], STRING, "RENAMENX k a"),
    with(&["SET a v"], STRING, "COPY a k"),
    with(&["SET a v"], STRING, "COPY a k REPLACE"),
    with(&["SET a v"], STRING, "COPY k a REPLACE"),
    with(&["SET k v"], &["9 SET k 7"], "MOVE k 9"),
    case(STRING, "RESTORE k 0 {dump}"),
    case(STRING, "RESTORE k 0 {dump} REPLACE"),
    with(&["RPUSH a 3 1 2"], LIST, "SORT a STORE k"),
    with(&["RPUSH a 3 1 2"], LIST, "SORT k STORE a"),
    case(STRING, "EXPIRE k 100000"),
    case(STRING, "PERSIST k"),
    case(STRING, "DEL k"),
    case(STRING, "UNLINK k"),
    case(LIST, "EVAL redis.call('RPUSH',KEYS[1],1)return(redis.call('LRANGE',KEYS[1],0,9)) 1 k"),
    case(STRING, "EVAL return(redis.call('SETNX',KEYS[1],redis.call('EXISTS',KEYS[1]))) 1 k"),
];

fn words(line: &str, payload: &[u8]) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| if word == PAYLOAD { payload.to_vec() } else { word.into() }).collect()
}

/// A server with an AOF and without active expiry, so that only lookups delete expired keys.
fn start() -> Server {
    let server = Server::start("--appendonly yes --enable-debug-command yes");
    server.client().ok("DEBUG SET-ACTIVE-EXPIRE 0");
    server
}

fn unix_ms(client: &mut Client) -> u64 {
    let time = client.run("TIME").elements();
    time[0].text().parse::<u64>().expect("seconds") * 1000
        + time[1].text().parse::<u64>().expect("microseconds") / 1000
}

/// Waits until the server's clock is past `at_ms`.
fn wait_past(client: &mut Client, at_ms: u64) {
    eventually("the time at which the keys expire", || (unix_ms(client) > at_ms + 1).then_some(()));
}

/// Splits a line into its database, an optional number at its start, and the command.
fn place(line: &str) -> (&str, &str) {
    line.split_once(' ').filter(|(db, _)| db.parse::<u8>().is_ok()).unwrap_or(("0", line))
}

fn key_of(line: &str) -> &str {
    line.split(' ').nth(1).expect("a key")
}

/// Runs each line in its database.
fn make(client: &mut Client, lines: &[&str]) {
    for (db, line) in lines.iter().map(|line| place(line)) {
        client.ok(&format!("SELECT {db}"));
        let reply = client.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    client.ok("SELECT 0");
}

fn all_keys(client: &mut Client) -> i64 {
    client.ok("SELECT 9");
    let there = client.run("DBSIZE").integer();
    client.ok("SELECT 0");
    client.run("DBSIZE").integer() + there
}

/// Makes the keys of `sources`, and those of `expired`, which have expired but are not deleted yet.
fn make_expired(client: &mut Client, sources: &[&str], expired: &[&str]) {
    let mut lead_ms = 2;
    loop {
        client.ok("FLUSHALL");
        make(client, sources);
        make(client, expired);
        let count = all_keys(client);
        let at = unix_ms(client) + lead_ms;
        let expire = |line: &&str| format!("{} PEXPIREAT {} {at}", place(line).0, key_of(place(line).1));
        let expire: Vec<String> = expired.iter().map(expire).collect();
        make(client, &expire.iter().map(String::as_str).collect::<Vec<_>>());
        // Setting a time in the past deletes the key: a slow machine needs a later time.
        if all_keys(client) == count {
            return wait_past(client, at);
        }
        lead_ms *= 2;
    }
}

/// Calls `commands` in a transaction that pauses all writes first. Returns their replies.
fn paused(client: &mut Client, commands: &[Vec<Vec<u8>>]) -> Vec<Value> {
    let mut pipeline = encode(&["MULTI"]);
    pipeline.extend(encode(&["CLIENT", "PAUSE", "100000000", "WRITE"]));
    pipeline.extend(commands.iter().flat_map(|command| encode(command)));
    pipeline.extend(encode(&["EXEC"]));
    client.send_raw(&pipeline).expect("send");
    let mut replies: Vec<Value> =
        (0..commands.len() + 3).map(|_| client.read_reply().expect("a reply").value).collect();
    let executed = replies.pop().expect("the reply to EXEC").elements();
    client.ok("CLIENT UNPAUSE");
    executed[1..].to_vec()
}

/// The keys of each database. Fails if the table has two entries for one of them.
fn keys(client: &mut Client) -> Vec<(u32, Vec<String>)> {
    [0, 9]
        .map(|db| {
            client.ok(&format!("SELECT {db}"));
            let mut keys: Vec<String> = client.run("KEYS *").elements().iter().map(Value::text).collect();
            keys.sort();
            let size = client.run("DBSIZE").integer();
            client.ok("SELECT 0");
            assert_eq!(size, keys.len() as i64, "DBSIZE of database {db} beside its keys {keys:?}");
            assert!(keys.is_sorted_by(|a, b| a < b), "a duplicate key in database {db}: {keys:?}");
            (db, keys)
        })
        .to_vec()
}

#[test]
fn during_a_pause_a_write_treats_an_expired_key_as_absent_and_the_log_replays_the_same() {
    let server = start();
    let mut client = server.client();
    client.ok("SET payload 7");
    let Value::Bulk(payload) = client.run("DUMP payload") else { panic!("no payload") };
    for case in CASES {
        let command = words(case.command, &payload);
        client.ok("FLUSHALL");
        make(&mut client, case.sources);
        let wanted_reply = paused(&mut client, std::slice::from_ref(&command));
        let wanted = (keys(&mut client), client.run("DEBUG DIGEST"));

        make_expired(&mut client, case.sources, case.expired);
        let reply = paused(&mut client, &[command]);
        assert_eq!(reply, wanted_reply, "reply to {}", case.command);
        assert_eq!((keys(&mut client), client.run("DEBUG DIGEST")), wanted, "data after {}", case.command);
        client.ok("DEBUG LOADAOF");
        assert_eq!((keys(&mut client), client.run("DEBUG DIGEST")), wanted, "log after {}", case.command);
    }
}

#[test]
fn during_a_pause_a_write_treats_expired_fields_as_absent_and_the_log_replays_the_same() {
    const COMMANDS: &[&str] = &[
        "HSET k f v",
        "HSETNX k f v",
        "HINCRBY k f 5",
        "HINCRBYFLOAT k f 0.5",
        "HDEL k f",
        "HMSET k g v",
        "HPERSIST k FIELDS 1 f",
        "HPEXPIREAT k 33177117420000 NX FIELDS 1 f",
        "HSETNX k g v",
        "EVAL return(redis.call('HSETNX',KEYS[1],'f',redis.call('HEXISTS',KEYS[1],'f'))) 1 k",
    ];
    let server = start();
    let mut client = server.client();
    // The expired field is one of two fields, or the only one.
    for rest in [&["HSET k g 2"][..], &[]] {
        // Commands that move a key do not treat a hash of expired fields as absent.
        let moves = if rest.is_empty() { &[][..] } else { &["COPY k l", "RENAME k l"] };
        for command in COMMANDS.iter().chain(moves) {
            let shown = format!("{command} after {rest:?}");
            let command = words(command, b"");
            client.ok("FLUSHALL");
            make(&mut client, rest);
            let wanted_reply = paused(&mut client, std::slice::from_ref(&command));
            let wanted = hashes(&mut client);

            make_expired_field(&mut client, rest);
            assert_eq!(paused(&mut client, &[command]), wanted_reply, "reply to {shown}");
            assert_eq!(hashes(&mut client), wanted, "data: {shown}");
            client.ok("DEBUG LOADAOF");
            assert_eq!(hashes(&mut client), wanted, "log: {shown}");
        }
    }
}

/// The fields of `k` and `l` that clients see, and their expiry times.
fn hashes(client: &mut Client) -> [Value; 4] {
    ["HGETALL k", "HGETALL l", "HPEXPIRETIME k FIELDS 2 f g", "HPEXPIRETIME l FIELDS 2 f g"]
        .map(|line| client.run(line))
}

/// Makes the hash `k` by `rest`, with a field `f` that has expired but is not deleted yet.
fn make_expired_field(client: &mut Client, rest: &[&str]) {
    let mut lead_ms = 2;
    loop {
        client.ok("FLUSHALL");
        make(client, rest);
        make(client, &["HSET k f 1"]);
        let at = unix_ms(client) + lead_ms;
        // 1: the time was set. 2: it was in the past, and the field was deleted.
        if client.run(&format!("HPEXPIREAT k {at} FIELDS 1 f")).elements() == [Value::Integer(1)] {
            return wait_past(client, at);
        }
        lead_ms *= 2;
    }
}

#[test]
fn during_a_pause_reads_delete_nothing_and_writes_publish_the_expired_event() {
    let server = start();
    let (mut client, mut watching, mut listening) = (server.client(), server.client(), server.client());
    client.ok("CONFIG SET notify-keyspace-events KEA");
    make_expired(&mut client, &["SET live 1"], &["RPUSH k old", "SET s old", "SET left old"]);
    watching.ok("WATCH k");
    listening.run("PSUBSCRIBE __keyevent@0__:*");
    let expired = client.info_number("expired_keys");
    let lines = [
        "EXISTS k",
        "GET s",
        "DBSIZE",
        "RPUSH k new",
        "RPUSH k newer",
        "SETNX s new",
        "LRANGE k 0 -1",
        "DBSIZE",
    ];
    let replies = paused(&mut client, &lines.map(|line| words(line, b"")));
    let text = |text: &str| Value::Bulk(text.into());
    let list = Value::Array(vec![text("new"), text("newer")]);
    let numbers = |n: &[i64]| n.iter().map(|n| Value::Integer(*n)).collect::<Vec<_>>();
    assert_eq!(replies[..1], numbers(&[0]));
    assert!(replies[1].is_null(), "{replies:?}");
    assert_eq!(replies[2..6], numbers(&[4, 1, 2, 1]), "nothing is deleted before a write");
    assert_eq!(replies[6..], [list, Value::Integer(4)]);
    assert_eq!(client.info_number("expired_keys"), expired + 2, "k and s, not the unused key");

    let events: Vec<String> = (0..5)
        .map(|_| {
            let message = listening.read_reply().expect("a message").value.elements();
            let event = message[2].text();
            format!("{} {}", event.rsplit(':').next().expect("an event"), message[3].text())
        })
        .collect();
    assert_eq!(events, ["expired k", "rpush k", "rpush k", "expired s", "set s"]);

    watching.ok("MULTI");
    watching.run("PING");
    assert!(watching.run("EXEC").is_null(), "the watched key was replaced");
    // `left` has expired, so the next lookup deletes it.
    assert!(client.info("db0").contains("keys=4,expires=1,"), "{}", client.info("db0"));
    assert_eq!(client.run("EXISTS left live k s"), Value::Integer(3));
    assert_eq!(keys(&mut client)[0].1, ["k", "live", "s"]);
}
