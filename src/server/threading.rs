//! Clients and I/O threads: whose line is where, and the execution of what the threads have received.
//!
//! The main thread serves a client until it has authenticated, and whenever it does more than send requests and read
//! replies: while it is a replica or the primary, while it debugs a script, and before its connection is closed.
//! Otherwise an I/O thread has its line, if threads are in use. A command that needs the line here waits until it has
//! returned ([`Blocked::Line`]).
//!
//! Requests are executed where the thread has received them. They are kept only if their client has to wait.

use std::ops::Range;

use super::io_thread::{self, Setup};
use super::net::batch::BATCH;
use super::net::client::Client;
use super::net::line::{Figures, Line, Seat};
use super::net::parcel::{Entry, Parcel};
use super::{Ran, Server, lookup};
use crate::command::waiting::Blocked;
use crate::command::{Command, DebugMode, Refusal};
use crate::sys::poller::{Interest, Poller, Source, Token};
use std::os::fd::AsFd;

/// The most parcels that are executed in an iteration.
const MAX_PARCELS: usize = 16;

/// Waiting requests of a client, in bytes, from which the main thread receives for it: it reads no more than it
/// executes.
const MAX_WAITING: usize = 256 * 1024;

/// Unsent output of a client, in bytes, from which the main thread sends it.
const MAX_UNSENT: usize = 1 << 20;

/// Below this share of its time, in percent, the main thread needs no help.
const BUSY: u64 = 60;

/// Below this share of the time of all threads in use, one of them is spared.
const IDLE: u64 = 30;

impl Server {
    /// Executes what the I/O threads have received.
    pub(super) fn serve_parcels(&mut self) {
        self.net.threads.recycle();
        for _ in 0..MAX_PARCELS {
            if self.process.exit {
                return;
            }
            let Some((thread, parcel)) = self.net.threads.next_parcel() else { return };
            self.serve_parcel(thread, parcel);
        }
    }

    fn serve_parcel(&mut self, thread: usize, mut parcel: Box<Parcel>) {
        let mut entries = std::mem::take(&mut parcel.entries);
        let mut prefetched = 0;
        for index in 0..entries.len() {
            if self.process.exit {
                break;
            }
            if let Entry::Requests { token, .. } = entries[index] {
                self.serve_arrival(&parcel, &entries[index..], &mut prefetched);
                self.look_after_line(token);
                if self.has_much_to_write() {
                    self.flush();
                }
            } else {
                let entry = std::mem::replace(&mut entries[index], Entry::Done);
                self.note_entry(thread, entry);
            }
        }
        entries.clear();
        parcel.entries = entries;
        let spent = parcel.take_executed();
        self.parts.spent.extend(spent);
        self.net.threads.give_back(thread, parcel);
    }

    /// Executes the requests of the first of `entries`. Those before `prefetched` have been prefetched.
    fn serve_arrival(&mut self, parcel: &Parcel, entries: &[Entry], prefetched: &mut usize) {
        let Some(Entry::Requests { token, requests, held, bytes }) = entries.first() else { return };
        let (token, (window, blocks)) = (*token, parcel.window(*held));
        self.core.stats.net_input_bytes += *bytes as u64;
        let is_suspended = self.is_suspended(token);
        let Some(client) = self.net.clients.get_mut(token) else { return };
        client.is_served_now();
        client.active_ms = self.core.keyspace.moment.unix_ms;
        if client.session.is_closing() {
            return;
        }
        if client.rest.is_some() || client.resumable || client.session.blocked.is_some() || is_suspended {
            return self.keep_late(token, parcel, requests.clone(), *held);
        }
        self.net.begin_turn(token);
        let in_hand = window.len().max(*bytes);
        self.net.take_in_hand(token, in_hand, parcel.room_beside(in_hand), true);
        let mut at = requests.start;
        let ran = loop {
            if at == requests.end {
                break Ran::All;
            }
            if at >= *prefetched {
                *prefetched = self.prefetch_parcel(parcel, entries, at);
            }
            let end = requests.end.min(*prefetched);
            match self.run_requests(token, &parcel.batch, at..end, window, blocks) {
                Ran::All if end < requests.end && self.net.output.turn_is_over() => break Ran::TurnOver(end),
                Ran::All => at = end,
                Ran::Waiting => {
                    self.keep_waiting(token, parcel, end..requests.end, *held);
                    break Ran::Waiting;
                }
                ran => break ran,
            }
        };
        self.net.put_down();
        self.deliver_post();
        match ran {
            Ran::All | Ran::Waiting => {}
            Ran::Closing => self.net.close_if_silent(token),
            Ran::TurnOver(next) => {
                self.keep_waiting(token, parcel, next..requests.end, *held);
                self.net.schedule(token);
            }
        }
    }

    /// [`Server::keep_waiting`] for requests that arrived while others waited already.
    fn keep_late(&mut self, token: Token, parcel: &Parcel, requests: Range<usize>, held: usize) {
        let bytes = parcel.batch.received_bytes(requests.clone());
        let first = requests.len();
        self.keep_waiting(token, parcel, requests, held);
        if let Some(rest) = self.net.clients.get_mut(token).and_then(|client| client.rest.as_mut()) {
            rest.note_late(rest.batch.requests.len() - first, bytes);
        }
    }

    /// Adds requests to those of a client that wait. If they become many, the client's line is recalled, so that no more
    /// is received.
    fn keep_waiting(&mut self, token: Token, parcel: &Parcel, requests: Range<usize>, held: usize) {
        let (window, blocks) = parcel.window(held);
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let rest = client.rest.get_or_insert_default();
        parcel.batch.add_to(rest, requests, window, blocks);
        if rest.len() > MAX_WAITING {
            self.net.recall(token);
        }
    }

    /// Prefetches the memory that up to [`BATCH`] requests from `from` on need, of all clients. Returns the index of the
    /// first one that was left out.
    fn prefetch_parcel(&self, parcel: &Parcel, entries: &[Entry], from: usize) -> usize {
        let batch = &parcel.batch;
        let to = batch.requests.len().min(from + BATCH);
        let arrivals = || {
            let arrivals = entries.iter().filter_map(|entry| match entry {
                Entry::Requests { token, requests, held, .. } => {
                    Some((*token, requests.start.max(from)..requests.end.min(to), *held))
                }
                _ => None,
            });
            arrivals.take_while(|(_, requests, _)| requests.start < to)
        };
        let keyspace = &self.core.keyspace;
        for (token, requests, _) in arrivals() {
            let db = keyspace.db(self.net.selected_db(token));
            for request in batch.requests[requests].iter().filter(|request| request.hash != 0) {
                db.prefetch_bucket(request.hash);
            }
        }
        for (token, requests, held) in arrivals() {
            let (window, blocks) = parcel.window(held);
            let db = self.net.selected_db(token);
            lookup::prefetch(&batch.requests[requests], &batch.spans, keyspace, db, window, blocks);
        }
        to
    }

    /// Called after a client's turn: gives its line to an I/O thread or recalls it, if that is due.
    #[inline(always)]
    pub(super) fn look_after_line(&mut self, token: Token) {
        self.weigh(token);
        if self.net.threads.exist() {
            self.place_line(token);
        }
    }

    fn place_line(&mut self, token: Token) {
        let waits = self.is_suspended(token) || self.gate.confirms();
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let stays = waits || belongs_here(client);
        match &client.seat {
            Seat::Away(away) if stays && !away.is_recalled => self.net.recall(token),
            Seat::Here(line) if !stays && self.net.threads.active > 0 && is_quiet(client, line) => {
                self.give_away(token);
            }
            _ => {}
        }
    }

    fn give_away(&mut self, token: Token) {
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Seat::Here(line) = &client.seat else { return };
        if let Err(error) = self.net.poller.remove(line.transport.as_fd()) {
            return self.send_failed(token, &error);
        }
        let away = self.net.threads.seat_for(line);
        let thread = away.thread;
        if let Seat::Here(line) = std::mem::replace(&mut client.seat, Seat::Away(Box::new(away))) {
            self.net.threads.take(thread, token, line);
        }
    }

    /// Handles what a thread reports, except requests.
    fn note_entry(&mut self, thread: usize, entry: Entry) {
        match entry {
            Entry::Requests { .. } | Entry::Done => {}
            Entry::Received(token, count) => {
                self.core.stats.net_input_bytes += count as u64;
                if let Some(client) = self.net.clients.get_mut(token) {
                    client.active_ms = self.core.keyspace.moment.unix_ms;
                }
            }
            Entry::Figures(token, figures) => self.note_buffers(token, figures),
            Entry::Ended(token) => {
                if let Some(client) = self.net.clients.get_mut(token) {
                    client.is_left = true;
                }
                self.net.recall(token);
            }
            Entry::Failed(token, error) => self.send_failed(token, &error),
            Entry::Line(token, line) => self.take_back(thread, token, line),
        }
    }

    fn note_buffers(&mut self, token: Token, figures: Option<Box<Figures>>) {
        let now_ms = self.core.keyspace.moment.unix_ms;
        let Some(client) = self.net.clients.get_mut(token) else { return };
        let Some(away) = client.away_mut() else { return };
        let before = away.figures();
        away.figures = figures;
        let now = away.figures();
        if now.unsent < before.unsent {
            client.active_ms = now_ms;
        }
        if now.unsent > MAX_UNSENT {
            // Its memory is counted exactly here: values that it shares with other clients.
            self.net.recall(token);
        }
        if now.unparsed as u64 > self.core.config.client_query_buffer_limit {
            return self.close_for_query_limit(token);
        }
        if now.unsent != before.unsent {
            self.check_output_limit(token);
        }
        self.weigh(token);
    }

    /// The main thread serves the client again.
    fn take_back(&mut self, thread: usize, token: Token, mut line: Line) {
        self.net.threads.returned(thread);
        let Some(client) = self.net.clients.get_mut(token) else { return line.transport.end() };
        if let Some(written) = client.away_mut().and_then(|away| away.pending.take()) {
            match &mut line.pending {
                Some(pending) => pending.append(*written),
                pending => *pending = Some(written),
            }
        }
        let interest = Interest { read: !client.session.is_closing(), write: line.is_sendable() };
        let added = self.net.poller.add(line.transport.as_fd(), Source::Client(token), interest);
        let has_more = line.transport.has_more();
        let has_requests = line.query.as_ref().is_some_and(|query| query.filling.is_none());
        client.seat = Seat::Here(line);
        if let Err(error) = added {
            return self.send_failed(token, &error);
        }
        let client = self.net.clients.get_mut(token).expect("it was found");
        let waited = client.session.blocked.take_if(|reason| *reason == Blocked::Line).is_some();
        if waited || has_requests && client.rest.is_none() && client.session.blocked.is_none() {
            self.net.schedule(token);
        }
        if has_more {
            self.net.note_buffering(token);
        }
        if self.net.session(token).is_closing() {
            self.net.close_if_silent(token);
        }
        self.weigh(token);
    }

    /// Whether a request has to wait until its client's line is here. If so, blocks the client.
    pub(super) fn waits_for_line(&mut self, token: Token, found: Result<&'static Command, Refusal>) -> bool {
        let Some(client) = self.net.clients.get_mut(token) else { return false };
        let Seat::Away(away) = &mut client.seat else { return false };
        let needs = found.is_ok_and(|command| matches!(command.name, "psync" | "sync"))
            || client.session.flags.debugging != DebugMode::No;
        if needs {
            client.session.blocked = Some(Blocked::Line);
            self.net.threads.recall(token, away);
        }
        needs
    }

    /// Starts or ends I/O threads, as configured.
    pub(super) fn set_up_threads(&mut self) {
        let wanted = self.core.config.io_threads as usize - 1;
        let threads = &mut self.net.threads;
        while threads.all.len() < wanted {
            let setup = Setup {
                names: self.core.names,
                hasher: *self.core.keyspace.hasher(),
                max_bulk: self.core.config.proto_max_bulk_len as usize,
                main: threads.bell.clone(),
            };
            match io_thread::start(threads.all.len(), setup) {
                Ok(thread) => threads.add(thread),
                Err(error) => {
                    let count = threads.all.len() + 1;
                    self.process.log.warning(format_args!(
                        "Can't start an I/O thread: {error}; continuing with io-threads {count}"
                    ));
                    break;
                }
            }
        }
        threads.limit_arguments(self.core.config.proto_max_bulk_len as usize);
        threads.wanted = wanted.min(threads.all.len());
        let threads = &self.net.threads;
        if self.core.config.io_threads_always_active || threads.active > threads.wanted {
            self.use_threads(threads.wanted);
        }
    }

    /// Uses the first `count` threads. Recalls the lines of the others.
    fn use_threads(&mut self, count: usize) {
        self.net.threads.active = count;
        self.recall_lines(|thread, _| thread >= count);
    }

    /// Recalls the lines that `wanted` selects by their thread and the index among all lines that are away.
    fn recall_lines(&mut self, mut wanted: impl FnMut(usize, usize) -> bool) {
        let away = self.net.clients.iter().filter_map(|(token, client)| Some((token, client.away()?.thread)));
        let tokens: Vec<Token> = away
            .enumerate()
            .filter(|(index, (_, thread))| wanted(*thread, *index))
            .map(|(_, (token, _))| token)
            .collect();
        for token in tokens {
            self.net.recall(token);
        }
    }

    /// Called by cron: takes threads into use as the load requires, and evens out their lines.
    pub(super) fn plan_threads(&mut self, now_us: u64) {
        let elapsed_us = now_us - std::mem::replace(&mut self.net.threads.planned_us, now_us);
        let wanted = self.net.threads.wanted;
        self.net.threads.end_idle(wanted);
        let busy_ticks = self.net.threads.take_busy_ticks();
        let own_ticks = self.core.stats.cycles.take_ticks();
        let active = self.net.threads.active;
        if self.core.config.io_threads_always_active {
            return self.balance_lines();
        }
        if wanted == 0 || elapsed_us == 0 {
            return;
        }
        let percent = |ticks| self.core.stats.tick_rate().to_ns(ticks) / 10 / elapsed_us;
        let (own, busy) = (percent(own_ticks), percent(busy_ticks));
        let is_crowded = self.net.clients.len() > 1;
        let next = if active == 0 && own >= BUSY && is_crowded {
            1
        } else if active > 0 && active < wanted && busy >= BUSY * active as u64 {
            active + 1
        } else if active > 0 && own + busy < IDLE * active as u64 {
            active - 1
        } else {
            active
        };
        if next != active {
            self.use_threads(next);
        }
        self.balance_lines();
    }

    /// Recalls some lines of the thread that has most, if that is many more than another has: the thread with the fewest
    /// gets them.
    fn balance_lines(&mut self) {
        let threads = &self.net.threads;
        let counts = threads.all[..threads.active].iter().map(|thread| thread.lines);
        let (Some(least), Some(most)) = (counts.clone().min(), counts.clone().max()) else { return };
        if most <= least + 1 + least / 4 {
            return;
        }
        let from = counts.clone().position(|count| count == most).unwrap_or(0);
        let mut surplus = (most - least) / 2;
        self.recall_lines(|thread, _| {
            let moves = thread == from && surplus > 0;
            surplus -= usize::from(moves);
            moves
        });
    }
}

/// Whether the main thread has to serve a client itself.
fn belongs_here(client: &Client) -> bool {
    let session = &client.session;
    client.is_left
        || !session.rights.authenticated
        || session.is_closing()
        || session.flags.replica
        || session.flags.primary
        || session.flags.debugging != DebugMode::No
}

/// Whether a line can be given away: nothing of it waits for anything.
fn is_quiet(client: &Client, line: &Line) -> bool {
    let waits =
        client.doomed || client.resumable || client.rest.is_some() || client.session.blocked.is_some();
    !waits && line.pending.is_none() && !line.transport.is_handshaking() && !line.transport.has_unsent()
}
