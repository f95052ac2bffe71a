//! The sessions that clients can resume: bounded in number and time (`tls-session-cache-size`,
//! `tls-session-cache-timeout`).
//!
//! All sessions have the same lifetime, so they expire in the order in which they were stored, and one queue serves
//! both bounds.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CacheBounds;

/// See the module's head.
pub struct SessionCache {
    bounds: CacheBounds,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    /// The secrets, each with the time when it was stored, in microseconds of the monotonic clock.
    by_key: HashMap<Vec<u8>, (Vec<u8>, u64)>,
    /// The keys in the order in which they were stored. Some may have been removed or stored again since.
    in_order: VecDeque<(Vec<u8>, u64)>,
}

impl Sessions {
    fn drop_ended(&mut self, now_us: u64, bounds: CacheBounds) {
        let lifetime_us = u64::from(bounds.timeout_s) * 1_000_000;
        while let Some((key, stored_us)) = self.in_order.front() {
            let is_current = self.by_key.get(key).is_some_and(|(_, latest_us)| latest_us == stored_us);
            let is_over = now_us.saturating_sub(*stored_us) >= lifetime_us;
            let is_too_long = self.in_order.len() > bounds.size.saturating_mul(2);
            if is_current && !is_over && !is_too_long && self.by_key.len() <= bounds.size {
                break;
            }
            if is_current {
                self.by_key.remove(key);
            }
            self.in_order.pop_front();
        }
    }
}

impl SessionCache {
    /// An empty cache. A size or timeout of 0 means the defaults of OpenSSL: no bound, and 300 seconds.
    pub fn new(bounds: CacheBounds) -> SessionCache {
        let size = if bounds.size == 0 { usize::MAX } else { bounds.size };
        let timeout_s = if bounds.timeout_s == 0 { 300 } else { bounds.timeout_s };
        SessionCache { bounds: CacheBounds { size, timeout_s }, sessions: Mutex::default() }
    }

    fn sessions(&self, now_us: u64) -> MutexGuard<'_, Sessions> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.drop_ended(now_us, self.bounds);
        sessions
    }

    /// Stores a session. All times are in microseconds of the monotonic clock.
    pub fn put(&self, now_us: u64, key: Vec<u8>, value: Vec<u8>) {
        let mut sessions = self.sessions(now_us);
        sessions.in_order.push_back((key.clone(), now_us));
        sessions.by_key.insert(key, (value, now_us));
        sessions.drop_ended(now_us, self.bounds);
    }

    /// Returns a session.
    pub fn get(&self, now_us: u64, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions(now_us).by_key.get(key).map(|(value, _)| value.clone())
    }

    /// Removes a session and returns it.
    pub fn take(&self, now_us: u64, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions(now_us).by_key.remove(key).map(|(value, _)| value)
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> SessionCache {
        SessionCache::new(CacheBounds { size: 2, timeout_s: 1 })
    }

    #[test]
    fn a_new_session_replaces_the_oldest_one() {
        let cache = cache();
        for key in [b"a", b"b", b"c"] {
            cache.put(0, key.to_vec(), key.to_vec());
        }
        assert_eq!(cache.take(0, b"a"), None);
        assert_eq!(cache.get(0, b"b").as_deref(), Some(&b"b"[..]));
        assert_eq!(cache.take(0, b"b").as_deref(), Some(&b"b"[..]));
        assert_eq!(cache.take(0, b"b"), None, "it was taken");
        assert_eq!(cache.take(0, b"c").as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn a_session_expires_after_the_timeout_which_restarts_when_it_is_stored_again() {
        let cache = cache();
        cache.put(0, b"a".to_vec(), b"1".to_vec());
        cache.put(500_000, b"a".to_vec(), b"2".to_vec());
        assert_eq!(cache.sessions(1_000_000).in_order.len(), 1);
        assert_eq!(cache.take(1_000_000, b"a").as_deref(), Some(&b"2"[..]));
        cache.put(1_000_000, b"a".to_vec(), b"3".to_vec());
        assert_eq!(cache.take(2_000_000, b"a"), None);
        assert_eq!(cache.sessions(2_000_000).in_order.len(), 0);
    }
}
