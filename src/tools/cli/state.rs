//! The state of a connection, derived from the commands sent and their replies: it determines the prompt and the number
//! of replies to expect.

use std::collections::BTreeSet;

use crate::resp::Value;

/// The known state of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The selected database.
    pub database: u32,
    /// In a transaction: the database in which it began.
    pub transaction: Option<u32>,
    /// Whether the connection is in subscribed mode.
    pub is_subscribed: bool,
    /// Whether MONITOR was sent.
    pub is_monitoring: bool,
    /// Whether CLIENT REPLY has turned replies off.
    pub is_silent: bool,
    /// Whether the next command has no reply, due to CLIENT REPLY SKIP.
    pub skips_next: bool,
    /// The subscribed channels, patterns and shard channels.
    names: [BTreeSet<Vec<u8>>; 3],
}

/// Whether `word` is `name`, ignoring case.
pub fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

/// The subscribing commands, in the order of the names in [`State`].
const SUBSCRIBE: [&str; 3] = ["subscribe", "psubscribe", "ssubscribe"];
const UNSUBSCRIBE: [&str; 3] = ["unsubscribe", "punsubscribe", "sunsubscribe"];

fn position(names: [&str; 3], word: &[u8]) -> Option<usize> {
    names.iter().position(|name| is(word, name))
}

/// Whether the reply to a command is a text of several lines, printed unchanged in every format.
pub fn has_text_reply(words: &[Vec<u8>]) -> bool {
    let name = |name: &str, at: usize| words.get(at).is_some_and(|word| is(word, name));
    let sub = |names: &[&str]| names.iter().any(|sub| name(sub, 1));
    let count = words.len();
    name("info", 0)
        || name("lolwut", 0)
        || (name("debug", 0) && count >= 2 && sub(&["htstats", "htstats-key", "client-eviction"]))
        || (name("memory", 0) && count >= 2 && sub(&["malloc-stats", "doctor"]))
        || (name("cluster", 0) && count == 2 && sub(&["nodes", "info"]))
        || (name("client", 0) && count >= 2 && sub(&["list", "info"]))
        || (name("latency", 0) && count == 3 && sub(&["graph"]))
        || (name("latency", 0) && count == 2 && sub(&["doctor"]))
        || (name("proxy", 0) && count >= 2 && sub(&["info"]))
}

impl State {
    /// Whether the server sends more than replies: messages, or the MONITOR feed.
    pub fn listens(&self) -> bool {
        self.is_subscribed || self.is_monitoring
    }

    /// Returns the number of replies to a command. Commands that change subscriptions have one per name.
    pub fn replies(&self, words: &[Vec<u8>]) -> usize {
        let Some((first, rest)) = words.split_first() else { return 0 };
        let turns_on = matches!(rest, [sub, on] if is(first, "client") && is(sub, "reply") && is(on, "on"));
        if turns_on {
            return 1;
        }
        if self.is_silent || self.skips_next || silences(words) {
            return 0;
        }
        if self.transaction.is_some() {
            return 1;
        }
        if position(SUBSCRIBE, first).is_some() {
            return rest.len().max(1);
        }
        match position(UNSUBSCRIBE, first) {
            Some(kind) if rest.is_empty() => self.names[kind].len().max(1),
            Some(_) => rest.len(),
            None => 1,
        }
    }

    /// Updates the state for a command without a reply.
    pub fn sent(&mut self, words: &[Vec<u8>]) {
        self.skips_next = false;
        if let [client, reply, what] = words
            && is(client, "client")
            && is(reply, "reply")
        {
            self.is_silent = is(what, "off") || (self.is_silent && !is(what, "on"));
            self.skips_next = is(what, "skip");
        }
    }

    /// Updates the state for a command and its last reply.
    pub fn replied(&mut self, words: &[Vec<u8>], reply: &Value) {
        let Some((first, rest)) = words.split_first() else { return };
        if is(first, "exec") || is(first, "discard") {
            let ended =
                !reply.is_error() || reply.as_bytes().is_some_and(|text| text.starts_with(b"EXECABORT"));
            if ended
                && let Some(database) = self.transaction.take()
                && (reply.is_error() || is(first, "discard"))
            {
                self.database = database;
            }
            return;
        }
        if reply.is_error() {
            return;
        }
        if is(first, "select") && rest.len() == 1 {
            let number = std::str::from_utf8(&rest[0]).ok().and_then(|text| text.trim().parse().ok());
            self.database = number.unwrap_or(self.database);
        } else if is(first, "multi") {
            self.transaction = Some(self.database);
        } else if is(first, "reset") {
            *self = State::default();
        } else if is(first, "monitor") && self.transaction.is_none() {
            self.is_monitoring = true;
        } else if is(first, "client") {
            self.sent(words);
        }
    }

    /// Updates the state for the confirmation of a `SUBSCRIBE` or `UNSUBSCRIBE`.
    pub fn pushed(&mut self, parts: &[Value]) {
        let [kind, name, ..] = parts else { return };
        let (Some(kind), Some(name)) = (kind.as_bytes(), name.as_bytes()) else { return };
        if let Some(at) = position(SUBSCRIBE, kind) {
            self.is_subscribed = true;
            self.names[at].insert(name.to_vec());
        } else if let Some(at) = position(UNSUBSCRIBE, kind) {
            self.names[at].remove(name);
        }
    }
}

/// Whether the server stops replying from this command on.
fn silences(words: &[Vec<u8>]) -> bool {
    matches!(words, [client, reply, what]
        if is(client, "client") && is(reply, "reply") && (is(what, "off") || is(what, "skip")))
}

/// Whether a command changes subscriptions, so that its replies are confirmations.
pub fn changes_subscriptions(words: &[Vec<u8>]) -> bool {
    words.first().is_some_and(|word| position(SUBSCRIBE, word).or(position(UNSUBSCRIBE, word)).is_some())
}

/// Returns the elements of a message or confirmation to a subscriber, in either protocol.
pub fn message(value: &Value) -> Option<&[Value]> {
    const KINDS: [&str; 9] = [
        "message",
        "pmessage",
        "smessage",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
    ];
    let (Value::Array(parts) | Value::Push(parts)) = value else { return None };
    let kind = parts.first()?.as_bytes()?;
    KINDS.iter().any(|name| kind == name.as_bytes()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words::split;

    /// Returns the state after these lines, each of which had the reply after `->`, or else OK.
    fn after(lines: &str) -> State {
        let mut state = State::default();
        for line in lines.split(';') {
            let (line, reply) = line.split_once("->").unwrap_or((line, "+OK"));
            let bytes = format!("{}\r\n", reply.trim());
            let (reply, _) = Value::decode(bytes.as_bytes()).unwrap().unwrap();
            state.replied(&split(line.as_bytes()).unwrap(), &reply);
        }
        state
    }

    fn words(line: &str) -> Vec<Vec<u8>> {
        split(line.as_bytes()).unwrap()
    }

    #[test]
    fn the_database_follows_select_and_what_becomes_of_a_transaction() {
        assert_eq!(after("select 3").database, 3);
        assert_eq!(after("select 3 -> -ERR").database, 0);
        assert_eq!(after("select 3; RESET").database, 0);
        assert_eq!(after("multi; select 4; exec -> *0").database, 4);
        assert_eq!(after("select 1; multi; select 4; discard").database, 1);
        assert_eq!(after("select 1; multi; select 4; exec -> -EXECABORT").database, 1);
        assert_eq!(after("multi; set a b").transaction, Some(0));
        assert_eq!(after("multi; exec -> -ERR value"), after("multi"));
        assert_eq!(after("multi; exec -> *-1").transaction, None);
    }

    #[test]
    fn a_command_has_as_many_replies_as_the_server_sends() {
        let state = State::default();
        assert_eq!(state.replies(&words("get a")), 1);
        assert_eq!(state.replies(&words("subscribe a b")), 2);
        assert_eq!(state.replies(&words("unsubscribe")), 1);
        assert_eq!(state.replies(&words("client reply off")), 0);
        let mut off = State::default();
        off.sent(&words("client reply off"));
        assert_eq!((off.replies(&words("get a")), off.replies(&words("client reply on"))), (0, 1));
        off.replied(&words("client reply on"), &Value::Simple(b"OK".to_vec()));
        assert_eq!(off, State::default());
        let mut skip = State::default();
        skip.sent(&words("client reply skip"));
        assert_eq!(skip.replies(&words("get a")), 0);
        skip.sent(&words("get a"));
        assert_eq!(skip, State::default());
        let mut subscribed = State::default();
        for name in ["a", "b"] {
            let parts = [b"subscribe", name.as_bytes()].map(|text| Value::Bulk(text.to_vec()));
            subscribed.pushed(&parts);
        }
        assert_eq!(subscribed.replies(&words("unsubscribe")), 2);
        assert_eq!(subscribed.replies(&words("punsubscribe")), 1);
    }
}
