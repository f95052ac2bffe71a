//! The witness, which observes the effects of one server's commands.
//!
//! Events come from a subscriber to all notifications. Calls come from a fake replica of Redis, which takes part in the
//! handshake and discards the snapshot, and from the journal of the server under test. A message published after a
//! command reaches subscriber and replica after the effects of all previous commands.

use super::{Call, Effects, Event};
use crate::support::server::{Server, subject_is_redis};
use crate::support::{Client, Value};

/// The channel of the marks.
const MARKS: &str = "effects:marks";

/// Observes the effects of a server's commands.
pub struct Witness {
    control: Client,
    subscriber: Client,
    calls: Calls,
    marks: u64,
}

/// The source of calls.
enum Calls {
    /// `DEBUG JOURNAL TAKE`.
    Journal,
    /// The replication stream, and its selected database.
    Replica(Client, i64),
}

impl Witness {
    /// The witness of the server under test, which has a journal unless it is Redis.
    pub fn of_subject(server: &Server) -> Witness {
        if subject_is_redis() {
            return Witness::of_redis(server);
        }
        server.client().ok("DEBUG JOURNAL ON");
        Witness::attach(server, Calls::Journal)
    }

    pub fn of_redis(server: &Server) -> Witness {
        // Redis must not drop the replica, which never acknowledges.
        server.client().ok("CONFIG SET repl-timeout 100000");
        Witness::attach(server, Calls::Replica(replicate(server).0, 0))
    }

    fn attach(server: &Server, calls: Calls) -> Witness {
        let (mut control, mut subscriber) = (server.client(), server.client());
        // All classes: `A` does not contain misses and new keys.
        control.ok("CONFIG SET notify-keyspace-events KEAmn");
        subscriber.run("PSUBSCRIBE __key*@*__:*");
        subscriber.run(&format!("SUBSCRIBE {MARKS}"));
        let mut witness = Witness { control, subscriber, calls, marks: 0 };
        witness.mark();
        witness.take();
        witness
    }

    /// Sends a mark after all effects so far; [`Witness::take`] reads up to it.
    pub fn mark(&mut self) {
        self.marks += 1;
        let mark = self.marks.to_string();
        let mut sent = self.control.send(&["PUBLISH", MARKS, &mark]);
        if let Calls::Journal = self.calls {
            sent = sent.and_then(|()| self.control.send(&["DEBUG", "JOURNAL", "TAKE"]));
        }
        sent.expect("a server that accepts a request");
    }

    /// The effects between the last two marks.
    pub fn take(&mut self) -> Effects {
        let mark = self.marks.to_string().into_bytes();
        self.control.read_reply().expect("the reply to PUBLISH");
        let events = self.events(&mark);
        let calls = match &mut self.calls {
            Calls::Journal => journal(&self.control.read_reply().expect("the journal").value),
            Calls::Replica(replica, selected) => replicated(replica, selected, &mark),
        };
        Effects { events, calls }
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
                [_, _, channel, text] => events.push(event(channel, text)),
                other => panic!("no message: {other:?}"),
            }
        }
    }
}

/// The calls of a replication stream up to a mark.
fn replicated(replica: &mut Client, selected: &mut i64, mark: &[u8]) -> Vec<Call> {
    let mut calls = Vec::new();
    loop {
        let call = replica.read_reply().expect("a propagated call").value.elements();
        let args: Vec<Vec<u8>> = call.iter().map(bytes).collect();
        let mut words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let name = words[0].to_ascii_uppercase();
        words[0] = &name;
        match words[..] {
            [b"SELECT", db] => {
                let db = String::from_utf8_lossy(db);
                *selected = db.parse().expect("the number of a database");
            }
            [b"PING"] | [b"REPLCONF", ..] => {}
            [b"PUBLISH", channel, text] if channel == MARKS.as_bytes() => {
                if text == mark {
                    return calls;
                }
            }
            _ => calls.push(Call::new(*selected, args)),
        }
    }
}

impl Call {
    /// MULTI and EXEC have no database: a replica gets the SELECT between them.
    fn new(db: i64, args: Vec<Vec<u8>>) -> Call {
        let frames = args.len() == 1 && [&b"MULTI"[..], b"EXEC"].contains(&&args[0][..]);
        Call { db: if frames { 0 } else { db }, args }
    }
}

/// Reads the reply to `DEBUG JOURNAL TAKE`: the events, which the subscriber has received too, and the calls, each with
/// its database and arguments. The marks are skipped.
fn journal(reply: &Value) -> Vec<Call> {
    let parts = reply.elements();
    let [_, calls] = &parts[..] else { panic!("no journal: {reply:?}") };
    let call = |value: &Value| match &value.elements()[..] {
        [Value::Integer(db), args @ ..] => Call::new(*db, args.iter().map(bytes).collect()),
        _ => panic!("no call: {value:?}"),
    };
    let is_mark = |call: &Call| call.args.get(1).is_some_and(|channel| channel == MARKS.as_bytes());
    calls.elements().iter().map(call).filter(|call| !is_mark(call)).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("no bulk string: {other:?}"),
    }
}

/// From a channel `__keyevent@DB__:NAME` with a key, or `__keyspace@DB__:KEY` with a name.
fn event(channel: &[u8], text: &[u8]) -> Event {
    let split = |start: &[u8]| {
        let rest = channel.strip_prefix(start)?;
        let at = rest.iter().position(|byte| *byte == b'_')?;
        Some((&rest[..at], rest[at..].strip_prefix(b"__:")?))
    };
    let (of_key, (db, end)) = match (split(b"__keyspace@"), split(b"__keyevent@")) {
        (Some(parts), _) => (true, parts),
        (_, Some(parts)) => (false, parts),
        _ => panic!("no event: {}", channel.escape_ascii()),
    };
    let (key, name) = if of_key { (end, text) } else { (text, end) };
    let db = String::from_utf8_lossy(db).parse().expect("the number of a database");
    Event { db, of_key, name: name.to_vec(), key: key.to_vec() }
}

/// A connection that has become a replica and received the snapshot, with the offset at which the stream continues.
pub fn replicate(server: &Server) -> (Client, i64) {
    let mut client = server.client();
    // Without the capability `eof` Redis sends the snapshot with its length.
    client.ok("REPLCONF listening-port 1");
    client.ok("REPLCONF capa psync2");
    client.send(&["PSYNC", "?", "-1"]).expect("a server that accepts a request");
    let resync = client.read_reply().expect("the reply to PSYNC").value.text();
    let words: Vec<&str> = resync.split(' ').collect();
    let ["FULLRESYNC", _, offset] = words[..] else { panic!("PSYNC: {resync}") };
    let offset = offset.parse().expect("an offset");
    let mut byte = || client.read_raw(1).expect("the head of the snapshot")[0];
    // Empty lines keep the connection alive until the snapshot is ready.
    let mut first = byte();
    while first == b'\n' {
        first = byte();
    }
    assert_eq!(first, b'$', "the head of the snapshot");
    let digits: Vec<u8> = std::iter::from_fn(|| Some(byte()).filter(|byte| *byte != b'\r')).collect();
    byte();
    let length = String::from_utf8_lossy(&digits).parse().expect("the length of the snapshot");
    client.discard(length).expect("the snapshot");
    (client, offset)
}
