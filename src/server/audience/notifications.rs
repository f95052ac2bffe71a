//! Keyspace notifications: changes of keys as messages on `__keyspace@<db>__:<key>` and `__keyevent@<db>__:<event>`.

use super::post::{Payload, Post};
use super::subscribers::Subscribers;
use crate::db::{Class, Event, Key};
use crate::text::number;

/// The settings of keyspace notifications, and a buffer for channel names.
#[derive(Default)]
pub struct Announcer {
    /// Whether to publish the event on the channel of the key (`__keyspace@…`).
    pub by_key: bool,
    /// Whether to publish the key on the channel of the event (`__keyevent@…`).
    pub by_event: bool,
    /// The classes of events to publish.
    pub classes: Vec<Class>,
    channel: Vec<u8>,
}

impl Announcer {
    /// Whether anything is published.
    pub fn is_on(&self) -> bool {
        (self.by_key || self.by_event) && !self.classes.is_empty()
    }

    /// Publishes an event of `key`, if its class is enabled.
    pub fn announce(&mut self, post: &mut Post, subscribers: &Subscribers, key: Key<'_>, event: Event) {
        if !self.classes.contains(&event.class()) {
            return;
        }
        let name = event.name().as_bytes();
        if self.by_key {
            self.write_channel(b"__keyspace@", key.db, key.name);
            subscribers.publish(post, &self.channel, &Payload::new(name, None));
        }
        if self.by_event {
            self.write_channel(b"__keyevent@", key.db, name);
            subscribers.publish(post, &self.channel, &Payload::new(key.name, None));
        }
    }

    fn write_channel(&mut self, start: &[u8], db: usize, rest: &[u8]) {
        self.channel.clear();
        self.channel.extend_from_slice(start);
        number::push_u64(&mut self.channel, db as u64);
        self.channel.extend_from_slice(b"__:");
        self.channel.extend_from_slice(rest);
    }
}
