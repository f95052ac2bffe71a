//! `maxmemory`: how much memory may be used, and how eviction makes room.
//!
//! While memory is over the limit, keys are evicted before a command is executed, until there is room: slightly more
//! than needed, so that the next commands find some. The time for this in one event loop iteration is bounded
//! (`maxmemory-eviction-tenacity`). When it is used up, [`Room::Coming`] means that the next iteration continues.
//! Commands that use memory wait until then, so the limit holds however large the values are; other commands are not
//! delayed.
//!
//! Memory can exceed the limit by hundreds of megabytes, after the limit was lowered or a single command has allocated
//! that much. Then commands wait for at most [`PATIENCE`] iterations. After that they are executed while eviction
//! continues, below a ceiling that falls with the memory in use:
//!
//! ```text
//!   used  ──┐  waits   ┌─ ceiling: halfway between the lowest use before and the lowest now
//!           └──────────┤╲╱╲╱╲        each iteration evicts, and commands may use half of the freed memory
//!   limit ─────────────────────╲╱──────  from here on the limit holds again
//! ```
//!
//! If a table has to grow for the next key, its growth counts as used. So if there is no room for a larger table, keys
//! are evicted instead, and the table keeps its size.
//!
//! Buffers that eviction itself fills do not count: the AOF buffer, what waits for replicas beyond `repl-backlog-size`,
//! and beyond [`COUNTED_BUFFERS`] the journal, undelivered messages and the iteration's output. An evicted key can put
//! more into them than it frees (invalidation messages, keyspace notifications), so counting them could evict every key.

use super::{Core, used_memory};
use crate::config::Config;
use crate::db::EvictionPolicy;
use crate::sys::clock;

/// Evictions between two reads of the clock.
const BATCH: u32 = 16;

/// How much is freed beyond what is needed: at most this, and at most a thousandth of the limit.
const SLACK: u64 = 16 << 10;

/// The journal, undelivered messages and the iteration's output count up to this many bytes in total, their size in
/// normal operation.
const COUNTED_BUFFERS: usize = 32 << 10;

/// The number of iterations that commands which need memory wait for eviction before they may use half of the memory it
/// frees: 10 ms at the default tenacity.
const PATIENCE: u32 = 20;

/// Whether commands that use memory can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// They can: there is enough memory.
    Enough,
    /// Not yet: one iteration may not evict enough, or the memory of evicted keys is still being freed.
    Coming,
    /// They can, although memory is over the limit: it falls with each iteration.
    Falling,
    /// They cannot: nothing can be evicted.
    None,
}

/// The limit, and the state of its enforcement.
pub struct MemoryLimit {
    /// `maxmemory`; `u64::MAX` if there is no limit.
    bytes: u64,
    policy: Option<EvictionPolicy>,
    /// Microseconds that one iteration may spend on eviction; those that the current one has spent, and its evictions.
    slice_us: u64,
    spent_us: u64,
    evictions: u32,
    room: Room,
    /// The number of iterations that commands have waited.
    waited: u32,
    /// Set once commands have waited for [`PATIENCE`] iterations.
    falling: Option<Falling>,
    /// Since when memory has been over the limit, and for how long it was in earlier periods.
    exceeded_since_us: Option<u64>,
    exceeded_us: u64,
}

/// How memory falls towards the limit: the lowest use so far, and the ceiling below which commands are executed.
#[derive(Clone, Copy)]
struct Falling {
    lowest: u64,
    ceiling: u64,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        MemoryLimit {
            bytes: u64::MAX,
            policy: None,
            slice_us: 0,
            spent_us: 0,
            evictions: 0,
            room: Room::Enough,
            waited: 0,
            falling: None,
            exceeded_since_us: None,
            exceeded_us: 0,
        }
    }
}

impl MemoryLimit {
    /// Applies the configuration. A replica may leave eviction to its primary.
    pub fn apply(&mut self, config: &Config, is_replica: bool) {
        let is_unlimited = config.maxmemory == 0 || is_replica && config.replica_ignore_maxmemory;
        self.bytes = if is_unlimited { u64::MAX } else { config.maxmemory };
        self.policy = EvictionPolicy::new(config.maxmemory_policy, config.maxmemory_samples);
        self.slice_us = slice_us(config.maxmemory_eviction_tenacity);
    }

    /// Whether there is a limit.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.bytes != u64::MAX
    }

    /// Returns the result of the last check.
    #[inline]
    pub fn room(&self) -> Room {
        self.room
    }

    /// Resets the last result, for when the limit does not matter (while data is loaded).
    pub fn ignore(&mut self) {
        self.note(Room::Enough, clock::monotonic_us());
    }

    /// Starts eviction in the loop if memory is over the limit. Returns whether it is.
    pub fn begin(&mut self) -> bool {
        let exceeded = self.is_set() && used_memory() > self.bytes;
        self.note(if exceeded { Room::Coming } else { Room::Enough }, clock::monotonic_us());
        exceeded
    }

    /// Begins an iteration of the loop, with a full eviction budget.
    #[inline]
    pub fn begin_iteration(&mut self) {
        (self.spent_us, self.evictions) = (0, 0);
        self.waited += u32::from(self.room == Room::Coming);
    }

    /// Whether eviction has to continue in the next iteration.
    #[inline]
    pub fn is_evicting(&self) -> bool {
        matches!(self.room, Room::Coming | Room::Falling)
    }

    /// Decides, while there is more to evict and `used` bytes are in use, whether commands that may use `growth` bytes
    /// wait.
    fn wait_or_fall(&mut self, used: u64, growth: u64) -> Room {
        if self.waited < PATIENCE {
            return Room::Coming;
        }
        let Falling { lowest, ceiling } = self.falling.get_or_insert(Falling { lowest: used, ceiling: used });
        if used < *lowest {
            *ceiling = u64::midpoint(used, *lowest);
            *lowest = used;
        }
        if used + growth <= *ceiling { Room::Falling } else { Room::Coming }
    }

    fn may_go_on(&self, took_us: u64) -> bool {
        self.evictions < BATCH
            || !self.evictions.is_multiple_of(BATCH)
            || self.spent_us + took_us < self.slice_us
    }

    /// Records the result of a check at `now_us`.
    fn note(&mut self, room: Room, now_us: u64) {
        self.room = room;
        if !self.is_evicting() {
            (self.waited, self.falling) = (0, None);
        }
        if room != Room::Enough {
            self.exceeded_since_us.get_or_insert(now_us);
        } else if let Some(since) = self.exceeded_since_us.take() {
            self.exceeded_us += now_us.saturating_sub(since);
        }
    }

    /// Returns how many microseconds memory has been over the limit: in the current period, and in earlier ones.
    pub fn exceeded_us(&self, now_us: u64) -> (u64, u64) {
        (self.exceeded_since_us.map_or(0, |since| now_us.saturating_sub(since)), self.exceeded_us)
    }

    /// Resets the time that memory was over the limit (`CONFIG RESETSTAT`).
    pub fn reset(&mut self) {
        self.exceeded_us = 0;
        self.exceeded_since_us = None;
    }
}

/// Returns the budget in microseconds for a tenacity of 0 to 100: 0 at 0, 50 more with each step up to 500 at 10, then
/// 15 % more with each step, which makes two minutes at 99; no limit at 100.
fn slice_us(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50 * u64::from(tenacity),
        11..100 => (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

impl Core {
    /// Whether a command in database `db` has to make room first. A few loads.
    #[inline]
    pub fn is_short_of_memory(&self, db: usize) -> bool {
        self.limit.is_set() && self.is_short(db)
    }

    #[inline(never)]
    fn is_short(&self, db: usize) -> bool {
        used_memory() + self.keyspace.db(db).growth_bytes() as u64 > self.limit.bytes
            || self.limit.room != Room::Enough
    }

    /// Whether the memory in use exceeds `maxmemory`, with all buffers counted.
    #[inline]
    pub fn exceeds_memory_limit(&self) -> bool {
        self.limit.is_set() && used_memory() > self.limit.bytes
    }

    /// Bytes in use that do not count towards `maxmemory`. `buffers`: bytes of messages and output.
    pub fn uncounted_bytes(&self, buffers: usize) -> u64 {
        let journal = &self.keyspace.journal;
        let buffers = (journal.memory_bytes() + buffers).saturating_sub(COUNTED_BUFFERS);
        (journal.stream().excess_bytes() + buffers) as u64
    }

    /// Evicts within the current iteration's budget, until another key fits into database `db`. For `buffers` see
    /// [`Core::uncounted_bytes`].
    pub fn make_room(&mut self, db: Option<usize>, buffers: usize) -> Room {
        let began_us = clock::monotonic_us();
        let mut now_us = began_us;
        let mut evicted = 0;
        let slack = SLACK.min(self.limit.bytes >> 10);
        let (room, used, growth) = loop {
            let used = used_memory().saturating_sub(self.uncounted_bytes(buffers));
            // If keys of other tables are evicted first, this table may have to grow all the same.
            let table = db.filter(|_| evicted < BATCH && self.limit.policy.is_some());
            let growth = table.map_or(0, |db| self.keyspace.db(db).growth_bytes() as u64);
            let wanted = if evicted > 0 { used + growth.max(slack) } else { used + growth };
            if wanted <= self.limit.bytes {
                break (Room::Enough, used, growth);
            }
            let otherwise = if used <= self.limit.bytes { Room::Enough } else { Room::None };
            let Some(policy) = self.limit.policy else { break (otherwise, used, growth) };
            let lazy = self.keyspace.lazy();
            if lazy.pending() > 0 && (used > self.limit.bytes || growth == 0) {
                // The memory being freed may be enough; if only slack is missing, no command has to wait for it.
                if used <= self.limit.bytes {
                    break (Room::Enough, used, growth);
                }
                if lazy.wake_when_done(lazy.latest()) {
                    continue;
                }
                break (Room::Coming, used, growth);
            }
            if self.limit.evictions.is_multiple_of(BATCH) {
                now_us = clock::monotonic_us();
            }
            if !self.limit.may_go_on(now_us - began_us) {
                let enough = used + growth <= self.limit.bytes;
                break (if enough { Room::Enough } else { Room::Coming }, used, growth);
            }
            if !self.keyspace.evict_one(policy) {
                break (otherwise, used, growth);
            }
            evicted += 1;
            self.limit.evictions += 1;
        };
        let room = if room == Room::Coming { self.limit.wait_or_fall(used, growth) } else { room };
        let end_us = clock::monotonic_us();
        self.limit.spent_us += end_us - began_us;
        self.limit.note(room, end_us);
        if evicted > 0 {
            self.note_latency("eviction-cycle", end_us - began_us);
        }
        room
    }
}

/// Returns the warning of `CONFIG SET maxmemory` when the new limit is below the memory in use.
pub fn warning(config: &Config) -> String {
    format!(
        "WARNING: the new maxmemory value set via CONFIG SET ({}) is smaller than the current memory usage ({}). This \
         will result in key eviction and/or the inability to accept new write commands depending on the \
         maxmemory-policy.",
        config.maxmemory,
        used_memory()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_is_time() {
        assert_eq!([0, 1, 10].map(slice_us), [0, 50, 500]);
        assert_eq!(slice_us(11), 575);
        assert!((120_000_000..130_000_000).contains(&slice_us(99)));
        assert_eq!(slice_us(100), u64::MAX);
    }
}
