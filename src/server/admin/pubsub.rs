//! Pub/sub: `SUBSCRIBE` and its relatives, `PUBLISH`, `SPUBLISH`, `PUBSUB`.

use crate::command::Args;
use crate::command::error::{Error, Result};
use crate::server::Server;
use crate::server::audience::post::Payload;
use crate::server::audience::subscribers::Kind;
use crate::sys::poller::Token;

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
        for name in args.iter_from(1) {
            self.audience.subscribers.subscribe(token, protocol, kind, name);
            self.confirm(token, kind, kind.subscribe_word(), Some(name));
        }
        self.subscriptions_changed(token);
        Ok(())
    }

    /// `UNSUBSCRIBE`, `PUNSUBSCRIBE`, `SUNSUBSCRIBE` `[name …]`: from all without a name. A push for each name, or one
    /// with null if there is none.
    pub(super) fn unsubscribe(&mut self, token: Token, kind: Kind, args: Args<'_>) -> Result {
        let word = kind.unsubscribe_word();
        for name in args.iter_from(1) {
            self.audience.subscribers.unsubscribe(token, kind, name);
            self.confirm(token, kind, word, Some(name));
        }
        if args.len() == 1 {
            let names = self.audience.subscribers.names(token, kind);
            for name in &names {
                self.audience.subscribers.unsubscribe(token, kind, name);
                self.confirm(token, kind, word, Some(name));
            }
            if names.is_empty() {
                self.confirm(token, kind, word, None);
            }
        }
        self.subscriptions_changed(token);
        Ok(())
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

    /// Ends all subscriptions of a client, without a word.
    pub(in crate::server) fn end_subscriptions(&mut self, token: Token) {
        self.audience.subscribers.forget(token);
        if let Some(client) = self.net.clients.get_mut(token) {
            client.session.flags.subscribed = false;
        }
        self.refresh_gate();
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
        let patterns = self.audience.subscribers.totals().patterns;
        self.net.reply_to(token).integer(patterns as i64);
        Ok(())
    }
}
