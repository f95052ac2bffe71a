//! Bélády's optimum (1966): evicts the key that is requested again furthest in the future. No cache that adds every
//! requested key has more hits.
//!
//! The keys are in a heap by their next request, as seen from the request at which they were inserted. The request of a
//! stale entry is in the past, and that of every held key in the future. So no stale entry is at the top before a valid
//! one, and all stale entries are removed from time to time.

use super::super::traces::Trace;
use super::Cache;
use std::collections::BinaryHeap;

/// The next request of a key that is never requested again.
const NEVER: u32 = u32::MAX;

/// A cache that knows the trace.
#[derive(Debug)]
pub struct Optimum {
    /// For each request, the index of the next one of the same key.
    next: Vec<u32>,
    held: Vec<bool>,
    len: usize,
    capacity: usize,
    heap: BinaryHeap<(u32, u32)>,
    now: usize,
}

impl Optimum {
    /// Holds `capacity` keys, and expects the requests of `trace` in their order.
    pub fn new(trace: &Trace, capacity: usize) -> Self {
        let mut next = vec![NEVER; trace.requests.len()];
        let mut seen = vec![NEVER; trace.keys as usize];
        for (index, &key) in trace.requests.iter().enumerate().rev() {
            next[index] = std::mem::replace(&mut seen[key as usize], index as u32);
        }
        let held = vec![false; trace.keys as usize];
        Self { next, held, len: 0, capacity: capacity.max(1), heap: BinaryHeap::new(), now: 0 }
    }

    fn drop_stale(&mut self) {
        let now = self.now as u32;
        self.heap.retain(|&(next, _)| next > now);
    }
}

impl Cache for Optimum {
    fn request(&mut self, key: u32) -> bool {
        let held = std::mem::replace(&mut self.held[key as usize], true);
        if !held && self.len < self.capacity {
            self.len += 1;
        } else if !held && let Some((_, furthest)) = self.heap.pop() {
            self.held[furthest as usize] = false;
        }
        self.heap.push((self.next[self.now], key));
        if self.heap.len() > 4 * self.capacity + 1024 {
            self.drop_stale();
        }
        self.now += 1;
        held
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::tests::play;
    use super::*;

    fn optimum(requests: &[u32], keys: u32, capacity: usize) -> String {
        let trace = Trace { requests: requests.to_vec(), keys };
        play(&mut Optimum::new(&trace, capacity), requests)
    }

    #[test]
    fn what_is_needed_last_goes() {
        // 2 displaces 1, which is requested after 0; 1 displaces 0, which is not requested again.
        assert_eq!(optimum(&[0, 1, 2, 0, 1, 2], 3, 2), "...h.h");
    }

    #[test]
    fn beladys_example_of_page_references() {
        // Three frames, the textbook's twenty references (Silberschatz): nine faults.
        let references = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
        assert_eq!(optimum(&references, 8, 3).matches('.').count(), 9);
    }

    #[test]
    fn a_loop_keeps_all_but_one_of_what_it_holds() {
        let requests: Vec<u32> = (0..10).cycle().take(9010).collect();
        let hits = optimum(&requests, 10, 6).matches('h').count();
        // In each round of nine requests (all keys except the last one requested), capacity - 1 are hits.
        assert!((4_995..=5_005).contains(&hits), "{hits}");
    }

    #[test]
    fn dropping_what_is_stale_changes_nothing() {
        let requests: Vec<u32> =
            (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) % 50).collect();
        let trace = Trace { requests: requests.clone(), keys: 50 };
        let mut dropped = Optimum::new(&trace, 7);
        let mut kept = Optimum::new(&trace, 7);
        for &key in &requests {
            dropped.drop_stale();
            assert_eq!(dropped.request(key), kept.request(key));
        }
    }
}
