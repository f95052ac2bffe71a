//! What sees the effects of one server's commands.
//!
//! For Redis there are two connections: a subscriber to all events, and a fake replica that takes part in the handshake,
//! throws the snapshot away and reads the calls that follow. A message that is published from a third one comes out of
//! both, after everything that was done before it.

use super::{Call, Effects, Event};
use crate::support::server::{Server, subject_is_redis};
use crate::support::{Client, Value};

/// The channel of the marks.
const MARKS: &str = "effects:marks";

/// A connection, or three, that see what a server's commands leave behind.
pub enum Witness {
    Journal(Client),
    Redis(RedisWitness),
}

impl Witness {
    /// For the server under test, which has a journal unless it is Redis.
    pub fn of_subject(server: &Server) -> Witness {
        if subject_is_redis() {
            return Witness::of_redis(server);
        }
        let mut client = server.client();
        client.ok("DEBUG JOURNAL ON");
        Witness::Journal(client)
    }

    pub fn of_redis(server: &Server) -> Witness {
        Witness::Redis(RedisWitness::attach(server))
    }

    /// Requests all that was left behind so far; [`Witness::take`] reads it.
    pub fn mark(&mut self) {
        let sent = match self {
            Witness::Journal(client) => client.send(&["DEBUG", "JOURNAL", "TAKE"]),
            Witness::Redis(redis) => redis.mark(),
        };
        sent.expect("a server that takes a request");
    }

    /// What was left behind between the last two marks.
    pub fn take(&mut self) -> Effects {
        match self {
            Witness::Journal(client) => journal(&client.read_reply().expect("the journal").value),
            Witness::Redis(redis) => redis.take(),
        }
    }
}

impl Call {
    /// MULTI and EXEC are in no database: a replica gets the SELECT between them.
    fn new(db: i64, args: Vec<Vec<u8>>) -> Call {
        let frames = args.len() == 1 && [&b"MULTI"[..], b"EXEC"].contains(&&args[0][..]);
        Call { db: if frames { 0 } else { db }, args }
    }
}

/// Reads the reply to `DEBUG JOURNAL TAKE`: the events, each with its database, name and key; the calls, each with its
/// database and arguments.
fn journal(reply: &Value) -> Effects {
    let parts = reply.elements();
    let [events, calls] = &parts[..] else { panic!("no journal: {reply:?}") };
    let event = |value: &Value| match &value.elements()[..] {
        [Value::Integer(db), Value::Bulk(name), Value::Bulk(key)] => {
            Event { db: *db, name: name.clone(), key: key.clone() }
        }
        _ => panic!("no event: {value:?}"),
    };
    let call = |value: &Value| match &value.elements()[..] {
        [Value::Integer(db), args @ ..] => Call::new(*db, args.iter().map(bytes).collect()),
        _ => panic!("no call: {value:?}"),
    };
    Effects {
        events: events.elements().iter().map(event).collect(),
        calls: calls.elements().iter().map(call).collect(),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("no bulk string: {other:?}"),
    }
}

/// The connections to a Redis.
pub struct RedisWitness {
    control: Client,
    subscriber: Client,
    replica: Client,
    /// The database that the replication stream has selected.
    selected: i64,
    marks: u64,
}

impl RedisWitness {
    fn attach(server: &Server) -> RedisWitness {
        let (mut control, mut subscriber) = (server.client(), server.client());
        // All classes: `A` is without the misses and the new keys. A replica that never acknowledges is not dropped.
        control.ok("CONFIG SET notify-keyspace-events EAmn");
        control.ok("CONFIG SET repl-timeout 100000");
        subscriber.run("PSUBSCRIBE __keyevent@*__:*");
        subscriber.run(&format!("SUBSCRIBE {MARKS}"));
        let mut witness =
            RedisWitness { control, subscriber, replica: replicate(server), selected: 0, marks: 0 };
        witness.mark().expect("a server that takes a request");
        witness.take();
        witness
    }

    fn mark(&mut self) -> std::io::Result<()> {
        self.marks += 1;
        self.control.send(&["PUBLISH", MARKS, &self.marks.to_string()])
    }

    fn take(&mut self) -> Effects {
        let mark = self.marks.to_string().into_bytes();
        self.control.read_reply().expect("the reply to PUBLISH");
        Effects { events: self.events(&mark), calls: self.calls(&mark) }
    }

    fn events(&mut self, mark: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let message = self.subscriber.read_reply().expect("a message").value.elements();
            match message.iter().map(bytes).collect::<Vec<_>>().as_slice() {
                [kind, channel, text] if kind == b"message" && channel == MARKS.as_bytes() => {
                    if text == mark {
                        return events;
                    }
                }
                [_, _, channel, key] => events.push(event(channel, key)),
                other => panic!("no message: {other:?}"),
            }
        }
    }

    fn calls(&mut self, mark: &[u8]) -> Vec<Call> {
        let mut calls = Vec::new();
        loop {
            let call = self.replica.read_reply().expect("a propagated call").value.elements();
            let args: Vec<Vec<u8>> = call.iter().map(bytes).collect();
            let mut words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let name = words[0].to_ascii_uppercase();
            words[0] = &name;
            match words[..] {
                [b"SELECT", db] => {
                    let db = String::from_utf8_lossy(db);
                    self.selected = db.parse().expect("the number of a database");
                }
                [b"PING"] | [b"REPLCONF", ..] => {}
                [b"PUBLISH", channel, text] if channel == MARKS.as_bytes() => {
                    if text == mark {
                        return calls;
                    }
                }
                _ => calls.push(Call::new(self.selected, args)),
            }
        }
    }
}

/// From a channel `__keyevent@DB__:NAME`.
fn event(channel: &[u8], key: &[u8]) -> Event {
    let text = String::from_utf8_lossy(channel);
    let parts = text.strip_prefix("__keyevent@").and_then(|rest| rest.split_once("__:"));
    let (db, name) = parts.unwrap_or_else(|| panic!("no event: {text}"));
    Event { db: db.parse().expect("the number of a database"), name: name.into(), key: key.to_vec() }
}

/// A connection that has become a replica and has the snapshot behind it.
fn replicate(server: &Server) -> Client {
    let mut client = server.client();
    // Without the capability `eof` the snapshot comes with its length.
    client.ok("REPLCONF listening-port 1");
    client.ok("REPLCONF capa psync2");
    client.send(&["PSYNC", "?", "-1"]).expect("a server that takes a request");
    let resync = client.read_reply().expect("the reply to PSYNC").value.text();
    assert!(resync.starts_with("FULLRESYNC "), "PSYNC: {resync}");
    let mut byte = || client.read_raw(1).expect("the head of the snapshot")[0];
    // Empty lines keep the connection alive until the snapshot is made.
    let mut first = byte();
    while first == b'\n' {
        first = byte();
    }
    assert_eq!(first, b'$', "the head of the snapshot");
    let digits: Vec<u8> = std::iter::from_fn(|| Some(byte()).filter(|byte| *byte != b'\r')).collect();
    byte();
    let length = String::from_utf8_lossy(&digits).parse().expect("the length of the snapshot");
    client.discard(length).expect("the snapshot");
    client
}
