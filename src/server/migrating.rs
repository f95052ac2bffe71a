//! `MIGRATE` in the loop: keys are sent to another server, and deleted here when that has them.
//!
//! ```text
//!   MIGRATE ─▶ writes stop ─▶ RESTORE … ─▶ target          (the loop goes on: reads are served)
//!                             replies  ◀──
//!              delete what the target has ─▶ one DEL in the stream ─▶ writes go on ─▶ reply
//! ```
//!
//! Redis executes nothing until the target has replied, so nothing can change a key between its `RESTORE` there and its
//! `DEL` here. Here the loop goes on, and only writes wait, as by `CLIENT PAUSE WRITE`: an acknowledged write to a key that
//! is being deleted would be lost. Nothing expires and nothing is evicted in that time. With `COPY` nothing is deleted, and
//! writes need not wait.
//!
//! A migration does not need its client: if that disconnects, keys that the target has are deleted all the same. It ends
//! without deleting anything when this server begins to follow a primary or shuts down.
//!
//! Within a transaction or a script, and on a replica, where the stream of the primary cannot wait, the loop stops until the
//! migration has ended, as in Redis.

use std::net::ToSocketAddrs;
use std::os::fd::AsFd;

use super::Server;
use super::audience::waiters::{End as WaitEnd, EndedWait};
use super::replication::migrations::{Connection, Flight, Request};
use crate::command::Error;
use crate::command::waiting::Blocked;
use crate::db::{Access, Removal, Word};
use crate::persist::rdb::payload;
use crate::replication::migrate::{End, Exchange, Failure, Lost, Requests, Verdict};
use crate::sys::clock;
use crate::sys::poller::{Poller, Source, Token};
use crate::tls::Channel;

fn now_ms() -> u64 {
    clock::monotonic_us() / 1000
}

impl Server {
    /// Begins a migration: takes a connection that is kept, or begins to connect. Returns `None` if that fails at once.
    fn begin_flight(&mut self, mut request: Request) -> Option<Flight> {
        let kept = self.replication.migrations.take(&request.host, &request.port);
        let is_connected = kept.is_some();
        let connection = match kept {
            Some(connection) => connection,
            None => Connection { channel: self.connect_target(&request)?, db: None },
        };
        let requests = self.encode(&mut request, connection.db);
        Some(Flight {
            number: self.replication.migrations.next_number(),
            client: None,
            began: clock::ticks(),
            exchange: Exchange::new(requests, is_connected, request.timeout_ms, now_ms()),
            request,
            connection,
            may_retry: true,
            ended: None,
        })
    }

    /// The requests for the target. Keys that have expired since they were found are left out.
    fn encode(&self, request: &mut Request, selected: Option<i64>) -> Requests {
        let mut requests = Requests::default();
        if let Some((user, password)) = &request.auth {
            requests.auth(user.as_deref(), password);
        }
        if selected != Some(request.target_db) {
            requests.select(request.target_db);
        }
        let (keyspace, replaces) = (&self.core.keyspace, request.replaces);
        let (compress, asks) = (self.core.config.rdbcompression, self.cluster.is_some());
        request.keys.retain(|name| {
            let Some(entry) = keyspace.peek(keyspace.key(request.db, name)) else { return false };
            let ttl_ms = entry.expire_at().map_or(0, |time| (time - keyspace.moment.unix_ms).max(1));
            requests.restore(name, ttl_ms, &payload::dump(&entry, compress), replaces, asks);
            true
        });
        requests
    }

    /// Lets a flight work as far as its socket permits. A lost connection is made again if that is allowed. Returns the end
    /// of the flight.
    fn drive_flight(&self, flight: &mut Flight) -> Option<End> {
        match flight.drive(now_ms()) {
            Ok(()) => flight.exchange.is_complete().then(|| flight.exchange.end()),
            Err(why) => self.flight_lost(flight, why),
        }
    }

    /// The connection of a flight is lost. Returns the end of the flight, unless it is tried again.
    fn flight_lost(&self, flight: &mut Flight, why: Lost) -> Option<End> {
        match flight.exchange.lost(why, flight.may_retry) {
            Verdict::End(end) => Some(end),
            Verdict::Retry => {
                flight.may_retry = false;
                let Some(channel) = self.connect_target(&flight.request) else {
                    return Some(End {
                        restored: Vec::new(),
                        failure: Some(Failure::Connecting),
                        reusable: false,
                    });
                };
                flight.connection = Connection { channel, db: None };
                let requests = self.encode(&mut flight.request, None);
                flight.exchange = Exchange::new(requests, false, flight.request.timeout_ms, now_ms());
                None
            }
        }
    }

    /// Migrates while everything else waits.
    pub(super) fn migrate_at_once(&mut self, request: Request) -> Result<(), Error> {
        let mut flight = self.begin_flight(request).ok_or_else(|| error_of(&Failure::Connecting))?;
        let end = loop {
            let end = match self.drive_flight(&mut flight) {
                None if !flight.wait(now_ms()) => self.flight_lost(&mut flight, Lost::TimedOut),
                end => end,
            };
            if let Some(end) = end {
                break end;
            }
        };
        self.delete_migrated(&flight.request, &end);
        self.keep_connection(flight, &end);
        end.failure.map_or(Ok(()), |failure| Err(error_of(&failure)))
    }

    /// Migrates for a client that waits until the end.
    ///
    /// # Errors
    /// There is no connection.
    pub(super) fn migrate_for(&mut self, token: Token, request: Request) -> Result<(), Error> {
        let mut flight = self.begin_flight(request).ok_or_else(|| error_of(&Failure::Connecting))?;
        flight.client = Some(token);
        let watched = self.net.poller.add(
            flight.connection.channel.as_fd(),
            Source::Migration(flight.number),
            flight.interest(),
        );
        watched.map_err(|_| error_of(&Failure::Connecting))?;
        if !flight.request.copies {
            self.audience.hold_writes();
            self.refresh_gate();
        }
        self.net.session(token).blocked = Some(Blocked::Migration);
        self.replication.migrations.flights.push(flight);
        Ok(())
    }

    /// The target of a migration takes bytes or has sent some.
    pub(super) fn on_migration_event(&mut self, number: u32) {
        let Some(index) = self.replication.migrations.find(number) else { return };
        if self.replication.migrations.flights[index].ended.is_some() {
            return;
        }
        self.go_on_migrating(index, Server::drive_flight);
    }

    /// Ends the migrations whose target has done nothing for too long, and those that could not end so far.
    pub(super) fn look_after_flights(&mut self) {
        if self.replication.migrations.flights.is_empty() {
            return;
        }
        while let Some(index) = self.replication.migrations.next_overdue(now_ms()) {
            self.go_on_migrating(index, |server, flight| server.flight_lost(flight, Lost::TimedOut));
        }
        while self.may_end_flights()
            && let Some(index) = self.replication.migrations.next_ended()
        {
            let mut flight = self.replication.migrations.flights.swap_remove(index);
            if let Some(end) = flight.ended.take() {
                self.end_flight(flight, &end);
            }
        }
    }

    /// Lets the flight at `index` do `step`, which may replace its connection or end it.
    fn go_on_migrating(&mut self, index: usize, step: impl FnOnce(&Server, &mut Flight) -> Option<End>) {
        let mut flight = self.replication.migrations.flights.swap_remove(index);
        let _ = self.net.poller.remove(flight.connection.channel.as_fd());
        let mut end = step(self, &mut flight);
        if end.is_none() {
            let socket = flight.connection.channel.as_fd();
            let source = Source::Migration(flight.number);
            if self.net.poller.add(socket, source, flight.interest()).is_err() {
                flight.may_retry = false;
                end = self.flight_lost(&mut flight, Lost::Closed);
            }
        }
        match end {
            Some(end) if self.may_end_flights() => self.end_flight(flight, &end),
            end => {
                flight.ended = end;
                self.replication.migrations.flights.push(flight);
            }
        }
    }

    /// Whether keys may be deleted now: no script is suspended, nothing is loaded, and clients are not paused.
    fn may_end_flights(&self) -> bool {
        !self.is_busy() && !self.loading.is_active() && !self.audience.pause().is_asked_for()
    }

    /// Deletes the keys that the target has, lets writes go on, and replies to the client.
    fn end_flight(&mut self, flight: Flight, end: &End) {
        let client = flight.client.filter(|token| self.net.clients.get(*token).is_some());
        self.delete_migrated(&flight.request, end);
        self.settle_between_requests(client);
        self.release_flight(&flight);
        if let Some(token) = client {
            let how = match &end.failure {
                None => WaitEnd::Done,
                Some(failure) => WaitEnd::Failed(error_of(failure)),
            };
            self.end_wait_for_migration(token, how, flight.began);
        }
        self.keep_connection(flight, end);
    }

    fn end_wait_for_migration(&mut self, token: Token, end: WaitEnd, began: u64) {
        self.net.session(token).blocked = None;
        let ticks = clock::ticks().wrapping_sub(began);
        self.audience.ended_waits.push(EndedWait { token, end, ticks });
        self.net.schedule_unblocked(token);
    }

    /// Writes that waited for this migration go on, unless they wait for another.
    fn release_flight(&mut self, flight: &Flight) {
        if !flight.request.copies {
            let waiting = self.audience.release_writes();
            self.resume_paused(waiting);
        }
    }

    /// Ends all migrations and deletes nothing: this server becomes a replica.
    pub(super) fn abort_flights(&mut self, error: &Error) {
        for flight in std::mem::take(&mut self.replication.migrations.flights) {
            let _ = self.net.poller.remove(flight.connection.channel.as_fd());
            self.release_flight(&flight);
            if let Some(token) = flight.client {
                self.end_wait_for_migration(token, WaitEnd::Failed(error.clone()), flight.began);
            }
        }
    }

    /// The client of a migration is gone.
    pub(super) fn forget_migrating(&mut self, token: Token) {
        for flight in &mut self.replication.migrations.flights {
            flight.client = flight.client.filter(|client| *client != token);
        }
    }

    /// Deletes the keys that the target has, and propagates that as one `DEL`.
    fn delete_migrated(&mut self, request: &Request, end: &End) {
        if request.copies || end.restored.is_empty() {
            return;
        }
        let keyspace = &mut self.core.keyspace;
        let names = || end.restored.iter().map(|index| &request.keys[*index][..]);
        for name in names() {
            let key = keyspace.key(request.db, name);
            if let Some(at) = keyspace.find(key, Access::Inspect) {
                keyspace.remove(key, at, Removal::Del);
            }
        }
        let words = std::iter::once(&b"DEL"[..]).chain(names()).map(Word::Bytes);
        keyspace.journal.propagate_words(request.db, words);
    }

    /// Begins to connect to the first address that does not refuse at once. A name is looked up while all others wait, as in
    /// Redis.
    fn connect_target(&self, request: &Request) -> Option<Channel> {
        let host = std::str::from_utf8(&request.host).ok()?;
        // A number followed by something else is that number, and no number is 0, as in Redis.
        let digits = request.port.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let port = match std::str::from_utf8(&request.port[..digits]).ok()? {
            "" => 0,
            digits => digits.parse::<u16>().ok()?,
        };
        let socket =
            (host, port).to_socket_addrs().ok()?.find_map(|address| self.connect_to(&address).ok())?;
        let _ = socket.set_nodelay(true);
        self.outgoing_channel(socket, self.core.config.tls_cluster).ok()
    }

    /// Keeps the connection for the next migration to the same target.
    fn keep_connection(&mut self, flight: Flight, end: &End) {
        let Flight { request, mut connection, .. } = flight;
        if end.reusable {
            // After an error nobody knows whether `SELECT` has worked.
            connection.db = end.failure.is_none().then_some(request.target_db);
            let now_s = self.core.keyspace.moment.unix_ms / 1000;
            self.replication.migrations.keep(&request, connection, now_s);
        }
    }
}

fn error_of(failure: &Failure) -> Error {
    failure.text().into()
}
