//! Output that no request asks for: published messages, keyspace notifications and invalidation messages.
//!
//! ```text
//!   PUBLISH ──────────────────────────────────────┐
//!   a command of the unit ─▶ journal ─▶ announcer ─┴▶ post ─▶ (the unit is over) ─▶ output
//! ```
//!
//! A unit produces messages in the order of their causes. The post buffers them until the unit's reply is complete and
//! the client's turn has ended.

use super::Server;
use super::audience::post::Address;
use super::invalidate::reader;
use super::net::client::Client;
use super::net::output::Readers;
use crate::config::EventClasses;
use crate::db::Class;
use crate::sys::poller::Token;

/// The letters of `notify-keyspace-events` and the classes that they select.
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
    /// Applies the configuration of notifications.
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

    /// Whether the post must be delivered before the turn of `executing` ends: the client may be one of its readers,
    /// requests are executed carefully, or the post is large.
    pub(super) fn has_to_deliver_now(&self, executing: Token) -> bool {
        let may_read = |client: &Client| client.session.flags.subscribed | client.session.flags.informed;
        self.audience.post.is_large()
            || self.gate.is_careful()
            || self.net.clients.get(executing).is_none_or(may_read)
    }

    /// Appends the post to the output. This happens at the latest when a client's turn ends, before another client gets
    /// a reply: each client then receives replies and messages in the order of their causes.
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
            let part = self.net.output.share(&post.buffer()[letter.bytes.clone()], payload, readers);
            if letter.is_independent && self.gate.confirms() {
                self.net.output.note_independent_part(part);
            }
        }
        post.clear();
    }
}
