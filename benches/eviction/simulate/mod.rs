//! Simulated caches that hold a number of keys, as a perfect implementation of each policy would.
//!
//! They count keys, not bytes, and add every requested key that is not held. Keys are numbers below a limit that is
//! known beforehand, so the data of a key is in arrays.

mod lfu;
mod lists;
mod lru;
mod optimum;
mod tiny_lfu;

pub use lfu::Lfu;
pub use lru::Lru;
pub use optimum::Optimum;
pub use tiny_lfu::TinyLfu;

use super::traces::Trace;

/// A simulated cache.
pub trait Cache {
    /// Requests `key`. Returns whether it was held. It is held afterwards.
    fn request(&mut self, key: u32) -> bool;
}

/// The share of hits among the requests of `trace` after the first `warm_up`.
pub fn hit_ratio(cache: &mut impl Cache, trace: &Trace, warm_up: usize) -> f64 {
    let (before, counted) = trace.requests.split_at(warm_up);
    for &key in before {
        cache.request(key);
    }
    let hits = counted.iter().filter(|&&key| cache.request(key)).count();
    hits as f64 / counted.len().max(1) as f64
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::random::Random;
    use super::super::traces::RECIPES;
    use super::*;

    /// The requests that hit, as a string of `h` and `.`.
    pub fn play(cache: &mut impl Cache, requests: &[u32]) -> String {
        requests.iter().map(|&key| if cache.request(key) { 'h' } else { '.' }).collect()
    }

    fn all(trace: &Trace, capacity: usize) -> [f64; 4] {
        [
            hit_ratio(&mut Optimum::new(trace, capacity), trace, 0),
            hit_ratio(&mut Lru::new(trace.keys, capacity), trace, 0),
            hit_ratio(&mut Lfu::new(trace.keys, capacity), trace, 0),
            hit_ratio(&mut TinyLfu::new(trace.keys, capacity), trace, 0),
        ]
    }

    #[test]
    fn nothing_is_better_than_the_optimum() {
        for recipe in RECIPES {
            let trace = recipe.generate(60_000, 3);
            for capacity in [1, 100, 5_000] {
                let [optimum, others @ ..] = all(&trace, capacity);
                assert!(others.iter().all(|&ratio| ratio <= optimum), "{} {optimum} {others:?}", recipe.name);
            }
        }
    }

    #[test]
    fn small_random_traces_are_no_exception() {
        let mut random = Random::new(5);
        for _ in 0..2_000 {
            let keys = 2 + random.below(8);
            let requests: Vec<u32> = (0..60).map(|_| random.below(keys).min(random.below(keys))).collect();
            let trace = Trace { requests, keys };
            let [optimum, others @ ..] = all(&trace, 1 + random.below(4) as usize);
            assert!(others.iter().all(|&ratio| ratio <= optimum), "{optimum} {others:?} {trace:?}");
        }
    }

    #[test]
    fn a_cache_for_all_keys_misses_each_once() {
        let trace = Trace { requests: (0..50).cycle().take(500).collect(), keys: 50 };
        for ratio in all(&trace, 50) {
            assert_eq!(ratio, 0.9);
        }
    }

    #[test]
    fn the_warm_up_is_not_counted() {
        let trace = Trace { requests: vec![1, 2, 1, 2, 3], keys: 4 };
        assert_eq!(hit_ratio(&mut Lru::new(4, 2), &trace, 2), 2.0 / 3.0);
    }
}
