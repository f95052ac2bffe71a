//! The Rust `redis` crate works against the server, in both protocols.

mod support;

use redis::{Commands, Connection, ErrorKind, ExistenceCheck, SetExpiry, SetOptions};
use std::collections::HashSet;
use support::Server;

fn connect(server: &Server, protocol: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port());
    redis::Client::open(url).expect("a URL").get_connection().expect("connect")
}

fn in_both_protocols(test: impl Fn(&mut Connection)) {
    let server = Server::start("");
    for protocol in ["resp2", "resp3"] {
        let mut connection = connect(&server, protocol);
        let () = redis::cmd("FLUSHALL").query(&mut connection).expect("FLUSHALL");
        test(&mut connection);
    }
}

#[test]
fn strings_and_counters() {
    in_both_protocols(|c| {
        let () = c.set("k", "value").expect("set");
        assert_eq!(c.get::<_, String>("k").expect("get"), "value");
        assert_eq!(c.get::<_, Option<String>>("none").expect("get"), None);
        assert_eq!(c.incr::<_, _, i64>("n", 5).expect("incr"), 5);
        assert_eq!(c.decr::<_, _, i64>("n", 7).expect("decr"), -2);
        let sum: f64 = c.incr("f", 1.5).expect("incrbyfloat");
        assert!((sum - 1.5).abs() < 1e-12);
        assert_eq!(c.append::<_, _, usize>("k", "!").expect("append"), 6);
        assert_eq!(c.strlen::<_, usize>("k").expect("strlen"), 6);
        assert_eq!(c.getset::<_, _, String>("k", "new").expect("getset"), "value!");
        let () = c.mset(&[("a", 1), ("b", 2)]).expect("mset");
        assert_eq!(
            c.mget::<_, Vec<Option<i64>>>(&["a", "none", "b"]).expect("mget"),
            [Some(1), None, Some(2)]
        );
        let bytes = vec![0, 255, 13, 10, 0];
        let () = c.set("bytes", &bytes[..]).expect("set");
        assert_eq!(c.get::<_, Vec<u8>>("bytes").expect("get"), bytes);
    });
}

#[test]
fn options_and_expiry() {
    in_both_protocols(|c| {
        let options =
            SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(SetExpiry::EX(100));
        assert!(c.set_options::<_, _, Option<String>>("k", "v", options.clone()).expect("set").is_some());
        assert!(c.set_options::<_, _, Option<String>>("k", "w", options).expect("set").is_none());
        let ttl: i64 = c.ttl("k").expect("ttl");
        assert!((90..=100).contains(&ttl), "{ttl}");
        assert!(c.persist::<_, bool>("k").expect("persist"));
        assert_eq!(c.ttl::<_, i64>("k").expect("ttl"), -1);
        assert!(c.expire::<_, bool>("k", 50).expect("expire"));
        assert!(!c.expire::<_, bool>("none", 50).expect("expire"));
        assert_eq!(c.del::<_, i64>(&["k", "none"]).expect("del"), 1);
        assert!(!c.exists::<_, bool>("k").expect("exists"));
    });
}

#[test]
fn pipelines_errors_and_scans() {
    in_both_protocols(|c| {
        let (one, two): (i64, String) =
            redis::pipe().incr("n", 1).set("k", "v").ignore().get("k").query(c).expect("a pipeline");
        assert_eq!((one, &*two), (1, "v"));
        let error = c.incr::<_, _, i64>("k", 1).expect_err("k is no number");
        assert_eq!(error.kind(), ErrorKind::Server(redis::ServerErrorKind::ResponseError));
        assert!(error.to_string().contains("value is not an integer"), "{error}");
        let wanted: HashSet<String> = (0..500).map(|n| format!("key:{n}")).collect();
        let mut pipe = redis::pipe();
        for key in &wanted {
            pipe.set(key, 1).ignore();
        }
        let () = pipe.query(c).expect("a pipeline");
        let found: HashSet<String> =
            c.scan_match::<_, String>("key:*").expect("scan").map(|key| key.expect("a key")).collect();
        assert_eq!(found, wanted);
        let hz: std::collections::HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("hz").query(c).expect("config");
        assert_eq!(hz["hz"], "10");
        let info: redis::InfoDict = redis::cmd("INFO").query(c).expect("info");
        assert_eq!(info.get::<String>("redis_mode").as_deref(), Some("standalone"));
    });
}

#[test]
fn ranges_bits_and_hyperloglogs() {
    in_both_protocols(|c| {
        let () = c.set("k", "Hello World").expect("set");
        assert_eq!(c.setrange::<_, _, usize>("k", 6, "Redis").expect("setrange"), 11);
        assert_eq!(c.getrange::<_, String>("k", -5, -1).expect("getrange"), "Redis");
        assert!(!c.setbit::<_, bool>("bits", 7, true).expect("setbit"));
        assert!(c.getbit::<_, bool>("bits", 7).expect("getbit"));
        assert_eq!(c.bitcount::<_, usize>("bits").expect("bitcount"), 1);
        assert_eq!(c.bit_not::<_, _, usize>("flipped", "bits").expect("bitop"), 1);
        assert_eq!(c.get::<_, Vec<u8>>("flipped").expect("get"), [0xfe]);
        let fields: Vec<Option<i64>> = redis::cmd("BITFIELD")
            .arg(&["bits", "SET", "u8", "0", "200", "OVERFLOW", "FAIL", "INCRBY", "u8", "0", "100"])
            .query(c)
            .expect("bitfield");
        assert_eq!(fields, [Some(1), None]);
        assert!(c.pfadd::<_, _, bool>("one", &["a", "b", "c"]).expect("pfadd"));
        assert!(c.pfadd::<_, _, bool>("two", &["c", "d"]).expect("pfadd"));
        assert_eq!(c.pfcount::<_, usize>(&["one", "two"]).expect("pfcount"), 4);
        let () = c.pfmerge("all", &["one", "two"]).expect("pfmerge");
        assert_eq!(c.pfcount::<_, usize>("all").expect("pfcount"), 4);
    });
}

#[test]
fn keys_are_renamed_copied_dumped_and_sorted() {
    in_both_protocols(|c| {
        let () = c.set("a", 1).expect("set");
        let () = c.rename("a", "b").expect("rename");
        assert!(!c.rename_nx::<_, _, bool>("b", "b").expect("renamenx"));
        assert!(redis::cmd("COPY").arg(&["b", "c"]).query::<bool>(c).expect("copy"));
        let dump: Vec<u8> = redis::cmd("DUMP").arg("b").query(c).expect("dump");
        let () = redis::cmd("RESTORE").arg("d").arg(0).arg(&dump).query(c).expect("restore");
        assert_eq!(c.get::<_, i64>("d").expect("get"), 1);
        let error = redis::cmd("RESTORE").arg("e").arg(0).arg("x").query::<()>(c).expect_err("no dump");
        assert!(error.to_string().contains("DUMP payload version or checksum are wrong"), "{error}");
        assert_eq!(c.object_encoding::<_, String>("d").expect("object"), "int");
        assert_eq!(c.rpush::<_, _, usize>("list", &[3, 1, 2]).expect("rpush"), 3);
        let sorted: Vec<i64> = redis::cmd("SORT").arg(&["list", "DESC"]).query(c).expect("sort");
        assert_eq!(sorted, [3, 2, 1]);
        let error = c.incr::<_, _, i64>("list", 1).expect_err("a list");
        assert_eq!(error.code(), Some("WRONGTYPE"));
    });
}

#[test]
fn the_server_tells_of_itself() {
    in_both_protocols(|c| {
        let () = c.set("k", "v").expect("set");
        let usage: Option<usize> = redis::cmd("MEMORY").arg(&["USAGE", "k"]).query(c).expect("memory usage");
        assert!(usage.expect("a key") > 0);
        let stats: std::collections::HashMap<String, redis::Value> =
            redis::cmd("MEMORY").arg("STATS").query(c).expect("memory stats");
        assert_eq!(stats["keys.count"], redis::Value::Int(1));
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(c).expect("client list");
        assert!(clients.contains("lib-name=redis-rs"), "{clients}");
        let slow: Vec<redis::Value> = redis::cmd("SLOWLOG").arg(&["GET", "1"]).query(c).expect("slowlog");
        assert!(slow.len() <= 1);
        let count: usize = redis::cmd("COMMAND").arg("COUNT").query(c).expect("command count");
        assert!(count > 100, "{count}");
    });
}

#[test]
fn authentication_and_databases_by_url() {
    let server = Server::start("--requirepass secret");
    let open = |url: String| redis::Client::open(url).expect("a URL").get_connection();
    let port = server.port();
    let mut three = open(format!("redis://:secret@127.0.0.1:{port}/3")).expect("connect");
    let () = three.set("k", "three").expect("set");
    let mut zero = open(format!("redis://default:secret@127.0.0.1:{port}/?protocol=resp3")).expect("connect");
    assert_eq!(zero.get::<_, Option<String>>("k").expect("get"), None);
    assert_eq!(three.get::<_, String>("k").expect("get"), "three");
    assert!(open(format!("redis://:wrong@127.0.0.1:{port}/")).is_err());
}

#[test]
fn transactions_are_whole_and_start_again_when_a_watched_key_changes() {
    let server = Server::start("");
    for protocol in ["resp2", "resp3"] {
        let mut connection = connect(&server, protocol);
        let (set, sum): (String, i64) = redis::pipe()
            .atomic()
            .set("n", 40)
            .incr("n", 2)
            .query(&mut connection)
            .expect("MULTI in one pipeline");
        assert_eq!((set.as_str(), sum), ("OK", 42));
        let wrong: redis::RedisResult<(i64, i64)> =
            redis::pipe().atomic().incr("n", 1).cmd("NOSUCHCOMMAND").query(&mut connection);
        assert_eq!(wrong.expect_err("an unknown command").code(), Some("EXECABORT"));

        let mut other = connect(&server, protocol);
        let mut rounds = 0;
        let (n,): (i64,) = redis::transaction(&mut connection, &["n"], |c, pipe| {
            rounds += 1;
            let n: i64 = c.get("n")?;
            if rounds == 1 {
                let () = other.set("n", 1)?;
            }
            pipe.set("n", n * 10).ignore().get("n").query(c)
        })
        .expect("a transaction");
        assert_eq!((rounds, n), (2, 10));
    }
}

#[test]
fn subscribers_receive_what_is_published() {
    let server = Server::start("");
    let mut publisher = connect(&server, "resp2");
    for protocol in ["resp2", "resp3"] {
        let mut connection = connect(&server, protocol);
        let mut subscriber = connection.as_pubsub();
        subscriber.set_read_timeout(Some(support::DEADLINE)).expect("a time limit");
        subscriber.subscribe(&["news", "weather"]).expect("subscribe");
        subscriber.psubscribe("n*").expect("psubscribe");
        assert_eq!(publisher.publish::<_, _, usize>("news", "hello").expect("publish"), 2);
        let mut heard = || {
            let message = subscriber.get_message().expect("a message");
            let pattern: Option<String> = message.get_pattern().expect("text");
            (pattern, message.get_channel_name().to_string(), message.get_payload::<String>().expect("text"))
        };
        let (channel, text) = ("news".to_string(), "hello".to_string());
        assert_eq!(heard(), (None, channel.clone(), text.clone()));
        assert_eq!(heard(), (Some("n*".to_string()), channel, text));
        subscriber.unsubscribe("weather").expect("unsubscribe");
        assert_eq!(publisher.publish::<_, _, usize>("weather", "nobody").expect("publish"), 0);
        // Without its subscriptions the connection accepts all commands again.
        drop(subscriber);
        assert!(connection.set::<_, _, bool>("k", "v").expect("set"));
        assert_eq!(publisher.publish::<_, _, usize>("news", "nobody").expect("publish"), 0);
    }
}
