//! CLUSTER, ASKING, READONLY and READWRITE.
//!
//! The subcommands that change or describe the cluster belong to [`crate::cluster`]; those about the keys of a slot read
//! the keyspace.

use crate::cluster::{FailoverMode, Flags, Form, Node, SLOTS, SetSlot};
use crate::codec::hash_slot;
use crate::command::args::integer;
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::{Args, Command};
use crate::config::EndpointType;
use crate::resp::Reply;
use crate::server::Server;
use crate::server::clustering::{BUS_PORT_OFFSET, Clustered, keys_in_slot};
use crate::server::invoke::Caller;
use crate::text::number;
use crate::text::words::shown;

const DISABLED: Error = Error::new("ERR This instance has cluster support disabled");

const BAD_SLOT: Error = Error::new("ERR Invalid or out of range slot");

/// Parses a slot.
fn slot(arg: &[u8]) -> Result<u16> {
    let slot = number::parse_i64(arg).and_then(|slot| u16::try_from(slot).ok());
    slot.filter(|slot| *slot < SLOTS).ok_or(BAD_SLOT)
}

/// Parses pairs of the first and the last slot of a range. After an error it still returns the slots of the ranges
/// before the invalid one: Redis checks those first.
fn slots_of_ranges(caller: &Caller<'_>, args: Args<'_>) -> (Vec<u16>, Result) {
    let mut slots = Vec::new();
    if args.len() % 2 == 1 {
        return (slots, Err(Error::wrong_arity(caller.command.full_name)));
    }
    for at in (2..args.len()).step_by(2) {
        let (first, last) = match slot(args.get(at)).and_then(|first| Ok((first, slot(args.get(at + 1))?))) {
            Ok(range) => range,
            Err(error) => return (slots, Err(error)),
        };
        if first > last {
            let text = format!("ERR start slot number {first} is greater than end slot number {last}");
            return (slots, Err(text.into()));
        }
        slots.extend(first..=last);
    }
    (slots, Ok(()))
}

fn slots_of(args: Args<'_>) -> Result<Vec<u16>> {
    args.iter_from(2).map(slot).collect()
}

impl Server {
    fn node(&mut self) -> Result<&mut Clustered> {
        self.cluster.as_deref_mut().ok_or(DISABLED)
    }

    /// Changes the machine, executes its actions, and replies with `OK`.
    fn change_cluster(
        &mut self,
        caller: &mut Caller<'_>,
        change: impl FnOnce(&mut Clustered, u64) -> std::result::Result<(), String>,
    ) -> Result {
        let now_ms = self.cluster_ms();
        let outcome = change(self.node()?, now_ms);
        self.act();
        self.refresh_served();
        outcome?;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// Whether `HELP` of a container is refused: `CLUSTER HELP` outside of a cluster.
    pub(in crate::server) fn refuse_help(&self, container: &Command) -> Result {
        if container.name == "cluster" && self.cluster.is_none() { Err(DISABLED) } else { Ok(()) }
    }

    /// `CLUSTER MEET ip port [bus-port]`: starts a handshake.
    pub(super) fn cluster_meet(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        if args.len() > 5 {
            return Err(super::usage(args));
        }
        let bad = |what: &str, arg: &[u8]| {
            Error::concat(&[b"ERR Invalid ", what.as_bytes(), b" port specified: ", shown(arg)])
        };
        let port = number::parse_i64(args.get(3)).ok_or_else(|| bad("base", args.get(3)))?;
        let bus_port = match args.len() {
            5 => number::parse_i64(args.get(4)).ok_or_else(|| bad("bus", args.get(4)))?,
            _ => port + i64::from(BUS_PORT_OFFSET),
        };
        let ip = String::from_utf8_lossy(shown(args.get(2))).into_owned();
        let (Ok(small), Ok(bus)) = (u16::try_from(port), u16::try_from(bus_port)) else {
            return Err(format!("ERR Invalid node address specified: {ip}:{port}").into());
        };
        self.change_cluster(caller, |node, now_ms| node.machine.meet(&ip, small, bus, now_ms))
    }

    /// `CLUSTER FORGET node-id`
    pub(super) fn cluster_forget(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.change_cluster(caller, |node, now_ms| node.machine.forget(args.get(2), now_ms))
    }

    /// `CLUSTER ADDSLOTS slot …`
    pub(super) fn cluster_addslots(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let slots = slots_of(args)?;
        self.change_cluster(caller, |node, now_ms| node.machine.add_slots(&slots, now_ms))
    }

    /// `CLUSTER ADDSLOTSRANGE first last …`
    pub(super) fn cluster_addslotsrange(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let (slots, parsed) = slots_of_ranges(caller, args);
        if parsed.is_err() {
            self.node()?.machine.check_slots(&slots, true)?;
            return parsed;
        }
        self.change_cluster(caller, |node, now_ms| node.machine.add_slots(&slots, now_ms))
    }

    /// `CLUSTER DELSLOTS slot …`
    pub(super) fn cluster_delslots(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let slots = slots_of(args)?;
        self.change_cluster(caller, |node, now_ms| node.machine.del_slots(&slots, now_ms))
    }

    /// `CLUSTER DELSLOTSRANGE first last …`
    pub(super) fn cluster_delslotsrange(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let (slots, parsed) = slots_of_ranges(caller, args);
        if parsed.is_err() {
            self.node()?.machine.check_slots(&slots, false)?;
            return parsed;
        }
        self.change_cluster(caller, |node, now_ms| node.machine.del_slots(&slots, now_ms))
    }

    /// `CLUSTER FLUSHSLOTS`
    pub(super) fn cluster_flushslots(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let facts = self.cluster_facts();
        self.change_cluster(caller, |node, now_ms| node.machine.flush_slots(now_ms, &facts))
    }

    /// `CLUSTER SETSLOT slot IMPORTING | MIGRATING | NODE node-id`, `CLUSTER SETSLOT slot STABLE`
    pub(super) fn cluster_setslot(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        if self.node()?.machine.myself().is_replica() {
            return Err(Error::new("ERR Please use SETSLOT only with masters."));
        }
        let slot = slot(args.get(2))?;
        let is = |word: &str| args.is(3, word);
        let change = match args.len() {
            5 if is("migrating") => SetSlot::Migrating(args.get(4)),
            5 if is("importing") => SetSlot::Importing(args.get(4)),
            5 if is("node") => SetSlot::Node(args.get(4)),
            4 if is("stable") => SetSlot::Stable,
            _ => {
                return Err(Error::new(
                    "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
                ));
            }
        };
        let keys = keys_in_slot(&self.core.keyspace, slot);
        self.change_cluster(caller, |node, now_ms| node.machine.set_slot(slot, change, keys, now_ms))
    }

    /// `CLUSTER REPLICATE node-id`
    pub(super) fn cluster_replicate(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let facts = self.cluster_facts();
        self.change_cluster(caller, |node, now_ms| node.machine.replicate(args.get(2), now_ms, &facts))
    }

    /// `CLUSTER FAILOVER [FORCE | TAKEOVER]`
    pub(super) fn cluster_failover(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let mode = match args.len() {
            2 => FailoverMode::Coordinated,
            3 if args.is(2, "force") => FailoverMode::Force,
            3 if args.is(2, "takeover") => FailoverMode::Takeover,
            3 => return Err(SYNTAX),
            _ => return Err(super::usage(args)),
        };
        let facts = self.cluster_facts();
        self.change_cluster(caller, |node, now_ms| node.machine.failover(mode, now_ms, &facts))
    }

    /// `CLUSTER RESET [HARD | SOFT]`
    pub(super) fn cluster_reset(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let hard = match args.len() {
            2 => false,
            3 if args.is(2, "hard") => true,
            3 if args.is(2, "soft") => false,
            3 => return Err(SYNTAX),
            _ => return Err(super::usage(args)),
        };
        let facts = self.cluster_facts();
        self.change_cluster(caller, |node, now_ms| node.machine.reset(hard, now_ms, &facts))
    }

    /// `CLUSTER SET-CONFIG-EPOCH epoch`
    pub(super) fn cluster_set_config_epoch(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let epoch = integer(args.get(2))?;
        self.change_cluster(caller, |node, now_ms| node.machine.set_config_epoch(epoch, now_ms))
    }

    /// `CLUSTER BUMPEPOCH`: `BUMPED epoch`, or `STILL epoch`.
    pub(super) fn cluster_bumpepoch(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let now_ms = self.cluster_ms();
        let (bumped, epoch) = self.node()?.machine.bump_epoch(now_ms);
        self.act();
        let word = if bumped { "BUMPED" } else { "STILL" };
        caller.reply(&mut self.net).simple(&format!("{word} {epoch}"));
        Ok(())
    }

    /// `CLUSTER SAVECONFIG`
    pub(super) fn cluster_saveconfig(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.node()?;
        if let Err(error) = self.save_cluster_config(true) {
            return Err(format!("ERR error saving the cluster node config: {error}").into());
        }
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `CLUSTER COUNT-FAILURE-REPORTS node-id`
    pub(super) fn cluster_count_failure_reports(
        &mut self,
        caller: &mut Caller<'_>,
        args: Args<'_>,
    ) -> Result {
        let now_ms = self.cluster_ms();
        let count = self.node()?.machine.count_failure_reports(args.get(2), now_ms)?;
        caller.reply(&mut self.net).integer(count as i64);
        Ok(())
    }

    /// `CLUSTER MYID`
    pub(super) fn cluster_myid(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let id = self.node()?.machine.myself().id;
        caller.reply(&mut self.net).bulk(id.as_bytes());
        Ok(())
    }

    /// `CLUSTER MYSHARDID`
    pub(super) fn cluster_myshardid(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let id = self.node()?.machine.myself().shard_id;
        caller.reply(&mut self.net).bulk(id.as_bytes());
        Ok(())
    }

    /// `CLUSTER NODES`
    pub(super) fn cluster_nodes(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let with_tls = self.tells_tls_ports();
        let text = self.node()?.machine.nodes_text(Form::Reply { with_tls });
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `CLUSTER INFO`
    pub(super) fn cluster_info(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let text = self.node()?.machine.info_text();
        caller.reply(&mut self.net).verbatim(*b"txt", text.as_bytes());
        Ok(())
    }

    /// `CLUSTER REPLICAS node-id`: the lines of `CLUSTER NODES` of its replicas.
    pub(super) fn cluster_replicas(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let with_tls = self.tells_tls_ports();
        let machine = &self.node()?.machine;
        let replicas = machine.replicas_of(args.get(2))?;
        let lines: Vec<String> =
            replicas.into_iter().map(|replica| machine.node_line(replica, with_tls)).collect();
        let mut reply = caller.reply(&mut self.net);
        reply.array(lines.len());
        for line in lines {
            reply.bulk(line.as_bytes());
        }
        Ok(())
    }

    /// `CLUSTER SLAVES node-id`
    pub(super) fn cluster_slaves(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.cluster_replicas(caller, args)
    }

    /// `CLUSTER KEYSLOT key`
    pub(super) fn cluster_keyslot(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        caller.reply(&mut self.net).integer(i64::from(hash_slot::of_key(args.get(2))));
        Ok(())
    }

    /// `CLUSTER COUNTKEYSINSLOT slot`. O(1).
    pub(super) fn cluster_countkeysinslot(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let number = integer(args.get(2))?;
        let slot = slot_in_range(number).ok_or(Error::new("ERR Invalid slot"))?;
        let count = self.core.keyspace.db(caller.db(&self.net)).keys_in_slot(slot);
        caller.reply(&mut self.net).integer(count as i64);
        Ok(())
    }

    /// `CLUSTER GETKEYSINSLOT slot count`. O(count).
    pub(super) fn cluster_getkeysinslot(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        self.node()?;
        let (number, most) = (integer(args.get(2))?, integer(args.get(3))?);
        let (Some(slot), Ok(most)) = (slot_in_range(number), usize::try_from(most)) else {
            return Err(Error::new("ERR Invalid slot or number of keys"));
        };
        let db = self.core.keyspace.db(caller.db(&self.net));
        let count = db.keys_in_slot(slot).min(most);
        let mut reply = caller.reply(&mut self.net);
        reply.array(count);
        for name in db.slot_keys(slot).take(count) {
            reply.bulk(name);
        }
        Ok(())
    }

    /// `CLUSTER SLOTS`: the ranges of slots, each with its primary and the replicas of that.
    pub(super) fn cluster_slots(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let preferred = self.core.config.cluster_preferred_endpoint_type;
        let tells_tls = self.tells_tls_ports();
        let machine = &self.cluster.as_deref().ok_or(DISABLED)?.machine;
        let ranges = machine.slot_ranges();
        let mut reply = caller.reply(&mut self.net);
        reply.array(ranges.len());
        for (range, index) in ranges {
            let Some(owner) = machine.node(index) else { continue };
            let replicas: Vec<&Node> = owner
                .replicas
                .iter()
                .filter_map(|replica| machine.node(*replica))
                .filter(|replica| !replica.is_failed())
                .collect();
            reply.array(3 + replicas.len());
            reply.integer(i64::from(*range.start()));
            reply.integer(i64::from(*range.end()));
            write_endpoint(&mut reply, owner, preferred, tells_tls);
            for replica in replicas {
                write_endpoint(&mut reply, replica, preferred, tells_tls);
            }
        }
        Ok(())
    }

    /// `CLUSTER SHARDS`: the shards, each with its slots and nodes.
    pub(super) fn cluster_shards(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let offset = self.replication_offset();
        let preferred = self.core.config.cluster_preferred_endpoint_type;
        let machine = &self.cluster.as_deref().ok_or(DISABLED)?.machine;
        let shards = machine.shards();
        let mut reply = caller.reply(&mut self.net);
        reply.array(shards.len());
        for shard in shards {
            let ranges: Vec<_> = shard
                .iter()
                .find(|node| !node.slots.is_empty())
                .map_or(Vec::new(), |node| node.slots.ranges().collect());
            reply.map(2);
            reply.bulk(b"slots");
            reply.array(2 * ranges.len());
            for range in ranges {
                reply.integer(i64::from(*range.start()));
                reply.integer(i64::from(*range.end()));
            }
            reply.bulk(b"nodes");
            reply.array(shard.len());
            for node in shard {
                let own = node.flags.has(Flags::MYSELF);
                write_shard_node(&mut reply, node, preferred, if own { offset } else { node.repl_offset });
            }
        }
        Ok(())
    }

    /// `CLUSTER LINKS`: the connections of the bus.
    pub(super) fn cluster_links(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        let node = self.cluster.as_deref().ok_or(DISABLED)?;
        let links: Vec<_> = node.machine.links().collect();
        let mut reply = caller.reply(&mut self.net);
        reply.array(links.len());
        for link in links {
            let pending = node
                .bus
                .get(link.link.0 as u32)
                .map_or((0, false), |link| (link.unsent_bytes(), link.has_unsent()));
            reply.map(6);
            reply.bulk(b"direction");
            reply.bulk(if link.is_inbound { &b"from"[..] } else { b"to" });
            reply.bulk(b"node");
            reply.bulk(link.node.as_bytes());
            reply.bulk(b"create-time");
            reply.integer(link.created_ms as i64);
            reply.bulk(b"events");
            reply.bulk(if pending.1 { b"rw" } else { b"r" });
            reply.bulk(b"send-buffer-allocated");
            reply.integer(pending.0 as i64);
            reply.bulk(b"send-buffer-used");
            reply.integer(pending.0 as i64);
        }
        Ok(())
    }

    /// `ASKING`: the next request may access a slot that this node imports.
    pub(super) fn asking(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.node()?;
        caller.session(&mut self.net).flags.asking = true;
        caller.reply(&mut self.net).ok();
        Ok(())
    }

    /// `READONLY`: reads the keys of this replica's primary here.
    pub(super) fn readonly(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.set_reads_replica(caller, true)
    }

    /// `READWRITE`: ends `READONLY`.
    pub(super) fn readwrite(&mut self, caller: &mut Caller<'_>, _: Args<'_>) -> Result {
        self.set_reads_replica(caller, false)
    }

    fn set_reads_replica(&mut self, caller: &mut Caller<'_>, on: bool) -> Result {
        self.node()?;
        caller.session(&mut self.net).flags.reads_replica = on;
        caller.reply(&mut self.net).ok();
        Ok(())
    }
}

fn slot_in_range(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// A node in `CLUSTER SLOTS`: where clients reach it, its ID, and its other names.
fn write_endpoint(reply: &mut Reply<'_>, node: &Node, preferred: EndpointType, tells_tls: bool) {
    reply.array(4);
    match preferred {
        EndpointType::Ip => reply.bulk(node.address.ip.as_bytes()),
        EndpointType::Hostname if node.hostname.is_empty() => reply.bulk(b"?"),
        EndpointType::Hostname => reply.bulk(node.hostname.as_bytes()),
        EndpointType::UnknownEndpoint => reply.null(),
    }
    reply.integer(i64::from(node.address.client_port(tells_tls)));
    reply.bulk(node.id.as_bytes());
    let names_ip = preferred != EndpointType::Ip;
    let names_host = preferred != EndpointType::Hostname && !node.hostname.is_empty();
    reply.map(usize::from(names_ip) + usize::from(names_host));
    if names_ip {
        reply.bulk(b"ip");
        reply.bulk(node.address.ip.as_bytes());
    }
    if names_host {
        reply.bulk(b"hostname");
        reply.bulk(node.hostname.as_bytes());
    }
}

/// A node in `CLUSTER SHARDS`.
fn write_shard_node(reply: &mut Reply<'_>, node: &Node, preferred: EndpointType, offset: i64) {
    let names_host = !node.hostname.is_empty();
    let ports = [(&b"port"[..], node.address.port), (b"tls-port", node.address.tls_port)];
    let ports = ports.into_iter().filter(|(_, port)| *port > 0);
    reply.map(6 + ports.clone().count() + usize::from(names_host));
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    for (name, port) in ports {
        reply.bulk(name);
        reply.integer(i64::from(port));
    }
    reply.bulk(b"ip");
    reply.bulk(node.address.ip.as_bytes());
    reply.bulk(b"endpoint");
    match preferred {
        EndpointType::Ip => reply.bulk(node.address.ip.as_bytes()),
        EndpointType::Hostname if node.hostname.is_empty() => reply.bulk(b"?"),
        EndpointType::Hostname => reply.bulk(node.hostname.as_bytes()),
        EndpointType::UnknownEndpoint => reply.bulk(b""),
    }
    if names_host {
        reply.bulk(b"hostname");
        reply.bulk(node.hostname.as_bytes());
    }
    reply.bulk(b"role");
    reply.bulk(if node.is_replica() { b"replica" } else { b"master" });
    reply.bulk(b"replication-offset");
    reply.integer(offset);
    reply.bulk(b"health");
    reply.bulk(if node.is_failed() {
        &b"fail"[..]
    } else if node.is_replica() && offset == 0 {
        b"loading"
    } else {
        b"online"
    });
}
