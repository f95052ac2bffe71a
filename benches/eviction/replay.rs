//! Replays a trace as a user of a cache: GET, and on a miss SET.
//!
//! A batch first sends all GETs, then the SETs of the misses. It must count the same as single requests would: so a key
//! that is requested again after its miss in the same batch gets a second GET after its SET, and counts by that reply.
//!
//! ```text
//!   trace      a  b  a  c  b          (b is held)
//!   first      GET a  GET b  GET a  GET c  GET b
//!   replies    –      hit    –      –      hit
//!   second     SET a         GET a  SET c
//! ```
//!
//! One difference remains: a SET evicts up to a batch later than without batches. That is 64 requests, while the cache
//! holds tens of thousands of keys.

use super::Result;

/// The requests sent at once.
pub const BATCH: usize = 64;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// GET of a key.
    Get(u32),
    /// SET of a key to its value.
    Set(u32),
}

/// The target of a replay.
pub trait Store {
    /// Sends `requests` in their order, and appends to `found` for each GET whether there was a value.
    fn exchange(&mut self, requests: &[Request], found: &mut Vec<bool>) -> Result<()>;
}

/// A replay, with buffers that each batch reuses.
#[derive(Debug, Default)]
pub struct Replay {
    first: Vec<Request>,
    second: Vec<Request>,
    found: Vec<bool>,
}

impl Replay {
    /// Requests `keys`. Returns the number of hits.
    pub fn run(&mut self, store: &mut impl Store, keys: &[u32]) -> Result<usize> {
        keys.chunks(BATCH).map(|batch| self.batch(store, batch)).sum()
    }

    fn batch(&mut self, store: &mut impl Store, keys: &[u32]) -> Result<usize> {
        self.first.clear();
        self.first.extend(keys.iter().map(|&key| Request::Get(key)));
        self.found.clear();
        store.exchange(&self.first, &mut self.found)?;
        let mut hits = 0;
        self.second.clear();
        for (&key, found) in keys.iter().zip(&self.found) {
            if *found {
                hits += 1;
            } else if self.second.contains(&Request::Set(key)) {
                self.second.push(Request::Get(key));
            } else {
                self.second.push(Request::Set(key));
            }
        }
        if !self.second.is_empty() {
            self.found.clear();
            store.exchange(&self.second, &mut self.found)?;
            hits += self.found.iter().filter(|&&found| found).count();
        }
        Ok(hits)
    }
}

#[cfg(test)]
#[allow(unused)]
mod tests {
    use super::super::simulate::{Cache, Lru};
    use super::super::traces::RECIPES;
    use super::*;

    /// A store that evicts by exact LRU (the front of `order` first), and records its requests.
    struct Exact {
        order: Vec<u32>,
        capacity: usize,
        log: Vec<Request>,
    }

    impl Store for Exact {
        fn exchange(&mut self, requests: &[Request], found: &mut Vec<bool>) -> Result<()> {
            for &request in requests {
                self.log.push(request);
                match request {
                    Request::Get(key) => {
                        let at = self.order.iter().position(|&held| held == key);
                        found.push(at.is_some());
                        if let Some(at) = at {
                            let key = self.order.remove(at);
                            self.order.push(key);
                        }
                    }
                    Request::Set(key) => {
                        if self.order.len() == self.capacity {
                            self.order.remove(0);
                        }
                        self.order.push(key);
                    }
                }
            }
            Ok(())
        }
    }

    fn exact(capacity: usize) -> Exact {
        Exact { order: Vec::new(), capacity, log: Vec::new() }
    }

    #[test]
    fn a_key_missed_is_set_once_and_its_later_requests_in_the_batch_are_asked_behind() {
        let mut store = exact(10);
        store.order.push(1);
        assert_eq!(Replay::default().run(&mut store, &[0, 1, 0, 2, 1, 0]).unwrap(), 4);
        let first = [0, 1, 0, 2, 1, 0].map(Request::Get);
        let second = [Request::Set(0), Request::Get(0), Request::Set(2), Request::Get(0)];
        assert_eq!(store.log, [&first[..], &second].concat());
    }

    #[test]
    fn batches_count_what_one_request_after_the_other_would() {
        for recipe in RECIPES {
            let trace = recipe.generate(50_000, 9);
            let mut store = exact(2_000);
            let hits = Replay::default().run(&mut store, &trace.requests).unwrap();
            let mut cache = Lru::new(trace.keys, 2_000);
            let exact = trace.requests.iter().filter(|&&key| cache.request(key)).count();
            // 64 requests displace fifty times as much of a cache of 2,000 keys as of one of 100,000.
            assert!(hits.abs_diff(exact) < 150, "{}: {hits} and {exact}", recipe.name);
        }
    }
}
