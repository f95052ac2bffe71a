//! Clients with very many subscriptions: other clients are served while these subscribe and unsubscribe, and a
//! disconnected client gets no messages and is not counted.

mod support;

use std::collections::BTreeSet;
use std::thread::JoinHandle;
use support::client::encode;
use support::{Client, Server, Value, eventually};

/// Subscriptions of a client: they take many event loop iterations.
const MANY: usize = 30_000;

/// Fewer iterations than the subscriptions take, but far more than commands in one piece would take.
const MANY_ITERATIONS: i64 = (MANY / 2000) as i64;

fn channel(number: usize) -> String {
    format!("news:{number}")
}

fn request(word: &str) -> Vec<u8> {
    let names = (0..MANY).map(channel);
    encode(&std::iter::once(word.to_owned()).chain(names).collect::<Vec<_>>())
}

/// Writes in a separate thread, because neither side may wait for the other to read.
fn write(client: &Client, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut writer = client.twin();
    std::thread::spawn(move || writer.send_raw(&bytes).expect("written"))
}

/// The next reply or message.
fn next(client: &mut Client) -> Vec<Value> {
    client.read_reply().expect("a reply or a message").value.elements()
}

/// A client subscribed by the command `word` to all names.
fn subscriber(server: &Server, word: &str) -> Client {
    let mut client = server.client();
    let writing = write(&client, request(word));
    for number in 0..MANY {
        let reply = next(&mut client);
        assert_eq!(reply[0].text(), word.to_lowercase());
        assert_eq!((reply[1].text(), reply[2].integer()), (channel(number), number as i64 + 1));
    }
    writing.join().expect("the writer");
    client
}

fn iterations(control: &mut Client) -> i64 {
    control.info_number("eventloop_cycles")
}

/// The number of names in the server's tables.
fn names(control: &mut Client) -> i64 {
    ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"]
        .map(|name| control.info_number(name))
        .iter()
        .sum()
}

#[test]
fn subscribing_to_many_channels_takes_many_iterations_and_later_requests_wait() {
    let server = Server::start("");
    let mut control = server.client();
    for word in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let before = iterations(&mut control);
        let mut client = server.client();
        let prefix = word.trim_end_matches("SUBSCRIBE");
        let all = encode(&[format!("{prefix}UNSUBSCRIBE")]);
        let ping = encode(&["PING", "last"]);
        let writing = write(&client, [request(word), ping.clone(), all, ping].concat());
        for number in 0..MANY {
            let reply = next(&mut client);
            assert_eq!((reply[1].text(), reply[2].integer()), (channel(number), number as i64 + 1));
        }
        assert_eq!(next(&mut client)[1].text(), "last");
        let middle = iterations(&mut control);
        assert!(middle - before >= MANY_ITERATIONS, "{word}: {before} {middle}");
        let mut left: BTreeSet<String> = (0..MANY).map(channel).collect();
        for number in (0..MANY).rev() {
            let reply = next(&mut client);
            assert!(left.remove(&reply[1].text()), "{reply:?}");
            assert_eq!(reply[2].integer(), number as i64);
        }
        // In RESP2 a client without subscriptions gets a plain reply.
        assert_eq!(client.read_reply().expect("the last reply").value.text(), "last");
        assert!(iterations(&mut control) - middle >= MANY_ITERATIONS, "un{word}");
        writing.join().expect("the writer");
        assert_eq!(names(&mut control), 0);
        assert!(control.info("cmdstat_ping").starts_with("calls="));
        let calls = control.info(&format!("cmdstat_{}", word.to_lowercase()));
        assert!(calls.starts_with("calls=1,"), "{calls}");
    }
}

#[test]
fn in_a_transaction_subscriptions_are_not_interrupted() {
    let server = Server::start("");
    let mut client = server.client();
    let words = [encode(&["MULTI"]), request("SUBSCRIBE"), encode(&["EXEC"])].concat();
    let writing = write(&client, words);
    client.read_reply().expect("OK");
    client.read_reply().expect("QUEUED");
    assert_eq!(client.read_raw(4).expect("the reply of EXEC"), b"*1\r\n");
    for number in 0..MANY {
        assert_eq!(next(&mut client)[2].integer(), number as i64 + 1);
    }
    writing.join().expect("the writer");
    assert_eq!(server.client().info_number("pubsub_channels"), MANY as i64);
}

#[test]
fn removing_the_subscriptions_of_a_killed_client_takes_many_iterations_in_which_it_gets_no_messages() {
    let server = Server::start("");
    let mut control = server.client();
    for word in ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"] {
        let used = control.info_number("used_memory");
        let leaving = subscriber(&server, word);
        let before = iterations(&mut control);
        let id = control.run("CLIENT LIST TYPE pubsub").text();
        let id = id.split(['=', ' ']).nth(1).expect("an id").to_owned();
        assert_eq!(control.call(&["CLIENT", "KILL", "ID", &id]).integer(), 1);
        // A new client may take its slot and subscribe to its names.
        let mut new = server.client();
        let kind = if word == "SSUBSCRIBE" { "S" } else { "" };
        for number in [0, MANY / 2, MANY - 1] {
            let name = channel(number);
            assert_eq!(control.call(&[format!("{kind}PUBLISH"), name.clone(), "early".into()]).integer(), 0);
            new.call(&[word, &name]);
            assert_eq!(control.call(&[format!("{kind}PUBLISH"), name.clone(), "hello".into()]).integer(), 1);
            let message = next(&mut new);
            assert_eq!(message.last().expect("the message").text(), "hello");
            let numsub = control.call(&[
                "PUBSUB",
                &format!("{}NUMSUB", if kind == "S" { "SHARD" } else { "" }),
                &name,
            ]);
            assert_eq!(numsub.elements()[1].integer(), i64::from(word != "PSUBSCRIBE"));
        }
        let active = control.call(&["PUBSUB", if kind == "S" { "SHARDCHANNELS" } else { "CHANNELS" }]);
        assert_eq!(active.elements().len(), if word == "PSUBSCRIBE" { 0 } else { 3 });
        let patterns = control.run("PUBSUB NUMPAT").integer();
        assert_eq!(patterns, if word == "PSUBSCRIBE" { 3 } else { 0 });
        eventually("the names are gone", || (names(&mut control) == 3).then_some(()));
        let taken = iterations(&mut control) - before;
        assert!(taken >= MANY_ITERATIONS, "{word}: {taken}");
        drop((leaving, new));
        eventually("all names are gone", || (names(&mut control) == 0).then_some(()));
        eventually("the memory is back", || {
            let now = control.info_number("used_memory");
            // Buffers kept for the next large request remain.
            (now < used + 1_000_000).then_some(())
        });
    }
}

#[test]
fn a_client_may_disconnect_while_it_subscribes_and_reset_ends_many_subscriptions() {
    let server = Server::start("");
    let mut control = server.client();
    for _ in 0..5 {
        // The client disconnects after the first confirmation.
        let mut client = server.client();
        let writing = write(&client, request("SUBSCRIBE"));
        next(&mut client);
        writing.join().expect("the writer");
        drop(client);
        eventually("all names are gone", || (names(&mut control) == 0).then_some(()));
    }
    assert_eq!(control.info_number("blocked_clients"), 0);
    let mut client = subscriber(&server, "SUBSCRIBE");
    assert_eq!(client.run("RESET").text(), "RESET");
    assert_eq!(names(&mut control), 0);
    assert!(client.run("GET k").is_null());
}
