//! `CLIENT PAUSE`: for a time no commands are executed, or no writes. A `MIGRATE` in flight, a failover and a shutdown
//! that waits for replicas stop writes in the same way, until they end.
//!
//! A command that may not run yet waits, with all requests that its client sends after it; the clients continue in the
//! order in which they stopped. During a pause, expired keys are treated as absent but not deleted: the data set stays
//! as it is. Replies are sent, connections are accepted, and a request that would be refused anyway is refused at once.
//! Monitors are not paused, as in Redis.
//!
//! The pause ends at a time of the monotonic clock, at which the loop wakes up.

use crate::command::flags;
use crate::sys::poller::Token;

/// What a pause stops, in the order of strictness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseMode {
    /// Commands that change data, here or on replicas.
    Write,
    /// All commands.
    All,
}

/// What stops writes until it ends, beside `CLIENT PAUSE` and migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `FAILOVER`.
    Failover,
    /// A shutdown that waits for replicas.
    Shutdown,
    /// `CLUSTER FAILOVER` of a replica of this server.
    ManualFailover,
}

/// The current pause, if any, and the clients that wait for its end.
#[derive(Default)]
pub struct Pause {
    /// What is stopped, and until when in microseconds of the monotonic clock.
    running: Option<(PauseMode, u64)>,
    /// How many migrations stop writes until they end.
    holds: usize,
    /// Whether a [`Purpose`] stops writes, by its number.
    purposes: [bool; 3],
    /// In the order in which they began to wait; includes clients that have disconnected.
    waiting: Vec<Token>,
    gone: usize,
}

impl Pause {
    /// Whether something is stopped.
    pub fn is_active(&self) -> bool {
        self.is_asked_for() || self.holds > 0
    }

    /// Whether something is stopped by anything but a migration.
    pub fn is_asked_for(&self) -> bool {
        self.running.is_some() || self.has_purpose()
    }

    fn has_purpose(&self) -> bool {
        self.purposes.contains(&true)
    }

    /// Whether writes are stopped for `purpose`.
    pub fn is_for(&self, purpose: Purpose) -> bool {
        self.purposes[purpose as usize]
    }

    /// Whether a command with these flags has to wait.
    pub fn stops(&self, command_flags: u64) -> bool {
        let writes = command_flags & (flags::WRITE | flags::MAY_REPLICATE) != 0;
        match self.running {
            None => (self.has_purpose() || self.holds > 0) && writes,
            Some((PauseMode::All, _)) => true,
            Some((PauseMode::Write, _)) => writes,
        }
    }

    /// Whether the pause has expired.
    #[inline]
    pub fn is_over(&self, now_us: u64) -> bool {
        self.running.is_some_and(|(_, until)| now_us >= until)
    }

    /// Milliseconds until its end, rounded up, at most `most`.
    pub fn milliseconds_left(&self, now_us: u64, most: u32) -> u32 {
        match self.running {
            None => most,
            Some((_, until)) => {
                u32::try_from(until.saturating_sub(now_us).div_ceil(1000)).map_or(most, |left| left.min(most))
            }
        }
    }

    /// Begins a pause, or extends the current one: it becomes at least as strict and as long as this one.
    pub(super) fn extend(&mut self, mode: PauseMode, until_us: u64) {
        let (running, until) = self.running.unwrap_or((mode, until_us));
        self.running = Some((running.max(mode), until.max(until_us)));
    }

    /// Ends the pause of `CLIENT PAUSE`. Returns the clients that waited for its end, in order; some of them may have
    /// disconnected, and a [`Purpose`] may stop others again.
    pub(super) fn end(&mut self) -> Vec<Token> {
        self.running = None;
        self.take_waiting()
    }

    /// A migration stops writes.
    pub(super) fn hold(&mut self) {
        self.holds += 1;
    }

    /// A migration that has stopped writes has ended. Returns the clients to execute again, as [`Pause::end`] does.
    pub(super) fn release(&mut self) -> Vec<Token> {
        self.holds = self.holds.checked_sub(1).expect("a migration ends once");
        self.take_waiting()
    }

    /// Stops writes for `purpose`, or no longer. Returns the clients to execute again, as [`Pause::end`] does.
    pub(super) fn stop_writes(&mut self, purpose: Purpose, is_on: bool) -> Vec<Token> {
        self.purposes[purpose as usize] = is_on;
        if is_on { Vec::new() } else { self.take_waiting() }
    }

    fn take_waiting(&mut self) -> Vec<Token> {
        self.gone = 0;
        std::mem::take(&mut self.waiting)
    }

    /// The number of clients that wait for its end.
    pub fn waiting_clients(&self) -> usize {
        self.waiting.len() - self.gone
    }

    /// Makes a client wait for its end.
    pub(super) fn add(&mut self, token: Token) {
        self.waiting.push(token);
    }

    /// Removes a waiting client that has disconnected.
    pub(super) fn leave(&mut self) {
        self.gone += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::lookup;

    #[test]
    fn a_pause_grows_longer_and_stricter_and_never_the_other_way() {
        let mut pause = Pause::default();
        assert!(!pause.is_active() && !pause.is_over(u64::MAX));
        assert_eq!(pause.milliseconds_left(0, 100), 100);
        pause.extend(PauseMode::Write, 5000);
        assert_eq!(pause.running, Some((PauseMode::Write, 5000)));
        pause.extend(PauseMode::All, 2000);
        assert_eq!(pause.running, Some((PauseMode::All, 5000)));
        pause.extend(PauseMode::Write, 7001);
        assert_eq!(pause.running, Some((PauseMode::All, 7001)));
        assert_eq!(pause.milliseconds_left(5000, 100), 3);
        assert_eq!(pause.milliseconds_left(5000, 1), 1);
        assert_eq!(pause.milliseconds_left(9000, 100), 0);
        assert!(!pause.is_over(7000) && pause.is_over(7001));
        pause.extend(PauseMode::Write, u64::MAX);
        assert_eq!(pause.milliseconds_left(0, 100), 100);
    }

    #[test]
    fn clients_go_on_in_the_order_in_which_they_began_to_wait_and_those_that_are_gone_do_not_count() {
        let token = |slot| Token { slot, generation: 0 };
        let mut pause = Pause::default();
        pause.extend(PauseMode::All, 1);
        for slot in [5, 2, 9] {
            pause.add(token(slot));
        }
        pause.leave();
        assert_eq!(pause.waiting_clients(), 2);
        assert_eq!(pause.end(), [5, 2, 9].map(token));
        assert!(!pause.is_active() && pause.waiting_clients() == 0);
    }

    #[test]
    fn a_failover_and_a_shutdown_stop_writes_beside_client_pause_and_none_ends_another() {
        let flags = |name: &str| lookup(name.as_bytes()).unwrap().flags;
        let mut pause = Pause::default();
        assert!(pause.stop_writes(Purpose::Shutdown, true).is_empty());
        assert!(pause.stop_writes(Purpose::Failover, true).is_empty());
        assert!(pause.is_for(Purpose::Failover) && !pause.is_for(Purpose::ManualFailover));
        assert!(pause.is_active() && !pause.is_over(u64::MAX));
        assert!(pause.stops(flags("set")) && !pause.stops(flags("get")));
        pause.extend(PauseMode::All, 5);
        assert!(pause.stops(flags("get")));
        let token = Token { slot: 1, generation: 0 };
        pause.add(token);
        assert_eq!(pause.end(), [token]);
        assert!(pause.stops(flags("set")) && !pause.stops(flags("get")));
        pause.extend(PauseMode::Write, 5);
        pause.add(token);
        assert_eq!(pause.stop_writes(Purpose::Failover, false), [token]);
        pause.end();
        assert!(pause.stops(flags("set")) && pause.is_asked_for());
        pause.stop_writes(Purpose::Shutdown, false);
        assert!(!pause.is_active());
    }

    #[test]
    fn a_migration_stops_writes_whatever_pauses_begin_and_end_meanwhile() {
        let flags = |name: &str| lookup(name.as_bytes()).unwrap().flags;
        let mut pause = Pause::default();
        pause.hold();
        assert!(pause.is_active() && !pause.is_asked_for() && !pause.is_over(u64::MAX));
        assert!(pause.stops(flags("set")) && !pause.stops(flags("get")));
        pause.extend(PauseMode::All, 1);
        assert!(pause.stops(flags("get")) && pause.is_asked_for());
        pause.add(Token { slot: 1, generation: 0 });
        pause.leave();
        assert_eq!((pause.end().len(), pause.waiting_clients()), (1, 0));
        assert!(pause.stops(flags("set")) && !pause.stops(flags("get")));
        pause.hold();
        pause.release();
        assert!(pause.stops(flags("set")));
        pause.release();
        assert!(!pause.stops(flags("set")) && !pause.is_active());
    }

    #[test]
    fn a_pause_of_writes_lets_reads_through() {
        let flags = |name: &str| lookup(name.as_bytes()).unwrap().flags;
        let mut pause = Pause::default();
        assert!(!pause.stops(flags("set")));
        pause.extend(PauseMode::Write, 1);
        assert!(pause.stops(flags("set")) && pause.stops(flags("flushall")));
        assert!(!pause.stops(flags("get")) && !pause.stops(flags("ping")));
        pause.extend(PauseMode::All, 1);
        assert!(pause.stops(flags("get")) && pause.stops(flags("ping")));
    }
}
