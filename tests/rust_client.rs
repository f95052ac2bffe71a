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
