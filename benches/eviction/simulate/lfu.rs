//! Exact LFU over the held keys: evicts the key with the fewest requests since it was added, and among equals the least
//! recently requested one. The count of an evicted key is dropped: when the key comes back, it starts anew.
//!
//! The keys are in a heap by their rank at the time of insertion. Counts only rise, so a key at the top whose rank has
//! changed is inserted again with its current rank, and one whose rank has not changed is the right one.

use super::Cache;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The order of two keys: the number of requests, then the time of the last.
type Rank = (u32, u32);

/// A cache that counts requests.
#[derive(Debug)]
pub struct Lfu {
    /// The rank of each key; a count of 0 means that the key is not held.
    ranks: Vec<Rank>,
    heap: BinaryHeap<Reverse<(Rank, u32)>>,
    capacity: usize,
    now: u32,
}

impl Lfu {
    /// Holds `capacity` of the keys `0..keys`.
    pub fn new(keys: u32, capacity: usize) -> Self {
        Self {
            ranks: vec![(0, 0); keys as usize],
            heap: BinaryHeap::new(),
            capacity: capacity.max(1),
            now: 0,
        }
    }

    fn evict(&mut self) {
        while let Some(Reverse((rank, key))) = self.heap.pop() {
            let now = self.ranks[key as usize];
            if now == rank {
                self.ranks[key as usize] = (0, 0);
                return;
            }
            self.heap.push(Reverse((now, key)));
        }
    }
}

impl Cache for Lfu {
    fn request(&mut self, key: u32) -> bool {
        self.now += 1;
        let held = self.ranks[key as usize].0 > 0;
        if !held && self.heap.len() == self.capacity {
            self.evict();
        }
        let rank = &mut self.ranks[key as usize];
        *rank = (rank.0 + 1, self.now);
        if !held {
            self.heap.push(Reverse((*rank, key)));
        }
        held
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::tests::play;
    use super::*;

    #[test]
    fn the_least_frequently_requested_goes() {
        // 0 has three requests; 1 and 2 displace each other.
        assert_eq!(play(&mut Lfu::new(3, 2), &[0, 0, 0, 1, 2, 1, 0, 2]), ".hh...h.");
    }

    #[test]
    fn among_equals_the_least_recently_requested_goes() {
        // 0 and 1 have two each, 1 first: 2 displaces it.
        assert_eq!(play(&mut Lfu::new(3, 2), &[0, 1, 1, 0, 2, 0, 1]), "..hh.h.");
    }

    #[test]
    fn what_went_starts_anew() {
        // 1 has two requests and is evicted for 2, because 0 has three; back again, it has one and is evicted for 2.
        assert_eq!(play(&mut Lfu::new(3, 2), &[0, 0, 0, 1, 1, 2, 1, 2, 1]), ".hh.h....");
    }
}
