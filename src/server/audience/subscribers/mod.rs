//! Pub/sub: the subscriptions of all clients, and the delivery of messages.
//!
//! ```text
//!   channels, patterns, shards   name ─▶ clients, each with its protocol             directory.rs
//!   starts                       literal prefix ─▶ patterns, "news.*" under "news."  starts.rs
//!   clients                      client ─▶ its names of each kind
//!   long                         number ─▶ name of more than 128 bytes                 names.rs
//! ```
//!
//! All tables but the last grow a bucket at a time, and their blocks have no spare room. A subscription to a channel of
//! 14 bytes takes about 107 bytes, one to such a pattern about 158. A long name is stored once; the tables contain its
//! number.
//!
//! A message is encoded into the [`Post`] once per protocol, and refers to a shared list of subscribers. So publishing
//! costs the same for ten subscribers as for ten thousand. A channel is compared only with the patterns whose literal
//! prefix it begins with; finding them takes one lookup per length of such prefixes. Subscribing and unsubscribing do
//! not depend on the number of other subscribers. The exception is the first change while a message awaits delivery: it
//! copies the list.
//!
//! The subscriptions of a disconnected client are removed in slices ([`Subscribers::sweep`]), since 100,000 of them take
//! 30 ms and more. Until then messages and counts skip a client that is in a directory but not in `clients`, at the cost
//! of one lookup per subscriber. Only [`Subscribers::totals`], used for statistics, still includes its subscriptions.

mod directory;
mod names;
mod starts;

use std::collections::{HashMap, VecDeque};

use directory::{Directory, Present, name_bytes};
use names::{Key, LongNames, key_len, shared_name_bytes};
use starts::{Starts, pattern_bytes};

use super::post::{Payload, Post};
use crate::resp::Protocol;
use crate::sys::poller::Token;
use crate::sys::process;
use crate::text::glob;
use crate::types::Container;
use crate::types::Seed;
use crate::types::member::Member;
use crate::types::random::Random;
use crate::types::set::MemberTable;

/// The kind of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SUBSCRIBE`.
    Channel,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}

const KINDS: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

/// The subscriptions of one client.
struct Subscriptions {
    protocol: Protocol,
    /// The keys of the names, a table per kind. A kind without subscriptions has no table.
    names: [Option<Box<MemberTable>>; KINDS.len()],
    /// Bytes that the names take in the tables of all clients, as if no other client were subscribed to them.
    shared_bytes: usize,
}

impl Subscriptions {
    fn new(protocol: Protocol) -> Self {
        Subscriptions { protocol, names: [const { None }; KINDS.len()], shared_bytes: 0 }
    }

    fn of(&self, kind: Kind) -> Option<&MemberTable> {
        self.names[kind as usize].as_deref()
    }

    fn count(&self, kind: Kind) -> usize {
        self.of(kind).map_or(0, MemberTable::len)
    }

    fn counts(&self) -> Counts {
        let [channels, patterns, shards] = KINDS.map(|kind| self.count(kind));
        Counts { channels, patterns, shards }
    }

    /// Adds the key of a name. Returns whether it is new.
    fn add(&mut self, kind: Kind, key: &[u8], name: &[u8], seed: Seed) -> bool {
        let names =
            self.names[kind as usize].get_or_insert_with(|| Box::new(MemberTable::with_capacity(0, seed)));
        let is_new = names.add(key);
        if is_new {
            self.shared_bytes += shared_bytes(kind, name);
        }
        is_new
    }

    /// Removes the key of a name. Returns whether it was there.
    fn remove(&mut self, kind: Kind, key: &[u8], name: &[u8]) -> bool {
        let names = &mut self.names[kind as usize];
        let removed = names.as_mut().is_some_and(|names| names.remove(key));
        if removed {
            self.shared_bytes -= shared_bytes(kind, name);
            if names.as_ref().is_some_and(|names| names.is_empty()) {
                *names = None;
            }
        }
        removed
    }

    /// An arbitrary subscription of `kind`.
    fn any(&self, kind: Kind, random: &mut Random) -> Option<&[u8]> {
        self.of(kind)?.random(random)
    }

    /// Removes an arbitrary key without resolving its name.
    fn pop(&mut self, random: &mut Random) -> Option<(Kind, Member)> {
        let kind = KINDS.into_iter().find(|kind| self.count(*kind) > 0)?;
        let names = self.names[kind as usize].as_mut()?;
        Some((kind, names.pop(random)))
    }

    /// Calls `visit` with the key of each name.
    fn each(&self, mut visit: impl FnMut(Kind, &Key<'_>)) {
        for kind in KINDS {
            for member in self.of(kind).into_iter().flat_map(MemberTable::members) {
                visit(kind, &Key::from_bytes(member.bytes()));
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        let table = |names: &MemberTable| size_of::<MemberTable>() + names.memory_bytes();
        let names: usize = self.names.iter().flatten().map(|names| table(names)).sum();
        size_of::<(Token, Subscriptions)>() + names + self.shared_bytes
    }
}

/// Bytes that a subscription takes outside the client's own table.
fn shared_bytes(kind: Kind, name: &[u8]) -> usize {
    let pattern = if kind == Kind::Pattern { pattern_bytes(name) } else { 0 };
    name_bytes(key_len(name)) + shared_name_bytes(name) + pattern
}

/// The number of subscriptions of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To channels.
    pub channels: usize,
    /// To patterns.
    pub patterns: usize,
    /// To shard channels.
    pub shards: usize,
}

impl Counts {
    /// The count in the reply to a subscription of `kind`: channels and patterns count together.
    pub fn beside(self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels + self.patterns,
            Kind::Shard => self.shards,
        }
    }

    /// The count of one kind.
    pub fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels,
            Kind::Pattern => self.patterns,
            Kind::Shard => self.shards,
        }
    }

    /// The sum of all kinds.
    pub fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }
}

/// Whether a channel's name matches a pattern. The empty name matches only the empty pattern, as in Redis.
fn matches(pattern: &[u8], channel: &[u8]) -> bool {
    if channel.is_empty() { pattern.is_empty() } else { glob::matches(pattern, channel, false) }
}

/// All subscriptions.
pub struct Subscribers {
    channels: Directory,
    patterns: Directory,
    shards: Directory,
    /// Finds the patterns that match a channel.
    starts: Starts,
    long: LongNames,
    clients: HashMap<Token, Subscriptions>,
    /// Disconnected clients, with their subscriptions that are still in the tables.
    departed: VecDeque<(Token, Subscriptions)>,
    random: Random,
    seed: Seed,
}

impl Default for Subscribers {
    fn default() -> Self {
        let mut random = [[0; 8]; 2];
        process::random_bytes(random.as_flattened_mut());
        let seed = Seed::new(random.map(u64::from_le_bytes));
        let [channels, patterns, shards] = [(); 3].map(|()| Directory::new(seed));
        let (starts, long) = (Starts::new(seed), LongNames::default());
        let random = Random::new(u64::from_le_bytes(random[0]));
        let (clients, departed) = (HashMap::new(), VecDeque::new());
        Subscribers { channels, patterns, shards, starts, long, clients, departed, random, seed }
    }
}

impl Subscribers {
    /// Whether no client is subscribed to a channel or a pattern.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    /// How many channels, patterns and shard channels are in the tables. Includes those of disconnected clients that have
    /// not been swept yet.
    pub fn totals(&self) -> Counts {
        Counts { channels: self.channels.len(), patterns: self.patterns.len(), shards: self.shards.len() }
    }

    /// Whether `passes` returns true for any name that `token` is subscribed to. O(subscriptions).
    pub fn any_name(&self, token: Token, passes: impl Fn(Kind, &[u8]) -> bool) -> bool {
        let mut any = false;
        if let Some(client) = self.clients.get(&token) {
            client.each(|kind, key| any |= passes(kind, self.long.name(key.bytes())));
        }
        any
    }

    /// How many subscriptions `token` has.
    pub fn counts(&self, token: Token) -> Counts {
        self.clients.get(&token).map_or(Counts::default(), Subscriptions::counts)
    }

    /// Bytes of memory of the subscriptions of `token`: its own tables, and the names in the shared tables as if no
    /// other client were subscribed to them. O(1).
    pub fn memory_bytes(&self, token: Token) -> usize {
        self.clients.get(&token).map_or(0, Subscriptions::memory_bytes)
    }

    /// Calls `f` with a test for clients that are still connected.
    fn with_present<R>(&self, f: impl FnOnce(Present<'_>) -> R) -> R {
        let is_there = |token: Token| self.clients.contains_key(&token);
        f(if self.departed.is_empty() { None } else { Some(&is_there) })
    }

    fn directory(&self, kind: Kind) -> &Directory {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn directory_mut(&mut self, kind: Kind) -> &mut Directory {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    /// Subscribes `token`, which speaks `protocol`. Does nothing if it is subscribed already.
    pub fn subscribe(&mut self, token: Token, protocol: Protocol, kind: Kind, name: &[u8]) {
        let key = self.long.acquire(name);
        let client = self.clients.entry(token).or_insert_with(|| Subscriptions::new(protocol));
        if client.add(kind, key.bytes(), name, self.seed) {
            self.join(token, protocol, kind, &key);
        } else {
            self.long.release(key.bytes());
        }
    }

    fn join(&mut self, token: Token, protocol: Protocol, kind: Kind, key: &Key<'_>) {
        let known = self.directory(kind).len();
        self.directory_mut(kind).add(token, protocol, key.bytes());
        if kind == Kind::Pattern && self.patterns.len() > known {
            self.starts.add(self.long.name(key.bytes()), key);
        }
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, token: Token, kind: Kind, name: &[u8]) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let Some(key) = self.long.key(name) else { return };
        if !client.remove(kind, key.bytes(), name) {
            return;
        }
        let protocol = client.protocol;
        if client.counts().total() == 0 {
            self.clients.remove(&token);
        }
        self.leave(token, protocol, kind, &key);
        self.long.release(key.bytes());
    }

    fn leave(&mut self, token: Token, protocol: Protocol, kind: Kind, key: &Key<'_>) {
        let is_gone = self.directory_mut(kind).remove(token, protocol, key.bytes());
        if is_gone && kind == Kind::Pattern {
            self.starts.remove(self.long.name(key.bytes()), key);
        }
    }

    /// Ends an arbitrary subscription of this kind, and returns its name.
    pub fn unsubscribe_any(&mut self, token: Token, kind: Kind) -> Option<Box<[u8]>> {
        let key = self.clients.get(&token)?.any(kind, &mut self.random)?;
        let name: Box<[u8]> = self.long.name(key).into();
        self.unsubscribe(token, kind, &name);
        Some(name)
    }

    /// `token` has disconnected: ends its subscriptions. [`Self::sweep`] removes them from the tables.
    pub fn depart(&mut self, token: Token) {
        if let Some(client) = self.clients.remove(&token) {
            self.departed.push_back((token, client));
        }
    }

    /// Whether there are subscriptions to sweep.
    pub fn has_departed(&self) -> bool {
        !self.departed.is_empty()
    }

    /// Removes up to `most` subscriptions of disconnected clients from the tables. Returns how many it has removed.
    pub fn sweep(&mut self, most: usize) -> usize {
        let mut swept = 0;
        while let Some((token, mut client)) = self.departed.pop_front() {
            while swept < most
                && let Some((kind, member)) = client.pop(&mut self.random)
            {
                let key = Key::from_bytes(member.bytes());
                self.leave(token, client.protocol, kind, &key);
                self.long.release(key.bytes());
                swept += 1;
            }
            if client.counts().total() > 0 {
                self.departed.push_front((token, client));
                break;
            }
        }
        swept
    }

    /// Changes the protocol in which `token` receives messages.
    pub fn change_protocol(&mut self, token: Token, protocol: Protocol) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        if client.protocol != protocol {
            client.each(|kind, key| {
                self.leave(token, client.protocol, kind, key);
                self.join(token, protocol, kind, key);
            });
            client.protocol = protocol;
        }
        self.clients.insert(token, client);
    }

    /// Sends a message to the subscribers of a channel and of the patterns that match it. Returns the number of
    /// receivers.
    pub fn publish(&self, post: &mut Post, channel: &[u8], payload: &Payload<'_>) -> usize {
        let mut receivers = self.send(&self.channels, post, b"message", channel, payload);
        if !self.patterns.is_empty() {
            self.with_present(|present| {
                self.starts.matching(channel, &self.long, |key, pattern| {
                    let words: [&[u8]; 3] = [b"pmessage", pattern, channel];
                    receivers += self.patterns.send(key, present, post, &words, payload);
                });
            });
        }
        receivers
    }

    /// Sends a message to the subscribers of a shard channel. Returns the number of receivers.
    pub fn publish_to_shard(&self, post: &mut Post, channel: &[u8], payload: &Payload<'_>) -> usize {
        self.send(&self.shards, post, b"smessage", channel, payload)
    }

    fn send(
        &self,
        directory: &Directory,
        post: &mut Post,
        word: &[u8],
        channel: &[u8],
        payload: &Payload<'_>,
    ) -> usize {
        let Some(key) = self.long.key(channel) else { return 0 };
        self.with_present(|present| directory.send(key.bytes(), present, post, &[word, channel], payload))
    }

    /// The channels or shard channels that have subscribers and match `pattern`.
    pub fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let matches = |name: &&[u8]| pattern.is_none_or(|pattern| matches(pattern, name));
        let directory = self.directory(kind);
        self.with_present(|present| {
            let has_clients = |key: &&[u8]| present.is_none() || directory.count(key, present) > 0;
            directory.names().filter(has_clients).map(|key| self.long.name(key)).filter(matches).collect()
        })
    }

    /// How many names of a kind have subscribers. O(1), or O(names) while there are subscriptions to sweep.
    pub fn count(&self, kind: Kind) -> usize {
        let directory = self.directory(kind);
        self.with_present(|present| match present {
            None => directory.len(),
            Some(_) => directory.names().filter(|key| directory.count(key, present) > 0).count(),
        })
    }

    /// The clients that are subscribed to a shard channel.
    pub fn shard_subscribers(&self, name: &[u8]) -> Vec<Token> {
        let Some(key) = self.long.key(name) else { return Vec::new() };
        self.with_present(|present| self.shards.tokens(key.bytes(), present))
    }

    /// How many clients are subscribed to a channel or shard channel, patterns not counted.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        let Some(key) = self.long.key(name) else { return 0 };
        self.with_present(|present| self.directory(kind).count(key.bytes(), present))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audience::post::Address;

    impl Subscribers {
        /// Ends all subscriptions of a client.
        fn forget(&mut self, token: Token) {
            self.depart(token);
            self.sweep(usize::MAX);
        }

        /// The names that a client is subscribed to.
        fn names(&self, token: Token, kind: Kind) -> Vec<Box<[u8]>> {
            let names = self.clients.get(&token).and_then(|client| client.of(kind));
            let keys = names.into_iter().flat_map(MemberTable::members);
            keys.map(|key| self.long.name(key.bytes()).into()).collect()
        }
    }

    fn token(slot: u32) -> Token {
        Token { slot, generation: 0 }
    }

    /// Publishes a message to `channel`. Returns the reply to the publisher, and what each client receives, sorted.
    fn published(subscribers: &Subscribers, channel: &str) -> (usize, Vec<(u32, String)>) {
        let mut post = Post::default();
        let count = subscribers.publish(&mut post, channel.as_bytes(), &Payload::new(b"hi", None));
        let mut received = Vec::new();
        for letter in post.letters() {
            let text = String::from_utf8(post.buffer()[letter.bytes.clone()].to_vec()).unwrap();
            match &letter.address {
                Address::One(token) => received.push((token.slot, text)),
                Address::Many(all) => received.extend(all.iter().map(|token| (token.slot, text.clone()))),
            }
        }
        received.sort();
        (count, received)
    }

    fn message(protocol: char, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        format!("{protocol}{}\r\n{}", words.len(), words.concat())
    }

    #[test]
    fn a_message_is_encoded_for_the_protocol_that_its_receiver_speaks_now() {
        let mut subscribers = Subscribers::default();
        subscribers.subscribe(token(1), Protocol::Resp2, Kind::Channel, b"c");
        subscribers.subscribe(token(2), Protocol::Resp3, Kind::Channel, b"c");
        subscribers.subscribe(token(2), Protocol::Resp3, Kind::Pattern, b"?");
        let resp2 = message('*', &["message", "c", "hi"]);
        let resp3 = message('>', &["message", "c", "hi"]);
        let pattern = message('>', &["pmessage", "?", "c", "hi"]);
        let expected = vec![(1, resp2.clone()), (2, resp3.clone()), (2, pattern)];
        assert_eq!(published(&subscribers, "c"), (3, expected));
        subscribers.change_protocol(token(1), Protocol::Resp3);
        subscribers.unsubscribe(token(2), Kind::Pattern, b"?");
        assert_eq!(published(&subscribers, "c"), (2, vec![(1, resp3.clone()), (2, resp3)]));
        subscribers.change_protocol(token(1), Protocol::Resp2);
        subscribers.forget(token(2));
        assert_eq!(published(&subscribers, "c"), (1, vec![(1, resp2)]));
    }

    #[test]
    fn patterns_are_found_by_their_literal_prefix() {
        let mut subscribers = Subscribers::default();
        let patterns = ["*", "news.*", "news.?", "ne[vw]s.a", "news.a", "\\news.a", "x*", ""];
        for (slot, pattern) in patterns.iter().enumerate() {
            subscribers.subscribe(token(slot as u32), Protocol::Resp2, Kind::Pattern, pattern.as_bytes());
        }
        let matching = |channel: &str| {
            let (count, received) = published(&subscribers, channel);
            assert_eq!(count, received.len());
            received.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>()
        };
        assert_eq!(matching("news.a"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(matching("news.bc"), [0, 1]);
        assert_eq!(matching("x"), [0, 6]);
        assert_eq!(matching(""), [7]);
        assert_eq!(subscribers.totals(), Counts { channels: 0, patterns: 8, shards: 0 });
        for slot in 0..8 {
            subscribers.forget(token(slot));
        }
        assert!(subscribers.is_empty() && subscribers.starts.is_empty() && subscribers.clients.is_empty());
    }

    #[test]
    fn patterns_that_outgrow_the_block_of_their_prefix_are_found_until_they_are_removed() {
        let mut subscribers = Subscribers::default();
        let pattern = |n: u32| format!("news.*{n}");
        for n in 0..500 {
            subscribers.subscribe(token(n), Protocol::Resp3, Kind::Pattern, pattern(n).as_bytes());
        }
        subscribers.subscribe(
            token(500),
            Protocol::Resp3,
            Kind::Pattern,
            &[&b"news.*"[..], &[b'x'; 300]].concat(),
        );
        subscribers.subscribe(token(501), Protocol::Resp2, Kind::Pattern, b"news.**");
        assert_eq!(published(&subscribers, "news.123").0, 4);
        assert_eq!(published(&subscribers, "news.").0, 1);
        assert_eq!(published(&subscribers, &format!("news.{}", "x".repeat(400))).0, 2);
        for n in 0..500 {
            assert_eq!(
                published(&subscribers, &format!("news.a{n}")).0,
                n.to_string().len() + 1 - repeats(n)
            );
            subscribers.unsubscribe(token(n), Kind::Pattern, pattern(n).as_bytes());
            subscribers.subscribe(token(n), Protocol::Resp3, Kind::Pattern, pattern(n).as_bytes());
        }
        for n in 0..502 {
            subscribers.forget(token(n));
            assert_eq!(subscribers.totals().patterns, 501 - n as usize);
        }
        assert!(subscribers.starts.is_empty() && subscribers.clients.is_empty());
    }

    /// How many proper suffixes of `n` in decimal, longer than one digit, begin with a zero.
    fn repeats(n: u32) -> usize {
        let text = n.to_string();
        (1..text.len()).filter(|at| text.len() - at > 1 && text.as_bytes()[*at] == b'0').count()
    }

    #[test]
    fn subscribers_of_both_protocols_get_messages_while_their_number_grows_and_shrinks() {
        let mut subscribers = Subscribers::default();
        let protocol = |slot: u32| if slot.is_multiple_of(2) { Protocol::Resp2 } else { Protocol::Resp3 };
        for slot in 0..10 {
            subscribers.subscribe(token(slot), protocol(slot), Kind::Channel, b"c");
            assert_eq!(published(&subscribers, "c").1.len(), slot as usize + 1);
            assert_eq!(subscribers.subscribers(Kind::Channel, b"c"), slot as usize + 1);
        }
        for slot in 0..10 {
            let before = published(&subscribers, "c").1;
            assert_eq!(
                before.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(),
                (slot..10).collect::<Vec<_>>()
            );
            subscribers.unsubscribe(token(slot), Kind::Channel, b"c");
        }
        assert!(subscribers.is_empty() && subscribers.memory_bytes(token(9)) == 0);
    }

    #[test]
    fn thousands_unsubscribe_in_any_order_and_the_others_stay_subscribed() {
        let mut subscribers = Subscribers::default();
        let all = 1000;
        for slot in 0..all {
            subscribers.subscribe(token(slot), Protocol::Resp2, Kind::Channel, b"c");
            subscribers.subscribe(token(slot), Protocol::Resp2, Kind::Channel, b"c");
        }
        let mut left: Vec<u32> = (0..all).collect();
        let mut step = 0;
        while !left.is_empty() {
            step = (step * 31 + 17) % left.len();
            subscribers.unsubscribe(token(left.remove(step)), Kind::Channel, b"c");
            if left.len().is_multiple_of(97) || left.len() < 80 {
                let (count, received) = published(&subscribers, "c");
                assert_eq!(count, left.len());
                assert_eq!(received.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>(), left);
            }
        }
        assert!(subscribers.is_empty() && subscribers.channels.is_empty());
    }

    #[test]
    fn a_disconnected_client_gets_no_messages_and_is_not_counted_before_its_subscriptions_are_swept() {
        let mut subscribers = Subscribers::default();
        let gone = Token { slot: 1, generation: 0 };
        let new = Token { slot: 1, generation: 1 };
        let channel = |n: u32| format!("channel:{n}");
        for n in 0..100 {
            // Names with one subscriber, with a few and with many.
            (1..=n % 6).for_each(|slot| {
                subscribers.subscribe(token(slot), Protocol::Resp3, Kind::Channel, channel(n).as_bytes());
            });
        }
        subscribers.subscribe(gone, Protocol::Resp3, Kind::Pattern, b"channel:*");
        subscribers.subscribe(gone, Protocol::Resp3, Kind::Shard, b"shard");
        subscribers.depart(gone);
        let check = |subscribers: &Subscribers, also: usize| {
            for n in 0..100 {
                let others = (n % 6).max(1) as usize - 1;
                let (count, received) = published(subscribers, &channel(n));
                let tokens = |slot: &u32| *slot != 1;
                assert_eq!(count, others + also, "{n}");
                assert_eq!(received.iter().map(|(slot, _)| slot).filter(|s| tokens(s)).count(), others);
                assert_eq!(received.len(), count);
                let subscribed = subscribers.subscribers(Kind::Channel, channel(n).as_bytes());
                assert_eq!(subscribed, others + also);
            }
            let active = subscribers.active(Kind::Channel, None).len();
            assert_eq!(active, if also > 0 { 100 } else { (0..100).filter(|n| n % 6 > 1).count() });
            assert_eq!(subscribers.subscribers(Kind::Shard, b"shard"), 0);
            assert_eq!(
                subscribers.publish_to_shard(&mut Post::default(), b"shard", &Payload::new(b"", None)),
                0
            );
        };
        check(&subscribers, 0);
        assert_eq!(subscribers.sweep(20), 20);
        check(&subscribers, 0);
        // A new client in the same slot is not the disconnected one.
        for n in 0..100 {
            subscribers.subscribe(new, Protocol::Resp3, Kind::Channel, channel(n).as_bytes());
        }
        check(&subscribers, 1);
        let mut slices = 1;
        while subscribers.has_departed() {
            assert!(subscribers.sweep(20) <= 20);
            check(&subscribers, 1);
            slices += 1;
        }
        assert_eq!(slices, (100_usize - 100_usize.div_ceil(6) + 2).div_ceil(20));
        (2..6).for_each(|slot| subscribers.forget(token(slot)));
        while let Some(name) = subscribers.unsubscribe_any(new, Kind::Channel) {
            assert!(name.starts_with(b"channel:"));
        }
        assert!(subscribers.is_empty() && subscribers.starts.is_empty() && subscribers.clients.is_empty());
    }

    #[test]
    fn long_names_are_stored_once_and_freed_with_their_last_subscription() {
        let mut subscribers = Subscribers::default();
        let long = "x".repeat(10_000);
        for kind in KINDS {
            subscribers.subscribe(token(1), Protocol::Resp2, kind, long.as_bytes());
            let bytes = subscribers.memory_bytes(token(1));
            assert!((10_000..13_000).contains(&bytes), "{kind:?}: {bytes}");
            assert_eq!(subscribers.names(token(1), kind), [long.as_bytes().into()]);
            subscribers.subscribe(token(1), Protocol::Resp2, kind, long.as_bytes());
            assert_eq!(subscribers.memory_bytes(token(1)), bytes);
            subscribers.subscribe(token(2), Protocol::Resp2, kind, long.as_bytes());
            subscribers.unsubscribe(token(1), kind, long.as_bytes());
            assert!(!subscribers.long.is_empty());
            subscribers.forget(token(2));
            assert!(subscribers.long.is_empty() && subscribers.clients.is_empty());
        }
    }

    #[test]
    fn names_of_every_length_get_their_messages() {
        let mut subscribers = Subscribers::default();
        for len in [127, 128, 129, 255, 256, 257, 400] {
            let channel = "c".repeat(len);
            let pattern = format!("{}*", &channel[1..]);
            subscribers.subscribe(token(1), Protocol::Resp2, Kind::Channel, channel.as_bytes());
            subscribers.subscribe(token(2), Protocol::Resp3, Kind::Pattern, pattern.as_bytes());
            subscribers.subscribe(token(3), Protocol::Resp2, Kind::Pattern, channel.as_bytes());
            subscribers.change_protocol(token(1), Protocol::Resp3);
            let got = vec![
                (1, message('>', &["message", &channel, "hi"])),
                (2, message('>', &["pmessage", &pattern, &channel, "hi"])),
                (3, message('*', &["pmessage", &channel, &channel, "hi"])),
            ];
            assert_eq!(published(&subscribers, &channel), (3, got), "{len}");
            assert_eq!(published(&subscribers, &channel[2..]).0, 0);
            assert_eq!(subscribers.subscribers(Kind::Channel, channel.as_bytes()), 1);
            assert_eq!(subscribers.active(Kind::Channel, None), [channel.as_bytes()]);
            (1..4).for_each(|slot| subscribers.forget(token(slot)));
        }
        assert!(subscribers.is_empty() && subscribers.starts.is_empty() && subscribers.long.is_empty());
    }

    #[test]
    fn a_short_name_with_the_bytes_of_a_long_names_key_is_a_channel_of_its_own() {
        let mut subscribers = Subscribers::default();
        let like_a_number = [255, 0, 0, 0, 0];
        for kind in [Kind::Channel, Kind::Pattern] {
            subscribers.subscribe(token(1), Protocol::Resp2, kind, &[b'x'; 300]);
            let publish = |subscribers: &Subscribers, name: &[u8]| {
                subscribers.publish(&mut Post::default(), name, &Payload::new(b"hi", None))
            };
            assert_eq!(publish(&subscribers, &like_a_number), 0);
            subscribers.unsubscribe(token(1), kind, &like_a_number);
            subscribers.subscribe(token(2), Protocol::Resp2, kind, &like_a_number);
            assert_eq!(publish(&subscribers, &like_a_number), 1);
            assert_eq!(publish(&subscribers, &[b'x'; 300]), 1);
            assert_eq!(subscribers.names(token(2), kind), [like_a_number.into()]);
            (1..3).for_each(|slot| subscribers.forget(token(slot)));
        }
        assert!(subscribers.starts.is_empty() && subscribers.long.is_empty());
    }

    #[test]
    fn shard_channels_are_separate_from_channels_and_patterns() {
        let mut subscribers = Subscribers::default();
        subscribers.subscribe(token(1), Protocol::Resp2, Kind::Shard, b"c");
        subscribers.subscribe(token(1), Protocol::Resp2, Kind::Channel, b"d");
        assert_eq!(published(&subscribers, "c").0, 0);
        let mut post = Post::default();
        assert_eq!(subscribers.publish_to_shard(&mut post, b"c", &Payload::new(b"x", None)), 1);
        assert_eq!(post.buffer(), message('*', &["smessage", "c", "x"]).as_bytes());
        let counts = subscribers.counts(token(1));
        assert_eq!((counts.beside(Kind::Pattern), counts.beside(Kind::Shard), counts.total()), (1, 1, 2));
        assert_eq!(subscribers.active(Kind::Shard, None), [b"c"]);
        assert_eq!(subscribers.active(Kind::Channel, Some(b"x*")), [b""; 0]);
    }
}
