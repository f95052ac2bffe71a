//! Clients that write under load, and checks of the data after the server has crashed.
//!
//! Each client has separate keys, and its seed determines its operations: after any number of them its [`Model`] has
//! the contents of its keys. A client counts the operations that it has sent and those that were acknowledged. However
//! the server ended, a restarted one must have the state after *some* number of operations between these two: it has
//! lost no acknowledged operation, it has none that was not sent, and no operation was reordered or applied in part.
//!
//! An operation is one unit of execution, a command or a transaction, which must be applied as a whole or not at all.

use super::client::encode;
use super::{Client, Random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

/// The length to which lists, streams and bags are trimmed, so that states stay small however long the test runs.
const LONGEST: usize = 60;

/// The key whose values take several pages each.
const LARGE: &str = "large";

/// The content of a key, in the form in which the server returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Text(String),
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Hash(BTreeMap<String, String>),
    Scores(BTreeMap<String, u64>),
    /// The numbers of a stream's entries.
    Stream(VecDeque<u64>),
    /// The size of a set from which random members are removed.
    Bag(usize),
}

/// The requests of one unit, and the number of their replies.
pub struct Operation {
    requests: Vec<u8>,
    replies: usize,
}

/// The content of a client's keys after a number of operations.
#[derive(Clone)]
pub struct Model {
    name: String,
    random: Random,
    done: u64,
    keys: BTreeMap<&'static str, Held>,
}

impl Model {
    /// The state before the first operation of the client with this name.
    pub fn new(name: &str, seed: u64) -> Model {
        Model { name: name.to_string(), random: Random::new(seed), done: 0, keys: BTreeMap::new() }
    }

    /// The number of operations so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    /// Returns the next operation, and applies it to the model.
    pub fn advance(&mut self) -> Operation {
        self.done += 1;
        let requests = if self.random.below(15) == 0 { self.transaction() } else { vec![self.choose()] };
        let named = |words: Vec<String>| words.iter().map(|word| word.replace("{}", &self.name)).collect();
        let encoded = requests.into_iter().map(|words| -> Vec<String> { named(words) });
        let encoded: Vec<Vec<u8>> = encoded.map(|words| encode(&words)).collect();
        Operation { requests: encoded.concat(), replies: encoded.len() }
    }

    /// Several changes of different kinds in one transaction.
    fn transaction(&mut self) -> Vec<Vec<String>> {
        let number = self.done;
        let texts = ["text", "twin"].map(|key| self.set(key, number.to_string()));
        let [text, twin] = texts;
        vec![
            words("MULTI"),
            text,
            self.push(number),
            self.hash_set(number),
            self.count(),
            twin,
            words("EXEC"),
        ]
    }

    fn choose(&mut self) -> Vec<String> {
        let number = self.done;
        match self.random.below(14) {
            0 => self.set("text", number.to_string()),
            1 | 2 => self.push(number),
            3 => self.count(),
            4 => self.hash_set(number),
            5 => self.score(number),
            6 => self.member(number),
            7 => self.entry(number),
            8 => self.move_element(),
            9 => self.set_two(number),
            10 => self.append(number),
            11 => self.fill_bag(number),
            12 => self.draw_from_bag(),
            _ => self.rare(number),
        }
    }

    fn set(&mut self, key: &'static str, text: String) -> Vec<String> {
        self.keys.insert(key, Held::Text(text.clone()));
        let mut all = words(&format!("SET {{}}:{key}"));
        all.push(text);
        all
    }

    fn set_two(&mut self, number: u64) -> Vec<String> {
        for key in ["text", "twin"] {
            self.keys.insert(key, Held::Text(number.to_string()));
        }
        words(&format!("MSET {{}}:text {number} {{}}:twin {number}"))
    }

    fn list(&mut self, key: &'static str) -> &mut VecDeque<String> {
        match self.keys.entry(key).or_insert_with(|| Held::List(VecDeque::new())) {
            Held::List(list) => list,
            other => panic!("{key} is {other:?}"),
        }
    }

    fn push(&mut self, number: u64) -> Vec<String> {
        let list = self.list("list");
        if list.len() > LONGEST {
            list.drain(..LONGEST / 2);
            return words(&format!("LTRIM {{}}:list {} -1", LONGEST / 2));
        }
        list.push_back(number.to_string());
        words(&format!("RPUSH {{}}:list {number}"))
    }

    fn count(&mut self) -> Vec<String> {
        let before = match self.keys.get("count") {
            Some(Held::Text(text)) => text.parse().expect("a number"),
            _ => 0,
        };
        self.keys.insert("count", Held::Text((before + 1).to_string()));
        words("INCR {}:count")
    }

    fn hash_set(&mut self, number: u64) -> Vec<String> {
        let field = format!("f{}", number % 16);
        match self.keys.entry("hash").or_insert_with(|| Held::Hash(BTreeMap::new())) {
            Held::Hash(hash) => hash.insert(field.clone(), number.to_string()),
            other => panic!("hash is {other:?}"),
        };
        words(&format!("HSET {{}}:hash {field} {number}"))
    }

    fn score(&mut self, number: u64) -> Vec<String> {
        let member = format!("m{}", number % 16);
        match self.keys.entry("scores").or_insert_with(|| Held::Scores(BTreeMap::new())) {
            Held::Scores(scores) => scores.insert(member.clone(), number),
            other => panic!("scores is {other:?}"),
        };
        words(&format!("ZADD {{}}:scores {number} {member}"))
    }

    fn member(&mut self, number: u64) -> Vec<String> {
        let member = format!("m{}", number % 23);
        let Held::Set(set) = self.keys.entry("set").or_insert_with(|| Held::Set(BTreeSet::new())) else {
            panic!("set is something else");
        };
        let (is_in, is_last) = (set.contains(&member), set.len() == 1);
        if !is_in {
            set.insert(member.clone());
            return words(&format!("SADD {{}}:set {member}"));
        }
        set.remove(&member);
        if is_last {
            self.keys.remove("set");
        }
        words(&format!("SREM {{}}:set {member}"))
    }

    fn entry(&mut self, number: u64) -> Vec<String> {
        match self.keys.entry("stream").or_insert_with(|| Held::Stream(VecDeque::new())) {
            Held::Stream(entries) => {
                entries.push_back(number);
                while entries.len() > LONGEST {
                    entries.pop_front();
                }
            }
            other => panic!("stream is {other:?}"),
        }
        words(&format!("XADD {{}}:stream MAXLEN = {LONGEST} {number}-1 number {number}"))
    }

    fn move_element(&mut self) -> Vec<String> {
        let Some(Held::List(list)) = self.keys.get_mut("list") else {
            return words("LMOVE {}:list {}:moved LEFT RIGHT");
        };
        let moved = list.pop_front();
        if list.is_empty() {
            self.keys.remove("list");
        }
        let other = self.list("moved");
        other.extend(moved);
        if other.len() <= LONGEST {
            return words("LMOVE {}:list {}:moved LEFT RIGHT");
        }
        // Moves elements back, so that the list of moved ones does not grow without end.
        let moved = other.pop_back().expect("an element");
        self.list("list").push_front(moved);
        self.keys.remove("moved");
        words("DEL {}:moved")
    }

    fn append(&mut self, number: u64) -> Vec<String> {
        let Held::Text(text) = self.keys.entry("long").or_insert_with(|| Held::Text(String::new())) else {
            panic!("long is something else");
        };
        if text.len() > 8 * LONGEST {
            self.keys.remove("long");
            return words("GETDEL {}:long");
        }
        text.extend([number.to_string().as_str(), ","]);
        words(&format!("APPEND {{}}:long {number},"))
    }

    fn fill_bag(&mut self, number: u64) -> Vec<String> {
        let Held::Bag(size) = self.keys.entry("bag").or_insert(Held::Bag(0)) else {
            panic!("bag is something else");
        };
        if *size > LONGEST {
            self.keys.remove("bag");
            return words("UNLINK {}:bag");
        }
        *size += 3;
        words(&format!("SADD {{}}:bag {number}a {number}b {number}c"))
    }

    fn draw_from_bag(&mut self) -> Vec<String> {
        if let Some(Held::Bag(size)) = self.keys.get_mut("bag") {
            *size = size.saturating_sub(2);
            if *size == 0 {
                self.keys.remove("bag");
            }
        }
        words("SPOP {}:bag 2")
    }

    /// A value larger than any buffer, one with an expiry in the far future, or one that is logged in several calls.
    fn rare(&mut self, number: u64) -> Vec<String> {
        match number % 3 {
            0 => self.set(LARGE, format!("{number:08}").repeat(4000)),
            1 => {
                self.keys.insert("timed", Held::Text(number.to_string()));
                words(&format!("SET {{}}:timed {number} EX 1000000"))
            }
            _ => self.crowd(),
        }
    }

    /// Fills a set and pops so many members that they are logged in several calls.
    fn crowd(&mut self) -> Vec<String> {
        match self.keys.get("crowd") {
            None => {
                self.keys.insert("crowd", Held::Bag(2500));
                let members = (0..2500).map(|i| i.to_string());
                words("SADD {}:crowd").into_iter().chain(members).collect()
            }
            Some(Held::Bag(2500)) => {
                self.keys.insert("crowd", Held::Bag(100));
                words("SPOP {}:crowd 2400")
            }
            Some(_) => {
                self.keys.remove("crowd");
                words("DEL {}:crowd")
            }
        }
    }

    /// The first difference between the client's keys on a server and this model, if there is one. Values longer than a
    /// page are compared only if `all` is set.
    fn difference(&self, found: &BTreeMap<String, Held>, all: bool) -> Option<String> {
        let looked_at = self.keys.iter().filter(|(key, _)| all || **key != LARGE);
        let expected = looked_at.map(|(key, held)| (self.key(key), held.clone())).collect();
        if *found == expected {
            return None;
        }
        let keys: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
        let first = keys.into_iter().find(|key| found.get(*key) != expected.get(*key))?;
        let shown = |all: &BTreeMap<String, Held>| {
            all.get(first).map_or("nothing".to_string(), |held| {
                let mut text = format!("{held:?}");
                text.truncate(1500);
                text
            })
        };
        Some(format!("{first} holds {}, not {}", shown(found), shown(&expected)))
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}

/// All data of a client on the server.
fn fetch(client: &mut Client, name: &str) -> BTreeMap<String, Held> {
    let mut found = BTreeMap::new();
    for key in client.run(&format!("KEYS {name}:*")).elements() {
        let key = key.text();
        found.insert(key.clone(), fetch_key(client, &key));
    }
    found
}

fn fetch_key(client: &mut Client, key: &str) -> Held {
    let mut texts = |line: &str| -> Vec<String> {
        client.run(line).elements().into_iter().map(|value| value.text()).collect()
    };
    let kind = key.rsplit(':').next().expect("a key's last part");
    match kind {
        "list" | "moved" => Held::List(texts(&format!("LRANGE {key} 0 -1")).into()),
        "set" => Held::Set(texts(&format!("SMEMBERS {key}")).into_iter().collect()),
        "hash" => Held::Hash(
            texts(&format!("HGETALL {key}")).chunks(2).map(|p| (p[0].clone(), p[1].clone())).collect(),
        ),
        "scores" => Held::Scores(
            texts(&format!("ZRANGE {key} 0 -1 WITHSCORES"))
                .chunks(2)
                .map(|p| (p[0].clone(), p[1].parse().expect("a score")))
                .collect(),
        ),
        "stream" => {
            let entries = client.run(&format!("XRANGE {key} - +")).elements();
            let number = |entry: &super::Value| {
                let parts = entry.elements();
                let number = parts[1].elements()[1].text().parse().expect("a number");
                assert_eq!(parts[0].text(), format!("{number}-1"));
                number
            };
            Held::Stream(entries.iter().map(number).collect())
        }
        "bag" | "crowd" => Held::Bag(client.run(&format!("SCARD {key}")).integer() as usize),
        "timed" => {
            assert!(client.run(&format!("TTL {key}")).integer() > 900_000, "{key} has lost its expiry");
            Held::Text(client.run(&format!("GET {key}")).text())
        }
        _ => Held::Text(client.run(&format!("GET {key}")).text()),
    }
}

/// A client that writes, and the states of its keys.
pub struct Writer {
    /// The state found on the server by the last check.
    known: Model,
    /// The state after all sent operations.
    sent: Model,
    acknowledged: u64,
    database: usize,
    /// The number of operations sent before the first reply is read.
    depth: usize,
    connections: Vec<Connection>,
}

/// A connection of a writer.
struct Connection {
    port: u16,
    /// The number of operations sent before this connection was opened.
    first: u64,
    /// For each operation the number of replies that acknowledge it.
    acknowledged_after: Vec<usize>,
}

impl Writer {
    /// The writer with this number, which is also the number of its database.
    pub fn new(number: usize, seed: u64, depth: usize) -> Writer {
        let model = Model::new(&format!("w{number}"), seed);
        Writer {
            database: number,
            known: model.clone(),
            sent: model,
            acknowledged: 0,
            depth,
            connections: Vec::new(),
        }
    }

    /// The numbers of operations that the server may have applied: at least all acknowledged ones, at most all sent
    /// ones.
    pub fn allowed(&self) -> RangeInclusive<u64> {
        self.acknowledged..=self.sent.done
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// The number of operations acknowledged when this many replies had been sent to each port.
    pub fn acknowledged_by(&self, replies: impl Fn(u16) -> usize) -> u64 {
        let of_connections = self.connections.iter().filter_map(|connection| {
            // The first reply is the one to SELECT.
            let replies = replies(connection.port).checked_sub(1)?;
            let done = connection.acknowledged_after.partition_point(|after| *after <= replies);
            Some(connection.first + done as u64)
        });
        of_connections.max().unwrap_or(0)
    }

    /// Writes until the connection breaks, or until `after_each`, which is called after every acknowledged operation,
    /// returns false. An error reply fails the test.
    pub fn write(&mut self, port: u16, mut after_each: impl FnMut() -> bool) {
        let Ok(mut client) = Client::tcp(port) else { return };
        if client.try_call(&["SELECT", &self.database.to_string()]).is_err() {
            return;
        }
        let (port, first) = (client.local_port(), self.sent.done);
        self.connections.push(Connection { port, first, acknowledged_after: Vec::new() });
        while let Ok(true) = self.burst(&mut client, &mut after_each) {}
    }

    /// Sends `depth` operations and reads their replies.
    fn burst(&mut self, client: &mut Client, after_each: &mut impl FnMut() -> bool) -> io::Result<bool> {
        let operations: Vec<Operation> = (0..self.depth).map(|_| self.sent.advance()).collect();
        let after = &mut self.connections.last_mut().expect("this connection").acknowledged_after;
        for operation in &operations {
            after.push(after.last().unwrap_or(&0) + operation.replies);
        }
        let requests: Vec<u8> = operations.iter().flat_map(|operation| operation.requests.clone()).collect();
        client.send_raw(&requests)?;
        let mut goes_on = true;
        for operation in operations {
            for _ in 0..operation.replies {
                let reply = client.read_reply()?.value;
                assert!(!reply.is_error(), "{}: {reply:?}", self.sent.name);
            }
            self.acknowledged += 1;
            goes_on &= after_each();
        }
        Ok(goes_on)
    }

    /// Checks that the server has an allowed state, and continues from that state. Returns its number of operations.
    pub fn verify(&mut self, client: &mut Client) -> u64 {
        let found =
            self.check(client, self.allowed(), true).unwrap_or_else(|complaint| panic!("{complaint}"));
        self.acknowledged = found.done;
        self.known = found.clone();
        self.sent = found;
        self.known.done
    }

    /// The state of the server, if it is the state after an `allowed` number of operations. Values of several pages are
    /// compared if `all` is set.
    pub fn check(
        &self,
        client: &mut Client,
        allowed: RangeInclusive<u64>,
        all: bool,
    ) -> Result<Model, String> {
        client.ok(&format!("SELECT {}", self.database));
        let mut found = fetch(client, &self.known.name);
        if !all {
            found.remove(&self.known.key(LARGE));
        }
        let mut model = self.known.clone();
        assert!(model.done <= *allowed.start(), "operation {} was acknowledged", model.done);
        let (mut at_start, mut elsewhere) = (None, None);
        while model.done <= *allowed.end() {
            match model.difference(&found, all) {
                None if allowed.contains(&model.done) => return Ok(model),
                None => elsewhere = Some(model.done),
                Some(difference) if model.done == *allowed.start() => at_start = Some(difference),
                Some(_) => {}
            }
            model.advance();
        }
        let but = elsewhere.map_or("none".to_string(), |number| format!("after {number}"));
        Err(format!(
            "the server has no state after {allowed:?} operations of {} (matching state: {but}); after {}: {}",
            self.known.name,
            allowed.start(),
            at_start.unwrap_or_default(),
        ))
    }
}

/// Counts acknowledged operations of several threads, and notifies one of them when the count is reached.
pub struct Countdown {
    done: AtomicU64,
    at: AtomicU64,
}

impl Countdown {
    pub fn new(at: u64) -> Countdown {
        Countdown { done: AtomicU64::new(0), at: AtomicU64::new(at) }
    }

    /// Counts one operation. Returns true for the awaited one.
    pub fn count(&self) -> bool {
        self.done.fetch_add(1, Ordering::SeqCst) + 1 == self.at.load(Ordering::SeqCst)
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}
