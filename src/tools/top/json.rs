//! One line of JSON with all figures, under stable names.

use super::state::State;
use crate::text::json::Writer;

/// Formats the latest figures and a newline; empty until there are rates.
pub fn line(state: &State, now_ms: u64) -> String {
    let (Some(poll), Some(rates)) = (&state.poll, &state.rates) else { return String::new() };
    let mut writer = Writer::default();
    writer.braces(|object| {
        object.whole("time_ms", now_ms);
        object.text("address", &state.place);
        object.real("interval_s", rates.seconds);
        object.flag("restarted", rates.restarted);
        object.flag("reset", rates.reset);
        server(object, state);
        object.real("commands_per_s", rates.ops);
        object.real("usec_per_call", rates.usec_per_call);
        object.real("hit_percent", rates.hit_percent);
        object.real("cpu_percent", rates.cpu_percent);
        object.real("input_bytes_per_s", rates.input_bytes);
        object.real("output_bytes_per_s", rates.output_bytes);
        object.real("connections_per_s", rates.connections);
        object.real("expired_per_s", rates.expired);
        object.real("evicted_per_s", rates.evicted);
        object.real("errors_per_s", rates.errors);
        object.real("info_ms", poll.waited.as_secs_f64() * 1000.0);
        now(object, state);
        object.object("commands", |all| {
            for (name, rate) in &rates.commands {
                all.object(name, |one| {
                    one.real("calls_per_s", rate.calls);
                    one.real("cpu_percent", rate.busy_percent);
                    one.real("usec_per_call", rate.usec_per_call);
                    one.real("errors_per_s", rate.errors);
                    one.whole("calls", rate.total);
                });
            }
        });
        object.object("errors", |all| {
            for (kind, &count) in &poll.sample.errors {
                all.whole(kind, count);
            }
        });
    });
    writer.out + "\n"
}

fn server(object: &mut Writer, state: &State) {
    let Some(poll) = &state.poll else { return };
    let (server, replication) = (&poll.sample.server, &poll.sample.replication);
    object.object("server", |one| {
        one.text("name", &server.name);
        one.text("version", &server.version);
        one.text("mode", &server.mode);
        one.text("role", &replication.role);
        one.whole("uptime_s", server.uptime_s);
        one.whole("replicas", replication.replicas);
    });
}

/// Writes the current figures, as opposed to rates.
fn now(object: &mut Writer, state: &State) {
    let Some(poll) = &state.poll else { return };
    let sample = &poll.sample;
    object.object("memory", |one| {
        one.whole("used", sample.memory.used);
        one.whole("peak", sample.memory.peak);
        one.whole("rss", sample.memory.rss);
        one.whole("limit", sample.memory.limit);
        one.real("fragmentation", sample.memory.fragmentation);
    });
    object.object("clients", |one| {
        one.whole("connected", sample.clients.connected);
        one.whole("limit", sample.clients.limit);
        one.whole("blocked", sample.clients.blocked);
        one.whole("tracking", sample.clients.tracking);
    });
    object.object("persistence", |one| {
        let persistence = &sample.persistence;
        one.whole("changes", persistence.changes);
        one.whole("snapshot_age_s", persistence.last_save_age_s);
        one.flag("snapshot_ok", persistence.last_save_ok);
        one.flag("saving", persistence.saving_s.is_some());
        let aof = persistence.aof.as_ref();
        one.whole("aof_bytes", aof.map(|aof| aof.size));
        one.flag("aof_ok", aof.is_none_or(|aof| aof.last_write_ok && aof.last_rewrite_ok));
        one.flag("rewriting", aof.is_some_and(|aof| aof.rewriting_s.is_some()));
    });
    object.object("databases", |all| {
        for database in &sample.databases {
            all.object(&database.number.to_string(), |one| {
                one.whole("keys", database.keys);
                one.whole("expires", database.expires);
                one.whole("average_ttl_ms", database.average_ttl_ms);
            });
        }
    });
}
