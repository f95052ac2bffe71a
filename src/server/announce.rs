//! What clients are told without having asked for it just then: published messages, announced changes, invalidated keys.
//!
//! ```text
//!   PUBLISH ──────────────────────────────────────┐
//!   a command of the unit ─▶ journal ─▶ announcer ─┴▶ post ─▶ (the unit is over) ─▶ output
//! ```
//!
//! Messages come about while a unit executes, in the order of what they tell of, and wait in the post until its reply is
//! complete, and the turn of its client over.

use super::Server;
use super::audience::post::Address;
use super::invalidate::reader;
use super::net::client::Client;
use super::net::output::Readers;
use crate::config::EventClasses;
use crate::db::Class;
use crate::sys::poller::Token;

/// The letters of `notify-keyspace-events` and what they announce.
const CLASSES: &[(EventClasses, Class)] = &[
    (EventClasses::GENERIC, Class::Generic),
    (EventClasses::STRING, Class::String),
    (EventClasses::LIST, Class::List),
    (EventClasses::SET, Class::Set),
    (EventClasses::HASH, Class::Hash),
    (EventClasses::ZSET, Class::SortedSet),
    (EventClasses::STREAM, Class::Stream),
    (EventClasses::EXPIRED, Class::Expired),
    (EventClasses::EVICTED, Class::Evicted),
    (EventClasses::NEW, Class::New),
    (EventClasses::MISS, Class::KeyMiss),
];

impl Server {
    /// Takes over what the configuration says of notifications.
    pub(super) fn refresh_announcer(&mut self) {
        let wanted = self.core.config.notify_keyspace_events;
        let announcer = &mut self.audience.announcer;
        announcer.by_key = wanted.contains(EventClasses::KEYSPACE);
        announcer.by_event = wanted.contains(EventClasses::KEYEVENT);
        let selected = CLASSES.iter().filter(|(letter, _)| wanted.contains(*letter));
        announcer.classes = selected.map(|(_, class)| *class).collect();
        self.refresh_gate();
    }

    /// Called after a command within a unit. Notifies the listeners whose messages must be in order with published
    /// messages. `in_script`: a script has called the command.
    #[inline]
    pub(super) fn notify_within_unit(&mut self, executing: Token, in_script: bool) {
        if self.core.keyspace.journal.is_listening() {
            let clients = &self.net.clients;
            let reach = |token| reader(clients, token);
            self.audience.notify_of_command(&self.core.keyspace.journal, Some(executing), in_script, &reach);
        }
    }

    /// Whether the post cannot wait for the end of the turn of `executing`: because that may be among its readers, monitors
    /// are shown what comes between, or there is much of it.
    pub(super) fn has_to_deliver_now(&self, executing: Token) -> bool {
        let may_read = |client: &Client| client.session.flags.subscribed | client.session.flags.informed;
        self.audience.post.is_large()
            || self.gate.is_careful()
            || self.net.clients.get(executing).is_none_or(may_read)
    }

    /// Appends the post to the output. This happens at the latest when the turn of a client ends:
    /// before another one gets a reply, so that each reads what it is sent in the order in which it came about.
    pub(super) fn deliver_post(&mut self) {
        let post = &mut self.audience.post;
        if post.is_empty() {
            return;
        }
        for letter in post.letters() {
            let readers = match &letter.address {
                Address::One(token) => Readers::One(*token),
                Address::Many(recipients) => Readers::Many(recipients.clone()),
            };
            let payload = letter.payload.as_ref().map(|(at, block)| (at - letter.bytes.start, block));
            self.net.output.share(&post.buffer()[letter.bytes.clone()], payload, readers);
        }
        post.clear();
    }
}
