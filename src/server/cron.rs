//! Tasks that run `hz` times a second: expiry, rehashing, idle clients, samples of the rates.

use super::Server;
use super::core::used_memory;
use super::encryption::HANDSHAKE_MS;
use crate::alloc;
use crate::db::CycleBudget;
use crate::sys::clock;

/// The schedule of cron, and its state between runs.
pub struct Cron {
    next_us: u64,
    hz: u32,
    client_cursor: usize,
    last_sample_us: u64,
    /// Microseconds that expiry may still use until the next run, and those that the current cycle has used.
    expire_credit_us: u64,
    expire_took_us: u64,
    /// Whether slabs with blocks freed by the background thread wait to be reclaimed.
    reclaiming: bool,
    /// The longest query buffer and the largest output queue seen in each of the last seconds.
    buffers: [(usize, usize); BUFFER_SECONDS],
    /// Runs do nothing (`DEBUG PAUSE-CRON`).
    pub paused: bool,
    /// Whether the active expire cycle runs (`DEBUG SET-ACTIVE-EXPIRE`).
    pub expires: bool,
    /// Milliseconds after which the peak of a client's replies is reset; `None`: never (`DEBUG REPLYBUFFER
    /// PEAK-RESET-TIME`).
    pub peak_period_ms: Option<u32>,
    /// Runs since the start.
    pub runs: u64,
}

/// `dynamic-hz` raises the frequency with each such number of clients.
const CLIENTS_PER_RUN: usize = 200;

const MAX_HZ: u32 = 500;

/// Slabs with blocks freed by the background thread that one event loop iteration reclaims.
const RECLAIM_SLABS: usize = 64;

/// Microseconds of expiry in one iteration of the loop.
const EXPIRE_SLICE_US: u64 = 300;

/// The number of seconds for which the largest client buffers are remembered.
const BUFFER_SECONDS: usize = 8;

/// Milliseconds for which the peak of a client's replies is kept.
pub const PEAK_PERIOD_MS: u32 = 5000;

/// Seconds between two log lines with the numbers of keys and clients.
const CENSUS_SECONDS: u32 = 5;

impl Cron {
    /// The first run is due at once.
    pub fn new(hz: u32) -> Self {
        Cron {
            next_us: 0,
            hz,
            client_cursor: 0,
            last_sample_us: 0,
            expire_credit_us: 0,
            expire_took_us: 0,
            reclaiming: false,
            buffers: [(0, 0); BUFFER_SECONDS],
            paused: false,
            expires: true,
            peak_period_ms: Some(PEAK_PERIOD_MS),
            runs: 0,
        }
    }

    /// Runs per second at present.
    pub fn hz(&self) -> u32 {
        self.hz
    }

    /// The longest query buffer and the largest output queue of any client in the last seconds, in bytes.
    pub fn largest_buffers(&self) -> (usize, usize) {
        self.buffers.iter().fold((0, 0), |(query, output), slot| (query.max(slot.0), output.max(slot.1)))
    }

    /// Whether slabs wait to be reclaimed between requests.
    pub fn is_reclaiming(&self) -> bool {
        self.reclaiming
    }

    /// Whether keys wait to be expired between requests.
    pub fn is_expiring(&self) -> bool {
        self.expire_credit_us > 0
    }

    /// Milliseconds until the next run, rounded up.
    pub fn milliseconds_left(&self, now_us: u64) -> u32 {
        self.next_us.saturating_sub(now_us).div_ceil(1000) as u32
    }

    /// Whether a run is due.
    pub fn is_due(&self, now_us: u64) -> bool {
        now_us >= self.next_us
    }

    /// Reclaims a slice of the slabs with blocks freed by the background thread.
    pub fn reclaim_slice(&mut self) {
        self.reclaiming = alloc::collect(RECLAIM_SLABS);
    }
}

impl Server {
    pub(super) fn run_cron(&mut self) {
        self.core.clock.synchronize();
        self.process.tell_alive();
        let now_us = self.core.clock.monotonic_us();
        self.cron.hz = self.wanted_hz();
        self.cron.next_us = now_us + 1_000_000 / u64::from(self.cron.hz);
        self.end_shortage();
        if self.cron.paused {
            return;
        }
        self.cron.runs += 1;
        if self.net.threads.exist() {
            self.plan_threads(now_us);
        }
        self.end_expire_cycle();
        self.cron.expire_credit_us = if self.cron.expires
            && (self.replication.upstream.is_none() || !self.core.keyspace.own_expiries.is_empty())
            && !self.loading.is_active()
            && !self.is_busy()
        {
            self.expire_budget().time_us
        } else {
            0
        };
        let budget_us = 10_000 / u64::from(self.cron.hz);
        if !self.is_busy() {
            self.core.keyspace.housekeep(self.core.config.activerehashing, budget_us, clock::monotonic_us);
        }
        self.plan_defragmentation(now_us);
        self.cron.reclaiming = true;
        if self.cron.runs.is_multiple_of(u64::from(self.cron.hz)) {
            self.core.give_back_memory();
            self.net.output.rest();
            self.net.threads.rest();
            self.renew_encryption();
        }
        self.look_after_log();
        self.look_after_children();
        self.look_after_replicas();
        self.look_after_upstream();
        self.tick_cluster();
        self.replication.migrations.close_idle(self.core.keyspace.moment.unix_ms / 1000);
        self.check_clients();
        self.look_after_web(now_us);
        self.look_after_trackers();
        if now_us - self.cron.last_sample_us >= 100_000 {
            self.cron.last_sample_us = now_us;
            self.core.sample(now_us);
        }
        if self.cron.runs.is_multiple_of(u64::from(CENSUS_SECONDS * self.cron.hz)) {
            self.log_census();
        }
        self.core.stats.cycles.cron_us += clock::monotonic_us() - now_us;
    }

    /// Logs the number of keys at `verbose`, and of clients at `debug`.
    fn log_census(&self) {
        for index in 0..self.core.keyspace.count() {
            let db = self.core.keyspace.db(index);
            if !db.is_empty() {
                let (keys, expiring) = (db.len(), db.expires().len());
                self.process.log.verbose(format_args!("DB {index}: {keys} keys ({expiring} volatile)"));
            }
        }
        let clients = self.net.clients.len();
        self.process.log.debug(format_args!("{clients} clients connected, {} bytes in use", used_memory()));
    }

    fn wanted_hz(&self) -> u32 {
        let mut hz = self.core.config.hz;
        while self.core.config.dynamic_hz
            && self.net.clients.len() / hz as usize > CLIENTS_PER_RUN
            && hz < MAX_HZ
        {
            hz = (hz * 2).min(MAX_HZ);
        }
        hz.max(1)
    }

    fn expire_budget(&self) -> CycleBudget {
        CycleBudget::new(self.core.config.active_expire_effort, self.cron.hz)
    }

    /// Deletes expired keys for one slice of the time granted to expiry. Even when a million keys expire at once, a
    /// request waits for one slice at most.
    pub(super) fn expire_slice(&mut self) {
        let time_us = self.cron.expire_credit_us.min(EXPIRE_SLICE_US);
        let budget = CycleBudget { time_us, ..self.expire_budget() };
        let end = self.core.keyspace.active_expire_cycle(budget, clock::monotonic_us);
        self.cron.expire_credit_us =
            if end.cut_short { self.cron.expire_credit_us.saturating_sub(end.elapsed_us.max(1)) } else { 0 };
        if end.cut_short && self.cron.expire_credit_us == 0 {
            self.core.keyspace.counters.expire_cycles_cut_short += 1;
        }
        self.cron.expire_took_us += end.elapsed_us;
        if self.cron.expire_credit_us == 0 {
            self.end_expire_cycle();
        }
    }

    /// Ends an expire cycle, and records the time of all its slices as the latency event `expire-cycle`. Clients were served
    /// between the slices.
    fn end_expire_cycle(&mut self) {
        let took_us = std::mem::take(&mut self.cron.expire_took_us);
        self.core.note_latency("expire-cycle", took_us);
    }

    /// Checks a share of the clients, so that each is checked about once a second.
    fn check_clients(&mut self) {
        let now = self.core.keyspace.moment.unix_ms;
        let timeout_ms = i64::from(self.core.config.timeout) * 1000;
        let count = (self.net.clients.len() / self.cron.hz as usize).max(5);
        let mut cursor = self.cron.client_cursor;
        let (mut idle, mut late) = (Vec::new(), Vec::new());
        let mut queued = Vec::new();
        let (mut met, is_limited) = (Vec::new(), self.net.ledger.is_some());
        let second = (now / 1000) as usize;
        // Each slot is cleared a second before it is used again.
        self.cron.buffers[(second + 1) % BUFFER_SECONDS] = (0, 0);
        let (query, output) = &mut self.cron.buffers[second % BUFFER_SECONDS];
        let peak_period_ms = self.cron.peak_period_ms;
        self.net.clients.visit_some(&mut cursor, count, |token, client| {
            if let Some(period_ms) = peak_period_ms {
                client.reply_peak.reset_after(period_ms, now);
            }
            let flags = client.session.flags;
            let may_idle = flags.monitor
                || flags.replica
                || flags.primary
                || client.session.blocked.is_some()
                || flags.subscribed;
            if timeout_ms > 0 && now - client.active_ms > timeout_ms && !may_idle {
                idle.push(token);
            }
            if client.line().is_some_and(|line| line.transport.is_handshaking())
                && now - client.created_ms > HANDSHAKE_MS
            {
                late.push(token);
            }
            *query = (*query).max(client.unexecuted_len());
            if is_limited {
                met.push(token);
            }
            let (unsent, _) = client.unsent();
            if unsent > 0 {
                *output = (*output).max(unsent);
                queued.push(token);
            }
        });
        self.cron.client_cursor = cursor;
        for token in idle {
            self.process.log.verbose(format_args!("Closing idle client"));
            self.net.doom(token);
        }
        for token in late {
            self.handshake_failed(token, &std::io::ErrorKind::TimedOut.into());
        }
        for token in queued {
            self.check_output_limit(token);
        }
        for token in met {
            self.weigh_exactly(token);
        }
    }
}
