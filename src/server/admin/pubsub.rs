//! Pub/sub: `SUBSCRIBE` and related commands, `PUBLISH`, `SPUBLISH`, `PUBSUB`.

use crate::command::Args;
use crate::command::Origin;
use crate::command::error::{Error, Result};
use crate::server::Server;
use crate::server::audience::post::Payload;
use crate::server::audience::subscribers::Kind;
use crate::server::invoke::Caller;
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
    /// `SUBSCRIBE channel …`: a push for each name, with the number of subscriptions.
    pub(in crate::server) fn subscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.subscribe_to(Kind::Channel, caller, args)
    }

    /// `PSUBSCRIBE pattern …`
    pub(in crate::server) fn psubscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.subscribe_to(Kind::Pattern, caller, args)
    }

    /// `SSUBSCRIBE shardchannel …`
    pub(in crate::server) fn ssubscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.subscribe_to(Kind::Shard, caller, args)
    }

    fn subscribe_to(&mut self, kind: Kind, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let session = caller.session(&mut self.net);
        if kind == Kind::Shard && session.flags.transaction {
            return Err(Error::new("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
        }
        let protocol = session.protocol;
        self.for_some_names(caller, args, |server, caller, name| {
            if server.is_no_longer_permitted(caller, kind, name) {
                return server.net.doom(token);
            }
            server.audience.subscribers.subscribe(token, protocol, kind, name);
            server.confirm(caller, kind, kind.subscribe_word(), Some(name));
        });
        self.subscriptions_changed(token);
        Ok(())
    }

    /// Whether the rights of the caller have changed since the first part of the command, so that the user may not have
    /// this subscription. Others that it may not have have been looked for by the change.
    fn is_no_longer_permitted(&mut self, caller: &mut Caller<'_>, kind: Kind, name: &[u8]) -> bool {
        let rights = caller.session(&mut self.net).rights;
        self.continues_from() > 0
            && !rights.unrestricted
            && !self.core.users.get(rights.user).permits_channel(name, kind == Kind::Pattern)
    }

    /// Calls `each` with the names of this part of a command.
    fn for_some_names(
        &mut self,
        caller: &mut Caller<'_>,
        args: Args<'_>,
        mut each: impl FnMut(&mut Server, &mut Caller<'_>, &[u8]),
    ) {
        let mut most = self.most_in_a_part(caller);
        for at in self.continues_from().max(1)..args.len() {
            if most == 0 {
                return self.continue_later(caller, at);
            }
            let name = args.get(at);
            each(self, caller, name);
            most = most.saturating_sub(1 + name.len() / BYTES_PER_NAME);
        }
    }

    /// The most names in a part of a command. In a transaction there is no limit, since it must not be interrupted.
    fn most_in_a_part(&mut self, caller: &mut Caller<'_>) -> usize {
        if caller.session(&mut self.net).flags.transaction { usize::MAX } else { PART }
    }

    /// `UNSUBSCRIBE [channel …]`: from all channels if none is named. A push for each channel, or one with null if the
    /// client has no channels.
    pub(in crate::server) fn unsubscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.unsubscribe_from(Kind::Channel, caller, args)
    }

    /// `PUNSUBSCRIBE [pattern …]`
    pub(in crate::server) fn punsubscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.unsubscribe_from(Kind::Pattern, caller, args)
    }

    /// `SUNSUBSCRIBE [shardchannel …]`
    pub(in crate::server) fn sunsubscribe(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.unsubscribe_from(Kind::Shard, caller, args)
    }

    fn unsubscribe_from(&mut self, kind: Kind, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let word = kind.unsubscribe_word();
        if args.len() == 1 {
            self.unsubscribe_from_all(caller, token, kind);
        } else {
            self.for_some_names(caller, args, |server, caller, name| {
                server.audience.subscribers.unsubscribe(token, kind, name);
                server.confirm(caller, kind, word, Some(name));
            });
        }
        self.subscriptions_changed(token);
        Ok(())
    }

    fn unsubscribe_from_all(&mut self, caller: &mut Caller<'_>, token: Token, kind: Kind) {
        let word = kind.unsubscribe_word();
        let mut most = self.most_in_a_part(caller);
        let begins = self.continues_from() == 0;
        if begins && self.audience.subscribers.counts(token).of(kind) == 0 {
            self.confirm(caller, kind, word, None);
        }
        while let Some(name) = self.audience.subscribers.unsubscribe_any(token, kind) {
            self.confirm(caller, kind, word, Some(&name));
            most = most.saturating_sub(1 + name.len() / BYTES_PER_NAME);
            if most == 0 && self.audience.subscribers.counts(token).of(kind) > 0 {
                return self.continue_later(caller, 1);
            }
        }
    }

    fn confirm(&mut self, caller: &mut Caller<'_>, kind: Kind, word: &[u8], name: Option<&[u8]>) {
        let counts = caller.any_client().map(|token| self.audience.subscribers.counts(token));
        let mut reply = caller.reply(&mut self.net);
        reply.push(3);
        reply.bulk(word);
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(counts.map_or(0, |counts| counts.beside(kind)) as i64);
    }

    /// Updates the client being served after its subscriptions may have changed.
    fn subscriptions_changed(&mut self, token: Token) {
        let subscribed = self.audience.subscribers.counts(token).total() > 0;
        let flags = &mut self.net.session(token).flags;
        flags.pushed = true;
        flags.subscribed = subscribed;
        self.refresh_gate();
    }

    /// Removes up to a part of a client's subscriptions without replies. Returns true if none is left; otherwise the
    /// command continues in a later iteration.
    pub(super) fn remove_subscriptions(&mut self, caller: &mut Caller<'_>, token: Token) -> bool {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            for _ in 0..PART {
                if self.audience.subscribers.unsubscribe_any(token, kind).is_none() {
                    break;
                }
            }
        }
        let is_done = self.audience.subscribers.counts(token).total() == 0;
        if !is_done {
            self.continue_later(caller, 1);
        }
        self.net.session(token).flags.subscribed = !is_done;
        self.refresh_gate();
        is_done
    }

    /// `PUBLISH channel message`: the number of clients that receive it.
    pub(in crate::server) fn publish(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.publish_to(Kind::Channel, caller, args)
    }

    /// `SPUBLISH shardchannel message`
    pub(in crate::server) fn spublish(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.publish_to(Kind::Shard, caller, args)
    }

    fn publish_to(&mut self, kind: Kind, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if caller.any_client().is_none() && caller.origin != Origin::Primary {
            // A script in an AOF: the message was delivered when the script first ran.
            caller.reply(&mut self.net).integer(0);
            return Ok(());
        }
        let payload = Payload::new(args.get(2), args.block(2));
        let audience = &mut self.audience;
        let first = audience.post.letters().len();
        let receivers = match kind {
            Kind::Shard => audience.subscribers.publish_to_shard(&mut audience.post, args.get(1), &payload),
            _ => audience.subscribers.publish(&mut audience.post, args.get(1), &payload),
        };
        if !caller.origin.is_script() {
            // A script may have read its words from keys.
            audience.post.note_independent(first);
        }
        if self.cluster.is_some() {
            self.publish_to_nodes(args.get(1), args.get(2), kind == Kind::Shard);
            caller.reply(&mut self.net).integer(receivers as i64);
            return Ok(());
        }
        // Replicas have subscribers, too. Those of this server's primary get the message from there.
        if self.replication.has_backlog && self.replication.upstream.is_none() {
            let db = caller.db(&self.net);
            let words = (0..args.len()).map(|index| args.word(index));
            self.core.keyspace.journal.propagate_to_replicas(db, words);
        }
        caller.reply(&mut self.net).integer(receivers as i64);
        Ok(())
    }

    /// `PUBSUB CHANNELS [pattern]`: the channels with subscribers.
    pub(in crate::server) fn pubsub_channels(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.reply_active(Kind::Channel, caller, args)
    }

    /// `PUBSUB SHARDCHANNELS [pattern]`
    pub(in crate::server) fn pubsub_shardchannels(
        &mut self,
        caller: &mut Caller<'_>,
        args: Args<'_>,
    ) -> Result {
        self.reply_active(Kind::Shard, caller, args)
    }

    fn reply_active(&mut self, kind: Kind, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let pattern = match args.len() {
            2 => None,
            3 => Some(args.get(2)),
            _ => return Err(super::usage(args)),
        };
        let names = self.audience.subscribers.active(kind, pattern);
        let mut reply = caller.reply(&mut self.net);
        reply.array(names.len());
        for name in names {
            reply.bulk(name);
        }
        Ok(())
    }

    /// `PUBSUB NUMSUB [channel …]`: each channel with its number of subscribers.
    pub(in crate::server) fn pubsub_numsub(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.reply_counts(Kind::Channel, caller, args);
        Ok(())
    }

    /// `PUBSUB SHARDNUMSUB [shardchannel …]`
    pub(in crate::server) fn pubsub_shardnumsub(
        &mut self,
        caller: &mut Caller<'_>,
        args: Args<'_>,
    ) -> Result {
        self.reply_counts(Kind::Shard, caller, args);
        Ok(())
    }

    fn reply_counts(&mut self, kind: Kind, caller: &mut Caller<'_>, args: Args<'_>) {
        let mut reply = caller.reply(&mut self.net);
        reply.array(2 * (args.len() - 2));
        for name in args.iter_from(2) {
            reply.bulk(name);
            reply.integer(self.audience.subscribers.subscribers(kind, name) as i64);
        }
    }

    /// `PUBSUB NUMPAT`: the number of patterns with subscribers.
    pub(super) fn pubsub_numpat(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let patterns = self.audience.subscribers.count(Kind::Pattern);
        caller.reply(&mut self.net).integer(patterns as i64);
        Ok(())
    }
}
