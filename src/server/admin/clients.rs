//! `CLIENT INFO`, `LIST` and `KILL`: lists and closes connections.

use std::collections::HashMap;
use std::fmt::Write;

use super::tracking::redirection;
use crate::command::acl::{UserId, Users};
use crate::command::error::{Error, Result, SYNTAX};
use crate::command::{Args, table};
use crate::resp::Protocol;
use crate::server::Server;
use crate::server::audience::trackers::Tracking;
use crate::server::invoke::Caller;
use crate::server::net::client::Client;
use crate::sys::net::Address;
use crate::sys::poller::Token;
use crate::text::number;
use crate::text::words::shown;

/// The `TYPE` of a connection, which determines its output limits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl Class {
    /// The class of a connection. A monitor counts as normal.
    fn of(client: &Client) -> Class {
        let flags = client.session.flags;
        match () {
            () if flags.primary => Class::Master,
            () if flags.replica => Class::Replica,
            () if flags.subscribed => Class::Pubsub,
            () => Class::Normal,
        }
    }

    fn parse(name: &[u8]) -> Result<Class, Error> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Class::Normal),
            b"master" => Ok(Class::Master),
            b"slave" | b"replica" => Ok(Class::Replica),
            b"pubsub" => Ok(Class::Pubsub),
            _ => Err(Error::concat(&[b"ERR Unknown client type '", shown(name), b"'"])),
        }
    }
}

/// The connections that a `CLIENT LIST` or `CLIENT KILL` selects.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    class: Option<Class>,
    user: Option<UserId>,
    skip: Option<Token>,
}

impl Filter<'_> {
    fn accepts(&self, token: Token, client: &Client) -> bool {
        !client.session.flags.close_now
            && self.skip != Some(token)
            && self.class.is_none_or(|class| Class::of(client) == class)
            && self
                .user
                .is_none_or(|user| !client.session.flags.primary && client.session.rights.user == user)
            && self.id.is_none_or(|id| client.session.id == id)
            && self.addr.is_none_or(|addr| client.peer().to_string().as_bytes() == addr)
            && self.laddr.is_none_or(|addr| client.local().to_string().as_bytes() == addr)
    }
}

/// Values in a client's line that the client itself does not store.
#[derive(Clone, Copy, Default)]
struct Beside {
    /// Bytes of the arguments of the request that it is executing.
    arguments: usize,
    /// Bytes of replies not yet passed to its socket.
    unsent: usize,
    /// Free bytes of the shared reply buffer; 0 except for the client being served.
    room: usize,
}

impl Server {
    /// Returns a client's line, as `CLIENT LIST` prints it.
    pub(in crate::server) fn describe_client(&self, token: Token) -> String {
        self.describe_client_beside(token, Beside::default())
    }

    /// [`Server::describe_client`] with the values in `beside`, to which this adds the unsent replies.
    fn describe_client_beside(&self, token: Token, mut beside: Beside) -> String {
        let own = self.net.output.unsent().filter(|(client, _)| *client == token);
        beside.unsent += own.map(|(_, bytes)| bytes).sum::<usize>();
        let mut line = String::new();
        if let Some(client) = self.net.clients.get(token) {
            self.describe(token, client, beside, &mut line);
        }
        line
    }

    fn describe(&self, token: Token, client: &Client, beside: Beside, line: &mut String) {
        let session = &client.session;
        let now = self.core.keyspace.moment.unix_ms;
        let seconds = |since: i64| (now - since).max(0) / 1000;
        let in_hand = self.net.in_hand(token);
        let qbuf = client.unparsed_len() + in_hand.bytes;
        let argv = client.argument_bytes() + beside.arguments;
        let qbuf_free = client.query_room().unwrap_or(in_hand.room);
        let (queue_bytes, queue_len) = client.unsent();
        let subscriptions = self.audience.subscribers.counts(token);
        let transaction = client.transaction.as_ref().filter(|_| session.flags.transaction);
        let queued = transaction.map_or(-1, |transaction| transaction.len() as i64);
        let watched = self.audience.watchers.count(token);
        let filled = transaction.filter(|transaction| transaction.len() > 0);
        let queued_bytes = filled.map_or(0, |transaction| transaction.memory_bytes());
        let tracking = self.audience.trackers.get(token);
        let redirection = tracking.map_or(-1, redirection);
        // Arguments in the query buffer use no memory of their own.
        let memory = self.memory_of_client(token, client)
            + in_hand.own_room()
            + in_hand.bytes.max(beside.arguments)
            + beside.unsent;
        let names = session.names.as_deref();
        let text = |pick: fn(&crate::command::Names) -> &Vec<u8>| {
            names.map_or(String::new(), |n| String::from_utf8_lossy(pick(n)).into_owned())
        };
        let command = session.last_command.map_or("NULL", |id| table::all()[usize::from(id)].full_name);
        let user = if session.flags.primary {
            "(superuser)".into()
        } else {
            String::from_utf8_lossy(&self.core.users.get(session.rights.user).name)
        };
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
             multi={queued} watch={watched} qbuf={qbuf} qbuf-free={qbuf_free} argv-mem={argv} \
             multi-mem={queued_bytes} rbs={} rbp={} obl={} oll={queue_len} omem={queue_bytes} tot-mem={memory} \
             events={} cmd={command} user={user} redir={redirection} resp={} lib-name={} lib-ver={}",
            session.id,
            client.peer(),
            client.local(),
            client.fd(),
            text(|n| &n.name),
            seconds(client.created_ms),
            seconds(client.active_ms),
            flags(client, tracking, self.audience.watchers.is_touched(token)),
            session.db,
            subscriptions.channels,
            subscriptions.patterns,
            subscriptions.shards,
            beside.unsent + beside.room,
            client.reply_peak.bytes(),
            beside.unsent,
            if queue_bytes > 0 { "rw" } else { "r" },
            if session.protocol == Protocol::Resp3 { 3 } else { 2 },
            text(|n| &n.lib_name),
            text(|n| &n.lib_version),
        );
    }

    /// The values in the line of the client that executes the command, without its unsent replies.
    fn beside_asking(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Beside {
        // Inside `EXEC`, the queued requests count as its arguments.
        let in_transaction = caller.session(&mut self.net).flags.transaction;
        let arguments = if in_transaction { "exec".len() } else { args.iter_from(0).map(<[u8]>::len).sum() };
        Beside { arguments, unsent: 0, room: self.net.output.room() }
    }

    /// `CLIENT INFO`: the line of this connection.
    pub(super) fn client_info(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let beside = self.beside_asking(caller, args);
        let line = self.describe_client_beside(token, beside) + "\n";
        caller.reply(&mut self.net).verbatim(*b"txt", line.as_bytes());
        Ok(())
    }

    /// `CLIENT LIST [TYPE type] [ID id …]`: one line per client.
    pub(super) fn client_list(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let (mut filter, mut ids) = (Filter::default(), None);
        if args.len() == 4 && args.is(2, "type") {
            filter.class = Some(Class::parse(args.get(3))?);
        } else if args.len() > 3 && args.is(2, "id") {
            let parse = |arg| number::parse_i64(arg).map(|id| id as u64);
            let parsed: Option<Vec<u64>> = args.iter_from(3).map(parse).collect();
            ids = Some(parsed.ok_or(Error::new("ERR Invalid client ID"))?);
        } else if args.len() != 2 {
            return Err(SYNTAX);
        }
        let mut beside: HashMap<Token, Beside> = HashMap::from([(token, self.beside_asking(caller, args))]);
        for (client, bytes) in self.net.output.unsent() {
            beside.entry(client).or_default().unsent += bytes;
        }
        let mut clients: Vec<_> = self.net.clients.iter().filter(|(t, c)| filter.accepts(*t, c)).collect();
        clients.sort_by_key(|(_, client)| client.session.id);
        if let Some(ids) = &ids {
            // In the order of the IDs, each as often as it is given.
            let known = |id: &u64| clients.binary_search_by_key(id, |(_, client)| client.session.id).ok();
            clients = ids.iter().filter_map(known).map(|at| clients[at]).collect();
        }
        let (mut lines, bound) = (String::new(), self.output_bound(token));
        for (listed, client) in clients {
            if self.net.output.written() + lines.len() > bound {
                break;
            }
            let beside = beside.get(&listed).copied().unwrap_or_default();
            self.describe(listed, client, beside, &mut lines);
            lines.push('\n');
        }
        caller.reply(&mut self.net).verbatim(*b"txt", lines.as_bytes());
        self.end_beyond(token, bound);
        Ok(())
    }

    /// `CLIENT KILL addr`: `OK` or an error. `CLIENT KILL filter value …`: the number of closed connections.
    pub(super) fn client_kill(&mut self, caller: &mut Caller<'_>, args: Args<'_>) -> Result {
        let token = caller.client()?;
        let old_style = args.len() == 3;
        let filter = if old_style {
            Filter { addr: Some(args.get(2)), ..Filter::default() }
        } else {
            parse_kill(token, args, &self.core.users)?
        };
        let victims: Vec<Token> =
            self.net.clients.iter().filter(|(t, c)| filter.accepts(*t, c)).map(|(t, _)| t).collect();
        let killed = victims.len();
        for victim in victims {
            if victim == token {
                caller.session(&mut self.net).flags.close_after_reply = true;
            } else if !self.postpones_close(victim) {
                // Close it at once: from here on it must take no element and not count as a subscriber.
                self.close(victim);
            }
        }
        let mut reply = caller.reply(&mut self.net);
        match (old_style, killed) {
            (true, 0) => return Err(Error::new("ERR No such client")),
            (true, _) => reply.ok(),
            (false, _) => reply.integer(killed as i64),
        }
        Ok(())
    }
}

fn parse_kill<'a>(own: Token, args: Args<'a>, users: &Users) -> Result<Filter<'a>, Error> {
    let mut filter = Filter { skip: Some(own), ..Filter::default() };
    let mut i = 2;
    while i < args.len() {
        if i + 1 >= args.len() {
            return Err(SYNTAX);
        }
        let value = args.get(i + 1);
        match args.get(i).to_ascii_lowercase().as_slice() {
            b"id" => match number::parse_i64(value) {
                Some(id) if id > 0 => filter.id = Some(id as u64),
                _ => return Err(Error::new("ERR client-id should be greater than 0")),
            },
            b"type" => filter.class = Some(Class::parse(value)?),
            b"addr" => filter.addr = Some(value),
            b"laddr" => filter.laddr = Some(value),
            b"user" => {
                let user = users.find(value);
                let error = || Error::concat(&[b"ERR No such user '", shown(value), b"'"]);
                filter.user = Some(user.ok_or_else(error)?);
            }
            b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip = Some(own),
            b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip = None,
            _ => return Err(SYNTAX),
        }
        i += 2;
    }
    Ok(filter)
}

fn flags(client: &Client, tracking: Option<&Tracking>, touched: bool) -> String {
    let session = &client.session.flags;
    let mut flags = String::new();
    let letters = [
        (session.replica, 'S'),
        (session.primary, 'M'),
        (session.monitor, 'O'),
        (session.subscribed, 'P'),
        (session.transaction, 'x'),
        (client.session.blocked.is_some(), 'b'),
        (tracking.is_some(), 't'),
        (tracking.is_some_and(|tracking| tracking.broken), 'R'),
        (tracking.is_some_and(|tracking| tracking.options.broadcast), 'B'),
        (touched, 'd'),
        (session.close_after_reply, 'c'),
        (session.close_now, 'A'),
        (matches!(client.local(), Address::Unix(_)), 'U'),
        (session.reads_replica, 'r'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    flags.extend(letters.iter().filter(|(on, _)| *on).map(|(_, letter)| *letter));
    if flags.is_empty() {
        flags.push('N');
    }
    flags
}
