//! The attacks of docs/security.md that no other test file covers: a client that tries one gets an error or
//! nothing, takes little memory, and does not delay other clients.

mod support;

use std::io::Write;
use std::net::TcpStream;
use support::client::encode;
use support::{Client, Launch, Server};

fn used_memory(control: &mut Client) -> i64 {
    control.info_number("used_memory")
}

#[test]
fn ten_thousand_half_requests_hold_nobody_up() {
    const COUNT: usize = 10_000;
    support::raise_open_files(COUNT as u64 + 500);
    let server =
        Server::start(&format!("--maxclients {} --tcp-backlog 4096 --requirepass secret", COUNT + 10));
    let mut control = server.client();
    control.ok("AUTH secret");
    let before = server.resident_bytes();
    let mut slow: Vec<TcpStream> = Vec::with_capacity(COUNT);
    for n in 0..COUNT {
        slow.push(TcpStream::connect(("127.0.0.1", server.port())).unwrap_or_else(|e| panic!("{n}: {e}")));
    }
    control.wait_for_info("connected_clients", |n| n == COUNT as i64 + 1);
    for byte in b"*2\r\n$4\r\nAU" {
        for client in &mut slow {
            client.write_all(&[*byte]).expect("send");
        }
        assert_eq!(control.run("PING").text(), "PONG");
    }
    let each = server.resident_bytes().saturating_sub(before) / COUNT as u64;
    assert!(each < 8192, "{each} bytes for each");
    control.ok("CONFIG SET timeout 1");
    control.wait_for_info("connected_clients", |n| n <= 1);
}

#[test]
fn no_file_name_leads_out_of_the_directory() {
    let names = [
        "dbfilename",
        "appendfilename",
        "appenddirname",
        "logfile",
        "aclfile",
        "pidfile",
        "cluster-config-file",
    ];
    let server = Server::start("--enable-protected-configs yes");
    let mut client = server.client();
    for name in names {
        for value in ["../x", "/tmp/x", "a/b"] {
            assert!(client.call(&["CONFIG", "SET", name, value]).is_error(), "{name} {value}");
        }
    }
    assert!(client.call(&["CONFIG", "SET", "dir", "/no/such/directory"]).is_error());
    // By default no client can change where files are written.
    let server = Server::start("");
    let mut client = server.client();
    for (name, value) in [("dir", "/tmp"), ("dbfilename", "x.rdb")] {
        let reply = client.call(&["CONFIG", "SET", name, value]).text();
        assert!(reply.contains("can't set protected config"), "{name}: {reply}");
    }
}

#[test]
fn a_pattern_of_many_stars_is_matched_in_polynomial_time() {
    let server = Server::start("");
    let (mut client, mut subscriber) = (server.client(), server.client());
    let long = "a".repeat(2000);
    let bomb = format!("{}b", "a*".repeat(500));
    client.call(&["SET", &long, "x"]);
    for call in [
        &["KEYS", &bomb][..],
        &["SCAN", "0", "MATCH", &bomb, "COUNT", "1000"],
        &["CONFIG", "GET", &bomb],
        &["COMMAND", "LIST", "FILTERBY", "PATTERN", &bomb],
        &["PUBSUB", "CHANNELS", &bomb],
        &["FUNCTION", "LIST", "LIBRARYNAME", &bomb],
    ] {
        client.call(call);
    }
    subscriber.call(&["PSUBSCRIBE", &bomb]);
    assert_eq!(client.call(&["PUBLISH", &long, "x"]).integer(), 0);
    client.call(&[
        "ACL",
        "SETUSER",
        "bob",
        "on",
        "nopass",
        &format!("~{bomb}"),
        &format!("&{bomb}"),
        "+@all",
    ]);
    client.ok("AUTH bob x");
    assert!(client.call(&["GET", &long]).text().starts_with("NOPERM"));
    assert!(client.call(&["PUBLISH", &long, "x"]).text().starts_with("NOPERM"));
}

#[test]
fn a_list_of_passwords_tried_at_full_speed_fills_nothing() {
    const TRIES: usize = 20_000;
    let server = Server::start("--requirepass secret --acllog-max-len 100");
    let (mut control, mut guesser) = (server.client(), server.client());
    control.ok("AUTH secret");
    let (before, log) = (used_memory(&mut control), server.log().len());
    for tries in 0..TRIES / 100 {
        let requests: Vec<u8> = (0..100)
            .flat_map(|n| {
                encode(&["AUTH", &format!("user{n}-{tries}-{}", "x".repeat(500)), &format!("guess{n}")])
            })
            .collect();
        guesser.send_raw(&requests).expect("send");
        for _ in 0..100 {
            assert!(guesser.read_reply().expect("a reply").value.is_error());
        }
    }
    assert_eq!(control.info_number("acl_access_denied_auth"), TRIES as i64);
    assert_eq!(control.run("ACL LOG 1000").elements().len(), 100);
    let grown = used_memory(&mut control) - before;
    assert!(grown < 1 << 20, "{grown} bytes");
    assert!(server.log().len() - log < 1000, "nobody fills the disk with the log");
    assert!(guesser.run("PING").text().starts_with("NOAUTH"));
}

#[test]
fn counts_and_offsets_beyond_any_value_take_no_memory() {
    let server = Server::start("");
    let mut client = server.client();
    for line in
        ["SET s x", "RPUSH l a b c", "SADD t a b c", "HSET h a 1 b 2", "ZADD z 1 a 2 b", "XADD x 1-1 a 1"]
    {
        client.run(line);
    }
    client.run("XGROUP CREATE x g 0");
    let before = used_memory(&mut client);
    let numbers =
        ["9223372036854775807", "-9223372036854775808", "4294967296", "-4294967297", "18446744073709551616"];
    for n in numbers {
        for call in [
            "SETRANGE s N x",
            "GETRANGE s N N",
            "SETBIT s N 1",
            "GETBIT s N",
            "BITCOUNT s N N",
            "BITPOS s 1 N N",
            "INCRBY n N",
            "DECRBY n N",
            "BITFIELD s GET u8 #N",
            "BITFIELD s SET i64 N 1",
            "LRANGE l N N",
            "LINDEX l N",
            "LTRIM l2 N N",
            "LPOS l a RANK N",
            "LPOS l a COUNT N",
            "LSET l N x",
            "LREM l N zz",
            "LMPOP N l LEFT",
            "SRANDMEMBER nosuch N",
            "SPOP nosuch N",
            "SINTERCARD N t",
            "HRANDFIELD nosuch N",
            "HINCRBY h2 a N",
            "ZRANDMEMBER nosuch N",
            "ZRANGE z N N",
            "ZRANGE z 0 9 BYSCORE LIMIT N N",
            "ZREMRANGEBYRANK z2 N N",
            "ZUNION N z",
            "ZUNIONSTORE d N z",
            "ZMPOP N z MIN",
            "ZMPOP 1 nosuch MIN COUNT N",
            "XRANGE x - + COUNT N",
            "XREAD COUNT N STREAMS x 9",
            "XTRIM x2 MAXLEN N",
            "XTRIM x2 MAXLEN ~ 1 LIMIT N",
            "XADD x2 MAXLEN N * a 1",
            "XPENDING x g - + N",
            "XAUTOCLAIM x g c N 0 COUNT 1",
            "XAUTOCLAIM x g c 1 0 COUNT N",
            "XSETID x 9-9 ENTRIESADDED N",
            "SCAN N",
            "SCAN 0 COUNT N",
            "EXPIRE nosuch N",
            "SET s2 x EX N",
            "SET s2 x PXAT N",
            "GETEX nosuch EX N",
            "SETEX s2 N x",
            "RESTORE r N x",
            "EVAL return N",
            "FCALL f N",
            "OBJECT ENCODING N",
            "SELECT N",
            "MOVE s N",
            "SWAPDB 0 N",
            "COPY s s3 DB N",
            "WAIT N 1",
            "SLOWLOG GET N",
            "ACL LOG N",
            "ACL GENPASS N",
            "LOLWUT VERSION N",
            "CLIENT KILL ID N",
            "CLIENT PAUSE N",
            "CLIENT UNPAUSE",
            "CLUSTER KEYSLOT N",
            "LCS s s MINMATCHLEN N",
            "SORT l LIMIT N N ALPHA",
            "GEOSEARCH z FROMLONLAT 0 0 BYRADIUS N m COUNT N",
            "DEBUG SLEEP N",
            "MEMORY USAGE s SAMPLES N",
            "LATENCY HISTOGRAM N",
        ] {
            client.run(&call.replace('N', n));
        }
    }
    assert_eq!(client.run("PING").text(), "PONG");
    let grown = used_memory(&mut client) - before;
    assert!(grown < 1 << 20, "{grown} bytes");
}

#[test]
fn a_chosen_order_of_keys_fails_for_the_seed_of_the_hash_is_the_server_s_own() {
    let order = || {
        let server = Server::start("");
        let mut client = server.client();
        for n in 0..200 {
            client.ok(&format!("SET key:{n} x"));
        }
        client.run("KEYS *")
    };
    assert_ne!(order(), order(), "200 keys in the same order by chance");
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let server = Server::start("");
    let mut client = server.client();
    let depth = 200_000;
    client.call(&["SET", "json", &"[".repeat(depth)]);
    client.call(&["SET", "pack", &"\x01".repeat(depth)]);
    for script in [
        "return cjson.decode(redis.call('get', 'json'))",
        "local t = {} for i = 1, 200000 do t = {t} end return cjson.encode(t)",
        "local f = loadstring(string.rep('(', 200000)) return f()",
    ] {
        assert!(client.call(&["EVAL", script, "0"]).is_error(), "{script}");
    }
    client.call(&["EVAL", "return cmsgpack.unpack(string.rep(string.char(0x91), 200000))", "0"]);
    assert_eq!(client.run("PING").text(), "PONG");
    client.send(&["EVAL", "local t = {} for i = 1, 200000 do t = {t} end return t", "0"]).expect("send");
    let end = b"-ERR reached lua stack limit\r\n";
    // Redis returns as many arrays before the error.
    let reply = client.read_raw(7995 * 4 + end.len()).expect("the reply");
    assert!(reply.ends_with(end));
    // A request is an array of strings: there is no array within it.
    let mut other = server.client();
    other.send_raw("*1\r\n".repeat(1000).as_bytes()).expect("send");
    assert!(other.wait_closed().starts_with(b"-ERR Protocol error: expected '$', got '*'"));
    assert_eq!(client.run("PING").text(), "PONG");
}

#[test]
fn a_thousand_idle_subscribers_take_little_memory_and_give_it_back() {
    let server = Launch::subject().flags("--save ''").start();
    let mut control = server.client();
    let before = used_memory(&mut control);
    let mut subscribers: Vec<Client> = (0..1000).map(|_| server.client()).collect();
    for (n, client) in subscribers.iter_mut().enumerate() {
        client.run(&format!("SUBSCRIBE news:{n}"));
        client.run("PSUBSCRIBE chat:*");
    }
    let each = (used_memory(&mut control) - before) / 1000;
    assert!(each < 2048, "{each} bytes for each");
    drop(subscribers);
    control.wait_for_info("connected_clients", |n| n == 1);
    control.wait_for_info("used_memory", |bytes| bytes - before < 200_000);
}
