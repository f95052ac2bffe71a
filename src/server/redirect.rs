//! Requests for keys of other nodes: describes a call to [`crate::cluster::redirect`], and words its refusal.
//!
//! A request for one key, whose slot this node owns and is not moving, is executed by a test of one bit
//! ([`Served`]); so is one for several keys with the same hash tag. Everything else takes the careful path.

use super::Server;
use super::clustering::Clustered;
use super::gate::Gate;
use super::scripts::run::Run;
use crate::cluster::redirect::{Call, Policy, Refusal};
use crate::cluster::{NodeIndex, SlotSet};
use crate::codec::hash_slot::{self, Prefix};
use crate::command::table::keys::KeyPosition;
use crate::command::{Args, Command, Error, Handler, Refusal as Refused, ServerCommand, SessionFlags, flags};
use crate::config::EndpointType;
use crate::dict::KeyHasher;
use crate::server::audience::subscribers::Kind;
use crate::sys::poller::Token;

/// The slots whose keys this node serves without further questions: a bit each, 2 KiB.
#[derive(Default)]
pub(super) struct Served(SlotSet);

impl Served {
    /// Whether the slot of the key with this hash is served.
    #[inline]
    pub fn has(&self, hash: u64) -> bool {
        self.0.contains(KeyHasher::slot_of(hash) as u16)
    }
}

/// The names in a call, added one after the other.
#[derive(Default)]
struct Names<'a> {
    call: Call,
    first: Option<&'a [u8]>,
    /// What the names of one hash tag begin with: those of a call usually share theirs.
    prefix: Option<Prefix<'a>>,
}

impl<'a> Names<'a> {
    /// Adds the keys of a call to those of the calls before.
    fn add(&mut self, server: &Server, db: usize, command: &Command, args: Args<'a>, found: &[KeyPosition]) {
        let Some(node) = &server.cluster else { return };
        for position in found {
            let name = args.get(position.index);
            let shared = self.prefix.filter(|prefix| prefix.begins(name)).and(self.call.slot);
            let slot = shared.unwrap_or_else(|| hash_slot::of_key(name));
            match (self.call.slot, self.first) {
                (None, _) | (_, None) => {
                    (self.call.slot, self.first) = (Some(slot), Some(name));
                    self.prefix = Prefix::of(name);
                }
                (Some(before), Some(first)) => {
                    self.call.crosses |= slot != before;
                    self.call.has_several |= name != first;
                }
            }
            if node.machine.is_open(slot) && !is_of_channels(command) {
                let keyspace = &server.core.keyspace;
                let exists = keyspace.peek(keyspace.key(db, name)).is_some();
                self.call.present += usize::from(exists);
                self.call.missing += usize::from(!exists);
            }
        }
    }
}

/// Whether the names of a command's calls are sharded channels.
fn is_of_channels(command: &Command) -> bool {
    use ServerCommand as C;
    matches!(command.handler, Handler::Server(C::Ssubscribe | C::Sunsubscribe | C::Spublish))
}

/// Whether the cluster is the only reason for care with a request, and it names keys of one slot only, which this node
/// serves. `hash` is that of its first key. May be false for several keys that do not share a hash tag.
#[inline]
pub(super) fn is_served(
    gate: Gate,
    node: Option<&Clustered>,
    command: &Command,
    hash: u64,
    args: Args<'_>,
) -> bool {
    let keys = &command.keys;
    !gate.is_careful_if_served(command.flags)
        && node.is_some_and(|node| {
            keys.is_single() && node.served.has(hash)
                || keys.have_no_names()
                || node.served.has(hash) && keys.share_hash_tag(&args)
        })
}

impl Server {
    /// Ends the effect of `ASKING` after the request that follows it, within a transaction after its end.
    #[inline]
    pub(super) fn end_asking(&mut self, token: Token, found: Result<&'static Command, Refused>) {
        if self.cluster.is_none() {
            return;
        }
        let is_asking = |command: &Command| matches!(command.handler, Handler::Server(ServerCommand::Asking));
        if let Some(client) = self.net.clients.get_mut(token)
            && client.transaction.is_none()
            && !found.is_ok_and(is_asking)
        {
            client.session.flags.asking = false;
        }
    }

    /// Recomputes which slots are served, after the machine has changed.
    pub(super) fn refresh_served(&mut self) {
        if let Some(node) = self.cluster.as_deref_mut() {
            node.served = Served(node.machine.served());
        }
    }

    fn redirect_policy(&self) -> Policy {
        Policy {
            reads_when_down: self.core.config.cluster_allow_reads_when_down,
            shards_when_down: self.core.config.cluster_allow_pubsubshard_when_down,
        }
    }

    /// The error if another node has to execute a client's request.
    #[cold]
    pub(super) fn redirect(
        &mut self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
    ) -> Option<Error> {
        let mut found = std::mem::take(&mut self.core.keys);
        let refusal = self.refuse(token, command, args, &mut found);
        self.core.keys = found;
        refusal.map(|refusal| self.error_of(refusal))
    }

    /// Why another node has to execute a client's request. `found` is room for its keys.
    fn refuse(
        &self,
        token: Token,
        command: &'static Command,
        args: Args<'_>,
        found: &mut Vec<KeyPosition>,
    ) -> Option<Refusal> {
        let node = self.cluster.as_ref()?;
        let client = self.net.clients.get(token)?;
        let (session, db) = (client.session.flags, client.session.db);
        let is_exec = matches!(command.handler, Handler::Server(ServerCommand::Exec));
        if session.primary || session.replica || command.keys.have_no_names() && !is_exec {
            return None;
        }
        let requests: Vec<_>;
        let mut names = Names::default();
        let mut all_flags = command.flags;
        if is_exec {
            requests = client.transaction.as_ref()?.requests().collect();
            for (command, places) in &requests {
                command.keys.find_names(&places.args(), found);
                names.add(self, db, command, places.args(), found);
                // A write without keys is executed in any state of the cluster.
                if !found.is_empty() {
                    all_flags |= self.flags_of_call(token, command, places.args());
                }
            }
        } else {
            command.keys.find_names(&args, found);
            names.add(self, db, command, args, found);
            all_flags = self.flags_of_call(token, command, args);
        }
        let mut call = names.call;
        describe(&mut call, command, all_flags, session);
        node.machine.decide(&call, self.redirect_policy()).err()
    }

    /// The slot of the keys that a script is called with, in a cluster.
    pub(super) fn slot_of_script(&self, command: &Command, args: Args<'_>) -> Option<u16> {
        self.cluster.as_ref()?;
        let mut found = Vec::new();
        command.keys.find(&args, &mut found);
        found.first().map(|key| hash_slot::of_key(args.get(key.index)))
    }

    /// The error if a script may not make this call in a cluster.
    #[inline]
    pub(super) fn redirect_from_script(
        &mut self,
        run: &Run,
        command: &'static Command,
        args: Args<'_>,
    ) -> Option<Error> {
        self.cluster.as_ref()?;
        let mut found = std::mem::take(&mut self.core.keys);
        let error = self.redirect_call_of_script(run, command, args, &mut found);
        self.core.keys = found;
        error
    }

    #[cold]
    fn redirect_call_of_script(
        &self,
        run: &Run,
        command: &'static Command,
        args: Args<'_>,
        found: &mut Vec<KeyPosition>,
    ) -> Option<Error> {
        let node = self.cluster.as_ref()?;
        if run.origin.must_obey() || command.keys.have_no_names() {
            return None;
        }
        command.keys.find_names(&args, found);
        let mut names = Names::default();
        names.add(self, run.session.db, command, args, found);
        let mut call = names.call;
        let session =
            run.client.and_then(|token| self.net.clients.get(token)).map(|client| client.session.flags);
        describe(&mut call, command, command.flags, session.unwrap_or_default());
        match node.machine.decide(&call, self.redirect_policy()) {
            Err(Refusal::DownForWrites) => {
                return Some(Error::new(
                    "ERR Script attempted to execute a write command while the cluster is down and readonly",
                ));
            }
            Err(Refusal::Down) => {
                return Some(Error::new(
                    "ERR Script attempted to execute a command while the cluster is down",
                ));
            }
            Err(_) => {
                return Some(Error::new("ERR Script attempted to access a non local key in a cluster node"));
            }
            Ok(()) => {}
        }
        let slot = call.slot.filter(|_| !run.may_cross_slots)?;
        let expected = run.slot.get().unwrap_or(slot);
        run.slot.set(Some(expected));
        if expected == slot {
            return None;
        }
        Some(Error::new("ERR Script attempted to access keys that do not hash to the same slot"))
    }

    /// The error for a client.
    fn error_of(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::CrossSlot => Error::new("CROSSSLOT Keys in request don't hash to the same slot"),
            Refusal::TryAgain => Error::new("TRYAGAIN Multiple keys request during rehashing of slot"),
            Refusal::Down => Error::new("CLUSTERDOWN The cluster is down"),
            Refusal::DownForWrites => {
                Error::new("CLUSTERDOWN The cluster is down and only accepts read commands")
            }
            Refusal::Unbound => Error::new("CLUSTERDOWN Hash slot not served"),
            Refusal::Moved(slot, node) => self.redirection("MOVED", slot, node),
            Refusal::Ask(slot, node) => self.redirection("ASK", slot, node),
        }
    }

    fn redirection(&self, word: &str, slot: u16, node: NodeIndex) -> Error {
        let (endpoint, port) = self.endpoint_of(node);
        format!("{word} {slot} {endpoint}:{port}").into()
    }

    /// Where clients reach a node (`cluster-preferred-endpoint-type`).
    pub(super) fn endpoint_of(&self, index: NodeIndex) -> (&str, u16) {
        let node = self.cluster.as_ref().and_then(|node| node.machine.node(index));
        let Some(node) = node else { return ("", 0) };
        let endpoint = match self.core.config.cluster_preferred_endpoint_type {
            EndpointType::Ip => node.address.ip.as_str(),
            EndpointType::Hostname if node.hostname.is_empty() => "?",
            EndpointType::Hostname => node.hostname.as_str(),
            EndpointType::UnknownEndpoint => "",
        };
        (endpoint, node.address.client_port(self.tells_tls_ports()))
    }

    /// After the owner of a slot or the state of the cluster has changed: redirects blocked clients, and ends sharded
    /// subscriptions.
    pub(super) fn ownership_changed(&mut self) {
        self.refresh_served();
        self.redirect_blocked();
        self.end_moved_subscriptions();
    }

    fn redirect_blocked(&mut self) {
        let blocked: Vec<(Token, Error)> = self
            .audience
            .waiters
            .tokens()
            .filter_map(|token| {
                let rest = self.net.clients.get(token)?.rest.as_ref()?;
                let (request, places) = rest.current()?;
                let command = request.command.ok()?;
                Some((token, self.redirect_waiting(token, command, places.args())?))
            })
            .collect();
        for (token, error) in blocked {
            self.end_wait(token, Some(error));
        }
    }

    /// As [`Server::redirect`] for a client that waits for keys. While a slot is imported, its clients go on waiting.
    fn redirect_waiting(&self, token: Token, command: &'static Command, args: Args<'_>) -> Option<Error> {
        let node = self.cluster.as_ref()?;
        let mut found = Vec::new();
        command.keys.find(&args, &mut found);
        let slot = hash_slot::of_key(args.get(found.first()?.index));
        if node.machine.is_ok() && node.machine.importing(slot).is_some() {
            return None;
        }
        match self.refuse(token, command, args, &mut found)? {
            // The keys that it waits for may not exist yet.
            Refusal::Ask(..) | Refusal::TryAgain => None,
            // The state is updated only at the end of the iteration, but a cluster without this slot is then down.
            Refusal::Unbound if !node.machine.is_ok() || self.core.config.cluster_require_full_coverage => {
                Some(self.error_of(Refusal::Down))
            }
            refusal => Some(self.error_of(refusal)),
        }
    }

    /// Unsubscribes clients from the sharded channels of slots that were given to a node or taken from one. As in Redis,
    /// this includes a failover, after which this node may still have the slot's channels: clients subscribe again.
    fn end_moved_subscriptions(&mut self) {
        let Some(node) = &mut self.cluster else { return };
        let reassigned = node.machine.take_reassigned();
        if reassigned.is_empty() {
            return;
        }
        let moved: Vec<Vec<u8>> = self
            .audience
            .subscribers
            .active(Kind::Shard, None)
            .into_iter()
            .filter(|channel| reassigned.contains(hash_slot::of_key(channel)))
            .map(<[u8]>::to_vec)
            .collect();
        for channel in moved {
            for token in self.audience.subscribers.shard_subscribers(&channel) {
                self.audience.subscribers.unsubscribe(token, Kind::Shard, &channel);
                self.confirm_moved(token, &channel);
            }
        }
    }

    fn confirm_moved(&mut self, token: Token, channel: &[u8]) {
        let counts = self.audience.subscribers.counts(token);
        if self.net.clients.get(token).is_none() {
            return;
        }
        let mut reply = self.net.reply_to(token);
        reply.push(3);
        reply.bulk(b"sunsubscribe");
        reply.bulk(channel);
        reply.integer(counts.of(Kind::Shard) as i64);
        self.net.session(token).flags.subscribed = counts.total() > 0;
    }
}

fn describe(call: &mut Call, command: &Command, all_flags: u64, session: SessionFlags) {
    call.writes = all_flags & flags::WRITE != 0;
    call.is_of_channels = is_of_channels(command);
    call.migrates = matches!(command.handler, Handler::Server(ServerCommand::Migrate));
    call.asks = session.asking || all_flags & flags::ASKING != 0;
    call.reads_replica = session.reads_replica;
}
