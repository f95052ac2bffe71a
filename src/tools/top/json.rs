//! One line of JSON with all figures, under stable names.

use super::replication::Replication;
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
        one.whole("replicas", replication.connected);
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
    object.object("replication", |one| replication(one, &sample.replication));
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

/// Writes the links to the primary and to the replicas. The confirmation is there while `min-replicas-to-ack` is set.
fn replication(one: &mut Writer, replication: &Replication) {
    one.whole("offset", replication.offset);
    one.whole("good_replicas", replication.good);
    if let Some(state) = &replication.failover {
        one.text("failover", state);
    }
    if let Some(upstream) = &replication.upstream {
        one.object("primary", |one| {
            one.text("address", &upstream.address);
            one.flag("link_up", upstream.link_up);
            one.whole("silent_s", upstream.silent_s);
            one.whole("down_s", upstream.down_s);
            one.whole("unapplied_bytes", upstream.unapplied);
            one.flag("synchronizing", upstream.transfer.is_some());
            let transfer = upstream.transfer.as_ref();
            one.whole("sync_bytes", transfer.map(|transfer| transfer.read));
            one.whole("sync_total_bytes", transfer.and_then(|transfer| transfer.total));
        });
    }
    if let Some(confirmation) = &replication.confirmation {
        one.object("confirmation", |one| {
            one.whole("offset", confirmation.offset);
            one.whole("withheld_replies", confirmation.withheld);
            one.whole("dropped_replies", confirmation.dropped);
        });
    }
    one.array("replicas", &replication.replicas, |writer, replica| {
        writer.braces(|one| {
            one.text("address", &replica.address);
            one.text("state", &replica.state);
            one.whole("offset", replica.offset);
            one.whole("behind_bytes", replica.behind);
            one.whole("lag_s", replica.lag_s);
        });
    });
}
