//! `maxmemory`: how much memory may be in use, and how room is made.
//!
//! Before a command is executed while more is in use than may be, keys are evicted until there is room: a little more than
//! is needed, so that the next commands find some. What one iteration of the loop may spend on that is bounded
//! (`maxmemory-eviction-tenacity`). When it is spent, [`Room::Coming`] says that the next iteration goes on; commands that
//! take memory wait until then, so that the limit holds however large the values are, and others are not held up.
//!
//! Memory can exceed the limit by hundreds of megabytes, after the limit was lowered or a single command has allocated
//! as much. Then commands wait for [`PATIENCE`] iterations at most. After that they are executed while eviction goes
//! on, within a ceiling that falls with the memory in use:
//!
//! ```text
//!   used  ──┐  waits   ┌─ ceiling: halfway between the lowest use before and the lowest now
//!           └──────────┤╲╱╲╱╲        each iteration evicts, and commands may take half of that
//!   limit ─────────────────────╲╱──────  from here on it holds again
//! ```
//!
//! A table that has to grow for the next key counts as what it will take. So where there is no room for a larger table, keys
//! are evicted instead, and the table stays.
//!
//! Buffers that eviction itself fills do not count: the AOF buffer, and beyond [`COUNTED_BUFFERS`] the journal,
//! undelivered messages and the iteration's output. An evicted key can put more into them than it frees (invalidation
//! messages, keyspace notifications), so counting them could evict every key.

use super::{Core, used_memory};
use crate::config::Config;
use crate::db::EvictionPolicy;
use crate::sys::clock;

/// Evictions between two looks at the clock.
const BATCH: u32 = 16;

/// What is freed beyond what is needed: at most this, and a thousandth of the limit.
const SLACK: u64 = 16 << 10;

/// The journal, undelivered messages and the iteration's output count up to this many bytes in sum, their size in
/// normal operation.
const COUNTED_BUFFERS: usize = 32 << 10;

/// How many iterations commands that need memory wait for eviction before they may use half of what it frees: 10 ms at
/// the default tenacity.
const PATIENCE: u32 = 20;

/// Whether commands that take memory can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// They can.
    Enough,
    /// Not yet: there is more to evict than one iteration may, or what was evicted is still being freed.
    Coming,
    /// They can, although memory is over the limit: it falls with each iteration.
    Falling,
    /// They cannot: nothing may be evicted.
    None,
}

/// The limit, and what has been done about it.
pub struct MemoryLimit {
    /// `maxmemory`; the largest number if there is none.
    bytes: u64,
    policy: Option<EvictionPolicy>,
    /// Microseconds that an iteration may take for eviction; those that the current one has taken, and its evictions.
    slice_us: u64,
    spent_us: u64,
    evictions: u32,
    room: Room,
    /// How many iterations commands have waited.
    waited: u32,
    /// Set once commands have waited for [`PATIENCE`] iterations.
    falling: Option<Falling>,
    /// Since when more is in use than may be, and for how long it was before.
    exceeded_since_us: Option<u64>,
    exceeded_us: u64,
}

/// How memory falls towards the limit: the lowest use so far, and the use up to which commands are executed.
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
    /// Takes over what the configuration says. A replica may leave eviction to its primary.
    pub fn apply(&mut self, config: &Config, is_replica: bool) {
        let is_unlimited = config.maxmemory == 0 || is_replica && config.replica_ignore_maxmemory;
        self.bytes = if is_unlimited { u64::MAX } else { config.maxmemory };
        self.policy = EvictionPolicy::new(config.maxmemory_policy, config.maxmemory_samples);
        self.slice_us = slice_us(config.maxmemory_eviction_tenacity);
    }

    /// Whether there is one.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.bytes != u64::MAX
    }

    /// What the last look has found.
    #[inline]
    pub fn room(&self) -> Room {
        self.room
    }

    /// Forgets what was found; for when it does not matter (while data is loaded).
    pub fn ignore(&mut self) {
        self.note(Room::Enough, clock::monotonic_us());
    }

    /// Has the loop make room, if more is in use than may be. Returns whether it is.
    pub fn begin(&mut self) -> bool {
        let exceeded = self.is_set() && used_memory() > self.bytes;
        self.note(if exceeded { Room::Coming } else { Room::Enough }, clock::monotonic_us());
        exceeded
    }

    /// A new iteration of the loop: it may spend what one may.
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

    /// Decides, while there is more to evict and `used` bytes are in use, whether commands that may take `growth` bytes
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

    /// Notes how a look has ended at `now_us`.
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

    /// Microseconds for which more was in use than may be: since the last time it was not, and before that.
    pub fn exceeded_us(&self, now_us: u64) -> (u64, u64) {
        (self.exceeded_since_us.map_or(0, |since| now_us.saturating_sub(since)), self.exceeded_us)
    }

    /// Forgets for how long more was in use (`CONFIG RESETSTAT`).
    pub fn reset(&mut self) {
        self.exceeded_us = 0;
        self.exceeded_since_us = None;
    }
}

/// The microseconds for a tenacity of 0 to 100: none, in steps of 50 to half a millisecond at 10, from there 15 % more with
/// each step, which is two minutes at 99; then no limit.
fn slice_us(tenacity: u32) -> u64 {
    match tenacity {
        0..=10 => 50 * u64::from(tenacity),
        11..100 => (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
        _ => u64::MAX,
    }
}

impl Core {
    /// Whether a command of database `db` has to see to it that there is room first. A few loads.
    #[inline]
    pub fn is_short_of_memory(&self, db: usize) -> bool {
        self.limit.is_set()
            && (used_memory() + self.keyspace.db(db).growth_bytes() as u64 > self.limit.bytes
                || self.limit.room != Room::Enough)
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
        (journal.stream().memory_bytes() + buffers) as u64
    }

    /// Evicts within the current iteration's budget, so that another key fits into database `db` too. For `buffers` see
    /// [`Core::uncounted_bytes`].
    pub fn make_room(&mut self, db: Option<usize>, buffers: usize) -> Room {
        let began_us = clock::monotonic_us();
        let mut now_us = began_us;
        let mut evicted = 0;
        let slack = SLACK.min(self.limit.bytes >> 10);
        let (room, used, growth) = loop {
            let used = used_memory().saturating_sub(self.uncounted_bytes(buffers));
            // Where others than keys of this table go first, it may have to grow all the same.
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
                // What is being freed may be enough; where only slack is missing, nobody has to wait for that.
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

/// What `CONFIG SET maxmemory` warns of when the new limit is below what is in use.
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
