//! The background thread frees large values, whichever command removes them: replies and counters are right, and the
//! memory is free afterwards.

mod support;

use support::{Client, Server, Value, eventually};

/// Enough elements to be freed in the background.
const ELEMENTS: usize = 8000;

/// The keys that [`fill`] accepts.
const KEYS: [&str; 6] = ["list", "set", "hash", "zset", "stream", "string"];

/// Fills the key, one of [`KEYS`], with [`ELEMENTS`] elements, and `small`, a set of one member.
const FILL: &str = "local key = KEYS[1] \
    local add = { \
        list = function(i) redis.call('RPUSH', key, 'element:' .. i .. string.rep(' ', 100)) end, \
        set = function(i) redis.call('SADD', key, 'member:' .. i) end, \
        hash = function(i) redis.call('HSET', key, 'field:' .. i, 'value:' .. i) end, \
        zset = function(i) redis.call('ZADD', key, i, 'member:' .. i) end, \
        stream = function(i) redis.call('XADD', key, i .. '-1', 'field', 'value:' .. i) end, \
        string = function(i) if i == 1 then redis.call('SET', key, string.rep('x', 100 * ARGV[1])) end end } \
    for i = 1, tonumber(ARGV[1]) do add[key](i) end \
    redis.call('SADD', 'small', 'one')";

fn fill(client: &mut Client, key: &str) {
    let reply = client.call(&["EVAL", FILL, "1", key, &ELEMENTS.to_string()]);
    assert!(!reply.is_error(), "{reply:?}");
}

/// Calls a command that removes the value of `key`, and waits until the thread has freed `objects`.
fn goes_to_the_thread(client: &mut Client, key: &str, line: &str, objects: i64) {
    client.ok("FLUSHALL");
    fill(client, key);
    client.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
    client.ok("CONFIG RESETSTAT");
    let reply = client.run(line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
    let freed = eventually(&format!("{line}: objects freed in the background"), || {
        // A lookup deletes a key that has expired.
        client.run(&format!("EXISTS {key}"));
        let freed = client.info_number("lazyfreed_objects");
        (freed >= objects && client.info_number("lazyfree_pending_objects") == 0).then_some(freed)
    });
    assert_eq!(freed, objects, "{line}");
}

fn bulks(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::Bulk(text.as_bytes().to_vec())).collect())
}

#[test]
fn a_large_value_goes_to_the_background_by_whichever_command() {
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    for key in KEYS {
        for line in [
            format!("DEL {key}"),
            format!("UNLINK {key}"),
            format!("PEXPIRE {key} 1"),
            format!("SET {key} value"),
            format!("RENAME small {key}"),
            format!("COPY small {key} REPLACE"),
            format!("SINTERSTORE {key} small"),
        ] {
            goes_to_the_thread(&mut client, key, &line, 1);
        }
    }
    for line in [
        "GETDEL string",
        "LTRIM list 1 0",
        "LPOP list 8000",
        "SPOP set 8000",
        "SDIFFSTORE set set set",
        "ZREMRANGEBYRANK zset 0 -1",
        "ZREMRANGEBYSCORE zset -inf +inf",
        "ZPOPMAX zset 8000",
        "ZMPOP 1 zset MIN COUNT 8000",
        "ZRANGESTORE zset zset 0 0",
    ] {
        let key = line.split(' ').find(|word| KEYS.contains(word)).unwrap();
        goes_to_the_thread(&mut client, key, line, 1);
    }
    for line in ["FLUSHALL ASYNC", "FLUSHDB ASYNC"] {
        goes_to_the_thread(&mut client, "zset", line, 2);
    }
}

#[test]
fn most_of_a_large_value_goes_to_the_background() {
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    for line in [
        "LTRIM list 5 9",
        "LTRIM list -5 -1",
        "LPOP list 7995",
        "SPOP set 7995",
        "ZREMRANGEBYRANK zset 5 -1",
        "ZREMRANGEBYSCORE zset (5 +inf",
        "ZPOPMIN zset 7995",
        "XTRIM stream MAXLEN 5",
        "XTRIM stream MINID 7996",
        "XADD stream MAXLEN 5 * field value",
    ] {
        let key = line.split(' ').nth(1).unwrap();
        goes_to_the_thread(&mut client, key, line, 1);
        let (count, first) = match key {
            "list" => ("LLEN", "LINDEX list 0"),
            "set" => ("SCARD", "SRANDMEMBER set"),
            "zset" => ("ZCARD", "ZRANGE zset 0 0"),
            _ => ("XLEN", "XRANGE stream - + COUNT 1"),
        };
        assert_eq!(client.run(&format!("{count} {key}")).integer(), 5, "{line}");
        assert!(!client.run(first).is_null(), "{line}");
    }
}

#[test]
fn the_elements_around_a_range_that_is_removed_stay_as_they_were() {
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    fill(&mut client, "zset");
    assert_eq!(client.run("ZREMRANGEBYRANK zset 2 -3").integer(), ELEMENTS as i64 - 4);
    let left = ["member:1", "1", "member:2", "2", "member:7999", "7999", "member:8000", "8000"];
    assert_eq!(client.run("ZRANGE zset 0 -1 WITHSCORES"), bulks(&left));
    assert_eq!(client.run("OBJECT ENCODING zset").text(), "skiplist");
    assert_eq!(client.run("ZRANK zset member:7999").integer(), 2);
    assert!(client.run("ZSCORE zset member:3").is_null());
    assert_eq!(client.run("ZADD zset 3 member:3 1.5 between").integer(), 2);
    assert_eq!(client.run("ZRANK zset between").integer(), 1);
}

/// As in Redis 7.2. Every member is either popped or left.
#[test]
fn few_members_left_by_spop_are_packed_again() {
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    fill(&mut client, "set");
    assert_eq!(client.run("SPOP set 6000").elements().len(), 6000);
    assert_eq!(client.run("OBJECT ENCODING set").text(), "hashtable");
    let mut left = client.run("SMEMBERS set").elements();
    let mut all = client.run("SPOP set 1990").elements();
    assert_eq!(client.run("OBJECT ENCODING set").text(), "listpack");
    let kept = client.run("SMEMBERS set").elements();
    assert_eq!((all.len(), kept.len()), (1990, 10));
    all.extend(kept);
    all.sort();
    left.sort();
    assert_eq!(all, left);
}

/// A replica and the AOF must remove the same random members.
#[test]
fn what_spop_removes_of_a_large_set_is_in_the_log() {
    let server = Server::start("--save  --appendonly yes --enable-debug-command yes");
    let mut client = server.client();
    fill(&mut client, "set");
    assert_eq!(client.run("SPOP set 7990").elements().len(), 7990);
    let mut kept = client.run("SMEMBERS set").elements();
    client.ok("DEBUG LOADAOF");
    let mut loaded = client.run("SMEMBERS set").elements();
    kept.sort();
    loaded.sort();
    assert_eq!((loaded.len(), loaded), (10, kept));
}

/// Fills all keys and removes nearly all elements. Returns `used_memory` with the data and after freeing it.
fn comes_and_goes(client: &mut Client) -> [i64; 2] {
    for key in KEYS {
        fill(client, key);
    }
    let full = client.info_number("used_memory");
    for line in [
        "LTRIM list 0 0",
        "SPOP set 7999",
        "DEL hash",
        "ZREMRANGEBYRANK zset 1 -1",
        "XTRIM stream MAXLEN 1",
        "UNLINK string",
    ] {
        assert!(!client.run(line).is_error(), "{line}");
    }
    client.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
    client.ok("FLUSHALL");
    [full, client.info_number("used_memory")]
}

/// Redis frees values of up to 64 items or nodes in the main thread.
#[test]
fn unlink_frees_values_of_more_than_64_items_or_nodes_in_the_background() {
    let server = Server::start(
        "--save  --stream-node-max-entries 5 --hash-max-listpack-entries 10 --set-max-listpack-entries 10 \
         --zset-max-listpack-entries 10 --list-max-listpack-size 1",
    );
    let mut client = server.client();
    for (kind, count, then, freed) in [
        ("SADD", 64, "", 0),
        ("SADD", 65, "", 1),
        ("HSET", 64, "", 0),
        ("HSET", 65, "", 1),
        ("ZADD", 64, "", 0),
        ("ZADD", 65, "", 1),
        ("RPUSH", 64, "", 0),
        ("RPUSH", 65, "", 1),
        ("SET", 1, "APPEND key text", 0),
        ("XADD", 19, "", 0),
        ("XADD", 400, "", 1),
        ("XADD", 19, "XGROUP CREATE key group 0", 0),
        ("XADD", 19, "XGROUP CREATE key group 0|XGROUP DESTROY key group", 0),
        ("XADD", 99, "XGROUP CREATE key group 0", 0),
        ("XADD", 99, "XGROUP CREATE key group 0|XREADGROUP GROUP group consumer STREAMS key >", 1),
    ] {
        for n in 1..=count {
            let reply = match kind {
                "SET" => client.call(&["SET", "key", &"v".repeat(1000)]),
                "ZADD" => client.run(&format!("ZADD key {n} member:{n}")),
                "XADD" => client.run(&format!("XADD key {n}-1 field value")),
                "HSET" => client.run(&format!("HSET key field:{n} value")),
                _ => client.run(&format!("{kind} key element:{n}")),
            };
            assert!(!reply.is_error(), "{reply:?}");
        }
        for line in then.split('|').filter(|line| !line.is_empty()) {
            assert!(!client.run(line).is_error(), "{line}");
        }
        client.ok("CONFIG RESETSTAT");
        assert_eq!(client.run("UNLINK key"), Value::Integer(1));
        client.wait_for_info("lazyfree_pending_objects", |pending| pending == 0);
        assert_eq!(client.info_number("lazyfreed_objects"), freed, "{kind} {count} {then}");
    }
}

/// `used_memory` returns to its value after whole values and parts of values were freed.
#[test]
fn memory_is_free_after_values_went_to_the_background() {
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    // Buffers of the connection and of the Lua interpreter stay.
    let before = comes_and_goes(&mut client)[1];
    for _ in 0..3 {
        let [full, after] = comes_and_goes(&mut client);
        assert!(full > before + 2_500_000, "{before}, {full}");
        assert!((before - after).abs() < 100_000, "{before}, {full}, {after}");
    }
}

#[test]
fn the_arguments_of_a_request_with_thousands_of_large_ones_are_freed_over_several_iterations() {
    const VALUES: usize = 6000;
    let server = Server::start("--save  --appendonly no");
    let mut client = server.client();
    let value = "v".repeat(5000);
    let names: Vec<String> = (0..VALUES).map(|number| format!("key:{number}")).collect();
    let mset = |client: &mut Client| {
        let mut words = vec!["MSET"];
        words.extend(names.iter().flat_map(|name| [name.as_str(), &value]));
        assert_eq!(client.call(&words).text(), "OK");
    };
    let before = client.info_number("used_memory");
    mset(&mut client);
    // The values of the keys are unchanged, and a write affects one key only.
    assert_eq!(client.run("APPEND key:0 !").integer(), 5001);
    assert_eq!(client.run("GET key:0").text(), format!("{value}!"));
    assert_eq!(client.run("STRLEN key:5999").integer(), 5000);
    client.ok("FLUSHALL SYNC");
    let iterations = client.info_number("eventloop_cycles");
    // Arguments that are not stored as values.
    let mut words = vec!["DEL"];
    let long: Vec<String> = names.iter().map(|name| format!("{name:-<5000}")).collect();
    words.extend(long.iter().map(String::as_str));
    assert_eq!(client.call(&words).integer(), 0);
    eventually("the memory is freed", || {
        // Some buffers are kept for the next large request.
        (client.info_number("used_memory") < before + 2_000_000).then_some(())
    });
    assert!(client.info_number("eventloop_cycles") - iterations >= (VALUES / 1024) as i64);
}
