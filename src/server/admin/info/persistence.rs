//! `INFO persistence`: the AOF, snapshots, the current child, and loading.

use std::fmt::Write;
use std::time::Duration;

use crate::server::Server;
use crate::server::persistence::job::Work;
use crate::server::persistence::log::State;

pub(super) fn persistence(server: &Server, out: &mut String) {
    let kept = &server.persistence;
    let job = kept.job.as_ref();
    let (copied, peak, age) =
        job.map_or((0, 0, Duration::ZERO), crate::server::persistence::job::Job::copied);
    let (keys, done) = job.map_or((0, 0), |job| (job.keys, job.keys_done()));
    fields!(out,
        "loading": u8::from(server.loading.is_active() && !server.loading.is_async()),
        "async_loading": u8::from(server.loading.is_async()),
        "current_cow_peak": peak,
        "current_cow_size": copied,
        "current_cow_size_age": age.as_secs(),
        "current_fork_perc": format_args!("{:.2}", done as f64 / keys.max(1) as f64 * 100.0),
        "current_save_keys_processed": done,
        "current_save_keys_total": keys,
        "rdb_changes_since_last_save": server.core.keyspace.counters.dirty,
        "rdb_bgsave_in_progress": u8::from(kept.is_at(Work::Snapshot) || kept.is_at(Work::Transfer)),
        "rdb_last_save_time": kept.snapshots.last_save,
        "rdb_last_bgsave_status": status(kept.snapshots.succeeded),
        "rdb_last_bgsave_time_sec": seconds(kept.snapshots.last_duration),
        "rdb_current_bgsave_time_sec": current_seconds(server, &[Work::Snapshot, Work::Transfer]),
        "rdb_saves": kept.snapshots.saves,
        "rdb_last_cow_size": kept.snapshots.last_cow_bytes,
        "rdb_last_load_keys_expired": kept.snapshots.expired_keys,
        "rdb_last_load_keys_loaded": kept.snapshots.loaded_keys,
        "aof_enabled": u8::from(kept.log.state() != State::Off),
        "aof_rewrite_in_progress": u8::from(kept.is_at(Work::Rewrite)),
        "aof_rewrite_scheduled": u8::from(kept.rewrites.scheduled),
        "aof_last_rewrite_time_sec": seconds(kept.rewrites.last_duration),
        "aof_current_rewrite_time_sec": current_seconds(server, &[Work::Rewrite]),
        "aof_last_bgrewrite_status": status(kept.rewrites.succeeded),
        "aof_rewrites": kept.rewrites.begun,
        "aof_rewrites_consecutive_failures": kept.rewrites.failures,
        "aof_last_write_status": status(kept.log.error().is_none()),
        "aof_last_cow_size": kept.rewrites.last_cow_bytes,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    );
    if kept.log.state() != State::Off {
        fields!(out,
            "aof_current_size": kept.log.bytes(),
            "aof_base_size": kept.rewrites.base_size,
            "aof_pending_rewrite": u8::from(kept.rewrites.scheduled),
            "aof_buffer_length": kept.log.unwritten(server.core.keyspace.journal.stream()),
            "aof_pending_bio_fsync": kept.log.pending_syncs(),
            "aof_delayed_fsync": kept.log.delayed_syncs,
        );
    }
    if let Some(loading) = server.loading.between_slices() {
        fields!(out,
            "loading_start_time": loading.began_at,
            "loading_total_bytes": loading.total_bytes,
            "loading_rdb_used_mem": loading.used_memory,
            "loading_loaded_bytes": loading.loaded_bytes(),
            "loading_loaded_perc": format_args!("{:.2}", loading.percent()),
            "loading_eta_seconds": loading.seconds_left(),
        );
    }
}

fn status(succeeded: bool) -> &'static str {
    if succeeded { "ok" } else { "err" }
}

/// Seconds; -1 if it has not happened.
fn seconds(duration: Option<Duration>) -> i64 {
    duration.map_or(-1, |duration| duration.as_secs() as i64)
}

/// How long a child has been doing `work`, in seconds; -1 if none does.
fn current_seconds(server: &Server, works: &[Work]) -> i64 {
    let job = server.persistence.job.as_ref().filter(|job| works.contains(&job.work));
    seconds(job.map(crate::server::persistence::job::Job::duration))
}
