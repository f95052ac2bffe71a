//! `/metrics`: the figures of `INFO`, then the families with several members: databases, commands, errors, events.

use super::exposition::{Exposition, Kind};
use super::facts;
use crate::command::table;
use crate::config::Percentiles;
use crate::server::admin::ReplicaFigures;
use crate::server::core::stats::{CommandStats, Histogram, STEPS};
use crate::server::{REDIS_VERSION, Server, admin};
use crate::sys::process;

/// Databases that are reported even when empty; databases with keys always are.
const ALWAYS_SHOWN: usize = 16;

/// The longest error code that has its own sample.
const MAX_CODE: usize = 32;

/// The largest text of `INFO`, about: it is never written into a smaller buffer.
const INFO_BYTES: usize = 8 << 10;

impl Server {
    /// Appends all metrics.
    pub(super) fn write_metrics(&self, body: &mut Vec<u8>) {
        let mut out = Exposition::new(body);
        out.single("redis_up", Kind::Gauge, "Whether the server is there to be asked.", 1);
        self.write_instance(&mut out);
        let mut info = String::with_capacity(INFO_BYTES);
        admin::write_figures(self, &mut info);
        facts::write(&mut out, &info);
        self.write_replication(&mut out);
        self.write_databases(&mut out);
        self.write_commands(&mut out);
        self.write_latencies(&mut out);
        self.write_errors(&mut out);
        self.write_slow_events(&mut out);
        let config = &self.core.config;
        for (name, help, value) in [
            ("redis_config_maxclients", "The directive maxclients.", u64::from(config.maxclients)),
            ("redis_config_maxmemory", "The directive maxmemory; 0 is no limit.", config.maxmemory),
            ("redis_config_io_threads", "The directive io-threads.", u64::from(config.io_threads)),
            ("redstart_web_connections", "Connections to the metrics port.", self.web.len() as u64),
        ] {
            out.single(name, Kind::Gauge, help, value);
        }
        let help = "Requests to the metrics port.";
        out.single("redstart_web_requests_total", Kind::Counter, help, self.web.requests);
    }

    fn write_instance(&self, out: &mut Exposition<'_>) {
        let name = "redis_instance_info";
        out.family(name, Kind::Gauge, "What the server is, in its labels.");
        let (pid, port) = (std::process::id().to_string(), self.core.config.first_port().to_string());
        let id = self.replication.history.id();
        let labels: &[(&str, &str)] = &[
            ("role", if self.replication.upstream.is_some() { "slave" } else { "master" }),
            ("redis_version", REDIS_VERSION),
            ("redstart_version", env!("CARGO_PKG_VERSION")),
            ("redis_build_id", "0"),
            ("redis_mode", self.mode_name()),
            ("os", &process::system_name()),
            ("maxmemory_policy", self.core.config.maxmemory_policy.name()),
            ("tcp_port", &port),
            ("run_id", &self.core.run_id),
            ("process_id", &pid),
            ("master_replid", id.as_str()),
            ("mem_allocator", admin::mem_allocator()),
        ];
        out.labelled(name, "", labels, 1);
        let started = (self.process.started_ms / 1000).max(0) as u64;
        out.single(
            "redis_start_time_seconds",
            Kind::Gauge,
            "When the server started, as Unix time.",
            started,
        );
    }

    /// Writes the address of the primary, and the position of each replica. Replicas that do not tell their port can have
    /// the same labels: of these, only the one that is farthest behind is reported.
    fn write_replication(&self, out: &mut Exposition<'_>) {
        if let Some(upstream) = &self.replication.upstream {
            let port = upstream.port.to_string();
            let read_only = if self.core.config.replica_read_only { "1" } else { "0" };
            let name = "redis_slave_info";
            out.family(name, Kind::Gauge, "The primary of a replica, in its labels.");
            let labels =
                [("master_host", &*upstream.host), ("master_port", &port), ("slave_read_only", read_only)];
            out.labelled(name, "", &labels, 1);
        }
        let mut replicas = ReplicaFigures::all(self);
        if replicas.is_empty() {
            return;
        }
        replicas.sort_by(|a, b| {
            (&a.address, a.port, a.state, a.offset).cmp(&(&b.address, b.port, b.state, b.offset))
        });
        replicas.dedup_by(|next, kept| {
            (&next.address, next.port, next.state) == (&kept.address, kept.port, kept.state)
        });
        for (name, help, value) in [
            (
                "redis_connected_slave_offset_bytes",
                "The offset up to which a replica has acknowledged the stream.",
                (|it| it.offset) as fn(&ReplicaFigures) -> i64,
            ),
            ("redis_connected_slave_lag_seconds", "Seconds since a replica's last acknowledgement.", |it| {
                it.lag_s
            }),
        ] {
            out.family(name, Kind::Gauge, help);
            for replica in &replicas {
                let port = replica.port.to_string();
                let labels =
                    [("slave_ip", &*replica.address), ("slave_port", &port), ("slave_state", replica.state)];
                out.labelled(name, "", &labels, value(replica).max(0) as u64);
            }
        }
    }

    fn write_databases(&self, out: &mut Exposition<'_>) {
        let keyspace = &self.core.keyspace;
        let shown = || {
            let all = (0..keyspace.count()).map(|index| (index, keyspace.db(index)));
            all.filter(|(index, db)| *index < ALWAYS_SHOWN || !db.is_empty())
                .map(|(index, db)| (format!("db{index}"), db))
        };
        let name = "redis_db_keys";
        out.family(name, Kind::Gauge, "Keys of a database.");
        shown().for_each(|(label, db)| out.labelled(name, "", &[("db", &label)], db.len() as u64));
        let name = "redis_db_keys_expiring";
        out.family(name, Kind::Gauge, "Keys of a database that have an expiry.");
        shown().for_each(|(label, db)| out.labelled(name, "", &[("db", &label)], db.expires().len() as u64));
        let name = "redis_db_avg_ttl_seconds";
        out.family(name, Kind::Gauge, "The mean time that keys with an expiry have left.");
        for (label, db) in shown().filter(|(_, db)| !db.is_empty()) {
            let ttl_us = db.expires().average_ttl_ms().max(0) as u64 * 1000;
            out.labelled_micros(name, &[("db", &label)], ttl_us);
        }
    }

    /// The commands that were called or refused, with their rows.
    fn used_commands(&self) -> impl Iterator<Item = (&'static str, &CommandStats)> {
        let rows = table::all().iter().zip(self.core.stats.per_command());
        rows.filter(|(_, row)| row.calls > 0 || row.rejected > 0 || row.failed > 0)
            .map(|(command, row)| (command.full_name, row))
    }

    fn write_commands(&self, out: &mut Exposition<'_>) {
        let rate = self.core.stats.tick_rate();
        let name = "redis_commands_total";
        out.family(name, Kind::Counter, "Executions of a command.");
        self.used_commands().for_each(|(cmd, row)| out.labelled(name, "", &[("cmd", cmd)], row.calls));
        let name = "redis_commands_duration_seconds_total";
        out.family(name, Kind::Counter, "Time spent in a command.");
        for (cmd, row) in self.used_commands() {
            out.labelled_micros(name, &[("cmd", cmd)], row.microseconds(rate));
        }
        let name = "redis_commands_rejected_calls_total";
        out.family(name, Kind::Counter, "Calls of a command refused before its execution.");
        self.used_commands().for_each(|(cmd, row)| out.labelled(name, "", &[("cmd", cmd)], row.rejected));
        let name = "redis_commands_failed_calls_total";
        out.family(name, Kind::Counter, "Executions of a command that replied with an error.");
        self.used_commands().for_each(|(cmd, row)| out.labelled(name, "", &[("cmd", cmd)], row.failed));
    }

    /// Writes the latency of each command, as the percentiles of `INFO latencystats` and as the steps of `LATENCY
    /// HISTOGRAM`. All steps are written, even those without additional calls: otherwise the histograms of several
    /// commands could not be added.
    /// several commands could not be added.
    fn write_latencies(&self, out: &mut Exposition<'_>) {
        let rate = self.core.stats.tick_rate();
        let measured =
            || self.used_commands().filter_map(|(cmd, row)| Some((cmd, row, row.latency.as_ref()?)));
        let name = "redis_latency_percentiles_usec";
        out.family(name, Kind::Summary, "Percentiles of a command's latency, in microseconds.");
        let percents = &self.core.config.latency_tracking_info_percentiles;
        let names: Vec<String> = percents.iter().map(|percent| Percentiles::name(*percent)).collect();
        for (cmd, row, latency) in measured() {
            for (percent, quantile) in percents.iter().zip(&names) {
                out.begin_labelled(name, "", &[("cmd", cmd), ("quantile", quantile)]);
                // Nanoseconds, as microseconds.
                out.push_decimal(latency.percentile(*percent), 3);
                out.end_sample();
            }
            out.labelled(name, "_sum", &[("cmd", cmd)], row.microseconds(rate));
            out.labelled(name, "_count", &[("cmd", cmd)], latency.count());
        }
        let name = "redis_commands_latencies_usec";
        out.family(name, Kind::Histogram, "The distribution of a command's latency, in microseconds.");
        // The last step is for all that took longer than the one before.
        let mut bounds = Histogram::step_micros().map(|micros| micros.to_string());
        bounds[STEPS - 1] = "+Inf".into();
        for (cmd, row, latency) in measured() {
            let steps = latency.steps();
            for (bound, calls) in bounds.iter().zip(steps) {
                out.labelled(name, "_bucket", &[("cmd", cmd), ("le", bound)], calls);
            }
            out.labelled(name, "_sum", &[("cmd", cmd)], row.microseconds(rate));
            out.labelled(name, "_count", &[("cmd", cmd)], steps[STEPS - 1]);
        }
    }

    fn write_errors(&self, out: &mut Exposition<'_>) {
        let name = "redis_errors_total";
        out.family(name, Kind::Counter, "Replies that were errors, by their code.");
        let mut others = 0;
        for (code, count) in self.core.stats.errors() {
            match shown_code(code) {
                Some(code) => out.labelled(name, "", &[("err", code)], count),
                None => others += count,
            }
        }
        if others > 0 {
            out.labelled(name, "", &[("err", "other")], others);
        }
    }

    fn write_slow_events(&self, out: &mut Exposition<'_>) {
        let slow = &self.core.slowlog;
        out.single("redis_slowlog_length", Kind::Gauge, "Entries of the slow log.", slow.len() as u64);
        let last = slow.total().saturating_sub(1);
        out.single("redis_slowlog_last_id", Kind::Counter, "The number of its latest entry.", last);
        let name = "redis_last_slow_execution_duration_seconds";
        out.family(name, Kind::Gauge, "How long the latest slow command took.");
        out.begin_sample(name, "");
        out.push_micros(slow.iter().next().map_or(0, |command| command.micros));
        out.end_sample();
        let events =
            || self.core.latency.iter().filter_map(|(event, series)| Some((event, series.latest()?)));
        if events().next().is_none() {
            return;
        }
        let name = "redis_latency_spike_last";
        out.family(name, Kind::Gauge, "When an event of the latency monitor was last slow, as Unix time.");
        events().for_each(|(event, sample)| {
            out.labelled(name, "", &[("event_name", event)], sample.unix_seconds);
        });
        let name = "redis_latency_spike_duration_seconds";
        out.family(name, Kind::Gauge, "How long that took.");
        events().for_each(|(event, sample)| {
            out.labelled_micros(name, &[("event_name", event)], sample.milliseconds * 1000);
        });
    }
}

/// Returns an error code as a label. A script can create any code: text that does not look like a code is not reported,
/// since it may be data, and two such texts might look alike.
pub(super) fn shown_code(code: &[u8]) -> Option<&str> {
    let is_plain = !code.is_empty() && code.len() <= MAX_CODE && code.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(code).ok().filter(|_| is_plain && code != b"other")
}
