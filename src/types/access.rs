//! The 24 access bits of an entry: the time of its last use, or the frequency of its use.
//!
//! ```text
//!  LRU:  [ 24 bits: seconds of the wall clock, wrapping after 194 days ]
//!  LFU:  [ 16 bits: minutes of the wall clock, wrapping after 45 days | 8 bits: counter ]
//! ```
//!
//! The LFU counter is Morris's (1978) approximate counter as Redis uses it: it is incremented with probability
//! `1 / ((counter - 5) · lfu-log-factor + 1)`, so 8 bits distinguish a thousand hits from a million, and it falls by one
//! for every `lfu-decay-time` minutes without a hit. New keys start at 5, so that they are not the first to be evicted.
//!
//! `maxmemory-policy` decides which of the two the bits hold; the entry itself does not record it. After the policy
//! changes, old bits are read as the other kind, as in Redis, until the next access writes them.

const BITS: u32 = 0x00ff_ffff;

/// The initial counter of a new key.
pub const LFU_INIT: u8 = 5;

/// The wall clock in the units of the access bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessClock {
    seconds: u64,
}

impl AccessClock {
    /// The access clock at a time in microseconds of the wall clock.
    pub const fn from_wall_us(us: u64) -> AccessClock {
        AccessClock { seconds: us / 1_000_000 }
    }

    /// The access bits of a key that is used now, under LRU.
    #[inline(always)]
    pub const fn lru(self) -> u32 {
        self.seconds as u32 & BITS
    }

    /// The seconds since a key with these bits was used, under LRU.
    #[inline(always)]
    pub const fn idle_seconds(self, access: u32) -> u32 {
        self.lru().wrapping_sub(access) & BITS
    }

    /// The access bits of a key that was used `seconds` ago, under LRU.
    pub const fn lru_idle_for(self, seconds: u64) -> u32 {
        self.seconds.wrapping_sub(seconds) as u32 & BITS
    }

    /// The minutes as stored in the LFU bits.
    #[inline(always)]
    pub const fn minutes(self) -> u16 {
        (self.seconds / 60) as u16
    }
}

/// The two LFU settings, and the arithmetic that depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lfu {
    /// `lfu-log-factor`: scales the hits that an increment takes. 0 counts every hit.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes until the counter falls by one. 0 never decays.
    pub decay_time: u32,
}

impl Lfu {
    /// The access bits of a new key.
    #[inline(always)]
    pub const fn fresh(self, clock: AccessClock) -> u32 {
        pack(clock.minutes(), LFU_INIT)
    }

    /// The access bits with this counter, as of now (`RESTORE … FREQ`).
    #[inline(always)]
    pub const fn with_counter(self, clock: AccessClock, counter: u8) -> u32 {
        pack(clock.minutes(), counter)
    }

    /// The current counter: its value at the last access less the decay since (`OBJECT FREQ`).
    #[inline]
    pub const fn counter(self, access: u32, clock: AccessClock) -> u8 {
        let counter = access as u8;
        let elapsed = clock.minutes().wrapping_sub((access >> 8) as u16) as u32;
        match elapsed.checked_div(self.decay_time) {
            Some(periods) if periods >= counter as u32 => 0,
            Some(periods) => counter - periods as u8,
            None => counter,
        }
    }

    /// The access bits after one more use. `random` is uniform over `u32`.
    #[inline]
    pub const fn touch(self, access: u32, clock: AccessClock, random: u32) -> u32 {
        pack(clock.minutes(), self.increment(self.counter(access, clock), random))
    }

    /// The counter after one more use; `random` is uniform.
    #[inline]
    pub const fn increment(self, counter: u8, random: u32) -> u8 {
        if counter == u8::MAX {
            return counter;
        }
        let above = counter.saturating_sub(LFU_INIT) as u64;
        // random / 2^32 < 1 / (above * factor + 1), without a division.
        let hit = (random as u128) * (above as u128 * self.log_factor as u128 + 1) < 1 << 32;
        counter + hit as u8
    }
}

#[inline(always)]
const fn pack(minutes: u16, counter: u8) -> u32 {
    (minutes as u32) << 8 | counter as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> AccessClock {
        AccessClock::from_wall_us(seconds * 1_000_000)
    }

    const LFU: Lfu = Lfu { log_factor: 10, decay_time: 1 };

    #[test]
    fn idle_time_is_right_across_the_wrap_of_the_clock() {
        let before = at((1 << 24) - 3);
        let after = at((1 << 24) + 4);
        assert_eq!(after.idle_seconds(before.lru()), 7);
        assert_eq!(after.idle_seconds(after.lru()), 0);
        assert_eq!(after.idle_seconds(after.lru_idle_for(100)), 100);
    }

    #[test]
    fn the_counter_falls_by_one_a_period_and_never_below_zero() {
        let access = LFU.with_counter(at(600), 10);
        assert_eq!(LFU.counter(access, at(600)), 10);
        assert_eq!(LFU.counter(access, at(659)), 10);
        assert_eq!(LFU.counter(access, at(660)), 9);
        assert_eq!(LFU.counter(access, at(600 + 9 * 60)), 1);
        assert_eq!(LFU.counter(access, at(600 + 500 * 60)), 0);
        let slow = Lfu { decay_time: 5, ..LFU };
        assert_eq!(slow.counter(access, at(600 + 9 * 60)), 9);
        let never = Lfu { decay_time: 0, ..LFU };
        assert_eq!(never.counter(access, at(600 + 500 * 60)), 10);
    }

    #[test]
    fn the_minutes_wrap_without_a_leap() {
        let access = LFU.with_counter(at(65_535 * 60), 200);
        assert_eq!(LFU.counter(access, at(65_537 * 60)), 198);
    }

    #[test]
    fn a_new_key_starts_at_five_and_its_first_hits_count() {
        let access = LFU.fresh(at(0));
        assert_eq!(access as u8, LFU_INIT);
        assert_eq!(LFU.touch(access, at(0), u32::MAX) as u8, 6);
        assert_eq!(LFU.increment(0, u32::MAX), 1, "below the start every hit counts");
        assert_eq!(LFU.increment(255, 0), 255);
    }

    #[test]
    fn the_counter_is_logarithmic_in_the_hits() {
        // A linear congruence is random enough here, and the same on every run.
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        };
        let mut after = |hits: u32| (0..hits).fold(LFU_INIT, |counter, _| LFU.increment(counter, random()));
        // The table in redis.conf gives 10, 18, 142 and 255 for factor 10.
        assert!((8..=14).contains(&after(100)));
        assert!((14..=24).contains(&after(1000)));
        assert!((125..=160).contains(&after(100_000)));
        assert_eq!(after(1_000_000), 255);
    }

    #[test]
    fn factor_zero_counts_every_hit() {
        let every = Lfu { log_factor: 0, decay_time: 1 };
        assert_eq!((0..300).fold(LFU_INIT, |counter, _| every.increment(counter, u32::MAX)), 255);
    }
}
