//! Loading an AOF executes its commands again, even if limits were lowered since, and reports those that fail.

use crate::support::client::encode;
use crate::support::server::subject_is_redis;
use crate::support::{Client, Launch, Value, eventually};
use crate::{begin, digest, part, refused_after, restart, restart_after, start};
use std::fs;
use std::io::Write;
use std::path::Path;

const MIB: usize = 1 << 20;

/// Appends commands to the only incremental file. Returns the offset at which they begin.
fn append(directory: &Path, commands: &[&[&str]]) -> u64 {
    let path = part(directory, "1.incr.aof");
    let mut file = fs::File::options().append(true).open(&path).expect("the log");
    let before = file.metadata().expect("its length").len();
    for words in commands {
        file.write_all(&encode(words)).expect("appended");
    }
    before
}

/// Loads the AOF, and checks that no command failed and that the data set is the same.
fn assert_replays(client: &mut Client, what: &str) {
    let before = digest(client);
    client.ok("DEBUG LOADAOF");
    assert_eq!(client.info_number("unexpected_error_replies"), 0, "{what}");
    assert_eq!(digest(client), before, "{what}");
}

/// The server itself writes `DEL`, `PEXPIREAT` and `SELECT`, and a rewrite writes `SET`.
#[test]
fn a_log_is_loaded_whatever_names_commands_were_given() {
    if subject_is_redis() {
        // Redis refuses the AOF that it has written.
        return;
    }
    let renames = "--rename-command DEL '' --rename-command PEXPIREAT '' --rename-command SET put \
                   --rename-command SELECT choose --rename-command XGROUP groups --rename-command FUNCTION functions";
    let server = begin(&format!("--appendonly yes --aof-use-rdb-preamble no {renames}"));
    let mut client = server.client();
    client.ok("PUT a 1");
    client.ok("PUT gone 1 PX 1");
    eventually("the key has expired", || client.run("GET gone").is_null().then_some(()));
    client.ok("CHOOSE 1");
    client.ok("PUT b 2 PX 10000000");
    client.ok("MULTI");
    client.run("PUT c 3");
    client.run("GROUPS CREATE s g $ MKSTREAM");
    client.run("EXEC");
    assert!(!client.call(&["EVAL", "return redis.call('put', KEYS[1], 4)", "1", "d"]).is_error());
    let library = "#!lua name=l\nredis.register_function('f', function() return 1 end)";
    assert!(!client.call(&["FUNCTIONS", "LOAD", library]).is_error());
    let log = fs::read(part(server.directory(), "1.incr.aof")).expect("the log");
    let log = String::from_utf8_lossy(&log).to_lowercase();
    for name in ["put", "choose", "groups", "functions"] {
        assert!(!log.contains(&format!("\r\n{name}\r\n")), "{log}");
    }
    let check = |server: &crate::support::Server| {
        let mut client = server.client();
        assert_eq!(client.info_number("unexpected_error_replies"), 0);
        assert_eq!(client.run("GET a").text(), "1");
        client.ok("CHOOSE 1");
        assert_eq!(client.run("EXISTS b c d s"), Value::Integer(4));
        assert_eq!(client.call(&["FCALL", "f", "0"]), Value::Integer(1));
    };
    let server = restart(server);
    check(&server);
    crate::rewrite(&mut server.client());
    let server = restart(server);
    check(&server);
    // Redis logs the name that the client used.
    let launch = server.stop();
    let path = part(launch.directory(), "2.incr.aof");
    let words = [encode(&["CHOOSE", "1"]), encode(&["PUT", "e", "5"])].concat();
    fs::File::options().append(true).open(path).expect("the log").write_all(&words).expect("appended");
    let server = start(launch);
    check(&server);
    let mut client = server.client();
    client.ok("CHOOSE 1");
    assert_eq!(client.run("GET e").text(), "5");
}

#[test]
fn stream_entries_added_with_approximate_trimming_and_a_limit_survive_loading() {
    let server = begin("--appendonly yes --stream-node-max-entries 10");
    let mut client = server.client();
    for n in 1..=100 {
        client.run(&format!("XADD s {n}-1 f v"));
        client.run(&format!("XADD t {n}-1 f v"));
    }
    client.run("XADD s MAXLEN ~ 55 LIMIT 30 * f v");
    assert_eq!(client.run("XLEN s").integer(), 71);
    assert_eq!(client.run("XTRIM t MINID ~ 55-0 LIMIT 30").integer(), 30);
    client.run("XADD u NOMKSTREAM MINID ~ 5-0 LIMIT 30 7-1 f v");
    assert_replays(&mut client, "XADD and XTRIM");
    assert_eq!(client.run("XLEN s").integer(), 71);
    assert_eq!(client.run("XLEN t").integer(), 70);
    let server = restart(server);
    assert_eq!(server.client().run("XLEN s").integer(), 71);
    // Clients may not send this form; only the AOF may contain it.
    let refused = server.client().run("XTRIM s MAXLEN = 5 LIMIT 30").text();
    assert_eq!(refused, "ERR syntax error, LIMIT cannot be used without the special ~ option");
}

/// The server does not check the CRLF after an argument from a client, but it does in an AOF.
#[test]
fn a_request_without_crlf_after_its_arguments_is_logged_with_crlf() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    let loose = [
        "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nvalueXX",
        "*3\r\n$3\r\nSETab$1\r\nb\r\n$5\r\nvalue\r\n",
        "*3\rX$3\r\nSET\r\n$1\rXc\r\n$5\r\nvalue\r\n",
        "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\ndXX$5\r\nvalue\n\n*1\r\n$4\r\nEXEC\r\n",
        "*4\r\n$4\r\nEVAL\r\n$38\r\nreturn redis.call('SET', KEYS[1], 'v')XX$1\r\n1\r\n$1\r\ne??",
    ];
    for request in loose {
        client.send_raw(request.as_bytes()).expect("sent");
        let replies = if request.contains("MULTI") { 3 } else { 1 };
        for _ in 0..replies {
            let reply = client.read_reply().expect("a reply").value;
            assert!(!reply.is_error(), "{request:?}: {reply:?}");
        }
    }
    assert_eq!(client.run("DBSIZE").integer(), 5);
    assert_replays(&mut client, "loose ends");
    let server = restart(server);
    assert_eq!(server.client().run("DBSIZE").integer(), 5);
}

/// The AOF still contains a key that has expired and was not deleted, so a reload must not drop it without logging
/// that.
#[test]
fn writes_to_a_key_that_had_expired_before_a_reload_survive_loading() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    client.run("RPUSH list old");
    client.run("HSET hash field 5");
    for line in ["PEXPIRE list 1", "PEXPIRE hash 1"] {
        assert_eq!(client.run(line).integer(), 1);
    }
    client.ok("SET later v PX 1");
    eventually("all have expired", || (client.run("EXISTS later").integer() == 0).then_some(()));
    client.ok("DEBUG RELOAD");
    client.run("RPUSH list new");
    client.run("HINCRBY hash field 1");
    assert_replays(&mut client, "keys that had expired");
    assert_eq!(client.run("LRANGE list 0 -1").elements().len(), 1);
    let server = restart(server);
    assert_eq!(server.client().run("HGET hash field").text(), "1");
    assert_eq!(server.client().run("LRANGE list 0 -1").elements()[0].text(), "new");
}

#[test]
fn a_log_is_loaded_in_full_after_limits_were_lowered() {
    let server = begin("--appendonly yes --proto-max-bulk-len 8mb");
    let mut client = server.client();
    let half = "x".repeat(MIB);
    let long = "y".repeat(3 * MIB);
    for words in [
        &["SET", "appended", &half][..],
        &["APPEND", "appended", &half],
        &["APPEND", "appended", "end"],
        &["SET", "long", &long],
        &["SETRANGE", "ranged", "2000000", "v"],
        &["SETRANGE", "long", "3000000", "v"],
        &["SETBIT", "bits", "16777215", "1"],
        &["BITFIELD", "fields", "SET", "u8", "#2000000", "7", "INCRBY", "u8", "#2000001", "8"],
        &["HSET", "hash", "field", &long],
        &["EVAL", "return redis.call('APPEND', 'appended', 'by a script')", "0"],
    ] {
        let reply = client.call(words);
        assert!(!reply.is_error(), "{} {}: {reply:?}", words[0], words[1]);
    }
    for line in ["MULTI", "APPEND appended transaction", "EXEC"] {
        client.run(line);
    }
    client.ok("CONFIG SET proto-max-bulk-len 1mb maxmemory 1 maxmemory-policy noeviction");
    assert!(client.run("APPEND appended more").is_error(), "the limit does not apply to clients");
    assert_replays(&mut client, "with lower limits");
    assert_eq!(client.run("STRLEN appended").integer() as usize, 2 * MIB + 3 + 11 + 11);
    let before = digest(&mut client);
    let launch =
        server.stop().flags("--proto-max-bulk-len 1mb --maxmemory 1 --client-query-buffer-limit 1mb");
    let server = start(launch);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 0);
    assert_eq!(digest(&mut client), before);
}

#[test]
fn a_script_of_a_log_is_executed_after_limits_were_lowered() {
    if subject_is_redis() {
        // Redis crashes with a segmentation fault when a script of the AOF fails.
        return;
    }
    let server = begin("--appendonly yes --maxmemory 1 --proto-max-bulk-len 1mb");
    let long = "x".repeat(MIB);
    let program = format!(
        "redis.call('SET', 'k', '{long}') redis.call('APPEND', 'k', 'y') \
         local strict = redis.pcall('XTRIM', 's', 'MAXLEN', '=', '5', 'LIMIT', '3') \
         redis.call('SET', 'strict', strict.err or 'taken')"
    );
    let flagged = "#!lua\nredis.call('APPEND', 'k', 'z')";
    append(server.directory(), &[&["EVAL", &program, "0"], &["EVAL", flagged, "0"]]);
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 0);
    assert_eq!(client.run("STRLEN k").integer() as usize, MIB + 2);
    // The script's calls are logged as the client wrote them, so their syntax is checked like a client's.
    assert!(
        client.run("GET strict").text().contains("syntax error, LIMIT"),
        "{:?}",
        client.run("GET strict")
    );
}

#[test]
fn a_command_of_a_log_that_fails_is_counted_and_logged() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    client.ok("SET k v");
    assert_eq!(client.info_number("unexpected_error_replies"), 0);
    let first = append(server.directory(), &[&["LPUSH", "k", "w"], &["SET", "l", "v"]]);
    append(server.directory(), &[&["MULTI"], &["SET", "m", "v"], &["HSET", "k", "f", "v"], &["EXEC"]]);
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 2);
    assert_eq!(client.info_number("total_error_replies"), 2);
    assert_eq!(client.info("errorstat_WRONGTYPE"), "count=2");
    for key in ["k", "l", "m"] {
        assert_eq!(client.run(&format!("GET {key}")).text(), "v", "{key}");
    }
    let log = server.log();
    // Redis logs the second failure with the name of the first command.
    for called in if subject_is_redis() { &["'lpush'"][..] } else { &["'lpush'", "'hset'"] } {
        let line = log.lines().find(|line| line.contains("== CRITICAL ==") && line.contains(called));
        let line = line.unwrap_or_else(|| panic!("no message about {called}:\n{log}"));
        let why =
            "This server is sending an error to its AOF-loading-client: '-WRONGTYPE Operation against a key";
        assert!(line.contains(why), "{line}");
        if *called == "'lpush'" && !subject_is_redis() {
            let place = format!("at offset {first} of the file appendonly.aof.1.incr.aof");
            assert!(line.contains(&place), "{line}");
        }
    }
    if !subject_is_redis() {
        assert!(client.info("cmdstat_lpush").contains("failed_calls=1"), "{}", client.info("cmdstat_lpush"));
        assert!(log.contains("2 commands of the append only file failed"), "{log}");
        client.ok("CONFIG RESETSTAT");
        assert_eq!(client.info_number("unexpected_error_replies"), 0);
    }
}

#[test]
fn a_command_of_a_log_that_fails_ends_the_start_if_the_server_is_told_to() {
    if subject_is_redis() {
        // Redis ends with a crash report and a signal.
        return;
    }
    for (behavior, exits) in [("panic", true), ("panic-on-replicas", false)] {
        let server = begin(&format!("--appendonly yes --propagation-error-behavior {behavior}"));
        server.client().ok("SET k v");
        let add = |directory: &Path| {
            append(directory, &[&["LPUSH", "k", "w"], &["SET", "l", "v"]]);
        };
        if exits {
            let log = refused_after(server, add);
            let line = "This server panicked sending an error to its AOF-loading-client after processing the command \
                        'lpush'";
            assert!(log.contains(line) && log.contains("== CRITICAL =="), "{log}");
        } else {
            let server = restart_after(server, add);
            let mut client = server.client();
            assert_eq!(client.info_number("unexpected_error_replies"), 1);
        }
    }
}

#[test]
fn a_script_of_a_log_that_fails_is_counted_and_logged() {
    if subject_is_redis() {
        // Redis crashes with a segmentation fault.
        return;
    }
    let server = begin("--appendonly yes");
    append(server.directory(), &[&["EVAL", "redis.call('SET', 'k', 'v') return nothing()", "0"]]);
    let server = restart(server);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 1);
    assert_eq!(client.run("GET k"), Value::Bulk(b"v".to_vec()));
    let log = server.log();
    assert!(log.contains("== CRITICAL ==") && log.contains("'eval'"), "{log}");
}

#[test]
fn a_log_that_names_a_database_that_does_not_exist_is_refused_whatever_the_command() {
    if subject_is_redis() {
        // Redis loads the rest, and loses the copy into that database.
        return;
    }
    for command in ["SELECT 12", "COPY k l DB 12", "MOVE k 12", "SWAPDB 0 12"] {
        let server = begin("--appendonly yes --databases 10");
        server.client().ok("SET k v");
        let words: Vec<&str> = command.split(' ').collect();
        let log = refused_after(server, |directory| _ = append(directory, &[&words]));
        assert!(log.contains("configured to handle more than 10 databases"), "{command}: {log}");
    }
}

/// The data besides plain values: expiry times, stream metadata and groups, functions, other databases.
#[test]
fn times_groups_and_functions_are_the_same_after_loading() {
    let launch = Launch::subject().flags("--enable-debug-command yes --appendonly yes");
    let server = start(launch);
    let mut client = server.client();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    client.call(&["FUNCTION", "LOAD", library]);
    client.call(&["FUNCTION", "LOAD", &library.replace("lib", "gone").replace("'f'", "'g'")]);
    client.ok("FUNCTION DELETE gone");
    for line in [
        "SET k v EX 1000",
        "HSET h f v",
        "PEXPIRE h 1000000",
        "GETEX k PX 2000000",
        "SELECT 3",
        "XADD s 5-1 f v",
        "XADD s 6-1 f v",
        "XDEL s 6-1",
        "XSETID s 9-9 ENTRIESADDED 12 MAXDELETEDID 8-0",
        "XGROUP CREATE s g 0",
        "XGROUP CREATECONSUMER s g lonely",
        "XREADGROUP GROUP g c STREAMS s >",
        "XGROUP CREATE s h $ ENTRIESREAD 3",
        "XADD empty 1-1 f v",
        "XDEL empty 1-1",
    ] {
        let reply = client.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    let lines = [
        "SELECT 0",
        "PEXPIRETIME k",
        "PEXPIRETIME h",
        "FUNCTION LIST WITHCODE",
        "SELECT 3",
        "XINFO STREAM s",
        "XINFO GROUPS s",
        "XPENDING s g",
        "XPENDING s g 0-0 + 10 c",
        "XINFO STREAM empty",
        "SELECT 0",
    ];
    let look = |client: &mut Client| lines.map(|line| (line, masked(line, &client.run(line))));
    let before = look(&mut client);
    for way in ["as it is", "rewritten with a snapshot", "rewritten as commands"] {
        if way != "as it is" {
            let preamble = if way.ends_with("snapshot") { "yes" } else { "no" };
            client.ok(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
            crate::rewrite(&mut client);
        }
        client.ok("DEBUG LOADAOF");
        assert_eq!(look(&mut client), before, "{way}");
    }
}

/// A read counter may be set to the largest number; the next entry that is read overflows it.
#[test]
fn a_group_is_where_it_was_after_loading_when_its_read_counter_has_overflowed() {
    if subject_is_redis() {
        return;
    }
    for is_rewritten in [false, true] {
        let server = begin("--appendonly yes --aof-use-rdb-preamble no");
        let mut client = server.client();
        for line in [
            "XADD s 1-1 f v",
            "XADD s 2-1 f v",
            "XGROUP CREATE s g 0 ENTRIESREAD 9223372036854775807",
            "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s >",
        ] {
            let reply = client.run(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
        if is_rewritten {
            crate::rewrite(&mut client);
        }
        client.ok("DEBUG LOADAOF");
        let groups = client.run("XINFO GROUPS s").elements();
        assert_eq!(groups.len(), 1, "rewritten: {is_rewritten}");
        assert_eq!(groups[0].field("last-delivered-id").text(), "1-1", "rewritten: {is_rewritten}");
        assert_eq!(client.info("unexpected_error_replies"), "0", "rewritten: {is_rewritten}");
    }
}

/// The AOF of Redis 7.2 contains neither the read counter, nor consumers without entries, nor the delivery counts of
/// entries read again, nor deleted entries that are still pending.
#[test]
fn groups_have_the_same_read_counter_consumers_and_pending_entries_after_loading() {
    if subject_is_redis() {
        return;
    }
    let server = begin("--appendonly yes");
    let mut client = server.client();
    for line in [
        "XADD s 1-1 f v",
        "XADD s 2-1 f v",
        "XADD s 3-1 f v",
        "XGROUP CREATE s g 0",
        "XREADGROUP GROUP g reads COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g reads STREAMS s 0",
        "XREADGROUP GROUP g idle STREAMS s 0",
        "XCLAIM s g claims 1000000 1-1",
        "XAUTOCLAIM s g walks 1000000 0",
        "XGROUP CREATE s set-back 0",
        "XREADGROUP GROUP set-back reads STREAMS s >",
        "XGROUP SETID s set-back 0",
        "XREADGROUP GROUP set-back reads STREAMS s 0",
        "XDEL s 1-1",
        "XADD gone 1-1 f v",
        "XGROUP CREATE gone g 0",
        "XREADGROUP GROUP g c STREAMS gone >",
        "XDEL gone 1-1",
    ] {
        let reply = client.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    let look = |client: &mut Client| {
        let mut seen = vec![client.run("XINFO GROUPS s"), client.run("XINFO GROUPS gone")];
        for group in ["s g", "s set-back", "gone g"] {
            let consumers = client.run(&format!("XINFO CONSUMERS {group}")).elements();
            seen.extend(consumers.iter().map(|consumer| consumer.field("name")));
            for pending in client.run(&format!("XPENDING {group} - + 10")).elements() {
                let [id, consumer, _, count] = &pending.elements()[..] else { panic!("{pending:?}") };
                seen.extend([id.clone(), consumer.clone(), count.clone()]);
            }
        }
        seen
    };
    let before = look(&mut client);
    for preamble in ["as it is", "yes", "no"] {
        if preamble != "as it is" {
            client.ok(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
            crate::rewrite(&mut client);
        }
        assert_replays(&mut client, preamble);
        assert_eq!(look(&mut client), before, "{preamble}");
    }
}

#[test]
fn a_corrupted_sketch_that_a_failing_pfadd_changed_is_the_same_after_loading() {
    let server = begin("--appendonly yes");
    let mut client = server.client();
    // A sparse HyperLogLog that ends after half of its registers, all of them zero: `a` belongs to a later one.
    let mut sketch = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec();
    sketch.extend([0x40 | (8191 >> 8) as u8, (8191 & 0xff) as u8]);
    client.call(&[b"SET", &b"k"[..], &sketch]);
    client.run("PEXPIRE k 1000000");
    let before = client.run("GET k");
    let failed = client.run("PFADD k d f a");
    assert!(failed.is_error() && client.run("GET k") != before, "{failed:?}");
    assert_replays(&mut client, "a part of PFADD");
    assert!(client.run("PTTL k").integer() > 0);
}

/// A reply without the parts that depend on the time (idle times) or on the memory layout.
fn masked(line: &str, reply: &Value) -> Vec<Value> {
    let of = if matches!(reply, Value::Array(_)) { reply.elements() } else { vec![reply.clone()] };
    let drop_at = match line {
        "XPENDING s g 0-0 + 10 c" => return of.iter().map(|pending| pending.elements()[0].clone()).collect(),
        "XINFO STREAM s" | "XINFO STREAM empty" => ["radix-tree-keys", "radix-tree-nodes"],
        _ => return of,
    };
    let kept = of.chunks(2).filter(|pair| !drop_at.contains(&&*pair[0].text()));
    kept.flatten().cloned().collect()
}

/// Starts a server that loads these commands from a single-file AOF, as written by versions before 7.
fn load_old_log(commands: &[&[&str]]) -> crate::support::Server {
    let launch = Launch::subject().flags("--appendonly yes --enable-debug-command yes");
    let log: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
    fs::write(launch.directory().join("appendonly.aof"), log).expect("a log");
    start(launch)
}

#[test]
fn evalsha_in_an_old_log_is_executed() {
    const SET: &str = "redis.call('SET', KEYS[1], ARGV[1]) return 1";
    let digest = begin("").client().call(&["SCRIPT", "LOAD", SET]).text();
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut add = |words: &[&str]| commands.push(words.iter().map(ToString::to_string).collect());
    add(&["SCRIPT", "LOAD", SET]);
    add(&["EVALSHA", &digest, "1", "loaded", "v"]);
    add(&["SCRIPT", "FLUSH"]);
    add(&["EVAL", SET, "1", "sent", "v"]);
    // More scripts than the cache keeps must not evict the first one.
    for n in 0..600 {
        add(&["EVAL", &format!("return {n}"), "0"]);
    }
    add(&["MULTI"]);
    add(&["SELECT", "3"]);
    add(&["EVALSHA", &digest.to_uppercase(), "1", "again", "v"]);
    add(&["EXEC"]);
    add(&["SELECT", "0"]);
    add(&["EVAL_RO", "return redis.call('GET', KEYS[1])", "1", "sent"]);
    let words: Vec<Vec<&str>> =
        commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
    let words: Vec<&[&str]> = words.iter().map(Vec::as_slice).collect();
    let server = load_old_log(&words);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 0, "{}", server.log());
    assert_eq!(client.run("EXISTS loaded sent").integer(), 2);
    assert_eq!(client.run(&format!("SCRIPT EXISTS {digest}")).elements()[0].integer(), 1);
    client.ok("SELECT 3");
    assert_eq!(client.run("GET again").text(), "v");
    if !subject_is_redis() {
        let kept = client.info_number("number_of_cached_scripts");
        assert!((1..=500).contains(&kept), "scripts above the limit are evicted after loading: {kept}");
    }
    // `SCRIPT FLUSH` removes the scripts before it.
    let server = load_old_log(&[
        &["SCRIPT", "LOAD", SET],
        &["SCRIPT", "FLUSH", "ASYNC"],
        &["EVALSHA", &digest, "1", "k", "v"],
        &["SET", "after", "v"],
    ]);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 1);
    assert_eq!(client.run("DBSIZE").integer(), 1);
}

#[test]
fn a_log_with_publish_and_wait_is_loaded_and_its_messages_are_not_delivered() {
    let server = load_old_log(&[
        &["EVAL", "local n = redis.call('PUBLISH', 'c', 'm') redis.call('SET', 'n', n)", "0"],
        &["EVAL", "redis.call('WAIT', 1, 0) redis.call('SET', 'waited', 'v')", "0"],
        &["PUBLISH", "c", "m"],
        &["MULTI"],
        &["SPUBLISH", "c", "m"],
        &["INCR", "n"],
        &["EXEC"],
        &["CONFIG", "SET", "hz", "20"],
        &["SET", "after", "v"],
    ]);
    let mut client = server.client();
    assert_eq!(client.info_number("unexpected_error_replies"), 0, "{}", server.log());
    assert_eq!(client.run("GET n").text(), "1");
    assert_eq!(client.run("GET waited").text(), "v");
    assert_eq!(client.run("GET after").text(), "v");
    if !subject_is_redis() {
        let says = "3 commands of the append only file that change no data were skipped, the first one 'publish' at offset";
        assert!(server.log().contains(says), "{}", server.log());
        assert_ne!(client.run("CONFIG GET hz").elements()[1].text(), "20");
    }
}
