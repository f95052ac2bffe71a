//! Pub/sub: who is subscribed to what, and to whom a message goes.
//!
//! ```text
//!   channels   name ─▶ audience: clients, those that speak RESP2 and those that speak RESP3 apart
//!   shards     name ─▶ audience
//!   patterns   literal start ─▶ (pattern, audience) …       "news.*" stands under "news."
//!   clients    client ─▶ its names, of each kind
//! ```
//!
//! A message is encoded once for each protocol that an audience speaks, into the [`Post`], and goes to all of it by a
//! shared list: publishing costs the same for one subscriber and for ten thousand. A pattern is looked at only if its
//! literal start begins the channel's name: one lookup for each length that such a start has. Beginning and ending a
//! subscription are O(1) in the number of other subscribers, except that the first change after a message which has not been
//! delivered yet copies the list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::lengths::Lengths;
use super::post::{Payload, Post, Recipients};
use crate::resp::Protocol;
use crate::sys::poller::Token;
use crate::text::glob;

/// The name of a channel, or a pattern.
type Name = Rc<[u8]>;

/// From this many clients on, a list knows where each of them stands in it.
const INDEXED: usize = 64;

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SUBSCRIBE`.
    Channel,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}

/// Clients, in no particular order.
#[derive(Debug, Default)]
struct Clients {
    list: Recipients,
    /// Where each stands in the list, if there are many.
    places: HashMap<Token, usize>,
}

impl Clients {
    fn add(&mut self, token: Token) {
        let list = Rc::make_mut(&mut self.list);
        list.push(token);
        if list.len() == INDEXED {
            self.places = list.iter().enumerate().map(|(place, token)| (*token, place)).collect();
        } else if list.len() > INDEXED {
            self.places.insert(token, list.len() - 1);
        }
    }

    fn remove(&mut self, token: Token) {
        let list = Rc::make_mut(&mut self.list);
        let indexed = !self.places.is_empty();
        let place =
            if indexed { self.places.remove(&token) } else { list.iter().position(|known| *known == token) };
        let Some(place) = place else { return };
        list.swap_remove(place);
        if indexed {
            if list.len() < INDEXED / 2 {
                self.places = HashMap::new();
            } else if let Some(moved) = list.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }
}

/// The subscribers of one name.
#[derive(Debug, Default)]
struct Audience {
    resp2: Clients,
    resp3: Clients,
}

impl Audience {
    fn of(&mut self, protocol: Protocol) -> &mut Clients {
        match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        }
    }

    fn len(&self) -> usize {
        self.resp2.list.len() + self.resp3.list.len()
    }

    /// Sends the array that `words` and `payload` make to all of it.
    fn send(&self, post: &mut Post, words: &[&[u8]], payload: &Payload<'_>) -> usize {
        for (clients, protocol) in [(&self.resp2, Protocol::Resp2), (&self.resp3, Protocol::Resp3)] {
            if !clients.list.is_empty() {
                post.send(&clients.list, protocol, words, payload);
            }
        }
        self.len()
    }
}

/// What one client is subscribed to.
#[derive(Debug)]
struct Subscriptions {
    protocol: Protocol,
    channels: BTreeSet<Name>,
    patterns: BTreeSet<Name>,
    shards: BTreeSet<Name>,
    /// The lengths of all names.
    name_bytes: usize,
}

impl Subscriptions {
    fn new(protocol: Protocol) -> Self {
        let [channels, patterns, shards] = [const { BTreeSet::new() }; 3];
        Subscriptions { protocol, channels, patterns, shards, name_bytes: 0 }
    }

    fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    fn of(&self, kind: Kind) -> &BTreeSet<Name> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut BTreeSet<Name> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Shard => &mut self.shards,
        }
    }

    fn all(&self) -> impl Iterator<Item = (Kind, &Name)> {
        let kinds = [Kind::Channel, Kind::Pattern, Kind::Shard];
        kinds.into_iter().flat_map(|kind| self.of(kind).iter().map(move |name| (kind, name)))
    }
}

/// How many subscriptions a client has, of each kind.
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
    /// What replies to a subscription of `kind` count.
    pub fn beside(self, kind: Kind) -> usize {
        match kind {
            Kind::Channel | Kind::Pattern => self.channels + self.patterns,
            Kind::Shard => self.shards,
        }
    }

    /// Of all kinds.
    pub fn total(self) -> usize {
        self.channels + self.patterns + self.shards
    }
}

/// The patterns, found by what the channels that they match begin with.
#[derive(Debug, Default)]
struct Patterns {
    by_start: HashMap<Box<[u8]>, BTreeMap<Name, Audience>>,
    /// The lengths of these starts.
    lengths: Lengths,
    count: usize,
}

impl Patterns {
    /// What every channel that `pattern` matches begins with.
    fn start(pattern: &[u8]) -> &[u8] {
        let special = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
        &pattern[..special.unwrap_or(pattern.len())]
    }

    fn audience(&mut self, pattern: &Name) -> &mut Audience {
        let start = Self::start(pattern);
        if !self.by_start.contains_key(start) {
            self.lengths.add(start.len());
        }
        let patterns = self.by_start.entry(start.into()).or_default();
        patterns.entry(pattern.clone()).or_insert_with(|| {
            self.count += 1;
            Audience::default()
        })
    }

    fn forget_if_empty(&mut self, pattern: &Name) {
        let start = Self::start(pattern);
        let Some(patterns) = self.by_start.get_mut(start) else { return };
        if patterns.get(pattern).is_some_and(|audience| audience.len() == 0) {
            patterns.remove(pattern);
            self.count -= 1;
        }
        if patterns.is_empty() {
            self.by_start.remove(start);
            self.lengths.remove(start.len());
        }
    }

    /// Those that match `channel`.
    fn matching(&self, channel: &[u8]) -> impl Iterator<Item = (&Name, &Audience)> {
        let starts = self.lengths.starts(channel);
        let patterns = starts.filter_map(|start| self.by_start.get(start)).flatten();
        patterns.filter(|(pattern, _)| matches(pattern, channel))
    }
}

/// Whether a channel's name matches a pattern. The empty name matches nothing but the empty pattern, as in Redis.
fn matches(pattern: &[u8], channel: &[u8]) -> bool {
    if channel.is_empty() { pattern.is_empty() } else { glob::matches(pattern, channel, false) }
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Subscribers {
    channels: HashMap<Name, Audience>,
    shards: HashMap<Name, Audience>,
    patterns: Patterns,
    clients: HashMap<Token, Subscriptions>,
}

impl Subscribers {
    /// Whether no client is subscribed to a channel or a pattern.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.count == 0
    }

    /// How many channels, patterns and shard channels have subscribers.
    pub fn totals(&self) -> Counts {
        Counts { channels: self.channels.len(), patterns: self.patterns.count, shards: self.shards.len() }
    }

    /// How many subscriptions `token` has.
    pub fn counts(&self, token: Token) -> Counts {
        self.clients.get(&token).map_or(Counts::default(), |subscriptions| Counts {
            channels: subscriptions.channels.len(),
            patterns: subscriptions.patterns.len(),
            shards: subscriptions.shards.len(),
        })
    }

    /// Bytes of memory that the subscriptions of `token` take: places in its list and in those of the names, and the names
    /// themselves, as if they were its alone.
    pub fn memory_bytes(&self, token: Token) -> usize {
        self.clients.get(&token).map_or(0, |client| {
            let places = client.len() * (size_of::<Name>() + size_of::<Token>());
            size_of::<(Token, Subscriptions)>() + places + client.name_bytes
        })
    }

    /// What `token` is subscribed to.
    pub fn names(&self, token: Token, kind: Kind) -> Vec<Name> {
        self.clients.get(&token).map_or_else(Vec::new, |client| client.of(kind).iter().cloned().collect())
    }

    fn audience(&mut self, kind: Kind, name: &Name) -> &mut Audience {
        match kind {
            Kind::Channel => self.channels.entry(name.clone()).or_default(),
            Kind::Pattern => self.patterns.audience(name),
            Kind::Shard => self.shards.entry(name.clone()).or_default(),
        }
    }

    /// The audience has lost a client.
    fn forget_if_empty(&mut self, kind: Kind, name: &Name) {
        let directory = match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => return self.patterns.forget_if_empty(name),
            Kind::Shard => &mut self.shards,
        };
        if directory.get(name).is_some_and(|audience| audience.len() == 0) {
            directory.remove(name);
        }
    }

    /// Subscribes `token`, which speaks `protocol`, unless it is subscribed already.
    pub fn subscribe(&mut self, token: Token, protocol: Protocol, kind: Kind, name: &[u8]) {
        let client = self.clients.entry(token).or_insert_with(|| Subscriptions::new(protocol));
        if client.of(kind).contains(name) {
            return;
        }
        let known = match kind {
            Kind::Channel => self.channels.get_key_value(name),
            Kind::Shard => self.shards.get_key_value(name),
            Kind::Pattern => None,
        };
        let name: Name = known.map_or_else(|| name.into(), |(name, _)| name.clone());
        client.name_bytes += name.len();
        client.of_mut(kind).insert(name.clone());
        self.audience(kind, &name).of(protocol).add(token);
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&mut self, token: Token, kind: Kind, name: &[u8]) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let Some(name) = client.of_mut(kind).take(name) else { return };
        client.name_bytes -= name.len();
        let protocol = client.protocol;
        if client.len() == 0 {
            self.clients.remove(&token);
        }
        self.leave(token, protocol, kind, &name);
    }

    fn leave(&mut self, token: Token, protocol: Protocol, kind: Kind, name: &Name) {
        self.audience(kind, name).of(protocol).remove(token);
        self.forget_if_empty(kind, name);
    }

    /// Ends all subscriptions of a client.
    pub fn forget(&mut self, token: Token) {
        let Some(client) = self.clients.remove(&token) else { return };
        for (kind, name) in client.all() {
            self.leave(token, client.protocol, kind, name);
        }
    }

    /// `token` speaks `protocol` from now on.
    pub fn change_protocol(&mut self, token: Token, protocol: Protocol) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        if client.protocol != protocol {
            for (kind, name) in client.all() {
                self.audience(kind, name).of(client.protocol).remove(token);
                self.audience(kind, name).of(protocol).add(token);
            }
            client.protocol = protocol;
        }
        self.clients.insert(token, client);
    }

    /// Sends a message to the subscribers of a channel and of the patterns that match it. Returns how many there are.
    pub fn publish(&self, post: &mut Post, channel: &[u8], payload: &Payload<'_>) -> usize {
        let mut receivers = 0;
        if let Some(audience) = self.channels.get(channel) {
            receivers += audience.send(post, &[b"message", channel], payload);
        }
        if self.patterns.count > 0 {
            for (pattern, audience) in self.patterns.matching(channel) {
                receivers += audience.send(post, &[b"pmessage", pattern, channel], payload);
            }
        }
        receivers
    }

    /// Sends a message to the subscribers of a shard channel. Returns how many there are.
    pub fn publish_to_shard(&self, post: &mut Post, channel: &[u8], payload: &Payload<'_>) -> usize {
        let audience = self.shards.get(channel);
        audience.map_or(0, |audience| audience.send(post, &[b"smessage", channel], payload))
    }

    /// The channels or shard channels that have subscribers and match `pattern`.
    pub fn active(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<&[u8]> {
        let directory = if kind == Kind::Shard { &self.shards } else { &self.channels };
        let matches = |name: &&[u8]| pattern.is_none_or(|pattern| matches(pattern, name));
        directory.keys().map(|name| &**name).filter(matches).collect()
    }

    /// How many clients are subscribed to a channel or shard channel itself.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        let directory = if kind == Kind::Shard { &self.shards } else { &self.channels };
        directory.get(name).map_or(0, Audience::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::audience::post::Address;

    fn token(slot: u32) -> Token {
        Token { slot, generation: 0 }
    }

    /// What each client gets, sorted, of a message to `channel`, and what the publisher is told.
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
    fn a_message_has_the_form_of_the_protocol_that_its_reader_speaks_now() {
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
    fn patterns_are_found_by_what_their_channels_begin_with() {
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
        assert!(subscribers.is_empty() && subscribers.patterns.lengths.is_empty());
        assert!(subscribers.patterns.by_start.is_empty() && subscribers.clients.is_empty());
    }

    #[test]
    fn thousands_come_and_go_in_any_order_and_the_others_stay() {
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
    fn shard_channels_are_apart_from_channels_and_patterns() {
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
