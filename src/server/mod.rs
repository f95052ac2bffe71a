//! The event loop, which connects all parts of the server.
//!
//! ```text
//! loop:  wait ─▶ accept new clients ─▶ for each ready client: send what waited, receive, parse, execute
//!             ─▶ go on with clients whose turn had ended ─▶ cron when due ─▶ flush the replies, close the doomed
//! ```
//!
//! One thread executes everything, so a command never sees another one's unfinished work. With `io-threads`, others
//! receive, parse and send (`threading`, `io_thread`). [`Server`] is the whole state; the receive buffers, whose slices
//! are the requests, are outside it in `Io`, so that a request can be read while the state changes.

mod accept;
pub mod admin;
mod admit;
mod announce;
mod apply;
mod attention;
mod audience;
mod blocked;
mod busy;
mod client_memory;
mod cluster;
mod clustering;
mod confirming;
mod core;
mod cron;
mod debugging;
mod defrag;
mod durability;
mod encryption;
mod eviction;
mod execute;
mod failover;
mod feeding;
mod flush;
mod follow;
mod gate;
mod input;
mod intake;
mod invalidate;
mod invoke;
mod io_thread;
mod loading;
mod lookup;
mod metrics;
mod migrating;
mod net;
mod parts;
mod persistence;
mod process;
mod receiving;
mod redirect;
mod replication;
mod rights;
mod saving;
mod scripting;
mod scripts;
mod settle;
mod startup;
mod stopping;
mod syncing;
pub mod system;
mod threading;
mod transactions;
mod web;

pub use crate::command::REDIS_VERSION;
pub use admin::mem_allocator;
pub use startup::{StartError, start};

use apply::Applying;
use audience::Audience;
use busy::Suspended;
use clustering::Clustered;
use core::Core;
use core::used_memory;
use cron::Cron;
use debugging::Debugging;
use defrag::Defrag;
use encryption::Encryption;
use gate::Gate;
use input::Ran;
use intake::Intake;
use loading::LoadState;
use metrics::history::History;
use net::Net;
use net::batch::Batch;
use net::ledger::Ledger;
use parts::Parts;
use persistence::Persistence;
use process::Process;
use replication::Replication;
use scripts::Scripts;
use scripts::libraries::Libraries;
use stopping::Stopping;
use web::Web;

use crate::sys::poller::{Event, Poller, Source, Token};
use crate::sys::{clock, crash, signal};

/// Iterations with parcels of I/O threads in which the main thread's own sockets are not looked at.
const POSTPONED_POLLS: u32 = 8;

/// The buffers of the loop.
struct Io {
    intake: Intake,
    batch: Batch,
}

/// The state of the server.
pub struct Server {
    core: Core,
    net: Net,
    audience: Audience,
    persistence: Persistence,
    replication: Replication,
    /// This node of a cluster, in cluster mode.
    cluster: Option<Box<Clustered>>,
    applying: Applying,
    libraries: Libraries,
    process: Process,
    cron: Cron,
    defrag: Defrag,
    scripts: Scripts,
    /// The connections of the metrics endpoint.
    web: Web,
    /// The figures of the last minutes, while the metrics endpoint is enabled.
    history: Option<Box<History>>,
    /// The certificates and settings of TLS.
    encryption: Encryption,
    /// Sessions of the Lua debugger.
    debugging: Debugging,
    /// A suspended slow script, between two slices.
    suspended: Option<Box<Suspended>>,
    /// The data set while it is being loaded.
    loading: LoadState,
    /// The effect of the server's modes on requests, expired keys and the journal.
    gate: Gate,
    /// A shutdown that waits for replicas.
    stopping: Option<Box<Stopping>>,
    /// Clients whose next command waits until eviction has freed memory.
    waiting_for_memory: Vec<Token>,
    /// Whether several sockets were ready in this iteration.
    is_crowded: bool,
    /// Work of single clients that is spread over several iterations.
    parts: Parts,
    /// When a failing disk of the AOF was last logged.
    log_complained_us: Option<u64>,
}

impl Server {
    /// Serves until shutdown.
    pub fn run(&mut self) {
        let mut io = Io { intake: Intake::new(), batch: Batch::default() };
        self.core.startup_memory = used_memory();
        loop {
            let ready = self.wait();
            self.is_crowded = ready > 1;
            self.core.read_clock();
            self.core.stats.cycles.begin(clock::ticks(), self.core.stats.commands);
            if self.audience.pause().is_over(self.core.clock.monotonic_us()) && !self.is_busy() {
                self.end_pause();
            }
            self.end_overdue_waits();
            self.end_waits_for_sync();
            self.look_after_flights();
            self.go_on_evicting();
            for index in 0..ready {
                if self.process.exit {
                    break;
                }
                let event = self.net.poller.event(index);
                match event.source {
                    Source::Client(token) => self.on_client_event(&mut io, token, event),
                    Source::Listener(index) => self.accept(index as usize),
                    Source::WebListener(index) => self.accept_web(index as usize),
                    Source::Web(number) => self.on_web_event(number, event),
                    Source::Transfer => self.on_transfer(),
                    Source::Upstream => self.on_upstream_event(event),
                    Source::Migration(number) => self.on_migration_event(number),
                    Source::BusListener(index) => self.accept_bus(index as usize),
                    Source::Bus(number) => self.on_bus_event(number, event),
                }
            }
            if self.net.threads.exist() {
                self.serve_parcels();
            }
            self.serve_buffering(&mut io);
            for token in self.net.take_scheduled() {
                if self.process.exit {
                    break;
                }
                self.resume(&mut io, token);
                self.after_encrypted(token);
                self.look_after_line(token);
                if self.has_much_to_write() {
                    self.flush();
                }
            }
            if self.process.exit {
                // The data has been saved: nothing may change it now.
                return self.flush();
            }
            crash::now_serving_nobody();
            if self.cron.is_due(self.core.clock.monotonic_us()) {
                self.run_cron();
            }
            if signal::child_has_ended() {
                self.look_after_children();
            }
            if self.loads_now() {
                self.load_slice();
            }
            if self.is_busy() {
                self.continue_script();
            } else if self.cron.is_expiring() {
                self.expire_slice();
                self.settle_own();
            }
            if self.defrag.has_work() {
                self.defragment_slice();
            }
            if self.cron.is_reclaiming() {
                self.cron.reclaim_slice();
            }
            self.do_parts();
            self.end_waits_for_freeing();
            self.reply_to_ended_waits();
            self.resume_unblocked(&mut io);
            self.core.stats.note_memory(used_memory());
            self.advance_failover();
            self.advance_shutdown();
            self.settle_cluster();
            self.flush();
            if signal::shutdown_signals() > 0 && !self.cron.paused {
                self.shut_down_by_signal();
            }
            if self.process.exit {
                return;
            }
            self.check_gate();
            self.core.stats.cycles.end(clock::ticks(), self.core.stats.commands);
        }
    }

    /// Handles a client whose socket is writable or readable.
    #[inline]
    fn on_client_event(&mut self, io: &mut Io, token: Token, event: Event) {
        if event.writable {
            self.on_writable(token);
        }
        if event.readable || event.closed {
            self.on_readable(io, token, event.closed);
        }
        self.after_encrypted(token);
        self.look_after_line(token);
        if self.has_much_to_write() {
            self.flush();
        }
    }

    /// Continues with clients whose wait has ended in this iteration: executes the requests they sent meanwhile, before
    /// their replies and messages are sent. These requests may end further waits.
    fn resume_unblocked(&mut self, io: &mut Io) {
        while self.net.has_unblocked() && !self.process.exit {
            for token in self.net.take_unblocked() {
                self.resume(io, token);
                self.after_encrypted(token);
                self.look_after_line(token);
                if self.has_much_to_write() {
                    self.flush();
                }
            }
            crash::now_serving_nobody();
            self.reply_to_ended_waits();
        }
    }

    /// Whether the loop should write replies or the AOF, or close clients, before the iteration ends.
    fn has_much_to_write(&self) -> bool {
        self.net.output.is_large()
            || self.persistence.log.has_much_to_append(self.core.keyspace.journal.stream())
            || self.net.ledger.as_ref().is_some_and(Ledger::is_over)
    }

    /// Whether the next iteration has work without an event.
    fn has_work(&self) -> bool {
        self.net.has_scheduled()
            || self.net.has_buffering()
            || self.upstream_is_buffering()
            || !self.audience.ended_waits.is_empty()
            || self.cron.is_expiring()
            || self.cron.is_reclaiming()
            || self.defrag.has_work()
            || self.loads_now()
            || self.is_busy()
            || self.has_parts()
            || self.core.limit.is_evicting() && self.core.keyspace.lazy().pending() == 0
    }

    /// How long to wait for events, in milliseconds: until cron is due, a blocked client times out, or a pause ends.
    fn timeout_ms(&self) -> u32 {
        if self.has_work() {
            return 0;
        }
        let now_us = self.core.clock.monotonic_us();
        let until_cron = self.cron.milliseconds_left(now_us);
        // The background thread is still freeing evicted values.
        let until_cron = if self.core.limit.is_evicting() { 1 } else { until_cron };
        let until_deadline = self.audience.waiters.milliseconds_left(now_us, until_cron);
        let until_deadline = self.audience.acknowledgements.milliseconds_left(now_us, until_deadline);
        let until_deadline = self.replication.migrations.milliseconds_left(now_us / 1000, until_deadline);
        let until_deadline = self.stopping.as_ref().map_or(until_deadline, |stopping| {
            u32::try_from(stopping.milliseconds_left(now_us))
                .map_or(until_deadline, |left| left.min(until_deadline))
        });
        let ack_timeout_ms = self.core.config.min_replicas_ack_timeout;
        let until_deadline =
            self.replication.confirmation.milliseconds_left(now_us, ack_timeout_ms, until_deadline);
        self.audience.pause().milliseconds_left(now_us, until_deadline)
    }

    /// Waits for events. Feeds the replicas what was postponed before it sleeps.
    fn wait(&mut self) -> usize {
        if self.replication.unfed_since_us.is_some() {
            let ready = self.poll(0);
            if ready > 0 {
                return ready;
            }
            self.feed_postponed();
            if self.net.has_doomed() {
                return 0;
            }
        }
        self.poll(self.timeout_ms())
    }

    fn poll(&mut self, timeout_ms: u32) -> usize {
        if self.net.threads.exist() {
            return self.poll_beside_threads(timeout_ms);
        }
        self.poll_sockets(timeout_ms)
    }

    /// [`Server::poll`] that a thread with a parcel ends. While parcels wait, the sockets of the main thread's own clients are
    /// looked at now and then only.
    fn poll_beside_threads(&mut self, timeout_ms: u32) -> usize {
        let threads = &mut self.net.threads;
        if threads.has_parcels() {
            threads.postponed_polls += 1;
            if threads.postponed_polls < POSTPONED_POLLS {
                return 0;
            }
            threads.postponed_polls = 0;
            return self.poll_sockets(0);
        }
        threads.postponed_polls = 0;
        threads.bell.begin_polling();
        let timeout_ms = if threads.has_parcels() { 0 } else { timeout_ms };
        let timeout_ms = if threads.is_congested() { timeout_ms.min(1) } else { timeout_ms };
        let ready = self.poll_sockets(timeout_ms);
        self.net.threads.bell.end_polling();
        ready
    }

    fn poll_sockets(&mut self, timeout_ms: u32) -> usize {
        match self.net.poller.wait(Some(timeout_ms)) {
            Ok(ready) => ready,
            Err(error) => {
                // No client can make the wait fail; continuing without events keeps cron running.
                self.process.log.warning(format_args!("Waiting for events: {error}"));
                0
            }
        }
    }
}
