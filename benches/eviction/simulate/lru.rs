//! Exact LRU: evicts the key that has not been requested for longest.

use super::Cache;
use super::lists::Lists;

/// A cache with one list in the order of the last requests.
#[derive(Debug)]
pub struct Lru {
    lists: Lists,
    free: usize,
}

impl Lru {
    /// Holds `capacity` of the keys `0..keys`.
    pub fn new(keys: u32, capacity: usize) -> Self {
        Self { lists: Lists::new(keys, 1), free: capacity.max(1) }
    }
}

impl Cache for Lru {
    fn request(&mut self, key: u32) -> bool {
        let held = self.lists.contains(key);
        if held {
            self.lists.remove(key);
        } else if self.free > 0 {
            self.free -= 1;
        } else if let Some(last) = self.lists.last(0) {
            self.lists.remove(last);
        }
        self.lists.push_front(0, key);
        held
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::tests::play;
    use super::*;

    #[test]
    fn the_least_recently_requested_goes() {
        // 0 and 1 are held; 0 is requested again; 2 displaces 1; 1 displaces 0.
        assert_eq!(play(&mut Lru::new(3, 2), &[0, 1, 0, 2, 0, 1, 2, 0]), "..h.h...");
    }

    #[test]
    fn a_loop_of_one_key_too_many_never_hits() {
        let requests: Vec<u32> = (0..4).cycle().take(40).collect();
        assert_eq!(play(&mut Lru::new(4, 3), &requests), ".".repeat(40));
    }
}
