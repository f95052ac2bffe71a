//! Client-side caching: which clients are notified when a key has changed, and how.
//!
//! ```text
//!   a command reads ─▶ Table     key ─▶ clients that may have a copy of it         the default mode
//!   CLIENT TRACKING ─▶ Prefixes  prefix ─▶ clients to notify of all its keys       BCAST
//!
//!   change ─▶ Table:     sent when the unit ends; the key is removed until it is read again
//!          └▶ Prefixes:  collected, sent at the end of the iteration in one message per prefix
//! ```
//!
//! The notification is `invalidate`, a RESP3 push, sent to the client or to the one that it redirects to. The latter
//! may speak RESP2 if it has subscriptions: then it receives a message on the channel `__redis__:invalidate`. A RESP2
//! client that does not redirect receives nothing. Protocols and subscriptions are looked up when a message is written
//! ([`Reach`]).
//!
//! The table ignores databases: a key is a name. The reads of a client that ended tracking or disconnected stay in the
//! table until the key changes, is evicted from the table ([`Trackers::evict`]), or every client that ever tracked keys
//! has disconnected: a client that ends tracking and begins it again is notified of changes to keys that it read before,
//! as in Redis.

mod prefixes;
mod table;

use std::collections::{BTreeSet, HashMap, HashSet};

use prefixes::Prefixes;
use table::Table;

use super::post::Post;
use crate::db::{Event, Garbage, Key};
use crate::resp::{Protocol, Reply};
use crate::sys::poller::Token;
use crate::types::Shapes;
use crate::types::random::Random;

/// The channel on which a RESP2 subscriber receives invalidations.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// The properties of a client that decide the form of its messages.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its protocol.
    pub protocol: Protocol,
    /// Whether it has subscriptions.
    pub subscribed: bool,
    /// Whether its latest command has no reply yet.
    pub waits: bool,
}

/// Finds the reader for a token, if it is still connected.
pub type Reach<'a> = &'a dyn Fn(Token) -> Option<Reader>;

/// The client to which another one redirects its messages.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// Its `CLIENT ID`.
    pub id: u64,
    /// The client.
    pub token: Token,
}

/// The options of `CLIENT TRACKING ON`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `BCAST`: it is notified of all keys with its prefixes, whether it has read them or not.
    pub broadcast: bool,
    /// `OPTIN`: only keys read by the command after `CLIENT CACHING YES` are tracked.
    pub opt_in: bool,
    /// `OPTOUT`: keys read by the command after `CLIENT CACHING NO` are not tracked.
    pub opt_out: bool,
    /// `NOLOOP`: it is not notified of its own changes.
    pub no_loop: bool,
    /// `REDIRECT`: the client that is notified instead.
    pub redirect: Option<Redirect>,
}

/// A client that tracks keys.
#[derive(Debug, Default)]
pub struct Tracking {
    /// Its options.
    pub options: Options,
    /// Whether the client that it redirects to had disconnected when a message was due.
    pub broken: bool,
    /// Its prefixes in broadcasting mode.
    pub prefixes: BTreeSet<Box<[u8]>>,
    /// The memory of all prefixes.
    prefix_bytes: usize,
    /// Whether it has emptied a database, and is notified after the reply to that command.
    flushing: bool,
}

/// Counts for `INFO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients that track keys.
    pub clients: usize,
    /// Keys in the table.
    pub keys: usize,
    /// The clients of all these keys, added up.
    pub items: usize,
    /// Prefixes.
    pub prefixes: usize,
}

/// The content of a notification.
#[derive(Clone, Copy)]
enum News<'a> {
    /// One key.
    Key(&'a [u8]),
    /// An array of keys, encoded.
    Keys(&'a [u8]),
    /// All keys may have changed.
    Everything,
}

impl News<'_> {
    /// Writes the content, in the form for a client that speaks `source`.
    fn write(self, reply: &mut Reply<'_>, source: Protocol) {
        match self {
            News::Key(name) => {
                reply.array(1);
                reply.bulk(name);
            }
            News::Keys(array) => reply.buf.extend_from_slice(array),
            // Even if the receiver speaks another protocol.
            News::Everything => Reply::new(reply.buf, source).null(),
        }
    }
}

/// All clients that track keys, and the keys they may have copies of. See the module's head.
pub struct Trackers {
    clients: HashMap<Token, Tracking>,
    /// Connected clients that have ended tracking: the table may still contain them.
    former: HashSet<Token>,
    /// Present from the first client that tracks keys until no such client, nor a former one, is left.
    table: Option<Table>,
    prefixes: Prefixes,
    /// Keys that the unit's own client has changed, for its notifications when the unit ends; `None`: all keys.
    own: Vec<Option<Box<[u8]>>>,
    random: Random,
    discarded: Vec<Garbage>,
}

impl Default for Trackers {
    fn default() -> Self {
        Trackers {
            clients: HashMap::new(),
            former: HashSet::new(),
            table: None,
            prefixes: Prefixes::default(),
            own: Vec::new(),
            random: Random::new(0x2545_f491),
            discarded: Vec::new(),
        }
    }
}

impl Trackers {
    /// Whether no client has to be notified and no key is tracked.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.table.is_none()
    }

    /// Returns the counts for `INFO`.
    pub fn totals(&self) -> Totals {
        Totals {
            clients: self.clients.len(),
            keys: self.table.as_ref().map_or(0, Table::len),
            items: self.table.as_ref().map_or(0, Table::items),
            prefixes: self.prefixes.len(),
        }
    }

    /// Bytes of memory of the prefixes of `token`. Its reads belong to the table, limited by `tracking-table-max-keys`.
    pub fn memory_bytes(&self, token: Token) -> usize {
        self.clients.get(&token).map_or(0, |tracking| size_of::<(Token, Tracking)>() + tracking.prefix_bytes)
    }

    /// Returns the tracking state of `token`, if it tracks keys.
    pub fn get(&self, token: Token) -> Option<&Tracking> {
        self.clients.get(&token)
    }

    /// Begins tracking for `token`, or changes its options. In broadcasting mode, `prefixes` are added to those it has.
    pub fn begin(&mut self, token: Token, options: Options, prefixes: &[&[u8]], shapes: &Shapes) {
        self.table.get_or_insert_with(|| Table::new(shapes));
        self.former.remove(&token);
        let tracking = self.clients.entry(token).or_default();
        tracking.options = options;
        tracking.broken = false;
        if options.broadcast {
            let every_key: &[&[u8]] = &[b""];
            for prefix in if prefixes.is_empty() { every_key } else { prefixes } {
                if tracking.prefixes.insert((*prefix).into()) {
                    tracking.prefix_bytes += Prefixes::bytes_of(prefix);
                    self.prefixes.add(token, prefix);
                }
            }
        }
    }

    /// Ends tracking for `token`. Returns whether it was on.
    pub fn end(&mut self, token: Token) -> bool {
        let Some(tracking) = self.clients.remove(&token) else { return false };
        for prefix in &tracking.prefixes {
            self.prefixes.remove(token, prefix);
        }
        self.former.insert(token);
        true
    }

    /// Removes `token`, which has disconnected, after [`Self::end`].
    pub fn leave(&mut self, token: Token) {
        self.former.remove(&token);
    }

    /// Records that `token` has read a key, so that it is notified when the key changes.
    #[inline]
    pub fn remember(&mut self, token: Token, name: &[u8]) {
        let Some(table) = &mut self.table else { return };
        table.remember(token, name);
        self.discarded.extend(table.take_retired());
    }

    /// Called when a key has changed; `executing` is the client of the unit. In broadcasting mode, a change by a script
    /// does not count as the client's own, since the client does not know which keys the script changes.
    pub fn key_changed(
        &mut self,
        post: &mut Post,
        key: Key<'_>,
        event: Event,
        executing: Option<Token>,
        in_script: bool,
        reach: Reach<'_>,
    ) {
        if self.prefixes.len() > 0 {
            // Nor do deletions by the server.
            let is_own = !in_script && !matches!(event, Event::Expired | Event::Evicted);
            let by = executing.filter(|_| is_own);
            self.prefixes.collect(key.name, by);
        }
        self.invalidate(post, key.name, executing, reach);
    }

    /// Removes a key from the table and notifies its readers.
    fn invalidate(&mut self, post: &mut Post, name: &[u8], executing: Option<Token>, reach: Reach<'_>) {
        let Some(readers) = self.table.as_mut().and_then(|table| table.take(name)) else { return };
        let is_told = |token: &Token, tracking: &Tracking, own: &mut Vec<Option<Box<[u8]>>>| {
            if tracking.options.broadcast || executing != Some(*token) {
                return !tracking.options.broadcast;
            }
            if !tracking.options.no_loop {
                own.push(Some(name.into()));
            }
            false
        };
        let Trackers { clients, own, .. } = self;
        let told = readers.iter().filter(|token| clients.get(token).is_some_and(|t| is_told(token, t, own)));
        let told: Vec<Token> = told.collect();
        self.tell(post, &told, News::Key(name), reach);
    }

    /// Called when one or all databases were emptied. The table does not distinguish databases, so every copy becomes
    /// invalid.
    pub fn flushed(&mut self, post: &mut Post, executing: Option<Token>, reach: Reach<'_>) {
        if let Some(garbage) = self.table.as_mut().and_then(Table::clear) {
            self.discarded.push(garbage);
        }
        let told: Vec<Token> =
            self.clients.keys().copied().filter(|token| executing != Some(*token)).collect();
        self.tell(post, &told, News::Everything, reach);
        if executing.is_some_and(|token| self.clients.contains_key(&token)) {
            self.own.push(None);
        }
    }

    /// Notifies `executing` of its own changes when its unit ends.
    pub fn tell_own(&mut self, post: &mut Post, executing: Option<Token>, reach: Reach<'_>) {
        let Some(token) = executing.filter(|_| !self.own.is_empty()) else { return };
        for own in std::mem::take(&mut self.own) {
            match (own, self.clients.get_mut(&token)) {
                (Some(name), _) => self.tell(post, &[token], News::Key(&name), reach),
                (None, Some(tracking)) if reach(token).is_some_and(|reader| reader.waits) => {
                    tracking.flushing = true;
                }
                (None, _) => self.tell(post, &[token], News::Everything, reach),
            }
        }
    }

    /// Notifies `token` of an emptied database, once the command that did this has been replied to.
    pub fn tell_flush(&mut self, post: &mut Post, token: Token, reach: Reach<'_>) {
        if let Some(tracking) = self.clients.get_mut(&token)
            && std::mem::take(&mut tracking.flushing)
        {
            self.tell(post, &[token], News::Everything, reach);
        }
    }

    /// Whether there are changed keys to broadcast at the end of the iteration.
    #[inline]
    pub fn has_collected(&self) -> bool {
        self.prefixes.has_collected()
    }

    /// Notifies the clients in broadcasting mode of the keys changed since the last call, one prefix after the other.
    pub fn broadcast(&mut self, post: &mut Post, reach: Reach<'_>) {
        for (members, changed) in self.prefixes.take_collected() {
            let (selective, others): (Vec<Token>, Vec<Token>) = members
                .into_iter()
                .partition(|token| self.clients.get(token).is_some_and(|tracking| tracking.options.no_loop));
            if !others.is_empty() {
                self.tell(post, &others, News::Keys(&changed.encode(None)), reach);
            }
            for token in selective {
                if changed.is_only_of(token) {
                    continue;
                }
                self.tell(post, &[token], News::Keys(&changed.encode(Some(token))), reach);
            }
        }
    }

    /// Evicts random keys from the table while there are more than `most`, but at most `limit` of them. Their readers
    /// are notified as if the keys had changed.
    pub fn evict(&mut self, post: &mut Post, most: usize, limit: usize, reach: Reach<'_>) {
        for _ in 0..limit {
            let Some(table) = self.table.as_ref().filter(|table| table.len() > most) else { return };
            let Some(name) = table.random(&mut self.random) else { return };
            self.invalidate(post, &name, None, reach);
        }
    }

    /// Drops the table if no connected client tracks keys or has tracked them. Returns whether it did.
    pub fn retire(&mut self) -> bool {
        if !self.clients.is_empty() || !self.former.is_empty() {
            return false;
        }
        let Some(mut table) = self.table.take() else { return false };
        self.discarded.extend(table.clear());
        true
    }

    /// Takes the garbage that is to be freed elsewhere.
    pub fn take_discarded(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.discarded)
    }

    /// Whether there is garbage to be freed elsewhere.
    #[inline]
    pub fn has_discarded(&self) -> bool {
        !self.discarded.is_empty()
    }

    /// Writes `news` for each of `tokens` that tracks keys. Clients that receive the same bytes share them.
    fn tell(&mut self, post: &mut Post, tokens: &[Token], news: News<'_>, reach: Reach<'_>) {
        let mut direct = Vec::new();
        for token in tokens {
            let Some(tracking) = self.clients.get_mut(token) else { continue };
            let Some(source) = reach(*token) else { continue };
            match tracking.options.redirect {
                None if source.protocol == Protocol::Resp3 => direct.push(*token),
                None => {}
                Some(redirect) => {
                    if let Some(target) = reach(redirect.token) {
                        tell_through(post, redirect.token, target, source.protocol, news);
                    } else {
                        tracking.broken = true;
                        tell_of_loss(post, *token, source.protocol, redirect.id);
                    }
                }
            }
        }
        post.write_to(&direct, Protocol::Resp3, |reply| {
            reply.push(2);
            reply.bulk(b"invalidate");
            news.write(reply, Protocol::Resp3);
        });
    }
}

/// Sends `news`, meant for a client that speaks `source`, to the client that it redirects to.
fn tell_through(post: &mut Post, token: Token, target: Reader, source: Protocol, news: News<'_>) {
    let is_push = target.protocol == Protocol::Resp3;
    if !is_push && !target.subscribed {
        return;
    }
    post.write_to(&[token], target.protocol, |reply| {
        if is_push {
            reply.push(2);
            reply.bulk(b"invalidate");
        } else {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
        }
        news.write(reply, source);
    });
}

/// Notifies a client that the one it redirects to, `id`, has disconnected.
fn tell_of_loss(post: &mut Post, token: Token, protocol: Protocol, id: u64) {
    if protocol == Protocol::Resp3 {
        post.write_to(&[token], protocol, |reply| {
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(id as i64);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dict::Seed;
    use crate::server::audience::post::Address;

    const ANN: Token = Token { slot: 1, generation: 7 };
    const BOB: Token = Token { slot: 0x0102_0304, generation: 0 };
    const EVE: Token = Token { slot: 1, generation: 6 };

    const RESP3: Reader = Reader { protocol: Protocol::Resp3, subscribed: false, waits: false };

    fn all_here(_: Token) -> Option<Reader> {
        Some(RESP3)
    }

    fn trackers(clients: &[(Token, Options)]) -> Trackers {
        let mut trackers = Trackers::default();
        for (token, options) in clients {
            trackers.begin(*token, *options, &[], &Shapes::new(Seed::new([1, 2])));
        }
        trackers
    }

    fn changes(trackers: &mut Trackers, post: &mut Post, name: &str, by: Option<Token>, reach: Reach<'_>) {
        let key = Key { db: 0, hash: 0, name: name.as_bytes() };
        trackers.key_changed(post, key, Event::Set, by, false, reach);
        trackers.tell_own(post, by, reach);
    }

    /// Returns the recipients of each letter, in order, and its bytes.
    fn letters(post: &mut Post) -> Vec<(Vec<Token>, String)> {
        let text = |letter: &super::super::post::Letter| {
            String::from_utf8(post.buffer()[letter.bytes.clone()].to_vec()).unwrap()
        };
        let readers = |address: &Address| match address {
            Address::One(token) => vec![*token],
            Address::Many(tokens) => {
                let mut tokens = tokens.to_vec();
                tokens.sort_by_key(|token| (token.slot, token.generation));
                tokens
            }
        };
        let all = post.letters().iter().map(|letter| (readers(&letter.address), text(letter))).collect();
        post.clear();
        all
    }

    fn invalid(name: &str) -> String {
        format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{name}\r\n", name.len())
    }

    #[test]
    fn readers_are_told_once_by_one_letter_that_they_share() {
        let default = Options::default();
        let (mut trackers, mut post) =
            (trackers(&[(ANN, default), (BOB, default), (EVE, default)]), Post::default());
        for token in [BOB, ANN, EVE, ANN, BOB] {
            trackers.remember(token, b"key");
        }
        trackers.remember(ANN, b"other");
        assert_eq!(trackers.totals(), Totals { clients: 3, keys: 2, items: 4, prefixes: 0 });
        trackers.end(EVE);
        changes(&mut trackers, &mut post, "key", None, &all_here);
        assert_eq!(letters(&mut post), [(vec![ANN, BOB], invalid("key"))]);
        changes(&mut trackers, &mut post, "key", None, &all_here);
        assert!(post.is_empty());
        assert_eq!(trackers.totals(), Totals { clients: 2, keys: 1, items: 1, prefixes: 0 });
    }

    #[test]
    fn own_changes_are_told_last_and_with_noloop_not_at_all() {
        let quiet = Options { no_loop: true, ..Options::default() };
        let (mut trackers, mut post) =
            (trackers(&[(ANN, Options::default()), (BOB, quiet)]), Post::default());
        for by in [ANN, BOB] {
            trackers.remember(ANN, b"key");
            trackers.remember(BOB, b"key");
            changes(&mut trackers, &mut post, "key", Some(by), &all_here);
        }
        let told = letters(&mut post);
        assert_eq!(told, [BOB, ANN, ANN].map(|token| (vec![token], invalid("key"))));
    }

    #[test]
    fn a_key_with_more_readers_than_fit_beside_its_name_keeps_all_of_them() {
        let tokens: Vec<Token> = (0..1000).rev().map(|slot| Token { slot, generation: slot % 3 }).collect();
        let clients: Vec<_> = tokens.iter().map(|token| (*token, Options::default())).collect();
        let (mut trackers, mut post) = (trackers(&clients), Post::default());
        for token in tokens.iter().chain(&tokens) {
            trackers.remember(*token, b"key");
        }
        assert_eq!(trackers.totals().items, 1000);
        changes(&mut trackers, &mut post, "key", None, &all_here);
        let [(told, _)] = letters(&mut post).try_into().unwrap();
        assert_eq!(told, tokens.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn messages_go_where_they_are_redirected_if_they_can_be_read_there() {
        let redirect = Some(Redirect { id: 9, token: BOB });
        let (mut trackers, mut post) =
            (trackers(&[(ANN, Options { redirect, ..Options::default() })]), Post::default());
        let mut tell = |target: Option<Reader>| {
            trackers.remember(ANN, b"key");
            changes(&mut trackers, &mut post, "key", None, &|token| {
                if token == BOB { target } else { Some(RESP3) }
            });
            letters(&mut post)
        };
        let resp2 = Reader { protocol: Protocol::Resp2, ..RESP3 };
        assert_eq!(tell(Some(RESP3)), [(vec![BOB], invalid("key"))]);
        assert!(tell(Some(resp2)).is_empty());
        let message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$3\r\nkey\r\n";
        assert_eq!(tell(Some(Reader { subscribed: true, ..resp2 })), [(vec![BOB], message.to_owned())]);
        let lost = ">2\r\n$21\r\ntracking-redir-broken\r\n:9\r\n";
        assert_eq!(tell(None), [(vec![ANN], lost.to_owned())]);
        assert!(trackers.get(ANN).unwrap().broken);
    }

    #[test]
    fn a_prefix_collects_keys_in_order_and_leaves_out_own_ones() {
        let options = Options { broadcast: true, no_loop: true, ..Options::default() };
        let (mut trackers, mut post) = (Trackers::default(), Post::default());
        let shapes = Shapes::new(Seed::new([1, 2]));
        trackers.begin(ANN, options, &[b"b", b"a:"], &shapes);
        trackers.begin(BOB, Options { no_loop: false, ..options }, &[b"b"], &shapes);
        for (name, by) in [("b2", None), ("b1", Some(ANN)), ("a", None), ("c", None), ("b1", Some(BOB))] {
            changes(&mut trackers, &mut post, name, by, &all_here);
        }
        changes(&mut trackers, &mut post, "b0", Some(ANN), &all_here);
        assert!(post.is_empty() && trackers.has_collected());
        trackers.broadcast(&mut post, &all_here);
        let message = |keys: &str| format!(">2\r\n$10\r\ninvalidate\r\n{keys}");
        let for_bob = message("*3\r\n$2\r\nb0\r\n$2\r\nb1\r\n$2\r\nb2\r\n");
        let for_ann = message("*2\r\n$2\r\nb1\r\n$2\r\nb2\r\n");
        assert_eq!(letters(&mut post), [(vec![BOB], for_bob), (vec![ANN], for_ann)]);
        changes(&mut trackers, &mut post, "a:1", Some(ANN), &all_here);
        trackers.broadcast(&mut post, &all_here);
        assert!(post.is_empty() && !trackers.has_collected());
        assert!(trackers.end(ANN) && trackers.end(BOB) && !trackers.end(BOB));
        assert_eq!(trackers.totals(), Totals::default());
    }
}
