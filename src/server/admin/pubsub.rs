//! Pub/sub: `SUBSCRIBE` and its relatives, `PUBLISH`, `SPUBLISH`, `PUBSUB`.

use crate::command::Args;
use crate::command::error::{Error, Result};
use crate::server::Server;
use crate::server::audience::post::Payload;
use crate::server::audience::subscribers::Kind;
use crate::sys::poller::Token;

/// How many names a command subscribes to or unsubscribes from before other clients are served. Each takes about 0.8 µs
/// with its reply.
const PART: usize = 512;

/// A long name counts as one more name per this many bytes.
const BYTES_PER_NAME: usize = 128;

impl Kind {
    fn subscribe_word(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"subscribe",
            Kind::Pattern => b"psubscribe",
            Kind::Shard => b"ssubscribe",
        }
    }

    fn unsubscribe_word(self) -> &'static [u8] {
        match self {
            Kind::Channel => b"unsubscribe",
            Kind::Pattern => b"punsubscribe",
            Kind::Shard => b"sunsubscribe",
        }
    }
}

impl Server {
    /// `SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE` `name …`: a push for each name, with the number of subscriptions.
    pub(super) fn subscribe(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let session = self.net.session(token);
        if kind == Kind::Shard && session.flags.transaction {
            return Err(Error::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
        }
        let protocol = session.protocol;
        self.for_some_names(token, args, |server, name| {
            server.audience.subscribers.subscribe(token, protocol, kind, name);
            server.confirm(token, kind, kind.subscribe_word(), Some(name));
        });
        self.subscriptions_changed(token);
        Ok(())
    }

    /// Calls `each` with the names of this part of a command.
    fn for_some_names(&mut self, token: Token, args: Args<'_>, mut each: impl FnMut(&mut Server, &[u8])) {
        let mut most = self.most_in_a_part(token);
        for at in self.continues_from().max(1)..args.len() {
            if most == 0 {
                return self.continue_later(token, at);
            }
            let name = args.get(at);
            each(self, name);
            most = most.saturating_sub(1 + name.len() / BYTES_PER_NAME);
        }
    }

    /// The most names in a part of a command. In a transaction there is no limit, since it must not be interrupted.
    fn most_in_a_part(&mut self, token: Token) -> usize {
        if self.net.session(token).flags.transaction { usize::MAX } else { PART }
    }

    /// `UNSUBSCRIBE`, `PUNSUBSCRIBE`, `SUNSUBSCRIBE` `[name …]`: from all without a name. A push for each name, or one
    /// with null if there is none.
    pub(super) fn unsubscribe(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let word = kind.unsubscribe_word();
        if args.len() == 1 {
            self.unsubscribe_from_all(token, kind);
        } else {
            self.for_some_names(token, args, |server, name| {
                server.audience.subscribers.unsubscribe(token, kind, name);
                server.confirm(token, kind, word, Some(name));
            });
        }
        self.subscriptions_changed(token);
        Ok(())
    }

    fn unsubscribe_from_all(&mut self, token: Token, kind: Kind) {
        let word = kind.unsubscribe_word();
        let mut most = self.most_in_a_part(token);
        let begins = self.continues_from() == 0;
        if begins && self.audience.subscribers.counts(token).of(kind) == 0 {
            self.confirm(token, kind, word, None);
        }
        while let Some(name) = self.audience.subscribers.unsubscribe_any(token, kind) {
            self.confirm(token, kind, word, Some(&name));
            most = most.saturating_sub(1 + name.len() / BYTES_PER_NAME);
            if most == 0 && self.audience.subscribers.counts(token).of(kind) > 0 {
                return self.continue_later(token, 1);
            }
        }
    }

    fn confirm(&mut self, token: Token, kind: Kind, word: &[u8], name: Option<&[u8]>) {
        let count = self.audience.subscribers.counts(token).beside(kind);
        let mut reply = self.net.reply_to(token);
        reply.push(3);
        reply.bulk(word);
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(count as i64);
    }

    /// The subscriptions of the client that is being served may have changed.
    fn subscriptions_changed(&mut self, token: Token) {
        let subscribed = self.audience.subscribers.counts(token).total() > 0;
        let flags = &mut self.net.session(token).flags;
        flags.pushed = true;
        flags.subscribed = subscribed;
        self.refresh_gate();
    }

    /// Removes up to a part of a client's subscriptions without replies. Returns true if none is left; otherwise the
    /// command continues in a later iteration.
    pub(super) fn remove_subscriptions(&mut self, token: Token) -> bool {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for _ in 0..PART {
                if self.audience.subscribers.unsubscribe_any(token, kind).is_none() {
                    break;
                }
            }
        }
        let is_done = self.audience.subscribers.counts(token).total() == 0;
        if !is_done {
            self.continue_later(token, 1);
        }
        self.net.session(token).flags.subscribed = !is_done;
        self.refresh_gate();
        is_done
    }

    /// `PUBLISH channel message`, `SPUBLISH shardchannel message`: how many clients get it.
    pub(super) fn publish(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let payload = Payload::new(args.get(2), args.block(2));
        let audience = &mut self.audience;
        let receivers = match kind {
            Kind::Shard => audience.subscribers.publish_to_shard(&mut audience.post, args.get(1), &payload),
            _ => audience.subscribers.publish(&mut audience.post, args.get(1), &payload),
        };
        self.net.reply_to(token).integer(receivers as i64);
        Ok(())
    }

    /// `PUBSUB CHANNELS [pattern]`, `PUBSUB SHARDCHANNELS [pattern]`: those that have subscribers.
    pub(super) fn pubsub_channels(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let pattern = match args.len() {
            2 => None,
            3 => Some(args.get(2)),
            _ => return Err(super::usage(args)),
        };
        let names = self.audience.subscribers.active(kind, pattern);
        let mut reply = self.net.reply_to(token);
        reply.array(names.len());
        for name in names {
            reply.bulk(name);
        }
        Ok(())
    }

    /// `PUBSUB NUMSUB [channel …]`, `PUBSUB SHARDNUMSUB [shardchannel …]`: each with its number of subscribers.
    pub(super) fn pubsub_numsub(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let mut reply = self.net.reply_to(token);
        reply.array(2 * (args.len() - 2));
        for name in args.iter_from(2) {
            reply.bulk(name);
            reply.integer(self.audience.subscribers.subscribers(kind, name) as i64);
        }
        Ok(())
    }

    /// `PUBSUB NUMPAT`: how many patterns have subscribers.
    pub(super) fn pubsub_numpat(&mut self, token: Token) -> Result {
        let patterns = self.audience.subscribers.count(Kind::Pattern);
        self.net.reply_to(token).integer(patterns as i64);
        Ok(())
    }
}
