//! W-TinyLFU (Einziger, Friedman and Manes 2017, "TinyLFU: A Highly Efficient Cache Admission Policy").
//!
//! ```text
//!   request ─▶ window: LRU, 1 % ─▶ admitted? ─▶ main: probation, 20 % ⇄ protected, 80 %
//!                                     │ no
//!                                     ▼ gone
//! ```
//!
//! A key that leaves the window replaces the victim of the main cache only if a sketch of recent requests has counted
//! it more often. The sketch counts requests for all keys, held or not, in four rows of small counters (a count-min
//! sketch with conservative update). After ten times as many requests as there are held keys, it halves all counters,
//! so that old popularity decays.

use super::super::random::mix;
use super::Cache;
use super::lists::Lists;

const WINDOW: u32 = 0;
const PROBATION: u32 = 1;
const PROTECTED: u32 = 2;

/// Rows of the sketch.
const ROWS: usize = 4;

/// The maximum of a counter.
const MOST: u8 = 15;

/// The number of requests per held key until all counters are halved.
const SAMPLE: usize = 10;

/// The approximate number of recent requests for each key.
#[derive(Debug)]
struct Sketch {
    counters: Vec<u8>,
    /// Counters of a row, a power of two.
    width: usize,
    /// The number of requests until the counters are halved, and the requests so far.
    sample: usize,
    seen: usize,
}

impl Sketch {
    fn new(capacity: usize) -> Self {
        let width = (4 * capacity).next_power_of_two().max(64);
        Self { counters: vec![0; ROWS * width], width, sample: SAMPLE * capacity, seen: 0 }
    }

    /// The four counters of `key`.
    fn places(&self, key: u32) -> [usize; ROWS] {
        let (low, high) = (mix(u64::from(key) + 1), mix(!u64::from(key)));
        let words = [low, low >> 32, high, high >> 32];
        std::array::from_fn(|row| row * self.width + (words[row] as u32 as usize & (self.width - 1)))
    }

    fn estimate(&self, key: u32) -> u8 {
        self.places(key).map(|place| self.counters[place]).into_iter().min().unwrap_or(0)
    }

    fn count(&mut self, key: u32) {
        let least = self.estimate(key);
        if least < MOST {
            for place in self.places(key) {
                self.counters[place] = self.counters[place].max(least + 1);
            }
        }
        self.seen += 1;
        if self.seen >= self.sample {
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
            self.seen /= 2;
        }
    }
}

/// A cache with a window, a main part in two segments, and a filter between them.
#[derive(Debug)]
pub struct TinyLfu {
    sketch: Sketch,
    lists: Lists,
    /// The list of each key, if it is in one.
    place: Vec<u8>,
    /// The number of keys in each list, and the maximum; probation may use the rest of protected.
    lens: [usize; 3],
    limits: [usize; 3],
}

impl TinyLfu {
    /// Holds `capacity` of the keys `0..keys`.
    pub fn new(keys: u32, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let window = (capacity / 100).max(1);
        let main = capacity - window;
        Self {
            sketch: Sketch::new(capacity),
            lists: Lists::new(keys, 3),
            place: vec![0; keys as usize],
            lens: [0; 3],
            limits: [window, main, main * 4 / 5],
        }
    }

    fn put(&mut self, list: u32, key: u32) {
        self.lists.push_front(list, key);
        self.place[key as usize] = list as u8;
        self.lens[list as usize] += 1;
    }

    fn take(&mut self, key: u32) {
        self.lists.remove(key);
        self.lens[self.place[key as usize] as usize] -= 1;
    }

    /// Moves the last key of the window into the main cache, and drops either that key or the one that it displaces.
    fn leave_window(&mut self) {
        let Some(candidate) = self.lists.last(WINDOW) else { return };
        self.take(candidate);
        let main = self.lens[PROBATION as usize] + self.lens[PROTECTED as usize];
        if main >= self.limits[PROBATION as usize] {
            let Some(victim) = self.lists.last(PROBATION).or(self.lists.last(PROTECTED)) else { return };
            if self.sketch.estimate(candidate) <= self.sketch.estimate(victim) {
                return;
            }
            self.take(victim);
        }
        self.put(PROBATION, candidate);
    }

    /// Moves `key` of the main cache to the front of the protected segment, and its last one back to probation.
    fn protect(&mut self, key: u32) {
        self.put(PROTECTED, key);
        if self.lens[PROTECTED as usize] > self.limits[PROTECTED as usize]
            && let Some(last) = self.lists.last(PROTECTED)
        {
            self.take(last);
            self.put(PROBATION, last);
        }
    }
}

impl Cache for TinyLfu {
    fn request(&mut self, key: u32) -> bool {
        self.sketch.count(key);
        if self.lists.contains(key) {
            self.take(key);
            match u32::from(self.place[key as usize]) {
                WINDOW => self.put(WINDOW, key),
                _ => self.protect(key),
            }
            return true;
        }
        self.put(WINDOW, key);
        if self.lens[WINDOW as usize] > self.limits[WINDOW as usize] {
            self.leave_window();
        }
        false
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::tests::play;
    use super::*;

    #[test]
    fn a_newcomer_does_not_displace_what_is_requested_as_often() {
        // Window 1, main 2: 0 and 1 settle in main; 2, 3 and 4 pass through the window.
        assert_eq!(play(&mut TinyLfu::new(5, 3), &[0, 1, 2, 0, 1, 3, 4, 0, 1]), "...hh..hh");
    }

    #[test]
    fn a_newcomer_that_is_requested_more_often_does() {
        // 3 has been requested three times when it leaves the window for 4; 0 and 1 twice and once.
        assert_eq!(play(&mut TinyLfu::new(5, 3), &[0, 1, 2, 0, 3, 3, 3, 4, 3, 0, 1]), "...h.hh.hh.");
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        for capacity in [1, 2, 3, 10, 250] {
            let mut cache = TinyLfu::new(1000, capacity);
            for step in 0..20_000_u64 {
                cache.request((mix(step) % 1000).min(mix(!step) % 1000) as u32);
                if step % 101 == 0 {
                    let held = (0..1000).filter(|&key| cache.lists.contains(key)).count();
                    assert!(held <= capacity && cache.lens.iter().sum::<usize>() == held);
                }
            }
            assert_eq!(cache.lens.iter().sum::<usize>(), capacity);
        }
    }

    #[test]
    fn counters_saturate_and_are_halved() {
        let mut sketch = Sketch::new(10);
        for _ in 0..40 {
            sketch.count(7);
        }
        assert_eq!((sketch.estimate(7), sketch.estimate(8)), (15, 0));
        for key in 100..160 {
            sketch.count(key);
        }
        assert_eq!(sketch.estimate(7), 7);
    }
}
