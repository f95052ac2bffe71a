//! Listeners that cannot accept because the process or the system has no descriptors or memory left.
//!
//! The connection stays in the kernel's backlog, so a level-triggered poller would report the listener at once again,
//! and the loop would do nothing else. The listener is therefore not watched until the next run of cron, which tries
//! again.

use std::mem::{Discriminant, discriminant};

use crate::sys::poller::Source;

/// How long the errors of listeners of one kind are not logged again, in microseconds.
const QUIET_US: u64 = 1_000_000;

/// See the module's head.
#[derive(Default)]
pub struct Shortage {
    unwatched: Vec<Source>,
    logged: Vec<(Discriminant<Source>, u64)>,
}

impl Shortage {
    /// Notes that a listener is not watched. Returns whether to log that: at most once a second for each kind.
    pub fn begin(&mut self, listener: Source, now_us: u64) -> bool {
        self.unwatched.push(listener);
        let kind = discriminant(&listener);
        let Some((_, logged_us)) = self.logged.iter_mut().find(|(of, _)| *of == kind) else {
            self.logged.push((kind, now_us));
            return true;
        };
        let is_due = now_us.saturating_sub(*logged_us) >= QUIET_US;
        if is_due {
            *logged_us = now_us;
        }
        is_due
    }

    /// Takes the listeners that are not watched.
    pub fn end(&mut self) -> Vec<Source> {
        std::mem::take(&mut self.unwatched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_listener_is_logged_once_a_second() {
        let mut shortage = Shortage::default();
        assert!(shortage.begin(Source::Listener(0), 5));
        assert!(!shortage.begin(Source::Listener(1), 6), "of the same kind");
        assert!(shortage.begin(Source::BusListener(0), 6));
        assert_eq!(shortage.end(), [Source::Listener(0), Source::Listener(1), Source::BusListener(0)]);
        assert!(shortage.end().is_empty());
        assert!(!shortage.begin(Source::Listener(0), 5 + QUIET_US - 1));
        assert!(shortage.begin(Source::Listener(0), 5 + QUIET_US));
        assert!(!shortage.begin(Source::Listener(0), 6 + QUIET_US));
    }
}
