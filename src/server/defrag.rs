//! When and how much to defragment: `activedefrag` and its thresholds, interpreted as in Redis.
//!
//! Once a second cron checks the fragmentation, `allocator_frag_ratio` of `INFO`. Above `active-defrag-threshold-lower`
//! percent and `active-defrag-ignore-bytes`, defragmentation runs with a share of the processor that rises from
//! `active-defrag-cycle-min` percent at that threshold to `active-defrag-cycle-max` at `active-defrag-threshold-upper`.
//! The share does not fall before the cycle is over. Each run of cron grants the time until the next one. This time is
//! spent in slices between requests, so no client waits for more than a slice. Defragmentation stops while a child
//! shares the memory, while data is loaded, and while a script is suspended.

use super::Server;
use super::core::used_memory;
use crate::alloc;
use crate::db::DefragEnd;
use crate::sys::{clock, memory};

/// Microseconds of defragmentation in one iteration of the loop.
const SLICE_US: u64 = 300;

/// The interval between two checks of the fragmentation, in microseconds.
const LOOK_US: u64 = 1_000_000;

/// The state between slices.
#[derive(Default)]
pub(super) struct Defrag {
    /// The share of the processor, in percent; 0 if defragmentation is not needed.
    share: u32,
    /// Microseconds left to spend until the next run of cron.
    credit_us: u64,
    /// The time of the next check of the fragmentation.
    look_at_us: u64,
    /// Whether directives have changed, which allows the share to fall.
    changed: bool,
    /// The start of the current cycle, if one is running, and the duration of all previous cycles.
    since_us: Option<u64>,
    total_us: u64,
}

impl Defrag {
    /// Whether granted time is left to spend before the loop waits.
    pub(super) fn has_work(&self) -> bool {
        self.credit_us > 0
    }

    /// The current share of the processor in percent: `active_defrag_running`.
    pub(super) fn share(&self) -> u32 {
        if self.since_us.is_some() { self.share } else { 0 }
    }

    /// The duration of the current cycle and of all cycles, in microseconds.
    pub(super) fn times_us(&self, now_us: u64) -> (u64, u64) {
        let current = self.since_us.map_or(0, |since| now_us.saturating_sub(since));
        (current, self.total_us + current)
    }

    /// Resets the durations (`CONFIG RESETSTAT`).
    pub(super) fn reset_times(&mut self, now_us: u64) {
        self.total_us = 0;
        self.since_us = self.since_us.map(|_| now_us);
    }

    /// Has the next run of cron check the fragmentation, because directives have changed.
    pub(super) fn reconsider(&mut self) {
        self.look_at_us = 0;
        self.changed = true;
    }

    fn end(&mut self, now_us: u64) {
        self.total_us = self.times_us(now_us).1;
        self.since_us = None;
        self.share = 0;
        self.credit_us = 0;
    }
}

/// Bytes in free blocks of slabs, and their percentage of the used memory.
fn fragmentation() -> (u64, f32) {
    let stats = alloc::stats();
    let holes = stats.slab_bytes.saturating_sub(stats.slab_live_bytes) as u64;
    (holes, holes as f32 / used_memory().max(1) as f32 * 100.0)
}

/// `value` between `from` and `to`, mapped to between `low` and `high`.
fn interpolate(value: f32, (from, to): (u32, u32), (low, high): (u32, u32)) -> u32 {
    let (from, to) = (from as f32, to as f32);
    // If the bounds are equal or swapped, the result is `low` below `to` and `high` from it on.
    let along = if to > from { (value - from) / (to - from) } else { f32::from(u8::from(value >= to)) };
    let between = low as f32 + along * (high as f32 - low as f32);
    (between as u32).min(high).max(low)
}

impl Server {
    /// Called by each run of cron: grants the time until the next one.
    pub(super) fn plan_defragmentation(&mut self, now_us: u64) {
        if !self.core.config.activedefrag {
            self.core.keyspace.stop_defragmenting();
            self.defrag.end(now_us);
            return;
        }
        self.defrag.credit_us = 0;
        if self.must_not_defragment() {
            return;
        }
        if now_us >= self.defrag.look_at_us {
            self.defrag.look_at_us = now_us + LOOK_US;
            self.look_at_fragmentation();
        }
        self.defrag.credit_us = u64::from(self.defrag.share) * 10_000 / u64::from(self.cron.hz());
    }

    fn must_not_defragment(&self) -> bool {
        memory::is_shared() || self.loading.is_active() || self.is_busy()
    }

    /// Sets the share of the processor.
    fn look_at_fragmentation(&mut self) {
        let (bytes, percent) = fragmentation();
        let config = &self.core.config;
        let (lower, upper) = (config.active_defrag_threshold_lower, config.active_defrag_threshold_upper);
        if self.defrag.share == 0 && (percent < lower as f32 || bytes < config.active_defrag_ignore_bytes) {
            return;
        }
        let shares = (config.active_defrag_cycle_min, config.active_defrag_cycle_max);
        let share = interpolate(percent, (lower, upper), shares);
        if share > self.defrag.share || std::mem::take(&mut self.defrag.changed) {
            self.defrag.share = share;
        }
    }

    /// Defragments for one slice of the granted time.
    pub(super) fn defragment_slice(&mut self) {
        if self.must_not_defragment() {
            self.defrag.credit_us = 0;
            return;
        }
        let max_fields = self.core.config.active_defrag_max_scan_fields;
        let start = clock::monotonic_us();
        let time_us = self.defrag.credit_us.min(SLICE_US);
        let end = self.core.keyspace.defragment(max_fields, time_us, clock::monotonic_us);
        let now_us = clock::monotonic_us();
        self.defrag.credit_us = self.defrag.credit_us.saturating_sub((now_us - start).max(1));
        if self.defrag.since_us.is_none() && self.core.keyspace.is_defragmenting() {
            self.defrag.since_us = Some(now_us);
            let (bytes, percent) = fragmentation();
            self.process.log.verbose(format_args!(
                "Starting active defrag, frag={percent:.0}%, frag_bytes={bytes}, cpu={}%",
                self.defrag.share
            ));
        }
        match end {
            DefragEnd::Working => {}
            DefragEnd::Pointless => self.defrag.end(now_us),
            DefragEnd::Finished(moved) => {
                let took_ms = self.defrag.times_us(now_us).0 / 1000;
                let (bytes, percent) = fragmentation();
                self.process.log.verbose(format_args!(
                    "Active defrag done in {took_ms}ms, reallocated={moved}, frag={percent:.0}%, frag_bytes={bytes}"
                ));
                self.defrag.end(now_us);
                // Blocks that were visited too early, or have become sparse since, may need another cycle.
                self.look_at_fragmentation();
            }
        }
        self.core.note_latency("active-defrag-cycle", now_us - start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_rises_with_the_fragmentation_between_its_bounds() {
        for (percent, share) in
            [(10.0, 1), (9.0, 1), (55.0, 13), (100.0, 25), (100_000.0, 25), (f32::INFINITY, 25)]
        {
            assert_eq!(interpolate(percent, (10, 100), (1, 25)), share, "{percent}");
        }
        for bounds in [(50, 50), (60, 40)] {
            assert_eq!(interpolate(10.0, bounds, (1, 25)), 1);
            assert_eq!(interpolate(70.0, bounds, (1, 25)), 25);
        }
        // With contradictory shares, the lower one counts, as in Redis.
        assert_eq!(interpolate(50.0, (10, 100), (30, 20)), 30);
    }
}
