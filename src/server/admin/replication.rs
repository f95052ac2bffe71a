//! Replication commands: `REPLICAOF`, `PSYNC`, `SYNC`, `REPLCONF`, `ROLE`.

use crate::command::Args;
use crate::command::Origin;
use crate::command::args::integer;
use crate::command::error::{Error, Result};
use crate::replication::peer::{Asked, Stage};
use crate::resp::Reply;
use crate::server::Server;
use crate::server::invoke::Caller;
use crate::server::syncing::Synchronization;
use crate::text::number;

const NO_LINK: Error = Error::new("NOMASTERLINK Can't SYNC while not connected with my master");

impl Server {
    /// `REPLICAOF host port | NO ONE`: replicates a primary, or stops replicating.
    pub(super) fn replicaof(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if self.cluster.is_some() {
            return Err(Error::new("ERR REPLICAOF not allowed in cluster mode."));
        }
        if self.replication.failover.is_some() {
            return Err(Error::new("ERR REPLICAOF not allowed while failing over."));
        }
        let (host, port) = (args.get(1), args.get(2));
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            if self.replication.upstream.is_some() {
                let asking = self.describe_asking(caller);
                self.stop_following();
                self.core.config.replicaof.0 = None;
                self.process.log.notice(format_args!("MASTER MODE enabled (user request from '{asking}')"));
            }
            caller.reply(&mut self.net).ok();
            return Ok(());
        }
        if caller.direct_client().is_some_and(|token| self.net.session(token).flags.replica) {
            return Err(Error::new("ERR Command is not valid when client is a replica."));
        }
        let port = number::parse_i64(port).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or(Error::new("ERR Invalid master port"))?;
        let host = String::from_utf8_lossy(host).into_owned();
        let same = |upstream: &crate::server::replication::upstream::Upstream| {
            upstream.host.eq_ignore_ascii_case(&host) && upstream.port == port
        };
        if self.replication.upstream.as_ref().is_some_and(same) {
            self.process.log.notice(format_args!(
                "REPLICAOF would result into synchronization with the master we are already connected with. No operation \
                 performed."
            ));
            caller.reply(&mut self.net).simple("OK Already connected to specified master");
            return Ok(());
        }
        let asking = self.describe_asking(caller);
        self.core.config.replicaof.0 = Some((host.clone(), port));
        self.follow(&host, port);
        self.process
            .log
            .notice(format_args!("REPLICAOF {host}:{port} enabled (user request from '{asking}')"));
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    fn describe_asking(&self, caller: &Caller<'_>) -> String {
        caller.any_client().map_or_else(String::new, |token| self.describe_client(token))
    }

    /// `SYNC`: a snapshot, then the stream.
    pub(super) fn sync(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.begin_synchronization(caller, None)
    }

    /// `PSYNC id offset`: the stream from an offset on, or like `SYNC`.
    pub(super) fn psync(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if args.len() > 3 && args.is(3, "failover") && !self.net.session(caller.client()?).flags.replica {
            self.take_over(caller, args.get(1))?;
        }
        self.begin_synchronization(caller, Some((args.get(1), args.get(2))))
    }

    /// `PSYNC id offset FAILOVER`: the primary requests that this replica take its place.
    fn take_over(&mut self, caller: &Caller<'_>, id: &[u8]) -> Result {
        let shown = String::from_utf8_lossy(id);
        self.process.log.notice(format_args!("Failover request received for replid {shown}."));
        if self.replication.upstream.is_none() {
            return Err(Error::new("ERR PSYNC FAILOVER can't be sent to a master."));
        }
        if id != self.replication.history.id().as_str().as_bytes() {
            return Err(Error::new("ERR PSYNC FAILOVER replid must match my replid."));
        }
        let asking = self.describe_asking(caller);
        self.stop_following();
        self.core.config.replicaof.0 = None;
        self.process.log.notice(format_args!("MASTER MODE enabled (failover request from '{asking}')"));
        Ok(())
    }

    fn begin_synchronization(&mut self, caller: &mut Caller<'_>, asked: Option<(&[u8], &[u8])>) -> Result {
        let token = caller.client()?;
        let flags = self.net.session(token).flags;
        if flags.replica || flags.monitor {
            // It was requested before; and as in Redis, a monitor gets no stream.
            return Ok(());
        }
        if self.replication.failover.is_some() {
            return Err(Error::new("NOMASTERLINK Can't SYNC while failing over"));
        }
        if self.replication.upstream.as_ref().is_some_and(|upstream| !upstream.is_online()) {
            return Err(NO_LINK);
        }
        let has_pending = self.net.clients.get(token).is_some_and(|client| !client.is_drained());
        if has_pending || self.net.output.has_any(token) {
            return Err(Error::new("ERR SYNC and PSYNC are invalid with pending output"));
        }
        if self.replication.find(token).is_some_and(|replica| !replica.peer.can_be_served()) {
            return Err(Error::new("ERR Filtered replica requires EOF capability"));
        }
        // After the state of this server, as in Redis.
        let asked = asked.map(|(id, next)| integer(next).map(|next| (id, next))).transpose()?;
        if let Synchronization::Continue(id) = self.synchronize(token, asked) {
            let mut reply = caller.reply(&mut self.net);
            match id {
                Some(id) => reply.simple(&format!("CONTINUE {id}")),
                None => reply.simple("CONTINUE"),
            }
        }
        Ok(())
    }

    /// `REPLCONF name value …`: sets properties of a replica, and acknowledges offsets.
    pub(super) fn replconf(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if caller.origin == Origin::Primary {
            // `GETACK`: reply later, when the offset includes this request.
            self.applying.acknowledges = true;
            return Ok(());
        }
        let token = caller.client()?;
        let now_ms = self.core.keyspace.moment.unix_ms;
        if args.len().is_multiple_of(2) {
            return Err(crate::command::error::SYNTAX);
        }
        let is_replica = self.net.session(token).flags.replica;
        let words: Vec<&[u8]> = args.iter_from(1).collect();
        if words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"ack")) && !is_replica {
            return Ok(());
        }
        let sent = self.replication.sent_to(token);
        let replica = self.replication.find_or_add(token, || self.net.ip_of(token), now_ms);
        match replica.peer.configure(words.into_iter(), sent, now_ms) {
            Ok(Asked::Ok) => caller.reply(&mut self.net).ok(),
            Ok(Asked::Acknowledged) => self.on_acknowledgement(token),
            Ok(Asked::Overclaimed(offset)) => {
                self.note_overclaim(token, offset, sent);
                self.on_acknowledgement(token);
            }
            Ok(Asked::Acknowledge) => {}
            Err(text) => return Err(text.into()),
        }
        Ok(())
    }

    /// `ROLE`: `master` with the offset and the replicas, or `slave` with the primary.
    pub(super) fn role(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let offset = self.replication_offset();
        if let Some(upstream) = &self.replication.upstream {
            let mut reply = caller.reply(&mut self.net);
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(upstream.host.as_bytes());
            reply.integer(upstream.port.into());
            reply.bulk(upstream.state().as_bytes());
            reply.integer(if upstream.is_online() { offset } else { -1 });
            return Ok(());
        }
        let online: Vec<(String, i64, i64)> = self
            .replication
            .replicas
            .iter()
            .filter(|replica| replica.peer.stage == Stage::Online)
            .map(|replica| {
                let (address, port) = replica.address();
                (address, port, replica.peer.acknowledged)
            })
            .collect();
        let mut reply = caller.reply(&mut self.net);
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(offset);
        reply.array(online.len());
        for (address, port, acknowledged) in online {
            write_replica(&mut reply, &address, port, acknowledged);
        }
        Ok(())
    }
}

fn write_replica(reply: &mut Reply<'_>, address: &str, port: i64, acknowledged: i64) {
    reply.array(3);
    reply.bulk(address.as_bytes());
    reply.bulk_integer(port);
    reply.bulk_integer(acknowledged);
}
