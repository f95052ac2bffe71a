//! Client-side caching at size and over time: the limit of the table, its memory, clients that disconnect.
//! `tests/differential/` compares the effects of single commands with Redis.

mod support;

use std::collections::BTreeSet;
use support::client::encode;
use support::{Client, Server, Value, eventually};

/// A RESP3 client that tracks the keys it reads.
fn tracker(server: &Server, options: &str) -> Client {
    let mut client = server.client();
    client.run("HELLO 3");
    client.ok(format!("CLIENT TRACKING ON {options}").trim_end());
    client
}

fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// Calls `GET` for keys `0..count` in one pipeline. Returns the push messages received meanwhile.
fn read_keys(client: &mut Client, count: usize) -> Vec<Value> {
    let requests: Vec<u8> = (0..count).flat_map(|number| encode(&["GET", &key(number)])).collect();
    // A separate thread writes, because neither side may wait for the other to read.
    let mut writer = client.twin();
    let writing = std::thread::spawn(move || writer.send_raw(&requests));
    let (mut pushed, mut replies) = (Vec::new(), 0);
    while replies < count {
        match next(client) {
            push @ Value::Push(_) => pushed.push(push),
            _ => replies += 1,
        }
    }
    writing.join().expect("the writer").expect("written");
    pushed
}

fn next(client: &mut Client) -> Value {
    client.read_reply().expect("a reply or a push").value
}

/// The key that a push message invalidates; `None` if it invalidates all keys.
fn invalidated(push: &Value) -> Option<String> {
    let Value::Push(parts) = push else { panic!("not a push: {push:?}") };
    assert_eq!(parts[0].text(), "invalidate");
    if parts[1].is_null() {
        return None;
    }
    let [name] = parts[1].elements().try_into().expect("one key");
    Some(name.text())
}

/// The push messages before the reply to a `PING`.
fn pushed_by_now(client: &mut Client) -> Vec<Value> {
    client.send(&["PING"]).expect("sent");
    let mut pushed = Vec::new();
    loop {
        match next(client) {
            push @ Value::Push(_) => pushed.push(push),
            reply => {
                assert_eq!(reply.text(), "PONG");
                return pushed;
            }
        }
    }
}

#[test]
fn beyond_the_limit_keys_are_given_up_and_each_is_told_once() {
    let server = Server::start("--tracking-table-max-keys 100");
    let mut reader = tracker(&server, "NOLOOP");
    let mut told: Vec<Value> = read_keys(&mut reader, 1000);
    let mut writer = server.client();
    assert_eq!(writer.info_number("tracking_total_keys"), 100);
    assert_eq!(writer.info_number("tracking_total_items"), 100);
    // The client is notified when the other keys change.
    for number in 0..1000 {
        writer.call(&["SET", &key(number), "value"]);
    }
    told.extend(pushed_by_now(&mut reader));
    let keys: BTreeSet<String> = told.iter().map(|push| invalidated(push).expect("a key")).collect();
    assert_eq!((told.len(), keys.len()), (1000, 1000));
    assert_eq!(writer.info_number("tracking_total_keys"), 0);
}

#[test]
fn a_limit_that_is_lowered_is_kept_without_another_command() {
    let server = Server::start("");
    let mut reader = tracker(&server, "");
    assert!(read_keys(&mut reader, 20_000).is_empty());
    let mut other = server.client();
    assert_eq!(other.info_number("tracking_total_keys"), 20_000);
    other.ok("CONFIG SET tracking-table-max-keys 10");
    let told: BTreeSet<_> = (0..19_990).map(|_| invalidated(&next(&mut reader)).expect("a key")).collect();
    assert_eq!(told.len(), 19_990);
    assert_eq!(other.info_number("tracking_total_keys"), 10);
    other.ok("CONFIG SET tracking-table-max-keys 0");
    read_keys(&mut reader, 1000);
    assert!(other.info_number("tracking_total_keys") >= 1000, "0 is no limit");
}

#[test]
fn a_hundred_thousand_keys_take_few_bytes_each_and_a_flush_gives_them_back() {
    const KEYS: usize = 100_000;
    let server = Server::start("");
    let mut reader = tracker(&server, "");
    let mut other = server.client();
    read_keys(&mut reader, 1);
    let before = other.info_number("used_memory");
    assert!(read_keys(&mut reader, KEYS).is_empty());
    assert_eq!(other.info_number("tracking_total_keys"), KEYS as i64);
    let used = other.info_number("used_memory") - before;
    assert!(used < 100 * KEYS as i64, "{used} bytes for {KEYS} keys");
    // None of them exists, and still all copies are invalid.
    other.ok("FLUSHDB");
    let told = pushed_by_now(&mut reader);
    assert_eq!(told.iter().map(invalidated).collect::<Vec<_>>(), [None]);
    assert_eq!(other.info_number("tracking_total_keys"), 0);
    other.wait_for_info("used_memory", |now| now - before < 10 * KEYS as i64);
}

#[test]
fn what_a_client_has_read_is_forgotten_when_it_is_gone() {
    let server = Server::start("");
    let mut stays = tracker(&server, "");
    let mut leaves = tracker(&server, "");
    let mut writer = server.client();
    for reader in [&mut stays, &mut leaves] {
        read_keys(reader, 100);
    }
    assert_eq!(writer.info_number("tracking_total_items"), 200);
    drop(leaves);
    writer.wait_for_info("tracking_clients", |clients| clients == 1);
    for number in 0..100 {
        writer.call(&["SET", &key(number), "value"]);
    }
    assert_eq!(pushed_by_now(&mut stays).len(), 100);
    assert_eq!(writer.info_number("tracking_total_items"), 0);
    // Without tracking clients nothing is recorded.
    read_keys(&mut stays, 100);
    stays.ok("CLIENT TRACKING OFF");
    drop(stays);
    writer.wait_for_info("tracking_total_keys", |keys| keys == 0);
}

#[test]
fn a_client_that_ends_tracking_and_begins_again_is_notified_of_keys_that_it_read_before() {
    let server = Server::start("--hz 100");
    let mut writer = server.client();
    for end in ["CLIENT TRACKING OFF", "RESET"] {
        let mut client = tracker(&server, "");
        for name in ["changed", "other"] {
            client.run(&format!("GET {name}"));
        }
        client.run(end);
        // At least a second passes, in which cron runs many times.
        let begin = writer.info_number("uptime_in_seconds");
        writer.wait_for_info("uptime_in_seconds", |uptime| uptime >= begin + 2);
        client.run("HELLO 3");
        // No client tracks keys meanwhile, so none is notified, but the key is removed from the table.
        writer.ok("SET other x");
        client.ok("CLIENT TRACKING ON");
        writer.ok("SET changed x");
        writer.ok("SET other y");
        let told: Vec<_> = pushed_by_now(&mut client).iter().filter_map(invalidated).collect();
        assert_eq!(told, ["changed"], "{end}");
    }
}

#[test]
fn a_client_is_told_once_that_the_one_it_redirects_to_is_gone_and_can_choose_another() {
    let server = Server::start("");
    let mut target = server.client();
    let id = target.run("CLIENT ID").integer();
    let mut reader = tracker(&server, &format!("REDIRECT {id}"));
    let mut writer = server.client();
    drop(target);
    writer.wait_for_info("connected_clients", |clients| clients == 2);
    reader.run("GET key");
    writer.ok("SET key value");
    let push = next(&mut reader).elements();
    assert_eq!((push[0].text().as_str(), push[1].integer()), ("tracking-redir-broken", id));
    writer.ok("SET key value");
    assert!(pushed_by_now(&mut reader).is_empty(), "the key was not read again");
    let flags = reader.run("CLIENT TRACKINGINFO").field("flags").elements();
    assert!(flags.iter().any(|flag| flag.text() == "broken_redirect"));
    let line = reader.run("CLIENT INFO").text();
    assert!(line.contains(" flags=tR ") && line.contains(&format!(" redir={id} ")), "{line}");

    let mut other = server.client();
    let id = other.run("CLIENT ID").integer();
    other.run("SUBSCRIBE __redis__:invalidate");
    reader.ok(&format!("CLIENT TRACKING ON REDIRECT {id}"));
    reader.run("GET key");
    writer.ok("SET key value");
    let message: Vec<Value> = next(&mut other).elements();
    assert_eq!(message[..2].iter().map(Value::text).collect::<Vec<_>>(), ["message", "__redis__:invalidate"]);
    assert_eq!(message[2].elements()[0].text(), "key");
    assert!(pushed_by_now(&mut reader).is_empty());
}

#[test]
fn each_of_many_clients_that_have_read_a_key_is_told_once() {
    const CLIENTS: usize = 300;
    let server = Server::start("");
    let mut readers: Vec<Client> = (0..CLIENTS).map(|_| tracker(&server, "")).collect();
    let mut writer = server.client();
    for _ in 0..2 {
        for reader in &mut readers {
            reader.run("GET key");
            reader.run("MGET key other key");
        }
        assert_eq!(writer.info_number("tracking_total_items"), 2 * CLIENTS as i64);
        writer.ok("SET key value");
        writer.ok("SET other value");
        for reader in &mut readers {
            let told: Vec<_> = pushed_by_now(reader).iter().map(invalidated).collect();
            assert_eq!(told, [Some("key".to_owned()), Some("other".to_owned())]);
        }
        assert_eq!(writer.info_number("tracking_total_keys"), 0);
    }
}

#[test]
fn a_key_that_expires_while_it_is_read_is_remembered_without_its_value() {
    let server = Server::start("--enable-debug-command yes");
    let mut reader = tracker(&server, "");
    let mut writer = server.client();
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.ok("SET key value PX 20");
    let told = eventually("the key expires", || {
        reader.send(&["GET", "key"]).expect("sent");
        let is_gone = next(&mut reader).is_null();
        is_gone.then(|| pushed_by_now(&mut reader))
    });
    // A key that was never read while it existed has no copy.
    assert!(told.iter().all(|push| invalidated(push).as_deref() == Some("key")) && told.len() < 2);
    writer.ok("SET key value");
    assert_eq!(invalidated(&next(&mut reader)).as_deref(), Some("key"));
}

#[test]
fn clients_of_prefixes_hear_once_of_all_that_a_transaction_has_changed() {
    let server = Server::start("");
    let mut users = tracker(&server, "BCAST PREFIX user: PREFIX group: NOLOOP");
    let mut all = tracker(&server, "BCAST");
    let mut writer = server.client();
    assert_eq!(writer.info_number("tracking_total_prefixes"), 3);
    writer.ok("MULTI");
    for number in (0..1000).rev() {
        writer.run(&format!("SET user:{number:03} 1"));
        writer.run(&format!("APPEND user:{number:03} 1"));
    }
    writer.run("SET group:1 1");
    writer.run("SET other 1");
    assert_eq!(writer.run("EXEC").elements().len(), 2002);
    let keys =
        |push: &Value| -> Vec<String> { push.elements()[1].elements().iter().map(Value::text).collect() };
    let user_keys: Vec<String> = (0..1000).map(|number| format!("user:{number:03}")).collect();
    let told = pushed_by_now(&mut users);
    assert_eq!(told.iter().map(keys).collect::<Vec<_>>(), [vec!["group:1".to_owned()], user_keys.clone()]);
    let told = pushed_by_now(&mut all);
    assert_eq!(told.len(), 1);
    assert_eq!(keys(&told[0])[2..], user_keys);

    users.ok("MSET user:1 1 group:1 1");
    assert!(pushed_by_now(&mut users).is_empty(), "its own changes");
    assert_eq!(keys(&pushed_by_now(&mut all)[0]), ["group:1", "user:1"]);
    users.run("RESET");
    drop(all);
    writer.wait_for_info("tracking_total_prefixes", |prefixes| prefixes == 0);
    assert_eq!(writer.info_number("tracking_clients"), 0);
}
